"""Averages: torch's names for what the columns say, and what torch lacks; test_torch_averages holds them to torch."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import pytest

from stepscope import AnalysisError, ExportError, StepscopeWarning
from stepscope.analysis.average import InStep
from stepscope.analysis.averages import key_averages
from stepscope.analysis.event_list import Events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace


def steps_of_two_kinds(rank: int = 0) -> Trace:
    """Two steps of 10 us, each with 4 us of work and, in that, 1 us of waiting; an instant; a slice that is cut."""
    builder = TraceBuilder(Origin(pid=7, rank=rank))
    track = builder.thread(7, 8, "main", "p")
    for number in range(2):
        at = number * 20_000
        builder.slice(track, f"ProfilerStep#{number}", at, 10_000)
        builder.slice(track, "work", at + 1_000, 4_000, args={"n": number})
        builder.slice(track, "wait", at + 2_000, 1_000)
        builder.instant(track, "mark", at + 2_500)
    builder.slice(builder.thread(7, 9, "other", "p"), "wait", 0, 3_000, cut=True)
    return builder.build()


def one_track(*slices: tuple[str, int, int], **options: Any) -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for name, ts, dur in slices:
        builder.slice(track, name, ts, dur, **options)
    return builder.build()


def test_rows_are_grouped_by_name_with_torchs_sums() -> None:
    rows = {
        row.key: (row.count, row.cpu_time_total, row.self_cpu_time_total, row.cpu_time_min, row.cpu_time_max)
        for row in key_averages([steps_of_two_kinds()])
    }

    assert rows == {
        "ProfilerStep*": (2, 20.0, 12.0, 10.0, 10.0),
        "work": (2, 8.0, 6.0, 4.0, 4.0),
        "wait": (3, 5.0, 5.0, 1.0, 3.0),
    }


def test_the_table_says_what_is_not_as_it_was() -> None:
    table = key_averages([steps_of_two_kinds()]).table(sort_by="self_cpu_time_total", row_limit=2)
    rule = "-----------------  ------------  ------------  ------------  ------------  ------------  ------------  "

    assert table.splitlines() == [
        rule,
        "             Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls  ",
        rule,
        "    ProfilerStep*        52.17%      12.000us        86.96%      20.000us      10.000us             2  ",
        "             work        26.09%       6.000us        34.78%       8.000us       4.000us             2  ",
        rule,
        "Self CPU time total: 23.000us",
        "1 cut: 'wait' was open at the edge of what was recorded",
    ]


def test_all_rows_are_shown_with_a_limit_of_minus_one_and_names_stay_on_their_line() -> None:
    averages = key_averages([one_track(*((f"line\nbreak \x1b[31mé {number}", number * 2, 1) for number in range(120)))])

    assert len(averages.table().splitlines()) == 100 + 5
    assert len(averages.table(row_limit=-1).splitlines()) == 120 + 5
    assert len(averages.table(row_limit=0).splitlines()) == 5
    assert "line\\nbreak \\x1b[31mé 0" in averages.table()


def test_columns_are_as_wide_as_what_is_in_them_where_no_limit_is_set() -> None:
    name = "a" * 70
    averages = key_averages([one_track((name, 0, 9))])

    assert f"{name[:52]}..." in averages.table()
    assert name in averages.table(max_name_column_width=None)


def test_an_unknown_sort_key_is_an_attribute_error_that_names_the_known() -> None:
    averages = key_averages([steps_of_two_kinds()])
    with pytest.raises(AttributeError, match=r"cannot sort by 'speed'\. Use one of key, count, cpu_time,"):
        averages.table(sort_by="speed")
    with pytest.raises(AttributeError, match="cannot sort by 'rank'"):
        averages.table(sort_by="rank")

    lines = averages.table(sort_by="privateuse1_time_total").splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["ProfilerStep*", "wait", "work"]


def test_an_unknown_unit_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"time_unit must be one of 's', 'ms', 'us', or None, got 'ns'"):
        key_averages([steps_of_two_kinds()]).table(time_unit="ns")


def test_no_slices_make_an_empty_table() -> None:
    averages = key_averages([TraceBuilder().build()])

    assert "Self CPU time total: 0.000us" in averages.table()
    assert (list(averages), averages.self_cpu_time_total, averages.total_average().count) == ([], 0.0, 0)
    assert "NaN" in key_averages([one_track(("nothing", 0, 0))]).table()


def test_averages_are_a_list() -> None:
    averages = key_averages([steps_of_two_kinds()])

    assert isinstance(averages, list)
    assert [row.key for row in averages] == ["ProfilerStep*", "wait", "work"]
    assert [row.key for row in sorted(averages, key=lambda row: row.count)][-1] == "wait"
    assert averages[0] in averages
    assert (len(averages), averages[1].key, [row.key for row in averages[:1]]) == (3, "wait", ["ProfilerStep*"])
    assert str(averages) == averages.table()


def test_totals_are_those_of_all_rows() -> None:
    averages = key_averages([steps_of_two_kinds(), steps_of_two_kinds()])
    total = averages.total_average()

    assert averages.self_cpu_time_total == 46.0
    assert (total.key, total.count, total.cpu_time_total, total.self_cpu_time_total) == ("Total", 14, 66.0, 46.0)
    assert (total.cpu_time_max, total.cpu_time_total_str) == (10.0, "66.000us")


def test_rows_of_one_key_are_added_up() -> None:
    one, two = (key_averages([one_track(("f", 0, dur))])[0] for dur in (3_000, 5_000))
    one += two
    one.add(Events([one_track(("f", 0, 1_000))])[0])

    assert (one.count, one.cpu_time_total, one.cpu_time, one.cpu_time_median) == (3, 9.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="the row is of 'f', the other one of 'g'"):
        one.add(key_averages([one_track(("g", 0, 1))])[0])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 1000])
def test_percentiles_are_numpys(count: int) -> None:
    chance = random.Random(count)  # noqa: S311 - the same every time
    durs = [chance.randrange(1, 10**9) for _ in range(count)]
    halves = durs[: count // 2], durs[count // 2 :]
    traces = [one_track(*(("f", number << 31, dur) for number, dur in enumerate(half))) for half in halves]
    (row,) = key_averages(traces)

    for percent in (0, 1, 50, 95, 99.9, 100):
        assert row.percentile(percent) == pytest.approx(numpy.percentile(durs, percent) / 1000, rel=1e-12)
    assert (row.cpu_time_median, row.cpu_time_p95) == (row.percentile(50), row.percentile(95))
    assert (row.cpu_time_min, row.cpu_time_max) == (min(durs) / 1000, max(durs) / 1000)
    for percent in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="percent must be from 0 to 100"):
            row.percentile(percent)


def test_the_table_shows_the_spread_and_the_steps_where_asked() -> None:
    table = key_averages([steps_of_two_kinds()]).table(stats=True, per_step=True, time_unit="us").splitlines()
    titles = "CPU time avg|Median|p95|Max|# of Calls|Calls/step|CPU/step|Step %"
    wait = "1.667us|1.000us|2.800us|3.000us|3|1.50|2.500us|25.00%"

    assert [title.strip() for title in table[1].split("  ") if title.strip()][5:] == titles.split("|")
    assert table[4].split()[5:] == wait.split("|")


def test_what_begins_in_a_step_is_of_that_step_on_whatever_thread() -> None:
    rows = {row.key: row for row in key_averages([steps_of_two_kinds()])}

    assert rows["wait"].steps == {0: InStep(2, 4.0), 1: InStep(1, 1.0)}
    assert (rows["wait"].count_per_step, rows["wait"].cpu_time_per_step, rows["wait"].step_share) == (1.5, 2.5, 0.25)
    assert rows["ProfilerStep*"].step_share == 1.0
    outside = key_averages([one_track(("ProfilerStep#1", 0, 10), ("f", 3, 2), ("f", 10, 5))])[1]
    assert (outside.steps, outside.count) == ({1: InStep(1, 0.002)}, 2)
    none = key_averages([one_track(("f", 0, 5))])[0]
    assert (none.steps, none.count_per_step, none.cpu_time_per_step, none.step_share) == ({}, 0.0, 0.0, 0.0)


def test_steps_of_several_processes_in_one_trace_are_told_apart() -> None:
    builder = TraceBuilder(Origin(pid=7))
    for pid in (7, 9):
        track = builder.thread(pid, pid, "main", f"rank {pid}")
        for number in range(2):
            builder.slice(track, f"ProfilerStep#{number}", number * 100 + pid, 100)
            builder.slice(track, "f", number * 100 + pid, pid)
    row = key_averages([builder.build()])[1]

    assert row.steps == {0: InStep(2, 0.016), 1: InStep(2, 0.016)}
    assert [(event.step, event.track.pid) for event in Events([builder_of(7, 9)]) if event.name == "f"] == [
        (0, 7),
        (0, 9),
    ]


def builder_of(*pids: int) -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    for pid in pids:
        track = builder.thread(pid, pid, "main", f"rank {pid}")
        builder.slice(track, "ProfilerStep#0", pid, 100)
        builder.slice(track, "f", pid + 1, 5)
    return builder.build()


def test_threads_are_told_apart_where_asked() -> None:
    averages = key_averages([steps_of_two_kinds(), steps_of_two_kinds()], group_by_thread=True)

    assert [(row.key, row.thread, row.count) for row in averages] == [
        ("ProfilerStep*", "main", 4),
        ("wait", "other", 2),
        ("work", "main", 4),
        ("wait", "main", 4),
    ]
    assert "  Thread  " in averages.table(sort_by="thread").splitlines()[1]


def test_ranks_are_told_apart_where_asked() -> None:
    traces = [steps_of_two_kinds(rank) for rank in (0, 3)]
    averages = key_averages(traces, group_by_rank=True)
    together = key_averages(traces)

    assert [(row.key, row.rank, row.count) for row in averages if row.key == "wait"] == [("wait", 0, 3), ("wait", 3, 3)]
    assert [row.step_share for row in averages if row.key == "wait"] == [0.25, 0.25]
    assert [(row.key, row.rank, row.count, row.step_share) for row in together if row.key == "wait"] == [
        ("wait", None, 6, 0.25)
    ]
    assert averages.table(sort_by="rank").splitlines()[3].split()[-1] == "3"
    assert averages.table().splitlines()[1].split()[-1] == "Rank"


def test_what_rows_cannot_be_told_apart_by_is_said() -> None:
    with pytest.warns(StepscopeWarning, match="has input shapes or overload names or stacks: rows are not") as said:
        averages = key_averages([steps_of_two_kinds()], True, 5, True)

    assert said[0].filename == __file__
    assert [row.key for row in averages] == ["ProfilerStep*", "wait", "work"]


def traced_calls() -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "train.py(1): <module>", 0, 90_000, cat="python_function")
    for number in range(2):
        at = number * 40_000
        builder.slice(track, f"train.py({number}): step", at + 1_000, 30_000, cat="python_function")
        builder.slice(track, "add", at + 2_000, 9_000, cat="cpu_op")
        builder.slice(track, "copy; it", at + 3_000, 500, cat="cpu_op")
    builder.slice(track, "add", 85_000, 2_000, cat="cpu_op")
    return builder.build()


def test_stacks_are_the_traced_calls_around() -> None:
    events = Events([traced_calls()])
    averages = key_averages([traced_calls()], group_by_stack_n=1)

    assert [event.stack for event in events if event.name == "add"] == [
        ["train.py(0): step", "train.py(1): <module>"],
        ["train.py(1): step", "train.py(1): <module>"],
        ["train.py(1): <module>"],
    ]
    assert [(row.stack, row.count) for row in averages if row.key == "add"] == [
        (["train.py(0): step"], 1),
        (["train.py(1): step"], 1),
        (["train.py(1): <module>"], 1),
    ]


def test_stacks_are_written_as_flame_graph_tools_read_them(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    Events([traced_calls()]).export_stacks(path)
    rows = path.read_text().splitlines()
    key_averages([traced_calls()], group_by_stack_n=1).export_stacks(path, "self_cpu_time_total")

    assert rows == [
        "train.py(1):_<module> 21",
        "train.py(1):_<module>;train.py(0):_step 8",
        "train.py(1):_<module> 21",
        "train.py(1):_<module>;train.py(1):_step 8",
        "train.py(1):_<module> 2",
    ]
    assert "train.py(0):_step 8" in path.read_text().splitlines()
    Events([traced_calls()]).export_stacks(path, "self_xpu_time_total")
    assert path.read_text() == ""


def test_what_cannot_be_written_as_stacks_is_said(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    events = Events([steps_of_two_kinds()])
    averages = key_averages([traced_calls()])

    with pytest.raises(AnalysisError, match="no event has a stack: calls were not traced"):
        events.export_stacks(path)
    with pytest.raises(AnalysisError, match=r"not grouped by stack\. Use key_averages\(group_by_stack_n=5\)"):
        averages.export_stacks(path)
    with pytest.raises(ValueError, match="metric should be one of"):
        averages.export_stacks(path, "count")
    with pytest.raises(AnalysisError, match=r"no profile holds\. Write such a trace with stepscope\.write"):
        averages.export_chrome_trace(path)
    assert not path.exists()
    with pytest.raises(ExportError, match="Create the folder first"):
        Events([traced_calls()]).export_stacks(tmp_path / "missing" / "stacks.txt")
    assert averages.supported_export_stacks_metrics() == [
        "self_cpu_time_total",
        "self_cuda_time_total",
        "self_xpu_time_total",
        "self_privateuse1_time_total",
    ]


def test_operators_are_told_apart_by_shapes_and_their_flops_added_up() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for number, shape in enumerate(([[2, 3], []], [[2, 3], []], [[[5], [6]]])):
        args = {"Input Dims": shape, "flops": 3000, "Overload name": "out" if number else ""}
        builder.slice(track, "mm", number * 10, 9, cat="cpu_op", args=args)
    builder.slice(track, "view", 100, 9, cat="cpu_op", args={"flops": 5_000_000_000})
    trace = builder.build()

    assert [(row.key, row.input_shapes, row.count) for row in key_averages([trace], True)] == [
        ("mm", [[2, 3], []], 2),
        ("mm", [[]], 1),
        ("view", [], 1),
    ]
    assert [(row.overload_name, row.count) for row in key_averages([trace], False, 0, True)] == [
        ("", 1),
        ("out", 2),
        ("", 1),
    ]
    plain = key_averages([trace])
    assert [(row.flops, row.input_shapes) for row in plain] == [(9000, ""), (5_000_000_000, "")]
    table = plain.table().splitlines()
    assert [line.split()[-1] for line in table[3:5]] == ["9.000", "5000000.000"]
    assert table[1].endswith("Total KFLOPs  ")


def test_flops_and_stacks_stand_under_their_own_headings() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "step", 0, 90, cat="python_function")
    builder.slice(track, "mm", 1, 9, cat="cpu_op", args={"flops": 7})
    table = key_averages([builder.build()], group_by_stack_n=2).table(sort_by="flops").splitlines()

    places = [table[1].index("Source Location"), table[1].rindex("Total FLOPs") + len("Total FLOPs")]
    assert [table[3][places[0] :].split()[0], table[3][: places[1]].split()[-1]] == ["step", "7.000"]


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
