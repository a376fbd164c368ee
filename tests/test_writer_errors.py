"""What the writer thread could not write is heard once, by the next step() or by stop(), with every file's name."""

import errno
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clock import FakeClock
from gate import Gate, every_step_a_cycle, replace_encoder
from stepscope import ExportError, LifecycleError, Trace, profile, trace_handler
from stepscope.formats.perfetto import encode_perfetto


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Errors that the Perfetto encoder raises, one a session; then it works."""
    errors: list[BaseException] = []

    def encode(trace: Trace) -> Iterator[bytes]:
        if errors:
            raise errors.pop(0)
        yield from encode_perfetto(trace)

    replace_encoder(monkeypatch, encode)
    return errors


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_an_error_is_raised_by_the_next_step_once_and_no_later_cycle_is_lost(
    tmp_path: Path, clock: FakeClock, broken: list[BaseException]
) -> None:
    broken.append(full_disk())
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    with every_step_a_cycle(handler, keep_sessions=9) as prof:
        prof.step()
        assert handler.paths == []
        with pytest.raises(
            ExportError,
            match=r"w_rank0_cycle0_steps0-0\.\d+\.pftrace: the file cannot be written: No space left on device\. Free",
        ):
            prof.step()
        assert prof.step_num == 2
        prof.step()

    names = [path.name.split(".")[0] for path in handler.paths]
    assert names == [f"w_rank0_cycle{step}_steps{step}-{step}" for step in (1, 2, 3)]
    assert len(prof.sessions) == 4


def test_stop_raises_one_error_that_names_every_file_with_its_reason(
    tmp_path: Path, clock: FakeClock, pairing: Gate, on_wait: list[Callable[[], None]]
) -> None:
    (tmp_path / "log").write_text("not a folder")
    on_wait.append(pairing.open)
    prof = every_step_a_cycle(trace_handler(tmp_path / "log", "w"))
    prof.start()
    prof.step()
    with pytest.raises(ExportError) as caught:
        prof.stop()
    prof.stop()

    message, names = str(caught.value).split(" Not written: ")
    assert message == (
        f"{tmp_path}/log: the folder cannot be made: File exists. "
        "Choose another path, or remove the file that is in its place."
    )
    assert [re.sub(r"\.\d+\.", ".TIME.", name) for name in names.rstrip(".").split(", ")] == [
        f"w_rank0_cycle{cycle}_steps{cycle}-{cycle}.TIME.{ending}"
        for cycle in range(2)
        for ending in ("pt.trace.json", "pftrace")
    ]


def test_an_encoder_that_fails_otherwise_is_an_export_error_too(
    tmp_path: Path, clock: FakeClock, broken: list[BaseException]
) -> None:
    broken += [TypeError("cannot encode that"), SystemExit(3)]
    handler = trace_handler(tmp_path, "w", formats=["perfetto", "chrome"])
    prof = every_step_a_cycle(handler)
    prof.start()
    prof.step()
    assert len(handler.paths) == 1
    with pytest.raises(ExportError, match=r"cycle0.*\.pftrace: the file cannot be written: TypeError: cannot encode"):
        prof.step()
    assert len(handler.paths) == 1
    with pytest.raises(
        ExportError, match=r"2 files could not be written:\n.*cycle1.*pftrace.*\n.*cycle1.*json"
    ) as caught:
        prof.step()
    prof.stop()

    assert isinstance(caught.value.__cause__, SystemExit)
    assert len(handler.paths) == 5


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("failures", [1, 2])
def test_an_exception_of_the_program_is_the_context_of_the_writers(
    tmp_path: Path, clock: FakeClock, broken: list[BaseException], failures: int, background: bool
) -> None:
    broken += [full_disk() for _ in range(failures)]
    formats = ["perfetto"]
    handlers = [trace_handler(tmp_path, name, formats=formats, background=background) for name in "ab"[:failures]]

    def write(prof: profile) -> None:
        for handler in handlers:
            handler(prof)

    prof = every_step_a_cycle(write)

    def program() -> None:
        with prof:
            raise KeyError("mine")

    with pytest.raises(ExportError, match="No space left on device") as caught:
        program()
    assert repr(caught.value.__context__) == "KeyError('mine')"
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("KeyError: 'mine'") == 1
    assert shown.index("KeyError: 'mine'") < shown.index("OSError: [Errno 28]") < shown.index("ExportError: ")


def test_a_callback_that_raises_does_not_hide_what_was_handed_over(
    tmp_path: Path, clock: FakeClock, encoder: Gate, on_wait: list[Callable[[], None]]
) -> None:
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    on_wait.append(encoder.open)

    def hand_over_and_fail(prof: profile) -> None:
        handler(prof)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), every_step_a_cycle(hand_over_and_fail) as prof:
        prof.step()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_callback_that_stops_hears_of_earlier_cycles(
    tmp_path: Path, clock: FakeClock, broken: list[BaseException]
) -> None:
    broken.append(full_disk())
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    heard: list[str] = []

    def write_one_and_stop(prof: profile) -> None:
        if prof.step_num == 1:
            handler(prof)
            return
        with pytest.raises(ExportError, match="No space left on device"):
            prof.stop()
        heard.append("once")

    with every_step_a_cycle(write_one_and_stop) as prof:
        prof.step()
        assert handler.paths == []
        prof.step()

    assert heard == ["once"]


def test_without_background_an_error_is_the_callbacks_and_the_other_file_is_written(
    tmp_path: Path, clock: FakeClock, broken: list[BaseException]
) -> None:
    broken.append(full_disk())
    prof = every_step_a_cycle(trace_handler(tmp_path, "w", formats=["perfetto", "chrome"], background=False))
    with pytest.raises(ExportError, match=r"pftrace: .*No space left on device"), prof:
        prof.step()

    assert [path.name.split(".", 2)[2] for path in tmp_path.iterdir()] == ["pt.trace.json"]
    with pytest.raises(LifecycleError, match="on_trace_ready raised ExportError at step 1"):
        prof.step()


def test_a_handler_called_outside_a_run_writes_before_it_returns(
    tmp_path: Path, clock: FakeClock, pairing: Gate, broken: list[BaseException]
) -> None:
    pairing.open()
    with profile() as prof:
        pass
    handler = trace_handler(tmp_path, "w", formats=["perfetto"])
    broken.append(full_disk())
    with pytest.raises(ExportError, match="No space left on device"):
        handler(prof)
    handler(prof)

    assert len(list(tmp_path.iterdir())) == 1
    assert pairing.came == ["MainThread"]
