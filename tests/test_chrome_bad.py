"""Bad files: what must load, what must not, and that nothing hangs, crashes or takes memory without bound.

fixtures/bad: y_ must load, n_ must be refused unless strict=False reads what is good in it, i_ may do either.
"""

import io
import json
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepscope import FormatError, Trace, read
from stepscope.formats.chrome import encode_chrome
from stepscope.formats.files import read_from
from stepscope.model.nesting import nest
from strategies import HOSTILE
from test_chrome_scan import contents

BAD = Path(__file__).parent.parent / "fixtures" / "bad"
FILES = sorted(path for path in BAD.iterdir() if ".json" in path.suffixes)
# What cannot be told to be Chrome JSON, or is refused for its size, is refused either way.
REFUSED = {
    "n_not_a_trace.json",
    "n_array_of_numbers.json",
    "n_text.json",
    "n_utf16.json",
    "n_gzip_in_gzip.json.gz",
    "i_single_quotes.json",
}


def named(prefix: str) -> list[Path]:
    found = [path for path in FILES if path.name.startswith(prefix)]
    assert found
    return found


def assert_sound(trace: Trace) -> None:
    """The trace is what a Trace promises to be, and can be written and read again."""
    nest(trace)
    assert all(dur >= 0 for dur in trace.columns.dur)
    assert all(ts >= 0 for ts in trace.columns.ts)
    assert len({(track.kind, track.pid, track.tid, track.name, track.unit) for track in trace.tracks}) == len(
        trace.tracks
    )
    written = b"".join(encode_chrome(trace))
    assert read_from(io.BytesIO(written), "again.json") == trace


def assert_sound_or_refused(content: bytes, strict: bool) -> None:
    try:
        trace = read_from(io.BytesIO(content), "t.json", strict=strict)
    except FormatError as error:
        assert str(error).startswith("t.json: ")  # noqa: PT017 - either outcome is right
    else:
        assert_sound(trace)


def test_every_file_has_a_verdict() -> None:
    assert {path.name[:2] for path in FILES} == {"y_", "n_", "i_"}


@pytest.mark.parametrize("path", named("y_"), ids=lambda path: path.name)
def test_these_must_load(path: Path) -> None:
    assert_sound(read(path))
    assert read(path, strict=False) == read(path)


@pytest.mark.parametrize("path", named("n_"), ids=lambda path: path.name)
def test_these_must_be_refused_with_file_place_and_fix(path: Path) -> None:
    begin = time.perf_counter()
    with pytest.raises(FormatError) as caught:
        read(path)
    message = str(caught.value)

    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "strict=False" in message or path.name in REFUSED
    assert len(message) < len(str(path)) + 400
    if path.name in REFUSED:
        with pytest.raises(FormatError):
            read(path, strict=False)
    else:
        trace = read(path, strict=False)
        assert trace.problems != ()
        assert_sound(trace)
    assert time.perf_counter() - begin < 20


@pytest.mark.parametrize("path", named("i_"), ids=lambda path: path.name)
def test_these_may_load_or_be_refused_but_nothing_else(path: Path) -> None:
    for strict in (True, False):
        assert_sound_or_refused(path.read_bytes(), strict)


def test_what_is_good_beside_a_bad_event_is_read() -> None:
    trace = read(BAD / "n_event_is_not_json.json", strict=False)

    assert [row.name for row in trace] == ["a"]
    assert [(problem.kind, problem.count) for problem in trace.problems] == [("unreadable", 1)]
    assert trace.problems[0].example.startswith("byte 64, event 1: it is not JSON")


def test_the_message_says_what_is_missing() -> None:
    with pytest.raises(FormatError, match=r'byte 1, event 0: it has no "ts"\. Pass strict=False to read the others\.'):
        read(BAD / "n_no_ts.json")


def test_a_bomb_takes_no_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packer.compress(b"["), *(packer.compress(b" " * (1 << 20)) for _ in range(300)), packer.flush()])
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than 268435456 bytes come out of this gzip file"):
        read_from(io.BytesIO(bomb), "t.json")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 32 << 20


def test_many_bad_events_are_one_problem() -> None:
    content = b"[" + b'{"ph":"X","ts":[]},' * 20_000 + b"]"
    trace = read_from(io.BytesIO(content), "t.json", strict=False)

    assert [(problem.kind, problem.count) for problem in trace.problems] == [("malformed", 20_000)]


def test_many_overlaps_are_laid_out_in_time() -> None:
    events = [{"ph": "X", "name": "x", "pid": 1, "tid": 1, "ts": number, "dur": 10**6} for number in range(20_000)]
    begin = time.perf_counter()
    trace = read_from(io.BytesIO(json.dumps(events).encode()), "t.json")

    assert [(problem.kind, problem.count) for problem in trace.problems] == [("overlap", 19_999)]
    assert time.perf_counter() - begin < 20


# ---- fuzz --------------------------------------------------------------------------------------------------------

phases = st.sampled_from("XBEiIRCbnestfSTpFMONDvcQ")
odd_ids: list[Any] = ["0x1", "a", 2**40, None, 1.5, 2.0, True, [], {}]
ids = st.one_of(st.integers(-2, 3), st.sampled_from(odd_ids))
odd_numbers: list[Any] = ["1.5", "x", None, 1e300, 2**62, [], True]
small = st.one_of(st.integers(-3, 12), st.floats(-10, 10), st.sampled_from(odd_numbers))
texts = st.one_of(st.sampled_from(["a", "b", "", *HOSTILE]), st.none(), st.integers())
wild = st.fixed_dictionaries(
    {"ph": phases, "ts": small},
    optional={
        "name": texts,
        "cat": texts,
        "pid": ids,
        "tid": ids,
        "dur": small,
        "id": ids,
        "id2": st.sampled_from([{"local": 1}, {"global": "0x1"}, {}, 5]),
        "scope": texts,
        "bp": st.sampled_from(["e", "x", None]),
        "bind_id": ids,
        "flow_in": st.booleans(),
        "s": st.sampled_from(["g", "p", "t", 5]),
        "args": st.one_of(st.dictionaries(st.text(max_size=3), small, max_size=3), texts),
    },
)


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(wild, max_size=12))
def test_whatever_events_say_the_trace_is_sound(events: list[dict[str, object]]) -> None:
    content = json.dumps(events).encode()
    trace = read_from(io.BytesIO(content), "t.json", strict=False)

    assert_sound(trace)


@settings(max_examples=300, deadline=2000)
@given(content=contents(), strict=st.booleans())
def test_whatever_the_bytes_there_is_a_trace_or_a_format_error(content: bytes, strict: bool) -> None:
    for whole in (b"[" + content, b'{"traceEvents":[' + content):
        assert_sound_or_refused(whole, strict)


@settings(max_examples=200, deadline=2000)
@given(content=st.binary(max_size=200), strict=st.booleans())
def test_random_bytes_are_a_trace_or_a_format_error(content: bytes, strict: bool) -> None:
    for whole in (content, b'{"' + content, b"[{" + content, b"\x1f\x8b\x08" + content):
        assert_sound_or_refused(whole, strict)
