r"""What text and what values a trace can hold.

Any str is a legal name and any object a legal argument. What a file cannot hold is shown as Python would
write it: NUL as \x00, a lone surrogate as \udc80, an int beyond 64 bits by its digits. Values are copied, so that
what the program does to them later cannot change the trace; nothing here raises, and nothing takes long.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

__all__ = [
    "CUT_KEY",
    "NO_NAME",
    "RESERVED_PREFIX",
    "SITE_KEY",
    "freeze",
    "freeze_args",
    "freeze_call",
    "legal_name",
    "legal_text",
    "series_of",
    "type_name",
    "weight",
]

# Keys of our own marks in a slice's args; a user's key of that form is set apart by `freeze_args`.
RESERVED_PREFIX = "stepscope:"
CUT_KEY, SITE_KEY = RESERVED_PREFIX + "cut", RESERVED_PREFIX + "site"

# Perfetto shows what has no name in two ways, one a format; with this one in one.
NO_NAME = "[No name]"
MAX_DEPTH = 16
# How many values the arguments of one span may hold in all; a container says how many it left out.
MAX_ITEMS = 1000
MAX_REPR = 1000
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def legal_text(text: Any) -> str:
    """The text as every file can hold it: valid UTF-8 without NUL; most texts come back as they are."""
    if type(text) is not str:
        text = _plain(text)
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return str(text)


def legal_name(name: Any) -> str:
    """A slice's name as every file can hold it.

    Raises:
        TypeError: it is a function or a class: a decorator that was not given a name.
    """
    if issubclass(type(name), (type, FunctionType, MethodType)):  # isinstance() would ask the object
        message = f'record_function got {name!r} for a name. Write @record_function("name") to decorate it.'
        raise TypeError(message)
    return legal_text(name) or NO_NAME


def weight(value: Any) -> int:
    """About how many bytes a text, a label or frozen arguments take."""
    if isinstance(value, str):
        return sys.getsizeof(value)
    if isinstance(value, dict):
        return 256 + sum(map(weight, value)) + sum(map(weight, value.values()))
    return 64 + sum(map(weight, value)) if isinstance(value, (list, tuple)) else 32


def type_name(value: Any) -> str:
    """The name of an object's type, whatever that type says."""
    name: str = type.__getattribute__(type(value), "__name__")
    return name


def series_of(name: Any, unit: Any, key: Any) -> tuple[str, str]:
    """The name and the unit of a counter's series; key is None, or the one that tells it from the others of its name.

    The name is what Perfetto makes of a counter with several values.
    """
    text = legal_text(name) or NO_NAME
    return (text if key is None else f"{text} {legal_text(key)}"), "" if unit is None else legal_text(unit)


def _plain(text: Any) -> str:
    """A str of any object: a subclass of str by its characters, all else by str()."""
    try:
        return str.__str__(text) if isinstance(text, str) else str.__str__(str(text))
    except Exception as error:  # noqa: BLE001 - the user's __str__ may raise anything
        return _unprintable(text, error)


def _unprintable(value: Any, error: Exception) -> str:
    return f"<{type_name(value)} whose repr raised {type_name(error)}>"


