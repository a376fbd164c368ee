"""Whether two sets of samples differ by more than chance: the rank-sum test, exact where samples are few.

Source: Mann and Whitney (1947); midranks for ties. The exact distribution is that of the rank sum over all ways to
choose one set among the samples, with their ties, as a polynomial whose coefficients stand side by side in one integer.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["least_p", "median", "noise_of", "rank_test", "samples_needed"]

# Up to so many samples of both sides, all ways are counted; above, the normal distribution is as good.
MAX_EXACT = 60
MAX_NEEDED = 1000
# What the median distance from the median is in units of a standard deviation, where samples are normal.
TO_DEVIATION = 1.4826


def rank_test(base: Sequence[float], head: Sequence[float]) -> float:
    """How likely two sets are at least so far apart if both are samples of one thing; both ways."""
    n, m = len(base), len(head)
    if least_p(n, m) >= 1.0:  # none, or one of each
        return 1.0
    ranks = _doubled_midranks([*base, *head])
    if n + m <= MAX_EXACT:
        # The smaller side is chosen: the fewer ways give the same answer.
        few = ranks[:n] if n <= m else ranks[n:]
        return _exact_p(tuple(sorted(ranks)), len(few), sum(few))
    return _normal_p(ranks, n, m)


def _doubled_midranks(samples: Sequence[float]) -> list[int]:
    """Twice the rank of each sample, that of equal ones in their middle: an integer."""
    order = sorted(range(len(samples)), key=samples.__getitem__)
    ranks = [0] * len(samples)
    start = 0
    for at in range(1, len(order) + 1):
        if at == len(order) or samples[order[at]] != samples[order[start]]:
            for place in order[start:at]:
                ranks[place] = start + at + 1
            start = at
    return ranks


@lru_cache(maxsize=256)
def _rank_sums(ranks: tuple[int, ...], chosen: int) -> tuple[int, int]:
    """How many ways of choosing give each rank sum: coefficients of so many bits each, in one integer."""
    bits = math.comb(len(ranks), chosen).bit_length() + 1
    ways = [1] + [0] * chosen
    for rank in ranks:
        for count in range(chosen, 0, -1):
            ways[count] += ways[count - 1] << (rank * bits)
    return ways[chosen], bits


@lru_cache(maxsize=4096)
def _exact_p(ranks: tuple[int, ...], chosen: int, observed: int) -> float:
    ways, bits = _rank_sums(ranks, chosen)
    mean = chosen * (len(ranks) + 1)
    distance = abs(observed - mean)
    mask, far = (1 << bits) - 1, 0
    for total in range((ways.bit_length() + bits - 1) // bits):
        if abs(total - mean) >= distance:
            far += (ways >> (total * bits)) & mask
    return far / math.comb(len(ranks), chosen)


def _normal_p(ranks: Sequence[int], n: int, m: int) -> float:
    """By the normal distribution, with ties and the step of the sum taken into account."""
    total = n + m
    ties: dict[int, int] = {}
    for rank in ranks:
        ties[rank] = ties.get(rank, 0) + 1
    tied = sum(count**3 - count for count in ties.values()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - tied)
    if variance <= 0:
        return 1.0
    distance = abs(sum(ranks[:n]) / 2 - n * (total + 1) / 2) - 0.5
    return math.erfc(max(distance, 0.0) / math.sqrt(2 * variance))


@lru_cache(maxsize=256)
def least_p(n: int, m: int) -> float:
    """The smallest p that so many samples can give: where all of one side are larger."""
    return min(1.0, 2 / math.comb(n + m, n)) if n and m else 1.0


@lru_cache(maxsize=256)
def samples_needed(n: int, m: int, alpha: float) -> tuple[int, int]:
    """How many more samples each side needs at least, so that a difference could be told from chance.

    The side that has fewer is given more, then both.
    """
    base, head = n, m
    while least_p(n, m) > alpha and n + m < MAX_NEEDED:
        n, m = (n + 1, m) if n < m else (n, m + 1) if m < n else (n + 1, m + 1)
    return n - base, m - head


def median(samples: Sequence[float]) -> float:
    """The middle one; the mean of both if there are two. 0 of none."""
    if not samples:
        return 0.0
    ordered, middle = sorted(samples), len(samples) // 2
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def noise_of(samples: Sequence[float]) -> float:
    """How far samples are from their median: a standard deviation that outliers do not move."""
    middle = median(samples)
    return TO_DEVIATION * median([abs(sample - middle) for sample in samples])
