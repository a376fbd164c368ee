"""The tracks of a .pftrace file: what its descriptors say, wherever in the file they stand."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stepscope.formats.perfetto_messages import Note, as_text
from stepscope.model.build import TraceBuilder

__all__ = ["CounterScale", "OwnTrack", "Tracks"]

UNITS = {1: "ns", 2: "count", 3: "bytes"}  # CounterDescriptor.Unit
BUILTIN_COUNTERS = {1: "thread_time", 2: "thread_instruction_count"}  # CounterDescriptor.BuiltinCounterType
MAX_PARENTS = 64
LAST_PID = (1 << 31) - 1
# Who owns a track that is no process's: no process has this id.
NO_PROCESS, NO_PROCESS_NAME = 1 << 30, "(no process)"


class CounterScale(NamedTuple):
    """What a counter's numbers are: what one of them stands for, and whether they are differences."""

    multiplier: float
    incremental: bool


class OwnTrack(NamedTuple):
    """A track that has no descriptor: a thread, or of events with one id; tid 0: no thread."""

    pid: int | None
    tid: int
    name: str
    identity: object = None


class _Descriptor:
    """All that the descriptors of one uuid say."""

    __slots__ = ("counter", "name", "parent", "process", "thread", "thread_name")

    def __init__(self) -> None:
        self.name = ""
        self.parent = 0
        self.process: int | None = None
        self.thread: tuple[int, int] | None = None
        self.thread_name = ""
        self.counter: Any = None


