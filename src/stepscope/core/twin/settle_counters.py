"""Settling counters: the values of all series in the one order that every reader of a file finds again."""

import math
from array import array

from stepscope.core.rows import Counters, SettledCounters

__all__ = ["settle_counters"]


def settle_counters(counters: Counters, ranks: "array[int]") -> SettledCounters:
    """Sort values by time, those of one time by their track, those of one track as they were counted.

    A file may hold one series after the other: by what a track is, not by when its value came in, readers find the
    order again.

    Args:
        counters: in order on each track.
        ranks: track -> its place among all tracks, by what they are.
    """
    ts, value, track = counters
    order = [at for at, number in enumerate(value) if math.isfinite(number)]
    lost = array("I", (at for at, number in enumerate(value) if not math.isfinite(number)))
    order.sort(key=lambda at: (ts[at], ranks[track[at]]))
    settled = Counters(
        array("q", map(ts.__getitem__, order)),
        array("d", map(value.__getitem__, order)),
        array("I", map(track.__getitem__, order)),
    )
    return SettledCounters(settled, lost)
