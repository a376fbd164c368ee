"""The view: the smallest tree that shows each finding in its place, and each finding in words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stepscope.analysis.diff.finding import Finding
from stepscope.analysis.diff.result import Around, Diff
from stepscope.analysis.diff.timing import needed_for

__all__ = [
    "MARKS",
    "MAX_FINDINGS",
    "OTHER_MARK",
    "Branch",
    "build_view",
    "describe",
    "headline",
    "labelled",
    "notes",
    "shown",
    "steps_shown",
    "told",
    "told_times",
]

MAX_NAME = 80
# What a reader may look at; to_json() has the rest.
MAX_FINDINGS = 1000
MAX_VALUE = 60
# How a finding stands out in text; and its tone: worse, better or other.
MARKS: dict[str, tuple[str, str]] = {
    "new": ("+", "better"),
    "missing": ("-", "worse"),
    "added": ("+", "better"),
    "removed": ("-", "worse"),
    "slower": ("^", "worse"),
    "faster": ("v", "better"),
    "outlier": ("!", "worse"),
}
OTHER_MARK = ("~", "other")


@dataclass
class Branch:
    """A place in the tree.

    Attributes:
        name: of a process, a thread or a slice.
        around: its times, and how much else is in it; None if that is not known.
        findings: what is different about it.
        besides: findings about what is in it and no slice: steps, threads, counters, flows.
        branches: name -> what is in it.
    """

    name: str
    around: Around | None = None
    findings: list[Finding] = field(default_factory=list)
    besides: list[Finding] = field(default_factory=list)
    branches: dict[str, "Branch"] = field(default_factory=dict)

    @property
    def times(self) -> tuple[float, float] | None:
        """How long it takes in base and in head, in us, if that is known."""
        around = self.around
        if around is None or around.base_us is None or around.head_us is None:
            return None
        return around.base_us, around.head_us

    def branch(self, name: str) -> "Branch":
        """What is in it under this name, new or known."""
        return self.branches.setdefault(name, Branch(name))


def build_view(diff: Diff) -> Branch:
    """The tree of processes, threads and slices that lead to findings."""
    root = Branch("")
    for finding in diff.findings[:MAX_FINDINGS]:
        where = finding.where
        at = root
        if where.process:
            at = at.branch(where.process)
        if where.thread:
            at = at.branch(where.thread)
            for end in range(len(where.path) + 1):
                at.around = diff.around.get((where.process, where.thread, where.path[:end]))
                if end < len(where.path):
                    at = at.branch(where.path[end])
        if where.thread:
            name = finding.head if finding.kind == "renamed" else finding.name
            at = at.branch(name)
            at.around = diff.around.get((where.process, where.thread, (*where.path, name)))
            at.findings.append(finding)
        else:
            at.besides.append(finding)
    return root


def shown(text: str) -> str:
    """A name on one line, with what cannot be printed written out."""
    line = _one_line(text)
    return line if len(line) <= MAX_NAME else line[: MAX_NAME - 3] + "..."


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class Headline(NamedTuple):
    """The verdict in one line.

    Attributes:
        verdict: same or different.
        found: behind it: the kinds of findings.
        compared: what was.
    """

    verdict: str
    found: str
    compared: str


def headline(diff: Diff) -> Headline:
    """The verdict, and what it is of."""
    found = ", ".join(f"{count} {kind}" for kind, count in diff.counts.items())
    compared = [_many(diff.steps, "step")] if diff.steps else []
    compared += [f"times of {_many(diff.judged, 'path')}"] if diff.rules.timings else []
    runs = f"{_many(diff.runs[0], 'run')} and {diff.runs[1]}, " if diff.runs != (1, 1) else ""
    beyond = ", as far as can be known" if diff.limits else ""
    compared += [f"{_many(len(diff.loosely), 'thread')} loosely"] if diff.loosely else []
    return Headline(
        diff.verdict, f"{': ' if found else ''}{found}{beyond}", f"{runs}{', '.join(compared) or 'no times'} compared"
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def notes(diff: Diff) -> Iterator[str]:
    """What is not shown, and what the verdict does not know: times that cannot be told, and loss."""
    if len(diff.findings) > MAX_FINDINGS:
        yield f"{len(diff.findings) - MAX_FINDINGS} more findings are not shown; to_json() has all of them"
    if diff.unsure:
        base, head = needed_for(diff.unsure)
        more = " and ".join(f"{count} more of {side}" for side, count in (("base", base), ("head", head)) if count)
        names = ", ".join(f"{shown(one.name)} ({told_times(one.base_us, one.head_us)})" for one in diff.unsure[:3])
        rest = f" and {len(diff.unsure) - 3} more" if len(diff.unsure) > 3 else ""
        yield f"not enough samples to judge the time of {names}{rest}: {more} would do"
    for loose in diff.loosely:
        calls = f"{loose.base_calls} -> {loose.head_calls} calls"
        few = f"; too few whole calls to judge {', '.join(map(shown, loose.too_few[:3]))}" if loose.too_few else ""
        yield (
            f"{shown(loose.thread)} runs free of the steps ({calls} in what was recorded): compared by what kinds of "
            f"calls it makes and what each does, not by how many there are{few}"
        )
    yield from (_one_line(str(limit)) for limit in diff.limits)


def told_times(base_us: float, head_us: float) -> str:
    """Two times and their ratio."""
    ratio = f" ({_ratio(head_us / base_us)}x)" if base_us > 0 and head_us > 0 else ""
    return f"{_us(base_us)} -> {_us(head_us)}{ratio}"


def _ratio(value: float) -> str:
    return _digits(value) if value >= 0.1 else f"{value:.1g}"


def _us(time_us: float) -> str:
    for unit, scale in (("s", 1e6), ("ms", 1e3)):
        if time_us >= scale:
            return f"{_digits(time_us / scale)} {unit}"
    return f"{_digits(time_us)} us"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def steps_shown(steps: Sequence[int]) -> str:
    """Numbers of steps, those that follow one another as from-to."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][1] + 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(texts if len(texts) <= 6 else [*texts[:5], f"... {texts[-1]}"])


