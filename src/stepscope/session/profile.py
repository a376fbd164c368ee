"""The profiler: torch.profiler.profile's lifecycle.

The schedule says what each step is, the table of transitions what to do between two steps; this file does it.
"""

import atexit
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stepscope.model.errors import LifecycleError, StepscopeWarning
from stepscope.session.activities import ProfilerActivity
from stepscope.session.parent import Parent
from stepscope.session.recording import Fate
from stepscope.session.schedule import ProfilerAction, Schedule, action_at
from stepscope.session.transitions import TRANSITIONS, Op
from stepscope.session.writer import MAX_UNFINISHED, WRITER, Writing, raise_unwritten

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from stepscope.session.handlers import TraceHandler
    from stepscope.session.options import Options

__all__ = ["profile"]

WAITED = (
    f"the program waits for the writer: {MAX_UNFINISHED} finished cycles are not written yet, and more of them would "
    'fill memory. Write less (one format, such as formats=("perfetto",)), or record fewer steps or less often; '
    "background=False writes each cycle in its own step()."
)


def _always(_: int) -> ProfilerAction:
    """Record everything; what a profile without a schedule does."""
    return ProfilerAction.RECORD


class profile(Parent):  # noqa: N801 - torch's name
    """Record the steps of a program that a schedule picks; use as a context manager, and call step().

    Args:
        schedule: step number -> ProfilerAction, such as `schedule(...)` makes; None records everything as one cycle.
        on_trace_ready: called with the profile when a cycle has finished.
        children: True: processes that are started while the profile runs record in its cycles too, by fork, by
            multiprocessing in any way, in pools, and as any Python program that imports stepscope, which its environ
            tells of it. Each that has recorded something writes files of its own with on_trace_ready, which
            `trace_handler` must have made. Or the handler that they shall write with. step() in a child marks steps of
            its own. A child that is killed, as Pool.terminate does, loses what it was recording. Processes that were
            started before do not know of it.
        use_cuda: deprecated in torch; use activities.
        options: as `Recording` says.

    Raises:
        TypeError: there is no such option; schedule or on_trace_ready is neither None nor callable; or children have no
            handler.
        ScheduleError: the schedule's answer for step 0 is no ProfilerAction.

    Source: torch.profiler.profile of torch 2.13; transitions.py says where we differ.
    """

    def __init__(
        self,
        *,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[["profile"], Any] | None = None,
        use_cuda: bool | None = None,
        children: "bool | TraceHandler" = False,
        **options: "Unpack[Options]",
    ) -> None:
        for name, value in (("schedule", schedule), ("on_trace_ready", on_trace_ready)):
            if value is not None and not callable(value):
                message = f"{name} must be None or callable, got {value!r} of type {type(value).__name__}."
                raise TypeError(message)
        if use_cuda is not None:
            options["activities"] = _with_cuda(options.get("activities"), use_cuda)
        super().__init__(**options)
        self.schedule = _always if schedule is None else schedule
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.children = children
        self._handler_of_children()
        self.current_action = action_at(self.schedule, 0)
        self._schedule_began = 0
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._stopped_by = ""
        self._inherited = False
        self._in_transition = False
        self._to_warn: list[str] = []
        self._owed: list[Writing] = []
        self._has_waited = False

    @property
    def action_map(
        self,
    ) -> dict[tuple[ProfilerAction, ProfilerAction | None], list[Callable[[], None]]]:
        """The table of transitions, with this profile's methods; torch's name for it."""
        return {pair: [getattr(self, op.value) for op in ops] for pair, ops in TRANSITIONS.items()}

    def __enter__(self) -> "profile":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop(failed=kind is not None)
        finally:
            if self.execution_trace_observer is not None:
                self.execution_trace_observer.cleanup()

    def start(self) -> None:
        """Begin the first step, or go on with the next one after stop().

        Step numbers go on too. A schedule whose repeats are used up begins anew: torch would never record again.

        Raises:
            LifecycleError: this profile is started already, or another one is active.
        """
        with self._lock:
            if self._running and self._pid == os.getpid():
                message = "start() on a profile that is started. Call stop() first."
                raise LifecycleError(message)
            if self._in_transition:
                message = "start() inside on_trace_ready. Call it when stop() has returned."
                raise LifecycleError(message)
            self._activate()
            try:
                self._begin_run()
            except BaseException as error:
                self._end_run(f"start() raised {type(error).__name__}")
                raise

    def _begin_run(self) -> None:
        self._pid, self._running, self._inherited, self._stopped_by = os.getpid(), True, False, ""
        self._cycles_before, self._steps_before = self._cycles, self.step_num
        if isinstance(self.schedule, Schedule) and self.schedule.exhausted(self._scheduled):
            self._schedule_began = self.step_num
            self.current_action = self.schedule(0)
        self._running_step = self.step_num
        self._has_waited = False
        atexit.register(self._stop_at_exit)
        self._lead()
        self._transit(ProfilerAction.NONE, self.current_action)
        self._begin_step()

    def stop(self) -> None:
        """End the run: a cycle that is being recorded finishes here, and every file is written on return.

        Stopping twice is allowed.

        Raises:
            LifecycleError: the profile was never started.
            ExportError: files could not be written; it names each that no step() has named. An exception that ends
                a with block is its context.
        """
        self._stop(failed=False)

    def step(self) -> None:
        """End the current step and begin the next one.

        Raises:
            LifecycleError: the profile is not started.
            ScheduleError: the schedule's answer is no ProfilerAction; nothing has changed then.
            ExportError: files of earlier cycles could not be written in the background. The next step has begun: who
                catches it may go on.
        """
        if self._forked("step"):
            return
        with self._lock:
            if not self._running:
                raise LifecycleError(self._why_not_running())
            if self._in_transition:
                message = "step() inside on_trace_ready. Call it in the program's loop only."
                raise LifecycleError(message)
            following = action_at(self.schedule, self._scheduled + 1)
            finished = self._finished()
            self._end_step()
            self._transit(self.current_action, following, advance=True)
            self._running_step = self.step_num
            self._begin_step()
            self._say_warnings(stacklevel=3)
            self._raise_unwritten(finished)

    # -- between two steps -----------------------------------------------------------------------------------

    def _transit(self, ended: ProfilerAction, following: ProfilerAction | None, *, advance: bool = False) -> None:
        """Do what the table says; if that fails, stop cleanly and let the error out.

        Args:
            ended: the action of the step that ends.
            following: that of the next one; None at the end of the run.
            advance: the next step begins: count it.
        """
        op = None
        try:
            self._ended, self._following = ended, following
            self._in_transition = True
            if advance and following is not None:
                self.current_action = following
                self.step_num += 1
            for op in TRANSITIONS[ended, following]:
                getattr(self, op.value)()
                if not self._running:  # the callback has called stop()
                    return
        except BaseException as error:
            doing = "on_trace_ready" if op is Op.READY else op.value if op else "step()"
            self._end_run(f"{doing} raised {type(error).__name__} at step {self.step_num}")
            raise
        finally:
            self._in_transition = False

    def _trace_ready(self) -> None:
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def _warn_incorrect(self) -> None:
        following = self._following.name if self._following else "the end"
        kept = " What was recorded is kept as a partial session."
        self._to_warn.append(
            f"Incorrect schedule: {self._ended.name} followed by {following} at step {self.step_num}."
            f"{kept if self._ended is ProfilerAction.RECORD else ''} "
            "End every recording with RECORD_AND_SAVE."
        )

    def _say_warnings(self, stacklevel: int) -> None:
        """Warn once everything is done: under -W error a warning is an exception, and must not cost a recording."""
        while self._to_warn:
            warnings.warn(self._to_warn.pop(0), StepscopeWarning, stacklevel=stacklevel)

    def _cut_short(self) -> None:
        if self.schedule is not _always:  # then everything until the end was asked for
            self._fate = Fate.KEEP_AS_PARTIAL

    def _discard(self) -> None:
        self._fate = Fate.DISCARD

    def _begin_step(self) -> None:
        if self.record_steps and self._running:
            self._mark_step(self.step_num)

    @property
    def _scheduled(self) -> int:
        """The step's number as the schedule counts."""
        return self.step_num - self._schedule_began

    # -- files that are written in the background --------------------------------------------------------------

    def hand_over(self, writing: Writing) -> None:
        """For handlers: have this written in the background; without a run, at once.

        Raises:
            ExportError: there is no run, and a file could not be written. Otherwise step() and stop() raise it.
        """
        if not self._running or self._pid != os.getpid():
            super().hand_over(writing)
            return
        self._owed.append(writing)
        has_waited = WRITER.take(writing)
        if has_waited and not self._has_waited and self._following is not None:  # stop() waits anyway
            self._has_waited = True
            self._to_warn.append(WAITED)
        if not self._running:  # another thread has called stop() meanwhile, which may not have seen this
            self._settle()

    def _settle(self) -> None:
        """Wait for the files that are not written yet, and raise what came of them."""
        WRITER.wait_for(tuple(self._owed))
        with self._lock:
            if not self._running:  # unless another thread has called start() meanwhile
                atexit.unregister(self._stop_at_exit)
            self._raise_unwritten(self._finished())

    def _finished(self) -> list[Writing]:
        return [writing for writing in self._owed if writing.finished]

    def _raise_unwritten(self, finished: list[Writing]) -> None:
        for writing in finished:
            if writing in self._owed:  # the callback may have called stop(), which was told first
                self._owed.remove(writing)
        raise_unwritten(finished)

    # -- the end of a run ------------------------------------------------------------------------------------

    def _stop(self, *, failed: bool) -> None:
        if self._forked("stop"):
            return
        try:
            with self._lock:
                if not self._running:
                    if not self._stopped_by:
                        raise LifecycleError(self._why_not_running())
                elif self._in_transition:  # in on_trace_ready, when nothing is being recorded
                    self._end_run("stop() was called in on_trace_ready")
                else:
                    self._finish(failed=failed)
                    self._say_warnings(stacklevel=4)
        finally:
            self._settle()

    def _finish(self, *, failed: bool) -> None:
        try:
            self._end_step()
            if failed and self._recording:
                self._fate = Fate.KEEP_AS_PARTIAL
            self._transit(self.current_action, None)
        finally:
            if self._running:
                self._end_run("stop() was called")
        if not failed and self._cycles == self._cycles_before:
            self._to_warn.append(self._why_nothing())

    def _end_run(self, stopped_by: str) -> None:
        self._running = False
        self._stopped_by = stopped_by
        self._step_mark = None
        try:
            self._release()
        finally:
            self._dismiss()

    def _stop_at_exit(self) -> None:
        """The program ends without stop(): what is recorded is handed over all the same."""
        if self._pid != os.getpid():
            return
        if self._running:
            message = "the program ended without stop(); the profile is stopped now. Use it as a context manager."
            self._to_warn.append(message)
        self.stop()

    def _forked(self, call: str) -> bool:
        """Whether this is a child of the process that started the profile: then it is the parent's business."""
        if self._pid == os.getpid() or not (self._running or self._inherited):
            return False
        follows = call == "step" and self._is_followed_here()
        if self._running:
            self._running, self._inherited, self._stopped_by = False, True, "the process forked"
            self._recording = self._prepared = False
            self._owed.clear()
            if call == "step" and not follows:
                message = "step() in a forked child does nothing: the parent has the profile. Start one of its own."
                warnings.warn(message, StepscopeWarning, stacklevel=3)
        return True

    def _why_not_running(self) -> str:
        if self._stopped_by:
            return f"the profile is stopped ({self._stopped_by}). Call start() to go on."
        return "the profile was not started. Use `with profile(...) as prof:`, or call start() first."

    def _why_nothing(self) -> str:
        steps = self.step_num - self._steps_before
        said = "step() was never called" if steps == 0 else f"the program made {steps} step{'s' * (steps > 1)}"
        return (
            f"no cycle was recorded: {said}, and the run ended in {self.current_action.name} at step {self.step_num}. "
            "Call step() after every step, and let the program run into the steps to record; "
            "print(stepscope.explain(prof.schedule, 20)) shows which they are."
        )


def _with_cuda(activities: Iterable[Any] | None, use_cuda: bool) -> Iterable[Any] | None:
    """Read torch's deprecated use_cuda= as the activity it stands for."""
    message = "`use_cuda` is deprecated, use `activities` argument instead"
    warnings.warn(message, FutureWarning, stacklevel=3)
    chosen = [ProfilerActivity.CPU] if activities is None else list(activities)
    if use_cuda:
        return chosen if ProfilerActivity.CUDA in chosen else [*chosen, ProfilerActivity.CUDA]
    return [item for item in chosen if item is not ProfilerActivity.CUDA]
