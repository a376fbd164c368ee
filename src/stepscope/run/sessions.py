"""The sessions of a program that is run: by its steps, by time, or one for all of it."""

import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

from stepscope import CallOptions, StepscopeError, profile, schedule, trace_handler
from stepscope.run.plan import Plan
from stepscope.session.recording import Recording

__all__ = ["Recorded", "say"]

TIMER_THREAD = "stepscope timer"
# Calls around the program's own, of which it knows nothing.
NOT_THE_PROGRAMS = ("<frozen runpy>", "<frozen importlib*>")
GAVE_WAY = "the program profiles itself, so that no more is recorded around it"


class _Handler:
    """Writes sessions, and keeps the newest ones on disk."""

    def __init__(self, plan: Plan) -> None:
        self._keep = plan.keep
        self._write = trace_handler(plan.log, formats=plan.formats, background=not plan.keep)
        self._kept: deque[list[Path]] = deque()

    def __call__(self, prof: Recording) -> None:
        if not self._keep:
            self._write(prof)
            return
        before = len(self._write.paths)
        self._write(prof)
        self._kept.append(self._write.paths[before:])
        if len(self._kept) > self._keep:
            for path in self._kept.popleft():
                path.unlink(missing_ok=True)

    @property
    def paths(self) -> list[Path]:
        """The files that are there, those of the newest session last."""
        return [path for paths in self._kept for path in paths] if self._keep else self._write.paths


class Recorded:
    """Records what happens in its with block.

    Attributes:
        paths: the files there are, those of the newest session last.
    """

    def __init__(self, plan: Plan) -> None:
        self._handler = _Handler(plan)
        options: dict[str, Any] = dict(plan.options)
        if plan.calls is not None:
            exclude = (*plan.calls.get("exclude", ()), *NOT_THE_PROGRAMS)
            options["with_stack"] = CallOptions(**{**plan.calls, "exclude": exclude})
        if plan.for_s:
            self._recording: _Timed | _Profile = _Timed(plan, self._handler, options)
        else:
            when = None if plan.schedule is None else schedule(**plan.schedule)
            self._recording = _Profile(schedule=when, on_trace_ready=self._handler, **options)

    @property
    def paths(self) -> list[Path]:
        """As said above; complete once the with block has ended."""
        return self._handler.paths

    def __enter__(self) -> "Recorded":
        self._recording.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._recording.stop()
        except StepscopeError as error:  # how the program ends is its own
            say(str(error))


class _Profile(profile):
    """The profile around a program. One that the program starts itself comes first, and this one ends then."""

    def step(self) -> None:
        """As profile.step(); the first one of a program that is recorded as a whole begins to mark its steps."""
        self.record_steps = True
        super().step()

    def give_way(self, other: Recording) -> None:
        """As Recording.give_way."""
        del other
        say(GAVE_WAY)
        self.stop()


class _Timed(Recording):
    """Sessions by time, on a thread of their own; one that the program profiles itself in is the last."""

    def __init__(self, plan: Plan, handler: _Handler, options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._for_s, self._every_s = plan.for_s, plan.every_s
        self._handler = handler
        self._ended = threading.Event()
        self._turn = threading.Lock()  # to start and to stop a session
        self._timer = threading.Thread(target=self._run, name=TIMER_THREAD, daemon=True)

    def start(self) -> None:
        """Begin the first session."""
        self.start_trace()
        self._timer.start()

    def stop(self) -> None:
        """End the last one."""
        self._ended.set()
        self._timer.join()

    def give_way(self, other: Recording) -> None:
        """As Recording.give_way."""
        del other
        say(GAVE_WAY)
        self._ended.set()
        self._finish()

    def _run(self) -> None:
        while not self._ended.wait(self._for_s):
            self._finish()
            if not self._every_s or self._ended.wait(max(self._every_s - self._for_s, 0)):
                return
            with self._turn:
                if self._ended.is_set() or Recording.active() is not None:
                    say(GAVE_WAY)
                    return
                self.start_trace()
        self._finish()

    def _finish(self) -> None:
        """Write what is being recorded, if anything is."""
        with self._turn:
            if self._recording:
                try:
                    self.stop_trace()
                    self._handler(self)
                except StepscopeError as error:  # the program goes on
                    say(str(error))


def say(message: str) -> None:
    """Say something on stderr: stdout is the program's."""
    print(f"stepscope: {message}", file=sys.stderr)  # noqa: T201 - it is a command's own process
