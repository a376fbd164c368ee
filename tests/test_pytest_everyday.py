"""The pytest plugin in its users' hands: fixtures that record, parts of a suite, folders alike, plugins beside it."""

import os
import sys
from pathlib import Path

import pytest

from inner import TWO_WORKERS, Run, inner_run
from stepscope import read

SUITE = """
    class TestOne:
        def test_step(self, trace_golden):
            with trace_golden.record():
                train(1)

    class TestTwo:
        def test_step(self, trace_golden):
            with trace_golden.record():
                train(2)

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_many(trace_golden, n):
        with trace_golden.record():
            train(n)

    @pytest.mark.skip
    def test_skipped(trace_golden):
        with trace_golden.record():
            train()

    def test_named(trace_golden):
        for name in ("first", "second"):
            with trace_golden.record():
                train()
            trace_golden.check(name=name)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return inner_run(pytester, monkeypatch)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What to run pytest with for two workers."""
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return TWO_WORKERS


def folder_of(pytester: pytest.Pytester) -> Path:
    return pytester.path / "__traces__" / "test_train"


# -- a part of a suite -------------------------------------------------------------------------------------------

PARTS = [
    ("-k", "test_many"),
    ("-k", "not Two"),
    ("-m", "skip"),
    ("test_train.py::TestOne",),
    ("test_train.py::TestOne", "test_train.py"),
    ("test_train.py::test_many[2]",),
    ("--deselect", "test_train.py::TestTwo::test_step"),
    ("--lf",),
    ("--sw",),
]


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_what_was_not_selected_is_not_called_obsolete(
    part: tuple[str, ...], run: Run, pytester: pytest.Pytester
) -> None:
    run(SUITE, "--trace-update").assert_outcomes(passed=6, skipped=1)
    run(SUITE.replace("train(2)", "train(7)"))  # for --lf and --sw

    result = run(SUITE, *part)

    result.stdout.no_fnmatch_line("*no test uses*")
    assert len(list(folder_of(pytester).iterdir())) == 7


def test_nor_with_workers(run: Run, workers: tuple[str, ...]) -> None:
    run(SUITE, "--trace-update").assert_outcomes(passed=6, skipped=1)

    for part in (PARTS[0], PARTS[3], PARTS[6]):
        run(SUITE, *workers, *part).stdout.no_fnmatch_line("*no test uses*")


def test_a_golden_that_was_called_obsolete_and_is_deleted_is_no_more_said(run: Run, pytester: pytest.Pytester) -> None:
    run(SUITE, "--trace-update")
    fewer = SUITE.replace("[1, 2, 3]", "[1, 2]")
    run(fewer).stdout.fnmatch_lines(["1 golden that no test uses any more; *", "  *test_many[[]3[]].golden"])

    (folder_of(pytester) / "test_many[3].golden").unlink()

    run(fewer).stdout.no_fnmatch_line("*no test uses*")
    assert len(list(folder_of(pytester).iterdir())) == 6


