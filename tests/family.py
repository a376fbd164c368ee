"""For the programs that test_children runs, and for their children: to know what is being recorded, without a clock."""

import os
import sys
import threading
from typing import Any

from stepscope.session.child import ChildRecording
from stepscope.session.control import Closed

__all__ = ["PATIENCE_S", "opened", "wait_closed", "wait_open"]

PATIENCE_S = 60

opened: list[int] = []
_closed: list[int] = []
_changed = threading.Condition()
_start_trace, _close = ChildRecording.start_trace, ChildRecording.close


def _start_and_tell(self: ChildRecording) -> None:
    _start_trace(self)
    with _changed:
        opened.append(self._cycles)
        _changed.notify_all()


def _close_and_tell(self: ChildRecording, closed: Closed | None) -> None:
    cycle = self._cycles
    _close(self, closed)
    with _changed:
        _closed.append(cycle)
        _changed.notify_all()


ChildRecording.start_trace = _start_and_tell  # type: ignore[method-assign]
ChildRecording.close = _close_and_tell  # type: ignore[method-assign]


def wait_open(cycle: int) -> None:
    """Until this process records that cycle."""
    _wait(cycle, opened)


def wait_closed(cycle: int) -> None:
    """Until it has recorded it."""
    _wait(cycle, _closed)


def _wait(cycle: int, happened: list[int]) -> None:
    with _changed:
        assert _changed.wait_for(lambda: cycle in happened, PATIENCE_S), (cycle, happened)


def _forget(*_: Any) -> None:
    global _changed  # noqa: PLW0603 - another thread of the parent may have held it
    _changed = threading.Condition()
    opened.clear()
    _closed.clear()


os.register_at_fork(after_in_child=_forget)

# A program that is told by its environment follows from the import of stepscope on, which was above.
if "stepscope.session.children" in sys.modules:
    _child = sys.modules["stepscope.session.children"]._Here.child  # noqa: SLF001
    _recording = None if _child is None else _child.recording
    if _recording is not None and _recording._opened is not None:  # noqa: SLF001 - the window, while it is open
        opened.append(_recording._cycles)  # noqa: SLF001 - and its number
