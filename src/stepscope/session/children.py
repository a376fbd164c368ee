"""Children: the processes that this one starts while a profile runs, and how they come to follow it.

A forked child knows at once. One that multiprocessing spawns, or has its fork server fork, unpickles its Process
object, in which the path of the control file travels; `BaseProcess.start` puts it there while a run goes on, and is
itself again afterwards. Any other Python program that is started meanwhile, as by subprocess, finds the path in its
environment when it imports stepscope. Children outlive the run: they wait for the next one of the same process. Those
that were there before the first run cannot know where to look.
"""

import base64
import contextlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import process, util
from typing import Any

from stepscope.model.errors import StepscopeWarning
from stepscope.model.trace import Origin
from stepscope.record.sources import import_sources
from stepscope.record.where import origin_here
from stepscope.session.child import Child
from stepscope.session.control import Closed, ControlFile, Descriptor, Opened, Run, State, open_to_follow
from stepscope.session.handlers import TraceHandler
from stepscope.session.recording import Fate

__all__ = ["VARIABLE", "Children", "follow_environment", "handler_of_children"]

CONFIG_KEY = "stepscope"
# What a program that is started while a run goes on is told by: "PID:PATH", whose profile it is and its control file.
VARIABLE = "STEPSCOPE_FOLLOW"
# Those options that are about the process that they are given in.
OWN = frozenset({"execution_trace_observer", "acc_events", "custom_trace_id_callback", "keep_sessions"})
# Once every Finalize that could still have something recorded has run.
AFTER_THE_LAST = -200


class _Here:
    """What this process is in the family: it may be a parent, a child, and both."""

    control: ControlFile | None = None
    children: "Children | None" = None  # while a run goes on
    child: Child | None = None
    start = process.BaseProcess.start  # what `_start` stands in for
    patched = False


class Children:
    """A run, as its children are told of it.

    Args:
        options: of the profile; all but those in OWN are the children's too.
        handler: what they write with.

    Raises:
        TypeError: an option cannot be sent to another process.
        LifecycleError: this platform has no way to tell them.
    """

    def __init__(self, options: Mapping[str, Any], handler: TraceHandler) -> None:
        shared = _packed({name: value for name, value in options.items() if name not in OWN})
        if _Here.control is None:
            _Here.control = ControlFile()
            util.Finalize(None, _Here.control.remove, exitpriority=AFTER_THE_LAST)
        self.control = _Here.control
        self.control.runs += 1
        # What a child needs to know is found out before a fork, which may come in the middle of any import.
        origin = origin_here("", {}, {})
        import_sources(options)
        self._state = State(Run(self.control.runs, origin.pid, origin.process, shared, handler.described()))
        self._window = 0
        self._is_lost = False
        self._publish(self._state)
        _Here.children = self
        self._invited_by = os.environ.get(VARIABLE)  # this may be a child, too
        os.environ[VARIABLE] = self._invites = f"{origin.pid}:{self.control.path}"
        _patch()

    def opened(self, cycle: int, first_step: int, origin: Origin) -> None:
        """A cycle is being recorded."""
        self._window += 1
        clocks = origin.clocks
        self._publish(
            self._state._replace(
                opened=Opened(self._window, cycle, first_step, origin.trace_id, origin.base_ns, clocks)
            )
        )

    def closed(self, last_step: int, fate: Fate) -> None:
        """It is not any more."""
        self._publish(self._state._replace(opened=None, closed=Closed(self._window, last_step, fate.value)))

    def end(self) -> None:
        """The run is over; children wait for the next one."""
        _Here.children = None
        if os.environ.get(VARIABLE) == self._invites:  # else it is somebody else's by now
            del os.environ[VARIABLE]
            if self._invited_by is not None:
                os.environ[VARIABLE] = self._invited_by
        _restore()
        self._publish(State(closed=self._state.closed))

    @staticmethod
    def step_here() -> bool:
        """step() in a process that follows a run; returns whether this is one."""
        return _Here.child is not None and _Here.child.step()

    def _publish(self, state: State) -> None:
        self._state = state
        try:
            self.control.publish(state)
        except OSError as error:
            if not self._is_lost:
                self._is_lost = True
                message = f"child processes are not told any more when to record: {error}"
                warnings.warn(message, StepscopeWarning, stacklevel=2)


