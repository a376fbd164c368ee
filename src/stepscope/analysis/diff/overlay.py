"""The overlay: base and head on one timeline, aligned by step, and what is different on tracks of its own.

Time is bent so that steps which are one begin together: within a step it runs as it ran, and between steps it waits for
the slower side. The order of all times of a side stays, so that what nests still nests.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stepscope.analysis.diff.finding import KINDS, Finding
from stepscope.analysis.diff.identity import Group, identify
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.run import Run
from stepscope.analysis.diff.steps import align_steps
from stepscope.analysis.diff.words import Words
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import CUT, INSTANT, Origin, Trace

__all__ = ["lay_over"]

SIDES = ("base", "head")
# Findings of this many places are shown each; the rest are counted in the arguments of the last one.
MAX_PLACES = 200
MARK = "stepscope.diff"


class _Bend(NamedTuple):
    """How one side's time is bent: the time at old[i] is at new[i], and goes on from there as it did.

    Attributes:
        old, new: where steps begin, in order, ns; the first is where the trace begins.
    """

    old: list[int]
    new: list[int]

    def start(self, ts: int) -> int:
        """Where what begins at ts begins."""
        at = max(bisect_right(self.old, ts) - 1, 0)
        return self._within(ts, at)

    def end(self, ts: int) -> int:
        """Where what ends at ts ends: where steps meet, before the next one."""
        at = max(bisect_right(self.old, ts) - 1, 0)
        if at and self.old[at] == ts:
            return self._within(ts, at - 1)
        return self._within(ts, at)

    def _within(self, ts: int, at: int) -> int:
        bent = self.new[at] + ts - self.old[at]
        return min(bent, self.new[at + 1]) if at + 1 < len(self.new) else bent


def lay_over(base: Trace, head: Trace, diff: Diff) -> Trace:
    """Both traces and the findings as one trace."""
    words = Words(diff.rules)
    naming = identify([base], [head], words)
    runs = Run(base, naming.tracks[0][0], words), Run(head, naming.tracks[1][0], words)
    bends = _bends(runs)
    origin = Origin(
        # Times count from here: an hour that is before the machine's own clock began would be dropped by Perfetto.
        base_ns=head.origin.base_ns + min(head.columns.ts, default=0),
        clocks=head.origin.clocks,
        tool="stepscope diff",
        version=head.origin.version,
        host=head.origin.host,
        pid=1,
        process="diff",
    )
    builder = TraceBuilder(origin)
    for problem in (*base.problems, *head.problems):
        builder.problem(*problem)
    marks = _marks(runs, bends, diff)
    tracks: list[tuple[int, int]] = []
    for name, start, end, args in marks:
        for number, (track, until) in enumerate(tracks):
            if until <= start:
                tracks[number] = track, end
                break
        else:
            track = builder.thread(1, 0, f"findings {len(tracks) + 1}" if tracks else "findings", "diff")
            tracks.append((track, end))
        builder.slice(track, name, start, end - start, cat=MARK, args=args)
    next_pid = 2
    for side, run, bend in zip(SIDES, runs, bends, strict=True):
        next_pid = _copy(builder, side, (run, bend), next_pid)
    return builder.build()


def _bends(runs: tuple[Run, Run]) -> tuple[_Bend, _Bend]:
    """Let steps that are one begin together; a step that only one side has gets its time on both.

    The process with the most steps leads; where there is none, both sides begin together.
    """
    starts = [min(run.trace.columns.ts, default=0) for run in runs]
    first = 0
    bends = _Bend([starts[0]], [first]), _Bend([starts[1]], [first])
    processes = sorted(
        {*runs[0].steps, *runs[1].steps}, key=lambda name: -max(len(r.steps.get(name, ())) for r in runs)
    )
    if not processes:
        return bends
    steps = [run.steps.get(processes[0], {}) for run in runs]
    at = [0, 0]
    now = first
    for pair in _merged(runs, processes[0]):
        begins = [
            run.trace.columns.ts[of[number]] if number is not None else None
            for run, of, number in zip(runs, steps, pair, strict=True)
        ]
        # What each side did since its last step began comes first.
        now = max([now, *(bend.start(begin) for bend, begin in zip(bends, begins, strict=True) if begin is not None)])
        for side, begin in enumerate(begins):
            if begin is not None:
                bends[side].old.append(begin)
                bends[side].new.append(now)
                at[side] += 1
        ends = [
            run.trace.columns.dur[of[number]] if number is not None else 0
            for run, of, number in zip(runs, steps, pair, strict=True)
        ]
        now += max(ends)
    return bends


def _merged(runs: tuple[Run, Run], process: str) -> Iterator[tuple[int | None, int | None]]:
    """The steps of both sides in one order, in pairs where they are one."""
    pairs = align_steps(process, [runs[0]], [runs[1]])
    lefts, rights = (list(run.steps.get(process, {})) for run in runs)
    i = j = 0
    for one, other in [*pairs.pairs, (None, None)]:
        i_end = lefts.index(one) if one is not None else len(lefts)
        j_end = rights.index(other) if other is not None else len(rights)
        if i_end < i or j_end < j:
            continue  # numbers that do not rise with time
        yield from ((number, None) for number in lefts[i:i_end])
        yield from ((None, number) for number in rights[j:j_end])
        if one is not None:
            yield one, other
        i, j = i_end + 1, j_end + 1


def _copy(builder: TraceBuilder, side: str, bent: tuple[Run, _Bend], pid: int) -> int:
    """Add all of one side's trace; returns the next pid that is free."""
    run, bend = bent
    trace, columns = run.trace, run.trace.columns
    pids: dict[int, int] = {}
    tracks = []
    for track in trace.tracks:
        number = pids.setdefault(track.pid, pid + len(pids))
        process = f"{side}: {track.process}"
        if track.kind == "counter":
            tracks.append(builder.counter_track(number, track.name, track.unit, process))
        else:
            tracks.append(builder.thread(number, track.tid, track.name, process, track.kind))
    rows = []
    for row, (ts, dur, name, cat) in enumerate(zip(columns.ts, columns.dur, columns.name, columns.cat, strict=True)):
        here, text, kind = tracks[columns.track[row]], trace.strings[name], columns.kind[row]
        args = trace.args.get(row)
        if kind & INSTANT:
            rows.append(builder.instant(here, text, bend.start(ts), cat=trace.strings[cat], args=args))
            continue
        # What takes no time, at the end of what is around it, stays there.
        start = bend.start(ts) if dur or run.parent[row] < 0 else bend.end(ts)
        cut = bool(kind & CUT)
        end = max(bend.end(ts + dur), start)
        rows.append(builder.slice(here, text, start, end - start, cat=trace.strings[cat], args=args, cut=cut))
    counters = trace.counters
    for ts, value, counter in zip(counters.ts, counters.value, counters.track, strict=True):
        builder.count(tracks[counter], max(bend.start(ts), 0), value)
    of_flow: list[list[int]] = [[] for _ in trace.flows.name]
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        of_flow[flow].append(rows[row])
    for name, points in zip(trace.flows.name, of_flow, strict=True):
        builder.flow(trace.strings[name], points)
    return pid + len(pids)


