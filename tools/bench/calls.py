"""Function tracing, a call at a time and on a real program: ours, and the peers that trace every call.

The real program is the standard library at work: it prints a syntax tree and JSON, compares and wraps texts, all of it
in Python. What tracing makes of it is how many times it takes without.
"""

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import json
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.spans import call_loop
from bench.timing import AbsentError, Checked, Contender, Timed, fresh

__all__ = ["CALLS", "WORKLOAD", "untraced", "work"]

Open = Callable[[int], AbstractContextManager[Timed]]
# Makes what is run, for so many operations.
Ready = Callable[[int], Callable[[], None]]
# Begins to trace; returns what ends it, and what then says how many calls of a name it has recorded.
Begin = Callable[[], tuple[Callable[[], object], Callable[[str], int]]]


def _call(ops: int) -> Callable[[], None]:
    def function() -> None:
        """Do nothing."""

    return functools.partial(fresh(call_loop), function, ops)


def work(ops: int) -> Callable[[], None]:
    """Rounds of the real program, of one function's source.

    So a sample is over before another program gets its turn, and the minimum says something.
    """
    source = textwrap.dedent(inspect.getsource(textwrap.TextWrapper._wrap_chunks))  # noqa: SLF001 - only its text
    changed = source.replace("chunks", "pieces").splitlines()
    tree = ast.parse(source)
    encoder = json.JSONEncoder(indent=1)  # which is why the encoder in C is not used

    def run() -> None:
        for _ in range(ops):
            ast.unparse(tree)
            encoder.encode([{type(node).__name__: node._fields} for node in ast.walk(tree)])
            list(difflib.unified_diff(source.splitlines(), changed))
            textwrap.wrap(source, 60)

    return run


def _traced(ready: Ready, begin: Begin, name: str, calls: Callable[[int], int]) -> Open:
    """Samples that trace: of the function `name` as many calls as there should be are recorded."""

    @contextlib.contextmanager
    def open_traced(ops: int) -> Iterator[Timed]:
        run = ready(ops)
        end, recorded = begin()

        def check(_: int) -> Checked:
            found, expected = recorded(name), calls(ops)
            what = f"{found:,} calls of {name} recorded"
            return Checked(found >= expected, what if found >= expected else f"{what}, not {expected:,}")

        try:
            yield Timed(run, end, check)
        finally:
            end()

    return open_traced


def _ours() -> tuple[Callable[[], object], Callable[[str], int]]:
    from stepscope import profile

    prof = profile(with_stack=True)
    prof.start()
    return prof.stop, lambda name: sum(row.name.rpartition(".")[2] == name for row in prof.trace)


def _viztracer(**options: Any) -> Begin:
    def begin() -> tuple[Callable[[], object], Callable[[str], int]]:
        from viztracer import VizTracer

        tracer = VizTracer(tracer_entries=2_000_000, verbose=0, **options)

        def recorded(name: str) -> int:
            tracer.parse()
            names = (str(event["name"]).partition(" (")[0] for event in tracer.data["traceEvents"])
            return sum(each.rpartition(".")[2] == name for each in names)

        tracer.start()
        return tracer.stop, recorded

    return begin


def _cprofile() -> tuple[Callable[[], object], Callable[[str], int]]:
    import cProfile
    import pstats

    tracer = cProfile.Profile()

    def recorded(name: str) -> int:
        stats: Any = pstats.Stats(tracer)
        return sum(calls for (_, _, each), (_, calls, *_) in stats.stats.items() if each == name)

    tracer.enable()
    return tracer.disable, recorded


def _trace0() -> tuple[Callable[[], object], Callable[[str], int]]:
    if sys.version_info < (3, 13):
        message = "it needs Python 3.13"
        raise AbsentError(message)
    trace0: Any = importlib.import_module("trace0")
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name, "trace.json")
    tracer = trace0.Tracer(str(file), format="json")
    tracer.__enter__()
    ended: list[bool] = []

    def end() -> None:
        if not ended:
            ended.append(True)
            tracer.__exit__(None, None, None)

    def recorded(name: str) -> int:
        with folder:
            return file.read_text(encoding="utf-8").count(f'{name}"')

    return end, recorded


@contextlib.contextmanager
def untraced(ops: int) -> Iterator[Timed]:
    """The real program alone."""
    yield Timed(work(ops))


@contextlib.contextmanager
def _plain_call(ops: int) -> Iterator[Timed]:
    yield Timed(_call(ops))


def _contenders(ready: Ready, name: str, calls: Callable[[int], int], ops: int) -> tuple[Contender, ...]:
    def contender(who: str, begin: Begin, package: str = "", *, ours: bool = False) -> Contender:
        return Contender(who, _traced(ready, begin, name, calls), ops, package, ours)

    return (
        contender("stepscope", _ours, ours=True),
        contender("viztracer", _viztracer(), "viztracer"),
        contender("viztracer (no C functions)", _viztracer(ignore_c_function=True), "viztracer"),
        contender("trace0", _trace0, "trace0"),
        contender("cProfile", _cprofile),
    )


CALLS = (*_contenders(_call, "function", lambda ops: ops, 100_000), Contender("the call alone", _plain_call, 100_000))
WORKLOAD = (
    *_contenders(work, "unparse", lambda ops: ops, 10),
    Contender("not traced", untraced, 10),
)
