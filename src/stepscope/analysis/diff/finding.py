"""One finding: what is different, where, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

__all__ = ["KINDS", "Evidence", "Finding", "Kind", "Where"]


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        mirror: what it is when base and head change places.
        says: in words, behind the name.
    """

    mirror: str
    says: str


# In the order in which a verdict counts them.
KINDS: dict[str, Kind] = {
    "new": Kind("missing", "is new"),
    "missing": Kind("new", "is missing"),
    "added": Kind("removed", "is added"),
    "removed": Kind("added", "is removed"),
    "renamed": Kind("renamed", "is renamed"),
    "moved": Kind("moved", "is moved"),
    "reordered": Kind("reordered", "are reordered"),
    "wrapped": Kind("unwrapped", "is put around what was there"),
    "unwrapped": Kind("wrapped", "is taken away from around what is there"),
    "more": Kind("fewer", "has more calls"),
    "fewer": Kind("more", "has fewer calls"),
    "args": Kind("args", "has other arguments"),
    "category": Kind("category", "has another category"),
    "counter": Kind("counter", "has other values"),
    "slower": Kind("faster", "is slower"),
    "faster": Kind("slower", "is faster"),
    "outlier": Kind("outlier", "has a call far out of line"),
}


@dataclass(frozen=True)
class Where:
    """A place in a program.

    Attributes:
        process, thread: as they are called, normalised; "" for what belongs to no thread, or to no process.
        path: the names around it, outermost first.
        steps: the numbers of the steps; none where it is in no step.
    """

    process: str = ""
    thread: str = ""
    path: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Why a difference of times is believed.

    Attributes:
        ratio: head / base, of the medians.
        noise: how much a sample differs from the median of its side, as a share of it; the larger of both sides.
        p: how likely so large a difference is by chance (Mann-Whitney, both ways).
        base_samples, head_samples: how many steps were compared.
    """

    ratio: float
    noise: float
    p: float
    base_samples: int
    head_samples: int


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        kind: a key of KINDS.
        what: "slice", "instant", "step", "thread", "process", "counter" or "flow".
        where: in head; in base for what only base has.
        name: of what is different; normalised.
        base, head: what it is in each: calls, us, a name, a path, arguments or values, as `unit` says.
        count: how many times it was found.
        per_step: how many times in each step of each run that has it; 0 if that varies or is not known.
        unit: "calls", "us", "name", "path", "order", "args", "category", "values" or "".
        where_base: in base, if it is elsewhere or called otherwise there.
        evidence: for times.
        note: in words, what else there is to know; "" if nothing.
    """

    kind: str
    what: str
    where: Where
    name: str
    base: Any = None
    head: Any = None
    count: int = 1
    unit: str = ""
    where_base: Where | None = None
    evidence: Evidence | None = field(default=None, compare=False)
    note: str = field(default="", compare=False)
    per_step: int = field(default=0, compare=False)

    def mirrored(self) -> "Finding":
        """The same difference, seen from head to base."""
        return replace(
            self,
            kind=KINDS[self.kind].mirror,
            name=self.head if self.kind == "renamed" else self.name,
            base=self.head,
            head=self.base,
            where=self.where_base or self.where,
            where_base=self.where if self.where_base else None,
        )

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON has it; to_json() of Diff says what is in it."""
        made: dict[str, Any] = {
            "kind": self.kind,
            "what": self.what,
            "where": _place(self.where),
            "name": self.name,
            "base": _plain(self.base),
            "head": _plain(self.head),
            "count": self.count,
            "unit": self.unit,
        }
        if self.where_base:
            made["where_base"] = _place(self.where_base)
        if self.evidence:
            made["evidence"] = dict(vars(self.evidence))
        if self.note:
            made["note"] = self.note
        return made


def _place(where: Where) -> dict[str, Any]:
    return {"process": where.process, "thread": where.thread, "path": list(where.path), "steps": list(where.steps)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
