"""Settling flows: from points in any order to points that are connected in order of time."""

from array import array

from stepscope.core.rows import Flows, SettledFlows

__all__ = ["settle_flows"]


def settle_flows(flows: Flows, places: "array[int] | None", ts: "array[int]", ranks: "array[int]") -> SettledFlows:
    """Connect each flow's points in order of time, and number the flows by first appearance.

    Two points of one time have no direction, so the second is lost. A flow with one point, as it is left where a
    window cut the others off, is no flow. Of flows that begin at one row the first is the one whose next point is
    earlier, then by name: equal content has equal numbers.

    Args:
        flows: points in any order, by given row.
        places: given row -> final row; None: no row has moved.
        ts: of each final row.
        ranks: name -> its place among all names, by their texts.
    """
    given: list[list[int]] = [[] for _ in flows.name]
    for flow, row in zip(flows.flow, flows.row, strict=True):
        given[flow].append(row if places is None else places[row])
    made: list[tuple[list[int], int, int]] = []
    lost = array("I")
    for name, passed in zip(flows.name, given, strict=True):
        rows: list[int] = []
        for row in sorted(passed):
            if rows and ts[row] == ts[rows[-1]]:
                lost.extend((name, row))
            else:
                rows.append(row)
        if len(rows) > 1:
            made.append((rows, ranks[name], name))
    made.sort()
    points = sorted((row, number) for number, (rows, _, _) in enumerate(made) for row in rows)
    columns = ((flow for _, flow in points), (row for row, _ in points), (name for _, _, name in made))
    return SettledFlows(Flows(*(array("I", column) for column in columns)), lost)
