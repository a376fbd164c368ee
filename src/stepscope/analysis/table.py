"""Tables of events and averages as text.

Source: torch 2.13's tables, to the character: their headings, order, widths and numbers. Where torch puts the values of
two columns under each other's headings, FLOPs beside stacks, they stand under their own.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stepscope.analysis.average import NO_STEP
from stepscope.analysis.kinds import DeviceType
from stepscope.analysis.units import TIME_UNITS, show_memory, show_share, show_time

__all__ = ["SORTABLE", "SORTABLE_AVERAGES", "Look", "one_line", "render", "render_markdown", "sort_key"]

NUMBER_WIDTH = 12
# What Markdown takes for its own anywhere in a line; "#" stands at the beginning of none here.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~]")
FLOPS = ("FLOPs", "KFLOPs", "MFLOPs", "GFLOPs", "TFLOPs", "PFLOPs")
# What sort_by may be; torch's older names of devices all mean the one there is.
SORTABLE = (
    "key", "count", "cpu_time", "cpu_time_total", "self_cpu_time_total", "device_time", "device_time_total",
    "self_device_time_total", "cpu_memory_usage", "self_cpu_memory_usage", "device_memory_usage",
    "self_device_memory_usage", "flops", "overload_name", "node_id",
)  # fmt: skip
# Of averages only.
SORTABLE_AVERAGES = (
    "cpu_time_min", "cpu_time_median", "cpu_time_p95", "cpu_time_max", "count_per_step", "cpu_time_per_step",
    "step_share", "thread_time_total", "self_thread_time_total",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a table looks: torch's arguments of table(), and ours.

    Attributes:
        stats, per_step: more columns, of averages only.
        by_rank, by_thread, by_step: whether the rows go by these.
    """

    row_limit: int = 100
    max_src_column_width: int | None = 75
    max_name_column_width: int | None = 55
    max_shapes_column_width: int | None = 80
    header: str | None = None
    top_level_events_only: bool = False
    time_unit: str | None = None
    stats: bool = False
    per_step: bool = False
    by_rank: bool = False
    by_thread: bool = False
    by_step: bool = False

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            message = f"time_unit must be one of {', '.join(map(repr, TIME_UNITS))}, or None, got {self.time_unit!r}."
            raise ValueError(message)


class _Facts:
    """What the columns need to know of all rows together."""

    def __init__(self, rows: Sequence[Any], look: Look) -> None:
        self.look = look
        self.device = str(next((row.use_device for row in rows if row.use_device), None)).upper()
        self.has_device_time = any(row.self_device_time_total > 0 for row in rows)
        self.has_device_memory = any(row.self_device_memory_usage > 0 for row in rows)
        self.has_memory = any(row.cpu_memory_usage or row.device_memory_usage for row in rows)
        self.has_thread_time = any(row.thread_time_total for row in rows)
        self.has_overloads = any(row.overload_name for row in rows)
        self.has_shapes = any(row.input_shapes for row in rows)
        self.has_stacks = any(row.stack for row in rows)
        self.self_cpu = _total(row.self_cpu_time_total for row in rows)
        work = (row for row in rows if row.device_type is not DeviceType.CPU and not row.is_user_annotation)
        self.self_device = _total(row.self_device_time_total for row in work)
        least = min((row.flops for row in rows if row.flops > 0), default=0)
        self.flops_scale = min(max(int(math.log10(least) / 3), 0), len(FLOPS) - 1) if least else -1

    def time(self, time_us: float) -> str:
        return show_time(time_us, self.look.time_unit)


def _total(times_us: Iterable[float]) -> float:
    """A sum of us, exact to the ns: rounding must not depend on the order of rows."""
    return sum(round(time_us * 1000) for time_us in times_us) / 1000


def _always(_: _Facts) -> bool:
    return True


def _name(facts: _Facts, text: str) -> str:
    line = one_line(text)
    most = facts.look.max_name_column_width
    return line if most is None or len(line) < most - 3 else line[: most - 3] + "..."


@dataclass(frozen=True)
class _Column:
    """One column.

    Attributes:
        title: its heading; {device} is the device's name, {flops} the unit of FLOPs.
        cell: the text of a row.
        when: whether the table has it.
        width: "number" as wide as torch's, "name" and "shapes" as what is in them up to a limit, "source" to the left.
    """

    title: str
    cell: Callable[[_Facts, Any], str]
    when: Callable[[_Facts], bool] = _always
    width: str = "number"


