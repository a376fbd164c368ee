"""Children: processes that record in the cycles of the one that started them, whichever way that was."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import pytest

import stepscope as package
from cli_runner import stepscope
from family import PATIENCE_S
from law import assert_file_is
from stepscope import Trace, profile, read, trace_handler
from stepscope.model.trace import CUT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no POSIX locks here")

TESTS = Path(__file__).parent
SOURCE = Path(package.__file__).parent.parent  # as it is installed, with its C core
METHODS = ("fork", "spawn", "forkserver")
PRELUDE = """
import multiprocessing, os, signal, sys
import family
from stepscope import profile, record_function, schedule, trace_handler

log = os.path.join(os.path.dirname(__file__), "log")

def followed(cycles, **more):
    options = dict(on_trace_ready=trace_handler(log, "w"), children=True)
    return profile(schedule=schedule(wait=1, warmup=1, active=1, repeat=cycles), **options | more)

def record(cycle, *names):
    family.wait_open(cycle)
    for name in names:
        with record_function(name):
            pass

def received(pipe):
    assert pipe.poll(family.PATIENCE_S)
    return pipe.recv()
"""


def run(folder: Path, program: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for everybody who holds its output: its children too."""
    path = folder / "program.py"
    path.write_text(PRELUDE + dedent(program))
    command = [sys.executable, str(path), *args]
    paths = os.pathsep.join((str(SOURCE), str(TESTS)))
    with TemporaryDirectory() as folder_of_control:  # a short name: the fork server's socket is in it
        environ = {**os.environ, "PYTHONPATH": paths, "TMPDIR": folder_of_control}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=2 * PATIENCE_S)
        assert list(Path(folder_of_control).glob("*.control")) == [], "a control file was left"
    return done


def written(folder: Path) -> dict[tuple[str, int], Trace]:
    """Each cycle of each process, by the process's name; both files of a child's say the same to everybody."""
    found: dict[tuple[str, int], Trace] = {}
    for path in sorted(folder.iterdir()):
        assert not path.name.startswith("."), path
        trace = read(path)
        if "profile_pid" in trace.origin.session:
            assert_file_is(trace, path)
        key = trace.origin.process, int(trace.origin.session["cycle"])
        assert found.setdefault(key, trace) == trace
    assert len(list(folder.iterdir())) == 2 * len(found)
    return found


def names(trace: Trace) -> list[str]:
    return [row.name for row in trace]


@pytest.mark.parametrize("method", METHODS)
def test_children_record_in_their_parents_cycles_into_files_of_their_own(tmp_path: Path, method: str) -> None:
    done = run(
        tmp_path,
        """
        def work(pipe, name):
            for cycle in range(2):
                record(cycle, name)
                pipe.send(cycle)
                family.wait_closed(cycle)

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            start = multiprocessing.process.BaseProcess.start
            with followed(2) as prof:
                pipes, processes = [], []
                for number in (1, 2):
                    ours, theirs = context.Pipe()
                    processes.append(context.Process(target=work, args=(theirs, f"work of {number}")))
                    processes[-1].start()
                    pipes.append(ours)
                for step in range(6):
                    with record_function("train"):
                        assert step not in (2, 5) or [received(pipe) for pipe in pipes] == [step // 3] * 2
                    prof.step()
            assert multiprocessing.process.BaseProcess.start is start
            for process in processes:
                process.join(family.PATIENCE_S)
            print([process.exitcode for process in processes], os.getpid())
        """,
        method,
    )

    assert (done.stdout[:6], done.stderr) == ("[0, 0]", "")
    kind = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}[method]
    found = written(tmp_path / "log")
    children = [f"{kind}Process-{number}" for number in (1, 2)]
    assert found.keys() == {(process, cycle) for process in ("program.py", *children) for cycle in (0, 1)}
    parent_pid = int(done.stdout.split()[2])
    for cycle in (0, 1):
        parent = found["program.py", cycle]
        (step,) = [row for row in parent if row.name.startswith("ProfilerStep#")]
        for child in children:
            trace = found[child, cycle]
            (row,) = trace
            assert (row.name, row.track.process) == (f"work of {child[-1]}", child)
            opened_ns = parent.origin.clocks.realtime_ns - parent.origin.base_ns
            assert opened_ns < row.ts < row.ts + row.dur < step.ts + step.dur
            shared = ("trace_id", "clocks", "base_ns", "host", "rank")
            assert [getattr(trace.origin, of) for of in shared] == [getattr(parent.origin, of) for of in shared]
            session = {**trace.origin.session}
            late_ns, window_ns = session.pop("late_ns"), session.pop("window_ns")
            assert 0 < late_ns < late_ns + window_ns
            assert session == {**parent.origin.session, "profile_pid": parent_pid}
            assert trace.problems == ()
    files = {re.sub(r"(?<=^w_)\d+|(?<=\.)\d+(?=\.)", "N", path.name) for path in (tmp_path / "log").glob("w_[0-9]*")}
    assert files == {
        f"w_N_{child}_rank0_cycle{cycle}_steps{step}-{step}.N.{ending}"
        for child in children
        for cycle, step in ((0, 2), (1, 5))
        for ending in ("pftrace", "pt.trace.json")
    }


