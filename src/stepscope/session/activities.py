"""The activities a profile may ask for, and the options that nothing here can fill yet.

Source: torch.profiler.ProfilerActivity and supported_activities of torch 2.13.
"""

import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from stepscope.model.errors import StepscopeWarning

__all__ = ["ProfilerActivity", "parse_activities", "supported_activities", "warn_unfilled"]


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


# torch's options for what stepscope records no source of yet: accepted, so that a port runs, and said.
UNFILLED = {
    "record_shapes": "there are no operators to record the shapes of",
    "profile_memory": "memory is not sampled",
    "with_stack": "function calls are not traced",
    "with_flops": "there are no operators to count the FLOPS of",
    "with_modules": "module hierarchies are not recorded",
    "experimental_config": "it configures kineto, which is not used",
    "post_processing_timeout_s": "what is recorded is processed in the background, to the end",
}


def warn_unfilled(options: Mapping[str, Any], activities: set[ProfilerActivity]) -> None:
    """Say which of the options asked for have no effect, in one warning."""
    reasons = [f"{name}= ({reason})" for name, reason in UNFILLED.items() if options.get(name)]
    reasons += [
        f"ProfilerActivity.{activity.name} (no source records it)"
        for activity in sorted(activities - supported_activities(), key=lambda item: item.value)
    ]
    if reasons:
        message = "without effect in this version of stepscope: " + ", ".join(reasons)
        warnings.warn(message, StepscopeWarning, stacklevel=5)
