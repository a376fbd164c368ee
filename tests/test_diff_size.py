"""What a comparison costs: work and memory grow with the traces, whatever is different, and not with their square."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope import Trace, diff
from stepscope.analysis.diff import NAME_RULES, Rules
from stepscope.analysis.diff.words import Words
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

STEP = 100
# Twice as much may cost twice as much, and a table that has grown a little more.
TWICE = 2.3


class Side(NamedTuple):
    """A program: what the nth of its slices is called, and its arguments."""

    name: Callable[[int], str]
    args: Callable[[int], Mapping[str, Any]] = lambda _: {}
    in_step: int = STEP


def layer(number: int) -> str:
    return f"layer {number % STEP}"


CASES = {
    "same": (Side(layer), Side(layer)),
    "every name": (Side(layer), Side(lambda number: f"new layer {number % STEP}")),
    "every argument": (Side(layer, lambda number: {"at": number}), Side(layer, lambda number: {"at": -1 - number})),
    "every slice, renamed": (Side(lambda number: f"op {number}"), Side(lambda number: f"new op {number}")),
    "every slice, gone": (
        Side(lambda number: f"op {number}"),
        Side(lambda number: f"new op {number}", lambda _: {"new": True}),
    ),
    "all siblings of one step": (
        Side(lambda number: f"op {number}", in_step=1_000_000),
        Side(lambda number: f"new op {number}", in_step=1_000_000),
    ),
}


def recorded(side: Side, slices: int) -> Trace:
    """A trace of so many slices in steps."""
    builder = TraceBuilder(Origin(pid=1))
    thread = builder.thread(1, 1, "MainThread", "train.py")
    for number in range(slices):
        step, at = divmod(number, side.in_step)
        if at == 0:
            builder.slice(thread, f"ProfilerStep#{step}", number * 1000, side.in_step * 1000)
        builder.slice(thread, side.name(number), number * 1000, 900, args=side.args(number))
    return builder.build()


def opcodes_of(run: Callable[[], object]) -> int:
    """How many instructions of Python's a call takes: its work, without a clock."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # noqa: SLF001 - 3.12 has these events only if it knows beforehand
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def peak_of(run: Callable[[], object]) -> int:
    """The most memory that a call takes at a time, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(params=CASES)
def sides(request: pytest.FixtureRequest) -> tuple[Side, Side]:
    return CASES[request.param]


def compared(sides: tuple[Side, Side], slices: int) -> Callable[[], object]:
    """The comparison of both sides, of so many slices each, by whose times nothing differs."""
    base, head = (recorded(side, slices) for side in sides)
    diff(base, head)
    return lambda: diff(base, head)


def test_twice_the_slices_are_twice_the_work(sides: tuple[Side, Side]) -> None:
    once, twice = (opcodes_of(compared(sides, slices)) for slices in (600, 1200))

    assert twice <= TWICE * once


def test_twice_the_slices_are_twice_the_memory(sides: tuple[Side, Side]) -> None:
    once, twice = (peak_of(compared(sides, slices)) for slices in (4000, 8000))

    assert twice <= TWICE * once


def texts_of(rules: Any) -> Iterator[st.SearchStrategy[str]]:
    for rule in rules:
        if rule.of in ("any", "slice"):
            yield st.from_regex(rule.pattern)


@given(st.lists(st.text(max_size=8) | st.one_of(*texts_of(NAME_RULES)), max_size=6))
def test_a_name_becomes_the_same_among_others_as_alone(names: list[str]) -> None:
    """All names of a trace are searched at once for what a rule may change."""
    builder = TraceBuilder()
    thread = builder.thread(1, 1, "MainThread")
    for name in names:
        builder.slice(thread, name, 0, 1)
    trace = builder.build()
    words = Words(Rules())

    keys = words.keys_of(trace)

    assert [words.texts[key] for key in keys] == [words.normal(text, "slice") for text in trace.strings]