def handler_of_children(children: object, on_trace_ready: object) -> TraceHandler:
    """The handler that child processes write with.

    Raises:
        TypeError: there is none, or it is none that every process can have.
    """
    handler = on_trace_ready if children is True else children
    if not isinstance(handler, TraceHandler):
        message = (
            f"children= needs a handler that writes files, got {handler!r}: a child process cannot call back. "
            'Use on_trace_ready=trace_handler("./log") with children=True, or children=trace_handler("./log").'
        )
        raise TypeError(message)
    return handler


def _packed(options: Mapping[str, Any]) -> str:
    for name, value in options.items():
        try:
            pickle.dumps(value)
        except Exception as error:  # noqa: PERF203 - it is what the loop is for
            message = f"children= cannot have {name}={value!r}: {error}. Leave one of the two out."
            raise TypeError(message) from error
    return base64.b64encode(pickle.dumps(options)).decode()


class _Invitation:
    """The path of a control file, in a Process object; who unpickles it follows."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], "_Invitation"], tuple[str]]:
        return _accept, (self.path,)


def _accept(path: str) -> _Invitation:
    """Follow, if this is a child of which multiprocessing is making a process."""
    if _is_being_made():
        _try_to_follow(path, is_program=False)
    return _Invitation(path)


def _is_being_made() -> bool:
    return bool(getattr(process.current_process(), "_inheriting", False))


def follow_environment() -> None:
    """Follow the run that this program was started in, if its parent is still there; called as stepscope is imported.

    What multiprocessing starts is invited by it. A program that has replaced itself (os.exec) has the variable of its
    own run, which is over.
    """
    pid, _, path = os.environ.get(VARIABLE, "").partition(":")
    if path and pid != str(os.getpid()) and not _is_being_made():
        _try_to_follow(path, is_program=True)


def _try_to_follow(path: str, *, is_program: bool) -> None:
    """Never fail, or the child would die of it."""
    if _Here.child is not None:
        return
    try:
        with contextlib.suppress(FileNotFoundError):  # the parent is gone
            _follow(path, open_to_follow(path), is_program=is_program)
    except Exception as error:  # noqa: BLE001 - whatever it is, the child's work is not ours to end
        message = f"this child process does not record: {type(error).__name__}: {error}"
        try:
            warnings.warn(message, StepscopeWarning, stacklevel=3)
        except StepscopeWarning:  # where warnings are errors, they must not end the child either
            sys.excepthook(*sys.exc_info())


def _follow(path: str, file: Descriptor, *, is_program: bool = False) -> None:
    _Here.child = Child(path, file, is_program=is_program)
    _patch()
    _Here.child.begin()


def _start(self: process.BaseProcess) -> None:
    """BaseProcess.start while a run goes on, or in a child that follows one."""
    config: dict[str, Any] = getattr(self, "_config", {})
    config.pop(CONFIG_KEY, None)  # what the parent's own process was invited by
    if _Here.children is not None:
        config[CONFIG_KEY] = _Invitation(_Here.children.control.path)
    elif _Here.child is not None and _Here.child.recording is not None:
        config[CONFIG_KEY] = _Invitation(_Here.child.path)
    _Here.start(self)


def _patch() -> None:
    if not _Here.patched:
        _Here.start, process.BaseProcess.start = process.BaseProcess.start, _start  # type: ignore[method-assign]
        _Here.patched = True


def _restore() -> None:
    """Unless somebody else has wrapped it since, or it is needed to invite on behalf of the parent."""
    if _Here.child is None and process.BaseProcess.start is _start:
        process.BaseProcess.start = _Here.start  # type: ignore[method-assign]
        _Here.patched = False


def _after_fork() -> None:
    """A forked child follows the run that its parent is in, or follows."""
    control, child = _Here.control, _Here.child
    own = control if control is not None and _Here.children is not None else None
    joined = child if own is None and child is not None and child.recording is not None else None
    _Here.control = _Here.children = _Here.child = None
    for known in (control, child):
        if known is not None and known is not own and known is not joined:
            known.file.close()
    if (known := own or joined) is not None:
        _follow(known.path, known.file)
    else:
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
