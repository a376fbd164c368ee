"""`stepscope open`: what is served, what is said, and how it ends; and how programs show a trace themselves."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import UI, Browser, fetch, fetched_from, listening, the_port
from cli_runner import stepscope, troubles
from clock import FakeClock
from stepscope import StepscopeWarning, ViewError, profile, read, record_function, schedule, trace_handler, write
from stepscope.formats.files import read_from
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from stepscope.viewer import view

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses fcntl to take turns at a port")


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """The user's browser; the server takes any port, for tests run side by side."""
    opened = Browser()
    monkeypatch.setattr(view, "PORT", 0)
    monkeypatch.setenv("BROWSER", "one that is opened")
    monkeypatch.setattr("webbrowser.open", opened.open)
    yield opened
    opened.close()


def recorded(name: str, ts: int = 0, rank: int = 0) -> Trace:
    builder = TraceBuilder(Origin(base_ns=10**18, host="a", pid=7, rank=rank, trace_id=f"{name}{rank}"))
    builder.slice(builder.thread(7, 70, "main", "train"), name, ts, 5)
    return builder.build()


def test_open_gives_the_browser_the_file_as_it_is(browser: Browser, tmp_path: Path) -> None:
    path = write(recorded("a"), tmp_path / "run.json.gz")

    result = stepscope("open", path)
    browser.close()

    assert (result.exit_code, result.stdout) == (0, "")
    assert (
        result.stderr
        == "stepscope: serving run.json.gz until a browser has fetched it, for at most 300 s; Ctrl-C ends it\n"
    )
    assert [answer.body for answer in browser.answers] == [path.read_bytes()]
    assert browser.links[0].startswith(f"{UI}/#!/?url=http://127.0.0.1:")
    assert browser.links[0].endswith("/run.json.gz")


