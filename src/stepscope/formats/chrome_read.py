"""Reading Chrome JSON: its outer structure, and which event goes where.

    {"key": value, ..., "traceEvents": [event, event, ...], "key": value}        or        [event, event, ...]

Plain events are scanned by a kernel, straight into columns; all others are parsed one by one. The file is read in
pieces, and of a piece nothing stays but what is in the trace.
"""

import re
from bisect import bisect_right
from typing import Any, NoReturn

import orjson

from stepscope.core import kernels
from stepscope.core.rows import CUT, Fed
from stepscope.core.values import NO_NAME, RESERVED_PREFIX
from stepscope.formats.chrome_events import Events
from stepscope.formats.chrome_reserved import has_spelled
from stepscope.formats.chrome_trace import Parts, assemble
from stepscope.formats.chrome_values import MalformedError, parse, take_marks, with_floats
from stepscope.formats.findings import Findings
from stepscope.formats.source import Source
from stepscope.model.build import NO_CATEGORY
from stepscope.model.errors import FormatError
from stepscope.model.packed_args import ArgsPacker
from stepscope.model.trace import Trace

__all__ = ["read_chrome", "sniff_chrome"]

# An event, or a value beside the events, that is larger than this is not waited for.
MAX_VALUE_BYTES = 256 << 20
# One that is larger than this is not parsed: as Python objects it may take twenty times as much.
MAX_PARSED_BYTES = 16 << 20
# Equal arguments are kept once; more different ones than this are not looked for.
SHARED_ARGS = 1 << 14
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_SPACE = re.compile(rb"[ \t\r\n]*")
_OPENING = re.compile(rb'[ \t\r\n]*(?:\{[ \t\r\n]*(?:["}]|\Z)|\[[ \t\r\n]*(?:[\]{]|\Z)|\Z)')


def sniff_chrome(head: bytes) -> bool:
    """Whether a file that begins so is Chrome JSON: an object with keys, or an array of objects."""
    return _OPENING.match(head.removeprefix(BYTE_ORDER_MARK)) is not None


def read_chrome(source: Source, *, strict: bool) -> Trace:
    """Read a trace from Chrome JSON.

    Args:
        source: the file.
        strict: raise if a part of it is not as it should be; otherwise skip that part, and count it in `problems`.

    Raises:
        FormatError: it holds no events; or it is strict, and the file is cut or damaged, or an event is.
    """
    return _Reader(source, strict=strict).read()


class _DamageError(Exception):
    """Nothing can be read from here on; the finding is told already."""


