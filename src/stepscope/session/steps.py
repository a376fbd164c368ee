"""Steps: the one that runs now, and those of the cycle that is being recorded."""

import threading
from abc import abstractmethod
from typing import Any

from stepscope.core import kernels
from stepscope.core.rows import StepMark
from stepscope.core.values import freeze_args
from stepscope.session.recording import Recording

__all__ = ["Stepping", "annotate_step", "step"]

# Past any window: draining cuts the step at the edge and marks it.
STILL_RUNNING = 1 << 62


class Stepping(Recording):
    """A Recording whose cycles carry the steps of the program; who subclasses it says when one begins and ends."""

    _step_mark: StepMark | None = None

    @abstractmethod
    def step(self) -> None:
        """The step that runs now has ended."""

    def _mark_step(self, number: int, began: int | None = None) -> None:
        """A step begins on the calling thread, or began at that tick."""
        thread = threading.current_thread()
        start = kernels.now() if began is None else began
        name, tid, lane = f"ProfilerStep#{number}", kernels.thread_id(), kernels.lane_here()
        self._step_mark = StepMark(name, start, start, tid, str(thread.name), {}, lane)

    def _end_step(self) -> None:
        """The step that runs now, if there is one, ends."""
        if self._step_mark is not None:
            if self._recording:
                self._keep_step(kernels.now())
            self._step_mark = None

    def stop_trace(self) -> None:
        """As `Recording.stop_trace`; a step that is still running is cut."""
        if self._recording and self._step_mark is not None:
            self._keep_step(STILL_RUNNING)
        super().stop_trace()

    def _keep_step(self, end: int) -> None:
        if (mark := self._step_mark) is not None:
            # Copied: another thread may be about to add some, and a trace does not change.
            self._marks.append(mark._replace(end=end, args=dict(mark.args or {})))

    def annotate_step(self, **args: Any) -> None:
        """As the function of that name, for this profile."""
        mark = self._step_mark
        if mark is not None and mark.args is not None and self._recording:
            mark.args.update(freeze_args(args))


def annotate_step(**args: Any) -> None:
    """Give arguments to the step that runs now, such as its loss; they are on its ProfilerStep slice in the trace.

    From any thread, and several times in a step: what is given last for a name stays. Where no step is being recorded
    nothing happens. As with a span, any object is a legal argument.

        annotate_step(loss=loss, batch_size=len(batch))
    """
    active = Recording.active()
    if isinstance(active, Stepping):
        active.annotate_step(**args)


def step() -> None:
    """End the step of the profile that is active in this process; nothing where there is none.

    For programs that know where their steps end and leave it to others whether they are profiled, such as
    `stepscope run`; and for children of a profile, whose steps are their own.

    Raises:
        ExportError: as profile.step().
    """
    active = Recording.active()
    if isinstance(active, Stepping):
        active.step()
