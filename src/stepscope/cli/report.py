"""`stepscope report`: one page with pictures of what a run did."""

from collections import Counter
from pathlib import Path

import click

from stepscope import Trace
from stepscope.analysis.overview import render_overview
from stepscope.cli.reading import read_trace, reading_options
from stepscope.formats.folders import Recorded, read_recorded
from stepscope.model.output import write_whole

__all__ = ["command"]


@click.command("report")
@click.argument("paths", nargs=-1, required=True, metavar="LOGDIR|FILE...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    default="report.html",
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write the page.",
)
@reading_options
def command(paths: tuple[Path, ...], output: Path, non_strict: bool, max_bytes: int | None) -> None:
    """Write a page with pictures: steps and what they are made of, where the time went, counters, threads, ranks.

    Of a log folder the newest run is taken, all of its cycles and ranks. The page is one file that needs no network; it
    follows the reader's light or dark colours, and can be printed.
    """

    def read(path: Path) -> Trace:
        return read_trace(path, non_strict=non_strict, max_bytes=max_bytes)

    recorded: dict[object, Recorded] = {}
    for path in paths:
        for each in read_recorded(path, read, newest=1):
            recorded.setdefault(each.cycle, each)
    title = ", ".join(dict.fromkeys(str(path) for path in paths))
    pieces = (piece.encode() for piece in render_overview(_named(list(recorded.values())), title))
    click.echo(write_whole(output, pieces))


def _named(recorded: list[Recorded]) -> dict[str, Trace]:
    """The cycles by what tells them apart: rank and cycle, or if these do not, the file."""
    names = [_name(each) for each in recorded]
    times = Counter(names)
    return {
        name if times[name] == 1 else f"{name} ({each.path})": each.trace
        for name, each in zip(names, recorded, strict=True)
    }


def _name(recorded: Recorded) -> str:
    session = recorded.trace.origin.session
    if not session:
        return recorded.path.name
    steps = f"steps {session.get('first_step')} to {session.get('last_step')}"
    return f"rank {recorded.rank}, cycle {session.get('cycle')}, {steps}"
