"""Everything that can be recorded, at once, in one program: what is in its traces, the same in both files."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from law import assert_file_is
from programs import EVERYTHING
from stepscope import Trace, read
from stepscope.check import engine_or_none
from stepscope.core.rows import THREAD_TIME
from stepscope.core.stacks import CALL_STACK
from stepscope.model.nesting import nest


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """The traces of the program's two processes, by process."""
    folder = tmp_path_factory.mktemp("everything")
    script = folder / "everything.py"
    script.write_text(EVERYTHING)
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(script), str(folder / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = {}
    for path in sorted((folder / "log").glob("*.pftrace")):
        trace = read(path)
        assert read(Path(str(path).replace(".pftrace", ".pt.trace.json"))) == trace
        if engine_or_none(download=False):
            assert_file_is(trace, path)
            assert_file_is(trace, Path(str(path).replace(".pftrace", ".pt.trace.json")))
        found["child" if "Process-" in trace.origin.process else "parent"] = trace
    return found


def named(trace: Trace, category: str) -> Counter[str]:
    return Counter(row.name for row in trace if row.cat == category)


def test_all_of_it_is_there(traces: dict[str, Trace]) -> None:
    trace = traces["parent"]

    annotations = {"fetch": 6, "parse": 6, "load": 2, "forward": 2, "collected": 2, "batch": 4}
    assert named(trace, "user_annotation") == {"ProfilerStep#1": 1, "ProfilerStep#2": 1, **annotations}
    assert named(trace, "cpu_op") == {"mm": 2}
    assert named(trace, "kernel") == {"mm_kernel": 2}
    assert named(trace, "gc")["gc of generation 2"] >= 2
    assert named(trace, "python_function")["fetch"] >= 12
    assert sum(named(trace, "task_step").values()) >= 12
    assert {track.kind for track in trace.tracks} >= {"thread", "task", "device", "counter"}
    assert {"resident memory", "Python heap", "loss"} <= {
        track.name for track in trace.tracks if track.kind == "counter"
    }
    assert len(trace.flows.name) == 4  # a batch and a launch in each step
    forward = next(row for row in trace if row.name == "forward")
    assert forward.args["batch_size"] == 32
    assert {THREAD_TIME, CALL_STACK} <= set(forward.args)
    assert {row.args["step"] for row in trace if row.name.startswith("ProfilerStep#")} == {1, 2}


def test_the_child_process_has_recorded_in_the_same_cycle(traces: dict[str, Trace]) -> None:
    child, parent = traces["child"], traces["parent"]
    assert child.origin.trace_id == parent.origin.trace_id
    assert child.origin.base_ns == parent.origin.base_ns
    assert named(child, "user_annotation")["decode"] == 4  # two in each of the two steps


def test_calls_spans_and_operators_nest_and_no_step_is_lost(traces: dict[str, Trace]) -> None:
    trace = traces["parent"]
    # Before Python 3.12 the Python core cannot see into threads that are there already: the sampler's, the pool's.
    assert {problem.kind for problem in trace.problems} <= {"cut", "unseen"}
    parents = nest(trace).parent
    around = {(row.cat, row.name): trace[parents[at]] for at, row in enumerate(trace) if parents[at] >= 0}

    assert (around["cpu_op", "mm"].cat, around["cpu_op", "mm"].name) == ("python_function", "mm")
    assert around["python_function", "mm"].name == "forward"
    assert around["user_annotation", "parse"].name == "fetch"
    assert around["user_annotation", "forward"].name in ("main", "ProfilerStep#2")
