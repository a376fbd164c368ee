"""The page of a run: its figures, its pictures, and that nothing in a trace can do harm in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli_runner import stepscope, troubles
from stepscope import write
from stepscope.analysis.overview import render_overview
from stepscope.analysis.overview.gather import Cycle, busy_threads, colour_order, counter_series
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from strategies import HOSTILE

MS = 10**6


def training(rank: int = 0, cycle: int = 0, slow: int = 1) -> Trace:
    """Two steps of 10 ms: load 2 ms, forward 5 ms (with matmul in it), the rest is in no span; a loader beside it."""
    session = {"cycle": cycle, "first_step": 2 * cycle, "last_step": 2 * cycle + 1, "partial": False}
    origin = Origin(base_ns=10**18, host="a", pid=7, rank=rank, trace_id=f"{rank}.{cycle}", session=session)
    builder = TraceBuilder(origin)
    main, loader = builder.thread(7, 70, "main", "train"), builder.thread(7, 71, "loader", "train")
    for step in (0, 1):
        start = 10 * step * MS
        builder.slice(main, f"ProfilerStep#{2 * cycle + step}", start, 10 * MS)
        builder.slice(main, "load", start, 2 * MS)
        builder.slice(main, "forward", start + 2 * MS, 5 * slow * MS if not step else 5 * MS)
        builder.slice(main, "matmul", start + 2 * MS, 1 * MS)
        builder.slice(loader, "read", start, 4 * MS)
        builder.count(builder.counter_track(7, "queue", "count", "train"), start, 3 * step)
    return builder.build()


def page_of(traces: Mapping[str, Trace]) -> str:
    return "".join(render_overview(traces, "log"))


def parsed(page: str) -> ElementTree.Element:
    """The page as XML: whole, with every text escaped."""
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))  # noqa: S314 - of our making


def text_of(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_a_step_is_made_of_what_is_directly_in_it() -> None:
    cycle = Cycle("one", training())

    assert [(step.number, step.dur_ns, dict(step.parts), step.own_ns) for step in cycle.steps] == [
        (0, 10 * MS, {"load": 2 * MS, "forward": 5 * MS}, 3 * MS),
        (1, 10 * MS, {"load": 2 * MS, "forward": 5 * MS}, 3 * MS),
    ]
    assert colour_order([cycle]) == ["forward", "load"]
    assert cycle.median_step_ns == 10 * MS


def test_a_thread_is_busy_while_something_but_a_step_runs() -> None:
    """20 ms are recorded: 14 of them main is in a span, and the loader 8."""
    busy = busy_threads([Cycle("one", training()), Cycle("two", training(rank=1))])

    assert [(each.rank, each.thread, each.share) for each in busy] == [
        (0, "main", 0.7), (0, "loader", 0.4), (1, "main", 0.7), (1, "loader", 0.4),
    ]  # fmt: skip


def test_counters_are_taken_a_cycle_at_a_time() -> None:
    found = counter_series([Cycle("one", training()), Cycle("two", training(rank=1))])

    assert {key: [each.points for each in series] for key, series in found.items()} == {
        ("queue", "count"): [[(0, 0), (10 * MS, 3)]] * 2
    }


def test_the_page_shows_steps_as_bars_with_their_parts() -> None:
    page = parsed(page_of({"one": training()}))

    bars = [picture for picture in page.iter("svg") if picture.get("aria-label") == "steps of one"]
    pieces = [(rect.get("class"), rect.get("x"), rect.get("width")) for rect in bars[0].iter("rect")]
    assert pieces == 2 * [("c0", "84.00", "413.00"), ("c1", "497.00", "165.20"), ("own", "662.20", "247.80")]
    titles = [title.text for title in bars[0].iter("title")]
    assert titles[0] == "forward: 5.000ms, 50.0% of step 0"
    assert [text.text for text in bars[0].iter("text")] == ["step 0", "10.000ms", "step 1", "10.000ms"]


def test_the_page_has_averages_counters_threads_cycles_and_ranks() -> None:
    text = text_of(parsed(page_of({"rank 0": training(), "rank 1": training(rank=1)})))

    for part in (
        "log stepscope · a · 2 cycles of 2 ranks · 4 steps",
        "rank 0 10.000ms 10.000ms (step 0) 10",
        "forward 4 16.000ms",
        "queue least 0, most 3, last 3",
        "rank 1: loader 40.0%",
    ):
        assert part.replace(" ", "") in text.replace(" ", ""), text


def test_problems_stand_first() -> None:
    trace = training().with_problems([*training().problems])
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "main"), "fwd", 0, 5, cut=True)

    page = page_of({"whole": trace, "cut": builder.build()})

    assert "<b>1 cut</b> in cut: &#x27;fwd&#x27; was open at the edge of what was recorded" in page
    assert page.index("Problems") < page.index("<h2>Steps")
    assert "Problems" not in page_of({"whole": trace})


def test_the_page_is_one_file_for_any_reader() -> None:
    page = page_of({"one": training()})

    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "http" not in page
    assert {element.tag for element in parsed(page).iter()}.isdisjoint({"script", "link", "img", "iframe"})


def test_hostile_texts_are_shown_as_text() -> None:
    origin = Origin(host="<b>", process="</style><script>alert(1)</script>", session={})
    builder = TraceBuilder(origin)
    thread = builder.thread(7, 7, "<script>", "<script>")
    builder.slice(thread, "ProfilerStep#1", 0, 1000)
    for place, text in enumerate(HOSTILE):
        builder.slice(thread, text, 10 * place, 5, args={text: text})
        builder.count(builder.counter_track(7, text, text), place, place)
        builder.problem(text, 1, text)

    page = page_of({text: builder.build() for text in ("</h3><script>", '"onload="')})

    root = parsed(page)
    assert {element.tag for element in root.iter()}.isdisjoint({"script", "b ", "iframe"})
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert "</script>" not in page
    assert "emoji 😀 and é" in text_of(root)


def test_without_steps_and_without_anything_there_is_a_page() -> None:
    text = text_of(parsed(page_of({"nothing": Trace()})))

    assert "No step was recorded" in text


def test_of_many_steps_the_slowest_are_drawn() -> None:
    builder = TraceBuilder()
    thread = builder.thread(7, 7, "main", "train")
    for step in range(100):
        builder.slice(thread, f"ProfilerStep#{step}", 1000 * step, 10 + step)

    page = page_of({"many": builder.build()})

    assert "The 60 slowest of 100 steps." in page
    assert [int(number) for number in re.findall(r">step (\d+)<", page)] == list(range(40, 100))


def test_report_writes_the_newest_run_of_a_folder_with_all_its_cycles_and_ranks(tmp_path: Path) -> None:
    for rank in (0, 1):
        for cycle in (0, 1):
            for ending in (".pftrace", ".json"):
                write(training(rank, cycle), tmp_path / f"rank{rank}_cycle{cycle}{ending}")

    result = stepscope("report", tmp_path, "-o", tmp_path / "out.html")

    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{tmp_path / 'out.html'}\n", "")
    page = parsed((tmp_path / "out.html").read_text())
    assert [text_of(head) for head in page.iter("h3")][:4] == [
        "rank 0, cycle 0, steps 0 to 1",
        "rank 0, cycle 1, steps 2 to 3",
        "rank 1, cycle 0, steps 0 to 1",
        "rank 1, cycle 1, steps 2 to 3",
    ]


def test_files_that_say_nothing_of_themselves_are_told_apart_by_their_names(tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "main"), "ProfilerStep#1", 0, 5)
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(builder.build(), tmp_path / folder / "t.json")

    stepscope("report", tmp_path / "x", tmp_path / "y" / "t.json", "-o", tmp_path / "out.html")

    heads = [text_of(head) for head in parsed((tmp_path / "out.html").read_text()).iter("h3")]
    assert heads == [f"t.json ({tmp_path / folder / 't.json'})" for folder in ("x", "y")]


@pytest.mark.parametrize("what", ["empty folder", "missing", "no place"])
def test_what_cannot_be_reported_says_so(tmp_path: Path, what: str) -> None:
    path = write(training(), tmp_path / "t.json")
    (tmp_path / "empty").mkdir()
    arguments = {
        "empty folder": (tmp_path / "empty",),
        "missing": (tmp_path / "gone",),
        "no place": (path, "-o", tmp_path),
    }

    (said,) = troubles(stepscope("report", *arguments[what]))

    assert said.startswith(
        {
            "empty folder": f"{tmp_path / 'empty'}: there is no trace in this folder.",
            "missing": f"{tmp_path / 'gone'}: No such file or directory",
            "no place": f"{tmp_path}: the file cannot be written: Is a directory.",
        }[what]
    )
