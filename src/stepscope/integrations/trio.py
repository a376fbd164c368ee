"""trio's tasks: each has a lane of its own, as asyncio's have without being asked for.

    import stepscope.integrations.trio

    trio.run(main, instruments=[stepscope.integrations.trio.TaskLanes()])

trio does not say from outside which of its tasks runs; it tells its instruments. Any other framework that switches
tasks on a thread can do the same: `enter_task` and `leave_task` are all it takes.
"""

from typing import TYPE_CHECKING

import trio

from stepscope.core import kernels
from stepscope.core.tasks import task_name
from stepscope.record.steps import span_of_step

if TYPE_CHECKING:
    from stepscope.core.twin import Span

__all__ = ["TaskLanes", "enter_task", "leave_task"]

enter_task = kernels.enter_task
leave_task = kernels.leave_task


class TaskLanes(trio.abc.Instrument):  # type: ignore[misc] # trio need not be here when types are checked
    """An instrument for one run of trio; it records nothing by itself.

    Args:
        steps: show which task ran when, too, as slices of category "task_step" on the thread's own track.
    """

    def __init__(self, *, steps: bool = False) -> None:
        self._steps = steps
        self._step: Span | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """The task is about to run."""
        if self._steps:
            self._step = span_of_step(task_name(task))
            self._step.__enter__()
        enter_task(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has run, until it waits or is over."""
        del task
        leave_task()
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
