"""Draining: a sealed window and its steps become a Trace."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from stepscope.core import kernels
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace

__all__ = ["StepMark", "drain"]


class StepMark(NamedTuple):
    """A step of the profiled program, on the thread that began it; ticks of the spans' clock.

    Steps are kept beside the records: the thread that ends one need not be the one that began it.
    """

    name: str
    start: int
    end: int
    tid: int
    thread: str


def drain(window: kernels.SealedWindow, steps: Iterable[StepMark], origin: Origin) -> Trace:
    """Pair a window's records, put its steps around them, and build the Trace.

    Args:
        window: as `kernels.seal` returns it.
        steps: those that ran in the window, wholly or in part; they are cut at its edges.
        origin: its clocks were read at the window's opening.
    """
    builder = TraceBuilder(origin)
    paired = kernels.pair(window)
    shift = origin.clocks.realtime_ns - origin.clocks.monotonic_ns - origin.base_ns
    tracks: dict[int, int] = {}
    numbers = []
    for thread in paired.threads:
        numbers.append(builder.thread(origin.pid, thread.tid, thread.name, origin.process))
        tracks.setdefault(thread.tid, numbers[-1])
    for step in steps:  # first, so that of slices that begin and end together the step is the outer one
        if step.tid not in tracks:
            tracks[step.tid] = builder.thread(origin.pid, step.tid, step.thread, origin.process)
        start, end = max(step.start, window.start), min(step.end, window.stop)
        cut = (start, end) != (step.start, step.end)
        builder.slice(tracks[step.tid], step.name, start + shift, end - start, cut=cut)
    for number, thread in zip(numbers, paired.threads, strict=True):
        ts = array("q", (tick + shift for tick in thread.start))
        dur = array("q", map(int.__sub__, thread.end, thread.start))
        rows = (ts, dur, thread.kind, thread.names)
        builder.extend(number, paired.strings, rows, thread.args)
    return builder.build()
