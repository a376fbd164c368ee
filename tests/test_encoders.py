"""What stands in the files of counters and flows, to the letter: what readers of ours go by."""

import json
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

from stepscope import write
from stepscope.formats.about import about
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace

BEGIN, POINT, COUNTER = 1, 3, 4


@pytest.fixture
def trace() -> Trace:
    """Two threads with a lane, three counters, two flows."""
    builder = TraceBuilder(Origin(base_ns=10**18, pid=7))
    main, worker = builder.thread(7, 8, "main", "p"), builder.thread(7, 9, "worker", "p")
    load = builder.slice(main, "load", 1000, 500)
    builder.slice(main, "overlaps", 1200, 900)
    queued = builder.instant(worker, "queued", 1300)
    done = builder.slice(worker, "done", 1400, 0)
    builder.flow("batch", [load, queued, done])
    builder.flow('the "other"', [queued, done])
    for ts, name, unit, value in (
        (1000, "memory", "bytes", 2**40),
        (1001, "memory", "bytes", -0.5),
        (1001, "queue", "", 3),
        (1002, "speed", "batches/s", 1e20),
    ):
        builder.count(builder.counter_track(7, name, unit), ts, value)
    return builder.build()


def json_lines(trace: Trace, folder: Path) -> list[str]:
    text = write(trace, folder / "t.json").read_text()
    return [line.rstrip(",") for line in text.splitlines() if line.startswith('{"ph":') and '"ph":"M"' not in line]


def packets(trace: Trace, folder: Path) -> list[Any]:
    read = protos.Trace()
    read.ParseFromString(write(trace, folder / "t.pftrace").read_bytes())
    return list(read.packet)


def test_a_flow_event_stands_behind_its_row_and_counters_behind_all_rows(trace: Trace, tmp_path: Path) -> None:
    assert json_lines(trace, tmp_path) == [
        '{"ph":"X","name":"load","cat":"user_annotation","pid":7,"tid":8,"ts":1.000,"dur":0.500}',
        '{"ph":"s","id":1,"name":"batch","cat":"flow","pid":7,"tid":8,"ts":1.000}',
        '{"ph":"X","name":"overlaps","cat":"user_annotation","pid":7,"tid":1073741824,"ts":1.200,"dur":0.900}',
        '{"ph":"i","s":"t","name":"queued","cat":"user_annotation","pid":7,"tid":9,"ts":1.300}',
        '{"ph":"t","id":1,"name":"batch","cat":"flow","pid":7,"tid":9,"ts":1.300}',
        r'{"ph":"s","id":2,"name":"the \"other\"","cat":"flow","pid":7,"tid":9,"ts":1.300}',
        '{"ph":"X","name":"done","cat":"user_annotation","pid":7,"tid":9,"ts":1.400,"dur":0.000}',
        '{"ph":"f","bp":"e","id":1,"name":"batch","cat":"flow","pid":7,"tid":9,"ts":1.400}',
        r'{"ph":"f","bp":"e","id":2,"name":"the \"other\"","cat":"flow","pid":7,"tid":9,"ts":1.400}',
        '{"ph":"C","name":"memory","pid":7,"tid":0,"args":{"bytes":1099511627776},"ts":1.000}',
        '{"ph":"C","name":"memory","pid":7,"tid":0,"args":{"bytes":-0.5},"ts":1.001}',
        '{"ph":"C","name":"queue","pid":7,"tid":0,"args":{"":3},"ts":1.001}',
        '{"ph":"C","name":"speed","pid":7,"tid":0,"args":{"batches/s":1e+20},"ts":1.002}',
    ]


def test_a_flow_id_of_protobuf_tells_the_flows_name_and_number(trace: Trace, tmp_path: Path) -> None:
    events = [packet.track_event for packet in packets(trace, tmp_path) if packet.HasField("track_event")]
    passed = [(list(e.flow_ids), list(e.terminating_flow_ids)) for e in events if e.type in (BEGIN, POINT)]
    first, second = 1 << 40 | 1, 2 << 40 | 2

    assert passed == [([first], []), ([], []), ([first, second], []), ([], [first, second])]


def test_a_counter_is_a_child_of_its_process_with_its_unit(trace: Trace, tmp_path: Path) -> None:
    written = packets(trace, tmp_path)
    tracks = {packet.track_descriptor.uuid: packet.track_descriptor for packet in written}
    (process,) = [track for track in tracks.values() if track.HasField("process")]
    counters = [track for track in tracks.values() if track.HasField("counter")]
    values = [packet.track_event for packet in written if packet.track_event.type == COUNTER]

    assert {track.parent_uuid for track in counters} == {process.uuid}
    assert [(track.name, track.counter.unit, track.counter.unit_name) for track in counters] == [
        ("memory", protos.CounterDescriptor.UNIT_SIZE_BYTES, ""),
        ("queue", protos.CounterDescriptor.UNIT_UNSPECIFIED, ""),
        ("speed", protos.CounterDescriptor.UNIT_UNSPECIFIED, "batches/s"),
    ]
    assert [value.WhichOneof("counter_value_field") for value in values] == [
        "counter_value",
        "double_counter_value",
        "counter_value",
        "double_counter_value",
    ]


def test_about_says_what_no_event_can(trace: Trace, tmp_path: Path) -> None:
    """The tracks that are no plain threads, in the order of their numbers, and the names of flows."""
    said = about(trace)

    assert said["tracks"] == [
        ["lane", 7, 1 << 30, "main (overlap 1)", ""],
        ["counter", 7, 0, "memory", "bytes"],
        ["counter", 7, 0, "queue", ""],
        ["counter", 7, 0, "speed", "batches/s"],
    ]
    assert said["flow_names"] == ["batch", 'the "other"']
    whole = json.loads(write(trace, tmp_path / "t.json").read_text())
    assert whole["metadata"]["stepscope:about"]["tracks"] == said["tracks"]


def test_about_is_silent_of_what_there_is_none(tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.instant(builder.thread(7, 8, "main"), "a", 0)

    assert not {"tracks", "flow_names"} & about(builder.build()).keys()
