"""The oracle of averages: what torch's EventList makes of given events, asked of torch itself.

The events are those of fixtures/torch-2.13/events.json: two recorded runs, and some made by hand. They go into torch as
its profiler puts them there, and its own code finds parents, groups, and prints. Holds none of our own behaviour.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_oracle import VERSION, Record

EVENTS = Path(__file__).parent.parent / "fixtures" / f"torch-{VERSION}" / "events.json"
# Times are whole multiples of this: means of them have no digit that rounding could decide either way.
GRAIN_NS = 64
DEVICE_CATEGORIES = ("kernel", "gpu_memcpy", "gpu_memset", "gpu_user_annotation")

# What is asked of the events of each case: a call's arguments, and those of its table.
# Sorted tables end before the first tie: which row comes first there, float noise says in torch.
CALLS: tuple[tuple[str, Record, Record], ...] = (
    ("ops", {}, {"row_limit": -1}),
    ("ops", {}, {"sort_by": "self_cpu_time_total", "row_limit": 7, "header": "ops"}),
    ("ops", {}, {"sort_by": "count", "row_limit": 5, "time_unit": "ms", "max_name_column_width": 20}),
    ("ops", {}, {"sort_by": "cpu_memory_usage", "top_level_events_only": True, "time_unit": "us"}),
    (
        "ops",
        {"group_by_input_shape": True},
        {"sort_by": "cpu_time_total", "row_limit": 9, "max_shapes_column_width": 30},
    ),
    ("ops", {"group_by_input_shape": True}, {"row_limit": -1, "time_unit": "s"}),
    ("calls", {}, {"sort_by": "self_cpu_time_total", "row_limit": 10}),
    ("calls", {"group_by_stack_n": 3}, {"sort_by": "cpu_time", "row_limit": 12, "max_src_column_width": 40}),
    ("calls", {"group_by_stack_n": 1, "group_by_input_shape": True}, {"row_limit": 30}),
    ("nested", {}, {}),
    ("device", {}, {"sort_by": "self_cuda_time_total"}),
    ("device", {"group_by_overload_name": True}, {}),
    ("stolen", {}, {}),
)
FIGURES = (
    "key", "count", "cpu_time_total", "self_cpu_time_total", "device_time_total", "self_device_time_total", "cpu_time",
    "cpu_memory_usage", "self_cpu_memory_usage", "device_memory_usage", "self_device_memory_usage",
    "is_user_annotation", "node_id",
)  # fmt: skip


def events_of(case: str) -> list[Record]:
    """The events of a case: cat, name, tid, ts, dur, args; times in ns, dur missing for instants."""
    found: list[Record] = json.loads(EVENTS.read_text(encoding="utf-8"))
    return [event for event in found if event["case"] == case]


def averages() -> list[Record]:
    """What torch says of each case, then of each call: its rows, figure by figure, and its table."""
    cases = dict.fromkeys(case for case, _, _ in CALLS)
    lists = {case: event_list(events_of(case)) for case in cases}
    some = lists["ops"]
    names = {"case": "ops", "event": _names(some[0]), "row": _names(some.key_averages()[0])}
    return [*map(_of_case, lists.items()), *(_of_call(lists[call[0]], *call) for call in CALLS), names]


def _names(thing: Any) -> list[str]:
    """Its public attributes; not those that are for torch's own use while it makes or prints one."""
    own_use = {"append_cpu_child", "append_kernel", "set_cpu_parent"}
    return sorted(
        name
        for name in dir(thing)
        if not name.startswith("_") and not name.endswith("_percent") and name not in own_use
    )


def _of_case(case: tuple[str, Any]) -> Record:
    name, events = case
    total = events.total_average()
    return {
        "case": name,
        "events": [
            [each.trace_name or each.name, each.cpu_parent and each.cpu_parent.name, _plain(each.self_cpu_time_total)]
            for each in events
        ],
        "total": {figure: _plain(getattr(total, figure)) for figure in FIGURES[:6]},
        "self_cpu_time_total": _plain(events.self_cpu_time_total),
        "stacks": _stacks(events),
    }


def _of_call(events: Any, case: str, call: Record, look: Record) -> Record:
    asked = {"group_by_input_shapes" if name == "group_by_input_shape" else name: call[name] for name in call}
    rows = events.key_averages(**asked)
    return {
        "case": case,
        "call": call,
        "look": look,
        "rows": [[_plain(getattr(row, figure)) for figure in FIGURES] for row in rows],
        "table": rows.table(**look).splitlines(),
    }


def _plain(value: Any) -> Any:
    """Times to the ns: what is beyond is the noise of adding floats."""
    return round(value, 3) if isinstance(value, float) else value


def _stacks(events: Any) -> list[str]:
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as file:
        events.export_stacks(file.name, "self_cpu_time_total")
        return file.read().splitlines()


