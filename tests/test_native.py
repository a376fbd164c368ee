"""What only the C core can get wrong: memory, threads, processes, interpreters, and its clock."""

import gc
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock import FakeClock
from nomemory import alone, require_testcapi
from stepscope import ProfilerAction, core, counter, flow_start, flow_step, instant, profile, record_function
from stepscope.core import clock as clocks
from stepscope.core import kernels
from stepscope.model.trace import CUT, INSTANT, SLICE

pytestmark = pytest.mark.skipif(core.info().name != "c", reason=f"the C core is not in use: {core.info().reason}")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spans(count: int) -> None:
    for _ in range(count):
        with record_function("x"):
            pass


@pytest.mark.parametrize(("size_bytes", "kept"), [(1 << 20, 32_610), (2 << 20, 65_377)])
def test_a_budget_keeps_the_first_records_whole(size_bytes: int, kept: int) -> None:
    """And is used up: two records a span make 32 bytes, but for what chunks need themselves and the name takes."""
    count = 200_000
    with profile(buffer_bytes=size_bytes) as prof:
        spans(count)
    lost = sum(problem.count for problem in prof.trace.problems if problem.kind == "dropped")

    assert 2 * len(prof.trace) + lost in (2 * count, 2 * count + 1)
    assert len(prof.trace) in (kept - 1, kept)


def test_arguments_take_of_the_budget_what_they_take() -> None:
    """Two words cost a span less than 300 bytes: no dict is kept for them."""
    count = 50_000
    with profile(buffer_bytes=4 << 20) as prof:
        for number in range(count):
            with record_function("x", a=number, b="text"):
                pass

    assert (4 << 20) / 300 < len(prof.trace) < count
    assert [row.args for row in prof.trace] == [{"a": number, "b": "text"} for number in range(len(prof.trace))]


def test_keywords_that_the_program_builds_are_on_the_budget() -> None:
    count, key = 20_000, "k" * 200
    with profile(buffer_bytes=4 << 20) as prof:
        for number in range(count):
            with record_function("x", **{f"{key}{number}": 1}):
                pass

    assert (4 << 20) / 600 < len(prof.trace) < (4 << 20) / 300


def test_keywords_that_the_program_builds_are_each_their_own() -> None:
    """Their tuples come and go, and so may stand where another one stood."""
    with profile() as prof:
        for number in range(2000):
            with record_function("x", **{f"key {number}": number, "flag": True}):
                pass
            instant("y", **{"odd" if number % 2 else "even": [number]})
            given: dict[str, Any] = {"name": "z", "args": {"k": number}}
            with record_function(**given):
                pass
    rows = {name: [row.args for row in prof.trace if row.name == name] for name in "xyz"}

    assert rows["x"] == [{f"key {number}": number, "flag": True} for number in range(2000)]
    assert rows["y"] == [{"odd" if number % 2 else "even": [number]} for number in range(2000)]
    assert rows["z"] == [{"k": number} for number in range(2000)]


