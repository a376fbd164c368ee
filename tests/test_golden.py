"""Goldens: what a trace did as text, and back; what is folded, what is left out, and what a bad line says."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock import FakeClock
from stepscope import (
    AnalysisError,
    FormatError,
    Trace,
    counter,
    diff,
    flow_end,
    flow_start,
    instant,
    profile,
    record_function,
    schedule,
)
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.golden import HEADER, from_golden, to_golden
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin
from strategies import HOSTILE, Span, arguments, counts, flows, names, programs, texts


def golden(*lines: str) -> str:
    return "\n".join((HEADER, *lines, ""))


def trace_of(*lines: str) -> Trace:
    return from_golden(golden(*lines), "a.txt")


def add(builder: TraceBuilder, track: int, name: str, at: int = 0, dur: int = 0, **options: Any) -> int:
    return builder.slice(track, name, at, dur, **options)


# -- what it says ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_a_program_in_steps_is_a_call_tree_with_counts_and_arguments(clock: FakeClock) -> None:
    with profile(schedule=schedule(wait=0, warmup=0, active=3, repeat=1)) as prof:
        for number in range(3):
            clock.now += 1
            with record_function("forward", batch_size=32, mode="train"):
                for _ in range(4):
                    clock.now += 1
                    with record_function("linear"):
                        clock.now += 1
                clock.now += 1
                instant("cache miss", key="a" if number < 2 else "b")
                flow = flow_start("batch")
                clock.now += 1
            clock.now += 1
            with record_function("backward"):
                clock.now += 1
                flow_end(flow)
                clock.now += 1
            counter("queue", number, unit="count")
            clock.now += 1
            prof.step()

    def step(number: str, key: str) -> tuple[str, ...]:
        return (
            f"  step {number}",
            '    forward(batch_size=32, mode="train")',
            "      linear x4",
            f'      instant "cache miss"(key="{key}")',
            "      instant batch",
            "    backward",
            '      instant "flow"',
        )

    assert to_golden(prof.trace) == golden(
        "thread MainThread",
        *step("0-1", "a"),
        *step("2", "b"),
        "counter queue [count]",
        'flow batch x3 through "flow" in MainThread, batch in MainThread',
    )
    assert "counter queue [count] = 0, 1, 2" in to_golden(prof.trace, counter_values=True).split("\n")


def test_times_ids_pids_and_what_belongs_to_one_run_are_left_out() -> None:
    def build(pid: int, tid: int, scale: int, address: int) -> str:
        builder = TraceBuilder(Origin(base_ns=scale, pid=pid, host=f"host{pid}", process=f"p{pid}"))
        track = builder.thread(pid, tid, "MainThread", f"p{pid}")
        path = f"/tmp/pytest-{pid}/x.bin"  # noqa: S108 - a name
        add(
            builder, track, f"<A object at 0x{address:x}>", scale, 10 * scale, args={"of": f"0x{address:x}", "to": path}
        )
        add(builder, track, "b", 2 * scale, scale)
        return to_golden(builder.build())

    assert build(7, 8, 10, 0x7F0012345678) == build(70, 81, 1001, 0x55AA12345678)
    assert build(7, 8, 10, 0x7F0012345678) == golden(
        "thread MainThread",
        '  "<A object at <address>>"(of="<address>", to="<temporary path>")',
        "    b",
    )


def test_what_a_pool_and_lanes_do_is_sorted_whichever_of_them_did_it() -> None:
    def build(order: list[tuple[int, str]]) -> str:
        builder = TraceBuilder()
        main = builder.thread(1, 1, "MainThread")
        pool = [builder.thread(1, 2 + number, f"ThreadPoolExecutor-0_{number}") for number in range(3)]
        add(builder, main, "a", 0, 100)
        add(builder, main, "first lane", 50, 100)
        add(builder, main, "second lane", 60, 100)
        for at, (worker, name) in enumerate(order):
            add(builder, pool[worker], name, 10 * at, 5)
        return to_golden(builder.build())

    text = build([(0, "fetch"), (1, "parse"), (0, "fetch"), (2, "fetch")])
    assert text == build([(2, "parse"), (1, "fetch"), (1, "fetch"), (1, "fetch")])
    assert text == golden(
        "thread MainThread",
        "  a",
        "lane MainThread",
        '  "first lane"',
        '  "second lane"',
        "thread ThreadPoolExecutor-*_*",
        "  fetch x3",
        "  parse",
    )


def test_processes_stand_by_name_the_profiled_one_first_and_equal_ones_once() -> None:
    builder = TraceBuilder(Origin(pid=30))
    for pid, process in ((10, "worker 1"), (20, "worker 2"), (30, "train.py"), (40, "other")):
        track = builder.thread(pid, pid, "MainThread", process)
        add(builder, track, "main" if pid == 30 else "work")
        builder.count(builder.counter_track(pid, "memory", "bytes", process), 5, 1.5)

    assert to_golden(builder.build()) == golden(
        "thread MainThread",
        "  main",
        "counter memory [bytes]",
        "process other",
        "  thread MainThread",
        "    work",
        "  counter memory [bytes]",
        'process "worker *" x2',
        "  thread MainThread",
        "    work",
        "  counter memory [bytes]",
    )


def test_categories_cuts_and_problems_are_said() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    add(builder, track, "aten::add", 0, 1, cat="cpu_op", args={"shape": [3, 4]}, cut=True)
    builder.problem("dropped", 12, "the memory was spent")

    assert to_golden(builder.build()) == golden(
        "problem dropped", "thread MainThread", "  aten::add(shape=[3, 4]) [cpu_op] cut"
    )


def test_rules_say_what_counts() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    for at, (name, cat) in enumerate((("job-17", "x"), ("b", "y"), ("job-18", "x"))):
        add(builder, track, name, 10 * at, 5, cat=cat, args={"n": at, "External id": at})
    trace = builder.build()

    assert to_golden(trace) == golden("thread MainThread", "  job-17(n=0) [x]", "  b(n=1) [y]", "  job-18(n=2) [x]")
    rules = Rules.of({"order": "ignore", "args": False, "categories": False, "names": [("job-[0-9]+", "job-*")]})
    assert to_golden(trace, rules) == golden("thread MainThread", "  b", "  job-* x2")


def test_a_trace_of_nothing_says_so() -> None:
    assert to_golden(Trace()) == golden("nothing")
    assert len(trace_of("nothing")) == 0


def test_a_golden_that_nobody_could_review_is_refused() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    for number in range(100_001):
        add(builder, track, f"call {number}", 2 * number, 1)

    with pytest.raises(
        AnalysisError, match=r"more than 100000 lines, which nobody reviews. Record less, or use a trace"
    ):
        to_golden(builder.build())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_one_line_that_shows_all_of_it(name: str) -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, name or "x", "p")
    add(builder, track, name, args={name: name})
    text = to_golden(builder.build())

    assert text.count("\n") == 3
    assert all(char >= " " for char in text.replace("\n", ""))
    assert not set("\u2028\u2029\ufeff\uffff\x7f") & set(text)
    assert to_golden(from_golden(text, "")) == text


def test_text_that_deceives_a_reviewer_is_escaped() -> None:
    builder = TraceBuilder()
    track = builder.thread(1, 1, "MainThread")
    add(builder, track, "pay\u202e001\u2066 \u200bé 中 😀")

    assert to_golden(builder.build()).split("\n")[2] == '  "pay\\u202e001\\u2066 \\u200bé 中 😀"'


# -- and back ----------------------------------------------------------------------------------------------------


def test_a_golden_makes_a_trace_with_a_tick_for_each_call() -> None:
    trace = trace_of("thread MainThread", "  step 4-5(n=1)", "    a x2", "    instant b", "thread T-*", "  c [io] cut")

    assert [(row.name, row.ts, row.dur, row.track.name) for row in trace] == [
        ("ProfilerStep#4", 0, 6000, "MainThread"),
        ("a", 1000, 1000, "MainThread"),
        ("a", 3000, 1000, "MainThread"),
        ("b", 5000, 0, "MainThread"),
        ("ProfilerStep#5", 7000, 6000, "MainThread"),
        ("a", 8000, 1000, "MainThread"),
        ("a", 10000, 1000, "MainThread"),
        ("b", 12000, 0, "MainThread"),
        ("c", 14000, 1000, "T-*"),
    ]
    assert trace[0].args == {"n": 1}
    assert [problem.kind for problem in trace.problems] == ["cut"]


def test_line_ends_of_windows_a_byte_order_mark_and_empty_lines_do_not_matter() -> None:
    text = "\ufeff" + golden("thread MainThread", "", "  a(x=1)").replace("\n", "\r\n")

    assert to_golden(from_golden(text, "")) == golden("thread MainThread", "  a(x=1)")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["thread"], "line 2: expected a name, or one in double quotes."),
        (["thread A", "   b"], "line 3: it is indented by 3 spaces, not by two for each level it is in."),
        (["thread A", "      b"], "line 3: it is indented by 6 spaces, not by two"),
        (["thread A", "  b(c=)"], "line 3: expected a value as in JSON, such as 32, true or \"text\" at column 5"),
        (["thread A", "  b(c=1"], "line 3: expected ')'."),
        (["thread A", "  b(c=1, c=2)"], "line 3: the argument 'c' is there twice."),
        (["thread A", "  b(c=null)"], "line 3: a trace holds None as text only: put it in double quotes."),
        (["thread A", "  b(c=NaN)"], "line 3: expected a value as in JSON"),
        (["thread A", "  b(c=" + "[" * 100_000], "line 3: expected a value as in JSON"),
        (["thread A", "  b(c=" + "9" * 5000 + ")"], "line 3: "),
        (["thread A", "  b x0"], "line 3: expected a count of at least 1"),
        (["thread A", "  b x" + "9" * 30], "line 3: expected a number of up to 18 digits"),
        (["thread A", "  b y"], "line 3: expected the end of the line at column 2, found ' y'."),
        (["thread A", "  step 3-2"], "line 3: steps 3-2 do not rise."),
        (["thread A", "  thread B"], "line 3: a thread cannot stand inside a thread."),
        (["thread A", "  instant b", "    c"], "line 4: a call cannot stand inside an instant."),
        (["a"], "line 2: a call cannot stand inside nothing else."),
        (["thread A", "<<<<<<< HEAD"], "line 3: a merge conflict is not resolved."),
        (["thread A", "  b x99999999999"], "line 3: with it there are more than 10000000 rows."),
        (["thread A", "  b x99999", "    c x99999"], "line 4: with it there are more than 10000000 rows."),
        (["thread A", *("  " * depth + "b" for depth in range(1, 600))], "line 515: it is deeper than 512 levels."),
        (["flow f through a in A"], "line 2: a flow passes two places at least."),
        (["thread A", "  a", "flow f through a in A, b in A"], "line 4: the flow passes 'b' in 'A', which is"),
        (
            ["thread A", "  a", "flow f through a in A, a in A"],
            "line 4: the flow passes 'a' in 'A', which is not there so often"),
        (["counter c = 1, true"], "line 2: expected a number"),
    ],
)  # fmt: skip
def test_a_golden_that_was_edited_badly_is_one_error_with_its_line_and_the_fix(lines: list[str], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        trace_of(*lines)

    assert str(caught.value).startswith(f"a.txt: {message}")
    assert str(caught.value).endswith("Correct the line, or write the golden anew with pytest --trace-update.")
    assert len(str(caught.value)) < 300


def test_a_golden_of_another_kind_or_of_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatError, match=r"a.txt: line 1: expected 'stepscope golden trace 1', found '{'"):
        from_golden('{\n"traceEvents": []}', "a.txt")
    with pytest.raises(
        FormatError, match=r"a.txt: line 1: a golden of version 2, and this stepscope reads 1. Upgrade it"
    ):
        from_golden("stepscope golden trace 2\n", "a.txt")


# -- the law -----------------------------------------------------------------------------------------------------


def lay_out(builder: TraceBuilder, track: int, program: list[Span], at: int = 0) -> int:
    """Add a generated program's rows; returns when it ends."""
    for span in program:
        at += span.before
        if span.instant:
            builder.instant(track, span.name, at, args=span.args)
            continue
        ends = at + length(span)
        builder.slice(track, span.name, at, ends - at, args=span.args)
        lay_out(builder, track, span.inside, at)
        at = ends
    return at


