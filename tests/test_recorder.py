"""What threads record, whichever core records it: open spans, windows, the budget, counters and flows."""

import contextlib
import gc
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from conftest import row_named, rows
from stepscope import (
    ProfilerAction,
    Trace,
    counter,
    flow_end,
    flow_start,
    flow_step,
    instant,
    profile,
    record_function,
    trace_handler,
)
from stepscope.model.trace import CUT, INSTANT, SLICE

RECORD, SAVE, NONE = ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE, ProfilerAction.NONE


def on_a_thread(work: Callable[[], Any], name: str = "other") -> None:
    thread = threading.Thread(target=work, name=name)
    thread.start()
    thread.join()


def places(trace: Trace) -> list[tuple[str, str, int, int, int]]:
    """Where each row is: (thread, name, ts, dur, kind)."""
    return [(row.track.name, row.name, row.ts, row.dur, row.kind) for row in trace]


# -- spans that are open -------------------------------------------------------------------------------------------


def test_a_span_around_the_whole_profile_is_in_every_cycle(clock: FakeClock) -> None:
    clock.at(5)
    with record_function("run", k=1):
        clock.at(10)
        with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
            clock.at(20)
            prof.step()
            clock.at(30)
        clock.at(40)

    found = [row_named(session.trace, "run") for session in prof.sessions]
    assert [(row.ts, row.dur, row.kind, dict(row.args)) for row in found] == [
        (10, 10, SLICE | CUT, {"k": 1}),
        (20, 10, SLICE | CUT, {"k": 1}),
    ]


def test_a_span_that_another_thread_entered_before_the_profile_is_on_that_thread(clock: FakeClock) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with record_function("waiting"):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    entered.wait()
    with profile() as prof:
        clock.at(7)
    leave.set()
    thread.join()

    assert places(prof.trace) == [("worker", "waiting", 0, 7, SLICE | CUT)]


def test_a_span_that_nobody_holds_and_nobody_ended_is_in_its_own_cycle_only(clock: FakeClock) -> None:
    with profile() as first:
        for _ in range(3):
            record_function("left", k=1).__enter__()
        clock.at(5)
    with profile() as second, record_function("next", k=2):
        clock.at(9)

    assert rows(first.trace) == [("left", 0, 5, CUT)] * 3
    assert [row.name for row in second.trace] == ["next"]


def test_a_span_that_ended_before_the_profile_is_not_in_it(clock: FakeClock) -> None:
    with record_function("before"):
        pass
    with profile() as prof:
        clock.at(1)

    assert len(prof.trace) == 0


@pytest.mark.parametrize("args", [{}, {"k": 1}])
def test_a_span_that_ends_on_another_thread_is_whole_on_its_own(clock: FakeClock, args: dict[str, int]) -> None:
    span = record_function("handed over", **args)

    def end() -> None:
        clock.at(5)
        with record_function("inside"):
            span.__exit__(None, None, None)
            clock.at(8)

    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        clock.at(2)
        span.__enter__()
        on_a_thread(end)
        clock.at(9)
        prof.step()
        clock.at(10)

    first, second = (session.trace for session in prof.sessions)
    assert sorted(row for row in places(first) if not row[1].startswith("ProfilerStep")) == [
        ("MainThread", "handed over", 2, 3, SLICE),
        ("other", "inside", 5, 3, SLICE),
    ]
    assert [row[0] for row in rows(second)] == ["ProfilerStep#1"]
    assert first.problems == second.problems == ()


def test_an_end_that_may_be_of_either_of_two_threads_is_a_guess_and_a_problem(clock: FakeClock) -> None:
    """Spans of one name are one object: of where it is open, an end elsewhere says nothing."""
    span = record_function("same")
    leave = partial(span.__exit__, None, None, None)
    with ThreadPoolExecutor(1, "a") as one, ThreadPoolExecutor(1, "b") as other, profile() as prof:
        for at, pool in ((1, one), (2, other)):
            clock.at(at)
            pool.submit(span.__enter__).result()
        clock.at(3)
        leave()
        clock.at(5)
        other.submit(leave).result()  # its own: no guess
        clock.at(6)
        one.submit(span.__enter__).result()
        clock.at(8)
        leave()  # open in one place: no guess
    assert [(row.track.name, row.ts, row.dur) for row in prof.trace] == [("a_0", 1, 2), ("b_0", 2, 3), ("a_0", 6, 2)]
    assert [(problem.kind, problem.count) for problem in prof.trace.problems] == [("unsure", 1)]

    with profile() as prof, record_function("same"):
        clock.at(9)
    assert prof.trace.problems == ()