@pytest.mark.parametrize("pool", ["ProcessPoolExecutor fork", "ProcessPoolExecutor spawn", "Pool fork", "Pool spawn"])
def test_a_worker_of_a_pool_writes_a_file_each_cycle(tmp_path: Path, pool: str) -> None:
    done = run(
        tmp_path,
        """
        from concurrent.futures import ProcessPoolExecutor

        class Pool:
            def __init__(self, method):
                self.pool = multiprocessing.get_context(method).Pool(1)

            def submit(self, *job):
                return self.pool.apply_async(job[0], job[1:])

            def shutdown(self):
                self.pool.close()
                self.pool.join()

        def executor(method):
            return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))

        if __name__ == "__main__":
            kind, method = sys.argv[1].split()
            with followed(3) as prof:
                workers = Pool(method) if kind == "Pool" else executor(method)
                for step in range(9):
                    if step % 3 == 2:
                        job = workers.submit(record, step // 3, "job", f"job {step}")
                        (job.get if kind == "Pool" else job.result)(family.PATIENCE_S)
                    prof.step()
            (workers.submit(family.wait_closed, 2).get if kind == "Pool" else lambda _: 0)(family.PATIENCE_S)
            workers.shutdown()
        """,
        pool,
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = {key: names(trace) for key, trace in written(tmp_path / "log").items() if key[0] != "program.py"}
    (worker,) = {process for process, _ in found}
    assert found == {(worker, cycle): ["job", f"job {3 * cycle + 2}"] for cycle in range(3)}
    kind, method = pool.split()
    assert worker == f"{method.capitalize()}{'PoolWorker' if kind == 'Pool' else 'Process'}-1"


DEATHS = {
    "os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    "os._exit(5)": 5,
    "os.abort()": -signal.SIGABRT,
}


@pytest.mark.parametrize(
    ("death", "method"),
    [*((death, "fork") for death in DEATHS), *((next(iter(DEATHS)), other) for other in METHODS[1:])],
)
def test_a_child_that_is_killed_in_the_middle_of_a_cycle_loses_only_itself(
    tmp_path: Path, death: str, method: str
) -> None:
    done = run(
        tmp_path,
        f"""
        def die(pipe):
            record(0, "lost")
            pipe.send("recorded")
            received(pipe)
            {death}

        def live(pipe):
            record(0, "kept")
            pipe.send("recorded")
            received(pipe)
            family.wait_closed(0)

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            with followed(1) as prof:
                prof.step()
                prof.step()
                pipes, processes = [], []
                for target in (die, live):
                    ours, theirs = context.Pipe()
                    processes.append(context.Process(target=target, args=(theirs,)))
                    processes[-1].start()
                    pipes.append(ours)
                for pipe in pipes:
                    received(pipe)
                pipes[0].send("go")
                processes[0].join(family.PATIENCE_S)
                print(processes[0].exitcode)
                pipes[1].send("go")
                prof.step()
            processes[1].join(family.PATIENCE_S)
            print(processes[1].exitcode)
        """,
    )

    assert done.stdout.split() == [str(DEATHS[death]), "0"]
    found = written(tmp_path / "log")
    (child,) = {process for process, _ in found} - {"program.py"}
    assert child.endswith("Process-2")
    assert names(found[child, 0]) == ["kept"]
    assert names(found["program.py", 0]) == ["ProfilerStep#2"]


ENDS = {
    "return": (0, ""),
    "sys.exit(3)": (3, ""),
    "raise KeyError('a mistake')": (1, "KeyError: 'a mistake'"),
}


@pytest.mark.parametrize(
    ("end", "method"), [*((end, "fork") for end in ENDS), *((next(iter(ENDS)), other) for other in METHODS[1:])]
)
def test_a_child_that_ends_in_the_middle_of_a_cycle_writes_what_it_has(tmp_path: Path, end: str, method: str) -> None:
    done = run(
        tmp_path,
        f"""
        def work():
            record(0, "whole")
            with record_function("around the end"):
                {end}

        if __name__ == "__main__":
            with followed(1) as prof:
                prof.step()
                prof.step()
                process = multiprocessing.get_context({method!r}).Process(target=work)
                process.start()
                process.join(family.PATIENCE_S)
                print(process.exitcode)
                prof.step()
        """,
    )

    code, said = ENDS[end]
    assert (done.returncode, done.stdout) == (0, f"{code}\n")
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)
    found = written(tmp_path / "log")
    (child,) = {process for process, _ in found} - {"program.py"}
    trace = found[child, 0]
    assert names(trace) == ["whole", "around the end"]
    assert [(problem.kind, problem.example) for problem in trace.problems] == [
        ("partial", "cycle 0 did not run to its planned end: it ended in step 2")
    ]
    assert not found["program.py", 0].problems


