"""Grouping: from the events of traces to one row a key. The sums are kernels; this file says what the keys are."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from stepscope.analysis.arguments import flat_shapes, flops_in
from stepscope.analysis.average import NO_STEP, Average, InStep
from stepscope.analysis.events import FunctionEvent
from stepscope.analysis.stacks import CALL_STACK, frames_in, is_left_out
from stepscope.analysis.tree import Amount, Tree
from stepscope.core import kernels
from stepscope.core.groups import NO_KEY, Grouped, Keys, Sums
from stepscope.model.packed_args import items_with

__all__ = ["Grouping", "group_events"]


class Grouping(NamedTuple):
    """What events go by besides their name, and what torch always tells apart: device or not, annotation or not.

    Attributes:
        input_shape, overload_name, thread, rank, step: whether they go by it.
        stack_n: how many of the innermost calls around them they go by.
    """

    input_shape: bool = False
    stack_n: int = 0
    overload_name: bool = False
    thread: bool = False
    rank: bool = False
    step: bool = False


# What rows go by beyond a name: shapes as text, the overload's name, calls, the step's number.
_Trait = tuple[str, str, tuple[str, ...], int]
_PLAIN: _Trait = ("", "", (), NO_STEP)


class _Numbers:
    """The numbers of names, places and traits, which all traces share."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.places: dict[tuple[int, int, str], int] = {}
        self.traits: dict[_Trait, int] = {_PLAIN: 0}
        self.rows: dict[tuple[int, int, int, int, int], int] = {}


class _Part(NamedTuple):
    """The groups of one trace."""

    tree: Tree
    keys: Keys
    traits: "array[int] | None"
    grouped: Grouped
    sums: Sums


def group_events(trees: Iterable[Tree], by: Grouping) -> list[Average]:
    """One row a key, in order of first appearance."""
    numbers, averages = _Numbers(), list[Average]()
    known = list(trees)
    for tree in known:
        part = _group(tree, by, numbers)
        rows = [_average_of(part, row, by, numbers, averages) for row in part.grouped.first]
        _add_times(part, rows)
        _add_amounts(part, rows)
        _add_steps(part, rows)
    steps_ns: defaultdict[tuple[int | None, int], int] = defaultdict(int)
    for tree in known:
        rank = tree.trace.origin.rank if by.rank else None
        for step in tree.steps:
            steps_ns[rank, step.number if by.step else NO_STEP] += tree.trace.columns.dur[step.row]
    for average in averages:
        average.steps_ns = steps_ns[average.rank, average.step]
    return averages


def _group(tree: Tree, by: Grouping, numbers: _Numbers) -> _Part:
    places = array("I", [0]) * len(tree.trace.tracks)
    if by.thread:
        for number, track in enumerate(tree.trace.tracks):
            place = (track.pid, track.tid, track.name)
            places[number] = numbers.places.setdefault(place, len(numbers.places))
    columns, keys, traits = tree.trace.columns, tree.keys(numbers.names, places), _traits(tree, by, numbers.traits)
    grouped = kernels.group_rows(columns, tree.folded.above, keys, traits)
    sums = kernels.sum_groups(columns, grouped.group, tree.folded.own, len(grouped.first))
    return _Part(tree, keys, traits, grouped, sums)


def _average_of(part: _Part, row: int, by: Grouping, numbers: _Numbers, averages: list[Average]) -> Average:
    """The row that a group belongs to, by the group's first event; made if it is the first of its key."""
    tree, columns = part.tree, part.tree.trace.columns
    rank = tree.trace.origin.rank if by.rank else -1
    key = (
        part.keys.name[columns.name[row]],
        part.keys.cat[columns.cat[row]],
        part.keys.track[columns.track[row]],
        part.traits[row] if part.traits else 0,
        rank,
    )
    number = numbers.rows.setdefault(key, len(averages))
    if number == len(averages):
        event = FunctionEvent(tree, row)
        average = Average(event.name, first=event)
        if by.input_shape:
            average.input_shapes = event.input_shapes
        if by.overload_name:
            average.overload_name = event.overload_name
        if by.stack_n > 0:
            average.stack = event.stack[: by.stack_n]
        if by.thread:
            average.thread = event.thread_name
        if by.rank:
            average.rank = rank
        if by.step:
            average.step = _step_number(tree, row)
        averages.append(average)
    return averages[number]


