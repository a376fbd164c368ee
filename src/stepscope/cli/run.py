"""`stepscope run`: profile a program that nobody edited.

This process only reads the options: it becomes `python -m stepscope.run`, and that the program, so that the program
sees no trace of the command line, and its exit code, signals and standard streams are its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from stepscope import CallOptions, profile, schedule
from stepscope.cli.trouble import Trouble
from stepscope.run.plan import Plan

__all__ = ["command"]

Command = TypeVar("Command", bound=Callable[..., Any])

SCHEDULE = ("wait", "warmup", "active", "repeat", "skip_first")


def _number(name: str, text: str) -> "Callable[[Command], Command]":
    return click.option(f"--{name}", type=click.IntRange(min=0), metavar="STEPS", help=text)


@click.command("run", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for python -m.")
@click.option("--log", default="log", show_default=True, metavar="DIR", type=click.Path(file_okay=False))
@click.option("--format", "formats", multiple=True, type=click.Choice(["chrome", "perfetto"]), help="Both by default.")
@_number("wait", "By steps: so many of a cycle are not recorded.")
@_number("warmup", "By steps: so many after them are not recorded either.")
@_number("active", "By steps: so many are recorded; a program says stepscope.step() after each.")
@_number("repeat", "By steps: how many cycles; 0 for as many as there are.")
@_number("skip-first", "By steps: so many before the first cycle are not recorded.")
@click.option("--every", "every_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="By time.")
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="How long a session is."
)
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Keep the files of the newest N sessions only.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Trace only calls of these modules or files.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Trace no calls of these modules or files.")
@click.option("--max-depth", type=click.IntRange(min=1), metavar="N", help="Trace no calls deeper than that.")
@click.option(
    "--min-us", type=click.FloatRange(min=0), default=0.0, metavar="US", help="Forget calls shorter than that."
)
@click.option("--c-functions", is_flag=True, help="Trace calls of C functions, too.")
@click.option("--no-calls", is_flag=True, help="Trace no calls: only the spans that the program has.")
@click.option("--memory", is_flag=True, help="Sample memory.")
@click.option("--gc", "gc_pauses", is_flag=True, help="Record pauses of the garbage collector.")
@click.option("--cpu-time", is_flag=True, help="Measure the CPU time of spans.")
@click.option("--stacks", is_flag=True, help="Record the calls around each span.")
@click.option("--open", "opens", is_flag=True, help="Open the last session in the browser when the program has ended.")
@click.argument("program", metavar="PROGRAM")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARG]...")
def command(program: str, arguments: tuple[str, ...], **given: Any) -> None:
    """Run a Python program and record it: its calls on all threads, and its spans.

    PROGRAM is a file, or with -m a module, and gets all that stands behind it. One session holds the whole run, unless
    --active or --for asks for sessions by steps or by time. Files are written also when the program fails, exits or is
    interrupted.
    """
    plan = _plan(given)
    command = [sys.executable, "-m", "stepscope.run", plan.to_text(), program, *arguments]
    sys.stdout.flush()
    if sys.platform == "win32":  # exec would let the shell go on at once
        raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603 - as below
    os.execv(sys.executable, command)  # noqa: S606 - it is this very interpreter


def _plan(given: dict[str, Any]) -> Plan:
    """The options as a plan, tried out here, where a mistake is said best.

    Raises:
        Trouble: they contradict each other.
    """
    steps = {name: given[name] for name in SCHEDULE if given[name] is not None}
    every_s, for_s = given["every_s"] or 0.0, given["for_s"] or 0.0
    if steps and (every_s or for_s):
        raise Trouble("sessions go by steps (--active) or by time (--for), not by both. Leave one out.")
    if every_s and not for_s:
        raise Trouble("--every needs --for, which says how long each session is. Use --every 60 --for 5.")
    if every_s and for_s > every_s:
        raise Trouble(f"--for {for_s:g} is longer than --every {every_s:g}. A session must end before the next one.")
    if steps and "active" not in steps:
        raise Trouble("sessions by steps need --active, which says how many are recorded. Use --active 3.")
    calls = {
        "include": given["include"],
        "exclude": given["exclude"],
        "max_depth": given["max_depth"],
        "min_duration_us": given["min_us"],
        "c_functions": given["c_functions"],
    }
    options = {
        "profile_memory": given["memory"],
        "record_gc": given["gc_pauses"],
        "with_cpu_time": given["cpu_time"],
        "record_stacks": given["stacks"],
    }
    when = {"wait": 0, "warmup": 1, **steps} if steps else None
    try:
        CallOptions(**calls)
        profile(schedule=None if when is None else schedule(**when), **options)
    except (ValueError, TypeError) as error:
        raise Trouble(str(error)) from error
    return Plan(
        log=os.path.abspath(given["log"]),  # noqa: PTH100 - the program may change its folder
        formats=given["formats"] or ("chrome", "perfetto"),
        options=options,
        calls=None if given["no_calls"] else calls,
        schedule=when,
        every_s=every_s,
        for_s=for_s,
        keep=given["keep"] or 0,
        module=given["module"],
        open=given["opens"],
    )
