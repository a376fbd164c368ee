"""The laws of diff: nothing differs from itself, both directions say the same, and one change is one finding."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from forest import Node, Program, node
from stepscope import Trace, diff, write
from stepscope.analysis.diff import Diff, Finding

NAMES = ("load", "forward", "conv", "relu", "backward", "grad", "step")
_leaves = st.builds(
    Node,
    st.sampled_from(NAMES),
    st.just(()),
    st.dictionaries(st.sampled_from(("n", "shape")), st.integers(0, 2) | st.sampled_from(("a", "b")), max_size=2),
    st.integers(1, 30).map(float),
    st.sampled_from(("user_annotation", "user_annotation", "cpu_op")),
    st.sampled_from((False, False, False, True)),
)
_nodes = st.recursive(
    _leaves,
    lambda inner: st.builds(
        Node,
        st.sampled_from(NAMES),
        st.lists(inner, max_size=4).map(tuple),
        st.just({}),
        st.integers(1, 30).map(float),
    ),
    max_leaves=12,
)
_roots = st.lists(_nodes, max_size=4)
_counters = st.dictionaries(
    st.sampled_from(("memory", "queue")), st.lists(st.integers(0, 100), min_size=1, max_size=4), max_size=2
)
_numbers = st.one_of(st.integers(0, 6).map(range), st.lists(st.integers(0, 8), unique=True, max_size=6).map(sorted))
programs = st.builds(
    lambda numbers, kinds, threads, counters: Program(
        {number: kinds[number % len(kinds)] for number in numbers}, threads, counters
    ),
    _numbers,
    st.lists(_roots, min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(("loader", "ThreadPoolExecutor-0_0", "ThreadPoolExecutor-0_1")), _roots, max_size=3
    ),
    _counters,
)


def flipped(findings: Sequence[Finding]) -> list[Finding]:
    return sorted((one.mirrored() for one in findings), key=repr)


def plain(findings: Diff | Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=repr)


@given(programs)
@settings(deadline=None)
def test_nothing_differs_from_itself(program: Program) -> None:
    trace = program.trace()
    result = diff(trace, trace)

    assert list(result) == []
    assert result.unsure == ()


@given(programs, st.integers(1, 2**22), st.integers(1, 2**22), st.integers(0, 10**9), st.integers(0, 2**60))
@settings(deadline=None)
def test_ids_and_times_are_no_difference(program: Program, pid: int, tid: int, start_us: int, base_ns: int) -> None:
    other = program.trace(pid=pid, tid=tid, start_us=start_us, base_ns=base_ns)

    assert list(diff(program.trace(), other)) == []


@given(programs, st.sampled_from(("json", "json.gz", "pftrace")))
@settings(max_examples=30, deadline=None)
def test_the_format_is_no_difference(program: Program, suffix: str) -> None:
    trace = program.trace()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"trace.{suffix}")
        write(trace, path)

        assert list(diff(trace, path)) == []
        assert list(diff([str(path)], [trace, path])) == []


def twice(program: Program) -> Trace:
    """The trace with all its times doubled: as a machine half as fast would have recorded it."""
    slow: Callable[[Node], Node] = lambda one: replace(  # noqa: E731 - it calls itself
        one, own_us=one.own_us * 2, inside=tuple(map(slow, one.inside))
    )
    return replace(
        program,
        steps={number: [*map(slow, roots)] for number, roots in program.steps.items()},
        threads={name: [*map(slow, roots)] for name, roots in program.threads.items()},
    ).trace()


@given(programs)
@settings(deadline=None)
def test_speed_is_no_difference_of_structure(program: Program) -> None:
    """Other threads begin what they do in other steps then."""
    assert list(diff(program.trace(), twice(program), timings=False)) == []


@given(programs, programs)
@settings(max_examples=200, deadline=None)
@example(Program({0: [node("a"), node("b"), node("c")]}), Program({0: [node("c"), node("b"), node("a")]}))
@example(Program({0: [], 1: [], 2: []}), Program({0: [node("load")] * 2, 4: [node("load")] * 2, 5: []}))
@example(
    Program(
        {},
        {
            "loader": [
                node("load"),
                node("load"),
                node("load", *[node("load")] * 3),
                node("load", args={"n": 0, "shape": 0}),
            ]
        },
    ),
    Program(
        {},
        {
            "ThreadPoolExecutor-0_0": [node("load")],
            "ThreadPoolExecutor-0_1": [node("load"), node("load"), node("load", args={"n": 0, "shape": 1})],
        },
    ),
)
def test_both_directions_say_the_same(one: Program, other: Program) -> None:
    there, back = diff(one.trace(), other.trace()), diff(other.trace(), one.trace())

    assert flipped(back.findings) == plain(there)


@given(programs, programs)
@settings(deadline=None)
def test_a_difference_is_found_in_both_directions_or_in_none(one: Program, other: Program) -> None:
    for rules in ({}, {"order": "ignore"}, {"timings": False, "args": False}):
        assert bool(diff(one.trace(), other.trace(), **rules)) == bool(diff(other.trace(), one.trace(), **rules))


# ---- one change is one finding ----

Place = tuple[int, ...]


def paths(roots: Sequence[Node], at: Place = ()) -> Iterator[Place]:
    """Where each slice is: its place among its siblings, and theirs, from the root."""
    for place, one in enumerate(roots):
        yield (*at, place)
        yield from paths(one.inside, (*at, place))


def at(roots: Sequence[Node], path: Place) -> Node:
    found = roots[path[0]]
    for place in path[1:]:
        found = found.inside[place]
    return found


def edited(roots: Sequence[Node], path: Place, edit: Callable[[Node], Sequence[Node]]) -> tuple[Node, ...]:
    """The roots with other nodes in the place of one."""
    place = path[0]
    if len(path) == 1:
        return (*roots[:place], *edit(roots[place]), *roots[place + 1 :])
    inside = edited(roots[place].inside, path[1:], edit)
    return (*roots[:place], replace(roots[place], inside=inside), *roots[place + 1 :])


def renamed(one: Node) -> list[Node]:
    return [replace(one, name="fresh")]


def other_args(one: Node) -> list[Node]:
    return [replace(one, args={**one.args, "seed": 1})]


def other_category(one: Node) -> list[Node]:
    return [replace(one, cat="seeded")]


def wrapped(one: Node) -> list[Node]:
    return [node("fresh", one)]


def child_added(one: Node) -> list[Node]:
    return [replace(one, inside=(*one.inside, node("fresh", node("inner"), node("inner"))))]


def added_before(one: Node) -> list[Node]:
    return [node("fresh", node("inner")), one]


def instant_added(one: Node) -> list[Node]:
    return [node("fresh", instant=True), one]


def removed(_: Node) -> list[Node]:
    return []


def doubled(one: Node) -> list[Node]:
    return [one, one]


# The edit, and the kinds of which its finding may be one.
EDITS: list[tuple[Callable[[Node], Sequence[Node]], set[str]]] = [
    (renamed, {"renamed"}),
    (other_args, {"args"}),
    (other_category, {"category"}),
    (wrapped, {"wrapped"}),
    (child_added, {"added"}),
    (added_before, {"added"}),
    (instant_added, {"new"}),
    (removed, {"removed", "fewer", "missing", "unwrapped"}),
    (doubled, {"more"}),
]


@pytest.mark.parametrize(("edit", "kinds"), EDITS, ids=lambda value: getattr(value, "__name__", ""))
@given(st.data(), _roots, st.integers(1, 4))
@settings(deadline=None)
def test_one_edit_in_every_step_is_one_finding(
    edit: Callable[[Node], Sequence[Node]], kinds: set[str], data: st.DataObject, roots: list[Node], steps: int
) -> None:
    assume(roots)
    path = data.draw(st.sampled_from(list(paths(roots))))
    assume(not (at(roots, path).instant and edit in (child_added, wrapped)))
    base = Program(dict.fromkeys(range(steps), roots))
    head = Program(dict.fromkeys(range(steps), edited(roots, path, edit)))
    result = diff(base.trace(), head.trace(pid=2, start_us=7), timings=False)

    (one,) = result.findings
    assert one.kind in kinds
    assert one.count == steps
    assert one.where.steps == tuple(range(steps))
    (back,) = diff(head.trace(), base.trace(), timings=False).findings
    assert back.mirrored() == one


@given(_roots, st.integers(2, 6), st.integers(0, 5))
@settings(deadline=None)
def test_a_step_that_is_taken_out_is_the_only_finding(roots: list[Node], steps: int, which: int) -> None:
    numbers = list(range(steps))
    gone = numbers.pop(which % steps)
    (one,) = diff(Program(dict.fromkeys(range(steps), roots)).trace(), Program(dict.fromkeys(numbers, roots)).trace())

    assert (one.kind, one.what, one.where.steps) == ("missing", "step", (gone,))


@given(st.lists(_nodes, min_size=2, max_size=5), st.integers(0, 5))
@settings(deadline=None)
def test_two_siblings_that_change_places_are_one_finding(roots: list[Node], which: int) -> None:
    place = which % (len(roots) - 1)
    assume(roots[place] != roots[place + 1])
    swapped = [*roots[:place], roots[place + 1], roots[place], *roots[place + 2 :]]
    without_times = [replace(one, own_us=1.0) for one in (roots[place], roots[place + 1])]
    assume(without_times[0] != without_times[1])
    result = diff(Program({0: roots}).trace(), Program({0: swapped}).trace(), timings=False)

    assume(roots[place].name != roots[place + 1].name)
    (one,) = result.findings
    assert (one.kind, one.count) == ("reordered", 1)
    assert not diff(Program({0: roots}).trace(), Program({0: swapped}).trace(), order="ignore")


@given(_nodes, st.lists(_leaves, max_size=3), st.lists(_leaves, max_size=3))
@settings(deadline=None)
def test_a_subtree_under_another_parent_is_the_only_finding(moving: Node, one: list[Node], other: list[Node]) -> None:
    moving = replace(moving, name="moving", instant=False)
    a, b = node("a", *one), node("b", *other)
    base = Program({0: (replace(a, inside=(moving, *a.inside)), b)})
    head = Program({0: (a, replace(b, inside=(*b.inside, moving)))})
    (found,) = diff(base.trace(), head.trace(), timings=False).findings

    assert (found.kind, found.name) == ("moved", "moving")
    assert (found.base[-1], found.head[-1]) == ("a", "b")


def called(one: Node, number: int) -> Node:
    """The same, in which all names are of one parent only."""
    return replace(one, name=f"{one.name} {number}", inside=tuple(called(inner, number) for inner in one.inside))


def parents(some: Sequence[tuple[int, Sequence[Node]]]) -> Trace:
    """One step, in which each of some numbers is a parent of these."""
    return Program(
        {0: [node(f"parent {number}", *(called(one, number) for one in inside)) for number, inside in some]}
    ).trace()


@given(
    st.lists(st.tuples(_roots, _roots), min_size=1, max_size=2),
    st.lists(st.integers(0, 1), min_size=1, max_size=5),
    st.sampled_from(("keep", "ignore")),
)
@settings(max_examples=200, deadline=None)
@example([([node("a"), node("b")], [node("wrap", node("a"), node("b"))])], [0, 0, 0], "keep")
@example([([node("a"), node("b")], [node("wrap", node("b"), node("a")), node("c")])], [0, 0, 0], "ignore")
@example([([node("a", args={"n": 1}), node("b")], [node("b"), node("c", args={"n": 1})])], [0, 0], "keep")
def test_what_is_in_a_parent_is_compared_as_if_there_were_no_other(
    kinds: list[tuple[list[Node], list[Node]]], which: list[int], order: Any
) -> None:
    """Also where others are paired alike: they have other names, and what is equal to what is the same."""
    both = [(number, *kinds[kind % len(kinds)]) for number, kind in enumerate(which)]
    alone = [
        one
        for number, base, head in both
        for one in diff(parents([(number, base)]), parents([(number, head)]), timings=False, order=order)
    ]
    base, head = parents([one[:2] for one in both]), parents([(number, inside) for number, _, inside in both])

    assert plain(diff(base, head, timings=False, order=order)) == plain(alone)


@given(_roots)
@settings(deadline=None)
@example([node("relu"), node("conv")])
def test_a_pool_may_do_its_work_in_any_order_on_any_thread(roots: list[Node]) -> None:
    names = "ThreadPoolExecutor-0_0", "ThreadPoolExecutor-0_1"
    split = len(roots) // 2
    base = Program({}, {names[0]: roots[:split], names[1]: roots[split:]})
    head = Program({}, {names[1]: roots[:split][::-1], names[0]: roots[split:][::-1]})

    assert [one for one in diff(base.trace(), head.trace(), timings=False) if one.what != "thread"] == []


@given(programs, st.sampled_from(("memory", "queue")))
@settings(deadline=None)
def test_a_counter_that_grows_is_the_only_finding(program: Program, name: str) -> None:
    base = replace(program, counters={**program.counters, name: [10, 20, 30]})
    head = replace(program, counters={**program.counters, name: [10, 20, 60]})
    (one,) = diff(base.trace(), head.trace()).findings

    assert (one.kind, one.what, one.name) == ("counter", "counter", f"{name} [bytes]")


@given(programs, programs)
@settings(deadline=None)
def test_every_rendering_names_every_finding(one: Program, other: Program) -> None:
    result: Any = diff(one.trace(), other.trace())

    text, json, page, comment = result.text(width=200), result.to_json(), result.html(), result.markdown()
    assert text.startswith(result.verdict)
    for finding in result:
        assert finding.name in text
        assert finding.name in json
        assert finding.name in page
        assert finding.kind in comment
