"""Device slices: work that a device did at times of its own, while the program went on.

They are on tracks of their own, one a stream, and an arrow leads to each from the operator that launched it. What a
device did at the edge of the recorded window is cut there.
"""

import threading
from collections import deque
from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple

from stepscope.core import clock
from stepscope.core.values import freeze_args, legal_name
from stepscope.model.build import TraceBuilder
from stepscope.model.devices import CPU, Device, stream_track
from stepscope.model.trace import Problem
from stepscope.record.devices import device_from, registration_of

__all__ = ["BUDGET_PART", "OPERATOR", "DeviceSlices", "device_slice"]

# The category of operators, torch's.
OPERATOR = "cpu_op"
# kineto's categories of what a device does.
CATEGORIES = {"kernel": "kernel", "memcpy": "gpu_memcpy", "memset": "gpu_memset"}
# What arrows from an operator to its work are called; kineto's name, which stands for "async CPU to GPU".
FLOW = "ac2g"
# About what one takes until the trace is built, and the part of a profile's budget that all may take.
SLICE_BYTES = 512
BUDGET_PART = 4


class _Slice(NamedTuple):
    """One piece of work; times are on CLOCK_BOOTTIME."""

    device: Device
    stream: int
    name: str
    category: str
    start_ns: int
    end_ns: int
    args: dict[str, Any]


class DeviceSlices:
    """Collects those of one window.

    Args:
        wanted: the names of the activities whose slices are recorded; None for all.
        size_bytes: what they may take in memory.
        ring: whether the oldest give way to new ones when that is spent.
    """

    collecting: "DeviceSlices | None" = None

    def __init__(self, wanted: frozenset[str] | None, size_bytes: int, ring: bool) -> None:
        self._wanted = wanted
        self._most = size_bytes // SLICE_BYTES
        self._ring = ring
        self._slices: deque[_Slice] = deque(maxlen=self._most if ring else None)
        self._dropped = 0
        self._lock = threading.Lock()
        self._opened = self._sealed = 0

    def open(self) -> None:
        """The window has opened."""
        self._opened = clock.boottime_ns()
        DeviceSlices.collecting = self

    def seal(self) -> None:
        """The window is about to be sealed."""
        self._sealed = clock.boottime_ns()
        DeviceSlices.collecting = None

    def take(self, piece: _Slice) -> None:
        """Keep one, if it is wanted and there is room."""
        if self._wanted is not None and piece.device.kind.activity not in self._wanted:
            return
        with self._lock:
            full = len(self._slices) >= self._most
            self._dropped += full
            if self._ring or not full:
                self._slices.append(piece)

    def problems(self) -> tuple[Problem, ...]:
        """What there was no room for, and what was not in the window."""
        found = []
        if self._dropped:
            found.append(Problem("dropped", self._dropped, "the memory for what devices did was spent"))
        outside = [piece for piece in self._slices if not self._is_inside(piece)]
        if outside:
            piece = outside[0]
            what = (
                f"{piece.name!r} on {piece.device.text}, from {piece.start_ns} to {piece.end_ns} ns, is outside of the "
                f"recorded window, {self._opened} to {self._sealed} ns by stepscope.ops.now()"
            )
            found.append(Problem("outside", len(outside), what))
        return tuple(found)

    def add(self, builder: TraceBuilder) -> None:
        """Put them into the trace, on a track a stream."""
        pieces = [piece for piece in self._slices if self._is_inside(piece)]
        if not pieces:
            return
        origin, tracks = builder.origin, dict[tuple[Device, int], int]()
        for device, stream in sorted({(piece.device, piece.stream) for piece in pieces}):
            name = stream_track(device, stream)
            tracks[device, stream] = builder.thread(origin.pid, 0, name, origin.process, kind="device")
        launchers = builder.rows_by("External id", OPERATOR)
        for piece in pieces:
            start, end = max(piece.start_ns, self._opened), min(piece.end_ns, self._sealed)
            ts = start - origin.boottime_offset_ns
            cut = (start, end) != (piece.start_ns, piece.end_ns)
            track = tracks[piece.device, piece.stream]
            row = builder.slice(track, piece.name, ts, end - start, cat=piece.category, args=piece.args, cut=cut)
            launcher = launchers.get(piece.args.get("External id"))
            if launcher is not None:
                builder.annotate(launcher, {"correlation": piece.args["correlation"]})
                builder.flow(FLOW, (launcher, row))

    def _is_inside(self, piece: _Slice) -> bool:
        return piece.end_ns >= self._opened and piece.start_ns <= self._sealed


def device_slice(
    name: str,
    device: Any,
    stream: int,
    start_ns: int,
    end_ns: int,
    *,
    correlation: int = 0,
    kind: str = "kernel",
    args: Mapping[str, Any] | None = None,
) -> None:
    """Record work that a device has done; from any thread, in any order, while a profile records or in a flush.

    Args:
        name: what it is called.
        device: which, as "npu:0"; its kind must be registered.
        stream: the number of its queue.
        start_ns: when it began, on the clock of now().
        end_ns: when it ended, not before it began.
        correlation: what current() was where it was launched: the operator that an arrow leads from. 0 for none.
        kind: "kernel", "memcpy" or "memset".
        args: shown on the slice.

    Raises:
        ValueError: the device is none that is registered, the kind is none of these, or it ends before it begins.
        TypeError: a time, or the stream, is no int.
    """
    slices = DeviceSlices.collecting
    if slices is None:
        return
    found = device_from(device)
    if found.kind is CPU or registration_of(found.kind) is None:
        message = (
            f"{name!r} is on {found.text}, which is not registered as a device. "
            f"Call stepscope.ops.register_device({found.kind.name!r}) where the framework is imported."
        )
        raise ValueError(message)
    if kind not in CATEGORIES:
        message = f"{name!r} is work of kind {kind!r}. Use one of {', '.join(map(repr, CATEGORIES))}."
        raise ValueError(message)
    if end_ns < start_ns:
        message = f"{name!r} ends at {end_ns} ns, before it begins at {start_ns} ns."
        raise ValueError(message)
    own: dict[str, Any] = {"device": found.index, "stream": index(stream)}
    if correlation:
        own |= {"correlation": correlation, "External id": correlation}
    given = freeze_args(args) if args else {}
    times = index(start_ns), index(end_ns)
    slices.take(_Slice(found, stream, legal_name(name), CATEGORIES[kind], *times, {**given, **own}))
