"""Memory over time: what the trace says, in torch's forms and as a page; and nothing where it says nothing."""

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import torch_oracle
from clock import FakeClock
from stepscope import AnalysisError, ExportError, LifecycleError, profile, record_function
from stepscope.analysis.memory import CATEGORIES, export_memory_timeline, memory_series
from stepscope.analysis.tree import Tree
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace
from test_torch_averages import trace_of, trace_of_case

Change = tuple[int, int, int | None]


def allocations(*changes: Change, device: int = 0, base_ns: int = 10**18, name: str = "[memory]") -> Trace:
    """A trace of (ts in ns, bytes, allocated in all or None)."""
    builder = TraceBuilder(Origin(base_ns=base_ns, pid=7))
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "ProfilerStep#3", 0, 40_000)
    for ts, size, allocated in changes:
        known = {} if allocated is None else {"Total Allocated": allocated}
        builder.instant(track, name, ts, args={"Bytes": size, "Device Type": device, "Device Id": 0, **known})
    return builder.build()


def counters(*names: str, unit: str = "bytes") -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    for name in names:
        track = builder.counter_track(7, name, unit)
        for ts, size in ((1_000, 100), (3_000, 50.5), (3_400, 70)):
            builder.count(track, ts, size)
    return builder.build()


def written(trace: Trace, path: Path, device: str | None = None) -> Any:
    export_memory_timeline(trace, path, device)
    return json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())


def sizes(timeline: Any) -> list[tuple[int, float]]:
    return [(time_us, sum(row)) for time_us, row in zip(*timeline, strict=True)]


@pytest.mark.parametrize("name", ["memory.json", "memory.json.gz"])
def test_the_timeline_is_torchs_pair_of_times_and_sizes(tmp_path: Path, name: str) -> None:
    """What was there before stands first, at the time of the first change; what happens in one us is one size."""
    trace = allocations((2_000, 512, 1512), (2_400, 8, 1520), (5_999, -1000, 520), base_ns=10**18)
    timeline = written(trace, tmp_path / name)

    assert sizes(timeline) == [(10**15 + 2, 1000), (10**15 + 2, 1520), (10**15 + 5, 520)]
    assert {len(row) for row in timeline[1]} == {1 + CATEGORIES}
    assert all(row[-1] == sum(row) for row in timeline[1])


def test_raw_records_are_torchs_actions(tmp_path: Path) -> None:
    trace = allocations((2_000, 512, 1512), (5_999, -1000, 512), base_ns=10**18)

    assert written(trace, tmp_path / "memory.raw.json.gz") == [
        [-1, 1, 1000, 7],
        [10**18 + 2_000, 2, 512, 7],
        [10**18 + 5_999, 4, -1000, 7],
    ]


def test_sizes_that_nobody_said_count_from_the_first_change(tmp_path: Path) -> None:
    trace = allocations((2_000, 512, None), (9_000, -600, None), base_ns=0)

    assert sizes(written(trace, tmp_path / "memory.json")) == [(2, 512), (9, -88)]
    export_memory_timeline(trace, tmp_path / "memory.html")
    assert "Nobody said what was allocated before" in (tmp_path / "memory.html").read_text(encoding="utf-8")


def test_a_device_is_chosen_as_torch_chooses_it(tmp_path: Path) -> None:
    """A device before the CPU, as torch does; a counter where there is nothing else."""
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for ts, device, size in ((0, 0, 1), (10, 1, 20), (20, 1, 30)):
        builder.instant(
            track, "[memory]", ts * 1000, args={"Bytes": size, "Device Type": device, "Device Id": device - 1}
        )
    builder.count(builder.counter_track(7, "rss", "bytes"), 5_000, 7)
    builder.count(builder.counter_track(7, "queue", "count"), 5_000, 9)
    trace, path = builder.build(), tmp_path / "memory.json"

    assert [series.name for series in memory_series(Tree(trace))] == ["cuda:0", "cpu", "rss"]
    assert sizes(written(trace, path)) == sizes(written(trace, path, "cuda")) == [(10, 20), (20, 50)]
    assert sizes(written(trace, path, "cpu")) == [(0, 1)]
    assert sizes(written(trace, path, "rss")) == [(5, 7)]
    with pytest.raises(AnalysisError, match=r"nothing of the memory of 'xpu:0'\. It has 'cuda:0', 'cpu', 'rss'\."):
        export_memory_timeline(trace, path, "xpu:0")


