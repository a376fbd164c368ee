"""A real TensorBoard with torch's plugin on folders that we have written."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from law import as_json_spells
from programs import PROGRAMS, TRAINING
from stepscope import read, write
from stepscope.model.trace import INSTANT, Trace

FIXTURE = Path(__file__).parent.parent.parent / "fixtures" / "traces" / "torch-2.13-mlp-with-stack.pt.trace.json"
VIEWS = ("overview", "operation", "operation/table", "memory", "memory_curve", "memory_events", "module")
LOADING_S = 120


class Board:
    """A TensorBoard, asked as its page asks it."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self._address = f"{address}/data/plugin/pytorch_profiler"

    def ask(self, what: str, **query: str) -> Any:
        """What a view is made of.

        Raises:
            HTTPError: the plugin has no such view of the run, or failed.
        """
        address = f"{self._address}/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - it is of this machine
            body = answer.read()
        return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)

    def wait(self) -> None:
        """Wait until all runs are loaded."""
        until = time.monotonic() + LOADING_S
        while (told := self.ask("runs"))["loading"] or not told["runs"]:
            assert time.monotonic() < until, told
            time.sleep(0.2)


@pytest.fixture(scope="module")
def board(tensorboard_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """Two workers with two cycles each; hostile names; a trace of torch's own, as it is and as we write it again."""
    folder = tmp_path_factory.mktemp("tensorboard")
    training = TRAINING.replace("trace_handler", "tensorboard_trace_handler")
    for rank in ("0", "1"):
        run(training, folder / "training", f"worker{rank}", RANK=rank, WORLD_SIZE="2")
    run(PROGRAMS["hostile"], folder / "hostile", "worker")
    for name in ("original", "rewritten"):
        (folder / name).mkdir()
    shutil.copy(FIXTURE, folder / "original" / "mlp.pt.trace.json")
    write(read(FIXTURE), folder / "rewritten" / "mlp.pt.trace.json")
    program, where = str(tensorboard_python.parent / "tensorboard"), str(folder)
    command = [program, "--logdir", where, "--host", "127.0.0.1", "--port", "0"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield Board(address_of(folder / "log"), folder)
        finally:
            process.terminate()


def run(program: str, *arguments: object, **environ: str) -> None:
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    subprocess.run(command, env={**os.environ, **environ}, check=True)


def address_of(log: Path) -> str:
    """Where it listens, as it says once it does."""
    until = time.monotonic() + LOADING_S
    while not (found := re.search(r" at (http://127\.0\.0\.1:\d+)/", log.read_text())):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    return found[1]


def steps_in(overview: Any) -> list[str]:
    return [row[0] for row in overview["steps"]["rows"]]


def events(board: Board, run: str, worker: str, span: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board.ask("trace", run=run, worker=worker, span=span)["traceEvents"]
    return found


def slices(trace: Trace) -> list[str]:
    return sorted(row.name for row in trace if not row.kind & INSTANT)


def test_two_workers_with_two_spans_are_there_with_their_steps(board: Board) -> None:
    board.wait()

    assert board.ask("workers", run="training", view="Overview") == ["worker0", "worker1"]
    assert {"Overview", "Operator", "Trace"} <= set(board.ask("views", run="training"))
    for worker in ("worker0", "worker1"):
        assert board.ask("spans", run="training", worker=worker) == ["1", "2"]
        for span, steps in (("1", ["1", "2"]), ("2", ["4", "5"])):
            overview = board.ask("overview", run="training", worker=worker, span=span, view="Overview")
            assert steps_in(overview) == steps
            (path,) = sorted((board.folder / "training").glob(f"{worker}.*"))[int(span) - 1 : int(span)]
            shown = events(board, "training", worker, span)
            names = sorted(event["name"] for event in shown if event["ph"] == "X")
            assert names == slices(read(path))
            assert {"forward", "matmul", "relu", "backward", "load"} <= set(names)
            assert [e["args"]["batch_size"] for e in shown if e["name"] == "forward"] == [32, 32]


def test_hostile_names_categories_arguments_and_metadata_do_no_harm(board: Board) -> None:
    board.wait()
    (worker,) = board.ask("workers", run="hostile", view="Overview")
    (path,) = (board.folder / "hostile").glob("*.json")

    overview = board.ask("overview", run="hostile", worker=worker, span="1", view="Overview")
    shown = events(board, "hostile", worker, "1")

    # A span of the program's own that is called like a step is one to the plugin too.
    assert {"1", "2", "7"} == set(steps_in(overview))
    names = Counter(event["name"] for event in shown if event["ph"] in "Xi")
    assert names == Counter(as_json_spells(row.name) for row in read(path))
    assert names["user:ProfilerStep#abc"] > 0


def test_a_trace_of_torch_that_we_have_written_gives_the_same_views(board: Board) -> None:
    """Operators with shapes, memory, modules: all that the plugin makes of torch's file, it makes of ours."""
    board.wait()
    views = {run: board.ask("views", run=run) for run in ("original", "rewritten")}

    assert views["rewritten"] == views["original"] == ["Overview", "Operator", "Trace", "Memory", "Module"]
    for view in VIEWS:
        for group in ("Operation", "OperationAndInputShape"):
            told = [
                board.ask(view, run=run, worker="mlp", span="default", view="Overview", group_by=group)
                for run in ("original", "rewritten")
            ]
            if view == "operation/table":
                told = [by_row(table) for table in told]
            assert told[0] == told[1], view
    shapes = board.ask(
        "operation/table", run="rewritten", worker="mlp", span="default", group_by="OperationAndInputShape"
    )
    assert any(row.get("input_shape") for row in shapes["data"])


def by_row(table: Any) -> list[Any]:
    """The rows in some order: those that tie have none. The shape of a number, [], is a text in our traces."""
    rows = [{**row, "input_shape": row.get("input_shape", "").replace("'[]'", "[]")} for row in table["data"]]
    return sorted(rows, key=json.dumps)


def test_what_is_not_recorded_has_no_view(board: Board) -> None:
    board.wait()

    assert "Module" not in board.ask("views", run="training")
    with pytest.raises(urllib.error.HTTPError):
        board.ask("module", run="training", worker="worker0", span="1")
