"""What people see of a diff: in a terminal, in a comment, on a page, and as JSON."""

import json
from html import escape
from html.parser import HTMLParser

import pytest

from forest import Program, node
from stepscope import diff
from stepscope.analysis.diff import KINDS, Diff, Evidence, Finding, Where
from stepscope.analysis.diff.loss import Limit
from stepscope.analysis.diff.timing import Unsure
from stepscope.analysis.diff.view import steps_shown, told_times

LAYER = node("layer", node("attention", own_us=100), node("mlp", own_us=100), own_us=10)


def regression() -> Diff:
    """A program with six changes, in two traces of eight steps."""
    base = Program(
        {
            number: [
                node("load", own_us=200, args={"batch": 32}),
                node("forward", LAYER, LAYER, own_us=30),
                node("backward", *[node("grad", own_us=100)] * 3, own_us=30),
                node("optimizer.step", own_us=20),
            ]
            for number in range(8)
        },
        {"loader": [node("read")] * 4},
        {"memory": [100, 200, 150]},
        problems={"dropped": 3},
    )
    slow = node("layer", node("attention", own_us=400), node("mlp", own_us=100), node("dropout", own_us=5), own_us=10)
    head = Program(
        {
            number: [
                node("load", own_us=200, args={"batch": 64}),
                node("forward", slow, slow, own_us=30),
                node("backward", *[node("grad", own_us=100)] * 5, own_us=30),
                node("optimizer.step", own_us=20 if number != 4 else 50_000),
            ]
            for number in range(7)
        },
        {"loader": [node("read")] * 4, "watchdog": [node("poll")]},
        {"memory": [100, 400, 390]},
    )
    return diff(base.trace(), head.trace())


TEXT = """\
different: 1 new, 1 missing, 1 added, 1 more, 1 args, 1 counter, 1 slower, 1 outlier, as far as can be known
(7 steps, times of 10 paths, 1 thread loosely compared)
└─ train.py
   ├─ + watchdog               new thread
   ├─ - ProfilerStep#7         missing step
   ├─ ~ memory [bytes]         other values: last 150 -> 390, max 200 -> 400, mean 150 -> 296.667
   └─ MainThread
      └─ ProfilerStep#*        1.01 ms -> 1.82 ms (1.80x)
         ├─ ~ load             args: batch 32 -> 64, in all 7 steps
         ├─ ! optimizer.step   outlier: 50.0 ms in one call of head, in step 4; usually 20.0 us
         ├─ backward           330 us -> 530 us (1.61x)
         │  └─ ~ grad          more: 3 -> 5 calls, in all 7 steps
         └─ forward            450 us -> 1.06 ms (2.36x)
            └─ layer           420 us -> 1.03 ms (2.45x)
               ├─ + dropout    added: 0 -> 1 calls, in 2 places in each of 7 steps
               ├─ ^ attention  slower: 200 us -> 800 us (4.00x), noise 0%, p 0.00058, 7 and 7
               │               samples
               └─ ... 1 more, the same
loader runs free of the steps (4 -> 4 calls in what was recorded): compared by what kinds of calls
    it makes and what each does, not by how many there are
base: 3 dropped (the first dropped): cannot know whether what seems to be missing happened
"""


def test_the_text_shows_each_finding_in_its_place() -> None:
    assert regression().text() == TEXT
    assert str(regression()) == TEXT


def test_lines_are_as_wide_as_they_may_be() -> None:
    for width in (60, 80, 160):
        lines = regression().text(width=width).splitlines()[2:]

        assert max(map(len, lines)) <= width
        assert regression().text(width=1) == regression().text(width=40)


def test_colours_are_around_words_and_change_nothing_else() -> None:
    text = regression().text(color=True)
    plain = text
    for code in ("31", "32", "33", "2", "0"):
        plain = plain.replace(f"\x1b[{code}m", "")

    assert "\x1b[31mdifferent\x1b[0m: 1 new" in text
    assert "\x1b[32m+ dropout\x1b[0m" in text
    assert "\x1b[31m^ attention\x1b[0m" in text
    assert plain == TEXT
    assert "\x1b" not in regression().text()


