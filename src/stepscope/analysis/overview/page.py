"""The page of an overview: one file of HTML and SVG, no script, no network."""

from collections.abc import Iterator, Mapping, Sequence

from stepscope.analysis.averages import average_trees
from stepscope.analysis.grouping import Grouping
from stepscope.analysis.overview.charts import COLOURS, counter_chart, legend, show_value, step_bars
from stepscope.analysis.overview.gather import Cycle, busy_threads, colour_order, counter_series
from stepscope.analysis.page import PAGE_END, page_begin, shown
from stepscope.analysis.units import show_share, show_time
from stepscope.model.trace import Trace

__all__ = ["render_overview"]

MAX_ROWS = 25
MAX_COUNTERS = 12
STYLE = """
:root { --c0: #4269d0; --c1: #e8912d; --c2: #2a9d8f; --c3: #c44e8f; --c4: #7f63c9; --c5: #97a531; --c6: #b5651d;
  --rest: #9aa4b0; --own: #dfe4e9; }
@media (prefers-color-scheme: dark) { :root { --c0: #6f93f5; --c1: #f0a957; --c2: #4fc3b4; --c3: #e583b6; --c4: #a48ef0;
  --c5: #bccb58; --c6: #d08c54; --rest: #6f7985; --own: #333a42; } }
.c0 { fill: var(--c0); background: var(--c0); } .c1 { fill: var(--c1); background: var(--c1); }
.c2 { fill: var(--c2); background: var(--c2); } .c3 { fill: var(--c3); background: var(--c3); }
.c4 { fill: var(--c4); background: var(--c4); } .c5 { fill: var(--c5); background: var(--c5); }
.c6 { fill: var(--c6); background: var(--c6); } .rest { fill: var(--rest); background: var(--rest); }
.own { fill: var(--own); background: var(--own); }
h3 { font-size: .95rem; margin: 1rem 0 .2rem; overflow-wrap: anywhere; }
.key { display: inline-block; margin-right: 1rem; max-width: 100%; overflow-wrap: anywhere; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
.figure { fill: var(--ink); } .grid { stroke: var(--rule); } .panel { fill: var(--card); }
.line { fill: none; stroke: var(--data); stroke-width: 1.5; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.bar { min-width: 8rem; } td.bar div { background: var(--data); height: .7em; border-radius: 2px; margin-top: .45em; }
td code { white-space: pre-wrap; } .worse { color: var(--worse); }
"""


def render_overview(traces: Mapping[str, Trace], title: str) -> Iterator[str]:
    """The page of a run.

    Args:
        traces: its cycles by what each is called, in order; at least one.
        title: what the run is called.
    """
    cycles = [Cycle(name, trace) for name, trace in traces.items()]
    yield page_begin(title, STYLE)
    yield f'<h1>{shown(title)}</h1>\n<p class="faint">{_about(cycles)}</p>\n'
    yield from _problems(cycles)
    yield from _steps(cycles)
    yield from _cycles(cycles)
    yield from _averages(cycles)
    yield from _counters(cycles)
    yield from _threads(cycles)
    yield PAGE_END


def _about(cycles: Sequence[Cycle]) -> str:
    origins = [cycle.trace.origin for cycle in cycles]
    told = [f"{origin.tool} {origin.version}".strip() for origin in origins]
    told += [origin.process for origin in origins] + [origin.host for origin in origins]
    ranks = len({origin.rank for origin in origins})
    told.append(f"{len(cycles)} cycle{'s' * (len(cycles) > 1)} of {ranks} rank{'s' * (ranks > 1)}")
    told.append(f"{sum(len(cycle.steps) for cycle in cycles)} steps")
    return shown(" · ".join(dict.fromkeys(filter(None, told))))


def _problems(cycles: Sequence[Cycle]) -> Iterator[str]:
    """What is not as it was: before anything that could be misread because of it."""
    told = [
        f"<p><b>{problem.count} {shown(problem.kind)}</b> in {shown(cycle.name)}: {shown(problem.example)}</p>"
        for cycle in cycles
        for problem in cycle.trace.problems
    ]
    if told:
        yield "<h2>Problems</h2>\n<aside>" + "\n".join(told) + "</aside>\n"


