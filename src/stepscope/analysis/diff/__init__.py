"""Diff: what one trace does that another does not, and what it does more slowly.

    rules       what counts as a difference; rules for names        finding     one difference
    aside       what is not compared
    words       names as they are compared                          identity    who is who: processes and threads
    run         one trace, ready: trees, hashes, steps              steps       which step is which
    pace        which threads run free of the steps                 loose       those, compared by kinds of calls
    align       two lists, paired in order                          siblings    what became of each child
    change      one change; arguments that differ                   structure   the trees of two runs: changes
    paths       names below names, as a number                      places      where a row is, as one
    gather      changes -> findings
    lazily      what is made when it is read                        found       findings that are wanted, in order
    values      counters and flows
    cells       times by path and step                              samples     those, by one numbering of paths
    ranktest    more than chance?                                   timing      slower and faster
    outliers    one call out of line                                loss        what cannot be known
    result      the Diff                                            around      what is beside findings
    compare     all of it, in order

Files import from those above them only.
"""

from stepscope.analysis.diff.compare import compare
from stepscope.analysis.diff.finding import KINDS, Evidence, Finding, Where
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.rules import ASIDE, FREE_THREADS, NAME_RULES, Aside, NameRule, Rules

__all__ = [
    "ASIDE",
    "FREE_THREADS",
    "KINDS",
    "NAME_RULES",
    "Aside",
    "Diff",
    "Evidence",
    "Finding",
    "NameRule",
    "Rules",
    "Where",
    "compare",
]
