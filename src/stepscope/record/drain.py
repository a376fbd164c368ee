"""Draining: a sealed window and its steps become a Trace."""

from collections.abc import Iterable

from stepscope.core import kernels
from stepscope.core.rows import StepMark
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace

__all__ = ["drain"]


def drain(window: kernels.SealedWindow, steps: Iterable[StepMark], origin: Origin) -> Trace:
    """Pair a window's records, put its steps around them, and build the Trace.

    Args:
        window: as `kernels.seal` returns it.
        steps: those that ran in the window, wholly or in part.
        origin: its clocks were read at the window's opening.
    """
    shift = origin.clocks.realtime_ns - origin.clocks.monotonic_ns - origin.base_ns
    columns, strings, threads, args = kernels.pair(window, steps, shift)
    builder = TraceBuilder(origin)
    for tid, name in threads:
        builder.thread(origin.pid, tid, name, origin.process)
    builder.adopt(columns, strings, args)
    return builder.build()
