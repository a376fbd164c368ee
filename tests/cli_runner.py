"""The command line, run in this process or as a program of its own."""

import os
import subprocess
import sys

from click.testing import CliRunner, Result

from stepscope.cli import main

__all__ = ["program", "stepscope", "troubles"]


def stepscope(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)), input=stdin, prog_name="stepscope")


def program(*arguments: object, **more: object) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user does."""
    environment = {**os.environ, "STEPSCOPE_OFFLINE": "1", "COLUMNS": "120"}
    options: dict[str, object] = {"capture_output": True, "text": True, "check": False, "env": environment, **more}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # noqa: PLW1510 - check is among the options
        [sys.executable, "-W", "error", "-m", "stepscope", *map(str, arguments)], **options
    )


def troubles(result: Result) -> list[str]:
    """The messages of a command that ended with trouble and printed nothing else."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert all(line.startswith("stepscope: ") for line in lines)
    return [line.removeprefix("stepscope: ") for line in lines]
