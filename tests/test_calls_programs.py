"""Function tracing of programs that are hard on it: what ends by itself, comes from C, or goes as deep as it can."""

import asyncio
import ctypes
import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from clock import Ticking
from stepscope import CallOptions, LifecycleError, Trace, core, profile, schedule
from stepscope.core.rows import CALL, CUT

HERE = CallOptions(include="test_calls_programs")
MONITORING: Any = getattr(sys, "monitoring", None)
# A profile function in Python runs into the limit of recursion with the program, and is gone then.
IS_FRAGILE = MONITORING is None and core.info().name == "python"


def leaf() -> int:
    return 1


def whole(trace: Trace) -> list[str]:
    """Names of the calls that are not cut; on 3.10 a code object does not know its qualified name."""
    return [row.name.rpartition(".")[2] for row in trace if row.cat == CALL and not row.kind & CUT]


def problems(trace: Trace) -> dict[str, int]:
    """What there is besides cut calls, and the test runner's threads, which the Python core cannot see before 3.12."""
    return {problem.kind: problem.count for problem in trace.problems if problem.kind not in ("cut", "unseen")}


def unseen(trace: Trace) -> int:
    return sum(problem.count for problem in trace.problems if problem.kind == "unseen")


def none_cut_inside(trace: Trace) -> bool:
    """Whether no call is cut but those that were open when the window opened or ended."""
    rows = [row for row in trace if row.cat == CALL and row.kind & CUT]
    edges = min(row.ts for row in trace), max(row.ts + row.dur for row in trace)
    return all(row.ts == edges[0] or row.ts + row.dur == edges[1] for row in rows)


@pytest.fixture(autouse=True)
def ticking() -> Iterator[None]:
    core.use_clock(Ticking())
    yield
    core.use_clock(None)


@pytest.fixture
def no_automatic_gc() -> Iterator[None]:
    """What is garbage goes when the test says so, and not while an event is handled, in which no other comes."""
    gc.disable()
    yield
    gc.enable()


def numbers() -> Iterator[int]:
    try:
        yield leaf()
    finally:
        leaf()


@pytest.mark.skipif(
    sys.version_info < (3, 11) and IS_FRAGILE,
    reason="3.10 keeps the locals of a frame that a function in Python was shown",
)
def test_a_generator_that_nobody_ends_goes_on_when_it_goes(no_automatic_gc: None) -> None:
    def drops() -> None:
        made = numbers()
        next(made)
        del made
        knot: list[Any] = [numbers()]
        knot.append(knot)
        next(knot[0])
        del knot
        gc.collect()

    with profile(with_stack=HERE) as prof:
        drops()

    assert whole(prof.trace) == ["drops", *["numbers", "leaf"] * 4]
    assert problems(prof.trace) == {}


def test_what_objects_do_as_they_go_is_traced(no_automatic_gc: None) -> None:
    class Falls:
        def __del__(self) -> None:
            leaf()

    def drops() -> None:
        Falls()
        knot: list[Any] = [Falls()]
        knot.append(knot)
        del knot
        gc.collect()

    with profile(with_stack=HERE) as prof:
        drops()

    assert whole(prof.trace) == ["drops", "__del__", "leaf", "__del__", "leaf"]
    assert problems(prof.trace) == {}


def test_a_cancelled_task_goes_on_once_more_and_its_calls_end() -> None:
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            leaf()

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with profile(with_stack=HERE) as prof:
        asyncio.run(main())

    assert whole(prof.trace) == ["main", "waits", "main", "waits", "leaf", "main"]
    assert none_cut_inside(prof.trace)


@pytest.mark.skipif(IS_FRAGILE, reason="see the next test")
def test_calls_go_on_after_the_limit_of_recursion() -> None:
    def endless() -> None:
        endless()

    def survives() -> None:
        with pytest.raises(RecursionError):
            endless()
        leaf()

    with profile(with_stack=HERE) as prof:
        survives()
        leaf()

    names = whole(prof.trace)
    assert names[0] == "survives"
    assert names.count("endless") > sys.getrecursionlimit() // 2
    assert names[-2:] == ["leaf", "leaf"]
    assert none_cut_inside(prof.trace)
    assert problems(prof.trace).keys() <= {"depth"}


