"""trio's tasks on lanes of their own; skipped where trio is not installed."""

import itertools
from collections import Counter

import pytest

from clock import FakeClock
from stepscope import profile, record_function
from stepscope.model.trace import Trace

trio = pytest.importorskip("trio")


def record(clock: FakeClock, *, steps: bool) -> Trace:
    """Two tasks that take turns, in an order that trio draws."""
    from stepscope.integrations.trio import TaskLanes

    async def task() -> None:
        with record_function("outer"):
            clock.now += 1
            with record_function("inner"):
                await trio.lowlevel.checkpoint()
                clock.now += 10
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with record_function("all"), trio.open_nursery() as nursery:
            nursery.start_soon(task, name="a")
            nursery.start_soon(task, name="b")

    with profile() as prof, record_function("run"):
        trio.run(main, instruments=[TaskLanes(steps=steps)])
    return prof.trace


def test_each_task_has_a_lane_and_keeps_its_children(clock: FakeClock) -> None:
    trace = record(clock, steps=False)

    places = Counter((row.track.kind, row.track.name, row.name) for row in trace if row.name != "all")
    assert places == {
        ("thread", "MainThread", "run"): 1,
        **{("task", task, name): 1 for task in "ab" for name in ("outer", "inner")},
    }
    assert {row.track.kind for row in trace if row.name == "all"} == {"task"}
    assert trace.problems == ()


def test_steps_show_which_task_ran_when(clock: FakeClock) -> None:
    trace = record(clock, steps=True)

    steps = [row for row in trace if row.cat == "task_step"]
    assert {row.track.name for row in steps} == {"MainThread"}
    assert sorted((row.name, row.dur) for row in steps if row.name in "ab") == [
        *(("a", ns) for ns in (0, 1, 10)),
        *(("b", ns) for ns in (0, 1, 10)),
    ]
    times = [(row.ts, row.ts + row.dur) for row in steps if row.dur]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    assert trace.problems == ()
