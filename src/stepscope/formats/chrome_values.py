"""What stands in an event of Chrome JSON: exact times, ids, numbers, arguments."""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from stepscope.core.rows import CUT
from stepscope.core.values import CUT_KEY, INT64_MAX, INT64_MIN, RESERVED_PREFIX, SITE_KEY, freeze_args, legal_text

__all__ = [
    "LAST_NS",
    "Literal",
    "MalformedError",
    "duration_of",
    "id_of",
    "legal_args",
    "number_of",
    "parse",
    "plain_id",
    "take_marks",
    "time_of",
    "with_floats",
]

# As far from 0 as a time may be in a file: times are counted anew from the first, and must fit then.
LAST_NS = (1 << 62) - 1
# Containers around a value of an argument: as many as protobuf's own readers follow in a .pftrace.
MAX_NESTING = 97
# Digits that can matter to a time; more exponent than this is out of range, or 0.
MAX_EXPONENT = 40

_NUMBER = re.compile(r"\s*([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?\s*", re.ASCII)
_WHOLE = re.compile(r"(-?\d{1,30})\.0+", re.ASCII)
_HEX = re.compile(r"0[xX]([0-9a-fA-F]{1,32})")


class MalformedError(ValueError):
    """An event lacks something, or has it in the wrong type; the message is a clause."""


class Literal(str):
    """A number with a point or an exponent, as it is written: a float would lose nanoseconds."""

    __slots__ = ()


_decoder = json.JSONDecoder(parse_float=Literal, parse_constant=Literal, strict=False)


def parse(text: bytes) -> tuple[Any, bool]:
    """A JSON value, and whether all of it was UTF-8; what is not has become U+FFFD.

    Control characters may stand in strings, and NaN and Infinity for numbers, as Python and others write them.

    Raises:
        MalformedError: it is no JSON.
    """
    try:
        decoded, clean = text.decode(), True
    except UnicodeDecodeError:
        decoded, clean = text.decode("utf-8", "replace"), False
    try:
        return _decoder.decode(decoded), clean
    except RecursionError:
        message = "it is nested too deep"
    except ValueError as error:
        message = f"it is not JSON ({error})"
    raise MalformedError(message)


def time_of(event: Mapping[str, Any], key: str = "ts") -> int:
    """A time in ns, exact from decimal us.

    Raises:
        MalformedError: there is none, it is no number, or it is out of range.
    """
    value = event.get(key)
    if value is None:
        message = f'it has no "{key}"'
        raise MalformedError(message)
    ns = None
    if isinstance(value, str):
        ns = _ns(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        ns = value * 1000
    if ns is None:
        message = f'its "{key}" is no number but {_shown(value)}'
        raise MalformedError(message)
    if abs(ns) > LAST_NS:
        message = f'its "{key}" is out of range: {_shown(value)}'
        raise MalformedError(message)
    return ns


def duration_of(event: Mapping[str, Any]) -> int:
    """A slice's duration in ns.

    Raises:
        MalformedError: as `time_of`, or it is negative.
    """
    dur = time_of(event, "dur")
    if dur < 0:
        message = f'its "dur" is negative: {_shown(event["dur"])}'
        raise MalformedError(message)
    return dur


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Literal) else repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


def _ns(text: str) -> int | None:
    """Decimal us in ns, a half rounded away from zero; None: no number."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction, exponent = found.groups(default="")
    shift = int(exponent or 0) + 3
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + shift  # how many digits stand before it, in ns
    if not digits or point < 0:
        return 0
    if point > MAX_EXPONENT:
        return -LAST_NS - 1 if sign == "-" else LAST_NS + 1
    kept = digits[:point].ljust(point, "0")
    ns = int(kept or "0") + (digits[point : point + 1] >= "5")
    return -ns if sign == "-" else ns


def number_of(value: Any, key: str) -> float:
    """A counter's value: a number, or a text that is one.

    Raises:
        MalformedError: it is neither.
    """
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
        except ValueError:
            pass
    message = f"its value {key!r} is no number but {_shown(value)}"
    raise MalformedError(message)


def id_of(event: Mapping[str, Any]) -> tuple[int | str, str, bool]:
    """An event's id, the scope it counts in, and whether it is the process's own.

    Raises:
        MalformedError: it has none.
    """
    found, local = event.get("id"), False
    second = event.get("id2")
    if isinstance(second, Mapping):
        local = "local" in second
        found = second.get("local", second.get("global"))
    id_ = plain_id(found, "id")
    if isinstance(id_, str) and (hexadecimal := _HEX.fullmatch(id_)):
        id_ = int(hexadecimal[1], 16)  # 0x10 is 16, as in Perfetto
    return id_, str(event.get("scope", "")), local


def plain_id(value: Any, key: str) -> int | str:
    """An id of a process, a thread or an operation: an integer or a text; 7.0 is 7, as some tables are written.

    Raises:
        MalformedError: it is something else, or missing.
    """
    if isinstance(value, Literal) and (whole := _WHOLE.fullmatch(value)):
        return int(whole[1])
    if isinstance(value, (bool, Literal)) or not isinstance(value, (int, str)):
        message = f'it has no "{key}"' if value is None else f'its "{key}" is {_shown(value)}'
        raise MalformedError(message)
    return value


def legal_args(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a trace holds them; those that are so already are left as they are.

    Of those that are nested deeper than MAX_NESTING, what is too deep for `freeze_args` becomes "...".
    """
    for key, value in args.items():
        if not _is_legal(value) or legal_text(key) != key or key.startswith(RESERVED_PREFIX):
            return freeze_args(args)
    return dict(args)


def take_marks(args: dict[str, Any]) -> tuple[dict[str, Any], int, str]:
    """Legal arguments without our marks, and what those say.

    Returns:
        The arguments; CUT if the edge of the recording has cut the slice, else 0; its site as legal text, or "".
    """
    cut, site = args.get(CUT_KEY) is True, args.get(SITE_KEY)
    if cut:
        del args[CUT_KEY]
    if isinstance(site, str):
        del args[SITE_KEY]
    return legal_args(args), CUT if cut else 0, legal_text(site) if isinstance(site, str) else ""


def _is_legal(value: Any, depth: int = 0) -> bool:
    """Whether a value inside so many containers is one that both formats can hold."""
    kind = type(value)
    if kind is str:
        return bool(legal_text(value) == value)
    if kind is bool:
        return True
    if kind is int:
        return bool(INT64_MIN <= value <= INT64_MAX)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return _are_legal(value.values(), depth) and all(legal_text(key) == key for key in value)
    return kind is list and _are_legal(value, depth)


def _are_legal(values: Collection[Any], depth: int) -> bool:
    """The same of a container's values."""
    return len(values) > 0 and depth < MAX_NESTING and all(_is_legal(value, depth + 1) for value in values)


def with_floats(value: Any, depth: int = 0) -> Any:
    """A parsed value, inside so many containers, with floats for literals; what is too deep to be legal stays."""
    if type(value) is Literal:
        return float(value)
    if not isinstance(value, (Mapping, list)) or depth > MAX_NESTING + 1:  # an event, and its arguments
        return value
    if isinstance(value, Mapping):
        return {key: with_floats(item, depth + 1) for key, item in value.items()}
    return [with_floats(item, depth + 1) for item in value]
