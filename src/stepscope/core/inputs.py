"""What an operator was given, as torch's traces say it: shapes, types, strides, and the values of scalars.

Anything with .shape and .dtype is a tensor. Whatever the program's objects raise when they are asked, nothing here
does. What is said is as a trace can hold it: an empty list is the text "[]".
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepscope.core.values import freeze, legal_text

__all__ = ["TypeNames", "describe_inputs", "shape_of"]

MAX_DEPTH = 8
# How many items of a list or mapping are told of, and how many types are remembered.
MAX_ITEMS = 256
MAX_TYPES = 256
EMPTY = "[]"


class _Said(NamedTuple):
    """What is said of one input: its shape, type, strides and value; or of each item in it, as lists of those."""

    dims: Any
    type: str
    strides: Any = EMPTY
    value: str = ""


class TypeNames(dict[Any, str]):
    """What the types of tensors are called, by the type itself; those that are met are remembered.

    Args:
        renamed: text -> what a type of that text is called instead.
    """

    def __init__(self, renamed: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._renamed = renamed or {}

    def __missing__(self, dtype: Any) -> str:
        name = getattr(dtype, "name", None)  # numpy's; torch's have none, and say "torch.float32"
        text = legal_text(name if isinstance(name, str) else dtype).rpartition(".")[2]
        if len(self) >= MAX_TYPES:
            self.clear()
        found = self[dtype] = self._renamed.get(text, text)
        return found


_PLAIN_NAMES = TypeNames()


def describe_inputs(
    args: Sequence[Any], kwargs: Mapping[str, Any] | None, names: TypeNames = _PLAIN_NAMES
) -> dict[str, Any]:
    """The arguments that a trace shows of an operator's inputs; those by name stand behind those by place.

    Args:
        args: the inputs by place; lists, tuples and mappings of tensors have the shapes of what is in them.
        kwargs: the inputs by name.
        names: what types are called.

    Returns:
        "Input Dims", "Input type", "Input Strides" and "Concrete Inputs", an item an input, and "Kwinputs", the inputs
        by name; those that say something.
    """
    inputs = (*args, *kwargs.values()) if kwargs else args
    if not inputs:
        return {}
    dims, types, strides, values = [], [], [], []
    has_strides = has_values = False
    for value in inputs[:MAX_ITEMS]:
        shape, kind, steps, text = _say(value, names, 0)
        dims.append(shape)
        types.append(kind)
        strides.append(steps)
        values.append(text)
        has_strides = has_strides or steps is not EMPTY
        has_values = has_values or text != ""
    described: dict[str, Any] = {"Input Dims": dims, "Input type": types}
    if has_strides:
        described["Input Strides"] = strides
    if has_values:
        described["Concrete Inputs"] = values
    if kwargs:
        described["Kwinputs"] = freeze(kwargs)
    return described


def shape_of(value: Any) -> list[int | str] | None:
    """A tensor's shape; None for what is none. What stands for a size and is no int is shown as text."""
    try:
        shape = value.shape
        if value.dtype is None or isinstance(shape, str):
            return None
        return [size if type(size) is int else _size_of(size) for size in shape]
    except Exception:  # noqa: BLE001 - the program's object may raise anything
        return None


def _say(value: Any, names: TypeNames, depth: int) -> _Said:
    kind = type(value)
    if kind in _KNOWN:
        return _KNOWN[kind] or _Said(EMPTY, "Scalar", EMPTY, legal_text(value))
    if issubclass(kind, (list, tuple)):
        return _say_list(value, names, depth)
    shape = shape_of(value)
    if shape is not None:
        return _Said(shape or EMPTY, _type_of(value, names), _strides_of(value) or EMPTY)
    if issubclass(kind, Mapping) and depth < MAX_DEPTH:
        return _say_mapping(value, names, depth)
    return _NOTHING


def _say_list(values: Sequence[Any], names: TypeNames, depth: int) -> _Said:
    if depth >= MAX_DEPTH:
        return _NOTHING
    said = [_say(value, names, depth + 1) for value in values[:MAX_ITEMS]]
    if said and all(each.type == "Scalar" for each in said):
        return _Said(EMPTY, "ScalarList", EMPTY, f"[{', '.join(each.value for each in said)}]")
    tensors = sum(each.type not in _NO_TENSORS for each in said)
    kind = "TensorList" if said and tensors == len(said) else "GenericList"
    dims, strides = [each.dims for each in said], [each.strides for each in said]
    if not tensors and all(each is EMPTY for each in dims):
        return _Said(EMPTY, kind)
    if len(values) > MAX_ITEMS:
        dims.append(f"... {len(values) - MAX_ITEMS} more")
    return _Said(dims, kind, EMPTY if all(steps is EMPTY for steps in strides) else strides)


def _say_mapping(values: Mapping[Any, Any], names: TypeNames, depth: int) -> _Said:
    try:
        said = {legal_text(key): _say(value, names, depth + 1) for key, value in [*values.items()][:MAX_ITEMS]}
    except Exception:  # noqa: BLE001 - the program's mapping may raise anything
        return _NOTHING
    dims = {key: each.dims for key, each in said.items() if each.type not in _NO_TENSORS or each.dims is not EMPTY}
    return _Said(dims or EMPTY, "GenericDict")


def _size_of(size: Any) -> int | str:
    try:
        return int(size)
    except (TypeError, ValueError):
        return legal_text(size)


def _type_of(value: Any, names: TypeNames) -> str:
    try:
        return names[value.dtype]
    except Exception:  # noqa: BLE001 - the program's type may raise anything, or not be hashable
        return legal_text(value.dtype)


def _strides_of(value: Any) -> list[int | str]:
    """A tensor's strides in items; [] where nobody says."""
    try:
        stride = getattr(value, "stride", None)
        if callable(stride):
            return [step if type(step) is int else _size_of(step) for step in stride()]
        steps_bytes = getattr(value, "strides", None)  # numpy's; asking is cheaper than being refused
        return [] if steps_bytes is None else [step // value.itemsize for step in steps_bytes]
    except Exception:  # noqa: BLE001 - the program's object may raise anything
        return []


_NOTHING = _Said(EMPTY, "")
# What is said of inputs of these types; None: they are numbers.
_KNOWN: dict[type, _Said | None] = {
    type(None): _NOTHING, str: _NOTHING, bool: None, int: None, float: None, complex: None,
}  # fmt: skip
# torch's words for what is no tensor.
_NO_TENSORS = frozenset({"", "Scalar", "ScalarList", "TensorList", "GenericList", "GenericDict"})
