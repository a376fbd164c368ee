"""The oracle: what the real torch.profiler does, asked of torch itself.

Every answer is plain JSON. tools/refresh_fixtures.py writes the answers down, test_torch_oracle
asks again. Nothing is ever recorded: the three calls that reach torch's engine are replaced, so a
sequence that would kill the process is only written down. Holds none of our own behaviour.
"""

import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from unittest.mock import patch

VERSION = "2.13"

# One thing that happened: ["prepare", 3], ["begin", "ProfilerStep#3"], ["warn", "..."].
Event = list[Any]
Record = dict[str, Any]
Args = dict[str, int]


def unavailable() -> str | None:
    """Why torch cannot be asked here, or None. Does not import torch: that takes seconds."""
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return f"torch is not installed; the fixtures are of torch {VERSION}"
    if not found.startswith(f"{VERSION}."):
        return f"torch {found} is installed; the fixtures are of torch {VERSION}"
    return None


# Schedules: the arithmetic of torch.profiler.schedule.


def _args(wait: int, warmup: int, active: int, **rest: int) -> Args:
    plain = {"repeat": 0, "skip_first": 0, "skip_first_wait": 0}
    return {"wait": wait, "warmup": warmup, "active": active, **plain, **rest}


def _schedule_grid() -> Iterator[Args]:
    """Every mixture of small arguments, then some of the sizes people use."""
    names = ("wait", "warmup", "active", "repeat", "skip_first", "skip_first_wait")
    for values in product((0, 1, 2, 5), (0, 1, 2), (1, 2, 3), (0, 1, 2), (0, 1, 4), (0, 1)):
        yield dict(zip(names, values, strict=True))
    yield _args(20, 5, 8, repeat=3, skip_first=10)
    yield _args(20, 5, 8, repeat=3, skip_first=10, skip_first_wait=1)
    yield _args(0, 0, 50, repeat=1)
    yield _args(0, 7, 1)
    # Any value but 0 drops the first wait; torch does not check it.
    yield _args(3, 1, 2, repeat=2, skip_first_wait=7)
    yield _args(3, 1, 2, repeat=2, skip_first_wait=-1)


REFUSED = (
    _args(-1, 1, 1),
    _args(0, -1, 1),
    _args(0, 1, 0),
    _args(0, 1, -1),
    _args(0, 1, 1, repeat=-1),
    _args(0, 1, 1, skip_first=-1),
)


def schedules() -> list[Record]:
    """The action of every step, as a string of digits: character i is the action's value at step i.

    Each row runs one cycle past its last repeat, or for three cycles where it repeats for ever.
    """
    from torch.profiler import schedule

    rows: list[Record] = []
    for args in _schedule_grid():
        events: list[Event] = []
        with _warnings_into(events):
            action = schedule(**args)
        cycle = args["wait"] + args["warmup"] + args["active"]
        steps = args["skip_first"] + cycle * ((args["repeat"] or 2) + 1)
        rows.append(
            {
                "args": args,
                "actions": "".join(str(action(step).value) for step in range(steps)),
                "warnings": [text for _, text in events],
            }
        )
    return [*rows, *({"args": args, "refused": _refusal(args)} for args in REFUSED)]


def _refusal(args: Args) -> str | None:
    from torch.profiler import schedule

    try:
        schedule(**args)
    except AssertionError as error:
        return f"AssertionError: {error}"
    return None


# Transitions: what lies between one action and the next.


def transitions() -> dict[str, list[str]]:
    """The operations of every pair of actions, in torch's order; None as the next is the exit."""
    from torch.profiler import ProfilerAction

    events: list[Event] = []
    profiler = _recorded_profile(events, lambda _: ProfilerAction.NONE, "records")
    actions = [
        ProfilerAction.NONE,
        ProfilerAction.WARMUP,
        ProfilerAction.RECORD,
        ProfilerAction.RECORD_AND_SAVE,
    ]
    names = {
        "prepare": "prepare_trace",
        "start": "start_trace",
        "stop": "stop_trace",
        "ready": "trace_ready",
    }
    table: dict[str, list[str]] = {}
    for before, after in product(actions, [*actions, None]):
        events.clear()
        with _warnings_into(events):
            profiler.transit(before, after)
        table[f"{before.name}->{after.name if after else None}"] = [
            f"warn: {event[1]}" if event[0] == "warn" else names[event[0]] for event in events
        ]
    return table