def describe(finding: Finding, steps: int = 0) -> str:
    """A finding in words, without its name: what kind it is, base -> head, how often, in which steps.

    Args:
        finding: the finding.
        steps: how many were compared.
    """
    kind, rest = labelled(finding), told(finding, steps)
    between = " " if finding.kind in ("wrapped", "unwrapped") else ": "
    return f"{kind}{between}{rest}" if rest else kind


def labelled(finding: Finding) -> str:
    """What kind of finding it is, of what."""
    if finding.kind == "counter":
        return "other values"
    if finding.note in ("in itself", "in all"):
        return f"{finding.kind} {finding.note}"
    if finding.what == "slice":
        return finding.kind
    many = finding.kind in ("more", "fewer") or (finding.what == "step" and finding.count > 1)
    return f"{finding.kind} {finding.what}{'s' if many else ''}"


def told(finding: Finding, steps: int = 0) -> str:
    """A finding in words, without its kind and its name; "" if those say all."""
    if finding.what == "step":
        return steps_shown(finding.where.steps) if finding.count > 1 else ""
    parts = [_VALUES.get(finding.unit, _nothing)(finding)]
    why, usual = finding.evidence, ""
    if finding.kind == "outlier":
        call, _, usual = finding.note.partition("; ")
        parts = [f"{_us(max(finding.base, finding.head))} in {call}"]
    elif finding.kind in ("wrapped", "unwrapped"):
        parts = ["around what was there" if finding.kind == "wrapped" else "from around what is there"]
    elif why is not None:
        samples = f"{why.base_samples} and {why.head_samples} samples"
        parts += [f"noise {why.noise:.0%}", f"p {why.p:.2g}", samples]
    elif finding.note:
        parts[0] += f" ({finding.note})"
    parts.append(_places(finding, steps))
    return ", ".join(filter(None, parts)) + (f"; {usual}" if usual else "")


def _places(finding: Finding, steps: int) -> str:
    """In how many places it was found, and in which steps."""
    inside = finding.where.steps
    all_steps = len(inside) > 1 and len(inside) == steps
    if finding.evidence is not None and all_steps:
        return ""  # as many as there are samples of
    of_steps = f"all {steps} steps" if all_steps else f"step{'' if len(inside) == 1 else 's'} {steps_shown(inside)}"
    if finding.evidence is not None or finding.count == 1 or finding.per_step == 1:
        return f"in {of_steps}" if inside else ""
    if finding.per_step and len(inside) > 1:
        return f"in {finding.per_step} places in each of {of_steps.removeprefix('all ')}"
    return f"in {finding.count} places{f' in {of_steps}' if inside else ''}"


def _calls(finding: Finding) -> str:
    unit = {"flow": "", "instant": ""}.get(finding.what, " calls")
    return f"{finding.base} -> {finding.head}{unit}"


def _names(finding: Finding) -> str:
    return f"{shown(finding.base)} -> {shown(finding.head)}"


def _lists(finding: Finding) -> str:
    joint = " / " if finding.unit == "path" else ", "
    return f"{joint.join(map(shown, finding.base))} -> {joint.join(map(shown, finding.head))}"


def _args(finding: Finding) -> str:
    return _pairs(finding.base, finding.head, sorted({**finding.base, **finding.head}))


def _counter(finding: Finding) -> str:
    base, head = finding.base, finding.head
    if base is None or head is None:
        return ""
    return _pairs(base, head, [key for key in base if base[key] != head[key]])


def _nothing(_: Finding) -> str:
    return ""


_VALUES: dict[str, Callable[[Finding], str]] = {
    "us": lambda finding: told_times(finding.base, finding.head),
    "calls": _calls,
    "name": _names,
    "category": _names,
    "path": _lists,
    "order": _lists,
    "args": _args,
    "values": _counter,
}


def _pairs(base: Mapping[str, Any], head: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(f"{shown(key)} {_value(base, key)} -> {_value(head, key)}" for key in keys)


def _value(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "nothing"
    value = values[key]
    text = f"{value:.6g}" if isinstance(value, float) else shown(str(value))
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."
