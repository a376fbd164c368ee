"""What an operator was given, as torch's traces say it: shapes, types, strides, and the values of scalars.

Anything with .shape and .dtype is a tensor. Whatever the program's objects raise when they are asked, nothing here
does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stepscope.core.values import freeze, legal_text

__all__ = ["describe_inputs", "is_tensor", "shape_of"]

MAX_DEPTH = 8
# torch's words for inputs that are no tensors.
SCALAR, SCALARS, TENSORS, LIST, DICT = "Scalar", "ScalarList", "TensorList", "GenericList", "GenericDict"
_NUMBERS = (bool, int, float, complex)


def describe_inputs(
    args: Sequence[Any], kwargs: Mapping[str, Any] | None, type_names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The arguments that a trace shows of an operator's inputs; those by name stand behind those by place.

    Args:
        args: the inputs by place; lists, tuples and mappings of tensors have the shapes of what is in them.
        kwargs: the inputs by name.
        type_names: what types are called that are to be called something else.

    Returns:
        "Input Dims", "Input type", "Input Strides" and "Concrete Inputs", an item an input, and "Kwinputs", the inputs
        by name; those that say something.
    """
    named = dict(kwargs) if kwargs else {}
    inputs = (*args, *named.values())
    if not inputs:
        return {}
    types = [_type_of(value, type_names or {}) for value in inputs]
    described: dict[str, Any] = {"Input Dims": [_dims_of(value, 0) for value in inputs], "Input type": types}
    strides = [_strides_of(value, 0) for value in inputs]
    if any(strides):
        described["Input Strides"] = strides
    concrete = [str(value) if of in (SCALAR, SCALARS) else "" for value, of in zip(inputs, types, strict=True)]
    if any(concrete):
        described["Concrete Inputs"] = concrete
    if named:
        described["Kwinputs"] = {str(name): freeze(value) for name, value in named.items()}
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


def is_tensor(value: Any) -> bool:
    """Whether it has a shape and a type."""
    return not isinstance(value, _NUMBERS) and shape_of(value) is not None


def _size_of(size: Any) -> int | str:
    try:
        return int(size)
    except (TypeError, ValueError):
        return legal_text(size)


def _dims_of(value: Any, depth: int) -> Any:
    """A shape, or the shapes of what is in a container; [] for all else."""
    if isinstance(value, (*_NUMBERS, str)) or value is None:
        return []
    if isinstance(value, (list, tuple)) and depth < MAX_DEPTH:
        inside = [_dims_of(item, depth + 1) for item in value]
        return inside if any(map(is_tensor, value)) or any(inside) else []
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        found = {str(name): _dims_of(item, depth + 1) for name, item in value.items() if is_tensor(item)}
        return found or []
    return shape_of(value) or []


def _type_of(value: Any, names: Mapping[str, str]) -> str:
    """A tensor's type, torch's word for other inputs, or "" for what it has none for."""
    if value is None or isinstance(value, str):
        return ""
    if isinstance(value, _NUMBERS):
        return SCALAR
    if isinstance(value, (list, tuple)):
        return _type_of_list(value)
    if isinstance(value, Mapping):
        return DICT
    return "" if shape_of(value) is None else _name_of_type(value.dtype, names)


def _type_of_list(values: Sequence[Any]) -> str:
    if values and all(isinstance(value, _NUMBERS) for value in values):
        return SCALARS
    return TENSORS if values and all(map(is_tensor, values)) else LIST


def _name_of_type(dtype: Any, names: Mapping[str, str]) -> str:
    name = getattr(dtype, "name", None)  # numpy's; torch's have none, and say "torch.float32"
    text = legal_text(name if isinstance(name, str) else dtype).rpartition(".")[2]
    return names.get(text, text)


def _strides_of(value: Any, depth: int) -> Any:
    """A tensor's strides in items, or those of what is in a list; [] for all else and where nobody says."""
    if isinstance(value, (*_NUMBERS, str)) or value is None:
        return []
    if isinstance(value, (list, tuple)) and depth < MAX_DEPTH:
        inside = [_strides_of(item, depth + 1) for item in value]
        return inside if any(inside) else []
    try:
        stride = getattr(value, "stride", None)
        if callable(stride):
            return [_size_of(step) for step in stride()]
        size_bytes = value.itemsize
        return [step // size_bytes for step in value.strides]
    except Exception:  # noqa: BLE001 - the program's object may raise anything
        return []
