"""Counters and flows in a Trace: order, ids, and what cannot be shown."""

import math
import random
from array import array

import pytest

from stepscope import TraceError
from stepscope.core.rows import Counters, Flows, PairedCounters, PairedFlows
from stepscope.model.build import LAST_NS, TraceBuilder
from stepscope.model.trace import Origin, Trace, Track


def values(trace: Trace) -> list[tuple[int, float, str]]:
    """A trace's counter values: (ts, value, counter's name)."""
    return [(ts, value, trace.tracks[track].name) for ts, value, track in zip(*trace.counters, strict=True)]


def arrows(trace: Trace) -> list[tuple[str, list[str]]]:
    """A trace's flows: (name, names of the rows it passes)."""
    passed: list[list[str]] = [[] for _ in trace.flows.name]
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        passed[flow].append(trace[row].name)
    return [(trace.strings[name], rows) for name, rows in zip(trace.flows.name, passed, strict=True)]


def problems(trace: Trace) -> list[tuple[str, int, str]]:
    return [(problem.kind, problem.count, problem.example) for problem in trace.problems]


@pytest.fixture
def builder() -> TraceBuilder:
    return TraceBuilder(Origin(pid=7))


def test_counters_are_sorted_by_time_then_by_what_they_are(builder: TraceBuilder) -> None:
    memory, queue = builder.counter_track(7, "memory", "bytes", "p"), builder.counter_track(7, "queue", process="p")
    for track, ts, value in ((queue, 5, 1), (queue, 0, 2), (memory, 5, 3), (queue, 5, 4), (memory, 5, 2.5)):
        builder.count(track, ts, value)
    trace = builder.build()

    assert values(trace) == [(0, 2, "queue"), (5, 3, "memory"), (5, 2.5, "memory"), (5, 1, "queue"), (5, 4, "queue")]
    assert trace.tracks == (
        Track("counter", 7, 0, "queue", "p"),
        Track("counter", 7, 0, "memory", "p", "bytes"),
    )


def test_tracks_of_counters_stand_behind_those_of_rows(builder: TraceBuilder) -> None:
    counter, thread = builder.counter_track(7, "c"), builder.thread(7, 8, "main")
    builder.counter_track(7, "never counted")
    builder.count(counter, 0, 1)
    builder.slice(thread, "late", 10, 1)

    assert [track.name for track in builder.build().tracks] == ["main", "c"]


def test_the_same_process_name_and_unit_are_one_counter(builder: TraceBuilder) -> None:
    first = builder.counter_track(7, "c", "ns")

    assert builder.counter_track(7, "c", "ns") == first
    assert len({first, builder.counter_track(7, "c"), builder.counter_track(8, "c", "ns")}) == 3


def test_a_counters_process_is_called_as_its_threads_call_it(builder: TraceBuilder) -> None:
    for pid, name in ((7, "c"), (9, "d")):
        builder.count(builder.counter_track(pid, name, process="first come"), 0, 1)
        builder.count(builder.counter_track(pid, name, "ns"), 0, 1)
    builder.instant(builder.thread(7, 8, "main", "train.py"), "a", 0)

    assert [track.process for track in builder.build().tracks] == ["train.py"] * 3 + ["first come"] * 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (10**400, "inf"), (-(10**400), "-inf")],
)
def test_a_value_that_is_not_finite_is_left_out_and_counted(builder: TraceBuilder, value: float, shown: str) -> None:
    track = builder.counter_track(7, "loss")
    builder.count(track, 0, 1)
    builder.count(track, 3, value)
    builder.count(track, 4, math.nan)
    trace = builder.build()

    assert values(trace) == [(0, 1, "loss")]
    assert problems(trace) == [("counter", 2, f"'loss' was {shown} at 3 ns; files hold finite values only")]


def test_a_counter_without_a_value_is_left_out(builder: TraceBuilder) -> None:
    builder.count(builder.counter_track(7, "loss"), 0, math.nan)
    trace = builder.build()

    assert (trace.tracks, trace.counters) == ((), Counters.empty())


def test_values_are_doubles(builder: TraceBuilder) -> None:
    track = builder.counter_track(7, "c")
    for ts, value in enumerate((2**53 + 1, True, 0.1)):
        builder.count(track, ts, value)

    assert list(builder.build().counters.value) == [2.0**53, 1.0, 0.1]


def test_a_count_that_cannot_be_is_refused(builder: TraceBuilder) -> None:
    thread, counter = builder.thread(7, 8, "main"), builder.counter_track(7, "c")

    with pytest.raises(TraceError, match=r"track 0, which is no counter\. Add one with counter_track\(\)"):
        builder.count(thread, 0, 1)
    with pytest.raises(TraceError, match="track 2, which is no counter"):
        builder.count(2, 0, 1)
    with pytest.raises(TraceError, match="'c' is counted at -1 ns"):
        builder.count(counter, -1, 1)
    with pytest.raises(TraceError, match=f"'c' is counted at {LAST_NS + 1} ns"):
        builder.count(counter, LAST_NS + 1, 1)
    with pytest.raises(TraceError, match=r"'a' is on track 1, which is a counter"):
        builder.instant(counter, "a", 0)
    with pytest.raises(TraceError, match="has the pid -1"):
        builder.counter_track(-1, "c")
    assert builder.build().counters == Counters.empty()


