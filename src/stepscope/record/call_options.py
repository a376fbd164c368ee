"""Which calls function tracing records: what `with_stack=` takes besides True."""

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["CallOptions"]

FIELDS = ("include", "exclude", "max_depth", "min_duration_us", "c_functions")
MAX_DEPTH = (1 << 31) - 1
MAX_DURATION_US = 10**12


class CallOptions:
    """Which calls are recorded.

    A pattern is a module ("torch.nn", and all that is in it), or a file's path or module name with wildcards
    ("*/site-packages/*", "test_*").

    Args:
        include: only calls of functions that one of these patterns is of; without any, all.
        exclude: no calls of functions that one of these is of.
        max_depth: calls inside so many recorded ones are not recorded; None: all are.
        min_duration_us: calls that are shorter are forgotten as they end, unless there is something inside them
            that is kept.
        c_functions: record calls of C functions from recorded modules, too, such as `sleep (time)`.

    Raises:
        TypeError, ValueError: an argument makes no sense.
    """

    __slots__ = FIELDS
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    max_depth: int | None
    min_duration_us: float
    c_functions: bool

    def __init__(
        self,
        *,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        max_depth: int | None = None,
        min_duration_us: float = 0,
        c_functions: bool = False,
    ) -> None:
        values = (
            _patterns("include", include),
            _patterns("exclude", exclude),
            _depth(max_depth),
            _duration(min_duration_us),
            bool(c_functions),
        )
        for name, value in zip(FIELDS, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        message = f"CallOptions cannot be changed; make another one with {name}={value!r}"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> None:
        message = f"CallOptions cannot be changed: {name} stays"
        raise AttributeError(message)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in FIELDS)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, CallOptions) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, self._values()

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in zip(FIELDS, self._values(), strict=True))
        return f"CallOptions({', '.join(shown)})"


def _remade(*values: Any) -> CallOptions:
    return CallOptions(**dict(zip(FIELDS, values, strict=True)))


def _patterns(name: str, given: Any) -> tuple[str, ...]:
    patterns = (given,) if isinstance(given, str) else given
    patterns = tuple(patterns) if isinstance(patterns, Iterable) else (None,)
    if not all(isinstance(pattern, str) and pattern for pattern in patterns):
        message = f'{name} must be patterns of modules or files, such as ("torch.nn", "*/model.py"), got {given!r}.'
        raise TypeError(message)
    return patterns


def _depth(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_DEPTH:
        message = f"max_depth must be an int of at least 1, got {given!r}. Leave it out to record calls at any depth."
        raise ValueError(message)
    return given


def _duration(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        message = f"min_duration_us must be a number of microseconds, got {given!r}."
        raise TypeError(message)
    if not math.isfinite(given) or not 0 <= given <= MAX_DURATION_US:
        message = f"min_duration_us must be a number of microseconds from 0 on, got {given!r}. 0 records every call."
        raise ValueError(message)
    return given
