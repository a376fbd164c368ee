"""Operators of a framework: what its dispatcher records, with shapes, memory and what its device does."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinyframework
from clock import FakeClock
from conftest import row_named
from stepscope import (
    ProfilerActivity,
    Trace,
    diff,
    ops,
    profile,
    read,
    record_function,
    schedule,
    supported_activities,
    write,
)
from stepscope.analysis.event_list import Events
from stepscope.check import check
from stepscope.model.trace import CUT, Problem, Row, Track
from stepscope.record import devices
from tinyframework import NPU, Device, Sgd, Tensor, backward, dispatch

FORWARD = ["mm", "relu", "mm", "mse"]
BACKWARD = ["ones", "mse_backward", "mm_backward", "relu_backward", "mm_backward"]
STEP = [*FORWARD, *BACKWARD, "sgd_"]
CPU = Device("cpu")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is registered but what a test registers."""
    monkeypatch.setattr(devices, "_REGISTERED", {})
    yield
    NPU.launched.clear()
    NPU.free_at.clear()


@pytest.fixture
def npu() -> None:
    """The framework's device, as the framework registers it."""
    ops.register_device("NPU", allocated_bytes=NPU.memory_allocated, flush=NPU.flush)


def train_step(device: Device) -> float:
    """Forward, backward, optimizer; the loss."""
    first = Tensor([0.5, -0.25, 0.75, 0.5, 0.25, 1.0], (2, 3), device)
    second = Tensor([1.0, 0.5, 0.25], (3, 1), device)
    batch, wanted = Tensor([1.0, 2.0] * 4, (4, 2), device), Tensor([3.0] * 4, (4, 1), device)
    hidden = dispatch("relu", dispatch("mm", batch, first))
    loss: Tensor = dispatch("mse", dispatch("mm", hidden, second), wanted)
    backward(loss)
    Sgd([first, second], 0.01).step()
    return loss.numbers[0]


def operators(trace: Trace) -> list[str]:
    return [row.name for row in trace if row.cat == "cpu_op"]


def args_of(trace: Trace, name: str) -> dict[str, Any]:
    return dict(row_named(trace, name).args)


# -- operators ------------------------------------------------------------------------------------------------------


def test_a_training_step_of_a_framework_is_its_operators_forward_backward_and_optimizer() -> None:
    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=1)) as prof:
        for _ in range(5):
            with record_function("step"):
                train_step(CPU)
            prof.step()

    assert operators(prof.trace) == STEP * 2
    assert prof.trace.problems == ()
    assert {row.key: row.count for row in prof.key_averages()} == {
        "ProfilerStep*": 2, "step": 2, "mm": 4, "relu": 2, "mse": 2, "ones": 2, "mse_backward": 2, "mm_backward": 4,
        "relu_backward": 2, "sgd_": 2,
    }  # fmt: skip


def test_an_operator_is_a_slice_of_its_thread_with_a_number_of_its_own(clock: FakeClock) -> None:
    with profile() as prof:
        clock.at(3)
        outer = ops.enter("outer", "cpu", (), {})
        clock.at(5)
        inner = ops.enter("inner", None)
        numbers = ops.current()
        clock.at(6)
        ops.exit(inner)
        assert ops.current() == numbers - 1
        clock.at(9)
        ops.exit(outer)
        assert ops.current() == 0

    assert [(row.name, row.ts, row.dur, row.cat, row.track.kind, dict(row.args)) for row in prof.trace] == [
        ("outer", 3, 6, "cpu_op", "thread", {"External id": numbers - 1}),
        ("inner", 5, 1, "cpu_op", "thread", {"External id": numbers}),
    ]
    assert [event.external_id for event in prof.events()] == [numbers - 1, numbers]


def test_nothing_is_recorded_but_in_a_window() -> None:
    assert not ops.is_enabled()
    assert ops.enter("before", "no device at all") is None
    seen = []
    with profile(schedule=schedule(wait=1, warmup=1, active=1, repeat=1)) as prof:
        for _ in range(4):
            seen.append(ops.is_enabled())
            ops.exit(ops.enter("op", "cpu"))
            prof.step()
    ops.exit(None)

    assert seen == [False, False, True, False]
    assert operators(prof.trace) == ["op"]
    assert ops.current() == 0


def test_an_operator_that_begins_in_one_window_and_ends_behind_it_is_cut() -> None:
    prof = profile()
    prof.start()
    token = ops.enter("long", "cpu")
    prof.stop()
    ops.exit(token)

    (row,) = prof.trace
    assert (row.name, row.kind, list(row.args)) == ("long", CUT, ["External id"])