def test_of_a_folder_the_newest_session_is_opened_in_the_smaller_format(browser: Browser, tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        for ending in (".pftrace", ".pt.trace.json"):
            path = write(recorded(name), tmp_path / f"{name}{ending}")
            os.utime(path, (10**9 - age, 10**9 - age))
    (tmp_path / "notes.txt").write_text("newer")

    assert stepscope("open", tmp_path).exit_code == 0
    browser.close()

    assert [answer.body for answer in browser.answers] == [(tmp_path / "new.pftrace").read_bytes()]


def test_without_a_path_the_folder_log_is_opened(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert troubles(stepscope("open")) == ["log: No such file or directory"]
    (tmp_path / "log").mkdir()
    write(recorded("a"), tmp_path / "log" / "run.pftrace")

    assert stepscope("open").exit_code == 0
    browser.close()

    assert browser.links[0].endswith("/run.pftrace")


def test_several_files_are_opened_as_one_trace_each_cycle_once(browser: Browser, tmp_path: Path) -> None:
    for rank in (0, 1):
        write(recorded("a", rank, rank), tmp_path / f"rank{rank}.pftrace")
        write(recorded("a", rank, rank), tmp_path / f"rank{rank}.json")

    result = stepscope("open", *sorted(tmp_path.iterdir()))
    browser.close()

    assert (result.exit_code, result.stdout) == (0, "")
    (answer,) = browser.answers
    (tmp_path / "got.pftrace").write_bytes(answer.body)
    assert [(row.ts, row.name, row.track.process) for row in read(tmp_path / "got.pftrace")] == [
        (0, "a", "train (rank 0)"),
        (1, "a", "train (rank 1)"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# notes\n", "x.json: byte 0: b'# notes\\n' is the beginning of no trace. Give a file of"),
        (b"", "x.json: the file is empty."),
        (None, "x.json: No such file or directory"),
    ],
)
def test_what_is_no_trace_is_not_served(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("x.json").write_bytes(content)

    (said,) = troubles(stepscope("open", "x.json"))

    assert said.startswith(message)
    assert browser.links == []


def test_a_folder_without_a_trace_says_so(tmp_path: Path) -> None:
    assert troubles(stepscope("open", tmp_path))[0].startswith(f"{tmp_path}: there is no trace in this folder.")


def test_nobody_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(view, "PORT", 0)
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    path = write(recorded("a"), tmp_path / "run.pftrace")

    result = stepscope("open", path, "--timeout", 0.01)

    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[1] == "stepscope: there is no display. Open this link in a browser on this machine:"
    assert lines[2].startswith(f"  {UI}/#!/?url=http://127.0.0.1:")
    assert lines[4].startswith("  ssh -L ")
    assert (
        lines[5]
        == "stepscope: run.pftrace: no browser has fetched it in 0.01 s. Open it again, or use a longer timeout."
    )


def test_a_port_that_is_taken_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(recorded("a"), tmp_path / "run.pftrace")
    with listening(0) as taken:
        monkeypatch.setattr(view, "PORT", taken.getsockname()[1])

        (said,) = troubles(stepscope("open", path))

    assert "End what listens there" in said
    assert "or use --offline," in said


def serving(path: Path) -> "subprocess.Popen[str]":
    """The command as a script runs it."""
    command = [sys.executable, "-W", "error", "-m", "stepscope", "open", str(path), "--print-url"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_script_gets_the_link_alone_and_the_program_ends_with_the_fetch(tmp_path: Path) -> None:
    path = write(recorded("a"), tmp_path / "run.pftrace")
    with the_port(), serving(path) as process:
        assert process.stdout is not None
        link = process.stdout.readline().rstrip("\n")

        answer = fetch(fetched_from(link), Origin=UI)

        out, err = process.communicate(timeout=20)
    assert link.startswith(f"{UI}/#!/?url=http://127.0.0.1:9001/")
    assert answer.body == path.read_bytes()
    assert (process.returncode, out, err) == (0, "", "")


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    path = write(recorded("a"), tmp_path / "run.pftrace")
    with the_port(), serving(path) as process:
        assert process.stdout is not None
        process.stdout.readline()

        process.send_signal(signal.SIGINT)

        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


# ---- programs that show a trace themselves ---------------------------------------------------------------------------


def test_a_profile_opens_its_last_cycle(browser: Browser, clock: FakeClock) -> None:
    with profile(schedule=schedule(wait=0, warmup=1, active=1, repeat=2)) as prof:
        for step in range(4):
            with record_function(f"work {step}"):
                clock.at(10 * step + 5)
            prof.step()

    prof.open()
    browser.close()

    (answer,) = browser.answers
    assert browser.links[0].endswith("/cycle1_steps3-3.pftrace")
    assert read_bytes(answer.body) == prof.trace


def read_bytes(content: bytes) -> Trace:
    return read_from(io.BytesIO(content), "fetched")


def test_a_profile_that_nobody_opens_says_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda link, new: False)
    with profile() as prof:
        pass

    with (
        pytest.warns(StepscopeWarning, match=r"^no browser was found. Open this link .*\n .*perfetto"),
        pytest.raises(ViewError, match=r"no browser has fetched it in 0.01 s"),
    ):
        prof.open(timeout_s=0.01)


@pytest.mark.parametrize("background", [True, False])
def test_a_handler_opens_the_first_cycle_while_the_program_goes_on(
    browser: Browser, tmp_path: Path, background: bool
) -> None:
    handler = trace_handler(tmp_path, open_browser=True, background=background)
    with profile(schedule=schedule(wait=0, warmup=1, active=1, repeat=3), on_trace_ready=handler) as prof:
        for _ in range(6):
            prof.step()

    join_viewers()
    browser.close()

    assert [answer.body for answer in browser.answers] == [handler.paths[1].read_bytes()]
    assert handler.paths[1].name in browser.links[0]
    assert "_cycle0_" in browser.links[0]
    assert browser.links[0].endswith(".pftrace")


def join_viewers() -> None:
    """Wait as the program's end does."""
    for thread in threading.enumerate():
        if thread.name == view.THREAD_NAME:
            thread.join(20)
            assert not thread.is_alive()


def test_ranks_above_0_open_nothing(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    with profile(on_trace_ready=trace_handler(tmp_path, open_browser=True)):
        pass

    join_viewers()
    assert browser.links == []


def test_what_keeps_a_handler_from_opening_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording is what matters."""
    said: list[str] = []
    monkeypatch.setattr(view, "warn", said.append)
    with listening(0) as taken:
        monkeypatch.setattr(view, "PORT", taken.getsockname()[1])
        handler = trace_handler(tmp_path, open_browser=True)
        with profile(on_trace_ready=handler):
            pass
        join_viewers()

    assert len(handler.paths) == 2
    assert [message[: message.index(" is taken")] for message in said] == [f"port {taken_port(said[0])}"]


def taken_port(message: str) -> str:
    return message.split()[1]


PROGRAM = """
import sys, stepscope
prof = stepscope.profile(on_trace_ready=stepscope.trace_handler(sys.argv[1], open_browser=True))
prof.start()
if sys.argv[2] == "stop":
    prof.stop()
print("the program is done", flush=True)
"""


def test_the_end_of_a_program_waits_for_the_browser(tmp_path: Path) -> None:
    """A script that ends at once would take the trace away from the page."""
    fetching = tmp_path / "browser.py"
    fetching.write_text(
        "import sys, urllib.request\n"
        "address = sys.argv[1].partition('#!/?url=')[2]\n"
        f"asked = urllib.request.Request(address, headers={{'Origin': '{UI}'}})\n"
        "open(sys.argv[0] + '.got', 'wb').write(urllib.request.urlopen(asked).read())\n"
    )
    environment = {**os.environ, "BROWSER": f"{sys.executable} {fetching} %s"}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "log"), "stop"]
    with the_port():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "the program is done\n", "")
    (path,) = (tmp_path / "log").glob("*.pftrace")
    got = Path(f"{fetching}.got")
    for _ in range(100):  # the browser is a program of its own
        if got.exists() and got.stat().st_size == path.stat().st_size:
            break
        time.sleep(0.05)
    assert got.read_bytes() == path.read_bytes()


def test_a_program_that_ends_without_stop_is_told_how_to_look(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "log"), "end"]
    with the_port():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0
    (path,) = (tmp_path / "log").glob("*.pftrace")
    assert "the program ended without stop()" in done.stderr
    assert f"the program has ended, so nothing can be served here. Use:  stepscope open {path}" in done.stderr
