"""What the scanner of .pftrace packets keeps of a sequence, its clocks, and the event at hand."""

from typing import Any

from stepscope.core.protobuf import MalformedError, read_varint

__all__ = ["ANNOTATION_NAMES", "CATEGORIES", "NAMES", "STACK_TABLES", "STRING_VALUES", "TEXT_TABLES"]
__all__ += ["ClockState", "ParsedEvent", "SequenceState", "site_iids"]

# Fields of InternedData that hold texts.
CATEGORIES, NAMES, ANNOTATION_NAMES, STRING_VALUES = 1, 2, 3, 29
TEXT_TABLES = (CATEGORIES, NAMES, ANNOTATION_NAMES, STRING_VALUES)
# And what call stacks are made of: functions, frames, stacks, files.
STACK_TABLES = (5, 6, 7, 18)
NAME_TAG, VALUE_TAG, MAX_SITE_BYTES = 1 << 3, b"\x88\x01", 16


class ClockState:
    """A clock of a sequence: ts = ns + offset for ns from lowest to highest."""

    __slots__ = ("epoch", "highest", "incremental", "last", "lowest", "offset", "unit_ns")

    def __init__(self, unit_ns: int, incremental: bool, last: int) -> None:
        self.unit_ns = unit_ns
        self.incremental = incremental
        self.last = last
        self.epoch = -1
        self.lowest = self.highest = self.offset = 0

    def ns(self, time: int) -> int | None:
        """The ns of a packet's time; None: it is out of range."""
        ns = time * self.unit_ns + (self.last if self.incremental else 0)
        return ns if self.lowest <= ns <= self.highest else None


class SequenceState:
    """What the packets of a sequence have in common."""

    __slots__ = ("clock", "generation", "track", "valid")

    def __init__(self) -> None:
        self.clock = self.generation = 0
        self.valid = False
        self.track = 0


class ParsedEvent:
    """A TrackEvent as it is parsed."""

    __slots__ = ("annotated", "cats", "flows", "inline", "kind", "name", "site", "track", "value")

    def __init__(self) -> None:
        self.kind = self.name = self.inline = self.site = 0
        self.cats: list[int] = []
        self.track: int | None = None
        self.flows: list[tuple[int, bool]] = []
        self.value: float | None = None
        self.annotated = False


def site_iids(data: Any, at: int, stop: int) -> tuple[int, int]:
    """The iids of name and text of an annotation of the form in which our writer has sites; 0, 0: it is another one."""
    if not 5 <= stop - at <= MAX_SITE_BYTES or data[at] != NAME_TAG:
        return 0, 0
    try:
        name, behind = read_varint(data, at + 1, stop)
        if data[behind : min(behind + 2, stop)] != VALUE_TAG:
            return 0, 0
        site, behind = read_varint(data, behind + 2, stop)
    except MalformedError:
        return 0, 0
    return (name, site) if behind == stop else (0, 0)
