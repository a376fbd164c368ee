"""`stepscope diff`: what a program does otherwise than before, and what it does more slowly.

What --format json prints is Diff.to_json, which documents it.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from stepscope import Diff, Trace, diff, overlay
from stepscope.analysis.diff import FREE_THREADS, Rules
from stepscope.cli.diff_rules import TABLE, rule_options, settings_of
from stepscope.cli.reading import STDIN, read_trace, reading_options
from stepscope.cli.trouble import DONE, FINDINGS, Trouble, printable, say
from stepscope.formats import files
from stepscope.formats.folders import Recorded, read_recorded
from stepscope.model.output import write_whole

__all__ = ["command"]

STDOUT = Path("-")
# Where nobody says how wide a line is.
WIDTH = 100
FORMS: dict[str, Callable[[Diff], str]] = {
    "text": lambda found: printable(found.text(width=WIDTH)),
    "markdown": lambda found: printable(found.markdown()),
    "json": lambda found: found.to_json() + "\n",
    "html": lambda found: found.html(),
}
ENDINGS = {".txt": "text", ".md": "markdown", ".json": "json", ".html": "html"}


def _list_rules(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Print the rules as they are by default, as a table for pyproject.toml."""
    if not asked:
        return
    rules = Rules()
    click.echo(f"[{TABLE}]")
    for name, value in vars(rules).items():
        click.echo(f"{name} = {json.dumps(list(value) if isinstance(value, tuple) else value)}")
    click.echo("\n# Names are compared as these rules leave them: in this order, after those of your own.")
    for rule in rules.name_rules:
        parts = ", ".join(f"{key} = {json.dumps(value)}" for key, value in vars(rule).items())
        click.echo(f"# {{{parts}}}")
    click.echo("\n# Nothing that the program does: set aside, unless compare names it.")
    for one in rules.aside:
        click.echo(f"# {one}")
    click.echo("\n# free_threads")
    for line in FREE_THREADS:
        click.echo(f"# {line}")
    ctx.exit()


@click.command("diff")
@click.argument("base", metavar="BASE", type=click.Path(path_type=Path))
@click.argument("head", metavar="HEAD", type=click.Path(path_type=Path))
@click.option(
    "--base-run",
    "base_runs",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="One more run of BASE; several times. The more runs, the less is taken for noise.",
)
@click.option(
    "--head-run",
    "head_runs",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="One more run of HEAD; several times.",
)
@click.option(
    "--newest",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of a folder take the newest N runs of each rank, not all.",
)
@rule_options
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Where [{TABLE}] is; by default in the nearest pyproject.toml.",
)
@click.option("--list-rules", is_flag=True, is_eager=True, expose_value=False, callback=_list_rules,
    help="Print the default rules as a table for pyproject.toml, those for names too, and exit.")  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(list(FORMS)), help="How to print it; text, or what -o's ending names."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Write it to a file, not to stdout: {', '.join(ENDINGS)}. Several times for several formats.",
)
@click.option(
    "--overlay",
    "overlay_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write both traces as one, aligned by step, with the findings marked: .pftrace or .json.",
)
@reading_options
@click.pass_context
def command(  # noqa: PLR0917 - what is no rule
    ctx: click.Context,
    /,
    base: Path,
    head: Path,
    base_runs: tuple[Path, ...],
    head_runs: tuple[Path, ...],
    newest: int | None,
    config: Path | None,
    form: str | None,
    outputs: tuple[Path, ...],
    overlay_path: Path | None,
    non_strict: bool,
    max_bytes: int | None,
    **options: Any,
) -> None:
    """Compare two traces: say what HEAD does otherwise than BASE, and what it does more slowly.

    Each is a trace file of any format, "-" for stdin, or a folder that a handler has written to. All cycles in a folder
    are read, each once. Several runs are repeated samples: what BASE does in any of them is known. An option takes the
    place of its key in the table of pyproject.toml.

    Exit code: 0 if they are the same, or differ in no way that --fail-on names; 1 if they differ; 2 for trouble.
    """
    settings = settings_of(options, config)
    writers = _writers(outputs, form)
    overlay_format = _overlay_format(overlay_path) if overlay_path else None
    sides = (base, *base_runs), (head, *head_runs)
    if sum(path == STDIN for side in sides for path in side) > 1:
        raise click.UsageError('"-" is stdin, which can be read once only.')
    read = partial(read_trace, non_strict=non_strict, max_bytes=max_bytes)
    recorded = [_side(paths, read, newest) for paths in sides]
    traces = [[one.trace for one in side] for side in recorded]
    found = diff(traces[0], traces[1], **vars(settings.rules))
    if overlay_path and overlay_format:
        files.write_as(overlay(traces[0], traces[1], found), overlay_path, overlay_format)
        if max(map(len, traces)) > 1:
            say(f"the overlay shows {recorded[0][0].path} and {recorded[1][0].path}")
    for path, named in writers:
        if path == STDOUT:
            click.echo(_printed(found, named), nl=False)
        else:
            write_whole(path, [FORMS[named](found).encode("utf-8", "backslashreplace")])
    ctx.exit(DONE if found.counts.keys().isdisjoint(settings.fail_on) else FINDINGS)


def _side(paths: tuple[Path, ...], read: Callable[[Path], Trace], newest: int | None) -> list[Recorded]:
    """What a side is: each file, and all cycles of each folder."""
    side: list[Recorded] = []
    for path in paths:
        found = [Recorded(path, read(path))] if path == STDIN else read_recorded(path, read, newest)
        runs = Counter(rank for rank, *_ in {one.run for one in found})
        if newest is None and max(runs.values()) > 1:
            say(f"{path}: {max(runs.values())} runs are read as repeated samples; --newest 1 takes the last")
        side += found
    return side


def _writers(outputs: tuple[Path, ...], form: str | None) -> list[tuple[Path, str]]:
    """Which format each file gets, before anything is read.

    Raises:
        Trouble: an ending names no format.
    """
    writers = []
    for path in outputs or (STDOUT,):
        named = form or ("text" if path == STDOUT else ENDINGS.get(path.suffix))
        if named is None:
            raise Trouble(f"{path}: the ending names no format. Use one of {', '.join(ENDINGS)}, or --format.")
        writers.append((path, named))
    return writers


def _overlay_format(path: Path) -> files.Format:
    """The format of the overlay, before anything is read.

    Raises:
        ExportError: the ending names none.
        Trouble: it names one that has no room for an overlay.
    """
    form = files.format_of(path)
    if form.read is None:
        raise Trouble(f"{path}: {form.name} has no room for an overlay. Use a name that ends in .pftrace or .json.")
    return form


def _printed(found: Diff, form: str) -> str:
    """What goes to stdout: on a terminal, text as wide as that is, and in colour unless NO_COLOR is set."""
    if form != "text" or not sys.stdout.isatty():
        return FORMS[form](found)
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    return found.text(color=not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb", width=width)
