"""The law of two cores, for the cells and pairs of a comparison: C gives what Python gives, and says what is wrong."""

from array import array
from collections.abc import Sequence
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.trees import CellTimes, Looked, Medians, Suspects

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

PATHS = 6
Row = tuple[int, int, int, int, int]
_times = st.integers(0, 40) | st.integers(-(2**63), 2**63 - 1)
_cells = st.lists(st.tuples(st.integers(0, PATHS - 1), st.integers(1, 3), _times, _times, _times), max_size=12)
NONE = Medians(array("d"), array("d"), array("d"))
LOOKED = Looked(0.0, 1.0, 0, 0)
_looked = st.builds(Looked, _times.map(float), st.floats(1, 4), st.integers(0, 6), _times)


def cells_of(rows: Sequence[Row]) -> CellTimes:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return CellTimes(array("I", columns[0]), *(array("q", column) for column in columns[1:]))


def suspects_of(core: Any, base: Sequence[Row], head: Sequence[Row], looked: Looked, paths: int = PATHS) -> Any:
    sides = cells_of(base), cells_of(head)
    return core.suspect_paths(sides, tuple(twin.median_times(side, paths) for side in sides), paths, looked)


@given(st.lists(st.integers(0, PATHS - 1)))
def test_places_of_ids_are_their_twin(ids: list[int]) -> None:
    starts, places = native.place_ids(array("I", ids), PATHS)

    assert (starts, places) == twin.place_ids(array("I", ids), PATHS)
    for number in range(PATHS):
        assert [*places[starts[number] : starts[number + 1]]] == [at for at, one in enumerate(ids) if one == number]


@given(st.lists(st.tuples(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), st.integers(0, 2)), max_size=600))
def test_numbers_of_pairs_are_their_twin(pairs: list[tuple[int, int]]) -> None:
    first, second = array("q", [pair[0] for pair in pairs]), array("I", [pair[1] for pair in pairs])
    numbers = native.number_pairs(first, second)

    assert numbers == twin.number_pairs(first, second)
    distinct = [*dict.fromkeys(pairs)]
    assert [distinct[number] for number in numbers] == pairs


