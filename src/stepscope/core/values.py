r"""What text and what values a trace can hold.

Any str is a legal name and any object a legal argument. What a file cannot hold is shown as Python would
write it: NUL as \x00, a lone surrogate as \udc80, an int beyond 64 bits by its digits. Values are taken when
the span begins, so that what the program does to them later cannot change the trace, and nothing here raises.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["NO_NAME", "RESERVED_PREFIX", "freeze", "freeze_args", "legal_name", "legal_text"]

# Keys of our own marks in a slice's args; a user's key of that form is set apart by `freeze_args`.
RESERVED_PREFIX = "stepscope:"

# Perfetto shows what has no name in two ways, one a format; with this one in one.
NO_NAME = "[No name]"
MAX_DEPTH = 16
MAX_ITEMS = 1000
MAX_REPR = 1000
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def legal_text(text: str) -> str:
    """The text as every file can hold it: valid UTF-8 without NUL; most texts come back as they are."""
    if type(text) is not str:
        text = _plain(text)
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return text


def legal_name(name: Any) -> str:
    """A slice's name as every file can hold it."""
    return legal_text(name) or NO_NAME


def _plain(text: Any) -> str:
    """A str of any object: a subclass of str by its characters, all else by str()."""
    try:
        return str.__str__(text) if isinstance(text, str) else str(text)
    except Exception as error:  # noqa: BLE001 - the user's __str__ may raise anything
        return _unprintable(text, error)


def _unprintable(value: Any, error: Exception) -> str:
    return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def freeze_args(args: Any) -> dict[str, Any]:
    """A span's arguments as a mapping of legal text to JSON-able values.

    Args:
        args: a mapping, whose items become the arguments; anything else becomes the one argument "args".
    """
    if not isinstance(args, Mapping):
        args = {"args": args}
    frozen: dict[str, Any] = {}
    try:
        for key, value in args.items():
            text = _free_key(frozen, legal_text(key), key)
            if text.startswith(RESERVED_PREFIX):
                text = "user:" + text
            frozen[text] = freeze(value)
    except Exception as error:  # noqa: BLE001 - the user's mapping may raise anything
        frozen["args"] = _unprintable(args, error)
    return frozen


def _free_key(taken: Mapping[str, Any], text: str, key: Any) -> str:
    """1 and "1" are two keys of a dict and would be one of a JSON object: the second one says its type."""
    while text in taken:
        text = f"{text} ({type(key).__name__})"
    return text


def freeze(value: Any, depth: int = 0, inside: tuple[int, ...] = ()) -> Any:
    """A value as both files can hold it.

    Returns:
        bool, int (64 bits), float (finite), legal text, or a list or dict of those, never empty: JSON's null and
        empty containers would be missing from what Perfetto shows, so they are written out as text.
    """
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
        return _freeze_other(value, depth, inside)
    except Exception as error:  # noqa: BLE001 - the user's object may raise anything
        return legal_text(_unprintable(value, error))


def _digits(value: int) -> str:
    # str() of a huge int raises above sys.get_int_max_str_digits().
    return str(value) if value.bit_length() <= 4096 else hex(value)


def _infinite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _freeze_other(value: Any, depth: int, inside: tuple[int, ...]) -> Any:
    """A container, a scalar of another library, or an object shown by its repr."""
    for plain in (str, int, float):
        if isinstance(value, plain):  # a subclass: an enum, numpy.float64
            return freeze(str.__str__(value) if plain is str else plain(value))
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _freeze_container(value, depth, inside)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _shorten(repr(bytes(value[:MAX_REPR])))
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return _shorten(repr(value))
    if not tuple(shape) and callable(getattr(value, "item", None)):  # numpy and torch scalars
        return freeze(value.item(), depth + 1)
    # An array: its kind, never its numbers.
    return legal_text(f"{type(value).__name__}(shape={tuple(shape)}, dtype={dtype})")


def _freeze_container(value: Any, depth: int, inside: tuple[int, ...]) -> Any:
    if id(value) in inside or depth >= MAX_DEPTH:
        return "..."
    inside = (*inside, id(value))
    if isinstance(value, Mapping):
        return _freeze_mapping(value, depth, inside) or "{}"
    return _freeze_items(value, len(value), depth, inside) or "[]"


def _shorten(text: str) -> str:
    return legal_text(text if len(text) <= MAX_REPR else text[:MAX_REPR] + "...")


def _freeze_mapping(value: Mapping[Any, Any], depth: int, inside: tuple[int, ...]) -> dict[str, Any]:
    frozen: dict[str, Any] = {}
    for count, (key, item) in enumerate(value.items()):
        if count == MAX_ITEMS:
            frozen["..."] = f"{len(value) - count} more"
            break
        frozen[_free_key(frozen, legal_text(key), key)] = freeze(item, depth + 1, inside)
    return frozen


def _freeze_items(value: Iterable[Any], length: int, depth: int, inside: tuple[int, ...]) -> list[Any]:
    frozen: list[Any] = []
    for item in value:
        if len(frozen) == MAX_ITEMS:
            frozen.append(f"... {length - MAX_ITEMS} more")
            break
        frozen.append(freeze(item, depth + 1, inside))
    return frozen
