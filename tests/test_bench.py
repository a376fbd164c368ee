"""The benchmark runs, checks what it times, and holds figures against limits as it says; no test looks at a time."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bench import run
from bench.report import WIDTH, Measured, as_json, row_lines, summary_lines
from bench.table import ROWS, Row
from bench.timing import AbsentError, Checked, Contender, Plan, Result, Timed, interleave
from bench.verdict import OVER, WITHIN, figures
from bench.verify import file_is, trace_holds
from bench.worker import answer_from
from clock import FakeClock
from stepscope import instant, profile, record_function, write
from stepscope.check import engine_or_none

ROOT = Path(__file__).parent.parent
PLAN = Plan(samples=2, at_least=2, budget_s=60.0)

needs_engine = pytest.mark.skipif(engine_or_none(download=False) is None, reason="no trace processor")


def contender(
    name: str, open_sample: Callable[[int], AbstractContextManager[Timed]], *, ours: bool = False, package: str = ""
) -> Contender:
    return Contender(name, open_sample, 10, package, ours)


def result(name: str, samples: list[float], *, ours: bool = False, checked: Checked | None = None) -> Result:
    return Result(name, ours, "", "", 10, samples, checked=checked)


# -- the command ----------------------------------------------------------------------------------------------------


@needs_engine
def test_the_command_measures_a_row_and_checks_what_it_timed(tmp_path: Path) -> None:
    """A program of its own, as a user starts it; every count is exact."""
    file = tmp_path / "bench.json"
    command = [sys.executable, str(ROOT / "tools" / "bench"), "--quick", "--only", "span", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, [])
    assert max(map(len, done.stdout.splitlines())) <= WIDTH
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["ok"], told["quick"], [row["name"] for row in told["rows"]]) == (True, True, ["span"])
    assert set(told["machine"]) >= {"cpu", "system", "python", "core", "versions"}
    (row,) = told["rows"]
    assert (row["unit"], row["skipped"], row["died"]) == ("ns", "", "")
    empty, ours, *peers = row["results"]
    assert (empty["name"], empty["ops"], len(empty["samples"])) == ("empty loop", 5_000, 3)
    assert (ours["name"], ours["ours"], ours["ops"], len(ours["samples"])) == ("stepscope", True, 5_000, 3)
    assert (ours["checked"][0], ours["checked"][1].partition(", ")[0]) == (True, "5,000 recorded")
    for peer in peers:
        assert bool(peer["samples"]) != bool(peer["absent"]), peer


def test_a_name_that_no_row_has_is_an_error_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run.main(["--only", "span", "spam"])

    assert left.value.code == 2
    assert "no row is called spam; --list names them" in capsys.readouterr().err


def test_the_list_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list", "--only", "export-*"]) == 0

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["export-pftrace", "export-json", "export-gz", "export-args"]


def test_a_worker_that_dies_is_told_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which row it was, and the last that its process said."""
    alive = run.ask

    def ask(row: Row | None, *args: Any) -> Any:
        if row is not None:
            raise run.WorkerError("exit code -11: Segmentation fault")
        return alive(None, *args)

    monkeypatch.setattr(run, "ask", ask)

    assert run.main(["--quick", "--only", "instant"]) == 1
    said = capsys.readouterr().out
    assert "  FAILED: exit code -11: Segmentation fault" in said
    assert "WRONG OUTPUT OR NONE: instant." in said


def test_a_row_whose_clock_the_core_does_not_have_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEPSCOPE_CORE", "python")

    assert run.main(["--quick", "--only", "span-tsc"]) == 0
    assert "  not measured: exit code 1: " in (out := capsys.readouterr().out)
    assert "STEPSCOPE_CLOCK=tsc: " in out


def test_an_answer_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="a worker answered"):
        answer_from('{"core": {}}')


# -- samples --------------------------------------------------------------------------------------------------------


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def named(name: str) -> Contender:
        @contextlib.contextmanager
        def open_sample(ops: int) -> Iterator[Timed]:
            assert ops == 10
            yield Timed(lambda: turns.append(name), lambda: turns.append(f"{name} ends"))

        return contender(name, open_sample)

    results = interleave([named("a"), named("b")], PLAN)

    assert turns == ["a", "a ends", "b", "b ends"] * 3
    assert [len(each.samples) for each in results] == [2, 2]