def length(span: Span) -> int:
    return 0 if span.instant else sum(inner.before + length(inner) for inner in span.inside) + span.after


threads = st.lists(st.tuples(st.sampled_from((7, 9)), st.one_of(texts, st.just("T-1")), programs), max_size=4)


@settings(max_examples=200, deadline=None)
@given(
    threads=threads,
    lanes=st.lists(st.tuples(names, arguments), max_size=3),
    counts=counts,
    flows=flows,
    values=st.booleans(),
    order=st.sampled_from(("keep", "ignore")),
)
def test_the_trace_of_a_golden_has_that_golden(  # noqa: PLR0917 - what Hypothesis makes
    threads: list[tuple[int, str, list[Span]]],
    lanes: list[tuple[str, dict[str, Any]]],
    counts: list[tuple[int, str, str, int, Any]],
    flows: list[tuple[str, list[int]]],
    values: bool,
    order: str,
) -> None:
    builder = TraceBuilder(Origin(pid=9))
    rows: list[int] = []
    for pid, name, program in threads:
        track = builder.thread(pid, 0, name)
        lay_out(builder, track, program)
    track = builder.thread(9, 0, "MainThread")
    for number, (name, args) in enumerate(lanes):
        rows.append(builder.slice(track, name, 10 * number, 15, args=args, cat=name))
    rows += [builder.slice(track, f"ProfilerStep#{number}", 100 + number, 1) for number in range(5)]
    for pid, name, unit, ts, value in counts:
        builder.count(builder.counter_track(pid, name, unit), ts, value)
    for name, points in flows:
        builder.flow(name, [rows[point % len(rows)] for point in points])
    rules = Rules(order=order)
    text = to_golden(builder.build(), rules, counter_values=values)

    again = from_golden(text, "law")
    assert to_golden(again, rules, counter_values=values) == text


