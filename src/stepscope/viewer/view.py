"""Showing a trace: the server, the browser, and what is said meanwhile."""

import errno
import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from stepscope.model.errors import StepscopeWarning, ViewError
from stepscope.viewer.browser import by_hand, open_browser
from stepscope.viewer.offline import offline_pages
from stepscope.viewer.server import PORT, UI, Content, TraceServer, content_of

__all__ = ["THREAD_NAME", "TIMEOUT_S", "View", "show", "show_meanwhile", "viewing", "warn"]

TIMEOUT_S = 300.0
THREAD_NAME = "stepscope viewer"
_NOT_IN_A_LINK = re.compile(r"[^A-Za-z0-9._-]+")


class View:
    """A trace on its way to a browser: made by `viewing`.

    Attributes:
        name: what the UI calls it.
        link: what to open in a browser.
    """

    def __init__(self, server: TraceServer, name: str) -> None:
        self.name = name
        self.link = server.link
        self._server = server

    def open_browser(self, say: Callable[[str], None]) -> None:
        """Open it in the browser; where none can be opened, say what to do."""
        if why := open_browser(self.link):
            say(f"{why}. {by_hand(self.link, self._server.port, os.environ)}")

    def wait(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the UI has fetched the trace.

        Raises:
            ViewError: nobody did within the time; or it cannot be read.
        """
        try:
            fetched = self._server.wait(timeout_s)
        except OSError as error:
            message = f"{self.name}: the trace cannot be read: {error}. Open it again when it is there."
            raise ViewError(message) from error
        if not fetched:
            message = (
                f"{self.name}: no browser has fetched it in {timeout_s:g} s. Open it again, or use a longer timeout."
            )
            raise ViewError(message)


@contextmanager
def viewing(trace: Path | bytes, name: str, *, offline: bool = False) -> Iterator[View]:
    """Serve a trace for as long as the with block lasts.

    Args:
        trace: a file, or what would be in one.
        name: what the UI calls it.
        offline: serve the UI too, in place of ui.perfetto.dev.

    Raises:
        ViewError: the port is taken; or the UI is not here to be served.
    """
    name = _NOT_IN_A_LINK.sub("_", name).strip("._") or "trace"
    content = Content(lambda: io.BytesIO(trace)) if isinstance(trace, bytes) else content_of(trace)
    with _listen(content, name, offline) as server:
        yield View(server, name)


def show_meanwhile(trace: Path) -> None:
    """Show a file while the program goes on; its end waits until the UI has fetched it, or the time is over.

    What keeps it from being seen is said in a warning.
    """
    if not threading.main_thread().is_alive():  # atexit: nobody waits for threads any more
        warn(f"the program has ended, so nothing can be served here. Use:  stepscope open {trace}")
        return
    # The server's threads start now: from Python 3.12 on none can be started any more while the program ends.
    try:
        serving = viewing(trace, trace.name)
        view = serving.__enter__()
    except ViewError as error:
        warn(str(error))
        return
    threading.Thread(target=_follow, args=(serving, view), name=THREAD_NAME, daemon=False).start()


def _follow(serving: AbstractContextManager[View], view: View) -> None:
    """Open a trace that is being served, and serve it until it is fetched."""
    try:
        view.open_browser(warn)
        view.wait()
    except ViewError as error:
        warn(str(error))
    finally:
        serving.__exit__(None, None, None)


def show(trace: Path, say: Callable[[str], None]) -> None:
    """Open a file in the browser and wait until the UI has fetched it; what keeps it from being seen is said."""
    try:
        with viewing(trace, trace.name) as view:
            view.open_browser(say)
            view.wait()
    except ViewError as error:
        say(str(error))


def warn(message: str) -> None:
    """Say something where a library can: in a warning."""
    warnings.warn(message, StepscopeWarning, stacklevel=3)


def _listen(content: Content, name: str, offline: bool) -> TraceServer:
    pages = offline_pages() if offline else None
    try:
        return TraceServer(content, name, pages, PORT)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            message = f"port {PORT} of this machine cannot be had: {error}. Drop the file onto {UI}."
            raise ViewError(message) from error
        if pages is not None:  # the page comes from the same port, whichever it is
            return TraceServer(content, name, pages, port=0)
        message = (
            f"port {PORT} is taken, and it is the only one of this machine that {UI} may fetch from. End what listens "
            f"there, such as another `stepscope open` or trace_processor; or use offline=True, which takes any port; "
            "or drop the file onto that page."
        )
        raise ViewError(message) from error
