"""Counters: the values of all series in the one order that every reader of a file finds again."""

import math
from collections.abc import Sequence

from stepscope.core.rows import Counters
from stepscope.model.trace import Track

__all__ = ["settle_counters"]


def settle_counters(counters: Counters, tracks: Sequence[Track]) -> tuple[Counters, list[int]]:
    """Sort values by time, those of one time by their track, those of one track as they were counted.

    A file may hold one series after the other: by what a track is, not by when its value came in, readers find the
    order again.

    Args:
        counters: in order on each track.
        tracks: id -> track.

    Returns:
        The values that a file can show, and where the others were: JSON has no word for NaN and infinity, and the
        trace processor refuses them.
    """
    ts, value, track = counters
    order: list[int] = [at for at, number in enumerate(value) if math.isfinite(number)]
    lost = [at for at, number in enumerate(value) if not math.isfinite(number)] if len(order) < len(value) else []
    used = sorted(set(track), key=tracks.__getitem__)
    if len(used) > 1:
        rank = {number: place for place, number in enumerate(used)}
        order.sort(key=lambda at: rank[track[at]])
    order.sort(key=ts.__getitem__)
    settled = Counters.empty()
    settled.ts.extend(map(ts.__getitem__, order))
    settled.value.extend(map(value.__getitem__, order))
    settled.track.extend(map(track.__getitem__, order))
    return settled, lost
