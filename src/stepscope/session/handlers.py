"""Handlers: what to do with a finished cycle. Any callable that takes the profile is one; these write files."""

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stepscope.core.values import legal_text
from stepscope.formats.files import Format, format_named, write_as
from stepscope.model.errors import ExportError, LifecycleError
from stepscope.model.output import make_folder
from stepscope.model.trace import Trace
from stepscope.session.recording import Recording
from stepscope.session.session import Session
from stepscope.session.writer import WRITER, Writing, write_now

__all__ = ["TraceHandler", "for_child", "tensorboard_trace_handler", "trace_handler"]

# What a worker's name may not bring into a file's: separators, and what file systems and shells stumble over.
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
# File systems take names of 255 bytes; what stands around the worker's name needs up to 100.
MAX_WORKER_BYTES = 150
MAX_TRIES = 100


class TraceHandler:
    """Writes the cycle that has just finished to a folder, one file a format; made by `trace_handler`.

    Attributes:
        dir_name: the folder; made when the first cycle is written.
        worker_name: None for the host's name and the pid of the process that writes.
        background: cycles of a profile that is started are written by the writer thread.
        open_browser: the first cycle is shown in the browser once it is written, in the process of rank 0.
    """

    def __init__(
        self,
        dir_name: str | os.PathLike[str],
        worker_name: str | None,
        endings: Iterable[tuple[Format, str]],
        stem: str,
        *,
        background: bool,
        open_browser: bool = False,
    ) -> None:
        self.dir_name = Path(dir_name)
        self.worker_name = worker_name
        self.background = background
        self.open_browser = open_browser
        self._endings = tuple(endings)
        self._stem = stem
        self._writings: list[Writing] = []
        for form, ending in self._endings:
            _import_encoder(form, ending)
        if open_browser:
            import stepscope.viewer.view  # noqa: F401 - now, for the reason that encoders are

    @property
    def paths(self) -> list[Path]:
        """Every file written so far, in order; waits for those on their way."""
        WRITER.wait_for(tuple(self._writings))
        return [path for writing in self._writings for path in writing.written]

    def __call__(self, prof: Recording) -> None:
        """Write the last finished cycle of `prof`, or hand it over to be written.

        Raises:
            LifecycleError: there is none.
            ExportError: a file cannot be written. In the background, the profile's next step() or stop() raises it.
        """
        session = prof.session
        if session is None:
            message = "no cycle has finished yet, so there is nothing to write. Pass the handler as on_trace_ready=."
            raise LifecycleError(message)
        # Asked for now, not when the handler was made: a forked child has a pid of its own.
        worker = _safe_name(self.worker_name or f"{session.origin.host}_{os.getpid()}")
        stem = self.dir_name / STEMS[self._stem](worker, session)
        trace = session.as_of_now()
        now = time.time_ns()
        files = [_File(trace, stem, (form, ending), now) for form, ending in self._endings]
        if self.open_browser and session.origin.rank == 0 and not self._writings:
            files[-1].show = True
        writing = Writing(session, ((file.path, file.write) for file in files))
        self._writings.append(writing)
        if self.background:
            prof.hand_over(writing)
        else:
            write_now(writing)

    def described(self) -> dict[str, Any]:
        """What `for_child` needs, as JSON-able values: a child process may stand in another folder."""
        return {
            "folder": str(self.dir_name.absolute()),
            "worker": self.worker_name,
            "endings": [(form.name, ending) for form, ending in self._endings],
            "stem": self._stem,
        }


def for_child(described: dict[str, Any]) -> TraceHandler:
    """The handler of a child process, which writes to the same folder; it needs a worker's name of its own.

    Args:
        described: as the parent's handler gives it.
    """
    endings = [(format_named(name), ending) for name, ending in described["endings"]]
    return TraceHandler(described["folder"], described["worker"], endings, described["stem"], background=True)


