"""Function tracing: which calls become slices, when they begin and end, and where they stand."""

import asyncio
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock, Ticking
from stepscope import CallOptions, ProfilerAction, Trace, core, profile, read, record_function, schedule, write
from stepscope.core.rows import CALL, CUT

HERE = CallOptions(include="test_calls")
# Before that the Python core cannot reach the threads there are.
SEES_ALL_THREADS = core.info().name == "c" or sys.version_info >= (3, 12)


@pytest.fixture
def ticking() -> Iterator[None]:
    core.use_clock(Ticking())
    yield
    core.use_clock(None)


def leaf() -> int:
    return 1


def twice() -> int:
    return leaf() + leaf()


def fails() -> None:
    leaf()
    raise KeyError


def survives() -> None:
    try:
        fails()
    except KeyError:
        leaf()


def numbers() -> Iterator[int]:
    yield leaf()
    yield 2


def recursive(depth: int) -> int:
    return 0 if depth == 0 else 1 + recursive(depth - 1)


async def inner() -> None:
    await asyncio.sleep(0)


async def outer() -> None:
    await inner()


def traced(function: Callable[[], object], options: Any = HERE) -> Trace:
    with profile(with_stack=options) as prof:
        function()
    return prof.trace


def whole(trace: Trace) -> list[str]:
    """The names of the calls that began and ended in the window, in order."""
    return [row.name for row in trace if row.cat == CALL and not row.kind & CUT]


def kinds(trace: Trace) -> set[str]:
    """Of the trace's problems, without what only a core that cannot see all threads says of others than the test's."""
    return {problem.kind for problem in trace.problems} - (set() if SEES_ALL_THREADS else {"unseen"})


def tree(trace: Trace) -> list[tuple[int, str]]:
    """Depth and name of what began and ended in the window, on all threads one after the other."""
    found: list[tuple[int, str]] = []
    for track in trace.tracks:
        ends: list[int] = []
        for row in trace:
            if row.track != track or row.kind & CUT:
                continue
            while ends and (ends[-1] <= row.ts and row.dur):
                ends.pop()
            found.append((len(ends), row.name))
            ends.append(row.ts + row.dur)
    return found


def line_of(function: Callable[..., object]) -> int:
    return inspect.getsourcelines(function)[1]


# -- what a call is ----------------------------------------------------------------------------------------------------


def test_a_call_is_a_slice_with_its_category_and_where_its_function_is(clock: FakeClock) -> None:
    prof = profile(with_stack=HERE)
    prof.start()
    clock.at(3)
    twice()
    clock.at(9)
    prof.stop()

    calls = [(row.name, row.cat, row.site, row.ts, row.dur) for row in prof.trace if not row.kind & CUT]
    assert calls == [
        ("twice", "python_function", f"test_calls.py:{line_of(twice)}", 3, 0),
        ("leaf", "python_function", f"test_calls.py:{line_of(leaf)}", 3, 0),
        ("leaf", "python_function", f"test_calls.py:{line_of(leaf)}", 3, 0),
    ]


def test_calls_and_spans_nest_as_the_program_does(ticking: None) -> None:
    def run() -> None:
        with record_function("around"):
            twice()
            with record_function("inner"):
                leaf()

    trace = traced(run)

    # On 3.10 a code object does not know its qualified name.
    name = run.__qualname__ if sys.version_info >= (3, 11) else "run"
    assert tree(trace) == [
        (0, name),
        (1, "around"),
        (2, "twice"),
        (3, "leaf"),
        (3, "leaf"),
        (2, "inner"),
        (3, "leaf"),
    ]


def test_an_exception_ends_the_calls_that_it_goes_through(ticking: None) -> None:
    assert tree(traced(survives)) == [(0, "survives"), (1, "fails"), (2, "leaf"), (1, "leaf")]


def test_a_generator_has_a_slice_each_time_it_goes_on(ticking: None) -> None:
    trace = traced(lambda: list(numbers()))

    assert [row for row in tree(trace) if "lambda" not in row[1]] == [
        (1, "numbers"),
        (2, "leaf"),
        (1, "numbers"),
        (1, "numbers"),
    ]


def test_a_generator_that_is_closed_or_thrown_into_goes_on_once_more(ticking: None) -> None:
    def run() -> None:
        closed, thrown = numbers(), numbers()
        next(closed)
        closed.close()  # type: ignore[attr-defined]  # a generator has it
        next(thrown)
        with pytest.raises(KeyError):
            thrown.throw(KeyError)  # type: ignore[attr-defined]  # a generator has it
        leaf()

    names = [(depth, name) for depth, name in tree(traced(run)) if name in ("numbers", "leaf")]
    # From 3.13 on one that has nothing to clean up is closed without going on.
    closes = [(1, "numbers")] if sys.version_info < (3, 13) else []
    assert names == [
        (1, "numbers"),
        (2, "leaf"),
        *closes,
        (1, "numbers"),
        (2, "leaf"),
        (1, "numbers"),
        (1, "leaf"),
    ]


