"""Sources: what is recorded besides the program's own spans.

Each is a row of SOURCES. One that nobody asks for is not even imported. One that is asked for starts when a window
has opened and stops before it is sealed: what it records in between goes through the kernels (`span_of`, `instant_of`,
`counter`), as the program's own spans do, or is handed over when it stops.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stepscope.model.trace import Problem

if TYPE_CHECKING:
    from stepscope.model.build import TraceBuilder

__all__ = [
    "SOURCES",
    "TORCH",
    "Harvest",
    "Source",
    "SourceRow",
    "import_sources",
    "is_installed",
    "start_sources",
    "stop_sources",
]


class Harvest(NamedTuple):
    """What a source hands over when it stops.

    Attributes:
        problems: what it could not see.
        add: puts what is not among the records into the trace that is being built, before it is built; None: nothing.
    """

    problems: tuple[Problem, ...] = ()
    add: "Callable[[TraceBuilder], None] | None" = None


class Source(Protocol):
    """What records something while a window is open."""

    def start(self) -> None:
        """The window has opened, on the thread that opened it.

        Raises:
            LifecycleError: it cannot record; it has replaced nothing then.
        """

    def stop(self) -> Harvest:
        """The window is about to be sealed: record no more, and put back whatever was replaced.

        Called once for each start that succeeded, perhaps on another thread, and perhaps in a forked child, where
        no other thread is left.
        """


class SourceRow(NamedTuple):
    """A row of SOURCES.

    Attributes:
        name: what messages call it.
        module, factory: where it is made: factory(options) -> Source.
        wanted: whether a profile's options ask for it.
    """

    name: str
    module: str
    factory: str
    wanted: Callable[[Mapping[str, Any]], bool]


def _wants_steps(options: Mapping[str, Any]) -> bool:
    """What a task has computed can be told only by who knows when it ran."""
    return bool(options["record_tasks"] or options["with_cpu_time"])


def is_installed(integration: str) -> bool:
    """Whether the program has imported an integration and asked for it."""
    module = sys.modules.get(f"stepscope.integrations.{integration}")
    return module is not None and bool(module.is_installed())


TORCH = "torch"

SOURCES: tuple[SourceRow, ...] = (
    # Always: a framework may be imported, and run its first operator, in the middle of a window.
    SourceRow("operators", "stepscope.record.operators", "Operators", lambda _: True),
    SourceRow(TORCH, "stepscope.integrations.torch", "TorchOperators", lambda _: is_installed(TORCH)),
    SourceRow("memory", "stepscope.record.memory", "MemorySampler", lambda options: bool(options["profile_memory"])),
    SourceRow("cpu time", "stepscope.record.besides", "CpuTime", lambda options: bool(options["with_cpu_time"])),
    SourceRow("stacks", "stepscope.record.besides", "Stacks", lambda options: bool(options["record_stacks"])),
    SourceRow("steps", "stepscope.record.steps", "TaskSteps", _wants_steps),
    SourceRow("tasks", "stepscope.record.steps", "SilentTasks", lambda options: not _wants_steps(options)),
    SourceRow("gc", "stepscope.record.pauses", "Pauses", lambda options: bool(options["record_gc"])),
    SourceRow("calls", "stepscope.record.calls", "CallSource", lambda options: bool(options["with_stack"])),
)


def import_sources(options: Mapping[str, Any]) -> None:
    """Import what the options ask for now: later on the program may fork, and in a fork an import may never end."""
    for row in SOURCES:
        if row.wanted(options):
            import_module(row.module)


def start_sources(options: Mapping[str, Any]) -> list[Source]:
    """Start what the options ask for; if one cannot, those before it are stopped.

    Raises:
        LifecycleError: a source cannot record.
    """
    started: list[Source] = []
    try:
        for row in SOURCES:
            if row.wanted(options):
                source: Source = getattr(import_module(row.module), row.factory)(options)
                source.start()
                started.append(source)
    except BaseException:
        stop_sources(started)
        raise
    return started


def stop_sources(sources: Iterable[Source]) -> list[Harvest]:
    """Stop them, the last one first; all of them, whatever one raises.

    Returns:
        What they hand over. A source that raises hands over a Problem that says so.
    """
    return [_harvest(source) for source in reversed(list(sources))]


def _harvest(source: Source) -> Harvest:
    try:
        return source.stop()
    except Exception as error:  # noqa: BLE001 - the program's recording must not be lost with it
        kind = type(source).__name__
        return Harvest((Problem("source", 1, f"{kind} failed to stop: {type(error).__name__}: {error}"),))
