"""`stepscope open`: a trace in Perfetto's UI, in the browser."""

from pathlib import Path

import click

from stepscope import FormatError, Trace, ViewError
from stepscope.analysis.merge import merge
from stepscope.cli.reading import problem_lines, read_trace, reading_options
from stepscope.cli.trouble import Trouble, say
from stepscope.formats.files import format_in, format_named
from stepscope.formats.folders import Recorded, newest_session
from stepscope.viewer.view import TIMEOUT_S, viewing

__all__ = ["command"]

# Where the examples and the demo write.
DEFAULT = Path("log")
# The library's advice, as an option.
OPTION = ("offline=True", "--offline")


@click.command("open")
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Serve Perfetto's UI from here too: no byte leaves the machine.")
@click.option("--print-url", is_flag=True, help="Print the link on stdout and open no browser; for scripts.")
@click.option(
    "--timeout",
    "timeout_s",
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="How long to wait for a browser to fetch the trace.",
)
@reading_options
def command(  # noqa: PLR0917 - an option each
    paths: tuple[Path, ...],
    offline: bool,
    print_url: bool,
    timeout_s: float,
    non_strict: bool,
    max_bytes: int | None,
) -> None:
    """Open a trace in the browser, in Perfetto's UI at ui.perfetto.dev, which reads it there and uploads nothing.

    Of a folder, by default log/, the newest trace is opened. Several files, such as the ranks or the cycles of a run,
    are opened as one trace. The command ends when the browser has fetched it.
    """
    chosen = list(dict.fromkeys(newest_session(path) if path.is_dir() else path for path in paths or (DEFAULT,)))
    if len(chosen) == 1:
        name: str = chosen[0].name
        trace: Path | bytes = _checked(chosen[0])
    else:
        name, trace = "merged.pftrace", _merged(chosen, non_strict=non_strict, max_bytes=max_bytes)
    try:
        with viewing(trace, name, offline=offline) as view:
            if print_url:
                click.echo(view.link)
            else:
                say(f"serving {name} until a browser has fetched it, for at most {timeout_s:g} s; Ctrl-C ends it")
                view.open_browser(say)
            view.wait(timeout_s)
    except ViewError as error:
        raise Trouble(str(error).replace(*OPTION)) from error


def _checked(path: Path) -> Path:
    """The file, if it is a trace: the page would say less clearly what is wrong.

    Raises:
        Trouble: it is none.
        OSError: it cannot be read.
    """
    if not path.stat().st_size:
        message = f"{path}: the file is empty. Give one that a profile has written."
        raise Trouble(message)
    try:
        format_in(path)
    except FormatError as error:
        raise Trouble(str(error)) from error
    return path


def _merged(paths: list[Path], *, non_strict: bool, max_bytes: int | None) -> bytes:
    """The file of several traces as one; each cycle once, in whatever formats it is given."""
    found: dict[object, Recorded] = {}
    for path in paths:
        recorded = Recorded(path, read_trace(path, non_strict=non_strict, max_bytes=max_bytes))
        found.setdefault(recorded.cycle, recorded)
    traces: dict[str, Trace] = {str(each.path): each.trace for each in found.values()}
    whole = merge(traces)
    for line in problem_lines(Path("merged"), whole):
        say(line)
    return b"".join(format_named("perfetto").encode(whole))
