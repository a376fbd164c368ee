"""Stretches of time, numbers as text, and torch's names for them.

Source: the formatting of torch 2.13's tables, digit for digit.
"""

from typing import NamedTuple

__all__ = ["TIME_UNITS", "Formatted", "Interval", "show_memory", "show_share", "show_time"]

# What time_unit= may be, in us.
TIME_UNITS = {"s": 1_000_000.0, "ms": 1000.0, "us": 1.0}
_MEMORY_UNITS = (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))


class Interval(NamedTuple):
    """A stretch of time, in us since the trace's base."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """Its length."""
        return self.end - self.start


def show_time(time_us: float, unit: str | None = None) -> str:
    """A time in that unit, by default in the one that suits it."""
    if unit is None:
        unit = "s" if time_us >= TIME_UNITS["s"] else "ms" if time_us >= TIME_UNITS["ms"] else "us"
    return f"{time_us / TIME_UNITS[unit]:.3f}{unit}"


def show_share(part: float, whole: float) -> str:
    """A part of something in percent."""
    return f"{part * 100.0 / whole:.2f}%" if whole else "NaN"


def show_memory(size_bytes: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, scale in _MEMORY_UNITS:
        if abs(size_bytes) >= scale:
            return f"{size_bytes / scale:.2f} {unit}"
    return f"{size_bytes} B"


def _shown(attribute: str) -> property:
    return property(lambda self: show_time(getattr(self, attribute)), doc=f"{attribute} with its unit.")


def _renamed(attribute: str) -> property:
    return property(lambda self: getattr(self, attribute), doc=f"{attribute}; torch's older name.")


class Formatted:
    """The names that torch's events and averages share: means, times as text, and older names."""

    __slots__ = ()

    count: int

    cpu_time_str = _shown("cpu_time")
    cpu_time_total_str = _shown("cpu_time_total")
    self_cpu_time_total_str = _shown("self_cpu_time_total")
    device_time_str = _shown("device_time")
    device_time_total_str = _shown("device_time_total")
    self_device_time_total_str = _shown("self_device_time_total")
    cuda_time = _renamed("device_time")
    cuda_time_total = _renamed("device_time_total")
    self_cuda_time_total = _renamed("self_device_time_total")
    cuda_memory_usage = _renamed("device_memory_usage")
    self_cuda_memory_usage = _renamed("self_device_memory_usage")

    @property
    def cpu_time(self) -> float:
        """The average length, in us."""
        return self._mean("cpu_time_total")

    @property
    def device_time(self) -> float:
        """The average time of a device, in us."""
        return self._mean("device_time_total")

    def _mean(self, attribute: str) -> float:
        total: float = getattr(self, attribute)
        return total / self.count if self.count else 0.0
