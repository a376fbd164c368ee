"""A profiler for programs that run in steps, with torch.profiler's lifecycle and without torch.

from stepscope import profile, record_function, schedule, trace_handler

with profile(schedule=schedule(wait=1, warmup=1, active=3, repeat=2),
             on_trace_ready=trace_handler("./log")) as prof:
    for batch in loader:
        with record_function("forward"):
            ...
        prof.step()

PYTEST_DONT_REWRITE: the plugin for pytest is in here, and pytest would warn where stepscope is imported before it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepscope import ops
    from stepscope.analysis.budget import Budget
    from stepscope.analysis.diff import Diff
    from stepscope.core import kernels
    from stepscope.formats.files import read, write
    from stepscope.model.errors import (
        AnalysisError,
        BudgetError,
        CheckError,
        DiffError,
        ExportError,
        FormatError,
        LifecycleError,
        ScheduleError,
        StepscopeError,
        StepscopeWarning,
        TraceError,
        ViewError,
    )
    from stepscope.model.trace import Trace
    from stepscope.record.call_options import CallOptions
    from stepscope.session.activities import ProfilerActivity, supported_activities
    from stepscope.session.comparison import diff, overlay
    from stepscope.session.handlers import tensorboard_trace_handler, trace_handler
    from stepscope.session.profile import profile
    from stepscope.session.schedule import ProfilerAction, explain, schedule
    from stepscope.session.session import Session
    from stepscope.session.steps import annotate_step, step

    record_function = kernels.record_function
    instant = kernels.instant
    counter = kernels.counter
    flow_start = kernels.flow_start
    flow_step = kernels.flow_step
    flow_end = kernels.flow_end

__all__ = [
    # the lifecycle, with torch's names
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
    # and what goes beyond them
    "Budget",
    "CallOptions",
    "Diff",
    "Session",
    "Trace",
    "annotate_step",
    "counter",
    "diff",
    "explain",
    "flow_end",
    "flow_start",
    "flow_step",
    "instant",
    "ops",
    "overlay",
    "read",
    "step",
    "trace_handler",
    "write",
    # what can go wrong
    "AnalysisError",
    "BudgetError",
    "CheckError",
    "DiffError",
    "ExportError",
    "FormatError",
    "LifecycleError",
    "ScheduleError",
    "StepscopeError",
    "StepscopeWarning",
    "TraceError",
    "ViewError",
]

# Imported when somebody asks for it: what a program does not use costs it nothing. Above all pytest, which imports this
# package for the plugin wherever it is installed.
_ON_DEMAND = {
    "ProfilerAction": "stepscope.session.schedule",
    "ProfilerActivity": "stepscope.session.activities",
    "profile": "stepscope.session.profile",
    "step": "stepscope.session.steps",
    "schedule": "stepscope.session.schedule",
    "supported_activities": "stepscope.session.activities",
    "CallOptions": "stepscope.record.call_options",
    "read": "stepscope.formats.files",
    "Diff": "stepscope.analysis.diff",
    "diff": "stepscope.session.comparison",
    "overlay": "stepscope.session.comparison",
    "tensorboard_trace_handler": "stepscope.session.handlers",
    "Session": "stepscope.session.session",
    "annotate_step": "stepscope.session.steps",
    "Trace": "stepscope.model.trace",
    "explain": "stepscope.session.schedule",
    "trace_handler": "stepscope.session.handlers",
    "write": "stepscope.formats.files",
    "AnalysisError": "stepscope.model.errors",
    "Budget": "stepscope.analysis.budget",
    "BudgetError": "stepscope.model.errors",
    "CheckError": "stepscope.model.errors",
    "DiffError": "stepscope.model.errors",
    "ExportError": "stepscope.model.errors",
    "FormatError": "stepscope.model.errors",
    "LifecycleError": "stepscope.model.errors",
    "ScheduleError": "stepscope.model.errors",
    "StepscopeError": "stepscope.model.errors",
    "StepscopeWarning": "stepscope.model.errors",
    "TraceError": "stepscope.model.errors",
    "ViewError": "stepscope.model.errors",
}
_KERNELS = ("counter", "flow_end", "flow_start", "flow_step", "instant", "record_function")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("core", "ops"):
        return import_module(f"stepscope.{name}")
    if name in _KERNELS:
        value = globals()[name] = getattr(import_module("stepscope.core").kernels, name)
        return value
    if name in _ON_DEMAND:
        value = globals()[name] = getattr(import_module(_ON_DEMAND[name]), name)
        return value
    message = f"module 'stepscope' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _follow() -> None:
    """Where a program whose profile has children=True has started this one: record with it."""
    from os import environ

    if environ.get("STEPSCOPE_FOLLOW"):
        from stepscope.session.children import follow_environment

        follow_environment()


_follow()
