"""The lifecycle: what each cycle holds, who is told, and what happens where torch crashes or loses."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from conftest import rows
from stepscope import (
    LifecycleError,
    ProfilerAction,
    ProfilerActivity,
    StepscopeWarning,
    profile,
    record_function,
    schedule,
    supported_activities,
)
from stepscope.model.trace import CUT, SLICE

NONE, WARMUP, RECORD, SAVE = ProfilerAction


def actions(*wanted: ProfilerAction) -> Callable[[int], ProfilerAction]:
    """A schedule that goes through these and then does nothing."""
    return lambda step: wanted[step] if step < len(wanted) else NONE


def step_through(prof: profile, clock: FakeClock, steps: int) -> None:
    """Steps of 10 ns, each with a span from 2 to 5."""
    for _ in range(steps):
        begin = clock.now
        clock.at(begin + 2)
        with record_function(f"work {prof.step_num}"):
            clock.at(begin + 5)
        clock.at(begin + 10)
        prof.step()


def test_a_cycle_holds_its_own_steps_and_spans_and_nobody_elses(clock: FakeClock) -> None:
    seen = []
    with profile(
        schedule=schedule(wait=1, warmup=1, active=2, repeat=2),
        on_trace_ready=lambda prof: seen.append((prof.step_num, prof.current_action, rows(prof.trace))),
    ) as prof:
        step_through(prof, clock, 9)

    def step(number: int) -> list[tuple[str, int, int, int]]:
        at = number * 10
        return [(f"ProfilerStep#{number}", at, 10, SLICE), (f"work {number}", at + 2, 3, SLICE)]

    assert seen == [(4, NONE, step(2) + step(3)), (8, NONE, step(6) + step(7))]
    assert prof.session is not None
    session = prof.session
    assert (session.cycle, session.first_step, session.last_step, session.partial) == (1, 6, 7, False)
    assert prof.trace is session.trace
    assert prof.trace.origin.session == {"cycle": 1, "first_step": 6, "last_step": 7, "partial": False}


def test_without_a_schedule_everything_is_one_whole_cycle_without_step_spans(clock: FakeClock) -> None:
    calls: list[Any] = []
    with profile(on_trace_ready=calls.append) as prof:
        step_through(prof, clock, 2)

    assert calls == [prof]
    assert rows(prof.trace) == [("work 0", 2, 3, SLICE), ("work 1", 12, 3, SLICE)]
    assert prof.session is not None
    assert not prof.session.partial


@pytest.mark.parametrize(("steps", "sessions"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)])
def test_a_cycle_that_the_exit_cuts_short_is_partial(clock: FakeClock, steps: int, sessions: int) -> None:
    calls: list[Any] = []
    prof = profile(schedule=schedule(wait=1, warmup=1, active=3, repeat=1), on_trace_ready=calls.append)
    prof.start()
    step_through(prof, clock, steps)
    if sessions:
        prof.stop()
    else:
        with pytest.warns(StepscopeWarning, match=f"the run ended in {('NONE', 'WARMUP')[steps]} at step {steps}\\."):
            prof.stop()

    assert len(calls) == sessions
    assert [session.partial for session in prof.sessions] == [steps < 4] * sessions
    if sessions and steps < 4:
        said = f"cycle 0 did not run to its planned end: it ended in step {steps}"
        assert [(problem.kind, problem.example) for problem in prof.trace.problems] == [("partial", said)]
        assert f"1 partial: {said}" in prof.key_averages().table()


def test_a_run_without_a_step_call_says_so(clock: FakeClock) -> None:
    with (
        pytest.warns(StepscopeWarning, match=r"no cycle was recorded: step\(\) was never called") as caught,
        profile(schedule=schedule(wait=1, warmup=1, active=1)),
    ):
        pass
    assert "print(stepscope.explain(prof.schedule, 20))" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("following", [NONE, WARMUP])
def test_a_recording_cut_short_by_the_schedule_is_kept_as_partial(clock: FakeClock, following: ProfilerAction) -> None:
    calls: list[Any] = []
    prof = profile(schedule=actions(RECORD, following, SAVE), on_trace_ready=calls.append, keep_sessions=5)
    prof.start()
    with pytest.warns(StepscopeWarning, match=f"Incorrect schedule: RECORD followed by {following.name}"):
        step_through(prof, clock, 1)
    assert calls == []
    assert [session.partial for session in prof.sessions] == [True]
    assert [name for name, *_ in rows(prof.trace)] == ["ProfilerStep#0", "work 0"]
    step_through(prof, clock, 2)
    prof.stop()

    assert calls == [prof]
    assert [(s.first_step, s.last_step, s.partial) for s in prof.sessions] == [(0, 0, True), (2, 2, False)]


def test_a_warmup_followed_by_nothing_warns_and_keeps_nothing(clock: FakeClock) -> None:
    prof = profile(schedule=actions(SAVE, WARMUP, NONE), keep_sessions=1)
    with prof:
        step_through(prof, clock, 1)
        with pytest.warns(StepscopeWarning, match="Incorrect schedule: WARMUP followed by NONE"):
            step_through(prof, clock, 1)

    assert [session.last_step for session in prof.sessions] == [0]


def test_a_cycle_that_an_exception_ends_is_handed_over_and_the_exception_goes_on(clock: FakeClock) -> None:
    calls: list[Any] = []
    prof = profile(schedule=actions(SAVE), on_trace_ready=calls.append)

    def program() -> None:
        with prof:
            clock.at(3)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        program()

    assert calls == [prof]
    assert prof.sessions[0].partial
    assert rows(prof.trace) == [("ProfilerStep#0", 0, 3, SLICE)]


def test_a_callback_that_raises_in_step_stops_the_profiler_and_is_heard_once(clock: FakeClock) -> None:
    calls: list[Any] = []

    def fail(prof: profile) -> None:
        calls.append(prof.step_num)
        if len(calls) == 1:
            raise OSError("disk on fire")

    prof = profile(schedule=actions(SAVE, SAVE, SAVE), on_trace_ready=fail)
    with pytest.raises(OSError, match="disk on fire"), prof:
        step_through(prof, clock, 3)
    assert calls == [1]
    assert rows(prof.trace) == [("ProfilerStep#0", 0, 10, SLICE), ("work 0", 2, 3, SLICE)]
    with pytest.raises(LifecycleError, match=r"stopped \(on_trace_ready raised OSError at step 1\)"):
        prof.step()

    prof.start()
    step_through(prof, clock, 1)
    prof.stop()
    assert calls == [1, 2, 2]
    assert rows(prof.trace)[0][0] == "ProfilerStep#2"


def test_a_callback_that_raises_at_the_exit_is_heard_once(clock: FakeClock) -> None:
    calls: list[Any] = []

    def fail(prof: profile) -> None:
        calls.append(prof)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"), profile(on_trace_ready=fail) as prof:
        clock.at(1)
    prof.stop()

    assert calls == [prof]


def test_a_callback_may_stop_the_profiler(clock: FakeClock) -> None:
    with profile(schedule=actions(SAVE, SAVE), on_trace_ready=lambda prof: prof.stop()) as prof:
        step_through(prof, clock, 1)
        with pytest.raises(LifecycleError, match=r"stop\(\) was called in on_trace_ready"):
            prof.step()

    assert prof.sessions[0].last_step == 0


def test_a_callback_may_not_step(clock: FakeClock) -> None:
    with (
        pytest.raises(LifecycleError, match=r"step\(\) inside on_trace_ready"),
        profile(schedule=actions(SAVE, SAVE), on_trace_ready=lambda prof: prof.step()) as prof,
    ):
        step_through(prof, clock, 1)


def test_calls_out_of_order_say_what_to_do(clock: FakeClock) -> None:
    prof = profile()
    with pytest.raises(LifecycleError, match=r"the profile was not started.*call start\(\) first"):
        prof.step()
    with pytest.raises(RuntimeError, match="the profile was not started"):
        prof.stop()
    with pytest.raises(LifecycleError, match="no cycle has been recorded"):
        _ = prof.trace
    with pytest.raises(LifecycleError, match=r"stop_trace\(\) without start_trace\(\)"):
        prof.stop_trace()
    prof.start()
    with pytest.raises(LifecycleError, match=r"Call stop\(\) first"):
        prof.start()
    prof.stop()
    prof.stop()
    with pytest.raises(LifecycleError, match=r"the profile is stopped \(stop\(\) was called\)\. Call start\(\)"):
        prof.step()


def test_a_second_active_profile_is_refused_and_the_first_goes_on(clock: FakeClock) -> None:
    with profile() as first:
        with pytest.raises(RuntimeError, match="another profile is active in this process"):
            profile().start()
        with record_function("mine"):
            clock.at(5)

    assert rows(first.trace) == [("mine", 0, 5, SLICE)]
    with profile() as second:
        pass
    assert len(second.trace) == 0


def test_a_schedule_that_is_used_up_begins_anew_at_the_next_start(clock: FakeClock) -> None:
    prof = profile(schedule=schedule(wait=1, warmup=1, active=1, repeat=1), keep_sessions=9)
    with prof:
        step_through(prof, clock, 4)
    with prof:
        assert prof.current_action is NONE
        step_through(prof, clock, 4)

    assert [(s.cycle, s.first_step, s.last_step) for s in prof.sessions] == [(0, 2, 2), (1, 6, 6)]


def test_a_run_stopped_in_the_middle_goes_on_where_it_was(clock: FakeClock) -> None:
    prof = profile(schedule=schedule(wait=0, warmup=1, active=3, repeat=1), keep_sessions=9)
    with prof:
        step_through(prof, clock, 2)
    with prof:
        step_through(prof, clock, 2)

    assert [(s.first_step, s.last_step, s.partial) for s in prof.sessions] == [(1, 2, True), (2, 3, False)]


def test_sessions_are_kept_as_asked_for(clock: FakeClock) -> None:
    kept = {}
    for keep, accumulate in ((None, False), (2, False), (None, True), (2, True)):
        with profile(schedule=actions(SAVE, SAVE, SAVE), keep_sessions=keep, acc_events=accumulate) as prof:
            step_through(prof, clock, 3)
        kept[keep, accumulate] = [session.cycle for session in prof.sessions]

    assert kept == {(None, False): [2], (2, False): [1, 2], (None, True): [0, 1, 2], (2, True): [1, 2]}


@pytest.mark.parametrize("bad", [0, -1, True, 1.5, "all"])
def test_a_number_of_sessions_that_makes_no_sense_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="keep_sessions must be an int of at least 1"):
        profile(keep_sessions=bad)


def test_events_are_the_last_cycles_or_all_with_acc_events(clock: FakeClock) -> None:
    names = {}
    for accumulate in (False, True):
        clock.at(0)
        with profile(schedule=actions(SAVE, SAVE), acc_events=accumulate) as prof:
            step_through(prof, clock, 2)
        names[accumulate] = [(event.name, event.trace_name, event.time_range) for event in prof.events()]
        averages = [(row.key, row.count, row.cpu_time_total) for row in prof.key_averages()]
        assert averages[0] == ("ProfilerStep*", 1 + accumulate, 0.01 * (1 + accumulate))

    last = [
        ("ProfilerStep*", "ProfilerStep#1", (0.01, 0.02)),
        ("work 1", "work 1", (0.012, 0.015)),
    ]
    assert names[False] == last
    assert names[True][2:] == last


def test_a_recording_made_by_hand_needs_no_schedule(clock: FakeClock) -> None:
    prof = profile()
    prof.prepare_trace()
    identity = prof.get_trace_id()
    prof.start_trace()
    with pytest.raises(LifecycleError, match=r"start_trace\(\) while recording"):
        prof.start_trace()
    with record_function("by hand"):
        clock.at(4)
    prof.stop_trace()

    assert rows(prof.trace) == [("by hand", 0, 4, SLICE)]
    assert prof.trace.origin.trace_id == identity == prof.get_trace_id()
    with profile():
        pass


def test_a_trace_stopped_by_hand_inside_a_step_cuts_the_step(clock: FakeClock) -> None:
    with profile(schedule=actions(RECORD, SAVE)) as prof:
        clock.at(4)
        prof.stop_trace()
        assert rows(prof.trace) == [("ProfilerStep#0", 0, 4, SLICE | CUT)]
        clock.at(6)
        prof.start_trace()
        clock.at(9)
        prof.step()
        prof.step()

    assert rows(prof.trace) == [("ProfilerStep#0", 6, 3, SLICE | CUT), ("ProfilerStep#1", 9, 0, SLICE)]


def test_a_step_that_ends_on_another_thread_stays_on_the_one_that_began_it(clock: FakeClock) -> None:
    with profile(schedule=actions(RECORD, SAVE)) as prof:
        clock.at(7)
        worker = threading.Thread(target=prof.step, name="stepper")
        worker.start()
        worker.join()
        clock.at(9)

    assert [(row.name, row.ts, row.dur, row.track.name) for row in prof.trace] == [
        ("ProfilerStep#0", 0, 7, "MainThread"),
        ("ProfilerStep#1", 7, 2, "stepper"),
    ]


def test_trace_ids_are_new_for_each_cycle_and_may_be_ones_own(clock: FakeClock) -> None:
    prof = profile(schedule=actions(SAVE, SAVE), keep_sessions=2)
    assert prof.get_trace_id() is None
    with prof:
        step_through(prof, clock, 2)
    first, second = (session.trace.origin.trace_id for session in prof.sessions)
    assert first != second
    assert len(first) == 32
    assert int(first, 16) > 0

    with profile(custom_trace_id_callback=lambda: "run 7") as named:
        assert named.get_trace_id() == "run 7"
    assert named.trace.origin.trace_id == "run 7"
    named.set_custom_trace_id_callback(lambda: "run 8")
    with named:
        assert named.get_trace_id() == "run 8"


def test_an_observer_is_started_and_stopped_with_each_recording(clock: FakeClock) -> None:
    class Observer:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def start(self) -> None:
            self.calls.append("start")

        def stop(self) -> None:
            self.calls.append("stop")

        def cleanup(self) -> None:
            self.calls.append("cleanup")

    observer = Observer()
    with profile(schedule=actions(SAVE, NONE, SAVE), execution_trace_observer=observer) as prof:
        step_through(prof, clock, 3)

    assert observer.calls == ["start", "stop", "start", "stop", "cleanup"]


def test_metadata_is_in_the_traces_it_belongs_to(clock: FakeClock) -> None:
    prof = profile(schedule=actions(SAVE, SAVE), keep_sessions=2)
    prof.preset_metadata_json("preset", '{"lr": 0.1}')
    with prof:
        prof.add_metadata("first", 'say "hi"\\')
        step_through(prof, clock, 1)
        prof.add_metadata_json("second", "[1, null]")
        step_through(prof, clock, 1)
    prof.add_metadata("late", "x")

    first, second = (dict(session.trace.origin.metadata) for session in prof.sessions)
    assert first == {"preset": {"lr": 0.1}, "first": 'say "hi"\\'}
    assert second == {**first, "second": [1, "None"], "late": "x"}


def test_metadata_that_is_not_json_is_refused_at_the_call() -> None:
    prof = profile()
    for add in (prof.add_metadata_json, prof.preset_metadata_json):
        with pytest.raises(ValueError, match=r"metadata 'k' is not JSON.*Pass json.dumps\(value\)"):
            add("k", "{oops")


def test_activities_are_checked_as_torch_checks_them() -> None:
    assert profile().activities == supported_activities() == {ProfilerActivity.CPU}
    assert profile(activities=[{ProfilerActivity.CPU: ["cpu_op"]}]).activities == {ProfilerActivity.CPU}
    with pytest.raises(ValueError, match="more than once"):
        profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CPU])
    with pytest.raises(ValueError, match="activities is empty"):
        profile(activities=[])
    for bad in ("cpu", [1], ProfilerActivity.CPU):
        with pytest.raises(TypeError, match="activities"):
            profile(activities=bad)  # type: ignore[arg-type]


def test_options_that_nothing_fills_yet_are_said_in_one_warning() -> None:
    with pytest.warns(StepscopeWarning, match="without effect") as caught:
        profile(with_modules=True, activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])

    assert len(caught) == 1
    assert caught[0].filename == __file__
    for said in (
        "with_modules= (modules are torch's: call stepscope.integrations.torch.install() first)",
        "ProfilerActivity.CUDA",
    ):
        assert said in str(caught[0].message)


def test_use_cuda_is_deprecated_and_means_the_activity() -> None:
    with pytest.warns(FutureWarning, match="`use_cuda` is deprecated"):
        assert profile(use_cuda=False).activities == {ProfilerActivity.CPU}
    with pytest.warns(FutureWarning, match="use_cuda"), pytest.warns(StepscopeWarning, match="ProfilerActivity.CUDA"):
        assert ProfilerActivity.CUDA in profile(use_cuda=True).activities


def test_the_action_map_is_torchs_with_this_profiles_methods() -> None:
    prof = profile()

    assert prof.action_map[SAVE, WARMUP] == [prof.stop_trace, prof._trace_ready, prof.prepare_trace]  # noqa: SLF001


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_clean_and_the_parents_cycle_is_whole(tmp_path: Path) -> None:
    script = """