def test_a_coroutine_has_a_slice_each_time_it_goes_on(ticking: None) -> None:
    trace = traced(lambda: asyncio.run(outer()))

    assert [name for name in whole(trace) if name in ("outer", "inner")] == ["outer", "inner", "outer", "inner"]
    assert kinds(trace) <= {"cut"}


def test_calls_in_tasks_stand_on_the_thread_and_spans_on_the_tasks(ticking: None) -> None:
    async def work() -> None:
        with record_function("held"):
            leaf()
            await asyncio.sleep(0)
            leaf()

    async def both() -> None:
        await asyncio.gather(asyncio.create_task(work(), name="one"), asyncio.create_task(work(), name="two"))

    trace = traced(lambda: asyncio.run(both()))

    assert {row.track.name for row in trace if row.cat == CALL} == {"MainThread"}
    assert sorted(row.track.name for row in trace if row.name == "held") == ["one", "two"]
    assert whole(trace).count("leaf") == 4
    assert kinds(trace) == {"cut"}


def test_ten_thousand_calls_may_be_inside_each_other() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        trace = traced(lambda: recursive(10_000))
    finally:
        sys.setrecursionlimit(limit)

    assert whole(trace).count("recursive") == 10_001
    deepest = max(row.ts for row in trace)
    assert sum(row.ts <= deepest < row.ts + row.dur + 1 for row in trace) >= 10_000
    assert kinds(trace) == {"cut", "depth"}  # Perfetto draws 512


def test_what_is_open_when_the_window_opens_or_ends_is_cut(clock: FakeClock) -> None:
    prof = profile(with_stack=HERE)

    def starts() -> None:
        prof.start()
        clock.at(4)
        leaf()

    clock.at(1)
    starts()
    clock.at(9)
    prof.stop()

    name = starts.__qualname__ if sys.version_info >= (3, 11) else "starts"
    me = "test_what_is_open_when_the_window_opens_or_ends_is_cut"
    assert [(row.name, row.ts, row.dur, row.kind) for row in prof.trace] == [
        (me, 1, 8, CUT),
        (name, 1, 3, CUT),
        ("leaf", 4, 0, 0),
    ]


def test_a_thread_without_any_call_has_what_it_has_open() -> None:
    trace = traced(lambda: None, CallOptions(include="test_calls", exclude="*lambda*"))

    names = [row.name for row in trace if row.kind & CUT]
    assert names[:1] == ["test_a_thread_without_any_call_has_what_it_has_open"]


# -- threads -----------------------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """Calls twice() when it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.told, self.began = threading.Event(), threading.Event()

    def run(self) -> None:
        self.began.set()
        self.told.wait()
        twice()


def begun(name: str) -> Worker:
    worker = Worker(name)
    worker.start()
    worker.began.wait()
    return worker


def finish(worker: Worker) -> None:
    worker.told.set()
    worker.join()


def of_thread(trace: Trace, name: str) -> list[tuple[str, int]]:
    return [(row.name, row.kind) for row in trace if row.track.name == name and row.cat == CALL]


def run_name() -> str:
    return "Worker.run" if sys.version_info >= (3, 11) else "run"


def test_threads_that_begin_in_the_window_are_traced() -> None:
    trace = traced(lambda: finish(begun("new")))

    assert of_thread(trace, "new") == [(run_name(), 0), ("twice", 0), ("leaf", 0), ("leaf", 0)]


def test_threads_that_were_there_before_are_traced() -> None:
    before, idle = begun("before"), begun("idle")
    trace = traced(lambda: finish(before))
    finish(idle)

    if SEES_ALL_THREADS:
        assert of_thread(trace, "before") == [(run_name(), CUT), ("twice", 0), ("leaf", 0), ("leaf", 0)]
        assert of_thread(trace, "idle") == [(run_name(), CUT)]
        assert kinds(trace) == {"cut"}
    else:
        assert of_thread(trace, "before") == of_thread(trace, "idle") == []
        assert "unseen" in {problem.kind for problem in trace.problems}


def test_threads_that_outlive_the_window_are_cut_and_traced_no_more() -> None:
    with profile(with_stack=HERE) as prof:
        worker = begun("later")
    finish(worker)

    assert of_thread(prof.trace, "later") == [(run_name(), CUT)]
    assert whole(traced(twice)) == ["twice", "leaf", "leaf"]


