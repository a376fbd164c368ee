"""Events: a trace's slices under torch's names; test_torch_averages holds them to torch."""

from itertools import pairwise

import pytest

from stepscope.analysis.averages import key_averages
from stepscope.analysis.event_list import Events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin
from test_averages import one_track, steps_of_two_kinds


def test_events_are_slices_with_their_parents_and_children() -> None:
    events = Events([steps_of_two_kinds()])
    step, work, wait = (
        next(event for event in events if event.name == name) for name in ("ProfilerStep*", "work", "wait")
    )
    inner = work.cpu_children[0]

    assert len(events) == 7
    assert (step.trace_name, step.cpu_parent, step.cpu_children) == ("ProfilerStep#0", None, [work])
    assert (work.cpu_parent, inner.trace_name, inner.cpu_parent) == (step, "wait", work)
    assert (wait.thread, wait.time_range.elapsed_us()) == (9, 3.0)
    assert (work.start_ns, work.end_ns, work.duration_ns, dict(work.args)) == (1_000, 5_000, 4_000, {"n": 0})
    assert (work.category, work.is_user_annotation, work.count) == ("user_annotation", True, 1)
    assert (work.cpu_time_total, work.self_cpu_time_total, work.cpu_time_str) == (4.0, 3.0, "4.000us")


def test_events_are_a_sequence_of_views_over_all_traces() -> None:
    events = Events([steps_of_two_kinds(), one_track(), one_track(("f", 0, 1), ("g", 0, 1))])

    assert [event.trace_name for event in events[6:]] == ["wait", "f", "g"]
    assert (events[-1], events[8].name, len(events)) == (events[8], "g", 9)
    assert [events[at] for at in range(len(events))] == list(events)
    assert all(one.start_ns <= two.start_ns for one, two in pairwise(events[:7]))
    assert events[3] in events
    for place in (9, -10):
        with pytest.raises(IndexError, match="there are 9"):
            events[place]
    assert repr(events) == "<Events: 9 of 3 traces>"
    assert str(events) == events.table()
    lines = events.table(sort_by="duration_ns", row_limit=2, header="longest").splitlines()
    assert (lines[1], [line.split()[0] for line in lines[5:7]]) == ("longest", ["ProfilerStep*", "ProfilerStep*"])


def test_an_events_scope_and_whether_it_is_async_are_what_the_file_says() -> None:
    builder = TraceBuilder()
    main = builder.thread(7, 8, "main")
    builder.slice(main, "mine", 0, 9)
    builder.slice(main, "aten::linear", 1, 2, cat="cpu_op", args={"Sequence number": 3, "Fwd thread id": 0})
    for name, start, dur in (
        ("autograd::engine::evaluate_function: AddmmBackward0", 4, 4),
        ("AddmmBackward0", 5, 2),
        ("aten::mm", 6, 1),
    ):
        builder.slice(main, name, start, dur, cat="cpu_op", args={"Sequence number": 3, "Fwd thread id": 1})
    builder.slice(builder.thread(7, 0, "request", kind="async"), "request", 5, 90, cat="net")
    builder.slice(main, "overlaps", 8, 9, cat="net")
    events = Events([builder.build()])

    # As torch 2.13 says of the same program.
    assert {event.name: (event.scope, event.is_async) for event in events} == {
        "mine": (7, False),
        "aten::linear": (0, False),
        "autograd::engine::evaluate_function: AddmmBackward0": (0, False),
        "AddmmBackward0": (1, False),
        "aten::mm": (0, False),
        "request": (0, True),
        "overlaps": (0, False),
    }


def test_an_event_has_torchs_attributes_and_reads_like_a_mapping() -> None:
    builder = TraceBuilder(Origin(pid=7, rank=2))
    track = builder.thread(7, 8, "main", "p")
    args = {
        "External id": 5, "Sequence number": 3, "Fwd thread id": 1, "Input Dims": [[2], [], [[1], []]],
        "Input Strides": [[1], []], "Input type": ["float", ""], "Concrete Inputs": ["", "4"], "Python id": 9,
        "Python parent id": None, "Kwinputs": {"dim": 1},
    }  # fmt: skip
    builder.slice(track, "ProfilerStep#4", 0, 99)
    builder.slice(track, "aten::add", 1, 9, cat="cpu_op", args=args)
    (step, add), plain = Events([builder.build()]), Events([one_track(("f", 0, 1))])[0]

    assert (add.external_id, add.sequence_nr, add.fwd_thread, add.linked_correlation_id) == (5, 3, 1, 0)
    assert (add.input_shapes, add.structured_input_shapes) == ([[2], [], []], [[2], [], [[1], "[]"]])
    assert (add.input_dtypes, add.concrete_inputs) == (["float", ""], ["", "4"])
    assert (add.structured_input_strides, dict(add.kwinputs)) == ([[1], []], {"dim": 1})
    assert (add.python_id, add.python_parent_id, add.python_module_id) == (9, -1, -1)
    assert (add.step, add.rank, add.activity_type, add.is_user_annotation) == (4, 2, "cpu_op", False)
    assert (plain.external_id, plain.sequence_nr, plain.input_shapes, plain.step) == (0, -1, [], None)
    assert (plain.stack, plain.kernels, plain.flops, plain.use_device) == ([], [], 0, None)
    assert (plain.device_type.name, plain.device_index, plain.device_resource_id) == ("CPU", 0, 8)
    assert (plain.cuda_time_total, plain.self_cuda_time_total, plain.is_async, plain.node_id) == (0.0, 0.0, False, -1)
    facts = dict(step)
    assert {name: facts[name] for name in ("kind", "step", "start_ns", "end_ns", "duration_ns", "thread_id")} == {
        "kind": "user_annotation", "step": 4, "start_ns": 0, "end_ns": 99, "duration_ns": 99, "thread_id": 8,
    }  # fmt: skip
    assert (add["trace_name"], add["device_type"].value) == ("aten::add", 0)
    for missing in ("speed", "_tree"):
        with pytest.raises(KeyError):
            add[missing]
    assert repr(add) == "<FunctionEvent 'aten::add' id=1 thread=8 start_ns=1 duration_ns=9>"
    assert {add, Events([one_track(("f", 0, 1))])[0], plain, step} - {plain, step} != {add}


