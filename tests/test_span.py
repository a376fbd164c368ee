"""Spans: as context managers and decorators, in any thread, at the edges of the window, with any argument."""

import asyncio
import contextlib
import gc
import inspect
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from clock import FakeClock
from conftest import row_named, rows
from stepscope import ProfilerAction, core, instant, profile, record_function
from stepscope.core.twin.span import MAX_CACHED
from stepscope.model.nesting import nest
from stepscope.model.trace import CUT, INSTANT, SLICE, Trace

NONE, WARMUP, RECORD, SAVE = ProfilerAction


def names(trace: Trace) -> list[str]:
    return [row.name for row in trace]


def test_spans_nest_and_keep_their_arguments(clock: FakeClock) -> None:
    with profile() as prof, record_function("outer", "torch's args", batch=4):
        clock.at(2)
        with record_function("inner"):
            clock.at(5)
        clock.at(9)

    assert rows(prof.trace) == [("outer", 0, 9, SLICE), ("inner", 2, 3, SLICE)]
    assert prof.trace[0].args == {"args": "torch's args", "batch": 4}
    assert list(nest(prof.trace).parent) == [-1, 0]
    assert list(nest(prof.trace).self_ns) == [6, 3]
    assert {row.cat for row in prof.trace} == {"user_annotation"}


def test_a_span_is_reentrant_and_recursive(clock: FakeClock) -> None:
    span = record_function("again")

    def descend(levels: int) -> None:
        with span:
            clock.now += 1
            if levels:
                descend(levels - 1)
            clock.now += 1

    with profile() as prof:
        descend(2)

    assert rows(prof.trace) == [("again", 0, 6, SLICE), ("again", 1, 4, SLICE), ("again", 2, 2, SLICE)]


def test_a_decorated_function_recurses_into_nested_slices(clock: FakeClock) -> None:
    @record_function("fib")
    def fib(n: int) -> int:
        """Of Pisa."""
        clock.now += 1
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    with profile() as prof:
        assert fib(3) == 2

    assert list(nest(prof.trace).parent) == [-1, 0, 1, 1, 0]
    assert fib.__doc__ == "Of Pisa."


def test_a_decorated_method_has_its_self(clock: FakeClock) -> None:
    class Model:
        @record_function("forward", kind="method")
        def forward(self, x: int, *, scale: int = 2) -> int:
            return x * scale

    with profile() as prof:
        assert Model().forward(3, scale=5) == 15

    assert [(row.name, row.args) for row in prof.trace] == [("forward", {"kind": "method"})]


def test_an_exception_ends_the_span_and_goes_on(clock: FakeClock) -> None:
    with profile() as prof:
        with contextlib.suppress(ValueError), record_function("fails"):
            clock.at(3)
            raise ValueError
        clock.at(8)

    assert rows(prof.trace) == [("fails", 0, 3, SLICE)]


def test_a_coroutines_span_is_held_across_its_awaits(clock: FakeClock) -> None:
    @record_function("fetch")
    async def fetch() -> int:
        clock.now += 2
        await asyncio.sleep(0)
        clock.now += 3
        return 7

    assert inspect.iscoroutinefunction(fetch)
    with profile() as prof:
        assert asyncio.run(fetch()) == 7

    assert rows(prof.trace) == [("fetch", 0, 5, SLICE)]


def test_a_generators_span_is_open_only_while_the_generator_runs(clock: FakeClock) -> None:
    @record_function("load")
    def load() -> Iterator[int]:
        got: Any = None
        for number in range(2):
            clock.now += 2
            got = yield (got or number)
        clock.now += 1
        return "done"  # type: ignore[return-value]

    assert inspect.isgeneratorfunction(load)
    with profile() as prof:
        generator = load()
        assert next(generator) == 0
        clock.now += 10
        assert generator.send(5) == 5
        with pytest.raises(StopIteration, match="done"):
            next(generator)

    assert rows(prof.trace) == [("load", 0, 2, SLICE), ("load", 12, 2, SLICE), ("load", 14, 1, SLICE)]


def test_a_generator_closed_or_thrown_into_behaves_as_without_a_span(clock: FakeClock) -> None:
    seen: list[str] = []

    @record_function("careful")
    def careful() -> Iterator[int]:
        try:
            yield 1
        except KeyError:
            seen.append("thrown")
            yield 2
        finally:
            seen.append("closed")

    with profile() as prof:
        first, second = careful(), careful()
        next(first)
        first.close()  # type: ignore[attr-defined]
        next(second)
        assert second.throw(KeyError()) == 2  # type: ignore[attr-defined]
        second.close()  # type: ignore[attr-defined]

    assert seen == ["closed", "thrown", "closed"]
    assert names(prof.trace) == ["careful"] * 5


def test_an_async_generators_span_is_open_only_while_it_runs(clock: FakeClock) -> None:
    @record_function("stream")
    async def stream() -> AsyncIterator[int]:
        try:
            for number in range(3):
                clock.now += 1
                yield number
        finally:
            clock.now += 5

    async def consume() -> list[int]:
        got = []
        async with contextlib.aclosing(stream()) as numbers:  # type: ignore[type-var]
            async for number in numbers:
                got.append(number)
                clock.now += 10
                if number == 1:
                    break
        return got

    assert inspect.isasyncgenfunction(stream)
    with profile() as prof:
        assert asyncio.run(consume()) == [0, 1]

    assert [(ts, dur) for _, ts, dur, _ in rows(prof.trace)] == [(0, 1), (11, 1), (22, 5)]


