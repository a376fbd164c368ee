"""Set aside: a trace without what is nothing that its program does, such as pauses of the garbage collector.

What is inside of a slice that is set aside is then inside of the one around it, and so is its time. And the points of a
flow that it goes on to are called alike, whether its first point, which has the name, was in the window or not.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import compress, count

from stepscope.analysis.diff.rules import Aside
from stepscope.core import kernels
from stepscope.core.rows import FLOW, INSTANT, Columns, Counters, Flows
from stepscope.model.trace import Trace

__all__ = ["comparable", "set_aside"]


def comparable(trace: Trace, rules: Iterable[Aside]) -> Trace:
    """The trace as it is compared with others, or told in a golden; the very trace if it is so already."""
    return _with_flows_alike(set_aside(trace, rules))


def _with_flows_alike(trace: Trace) -> Trace:
    """Of the instants that a flow gave its name, all but the first are called FLOW."""
    flows, columns = trace.flows, trace.columns
    seen: set[int] = set()
    others = []
    for flow, row in zip(flows.flow, flows.row, strict=True):
        if columns.kind[row] & INSTANT and columns.name[row] == flows.name[flow]:
            if flow in seen:
                others.append(row)
            seen.add(flow)
    if not others:
        return trace
    names = columns.name[:]
    for row in others:
        names[row] = len(trace.strings)
    return Trace(
        (*trace.strings, FLOW),
        trace.tracks,
        columns._replace(name=names),
        args=trace.args,
        counters=trace.counters,
        flows=flows,
        origin=trace.origin,
        problems=trace.problems,
    )


def set_aside(trace: Trace, rules: Iterable[Aside]) -> Trace:
    """The trace without what the rules name; the very trace if there is none of it."""
    rules = tuple(rules)
    tracks = {number for rule in rules for number in _tracks(trace, rule)}
    rows = {row for rule in rules for row in _rows(trace, rule)}
    if tracks:
        rows.update(row for row, track in enumerate(trace.columns.track) if track in tracks)
    if not rows and not tracks:
        return trace
    # A thread on which nothing else was recorded was seen only because of what is set aside.
    tracks |= {trace.columns.track[row] for row in rows} - {
        track for row, track in enumerate(trace.columns.track) if row not in rows
    }
    kept = [number for number in range(len(trace.tracks)) if number not in tracks]
    new_track = array("I", bytes(4 * len(trace.tracks)))
    for new, old in enumerate(kept):
        new_track[old] = new
    left = [row for row in range(len(trace)) if row not in rows]
    columns = Columns(*(array(column.typecode, map(column.__getitem__, left)) for column in trace.columns))
    new_row = {old: new for new, old in enumerate(left)}
    return Trace(
        trace.strings,
        tuple(trace.tracks[number] for number in kept),
        columns._replace(track=kernels.map_ids(columns.track, new_track)),
        args={new_row[row]: args for row, args in trace.args.items() if row in new_row},
        counters=_counters(trace.counters, tracks, new_track),
        flows=_flows(trace.flows, new_row),
        origin=trace.origin,
        problems=trace.problems,
    )


def _tracks(trace: Trace, rule: Aside) -> Iterator[int]:
    for number, track in enumerate(trace.tracks):
        if track.kind == "counter":
            if (track.name, track.unit) in rule.counters:
                yield number
        elif rule.thread and track.name == rule.thread:
            yield number


def _rows(trace: Trace, rule: Aside) -> Iterator[int]:
    """The rows that a rule names by what they are; of a trace that has no such category there is no need to look."""
    if not rule.category or rule.category not in trace.strings:
        return
    columns, strings = trace.columns, trace.strings
    cats = {number for number, text in enumerate(strings) if text == rule.category}
    names = {number for number, text in enumerate(strings) if not rule.row or text == rule.row}
    for row in compress(count(), map(cats.__contains__, columns.cat)):
        if columns.name[row] in names and rule.args.items() <= trace.args.get(row, {}).items():
            yield row


def _counters(counters: Counters, without: set[int], new_track: "array[int]") -> Counters:
    left = [at for at, track in enumerate(counters.track) if track not in without]
    return Counters(
        array("q", map(counters.ts.__getitem__, left)),
        array("d", map(counters.value.__getitem__, left)),
        array("I", (new_track[counters.track[at]] for at in left)),
    )


def _flows(flows: Flows, new_row: dict[int, int]) -> Flows:
    """The flows whose rows are all there."""
    gone = {flow for flow, row in zip(flows.flow, flows.row, strict=True) if row not in new_row}
    new_flow = {old: new for new, old in enumerate(old for old in range(len(flows.name)) if old not in gone)}
    points = [
        (new_flow[flow], new_row[row]) for flow, row in zip(flows.flow, flows.row, strict=True) if flow in new_flow
    ]
    return Flows(
        array("I", (flow for flow, _ in points)),
        array("I", (row for _, row in points)),
        array("I", (flows.name[old] for old in new_flow)),
    )
