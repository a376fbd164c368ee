"""The activities a profile may ask for.

Source: torch.profiler.ProfilerActivity and supported_activities of torch 2.13. NPU is another name of PrivateUse1, as
its backends are that to torch.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from stepscope.model.devices import kind_named
from stepscope.record.devices import registered

__all__ = ["ProfilerActivity", "parse_activities", "supported_activities"]


class ProfilerActivity(Enum):
    """What a profile records; the values are torch's."""

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5
    NPU = 5  # noqa: PIE796 - the same one


def supported_activities() -> set[ProfilerActivity]:
    """What can be recorded here: the CPU, and the devices that a framework has registered with stepscope.ops."""
    return {ProfilerActivity.CPU, *(ProfilerActivity[known.kind.activity] for known in registered())}


def parse_activities(activities: Iterable[Any] | None) -> set[ProfilerActivity]:
    """Check a list of activities, each an activity, its name, or a mapping of one to the type names wanted of it.

    Raises:
        TypeError: an item is none of these.
        ValueError: an activity stands twice, there is none, or there is none of that name.
    """
    if activities is None:
        return supported_activities()
    if isinstance(activities, (str, Mapping, ProfilerActivity)):
        message = f"activities must be a list, got {activities!r}. Use activities=[ProfilerActivity.CPU]."
        raise TypeError(message)
    found: list[ProfilerActivity] = []
    for item in activities:
        found.extend(item if isinstance(item, Mapping) else [item])
    found = [_named(item) if isinstance(item, str) else item for item in found]
    for activity in found:
        if not isinstance(activity, ProfilerActivity):
            known = ", ".join(f"ProfilerActivity.{known.name}" for known in ProfilerActivity)
            message = f"activities has {activity!r} of type {type(activity).__name__}. Use {known}."
            raise TypeError(message)
        if found.count(activity) > 1:
            message = f"activities has {activity} more than once. Name each activity once."
            raise ValueError(message)
    if not found:
        message = "activities is empty: nothing would be recorded. Leave it out to record everything."
        raise ValueError(message)
    return set(found)


def _named(name: str) -> ProfilerActivity:
    try:
        return ProfilerActivity[kind_named(name).activity]
    except ValueError as error:
        message = f"activities has {name!r}: {error}"
        raise ValueError(message) from error
