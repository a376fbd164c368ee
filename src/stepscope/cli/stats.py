"""`stepscope stats`: where the time went in a trace file, as `key_averages` says it.

--format json prints one object:

    files   each file: file, tool, rank, events, steps (their numbers), problems (kind, count, example)
    by      what the rows go by: "name", then what --by asked for
    self_cpu_time_total     the sum of it over all rows, limited or not
    rows    each row under torch's names, times in us: key, count, cpu_time_total, self_cpu_time_total, cpu_time (mean),
            cpu_time_min, cpu_time_median, cpu_time_p95, cpu_time_max, device_time_total, self_device_time_total, and in
            bytes cpu_memory_usage, self_cpu_memory_usage, device_memory_usage, self_device_memory_usage; flops;
            thread_time_total, self_thread_time_total (what threads have computed, where it was measured); device
            (whether it is a device's work); thread, rank, step, input_shapes, stack where the rows go by these; with
            --steps also steps, an object of step number -> count, cpu_time_total
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from stepscope import StepscopeWarning, Trace
from stepscope.analysis.average import Average
from stepscope.analysis.averages import Averages, average_trees
from stepscope.analysis.grouping import Grouping
from stepscope.analysis.kinds import DeviceType
from stepscope.analysis.tree import Tree
from stepscope.cli.reading import STDIN, read_trace, reading_options
from stepscope.cli.trouble import Trouble, printable, say
from stepscope.formats.folders import newest_trace

__all__ = ["command"]

# What rows can go by besides their name -> how to group them, and the attribute of a row.
BY: dict[str, tuple[dict[str, Any], str]] = {
    "thread": ({"thread": True}, "thread"),
    "rank": ({"rank": True}, "rank"),
    "step": ({"step": True}, "step"),
    "shape": ({"input_shape": True}, "input_shapes"),
    "stack": ({"stack_n": 5}, "stack"),
}
# Short names of what is sorted by; any attribute of a row in the JSON that is a number will do, too.
SORTS = {
    "self": "self_cpu_time_total",
    "total": "cpu_time_total",
    "calls": "count",
    "mean": "cpu_time",
    "median": "cpu_time_median",
    "p95": "cpu_time_p95",
    "max": "cpu_time_max",
    "device": "self_device_time_total",
    "cpu": "self_thread_time_total",
    "memory": "self_cpu_memory_usage",
}
FIRST = "first"
FIGURES = (
    "count", "cpu_time_total", "self_cpu_time_total", "cpu_time", "cpu_time_min", "cpu_time_median", "cpu_time_p95",
    "cpu_time_max", "device_time_total", "self_device_time_total", "cpu_memory_usage", "self_cpu_memory_usage",
    "device_memory_usage", "self_device_memory_usage", "flops", "thread_time_total", "self_thread_time_total",
)  # fmt: skip


@click.command("stats")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--by", type=click.Choice(["name", *BY]), multiple=True, help="Tell rows apart by this too; several times."
)
@click.option(
    "--sort",
    "sort_by",
    default="self",
    show_default=True,
    metavar="KEY",
    help=f"Largest first by {', '.join(SORTS)}, or a key of the JSON rows; {FIRST}: in order of appearance.",
)
@click.option("--steps", is_flag=True, help="Add calls and time in a step, and the share of the steps' time.")
@click.option("--spread", is_flag=True, help="Add the median, the 95th percentile and the maximum.")
@click.option(
    "--limit", default=100, show_default=True, metavar="N", type=click.IntRange(min=0), help="How many rows; 0 for all."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@reading_options
def command(  # noqa: PLR0917 - an option each
    paths: tuple[Path, ...],
    by: tuple[str, ...],
    sort_by: str,
    steps: bool,
    spread: bool,
    limit: int,
    form: str,
    non_strict: bool,
    max_bytes: int | None,
) -> None:
    """Print where the time went in trace FILEs: slices by name, how often, how long, how much of that in themselves.

    Several files are added up. Of a folder the newest trace is read, and "-" is stdin. What was dropped, cut, moved or
    could not be read stands below the table.
    """
    wanted = [name for name in dict.fromkeys(by) if name != "name"]
    files = [newest_trace(path) if path != STDIN and path.is_dir() else path for path in paths]
    trees = [Tree(read_trace(path, non_strict=non_strict, max_bytes=max_bytes)) for path in files]
    averages = _averages(trees, wanted)
    key = None if sort_by == FIRST else SORTS.get(sort_by, sort_by)
    try:
        rows = averages.sorted_by(key)
    except AttributeError as error:
        raise Trouble(f"--sort: {error}") from error
    if form == "json":
        what = {
            "files": [_about(path, tree) for path, tree in zip(files, trees, strict=True)],
            "by": ["name", *wanted],
            "self_cpu_time_total": averages.self_cpu_time_total,
            "rows": [_figures(row, wanted, steps) for row in rows[: limit or None]],
        }
        click.echo(json.dumps(what, indent=1, ensure_ascii=False))
        return
    looks: dict[str, Any] = {"stats": spread, "per_step": steps}
    if form == "markdown":
        click.echo(averages.markdown(key, limit or -1, **looks), nl=False)
    else:
        header = " + ".join(map(str, files))
        click.echo(printable(averages.table(key, limit or -1, header=header, **looks)), nl=False)


def _averages(trees: Sequence[Tree], wanted: Sequence[str]) -> Averages:
    options: dict[str, Any] = {}
    for name in wanted:
        options |= BY[name][0]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", StepscopeWarning)
        averages = average_trees(trees, Grouping(**options))
    for warning in said:
        say(f"warning: {warning.message}")
    return averages


def _about(path: Path, tree: Tree) -> dict[str, Any]:
    trace: Trace = tree.trace
    return {
        "file": str(path),
        "tool": trace.origin.tool,
        "rank": trace.origin.rank,
        "events": len(trace),
        "steps": [step.number for step in tree.steps],
        "problems": [problem._asdict() for problem in trace.problems],
    }


def _figures(row: Average, wanted: Sequence[str], steps: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {"key": row.key}
    for name in wanted:
        attribute = BY[name][1]
        figures[attribute] = getattr(row, attribute)
    figures["device"] = row.device_type is not DeviceType.CPU
    figures |= {name: getattr(row, name) for name in FIGURES}
    if steps:
        figures["steps"] = {number: vars(part) for number, part in row.steps.items()}
    return figures