def test_an_event_knows_its_flow_and_what_its_device_says() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    rows = [
        builder.slice(track, name, ts, 5, cat="kernel", args={"grid": [4, 1, 1], "stream": 7})
        for name, ts in (("a", 0), ("b", 9))
    ]
    builder.slice(track, "c", 20, 5)
    builder.flow("fwdbwd", rows)
    a, b, c = Events([builder.build()])

    assert [(event.flow_id, event.flow_type, event.flow_start) for event in (a, b, c)] == [
        (1, 1, True),
        (1, 1, False),
        (0, 0, False),
    ]
    assert (a.event_metadata.grid, a.event_metadata.stream, a.event_metadata.rank) == ([4, 1, 1], 7, None)
    assert (a.device_resource_id, a.device_type.name, a.use_device, a.cpu_time_total, a.device_time_total) == (
        7, "CUDA", "cuda", 0.0, 0.005,
    )  # fmt: skip
    assert c.event_metadata is None
    assert (a.metadata_json, c.metadata_json) == ('{"grid":[4,1,1],"stream":7}', "{}")


def test_what_torch_leaves_out_is_its_parents_own_time() -> None:
    slices = ("aten::to", 0, 100), ("aten::is_leaf", 10, 50), ("aten::copy_", 20, 10)
    averages = key_averages([one_track(*slices, cat="cpu_op")])

    assert [(row.key, row.self_ns) for row in averages] == [("aten::to", 90), ("aten::copy_", 10)]
    assert averages[1].cpu_parent == averages[0].first


def test_the_frame_that_kineto_draws_around_everything_is_no_event() -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.slice(builder.thread(7, 8, "PyTorch Profiler", "Spans"), "PyTorch Profiler (0)", 0, 100, cat="Trace")

    assert list(Events([builder.build()])) == []


def test_an_allocation_belongs_to_the_event_around_it_on_its_thread() -> None:
    """torch gives it to whatever runs then on other threads too, and so counts it twice: on purpose not here."""
    builder = TraceBuilder(Origin(pid=7))
    main, other = (builder.thread(7, tid, f"thread {tid}", "p") for tid in (8, 9))
    builder.slice(main, "outer", 0, 100)
    builder.slice(main, "inner", 10, 20)
    builder.slice(other, "elsewhere", 0, 100)
    for ts, size in ((15, 512), (50, -500)):
        builder.instant(main, "[memory]", ts, args={"Bytes": size, "Device Type": 0})
    events = {event.name: event for event in Events([builder.build()])}

    assert {name: (event.cpu_memory_usage, event.self_cpu_memory_usage) for name, event in events.items()} == {
        "outer": (12, -500),
        "inner": (512, 512),
        "elsewhere": (0, 0),
    }


def test_a_devices_copy_of_an_annotation_is_no_work_of_the_annotation() -> None:
    """torch adds it to the kernels that are in it: on purpose not here."""
    builder = TraceBuilder(Origin(pid=7))
    main, stream = builder.thread(7, 8, "main", "p"), builder.thread(0, 9, "stream 7", "GPU 0")
    builder.slice(main, "forward", 0, 100, args={"External id": 1})
    builder.slice(main, "add", 10, 20, cat="cpu_op", args={"External id": 2})
    builder.slice(stream, "forward", 20, 60, cat="gpu_user_annotation", args={"External id": 1})
    builder.slice(stream, "kernel", 30, 7, cat="kernel", args={"External id": 2})
    forward, add, copy, kernel = Events([builder.build()])
    table = key_averages([forward._tree.trace]).table().splitlines()  # noqa: SLF001 - the same trace

    assert [event.device_time_total for event in (forward, add, copy, kernel)] == [0.007, 0.007, 0.06, 0.007]
    assert [event.self_device_time_total for event in (forward, add, copy, kernel)] == [0.0, 0.007, 0.06, 0.007]
    assert [(one.name, one.duration) for one in add.kernels] == [("kernel", 0.007)]
    assert table[-1] == "Self CUDA time total: 0.007us"
