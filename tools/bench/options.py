"""What else is recorded, one option at a time: what it adds where it is asked for, and nothing elsewhere."""

import contextlib
import functools
import gc
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from bench.calls import untraced, work
from bench.spans import Ready, call_loop, idle, operator, recording, with_x
from bench.timing import Checked, Contender, Timed, fresh

__all__ = ["AFTER_EVERYTHING", "BESIDES", "MEMORY", "PAUSES"]

SPAN = 'with record_function("x")'
OPERATOR = "an operator"


class _Tensor:
    """What operators are given; shapes and types are of anything that has these."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype = shape, "float32"


def _option(name: str, title: str, ready: Ready, says: str, **options: Any) -> tuple[str, str, Contender]:
    """Row, title and contender of spans or operators that say more than their time."""
    ((option, _),) = options.items()
    return (
        name,
        f"{title}, recording, {option}",
        Contender("stepscope", recording(ready, "slices", says=says, **options), 20_000, ours=True),
    )


_TENSORS = operator((_Tensor(32, 64), _Tensor(64, 8)))
BESIDES = (
    _option("span-stack", SPAN, with_x, "Call stack", record_stacks=True),
    _option("span-cpu", SPAN, with_x, "thread_time_ns", with_cpu_time=True),
    _option("op-shapes", OPERATOR, _TENSORS, "Input Dims", record_shapes=True),
    _option("op-stack", OPERATOR, _TENSORS, "Call stack", record_stacks=True),
)


# -- options that record on their own ------------------------------------------------------------------------------


def _collect(ops: int) -> Callable[[], None]:
    return functools.partial(fresh(call_loop), functools.partial(gc.collect, 0), ops)


@contextlib.contextmanager
def _collect_alone(ops: int) -> Iterator[Timed]:
    yield Timed(_collect(ops))


def _with_option(
    ready: Ready, wrong: Callable[[Any, int], str], **options: Any
) -> Callable[[int], AbstractContextManager[Timed]]:
    """Samples in a profile with an option, or with none; `wrong` says what its trace should not be, or nothing."""

    @contextlib.contextmanager
    def open_with_option(ops: int) -> Iterator[Timed]:
        from stepscope import profile

        prof, run = profile(**options), ready(ops)

        def check(_: int) -> Checked:
            fault = wrong(prof.trace, ops)
            what = f"{len(prof.trace)} rows, {len(prof.trace.counters.ts)} counter values"
            return Checked(not fault, fault or what)

        prof.start()
        try:
            yield Timed(run, prof.stop, check)
        finally:
            prof.stop()

    return open_with_option


def _pauses_missing(trace: Any, ops: int) -> str:
    found = sum(row.cat == "gc" for row in trace)
    return "" if found >= ops else f"{found:,} pauses, not {ops:,}"


def _not_sampled(trace: Any, _: int) -> str:
    return "" if len(trace.counters.ts) else "memory was not sampled"


def _not_empty(trace: Any, _: int) -> str:
    return f"{len(trace)} rows" if len(trace) else ""


PAUSES = (
    Contender("stepscope (record_gc)", _with_option(_collect, _pauses_missing, record_gc=True), 20_000, ours=True),
    Contender("stepscope (without)", _with_option(_collect, _not_empty), 20_000, ours=True),
    Contender("not recorded", _collect_alone, 20_000),
)
MEMORY = (
    Contender("stepscope (profile_memory)", _with_option(work, _not_sampled, profile_memory=True), 10, ours=True),
    Contender("stepscope (without)", _with_option(work, _not_empty), 10, ours=True),
    Contender("not recorded", untraced, 10),
)


# -- nothing recorded any more ---------------------------------------------------------------------------------------

ALL_OPTIONS: Mapping[str, Any] = dict.fromkeys(
    ("with_stack", "record_stacks", "record_shapes", "profile_memory", "record_gc", "with_cpu_time", "record_tasks"),
    True,
)


@contextlib.contextmanager
def _open_after_everything(ops: int) -> Iterator[Timed]:
    """Everything has been imported, and recorded once; now there is no profile."""
    from stepscope import profile

    for name in ("asyncio", "multiprocessing", "stepscope.ops", "stepscope.session.children"):
        importlib.import_module(name)
    with profile(**ALL_OPTIONS):
        pass
    with idle(with_x)(ops) as timed:
        yield timed


AFTER_EVERYTHING = Contender("stepscope (no profile)", _open_after_everything, 100_000, ours=True)