def _add_times(part: _Part, rows: Sequence[Average]) -> None:
    ends = list(accumulate(part.sums.count))
    figures = zip(rows, part.grouped.first, *part.sums[:3], ends, strict=True)
    for average, first, count, total_ns, self_ns, end in figures:
        average.count += count
        average.durations.append(part.sums.durations[end - count : end])
        if not part.tree.is_device(first):
            average.total_ns += total_ns
            average.self_ns += self_ns


def _add_amounts(part: _Part, rows: Sequence[Average]) -> None:
    """What some events have used besides time; device_ns and the like are attributes of Average."""
    tree, group = part.tree, part.grouped.group
    sources: tuple[tuple[Mapping[int, Amount], str, str], ...] = (
        (tree.device_time, "device_ns", "self_device_ns"),
        (tree.cpu_memory, "cpu_memory_usage", "self_cpu_memory_usage"),
        (tree.device_memory, "device_memory_usage", "self_device_memory_usage"),
        (tree.thread_time, "thread_ns", "self_thread_ns"),
    )
    for amounts, total_name, own_name in sources:
        totals: defaultdict[int, int] = defaultdict(int)
        owns: defaultdict[int, int] = defaultdict(int)
        for row, amount in amounts.items():
            totals[group[row]] += amount.total
            owns[group[row]] += amount.own
        for number, total in totals.items():
            average = rows[number]
            setattr(average, total_name, getattr(average, total_name) + total)
            setattr(average, own_name, getattr(average, own_name) + owns[number])
    for row, args in items_with(tree.trace.args, "flops"):
        if group[row] != NO_KEY:
            rows[group[row]].flops += flops_in(args)


def _add_steps(part: _Part, rows: Sequence[Average]) -> None:
    tree = part.tree
    if not tree.steps:
        return
    columns, places, known = tree.trace.columns, tree.step_of, dict[tuple[int, int], int]()
    both = places
    if part.traits is not None:
        pairs = zip(places, part.traits, strict=True)
        both = array("I", (known.setdefault(pair, len(known)) for pair in pairs))
    grouped = kernels.group_rows(columns, tree.folded.above, part.keys, both)
    sums = kernels.sum_groups(columns, grouped.group, tree.folded.own, len(grouped.first))
    for first, count, total_ns in zip(grouped.first, sums.count, sums.total_ns, strict=True):
        if places[first]:
            steps = rows[part.grouped.group[first]].steps
            number = tree.steps[places[first] - 1].number
            before = steps.get(number, InStep(0, 0.0))
            steps[number] = InStep(before.count + count, before.cpu_time_total + total_ns / 1000)


def _traits(tree: Tree, by: Grouping, known: dict[_Trait, int]) -> "array[int] | None":
    """A number a row for all that it goes by besides its name; None if that is nothing."""
    if not (by.input_shape or by.overload_name or by.stack_n > 0 or by.step):
        return None
    numbers = array("I", [0]) * len(tree.trace)
    stacks = _top_of_stacks(tree, by.stack_n) if by.stack_n > 0 else None
    rows: Iterable[int] = tree.trace.args if stacks is None and not by.step else tree.rows
    for row in rows:
        args: Mapping[str, Any] = tree.trace.args.get(row, {})
        trait = (
            str(flat_shapes(args)) if by.input_shape and "Input Dims" in args else "",
            str(args.get("Overload name", "")) if by.overload_name else "",
            stacks[row] if stacks is not None else (),
            _step_number(tree, row) if by.step else NO_STEP,
        )
        if trait != _PLAIN:
            numbers[row] = known.setdefault(trait, len(known))
    return numbers


def _step_number(tree: Tree, row: int) -> int:
    place = tree.step_of[row]
    return tree.steps[place - 1].number if place else NO_STEP


def _top_of_stacks(tree: Tree, depth: int) -> list[tuple[str, ...]]:
    """The innermost calls around each row; one pass, since those of a row are its parent's and perhaps itself."""
    columns, strings, above = tree.trace.columns, tree.trace.strings, tree.folded.above
    frames = ["" if is_left_out(text) else text for text in strings]
    traced = [text == "python_function" for text in strings]
    around_it: list[tuple[str, ...]] = []
    for row, around in enumerate(above):
        event = around if around >= -1 else -3 - around
        if event < 0 or event == row:
            around_it.append(())
            continue
        frame = frames[columns.name[event]] if traced[columns.cat[event]] else ""
        around_it.append((frame, *around_it[event])[:depth] if frame else around_it[event])
    for row, args in items_with(tree.trace.args, CALL_STACK):
        if isinstance(args[CALL_STACK], str):
            around_it[row] = frames_in(args[CALL_STACK])[:depth]
    return around_it
