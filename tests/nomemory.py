"""Allocations that fail, in a process where nothing else allocates.

A failing allocation is the next one of whichever thread comes first. In a worker of pytest-xdist that may be the thread
that reads the worker's orders, and the worker is lost. A fork has the one thread that called it.
"""

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def require_testcapi() -> ModuleType:
    """The module that makes allocations fail; skips the test where there is none."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    found: ModuleType = pytest.importorskip(
        "_testcapi",
        reason="this Python has no _testcapi to make allocations fail",
    )
    return found


def alone(check: Callable[[], int | None]) -> int | None:
    """What `check` returns in a forked process of its own. What it raises there is an AssertionError with its text."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # From 3.12 on, a fork of a process with threads warns: the child runs none of their code.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            answer = json.dumps([check(), ""])
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it
            answer = json.dumps([None, traceback.format_exc()])
        with os.fdopen(writer, "w", encoding="ascii") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert not os.WIFSIGNALED(status), f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    assert answer, f"it ended with status {status} and said nothing"
    returned: int | None
    returned, raised = json.loads(answer)
    assert not raised, raised
    return returned


def failures_of(
    call: Callable[..., Any],
    expected: object,
    *,
    upto: int,
    given: Callable[[], tuple[Any, ...]] = tuple,
) -> int:
    """In how many calls an allocation failed, when the first one fails in the first call, and so on up to `upto`.

    A call either raises MemoryError or returns what is expected: after a failure, the next one is none the worse.
    `given` makes each call's arguments.
    """
    testcapi = require_testcapi()

    def fail_each() -> int:
        failures = 0
        for allocation in range(1, upto):
            arguments = given()
            testcapi.set_nomemory(allocation, allocation + 1)
            try:
                actual = call(*arguments)
            except MemoryError:
                testcapi.remove_mem_hooks()
                failures += 1
            else:
                testcapi.remove_mem_hooks()
                assert actual == expected
            finally:
                testcapi.remove_mem_hooks()
        return failures

    failures = alone(fail_each)
    assert failures is not None
    return failures
