"""`pytest --trace-record DIR`: a trace of each test, and one of the whole run.

A test's session has its node id around setup, call and teardown, and whatever the test's code records inside of them.
Where a test records by itself, with a profile or a fixture of this plugin, its session ends. suite.pftrace has the same
spans of every test, as the reports tell them; each of xdist's workers is a process in it.
"""

import os
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

from stepscope import ExportError, LifecycleError, write
from stepscope.core import kernels
from stepscope.core.clock import read_clocks
from stepscope.core.rows import StepMark
from stepscope.core.values import legal_text
from stepscope.model.build import TraceBuilder
from stepscope.model.output import make_folder
from stepscope.model.trace import Origin, Trace
from stepscope.pytest_plugin.ledger import Ledger, note, shown_path
from stepscope.pytest_plugin.place import folder_of, stem_of
from stepscope.pytest_plugin.recorder import YieldingProfile
from stepscope.session.recording import Recording

__all__ = ["Sessions"]

ENDINGS = (".pftrace", ".pt.trace.json")
# Reports have seconds in a double, which near the epoch's size is exact to some 240 ns.
TICK_NS = 1000


class _TestProfile(YieldingProfile):
    """The profile of one test, which puts spans around what was recorded without being among the program's own.

    A span of `record_function` would be open when a test starts its own profile, and so be in what that one records.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gave_way_at: int | None = None

    def give_way(self, other: Recording) -> None:
        """As `YieldingProfile`, and remember when."""
        self._gave_way_at = kernels.now()
        super().give_way(other)

    def mark(self, name: str, start: int, at: int = -1) -> None:
        """Put a span around what was recorded since `start`, before the `at`th of those there are."""
        if self._gave_way_at is None or start < self._gave_way_at:
            end = max(kernels.now(), start)
            thread, tid = "MainThread", kernels.thread_id()
            self._marks.insert(at % (len(self._marks) + 1), StepMark(name, start, end, tid, thread))


class Sessions:
    """The plugin that records every test."""

    def __init__(self, config: pytest.Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._folder = config.invocation_params.dir / config.getoption("--trace-record")
        self._profile: _TestProfile | None = None
        self._began = 0
        self._phases: defaultdict[str, dict[str, list[tuple[str, float, float, str]]]] = defaultdict(dict)

    # -- where tests run -----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """A test begins: record it."""
        self._begin(item)
        return (yield from self._phase("setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        """The test itself."""
        return (yield from self._phase("call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The test ends: write what was recorded, before its last report is made."""
        try:
            return (yield from self._phase("teardown"))
        finally:
            self._end(item)

    def _phase(self, name: str) -> Generator[None, Any, Any]:
        start = kernels.now()
        try:
            return (yield)
        finally:
            if self._profile is not None:
                self._profile.mark(name, start)

    def _begin(self, item: pytest.Item) -> None:
        self._began = kernels.now()
        made = _TestProfile()
        try:
            made.start()
        except LifecycleError:
            note(item, "unrecorded", f"{item.nodeid}: a profile was active when it began")
        else:
            self._profile = made
            self._began = kernels.now()

    def _end(self, item: pytest.Item) -> None:
        made, self._profile = self._profile, None
        if made is None:
            return
        made.mark(legal_text(item.nodeid), self._began, at=0)
        made.stop()
        if made.successor is not None:
            note(item, "gave_way", item.nodeid)
        try:
            module = self._folder / folder_of(item)
            make_folder(module)
            for ending in ENDINGS:
                write(made.trace, module / f"{stem_of(item)}{ending}")
        except ExportError as error:
            note(item, "unrecorded", f"{item.nodeid}: {error}")
        else:
            note(item, "recorded", item.nodeid)

    # -- where the terminal is -----------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember when a test did what."""
        tests = self._phases[getattr(report, "worker_id", "")]
        tests.setdefault(report.nodeid, []).append((str(report.when), report.start, report.stop, report.outcome))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the trace of the whole run, and say where everything is."""
        if not self._phases:
            return
        notes = self._ledger.notes
        terminalreporter.section("traces of tests")
        try:
            make_folder(self._folder)
            trace = _suite(self._phases)
            suite, _ = [write(trace, self._folder / f"suite{ending}") for ending in ENDINGS]
        except ExportError as error:
            terminalreporter.write_line(str(error))
        else:
            folder = shown_path(self._folder, self._config)
            terminalreporter.write_line(
                f"tests recorded in {folder}: {len(notes['recorded'])}; "
                f"open {shown_path(suite, self._config)} in https://ui.perfetto.dev"
            )
        for heading, lines in (
            ("tests that record by themselves, whose traces end where that begins", notes["gave_way"]),
            ("tests not recorded", notes["unrecorded"]),
        ):
            if lines:
                terminalreporter.write_line(f"{heading}: {len(lines)}")
                for line in sorted(lines):
                    terminalreporter.write_line(f"  {line}")


def _suite(phases: dict[str, dict[str, list[tuple[str, float, float, str]]]]) -> Trace:
    """The trace of a run: each test's node id around its setup, call and teardown."""
    first = min(start for tests in phases.values() for test in tests.values() for _, start, _, _ in test)
    base_ns = _ns(first)
    builder = TraceBuilder(Origin(base_ns=base_ns, clocks=read_clocks(), process="pytest", pid=os.getpid()), TICK_NS)
    for number, (worker, tests) in enumerate(sorted(phases.items())):
        pid = number + 1 if worker else os.getpid()
        track = builder.thread(pid, pid, "MainThread", f"pytest {worker}".strip())
        for name, test in tests.items():
            begin, end = min(start for _, start, _, _ in test), max(stop for _, _, stop, _ in test)
            builder.slice(track, legal_text(name), _ns(begin) - base_ns, _ns(end) - _ns(begin))
            for when, start, stop, outcome in test:
                builder.slice(track, when, _ns(start) - base_ns, _ns(stop) - _ns(start), args={"outcome": outcome})
    return builder.build()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