import os, sys, warnings
warnings.simplefilter("error")
from stepscope import profile, record_function
with profile() as prof:
    with record_function("before"): pass
    child = os.fork()
    with record_function("after"): pass
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
if child:
    print([row.name for row in prof.trace])
else:
    assert prof.session is None
    with profile() as own:
        with record_function("child's"): pass
    os._exit(7 if [row.name for row in own.trace] == ["child's"] else 1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.stderr) == ("['before', 'after']", "")


def test_a_program_that_ends_without_stop_hands_its_cycle_over(tmp_path: Path) -> None:
    script = f"""
from stepscope import profile, record_function, trace_handler
prof = profile(on_trace_ready=trace_handler({str(tmp_path)!r}, worker_name="w", formats=["perfetto"]))
prof.start()
with record_function("work"): pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "the program ended without stop()" in done.stderr
    assert len(list(tmp_path.iterdir())) == 1


def test_preset_metadata_is_of_later_cycles_only(clock: FakeClock) -> None:
    with profile(schedule=actions(SAVE, SAVE, SAVE), keep_sessions=9) as prof:
        prof.step()
        prof.preset_metadata_json("lr", "1")
        prof.step()
        prof.preset_metadata_json("lr", "2")
        prof.step()

    assert [dict(session.trace.origin.metadata) for session in prof.sessions] == [{}, {}, {"lr": 1}]


def test_a_program_that_ends_without_stop_under_strict_warnings_still_hands_over() -> None:
    script = """
