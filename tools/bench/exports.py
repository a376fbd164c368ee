"""Files, steps and memory: what becomes of a million spans, ours and the peers'.

All record the same: rounds of ten spans, three deep, six names. Ours records a million; the peers, being slower,
fewer, and the figures are per slice. Ours uses more threads than one; what all have computed stands beside the time.
"""

import contextlib
import importlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.peers import torch_cpu, viz_tracer
from bench.timing import Checked, Contender, Timed
from bench.verify import file_holds, file_is

if TYPE_CHECKING:
    from stepscope import Trace

__all__ = ["EXPORTS", "EXPORTS_WITH_ARGS", "EXTRA", "FEWER", "HELD", "MILLION", "STEPS", "TORCH", "workload"]

MILLION = 1_000_000
FEWER = 50_000
TORCH, VIZTRACER, PERFETTO = "torch", "viztracer", "perfetto"


def workload(span: Callable[[str], AbstractContextManager[Any]], ops: int) -> None:
    """Record that many spans."""
    for _ in itertools.repeat(None, ops // 10):
        with span("batch"):
            with span("load"):
                pass
            with span("forward"):
                for _ in range(4):
                    with span("layer"):
                        pass
            with span("backward"), span("reduce"):
                pass
            with span("optimizer"):
                pass


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stepscope-bench-") as name:
        yield Path(name)


def _recorded(ops: int) -> Any:
    """A stopped profile with that many spans, sealed and not yet paired."""
    from stepscope import profile, record_function

    with profile() as prof:
        workload(record_function, ops)
    return prof


def _recorded_with_args(ops: int) -> Any:
    """The same with two arguments each."""
    from stepscope import profile, record_function

    with profile() as prof:
        for number in range(ops):
            with record_function("x", a=number, b="text"):
                pass
    return prof


def _file_of(trace: "Trace", path: Path, ops: int) -> Checked:
    """Whether as many spans were recorded as were meant to be, and the file has them."""
    if len(trace) != ops:
        return Checked(ok=False, text=f"{len(trace):,} slices recorded, not {ops:,}")
    return file_is(path, trace)


@contextlib.contextmanager
def _syncs(laps: dict[str, int]) -> Iterator[None]:
    """Write down what os.fsync takes: it is the disk's time, and a peer that leaves it out is not faster for it."""
    fsync = os.fsync

    def timed_fsync(descriptor: int) -> None:
        start = time.perf_counter_ns()
        fsync(descriptor)
        laps["of which fsync"] = laps.get("of which fsync", 0) + time.perf_counter_ns() - start

    with mock.patch.object(os, "fsync", timed_fsync):
        yield


# -- files ----------------------------------------------------------------------------------------------------------


def _export(suffix: str, recorded: Callable[[int], Any] = _recorded) -> Callable[[int], AbstractContextManager[Timed]]:
    """Samples of a whole export: from the sealed records to the renamed file."""

    @contextlib.contextmanager
    def open_export(ops: int) -> Iterator[Timed]:
        from stepscope import write

        laps: dict[str, int] = {}
        with _folder() as folder, _syncs(laps):
            prof, path = recorded(ops), folder / f"run{suffix}"

            def run() -> None:
                start, computed = time.perf_counter_ns(), time.process_time_ns()
                trace = prof.trace
                laps["of which pairing"] = time.perf_counter_ns() - start
                write(trace, path)
                laps["computed, all threads"] = time.process_time_ns() - computed

            yield Timed(run, check=lambda _: _file_of(prof.trace, path, ops), laps=laps)

    return open_export


def _torch_export(suffix: str, *, with_stop: bool) -> Callable[[int], AbstractContextManager[Timed]]:
    @contextlib.contextmanager
    def open_export(ops: int) -> Iterator[Timed]:
        from torch.profiler import record_function

        prof = torch_cpu()
        with _folder() as folder, contextlib.ExitStack() as stack:
            path = folder / f"torch{suffix}"
            stack.enter_context(prof)
            workload(record_function, ops)
            if not with_stop:
                stack.close()

            def run() -> None:
                stack.close()
                prof.export_chrome_trace(str(path))

            yield Timed(run, check=lambda _: file_holds(path, ops))

    return open_export


def _viztracer_save(encoder: str) -> Callable[[int], AbstractContextManager[Timed]]:
    """Samples of viztracer's save: with orjson if it is there, as it is beside us, or without, as a bare install is."""

    @contextlib.contextmanager
    def open_save(ops: int) -> Iterator[Timed]:
        from viztracer import report_builder

        tracer = viz_tracer()
        with _folder() as folder, mock.patch.object(report_builder, "json", importlib.import_module(encoder)):
            path = folder / "viztracer.json"
            tracer.start()
            try:
                workload(tracer.log_event, ops)
                tracer.stop()
                yield Timed(lambda: tracer.save(str(path)), check=lambda _: file_holds(path, ops))
            finally:
                tracer.stop()
                tracer.data = {}
                tracer.clear()

    return open_save


@contextlib.contextmanager
def _perfetto_builder(ops: int) -> Iterator[Timed]:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder

    begin, end = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END
    with _folder() as folder:
        path = folder / "builder.pftrace"

        def run() -> None:
            builder = TraceProtoBuilder()
            track = builder.add_packet().track_descriptor
            track.uuid, track.name = 1, "main"
            for number in range(ops):
                for kind, timestamp in ((begin, number * 1000), (end, number * 1000 + 500)):
                    packet = builder.add_packet()
                    packet.timestamp = timestamp
                    packet.trusted_packet_sequence_id = 1
                    event = packet.track_event
                    event.type, event.track_uuid = kind, 1
                    if kind == begin:
                        event.name = "layer"
            path.write_bytes(builder.serialize())

        yield Timed(run, check=lambda _: file_holds(path, ops))


# -- the step that ends a cycle ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _step(ops: int) -> Iterator[Timed]:
    """The step() that ends a cycle and hands it to trace_handler; every file must be there after stop()."""
    from stepscope import profile, record_function, schedule, trace_handler

    with _folder() as folder:
        handler = trace_handler(folder)
        prof = profile(schedule=schedule(wait=0, warmup=0, active=1, repeat=1), on_trace_ready=handler)

        def check(_: int) -> Checked:
            answers = [file_is(path, prof.trace) for path in handler.paths]
            wrong = [answer.text for answer in answers if not answer.ok]
            if len(answers) != 2 or len(prof.trace) != ops + 1:
                wrong.append(f"{len(answers)} files of {len(prof.trace):,} slices, not 2 of {ops + 1:,}")
            return Checked(not wrong, "; ".join(wrong) or f"2 files, {len(prof.trace):,} slices each")

        prof.start()
        try:
            workload(record_function, ops)
            yield Timed(prof.step, prof.stop, check)
        finally:
            prof.stop()


@contextlib.contextmanager
def _torch_step(ops: int) -> Iterator[Timed]:
    from torch.profiler import record_function, schedule, tensorboard_trace_handler

    with _folder() as folder, contextlib.ExitStack() as stack:
        once = schedule(wait=0, warmup=0, active=1, repeat=1)
        prof = torch_cpu(schedule=once, on_trace_ready=tensorboard_trace_handler(str(folder)))
        stack.enter_context(prof)
        workload(record_function, ops)
        # Its ProfilerStep is a slice too.
        yield Timed(prof.step, stack.close, lambda _: file_holds(next(folder.iterdir()), ops + 1))


# -- memory: the worker reads RSS around run() -------------------------------------------------------------------------


@contextlib.contextmanager
def _hold(ops: int) -> Iterator[Timed]:
    """Record and seal; a small cycle first, so that what is loaded and made once is not counted."""
    from stepscope import profile, record_function, write

    len(_recorded(10).trace)
    prof = profile()

    def run() -> None:
        with prof:
            workload(record_function, ops)

    def check(_: int) -> Checked:
        with _folder() as folder:
            return _file_of(prof.trace, write(prof.trace, folder / "run.pftrace"), ops)

    yield Timed(run, check=check)


def _export_peak(suffix: str) -> Callable[[int], AbstractContextManager[Timed]]:
    @contextlib.contextmanager
    def open_peak(ops: int) -> Iterator[Timed]:
        from stepscope import write

        with _folder() as folder:
            path = folder / f"run{suffix}"
            write(_recorded(10).trace, path)
            prof = _recorded(ops)
            yield Timed(lambda: write(prof.trace, path), check=lambda _: _file_of(prof.trace, path, ops))

    return open_peak


@contextlib.contextmanager
def _torch_hold(ops: int) -> Iterator[Timed]:
    from torch.profiler import record_function

    with torch_cpu():
        workload(record_function, 10)
    prof = torch_cpu()

    def run() -> None:
        with prof:
            workload(record_function, ops)

    yield Timed(run)


@contextlib.contextmanager
def _viztracer_hold(ops: int) -> Iterator[Timed]:
    tracer = viz_tracer()

    def run() -> None:
        tracer.start()
        workload(tracer.log_event, ops)
        tracer.stop()

    yield Timed(run)


def _exports(suffix: str, *peers: Contender) -> tuple[Contender, ...]:
    return (Contender("stepscope", _export(suffix), MILLION, ours=True), *peers)


_VIZTRACER_ORJSON = Contender("viztracer save (orjson)", _viztracer_save("orjson"), FEWER, VIZTRACER)
_VIZTRACER_JSON = Contender("viztracer save (no orjson)", _viztracer_save("json"), FEWER, VIZTRACER)
_TORCH_EXPORT = Contender("torch export .json", _torch_export(".json", with_stop=False), FEWER, TORCH)
_TORCH_STOP = Contender("torch stop + export .json", _torch_export(".json", with_stop=True), FEWER, TORCH)
_BUILDER = Contender("perfetto's builder", _perfetto_builder, FEWER // 2, PERFETTO)

EXPORTS = {
    ".pftrace": _exports(".pftrace", _VIZTRACER_ORJSON, _VIZTRACER_JSON, _TORCH_EXPORT, _TORCH_STOP, _BUILDER),
    ".json": _exports(".json", _VIZTRACER_ORJSON, _VIZTRACER_JSON, _TORCH_EXPORT, _TORCH_STOP),
    ".json.gz": _exports(
        ".json.gz",
        Contender("torch export .json.gz", _torch_export(".json.gz", with_stop=False), FEWER, TORCH),
    ),
}
EXPORTS_WITH_ARGS = tuple(
    Contender(f"stepscope {suffix}", _export(suffix, _recorded_with_args), 4 * FEWER, ours=True)
    for suffix in (".pftrace", ".json")
)
STEPS = (
    Contender("stepscope", _step, MILLION, ours=True),
    Contender("torch tensorboard_trace_handler", _torch_step, FEWER, TORCH),
)
HELD = (
    Contender("stepscope", _hold, MILLION, ours=True),
    Contender("torch", _torch_hold, FEWER * 4, TORCH),
    Contender("viztracer log_event", _viztracer_hold, FEWER * 4, VIZTRACER),
)
EXTRA = tuple(Contender(f"stepscope {suffix}", _export_peak(suffix), MILLION, ours=True) for suffix in EXPORTS)
