"""The ring: where each thread records.

Each thread's open spans are followed all the time: what is open when a window opens would be missing from it otherwise.
A thread joins the window at its first event in it and notes then which spans it has open.

Where it says "nothing is called", no other thread comes between and no signal: CPython looks for them after calls and
at the ends of loops.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any
from weakref import ref

from stepscope.core import clock
from stepscope.core.twin.lanes import TaskLane, look_for_asyncio
from stepscope.core.twin.records import BOTTOM, RECORD_BYTES, Begun, Key, SealedThread, Turn, read_record, size_of
from stepscope.core.values import weight

if TYPE_CHECKING:
    from stepscope.core.rows import Label
    from stepscope.core.twin.span import SpanWithArgs

__all__ = ["LOCAL", "STATE", "Buffer", "Charge", "Life", "Window", "adopt_thread"]
__all__ += ["Held", "prune", "take_open", "thread_of"]

# With so many buffers more than after the last time, those of threads that have ended are looked for.
MANY_BUFFERS = 64
# So often a thread is asked for that is not known yet.
MANY_ASKS = 64
# So many of the innermost spans are looked through before all.
NEAR_SPANS = 16
# Ticks are taken off the budget that many at a time.
GRANT_RECORDS = 256
# That part of the budget is for records only.
RESERVED_PART = 16


class Window:
    """A window that is open, and its budget.

    Attributes:
        start: the tick at which it opened.
        allowed_bytes: the budget without what sealed windows still take.
        free_bytes: what is left of the budget.
        reserve_bytes: what only records may take of it, so that names and arguments never leave them without room.
        name_bytes: what is taken of it by names that were made in the window.
        unsure: how many ends may have been of the same span on another thread.
        granted: ticks, as many as records have been granted. So an event asks for the time and for room in one call,
            and with `next`, which is the one that takes least.
        ticks: the clock itself; one that says more than the time if that was asked for (twin/besides.py).
    """

    __slots__ = (
        *("allowed_bytes", "free_bytes", "granted", "name_bytes", "reserve_bytes", "start", "ticks", "unsure"),
    )

    def __init__(self) -> None:
        self.start = STATE.ticks()
        self.allowed_bytes = self.free_bytes = STATE.bytes_allowed - STATE.sealed.size_bytes
        self.reserve_bytes = STATE.bytes_allowed // RESERVED_PART
        self.name_bytes = 0
        self.unsure = 0
        self.ticks: Callable[[], int] = STATE.ticks
        self.granted: Iterator[int] = starmap(self.ticks, ())

    def take(self, size_bytes: int) -> bool:
        """Take that much off the budget for a name or arguments if it is there; nothing is called in between."""
        if self.free_bytes - self.reserve_bytes >= size_bytes:
            self.free_bytes -= size_bytes
            return True
        return False

    def grant(self, spent: Iterator[int]) -> bool:
        """Go on from ticks that are spent to the next; False if there is no room for a record."""
        records = min(self.free_bytes // RECORD_BYTES, GRANT_RECORDS)
        size_bytes = records * RECORD_BYTES
        granted = starmap(self.ticks, repeat((), records))
        if self.granted is spent:  # from here on nothing is called
            if records <= 0:
                return False
            if self.free_bytes >= size_bytes:
                self.free_bytes -= size_bytes
                self.granted = granted
        return True


class Charge:
    """What a name that was made in a window takes off its budget, for as long as the name's span lives."""

    __slots__ = ("size_bytes", "window")

    def __init__(self, window: Window, size_bytes: int) -> None:
        self.window = window
        self.size_bytes = size_bytes
        window.name_bytes += size_bytes

    def __del__(self) -> None:
        self.window.free_bytes += self.size_bytes
        self.window.name_bytes -= self.size_bytes


class SealedBytes:
    """What all sealed windows that there still are take off the budget."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0


class Held:
    """What one sealed window takes, for as long as it lives."""

    __slots__ = ("size_bytes", "total")

    def __init__(self, total: SealedBytes, size_bytes: int) -> None:
        self.total = total
        self.size_bytes = size_bytes
        total.size_bytes += size_bytes

    def __del__(self) -> None:
        self.total.size_bytes -= self.size_bytes
        window = STATE.window
        if window is not None and self.total is STATE.sealed:
            window.allowed_bytes += self.size_bytes
            window.free_bytes += self.size_bytes


class Life:
    """Lives as long as its thread, whose LOCAL alone holds it: a thread's own is_alive() may say anything."""

    __slots__ = ("__weakref__",)


