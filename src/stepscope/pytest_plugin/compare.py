"""Comparing a trace with its golden: the one diff engine, and the text where that has nothing to say."""

from collections.abc import Mapping
from difflib import unified_diff
from typing import Any, NamedTuple

from stepscope import Trace, diff
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.golden import from_golden, to_golden, without_free

__all__ = ["Terms", "difference", "text_difference"]


class Terms(NamedTuple):
    """What a check compares.

    Attributes:
        rules: as of `stepscope.diff`.
        counter_values: the values of counters too.
    """

    rules: Mapping[str, Any]
    counter_values: bool

    def text_of(self, trace: Trace) -> str:
        """The golden of a trace."""
        return to_golden(trace, Rules.of(self.rules), counter_values=self.counter_values)


def difference(base: Trace, head: Trace, terms: Terms) -> str:
    """What is different, rendered for a terminal; "" if nothing is."""
    found = diff(base, head, **terms.rules)
    return found.text() if found else ""


def text_difference(golden: Trace, text: str, terms: Terms) -> str:
    """The same for goldens in text: the trace of one, and the text of what was recorded.

    Both sides come from text: what it does not say is no difference. And what it says is one, even if diff() does not
    judge it, such as that a call was cut: then the lines are shown that differ.
    """
    base = from_golden(terms.text_of(golden), "the golden")
    head = from_golden(text, "what was recorded")
    found = difference(base, head, terms)
    rules = Rules.of(terms.rules)
    if found or rules.ignore or rules.only:
        return found
    # A tolerance is for values of counters; and of what runs free, what has come into the window is chance.
    lines = without_free([to_golden(trace, rules) for trace in (base, head)])
    return "\n".join(unified_diff(lines[0], lines[1], "golden", "recorded", lineterm="", n=3))