def test_spans_that_end_before_what_they_contain_overlap_on_lanes_and_lose_nothing(clock: FakeClock) -> None:
    first, second = record_function("a"), record_function("b")

    with profile() as prof:
        first.__enter__()
        clock.at(2)
        second.__enter__()
        clock.at(15)
        first.__exit__(None, None, None)
        clock.at(25)
        second.__exit__(None, None, None)

    assert sorted((row.name, row.ts, row.dur, row.track.name) for row in prof.trace) == [
        ("a", 0, 15, "MainThread"),
        ("b", 2, 23, "MainThread (overlap 1)"),
    ]
    assert [(problem.kind, problem.count) for problem in prof.trace.problems] == [("overlap", 1)]


def test_a_span_that_outlives_the_window_is_cut_at_its_end(clock: FakeClock) -> None:
    with profile() as prof:
        clock.at(3)
        span = record_function("long")
        span.__enter__()
        clock.at(10)
    span.__exit__(None, None, None)

    assert rows(prof.trace) == [("long", 3, 7, SLICE | CUT)]


def test_spans_that_began_before_the_profile_are_cut_at_its_start(clock: FakeClock) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(record_function("outer", size=3))
        stack.enter_context(record_function("inner"))
        clock.at(5)
        prof = profile()
        prof.start()
        clock.at(8)
    prof.stop()

    assert rows(prof.trace) == [("outer", 5, 3, SLICE | CUT), ("inner", 5, 3, SLICE | CUT)]
    assert prof.trace[0].args == {"size": 3}


def test_a_span_around_a_whole_cycle_is_cut_at_both_ends(clock: FakeClock) -> None:
    plan = (NONE, RECORD, SAVE, NONE)
    with profile(schedule=lambda step: plan[min(step, 3)]) as prof, record_function("epoch", number=1):
        for _ in range(3):
            clock.now += 10
            prof.step()

    assert row_named(prof.trace, "epoch")[:2] == (10, 20)
    assert row_named(prof.trace, "epoch").kind == SLICE | CUT
    assert row_named(prof.trace, "epoch").args == {"number": 1}


def test_a_span_open_across_two_cycles_is_in_both(clock: FakeClock) -> None:
    with profile(schedule=lambda step: SAVE if step < 2 else NONE, keep_sessions=2) as prof:
        with record_function("long"):
            clock.at(4)
            prof.step()
            clock.at(7)
        clock.at(9)
        prof.step()

    cut = [row_named(session.trace, "long") for session in prof.sessions]
    assert [(row.ts, row.dur, row.kind) for row in cut] == [(0, 4, SLICE | CUT), (4, 3, SLICE | CUT)]


def test_every_threads_spans_are_there_with_its_name_and_native_id(clock: FakeClock) -> None:
    ids: list[int] = []

    def work() -> None:
        ids.append(threading.get_native_id())
        with record_function("work"):
            clock.now += 1

    with profile() as prof:
        with record_function("main"):
            clock.now += 1
        for number in range(3):
            worker = threading.Thread(target=work, name=f"worker {number}")
            worker.start()
            worker.join()

    tracks = [(row.name, row.track.name, row.track.tid) for row in prof.trace]
    assert tracks == [
        ("main", "MainThread", threading.get_native_id()),
        *(("work", f"worker {number}", ids[number]) for number in range(3)),
    ]


def test_a_thread_renamed_during_the_window_has_its_last_name(clock: FakeClock) -> None:
    def work() -> None:
        with record_function("work"):
            clock.now += 1
        threading.current_thread().name = "renamed"

    with profile() as prof:
        worker = threading.Thread(target=work, name="new")
        worker.start()
        worker.join()

    assert prof.trace.tracks[0].name == "renamed"


def test_an_instant_is_on_its_thread_with_its_arguments(clock: FakeClock) -> None:
    instant("before")
    with profile() as prof:
        clock.at(3)
        instant("now", why="because")
        instant("again")

    assert rows(prof.trace) == [("now", 3, 0, INSTANT), ("again", 3, 0, INSTANT)]
    assert [dict(row.args) for row in prof.trace] == [{"why": "because"}, {}]


def test_nothing_is_recorded_without_a_profile_and_between_cycles(clock: FakeClock) -> None:
    with record_function("before"):
        pass
    with profile(schedule=lambda step: (NONE, SAVE, NONE)[min(step, 2)]) as prof:
        for name in ("first", "second", "third"):
            with record_function(name):
                clock.now += 1
            prof.step()

    assert names(prof.trace) == ["ProfilerStep#1", "second"]


@pytest.mark.parametrize("name", [3, None, b"x", ["unhashable"], type("Sub", (str,), {})("sub")])
def test_a_name_that_is_no_str_is_shown_and_never_raises(clock: FakeClock, name: Any) -> None:
    with profile() as prof, record_function(name):
        clock.at(1)

    assert names(prof.trace) == [str(name)]