def freeze_call(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of record_function: those in `args`, if it is not None, then the keywords."""
    if args is None:
        return freeze_args(kwargs)
    return {**freeze_args(args), **freeze_args(kwargs)}


def freeze_args(args: Any) -> dict[str, Any]:
    """A span's arguments as a mapping of legal text to JSON-able values.

    Args:
        args: a mapping, whose items become the arguments; anything else becomes the one argument "args".
    """
    freezer = _Freezer()
    frozen: dict[str, Any] = {}
    try:
        items = args if isinstance(args, Mapping) else {"args": args}
        for key, value in freezer.some(items.items(), len(items)):
            text = _free_key(frozen, legal_text(key), key)
            if text.startswith(RESERVED_PREFIX):
                text = "user:" + text
            frozen[text] = freezer.value(value, 0, ())
    except Exception as error:  # noqa: BLE001 - the user's mapping may raise anything
        frozen["args"] = _unprintable(args, error)
    if freezer.left_out:
        frozen["..."] = f"{freezer.left_out} more"
    return frozen


def freeze(value: Any) -> Any:
    """A value as both files can hold it.

    Returns:
        bool, int (64 bits), float (finite), legal text, or a list or dict of those, never empty: JSON's null and
        empty containers would be missing from what Perfetto shows, so they are written out as text.
    """
    return _Freezer().value(value, 0, ())


def _free_key(taken: Mapping[str, Any], text: str, key: Any) -> str:
    """1 and "1" are two keys of a dict and would be one of a JSON object: the second one says its type."""
    while text in taken:
        text = f"{text} ({type(key).__name__})"
    return text


def _digits(value: int) -> str:
    # str() of a huge int raises above sys.get_int_max_str_digits().
    return str(value) if value.bit_length() <= 4096 else hex(value)


def _infinite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _shorten(text: str) -> str:
    return legal_text(text if len(text) <= MAX_REPR else text[:MAX_REPR] + "...")


class _Freezer:
    """Freezes values that share one allowance of items.

    Attributes:
        left_out: items of the container read last that there was no allowance for.
    """

    def __init__(self) -> None:
        self.allowance = MAX_ITEMS
        self.left_out = 0

    def some(self, items: Any, length: int) -> Iterator[Any]:
        """As many of a container's items as are allowed; then `left_out` says how many were not."""
        taken = 0
        for item in items:
            if self.allowance <= 0:
                break
            self.allowance -= 1
            taken += 1
            yield item
        self.left_out = max(length - taken, 0)

    def value(self, value: Any, depth: int, inside: tuple[int, ...]) -> Any:
        """A value, `depth` containers deep, inside containers of those ids."""
        kind = type(value)
        if kind is str:
            return legal_text(value)
        if kind is bool:
            return value
        if kind is int:
            return value if INT64_MIN <= value <= INT64_MAX else _digits(value)
        if kind is float:
            return value if math.isfinite(value) else _infinite(value)
        try:
            return self.other(value, depth, inside)
        except Exception as error:  # noqa: BLE001 - the user's object may raise anything
            return self.by_repr(value, error)

    def by_repr(self, value: Any, error: Exception) -> str:
        """An object that cannot be looked into."""
        try:
            return _shorten(repr(value))
        except Exception:  # noqa: BLE001 - as above
            return legal_text(_unprintable(value, error))

    def other(self, value: Any, depth: int, inside: tuple[int, ...]) -> Any:
        """A container, a scalar of another library, or an object shown by its repr."""
        for plain in (str, int, float):
            if isinstance(value, plain):  # a subclass: an enum, numpy.float64
                return self.value(str.__str__(value) if plain is str else plain(value), depth, inside)
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self.container(value, depth, inside)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return _shorten(repr(bytes(value[:MAX_REPR])))
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if not isinstance(shape, tuple) or dtype is None:
            return _shorten(repr(value))
        if not shape and callable(getattr(value, "item", None)):  # numpy and torch scalars
            item = value.item()
            return self.value(item, depth, inside) if type(item) in (bool, int, float, str) else _shorten(repr(value))
        # An array: its kind, never its numbers.
        return legal_text(f"{type(value).__name__}(shape={tuple(shape)}, dtype={dtype})")

    def container(self, value: Any, depth: int, inside: tuple[int, ...]) -> Any:
        """A mapping as a dict, any other as a list; with how many items there was no allowance for."""
        if id(value) in inside or depth >= MAX_DEPTH:
            return "..."
        inside = (*inside, id(value))
        if isinstance(value, Mapping):
            frozen: dict[str, Any] = {}
            for key, item in self.some(value.items(), len(value)):
                frozen[_free_key(frozen, legal_text(key), key)] = self.value(item, depth + 1, inside)
            if self.allowance <= 0 and len(value) > len(frozen):
                frozen["..."] = f"{len(value) - len(frozen)} more"
            return frozen or "{}"
        items: list[Any] = []
        for item in self.some(value, len(value)):
            items.append(self.value(item, depth + 1, inside))  # noqa: PERF401 - a comprehension hides how many
        if self.allowance <= 0 and len(value) > len(items):
            items.append(f"... {len(value) - len(items)} more")
        return items or "[]"
