"""Profiled programs, for the programs that load our files: name -> source; its argument is the folder to write to.

What is added here is loaded by every client.
"""

from strategies import HOSTILE

__all__ = ["EVERYTHING", "HOSTILE_PROGRAM", "PROGRAMS", "TRAINING"]

# Two cycles of two steps, nested operators, a counter, a loader thread; about the smallest program with all of these.
TRAINING = """
import sys, threading, time
from stepscope import counter, flow_end, flow_start, profile, record_function, schedule, trace_handler

def work(us):
    end = time.perf_counter_ns() + 1000 * us
    while time.perf_counter_ns() < end:
        pass

def load(box):
    with record_function("load"):
        work(200)
        box.append(flow_start("batch"))

handler = trace_handler(sys.argv[1], worker_name=(sys.argv + [None])[2], use_gzip="gzip" in sys.argv)
with profile(schedule=schedule(wait=0, warmup=1, active=2, repeat=2), on_trace_ready=handler) as prof:
    for step in range(6):
        box = []
        loader = threading.Thread(target=load, args=(box,), name="loader")
        loader.start()
        loader.join()
        with record_function("forward", batch_size=32):
            flow_end(box[0])
            with record_function("matmul"):
                work(300)
            with record_function("relu"):
                work(100)
        counter("memory", {"used": 1000 * step}, unit="bytes")
        with record_function("backward"):
            work(500)
        prof.step()
"""

# A span, a category, an argument and metadata of each hostile text, and what the loaders keep for themselves.
RESERVED = (
    "ProfilerStep#abc", "ProfilerStep", "ProfilerStep#7", "ProfilerStep #7x", "PyTorch Profiler (0)",
    "Iteration Start: PyTorch Profiler", "Record Window End", "enumerate(DataLoader)#x.__next__", "[memory]",
    "nn.Module: Linear_0", "cudaLaunchKernel", "aten::mm", "DistributedDataParallel.forward",
)  # fmt: skip
RESERVED_ARGS = (
    "stream", "correlation", "External id", "Ev Idx", "Input Dims", "Input dims", "Input type", "Input Strides",
    "Python id", "Python parent id", "Python module id", "Call stack", "Fwd thread id", "Sequence number", "device",
    "Device Id", "Device Type", "Total Allocated", "Total Reserved", "Bytes", "bytes", "Addr", "context",
    "Collective name", "In msg nelems", "Process Group Name", "cbid", "queued", "grid", "block", "kernel",
)  # fmt: skip
HOSTILE_PROGRAM = f"""
import sys
from stepscope import counter, instant, profile, record_function, schedule, trace_handler

HOSTILE = {HOSTILE + RESERVED!r}
ARGS = {HOSTILE + RESERVED_ARGS!r}
handler = trace_handler(sys.argv[1], worker_name=(sys.argv + [None])[2])
with profile(schedule=schedule(wait=0, warmup=1, active=2, repeat=1), on_trace_ready=handler) as prof:
    for text in ARGS:
        prof.add_metadata(text, text)
    for step in range(3):
        for text in HOSTILE:
            with record_function(text, {{text: text}}):
                instant(text)
                counter(text, step, unit=text)
        for text in ARGS:
            for value in (7, -1, 0.5, text, [7, [8]], True, None):
                with record_function("reserved", {{text: value}}):
                    pass
        prof.step()
"""

# 1 M slices in 10 steps.
LARGE = """
import sys
from stepscope import profile, record_function, schedule, trace_handler

handler = trace_handler(sys.argv[1], use_gzip=False)
with profile(schedule=schedule(wait=0, warmup=1, active=10, repeat=1), on_trace_ready=handler) as prof:
    for step in range(11):
        for _ in range(step and 33_333):
            with record_function("outer"):
                with record_function("inner"):
                    pass
                with record_function("other"):
                    pass
        prof.step()
"""

# Everything that can be recorded, at once: calls, stacks, operators, memory, pauses, CPU time, tasks, threads,
# processes, counters, flows, and a device that works on its own.
EVERYTHING = """
import asyncio, gc, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from stepscope import (
    annotate_step, counter, flow_end, flow_start, instant, ops, profile, record_function, schedule, trace_handler,
)

def decode(number, recorded):
    give_up = time.monotonic() + 30
    while ops.is_enabled() != recorded and time.monotonic() < give_up:
        time.sleep(0.001)  # a child notices a little later than its parent that a cycle begins or ends
    with record_function("decode", number=number):
        return sum(range(20_000 + number))

async def fetch(number):
    async with record_function("fetch", number=number):
        await asyncio.sleep(0.001)
        with record_function("parse"):
            await asyncio.sleep(0)
        return number

async def gather():
    return await asyncio.gather(*(fetch(number) for number in range(3)))

def mm(number):
    token = ops.enter("mm", "cpu", (number,), {}) if ops.is_enabled() else None
    try:
        began = ops.now()
        ops.device_slice("mm_kernel", "npu:0", 7, began, began + 20_000, correlation=ops.current())
        return number * number
    finally:
        if token is not None:
            ops.exit(token)

def load(box):
    with record_function("load"):
        box.append(flow_start("batch"))

class Knot:
    def __init__(self):
        self.itself = self

def main():
    ops.register_device("NPU")
    handler = trace_handler(sys.argv[1])
    options = dict(
        with_stack=True, record_stacks=True, record_shapes=True, profile_memory=True, record_gc=True,
        with_cpu_time=True, record_tasks=True, children=True,
    )
    when = schedule(wait=0, warmup=1, active=2, repeat=1)
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        with profile(schedule=when, on_trace_ready=handler, **options) as prof:
            for step in range(4):
                annotate_step(step=step)
                box = []
                loader = threading.Thread(target=load, args=(box,), name="loader")
                loader.start()
                loader.join()
                with record_function("forward", batch_size=32):
                    flow_end(box[0])
                    mm(step)
                list(pool.map(decode, range(2), [ops.is_enabled()] * 2))
                asyncio.run(gather())
                Knot()
                gc.collect()
                instant("collected", step=step)
                counter("loss", 1 / (step + 1))
                prof.step()

if __name__ == "__main__":
    main()
"""

# "demo" is the command of that name.
PROGRAMS = {
    "demo": "",
    "training": TRAINING,
    "hostile": HOSTILE_PROGRAM,
    "everything": EVERYTHING,
    "large": LARGE,
}
