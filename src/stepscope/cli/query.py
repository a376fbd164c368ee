"""`stepscope query`: ask a trace SQL, with Perfetto's trace processor."""

import sys
from pathlib import Path

import click

from stepscope.check import open_trace, table
from stepscope.cli.grid import FORMATS, print_grid
from stepscope.cli.opening import opened
from stepscope.cli.reading import limit_option, refuse_bomb
from stepscope.cli.trouble import Trouble, worded

__all__ = ["command"]


@click.command("query")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("sql", required=False)
@click.option(
    "-f",
    "--sql-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Read the SQL from a file instead.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="table",
    show_default=True,
    help="table: for reading, drawn on a terminal and plain in a pipe. csv: RFC 4180, with a line of names. "
    "json: an array with an object for each row.",
)
@limit_option
def command(file: Path, sql: str | None, sql_file: Path | None, form: str, max_bytes: int | None) -> None:
    r"""Ask a trace FILE a question in SQL, with Perfetto's trace processor.

    SQL may be several statements; the rows of the last one are printed. "-" reads it from stdin. NULL is empty in CSV.
    Tables and columns: https://perfetto.dev/docs/analysis/sql-tables

    \b
    stepscope query run.pftrace "select name, dur from slice order by dur desc limit 5"
    """
    asked = _sql(sql, sql_file)
    refuse_bomb(file, max_bytes)
    with opened(file) as stream:
        processor = open_trace(file, stream=stream)
    with processor:
        names, rows = table(processor, asked)
    print_grid(form, names, rows)


def _sql(sql: str | None, path: Path | None) -> str:
    """What is asked: exactly one of the two says it."""
    if (sql is None) == (path is None):
        raise click.UsageError("Give the SQL as an argument, or with -f from a file.")
    if sql not in {None, "-"}:
        return str(sql)
    try:
        asked = path.read_text(encoding="utf-8") if path else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise Trouble(f"{path or 'stdin'}: the SQL is not UTF-8: {worded(error)}") from error
    if not asked.strip():
        raise Trouble(f"{path or 'stdin'}: there is no SQL in it")
    return asked
