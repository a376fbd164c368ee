"""The peers, each as its own documentation says to use it, and a look at whether it did record.

A peer is imported inside the sample that uses it, so that one that is missing or broken costs only its own lines.
"""

import contextlib
import functools
import importlib
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bench.spans import call_loop, with_loop
from bench.timing import Checked, Contender, Timed, fresh

__all__ = ["PEERS", "torch_cpu", "viz_tracer"]

Open = Callable[[int], AbstractContextManager[Timed]]


def _counted(found: int, ops: int) -> Checked:
    return Checked(found == ops, f"{found:,} recorded" if found == ops else f"{found:,} recorded, not {ops:,}")


# -- the floor: what Python itself takes --------------------------------------------------------------------------


@contextlib.contextmanager
def _nullcontext(ops: int) -> Iterator[Timed]:
    yield Timed(functools.partial(fresh(with_loop), contextlib.nullcontext, ops))


@contextlib.contextmanager
def _plain_call(ops: int) -> Iterator[Timed]:
    def function() -> None:
        """Do nothing."""

    yield Timed(functools.partial(fresh(call_loop), function, ops))


# -- torch ----------------------------------------------------------------------------------------------------------


def torch_cpu(**options: Any) -> Any:
    """A torch profiler of the CPU."""
    from torch.profiler import ProfilerActivity, profile

    return profile(activities=[ProfilerActivity.CPU], **options)


def _torch(make: Callable[[Any, int], Callable[[], None]], *, active: bool) -> Open:
    """Samples of torch.

    Args:
        make: torch and operations -> what to run.
        active: with a profiler around it.
    """

    @contextlib.contextmanager
    def open_torch(ops: int) -> Iterator[Timed]:
        import torch.profiler

        run = make(torch, ops)
        if not active:
            yield Timed(run)
            return
        prof = torch_cpu()
        with contextlib.ExitStack() as stack:
            stack.enter_context(prof)
            yield Timed(run, stack.close, lambda _: _counted(sum(e.name == "x" for e in prof.events()), ops))

    return open_torch


def _torch_with(torch: Any, ops: int) -> Callable[[], None]:
    return functools.partial(fresh(with_loop), torch.profiler.record_function, ops)


def _torch_fast(torch: Any, ops: int) -> Callable[[], None]:
    return functools.partial(fresh(with_loop), torch._C._profiler._RecordFunctionFast, ops)  # noqa: SLF001 - no other name


def _torch_decorated(torch: Any, ops: int) -> Callable[[], None]:
    @torch.profiler.record_function("x")  # type: ignore[untyped-decorator, unused-ignore]  # torch is Any here
    def function() -> None:
        """Do nothing."""

    return functools.partial(fresh(call_loop), function, ops)


def _torch_args(torch: Any, ops: int) -> Callable[[], None]:
    record_function = torch.profiler.record_function

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            with record_function("x", "a=1, b=text"):
                pass

    return run


# -- viztracer ------------------------------------------------------------------------------------------------------


@functools.cache
def viz_tracer() -> Any:
    """The one tracer of this process: its buffer is made once, and cleared after each sample."""
    from viztracer import VizTracer

    tracer = VizTracer(tracer_entries=2_000_000, verbose=0)
    # Before Python 3.12 making one sets the profile function, which doubles the cost of everything that runs beside it.
    tracer.start()
    tracer.stop()
    tracer.clear()
    return tracer


def _viztracer(make: Callable[[Any, int], Callable[[], None]], *, active: bool) -> Open:
    @contextlib.contextmanager
    def open_viztracer(ops: int) -> Iterator[Timed]:
        tracer = viz_tracer()
        run = make(tracer, ops)

        def check(_: int) -> Checked:
            tracer.parse()
            names = [str(event["name"]) for event in tracer.data["traceEvents"]]
            return _counted(sum(name == "x" or name.startswith("x (") for name in names), ops)

        if active:
            tracer.start()
        try:
            yield Timed(run, tracer.stop, check if active else None)
        finally:
            tracer.stop()
            tracer.data = {}
            tracer.clear()  # log_event keeps what it is given even when the tracer is off

    return open_viztracer


def _viz_event(tracer: Any, ops: int) -> Callable[[], None]:
    return functools.partial(fresh(with_loop), tracer.log_event, ops)


def _viz_instant(tracer: Any, ops: int) -> Callable[[], None]:
    add_instant = tracer.add_instant

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            add_instant("x")

    return run


def _viz_counter(tracer: Any, ops: int) -> Callable[[], None]:
    add_counter = tracer.add_counter

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            add_counter("x", {"value": 1})

    return run


# -- keke -----------------------------------------------------------------------------------------------------------


def _keke(make: Callable[[Any, int], Callable[[], None]], *, active: bool) -> Open:
    @contextlib.contextmanager
    def open_keke(ops: int) -> Iterator[Timed]:
        keke: Any = importlib.import_module("keke")  # it has no types, and need not be here for a type checker
        run = make(keke, ops)
        if not active:
            yield Timed(run)
            return
        # Its writer thread takes part in the run, as it does in a program: that is how keke records.
        file = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(keke.TraceOutput(file, close_output_file=False))
            yield Timed(run, stack.close, lambda _: _counted(file.getvalue().count('"name":"x"'), ops))

    return open_keke


