"""Each kind of finding, by hand: a small change of a small program is that finding and no other."""

from collections.abc import Sequence
from typing import Any

import pytest

from forest import Node, Program, node
from stepscope import Trace, diff
from stepscope.analysis.diff import NAME_RULES, Finding, NameRule
from stepscope.model.build import TraceBuilder
from stepscope.model.errors import DiffError
from stepscope.model.trace import Origin

LOAD, GRAD = node("load"), node("grad")
FORWARD = node("forward", node("conv"), node("relu"), node("conv"))
BACKWARD = node("backward", GRAD)
STEP = (LOAD, FORWARD, BACKWARD)
PATH = ("ProfilerStep#*",)


def steps_of(inside: Sequence[Node], count: int = 5) -> dict[int, Sequence[Node]]:
    return dict.fromkeys(range(count), inside)


BASE = Program(steps_of(STEP))


def found(base: Program, head: Program, **rules: Any) -> list[Finding]:
    return list(diff(base.trace(), head.trace(pid=9, tid=77, start_us=123, base_ns=5), **rules))


def only(base: Program, head: Program, **rules: Any) -> Finding:
    """The only finding."""
    (one,) = found(base, head, **rules)
    return one


def seen(one: Finding) -> tuple[Any, ...]:
    return one.kind, one.what, one.where.path, one.name, one.base, one.head, one.count


def changed(*inside: Node) -> Program:
    """The program with other steps."""
    return BASE.with_steps(steps_of(inside))


def test_the_same_program_is_the_same_under_other_ids_and_at_another_time() -> None:
    same = diff(BASE.trace(), BASE.trace(pid=3, tid=99, start_us=50_000, base_ns=7))

    assert not same
    assert (same.verdict, len(same), same.steps, list(same)) == ("same", 0, 5, [])
    assert same == diff(BASE.trace(), BASE.trace())


def test_a_new_subtree_is_one_finding_with_a_count() -> None:
    one = only(BASE, changed(*STEP, node("optimizer", node("sgd"), node("zero"))))

    assert seen(one) == ("added", "slice", PATH, "optimizer", 0, 1, 5)
    assert (one.where.process, one.where.thread, one.where.steps) == ("train.py", "MainThread", (0, 1, 2, 3, 4))


def test_a_subtree_that_is_gone_is_one_finding() -> None:
    assert seen(only(BASE, changed(LOAD, FORWARD))) == ("removed", "slice", PATH, "backward", 1, 0, 5)


def test_what_has_the_same_place_and_shape_is_renamed() -> None:
    one = only(BASE, changed(LOAD, node("fwd", *FORWARD.inside), BACKWARD))

    assert seen(one) == ("renamed", "slice", PATH, "forward", "forward", "fwd", 5)


def test_a_leaf_in_the_same_place_is_renamed() -> None:
    assert seen(only(BASE, changed(node("read"), FORWARD, BACKWARD)))[:4] == ("renamed", "slice", PATH, "load")


def test_one_of_several_calls_is_renamed_where_it_stands() -> None:
    one = only(BASE, changed(LOAD, node("forward", node("gemm"), node("relu"), node("conv")), BACKWARD))

    assert seen(one) == ("renamed", "slice", (*PATH, "forward"), "conv", "conv", "gemm", 5)


def test_a_leaf_with_other_arguments_is_not_renamed() -> None:
    base = BASE.with_steps(steps_of((node("read", args={"path": "a"}), *STEP)))
    head = BASE.with_steps(steps_of((node("fetch", args={"url": "b"}), *STEP)))

    assert [(one.kind, one.name) for one in found(base, head)] == [("added", "fetch"), ("removed", "read")]


def test_what_has_another_parent_is_moved() -> None:
    one = only(BASE, changed(node("forward", LOAD, *FORWARD.inside), BACKWARD))

    assert seen(one)[:4] == ("moved", "slice", (*PATH, "forward"), "load")
    assert (one.base, one.head) == (("MainThread", *PATH), ("MainThread", *PATH, "forward"))
    assert one.where_base is not None
    assert one.where_base.path == PATH


