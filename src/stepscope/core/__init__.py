"""Which core is in use, and why.

A core is an implementation of the hot kernels: recording a span, pairing records, containment, the rows of the
two file formats. `kernels` is the one in use; every other room calls it and never asks which one it is.
`twin` is the Python core: complete by itself, readable, and the specification of `stepscope._native`, the C core.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from stepscope.core import clock

if TYPE_CHECKING:
    from stepscope.core import twin as kernels

__all__ = ["CoreInfo", "info", "kernels", "missing", "use_clock"]


class CoreInfo(NamedTuple):
    """The core in use.

    Attributes:
        name: "c" or "python"; the names that STEPSCOPE_CORE takes.
        reason: why this one.
        clock: what times spans: "boottime", "tsc" (the time-stamp counter) or "monotonic".
    """

    name: str
    reason: str
    clock: str


def _load(wanted: str) -> tuple[Any, str, str]:
    """The kernels to use, their core's name, and why.

    Raises:
        ImportError: STEPSCOPE_CORE names a core that is not here, or none at all.
    """
    if wanted not in ("", "c", "python"):
        message = f"STEPSCOPE_CORE={wanted}: there is no such core. Set it to c or python, or unset it."
        raise ImportError(message)
    if wanted != "python":
        try:
            from stepscope import _native
        except ImportError as error:
            reason = f"the C core is not here: {_why_missing() or error}"
            if wanted == "c":
                message = f"STEPSCOPE_CORE=c: {reason}. Install with a C compiler, or unset the variable."
                raise ImportError(message) from error
        else:
            return _native, "c", "STEPSCOPE_CORE=c" if wanted else "it is built, and the faster one"
    from stepscope.core import twin

    return twin, "python", "STEPSCOPE_CORE=python" if wanted else reason


def _why_missing() -> str:
    """What was noted when it could not build the C core; "" if nothing."""
    try:
        with open(os.path.join(os.path.dirname(__file__), "..", "_native_missing.txt"), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _choose_clock(wanted: str) -> None:
    """Time spans with the time-stamp counter where the kernel trusts it, or as STEPSCOPE_CLOCK says.

    Raises:
        ImportError: STEPSCOPE_CLOCK names a clock that is not here, or none at all.
    """
    if wanted not in ("", "auto", "boottime", "tsc"):
        message = f"STEPSCOPE_CLOCK={wanted}: there is no such clock. Set it to auto, boottime or tsc, or unset it."
        raise ImportError(message)
    if wanted == "boottime":
        return
    distrust = clock.tsc_distrust()
    if not distrust:
        distrust = "" if kernels.use_tsc(True) else "this core cannot read it"
    if distrust and wanted == "tsc":
        message = f"STEPSCOPE_CLOCK=tsc: {distrust}. Set it to boottime, or unset it."
        raise ImportError(message)


kernels, _name, _reason = _load(os.environ.get("STEPSCOPE_CORE", ""))
_choose_clock(os.environ.get("STEPSCOPE_CLOCK", ""))


def info() -> CoreInfo:
    """Say which core is in use and why."""
    return CoreInfo(_name, _reason, "tsc" if kernels.tsc_in_use() else kernels.CLOCK)


def missing() -> str:
    """Why the Python core is in use although nobody asked for it; "" if that is not so."""
    return _reason if _name == "python" and not os.environ.get("STEPSCOPE_CORE") else ""


def use_clock(ticks: Callable[[], int] | None) -> None:
    """Put another clock under everything, for tests with exact numbers; None goes back to the real ones."""
    kernels.use_ticks(ticks)
    clock.use(ticks)
