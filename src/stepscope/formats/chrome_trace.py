"""From what stands in a file of Chrome JSON to a Trace: which track is whose, when time begins, who wrote it.

Times. A trace's ts count from Origin.base_ns and are not below 0. If a file's are, or are so large that a double loses
nanoseconds of them (2**43 us, 101 days), they are moved, and base_ns with them, by as little as that takes: whole
seconds for those below 0, whole quarters of a year for large ones, as torch does. A file that does not say when its
time began has the base 0, or what it was moved by.

Ids. A tid of 0 is the process's main thread, as in Perfetto. Texts, and numbers that no loader can read, get ids that
nothing else in the file has; the track is called as they are.
"""

import json
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.core.rows import Columns, Scanned
from stepscope.core.values import INT64_MAX, INT64_MIN, legal_text
from stepscope.formats.about import ABOUT
from stepscope.formats.about_read import Told, read_about
from stepscope.formats.chrome_events import Events, Identity
from stepscope.formats.chrome_reserved import read_args, read_name
from stepscope.formats.chrome_values import LAST_NS, legal_args
from stepscope.formats.dialects import FORMATS_OWN, dialect_of, look_up
from stepscope.formats.findings import Findings
from stepscope.model.build import FIRST_MADE_UP_TID, LAST_TID, TraceBuilder
from stepscope.model.packed_args import ArgsPacker, PackedArgs
from stepscope.model.trace import Origin, Trace

__all__ = ["Parts", "assemble"]

SECOND_NS = 10**9
QUARTER_NS = 7_889_238 * SECOND_NS
EXACT_NS = 1000 << 43


class Parts(NamedTuple):
    """What a file holds.

    Attributes:
        scanned: the plain events.
        args, sites: their arguments, and where the function of each is, by row.
        events: all others.
        head: what stands beside the array of events, by key.
        metadata_byte: where the value of its "metadata" begins.
        spelled: whether a key of `args` may be spelled otherwise than in the trace, if the file is ours.
    """

    scanned: Scanned
    args: ArgsPacker
    sites: dict[int, str]
    events: Events
    head: Mapping[str, Any]
    metadata_byte: int
    spelled: bool


def assemble(parts: Parts, findings: Findings) -> Trace:
    """Build the Trace of a file."""
    return _Assembly(parts, findings).trace()