def _times(*columns: tuple[str, str], when: Callable[[_Facts], bool] = _always) -> tuple[_Column, ...]:
    """Columns of times, by title and attribute."""

    def of(attribute: str) -> Callable[[_Facts, Any], str]:
        return lambda facts, row: facts.time(getattr(row, attribute))

    return tuple(_Column(title, of(attribute), when) for title, attribute in columns)


def _bytes(*columns: tuple[str, str], when: Callable[[_Facts], bool]) -> tuple[_Column, ...]:
    """Columns of bytes, by title and attribute."""

    def of(attribute: str) -> Callable[[_Facts, Any], str]:
        return lambda _, row: show_memory(getattr(row, attribute))

    return tuple(_Column(title, of(attribute), when) for title, attribute in columns)


_COLUMNS: tuple[_Column, ...] = (
    _Column("Name", lambda facts, row: _name(facts, row.key), width="name"),
    _Column(
        "Overload Name", lambda facts, row: _name(facts, row.overload_name), lambda facts: facts.has_overloads, "name"
    ),
    _Column("Self CPU %", lambda facts, row: show_share(row.self_cpu_time_total, facts.self_cpu)),
    *_times(("Self CPU", "self_cpu_time_total")),
    _Column("CPU total %", lambda facts, row: show_share(row.cpu_time_total, facts.self_cpu)),
    *_times(("CPU total", "cpu_time_total"), ("CPU time avg", "cpu_time")),
    *_times(
        ("Median", "cpu_time_median"), ("p95", "cpu_time_p95"), ("Max", "cpu_time_max"),
        when=lambda facts: facts.look.stats,
    ),
    *_times(
        ("Self on CPU", "self_thread_time_total"), ("On CPU", "thread_time_total"),
        when=lambda facts: facts.has_thread_time,
    ),
    *_times(("Self {device}", "self_device_time_total"), when=lambda facts: facts.has_device_time),
    _Column(
        "Self {device} %",
        lambda facts, row: show_share(row.self_device_time_total, facts.self_device),
        lambda facts: facts.has_device_time,
    ),
    *_times(
        ("{device} total", "device_time_total"), ("{device} time avg", "device_time"),
        when=lambda facts: facts.has_device_time,
    ),
    *_bytes(
        ("CPU Mem", "cpu_memory_usage"), ("Self CPU Mem", "self_cpu_memory_usage"),
        when=lambda facts: facts.has_memory,
    ),
    *_bytes(
        ("{device} Mem", "device_memory_usage"), ("Self {device} Mem", "self_device_memory_usage"),
        when=lambda facts: facts.has_device_memory,
    ),
    _Column("# of Calls", lambda _, row: str(row.count)),
    _Column("Calls/step", lambda _, row: f"{row.count_per_step:.2f}", lambda facts: facts.look.per_step),
    *_times(("CPU/step", "cpu_time_per_step"), when=lambda facts: facts.look.per_step),
    _Column("Step %", lambda _, row: show_share(row.step_share, 1), lambda facts: facts.look.per_step),
    _Column("Rank", lambda _, row: str(row.rank), lambda facts: facts.look.by_rank),
    _Column("Step", lambda _, row: str(row.step) if row.step != NO_STEP else "--", lambda facts: facts.look.by_step),
    _Column("Thread", lambda facts, row: _name(facts, row.thread), lambda facts: facts.look.by_thread, "fitting"),
    _Column("Input Shapes", lambda _, row: one_line(str(row.input_shapes)), lambda facts: facts.has_shapes, "shapes"),
    _Column("Source Location", lambda _, row: "".join(row.stack[:1]), lambda facts: facts.has_stacks, "source"),
    _Column(
        "Total {flops}",
        lambda facts, row: f"{row.flops / 1000**facts.flops_scale:8.3f}" if row.flops > 0 else "--",
        lambda facts: facts.flops_scale >= 0,
    ),
)  # fmt: skip