def _marks(
    runs: tuple[Run, Run], bends: tuple[_Bend, _Bend], diff: Diff
) -> list[tuple[str, int, int, dict[str, object]]]:
    """Name, start, end and arguments of a slice for each place of each finding, in order of time."""
    words = runs[0].words
    wanted: dict[tuple[int, Group, tuple[int, ...]], list[Finding]] = {}
    for finding in diff.findings:
        side = 0 if finding.kind in ("removed", "missing", "fewer", "unwrapped") else 1
        where, name = finding.where, finding.name
        if finding.kind == "renamed":
            name = finding.head
        if finding.what not in ("slice", "instant") or (side == 0 and where.process == ""):
            continue
        path = tuple(words.number(text) for text in (*where.path, name))
        wanted.setdefault((side, Group(where.process, where.thread), path), []).append(finding)
    marks = []
    for side, run in enumerate(runs):
        lasts = {key[2][-1] for key in wanted if key[0] == side}
        shown: dict[tuple[int, Group, tuple[int, ...]], set[int]] = {}
        for row, number in enumerate(run.names) if lasts else ():
            if number >> 1 not in lasts:
                continue
            key = (side, run.group_of(row), run.path_of(row))
            step = run.step_of(row)
            if key not in wanted or step in (places := shown.setdefault(key, set())) or len(places) >= MAX_PLACES:
                continue
            places.add(step)
            start = bends[side].start(run.trace.columns.ts[row])
            end = max(bends[side].end(run.trace.columns.ts[row] + run.trace.columns.dur[row]), start)
            marks += [(_title(finding), start, end, _told(finding)) for finding in _of_step(wanted[key], step)]
    return sorted(marks + _whole(runs, bends, diff), key=lambda mark: (mark[1], -mark[2], mark[0]))


def _whole(
    runs: tuple[Run, Run], bends: tuple[_Bend, _Bend], diff: Diff
) -> list[tuple[str, int, int, dict[str, object]]]:
    """Marks for steps, threads, counters and all else that is no row: over the step, or over everything."""
    marks = []
    for finding in diff.findings:
        if finding.what in ("slice", "instant"):
            continue
        side = 0 if finding.kind == "missing" else 1
        run, bend = runs[side], bends[side]
        columns = run.trace.columns
        rows = run.steps.get(finding.where.process, {})
        steps = [rows[number] for number in finding.where.steps if number in rows]
        for row in steps:
            start = bend.start(columns.ts[row])
            marks.append(
                (_title(finding), start, max(bend.end(columns.ts[row] + columns.dur[row]), start), _told(finding))
            )
        if not steps and len(columns.ts):
            end = max(bend.end(ts + dur) for ts, dur in zip(columns.ts, columns.dur, strict=True))
            marks.append((_title(finding), bend.new[0], max(end, bend.new[0]), _told(finding)))
    return marks


def _of_step(findings: Iterable[Finding], step: int) -> Iterator[Finding]:
    for finding in findings:
        if not finding.where.steps or step in finding.where.steps:
            yield finding


def _title(finding: Finding) -> str:
    return f"{finding.kind}: {finding.name}"


def _told(finding: Finding) -> dict[str, object]:
    told = finding.as_json()
    return {
        "says": f"{finding.name} {KINDS[finding.kind].says}",
        **{key: told[key] for key in ("base", "head", "count")},
    }