from stepscope import profile
prof = profile(on_trace_ready=lambda prof: print("handed over", len(prof.sessions)))
prof.start()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout == "handed over 1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_may_go_on_stepping_in_vain() -> None:
    script = """
import os, warnings
from stepscope import profile, schedule
with profile(schedule=schedule(wait=0, warmup=1, active=2)) as prof:
    if os.fork() == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                prof.step()
            prof.stop()
        print([str(warning.message)[:39] for warning in caught], flush=True)
        os._exit(0)
    os.wait()
    prof.step()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("['step() in a forked child does nothing: ']\n", "")


def test_a_callback_may_not_start_the_profiler_anew(clock: FakeClock) -> None:
    def restart(prof: profile) -> None:
        prof.stop()
        prof.start()

    with (
        pytest.raises(LifecycleError, match=r"start\(\) inside on_trace_ready"),
        profile(schedule=actions(SAVE, SAVE), on_trace_ready=restart) as prof,
    ):
        prof.step()


def test_a_start_that_fails_gives_the_recorder_back(clock: FakeClock) -> None:
    def fail() -> str:
        raise KeyError("no id")

    for start in (profile.start, profile.start_trace):
        with pytest.raises(KeyError, match="no id"):
            start(profile(custom_trace_id_callback=fail))
        assert profile.active() is None
    with profile() as prof:
        assert profile.active() is prof


def test_an_interrupt_in_the_middle_of_a_step_ends_the_run_and_goes_on(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prof = profile(schedule=actions(RECORD, WARMUP))
    prof.start()

    def interrupt(self: profile) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(profile, "_warn_incorrect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prof.step()
    prof.stop()

    assert profile.active() is None
