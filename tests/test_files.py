"""Files: their shape for each loader, their size, and that each is whole or not there."""

import contextlib
import errno
import gzip
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as ProtoTrace

from clock import FakeClock
from stepscope import ExportError, Trace, profile, record_function, write
from stepscope.core.clock import Clocks
from stepscope.formats import files
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

QUARTER_NS = 7_889_238 * 10**9


def small_trace(**origin: Any) -> Trace:
    builder = TraceBuilder(Origin(pid=7, **origin))
    track = builder.thread(7, 8, "main", "python")
    builder.slice(track, "outer", 1_234_567, 2_000, args={"k": [1, {"deep": "x"}]})
    builder.slice(track, "inner", 1_234_568, 999, cut=True)
    builder.instant(track, "mark", 1_235_000)
    return builder.build()


def test_the_json_is_one_header_key_and_one_event_a_line(tmp_path: Path) -> None:
    trace = small_trace(host="h", trace_id="AB", base_ns=5 * QUARTER_NS, rank=3, world_size=4)
    text = write(trace.with_metadata({"lr": 0.5}), tmp_path / "t.json").read_text()

    assert text.splitlines()[:9] == [
        "{",
        '"schemaVersion": 1,',
        '"deviceProperties": [],',
        '"distributedInfo": {"rank": 3, "world_size": 4},',
        '"trace_id": "AB",',
        '"host_name": "h",',
        '"displayTimeUnit": "ms",',
        f'"baseTimeNanoseconds": {5 * QUARTER_NS},',
        '"lr": 0.5,',
    ]
    events = text.split('"traceEvents": [\n')[1].splitlines()
    assert events == [
        '{"ph":"M","name":"process_name","pid":7,"tid":7,"args":{"name":"python"}},',
        '{"ph":"M","name":"thread_name","pid":7,"tid":8,"args":{"name":"main"}},',
        '{"ph":"X","name":"outer","cat":"user_annotation","pid":7,"tid":8,"ts":1234.567,"dur":2.000,'
        '"args":{"k":[1,{"deep":"x"}]}},',
        '{"ph":"X","name":"inner","cat":"user_annotation","pid":7,"tid":8,"ts":1234.568,"dur":0.999,'
        '"args":{"stepscope:cut":true}},',
        '{"ph":"i","s":"t","name":"mark","cat":"user_annotation","pid":7,"tid":8,"ts":1235.000}',
        "]",
        "}",
    ]


def test_the_json_says_under_metadata_what_newer_trace_processors_read(tmp_path: Path) -> None:
    trace = small_trace().with_metadata({"lr": 0.5, "traceEvents": "mine", "distributedInfo": {"backend": "gloo"}})
    content = json.loads(write(trace, tmp_path / "t.json").read_text())

    assert content["metadata"]["lr"] == 0.5
    assert content["metadata"]["traceEvents"] == "mine"
    assert isinstance(content["traceEvents"], list)
    assert content["distributedInfo"] == {"rank": 0, "world_size": 1, "backend": "gloo"}
    assert content["metadata"]["stepscope:about"]["problems"] == [
        {"kind": "cut", "count": 1, "example": "'inner' was open at the edge of what was recorded"}
    ]


def test_hta_finds_the_rank(tmp_path: Path) -> None:
    """HolisticTraceAnalysis looks for the rank line by line, with this pattern."""
    path = write(small_trace(rank=3), tmp_path / "t.json")

    found = [match for line in path.read_text().splitlines() if (match := re.search(r'"rank":\s+(\d+)', line))]
    assert found[0].group(1) == "3"


def test_a_time_below_a_quarter_of_a_year_survives_a_double(tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7, base_ns=QUARTER_NS))
    track = builder.thread(7, 8, "main", "python")
    times = [QUARTER_NS - 1 - 7 * step for step in range(50)]
    for ts in times:
        builder.slice(track, "x", ts, 1)
    content = json.loads(write(builder.build(), tmp_path / "t.json").read_text())

    read = [round(event["ts"] * 1000) for event in content["traceEvents"] if event["ph"] == "X"]
    assert sorted(read) == sorted(times)


