"""The law of two cores: every kernel in C gives what its Python twin gives, to the byte.

Both are run in one process on the same rows. Bytes may be cut into chunks at other places.
"""

import gc
import random
import sys
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.protobuf import Annotations, TrackSequence
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns, Flows, Lane, Renumbered, Settled
from strategies import HOSTILE

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

INT64_MAX = 2**63 - 1
TEXTS, TRACKS, ANNOTATION_NAMES = 6, 3, 4
CHUNK_BYTES = 1 << 20

Row = tuple[int, int, int, int, int, int, int]

# Small numbers make ties, equal intervals and overlaps; the last ones are as far apart as 64 bits go.
_times = st.one_of(st.integers(0, 6), st.integers(-3000, 3000), st.integers(-(2**63), INT64_MAX))
_durs = st.one_of(st.just(0), st.integers(0, 6), st.integers(0, 10**10), st.integers(0, INT64_MAX))
_texts = st.integers(0, TEXTS - 1)
_kinds = st.sampled_from((SLICE, SLICE, SLICE, INSTANT, SLICE | CUT, INSTANT | CUT))
_rows = st.tuples(_times, _durs, _texts, _texts, _texts, st.integers(0, TRACKS - 1), _kinds)
_small_rows = st.tuples(
    st.integers(-4, 4), st.integers(0, 4), _texts, _texts, _texts, st.integers(0, TRACKS - 1), _kinds
)
given_rows = st.one_of(st.lists(_rows, max_size=30), st.lists(_small_rows, max_size=60))
any_bytes = st.one_of(
    st.sampled_from([text.encode("utf-8", "surrogatepass") for text in HOSTILE]),
    st.binary(max_size=8),
    st.integers(0, 300).map(bytes),
)


def columns_of(rows: Iterable[Row]) -> Columns:
    by_column = list(zip(*rows, strict=True)) or [()] * 7
    return Columns(*(array(code, values) for code, values in zip("qqIIIIB", by_column, strict=True)))


def copy_of(columns: Columns) -> Columns:
    return Columns(*(array(column.typecode, column) for column in columns))


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row[0], -row[1], row[6] & INSTANT))


def settled(columns: Columns) -> Columns:
    """The columns as a Trace has them: in order, and what does not nest on tracks of its own."""
    columns, _, lanes, *_ = twin.settle_rows(copy_of(columns), 1)
    made: dict[tuple[int, Lane], int] = {}
    for row, lane in lanes.items():
        columns.track[row] = made.setdefault((columns.track[row], lane), TRACKS + len(made))
    return columns


def deep(levels: int) -> Columns:
    return columns_of((level, 2 * (levels - level), level % TEXTS, 0, 0, 0, SLICE) for level in range(levels))


def threads(count: int, each: int, seed: int = 1) -> Columns:
    """Rows of threads one after the other, each in order of its own, with ties."""
    chance = random.Random(seed)  # noqa: S311 - the same rows every time
    rows: list[Row] = []
    for track in range(count):
        at = chance.randrange(50)
        for _ in range(each):
            at += chance.choice((0, 0, 1, 2, 40))
            dur = chance.choice((0, 0, 1, 5, 100))
            rows.append((at, dur, chance.randrange(TEXTS), 1, 0, track, chance.choice((SLICE, SLICE, INSTANT))))
    return columns_of(rows)


def spread(columns: Columns, tracks: int) -> list[TrackSequence]:
    """A sequence for each track, whose clock starts at its first row or a little before."""
    first = dict(zip(reversed(columns.track), reversed(columns.ts), strict=True))
    return [
        TrackSequence(track * 1000 + 2, max(first.get(track, 0) - track, -(2**63)), b"preamble %d" % track)
        for track in range(tracks)
    ]


