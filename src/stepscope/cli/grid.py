"""Rows of SQL values, printed: for reading, as CSV, or as JSON."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepscope.cli.trouble import printable

__all__ = ["FORMATS", "print_grid"]

Row = Sequence[Any]  # of int, float, str, bytes or None

# rich measures every cell: past so many rows what it draws takes longer than anybody waits.
DRAWN_ROWS = 2000
BATCH_LINES = 1000


def print_grid(form: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows under their names in one of FORMATS."""
    if form == "table" and names and sys.stdout.isatty() and len(rows) <= DRAWN_ROWS:
        _draw(names, rows)
        return
    lines = FORMATS[form](names, rows)
    while batch := "".join(islice(lines, BATCH_LINES)):
        # As bytes: a terminal's encoding or line ends are not a file's.
        click.echo(batch.encode("utf-8", "backslashreplace"), nl=False)


def _draw(names: Sequence[str], rows: Sequence[Row]) -> None:
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        drawn.add_column(Text(_one_line(name)), overflow="fold")
        if _is_numeric(rows, at):
            drawn.columns[at].justify = "right"
    for row in rows:
        drawn.add_row(*(Text(_shown(cell), style="dim" if cell is None else "") for cell in row))
    console = Console(highlight=False)
    console.print(drawn)
    console.print(Text(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", style="dim"))


def _plain(names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Columns two spaces apart; a line is a row, nothing is cut."""
    if not names:  # a statement that has no result, such as CREATE TABLE
        return
    texts = [[_one_line(name) for name in names], *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    pads = [str.rjust if _is_numeric(rows, at) else str.ljust for at in range(len(names))]
    texts.insert(1, ["-" * width for width in widths])
    for line in texts:
        yield "  ".join(pad(text, width) for pad, text, width in zip(pads, line, widths, strict=True)).rstrip() + "\n"


def _is_numeric(rows: Sequence[Row], at: int) -> bool:
    return any(isinstance(row[at], (int, float)) for row in rows)


def _shown(cell: Any) -> str:
    return "NULL" if cell is None else _one_line(_as_text(cell))


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")


def _as_text(cell: Any) -> str:
    return cell.hex() if isinstance(cell, bytes) else str(cell)


def _csv(names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """RFC 4180, which is what Python's csv writes by default: CRLF, and quotes where they are needed."""
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    for row in [names, *rows] if names else ():
        writer.writerow(["" if cell is None else _as_text(cell) for cell in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _json(names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    keys = _unique(names)
    yield "["
    for number, row in enumerate(rows):
        values = dict(zip(keys, map(_as_json, row), strict=True))
        yield f"{',' if number else ''}\n{json.dumps(values, ensure_ascii=False)}"
    yield "\n]\n"


def _as_json(cell: Any) -> Any:
    if isinstance(cell, bytes) or (isinstance(cell, float) and not math.isfinite(cell)):
        return _as_text(cell)
    return cell


def _unique(names: Sequence[str]) -> list[str]:
    """The names, each once: an object of JSON has no two values of one name."""
    keys: dict[str, None] = {}
    for name in names:
        key, number = name, 2
        while key in keys:
            key, number = f"{name}_{number}", number + 1
        keys[key] = None
    return list(keys)


FORMATS: dict[str, Callable[[Sequence[str], Sequence[Row]], Iterator[str]]] = {
    "table": _plain,
    "csv": _csv,
    "json": _json,
}
