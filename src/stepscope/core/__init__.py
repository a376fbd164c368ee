"""Which core is in use, and why.

A core is an implementation of the hot kernels: recording a span, pairing records, containment, the rows of the
two file formats. `kernels` is the one in use; every other room calls it and never asks which one it is.
`twin` is the Python core: complete by itself, readable, and the specification of any faster one.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from stepscope.core import clock
from stepscope.core import twin as kernels

__all__ = ["CoreInfo", "info", "kernels", "use_clock"]


class CoreInfo(NamedTuple):
    """The core in use.

    Attributes:
        name: "python"; the name STEPSCOPE_CORE takes.
        reason: why this one.
    """

    name: str
    reason: str


def _choose(wanted: str | None) -> CoreInfo:
    """Hold the wish against what this build has.

    Raises:
        ImportError: STEPSCOPE_CORE names a core that this build does not have.
    """
    if wanted in (None, ""):
        return CoreInfo("python", "the only core of this build")
    if wanted == "python":
        return CoreInfo("python", "STEPSCOPE_CORE=python")
    message = (
        f"STEPSCOPE_CORE={wanted}: this build has the Python core only. "
        "Unset the variable, or set STEPSCOPE_CORE=python."
    )
    raise ImportError(message)


_INFO = _choose(os.environ.get("STEPSCOPE_CORE"))


def info() -> CoreInfo:
    """Say which core is in use and why."""
    return _INFO


def use_clock(ticks: Callable[[], int] | None) -> None:
    """Put another clock under everything, for tests with exact numbers; None goes back to the real ones."""
    kernels.use_ticks(ticks)
    clock.use(ticks)
