"""Recording one cycle after another: prepare, start, stop.

This is torch's _KinetoProfile: the profiler without its schedule. One profile records at a time in a process.
"""

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stepscope import core
from stepscope.core import kernels
from stepscope.core.values import freeze, freeze_args, legal_text
from stepscope.model.errors import LifecycleError, StepscopeWarning
from stepscope.record.drain import drain
from stepscope.record.sources import Harvest, Source, start_sources, stop_sources
from stepscope.record.where import origin_here
from stepscope.session.activities import parse_activities
from stepscope.session.options import Options, checked_options, warn_unfilled
from stepscope.session.reporting import Reporting
from stepscope.session.session import Session
from stepscope.session.writer import Writing, write_now

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from stepscope.core.rows import StepMark

__all__ = ["Fate", "Recording"]


class Fate(Enum):
    """What becomes of the running recording when it stops."""

    KEEP = "keep"
    KEEP_AS_PARTIAL = "keep as partial"
    DISCARD = "discard"


class _Active:
    """The profile that has the recorder; at most one in a process."""

    lock = threading.Lock()
    owner: "Recording | None" = None

    @classmethod
    def forget(cls) -> None:
        owner, cls.owner = cls.owner, None
        cls.lock = threading.Lock()
        if owner is not None:
            owner.stop_sources()


if hasattr(os, "register_at_fork"):
    # A child may profile on its own; the parent's profile is the parent's.
    os.register_at_fork(after_in_child=_Active.forget)


