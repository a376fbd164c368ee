"""A child's cycles and the control file, in one process: exact numbers."""

import base64
import os
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clock import FakeClock
from conftest import rows
from stepscope import LifecycleError, StepscopeWarning, Trace, profile, read, record_function, trace_handler
from stepscope.core.clock import Clocks
from stepscope.model.trace import CUT
from stepscope.record import sources
from stepscope.record.sources import SourceRow
from stepscope.session import control
from stepscope.session.child import Child
from stepscope.session.control import Closed, ControlFile, Descriptor, Follower, Opened, Run, State, open_to_follow
from stepscope.session.writer import WRITER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no POSIX locks here")

# The parent's clocks: the child's, which stand at 0 in the beginning, differ from them.
CLOCKS = Clocks(boottime_ns=100, monotonic_ns=100, realtime_ns=1_000_100)


class Family:
    """A child, and what its parent would publish.

    Attributes:
        child: which reads no control file but does what it is told.
        log: where it writes.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.child = Child("", Descriptor(os.open(folder, os.O_RDONLY)))
        self.run = Run(1, 77, "train.py", options(), trace_handler(self.log, "w", formats=["perfetto"]).described())

    def opened(self, window: int, cycle: int, first_step: int, closed: Closed | None = None) -> None:
        opened = Opened(window, cycle, first_step, f"ID{cycle}", 1_000_000, CLOCKS)
        self.child._go_on(State(self.run, opened, closed))  # noqa: SLF001 - what its thread calls

    def closed(self, window: int, last_step: int, fate: str = "keep") -> None:
        self.child._go_on(State(self.run, None, Closed(window, last_step, fate)))  # noqa: SLF001

    def written(self) -> dict[int, Trace]:
        """By cycle."""
        WRITER.wait_for(self.child._owed)  # noqa: SLF001
        traces = [read(path) for path in self.log.iterdir()] if self.log.exists() else []
        return {int(trace.origin.session["cycle"]): trace for trace in traces}


def options(**chosen: Any) -> str:
    return base64.b64encode(pickle.dumps(chosen)).decode()


@pytest.fixture
def family(tmp_path: Path, clock: FakeClock) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    family.child.finish()
    family.child.file.close()


def test_a_cycle_is_the_parents_but_for_the_childs_window_which_is_said(family: Family, clock: FakeClock) -> None:
    clock.at(130)
    family.opened(1, 4, 9)
    clock.at(140)
    with record_function("work"):
        clock.at(145)
    clock.at(160)
    family.closed(1, 11)

    trace = family.written()[4]
    assert rows(trace) == [("work", 140, 5, 0)]
    origin = trace.origin
    assert (origin.trace_id, origin.base_ns, origin.clocks, origin.pid) == ("ID4", 1_000_000, CLOCKS, os.getpid())
    assert (origin.process, trace.tracks[0].process) == ("train.py (child)", "train.py (child)")
    assert origin.session == {
        "cycle": 4,
        "first_step": 9,
        "last_step": 11,
        "partial": False,
        "profile_pid": 77,
        "late_ns": 30,
        "window_ns": 30,
    }
    (path,) = family.log.iterdir()
    assert re.fullmatch(rf"w_{os.getpid()}_child_rank0_cycle4_steps9-11\.\d+\.pftrace", path.name)


def test_a_cycle_that_the_parent_cut_short_is_partial_and_one_that_it_drops_is_dropped(family: Family) -> None:
    for window, fate in enumerate(("keep as partial", "discard", "keep")):
        family.opened(window, window, window)
        with record_function("work"):
            pass
        family.closed(window, window, fate)

    found = family.written()
    assert {cycle: trace.origin.session["partial"] for cycle, trace in found.items()} == {0: True, 2: False}


def test_a_child_that_is_busy_while_cycles_pass_misses_those_and_no_other(family: Family) -> None:
    family.opened(1, 0, 0)
    with record_function("in 0"):
        pass
    family.opened(3, 2, 6, closed=Closed(2, 5, "keep"))  # the end of 0, and all of 1, went unseen
    with record_function("in 2"):
        pass
    family.closed(3, 8)

    found = family.written()
    assert {cycle: [row.name for row in trace] for cycle, trace in found.items()} == {0: ["in 0"], 2: ["in 2"]}
    assert [(s["first_step"], s["last_step"], s["partial"]) for s in (t.origin.session for t in found.values())] in (
        [(0, 0, True), (6, 8, False)],
        [(6, 8, False), (0, 0, True)],
    )


def test_who_records_nothing_writes_nothing_unless_something_was_dropped(family: Family) -> None:
    family.opened(1, 0, 0)
    family.closed(1, 0)
    assert family.written() == {}

    family.run = family.run._replace(number=2, options=options(buffer_bytes=1))
    family.opened(2, 1, 1)
    for _ in range(3):
        with record_function("too much"):
            pass
    family.closed(2, 1)

    trace = family.written()[1]
    assert (len(trace), [problem.kind for problem in trace.problems]) == (0, ["dropped"])


def test_a_run_that_a_child_was_too_busy_to_see_the_end_of_is_over_with_the_next_one(family: Family) -> None:
    family.opened(1, 0, 0)
    with record_function("in the first"):
        pass
    family.run = family.run._replace(number=2)
    family.opened(2, 1, 3)
    with record_function("in the second"):
        pass
    family.closed(2, 3)

    names = {cycle: [row.name for row in trace] for cycle, trace in family.written().items()}
    assert names == {0: ["in the first"], 1: ["in the second"]}


def test_steps_of_a_child_are_in_the_cycles_that_they_run_in(family: Family, clock: FakeClock) -> None:
    family.closed(0, 0)
    for now in (10, 20):
        clock.at(now)
        assert family.child.step()
    clock.at(25)
    family.opened(1, 0, 0)
    clock.at(30)
    assert family.child.step()
    clock.at(40)
    family.closed(1, 0)

    assert rows(family.written()[0]) == [("ProfilerStep#2", 25, 5, CUT), ("ProfilerStep#3", 30, 10, CUT)]


def test_between_two_runs_steps_are_nobodys(family: Family) -> None:
    assert not family.child.step()


def test_a_source_that_cannot_record_in_the_child_is_said_there(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(options: object) -> None:
        raise LifecycleError("another tool has the hook")

    monkeypatch.setitem(globals(), "refuse", refuse)
    monkeypatch.setattr(sources, "SOURCES", (SourceRow("calls", __name__, "refuse", lambda _: True),))
    family.opened(1, 3, 9)
    assert profile.active() is None
    family.closed(1, 9)

    with pytest.warns(StepscopeWarning, match=r"in the child process \d+: cycle 3 is not recorded: another tool has"):
        family.child.finish()
    assert family.written() == {}


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ControlFile, Follower]]:
    """A control file, and a follower of it. They are one process here, whose locks keep it from nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = ControlFile()
    read_only = open_to_follow(file.path)
    yield file, Follower(read_only)
    read_only.close()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_follower_reads_each_state_once(told: tuple[ControlFile, Follower]) -> None:
    file, follower = told
    run = Run(1, 77, "train.py", "", {"folder": "/l\N{SNOWMAN}g"})
    states = [
        State(run),
        State(run, Opened(1, 0, 5, "ID", 7, CLOCKS)),
        State(run, None, Closed(1, 8, "keep")),
        State(None, None, Closed(1, 8, "keep")),
    ]

    assert follower.read() == State()
    for state in states:
        assert follower.wait() is None  # nothing new, and the lock is free: its holder would be gone
        file.publish(state)
        assert follower.wait() == state
    file.publish(states[0])
    file.publish(states[1])
    assert follower.read() == states[1]


