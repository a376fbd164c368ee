"""Options, fixtures and hooks; whatever does the work is imported when a test or an option asks for it."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from stepscope.pytest_plugin.ledger import Ledger, in_ci

if TYPE_CHECKING:
    from stepscope.pytest_plugin.budget import TraceBudget
    from stepscope.pytest_plugin.golden import TraceGolden

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "trace_budget",
    "trace_golden",
]

GOLDEN = pytest.StashKey["TraceGolden"]()
BUDGET = pytest.StashKey["TraceBudget"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("stepscope", "traces of tests")
    group.addoption(
        "--trace-update",
        action="store_true",
        help="write golden traces that are missing or differ, and list them; refused in CI",
    )
    group.addoption(
        "--trace-record",
        metavar="DIR",
        help="record each test as a session into this folder, and the whole run as suite.pftrace; for ui.perfetto.dev",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the books of goldens; record tests if that is asked for."""
    if config.getoption("--trace-update") and in_ci():
        message = (
            "--trace-update writes nothing in CI, where nobody would review it (the environment variable CI is set). "
            "Run it on your machine and commit the goldens; a job that is meant to write them can unset CI."
        )
        raise pytest.UsageError(message)
    ledger = Ledger(config)
    config.pluginmanager.register(ledger, "stepscope-ledger")
    if config.getoption("--trace-record"):
        from stepscope.pytest_plugin.sessions import Sessions

        config.pluginmanager.register(Sessions(config, ledger), "stepscope-sessions")


@pytest.fixture
def trace_golden(request: pytest.FixtureRequest) -> "TraceGolden":
    """Compare what a test records with the golden trace beside it; see `TraceGolden`."""
    from stepscope.pytest_plugin.golden import TraceGolden

    golden = request.node.stash[GOLDEN] = TraceGolden(request.node)
    return golden


@pytest.fixture
def trace_budget(request: pytest.FixtureRequest) -> "TraceBudget":
    """Assert what a test records without a golden; see `TraceBudget`."""
    from stepscope.pytest_plugin.budget import TraceBudget

    budget = request.node.stash[BUDGET] = TraceBudget()
    return budget


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that has recorded and not checked is checked when it ends, as part of it."""
    result = yield
    if GOLDEN in item.stash:
        item.stash[GOLDEN].finish()
    if BUDGET in item.stash:
        item.stash[BUDGET].finish()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """What a fixture of the test's has recorded is checked when that has ended."""
    result = yield
    if GOLDEN in item.stash:
        item.stash[GOLDEN].finish(at_teardown=True)
    return result
