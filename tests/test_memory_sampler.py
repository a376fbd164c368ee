"""What the process holds, sampled: counters with units, and the instants that loaders make a memory view of."""

import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from stepscope import Trace, profile, record_function
from stepscope.core.rows import MEMORY_THREAD
from stepscope.record import memory
from stepscope.record.memory import MemorySampler

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc/self/statm")


def values(trace: Trace, name: str) -> list[float]:
    tracks = {number for number, track in enumerate(trace.tracks) if (track.kind, track.name) == ("counter", name)}
    return [value for value, track in zip(trace.counters.value, trace.counters.track, strict=True) if track in tracks]


@linux
def test_what_the_process_takes_more_is_counted(tmp_path: Path) -> None:
    with profile(profile_memory=True) as prof, record_function("allocate"):
        held = bytearray(os.urandom(1 << 20)) * 64
    prof.export_chrome_trace(tmp_path / "memory.json")  # loaded by the trace processor
    prof.export_perfetto_trace(tmp_path / "memory.pftrace")
    del held

    resident = values(prof.trace, "resident memory")
    assert 63 << 20 < resident[-1] - resident[0] < 128 << 20
    assert {track.name: track.unit for track in prof.trace.tracks if track.kind == "counter"} == {
        "resident memory": "bytes",
        "Python heap": "blocks",
    }
    changes = [row.args for row in prof.trace if row.name == "[memory]"]
    assert sum(args["Bytes"] for args in changes) == resident[-1] - resident[0]
    assert changes[-1]["Total Allocated"] == changes[-1]["Total Reserved"] == resident[-1]
    assert {row.cat for row in prof.trace if row.name == "[memory]"} == {"cpu_instant_event"}


@linux
def test_samples_are_taken_while_the_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    third = threading.Event()
    sampled: list[str] = []
    sample = MemorySampler.sample

    def counted(self: MemorySampler) -> None:
        sample(self)
        sampled.append(threading.current_thread().name)
        if sampled.count(MEMORY_THREAD) == 3:
            third.set()

    monkeypatch.setattr(MemorySampler, "sample", counted)
    with profile(profile_memory=True) as prof:
        assert third.wait(30)
    assert MEMORY_THREAD not in {thread.name for thread in threading.enumerate()}
    assert len(values(prof.trace, "resident memory")) == len(sampled) >= 5


def test_what_tracemalloc_counts_is_shown_when_it_runs() -> None:
    tracemalloc.start()
    try:
        with profile(profile_memory=True) as prof:
            held = bytes(1 << 20)
    finally:
        tracemalloc.stop()
    traced = values(prof.trace, "Python heap (traced)")
    assert traced[-1] - traced[0] >= len(held)


def test_a_system_that_does_not_say_is_a_problem_and_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_memory", lambda: (None, lambda: None))
    with profile(profile_memory=True) as prof:
        pass
    assert values(prof.trace, "peak of resident memory")[-1] > 1 << 20
    assert [(problem.kind, problem.example.partition(";")[2]) for problem in prof.trace.problems] == [
        ("memory", " its peak is shown in its place")
    ]

    monkeypatch.setattr(memory, "peak_bytes", lambda: None)
    with profile(profile_memory=True) as prof:
        pass
    assert {track.name for track in prof.trace.tracks} == {"Python heap"}


def test_each_cycle_has_a_thread_and_a_file_of_its_own_and_leaves_neither() -> None:
    open_files = Path("/proc/self/fd")
    for _ in range(3):
        with profile(profile_memory=True):
            pass
    before = len(list(open_files.iterdir())) if open_files.exists() else 0
    for _ in range(20):
        with profile(profile_memory=True):
            pass
    assert MEMORY_THREAD not in {thread.name for thread in threading.enumerate()}
    assert not open_files.exists() or len(list(open_files.iterdir())) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_meanwhile_neither_samples_nor_hangs() -> None:
    with profile(profile_memory=True):
        child = os.fork()
        if child == 0:
            with profile(profile_memory=True) as prof:
                pass
            os._exit(0 if values(prof.trace, "Python heap") else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