def test_a_child_outlives_the_cycle_and_the_profile(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def work(pipe):
            with record_function("around"):
                record(0, "inside")
                pipe.send("recorded")
                family.wait_closed(0)
                record_function("after").__enter__()
            pipe.send(received(pipe))

        if __name__ == "__main__":
            ours, theirs = multiprocessing.get_context("fork").Pipe()
            with followed(1) as prof:
                process = multiprocessing.get_context("fork").Process(target=work, args=(theirs,))
                process.start()
                for step in range(4):
                    assert step != 2 or received(ours)
                    prof.step()
            ours.send("the profile is over")
            print(received(ours))
            process.join(family.PATIENCE_S)
        """,
    )

    assert (done.stdout, done.stderr) == ("the profile is over\n", "")
    trace = written(tmp_path / "log")["ForkProcess-1", 0]
    assert [(row.name, row.kind) for row in trace] == [("around", CUT), ("inside", 0)]


def test_a_pool_serves_two_profiles_one_after_the_other(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        from concurrent.futures import ProcessPoolExecutor

        def cycle_of(name):
            with followed(1, on_trace_ready=trace_handler(log, name)) as prof:
                prof.step()
                prof.step()
                executor.submit(work, name).result(family.PATIENCE_S)
                prof.step()
            executor.submit(family.wait_closed, 0).result(family.PATIENCE_S)
            executor.submit(family._forget).result(family.PATIENCE_S)

        def work(name):
            record(0, "job of " + name)

        if __name__ == "__main__":
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
                cycle_of("first")
                before = len(os.listdir("/proc/self/fd"))
                cycle_of("second")
                cycle_of("third")
                assert len(os.listdir("/proc/self/fd")) == before
        """,
    )

    assert (done.returncode, done.stderr) == (0, "")
    by_worker: dict[str, list[str]] = {}
    for path in (tmp_path / "log").glob("*_SpawnProcess-1_*"):
        trace = read(path)
        assert_file_is(trace, path)
        by_worker.setdefault(path.name.split("_")[0], []).append(trace[0].name)
    assert by_worker == {name: [f"job of {name}"] * 2 for name in ("first", "second", "third")}


