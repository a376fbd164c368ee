"""Events and averages of the same intervals: ours are torch's, figure by figure and table by table.

What torch answered is in fixtures/torch-2.13; test_torch_oracle asks it again where it is installed.
"""

import json
from pathlib import Path
from typing import Any

import pytest

import torch_averages
import torch_oracle
from stepscope.analysis.averages import key_averages
from stepscope.analysis.event_list import Events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from torch_averages import FIGURES
from torch_oracle import Record

ANSWERS: list[Record] = json.loads((torch_averages.EVENTS.parent / "averages.json").read_text(encoding="utf-8"))
CASES = {answer["case"]: answer for answer in ANSWERS if "events" in answer}
NAMES = next(answer for answer in ANSWERS if "row" in answer)
CALLS = [answer for answer in ANSWERS if "call" in answer]
ALIKE = [answer for answer in CALLS if answer["case"] != "stolen"]


def trace_of(events: list[Record]) -> Trace:
    """The events as a Trace, a track a thread."""
    builder = TraceBuilder(Origin(pid=7))
    tracks: dict[int, int] = {}
    for event in sorted(events, key=lambda event: (event["ts"], -event.get("dur", 0))):
        tid = event["tid"]
        if tid not in tracks:
            tracks[tid] = builder.thread(7, tid, f"thread {tid}", "python")
        rest: dict[str, Any] = {"cat": event["cat"], "args": event["args"]}
        if "dur" in event:
            builder.slice(tracks[tid], event["name"], event["ts"], event["dur"], **rest)
        else:
            builder.instant(tracks[tid], event["name"], event["ts"], **rest)
    return builder.build()


def trace_of_case(case: str) -> Trace:
    return trace_of(torch_averages.events_of(case))


def figures(row: Any) -> list[Any]:
    values = (getattr(row, figure) for figure in FIGURES)
    return [round(value, 3) if isinstance(value, float) else value for value in values]


@pytest.mark.parametrize("answer", ALIKE, ids=lambda answer: f"{answer['case']} {answer['call']} {answer['look']}")
def test_rows_and_tables_are_torchs(answer: Record) -> None:
    """The sums in torch are of floats: they are compared to the ns, tables to the character."""
    averages = key_averages([trace_of_case(answer["case"])], **answer["call"])

    assert [figures(row) for row in averages] == [pytest.approx(row, abs=1.01e-3) for row in answer["rows"]]
    assert averages.table(**answer["look"]).splitlines() == answer["table"]


@pytest.mark.parametrize("case", [case for case in CASES if case != "stolen"])
def test_events_are_torchs(case: str) -> None:
    answer, events = CASES[case], Events([trace_of_case(case)])
    total = events.total_average()

    ours = [
        [event.trace_name, event.cpu_parent and event.cpu_parent.name, round(event.self_cpu_time_total, 3)]
        for event in events
    ]
    assert ours == answer["events"]
    assert {name: round(getattr(total, name), 3) if name != "key" else total.key for name in answer["total"]} == answer[
        "total"
    ]
    assert events.self_cpu_time_total == answer["self_cpu_time_total"]


def test_events_and_rows_have_torchs_attributes() -> None:
    trace = trace_of_case("ops")

    for ours, theirs in ((Events([trace])[0], NAMES["event"]), (key_averages([trace])[0], NAMES["row"])):
        assert [name for name in theirs if not hasattr(ours, name)] == []


def test_stacks_are_torchs(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    Events([trace_of_case("calls")]).export_stacks(path, "self_cpu_time_total")

    assert path.read_text(encoding="utf-8").splitlines() == CASES["calls"]["stacks"]


def test_where_an_overrun_steals_a_child_in_torch_it_keeps_its_parent_here() -> None:
    """torch forgets "outer" when "overrun" ends behind it, and gives "child" to the wrong one: on purpose not here."""
    ours = {event.name: event for event in Events([trace_of_case("stolen")])}
    theirs = {name: (parent, self_us) for name, parent, self_us in CASES["stolen"]["events"]}

    assert theirs == {"outer": (None, 102.4), "overrun": (None, 35.84), "child": ("overrun", 5.12)}
    assert ours["child"].cpu_parent == ours["outer"]
    assert {name: event.self_cpu_time_total for name, event in ours.items()} == {
        "outer": 97.28,
        "overrun": 40.96,
        "child": 5.12,
    }
    assert "1 overlap: 'overrun' at 81920 ns" in key_averages([trace_of_case("stolen")]).table()


@pytest.mark.torch
@pytest.mark.skipif(torch_oracle.unavailable() is not None, reason=str(torch_oracle.unavailable()))
def test_a_run_recorded_now_has_the_figures_of_torchs_own_profiler(tmp_path: Path) -> None:
    """torch's own events, from its engine; ours, from the file that it writes of them."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function, schedule

    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
    path = tmp_path / "run.json"
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=True,
        schedule=schedule(wait=0, warmup=1, active=2, repeat=1),
    ) as prof:
        for _ in range(3):
            with record_function("train"):
                model(torch.randn(16, 32)).sum().backward()
            prof.step()
    prof.export_chrome_trace(str(path))
    written = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    kept = [
        event for event in written if event.get("cat") != "Trace" and ("dur" in event or event["name"] == "[memory]")
    ]
    base = min(round(event["ts"] * 1000) for event in kept)
    for event in kept:
        event["ts"] = round(event["ts"] * 1000) - base
        if "dur" in event:
            event["dur"] = round(event["dur"] * 1000)
    trace = trace_of(kept)

    assert trace.problems == ()
    for call in ({}, {"group_by_input_shape": True}):
        ours = [figures(row) for row in key_averages([trace], **call)]
        theirs = [figures(row) for row in prof.key_averages(**call)]
        assert ours == [pytest.approx(row, abs=1.01e-3) for row in theirs]
