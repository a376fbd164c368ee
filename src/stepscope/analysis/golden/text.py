"""The words of a golden: how names, arguments and values are written in a line, and read again.

A name of letters, digits and a few signs stands as it is; any other is quoted as in JSON, with what a reviewer would
not see, or would see in another place, as escapes. The same on every Python: no table of Unicode's is asked.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from stepscope.core.values import INT64_MAX, INT64_MIN, legal_text

__all__ = [
    "DEFAULT_CATEGORY",
    "HEADER",
    "STEP",
    "VERSION",
    "Line",
    "LineError",
    "args_text",
    "name_text",
    "number_text",
]

VERSION = 1
HEADER = f"stepscope golden trace {VERSION}"
DEFAULT_CATEGORY = "user_annotation"

BARE = re.compile(r"[A-Za-z_<*/][A-Za-z0-9_.:#/<>*+$@%&~^|-]*")
# Line that mean something at the start of a line.
RESERVED = frozenset({"counter", "flow", "instant", "lane", "nothing", "problem", "process", "step", "thread"})
STEP = re.compile(r"ProfilerStep#(0|[1-9][0-9]{0,17})")
# Control characters, what joins or reverses text, what takes no room, and halves of characters.
UNSEEN = re.compile(
    "[\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
MAX_DIGITS = 18


def name_text(name: str) -> str:
    """A name as a line holds it."""
    if BARE.fullmatch(name) and name not in RESERVED:
        return name
    return _json(name)


def args_text(args: Mapping[str, Any]) -> str:
    """Arguments as a line holds them, by key: `(batch=32, mode="train")`; "" for none."""
    if not args:
        return ""
    return f"({', '.join(f'{name_text(key)}={_json(args[key])}' for key in sorted(args))})"


def number_text(value: float) -> str:
    """A counter's value; a whole number without a fraction."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(", ", ": "))
    return UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


class LineError(ValueError):
    """A line that does not say what it should; the message says what was expected."""


class Line:
    """Reads one line from left to right.

    Raises:
        LineError: from every method, if the line goes on with something else.
    """

    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0

    def take(self, text: str) -> bool:
        """Whether the line goes on with this text, which is passed then."""
        found = self.line.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def need(self, text: str) -> None:
        """Pass this text."""
        if not self.take(text):
            raise self._expected(repr(text))

    def keyword(self) -> str:
        """The line's first word if it is reserved, passed with the space behind it; else "" and nothing is passed."""
        word = self.line.partition(" ")[0]
        if word not in RESERVED:
            return ""
        self.at = min(len(word) + 1, len(self.line))
        return word

    def name(self) -> str:
        """A name, bare or quoted."""
        if self.line.startswith('"', self.at):
            value = self._value()
            if isinstance(value, str):
                return value
        found = BARE.match(self.line, self.at)
        if found is None:
            raise self._expected("a name, or one in double quotes")
        self.at = found.end()
        return found[0]

    def number(self) -> int:
        """A whole number."""
        found = re.compile(r"[0-9]+").match(self.line, self.at)
        if found is None or len(found[0]) > MAX_DIGITS:
            raise self._expected(f"a number of up to {MAX_DIGITS} digits")
        self.at = found.end()
        return int(found[0])

    def count(self) -> int:
        """The count at the end of something, such as ` x3`; 1 if there is none."""
        if not self.take(" x"):
            return 1
        number = self.number()
        if number < 1:
            raise self._expected("a count of at least 1")
        return number

    def args(self) -> dict[str, Any]:
        """Arguments in parentheses; none if there are none."""
        args: dict[str, Any] = {}
        if not self.take("("):
            return args
        while not args or self.take(", "):
            key = self.name()
            self.need("=")
            if key in args:
                message = f"the argument {key!r} is there twice"
                raise LineError(message)
            args[key] = self._value()
        self.need(")")
        return args

    def value(self) -> float:
        """A counter's value."""
        value = self._value()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._expected("a number")
        return float(value)

    def end(self) -> None:
        """The line must end here."""
        if self.at < len(self.line):
            raise self._expected("the end of the line")

    def _value(self) -> Any:
        try:
            value, self.at = _DECODER.raw_decode(self.line, self.at)
        except (ValueError, RecursionError):
            raise self._expected('a value as in JSON, such as 32, true or "text"') from None
        return _legal(value)

    def _expected(self, what: str) -> LineError:
        rest = self.line[self.at : self.at + 40]
        return LineError(f"expected {what} at column {self.at + 1}, found {rest!r}" if rest else f"expected {what}")


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _legal(value: Any) -> Any:
    """The value, if it is one that a trace can hold."""
    if isinstance(value, str):
        return legal_text(value)
    if isinstance(value, dict) and value:
        return {legal_text(key): _legal(item) for key, item in value.items()}
    if isinstance(value, list) and value:
        return [_legal(item) for item in value]
    whole = isinstance(value, int) and INT64_MIN <= value <= INT64_MAX
    if whole or (isinstance(value, float) and abs(value) != float("inf")):
        return value
    message = f"a trace holds {value!r} as text only: put it in double quotes"
    raise LineError(message)
