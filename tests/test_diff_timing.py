"""Times: what is slower, what only seems so, and what cannot be told. All samples are made up; no clock is read."""

import itertools
import math
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forest import Node, Program, node
from stepscope import Trace, diff
from stepscope.analysis.diff import Diff
from stepscope.analysis.diff.ranktest import least_p, median, noise_of, rank_test, samples_needed
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import CUT, Origin

MS = 1000.0


# ---- the test itself ----


def counted_p(base: Sequence[float], head: Sequence[float]) -> float:
    """The definition: of all ways to choose as many as base among the samples, how many are at least as far apart."""
    samples = [*base, *head]
    ordered = sorted(samples)
    ranks = [(ordered.index(x) + len(ordered) - 1 - ordered[::-1].index(x)) / 2 for x in samples]
    mean = len(base) * sum(ranks) / len(ranks)
    observed = abs(sum(ranks[: len(base)]) - mean)
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(base))]
    return sum(abs(total - mean) >= observed - 1e-9 for total in sums) / len(sums)


few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5)


@given(few, few)
def test_p_is_exact_with_ties_and_few_samples(base: list[float], head: list[float]) -> None:
    assert rank_test(base, head) == pytest.approx(counted_p(base, head), rel=1e-12)


@given(few, few)
def test_p_is_the_same_from_both_sides(base: list[float], head: list[float]) -> None:
    assert rank_test(base, head) == rank_test(head, base)


def test_p_of_known_samples() -> None:
    """Worked by hand: 2 of 252 ways to choose 5 of 10 are as far apart; all ways where all are equal."""
    assert rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 2 / 252
    assert rank_test([1, 1, 1], [1, 1, 1]) == 1.0
    assert rank_test([], [1.0]) == 1.0


def test_many_samples_are_tested_by_the_normal_distribution_which_agrees() -> None:
    chance = random.Random(3)  # noqa: S311 - the same samples every time
    base = [float(chance.randrange(100)) for _ in range(30)]
    for shift in (0, 5, 12):
        head = [float(chance.randrange(100) + shift) for _ in range(30)]
        exact = rank_test(base, head)
        normal = rank_test([*base, 50.0], [*head, 50.0])

        assert normal == pytest.approx(exact, abs=0.03)
    assert rank_test([1.0] * 40, [1.0] * 40) == 1.0
    assert rank_test([float(x) for x in range(40)], [float(x + 100) for x in range(40)]) < 1e-12


def test_how_many_samples_are_needed() -> None:
    assert least_p(5, 5) == 2 / 252
    assert samples_needed(5, 5, 0.01) == (0, 0)
    assert samples_needed(1, 1, 0.01) == (4, 4)
    assert samples_needed(10, 1, 0.01) == (0, 2)
    n, m = samples_needed(3, 4, 0.01)
    assert least_p(3 + n, 4 + m) <= 0.01