class Buffer:
    """One thread's spans that are open, and its records of the window that it has joined.

    Attributes:
        open: its spans that are open in no task, innermost last, above BOTTOM.
        lanes: those of its tasks, by id of the task.
        lane: the one of the last event; None: it was in no task.
        entered: of the task that `enter_task` has named.
        begun_lane, turned: whose the first of the records are, and the next one.
        calls: the window in which its calls are traced, or were last.
        depth: how many traced calls it is in; followed if there is a limit.
        muted: its calls are never traced.
    """

    __slots__ = (
        *("begun", "begun_lane", "calls", "depth", "dropped", "entered", "frozen", "ident", "lane", "lanes", "life"),
        *("many_lanes", "muted", "open", "put", "records", "thread", "thread_asks", "tid", "turned", "window"),
    )

    def __init__(self, life: Life, ident: int, tid: int) -> None:
        self.ident = ident
        self.thread = thread_of(ident)
        self.thread_asks = MANY_ASKS
        self.tid = tid
        self.life = ref(life)
        self.calls: Window | None = None
        self.depth = 0
        self.muted = False
        self.open: list[Key] = [BOTTOM]
        self.lanes: dict[int, TaskLane] = {}
        self.many_lanes = 0
        self.lane: TaskLane | None = None
        self.entered: TaskLane | None = None
        self.begun_lane: TaskLane | None = None
        self.turned: TaskLane | None = None
        self.window: Window | None = None
        self.records: list[Any] = []
        self.put: Callable[[tuple[Any, Any]], None] = self.records.extend
        self.begun: list[Key | Begun] = []
        self.frozen: dict[int, tuple[str | Label, dict[str, Any] | None, int]] = {}
        self.dropped = 0

    def ask_thread(self) -> None:
        """Ask again whose this is: a thread's first calls come before the module knows it."""
        if self.thread_asks > 0:
            self.thread_asks -= 1
            self.thread = thread_of(self.ident)

    def join(self, window: Window) -> None:
        """Begin to record in a window; called by the thread itself, or by another that needs it done."""
        for spans in self.all_open():
            for key in [key for key in tuple(spans) if isinstance(key, ref) and key() is None]:
                _take(spans, key, once=False)  # nobody holds it any more, and so nobody will end it
        frozen = {id(key): _freeze(window, key) for key in tuple(self.open) if isinstance(key, ref)}
        unused = sum(size_bytes for _, _, size_bytes in frozen.values())
        in_lanes = [self._begun(window, key, lane) for lane in self.all_lanes() for key in tuple(lane.open)]
        unused += sum(begun.size_bytes for begun in in_lanes)
        records: list[Any] = []
        put = records.extend
        old = self.records, self.begun, self.frozen, self.put  # kept until the end: their going may run code
        if self.window is not window:  # from here on nothing is called
            self.begun = [*self.open[1:], *in_lanes]
            self.begun_lane = self.turned = None
            self.frozen = frozen
            self.records = records
            self.put = put
            self.dropped = 0
            self.window = window
            unused = 0
        window.free_bytes += unused
        del old

    def sealed(self, window: Window) -> SealedThread:
        """What the window has of this thread; if the thread never joined it, what it has had open all the time."""
        if self.window is not window:
            self.join(window)
        for lane in self.all_lanes():
            lane.ask_name()
        begun, name = self.all_begun(window), _name_of(self.thread)
        thread = SealedThread(self.tid, name, self.records, begun, self.dropped, self.begun_lane)
        self.leave()
        return thread

    def leave(self) -> None:
        """Hold nothing of a window any more; what the thread is about to put is lost with the list it goes to."""
        self.records = []
        self.put = self.records.extend
        self.begun, self.frozen, self.window, self.calls = [], {}, None, None
        self.begun_lane = self.turned = None

    def drop(self, record: tuple[Any, Any]) -> None:
        """Instead of `put` once a record found no room: after it an end would find the wrong begin."""
        _, what, _ = read_record(*record)
        if self.window is not None:
            self.window.free_bytes += RECORD_BYTES + size_of(what)
        self.dropped += type(what) is not Turn  # which is no event

    def all_begun(self, window: Window) -> list[Begun]:
        """What began before the records, outermost first."""
        begun = [item if isinstance(item, Begun) else self._begun(window, item) for item in self.begun]
        return [item for item in begun if item.label]

    def _begun(self, window: Window, key: Key, lane: TaskLane | None = None) -> Begun:
        if not isinstance(key, ref):
            return Begun(window.start, key, key.label, None, 0, cut=True, lane=lane)
        if lane is not None:
            return Begun(window.start, key, *_freeze(window, key), cut=True, lane=lane)
        if id(key) not in self.frozen:  # it began while the others were asked
            self.frozen[id(key)] = _freeze(window, key)
        return Begun(window.start, key, *self.frozen[id(key)], cut=True)

    def all_lanes(self) -> tuple[TaskLane, ...]:
        """Those of its tasks, the first one first."""
        return tuple(self.lanes.values())

    def all_open(self) -> list[list[Key]]:
        """Its open spans: those where the thread was last, those of no task, those of each task."""
        last = [] if self.lane is None else [self.lane.open]
        return [*last, self.open, *(lane.open for lane in self.all_lanes())]

    def holds_open(self) -> bool:
        """Whether anything is open here that somebody may still end."""
        spans = itertools.chain(*self.all_open())
        return any(key() is not None if isinstance(key, ref) else key is not BOTTOM for key in spans)