def test_the_protobuf_is_on_boottime_and_knows_the_other_clocks(tmp_path: Path) -> None:
    clocks = Clocks(boottime_ns=10**12, monotonic_ns=9 * 10**11, realtime_ns=QUARTER_NS + 10**6)
    path = write(small_trace(clocks=clocks, base_ns=QUARTER_NS, host="box", trace_id="0A" * 16), tmp_path / "t.pftrace")
    packets = ProtoTrace.FromString(path.read_bytes()).packet

    readings = {clock.clock_id: clock.timestamp for clock in packets[0].clock_snapshot.clocks}
    assert readings == {6: 10**12, 3: 9 * 10**11, 1: QUARTER_NS + 10**6}
    assert [p.system_info.machine_name for p in packets if p.HasField("system_info")] == ["box"]
    assert [p.trace_uuid.msb for p in packets if p.HasField("trace_uuid")] == [0x0A0A0A0A0A0A0A0A]
    opening = next(p for p in packets if p.first_packet_on_sequence)
    assert opening.clock_snapshot.clocks[0].timestamp == 10**12 - 10**6 + 1_234_567
    assert opening.trace_packet_defaults.timestamp_clock_id == 64
    assert opening.sequence_flags == 1


def test_the_protobuf_interns_names_categories_and_argument_names_once(tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "python")
    for number in range(3):
        builder.slice(track, "same", number * 10, 5, args={"number": number, "f": 0.5, "s": "x", "b": True})
    packets = ProtoTrace.FromString(write(builder.build(), tmp_path / "t.pftrace").read_bytes()).packet

    interned = [packet.interned_data for packet in packets if packet.HasField("interned_data")]
    assert len(interned) == 1
    assert [entry.name for entry in interned[0].event_names] == ["same"]
    assert [entry.name for entry in interned[0].event_categories] == ["user_annotation"]
    assert [entry.name for entry in interned[0].debug_annotation_names] == ["number", "f", "s", "b"]
    last = [packet.track_event for packet in packets if packet.track_event.type == 1][-1]
    kinds = [annotation.WhichOneof("value") for annotation in last.debug_annotations]
    assert kinds == ["int_value", "double_value", "string_value", "bool_value"]


@pytest.mark.parametrize("number", [2.4182363595978815e-05, 1.2072878267912451e87, 5e-324, -0.1, 1e16])
def test_a_double_keeps_every_bit(tmp_path: Path, number: float) -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, 8, "main", "p"), "x", 0, 1, args={"number": number})
    trace = builder.build()
    encoded = {name: b"".join(form.encode(trace)) for name, form in files.FORMATS.items()}

    events = json.loads(encoded["chrome"])["traceEvents"]
    assert [event["args"]["number"] for event in events if event["ph"] == "X"] == [number]
    packets = ProtoTrace.FromString(encoded["perfetto"]).packet
    (value,) = [a.double_value for packet in packets for a in packet.track_event.debug_annotations]
    assert value == number


def test_tracks_of_two_cycles_never_share_an_id(tmp_path: Path) -> None:
    uuids: list[int] = []
    for trace_id in ("A", "B"):
        data = write(small_trace(trace_id=trace_id), tmp_path / "t.pftrace").read_bytes()
        uuids += [p.track_descriptor.uuid for p in ProtoTrace.FromString(data).packet if p.HasField("track_descriptor")]

    assert len(set(uuids)) == len(uuids) == 4


