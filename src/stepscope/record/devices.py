"""The devices that a framework has registered, and what it calls them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stepscope.model.devices import CPU, Device, DeviceKind, kind_named

__all__ = ["Registration", "device_from", "register_device", "registered", "registration_of"]


class Registration(NamedTuple):
    """What a framework has registered of a kind of device.

    Attributes:
        kind: which.
        allocated_bytes: a device's index -> how much of its memory is allocated now; None: nobody can say.
        flush: hands over what devices have done; None: that needs no call.
    """

    kind: DeviceKind
    allocated_bytes: Callable[[int], int] | None
    flush: Callable[[], object] | None


_REGISTERED: dict[DeviceKind, Registration] = {}


def register_device(
    name: str,
    *,
    allocated_bytes: Callable[[int], int] | None = None,
    flush: Callable[[], object] | None = None,
) -> None:
    """Say that a framework runs operators on a kind of device; once, when the framework is imported.

    `stepscope.supported_activities()` has it from then on. Registered again, the latest holds.

    Args:
        name: "CPU", "CUDA", "XPU", "HPU", "MTIA", "NPU" or "PrivateUse1".
        allocated_bytes: called with a device's index around each operator while a profile records with
            profile_memory=True; returns how much of that device's memory is allocated. For the CPU, tracemalloc is
            asked where nothing is registered.
        flush: called when a recording ends, to hand over by device_slice() what devices have done until then.

    Raises:
        ValueError: there is no such kind of device; the message names those there are.
    """
    kind = kind_named(name)
    _REGISTERED[kind] = Registration(kind, allocated_bytes, flush)


def registered() -> Iterator[Registration]:
    """What is registered, in order of registration."""
    return iter(tuple(_REGISTERED.values()))


def registration_of(kind: DeviceKind) -> Registration | None:
    """What is registered of a kind of device."""
    return _REGISTERED.get(kind)


def device_from(device: Any) -> Device:
    """The device that a framework means.

    Args:
        device: None for the CPU, a text such as "npu" or "npu:1", or an object with type and index, as torch.device is.

    Raises:
        ValueError: there is no such kind of device, or what stands for its index is no number.
    """
    if device is None:
        return Device(CPU, 0)
    kind = getattr(device, "type", None)
    if isinstance(kind, str):
        return Device(kind_named(kind), getattr(device, "index", None) or 0)
    name, _, index = str(device).partition(":")
    if index and not index.isdecimal():
        message = f"the device {str(device)!r} has no index behind the colon. Write it as 'npu:0'."
        raise ValueError(message)
    return Device(kind_named(name), int(index or 0))
