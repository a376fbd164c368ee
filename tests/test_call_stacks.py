"""The calls around spans and instants: recorded, in both files, and in what is made of them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

from conftest import row_named
from stepscope import instant, profile, read, record_function
from stepscope.core import kernels
from stepscope.core.rows import Label
from stepscope.core.stacks import CALL_STACK, MAX_FRAMES, stack_text

HERE = str(Path(__file__))


def work(depth: int = 0) -> None:
    if depth:
        work(depth - 1)
    else:
        with record_function("span"):
            instant("point", k=2)


def calls(args: Any) -> list[tuple[str, str]]:
    """File and function of each call in this file, innermost first."""
    frames = [frame.partition(": ")[::2] for frame in args[CALL_STACK].split(";")]
    return [(place, function) for place, function in frames if place.startswith(HERE)]


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(Path(HERE).read_text().splitlines(), 1) if text in line)


def test_a_span_says_where_it_was_entered() -> None:
    with profile(record_stacks=True) as prof:
        work(1)
        with record_function("own", note="text"):
            pass

    test = sys._getframe().f_code.co_name  # noqa: SLF001
    inside = f"{HERE}({line_of('        with record_function(' + chr(34) + 'span')})"
    assert calls(row_named(prof.trace, "span").args)[0] == (inside, "work")
    assert [function for _, function in calls(row_named(prof.trace, "span").args)] == ["work", "work", test]
    point = row_named(prof.trace, "point").args
    assert (point["k"], [function for _, function in calls(point)]) == (2, ["work", "work", test])
    own = row_named(prof.trace, "own").args
    assert own["note"] == "text"
    assert [function for _, function in calls(own)] == [test]


def test_files_hold_stacks_and_the_pftrace_holds_each_once(tmp_path: Path) -> None:
    with profile(record_stacks=True) as prof:
        for _ in range(1000):
            work(3)
    prof.export_chrome_trace(tmp_path / "a.json")
    prof.export_perfetto_trace(tmp_path / "a.pftrace")

    assert read(tmp_path / "a.json") == read(tmp_path / "a.pftrace") == prof.trace
    # 2,000 rows with a stack of a kilobyte or more each.
    assert (tmp_path / "a.pftrace").stat().st_size < 100_000


def test_the_profilers_own_calls_are_not_among_them() -> None:
    @record_function("decorated")
    async def decorated() -> None:
        instant("inside")

    coroutine = decorated()
    with profile(record_stacks=True) as prof, pytest.raises(StopIteration):
        coroutine.send(None)

    for name in ("decorated", "inside"):
        assert "stepscope/core" not in row_named(prof.trace, name).args[CALL_STACK].replace("\\", "/")


def test_of_a_deep_stack_the_innermost_calls_are_kept() -> None:
    with profile(record_stacks=True) as prof:
        work(200)
    assert row_named(prof.trace, "span").args[CALL_STACK].count(";") == MAX_FRAMES - 1


def test_what_else_is_recorded_has_stacks_too() -> None:
    with profile(record_stacks=True) as prof:
        span = kernels.span_of(Label("aten::mul", "cpu_op"), {"k": 1})
        span.__enter__()
        span.finish({"more": 2})
    row = row_named(prof.trace, "aten::mul")
    assert list(row.args) == ["k", CALL_STACK, "more"]


def test_averages_are_told_apart_by_stack_and_flame_graphs_are_made_of_them(tmp_path: Path) -> None:
    with profile(record_stacks=True) as prof:
        work(0)
        work(1)
    averages = prof.key_averages(group_by_stack_n=3)
    assert [average.count for average in averages if average.key == "span"] == [1, 1]
    assert "work" in averages.table()
    prof.export_stacks(tmp_path / "stacks.txt")


def test_it_ends_with_the_window() -> None:
    with profile(record_stacks=True):
        work()
    with profile() as prof:
        work()
    assert CALL_STACK not in row_named(prof.trace, "span").args


def test_a_stack_for_which_there_is_no_room_is_left_out() -> None:
    namespace: dict[str, Any] = {}
    exec(compile("def call(f): f()", "x" * 5_000_000, "exec"), namespace)  # noqa: S102
    with profile(record_stacks=True, buffer_bytes=1 << 20) as prof:
        namespace["call"](work)
        with record_function("after"):
            pass
    assert CALL_STACK not in row_named(prof.trace, "span").args
    assert CALL_STACK in row_named(prof.trace, "after").args


def test_texts_of_any_name_are_one_line_of_calls() -> None:
    frames = [("a;b\nc.py", 3, "f;g"), ("d.py", None, "\udc80"), ("e.py", 7, "h\0")]
    assert stack_text(frames) == "a_b_c.py(3): f_g;d.py(0): \\udc80;e.py(7): h\\x00"


def test_in_the_pftrace_a_stack_is_interned_with_files_and_lines(tmp_path: Path) -> None:
    """As the UI wants it: frames from the outermost call on, each with function, file and line."""
    with profile(record_stacks=True) as prof:
        work(1)
    prof.export_perfetto_trace(tmp_path / "a.pftrace")
    packets = perfetto_trace_pb2.Trace.FromString((tmp_path / "a.pftrace").read_bytes()).packet

    (interned,) = [packet.interned_data for packet in packets if packet.interned_data.callstacks]
    functions = {entry.iid: entry.str.decode() for entry in interned.function_names}
    files = {entry.iid: entry.str.decode() for entry in interned.source_paths}
    frames = {frame.iid: frame for frame in interned.frames}
    begun = {packet.track_event.callstack_iid for packet in packets if packet.track_event.callstack_iid}
    assert begun == {stack.iid for stack in interned.callstacks}
    calls = {
        iid: f"{files[frame.source_path_iid]}({frame.line_number}): {functions[frame.function_name_id]}"
        for iid, frame in frames.items()
    }
    told = {";".join(calls[iid] for iid in reversed(stack.frame_ids)) for stack in interned.callstacks}
    assert told == {row.args[CALL_STACK] for row in prof.trace}
