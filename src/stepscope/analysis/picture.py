"""Where things are on a picture: times and values in px, round numbers for axes, no more points than can be seen."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Box", "Frame", "Point", "held", "thinned", "ticks"]

Point = tuple[int, float]


class Box(NamedTuple):
    """The part of a picture that is drawn in; px from its left and its top."""

    left: float
    right: float
    top: float
    bottom: float


class Frame(NamedTuple):
    """What a box shows: times in ns from its left to its right, values from its bottom to its top."""

    begin_ns: int
    end_ns: int
    low: float
    high: float
    box: Box

    def x(self, time_ns: float) -> float:
        """Where a time is."""
        inside = (time_ns - self.begin_ns) / max(self.end_ns - self.begin_ns, 1)
        return round(self.box.left + inside * (self.box.right - self.box.left), 2)

    def y(self, value: float) -> float:
        """Where a value is."""
        inside = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.box.bottom - inside * (self.box.bottom - self.box.top), 2)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most about so many."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def thinned(points: Sequence[Point], frame: Frame) -> list[Point]:
    """No more points than can be seen: of each half pixel the smallest, the largest and the last."""
    if len(points) <= 2 * (frame.box.right - frame.box.left):
        return list(points)
    kept: list[Point] = []
    column: list[Point] = []
    for point in points:
        if column and int(2 * frame.x(column[0][0])) != int(2 * frame.x(point[0])):
            kept += _seen(column)
            column = []
        column.append(point)
    return kept + _seen(column)


def _seen(column: Sequence[Point]) -> list[Point]:
    places = {0, len(column) - 1}
    values = [value for _, value in column]
    places |= {values.index(min(values)), values.index(max(values))}
    return [column[place] for place in sorted(places)]


def held(points: Iterable[Point], frame: Frame) -> str:
    """A path along values that each hold until the next one, behind a place that it begins at."""
    return "".join(f"H{frame.x(time_ns)}V{frame.y(value)}" for time_ns, value in points) + f"H{frame.x(frame.end_ns)}"
