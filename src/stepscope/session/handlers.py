"""Handlers: what to do with a finished cycle. Any callable that takes the profile is one; these write files."""

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from stepscope.core.values import legal_text
from stepscope.formats.files import Format, format_named, make_folder, write_as
from stepscope.model.errors import ExportError, LifecycleError
from stepscope.model.trace import Trace
from stepscope.session.recording import Recording
from stepscope.session.session import Session

__all__ = ["TraceHandler", "tensorboard_trace_handler", "trace_handler"]

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
        paths: every file written so far, in order.
    """

    def __init__(
        self,
        dir_name: str | os.PathLike[str],
        worker_name: str | None,
        endings: Iterable[tuple[Format, str]],
        stem: Callable[[str, Session, Trace], str],
    ) -> None:
        self.dir_name = Path(dir_name)
        self.worker_name = worker_name
        self.paths: list[Path] = []
        self._endings = tuple(endings)
        self._stem = stem

    def __call__(self, prof: Recording) -> None:
        """Write the last finished cycle of `prof`.

        Raises:
            LifecycleError: there is none.
            ExportError: the folder cannot be made, or a file cannot be written.
        """
        session = prof.session
        if session is None:
            message = "no cycle has finished yet, so there is nothing to write. Pass the handler as on_trace_ready=."
            raise LifecycleError(message)
        folder = make_folder(self.dir_name)
        # Asked for now, not when the handler was made: a forked child has a pid of its own.
        worker = _safe_name(self.worker_name or f"{session.trace.origin.host}_{os.getpid()}")
        stem = self._stem(worker, session, session.trace)
        for form, ending in self._endings:
            self.paths.append(_write_under_free_name(session.trace, folder / stem, form, ending))


def trace_handler(
    dir_name: str | os.PathLike[str],
    worker_name: str | None = None,
    use_gzip: bool = False,
    *,
    formats: Iterable[str] = ("chrome", "perfetto"),
) -> TraceHandler:
    """A handler for on_trace_ready that writes each cycle to a folder.

    Files are called WORKER_rank0_cycle0_steps2-4.TIME.pt.trace.json and .pftrace: a name is never used twice,
    by whatever thread, process, rank or container writes to the folder.

    Args:
        dir_name: the folder; made if it is not there.
        worker_name: what tells processes apart; by default host and pid.
        use_gzip: compress, and add .gz to the names.
        formats: which files to write.

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
    return TraceHandler(dir_name, worker_name, endings, _stem)


def tensorboard_trace_handler(
    dir_name: str | os.PathLike[str], worker_name: str | None = None, use_gzip: bool = False
) -> TraceHandler:
    """A handler that writes what torch's handler of this name writes: WORKER.TIME.pt.trace.json.

    The plugin takes the files of one worker for its spans, one a cycle.
    """
    form = format_named("chrome")
    ending = form.suffix + (".gz" if use_gzip else "")
    return TraceHandler(dir_name, worker_name, [(form, ending)], lambda worker, _, __: worker)


def _stem(worker: str, session: Session, trace: Trace) -> str:
    steps = f"{session.first_step}-{session.last_step}"
    return f"{worker}_rank{trace.origin.rank}_cycle{session.cycle}_steps{steps}"


def _write_under_free_name(trace: Trace, stem: Path, form: Format, ending: str) -> Path:
    """Write to STEM.TIME.ENDING, with another time for as long as the name is taken."""
    for _ in range(MAX_TRIES):
        path = stem.with_name(f"{stem.name}.{time.time_ns()}{ending}")
        try:
            return write_as(trace, path, form, exclusive=True)
        except FileExistsError:
            continue
    message = f"{path}: {MAX_TRIES} names in a row were taken. Use a folder of its own for each run."
    raise ExportError(message)


def _safe_name(worker: str) -> str:
    """A worker's name as part of a file's: it cannot leave the folder, hide the file, or be too long."""
    name = _NOT_IN_A_NAME.sub("_", legal_text(worker)).strip(". ")
    return name.encode()[:MAX_WORKER_BYTES].decode("utf-8", "ignore") or "worker"