@pytest.mark.skipif(not IS_FRAGILE, reason="it cannot happen here")
def test_a_profile_function_that_the_limit_of_recursion_has_ended_is_said() -> None:
    def endless() -> None:
        endless()

    with profile(with_stack=HERE) as prof:
        with pytest.raises(RecursionError):
            endless()
        leaf()

    assert "leaf" not in whole(prof.trace)
    assert "ran into the limit of recursion" in str(prof.trace.problems)
    assert problems(prof.trace)["replaced"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_exits_ends_its_calls() -> None:
    def exits() -> None:
        leaf()
        sys.exit(3)

    with profile(with_stack=HERE) as prof:
        thread = threading.Thread(target=exits)
        thread.start()
        thread.join()
        leaf()

    assert whole(prof.trace) == ["exits", "leaf", "leaf"]
    assert problems(prof.trace) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="pthread_create of the C library")
def test_threads_that_c_code_begins_are_seen_or_counted() -> None:
    def called(_: int) -> int:
        return leaf()

    library = ctypes.CDLL(None)
    callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(called)

    def run_one() -> None:
        thread = ctypes.c_ulong()
        assert library.pthread_create(ctypes.byref(thread), None, callback, None) == 0
        assert library.pthread_join(thread, None) == 0

    run_one()  # ctypes imports what it needs
    with profile(with_stack=HERE) as empty:
        pass
    with profile(with_stack=HERE) as prof:
        for _ in range(3):
            run_one()

    missed = unseen(prof.trace) - unseen(empty.trace)
    if MONITORING is not None:
        assert (whole(prof.trace), missed) == (["run_one", "called", "leaf"] * 3, 0)
    else:
        assert (whole(prof.trace), missed) == (["run_one"] * 3, 3)


@pytest.mark.skipif(MONITORING is None, reason="sys.monitoring is from Python 3.12 on")
def test_a_tool_that_switches_its_own_events_off_and_on_again_changes_nothing() -> None:
    events = MONITORING.events.PY_START | MONITORING.events.PY_RETURN
    MONITORING.use_tool_id(1, "other")
    try:
        for event in (MONITORING.events.PY_START, MONITORING.events.PY_RETURN):
            MONITORING.register_callback(1, event, lambda *_: MONITORING.DISABLE)
        with profile(with_stack=HERE) as prof:
            leaf()
            MONITORING.set_events(1, events)
            leaf()
            leaf()
            MONITORING.restart_events()
            leaf()
            MONITORING.set_events(1, 0)
            leaf()
    finally:
        MONITORING.free_tool_id(1)

    assert whole(prof.trace) == ["leaf"] * 5
    assert problems(prof.trace) == {}


def test_a_profile_that_is_started_in_a_traced_callback_is_refused_and_the_next_cycle_is_whole() -> None:
    refused: list[str] = []
    cycles: list[list[str]] = []

    def on_trace_ready(prof: profile) -> None:
        cycles.append(whole(prof.trace))
        leaf()
        with pytest.raises(LifecycleError) as error:
            prof.start()
        refused.append(str(error.value).partition(".")[0])
        with pytest.raises(LifecycleError) as error:
            profile(with_stack=True).start()
        refused.append(str(error.value).partition(".")[0])

    when = schedule(wait=0, warmup=1, active=1, repeat=2)
    with profile(with_stack=HERE, schedule=when, on_trace_ready=on_trace_ready) as prof:
        for _ in range(4):
            leaf()
            prof.step()

    assert cycles == [["leaf"], ["leaf"]]
    assert (
        refused
        == [
            "start() on a profile that is started",
            "another profile is active in this process, and it would lose its spans to this one",
        ]
        * 2
    )


@pytest.mark.parametrize("ending", ["", "prof.stop()", "raise SystemExit(4)", "os._exit(5)"])
def test_a_program_may_end_while_threads_are_traced_that_never_end(ending: str) -> None:
    program = f"""
        import os, sys, threading
        from stepscope import profile, CallOptions
        begun = threading.Barrier(4)
        def f(): pass
        def spin():
            begun.wait()
            while True:
                f()
        prof = profile(with_stack=CallOptions(c_functions=True), profile_memory=True, record_gc=True)
        prof.start()
        for _ in range(3):
            threading.Thread(target=spin, daemon=True).start()
        begun.wait()
        f()
        {ending}
    """
    command = [sys.executable, "-W", "ignore:the program ended", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    code = {"raise SystemExit(4)": 4, "os._exit(5)": 5}.get(ending, 0)
    assert (done.returncode, done.stderr) == (code, "")
