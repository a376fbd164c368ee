"""Pace: which threads keep pace with the steps, and which run free of them.

A thread that has steps keeps pace with them, and so does one of which every whole step has as many calls of each kind,
each of which ends in the step that it began in, uncut by the window. Any other, such as a loader that reads ahead, runs
free: which of its calls fell into the window, and into which step, is chance. Where a process has no steps, the window
is what the main thread did, and any other thread runs free if the window cut one of its calls.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.model.trace import CUT

__all__ = ["free_runners"]

MAIN = "MainThread"


def free_runners(sides: Iterable[Sequence[Run]]) -> frozenset[Group]:
    """The threads that run free of the steps in any run."""
    return frozenset(group for side in sides for run in side for group in run.roots if _is_free(run, group))


def _is_free(run: Run, group: Group) -> bool:
    if group in run.stepping:
        return False
    roots = run.roots[group]
    if group.process not in run.steps:
        return not _is_main(run, group) and _has_cut(run, roots.get(OUTSIDE, ()))
    whole = run.whole_steps[group.process]
    if any(_has_cut(run, roots.get(number, ())) for number in (*whole, OUTSIDE)):
        return True
    ends = [run.end_of(run.steps[group.process][number]) for number in whole]
    if any(run.end_of(row) > end for number, end in zip(whole, ends, strict=True) for row in roots.get(number, ())):
        return True
    counts = [Counter(run.names[row] for row in roots.get(number, ())) for number in whole]
    return any(count != counts[0] for count in counts)


def _has_cut(run: Run, rows: Iterable[int]) -> bool:
    kind = run.trace.columns.kind
    return any(kind[row] & CUT for row in rows)


def _is_main(run: Run, group: Group) -> bool:
    """Whether a thread is what the process began with, or all that there is of it."""
    threads = {other for other in run.roots if other.process == group.process}
    tracks = (track for other, track in zip(run.groups, run.trace.tracks, strict=True) if other == group)
    return len(threads) == 1 or any(track.name == MAIN or track.tid == track.pid for track in tracks)
