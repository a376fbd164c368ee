"""Other tools' Chrome JSON: what Perfetto sees in a file is what `read` makes of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from foreign import Seen, expected_counters, expected_flows, expected_slices
from stepscope import read, write
from stepscope.check import engine_or_none
from strategies import Span, programs
from test_chrome_read import event, problems

TRACES = Path(__file__).parent.parent / "fixtures" / "traces"
needs_engine = pytest.mark.skipif(engine_or_none(download=False) is None, reason="no trace processor")


@needs_engine
def test_a_torch_file_is_what_perfetto_shows() -> None:
    path = TRACES / "torch-2.13-mlp.pt.trace.json"
    trace, seen = read(path), Seen(path)
    base = 1790857026000000000

    assert (trace.origin.tool, trace.origin.base_ns, trace.origin.host) == ("torch", base, "vm")
    assert trace.problems == ()
    # Instants of the whole file have no thread there; here they stay on the thread that their event names.
    own = expected_slices(trace, seen.engine, base)
    assert {row[2] for row in own - seen.slices} == {"Iteration Start: PyTorch Profiler", "Record Window End"}
    assert [row[:3] for row in own - seen.slices] == [row[:3] for row in seen.slices - own]
    assert expected_flows(trace, base) == seen.flows
    assert len(trace.flows.name) == 14


@needs_engine
def test_slices_of_a_torch_file_that_overlap_are_kept_where_v52_drops_them() -> None:
    path = TRACES / "torch-2.13-mlp-with-stack.pt.trace.json"
    trace, seen = read(path), Seen(path)
    base = trace.origin.base_ns

    assert problems(trace) == {"overlap": 4}
    lanes = [row for row in trace if row.track.kind == "lane"]
    assert {row.cat for row in lanes} == {"user_annotation"}
    lost = {row[:3] for row in expected_slices(trace, seen.engine, base)} - {row[:3] for row in seen.slices}
    assert lost == {(row.ts, row.dur, row.name) for row in lanes}
    assert {row[:3] for row in seen.slices} <= {row[:3] for row in expected_slices(trace, seen.engine, base)}
    assert expected_flows(trace, base) == seen.flows
    assert trace.origin.metadata == {"with_stack": 1, "profile_memory": 1, "record_shapes": 1}


@needs_engine
def test_a_viztracer_file_is_what_perfetto_shows() -> None:
    path = TRACES / "viztracer-1.1.1.json.gz"
    trace, seen = read(path), Seen(path)

    assert (trace.origin.tool, trace.origin.version) == ("viztracer", "1.1.1")
    assert trace.origin.base_ns == 1795438940824438106
    assert trace.problems == ()
    assert expected_slices(trace, seen.engine, trace.origin.base_ns) == seen.slices
    assert expected_counters(trace, trace.origin.base_ns) == seen.counters


@needs_engine
def test_made_up_events_are_what_perfetto_shows(tmp_path: Path) -> None:
    """Threads, async operations, counters and flows in one file, with what is between them."""
    flow = {"cat": "fl", "id": 1}
    events = [
        event("M", name="process_name", args={"name": "P"}),
        event("M", name="thread_name", args={"name": "T"}),
        event("B", 0, "a", cat="c", args={"k": 1}),
        event("s", 1, "f", **flow),
        event("B", 2, "b", cat="c"),
        event("E", 5, None),
        event("E", 9, "a", cat="c", args={"end": 2.5}),
        event("X", "11.5", "text", cat="c", dur=1),
        event("t", 11.5, "f", **flow),
        event("i", 13, "mark", cat="c", s="t"),
        event("X", 20, "later", cat="c", dur=5, args={"nested": {"list": [1, {"x": None}]}}),
        event("f", 22, "f", bp="e", **flow),
        event("b", 3, "request", cat="net", id="0x10"),
        event("n", 4, "sent", cat="net", id=16),
        event("e", 8, "request", cat="net", id="0x10"),
        event("C", 4, "memory", args={"rss": 5, "heap": "2.5"}),
        event("C", 6, "memory", args={"rss": 7}),
        event("X", 1, "other", cat="c", dur=3, pid=5, tid=0),
        event("X", 5, "same thread", cat="c", dur=3, pid=5, tid=5),
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(events))
    trace, seen = read(path), Seen(path)

    assert trace.problems == ()
    assert expected_slices(trace, seen.engine, all_threads=False) == seen.slices
    assert expected_counters(trace) == seen.counters
    assert expected_flows(trace) == seen.flows


@needs_engine
def test_slices_of_the_older_async_phases_are_read_where_v52_passes_over_them(tmp_path: Path) -> None:
    events = [event(phase, ts, "old", cat="c", id=1) for ts, phase in enumerate("STpF")]
    path = tmp_path / "t.json"
    path.write_text(json.dumps([*events, event("X", 0, "x", cat="c", dur=1)]))
    trace, seen = read(path), Seen(path)

    assert [(row.name, row.ts, row.dur) for row in trace] == [
        ("old", 0, 3000),
        ("x", 0, 1000),
        ("old", 1000, 0),
        ("old", 2000, 0),
    ]
    assert [row[2] for row in seen.slices] == ["x"]


@needs_engine
def test_further_ends_of_a_flow_go_where_perfetto_shows_them(tmp_path: Path) -> None:
    slices = [event("X", 10 * number, name, cat="c", dur=5) for number, name in enumerate("abcde")]
    points = [event(phase, 10 * number + 1, "f", cat="fl", id=1, bp="e") for number, phase in enumerate("stftf")]
    path = tmp_path / "t.json"
    path.write_text(json.dumps([event_ for pair in zip(slices, points, strict=True) for event_ in pair]))
    trace, seen = read(path), Seen(path)

    assert expected_flows(trace) == seen.flows
    assert {(name, other) for _, name, _, other in seen.flows} == {("a", "b"), ("b", "c"), ("b", "d"), ("d", "e")}


@st.composite
def foreign_files(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Threads of nested spans, each span written in one of three ways, in any order; no two times are equal."""
    written: list[dict[str, Any]] = []

    def put(spans: list[Span], ts: int, **where: int) -> int:
        for span in spans:
            start = ts + 1 + span.before
            more = {"cat": draw(st.sampled_from(["c", "d"])), "args": {"k": span.after}, **where}
            if span.instant:
                written.append({"ph": "i", "s": "t", "name": "instant", "ts": start, **more})
                ts = start
                continue
            name = draw(st.sampled_from(["a", "b"]))
            complete = draw(st.booleans())
            if not complete:
                written.append({"ph": "B", "name": name, "ts": start, **more})
            ts = put(span.inside, start, **where) + 1 + span.after
            if complete:  # as it ends, behind its children
                written.append({"ph": "X", "name": name, "ts": start, "dur": ts - start, **more})
            else:
                said = {"name": name, "cat": more["cat"]} if draw(st.booleans()) else {}
                written.append({"ph": "E", "ts": ts, **said, **where})
        return ts

    for pid, tid in draw(st.lists(st.sampled_from([(1, 1), (1, 2), (5, 0), (5, 5)]), unique=True, max_size=3)):
        put(draw(programs), 0, pid=pid, tid=tid)
    return written


