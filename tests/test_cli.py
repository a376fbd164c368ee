"""The command line: what it prints, and its exit codes."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepscope import CheckError, StepscopeError
from stepscope.check import Engine, Report, engine_or_none
from stepscope.cli import COMMANDS, main
from stepscope.demo.train import Recipe

SHORT = Recipe(wait=1, warmup=1, active=3, cycles=2, examples=4)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the demo a matter of ten small steps."""
    monkeypatch.setattr("stepscope.cli.demo.Recipe", lambda: SHORT)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output goes where it goes, whatever the shell that runs the tests asks for."""
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)


def stepscope(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="stepscope")


# ---- the group


def test_help_names_every_command() -> None:
    result = stepscope("--help")

    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in COMMANDS)


def test_unknown_command_is_a_usage_error() -> None:
    result = stepscope("frobnicate")

    assert result.exit_code == 2
    assert "No such command 'frobnicate'" in result.output


def test_version_is_the_installed_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepscope.cli.version", {"stepscope": "1.2.3"}.__getitem__)

    assert stepscope("--version").output == "stepscope 1.2.3\n"


def test_version_of_a_checkout_says_that_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("stepscope.cli.version", absent)

    assert stepscope("--version").output == "stepscope (not installed)\n"


def test_error_of_the_package_is_one_message_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise StepscopeError("no input.\n    Bring some.")

    monkeypatch.setattr("stepscope.cli.demo.read_corpus", fail)

    result = stepscope("demo")

    assert (result.exit_code, result.output) == (2, "stepscope: no input.\n    Bring some.\n")


def test_starting_the_command_line_imports_no_command() -> None:
    """`stepscope --version` answers at once: rich and perfetto are not loaded for it."""
    code = "import sys, stepscope.cli;print(*sorted({'rich', 'perfetto', 'stepscope.demo'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"


# ---- demo

ENGINE = Engine("wasm", Path("engine.wasm"), "a test", "v1", decodes_json_escapes=True)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], Report]], None]:
    """Puts a function in the place of the trace processor's check."""

    def put(verdict: Callable[[Path], Report]) -> None:
        def check(path: Path, *, engine: Engine) -> Report:
            assert engine is ENGINE
            return verdict(path)

        monkeypatch.setattr("stepscope.cli.demo.engine_or_none", lambda download: ENGINE)
        monkeypatch.setattr("stepscope.cli.demo.check", check)

    return put


def report(path: Path, slices: int = 48, problems: tuple[str, ...] = ()) -> Report:
    return Report(path, ENGINE, slices, 2, 1, dict.fromkeys(problems, 1), problems)


@pytest.mark.usefixtures("short")
def test_demo_says_what_each_file_holds_and_how_to_open_it(
    tmp_path: Path, engine: Callable[[Callable[[Path], Report]], None]
) -> None:
    engine(report)

    result = stepscope("demo", "--log", str(tmp_path / "log"))

    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    for path in sorted((tmp_path / "log").iterdir()):
        (at,) = [n for n, line in enumerate(lines) if line.startswith(f"{path}  ")]
        assert lines[at] == f"{path}  {path.stat().st_size / 1000:.1f} kB"
        assert lines[at + 1] == ("    loaded by the trace processor (wasm v1): 48 slices, 0 problems")
    assert "https://ui.perfetto.dev" in lines[-2]


@pytest.mark.usefixtures("short")
def test_demo_elsewhere_than_on_a_terminal_prints_a_line_per_cycle(
    tmp_path: Path, engine: Callable[[Callable[[Path], Report]], None]
) -> None:
    engine(report)

    output = stepscope("demo", "--log", str(tmp_path)).output

    told = re.sub(r"loss \d\.\d{3}", "loss L", output)
    assert [line for line in told.splitlines() if line.startswith("step ")] == [
        "step  5/10  loss L  cycle 0: steps 2 to 4 are recorded",
        "step 10/10  loss L  cycle 1: steps 7 to 9 are recorded",
    ]
    assert "\x1b" not in output