def test_neither_our_own_frames_nor_our_writer_are_traced(tmp_path: Path) -> None:
    first, once = tmp_path / "first.json", threading.Event()

    def handler(prof: profile) -> None:
        prof.export_chrome_trace(str(first))
        once.set()

    with profile(
        schedule=lambda _: ProfilerAction.RECORD_AND_SAVE, on_trace_ready=handler, with_stack=True, keep_sessions=9
    ) as prof:
        for _ in range(3):
            with record_function("work"):
                leaf()
            prof.step()

    assert once.is_set()
    sites = {row.site for session in prof.sessions for row in session.trace if row.cat == CALL}
    assert not [site for site in sites if site.startswith("stepscope/")]
    names = {row.track.name for session in prof.sessions for row in session.trace}
    assert "stepscope writer" not in names


# -- steps -------------------------------------------------------------------------------------------------------------


def train(prof: profile, clock: FakeClock) -> None:
    for _ in range(3):
        clock.now += 10
        leaf()
        after_batch(prof, clock)


def after_batch(prof: profile, clock: FakeClock) -> None:
    clock.now += 2
    prof.step()
    clock.now += 1


def test_calls_that_go_on_over_the_end_of_a_step_are_cut_there_so_that_all_nest(
    clock: FakeClock, tmp_path: Path
) -> None:
    prof = profile(schedule=lambda _: ProfilerAction.RECORD, with_stack=HERE)
    clock.at(0)
    prof.start()
    clock.at(5)
    train(prof, clock)
    clock.at(50)
    prof.stop()

    trace = prof.trace
    names = ("train", "after_batch", "ProfilerStep#0", "ProfilerStep#1", "ProfilerStep#2", "ProfilerStep#3")
    me = "test_calls_that_go_on_over_the_end_of_a_step_are_cut_there_so_that_all_nest"
    assert [(row.name, row.ts, row.ts + row.dur, row.kind) for row in trace if row.name in (*names, me)] == [
        (me, 0, 50, CUT),
        ("ProfilerStep#0", 0, 17, 0),
        ("train", 5, 17, CUT),
        ("after_batch", 15, 17, CUT),
        ("train", 17, 43, CUT),
        ("ProfilerStep#1", 17, 30, 0),
        ("after_batch", 17, 18, CUT),
        ("after_batch", 28, 30, CUT),
        ("ProfilerStep#2", 30, 43, 0),
        ("after_batch", 30, 31, CUT),
        ("after_batch", 41, 43, CUT),
        ("ProfilerStep#3", 43, 50, 0),
        ("train", 43, 44, CUT),
        ("after_batch", 43, 44, CUT),
    ]
    assert kinds(trace) == {"cut", "partial"}  # and no overlap
    for suffix in (".json", ".pftrace"):
        write(trace, tmp_path / f"steps{suffix}")


def test_no_step_annotation_or_call_is_lost_in_either_file(tmp_path: Path) -> None:
    """The trace processor loads every row of both, on its own depth; torch loses every ProfilerStep there."""
    with profile(schedule=schedule(wait=1, warmup=1, active=3), with_stack=CallOptions(c_functions=True)) as prof:
        for _ in range(5):
            with record_function("forward"):
                twice()
                sorted([3, 1, 2], key=lambda value: -value)
            survives()
            prof.step()

    trace = prof.trace
    assert [row.name for row in trace if row.name.startswith("ProfilerStep")] == [
        f"ProfilerStep#{n}" for n in (2, 3, 4)
    ]
    assert {track.kind for track in trace.tracks} == {"thread"}
    assert kinds(trace) == {"cut"}
    for suffix in (".json", ".pftrace", ".json.gz"):
        assert read(write(trace, tmp_path / f"all{suffix}")) == trace


def test_calls_stand_beside_all_else_that_is_recorded(tmp_path: Path) -> None:
    """Sites and call stacks are both interned texts of one table in a .pftrace; a sampler's thread is not traced."""
    with profile(with_stack=HERE, record_stacks=True, with_cpu_time=True, record_gc=True, profile_memory=True) as prof:
        with record_function("forward", batch=1):
            twice()
        gc.collect()

    trace = prof.trace
    assert [(row.name, dict(row.args)) for row in trace if row.name in ("twice", "leaf")] == [
        ("twice", {}),
        ("leaf", {}),
        ("leaf", {}),
    ]
    assert {row.track.name for row in trace if row.cat == CALL} == {"MainThread"}
    (span,) = [row for row in trace if row.name == "forward"]
    assert {"batch", "Call stack", "thread_time_ns"} == set(span.args)
    for suffix in (".json", ".pftrace"):
        assert read(write(trace, tmp_path / f"both{suffix}")) == trace
