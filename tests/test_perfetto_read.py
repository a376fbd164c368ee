"""Reading .pftrace files: our own give the Trace that was written."""

import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clock import FakeClock
from stepscope import core
from stepscope.core import info
from stepscope.core.clock import Clocks
from stepscope.core.values import legal_text
from stepscope.formats.perfetto import encode_perfetto
from stepscope.formats.perfetto_read import decode_perfetto
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from strategies import HOSTILE, Span, arguments, counts, flows, names, programs, texts
from test_files import nested_slices
from test_law import record


@pytest.fixture
def fake() -> Iterator[FakeClock]:
    clock = FakeClock()
    core.use_clock(clock)
    yield clock
    core.use_clock(None)


def encoded(trace: Trace) -> bytes:
    return b"".join(encode_perfetto(trace))


def assert_read_back(trace: Trace) -> None:
    read = decode_perfetto(encoded(trace), "t.pftrace")
    for name in Trace.__slots__:
        assert getattr(read, name) == getattr(trace, name), name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threads=st.lists(st.tuples(texts, programs), max_size=3))
def test_what_is_recorded_comes_back(threads: list[tuple[str, list[Span]]], fake: FakeClock) -> None:
    assert_read_back(record(threads, fake))


# Few tracks and times: ties on several tracks, overlaps that go to lanes, overruns that are clamped.
small = st.one_of(st.integers(0, 6), st.integers(0, 10**12))
rows = st.tuples(st.integers(0, 2), names, small, small, texts, arguments, st.sampled_from(("slice", "cut", "instant")))
origins = st.builds(
    Origin,
    base_ns=st.one_of(st.just(0), st.integers(0, 2 * 10**18)),
    clocks=st.builds(Clocks, *[st.integers(0, 2 * 10**18)] * 3),
    host=st.sampled_from(("", "box", "é")),
    trace_id=st.sampled_from(("", "0A" * 16, "mine")),
    rank=st.integers(0, 3),
    world_size=st.integers(1, 4),
    pid=st.integers(0, 9),
    tool=texts.map(legal_text),
    version=st.just("1"),
    process=st.sampled_from(("", "python")),
    session=st.sampled_from(({}, {"cycle": 1, "first_step": 3, "last_step": 5, "partial": True})),
    metadata=st.just({}),
)


@settings(deadline=None)
@given(st.lists(rows, max_size=12), counts, flows, origins, arguments)
def test_what_is_built_comes_back(
    given_rows: list[Any], counted: list[Any], flowing: list[Any], origin: Origin, metadata: dict[str, Any]
) -> None:
    builder = TraceBuilder(origin, tick_ns=2)
    tracks = [builder.thread(7, tid, f"thread {tid}", "p") for tid in (8, 9, 10)]
    made = []
    for track, name, ts, dur, cat, args, kind in given_rows:
        if kind == "instant":
            made.append(builder.instant(tracks[track], name, ts, cat=cat, args=args))
        else:
            made.append(builder.slice(tracks[track], name, ts, dur, cat=cat, args=args, cut=kind == "cut"))
    for pid, name, unit, ts, value in counted:
        builder.count(builder.counter_track(pid, name, unit), ts, value)
    for name, points in flowing:
        builder.flow(name, [made[point % len(made)] for point in points if made])

    assert_read_back(builder.build().with_metadata(metadata))


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 100_000], ids=lambda text: repr(text)[:24])
def test_any_text_comes_back(text: str) -> None:
    builder = TraceBuilder(Origin(pid=7, host="h"))
    track = builder.thread(7, 8, text, text)
    builder.slice(track, text, 0, 10, cat=text, args={text: text, "nested": {text: [text]}})
    builder.instant(track, text, 5, cat=text)

    assert_read_back(builder.build().with_metadata({"key": text, text or "empty": text}))


def test_the_content_may_be_a_view_or_a_mapped_file(tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, 8, "main", "p"), "x", 0, 10, args={"k": 1})
    trace = builder.build()
    path = tmp_path / "t.pftrace"
    path.write_bytes(encoded(trace))

    assert decode_perfetto(memoryview(bytearray(encoded(trace))), "t.pftrace") == trace
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert decode_perfetto(mapped, "t.pftrace") == trace


@pytest.mark.skipif(info().name != "c", reason="the figure is the C core's")
def test_a_hundred_thousand_slices_are_read_in_a_tenth_of_a_second() -> None:
    """Far below what a loaded machine takes: a reader that parses in Python takes five times that."""
    data = encoded(nested_slices(100_000, names=200))
    seconds = []
    for _ in range(5):
        start = time.process_time()
        decode_perfetto(data, "t.pftrace")
        seconds.append(time.process_time() - start)

    assert min(seconds) < 0.1
