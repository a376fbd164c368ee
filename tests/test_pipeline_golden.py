"""The project on itself: what its own pipeline does, from a span to a diff, is golden on every Python and both cores.

Spans are put around the pipeline's calls here, not in it. One profile records at a time, so what goes on while one does
is watched from outside, and what comes after is recorded by stepscope.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepscope import Trace, diff, profile, read, record_function, schedule
from stepscope.core import kernels
from stepscope.formats.files import FORMATS
from stepscope.model.build import TraceBuilder
from stepscope.model.output import write_whole
from stepscope.pytest_plugin.golden import TraceGolden
from stepscope.record.drain import drain
from stepscope.session import recording

# What does the work, wherever it is called from. Nothing that is called once a row, and not order_ties: whether any two
# rows begin at once is a matter of the clock.
KERNELS = (
    "chrome_rows",
    "hash_trees",
    "nest_rows",
    "pair",
    "pair_events",
    "perfetto_rows",
    "renumber_rows",
    "settle_rows",
    "time_paths",
)


def loop(prof: profile, steps: int) -> None:
    """A small program in steps."""
    for number in range(steps):
        with record_function("forward", batch=number):
            for _ in range(3):
                with record_function("linear"):
                    pass
        prof.step()


def small_profile() -> profile:
    """What it records is not paired yet."""
    with profile(schedule=schedule(wait=0, warmup=1, active=2, repeat=1)) as prof:
        loop(prof, 3)
    return prof


def around(span: Callable[..., Any], function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with span(name):
            return function(*args, **kwargs)

    return call


class Watch:
    """Spans without a recorder: a tick to begin, a tick to end."""

    def __init__(self) -> None:
        self.builder = TraceBuilder()
        self.track = self.builder.thread(1, 1, "MainThread")
        self.now = 0
        self.spans: list[list[Any]] = []
        self.open: list[list[Any]] = []

    def __call__(self, name: str) -> "Watch":
        self.spans.append([name, self.now, 0])
        self.open.append(self.spans[-1])
        return self

    def __enter__(self) -> None:
        self.now += 1

    def __exit__(self, *_: object) -> None:
        self.open.pop()[2] = self.now = self.now + 1

    def trace(self) -> Trace:
        for name, start, end in self.spans:
            self.builder.slice(self.track, name, start, end - start)
        return self.builder.build()


def test_recording_opens_a_window_seals_it_once_a_cycle_and_pairs_when_asked(
    trace_golden: TraceGolden, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    for name in ("open_window", "seal", "discard", "pair", "settle_rows", "renumber_rows"):
        monkeypatch.setattr(kernels, name, around(watch, getattr(kernels, name), name))
    for name in ("prepare_trace", "start_trace", "stop_trace", "step"):
        monkeypatch.setattr(profile, name, around(watch, getattr(profile, name), name))
    monkeypatch.setattr(recording, "drain", around(watch, drain, "drain"))

    def ready(prof: profile) -> None:
        with watch("on_trace_ready"):
            assert len(prof.trace) == 10

    with profile(schedule=schedule(wait=0, warmup=1, active=2, repeat=2), on_trace_ready=ready) as prof:
        loop(prof, 6)

    trace_golden.check(watch.trace())


def test_a_session_is_paired_encoded_read_and_compared(
    trace_golden: TraceGolden, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prof, other = small_profile(), small_profile().trace
    for name in KERNELS:
        monkeypatch.setattr(kernels, name, around(record_function, getattr(kernels, name), name))

    with trace_golden.record():
        with record_function("drain"):
            trace = prof.trace
        for form in (FORMATS["chrome"], FORMATS["perfetto"]):
            path = tmp_path / f"trace{form.suffix}"
            with record_function("encode", format=form.name):
                write_whole(path, form.encode(trace))
            with record_function("read", format=form.name):
                again = read(path)
            with record_function("diff"):
                found = diff(other, again, timings=False)
            assert not found
