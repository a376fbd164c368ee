"""Two cores, the same bytes: whatever a program does, the C core and its twin record the same Trace and files."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock import FakeClock
from stepscope import core
from stepscope.core import clock, twin
from stepscope.core.rows import Label, StepMark
from stepscope.core.values import legal_name
from stepscope.formats import chrome, perfetto
from stepscope.model import build, nesting
from stepscope.model.nesting import nest
from stepscope.model.trace import Origin, Trace
from stepscope.record import drain
from strategies import arguments, names, ticks

native = pytest.importorskip("stepscope._native", reason="the C core is not built")

USERS = (build, nesting, drain, chrome, perfetto)

# What a program can do on a thread: a verb, and which of its spans or names.
steps = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("finish"), st.integers(0, 5)),
    st.tuples(st.just("instant"), st.integers(0, 5)),
    st.tuples(st.just("counter"), st.integers(0, 5)),
    st.tuples(st.just("flow start"), st.integers(0, 5)),
    st.tuples(st.just("flow step"), st.integers(0, 5)),
    st.tuples(st.just("wait"), ticks),
    st.tuples(st.just("thread"), st.integers(0, 2)),
    st.tuples(st.just("open"), st.just(0)),
    st.tuples(st.just("seal"), st.just(0)),
    st.tuples(st.just("measure"), st.just(0)),
    st.tuples(st.just("note"), st.just(0)),
)
vocabulary = st.lists(st.tuples(names, st.one_of(st.none(), arguments)), min_size=6, max_size=6)


class Player:
    """Plays a list of steps on one core, on three threads that take turns."""

    def __init__(self, kernels: Any, words: list[tuple[str, dict[str, Any] | None]]) -> None:
        self.kernels = kernels
        self.words = words
        self.clock = FakeClock()
        # The last of them stands for what is recorded besides the program's own spans.
        self.label = Label(legal_name(words[-1][0]), "cpu_op", "file.py:7")
        args = words[-1][1]
        self.spans = [kernels.record_function(name, args) for name, args in words[:-1]]
        self.spans.append(kernels.span_of(self.label, None if args is None else dict(args)))
        self.windows: list[tuple[Any, int]] = []
        self.recording = False
        self.flows: list[int] = []
        self.entered: list[int] = []

    def do(self, verb: str, what: int) -> None:
        getattr(self, verb.replace(" ", "_"))(what)

    def begin(self, what: int) -> None:
        self.spans[what].__enter__()
        self.entered.append(what)

    def end(self, what: int) -> None:
        self.spans[what].__exit__(None, None, None)
        if what in self.entered:
            self.entered.remove(what)

    def finish(self, what: int) -> None:
        if self.words[what][1] is not None:  # others have nowhere to keep more arguments
            self.spans[what].finish({"more": what, "odd": [None, {what}]})
            if what in self.entered:
                self.entered.remove(what)

    def instant(self, what: int) -> None:
        if what == 5:
            self.kernels.instant_of(self.label, self.words[what][1])
        else:
            self.kernels.instant(*self.words[what])

    def counter(self, what: int) -> None:
        name, args = self.words[what]
        self.kernels.counter(name, what / 4 if args is None else {name: what, "other": -what}, unit=name or None)

    def flow_start(self, what: int) -> None:
        self.flows.append(self.kernels.flow_start(self.words[what][0]))

    def flow_step(self, what: int) -> None:
        if self.flows:
            self.kernels.flow_step(self.flows[what % len(self.flows)])

    def wait(self, what: int) -> None:
        self.clock.now += what

    def open(self, _: int) -> None:
        if not self.recording:
            self.kernels.open_window()
            self.recording = True

    def measure(self, _: int) -> None:
        self.kernels.measure_cpu()

    def note(self, _: int) -> None:
        self.kernels.note_stacks()

    def seal(self, _: int) -> None:
        if self.recording:
            self.windows.append((self.kernels.seal(), self.clock.now))
            self.recording = False

    def play(self, program: list[tuple[str, int]]) -> list[Trace]:
        """The Trace of each window; thread ids are made the same on both cores."""
        with using(self.kernels, self.clock):
            workers = [Worker(self, f"worker {number}") for number in range(2)]
            turn = 0
            for verb, what in program:
                if verb == "thread":
                    turn = what
                elif turn == 0:
                    self.do(verb, what)
                else:
                    workers[turn - 1].do(verb, what)
            for worker in workers:
                worker.end()
            self.do("seal", 0)
            for what in [*self.entered]:  # what stays open would be in every later test's windows
                self.do("end", what)
            self.kernels.discard()
            return [self.trace(window, end) for window, end in self.windows]

    def trace(self, window: Any, end: int) -> Trace:
        args = {"loss": 0.5, "sizes": [end, 1]} if end % 2 else None
        mark = StepMark("ProfilerStep#3", max(0, end - 5), end + 1, threading.get_native_id(), "MainThread", args)
        return drain.drain(window, [mark], Origin(pid=7))


class Worker:
    """A thread that does one step at a time and is waited for."""

    def __init__(self, player: Player, name: str) -> None:
        self.player = player
        self.step: tuple[str, int] | None = None
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self.run, name=name)
        self.thread.start()

    def run(self) -> None:
        while self.go.acquire() and self.step is not None:
            self.player.do(*self.step)
            self.done.release()

    def do(self, verb: str, what: int) -> None:
        self.step = (verb, what)
        self.go.release()
        self.done.acquire()

    def end(self) -> None:
        self.step = None
        self.go.release()
        self.thread.join()


@contextlib.contextmanager
def using(kernels: Any, ticks: FakeClock) -> Iterator[None]:
    """Let every room use these kernels and that clock."""
    before = [user.kernels for user in USERS]
    for user in USERS:
        user.kernels = kernels  # type: ignore[attr-defined]
    kernels.limit(1 << 30, False)
    kernels.use_ticks(ticks)
    clock.use(ticks)
    try:
        yield
    finally:
        kernels.discard()
        kernels.use_ticks(None)
        clock.use(None)
        for user, own in zip(USERS, before, strict=True):
            user.kernels = own  # type: ignore[attr-defined]


def same_ids(trace: Trace) -> list[tuple[Any, ...]]:
    """A trace's rows without thread ids, which differ from run to run."""
    return [(*row[:5], row.track.kind, row.track.name, row.kind, dict(row.args)) for row in trace]


