"""Our output, asked of the trace processor: is what was timed really in the trace?

A figure without this is worth nothing: a recorder that drops every second span would win.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.timing import Checked

if TYPE_CHECKING:
    from stepscope import Trace

__all__ = ["file_holds", "file_is", "trace_holds"]

STATS = "SELECT DISTINCT name FROM stats WHERE value > 0"
SLICES = "SELECT COUNT(*), IFNULL(SUM(dur), 0), IFNULL(MIN(dur), 0) FROM slice"
ARGS = "SELECT COUNT(*) FROM slice JOIN args USING (arg_set_id) WHERE args.key IN ('debug.a', 'debug.b')"
COUNTERS = "SELECT COUNT(*) FROM counter"


def _ask(path: Path, *queries: str) -> tuple[list[tuple[Any, ...]], str]:
    """The first row of each query, and what the trace processor complains about."""
    from stepscope.check import HARMLESS_STATS, open_trace, rows

    with open_trace(path) as trace:
        answers = [tuple(rows(trace, query)[0]) for query in queries]
        stats = {str(name) for (name,) in rows(trace, STATS)}
    return answers, ", ".join(sorted(stats - HARMLESS_STATS))


def trace_holds(
    trace: "Trace", wall_ns: int, *, slices: int = 0, instants: int = 0, counters: int = 0, args: int = 0
) -> Checked:
    """Whether a trace of slices one after another has as many as were timed, and no more time than passed.

    Args:
        trace: what was recorded during the last sample; written and loaded here.
        wall_ns: how long that sample took.
        slices: how many there must be.
        instants: the same; the trace processor has both in one table.
        counters: values of counters.
        args: arguments called a or b, of all slices.
    """
    from stepscope import write

    with tempfile.TemporaryDirectory(prefix="stepscope-bench-") as folder:
        path = write(trace, Path(folder) / "run.pftrace")
        (found, (found_args,), (found_counters,)), complaints = _ask(path, SLICES, ARGS, COUNTERS)
    count, total, shortest = (int(value) for value in found)
    text = f"{count + found_counters:,} recorded, {total / 1e6:.1f} of {wall_ns / 1e6:.1f} ms"
    wrong = [
        f"{got:,} {what}, not {wanted:,}"
        for what, got, wanted in (
            ("slices", count, slices + instants),
            ("args", int(found_args), args),
            ("counter values", int(found_counters), counters),
        )
        if got != wanted
    ]
    if not bool(slices) <= total <= wall_ns or shortest < 0:
        wrong.append(f"slices of {total} ns in {wall_ns} ns, the shortest of {shortest}")
    if complaints:
        wrong.append(complaints)
    return Checked(not wrong, "; ".join(wrong) or text)


def file_is(path: Path, trace: "Trace") -> Checked:
    """Whether a file has the slices of a trace: as many, as long in all."""
    ((count, total, shortest),), complaints = _ask(path, SLICES)
    wanted = len(trace), sum(trace.columns.dur)
    size = path.stat().st_size
    if (int(count), int(total)) == wanted and int(shortest) >= 0 and not complaints:
        return Checked(ok=True, text=f"{count:,} slices of {size / count:.1f} B, {total / 1e6:.0f} ms")
    text = f"{count:,} slices of {total} ns, the trace has {wanted[0]:,} of {wanted[1]} ns; {complaints}"
    return Checked(ok=False, text=text)


def file_holds(path: Path, slices: int) -> Checked:
    """Whether a peer's file has the slices that were recorded; it may have a few of its own, and complaints."""
    ((count, _, _),), _ = _ask(path, SLICES)
    text = f"{count:,} slices of {path.stat().st_size / max(count, 1):.1f} B"
    return Checked(count >= slices, text if count >= slices else f"{text}; {slices:,} were recorded")
