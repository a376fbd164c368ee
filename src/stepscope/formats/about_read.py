"""What stepscope has written about a trace in a file of either format, read back."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.core.values import legal_text
from stepscope.model.trace import Origin, Problem, Trace

__all__ = ["Told", "read_about"]

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
TEXTS = ("tool", "version", "host", "process", "trace_id")
NUMBERS = ("base_ns", "pid", "rank", "world_size")


class Told(NamedTuple):
    """What a file says of its trace.

    Attributes:
        origin: where the trace comes from.
        problems: what it was known to lack when it was written.
        kinds: pid, tid -> kind, for the threads of the file that are none.
        flow_names: each once.
    """

    origin: Origin
    problems: tuple[Problem, ...]
    kinds: dict[tuple[int, int], str]
    flow_names: list[str]

    def complete(self, trace: Trace) -> Trace:
        """The trace with the problems it was written with, beside those of reading it."""
        problems = {problem.kind: problem for problem in trace.problems}
        for known in self.problems:
            found = problems.get(known.kind)
            # What is cut is marked in the rows: they are all counted already.
            again = 0 if found is None or known.kind == "cut" else found.count
            count = max(known.count, found.count) if found and known.kind == "cut" else known.count + again
            problems[known.kind] = known._replace(count=count)
        return trace.with_problems(problems[kind] for kind in sorted(problems))


def read_about(about: Any) -> Told:
    """Read what `about` in about.py makes, with "metadata" beside it.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    texts: dict[str, Any] = {key: _text(about[key]) for key in TEXTS}
    numbers: dict[str, Any] = {key: _integer(about[key]) for key in NUMBERS}
    clocks = Clocks(*(_integer(about["clocks"][key]) for key in Clocks._fields))
    session = {_text(key): _integer(value) for key, value in about["session"].items()}
    metadata = {_text(key): value for key, value in about.get("metadata", {}).items()}
    origin = Origin()._replace(clocks=clocks, **texts, **numbers, session=_kept(session), metadata=_kept(metadata))
    problems = [Problem(_text(p["kind"]), _integer(p["count"]), _text(p["example"])) for p in about["problems"]]
    tracks = [(_text(kind), _integer(pid), _integer(tid)) for kind, pid, tid, _, _ in about.get("tracks", ())]
    names = [_text(name) for name in about.get("flow_names", ())]
    return Told(
        origin, tuple(problems), {(pid, tid): kind for kind, pid, tid in tracks if tid and kind != "counter"}, names
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = f"{value!r} is no text"
        raise TypeError(message)
    return legal_text(value)


def _integer(value: Any) -> int:
    if not isinstance(value, int) or not INT64_MIN <= value <= INT64_MAX:
        message = f"{value!r} is no integer of 64 bits"
        raise TypeError(message)
    return value


def _kept(values: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(values)