def nested_slices(count: int, names: int) -> Trace:
    """Slices as programs have them: steps of some microseconds in each other, of many names."""
    builder = TraceBuilder(Origin(pid=1_234_567, base_ns=QUARTER_NS))
    track = builder.thread(1_234_567, 1_234_568, "MainThread", "train.py")
    at = QUARTER_NS // 2
    for number in range(count // 4):
        for depth in range(4):
            name = f"layer {(number * 4 + depth) % names}"
            builder.slice(track, name, at + depth * 1_700, 20_000 - depth * 3_900)
        at += 23_417
    return builder.build()


def test_a_plain_nested_slice_takes_at_most_32_bytes_in_protobuf_and_120_in_json() -> None:
    trace = nested_slices(20_000, names=200)
    size = {name: sum(map(len, form.encode(trace))) / len(trace) for name, form in files.FORMATS.items()}

    assert size["perfetto"] <= 32
    assert size["chrome"] <= 120


@pytest.mark.parametrize("ending", [".json", ".pftrace"])
def test_a_compressed_file_is_the_same_file_and_always_the_same_bytes(tmp_path: Path, ending: str) -> None:
    trace = small_trace()
    plain = write(trace, tmp_path / f"t{ending}")
    packed = [write(trace, tmp_path / f"{name}{ending}.gz").read_bytes() for name in ("a", "b")]

    assert gzip.decompress(packed[0]) == plain.read_bytes()
    assert packed[0] == packed[1]


def test_an_export_can_be_repeated_in_any_format(clock: FakeClock, tmp_path: Path) -> None:
    with profile() as prof, record_function("x"):
        clock.at(5)
    for name in ("a.json", "a.json", "a.json.gz"):
        prof.export_chrome_trace(tmp_path / name)
    for name in ("b.pftrace", "b.pftrace.gz", "b.pftrace"):
        prof.export_perfetto_trace(str(tmp_path / name))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.gz", "b.pftrace", "b.pftrace.gz"]


def test_an_ending_that_names_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"t\.txt: the ending names no format\. Use one of \.json, \.pftrace"):
        write(small_trace(), tmp_path / "t.txt")


def refused(path: Path | str) -> str:
    with pytest.raises(ExportError) as caught:
        write(small_trace(), path)
    assert isinstance(caught.value, OSError)
    return str(caught.value)


def test_a_path_that_cannot_be_written_is_named_with_reason_and_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.json").mkdir()

    missing = refused(tmp_path / "nowhere" / "t.json")
    assert missing == (
        f"{tmp_path}/nowhere/t.json: the file cannot be written: No such file or directory. Create the folder first."
    )
    assert "Not a directory. Choose a path whose parent is a folder." in refused(tmp_path / "file" / "t.json")
    assert "Is a directory. Give the path of a file, not of a folder." in refused(tmp_path / "folder.json")
    assert "File name too long. Choose a shorter name." in refused(tmp_path / ("x" * 300 + "/t.json"))
    assert "null" in refused(f"{tmp_path}/nul\0.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the engine has threads; the child does without it
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            if os.geteuid() == 0:  # who may write anywhere
                os.setuid(65534)
            os.write(writer, refused(tmp_path / "t.json").encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:  # noqa: PTH123 - a descriptor has no Path
        text = said.read()
    tmp_path.chmod(0o700)

    assert text == (
        f"{tmp_path}/t.json: the file cannot be written: Permission denied. Choose a folder this user may write to."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".pftrace"])
def test_a_full_disk_leaves_no_half_file_and_the_old_one_whole(tmp_path: Path, ending: str) -> None:
    path = write(small_trace(), tmp_path / f"t{ending}")
    before = path.read_bytes()
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from stepscope import ExportError, write
from stepscope.model.build import TraceBuilder
from test_files import nested_slices
import random
trace = nested_slices(40_000, names=30_000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write(trace, {str(path)!r})
except ExportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.strip() == (
        f"{path}: the file cannot be written: File too large. "
        "Raise the limit on file sizes (ulimit -f), or record fewer steps."
    )
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_disk_that_fills_at_the_last_moment_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    assert "No space left on device. Free some space, or write to another disk." in refused(tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []


def test_a_program_killed_while_it_writes_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    script = f"""
import os, signal
from stepscope import write
from stepscope.formats import files
from test_files import small_trace
real = os.fsync
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
write(small_trace(), {str(tmp_path / "t.json")!r})
"""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": paths})

    assert done.returncode == -9
    assert not (tmp_path / "t.json").exists()


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)  # noqa: S607 - cat is everywhere
    write(small_trace(), pipe)
    out, _ = reader.communicate()

    assert json.loads(out)["schemaVersion"] == 1
    assert pipe.is_fifo()
    link = tmp_path / "null.json"
    link.symlink_to("/dev/null")
    write(small_trace(), link)
    assert Path("/dev/null").is_char_device()


def test_a_link_goes_on_pointing_to_the_file_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "t.json")
    write(small_trace(), link)

    assert link.is_symlink()
    assert json.loads((tmp_path / "real" / "t.json").read_text())["schemaVersion"] == 1


def test_a_file_has_the_permissions_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        mode = write(small_trace(), tmp_path / "t.json").stat().st_mode
    finally:
        os.umask(before)

    assert mode & 0o777 == 0o640
