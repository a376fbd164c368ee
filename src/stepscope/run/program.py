"""Running a program in this process as `python` would: its own __main__, argv, sys.path, exit code and traceback."""

import io
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType

__all__ = ["Ended", "exit_as", "module", "script"]

OWN = str(Path(__file__).parent)
_RUNPY = "<frozen runpy>"


class Ended:
    """How a program has ended, which runs meanwhile.

    Attributes:
        error: what it has raised; None: nothing.
    """

    def __init__(self, program: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        try:
            program()
            _wait_for_threads()
        except BaseException as error:  # noqa: BLE001 - SystemExit and Ctrl-C are ways to end, too
            self.error = error


def script(path: str, arguments: list[str]) -> Callable[[], None]:
    """A file as a program, or a folder or zip file with a __main__.py; what is returned runs it.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: it is no Python.
    """
    sys.argv[:] = [path, *arguments]
    if Path(path).is_dir() or path.endswith((".pyz", ".zip")):
        _begin_path(path)
        return partial(_run_path, path)
    with io.open_code(os.path.abspath(path)) as file:  # noqa: PTH100 - links stay as they are, as in __file__
        code = compile(file.read(), path, "exec", dont_inherit=True)
    _begin_path(str(Path(path).resolve().parent))
    main = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    return partial(exec, code, main.__dict__)


def module(name: str, arguments: list[str]) -> Callable[[], None]:
    """A module as `python -m` has it; what is returned finds and runs it."""
    sys.argv[:] = [name, *arguments]
    _begin_path(str(Path.cwd()))
    return partial(_run_module, name)


def _run_path(path: str) -> None:
    runpy.run_path(path, run_name="__main__")


def _run_module(name: str) -> None:
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _begin_path(folder: str) -> None:
    """Put the program's folder where python puts it: it has put the working directory there for `python -m`."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder


def _wait_for_threads() -> None:
    """Wait for the program's threads, as python does when the main one has ended."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def exit_as(ended: Ended) -> None:
    """End this process as the program would have ended: with its traceback, and its exit code or signal.

    Raises:
        SystemExit: what the program has raised, or 1 if it has failed.
    """
    error = ended.error
    if error is None:
        return
    if isinstance(error, SystemExit):
        raise error
    error.__traceback__ = _trimmed(error.__traceback__)
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        # A shell wants to see that it was the signal: it ends a loop around the command then.
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(1)


def _trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's own first frame on."""
    inner = traceback
    while inner is not None:
        file = inner.tb_frame.f_code.co_filename
        if not file.startswith(OWN) and file != _RUNPY:
            return inner
        inner = inner.tb_next
    return traceback
