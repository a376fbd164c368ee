"""trace_golden: goldens are created on request, compared always, and kept in files that are legal everywhere."""

import json
import math
import os
import sys
from pathlib import Path

import pytest

from inner import OPTIONS, TWO_WORKERS, Run, inner_run
from stepscope import core, read
from stepscope.pytest_plugin.place import safe_name

STEP_OF = """
    def test_step(trace_golden):
        with trace_golden.record():
            train({})
"""
STEP = STEP_OF.format(2)
GOLDEN = """\
stepscope golden trace 1
thread MainThread
  forward(batch=32)
    linear x2
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return inner_run(pytester, monkeypatch)


def goldens(pytester: pytest.Pytester) -> list[str]:
    folder = pytester.path / "__traces__"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def golden_of(pytester: pytest.Pytester, name: str = "test_step") -> Path:
    return pytester.path / "__traces__" / "test_train" / f"{name}.golden"


# -- created, compared, updated ----------------------------------------------------------------------------------


def test_a_missing_golden_fails_shows_what_it_would_be_and_how_to_create_it(
    run: Run, pytester: pytest.Pytester
) -> None:
    result = run(STEP)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "there is no golden __traces__/test_train/test_step.golden for this test yet. It would be:",
            "stepscope golden trace 1",
            "thread MainThread",
            "  forward(batch=32)",
            "    linear x2",
            "If this is as it should be, run   pytest --trace-update test_train.py::test_step   and review *",
        ],
    )
    assert goldens(pytester) == []


def test_update_writes_missing_goldens_and_lists_them_and_then_the_test_passes(
    run: Run, pytester: pytest.Pytester
) -> None:
    result = run(STEP, "--trace-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*= golden traces =*", "1 golden written:", "  __traces__/test_train/test_step.golden"]
    )
    assert golden_of(pytester).read_bytes().decode() == GOLDEN

    result = run(STEP)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*golden traces*")


def test_a_regression_fails_with_the_diff_and_keeps_a_trace_that_opens(run: Run, pytester: pytest.Pytester) -> None:
    run(STEP, "--trace-update")
    result = run(STEP_OF.format("layers=3"))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_step differs from its golden __traces__/test_train/test_step.golden",
            "*linear  more: 2 -> 3 calls",
            "What was recorded is in *.pftrace; open it in https://ui.perfetto.dev.",
            "If this is as it should be, run   pytest --trace-update test_train.py::test_step   and review *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    (said,) = [line for line in result.outlines if line.startswith("What was recorded is in ")]
    kept = read(pytester.path / said.split()[5].rstrip(";"))  # and the trace processor has loaded it: see conftest
    assert [row.name for row in kept] == ["forward", "linear", "linear", "linear"]
    assert golden_of(pytester).read_text() == GOLDEN


def test_update_writes_changed_goldens_only(run: Run, pytester: pytest.Pytester) -> None:
    tests = STEP + "\n    def test_other(trace_golden):\n        with trace_golden.record():\n            train(1)\n"
    run(tests, "--trace-update")
    before = golden_of(pytester, "test_other").stat().st_mtime_ns
    result = run(tests.replace("train(2)", "train(3)"), "--trace-update")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 golden changed:", "  __traces__/test_train/test_step.golden"])
    result.stdout.no_fnmatch_line("*test_other*")
    assert golden_of(pytester, "test_other").stat().st_mtime_ns == before
    assert "linear x3" in golden_of(pytester).read_text()


def test_in_ci_nothing_is_written(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(STEP, "--trace-update")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--trace-update writes nothing in CI*Run it on your machine and commit the goldens*"])
    run(STEP).assert_outcomes(failed=1)
    assert goldens(pytester) == []


def test_a_golden_that_was_edited_badly_names_the_line_and_update_writes_it_anew(
    run: Run, pytester: pytest.Pytester
) -> None:
    run(STEP, "--trace-update")
    golden_of(pytester).write_text(GOLDEN.replace("linear x2", "linear x"))
    result = run(STEP)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the golden cannot be read. __traces__/test_train/test_step.golden: line 4: expected a number*"]
    )

    golden_of(pytester).write_bytes(b"\xff\xfe")
    run(STEP).stdout.fnmatch_lines(["*test_step.golden: byte 0 is not UTF-8. Write the golden anew*"])
    run(STEP, "--trace-update").stdout.fnmatch_lines(["1 golden changed:"])
    assert golden_of(pytester).read_text() == GOLDEN


def test_both_cores_have_one_golden(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by this core, passed by the other in a process of its own."""
    run(STEP, "--trace-update").assert_outcomes(passed=1)
    other = "python" if core.info().name == "c" else "c"
    try:
        from stepscope import _native  # noqa: F401 - whether there is a C core
    except ImportError:
        pytest.skip("there is no C core here")
    monkeypatch.setenv("STEPSCOPE_CORE", other)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=1)