def test_operators_of_other_names_and_other_arguments_than_a_dispatcher_passes() -> None:
    with profile() as prof:
        for name in ("", 'say "hi"\\', "nul\0", "x" * 5000):
            ops.exit(ops.enter(name, "cpu"))
    assert operators(prof.trace) == ["[No name]", 'say "hi"\\', "nul\\x00", "x" * 5000]

    with profile():
        with pytest.raises(TypeError):
            ops.enter("name")  # type: ignore[call-arg]
        with pytest.raises(AttributeError, match="exit"):
            ops.exit("no token")


def test_as_many_names_as_there_may_be_are_told_apart() -> None:
    names = [f"op {number}" for number in range(3000)]
    with profile() as prof:
        for name in names * 2:
            ops.exit(ops.enter(name, "cpu"))

    assert operators(prof.trace) == names * 2


# -- devices and activities -----------------------------------------------------------------------------------------


def test_operators_are_recorded_on_the_devices_that_are_asked_for(npu: None) -> None:
    def recorded(activities: Any) -> list[str]:
        with profile(activities=activities) as prof:
            for device in ("cpu", "npu:1", Device("npu"), "cuda", "PrivateUse1", "xpu:3", "mtia", "hpu"):
                ops.exit(ops.enter("op", device))
        return [row.args.get("Device", "cpu") for row in prof.trace]

    both = ["npu:1", "npu:0", "privateuseone:0"]
    assert recorded(None) == ["cpu", "npu:1", "npu:0", "cuda:0", "privateuseone:0", "xpu:3", "mtia:0", "hpu:0"]
    assert recorded([ProfilerActivity.CPU]) == recorded(["cpu"]) == ["cpu"]
    assert recorded([ProfilerActivity.NPU]) == recorded(["NPU"]) == recorded([ProfilerActivity.PrivateUse1]) == both
    assert recorded(["CPU", {ProfilerActivity.NPU: ["kernel"]}]) == ["cpu", *both]


def test_what_can_be_recorded_is_what_is_registered() -> None:
    assert supported_activities() == {ProfilerActivity.CPU}
    ops.register_device("CUDA")
    ops.register_device("npu")
    assert supported_activities() == {ProfilerActivity.CPU, ProfilerActivity.CUDA, ProfilerActivity.PrivateUse1}


def test_a_device_that_there_is_not_is_refused_with_those_there_are() -> None:
    known = r"no kind of device called 'tpu'. Known are CPU, CUDA, XPU, HPU, MTIA, PrivateUse1, NPU"
    with pytest.raises(ValueError, match=f"activities has 'tpu': there is {known}"):
        profile(activities=["cpu", "tpu"])
    with pytest.raises(ValueError, match=known):
        ops.register_device("tpu")
    with profile() as prof:
        with pytest.raises(ValueError, match=known):
            ops.enter("op", "tpu")
        with pytest.raises(ValueError, match="no index behind the colon"):
            ops.enter("op", "cuda:x")
        with pytest.raises(ValueError, match=r"'k' is on npu:0, which is not registered.*register_device\('NPU'\)"):
            ops.device_slice("k", "npu", 0, 1, 2)
        ops.register_device("npu")
        with pytest.raises(ValueError, match=r"work of kind 'copy'\. Use one of 'kernel', 'memcpy', 'memset'"):
            ops.device_slice("k", "npu", 0, 1, 2, kind="copy")
        with pytest.raises(ValueError, match="ends at 1 ns, before it begins at 2 ns"):
            ops.device_slice("k", "npu", 0, 2, 1)
    assert len(prof.trace) == 0


def test_devices_that_are_made_anew_for_every_operator_do_not_fill_memory() -> None:
    with profile() as prof:
        for number in range(1000):
            ops.exit(ops.enter("op", Device("cuda", number)))

    assert [row.args["Device"] for row in prof.trace] == [f"cuda:{number}" for number in range(1000)]


# -- shapes ---------------------------------------------------------------------------------------------------------