@needs_engine
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=foreign_files())
def test_generated_files_are_what_perfetto_shows(events: list[dict[str, Any]], tmp_path: Path) -> None:
    assume(not {(5, 0), (5, 5)} <= {(event["pid"], event["tid"]) for event in events})  # they are one thread
    path = tmp_path / "t.json"
    path.write_text(json.dumps(events))
    if events:
        trace, seen = read(path), Seen(path)

        assert trace.problems == ()
        assert expected_slices(trace, seen.engine) == seen.slices


@needs_engine
@pytest.mark.parametrize("path", sorted(TRACES.iterdir()), ids=lambda path: path.name)
@pytest.mark.parametrize("suffix", [".json", ".pftrace"])
def test_a_file_of_another_tool_can_be_written_in_both_formats(path: Path, suffix: str, tmp_path: Path) -> None:
    write(read(path), tmp_path / f"t{suffix}")  # conftest puts the trace processor and `read` behind it


@needs_engine
def test_what_viztracer_writes_today_is_what_perfetto_shows(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(VIZTRACER_PROGRAM)
    path = tmp_path / "out.json"
    subprocess.run([sys.executable, str(script), str(path)], check=True, capture_output=True)
    trace, seen = read(path), Seen(path)

    assert trace.origin.tool == "viztracer"
    assert trace.problems == ()
    base = trace.origin.base_ns
    assert expected_slices(trace, seen.engine, base) == seen.slices
    assert expected_counters(trace, base) == seen.counters
    assert {"fib", "worker"} <= {row.name.split()[0] for row in trace}
    assert len({row.track.tid for row in trace}) == 2


VIZTRACER_PROGRAM = """
import sys
import threading
from viztracer import VizTracer

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def worker():
    fib(5)

with VizTracer(output_file=sys.argv[1], verbose=0, log_func_args=True, log_func_retval=True) as tracer:
    thread = threading.Thread(target=worker, name="second")
    thread.start()
    thread.join()
    with tracer.log_event("block"):
        fib(7)
    tracer.add_counter("loss", {"train": 0.25, "valid": 3})
    tracer.add_instant("mark", {"k": [1, "x"]}, scope="t")
"""
