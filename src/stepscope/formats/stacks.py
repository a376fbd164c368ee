"""What the formats of flame graphs share: tracks with a name each, and their slices as they open and close."""

from collections import Counter
from collections.abc import Iterator

from stepscope.model.trace import INSTANT, Trace

__all__ = ["rows_by_track", "track_names"]


def track_names(trace: Trace) -> list[tuple[str, str]]:
    """Each track's process and name; what several have carries the id."""
    processes = {track.pid: track.process for track in trace.tracks}
    count = Counter(processes.values())
    threads = Counter((track.pid, track.name) for track in trace.tracks)
    return [
        (
            track.process if count[track.process] == 1 else f"{track.process} {track.pid}",
            track.name if threads[track.pid, track.name] == 1 else f"{track.name} {track.tid}",
        )
        for track in trace.tracks
    ]


def rows_by_track(trace: Trace) -> Iterator[tuple[int, list[int]]]:
    """The tracks that have slices, by number, and the rows of those in order; instants are left out."""
    columns = trace.columns
    rows: list[list[int]] = [[] for _ in trace.tracks]
    for row, (track, kind) in enumerate(zip(columns.track, columns.kind, strict=True)):
        if not kind & INSTANT:
            rows[track].append(row)
    return ((track, found) for track, found in enumerate(rows) if found)
