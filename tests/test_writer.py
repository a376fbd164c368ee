"""The writer thread: the loop goes on, stop() waits, memory is bounded, and nothing is lost."""

import gc
import json
import os
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from clock import FakeClock
from gate import TIMEOUT_S, Gate, every_step_a_cycle, writer_threads
from stepscope import ProfilerAction, StepscopeWarning, Trace, profile, tensorboard_trace_handler, trace_handler
from stepscope.session.handlers import TraceHandler
from stepscope.session.writer import MAX_UNFINISHED, THREAD_NAME, WRITER

NONE, WARMUP, RECORD, SAVE = ProfilerAction


def test_step_waits_neither_for_pairing_nor_for_the_file(
    tmp_path: Path, clock: FakeClock, pairing: Gate, encoder: Gate
) -> None:
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    with every_step_a_cycle(handler) as prof:
        prof.step()
        pairing.wait_for_one()
        assert not encoder.came
        pairing.open()
        encoder.wait_for_one()
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        encoder.open()

    assert [path.name.split(".")[0] for path in handler.paths] == ["w_rank0_cycle0_steps0-0", "w_rank0_cycle1_steps1-1"]
    assert sorted(handler.paths) == sorted(tmp_path.iterdir())
    assert set(pairing.came + encoder.came) == {THREAD_NAME}