def test_what_is_on_another_thread_is_moved() -> None:
    base = Program(steps_of((LOAD, FORWARD, BACKWARD), 1), {"worker": [node("idle"), node("check")]})
    head = Program(steps_of((FORWARD, BACKWARD), 1), {"worker": [node("idle"), LOAD, node("check")]})
    one = only(base, head)

    assert seen(one)[:4] == ("moved", "slice", (), "load")
    assert (one.where.thread, one.where_base and one.where_base.thread) == ("worker", "MainThread")


@pytest.mark.parametrize("order", ["keep", "ignore"])
def test_calls_are_known_by_their_arguments_where_what_is_in_them_has_changed(order: Any) -> None:
    def request(number: int, *more: Node) -> Node:
        return node("request", node("parse", args={"id": number}), *more, args={"id": number})

    base = [request(number) for number in range(12)]
    head = [request(number, node("log")) for number in range(12) if number != 5]
    if order == "ignore":
        head = head[7:] + head[:7]
    found = diff(Program({0: base}).trace(), Program({0: head}).trace(), timings=False, order=order)

    assert [(one.kind, one.name, one.count) for one in found] == [("fewer", "request", 1), ("added", "log", 11)]


def test_siblings_out_of_order_are_one_finding_at_their_parent() -> None:
    one = only(BASE, changed(FORWARD, LOAD, BACKWARD))

    assert seen(one)[:3] == ("reordered", "slice", PATH)
    assert (one.base, one.head, one.count) == (("load", "forward"), ("forward", "load"), 5)


def test_calls_of_one_name_are_the_same_by_their_arguments_wherever_they_stand() -> None:
    """Of six, the first comes last: that is no other argument of each."""
    calls = [node("load", args={"file": number}) for number in range(6)]
    one = only(changed(*calls), changed(*calls[1:], calls[0]))

    assert seen(one)[:4] == ("reordered", "slice", PATH, "load")


def test_order_can_be_ignored() -> None:
    assert found(BASE, changed(BACKWARD, FORWARD, LOAD), order="ignore") == []
    assert seen(only(BASE, changed(BACKWARD, FORWARD), order="ignore"))[:4] == ("removed", "slice", PATH, "load")


def test_a_slice_between_a_parent_and_its_children_is_wrapped_around_them() -> None:
    head = changed(LOAD, node("autocast", FORWARD, BACKWARD))

    assert seen(only(BASE, head)) == ("wrapped", "slice", PATH, "autocast", 0, 1, 5)
    assert seen(only(head, BASE)) == ("unwrapped", "slice", PATH, "autocast", 1, 0, 5)


def test_what_is_inside_a_new_wrapper_is_compared() -> None:
    head = changed(LOAD, node("autocast", FORWARD, node("backward", GRAD, node("clip"))))
    kinds = {(one.kind, one.name, one.where.path) for one in found(BASE, head)}

    assert kinds == {("wrapped", "autocast", PATH), ("added", "clip", (*PATH, "autocast", "backward"))}


def test_more_and_fewer_calls_say_how_many_a_parent_has() -> None:
    head = changed(LOAD, node("forward", *FORWARD.inside, node("conv")), BACKWARD)

    assert seen(only(BASE, head)) == ("more", "slice", (*PATH, "forward"), "conv", 2, 3, 5)
    assert seen(only(head, BASE)) == ("fewer", "slice", (*PATH, "forward"), "conv", 3, 2, 5)


def test_a_call_that_is_gone_is_counted_with_one_of_its_name_that_was_renamed() -> None:
    """Though no name is on both sides, and none but one is left over."""
    head = changed(node("infer", *FORWARD.inside))
    removed, renamed = found(changed(FORWARD, node("forward")), head)

    assert seen(removed) == ("removed", "slice", PATH, "forward", 2, 0, 5)
    assert seen(renamed) == ("renamed", "slice", PATH, "forward", "forward", "infer", 5)


def test_one_extra_call_does_not_shift_the_rest() -> None:
    many = [node("item", args={"i": i}) for i in range(300)]
    base, head = (
        Program(steps_of(many, 2)),
        Program(steps_of([*many[:150], node("item", args={"i": -1}), *many[150:]], 2)),
    )

    assert seen(only(base, head)) == ("more", "slice", PATH, "item", 300, 301, 2)