def event_list(given: list[Record]) -> Any:
    """torch's EventList of some events, as torch.autograd.profiler makes it of its engine's."""
    from torch.autograd.profiler_util import MEMORY_EVENT_NAME, EventList

    slices = [event for event in given if "dur" in event]
    memory = [event for event in given if event["name"] == MEMORY_EVENT_NAME]
    device = "cuda" if any(event["cat"] in DEVICE_CATEGORIES for event in slices) else None
    made, inside = [], set()
    linked: defaultdict[int, list[Any]] = defaultdict(list)
    for number, event in enumerate(slices):
        on_device = event["cat"] in DEVICE_CATEGORIES
        during = [
            at
            for at, record in enumerate(memory)
            if not on_device and event["ts"] <= record["ts"] <= event["ts"] + event["dur"]
        ]
        inside.update(during)
        made.append(_function_event(number, event, [memory[at] for at in during], device))
        if on_device:
            linked[event["args"].get("External id", 0)].append(made[-1])
    for event, function_event in zip(slices, made, strict=True):
        if event["cat"] not in DEVICE_CATEGORIES and not event["cat"].endswith("_runtime"):
            for work in linked.get(event["args"].get("External id", 0), []):
                function_event.append_kernel(work.name, work.device_index, work.time_range.elapsed_us())
    loose = [record for at, record in enumerate(memory) if at not in inside]
    made += [_function_event(len(made), {**record, "dur": 0}, [record], device) for record in loose]
    made.sort(key=lambda event: [event.time_range.start, -event.time_range.end])
    events = EventList(made, use_device=device, profile_memory=bool(memory), with_flops=False)
    events._build_tree()  # noqa: SLF001 - as torch's profiler does
    return events


def _function_event(number: int, event: Record, memory: list[Record], device: str | None) -> Any:
    from torch.autograd import DeviceType
    from torch.autograd.profiler_util import FunctionEvent, _filter_stack_entry, _rewrite_name

    args = event["args"]
    on_device = event["cat"] in DEVICE_CATEGORIES
    shapes = [[] if any(isinstance(size, list) for size in shape) else shape for shape in args.get("Input Dims", [])]
    amounts = [0, 0]
    for record in memory:
        amounts[record["args"]["Device Type"] != 0] += record["args"]["Bytes"]
    return FunctionEvent(
        id=number,
        name=_rewrite_name(event["name"], with_wildcard=True),
        trace_name=event["name"],
        overload_name=args.get("Overload name", ""),
        thread=event["tid"],
        start_us=event["ts"] / 1000,
        end_us=(event["ts"] + event["dur"]) / 1000,
        input_shapes=shapes,
        stack=[frame for frame in args.get("Call stack", "").split(";") if frame and _filter_stack_entry(frame)],
        use_device=device,
        cpu_memory_usage=amounts[0],
        device_memory_usage=amounts[1],
        device_type=DeviceType.CUDA if on_device else DeviceType.CPU,
        is_user_annotation=event["cat"] in ("user_annotation", "gpu_user_annotation"),
    )


# -- the events ----------------------------------------------------------------------------------------------


def record() -> list[Record]:
    """The events of all cases: two runs recorded now, and those made by hand. No two recordings are the same."""
    runs = (("ops", False), ("calls", True))
    recorded = [{"case": case, **event} for case, with_stack in runs for event in _recorded(with_stack)]
    return [*recorded, *_by_hand()]


