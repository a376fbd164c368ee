"""`stepscope run`: a program that nobody edited, and its traces."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from law import assert_file_is
from stepscope import Trace, read

PROGRAM = """\
import sys, threading
def inner(n):
    return sum(range(n))
def work():
    return inner(10)
if __name__ == "__main__":
    thread = threading.Thread(target=work, name="helper")
    thread.start(); thread.join()
    work()
    print(sys.argv, __name__, __file__, sys.stdin.read())
"""


def run(tmp_path: Path, *arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepscope", "run", "--log", str(tmp_path / "log"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def traces(tmp_path: Path) -> list[Trace]:
    """The sessions in the log, oldest first; both files of each hold the same."""
    found = []
    for path in sorted((tmp_path / "log").glob("*.pftrace"), key=lambda path: path.stat().st_mtime_ns):
        trace = read(path)
        assert_file_is(trace, path)
        assert read(path.with_name(path.name.removesuffix(".pftrace") + ".pt.trace.json")) == trace
        found.append(trace)
    return found


def script(tmp_path: Path, text: str = PROGRAM, name: str = "program.py") -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def calls(trace: Trace) -> list[tuple[str, str]]:
    return sorted({(row.name, row.track.name) for row in trace if row.cat == "python_function"})


def test_a_script_gets_its_arguments_and_its_input_and_its_calls_are_recorded(tmp_path: Path) -> None:
    path = script(tmp_path)
    done = run(tmp_path, path, "-x", "--log", "y", stdin="typed")

    assert (done.returncode, done.stdout) == (0, f"{[path, '-x', '--log', 'y']} __main__ {path} typed\n")
    (trace,) = traces(tmp_path)
    found = calls(trace)
    assert {("inner", "MainThread"), ("work", "MainThread"), ("inner", "helper"), ("work", "helper")} <= set(found)
    assert not [name for name, _ in found if "runpy" in name or name in ("command", "main", "invoke")]
    assert [str(path) for path in sorted((tmp_path / "log").iterdir())] == sorted(
        line.removeprefix("stepscope: ") for line in done.stderr.splitlines()
    )


def test_a_module_is_run_as_python_m_does(tmp_path: Path) -> None:
    script(tmp_path, "from package.other import work\nif __name__ == '__main__': work()\n", "package/__main__.py")
    script(tmp_path, "import sys\ndef work(): print(sys.argv[1:], sys.path[0])\n", "package/other.py")
    script(tmp_path, "", "package/__init__.py")
    done = run(tmp_path, "-m", "package", "one", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, f"['one'] {tmp_path}\n")
    (trace,) = traces(tmp_path)
    assert ("work", "MainThread") in calls(trace)


@pytest.mark.parametrize(
    ("ending", "code", "error"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('sorry')", 1, "sorry"),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
    ],
)
def test_the_program_ends_in_its_own_way_and_the_files_are_there(
    tmp_path: Path, ending: str, code: int, error: str
) -> None:
    path = script(tmp_path, f"import sys\ndef work(): pass\nwork()\n{ending}\n")
    done = run(tmp_path, path)

    assert done.returncode == code
    assert error in done.stderr
    if "Error" in error:
        trace = done.stderr[done.stderr.index("Traceback") :]
        assert trace.splitlines()[1].strip().startswith(f'File "{path}", line 4')
    assert ("work", "MainThread") in calls(traces(tmp_path)[0])


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
def test_ctrl_c_is_the_programs_and_the_files_are_there(tmp_path: Path) -> None:
    text = "import os, signal\ndef work(): pass\nwork()\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: work()\n"
    done = run(tmp_path, script(tmp_path, text))

    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr
    assert ("work", "MainThread") in calls(traces(tmp_path)[0])


def test_a_program_that_ends_its_steps_has_sessions_by_steps(tmp_path: Path) -> None:
    text = (
        "import stepscope\nfor step in range(9):\n    with stepscope.record_function('f'): pass\n    stepscope.step()\n"
    )
    options = ("--wait", "1", "--warmup", "1", "--active", "2", "--repeat", "2", "--no-calls")
    done = run(tmp_path, *options, script(tmp_path, text))

    assert done.returncode == 0
    names = [[row.name for row in trace] for trace in traces(tmp_path)]
    assert names == [
        ["ProfilerStep#2", "f", "ProfilerStep#3", "f"],
        ["ProfilerStep#6", "f", "ProfilerStep#7", "f"],
    ]


def test_without_a_schedule_steps_are_marked_in_the_one_session(tmp_path: Path) -> None:
    text = "import stepscope\nfor step in range(3): stepscope.step()\n"
    assert run(tmp_path, "--no-calls", script(tmp_path, text)).returncode == 0

    (trace,) = traces(tmp_path)
    assert [row.name for row in trace] == ["ProfilerStep#1", "ProfilerStep#2", "ProfilerStep#3"]
    assert {problem.kind for problem in trace.problems} <= {"cut"}


def test_step_is_nothing_where_nobody_profiles(tmp_path: Path) -> None:
    path = script(tmp_path, "import stepscope\nstepscope.step()\nprint('fine')\n")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


WAITS_FOR_SESSIONS = """\
import pathlib, sys, time, stepscope
log, wanted = pathlib.Path(sys.argv[1]), int(sys.argv[2])
seen = set()
end = time.monotonic() + 60
while len(seen) < wanted and time.monotonic() < end:
    with stepscope.record_function("f"): time.sleep(0.001)
    if log.exists(): seen |= {path.name for path in log.glob("*.pftrace")}
