"""A child process that records under its parent's schedule: when the parent's cycle does, into files of its own.

A thread waits for what the parent publishes; it sleeps in the kernel meanwhile. The child has no steps unless step() is
called in it. A cycle's trace says what the child's window was: `Origin.session` has, besides what a parent's has,

    profile_pid  the process whose profile it is
    late_ns      how long after the parent's the child's window was opened
    window_ns    for how long it was open
"""

import base64
import contextlib
import os
import pickle
import sys
import threading
import warnings
from multiprocessing import util

from stepscope.core import kernels
from stepscope.core.clock import read_clocks
from stepscope.model.errors import ExportError, LifecycleError, StepscopeWarning
from stepscope.record.sources import import_sources
from stepscope.record.where import child_name
from stepscope.session.control import Closed, Descriptor, Follower, Opened, Run, State
from stepscope.session.handlers import for_child
from stepscope.session.recording import Fate, Recording
from stepscope.session.steps import Stepping
from stepscope.session.writer import WRITER, Writing, raise_unwritten

__all__ = ["Child"]

# After everything else that ends with the process, such as the threads that fill queues.
LAST_OF_ALL = -100


class Child:
    """What a child process does of its parent's run.

    Args:
        path: the control file's.
        file: it, open; to be closed by this.
        is_program: whether this process runs a program of its own, after which it is called then.

    Attributes:
        path, file, is_program: as given.
        recording: of the run that the parent is in; None while it is in none.
    """

    def __init__(self, path: str, file: Descriptor, *, is_program: bool = False) -> None:
        self.path, self.file, self.is_program = path, file, is_program
        self.recording: ChildRecording | None = None
        self._follower = Follower(file)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._ended = False
        self._owed: list[Writing] = []
        self._to_say: list[str] = []

    def begin(self) -> None:
        """Do as the parent does now, then follow it."""
        self._go_on(self._follower.read() or State())
        self._finish_at_exit()
        # A process that multiprocessing starts forgets on its way what is to be done at its exit.
        util.register_after_fork(self, Child._finish_at_exit)
        threading.Thread(target=self._follow, name="stepscope follower", daemon=True).start()

    def step(self) -> bool:
        """A step of this process has ended; returns whether it follows a run."""
        with self._lock:
            if self.recording is None:
                return False
            self.recording.step()
            return True

    def cut(self) -> None:
        """Keep what is recorded by now, and give the recorder back until the next cycle."""
        with self._lock:
            if self.recording is not None:
                self.recording.close(None)

    def owe(self, writing: Writing) -> None:
        """Have a cycle written."""
        self._owed.append(writing)
        WRITER.take(writing)

    def finish(self) -> None:
        """The process ends: write what it has recorded."""
        with self._lock:
            self._end()
        WRITER.wait_for(self._owed)
        self._say_all()

    def _finish_at_exit(self) -> None:
        if self._pid == os.getpid():  # a child's child runs this too
            util.Finalize(None, self.finish, exitpriority=LAST_OF_ALL)

    def _follow(self) -> None:
        """The thread's whole life."""
        with contextlib.suppress(OSError):  # the program has closed every descriptor, as daemons do
            while (state := self._follower.wait()) is not None:
                with self._lock:
                    if self._ended:
                        return
                    self._go_on(state)
                try:
                    self._say_all()
                except StepscopeWarning:  # where warnings are errors, the thread goes on all the same
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        with self._lock:
            self._end()
        self.file.close()

    def say(self, what: str) -> None:
        """Say it when there is time."""
        self._to_say.append(f"in the child process {child_name() or os.getpid()}: {what}")

    def _say_all(self) -> None:
        """Warn of what could not be written or recorded by now: no step() and no stop() is here that could raise it."""
        with self._lock:
            finished = [one for one in self._owed if one.finished]
            self._owed = [one for one in self._owed if not one.finished]
        try:
            raise_unwritten(finished)
        except ExportError as error:
            self.say(str(error))
        while self._to_say:
            warnings.warn(self._to_say.pop(0), StepscopeWarning, stacklevel=2)

    def _go_on(self, state: State) -> None:
        begins = False
        if self.recording is not None and self.recording.run != state.run:
            self.recording.close(state.closed)
            self.recording = None
        if self.recording is None and state.run is not None:
            self.recording, begins = ChildRecording(state.run, self), True
        if self.recording is not None:
            self.recording.follow(state)
            if begins:
                self.recording.begin_steps()

    def _end(self) -> None:
        """Follow no more; the parent is gone, or this process is going."""
        if not self._ended:
            self._ended = True
            self._go_on(State())