def test_a_flow_is_in_order_of_time_and_knows_its_final_rows(builder: TraceBuilder) -> None:
    main, worker = builder.thread(7, 8, "main"), builder.thread(7, 9, "worker")
    last = builder.slice(main, "last", 20, 5)
    middle = builder.instant(worker, "middle", 10)
    first = builder.slice(main, "first", 0, 5)
    builder.flow("batch", [last, first, middle])
    trace = builder.build()

    assert trace.flows == Flows(array("I", [0, 0, 0]), array("I", [0, 1, 2]), array("I", [5]))
    assert arrows(trace) == [("batch", ["first", "middle", "last"])]
    assert repr(trace) == "<Trace of stepscope: 3 rows on 2 tracks, 1 flows, 0 problems>"


def test_flows_count_by_first_appearance_and_points_by_row(builder: TraceBuilder) -> None:
    main = builder.thread(7, 8, "main")
    a, b, c, d = (builder.instant(main, name, ts) for ts, name in enumerate("abcd"))
    builder.flow("late", [b, c])
    builder.flow("long", [a, d])
    builder.flow("short", [a, b])
    builder.flow("again", [a, b])
    trace = builder.build()

    assert arrows(trace) == [
        ("again", ["a", "b"]),
        ("short", ["a", "b"]),
        ("long", ["a", "d"]),
        ("late", ["b", "c"]),
    ]
    assert list(zip(trace.flows.row, trace.flows.flow, strict=True)) == sorted(
        zip(trace.flows.row, trace.flows.flow, strict=True)
    )


def test_two_points_at_one_time_have_no_direction(builder: TraceBuilder) -> None:
    main = builder.thread(7, 8, "main")
    outer, inner = builder.slice(main, "outer", 3, 9), builder.slice(main, "inner", 3, 5)
    after = builder.instant(main, "after", 20)
    builder.flow("f", [inner, outer, after, after])
    trace = builder.build()

    assert arrows(trace) == [("f", ["outer", "after"])]
    assert problems(trace) == [("flow", 2, "'f' has two points at 3 ns; one of them is left out")]


def test_a_flow_with_one_point_is_none(builder: TraceBuilder) -> None:
    main = builder.thread(7, 8, "main")
    builder.flow("cut off by the window", [builder.instant(main, "a", 0)])
    builder.flow("empty", [])
    trace = builder.build()

    assert trace.flows == Flows.empty()
    assert "cut off by the window" not in trace.strings
    assert trace.problems == ()


def test_a_flow_through_a_row_that_is_not_there_is_refused(builder: TraceBuilder) -> None:
    row = builder.instant(builder.thread(7, 8, "main"), "a", 0)

    for wrong in (row + 1, -1):
        with pytest.raises(TraceError, match=rf"flow 'f' passes row {wrong}; there are 1 rows"):
            builder.flow("f", [row, wrong])


def test_equal_content_is_an_equal_trace_whatever_the_order_it_came_in() -> None:
    def built(seed: int) -> Trace:
        shuffled = random.Random(seed)  # noqa: S311 - an order, not a secret
        builder = TraceBuilder(Origin(pid=7))
        main = builder.thread(7, 8, "main")
        rows = {}
        for ts in shuffled.sample(range(20), 20):
            rows[ts] = builder.instant(main, f"row {ts}", ts)
        for first, name in shuffled.sample([(first, name) for first in range(9) for name in "ab"], 18):
            builder.flow(name, shuffled.sample([rows[ts] for ts in (first, first + 3, 19)], 3))
        for ts, name in shuffled.sample([(ts, name) for ts in range(5) for name in "xyz"], 15):
            builder.count(builder.counter_track(7, name, "bytes"), ts, ts + 0.5)
        return builder.build()

    assert all(built(seed) == built(0) for seed in range(1, 20))
    assert repr(built(0)) == "<Trace of stepscope: 20 rows on 4 tracks, 15 counter values, 18 flows, 0 problems>"
    assert built(0).with_metadata({"k": 1}).flows == built(0).flows
    assert built(0).with_metadata({"k": 1}).counters == built(0).counters


def test_what_pairing_has_gathered_is_adopted(builder: TraceBuilder) -> None:
    other = TraceBuilder(Origin(pid=7))
    main = other.thread(7, 8, "main")
    for ts, name in ((4, "b"), (1, "a")):
        other.instant(main, name, ts)
    columns = other._columns  # noqa: SLF001 - as pairing leaves them
    builder.thread(7, 8, "main")
    builder.adopt(columns, ["", "b", "user_annotation", "a", "f"], {})
    counters = PairedCounters(array("q", [5, 2]), array("d", [1, 2]), array("I", [0, 0]), [("c", "bytes")])
    builder.adopt_counters(counters, 7, "p")
    builder.adopt_flows(PairedFlows(array("I", [0, 0]), array("I", [0, 1]), [4]))
    trace = builder.build()

    assert arrows(trace) == [("f", ["a", "b"])]
    assert values(trace) == [(2, 2.0, "c"), (5, 1.0, "c")]
    assert trace.tracks[1] == Track("counter", 7, 0, "c", "process 7", "bytes")
    assert list(counters.ts) == [5, 2]
