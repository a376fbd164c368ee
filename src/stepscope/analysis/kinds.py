"""Kinds of slices: what torch's categories and names mean to averages.

Source: torch 2.13's FunctionEvent and kineto's activity types; our own spans have the category "user_annotation".
"""

import re
from enum import Enum

from stepscope.core.groups import ROW_ANNOTATION, ROW_DEVICE, ROW_HIDDEN

__all__ = ["MEMORY", "DeviceType", "class_of", "device_named", "is_hidden", "is_runtime", "key_of", "step_number"]

MEMORY = "[memory]"

_STEP = re.compile(r"ProfilerStep#(\d{1,18})\Z")
_ANNOTATIONS = frozenset({"user_annotation", "gpu_user_annotation"})
_DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset", "gpu_user_annotation", "memcpy", "memset"})
# "Trace" is kineto's own frame around everything, on a process that is none.
_HIDDEN = frozenset({"trace"})
# What torch leaves out of its tables; their time is that of the operator around them.
_HIDDEN_NAMES = frozenset(
    {
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "aten::is_leaf",
        "aten::output_nr",
        "aten::_version",
    }
)


class DeviceType(Enum):
    """Where an event ran; torch's names and numbers, and NPU, which is PrivateUse1 to torch."""

    CPU = 0
    CUDA = 1
    HIP = 6
    XPU = 12
    HPU = 15
    MTIA = 19
    PrivateUse1 = 20
    NPU = 20  # noqa: PIE796 - the same one


def key_of(name: str) -> str:
    """The name that averages go by: steps are one kind of slice, whatever their number."""
    return "ProfilerStep*" if _STEP.match(name) else name


def step_number(name: str) -> int | None:
    """The number of a step's slice; None for any other."""
    found = _STEP.match(name)
    return int(found[1]) if found else None


def is_hidden(name: str) -> bool:
    """Whether torch leaves slices of that name out."""
    return name in _HIDDEN_NAMES


def class_of(category: str) -> int:
    """The ROW_ bits of a category; torch has spelled some with capitals."""
    low = category.lower()
    return ROW_ANNOTATION * (low in _ANNOTATIONS) | ROW_DEVICE * (low in _DEVICE) | ROW_HIDDEN * (low in _HIDDEN)


def is_runtime(category: str) -> bool:
    """Whether slices of that category are calls into a device's driver, which bear the id of the operator around."""
    return category.lower().endswith(("_runtime", "_driver"))


def device_named(categories: set[str]) -> DeviceType:
    """The device of a trace with such categories: kineto calls every device's work "kernel", only drivers differ."""
    low = {category.lower() for category in categories}
    for prefix, device in (("xpu_", DeviceType.XPU), ("privateuse1_", DeviceType.PrivateUse1)):
        if any(category.startswith(prefix) for category in low):
            return device
    return DeviceType.CUDA
