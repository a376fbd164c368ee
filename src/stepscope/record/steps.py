"""Steps of asyncio's tasks: a slice on the thread's own track for each stretch in which a task runs.

The spans of a task stand on its lane, where nothing says when the task ran and when it waited. A loop runs each step,
from await to await, and each other callback, through its Handle: that method is replaced while a window is open. Where
CPU time is measured the recorder is told of each step, too, so that a span has what its own task has computed; and
where asyncio does not say which task runs, so that there are lanes at all.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from stepscope.core import kernels
from stepscope.core.rows import Label
from stepscope.core.tasks import FOUND, asyncio_is_silent, find_asyncio, task_name
from stepscope.model.trace import Problem
from stepscope.record.sources import Harvest

if TYPE_CHECKING:
    from stepscope.core.twin import Span
    from stepscope.model.build import TraceBuilder

__all__ = ["CATEGORY", "SilentTasks", "TaskSteps", "span_of_step"]

CATEGORY = "task_step"
# What a task has called on its loop: CPython's own object for a step, and methods of the task, in C and in Python.
STEP_TYPE = "TaskStepMethWrapper"
STEP_METHODS = frozenset({"task_wakeup", "__step", "__wakeup"})
# Spans are kept by their task's name, until there are so many.
MAX_SPANS = 1024

SILENT = "asyncio does not say here which task runs: spans of tasks stand on their thread, where they may overlap"

Run = Callable[[Any], None]


class TaskSteps:
    """The source. A loop with handles of its own, such as uvloop's, shows no steps, and the trace says so."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._shown: bool = options["record_tasks"]
        self._told: bool = options["with_cpu_time"]
        self._steps = 0
        self._spans: dict[str, Span] = {}
        self._replaced: tuple[Run, Run] | None = None

    def start(self) -> None:
        """As Source; where asyncio is imported later, it is found when its program's first new name is recorded."""
        if asyncio_is_silent():
            self._told = True
            self._replace()
        elif find_asyncio() is None:
            FOUND.append(self._replace)
        else:
            self._replace()

    def stop(self) -> Harvest:
        """As Source."""
        if self._replace in FOUND:
            FOUND.remove(self._replace)
        if self._replaced is not None:
            from asyncio.events import Handle

            original, ours = self._replaced
            if vars(Handle)["_run"] is ours:  # else it was replaced again, by something that calls ours
                Handle._run = original  # type: ignore[method-assign,assignment] # noqa: SLF001
            self._replaced = None
        if self._steps:
            return Harvest()
        return Harvest((Problem("tasks", 1, SILENT),)) if asyncio_is_silent() else Harvest(add=_say_unseen)

    def _replace(self) -> None:
        from asyncio.events import Handle

        original: Run = vars(Handle)["_run"]

        def run(handle: Any) -> None:
            task = _task_of(handle._callback) if self._replaced is not None else None  # noqa: SLF001
            if task is None:
                original(handle)
                return
            self._steps += 1
            with self._span(task) if self._shown else nullcontext():
                if self._told:
                    kernels.enter_task(task)
                try:
                    original(handle)
                finally:
                    if self._told:
                        kernels.leave_task()

        self._replaced = original, run
        Handle._run = run  # type: ignore[method-assign,assignment] # noqa: SLF001

    def _span(self, task: Any) -> "Span":
        """The span of a task's steps, which is that of its name: only one runs at a time on a thread."""
        name = task_name(task)
        span = self._spans.get(name)
        if span is None:
            if len(self._spans) >= MAX_SPANS:
                self._spans.clear()
            span = self._spans[name] = span_of_step(name)
        return span


class SilentTasks:
    """The source where no steps are asked for: it records nothing, and says so where tasks cannot be told apart."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options

    def start(self) -> None:
        """As Source."""

    def stop(self) -> Harvest:
        """As Source."""
        if not asyncio_is_silent():
            return Harvest()
        return Harvest((Problem("tasks", 1, f"{SILENT}; record_tasks=True has them on lanes of their own"),))


def span_of_step(name: str) -> "Span":
    """A span for the stretches in which a task of that name runs."""
    return kernels.span_of(Label(name, CATEGORY))


def _task_of(callback: Any) -> Any:
    """The task whose step a loop's callback is; None if it is another callback."""
    if type(callback).__name__ == STEP_TYPE or getattr(callback, "__name__", "") in STEP_METHODS:
        return getattr(callback, "__self__", None)
    return None


def _say_unseen(builder: "TraceBuilder") -> None:
    """Say that there were tasks, and not when they ran."""
    if builder.has_tracks("task"):
        reason = "the loop runs them without asyncio's Handle, and a span's CPU time may be another task's"
        builder.problem("steps", 1, f"which task ran when is not known: {reason}")
