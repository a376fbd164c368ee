"""Samples: contenders take turns, each sample with a cycle of its own, and the empty loop beside them.

What would spoil a figure is kept out here: garbage is collected between samples and not during one, what a
sample recorded is released before the next, and all contenders see the same minutes of a noisy machine.
"""

import contextlib
import gc
import importlib.metadata
import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NamedTuple

__all__ = [
    "EMPTY",
    "AbsentError",
    "Checked",
    "Contender",
    "Gauge",
    "Plan",
    "Result",
    "Timed",
    "fresh",
    "interleave",
    "version_of",
]


class AbsentError(Exception):
    """What a contender needs is not installed, or not there yet."""


class Checked(NamedTuple):
    """What a look at the output said.

    Attributes:
        ok: it is what was timed.
        text: the evidence, in a few words.
    """

    ok: bool
    text: str


def _nothing() -> None:
    """End nothing."""


@dataclass(frozen=True)
class Timed:
    """One sample, ready to run.

    Attributes:
        run: what is measured.
        end: what must follow it and is not measured, such as stopping a profiler.
        check: given the ns that run took, looks at what came out; asked after the last sample.
        laps: ns of parts of the run, which it fills in itself.
    """

    run: Callable[[], object]
    end: Callable[[], object] = _nothing
    check: Callable[[int], Checked] | None = None
    laps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One way of doing what a row measures.

    Attributes:
        name: its line in the table.
        open: ops -> a sample of that many operations; what it holds is released when the context ends.
        ops: operations a sample.
        package: the distribution it needs; "" for none.
        ours: judged against the limits.
    """

    name: str
    open: Callable[[int], AbstractContextManager[Timed]]
    ops: int
    package: str = ""
    ours: bool = False


@dataclass
class Result:
    """What came of a contender. One of samples, absent and error is there.

    Attributes:
        samples: the gauge's reading an operation.
        laps: the same of each part.
        absent, error: why there are no samples, in words.
    """

    name: str
    ours: bool
    package: str
    version: str
    ops: int
    samples: list[float] = field(default_factory=list)
    laps: dict[str, list[float]] = field(default_factory=dict)
    checked: Checked | None = None
    absent: str = ""
    error: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is still in the race."""
        return not (self.absent or self.error)


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        samples: as many as wanted.
        at_least: as many as there must be, whatever they cost.
        budget_s: no further round begins after this.
        shrink: divides every contender's operations.
    """

    samples: int
    at_least: int
    budget_s: float
    shrink: int = 1

    def ops(self, contender: Contender) -> int:
        """Operations a sample, a multiple of ten: a round of the nested workload is ten spans."""
        return max(contender.ops // self.shrink // 10, 1) * 10


# What a sample reads: called before the run, it returns what to call behind it.
Gauge = Callable[[], Callable[[], int]]


def elapsed_ns() -> Callable[[], int]:
    """The gauge of time."""
    start = time.perf_counter_ns()
    return lambda: time.perf_counter_ns() - start


def empty_loop(ops: int) -> None:
    """What every other loop here does besides its body."""
    for _ in itertools.repeat(None, ops):
        pass


@contextlib.contextmanager
def _open_empty(ops: int) -> Iterator[Timed]:
    loop = fresh(empty_loop)
    yield Timed(lambda: loop(ops))


EMPTY = Contender("empty loop", _open_empty, 100_000)


def fresh(function: Callable[..., None]) -> Callable[..., None]:
    """The function with a code object of its own.

    The interpreter rewrites a loop for the types it meets: one loop shared by all contenders would be slow for each.
    """
    if not isinstance(function, FunctionType):
        message = f"{function!r} is not a Python function."
        raise TypeError(message)
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def version_of(package: str) -> str:
    """The installed version of a distribution; "" if it is not there or none was named."""
    try:
        return importlib.metadata.version(package) if package else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def interleave(
    contenders: Sequence[Contender], plan: Plan, gauge: Gauge = elapsed_ns, *, warm_up: bool = True
) -> list[Result]:
    """Measure: each contender once, and all of them again, until the plan is fulfilled.

    Args:
        contenders: in the order of their turns.
        plan: how much.
        gauge: what to read.
        warm_up: begin with a round that does not count.
    """
    results = [_entered(contender, plan) for contender in contenders]
    began = time.monotonic()
    for number in range(plan.samples + warm_up):
        so_far = time.monotonic() - began
        counted = number - warm_up
        # The last round looks at the output, so it must be known beforehand: would another fit behind this one?
        spent = so_far + 2 * so_far / max(number, 1) > plan.budget_s
        last = number == plan.samples + warm_up - 1 or (spent and counted + 1 >= plan.at_least)
        for contender, result in zip(contenders, results, strict=True):
            if result.runs:
                _take(contender, result, gauge, counts=counted >= 0, last=last)
        if last:
            break
        if counted < 0:
            # What the peers' modules hold stays: a collection between samples need not look at it again.
            gc.freeze()
    gc.unfreeze()
    return results


def _entered(contender: Contender, plan: Plan) -> Result:
    version = version_of(contender.package)
    result = Result(contender.name, contender.ours, contender.package, version, plan.ops(contender))
    if contender.package and not version:
        result.absent = f"{contender.package} is not installed"
    return result


def _take(contender: Contender, result: Result, gauge: Gauge, *, counts: bool, last: bool) -> None:
    """Take one sample; what goes wrong ends the contender's part and is told."""
    try:
        reading, timed_laps, checked = _sample(contender, result.ops, gauge, last=last)
    except AbsentError as reason:
        result.absent = str(reason)
        return
    except Exception as error:  # noqa: BLE001 - a peer may raise anything, and the others go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        result.error = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        return
    result.checked = checked
    if counts:
        result.samples.append(reading / result.ops)
        for name, lap in timed_laps.items():
            result.laps.setdefault(name, []).append(lap / result.ops)


def _sample(contender: Contender, ops: int, gauge: Gauge, *, last: bool) -> tuple[int, dict[str, int], Checked | None]:
    before = _Hooks.now()
    gc.collect()
    with contender.open(ops) as timed:
        run: Callable[[], Any] = timed.run
        gc.collect()
        gc.disable()
        try:
            read = gauge()
            run()
            reading = read()
        finally:
            gc.enable()
        timed.end()
        checked = timed.check(reading) if last and timed.check is not None else None
    if left := before.left_behind():
        message = f"it left {left} behind, which would slow down all that follow"
        raise RuntimeError(message)
    return reading, timed.laps, checked


class _Hooks(NamedTuple):
    """What watches every call or line of this process."""

    profile: Any
    trace: Any
    monitoring: tuple[str | None, ...]

    @classmethod
    def now(cls) -> "_Hooks":
        monitoring: Any = getattr(sys, "monitoring", None)  # Python 3.12
        tools = range(6) if monitoring else ()
        watching = (monitoring.get_tool(tool) if monitoring.get_events(tool) else None for tool in tools)
        return cls(sys.getprofile(), sys.gettrace(), tuple(watching))

    def left_behind(self) -> str:
        """What has come since, in words; taken away, so that the next contender runs alone."""
        monitoring: Any = getattr(sys, "monitoring", None)
        now, left = _Hooks.now(), []
        if now.profile is not self.profile:
            left.append("a profile function")
            sys.setprofile(self.profile)
        if now.trace is not self.trace:
            left.append("a trace function")
            sys.settrace(self.trace)
        for tool, name in enumerate(now.monitoring):
            if name != self.monitoring[tool]:
                left.append(f"monitoring by {name}")
                monitoring.set_events(tool, 0)
        return " and ".join(left)
