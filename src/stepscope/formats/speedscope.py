"""speedscope's JSON: a profile for each track, whose slices open and close in order of time.

Source: https://www.speedscope.app/file-format-schema.json, and its importer, which refuses what closes in another order
than it opened and times that go back. The format has no instants, counters or flows: they are left out.
"""

import json
from collections.abc import Iterator

from stepscope.formats.stacks import rows_by_track, track_names
from stepscope.model.trace import Trace

__all__ = ["encode_speedscope"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
BATCH_EVENTS = 10_000


def encode_speedscope(trace: Trace) -> Iterator[bytes]:
    """Print a trace as speedscope reads it; yields UTF-8, many events at a time. Times are ns since origin.base_ns."""
    frames: dict[int, int] = {}
    names = track_names(trace)
    yield f'{{\n"$schema": {json.dumps(SCHEMA)},\n"profiles": ['.encode()
    for number, (track, rows) in enumerate(rows_by_track(trace)):
        yield ((",\n" if number else "\n") + _head(trace, rows, " / ".join(names[track]))).encode()
        yield from _events(trace, rows, frames)
        yield b"\n]}"
    about = trace.origin
    tail = {
        "shared": {"frames": [{"name": trace.strings[name]} for name in frames]},
        "name": f"{about.process or about.tool} {about.trace_id}".strip(),
        "exporter": f"stepscope, of a trace of {about.tool} {about.version}".strip(),
    }
    yield b"\n],\n" + _json(tail)[1:].encode() + b"\n"


def _head(trace: Trace, rows: list[int], name: str) -> str:
    ts, dur = trace.columns.ts, trace.columns.dur
    end = max(ts[row] + dur[row] for row in rows)
    fields = {"type": "evented", "name": name, "unit": "nanoseconds", "startValue": ts[rows[0]], "endValue": end}
    return _json(fields)[:-1] + ', "events": ['


def _events(trace: Trace, rows: list[int], frames: dict[int, int]) -> Iterator[bytes]:
    """The openings and closings of a track's slices, which nest: a stack is all it takes."""
    ts, dur, name = trace.columns.ts, trace.columns.dur, trace.columns.name
    is_open: list[tuple[int, int]] = []
    lines: list[str] = []
    for row in rows:
        at = ts[row]
        while is_open and is_open[-1][0] <= at:
            lines.append(_line("C", *is_open.pop()))
        frame = frames.setdefault(name[row], len(frames))
        lines.append(_line("O", at, frame))
        is_open.append((at + dur[row], frame))
        if len(lines) >= BATCH_EVENTS:
            yield ",".join(lines).encode() + b","
            lines.clear()
    lines += [_line("C", *closing) for closing in reversed(is_open)]
    yield ",".join(lines).encode()


def _line(kind: str, at: int, frame: int) -> str:
    return f'\n{{"type":"{kind}","frame":{frame},"at":{at}}}'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