def test_medians_and_noise() -> None:
    assert (median([]), median([3, 1, 2]), median([1, 2, 3, 10])) == (0.0, 2.0, 2.5)
    assert noise_of([1, 1, 1, 100]) == 0.0
    assert noise_of([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(1.4826)


# ---- verdicts ----


def run(us_of_step: Callable[[int], Sequence[Node]], steps: int = 8) -> Trace:
    return Program({number: us_of_step(number) for number in range(steps)}).trace()


def timed(name: str, *inside: Node, us: float) -> Node:
    return node(name, *inside, own_us=us)


def seen(result: Diff) -> list[tuple[Any, ...]]:
    return [(one.kind, one.where.path[1:], one.name) for one in result.findings]


def test_slower_says_by_how_much_and_why_it_is_believed() -> None:
    base = run(lambda n: [timed("load", us=100 + n % 3), timed("forward", us=1000)])
    head = run(lambda n: [timed("load", us=300 + n % 3), timed("forward", us=1000)])
    (one,) = diff(base, head).findings

    assert (one.kind, one.name, one.unit) == ("slower", "load", "us")
    assert (one.base, one.head) == (101.0, 301.0)
    assert one.where.steps == tuple(range(8))
    assert one.evidence is not None
    assert (one.evidence.base_samples, one.evidence.head_samples) == (8, 8)
    assert one.evidence.ratio == pytest.approx(2.98, abs=0.01)
    assert one.evidence.p < 0.001
    assert seen(diff(head, base)) == [("faster", (), "load")]


def test_timings_can_be_left_out() -> None:
    assert not diff(run(lambda _: [timed("f", us=100)]), run(lambda _: [timed("f", us=900)]), timings=False)


def test_a_difference_must_be_large_both_as_a_share_and_in_time() -> None:
    base = run(lambda _: [timed("f", us=1000), timed("g", us=10)])

    assert not diff(base, run(lambda _: [timed("f", us=1200), timed("g", us=50)]))
    assert seen(diff(base, run(lambda _: [timed("f", us=1200), timed("g", us=10)]), ratio=1.1)) == [("slower", (), "f")]
    assert seen(diff(base, run(lambda _: [timed("f", us=1000), timed("g", us=50)]), step_us=20)) == [
        ("slower", (), "g")
    ]


def test_a_parent_that_is_slower_only_through_a_child_is_context() -> None:
    def step(us: float) -> Callable[[int], list[Node]]:
        return lambda _: [timed("forward", timed("layer", timed("conv", us=us), us=50), us=50), timed("rest", us=500)]

    assert seen(diff(run(step(100)), run(step(900)))) == [("slower", ("forward", "layer"), "conv")]


def test_a_parent_that_is_slower_in_itself_too_is_a_finding_too() -> None:
    def step(own: float, us: float) -> Callable[[int], list[Node]]:
        return lambda _: [timed("forward", timed("conv", us=us), us=own)]

    result = diff(run(step(100, 100)), run(step(400, 900)))

    assert seen(result) == [("slower", (), "forward"), ("slower", ("forward",), "conv")]
    assert [one.note for one in result] == ["in itself", ""]
    assert [(one.base, one.head) for one in result] == [(100.0, 400.0), (100.0, 900.0)]


def test_a_parent_whose_many_children_are_each_a_little_slower_is_the_finding() -> None:
    def step(us: float) -> Callable[[int], list[Node]]:
        return lambda _: [
            timed("forward", *(timed(f"op.{i}", us=us) for i in range(20)), us=10),
            timed("rest", us=5 * MS),
        ]

    (one,) = diff(run(step(50)), run(step(80))).findings

    assert (one.kind, one.name, one.note) == ("slower", "forward", "in all")
    assert (round(one.base), round(one.head)) == (1010, 1610)


def test_what_more_calls_cost_is_said_by_the_finding_of_more_calls() -> None:
    base = run(lambda _: [timed("f", *[timed("op", us=100)] * 3, us=20)])
    head = run(lambda _: [timed("f", *[timed("op", us=100)] * 9, us=20)])

    assert seen(diff(base, head)) == [("more", ("f",), "op")]


def test_more_calls_that_are_slower_each_are_both() -> None:
    base = run(lambda _: [timed("f", *[timed("op", us=100)] * 3, us=20)])
    head = run(lambda _: [timed("f", *[timed("op", us=200)] * 6, us=20)])

    assert seen(diff(base, head)) == [("more", ("f",), "op"), ("slower", ("f",), "op")]


def test_a_new_child_is_why_its_parent_is_slower() -> None:
    base = run(lambda _: [timed("f", us=100)])
    head = run(lambda _: [timed("f", timed("check", us=900), us=100)])

    assert seen(diff(base, head)) == [("added", ("f",), "check")]


def test_what_is_renamed_or_wrapped_is_still_compared_with_itself() -> None:
    base = run(lambda _: [timed("f", timed("a", us=100), timed("b", us=100), us=20)])
    renamed = run(lambda _: [timed("g", timed("a", us=100), timed("b", us=500), us=20)])
    wrapped = run(lambda _: [timed("w", timed("f", timed("a", us=100), timed("b", us=500), us=20), us=1)])

    assert seen(diff(base, renamed)) == [("renamed", (), "f"), ("slower", ("g",), "b")]
    assert [one.where_base and one.where_base.path[1:] for one in diff(base, renamed)] == [None, ("f",)]
    assert seen(diff(base, wrapped)) == [("wrapped", (), "w"), ("slower", ("w", "f"), "b")]
    assert seen(diff(wrapped, base)) == [("unwrapped", (), "w"), ("faster", ("f",), "b")]


def test_what_is_wrapped_is_still_compared_with_itself_if_something_else_has_come_or_gone() -> None:
    base = run(lambda _: [timed("a", us=100), timed("b", us=100)])
    head = run(lambda _: [timed("w", timed("a", us=500), us=1), timed("b", us=100), timed("new", us=1)])
    other = run(lambda _: [timed("w", timed("a", us=500), us=1), timed("b", us=100), timed("c", us=1)])

    assert seen(diff(base, head)) == [("added", (), "new"), ("wrapped", (), "w"), ("slower", ("w",), "a")]
    assert seen(diff(other, base)) == [("removed", (), "c"), ("unwrapped", (), "w"), ("faster", (), "a")]


def test_too_few_samples_say_how_many_more_would_do() -> None:
    base, head = run(lambda _: [timed("f", us=100)], 3), run(lambda _: [timed("f", us=900)], 3)
    result = diff(base, head)

    assert not result
    (one,) = result.unsure
    assert (one.name, one.base_us, one.head_us) == ("f", 100.0, 900.0)
    assert (one.base_more, one.head_more) == (2, 2)
    assert seen(diff([base] * 2, [head] * 2)) == [("slower", (), "f")]


def test_noisy_samples_that_are_too_few_are_unsure_and_not_slower() -> None:
    base, head = run(noisy(1, 0.6, {}), 5), run(noisy(101, 0.6, {"op.7": 3.0}), 5)
    result = diff(base, head)

    assert not result
    (one,) = [one for one in result.unsure if one.name == "op.7"]
    assert (one.base_more, one.head_more) == (3, 3)
    assert seen(diff(run(noisy(1, 0.6, {}), 9), run(noisy(101, 0.6, {"op.7": 3.0}), 9))) == [("slower", (), "op.7")]


def test_those_that_are_unsure_are_made_when_they_are_read_and_are_a_sequence() -> None:
    def taking(us: float) -> Trace:
        return run(lambda _: [timed(name, us=us) for name in "fgh"], 3)

    base, head = taking(100), taking(900)
    result = diff(base, head)
    everything = tuple(result.unsure)

    assert [one.name for one in everything] == ["h", "g", "f"]
    assert (result.unsure[1], result.unsure[:2], len(result.unsure)) == (everything[1], everything[:2], 3)
    assert result.unsure == everything
    assert [one.name for one in diff(base, head, ignore=["g"]).unsure] == ["h", "f"]
    assert diff(base, head, ignore=["*"]).unsure == diff(base, head, timings=False).unsure == ()
    for other in (pickle.loads(pickle.dumps(result)), replace(result, unsure=everything)):  # noqa: S301 - made here
        assert (type(other.unsure), other.unsure) == (tuple, everything)
        assert other.text() == result.text()
        assert "f (100 us -> 900 us (9.00x)): 2 more of base and 2 more of head would do" in other.text()


def test_several_baselines_make_it_certain() -> None:
    base, head = run(lambda _: [timed("f", us=100)], 3), run(lambda _: [timed("f", us=900)], 3)

    assert [(one.base_more, one.head_more) for one in diff(base, head).unsure] == [(2, 2)]
    assert seen(diff([base] * 4, head)) == [("slower", (), "f")]


def test_without_steps_each_run_is_a_sample() -> None:
    def trace(us: float) -> Trace:
        return Program({}, {"worker": [timed("f", us=us)]}).trace()

    assert seen(diff([trace(100 + n) for n in range(5)], [trace(400 + n) for n in range(5)])) == [("slower", (), "f")]
    assert diff(trace(100), trace(400)).unsure[0].base_more == 4


def test_steps_that_only_one_side_has_are_no_samples() -> None:
    base = run(lambda _: [timed("f", us=100)])
    head = run(lambda n: [timed("f", us=100 if n < 8 else 9000)], 14)

    assert diff(base, head).counts == {"new": 1}


def test_steps_that_the_window_cut_are_no_samples() -> None:
    def trace(us: float, *, cut: bool) -> Trace:
        builder = TraceBuilder(Origin(pid=1))
        track = builder.thread(1, 1, "MainThread", "train.py")
        for number in range(8):
            builder.slice(track, f"ProfilerStep#{number}", number * 10**7, round(us * 1000), cut=cut and number < 4)
        return builder.build()

    assert trace(1, cut=True).columns.kind[0] & CUT
    (one,) = diff(trace(100, cut=True), trace(900, cut=False))
    assert one.evidence is not None
    assert (one.evidence.base_samples, one.evidence.head_samples) == (4, 8)


# ---- noise ----


def noisy(seed: int, spread: float, slow: dict[str, float], paths: int = 60) -> Callable[[int], list[Node]]:
    """Steps of many slices whose times vary as times do: never less than so much, with a long tail."""
    chance = random.Random(seed)  # noqa: S311 - the same noise every time

    def step(_: int) -> list[Node]:
        names = [f"op.{at}" for at in range(paths)]
        return [timed(name, us=400 * slow.get(name, 1.0) * math.exp(abs(chance.gauss(0, spread)))) for name in names]

    return step


@pytest.mark.parametrize("spread", [0.02, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("steps", [5, 12])
def test_noise_is_a_finding_once_in_a_hundred_comparisons(spread: float, steps: int) -> None:
    """Of sixty paths, each of which alone would be one in a hundred times."""
    wrong = 0
    for seed in range(25):
        result = diff(run(noisy(seed, spread, {}), steps), run(noisy(seed + 1000, spread, {}), steps))
        wrong += bool(result.of_kinds("slower", "faster"))

    assert wrong <= (1 if spread > 0.5 else 0)


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_what_is_slower_is_found_in_noise(spread: float) -> None:
    base, head = run(noisy(1, spread, {}), 12), run(noisy(101, spread, {"op.7": 2.5}), 12)

    assert seen(diff(base, head)) == [("slower", (), "op.7")]


def test_a_small_shift_in_much_noise_is_found_with_many_samples() -> None:
    base = run(noisy(1, 0.5, {}, paths=5), 400)
    head = run(noisy(101, 0.5, {"op.3": 1.5}, paths=5), 400)

    assert ("slower", (), "op.3") in seen(diff(base, head))
    assert len([one for one in diff(base, head) if one.kind == "slower"]) == 1


# ---- outliers ----


def test_one_call_far_out_of_line_is_a_finding_in_its_step() -> None:
    base = run(lambda _: [timed("save", timed("write", us=200), us=20)])
    head = run(lambda n: [timed("save", timed("write", us=200 if n != 5 else 30 * MS), us=20)])
    (one,) = diff(base, head).findings

    assert (one.kind, one.where.path[1:], one.name, one.where.steps) == ("outlier", ("save",), "write", (5,))
    assert (one.base, one.head) == (200.0, 30_000.0)
    assert one.note == "one call of head; usually 200.0 us"
    assert seen(diff(head, base)) == [("outlier", ("save",), "write")]


def test_an_outlier_that_both_have_is_none() -> None:
    trace = run(lambda n: [timed("write", us=200 if n != 5 else 30 * MS)])
    other = run(lambda n: [timed("write", us=200 if n != 2 else 29 * MS)])

    assert not diff(trace, other)


def test_a_machine_that_stalls_now_and_then_is_no_outlier() -> None:
    """What is as far out of line elsewhere on the thread speaks against it, on either side; one other does not."""

    def stalled(*at: int) -> Trace:
        return run(lambda n: [timed(f"op.{place}", us=200 if n != step else 30 * MS) for place, step in enumerate(at)])

    assert seen(diff(stalled(99, 99, 99), stalled(5, 99, 99))) == [("outlier", (), "op.0")]
    assert len(diff(stalled(99, 99, 99), stalled(5, 2, 99))) == 2
    assert seen(diff(stalled(99, 99, 3), stalled(5, 2, 99))) == []


def test_few_steps_do_not_say_what_is_usual() -> None:
    def one_long(steps: int) -> Diff:
        usual, long = (
            run(lambda _: [timed("write", us=9)], steps),
            lambda n: [timed("write", us=20 * MS if n == 2 else 9)],
        )
        return diff(usual, run(long, steps))

    assert not one_long(4)
    assert seen(one_long(5)) == [("outlier", (), "write")]


def test_how_far_out_of_line_is_a_rule() -> None:
    base = run(lambda _: [timed("write", us=200)])
    head = run(lambda n: [timed("write", us=200 if n != 5 else 900)])

    assert not diff(base, head)
    assert seen(diff(base, head, outlier_ratio=4, outlier_us=500)) == [("outlier", (), "write")]
