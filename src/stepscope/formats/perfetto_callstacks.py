"""Call stacks of TrackEvents: interned by the event's sequence, or in the event itself, as the text of an argument.

Our own files have the same text in a debug annotation, too, which goes first.
"""

from typing import Any, NamedTuple

from stepscope.core.stacks import CALL_STACK, SEPARATORS
from stepscope.formats.perfetto_messages import Note, as_text

__all__ = ["CALL_STACK", "Callstacks", "has_stack"]


class _Tables(NamedTuple):
    """What stacks of one generation of a sequence refer to, each by its iid."""

    functions: dict[int, str]
    files: dict[int, str]
    frames: dict[int, Any]
    stacks: dict[int, tuple[int, ...]]


def has_stack(event: Any) -> bool:
    """Whether a perfetto.protos.TrackEvent has a call stack."""
    return bool(event.HasField("callstack_iid") or event.HasField("callstack"))


class Callstacks:
    """All stacks that a file has interned.

    Args:
        note: counts what cannot be told.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._tables: dict[int, _Tables] = {}

    def intern(self, generation: int, interned: Any) -> None:
        """Take perfetto.protos.InternedData; the first entry of an iid counts."""
        if not (interned.callstacks or interned.frames or interned.function_names or interned.source_paths):
            return
        tables = self._tables.setdefault(generation, _Tables({}, {}, {}, {}))
        for texts, entries in ((tables.functions, interned.function_names), (tables.files, interned.source_paths)):
            for entry in entries:
                texts.setdefault(entry.iid, self._text(entry.str))
        for frame in interned.frames:
            tables.frames.setdefault(frame.iid, frame)
        for stack in interned.callstacks:
            tables.stacks.setdefault(stack.iid, tuple(stack.frame_ids))

    def text(self, generation: int, event: Any) -> str:
        """The stack of an event, innermost call first; "" if it has none, or it cannot be told."""
        if event.HasField("callstack"):
            frames = event.callstack.frames
            texts = [(self._text(frame.source_file), frame, self._text(frame.function_name)) for frame in frames]
            calls = [_call(file, frame.line_number, function) for file, frame, function in texts]
        else:
            calls = self._interned(generation, event.callstack_iid)
        return ";".join(reversed(calls))

    def _text(self, text: str | bytes) -> str:
        try:
            return as_text(text if isinstance(text, str) else text.decode(), self._note)
        except UnicodeDecodeError:
            return as_text(text, self._note)

    def _interned(self, generation: int, iid: int) -> list[str]:
        """The calls of an interned stack, outermost first."""
        tables = self._tables.get(generation)
        if tables is None or iid not in tables.stacks:
            self._note("interned", f"an event uses call stack {iid} without saying what it is")
            return []
        return [self._frame(tables, frame) for frame in tables.stacks[iid]]

    def _frame(self, tables: _Tables, iid: int) -> str:
        frame = tables.frames.get(iid)
        if frame is None:
            self._note("interned", f"a call stack uses frame {iid} without saying what it is")
            return "?"
        function = tables.functions.get(frame.function_name_id, "")
        if not function and frame.rel_pc:  # nobody has looked up what is there
            function = hex(frame.rel_pc)
        return _call(tables.files.get(frame.source_path_iid, ""), frame.line_number, function)


def _call(file: str, line: int, function: str) -> str:
    text = f"{file}({line}): {function or '?'}" if file else function or "?"
    return text.translate(SEPARATORS)
