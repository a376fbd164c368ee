r"""Scanning Chrome JSON: plain events straight into columns, and where all others are.

An event is plain if it is a slice or an instant that uses nothing but these members, each at most once, in any order
and with any space between:

    {"ph":"X","name":"fwd","cat":"user_annotation","pid":1,"tid":2,"ts":0.001,"dur":1.250,"args":{"k":1}}

ph is X, i or I. name and cat are strings, and their text where they are missing is handed in. pid and tid are integers
of at most 18 digits. ts and dur are decimal numbers without an exponent, dur not below 0; they are microseconds, and
what is smaller than a nanosecond is rounded, a half away from zero. s, an instant's scope, is any string. args is an
object, whose inside is not looked at, but for where our own writer says first where a row's function is:

    "args":{"stepscope:site":"net.py:12"}

And the event is no longer than PLAIN_BYTES.

Brackets are counted, not matched: what stands between them is for a JSON parser to judge.
"""

import re
from array import array

from stepscope.core.rows import INSTANT, SLICE, Columns, Fed, Scanned

__all__ = ["ChromeScanner", "json_value_end"]

PLAIN_BYTES = 1 << 16
LAST_NS = (1 << 62) - 1
LAST_US = LAST_NS // 1000

_SPACE = re.compile(rb"[ \t\r\n]*")
_BETWEEN = re.compile(rb"[ \t\r\n,]*")
_BRACKET = re.compile(rb'["{}\[\]]')
_SCALAR = re.compile(rb'[^ \t\r\n,:"{}\[\]]+')
_MEMBER = re.compile(
    rb'[ \t\r\n]*"([a-z]+)"[ \t\r\n]*:[ \t\r\n]*'
    rb'(?:"([^"\\]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*)*)"'
    rb"|(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]+))?(?![0-9.eE+\-])"
    rb"|(?=\{))[ \t\r\n]*"
)
# An object with nothing in it but texts without escapes, and arrays of numbers: most arguments, at a third of the time.
_FLAT = re.compile(rb'\{[^{}"\[\]]*(?:(?:"[^"\\]*"|\[[^{}"\[\]]*\])[^{}"\[\]]*)*\}')
# What we write ourselves: the same as what is read member by member, at half the time.
_OURS = re.compile(
    rb'\{"ph":"X","name":"([^"\\]+)","cat":"([^"\\]+)","pid":(0|[1-9][0-9]{0,17}),"tid":(0|[1-9][0-9]{0,17}),'
    rb'"ts":(0|[1-9][0-9]{0,14})\.([0-9]{3}),"dur":(0|[1-9][0-9]{0,14})\.([0-9]{3})'
    rb'(?:\}|,"args":(?:\{"stepscope:site":"([^"\\]*)"\}\}|(?=\{)))'
)
_SITE = re.compile(rb'\{"stepscope:site":"([^"\\]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*)*)"([,}])')
_TEXT, _NUMBER, _OBJECT = 0, 1, 2
_MEMBERS = {
    b"ph": _TEXT,
    b"name": _TEXT,
    b"cat": _TEXT,
    b"s": _TEXT,
    b"pid": _NUMBER,
    b"tid": _NUMBER,
    b"ts": _NUMBER,
    b"dur": _NUMBER,
    b"args": _OBJECT,
}
_KINDS = {b"X": SLICE, b"i": INSTANT, b"I": INSTANT}


def json_value_end(data: bytes, at: int) -> int:
    """Where the JSON value that begins at `at` ends; -1: behind these bytes; -2: there is none."""
    first = data[at]
    if first == 0x22:
        return _string_end(data, at)
    if first in b"{[":
        return _brackets_end(data, at)
    scalar = _SCALAR.match(data, at)
    if scalar is None:
        return -2
    return -1 if scalar.end() == len(data) else scalar.end()


def _string_end(data: bytes, at: int) -> int:
    quote = at
    while (quote := data.find(b'"', quote + 1)) > 0:
        backslash = quote
        while data[backslash - 1] == 0x5C:
            backslash -= 1
        if (quote - backslash) % 2 == 0:
            return quote + 1
    return -1


def _brackets_end(data: bytes, at: int) -> int:
    if flat := _FLAT.match(data, at, min(len(data), at + PLAIN_BYTES)):
        return flat.end()
    depth = 0
    while bracket := _BRACKET.search(data, at):
        at = bracket.end()
        found = data[at - 1]
        if found == 0x22:
            at = _string_end(data, at - 1)
            if at < 0:
                return -1
        else:
            depth += 1 if found in b"{[" else -1
            if not depth:
                return at
    return -1


def _ns(sign: bytes, whole: bytes, fraction: bytes | None) -> int | None:
    """A decimal number of microseconds in nanoseconds; None: out of range."""
    fraction = fraction or b""
    value = int(whole + fraction[:3].ljust(3, b"0")) + (fraction[3:4] >= b"5")
    if int(whole) > LAST_US or value > LAST_NS:
        return None
    return -value if sign else value


