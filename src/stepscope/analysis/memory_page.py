"""A page with a picture of memory over time: one file of HTML and SVG, no script, no network."""

from collections.abc import Iterator, Sequence
from html import escape

from stepscope.analysis.memory import MemorySeries
from stepscope.analysis.page import PAGE_END, page_begin, shown
from stepscope.analysis.picture import Box, Frame, held, thinned, ticks
from stepscope.analysis.tree import Step, Tree
from stepscope.model.trace import Trace

__all__ = ["memory_page"]

WIDTH, HEIGHT = 1000, 280
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 46, 40
STEP_LABEL_WIDTH = 34  # px; narrower steps have no number
UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))
BOX = Box(LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM)
STYLE = """
.peak { fill: var(--ink); } .grid { stroke: var(--rule); } .step { fill: var(--card); } .dot { fill: var(--data); }
.area { fill: var(--data); fill-opacity: .18; } .size { fill: none; stroke: var(--data); stroke-width: 1.5; }
"""


def memory_page(trace: Trace, series: Sequence[MemorySeries]) -> Iterator[bytes]:
    """The page of some series, each with a picture of its own over the same time."""
    origin, steps = trace.origin, Tree(trace).steps
    named = [f"{origin.tool} {origin.version}".strip(), origin.host, f"process {origin.pid}", f"rank {origin.rank}"]
    if origin.session:
        named.append(f"steps {origin.session.get('first_step')} to {origin.session.get('last_step')}")
    about = shown(" · ".join(filter(None, named)))
    yield f'{page_begin("Memory over time", STYLE)}<h1>Memory over time</h1>\n<p class="faint">{about}</p>\n'.encode()
    times = [time for each in series for time in (each.times_ns[:1] + each.times_ns[-1:])]
    times += [trace.columns.ts[step.row] + width for step in steps for width in (0, trace.columns.dur[step.row])]
    begin, end = (min(times), max(times)) if times else (0, 0)
    for each in series:
        yield "".join(_chapter(trace, each, steps, (begin, end))).encode()
    yield PAGE_END.encode()


def _chapter(trace: Trace, series: MemorySeries, steps: Sequence[Step], window: tuple[int, int]) -> Iterator[str]:
    yield f"<h2>{shown(series.name)}</h2>\n"
    if not series.times_ns:
        yield '<p class="faint">No value was recorded.</p>\n'
        return
    points = list(zip(series.times_ns, series.sizes_bytes, strict=True))
    sizes = [*series.sizes_bytes, *([] if series.before_bytes is None else [series.before_bytes])]
    frame = Frame(*window, min(0, *sizes), max(0, *sizes) or 1, BOX)
    peak_ns, peak = max(points, key=lambda point: point[1])
    drawn = thinned(points, frame)
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{shown(series.name)} over time">\n'
    yield from _steps(trace, steps, frame)
    yield from _axes(frame)
    yield from _curve(series, drawn, frame)
    place = "end" if frame.x(peak_ns) > WIDTH / 2 else "start"
    yield f'<circle class="dot" cx="{frame.x(peak_ns)}" cy="{frame.y(peak)}" r="3"/>\n'
    yield (
        f'<text class="peak" x="{frame.x(peak_ns)}" y="{frame.y(peak) - 7}" text-anchor="{place}">'
        f"peak {show_size(peak)}</text>\n</svg>\n"
    )
    said = escape(_said(series, points, drawn, peak_ns - window[0]))
    yield f'<p class="faint">{said}</p>\n'


def _said(
    series: MemorySeries, points: Sequence[tuple[int, float]], drawn: Sequence[tuple[int, float]], peak_ns: int
) -> str:
    """What the picture is made of."""
    if series.changes is None:
        what = f"{len(points)} values of a counter."
    else:
        releases = sum(amount < 0 for _, amount in series.changes)
        what = f"{len(points) - releases} allocations, {releases} releases."
    text = (
        f"{what} First {show_size(points[0][1])}, last {show_size(points[-1][1])}, peak after {peak_ns / 1e6:.3f} ms."
    )
    if series.is_relative:
        text += " Nobody said what was allocated before: sizes count from the first change on."
    if len(drawn) < len(points):
        text += f" Drawn are the {len(drawn)} smallest, largest and last sizes of each point of the time axis."
    return text


def _curve(series: MemorySeries, points: Sequence[tuple[int, float]], frame: Frame) -> Iterator[str]:
    """A size holds until the next one; what was before the first is drawn where it is known."""
    first = frame.x(frame.begin_ns) if series.before_bytes is not None else frame.x(points[0][0])
    before = points[0][1] if series.before_bytes is None else series.before_bytes
    path = f"M{first} {frame.y(before)}{held(points, frame)}"
    yield f'<path class="area" d="{path}V{frame.y(0)}H{first}Z"/>\n<path class="size" d="{path}"/>\n'


def _steps(trace: Trace, steps: Sequence[Step], frame: Frame) -> Iterator[str]:
    """Every second step is a band, and every one that is wide enough has its number."""
    height = HEIGHT - TOP - BOTTOM
    for place, step in enumerate(steps):
        begin = frame.x(trace.columns.ts[step.row])
        end = frame.x(trace.columns.ts[step.row] + trace.columns.dur[step.row])
        width = round(end - begin, 2)
        if place % 2 == 0:
            yield f'<rect class="step" x="{begin}" y="{TOP}" width="{width}" height="{height}"/>\n'
        if width >= STEP_LABEL_WIDTH:
            middle = round((begin + end) / 2, 2)
            yield f'<text x="{middle}" y="{TOP - 26}" text-anchor="middle">step {step.number}</text>\n'


def _axes(frame: Frame) -> Iterator[str]:
    unit, scale = _unit(max(frame.high, -frame.low))
    for tick in ticks(frame.low / scale, frame.high / scale, 5):
        y = frame.y(tick * scale)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>\n'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g} {unit}</text>\n'
    bottom = HEIGHT - BOTTOM
    for tick in ticks(0, (frame.end_ns - frame.begin_ns) / 1e6, 8):
        x = frame.x(frame.begin_ns + tick * 1e6)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 5}"/>\n'
        yield f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{tick:g} ms</text>\n'


def _unit(size: float) -> tuple[str, int]:
    return next((unit, scale) for unit, scale in UNITS if abs(size) >= scale or scale == 1)


def show_size(size: float) -> str:
    """Bytes in a unit of 1024."""
    unit, scale = _unit(size)
    return f"{size / scale:.2f} {unit}" if scale > 1 else f"{size:g} B"
