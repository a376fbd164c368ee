"""CPU time of spans: what their thread has computed while they were open."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clock import FakeClock
from conftest import row_named
from stepscope import profile, read, record_function
from stepscope.core import kernels
from stepscope.core.rows import THREAD_TIME, Label


def test_waiting_is_told_from_working() -> None:
    with profile(with_cpu_time=True) as prof:
        with record_function("waits"):
            time.sleep(0.02)
        with record_function("works", kind="sum"):
            began = time.thread_time_ns()
            while time.thread_time_ns() - began < 20_000_000:
                pass

    waits, works = row_named(prof.trace, "waits"), row_named(prof.trace, "works")
    assert waits.args[THREAD_TIME] < waits.dur // 2
    assert 20_000_000 <= works.args[THREAD_TIME] <= works.dur + 1_000_000
    assert works.args["kind"] == "sum"
    averages = {average.key: average for average in prof.key_averages()}
    assert averages["works"].thread_time_total == works.args[THREAD_TIME] / 1000
    assert "On CPU" in prof.key_averages().table()


def test_every_kind_of_span_says_it(clock: FakeClock) -> None:
    """A clock that stands in for the real one stands in for that of the thread, too."""
    labelled = kernels.span_of(Label("op", "cpu_op"), {"k": 1})
    with profile(with_cpu_time=True) as prof:
        with record_function("outer"):
            clock.at(3)
            with record_function("inner", k=1):
                clock.at(5)
            clock.at(6)
            record_function("decorated")(clock.at)(8)
            labelled.__enter__()
            clock.at(9)
            labelled.finish({"more": 2})
        kernels.instant("point")

    assert {row.name: dict(row.args) for row in prof.trace} == {
        "outer": {THREAD_TIME: 9},
        "inner": {THREAD_TIME: 2, "k": 1},
        "decorated": {THREAD_TIME: 2},
        "op": {THREAD_TIME: 1, "k": 1, "more": 2},
        "point": {},
    }
    rows = {average.key: (average.thread_ns, average.self_thread_ns) for average in prof.key_averages()}
    assert rows["outer"] == (9, 4)


def test_files_hold_it(clock: FakeClock, tmp_path: Path) -> None:
    with profile(with_cpu_time=True) as prof, record_function("x"):
        clock.at(5)
    prof.export_chrome_trace(tmp_path / "a.json")
    prof.export_perfetto_trace(tmp_path / "a.pftrace")
    assert read(tmp_path / "a.json") == read(tmp_path / "a.pftrace") == prof.trace


def test_a_span_that_is_cut_or_ends_on_another_thread_does_not_say_it(clock: FakeClock) -> None:
    def on_a_thread(work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    before = record_function("before")
    moved, left = record_function("moved", k=1), record_function("left", k=1)
    before.__enter__()
    with profile(with_cpu_time=True) as prof:
        clock.at(2)
        moved.__enter__()
        left.__enter__()
        on_a_thread(lambda: moved.__exit__(None, None, None))
        before.__exit__(None, None, None)
    left.__exit__(None, None, None)

    assert [THREAD_TIME in row.args for row in prof.trace] == [False, False, False]
    assert len(prof.trace) == 3


def test_it_ends_with_the_window() -> None:
    with profile(with_cpu_time=True), record_function("x"):
        pass
    with profile() as prof, record_function("x"):
        pass
    assert THREAD_TIME not in row_named(prof.trace, "x").args


@pytest.mark.parametrize("policy", ["stop", "ring"])
def test_the_budget_holds(policy: str) -> None:
    with profile(with_cpu_time=True, buffer_bytes=1 << 20, buffer_policy=policy) as prof:
        for _ in range(50_000):
            with record_function("x"):
                pass
    lost = sum(problem.count for problem in prof.trace.problems if problem.kind == "dropped")
    assert 2 * len(prof.trace) + lost in (100_000, 100_001)
    assert all(THREAD_TIME in row.args for row in prof.trace if row.kind == 0)
