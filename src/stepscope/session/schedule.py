"""The schedule: which step is waited for, warmed up, recorded. Pure functions of a step's number.

Source: torch.profiler.schedule of torch 2.13, whose result for every step this one has. It differs in what it
refuses (bad values are a ScheduleError that names them) and in that it can explain itself.
"""

import warnings
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from stepscope.model.errors import ScheduleError, StepscopeWarning

__all__ = ["Explanation", "ProfilerAction", "Schedule", "StepPlan", "explain", "schedule"]


class ProfilerAction(Enum):
    """What the profiler does during a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class StepPlan(NamedTuple):
    """One row of an explanation."""

    step: int
    action: ProfilerAction


class Explanation(tuple[StepPlan, ...]):
    """The first steps and their actions; a tuple of StepPlan that prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(["step  action", *(f"{step:>4}  {action.name}" for step, action in self)])


def explain(plan: Callable[[int], ProfilerAction], steps: int) -> Explanation:
    """What a schedule, of anybody's making, does in steps 0 to `steps` - 1."""
    return Explanation(StepPlan(step, action_at(plan, step)) for step in range(steps))


def action_at(plan: Callable[[int], ProfilerAction], step: int) -> ProfilerAction:
    """Ask a schedule about a step.

    Raises:
        ScheduleError: it answered something else than a ProfilerAction.
        TypeError: it is not a schedule but what makes one.
    """
    maker: object = schedule
    if plan is maker:
        message = (
            "schedule= is the function stepscope.schedule. Call it: schedule=schedule(wait=1, warmup=1, active=3)."
        )
        raise TypeError(message)
    action = plan(step)
    if not isinstance(action, ProfilerAction):
        message = (
            f"the schedule returned {action!r} for step {step}. "
            "Return a stepscope.ProfilerAction: NONE, WARMUP, RECORD or RECORD_AND_SAVE."
        )
        raise ScheduleError(message)
    return action


class Schedule:
    """Rounds of wait, warmup and active steps; made by `schedule`, called with a step's number."""

    def __init__(  # noqa: PLR0917 - made by `schedule`, whose arguments are keywords
        self,
        wait: int,
        warmup: int,
        active: int,
        repeat: int,
        skip_first: int,
        skip_first_wait: int,
    ) -> None:
        self.wait = wait
        self.warmup = warmup
        self.active = active
        self.repeat = repeat
        self.skip_first = skip_first
        self.skip_first_wait = skip_first_wait

    def __call__(self, step: int) -> ProfilerAction:
        """The action of a step.

        Raises:
            ScheduleError: step is negative.
        """
        if step < 0:
            message = f"step must be at least 0, got {step}. Steps are counted from 0."
            raise ScheduleError(message)
        if step < self.skip_first or self.exhausted(step):
            return ProfilerAction.NONE
        place = self._counted(step) % self._round
        if place < self.wait:
            return ProfilerAction.NONE
        if place < self.wait + self.warmup:
            return ProfilerAction.WARMUP
        last = place == self._round - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    def exhausted(self, step: int) -> bool:
        """Whether the rounds that `repeat` asks for are over by this step, so that nothing is recorded any more."""
        return self.repeat > 0 and self._counted(step) >= self.repeat * self._round

    def explain(self, steps: int) -> Explanation:
        """What happens in steps 0 to `steps` - 1; print it to see a table."""
        return explain(self, steps)

    @property
    def _round(self) -> int:
        return self.wait + self.warmup + self.active

    def _counted(self, step: int) -> int:
        """The step's place in the rounds, were the first round whole."""
        return step - self.skip_first + (self.wait if self.skip_first_wait else 0)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"schedule({arguments})"


# argument -> (the least it may be, what a smaller one is and what to do instead)
LIMITS = {
    "wait": (0, "Use 0 not to wait."),
    "warmup": (0, "Use 0 for no warm-up."),
    "active": (
        1,
        "Such a schedule never records. Use active=1, or leave out schedule= to record everything.",
    ),
    "repeat": (0, "Use 0 to repeat until the profiler stops."),
    "skip_first": (0, "Use 0 to skip no steps."),
    "skip_first_wait": (0, "Use 0 to wait before the first round too, 1 not to."),
}


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Schedule:
    """A schedule of rounds: wait, warm up, record, and again.

    Args:
        wait: steps at the start of each round in which nothing happens.
        warmup: steps after them in which nothing is recorded but the profiler is ready.
        active: steps after those that are recorded; the last one ends a cycle.
        repeat: how many rounds; 0 for as many as the program has.
        skip_first: steps before the first round.
        skip_first_wait: if not 0, the first round does not wait.

    Raises:
        ScheduleError: an argument is not an int, or is too small.
    """
    arguments = {
        "wait": wait,
        "warmup": warmup,
        "active": active,
        "repeat": repeat,
        "skip_first": skip_first,
        "skip_first_wait": skip_first_wait,
    }
    for name, value in arguments.items():
        _hold_to_limit(name, value)
    if warmup == 0:
        message = "Profiler won't be using warmup, this can skew profiler results. Use warmup=1 or more."
        warnings.warn(message, StepscopeWarning, stacklevel=2)
    return Schedule(**arguments)


def _hold_to_limit(name: str, value: object) -> None:
    least, fix = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"{name} must be an int, got {value!r} of type {type(value).__name__}. Give a number of steps."
        raise ScheduleError(message)
    if value < least:
        message = f"{name} must be at least {least}, got {value}. {fix}"
        raise ScheduleError(message)
