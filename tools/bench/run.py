"""All rows, one after another, each in a process of its own; the command line."""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import about
from bench.report import Measured, as_json, facts_lines, row_lines, summary_lines
from bench.table import ROWS, Row
from bench.timing import Plan
from bench.verdict import figures
from bench.worker import Answer, answer_from

__all__ = ["main"]

TOOLS = Path(__file__).resolve().parent.parent
FULL = Plan(samples=21, at_least=5, budget_s=150)
QUICK = Plan(samples=3, at_least=3, budget_s=60, shrink=20)
# A row of --quick takes seconds and a full one minutes; what takes this long hangs.
HANGS_S = 1800


class WorkerError(Exception):
    """A worker died or said nothing that can be read."""


def ask(row: Row | None, contenders: Sequence[str], plan: Plan, environ: dict[str, str]) -> Answer:
    """Start a worker and wait for its answer.

    Args:
        row: None to ask only for the core in use.
        contenders: those of the row to measure, by name.
        plan: how much.
        environ: besides this process's own.

    Raises:
        WorkerError: it died, or takes longer than anything here does.
    """
    request: dict[str, Any] = {"row": row.name if row else None, "contenders": list(contenders), "plan": list(plan)}
    path = os.pathsep.join(filter(None, (str(TOOLS), os.environ.get("PYTHONPATH"))))
    # The trace processor that is here is used, and none is fetched: the benchmark installs nothing.
    around = {**os.environ, "PYTHONPATH": path, "STEPSCOPE_OFFLINE": "1", **environ}
    command = [sys.executable, "-m", "bench.worker"]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), env=around, capture_output=True, text=True, check=False, timeout=HANGS_S
        )
    except subprocess.TimeoutExpired as error:
        message = f"no answer within {HANGS_S} s"
        raise WorkerError(message) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:]
        raise WorkerError(f"exit code {done.returncode}: {''.join(said)}")
    try:
        return answer_from(done.stdout)
    except ValueError as error:
        raise WorkerError(str(error)) from error


def measure(row: Row, plan: Plan) -> Measured:
    """Measure a row."""
    environ, names = dict(row.environ), [contender.name for contender in row.contenders]
    if row.needs_clock and (reason := _no_clock(row, plan)):
        return Measured(row, skipped=reason)
    try:
        answer = _in_fresh_processes(row, plan) if row.fresh_process else ask(row, names, plan, environ)
    except WorkerError as error:
        return Measured(row, died=str(error))
    return Measured(row, answer.core, answer.results, figures(row, answer.results))


def _no_clock(row: Row, plan: Plan) -> str:
    """Why a row's clock cannot be had; "" if it can."""
    try:
        core = ask(None, (), plan, dict(row.environ)).core
    except WorkerError as error:  # an import that was told to use this clock, and cannot
        return str(error)
    clock = core.get("clock", "none to choose from")
    return "" if clock == row.needs_clock else f"asked for the clock {row.needs_clock}, the core has {clock}"


def _in_fresh_processes(row: Row, plan: Plan) -> Answer:
    """A process for each sample, contenders in turns; a size hardly varies, so that three samples do."""
    once = plan._replace(samples=1, at_least=1)
    names = [contender.name for contender in row.contenders]
    rounds = [[ask(row, [name], once, dict(row.environ)) for name in names] for _ in range(min(plan.samples, 3))]
    merged = [answer.results[0] for answer in rounds[-1]]
    for number, result in enumerate(merged):
        turns = [answers[number].results[0] for answers in rounds]
        result.samples = [sample for turn in turns for sample in turn.samples]
        result.error = next((turn.error for turn in turns if turn.error), "")
    return Answer(rounds[-1][0].core, merged)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tools/bench",
        description="Measure stepscope beside the peers that are installed. "
        "Exits with 1 if an output was not what was timed; a figure over its limit is told, and is no error.",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rows; * and ? match, as in 'export-*'")
    parser.add_argument("--quick", action="store_true", help="few and short samples, to see that everything runs")
    parser.add_argument("--samples", type=int, metavar="N", help=f"samples a contender, by default {FULL.samples}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, each sample too, to FILE")
    parser.add_argument("--dir", type=Path, metavar="DIR", help=f"where files go, by default {tempfile.gettempdir()}")
    parser.add_argument("--list", action="store_true", help="name the rows and measure nothing")
    arguments = parser.parse_args(argv)
    patterns = arguments.only or ["*"]
    unmatched = [one for one in patterns if not any(fnmatch.fnmatchcase(row.name, one) for row in ROWS)]
    if unmatched:
        parser.error(f"no row is called {', '.join(unmatched)}; --list names them")
    if arguments.samples is not None and arguments.samples < 1:
        parser.error("--samples must be at least 1")
    if arguments.dir is not None and not arguments.dir.is_dir():
        parser.error(f"{arguments.dir} is no folder")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    arguments = _arguments(argv)
    rows = [row for row in ROWS if any(fnmatch.fnmatchcase(row.name, one) for one in arguments.only or ["*"])]
    if arguments.list:
        print("\n".join(f"{row.name:<16}{row.title}" for row in rows))
        return 0
    if arguments.dir is not None:
        os.environ["TMPDIR"] = str(arguments.dir.resolve())
    plan = QUICK if arguments.quick else FULL
    if arguments.samples is not None:
        plan = plan._replace(samples=arguments.samples, at_least=min(plan.at_least, arguments.samples))
    try:
        facts = about(ask(None, (), plan, {}).core)
    except WorkerError as error:
        print(f"stepscope cannot be measured: {error}\nInstall it first: pip install -e .", file=sys.stderr)
        return 1
    print("\n".join(facts_lines(facts)))
    measured = []
    for row in rows:
        began = time.monotonic()
        measured.append(measure(row, plan))
        print("\n".join(row_lines(measured[-1])), flush=True)
        print(f"{row.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print("\n".join(summary_lines(measured, quick=arguments.quick)))
    if arguments.json is not None:
        text = json.dumps(as_json(facts, measured, quick=arguments.quick), indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(row.ok for row in measured) else 1
