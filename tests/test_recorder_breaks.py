"""What once broke the recorder, whichever core records: each test is one way a program could lose by being profiled."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clock import FakeClock
from stepscope import ProfilerAction, Trace, counter, flow_start, flow_step, instant, profile, record_function
from stepscope.core import kernels
from stepscope.model.trace import CUT, SLICE

SAVE = ProfilerAction.RECORD_AND_SAVE
MIB = 1 << 20


def on_a_thread(work: Callable[[], Any], name: str = "other") -> None:
    thread = threading.Thread(target=work, name=name)
    thread.start()
    thread.join()


def spans(count: int, name: str, **args: Any) -> Callable[[], None]:
    def work() -> None:
        for _ in range(count):
            with record_function(name, **args):
                pass

    return work


def dropped(trace: Trace) -> int:
    return sum(problem.count for problem in trace.problems if problem.kind == "dropped")


def names(trace: Trace) -> Counter[str]:
    return Counter(row.name for row in trace)


# -- the program's exceptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["stop", "ring"])
def test_a_decorated_call_raises_its_own_exception_though_there_is_no_room_for_the_name(policy: str) -> None:
    @record_function("decorated")
    def fail() -> None:
        message = "mine"
        raise ValueError(message)

    with profile(buffer_bytes=1, buffer_policy=policy), pytest.raises(ValueError, match="mine"):
        fail()


@pytest.mark.parametrize("what", ["argument", "counter"])
def test_an_interrupt_while_a_value_is_read_reaches_the_program(what: str) -> None:
    class Interrupted:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

        def __float__(self) -> float:
            raise KeyboardInterrupt

    def read() -> None:
        if what == "counter":
            counter("c", Interrupted())
        else:
            instant("x", value=Interrupted())

    with profile() as prof:
        with pytest.raises(KeyboardInterrupt):
            read()
        spans(5, "after")()

    assert names(prof.trace)["after"] == 5
    assert dropped(prof.trace) == 0


def test_threads_that_begin_at_once_get_no_exception() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with record_function("x"):
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(40):
            threads = [threading.Thread(target=work) for _ in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert errors == []


def test_new_names_while_windows_open_and_close_raise_nothing() -> None:
    stop, errors = threading.Event(), []

    def work(thread: int) -> None:
        for number in range(10**9):
            if stop.is_set():
                return
            try:
                with record_function(f"{thread} {number}"):
                    pass
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails
                errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    try:
        for thread in threads:
            thread.start()
        with profile(schedule=lambda _: SAVE) as prof:
            for _ in range(200):
                prof.step()
                time.sleep(0.003)
    finally:
        stop.set()
        sys.setswitchinterval(switch)
        for thread in threads:
            thread.join()
    assert errors == []


class Unclassed:
    @property
    def __class__(self) -> Any:
        raise RuntimeError

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise RuntimeError


def test_a_counter_of_an_object_that_will_not_say_its_class_raises_nothing() -> None:
    with profile() as prof:
        counter("c", Unclassed())
        counter("c", 1)
    assert list(prof.trace.counters.value) == [1.0]


# -- windows that change while a value is read ---------------------------------------------------------------------


def test_a_counter_whose_name_ends_the_window_costs_the_next_window_nothing() -> None:
    class Key:
        def __str__(self) -> str:
            prof.step()
            return "key"

    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        counter("c", {Key(): 1})
        spans(10, "after")()

    assert names(prof.trace)["after"] == 10
    assert dropped(prof.trace) == 0


def test_a_counter_whose_old_unit_ends_the_window_as_it_goes_leaves_a_trace() -> None:
    class Unit:
        def __str__(self) -> str:
            return "unit"

        def __del__(self) -> None:
            prof.step()

    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        for number in range(5):
            counter(f"series {number}", number)
        counter("c", 1, Unit())  # type: ignore[arg-type]
        counter("c", 2, "other")
    found = [[session.trace.tracks[track].name for track in session.trace.counters.track] for session in prof.sessions]

    assert sorted(name for window in found for name in window if name == "c") == ["c", "c"]


# -- the budget ----------------------------------------------------------------------------------------------------


def test_in_a_ring_a_name_that_comes_late_is_kept() -> None:
    with profile(buffer_bytes=(1 << 16) + 200, buffer_policy="ring") as prof:
        spans(100_000, "a" * 20)()
        spans(100_000, "phase two")()
    assert names(prof.trace)["phase two"] > 100


def test_in_a_ring_names_made_at_run_time_give_way_like_records() -> None:
    with profile(buffer_bytes=4 * MIB, buffer_policy="ring") as prof:
        for number in range(60_000):
            with record_function(f"request {number}"):
                pass
    kept = [int(row.name.split()[1]) for row in prof.trace]

    assert max(kept) == 59_999
    assert len(kept) > 1000


def test_in_a_ring_long_names_with_arguments_do_not_eat_the_budget() -> None:
    with profile(buffer_bytes=MIB, buffer_policy="ring") as prof:
        for number in range(100_000):
            instant("n" * 200, number=number)
    assert len(prof.trace) > 500


def test_in_a_ring_short_threads_do_not_starve_a_late_one() -> None:
    with profile(buffer_bytes=MIB, buffer_policy="ring") as prof:
        for number in range(40):
            on_a_thread(spans(1, "short"), f"short {number}")
        on_a_thread(spans(1000, "late"))
    assert names(prof.trace)["late"] > 100


def test_in_a_ring_a_thread_with_large_arguments_does_not_starve_a_late_one() -> None:
    with profile(buffer_bytes=8 * MIB, buffer_policy="ring") as prof:
        for count, length in ((82, 100_000), (3, 20_000), (200, 10)):
            on_a_thread(spans(count, "hog", text="x" * length))
        for _ in range(3):
            on_a_thread(spans(1000, "late"))
    assert names(prof.trace)["late"] > 100


def test_in_a_ring_threads_at_once_leave_no_ghosts_and_count_right() -> None:
    count, errors = 3000, []

    def work() -> None:
        try:
            for number in range(count):
                with record_function("outer", n=number), record_function("inner"):
                    pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with profile(buffer_bytes=1 << 19, buffer_policy="ring") as prof:
            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switch)

    assert errors == []
    assert not any(row.kind & CUT for row in prof.trace)
    assert 2 * len(prof.trace) + dropped(prof.trace) == 4 * count * 6


@pytest.mark.parametrize("policy", ["stop", "ring"])
def test_an_argument_larger_than_the_budget_costs_only_its_own_record(policy: str) -> None:
    with profile(buffer_bytes=4 * MIB, buffer_policy=policy) as prof:
        spans(1000, "before")()
        instant("huge", text="t" * (5 * MIB))
        on_a_thread(spans(1000, "other"))
        spans(1000, "after")()

    assert names(prof.trace) == {"before": 1000, "other": 1000, "after": 1000}
    assert dropped(prof.trace) == 1


def test_a_first_argument_larger_than_the_budget_costs_only_its_own_record() -> None:
    with profile(buffer_bytes=4 * MIB) as prof:
        instant("huge", text="t" * (5 * MIB))
        spans(1000, "after")()
    assert names(prof.trace) == {"after": 1000}


@pytest.mark.parametrize(
    "record",
    [
        lambda text: instant("x", {text: 1}),
        lambda text: counter("c", 1, unit=text),
        lambda text: counter(text, 1),
        lambda text: counter("c", {text: 1}),
        lambda text: instant(type("Text", (str,), {})(text)),
        flow_start,
    ],
    ids=["key", "unit", "series", "series of a mapping", "subclass of str", "flow"],
)
def test_every_text_counts_against_the_budget(record: Callable[[str], Any]) -> None:
    with profile(buffer_bytes=MIB) as prof:
        for number in range(100):
            record(f"{number:0100000d}")
    assert dropped(prof.trace) >= 89


def test_threads_with_one_span_each_take_little_of_the_budget() -> None:
    with profile(buffer_bytes=64 * MIB) as prof:
        for _ in range(1500):
            on_a_thread(spans(1, "x"))
    assert len(prof.trace) == 1500


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_window_that_another_thread_holds_at_a_fork_does_not_cost_the_child_its_budget() -> None:
    with profile():
        spans(100_000, "x", k=1)()
        window = [kernels.seal()]
        kernels.open_window()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        mine = window.pop()
        held.set()
        done.wait()
        del mine

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        kernels.limit(8 * MIB, False)
        kernels.open_window()
        spans(1, "child")()
        rows = kernels.pair(kernels.seal(), [], 0)
        os._exit(0 if len(rows.columns.ts) == 1 else 1)
    _, status = os.waitpid(pid, 0)
    done.set()
    thread.join()
    assert status == 0


# -- threads that end ----------------------------------------------------------------------------------------------


def test_a_span_whose_thread_has_ended_is_followed_until_it_ends() -> None:
    span = record_function("handed over", k=1)
    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        on_a_thread(span.__enter__)
        prof.step()
        prof.step()
        span.__exit__(None, None, None)
    found = [[row.kind for row in session.trace if row.name == "handed over"] for session in prof.sessions]

    assert found == [[SLICE | CUT], [SLICE | CUT], [SLICE | CUT]]


def test_a_thread_with_its_own_is_alive_keeps_its_records() -> None:
    class Worker(threading.Thread):
        def is_alive(self) -> bool:
            return False

    go, done = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        for _ in range(3):
            go.acquire()
            with record_function("work"):
                pass
            done.release()

    worker = Worker(target=work, name="worker")
    worker.start()
    with profile(schedule=lambda _: SAVE, acc_events=True) as prof:
        for _ in range(3):
            go.release()
            done.acquire()
            on_a_thread(spans(1, "other"))
            prof.step()
    threading.Thread.join(worker)
    found = [sorted((r.track.name, r.name) for r in s.trace if "Step" not in r.name) for s in prof.sessions]

    assert found == [[("other", "other"), ("worker", "work")]] * 3 + [[]]


AT_EXIT = """
import atexit
import _thread, threading
from stepscope import profile, record_function

