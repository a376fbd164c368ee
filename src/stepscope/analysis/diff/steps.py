"""Steps: which step of base is which of head.

By number where both have it. What lies between such steps is aligned by contents, never by position alone, so that a
step that is missing is one finding and the steps after it are compared with themselves.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stepscope.analysis.diff.run import Run

__all__ = ["StepPairs", "align_steps"]

# How alike two steps of different numbers must be to be one.
ALIKE = 0.5
# Steps between two known pairs are aligned exactly up to this many pairs of them; above, only equal ones are.
MAX_CELLS = 250_000


class StepPairs(NamedTuple):
    """The steps of one process.

    Attributes:
        pairs: (number in base, number in head), in order.
        missing: numbers that only base has.
        new: numbers that only head has.
    """

    pairs: list[tuple[int, int]]
    missing: list[int]
    new: list[int]


class _Content(NamedTuple):
    """What a step does."""

    full: int
    shape: int
    names: "Counter[int]"


def align_steps(process: str, base: Sequence[Run], head: Sequence[Run]) -> StepPairs:
    """Pair the steps of one process; in several runs of a side, a step is one by its number."""
    left, right = (sorted({number for run in side for number in run.steps.get(process, ())}) for side in (base, head))
    common = sorted({*left} & {*right})
    pairs: list[tuple[int, int]] = []
    i = j = 0
    for number in [*common, None]:
        i_end = left.index(number, i) if number is not None else len(left)
        j_end = right.index(number, j) if number is not None else len(right)
        if i < i_end and j < j_end:
            gap = left[i:i_end], right[j:j_end]
            contents = [_contents(process, side, numbers) for side, numbers in zip((base, head), gap, strict=True)]
            pairs += [(gap[0][a], gap[1][b]) for a, b in _align(*contents)]
        if number is not None:
            pairs.append((number, number))
        i, j = i_end + 1, j_end + 1
    paired = {one for one, _ in pairs}, {other for _, other in pairs}
    return StepPairs(
        pairs, [number for number in left if number not in paired[0]], [n for n in right if n not in paired[1]]
    )


def _contents(process: str, runs: Sequence[Run], numbers: Sequence[int]) -> list[_Content]:
    found = []
    for number in numbers:
        run = next(run for run in runs if number in run.steps.get(process, ()))
        row = run.steps[process][number]
        names = Counter(run.names[child] for child in run.children(row))
        found.append(_Content(run.trees.full[row], run.trees.shape[row], names))
    return found


def _worth(one: _Content, other: _Content) -> float:
    """How much two steps are alike: 5 the same, 4 the same shape, up to 3 by what is directly in them."""
    if one.full == other.full:
        return 5.0
    if one.shape == other.shape:
        return 4.0
    union = sum((one.names | other.names).values())
    share = sum((one.names & other.names).values()) / union if union else 0.0
    return 3.0 * share if share >= ALIKE else 0.0


def _align(base: list[_Content], head: list[_Content]) -> list[tuple[int, int]]:
    """The pairs, in order, that are worth most together; which of equal ones does not depend on which side is base."""
    if [content.full for content in head] < [content.full for content in base]:
        return [(i, j) for j, i in _align(head, base)]
    if len(base) * len(head) > MAX_CELLS:
        return _align_equal(base, head)
    # From the end, so that walking from the start finds the earliest pairs.
    best = [[0.0] * (len(head) + 1) for _ in range(len(base) + 1)]
    for i in range(len(base) - 1, -1, -1):
        for j in range(len(head) - 1, -1, -1):
            worth = _worth(base[i], head[j])
            paired = best[i + 1][j + 1] + worth if worth else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(base) and j < len(head):
        worth = _worth(base[i], head[j])
        if worth and best[i][j] == best[i + 1][j + 1] + worth:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _align_equal(base: list[_Content], head: list[_Content]) -> list[tuple[int, int]]:
    """The next equal step for each, in order."""
    pairs: list[tuple[int, int]] = []
    places: dict[int, list[int]] = {}
    for j in range(len(head) - 1, -1, -1):
        places.setdefault(head[j].shape, []).append(j)
    at = 0
    for i, content in enumerate(base):
        waiting = places.get(content.shape, [])
        while waiting and waiting[-1] < at:
            waiting.pop()
        if waiting:
            pairs.append((i, at := waiting.pop()))
            at += 1
    return pairs
