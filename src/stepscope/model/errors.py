"""What can go wrong, by kind.

Every message says what happened, where, and what to do; only the command line turns one into an exit code.
"""

__all__ = [
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


class StepscopeError(Exception):
    """The base of every error of this package."""


class ScheduleError(StepscopeError, ValueError):
    """A schedule that cannot be followed: a bad argument, or something else than a ProfilerAction."""


class LifecycleError(StepscopeError, RuntimeError):
    """A call that the profiler's state does not allow, such as step() before start()."""


class TraceError(StepscopeError, ValueError):
    """Columns that do not make a Trace."""


class FormatError(StepscopeError, ValueError):
    """A file that is not what it should be; the message names file and place."""


class ExportError(StepscopeError, OSError):
    """A file that could not be written; the message names path, reason and fix. No half file is left."""


class DiffError(StepscopeError, ValueError):
    """A comparison that cannot be made: a rule that there is not, or a side without traces."""


class AnalysisError(StepscopeError, ValueError):
    """Something was asked of traces that they do not hold; the message says how to record it."""


class BudgetError(StepscopeError, AssertionError):
    """A trace holds more than it may; the message shows the calls."""


class CheckError(StepscopeError, RuntimeError):
    """The trace processor is not there, or refused a file."""


class ViewError(StepscopeError, RuntimeError):
    """A trace that cannot be shown in a browser; the message says what else to do."""


class StepscopeWarning(UserWarning):
    """Something the program should know, said once."""
