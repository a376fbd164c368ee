"""The law of two cores for folding and grouping: C gives what the twins give, on any rows."""

import sys
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.groups import NO_KEY, Folded, Grouped, Keys, Sums
from stepscope.core.rows import INSTANT, SLICE, Columns
from test_twins import TEXTS, TRACKS, Row, columns_of, deep, given_rows, settled, threads

if TYPE_CHECKING:
    from collections.abc import Callable

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

given_keys = st.builds(
    lambda names, cats: Keys(array("I", names), array("B", cats), array("I", [0, 1] * 40)),
    st.lists(st.sampled_from((0, 1, 2, NO_KEY)), min_size=TEXTS, max_size=TEXTS),
    st.lists(st.sampled_from((0, 0, 1, 2, 3, 4)), min_size=TEXTS, max_size=TEXTS),
)
KEYS = Keys(array("I", range(TEXTS)), array("B", [0] * TEXTS), array("I", range(TRACKS)))


def folded(core: Any, columns: Columns, keys: Keys = KEYS) -> Folded:
    result: Folded = core.fold_rows(columns, *twin.nest_rows(columns), keys)
    return result


@given(given_rows, given_keys)
def test_fold_is_its_twin(rows: list[Row], keys: Keys) -> None:
    columns = settled(columns_of(rows))
    expected, actual = (folded_or_overflow(core, columns, keys) for core in (twin, native))

    assert actual == expected
    assert isinstance(actual, Folded | str)


def folded_or_overflow(core: Any, columns: Columns, keys: Keys) -> Folded | str:
    """Times as long as 64 bits hold do not add up: both cores refuse, at the same row."""
    try:
        return folded(core, columns, keys)
    except OverflowError as error:
        return str(error)


def test_own_times_that_do_not_fit_are_an_overflow_error_on_both_cores() -> None:
    """What is hidden gives its parent as much as there is time; with the parent's own that is more than fits."""
    columns = columns_of([(0, 2**63 - 1, 0, 0, 0, 0, SLICE), (0, 2**63 - 1, 1, 0, 0, 0, SLICE)])
    hidden = KEYS._replace(name=array("I", [0, NO_KEY, 2, 0, 0, 0]))
    for core in (native, twin):
        with pytest.raises(OverflowError, match="row 0: its own time adds up to more than 64 bits hold"):
            core.fold_rows(columns, array("q", [-1, 0]), array("q", [1, 2**63 - 1]), hidden)


@given(given_rows, given_keys, st.booleans())
def test_group_and_sum_are_their_twins(rows: list[Row], keys: Keys, with_extra: bool) -> None:
    columns = settled(columns_of(rows))
    result = folded_or_overflow(twin, columns, keys)
    if isinstance(result, str):
        reject()
    above, own = result
    extra = array("I", (row % 3 for row in range(len(rows)))) if with_extra else None
    expected = twin.group_rows(columns, above, keys, extra)
    actual = native.group_rows(columns, above, keys, extra)

    assert actual == expected
    assert isinstance(actual, Grouped)
    sums = [sums_or_overflow(core, columns, expected, own) for core in (native, twin)]
    assert sums[0] == sums[1]


def sums_or_overflow(core: Any, columns: Columns, grouped: Grouped, own: "array[int]") -> Any:
    """Times as long as 64 bits hold do not add up: both cores refuse, at a group that need not be the same."""
    try:
        return core.sum_groups(columns, grouped.group, own, len(grouped.first))
    except OverflowError:
        return "overflow"


def test_group_grows_its_table() -> None:
    columns = threads(5, 3000)
    parent, own = array("q", [-1]) * len(columns.ts), columns.dur
    extra = array("I", (row * 2654435761 % 2**32 for row in range(len(parent))))
    keys = KEYS._replace(track=array("I", range(5)))
    expected = twin.group_rows(columns, parent, keys, extra)

    assert native.group_rows(columns, parent, keys, extra) == expected
    assert len(expected.first) == len(parent)
    assert native.sum_groups(columns, expected.group, own, len(parent)).count == array("q", [1]) * len(parent)


@pytest.mark.parametrize("largest", [0, 7, 255, 256, 10**6, 2**40, 2**50])
@pytest.mark.parametrize("count", [1, 48, 49, 3000])
def test_durations_are_sorted_whatever_their_size(largest: int, count: int) -> None:
    durations = [(row * 0x9E3779B97F4A7C15) % (largest + 1) for row in range(count)]
    columns = columns_of((row, dur, 0, 0, 0, 0, SLICE) for row, dur in enumerate(durations))
    sums = native.sum_groups(columns, array("I", [0]) * count, array("q", [0]) * count, 1)

    assert sums.durations.tolist() == sorted(durations)
    assert sums.total_ns[0] == sum(durations)


def test_sums_that_do_not_fit_are_an_overflow_error_on_both_cores() -> None:
    columns = columns_of((row, 2**62, 0, 0, 0, row, SLICE) for row in range(2))
    for core in (native, twin):
        with pytest.raises(OverflowError, match="group 0: its times add up to more than 64 bits hold"):
            core.sum_groups(columns, array("I", [0, 0]), columns.dur, 1)


def test_what_an_instant_is_inside_of_is_told_though_it_is_no_event() -> None:
    rows = [(0, 9, 0, 0, 0, 0, SLICE), (1, 8, 1, 0, 0, 0, SLICE), (2, 0, 2, 0, 0, 0, INSTANT)]
    columns = columns_of([*rows, (50, 0, 2, 0, 0, 0, INSTANT)])

    for core in (native, twin):
        assert folded(core, columns).above.tolist() == [-1, 0, -3 - 1, -2]
        hidden = KEYS._replace(name=array("I", [0, NO_KEY, 2, 0, 0, 0]))
        above, own = folded(core, columns, hidden)
        assert (above.tolist(), own.tolist()) == ([-1, -3, -3, -2], [9, 8, 0, 0])


