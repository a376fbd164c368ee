"""The events of a Chrome JSON file as they stand in it, one at a time, read by Python's own json.

HolisticTraceAnalysis and the TensorBoard plugin read with it too: what fails here fails there. No more of a file is
held than its largest value.
"""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

__all__ = ["EventStream"]

PIECE_BYTES = 1 << 20
MAX_VALUE_CHARS = 256 << 20
GZIP_MAGIC = b"\x1f\x8b"
# How near to the end of what has been read a mistake may be for the cut to be its cause.
NEAR_CHARS = 16

_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
# HTA's own pattern, which it looks for line by line: the space is mandatory.
_RANK = re.compile(r'"rank":[^\S\n]+(\d+)\D')
# Half of a surrogate pair as an escape, whose backslash is not escaped itself.
_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")


class _StopError(Exception):
    """Nothing can be read from here on; `damage` says why."""


class EventStream:
    """The events of one file; iterate over it once, then look at the rest.

    Args:
        file: open at its beginning; plain or gzip.

    Attributes:
        is_array: whether the outermost value is an array of events rather than an object.
        header: the object's other keys.
        has_events: whether there is an array of events.
        damage: why it is no whole JSON; "" if it is.
        has_control: whether a string holds a control character, which JSON forbids.
        is_utf8: whether all of it is UTF-8.
        surrogate_at: the character where a surrogate escape stands first; -1 without.
        rank_on_line: the rank as HTA finds it; None if it does not.
    """

    def __init__(self, file: BinaryIO) -> None:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        self._file: Any = gzip.GzipFile(fileobj=file) if packed else file
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._base = "", 0, 0
        self._ended = False
        self._tail, self._seen = "", 0
        self._strict, self._lax = json.JSONDecoder(), json.JSONDecoder(strict=False)
        self.is_array = self.has_events = self.has_control = False
        self.is_utf8 = True
        self.header: dict[str, Any] = {}
        self.damage = ""
        self.surrogate_at = -1
        self.rank_on_line: int | None = None

    def __iter__(self) -> Iterator[Any]:
        """Each event: a dict, unless the file is odd."""
        try:
            if self._next() == "[":
                self.is_array = True
                yield from self._items()
            else:
                yield from self._members()
            if self._skip_space():
                self._stop("something stands behind the end")
        except _StopError:
            pass

    def _members(self) -> Iterator[Any]:
        self._take("{")
        while self._next() != "}":
            key = self._value()
            self._take(":")
            if self._next() == "[" and key == "traceEvents":
                yield from self._items()
            else:
                self.header[str(key)] = self._value()
            if self._next() != "}":
                self._take(",")
                if self._next() == "}":
                    self._stop("a comma stands before the end of the outer object")
        self._at += 1

    def _items(self) -> Iterator[Any]:
        self.has_events = True
        self._take("[")
        while self._next() != "]":
            yield self._value()
            # The usual case in one step: a comma, and behind it another event.
            behind = _COMMA.match(self._text, self._at)
            if behind and self._text[behind.end() : behind.end() + 1] == "{":
                self._at = behind.end()
            elif self._next() != "]":
                self._take(",")
                if self._next() == "]":
                    self._stop("a comma stands before the end of the array")
        self._at += 1

    def _value(self) -> Any:
        """Take the value that stands here."""
        while True:
            try:
                value, end = self._strict.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:  # noqa: PERF203 - an exception is how json asks for more
                place = self._base + error.pos
                if error.msg.startswith("Invalid control character"):
                    self.has_control, self._strict = True, self._lax
                elif not (self._may_be_cut(error) and self._more()):
                    self._stop(f"{error.msg[0].lower()}{error.msg[1:]}", place)
            except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
                self._stop(f"Python's json cannot read a value: {error}")
            else:
                # A number that ends where the piece does may go on in the next one.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - NEAR_CHARS

    def _next(self) -> str:
        """Skip space; the character that stands there."""
        if not self._skip_space():
            self._stop("it ends too early")
        return self._text[self._at]

    def _take(self, mark: str) -> None:
        if self._next() != mark:
            self._stop(f"{mark!r} should stand here, not {self._text[self._at]!r}")
        self._at += 1

    def _skip_space(self) -> bool:
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return True
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on behind what is not done with; whether there was something."""
        left = len(self._text) - self._at
        if left > MAX_VALUE_CHARS:
            self._stop(f"one value is longer than {MAX_VALUE_CHARS} characters")
        pieces, size = [self._text[self._at :]], 0
        # As much again as there is: a value over many pieces is not tried for each of them.
        while size <= left and not self._ended:
            piece = self._piece()
            pieces.append(piece)
            size += len(piece)
        self._base += self._at
        self._text, self._at = "".join(pieces), 0
        return size > 0

    def _piece(self) -> str:
        try:
            data = self._file.read(PIECE_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = f"the gzip data is damaged: {error}"
            data = b""
        self._ended = not data
        text = self._decoder.decode(data, final=self._ended)
        if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in set(text)):
            self.is_utf8 = False
        self._look_through(text)
        return text

    def _look_through(self, text: str) -> None:
        """Find what is lost once the text is decoded; a mark may lie across two pieces."""
        window, start = self._tail + text, self._seen - len(self._tail)
        if self.surrogate_at < 0 and (found := _SURROGATE.search(window)):
            self.surrogate_at = start + found.start()
        if self.rank_on_line is None and (found := _RANK.search(window)):
            self.rank_on_line = int(found[1][:18])
        self._tail, self._seen = window[-64:], self._seen + len(text)

    def _stop(self, what: str, place: int | None = None) -> NoReturn:
        place = self._base + self._at if place is None else place
        self.damage = self.damage or f"at character {place}, {what}"
        raise _StopError
