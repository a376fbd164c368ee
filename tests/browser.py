"""A browser that opens nothing: it fetches what the page at ui.perfetto.dev would."""

import fcntl
import http.client
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["UI", "Answer", "Browser", "fetch", "fetched_from", "listening", "the_port"]

UI = "https://ui.perfetto.dev"


class Answer(NamedTuple):
    """What a server has said."""

    status: int
    headers: dict[str, str]
    body: bytes


def fetched_from(link: str) -> str:
    """The address that a link to the UI names."""
    _, _, address = link.partition("#!/?url=")
    assert address, link
    return address


def fetch(address: str, method: str = "GET", **headers: str) -> Answer:
    """Ask a server; headers with _ for -."""
    parts = urlsplit(address)
    assert parts.port is not None
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    try:
        connection.request(method, parts.path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Browser:
    """Stands in for webbrowser.open: keeps the links, and fetches each trace as the UI does.

    Attributes:
        links: that were opened.
        answers: to what was fetched.
    """

    def __init__(self) -> None:
        self.links: list[str] = []
        self.answers: list[Answer] = []
        self._threads: list[threading.Thread] = []

    def open(self, link: str, new: int = 0) -> bool:
        self.links.append(link)
        self._threads.append(threading.Thread(target=self._fetch, args=(link,)))
        self._threads[-1].start()
        return True

    def close(self) -> None:
        for thread in self._threads:
            thread.join()

    def _fetch(self, link: str) -> None:
        self.answers.append(fetch(fetched_from(link), Origin=UI))


@contextmanager
def the_port() -> Iterator[None]:
    """Have port 9001 to oneself: tests that run side by side take turns."""
    with (Path(tempfile.gettempdir()) / "stepscope-tests-port-9001").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def listening(port: int) -> socket.socket:
    """A socket that has a port."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken
