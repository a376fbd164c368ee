"""Function tracing where something is in its way: other tools, processes that fork or die, memory that is spent."""

import _thread
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from clock import Ticking
from stepscope import CallOptions, LifecycleError, Trace, core, profile, record_function
from stepscope.core import kernels
from stepscope.core.rows import CALL, CUT

HERE = CallOptions(include="test_calls_breaks")
MONITORING: Any = getattr(sys, "monitoring", None)
with_monitoring = pytest.mark.skipif(MONITORING is None, reason="sys.monitoring is from Python 3.12 on")
with_profile_functions = pytest.mark.skipif(
    MONITORING is not None, reason="profile functions are for Python before 3.12"
)
with_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def leaf() -> int:
    return 1


def twice() -> int:
    return leaf() + leaf()


def whole(trace: Trace) -> list[str]:
    return [row.name for row in trace if row.cat == CALL and not row.kind & CUT]


def kinds(trace: Trace) -> set[str]:
    return {problem.kind for problem in trace.problems}


def count_of(kind: str, trace: Trace) -> int:
    """Of a kind of problem; the test runner may have threads that the Python core cannot see before 3.12."""
    return sum(problem.count for problem in trace.problems if problem.kind == kind)


def records_well() -> bool:
    """Whether calls are traced now, as if nothing had been."""
    with profile(with_stack=HERE) as prof:
        twice()
    return whole(prof.trace) == ["twice", "leaf", "leaf"] and kinds(prof.trace) <= {"cut", "unseen"}


@pytest.fixture
def ticking() -> Iterator[None]:
    core.use_clock(Ticking())
    yield
    core.use_clock(None)


# -- sys.monitoring ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tools() -> Iterator[list[int]]:
    """Tool ids that the test has taken, to be given back."""
    taken: list[int] = []
    yield taken
    for tool in taken:
        if MONITORING.get_tool(tool) is not None:
            MONITORING.free_tool_id(tool)


@with_monitoring
def test_the_tool_id_is_given_back() -> None:
    before = [MONITORING.get_tool(tool) for tool in range(6)]
    with profile(with_stack=True):
        assert [tool for tool in range(6) if MONITORING.get_tool(tool) == "stepscope"] == [4]

    assert [MONITORING.get_tool(tool) for tool in range(6)] == before
    assert records_well()


@with_monitoring
def test_a_tool_id_that_is_taken_is_passed_over(tools: list[int]) -> None:
    MONITORING.use_tool_id(4, "debugger")
    tools.append(4)

    assert records_well()
    assert MONITORING.get_tool(4) == "debugger"


@with_monitoring
def test_who_holds_the_tool_ids_is_said(tools: list[int]) -> None:
    for tool, name in ((4, "debugger"), (3, "coverage"), (2, "cProfile")):
        MONITORING.use_tool_id(tool, name)
        tools.append(tool)
    prof = profile(with_stack=True)
    with pytest.raises(LifecycleError, match="are taken: 4 by 'debugger', 3 by 'coverage', 2 by 'cProfile'"):
        prof.start()

    MONITORING.free_tool_id(2)
    assert records_well()


@with_monitoring
def test_a_program_that_takes_the_tool_id_away_is_said(tools: list[int]) -> None:
    with profile(with_stack=HERE) as prof:
        twice()
        MONITORING.free_tool_id(4)
        MONITORING.use_tool_id(4, "thief")
        tools.append(4)

    assert whole(prof.trace) == ["twice", "leaf", "leaf"]
    assert "another program has taken the tool id 4" in str(prof.trace.problems)
    assert MONITORING.get_tool(4) == "thief"
    MONITORING.set_events(4, 0)
    for event in ("PY_START", "PY_RESUME", "PY_THROW", "PY_RETURN", "PY_YIELD", "PY_UNWIND"):
        MONITORING.register_callback(4, getattr(MONITORING.events, event), None)


@with_monitoring
def test_a_program_that_switches_the_events_off_is_said() -> None:
    with profile(with_stack=HERE) as prof:
        twice()
        MONITORING.set_events(4, 0)
        twice()

    assert whole(prof.trace) == ["twice", "leaf", "leaf"]
    assert "another program has changed what sys.monitoring does" in str(prof.trace.problems)
    assert records_well()


@with_monitoring
def test_what_one_window_leaves_out_the_next_one_may_want() -> None:
    with profile(with_stack=CallOptions(exclude="test_calls_breaks")) as prof:
        twice()
    assert "twice" not in whole(prof.trace)
    assert records_well()


@with_monitoring
def test_a_profiler_of_the_program_may_run_meanwhile() -> None:
    import cProfile

    with profile(with_stack=HERE) as prof:
        other = cProfile.Profile()
        other.runcall(twice)

    assert whole(prof.trace) == ["twice", "leaf", "leaf"]
    assert "replaced" not in kinds(prof.trace)


# -- profile functions -------------------------------------------------------------------------------------------------


def profile_of_the_program(frame: types.FrameType, event: str, arg: object) -> None:
    """Do nothing."""


@with_profile_functions
def test_a_profile_function_that_is_set_already_is_named_and_stays() -> None:
    prof = profile(with_stack=True)
    sys.setprofile(profile_of_the_program)
    try:
        with pytest.raises(LifecycleError, match=r"profile_of_the_program .* is the profile function of a thread"):
            prof.start()
        assert sys.getprofile() is profile_of_the_program
    finally:
        sys.setprofile(None)
    assert threading.getprofile() is None
    assert records_well()


@with_profile_functions
def test_threadings_profile_function_is_named_and_stays() -> None:
    prof = profile(with_stack=True)
    threading.setprofile(profile_of_the_program)
    try:
        with pytest.raises(LifecycleError, match="profile_of_the_program"):
            prof.start()
        assert threading.getprofile() is profile_of_the_program
    finally:
        threading.setprofile(None)  # type: ignore[arg-type,unused-ignore]
    assert records_well()


@with_profile_functions
def test_a_program_that_sets_its_own_profile_function_loses_its_later_calls_and_is_told() -> None:
    with profile(with_stack=HERE) as prof:
        twice()
        sys.setprofile(profile_of_the_program)
        twice()

    assert sys.getprofile() is profile_of_the_program
    sys.setprofile(None)
    assert whole(prof.trace) == ["twice", "leaf", "leaf"]
    assert "sys.setprofile() was called on a thread" in str(prof.trace.problems)
    assert records_well()


@with_profile_functions
def test_a_program_that_puts_back_what_it_replaced_is_traced_again() -> None:
    def blind() -> None:
        before = sys.getprofile()
        sys.setprofile(profile_of_the_program)
        twice()
        sys.setprofile(before)

    with profile(with_stack=HERE) as prof:
        blind()
        twice()

    assert [name.rpartition(".")[2] for name in whole(prof.trace)] == ["blind", "twice", "leaf", "leaf"]
    assert "replaced" not in kinds(prof.trace)


@with_profile_functions
def test_calls_whose_end_was_not_seen_end_with_the_call_around_them() -> None:
    state: list[Any] = []

    def goes_dark() -> None:
        state.append(sys.getprofile())
        sys.setprofile(None)

    def around() -> None:
        goes_dark()
        sys.setprofile(state.pop())
        leaf()

    def run() -> None:
        around()

    with profile(with_stack=HERE) as prof:
        run()

    rows = {row.name.rpartition(".")[2]: row for row in prof.trace if row.cat == CALL}
    assert rows["goes_dark"].kind & CUT
    assert rows["goes_dark"].ts + rows["goes_dark"].dur == rows["around"].ts + rows["around"].dur
    assert not rows["run"].kind & CUT
    assert kinds(prof.trace) <= {"cut", "unseen", "overlap"}


@with_profile_functions
def test_threads_to_come_are_traced_no_more_if_the_program_says_so() -> None:
    with profile(with_stack=HERE) as prof:
        threading.setprofile(profile_of_the_program)

    assert threading.getprofile() is profile_of_the_program
    threading.setprofile(None)  # type: ignore[arg-type,unused-ignore]
    assert "threading.setprofile() was called" in str(prof.trace.problems)


@with_profile_functions
def test_an_audit_hook_may_forbid_it_and_nothing_is_left() -> None:
    program = """
        import sys, threading
        from stepscope import profile
        forbidden, FORBIDDEN = [True], ("start", "profile_threads")
        def audit(event, args):
            if event == "sys.setprofile" and forbidden and sys._getframe().f_back.f_code.co_name in FORBIDDEN:
                raise RuntimeError("not here")
        prof = profile(with_stack=True)
        sys.addaudithook(audit)
        try:
            prof.start()
        except RuntimeError as error:
            print(error)
        forbidden.clear()
        print(sys.getprofile(), threading.getprofile())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.splitlines(), done.stderr) == (["not here", "None None"], "")


def test_threads_that_module_threading_does_not_know() -> None:
    told, done = threading.Event(), threading.Event()

    def raw() -> None:
        twice()
        done.set()
        told.wait()

    threads = _thread._count()  # noqa: SLF001 - nothing else knows such threads
    with profile(with_stack=HERE) as prof:
        _thread.start_new_thread(raw, ())
        done.wait()
    told.set()
    while _thread._count() > threads:  # noqa: SLF001 - as above
        time.sleep(0.001)

    if MONITORING is not None:
        assert whole(prof.trace) == ["twice", "leaf", "leaf"]
    else:
        assert "unseen" in kinds(prof.trace)


def test_threads_that_are_over_before_tracing_is_are_seen_or_counted() -> None:
    ended = threading.Semaphore(0)

    def raw() -> None:
        twice()
        ended.release()

    with profile(with_stack=HERE) as empty:
        pass
    with profile(with_stack=HERE) as prof:
        for _ in range(3):
            _thread.start_new_thread(raw, ())
            ended.acquire()
        known = threading.Thread(target=twice)
        known.start()
        known.join()

    missed = count_of("unseen", prof.trace) - count_of("unseen", empty.trace)
    if MONITORING is not None:
        assert (whole(prof.trace).count("twice"), missed) == (4, 0)
    else:
        assert (whole(prof.trace).count("twice"), missed) == (1, 3)


@with_profile_functions
def test_a_thread_that_ends_its_profile_function_is_no_thread_that_was_not_seen() -> None:
    told, done = threading.Event(), threading.Event()

    def goes_dark() -> None:
        sys.setprofile(None)
        done.set()
        told.wait()

    thread = threading.Thread(target=goes_dark)
    with profile(with_stack=HERE) as empty:
        pass
    with profile(with_stack=HERE) as prof:
        thread.start()
        done.wait()
    told.set()
    thread.join()

    assert count_of("unseen", prof.trace) == count_of("unseen", empty.trace)
    # The Python core cannot ask another thread.
    assert count_of("replaced", prof.trace) == (core.info().name == "c")


def test_the_calls_that_lead_to_a_thread_begin_and_end_with_it(ticking: None) -> None:
    def begin_one() -> None:
        thread = threading.Thread(target=leaf, name="other")
        thread.start()
        thread.join()

    with profile(with_stack=True) as prof:
        twice()
        begin_one()
        twice()

    first, last = [row for row in prof.trace if row.name == "twice"]
    inside = [row for row in prof.trace if row.track.name == "other" and row.cat == CALL]
    assert {row.name.rpartition(".")[2] for row in inside} >= {"_bootstrap", "_bootstrap_inner", "run", "leaf"}
    assert all(first.ts + first.dur < row.ts and row.ts + row.dur < last.ts for row in inside)


# -- processes ---------------------------------------------------------------------------------------------------------


@with_fork
def test_a_child_that_is_forked_in_a_traced_call_traces_nothing_and_may_profile() -> None:
    def forks() -> int:
        child = os.fork()
        if child == 0:
            twice()
            clean = sys.getprofile() is None and threading.getprofile() is None
            if MONITORING is not None:
                clean = all(MONITORING.get_tool(tool) != "stepscope" for tool in range(6))
            os._exit(0 if clean and records_well() else 1)
        return os.waitpid(child, 0)[1]

    with profile(with_stack=HERE) as prof:
        status = forks()
        twice()

    assert status == 0
    assert [name.rpartition(".")[2] for name in whole(prof.trace)] == ["forks", "twice", "leaf", "leaf"]


@pytest.mark.parametrize(
    ("ending", "code"),
    [("os._exit(7)", 7), ("sys.exit(5)", 5), ("raise SystemExit(4)", 4), ("threading.Thread(target=f).start()", 0)],
)
def test_a_program_may_end_in_a_traced_call(ending: str, code: int) -> None:
    program = f"""
        import os, sys, threading
        from stepscope import profile, CallOptions
        def f(): pass
        def g():
            f()
            {ending}
        prof = profile(with_stack=CallOptions(c_functions=True))
        prof.start()
        g()
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore:the program ended", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")


