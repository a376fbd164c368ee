"""Profiled programs, for the programs that load our files: name -> source; its argument is the folder to write to.

What is added here is loaded by every client.
"""

from strategies import HOSTILE

__all__ = ["HOSTILE_PROGRAM", "PROGRAMS", "TRAINING"]

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

# "demo" is the command of that name. A program with everything that can be recorded at once belongs here too.
PROGRAMS = {"demo": "", "training": TRAINING, "hostile": HOSTILE_PROGRAM, "large": LARGE}
