"""The law of two files: what the trace processor finds in a file is the Trace that was written.

Expected rows are computed from the Trace, for each format as that format spells it; nothing of the encoders is used.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perfetto.trace_processor import TraceProcessor

from stepscope import read
from stepscope.check import HARMLESS_STATS, Engine, find_engine, open_trace, rows
from stepscope.core.stacks import CALL_STACK
from stepscope.formats.perfetto_read import decode_perfetto
from stepscope.model.trace import CUT, Trace, Track

STATS = "select distinct name from stats where value > 0"
SLICES = """
    select s.id, s.ts, s.dur, s.name, s.category, s.depth, t.tid, t.name, p.pid, p.name, s.arg_set_id
    from slice s
    left join thread_track tt on s.track_id = tt.id
    left join thread t using (utid)
    left join process p using (upid)
    order by s.id
"""
COUNTERS = """
    select c.ts, c.value, t.name, t.unit, p.pid, p.name
    from counter c
    join counter_track t on c.track_id = t.id
    left join process_counter_track pt on pt.id = t.id
    left join process p using (upid)
"""
FLOWS = """
    select f.slice_out, f.slice_in, f.trace_id, a.string_value
    from flow f
    left join args a on a.arg_set_id = f.arg_set_id and a.key = 'name'
"""
ARGS = "select arg_set_id, key, value_type, string_value, int_value, real_value from args"


def assert_file_is(trace: Trace, path: Path) -> None:
    """The file holds exactly the trace: to the trace processor, which has nothing to say about it, and to `read`."""
    if is_json(path):
        assert read(path) == trace
    engine = find_engine()
    chrome = is_json(path)
    with open_trace(path, engine=engine) as processor:
        said = {name for (name,) in rows(processor, STATS)}
        slices = rows(processor, SLICES)
        found = Counter(loaded_rows(processor, slices, chrome))
        counters = Counter(loaded_counters(processor, chrome))
        flows = Counter(loaded_flows(processor, slices, chrome))
    assert said - HARMLESS_STATS == set()
    has_stacks = any(CALL_STACK in args for args in trace.args.values())
    assert has_stacks or "unknown_extension_fields" not in said
    assert sum(found.values()) == len(trace)
    expected = Counter(expected_rows(trace, chrome, engine))
    assert found - expected == Counter()
    assert expected - found == Counter()
    assert counters == Counter(expected_counters(trace, chrome, engine))
    assert flows == Counter(expected_flows(trace, chrome, engine))
    if not chrome:
        assert_reads_back(trace, path)


def assert_reads_back(trace: Trace, path: Path) -> None:
    """What our own reader gives is the very trace that was written."""
    content = path.read_bytes()
    read = decode_perfetto(gzip.decompress(content) if path.suffix == ".gz" else content, str(path))
    for name in Trace.__slots__:
        assert getattr(read, name) == getattr(trace, name), name


def is_json(path: Path) -> bool:
    """By what is in it: a name may be any."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.read(1) == b"{"


def loaded_rows(processor: TraceProcessor, slices: list[tuple[Any, ...]], chrome: bool) -> Iterator[tuple[Any, ...]]:
    """Each row of the file as the trace processor shows it."""
    args: dict[int, list[tuple[Any, ...]]] = {}
    for owner, key, kind, text, integer, real in rows(processor, ARGS):
        value = {"string": text, "real": real}.get(kind, integer)
        if kind == "real":
            value = as_engine_reads(value, chrome)
        args.setdefault(owner, []).append((key, kind, value))
    for _, *row, owner in slices:
        yield (*row, frozenset(Counter(args.get(owner, ())).items()))


def expected_rows(trace: Trace, chrome: bool, engine: Engine) -> Iterator[tuple[Any, ...]]:
    """Each row of the trace as the trace processor should show it."""
    shift = 0 if chrome else trace.origin.boottime_offset_ns

    def shown(text: str) -> str:
        return as_engine_shows(text, engine) if chrome else text

    for row, depth in zip(trace, depths(trace), strict=True):
        args = as_json_spells_keys(row.args, row.cat) if chrome else dict(row.args)
        if row.kind & CUT:
            args["stepscope:cut"] = True
        if row.site:
            args["stepscope:site"] = as_json_spells(row.site) if chrome else row.site
        flat = flatten("args" if chrome else "debug", args, chrome, engine)
        track = row.track
        where = (track.tid, shown(track.name), track.pid, shown(track.process))
        yield (
            row.ts + shift,
            row.dur,
            shown(as_json_spells(row.name) if chrome else row.name),
            shown(as_json_spells(row.cat) if chrome else row.cat),
            depth,
            *where,
            frozenset(Counter(flat).items()),
        )


def loaded_counters(processor: TraceProcessor, chrome: bool) -> Iterator[tuple[Any, ...]]:
    """Each counter value of the file as the trace processor shows it."""
    for ts, value, *where in rows(processor, COUNTERS):
        yield (ts, as_engine_reads(value, chrome), *where)


def expected_counters(trace: Trace, chrome: bool, engine: Engine) -> Iterator[tuple[Any, ...]]:
    """Each value of the trace's counters as the trace processor should show it.

    JSON has no place for a unit: there it is the second part of the track's name.
    """
    shift = 0 if chrome else trace.origin.boottime_offset_ns
    for ts, value, number in zip(*trace.counters, strict=True):
        track = trace.tracks[number]
        what: tuple[str, str | None] = (track.name, track.unit or None)
        process = track.process
        if chrome:
            what = (f"{as_engine_shows(track.name, engine)} {as_engine_shows(track.unit, engine)}", None)
            process = as_engine_shows(process, engine)
        yield (ts + shift, as_engine_reads(value, chrome), *what, track.pid, process)


Place = tuple[int, int, int]


def loaded_flows(
    processor: TraceProcessor, slices: list[tuple[Any, ...]], chrome: bool
) -> Iterator[tuple[Place, Place, Any]]:
    """Each arrow of the file: from where, to where, and what JSON calls it or the id it has in protobuf.

    A row is told by its thread and by how many are before it there: rows may be equal in all else.
    """
    places: dict[int, Place] = {}
    on_thread: Counter[tuple[int, int]] = Counter()
    for number, _, _, _, _, _, tid, _, pid, _, _ in slices:
        places[number] = (pid, tid, on_thread[pid, tid])
        on_thread[pid, tid] += 1
    for out, into, number, name in rows(processor, FLOWS):
        yield places[out], places[into], name if chrome else number


def expected_flows(trace: Trace, chrome: bool, engine: Engine) -> Iterator[tuple[Place, Place, Any]]:
    """Each arrow of the trace as the trace processor should show it."""
    places: list[Place] = []
    on_thread: Counter[tuple[int, int]] = Counter()
    for row in trace:
        where = row.track.pid, row.track.tid
        places.append((*where, on_thread[where]))
        on_thread[where] += 1
    names = list(dict.fromkeys(trace.flows.name))
    before: dict[int, int] = {}
    for flow, row_number in zip(trace.flows.flow, trace.flows.row, strict=True):
        at = row_that_json_binds(trace, row_number) if chrome else row_number
        name = trace.flows.name[flow]
        if flow in before:
            number = (1 + names.index(name)) << 40 | (1 + flow)
            shown = as_engine_shows(as_json_spells(trace.strings[name]), engine) if chrome else number
            yield places[before[flow]], places[at], shown
        before[flow] = at


def row_that_json_binds(trace: Trace, at: int) -> int:
    """The row that the JSON importer finds at a flow event, which stands right behind its row.

    It sorts by time and then takes slices that last before all that does not: where a slice begins together with
    some inside it, the arrow is drawn at the innermost of those.
    """
    row = trace[at]
    if not row.dur:
        return at
    same = (other for other in range(at, len(trace)) if trace[other].ts == row.ts and trace[other].dur)
    return max(other for other in same if trace[other].track == row.track)


def depths(trace: Trace) -> list[int]:
    """Each row's depth as Perfetto counts it, by brute force: what came before on its track and is still open.

    An instant is a slice without a duration there, so that the second of two at one time is inside the first.
    """
    found: list[int] = []
    before: dict[Track, list[tuple[int, int]]] = {}
    for row in trace:
        above = before.setdefault(row.track, [])
        is_instant = row.dur == 0
        found.append(sum(row.ts < end or (is_instant and row.ts == ts == end) for ts, end in above))
        above.append((row.ts, row.ts + row.dur))
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


def as_json_spells(text: str) -> str:
    """A name as it stands in JSON: what HTA and TensorBoard would take for a step without a number is set apart."""
    bare = text
    while bare.startswith("user:"):
        bare = bare.removeprefix("user:")
    is_step = text.startswith("ProfilerStep#") and text[13:].isascii() and text[13:].isdigit() and len(text) <= 31
    return f"user:{text}" if bare.startswith("ProfilerStep") and not is_step else text


def as_json_spells_keys(args: Mapping[str, Any], category: str) -> dict[str, Any]:
    """Arguments as they stand in JSON: keys that HTA looks for in what a device did are set apart in all else."""
    low = category.lower()
    device = any(part in low for part in ("kernel", "gpu", "cuda", "xpu", "hpu", "mtia", "hip"))
    device = device or any(part in low for part in ("memcpy", "memset", "_runtime", "_driver"))
    spelled = {}
    for key, value in args.items():
        bare = key
        while bare.startswith("user:"):
            bare = bare.removeprefix("user:")
        kept = bare not in ("stream", "correlation") or (device and bare == key)
        spelled[key if kept else f"user:{key}"] = value
    return spelled


def as_engine_reads(number: float, chrome: bool) -> float:
    """A double as the engine reads it from JSON: v52 misses the last digit of some."""
    return float(f"{number:.12g}") if chrome else number


def as_engine_shows(text: str, engine: Engine) -> str:
    r"""A text as the engine shows it from JSON: v52 decodes a string only if there is a \" in it."""
    if engine.decodes_json_escapes or '"' in text:
        return text
    escaped = json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")
    return escaped[:-2] + "\\u005c" if text.endswith("\\") else escaped