@pytest.mark.usefixtures("short")
def test_demo_on_a_terminal_draws_a_bar_and_still_says_each_cycle(
    tmp_path: Path,
    engine: Callable[[Callable[[Path], Report]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine(report)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    output = stepscope("demo", "--log", str(tmp_path)).output

    assert "\x1b" in output
    assert "training" in output
    assert output.count(" are recorded\n") == 2


@pytest.mark.usefixtures("short")
def test_demo_exits_with_1_if_a_file_has_a_problem(
    tmp_path: Path, engine: Callable[[Callable[[Path], Report]], None]
) -> None:
    def check(path: Path) -> Report:
        return report(path, problems=("json_parser_failure",) if path.suffix == ".json" else ())

    engine(check)

    result = stepscope("demo", "--log", str(tmp_path))

    assert result.exit_code == 1
    assert result.output.count("48 slices, 1 problem\n    json_parser_failure\n") == 2
    assert result.output.count("48 slices, 0 problems\n") == 2


@pytest.mark.usefixtures("short")
def test_demo_exits_with_1_if_a_file_is_refused(
    tmp_path: Path, engine: Callable[[Callable[[Path], Report]], None]
) -> None:
    def check(_path: Path) -> Report:
        raise CheckError("not a trace")

    engine(check)

    result = stepscope("demo", "--log", str(tmp_path))

    assert result.exit_code == 1
    assert result.output.count("    not loaded: not a trace\n") == 4
    assert "https://ui.perfetto.dev" in result.output


@pytest.mark.usefixtures("short")
def test_demo_without_a_trace_processor_says_so_and_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepscope.cli.demo.engine_or_none", lambda download: None)

    result = stepscope("demo", "--log", str(tmp_path))

    assert result.exit_code == 0
    assert "Not loaded back: there is no trace processor here." in result.output


@pytest.mark.usefixtures("short")
def test_demo_downloads_no_trace_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def look(*, download: bool) -> None:
        asked.append(download)

    monkeypatch.setattr("stepscope.cli.demo.engine_or_none", look)

    stepscope("demo", "--log", str(tmp_path))

    assert asked == [False]


def test_engine_that_is_named_and_does_not_work_is_trouble_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*, download: bool) -> None:
        raise CheckError("STEPSCOPE_TRACE_PROCESSOR names an engine that is not there.")

    monkeypatch.setattr("stepscope.cli.demo.engine_or_none", refuse)

    result = stepscope("demo", "--log", str(tmp_path / "log"))

    assert result.exit_code == 2
    assert result.output == "stepscope: STEPSCOPE_TRACE_PROCESSOR names an engine that is not there.\n"
    assert not (tmp_path / "log").exists()


@pytest.mark.usefixtures("short")
def test_folder_that_cannot_be_made_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = stepscope("demo", "--log", str(tmp_path / "file" / "log"))

    assert result.exit_code == 2
    assert f"stepscope: {tmp_path / 'file'}" in result.stderr
    assert "Traceback" not in result.output


def test_log_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")

    result = stepscope("demo", "--log", str(tmp_path / "log"))

    assert result.exit_code == 2
    assert "is a file" in result.stderr


def test_demo_as_a_user_starts_it(tmp_path: Path) -> None:
    """The whole program, its own process, the real profiler and the real trace processor."""
    log = tmp_path / "log"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "stepscope", "demo", "--log", str(log)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    files = sorted(log.iterdir())
    assert sorted(path.suffix for path in files) == [".json", ".json", ".pftrace", ".pftrace"]
    assert all(f"{path}  " in done.stdout for path in files)
    assert "cycle 0: steps 147 to 149 are recorded\n" in done.stdout
    assert "cycle 1: steps 297 to 299 are recorded\n" in done.stdout
    loaded = done.stdout.count(" slices, 0 problems\n")
    assert loaded == (0 if engine_or_none() is None else 4)