def test_shapes_of_inputs_by_place_and_by_name_in_lists_and_mappings() -> None:
    one, two = Tensor([1.0] * 6, (2, 3), CPU), Tensor([1.0], (1,), CPU)
    with profile(record_shapes=True) as prof:
        ops.exit(ops.enter("op", "cpu", (one, [one, two], {"w": one, "no": 1}, 2, None, "text", [1, 2]), {"bias": two}))

    assert args_of(prof.trace, "op") == {
        "External id": args_of(prof.trace, "op")["External id"],
        "Input Dims": [[2, 3], [[2, 3], [1]], {"w": [2, 3]}, "[]", "[]", "[]", "[]", [1]],
        "Input type": ["float32", "TensorList", "GenericDict", "Scalar", "", "", "ScalarList", "float32"],
        "Concrete Inputs": ["", "", "", "2", "", "", "[1, 2]", ""],
        "Kwinputs": {"bias": "Tensor(shape=(1,), dtype=float32)"},
    }


def test_shapes_and_strides_of_arrays_that_are_not_this_frameworks() -> None:
    import numpy

    array = numpy.zeros((4, 6), "int16")
    with profile(record_shapes=True) as prof:
        ops.exit(ops.enter("op", "cpu", (array, array.T[::2], numpy.float64(1.5)), {}))

    args = args_of(prof.trace, "op")
    assert args["Input Dims"] == [[4, 6], [3, 4], "[]"]
    assert args["Input type"] == ["int16", "int16", "float64"]
    assert args["Input Strides"] == [[6, 1], [2, 6], "[]"]


def test_inputs_that_refuse_to_be_looked_at_cost_nothing_but_their_shapes() -> None:
    class Refuses:
        def __getattr__(self, name: str) -> Any:
            raise OSError(name)

    with profile(record_shapes=True) as prof:
        ops.exit(ops.enter("op", "cpu", [Refuses(), Tensor([1.0], (1,), CPU)], {}))

    assert args_of(prof.trace, "op")["Input Dims"] == ["[]", [1]]


def test_averages_tell_operators_of_other_shapes_apart() -> None:
    with profile(record_shapes=True) as prof:
        train_step(CPU)

    averages = prof.key_averages(group_by_input_shape=True)
    products = [(row.key, row.count, row.input_shapes) for row in averages if row.key == "mm"]
    assert products == [("mm", 1, [[4, 2], [2, 3]]), ("mm", 1, [[4, 3], [3, 1]])]
    assert "[[4, 3], [3, 1]]" in averages.table()


def test_flops_are_counted_by_torchs_formulas() -> None:
    image, weight = Tensor([0.0], (8, 3, 32, 30), CPU), Tensor([0.0], (16, 3, 3, 5), CPU)
    batch = Tensor([0.0], (5, 4, 2), CPU), Tensor([0.0], (5, 2, 3), CPU)
    with profile(with_flops=True) as prof:
        train_step(CPU)
        ops.exit(ops.enter("aten::conv2d", "cpu", (image, weight), {"stride": 2, "padding": [1, 2]}))
        ops.exit(ops.enter("aten::bmm", "cpu", batch))
        ops.exit(ops.enter("aten::addmm", "cpu", (batch[0], Tensor([], (4, 2), CPU), Tensor([], (2, 3), CPU)), {}))
        ops.exit(ops.enter("aten::mul", "cpu", (image, 2)))
        ops.exit(ops.enter("mm", "cpu", ("not", "tensors")))

    flops = {row.key: row.flops for row in prof.key_averages() if row.flops}
    assert flops == {
        "mm": 2 * 4 * 2 * 3 + 2 * 4 * 3 * 1,
        "aten::conv2d": 2 * 8 * 16 * 15 * (3 * 5) * 3 * 16,
        "aten::bmm": 2 * 5 * 4 * 2 * 3,
        "aten::addmm": 2 * 4 * 2 * 3,
        "aten::mul": 8 * 3 * 32 * 30,
    }


def changes_of(trace: Trace) -> list[Row]:
    """What was allocated and released on devices."""
    return [row for row in trace if row.name == "[memory]" and "Device" in row.args]


# -- memory ---------------------------------------------------------------------------------------------------------