# -- memory ------------------------------------------------------------------------------------------------------------


def test_when_the_memory_is_spent_the_newest_calls_are_dropped_and_counted() -> None:
    with profile(with_stack=HERE, buffer_bytes=1 << 18) as prof:
        for _ in range(20_000):
            twice()

    calls = [row for row in prof.trace if row.cat == CALL and not row.kind & CUT]
    assert [row.name for row in calls[:3]] == ["twice", "leaf", "leaf"]
    assert len(calls) < 30_000
    assert "dropped" in kinds(prof.trace)
    assert kinds(prof.trace) <= {"dropped", "cut", "unseen"}


def test_when_the_memory_is_spent_the_oldest_calls_may_be_dropped_instead() -> None:
    with profile(with_stack=HERE, buffer_bytes=1 << 18, buffer_policy="ring") as prof:
        for _ in range(20_000):
            twice()
        with record_function("last"):
            leaf()

    assert [row.name for row in prof.trace if not row.kind & CUT][-2:] == ["last", "leaf"]
    assert "dropped" in kinds(prof.trace)
    assert kinds(prof.trace) <= {"dropped", "cut", "unseen"}


def test_code_that_is_made_at_run_time_does_not_fill_memory() -> None:
    def made() -> None:
        """Do nothing."""

    code = made.__code__
    with profile(with_stack=HERE) as prof:
        for number in range(70_000):
            types.FunctionType(code.replace(co_firstlineno=number % 10 + 1), {})()

    assert len(whole(prof.trace)) == 70_000
    assert len({row.site for row in prof.trace if row.name.endswith("made")}) == 10
    assert kinds(prof.trace) <= {"cut", "unseen"}


# -- two cores ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys, threading
sys.path.insert(0, {tests!r})
from clock import Ticking
from stepscope import CallOptions, core, profile, record_function, schedule
def leaf(): return 1
def numbers():
    yield leaf()
    yield 2
def fails():
    try:
        raise KeyError
    finally:
        leaf()
def recursive(depth):
    if depth:
        recursive(depth - 1)
def work(prof):
    for _ in range(6):
        with record_function("step"):
            list(numbers())
            try:
                fails()
            except KeyError:
                recursive(5)
        thread = threading.Thread(target=leaf, name="other")
        thread.start()
        thread.join()
        prof.step()
def show(prof):
    first = next(row.ts for row in prof.trace if not row.kind)
    for row in prof.trace:
        # A window's edges are read more often by one core than by the other.
        time = (row.ts - first, row.dur) if not row.kind else "cut"
        print(time, row.name, row.cat, row.site, row.track.name)
core.use_clock(Ticking())
options = CallOptions(include="<string>", max_depth={depth}, min_duration_us={short}, c_functions={c_functions})
with profile(schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=show, with_stack=options) as prof:
    work(prof)
"""


@pytest.mark.parametrize(("depth", "short", "c_functions"), [(None, 0, False), (6, 0, True), (None, 0.006, False)])
def test_both_cores_trace_the_same(depth: int | None, short: float, c_functions: bool) -> None:
    pytest.importorskip("stepscope._native", reason="the C core is not built")
    program = PROGRAM.format(tests=os.path.dirname(__file__), depth=depth, short=short, c_functions=c_functions)  # noqa: PTH120
    shown = []
    for name in ("c", "python"):
        environment = {**os.environ, "STEPSCOPE_CORE": name}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
        shown.append(done.stdout.splitlines())

    assert len(shown[0]) >= 16
    assert shown[0] == shown[1]


@pytest.mark.skipif(core.info().name != "c", reason="the C core's")
def test_a_hook_that_is_called_by_hand_says_what_it_takes() -> None:
    for hook in kernels.call_hooks().values():
        with pytest.raises(TypeError, match=r"a hook is called by sys\.monitoring"):
            hook(1, 2)
    if MONITORING is None:
        with pytest.raises(TypeError, match="a profile function takes a frame, an event and its argument"):
            kernels.call_profiler()(1, 2)
        kernels.call_profiler()(sys._getframe(), "call", None)  # noqa: SLF001 - too late: nothing is traced
        assert sys.getprofile() is None