def test_a_counter_in_bytes_is_memory_and_needs_a_name_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"

    assert sizes(written(counters("rss"), path)) == [(1, 100), (3, 70)]
    with pytest.raises(AnalysisError, match=r"several counters in bytes\. Choose one with device=: 'heap', 'rss'"):
        export_memory_timeline(counters("rss", "heap"), path)
    with pytest.raises(AnalysisError, match="'rss' is a counter: it tells how much memory there was"):
        export_memory_timeline(counters("rss"), tmp_path / "memory.raw.json.gz")


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".raw.json.gz", ".html"])
@pytest.mark.parametrize(
    "trace",
    [Trace(), counters("tokens", unit="count"), allocations((1, 2, 3), name="[cache]")],
    ids=["no", "else", "x"],
)
def test_where_the_trace_says_nothing_of_memory_no_file_is_made_up(trace: Trace, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"says nothing of memory.*Record with profile_memory=True"):
        export_memory_timeline(trace, tmp_path / f"memory{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_an_instant_that_does_not_say_how_many_bytes_is_no_allocation(tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7))
    builder.instant(builder.thread(7, 8, "main", "p"), "[memory]", 5)

    with pytest.raises(AnalysisError, match="says nothing of memory"):
        export_memory_timeline(builder.build(), tmp_path / "memory.json")


def test_an_ending_that_names_no_form_is_an_export_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"memory\.png: the ending names no form\. Use one of \.html, \.json"):
        export_memory_timeline(counters("rss"), tmp_path / "memory.png")
    with pytest.raises(ExportError, match="Create the folder first"):
        export_memory_timeline(counters("rss"), tmp_path / "missing" / "memory.json")


# -- the page ------------------------------------------------------------------------------------------------


def page(trace: Trace, tmp_path: Path, device: str | None = None) -> str:
    export_memory_timeline(trace, tmp_path / "memory.html", device)
    return (tmp_path / "memory.html").read_text(encoding="utf-8")


def drawing(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>")).iter("svg"))  # noqa: S314 - of our making


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = page(counters("rss"), tmp_path)
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attributes: Any) -> None:
            tags.append(tag)
            assert not {name for name, _ in attributes} & {"src", "href", "onload"}

    Parser().feed(text)
    assert {"html", "svg", "path", "style"} <= set(tags)
    assert not {"script", "img", "link", "iframe"} & set(tags)
    assert "http" not in text
    assert "url(" not in text


def test_the_picture_is_of_the_sizes(tmp_path: Path) -> None:
    """The curve goes through each size at its time, holds between them, and the peak is marked."""
    (svg,) = drawing(page(allocations((10_000, 100, 100), (20_000, -50, 50), (40_000, 150, 200)), tmp_path))
    curve = next(path.get("d") or "" for path in svg.iter("path") if path.get("class") == "size")
    places = [(command, float(number)) for command, number in re.findall(r"([MHV])([\d.]+)", curve)]
    across = [number for command, number in places if command == "H"]
    down = [number for command, number in places if command == "V"]
    left, right = places[0][1], across[-1]

    assert [round((x - left) / (right - left), 2) for x in across] == [0.25, 0.5, 1.0, 1.0]
    bottom, top = max(float(rect.get("y") or 0) + float(rect.get("height") or 0) for rect in svg.iter("rect")), down[2]
    assert [round((bottom - y) / (bottom - top), 3) for y in down] == [0.5, 0.25, 1.0]
    texts = [text.text for text in svg.iter("text")]
    assert "peak 200 B" in texts
    assert "step 3" in texts
    assert [text for text in texts if str(text).endswith(" ms")] == [f"{tick / 1000:g} ms" for tick in range(0, 41, 5)]