# Runs: whole lifecycles.


@dataclass(frozen=True)
class Plan:
    """What to do to a profiler: its schedule (None, args or actions), the calls, the callback."""

    name: str
    schedule: Record | None
    calls: tuple[str, ...]
    callback: str = "records"


def runs() -> list[Record]:
    """Every plan, with what torch did in each of its calls."""
    return [_run(plan) for family in FAMILIES for plan in family()]


def _steps(count: int, leave: str = "exit") -> tuple[str, ...]:
    return ("enter", *("step",) * count, leave)


def _without_schedule() -> Iterator[Plan]:
    for count, leave, callback in product((0, 2), ("exit", "exit_failing"), ("records", "none", "raises")):
        name = f"no schedule, {count} steps, {leave}, callback {callback}"
        yield Plan(name, None, _steps(count, leave), callback)
    yield Plan("no schedule, restarted", None, ("start", "stop", "start", "step", "stop"))


def _with_schedule() -> Iterator[Plan]:
    for args, most in (
        (_args(1, 1, 3, repeat=1), 7),
        (_args(0, 1, 1), 5),
        (_args(1, 1, 1), 5),
        (_args(0, 0, 1), 3),
        (_args(1, 0, 2), 5),
        (_args(1, 1, 2, repeat=2), 10),
        (_args(1, 1, 2, repeat=1, skip_first=2), 7),
        (_args(2, 1, 1, repeat=2, skip_first=1, skip_first_wait=1), 9),
    ):
        shape = " ".join(f"{key}={value}" for key, value in args.items() if value)
        for count, leave in product(range(most + 1), ("exit", "exit_failing")):
            yield Plan(f"{shape}, {count} steps, {leave}", {"args": args}, _steps(count, leave))
    yield Plan("a schedule and no callback", {"args": _args(0, 1, 1)}, _steps(4), "none")


def _with_actions() -> Iterator[Plan]:
    """Every sequence of up to three actions, each step one of them, then the exit."""
    for length in (1, 2, 3):
        for actions in product(("NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"), repeat=length):
            name = f"actions {' '.join(actions)}"
            yield Plan(name, {"actions": list(actions)}, _steps(length - 1))


def _restarted() -> Iterator[Plan]:
    args = _args(1, 1, 2, repeat=1)
    for count in range(6):
        calls = ("start", *("step",) * count, "stop", "start", "step", "step", "stop")
        yield Plan(f"restarted after {count} steps", {"args": args}, calls)
    yield Plan("entered again", {"args": args}, (*_steps(4), *_steps(4)))


def _failing() -> Iterator[Plan]:
    """What the program's own code raises, and the exit that follows it."""
    for after in ("NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"):
        actions = {"actions": ["RECORD_AND_SAVE", after]}
        name = f"callback raises between RECORD_AND_SAVE and {after}"
        yield Plan(f"{name}, exit", actions, _steps(1, "exit_failing"), "raises")
        yield Plan(f"{name}, another step", actions, _steps(2), "raises")
    for leave in ("exit", "exit_failing"):
        actions = {"actions": ["RECORD"]}
        yield Plan(f"callback raises at {leave}", actions, _steps(0, leave), "raises")
    for before in ("NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"):
        actions = {"actions": [before, "raises", before]}
        name = f"schedule raises after {before}"
        yield Plan(f"{name}, exit", actions, _steps(1, "exit_failing"))
        yield Plan(f"{name}, another step", actions, ("enter", "step", "step", "exit"))


def _misused() -> Iterator[Plan]:
    for action in ("NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"):
        actions = {"actions": [action] * 4}
        for name, calls in (
            ("step before start", ("step", "start", "stop")),
            ("stop before start", ("stop",)),
            ("started twice", ("start", "start", "stop")),
            ("stopped twice", ("start", "stop", "stop")),
            ("step after stop", ("start", "stop", "step", "stop")),
        ):
            yield Plan(f"{name}, all {action}", actions, calls)


