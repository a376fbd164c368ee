"""What a device says of its work: torch's EventMetadata, read from the arguments that kineto's files bear."""

from collections import namedtuple
from collections.abc import Mapping
from typing import Any

__all__ = ["EventMetadata", "metadata_in"]

# Field -> what kineto calls it in files.
_NAMES = {
    "registers_per_thread": "registers per thread",
    "shared_memory": "shared memory",
    "grid": "grid",
    "block": "block",
    "priority": "priority",
    "blocks_per_sm": "blocks per SM",
    "warps_per_sm": "warps per SM",
    "occupancy": "occupancy",
    "est_occupancy_pct": "est. achieved occupancy %",
    "queued": "queued",
    "graph_id": "graph id",
    "graph_node_id": "graph node id",
    "stream": "stream",
    "context": "context",
    "channel": "channel",
    "channel_type": "channel_type",
    "bytes": "bytes",
    "bandwidth_gb_s": "memory bandwidth (GB/s)",
    "collective_name": "Collective name",
    "dtype": "dtype",
    "in_msg_nelems": "In msg nelems",
    "out_msg_nelems": "Out msg nelems",
    "in_split_size": "In split size",
    "out_split_size": "Out split size",
    "global_rank_start": "Global rank start",
    "global_rank_stride": "Global rank stride",
    "group_size": "Group size",
    "process_group_name": "Process Group Name",
    "process_group_desc": "Process Group Description",
    "group_ranks": "Process Group Ranks",
    "rank": "Rank",
    "src_rank": "Src Rank",
    "dst_rank": "Dst Rank",
    "seq": "Seq",
    "is_async": "Is asynchronized op",
}

EventMetadata: Any = namedtuple("EventMetadata", tuple(_NAMES))  # type: ignore[misc] # its fields are the table's


def metadata_in(args: Mapping[str, Any]) -> Any:
    """The fields that arguments have, None for the others; None if they have none."""
    values = [args.get(name) for name in _NAMES.values()]
    return None if all(value is None for value in values) else EventMetadata(*values)