def test_calls_that_differ_in_number_from_step_to_step_are_one_finding() -> None:
    head = BASE.with_steps({n: (LOAD,) * (n + 2) + (FORWARD, BACKWARD) for n in range(5)})
    one = only(BASE, head)

    assert (one.kind, one.base, one.head, one.count) == ("more", 5, 20, 5)
    assert one.note == "5 and 20 calls in all 5 places"


def test_other_arguments_show_those_that_differ() -> None:
    base = changed(node("load", args={"batch": 32, "path": "/tmp/abc123/x"}), FORWARD)  # noqa: S108 - a name
    head = changed(node("load", args={"batch": 64, "path": "/tmp/def456/x", "fast": True}), FORWARD)  # noqa: S108
    one = only(base, head)

    assert seen(one) == ("args", "slice", PATH, "load", {"batch": 32}, {"batch": 64, "fast": True}, 5)
    assert found(base, head, args=False) == []
    assert found(base, head, ignore_args=["batch", "f*"]) == []


def test_arguments_of_another_type_are_other_arguments() -> None:
    one = only(changed(node("load", args={"n": 1})), changed(node("load", args={"n": True})))

    assert (one.base, one.head) == ({"n": 1}, {"n": True})


def test_another_category_is_a_finding() -> None:
    head = changed(node("load", cat="cpu_op"), FORWARD, BACKWARD)

    assert seen(only(BASE, head)) == ("category", "slice", PATH, "load", "user_annotation", "cpu_op", 5)
    assert found(BASE, head, categories=False) == []


def test_an_instant_is_new_or_missing_and_no_slice_of_its_name() -> None:
    head = changed(LOAD, node("oom", instant=True), FORWARD, BACKWARD)

    assert seen(only(BASE, head)) == ("new", "instant", PATH, "oom", 0, 1, 5)
    assert seen(only(head, BASE)) == ("missing", "instant", PATH, "oom", 1, 0, 5)


def test_a_thread_is_new_or_missing() -> None:
    base = Program(steps_of(STEP), {"loader": [node("read")]})
    head = Program(steps_of(STEP))

    assert seen(only(base, head)) == ("missing", "thread", (), "loader", 1, 0, 1)
    assert seen(only(head, base)) == ("new", "thread", (), "loader", 0, 1, 1)


def test_a_thread_that_does_the_same_under_another_name_is_renamed() -> None:
    base = Program(steps_of(STEP), {"loader": [node("read"), node("decode")]})
    head = Program(steps_of(STEP), {"prefetch": [node("read"), node("decode"), node("decode")]})
    kinds = [(one.kind, one.what, one.name) for one in found(base, head, free_threads="exactly")]

    assert kinds == [("renamed", "thread", "loader"), ("more", "slice", "decode")]


def test_a_process_is_new_or_missing() -> None:
    def trace(*processes: str) -> Trace:
        builder = TraceBuilder(Origin(pid=10))
        for at, name in enumerate(processes):
            track = builder.thread(10 + at, 1, "MainThread", name)
            builder.slice(track, "work", 0, 5)
        return builder.build()

    (one,) = diff(trace("server"), trace("server", "helper"))

    assert seen(one) == ("new", "process", (), "helper", 0, 1, 1)


def test_ranks_are_told_apart_whatever_their_pids_are() -> None:
    def trace(pids: dict[int, str], extra: int) -> Trace:
        builder = TraceBuilder(Origin())
        for pid, name in pids.items():
            track = builder.thread(pid, pid, "MainThread", name)
            builder.slice(track, "work", 0, 5)
            if name.endswith(str(extra)):
                builder.slice(track, "all_reduce", 7, 1)
        return builder.build()

    (one,) = diff(trace({5: "rank 0", 6: "rank 1"}, 9), trace({6: "rank 0", 5: "rank 1"}, 1))

    assert (one.kind, one.name, one.where.process) == ("added", "all_reduce", "rank 1")