def test_stop_waits_until_every_file_is_there_and_the_thread_is_gone(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    seen: list[tuple[int, list[bool]]] = []

    def look_and_open() -> None:
        seen.append((len(list(tmp_path.glob("w*"))), [thread.daemon for thread in writer_threads()]))
        encoder.open()

    on_wait.append(look_and_open)
    with every_step_a_cycle(trace_handler(tmp_path, "w", formats=["perfetto"])) as prof:
        prof.step()
        assert seen == []

    assert seen == [(0, [False])]
    assert len(list(tmp_path.iterdir())) == 2
    assert writer_threads() == []


def test_stop_outlives_a_thread_that_is_slow_to_end(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, join, joined = WRITER._serve, threading.Thread.join, threading.Event()  # noqa: SLF001

    def serve_and_linger() -> None:
        serve()
        joined.wait(TIMEOUT_S)

    def join_and_tell(thread: threading.Thread) -> None:
        joined.set()
        join(thread)

    monkeypatch.setattr(WRITER, "_serve", serve_and_linger)
    monkeypatch.setattr(threading.Thread, "join", join_and_tell)
    with profile(on_trace_ready=trace_handler(tmp_path, "w")):
        pass
    left = writer_threads()
    joined.set()

    assert left == []


def test_a_full_queue_makes_the_loop_wait_and_says_so_once(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    unfinished: list[int] = []

    def let_one_go() -> None:
        unfinished.append(len(WRITER.waiting) + len(WRITER.at_work))
        encoder.open(1)

    def many_steps() -> None:
        with prof:
            for _ in range(MAX_UNFINISHED + 3):
                prof.step()

    prof = every_step_a_cycle(handler)
    for _ in range(2):
        encoder.permits = threading.Semaphore(0)
        on_wait[:] = [let_one_go] * 3 + [encoder.open]
        with pytest.warns(StepscopeWarning, match="the program waits for the writer") as caught:
            many_steps()

    assert unfinished == [MAX_UNFINISHED + 1] * 6
    assert [str(warning.message).split(".")[0] for warning in caught] == [
        "the program waits for the writer: 3 finished cycles are not written yet, and more of them would fill memory"
    ]
    assert caught[0].filename == __file__
    assert len(handler.paths) == 2 * (MAX_UNFINISHED + 4)


def test_a_callback_may_ask_for_the_paths_at_once_and_stop(tmp_path: Path, clock: FakeClock) -> None:
    handler = trace_handler(tmp_path, "w")
    seen: list[bool] = []

    def upload(prof: profile) -> None:
        handler(prof)
        prof.stop()
        seen.extend(path.stat().st_size > 0 for path in handler.paths)

    with every_step_a_cycle(upload) as prof:
        prof.step()

    assert seen == [True, True]


@pytest.mark.parametrize("make", [trace_handler, tensorboard_trace_handler])
def test_without_background_the_file_is_there_when_step_returns(
    tmp_path: Path, clock: FakeClock, pairing: Gate, make: Callable[..., TraceHandler]
) -> None:
    pairing.open()
    with every_step_a_cycle(make(tmp_path, "w", background=False)) as prof:
        prof.step()
        assert len(list(tmp_path.glob("*cycle0*" if make is trace_handler else "w.*"))) > 0

    assert set(pairing.came) == {"MainThread"}


def test_handlers_and_profiles_share_one_thread(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    handlers = [trace_handler(tmp_path / name, name, formats=["perfetto"]) for name in "ab"]
    on_wait.append(encoder.open)

    def both(prof: profile) -> None:
        for handler in handlers:
            handler(prof)

    for _ in range(2):
        with every_step_a_cycle(both) as prof:
            for _ in range(MAX_UNFINISHED):  # sessions are counted, not handlers
                prof.step()
            assert len(writer_threads()) == 1
        assert writer_threads() == []
        encoder.permits = threading.Semaphore(0)

    assert [len(handler.paths) for handler in handlers] == [2 * (MAX_UNFINISHED + 1)] * 2


def test_where_no_thread_can_be_started_the_loop_writes(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, pairing: Gate
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pairing.open()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with every_step_a_cycle(trace_handler(tmp_path, "w", formats=["perfetto"])) as prof:
        for _ in range(MAX_UNFINISHED + 2):
            prof.step()

    assert len(list(tmp_path.iterdir())) == MAX_UNFINISHED + 3
    assert set(pairing.came) == {"MainThread"}


def test_ctrl_c_while_stop_waits_leaves_no_half_file_and_loses_none(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    on_wait[:] = [lambda: signal.raise_signal(signal.SIGINT), encoder.open]
    prof = every_step_a_cycle(trace_handler(tmp_path, "w", formats=["perfetto"]))
    prof.start()
    prof.step()
    with pytest.raises(KeyboardInterrupt):
        prof.stop()
    assert list(tmp_path.glob("w*")) == []
    prof.stop()

    assert len(list(tmp_path.iterdir())) == 2


def test_ctrl_c_while_step_waits_for_room_loses_no_cycle(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    on_wait[:] = [lambda: signal.raise_signal(signal.SIGINT), encoder.open]
    prof = every_step_a_cycle(trace_handler(tmp_path, "w", formats=["perfetto"]))
    prof.start()
    for _ in range(MAX_UNFINISHED):
        prof.step()
    with pytest.raises(KeyboardInterrupt):
        prof.step()
    prof.stop()

    assert len(list(tmp_path.iterdir())) == MAX_UNFINISHED + 1


def test_a_trace_asked_for_while_it_is_paired_is_paired_once(tmp_path: Path, clock: FakeClock, pairing: Gate) -> None:
    actions = [SAVE, NONE, NONE]
    with profile(schedule=actions.__getitem__, on_trace_ready=trace_handler(tmp_path, "w")) as prof:
        prof.step()
        pairing.wait_for_one()
        prof.add_metadata("said", "while it is paired")
        found: list[Trace] = []
        reader = threading.Thread(target=lambda: found.append(prof.trace))
        reader.start()
        pairing.open()
        reader.join()
        assert pairing.came == [THREAD_NAME]

    assert found[0].origin.metadata == {"said": "while it is paired"}


def test_a_file_holds_the_metadata_added_until_its_handler_was_called(
    tmp_path: Path, clock: FakeClock, pairing: Gate
) -> None:
    handler = trace_handler(tmp_path, "w", formats=["chrome"])

    def say_and_write(prof: profile) -> None:
        prof.add_metadata("loss", "0.5")
        handler(prof)
        prof.add_metadata("late", "x")
        pairing.open()

    with profile(on_trace_ready=say_and_write) as prof:
        prof.add_metadata("run", "7")

    written = json.loads(handler.paths[0].read_bytes())
    assert {key: written.get(key) for key in ("run", "loss", "late")} == {"run": "7", "loss": "0.5", "late": None}
    assert prof.trace.origin.metadata == {"run": "7", "loss": "0.5", "late": "x"}


def test_what_is_written_is_let_go_and_so_is_a_profile_that_is_stopped(tmp_path: Path, clock: FakeClock) -> None:
    with every_step_a_cycle(trace_handler(tmp_path, "w")) as prof:
        prof.step()
        assert prof.session is not None
        first, whole = weakref.ref(prof.session), weakref.ref(prof)
        prof.step()
    gc.collect()
    assert first() is None

    del prof
    gc.collect()
    assert whole() is None


def test_a_handler_that_another_thread_takes_the_run_from_waits_for_its_file(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment for stop(): the handler has seen the run, and the run has not seen the file."""
    getpid = os.getpid
    on_wait.append(encoder.open)

    def stop_elsewhere() -> int:
        monkeypatch.setattr(os, "getpid", getpid)
        stopper = threading.Thread(target=prof.stop)
        stopper.start()
        stopper.join()
        return getpid()

    with profile(schedule=[SAVE, NONE].__getitem__) as prof:
        prof.step()
        monkeypatch.setattr(os, "getpid", stop_elsewhere)
        trace_handler(tmp_path, "w", formats=["perfetto"])(prof)
        assert len(list(tmp_path.glob("w*"))) == 1
