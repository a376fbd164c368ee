"""lint(): what the programs that load Chrome JSON would choke on in a file."""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from stepscope.check.events import EventStream
from stepscope.check.facts import Facts
from stepscope.check.rules import EVENT_RULES, FILE_RULES, EventRule, FileRule

__all__ = ["Finding", "Lint", "lint"]


class Finding(NamedTuple):
    """A rule that a file breaks.

    Attributes:
        rule: its row.
        count: how often.
        example: the first time, in words.
    """

    rule: EventRule | FileRule
    count: int  # type: ignore[assignment] # it hides tuple.count, which nobody asks of a finding
    example: str


class Lint(NamedTuple):
    """What was found in a file.

    Attributes:
        findings: in the order of the tables.
        facts: what is known of it.
    """

    findings: tuple[Finding, ...]
    facts: Facts


Ranks = dict[tuple[Path, int], Path]


def lint(file: BinaryIO, path: Path, ranks: Ranks | None = None) -> Lint:
    """Read a file of Chrome JSON as other programs do, and hold it to the rules.

    Args:
        file: open at its beginning; plain or gzip.
        path: what it is called: some programs choose files by their names.
        ranks: the files of folders by rank, as far as they have been held to the rules; this one is added.

    Raises:
        OSError: it cannot be read.
    """
    stream, facts = EventStream(file), Facts(path)
    by_phase: dict[Any, list[EventRule]] = {}
    broken: dict[str, tuple[int, str]] = {}
    for number, event in enumerate(stream):
        if not isinstance(event, dict):
            facts.odd_event = facts.odd_event or f"event {number} is {str(event)[:40]!r}"
            continue
        facts.see(number, event)
        phase = event.get("ph")
        if phase not in by_phase:
            by_phase[phase] = _rules_of(phase)
        for rule in by_phase[phase]:
            if rule.wrong(event):
                count, example = broken.get(rule.name, (0, ""))
                broken[rule.name] = count + 1, example or f"event {number}, {_shown(event)}"
    facts.finish(stream)
    if ranks is not None:
        seat = path.resolve().parent, facts.rank_on_line or 0
        facts.twin = ranks[seat] if ranks.setdefault(seat, path) != path else None
    found = [Finding(rule, *broken[rule.name]) for rule in EVENT_RULES if rule.name in broken]
    found += [Finding(rule, 1, example) for rule in FILE_RULES if (example := rule.wrong(facts))]
    return Lint(tuple(found), facts)


def _rules_of(phase: Any) -> list[EventRule]:
    return [rule for rule in EVENT_RULES if not rule.phases or (isinstance(phase, str) and phase in rule.phases)]


def _shown(event: dict[str, Any]) -> str:
    name = repr(event["name"]) if "name" in event else "without a name"
    return name if len(name) <= 60 else f"{name[:57]}..."
