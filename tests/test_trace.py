"""The Trace and its builder: equal content is an equal value, and what cannot be is refused."""

from typing import Any

import numpy
import pytest

from stepscope import TraceError
from stepscope.model.build import LAST_NS, TraceBuilder
from stepscope.model.trace import Origin, Trace, Track


def built(order: tuple[int, ...]) -> Trace:
    """The same three slices on two tracks, added in some order."""
    builder = TraceBuilder(Origin(pid=7))
    tracks = {tid: builder.thread(7, tid, f"thread {tid}", "p") for tid in (9, 8)}
    rows = [(8, "a", 0), (9, "b", 5), (8, "c", 20)]
    for place in order:
        tid, name, ts = rows[place]
        builder.slice(tracks[tid], name, ts, 3, args={"n": place})
    return builder.build()


def test_equal_content_is_an_equal_trace_whatever_the_order_it_came_in() -> None:
    assert built((0, 1, 2)) == built((2, 1, 0)) == built((1, 0, 2))
    assert built((0, 1, 2)) != built((0, 1))


def test_ids_count_by_first_appearance_and_what_no_row_uses_is_left_out() -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.thread(7, 1, "unused", "p")
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "late", 10, 1)
    builder.slice(track, "early", 0, 1)
    trace = builder.build()

    assert trace.strings == ("", "early", "late", "user_annotation")
    assert trace.tracks == (Track("thread", 7, 8, "main", "p"),)
    assert list(trace.columns.name) == [1, 2]


def test_a_row_is_a_tuple_with_its_ids_resolved() -> None:
    trace = built((0, 1, 2))

    assert trace[1] == trace[-2] == (5, 3, "b", "user_annotation", "", trace.tracks[1], 0, {"n": 1})
    assert [row.name for row in trace] == ["a", "b", "c"]
    assert repr(trace) == "<Trace of stepscope: 3 rows on 2 tracks, 0 problems>"


def test_what_has_no_name_gets_one() -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, 8, "", ""), "", 0, 1, cat="")
    row = builder.build()[0]

    assert (row.name, row.cat, row.track.name, row.track.process) == (
        "[No name]",
        "uncategorized",
        "thread 8",
        "process 7",
    )


@pytest.mark.parametrize("tid", [0, -5, 2**31, 2**40])
def test_a_thread_id_that_loaders_cannot_read_is_replaced(tid: int) -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, tid, "t", "p"), "a", 0, 1)

    assert builder.build().tracks[0].tid == 1 << 30


@pytest.mark.parametrize(("ts", "dur"), [(-1, 5), (0, -1), (LAST_NS, 1), (2**63, 0)])
def test_a_time_out_of_range_is_refused(ts: int, dur: int) -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "t", "p")

    with pytest.raises(TraceError, match=rf"'a' lasts from {ts} ns for {dur} ns\. Times are from 0"):
        builder.slice(track, "a", ts, dur)
    assert len(builder.build()) == 0


def test_a_track_and_a_process_that_cannot_be_are_refused() -> None:
    builder = TraceBuilder(Origin(pid=7))
    with pytest.raises(TraceError, match=r"'a' is on track 0; there are 0 tracks\. Add it with thread\(\)"):
        builder.instant(0, "a", 0)
    with pytest.raises(TraceError, match="process 'p' has the pid -1"):
        builder.thread(-1, 8, "t", "p")


def test_a_trace_does_not_change() -> None:
    with pytest.raises(AttributeError, match="a Trace does not change: strings cannot be set"):
        built((0,)).strings = ()


def test_columns_are_the_traces_own_memory_to_numpy() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    rows = [builder.slice(track, "a", 0, 3), builder.slice(track, "b", 5, 30)]
    plain = builder_of_one_slice().to_columns()
    builder.count(builder.counter_track(7, "memory", "bytes"), 4, 1.5)
    builder.flow("sent", rows)
    trace = builder.build()
    columns = trace.to_columns()
    own = {**trace.columns._asdict(), "counters.value": trace.counters.value, "flows.row": trace.flows.row}

    assert list(plain) == ["ts", "dur", "name", "cat", "site", "track", "kind"]
    assert [name for name in columns if name not in plain] == [
        "counters.ts", "counters.value", "counters.track", "flows.flow", "flows.row", "flows.name",
    ]  # fmt: skip
    for name, column in own.items():
        address, length = column.buffer_info()
        for wrapped in (numpy.asarray(columns[name]), numpy.frombuffer(columns[name], dtype=column.typecode)):
            assert (wrapped.__array_interface__["data"][0], len(wrapped)) == (address, length)
    assert numpy.asarray(columns["dur"]).sum() == 33
    assert numpy.asarray(columns["counters.value"]).tolist() == [1.5]


def builder_of_one_slice() -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, 8, "main", "p"), "a", 0, 3)
    return builder.build()


def test_arguments_of_rows_are_a_mapping_that_nobody_can_change() -> None:
    def recorded(value: int) -> Trace:
        builder = TraceBuilder()
        track = builder.thread(1, 1, "MainThread", "python")
        builder.slice(track, "a", 0, 5, args={"k": value})
        builder.slice(track, "b", 10, 5)
        builder.slice(track, "c", 20, 5, args={"k": [value]})
        return builder.build()

    args: Any = recorded(1).args

    assert args == {0: {"k": 1}, 2: {"k": [1]}} == dict(args) == dict(args.items())
    assert args == recorded(1).args != recorded(2).args
    assert (len(args), list(args), 0 in args, 1 in args, args.get(1), args.get(1, {})) == (
        2,
        [0, 2],
        True,
        False,
        None,
        {},
    )
    assert repr(args) == "RowArgs({0: {'k': 1}, 2: {'k': [1]}})"
    for change in (lambda: args[0].update(k=2), lambda: args.pop(0), lambda: args.get(0).clear(), lambda: hash(args)):
        with pytest.raises((AttributeError, TypeError)):
            change()
    for given in args.values():
        with pytest.raises(TypeError):
            given["k"] = 2
