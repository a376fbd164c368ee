"""What Perfetto itself says of a trace file.

    from stepscope.check import check, open_trace, rows

    report = check("run.pftrace")                # loads it, counts, and names what went wrong
    with open_trace("run.json.gz") as trace:     # perfetto's own client: trace.query(sql)
        rows(trace, "SELECT name, ts, dur FROM slice")

The trace processor behind ui.perfetto.dev reads the file, so a test can ask whether it opens there.
`pip install stepscope[engine]` brings an engine that runs in this process, without the network.
"""

from stepscope.check.client import RefusedError, rows, table
from stepscope.check.engines import ENGINES, Engine, engine_or_none, find_engine, open_trace
from stepscope.check.lint import Finding, Lint, lint
from stepscope.check.packet_rules import PACKET_RULES, PacketRule
from stepscope.check.report import HARMLESS_STATS, Report, check
from stepscope.check.rules import LEVELS

__all__ = [
    "check",
    "open_trace",
    "rows",
    "table",
    "lint",
    "find_engine",
    "engine_or_none",
    "Engine",
    "Finding",
    "Lint",
    "PacketRule",
    "RefusedError",
    "Report",
    "ENGINES",
    "HARMLESS_STATS",
    "LEVELS",
    "PACKET_RULES",
]
