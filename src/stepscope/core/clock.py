"""The clocks of one machine, read at one instant.

The Python core times spans with `ticks` (CLOCK_MONOTONIC on Linux, the cheapest one Python has), the C core with
CLOCK_BOOTTIME or the time-stamp counter. A trace places them on CLOCK_BOOTTIME, Perfetto's default, and on wall time,
by the offsets read here.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Clocks", "boottime_ns", "read_clocks", "ticks", "tsc_distrust", "use"]

ticks: Callable[[], int] = time.perf_counter_ns


class Clocks(NamedTuple):
    """Three clocks at one instant, in ns."""

    boottime_ns: int
    monotonic_ns: int
    realtime_ns: int


def boottime_ns() -> int:
    """CLOCK_BOOTTIME, or what the C core counts where there is none."""
    if _stand_in is not None:
        return _stand_in()
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if (clock := getattr(time, name, None)) is not None:
            return time.clock_gettime_ns(clock)
    return ticks()


def _read() -> tuple[int, Clocks]:
    before = ticks()
    boottime, realtime = boottime_ns(), time.time_ns()
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


CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
CPUINFO = "/proc/cpuinfo"


def tsc_distrust() -> str:
    """Why the processor's time-stamp counter is no clock here; "" where the kernel itself keeps time by it."""
    try:
        with open(CLOCKSOURCE, encoding="ascii") as file:
            source = file.read().strip()
        with open(CPUINFO, encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError as error:
        return f"it cannot be told what the kernel keeps time by ({error})"
    if source != "tsc":
        return f"the kernel keeps time by {source}"
    missing = [flag for flag in ("constant_tsc", "nonstop_tsc") if flag not in flags]
    return f"the processor does not claim {' and '.join(missing)}" if missing else ""
