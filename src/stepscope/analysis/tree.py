"""The tree of a trace's events, and what each has used besides time: memory and devices.

Everything is found when it is first asked for, and kept. Sparse facts are mappings by row, for the rows that have some.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from stepscope.analysis.kinds import (
    MEMORY,
    DeviceType,
    class_of,
    device_named,
    is_hidden,
    is_runtime,
    key_of,
    step_number,
)
from stepscope.core import kernels
from stepscope.core.groups import NO_KEY, ROW_DEVICE, Folded, Keys
from stepscope.core.rows import THREAD_TIME
from stepscope.model.devices import Device, device_of_track
from stepscope.model.nesting import nest
from stepscope.model.packed_args import items_with
from stepscope.model.trace import INSTANT, Trace

__all__ = ["Amount", "FlowPoint", "Kernel", "Memory", "Step", "Tree"]


class Kernel(NamedTuple):
    """Work that an event gave to a device; torch's name. duration is in us."""

    name: str
    device: int
    duration: float


class Amount(NamedTuple):
    """How much of something an event used, with and without what the events inside it did."""

    total: int
    own: int


class Memory(NamedTuple):
    """An allocation, or a release with bytes below 0; as torch's "[memory]" instants say it.

    Attributes:
        row: the instant's.
        size_bytes: how much more is allocated now.
        allocated_bytes: how much is allocated then in all; None where nobody said.
        device: as torch spells it, such as "cpu" or "cuda:0".
    """

    row: int
    size_bytes: int
    allocated_bytes: int | None
    device: str


class Step(NamedTuple):
    """A step of the profiled program: its number, its row, the row that begins behind it, and its process."""

    number: int
    row: int
    end: int
    pid: int


class FlowPoint(NamedTuple):
    """A flow at one of its rows: its number, and whether it starts there."""

    number: int
    starts: bool


class Tree:
    """A trace as torch's events: what is an event, what it is inside of, and its own time.

    Attributes:
        trace: whose.
        category_class: ROW_ bits by string id.

    An allocation belongs to the innermost event around it on its thread. torch also gives it to whatever else
    runs at that time on other threads, which counts it twice.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.category_class = array("B", map(class_of, trace.strings))

    def keys(self, names: dict[str, int], tracks: "array[int]") -> Keys:
        """What events go by: names are numbered as `names` has them, which grows."""
        number = array("I")
        for text in self.trace.strings:
            number.append(NO_KEY if is_hidden(text) else names.setdefault(key_of(text), len(names)))
        return Keys(number, self.category_class, tracks)

    @cached_property
    def folded(self) -> Folded:
        """Which rows are events: slices, and "[memory]" instants that no event is around."""
        columns = self.trace.columns
        keys = self.keys({}, array("I", [0]) * len(self.trace.tracks))
        folded: Folded = kernels.fold_rows(columns, *nest(self.trace), keys)
        for row in self._memory_rows:
            if folded.above[row] == -2:
                folded.above[row] = -1
        return folded

    @cached_property
    def rows(self) -> "array[int]":
        """The rows of the events, in order."""
        return array("q", (row for row, above in enumerate(self.folded.above) if above >= -1))

    def _event_at(self, row: int) -> int:
        """The row if it is an event, else the row of the event around it, or -1."""
        above = self.folded.above[row]
        return row if above >= -1 else -3 - above

    def ancestors(self, row: int) -> Iterator[int]:
        """The row and the events around it, innermost first."""
        while row >= 0:
            yield row
            row = self.folded.above[row]

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """The events directly inside an event."""
        inside: defaultdict[int, list[int]] = defaultdict(list)
        for row, above in enumerate(self.folded.above):
            if above >= 0:
                inside[above].append(row)
        return inside

    def is_device(self, row: int) -> bool:
        """Whether the row is work of a device."""
        return bool(self.category_class[self.trace.columns.cat[row]] & ROW_DEVICE)

    # -- steps -----------------------------------------------------------------------------------------------

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the trace, in order of time.

        What begins in one, on whatever thread of the process, is of that step. Steps of a process do not overlap: one
        that begins inside another ends it.
        """
        columns, numbers = self.trace.columns, [step_number(text) for text in self.trace.strings]
        if not any(number is not None for number in numbers):
            return ()
        found: list[Step] = []
        last: dict[int, int] = {}
        for row, name in enumerate(columns.name):
            number = numbers[name]
            if number is None or columns.kind[row] & INSTANT or self.is_device(row):
                continue
            pid = self.trace.tracks[columns.track[row]].pid
            if pid in last and found[last[pid]].end > row:
                found[last[pid]] = found[last[pid]]._replace(end=row)
            last[pid] = len(found)
            end = bisect_left(columns.ts, columns.ts[row] + columns.dur[row], row + 1)
            found.append(Step(number, row, end, pid))
        return tuple(found)

    @cached_property
    def step_of(self) -> "array[int]":
        """The place of each row's step in `steps`, counted from 1; 0 for a row in none; shape (len(trace),)."""
        if len({step.pid for step in self.steps}) > 1:
            return self._step_of_processes()
        places = array("I")
        for place, step in enumerate(self.steps, 1):
            places.extend(array("I", [0]) * (step.row - len(places)))
            places.extend(array("I", [place]) * (step.end - step.row))
        places.extend(array("I", [0]) * (len(self.trace) - len(places)))
        return places

    def _step_of_processes(self) -> "array[int]":
        """The same where steps of several processes run at one time."""
        pids = [track.pid for track in self.trace.tracks]
        places = array("I", [0]) * len(self.trace)
        begun = {step.row: place for place, step in enumerate(self.steps, 1)}
        running: dict[int, int] = {}
        for row, track in enumerate(self.trace.columns.track):
            pid = pids[track]
            if row in begun:
                running[pid] = begun[row]
            place = running.get(pid, 0)
            if place and row < self.steps[place - 1].end:
                places[row] = place
        return places

    # -- flows -----------------------------------------------------------------------------------------------

    def flow_at(self, row: int) -> FlowPoint | None:
        """The first flow through a row."""
        flows = self.trace.flows
        at = bisect_left(flows.row, row)
        if at == len(flows.row) or flows.row[at] != row:
            return None
        number = flows.flow[at]
        return FlowPoint(number, starts=self._flow_begins[number] == row)

    @cached_property
    def _flow_begins(self) -> dict[int, int]:
        """The first row of each flow."""
        flows = self.trace.flows
        return dict(zip(reversed(flows.flow), reversed(flows.row), strict=True))

    # -- memory ----------------------------------------------------------------------------------------------

    @cached_property
    def _memory_rows(self) -> list[int]:
        if MEMORY not in self.trace.strings:
            return []
        name, kinds = self.trace.strings.index(MEMORY), self.trace.columns.kind
        return [row for row, text in enumerate(self.trace.columns.name) if text == name and kinds[row] & INSTANT]

    @cached_property
    def memory(self) -> list[Memory]:
        """The allocations and releases, in order of time."""
        found = []
        for row in self._memory_rows:
            args = self.trace.args.get(row, {})
            size_bytes, allocated = args.get("Bytes"), args.get("Total Allocated")
            if isinstance(size_bytes, int):
                known = allocated if isinstance(allocated, int) else None
                found.append(Memory(row, size_bytes, known, _device_in(args)))
        return found

    @cached_property
    def cpu_memory(self) -> dict[int, Amount]:
        """Bytes of the CPU's memory that events have allocated."""
        changes = [(change.row, change.size_bytes) for change in self.memory if change.device == "cpu"]
        return self._used((*changes, *self._allocated_by_operators))

    @property
    def _allocated_by_operators(self) -> Iterator[tuple[int, int]]:
        """What operators on the CPU say that they have allocated, without that of those inside them."""
        own = {
            row: args["Allocated delta"]
            for row, args in self.trace.args.items()
            if isinstance(args.get("Allocated delta"), int) and "Device" not in args
        }
        for row in list(own):
            size_bytes = self.trace.args[row]["Allocated delta"]
            around = (above for above in self.ancestors(self.folded.above[row]) if above in own)
            if (nearest := next(around, None)) is not None:
                own[nearest] -= size_bytes
        return iter(own.items())

    @cached_property
    def device_memory(self) -> dict[int, Amount]:
        """Bytes of devices' memory that events have allocated."""
        return self._used((change.row, change.size_bytes) for change in self.memory if change.device != "cpu")

    # -- the time that threads have computed ----------------------------------------------------------------

    @cached_property
    def thread_time(self) -> dict[int, Amount]:
        """CPU time of their threads, in ns, of the events that say it; own is without that of those inside."""
        said = {
            row: args[THREAD_TIME]
            for row, args in items_with(self.trace.args, THREAD_TIME)
            if isinstance(args[THREAD_TIME], int) and self.folded.above[row] >= -1
        }
        own = dict(said)
        for row, time_ns in said.items():
            for above in self.ancestors(self.folded.above[row]):
                if above in own:
                    own[above] -= time_ns
                    break
        return {row: Amount(time_ns, own[row]) for row, time_ns in said.items()}

    # -- devices ---------------------------------------------------------------------------------------------

    @cached_property
    def streams(self) -> dict[int, Device]:
        """The tracks that are streams of devices, and lanes of such, by number."""
        named = ((number, device_of_track(track.name)) for number, track in enumerate(self.trace.tracks))
        return {number: device for number, device in named if device is not None}

    @cached_property
    def device(self) -> DeviceType | None:
        """The device that has done something in this trace; of several the first one."""
        for device in self.streams.values():
            return DeviceType(device.kind.number)
        if not any(bits & ROW_DEVICE for bits in self.category_class):
            return None
        return device_named(set(self.trace.strings))

    @cached_property
    def device_name(self) -> str | None:
        """What that device is called."""
        for device in self.streams.values():
            return device.kind.name
        return None if self.device is None else self.device.name

    def device_at(self, row: int) -> DeviceType:
        """Whether the CPU or a device did a row."""
        if not self.is_device(row) or self.device is None:
            return DeviceType.CPU
        stream = self.streams.get(self.trace.columns.track[row])
        return self.device if stream is None else DeviceType(stream.kind.number)

    @cached_property
    def kernels(self) -> dict[int, list[int]]:
        """The rows of the work that each event gave to a device: both bear its "External id".

        torch also counts the device's copy of an annotation as work of that annotation, beside the kernels in it.
        """
        if self.device is None:
            return {}
        work: defaultdict[Any, list[int]] = defaultdict(list)
        givers: dict[Any, int] = {}
        cats = self.trace.columns.cat
        runtime = [is_runtime(text) for text in self.trace.strings]
        for row, args in items_with(self.trace.args, "External id"):
            number, bits = args["External id"], self.category_class[cats[row]]
            if number is None:
                continue
            if bits == ROW_DEVICE:
                work[number].append(row)
            elif not bits & ROW_DEVICE and not runtime[cats[row]]:
                givers.setdefault(number, self._event_at(row))
        given: defaultdict[int, list[int]] = defaultdict(list)
        for number, rows in work.items():
            if number in givers:
                given[givers[number]] += rows
        return given

    @cached_property
    def device_time(self) -> dict[int, Amount]:
        """Time of a device, in ns: of its own slices, and of the events that gave it work."""
        if self.device is None:
            return {}
        durs = self.trace.columns.dur
        given = ((row, sum(durs[kernel] for kernel in rows)) for row, rows in self.kernels.items())
        used = self._used(given)
        used.update((row, Amount(durs[row], durs[row])) for row in self.rows if self.is_device(row))
        return used

    def _used(self, amounts: Iterable[tuple[int, int]]) -> dict[int, Amount]:
        """Give amounts to the events around their rows, and to all events around those."""
        used: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for row, amount in amounts:
            event = self._event_at(row)
            if event >= 0:
                used[event][1] += amount
            for above in self.ancestors(event):
                used[above][0] += amount
        return {row: Amount(total, own) for row, (total, own) in used.items()}


def _device_in(args: Any) -> str:
    """Where memory was allocated, as torch spells it; source: c10::DeviceType."""
    if isinstance(text := args.get("Device"), str):
        return text
    number, index = args.get("Device Type", 0), args.get("Device Id", -1)
    known = {1: "cuda", 6: "hip", 12: "xpu", 13: "mps", 15: "hpu", 19: "mtia", 20: "privateuseone"}
    if number not in known:
        return "cpu"
    return f"{known[number]}:{index if isinstance(index, int) and index >= 0 else 0}"
