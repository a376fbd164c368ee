"""Pairing the TrackEvents of a .pftrace file: begins and ends become slices.

Events count in order of time, and of the file where their times are equal, whichever sequence wrote them. An end is
of the innermost open slice of its track that has its name and category, where it says one. Slices inside that one
that are still open when time goes on end with it.

Source: Perfetto's SliceTracker, which leaves slices that never end without a duration; here they are CUT.
"""

from array import array
from collections.abc import Iterable, Sequence

from stepscope.core.events import BEGIN, END, NO_ROW, POINT, Events, Faults, PairedEvents
from stepscope.core.rows import CUT, INSTANT, SLICE, Columns

__all__ = ["pair_events"]

# An end looks this deep for the slice of its name: as deep as Perfetto draws, so that no file makes every end look at
# every begin.
MAX_SEARCH = 512


class _Count:
    """Counts events, and keeps the first of the file."""

    def __init__(self) -> None:
        self.count, self.first = 0, -1

    def add(self, event: int) -> None:
        """Count one more."""
        self.first = min(self.first, event) if self.count else event
        self.count += 1

    def faults(self) -> Faults:
        """What was counted."""
        return Faults(self.count, self.first)


class _Pairing:
    """The rows so far, and what is open."""

    def __init__(self, events: Events, shift: int, ids: Sequence[Sequence[int]]) -> None:
        self.events, self.shift = events, shift
        self.names, self.cats, self.sites, self.tracks = ids
        self.columns = Columns.empty()
        self.rows = array("I", [NO_ROW]) * len(events.ts)
        self.open: dict[int, list[int]] = {}  # events
        # track -> the end of a slice that others were open in, and how many of them remain from below it
        self.ended_below: dict[int, tuple[int, int]] = {}
        self.beyond, self.unmatched, self.misplaced = _Count(), _Count(), _Count()

    def run(self, order: Iterable[int], low: int, high: int) -> None:
        """Pair events in order of time."""
        times, kinds, tracks, names, cats, sites = self.events
        opened, ended_below, unmatched = self.open, self.ended_below, self.unmatched
        rows, shift, columns = self.rows, self.shift, self.columns
        durs = columns.dur
        name_of, cat_of, site_of, track_of = self.names, self.cats, self.sites, self.tracks
        add_ts, add_dur, add_name, add_cat = (column.append for column in columns[:4])
        add_site, add_track, add_kind = (column.append for column in columns[4:])
        row_kinds = {BEGIN: SLICE, POINT: INSTANT}
        made = 0
        for event in order:
            ts, kind, track = times[event], kinds[event], tracks[event]
            if not low <= ts <= high:
                self.beyond.add(event)
                continue
            if ended_below and track in ended_below and ts > ended_below[track][0]:
                self.close_inner(track)
            stack = opened.get(track)
            if stack is None:
                stack = opened[track] = []
            if kind == END:
                if not stack:
                    unmatched.add(event)
                elif not names[event] and not cats[event]:
                    begin = stack.pop()
                    rows[event] = row = rows[begin]
                    durs[row] = ts - times[begin]
                else:
                    self.end(event, stack)
                continue
            add_ts(ts - shift)
            add_dur(0)
            add_name(name_of[names[event]])
            add_cat(cat_of[cats[event]])
            add_site(site_of[sites[event]])
            add_track(track_of[track])
            add_kind(row_kinds.get(kind, SLICE))
            rows[event] = made
            made += 1
            if kind == BEGIN:
                stack.append(event)

    def end(self, event: int, stack: list[int]) -> None:
        """End the innermost slice that the event says."""
        times, _, tracks, names, cats, _ = self.events
        name, cat, track = names[event], cats[event], tracks[event]
        for depth in range(len(stack) - 1, max(len(stack) - MAX_SEARCH, 0) - 1, -1):
            begin = stack[depth]
            if (not cat or cats[begin] == cat) and (not name or names[begin] in (name, 0)):
                break
        else:
            self.unmatched.add(event)
            return
        del stack[depth]
        self.rows[event] = row = self.rows[begin]
        self.columns.dur[row] = times[event] - times[begin]
        if depth < len(stack):
            _, lower = self.ended_below.get(track, (0, depth))
            self.ended_below[track] = times[event], min(depth, lower)

    def close_inner(self, track: int) -> None:
        """Time goes on: what is open inside a slice that has ended ends with it."""
        ts, depth = self.ended_below.pop(track)
        stack = self.open[track]
        for begin in stack[depth:]:
            self.columns.dur[self.rows[begin]] = ts - self.events.ts[begin]
            self.misplaced.add(begin)
        del stack[depth:]

    def finish(self, last: int) -> None:
        """What is open at the end is cut."""
        for track in list(self.ended_below):
            self.close_inner(track)
        for stack in self.open.values():
            for begin in stack:
                row = self.rows[begin]
                self.columns.dur[row] = last - self.events.ts[begin]
                self.columns.kind[row] |= CUT


def pair_events(events: Events, low: int, high: int, shift: int, ids: Sequence[Sequence[int]]) -> PairedEvents:
    """Pair events into rows.

    Args:
        events: in order of the file.
        low: times before are none; ns.
        high: times beyond are none; ns.
        shift: what rows' times count from; ns.
        ids: name, category, site and track of a row by those of an event.
    """
    pairing = _Pairing(events, shift, ids)
    pairing.run(_in_time(events), low, high)
    last = max(events.ts, default=0)
    if last > high:
        last = max((ts for ts in events.ts if ts <= high), default=0)
    pairing.finish(last)
    faults = (count.faults() for count in (pairing.beyond, pairing.unmatched, pairing.misplaced))
    return PairedEvents(pairing.columns, pairing.rows, *faults)


def _in_time(events: Events) -> Sequence[int]:
    """Events in order of time; those of the file if no track's goes backwards."""
    latest: dict[int, int] = {}
    for ts, track in zip(events.ts, events.track, strict=True):
        if ts < latest.get(track, ts):
            return sorted(range(len(events.ts)), key=events.ts.__getitem__)
        latest[track] = ts
    return range(len(events.ts))
