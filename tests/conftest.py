"""What every test stands on: a clean profiler, a fake clock, and the trace processor behind every file."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from perfetto.trace_processor import api

from clock import FakeClock
from gate import Gate, replace_encoder
from law import assert_file_is
from stepscope import core
from stepscope.check import engine_or_none
from stepscope.core import kernels
from stepscope.formats import files
from stepscope.formats.perfetto import encode_perfetto
from stepscope.model.trace import Row, Trace
from stepscope.record.drain import drain
from stepscope.session import handlers, recording
from stepscope.session.writer import THREAD_NAME, WRITER

_loaded = 0

# Each of perfetto's clients would make the same message classes for itself, in a fifth of what a small file takes.
_message_classes = api.ProtoFactory(api.PLATFORM_DELEGATE())
api.ProtoFactory = lambda _: _message_classes

# A default deadline tells how busy the machine is. CI must say the same of the same commit; whoever runs the suite at
# home looks for new examples.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")

# A source tree has no entry points, and a plugin must not be loaded under two names.
INSTALLED = any(point.name == "stepscope" for point in metadata.entry_points(group="pytest11"))
pytest_plugins = ["pytester"] if INSTALLED else ["pytester", "stepscope.pytest_plugin"]


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Every clock of the profiler; stands at 0 until told."""
    fake = FakeClock()
    core.use_clock(fake)
    yield fake
    core.use_clock(None)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate before the Perfetto encoder."""
    gate = Gate()

    def encode(trace: Trace) -> Iterator[bytes]:
        gate.pass_through()
        yield from encode_perfetto(trace)

    replace_encoder(monkeypatch, encode)
    yield gate
    gate.open()


@pytest.fixture
def pairing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate before the pairing of a session's records."""
    gate = Gate()

    def drain_at_the_gate(*args: Any) -> Trace:
        gate.pass_through()
        return drain(*args)

    monkeypatch.setattr(recording, "drain", drain_at_the_gate)
    yield gate
    gate.open()


@pytest.fixture
def on_wait(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What to do each time a thread has to wait for the writer; in the order of waiting, the last one for good."""
    todo: list[Callable[[], None]] = []
    wait_for = WRITER.changed.wait_for

    def act_and_wait(reached: Callable[[], bool]) -> bool:
        if not reached() and todo:
            (todo.pop(0) if len(todo) > 1 else todo[0])()
        return wait_for(reached)

    monkeypatch.setattr(WRITER.changed, "wait_for", act_and_wait)
    return todo


@pytest.fixture(autouse=True)
def clean_profiler() -> Iterator[None]:
    """No test leaves a profile running."""
    yield
    left = recording._Active.owner  # noqa: SLF001 - what no user should need
    recording._Active.forget()  # noqa: SLF001
    kernels.discard()
    assert left is None, "the test left a profile active"
    assert THREAD_NAME not in {thread.name for thread in threading.enumerate()}, "the test left files to write"


@pytest.fixture(autouse=True)
def every_file_is_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test writes is loaded by the trace processor, row by row, as soon as it is written.

    Mostly by the writer thread: what it finds there is an ExportError at stop(), which the test may have expected for
    another reason, so the test ends with it.
    """
    if engine_or_none(download=False) is None:
        yield
        return
    wrong: list[Exception] = []
    write_as: Callable[..., Path] = files.write_as

    def write_and_load(trace: Trace, path: Any, form: files.Format, **kwargs: Any) -> Path:
        global _loaded  # noqa: PLW0603 - one count for the whole run
        written = write_as(trace, path, form, **kwargs)
        if written.is_file() and form.read:  # flame graphs are not traces
            try:
                assert_file_is(trace, written)
            except Exception as error:
                wrong.append(error)
                raise
            _loaded += 1
        return written

    monkeypatch.setattr(files, "write_as", write_and_load)
    monkeypatch.setattr(handlers, "write_as", write_and_load)
    yield
    if wrong:
        raise wrong[0]


def pytest_configure() -> None:
    """A job that was started in the background ignores Ctrl-C, and tests press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