@pytest.mark.parametrize("args", [{}, {"k": 1}])
def test_a_span_begun_before_the_profile_ends_on_another_thread(clock: FakeClock, args: dict[str, int]) -> None:
    span = record_function("handed over", **args)
    span.__enter__()
    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        clock.at(4)
        on_a_thread(lambda: span.__exit__(None, None, None))
        clock.at(6)
        prof.step()
        clock.at(7)

    first, second = (session.trace for session in prof.sessions)
    row = row_named(first, "handed over")
    assert (row.track.name, row.ts, row.dur, row.kind, dict(row.args)) == ("MainThread", 0, 4, SLICE | CUT, args)
    assert [row[0] for row in rows(second)] == ["ProfilerStep#1"]


def test_a_context_manager_run_in_a_thread_pool_leaves_no_ghost(clock: FakeClock) -> None:
    @contextlib.contextmanager
    def managed() -> Iterator[None]:
        with record_function("managed"):
            yield

    with (
        ThreadPoolExecutor(2, thread_name_prefix="pool") as pool,
        profile(schedule=lambda _: SAVE, acc_events=True) as prof,
    ):
        barrier = threading.Barrier(2)
        list(pool.map(lambda _: barrier.wait(), range(2)))  # both threads are there
        for cycle in range(3):
            manager = managed()
            clock.at(10 * cycle + 1)
            pool.submit(manager.__enter__).result()
            clock.at(10 * cycle + 3)
            manager.__exit__(None, None, None)
            prof.step()

    found = [[row[1:] for row in places(session.trace) if row[1] == "managed"] for session in prof.sessions]
    assert found == [[("managed", 10 * cycle + 1, 2, SLICE)] for cycle in range(3)] + [[]]


def test_a_generator_that_another_thread_closes_ends_its_span(clock: FakeClock) -> None:
    def numbers() -> Iterator[int]:
        with record_function("numbers"):
            yield 1
            yield 2

    generator = numbers()
    with profile() as prof:
        next(generator)
        clock.at(3)
        on_a_thread(generator.close)  # type: ignore[attr-defined]
        clock.at(9)

    assert places(prof.trace) == [("MainThread", "numbers", 0, 3, SLICE)]


def test_what_a_clock_that_was_set_back_says_is_held_to_when_the_window_opened(clock: FakeClock) -> None:
    """The window is sealed earlier than it opened, and no slice lasts less than nothing for that."""
    clock.at(1000)
    with profile() as prof:
        clock.at(100)
        with record_function("outer"):
            clock.at(200)
            with record_function("inner"):
                clock.at(300)
            clock.at(400)

    assert [(row.name, row.dur) for row in prof.trace] == [("outer", 0), ("inner", 0)]
    assert prof.trace.columns.ts[0] == prof.trace.columns.ts[1]


def test_an_exit_that_nobody_entered_is_nothing(clock: FakeClock) -> None:
    with profile() as prof, record_function("outer"):
        record_function("never entered").__exit__(None, None, None)
        record_function("never entered", k=1).__exit__(None, None, None)
        clock.at(2)

    assert rows(prof.trace) == [("outer", 0, 2, SLICE)]


