"""How much memory operators allocate: their device's allocator is asked before and after each.

Operators say what it was before and after. Of a device every change is a "[memory]" instant, too, as torch's traces
have them, inside the operator that made it: after the last of those inside it, or before it where the program did it
between two. Of the CPU those are the process's, which memory.py samples. What several threads do at one time cannot be
told apart. Of Python's own memory what recording itself takes is left out.
"""

import tracemalloc
from typing import Any

from stepscope.core import kernels
from stepscope.core.rows import Label
from stepscope.model.devices import CPU, Device
from stepscope.model.trace import Problem
from stepscope.record.devices import registration_of

__all__ = ["OpMemory"]

INSTANT = Label("[memory]", "cpu_instant_event")


class OpMemory:
    """What the allocators have told in one window."""

    def __init__(self) -> None:
        self._told: dict[Device, int] = {}
        self._own_bytes = 0
        self._traces = False
        self._failed = 0
        self._failure = ""

    def close(self) -> tuple[Problem, ...]:
        """Trace no allocations any more; the problems there were."""
        if self._traces:
            self._traces = False
            tracemalloc.stop()
        return (Problem("memory", self._failed, self._failure),) if self._failed else ()

    def tell(self, device: Device) -> int | None:
        """How much of a device's memory is allocated now; None: nobody can say."""
        try:
            now = self._allocated(device)
        except Exception as error:  # noqa: BLE001 - the framework's allocator may raise anything, and its operator runs
            self._failed += 1
            self._failure = self._failure or f"the allocator of {device.text} raised {type(error).__name__}: {error}"
            return None
        if now is None:
            return None
        before = self._told.get(device, now)
        self._told[device] = now
        if now != before and device.kind is not CPU:
            kernels.instant_of(INSTANT, _change(device, now - before, now))
        return now

    def leave_out(self, device: Device) -> None:
        """What Python has allocated since the last word on this device was for recording."""
        if device in self._told and not _has_allocator(device) and tracemalloc.is_tracing():
            self._own_bytes = tracemalloc.get_traced_memory()[0] - self._told[device]

    def _allocated(self, device: Device) -> int | None:
        known = registration_of(device.kind)
        if known is not None and known.allocated_bytes is not None:
            return int(known.allocated_bytes(device.index))
        if device.kind is not CPU:
            return None
        if not tracemalloc.is_tracing():
            tracemalloc.start()
            self._traces = True
        return tracemalloc.get_traced_memory()[0] - self._own_bytes


def _has_allocator(device: Device) -> bool:
    known = registration_of(device.kind)
    return known is not None and known.allocated_bytes is not None


def _change(device: Device, size_bytes: int, allocated_bytes: int) -> dict[str, Any]:
    return {
        "Bytes": size_bytes,
        "Total Allocated": allocated_bytes,
        "Device Type": device.kind.number,
        "Device Id": device.index,
        "Device": device.text,
    }
