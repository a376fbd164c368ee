"""What is set aside: pauses of the collector and samples of memory, which the program does not make."""

import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from forest import Program, node
from stepscope import DiffError, Trace, diff, profile, read, record_function, write
from stepscope.analysis.diff import ASIDE, Rules
from stepscope.analysis.diff.aside import set_aside
from stepscope.analysis.golden import from_golden, to_golden
from stepscope.cli import main
from stepscope.model.build import TraceBuilder

ALL = tuple(one.name for one in ASIDE)
PLAIN = Program({number: [node("forward", node("conv"), node("relu"))] for number in range(3)})
PAUSE = node("gc of generation 2", node("finalizer"), cat="gc")
PAUSED = Program({number: [node("forward", node("conv"), PAUSE, node("relu"))] for number in range(3)})


def recorded(**options: Any) -> Trace:
    """What three steps do, and what the profiler's own sources see meanwhile."""
    with profile(**options) as prof:
        for _ in range(3):
            with record_function("work"):
                gc.collect()
                time.sleep(0.015)
    return prof.trace


def test_pauses_and_memory_are_no_findings() -> None:
    plain, sampled = recorded(), recorded(record_gc=True, profile_memory=True)

    assert not diff(plain, sampled, timings=False).findings
    assert not diff(sampled, plain, timings=False).findings


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("garbage collection", {"record_gc": True}, {("added", "gc of generation 2")}),
        (
            "memory counters",
            {"profile_memory": True},
            {("new", "Python heap [blocks]"), ("new", "resident memory [bytes]")},
        ),
    ],
)
def test_each_of_them_is_compared_where_that_is_asked_for(
    name: str, options: dict[str, bool], found: set[tuple[str, str]]
) -> None:
    plain, sampled = recorded(), recorded(**options)

    findings = diff(plain, sampled, timings=False, compare=[name]).findings

    assert {(one.kind, one.name) for one in findings} >= found - {("new", "resident memory [bytes]")}
    assert {(one.kind, one.name) for one in findings} <= found


def test_the_sampler_is_a_thread_where_its_samples_are_compared() -> None:
    builder = TraceBuilder()
    main, sampler = (builder.thread(1, tid, name) for tid, name in ((1, "MainThread"), (2, "stepscope memory")))
    builder.slice(main, "work", 0, 10)
    args = {"Addr": 0, "Device Type": 0, "Device Id": -1, "Bytes": 4096}
    for track in (main, sampler):
        builder.instant(track, "[memory]", 5, cat="cpu_instant_event", args=args)
    sampled = builder.build()
    builder = TraceBuilder()
    builder.slice(builder.thread(1, 1, "MainThread"), "work", 0, 10)
    plain = builder.build()

    found = diff(plain, sampled, timings=False, compare=["memory samples"])

    assert [(one.kind, one.what, one.name) for one in found] == [
        ("new", "thread", "stepscope memory"),
        ("new", "instant", "[memory]"),
    ]
    assert not diff(plain, sampled, timings=False)


def test_allocations_that_have_an_address_are_the_programs() -> None:
    builder = TraceBuilder()
    main = builder.thread(1, 1, "MainThread")
    builder.instant(main, "[memory]", 5, cat="cpu_instant_event", args={"Addr": 94, "Bytes": 4096})
    trace = builder.build()

    assert set_aside(trace, ASIDE) is trace


def test_what_is_inside_of_a_pause_belongs_to_what_is_around_it() -> None:
    expected = Program(
        {number: [node("forward", node("conv"), node("finalizer"), node("relu"))] for number in range(3)}
    )

    assert not diff(expected.trace(), PAUSED.trace(), timings=False)
    assert [(one.kind, one.name) for one in diff(PLAIN.trace(), PAUSED.trace(), timings=False)] == [
        ("added", "finalizer")
    ]


def test_a_thread_that_only_paused_is_not_there() -> None:
    paused = replace(PLAIN, threads={"worker": [node("gc of generation 0", cat="gc")]})

    assert not diff(PLAIN.trace(), paused.trace(), timings=False)
    assert diff(PLAIN.trace(), paused.trace(), timings=False, compare=ALL).counts == {"new": 1}


def test_counters_flows_and_arguments_stay_with_their_rows() -> None:
    """All that is not set aside is there, and in its place."""
    program = replace(PAUSED, counters={"queue": [1, 2], "memory": [3]}, flows=[("batch", 2)])
    builder = TraceBuilder()
    main = builder.thread(1, 1, "MainThread")
    builder.slice(main, "gc of generation 0", 0, 5, cat="gc")
    first = builder.slice(main, "make", 10, 5, args={"n": 1})
    last = builder.slice(main, "use", 20, 5, args={"n": 2})
    builder.flow("batch", [first, last])
    builder.count(builder.counter_track(1, "resident memory", "bytes"), 1, 5)
    builder.count(builder.counter_track(1, "queue"), 2, 7)

    left = set_aside(builder.build(), ASIDE)

    assert [(row.name, row.args) for row in left] == [("make", {"n": 1}), ("use", {"n": 2})]
    assert (list(left.flows.flow), list(left.flows.row)) == ([0, 0], [0, 1])
    assert [track.name for track in left.tracks] == ["MainThread", "queue"]
    assert (list(left.counters.value), list(left.counters.track)) == ([7.0], [1])
    whole = program.trace()
    assert set_aside(whole, Rules(compare=ALL).aside) is whole


@pytest.mark.parametrize("suffix", [".json", ".pftrace"])
def test_it_is_set_aside_in_files_too(tmp_path: Path, suffix: str) -> None:
    plain, sampled = recorded(), recorded(record_gc=True, profile_memory=True)

    assert not diff(plain, read(write(sampled, tmp_path / f"sampled{suffix}")), timings=False)


def test_goldens_do_not_have_it_unless_that_is_asked_for() -> None:
    rules = Rules(compare=ALL)

    assert "gc" not in to_golden(PAUSED.trace())
    assert to_golden(PAUSED.trace(), rules).count("[gc]") == 1
    assert to_golden(from_golden(to_golden(PAUSED.trace(), rules), "it")) == to_golden(PAUSED.trace())
    sampled = recorded(record_gc=True, profile_memory=True)
    assert to_golden(sampled) == to_golden(recorded())
    assert 'counter "Python heap" [blocks]' in to_golden(sampled, rules)


def test_the_command_line_and_pyproject_have_it_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(PLAIN.trace(), tmp_path / "base.json")
    write(PAUSED.trace(), tmp_path / "head.json")
    both = ["diff", "base.json", "head.json", "--no-timings"]
    run = CliRunner().invoke

    assert "gc of generation" not in run(main, both).output
    assert "gc of generation 2" in run(main, [*both, "--compare", "garbage collection"]).output
    (tmp_path / "pyproject.toml").write_text('[tool.stepscope.diff]\ncompare = ["garbage collection"]\n')
    assert "gc of generation 2" in run(main, both).output
    listed = run(main, ["diff", "--list-rules"]).output
    assert "# garbage collection: all of category gc" in listed.splitlines()


def test_a_name_that_is_not_set_aside_is_refused() -> None:
    with pytest.raises(
        DiffError, match=r"compare has 'gc', but there is no such rule\. Rules are 'garbage collection', "
    ):
        diff(PLAIN.trace(), PLAIN.trace(), compare=["gc"])
