"""Where a trace was recorded: host, process, rank, and the clocks."""

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

from stepscope.core.clock import read_clocks
from stepscope.core.values import legal_text
from stepscope.model.trace import Origin

__all__ = ["child_name", "origin_here", "rank_here"]

# All ranks of a run need one base, and a double holds a microsecond count exactly only below 2**43: torch counts
# from the last multiple of a quarter of a year, and so do we, so that its traces and ours line up.
BASE_PERIOD_NS = 7_889_238 * 10**9

MAX_RANK = 2**31 - 2
# Launchers and the variables they tell a process its rank and the world's size by.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def rank_here(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """This process's rank and the world's size; (0, 1) where no launcher said."""
    for rank, size in LAUNCHERS:
        text = environ.get(rank, "")
        if text.isdecimal():
            number = min(int(text), MAX_RANK)
            of = environ.get(size, "")
            return number, max(min(int(of), MAX_RANK), number + 1) if of.isdecimal() else number + 1
    return 0, 1


def origin_here(trace_id: str, session: Mapping[str, int | bool], user_metadata: Mapping[str, Any]) -> Origin:
    """The origin of a window that opens now."""
    clocks = read_clocks()
    rank, world_size = rank_here()
    return Origin(
        base_ns=clocks.realtime_ns // BASE_PERIOD_NS * BASE_PERIOD_NS,
        clocks=clocks,
        version=_version(),
        host=_host(),
        process=_process(),
        pid=os.getpid(),
        rank=rank,
        world_size=world_size,
        trace_id=legal_text(trace_id),
        session=session,
        metadata=user_metadata,
    )


def child_name() -> str:
    """What multiprocessing calls this process, such as "ForkPoolWorker-2"; "" if it has not started it."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return ""
    return legal_text(str(process.current_process().name))


def _process() -> str:
    if name := child_name():
        return name
    script = str(sys.argv[0] if sys.argv else "").replace("\\", "/").removesuffix("/__main__.py")
    return legal_text(script.rpartition("/")[2] or "python")


@functools.cache
def _host() -> str:
    import socket

    return legal_text(socket.gethostname())


@functools.cache
def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("stepscope")
    except metadata.PackageNotFoundError:  # run from a source tree
        return ""
