"""How many floating-point operations an operator makes, by torch's formulas.

Source: computeFlops in torch/csrc/profiler/util.cpp of torch 2.13: a multiplication and an addition are two, and what
is not listed has none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepscope.core.inputs import shape_of

__all__ = ["flops_of"]

Inputs = Sequence[Any]


def flops_of(name: str, args: Inputs, kwargs: Mapping[str, Any]) -> int:
    """The operations of one call; 0 for an operator that has no formula, or where the shapes do not fit it.

    Args:
        name: with or without a namespace in front, such as "aten::mm".
        args: its inputs, in the order of torch's operator of that name.
        kwargs: behind them, those by name.
    """
    formula = _FORMULAS.get(name.rpartition("::")[2])
    if formula is None:
        return 0
    try:
        return formula(args, kwargs)
    except Exception:  # noqa: BLE001 - an operator of the same name may take other inputs
        return 0


def _sizes(value: Any, dims: int | None = None) -> list[int]:
    """A tensor's shape.

    Raises:
        ValueError: it is none, or has another number of dimensions.
    """
    shape = shape_of(value)
    if shape is None or (dims is not None and len(shape) != dims) or not all(type(size) is int for size in shape):
        message = f"no shape of {dims} dimensions"
        raise ValueError(message)
    return [int(size) for size in shape]


def _matmul(first: Any, second: Any, dims: int) -> int:
    left, right = _sizes(first, dims), _sizes(second, dims)
    return 2 * math.prod(left) * right[-1]


def _mm(args: Inputs, _: Mapping[str, Any]) -> int:
    return _matmul(args[0], args[1], 2)


def _addmm(args: Inputs, _: Mapping[str, Any]) -> int:
    return _matmul(args[1], args[2], 2)


def _bmm(args: Inputs, _: Mapping[str, Any]) -> int:
    return _matmul(args[0], args[1], 3)


def _baddbmm(args: Inputs, _: Mapping[str, Any]) -> int:
    return _matmul(args[1], args[2], 3)


def _pointwise(args: Inputs, _: Mapping[str, Any]) -> int:
    return math.prod(_sizes(args[0]))


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = value if isinstance(value, (list, tuple)) else (value,)
    return int(first), int(rest[0] if rest else first)


def _conv2d(args: Inputs, kwargs: Mapping[str, Any]) -> int:
    given = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, strict=False))
    given.update(kwargs)
    return _convolution(given)


def _convolution_of(args: Inputs, kwargs: Mapping[str, Any]) -> int:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return 0 if given.get("transposed") else _convolution(given)


def _convolution(given: Mapping[str, Any]) -> int:
    batch, in_channels, *image = _sizes(given["input"], 4)
    out_channels, _, *kernel = _sizes(given["weight"], 4)
    strides, paddings = _pair(given.get("stride", 1)), _pair(given.get("padding", 0))
    dilations, groups = _pair(given.get("dilation", 1)), int(given.get("groups", 1))
    out = [
        (size + 2 * padding - dilation * (extent - 1) - 1) // stride + 1
        for size, extent, stride, padding, dilation in zip(image, kernel, strides, paddings, dilations, strict=True)
    ]
    return 2 * batch * math.prod(out) * math.prod(kernel) * in_channels * out_channels // groups


_FORMULAS: dict[str, Callable[[Inputs, Mapping[str, Any]], int]] = {
    "mm": _mm,
    "addmm": _addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "mul": _pointwise,
    "add": _pointwise,
    "conv2d": _conv2d,
    "convolution": _convolution_of,
}
