"""Traces for tests of diff, made of nested nodes: what a program did, without saying when or under which ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace

US = 1000


@dataclass(frozen=True)
class Node:
    """A slice with what is in it, or an instant. Times are in us: its own, that is besides what is in it."""

    name: str
    inside: tuple["Node", ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    own_us: float = 10.0
    cat: str = "user_annotation"
    instant: bool = False


def node(name: str, *inside: Node, **more: Any) -> Node:
    return Node(name, inside, **more)


@dataclass(frozen=True)
class Program:
    """What a recording holds: steps of one thread, what other threads did meanwhile, counters and flows.

    Attributes:
        steps: number -> what the step did.
        threads: name -> roots; they begin with the recording and follow one another.
        counters: name -> values.
        flows: (name, how many): from the first root of the first thread to the first step's slice, or later ones.
        problems: kind -> count.
    """

    steps: Mapping[int, Sequence[Node]] = field(default_factory=dict)
    threads: Mapping[str, Sequence[Node]] = field(default_factory=dict)
    counters: Mapping[str, Sequence[float]] = field(default_factory=dict)
    flows: Sequence[tuple[str, int]] = ()
    problems: Mapping[str, int] = field(default_factory=dict)
    process: str = "train.py"

    def with_steps(self, steps: Mapping[int, Sequence[Node]]) -> "Program":
        return replace(self, steps=steps)

    def trace(self, *, pid: int = 4711, tid: int = 4711, start_us: int = 0, base_ns: int = 10**18) -> Trace:
        """The Trace of it, under these ids and at that time."""
        builder = TraceBuilder(Origin(base_ns=base_ns, pid=pid))
        main = builder.thread(pid, tid, "MainThread", self.process)
        now = start_us * US
        rows: list[int] = []
        first_step: list[int] = []
        for number, inside in self.steps.items():
            step = node(f"ProfilerStep#{number}", *inside)
            first_step.append(len(rows))
            now = _place(builder, main, step, now, rows) + 5 * US
        for at, (name, roots) in enumerate(self.threads.items()):
            track = builder.thread(pid, tid + 1 + at, name, self.process)
            then = start_us * US
            for root in roots:
                first_step.append(len(rows))
                then = _place(builder, track, root, then, rows) + 5 * US
        for name, values in self.counters.items():
            counter = builder.counter_track(pid, name, "bytes", self.process)
            for at, value in enumerate(values):
                builder.count(counter, start_us * US + at, value)
        for name, count in self.flows:
            for at in range(count):
                builder.flow(name, [rows[at], rows[-1 - at]])
        for kind, count in self.problems.items():
            builder.problem(kind, count, f"the first {kind}")
        return builder.build()


def _place(builder: TraceBuilder, track: int, what: Node, now: int, rows: list[int]) -> int:
    """Add a node at a time; returns when it ends."""
    if what.instant:
        rows.append(builder.instant(track, what.name, now, cat=what.cat, args=what.args))
        return now + 1
    gap = round(what.own_us * US / (len(what.inside) + 1))
    end = now + gap * (len(what.inside) + 1) + sum(_length(one) for one in what.inside)
    rows.append(builder.slice(track, what.name, now, end - now, cat=what.cat, args=what.args))
    for one in what.inside:
        now = _place(builder, track, one, now + gap, rows)
    return end


def _length(what: Node) -> int:
    if what.instant:
        return 1
    gap = round(what.own_us * US / (len(what.inside) + 1))
    return gap * (len(what.inside) + 1) + sum(_length(one) for one in what.inside)
