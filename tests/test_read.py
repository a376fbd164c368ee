"""Reading any file: which format it is, what gzip may hold, and what an error says."""

import gzip
import io
import json
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

import stepscope
from stepscope import FormatError, Trace, core, read, write
from stepscope.formats import source
from stepscope.formats.files import FORMATS, read_from
from stepscope.formats.source import Source
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin
from test_files import small_trace

EVENTS = [{"ph": "X", "name": f"n{number}", "pid": 1, "tid": 2, "ts": number, "dur": 0.5} for number in range(200)]
ARRAY = json.dumps(EVENTS).encode()
OBJECT = json.dumps({"first": [1, {"a": "]}"}], "traceEvents": EVENTS, "last": "x"}).encode()


def load(content: bytes, *, strict: bool = True, max_bytes: int | None = None) -> Trace:
    return read_from(io.BytesIO(content), "t.json", strict=strict, max_bytes=max_bytes)


def refusal(content: bytes, *, strict: bool = True, max_bytes: int | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        load(content, strict=strict, max_bytes=max_bytes)
    return str(caught.value)


def test_read_is_public() -> None:
    assert "read" in stepscope.__all__
    assert stepscope.read is read


def test_a_file_is_known_by_what_is_in_it_not_by_its_name(tmp_path: Path) -> None:
    trace = small_trace()
    written = write(trace, tmp_path / "t.json.gz")
    renamed = written.rename(tmp_path / "t.pftrace")

    assert read(renamed) == trace
    assert read(str(renamed)) == trace


@pytest.mark.parametrize("content", [b"\x7fELF\0\0", b"# a text", b'"a string"', b"\0" * 64, b"[1, 2]", b"1", b"{x}"])
def test_what_is_no_trace_is_refused_even_when_not_strict(content: bytes) -> None:
    for strict in (True, False):
        message = refusal(content, strict=strict)
        assert message.startswith("t.json: byte 0: ")
        assert message.endswith(
            "is the beginning of no trace. "
            "Give a file of Chrome JSON or Perfetto protobuf, plain or compressed with gzip."
        )


def test_json_without_events_is_refused_even_when_not_strict() -> None:
    for strict in (True, False):
        assert refusal(b'{"name": "package"}', strict=strict) == (
            't.json: it is JSON without "traceEvents". Give a trace: an object with that key, or an array of events.'
        )


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("content", [ARRAY, OBJECT], ids=["array", "object"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \n\t"])
def test_both_forms_hold_the_same_events(content: bytes, before: bytes) -> None:
    trace = load(before + content + b"\n ")

    assert len(trace) == 200
    assert trace.problems == ()


def test_what_a_file_says_beside_its_events_may_stand_behind_them() -> None:
    assert load(OBJECT).origin.metadata == {"first": [1, {"a": "]}"}], "last": "x"}


@pytest.mark.parametrize("space", ["", " ", "\n\r\t ", "  \n" * 700_000], ids=["none", "one", "some", "2 MB"])
def test_any_space_may_stand_between_events(space: str) -> None:
    """Pieces of a file end anywhere, also in space."""
    content = "[" + json.dumps(EVENTS[0]) + space + "," + space + json.dumps(EVENTS[1]) + space + "]" + space

    assert len(load(content.encode())) == 2


# ---- truncated ---------------------------------------------------------------------------------------------------


def whole_events(content: bytes) -> int:
    """How many of EVENTS end within some bytes."""
    return content.count(b"0.5}")


@pytest.mark.parametrize("content", [ARRAY, OBJECT], ids=["array", "object"])
@pytest.mark.parametrize("piece_bytes", [1 << 20, 7])
def test_a_file_cut_anywhere_gives_every_whole_event_before_the_cut(
    content: bytes, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PIECE_BYTES", piece_bytes)
    monkeypatch.setattr(source, "HEAD_BYTES", 20)
    for end in (*range(60), *range(60, len(content), 41), *range(len(content) - 40, len(content))):
        cut = content[:end]
        trace = load(cut, strict=False)

        assert len(trace) == whole_events(cut)
        assert [(problem.kind, problem.count) for problem in trace.problems] == [("truncated", 1)]
        message = refusal(cut)
        assert message.startswith("t.json: byte ")
        assert message.endswith("The file may be truncated; pass strict=False to read what is before it.")


def test_the_error_names_byte_and_event() -> None:
    cut = ARRAY[: ARRAY.index(b'"n3"')]
    start = cut.rindex(b"{")

    assert refusal(cut) == (
        f"t.json: byte {start}, event 3: the file ends in an event. "
        "The file may be truncated; pass strict=False to read what is before it."
    )
    trace = load(cut, strict=False)
    assert trace.problems[0].example == f"byte {start}, event 3: the file ends in an event"


def test_an_array_that_is_never_closed_is_taken_for_a_truncated_one() -> None:
    """The format lets a writer leave the bracket out; but so does one that was killed."""
    assert "event 200: the file ends before the array does" in refusal(ARRAY[:-1])
    assert "event 200: the file ends before the array does" in refusal(ARRAY[:-1] + b",\n")


def test_gzip_cut_anywhere_gives_every_whole_event_before_the_cut() -> None:
    packed = gzip.compress(OBJECT, mtime=0)
    counts = []
    for end in range(len(packed)):
        trace = load(packed[:end], strict=False)
        counts.append(len(trace))
        inside = zlib.decompressobj(31).decompress(packed[:end])

        assert len(trace) == whole_events(inside)
        assert {problem.kind for problem in trace.problems} <= {"truncated", "damaged"}
        assert trace.problems != ()
        assert refusal(packed[:end]).startswith("t.json: byte ")
    assert counts[-1] == 200


def test_gzip_with_a_flipped_bit_gives_what_is_before_it() -> None:
    packed = bytearray(gzip.compress(OBJECT, mtime=0))
    packed[-8] ^= 1  # of the checksum: all content came out before
    trace = load(bytes(packed), strict=False)

    assert len(trace) == 200
    assert [problem.kind for problem in trace.problems] == ["damaged"]
    assert "the gzip data is damaged" in refusal(bytes(packed))


def test_a_compressed_pftrace_says_that_its_end_is_missing() -> None:
    """Its packets may all be there: only the compression knows."""
    packed = gzip.compress(b"".join(FORMATS["perfetto"].encode(small_trace())), mtime=0)[:-4]
    trace = load(packed, strict=False)

    assert len(trace) == 3
    assert [problem.kind for problem in trace.problems] == ["compression", "cut"]
    assert "the gzip data ends early. Pass strict=False to read what is before it." in refusal(packed)


def test_gzip_members_follow_one_another_and_zeros_may_pad_them() -> None:
    packed = gzip.compress(OBJECT[:700]) + gzip.compress(OBJECT[700:]) + b"\0" * 512

    assert len(load(packed)) == 200


# ---- limits ------------------------------------------------------------------------------------------------------


def test_what_comes_out_of_gzip_is_limited() -> None:
    packed = gzip.compress(OBJECT)
    message = refusal(packed, max_bytes=1000)

    assert message == (
        "t.json: byte 1000: more than 1000 bytes come out of this gzip file. "
        "If it is not made to fill your memory, pass a larger max_bytes."
    )
    assert message == refusal(packed, strict=False, max_bytes=1000)
    assert len(load(packed, max_bytes=len(OBJECT))) == 200
    assert len(load(OBJECT, max_bytes=10)) == 200  # it is as large as it seems


def test_a_bomb_is_stopped_by_its_ratio_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FREE_BYTES", 4 << 20)
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    message = refusal(bomb)
    limit = 400 * len(bomb)

    assert len(bomb) < 100_000
    assert message.startswith(f"t.json: byte {limit}: more than {limit} bytes come out of this gzip file.")
    assert "and 400 times the compressed size" in message
    assert len(load(bomb, max_bytes=100 << 20)) == 0


def test_a_bomb_in_a_bomb_is_no_trace() -> None:
    assert "is the beginning of no trace" in refusal(gzip.compress(gzip.compress(b"[" + b" " * (1 << 20))))


def test_a_large_file_is_read_within_three_times_its_size_and_its_time(tmp_path: Path) -> None:
    """A million slices in 3 s, and in five times that by the Python core; a part of them here."""
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "python")
    native = core.info().name == "c"
    for number in range(200_000 if native else 20_000):
        builder.slice(track, f"function {number % 100}", number * 1000, 900)
    trace = builder.build()
    content = b"".join(FORMATS["chrome"].encode(trace))
    path = tmp_path / "t.json"
    path.write_bytes(content)
    begin = time.perf_counter()
    assert read(path) == trace
    taken = time.perf_counter() - begin
    tracemalloc.start()
    read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * len(content)
    assert taken < (1.2 if native else 0.6)  # twice what it may be: the machine may have others to serve


def test_a_source_gives_pieces_and_its_head_again() -> None:
    content = bytes(range(256)) * 20_000
    for packed in (content, gzip.compress(content)):
        from_file = Source(io.BytesIO(packed), "x")

        assert from_file.head == content[:4096]
        assert from_file.rest() == content
        assert from_file.read() == b""