def test_memory_before_and_after_comes_from_the_allocator_that_is_registered(npu: None) -> None:
    device = Device("npu")
    with profile(profile_memory=True) as prof:
        left, right = Tensor([1.0] * 8, (4, 2), device), Tensor([1.0] * 6, (2, 3), device)
        made = dispatch("mm", left, right)
        more = Tensor([1.0], (1,), device)
        dispatch("relu", made)

    held = 4 * (8 + 6)
    first, second = args_of(prof.trace, "mm"), args_of(prof.trace, "relu")
    assert [first[f"Allocated {when}"] for when in ("before", "after", "delta")] == [held, held + 48, 48]
    assert [second[f"Allocated {when}"] for when in ("before", "after", "delta")] == [held + 52, held + 100, 48]
    told = [(row.args["Bytes"], row.args["Total Allocated"]) for row in changes_of(prof.trace)]
    assert told == [(48, held + 48), (4, held + 52), (48, held + 100)]
    averages = {row.key: row.device_memory_usage for row in prof.key_averages()}
    assert (averages["mm"], averages["relu"]) == (48, 48)
    del more


def test_memory_of_an_operator_is_its_own_and_that_of_those_inside_it(npu: None) -> None:
    with profile(profile_memory=True) as prof:
        outer = ops.enter("outer", "npu")
        NPU.allocated[0] += 100
        inner = ops.enter("inner", "npu")
        NPU.allocated[0] += 7
        ops.exit(inner)
        NPU.allocated[0] -= 50
        ops.exit(outer)
    NPU.allocated[0] = 0

    events = {event.name: event for event in prof.events()}
    outer_event, inner_event = events["outer"], events["inner"]
    assert (outer_event.device_memory_usage, outer_event.self_device_memory_usage) == (57, 50)
    assert (inner_event.device_memory_usage, inner_event.self_device_memory_usage) == (7, 7)


def test_memory_of_the_cpu_is_what_python_allocates_where_nothing_is_registered() -> None:
    import tracemalloc

    assert not tracemalloc.is_tracing()
    kept = []
    with profile(profile_memory=True) as prof:
        for _ in range(2):
            outer = ops.enter("outer", "cpu")
            ops.exit(ops.enter("nothing", "cpu"))
            kept.append(bytearray(100_000))
            ops.exit(outer)

    assert not tracemalloc.is_tracing()
    averages = {row.key: row for row in prof.key_averages()}
    outer_row, nothing = averages["outer"], averages["nothing"]
    assert 200_000 < outer_row.cpu_memory_usage < 210_000
    assert outer_row.self_cpu_memory_usage == outer_row.cpu_memory_usage - nothing.cpu_memory_usage
    assert abs(nothing.cpu_memory_usage) < 5000
    assert changes_of(prof.trace) == []