def test_several_ranks_a_side_are_compared_rank_with_rank() -> None:
    def rank(number: int, *names: str) -> Trace:
        builder = TraceBuilder(Origin(pid=7, rank=number, world_size=2))
        track = builder.thread(7, 7, "MainThread", "train.py")
        for at, name in enumerate(names):
            builder.slice(track, name, at, 1)
        return builder.build()

    base = [rank(0, "work"), rank(1, "work", "log")]
    (one,) = diff(base, [rank(1, "work", "log", "save"), rank(0, "work")])

    assert (one.kind, one.name, one.where.process) == ("added", "save", "train.py (rank 1)")


def test_the_threads_of_a_pool_are_one_whose_order_is_free() -> None:
    one, two, three = node("a"), node("b"), node("c", args={"n": 1})
    base = Program({}, {"ThreadPoolExecutor-0_0": [one, three], "ThreadPoolExecutor-0_1": [two, one]})
    head = Program({}, {"ThreadPoolExecutor-3_2": [one], "ThreadPoolExecutor-3_0": [one, two, three]})

    assert found(base, head) == []
    fewer = Program({}, {"ThreadPoolExecutor-3_2": [one], "ThreadPoolExecutor-3_0": [two, three]})
    assert [(f.kind, f.name, f.base, f.head) for f in found(base, fewer)] == [("fewer", "a", 2, 1)]


def test_lanes_belong_to_the_thread_they_are_lanes_of() -> None:
    def trace(first: str, second: str) -> Trace:
        builder = TraceBuilder(Origin(pid=1))
        track = builder.thread(1, 1, "MainThread", "server")
        builder.slice(track, first, 0, 10)
        builder.slice(track, second, 5, 10)  # overlaps: the builder lays it on a lane
        return builder.build()

    assert list(diff(trace("get", "put"), trace("put", "get"))) == []
    assert diff(trace("get", "put"), trace("get", "list")).counts == {"renamed": 1}


def test_a_missing_step_is_one_finding_that_names_it() -> None:
    head = BASE.with_steps(dict.fromkeys((0, 1, 3, 4), STEP))
    one = only(BASE, head)

    assert seen(one) == ("missing", "step", (), "ProfilerStep#2", 1, 0, 1)
    assert one.where.steps == (2,)


def test_several_extra_steps_are_one_finding_with_a_count() -> None:
    one = only(BASE, BASE.with_steps(steps_of(STEP, 8)))

    assert (one.kind, one.name, one.count, one.where.steps) == ("new", "ProfilerStep#*", 3, (5, 6, 7))


def test_steps_without_common_numbers_are_aligned_by_contents() -> None:
    special = (LOAD, node("validate", node("eval"), node("log")))
    base = BASE.with_steps({0: STEP, 1: special, 2: STEP})
    head = BASE.with_steps({10: STEP, 11: STEP, 12: special, 13: STEP})
    one = only(base, head)

    assert (one.kind, one.what, one.count) == ("new", "step", 1)
    assert one.where.steps in ((10,), (11,))


def test_a_step_is_not_aligned_with_one_that_does_something_else() -> None:
    kinds = [(one.kind, one.where.steps) for one in found(Program({0: STEP}), Program({7: (node("x"), node("y"))}))]

    assert sorted(kinds) == [("missing", (0,)), ("new", (7,))]


def test_a_thread_that_does_not_step_may_be_late_or_early() -> None:
    """What it begins in one step here and in the next one there is the same."""
    early = Program(steps_of(STEP), {"loader": [node("read", own_us=30)] * 8})
    late = Program(steps_of(STEP), {"loader": [node("read", own_us=55)] * 8})

    assert found(early, late, timings=False) == []


def test_counters_are_compared_by_four_values() -> None:
    base = Program(steps_of(STEP), counters={"memory": [100, 200, 150]})
    one = only(base, Program(steps_of(STEP), counters={"memory": [100, 300, 150]}))

    assert (one.kind, one.what, one.name) == ("counter", "counter", "memory [bytes]")
    assert one.base == {"first": 100, "last": 150, "max": 200, "mean": 150}
    assert one.head["max"] == 300
    assert found(base, Program(steps_of(STEP), counters={"memory": [103, 204, 149]})) == []
    assert found(base, Program(steps_of(STEP), counters={"memory": [100, 300, 150]}), counter_tolerance=0.5) == []


