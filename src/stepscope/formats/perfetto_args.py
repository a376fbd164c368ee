"""The arguments of a TrackEvent: its debug annotations as JSON-able values."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from stepscope.core.values import RESERVED_PREFIX, freeze, legal_text

__all__ = ["ANNOTATION_NAMES", "CUT_MARK", "STRING_VALUES", "decode_args"]

ANNOTATION_NAMES, STRING_VALUES = 3, 29  # fields of InternedData
CUT_MARK = RESERVED_PREFIX + "cut"

# (table, iid) -> the text that is interned there, or None
Lookup = Callable[[int, int], "str | None"]


def decode_args(annotations: Iterable[Any], lookup: Lookup) -> dict[str, Any]:
    """The arguments that perfetto.protos.DebugAnnotations hold.

    Names are legal text; values are bool, int (64 bits), finite float, legal text, or a list or dict of those. An
    annotation without a value is none.

    Args:
        annotations: of one event.
        lookup: finds interned texts.
    """
    args: dict[str, Any] = {}
    for annotation in annotations:
        value = _value(annotation, lookup)
        if value is not None:
            args[_free(args, _name(annotation, lookup))] = value
    return args


def _name(annotation: Any, lookup: Lookup) -> str:
    if annotation.name_iid:
        return legal_text(lookup(ANNOTATION_NAMES, annotation.name_iid) or "")
    return legal_text(annotation.name)


def _free(taken: dict[str, Any], name: str) -> str:
    """A name that is there already gets a number."""
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"


def _value(annotation: Any, lookup: Lookup) -> Any:
    """An annotation's value; None: it has none."""
    if annotation.dict_entries:
        return decode_args(annotation.dict_entries, lookup) or None
    if annotation.array_values:
        return [value for item in annotation.array_values if (value := _value(item, lookup)) is not None] or None
    kind = annotation.WhichOneof("value")
    if kind is None:
        return None
    return READERS[kind](getattr(annotation, kind), lookup) if kind in READERS else legal_text(f"<{kind}>")


def _double(value: float, _: Lookup) -> Any:
    return value if math.isfinite(value) else freeze(value)


def _interned_text(iid: int, lookup: Lookup) -> str | None:
    text = lookup(STRING_VALUES, iid)
    return None if text is None else legal_text(text)


def _json(text: str, _: Lookup) -> Any:
    """The value of a legacy_json_value."""
    import orjson

    try:
        return freeze(orjson.loads(text))
    except orjson.JSONDecodeError:
        return legal_text(text)


def _nested(value: Any, lookup: Lookup) -> Any:
    """The value of a legacy NestedValue: 1 is a dict, 2 an array."""
    if value.nested_type == 1:
        items = zip(value.dict_keys, value.dict_values, strict=False)
        return {legal_text(key): _nested(item, lookup) for key, item in items} or None
    if value.nested_type == 2:
        return [_nested(item, lookup) for item in value.array_values] or None
    for name in ("int_value", "double_value", "bool_value", "string_value"):
        if value.HasField(name):
            return freeze(getattr(value, name))
    return freeze(None)


READERS: dict[str, Callable[[Any, Lookup], Any]] = {
    "bool_value": lambda value, _: value,
    "int_value": lambda value, _: value,
    "uint_value": lambda value, _: freeze(value),
    "double_value": _double,
    "string_value": lambda value, _: legal_text(value),
    "string_value_iid": _interned_text,
    "pointer_value": lambda value, _: hex(value),
    "legacy_json_value": _json,
    "nested_value": _nested,
}
