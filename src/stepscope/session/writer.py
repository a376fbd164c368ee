"""The writer: one thread that pairs, encodes and writes finished sessions while the program goes on.

    step() -> handler -> Writing -> WRITER.take -> [waiting] -> the thread: Writing.run -> files
    step(), stop()  <-  raise_unwritten  <-----------------------------------  what could not be written

The thread lives as long as there is something to write. It is not a daemon, so the interpreter waits for it on its way
out, and as it never idles it holds up nothing. Where no thread can be started any more (atexit), the caller writes.
A signal that kills the process (SIGTERM without a handler) leaves whole files, and at most one hidden temporary one;
os._exit likewise loses what is still waiting. A forked child starts clean: what waits is the parent's to write.
"""

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from stepscope.core import kernels
from stepscope.model.errors import ExportError
from stepscope.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_UNFINISHED", "THREAD_NAME", "WRITER", "Writing", "raise_unwritten", "write_now"]

# One session that is being written, and two that wait: past that the program waits rather than memory grow.
MAX_UNFINISHED = 3
THREAD_NAME = "stepscope writer"


class Writing:
    """One session on its way to its files.

    Args:
        session: what is written.
        files: each file's path, and what writes it and returns the path that it took in the end.

    Attributes:
        session: None once it is written: the writer holds on to no memory.
        written: the files that are there, in order.
        finished: nothing more will happen.
        unless_empty: write nothing if nothing was recorded; False.
    """

    def __init__(self, session: Session, files: "Iterable[tuple[Path, Callable[[], Path]]]") -> None:
        self.session: Session | None = session
        self.written: list[Path] = []
        self.finished = False
        self.unless_empty = False
        self._files: Sequence[tuple[Path, Callable[[], Path]]] = tuple(files)
        self._unwritten: list[tuple[Path, ExportError]] = []

    def run(self) -> None:
        """Write the files; what goes wrong is kept for `claim`.

        Only what is no Exception, such as Ctrl-C where the program's own thread writes, is raised.
        """
        if self.unless_empty and self.session is not None and self.session.is_empty():
            return
        for number, (path, write) in enumerate(self._files):
            try:
                self._try(path, write)
            except BaseException as error:  # noqa: PERF203 - a loop of one file a format
                self._unwritten += [(path, _export_error(path, error)) for path, _ in self._files[number:]]
                raise

    def _try(self, path: "Path", write: "Callable[[], Path]") -> None:
        try:
            self.written.append(write())
        except Exception as error:  # noqa: BLE001 - whatever it is, the program hears of it
            self._unwritten.append((path, _export_error(path, error)))

    def finish(self) -> None:
        """Let go of the session: it is written, or another process's to write."""
        self.session, self._files, self.finished = None, (), True

    def claim(self) -> "list[tuple[Path, ExportError]]":
        """What could not be written and why, to whom asks first."""
        unwritten, self._unwritten = self._unwritten, []
        return unwritten