def test_threads_that_end_spans_of_each_other_while_windows_open_and_close() -> None:
    stop, errors = threading.Event(), []

    def hand_over(box: list[Any], other: list[Any]) -> None:
        try:
            while not stop.is_set():
                span = record_function("handed", k=1) if len(box) % 2 else record_function("shared")
                box.append(span.__enter__())
                if other:
                    other.pop().__exit__(None, None, None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    left: list[Any] = []
    right: list[Any] = []
    with profile(schedule=lambda _: SAVE) as prof:
        threads = [threading.Thread(target=hand_over, args=boxes) for boxes in ((left, right), (right, left))]
        for thread in threads:
            thread.start()
        for _ in range(20):
            prof.step()
        stop.set()
        for thread in threads:
            thread.join()
        for span in left + right:
            span.__exit__(None, None, None)
        prof.step()
        assert {problem.kind for problem in prof.trace.problems} <= {"cut", "overlap", "depth", "unsure"}
    assert [row.name for row in prof.trace] == ["ProfilerStep#21"]
    assert errors == []


# -- the budget ----------------------------------------------------------------------------------------------------


def record_many(count: int, **args: Any) -> None:
    for number in range(count):
        with record_function(f"span {number}", **args):
            pass


def dropped(trace: Trace) -> int:
    return sum(problem.count for problem in trace.problems if problem.kind == "dropped")


def test_what_there_is_no_room_for_is_dropped_counted_and_said_everywhere(tmp_path: Path) -> None:
    with profile(buffer_bytes=1, on_trace_ready=trace_handler(tmp_path, formats=("chrome",))) as prof:
        record_many(10)
    problems = [(problem.kind, problem.count, problem.example) for problem in prof.trace.problems]
    (file,) = tmp_path.iterdir()

    assert len(prof.trace) == 0
    assert problems == [("dropped", 20, "on thread 'MainThread' the memory for records was spent")]
    assert "20 dropped: on thread 'MainThread'" in prof.key_averages().table()
    assert "on thread 'MainThread' the memory for records was spent" in file.read_text()


def test_policy_stop_keeps_the_first_records_and_their_ends() -> None:
    count = 60_000
    gc.collect()  # what the tests before have sealed gives its room back now, and not in the midst of this
    with profile(buffer_bytes=1 << 20) as prof:
        with record_function("x"):
            pass
        record_many(count)
    names = [row.name for row in prof.trace]

    assert 1000 < len(names) < count
    assert names == ["x", *(f"span {number}" for number in range(len(names) - 1))]
    # What is still open when the room is spent is cut.
    assert sum(row.kind & CUT > 0 for row in prof.trace) <= 1
    assert 2 * (count + 1 - len(names)) - 1 <= dropped(prof.trace) <= 2 * (count + 1 - len(names)) + 1


@pytest.mark.parametrize("args", [{}, {"note": "n" * 40}])
def test_policy_ring_keeps_the_newest_records(args: dict[str, str]) -> None:
    count = 60_000
    with profile(buffer_bytes=2 << 20, buffer_policy="ring") as prof:
        for number in range(count):
            with record_function("x" if number % 2 else "y", number=number, **args):
                pass
    kept = [row.args["number"] for row in prof.trace]

    assert 1000 < len(kept) < count
    assert kept == list(range(count - len(kept), count))
    assert dropped(prof.trace) == 2 * (count - len(kept))
    assert not any(row.kind & CUT for row in prof.trace)


@pytest.mark.parametrize("count", range(3000, 9000, 500))
def test_policy_ring_keeps_much_whatever_arguments_take(count: int) -> None:
    """At any moment: a thousand letters each, so that records are the lesser part of the budget."""
    with profile(buffer_bytes=4 << 20, buffer_policy="ring") as prof:
        for number in range(count):
            with record_function("x", number=number, note="n" * 1000 + str(number)):
                pass
    kept = [row.args["number"] for row in prof.trace]

    assert kept == list(range(count - len(kept), count))
    assert (4 << 20) / 1000 / 3 < len(kept) < (4 << 20) / 1000


def test_a_span_that_is_kept_keeps_its_begin_although_that_record_is_long_gone(clock: FakeClock) -> None:
    before = record_function("before the profile", k=0)
    before.__enter__()
    with profile(buffer_bytes=1 << 18, buffer_policy="ring") as prof:
        clock.at(10)
        with record_function("outer", k=1), record_function("plain"):
            clock.at(11)
            for _ in range(60_000):
                with record_function("inner"):
                    pass
            clock.at(20)
        clock.at(25)
        before.__exit__(None, None, None)
        clock.at(30)
    kept = [row for row in rows(prof.trace) if row[0] != "inner"]

    assert kept == [
        ("before the profile", 0, 25, SLICE | CUT),
        ("outer", 10, 10, SLICE),
        ("plain", 10, 10, SLICE),
    ]
    assert row_named(prof.trace, "outer").args == {"k": 1}
    assert row_named(prof.trace, "before the profile").args == {"k": 0}
    assert 0 < len(prof.trace) - len(kept) < 60_000
    assert dropped(prof.trace) == 2 * (60_000 - (len(prof.trace) - len(kept)))


def test_with_policy_ring_a_late_thread_finds_room() -> None:
    with profile(buffer_bytes=1 << 20, buffer_policy="ring") as prof:
        for _ in range(60_000):
            with record_function("early"):
                pass

        def late() -> None:
            for _ in range(100):
                with record_function("late"):
                    pass

        on_a_thread(late)
    names = [row.name for row in prof.trace]

    assert names.count("late") == 100
    assert 0 < names.count("early") < 60_000


def test_a_long_argument_counts_against_the_budget() -> None:
    with profile(buffer_bytes=1 << 20) as prof:
        for _ in range(100):
            with record_function("x", text="t" * 100_000):
                pass

    assert 1 <= len(prof.trace) <= 11
    assert dropped(prof.trace) >= 89


def test_names_made_at_run_time_count_against_the_budget() -> None:
    with profile(buffer_bytes=1 << 20) as prof:
        for number in range(1000):
            instant(f"{number:010000d}")

    assert 1 <= len(prof.trace) <= 110
    assert dropped(prof.trace) == 1000 - len(prof.trace)


def test_cycles_that_nobody_has_read_yet_count_against_the_budget() -> None:
    with profile(schedule=lambda _: SAVE, acc_events=True, buffer_bytes=1 << 20) as prof:
        for _ in range(30):
            record_many(5000)
            prof.step()
    rows = sum(len(session.trace) for session in prof.sessions)  # which reads them, and gives their memory back

    assert 1000 < rows < 60_000
    assert sum(dropped(session.trace) for session in prof.sessions) > 2 * 90_000
    with profile(buffer_bytes=1 << 20) as prof:
        record_many(1000)
    assert (len(prof.trace), dropped(prof.trace)) == (1000, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buffer_bytes": 0}, "buffer_bytes must be an int of at least 1, got 0"),
        ({"buffer_bytes": True}, "buffer_bytes must be an int of at least 1, got True"),
        ({"buffer_bytes": 1e6}, "buffer_bytes must be an int"),
        ({"buffer_policy": "discard"}, 'buffer_policy must be "stop" or "ring"'),
    ],
)
def test_a_bad_budget_is_refused_with_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile(**options)


