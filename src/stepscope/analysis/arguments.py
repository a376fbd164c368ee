"""What the arguments of an operator say, under the names of torch's files."""

from collections.abc import Mapping
from typing import Any

__all__ = ["flat_shapes", "flops_in", "int_in", "list_in"]


def flops_in(args: Mapping[str, Any]) -> int:
    """The floating-point operations that arguments speak of."""
    return int_in(args, "flops", 0)


def flat_shapes(args: Mapping[str, Any]) -> list[Any]:
    """Input shapes as torch's tables have them: a list of tensors is []."""
    return [[] if any(isinstance(size, list) for size in shape) else shape for shape in list_in(args, "Input Dims")]


def list_in(args: Mapping[str, Any], name: str) -> list[Any]:
    """A list of the arguments. Traces hold no empty containers, but say "[]" in their place."""
    value = args.get(name)
    return [[] if item == "[]" else item for item in value] if isinstance(value, list) else []


def int_in(args: Mapping[str, Any], name: str, default: int) -> int:
    """A number of the arguments."""
    value = args.get(name)
    return value if isinstance(value, int) else default