class Recording(Reporting):
    """Cycles recorded by hand: prepare_trace(), start_trace(), stop_trace().

    Args:
        record_shapes, with_flops, with_modules, experimental_config, post_processing_timeout_s: torch's.
            Those that this version has no source for are said in one warning.
        activities: the devices whose operators and work are recorded, as ProfilerActivity or by name; None for all.
        profile_memory: what the process holds and what Python's heap does, sampled every 10 ms, as counters; and what
            is allocated before and after each operator.
        with_stack: the calls of Python functions as slices of category "python_function"; a CallOptions says which.
        record_tasks: which asyncio task ran when, as slices of category "task_step" on the thread's own track. The
            spans of tasks stand on lanes of their own anyway.
        record_gc: pauses of the garbage collector as slices of category "gc".
        record_stacks: spans, operators and instants say the calls around them, in the argument "Call stack".
        with_cpu_time: spans say what their thread computed meanwhile, in the argument "thread_time_ns"; averages add
            it up. It costs about 0.5 us a span.
        execution_trace_observer: started and stopped with every recording.
        acc_events: events() and key_averages() cover every cycle, and every session is kept.
        custom_trace_id_callback: makes the trace id of each cycle.
        keep_sessions: how many finished sessions `sessions` keeps; by default the last one, all with acc_events.
        buffer_bytes: how much memory the records of all threads may take, those of cycles that are not written yet
            included. Memory is taken as it is needed.
        buffer_policy: what happens when it is spent: "stop" drops the newest records, "ring" the oldest. What was
            dropped is counted in the trace's problems.
    """

    def __init__(self, **options: "Unpack[Options]") -> None:
        chosen = checked_options(options)
        self._options = chosen
        self._warn_of_options()
        self.activities = parse_activities(chosen["activities"])
        self.record_shapes = chosen["record_shapes"]
        self.profile_memory = chosen["profile_memory"]
        self.record_gc = chosen["record_gc"]
        self.record_tasks = chosen["record_tasks"]
        self.record_stacks = chosen["record_stacks"]
        self.with_cpu_time = chosen["with_cpu_time"]
        self.with_stack = chosen["with_stack"]
        self.with_flops = chosen["with_flops"]
        self.with_modules = chosen["with_modules"]
        self.experimental_config = chosen["experimental_config"]
        self.post_processing_timeout_s = chosen["post_processing_timeout_s"]
        self.execution_trace_observer = chosen["execution_trace_observer"]
        self.acc_events = chosen["acc_events"]
        self.custom_trace_id_callback = chosen["custom_trace_id_callback"]
        self.keep_sessions = chosen["keep_sessions"]
        self.buffer_bytes = chosen["buffer_bytes"]
        self.buffer_policy = chosen["buffer_policy"]
        self.preset_metadata: dict[str, str] = {}
        self.step_num = 0
        self._metadata: dict[str, Any] = {}
        self._sessions: deque[Session] = deque(maxlen=self.keep_sessions)
        self._cycles = 0
        self._trace_id: str | None = None
        self._prepared = False
        self._recording = False
        self._running = False
        self._running_step = 0
        self._fate = Fate.KEEP
        self._marks: list[StepMark] = []
        self._sources: list[Source] = []

    def _warn_of_options(self) -> None:
        warn_unfilled(self._options)
        _warn_of_missing_core()

    # -- one cycle -------------------------------------------------------------------------------------------

    def prepare_trace(self) -> None:
        """Take the recorder and make the next cycle's trace id.

        Raises:
            LifecycleError: another profile is recording in this process.
        """
        self._activate()
        callback = self.custom_trace_id_callback
        try:
            self._trace_id = _random_id() if callback is None else legal_text(callback())
            self._prepared = True
        finally:
            if not self._prepared and not self._running:  # nobody else would give the recorder back
                self._release()

    def start_trace(self) -> None:
        """Begin to record; prepares first if that was not done.

        Raises:
            LifecycleError: this profile is recording already, or another one is; or a source cannot record.
        """
        if self._recording:
            message = "start_trace() while recording. Call stop_trace() first."
            raise LifecycleError(message)
        if not self._prepared:
            self.prepare_trace()
        if self.execution_trace_observer is not None:
            self.execution_trace_observer.start()
        self._metadata.update(freeze_args({key: _parsed(key, value) for key, value in self.preset_metadata.items()}))
        self._origin = origin_here(self._trace_id or "", {}, {})
        self._first_step = self.step_num
        self._marks = []
        self._fate = Fate.KEEP
        kernels.open_window()
        self._recording = True
        try:
            self._sources = start_sources(self._options)
        except BaseException:
            self._recording = self._prepared = False
            kernels.discard()
            if not self._running:  # nobody else would give the recorder back
                self._release()
            raise

    def stop_trace(self) -> None:
        """End the recording; what it recorded becomes the last session.

        Raises:
            LifecycleError: nothing is being recorded.
        """
        if not self._recording:
            message = "stop_trace() without start_trace(). Call start_trace() first."
            raise LifecycleError(message)
        harvests = self.stop_sources()
        window = kernels.seal()
        self._recording = self._prepared = False
        if self._fate is not Fate.DISCARD:
            origin = self._origin._replace(session=MappingProxyType(self._facts()))
            trace = partial(drain, window, self._marks, origin, harvests)
            self._sessions.append(Session(origin, trace, dict(self._metadata)))
            self._cycles += 1
        if not self._running:
            self._release()
        if self.execution_trace_observer is not None:
            self.execution_trace_observer.stop()

    def _facts(self) -> dict[str, int | bool]:
        """What `Origin.session` says of the cycle that has just been recorded."""
        return {
            "cycle": self._cycles,
            "first_step": self._first_step,
            "last_step": max(self._running_step, self._first_step),
            "partial": self._fate is Fate.KEEP_AS_PARTIAL,
        }

    @staticmethod
    def active() -> "Recording | None":
        """The profile that has the recorder of this process, if there is one."""
        return _Active.owner

    def give_way(self, other: "Recording") -> None:
        """Another profile wants the recorder. This one keeps it, and the other is told so; a subclass may stop here."""

    def _activate(self) -> None:
        owner = _Active.owner
        if owner is not None and owner is not self:
            owner.give_way(self)
        with _Active.lock:
            if _Active.owner is self:
                return
            if _Active.owner is not None:
                message = (
                    "another profile is active in this process, and it would lose its spans to this one. "
                    "Stop it first: leave its with block, or call profile.active().stop()."
                )
                raise LifecycleError(message)
            _Active.owner = self
        kernels.limit(self.buffer_bytes, self.buffer_policy == "ring")

    def _release(self) -> None:
        """Give the recorder back; an open window's records are dropped with it."""
        self.stop_sources()
        self._recording = self._prepared = False
        with _Active.lock:
            if _Active.owner is self:
                _Active.owner = None
                kernels.discard()

    def stop_sources(self) -> list[Harvest]:
        """Let nothing be recorded any more besides the program's own spans."""
        sources, self._sources = self._sources, []
        return stop_sources(sources)

    def hand_over(self, writing: Writing) -> None:
        """For handlers: have this written, which without a run means at once.

        Raises:
            ExportError: a file could not be written.
        """
        write_now(writing)

    # -- metadata --------------------------------------------------------------------------------------------

    def add_metadata(self, key: str, value: str) -> None:
        """Add text to the cycle that is being recorded, or to the last finished one, and to later ones.

        A file holds what was added before its handler was called, in on_trace_ready for example, as torch's do. What
        comes later is in the session's trace, and in what is exported from it.
        """
        self._add_metadata(key, freeze(value))

    def add_metadata_json(self, key: str, value: str) -> None:
        """Add a JSON value, otherwise as add_metadata.

        Raises:
            ValueError: value is not JSON.
        """
        self._add_metadata(key, freeze(_parsed(key, value)))

    def preset_metadata_json(self, key: str, value: str) -> None:
        """Add a JSON value to every cycle from the next one on.

        Raises:
            ValueError: value is not JSON.
        """
        _parsed(key, value)
        self.preset_metadata[key] = value

    def _add_metadata(self, key: str, value: Any) -> None:
        self._metadata.update(freeze_args({key: value}))
        if self._sessions and not self._recording:
            self._sessions[-1].amend(dict(self._metadata))

    def get_trace_id(self) -> str | None:
        """The id of the cycle that is prepared or recorded, else of the last one; None before the first."""
        return self._trace_id

    def set_custom_trace_id_callback(self, callback: Callable[[], str]) -> None:
        """Make the ids of later cycles with this."""
        self.custom_trace_id_callback = callback


_warned_of_core = False


def _warn_of_missing_core() -> None:
    """Say once in a process that spans cost ten times what they could, and why."""
    global _warned_of_core  # noqa: PLW0603 - once in a process
    reason = core.missing()
    if reason and not _warned_of_core:
        _warned_of_core = True
        message = (
            f"the Python core records, and a span costs about ten times as much: {reason}. Install stepscope where "
            "there is a C compiler, or set STEPSCOPE_CORE=python to be content with it."
        )
        warnings.warn(message, StepscopeWarning, stacklevel=5)


def _random_id() -> str:
    import uuid

    return f"{uuid.uuid4().int:032X}"


def _parsed(key: str, value: str) -> Any:
    import orjson

    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, TypeError) as error:
        message = f"metadata {key!r} is not JSON: {error}. Pass json.dumps(value), or use add_metadata for text."
        raise ValueError(message) from error
