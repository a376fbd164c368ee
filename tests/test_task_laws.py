"""The law of tasks: in any schedule each span is whole, stands where it began, and lasts as long as it was open."""

import asyncio
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clock import FakeClock
from stepscope import core, profile, record_function, write
from stepscope.model.nesting import nest
from stepscope.model.trace import CUT, SLICE, Row, Trace

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = 4
# An overrun of one tick would be rounding.
UNIT_NS = 10
_LANE = re.compile(r" \(overlap \d+\)\Z")


@dataclass(frozen=True)
class Act:
    """What one task does when it has its turn.

    Attributes:
        verb: "begin", "end" of its own innermost span, "end any" of all tasks', or "mark".
        number: which name, or which of the spans that are open.
        unlike: whether the span is told from others of its name.
    """

    task: int
    verb: str
    number: int
    unlike: bool
    before: int


@dataclass
class Held:
    """A span that is open."""

    span: Any
    name: str
    lane: int
    start: int
    unlike: bool
    inside: "Held | None"
    early: bool = False  # it began before the window


# (lane, name, ts, dur, kind)
Seen = tuple[str, str, int, int, int]


@dataclass
class Player:
    """Plays a schedule, and notes what the trace must show, and what each span was begun inside of, by name and ts."""

    clock: FakeClock
    open: list[Held] = field(default_factory=list)
    expected: "Counter[Seen]" = field(default_factory=Counter)
    parents: "Counter[tuple[Seen, tuple[str, int] | None]]" = field(default_factory=Counter)
    window: int | None = None

    def act(self, act: Act) -> None:
        """In the task that the act is of."""
        if act.verb == "begin":
            name = "xyz"[act.number % 3]
            span = record_function(name, told=act.number) if act.unlike else record_function(name)
            span.__enter__()
            around = [held for held in self.open if held.lane == act.task]
            inside = around[-1] if around else None
            self.open.append(Held(span, name, act.task, self.clock.now, act.unlike, inside))
        elif act.verb == "end":
            mine = [held for held in self.open if held.lane == act.task]
            if mine:
                self.end(mine[-1], act.task)
        elif self.open:
            self.end(self.open[act.number % len(self.open)], act.task)

    def end(self, wanted: Held, task: int) -> None:
        """Spans without arguments are one span if their names are equal: the own lane's is meant first."""
        same = [held for held in self.open if (held.name, held.unlike) == (wanted.name, False)]
        if not wanted.unlike:
            mine = [held for held in same if held.lane == task]
            if not mine and len({held.lane for held in same}) > 1:
                return  # nobody could say which
            wanted = (mine or same)[-1]
        wanted.span.__exit__(None, None, None)
        self.open.remove(wanted)
        self.note(wanted, self.clock.now, cut=False)

    def begin_window(self) -> None:
        """Recording begins."""
        self.window = self.clock.now
        for held in self.open:
            held.early = True

    def note(self, held: Held, end: int, *, cut: bool) -> None:
        if self.window is not None:
            start = max(held.start, self.window)
            kind = SLICE | CUT if cut or held.early else SLICE
            seen = f"t{held.lane}", held.name, start, end - start, kind
            inside = None if held.inside is None else (held.inside.name, max(held.inside.start, self.window))
            self.expected[seen] += 1
            self.parents[seen, inside] += 1


async def play(player: Player, acts: list[Act], opens: int) -> Trace:
    """Let tasks take turns as the acts say, and record from one of them on."""
    loop = asyncio.get_running_loop()
    inboxes: list[asyncio.Queue[Callable[[], None] | None]] = [asyncio.Queue() for _ in range(TASKS)]

    async def run(inbox: "asyncio.Queue[Callable[[], None] | None]") -> None:
        while (todo := await inbox.get()) is not None:
            todo()
            inbox.task_done()

    async def have(act: Act) -> None:
        await inboxes[act.task].put(lambda: player.act(act))
        await inboxes[act.task].join()

    tasks = [loop.create_task(run(inbox), name=f"t{number}") for number, inbox in enumerate(inboxes)]
    prof = profile()
    for number, act in enumerate(acts):
        if number == opens:
            player.begin_window()
            prof.start()
        player.clock.now += act.before * UNIT_NS
        await have(act)
    if player.window is None:
        player.begin_window()
        prof.start()
    player.clock.now += UNIT_NS
    prof.stop()
    for held in player.open:
        player.note(held, player.clock.now, cut=True)
    player.window = None
    while player.open:  # what is left open would be in the next trace
        await have(Act(player.open[-1].lane, "end", 0, unlike=False, before=0))
    for inbox in inboxes:
        await inbox.put(None)
    await asyncio.gather(*tasks)
    return prof.trace


def played(acts: list[Act], opens: int) -> tuple[Player, Trace]:
    clock = FakeClock()
    core.use_clock(clock)
    try:
        player = Player(clock)
        return player, asyncio.run(play(player, acts, opens))
    finally:
        core.use_clock(None)


def seen(row: Row) -> Seen:
    return _LANE.sub("", row.track.name), row.name, row.ts, row.dur, row.kind


def acts(*verbs: str, at_least: int = 0) -> "st.SearchStrategy[list[Act]]":
    """Schedules; with `at_least` 1 no two things happen at one time."""
    one = st.builds(
        Act,
        st.integers(0, TASKS - 1),
        st.sampled_from(verbs),
        st.integers(0, 8),
        st.booleans(),
        st.one_of(st.just(at_least), st.integers(at_least, 9)),
    )
    return st.lists(one, max_size=30)


@given(acts("begin", "begin", "end", at_least=1), st.integers(0, 30))
@settings(deadline=None)
def test_spans_of_tasks_that_nest_stand_on_their_lanes_with_their_own_children(acts: list[Act], opens: int) -> None:
    player, trace = played(acts, opens)

    assert Counter(map(seen, trace)) == player.expected
    assert {track.kind for track in trace.tracks} <= {"task"}
    assert {problem.kind for problem in trace.problems} <= {"cut"}
    parents = [trace[parent] if parent >= 0 else None for parent in nest(trace).parent]
    inside = [parent and (parent.name, parent.ts) for parent in parents]
    assert Counter(zip(map(seen, trace), inside, strict=True)) == player.parents


@given(acts("begin", "begin", "end", "end any"), st.integers(0, 30))
@settings(deadline=None)
def test_spans_that_any_task_ends_in_any_order_are_whole_and_stand_where_they_began(
    acts: list[Act], opens: int
) -> None:
    player, trace = played(acts, opens)

    assert Counter(map(seen, trace)) == player.expected
    assert {problem.kind for problem in trace.problems} <= {"cut", "overlap"}


@given(acts("begin", "begin", "end", "end any"), st.integers(0, 8))
@settings(deadline=None, max_examples=15)
def test_both_files_hold_what_tasks_did(acts: list[Act], opens: int) -> None:
    """Each file is loaded by the trace processor and compared with the trace, row by row; and read back."""
    _, trace = played(acts, opens)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tasks.json", "tasks.pftrace"):
            write(trace, Path(folder, name))