class _State:
    """The recorder's state; the spans read it on every event. `window` is None while nothing is recorded."""

    __slots__ = ("buffers", "bytes_allowed", "many_buffers", "recycles", "sealed", "ticks", "window")

    def __init__(self) -> None:
        self.ticks: Callable[[], int] = clock.ticks
        self.bytes_allowed = 1 << 30
        self.recycles = False
        self.reset()

    def reset(self) -> None:
        """Forget every thread."""
        self.window: Window | None = None
        self.buffers: list[Buffer] = []
        self.many_buffers = MANY_BUFFERS
        self.sealed = SealedBytes()


STATE = _State()
# Each thread's own `buffer` and `life`, from its first event on.
LOCAL = threading.local()


def _freeze(window: Window, key: "ref[SpanWithArgs]") -> tuple["str | Label", dict[str, Any] | None, int]:
    """Label, arguments as far as there is room for them, and what they took off the budget, of an open span.

    The label is "" if nobody holds the span any more.
    """
    span = key()
    if span is None:
        return "", None, 0
    args = span.frozen_args()
    size_bytes = weight(args) + weight(span.label)
    return (span.label, args, size_bytes) if window.take(size_bytes) else (span.label, None, 0)


def _name_of(thread: threading.Thread | None) -> str:
    try:
        return "" if thread is None else str(thread.name)
    except Exception:  # noqa: BLE001 - the user's name may be anything
        return ""


def thread_of(ident: int) -> threading.Thread | None:
    """The Thread object of an ident, if module threading knows the thread."""
    # Asking the module would make one that stays for ever.
    active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001
    return active.get(ident)


def adopt_thread() -> Buffer:
    """Make the calling thread's buffer: its first event."""
    look_for_asyncio()
    if len(STATE.buffers) >= STATE.many_buffers and STATE.window is None:
        prune()
        STATE.many_buffers = 2 * len(STATE.buffers) + MANY_BUFFERS
    life = LOCAL.__dict__.setdefault("life", Life())
    made = Buffer(life, threading.get_ident(), threading.get_native_id())
    buffer: Buffer = LOCAL.__dict__.setdefault("buffer", made)  # a signal may have made one meanwhile
    if buffer is made:
        STATE.buffers.append(buffer)
    return buffer


def prune() -> None:
    """Drop the buffers of threads that have ended, but for those with spans that another thread may end."""
    buffers = tuple(STATE.buffers)
    # A destructor that runs last of all on a thread leaves a life that nothing ends, but also the thread's ident.
    latest = {buffer.ident: buffer for buffer in buffers}
    for buffer in buffers:
        ended = buffer.life() is None or latest[buffer.ident] is not buffer
        if ended and not buffer.holds_open() and (buffer.window is None or buffer.window is not STATE.window):
            with contextlib.suppress(ValueError):  # another thread was faster
                STATE.buffers.remove(buffer)


def take_open(key: Key, once: bool, mine: Buffer | None, window: Window | None) -> Buffer | None:
    """Forget a span that is not the thread's innermost one; the buffer of the thread that had it open.

    It ends before one it contains, as tasks that take turns on a thread do, or on another thread than it began on.
    `once`: it was entered no more than once, so that from whichever end it is found it is the innermost.
    None: it began before a fork.
    """
    here = [] if mine is None else mine.all_open()[0]
    for buffer in (*STATE.buffers,) if mine is None else (mine, *STATE.buffers):
        for spans in buffer.all_open():
            if window is not None and buffer.window is not window and key in spans:
                buffer.join(window)
            if not _take(spans, key, once):
                continue
            if window is not None and spans is not here and not once and _is_open_but_in(spans, key):
                window.unsure += 1  # it is open in several places, and none of them is here: which one ended is a guess
            return buffer
    return None


def _is_open_but_in(spans: list[Key], key: Key) -> bool:
    """Whether a span is open anywhere besides in that list."""
    return any(key in other for buffer in tuple(STATE.buffers) for other in buffer.all_open() if other is not spans)


def _take(spans: list[Key], key: Key, once: bool) -> bool:
    while True:
        try:
            place = spans.index(key) if once else _innermost(spans, key)
        except ValueError:
            return False
        # Threads may begin and end spans meanwhile, but nothing is called from the look at the span to its going.
        try:
            if spans[place] is key:
                del spans[place]
                return True
        except IndexError:
            pass


def _innermost(spans: list[Key], key: Key) -> int:
    """The place of a span, counted from the end, where it nearly always is: copying all of a long list takes long.

    Raises:
        ValueError: it is not there.
    """
    near = spans[-NEAR_SPANS:]
    return ~(near if key in near else spans)[::-1].index(key)