def test_a_state_that_is_being_written_is_not_seen_yet(told: tuple[ControlFile, Follower]) -> None:
    file, follower = told
    file.publish(State(closed=Closed(1, 2, "keep")))
    for torn in (b"\0", b"\xff" * 40, b""):
        os.pwrite(file.file.number, torn, 0)  # where the next one goes
        follower.generation = -1
        assert follower.read() == State(closed=Closed(1, 2, "keep"))


def test_what_is_no_control_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x" * 200_000)
    file = open_to_follow(str(tmp_path / "other"))
    assert Follower(file).read() is None
    file.close()


def test_a_control_file_of_another_user_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_to_follow(str(tmp_path / "theirs"))


def test_names_that_are_too_long_to_tell_are_refused_and_the_old_state_stays(
    told: tuple[ControlFile, Follower],
) -> None:
    file, follower = told
    with pytest.raises(LifecycleError, match=r"children= has \d+ bytes to tell them. Use a shorter name"):
        file.publish(State(Run(1, 77, "x" * control.SLOT_BYTES, "", {})))
    assert follower.read() == State()
    file.publish(State(closed=Closed(1, 2, "keep")))
    assert follower.read() == State(closed=Closed(1, 2, "keep"))


def test_a_descriptor_is_not_taken_for_another_file_that_has_its_number(tmp_path: Path) -> None:
    file = Descriptor(os.open(tmp_path, os.O_RDONLY))
    os.close(file.number)
    other = os.open("/dev/null", os.O_RDONLY)
    if other != file.number:
        os.dup2(other, file.number)
        os.close(other)

    with pytest.raises(OSError, match="its control file was closed by the program"):
        file.checked()
    file.close()
    os.close(file.number)


def test_without_posix_locks_children_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "fcntl", None)
    with pytest.raises(LifecycleError, match=r"children= needs POSIX record locks.*Leave it out"):
        ControlFile()


def test_without_a_folder_for_the_control_file_children_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(LifecycleError, match=r"children= needs a temporary file with locks: .*Set TMPDIR"):
        ControlFile()


def test_an_option_that_no_other_process_can_have_is_refused_when_the_run_begins(tmp_path: Path) -> None:
    with pytest.warns(StepscopeWarning, match="with_stack"):
        prof = profile(on_trace_ready=trace_handler(tmp_path), children=True, with_stack=lambda: 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"children= cannot have with_stack=<function .*Leave one of the two out"):
        prof.start()
    assert profile.active() is None
