"""Flows: from lists of rows in any order to points that are connected in order of time."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stepscope.core.rows import Flows

__all__ = ["SettledFlows", "settle_flows"]


class SettledFlows(NamedTuple):
    """Flows by final rows.

    Attributes:
        flows: name is still an id of the texts that were handed in.
        lost: (name's id, final row) of each point at the time of the one before it in its flow.
    """

    flows: Flows
    lost: list[tuple[int, int]]


def settle_flows(
    flows: Iterable[tuple[int, list[int]]],
    places: Mapping[int, int] | Sequence[int],
    ts: Sequence[int],
    texts: Sequence[str],
) -> SettledFlows:
    """Connect each flow's points in order of time, and number the flows by first appearance.

    Two points of one time have no direction, so the second is lost. A flow with one point, as it is left where a
    window cut the others off, is no flow. Of flows that begin at one row the first is the one whose next point is
    earlier, then by name: equal content has equal numbers.

    Args:
        flows: (name's id, given rows) each.
        places: given row -> final row.
        ts: of each final row.
        texts: id -> name.
    """
    made: list[tuple[list[int], str, int]] = []
    lost: list[tuple[int, int]] = []
    for name, given in flows:
        rows: list[int] = []
        for row in sorted(places[row] for row in given):
            if rows and ts[row] == ts[rows[-1]]:
                lost.append((name, row))
            else:
                rows.append(row)
        if len(rows) > 1:
            made.append((rows, texts[name], name))
    made.sort()
    points = sorted((row, number) for number, (rows, _, _) in enumerate(made) for row in rows)
    columns = (number for _, number in points), (row for row, _ in points), (name for _, _, name in made)
    return SettledFlows(Flows(*(array("I", column) for column in columns)), lost)