@dataclass(frozen=True)
class File:
    """What the encoders are handed besides the columns."""

    texts: list[bytes]
    tracks: list[bytes]
    args: dict[int, bytes]
    annotations: dict[int, Annotations]
    annotation_names: list[bytes]
    flows: Flows | None = None
    site_name: int = 1

    def chrome(self, core: Any, columns: Columns) -> Iterator[bytes]:
        chunks: Iterator[bytes] = core.chrome_rows(columns, self.texts, self.tracks, self.args, self.flows)
        return chunks

    def perfetto(self, core: Any, columns: Columns) -> Iterator[bytes]:
        sequences = spread(columns, len(self.tracks))
        chunks: Iterator[bytes] = core.perfetto_rows(
            columns,
            self.texts,
            sequences,
            self.annotations,
            self.annotation_names,
            flows=self.flows,
            site_name=self.site_name,
        )
        return chunks


PLAIN = File(
    texts=[b'"%d"' % number for number in range(TEXTS)],
    tracks=[b'"pid":1,"tid":%d' % track for track in range(TRACKS)],
    args={},
    annotations={},
    annotation_names=[b"", b"stepscope:site"],
)


@st.composite
def flows_through(draw: st.DrawFn, rows: int, names: int) -> Flows:
    """Points on some of the rows, as a Trace has them; a flow may have any number of them."""
    titles = draw(st.lists(st.integers(0, names - 1), max_size=5))
    points = st.tuples(st.integers(0, rows - 1), st.integers(0, len(titles) - 1))
    drawn = sorted(draw(st.sets(points, max_size=20))) if rows and titles else []
    return Flows(array("I", (flow for _, flow in drawn)), array("I", (row for row, _ in drawn)), array("I", titles))


@st.composite
def files(draw: st.DrawFn) -> tuple[Columns, File]:
    """Settled columns, and all that the two file formats need to write them."""
    columns = settled(columns_of(draw(given_rows)))
    tracks = max(columns.track, default=-1) + 1 + draw(st.integers(0, 2))
    rows = st.integers(0, max(len(columns.ts) - 1, 0))
    names = st.lists(st.integers(1, ANNOTATION_NAMES - 1), max_size=5).map(tuple)
    with_args = bool(columns.ts)
    return columns, File(
        texts=draw(st.lists(any_bytes, min_size=TEXTS, max_size=TEXTS)),
        tracks=draw(st.lists(any_bytes, min_size=tracks, max_size=tracks)),
        args=draw(st.dictionaries(rows, any_bytes, max_size=8 * with_args)),
        annotations=draw(st.dictionaries(rows, st.builds(Annotations, any_bytes, names), max_size=8 * with_args)),
        annotation_names=draw(st.lists(any_bytes, min_size=ANNOTATION_NAMES, max_size=ANNOTATION_NAMES)),
        flows=draw(st.one_of(st.none(), flows_through(len(columns.ts), TEXTS))),
    )


