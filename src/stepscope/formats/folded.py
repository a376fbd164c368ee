"""Collapsed stacks, a line each, which flamegraph.pl, inferno and speedscope read.

    python;MainThread;ProfilerStep#2;forward 1234

The number is the time spent in the innermost slice itself, in whole microseconds: a decimal point is more than some
readers take. Source: Brendan Gregg's FlameGraph. The format has neither times nor escapes: instants, counters and flows
are left out, and what would end a frame or a line in a name is spelled otherwise.
"""

from collections.abc import Iterator

from stepscope.formats.stacks import rows_by_track, track_names
from stepscope.model.nesting import Nesting, nest
from stepscope.model.trace import Trace

__all__ = ["encode_folded"]

BATCH_LINES = 10_000


def encode_folded(trace: Trace) -> Iterator[bytes]:
    """Print a trace as collapsed stacks; yields UTF-8, many lines at a time."""
    frames = [_frame(text) for text in trace.strings]
    names = [f"{_frame(process)};{_frame(thread)}" for process, thread in track_names(trace)]
    nesting = nest(trace)
    lines: list[str] = []
    for track, rows in rows_by_track(trace):
        lines += _lines(names[track], _folded(trace, rows, nesting), frames)
        if len(lines) >= BATCH_LINES:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


_Stack = tuple[int, int]  # the number of the stack above, and the frame below it


def _folded(trace: Trace, rows: list[int], nesting: Nesting) -> dict[_Stack, int]:
    """The ns spent in each stack itself, in order of first appearance; a stack's number is its place, from 1."""
    parents, own = nesting
    name = trace.columns.name
    numbers: dict[_Stack, int] = {}
    stack_of: dict[int, int] = {}
    total: list[int] = []
    for row in rows:
        stack = (stack_of.get(parents[row], 0), name[row])
        number = numbers.setdefault(stack, len(numbers) + 1)
        if number > len(total):
            total.append(0)
        stack_of[row] = number
        total[number - 1] += own[row]
    return dict(zip(numbers, total, strict=True))


def _lines(track: str, folded: dict[_Stack, int], frames: list[str]) -> Iterator[str]:
    """A line for each stack.

    Rounding is carried along, so that a track's lines add up to its time: a million stacks of 0.3 us are not nothing.
    """
    texts = [track]
    total = written = 0
    for (above, name), own_ns in folded.items():
        texts.append(f"{texts[above]};{frames[name]}")
        total += own_ns
        own_us = (total + 500) // 1000 - written
        written += own_us
        if own_us:
            yield f"{texts[-1]} {own_us}\n"


def _frame(text: str) -> str:
    """A name that ends neither its frame nor its line."""
    text = text.replace(";", ":")
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
