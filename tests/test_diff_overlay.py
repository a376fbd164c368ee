"""The overlay: both traces on one timeline, step beside step, and the findings on tracks of their own."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forest import Program, node
from stepscope import Trace, diff, overlay, profile, read, record_function, write
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Row
from test_diff_laws import programs

LOAD, FORWARD = node("load", own_us=100), node("forward", node("conv"), own_us=100)
STEP = (LOAD, FORWARD)


def laid(base: Trace, head: Trace) -> Trace:
    return overlay(base, head, diff(base, head))


def named(trace: Trace, process: str, name: str) -> list[Row]:
    return [row for row in trace if row.track.process == process and row.name == name]


def test_steps_that_are_one_begin_together_however_long_they_take() -> None:
    slow = (node("load", own_us=5000), FORWARD)
    base = Program(dict.fromkeys(range(3), STEP)).trace(start_us=77)
    head = Program(dict.fromkeys(range(3), slow)).trace(pid=5)
    both = laid(base, head)

    for number in range(3):
        (one,) = named(both, "base: train.py", f"ProfilerStep#{number}")
        (other,) = named(both, "head: train.py", f"ProfilerStep#{number}")
        assert one.ts == other.ts
        assert (one.dur, other.dur) == (base[number * 4].dur, head[number * 4].dur)


def test_a_step_that_only_one_side_has_gets_its_time_on_both() -> None:
    base = Program(dict.fromkeys((0, 1, 2), STEP)).trace()
    head = Program(dict.fromkeys((0, 2), STEP)).trace()
    both = laid(base, head)

    assert [row.ts for row in named(both, "base: train.py", "ProfilerStep#2")] == [
        row.ts for row in named(both, "head: train.py", "ProfilerStep#2")
    ]
    (mark,) = named(both, "diff", "missing: ProfilerStep#1")
    (gone,) = named(both, "base: train.py", "ProfilerStep#1")
    assert (mark.ts, mark.dur) == (gone.ts, gone.dur)


def test_each_place_of_a_finding_is_marked_where_it_is() -> None:
    base = Program(dict.fromkeys(range(3), STEP)).trace()
    head = Program(dict.fromkeys(range(3), (*STEP, node("sync", own_us=50)))).trace()
    both = laid(base, head)
    marks, calls = named(both, "diff", "added: sync"), named(both, "head: train.py", "sync")

    assert [(mark.ts, mark.dur) for mark in marks] == [(call.ts, call.dur) for call in calls]
    assert len(marks) == 3
    assert marks[0].args == {"says": "sync is added", "base": 0, "head": 1, "count": 3}
    assert {mark.track.name for mark in marks} == {"findings"}


def test_what_only_base_has_is_marked_where_it_was() -> None:
    base = Program(dict.fromkeys(range(2), STEP)).trace()
    head = Program(dict.fromkeys(range(2), (LOAD,))).trace()
    both = laid(base, head)

    assert [mark.ts for mark in named(both, "diff", "removed: forward")] == [
        row.ts for row in named(both, "base: train.py", "forward")
    ]


def test_marks_that_overlap_have_tracks_of_their_own() -> None:
    base = Program({0: (node("a", node("b")),)}).trace()
    head = Program({0: (node("a", node("b", node("new.inside")), args={"n": 1}),)}).trace()
    both = laid(base, head)

    assert {(row.name, row.track.name) for row in both if row.track.process == "diff"} == {
        ("args: a", "findings"),
        ("added: new.inside", "findings 2"),
    }
    assert both.problems == ()


def test_counters_flows_and_instants_come_along(tmp_path: Path) -> None:
    program = Program(
        dict.fromkeys(range(2), (*STEP, node("oom", instant=True))),
        counters={"memory": [1, 2, 3]},
        flows=[("batch", 2)],
        problems={"dropped": 2},
    )
    both = laid(program.trace(), program.trace())

    assert len(both.counters.ts) == 6
    assert len(both.flows.name) == 4
    assert [(problem.kind, problem.count) for problem in both.problems] == [("dropped", 4)]
    write(both, tmp_path / "both.pftrace")  # and the trace processor loads it, as it does all that tests write
    write(both, tmp_path / "both.json")


def test_traces_without_steps_begin_together() -> None:
    def trace(start: int) -> Trace:
        builder = TraceBuilder(Origin(pid=1))
        track = builder.thread(1, 1, "MainThread", "server")
        builder.slice(track, "serve", start, 10)
        return builder.build()

    both = laid(trace(5), trace(900))

    assert {row.ts for row in both} == {0}


def depths(rows: list[Row]) -> list[tuple[str, int]]:
    """Each row's name, and how many slices of its track it is inside."""
    found = []
    for row in rows:
        same = [other for other in rows if other.track == row.track and other is not row]
        around = [
            one for one in same if one.ts <= row.ts and row.ts + row.dur <= one.ts + one.dur and one.dur > row.dur
        ]
        found.append((row.name, len(around)))
    return sorted(found)


@given(programs, programs)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_what_nests_still_nests(one: Program, other: Program) -> None:
    base, head = one.trace(pid=7), other.trace(pid=8)
    both = laid(base, head)
    inside = [row for row in both if row.track.process != "diff"]

    assert len(inside) == len(base) + len(head)
    assert [problem.kind for problem in both.problems] == []
    # What goes on while its side waits for the other one lasts longer; nothing lasts less.
    before = sorted([row.dur for row in base] + [row.dur for row in head])
    assert all(new >= old for new, old in zip(sorted(row.dur for row in inside), before, strict=True))
    assert depths(inside) == sorted(depths(list(base)) + depths(list(head)))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6))
def test_numbers_that_do_not_rise_with_time_do_not_matter(numbers: list[int]) -> None:
    base = Program(dict.fromkeys(numbers, STEP)).trace()
    both = laid(base, Program(dict.fromkeys(range(6), STEP)).trace())

    assert len(named(both, "base: train.py", "load")) == len(set(numbers))


def test_the_overlay_of_recordings_is_loaded_whatever_hour_they_count_from(tmp_path: Path) -> None:
    """The engine loads it: a time before its clock began would be dropped, and base_ns is months ago."""
    recorded = []
    for _ in range(2):
        with profile() as prof, record_function("work"):
            prof.step()
        recorded.append(prof.trace)

    base, head = recorded
    laid = overlay(base, head, diff(base, head))

    assert laid.origin.boottime_offset_ns > 0
    assert len(read(write(laid, tmp_path / "over.pftrace"))) == len(laid)