def test_a_counter_is_new_or_missing() -> None:
    base, head = Program(steps_of(STEP), counters={"queue": [1, 2]}), Program(steps_of(STEP))

    assert [(f.kind, f.what, f.name) for f in found(base, head)] == [("missing", "counter", "queue [bytes]")]
    assert [(f.kind, f.what, f.name) for f in found(head, base)] == [("new", "counter", "queue [bytes]")]


def test_flows_are_counted_by_name() -> None:
    base = Program(steps_of(STEP), flows=[("batch", 2)])

    assert seen(only(base, Program(steps_of(STEP)))) == ("missing", "flow", (), "batch", 2, 0, 1)
    assert seen(only(Program(steps_of(STEP)), base)) == ("new", "flow", (), "batch", 0, 2, 1)
    assert seen(only(base, Program(steps_of(STEP), flows=[("batch", 3)])))[:2] == ("more", "flow")


def test_what_base_does_in_any_of_its_runs_is_known() -> None:
    other = changed(LOAD, FORWARD)

    assert list(diff([BASE.trace(), other.trace()], other.trace())) == []
    (one,) = diff([BASE.trace(), other.trace()], [changed(LOAD).trace(), other.trace()])
    assert (one.kind, one.name, one.count) == ("removed", "forward", 5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<Model at 0x7f00aa11>", "<Model at 0x55cd0012>"),
        ("job 123e4567-e89b-12d3-a456-426614174000", "job 00000000-1111-2222-3333-444444444444"),
        ("write /tmp/tmpab12/a.bin", "write /tmp/tmpzz99/b.bin"),
        ("write /private/var/folders/x1/y2/T/tmp1", "write /private/var/folders/k9/z8/T/tmp2"),
        (r"open C:\Users\a\AppData\Local\Temp\t1", r"open C:\Users\b\AppData\Local\Temp\t2"),
        ("cache 9f86d081884c7d659a2f", "cache 60303ae22b998861bce3"),
        ("request 1795447501903926409", "request 1795447501999999999"),
        ("wait pid=4711", "wait pid=4712"),
    ],
)
def test_what_belongs_to_one_run_only_is_no_difference(one: str, other: str) -> None:
    assert found(changed(node(one), FORWARD), changed(node(other), FORWARD)) == []


@pytest.mark.parametrize(("one", "other"), [("conv1", "conv2"), ("layer.3", "layer.4"), ("n=1000", "n=2000")])
def test_other_numbers_in_names_are_names(one: str, other: str) -> None:
    assert only(changed(node(one), FORWARD), changed(node(other), FORWARD)).kind == "renamed"


def test_rules_for_names_can_be_listed_added_and_left_out() -> None:
    base, head = changed(node("request-17")), changed(node("request-18"))
    rule = NameRule("request", r"request-\d+", "request-*", "slice")

    assert "uuid" in [rule.name for rule in NAME_RULES]
    assert found(base, head, names=[(r"request-\d+", "request-*")]) == []
    assert found(base, head, names=[rule]) == []
    pids = changed(node("pid 17")), changed(node("pid 18"))
    assert found(*pids) == []
    assert found(*pids, without_names=["process or thread id"]) != []


def test_findings_are_chosen_by_the_names_they_are_at_or_below() -> None:
    head = changed(LOAD, node("forward", *FORWARD.inside, node("dropout")), node("backward", GRAD, node("clip")))

    def names(**rules: Any) -> list[str]:
        return [one.name for one in found(BASE, head, **rules)]

    assert names() == ["clip", "dropout"]
    assert names(ignore=["forw*"]) == ["clip"]
    assert names(only=["dropout", "nothing"]) == ["dropout"]
    assert names(only=["backward"], ignore=["clip"]) == []


def test_problems_limit_the_verdict() -> None:
    lossy = Program(steps_of(STEP), problems={"dropped": 7, "overlap": 2, "odd": 1})
    result = diff(lossy.trace(), BASE.trace())

    assert [(limit.side, limit.kind, limit.count) for limit in result.limits] == [
        ("base", "dropped", 7),
        ("base", "odd", 1),
    ]
    assert str(result.limits[0]) == (
        "base: 7 dropped (the first dropped): cannot know whether what seems to be missing happened"
    )
    assert not result


