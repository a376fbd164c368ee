"""Two cores, the same results: what settles counters and flows, and what is done to arrays of ids."""

import random
import sys
import threading
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noleak import MOST_LEFT, left_by
from nomemory import failures_of
from stepscope.core import twin
from stepscope.core.rows import Counters, Flows

native: Any = pytest.importorskip("stepscope._native", reason="stepscope._native is not built: there is no second core")

TRACKS = 4
# Another order than the numbers': what a track is decides, not when it was first seen.
RANKS = array("I", [2, 0, 3, 1])
NAMES = 3
INFINITE = (float("inf"), float("-inf"), float("nan"))

times = st.one_of(st.integers(0, 4), st.integers(-(2**63), 2**63 - 1))
values = st.lists(
    st.tuples(times, st.sampled_from((0.0, 1.0, -2.5, *INFINITE)), st.integers(0, TRACKS - 1)), max_size=40
)


def ids(*numbers: int) -> "array[int]":
    return array("I", numbers)


def counters_of(rows: list[tuple[int, float, int]]) -> Counters:
    ts, value, track = zip(*rows, strict=True) if rows else ((), (), ())
    return Counters(array("q", ts), array("d", value), array("I", track))


def random_counters(count: int) -> Counters:
    chance = random.Random(1)  # noqa: S311 - the same values every time
    return counters_of([(chance.randrange(10**6), float(at), chance.randrange(TRACKS)) for at in range(count)])


@st.composite
def given_flows(draw: st.DrawFn) -> "tuple[Flows, array[int] | None, array[int]]":
    """Flows, where their rows have gone, and when the rows are; with few rows, so that there are ties of all kinds."""
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(st.integers(0, NAMES - 1), max_size=8))
    points = st.tuples(st.integers(0, max(len(names) - 1, 0)), st.integers(0, rows - 1))
    drawn = draw(st.lists(points, max_size=40)) if names else []
    places = draw(st.one_of(st.none(), st.permutations(range(rows)).map(lambda order: array("I", order))))
    ts = sorted(draw(st.lists(st.integers(-3, 8), min_size=rows, max_size=rows)))
    flows = Flows(array("I", [flow for flow, _ in drawn]), array("I", [row for _, row in drawn]), array("I", names))
    return flows, places, array("q", ts)


def random_flows(count: int) -> "tuple[Flows, array[int], array[int]]":
    chance = random.Random(2)  # noqa: S311 - the same flows every time
    rows = list(range(4 * count))
    chance.shuffle(rows)
    points = [(at % count, row) for at, row in enumerate(rows[: 3 * count])]
    chance.shuffle(rows)
    flows = Flows(
        array("I", [flow for flow, _ in points]),
        array("I", [row for _, row in points]),
        array("I", [chance.randrange(NAMES) for _ in range(count)]),
    )
    return flows, array("I", rows), array("q", range(4 * count))


@given(values)
@example([(0, float("nan"), 0)])
@example([(2**63 - 1, 1.0, 0), (-(2**63), 1.0, 1)])
def test_settle_counters_is_its_twin(rows: list[tuple[int, float, int]]) -> None:
    counters = counters_of(rows)

    assert native.settle_counters(counters, RANKS) == twin.settle_counters(counters, RANKS)


def test_values_are_in_order_of_time_then_track_then_counting() -> None:
    rows = [(5, 1.0, 0), (5, 2.0, 1), (5, 3.0, 0), (4, 4.0, 2), (5, INFINITE[0], 3), (5, 5.0, 1)]
    for core in (native, twin):
        settled = core.settle_counters(counters_of(rows), RANKS)

        assert list(zip(*settled.counters, strict=True)) == [
            (4, 4.0, 2),
            (5, 2.0, 1),
            (5, 5.0, 1),
            (5, 1.0, 0),
            (5, 3.0, 0),
        ]
        assert list(settled.lost) == [4]


def test_many_values_in_any_order_are_settled_alike() -> None:
    counters = random_counters(30_000)

    assert native.settle_counters(counters, RANKS) == twin.settle_counters(counters, RANKS)


@given(given_flows(), st.permutations(range(NAMES)))
def test_settle_flows_is_its_twin(drawn: "tuple[Flows, array[int] | None, array[int]]", order: list[int]) -> None:
    ranks = array("I", order)

    assert native.settle_flows(*drawn, ranks) == twin.settle_flows(*drawn, ranks)


def test_flows_are_numbered_by_row_then_next_row_then_name() -> None:
    points = [(0, 0), (0, 3), (1, 0), (1, 2), (2, 0), (2, 2), (3, 1), (4, 2), (4, 2), (0, 1)]
    flows = Flows(array("I", [flow for flow, _ in points]), array("I", [row for _, row in points]), ids(0, 1, 2, 0, 2))
    for core in (native, twin):
        settled = core.settle_flows(flows, None, array("q", [0, 10, 20, 20]), ids(2, 1, 0))

        assert settled.flows == Flows(ids(0, 1, 2, 0, 1, 2, 0), ids(0, 0, 0, 1, 2, 2, 3), ids(0, 2, 1))
        assert list(settled.lost) == [2, 2]


def test_many_flows_in_any_order_are_settled_alike() -> None:
    given_ = random_flows(10_000)

    assert native.settle_flows(*given_, ids(1, 2, 0)) == twin.settle_flows(*given_, ids(1, 2, 0))


@given(st.lists(st.integers(0, 9), max_size=30), st.permutations(range(10)))
def test_ids_are_their_twins(numbers: list[int], order: list[int]) -> None:
    given_ids, table = array("I", numbers), array("I", order)

    assert native.distinct_ids(given_ids) == twin.distinct_ids(given_ids)
    assert native.map_ids(given_ids, table) == twin.map_ids(given_ids, table)
    assert native.invert_order(table) == twin.invert_order(table)
    assert native.map_ids(native.invert_order(table), table) == array("I", range(10))


