"""Draining: a sealed window and its steps become a Trace."""

from collections.abc import Iterable

from stepscope.core import kernels
from stepscope.core.rows import StepMark
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from stepscope.record.lanes import share_lanes
from stepscope.record.scopes import place_scoped
from stepscope.record.sources import Harvest

__all__ = ["drain"]


def drain(
    window: kernels.SealedWindow, steps: Iterable[StepMark], origin: Origin, harvests: Iterable[Harvest] = ()
) -> Trace:
    """Pair a window's records, put its steps around them, and build the Trace.

    Args:
        window: as `kernels.seal` returns it.
        steps: those that ran in the window, wholly or in part.
        origin: its clocks were read at the window's opening.
        harvests: what its sources have handed over.
    """
    clocks = origin.clocks
    ticked = clocks.boottime_ns if kernels.CLOCK == "boottime" else clocks.monotonic_ns
    paired = place_scoped(share_lanes(kernels.pair(window, steps, clocks.realtime_ns - ticked - origin.base_ns)))
    builder = TraceBuilder(origin)
    for track in paired.tracks:
        builder.thread(origin.pid, track.tid, track.name, origin.process, track.kind)
    for name, count in paired.dropped.items():
        builder.problem("dropped", count, f"on thread {name!r} the memory for records was spent")
    if window.unsure:
        what = "a span ended where it was not open, and it was open on several threads: which one ended is a guess"
        builder.problem("unsure", window.unsure, what)
    if origin.session.get("partial"):
        last = f"it ended in step {origin.session['last_step']}"
        builder.problem("partial", 1, f"cycle {origin.session['cycle']} did not run to its planned end: {last}")
    builder.adopt(paired.columns, paired.strings, paired.args)
    builder.adopt_counters(paired.counters, origin.pid, origin.process)
    builder.adopt_flows(paired.flows)
    for harvest in harvests:
        for problem in harvest.problems:
            builder.problem(*problem)
        if harvest.add is not None:
            harvest.add(builder)
    return builder.build()
