"""Spans of asyncio's tasks: each task has a lane of its own, whatever its thread does meanwhile."""

import asyncio
import contextlib
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from conftest import row_named
from stepscope import flow_end, flow_start, instant, profile, record_function, schedule
from stepscope.model.trace import CUT, SLICE, Trace


def lanes(trace: Trace) -> list[tuple[str, str, str, int, int, int]]:
    """A trace as these tests state it: (kind of track, its name, name, ts, dur, kind), in order of name."""
    return sorted((row.track.kind, row.track.name, row.name, row.ts, row.dur, row.kind) for row in trace)


def named(coroutine: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(coroutine, name=name)


def test_interleaving_tasks_stand_on_their_own_lanes_and_keep_their_children(clock: FakeClock) -> None:
    async def task(first: int) -> None:
        with record_function("outer"):
            clock.now += first
            with record_function("inner"):
                await asyncio.sleep(0)
                clock.now += 10
            clock.now += 100
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(named(task(2), "a"), named(task(3), "b"))

    with profile() as prof, record_function("run"):
        asyncio.run(both())

    assert lanes(prof.trace) == [
        ("task", "a", "inner", 2, 13, SLICE),
        ("task", "a", "outer", 0, 225, SLICE),
        ("task", "b", "inner", 5, 120, SLICE),
        ("task", "b", "outer", 2, 223, SLICE),
        ("thread", "MainThread", "run", 0, 225, SLICE),
    ]
    assert prof.trace.problems == ()


def test_async_with_holds_a_span_as_with_does(clock: FakeClock) -> None:
    async def main() -> None:
        async with record_function("plain") as plain, record_function("more", size=2):
            assert plain is record_function("plain")
            clock.now += 3
            await asyncio.sleep(0)
        with contextlib.suppress(KeyError):
            async with record_function("fails"):
                clock.now += 4
                raise KeyError
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(record_function("stacked"))

    with profile() as prof:
        asyncio.run(main())

    assert [(row.name, row.ts, row.dur, dict(row.args)) for row in prof.trace] == [
        ("plain", 0, 3, {}),
        ("more", 0, 3, {"size": 2}),
        ("fails", 3, 4, {}),
        ("stacked", 7, 0, {}),
    ]


def test_cancelled_and_failing_tasks_end_their_spans(clock: FakeClock) -> None:
    async def waits() -> None:
        with record_function("waits"):
            await asyncio.get_running_loop().create_future()

    async def fails() -> None:
        with record_function("fails"):
            await asyncio.sleep(0)
            clock.now += 5
            raise ValueError

    async def main() -> None:
        waiting = named(waits(), "waiting")
        results = asyncio.gather(waiting, named(fails(), "failing"), return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.now += 7
        waiting.cancel()
        await results

    with profile() as prof:
        asyncio.run(main())

    assert lanes(prof.trace) == [
        ("task", "failing", "fails", 0, 5, SLICE),
        ("task", "waiting", "waits", 0, 12, SLICE),
    ]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has TaskGroup since 3.11")
def test_a_task_group_that_is_torn_down_ends_the_spans_of_all_its_tasks(clock: FakeClock) -> None:
    async def waits() -> None:
        async with record_function("waits"):
            await asyncio.sleep(3600)

    async def fails() -> None:
        with record_function("fails"):
            await asyncio.sleep(0)
            clock.now += 5
            raise ValueError

    async def main() -> None:
        with record_function("group"), contextlib.suppress(BaseExceptionGroup):  # type: ignore[name-defined,unused-ignore] # noqa: F821
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
                group.create_task(waits(), name="waiting")
                group.create_task(fails(), name="failing")

    with profile() as prof:
        asyncio.run(main())

    found = lanes(prof.trace)
    assert [row[1:] for row in found if row[2] != "group"] == [
        ("failing", "fails", 0, 5, SLICE),
        ("waiting", "waits", 0, 5, SLICE),
    ]
    assert row_named(prof.trace, "group").dur == 5
    assert prof.trace.problems == ()


@pytest.mark.parametrize("kwargs", [{}, {"size": 1}], ids=["plain", "with arguments"])
def test_a_span_ended_in_another_task_is_whole_and_stands_where_it_began(
    clock: FakeClock, kwargs: dict[str, int]
) -> None:
    span = record_function("handed over", **kwargs)

    async def begins() -> None:
        span.__enter__()
        clock.now += 1

    async def ends() -> None:
        with record_function("other"):
            clock.now += 2
            span.__exit__(None, None, None)
            clock.now += 4

    async def main() -> None:
        await named(begins(), "first")
        gc.collect()
        await named(ends(), "second")

    with profile() as prof:
        asyncio.run(main())

    assert lanes(prof.trace) == [
        ("task", "first", "handed over", 0, 3, SLICE),
        ("task", "second", "other", 1, 6, SLICE),
    ]


def test_a_task_ends_its_own_span_not_the_one_of_that_name_that_began_last(clock: FakeClock) -> None:
    async def task(turns: int) -> None:
        with record_function("same"):
            for _ in range(turns):
                clock.now += 1
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(named(task(1), "a"), named(task(3), "b"), named(task(2), "c"))

    with profile() as prof:
        asyncio.run(main())

    assert lanes(prof.trace) == [
        ("task", "a", "same", 0, 3, SLICE),
        ("task", "b", "same", 1, 5, SLICE),
        ("task", "c", "same", 2, 4, SLICE),
    ]


def test_a_span_of_a_task_that_no_window_sees_whole_is_cut_on_its_lane(clock: FakeClock) -> None:
    gates: dict[str, asyncio.Event] = {}

    async def task(name: str) -> None:
        gates[name] = asyncio.Event()
        with record_function("held"), record_function("args", of=name):
            await gates[name].wait()
            clock.now += 3

    async def main() -> profile:
        early, late = named(task("early"), "early"), named(task("late"), "late")
        await asyncio.sleep(0)
        clock.at(10)
        with profile() as prof:
            clock.at(20)
            gates["early"].set()
            await early
            clock.at(30)
        gates["late"].set()
        await late
        return prof

    trace = asyncio.run(main()).trace

    assert lanes(trace) == [
        ("task", "early", "args", 10, 13, SLICE | CUT),
        ("task", "early", "held", 10, 13, SLICE | CUT),
        ("task", "late", "args", 10, 20, SLICE | CUT),
        ("task", "late", "held", 10, 20, SLICE | CUT),
    ]
    assert {row.args["of"] for row in trace if row.name == "args"} == {"early", "late"}


def test_loops_in_several_threads_do_not_mix_their_tasks() -> None:
    meet = threading.Barrier(3, timeout=30)

    async def task() -> None:
        with record_function("outer"):
            await asyncio.sleep(0)
            meet.wait()  # all threads are in a step of a task now
            with record_function("inner"):
                await asyncio.sleep(0)

    async def main(name: str) -> None:
        await named(task(), name)

    def run(name: str) -> None:
        with record_function("thread"):
            asyncio.run(main(name))

    with profile() as prof:
        threads = [threading.Thread(target=run, args=(f"task {n}",), name=f"thread {n}") for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [row[:3] for row in lanes(prof.trace)] == [
        *(("task", f"task {n}", name) for n in range(3) for name in ("inner", "outer")),
        *(("thread", f"thread {n}", "thread") for n in range(3)),
    ]
    assert prof.trace.problems == ()


def test_what_a_task_hands_to_another_thread_stands_on_that_thread() -> None:
    def work() -> None:
        with record_function("work"):
            pass

    async def main() -> None:
        with record_function("held"):
            await asyncio.to_thread(work)
            contextvars.copy_context().run(work)

    with profile() as prof:
        asyncio.run(main())

    assert sorted((row.track.kind, row.name) for row in prof.trace) == [
        ("task", "held"),
        ("task", "work"),
        ("thread", "work"),
    ]


def test_callbacks_of_a_loop_stand_on_the_thread_itself() -> None:
    def callback() -> None:
        with record_function("callback"):
            pass

    async def main() -> None:
        with record_function("held"):
            asyncio.get_running_loop().call_soon(callback)
            await asyncio.sleep(0)

    with profile() as prof:
        asyncio.run(main())
        with record_function("after"):
            pass

    assert sorted((row.track.kind, row.name) for row in prof.trace) == [
        ("task", "held"),
        ("thread", "after"),
        ("thread", "callback"),
    ]


def test_an_async_generators_span_stands_on_the_lane_of_the_task_that_runs_it(clock: FakeClock) -> None:
    @record_function("stream")
    async def stream() -> AsyncIterator[int]:
        clock.now += 1
        yield 1
        clock.now += 1

    async def consume() -> None:
        async for _ in stream():
            clock.now += 10

    async def main() -> None:
        await asyncio.gather(named(consume(), "a"), named(consume(), "b"))

    with profile() as prof:
        asyncio.run(main())

    assert lanes(prof.trace) == [
        ("task", "a", "stream", 0, 1, SLICE),
        ("task", "a", "stream", 11, 1, SLICE),
        ("task", "b", "stream", 12, 1, SLICE),
        ("task", "b", "stream", 23, 1, SLICE),
    ]


def test_instants_and_flows_stand_on_the_lane_and_counters_are_the_processs(clock: FakeClock) -> None:
    async def sends() -> int:
        instant("sent", size=1)
        return flow_start("message")

    async def main() -> None:
        flow = await named(sends(), "sender")
        clock.now += 1
        with record_function("receive"):
            flow_end(flow)

    with profile() as prof:
        asyncio.run(main())

    assert [(row.name, row.track.name == "sender", row.track.kind) for row in prof.trace] == [
        ("sent", True, "task"),
        ("message", True, "task"),
        ("receive", False, "task"),
        ("message", False, "task"),
    ]
    assert len(prof.trace.flows.name) == 1


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_a_step_that_a_task_begins_is_around_the_spans_of_that_task(clock: FakeClock) -> None:
    async def train() -> Trace:
        with profile(schedule=schedule(wait=0, warmup=0, active=2, repeat=1)) as prof:
            for _ in range(2):
                with record_function("batch"):
                    clock.now += 5
                    await asyncio.sleep(0)
                prof.step()
        return prof.trace

    async def main() -> Trace:
        trace: Trace = await named(train(), "training")
        return trace

    assert lanes(asyncio.run(main())) == [
        ("task", "training", "ProfilerStep#0", 0, 5, SLICE),
        ("task", "training", "ProfilerStep#1", 5, 5, SLICE),
        ("task", "training", "batch", 0, 5, SLICE),
        ("task", "training", "batch", 5, 5, SLICE),
    ]


def test_a_lane_is_called_as_its_task_is_in_the_end() -> None:
    async def renames() -> None:
        with record_function("work"):
            task = asyncio.current_task()
            assert task is not None
            task.set_name("renamed")
            await asyncio.sleep(0)

    async def main() -> None:
        await named(renames(), "before")
        later = named(renames(), "before")
        await later

    with profile() as prof:
        asyncio.run(main())

    assert {row.track.name for row in prof.trace} == {"renamed"}


def test_a_long_name_is_cut_and_a_class_that_fails_to_say_one_costs_nothing() -> None:
    class Nameless(asyncio.Task[Any]):
        def get_name(self) -> str:
            raise RuntimeError

    async def work() -> None:
        with record_function("work"):
            await asyncio.sleep(0)

    async def main() -> None:
        await named(work(), "x" * 5000)
        await Nameless(work(), loop=asyncio.get_running_loop())

    with profile() as prof:
        asyncio.run(main())

    first, second = prof.trace
    assert first.track.name == "x" * 197 + "..."
    assert (second.track.kind, second.track.name) == ("task", "task")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks since 3.12")
def test_an_eager_tasks_first_step_stands_on_its_own_lane(clock: FakeClock) -> None:
    async def work() -> None:
        with record_function("work"):
            clock.now += 2
            await asyncio.sleep(0)
            clock.now += 2

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        with record_function("around"):
            clock.now += 1
            eager = named(work(), "eager")
            clock.now += 1
            with record_function("meanwhile"):
                clock.now += 1
        await eager

    with profile() as prof:
        asyncio.run(main())

    assert [(row.name, row.track.name == "eager", row.ts, row.dur) for row in prof.trace] == [
        ("around", False, 0, 5),
        ("work", True, 1, 6),
        ("meanwhile", False, 4, 1),
    ]
    assert prof.trace.problems == ()


def test_no_task_is_kept_alive_and_thousands_leave_no_lanes_behind() -> None:
    alive: list[int] = []
    tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    async def work() -> None:
        with record_function("work"):
            await asyncio.sleep(0)

    async def main() -> None:
        for _ in range(2000):
            task = asyncio.get_running_loop().create_task(work())
            tasks.add(task)
            await task
            del task
        gc.collect()
        alive.append(len(tasks))

    with profile() as prof:
        asyncio.run(main())

    assert alive[0] <= 1  # asyncio itself has the last one
    assert len(prof.trace) == 2000
    assert [(track.kind, track.name) for track in prof.trace.tracks] == [("task", "Task-*")]
    assert prof.trace[0].args["Task name"] != prof.trace[1].args["Task name"]


def test_tasks_of_one_name_that_follow_one_another_share_a_lane_and_others_do_not(clock: FakeClock) -> None:
    async def work() -> None:
        with record_function("work"):
            await asyncio.sleep(0)
            clock.now += 1

    async def main() -> None:
        await named(work(), "fetch")
        clock.now += 1
        await asyncio.gather(named(work(), "fetch"), named(work(), "fetch"))

    with profile() as prof:
        asyncio.run(main())

    assert [(row.track.name, row.track.tid, row.ts, row.dur, dict(row.args)) for row in prof.trace] == [
        ("fetch", 1 << 30, 0, 1, {}),
        ("fetch", (1 << 30) + 1, 2, 2, {}),
        ("fetch", 1 << 30, 2, 1, {}),
    ]


def test_with_the_ring_a_span_keeps_its_lane_when_the_records_before_it_give_way(clock: FakeClock) -> None:
    async def holds() -> None:
        with record_function("held"):
            await asyncio.sleep(0)
            for _ in range(4000):
                clock.now += 1
                instant("beat")

    async def other() -> None:
        with record_function("held"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(named(holds(), "holder"), named(other(), "other"))

    with profile(buffer_bytes=1 << 16, buffer_policy="ring") as prof:
        asyncio.run(main())

    held = [row for row in prof.trace if row.name == "held"]
    assert [(row.track.name, row.ts, row.dur) for row in held if row.track.name == "holder"] == [("holder", 0, 4000)]
    assert {row.track.name for row in prof.trace if row.name == "beat"} == {"holder"}
    assert [problem.kind for problem in prof.trace.problems] == ["dropped"]


def test_asyncio_imported_late_is_found(tmp_path: Path) -> None:
    program = """
import sys
from stepscope import profile, record_function
with record_function("early"):
    pass
assert "asyncio" not in sys.modules
with profile(record_tasks=True) as prof:
    import asyncio
    async def main():
        with record_function("held"):
            await asyncio.sleep(0)
    asyncio.run(main())
print([(row.track.kind, row.name) for row in prof.trace])
print(asyncio.events.Handle._run.__module__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    found, restored = done.stdout.splitlines()
    assert found == "[('task', 'held'), ('thread', 'Task-1'), ('thread', 'Task-2'), ('thread', 'Task-3')]"
    assert restored == "asyncio.events"


def test_what_finds_no_room_in_a_task_is_dropped_and_counted_once(clock: FakeClock) -> None:
    async def beats() -> None:
        for _ in range(3000):
            clock.now += 1
            instant("beat")
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(named(beats(), "a"), named(beats(), "b"))

    with profile(buffer_bytes=1 << 16) as prof:
        asyncio.run(main())

    dropped = [problem.count for problem in prof.trace.problems if problem.kind == "dropped"]
    assert len(prof.trace) + sum(dropped) == 6000
    assert dropped
    assert {row.track.name for row in prof.trace} == {"a", "b"}
    alternating = [row.track.name for row in prof.trace]
    assert alternating == ["a", "b"] * (len(prof.trace) // 2) + ["a"] * (len(prof.trace) % 2)
