"""Excerpts: the part of a trace's tree that a message is about, with what is around it and without the rest."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stepscope.analysis.kinds import step_number
from stepscope.model.nesting import nest
from stepscope.model.trace import Trace

__all__ = ["excerpt", "milliseconds"]

MAX_LINES = 30
MAX_NAME = 100
MAX_INDENT = 60


@dataclass
class _Node:
    """Equal trees that follow one another.

    Attributes:
        shape: a number that equal trees share: of names, what is marked and what is inside; steps are all alike.
        first, last: numbers, of steps.
    """

    shape: int
    name: str
    marked: bool
    inside: "list[_Node]"
    count: int
    dur_ns: int
    first: int | None
    last: int | None


def excerpt(trace: Trace, rows: Collection[int], *, times: bool = False) -> str:
    """The calls that are asked for, marked, and those around them; equal ones that follow one another as one.

    Args:
        trace: whose rows they are.
        rows: the numbers of the rows to mark.
        times: say how long each took; of equal ones all together.

    Returns:
        Lines, at most MAX_LINES and one that says how many are left out.
    """
    parents = nest(trace).parent
    marked = set(rows)
    shown = set(marked)
    for row in marked:
        while (row := parents[row]) >= 0 and row not in shown:
            shown.add(row)
    columns = trace.columns
    inside: defaultdict[int, list[_Node]] = defaultdict(list)
    shapes: dict[tuple[object, ...], int] = {}
    for row in sorted(shown, reverse=True):
        name = trace.strings[columns.name[row]]
        nodes = inside.pop(row, [])[::-1]
        step = step_number(name)
        what = ("" if step is not None else name, row in marked, *((node.shape, node.count) for node in nodes))
        shape = shapes.setdefault(what, len(shapes))
        node = _Node(shape, name, row in marked, nodes, 1, columns.dur[row], step, step)
        _put(inside[parents[row] if parents[row] >= 0 else -1 - columns.track[row]], node)
    lines: list[str] = []
    for track in sorted(inside, reverse=True):
        lines.append(f"  thread {_short(trace.tracks[-1 - track].name)}")
        lines += _lines(inside[track][::-1], times)
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"  ... and {len(lines) - MAX_LINES} lines more"]
    return "\n".join(lines)


def _put(behind: list[_Node], node: _Node) -> None:
    """Add a tree before those behind it, which stand in reverse order; to an equal one it is added."""
    if behind and behind[-1].shape == node.shape:
        last = behind[-1]
        if node.first is None or last.first is None or node.first + 1 == last.first:
            last.count += 1
            last.first = node.first
            _add_times(last, node)
            return
    behind.append(node)


def _add_times(one: _Node, other: _Node) -> None:
    todo = [(one, other)]
    while todo:
        one, other = todo.pop()
        one.dur_ns += other.dur_ns
        todo += zip(one.inside, other.inside, strict=True)


def _lines(nodes: list[_Node], times: bool) -> Iterator[str]:
    todo = [(node, 4) for node in reversed(nodes)]
    while todo:
        node, indent = todo.pop()
        name = _short(node.name)
        if node.first is not None and node.first != node.last:
            name = f"ProfilerStep#{node.first} to #{node.last}"
        elif node.count > 1:
            name += f" x{node.count}"
        time = f"  {milliseconds(node.dur_ns)}" if times else ""
        shown = min(indent, MAX_INDENT)
        yield f"{'>' if node.marked else ' '}{' ' * (shown - 1)}{name}{time}"
        todo += [(inside, indent + 2) for inside in reversed(node.inside)]


def milliseconds(ns: float) -> str:
    """A time in ms, as messages have it."""
    return f"{ns / 1e6:.3f} ms"


def _short(name: str) -> str:
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 3] + "..."
