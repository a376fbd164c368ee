"""The server: one trace, and for use offline Perfetto's UI, on the loopback interface, until the trace was fetched.

    browser                                 here, 127.0.0.1
    ui.perfetto.dev/#!/?url=LINK  --------> GET /SECRET/run.pftrace, Origin: https://ui.perfetto.dev
                                  <-------- the bytes, with CORS for that origin; then the server ends

Paths are looked up in a table: there is no way from a request to a path of the file system. Whoever asks has to know
the secret, to come from the UI's origin, and to call the host by a loopback name, which a page that has its own name
point here does not.
"""

import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

__all__ = ["HOST", "PORT", "UI", "Content", "TraceServer", "content_of"]

HOST = "127.0.0.1"
# The one port of this machine that the policy of ui.perfetto.dev lets its page fetch from.
PORT = 9001
UI = "https://ui.perfetto.dev"
CHUNK_BYTES = 1 << 20
# A connection on which nothing moves for so long is given up.
STALLED_S = 30.0
# The UI that is served from here asks for its last fonts and pictures when the trace is on the screen.
LINGER_S = 10.0
# What the UI that is served from here may reach: this server, whatever it would like to.
OFFLINE_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Content(NamedTuple):
    """Something to serve.

    Attributes:
        open: begins to read it.
        type: its media type.
    """

    open: Callable[[], BinaryIO]
    type: str = "application/octet-stream"


class TraceServer(ThreadingHTTPServer):
    """Serves a trace; listens from the moment it is made, and answers within its with block.

    Args:
        trace: what is served.
        name: what the UI calls it; a file's name.
        pages: path -> the files of a UI to serve with it; None where it is for ui.perfetto.dev.
        port: where to listen; 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True  # a browser keeps connections open that it never uses

    def __init__(self, trace: Content, name: str, pages: Mapping[str, Content] | None, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.trace_path = f"/{secrets.token_urlsafe(24)}/{name}"
        self.trace = trace
        self.pages = pages
        self._changed = threading.Condition()
        self._transfers = 0
        self._last_active = 0.0
        self._fetched = False
        self._trouble: OSError | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def origin(self) -> str:
        """The origin of the UI that may fetch the trace."""
        return UI if self.pages is None else f"http://{HOST}:{self.port}"

    @property
    def link(self) -> str:
        """What to open in a browser."""
        return f"{self.origin}/#!/?url=http://{HOST}:{self.port}{self.trace_path}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a request in a thread of its own; without one where none can be started: the program ends."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self.process_request_thread(request, client_address)

    def __enter__(self) -> "TraceServer":
        """Serve, in threads."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="stepscope server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop serving and listening."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the trace was fetched, or until the time is over and nobody is at it.

        Returns:
            Whether it was fetched, all of it.

        Raises:
            OSError: it cannot be read.
        """
        with self._changed:
            self._changed.wait_for(self._is_over, timeout_s)
            self._changed.wait_for(lambda: self._transfers == 0)
            if self._trouble:
                raise self._trouble
            if self._fetched and self.pages is not None:
                self._linger()
            return self._fetched

    def _is_over(self) -> bool:
        return (self._fetched or self._trouble is not None) and self._transfers == 0

    def _linger(self) -> None:
        """Wait until nothing has been asked for in a while."""
        while (left := self._last_active + LINGER_S - time.monotonic()) > 0 or self._transfers:
            self._changed.wait(max(left, 0.05))

    # -- what the handler's threads tell ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Something is being sent."""
        with self._changed:
            self._transfers += 1

    def end(self, *, fetched: bool, trouble: OSError | None) -> None:
        """It is over.

        Args:
            fetched: it was the trace, and all of it was sent.
            trouble: it could not be read.
        """
        with self._changed:
            self._transfers -= 1
            self._last_active = time.monotonic()
            self._fetched = self._fetched or fetched
            self._trouble = self._trouble or trouble
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error; the base class would print a traceback of it."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: TraceServer
    server_version = "stepscope"
    sys_version = ""
    timeout = STALLED_S

    def do_GET(self) -> None:
        """Send what is asked for."""
        self._answer(send=True)

    def do_HEAD(self) -> None:
        """Say what would be sent."""
        self._answer(send=False)

    def do_OPTIONS(self) -> None:
        """Say whether the UI's page may fetch the trace: browsers ask before they let it reach into a machine."""
        if not self._allowed() or not self._asks_for_trace():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self._send_common()
        self.send_header("Access-Control-Allow-Methods", "GET")
        for kind in ("Private", "Local"):
            if self.headers.get(f"Access-Control-Request-{kind}-Network") == "true":
                self.send_header(f"Access-Control-Allow-{kind}-Network", "true")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the base class prints a line for each request."""

    def _answer(self, *, send: bool) -> None:
        if not self._allowed():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        is_trace = self._asks_for_trace()
        content = self.server.trace if is_trace else (self.server.pages or {}).get(self.path.partition("?")[0])
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.begin()
        sent, trouble = False, None
        try:
            try:
                file = content.open()
            except OSError as error:
                trouble = error
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
                return
            with file:
                sent = self._send(file, content.type, send=send)
            # The other side has all of it when it has seen the end: the process may be gone right after this.
            self.connection.shutdown(socket.SHUT_WR)
        finally:
            self.server.end(fetched=is_trace and sent, trouble=trouble if is_trace else None)

    def _send(self, file: BinaryIO, type_: str, *, send: bool) -> bool:
        """Send a file; returns whether that was all of it."""
        size = file.seek(0, 2)
        file.seek(0)
        self.send_response(HTTPStatus.OK)
        self._send_common()
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if not send:
            return False
        left = size
        while left and (piece := file.read(min(left, CHUNK_BYTES))):
            self.wfile.write(piece)
            left -= len(piece)
        return left == 0

    def _send_common(self) -> None:
        """The headers of every answer."""
        if self.server.pages is None:
            self.send_header("Access-Control-Allow-Origin", self.server.origin)
            self.send_header("Vary", "Origin")
        else:
            self.send_header("Content-Security-Policy", OFFLINE_POLICY)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")

    def _allowed(self) -> bool:
        """Whether the UI asks, as far as a request can tell."""
        if self.headers.get("Host") not in (f"{HOST}:{self.server.port}", f"localhost:{self.server.port}"):
            return False
        origin = self.headers.get("Origin")
        if origin is None and self.server.pages is not None:
            # Of its own origin a browser asks without naming it.
            return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        return origin == self.server.origin

    def _asks_for_trace(self) -> bool:
        return secrets.compare_digest(self.path.encode("utf-8", "replace"), self.server.trace_path.encode())


def content_of(path: Path, type_: str = "application/octet-stream") -> Content:
    """A file to serve."""
    return Content(lambda: path.open("rb"), type_)