FLOWS = Flows(ids(0, 0), ids(0, 1), ids(0))
NOTHING: Any = None
ROWS = array("q", [0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: native.settle_counters(FLOWS, RANKS), TypeError, r"must be a stepscope\.core\.rows\.Counters"),
        (lambda: native.settle_counters(counters_of([(0, 1.0, 7)]), RANKS), ValueError, "value 0 is of track 7"),
        (lambda: native.settle_counters(counters_of([]), [1]), TypeError, r"counters\.ranks: must be an array"),
        (lambda: native.settle_counters(counters_of([])), TypeError, "ranks"),
        (lambda: native.settle_flows(counters_of([]), None, ROWS, ids(0)), TypeError, "must be a stepscope"),
        (lambda: native.settle_flows(FLOWS._replace(flow=NOTHING), None, ROWS, ids(0)), TypeError, r"flows\.flow"),
        (lambda: native.settle_flows(FLOWS._replace(row=ids(0)), None, ROWS, ids(0)), ValueError, "one item a point"),
        (lambda: native.settle_flows(FLOWS._replace(row=ids(0, 2)), None, ROWS, ids(0)), ValueError, "no row"),
        (lambda: native.settle_flows(FLOWS._replace(flow=ids(0, 1)), None, ROWS, ids(0)), ValueError, "of no flow"),
        (lambda: native.settle_flows(FLOWS, ids(0, 2), ROWS, ids(0)), ValueError, "no row"),
        (lambda: native.settle_flows(FLOWS, ids(0), ROWS, ids(0)), ValueError, r"places has 1 rows, flows\.ts has 2"),
        (lambda: native.settle_flows(FLOWS, None, ROWS, ids()), ValueError, "has no rank"),
        (lambda: native.settle_flows(FLOWS, None, ids(0, 1), ids(0)), TypeError, r"flows\.ts: must be .* 'q'"),
        (lambda: native.distinct_ids([1]), TypeError, r"ids\.ids: must be an array"),
        (lambda: native.distinct_ids(ids(1 << 28)), ValueError, "below 2\\*\\*28"),
        (lambda: native.map_ids(ids(0, 3), ids(5, 6, 7)), ValueError, r"ids\[1\] is 3, but the table has 3 entries"),
        (lambda: native.map_ids(ids(0), [1]), TypeError, r"ids\.table: must be an array"),
        (lambda: native.invert_order(ids(0, 2)), ValueError, r"order\[1\] is 2, but there are 2 rows"),
        (lambda: native.invert_order([0]), TypeError, r"ids\.order: must be an array"),
    ],
)
def test_what_cannot_be_settled_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def runs_beside(call: Callable[[], Any]) -> bool:
    """Whether another thread gets on while this one is in the call: nothing else makes this one give way."""
    go, ran, before = threading.Lock(), threading.Event(), sys.getswitchinterval()
    go.acquire()

    def other() -> None:
        with go:
            ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    sys.setswitchinterval(1000)
    try:
        go.release()
        call()
        return ran.is_set()
    finally:
        sys.setswitchinterval(before)
        thread.join()


def test_settling_leaves_the_interpreter_to_other_threads() -> None:
    counters, (flows, places, ts) = random_counters(300_000), random_flows(100_000)
    ranks = ids(0, 1, 2)

    # The other thread may be slow to wake up on a busy machine, so not every time.
    assert any(runs_beside(lambda: native.settle_counters(counters, RANKS)) for _ in range(20))
    assert any(runs_beside(lambda: native.settle_flows(flows, places, ts, ranks)) for _ in range(20))
    assert not any(runs_beside(lambda: sum(range(1000))) for _ in range(20))


def every_kernel() -> None:
    """All of them once, and a failure of each."""
    counters, (flows, places, ts) = random_counters(50), random_flows(10)
    native.settle_counters(counters._replace(value=array("d", [INFINITE[at % 3] for at in range(50)])), RANKS)
    native.settle_flows(flows, places, ts, ids(0, 1, 2))
    native.map_ids(native.distinct_ids(places), native.invert_order(places))
    failing: tuple[Callable[[], Any], ...] = (
        lambda: native.settle_counters(counters, ids(0)),
        lambda: native.settle_flows(flows, places, ts, ids(0)),
        lambda: native.map_ids(places, ids(0)),
        lambda: native.invert_order(ids(1)),
        lambda: native.distinct_ids(ids(1 << 30)),
    )
    for fails in failing:
        with pytest.raises(ValueError, match=r"."):
            fails()


def test_no_kernel_leaks() -> None:
    """A thousand rounds leave memory as it was."""
    assert left_by(every_kernel) < MOST_LEFT


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="allocations can be made to fail in CPython only")
@pytest.mark.parametrize("kernel", ["settle_counters", "settle_flows", "distinct_ids", "map_ids", "invert_order"])
def test_an_allocation_that_fails_is_a_memory_error(kernel: str) -> None:
    """Each allocation of a kernel fails once; the next call is none the worse."""
    counters = random_counters(200)
    counters.value[7] = counters.value[150] = float("nan")
    flows, places, ts = random_flows(50)
    given_: dict[str, tuple[Any, ...]] = {
        "settle_counters": (counters, RANKS),
        "settle_flows": (flows, places, ts, ids(0, 1, 2)),
        "distinct_ids": (flows.name,),
        "map_ids": (flows.name, ids(7, 8, 9)),
        "invert_order": (places,),
    }
    call, arguments = getattr(native, kernel), given_[kernel]
    expected = getattr(twin, kernel)(*arguments)

    assert failures_of(call, expected, upto=60, given=lambda: arguments) > 0
