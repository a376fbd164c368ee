"""What a schedule refuses, how it explains itself, and what it says when it is used up."""

import pytest

from stepscope import ProfilerAction, ScheduleError, StepscopeWarning, explain, profile, schedule

NONE, WARMUP, RECORD, SAVE = ProfilerAction


def test_the_actions_have_torchs_values() -> None:
    assert [(action.name, action.value) for action in ProfilerAction] == [
        ("NONE", 0),
        ("WARMUP", 1),
        ("RECORD", 2),
        ("RECORD_AND_SAVE", 3),
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"wait": -1}, "wait must be at least 0, got -1. Use 0 not to wait."),
        ({"warmup": -2}, "warmup must be at least 0, got -2. Use 0 for no warm-up."),
        ({"active": 0}, "active must be at least 1, got 0. Such a schedule never records. Use active=1"),
        ({"active": -3}, "active must be at least 1, got -3."),
        ({"repeat": -1}, "repeat must be at least 0, got -1. Use 0 to repeat until the profiler stops."),
        ({"skip_first": -1}, "skip_first must be at least 0, got -1."),
        ({"skip_first_wait": -1}, "skip_first_wait must be at least 0, got -1."),
        ({"wait": 1.0}, "wait must be an int, got 1.0 of type float."),
        ({"active": True}, "active must be an int, got True of type bool."),
        ({"warmup": "1"}, "warmup must be an int, got '1' of type str."),
        ({"repeat": None}, "repeat must be an int, got None of type NoneType."),
    ],
)
def test_a_bad_argument_is_named_with_its_value_and_the_fix(bad: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"wait": 1, "warmup": 1, "active": 1}
    with pytest.raises(ScheduleError) as caught:
        schedule(**{**good, **bad})  # type: ignore[arg-type]

    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_schedule_without_warmup_warns_as_torchs_does() -> None:
    with pytest.warns(StepscopeWarning, match="Profiler won't be using warmup, this can skew profiler results"):
        schedule(wait=1, warmup=0, active=1)


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ScheduleError, match="step must be at least 0, got -1"):
        schedule(wait=0, warmup=1, active=1)(-1)


def test_a_schedule_explains_itself_as_rows_and_as_a_table() -> None:
    explanation = schedule(wait=1, warmup=1, active=2, repeat=1).explain(5)

    assert explanation == ((0, NONE), (1, WARMUP), (2, RECORD), (3, SAVE), (4, NONE))
    assert str(explanation).splitlines() == [
        "step  action",
        "   0  NONE",
        "   1  WARMUP",
        "   2  RECORD",
        "   3  RECORD_AND_SAVE",
        "   4  NONE",
    ]


def test_anybodys_schedule_is_explained() -> None:
    assert explain(lambda _: RECORD, 2) == ((0, RECORD), (1, RECORD))


def test_a_schedule_shows_its_arguments() -> None:
    shown = repr(schedule(wait=1, warmup=2, active=3))

    assert shown == "schedule(wait=1, warmup=2, active=3, repeat=0, skip_first=0, skip_first_wait=0)"


@pytest.mark.parametrize("bad", [2, "RECORD", object()])
def test_a_schedule_that_is_not_callable_is_a_type_error(bad: object) -> None:
    with pytest.raises(TypeError, match="schedule must be None or callable"):
        profile(schedule=bad)  # type: ignore[arg-type]


def test_an_answer_that_is_no_action_is_an_error_at_the_step_where_it_came() -> None:
    with pytest.raises(ScheduleError, match=r"the schedule returned 2 for step 0\. Return a stepscope.ProfilerAction"):
        profile(schedule=lambda _: 2)  # type: ignore[arg-type, return-value]

    prof = profile(schedule=lambda step: SAVE if step < 2 else None)  # type: ignore[arg-type, return-value]
    with prof:
        prof.step()
        with pytest.raises(ScheduleError, match="the schedule returned None for step 2"):
            prof.step()
        assert prof.step_num == 1
        assert prof.current_action is SAVE
    assert prof.session is not None
    assert prof.session.last_step == 1


def test_a_schedule_that_was_not_called_says_so() -> None:
    with pytest.raises(TypeError, match=r"Call it: schedule=schedule\(wait=1, warmup=1, active=3\)"):
        profile(schedule=schedule)  # type: ignore[arg-type]
