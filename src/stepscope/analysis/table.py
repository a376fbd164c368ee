"""Tables as text: columns with a unit each, wide enough for what is in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Column", "render", "show_time"]

MAX_NAME_WIDTH = 55


@dataclass(frozen=True)
class Column:
    """One column: its heading, the value of a row, and the unit that says how it is shown."""

    title: str
    value: Callable[[Any], Any]
    unit: str


def show_time(time_us: float) -> str:
    """A time with the unit that suits it; source: torch's tables."""
    if time_us >= 1_000_000:
        return f"{time_us / 1_000_000:.3f}s"
    if time_us >= 1000:
        return f"{time_us / 1000:.3f}ms"
    return f"{time_us:.3f}us"


def _show_name(name: str) -> str:
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
    return line if len(line) <= MAX_NAME_WIDTH else line[: MAX_NAME_WIDTH - 3] + "..."


UNITS: dict[str, Callable[[Any], str]] = {
    "text": _show_name,
    "time": show_time,
    "share": lambda share: f"{share * 100:.2f}%",
    "count": str,
}


def render(columns: Sequence[Column], rows: Sequence[Any], footer: Sequence[str]) -> str:
    """Rows under their headings, then the footer's lines."""
    cells = [[UNITS[column.unit](column.value(row)) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    rule = "  ".join("-" * width for width in widths)

    def line(texts: Sequence[str]) -> str:
        first = texts[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(texts[1:], widths[1:], strict=True)]
        return "  ".join([first, *rest])

    return "\n".join([rule, line(titles), rule, *map(line, cells), rule, *footer]) + "\n"