class ChromeScanner:
    """The columns of the plain events met so far.

    Args:
        no_name, no_category: JSON strings, without quotes, for events whose own is missing or empty.
    """

    def __init__(self, no_name: bytes, no_category: bytes) -> None:
        self._columns = Columns.empty()
        self._texts: dict[bytes, int] = {b"": 0}
        self._no_name, self._no_category = map(self._text, (no_name, no_category))
        self._threads: dict[tuple[int, int], int] = {}

    def feed(self, data: bytes, at: int) -> Fed:
        """Scan items of an array, from `at` on; commas and space between them may be missing or too many."""
        args, unusual = array("q"), array("q")
        while True:
            between = _BETWEEN.match(data, at)
            at = between.end() if between else at
            if at == len(data):
                return self._fed(at, "more", args, unusual)
            if data[at] == 0x5D:
                return self._fed(at + 1, "end", args, unusual)
            end = (self._own(data, at, args) or self._plain(data, at, args)) if data[at] == 0x7B else 0
            if not end:
                end = json_value_end(data, at)
                if end < 0:
                    return self._fed(at, "more" if end == -1 else "damaged", args, unusual)
                unusual.extend((len(self._columns.ts), at, end))
            at = end

    def _fed(self, at: int, state: str, args: "array[int]", unusual: "array[int]") -> Fed:
        return Fed(at, len(self._columns.ts), state, args, unusual)

    def finish(self) -> Scanned:
        """All plain events; the scanner is spent then."""
        return Scanned(self._columns, list(self._texts), list(self._threads))

    def _own(self, data: bytes, at: int, args: "array[int]") -> int:
        """Append an event of ours; returns where it ends, or 0 if it is of another shape."""
        limit = min(len(data), at + PLAIN_BYTES)
        ours = _OURS.match(data, at, limit)
        if ours is None:
            return 0
        end = ours.end()
        name, category, pid, tid, whole, part, dur, dur_part, site = ours.groups()
        if data[end - 1] != 0x7D:
            inside = end, _brackets_end(data, end)
            end = inside[1] + 1
            if not 0 < end <= limit or data[end - 1] != 0x7D:
                return 0
            told = _SITE.match(data, *inside)
            site = told[1] if told else None
            if inside[1] - inside[0] > 2 and not (told and told[2] == b"}"):
                args.extend((len(self._columns.ts), *inside))
        texts = (name, category, site or b"")
        self._append_row(int(whole + part), int(dur + dur_part), texts, (int(pid), int(tid)), SLICE)
        return end

    def _plain(self, data: bytes, at: int, args: "array[int]") -> int:
        """Append a plain event; returns where it ends, or 0 if it is not plain or not whole."""
        limit = min(len(data), at + PLAIN_BYTES)
        found: dict[bytes, tuple[bytes | None, ...]] = {}
        inside = (0, 0)
        at += 1
        while member := _MEMBER.match(data, at, limit):
            key, text, sign, whole, fraction = member.groups()
            kind = _TEXT if text is not None else _NUMBER if whole is not None else _OBJECT
            if _MEMBERS.get(key) != kind or key in found:
                return 0
            found[key] = (text, sign, whole, fraction)
            at = member.end()
            if kind == _OBJECT:
                inside = at, _brackets_end(data, at)
                if not 0 < inside[1] < limit:
                    return 0
                space = _SPACE.match(data, inside[1])
                at = space.end() if space else inside[1]
            if at >= limit:
                return 0
            if data[at] == 0x7D:
                return at + 1 if self._append(found, (data, *inside), args) else 0
            if data[at] != 0x2C:
                return 0
            at += 1
        return 0

    def _append(
        self, found: dict[bytes, tuple[bytes | None, ...]], inside: tuple[bytes, int, int], args: "array[int]"
    ) -> bool:
        """Append an event's row, unless a member that it needs is missing or out of range."""
        try:
            kind = _KINDS[found[b"ph"][0] or b""]
            ids = found[b"pid"], found[b"tid"]
            ts, dur = self._time(found[b"ts"]), 0
            if kind == SLICE:
                dur = self._time(found[b"dur"])
                if found[b"dur"][1]:
                    return False
        except (KeyError, OverflowError):
            return False
        if ids[0][3] is not None or ids[1][3] is not None:
            return False
        pid, tid = (int((sign or b"") + (whole or b"")) for _, sign, whole, _ in ids)
        name, category = (found.get(key, (None,))[0] for key in (b"name", b"cat"))
        data, start, end = inside
        site = _SITE.match(data, start, end)
        if end - start > 2 and not (site and site[2] == b"}"):
            args.extend((len(self._columns.ts), start, end))
        self._append_row(ts, dur, (name, category, site[1] if site else b""), (pid, tid), kind)
        return True

    def _append_row(
        self, ts: int, dur: int, texts: tuple[bytes | None, bytes | None, bytes], thread: tuple[int, int], kind: int
    ) -> None:
        name, category, site = texts
        columns = self._columns
        columns.ts.append(ts)
        columns.dur.append(dur)
        columns.name.append(self._text(name) if name else self._no_name)
        columns.cat.append(self._text(category) if category else self._no_category)
        columns.site.append(self._text(site))
        columns.track.append(self._threads.setdefault(thread, len(self._threads)))
        columns.kind.append(kind)

    @staticmethod
    def _time(number: tuple[bytes | None, ...]) -> int:
        _, sign, whole, fraction = number
        value = _ns(sign or b"", whole or b"", fraction)
        if value is None:
            raise OverflowError
        return value

    def _text(self, text: bytes) -> int:
        return self._texts.setdefault(text, len(self._texts))