# -- what can be recorded and checked ----------------------------------------------------------------------------


def test_parameters_names_and_classes_have_goldens_of_their_own(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        class TestLoop:
            @pytest.mark.parametrize("layers", [1, 2])
            def test_step(self, trace_golden, layers):
                with trace_golden.record():
                    train(layers)
                trace_golden.check(name="training")
                with trace_golden.record():
                    train(layers + 1)
                trace_golden.check(name="validation")
    """
    run(tests, "--trace-update").assert_outcomes(passed=2)

    assert goldens(pytester) == [
        "test_train/TestLoop.test_step[1].training.golden",
        "test_train/TestLoop.test_step[1].validation.golden",
        "test_train/TestLoop.test_step[2].training.golden",
        "test_train/TestLoop.test_step[2].validation.golden",
    ]
    run(tests).assert_outcomes(passed=2)


HOSTILE_IDS = (
    "a",
    "A",
    "a/b",
    "a\\b",
    "../../up",
    "a::b",
    "a.x",
    "",
    " ",
    "nul\0",
    "é",
    "*?<>|",
    '"',
    "[",
    "x" * 300,
    "con.",
)


def test_hostile_parameters_have_legal_names_and_none_has_anothers(run: Run, pytester: pytest.Pytester) -> None:
    tests = f"""
        IDS = {HOSTILE_IDS!r}
        @pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
        def test_step(trace_golden, number):
            with trace_golden.record():
                train(number + 1)
    """
    run(tests, "--trace-update").assert_outcomes(passed=len(HOSTILE_IDS))
    run(tests).assert_outcomes(passed=len(HOSTILE_IDS))

    names = goldens(pytester)
    assert len(names) == len({name.lower() for name in names}) == len(HOSTILE_IDS)
    assert all(len(name) < 200 and not set(name) & set('\\:*?"<>|\0') and name.count("/") == 1 for name in names)
    assert not list(pytester.path.parent.glob("up*"))


@pytest.mark.parametrize(("text", "name"), [("a-b_c.1", "a-b_c.1"), ("lr=0.1", "lr=0.1")])
def test_a_harmless_parameter_is_its_name(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_async_code_threads_and_steps_are_recorded(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        @record_function("fetch")
        async def fetch():
            await asyncio.sleep(0)

        @pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
        def test_step(trace_golden):
            with trace_golden.record(schedule=schedule(wait=0, warmup=0, active=2, repeat=1)) as prof:
                for _ in range(2):
                    asyncio.run(fetch())
                    prof.step()
    """
    run(tests, "--trace-update").assert_outcomes(passed=1)
    assert golden_of(pytester).read_text().split("\n")[1:-1] == [
        *("thread MainThread", "  step 0-1"),
        *("thread Task-*", "  fetch x2"),  # the loop gives each task another number
    ]
    run(tests).assert_outcomes(passed=1)


def test_any_trace_can_be_checked_and_rules_are_those_of_diff(run: Run) -> None:
    tests = """
        def test_step(trace_golden):
            with profile() as prof:
                train(batch={})
            trace_golden.check(prof, {})
            trace_golden.check(prof.trace, name="again", args=False)
    """
    run(tests.format(1, "args=False"), "--trace-update").assert_outcomes(passed=1)
    run(tests.format(2, "args=False")).assert_outcomes(passed=1)
    result = run(tests.format(2, "arg=False"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no rule 'arg' for a diff*"])


def test_names_that_differ_from_run_to_run_can_be_given_rules(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def test_step(trace_golden):
            with trace_golden.record(), record_function("job-{}"):
                pass
            trace_golden.check(names=[("job-[0-9]+", "job-N")])
    """
    run(tests.format(1), "--trace-update").assert_outcomes(passed=1)
    run(tests.format(2)).assert_outcomes(passed=1)
    assert "  job-N" in golden_of(pytester).read_text()


def test_values_of_counters_are_compared_if_asked_for(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def test_step(trace_golden):
            with trace_golden.record():
                counter("queue", {}, unit="count")
            trace_golden.check(counter_values=True)
    """
    run(tests.format(4), "--trace-update").assert_outcomes(passed=1)
    assert golden_of(pytester).read_text().split("\n")[1] == "counter queue [count] = 4"
    run(tests.format(4)).assert_outcomes(passed=1)
    run(tests.format(9)).assert_outcomes(failed=1)
    run(tests.format(9).replace("counter_values=True", "")).assert_outcomes(passed=1)


def test_a_difference_that_diff_does_not_judge_is_one_too(run: Run, pytester: pytest.Pytester) -> None:
    run(STEP, "--trace-update")
    golden_of(pytester).write_text(GOLDEN.replace("linear x2", "linear cut x2"))
    result = run(STEP)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-    linear cut x2", "+    linear x2"])


def test_any_trace_file_can_be_a_golden(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def test_step(trace_golden):
            with trace_golden.record():
                train({})
            trace_golden.check(golden="base.json.gz")
    """
    run(tests.format(2)).stdout.fnmatch_lines(["there is no golden base.json.gz for this test yet.*"])
    run(tests.format(2), "--trace-update").stdout.fnmatch_lines(["1 golden written:", "  base.json.gz"])
    assert len(read(pytester.path / "base.json.gz")) == 3
    run(tests.format(2)).assert_outcomes(passed=1)
    run(tests.format(3)).assert_outcomes(failed=1)
    run(tests.format(3), "--trace-update").stdout.fnmatch_lines(["1 golden changed:", "  base.json.gz"])
    run(tests.format(3)).assert_outcomes(passed=1)
    result = run(tests.format(3).replace(".json.gz", ".txt"))
    result.stdout.fnmatch_lines(["golden='base.txt': the ending says no format. Use one of .golden, *"])


def test_a_trace_file_beside_the_test_is_its_golden(run: Run, pytester: pytest.Pytester) -> None:
    run(STEP).assert_outcomes(failed=1)
    (kept,) = pytester.path.rglob("stepscope-failed/*") if (pytester.path / ".pytest_cache/d").exists() else (None,)
    assert kept is None  # of a test without a golden nothing is kept
    run(STEP, "--trace-update")
    run(STEP_OF.format(3))
    (kept,) = pytester.path.rglob("stepscope-failed/test_train/*.pftrace")
    target = golden_of(pytester).with_name("test_step.pftrace")
    target.write_bytes(kept.read_bytes())
    result = run(STEP_OF.format(3))
    result.stdout.fnmatch_lines(["*several goldens for one check: test_step.golden, test_step.pftrace. Keep one."])
    golden_of(pytester).unlink()

    run(STEP_OF.format(3)).assert_outcomes(passed=1)
    run(STEP_OF.format(2)).assert_outcomes(failed=1)


def test_a_text_has_no_times_to_compare(run: Run) -> None:
    tests = STEP_OF.format("") + "        trace_golden.check(timings=True)\n"
    result = run(tests)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*is text and has no times. Leave out timings=True, or use a trace file*"])


# -- never silently ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "the test asks for trace_golden and records nothing: use `with trace_golden.record():`*"),
        ("trace_golden.check()", "nothing was recorded: use `with trace_golden.record():`, or check(trace)."),
        ("trace_golden.record(); trace_golden.check()", "no cycle was recorded: check when the with block has ended*"),
        (
            "p = trace_golden.record()\n    with p: pass\n    with p: pass",
            "2 cycles were recorded, and a check is of one. Record with keep_sessions=100 and check each: *",
        ),
        (
            "with trace_golden.record(): pass\n    with trace_golden.record(): pass",
            "2 recordings were not checked. Call check(name='...') behind each.",
        ),
        (
            "with trace_golden.record(): pass\n    trace_golden.check()\n    trace_golden.check()",
            "*test_step.golden is checked twice. Give the second check a name: check(name='...').",
        ),
        ("trace_golden.check(5)", "E*TypeError: a Trace or a profile can be checked, not 5 of type int."),
    ],
)
def test_what_would_pass_silently_fails_with_what_to_do(body: str, message: str, run: Run) -> None:
    result = run(f"def test_step(trace_golden):\n    {body}\n", "--trace-update")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_a_test_that_fails_by_itself_says_that_only(run: Run) -> None:
    result = run(STEP_OF.format(2) + "        raise ValueError('its own')\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*ValueError: its own"])
    result.stdout.no_fnmatch_line("*golden __traces__*")


def test_a_folder_that_cannot_be_written_is_said(run: Run, pytester: pytest.Pytester) -> None:
    """A file in its place: root may write to any folder."""
    (pytester.path / "__traces__").write_text("")
    result = run(STEP, "--trace-update")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the golden cannot be written. *test_train: the folder cannot be made: *"])


def test_without_a_cache_to_write_to_the_trace_is_kept_elsewhere(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepscope.pytest_plugin.golden.gettempdir", lambda: pytester.path / "temporary")
    run(STEP, "--trace-update")
    result = run(STEP_OF.format(3), "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["What was recorded is in temporary/stepscope-failed/test_train/test_step.1.pftrace; *"]
    )

    monkeypatch.setattr("stepscope.pytest_plugin.golden.gettempdir", lambda: pytester.path / "test_train.py")
    result = run(STEP_OF.format(3), "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["What was recorded could not be kept. *the folder cannot be made*"])


# -- when the code under test has a profile of its own -----------------------------------------------------------


def test_the_profile_of_the_code_under_test_records_instead(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        def train_with_a_profile():
            with profile() as prof:
                train(2)

        def test_step(trace_golden):
            with trace_golden.record(), record_function("not in its profile"):
                train_with_a_profile()
    """
    run(tests, "--trace-update").assert_outcomes(passed=1)
    assert "linear x2" in golden_of(pytester).read_text()
    run(tests).assert_outcomes(passed=1)
    run(tests.replace("train(2)", "train(1)")).assert_outcomes(failed=1)


def test_a_profile_that_is_active_already_is_said_and_can_be_checked(run: Run) -> None:
    tests = """
        def test_step(trace_golden):
            with profile() as prof:
                {}
                train()
            trace_golden.check(prof)
    """
    result = run(tests.format("trace_golden.record().start()"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*LifecycleError: a profile is active already, which was started outside*"])
    run(tests.format(""), "--trace-update").assert_outcomes(passed=1)


# -- obsolete goldens --------------------------------------------------------------------------------------------

TWO = """
    @pytest.mark.parametrize("n", [1, 2])
    def test_step(trace_golden, n):
        {}
        with trace_golden.record():
            train(n)
"""
UNUSED = "1 golden that no test uses any more; delete what is not needed:"


def test_a_golden_that_no_test_uses_is_reported_when_the_whole_module_has_run(
    run: Run, pytester: pytest.Pytester
) -> None:
    run(TWO.format(""), "--trace-update")
    one = TWO.format("").replace("[1, 2]", "[1]")
    result = run(one)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([UNUSED, "  __traces__/test_train/test_step[[]2[]].golden"])

    for option in ("-k1", "test_train.py::test_step", "--lf"):
        run(TWO.format(""), option).stdout.no_fnmatch_line(UNUSED)
    assert len(goldens(pytester)) == 2


@pytest.mark.parametrize("body", ["pytest.skip('not today')", "raise ValueError", "pytest.xfail('known')"])
def test_a_test_that_did_not_come_to_its_check_keeps_its_golden(body: str, run: Run) -> None:
    run(TWO.format(""), "--trace-update")

    run(TWO.format(f"if n == 2: {body}")).stdout.no_fnmatch_line("*no test uses*")


def test_the_goldens_of_a_module_that_is_gone_are_reported(run: Run, pytester: pytest.Pytester) -> None:
    run(STEP, "--trace-update")
    golden_of(pytester).parent.rename(pytester.path / "__traces__" / "test_gone")
    result = run(STEP, "--trace-update")

    result.stdout.fnmatch_lines([UNUSED, "  __traces__/test_gone/test_step.golden"])


# -- many workers ------------------------------------------------------------------------------------------------


def test_with_xdist_all_is_as_without(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    result = run(TWO.format(""), "--trace-update", *TWO_WORKERS)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["2 goldens written:", "  __traces__/test_train/test_step[[]1[]].golden", "  *test_step[[]2[]].golden"]
    )
    run(TWO.format(""), *TWO_WORKERS).assert_outcomes(passed=2)
    result = run(TWO.format("").replace("train(n)", "train(3 if n == 2 else n)"), *TWO_WORKERS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*linear  more: 2 -> 3 calls"])
    result = run(TWO.format("").replace("[1, 2]", "[1]"), *TWO_WORKERS)
    result.stdout.fnmatch_lines([UNUSED, "  __traces__/test_train/test_step[[]2[]].golden"])


# -- what it costs who does not use it ---------------------------------------------------------------------------


def test_loading_the_plugin_imports_next_to_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    code = (
        "import sys, time, json; began = time.process_time(); import pytest;"
        "before = set(sys.modules); loaded = time.process_time(); import stepscope.pytest_plugin;"
        "share = (time.process_time() - loaded) / (loaded - began);"
        "print(json.dumps([share, sorted(set(sys.modules) - before)]))"
    )
    # About 5 ms. How many they are depends on the machine, and on what else it does: of that, pytest has its share too.
    at_most = 1 / 25
    least: tuple[float, list[str]] = (math.inf, [])
    for _ in range(20):
        if least[0] >= at_most:
            least = min(least, tuple(json.loads(pytester.runpython_c(code).outlines[0])))
    share, imported = least

    assert imported == [
        "stepscope",
        "stepscope.pytest_plugin",
        "stepscope.pytest_plugin.hooks",
        "stepscope.pytest_plugin.ledger",
        "stepscope.pytest_plugin.place",
    ]
    assert share < at_most


def test_a_suite_that_does_not_use_it_sees_nothing_of_it(run: Run) -> None:
    result = run("def test_nothing():\n    pass\n")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*trace*")


def test_a_pytest_that_is_too_old_runs_and_is_told(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    code = (
        "import pytest; pytest.version_tuple = (7, 4, 4); pytest.__version__ = '7.4.4';"
        "import stepscope.pytest_plugin as p;"
        "print(p.pytest_report_header(), hasattr(p, 'trace_golden'))"
    )
    assert pytester.runpython_c(code).outlines == [
        "stepscope: trace_golden and trace_budget need pytest 8; this is 7.4.4 False"
    ]
