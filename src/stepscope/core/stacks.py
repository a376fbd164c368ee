"""The text of a call stack, as both cores record it and every file holds it.

Source: the "Call stack" argument of torch's files: "file(line): function" for each call, innermost first, with ";"
between them.
"""

import os
from collections.abc import Iterable

from stepscope.core.values import legal_text

__all__ = ["CALL_STACK", "MAX_FRAMES", "SEPARATORS", "stack_text"]

CALL_STACK = "Call stack"
# Of a deeper stack the innermost calls are kept, which say where something happened.
MAX_FRAMES = 64
_OWN = os.path.dirname(os.path.dirname(__file__)) + os.sep
# What would end a call in the text is spelled otherwise.
SEPARATORS = str.maketrans(";\n", "__")


def stack_text(frames: Iterable[tuple[str, int | None, str]]) -> str:
    """A stack in words; "" of none.

    Args:
        frames: file, line and function of each call, innermost first. The profiler's own are left out.
    """
    calls = [f"{file}({line or 0}): {name}" for file, line, name in frames if not file.startswith(_OWN)]
    return legal_text(";".join(call.translate(SEPARATORS) for call in calls))
