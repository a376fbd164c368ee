"""The pytest plugin: golden traces, budgets, and a trace of each test.

pytest loads it wherever stepscope is installed: it costs next to nothing until a test or an option asks for it, and it
stays out of the way of a pytest that it cannot work with. PYTEST_DONT_REWRITE: it may be imported already, and has no
assertions.
"""

import pytest

OLDEST_PYTEST = 8

if int(pytest.version_tuple[0]) >= OLDEST_PYTEST:
    from stepscope.pytest_plugin.hooks import (
        pytest_addoption,
        pytest_configure,
        pytest_runtest_call,
        pytest_runtest_teardown,
        trace_budget,
        trace_golden,
    )

    __all__ = [
        "pytest_addoption",
        "pytest_configure",
        "pytest_runtest_call",
        "pytest_runtest_teardown",
        "trace_budget",
        "trace_golden",
    ]
else:

    def pytest_report_header() -> str:
        """Say why the fixtures are not there."""
        return f"stepscope: trace_golden and trace_budget need pytest {OLDEST_PYTEST}; this is {pytest.__version__}"