# -- counters ------------------------------------------------------------------------------------------------------


def counted(trace: Trace) -> list[tuple[str, str, int, float]]:
    """(name, unit, ts, value) of each value."""
    values = zip(trace.counters.track, trace.counters.ts, trace.counters.value, strict=True)
    return [(trace.tracks[track].name, trace.tracks[track].unit, ts, value) for track, ts, value in values]


def test_a_counter_has_a_track_of_its_process(clock: FakeClock) -> None:
    counter("before", 1)
    with profile() as prof:
        counter("queue", 3)
        clock.at(10)
        counter("memory", 1.5, unit="bytes")
        on_a_thread(lambda: counter("queue", -4))
        clock.at(20)
        counter("memory", 2**60, "bytes")
    counter("after", 1)

    assert counted(prof.trace) == [
        ("queue", "", 0, 3.0),
        ("memory", "bytes", 10, 1.5),
        ("queue", "", 10, -4.0),
        ("memory", "bytes", 20, float(2**60)),
    ]
    assert {track.kind for track in prof.trace.tracks} == {"counter"}


def test_a_mapping_is_a_series_each(clock: FakeClock) -> None:
    with profile() as prof:
        counter("loss", {"train": 1, "test": 2.5}, unit="nats")

    assert [(name, unit, value) for name, unit, _, value in counted(prof.trace)] == [
        ("loss test", "nats", 2.5),
        ("loss train", "nats", 1.0),
    ]


class Odd:
    def __float__(self) -> float:
        raise RuntimeError


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3", None, Odd(), object(), 10**400, [1]])
def test_what_is_no_number_is_left_out_and_counted(value: Any) -> None:
    with profile() as prof:
        counter("odd", value)
        counter("even", 2)

    assert [(name, found) for name, _, _, found in counted(prof.trace)] == [("even", 2.0)]
    assert [(problem.kind, problem.count) for problem in prof.trace.problems] == [("counter", 1)]


