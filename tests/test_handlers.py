"""Handlers: which files, under which names, and that no two share one."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clock import FakeClock
from stepscope import ExportError, ProfilerAction, profile, record_function, tensorboard_trace_handler, trace_handler
from stepscope.session.handlers import TraceHandler

NONE, WARMUP, RECORD, SAVE = ProfilerAction
# What the TensorBoard plugin makes of a name: worker, then span.
PLUGIN = re.compile(r"^(.*?)(\.\d+)?\.pt\.trace\.json(?:\.gz)?$")


def two_cycles(handler: TraceHandler, clock: FakeClock) -> None:
    with profile(schedule=lambda step: SAVE if step < 2 else NONE, on_trace_ready=handler) as prof:
        for _ in range(2):
            with record_function("work"):
                clock.now += 5
            prof.step()


def test_each_cycle_is_a_file_a_format_named_by_worker_rank_cycle_and_steps(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    handler = trace_handler(tmp_path / "new" / "log", "trainer")
    two_cycles(handler, clock)

    names = [re.sub(r"\.\d{10,}", ".TIME", path.name) for path in handler.paths]
    assert names == [
        "trainer_rank3_cycle0_steps0-0.TIME.pt.trace.json",
        "trainer_rank3_cycle0_steps0-0.TIME.pftrace",
        "trainer_rank3_cycle1_steps1-1.TIME.pt.trace.json",
        "trainer_rank3_cycle1_steps1-1.TIME.pftrace",
    ]
    assert sorted(handler.paths) == sorted((tmp_path / "new" / "log").iterdir())
    assert all(PLUGIN.match(path.name) for path in handler.paths if path.suffix == ".json")


def test_the_worker_is_host_and_pid_by_default(tmp_path: Path, clock: FakeClock) -> None:
    import socket

    handler = trace_handler(tmp_path, formats=["perfetto"])
    two_cycles(handler, clock)

    assert handler.paths[0].name.startswith(f"{socket.gethostname()}_{os.getpid()}_rank0_cycle0_steps0-0.")


def test_the_tensorboard_handler_names_files_as_torchs_does(tmp_path: Path, clock: FakeClock) -> None:
    handler = tensorboard_trace_handler(str(tmp_path), "worker0", use_gzip=True)
    two_cycles(handler, clock)

    matches = [PLUGIN.match(path.name) for path in handler.paths]
    assert [match.group(1) for match in matches if match] == ["worker0", "worker0"]
    assert all(match.group(2) for match in matches if match)
    assert all(path.name.endswith(".pt.trace.json.gz") for path in handler.paths)


def test_formats_may_be_one_or_the_other_and_compressed(tmp_path: Path, clock: FakeClock) -> None:
    endings = {}
    for formats in ("chrome", ["perfetto"], ("perfetto", "chrome", "perfetto")):
        handler = trace_handler(tmp_path, use_gzip=True, formats=formats)
        two_cycles(handler, clock)
        endings[str(formats)] = [path.name.split(".", 2)[2] for path in handler.paths[: len(handler.paths) // 2]]

    assert list(endings.values()) == [
        ["pt.trace.json.gz"],
        ["pftrace.gz"],
        ["pftrace.gz", "pt.trace.json.gz"],
    ]


def test_a_format_that_is_none_is_refused_when_the_handler_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format is called 'csv'; there are 'chrome', 'perfetto'"):
        trace_handler(tmp_path, formats=["csv"])
    with pytest.raises(ValueError, match="formats is empty"):
        trace_handler(tmp_path, formats=[])


@pytest.mark.parametrize(
    ("worker", "safe"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "worker"),
        ("a\\..\\b", "a_.._b"),
        ("/abs", "_abs"),
        ("nul\0", "nul_x00"),
        ("é 😀", "é 😀"),
        ("lone \ud800", "lone _ud800"),
        ("x" * 400, "x" * 150),
        (".hidden", "hidden"),
    ],
)
def test_a_workers_name_cannot_leave_the_folder(tmp_path: Path, clock: FakeClock, worker: str, safe: str) -> None:
    log = tmp_path / "log"
    handler = trace_handler(log, worker)
    two_cycles(handler, clock)

    assert {path.parent for path in handler.paths} == {log}
    assert handler.paths[0].name.startswith(f"{safe}_rank0_cycle0")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_names_that_are_taken_are_left_alone(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1, 1, 2, 1, 2, 3])
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    for _ in range(3):
        with profile(on_trace_ready=tensorboard_trace_handler(tmp_path, "w")):
            clock.now += 1

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"w.{n}.pt.trace.json" for n in (1, 2, 3)]


def test_a_folder_whose_names_are_all_taken_is_an_error(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    with profile(on_trace_ready=tensorboard_trace_handler(tmp_path, "w")):
        clock.now += 1
    before = (tmp_path / "w.1.pt.trace.json").read_bytes()

    with (
        pytest.raises(ExportError, match="100 names in a row were taken"),
        profile(on_trace_ready=tensorboard_trace_handler(tmp_path, "w")),
    ):
        pass
    assert (tmp_path / "w.1.pt.trace.json").read_bytes() == before


def test_processes_that_share_a_folder_and_a_name_share_no_file(tmp_path: Path) -> None:
    script = f"""
from stepscope import ProfilerAction, profile, record_function, trace_handler
handler = trace_handler({str(tmp_path)!r}, "same")
with profile(schedule=lambda step: ProfilerAction.RECORD_AND_SAVE, on_trace_ready=handler) as prof:
    for _ in range(20):
        with record_function("x"): pass
        prof.step()
"""
    workers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]

    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 4 * 21 * 2


def test_threads_that_share_a_handler_share_no_file(tmp_path: Path, clock: FakeClock) -> None:
    handler = tensorboard_trace_handler(tmp_path, "same")
    with profile() as prof:
        clock.now += 1

    def write_ten() -> None:
        for _ in range(10):
            handler(prof)

    threads = [threading.Thread(target=write_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(handler.paths)) == 40
    assert sorted(handler.paths) == sorted(tmp_path.iterdir())


def test_a_file_in_the_folders_place_is_an_export_error_that_reaches_the_caller_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "log").write_text("not a folder")
    with (
        pytest.raises(ExportError, match=r"log: the folder cannot be made: File exists\. Choose another path"),
        profile(on_trace_ready=trace_handler(tmp_path / "log")) as prof,
    ):
        clock.now += 1

    assert len(prof.sessions) == 1


def test_a_forked_childs_file_carries_its_own_pid(tmp_path: Path) -> None:
    script = f"""
import os
from stepscope import profile, trace_handler
handler = trace_handler({str(tmp_path)!r}, formats=["perfetto"])
with profile(on_trace_ready=handler): pass
if os.fork() == 0:
    with profile(on_trace_ready=handler): pass
    os._exit(0)
os.wait()
"""
    subprocess.run([sys.executable, "-c", script], check=True)

    workers = {path.name.split("_rank")[0] for path in tmp_path.iterdir()}
    assert len(workers) == 2


def test_a_handler_imports_what_it_needs_when_it_is_made() -> None:
    """A fork while the writer thread imports would leave the child with half a module."""
    script = """
import sys
from stepscope import trace_handler
trace_handler("log", use_gzip=True)
print(*({"stepscope.formats.chrome", "stepscope.formats.perfetto", "isal.igzip"} - set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"


def test_a_handler_called_before_a_cycle_has_finished_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no cycle has finished yet.*Pass the handler as on_trace_ready="):
        trace_handler(tmp_path)(profile())
