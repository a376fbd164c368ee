"""Names and keys that loaders of Chrome JSON keep for themselves: a user's are spelled otherwise in the file.

    in the trace                        in the file
    a name: ProfilerStep#abc            user:ProfilerStep#abc       HTA and TensorBoard refuse the file over it
    a key: stream, correlation          user:stream                 HTA takes the slice for a GPU's, or stops

What a device or its driver did keeps its keys, as these are what HTA looks for. What is spelled like that in the trace
already gets one more "user:", so that reading finds each as it was.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["has_spelled", "is_reserved", "of_device", "read_args", "read_name", "spell_args", "spell_name"]

PREFIX = "user:"
# More digits than this are no number of a step to anybody.
_STEP = re.compile(r"ProfilerStep#\d{1,18}", re.ASCII)
_NAME = re.compile(r"(?:user:)*ProfilerStep")
_KEY = re.compile(r"(?:user:)*(?:stream|correlation)")
_SPELLED_KEY = re.compile(r"(?:user:)+(?:stream|correlation)")
_DEVICE = re.compile(r"kernel|gpu|cuda|xpu|hpu|mtia|hip|mem(?:cpy|set)|_runtime|_driver", re.IGNORECASE)


def spell_name(text: str) -> str:
    """A text of a trace as it stands in the file."""
    return PREFIX + text if _NAME.match(text) and not _STEP.fullmatch(text) else text


def read_name(text: str) -> str:
    """A text in a file of ours as it was in the trace."""
    return text[len(PREFIX) :] if text.startswith(PREFIX) and _NAME.match(text) else text


def of_device(category: str) -> bool:
    """Whether a device or its driver did what has this category."""
    return _DEVICE.search(category) is not None


def is_reserved(encoded: bytes) -> bool:
    """Whether arguments, as JSON, may have a key that is spelled otherwise; quick, and seldom wrong."""
    return b'stream":' in encoded or b'correlation":' in encoded


def spell_args(args: Mapping[str, Any], *, device: bool) -> dict[str, Any]:
    """Arguments of a trace as they stand in the file; `device` as `of_device` says."""
    pattern = _SPELLED_KEY if device else _KEY
    return {PREFIX + key if pattern.fullmatch(key) else key: value for key, value in args.items()}


def has_spelled(encoded: bytes) -> bool:
    """Whether arguments in a file may have a key that is spelled otherwise; quick, and seldom wrong."""
    return b'"user:' in encoded


def read_args(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in a file of ours as they were in the trace."""
    return {key[len(PREFIX) :] if _SPELLED_KEY.fullmatch(key) else key: value for key, value in args.items()}
