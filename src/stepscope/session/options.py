"""What a profile may be asked for besides its schedule and its handler: torch's options and ours, each stated once."""

import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypedDict, cast

from stepscope.model.errors import StepscopeWarning
from stepscope.record.call_options import CallOptions
from stepscope.record.sources import TORCH, is_installed
from stepscope.session.activities import ProfilerActivity, parse_activities, supported_activities

__all__ = ["Observer", "Options", "checked_options", "warn_unfilled"]


class Observer(Protocol):
    """What torch calls an execution trace observer: started and stopped with every recording."""

    def start(self) -> None:
        """A recording begins."""

    def stop(self) -> None:
        """It has ended."""

    def cleanup(self) -> None:
        """The profile's with block has ended."""


class Options(TypedDict, total=False):
    """The keyword arguments of `Recording` and `profile`; `Recording` says what each means."""

    activities: Iterable[Any] | None
    record_shapes: bool
    profile_memory: bool
    record_gc: bool
    record_tasks: bool
    record_stacks: bool
    with_cpu_time: bool
    with_stack: bool | CallOptions
    with_flops: bool
    with_modules: bool
    experimental_config: Any
    execution_trace_observer: Observer | None
    acc_events: bool
    custom_trace_id_callback: Callable[[], str] | None
    post_processing_timeout_s: float | None
    keep_sessions: int | None
    buffer_bytes: int
    buffer_policy: str


DEFAULTS = Options(
    activities=None,
    record_shapes=False,
    profile_memory=False,
    record_gc=False,
    record_tasks=False,
    record_stacks=False,
    with_cpu_time=False,
    with_stack=False,
    with_flops=False,
    with_modules=False,
    experimental_config=None,
    execution_trace_observer=None,
    acc_events=False,
    custom_trace_id_callback=None,
    post_processing_timeout_s=None,
    keep_sessions=None,
    buffer_bytes=1 << 30,
    buffer_policy="stop",
)

# torch's options for what stepscope records no source of yet: accepted, so that a port runs, and said.
UNFILLED = {
    "experimental_config": "it configures kineto, which is not used",
    "post_processing_timeout_s": "what is recorded is processed in the background, to the end",
}


def checked_options(options: Options) -> Options:
    """All options, those left out by default.

    Raises:
        TypeError: there is no such option, or one has a value of another type.
        ValueError: an option has a value that makes no sense.
    """
    for name in options:
        if name not in DEFAULTS:
            message = f"profile() got an unexpected keyword argument {name!r}. It takes {', '.join(DEFAULTS)}."
            raise TypeError(message)
    chosen = cast("Options", {**DEFAULTS, **options})
    _check_stack(chosen["with_stack"])
    activities = parse_activities(chosen["activities"])
    if chosen["activities"] is not None:  # without a choice everything is recorded, whatever is registered later
        chosen["activities"] = activities
    chosen["keep_sessions"] = _checked_keep(chosen["keep_sessions"], chosen["acc_events"])
    chosen["buffer_bytes"] = _checked_bytes(chosen["buffer_bytes"])
    if chosen["buffer_policy"] not in ("stop", "ring"):
        message = f'buffer_policy must be "stop" or "ring", got {chosen["buffer_policy"]!r}.'
        raise ValueError(message)
    return chosen


def _check_stack(with_stack: Any) -> None:
    if not isinstance(with_stack, (bool, CallOptions)):
        message = f"with_stack must be True, False or a CallOptions, got {with_stack!r}."
        raise TypeError(message)


def _checked_keep(keep_sessions: int | None, acc_events: bool) -> int | None:
    if keep_sessions is None:
        return None if acc_events else 1
    if isinstance(keep_sessions, bool) or not isinstance(keep_sessions, int) or keep_sessions < 1:
        message = f"keep_sessions must be an int of at least 1, got {keep_sessions!r}. Leave it out to keep the last."
        raise ValueError(message)
    return keep_sessions


def _checked_bytes(size_bytes: int) -> int:
    if isinstance(size_bytes, bool) or not isinstance(size_bytes, int) or size_bytes < 1:
        message = f"buffer_bytes must be an int of at least 1, got {size_bytes!r}. Leave it out for 1 GiB."
        raise ValueError(message)
    return min(size_bytes, sys.maxsize)


def warn_unfilled(options: Options) -> None:
    """Say which of the options asked for have no effect, in one warning.

    Args:
        options: as `checked_options` gives them.
    """
    activities: set[ProfilerActivity] = set(options["activities"] or ())
    reasons = [f"{name}= ({reason})" for name, reason in UNFILLED.items() if options.get(name)]
    if options["with_modules"] and not is_installed(TORCH):
        reasons.append("with_modules= (modules are torch's: call stepscope.integrations.torch.install() first)")
    reasons += [
        f"ProfilerActivity.{activity.name} (nothing registered it with stepscope.ops.register_device)"
        for activity in sorted(activities - supported_activities(), key=lambda item: item.value)
    ]
    if reasons:
        message = "without effect in this version of stepscope: " + ", ".join(reasons)
        warnings.warn(message, StepscopeWarning, stacklevel=5)
