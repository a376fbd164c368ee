"""One row of averages: what the events of one key add up to, and how their lengths are spread.

Source: torch.autograd.profiler_util.FunctionEventAvg of torch 2.13. Times under torch's names are microseconds; what is
kept is integer nanoseconds.
"""

from array import array
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stepscope.analysis.events import FunctionEvent
from stepscope.analysis.kinds import DeviceType
from stepscope.analysis.units import Formatted

__all__ = ["NO_STEP", "Average", "InStep"]

# The step of what is in none.
NO_STEP = -1


@dataclass(frozen=True)
class InStep:
    """What the events of a row took that began in one step."""

    count: int
    cpu_time_total: float


@dataclass(eq=False)
class Average(Formatted):
    """The events of one key.

    Attributes:
        key: their name; steps are all "ProfilerStep*".
        count: how many.
        total_ns: what they took, with and without (self_ns) what the events inside them did; 0 for a device's work.
        device_ns: what they took of a device, with and without (self_device_ns) what the events inside them gave it.
        thread_ns: CPU time of their threads, of the events that say it, with and without (self_thread_ns) what those
            inside them say.
        durations: array 'q' each, ns of every event, in order of length.
        first: the first one of them; None for a sum over keys.
        input_shapes, overload_name, stack: as torch has them: set where rows are grouped by them.
        thread, rank, step: the thread's name, the process's rank and the step's number, where rows are grouped by them.
        steps: step number -> what began in it.
        steps_ns: how long the steps took that `steps` is of.
    """

    key: str
    count: int = 0
    total_ns: int = 0
    self_ns: int = 0
    device_ns: int = 0
    self_device_ns: int = 0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0
    device_memory_usage: int = 0
    self_device_memory_usage: int = 0
    flops: int = 0
    thread_ns: int = 0
    self_thread_ns: int = 0
    durations: list["array[int]"] = field(default_factory=list, repr=False)
    first: FunctionEvent | None = field(default=None, repr=False)
    input_shapes: list[Any] | str = ""
    overload_name: str = ""
    stack: list[str] = field(default_factory=list)
    thread: str | None = None
    rank: int | None = None
    step: int = NO_STEP
    steps: dict[int, InStep] = field(default_factory=dict, repr=False)
    steps_ns: int = field(default=0, repr=False)

    node_id = -1
    is_async = is_remote = is_legacy = False
    scope = 0

    # -- torch's names ---------------------------------------------------------------------------------------

    @property
    def cpu_time_total(self) -> float:
        """What they took, in us."""
        return self.total_ns / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """The same without what the events inside them took, in us."""
        return self.self_ns / 1000

    @property
    def device_time_total(self) -> float:
        """What they took of a device, in us."""
        return self.device_ns / 1000

    @property
    def self_device_time_total(self) -> float:
        """The same without what the events inside them gave it, in us."""
        return self.self_device_ns / 1000

    @property
    def use_device(self) -> str | None:
        """The device of their trace as torch spells it; None if it has no work of one."""
        return self.first.use_device if self.first else None

    @property
    def device_type(self) -> DeviceType:
        """Whether the CPU or a device did them."""
        return self.first.device_type if self.first else DeviceType.CPU

    @property
    def is_user_annotation(self) -> bool:
        """Whether the program marked them, by record_function or step()."""
        return self.first is not None and self.first.is_user_annotation

    @property
    def cpu_parent(self) -> FunctionEvent | None:
        """The event around the first of them."""
        return self.first.cpu_parent if self.first else None

    @property
    def cpu_children(self) -> list[FunctionEvent]:
        """The events directly inside the first of them."""
        return self.first.cpu_children if self.first else []

    def add(self, other: "Average | FunctionEvent") -> "Average":
        """Take another row or event of the same key in.

        Raises:
            ValueError: it has another key.
        """
        if other.key != self.key:
            message = f"the row is of {self.key!r}, the other one of {other.key!r}. Add what has the same key."
            raise ValueError(message)
        self.include(other if isinstance(other, Average) else of_event(other))
        return self

    __iadd__ = add

    def include(self, other: "Average") -> None:
        """Add what another row has, whatever its key."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.durations = [*self.durations, *other.durations]
        self.first = self.first or other.first
        for number, part in other.steps.items():
            own = self.steps.get(number, InStep(0, 0.0))
            self.steps[number] = InStep(own.count + part.count, own.cpu_time_total + part.cpu_time_total)
        vars(self).pop("_sorted", None)

    # -- what torch lacks ------------------------------------------------------------------------------------

    @cached_property
    def _sorted(self) -> "array[int]":
        if len(self.durations) == 1:
            return self.durations[0]
        return array("q", sorted(dur for durations in self.durations for dur in durations))

    def percentile(self, percent: float) -> float:
        """The length, in us, that so many percent of the events do not exceed; between two of them, in proportion.

        Raises:
            ValueError: percent is not from 0 to 100.
        """
        if not 0 <= percent <= 100:
            message = f"percent must be from 0 to 100, got {percent!r}."
            raise ValueError(message)
        ordered = self._sorted
        if not ordered:
            return 0.0
        place = (len(ordered) - 1) * percent / 100
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return (ordered[below] + (ordered[above] - ordered[below]) * (place - below)) / 1000

    @property
    def thread_time_total(self) -> float:
        """How long their threads have computed meanwhile, in us; 0 where nobody measured it."""
        return self.thread_ns / 1000

    @property
    def self_thread_time_total(self) -> float:
        """The same without what the events inside them say."""
        return self.self_thread_ns / 1000

    @property
    def cpu_time_min(self) -> float:
        """The shortest event, in us."""
        return self.percentile(0)

    @property
    def cpu_time_median(self) -> float:
        """The event in the middle, in us."""
        return self.percentile(50)

    @property
    def cpu_time_p95(self) -> float:
        """The length that 95 of 100 events do not exceed, in us."""
        return self.percentile(95)

    @property
    def cpu_time_max(self) -> float:
        """The longest event, in us."""
        return self.percentile(100)

    @property
    def count_per_step(self) -> float:
        """How many events began in a step, on average over the steps that have any."""
        return sum(part.count for part in self.steps.values()) / len(self.steps) if self.steps else 0.0

    @property
    def cpu_time_per_step(self) -> float:
        """What those took in a step, in us, on average over the steps that have any."""
        return sum(part.cpu_time_total for part in self.steps.values()) / len(self.steps) if self.steps else 0.0

    @property
    def step_share(self) -> float:
        """The part of the steps' time that the events in them took: 1 for the steps themselves."""
        inside = sum(part.cpu_time_total for part in self.steps.values())
        return inside * 1000 / self.steps_ns if self.steps_ns else 0.0


_ADDED = (
    "count", "total_ns", "self_ns", "device_ns", "self_device_ns", "cpu_memory_usage", "self_cpu_memory_usage",
    "device_memory_usage", "self_device_memory_usage", "flops", "thread_ns", "self_thread_ns",
)  # fmt: skip


def of_event(event: FunctionEvent) -> Average:
    """A row of one event."""
    on_device = event.device_type is not DeviceType.CPU
    return Average(
        event.key,
        count=1,
        total_ns=0 if on_device else event.duration_ns,
        self_ns=round(event.self_cpu_time_total * 1000),
        device_ns=round(event.device_time_total * 1000),
        self_device_ns=round(event.self_device_time_total * 1000),
        cpu_memory_usage=event.cpu_memory_usage,
        self_cpu_memory_usage=event.self_cpu_memory_usage,
        device_memory_usage=event.device_memory_usage,
        self_device_memory_usage=event.self_device_memory_usage,
        flops=event.flops,
        thread_ns=round(event.thread_time_total * 1000),
        self_thread_ns=round(event.self_thread_time_total * 1000),
        durations=[array("q", [event.duration_ns])],
        first=event,
    )
