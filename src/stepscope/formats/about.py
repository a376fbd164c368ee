"""What stepscope itself says of a trace, the same in both formats: where it comes from and what it lost."""

from typing import Any

from stepscope.core import kernels
from stepscope.model.trace import Trace

__all__ = ["ABOUT", "about", "flow_names", "processes"]

# A key that no user's metadata can have.
ABOUT = "stepscope:about"


def about(trace: Trace) -> dict[str, Any]:
    """Tool, clocks, session and problems, as JSON-able values; and, where there are some, what no event can say.

    That is "tracks", the kind, pid, tid, name and unit of each that is no plain thread, in the order of their numbers,
    and "flow_names", each text once.
    """
    origin = trace.origin
    tracks = [[t.kind, t.pid, t.tid, t.name, t.unit] for t in trace.tracks if t.kind != "thread"]
    names = [trace.strings[name] for name in flow_names(trace)]
    return {
        "tool": origin.tool,
        "version": origin.version,
        "host": origin.host,
        "process": origin.process,
        "pid": origin.pid,
        "rank": origin.rank,
        "world_size": origin.world_size,
        "trace_id": origin.trace_id,
        "base_ns": origin.base_ns,
        "clocks": origin.clocks._asdict(),
        "session": dict(origin.session),
        "problems": [problem._asdict() for problem in trace.problems],
        **({"tracks": tracks} if tracks else {}),
        **({"flow_names": names} if names else {}),
    }


def flow_names(trace: Trace) -> list[int]:
    """The names of flows: string ids, each once, in the order of the flows."""
    return list(kernels.distinct_ids(trace.flows.name))


def processes(trace: Trace) -> dict[int, str]:
    """Each process's pid and name; an empty cycle is some process's too."""
    origin = trace.origin
    named = {track.pid: track.process for track in trace.tracks}
    return named or {origin.pid: origin.process or f"process {origin.pid}"}