class ChildRecording(Stepping):
    """The cycles of one run of the parent, as this process records them."""

    def __init__(self, run: Run, child: Child) -> None:
        super().__init__(**pickle.loads(base64.b64decode(run.options)))  # noqa: S301 - this user's own
        self.run = run
        self._child = child
        # Now, for both import: the program may fork at any time later on, but not in here.
        import_sources(self._options)
        self._handler = for_child(run.handler)
        self._called_after = self._handler.worker_name
        self._opened: Opened | None = None
        self._last_window = -1
        self._steps = 0
        self._began = 0
        self._late_ns = self._opened_ns = 0

    def _warn_of_options(self) -> None:
        """The parent has said it."""

    def follow(self, state: State) -> None:
        """Do as the parent does."""
        if self._opened is not None and state.opened != self._opened:
            self.close(state.closed)
        if state.opened is not None and state.opened.window != self._last_window:
            self._open(state.opened)

    def _open(self, opened: Opened) -> None:
        self._last_window = opened.window
        if Recording.active() is not None:  # a profile of the child's own, which goes first
            return
        self.custom_trace_id_callback = lambda: opened.trace_id
        self._cycles = opened.cycle
        self.step_num = self._running_step = opened.first_step
        try:
            self.start_trace()
        except LifecycleError as error:
            if Recording.active() in (None, self):  # otherwise the child's own profile was faster
                self._release()
                self._child.say(f"cycle {opened.cycle} is not recorded: {error}")
        else:
            self._opened = opened

    def start_trace(self) -> None:
        """As `Recording.start_trace`."""
        super().start_trace()
        self._opened_ns = self._origin.clocks.boottime_ns

    def close(self, closed: Closed | None) -> None:
        """End the cycle as the parent has ended it, or, if that is not known, in the middle."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        known = closed is not None and closed.window == opened.window
        self._fate = Fate.KEEP_AS_PARTIAL
        if closed is not None and known:
            self._fate, self._running_step = Fate(closed.fate), closed.last_step
        self._late_ns = max(0, self._opened_ns - opened.clocks.boottime_ns)
        name = child_name()
        process = name or (self._origin.process if self._child.is_program else f"{self.run.process} (child)")
        # The parent's clocks: what two processes read at two instants differs by what was set in between.
        self._origin = self._origin._replace(base_ns=opened.base_ns, clocks=opened.clocks, process=process)
        self.stop_trace()
        if self._fate is not Fate.DISCARD:
            called_after = self._called_after or self._origin.host
            self._handler.worker_name = f"{called_after}_{os.getpid()}_{name or 'child'}"
            self._handler(self)
        self._sessions.clear()

    def begin_steps(self) -> None:
        """If there will be steps, the first begins now: not before a window that has just been opened, to be whole."""
        self._began = kernels.now()

    def step(self) -> None:
        """A step of this process has ended."""
        if self._steps == 0:
            self._mark_step(0, self._began)
        self._end_step()
        self._steps += 1
        self._mark_step(self._steps)

    def give_way(self, other: Recording) -> None:  # noqa: ARG002 - whichever it is
        """Another profile wants the recorder: it goes first."""
        self._child.cut()

    def hand_over(self, writing: Writing) -> None:
        """Write in the background what is there to be written; a worker that idles writes nothing."""
        writing.unless_empty = True
        self._child.owe(writing)

    def _facts(self) -> dict[str, int | bool]:
        window_ns = max(0, read_clocks().boottime_ns - self._opened_ns)
        return {**super()._facts(), "profile_pid": self.run.pid, "late_ns": self._late_ns, "window_ns": window_ns}