def test_pairs_are_told_apart_however_many_there_are() -> None:
    """The table grows several times; rows of a multiple of 2**32 and their neighbours share bits."""
    first = array("q", [2**32 * (at // 3) for at in range(3000)])
    second = array("I", [at % 3 for at in range(3000)])

    assert [*native.number_pairs(first, second)] == [*range(3000)]
    assert native.number_pairs(first + first, second + second) == array("I", [*range(3000)] * 2)


@given(_cells, _cells, _looked)
def test_suspects_are_their_twin(base: Sequence[Row], head: Sequence[Row], looked: Looked) -> None:
    actual = suspects_of(native, base, head, looked)

    assert actual == suspects_of(twin, base, head, looked)
    assert isinstance(actual, Suspects)


@given(_cells)
def test_medians_are_their_twin(rows: Sequence[Row]) -> None:
    actual = native.median_times(cells_of(rows), PATHS)

    assert actual == twin.median_times(cells_of(rows), PATHS)
    assert isinstance(actual, Medians)
    for path in range(PATHS):
        for column, medians in zip([*zip(*rows, strict=True)][1:4], actual, strict=False):
            of_path = [value for value, row in zip(column, rows, strict=True) if row[0] == path]
            assert medians[path] == (float(median(of_path)) if of_path else 0.0)


@pytest.mark.parametrize("core", [twin, native])
def test_a_median_is_the_mean_of_both_in_the_middle(core: Any) -> None:
    most = 2**63 - 1
    cells = cells_of([(0, 3, most, 8, 0), (2, 1, 5, 7, 0), (0, 1, most, 9, 0), (2, 2, 5, 1, 0), (2, 1, 6, 3, 0)])

    assert core.median_times(cells, 3) == Medians(
        array("d", [2, 0, 1]), array("d", [2.0**63, 0, 5]), array("d", [8.5, 0, 3])
    )


@pytest.mark.parametrize("core", [twin, native])
def test_a_path_is_suspect_by_its_medians(core: Any) -> None:
    """0 has a total that is 5 away, 1 a time in itself, 2 more calls, 3 neither; 4 is on one side only."""
    base = [(0, 1, 10, 7, 10), (1, 1, 20, 9, 20), (2, 1, 5, 5, 5), (3, 1, 5, 5, 5), (4, 1, 5, 5, 5)]
    head = [(0, 1, 14, 7, 10), (0, 1, 16, 7, 15), (1, 1, 20, 4, 6), (2, 2, 5, 5, 3), (3, 1, 9, 9, 5)]

    assert suspects_of(core, base, head, Looked(5.0, 1.5, 3, 15)) == Suspects(4, array("I", [0, 1, 2]), array("I", [0]))
    assert suspects_of(core, base, head, Looked(5.0, 1.6, 2, 21)) == Suspects(4, array("I", [1, 2]), array("I"))
    assert suspects_of(core, base, head, Looked(5.5, 1.0, 2, 21)) == Suspects(4, array("I", [2]), array("I"))


@pytest.mark.parametrize("core", [twin, native])
def test_an_id_that_is_too_large_is_refused(core: Any) -> None:
    with pytest.raises(ValueError, match=r"ids\[1\] is 3: it must be below 3"):
        core.place_ids(array("I", [0, 3]), 3)
    with pytest.raises(ValueError, match="is 0: it must be below 0"):
        core.suspect_paths((cells_of([]), cells_of([(0, 1, 1, 1, 1)])), (NONE, NONE), 0, LOOKED)
    with pytest.raises(ValueError, match="is 1: it must be below 1"):
        core.median_times(cells_of([(1, 1, 1, 1, 1)]), 1)


def test_what_is_no_cells_is_refused() -> None:
    good = cells_of([(0, 1, 1, 1, 1)])
    usual = twin.median_times(good, 1)
    with pytest.raises(ValueError, match=r"cells\.own has 0 items: it must have 1"):
        native.suspect_paths((good._replace(own=array("q")), good), (usual, usual), 1, LOOKED)
    with pytest.raises(TypeError, match="cells: must be a"):
        native.median_times((), 1)
    with pytest.raises(TypeError, match="cells: must be a"):
        native.suspect_paths((good, ()), (usual, usual), 1, LOOKED)
    with pytest.raises(TypeError, match="usual: must be a"):
        native.suspect_paths((good, good), (usual, ()), 1, LOOKED)
    with pytest.raises(ValueError, match=r"usual\.total has 0 items: it must have 1"):
        native.suspect_paths((good, good), (usual, usual._replace(total=array("d"))), 1, LOOKED)
    with pytest.raises(TypeError, match="looked: must be a Looked"):
        native.suspect_paths((good, good), (usual, usual), 1, (1,))
    for count in (-1, 2**28):
        with pytest.raises(ValueError, match=f"is {count}: .* end below"):
            native.place_ids(array("I"), count)
        with pytest.raises(ValueError, match=f"is {count}: .* end below"):
            native.suspect_paths((good, good), (usual, usual), count, LOOKED)
        with pytest.raises(ValueError, match=f"is {count}: .* end below"):
            native.median_times(good, count)


def test_what_is_no_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"number_pairs\.second has 1 items: it must have 2"):
        native.number_pairs(array("q", [1, 2]), array("I", [1]))
    with pytest.raises(TypeError, match=r"number_pairs\.first: must be an array"):
        native.number_pairs([1], array("I", [1]))


def both(core: Any) -> tuple[Any, ...]:
    cells = cells_of([(path % PATHS, 1, path, path, path) for path in range(60)])
    usual = twin.median_times(cells, PATHS)
    return (
        core.place_ids(cells.path, PATHS),
        core.median_times(cells, PATHS),
        core.suspect_paths((cells, cells), (usual, usual), PATHS, LOOKED),
        core.number_pairs(cells.total, cells.path),
    )


def test_they_do_not_leak() -> None:
    assert left_by(lambda: both(native)) < MOST_LEFT


def test_an_allocation_that_fails_is_a_memory_error() -> None:
    cells, ids = cells_of([(0, 1, 1, 1, 1)]), array("I", [0])

    def run(core: Any) -> tuple[Any, ...]:
        numbers = core.number_pairs(cells.total, ids)
        medians = core.median_times(cells, 1)
        suspects = core.suspect_paths((cells, cells), (medians, medians), 1, LOOKED)
        return core.place_ids(ids, 1), medians, suspects, numbers

    assert failures_of(lambda: run(native), run(twin), upto=120) > 5