@settings(max_examples=100, deadline=None)
@given(program=programs, steps=st.lists(programs, max_size=3))
def test_diff_finds_nothing_between_a_trace_and_its_golden(program: list[Span], steps: list[list[Span]]) -> None:
    """On one thread, whose steps both have in place; what other threads do in which step is not in a golden."""
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 7, "MainThread", "train.py")
    at = lay_out(builder, track, program) + 1
    for number, inside in enumerate(steps):
        end = at + sum(span.before + length(span) for span in inside) + 1
        builder.slice(track, f"ProfilerStep#{number}", at, end - at)
        lay_out(builder, track, inside, at)
        at = end + 1
    trace = builder.build()
    again = from_golden(to_golden(trace), "law")

    assert list(diff(trace, again, timings=False)) == []
    assert list(diff(again, trace, timings=False)) == []


def test_a_real_program_on_many_threads_has_one_golden_however_it_ran() -> None:
    """Real clocks, a real pool: only what does not depend on them is in the text."""

    def record() -> str:
        with profile() as prof, record_function("all"):
            workers = [threading.Thread(target=work, name=f"worker-{number}") for number in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        return to_golden(prof.trace)

    def work() -> None:
        for _ in range(3):
            with record_function("job", on=object()), record_function("inner"):
                pass

    assert record() == record() == golden(
        "thread MainThread",
        "  all",
        "thread worker-*",
        '  job(on="<object object at <address>>") x12',
        "    inner",
    )  # fmt: skip