def test_memory_that_others_trace_is_traced_on() -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with profile(profile_memory=True):
            ops.exit(ops.enter("op", "cpu"))
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_an_allocator_that_fails_is_a_problem_and_the_operator_runs() -> None:
    ops.register_device("NPU", allocated_bytes=lambda index: 1 // index)
    with profile(profile_memory=True) as prof:
        ops.exit(ops.enter("op", "npu"))

    assert operators(prof.trace) == ["op"]
    assert prof.trace.problems == (
        Problem("memory", 2, "the allocator of npu:0 raised ZeroDivisionError: integer division or modulo by zero"),
    )


# -- what devices do ------------------------------------------------------------------------------------------------


def test_what_a_device_does_is_on_its_streams_with_an_arrow_from_the_operator(
    npu: None, clock: FakeClock, tmp_path: Path
) -> None:
    with profile() as prof:
        clock.at(10)
        token = ops.enter("mm", "npu")
        NPU.launch("mm_kernel", 40, stream=7)
        NPU.launch("copy", 5, stream=3, kind="memcpy")
        clock.at(20)
        ops.exit(token)
        NPU.launch("zero", 2, stream=3, kind="memset")
        clock.at(100)

    trace = prof.trace
    number = args_of(trace, "mm")["correlation"]
    assert [(row.name, row.ts, row.dur, row.cat, row.track.name, row.track.kind) for row in trace] == [
        ("mm", 10, 10, "cpu_op", "MainThread", "thread"),
        ("mm_kernel", 11, 40, "kernel", "stream 7 (NPU 0)", "device"),
        ("copy", 11, 5, "gpu_memcpy", "stream 3 (NPU 0)", "device"),
        ("zero", 21, 2, "gpu_memset", "stream 3 (NPU 0)", "device"),
    ]
    assert args_of(trace, "mm") == {"External id": number, "Device": "npu:0", "correlation": number}
    assert args_of(trace, "zero") == {"device": 0, "stream": 3}
    assert args_of(trace, "mm_kernel") == {"device": 0, "stream": 7, "correlation": number, "External id": number}
    arrows = [(trace.flows.flow[at], trace[row].name) for at, row in enumerate(trace.flows.row)]
    assert arrows == [(0, "mm"), (1, "mm"), (0, "mm_kernel"), (1, "copy")]
    assert {trace.strings[name] for name in trace.flows.name} == {"ac2g"}
    for suffix in (".json", ".pftrace"):
        assert read(write(trace, tmp_path / f"npu{suffix}")) == trace


def test_averages_have_columns_for_what_a_device_does(npu: None) -> None:
    with profile() as prof:
        train_step(Device("npu"))

    events = {event.name: event for event in prof.events()}
    product, kernel = events["mse"], events["mse_kernel"]
    assert [(work.name, work.device) for work in product.kernels] == [("mse_kernel", 0)]
    assert kernel.linked_correlation_id == product.external_id
    assert (kernel.device_type.value, product.device_type.value) == (20, 0)
    assert (kernel.device_resource_id, kernel.use_device) == (0, "npu")
    assert product.device_time_total == kernel.device_time_total == kernel.duration_ns / 1000 > 0
    averages = prof.key_averages()
    table = averages.table(sort_by="self_npu_time_total")
    assert table == averages.table(sort_by="self_cuda_time_total") == averages.table(sort_by="self_device_time_total")
    assert "Self NPU %" in table
    assert "Self NPU time total: " in table


def test_work_that_overlaps_on_a_stream_goes_to_lanes(npu: None, clock: FakeClock) -> None:
    with profile() as prof:
        ops.device_slice("one", "npu:2", 1, 10, 20)
        ops.device_slice("two", "npu:2", 1, 15, 30)
        clock.at(50)

    assert [(row.name, row.track.name) for row in prof.trace] == [
        ("one", "stream 1 (NPU 2)"),
        ("two", "stream 1 (NPU 2) (overlap 1)"),
    ]
    assert [event.device_index for event in prof.events()] == [2, 2]


def test_work_at_the_edge_of_the_window_is_cut_and_work_outside_is_said(npu: None, clock: FakeClock) -> None:
    clock.at(100)
    with profile() as prof:
        ops.device_slice("begins before", "npu", 0, 90, 110)
        ops.device_slice("ends behind", "npu", 0, 150, 300)
        ops.device_slice("long ago", "npu", 0, 5, 6)
        clock.at(200)

    base = prof.trace[0].ts
    assert [(row.name, row.ts - base, row.dur, row.kind) for row in prof.trace] == [
        ("begins before", 0, 10, CUT),
        ("ends behind", 50, 50, CUT),
    ]
    where = "from 5 to 6 ns, is outside of the recorded window, 100 to 200 ns by stepscope.ops.now()"
    assert prof.trace.problems[1:] == (Problem("outside", 1, f"'long ago' on npu:0, {where}"),)


@pytest.mark.parametrize(("policy", "kept"), [("stop", [0, 31]), ("ring", [68, 99])])
def test_what_devices_do_is_on_the_budget(npu: None, policy: str, kept: list[int]) -> None:
    with profile(buffer_bytes=1 << 16, buffer_policy=policy) as prof:
        for number in range(100):
            start = ops.now()
            ops.device_slice(f"kernel {number}", "npu", 0, start, start)

    names = [row.name for row in prof.trace]
    assert [names[0], names[-1], len(names)] == [f"kernel {kept[0]}", f"kernel {kept[1]}", 32]
    assert prof.trace.problems == (Problem("dropped", 68, "the memory for what devices did was spent"),)


def test_a_flush_that_fails_is_a_problem_and_what_it_handed_over_is_kept(clock: FakeClock) -> None:
    def flush() -> None:
        ops.device_slice("done", "cuda", 0, 5, 7)
        ops.device_slice("wrong", "cuda", 0, 5, 7.5)  # type: ignore[arg-type]

    ops.register_device("CUDA", flush=flush)
    with profile() as prof:
        clock.at(10)

    assert [row.name for row in prof.trace] == ["done"]
    said = "the flush of CUDA raised TypeError: 'float' object cannot be interpreted as an integer"
    assert prof.trace.problems == (Problem("source", 1, said),)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_the_parents_devices_alone() -> None:
    flushed: list[int] = []
    ops.register_device("CUDA", flush=lambda: flushed.append(os.getpid()))
    with profile():
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write_end, f"{flushed} {ops.is_enabled()} {ops.enter('op', 'cpu')}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read_end, 100) == b"[] False None"
        os.close(read_end)
        os.close(write_end)
    assert flushed == [os.getpid()]


def test_a_device_that_ends_the_profile_when_it_is_asked_costs_nothing_else() -> None:
    class Ends:
        def __init__(self, when: str) -> None:
            self.when = when

        @property
        def type(self) -> str:
            if self.when == "type":
                prof.stop()
            return "cpu"

        def __hash__(self) -> int:
            if self.when == "hash":
                prof.stop()
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    for when in ("type", "hash"):
        prof = profile()
        prof.start()
        ops.exit(ops.enter("before", "cpu"))
        assert ops.enter("op", Ends(when)) is None
        assert not ops.is_enabled()
        assert operators(prof.trace) == ["before"]


def test_work_is_recorded_on_the_devices_that_are_asked_for(npu: None) -> None:
    ops.register_device("CUDA")
    with profile(activities=["CUDA"]) as prof:
        start = ops.now()
        ops.device_slice("on npu", "npu", 0, start, start + 1)
        ops.device_slice("on cuda", "cuda", 0, start, start + 1, args={"grid": [1, 2, 3], "stream": "a user's"})

    (row,) = prof.trace
    assert (row.name, row.args) == ("on cuda", {"grid": [1, 2, 3], "device": 0, "stream": 0})


def test_the_framework_learns(npu: None) -> None:
    """The tiny framework is one: profiled or not, its gradient is right, so the loss falls as calculus says."""
    device = Device("npu")
    weight = Tensor([0.0], (1, 1), device)
    losses = []
    for _ in range(3):
        loss = dispatch("mse", dispatch("mm", Tensor([1.0], (1, 1), device), weight), Tensor([1.0], (1, 1), device))
        backward(loss)
        tinyframework.Sgd([weight], 0.25).step()
        losses.append(loss.numbers[0])

    assert losses == [1.0, 0.25, 0.0625]


def test_tracks_of_devices_have_ids_that_no_thread_has(npu: None) -> None:
    with profile() as prof:
        train_step(Device("npu"))

    thread, stream = prof.trace.tracks
    assert isinstance(stream, Track)
    assert (thread.pid, thread.process, stream.tid) == (stream.pid, stream.process, 1 << 30)


def test_all_that_is_known_of_a_training_step_is_in_both_files(npu: None, tmp_path: Path) -> None:
    with profile(record_shapes=True, with_flops=True, profile_memory=True) as prof:
        for _ in range(2):
            train_step(Device("npu"))

    assert operators(prof.trace) == STEP * 2
    assert [row.name for row in prof.trace if row.track.kind == "device"] == [f"{name}_kernel" for name in STEP * 2]
    assert len(prof.trace.flows.name) == 2 * len(STEP)
    assert changes_of(prof.trace)
    for suffix in (".json", ".pftrace", ".json.gz"):
        path = write(prof.trace, tmp_path / f"step{suffix}")
        assert read(path) == prof.trace
        report = check(path)
        assert (report.problems, report.flows) == ((), 2 * len(STEP))


def test_two_runs_of_the_same_steps_are_the_same_to_diff(npu: None) -> None:
    """Numbers of operators and of what they launch are another in each run."""
    traces = []
    for _ in range(2):
        with profile(record_shapes=True, schedule=schedule(wait=0, warmup=1, active=2, repeat=1)) as prof:
            for _ in range(3):
                for device in (CPU, Device("npu")):
                    train_step(device)
                prof.step()
        traces.append(prof.trace)

    numbers = [{event.external_id for event in Events([trace]) if event.external_id} for trace in traces]
    assert numbers[0].isdisjoint(numbers[1])
    assert [found for found in diff(*traces).findings if found.kind not in ("slower", "faster")] == []


def test_the_operator_of_a_task_is_its_own() -> None:
    """Tasks take turns: what one of them launches is not the work of the operator that another has begun."""
    import asyncio

    async def kernel(name: str, seen: dict[str, int]) -> None:
        token = ops.enter(name, "cpu", (), {})
        began = ops.current()
        await asyncio.sleep(0)
        seen[name] = ops.current()
        assert seen[name] == began
        ops.exit(token)

    async def both(seen: dict[str, int]) -> None:
        await asyncio.gather(kernel("a", seen), kernel("b", seen))

    seen: dict[str, int] = {}
    with profile() as prof:
        asyncio.run(both(seen))

    assert {row.name: row.args["External id"] for row in prof.trace} == seen
    assert {row.track.kind for row in prof.trace} == {"task"}
