"""check(): load a file, count what is in it, name every statistic not known to be harmless."""

from dataclasses import dataclass, field
from io import BufferedReader
from os import PathLike
from pathlib import Path

from stepscope.check.client import rows
from stepscope.check.engines import Engine, find_engine, open_trace

# An empty list of errors does not prove a trace: engine v52 files a packet without a sequence, an
# event without a type and an unknown interned id under severity "info". So whatever is not listed
# here counts as a problem.
HARMLESS_STATS = frozenset(
    {
        # How long the engine took, not what it found.
        "guess_trace_type_duration_ns",
        "parse_trace_duration_ns",
        # The engine's own cache of clock conversions was cold once.
        "clock_sync_cache_miss",
        # The file has the key displayTimeUnit; the engine notes that it does not use it.
        "json_display_time_unit",
        # A field that is newer than the engine, such as the call stack of an event, which v52 does not know yet. The
        # event itself is there; tests hold files without stacks to having none of these.
        "unknown_extension_fields",
    }
)

SLICES = "SELECT COUNT(*) FROM slice"
THREADS = """
    SELECT COUNT(DISTINCT thread_track.utid)
    FROM slice JOIN thread_track ON thread_track.id = slice.track_id
"""
PROCESSES = """
    SELECT COUNT(DISTINCT upid) FROM (
        SELECT thread.upid
        FROM slice JOIN thread_track ON thread_track.id = slice.track_id JOIN thread USING (utid)
        UNION
        SELECT process_track.upid
        FROM slice JOIN process_track ON process_track.id = slice.track_id
    )
"""
COUNTERS = "SELECT COUNT(DISTINCT track_id) FROM counter"
FLOWS = "SELECT COUNT(*) FROM flow"
STATS = "SELECT name, SUM(value), MAX(description) FROM stats WHERE value > 0 GROUP BY name ORDER BY name"


@dataclass(frozen=True)
class Report:
    """What the trace processor made of a file.

    Nothing here knows what the file should have held: compare the counts with what was written. An
    end without a begin, an unknown event type and a .pftrace cut short show in no statistic.
    """

    path: Path
    engine: Engine
    slices: int
    """Rows of table slice; an instant is a slice of duration 0."""
    threads: int
    """Threads that own a slice; a name alone does not count, nor does thread 0, always there."""
    processes: int
    """Processes that own a slice, by one of their threads or themselves."""
    stats: dict[str, int] = field(hash=False)
    """Every statistic above zero, summed over its indices."""
    problems: tuple[str, ...]
    """The names in stats that are not in HARMLESS_STATS."""
    counters: int = 0
    """Counters that have a value."""
    flows: int = 0
    """Arrows from one slice to another."""
    descriptions: dict[str, str] = field(default_factory=dict, hash=False)
    """What the engine says of those statistics, where it says anything."""

    @property
    def ok(self) -> bool:
        """True if there is no problem."""
        return not self.problems


def check(path: str | PathLike[str], *, engine: Engine | None = None, stream: BufferedReader | None = None) -> Report:
    """Load a trace file in Perfetto's trace processor and report what arrived.

    Args:
        path: Chrome JSON or .pftrace, plain or gzip.
        engine: the engine to use; find_engine() chooses one by default.
        stream: the file, if it is open already; it is left open.

    Raises:
        CheckError: no engine, no such file, or the engine refused the file.
    """
    engine = engine or find_engine()
    with open_trace(path, engine=engine, stream=stream) as trace:
        said = [(str(name), int(value), str(description or "")) for name, value, description in rows(trace, STATS)]
        slices, threads, processes, counters, flows = (
            int(rows(trace, sql)[0][0]) for sql in (SLICES, THREADS, PROCESSES, COUNTERS, FLOWS)
        )
    stats = {name: value for name, value, _ in said}
    return Report(
        path=Path(path),
        engine=engine,
        slices=slices,
        threads=threads,
        processes=processes,
        stats=stats,
        problems=tuple(name for name in stats if name not in HARMLESS_STATS),
        counters=counters,
        flows=flows,
        descriptions={name: description for name, _, description in said if description},
    )