def test_deep_trees_are_compared_and_shown() -> None:
    def deep(last: str, levels: int = 500) -> Trace:
        builder = TraceBuilder(Origin(pid=1))
        track = builder.thread(1, 1, "MainThread", "train.py")
        for level in range(levels):
            builder.slice(track, "f" if level < levels - 1 else last, level, 10_000 - 2 * level)
        return builder.build()

    result = diff(deep("x"), deep("y"))

    assert [(one.kind, len(one.where.path)) for one in result] == [("renamed", 499)]
    assert len(result.text().splitlines()) > 500
    assert "renamed: x -&gt; y" in result.html()


def test_traces_of_nothing_are_the_same() -> None:
    assert list(diff(Trace(), Trace())) == []
    assert [one.kind for one in diff(Trace(), BASE.trace())] == ["new"]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"oder": "keep"}, "there is no rule 'oder'"),
        ({"order": "random"}, 'order must be "keep" or "ignore", got \'random\''),
        ({"free_threads": "never"}, 'free_threads must be "loosely" or "exactly", got \'never\''),
        ({"ratio": 0.5}, "ratio must be a number from 1 to 1e\\+15, got 0.5"),
        ({"alpha": "small"}, "alpha must be a number"),
        ({"timings": 1}, "timings must be true or false, got 1"),
        ({"ignore": "load"}, "ignore must be a list, got 'load'"),
        ({"ignore": [1]}, "ignore must be a list of text, got 1"),
        ({"names": ["x"]}, "names has 'x'"),
        ({"names": [("(", "x")]}, "'\\(' cannot be used"),
        ({"names": [("a", r"\9")]}, "cannot be used"),
        ({"names": [NameRule("a", "a", "b", "planet")]}, "is of 'planet'"),
        ({"without_names": ["uid"]}, "without_names has 'uid'"),
    ],
)
def test_a_rule_that_cannot_be_says_so(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(DiffError, match=says):
        diff(BASE.trace(), BASE.trace(), **rules)


@pytest.mark.parametrize("side", [[], None, 3, [3]])
def test_a_side_that_is_no_trace_says_so(side: Any) -> None:
    with pytest.raises(DiffError, match=r"head has (no trace|a \w+)\. Pass"):
        diff(BASE.trace(), side)


def test_findings_are_picked_by_kind() -> None:
    result = diff(BASE.trace(), changed(LOAD, FORWARD).trace())

    assert [one.name for one in result.of_kinds("removed", "slower")] == ["backward"]
    assert result.of_kinds("slower") == ()
    with pytest.raises(DiffError, match="there is no kind of finding 'slow'"):
        result.of_kinds("slow")


def test_cycles_of_one_run_are_traces_of_their_own_and_compared_by_step() -> None:
    cycles = [BASE.with_steps(dict.fromkeys(numbers, STEP)).trace() for numbers in (range(3), range(9, 12))]
    more = (*STEP, node("optimizer"))
    other = [BASE.with_steps(dict.fromkeys(numbers, more)).trace() for numbers in (range(3), range(9, 12))]

    assert not diff(cycles, cycles)
    for one, two, kind in ((cycles, other, "added"), (other, cycles, "removed")):
        (finding,) = diff(one, two)
        assert (finding.kind, finding.where.path, finding.name, finding.count) == (kind, PATH, "optimizer", 6)
        assert finding.where.steps == (0, 1, 2, 9, 10, 11)
    # One run of base has all steps: each cycle of head is compared with it.
    whole = BASE.with_steps(dict.fromkeys((*range(3), *range(9, 12)), STEP)).trace()
    assert not diff(whole, cycles)
    assert not diff(cycles, whole)


@pytest.mark.parametrize("rule", [("a{1,99999999999999}", ""), ("a", r"\g<b>"), ("(" * 20_000, "")])
def test_a_rule_that_re_cannot_take_is_an_error_of_ours(rule: tuple[str, str]) -> None:
    with pytest.raises(DiffError, match="cannot be used"):
        diff(BASE.trace(), BASE.trace(), names=[rule])


def test_a_step_of_absurdly_many_digits_is_a_name_like_any_other() -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(1, 1, "main"), "ProfilerStep#" + "9" * 5000, 0, 10)
    trace = builder.build()

    assert not diff(trace, trace)
