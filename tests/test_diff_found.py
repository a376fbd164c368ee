"""Findings that are numbers until somebody reads them: they are as a tuple of them would be."""

import copy
import pickle
from dataclasses import replace

import pytest

from forest import Program, node
from stepscope import Diff, diff
from stepscope.analysis.diff.finding import Finding
from stepscope.analysis.diff.gather import Gathered

# Many findings in two places, two of them of one name that only their values tell apart.
BASE = Program({0: [node("a", node("x"), node("y", args={"n": 1})), node("b", node("c"), cat="one")]})
HEAD = Program({0: [node("a", node("z", node("in")), node("y", args={"n": 2})), node("b", node("d"), cat="two")]})


@pytest.fixture
def result() -> Diff:
    return diff(BASE.trace(), HEAD.trace(), timings=False)


def test_they_are_a_sequence(result: Diff) -> None:
    everything = tuple(result.findings)

    assert len(result.findings) == len(everything) > 3
    assert (result.findings[0], result.findings[-1]) == (everything[0], everything[-1])
    assert result.findings[1:3] == everything[1:3]
    assert everything[2] in result.findings
    assert result.findings.index(everything[2]) == 2
    assert list(reversed(result.findings)) == list(everything[::-1])
    with pytest.raises(IndexError):
        result.findings[len(everything)]


def test_they_are_equal_to_a_tuple_of_them(result: Diff) -> None:
    everything = tuple(result.findings)
    again = diff(BASE.trace(), HEAD.trace(), timings=False)

    assert result.findings == everything
    assert everything == result.findings
    assert result.findings == again.findings
    assert result == again == replace(result, findings=everything)
    assert result.findings != everything[1:]
    assert repr(result.findings) == repr(everything)


def test_a_copy_holds_no_traces(result: Diff) -> None:
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):  # noqa: S301 - made here
        assert type(other.findings) is tuple
        assert other == result
        assert (other.text(), other.to_json()) == (result.text(), result.to_json())


def test_one_that_is_read_twice_is_one(result: Diff) -> None:
    assert result.findings[0] is result.findings[0]


def test_nothing_that_is_found_holds_no_traces() -> None:
    assert diff(BASE.trace(), BASE.trace()).findings == ()
    assert type(diff(BASE.trace(), HEAD.trace(), ignore=["*"]).findings) is tuple


def test_the_verdict_and_the_counts_make_none(result: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Finding] = []
    finding = Gathered.finding

    def noted(gathered: Gathered, number: int) -> Finding:
        made.append(finding(gathered, number))
        return made[-1]

    monkeypatch.setattr(Gathered, "finding", noted)
    counts = dict(result.counts)

    assert (bool(result), result.verdict, len(result)) == (True, "different", sum(counts.values()))
    assert made == []
    assert [one.kind for one in result.of_kinds("args")] == ["args"]
    assert len(made) == 1


def test_those_of_one_name_are_in_order_of_what_they_say() -> None:
    base = Program({0: [node("p", node("k"), node("k", args={"n": 1}))], 1: [node("p", node("k"))]})
    head = Program({0: [node("p", node("w"), node("v", args={"n": 1}))], 1: [node("p", node("u"))]})
    found = diff(base.trace(), head.trace(), timings=False)

    assert [(one.name, one.head, one.where.steps) for one in found] == [
        ("k", "u", (1,)),
        ("k", "v", (0,)),
        ("k", "w", (0,)),
    ]


def test_those_that_say_the_same_are_in_order_of_where_they_were() -> None:
    """Whichever of the two calls is compared first."""
    parts = [node("p", node("k", cat="a"), node("x")), node("q", node("k", cat="a"), node("y"))]
    others = [node("q", node("k", cat="b"), node("x")), node("q", node("k", cat="b"), node("y"))]
    for turn in (1, -1):
        found = diff(Program({0: parts[::turn]}).trace(), Program({0: others[::turn]}).trace(), timings=False)

        assert [one.where_base and one.where_base.path[1:] for one in found.of_kinds("category")] == [None, ("p",)]
