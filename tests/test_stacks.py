"""Stacks: the calls around events, in tables and as flame graph tools read them."""

from pathlib import Path

import pytest

from stepscope import AnalysisError, ExportError
from stepscope.analysis.averages import key_averages
from stepscope.analysis.event_list import Events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from test_averages import steps_of_two_kinds


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


def test_flops_and_stacks_stand_under_their_own_headings() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "step", 0, 90, cat="python_function")
    builder.slice(track, "mm", 1, 9, cat="cpu_op", args={"flops": 7})
    table = key_averages([builder.build()], group_by_stack_n=2).table(sort_by="flops").splitlines()

    places = [table[1].index("Source Location"), table[1].rindex("Total FLOPs") + len("Total FLOPs")]
    assert [table[3][places[0] :].split()[0], table[3][: places[1]].split()[-1]] == ["step", "7.000"]
