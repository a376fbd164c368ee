"""What goes wrong, as the command line says it: one message on stderr, no traceback."""

import os

import click

__all__ = ["DONE", "FINDINGS", "TROUBLE", "Trouble", "printable", "say", "worded"]

# Exit codes. A pipe that nobody reads any more ends a program of Unix with SIGPIPE, and Ctrl-C with SIGINT.
DONE, FINDINGS, TROUBLE = 0, 1, 2
INTERRUPTED, BROKEN_PIPE = 128 + 2, 128 + 13


class Trouble(click.ClickException):
    """Something that keeps a command from doing its work."""

    exit_code = TROUBLE

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print it."""
        say(self.message)


def say(message: str) -> None:
    """Print a message on stderr, under the program's name."""
    click.echo(f"stepscope: {printable(message)}", err=True)


def worded(error: Exception) -> str:
    """What an error says; the system's own get the path in front, as tools of Unix have it."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{where}{error.strerror}"
    return str(error)


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours; lines stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