def late():
    with profile():
        pass
    ready, leave = threading.Event(), threading.Event()
    def other():
        with record_function("other"):
            ready.set()
            leave.wait()
    with record_function("main's"):
        pass
    _thread.start_new_thread(other, ())
    ready.wait()
    with profile() as prof, record_function("main's"):
        pass
    print(sorted((row.name, row.track.name.split()[0]) for row in prof.trace))

atexit.register(late)
with record_function("main's"):
    pass
"""


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 starts no thread at exit")
def test_at_exit_the_main_thread_still_records_on_its_own_track() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[(\"main's\", 'MainThread'), ('other', 'thread')]"


MANY_RAW_THREADS = """
import _thread, threading
from stepscope import record_function

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

done = threading.Semaphore(0)
def work():
    with record_function("x"):
        pass
    done.release()

def run(count):
    for _ in range(count):
        _thread.start_new_thread(work, ())
        done.acquire()

run(300)
before = rss()
run(10_000)
print(rss() - before)
"""

MANY_THREADS_THAT_END_SPANS_AT_THE_LAST = """
import threading
from stepscope import record_function

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

local = threading.local()
class Holder:
    def __init__(self):
        self.span = record_function("x").__enter__()
    def __del__(self):
        self.span.__exit__(None, None, None)