def test_counters_take_any_text_for_a_name_and_a_unit(tmp_path: Path) -> None:
    with profile(on_trace_ready=trace_handler(tmp_path)) as prof:
        for text in ("", "\0", 'quote "', "\\", "lone \ud800", "a.b[0]", "x" * 3000):
            counter(text, 1.0, unit=text)
            counter(text, {text: 2})
    assert len(prof.trace.counters.ts) == 14


def test_counters_cost_the_program_no_exception() -> None:
    class Bad(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError

    with profile() as prof:
        counter("bad", Bad(a=1))
    assert len(prof.trace.counters.ts) == 0


# -- flows ---------------------------------------------------------------------------------------------------------


def flows(trace: Trace) -> list[tuple[str, list[tuple[str, int]]]]:
    """(name, [(thread, ts) of each point]) of each flow."""
    found: dict[int, list[tuple[str, int]]] = {}
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        assert trace[row].kind == INSTANT
        found.setdefault(flow, []).append((trace[row].track.name, trace[row].ts))
    return [(trace.strings[trace.flows.name[flow]], points) for flow, points in sorted(found.items())]


def test_a_flow_goes_from_thread_to_thread(clock: FakeClock) -> None:
    with profile() as prof:
        with record_function("produce"):
            flow = flow_start("batch")
            clock.at(1)
        clock.at(3)
        on_a_thread(lambda: flow_step(flow))
        with record_function("consume"):
            clock.at(5)
            flow_end(flow)

    assert flows(prof.trace) == [("batch", [("MainThread", 0), ("other", 3), ("MainThread", 5)])]
    assert [row.name for row in prof.trace if row.kind == INSTANT] == ["batch"] * 3


def test_flows_that_began_before_the_window_go_on_in_it(clock: FakeClock) -> None:
    flow, other = flow_start("early"), flow_start("early")
    with profile() as prof:
        flow_step(flow)
        clock.at(2)
        flow_end(flow)
        flow_end(other)
        flow_end(2**70)
        flow_end(-1)

    assert flows(prof.trace) == [("flow", [("MainThread", 0), ("MainThread", 2)])]


def test_each_flow_has_a_number_of_its_own() -> None:
    assert len({flow_start("x") for _ in range(100)}) == 100


@pytest.mark.parametrize("call", [flow_step, flow_end])
def test_a_flow_that_is_no_number_is_a_type_error(call: Callable[[Any], None]) -> None:
    with pytest.raises(TypeError, match=r"a flow is the int that flow_start\(\) returned, not str"):
        call("batch")


def test_counters_and_flows_are_dropped_and_counted_as_spans_are() -> None:
    with profile(buffer_bytes=1) as prof:
        counter("x", 1)
        flow_end(flow_start("y"))

    assert len(prof.trace) == len(prof.trace.counters.ts) == 0
    assert dropped(prof.trace) == 3


def test_threads_in_a_span_of_one_name_each_end_their_own_in_any_order(clock: FakeClock) -> None:
    """And again afterwards: what is known of where a span is open is not what was true before."""

    def enter(at: int) -> None:
        clock.at(at)
        record_function("same").__enter__()

    def leave(at: int, span: Any) -> None:
        clock.at(at)
        span.__exit__(None, None, None)

    with profile() as prof, ThreadPoolExecutor(1, "worker") as pool:
        with record_function("same") as given:
            pass
        for start in (10, 20, 30):
            enter(start)
            pool.submit(enter, start + 1).result()
            leave(start + 2, record_function("same"))
            enter(start + 3)
            pool.submit(leave, start + 4, given).result()
            leave(start + 5, record_function("same"))
        clock.at(40)

    assert sorted(row for row in places(prof.trace) if row[2] >= 10) == [
        ("MainThread", "same", 10, 2, SLICE),
        ("MainThread", "same", 13, 2, SLICE),
        ("MainThread", "same", 20, 2, SLICE),
        ("MainThread", "same", 23, 2, SLICE),
        ("MainThread", "same", 30, 2, SLICE),
        ("MainThread", "same", 33, 2, SLICE),
        ("worker_0", "same", 11, 3, SLICE),
        ("worker_0", "same", 21, 3, SLICE),
        ("worker_0", "same", 31, 3, SLICE),
    ]
    assert prof.trace.problems == ()
