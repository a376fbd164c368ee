"""Budgets: at most so many calls, none, a share of each step, no growth; and messages that show what is too much."""

from collections.abc import Callable

import pytest

from stepscope import Budget, BudgetError, Trace
from stepscope.model.build import TraceBuilder

MS = 1_000_000


def steps(build: Callable[[TraceBuilder, int, int, int], None], count: int = 3) -> Trace:
    """Steps of 10 ms; `build` gets the builder, the track, the step's number and its start."""
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    for number in range(count):
        builder.slice(track, f"ProfilerStep#{number}", number * 10 * MS, 10 * MS)
        build(builder, track, number, number * 10 * MS)
    return builder.build()


def loads(builder: TraceBuilder, track: int, number: int, start: int) -> None:
    """Step 0 and 1 load once, step 2 loads twice, in "fetch"."""
    builder.slice(track, "fetch", start + MS, 8 * MS)
    for call in range(2 if number == 2 else 1):
        builder.slice(track, "load", start + (2 + 3 * call) * MS, 2 * MS)
    builder.instant(track, "cache miss", start + 9 * MS)


def message(budget: Callable[[], None]) -> str:
    with pytest.raises(BudgetError) as caught:
        budget()
    assert isinstance(caught.value, AssertionError)
    return str(caught.value)


def test_calls_within_the_budget_pass() -> None:
    budget = Budget(steps(loads))

    budget.calls("load", at_most=4)
    budget.calls("lo*", at_most=4, at_least=4)
    budget.calls("load", at_most=2, per_step=True)
    budget.calls("cache miss", at_most=1, at_least=1, per_step=True)
    budget.no_calls("store")


def test_too_many_calls_are_shown_in_their_tree() -> None:
    budget = Budget(steps(loads))

    assert message(lambda: budget.calls("load", at_most=3)) == (
        "4 calls of 'load', at most 3 are allowed:\n"
        "  thread MainThread\n"
        "    ProfilerStep#0 to #1\n"
        "      fetch\n"
        ">       load\n"
        "    ProfilerStep#2\n"
        "      fetch\n"
        ">       load x2"
    )
    assert message(lambda: budget.calls("load", at_most=1, per_step=True)) == (
        "2 calls of 'load' in step 2, at most 1 is allowed:\n"
        "  thread MainThread\n"
        "    ProfilerStep#2\n"
        "      fetch\n"
        ">       load x2"
    )
    assert message(lambda: budget.no_calls("cache*")).startswith("3 calls of 'cache*', none is allowed:\n")


def test_too_few_calls_name_those_there_are() -> None:
    budget = Budget(steps(loads))

    assert message(lambda: budget.calls("store", at_most=5, at_least=1)) == (
        "0 calls of 'store', at least 1 is wanted. "
        "Names are 'ProfilerStep#0', 'ProfilerStep#1', 'ProfilerStep#2', 'cache miss', 'fetch', 'load'."
    )
    assert message(lambda: budget.calls("load", at_most=9, at_least=5)) == "4 calls of 'load', at least 5 are wanted."
    with pytest.raises(ValueError, match=r"calls of 'load' cannot be at least 3 and at most 2\."):
        budget.calls("load", at_most=2, at_least=3)


def test_many_findings_are_cut_to_what_can_be_read() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    for number in range(200):
        builder.slice(track, "a" if number % 2 else "b", number * 10, 5)
    text = message(lambda: Budget(builder.build()).no_calls("*"))

    assert len(text.split("\n")) == 32
    assert text.endswith("\n  ... and 171 lines more")


def test_a_call_512_levels_deep_is_shown() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    for run in range(2):
        for level in range(512):
            builder.slice(track, "again", run * 3000 + level, 2000 - 2 * level)
    text = message(lambda: Budget(builder.build()).no_calls("again"))

    assert text.split("\n")[:4] == [
        "1024 calls of 'again', none is allowed:",
        "  thread MainThread",
        ">   again x2",
        ">     again",
    ]


def test_a_name_with_brackets_is_itself() -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(1, 1, "MainThread"), "layer[0]", 0, 5)
    budget = Budget(builder.build())

    budget.calls("layer[0]", at_most=1, at_least=1)
    assert message(lambda: budget.no_calls("layer[0]"))


