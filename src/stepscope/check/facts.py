"""What the rules ask of a whole file."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from stepscope.check.events import EventStream

__all__ = ["STEP_NAME", "Facts", "is_number"]

STEP_NAME = re.compile(r"ProfilerStep#\d+")
# Phases that Perfetto shows as a slice each; the asynchronous ones need an id.
SYNCHRONOUS, ASYNCHRONOUS = frozenset("BiIR"), frozenset("bn")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number of JSON: Python reads NaN and infinity too."""
    kind = type(value)
    return kind is int or (kind is float and value - value == 0)


@dataclass
class Facts:
    """What is known of a file once all its events have been seen.

    Attributes:
        path: the file.
        is_array, has_events, header, damage, has_control, is_utf8, surrogate_at, rank_on_line: as `EventStream` has.
        slices: how many events Perfetto should show as slices.
        timed: how many events have a ts.
        args: whether some event has args.
        steps: the names of the steps.
        odd_event: the first event that is no object, in words.
        unknown_end: the first end without a beginning, in words.
        twin: a file of the same folder that has the same rank; None if none has been seen.
    """

    path: Path
    is_array: bool = False
    has_events: bool = False
    header: dict[str, Any] = field(default_factory=dict)
    damage: str = ""
    has_control: bool = False
    is_utf8: bool = True
    surrogate_at: int = -1
    rank_on_line: int | None = None
    slices: int = 0
    timed: int = 0
    args: bool = False
    steps: set[str] = field(default_factory=set)
    odd_event: str = ""
    unknown_end: str = ""
    twin: Path | None = None
    _open: Counter[tuple[Any, Any]] = field(default_factory=Counter, repr=False)

    @property
    def rank(self) -> int | None:
        """The rank that distributedInfo states."""
        info = self.header.get("distributedInfo")
        rank = info.get("rank") if isinstance(info, dict) else None
        return rank if isinstance(rank, int) and not isinstance(rank, bool) else None

    def see(self, number: int, event: dict[str, Any]) -> None:
        """Take note of an event; they are numbered from 0."""
        phase, name = event.get("ph"), event.get("name")
        self.args = self.args or "args" in event
        if "ts" not in event:
            return
        self.timed += 1
        if phase == "X":
            self.slices += is_number(event.get("dur"))
            if isinstance(name, str) and STEP_NAME.fullmatch(name):
                self.steps.add(name)
        elif phase in SYNCHRONOUS:
            self.slices += 1
            if phase == "B":
                self._open[_thread_of(event)] += 1
        elif phase in ASYNCHRONOUS:
            self.slices += "id2" in event or isinstance(event.get("id"), (int, str))
        elif phase == "E":
            self._end(number, event)

    def finish(self, stream: EventStream) -> None:
        """Take note of what the stream has seen on its way."""
        self.is_array, self.has_events, self.header = stream.is_array, stream.has_events, stream.header
        self.damage, self.has_control, self.is_utf8 = stream.damage, stream.has_control, stream.is_utf8
        self.surrogate_at, self.rank_on_line = stream.surrogate_at, stream.rank_on_line

    def _end(self, number: int, event: dict[str, Any]) -> None:
        thread = _thread_of(event)
        if self._open[thread]:
            self._open[thread] -= 1
        elif not self.unknown_end:
            self.unknown_end = f"event {number} ends nothing"


def _thread_of(event: dict[str, Any]) -> tuple[str, str]:
    return str(event.get("pid")), str(event.get("tid"))