def test_a_thousand_short_lived_threads_are_all_there(clock: FakeClock) -> None:
    def work(number: int) -> None:
        with record_function("work", number=number):
            pass

    with profile() as prof:
        for first in range(0, 1000, 50):
            threads = [threading.Thread(target=work, args=(first + n,), name=f"t{first + n}") for n in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert sorted((row.track.name, row.args["number"]) for row in prof.trace) == sorted(
        (f"t{n}", n) for n in range(1000)
    )
    assert len({(track.pid, track.tid) for track in prof.trace.tracks}) == 1000


def test_a_thread_that_outlives_its_sessions_is_in_each() -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        while go.wait() and not done.is_set():
            go.clear()
            with record_function("work"):
                pass
            ready.set()

    ready = threading.Event()
    worker = threading.Thread(target=work, name="worker", daemon=True)
    worker.start()
    found = []
    for _ in range(3):
        with profile() as prof:
            go.set()
            assert ready.wait(10)
            ready.clear()
        found.append([(row.name, row.track.name) for row in prof.trace])
    done.set()
    go.set()
    worker.join()

    assert found == [[("work", "worker")]] * 3


def test_a_long_window_is_paired_row_by_row_like_a_short_one(clock: FakeClock) -> None:
    """Columns of many records are memory that is not set, and mapped ahead: every item must be written."""
    rounds = 140_000
    with profile() as prof:
        for _ in range(rounds):
            with record_function("outer"):
                clock.at(clock.now + 2)
                with record_function("inner"):
                    clock.at(clock.now + 3)
                instant("mark")
                clock.at(clock.now + 5)
    columns = prof.trace.columns

    assert prof.trace.strings == ("", "outer", "inner", "mark", "user_annotation")
    first = columns.ts[0]
    assert columns.ts.tolist() == [first + 10 * n + place for n in range(rounds) for place in (0, 2, 5)]
    assert columns.dur.tobytes() == array("q", [10, 3, 0]).tobytes() * rounds
    assert columns.name.tobytes() == array("I", [1, 2, 3]).tobytes() * rounds
    assert columns.cat.tobytes() == array("I", [4, 4, 4]).tobytes() * rounds
    assert columns.site.tobytes() == columns.track.tobytes() == bytes(12 * rounds)
    assert columns.kind.tobytes() == bytes([SLICE, SLICE, INSTANT]) * rounds


def test_threads_at_once_lose_nothing() -> None:
    def hammer(place: int) -> None:
        for _ in range(20_000):
            with record_function("outer"), record_function("inner", place=place):
                instant("mark")

    with profile() as prof:
        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    trace = prof.trace

    assert trace.problems == ()
    names = Counter(
        (track, trace.strings[name]) for track, name in zip(trace.columns.track, trace.columns.name, strict=True)
    )
    assert sorted(names.values()) == [20_000] * 12


def test_cycles_that_end_while_threads_record_are_each_whole() -> None:
    errors: list[BaseException] = []
    stop = threading.Event()

    def hammer(place: int) -> None:
        try:
            while not stop.is_set():
                with record_function("outer"), record_function("inner", place=place):
                    instant("mark")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    with profile(schedule=lambda _: ProfilerAction.RECORD_AND_SAVE, acc_events=True) as prof:
        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            prof.step()
        stop.set()
        for thread in threads:
            thread.join()

    assert errors == []
    for session in prof.sessions:
        trace = session.trace
        places = [
            (trace.tracks[track].name, trace.strings[name])
            for track, name in zip(trace.columns.track, trace.columns.name, strict=True)
        ]
        cut = Counter(place for place, kind in zip(places, trace.columns.kind, strict=True) if kind & CUT)
        assert {problem.kind for problem in trace.problems} <= {"cut"}
        assert max(cut.values(), default=0) <= 2  # the window's two edges
        inside = Counter(places)
        for (track, name), count in inside.items():
            if name == "mark":
                # At either edge a span may be open whose mark is on the other side of it.
                assert 0 <= inside[track, "inner"] - count <= 2
                assert 0 <= inside[track, "outer"] - count <= 2


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_child_process_profiles_on_its_own(start: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(f"""
import multiprocessing
from stepscope import profile, record_function

def child(queue):
    with profile() as prof, record_function("child's"):
        pass
    queue.put([row.name for row in prof.trace])

if __name__ == "__main__":
    context = multiprocessing.get_context({start!r})
    queue = context.Queue()
    with profile() as prof:
        with record_function("before"):
            pass
        worker = context.Process(target=child, args=(queue,))
        worker.start()
        print(queue.get())
        worker.join()
        with record_function("after"):
            pass
    print([row.name for row in prof.trace])
""")
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[\"child's\"]\n['before', 'after']\n", "")


def test_daemon_threads_that_record_at_shutdown_do_not_crash() -> None:
    script = """
import threading, time
from stepscope import profile, record_function

def forever():
    while True:
        with record_function("x", k=1), record_function("y"):
            pass

prof = profile()
prof.start()
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
"""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(importlib.util.find_spec("_xxsubinterpreters") is None, reason="no module for subinterpreters")
def test_a_subinterpreter_is_refused_with_what_to_do() -> None:
    script = """
import _xxsubinterpreters as interpreters
code = '''
try:
    import stepscope._native
except ImportError as error:
    print(error)
'''
interpreters.run_string(interpreters.create(), code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "subinterpreter" in done.stdout
    assert done.returncode == 0


# tools/sanitize.py lets it keep 16 MiB of what is freed; how much of that is there already depends on the tests before.
KEPT_BY_THE_SANITIZER = 16 << 20 if "ASAN_OPTIONS" in os.environ else 0


def test_a_thousand_cycles_leave_memory_and_references_flat() -> None:
    def cycle() -> None:
        with profile() as prof, record_function("outer", k=1, note="text", odd=[1, None]):
            spans(200)
            instant("mark", k=2)
        assert len(prof.trace) == 202

    for _ in range(100):
        cycle()
    gc.collect()
    objects, blocks, resident = len(gc.get_objects()), sys.getallocatedblocks(), resident_bytes()
    for _ in range(1000):
        cycle()
    gc.collect()

    assert len(gc.get_objects()) - objects < 100
    assert sys.getallocatedblocks() - blocks < 1000
    assert resident_bytes() - resident < (4 << 20) + KEPT_BY_THE_SANITIZER


def test_the_time_stamp_counter_agrees_with_boottime_over_seconds() -> None:
    distrust = clocks.tsc_distrust()
    if distrust:
        pytest.skip(f"the time-stamp counter is no clock here: {distrust}")
    before = kernels.tsc_in_use()
    assert kernels.use_tsc(True)
    try:
        with profile() as prof:
            edges = []
            for number in range(5):
                first = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                instant(f"mark {number}")
                edges.append((first, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
                time.sleep(0.5)
    finally:
        kernels.use_tsc(before)
    offset = prof.trace.origin.boottime_offset_ns

    for row, (first, last) in zip(prof.trace, edges, strict=True):
        # Wall time is read once a window, within a microsecond; the counter drifts less than that in seconds.
        assert first - 2_000 <= row.ts + offset <= last + 2_000


def test_a_decorated_function_is_pickled_and_described_as_itself() -> None:
    assert pickle.loads(pickle.dumps(decorated)) is decorated  # noqa: S301 - our own
    assert decorated.__wrapped__(3) == 4
    assert decorated.__name__ == "decorated"


@record_function("decorated")
def decorated(x: int) -> int:
    """Adds one."""
    return x + 1


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock is another one")
def test_a_library_that_shows_the_program_another_time_is_not_passed_by(tmp_path: Path) -> None:
    """The kernel's own clock_gettime is called past the C library's, but not past a stand-in for that."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library = tmp_path / "later.c", tmp_path / "later.so"
    source.write_text("""
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int failed = (int)syscall(SYS_clock_gettime, clock, now);
            now->tv_sec += 1000000;
            return failed;
        }
    """)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    program = """
        import time
        from stepscope.core import kernels
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        now = kernels.now()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert 10**15 < before <= now <= after, (before, now, after)
    """
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}"
    environment = {**os.environ, "LD_PRELOAD": preload, "STEPSCOPE_CORE": "c", "STEPSCOPE_CLOCK": "boottime"}
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr


def test_a_span_whose_name_gives_way_while_it_is_open_ends_all_the_same(clock: FakeClock) -> None:
    """Names made at run time take each other's places; nothing keeps those that have given way."""
    name = "".join(["op", "en"])
    alone = sys.getrefcount(name)
    with profile() as prof:
        span = record_function(name)
        leave = span.__exit__
        span.__enter__()
        del span
        held, others = sys.getrefcount(name), list[str]()  # kept: a name's place is by its address
        while sys.getrefcount(name) == held and len(others) < 100_000:
            others.append(f"another {len(others)}")
            record_function(others[-1])
        clock.at(3)
        leave(None, None, None)
        with record_function(name):
            clock.at(5)
    del leave

    assert [(row.name, row.ts, row.dur) for row in prof.trace] == [("open", 0, 3), ("open", 3, 2)]
    del prof
    while sys.getrefcount(name) != alone and len(others) < 200_000:
        others.append(f"yet another {len(others)}")
        record_function(others[-1])
    assert sys.getrefcount(name) == alone


anything: Any = record_function  # calls that a type checker would refuse


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: anything(), "missing 1 required argument: 'name'"),  # noqa: PLW0108 - as the others
        (lambda: anything("a", 1, 2), "got 3 positional arguments"),
        (lambda: anything("a", name="b"), "multiple values for argument 'name'"),
        (lambda: anything("a")(1, 2), "a span is entered, exited, or called with the function"),
        (lambda: type(anything("a"))(), "cannot create"),  # noqa: PLW0108 - as the others
        (lambda: type(anything("a")).__enter__(3), "must be a span"),
    ],
)
def test_a_wrong_call_is_a_type_error(call: Callable[[], None], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


PLAIN, WITH_ARGS = record_function("plain"), record_function("args", k=1, odd=[1])
CALLS: dict[str, Callable[[], Any]] = {
    "open": kernels.open_window,
    "seal": lambda: kernels.pair(kernels.seal(), [], 0),
    "instant": lambda: instant("mark", k=1),
    "flow": lambda: flow_start("flow"),
    # These never raise, whatever fails inside.
    "begin": PLAIN.__enter__,
    "end": partial(PLAIN.__exit__, None, None, None),
    "begin with args": WITH_ARGS.__enter__,
    "end with args": partial(WITH_ARGS.__exit__, None, None, None),
    "counter": partial(counter, "count", 1),
    "counters": partial(counter, "counts", {"a": 1, "b": 2.5}, "bytes"),
    "step": partial(flow_step, 1),
    "operator": partial(kernels.op_enter, "op", "cpu", (), None),  # it goes at once, and is forgotten
}
MAY_RAISE = ("open", "seal", "instant", "flow")


def test_an_allocation_that_fails_costs_the_program_nothing() -> None:
    """Any allocation of any call may fail: no span raises, and the next window is none the worse."""
    require_testcapi()
    alone(every_program_with_failures)


@settings(max_examples=300, deadline=None)
@given(program=st.lists(st.tuples(st.sampled_from([*CALLS]), st.integers(0, 20)), max_size=40))
def every_program_with_failures(program: list[tuple[str, int]]) -> None:
    testcapi = require_testcapi()
    recording = False
    kernels.use_ops(lambda _: "", None)
    assert kernels.op_enter("op", "cpu", (), None) is None
    for name, failing in program:
        if name in ("open", "seal") and recording == (name == "open"):
            continue
        call = CALLS[name]
        if failing:
            testcapi.set_nomemory(failing, failing + 1)
        try:
            call()
        except MemoryError:
            testcapi.remove_mem_hooks()
            assert name in MAY_RAISE
            kernels.discard()
            recording = False
        else:
            testcapi.remove_mem_hooks()
            recording = {"open": True, "seal": False}.get(name, recording)
    kernels.discard()
    kernels.use_ops(None, None)
    for span in (PLAIN, WITH_ARGS):
        for _ in program:
            span.__exit__(None, None, None)  # what is not open is nothing

    with profile() as prof:
        spans(3)
        counter("count", 1)
    assert [row.name for row in prof.trace] == ["x"] * 3
    assert prof.trace.problems == ()


@pytest.mark.parametrize("label", ["text", ("a", "b"), ("a", "b", 3), None])
def test_what_is_no_label_is_a_type_error(label: Any) -> None:
    with pytest.raises(TypeError, match="Label"):
        kernels.span_of(label)
    with profile(), pytest.raises(TypeError, match="Label"):
        kernels.instant_of(label)
