"""The rules of a comparison: what counts as a difference, and what in a name belongs to one run only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from stepscope.core.rows import (
    BLOCKS,
    MEMORY_SAMPLE,
    MEMORY_THREAD,
    NO_ADDRESS,
    PAUSE_CATEGORY,
    PEAK,
    RESIDENT,
    THREAD_TIME,
    TRACED,
    TURN_CATEGORY,
)
from stepscope.core.stacks import CALL_STACK
from stepscope.model.errors import DiffError

__all__ = ["ASIDE", "FREE_THREADS", "MIN_SEEN", "MIN_WHOLE", "NAME_RULES", "Aside", "NameRule", "Rules"]


@dataclass(frozen=True)
class NameRule:
    """What is replaced in names before they are compared.

    Attributes:
        name: what it is called, to leave it out by.
        pattern: a regular expression.
        replacement: as re.sub takes it.
        of: which names: "any" (and text in arguments), "slice" (and instants, flows, counters), "thread" or "process".
    """

    name: str
    pattern: str
    replacement: str
    of: str = "any"


_TEMPORARY = r"(?:/private)?(?:/tmp|/var/tmp|/var/folders/[^/\s]+/[^/\s]+)/[^\s'\",;:)\]}>]+"
NAME_RULES = (
    NameRule("step", r"\AProfilerStep#\d+\Z", "ProfilerStep#*", "slice"),
    NameRule("uuid", r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "<uuid>"),
    NameRule("address", r"\b0x[0-9a-fA-F]{4,}\b", "<address>"),
    NameRule("temporary path", _TEMPORARY, "<temporary path>"),
    NameRule("temporary path of Windows", r"\b[A-Za-z]:\\(?:[^\\\s'\"]+\\)*Te?mp\\[^\s'\",;)]+", "<temporary path>"),
    NameRule("hexadecimal id", r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{16,}\b", "<id>"),
    NameRule("long number", r"(?<![\w.])\d{9,}(?![\w.])", "<number>"),
    NameRule("process or thread id", r"\b(pid|tid|port)([ =:#]{1,2})\d+\b", r"\1\2*"),
    # ThreadPoolExecutor-0_3, Thread-12 (run), asyncio_0: numbers of threads are given in order of need.
    NameRule("number of a thread", r"\d+", "*", "thread"),
)
# Arguments that are another in each run: what tools number, CPU time, how much memory there was, and stacks, in which a
# line's number is enough.
RUN_ARGS = (
    "External id",
    "Ev Idx",
    "Record function id",
    "Sequence number",
    "Fwd thread id",
    "correlation",
    "Python id",
    "Python parent id",
    "Task name",
    THREAD_TIME,
    "Allocated before",
    "Allocated after",
    "Allocated delta",
    CALL_STACK,
)


@dataclass(frozen=True)
class Aside:
    """What of a trace is set aside before it is compared: nothing that the program does, it comes and goes by chance.

    Attributes:
        name: what it is called, to have it compared.
        category: of slices and instants.
        row: their name; "" for any.
        args: what is among their arguments.
        thread: all that is on a thread of this name, and the thread.
        counters: (name, unit) of each.
    """

    name: str
    category: str = ""
    row: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    thread: str = ""
    counters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        counters = ", ".join(f"{name} [{unit}]" for name, unit in self.counters)
        parts = (
            f"all of category {self.category}" if self.category and not self.row else "",
            f"{self.row} of category {self.category} without an address" if self.row else "",
            f"the thread {self.thread}" if self.thread else "",
            f"the counters {counters}" if counters else "",
        )
        return f"{self.name}: {', '.join(filter(None, parts))}"


ASIDE = (
    Aside("garbage collection", PAUSE_CATEGORY),
    Aside("turns of tasks", TURN_CATEGORY),
    Aside("memory samples", MEMORY_SAMPLE.cat, MEMORY_SAMPLE.name, NO_ADDRESS, MEMORY_THREAD),
    Aside("memory counters", counters=(RESIDENT, PEAK, BLOCKS, TRACED)),
)
PLACES = ("any", "slice", "thread", "process")
# How many calls a side must make for it to be no chance that the other makes none in its window.
MIN_SEEN = 3
# How many whole calls of each side must agree for what is in them to be what each call does.
MIN_WHOLE = 2
FREE_THREADS = (
    "A thread without steps of its own keeps pace if each whole step has as many of its calls of each kind, and each",
    "call ends in the step that it began in, uncut by the window. Any other, such as a loader that reads ahead, runs",
    "free of the steps; and is compared loosely:",
    "- which kinds of calls it makes, not how many fell into the window: one is added or removed if one side makes",
    f"  {MIN_SEEN} or more and the other none;",
    f"- what each call does, told from whole calls only, where each side has {MIN_WHOLE} or more: calls always",
    "  of one shape are compared; where the shape varies, a count is other if its ranges are apart;",
    "- arguments and categories that all calls of a side agree on;",
    "- times by the call, not by the step; flows by whether there are any.",
    "The verdict names such threads, and what of them there is too little of to judge. On any thread, what a cut slice",
    "lacks at its ends is no finding.",
)


@dataclass(frozen=True)
class Rules:
    """What counts as a difference.

    Attributes:
        order: "keep", or "ignore" for programs whose siblings come in any order. Pools and lanes always do.
        free_threads: "loosely": a thread that runs free of the steps, such as a loader, is compared by what kinds of
            calls it makes and what each does, not by how many fell into the window; "exactly": as any other.
        timings: whether times are compared.
        ratio, step_us: slower or faster is at least this many times, and by this many us of a step's time.
        alpha: how likely a difference of times may be by chance, at most.
        outlier_ratio, outlier_us: an outlier is a call that takes this many times the usual, and this much longer.
        counter_tolerance: by what share a counter's first, last, largest and mean value may differ.
        args, categories: whether arguments and categories are compared.
        ignore_args: patterns of arguments that are not.
        compare: names of those of ASIDE, what is set aside by default, that are compared all the same.
        names: rules for names besides NAME_RULES, which come after them; pairs (pattern, replacement) will do.
        without_names: names of those NAME_RULES that are left out.
        ignore, only: patterns of names, as fnmatch has them: findings at or below such a name are left out, or are
            the only ones.
    """

    order: str = "keep"
    free_threads: str = "loosely"
    timings: bool = True
    ratio: float = 1.25
    step_us: float = 50.0
    alpha: float = 0.01
    outlier_ratio: float = 10.0
    outlier_us: float = 1000.0
    counter_tolerance: float = 0.1
    args: bool = True
    categories: bool = True
    ignore_args: tuple[str, ...] = RUN_ARGS
    compare: tuple[str, ...] = ()
    names: tuple[NameRule, ...] = ()
    without_names: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    @classmethod
    def of(cls, rules: Mapping[str, Any]) -> "Rules":
        """Rules by name, as a call of diff() or a table of a file has them.

        Raises:
            DiffError: there is no such rule, or it cannot have this value.
        """
        known = [field.name for field in fields(cls)]
        for name in rules:
            if name not in known:
                message = f"there is no rule {name!r} for a diff. Rules are {', '.join(known)}."
                raise DiffError(message)
        made: dict[str, Any] = {
            name: _tuple_of(name, value) if name in _TUPLES else value for name, value in rules.items()
        }
        if "names" in made:
            made["names"] = tuple(map(_name_rule, made["names"]))
        found = cls(**made)
        found._check()
        return found

    @property
    def name_rules(self) -> tuple[NameRule, ...]:
        """All rules for names, in the order in which they are applied."""
        return self.names + tuple(rule for rule in NAME_RULES if rule.name not in self.without_names)

    @property
    def aside(self) -> tuple[Aside, ...]:
        """What is set aside before anything is compared."""
        return tuple(one for one in ASIDE if one.name not in self.compare)

    def _check(self) -> None:
        if self.order not in ("keep", "ignore"):
            message = f'order must be "keep" or "ignore", got {self.order!r}.'
            raise DiffError(message)
        if self.free_threads not in ("loosely", "exactly"):
            message = f'free_threads must be "loosely" or "exactly", got {self.free_threads!r}.'
            raise DiffError(message)
        for name in ("timings", "args", "categories"):
            if not isinstance(getattr(self, name), bool):
                message = f"{name} must be true or false, got {getattr(self, name)!r}."
                raise DiffError(message)
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                message = f"{name} must be a number from {least:g} to {most:g}, got {value!r}."
                raise DiffError(message)
        for field_name, names, rules in (
            ("without_names", self.without_names, NAME_RULES),
            ("compare", self.compare, ASIDE),
        ):
            for name in names:
                if name not in {rule.name for rule in rules}:
                    known = ", ".join(repr(rule.name) for rule in rules)
                    message = f"{field_name} has {name!r}, but there is no such rule. Rules are {known}."
                    raise DiffError(message)


_TUPLES = ("ignore_args", "compare", "names", "without_names", "ignore", "only")
_MANY = 1e15
_RANGES = {
    "ratio": (1.0, _MANY),
    "step_us": (0.0, _MANY),
    "alpha": (1e-9, 0.5),
    "outlier_ratio": (1.0, _MANY),
    "outlier_us": (0.0, _MANY),
    "counter_tolerance": (0.0, _MANY),
}


def _tuple_of(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        message = f"{name} must be a list, got {value!r}. Write [{value!r}]."
        raise DiffError(message)
    items = tuple(value)
    wrong = [item for item in items if name != "names" and not isinstance(item, str)]
    if wrong:
        message = f"{name} must be a list of text, got {wrong[0]!r} in it."
        raise DiffError(message)
    return items


def _name_rule(given: Any) -> NameRule:
    """A rule of a pair or of itself, if its pattern and replacement can be used."""
    if isinstance(given, NameRule):
        rule = given
    else:
        if isinstance(given, str) or not isinstance(given, Iterable) or not _is_pair(pair := tuple(given)):
            message = f"names has {given!r}. A rule is a NameRule, or a pattern and what replaces it."
            raise DiffError(message)
        rule = NameRule(pair[0], *pair)
    if rule.of not in PLACES:
        message = f"the rule {rule.name!r} is of {rule.of!r}. It can be of {', '.join(PLACES)}."
        raise DiffError(message)
    try:
        re.sub(rule.pattern, rule.replacement, "")
        re.compile(rule.pattern)
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        message = f"the rule {rule.name!r}: {rule.pattern!r} cannot be used: {error}."
        raise DiffError(message) from error
    return rule


def _is_pair(items: tuple[Any, ...]) -> bool:
    return len(items) == 2 and all(isinstance(item, str) for item in items)