@pytest.mark.parametrize("method", METHODS)
def test_a_childs_child_follows_the_same_profile(tmp_path: Path, method: str) -> None:
    done = run(
        tmp_path,
        """
        def child(method):
            record(0, "child")
            process = multiprocessing.get_context(method).Process(target=record, args=(0, "grandchild"))
            process.start()
            process.join(family.PATIENCE_S)
            assert process.exitcode == 0

        if __name__ == "__main__":
            with followed(1) as prof:
                prof.step()
                prof.step()
                process = multiprocessing.get_context(sys.argv[1]).Process(target=child, args=sys.argv[1:])
                process.start()
                process.join(family.PATIENCE_S)
                print(process.exitcode)
                prof.step()
        """,
        method,
    )

    assert done.stdout == "0\n", done.stderr
    found = written(tmp_path / "log")
    kind = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}[method]
    assert {process: names(trace) for (process, _), trace in found.items()} == {
        "program.py": ["ProfilerStep#2"],
        f"{kind}Process-1": ["child"],
        f"{kind}Process-1:1": ["grandchild"],
    }
    assert len({trace.origin.trace_id for trace in found.values()}) == 1
    profile_pids = {trace.origin.session.get("profile_pid") for trace in found.values()}
    assert profile_pids == {None, found["program.py", 0].origin.pid}


