"""From a golden back to a trace: one with made-up times, in which everything takes a tick to begin and one to end.

Each thread begins where the one before it has ended, so that no thread's work falls into another one's steps.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stepscope.analysis.diff.rules import MIN_SEEN
from stepscope.analysis.golden.free import FREE
from stepscope.analysis.golden.text import DEFAULT_CATEGORY, HEADER, STEP, VERSION, Line, LineError
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns
from stepscope.core.values import NO_NAME
from stepscope.model.build import TraceBuilder
from stepscope.model.errors import FormatError
from stepscope.model.trace import Origin, Trace

__all__ = ["MAX_ROWS", "from_golden"]

# A count is a few digits in the text, and rows in memory.
MAX_ROWS = 10_000_000
# What the model nests on one track; deeper rows would be laid on a lane.
MAX_DEPTH = 512
TICK_NS = 1000
PROGRAM = "program"
STEP_NAME = "ProfilerStep#"
ANY_STEP = "ProfilerStep#*"
CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
FIX = "Correct the line, or write the golden anew with pytest --trace-update."


@dataclass
class Entry:
    """A line and the lines inside of it.

    Attributes:
        line: its number.
        keyword: "thread", "lane", "counter", "flow", "process", "problem", "step", "instant"; "" for a slice.
        free: of a thread: that it runs free of the steps.
        last_step: of a run of equal steps; the first is in `name`, as a number.
        values: of a counter, with how often each comes one after the other.
        places: of a flow: (row's name, thread, process or "").
    """

    line: int
    keyword: str
    name: str
    count: int = 1
    cat: str = DEFAULT_CATEGORY
    cut: bool = False
    free: bool = False
    args: dict[str, Any] = field(default_factory=dict)
    last_step: int = 0
    unit: str = ""
    values: list[tuple[float, int]] = field(default_factory=list)
    places: list[tuple[str, str, str]] = field(default_factory=list)
    inside: list["Entry"] = field(default_factory=list)

    @property
    def times(self) -> int:
        """How many rows it stands for, without those inside."""
        return (self.last_step - int(self.name) + 1) * self.count if self.keyword == "step" else self.count


# Which lines may stand inside which; "file" is what is not indented.
INSIDE = {
    "file": frozenset({"nothing", "problem", "process", "thread", "lane", "counter", "flow"}),
    "process": frozenset({"thread", "lane", "counter"}),
    "thread": frozenset({"", "step", "instant"}),
    "free": frozenset({"", "instant"}),
    "lane": frozenset({"", "step", "instant"}),
    "": frozenset({"", "step", "instant"}),
    "step": frozenset({"", "step", "instant"}),
}


def from_golden(text: str, source: str) -> Trace:
    """The trace that a golden describes, with made-up times.

    Args:
        text: as `to_golden` made it, and perhaps a person changed it.
        source: the file's name, for errors.

    Raises:
        FormatError: a line is not what it should be.
    """
    return _Making(_parsed(text, source), source).trace()


# -- text to entries ---------------------------------------------------------------------------------------------


def _parsed(text: str, source: str) -> list[Entry]:
    """The lines as a tree."""
    lines = [line.rstrip() for line in text.split("\n")]
    _check_header(lines[0].removeprefix("\ufeff"), source)
    entries: list[Entry] = []
    stack: list[tuple[str, list[Entry]]] = [("file", entries)]
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if line.startswith(CONFLICT):
            message = f"{source}: line {number}: a merge conflict is not resolved. {FIX}"
            raise FormatError(message)
        words = line.lstrip(" ")
        depth, odd = divmod(len(line) - len(words), 2)
        if odd or depth >= len(stack):
            message = f"{source}: line {number}: it is indented by {2 * depth + odd} spaces, not by two for each level"
            raise FormatError(f"{message} it is in. {FIX}")
        try:
            entry = _entry(words, number)
        except LineError as error:
            message = f"{source}: line {number}: {error}. {FIX}"
            raise FormatError(message) from None
        del stack[depth + 1 :]
        around, siblings = stack[-1]
        if entry.keyword not in INSIDE.get(around, ()):
            message = f"{source}: line {number}: {_said(entry.keyword)} cannot stand inside {_said(around)}. {FIX}"
            raise FormatError(message)
        if around == "free" and entry.count == 1 and not entry.cut:
            entry.count = MIN_SEEN
        siblings.append(entry)
        stack.append(("free" if entry.free else entry.keyword, entry.inside))
    return entries


def _said(keyword: str) -> str:
    return {"": "a call", "file": "nothing else", "free": "a free thread", "instant": "an instant"}.get(
        keyword, f"a {keyword}"
    )


def _check_header(line: str, source: str) -> None:
    if line == HEADER:
        return
    prefix = HEADER.removesuffix(str(VERSION))
    version = line.removeprefix(prefix)
    if line.startswith(prefix) and version.isdecimal() and version.isascii() and int(version[:9]) > VERSION:
        message = (
            f"{source}: line 1: a golden of version {version[:9]}, and this stepscope reads {VERSION}. Upgrade it."
        )
        raise FormatError(message)
    message = f"{source}: line 1: expected {HEADER!r}, found {line[:60]!r}. {FIX}"
    raise FormatError(message)


def _entry(line: str, number: int) -> Entry:
    """One line without its indent."""
    words = Line(line)
    keyword = words.keyword()
    entry = Entry(number, keyword, "")
    _READ.get(keyword, _read_row)(words, entry)
    words.end()
    return entry


def _read_row(words: Line, entry: Entry) -> None:
    if entry.keyword == "step":
        entry.last_step = first = words.number()
        entry.name = str(first)
        if words.take("-"):
            entry.last_step = words.number()
            if entry.last_step <= first:
                message = f"steps {first}-{entry.last_step} do not rise"
                raise LineError(message)
    else:
        entry.name = words.name() or NO_NAME
    entry.args = words.args()
    if words.take(" ["):
        entry.cat = words.name()
        words.need("]")
    entry.cut = entry.keyword != "instant" and words.take(" cut")
    entry.count = words.count()


def _read_named(words: Line, entry: Entry) -> None:
    entry.name = words.name()


def _read_thread(words: Line, entry: Entry) -> None:
    entry.name, entry.free = words.name(), words.take(FREE)


def _read_process(words: Line, entry: Entry) -> None:
    entry.name, entry.count = words.name(), words.count()


def _read_counter(words: Line, entry: Entry) -> None:
    entry.name = words.name()
    if words.take(" ["):
        entry.unit = words.name()
        words.need("]")
    if not words.take(" = "):
        entry.values = [(0.0, 1)]
        return
    while not entry.values or words.take(", "):
        entry.values.append((words.value(), words.count()))


def _read_flow(words: Line, entry: Entry) -> None:
    entry.name, entry.count = words.name(), words.count()
    words.need(" through ")
    while not entry.places or words.take(", "):
        name = words.name()
        words.need(" in ")
        thread = words.name()
        entry.places.append((name, thread, words.name() if words.take(" of ") else ""))
    if len(entry.places) < 2:
        message = "a flow passes two places at least"
        raise LineError(message)


_READ: dict[str, Callable[[Line, Entry], None]] = {
    "thread": _read_thread,
    "lane": _read_named,
    "problem": _read_named,
    "process": _read_process,
    "counter": _read_counter,
    "flow": _read_flow,
    "nothing": lambda _words, _entry: None,
}

# -- entries to a trace ------------------------------------------------------------------------------------------


class _Making:
    """A trace in the making."""

    def __init__(self, entries: list[Entry], source: str) -> None:
        self._entries = entries
        self._source = source
        has_main = any(entry.keyword in ("thread", "lane", "counter") for entry in entries)
        self._builder = TraceBuilder(Origin(pid=1 if has_main else 0))
        self._columns = Columns.empty()
        self._strings: dict[str, int] = {"": 0}
        self._args: dict[int, dict[str, Any]] = {}
        self._places: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self._wanted = {place for entry in entries for place in entry.places}
        self._now = 0

    def trace(self) -> Trace:
        """Everything, in order; rows first, as the builder wants it."""
        self._check_size()
        owners = list(self._owners())
        for pid, process, entry in owners:
            if entry.keyword in ("thread", "lane"):
                self._add_track(entry, pid, process)
        self._builder.adopt(self._columns, self._strings, self._args)
        for pid, process, entry in owners:
            if entry.keyword == "counter":
                self._add_counter(entry, pid, process)
        for entry in self._entries:
            if entry.keyword == "flow":
                self._add_flow(entry)
            elif entry.keyword == "problem":
                self._builder.problem(entry.name, 1, f"{self._source}: line {entry.line}")
        return self._builder.build()

    def _owners(self) -> Iterator[tuple[int, str, Entry]]:
        """Every thread, lane and counter with its process: the profiled one is the first; goldens do not name it."""
        pid = 1
        for entry in self._entries:
            if entry.keyword in ("thread", "lane", "counter"):
                yield pid, PROGRAM, entry
        for entry in self._entries:
            for _ in range(entry.count if entry.keyword == "process" else 0):
                pid += 1
                yield from ((pid, entry.name, inside) for inside in entry.inside)

    def _check_size(self) -> None:
        """Counts multiply: ask before there are rows."""
        total = 0
        todo = [(entry, 1, -1) for entry in self._entries]
        while todo:
            entry, times, depth = todo.pop()
            if entry.keyword in ("", "step", "instant"):
                times *= entry.times
                total += times
                depth += 1
            elif entry.keyword in ("process", "flow"):
                times *= entry.count
                total += times
            total += sum(count for _, count in entry.values)
            if total > MAX_ROWS:
                message = f"{self._source}: line {entry.line}: with it there are more than {MAX_ROWS} rows. {FIX}"
                raise FormatError(message)
            if depth >= MAX_DEPTH:
                message = f"{self._source}: line {entry.line}: it is deeper than {MAX_DEPTH} levels. {FIX}"
                raise FormatError(message)
            todo += [(inside, times, depth) for inside in entry.inside]

    def _add_track(self, entry: Entry, pid: int, process: str) -> None:
        name = f"{entry.name} (overlap 1)" if entry.keyword == "lane" else entry.name
        track = self._builder.thread(pid, 0, name, process, "lane" if entry.keyword == "lane" else "thread")
        owner = entry.name, "" if pid == 1 else process
        roots = entry.inside
        if entry.free and not any(root.cut for root in roots):
            # By a call that the window cut, the thread is known to run free.
            roots = [*roots, *[replace(root, count=1, cut=True, inside=[]) for root in roots if not root.keyword][:1]]
        todo: list[tuple[int, Iterator[tuple[Entry, str]]]] = [(-1, _repeated(roots))]
        while todo:
            opened, following = todo[-1]
            found = next(following, None)
            if found is None:
                todo.pop()
                if opened >= 0:
                    self._columns.dur[opened] = self._now - self._columns.ts[opened]
                    self._now += TICK_NS
                continue
            inside, row_name = found
            row = self._add_row(inside, row_name, track, owner)
            if inside.keyword != "instant":
                todo.append((row, _repeated(inside.inside)))

    def _add_row(self, entry: Entry, name: str, track: int, owner: tuple[str, str]) -> int:
        row = len(self._columns.ts)
        kind = INSTANT if entry.keyword == "instant" else SLICE | (CUT if entry.cut else 0)
        values = (self._now, 0, self._string(name), self._string(entry.cat), 0, track, kind)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        self._now += TICK_NS
        if entry.args:
            self._args[row] = entry.args
        place = ANY_STEP if STEP.fullmatch(name) else name, *owner
        if place in self._wanted:
            self._places[place].append(row)
        return row

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _add_counter(self, entry: Entry, pid: int, process: str) -> None:
        track = self._builder.counter_track(pid, entry.name, entry.unit, process)
        for value, count in entry.values:
            for _ in range(count):
                self._builder.count(track, self._now, value)
                self._now += TICK_NS

    def _add_flow(self, entry: Entry) -> None:
        """Flows that pass the same places: rows are not told apart by which of them passes, so the first will do."""
        rows: list[int] = []
        for place in dict.fromkeys(entry.places):
            found, needed = self._places[place], entry.places.count(place)
            if len(found) < needed:
                name, thread, process = place
                where = f"{name!r} in {thread!r}{f' of {process!r}' * bool(process)}"
                message = f"{self._source}: line {entry.line}: the flow passes {where}, which is not there"
                raise FormatError(f"{message}{' so often' * bool(found)}. {FIX}")
            rows += found[:needed]
        for _ in range(entry.count):
            self._builder.flow(entry.name, rows)


def _repeated(entries: list[Entry]) -> Iterator[tuple[Entry, str]]:
    """Entries and their names, as often as they count."""
    for entry in entries:
        if entry.keyword == "step":
            for number in range(int(entry.name), entry.last_step + 1):
                for _ in range(entry.count):
                    yield entry, f"{STEP_NAME}{number}"
        else:
            for _ in range(entry.count):
                yield entry, entry.name
