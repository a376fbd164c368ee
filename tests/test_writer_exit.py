"""However a program ends, the files that are there are whole; and where it may wait, all of them are there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Packets

# Each program has this before it: `late` holds up an encoder, and `handler` writes both formats.
PREAMBLE = """
import os, signal, sys, threading
from dataclasses import replace
from stepscope import ExportError, ProfilerAction, profile, record_function, trace_handler
from stepscope.formats import files

def put_before(form, do):
    encode = files.FORMATS[form].encode
    def encode_late(trace):
        pieces = list(encode(trace))
        yield pieces[0]
        do(trace)
        yield from pieces[1:]
    files.FORMATS[form] = replace(files.FORMATS[form], encode=encode_late)

def until_the_program_ends(trace):
    if threading.current_thread() is not threading.main_thread():
        threading.main_thread().join()

def steps(prof, number):
    for _ in range(number):
        with record_function(f"work {prof.step_num}"): pass
        prof.step()

def every_step(handler):
    return profile(schedule=lambda step: ProfilerAction.RECORD_AND_SAVE, on_trace_ready=handler, keep_sessions=2)
"""


def run(tmp_path: Path, program: str) -> "subprocess.CompletedProcess[str]":
    script = f"{PREAMBLE}\nlog = {str(tmp_path / 'log')!r}\n{program}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)


def whole_files(folder: Path) -> list[str]:
    """The cycles and formats that are there, each of which holds its own cycle and nothing else."""
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        cycle = path.name.split("_cycle")[1].split("_")[0]
        if path.suffix == ".json":
            names = {event["name"] for event in json.loads(path.read_bytes())["traceEvents"] if event["ph"] == "X"}
        else:
            packets = Packets.FromString(path.read_bytes()).packet
            names = {name.name for packet in packets for name in packet.interned_data.event_names}
        assert f"ProfilerStep#{cycle}" in names
        assert {name for name in names if name.startswith("work")} <= {f"work {cycle}"}
        found.append(f"{cycle}{path.suffix}")
    return sorted(found)


def hidden_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def cycles(number: int) -> list[str]:
    return sorted(f"{cycle}{suffix}" for cycle in range(number) for suffix in (".json", ".pftrace"))


def test_a_program_that_ends_without_stop_waits_for_the_writer(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
put_before("chrome", until_the_program_ends)
prof = every_step(trace_handler(log, "w"))
prof.start()
steps(prof, 2)
""",
    )

    assert done.returncode == 0
    assert "the program ended without stop()" in done.stderr
    assert "Error" not in done.stderr
    assert whole_files(tmp_path / "log") == cycles(3)
    assert hidden_files(tmp_path / "log") == []


def test_a_program_that_ends_without_stop_still_hears_of_what_was_not_written(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
def fail(trace):
    until_the_program_ends(trace)
    raise OSError(28, "No space left on device")
put_before("chrome", fail)
prof = every_step(trace_handler(log, "w"))
prof.start()
steps(prof, 1)
""",
    )

    for cycle in range(2):
        assert done.stderr.count(f"w_rank0_cycle{cycle}_steps{cycle}-{cycle}.") == 1
    assert whole_files(tmp_path / "log") == ["0.pftrace", "1.pftrace"]


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [("sys.exit(3)", 3, ""), ("raise KeyError('mine')", 1, "KeyError: 'mine'"), ("raise KeyboardInterrupt", None, "")],
)
def test_an_exit_out_of_the_with_block_waits_for_the_writer(
    tmp_path: Path, ending: str, code: int | None, said: str
) -> None:
    done = run(
        tmp_path,
        f"""
steps_done = threading.Event()
put_before("chrome", lambda trace: steps_done.wait(60))
with every_step(trace_handler(log, "w")) as prof:
    steps(prof, 2)
    steps_done.set()
    {ending}
""",
    )

    assert code is None or done.returncode == code
    assert said in done.stderr
    assert "ExportError" not in done.stderr
    assert whole_files(tmp_path / "log") == cycles(3)
    assert hidden_files(tmp_path / "log") == []


@pytest.mark.parametrize("form", ["chrome", "perfetto"])
def test_sigterm_in_the_middle_of_a_file_leaves_whole_files_only(tmp_path: Path, form: str) -> None:
    done = run(
        tmp_path,
        f"""
def die_in_the_second(trace):
    if trace.origin.session["cycle"] == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause() if threading.current_thread() is threading.main_thread() else threading.Event().wait()
put_before({form!r}, die_in_the_second)
with every_step(trace_handler(log, "w")) as prof:
    steps(prof, 3)
""",
    )

    assert done.returncode == -signal.SIGTERM
    assert whole_files(tmp_path / "log") == sorted(cycles(1) + (["1.json"] if form == "perfetto" else []))
    assert len(hidden_files(tmp_path / "log")) == 1


def test_sigterm_that_the_program_turns_into_an_exit_waits_for_the_writer(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(4))
put_before("perfetto", lambda trace: os.kill(os.getpid(), signal.SIGTERM) if not done.is_set() else None)
done = threading.Event()
with every_step(trace_handler(log, "w")) as prof:
    try:
        steps(prof, 1)
        while True: done.wait(60)
    except SystemExit:
        done.set()
        raise
""",
    )

    assert (done.returncode, done.stderr) == (4, "")
    assert whole_files(tmp_path / "log") == cycles(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_writes_its_own_files_and_its_parent_the_parents(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
from stepscope.session import recording
parent, at_work, go_on = os.getpid(), threading.Event(), threading.Event()
drain = recording.drain
def drain_late(*args):
    if os.getpid() == parent:
        at_work.set()
        assert go_on.wait(60)
    return drain(*args)
recording.drain = drain_late

handler = trace_handler(log, "parent")
with every_step(handler) as prof:
    steps(prof, 2)
    at_work.wait()  # the writer holds the first session's lock, the second waits
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        go_on.set()
if not child:
    assert handler.paths == []
    names = [[row.name for row in session.trace] for session in prof.sessions]
    assert names == [["ProfilerStep#0", "work 0"], ["ProfilerStep#1", "work 1"]], names
    own = trace_handler(log + "/child", "child")
    with every_step(own) as prof:
        steps(prof, 2)
    assert len(own.paths) == 6
    sys.exit(7)
assert code == 7, code
assert len(handler.paths) == 6
""",
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert sorted(path.name.split("_")[0] for path in (tmp_path / "log").glob("*_*")) == ["parent"] * 6
    assert whole_files(tmp_path / "log" / "child") == cycles(3)
    assert hidden_files(tmp_path / "log") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_the_parent_could_not_write_is_the_parents_to_hear(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
def fail(trace):
    raise OSError(28, "No space left on device")
put_before("perfetto", fail)
handler = trace_handler(log, "w", formats=["perfetto"])
prof = every_step(handler)
prof.start()
steps(prof, 1)
assert handler.paths == []
child = os.fork()
if child == 0:
    prof.stop()
    prof.stop()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
prof.stop()
""",
    )

    assert done.stderr.count("No space left on device. Free some space") == 2
    assert "ExportError: 2 files could not be written" in done.stderr
