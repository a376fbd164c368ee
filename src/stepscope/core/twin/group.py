"""Grouping: events by key, in order of first appearance, and what each group adds up to."""

from array import array
from collections.abc import Sequence

from stepscope.core.groups import NO_KEY, Grouped, Keys, Sums
from stepscope.core.rows import Columns

__all__ = ["group_rows", "sum_groups"]


def group_rows(columns: Columns, above: "array[int]", keys: Keys, extra: "array[int] | None") -> Grouped:
    """Number the events by their keys and one number more, in order of first appearance.

    Args:
        columns: settled.
        above: as `fold_rows` gives it.
        keys: what the events go by.
        extra: array 'I', one number more a row; None if there is none.
    """
    group, first = array("I", [NO_KEY]) * len(above), array("q")
    known: dict[tuple[int, int, int, int], int] = {}
    rows = zip(columns.name, columns.cat, columns.track, above, extra or [0] * len(above), strict=True)
    for row, (name, cat, track, around, more) in enumerate(rows):
        if around >= -1:
            key = keys.name[name], keys.cat[cat], keys.track[track], more
            if key not in known:
                known[key] = len(first)
                first.append(row)
            group[row] = known[key]
    return Grouped(group, first)


def sum_groups(columns: Columns, group: "array[int]", own: "array[int]", groups: int) -> Sums:
    """Add up the rows of each group.

    Args:
        columns: settled.
        group: as `group_rows` gives it.
        own: as `fold_rows` gives it.
        groups: how many groups there are.

    Raises:
        OverflowError: a sum does not fit 64 bits.
    """
    durations: list[list[int]] = [[] for _ in range(groups)]
    self_ns = [0] * groups
    for number, dur, self_time in zip(group, columns.dur, own, strict=True):
        if number != NO_KEY:
            durations[number].append(dur)
            self_ns[number] += self_time
    for times in durations:
        times.sort()
    return Sums(
        array("q", map(len, durations)),
        _fitting([sum(times) for times in durations]),
        _fitting(self_ns),
        array("q", (dur for times in durations for dur in times)),
    )


def _fitting(sums: Sequence[int]) -> "array[int]":
    for number, total in enumerate(sums):
        if not -(1 << 63) <= total < 1 << 63:
            message = f"group {number}: its times add up to more than 64 bits hold"
            raise OverflowError(message)
    return array("q", sums)
