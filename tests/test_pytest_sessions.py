"""--trace-record: a trace of each test, one of the run, and no test that behaves otherwise because of it."""

import os
import sys
from pathlib import Path

import pytest

from inner import TWO_WORKERS, Run, inner_run
from stepscope import Trace, read
from stepscope.model.nesting import nest

TESTS = """
    @pytest.fixture
    def model():
        with record_function("build"):
            pass
        yield 2
        with record_function("free"):
            pass

    @pytest.mark.parametrize("n", [1, 2])
    def test_step(model, n):
        train(n)
        assert n == 1
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return inner_run(pytester, monkeypatch)


def tree(trace: Trace) -> list[str]:
    """Names, each indented by its depth."""
    parent = nest(trace).parent
    depth: list[int] = []
    for above in parent:
        depth.append(depth[above] + 1 if above >= 0 else 0)
    return ["  " * level + row.name for level, row in zip(depth, trace, strict=True)]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_test_is_a_session_with_setup_call_and_teardown(run: Run, pytester: pytest.Pytester) -> None:
    result = run(TESTS, "--trace-record", "out")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*= traces of tests =*", "tests recorded in out: 2; open out/suite.pftrace in https://ui.perfetto.dev"]
    )
    assert files(pytester.path / "out") == [
        "suite.pftrace",
        "suite.pt.trace.json",
        "test_train/test_step[1].pftrace",
        "test_train/test_step[1].pt.trace.json",
        "test_train/test_step[2].pftrace",
        "test_train/test_step[2].pt.trace.json",
    ]
    # Every file has been loaded by the trace processor: see conftest.
    trace = read(pytester.path / "out" / "test_train" / "test_step[2].pftrace")
    assert tree(trace) == [
        "test_train.py::test_step[2]",
        "  setup",
        "    build",
        "  call",
        "    forward",
        "      linear",
        "      linear",
        "  teardown",
        "    free",
    ]
    assert trace == read(pytester.path / "out" / "test_train" / "test_step[2].pt.trace.json")
    assert trace.problems == ()


def test_the_whole_run_is_one_trace(run: Run, pytester: pytest.Pytester) -> None:
    run(TESTS, "--trace-record", "out")
    trace = read(pytester.path / "out" / "suite.pftrace")

    assert tree(trace) == [
        f"{'  ' * (name != test)}{name if name != test else f'test_train.py::test_step[{test}]'}"
        for test in ("1", "2")
        for name in (test, "setup", "call", "teardown")
    ]
    assert [row.args.get("outcome") for row in trace] == [None, *["passed"] * 3, None, "passed", "failed", "passed"]


def test_a_test_with_a_profile_of_its_own_keeps_it_and_is_named(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def test_own():
            with record_function("before"):
                pass
            with profile() as prof:
                train(1)
            assert [row.name for row in prof.trace] == ["forward", "linear"]

        def test_plain():
            train(1)
    """
    result = run(tests, "--trace-record", "out")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "tests recorded in out: 2; *",
            "tests that record by themselves, *: 1",
            "  *::test_own",
        ]
    )
    trace = read(pytester.path / "out" / "test_train" / "test_own.pftrace")
    assert tree(trace) == ["test_train.py::test_own", "  setup", "  call", "    before"]
    assert {problem.kind for problem in trace.problems} == {"cut"}


def test_a_test_inside_of_somebody_elses_profile_is_not_recorded_and_said(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        @pytest.fixture(scope="module")
        def everything():
            with profile() as prof:
                yield prof

        def test_first(everything): train(1)
        def test_second(everything): train(1)
    """
    result = run(tests, "--trace-record", "out")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["tests not recorded: 1", "  test_train.py::test_second: a profile was active when it*"]
    )


def test_goldens_are_the_same_while_tests_are_recorded(run: Run) -> None:
    tests = """
        def test_step(trace_golden):
            with trace_golden.record():
                train(2)
    """
    run(tests, "--trace-update").assert_outcomes(passed=1)
    run(tests, "--trace-record", "out").assert_outcomes(passed=1)


def test_a_folder_that_cannot_be_made_fails_no_test(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "out").write_text("")
    result = run("def test_a():\n    train()\n", "--trace-record", "out")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*out: the folder cannot be made: *", "tests not recorded: 1", "  test_train.py::test_a: *"]
    )


def test_hostile_names_are_files_inside_the_folder(run: Run, pytester: pytest.Pytester) -> None:
    ids = ("../../up", "a/b", "nul\0", "x" * 300, "ü")
    tests = f"""
        IDS = {ids!r}
        @pytest.mark.parametrize("n", range(len(IDS)), ids=IDS)
        def test_step(n): pass
    """
    run(tests, "--trace-record", "out").assert_outcomes(passed=len(ids))

    assert len(files(pytester.path / "out" / "test_train")) == 2 * len(ids)
    assert not list(pytester.path.parent.glob("up*"))


def test_with_xdist_each_worker_is_a_process_of_the_run(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    result = run(TESTS, "--trace-record", "out", *TWO_WORKERS)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["tests recorded in out: 2; *"])
    trace = read(pytester.path / "out" / "suite.pftrace")
    assert {track.process for track in trace.tracks} <= {"pytest gw0", "pytest gw1"}
    assert sum(row.name.startswith("test_train.py::") for row in trace) == 2
    assert len(files(pytester.path / "out" / "test_train")) == 4
