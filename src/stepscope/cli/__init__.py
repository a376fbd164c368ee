"""The command line: it reads arguments, prints, and turns errors into exit codes.

0: done. 1: something was found, such as a file that did not pass its check. 2: trouble; one message on stderr says
what, where and what to do. As for any tool of Unix 130 is Ctrl-C, and 141 a pipe that nobody reads any more.
"""

import contextlib
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import click

from stepscope import StepscopeError
from stepscope.cli.trouble import BROKEN_PIPE, INTERRUPTED, Trouble, worded

__all__ = ["COMMANDS", "main"]

# Commands by name; each module's `command` is one. They are imported when asked for: a command may
# need much that the others do not.
COMMANDS = {
    "check": "stepscope.cli.check",
    "convert": "stepscope.cli.convert",
    "diff": "stepscope.cli.diff",
    "open": "stepscope.cli.open",
    "query": "stepscope.cli.query",
    "report": "stepscope.cli.report",
    "run": "stepscope.cli.run",
    "stats": "stepscope.cli.stats",
    "demo": "stepscope.cli.demo",
}


class _Group(click.Group):
    """Finds commands in the table, and is the one place where errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        _open_streams()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError):  # replaced by something simpler, or closed
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer would be written, and fail, once more at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            ctx.exit(BROKEN_PIPE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (StepscopeError, OSError) as error:
            raise Trouble(worded(error)) from error


def _open_streams() -> None:
    """Make of a stream that was closed before the start, where Python has None, one that is empty.

    Raises:
        Trouble: nothing can be printed.
    """
    for name, mode in (("stdin", "r"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the exit
    if sys.stdout is None:
        raise Trouble("stdout: it is closed")


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    try:
        number = version("stepscope")
    except PackageNotFoundError:  # Run from a checkout that was never installed.
        number = "(not installed)"
    click.echo(f"stepscope {number}")
    ctx.exit()


@click.group(cls=_Group)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def main() -> None:
    """Profile programs that run in steps; write traces that open in ui.perfetto.dev."""