def same_counters(trace: Trace) -> list[tuple[Any, ...]]:
    """A trace's counter values with the names and units of their tracks."""
    ts, values, tracks = trace.counters
    named = [(trace.tracks[track].name, trace.tracks[track].unit) for track in tracks]
    return [*zip(ts, values, named, strict=True)]


@settings(max_examples=300, deadline=None)
@given(program=st.lists(steps, max_size=40), words=vocabulary)
def test_both_cores_record_the_same_traces(
    program: list[tuple[str, int]], words: list[tuple[str, dict[str, Any] | None]]
) -> None:
    ours, twins = (Player(kernels, words).play(program) for kernels in (native, twin))

    assert list(map(same_ids, ours)) == list(map(same_ids, twins))
    for one, other in zip(ours, twins, strict=True):
        assert one.columns == other.columns
        assert one.flows == other.flows
        assert same_counters(one) == same_counters(other)
        assert one.strings == other.strings
        assert [(p.kind, p.count, p.example) for p in one.problems] == [
            (p.kind, p.count, p.example) for p in other.problems
        ]
        assert nest(one) == nest(other)


@settings(max_examples=150, deadline=None)
@given(program=st.lists(steps, max_size=40), words=vocabulary)
def test_both_cores_write_the_same_bytes(
    program: list[tuple[str, int]], words: list[tuple[str, dict[str, Any] | None]]
) -> None:
    for trace in Player(native, words).play(program):
        written = {}
        for kernels in (native, twin):
            with using(kernels, FakeClock()):
                written[kernels] = [
                    b"".join(encode(trace)) for encode in (chrome.encode_chrome, perfetto.encode_perfetto)
                ]
        assert written[native] == written[twin]


def test_the_core_in_use_says_which_and_why() -> None:
    info = core.info()

    assert info.name in ("c", "python")
    assert info.reason
    assert info.clock in ("boottime", "tsc", "monotonic")