SHORT = array("q", [0, 0])
ROOTS, OWN = array("q", [-1, 0, 1]), array("q", [2, 2, 2])
Bad = tuple[dict[str, Any], type[Exception], str]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"columns": None}, TypeError, "columns: must be a stepscope.core.rows.Columns, not NoneType"),
        ({"parent": SHORT}, ValueError, r"nesting\.parent has 2 items: it must have 3"),
        ({"parent": array("q", [-1, 1, 0])}, ValueError, r"parent\[1\] is 1: it must be -1 or a row before it"),
        ({"parent": array("q", [-2, 0, 0])}, ValueError, r"parent\[0\] is -2"),
        ({"own": array("I", [0, 0, 0])}, TypeError, r"nesting\.own: must be an array of typecode 'q', not 'I'"),
        (
            {"keys": KEYS._replace(name=array("I", [0]))},
            ValueError,
            "row 1: columns.name is 1, but there are 1 of them",
        ),
        ({"keys": KEYS._replace(cat=array("B"))}, ValueError, "row 0: columns.cat is 0, but there are 0 of them"),
        ({"keys": list(KEYS)}, TypeError, "must be tuple, not list"),
        ({"keys": KEYS[:2]}, TypeError, "keys: must be a Keys"),
        ({"keys": KEYS._replace(cat=[0])}, TypeError, r"keys\.cat: must be an array of typecode 'B', not list"),  # type: ignore[arg-type]
    ],
)
def test_fold_says_what_is_wrong(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"columns": deep(3), "parent": ROOTS, "own": OWN, "keys": KEYS}
    with pytest.raises(error, match=message):
        native.fold_rows(**{**given, **changed})


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"columns": 5}, TypeError, "columns: must be a stepscope.core.rows.Columns, not int"),
        ({"above": SHORT}, ValueError, r"folded\.above has 2 items: it must have 3"),
        ({"keys": KEYS._replace(name=array("I"))}, ValueError, "row 0: columns.name is 0, but there are 0 of them"),
        (
            {"keys": KEYS._replace(cat=array("b", [0]))},
            TypeError,
            r"keys\.cat: must be an array of typecode 'B', not 'b'",
        ),
        ({"keys": KEYS._replace(track=array("I"))}, ValueError, "row 0: columns.track is 0, but there are 0 of them"),
        ({"extra": array("I", [0])}, ValueError, r"grouping\.extra has 1 items: it must have 3"),
    ],
)
def test_group_says_what_is_wrong(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"columns": deep(3), "above": ROOTS, "keys": KEYS, "extra": None}
    with pytest.raises(error, match=message):
        native.group_rows(**{**given, **changed})


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"columns": 5}, TypeError, "columns: must be a stepscope.core.rows.Columns, not int"),
        ({"columns": deep(3)._replace(dur=array("q", [1, -1, 1]))}, ValueError, "row 1: columns.dur is negative"),
        ({"group": array("I", [0])}, ValueError, r"grouped\.group has 1 items: it must have 3"),
        ({"group": array("I", [0, 1, 0])}, ValueError, r"group\[1\] is 1, but there are 1 groups"),
        ({"own": array("q")}, ValueError, r"folded\.own has 0 items: it must have 3"),
        ({"groups": -1}, ValueError, "groups is -1: there are from 0 to as many groups as rows, 3"),
        ({"groups": 4}, ValueError, "groups is 4"),
    ],
)
def test_sum_says_what_is_wrong(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"columns": deep(3), "group": array("I", [0, 0, NO_KEY]), "own": OWN, "groups": 1}
    with pytest.raises(error, match=message):
        native.sum_groups(**{**given, **changed})


def every_kernel(core: Any, columns: Columns) -> tuple[Folded, Grouped, Sums]:
    fold = folded(core, columns)
    grouped = core.group_rows(columns, fold.above, KEYS, None)
    return fold, grouped, core.sum_groups(columns, grouped.group, fold.own, len(grouped.first))


def test_no_kernel_leaks() -> None:
    columns = deep(20)
    objects: list[Any] = [*columns, columns, *KEYS, KEYS, Folded, Grouped, Sums]
    every_kernel(native, columns)
    before = [sys.getrefcount(thing) for thing in objects]
    left = left_by(lambda: every_kernel(native, columns))

    assert left < MOST_LEFT
    assert [sys.getrefcount(thing) for thing in objects] == before


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="allocations can be made to fail in CPython only")
@pytest.mark.parametrize("kernel", ["fold", "group", "sum"])
def test_an_allocation_that_fails_is_a_memory_error(kernel: str) -> None:
    columns = deep(60)
    nesting = twin.nest_rows(columns)
    fold, grouped, _ = every_kernel(twin, columns)
    calls: dict[str, Callable[[Any], Any]] = {
        "fold": lambda core: core.fold_rows(columns, *nesting, KEYS),
        "group": lambda core: core.group_rows(columns, fold.above, KEYS, None),
        "sum": lambda core: core.sum_groups(columns, grouped.group, fold.own, len(grouped.first)),
    }
    call = calls[kernel]
    expected = call(twin)

    assert failures_of(lambda: call(native), expected, upto=100) > 5