def test_when_records_are_lost_nobody_knows_the_count() -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(1, 1, "MainThread"), "a", 0, 5)
    builder.problem("dropped", 12, "on thread 'MainThread' the memory for records was spent")

    assert message(lambda: Budget(builder.build()).no_calls("load")) == (
        "nobody knows how often 'load' was called: 12 records were dropped (on thread 'MainThread' the memory for "
        "records was spent). Record less, or with more memory: buffer_bytes=."
    )


def halves(builder: TraceBuilder, track: int, number: int, start: int) -> None:
    """ "work" covers 2, 4 and 5 of 10 ms: nested, on two threads, and over the steps' edges."""
    builder.slice(track, "work", start + MS, MS)
    builder.slice(track, "work", start + MS, MS // 2)
    builder.slice(builder.thread(1, 2 + number, "worker"), "work", start + 9 * MS - number * MS, (2 + number) * MS)


def test_a_share_of_a_step_counts_what_overlaps_once_on_all_threads() -> None:
    budget = Budget(steps(halves))

    budget.share_of_step("work", at_most=0.5)
    text = message(lambda: budget.share_of_step("work", at_most=0.25))
    assert text.split("\n")[0] == (
        "'work' takes 50% of step 2 (5.000 ms of 10.000 ms), 25% is allowed, and 1 more of 3 steps are over:"
    )
    assert text.split("\n")[1:] == [
        "  thread MainThread",
        ">   ProfilerStep#2  10.000 ms",
        ">     work  1.000 ms",
        ">       work  0.500 ms",
        "  thread worker",
        ">   work  3.000 ms",
        "  thread worker",
        ">   work  4.000 ms",
    ]


def test_a_share_of_nothing_is_a_misspelt_name() -> None:
    budget = Budget(steps(halves))

    assert message(lambda: budget.share_of_step("wrok", at_most=0.5)).startswith(
        "no slice is called 'wrok', so its share is not known. Names are "
    )
    with pytest.raises(ValueError, match=r"at_most is a share of a step, from 0 to 1; got 50\."):
        budget.share_of_step("work", at_most=50)


def leaks(by: float) -> Callable[[TraceBuilder, int, int, int], None]:
    def build(builder: TraceBuilder, track: int, number: int, start: int) -> None:
        counter = builder.counter_track(1, "memory", "bytes")
        builder.count(counter, start + MS, 1000)
        builder.count(counter, start + 2 * MS, 100 + by * number)

    return build


def test_a_counter_that_falls_back_to_where_it_was_does_not_grow() -> None:
    Budget(steps(leaks(0))).no_growth("memory")
    Budget(steps(leaks(-1))).no_growth("mem*")
    Budget(steps(leaks(4))).no_growth("memory", allow=8)


def test_a_counter_that_grows_is_a_leak() -> None:
    budget = Budget(steps(leaks(4)))

    assert message(lambda: budget.no_growth("memory")) == (
        "counter 'memory' grows by 8 bytes in 3 steps, no growth is allowed:\n"
        "    at the end of step 0: 100 bytes\n"
        "    at the end of step 1: 104 bytes\n"
        "    at the end of step 2: 108 bytes"
    )
    assert "grows by 8 bytes in 3 steps, 7.5 bytes is allowed:" in message(lambda: budget.no_growth("*", allow=7.5))
    assert message(lambda: budget.no_growth("memroy")) == "no counter is called 'memroy'; there are memory."
    assert message(lambda: Budget(steps(leaks(1), 1)).no_growth("memory")).startswith(
        "counter 'memory' is known at the end of 1 steps, two at least are needed."
    )


def test_what_is_about_steps_says_how_to_have_some() -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(1, 1, "MainThread"), "a", 0, 5)
    budget = Budget(builder.build())

    for call in (
        lambda: budget.calls("a", at_most=1, per_step=True),
        lambda: budget.share_of_step("a", at_most=1),
        lambda: budget.no_growth("a"),
    ):
        assert message(call) == (
            "there are no steps in the trace. Record with schedule=schedule(wait=0, warmup=1, active=3, repeat=1), "
            "and call step() on the profile."
        )
