"""The pictures of an overview, in SVG: bars of steps, and counters over time."""

from collections.abc import Iterator, Sequence

from stepscope.analysis.overview.gather import Cycle, Series, StepParts
from stepscope.analysis.page import shown
from stepscope.analysis.picture import Box, Frame, held, thinned, ticks
from stepscope.analysis.units import show_time

__all__ = ["COLOURS", "counter_chart", "legend", "show_value", "step_bars"]

WIDTH = 1000
ROW, BAR = 22, 16  # px a step
LEFT, RIGHT = 84, 90
# More steps than this are not told apart on a page: the slowest are drawn.
MAX_BARS = 60
# How many names have a colour of their own.
COLOURS = 7
COUNTER_HEIGHT = 150
GAP = 14  # px between cycles
MIN_PANEL = 40.0
LETTER = 6.5  # px a letter of a label, at most
# A longer unit has no room at the axis; it is in the heading.
MAX_UNIT = 8
SCALES = {"bytes": (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0)), "ns": (("s", 1e9), ("ms", 1e6))}


def legend(names: Sequence[str], others: int) -> str:
    """Which colour is which name."""
    items = [f'<span class="key"><i class="c{at}"></i>{shown(name)}</span>' for at, name in enumerate(names)]
    if others:
        items.append(f'<span class="key"><i class="rest"></i>{others} more</span>')
    items.append('<span class="key"><i class="own"></i>in no span</span>')
    return f'<p class="legend">{" ".join(items)}</p>\n'


def step_bars(cycle: Cycle, names: Sequence[str], longest_ns: int) -> Iterator[str]:
    """A bar for each step of a cycle, of what it is made of.

    Args:
        cycle: whose steps.
        names: those that have a colour.
        longest_ns: how long the longest bar of the page is.
    """
    steps = cycle.steps
    if len(steps) > MAX_BARS:
        slowest = sorted(range(len(steps)), key=lambda at: -steps[at].dur_ns)[:MAX_BARS]
        steps = [steps[at] for at in sorted(slowest)]
        yield f'<p class="faint">The {MAX_BARS} slowest of {len(cycle.steps)} steps.</p>\n'
    height = ROW * len(steps) + 4
    yield f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="steps of {shown(cycle.name)}">\n'
    for place, step in enumerate(steps):
        yield from _bar(step, names, (ROW * place + 2, longest_ns))
    yield "</svg>\n"


def _bar(step: StepParts, names: Sequence[str], where: tuple[int, int]) -> Iterator[str]:
    top, longest_ns = where
    scale = (WIDTH - LEFT - RIGHT) / max(longest_ns, 1)
    yield f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end">step {step.number}</text>\n'
    pieces = [(f"c{at}", name, step.parts.get(name, 0)) for at, name in enumerate(names)]
    rest = sum(step.parts.values()) - sum(dur for _, _, dur in pieces)
    pieces += [("rest", "other spans", rest), ("own", "in no span", max(step.own_ns, 0))]
    x = float(LEFT)
    for colour, name, dur_ns in pieces:
        width = dur_ns * scale
        if dur_ns > 0:
            share = f"{100 * dur_ns / step.dur_ns:.1f}%" if step.dur_ns else ""
            title = f"{shown(name)}: {show_time(dur_ns / 1000)}, {share} of step {step.number}"
            yield (
                f'<rect class="{colour}" x="{x:.2f}" y="{top}" width="{width:.2f}" height="{BAR}">'
                f"<title>{title}</title></rect>\n"
            )
        x += width
    yield f'<text x="{x + 6:.2f}" y="{top + 12}" class="figure">{show_time(step.dur_ns / 1000)}</text>\n'


def counter_chart(name: str, unit: str, series: Sequence[Series]) -> Iterator[str]:
    """A counter over time: the cycles stand side by side, as long as they were."""
    values = [value for each in series for _, value in each.points]
    low, high = min(0.0, *values), 1.04 * max(0.0, *values)
    top, bottom = 20, COUNTER_HEIGHT - 24
    label, scale = _scale(unit, max(high, -low))
    yield f'<svg viewBox="0 0 {WIDTH} {COUNTER_HEIGHT}" role="img" aria-label="{shown(name)} over time">\n'
    whole = Frame(0, 1, low, high or (1.0 if not low else 0.0), Box(LEFT, WIDTH - 16, top, bottom))
    for tick in ticks(whole.low / scale, whole.high / scale, 4):
        y = whole.y(tick * scale)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 16}" y1="{y}" y2="{y}"/>\n'
        unit_there = shown(label) if len(label) <= MAX_UNIT else ""
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}{unit_there}</text>\n'
    for each, box in zip(series, _panels(series, top, bottom), strict=True):
        frame = Frame(each.cycle.begin_ns, each.cycle.end_ns, whole.low, whole.high, box)
        first = each.points[0]
        path = f"M{frame.x(first[0])} {frame.y(first[1])}{held(thinned(each.points, frame), frame)}"
        where = f'x="{box.left:.2f}" y="{top}" width="{box.right - box.left:.2f}" height="{bottom - top}"'
        yield f'<rect class="panel" {where}/>\n'
        yield f'<path class="line" d="{path}"><title>{shown(each.cycle.name)}</title></path>\n'
        if box.right - box.left >= LETTER * len(each.cycle.name):
            middle = (box.left + box.right) / 2
            yield f'<text x="{middle:.2f}" y="{bottom + 17}" text-anchor="middle">{shown(each.cycle.name)}</text>\n'
    yield "</svg>\n"


def _panels(series: Sequence[Series], top: float, bottom: float) -> list[Box]:
    """A box for each cycle, none so narrow that it cannot be seen."""
    room = WIDTH - 16 - LEFT - GAP * (len(series) - 1)
    least = min(MIN_PANEL, room / len(series))
    times = [max(each.cycle.end_ns - each.cycle.begin_ns, 1) for each in series]
    spare = room - least * len(series)
    boxes: list[Box] = []
    x = float(LEFT)
    for time in times:
        width = least + spare * time / sum(times)
        boxes.append(Box(x, x + width, top, bottom))
        x += width + GAP
    return boxes


def _scale(unit: str, largest: float) -> tuple[str, float]:
    """What the axis of a counter counts in."""
    for label, scale in SCALES.get(unit, ()):
        if largest >= scale or scale == 1:
            return f" {label}", scale
    return (f" {unit}" if unit not in ("", "count", "value") else ""), 1.0


def show_value(value: float, unit: str) -> str:
    """A counter's value with its unit."""
    label, scale = _scale(unit, abs(value))
    return f"{value / scale:.4g}{label}"
