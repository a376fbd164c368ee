"""Loss: what a verdict cannot know, because a trace is not all that happened."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stepscope.model.trace import Trace

__all__ = ["Limit", "limits_of"]

# What each kind of problem keeps from being known; "" where all is there, only elsewhere or in another form.
KEEPS_FROM = {
    "cut": "how long what is cut took, and what came in it beyond the edge",
    "depth": "",
    "dropped": "whether what seems to be missing happened",
    "flow": "where some flows go",
    "counter": "some counters' values",
    "overlap": "",
    "partial": "what came after its end",
}
OTHERWISE = "whether what seems to be missing happened"


class Limit(NamedTuple):
    """A problem of a trace, as it limits the verdict.

    Attributes:
        side: "base" or "head".
        kind, count, example: of the problem, in all runs of that side.
        keeps_from: what cannot be known.
    """

    side: str
    kind: str
    count: int  # type: ignore[assignment] # it hides tuple.count, which nobody asks of a limit
    example: str
    keeps_from: str

    def __str__(self) -> str:
        return f"{self.side}: {self.count} {self.kind} ({self.example}): cannot know {self.keeps_from}"


def limits_of(base: Sequence[Trace], head: Sequence[Trace]) -> tuple[Limit, ...]:
    """The problems of both sides that keep something from being known."""
    return (*_limits("base", base), *_limits("head", head))


def _limits(side: str, traces: Iterable[Trace]) -> list[Limit]:
    found: dict[str, Limit] = {}
    for trace in traces:
        for kind, count, example in trace.problems:
            keeps_from = KEEPS_FROM.get(kind, OTHERWISE)
            if keeps_from:
                before = found.get(kind, Limit(side, kind, 0, example, keeps_from))
                found[kind] = before._replace(count=before.count + count)
    return [found[kind] for kind in sorted(found)]
