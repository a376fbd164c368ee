"""Flow points by row: what both encoders of rows ask of Flows."""

from collections import Counter

from stepscope.core.rows import Flows

__all__ = ["FIRST", "LAST", "STEP", "flow_points"]

# Where a point stands in its flow.
FIRST, STEP, LAST = range(3)


def flow_points(flows: Flows | None) -> dict[int, list[tuple[int, int]]]:
    """Row -> (flow, where it stands in the flow) of each of its points, for the rows that have some."""
    points: dict[int, list[tuple[int, int]]] = {}
    if flows is None:
        return points
    left, begun = Counter(flows.flow), set()
    for flow, row in zip(flows.flow, flows.row, strict=True):
        left[flow] -= 1
        stands = FIRST if flow not in begun else STEP if left[flow] else LAST
        begun.add(flow)
        points.setdefault(row, []).append((flow, stands))
    return points
