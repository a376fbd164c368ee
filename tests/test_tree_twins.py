"""The law of two cores, for the kernels of comparison: C gives what Python gives, and says what is wrong."""

from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.rows import INSTANT, SLICE, Columns
from stepscope.core.trees import Labels, PathIds, PathTimes, Trees
from test_twins import TEXTS, Row, columns_of, copy_of, deep, given_rows, settled, threads

if TYPE_CHECKING:
    from collections.abc import Callable

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

_bits = st.integers(0, 2**64 - 1)


def labels_for(columns: Columns, names: list[int], cats: list[int], args: list[int]) -> Labels:
    by_row = [args[row % len(args)] for row in range(len(columns.ts))]
    return Labels(array("Q", names), array("Q", cats), array("Q", by_row))


def plain_labels(columns: Columns) -> Labels:
    return labels_for(columns, list(range(TEXTS)), list(range(TEXTS)), [0, 0, 5])


def apart(parent: "array[int]", every: int) -> "array[int]":
    """Some rows set apart from their parents."""
    return array("q", (-2 - p if p >= 0 and row % every == 0 else p for row, p in enumerate(parent)))


def tables(columns: Columns) -> PathIds:
    """Keys, of which two names share one; groups, of which all tracks but the first share one; steps."""
    keys = array("I", [number // 2 for number in range(TEXTS)])
    groups = array("I", [0] + [1] * max(columns.track, default=0))
    return PathIds(keys, groups, array("I", (row % 3 for row in range(len(columns.ts)))))


@given(
    given_rows,
    st.lists(_bits, min_size=TEXTS, max_size=TEXTS),
    st.lists(_bits, min_size=TEXTS, max_size=TEXTS),
    st.lists(_bits, min_size=1, max_size=3),
    st.integers(1, 9),
)
def test_hashes_are_their_twin(rows: list[Row], names: list[int], cats: list[int], args: list[int], every: int) -> None:
    columns = settled(columns_of(rows))
    labels, parent = labels_for(columns, names, cats, args), apart(twin.nest_rows(columns)[0], every)
    for ordered in (True, False):
        actual = native.hash_trees(columns, parent, labels, ordered=ordered)

        assert actual == twin.hash_trees(columns, parent, labels, ordered=ordered)
        assert isinstance(actual, Trees)


@given(given_rows, st.integers(1, 9))
def test_times_are_their_twin(rows: list[Row], every: int) -> None:
    columns = settled(columns_of(rows))
    parent, own = twin.nest_rows(columns)
    args = (columns, own, apart(parent, every), tables(columns))
    actual = native.time_paths(*args)

    assert actual == twin.time_paths(*args)
    assert isinstance(actual, PathTimes)


def test_tables_that_grow_are_their_twin() -> None:
    """More paths and cells than the first tables have room for."""
    columns = settled(threads(3, 4000))
    parent, own = twin.nest_rows(columns)
    ids = tables(columns)._replace(steps=array("I", range(len(columns.ts))))

    assert native.time_paths(columns, own, parent, ids) == twin.time_paths(columns, own, parent, ids)


def forest(*rows: tuple[int, int, int], args: dict[int, int] | None = None, kind: int = SLICE) -> Trees:
    """Hashes of (name, ts, dur) rows on one track."""
    columns = columns_of((ts, dur, name, 0, 0, 0, kind) for name, ts, dur in rows)
    by_row = [(args or {}).get(row, 0) for row in range(len(rows))]
    labels = Labels(array("Q", range(100, 106)), array("Q", [7]), array("Q", by_row))
    return twin.hash_trees(columns, twin.nest_rows(columns)[0], labels, ordered=True)


def test_equal_subtrees_have_equal_hashes_wherever_they_stand() -> None:
    trees = forest((0, 0, 10), (1, 1, 2), (2, 5, 4), (1, 20, 1))

    assert trees.full[1] == trees.full[3] != trees.full[2]
    assert [inner == 0 for inner in trees.inner] == [False, True, True, True]


def test_order_name_args_and_kind_each_change_a_hash() -> None:
    plain = forest((0, 0, 10), (1, 1, 2), (2, 5, 4))
    swapped = forest((0, 0, 10), (2, 1, 2), (1, 5, 4))
    with_args = forest((0, 0, 10), (1, 1, 2), (2, 5, 4), args={1: 9})

    assert plain.full[0] != swapped.full[0]
    assert plain.shape[0] != swapped.shape[0]
    assert plain.full[0] != with_args.full[0]
    assert plain.shape[0] == with_args.shape[0]
    assert forest((1, 0, 0)).shape[0] != forest((1, 0, 0), kind=INSTANT).shape[0]


def test_what_is_set_apart_is_not_in_the_hash_of_what_is_around_it() -> None:
    columns = columns_of([(0, 10, 0, 0, 0, 0, SLICE), (1, 2, 1, 0, 0, 0, SLICE)])
    labels = plain_labels(columns)
    alone = twin.hash_trees(
        columns_of([(0, 10, 0, 0, 0, 0, SLICE)]), array("q", [-1]), plain_labels(deep(1)), ordered=True
    )
    trees = twin.hash_trees(columns, array("q", [-1, -2]), labels, ordered=True)

    assert trees.full[0] == alone.full[0]


def test_sums_end_where_64_bits_do() -> None:
    most = 2**62 - 1
    columns = columns_of((track, most, 1, 0, 0, track, SLICE) for track in range(4))
    parent, own = twin.nest_rows(columns)
    ids = PathIds(array("I", range(6)), array("I", [0] * 4), array("I", [0] * 4))
    for core in (twin, native):
        times = core.time_paths(columns, own, parent, ids)

        assert (list(times.calls), list(times.total), list(times.longest)) == ([4], [2**63 - 1], [most])


@pytest.mark.parametrize("core", [twin, native])
@pytest.mark.parametrize("parent", [[-1, 1], [-1, -3], [-1, 2]])
def test_a_parent_that_does_not_stand_before_its_row_is_refused(core: Any, parent: list[int]) -> None:
    columns = deep(2)
    with pytest.raises(ValueError, match="row 1: its parent is"):
        core.hash_trees(columns, array("q", parent), plain_labels(columns), ordered=True)


@pytest.mark.parametrize("core", [twin, native])
def test_time_paths_refuses_a_parent_behind_its_row(core: Any) -> None:
    columns = deep(2)
    with pytest.raises(ValueError, match="row 1: its parent is 1"):
        core.time_paths(columns, columns.dur, array("q", [-1, 1]), tables(columns))


def test_arrays_that_are_too_short_or_of_another_kind_are_refused() -> None:
    columns = deep(3)
    parent, own = twin.nest_rows(columns)
    labels, times = plain_labels(columns), tables(columns)
    refused: tuple[tuple[Callable[[], Any], str], ...] = (
        (
            lambda: native.hash_trees(columns, parent[:2], labels, ordered=True),
            "hash_trees.parent has 2 items: it must have 3",
        ),
        (lambda: native.hash_trees(columns, parent, labels._replace(names=array("Q", [1])), ordered=True), "name"),
        (lambda: native.hash_trees(columns, parent, labels._replace(cats=array("Q")), ordered=True), "cat"),
        (lambda: native.time_paths(columns, own[:1], parent, times), "time_paths.own has 1 items: it must have 3"),
        (lambda: native.time_paths(columns, own, parent, times._replace(keys=array("I"))), "name"),
        (lambda: native.time_paths(columns, own, parent, times._replace(groups=array("I"))), "track"),
    )
    for bad, what in refused:
        with pytest.raises(ValueError, match=what):
            bad()
    with pytest.raises(TypeError, match="labels: must be a"):
        native.hash_trees(columns, parent, None, ordered=True)
    with pytest.raises(TypeError, match="ids: must be a"):
        native.time_paths(columns, own, parent, None)
    with pytest.raises(TypeError, match="typecode 'q'"):
        native.hash_trees(columns, array("I", [0, 0, 0]), labels, ordered=True)


def both(core: Any, columns: Columns) -> tuple[Trees, PathTimes]:
    parent, own = twin.nest_rows(columns)
    trees = core.hash_trees(columns, parent, plain_labels(columns), ordered=False)
    return trees, core.time_paths(columns, own, parent, tables(columns))


def test_they_do_not_leak() -> None:
    columns = deep(20)
    assert left_by(lambda: both(native, columns)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    columns = deep(40)
    parent, own = twin.nest_rows(columns)
    labels, rest = plain_labels(columns), tables(columns)
    expected = both(twin, copy_of(columns))

    def trees_and_times() -> tuple[Any, ...]:
        return (
            native.hash_trees(columns, parent, labels, ordered=False),
            native.time_paths(columns, own, parent, rest),
        )

    assert failures_of(trees_and_times, expected, upto=80) > 5
