"""Which task ran when: a slice on the thread's own track for each step of a task."""

import asyncio
import contextlib
import subprocess
import sys
from asyncio.events import Handle
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from conftest import row_named
from stepscope import profile, record_function
from stepscope.model.trace import CUT, SLICE, Trace
from stepscope.record.steps import CATEGORY


def steps(trace: Trace) -> list[tuple[str, int, int, int]]:
    """(task, ts, dur, kind) of each step."""
    assert {row.track.kind for row in trace if row.cat == CATEGORY} <= {"thread"}
    return [(row.name, row.ts, row.dur, row.kind) for row in trace if row.cat == CATEGORY]


async def named(*coroutines: tuple[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.create_task(coroutine, name=name) for name, coroutine in coroutines))


def test_each_stretch_of_a_task_from_await_to_await_is_a_slice_of_its_thread(clock: FakeClock) -> None:
    async def task(first: int, then: int) -> None:
        with record_function("held"):
            clock.now += first
            await asyncio.sleep(0)
            clock.now += then

    with profile(record_tasks=True) as prof, record_function("run"):
        asyncio.run(named(("a", task(1, 10)), ("b", task(2, 20))))

    assert [row for row in steps(prof.trace) if row[0] in "ab"] == [
        ("a", 0, 1, SLICE),
        ("b", 1, 2, SLICE),
        ("a", 3, 10, SLICE),
        ("b", 13, 20, SLICE),
    ]
    run = row_named(prof.trace, "run")
    assert all(run.ts <= row.ts and row.ts + row.dur <= run.ts + run.dur for row in prof.trace)
    assert prof.trace.problems == ()


def test_a_task_without_spans_shows_its_steps_and_one_that_fails_does_too(clock: FakeClock) -> None:
    async def fails() -> None:
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2
        raise ValueError

    with profile(record_tasks=True) as prof, contextlib.suppress(ValueError):
        asyncio.run(named(("failing", fails())))

    assert [row for row in steps(prof.trace) if row[0] == "failing"] == [
        ("failing", 0, 1, SLICE),
        ("failing", 1, 2, SLICE),
    ]


def test_a_step_that_is_running_when_the_window_ends_is_cut(clock: FakeClock) -> None:
    async def main() -> Trace:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("main")
        with profile(record_tasks=True) as prof:
            await asyncio.sleep(0)
            clock.now += 3
        clock.now += 4
        return prof.trace

    assert [row for row in steps(asyncio.run(main())) if row[0] == "main"] == [("main", 0, 3, SLICE | CUT)]


def test_callbacks_that_are_no_steps_show_none() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("main")
        asyncio.get_running_loop().call_soon(task.get_name)  # a method of a task, but no step of it
        with record_function("held"):
            await asyncio.sleep(0)

    with profile(record_tasks=True) as prof:
        asyncio.run(main())

    assert [name for name, *_ in steps(prof.trace) if name == "main"] == ["main"]  # its second step


def test_the_handle_is_as_it_was_when_nothing_is_recorded() -> None:
    before = vars(Handle)["_run"]
    with profile(record_tasks=True):
        assert vars(Handle)["_run"] is not before
    assert vars(Handle)["_run"] is before
    with profile():
        assert vars(Handle)["_run"] is before


def test_who_replaces_the_handle_meanwhile_keeps_it_and_loses_nothing() -> None:
    before = vars(Handle)["_run"]
    seen: list[int] = []
    prof = profile(record_tasks=True)
    prof.start()
    ours = vars(Handle)["_run"]

    def theirs(handle: Any) -> None:
        seen.append(1)
        ours(handle)

    Handle._run = theirs  # type: ignore[method-assign,assignment] # noqa: SLF001
    try:
        prof.stop()
        assert vars(Handle)["_run"] is theirs
        asyncio.run(asyncio.sleep(0))
        assert seen
    finally:
        Handle._run = before  # type: ignore[method-assign] # noqa: SLF001


def test_a_span_has_the_cpu_time_of_its_own_task_only() -> None:
    def burn(rounds: int) -> int:
        return sum(range(rounds))

    async def held() -> None:
        with record_function("held"):
            await asyncio.sleep(0)
            burn(1000)
            await asyncio.sleep(0)

    async def burns() -> None:
        await asyncio.sleep(0)
        burn(3_000_000)
        with record_function("burns"):
            burn(3_000_000)

    with profile(with_cpu_time=True) as prof:
        asyncio.run(named(("held", held()), ("burning", burns())))

    spent = {row.name: row.args["thread_time_ns"] for row in prof.trace}
    assert row_named(prof.trace, "held").dur > spent["burns"]
    assert 0 < spent["held"] < spent["burns"] / 4
    assert steps(prof.trace) == []


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there")
def test_uvloops_tasks_have_lanes_and_the_trace_says_that_their_steps_are_not_seen(clock: FakeClock) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def task(first: int) -> None:
        with record_function("held"):
            clock.now += first
            await asyncio.sleep(0)
            clock.now += 10

    async def both() -> None:
        await named(("a", task(1)), ("b", task(2)))

    with profile(record_tasks=True) as prof:
        loop = uvloop.new_event_loop()
        loop.run_until_complete(both())
        loop.close()

    assert [(row.track.kind, row.track.name, row.ts, row.dur) for row in prof.trace] == [
        ("task", "a", 0, 13),
        ("task", "b", 1, 22),
    ]
    assert [problem.kind for problem in prof.trace.problems] == ["steps"]


SILENT = """
import asyncio, asyncio.tasks, sys
if sys.argv[1] == "removed":
    del asyncio.tasks._current_tasks
else:
    asyncio.tasks._current_tasks = {}  # which the tasks in C do not know
from stepscope import profile, record_function
async def fetch():
    with record_function("fetch"):
        await asyncio.sleep(0)
async def main():
    await asyncio.gather(*(asyncio.create_task(fetch(), name=name) for name in "ab"))
with profile(record_tasks="steps" in sys.argv) as prof:
    asyncio.run(main())
print(*sorted({row.track.name for row in prof.trace if row.name == "fetch"}))
print(*(problem.kind for problem in prof.trace.problems))
print([problem.example for problem in prof.trace.problems if problem.kind == "tasks"])
"""


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_where_asyncio_does_not_say_which_task_runs_the_trace_does_or_the_steps_tell(how: str) -> None:
    shown = []
    for options in ((), ("steps",)):
        command = [sys.executable, "-c", SILENT, how, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        shown.append(done.stdout.splitlines())

    track, kinds, examples = shown[0]
    assert track == "MainThread"
    assert "tasks" in kinds.split()
    assert "record_tasks=True has them on lanes of their own" in examples
    assert shown[1] == ["a b", "", "[]"]


def test_both_files_show_lanes_and_steps_alike(tmp_path: Path) -> None:
    async def task(name: str) -> None:
        async with record_function("held", of=name):
            await asyncio.sleep(0)
            with record_function("inside"):
                await asyncio.sleep(0)

    with profile(record_tasks=True) as prof:
        asyncio.run(named(("a", task("a")), ("b", task("b")), ("b", task("c"))))
    prof.export_chrome_trace(tmp_path / "tasks.json")  # each is loaded, row by row
    prof.export_perfetto_trace(tmp_path / "tasks.pftrace")

    assert {track.name for track in prof.trace.tracks if track.kind == "task"} == {"a", "b"}
