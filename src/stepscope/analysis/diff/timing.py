"""Times: which paths are slower or faster by more than noise, and which of them are the cause.

Each step of each run is a sample. A path is judged by the time in itself, and by what of its whole time its own
children do not explain: what is slower only through a child is context. A difference must be large (Rules.ratio,
Rules.step_us) and more than chance: unlikely by the rank-sum test even among all paths that were looked at; or, where
samples are too few for that, unlikely for this path alone and twice as much as any two samples of one side are apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from stepscope.analysis.diff.finding import Evidence, Finding, Where
from stepscope.analysis.diff.lazily import Lazily
from stepscope.analysis.diff.ranktest import least_p, median, noise_of, rank_test, samples_needed
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.diff.run import OUTSIDE
from stepscope.analysis.diff.samples import Samples
from stepscope.core.trees import Suspects

__all__ = ["Timings", "Unsure", "Unsures", "compare_times", "needed_for"]

# How many times as far as any two samples of one side two medians are apart, to be so by more than this path's noise.
CLEAR = 2.0
# How many times alpha what may yet turn out to be no chance is, at most.
SUSPICIOUS = 10.0
# What times of both sides are multiplied by if there are as many calls.
_EVEN = (1.0, 1.0)


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


class _Judged(NamedTuple):
    """What is known of a path.

    Attributes:
        usual: what it takes, in ns: the medians of base and of head.
        evidence: that it is slower or faster; None if it is unsure.
        needed: how many more samples of each side would do, if it is unsure.
        of_own: whether that is the time in itself, not its whole time.
    """

    usual: tuple[float, float]
    evidence: Evidence | None
    needed: tuple[int, int]
    of_own: bool


class Unsures(Lazily[Unsure]):
    """What cannot be told, in the order in which it was found.

    Args:
        samples: of both sides.
        judged: path -> what is known of it.
        texts: what the numbers of names stand for.

    Attributes:
        needed: how many more samples of each side would do for all of them.
    """

    def __init__(self, samples: Samples, judged: Mapping[int, _Judged], texts: Sequence[str]) -> None:
        super().__init__([*judged], self._unsure)
        self._samples, self._judged, self._texts = samples, judged, texts
        needed = [one.needed for one in judged.values()]
        self.needed = max(map(itemgetter(0), needed), default=0), max(map(itemgetter(1), needed), default=0)

    def only(self, takes: Callable[[Iterable[str]], bool]) -> "Unsures":
        """Those that are wanted, by the names from the root to their own."""
        taken = (path for path, one in zip(self._judged, self, strict=True) if takes((*one.where.path, one.name)))
        return Unsures(self._samples, {path: self._judged[path] for path in taken}, self._texts)

    def _unsure(self, path: int) -> Unsure:
        where, judged = _where(self._samples, path, 1, self._texts), self._judged[path]
        name = self._texts[self._samples.table.name_of(path, 1)]
        return Unsure(where, name, *_in_us(judged), *judged.needed)


class Timings(NamedTuple):
    """The outcome.

    Attributes:
        findings: slower and faster.
        unsure: what cannot be told.
        paths: those of the findings.
        judged: how many paths were looked at.
    """

    findings: list[Finding]
    unsure: Unsures
    paths: set[int]
    judged: int


def compare_times(samples: Samples, suspects: Suspects, rules: Rules, texts: Sequence[str]) -> Timings:
    """Find what is slower or faster.

    Args:
        samples: of both sides.
        suspects: the paths that may be.
        rules: how large a difference must be, and how unlikely by chance.
        texts: what the numbers of names stand for.
    """
    findings: list[Finding] = []
    unsure: dict[int, _Judged] = {}
    paths: set[int] = set()
    judge = _Judge(samples, rules, suspects.both)
    for path in reversed(suspects.timed):
        judged = judge.of(path)
        if judged is None:
            continue
        if judged.evidence is None:
            unsure[path] = judged
        else:
            paths.add(path)
            findings.append(_finding(samples, path, judged, texts))
    return Timings(findings, Unsures(samples, unsure, texts), paths, suspects.both)


def _finding(samples: Samples, path: int, judged: _Judged, texts: Sequence[str]) -> Finding:
    where_base, where = (_where(samples, path, side, texts) for side in (0, 1))
    is_leaf = all(times.own == times.total for times in (cells.sampled(path) for cells in samples.cells))
    base, head = judged.usual
    return Finding(
        "slower" if head > base else "faster",
        "slice",
        where,
        texts[samples.table.name_of(path, 1)],
        *_in_us(judged),
        unit="us",
        where_base=where_base if where_base != where else None,
        evidence=judged.evidence,
        note="" if is_leaf else "in itself" if judged.of_own else "in all",
    )


def _in_us(judged: _Judged) -> tuple[float, float]:
    base, head = judged.usual
    return round(base / 1000, 3), round(head / 1000, 3)


class _Explained:
    """What children explain of the shift of each path's whole time; found out for no more paths than is asked for.

    Attributes:
        alone: paths whose own shift is what they explain of the time around them, not that of their children.
    """

    def __init__(self, samples: Samples) -> None:
        self._above, self._cells = samples.table.above, samples.cells
        self._usual = [side.usual.total for side in samples.cells]
        self._shares = [0.0] * len(self._above)
        # All paths from here on have given their share to the one around them.
        self._known = len(self._above)
        self.alone: set[int] = set()

    def of(self, path: int) -> float:
        """What is explained of a path; all paths behind it have been judged."""
        base, head = self._cells
        base_usual, head_usual = self._usual
        for inside in range(self._known - 1, path, -1):
            around = self._above[inside]
            if around >= 0:
                share = self._shares[inside]
                if inside in self.alone or inside not in base or inside not in head:
                    share = head_usual[inside] - base_usual[inside]
                self._shares[around] += share
        self._known = min(self._known, path + 1)
        return self._shares[path]


class _Judge:
    """Judges paths, one after another, from the last to the first.

    Args:
        samples: of both sides.
        rules: how large a difference must be, and how unlikely by chance.
        looked_at: among how many paths.
    """

    def __init__(self, samples: Samples, rules: Rules, looked_at: int) -> None:
        self._cells = samples.cells
        self._usual = samples.cells[0].usual, samples.cells[1].usual
        self._explained = _Explained(samples)
        self._rules, self._looked_at = rules, looked_at

    def of(self, path: int) -> _Judged | None:
        """Judge a path by its own time, then by what of its whole time its children do not explain; None: the same."""
        base, head = self._usual
        calls = base.calls[path], head.calls[path]
        if calls[0] != calls[1]:
            # What is called more often is a finding of its own, not slower.
            self._explained.alone.add(path)
            fewest = min(calls)
            scale = fewest / calls[0], fewest / calls[1]
            left, right = (median(times) for times in self._times(path, scale, of_own=True))
            return self._judge(path, (left, right), scale, of_own=True)
        judged = self._judge(path, (base.own[path], head.own[path]), of_own=True)
        if judged is None:
            judged = self._judge(path, (base.total[path], head.total[path]), of_own=False)
            if judged is None or not self._is_unexplained(path, judged.usual):
                return None
        self._explained.alone.add(path)
        return judged

    def _is_unexplained(self, path: int, usual: tuple[float, float]) -> bool:
        """Whether children leave enough of the shift of a path's whole time to be one."""
        shift = usual[1] - usual[0]
        rest = shift - self._explained.of(path)
        least = max(self._rules.step_us * 1000, (self._rules.ratio - 1) * min(usual))
        return abs(rest) >= least and (rest > 0) == (shift > 0)

    def _times(self, path: int, scale: tuple[float, float], *, of_own: bool) -> Sequence[Sequence[float]]:
        """A path's samples on both sides, in ns."""
        sides = [cells.sampled(path) for cells in self._cells]
        times: Sequence[Sequence[float]] = [side.own if of_own else side.total for side in sides]
        if scale != _EVEN:
            return [[time * factor for time in side] for side, factor in zip(times, scale, strict=True)]
        return times

    def _judge(
        self, path: int, usual: tuple[float, float], scale: tuple[float, float] = _EVEN, *, of_own: bool
    ) -> _Judged | None:
        """Judge two sets of times by their medians, then by the samples; None: the same."""
        left, right = usual
        rules, shift = self._rules, abs(right - left)
        if shift < rules.step_us * 1000:
            return None
        ratio = max(right, 1.0) / max(left, 1.0)
        if max(ratio, 1 / ratio) < rules.ratio:
            return None
        many = self._cells[0].count(path), self._cells[1].count(path)
        least = least_p(*many)
        p, apart = 1.0, 0.0
        if least < 1.0:
            times = self._times(path, scale, of_own=of_own)
            p, apart = rank_test(*times), max(max(side) - min(side) for side in times)
        enough = rules.alpha if shift >= CLEAR * apart else rules.alpha / self._looked_at
        if p <= enough:
            noise = _share(*self._times(path, scale, of_own=of_own))
            return _Judged(usual, Evidence(round(ratio, 4), noise, p, *many), (0, 0), of_own)
        if least > enough and p <= max(least, SUSPICIOUS * rules.alpha):
            return _Judged(usual, None, samples_needed(*many, enough), of_own)
        return None


def _share(base: Sequence[float], head: Sequence[float]) -> float:
    """The larger noise of both, as a share of the median."""
    return round(max(noise_of(side) / max(median(side), 1.0) for side in (base, head)), 4)


def needed_for(unsure: Sequence[Unsure]) -> tuple[int, int]:
    """How many more samples of base and of head would do for all that cannot be told."""
    if isinstance(unsure, Unsures):
        return unsure.needed
    return max((one.base_more for one in unsure), default=0), max((one.head_more for one in unsure), default=0)


def _where(samples: Samples, path: int, side: int, texts: Sequence[str]) -> Where:
    """Where a path is on one side, and in which steps it was sampled."""
    table, cells = samples
    group = table.group_of(path)
    steps = cells[side].steps_of(path) - {OUTSIDE}
    names = tuple(texts[name] for name in table.path_of(path, side)[:-1])
    return Where(group.process, group.thread, names, tuple(sorted(steps)))
