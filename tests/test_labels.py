"""What is recorded besides the program's own spans: slices and instants of other categories."""

from typing import Any

from clock import FakeClock
from stepscope import profile, record_function
from stepscope.core import kernels
from stepscope.core.rows import Label
from stepscope.model.trace import Trace

OPERATOR = Label("aten::mul", "cpu_op", "net.py:12")


def called(trace: Trace) -> list[tuple[str, str, str, int, int, dict[str, Any]]]:
    return [(row.name, row.cat, row.site, row.ts, row.dur, dict(row.args)) for row in trace]


def test_a_label_says_name_category_and_site(clock: FakeClock) -> None:
    span = kernels.span_of(OPERATOR)
    with profile() as prof:
        clock.at(3)
        with record_function("aten::mul"), span, span:  # one that is kept is re-entrant
            clock.at(7)
        kernels.instant_of(Label("[memory]", "cpu_instant_event"), {"Bytes": 64})

    base = prof.trace[0].ts - 3
    assert [(name, cat, site, ts - base, dur, args) for name, cat, site, ts, dur, args in called(prof.trace)] == [
        ("aten::mul", "user_annotation", "", 3, 4, {}),
        ("aten::mul", "cpu_op", "net.py:12", 3, 4, {}),
        ("aten::mul", "cpu_op", "net.py:12", 3, 4, {}),
        ("[memory]", "cpu_instant_event", "", 7, 0, {"Bytes": 64}),
    ]
    assert (span.name, repr(span)) == ("aten::mul", "record_function('aten::mul')")


def test_an_end_may_bring_arguments() -> None:
    with profile() as prof:
        span = kernels.span_of(Label("gc", "gc"), {"generation": 2, "collected": 0})
        with record_function("around"):
            span.__enter__()
            span.finish({"collected": 5, "odd": [1, {2}]})

    assert called(prof.trace)[1][5] == {"generation": 2, "collected": 5, "odd": [1, [2]]}
    assert prof.trace[1].ts + prof.trace[1].dur <= prof.trace[0].ts + prof.trace[0].dur


def test_what_ends_a_window_while_its_last_arguments_are_read_ends_it_all_the_same() -> None:
    class Stops:
        def __repr__(self) -> str:
            prof.stop()
            return "stopped"

    with profile() as later:
        pass
    prof = profile()
    prof.start()
    span = kernels.span_of(Label("op", "cpu_op"), {})
    span.__enter__()
    span.finish({"what": Stops()})
    later.start()
    later.stop()

    assert [row[:2] for row in called(prof.trace)] == [("op", "cpu_op")]
    assert len(later.trace) == 0


def test_an_end_without_room_for_its_arguments_is_still_an_end() -> None:
    with profile(buffer_bytes=1 << 16) as prof:
        span = kernels.span_of(Label("op", "cpu_op"), {"k": 1})
        span.__enter__()
        span.finish({"long": "x" * 100_000})
        with record_function("after"):
            pass

    assert [(row.name, row.kind) for row in prof.trace] == [("op", 0), ("after", 0)]
    assert [(problem.kind, problem.count) for problem in prof.trace.problems] == [("dropped", 1)]


def test_labels_give_way_with_policy_ring() -> None:
    with profile(buffer_bytes=1 << 18, buffer_policy="ring") as prof:
        for number in range(20_000):
            span = kernels.span_of(Label(f"op {number}", "cpu_op", f"f.py:{number}"), {"k": number})
            span.__enter__()
            span.finish({"more": number})

    last = called(prof.trace)[-1]
    assert (last[0], last[2], last[5]) == ("op 19999", "f.py:19999", {"k": 19999, "more": 19999})
    assert {(args["k"], args.get("more")) for *_, args in called(prof.trace)} == {
        (row, row) for row in range(20_000 - len(prof.trace), 20_000)
    }
