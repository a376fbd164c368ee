"""The activities a profile may ask for.

Source: torch.profiler.ProfilerActivity and supported_activities of torch 2.13.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

__all__ = ["ProfilerActivity", "parse_activities", "supported_activities"]


class ProfilerActivity(Enum):
    """What a profile records; the values are torch's."""

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5


def supported_activities() -> set[ProfilerActivity]:
    """What this version records: the spans of the program, which are CPU activity."""
    return {ProfilerActivity.CPU}


def parse_activities(activities: Iterable[Any] | None) -> set[ProfilerActivity]:
    """Check a list of activities, each an activity or a mapping of one to the type names wanted of it.

    Raises:
        TypeError: an item is neither.
        ValueError: an activity stands twice, or there is none.
    """
    if activities is None:
        return supported_activities()
    if isinstance(activities, (str, Mapping, ProfilerActivity)):
        message = f"activities must be a list, got {activities!r}. Use activities=[ProfilerActivity.CPU]."
        raise TypeError(message)
    found: list[ProfilerActivity] = []
    for item in activities:
        found.extend(item if isinstance(item, Mapping) else [item])
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
