"""`stepscope check`: counts, findings, exit codes."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_runner import stepscope, troubles
from stepscope import profile, record_function, schedule, trace_handler, write
from stepscope.check import Report, check, engine_or_none
from stepscope.model.build import TraceBuilder

pytestmark = pytest.mark.skipif(
    engine_or_none(download=False) is None,
    reason="there is no trace processor: pip install stepscope[engine]",
)

STEP = {"ph": "X", "name": "ProfilerStep#0", "cat": "user_annotation", "ts": 1, "dur": 90, "pid": 9, "tid": 9}
SLICE = {"ph": "X", "name": "fwd", "cat": "user_annotation", "ts": 5, "dur": 20, "pid": 9, "tid": 9, "args": {"k": 1}}
NEXT = {**STEP, "name": "ProfilerStep#1", "ts": 100}


def put(path: Path, *events: dict[str, Any], **header: Any) -> Path:
    trace = {"distributedInfo": {"rank": 0}, **header, "traceEvents": events}
    path.write_text(json.dumps(trace))
    return path


def good(folder: Path, name: str = "run.pt.trace.json") -> Path:
    return put(folder / name, STEP, SLICE, NEXT)


def test_a_good_file_is_counted_and_exits_with_0(tmp_path: Path) -> None:
    path = good(tmp_path)

    result = stepscope("check", path)

    assert (result.exit_code, result.stdout) == (0, f"{path}: 3 slices on 1 thread of 1 process\n")


def test_counters_and_flows_are_counted(tmp_path: Path) -> None:
    path = put(
        tmp_path / "run.pt.trace.json",
        STEP,
        SLICE,
        NEXT,
        {"ph": "C", "name": "memory", "pid": 9, "tid": 9, "ts": 3, "args": {"bytes": 5}},
        {"ph": "s", "name": "f", "cat": "flow", "id": 1, "pid": 9, "tid": 9, "ts": 6},
        {"ph": "f", "name": "f", "cat": "flow", "id": 1, "pid": 9, "tid": 9, "ts": 101, "bp": "e"},
    )

    assert stepscope("check", path).stdout == f"{path}: 3 slices on 1 thread of 1 process, 1 counter, 1 flow\n"


def test_what_the_profiler_writes_has_no_errors_and_no_warnings(tmp_path: Path) -> None:
    with profile(schedule=schedule(active=2, wait=0, warmup=1), on_trace_ready=trace_handler(tmp_path)) as prof:
        for _ in range(3):
            with record_function('quote " and \\', size=3):
                pass
            prof.step()
    paths = sorted(tmp_path.iterdir())

    result = stepscope("check", "--strict", "--format", "json", *paths)

    assert result.exit_code == 0, result.output
    reports = json.loads(result.stdout)
    assert [report["loaded"] for report in reports] == [True, True]
    assert {finding["level"] for report in reports for finding in report["findings"]} <= {"note"}


def test_a_warning_names_program_reason_and_fix_and_is_an_exit_code_only_if_strict(tmp_path: Path) -> None:
    path = put(tmp_path / "run.pt.trace.json", STEP, {**SLICE, "name": "ProfilerStep#abc"}, NEXT)

    result = stepscope("check", path)

    assert (result.exit_code, stepscope("check", "--strict", path).exit_code) == (0, 1)
    counts, finding, why, fix = result.stdout.splitlines()
    assert counts == f"{path}: 3 slices on 1 thread of 1 process"
    assert finding == "  warning  step-name: event 1, 'ProfilerStep#abc'"
    assert why.startswith("           HTA, TensorBoard: HTA refuses the file")
    assert fix.startswith("           Fix: ")


def test_a_statistic_of_the_trace_processor_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path / "run.pt.trace.json", STEP, SLICE, {**SLICE, "ts": 15}, NEXT)

    result = stepscope("check", path)

    assert result.exit_code == 1
    assert "  error    slice_drop_overlapping_complete_event" in result.stdout
    assert "lost" not in result.stdout  # it is explained


def test_slices_that_vanish_without_a_statistic_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = good(tmp_path)

    def lose_one(*args: Any, **more: Any) -> Report:
        report = check(*args, **more)
        return replace(report, slices=report.slices - 1)

    monkeypatch.setattr("stepscope.cli.check.check", lose_one)

    result = stepscope("check", path)

    assert result.exit_code == 1
    assert "  error    lost: 3 events should be slices, 2 are\n" in result.stdout


def test_a_cut_file_is_refused_and_lint_says_where(tmp_path: Path) -> None:
    path = good(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])

    result = stepscope("check", path)

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: not loaded"
    assert lines[1].startswith("  error    refused: the trace processor refused it: ")
    assert any(line.startswith("  warning  json: at character ") for line in lines)


def test_truncated_gzip_of_a_trace_is_a_finding(tmp_path: Path) -> None:
    path = good(tmp_path)
    packed = tmp_path / "run.pt.trace.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() * 1)[:-12])

    result = stepscope("check", packed)

    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, f"{packed}: not loaded")


def test_a_perfetto_file_is_not_held_to_what_readers_of_json_need(tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "main"), "ProfilerStep#abc", 0, 9000)
    path = write(builder.build(), tmp_path / "run.pftrace.gz")

    assert stepscope("check", path).stdout == f"{path}: 1 slice on 1 thread of 1 process\n"


def test_a_file_that_is_made_to_fill_the_memory_is_trouble_before_anything_loads_it(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b"[" + b" " * 5_000_000 + b"]"))

    result = stepscope("check", "--max-bytes", 4_000_000, bomb, good(tmp_path))

    assert (result.exit_code, result.stdout.count("\n")) == (2, 1)
    assert result.stderr == (
        f"stepscope: {bomb}: byte 4000000: more than 4000000 bytes come out of this gzip file. "
        "If it is not made to fill your memory, pass a larger --max-bytes.\n"
    )
    assert stepscope("check", bomb).stderr == ""


def test_files_of_one_rank_in_a_folder_are_a_warning(tmp_path: Path) -> None:
    first, second = good(tmp_path, "a.pt.trace.json"), good(tmp_path, "b.pt.trace.json")

    assert f"  warning  same-rank: {first} has it too\n" in stepscope("check", first, second).stdout


def test_json_has_all_that_the_text_has(tmp_path: Path) -> None:
    path = put(tmp_path / "run.pt.trace.json", STEP, {**SLICE, "cat": None}, NEXT)

    (report,) = json.loads(stepscope("check", path, "--format", "json").stdout)

    assert (report["file"], report["loaded"]) == (str(path), True)
    assert report["counts"] == {"slices": 3, "threads": 1, "processes": 1, "counters": 0, "flows": 0}
    assert report["engine"].startswith("v")
    (finding,) = report["findings"]
    assert (finding["level"], finding["rule"], finding["count"]) == ("warning", "cat", 1)
    assert all(finding[key] for key in ("example", "who", "why", "fix"))


def test_what_is_no_trace_is_trouble_and_the_others_are_checked_all_the_same(tmp_path: Path) -> None:
    empty, noise = tmp_path / "empty.json", tmp_path / "noise.bin"
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(1, 256)) * 9)
    absent, path = tmp_path / "absent.json", good(tmp_path)

    result = stepscope("check", absent, noise, path, empty, tmp_path)

    assert result.exit_code == 2
    assert result.stdout == f"{path}: 3 slices on 1 thread of 1 process\n"
    assert result.stderr.splitlines() == [
        f"stepscope: {absent}: No such file or directory",
        f"stepscope: {noise}: the trace processor refused it: Unknown trace type provided (ERR:fmt)",
        f"stepscope: {empty}: the file is empty",
        f"stepscope: {tmp_path}: Is a directory",
    ]


def test_a_file_that_may_not_be_read_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = good(tmp_path)

    def forbid(self: Path, *_args: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbid)

    assert troubles(stepscope("check", path)) == [f"{path}: Permission denied"]


def test_without_a_file_or_an_engine_there_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stepscope("check").exit_code == 2

    monkeypatch.setenv("STEPSCOPE_TRACE_PROCESSOR", str(tmp_path / "absent"))

    (message,) = troubles(stepscope("check", good(tmp_path)))
    assert message.startswith("STEPSCOPE_TRACE_PROCESSOR names ")


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = put(tmp_path / "run.pt.trace.json", STEP, {**SLICE, "name": "ProfilerStep\x1b[31m\r"}, NEXT)

    out = stepscope("check", path).stdout

    assert r"ProfilerStep\x1b[31m" in out
    assert "\x1b" not in out