def test_what_is_the_same_is_one_line() -> None:
    program = Program({key: [node("load"), node("forward")] for key in range(3)})
    same = diff(program.trace(), program.trace())

    assert same.text() == "same (3 steps, times of 3 paths compared)\n"
    assert (
        diff(program.trace(), [program.trace()] * 4, timings=False).text() == "same (1 run and 4, 3 steps compared)\n"
    )
    assert same.markdown() == "### Trace diff: same\n\n3 steps, times of 3 paths compared\n"


def test_too_few_samples_are_said() -> None:
    base, head = (Program({key: [node("f", own_us=us)] for key in range(3)}).trace() for us in (100, 900))

    assert diff(base, head).text().splitlines() == [
        "same (3 steps, times of 2 paths compared)",
        "not enough samples to judge the time of f (100 us -> 900 us (9.00x)): 2 more of base and 2 more of",
        "    head would do",
    ]


def test_a_terminal_is_safe_from_names() -> None:
    base, head = Program({0: [node("a")]}), Program({0: [node("a"), node("x\x1b[31m\n\u202egnp" + "y" * 200)]})
    text = diff(base.trace(), head.trace()).text()

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "+ x\\x1b[31m\\n\\u202egnpyyy" in text
    assert "yyy..." in text


MARKDOWN = """\
### Trace diff: different: 1 added

2 steps, times of 3 paths compared

| | name | base -> head | where |
|---|---|---|---|
| added | \\<b\\>\\|\\` | 0 -\\> 1 calls, in all 2 steps | train.py / MainThread / ProfilerStep\\#\\* / f |

<details><summary>In their places</summary>

```text
different: 1 added (2 steps, times of 3 paths compared)
└─ train.py
   └─ MainThread
      └─ ProfilerStep#*  30.0 us -> 40.0 us (1.33x)
         ├─ f            10.0 us -> 20.0 us (2.00x)
         │  └─ + <b>|`   added: 0 -> 1 calls, in all 2 steps
         └─ ... 1 more, the same
```

</details>
"""


def hostile(name: str) -> Diff:
    base, head = (Program({key: [node("f", *inside), node("g")] for key in range(2)}) for inside in ((), (node(name),)))
    return diff(base.trace(), head.trace())


def test_markdown_is_a_table_and_a_fold_that_names_cannot_break() -> None:
    text = hostile("<b>|`").markdown()

    assert text == MARKDOWN
    assert "````text" in hostile("``` x").markdown()


def test_markdown_of_many_findings_says_how_many_more() -> None:
    finding = Finding("added", "slice", Where("p", "t"), "f", 0, 1, unit="calls")
    text = Diff(
        tuple(Finding("added", "slice", Where("p", "t"), f"f{n}", 0, 1, unit="calls") for n in range(70))
    ).markdown()

    assert text.count("\n| added |") == 50
    assert "| | | | 20 more findings |" in text
    assert len(Diff((finding,) * 5000).markdown()) < 65_536


def test_a_reader_is_shown_a_thousand_findings_and_told_of_the_rest() -> None:
    result = Diff(tuple(Finding("added", "slice", Where("p", "t"), f"f{n}", 0, 1, unit="calls") for n in range(1007)))

    assert result.text().count(" + f") == 1000
    assert "7 more findings are not shown; to_json() has all of them" in result.text()
    assert result.html().count("<tr><td") == 1000
    assert len(json.loads(result.to_json())["findings"]) == 1007


