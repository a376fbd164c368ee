"""The Diff: what a comparison has found, as a value that prints itself."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stepscope.analysis.diff.finding import KINDS, Finding
from stepscope.analysis.diff.found import kinds_of
from stepscope.analysis.diff.loose import Loose
from stepscope.analysis.diff.loss import Limit
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.diff.timing import Unsure
from stepscope.model.errors import DiffError

__all__ = ["SCHEMA", "Around", "Diff"]

SCHEMA = "stepscope.diff/1"


class Around(NamedTuple):
    """A place on the way to a finding.

    Attributes:
        others: how many names are directly in it, in either trace, that findings are not about.
        base_us, head_us: how long it takes in a step, by the median; None if that is not known or not compared.
    """

    others: int
    base_us: float | None
    head_us: float | None


@dataclass(frozen=True)
class Diff:
    """How head differs from base. It is true if it does, as a list of findings is; equal if what it says is equal.

    Attributes:
        findings: in order of process, thread and path; a tuple, or a sequence that makes each when it is read.
        unsure: differences of times that may be chance; no findings. A sequence as findings are.
        limits: problems of the traces that keep something from being known.
        rules: by which they were compared.
        runs: how many traces base and head were.
        steps: how many steps were compared.
        judged: how many paths' times were.
        loosely: threads that run free of the steps, which were compared by kinds of calls only.
        around: (process, thread, path) -> what is around findings; a dict, or a mapping that finds out when it is read.
    """

    findings: Sequence[Finding] = ()
    unsure: Sequence[Unsure] = ()
    limits: tuple[Limit, ...] = ()
    rules: Rules = field(default=Rules(), compare=False)
    runs: tuple[int, int] = field(default=(1, 1), compare=False)
    steps: int = field(default=0, compare=False)
    judged: int = field(default=0, compare=False)
    loosely: tuple[Loose, ...] = field(default=(), compare=False)
    around: Mapping[tuple[str, str, tuple[str, ...]], Around] = field(default_factory=dict, compare=False, repr=False)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __repr__(self) -> str:
        return f"<Diff: {self.verdict}, {len(self.findings)} findings: {self.counts}>"

    def __str__(self) -> str:
        return self.text()

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def verdict(self) -> str:
        """In a word, same or different; `limits` and `unsure` say how far that is known."""
        return "different" if self.findings else "same"

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind, in the order of KINDS."""
        found = Counter(kinds_of(self.findings))
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def of_kinds(self, *kinds: str) -> tuple[Finding, ...]:
        """The findings of some kinds.

        Raises:
            DiffError: there is no such kind.
        """
        for kind in kinds:
            if kind not in KINDS:
                message = f"there is no kind of finding {kind!r}. Kinds are {', '.join(KINDS)}."
                raise DiffError(message)
        return tuple(self.findings[at] for at, kind in enumerate(kinds_of(self.findings)) if kind in kinds)

    def text(self, *, color: bool = False, width: int = 100) -> str:
        """The diff for a terminal: the verdict, then the smallest tree that shows each finding in its place.

        Args:
            color: whether to use colours, by ANSI escapes.
            width: of a line, in characters; at least 40 are used.
        """
        from stepscope.analysis.diff.text import render_text

        return render_text(self, color=color, width=width)

    def markdown(self) -> str:
        """The diff for a comment on a pull request: a table of findings, and the tree folded away below it."""
        from stepscope.analysis.diff.markdown import render_markdown

        return render_markdown(self)

    def html(self) -> str:
        """The diff as one page that needs nothing else, light or dark as the reader's system is."""
        from stepscope.analysis.diff.html import render_html

        return render_html(self)

    def to_json(self, indent: int | None = 2) -> str:
        """The diff as JSON: one object, whose form is stable.

        "schema" is "stepscope.diff/1"; what is added later does not change it, what changes does.
        "verdict": "same" or "different". "counts": kind -> findings.
        "runs": {"base", "head"}, traces. "steps": compared. "judged": paths whose times were compared.
        "findings": a list of objects, each with
            "kind": one of new, missing, added, removed, renamed, moved, reordered, wrapped, unwrapped, more, fewer,
                args, category, counter, slower, faster, outlier;
            "what": slice, instant, step, thread, process, counter or flow;
            "where": {"process", "thread", "path": [names, outermost first], "steps": [numbers]}, in head, or in base
                for what only base has; "where_base", if it differs, where it is in base;
            "name"; "base" and "head": what it is in each, in "unit": calls (numbers), us, name (text), path and order
                (lists of names), args and values (objects), category (text), or "" (1 or 0: whether it is there);
            "count": in how many places it was found;
            "evidence", of slower and faster: {"ratio", "noise", "p", "base_samples", "head_samples"}; "note": text.
        "unsure": objects with "where", "name", "base_us", "head_us", "base_more", "head_more" (samples needed).
        "limits": objects with "side", "kind", "count", "example", "keeps_from".
        "loosely": threads that run free of the steps: objects with "process", "thread", "base_calls", "head_calls",
            "too_few" (names of calls of which there are too few to tell whether what differs is chance).
        """
        if indent == 2:  # the one that orjson knows
            import orjson

            return orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2).decode()
        return json.dumps(self.as_json(), indent=indent, ensure_ascii=False)

    def as_json(self) -> dict[str, Any]:
        """What to_json() writes, as JSON-able values."""
        unsure = [{**one._asdict(), "where": dict(vars(one.where))} for one in self.unsure]
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "counts": self.counts,
            "runs": {"base": self.runs[0], "head": self.runs[1]},
            "steps": self.steps,
            "judged": self.judged,
            "findings": [finding.as_json() for finding in self.findings],
            "unsure": unsure,
            "limits": [limit._asdict() for limit in self.limits],
            "loosely": [{**one._asdict(), "too_few": list(one.too_few)} for one in self.loosely],
        }
