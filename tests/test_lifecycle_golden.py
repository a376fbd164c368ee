"""Whole lifecycles against torch 2.13's, call by call, as fixtures/torch-2.13/runs.json holds them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from stepscope import ProfilerAction, StepscopeWarning, profile, schedule

RUNS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "torch-2.13" / "runs.json").read_text()
)


class ProgramError(Exception):
    """What a callback, a schedule or a body of these runs raises."""


class Logged(profile):
    """A profile that writes down what is done, as the oracle does with torch's."""

    def __init__(self, **options: Any) -> None:
        self.log: list[list[Any]] = []
        super().__init__(**options)

    def prepare_trace(self) -> None:
        self.log.append(["prepare", self.step_num])
        super().prepare_trace()

    def start_trace(self) -> None:
        self.log.append(["start", self.step_num])
        super().start_trace()

    def stop_trace(self) -> None:
        self.log.append(["stop", self.step_num])
        super().stop_trace()

    def _trace_ready(self) -> None:
        if self.on_trace_ready is not None:
            self.log.append(["ready", self.step_num, self.current_action.name])
        super()._trace_ready()

    def _begin_step(self) -> None:
        super()._begin_step()
        if self.record_steps:
            self.log.append(["begin", f"ProfilerStep#{self.step_num}"])

    def _end_step(self) -> None:
        if self._step_mark is not None:
            self.log.append(["end", self._step_mark.name])
        super()._end_step()


def plan_of(run: dict[str, Any]) -> Any:
    """The schedule of a run: torch's arguments, or a list of actions that goes on with NONE."""
    wanted = run["schedule"]
    if wanted is None:
        return None
    if "args" in wanted:
        return schedule(**wanted["args"])
    actions: list[str] = wanted["actions"]

    def user_schedule(step: int) -> ProfilerAction:
        name = actions[step] if step < len(actions) else "NONE"
        if name == "raises":
            raise ProgramError
        return ProfilerAction[name]

    return user_schedule


def replay(run: dict[str, Any]) -> list[list[list[Any]]]:
    """What our profile does during each call of a run."""
    callbacks = {"records": lambda _: None, "none": None}
    prof = Logged(schedule=plan_of(run), on_trace_ready=callbacks[run["callback"]])
    calls = {
        "enter": prof.__enter__,
        "exit": lambda: prof.__exit__(None, None, None),
        "exit_failing": lambda: prof.__exit__(ProgramError, ProgramError(), None),
        "start": prof.start,
        "stop": prof.stop,
        "step": prof.step,
    }
    done: list[list[list[Any]]] = []
    for call in run["calls"]:
        before = len(prof.log)
        calls[call]()
        done.append(prof.log[before:])
    return done


def is_held(run: dict[str, Any]) -> bool:
    """Whether ours goes as torch's: where it differs on purpose, tests/test_profile.py says how."""
    calls = run["calls"]
    repeats = ((run["schedule"] or {}).get("args") or {}).get("repeat", 0)
    started = False
    for call in calls:
        if call in ("enter", "start"):
            if started:
                return False  # torch loses the open step; ours refuses
            started = True
        elif not started:
            return False  # torch goes on, with whatever comes of it; ours refuses
        elif call not in ("step",):
            started = False
    again = sum(call in ("enter", "start") for call in calls) > 1 and repeats > 0
    logs = zip(calls, run["log"], strict=True)
    raises = any(event[0] == "raise" for call, log in logs for event in log if call != "exit_failing")
    # A schedule that is used up begins anew at start(); errors end the run; torch's disorder crashes it.
    return not started and not again and not raises and run["callback"] != "raises" and run["orderly"]


GOLDEN = [run for run in RUNS if is_held(run)]


def test_most_of_the_oracles_runs_are_held() -> None:
    assert len(GOLDEN) > len(RUNS) * 3 // 4


@pytest.mark.parametrize("run", GOLDEN, ids=lambda run: run["name"])
def test_a_run_goes_as_torchs(run: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StepscopeWarning)
        done = replay(run)

    torchs = [[event for event in call if event[0] not in ("warn", "raise")] for call in run["log"]]
    assert done == torchs