def trace_handler(
    dir_name: str | os.PathLike[str],
    worker_name: str | None = None,
    use_gzip: bool = False,
    *,
    formats: Iterable[str] = ("chrome", "perfetto"),
    background: bool = True,
    open_browser: bool = False,
) -> TraceHandler:
    """A handler for on_trace_ready that writes each cycle to a folder.

    In the background, step() waits neither for pairing nor for the disk, unless three cycles before are not written
    yet. stop(), the end of the with block and the program's end wait until every file is there; only os._exit and
    deadly signals do not, and leave no half file. What cannot be written is raised by the next step() or by stop().

    Files are called WORKER_rank0_cycle0_steps2-4.TIME.pt.trace.json and .pftrace: a name is never used twice,
    by whatever thread, process, rank or container writes to the folder.

    Args:
        dir_name: the folder; made if it is not there.
        worker_name: what tells processes apart; by default host and pid.
        use_gzip: compress, and add .gz to the names.
        formats: which files to write.
        background: write while the program goes on; False writes in step() and raises there what goes wrong.
        open_browser: show the first cycle in Perfetto's UI as soon as it is written, while the program goes on; its
            end waits until the UI has fetched it, for at most five minutes. Later cycles, and ranks above 0, would
            fill the browser: `stepscope open` shows them.

    Raises:
        ValueError: no format is called that, or none is asked for.
    """
    if isinstance(formats, str):
        formats = (formats,)
    suffix = ".gz" if use_gzip else ""
    endings = [(form, form.suffix + suffix) for form in map(format_named, dict.fromkeys(formats))]
    if not endings:
        message = 'formats is empty: no file would be written. Use formats=("chrome", "perfetto").'
        raise ValueError(message)
    return TraceHandler(dir_name, worker_name, endings, "cycle", background=background, open_browser=open_browser)


def tensorboard_trace_handler(
    dir_name: str | os.PathLike[str], worker_name: str | None = None, use_gzip: bool = False, *, background: bool = True
) -> TraceHandler:
    """A handler that writes what torch's handler of this name writes: WORKER.TIME.pt.trace.json.

    The plugin takes the files of one worker for its spans, one a cycle. Otherwise as `trace_handler`.
    """
    form = format_named("chrome")
    ending = form.suffix + (".gz" if use_gzip else "")
    return TraceHandler(dir_name, worker_name, [(form, ending)], "worker", background=background)


def _cycle_stem(worker: str, session: Session) -> str:
    steps = f"{session.first_step}-{session.last_step}"
    return f"{worker}_rank{session.origin.rank}_cycle{session.cycle}_steps{steps}"


def _worker_stem(worker: str, _: Session) -> str:
    return worker


STEMS: dict[str, Callable[[str, Session], str]] = {"cycle": _cycle_stem, "worker": _worker_stem}


class _File:
    """A file to be: STEM.TIME.ENDING, with another time for as long as the name is taken.

    Attributes:
        path: the name; its time is that of the cycle, the same in every format.
        show: whether to open it in the browser once it is written.
    """

    show = False

    def __init__(self, trace: Callable[[], Trace], stem: Path, ending: tuple[Format, str], now: int) -> None:
        self._trace, self._stem = trace, stem
        self._form, self._ending = ending
        self.path = self._name(now)

    def write(self) -> Path:
        """Pair, encode and write.

        Raises:
            ExportError: the folder cannot be made, or the file cannot be written.
        """
        trace = self._trace()
        make_folder(self._stem.parent)
        for _ in range(MAX_TRIES):
            try:
                written = write_as(trace, self.path, self._form, exclusive=True)
            except FileExistsError:
                self.path = self._name(time.time_ns())
                continue
            if self.show:
                _show(written)
            return written
        message = f"{self._stem}: {MAX_TRIES} names in a row were taken. Use a folder of its own for each run."
        raise ExportError(message)

    def _name(self, now: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{now}{self._ending}")


def _import_encoder(form: Format, ending: str) -> None:
    """Import what encoding needs now, not in the writer thread: a fork in the middle of an import breaks the child."""
    form.encode(Trace())
    if ending.endswith(".gz"):
        import isal.igzip  # noqa: F401


def _show(written: Path) -> None:
    from stepscope.viewer.view import show_meanwhile

    show_meanwhile(written)


def _safe_name(worker: str) -> str:
    """A worker's name as part of a file's: it cannot leave the folder, hide the file, or be too long."""
    name = _NOT_IN_A_NAME.sub("_", legal_text(worker)).strip(". ")
    return name.encode()[:MAX_WORKER_BYTES].decode("utf-8", "ignore") or "worker"
