"""The table of figures, in plain text that fits 120 columns, and the same as JSON."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from bench.table import Row
from bench.timing import EMPTY, Result
from bench.verdict import OVER, Figure

__all__ = ["WIDTH", "Measured", "as_json", "facts_lines", "row_lines", "summary_lines"]

WIDTH = 120
HEAD = f"{'':34}{'min':>10}{'median':>10}{'x ours':>8}  {'limit':<10}{'':<8}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """A row that has been measured.

    Attributes:
        row: what was measured.
        core: the core of the process it ran in.
        results: one for each contender; empty if it was skipped or its process died.
        figures: the lines.
        skipped, died: why there are no results, in words.
    """

    row: Row
    core: Mapping[str, str] = dataclasses.field(default_factory=dict)
    results: Sequence[Result] = ()
    figures: Sequence[Figure] = ()
    skipped: str = ""
    died: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything of ours ran, and came out as it was timed."""
        return not self.died and all(figure.ok for figure in self.figures)


def facts_lines(facts: Mapping[str, str]) -> list[str]:
    """What it ran on."""
    lines: list[str] = []
    for name, fact in facts.items():
        indent = " " * 14
        lines += textwrap.wrap(f"{name:<14}{fact}", WIDTH, subsequent_indent=indent)
    return lines


def row_lines(measured: Measured) -> list[str]:
    """A row: its title, and a line for each contender."""
    row = measured.row
    core = " ".join(filter(None, (measured.core.get("name"), "core", measured.core.get("clock"))))
    title = f"{row.name}: {row.title}"
    lines = ["", f"{title[: WIDTH - len(core) - 2]:<{WIDTH - len(core)}}{core if measured.core else ''}".rstrip()]
    why = f"not measured: {measured.skipped}" if measured.skipped else measured.died and f"FAILED: {measured.died}"
    if why:
        return [*lines, *textwrap.wrap(why, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    empty = [result for result in measured.results if result.name == EMPTY.name and result.samples]
    counts = {figure.samples for figure in measured.figures if figure.samples}
    samples = "-".join(map(str, sorted({min(counts), max(counts)}))) if counts else "no"
    loop = f", loop of {min(empty[0].samples):.1f} out" if empty else ""
    lines.append(f"{HEAD} {row.unit}, {samples} samples{loop}")
    for figure in measured.figures:
        lines += _figure_lines(figure)
    return lines


def _figure_lines(figure: Figure) -> list[str]:
    if figure.minimum is None or figure.median is None:
        return textwrap.wrap(f"  {figure.name:<34}{figure.note}", WIDTH, subsequent_indent=" " * 36)
    ratio = f"{figure.ratio:.1f}" if figure.ratio >= 1 else f"{figure.ratio:.2f}" if figure.ratio else ""
    verdict = figure.verdict.upper() if figure.verdict == OVER else figure.verdict
    line = f"  {figure.name:<32}{_number(figure.minimum):>10}{_number(figure.median):>10}{ratio:>8}"
    line += f"  {figure.limit:<10}{verdict:<8}"
    note = figure.note if figure.ok else f"WRONG: {figure.note}"
    first, *others = textwrap.wrap(note, WIDTH - len(line) - 1) or [""]
    return [f"{line} {first}".rstrip(), *(" " * (len(line) + 1) + other for other in others)]


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 10_000 else f"{value:,.0f}"


def summary_lines(rows: Sequence[Measured], *, quick: bool) -> list[str]:
    """What is over and what is wrong."""
    verdicts = [(row.row.name, figure) for row in rows for figure in row.figures if figure.verdict]
    over = [(name, figure.name) for name, figure in verdicts if figure.verdict == OVER]
    wrong = [row.row.name for row in rows if not row.ok]
    by_median = sum(figure.by_median != OVER for _, figure in verdicts)
    kept = f"{len(verdicts) - len(over)} of {len(verdicts)} limits kept by the minimum, {by_median} by the median"
    lines = ["", f"{kept}{'; over:' if over else '.'}"]
    for row in dict.fromkeys(name for name, _ in over):
        names = ", ".join(contender for name, contender in over if name == row)
        lines += textwrap.wrap(f"  {row:<16}{names}", WIDTH, subsequent_indent=" " * 18)
    if quick:
        lines.append("--quick: the figures show that it runs, not what it costs.")
    if wrong:
        lines += textwrap.wrap(f"WRONG OUTPUT OR NONE: {', '.join(wrong)}.", WIDTH)
    return lines


def as_json(facts: Mapping[str, str], rows: Sequence[Measured], *, quick: bool) -> dict[str, Any]:
    """Everything, as values that JSON can hold."""
    return {
        "machine": dict(facts),
        "quick": quick,
        "ok": all(row.ok for row in rows),
        "rows": [
            {
                "name": row.row.name,
                "title": row.row.title,
                "unit": row.row.unit,
                "ok": row.ok,
                "core": dict(row.core),
                "skipped": row.skipped,
                "died": row.died,
                "figures": [figure._asdict() for figure in row.figures],
                "results": [dataclasses.asdict(result) for result in row.results],
            }
            for row in rows
        ],
    }
