"""Call stacks in Perfetto protobuf: interned on their track's sequence, once each, and named by number in its events.

An event refers to its stack twice. `callstack_iid` is what the UI makes a flame graph of a selection from; the interned
text of a debug annotation is what readers give back as the argument, and what trace processors show that are older.
"""

import re
from typing import Any

from stepscope.core.protobuf import field, varint
from stepscope.core.stacks import CALL_STACK
from stepscope.model.packed_args import items_with
from stepscope.model.trace import Trace

__all__ = ["StackTable", "stack_reference"]

# Fields of InternedData.
FUNCTION_NAMES, FRAMES, CALLSTACKS, SOURCE_PATHS, STRING_VALUES = 5, 6, 7, 18, 29
STRING_VALUE_IID, CALLSTACK_IID = 17, 56  # of DebugAnnotation, of TrackEvent
_CALL = re.compile(r"(?P<file>.*)\((?P<line>\d{1,9})\): (?P<function>.*)", re.DOTALL)


class StackTable:
    """The stacks of a trace: which there are on each track, and their numbers in the whole file, from 1."""

    def __init__(self, trace: Trace) -> None:
        # Below are the string values that are sites, by their ids in the trace.
        self._first_value = len(trace.strings)
        self._numbers: dict[str, int] = {}
        self._of_track: dict[int, dict[str, int]] = {}
        for row, args in items_with(trace.args, CALL_STACK):
            text = args[CALL_STACK]
            if isinstance(text, str) and text:
                number = self._numbers.setdefault(text, len(self._numbers) + 1)
                self._of_track.setdefault(trace.columns.track[row], {})[text] = number

    def number(self, text: Any) -> int:
        """The number of a stack; 0: it is none."""
        return self._numbers.get(text, 0) if isinstance(text, str) else 0

    def value(self, number: int) -> bytes:
        """The fields of a debug annotation that hold a stack's text."""
        return _uint(STRING_VALUE_IID, self._first_value + number)

    def interned(self, track: int) -> bytes:
        """The InternedData of all stacks on a track; empty if there is none."""
        functions: dict[str, int] = {}
        files: dict[str, int] = {}
        frames: dict[str, int] = {}
        entries = []
        for text, number in self._of_track.get(track, {}).items():
            calls = text.split(";")
            for call in calls:
                if call not in frames:
                    frames[call] = len(frames) + 1
                    entries.append(_frame(call, frames[call], functions, files))
            entries.append(_entry(STRING_VALUES, self._first_value + number, field(2, text.encode())))
            outermost_first = b"".join(_uint(2, frames[call]) for call in reversed(calls))
            entries.append(_entry(CALLSTACKS, number, outermost_first))
        return b"".join(entries)


def stack_reference(number: int) -> bytes:
    """The field of an event that names its stack."""
    return _uint(CALLSTACK_IID, number)


def _frame(call: str, number: int, functions: dict[str, int], files: dict[str, int]) -> bytes:
    """A frame, and the texts in it that are new. What is not of our form is the function's name as a whole."""
    match = _CALL.fullmatch(call)
    function, file = (match["function"], match["file"]) if match else (call, "")
    entries = []
    for text, known, table in ((function, functions, FUNCTION_NAMES), (file, files, SOURCE_PATHS)):
        if text not in known:
            known[text] = len(known) + 1
            entries.append(_entry(table, known[text], field(2, text.encode())))
    where = _uint(5, files[file]) + _uint(6, int(match["line"])) if match else b""
    entries.append(_entry(FRAMES, number, _uint(2, functions[function]) + where))
    return b"".join(entries)


def _entry(table: int, iid: int, fields: bytes) -> bytes:
    return field(table, _uint(1, iid) + fields)


def _uint(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)
