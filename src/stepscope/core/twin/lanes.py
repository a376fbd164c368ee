"""Lanes: a task's open spans, as a thread has its own; and what is known of asyncio."""

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref

from stepscope.core.tasks import find_asyncio, task_name

if TYPE_CHECKING:
    from stepscope.core.twin.recorder import Charge
    from stepscope.core.twin.records import Key

__all__ = ["TASKS", "TaskLane", "Waiting", "look_for_asyncio"]

Item = TypeVar("Item")


class _Tasks:
    """What is known of asyncio; the spans read `running` on every event."""

    __slots__ = ("known", "loop_here", "running")

    def __init__(self) -> None:
        self.known = False
        self.running: dict[Any, Any] = {}
        self.loop_here: Any = None


TASKS = _Tasks()


def look_for_asyncio() -> None:
    """Learn of asyncio once the program has imported it."""
    found = None if TASKS.known else find_asyncio()
    if found is not None:
        TASKS.loop_here = found.loop_here
        TASKS.running = found.running
        TASKS.known = True


class TaskLane:
    """One task on the thread whose buffer has it.

    Attributes:
        task: a weak reference: nothing here keeps a task alive.
        name: what the task was called when its thread last came to it, or a window was sealed.
        open: the task's spans that are open, innermost last.
    """

    __slots__ = ("charge", "name", "open", "task")
    charge: "Charge"

    def __init__(self, task: Any) -> None:
        self.task = ref(task)
        self.name = task_name(task)
        self.open: list[Key] = []

    def ask_name(self) -> None:
        """Learn what the task is called now, if it is still there."""
        task = self.task()
        if task is not None:
            self.name = task_name(task)

    def is_over(self) -> bool:
        """Whether nothing can come to it any more."""
        return self.task() is None and not self.open


class Waiting(Generic[Item]):
    """What has begun in a thread's records and not ended; an end is its own lane's first.

    Attributes:
        lane: where the records stand that are being read; None: the thread's own track.
    """

    def __init__(self, lane: TaskLane | None) -> None:
        self.lane = lane
        self._items: dict[TaskLane | None, dict[Hashable, list[Item]]] = {None: {}}

    def begin(self, key: Hashable, item: Item) -> list[Item]:
        """Something begins on the present lane; what waits there of that key, innermost last."""
        waiting = self._items.setdefault(self.lane, {}).setdefault(key, [])
        waiting.append(item)
        return waiting

    def end(self, key: Hashable) -> Item | None:
        """The innermost of that key on the present lane, else on the thread's track, else on a lane; None: nowhere."""
        mine = self._items.get(self.lane)
        found = mine and mine.get(key)
        if not found:
            found = next((items[key] for items in self._items.values() if items.get(key)), None)
        return found.pop() if found else None

    def __iter__(self) -> Iterator[Item]:
        """What has not ended."""
        for items in self._items.values():
            for same in items.values():
                yield from same