class _Assembly:
    """One file's way to a Trace."""

    def __init__(self, parts: Parts, findings: Findings) -> None:
        self.parts = parts
        self.findings = findings
        metadata = parts.head.get("metadata")
        self.metadata: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
        self.told = self._told()
        self.kinds = self.told.kinds if self.told else {}
        # The rows that events have made: in the order of the file, how many of the scanner's stand before each, and the
        # merged row of each.
        self.order: list[int] = []
        self.insertions: list[int] = []
        self.places: list[int] = []

    def trace(self) -> Trace:
        """Put the parts together."""
        events = self.parts.events
        events.finish(self._end)
        self.order = sorted(range(len(events.before)), key=events.before.__getitem__)
        self.insertions = sorted(events.before)
        self.places = [0] * len(self.order)
        for rank, row in enumerate(self.order):
            self.places[row] = events.before[row] + rank
        shift = 0 if self.told else self._shift()
        builder = TraceBuilder(self._origin(shift))
        pids = self._pids()
        scanned_tracks, event_tracks = self._add_tracks(builder, pids)
        strings, texts = self._texts()
        columns = self._merged((texts, scanned_tracks), event_tracks)
        self._place_times(columns, shift)
        builder.adopt(columns, strings, self._args())
        self._add_counters(builder, pids, shift)
        self._add_flows(builder, columns, event_tracks)
        self.findings.tell(builder)
        trace = builder.build()
        return self.told.complete(trace) if self.told else trace

    # ---- times ---------------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """The last moment of the file."""
        tables = (self.parts.scanned.columns, self.parts.events.columns)
        ends = (max(map(int.__add__, table.ts, table.dur)) for table in tables if table.ts)
        counted = (max(times) for times, _ in self.parts.events.counters.values())
        return max((*ends, *counted), default=0)

    def _shift(self) -> int:
        """What to take off every time of a foreign file."""
        times = [self.parts.scanned.columns.ts, self.parts.events.columns.ts]
        times += [ts for ts, _ in self.parts.events.counters.values()]
        first = min((min(ts) for ts in times if ts), default=0)
        last = max((max(ts) for ts in times if ts), default=0)
        shift = min(first // SECOND_NS, 0) * SECOND_NS
        return first // QUARTER_NS * QUARTER_NS if last - shift >= EXACT_NS else shift

    def _place_times(self, columns: Columns, shift: int) -> None:
        """Move all times; what lasts longer than a trace can is cut there and counted."""
        if not columns.ts:
            return
        if max(columns.ts) - shift + max(columns.dur) <= LAST_NS and not (self.told and min(columns.ts) < 0):
            if shift:
                columns.ts[:] = array("q", (ts - shift for ts in columns.ts))
            return
        for row, (ts, dur) in enumerate(zip(columns.ts, columns.dur, strict=True)):
            start = min(max(ts - shift, 0), LAST_NS)
            end = min(max(ts - shift + dur, start), LAST_NS)
            if (start, end) != (ts - shift, ts - shift + dur):
                self.findings.note("range", f"a row at {ts} ns for {dur} ns; times are from 0 to {LAST_NS} ns")
            columns.ts[row], columns.dur[row] = start, end - start

    # ---- who wrote it --------------------------------------------------------------------------------------------

    def _told(self) -> Told | None:
        """What we have written ourselves; None in a foreign file."""
        about = self.metadata.get(ABOUT)
        if about is None:
            return None
        try:
            users = {key: value for key, value in self.metadata.items() if key != ABOUT}
            return read_about({**about, "metadata": legal_args(users)})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            what = f'the value of "metadata": {ABOUT!r} is not as stepscope writes it ({type(error).__name__}: {error})'
            self.findings.wrong("malformed", self.parts.metadata_byte, what)
            return None

    def _origin(self, shift: int) -> Origin:
        head = self.parts.head
        if self.told:
            return self.told.origin
        dialect = dialect_of(head)
        if look_up(head, dialect.lost):
            self.findings.note("dropped", f"{dialect.tool} says that it had no room for all events")
        base = _integer(look_up(head, dialect.base_ns)) + shift
        users = {key: value for key, value in head.items() if key not in dialect.own | FORMATS_OWN}
        return Origin(
            base_ns=base if INT64_MIN <= base <= INT64_MAX else shift,
            # Where the base is below 0 the clocks are put so that times on each of them are not.
            clocks=Clocks(max(0, -base), max(0, -base), 0) if abs(base) <= LAST_NS else Clocks(0, 0, 0),
            tool=dialect.tool,
            version=_text(look_up(head, dialect.version)),
            host=_text(look_up(head, dialect.host)),
            trace_id=_text(look_up(head, dialect.trace_id)),
            rank=_integer(look_up(head, dialect.rank)),
            world_size=_integer(look_up(head, dialect.world_size)) or 1,
            metadata=MappingProxyType(legal_args(users)),
        )

    # ---- tracks --------------------------------------------------------------------------------------------------

    def _pids(self) -> dict[str | int, int]:
        """A legal pid for each that stands in the file."""
        events = self.parts.events
        given: list[str | int] = [pid for pid, _ in self.parts.scanned.threads]
        for number, identity in enumerate(events.tracks):
            given.append(identity[1] if identity[0] == "thread" else events.track_names[number][0])
        given += [pid for pid, _, _ in events.counters]
        pids: dict[str | int, int] = {pid: pid for pid in given if isinstance(pid, int) and 0 <= pid <= LAST_TID}
        free = (number for number in count(FIRST_MADE_UP_TID) if number not in pids)
        return {**pids, **{pid: next(free) for pid in dict.fromkeys(given) if pid not in pids}}

    def _add_tracks(self, builder: TraceBuilder, pids: Mapping[str | int, int]) -> tuple[list[int], list[int]]:
        """The builder's numbers of the scanner's threads, and of the tracks of the other events."""
        events, threads = self.parts.events, self.parts.scanned.threads
        scanned = [self._main(("thread", pid, tid)) for pid, tid in threads]
        others = [self._main(identity) for identity in events.tracks]
        processes = {pid: self._process(pid) for pid in pids}
        numbers: dict[Identity, int] = {}
        # Those with an id of their own first: no id that is made up takes theirs.
        for identity in sorted(dict.fromkeys(scanned + others), key=_is_made_up):
            if identity[0] == "thread":
                _, pid, tid = identity
                name = self._thread(pid, tid)
                kind = self.kinds.get((pid, tid), "thread")  # type: ignore[arg-type] # a text is no key of it
                tid = tid if isinstance(tid, int) else 0
            else:
                pid, name = events.track_names[events.tracks[identity]]
                kind, tid = "async", 0
            numbers[identity] = builder.thread(pids[pid], tid, name, processes[pid], kind)
        return [numbers[identity] for identity in scanned], [numbers[identity] for identity in others]

    @staticmethod
    def _main(identity: Identity) -> Identity:
        """A tid of 0 is the main thread's."""
        kind, pid, tid, *_ = identity
        return (kind, pid, pid) if kind == "thread" and tid == 0 and isinstance(pid, int) else identity

    def _process(self, pid: str | int) -> str:
        """A process's name; "": it has none, and the builder calls it by its pid."""
        name = self.parts.events.processes.get(pid, "")
        return name or (f"process {pid}" if isinstance(pid, int) else pid)

    def _thread(self, pid: str | int, tid: str | int) -> str:
        names = self.parts.events.threads
        name = names.get((pid, tid), "") or (names.get((pid, 0), "") if tid == pid else "")
        return name or (f"thread {tid}" if isinstance(tid, int) else tid)

    # ---- rows ----------------------------------------------------------------------------------------------------

    def _texts(self) -> tuple[list[str], list[int]]:
        """All texts, those of the events first; and where in them the scanner's are. Its sites are put there."""
        strings, where = dict(self.parts.events.strings), []
        for raw in self.parts.scanned.texts:
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                text = raw.decode("utf-8", "replace")
                self.findings.note("encoding", f"{text!r} is not UTF-8; what is not is shown as \ufffd")
            if "\\" in text:
                text = json.loads(f'"{text}"', strict=False)
            where.append(strings.setdefault(legal_text(text), len(strings)))
        site = self.parts.scanned.columns.site
        if site.tobytes().strip(b"\0"):  # a hundred times faster than any()
            site[:] = _renumbered(site, where)
        for row, text in self.parts.sites.items():
            site[row] = strings.setdefault(text, len(strings))
        # Each text is spelled in one way, so no two become one.
        return [read_name(text) for text in strings] if self.told else list(strings), where

    def _merged(self, ids: tuple[list[int], list[int]], event_tracks: list[int]) -> Columns:
        """The scanner's rows and those of the other events, in the order of the file.

        Args:
            ids: of the scanner's texts and threads.
            event_tracks: of the tracks of the other events.
        """
        texts, tracks = ids
        rows, others = self.parts.scanned.columns, self.parts.events.columns
        rows = rows._replace(
            name=_renumbered(rows.name, texts), cat=_renumbered(rows.cat, texts), track=_renumbered(rows.track, tracks)
        )
        if not others.ts:
            return rows
        others = others._replace(track=_renumbered(others.track, event_tracks))
        merged = Columns(*(column[:0] for column in rows))
        for column, other, target in zip(rows, others, merged, strict=True):
            done = 0
            for row, before in zip(self.order, self.insertions, strict=True):
                target.extend(column[done:before])
                target.append(other[row])
                done = before
            target.extend(column[done:])
        return merged

    def _place(self, row: int) -> int:
        """The merged row of one of the scanner's."""
        return row + bisect_right(self.insertions, row)

    def _args(self) -> PackedArgs:
        given = self.parts.events.args
        args = self.parts.args.pack(self.insertions, {self.places[row]: args for row, args in given.items()})
        return args.mapped(read_args) if self.told and self.parts.spelled else args

    # ---- counters and flows --------------------------------------------------------------------------------------

    def _add_counters(self, builder: TraceBuilder, pids: Mapping[str | int, int], shift: int) -> None:
        for (pid, name, key), (times, values) in self.parts.events.counters.items():
            # Ours have their unit for a key. Of others nobody knows what it is: it names the series, as in Perfetto.
            called = (name, key) if self.told else (f"{name} {key}", "")
            track = builder.counter_track(pids[pid], *called, self._process(pid))
            for ts, value in zip(times, values, strict=True):
                builder.count(track, min(max(ts - shift, 0), LAST_NS), value)

    def _add_flows(self, builder: TraceBuilder, columns: Columns, event_tracks: list[int]) -> None:
        flows = self.parts.events.flows

        def place(behind: int) -> int:
            return self._place(behind) if behind >= 0 else self.places[-2 - behind] if behind < -1 else -1

        for name, rows in (*flows.bound(self.places), *flows.resolve(columns, place, event_tracks, self.findings)):
            builder.flow(read_name(name) if self.told else name, rows)


def _is_made_up(identity: Identity) -> bool:
    """Whether a track gets an id that is not in the file."""
    return identity[0] != "thread" or not all(isinstance(id_, int) and 0 < id_ <= LAST_TID for id_ in identity[1:])


def _renumbered(column: "array[int]", numbers: Sequence[int]) -> "array[int]":
    """A column of ids in another numbering."""
    if all(map(int.__eq__, numbers, count())):
        return column
    return array("I", map(numbers.__getitem__, column))


def _integer(value: Any) -> int:
    return value if type(value) is int and INT64_MIN <= value <= INT64_MAX else 0


def _text(value: Any) -> str:
    return legal_text(value) if isinstance(value, str) else ""
