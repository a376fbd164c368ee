"""The C core: the twin of stepscope.core.twin, and what only a compiled core has."""

from collections.abc import Callable
from typing import Any

from stepscope.core.twin import *  # noqa: F403

def around_call(span: Any, function: Callable[..., Any]) -> Any: ...
