"""A trace_processor_shell as a child process, asked over HTTP on a port of this machine.

Perfetto's client can start one too, but it polls once a second, leaves a temporary file behind each
time, and asks for the end of the file in the one way that hides its errors.
"""

import contextlib
import http.client
import io
import socket
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO

from stepscope.check.rpc import EngineError

HOST = "localhost"
START_SECONDS = 30.0
POLL_SECONDS = 0.02
GRACE_SECONDS = 1.0  # between the connection breaking and the process being gone
LAST_WORDS = 2000  # bytes of its stderr that an error quotes


class NativeTransport:
    """A running trace_processor_shell; it ends with close(), this object, or this process."""

    def __init__(self, path: Path) -> None:
        """Start the program and wait until it listens.

        Raises:
            EngineError: it could not be started, or ended before it listened.
        """
        port = _free_port()
        command = [str(path), "--httpd", "--http-port", str(port), "--no-ftrace-raw"]
        log = tempfile.TemporaryFile()  # noqa: SIM115  _stop closes it
        try:
            process = subprocess.Popen(  # noqa: S603  the user named this program, or perfetto checked its hash
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the shell is for the caller alone.
            )
        except OSError as error:
            log.close()
            raise EngineError(f"{path} could not be started: {error.strerror or error}") from error
        self._path, self._process, self._log = path, process, log
        self._connection = http.client.HTTPConnection(HOST, port)
        self._end = weakref.finalize(self, _stop, process, log, self._connection)
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.close()
            raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._connection.connect()
            except OSError:
                if self._process.poll() is not None:
                    raise EngineError(self._obituary()) from None
                if time.monotonic() > deadline:
                    raise EngineError(f"{self._path} did not listen within {START_SECONDS:.0f} s") from None
            time.sleep(POLL_SECONDS)

    def exchange(self, request: bytes) -> bytes:
        """Send one framed request and return the framed replies.

        Raises:
            EngineError: the program ended, or answered something else than the protocol.
        """
        if not self._end.alive:
            raise EngineError("it was closed")
        try:
            self._connection.request("POST", "/rpc", body=request)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(self._obituary()) from error
        if response.status != http.HTTPStatus.OK:
            raise EngineError(f"{self._path} answered HTTP {response.status} {response.reason}")
        return body

    def _obituary(self) -> str:
        """What is known of a program that went silent: how it ended, and its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        status = self._process.returncode
        ended = "broke off" if status is None else f"ended with status {status}"
        self._log.seek(max(0, self._log.seek(0, io.SEEK_END) - LAST_WORDS))
        words = self._log.read().decode("utf-8", "replace").strip()
        return f"{self._path} {ended}: {words}" if words else f"{self._path} {ended}"

    def close(self) -> None:
        """End the program; a second call does nothing."""
        self._end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes], log: IO[bytes], connection: http.client.HTTPConnection) -> None:
    connection.close()
    process.kill()
    process.wait()
    log.close()
