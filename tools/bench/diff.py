"""Diff: two traces of a million slices, the same and with every name changed, and one verdict."""

import contextlib
from collections.abc import Iterator
from typing import Any

from bench.exports import MILLION, workload
from bench.timing import Checked, Contender, Timed

__all__ = ["DIFF_CHANGED", "DIFF_SAME"]


def _recorded(ops: int, prefix: str) -> Any:
    """A trace of the workload, its names behind a prefix."""
    from stepscope import profile, record_function

    with profile() as prof:
        workload(lambda name, *args: record_function(prefix + name, *args), ops)
    return prof.trace


def _found(found: Any, changed: bool) -> Checked:
    """Whether the verdict is the right one."""
    ok = {*found.counts} == ({"added", "removed"} if changed else set())
    return Checked(ok, f"{found.verdict}: {found.counts}")


def _diff(ops: int, *, changed: bool) -> Iterator[Timed]:
    from stepscope import diff

    base, head = _recorded(ops, ""), _recorded(ops, "new " if changed else "")
    found: list[Any] = []

    def run() -> None:
        # Times are compared, and those of a busy machine are no findings.
        found[:] = [diff(base, head, ratio=1e6, outlier_ratio=1e6)]

    yield Timed(run, check=lambda _: _found(found[0], changed))


@contextlib.contextmanager
def _same(ops: int) -> Iterator[Timed]:
    yield from _diff(ops, changed=False)


@contextlib.contextmanager
def _changed(ops: int) -> Iterator[Timed]:
    yield from _diff(ops, changed=True)


DIFF_SAME = (Contender("stepscope", _same, MILLION, ours=True),)
DIFF_CHANGED = (Contender("stepscope", _changed, MILLION, ours=True),)