class _Writer:
    """The queue and its thread.

    Everything is guarded by `changed`, which is notified when a writing is finished.

    Attributes:
        waiting: not begun yet, oldest first.
        at_work: begun.
        thread: the last one that was started.
        serving: it will take up whatever is waiting.
    """

    def __init__(self) -> None:
        self.start_clean()

    def start_clean(self) -> None:
        """Be as new, without a look at the lock: in a forked child nobody is left to release it."""
        self.changed = threading.Condition()
        self.waiting: deque[Writing] = deque()
        self.at_work: list[Writing] = []
        self.thread: threading.Thread | None = None
        self.serving = False

    def forget(self) -> None:
        """What a forked child does with its parent's queue."""
        for writing in (*self.waiting, *self.at_work):
            writing.finish()
        self.start_clean()

    def take(self, writing: Writing) -> bool:
        """Take a session over; wait while there are too many.

        Returns:
            Whether it had to wait.
        """
        with self.changed:
            # First of all: Ctrl-C while waiting must not cost the session its files.
            self.waiting.append(writing)
            full = self._unfinished() > MAX_UNFINISHED
        self._wait_until(lambda: self._unfinished() <= MAX_UNFINISHED)
        return full

    def wait_for(self, writings: Sequence[Writing]) -> None:
        """Wait until all of these are finished; when that was all there was to do, the thread has ended too."""
        self._wait_until(lambda: all(writing.finished for writing in writings))
        with self.changed:
            thread = None if self._unfinished() else self.thread
        if thread is not None:
            thread.join()

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        with self.changed:
            if not self.waiting or self.serving or self._start():
                # Within the block that starts the thread: to come back for the lock is to wait for the thread's turn.
                self.changed.wait_for(reached)
                return
        self._work()
        with self.changed:
            self.changed.wait_for(reached)

    def _start(self) -> bool:
        """Start the thread, which takes up nothing before the caller lets go of `changed`.

        Without that the new thread could keep the interpreter to itself, for a switch interval, inside step().
        """
        thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=False)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, or the system has no thread to give
            return False
        # Last: if Ctrl-C comes in between, the thread works all the same, and who waits next may start another.
        self.thread, self.serving = thread, True
        return True

    def _serve(self) -> None:
        """The thread's whole life."""
        kernels.mute_thread()
        while True:
            # What is no Exception, such as an encoder's SystemExit, ends one writing, among whose errors it is.
            with contextlib.suppress(BaseException):
                self._work()
                return

    def _work(self) -> None:
        """Write until nothing waits."""
        while (writing := self._next()) is not None:
            try:
                writing.run()
            finally:
                with self.changed:
                    self.at_work.remove(writing)
                    writing.finish()
                    self.changed.notify_all()

    def _next(self) -> Writing | None:
        with self.changed:
            if self.waiting:
                self.at_work.append(self.waiting.popleft())
                return self.at_work[-1]
            if self.thread is threading.current_thread():
                self.serving = False
            return None

    def _unfinished(self) -> int:
        """How many sessions are held; several handlers may write the same one."""
        return len({writing.session for writing in (*self.waiting, *self.at_work)})


WRITER = _Writer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITER.forget)


def write_now(writing: Writing) -> None:
    """Write in the calling thread.

    Raises:
        ExportError: a file could not be written; the others are there.
    """
    try:
        writing.run()
    finally:
        writing.finish()
    raise_unwritten([writing])


def raise_unwritten(writings: Iterable[Writing]) -> None:
    """Raise what could not be written of these, all in one error, and once.

    Raises:
        ExportError: names every file and says why.
    """
    unwritten = [pair for writing in writings for pair in writing.claim()]
    if not unwritten:
        return
    # One line for one reason: a folder that cannot be made is one for every file in it.
    reasons: dict[str, list[str]] = {}
    for path, error in unwritten:
        unnamed = reasons.setdefault(str(error), [])
        if str(path) not in str(error):
            unnamed.append(path.name)
    lines = [f"{text} Not written: {', '.join(names)}." if names else text for text, names in reasons.items()]
    if len(lines) > 1:
        lines.insert(0, f"{len(unwritten)} files could not be written:")
    raised = ExportError("\n  ".join(lines))
    first = unwritten[0][1]
    raised.__cause__ = first.__cause__ or first
    _show_before(raised, sys.exc_info()[1])
    raise raised


def _show_before(error: BaseException, earlier: BaseException | None) -> None:
    """Let a traceback of `error` begin with `earlier`, such as what ended the program's with block.

    Python shows an error's cause or its context, and a writing's error has a cause.
    """
    while error is not earlier:
        before = error.__cause__ or error.__context__
        if before is None:
            error.__context__ = earlier
            return
        error = before


def _export_error(path: "Path", error: BaseException) -> ExportError:
    """The error as the program will see it."""
    if isinstance(error, ExportError):
        return error
    wrapped = ExportError(f"{path}: the file cannot be written: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