def _steps(cycles: Sequence[Cycle]) -> Iterator[str]:
    yield "<h2>Steps</h2>\n"
    if not any(cycle.steps for cycle in cycles):
        yield '<p class="faint">No step was recorded: give profile() a schedule, and call step() after each.</p>\n'
        return
    order = colour_order(cycles)
    names = order[:COLOURS]
    longest = max(step.dur_ns for cycle in cycles for step in cycle.steps)
    yield legend(names, len(order) - len(names))
    for cycle in cycles:
        if cycle.steps:
            yield f"<h3>{shown(cycle.name)}</h3>\n"
            yield from step_bars(cycle, names, longest)


def _cycles(cycles: Sequence[Cycle]) -> Iterator[str]:
    """Cycles and ranks side by side."""
    longest = max(cycle.median_step_ns for cycle in cycles)
    yield "<h2>Cycles and ranks</h2>\n"
    yield _table_begin(
        ("cycle", ""), ("median step", "number"), ("", ""), ("slowest step", "number"), ("spans", "number")
    )
    for cycle in cycles:
        slowest = max(cycle.steps, key=lambda step: step.dur_ns, default=None)
        middle = show_time(cycle.median_step_ns / 1000) if cycle.steps else ""
        worst = f"{show_time(slowest.dur_ns / 1000)} (step {slowest.number})" if slowest else ""
        yield (
            f"<tr><td>{shown(cycle.name)}</td>"
            f'<td class="number">{middle}</td>{_bar(cycle.median_step_ns / longest if longest else 0)}'
            f'<td class="number">{worst}</td>'
            f'<td class="number">{len(cycle.tree.rows):,}</td></tr>\n'
        )
    yield TABLE_END


def _averages(cycles: Sequence[Cycle]) -> Iterator[str]:
    averages = average_trees([cycle.tree for cycle in cycles], Grouping())
    rows = averages.sorted_by("self_cpu_time_total")
    total = averages.self_cpu_time_total
    yield "<h2>Where the time went</h2>\n"
    heads = ("calls", "self", "", "total", "mean", "median", "95th percentile")
    yield _table_begin(("name", ""), *((head, "number" if head else "") for head in heads))
    for row in rows[:MAX_ROWS]:
        times = (row.cpu_time_total, row.cpu_time, row.cpu_time_median, row.cpu_time_p95)
        share = row.self_cpu_time_total / total if total else 0
        yield (
            f'<tr><td><code>{shown(row.key)}</code></td><td class="number">{row.count:,}</td>'
            f'<td class="number">{show_time(row.self_cpu_time_total)}<br/><span class="faint">'
            f"{show_share(row.self_cpu_time_total, total)}</span></td>{_bar(share)}"
            + "".join(f'<td class="number">{show_time(time)}</td>' for time in times)
            + "</tr>\n"
        )
    yield TABLE_END
    if len(rows) > MAX_ROWS:
        yield f'<p class="faint">{len(rows) - MAX_ROWS} more names; stepscope stats has all of them.</p>\n'


def _counters(cycles: Sequence[Cycle]) -> Iterator[str]:
    found = counter_series(cycles)
    if not found:
        return
    yield "<h2>Counters</h2>\n"
    for (name, unit), series in list(found.items())[:MAX_COUNTERS]:
        values = [value for each in series for _, value in each.points]
        figures = (("least", min(values)), ("most", max(values)), ("last", values[-1]))
        told = ", ".join(f"{what} {show_value(value, unit)}" for what, value in figures)
        yield f'<h3>{shown(name)} <span class="faint">{shown(told)}</span></h3>\n'
        yield from counter_chart(name, unit, series)
    if len(found) > MAX_COUNTERS:
        yield f'<p class="faint">{len(found) - MAX_COUNTERS} more counters.</p>\n'


def _threads(cycles: Sequence[Cycle]) -> Iterator[str]:
    ranks = len({cycle.rank for cycle in cycles}) > 1
    yield "<h2>Threads</h2>\n"
    yield _table_begin(("thread", ""), ("busy", "number"), ("", ""))
    for busy in busy_threads(cycles):
        name = f"rank {busy.rank}: {busy.thread}" if ranks else busy.thread
        yield (f'<tr><td>{shown(name)}</td><td class="number">{100 * busy.share:.1f}%</td>{_bar(busy.share)}</tr>\n')
    yield TABLE_END


def _table_begin(*heads: tuple[str, str]) -> str:
    cells = "".join(f'<th class="{kind}">{title}</th>' if kind else f"<th>{title}</th>" for title, kind in heads)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>\n'


TABLE_END = "</tbody></table></div>\n"


def _bar(share: float) -> str:
    """A cell with a bar of a share from 0 to 1."""
    return f'<td class="bar"><div style="width: {100 * min(max(share, 0), 1):.1f}%"></div></td>'
