"""Goldens of programs whose order is free: the same text each time, and what such a program does else is found."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from queue import Queue
from threading import Event, Semaphore, Thread

import pytest

from forest import Node, node
from stepscope import FormatError, Trace, flow_end, flow_start, profile, record_function, schedule
from stepscope.analysis.diff import Rules
from stepscope.analysis.golden import from_golden, to_golden
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin
from stepscope.pytest_plugin.compare import Terms, text_difference

TIMES = 20
CHANCE = random.Random(20)  # noqa: S311 - no cryptography
TERMS = Terms({"timings": False}, counter_values=False)


def wait(most_ms: float) -> None:
    """Let threads take turns that nobody knows before."""
    time.sleep(CHANCE.random() * most_ms / 1000)


def pool_in_step() -> Trace:
    """A pool whose work each step waits for."""

    def fetch(_: int) -> None:
        with record_function("fetch", size=32):
            wait(1)
            with record_function("parse"):
                pass

    with profile() as prof, ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(fetch, range(8)))
            with record_function("train"):
                pass
            prof.step()
    return prof.trace


def tasks(*, record_tasks: bool) -> Trace:
    async def fetch() -> None:
        async with record_function("fetch"):
            await asyncio.sleep(CHANCE.random() / 1000)
            with record_function("parse"):
                pass

    async def run() -> None:
        for _ in range(3):
            await asyncio.gather(*(fetch() for _ in range(6)))

    with profile(record_tasks=record_tasks) as prof:
        asyncio.run(run())
    return prof.trace


def pool_beside() -> Trace:
    """A pool that works on what it has been given, whichever step it is."""

    def fetch(number: int) -> None:
        with record_function("fetch", number=number):
            wait(2)

    with ThreadPoolExecutor(4) as pool:
        with profile(schedule=schedule(wait=0, warmup=1, active=4, repeat=1)) as prof:
            for number in range(200):
                pool.submit(fetch, number)
            for _ in range(5):
                with record_function("train"):
                    time.sleep(0.004)
                prof.step()
        pool.shutdown(cancel_futures=True)
    return prof.trace


def loader() -> Trace:
    """A thread that reads ahead, how much is chance, is at it whenever a step ends, and hands over with flows."""
    batches: Queue[int] = Queue()
    begun, permits, done = Semaphore(0), Semaphore(0), Event()

    def load() -> None:
        for number in count():
            with record_function("read", number=number, mode="rb"):
                begun.release()
                permits.acquire()
                with record_function("parse"):
                    batches.put(flow_start("batch"))
            if done.is_set():
                break

    thread = Thread(target=load, name="loader")
    thread.start()
    begun.acquire()
    with profile(schedule=schedule(wait=1, warmup=1, active=6, repeat=1)) as prof:
        for _ in range(9):
            for _ in range(CHANCE.randint(2, 4)):
                permits.release()
                begun.acquire()
            for _ in range(2):
                with record_function("take"):
                    flow_end(batches.get())
            prof.step()
    done.set()
    permits.release()
    thread.join()
    return prof.trace


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (pool_in_step, ["thread ThreadPoolExecutor-*_*", "  fetch(size=32) x24", "    parse"]),
        (lambda: tasks(record_tasks=False), ["thread Task-*", "  fetch x18", "    parse"]),
        (lambda: tasks(record_tasks=True), ["thread Task-*", "  fetch x18", "    parse"]),
        (pool_beside, ["thread ThreadPoolExecutor-*_* free", "  fetch"]),
    ],
    ids=["pool in step", "tasks", "tasks and their turns", "pool beside"],
)
def test_a_program_without_an_order_has_one_golden(program: Callable[[], Trace], lines: list[str]) -> None:
    texts = {to_golden(program()) for _ in range(TIMES)}

    assert len(texts) == 1
    assert "\n".join(lines) in texts.pop()


def test_a_loader_that_reads_ahead_is_told_by_what_it_does() -> None:
    """What it hands over too: a flow that began before the window ends like any other."""
    texts = [to_golden(loader()) for _ in range(TIMES)]

    assert {*texts} == {
        'stepscope golden trace 1\nthread MainThread\n  step 2-7\n    take x2\n      instant "flow"\n'
        'thread loader free\n  read(mode="rb")\n    parse\n      instant batch\n'
        'flow batch x3 through "flow" in MainThread, batch in loader\n'
    }
    assert {text_difference(from_golden(texts[0], "it"), text, TERMS) for text in texts} == {""}


READ = node("read", node("open"), node("parse"), args={"mode": "rb"})


def window(calls: Sequence[Node], *, cut: bool = True, steps: int = 3) -> Trace:
    """Steps, and a loader whose calls lie across their edges; the last one is cut."""
    builder = TraceBuilder(Origin(pid=1))
    main, free = builder.thread(1, 1, "MainThread"), builder.thread(1, 2, "loader")
    for number in range(steps):
        builder.slice(main, f"ProfilerStep#{number}", number * 100, 100)
    for at, call in enumerate(calls):
        is_cut = cut and at == len(calls) - 1
        builder.slice(free, call.name, at * 40, 39, args=call.args, cut=is_cut)
        for place, inside in enumerate(() if is_cut else call.inside):
            builder.slice(free, inside.name, at * 40 + 5 + 5 * place, 4, args=inside.args)
    return builder.build()


def difference(base: Trace, head: Trace, terms: Terms = TERMS) -> str:
    return text_difference(from_golden(terms.text_of(base), "it"), terms.text_of(head), terms)


def test_how_many_calls_there_are_is_no_difference() -> None:
    assert to_golden(window([READ] * 7)) == to_golden(window([READ] * 5))
    assert difference(window([READ] * 7), window([READ] * 5)) == ""


def test_a_thread_that_keeps_pace_once_is_the_same() -> None:
    """Whether all calls fell into whole steps is chance too."""
    paced = window([READ, READ], cut=False, steps=1)
    free = window([READ] * 5, steps=1)

    assert "thread loader\n" in to_golden(paced)
    assert "thread loader free\n" in to_golden(free)
    assert difference(paced, free) == ""
    assert difference(free, paced) == ""


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ([node("read", node("open"), node("parse"), node("copy"), args={"mode": "rb"})] * 6, "+ copy"),
        ([node("read", node("open"), args={"mode": "rb"})] * 6, "- parse"),
        ([*[READ] * 6, *[node("shuffle")] * 4], "+ shuffle"),
        ([node("read", node("open"), node("parse"), args={"mode": "r"})] * 6, "mode rb -> r"),
    ],
    ids=["more in each call", "less in each call", "another kind of call", "other arguments"],
)
def test_what_it_does_else_is_found(calls: list[Node], found: str) -> None:
    assert found in difference(window([READ] * 6), window(calls))


def test_a_call_that_is_rare_is_no_difference() -> None:
    rare = [*[READ] * 5, node("log"), READ]

    assert difference(window([READ] * 6), window(rare)) == ""
    assert difference(window(rare), window([READ] * 6)) == ""


def test_calls_that_vary_are_all_told() -> None:
    """A call that does something now and then does so, or not, in any window."""
    other = node("read", node("open"), node("parse"), node("log"), args={"mode": "rb"})

    text = to_golden(window([READ, other, READ, other, READ]))

    calls = ("    open\n    parse\n", "    open\n    parse\n    log\n")
    told = [f'  read(mode="rb")\n{inside}' for inside in calls]
    assert text.endswith((f"thread loader free\n{told[0]}{told[1]}", f"thread loader free\n{told[1]}{told[0]}"))
    assert difference(window([READ, other, READ, other, READ]), window([READ] * 5)) == ""


@pytest.mark.parametrize(
    ("calls", "line"), [(1, "  read cut\n"), (2, "  read cut x2\n"), (3, '  read(mode="rb")\n    open\n    parse\n')]
)
def test_too_few_whole_calls_do_not_say_what_they_do(calls: int, line: str) -> None:
    text = to_golden(window([READ] * calls))

    assert text.endswith(f"thread loader free\n{line}")


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 9])
def test_the_text_says_the_same_when_it_is_read_again(calls: int) -> None:
    text = to_golden(window([*[READ] * calls, node("shuffle", node("swap")), READ]))

    assert to_golden(from_golden(text, "it")) == text


def test_compared_exactly_it_has_every_call() -> None:
    rules = Rules.of({"free_threads": "exactly"})

    text = to_golden(window([READ] * 5), rules)

    assert 'thread loader\n  read(mode="rb") x4\n' in text
    exactly = Terms({"timings": False, "free_threads": "exactly"}, counter_values=False)
    assert "read" in difference(window([READ] * 7), window([READ] * 5), exactly)


def test_steps_are_not_in_a_free_thread() -> None:
    text = "stepscope golden trace 1\nthread loader free\n  step 1\n"

    with pytest.raises(FormatError, match="line 3: a step cannot stand inside a free thread"):
        from_golden(text, "it")
