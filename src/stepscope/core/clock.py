"""The clocks of one machine, read at one instant.

Spans are timed with `ticks` (CLOCK_MONOTONIC on Linux, the cheapest one Python has); a trace places them on
CLOCK_BOOTTIME, Perfetto's default, and on wall time, by the offsets read here.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Clocks", "read_clocks", "ticks", "use"]

ticks: Callable[[], int] = time.perf_counter_ns


class Clocks(NamedTuple):
    """Three clocks at one instant, in ns."""

    boottime_ns: int
    monotonic_ns: int
    realtime_ns: int


def _boottime_ns() -> int:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return ticks() if clock is None else time.clock_gettime_ns(clock)


def _read() -> tuple[int, Clocks]:
    before = ticks()
    boottime, realtime = _boottime_ns(), time.time_ns()
    spread = ticks() - before
    return spread, Clocks(boottime, before + spread // 2, realtime)


def read_clocks() -> Clocks:
    """Read the three clocks as one.

    Returns:
        Of several readings the one that took least time: a preempted thread reads them far apart.
    """
    if _stand_in is not None:
        return Clocks(_stand_in(), _stand_in(), _stand_in())
    return min(_read() for _ in range(8))[1]


_stand_in: Callable[[], int] | None = None


def use(stand_in: Callable[[], int] | None) -> None:
    """Let one clock stand for all three, for tests; None goes back to the real ones."""
    global _stand_in  # noqa: PLW0603 - the machine's clocks are global too
    _stand_in = stand_in
