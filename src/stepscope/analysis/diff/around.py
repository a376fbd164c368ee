"""What is around findings: how much else there is beside each, and the times above it."""

from collections import defaultdict
from collections.abc import Mapping

from stepscope.analysis.diff.found import Place
from stepscope.analysis.diff.identity import Group
from stepscope.analysis.diff.result import Around
from stepscope.analysis.diff.samples import Samples
from stepscope.analysis.diff.words import Words

__all__ = ["surroundings"]


def surroundings(
    names: Mapping[Place, set[int]], samples: Samples, words: Words, *, timings: bool
) -> dict[Place, Around]:
    """What is around each finding.

    Args:
        names: places -> what findings there are about.
        samples: times.
        words: of all traces.
        timings: whether times are compared.
    """
    shown: defaultdict[Place, set[int]] = defaultdict(set)
    for place, inside in names.items():
        (process, thread, path), known = place, place in shown
        shown[place] |= inside
        while path and not known:  # what is around a known one is known
            path, last = path[:-1], path[-1]
            known = (process, thread, path) in shown
            shown[process, thread, path].add(words.number(last))
    table, cells = samples
    places: dict[Place, int] = {}
    for process, thread, path in shown:
        at = table.find(Group(process, thread), [words.number(text) for text in path])
        if at is not None:
            places[process, thread, path] = at
    children: dict[int, list[int]] = {at: [] for at in places.values()}
    for number, above in enumerate(table.above):
        if above in children:
            children[above].append(number)
    found = {}
    for place, at in places.items():
        # Not what is in a slice between them that is new.
        others = table.count_inside(at, children[at], len(place[2]) + 1, shown[place])
        if timings and all(at in side for side in cells):
            found[place] = Around(others, *(side.usual.total[at] / 1000 for side in cells))
        else:
            found[place] = Around(others, None, None)
    return found
