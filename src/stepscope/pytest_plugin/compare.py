"""Comparing a trace with its golden: the one diff engine, and the text where that has nothing to say."""

from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from stepscope import Trace, diff
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.golden import from_golden, to_golden

__all__ = ["difference", "text_difference"]


def difference(base: Trace, head: Trace, rules: Mapping[str, Any]) -> str:
    """What is different, rendered for a terminal; "" if nothing is."""
    found = diff(base, head, **rules)
    return found.text() if found else ""


def text_difference(base: Trace, text: str, rules: Mapping[str, Any]) -> str:
    """The same for goldens in text: the trace of one, and the other.

    Both sides come from text: what it does not say is no difference. And what it says is one, even if diff() does not
    judge it, such as that a call was cut: then the lines are shown that differ.
    """
    head = from_golden(text, "what was recorded")
    found = difference(base, head, rules)
    checked = Rules.of(rules)
    if found or checked.ignore or checked.only:
        return found
    golden, recorded = (to_golden(trace, checked).split("\n") for trace in (base, head))
    return "\n".join(unified_diff(golden, recorded, "golden", "recorded", lineterm="", n=3))
