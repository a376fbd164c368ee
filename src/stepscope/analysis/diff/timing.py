"""Times: which paths are slower or faster by more than noise, and which of them are the cause.

Each step of each run is a sample. A path is judged by the time in itself, and by what of its whole time its own
children do not explain: what is slower only through a child is context. A difference must be large (Rules.ratio,
Rules.step_us) and more than chance: unlikely by the rank-sum test even among all paths that were looked at; or, where
samples are too few for that, unlikely for this path alone and twice as much as any two samples of one side are apart.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from stepscope.analysis.diff.cells import Cells, Sampled
from stepscope.analysis.diff.finding import Evidence, Finding, Where
from stepscope.analysis.diff.ranktest import least_p, median, noise_of, rank_test, samples_needed
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.diff.run import OUTSIDE
from stepscope.analysis.diff.samples import Samples
from stepscope.core.trees import Suspects

__all__ = ["Timings", "Unsure", "compare_times"]

# How many times as far as any two samples of one side two medians are apart, to be so by more than this path's noise.
CLEAR = 2.0
# How many times alpha what may yet turn out to be no chance is, at most.
SUSPICIOUS = 10.0


class Unsure(NamedTuple):
    """A difference of times that may be chance, because there are too few samples to tell.

    Attributes:
        where, name: of what.
        base_us, head_us: the medians.
        base_more, head_more: how many more samples would do, at least.
    """

    where: Where
    name: str
    base_us: float
    head_us: float
    base_more: int
    head_more: int


class Timings(NamedTuple):
    """The outcome.

    Attributes:
        findings: slower and faster.
        unsure: what cannot be told.
        paths: those of the findings.
        judged: how many paths were looked at.
    """

    findings: list[Finding]
    unsure: list[Unsure]
    paths: set[int]
    judged: int


class _Judged(NamedTuple):
    """What is known of a path, in ns.

    Attributes:
        verdict: "slower", "faster", "same" or "unsure".
        base, head: medians.
        evidence: that it is slower or faster.
        needed: how many more samples of each side would do, if it is unsure.
    """

    verdict: str
    base: float
    head: float
    evidence: Evidence | None = None
    needed: tuple[int, int] = (0, 0)


def compare_times(samples: Samples, suspects: Suspects, rules: Rules, texts: Sequence[str]) -> Timings:
    """Find what is slower or faster.

    Args:
        samples: of both sides.
        suspects: the paths that may be.
        rules: how large a difference must be, and how unlikely by chance.
        texts: what the numbers of names stand for.
    """
    table, (base, head) = samples
    findings: list[Finding] = []
    unsure: list[Unsure] = []
    paths: set[int] = set()
    explained = _Explained(samples)
    for path in reversed(suspects.timed):
        sides = base.sampled(path), head.sampled(path)
        scale = _scale(*sides)
        if scale == (1.0, 1.0) and not _may_differ(*sides, rules.step_us * 1000):
            continue
        found = _judge_path(sides, scale, partial(explained.of, path), (rules, suspects.both))
        if found is None:
            if scale != (1.0, 1.0):
                explained.alone.add(path)
            continue
        explained.alone.add(path)
        judged, note = found
        where, name = _where(samples, path, 1, texts), texts[table.name_of(path, 1)]
        times = round(judged.base / 1000, 3), round(judged.head / 1000, 3)
        if judged.verdict == "unsure":
            unsure.append(Unsure(where, name, *times, *judged.needed))
        else:
            paths.add(path)
            where_base = _where(samples, path, 0, texts)
            findings.append(
                Finding(
                    judged.verdict,
                    "slice",
                    where,
                    name,
                    *times,
                    unit="us",
                    where_base=where_base if where_base != where else None,
                    evidence=judged.evidence,
                    note=note,
                )
            )
    return Timings(findings, unsure, paths, suspects.both)


class _Explained:
    """What children explain of the shift of each path's whole time; found out for no more paths than is asked for.

    Attributes:
        alone: paths whose own shift is what they explain of the time around them, not that of their children.
    """

    def __init__(self, samples: Samples) -> None:
        self._above, self._cells = samples.table.above, samples.cells
        self._shares = [0.0] * len(self._above)
        # All paths from here on have given their share to the one around them.
        self._known = len(self._above)
        self.alone: set[int] = set()

    def of(self, path: int) -> float:
        """What is explained of a path; all paths behind it have been judged."""
        base, head = self._cells
        for inside in range(self._known - 1, path, -1):
            around = self._above[inside]
            if around >= 0:
                share = self._shares[inside]
                if inside in self.alone or inside not in base or inside not in head:
                    share = _a_step(head, inside) - _a_step(base, inside)
                self._shares[around] += share
        self._known = min(self._known, path + 1)
        return self._shares[path]


def _a_step(cells: Cells, path: int) -> float:
    """The usual time of a path in a step, in ns."""
    return median(cells.sampled(path).total)


def _may_differ(left: Sampled, right: Sampled, least: float) -> bool:
    """Whether medians can be so far apart: they are no further than the samples that are furthest apart."""
    for one, other in ((left.total, right.total), (left.own, right.own)):
        if max(max(one) - min(other), max(other) - min(one)) >= least:
            return True
    return False


def _scale(left: Sampled, right: Sampled) -> tuple[float, float]:
    """What to multiply times of each side by: more calls are a finding of their own, not slower ones."""
    each = {*left.calls}
    if len(each) == 1 and each == {*right.calls}:
        return 1.0, 1.0
    calls = median(left.calls), median(right.calls)
    fewest = min(calls)
    return fewest / calls[0], fewest / calls[1]


def _judge_path(
    sides: tuple[Sampled, Sampled],
    scale: tuple[float, float],
    explained: Callable[[], float],
    by: tuple[Rules, int],
) -> tuple[_Judged, str] | None:
    """Judge a path by its own time, then by what of its whole time its children do not explain; None: the same."""
    own = [[time * factor for time in side.own] for side, factor in zip(sides, scale, strict=True)]
    of_own = _judge(own[0], own[1], *by)
    is_leaf = all(side.own == side.total for side in sides)
    if of_own.verdict != "same":
        return of_own, "" if is_leaf else "in itself"
    if is_leaf or scale != (1.0, 1.0):
        return None
    of_total = _judge(sides[0].total, sides[1].total, *by)
    if of_total.verdict == "same":
        return None
    shift = of_total.head - of_total.base
    rest = shift - explained()
    least = max(by[0].step_us * 1000, (by[0].ratio - 1) * min(of_total.base, of_total.head))
    if abs(rest) >= least and (rest > 0) == (shift > 0):
        return of_total, "in all"
    return None


def _judge(base: Sequence[float], head: Sequence[float], rules: Rules, looked_at: int) -> _Judged:
    """Judge two sets of times, in ns."""
    left, right = median(base), median(head)
    shift, ratio = abs(right - left), max(right, 1.0) / max(left, 1.0)
    if max(ratio, 1 / ratio) < rules.ratio or shift < rules.step_us * 1000:
        return _Judged("same", left, right)
    apart = max(max(base) - min(base), max(head) - min(head))
    p, least = rank_test(base, head), least_p(len(base), len(head))
    enough = rules.alpha if shift >= CLEAR * apart else rules.alpha / looked_at
    if p <= enough:
        evidence = Evidence(round(ratio, 4), _share(base, head), p, len(base), len(head))
        return _Judged("slower" if right > left else "faster", left, right, evidence)
    if least > enough and p <= max(least, SUSPICIOUS * rules.alpha):
        return _Judged("unsure", left, right, needed=samples_needed(len(base), len(head), enough))
    return _Judged("same", left, right)


def _share(base: Sequence[float], head: Sequence[float]) -> float:
    """The larger noise of both, as a share of the median."""
    return round(max(noise_of(side) / max(median(side), 1.0) for side in (base, head)), 4)


def _where(samples: Samples, path: int, side: int, texts: Sequence[str]) -> Where:
    """Where a path is on one side, and in which steps it was sampled."""
    table, cells = samples
    group = table.group_of(path)
    steps = {cell.step for cell in cells[side][path]} - {OUTSIDE}
    names = tuple(texts[name] for name in table.path_of(path, side)[:-1])
    return Where(group.process, group.thread, names, tuple(sorted(steps)))
