"""Pauses of the garbage collector as slices."""

import gc
import sys
from collections.abc import Callable
from typing import Any

from conftest import row_named
from stepscope import profile, record_function


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def garbage(count: int) -> None:
    for _ in range(count):
        Cycle()


def test_a_collection_is_a_slice_that_says_what_it_found() -> None:
    found: list[int] = []

    def listen(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            found.append(info["collected"])

    gc.disable()
    gc.callbacks.append(listen)
    try:
        with profile(record_gc=True) as prof, record_function("work"):
            garbage(7)
            gc.collect()
            gc.collect(0)
    finally:
        gc.callbacks.remove(listen)
        gc.enable()

    work, whole = row_named(prof.trace, "work"), row_named(prof.trace, "gc of generation 2")
    assert (whole.cat, dict(whole.args)) == ("gc", {"generation": 2, "collected": found[0], "uncollectable": 0})
    assert found[0] >= (7 if sys.version_info >= (3, 11) else 14)  # seven objects, which had dicts before
    assert work.ts <= whole.ts
    assert whole.ts + whole.dur <= work.ts + work.dur
    assert row_named(prof.trace, "gc of generation 0").args["generation"] == 0


def test_nothing_is_left_among_the_callbacks_and_nothing_is_there_unasked() -> None:
    before = [*gc.callbacks]
    with profile(record_gc=True):
        assert len(gc.callbacks) == len(before) + 1
    assert gc.callbacks == before
    with profile():
        assert gc.callbacks == before


def test_a_program_that_clears_the_callbacks_loses_pauses_only() -> None:
    before = [*gc.callbacks]
    with profile(record_gc=True) as prof, record_function("work"):
        gc.callbacks.clear()
    gc.callbacks[:] = before
    assert [row.name for row in prof.trace] == ["work"]


def test_a_profile_that_starts_and_stops_while_the_collector_runs() -> None:
    """A callback of the program's may do so; what is open then is cut, and an end without a begin is nothing."""
    prof = profile(record_gc=True)

    def once(wanted: str, act: Callable[[], Any]) -> None:
        def callback(phase: str, info: dict[str, int]) -> None:
            del info
            if phase == wanted:
                gc.callbacks.remove(callback)
                act()

        gc.callbacks.append(callback)
        gc.collect()

    once("start", prof.start)
    once("start", prof.stop)
    assert [(row.name, row.kind) for row in prof.trace] == [("gc of generation 2", 2)]
