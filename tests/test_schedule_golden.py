"""Our schedule() is torch's: held to the recorded answers, then to a model of its arithmetic."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepscope import ProfilerAction, ScheduleError, StepscopeWarning, schedule

Args = dict[str, int]

GOLDEN = Path(__file__).parent.parent / "fixtures" / "torch-2.13" / "schedules.json"
ROWS: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
REFUSED = [row for row in ROWS if "refused" in row]
# torch does not look at skip_first_wait, so that -1 is as good as 1; ours refuses it on purpose.
UNCHECKED = [row for row in ROWS if row["args"]["skip_first_wait"] < 0]
FOLLOWED = [row for row in ROWS if row not in REFUSED and row not in UNCHECKED]


def quietly(args: Args) -> Callable[[int], ProfilerAction]:
    """The schedule without its warning about warmup, which has a test of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StepscopeWarning)
        return schedule(**args)


def timeline(args: Args, steps: int) -> str:
    """The model: the actions laid out one behind the other, with no division anywhere."""
    wait = "0" * args["wait"]
    cycle = wait + "1" * args["warmup"] + "2" * (args["active"] - 1) + "3"
    cycles = cycle * (args["repeat"] or steps + 2)
    if args["skip_first_wait"]:
        cycles = cycles[len(wait) :]
    return ("0" * args["skip_first"] + cycles).ljust(steps, "0")[:steps]


def digits(args: Args, steps: int) -> str:
    action = quietly(args)
    return "".join(str(action(step).value) for step in range(steps))


def test_the_fixture_holds_schedules_of_both_kinds() -> None:
    """An empty fixture would let every test below pass."""
    assert len(FOLLOWED) > 600
    assert len(REFUSED) >= 6
    assert {"0", "1", "2", "3"} == set("".join(row["actions"] for row in FOLLOWED))


def test_every_step_of_every_recorded_schedule_has_torchs_action() -> None:
    wrong = [
        (row["args"], ours, row["actions"])
        for row in FOLLOWED
        if (ours := digits(row["args"], len(row["actions"]))) != row["actions"]
    ]

    assert wrong == []


def test_a_schedule_answers_in_our_actions() -> None:
    action = schedule(wait=1, warmup=1, active=2)

    assert [action(step) for step in range(5)] == [
        ProfilerAction.NONE,
        ProfilerAction.WARMUP,
        ProfilerAction.RECORD,
        ProfilerAction.RECORD_AND_SAVE,
        ProfilerAction.NONE,
    ]


def test_a_schedule_can_be_asked_in_any_order() -> None:
    """It remembers nothing: the step alone decides, so a profiler may be restarted."""
    action = schedule(wait=1, warmup=1, active=2, repeat=2)
    forwards = [action(step) for step in range(12)]

    assert [action(step) for step in reversed(range(12))] == forwards[::-1]


def test_a_schedule_warns_where_torch_does_and_nowhere_else() -> None:
    """The words are ours, the occasions torch's."""
    for row in FOLLOWED:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            schedule(**row["args"])

        assert [warning.category for warning in said] == [StepscopeWarning] * len(row["warnings"])


def test_the_warning_about_warmup_points_at_the_line_that_made_the_schedule() -> None:
    with pytest.warns(StepscopeWarning, match="warmup") as said:
        schedule(wait=1, warmup=0, active=1)

    assert [warning.filename for warning in said] == [__file__]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: str(row["args"]))
def test_what_torch_refuses_is_refused_with_a_schedule_error(row: dict[str, Any]) -> None:
    """torch raises AssertionError; ours is a ValueError too, which is what a bad argument is."""
    assert row["refused"].startswith("AssertionError: ")
    with pytest.raises(ScheduleError) as refusal:
        schedule(**row["args"])

    assert isinstance(refusal.value, ValueError)


def test_a_negative_skip_first_wait_is_refused_though_torch_takes_it() -> None:
    assert len(UNCHECKED) == 1
    for row in UNCHECKED:
        with pytest.raises(ScheduleError, match="skip_first_wait"):
            schedule(**row["args"])


def test_the_model_is_torchs_arithmetic() -> None:
    """The laws below are about torch only as long as their model is."""
    wrong = [row for row in FOLLOWED if timeline(row["args"], len(row["actions"])) != row["actions"]]

    assert wrong == []


ARGS = st.fixed_dictionaries(
    {
        "wait": st.integers(0, 12),
        "warmup": st.integers(0, 12),
        "active": st.integers(1, 12),
        "repeat": st.integers(0, 5),
        "skip_first": st.integers(0, 12),
        "skip_first_wait": st.integers(0, 2),
    }
)


@given(args=ARGS, steps=st.integers(1, 120))
@example(
    args={
        "wait": 3,
        "warmup": 1,
        "active": 2,
        "repeat": 1,
        "skip_first": 2,
        "skip_first_wait": 1,
    },
    steps=12,
)
def test_any_schedule_follows_the_model(args: Args, steps: int) -> None:
    assert digits(args, steps) == timeline(args, steps)


@given(args=ARGS)
def test_a_repeated_schedule_saves_once_a_cycle_and_then_never_again(args: Args) -> None:
    cycle = args["wait"] + args["warmup"] + args["active"]
    last = args["skip_first"] + cycle * args["repeat"]
    actions = digits(args, last + cycle)

    assert actions.count("3") == args["repeat"] or args["repeat"] == 0
    assert args["repeat"] == 0 or set(actions[last:]) == {"0"}