def _by_hand() -> Iterator[Record]:
    def event(kind: tuple[str, str], name: str, tid: int, time: tuple[int, ...], **args: Any) -> Record:
        times = dict(zip(("ts", "dur"), (at * 1024 for at in time), strict=False))
        return {"case": kind[0], "cat": kind[1], "name": name, "tid": tid, **times, "args": args}

    # An only child of its parent's name is one event with it; equal intervals; a name torch leaves out.
    for tid in (5, 6):
        yield event(("nested", "user_annotation"), "f", tid, (0, 100))
        yield event(("nested", "user_annotation"), "f", tid, (10, 80))
        yield event(("nested", "user_annotation"), "f", tid, (20, 50))
        yield event(("nested", "user_annotation"), "g", tid, (30, 10))
        yield event(("nested", "user_annotation"), "f", tid, (45, 5))
        yield event(("nested", "user_annotation"), "same", tid, (200, 8))
        yield event(("nested", "cpu_op"), "same too", tid, (200, 8))
    yield event(("nested", "user_annotation"), "ProfilerStep#3", 7, (300, 100))
    yield event(("nested", "user_annotation"), "ProfilerStep#4", 7, (400, 50))
    yield event(("nested", "cpu_instant_event"), "[memory]", 9, (500,), Bytes=4096, **{"Device Type": 0})
    # Work of a device, given by operators and by nobody; its memory; overloads.
    add = {"External id": 11, "Overload name": "Tensor"}
    yield event(("device", "user_annotation"), "forward", 5, (0, 200), **{"External id": 10})
    yield event(("device", "cpu_op"), "aten::add", 5, (10, 80), **add)
    yield event(("device", "cuda_runtime"), "cudaLaunchKernel", 5, (20, 10), **{"External id": 11, "correlation": 1})
    yield event(("device", "cpu_op"), "aten::add", 5, (100, 40), **{"External id": 12, "Overload name": "out"})
    yield event(("device", "cpu_instant_event"), "[memory]", 5, (15,), Bytes=1 << 21, **{"Device Type": 1})
    yield event(("device", "cpu_instant_event"), "[memory]", 5, (110,), Bytes=512, **{"Device Type": 0})
    yield event(("device", "gpu_user_annotation"), "forward", 77, (40, 170))
    yield event(("device", "kernel"), "add_kernel", 77, (40, 64), **{"External id": 11, "stream": 7, "device": 0})
    yield event(("device", "gpu_memcpy"), "Memcpy HtoD", 77, (120, 16), **{"External id": 12, "stream": 7, "device": 0})
    yield event(("device", "kernel"), "add_kernel", 77, (140, 32), **{"External id": 12, "stream": 7, "device": 0})
    # A slice that overruns its parent: torch forgets the parent, and so its later children.
    yield event(("stolen", "user_annotation"), "outer", 5, (0, 100))
    yield event(("stolen", "user_annotation"), "overrun", 5, (80, 40))
    yield event(("stolen", "user_annotation"), "child", 5, (90, 5))


TRAINING = """
def make(torch):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))

def forward(torch, model):
    return model(torch.randn(16, 32)).sum()

def step(torch, model):
    loss = forward(torch, model)
    loss.backward()
    model.zero_grad()
"""


def _recorded(with_stack: bool) -> list[Record]:
    """A few steps of a small model, as torch writes them: with annotations, or with the calls around operators.

    Not both: torch's annotations overlap the calls that open them.
    """
    import torch
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity, profile, record_function, schedule

    program: dict[str, Any] = {}
    exec(compile(TRAINING, "train.py", "exec"), program)  # noqa: S102 - a file name without a folder in its stacks
    model = program["make"](torch)
    program["step"](torch, model)
    profiler = profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=True,
        with_stack=with_stack,
        schedule=None if with_stack else schedule(wait=0, warmup=1, active=2, repeat=1),
        experimental_config=_ExperimentalConfig(verbose=with_stack),
    )
    with tempfile.TemporaryDirectory() as folder:
        with profiler:
            for _ in range(1 if with_stack else 3):
                if with_stack:
                    program["step"](torch, model)
                else:
                    with record_function("train"):
                        program["step"](torch, model)
                    profiler.step()
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        written: list[Record] = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return list(_coarse(written))


def _coarse(written: list[Record]) -> Iterator[Record]:
    """The slices and allocations, in whole grains since the first; without ids, and folders of this machine."""
    kept = [event for event in written if "dur" in event or event["name"] == "[memory]"]
    kept = [event for event in kept if event["cat"] != "Trace"]
    coarse = _coarse_times(kept)
    shown = ("Input Dims", "Call stack", "Bytes", "Total Allocated", "Device Type", "Device Id")
    for event in sorted(kept, key=lambda event: (event["ts"], -event.get("dur", 0))):
        args = {name: event["args"][name] for name in shown if name in event["args"]}
        if "Call stack" in args:
            args["Call stack"] = ";".join(map(_without_folders, args["Call stack"].split(";")))
        begin, end = (coarse[time] for time in _ns(event))
        span = {"dur": end - begin} if "dur" in event else {}
        yield {
            "cat": event["cat"], "name": _without_folders(event["name"]), "tid": 7, "ts": begin, **span, "args": args,
        }  # fmt: skip


def _ns(event: Record) -> tuple[int, int]:
    begin = round(event["ts"] * 1000)
    return begin, begin + round(event.get("dur", 0) * 1000)


def _coarse_times(events: list[Record]) -> dict[int, int]:
    """Each time in whole grains since the first; what was apart stays apart, and in its order."""
    coarse: dict[int, int] = {}
    times = sorted({time for event in events for time in _ns(event)})
    last = -GRAIN_NS
    for time in times:
        last = coarse[time] = max(last + GRAIN_NS, (time - times[0]) // GRAIN_NS * GRAIN_NS)
    return coarse


def _without_folders(frame: str) -> str:
    """A call without the folders of this machine, and an object without its address."""
    frame = frame.rpartition("/")[2] if frame.startswith("/") else frame
    return frame.partition(" object at 0x")[0] + ">" if " object at 0x" in frame else frame