def test_an_argument_whose_key_is_name_is_passed_in_a_mapping(clock: FakeClock) -> None:
    with profile() as prof, record_function(name="x", args={"name": 1, "args": 2, "self": 3}):
        clock.at(1)

    assert prof.trace[0].args == {"name": 1, "args": 2, "self": 3}


def test_arguments_are_taken_when_the_span_begins(clock: FakeClock) -> None:
    shape = [1, 2]
    with profile() as prof, record_function("x", shape=shape):
        shape.append(3)

    assert prof.trace[0].args == {"shape": [1, 2]}


def test_names_made_at_run_time_do_not_fill_memory(clock: FakeClock) -> None:
    from stepscope.core.twin import recycle

    with profile() as prof:
        for number in range(MAX_CACHED + 10):
            with record_function(f"item {number}"):
                clock.now += 1

    assert len(prof.trace) == MAX_CACHED + 10
    assert len(recycle.CACHE) <= MAX_CACHED


def test_spans_leave_no_reference_behind(clock: FakeClock) -> None:
    class Big:
        pass

    big = Big()
    before = sys.getrefcount(big)
    with profile() as prof:
        with record_function("x", big=big):
            clock.at(1)
        assert prof.session is None
    del prof
    gc.collect()

    assert sys.getrefcount(big) == before


def test_a_recursion_deeper_than_perfetto_draws_goes_on_in_a_lane(clock: FakeClock, tmp_path: Any) -> None:
    def descend(levels: int) -> None:
        with record_function("level"):
            clock.now += 1
            if levels > 1:
                descend(levels - 1)
            clock.now += 1

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        with profile() as prof:
            descend(600)
    finally:
        sys.setrecursionlimit(limit)

    assert [len([row for row in prof.trace if row.track == track]) for track in prof.trace.tracks] == [512, 88]
    assert prof.trace.tracks[1].name == "MainThread (depth 1)"
    assert [(problem.kind, problem.count) for problem in prof.trace.problems] == [("depth", 88)]
    prof.export_chrome_trace(tmp_path / "deep.json")
    prof.export_perfetto_trace(tmp_path / "deep.pftrace")


def test_calls_of_one_coroutine_that_overlap_each_have_their_own_time(clock: FakeClock) -> None:
    turns: list[asyncio.Future[None]] = []

    @record_function("fetch")
    async def fetch() -> None:
        turns.append(asyncio.get_running_loop().create_future())
        await turns[-1]

    async def both() -> None:
        first = asyncio.ensure_future(fetch())
        await asyncio.sleep(0)
        clock.at(10)
        second = asyncio.ensure_future(fetch())
        await asyncio.sleep(0)
        clock.at(20)
        turns[0].set_result(None)
        await first
        clock.at(30)
        turns[1].set_result(None)
        await second

    with profile() as prof:
        asyncio.run(both())

    assert rows(prof.trace) == [("fetch", 0, 20, SLICE), ("fetch", 10, 20, SLICE)]
    assert prof.trace.problems == ()


def test_a_signal_handler_that_records_breaks_nothing() -> None:
    def beat(*_: object) -> None:
        with record_function("beat"):
            pass

    before = signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        with profile() as prof:
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                with record_function("work"):
                    pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    columns = prof.trace.columns  # a row for each of some hundred thousand spans would take longer than all else
    assert {prof.trace.strings[name] for name in set(columns.name)} == {"work", "beat"}
    assert not [kind for kind in columns.kind if kind & CUT]


def test_a_span_that_ends_as_a_window_opens_is_not_in_it(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread leaves its span while the window is being opened; the clock is where it can."""
    enter, leave, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with record_function("short"):
            enter.set()
            leave.wait()
        left.set()

    prof = profile(schedule=lambda step: (NONE, SAVE)[min(step, 1)])
    prof.start()
    worker = threading.Thread(target=work)
    worker.start()
    enter.wait()

    def clock_that_lets_go() -> int:
        leave.set()
        left.wait()
        return 5

    core.use_clock(clock_that_lets_go)
    prof.step()
    core.use_clock(clock)
    clock.at(50)
    prof.stop()
    worker.join()

    assert [row for row in prof.trace if row.name == "short" and row.dur > 0] == []


def test_arguments_are_not_looked_at_while_nothing_records() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("nobody asked")

    with record_function("x", {"loud": Loud()}), record_function("y", loud=Loud()):
        pass


@pytest.mark.parametrize("wrong", [int, classmethod(lambda cls: cls), staticmethod(len), 3])
def test_what_is_no_function_is_refused_when_it_is_decorated(wrong: Any) -> None:
    with pytest.raises(TypeError, match="cannot decorate"):
        record_function("x")(wrong)


def test_a_decorator_without_a_name_says_how_to_give_it_one() -> None:
    def function() -> None:
        pass

    for wrong in (function, int):
        with pytest.raises(TypeError, match=r'Write @record_function\("name"\)'):
            record_function(wrong)  # type: ignore[arg-type]