def test_many_short_children_leave_nothing_behind_in_the_parent(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import threading

        if __name__ == "__main__":
            with followed(1) as prof:
                prof.step()
                prof.step()
                before = len(os.listdir("/proc/self/fd"))
                for _ in range(150):
                    child = os.fork()
                    if not child:
                        os._exit(len(os.listdir("/proc/self/fd")) - before)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                for _ in range(50):
                    process = multiprocessing.get_context("fork").Process(target=int)
                    process.start()
                    process.join(family.PATIENCE_S)
                    process.close()
                assert len(os.listdir("/proc/self/fd")) == before
                assert threading.active_count() == 1
                assert len(os.listdir(os.environ["TMPDIR"])) == 1
                prof.step()
        """,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert written(tmp_path / "log").keys() == {("program.py", 0)}, "who has recorded nothing writes nothing"


def test_a_forked_child_without_multiprocessing_writes_at_its_exit(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        with followed(1) as prof:
            prof.step()
            prof.step()
            child = os.fork()
            record_function("after the fork").__enter__()
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
                prof.step()
        if not child:
            sys.exit(7)
        """,
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = written(tmp_path / "log")
    assert {process: names(trace) for (process, _), trace in found.items()} == {
        "program.py": ["ProfilerStep#2", "after the fork"],
        "program.py (child)": ["after the fork"],
    }
    assert found["program.py (child)", 0].origin.session["partial"]


def test_a_python_program_that_is_started_meanwhile_records_with_its_parent(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        dedent(
            """
            import sys
            import family
            from stepscope import record_function
            def record(cycle, name):
                family.wait_open(cycle)
                with record_function(name):
                    pass
                print("recorded", flush=True)
                family.wait_closed(cycle)
            if sys.argv[1] == "alone":
                assert not family.opened
            else:
                record(0, "work")
                record(1, "more work")
            """
        )
    )
    done = run(
        tmp_path,
        """
        import subprocess
        def started(*how):
            worker = os.path.join(os.path.dirname(__file__), "worker.py")
            return subprocess.Popen([sys.executable, worker, *how], stdout=subprocess.PIPE, text=True)
        with followed(2) as prof:
            child = started("with its parent")
            for step in range(6):
                if step in (2, 5):
                    assert child.stdout.readline() == "recorded\\n"
                prof.step()
            print("STEPSCOPE_FOLLOW" in os.environ)
        print("STEPSCOPE_FOLLOW" in os.environ, child.wait(), started("alone").wait())
        """,
    )

    assert (done.stdout, done.stderr) == ("True\nFalse 0 0\n", "")
    found = written(tmp_path / "log")
    assert {key: names(trace) for key, trace in found.items() if key[0] != "program.py"} == {
        ("worker.py", 0): ["work"],
        ("worker.py", 1): ["more work"],
    }
    shared = ("trace_id", "clocks", "base_ns", "host", "rank")
    for cycle in (0, 1):
        child, parent = found["worker.py", cycle].origin, found["program.py", cycle].origin
        assert [getattr(child, of) for of in shared] == [getattr(parent, of) for of in shared]
        assert child.pid != parent.pid == child.session["profile_pid"]


def test_a_child_of_a_program_that_was_started_follows_the_profile_too(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import subprocess
        GRANDCHILD = "import family; from stepscope import record_function; family.wait_open(0)\\n" \\
            "with record_function('grandchild'): pass\\nprint(1, flush=True); family.wait_closed(0)"
        with followed(1) as prof:
            prof.step()
            prof.step()
            command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}], check=True)"
            child = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True)
            assert child.stdout.readline() == "1\\n"
            prof.step()
        print(child.wait())
        """,
    )

    assert (done.stdout, done.stderr) == ("0\n", "")
    assert {process: names(trace) for (process, _), trace in written(tmp_path / "log").items()} == {
        "program.py": ["ProfilerStep#2"],
        "-c": ["grandchild"],
    }


def test_a_variable_that_leads_nowhere_costs_the_program_nothing(tmp_path: Path) -> None:
    program = "import stepscope, sys; print('stepscope.session.child' in sys.modules, stepscope.profile.__name__)"
    for value, looks, warns in (
        ("", False, False),
        ("1:", True, False),
        (f"1:{tmp_path / 'gone'}", True, False),
        (f"1:{tmp_path}", True, True),
    ):
        environ = {**os.environ, "STEPSCOPE_FOLLOW": value}
        for how in ("default", "error"):
            command = [sys.executable, "-W", how, "-c", program]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ, timeout=PATIENCE_S)
            assert done.stdout == f"{looks} profile\n"
            assert ("this child process does not record" in done.stderr) == warns


def test_steps_in_a_child_are_its_own(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def work(prof):
            for batch in range(2):
                with record_function(f"batch {batch}"):
                    pass
                prof.step()

        if __name__ == "__main__":
            with followed(1) as prof:
                prof.step()
                prof.step()
                process = multiprocessing.get_context("fork").Process(target=work, args=(prof,))
                process.start()
                process.join(family.PATIENCE_S)
                print(process.exitcode, prof.step_num)
                prof.step()
        """,
    )

    assert (done.stdout, done.stderr) == ("0 2\n", "")
    trace = written(tmp_path / "log")["ForkProcess-1", 0]
    assert [(row.name, row.kind) for row in trace] == [
        ("ProfilerStep#0", 0),
        ("batch 0", 0),
        ("ProfilerStep#1", 0),
        ("batch 1", 0),
        ("ProfilerStep#2", CUT),
    ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_is_recorded_besides_spans_is_recorded_in_children_too(tmp_path: Path, method: str) -> None:
    done = run(
        tmp_path,
        """
        import gc

        def work():
            gc.disable()
            record(0, "work")
            gc.collect()

        if __name__ == "__main__":
            gc.disable()
            with followed(1, profile_memory=True, record_gc=True) as prof:
                prof.step()
                prof.step()
                process = multiprocessing.get_context(sys.argv[1]).Process(target=work)
                process.start()
                process.join(family.PATIENCE_S)
                print(process.exitcode)
                prof.step()
        """,
        method,
    )

    assert (done.stdout, done.stderr) == ("0\n", "")
    (trace,) = [trace for (process, _), trace in written(tmp_path / "log").items() if process != "program.py"]
    assert {"work", "gc"} <= {re.sub(r"\W.*", "", row.name).lower() for row in trace}
    assert len(trace.counters.ts)
    assert {track.process for track in trace.tracks} == {trace.origin.process}


def test_a_profile_of_the_childs_own_goes_first(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def work(pipe):
            record(0, "before its own")
            with profile(on_trace_ready=trace_handler(log, "own")) as own:
                with record_function("its own"):
                    pass
                pipe.send(0)
                received(pipe)
            pipe.send("its own is over")
            record(2, "after its own")
            pipe.send(2)
            family.wait_closed(2)

        if __name__ == "__main__":
            ours, theirs = multiprocessing.get_context("spawn").Pipe()
            with followed(3) as prof:
                process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs,))
                process.start()
                for step in range(9):
                    if step in (2, 8):
                        assert received(ours) == step // 3
                    if step == 6:
                        ours.send("go on")
                        received(ours)
                    prof.step()
            process.join(family.PATIENCE_S)
            print(process.exitcode)
        """,
    )

    assert (done.stdout, done.stderr) == ("0\n", "")
    for path in (tmp_path / "log").glob("own_*"):
        assert names(read(path)) == ["its own"]
        path.unlink()
    found = {cycle: trace for (process, cycle), trace in written(tmp_path / "log").items() if process != "program.py"}
    assert {cycle: names(trace) for cycle, trace in found.items()} == {0: ["before its own"], 2: ["after its own"]}
    assert {cycle: trace.origin.session["partial"] for cycle, trace in found.items()} == {0: True, 2: False}


def test_a_child_whose_parent_is_killed_writes_what_it_has(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def work(pipe):
            record(0, "orphaned")
            pipe.send("recorded")
            family.wait_closed(0)

        def parent(pipe):
            with followed(1) as prof:
                prof.step()
                prof.step()
                multiprocessing.get_context("fork").Process(target=work, args=(pipe,)).start()
                signal.pause()

        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=parent, args=(theirs,))
        process.start()
        theirs.close()
        received(ours)
        process.kill()
        process.join(family.PATIENCE_S)
        assert ours.poll(family.PATIENCE_S)  # its end: the orphan has ended too
        for left in os.listdir(os.environ["TMPDIR"]):
            os.unlink(os.path.join(os.environ["TMPDIR"], left))  # nobody else is there to do it
        """,
    )

    assert (done.returncode, done.stderr) == (0, "")
    ((key, trace),) = written(tmp_path / "log").items()
    assert (key, names(trace)) == (("ForkProcess-1:1", 0), ["orphaned"])
    assert trace.origin.session["partial"]