class Tracks:
    """Descriptors by uuid, and the tracks of a Trace that are made of them."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._described: dict[int, _Descriptor] = {}
        self._processes: dict[int, str] = {}
        self._threads: dict[tuple[int, int], str] = {}
        self._uuids: dict[tuple[int, int], int] = {}
        self._made: dict[object, int] = {}
        self._series: set[tuple[int, str, str]] = set()

    def describe(self, descriptor: Any) -> None:
        """Take a perfetto.protos.TrackDescriptor."""
        found = self._described.setdefault(descriptor.uuid, _Descriptor())
        name = descriptor.name or descriptor.static_name or descriptor.atrace_name
        found.name = as_text(name, self._note) or found.name
        found.parent = descriptor.parent_uuid or found.parent
        if descriptor.HasField("process"):
            found.process = self.describe_process(descriptor.process, found.name)
        if descriptor.HasField("thread"):
            found.thread = self.describe_thread(descriptor.thread, found.name)
            # Two uuids of one tid are two threads: a system uses its tids again.
            found.thread_name = as_text(descriptor.thread.thread_name, self._note) or found.thread_name
            self._uuids.setdefault(found.thread, descriptor.uuid)
        if descriptor.HasField("counter"):
            found.counter = descriptor.counter

    def describe_process(self, process: Any, name: str = "") -> int:
        """Take a perfetto.protos.ProcessDescriptor; returns its pid."""
        text = as_text(process.process_name, self._note) or name
        text = text or " ".join(as_text(part, self._note) for part in process.cmdline)
        if text:
            self._processes[process.pid] = text
        return int(process.pid)

    def describe_thread(self, thread: Any, name: str = "") -> tuple[int, int]:
        """Take a perfetto.protos.ThreadDescriptor; returns its pid and tid."""
        key = int(thread.pid), int(thread.tid)
        if text := as_text(thread.thread_name, self._note) or name:
            self._threads[key] = text
        return key

    def name_process(self, pid: int, name: str) -> None:
        """Take a name that an event gives."""
        self._processes[pid] = name

    def name_thread(self, pid: int, tid: int, name: str) -> None:
        """Take a name that an event gives."""
        self._threads[pid, tid] = name

    def process_name(self, pid: int) -> str:
        """A process's name, or ""."""
        return self._processes.get(pid, "")

    def pid(self, uuid: int) -> int | None:
        """The process that a track is of."""
        for found in self._ancestry(uuid):
            if found.process is not None:
                return found.process
            if found.thread is not None:
                return found.thread[0]
        return None

    def scale(self, uuid: int) -> CounterScale:
        """What the numbers of a counter are."""
        found = self._described.get(uuid)
        if found is None or found.counter is None:
            return CounterScale(1, False)
        return CounterScale(found.counter.unit_multiplier or 1, found.counter.is_incremental)

    # -- the tracks of a Trace -------------------------------------------------------------------------------------

    def place(self, builder: TraceBuilder, uuid: int, kinds: dict[tuple[int, int], str]) -> int:
        """The builder's track for the rows of a uuid.

        Args:
            builder: gets the track if it does not have it.
            uuid: of a descriptor, or of none.
            kinds: pid and tid -> kind, of threads that are none.
        """
        found = self._description(uuid)
        if found.thread is not None:
            kind = kinds.get(found.thread, "thread")
            return self._thread(builder, uuid, found.thread, kind, found.thread_name)
        name = found.name
        if not name and found.process is not None:
            name = self.process_name(found.process)
        return self._thread(builder, uuid, (self._owner(self.pid(uuid)), 0), "async", name or f"track {uuid}")

    def place_own(self, builder: TraceBuilder, track: OwnTrack) -> int:
        """The builder's track for rows that name no uuid; a thread that is described is that one."""
        owner = self._owner(track.pid)
        if not track.tid:
            return self._thread(builder, (owner, track.identity), (owner, 0), "async", track.name)
        thread = owner, track.tid
        return self._thread(builder, self._uuids.get(thread, thread), thread, "thread")

    def place_counter(self, builder: TraceBuilder, uuid: int) -> int:
        """The builder's track for the values of a uuid."""
        key = "counter", uuid
        if key not in self._made:
            found = self._description(uuid)
            counter, pid = found.counter, self._owner(self.pid(uuid))
            unit = (as_text(counter.unit_name, self._note) or UNITS.get(counter.unit, "")) if counter else ""
            name = found.name or BUILTIN_COUNTERS.get(counter.type if counter else 0, "") or f"counter {uuid}"
            if (pid, name, unit) in self._series:  # a series of each thread: they are not one
                name = f"{name} ({self._thread_name(uuid) or uuid})"
            self._series.add((pid, name, unit))
            self._made[key] = builder.counter_track(pid, name, unit, self._process(pid))
        return self._made[key]

    def _description(self, uuid: int) -> _Descriptor:
        """What is said of a uuid; 0, the root of all tracks, needs no words."""
        if uuid and uuid not in self._described:
            self._note("undescribed", f"track {uuid} has events and no descriptor that says what it is")
        return self._described.get(uuid, _Descriptor())

    def _thread(self, builder: TraceBuilder, key: object, thread: tuple[int, int], kind: str, name: str = "") -> int:
        if key not in self._made:
            pid = self._owner(thread[0])
            name = name or self._threads.get(thread, "")
            self._made[key] = builder.thread(pid, thread[1], name, self._process(pid), kind)
        return self._made[key]

    def _owner(self, pid: int | None) -> int:
        """A pid that a Trace can hold."""
        return pid if pid is not None and 0 <= pid <= LAST_PID else NO_PROCESS

    def _process(self, pid: int) -> str:
        return self._processes.get(pid, NO_PROCESS_NAME if pid == NO_PROCESS else "")

    def _thread_name(self, uuid: int) -> str:
        """The name of the thread that a track is of."""
        for found in self._ancestry(uuid):
            if found.thread is not None:
                return self._threads.get(found.thread, "") or f"thread {found.thread[1]}"
        return ""

    def _ancestry(self, uuid: int) -> Iterator[_Descriptor]:
        """A track's descriptor, and those above it."""
        for _ in range(MAX_PARENTS):
            found = self._described.get(uuid)
            if found is None:
                return
            yield found
            uuid = found.parent