def test_all_series_are_on_the_page_unless_one_is_chosen(tmp_path: Path) -> None:
    names = ["a<b>&\x1b'\"", "heap", "rss"]
    trace = counters(*names)
    titles = re.findall("<h2>(.*?)</h2>", page(trace, tmp_path))

    assert titles == ["a&lt;b&gt;&amp;\\x1b&#x27;&quot;", "heap", "rss"]
    assert len(drawing(page(trace, tmp_path))) == 3
    assert len(drawing(page(trace, tmp_path, "heap"))) == 1


def test_a_series_of_many_values_is_drawn_with_its_extremes_and_says_so(tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.counter_track(7, "rss", "bytes")
    for number in range(20_000):
        builder.count(track, number * 100, 5_000_000 if number == 12_345 else number % 97)
    text = page(builder.build(), tmp_path)

    assert len(text) < 250_000
    assert "peak 4.77 MiB" in text
    assert "20000 values of a counter." in text
    assert re.search(r"Drawn are the \d+ smallest, largest and last sizes", text)


@pytest.mark.parametrize("sizes_bytes", [(0,), (-5, 3), (2**62,), (1, 1)])
def test_odd_sizes_make_a_picture_too(sizes_bytes: tuple[int, ...], tmp_path: Path) -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.counter_track(7, "rss", "bytes")
    for size in sizes_bytes:
        builder.count(track, 0, size)

    assert len(drawing(page(builder.build(), tmp_path))) == 1


# -- with a profile, and with torch --------------------------------------------------------------------------


def test_a_profile_writes_the_memory_of_its_last_cycle(clock: FakeClock, tmp_path: Path) -> None:
    prof = profile()
    with pytest.raises(LifecycleError, match="no cycle has been recorded"):
        prof.export_memory_timeline(str(tmp_path / "memory.html"))
    with prof, record_function("f"):
        clock.now += 5
    with pytest.raises(AnalysisError, match="says nothing of memory"):
        prof.export_memory_timeline(str(tmp_path / "memory.html"), "cpu")


def test_a_torch_run_has_the_sizes_that_it_says(tmp_path: Path) -> None:
    trace = trace_of_case("ops")
    timeline = sizes(written(trace, tmp_path / "memory.json"))
    said = [args["Total Allocated"] for args in trace.args.values() if "Total Allocated" in args]

    assert len(timeline) > 40
    assert timeline[-1][1] == said[-1]
    assert {size for _, size in timeline} <= set(said)


@pytest.mark.torch
@pytest.mark.skipif(torch_oracle.unavailable() is not None, reason=str(torch_oracle.unavailable()))
@pytest.mark.filterwarnings("ignore:`export_memory_timeline` is deprecated:FutureWarning")
def test_raw_records_of_a_run_are_those_that_torch_writes(tmp_path: Path) -> None:
    """torch sorts them into categories, and knows of what was there before; times, actions and bytes are the same."""
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    model = torch.nn.Linear(32, 8)
    options: dict[str, Any] = {"record_shapes": True, "profile_memory": True, "with_stack": True}
    with torch_profile(activities=[ProfilerActivity.CPU], **options) as prof:
        model(torch.randn(16, 32)).sum().backward()
    prof.export_chrome_trace(str(tmp_path / "run.json"))
    prof.export_memory_timeline(str(tmp_path / "torch.raw.json.gz"), "cpu")
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    of_memory = [event for event in run["traceEvents"] if event["name"] == "[memory]"]
    trace = trace_of([{**event, "ts": round(event["ts"] * 1000)} for event in of_memory])
    ours = written(trace, tmp_path / "ours.raw.json.gz")
    theirs = json.loads(gzip.decompress((tmp_path / "torch.raw.json.gz").read_bytes()))
    base_ns = run["baseTimeNanoseconds"]

    assert [record[:3] for record in ours if record[1] in (2, 4)] == [
        [ns - base_ns, action, size] for ns, action, size, _ in theirs if action in (2, 4)
    ]
    assert len(ours) > 10
