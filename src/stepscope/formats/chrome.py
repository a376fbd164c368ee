"""Chrome JSON, as Perfetto, HTA and the TensorBoard plugin load it.

A dict; header keys one a line with ": " (HTA finds the rank by a pattern that wants the space); then the
events, one a line. Text is raw UTF-8: a surrogate escape breaks newer trace processors.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stepscope.core import kernels
from stepscope.formats.about import ABOUT, about, processes
from stepscope.formats.chrome_reserved import is_reserved, of_device, spell_args, spell_name
from stepscope.model.row_args import plain_args
from stepscope.model.trace import Origin, Trace, Track

__all__ = ["encode_chrome"]

# Keys that the file itself needs: a user's metadata of that name stands under "metadata" only.
OWN_KEYS = frozenset(
    {
        "schemaVersion",
        "deviceProperties",
        "trace_id",
        "host_name",
        "displayTimeUnit",
        "baseTimeNanoseconds",
        "metadata",
        "traceEvents",
        "traceName",
        # What the format gives a meaning of its own; Perfetto refuses a file whose systemTraceEvents is no text.
        "otherData",
        "stackFrames",
        "samples",
        "systemTraceEvents",
        "controllerTraceDataKey",
        "powerTraceAsString",
        "androidProcessDump",
    }
)

# A quote that ends a string behind an escaped backslash: an even number of backslashes, at least two.
_ENDS_IN_BACKSLASH = re.compile(rb'(?<!\\)((?:\\\\)*)\\\\(?=")')

# A small number written out behind zeros: past eighteen decimals trace processor v52 reads nonsense.
MOST_DECIMALS = 18
_MANY_DECIMALS = re.compile(rb"0\.00\d{17}")


def encode_chrome(trace: Trace) -> Iterator[bytes]:
    """Print a trace as Chrome JSON; yields UTF-8, many rows at a time."""
    header = "".join(f"{_spaced(key)}: {_spaced(value)},\n" for key, value in _head(trace).items())
    yield b"{\n" + _safe(header.encode()) + b'"traceEvents": [\n'
    yield _names(trace)
    yield from kernels.chrome_rows(
        trace.columns,
        [_json(spell_name(text)) for text in trace.strings],
        [b'"pid":%d,"tid":%d' % (track.pid, track.tid) for track in trace.tracks],
        _all_args(trace),
        trace.flows,
    )
    yield from _counters(trace)
    yield b"\n]\n}\n"


def _counters(trace: Trace) -> Iterator[bytes]:
    """The values of all counters, behind all rows: the trace processor sorts.

    A value's key is its unit: the trace processor calls a series by name and key, so that memory in bytes is
    "memory bytes". It knows no other place for a unit.
    """
    heads = [_counter_head(track) if track.kind == "counter" else b"" for track in trace.tracks]
    at = 0
    while at < len(trace.counters.ts):
        chunk, at = kernels.chrome_counters(trace.counters, heads, at)
        yield chunk


def _counter_head(track: Track) -> bytes:
    who = b'"name":%b,"pid":%d,"tid":%d' % (_json(track.name), track.pid, track.tid)
    return who + b',"args":{%b:' % _json(track.unit)


def _head(trace: Trace) -> dict[str, Any]:
    """The header's keys, in the order they are written."""
    origin = trace.origin
    users = {key: value for key, value in origin.metadata.items() if key not in OWN_KEYS}
    distributed = users.pop("distributedInfo", None)
    return {
        "schemaVersion": 1,
        "deviceProperties": [],
        "distributedInfo": _distributed(origin, distributed),
        "trace_id": origin.trace_id,
        "host_name": origin.host,
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": origin.base_ns,
        **users,
        "metadata": {**origin.metadata, ABOUT: about(trace)},
    }


def _distributed(origin: Origin, users: Any) -> dict[str, Any]:
    """Rank and world size: HTA takes a file without them for rank 0 of every run."""
    info = {"rank": origin.rank, "world_size": origin.world_size}
    return {**info, **users} if isinstance(users, Mapping) else info


def _names(trace: Trace) -> bytes:
    """The metadata events: process names, then thread names."""
    events = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": pid, "args": {"name": name}}
        for pid, name in processes(trace).items()
    ]
    events += [
        {"ph": "M", "name": "thread_name", "pid": t.pid, "tid": t.tid, "args": {"name": t.name}}
        for t in trace.tracks
        if t.kind != "counter"
    ]
    return b",\n".join(map(_json, events))


def _spaced(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json(value: Any) -> bytes:
    return _safe(orjson.dumps(value))


def _all_args(trace: Trace) -> dict[int, bytes]:
    """The inside of each row's object of arguments."""
    device = [of_device(text) for text in trace.strings]
    category = trace.columns.cat
    args = plain_args(trace.args)
    return kernels.encode_chrome_args(args, lambda row, given: _args(given, device=device[category[row]])[1:-1])


def _args(args: Mapping[str, Any], *, device: bool) -> bytes:
    """A row's arguments as a JSON object."""
    encoded = orjson.dumps(dict(args))
    if is_reserved(encoded):
        args = spell_args(args, device=device)
        encoded = orjson.dumps(args)
    if b"0.00" in encoded and _MANY_DECIMALS.search(encoded):
        encoded = orjson.dumps(_respelled(args))
    return _safe(encoded)


def _respelled(value: Any) -> Any:
    """The value with an exponent in every number that has too many decimals."""
    if isinstance(value, Mapping):
        return {key: _respelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    if isinstance(value, float) and len(orjson.dumps(value).partition(b".")[2]) > MOST_DECIMALS:
        return orjson.Fragment(b"%.16e" % value)
    return value


def _safe(encoded: bytes) -> bytes:
    """Spell what trace processor v52 refuses a whole file over: DEL, and a backslash at the end of a string."""
    if b"\x7f" in encoded:
        encoded = encoded.replace(b"\x7f", b"\\u007f")
    if b'\\\\"' not in encoded:
        return encoded
    return _ENDS_IN_BACKSLASH.sub(rb"\1\\u005c", encoded)
