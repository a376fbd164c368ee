"""What we record, one sample at a time: spans, idle spans, decorated calls, instants, counters, arguments, operators.

Each sample is a profile of its own, so that nothing is held from one to the next, and ends by asking the trace
processor for what it recorded.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bench.timing import AbsentError, Checked, Contender, Timed, fresh
from bench.verify import trace_holds

__all__ = ["OURS", "Ready", "call_loop", "idle", "operator", "recording", "with_loop", "with_x"]

# Makes a loop of so many operations that is ready to run: what it takes to make it is not measured.
Ready = Callable[[int], Callable[[], None]]


def with_loop(factory: Callable[[str], AbstractContextManager[Any]], ops: int) -> None:
    """Open and close a span called x."""
    for _ in itertools.repeat(None, ops):
        with factory("x"):
            pass


def call_loop(function: Callable[[], Any], ops: int) -> None:
    """Call a function, such as a decorated one."""
    for _ in itertools.repeat(None, ops):
        function()


def with_x(ops: int) -> Callable[[], None]:
    """Spans called x."""
    from stepscope import record_function

    return functools.partial(fresh(with_loop), record_function, ops)


def _in_a_task(ops: int) -> Callable[[], None]:
    import asyncio

    from stepscope import record_function

    loop = functools.partial(fresh(with_loop), record_function, ops)

    async def main() -> None:
        loop()

    def run() -> None:
        asyncio.run(main())

    return run


def _decorated(ops: int) -> Callable[[], None]:
    from stepscope import record_function

    @record_function("x")
    def function() -> None:
        """Do nothing."""

    return functools.partial(fresh(call_loop), function, ops)


def _two_args(ops: int) -> Callable[[], None]:
    from stepscope import record_function

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            with record_function("x", a=1, b="text"):
                pass

    return run


def _instant(ops: int) -> Callable[[], None]:
    from stepscope import instant

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            instant("x")

    return run


def _counter(ops: int) -> Callable[[], None]:
    import stepscope

    if not hasattr(stepscope, "counter"):
        message = "this stepscope has no counter"
        raise AbsentError(message)
    counter: Callable[[str, float], object] = stepscope.counter

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            counter("x", 1)

    return run


def operator(inputs: tuple[object, ...]) -> Ready:
    """What a dispatcher does around a kernel: ask, begin, end."""

    def ready(ops: int) -> Callable[[], None]:
        from stepscope.ops import enter, exit, is_enabled  # noqa: A004 - the word that goes with enter

        def run() -> None:
            for _ in itertools.repeat(None, ops):
                if is_enabled():
                    exit(enter("aten::add", "cpu", inputs, None))

        return run

    return ready


def _asked(ops: int) -> Callable[[], None]:
    from stepscope.ops import is_enabled

    return functools.partial(fresh(call_loop), is_enabled, ops)


def recording(
    ready: Ready, expected: str, args: int = 0, *, says: str = "", **options: Any
) -> Callable[[int], AbstractContextManager[Timed]]:
    """Samples that record: the trace must hold as many of `expected` as there were operations.

    Args:
        ready: what is measured.
        expected: a parameter of `trace_holds`.
        args: how many arguments called a or b each has.
        says: an argument that each must have.
        options: of the profile.
    """

    @contextlib.contextmanager
    def open_recording(ops: int) -> Iterator[Timed]:
        from stepscope import profile

        prof, run = profile(**options), ready(ops)

        def check(wall_ns: int) -> Checked:
            silent = sum(says not in row.args for row in prof.trace) if says else 0
            if silent:
                return Checked(ok=False, text=f"{silent:,} do not say their {says}")
            return trace_holds(prof.trace, wall_ns, args=args * ops, **{expected: ops})

        prof.start()
        try:
            yield Timed(run, prof.stop, check)
        finally:
            prof.stop()

    return open_recording


def idle(ready: Ready) -> Callable[[int], AbstractContextManager[Timed]]:
    """Samples while no profile is active; one that starts afterwards must not find anything."""

    @contextlib.contextmanager
    def open_idle(ops: int) -> Iterator[Timed]:
        from stepscope import profile

        def check(_: int) -> Checked:
            with profile() as prof:
                pass
            return Checked(not len(prof.trace), f"{len(prof.trace)} recorded, as it should be")

        yield Timed(ready(ops), check=check)

    return open_idle


@contextlib.contextmanager
def _open_waiting(ops: int) -> Iterator[Timed]:
    """A profile is active, and its schedule waits."""
    from stepscope import profile, schedule

    prof, run = profile(schedule=schedule(wait=1_000_000, warmup=0, active=1)), with_x(ops)

    def check(_: int) -> Checked:
        return Checked(not prof.sessions, f"{len(prof.sessions)} cycles, as it should be")

    prof.start()
    try:
        yield Timed(run, prof.stop, check)
    finally:
        prof.stop()


OURS = {
    "span": Contender("stepscope", recording(with_x, "slices"), 100_000, ours=True),
    "task": Contender("stepscope", recording(_in_a_task, "slices"), 100_000, ours=True),
    "idle": Contender("stepscope (no profile)", idle(with_x), 100_000, ours=True),
    "waiting": Contender("stepscope (profile waits)", _open_waiting, 100_000, ours=True),
    "decorated": Contender("stepscope", recording(_decorated, "slices"), 100_000, ours=True),
    "instant": Contender("stepscope", recording(_instant, "instants"), 100_000, ours=True),
    "counter": Contender("stepscope", recording(_counter, "counters"), 100_000, ours=True),
    "args": Contender("stepscope", recording(_two_args, "slices", args=2), 50_000, ours=True),
    "op": Contender("stepscope", recording(operator((1, 2)), "slices"), 50_000, ours=True),
    "op-disabled": Contender("stepscope (no profile)", idle(_asked), 100_000, ours=True),
}
