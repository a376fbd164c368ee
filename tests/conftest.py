"""What every test stands on: a clean profiler, a fake clock, and the trace processor behind every file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from law import assert_file_is
from stepscope import core
from stepscope.check import engine_or_none
from stepscope.core import kernels
from stepscope.formats import files
from stepscope.model.trace import Row, Trace
from stepscope.session import handlers, recording

_loaded = 0


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Every clock of the profiler; stands at 0 until told."""
    fake = FakeClock()
    core.use_clock(fake)
    yield fake
    core.use_clock(None)


@pytest.fixture(autouse=True)
def clean_profiler() -> Iterator[None]:
    """No test leaves a profile running."""
    yield
    left = recording._Active.owner  # noqa: SLF001 - what no user should need
    recording._Active.forget()  # noqa: SLF001
    kernels.disarm()
    assert left is None, "the test left a profile active"


@pytest.fixture(autouse=True)
def every_file_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test writes is loaded by the trace processor, row by row, as soon as it is written."""
    if engine_or_none(download=False) is None:
        return
    write_as: Callable[..., Path] = files.write_as

    def write_and_load(trace: Trace, path: Any, *args: Any, **kwargs: Any) -> Path:
        global _loaded  # noqa: PLW0603 - one count for the whole run
        written = write_as(trace, path, *args, **kwargs)
        if written.is_file():
            assert_file_is(trace, written)
            _loaded += 1
        return written

    monkeypatch.setattr(files, "write_as", write_and_load)
    monkeypatch.setattr(handlers, "write_as", write_and_load)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    engine = engine_or_none(download=False)
    if engine is None:
        terminalreporter.write_line("no trace processor: no file was loaded. pip install stepscope[engine]")
    else:
        terminalreporter.write_line(f"{_loaded} files loaded row by row by the trace processor ({engine.name})")


def rows(trace: Trace) -> list[tuple[str, int, int, int]]:
    """A trace as tests state it: (name, ts, dur, kind)."""
    return [(row.name, row.ts, row.dur, row.kind) for row in trace]


def row_named(trace: Trace, name: str) -> Row:
    """The only row of that name."""
    (found,) = [row for row in trace if row.name == name]
    return found
