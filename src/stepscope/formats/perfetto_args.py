"""The arguments of a TrackEvent: its debug annotations as JSON-able values."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from stepscope.core.values import freeze
from stepscope.formats.perfetto_messages import Note, as_text

__all__ = ["ANNOTATION_NAMES", "STRING_VALUES", "Texts", "decode_args"]

ANNOTATION_NAMES, STRING_VALUES = 3, 29  # fields of InternedData


class Texts(NamedTuple):
    """The texts that annotations use.

    Attributes:
        interned: table, iid -> the text that is interned there, or None.
        note: counts those that are not UTF-8.
    """

    interned: Callable[[int, int], str | None]
    note: Note


def decode_args(annotations: Iterable[Any], texts: Texts) -> dict[str, Any]:
    """The arguments that perfetto.protos.DebugAnnotations hold.

    Names are legal text; values are bool, int (64 bits), finite float, legal text, or a list or dict of those. An
    annotation without a value is none.

    Args:
        annotations: of one event.
        texts: those that they use.
    """
    args: dict[str, Any] = {}
    for annotation in annotations:
        value = _value(annotation, texts)
        if value is not None:
            args[_free(args, _name(annotation, texts))] = value
    return args


def _name(annotation: Any, texts: Texts) -> str:
    if annotation.name_iid:
        return texts.interned(ANNOTATION_NAMES, annotation.name_iid) or ""
    return as_text(annotation.name, texts.note)


def _free(taken: dict[str, Any], name: str) -> str:
    """A name that is there already gets a number."""
    if name not in taken:
        return name
    number = len(taken) + 1
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"


def _value(annotation: Any, texts: Texts) -> Any:
    """An annotation's value; None: it has none."""
    if annotation.dict_entries:
        return decode_args(annotation.dict_entries, texts) or None
    if annotation.array_values:
        return [value for item in annotation.array_values if (value := _value(item, texts)) is not None] or None
    kind = annotation.WhichOneof("value")
    if kind is None:
        return None
    return READERS[kind](getattr(annotation, kind), texts) if kind in READERS else f"<{kind}>"


def _double(value: float, _: Texts) -> Any:
    return value if math.isfinite(value) else freeze(value)


def _interned_text(iid: int, texts: Texts) -> str | None:
    return texts.interned(STRING_VALUES, iid)


def _json(text: str | bytes, texts: Texts) -> Any:
    """The value of a legacy_json_value."""
    import orjson

    try:
        return freeze(orjson.loads(text))
    except orjson.JSONDecodeError:
        return as_text(text, texts.note)


def _nested(value: Any, texts: Texts) -> Any:
    """The value of a legacy NestedValue: 1 is a dict, 2 an array."""
    if value.nested_type == 1:
        items = zip(value.dict_keys, value.dict_values, strict=False)
        found = {as_text(key, texts.note): _nested(item, texts) for key, item in items}
        return {key: item for key, item in found.items() if item is not None} or None
    if value.nested_type == 2:
        return [found for item in value.array_values if (found := _nested(item, texts)) is not None] or None
    for name in ("int_value", "double_value", "bool_value"):
        if value.HasField(name):
            return freeze(getattr(value, name))
    return as_text(value.string_value, texts.note) if value.HasField("string_value") else None


READERS: dict[str, Callable[[Any, Texts], Any]] = {
    "bool_value": lambda value, _: value,
    "int_value": lambda value, _: value,
    "uint_value": lambda value, _: freeze(value),
    "double_value": _double,
    "string_value": lambda value, texts: as_text(value, texts.note),
    "string_value_iid": _interned_text,
    "pointer_value": lambda value, _: hex(value),
    "legacy_json_value": _json,
    "nested_value": _nested,
}
