"""Averages: from a million slices to the rows of a table, percentiles included; and torch's way there."""

import contextlib
from collections.abc import Iterator
from typing import Any

from bench.exports import FEWER, MILLION, TORCH, workload
from bench.peers import torch_cpu
from bench.timing import Checked, Contender, Timed

__all__ = ["AVERAGES"]

# Of the workload's ten spans a round.
ROUND = {"batch": 1, "load": 1, "forward": 1, "layer": 4, "backward": 1, "reduce": 1, "optimizer": 1}


def _counts(rows: Any, ops: int) -> Checked:
    """Whether each name has as many calls as were made."""
    found = {row.key: row.count for row in rows if row.key in ROUND}
    ok = found == {name: ops // 10 * count for name, count in ROUND.items()}
    return Checked(ok, f"{sum(found.values()):,} calls in {len(found)} rows")


@contextlib.contextmanager
def _key_averages(ops: int) -> Iterator[Timed]:
    from stepscope import profile, record_function

    with profile() as prof:
        workload(record_function, ops)
    len(prof.trace)  # pairing is the export's
    rows: list[Any] = []

    def run() -> None:
        rows[:] = prof.key_averages()
        for row in rows:
            _ = row.cpu_time_median, row.cpu_time_p95, row.cpu_time_max

    yield Timed(run, check=lambda _: _counts(rows, ops))


@contextlib.contextmanager
def _torch_key_averages(ops: int) -> Iterator[Timed]:
    from torch.profiler import record_function

    with torch_cpu() as prof:
        workload(record_function, ops)
    rows: list[Any] = []

    def run() -> None:
        rows[:] = prof.key_averages()

    yield Timed(run, check=lambda _: _counts(rows, ops))


AVERAGES = (
    Contender("stepscope", _key_averages, MILLION, ours=True),
    Contender("torch key_averages", _torch_key_averages, FEWER, TORCH),
)