def test_what_a_child_cannot_write_is_said_in_the_child(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        if __name__ == "__main__":
            open(log, "w").close()
            with followed(1, on_trace_ready=None, children=trace_handler(log, "w")) as prof:
                prof.step()
                prof.step()
                process = multiprocessing.get_context("fork").Process(target=record, args=(0, "lost"))
                process.start()
                process.join(family.PATIENCE_S)
                print(process.exitcode)
                prof.step()
        """,
    )

    assert (done.returncode, done.stdout) == (0, "0\n")
    assert done.stderr.count("StepscopeWarning") == 1
    assert re.search(r"in the child process ForkProcess-1: .*/log: the folder cannot be made: File exists", done.stderr)


def test_who_closes_all_descriptors_records_no_more_and_works_on(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def work(pipe):
            numbers = [int(text) for text in os.listdir("/proc/self/fd")]
            for number in numbers:
                if number not in (1, 2, pipe.fileno()):
                    try:
                        os.close(number)
                    except OSError:
                        pass
            with open(os.path.join(os.path.dirname(log), "mine"), "w") as mine:
                pipe.send("closed")
                received(pipe)
                mine.write("mine")

        if __name__ == "__main__":
            ours, theirs = multiprocessing.Pipe()
            with followed(1) as prof:
                process = multiprocessing.get_context("fork").Process(target=work, args=(theirs,))
                process.start()
                received(ours)
                for _ in range(3):
                    prof.step()
            ours.send("go on")
            process.join(family.PATIENCE_S)
            print(process.exitcode)
        """,
    )

    assert (done.stdout, done.stderr) == ("0\n", "")
    assert (tmp_path / "mine").read_text() == "mine"
    assert written(tmp_path / "log").keys() == {("program.py", 0)}


