"""The kinds of devices there are, and what their tracks are called.

Source: torch's ProfilerActivity and c10::DeviceType of torch 2.13. NPU is no kind of torch's: its backends are
PrivateUse1 there, and so it is to programs that ask for torch's names; people see NPU.
"""

import re
from typing import NamedTuple

__all__ = ["CPU", "DEVICE_KINDS", "Device", "DeviceKind", "device_of_track", "kind_named", "stream_track"]


class DeviceKind(NamedTuple):
    """A kind of device.

    Attributes:
        name: what people call it.
        activity: the name of the ProfilerActivity that it is.
        number: torch's.
        spelling: what it is called in front of a device's index.
    """

    name: str
    activity: str
    number: int
    spelling: str


CPU = DeviceKind("CPU", "CPU", 0, "cpu")
DEVICE_KINDS = (
    CPU,
    DeviceKind("CUDA", "CUDA", 1, "cuda"),
    DeviceKind("XPU", "XPU", 12, "xpu"),
    DeviceKind("HPU", "HPU", 15, "hpu"),
    DeviceKind("MTIA", "MTIA", 19, "mtia"),
    DeviceKind("PrivateUse1", "PrivateUse1", 20, "privateuseone"),
    DeviceKind("NPU", "PrivateUse1", 20, "npu"),
)
_BY_NAME = {name.lower(): kind for kind in DEVICE_KINDS for name in (kind.name, kind.spelling)}
_TRACK = re.compile(r"stream (-?\d+) \((\w+) (\d+)\)")


class Device(NamedTuple):
    """One device: which of its kind."""

    kind: DeviceKind
    index: int  # type: ignore[assignment] # it hides tuple.index, which nobody asks of a device

    @property
    def text(self) -> str:
        """As torch spells it, such as "cuda:0"; the CPU is one."""
        return "cpu" if self.kind is CPU else f"{self.kind.spelling}:{self.index}"


def kind_named(name: str) -> DeviceKind:
    """The kind of that name, in whatever case.

    Raises:
        ValueError: there is none.
    """
    kind = _BY_NAME.get(name.lower())
    if kind is None:
        known = ", ".join(kind.name for kind in DEVICE_KINDS)
        message = f"there is no kind of device called {name!r}. Known are {known}."
        raise ValueError(message)
    return kind


def stream_track(device: Device, stream: int) -> str:
    """What the track of a device's stream is called."""
    return f"stream {stream} ({device.kind.name} {device.index})"


def device_of_track(name: str) -> Device | None:
    """The device whose stream a track, or a lane of it, is by its name; None for any other track."""
    found = _TRACK.match(name)
    kind = None if found is None else _BY_NAME.get(found[2].lower())
    return None if found is None or kind is None else Device(kind, int(found[3]))
