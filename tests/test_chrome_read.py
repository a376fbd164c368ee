"""Reading Chrome JSON: what each phase, each spelling of a time and each header becomes, exactly."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from stepscope.formats.files import read, read_from, write
from stepscope.model.trace import CUT, INSTANT, SLICE, Trace


def load(*events: Any, strict: bool = True, **head: Any) -> Trace:
    """Read events, as an array or with other keys beside them."""
    content = {"traceEvents": list(events), **head} if head else list(events)
    return read_from(io.BytesIO(json.dumps(content).encode()), "t.json", strict=strict)


def event(phase: str, ts: float | str = 0, name: str | None = "x", **more: Any) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {"ph": phase, **named, "pid": 1, "tid": 2, "ts": ts, **more}


def shown(trace: Trace) -> list[tuple[Any, ...]]:
    return [(row.name, row.ts, row.dur, row.kind) for row in trace]


def problems(trace: Trace) -> dict[str, int]:
    return {problem.kind: problem.count for problem in trace.problems}


# ---- phases ------------------------------------------------------------------------------------------------------


def test_a_complete_event_is_a_slice_and_an_i_an_instant() -> None:
    trace = load(event("X", 1.5, "s", dur=2, cat="c"), event("i", 2, "p"), event("I", 2.25, "q", s="g"))

    assert shown(trace) == [("s", 1500, 2000, SLICE), ("p", 2000, 0, INSTANT), ("q", 2250, 0, INSTANT)]
    assert [row.cat for row in trace] == ["c", "uncategorized", "uncategorized"]


def test_ends_are_of_the_innermost_begin_of_their_name_and_category() -> None:
    trace = load(
        event("B", 0, "a", cat="c"),
        event("B", 1, "b", cat="c"),
        event("B", 2, "b", cat="d"),
        event("E", 3, "b", cat="c"),
        event("E", 4, None),
        event("E", 5, "a"),
    )

    # The second b has no end before the first one's: it overlaps it, and is laid beside it.
    assert sorted(shown(trace)) == [("a", 0, 5000, SLICE), ("b", 1000, 2000, SLICE), ("b", 2000, 2000, SLICE)]
    assert problems(trace) == {"overlap": 1}


def test_the_order_of_begins_and_ends_is_that_of_time_not_of_the_file() -> None:
    trace = load(event("E", 5, None), event("B", 0, "a"), event("E", 9, None), event("B", 7, "b"))

    assert shown(trace) == [("a", 0, 5000, SLICE), ("b", 7000, 2000, SLICE)]


def test_a_begin_without_an_end_is_cut_at_the_end_of_the_file_or_of_what_it_is_in() -> None:
    trace = load(
        event("B", 0, "open"),
        event("B", 1, "outer"),
        event("B", 2, "inner"),
        event("E", 4, "outer"),
        event("X", 20, "last", dur=10, tid=3),
    )

    assert shown(trace) == [
        ("open", 0, 30_000, SLICE | CUT),
        ("outer", 1000, 3000, SLICE),
        ("inner", 2000, 2000, SLICE | CUT),
        ("last", 20_000, 10_000, SLICE),
    ]
    assert problems(trace) == {"cut": 2}


def test_an_end_without_a_begin_is_counted() -> None:
    trace = load(event("E", 1, "a"), event("X", 0, "x", dur=1))

    assert shown(trace) == [("x", 0, 1000, SLICE)]
    assert [(p.kind, p.count, p.example) for p in trace.problems] == [
        ("unmatched", 1, "an end of 'a' at 1000 ns has no beginning")
    ]


def test_many_ends_of_outer_slices_are_found_without_looking_at_all_inner_ones() -> None:
    """A file that makes each of its ends look at each of its begins would take hours."""
    count = 20_000
    outer = [event("B", number, f"outer {number}") for number in range(count)]
    inner = [event("B", count, "inner") for _ in range(count)]
    ends = [event("E", count + 1 + number, f"outer {number}") for number in range(count)]
    trace = load(*outer, *inner, *ends)

    assert sum(row.kind == SLICE for row in trace) == count
    assert problems(trace)["cut"] == count


def test_async_events_are_slices_on_a_track_of_their_category_and_id() -> None:
    trace = load(
        event("b", 0, "get", cat="net", id="0x10"),
        event("b", 1, "dns", cat="net", id=16),
        event("b", 1, "get", cat="net", id="other", tid=77),
        event("n", 2, "sent", cat="net", id="0x10"),
        event("e", 3, "dns", cat="net", id="0x10"),
        event("e", 9, "get", cat="net", id="0x10"),
        event("e", 7, "get", cat="net", id="other"),
        event("b", 0, "mine", cat="net", id2={"local": 5}),
        event("b", 0, "mine", cat="net", id2={"local": 5}, pid=9),
        event("e", 2, "mine", cat="net", id2={"local": 5}, pid=9),
        event("e", 4, "mine", cat="net", id2={"local": 5}),
    )

    placed = sorted((row.track.pid, row.track.tid, row.name, row.ts, row.dur) for row in trace)
    first = 1 << 30
    assert placed == [
        (1, first, "dns", 1000, 2000),
        (1, first, "get", 0, 9000),
        (1, first, "sent", 2000, 0),
        (1, first + 1, "get", 1000, 6000),
        (1, first + 2, "mine", 0, 4000),
        (9, first + 2, "mine", 0, 2000),
    ]
    assert {row.track.kind for row in trace} == {"async"}
    assert trace.problems == ()


def test_the_older_spelling_of_async_events_goes_by_name_too() -> None:
    trace = load(
        event("S", 0, "a", id=1),
        event("S", 1, "b", id=1),
        event("T", 2, "a", id=1),
        event("F", 3, "a", id=1),
        event("F", 4, "b", id=1),
    )

    assert shown(trace) == [("a", 0, 3000, SLICE), ("b", 1000, 3000, SLICE), ("a", 2000, 0, INSTANT)]
    assert len(trace.tracks) == 2


def test_a_counter_has_a_series_for_each_key() -> None:
    trace = load(event("C", 1, "m", args={"a": 1, "b": "2.5"}), event("C", 2, "m", args={"a": 1e3}))

    assert [(track.kind, track.name, track.tid) for track in trace.tracks] == [
        ("counter", "m a", 0),
        ("counter", "m b", 0),
    ]
    assert list(zip(*trace.counters, strict=True)) == [(1000, 1.0, 0), (1000, 2.5, 1), (2000, 1000.0, 0)]


def test_a_flow_binds_to_the_slice_that_is_open_and_not_to_one_that_has_ended() -> None:
    """Trace processor v52 binds to the slice that began last, though it has ended."""
    trace = load(
        event("X", 0, "outer", dur=10),
        event("X", 2, "ended", dur=2),
        event("s", 6, "f", id=1),
        event("X", 20, "here", dur=5, tid=3),
        event("f", 21, "f", id=1, bp="e", tid=3),
        event("X", 30, "next", dur=5, tid=3),
        event("s", 6, "g", id=1),
        event("f", 21, "g", id=1, tid=3),
    )

    flows: dict[str, list[str]] = {}
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        flows.setdefault(trace.strings[trace.flows.name[flow]], []).append(trace[row].name)
    assert flows == {"f": ["outer", "here"], "g": ["outer", "next"]}
    assert trace.problems == ()


def test_flows_by_bind_id_pass_the_slices_that_name_it() -> None:
    trace = load(
        event("X", 0, "a", dur=1, bind_id="0x1", flow_out=True),
        event("X", 5, "b", dur=1, bind_id="0x1", flow_in=True, flow_out=True),
        event("X", 9, "c", dur=1, bind_id="0x1", flow_in=True),
    )

    assert list(trace.flows.row) == [0, 1, 2]


def test_flow_points_that_go_nowhere_are_counted() -> None:
    trace = load(
        event("s", 0, "f", id=1),
        event("X", 5, "x", dur=1),
        event("t", 5, "f", id=2),
        event("s", 5, "f", id=3),
        event("s", 5.5, "f", id=3),
    )

    assert problems(trace) == {"unmatched": 3}
    assert len(trace.flows.name) == 0


def test_phases_without_a_place_are_counted() -> None:
    trace = load(event("O"), event("v"), event("Q"), {})

    assert problems(trace) == {"ignored": 3}


def test_each_end_of_a_flow_comes_from_its_last_step() -> None:
    trace = load(
        *(event("X", 10 * number, name, dur=5) for number, name in enumerate("abcd")),
        event("s", 1, "f", id=1),
        event("t", 11, "f", id=1),
        event("f", 21, "f", id=1, bp="e"),
        event("f", 31, "f", id=1, bp="e"),
    )

    points = sorted(zip(trace.flows.flow, trace.flows.row, strict=True))
    assert points == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 3)]


@pytest.mark.parametrize("phase", ["X", "B"])
@pytest.mark.parametrize("depth", [97, 98, 250, 900])
def test_arguments_as_deep_as_protobuf_can_be_are_kept_and_deeper_ones_end_in_dots(
    tmp_path: Path, depth: int, phase: str
) -> None:
    value: Any = 1.5
    for _ in range(depth):
        value = {"k": value}
    trace = load(event(phase, 0, "x", dur=1, args={"a": value}))
    found, levels = trace[0].args["a"], 0
    while isinstance(found, dict):
        found, levels = found["k"], levels + 1

    assert (found, levels) == ((1.5, depth) if depth <= 97 else ("...", 16))
    for name in ("t.json", "t.pftrace"):
        write(trace, tmp_path / name)
        assert read(tmp_path / name) == trace


# ---- times and ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "ns"),
    [
        ("0", 0),
        ("1", 1000),
        ("1.0005", 1001),
        ("1.0004999999999999999999", 1000),
        ("4583295567556.697", 4583295567556697),
        ("1e3", 1_000_000),
        ("1.2345E+2", 123_450),
        ("5e-4", 1),
        ("4.9e-4", 0),
        ('"12.5"', 12_500),
        ("0.1376922998610796", 138),
        ("1e-999999999", 0),
    ],
)
def test_times_are_exact_to_the_nanosecond(literal: str, ns: int) -> None:
    """A double would lose nanoseconds, and so a time is never one."""
    text = f'[{{"ph":"X","name":"x","pid":1,"tid":1,"ts":{literal},"dur":{literal}}}]'
    trace = read_from(io.BytesIO(text.encode()), "t.json")

    assert trace.columns.ts[0] + trace.origin.base_ns == ns
    assert trace.columns.dur[0] == ns


def test_times_below_zero_move_the_base_by_whole_seconds() -> None:
    trace = load(event("X", -0.001, "a", dur=1), event("C", -2_500_000, "m", args={"v": 1}), event("X", 1, "b", dur=1))

    assert trace.origin.base_ns == -3 * 10**9
    assert [row.ts for row in trace] == [3 * 10**9 - 1, 3 * 10**9 + 1000]
    assert list(trace.counters.ts) == [5 * 10**8]


def test_absolute_times_move_the_base_so_that_a_double_holds_what_is_left() -> None:
    ts = 1795440657213310.123
    trace = load(event("X", "1795440657213310.123", "a", dur=1))

    assert trace.origin.base_ns == 1795440657213310123 // (7889238 * 10**9) * (7889238 * 10**9)
    assert trace.columns.ts[0] + trace.origin.base_ns == 1795440657213310123
    assert trace.columns.ts[0] < 1000 << 43 < ts * 1000


def test_ids_that_are_texts_or_too_large_are_made_up_and_kept_as_names() -> None:
    """Perfetto gives texts made-up ids too, but takes every number beyond 32 bits for 0: threads would become one."""
    trace = load(
        event("X", 0, "a", dur=1, pid="Spans", tid="gpu"),
        event("X", 0, "b", dur=1, pid=2**40, tid=-1),
        event("X", 0, "c", dur=1, pid=2**40, tid=2**31),
        event("X", 0, "d", dur=1, pid=7, tid=0),
        event("X", 5, "e", dur=1, pid=7, tid=7),
        event("X", 5, "f", dur=1, pid=1 << 30, tid=1 << 30),
    )

    first = 1 << 30
    assert [(row.name, row.track.pid, row.track.tid, row.track.name, row.track.process) for row in trace] == [
        ("a", first + 2, first + 1, "gpu", "Spans"),
        ("b", first + 1, first, "thread -1", f"process {2**40}"),
        ("c", first + 1, first + 1, f"thread {2**31}", f"process {2**40}"),
        ("d", 7, 7, "thread 7", "process 7"),
        ("e", 7, 7, "thread 7", "process 7"),
        ("f", first, first, f"thread {first}", f"process {first}"),
    ]


def test_events_without_ids_are_of_process_0() -> None:
    trace = load({"ph": "X", "name": "x", "ts": 0, "dur": 1}, {"ph": "X", "name": "y", "pid": 3, "ts": 0, "dur": 1})

    assert [(row.track.pid, row.track.tid) for row in trace] == [(0, 1 << 30), (3, 3)]


def test_two_processes_keep_threads_of_one_id_apart() -> None:
    trace = load(event("X", 0, "a", dur=9), event("X", 1, "b", dur=9, pid=3))

    assert [(row.track.pid, row.track.tid) for row in trace] == [(1, 2), (3, 2)]
    assert trace.problems == ()


# ---- text and arguments ------------------------------------------------------------------------------------------


def test_text_is_read_as_json_says_and_held_as_every_file_can() -> None:
    raw = rb'[{"ph":"X","name":"\u0041\ud83d\ude00\ud800\u0000\"","cat":"A\u0041","pid":1,"tid":1,"ts":0,"dur":1},'
    raw += b'{"ph":"X","name":"\xff","cat":"AA","pid":1,"tid":1,"ts":2,"dur":1,"args":{"k\xc3":"\xfe"}}]'
    trace = read_from(io.BytesIO(raw), "t.json")

    assert [row.name for row in trace] == ['A\U0001f600\\ud800\\x00"', "\ufffd"]
    assert [row.cat for row in trace] == ["AA", "AA"]
    assert trace[1].args == {"k\ufffd": "\ufffd"}
    assert problems(trace) == {"encoding": 2}


def test_arguments_are_held_as_every_file_can() -> None:
    text = '[{"ph":"X","name":"x","pid":1,"tid":1,"ts":0,"dur":1,"args":{"n":null,"e":[],"f":NaN,'
    text += '"i":123456789012345678901,"stepscope:x":1,"ok":[1,{"a":"b"}]}}]'
    (row,) = read_from(io.BytesIO(text.encode()), "t.json")

    assert row.args == {
        "n": "None",
        "e": "[]",
        "f": "NaN",
        "i": "123456789012345678901",
        "user:stepscope:x": 1,
        "ok": [1, {"a": "b"}],
    }


def test_an_event_too_long_to_be_plain_is_read_all_the_same() -> None:
    args = {str(number): number / 8 for number in range(20_000)}
    trace = load(event("X", 1, "big", dur=1, args=args), event("i", 1.5, "after"))

    assert len(trace[0].args) == 20_000
    assert trace[0].args["19999"] == 19999 / 8
    assert [row.name for row in trace] == ["big", "after"]


# ---- who wrote it ------------------------------------------------------------------------------------------------


def test_a_torch_file_tells_rank_and_base() -> None:
    info = {"backend": "nccl", "rank": 3, "world_size": 8}
    head: dict[str, Any] = {
        "schemaVersion": 1,
        "distributedInfo": info,
        "baseTimeNanoseconds": 5,
        "host_name": "h",
        "lr": 0.5,
    }
    trace = load(event("X", 1, dur=1), **head, trace_id="AB")
    origin = trace.origin

    assert (origin.tool, origin.rank, origin.world_size, origin.base_ns) == ("torch", 3, 8, 5)
    assert (origin.host, origin.trace_id, origin.metadata) == ("h", "AB", {"lr": 0.5})


def test_viztracer_says_when_its_buffer_was_too_small() -> None:
    trace = load(event("X", 1, dur=1), viztracer_metadata={"version": "1.1.1", "overflow": True})

    assert problems(trace) == {"dropped": 1}


def test_a_plain_file_keeps_its_other_keys_as_metadata() -> None:
    trace = load(event("X", 1, dur=1), displayTimeUnit="ns", otherData={"version": "My App v1"}, note=["a"])

    assert (trace.origin.tool, trace.origin.version) == ("", "My App v1")
    assert trace.origin.metadata == {"otherData": {"version": "My App v1"}, "note": ["a"]}
