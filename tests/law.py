"""The law of two files: what the trace processor finds in a file is the Trace that was written.

Expected rows are computed from the Trace, for each format as that format spells it; nothing of the encoders is used.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perfetto.trace_processor import TraceProcessor

from stepscope.check import HARMLESS_STATS, Engine, find_engine, open_trace, rows
from stepscope.model.trace import CUT, Trace

STATS = "select distinct name from stats where value > 0"
SLICES = """
    select s.ts, s.dur, s.name, s.category, s.depth, t.tid, t.name, p.pid, p.name, s.arg_set_id
    from slice s
    left join thread_track tt on s.track_id = tt.id
    left join thread t using (utid)
    left join process p using (upid)
"""
ARGS = "select arg_set_id, key, value_type, string_value, int_value, real_value from args"


def assert_file_is(trace: Trace, path: Path) -> None:
    """The file holds exactly the trace, and the trace processor has nothing to say about it."""
    engine = find_engine()
    with open_trace(path, engine=engine) as processor:
        said = {name for (name,) in rows(processor, STATS)}
        found = Counter(loaded_rows(processor, is_json(path)))
    assert said - HARMLESS_STATS == set()
    assert sum(found.values()) == len(trace)
    expected = Counter(expected_rows(trace, is_json(path), engine))
    assert found - expected == Counter()
    assert expected - found == Counter()


def is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".json")


def loaded_rows(processor: TraceProcessor, chrome: bool) -> Iterator[tuple[Any, ...]]:
    """Each row of the file as the trace processor shows it."""
    args: dict[int, list[tuple[Any, ...]]] = {}
    for owner, key, kind, text, integer, real in rows(processor, ARGS):
        value = {"string": text, "real": real}.get(kind, integer)
        if kind == "real":
            value = as_engine_reads(value, chrome)
        args.setdefault(owner, []).append((key, kind, value))
    for *row, owner in rows(processor, SLICES):
        yield (*row, frozenset(Counter(args.get(owner, ())).items()))


def expected_rows(trace: Trace, chrome: bool, engine: Engine) -> Iterator[tuple[Any, ...]]:
    """Each row of the trace as the trace processor should show it."""
    shift = 0 if chrome else trace.origin.boottime_offset_ns

    def shown(text: str) -> str:
        return as_engine_shows(text, engine) if chrome else text

    for row, depth in zip(trace, depths(trace), strict=True):
        args: dict[str, Any] = dict(row.args)
        if row.kind & CUT:
            args["stepscope:cut"] = True
        flat = flatten("args" if chrome else "debug", args, chrome, engine)
        track = row.track
        where = (track.tid, shown(track.name), track.pid, shown(track.process))
        yield (
            row.ts + shift,
            row.dur,
            shown(row.name),
            shown(row.cat),
            depth,
            *where,
            frozenset(Counter(flat).items()),
        )


def depths(trace: Trace) -> list[int]:
    """Each row's depth as Perfetto counts it, by brute force: what came before on its track and is still open.

    An instant is a slice without a duration there, so that the second of two at one time is inside the first.
    """
    found: list[int] = []
    for at, row in enumerate(trace):
        above = (trace[other] for other in range(at))
        found.append(
            sum(
                other.track == row.track
                and (row.ts < other.ts + other.dur or (row.ts == other.ts and row.dur == other.dur == 0))
                for other in above
            )
        )
    return found


def flatten(prefix: str, value: Any, chrome: bool, engine: Engine) -> Iterator[tuple[Any, ...]]:
    """A nested value as the rows of table args: (key, type, value)."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            # The protobuf importer takes dots and brackets in a name for its own.
            text = as_engine_shows(key, engine) if chrome else re.sub(r"[.\[\]]", "_", key)
            yield from flatten(f"{prefix}.{text}", item, chrome, engine)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from flatten(f"{prefix}[{index}]", item, chrome, engine)
    elif isinstance(value, bool):
        yield prefix, "bool", int(value)
    elif isinstance(value, int):
        yield prefix, "int", value
    elif isinstance(value, float):
        yield prefix, "real", as_engine_reads(value, chrome)
    else:
        yield prefix, "string", as_engine_shows(value, engine) if chrome else value


def as_engine_reads(number: float, chrome: bool) -> float:
    """A double as the engine reads it from JSON: v52 misses the last digit of some."""
    return float(f"{number:.12g}") if chrome else number


def as_engine_shows(text: str, engine: Engine) -> str:
    r"""A text as the engine shows it from JSON: v52 decodes a string only if there is a \" in it."""
    if engine.decodes_json_escapes or '"' in text:
        return text
    escaped = json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")
    return escaped[:-2] + "\\u005c" if text.endswith("\\") else escaped