FAMILIES: tuple[Callable[[], Iterator[Plan]], ...] = (
    _without_schedule,
    _with_schedule,
    _with_actions,
    _restarted,
    _failing,
    _misused,
)


def _run(plan: Plan) -> Record:
    from torch.autograd import profiler as autograd

    events: list[Event] = []
    log: list[list[Event]] = []
    with (
        _warnings_into(events),
        patch.object(autograd, "record_function", _span_recorder(events)),
    ):
        action = _schedule_of(plan.schedule)
        said = [text for _, text in events]
        profiler = _recorded_profile(events, action, plan.callback)
        for call in plan.calls:
            events.clear()
            try:
                CALLS[call](profiler)
            except (AssertionError, RuntimeError, ValueError) as error:
                events.append(["raise", type(error).__name__, str(error)])
            log.append(list(events))
    return {
        "name": plan.name,
        "schedule": plan.schedule,
        "callback": plan.callback,
        "calls": list(plan.calls),
        "log": log,
        "orderly": is_orderly(log),
        "warnings": said,
    }


def is_orderly(log: list[list[Event]]) -> bool:
    """Whether torch's engine was only ever prepared, then started, then stopped, in this order.

    Where this is false the real process may die: it does when a start has no prepare [run].
    """
    order = {"prepare": ("idle", "ready"), "start": ("ready", "on"), "stop": ("on", "idle")}
    state = "idle"
    for event in (event for call in log for event in call if event[0] in order):
        needed, after = order[event[0]]
        if state != needed:
            return False
        state = after
    return True


def _exit_failing(profiler: Any) -> None:
    """Leave the with block by an exception of its body, as the interpreter does."""
    try:
        raise ValueError("the body failed")
    except ValueError as error:
        if not profiler.__exit__(type(error), error, error.__traceback__):
            raise


CALLS: dict[str, Callable[[Any], object]] = {
    "enter": lambda profiler: profiler.__enter__(),
    "exit": lambda profiler: profiler.__exit__(None, None, None),
    "exit_failing": _exit_failing,
    "start": lambda profiler: profiler.start(),
    "step": lambda profiler: profiler.step(),
    "stop": lambda profiler: profiler.stop(),
}


def _schedule_of(described: Record | None) -> Callable[[int], Any] | None:
    from torch.profiler import ProfilerAction, schedule

    if described is None:
        return None
    if "args" in described:
        made: Callable[[int], Any] = schedule(**described["args"])
        return made
    actions: list[str] = described["actions"]

    def listed(step: int) -> Any:
        name = actions[step] if step < len(actions) else "NONE"
        if name == "raises":
            raise ValueError("the schedule failed")
        return ProfilerAction[name]

    return listed


def _recorded_profile(events: list[Event], schedule: Callable[[int], Any] | None, callback: str) -> Any:
    """A torch.profiler.profile that writes down what it would do to torch's engine.

    A subclass, because the table of transitions binds these methods while the profiler is made.
    """
    from torch.profiler import ProfilerActivity, profile

    class Recorded(profile):  # type: ignore[misc]  # torch's classes are Any to us
        def prepare_trace(self) -> None:
            events.append(["prepare", self.step_num])

        def start_trace(self) -> None:
            events.append(["start", self.step_num])

        def stop_trace(self) -> None:
            events.append(["stop", self.step_num])

        def transit(self, before: Any, after: Any) -> None:
            self._transit_action(before, after)

    def ready(profiler: Any) -> None:
        events.append(["ready", profiler.step_num, profiler.current_action.name])
        if callback == "raises":
            raise RuntimeError("the callback failed")

    return Recorded(
        # Named, or the machine's devices would decide.
        activities=[ProfilerActivity.CPU],
        schedule=schedule,
        on_trace_ready=None if callback == "none" else ready,
    )


def _span_recorder(events: list[Event]) -> type:
    """What stands in for torch's record_function: the step spans, opened and closed."""

    class RecordedSpan:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            events.append(["begin", self.name])

        def __exit__(self, *_: object) -> None:
            events.append(["end", self.name])

    return RecordedSpan


@contextmanager
def _warnings_into(events: list[Event]) -> Iterator[None]:
    """Warnings take their place among the events, whatever filters are set outside."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        events.append(["warn", str(message)])

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield
