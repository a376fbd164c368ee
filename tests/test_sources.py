"""Sources: when they start and stop, what they hand over, and what happens when one fails."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stepscope import LifecycleError, Trace, profile, record_function, schedule
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Problem
from stepscope.record import sources
from stepscope.record.sources import Harvest, SourceRow

LOG: list[str] = []


class Recorder:
    """A source that notes what is done with it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.fails = options["experimental_config"]

    def start(self) -> None:
        if self.fails == "start":
            message = "it cannot start here"
            raise LifecycleError(message)
        LOG.append("start")

    def stop(self) -> Harvest:
        LOG.append("stop")
        if self.fails == "stop":
            raise OSError("it is gone")
        return Harvest((Problem("blind", 2, "it could not see"),), self.add)

    @staticmethod
    def add(builder: TraceBuilder) -> None:
        track = builder.thread(7, 8, "device")
        builder.slice(track, "kernel", 5, 2, cat="kernel")


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    LOG.clear()
    row = SourceRow("recorder", __name__, "Recorder", lambda options: bool(options["with_flops"]))
    monkeypatch.setattr(sources, "SOURCES", (row,))


def named(trace: Trace) -> list[str]:
    return sorted(row.name for row in trace)


pytestmark = pytest.mark.filterwarnings("ignore:without effect")


def test_a_source_runs_while_a_cycle_is_recorded_and_only_if_it_is_wanted() -> None:
    with profile(schedule=schedule(wait=1, warmup=1, active=1, repeat=2)) as prof:
        for _ in range(6):
            prof.step()
    assert LOG == []

    with profile(schedule=schedule(wait=1, warmup=1, active=1, repeat=2), with_flops=True) as prof:
        for step in range(6):
            LOG.append(str(step))
            prof.step()
    assert LOG == ["0", "1", "start", "2", "stop", "3", "4", "start", "5", "stop"]


def test_what_a_source_hands_over_is_in_the_trace() -> None:
    with profile(with_flops=True) as prof, record_function("mine"):
        pass

    assert named(prof.trace) == ["kernel", "mine"]
    assert prof.trace.problems == (Problem("blind", 2, "it could not see"),)


@pytest.mark.parametrize("begin", [profile.start, profile.start_trace])
def test_a_source_that_cannot_start_is_an_error_of_the_call_and_leaves_nothing_behind(
    begin: Callable[[profile], None],
) -> None:
    prof = profile(with_flops=True, experimental_config="start")
    with pytest.raises(LifecycleError, match="it cannot start here"):
        begin(prof)

    with profile(with_flops=True) as other, record_function("mine"):
        pass
    assert named(other.trace) == ["kernel", "mine"]
    assert LOG == ["start", "stop"]


def test_a_source_that_cannot_start_in_step_stops_the_profile_and_the_program_goes_on() -> None:
    prof = profile(schedule=schedule(wait=0, warmup=1, active=1), with_flops=True, experimental_config="start")
    prof.start()
    with pytest.raises(LifecycleError, match="it cannot start here"):
        prof.step()

    with profile() as other, record_function("mine"):
        pass
    assert named(other.trace) == ["mine"]


def test_a_source_that_fails_to_stop_costs_nothing_but_itself() -> None:
    with profile(with_flops=True, experimental_config="stop") as prof, record_function("mine"):
        pass

    assert named(prof.trace) == ["mine"]
    assert prof.trace.problems == (Problem("source", 1, "Recorder failed to stop: OSError: it is gone"),)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_sources_stop() -> None:
    with profile(with_flops=True):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, ",".join(LOG).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"start,stop"
        assert LOG == ["start"]
        os.close(read)
        os.close(write)
