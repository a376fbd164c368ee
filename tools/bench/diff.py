"""Diff: two traces and one verdict. The same, and with every name changed; then what is worst: something at each slice.

The worst cases have 100,000 slices a side: as many arguments that differ, names that only one side has, and siblings of
one step that all have new names.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from bench.exports import MILLION, workload
from bench.timing import Checked, Contender, Timed

__all__ = ["DIFF_ARGS", "DIFF_CHANGED", "DIFF_GONE", "DIFF_SAME", "DIFF_SIBLINGS"]

MANY = 100_000
STEP = 100


def _recorded(ops: int, prefix: str) -> Any:
    """A trace of the workload, its names behind a prefix."""
    from stepscope import profile, record_function

    with profile() as prof:
        workload(lambda name, *args: record_function(prefix + name, *args), ops)
    return prof.trace


def _steps(ops: int, span: Callable[[int], Any], in_step: int) -> Any:
    """A trace of so many slices in steps."""
    from stepscope import ProfilerAction, profile

    with profile(schedule=lambda _: ProfilerAction.RECORD) as prof:
        for number in range(ops):
            with span(number):
                pass
            if number % in_step == in_step - 1:
                prof.step()
    return prof.trace


def _found(found: Any, kinds: set[str]) -> Checked:
    """Whether the verdict is the right one."""
    return Checked({*found.counts} == kinds, f"{found.verdict}: {found.counts}")


def _diff(base: Any, head: Any, *kinds: str) -> Iterator[Timed]:
    from stepscope import diff

    found: list[Any] = []

    def run() -> None:
        # Times are compared, and those of a busy machine are no findings.
        found[:] = [diff(base, head, ratio=1e6, outlier_ratio=1e6)]

    yield Timed(run, check=lambda _: _found(found[0], {*kinds}))


@contextlib.contextmanager
def _same(ops: int) -> Iterator[Timed]:
    yield from _diff(_recorded(ops, ""), _recorded(ops, ""))


@contextlib.contextmanager
def _changed(ops: int) -> Iterator[Timed]:
    yield from _diff(_recorded(ops, ""), _recorded(ops, "new "), "added", "removed")


@contextlib.contextmanager
def _args(ops: int) -> Iterator[Timed]:
    from stepscope import record_function

    base = _steps(ops, lambda number: record_function(f"op {number % STEP}", at=number), STEP)
    head = _steps(ops, lambda number: record_function(f"op {number % STEP}", at=ops + number), STEP)
    yield from _diff(base, head, "args")


@contextlib.contextmanager
def _gone(ops: int) -> Iterator[Timed]:
    from stepscope import record_function

    base = _steps(ops, lambda number: record_function(f"op {number}"), STEP)
    head = _steps(ops, lambda number: record_function(f"new op {number}", new=True), STEP)
    yield from _diff(base, head, "added", "removed")


@contextlib.contextmanager
def _siblings(ops: int) -> Iterator[Timed]:
    from stepscope import record_function

    base = _steps(ops, lambda number: record_function(f"op {number}"), ops)
    head = _steps(ops, lambda number: record_function(f"new op {number}"), ops)
    yield from _diff(base, head, "renamed")


DIFF_SAME = (Contender("stepscope", _same, MILLION, ours=True),)
DIFF_ARGS, DIFF_GONE, DIFF_SIBLINGS = (
    (Contender("stepscope", case, MANY, ours=True),) for case in (_args, _gone, _siblings)
)
DIFF_CHANGED = (Contender("stepscope", _changed, MILLION, ours=True),)