# Through rows 1, 3 and 7, and from 3 to 7.
ARROWS = Flows(array("I", [0, 0, 1, 0, 1]), array("I", [1, 3, 3, 7, 7]), array("I", [5, 2]))


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or that it fails."""
    try:
        return call()
    except (ValueError, OverflowError):
        return "fails"


@given(given_rows, st.sampled_from((0, 1, 3, 10**6)))
def test_settle_is_its_twin(rows: list[Row], tick_ns: int) -> None:
    columns = columns_of(rows)
    expected = twin.settle_rows(copy_of(columns), tick_ns)
    actual = native.settle_rows(columns, tick_ns)

    assert actual == expected
    assert list(actual.lanes) == list(expected.lanes)
    assert [type(value) for value in actual] == [type(value) for value in expected]


@given(given_rows)
def test_settle_leaves_rows_that_are_in_order(rows: list[Row]) -> None:
    """No permutation is returned, and the very columns that were given."""
    columns = columns_of(in_order(rows))
    actual = native.settle_rows(columns, 1)

    assert actual.order is None
    assert actual.columns is columns
    assert actual == twin.settle_rows(columns_of(in_order(rows)), 1)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_settle_merges_threads(count: int) -> None:
    columns = threads(count, 6400 // count)

    assert native.settle_rows(copy_of(columns), 2) == twin.settle_rows(columns, 2)


def test_settle_sorts_rows_that_come_backwards_and_at_once() -> None:
    """Rows in order of their ends, as some files have them, and thousands at one time."""
    columns = threads(3, 2000)
    backwards = Columns(*(array(column.typecode, reversed(column)) for column in columns))
    at_once = columns_of((7, row % 50, 0, 0, 0, 0, row % 2) for row in range(5000))

    for given_columns in (backwards, at_once):
        assert native.settle_rows(copy_of(given_columns), 1) == twin.settle_rows(given_columns, 1)


def test_settle_moves_what_is_too_deep() -> None:
    actual = native.settle_rows(deep(1200), 1)

    assert actual == twin.settle_rows(deep(1200), 1)
    assert actual.lanes[600] == Lane("depth", 1)
    assert actual.lanes[1100] == Lane("depth", 2)
    assert isinstance(actual, Settled)
    assert isinstance(actual.lanes[600], Lane)


@given(given_rows)
def test_renumber_is_its_twin(rows: list[Row]) -> None:
    columns = columns_of(rows)
    expected = twin.renumber_rows(copy_of(columns))
    actual = native.renumber_rows(columns)

    assert actual == expected
    assert isinstance(actual, Renumbered)


def test_renumber_takes_sparse_ids() -> None:
    columns = columns_of((0, 0, 10**6 - row, 5 * row, 2**20, 10**5 * row, SLICE) for row in range(2000))

    assert native.renumber_rows(copy_of(columns)) == twin.renumber_rows(columns)


@given(given_rows)
def test_nest_is_its_twin(rows: list[Row]) -> None:
    columns = settled(columns_of(rows))

    assert native.nest_rows(columns) == twin.nest_rows(columns)


@given(st.lists(_small_rows, max_size=60))
def test_nest_is_its_twin_where_rows_overlap(rows: list[Row]) -> None:
    columns = columns_of(in_order(rows))

    assert native.nest_rows(columns) == twin.nest_rows(columns)


def test_nest_goes_deep() -> None:
    parent, own = native.nest_rows(deep(1200))

    assert parent == array("q", range(-1, 1199))
    assert own == array("q", [2] * 1200)


@given(files())
def test_chrome_is_its_twin(drawn: tuple[Columns, File]) -> None:
    columns, file = drawn

    assert b"".join(file.chrome(native, columns)) == b"".join(file.chrome(twin, columns))


@given(files())
def test_perfetto_is_its_twin(drawn: tuple[Columns, File]) -> None:
    columns, file = drawn

    assert b"".join(file.perfetto(native, columns)) == b"".join(file.perfetto(twin, columns))


@given(st.lists(_small_rows, max_size=12))
def test_perfetto_refuses_the_rows_that_its_twin_refuses(rows: list[Row]) -> None:
    """Time would go back: the rows are out of order, or overlap. All others are encoded, and the same."""
    columns = columns_of(rows)

    assert outcome(lambda: b"".join(PLAIN.perfetto(native, columns))) == outcome(
        lambda: b"".join(PLAIN.perfetto(twin, columns))
    )


@given(st.integers(-(2**63), INT64_MAX), st.integers(0, INT64_MAX))
def test_chrome_prints_any_time(ts: int, dur: int) -> None:
    columns = columns_of([(ts, dur, 0, 0, 0, 0, SLICE)])

    assert b"".join(PLAIN.chrome(native, columns)) == b"".join(PLAIN.chrome(twin, columns))


@pytest.mark.parametrize("digits", range(19))
def test_chrome_prints_every_number_of_digits(digits: int) -> None:
    times = [sign * (10**digits + step) for sign in (1, -1) for step in (-1, 0, 1)]
    columns = columns_of((ts, abs(ts), 0, 0, 0, 0, SLICE) for ts in times)

    assert b"".join(PLAIN.chrome(native, columns)) == b"".join(PLAIN.chrome(twin, columns))


LARGE = File(
    texts=[b'"%s"' % (b"%d" % number * 10 ** (number + 1)) for number in range(TEXTS)],
    tracks=[b"t" * (3 * CHUNK_BYTES), b'"pid":1,"tid":2', b""],
    args={0: b"a" * (2 * CHUNK_BYTES), 1000: b"b"},
    annotations={
        0: Annotations(b"a" * (2 * CHUNK_BYTES), (1, 2, 1, 3)),
        900: Annotations(b"", (1,) * 50),
        1000: Annotations(b"b" * 70, ()),
    },
    annotation_names=[b"", b"n" * CHUNK_BYTES, b"", b"short"],
)


@pytest.mark.parametrize("write", [File.chrome, File.perfetto])
@pytest.mark.parametrize("columns", [deep(1200), settled(threads(1, 20000))], ids=["deep", "long"])
def test_texts_larger_than_a_chunk(write: Callable[[File, Any, Columns], Iterator[bytes]], columns: Columns) -> None:
    columns = columns._replace(name=array("I", (0 if row % 500 else 5 - row // 5000 for row in range(len(columns.ts)))))
    columns = columns._replace(track=array("I", [1]) * len(columns.ts))
    columns = settled(columns)
    columns.track[0] = 0
    file = LARGE if max(columns.track) < TRACKS else None
    if file is None:
        file = File(**{**vars(LARGE), "tracks": [*LARGE.tracks, *[b"lane"] * max(columns.track)]})
    chunks = list(write(file, native, columns))

    assert b"".join(chunks) == b"".join(write(file, twin, columns))
    assert b"" not in chunks


@pytest.mark.parametrize("write", [File.chrome, File.perfetto])
def test_chunks_are_of_about_a_mebibyte(write: Callable[[File, Any, Columns], Iterator[bytes]]) -> None:
    columns = columns_of((row, 1, 0, 0, 0, 0, SLICE) for row in range(200_000))
    sizes = [len(chunk) for chunk in write(PLAIN, native, columns)]

    assert len(sizes) > 3
    assert all(CHUNK_BYTES - 1000 < size <= CHUNK_BYTES for size in sizes[:-1])


@pytest.mark.parametrize("write", [File.chrome, File.perfetto])
def test_no_rows(write: Callable[[File, Any, Columns], Iterator[bytes]]) -> None:
    columns = Columns.empty()

    assert b"".join(write(PLAIN, native, columns)) == b"".join(write(PLAIN, twin, columns))


def test_args_of_any_mapping() -> None:
    columns = deep(3)
    args: Mapping[int, bytes] = MappingProxyType({2: b'"b":2', 0: b'"a":1'})
    call = (columns, PLAIN.texts, tuple(PLAIN.tracks), args)

    assert b"".join(native.chrome_rows(*call)) == b"".join(twin.chrome_rows(*call))


def broken(**changed: Any) -> Columns:
    return deep(3)._replace(**changed)


SHARED = array("I", [0, 0, 0])
BAD_COLUMNS = [
    (tuple(deep(3)), TypeError, "columns: must be a stepscope.core.rows.Columns, not tuple"),
    (None, TypeError, "columns: must be a stepscope.core.rows.Columns, not NoneType"),
    (broken(ts=array("I", [1, 2, 3])), TypeError, "columns.ts: must be an array of typecode 'q', not 'I'"),
    (broken(dur=[1, 2, 3]), TypeError, "columns.dur: must be an array of typecode 'q', not list"),
    (broken(kind=array("b", [0, 0, 0])), TypeError, "columns.kind: must be an array of typecode 'B', not 'b'"),
    (broken(kind=array("B", [0])), ValueError, "columns.kind has 1 rows, columns.ts has 3"),
    (broken(ts=array("q")), ValueError, "columns.dur has 3 rows, columns.ts has 0"),
]
WRITTEN_COLUMNS = [
    *BAD_COLUMNS,
    (broken(kind=b"\0\0\0"), BufferError, "not writable"),
    (broken(name=SHARED, site=SHARED), ValueError, "columns.name and columns.site share memory"),
]
BAD_TRACK = broken(track=array("I", [0, 2**28, 0]))
NEGATIVE = broken(dur=array("q", [6, 4, -5]))
Bad = tuple[Any, type[Exception], str]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        *WRITTEN_COLUMNS,
        (BAD_TRACK, ValueError, "row 1: columns.track is 268435456, but ids count from 0 and end below 2"),
        (NEGATIVE, ValueError, "row 2: columns.dur is negative"),
    ],
)
def test_settle_says_what_is_wrong(columns: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native.settle_rows(columns, 1)


def test_settle_wants_a_tick() -> None:
    with pytest.raises(TypeError):
        native.settle_rows(deep(3), 1.5)
    with pytest.raises(TypeError):
        native.settle_rows(deep(3))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        *WRITTEN_COLUMNS,
        (BAD_TRACK, ValueError, "row 1: columns.track is 268435456"),
        (broken(name=array("I", [0, 1, 2**32 - 1])), ValueError, "row 2: columns.name is 4294967295"),
    ],
)
def test_renumber_says_what_is_wrong(columns: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native.renumber_rows(columns)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        *BAD_COLUMNS,
        (BAD_TRACK, ValueError, "row 1: columns.track is 268435456"),
        (NEGATIVE, ValueError, "row 2: columns.dur is negative"),
        (broken(ts=array("q", [0, 2, 1])), ValueError, "row 2 begins before row 1: rows must be settled"),
    ],
)
def test_nest_says_what_is_wrong(columns: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native.nest_rows(columns)


NO_SUCH_TEXT = array("I", [0, TEXTS, 0])
BAD_IDS = [
    ({"columns": broken(name=NO_SUCH_TEXT)}, ValueError, "row 1: columns.name is 6, but there are 6 of them"),
    ({"columns": broken(cat=NO_SUCH_TEXT)}, ValueError, "row 1: columns.cat is 6, but there are 6 of them"),
    ({"columns": broken(site=NO_SUCH_TEXT)}, ValueError, "row 1: columns.site is 6, but there are 6 of them"),
    ({"columns": broken(track=NO_SUCH_TEXT)}, ValueError, "row 1: columns.track is 6, but there are 3 of them"),
    ({"texts": ["text"]}, TypeError, r"texts\[0\]: must be bytes, not str"),
    ({"texts": 5}, TypeError, "not iterable"),
    ({"texts": []}, ValueError, "row 0: columns.name is 0, but there are 0 of them"),
    ({"args": {"0": b""}}, TypeError, "args: keys must be row numbers, not str"),
    ({"args": 5}, TypeError, "args: must be a mapping of row -> value, not int"),
]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        *[({"columns": columns}, error, message) for columns, error, message in BAD_COLUMNS],
        *BAD_IDS,
        ({"tracks": [b"", None]}, TypeError, r"tracks\[1\]: must be bytes, not NoneType"),
        ({"args": {0: "text"}}, TypeError, "args: values must be bytes, not str"),
        ({"args": {3: b""}}, ValueError, r"args\[3\]: there is no such row, there are 3"),
        ({"args": {-1: b""}}, ValueError, r"args\[-1\]: there is no such row"),
        ({"args": {2**64: b""}}, ValueError, r"args\[18446744073709551616\]: there is no such row"),
    ],
)
def test_chrome_says_what_is_wrong(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    right = {"columns": deep(3), "texts": PLAIN.texts, "tracks": PLAIN.tracks, "args": {}}
    with pytest.raises(error, match=message):
        native.chrome_rows(**{**right, **changed})


def flows_of(points: Iterable[tuple[int, int]], names: Iterable[int]) -> Flows:
    """Of (flow, row) each."""
    both = list(points)
    return Flows(array("I", (flow for flow, _ in both)), array("I", (row for _, row in both)), array("I", names))


BACKWARDS = flows_of([(0, 2), (0, 1)], [0])
BAD_FLOWS: list[Bad] = [
    ((array("I"),) * 3, TypeError, "flows: must be a stepscope.core.rows.Flows, not tuple"),
    (flows_of([], [])._replace(flow=array("q")), TypeError, "flows.flow: must be an array of typecode 'I', not 'q'"),
    (flows_of([], [])._replace(name=array("q")), TypeError, "flows.name: must be an array of typecode 'I', not 'q'"),
    (flows_of([(0, 0)], [0])._replace(row=array("I")), ValueError, "flows has 1 flow, 0 row and 1 name"),
    (flows_of([(0, 0), (1, 1)], [0]), ValueError, r"flows.flow\[1\] is 1, but there are 1 flows"),
    (flows_of([(0, 0), (0, 3)], [0]), ValueError, r"flows.row\[1\] is 3, but there are 3 rows"),
    (flows_of([(0, 0), (0, 1)], [2**32 - 1]), ValueError, r"flows.name\[0\] is 4294967295, but there are \d+ of them"),
    (BACKWARDS, ValueError, r"flows.row\[1\] is 1, which stands behind 2: points must be sorted"),
]


@pytest.mark.parametrize(("flows", "error", "message"), BAD_FLOWS)
def test_both_formats_say_what_is_wrong_with_flows(flows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native.chrome_rows(deep(3), PLAIN.texts, PLAIN.tracks, {}, flows)
    with pytest.raises(error, match=message):
        native.perfetto_rows(**PERFETTO, flows=flows)


def test_a_row_may_have_more_flows_than_fit_into_a_chunk() -> None:
    points = 30_000
    flows = flows_of([(flow, row) for row in (0, 2) for flow in range(points)], [1] * points)
    file = File(**{**vars(PLAIN), "flows": flows, "texts": [b"long " * 20] * TEXTS})
    assert points * 100 > CHUNK_BYTES

    assert b"".join(file.chrome(native, deep(3))) == b"".join(file.chrome(twin, deep(3)))
    assert b"".join(file.perfetto(native, deep(3))) == b"".join(file.perfetto(twin, deep(3)))


def test_flows_are_cut_into_chunks_anywhere() -> None:
    columns = columns_of((row, 1, row % TEXTS, 1, 0, 0, SLICE) for row in range(20_000))
    flows = flows_of([(row // 2 % 5000, row) for row in range(0, 20_000, 2)], [row % TEXTS for row in range(5000)])
    file = File(**{**vars(PLAIN), "flows": flows})
    chunks = list(file.chrome(native, columns))

    assert len(chunks) > 1
    assert b"".join(chunks) == b"".join(file.chrome(twin, columns))


PERFETTO = {
    "columns": deep(3),
    "texts": PLAIN.texts,
    "sequences": [TrackSequence(2 + track, 0, b"") for track in range(TRACKS)],
    "args": {},
    "annotation_names": [b"", b"name"],
    "site_name": 1,
}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        *[({"columns": columns}, error, message) for columns, error, message in BAD_COLUMNS],
        *BAD_IDS,
        ({"sequences": [(1, 2)]}, TypeError, r"sequences\[0\]: must be a TrackSequence"),
        ({"sequences": [(1, 2, "")]}, TypeError, r"sequences\[0\]: must be a TrackSequence"),
        ({"sequences": [(-1, 2, b"")]}, ValueError, r"sequences\[0\]: number must not be negative"),
        ({"sequences": [(1, 2**64, b"")]}, ValueError, r"sequences\[0\]: number must not be negative, nor"),
        ({"args": {0: b""}}, TypeError, "args: values must be Annotations"),
        ({"args": {0: (b"", [1])}}, TypeError, "args: values must be Annotations"),
        ({"args": {0: (b"", (2,))}}, ValueError, "args: 2 is no annotation name, there are 2"),
        ({"args": {0: (b"", (-1,))}}, ValueError, "args: -1 is no annotation name"),
        ({"args": {0: (b"", ("name",))}}, ValueError, "args: 'name' is no annotation name"),
        ({"args": {3: (b"", ())}}, ValueError, r"args\[3\]: there is no such row, there are 3"),
        ({"site_name": 2}, ValueError, "site_name: 2 is no annotation name, there are 2"),
        (
            {"columns": broken(site=array("I", [0, 1, 0])), "site_name": 0},
            ValueError,
            "row 1 has a site, and site_name is 0",
        ),
        ({"annotation_names": [0]}, TypeError, r"annotation_names\[0\]: must be bytes, not int"),
    ],
)
def test_perfetto_says_what_is_wrong(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native.perfetto_rows(**{**PERFETTO, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sequences": [(1, 1, b"")]}, r"row 0 begins before the clock of sequences\[0\] starts, start_ns 1"),
        ({"columns": broken(ts=array("q", [0, 2, 1]))}, "row 2 begins before the row before it on track 0"),
        ({"columns": broken(dur=array("q", [6, 6, 0]))}, "row 1 ends after the slice it begins in, on track 0"),
        ({"columns": NEGATIVE}, "row 2: columns.dur is negative"),
    ],
)
def test_perfetto_says_which_row_goes_back_in_time(changed: dict[str, Any], message: str) -> None:
    chunks = native.perfetto_rows(**{**PERFETTO, **changed})
    with pytest.raises(ValueError, match=message):
        next(chunks)
    assert list(chunks) == []


ITERATORS: list[Callable[[Columns], Iterator[bytes]]] = [
    lambda columns: PLAIN.chrome(native, columns),
    lambda columns: PLAIN.perfetto(native, columns),
]


@pytest.mark.parametrize("rows_of", ITERATORS)
def test_columns_are_held_until_the_iterator_dies(rows_of: Callable[[Columns], Iterator[bytes]]) -> None:
    columns = deep(3)
    chunks = rows_of(columns)
    with pytest.raises(BufferError):
        columns.ts.append(1)
    assert len(list(chunks)) == 1
    with pytest.raises(BufferError):
        columns.ts.append(1)
    del chunks
    columns.ts.append(1)


@pytest.mark.parametrize("rows_of", ITERATORS)
def test_ids_changed_behind_an_iterators_back(rows_of: Callable[[Columns], Iterator[bytes]]) -> None:
    """Columns are held against being resized, not against being written to: no table is read out of bounds."""
    columns = columns_of((row, 1, 0, 0, 0, 0, SLICE) for row in range(200_000))
    chunks = rows_of(columns)
    next(chunks)
    columns.name[-1] = 2**32 - 1
    with pytest.raises(ValueError, match="row 199999: its ids were changed"):
        list(chunks)
    assert list(chunks) == []


@pytest.mark.parametrize("rows_of", ITERATORS)
def test_threads_can_share_an_iterator(rows_of: Callable[[Columns], Iterator[bytes]]) -> None:
    """Whoever comes while another thread is in the middle of a chunk is told so; each chunk is handed out once."""
    columns = columns_of((row, 1, row % TEXTS, 1, 0, 0, SLICE) for row in range(300_000))
    chunks = rows_of(columns)
    taken: list[bytes] = []

    def take() -> None:
        while True:
            try:
                taken.append(next(chunks))
            except StopIteration:  # noqa: PERF203 - the end is what is waited for
                return
            except ValueError as error:
                assert "another thread is in the middle of a chunk" in str(error)  # noqa: PT017 - or it is retried

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()

    assert sorted(taken) == sorted(rows_of(columns))


class Kinds(bytearray):
    """A column that can be part of a cycle."""

    around: Any


@pytest.mark.parametrize("rows_of", ITERATORS)
def test_an_iterator_in_a_cycle_is_collected(rows_of: Callable[[Columns], Iterator[bytes]]) -> None:
    kinds = Kinds(3)
    gone = weakref.ref(kinds)
    kinds.around = rows_of(deep(3)._replace(kind=kinds))  # type: ignore[arg-type]
    del kinds
    gc.collect()

    assert gone() is None


def every_kernel(columns: Columns, file: File) -> None:
    """All kernels once, iterators to the end and half way, and a failure of each."""
    native.settle_rows(columns, 1)
    native.renumber_rows(columns)
    native.nest_rows(columns)
    for chunks in (file.chrome(native, columns), file.perfetto(native, columns)):
        list(chunks)
    next(file.chrome(native, columns))
    next(file.perfetto(native, columns))
    unsorted = threads(3, 4)
    native.settle_rows(unsorted, 0)
    for bad in (NEGATIVE, BAD_TRACK):
        for kernel in (lambda bad: native.settle_rows(bad, 1), native.nest_rows):
            with pytest.raises(ValueError, match="columns"):
                kernel(bad)
    with pytest.raises(ValueError, match="no such row"):
        native.chrome_rows(columns, file.texts, file.tracks, {0: b"", 10**6: b""})
    with pytest.raises(ValueError, match="points must be sorted"):
        native.chrome_rows(columns, file.texts, file.tracks, {}, BACKWARDS)
    with pytest.raises(ValueError, match="no annotation name"):
        native.perfetto_rows(columns, file.texts, spread(columns, 1), {0: Annotations(b"", (99,))}, [])


def test_no_kernel_leaks() -> None:
    """A thousand rounds leave memory and reference counts as they were."""
    columns = deep(20)
    file = File(
        **{**vars(PLAIN), "args": {1: b"1", 7: b"7"}, "annotations": {3: Annotations(b"3", (0, 0))}, "flows": ARROWS},
    )
    objects: list[Any] = [*columns, columns, *file.texts, *file.tracks, file.args, file.args[1], file.annotations[3]]
    objects += [None, Columns, Settled, Lane, Renumbered, Flows, ARROWS, *ARROWS, *NEGATIVE, *BAD_TRACK]
    every_kernel(columns, file)
    before = [sys.getrefcount(thing) for thing in objects]
    left = left_by(lambda: every_kernel(columns, file))
    after = [sys.getrefcount(thing) for thing in objects]

    assert left < MOST_LEFT
    # None is counted by whatever else runs.
    assert all(abs(now - then) < 20 for now, then in zip(after, before, strict=True))


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="allocations can be made to fail in CPython only")
@pytest.mark.parametrize("kernel", ["settle", "renumber", "nest", "chrome", "perfetto"])
def test_an_allocation_that_fails_is_a_memory_error(kernel: str) -> None:
    """Each allocation of a kernel fails once; the next call is none the worse."""
    file = File(
        **{**vars(PLAIN), "args": {1: b"1", 7: b"7"}, "annotations": {3: Annotations(b"3", (0, 0))}, "flows": ARROWS},
    )
    calls: dict[str, Callable[[Any, Columns], Any]] = {
        "settle": lambda core, columns: core.settle_rows(columns, 0),
        "renumber": lambda core, columns: core.renumber_rows(columns),
        "nest": lambda core, columns: core.nest_rows(columns),
        "chrome": lambda core, columns: b"".join(file.chrome(core, columns)),
        "perfetto": lambda core, columns: b"".join(file.perfetto(core, columns)),
    }
    call = calls[kernel]
    given_columns = threads(3, 40) if kernel in ("settle", "renumber") else deep(40)
    expected = call(twin, copy_of(given_columns))
    failures = failures_of(
        call,
        expected,
        upto=400,
        given=lambda: (native, copy_of(given_columns)),
    )
    assert failures > 5
