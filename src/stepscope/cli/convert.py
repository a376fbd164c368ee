"""`stepscope convert`: from any format that is read to any that is written."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from stepscope.cli.opening import watched
from stepscope.cli.reading import problem_lines, read_trace, reading_options
from stepscope.cli.trouble import say
from stepscope.formats import files

__all__ = ["command"]

STDOUT = Path("-")
ENDINGS = ", ".join(f"{form.name} ({' '.join(form.suffixes)})" for form in files.FORMATS.values())


@click.command(
    "convert",
    help=f"""Convert a trace from the file IN, whose content says its format, to the file OUT, whose ending says which
    one it gets: {ENDINGS}, each with or without .gz.

    "-" is stdin or stdout; stdout needs --format. What the format has no room for is left out: collapsed stacks and
    speedscope have no instants, counters, flows and arguments. Problems of the trace are said on stderr.
    """,
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(list(files.FORMATS)), help="The format of OUT, whatever its ending."
)
@reading_options
def command(source: Path, target: Path, form: str | None, non_strict: bool, max_bytes: int | None) -> None:
    """Convert one file."""
    chosen = _format_of(target, form)
    trace = read_trace(source, non_strict=non_strict, max_bytes=max_bytes)
    for line in problem_lines(source, trace):
        say(line)
    if target != STDOUT:
        files.write_as(
            trace, target, replace(chosen, encode=lambda _: watched(chosen.encode(trace), target, len(trace)))
        )
        return
    pieces = chosen.encode(trace)
    for piece in pieces if sys.stdout.isatty() else watched(pieces, Path("stdout"), len(trace)):
        click.echo(piece, nl=False)


def _format_of(target: Path, form: str | None) -> files.Format:
    """What to write, before anything is read.

    Raises:
        UsageError: it goes to stdout, and nobody said what; or to a terminal, and it is not text.
        ExportError: the ending names no format.
    """
    if target != STDOUT:
        return files.format_named(form) if form else files.format_of(target)
    if form is None:
        raise click.UsageError("OUT is stdout: say with --format what to write.")
    if form == "perfetto" and sys.stdout.isatty():
        raise click.UsageError("OUT is a terminal, and Perfetto's format is no text: redirect it to a file.")
    return files.format_named(form)
