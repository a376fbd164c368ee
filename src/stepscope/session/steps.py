"""Steps: the one that runs now, and those of the cycle that is being recorded."""

import threading

from stepscope.core import kernels
from stepscope.core.rows import StepMark
from stepscope.session.recording import Recording

__all__ = ["Stepping"]

# Past any window: draining cuts the step at the edge and marks it.
STILL_RUNNING = 1 << 62


class Stepping(Recording):
    """A Recording whose cycles carry the steps of the program; who subclasses it says when one begins and ends."""

    _step_mark: StepMark | None = None

    def _mark_step(self, number: int, began: int | None = None) -> None:
        """A step begins on the calling thread, or began at that tick."""
        thread = threading.current_thread()
        start = kernels.now() if began is None else began
        self._step_mark = StepMark(f"ProfilerStep#{number}", start, start, kernels.thread_id(), str(thread.name))

    def _end_step(self) -> None:
        """The step that runs now, if there is one, ends."""
        if self._step_mark is not None:
            if self._recording:
                self._marks.append(self._step_mark._replace(end=kernels.now()))
            self._step_mark = None

    def stop_trace(self) -> None:
        """As `Recording.stop_trace`; a step that is still running is cut."""
        if self._recording and self._step_mark is not None:
            self._marks.append(self._step_mark._replace(end=STILL_RUNNING))
        super().stop_trace()
