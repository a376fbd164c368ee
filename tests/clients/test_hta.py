"""HolisticTraceAnalysis parses what we write, and compares two of our traces."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from law import as_json_spells
from programs import HOSTILE_PROGRAM, TRAINING
from stepscope import read
from stepscope.model.trace import INSTANT

TRAINING_OF_ONE_CYCLE = TRAINING.replace("repeat=2", "repeat=1")
# Runs in HTA's own environment: prints what it makes of a folder.
ANALYSE = """
import json, logging, sys, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from hta.trace_analysis import TraceAnalysis
analysis = TraceAnalysis(trace_dir=sys.argv[1], include_last_profiler_step=sys.argv[2] == "all")
told = {}
for rank in analysis.t.get_ranks():
    frame = analysis.t.get_trace(rank)
    symbols = analysis.t.symbol_table.sym_table
    told[rank] = {
        "steps": [int(number) for number in analysis.t.get_iterations(rank)],
        "names": sorted(symbols[name] for name in frame["name"]),
        "streams": sorted(set(map(int, frame["stream"]))),
        "shortest": float(frame["dur"].min()),
    }
print(json.dumps(told))
"""
COMPARE = """
import json, logging, sys, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from hta.common.trace import Trace
from hta.trace_diff import DeviceType, LabeledTrace, TraceDiff
sides = [LabeledTrace(label=label, trace_dir=path) for label, path in zip(("base", "head"), sys.argv[1:])]
frame = TraceDiff.compare_traces(*sides, control_rank=0, test_rank=0, control_iteration=1, test_iteration=1,
                                 device_type=DeviceType.CPU)
print(json.dumps({name: [int(row["base_counts"]), int(row["head_counts"])] for name, row in frame.iterrows()}))
"""


@pytest.fixture
def hta(hta_python: Path) -> Any:
    """HTA, asked by a script."""

    def ask(script: str, *arguments: object, **environ: str) -> Any:
        command = [str(hta_python), "-c", script, *map(str, arguments)]
        done = subprocess.run(
            command, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def record(program: str, folder: Path, rank: int = 0) -> Path:
    """Run a program as a rank; HTA is given the JSON alone, and a folder has one file of each rank."""
    environ = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}
    subprocess.run([sys.executable, "-W", "error", "-c", program, str(folder), f"w{rank}"], env=environ, check=True)
    return next(folder.glob(f"w{rank}_*.json"))


def test_two_ranks_are_parsed_with_their_steps(hta: Any, tmp_path: Path) -> None:
    paths = {rank: record(TRAINING_OF_ONE_CYCLE, tmp_path, rank) for rank in (0, 1)}

    told = hta(ANALYSE, tmp_path, "all")

    assert set(told) == {"0", "1"}
    for rank, path in paths.items():
        assert told[str(rank)]["steps"] == [1, 2]
        assert told[str(rank)]["names"] == sorted(row.name for row in read(path) if not row.kind & INSTANT)
        assert told[str(rank)]["streams"] == [-1]


def test_it_leaves_the_last_step_out_unless_it_is_told(hta: Any, tmp_path: Path) -> None:
    """What README says of it: record two steps or more."""
    record(TRAINING_OF_ONE_CYCLE, tmp_path)

    told = hta(ANALYSE, tmp_path, "some")

    assert told["0"]["steps"] == [1]


def test_trace_diff_finds_what_another_program_does_more(hta: Any, tmp_path: Path) -> None:
    base, head = tmp_path / "base", tmp_path / "head"
    record(TRAINING_OF_ONE_CYCLE, base)
    relu = '            with record_function("relu"):\n                work(100)\n'
    assert relu in TRAINING_OF_ONE_CYCLE
    record(TRAINING_OF_ONE_CYCLE.replace(relu, 2 * relu), head)

    counts = hta(COMPARE, base, head)

    assert counts["relu"] == [1, 2]
    assert counts["matmul"] == counts["forward"] == counts["ProfilerStep#1"] == [1, 1]


def test_hostile_names_arguments_and_metadata_do_no_harm(hta: Any, tmp_path: Path) -> None:
    path = record(HOSTILE_PROGRAM, tmp_path)

    told = hta(ANALYSE, tmp_path, "all", HTA_DISABLE_NS_ROUNDING="1")

    assert told["0"]["steps"] == [1, 2, 7]  # a span of the program's own that is called like a step is one to it
    assert told["0"]["streams"] == [-1]
    assert told["0"]["names"] == sorted(as_json_spells(row.name) for row in read(path) if not row.kind & INSTANT)
    assert "user:ProfilerStep#abc" in told["0"]["names"]
    assert told["0"]["shortest"] >= 0