def _keke_with(keke: Any, ops: int) -> Callable[[], None]:
    return functools.partial(fresh(with_loop), keke.kev, ops)


def _keke_decorated(keke: Any, ops: int) -> Callable[[], None]:
    @keke.ktrace(shortname="x")  # type: ignore[untyped-decorator, unused-ignore]  # keke is Any here
    def function() -> None:
        """Do nothing."""

    return functools.partial(fresh(call_loop), function, ops)


def _keke_args(keke: Any, ops: int) -> Callable[[], None]:
    kev = keke.kev

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            with kev("x", a=1, b="text"):
                pass

    return run


def _keke_mark(keke: Any, ops: int) -> Callable[[], None]:
    kmark = keke.kmark

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            kmark("x")

    return run


def _keke_count(keke: Any, ops: int) -> Callable[[], None]:
    kcount = keke.kcount

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            kcount("x", 1)

    return run


# -- OpenTelemetry --------------------------------------------------------------------------------------------------


def _opentelemetry(make: Callable[[Any, int], Callable[[], None]], *, active: bool) -> Open:
    @contextlib.contextmanager
    def open_opentelemetry(ops: int) -> Iterator[Timed]:
        if not active:
            yield Timed(make(importlib.import_module("opentelemetry.trace").NoOpTracer(), ops))
            return
        sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
        export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
        memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        # The least that keeps a span: a tracer without a processor would throw every one away.
        kept, provider = memory.InMemorySpanExporter(), sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(export.SimpleSpanProcessor(kept))
        run = make(provider.get_tracer("bench"), ops)
        yield Timed(run, check=lambda _: _counted(len(kept.get_finished_spans()), ops))

    return open_opentelemetry


def _otel_with(tracer: Any, ops: int) -> Callable[[], None]:
    return functools.partial(fresh(with_loop), tracer.start_as_current_span, ops)


def _otel_decorated(tracer: Any, ops: int) -> Callable[[], None]:
    @tracer.start_as_current_span("x")  # type: ignore[untyped-decorator, unused-ignore]  # the tracer is Any here
    def function() -> None:
        """Do nothing."""

    return functools.partial(fresh(call_loop), function, ops)


def _otel_args(tracer: Any, ops: int) -> Callable[[], None]:
    span = tracer.start_as_current_span

    def run() -> None:
        for _ in itertools.repeat(None, ops):
            with span("x", attributes={"a": 1, "b": "text"}):
                pass

    return run


TORCH, VIZTRACER, KEKE, OTEL = "torch", "viztracer", "keke", "opentelemetry-sdk"

PEERS: dict[str, tuple[Contender, ...]] = {
    "span": (
        Contender("torch record_function", _torch(_torch_with, active=True), 4_000, TORCH),
        Contender("torch _RecordFunctionFast", _torch(_torch_fast, active=True), 10_000, TORCH),
        Contender("viztracer log_event", _viztracer(_viz_event, active=True), 10_000, VIZTRACER),
        Contender("keke kev", _keke(_keke_with, active=True), 4_000, KEKE),
        Contender("OpenTelemetry span", _opentelemetry(_otel_with, active=True), 2_000, OTEL),
        Contender("contextlib.nullcontext", _nullcontext, 50_000),
    ),
    "idle": (
        Contender("torch record_function", _torch(_torch_with, active=False), 4_000, TORCH),
        Contender("torch _RecordFunctionFast", _torch(_torch_fast, active=False), 50_000, TORCH),
        Contender("viztracer log_event", _viztracer(_viz_event, active=False), 20_000, VIZTRACER),
        Contender("keke kev", _keke(_keke_with, active=False), 20_000, KEKE),
        Contender("OpenTelemetry no-op span", _opentelemetry(_otel_with, active=False), 5_000, OTEL),
        Contender("contextlib.nullcontext", _nullcontext, 50_000),
    ),
    "decorated": (
        Contender("torch record_function", _torch(_torch_decorated, active=True), 4_000, TORCH),
        Contender("keke ktrace", _keke(_keke_decorated, active=True), 4_000, KEKE),
        Contender("OpenTelemetry span", _opentelemetry(_otel_decorated, active=True), 2_000, OTEL),
        Contender("the call alone", _plain_call, 100_000),
    ),
    "instant": (
        Contender("viztracer add_instant", _viztracer(_viz_instant, active=True), 50_000, VIZTRACER),
        Contender("keke kmark", _keke(_keke_mark, active=True), 4_000, KEKE),
    ),
    "counter": (
        Contender("viztracer add_counter", _viztracer(_viz_counter, active=True), 50_000, VIZTRACER),
        Contender("keke kcount", _keke(_keke_count, active=True), 4_000, KEKE),
    ),
    "args": (
        Contender("torch record_function (text)", _torch(_torch_args, active=True), 4_000, TORCH),
        Contender("keke kev", _keke(_keke_args, active=True), 4_000, KEKE),
        Contender("OpenTelemetry span", _opentelemetry(_otel_args, active=True), 2_000, OTEL),
    ),
}
