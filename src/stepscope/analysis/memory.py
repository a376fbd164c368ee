"""Memory over time: what a trace says of it, as torch's export_memory_timeline writes it.

Two things speak of memory: "[memory]" instants, which are single allocations and releases, and counters with the unit
"bytes". Nothing else does, so nothing else is drawn.

Source: torch.profiler._memory_profiler.MemoryProfileTimeline of torch 2.13, whose files these are. torch sorts bytes
into categories by what its operators do with tensors; here all are of its last one, "Unknown".
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepscope.analysis.tree import Memory, Tree
from stepscope.model.errors import AnalysisError, ExportError
from stepscope.model.output import write_whole
from stepscope.model.trace import Trace

__all__ = ["MemorySeries", "export_memory_timeline", "memory_series"]

# torch's numbers: parameter, optimizer state, input, temporary, activation, gradient, autograd detail, unknown.
CATEGORIES = 8
UNKNOWN = CATEGORIES - 1
PREEXISTING, CREATE, DESTROY = 1, 2, 4
# A time that torch gives to what was there before.
BEFORE = -1


@dataclass(frozen=True)
class MemorySeries:
    """How much memory something held over time.

    Attributes:
        name: the device as torch spells it, such as "cpu" or "cuda:0", or the counter's name.
        times_ns: when it changed or was counted, in ns since the trace's base; they rise.
        sizes_bytes: how much it was from then on; as long as times_ns.
        before_bytes: how much it was before the first of them; None where nobody said.
        changes: the allocations and releases; None for a counter.
    """

    name: str
    times_ns: list[int]
    sizes_bytes: list[float]
    before_bytes: int | None
    changes: list[tuple[int, int]] | None

    @property
    def is_relative(self) -> bool:
        """Whether the sizes count from the first change on, because nobody said what was there before."""
        return self.changes is not None and self.before_bytes is None


def memory_series(tree: Tree) -> list[MemorySeries]:
    """All that a trace says of memory: devices first, the CPU behind them, then counters by name."""
    trace = tree.trace
    by_device: defaultdict[str, list[Memory]] = defaultdict(list)
    for change in tree.memory:
        by_device[change.device].append(change)
    devices = sorted(by_device, key=lambda device: (device == "cpu", device))
    counted: dict[int, MemorySeries] = {}
    for number, track in enumerate(trace.tracks):
        if track.kind == "counter" and track.unit == "bytes":
            counted[number] = MemorySeries(track.name, [], [], None, None)
    for ts, value, track_number in zip(*trace.counters, strict=True):
        if track_number in counted:
            counted[track_number].times_ns.append(ts)
            counted[track_number].sizes_bytes.append(value)
    counters = sorted(counted.values(), key=lambda series: series.name)
    return [*(_of_device(trace, device, by_device[device]) for device in devices), *counters]


def _of_device(trace: Trace, device: str, changes: list[Memory]) -> MemorySeries:
    times = [trace.columns.ts[change.row] for change in changes]
    first = changes[0].allocated_bytes
    before = None if first is None else first - changes[0].size_bytes
    size, sizes = before or 0, list[float]()
    for change in changes:
        size = size + change.size_bytes if change.allocated_bytes is None else change.allocated_bytes
        sizes.append(size)
    amounts = [change.size_bytes for change in changes]
    return MemorySeries(device, times, sizes, before, list(zip(times, amounts, strict=True)))


def export_memory_timeline(trace: Trace, path: str | os.PathLike[str], device: str | None = None) -> None:
    """Write how much memory was held over time, in the form that the path's ending names.

    Args:
        trace: whose.
        path: ".json" and ".json.gz" are torch's [times, sizes]: us since the epoch, and for each a 0 and the bytes of
            each category. ".raw.json.gz" is torch's list of (ns since the epoch, action, bytes, category), a record
            an allocation. ".html" is a page with a picture of every series, which needs no network.
        device: whose memory: a device such as "cpu" or "cuda:0", or the name of a counter in bytes. None for a device
            if there is one, then the CPU, then the only counter; a page has all of them.

    Raises:
        AnalysisError: the trace does not say it; the message tells what it has.
        ExportError: the ending is none of those, or the file cannot be written.
    """
    name = os.fspath(path)
    series = memory_series(Tree(trace))
    if name.endswith(".html"):
        from stepscope.analysis.memory_page import memory_page

        chosen = [_chosen(series, device)] if device is not None or not series else series
        write_whole(path, memory_page(trace, chosen))
    elif name.endswith((".raw.json", ".raw.json.gz")):
        write_whole(path, _json(_raw(trace, _chosen(series, device))))
    elif name.endswith((".json", ".json.gz")):
        write_whole(path, _json(_timeline(trace, _chosen(series, device))))
    else:
        message = f"{name}: the ending names no form. Use one of .html, .json, .json.gz, .raw.json.gz."
        raise ExportError(message)


def _chosen(series: list[MemorySeries], device: str | None) -> MemorySeries:
    names = [each.name for each in series]
    if not series:
        message = (
            'the trace says nothing of memory: it has no "[memory]" instants and no counter with the unit "bytes". '
            "Record with profile_memory=True."
        )
        raise AnalysisError(message)
    if device is None:
        if series[0].changes is None and len(series) > 1:
            message = (
                f"the trace has several counters in bytes. Choose one with device=: {', '.join(map(repr, names))}."
            )
            raise AnalysisError(message)
        return series[0]
    for wanted in (device, f"{device}:0"):
        if wanted in names:
            return series[names.index(wanted)]
    message = f"the trace says nothing of the memory of {device!r}. It has {', '.join(map(repr, names))}."
    raise AnalysisError(message)


def _timeline(trace: Trace, series: MemorySeries) -> list[Any]:
    times: list[int] = []
    sizes: list[list[float]] = []
    known = [(series.times_ns[0], series.before_bytes)] if series.before_bytes and series.times_ns else []
    for ts, size in [*known, *zip(series.times_ns, series.sizes_bytes, strict=True)]:
        time_us = (trace.origin.base_ns + ts) // 1000
        if not times or time_us != times[-1] or len(times) == len(known):
            times.append(time_us)
            sizes.append([0] * (1 + CATEGORIES))
        sizes[-1][1 + UNKNOWN] = int(size) if float(size).is_integer() else size
    return [times, sizes]


def _raw(trace: Trace, series: MemorySeries) -> list[tuple[int, int, int, int]]:
    if series.changes is None:
        message = (
            f"{series.name!r} is a counter: it tells how much memory there was, not what was allocated when. "
            "Use .json or .html."
        )
        raise AnalysisError(message)
    before = [(BEFORE, PREEXISTING, series.before_bytes, UNKNOWN)] if series.before_bytes else []
    changes = (
        (trace.origin.base_ns + ts, CREATE if amount >= 0 else DESTROY, amount, UNKNOWN)
        for ts, amount in series.changes
    )
    return [*before, *changes]


def _json(value: Any) -> Iterator[bytes]:
    import orjson

    yield orjson.dumps(value)