class Page(HTMLParser):
    """What a page has: its text, its tags, and whether each was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize(
    "result", [regression(), hostile("</code><script>alert(1)</script>"), Diff()], ids=["", "hostile", "same"]
)
def test_the_page_is_whole_and_needs_nothing_else(result: Diff) -> None:
    html = result.html()
    page = Page()
    page.feed(html)

    assert page.open == []
    assert page.seen.isdisjoint({"script", "link", "img", "iframe"})
    assert page.attributes.isdisjoint({"src", "href", "onclick"})
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html
    assert all(finding.name in "".join(page.text) for finding in result)


def test_the_page_says_what_the_text_says() -> None:
    page = Page()
    page.feed(regression().html())
    text = " ".join("".join(page.text).split())

    assert "Trace diff: different: 1 new, 1 missing" in text
    assert "^ attention slower: 200 us -> 800 us (4.00x), noise 0%, p 0.00058, 7 and 7 samples" in text
    assert "forward 450 us -> 1.06 ms (2.36x)" in text
    assert "1 more, the same" in text
    assert "cannot know whether what seems to be missing happened" in text


def test_json_is_of_a_stable_form() -> None:
    found = json.loads(regression().to_json())
    by_name = {one["name"]: one for one in found["findings"]}

    assert (found["schema"], found["verdict"]) == ("stepscope.diff/1", "different")
    assert list(found["counts"].items())[:2] == [("new", 1), ("missing", 1)]
    assert (found["runs"], found["steps"], found["judged"]) == ({"base": 1, "head": 1}, 7, 10)
    assert by_name["grad"] == {
        "kind": "more",
        "what": "slice",
        "where": {
            "process": "train.py",
            "thread": "MainThread",
            "path": ["ProfilerStep#*", "backward"],
            "steps": [0, 1, 2, 3, 4, 5, 6],
        },
        "name": "grad",
        "base": 3,
        "head": 5,
        "count": 7,
        "unit": "calls",
    }
    assert by_name["load"]["base"] == {"batch": 32}
    assert by_name["attention"]["evidence"]["base_samples"] == 7
    assert by_name["optimizer.step"]["note"] == "one call of head; usually 20.0 us"
    assert found["limits"][0]["kind"] == "dropped"
    assert {*by_name["grad"]} <= {*by_name["attention"]}
    assert regression().to_json(indent=None).count("\n") == 0


def test_json_says_what_cannot_be_told() -> None:
    unsure = Unsure(Where("p", "t", ("a",), (1, 2)), "f", 1.0, 2.0, 3, 4)
    found = json.loads(Diff((), (unsure,), (Limit("head", "cut", 1, "x", "y"),)).to_json())

    assert found["unsure"] == [
        {
            "where": {"process": "p", "thread": "t", "path": ["a"], "steps": [1, 2]},
            "name": "f",
            "base_us": 1.0,
            "head_us": 2.0,
            "base_more": 3,
            "head_more": 4,
        }
    ]


def test_a_diff_is_true_if_something_differs_and_equal_if_it_says_the_same() -> None:
    one = Finding("slower", "slice", Where(), "f", 1.0, 2.0, evidence=Evidence(2.0, 0.1, 0.001, 5, 5))
    other = Finding("slower", "slice", Where(), "f", 1.0, 2.0, evidence=None)

    assert Diff((one,)) == Diff((other,), steps=9)
    assert Diff((one,)) != Diff()
    assert bool(Diff((one,))) is True
    assert bool(Diff()) is False
    assert repr(Diff((one,))) == "<Diff: different, 1 findings: {'slower': 1}>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Diff())


def test_every_kind_has_a_mirror_whose_mirror_it_is() -> None:
    assert {KINDS[KINDS[kind].mirror].mirror for kind in KINDS} == set(KINDS)
    assert all(KINDS[KINDS[kind].mirror].mirror == kind for kind in KINDS)


def test_steps_and_times_are_shown_short() -> None:
    assert steps_shown([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert steps_shown(range(0, 40, 2)) == "0, 2, 4, 6, 8, ... 38"
    assert told_times(999, 1234.5) == "999 us -> 1.23 ms (1.24x)"
    assert told_times(0, 2.5e6) == "0.00 us -> 2.50 s"


def test_a_name_that_is_cut_on_the_page_is_whole_where_the_pointer_rests() -> None:
    name = f'{"x" * 200}<&"end'
    base, head = Program({0: [node("load")]}), Program({0: [node("load"), node(name)]})

    html = diff(base.trace(), head.trace()).html()

    assert f'<code title="{escape(name)}">xxx' in html
    assert '<code title="load">' not in html
