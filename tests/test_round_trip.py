"""The law of reading: what a file of ours gives back is the very Trace that was written."""

import gzip
import io
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepscope.core.clock import Clocks
from stepscope.formats.files import FORMATS, read_from
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from strategies import arguments, counts, flows, names, texts, ticks

READABLE = [name for name, form in FORMATS.items() if form.read]
int64 = st.integers(0, 1 << 61)
origins = st.builds(
    lambda base, clocks, words, session: Origin(
        base_ns=base,
        clocks=Clocks(*clocks),
        host=words[0],
        process=words[1],
        pid=7,
        rank=2,
        world_size=4,
        trace_id=words[2],
        session=MappingProxyType(session),
    ),
    int64,
    st.tuples(int64, int64, int64),
    st.tuples(*[st.sampled_from(("", "a", '"\\', "é😀"))] * 3),
    st.sampled_from(({}, {"cycle": 3, "first_step": 1, "last_step": 2, "partial": True})),
)
threads = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 4), texts), min_size=1, max_size=4)
sites = st.one_of(st.just(""), st.sampled_from(("net.py:12", "forward")), texts)
rows = st.lists(
    st.tuples(st.integers(0, 3), names, ticks, st.one_of(st.none(), ticks), names, arguments, st.booleans(), sites),
    max_size=10,
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Traces with everything in them: overlaps, cut slices, several processes, counters, flows, problems."""
    builder = TraceBuilder(draw(origins))
    tracks = [builder.thread(pid, tid, name, f"process of {pid}") for pid, tid, name in draw(threads)]
    made = []
    for place, name, ts, dur, category, args, cut, site in draw(rows):
        track = tracks[place % len(tracks)]
        if dur is None:
            made.append(builder.instant(track, name, ts, cat=category, args=args))
        else:
            made.append(builder.slice(track, name, ts, dur, cat=category, args=args, cut=cut, site=site))
    for pid, name, unit, ts, value in draw(counts):
        builder.count(builder.counter_track(pid, name, unit, f"process of {pid}"), ts, value)
    for name, places in draw(flows):
        if made:
            builder.flow(name, [made[place % len(made)] for place in places])
    for kind in draw(st.sets(st.sampled_from(("dropped", "partial", "overlap", "cut")))):
        builder.problem(kind, draw(st.integers(1, 5)), "an example")
    return builder.build().with_metadata(draw(arguments))


def differences(one: Trace, other: Trace) -> list[tuple[str, Any, Any]]:
    """Where two traces differ."""
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in Trace.__slots__)
    return [(name, a, b) for name, a, b in pairs if a != b]


@pytest.mark.parametrize("form", READABLE)
@settings(max_examples=300, deadline=None)
@given(trace=traces(), packed=st.booleans())
def test_what_is_written_is_read(form: str, trace: Trace, packed: bool) -> None:
    content = b"".join(FORMATS[form].encode(trace))
    back = read_from(io.BytesIO(gzip.compress(content, 1) if packed else content), "t")

    assert differences(back, trace) == []
    assert back == trace


@settings(max_examples=100, deadline=None)
@given(trace=traces())
def test_both_formats_give_one_trace(trace: Trace) -> None:
    """And so a trace may go from format to format, and nothing is lost on the way."""
    seen = trace
    for form in (*READABLE, *READABLE):
        seen = read_from(io.BytesIO(b"".join(FORMATS[form].encode(seen))), "t")

    assert seen == trace
