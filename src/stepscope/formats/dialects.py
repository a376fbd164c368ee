"""How the tools that write Chrome JSON spell what they say of a whole trace.

A row a tool. The first one that finds one of its marks among the keys of the file's outer object is the tool's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DIALECTS", "FORMATS_OWN", "Dialect", "dialect_of", "look_up"]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """One tool's way to say where a trace comes from.

    Attributes:
        tool: what Origin.tool says.
        marks: paths of keys that only this tool writes; a file that has one of them is its.
        own: outer keys that are the tool's; all others are the user's metadata.
        version, host, trace_id: paths of texts.
        base_ns, rank, world_size: paths of integers. Times of the file are since base_ns, or since nobody knows when.
        lost: the path of a flag, or of a count, that says that events are missing.
    """

    tool: str
    marks: tuple[Path, ...] = ()
    own: frozenset[str] = frozenset()
    version: Path = ()
    host: Path = ()
    trace_id: Path = ()
    base_ns: Path = ()
    rank: Path = ()
    world_size: Path = ()
    lost: Path = ()


# Keys that the format itself defines.
FORMATS_OWN = frozenset(
    {
        "displayTimeUnit",
        "samples",
        "stackFrames",
        "systemTraceEvents",
        "traceEvents",
        "controllerTraceDataKey",
        "powerTraceAsString",
    }
)

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        tool="torch",
        marks=(("deviceProperties",), ("baseTimeNanoseconds",), ("distributedInfo",)),
        own=frozenset(
            {
                "schemaVersion",
                "deviceProperties",
                "distributedInfo",
                "trace_id",
                "host_name",
                "baseTimeNanoseconds",
                "traceName",
            }
        ),
        version=("torch_version",),
        host=("host_name",),
        trace_id=("trace_id",),
        base_ns=("baseTimeNanoseconds",),
        rank=("distributedInfo", "rank"),
        world_size=("distributedInfo", "world_size"),
    ),
    Dialect(
        tool="viztracer",
        marks=(("viztracer_metadata",),),
        own=frozenset({"viztracer_metadata", "file_info"}),
        version=("viztracer_metadata", "version"),
        base_ns=("viztracer_metadata", "baseTimeNanoseconds"),
        lost=("viztracer_metadata", "overflow"),
    ),
    Dialect(tool="", version=("otherData", "version")),
)


def dialect_of(head: Mapping[str, Any]) -> Dialect:
    """The row of the tool that wrote this."""
    for row in DIALECTS:
        if any(look_up(head, mark) is not None for mark in row.marks):
            return row
    return DIALECTS[-1]


def look_up(head: Any, path: Path) -> Any:
    """What stands at a path of keys; None if nothing does."""
    for key in path:
        head = head.get(key) if isinstance(head, Mapping) else None
    return head if path else None
