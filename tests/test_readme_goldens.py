"""README's walk through a golden test: what it shows is what a user gets who does it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(heading: str) -> list[tuple[str, str]]:
    """The code blocks of a section: (language, text)."""
    section = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def of_language(language: str) -> list[str]:
    return [text for found, text in blocks("In tests") if found == language]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the test of the walk-through."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_train.py").write_text(of_language("python")[0], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def run_pytest(project: Path, *arguments: str) -> tuple[int, str]:
    """pytest's exit code and output, as in a terminal of nobody's."""
    environ = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout


def changed(source: str, change: str) -> str:
    """The source with the lines of the walk-through's change in their places."""
    old = [line[1:] for line in change.splitlines() if line.startswith("-")]
    new = [line[1:] for line in change.splitlines() if line.startswith("+")]
    for before, after in zip(old, new, strict=True):
        assert source.count(f"{before}\n") == 1
        source = source.replace(f"{before}\n", f"{after}\n")
    return source


def test_the_walk_from_a_passing_golden_test_to_a_caught_regression_is_real(project: Path) -> None:
    golden, failure = of_language("")[:2]
    module = project / "tests" / "test_train.py"

    missing = run_pytest(project)
    assert missing[0] == 1
    assert golden in missing[1]
    assert run_pytest(project, "--trace-update")[0] == 0
    written = project / "tests" / "__traces__" / "test_train" / "test_training_steps.golden"
    assert written.read_text(encoding="utf-8") == golden
    assert run_pytest(project)[0] == 0

    module.write_text(changed(module.read_text(encoding="utf-8"), *of_language("diff")), encoding="utf-8")
    code, output = run_pytest(project)

    assert code == 1
    assert failure.removeprefix("$ pytest\n") in output


def test_the_budget_that_is_exceeded_is_real(project: Path) -> None:
    module = project / "tests" / "test_train.py"
    budget, message = of_language("python")[1], of_language("")[2]
    module.write_text(
        changed(module.read_text(encoding="utf-8"), *of_language("diff")) + f"\n\n{budget}", encoding="utf-8"
    )

    code, output = run_pytest(project, "-k", "test_budget")

    assert code == 1
    assert message in output
