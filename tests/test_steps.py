"""Steps' arguments: on their slice, in their step, and nowhere else."""

import threading
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from stepscope import ProfilerAction, annotate_step, profile, read, record_function, trace_handler
from stepscope.model.trace import CUT

NONE, WARMUP, RECORD, SAVE = ProfilerAction


def args_of(prof: profile) -> dict[str, dict[str, Any]]:
    return {row.name: dict(row.args) for session in prof.sessions for row in session.trace}


def test_arguments_are_on_the_slice_of_the_step_that_ran_and_in_both_files(tmp_path: Path, clock: FakeClock) -> None:
    actions = [NONE, RECORD, SAVE, WARMUP, SAVE]
    handler = trace_handler(tmp_path)
    with profile(schedule=actions.__getitem__, on_trace_ready=handler, keep_sessions=9) as prof:
        for step in range(4):
            with record_function(f"work {step}"):
                annotate_step(step=step, lost=0)
                annotate_step(lost=step / 4, sizes=[step, 8], what=ValueError)
                clock.now += 5
            prof.step()
        prof.annotate_step(last=True)

    found = args_of(prof)
    assert found == {
        **{f"work {step}": {} for step in (1, 2)},
        **{
            f"ProfilerStep#{step}": {
                "step": step,
                "lost": step / 4,
                "sizes": [step, 8],
                "what": "<class 'ValueError'>",
            }
            for step in (1, 2)
        },
        "ProfilerStep#4": {"last": True},
    }
    for path in handler.paths:
        trace = read(path)
        assert {row.name: row.args for row in trace} == {row.name: found[row.name] for row in trace}


def test_arguments_are_frozen_when_they_are_given(clock: FakeClock) -> None:
    sizes = [1, 2]
    with profile(schedule=lambda _: SAVE) as prof:
        annotate_step(sizes=sizes)
        sizes.append(3)

    assert args_of(prof) == {"ProfilerStep#0": {"sizes": [1, 2]}}


def test_another_thread_annotates_the_step_of_the_program(clock: FakeClock) -> None:
    with profile(schedule=lambda _: SAVE) as prof:
        thread = threading.Thread(target=annotate_step, kwargs={"from": "another thread"})
        thread.start()
        thread.join()

    assert args_of(prof) == {"ProfilerStep#0": {"from": "another thread"}}


def test_a_step_that_the_windows_end_cuts_keeps_its_arguments(clock: FakeClock) -> None:
    prof = profile(schedule=lambda _: NONE)
    prof.start()
    prof.start_trace()
    clock.now += 5
    annotate_step(lost=0.5)
    prof.stop_trace()
    annotate_step(lost=0.25)
    prof.stop()

    (row,) = prof.trace
    assert (row.name, row.kind & CUT, row.args) == ("ProfilerStep#0", CUT, {"lost": 0.5})


def test_where_no_step_is_recorded_nothing_happens(clock: FakeClock) -> None:
    class Untouchable:
        def __repr__(self) -> str:
            raise AssertionError

    annotate_step(no=Untouchable())
    with profile(schedule=lambda step: [NONE, WARMUP, SAVE][step]) as prof:
        for _ in range(2):
            annotate_step(no=Untouchable())
            prof.step()
    with profile() as whole:
        annotate_step(no=Untouchable())
        with record_function("work"):
            pass

    assert args_of(prof) == {"ProfilerStep#2": {}}
    assert args_of(whole) == {"work": {}}


def test_wrong_use_is_an_error_at_the_call(clock: FakeClock) -> None:
    with profile(schedule=lambda _: SAVE) as prof:
        with pytest.raises(TypeError, match="positional argument"):
            annotate_step({"lost": 0})  # type: ignore[call-arg]
        annotate_step()

    assert args_of(prof) == {"ProfilerStep#0": {}}


def test_a_trace_does_not_change_with_what_comes_too_late(clock: FakeClock) -> None:
    class Slow:
        def __repr__(self) -> str:
            prof.step()
            return "slow"

    with profile(schedule=lambda _: SAVE, keep_sessions=9) as prof:
        annotate_step(early=1)
        annotate_step(late=Slow())

    assert args_of(prof) == {"ProfilerStep#0": {"early": 1}, "ProfilerStep#1": {}}


def test_steps_without_arguments_cost_the_trace_none(clock: FakeClock) -> None:
    with profile(schedule=lambda _: SAVE) as prof:
        pass

    assert len(prof.trace) == 1
    assert prof.trace.args == {}
