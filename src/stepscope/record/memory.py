"""Memory over time: what the process holds, and what Python's heap does, sampled by a thread of its own.

What the profiler itself holds is part of both. Nothing is read when nobody asks: the thread is there while a window is.
"""

import contextlib
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

from stepscope.core import kernels
from stepscope.core.rows import BLOCKS, MEMORY_SAMPLE, MEMORY_THREAD, NO_ADDRESS, PEAK, RESIDENT, TRACED
from stepscope.model.trace import Problem
from stepscope.record.sources import Harvest

__all__ = ["MemorySampler"]

INTERVAL_S = 0.01
# What the TensorBoard plugin makes its memory view of; torch's numbers for the CPU.
ON_THE_CPU = {**NO_ADDRESS, "Device Type": 0, "Device Id": -1}


class MemorySampler:
    """The source."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options
        self._pid = os.getpid()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=MEMORY_THREAD, daemon=True)
        self._resident_bytes: int | None = None
        self._problems: tuple[Problem, ...] = ()

    def start(self) -> None:
        """As Source."""
        self._resident, self._close = resident_memory()
        if self._resident is None:
            instead = "" if peak_bytes() is None else "; its peak is shown in its place"
            self._problems = (Problem("memory", 1, f"{sys.platform} does not say how much is resident{instead}"),)
        self.sample()
        self._thread.start()

    def stop(self) -> Harvest:
        """As Source."""
        if os.getpid() == self._pid:  # in a forked child there is no thread, and who held its locks is gone
            self._done.set()
            self._thread.join()
            self.sample()
        self._close()
        return Harvest(self._problems)

    def _run(self) -> None:
        kernels.mute_thread()
        while not self._done.wait(INTERVAL_S):
            self.sample()

    def sample(self) -> None:
        """Count what there is now."""
        if self._resident is not None:
            self._count_resident(self._resident())
        elif (peak := peak_bytes()) is not None:
            kernels.counter(PEAK[0], peak, PEAK[1])
        kernels.counter(BLOCKS[0], sys.getallocatedblocks(), BLOCKS[1])
        if tracemalloc.is_tracing():
            kernels.counter(TRACED[0], tracemalloc.get_traced_memory()[0], TRACED[1])

    def _count_resident(self, resident_bytes: int) -> None:
        kernels.counter(RESIDENT[0], resident_bytes, RESIDENT[1])
        before, self._resident_bytes = self._resident_bytes, resident_bytes
        if before is not None and before != resident_bytes:
            total = {"Total Allocated": resident_bytes, "Total Reserved": resident_bytes}
            kernels.instant_of(MEMORY_SAMPLE, {**ON_THE_CPU, "Bytes": resident_bytes - before, **total})


def resident_memory() -> tuple[Callable[[], int] | None, Callable[[], None]]:
    """How to read this process's resident bytes, None where the system does not say; and what to call at the end."""
    try:
        file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None, lambda: None
    page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read() -> int:
        return int(os.pread(file, 100, 0).split()[1]) * page_bytes

    def close() -> None:
        with contextlib.suppress(OSError):
            os.close(file)

    return read, close


def peak_bytes() -> int | None:
    """The most that was ever resident; None where the system does not say."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
