"""What Hypothesis makes: hostile text, hostile values, and programs that open and close spans."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

# What has broken a loader before, and what Hypothesis seldom thinks of.
HOSTILE = (
    "",
    '"',
    "\\",
    "C:\\path\\",
    'quote" and \\" both',
    "line\nbreak\r\n",
    "tab\tbell\x07del\x7f",
    "nul\0inside",
    "\0",
    "emoji 😀 and é",
    "lone \ud800 surrogate \udfff",
    "\u2028\u2029\ufeff\uffff",
    "</script><!--",
    "ProfilerStep#abc",
    "user:ProfilerStep",
    "stream",
    "user:correlation",
    "a.b[0].c",
    "stepscope:cut",
    "%s %d {} {0}",
    "# tracer: nop TRACE:\n",
    "systemTraceEvents",
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
names = st.one_of(st.sampled_from(("forward", "backward", "load")), texts)

# The JSON importer of v52 reads subnormal doubles as 0 and misses the last digit of some others: six digits are
# enough to tell values apart. test_files.py holds all seventeen where a file keeps them.
floats = st.floats(allow_subnormal=False).map(lambda number: float(f"{number:.6g}"))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**63), 2**63 - 1), floats, texts, st.binary(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
arguments = st.dictionaries(texts, values, max_size=3)


# Counters: whole numbers of every size, and what no file can show.
units = st.one_of(st.sampled_from(("", "bytes", "ns", "count", "value", "requests/s")), texts)
numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**54), 2**54),
    st.integers(),
    floats,
    st.sampled_from((0.1, 2.5, 1e-3, 123e-5, 1e300, -1e300, 2.0**53, 2.0**63, -(2.0**63), 10**400)),
)


@dataclass(frozen=True)
class Span:
    """A span of a generated program: how long before it, what is in it, how long after that."""

    name: str
    args: dict[str, Any]
    before: int
    after: int
    instant: bool = False
    inside: list["Span"] = field(default_factory=list)


# Many zeros: equal timestamps and zero durations are where formats disagree.
ticks = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 10**7))
_leaves = st.builds(Span, names, arguments, ticks, ticks, st.booleans())
spans = st.recursive(
    _leaves,
    lambda inner: st.builds(Span, names, arguments, ticks, ticks, st.just(False), st.lists(inner, max_size=3)),
    max_leaves=8,
)
programs = st.lists(spans, max_size=3)

# (pid, name, unit, ts, value); few names, so that many values are of one counter.
counts = st.lists(st.tuples(st.sampled_from((7, 9)), names, units, ticks, numbers), max_size=12)
# (name, rows by number, to be taken modulo how many there are).
flows = st.lists(st.tuples(names, st.lists(st.integers(0, 30), max_size=6)), max_size=6)