"""


def test_sessions_by_time_come_again_and_the_newest_are_kept(tmp_path: Path) -> None:
    options = ("--every", "0.1", "--for", "0.05", "--keep", "2", "--no-calls")
    done = run(tmp_path, *options, script(tmp_path, WAITS_FOR_SESSIONS), str(tmp_path / "log"), "4")

    assert done.returncode == 0, done.stderr
    kept = traces(tmp_path)
    assert len(kept) == 2
    assert kept[-1].origin.session["cycle"] >= 3
    assert {row.name for row in kept[0]} == {"f"}


def test_one_session_of_some_seconds(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--for", "0.05", "--no-calls", script(tmp_path, WAITS_FOR_SESSIONS), str(tmp_path / "log"), "1"
    )
    assert done.returncode == 0, done.stderr
    assert len(traces(tmp_path)) == 1


@pytest.mark.parametrize("options", [(), ("--for", "60")])
def test_a_program_that_profiles_itself_comes_first(tmp_path: Path, options: tuple[str, ...]) -> None:
    text = (
        "import stepscope\nwith stepscope.record_function('before'): pass\n"
        "with stepscope.profile() as prof:\n    with stepscope.record_function('own'): pass\n"
        "print([row.name for row in prof.trace])\n"
    )
    done = run(tmp_path, "--no-calls", *options, script(tmp_path, text))

    assert (done.returncode, done.stdout) == (0, "['own']\n")
    assert "the program profiles itself" in done.stderr
    assert [row.name for row in traces(tmp_path)[0]] == ["before"]


def test_filters_and_what_else_can_be_recorded(tmp_path: Path) -> None:
    body = "    with stepscope.record_function('s'): gc.collect(); helper.f()\n"
    text = f"import gc, helper, stepscope\ndef work():\n{body}work()\n"
    script(tmp_path, "def f(): return sum([1])\n", "helper.py")
    options = ("--exclude", "helper", "--memory", "--gc", "--cpu-time", "--stacks", "--format", "perfetto")
    done = run(tmp_path, *options, script(tmp_path, text))

    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "log").iterdir()
    trace = read(path)
    names = [name for name, _ in calls(trace)]
    assert "work" in names
    assert "f" not in names
    (span,) = [row for row in trace if row.name == "s"]
    assert {"thread_time_ns", "Call stack"} <= set(span.args)
    assert any(row.cat == "gc" for row in trace)
    assert any(track.kind == "counter" for track in trace.tracks)


def test_non_daemon_threads_are_waited_for_and_recorded(tmp_path: Path) -> None:
    text = (
        "import threading, time\ndef late():\n    threading.main_thread().join(0.05); tail()\n"
        "def tail(): print('late')\nthreading.Thread(target=late, name='other').start()\n"
    )
    done = run(tmp_path, script(tmp_path, text))
    assert (done.returncode, done.stdout) == (0, "late\n")
    assert ("tail", "other") in calls(traces(tmp_path)[0])


def test_what_the_program_pickles_and_where_it_is_are_its_own(tmp_path: Path) -> None:
    text = (
        "import pickle, sys, __main__\nclass Own: pass\nprint(pickle.loads(pickle.dumps(Own())).__class__ is Own, "
        "__main__.Own is Own, 'click' in sys.modules, __spec__)\n"
    )
    done = run(tmp_path, script(tmp_path, text))
    assert done.stdout == "True True False None\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.py",), "missing.py"),
        (("--active", "2", "--for", "1", "x.py"), "by steps"),
        (("--every", "2", "x.py"), "--every needs --for"),
        (("--every", "1", "--for", "2", "x.py"), "longer than --every"),
        (("--wait", "2", "x.py"), "need --active"),
        (("--active", "0", "x.py"), "active must be at least 1"),
    ],
)
def test_what_cannot_be_run_is_trouble_in_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(tmp_path, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written_costs_the_program_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file in its place")
    done = run(tmp_path, "--log", str(tmp_path / "file" / "log"), script(tmp_path, "print('done')\n"))
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "stepscope: " in done.stderr
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr
