"""Scopes of instants: those that are no thread's stand on tracks of their own, in both files."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from law import assert_file_is
from stepscope import Trace, instant, profile, read, record_function, write
from stepscope.model.trace import INSTANT

Where = tuple[str, str, str, int]


def instants(trace: Trace) -> list[Where]:
    """(name, kind and name of the track, ts) of each instant."""
    return [(row.name, row.track.kind, row.track.name, row.ts) for row in trace if row.kind == INSTANT]


def test_an_instant_of_the_process_or_of_all_is_of_no_thread(clock: FakeClock) -> None:
    with profile() as prof, record_function("around"):
        for scope in ("thread", "process", "global"):
            clock.now += 1
            instant(f"of {scope}", scope=scope, key=scope)
        clock.now += 1
        instant("of the thread", key="none")

    assert instants(prof.trace) == [
        ("of thread", "thread", "MainThread", 1),
        ("of process", "process", "process instants", 2),
        ("of global", "global", "global instants", 3),
        ("of the thread", "thread", "MainThread", 4),
    ]
    said = {row.name: (row.args, row.cat, row.site) for row in prof.trace if row.kind == INSTANT}
    assert said["of process"] == ({"key": "process"}, "user_annotation", "")
    assert said["of thread"] == ({"key": "thread"}, "user_annotation", "")
    assert prof.trace.problems == ()


def test_instants_of_all_threads_and_tasks_share_the_processs_track(clock: FakeClock) -> None:
    async def task() -> None:
        async with record_function("held"):
            instant("in a task", scope="process")

    def thread() -> None:
        instant("in a thread", scope="process")

    with profile() as prof:
        asyncio.run(task())
        clock.now += 1
        other = threading.Thread(target=thread)
        other.start()
        other.join()

    assert [row[:3] for row in instants(prof.trace)] == [
        ("in a task", "process", "process instants"),
        ("in a thread", "process", "process instants"),
    ]
    assert [track.kind for track in prof.trace.tracks].count("process") == 1


def test_both_files_have_them_and_give_them_back(tmp_path: Path, clock: FakeClock) -> None:
    with profile(record_stacks=True) as prof:
        clock.now += 5
        instant("of process", scope="process", shape=[1, 2])
        clock.now += 5
        instant("of global", {"scope": "an argument"}, scope="global")

    for name in ("run.pftrace", "run.pt.trace.json"):
        path = write(prof.trace, tmp_path / name)
        assert read(path) == prof.trace
        assert_file_is(prof.trace, path)
    assert {row.name: row.args.get("scope", "") for row in prof.trace} == {"of process": "", "of global": "an argument"}
    assert all("test_scopes.py" in row.args["Call stack"].partition(";")[0] for row in prof.trace)


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("scope", ["Process", "", None, 1, ["process"]])
def test_a_scope_that_is_none_is_an_error_that_names_those_there_are(scope: Any, recording: bool) -> None:
    prof = profile()
    if recording:
        prof.start()
    with pytest.raises(ValueError, match=r"instant\('x'\): scope must be one of 'thread', 'process', 'global', got "):
        instant("x", scope=scope)
    if recording:
        prof.stop()
        assert len(prof.trace) == 0


def test_any_object_is_a_legal_argument_there_too() -> None:
    with profile() as prof:
        instant("of process", "text", scope="process", more={1: object})

    (row,) = prof.trace
    assert row.args == {"args": "text", "more": {"1": str(object)}}


def test_where_nothing_is_recorded_a_scope_costs_nothing_more() -> None:
    instant("before", scope="process")
    with profile() as prof:
        pass
    assert len(prof.trace) == 0
