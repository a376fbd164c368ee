"""What was found, in order: a sequence of findings, of which those that nobody has read yet are numbers.

They are chosen, counted and put in order as such.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice, pairwise
from operator import eq, lt

from stepscope.analysis.diff.finding import KINDS, Finding
from stepscope.analysis.diff.gather import Gathered
from stepscope.analysis.diff.lazily import Lazily
from stepscope.analysis.diff.rules import Rules
from stepscope.core import kernels

__all__ = ["Choice", "Found", "Place", "kinds_of"]

_KINDS = tuple(KINDS)
_RANK = {kind: at for at, kind in enumerate(KINDS)}
# A process, a thread and the names around: where findings are put in order by.
Place = tuple[str, str, tuple[str, ...]]


class Choice:
    """Which findings are wanted, by the names from the root to their own."""

    def __init__(self, rules: Rules) -> None:
        self.takes_all = not rules.ignore and not rules.only
        self._ignore = _Matches(rules.ignore)
        self._only = _Matches(rules.only) if rules.only else None

    def takes(self, names: Iterable[str]) -> bool:
        """Whether what has these names is wanted."""
        texts = list(names)
        ignored = any(map(self._ignore.__getitem__, texts))
        return not ignored and (self._only is None or any(map(self._only.__getitem__, texts)))


class _Matches(dict[str, bool]):
    """Whether a name is one of some patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        super().__init__()
        self._patterns = patterns

    def __missing__(self, text: str) -> bool:
        self[text] = any(fnmatchcase(text, pattern) for pattern in self._patterns)
        return self[text]


class Found(Lazily[Finding]):
    """Findings in order of process, thread, path, kind and name; equal to a tuple of them.

    Args:
        before, gathered, behind: all that there are, as they were found.
        choice: which of them are wanted.

    Attributes:
        kinds: the kind of each.
        places: where in threads there are findings.
    """

    def __init__(
        self, before: Sequence[Finding], gathered: Gathered, behind: Sequence[Finding], choice: Choice
    ) -> None:
        self._gathered = gathered
        # Each has a number: its place among all three.
        self._others = dict(enumerate(before))
        self._others.update(enumerate(behind, len(before) + len(gathered)))
        self._first = len(before)
        self._made: dict[int, Finding] = {}
        self.kinds: list[str] = []
        order = array("I")
        self._of_places = self._chosen(choice)
        for place, rank in sorted(self._of_places):
            some = self._of_places[place, rank]
            order.extend(self._sorted(some))
            self.kinds += [_KINDS[rank]] * len(some)
        self.places = {*(place for place, _ in self._of_places if place[1])}
        super().__init__(order, self._finding)

    def names_in(self, place: Place) -> Iterator[str]:
        """The names in a place that findings are about, as head has them."""
        gathered, first, others = self._gathered, self._first, self._others
        for rank in range(len(_KINDS)):
            for number in self._of_places.get((place, rank), ()):
                if number in others:
                    yield others[number].head if _KINDS[rank] == "renamed" else others[number].name
                else:
                    yield gathered.name_in_head(number - first)

    def _finding(self, number: int) -> Finding:
        made = self._others.get(number) or self._made.get(number)
        if made is None:
            made = self._made[number] = self._gathered.finding(number - self._first)
        return made

    def _chosen(self, choice: Choice) -> dict[tuple[Place, int], list[int]]:
        """The numbers of those that are wanted, by place and kind; in each as they were found."""
        found: defaultdict[tuple[Place, int], list[int]] = defaultdict(list)
        for number, one in self._others.items():
            if choice.takes_all or choice.takes(_names(one)):
                where = one.where
                found[(where.process, where.thread, where.path), _RANK[one.kind]].append(number)
        gathered, first = self._gathered, self._first
        starts, places = kernels.place_ids(gathered.kins, max(gathered.kins, default=-1) + 1)
        for start, end in pairwise(starts):
            numbers: Sequence[int] = places[start:end]
            if not choice.takes_all:
                numbers = [number for number in numbers if choice.takes(gathered.names_of(number))]
            if not numbers:
                continue
            kind, (place, head_place) = gathered.kinds[numbers[0]], gathered.places_of(numbers[0])
            where_in = gathered.place(head_place if head_place >= 0 else place)
            found[where_in, _RANK[kind]] += [first + number for number in numbers]
        for some in found.values():
            some.sort()
        return found

    def _sorted(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those of one place and kind in order: by name, and where that is the same, by what they say."""
        if len(numbers) == 1:
            return numbers
        gathered, first, others = self._gathered, self._first, self._others
        texts, keys = gathered.words.texts, gathered.names
        names = [others[one].name if one in others else texts[keys[one - first] >> 1] for one in numbers]
        if all(map(lt, names, islice(names, 1, None))):
            return numbers
        by_name = sorted(range(len(names)), key=names.__getitem__)
        in_order = [*map(names.__getitem__, by_name)]
        if not any(map(eq, in_order, islice(in_order, 1, None))):
            return [*map(numbers.__getitem__, by_name)]
        many = Counter(names)
        order = [(name, self._says(one) if many[name] > 1 else ()) for one, name in zip(numbers, names, strict=True)]
        return [numbers[at] for at in sorted(range(len(names)), key=order.__getitem__)]

    def _says(self, number: int) -> tuple[str, str, tuple[int, ...], tuple[str, ...]]:
        one = self._finding(number)
        return repr(one.base), repr(one.head), one.where.steps, one.where_base.path if one.where_base else ()


def _names(one: Finding) -> Iterator[str]:
    """The names by which a finding is chosen."""
    yield from one.where.path
    if one.where_base:
        yield from one.where_base.path
    yield one.name
    if one.kind == "renamed":
        yield one.head


def kinds_of(findings: Sequence[Finding]) -> Iterable[str]:
    """The kind of each finding."""
    return findings.kinds if isinstance(findings, Found) else [finding.kind for finding in findings]