def test_workers_write_goldens_and_none_in_ci(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(SUITE, "--trace-update", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not folder_of(pytester).exists()
    result = run(SUITE, *workers)
    result.assert_outcomes(failed=6, skipped=1)
    assert not folder_of(pytester).exists()

    monkeypatch.delenv("CI")
    result = run(SUITE, "--trace-update", *workers)

    result.assert_outcomes(passed=6, skipped=1)
    result.stdout.fnmatch_lines(["7 goldens written:", "  *TestOne.test_step.golden", "  *TestTwo.test_step.golden"])
    run(SUITE, *workers).assert_outcomes(passed=6, skipped=1)


# -- where it is recorded, and where what failed is kept ---------------------------------------------------------

RECORDING_FIXTURE = """
    @pytest.fixture
    def recorded(trace_golden):
        with trace_golden.record():
            yield

    def test_step(recorded):
        train({})
        {}
"""


def test_what_a_fixture_records_around_the_test_is_checked_when_it_ends(run: Run, pytester: pytest.Pytester) -> None:
    run(RECORDING_FIXTURE.format(2, ""), "--trace-update").assert_outcomes(passed=1)
    assert (folder_of(pytester) / "test_step.golden").read_text().endswith("    linear x2\n")
    run(RECORDING_FIXTURE.format(2, "")).assert_outcomes(passed=1)

    result = run(RECORDING_FIXTURE.format(3, ""))

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*linear  more: 2 -> 3 calls"])


def test_a_test_in_such_a_fixture_that_fails_says_that_only(run: Run) -> None:
    result = run(RECORDING_FIXTURE.format(2, "raise ValueError('mine')"))

    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*golden*yet*")


def test_modules_of_one_name_in_two_folders_keep_a_trace_each(run: Run, pytester: pytest.Pytester) -> None:
    source = """
        from stepscope import record_function

        def test_step(trace_golden):
            with trace_golden.record():
                with record_function("{}"):
                    pass
    """
    for folder in ("one", "two"):
        pytester.mkdir(folder)
        (pytester.path / folder / "test_same.py").write_text(_dedented(source.format(folder)))
    run(None, "--trace-update", "--import-mode=importlib").assert_outcomes(passed=2)
    for folder in ("one", "two"):
        (pytester.path / folder / "test_same.py").write_text(_dedented(source.format(f"other {folder}")))

    result = run(None, "--import-mode=importlib")

    said = [line.split()[5].rstrip(";") for line in result.outlines if line.startswith("What was recorded is in ")]
    assert [[row.name for row in read(pytester.path / path)] for path in said] == [["other one"], ["other two"]]


def _dedented(text: str) -> str:
    lines = text.strip("\n").split("\n")
    return "\n".join(line[8:] for line in lines)


# -- what is not the program's, and what runs free ---------------------------------------------------------------


def test_options_that_watch_the_process_do_not_change_a_golden(run: Run) -> None:
    tests = """
        import gc, time

        def test_step(trace_golden):
            with trace_golden.record({}):
                train()
                gc.collect()
                time.sleep(0.025)
    """
    run(tests.format(""), "--trace-update").assert_outcomes(passed=1)

    run(tests.format("record_gc=True, profile_memory=True")).assert_outcomes(passed=1)


def test_a_loader_that_reads_ahead_passes_and_is_caught_when_it_does_something_else(run: Run) -> None:
    tests = """
        import threading, time
        from queue import Queue

        def test_step(trace_golden):
            queue, done = Queue(2), threading.Event()

            def load():
                number = 0
                while not done.is_set():
                    with record_function("read", number=number):
                        time.sleep(0.001)
                        {}
                    queue.put(number)
                    number += 1

            loader = threading.Thread(target=load, name="loader")
            loader.start()
            with trace_golden.record(schedule=schedule(wait=1, warmup=1, active=5, repeat=1)) as prof:
                for _ in range(8):
                    for _ in range(2):
                        queue.get()
                    train()
                    prof.step()
            done.set()
            while loader.is_alive():
                if not queue.empty():
                    queue.get()
                loader.join(0.001)
    """
    run(tests.format("pass"), "--trace-update").assert_outcomes(passed=1)
    for _ in range(5):
        run(tests.format("pass")).assert_outcomes(passed=1)

    result = run(tests.format("train(1)"))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*forward*added: 0 -> 1 calls*"])


# -- a plugin for coroutines --------------------------------------------------------------------------------------

ASYNC = """
    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    async def fetch(n):
        async with record_function("fetch"):
            await asyncio.sleep(0.001 * (3 - n))

    @pytest.mark.anyio
    async def test_step(trace_golden):
        with trace_golden.record():
            await asyncio.gather(*(fetch(n) for n in range({})))
"""


def test_a_coroutine_that_a_plugin_runs_is_a_test_like_any_other(run: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    run(ASYNC.format(3), "--trace-update").assert_outcomes(passed=1)
    (golden,) = folder_of(pytester).iterdir()
    assert golden.read_text() == "stepscope golden trace 1\nthread Task-*\n  fetch x3\n"
    run(ASYNC.format(3)).assert_outcomes(passed=1)

    result = run(ASYNC.format(2))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*fetch*fewer: 3 -> 2 calls*"])
