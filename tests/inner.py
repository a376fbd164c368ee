"""Runs of pytest inside of a test: with the plugin, warnings as errors, and a program to record."""

from collections.abc import Callable
from textwrap import dedent

import pytest

# Imported here and now: pytester forgets what an inner run has imported, and a test could replace what nobody uses.
import stepscope.pytest_plugin.budget
import stepscope.pytest_plugin.golden
import stepscope.pytest_plugin.sessions  # noqa: F401
from conftest import INSTALLED

__all__ = ["OPTIONS", "PROGRAM", "TWO_WORKERS", "Run", "inner_run"]

# Plugins of others that may be installed change the order of tests, or warn.
_OTHERS = ("-p", "no:randomly", "-p", "no:asyncio")
OPTIONS = (*(() if INSTALLED else ("-p", "stepscope.pytest_plugin")), "-W", "error", *_OTHERS)
# Hypothesis is half of what a worker imports, and the tests in it are none of Hypothesis's.
TWO_WORKERS = ("-p", "xdist", "-n", "2", "-p", "no:hypothesispytest")
PROGRAM = """
    import asyncio
    import pytest
    from stepscope import counter, flow_end, flow_start, instant, profile, record_function, schedule

    def train(layers=2, batch=32):
        with record_function("forward", batch=batch):
            for _ in range(layers):
                with record_function("linear"):
                    pass
"""

Run = Callable[..., pytest.RunResult]


def inner_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs pytest on tests given as text, with options."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(tests: str | None = None, *options: str) -> pytest.RunResult:
        if tests is not None:
            pytester.makepyfile(test_train=dedent(PROGRAM) + dedent(tests))
        return pytester.runpytest_inprocess(*OPTIONS, *options)

    return run
