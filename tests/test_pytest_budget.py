"""trace_budget: assertions on what a test records, without a golden."""

import pytest

from inner import Run, inner_run

LOOP = """
    @pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
    def test_loop(trace_budget):
        with trace_budget.record(schedule=schedule(wait=0, warmup=0, active=3, repeat=1)) as prof:
            for number in range(3):
                train()
                counter("memory", {}, unit="bytes")
                prof.step()
        {}
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return inner_run(pytester, monkeypatch)


def test_a_loop_within_its_budgets_passes(run: Run) -> None:
    checks = (
        "trace_budget.calls('linear', at_most=2, at_least=2, per_step=True);"
        "trace_budget.no_calls('aten::*'); trace_budget.share_of_step('forward', at_most=1);"
        "trace_budget.no_growth('memory')"
    )
    run(LOOP.format(7, checks)).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("check", "lines"),
    [
        (
            "calls('linear', at_most=1, per_step=True)",
            [
                "E * 2 calls of 'linear' in step 0, at most 1 is allowed:",
                "E * thread MainThread",
                "E * ProfilerStep#0",
                "E * forward",
                "E * >     *linear x2",
            ],
        ),
        ("no_calls('lin*')", ["E * 6 calls of 'lin[*]', none is allowed:"]),
        ("share_of_step('forward', at_most=0)", ["E * 'forward' takes *% of step *"]),
        ("no_growth('memory')", ["E * counter 'memory' grows by 2 bytes in 3 steps, no growth is allowed:"]),
    ],
)
def test_a_loop_over_budget_fails_and_shows_what_is_too_much(check: str, lines: list[str], run: Run) -> None:
    result = run(LOOP.format("number", f"trace_budget.{check}"))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*trace_budget.*", *(line.replace(">     *", "*") for line in lines)])
    result.stdout.no_fnmatch_line("*stepscope/*")


def test_a_test_that_asserts_nothing_fails(run: Run) -> None:
    result = run(LOOP.format(1, ""))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the test asks for trace_budget and asserts nothing: record, then call calls(), *"])

    result = run("def test_loop(trace_budget):\n    trace_budget.no_calls('a')\n")
    result.stdout.fnmatch_lines(["nothing was recorded: use `with trace_budget.record():` first."])


def test_what_another_profile_recorded_can_be_judged_and_one_inside_takes_over(run: Run) -> None:
    tests = """
        def test_given(trace_budget):
            with profile() as prof:
                train(3)
            trace_budget.of(prof).calls("linear", at_most=3, at_least=3)
            trace_budget.of(prof.trace).no_calls("load")

        def test_inside(trace_budget):
            with trace_budget.record():
                with profile():
                    train(4)
            trace_budget.calls("linear", at_most=4, at_least=4)

        def test_with_a_golden(trace_budget, trace_golden):
            with trace_golden.record(), trace_budget.record():
                train(1)
            trace_budget.calls("linear", at_most=1)
    """
    run(tests, "--trace-update").assert_outcomes(passed=3)
    run(tests).assert_outcomes(passed=3)