def work():
    local.holder = Holder()

def run(count):
    for _ in range(count):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

run(300)
before = rss()
run(3000)
print(rss() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="the sanitizer keeps what is freed")
@pytest.mark.parametrize("program", [MANY_RAW_THREADS, MANY_THREADS_THAT_END_SPANS_AT_THE_LAST])
def test_short_threads_leave_nothing_behind(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2000, "KiB"


def test_spans_that_two_threads_hand_over_end_each_on_its_own(clock: FakeClock) -> None:
    @contextlib.contextmanager
    def job() -> Iterator[None]:
        with record_function("job"):
            yield

    with ThreadPoolExecutor(1, "a") as one, ThreadPoolExecutor(1, "b") as other, profile() as prof:
        for pool in (one, other):
            pool.submit(int).result()
        first, second = job(), job()
        clock.at(1)
        one.submit(first.__enter__).result()
        clock.at(2)
        other.submit(second.__enter__).result()
        clock.at(3)
        first.__exit__(None, None, None)
        clock.at(9)
        second.__exit__(None, None, None)
    assert [(row.track.name, row.ts, row.dur) for row in prof.trace] == [("a_0", 1, 2), ("b_0", 2, 7)]


# -- what nobody can reach any more --------------------------------------------------------------------------------


def test_a_generator_in_a_cycle_with_its_spans_arguments_is_collected() -> None:
    class Stream:
        def __init__(self) -> None:
            self.generator = self.run()
            next(self.generator)

        def run(self) -> Generator[int, None, None]:
            with record_function("stream", stream=self):
                yield 1

    left = [weakref.ref(Stream()) for _ in range(10)]
    gc.collect()
    alive = [stream for stream in (ref() for ref in left) if stream is not None]
    for stream in alive:
        stream.generator.close()  # or its span is in all that follows
    assert len(alive) == 0


# -- how long it takes ---------------------------------------------------------------------------------------------


def test_a_profile_starts_soon_though_many_spans_with_arguments_are_open() -> None:
    opened = [record_function("x", n=number).__enter__() for number in range(60_000)]
    before = time.perf_counter()
    with profile():
        took = time.perf_counter() - before
    for span in reversed(opened):
        span.__exit__(None, None, None)
    assert took < 1


def test_a_flow_through_many_points_is_paired_soon() -> None:
    with profile() as prof:
        flow = flow_start("f")
        for _ in range(60_000):
            flow_step(flow)
    before = time.perf_counter()
    assert len(prof.trace) == 60_001
    assert time.perf_counter() - before < 2
