"""The books of a run: which goldens were used and written, and which no test uses any more.

What a test did is put down at the test's node, and its last report carries it, from xdist's workers too. The process
that has the terminal says it at the end.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Generator
from glob import escape
from pathlib import Path
from typing import Any

import pytest

from stepscope.pytest_plugin.place import FOLDER, goldens_in, home_of, stem_of

__all__ = ["NOTES", "Ledger", "in_ci", "note"]

NOTES = pytest.StashKey[dict[str, list[str]]]()
CARRIED = "stepscope_notes"
# What notes are called, and what the summary says of them.
SAID = {
    "written": "{} golden{s} written:",
    "changed": "{} golden{s} changed:",
}


def in_ci() -> bool:
    """Whether this is a machine that nobody watches, as the variable CI says."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no", "off")


def note(item: pytest.Item, kind: str, text: str) -> None:
    """Put something down at a test, such as that it has "used", "written" or "changed" a file."""
    item.stash.setdefault(NOTES, {}).setdefault(kind, []).append(text)


class _Module:
    """A test module as the reports tell it.

    Attributes:
        whole: how many tests it has; 0 if not all of them were to run.
        stems: test -> what its files are called.
        used: names of files.
    """

    def __init__(self) -> None:
        self.whole = 0
        self.stems: dict[str, str] = {}
        self.used: set[str] = set()


class Ledger:
    """The plugin that keeps them.

    Attributes:
        notes: what was put down, of all tests, by kind.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collected: Counter[Path] = Counter()
        self._chosen: Counter[Path] = Counter()
        self._modules: defaultdict[str, _Module] = defaultdict(_Module)
        self._unsure: set[str] = set()
        self.notes: defaultdict[str, list[str]] = defaultdict(list)

    # -- where tests run -----------------------------------------------------------------------------------------

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Count the tests of a module before any is left out."""
        self._collected[item.path] += 1

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count those that are to run."""
        self._chosen = Counter(item.path for item in session.items)
        if getattr(self._config.option, "lf", False):  # it collects a part of a module only, and says nothing
            self._chosen.clear()
        for argument in self._config.args:
            path, _, inside = argument.partition("::")
            if inside:
                self._chosen.pop((self._config.invocation_params.dir / path).resolve(), None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let a test's last report carry what was put down."""
        report = yield
        if call.when == "teardown" and (NOTES in item.stash or home_of(item.path).is_dir()):
            whole = self._chosen[item.path] == self._collected[item.path]
            facts = {"module": str(item.path), "stem": stem_of(item), "whole": self._collected[item.path] * whole}
            setattr(report, CARRIED, {**facts, "notes": item.stash.get(NOTES, {})})
        return report

    # -- where the terminal is -----------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what reports carry."""
        if not report.passed:
            self._unsure.add(report.nodeid)
        facts: dict[str, Any] | None = getattr(report, CARRIED, None)
        if facts is None:
            return
        module = self._modules[facts["module"]]
        module.whole = facts["whole"]
        module.stems[report.nodeid] = facts["stem"]
        module.used.update(facts["notes"].get("used", ()))
        for kind, texts in facts["notes"].items():
            self.notes[kind] += texts

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what was written, and what no test uses."""
        lines: list[str] = []
        for kind, heading in SAID.items():
            lines += self._listed(heading, self.notes[kind])
        lines += self._listed("{} golden{s} that no test uses any more; delete what is not needed:", self._obsolete())
        if lines:
            terminalreporter.section("golden traces")
            for line in lines:
                terminalreporter.write_line(line)

    def _listed(self, heading: str, paths: list[str]) -> list[str]:
        names = sorted({shown_path(Path(path), self._config) for path in paths})
        return [heading.format(len(names), s="s" * (len(names) > 1)), *(f"  {name}" for name in names)] if names else []

    def _obsolete(self) -> list[str]:
        """Goldens of modules that ran wholly, or are there no more, that no test has used or might have."""
        found: list[Path] = []
        folders: set[Path] = set()
        for name, module in self._modules.items():
            path = Path(name)
            folders.add(path.parent)
            if module.whole and len(module.stems) == module.whole:
                unsure = tuple(f"{stem}." for test, stem in module.stems.items() if test in self._unsure)
                for golden in goldens_in(home_of(path)):
                    if str(golden) not in module.used and not (unsure and golden.name.startswith(unsure)):
                        found.append(golden)  # noqa: PERF401 - three conditions
        for folder in folders:
            for home in (folder / FOLDER).iterdir() if (folder / FOLDER).is_dir() else ():
                if home.is_dir() and not any(folder.glob(f"{escape(home.name)}.*")):
                    found += goldens_in(home)
        return [str(path) for path in found]


def shown_path(path: Path, config: pytest.Config) -> str:
    """A path as people see it: from where pytest was started, if it is below."""
    try:
        return path.relative_to(config.invocation_params.dir).as_posix()
    except ValueError:
        return str(path)
