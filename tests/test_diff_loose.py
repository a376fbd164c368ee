"""Threads that run free of the steps: two windows onto one program are the same; another program is found."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forest import Node, node
from stepscope import Trace, diff, profile, record_function, schedule
from stepscope.analysis.diff import Diff, Finding
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

STEPS, STEP_US = 3, 100
READ = node("read", node("open", own_us=2), node("parse", own_us=5), node("parse", own_us=5), own_us=8)
CALL_US = 20
# What a thread does, call by call.
Work = Callable[[int], Node]


def always(call: Node) -> Work:
    return lambda _: call


def window(work: Work, *, phase: int = 0, period: int = 35, calls: int = 60, steps: int = STEPS) -> Trace:
    """A recording of some steps, and of a thread that makes a call each period, whenever the window opens.

    Args:
        work: what the thread does in each call.
        phase: us that the thread is ahead of the window.
        period: us from call to call.
        calls: how many it makes in all.
        steps: how many steps; without any, one slice of the main thread is there instead.
    """
    builder = TraceBuilder(Origin(base_ns=10**18, pid=1))
    main = builder.thread(1, 1, "MainThread", "train.py")
    end = max(steps, 1) * STEP_US
    for number in range(steps):
        builder.slice(main, f"ProfilerStep#{number}", number * STEP_US * 1000, STEP_US * 1000)
        builder.slice(main, "forward", (number * STEP_US + 10) * 1000, 50_000)
    if not steps:
        builder.slice(main, "work", 0, end * 1000)
    free = builder.thread(1, 2, "loader", "train.py")
    for at in range(calls):
        _clip(builder, free, work(at), at * period - phase, end)
    return builder.build()


def _clip(builder: TraceBuilder, track: int, what: Node, start: float, end: int) -> float:
    """Add what of a call is in the window; returns when it ends."""
    stop = start + what.own_us + sum(_length(one) for one in what.inside)
    left, right = max(start, 0), min(stop, end)
    if left < right:
        cut = (left, right) != (start, stop)
        builder.slice(track, what.name, round(left * 1000), round((right - left) * 1000), args=what.args, cut=cut)
    gap = what.own_us / (len(what.inside) + 1)
    for one in what.inside:
        start = _clip(builder, track, one, start + gap, end)
    return stop


def _length(what: Node) -> float:
    return what.own_us + sum(_length(one) for one in what.inside)


def seen(result: Diff) -> list[tuple[str, str, tuple[str, ...], str]]:
    return [(one.kind, one.what, one.where.path, one.name) for one in result]


def only(result: Diff) -> Finding:
    (one,) = result
    return one


# ---- the same program ----


@given(st.integers(0, 400), st.integers(0, 400), st.integers(CALL_US + 1, 120), st.integers(CALL_US + 1, 120))
@settings(deadline=None, max_examples=200)
def test_when_the_window_opens_and_how_fast_the_thread_is_are_no_difference(
    one: int, other: int, period: int, slower: int
) -> None:
    result = diff(window(always(READ), phase=one, period=period), window(always(READ), phase=other, period=slower))

    assume(result.loosely)  # By chance it may keep pace, in both: as many whole calls in each step.
    assert seen(result) == []


@given(st.lists(st.integers(0, 400), min_size=1, max_size=3), st.lists(st.integers(0, 400), min_size=1, max_size=3))
@settings(deadline=None)
def test_runs_of_it_are_known_together(base: list[int], head: list[int]) -> None:
    result = diff(*([window(always(READ), phase=phase) for phase in phases] for phases in (base, head)))

    assert seen(result) == []


def test_the_verdict_says_what_was_compared_loosely() -> None:
    result = diff(window(always(READ), phase=8), window(always(READ), phase=25))
    text = result.text()

    assert [(one.thread, one.base_calls, one.head_calls, one.too_few) for one in result.loosely] == [
        ("loader", 9, 9, ())
    ]
    assert text.startswith("same, as far as can be known (3 steps, times of 5 paths, 1 thread loosely compared)\n")
    assert "loader runs free of the steps (9 -> 9 calls" in text
    assert result.as_json()["loosely"] == [
        {"process": "train.py", "thread": "loader", "base_calls": 9, "head_calls": 9, "too_few": []}
    ]


def test_a_shape_that_varies_from_call_to_call_is_no_difference() -> None:
    """A batch of as many chunks as its document has."""
    work: Work = lambda at: node("read", *[node("chunk", own_us=2)] * (at * 7 % 5 + 1), own_us=5)  # noqa: E731

    assert seen(diff(window(work, phase=8), window(work, phase=300))) == []


def test_arguments_that_count_calls_are_no_difference() -> None:
    work: Work = lambda at: node("read", node("open", own_us=3, args={"file": at}), own_us=5, args={"batch": at})  # noqa: E731

    assert seen(diff(window(work, phase=8), window(work, phase=300))) == []


# ---- another program ----


@pytest.mark.parametrize("order", ["keep", "ignore"])
@pytest.mark.parametrize(
    ("changed", "kind", "path", "name"),
    [
        (node("read", *READ.inside, node("check", own_us=2), own_us=8), "added", ("read",), "check"),
        (node("read", *READ.inside[1:], own_us=8), "removed", ("read",), "open"),
        (node("read", *READ.inside, node("parse", own_us=2), own_us=8), "more", ("read",), "parse"),
        (node("read", *READ.inside[:2], own_us=8), "fewer", ("read",), "parse"),
        (node("read", node("load", own_us=2), *READ.inside[1:], own_us=8), "renamed", ("read",), "open"),
        (node("read", node("retry", READ.inside[0], own_us=2), *READ.inside[1:]), "wrapped", ("read",), "retry"),
    ],
)
def test_what_each_call_does_otherwise_is_the_only_finding(
    changed: Node, kind: str, path: tuple[str, ...], name: str, order: str
) -> None:
    base, head = window(always(READ), phase=8), window(always(changed), phase=25)
    one = only(diff(base, head, order=order))

    assert (one.kind, one.where.thread, one.where.path, one.name, one.where.steps) == (kind, "loader", path, name, ())
    assert only(diff(head, base, order=order)).mirrored() == one


def test_a_kind_of_call_is_new_or_gone_if_it_was_seen_often_enough() -> None:
    def work(often: int) -> Work:
        return lambda at: node("flush", own_us=5) if at in range(1, 1 + often) else READ

    base = window(always(READ), phase=8)
    one = only(diff(base, window(work(3))))

    assert (one.kind, one.name, one.base, one.head) == ("added", "flush", 0, 3)
    assert only(diff(window(work(3)), base)).kind == "removed"
    few = diff(base, window(work(2)))
    assert (list(few), few.loosely[0].too_few) == ([], ("flush",))
    assert "too few whole calls to judge flush" in few.text()


def test_one_call_a_side_is_too_few_to_say_that_each_does_something_else() -> None:
    other = node("read", *READ.inside, node("check"), own_us=8)
    result = diff(window(always(READ), calls=1, phase=-10), window(always(other), calls=1, phase=-10))

    assert list(result) == []
    assert result.loosely[0].too_few == ("read",)


def test_a_count_that_varies_is_a_finding_where_it_is_apart() -> None:
    def work(least: int) -> Work:
        return lambda at: node("read", *[node("chunk", own_us=1)] * (least + at % 3), own_us=5)

    one = only(diff(window(work(1), phase=8), window(work(6), phase=25)))

    assert (one.kind, one.where.path, one.name, one.base, one.head) == ("more", ("read",), "chunk", 2, 7)
    assert only(diff(window(work(6), phase=25), window(work(1), phase=8))).mirrored() == one


def test_arguments_and_categories_that_all_calls_agree_on_are_compared() -> None:
    def work(size: int, **more: Any) -> Work:
        return lambda at: node("read", node("open", own_us=3, args={"mode": "r", **more}), args={"n": at, "size": size})

    one = only(diff(window(work(32), phase=8), window(work(64), phase=25)))
    assert (one.kind, one.name, one.base, one.head) == ("args", "read", {"size": 32}, {"size": 64})

    one = only(diff(window(work(32), phase=8), window(work(32, binary=True), phase=25)))
    assert (one.kind, one.where.path, one.base, one.head) == ("args", ("read",), {}, {"binary": True})


def test_a_call_that_takes_longer_is_slower_by_what_one_takes() -> None:
    slow = node("read", node("open", own_us=2), node("parse", own_us=5), node("parse", own_us=90), own_us=8)
    base = [window(always(READ), phase=phase, period=130, steps=9) for phase in (0, 9)]
    head = [window(always(slow), phase=phase, period=130, steps=9) for phase in (0, 9)]
    one = only(diff(base, head))

    assert (one.kind, one.where.thread, one.name, one.base, one.head) == ("slower", "loader", "parse", 10.0, 95.0)


def test_a_thread_that_runs_free_can_be_compared_exactly() -> None:
    base, head = window(always(READ), calls=3), window(always(READ), calls=4)

    assert seen(diff(base, head)) == []
    assert seen(diff(base, head, free_threads="exactly")) == [("more", "slice", (), "read")]


def test_flows_of_a_thread_that_runs_free_are_there_or_not() -> None:
    def flows(count: int) -> Trace:
        builder = TraceBuilder(Origin(base_ns=10**18, pid=1))
        main, free = (builder.thread(1, 1 + at, name, "train.py") for at, name in enumerate(("MainThread", "loader")))
        steps = [builder.slice(main, f"ProfilerStep#{at}", at * 1000, 900) for at in range(3)]
        reads = [builder.slice(free, "read", at * 100, 50) for at in range(8)]
        for at in range(count):
            builder.flow("batch", [reads[at], steps[2]])
        return builder.build()

    assert seen(diff(flows(4), flows(7))) == []
    assert seen(diff(flows(0), flows(2))) == []
    assert seen(diff(flows(0), flows(3))) == [("new", "flow", (), "batch")]
    assert seen(diff(flows(3), flows(0))) == [("missing", "flow", (), "batch")]


# ---- a thread that keeps pace ----


def pace(calls: Sequence[Sequence[Node]]) -> Trace:
    """A thread that makes these calls in each step."""
    builder = TraceBuilder(Origin(base_ns=10**18, pid=1))
    main, worker = (builder.thread(1, 1 + at, name, "train.py") for at, name in enumerate(("MainThread", "worker")))
    for number, of_step in enumerate(calls):
        start = number * STEP_US * 1000
        builder.slice(main, f"ProfilerStep#{number}", start, STEP_US * 1000)
        for at, call in enumerate(of_step):
            builder.slice(worker, call.name, start + at * 10_000, 5000)
    return builder.build()


def test_a_thread_that_does_as_much_in_each_step_is_compared_step_by_step() -> None:
    """A pool that each step waits for."""
    job, extra = node("job"), node("extra")
    result = diff(pace([[job] * 4] * 3), pace([[job] * 5] * 3))

    assert [(one.kind, one.name, one.base, one.head, one.where.steps) for one in result] == [
        ("more", "job", 4, 5, (0, 1, 2))
    ]
    assert result.loosely == ()
    assert seen(diff(pace([[job]] * 3), pace([[job, extra]] * 3))) == [("added", "slice", (), "extra")]


# ---- cuts elsewhere ----


def last_step(*names: str, cut: bool) -> Trace:
    builder = TraceBuilder(Origin(base_ns=10**18, pid=1))
    main = builder.thread(1, 1, "MainThread", "train.py")
    builder.slice(main, "ProfilerStep#0", 0, 100, cut=cut)
    for at, name in enumerate(names):
        builder.slice(main, name, at * 10, 5)
    return builder.build()


def test_what_may_have_come_beyond_the_edge_of_a_cut_slice_is_not_missing() -> None:
    whole, cut = last_step("load", "forward", "save", cut=False), last_step("load", "forward", cut=True)

    assert seen(diff(whole, cut)) == seen(diff(cut, whole)) == []
    assert seen(diff(whole, last_step("load", "forward", cut=False))) == [
        ("removed", "slice", ("ProfilerStep#*",), "save")
    ]


def test_what_is_missing_in_the_middle_of_a_cut_slice_is_missing() -> None:
    whole, cut = last_step("load", "forward", "save", cut=False), last_step("load", "save", cut=True)

    assert seen(diff(whole, cut)) == [("removed", "slice", ("ProfilerStep#*",), "forward")]


def test_without_steps_a_thread_whose_call_the_window_cut_runs_free() -> None:
    base, head = window(always(READ), phase=8, steps=0), window(always(READ), phase=25, steps=0, period=22)

    assert seen(diff(base, head)) == []
    assert [one.thread for one in diff(base, head).loosely] == ["loader"]


def test_without_steps_the_main_thread_is_compared_whatever_was_open_around_it() -> None:
    def trace(calls: int) -> Trace:
        builder = TraceBuilder(Origin(base_ns=10**18, pid=1))
        main, other = (builder.thread(1, 1 + at, name, "app.py") for at, name in enumerate(("MainThread", "worker")))
        builder.slice(main, "serve", 0, 100, cut=True)
        for at in range(calls):
            builder.slice(main, "request", at * 10, 5)
        builder.slice(other, "job", 0, 5)
        return builder.build()

    assert seen(diff(trace(2), trace(3))) == [("more", "slice", ("serve",), "request")]


# ---- a real program ----


def train(batches: Sequence[int]) -> Trace:
    """Steps that take so many batches each, from a thread that reads two ahead."""
    wanted, queue, stop = Semaphore(2), SimpleQueue[int](), Event()

    def load() -> None:
        while not stop.is_set():
            wanted.acquire()
            with record_function("read"):
                for _ in range(2):
                    with record_function("parse"):
                        pass
            queue.put(0)

    loader = Thread(target=load, name="loader")
    with profile(schedule=schedule(wait=0, warmup=1, active=len(batches) - 1, repeat=1)) as prof:
        loader.start()
        for count in batches:
            with record_function("forward"):
                for _ in range(count):
                    queue.get()
                    wanted.release()
            prof.step()
        stop.set()
        wanted.release()
        loader.join()
    assert prof.trace is not None
    return prof.trace


@pytest.mark.parametrize(
    ("base", "head"), [((3, 1, 12), (3, 15, 2)), ((2, 9, 3), (2, 4, 15)), ((1, 3, 30), (1, 7, 18))]
)
def test_a_real_thread_that_runs_free_is_the_same_in_each_run(base: Sequence[int], head: Sequence[int]) -> None:
    result = diff(train(base), train(head), timings=False)

    assert seen(result) == []
    assert [one.thread for one in result.loosely] == ["loader"]