def test_the_output_of_the_last_sample_is_looked_at() -> None:
    """Exactly one look, after the last run, with what the gauge read then."""
    readings = iter([100, 200, 300])
    looked: list[int] = []

    @contextlib.contextmanager
    def open_sample(_: int) -> Iterator[Timed]:
        def check(reading: int) -> Checked:
            looked.append(reading)
            return Checked(ok=True, text="seen")

        yield Timed(lambda: None, check=check)

    (found,) = interleave([contender("a", open_sample)], PLAN, lambda: lambda: next(readings))

    assert looked == [300]
    assert (found.samples, found.checked) == ([20.0, 30.0], (True, "seen"))


def test_who_is_absent_or_fails_is_named_and_the_others_go_on() -> None:
    @contextlib.contextmanager
    def missing(_: int) -> Iterator[Timed]:
        raise AbsentError("there is none")
        yield

    @contextlib.contextmanager
    def failing(_: int) -> Iterator[Timed]:
        yield Timed(lambda: 1 // 0)

    @contextlib.contextmanager
    def fine(_: int) -> Iterator[Timed]:
        yield Timed(lambda: None)

    contenders = [
        contender("missing", missing),
        contender("uninstalled", fine, package="no-such-distribution"),
        contender("failing", failing),
        contender("fine", fine),
    ]
    results = interleave(contenders, PLAN)

    assert [each.absent for each in results] == ["there is none", "no-such-distribution is not installed", "", ""]
    assert results[2].error.startswith("ZeroDivisionError: ")
    assert [len(each.samples) for each in results] == [0, 0, 0, 2]


def test_a_profile_function_left_behind_is_taken_away_and_told() -> None:
    """It would slow down all that follow; before Python 3.12 a VizTracer that is merely made leaves one."""
    before = sys.getprofile()

    @contextlib.contextmanager
    def leaving(_: int) -> Iterator[Timed]:
        yield Timed(lambda: sys.setprofile(lambda *_: None))

    (found,) = interleave([contender("leaving", leaving)], PLAN)

    assert sys.getprofile() is before
    assert found.error.startswith("RuntimeError: it left a profile function behind")


def test_a_plan_that_runs_out_of_time_keeps_its_least_number_of_samples() -> None:
    @contextlib.contextmanager
    def fine(_: int) -> Iterator[Timed]:
        yield Timed(lambda: None, check=lambda _: Checked(ok=True, text="seen"))

    (found,) = interleave([contender("fine", fine)], Plan(samples=50, at_least=3, budget_s=0.0))

    assert (len(found.samples), found.checked) == (3, (True, "seen"))


# -- what a look at the output finds --------------------------------------------------------------------------------


@needs_engine
def test_a_trace_is_held_to_what_was_timed(clock: FakeClock) -> None:
    with profile() as prof:
        for number in range(3):
            clock.at(10 * number)
            with record_function("x", a=1, b="text"):
                clock.at(10 * number + 4)
        instant("x")

    assert trace_holds(prof.trace, 24, slices=3, instants=1, args=6) == (True, "4 recorded, 0.0 of 0.0 ms")
    assert trace_holds(prof.trace, 24, slices=4, args=6) == (True, "4 recorded, 0.0 of 0.0 ms")
    assert trace_holds(prof.trace, 24, slices=5, args=6) == (False, "4 slices, not 5")
    assert trace_holds(prof.trace, 24, slices=4, args=8) == (False, "6 args, not 8")
    assert trace_holds(prof.trace, 24, slices=4, counters=1, args=6) == (False, "0 counter values, not 1")
    assert trace_holds(prof.trace, 11, slices=4, args=6) == (False, "slices of 12 ns in 11 ns, the shortest of 0")


@needs_engine
def test_a_file_is_held_to_its_trace(clock: FakeClock, tmp_path: Path) -> None:
    with profile() as prof, record_function("x"):
        clock.at(7)
    with profile() as longer, record_function("x"):
        clock.at(15)
    path = write(prof.trace, tmp_path / "run.json")

    assert file_is(path, prof.trace).ok
    assert file_is(path, longer.trace) == (False, "1 slices of 7 ns, the trace has 1 of 8 ns; ")


# -- verdicts -------------------------------------------------------------------------------------------------------


def test_the_loop_is_subtracted_and_the_minimum_is_judged() -> None:
    """Minimum from minimum, median from median; a limit that is met exactly is kept."""
    row = Row("row", "a row", (), 75, {"slow": 60, "quick": 20})
    lines = figures(
        row,
        [
            result("empty loop", [5.0, 6.0, 100.0]),
            result("stepscope", [80.0, 82.0, 500.0], ours=True, checked=Checked(ok=True, text="3 recorded")),
            result("slow", [4505.0, 4506.0, 9000.0]),
            result("quick", [1504.9, 1606.0, 9000.0]),
            result("free", [5.0, 6.0, 7.0]),
        ],
    )

    assert [(line.name, line.minimum, line.median, line.verdict, line.by_median) for line in lines] == [
        ("stepscope", 75.0, 76.0, WITHIN, OVER),
        ("slow", 4500.0, 4500.0, WITHIN, OVER),
        ("quick", 1499.9, 1600.0, OVER, WITHIN),
        ("free", 0.0, 0.0, "", ""),
    ]
    assert [line.limit for line in lines] == ["<= 75 ns", ">= 60 x", ">= 20 x", ""]
    assert lines[1].ratio == 60.0


def test_peers_are_compared_with_the_costliest_of_ours() -> None:
    row = Row("row", "a row", (), 35, {"peer": 100})
    lines = figures(
        row, [result("idle", [10.0], ours=True), result("waiting", [40.0], ours=True), result("peer", [2000.0])]
    )

    assert [(line.verdict, line.ratio) for line in lines] == [(WITHIN, 0.0), (OVER, 0.0), (OVER, 50.0)]


def test_only_a_wrong_output_of_ours_fails_the_run() -> None:
    """A peer's failure is told; a figure over its limit is no failure."""
    row = Row("row", "a row", (), 1)
    wrong = Checked(ok=False, text="2 slices, not 3")

    def ok(*results: Result) -> bool:
        return Measured(row, results=results, figures=figures(row, results)).ok

    assert ok(result("ours", [9.0], ours=True), result("peer", [9.0], checked=wrong))
    assert not ok(result("ours", [9.0], ours=True, checked=wrong))
    assert ok(Result("peer", ours=False, package="", version="", ops=10, error="it broke"))
    assert not ok(Result("ours", ours=True, package="", version="", ops=10, error="it broke"))
    assert ok(Result("ours", ours=True, package="", version="", ops=10, absent="it has no counter"))


# -- the report -----------------------------------------------------------------------------------------------------


def test_a_row_prints_as_one_aligned_block() -> None:
    row = Row("row", "a row", (), 75, {"slow": 60})
    results = [
        result("empty loop", [5.0]),
        result("stepscope", [65.0], ours=True, checked=Checked(ok=True, text="10 recorded")),
        result("slow", [3005.0]),
        Result("gone", ours=False, package="gone", version="", ops=10, absent="gone is not installed"),
    ]
    measured = Measured(row, {"name": "c", "clock": "tsc"}, results, figures(row, results))

    assert row_lines(measured) == [
        "",
        "row: a row" + " " * 100 + "c core tsc",
        " " * 41 + "min    median  x ours  limit              ns, 1 samples, loop of 5.0 out",
        "  stepscope                             60.0      60.0          <= 75 ns  within   10 recorded",
        "  slow                               3,000.0   3,000.0    50.0  >= 60 x   OVER",
        "  gone                              not there: gone is not installed",
    ]
    assert summary_lines([measured], quick=False) == [
        "",
        "1 of 2 limits kept by the minimum, 1 by the median; over:",
        "  row             slow",
    ]
    told = as_json({"cpu": "one"}, [measured], quick=False)
    assert json.loads(json.dumps(told))["rows"][0]["figures"][1]["ratio"] == 50.0


def test_every_limit_names_a_contender_of_its_row() -> None:
    """A peer that is renamed in one table must not lose its limit in the other."""
    for row in ROWS:
        names = [each.name for each in row.contenders]
        assert set(row.cheaper) <= set(names), row.name
        assert len(set(names)) == len(names), row.name
        assert any(each.ours for each in row.contenders), row.name