def test_a_parent_that_closes_all_descriptors_says_that_children_are_told_no_more(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        with followed(1) as prof:
            prof.step()
            os.closerange(3, 256)
            with open(os.path.join(os.path.dirname(log), "mine"), "w") as mine:
                for _ in range(3):
                    prof.step()
        assert os.path.getsize(mine.name) == 0
        """,
    )

    assert done.returncode == 0
    assert done.stderr.count("child processes are not told any more when to record") == 1
    assert written(tmp_path / "log").keys() == {("program.py", 0)}


def test_without_the_option_nothing_of_it_is_there(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        del sys.modules["family"], sys.modules["multiprocessing"]
        for name in [name for name in sys.modules if name.startswith(("multiprocessing", "stepscope.session.child"))]:
            del sys.modules[name]
        with followed(1, children=False) as prof:
            for _ in range(3):
                prof.step()
            print(sorted(name for name in sys.modules if "multiprocessing" in name or "child" in name))
            print(os.listdir(os.environ["TMPDIR"]))
        """,
    )

    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_folders_with_children_in_them_are_compared_process_by_process(tmp_path: Path) -> None:
    program = """
        def work(pipe, names):
            for cycle in range(2):
                record(cycle, *names)
                pipe.send(cycle)
                family.wait_closed(cycle)

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            with followed(2) as prof:
                pipes, processes = [], []
                for name, *names in map(str.split, sys.argv[1:]):
                    ours, theirs = context.Pipe()
                    processes.append(context.Process(target=work, args=(theirs, names), name=name))
                    processes[-1].start()
                    pipes.append(ours)
                for step in range(6):
                    assert step not in (2, 5) or [received(pipe) for pipe in pipes]
                    prof.step()
            for process in processes:
                process.join(family.PATIENCE_S)
    """
    logs = []
    for number, children in enumerate(
        (("loader decode", "saver write"), ("loader decode crop", "saver write", "extra tick"))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run(folder, program, *children).stderr == ""
        logs.append(folder / "log")

    for log in logs:
        same = stepscope("diff", log, log, "--no-timings")
        assert (same.exit_code, same.stderr) == (0, ""), "a run and its children are one run"
    found = stepscope("diff", *logs, "--no-timings", "--format", "json")
    assert found.exit_code == 1
    findings = [(one["kind"], one["where"]["process"], one["name"]) for one in json.loads(found.stdout)["findings"]]
    assert findings == [("new", "", "extra"), ("added", "loader", "crop")]


@pytest.mark.parametrize(
    ("on_trace_ready", "children"), [(None, True), (print, True), (None, None), (trace_handler("log"), "yes")]
)
def test_children_without_a_handler_that_writes_are_refused(on_trace_ready: object, children: object) -> None:
    with pytest.raises(TypeError, match=r"children= needs a handler that writes files, got .*children=trace_handler"):
        profile(on_trace_ready=on_trace_ready, children=children)  # type: ignore[arg-type]