def one_line(text: str) -> str:
    """Text that stays on its line."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def sort_key(sort_by: str, known: Sequence[str]) -> str:
    """The attribute that sort_by means: torch's older names of devices all mean the one there is.

    Raises:
        AttributeError: rows have no such attribute, or one that has no order.
    """
    attribute = sort_by
    for device in ("cuda", "xpu", "hpu", "mtia", "privateuse1", "npu"):
        attribute = attribute.replace(device, "device")
    if attribute not in known:
        message = f"cannot sort by {sort_by!r}. Use one of {', '.join(known)}."
        raise AttributeError(message)
    return attribute


def render(rows: Sequence[Any], look: Look, footer: Iterable[str] = ()) -> str:
    """Rows as text, under torch's headings.

    Args:
        rows: events or averages, in the order of their lines.
        look: how.
        footer: lines behind torch's own.
    """
    facts = _Facts(rows, look)
    columns = [column for column in _COLUMNS if column.when(facts)]
    titles, shown = _titles(columns, facts), _shown(rows, look)
    cells = [[column.cell(facts, row) for column in columns] for row in shown]
    widths = [_width(column, facts, rows) for column in columns]
    rule = "".join("-" * width + "  " for width in widths)
    lines = []
    if look.header is not None:
        lines += ["=" * (len(rule) - 2), look.header]
    if look.top_level_events_only:
        lines += ["=" * (len(rule) - 2), "This report only display top-level ops statistics"]
    lines += [rule, _line(titles, columns, widths), rule]
    for row, texts in zip(shown, cells, strict=True):
        lines.append(_line(texts, columns, widths))
        lines += _rest_of_stack(row, columns, widths)
    lines += [rule, *_totals(facts)]
    return "".join(f"{line}\n" for line in [*lines, *footer])


def render_markdown(rows: Sequence[Any], look: Look, footer: Iterable[str] = ()) -> str:
    """The same rows as a table of Markdown, without the limits of width; of a stack its innermost call is shown."""
    facts = _Facts(rows, look)
    columns = [column for column in _COLUMNS if column.when(facts)]
    lines = [_markdown_line(_titles(columns, facts))]
    lines.append("|" + "|".join(" :-- " if column.width == "name" else " --: " for column in columns) + "|")
    lines += (_markdown_line([column.cell(facts, row) for column in columns]) for row in _shown(rows, look))
    notes = [f"- {_escaped(line)}" for line in (*_totals(facts), *footer)]
    header = [] if look.header is None else [f"### {_escaped(look.header)}", ""]
    return "".join(f"{line}\n" for line in [*header, *lines, "", *notes])


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one cell."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def _titles(columns: Sequence[_Column], facts: _Facts) -> list[str]:
    flops = FLOPS[max(facts.flops_scale, 0)]
    return [column.title.format(device=facts.device, flops=flops) for column in columns]


def _shown(rows: Sequence[Any], look: Look) -> list[Any]:
    shown = [row for row in rows if not (look.top_level_events_only and row.cpu_parent is not None)]
    return shown if look.row_limit < 0 else shown[: look.row_limit]


def _totals(facts: _Facts) -> list[str]:
    totals = [f"Self CPU time total: {facts.time(facts.self_cpu)}"]
    if facts.has_device_time:
        totals.append(f"Self {facts.device} time total: {facts.time(facts.self_device)}")
    return totals


def _width(column: _Column, facts: _Facts, rows: Sequence[Any]) -> int:
    """As wide as torch's: for all rows, not only for those that are shown. Text is never narrower than its heading."""
    look = facts.look
    if column.width == "name":
        width = _at_most(max((len(one_line(row.key)) for row in rows), default=0) + 4, look.max_name_column_width)
    elif column.width == "shapes":
        width = _at_most(max(len(str(row.input_shapes)) for row in rows) + 4, look.max_shapes_column_width)
    elif column.width == "source":
        longest = max(len(one_line(frame)) for row in rows for frame in row.stack)
        width = _at_most(longest + 4, look.max_src_column_width)
    elif column.width == "fitting":
        width = max(len(column.cell(facts, row)) for row in rows) if rows else 0
    else:
        return NUMBER_WIDTH
    return max(width, len(column.title))


def _at_most(width: int, most: int | None) -> int:
    return width if most is None else min(width, most)


def _line(texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    line = ""
    for text, column, width in zip(texts, columns, widths, strict=True):
        if column.width == "source":
            line += f"{_end_of(one_line(text), width):<{width}}  "
        elif column.width == "shapes":
            line += f"{text[:width]:>{width}}  "
        else:
            line += f"{text:>{width}}  "
    return line


def _end_of(frame: str, width: int) -> str:
    """The end of a path says more than its beginning."""
    return frame if len(frame) <= width else "..." + frame[len(frame) - width + 3 :]


def _rest_of_stack(row: Any, columns: Sequence[_Column], widths: Sequence[int]) -> Iterator[str]:
    """The calls of a row below its first one, and an empty line."""
    if any(column.width == "source" for column in columns):
        for frame in [*row.stack[1:], ""]:
            yield _line([frame if column.width == "source" else "" for column in columns], columns, widths)