class _Reader:
    """Reads one file.

    Attributes:
        data, at: the piece at hand, and where in it the reader stands.
        base: where in the file the piece begins.
    """

    def __init__(self, source: Source, *, strict: bool) -> None:
        self.source = source
        self.findings = Findings(source.name, strict=strict)
        self.data, self.at, self.base = b"", 0, 0
        self.head: dict[str, Any] = {}
        self.scanner = kernels.ChromeScanner(orjson.dumps(NO_NAME)[1:-1], orjson.dumps(NO_CATEGORY)[1:-1])
        self.events = Events(self.findings)
        self.args = ArgsPacker()
        self.metadata_byte = 0
        self.cut_rows: list[int] = []
        self.sites: dict[int, str] = {}
        self.unusual = 0
        self.spelled = False
        self.found_events = False
        self._shared: dict[bytes, tuple[dict[str, Any], int, str]] = {}

    def read(self) -> Trace:
        """The whole file as a Trace."""
        try:
            self._outer()
        except _DamageError:
            pass
        else:
            if not self.found_events:
                message = (
                    f'{self.source.name}: it is JSON without "traceEvents". '
                    "Give a trace: an object with that key, or an array of events."
                )
                raise FormatError(message)
        if self.source.damage:
            self.findings.wrong("damaged", self.base + len(self.data), self.source.damage)
        return assemble(self._parts(), self.findings)

    # ---- the outer structure -------------------------------------------------------------------------------------

    def _outer(self) -> None:
        if self._more() and self.data.startswith(BYTE_ORDER_MARK):
            self.at = len(BYTE_ORDER_MARK)
        if self._next_byte("the trace") == b"[":
            self.at += 1
            self._items()
        else:
            self.at += 1
            self._members()
        if self._skip(_SPACE):
            self._stop("damaged", "something stands behind the end")

    def _members(self) -> None:
        while (byte := self._next_byte("the outer object")) != b"}":
            if byte == b",":
                self.at += 1
                continue
            if byte != b'"':
                self._stop("damaged", f"a key should stand here, not {byte!r}")
            key = self._value("a key")
            if self._next_byte("the outer object") != b":":
                self._stop("damaged", f"a colon should stand behind the key {key!r}")
            self.at += 1
            if self._next_byte(f"the value of {key!r}") == b"[" and key == "traceEvents":
                self.at += 1
                self._items()
            else:
                self.head[str(key)] = self._value(f"the value of {key!r}")
        self.at += 1

    def _value(self, what: str) -> Any:
        """Take a value of the header."""
        end = self._value_end(what)
        start, self.at = self.at, end
        if end - start > MAX_PARSED_BYTES:
            self.findings.note("ignored", f"{what} is larger than {MAX_PARSED_BYTES} bytes")
            return None
        if what == "the value of 'metadata'":
            self.metadata_byte = self.base + start
        try:
            value, clean = parse(self.data[start:end])
        except MalformedError as error:
            self.findings.wrong("unreadable", self.base + start, f"{what}: {error}")
            return None
        if not clean:
            self._note_encoding(what)
        return with_floats(value)

    def _value_end(self, what: str) -> int:
        while True:
            end = kernels.json_value_end(self.data, self.at) if self.at < len(self.data) else -1
            if end > 0:
                return end
            if end == -2:
                self._stop("damaged", f"{what} should stand here, not {self.data[self.at : self.at + 1]!r}")
            if not self._more():
                self._stop("truncated", f"the file ends in {what}")

    def _next_byte(self, where: str) -> bytes:
        """Skip space; the byte that stands there."""
        if not self._skip(_SPACE):
            self._stop("truncated", f"the file ends in {where}")
        return self.data[self.at : self.at + 1]

    def _skip(self, space: "re.Pattern[bytes]") -> bool:
        """Skip space, in as many pieces as it takes; whether something is left."""
        while True:
            found = space.match(self.data, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.data):
                return True
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on behind what is at hand and not done with; whether there was something."""
        left = len(self.data) - self.at
        if left > MAX_VALUE_BYTES:
            self._stop("damaged", f"one value is larger than {MAX_VALUE_BYTES} bytes")
        pieces, size = [self.data[self.at :]], 0
        # As much again as there is: a value over many pieces is not looked through for each.
        while size <= left and (piece := self.source.read()):
            pieces.append(piece)
            size += len(piece)
        self.base += self.at
        self.at = 0
        self.data = b"".join(pieces)
        return size > 0

    def _stop(self, kind: str, what: str, event: int | None = None) -> NoReturn:
        if kind == "truncated" and self.source.damage:
            what = f"{what}: {self.source.damage}"
        self.findings.wrong(kind, self.base + self.at, what, event)
        raise _DamageError

    # ---- events --------------------------------------------------------------------------------------------------

    def _items(self) -> None:
        """Take the items of the array of events, from behind its bracket to behind its end."""
        self.found_events = True
        while True:
            fed = self.scanner.feed(self.data, self.at)
            self._take(fed)
            self.at = fed.at
            if fed.state == "end":
                return
            event = fed.rows + self.unusual
            if fed.state == "damaged":
                found = self.data[self.at : self.at + 1]
                self._stop("damaged", f"an event should stand here, not {found!r}", event)
            if not self._more():
                within = self.at < len(self.data)
                self._stop("truncated", f"the file ends {'in an event' if within else 'before the array does'}", event)

    def _take(self, fed: Fed) -> None:
        """Take what the scanner did not: arguments, and events that are not plain."""
        before = fed.unusual[::3]
        picked = kernels.pick_args(self.data, fed.args, RESERVED_PREFIX.encode())
        self.args.extend(picked)
        self.spelled = self.spelled or has_spelled(picked.text)
        for row, start, end in zip(picked.rest[::3], picked.rest[1::3], picked.rest[2::3], strict=True):
            try:
                args, cut, site = self._args_of(self.data[start:end])
            except MalformedError as error:
                event = row + self.unusual + bisect_right(before, row)
                self.findings.wrong("unreadable", self.base + start, f"in its arguments, {error}", event)
                continue
            if args:
                self.args.others[row] = args
            if cut:
                self.cut_rows.append(row)
            if site:
                self.sites[row] = site
        for rows, start, end in zip(before, fed.unusual[1::3], fed.unusual[2::3], strict=True):
            self._take_event(rows, start, end)

    def _args_of(self, text: bytes) -> tuple[dict[str, Any], int, str]:
        """A plain event's arguments, parsed, and what marks of ours they hold; equal ones are one object."""
        known = self._shared.get(text)
        if known is not None:
            return known
        try:
            args = orjson.loads(text)
        except orjson.JSONDecodeError:  # numbers that JSON does not have, bytes that are not UTF-8, or no JSON
            args, clean = parse(text)
            args = with_floats(args)
            if not clean:
                self._note_encoding("an event")
        self.spelled = self.spelled or has_spelled(text)
        taken = take_marks(args)
        if len(self._shared) < SHARED_ARGS:
            self._shared[text] = taken
        return taken

    def _take_event(self, rows: int, start: int, end: int) -> None:
        """Take an event that is not plain; `rows` of the scanner stand before it."""
        byte, number = self.base + start, rows + self.unusual
        self.unusual += 1
        if end - start > MAX_PARSED_BYTES:
            self.findings.wrong("unreadable", byte, f"it is larger than {MAX_PARSED_BYTES} bytes", number)
            return
        self.spelled = self.spelled or has_spelled(self.data[start:end])
        try:
            event, clean = parse(self.data[start:end])
        except MalformedError as error:
            self.findings.wrong("unreadable", byte, str(error), number)
            return
        if not clean:
            self._note_encoding("an event")
        try:
            self.events.take(event, rows)
        except MalformedError as error:
            self.findings.wrong("malformed", byte, str(error), number)

    def _note_encoding(self, what: str) -> None:
        self.findings.note("encoding", f"{what} is not UTF-8; what is not is shown as \ufffd")

    def _parts(self) -> Parts:
        """What the file holds, to be put together."""
        scanned = self.scanner.finish()
        kinds = scanned.columns.kind
        for row in self.cut_rows:
            kinds[row] |= CUT
        return Parts(scanned, self.args, self.sites, self.events, self.head, self.metadata_byte, self.spelled)
