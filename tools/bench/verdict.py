"""Figures held against the limits: what is subtracted, what is compared, and what is over.

Verdicts go by the minimum. A sample is a mean over its operations, so what comes with every one of them is in it,
first-touched pages too; what only some samples have is what else ran on the machine. The median says how much that was.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.table import Row
from bench.timing import EMPTY, Result

__all__ = ["OVER", "WITHIN", "Figure", "figures"]

WITHIN, OVER = "within", "over"


class Figure(NamedTuple):
    """A line of the table.

    Attributes:
        name: the contender, or a part of its time.
        minimum, median: in the row's unit, the empty loop subtracted.
        samples: how many.
        ratio: how many times what ours takes; the costliest of ours, if there are several. 0 for ours itself.
        limit: in words; "" for none.
        verdict: WITHIN, OVER, or "" where there is no limit.
        by_median: the same if the medians were judged.
        ok: what came out was what was timed, or was not looked at.
        note: what a look at the output said, or why there is no figure.
    """

    name: str
    minimum: float | None = None
    median: float | None = None
    samples: int = 0
    ratio: float = 0.0
    limit: str = ""
    verdict: str = ""
    by_median: str = ""
    ok: bool = True
    note: str = ""


def figures(row: Row, results: Sequence[Result]) -> list[Figure]:
    """The lines of a row: ours with the limit, peers with their ratio to ours."""
    empty = next((result for result in results if result.name == EMPTY.name and result.samples), None)
    floor = (min(empty.samples), statistics.median(empty.samples)) if empty else (0.0, 0.0)
    raced = [result for result in results if result.name != EMPTY.name]
    own = [_net(result.samples, floor) for result in raced if result.ours and result.samples]
    costliest = (max(one[0] for one in own), max(one[1] for one in own)) if own else (0.0, 0.0)
    lines: list[Figure] = []
    for result in raced:
        lines.extend(_lines(row, result, floor, costliest))
    return lines


def _net(samples: Sequence[float], floor: tuple[float, float]) -> tuple[float, float]:
    return min(samples) - floor[0], statistics.median(samples) - floor[1]


def _lines(row: Row, result: Result, floor: tuple[float, float], ours: tuple[float, float]) -> Iterator[Figure]:
    if not result.samples:
        # Ours being absent is a verdict on a row that was asked for, but not a wrong output; an error is.
        note = f"not there: {result.absent}" if result.absent else f"failed: {result.error}"
        yield Figure(result.name, note=note, ok=not (result.ours and result.error))
        return
    minimum, median = _net(result.samples, floor)
    limit = verdict = by_median = ""
    ratio = 0.0
    if result.ours and row.at_most is not None:
        limit = f"<= {row.at_most:g} {row.unit}"
        verdict, by_median = (WITHIN if value <= row.at_most else OVER for value in (minimum, median))
    elif not result.ours and min(ours) > 0:
        ratio = minimum / ours[0]
        if result.name in row.cheaper:
            factor = row.cheaper[result.name]
            limit = f">= {factor:g} x"
            verdict, by_median = (WITHIN if value >= factor else OVER for value in (ratio, median / ours[1]))
    ok, note = result.checked or (True, "")
    if result.error:  # in a later sample than those that are counted
        ok, note = False, f"failed: {result.error}"
    wrong = result.ours and not ok
    yield Figure(result.name, minimum, median, len(result.samples), ratio, limit, verdict, by_median, not wrong, note)
    for name, laps in result.laps.items():
        yield Figure(f"  {name}", min(laps), statistics.median(laps), len(laps))
