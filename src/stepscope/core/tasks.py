"""Tasks: what asyncio says of them, and what a core needs to know of any framework's.

Tasks take turns on a thread. What each of them records stands on a lane of its own, or their spans would overlap.
asyncio itself says which task a thread is in: `asyncio.tasks._current_tasks`, loop -> task, holds a task while one of
its steps runs and is empty else. Every loop keeps it, uvloop too, and eager tasks are in it. So nothing is replaced to
know a span's task, spans that were open before anything was recorded have theirs, and a program without asyncio looks
at an empty mapping.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from stepscope.core.values import legal_text

__all__ = ["FOUND", "MAX_NAME", "Asyncio", "asyncio_is_silent", "find_asyncio", "task_name"]

# Called once asyncio is there, by whoever notices first: in the middle of the program's own doings.
FOUND: list[Callable[[], None]] = []
# Longer names are cut: a lane's name is in memory for as long as its task is, and once in each file.
MAX_NAME = 200


class Asyncio(NamedTuple):
    """What there is to ask.

    Attributes:
        running: loop -> task, of the loops that are in a step of a task.
        loop_here: the loop that runs on the calling thread; None if there is none.
    """

    running: dict[Any, Any]
    loop_here: Callable[[], Any]


def find_asyncio() -> Asyncio | None:
    """asyncio, once the program has imported all of it; None before, and where it is silent."""
    if not _is_imported():
        return None
    running = getattr(sys.modules.get("asyncio.tasks"), "_current_tasks", None)
    loop_here = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    if type(running) is not dict or not callable(loop_here):
        return None
    # Tasks in C have a mapping of their own, which asyncio.tasks takes over. If it does not, nothing ever is in it.
    accelerated = sys.modules.get("_asyncio")
    if accelerated is not None and getattr(accelerated, "_current_tasks", None) is not running:
        return None
    while FOUND:
        FOUND.pop()()
    return Asyncio(running, loop_here)


def asyncio_is_silent() -> bool:
    """Whether the program has asyncio, and it keeps no such mapping: that is no part of what it promises to have."""
    return _is_imported() and find_asyncio() is None


def _is_imported() -> bool:
    # Set last: while its import goes on, what it will use may not be in place yet.
    return hasattr(sys.modules.get("asyncio"), "__all__")


def task_name(task: Any) -> str:
    """What a task is called: asyncio's get_name(), else its name, such as trio's; legal text, cut to MAX_NAME."""
    try:
        get = getattr(task, "get_name", None)
        name = legal_text(get() if callable(get) else task.name)
    except Exception:  # noqa: BLE001 - the program's class may do anything
        name = ""
    return (name or "task") if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."
