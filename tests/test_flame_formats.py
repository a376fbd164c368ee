"""The formats of flame graphs: collapsed stacks add up to self times, speedscope's slices open and close in order."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as own
from stepscope import FormatError, Trace, profile, read, record_function, schedule, trace_handler, write
from stepscope.formats.files import FORMATS, format_of
from stepscope.formats.folded import encode_folded
from stepscope.formats.speedscope import SCHEMA, encode_speedscope
from stepscope.model.build import TraceBuilder
from stepscope.model.nesting import nest
from stepscope.model.trace import INSTANT, Origin

programs = st.lists(own.programs, max_size=4)
# What flamegraph.pl and speedscope take for a line of collapsed stacks.
FOLDED_LINE = re.compile(r"(.*) (\d+)")


def folded(trace: Trace) -> dict[str, int]:
    """Stack -> us, as a reader of the format understands it."""
    lines = b"".join(encode_folded(trace)).decode().splitlines()
    found = [FOLDED_LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    stacks = [(match[1], int(match[2])) for match in found if match]
    assert len(dict(stacks)) == len(stacks)
    return dict(stacks)


def speedscope(trace: Trace) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(b"".join(encode_speedscope(trace)))
    return loaded


def play(builder: TraceBuilder, track: int, spans: list[own.Span], at: int, unit_ns: int) -> int:
    """Add the slices of a generated program; returns when it ends."""
    for span in spans:
        at += span.before * unit_ns
        if span.instant:
            builder.instant(track, span.name, at)
            continue
        end = play(builder, track, span.inside, at, unit_ns) + span.after * unit_ns
        builder.slice(track, span.name, at, end - at)
        at = end
    return at


def trace_of(programs: list[list[own.Span]], unit_ns: int = 1) -> Trace:
    """A thread for each program, two of them in a process."""
    builder = TraceBuilder()
    for number, spans in enumerate(programs):
        play(builder, builder.thread(7 + number // 2, 8 + number, "main", "python"), spans, 0, unit_ns)
    return builder.build()


def self_times(trace: Trace) -> dict[int, Counter[str]]:
    """Track -> name -> ns that its slices spent in themselves."""
    found: dict[int, Counter[str]] = {}
    for at, own_ns in enumerate(nest(trace).self_ns):
        if not trace[at].kind & INSTANT:
            found.setdefault(trace.columns.track[at], Counter())[trace[at].name] += own_ns
    return found


def forward() -> TraceBuilder:
    """Three calls in a step, one of them in another."""
    builder = TraceBuilder(Origin(process="train.py"))
    main = builder.thread(7, 7, "main", "train.py")
    builder.slice(main, "step", 0, 100_000)
    builder.slice(main, "forward", 10_000, 50_000)
    builder.slice(main, "linear", 20_000, 5_000)
    builder.slice(main, "linear", 30_000, 7_000)
    builder.instant(main, "mark", 35_000)
    builder.slice(main, "backward", 60_000, 30_000)
    return builder


# ---- collapsed stacks


def test_each_stack_is_a_line_with_the_time_in_itself() -> None:
    assert folded(forward().build()) == {
        "train.py;main;step": 20,
        "train.py;main;step;forward": 38,
        "train.py;main;step;forward;linear": 12,
        "train.py;main;step;backward": 30,
    }


@given(programs)
def test_the_sums_are_the_self_times_of_each_track(generated: list[list[own.Span]]) -> None:
    """Within the rounding to microseconds, which is half of one for a track and no more."""
    trace = trace_of(generated)
    expected = self_times(trace)

    assert abs(sum(folded(trace).values()) * 1000 - sum(map(Counter.total, expected.values()))) <= 500 * len(expected)


@given(programs)
def test_in_whole_microseconds_the_sums_of_every_name_are_exact(generated: list[list[own.Span]]) -> None:
    trace = trace_of(generated, unit_ns=1000)
    expected: Counter[str] = Counter()
    for times in self_times(trace).values():
        for name, own_ns in times.items():
            expected[spelled(name)] += own_ns // 1000

    found: Counter[str] = Counter()
    for stack, own_us in folded(trace).items():
        found[stack.split(";")[-1]] += own_us
    assert found == +expected


def spelled(name: str) -> str:
    """A name without what ends a frame or a line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name.replace(";", ":"))


def test_a_million_short_calls_do_not_round_to_nothing() -> None:
    builder = TraceBuilder()
    thread = builder.thread(7, 7, "main", "python")
    for number in range(1000):
        builder.slice(thread, f"call {number}", number * 1000, 300)

    assert sum(folded(builder.build()).values()) == 300


def test_hostile_names_stay_in_their_frame_and_line() -> None:
    builder = TraceBuilder()
    thread = builder.thread(7, 7, "ma;in\n", "py\tthon")
    for number, name in enumerate(own.HOSTILE):
        builder.slice(thread, name, number * 1000, 1000)

    stacks = folded(builder.build())

    assert sum(stacks.values()) == len(own.HOSTILE)
    assert {stack.count(";") for stack in stacks} == {2}
    assert all(stack.startswith(r"py\tthon;ma:in\n;") for stack in stacks)
    assert all(stack.isprintable() for stack in stacks)


def test_threads_of_one_name_and_processes_too_are_told_apart() -> None:
    builder = TraceBuilder()
    for pid, tid, name in ((1, 1, "main"), (2, 2, "main"), (2, 3, "worker"), (2, 4, "worker")):
        builder.slice(builder.thread(pid, tid, name, "python"), "f", 0, 1000)

    assert list(folded(builder.build())) == [
        "python 1;main;f",
        "python 2;main;f",
        "python 2;worker 3;f",
        "python 2;worker 4;f",
    ]


def test_an_empty_trace_has_no_stacks_and_no_profiles() -> None:
    trace = TraceBuilder().build()

    assert folded(trace) == {}
    assert speedscope(trace)["profiles"] == []


# ---- speedscope


def as_its_importer_reads(document: dict[str, Any]) -> list[Counter[str]]:
    """Self ns by frame of each profile; fails where speedscope's importer does."""
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    profiles = []
    for each in document["profiles"]:
        stack: list[int] = []
        own_ns: Counter[str] = Counter()
        last = each["startValue"]
        for event in each["events"]:
            assert event["at"] >= last, "times go back"
            if stack:
                own_ns[frames[stack[-1]]] += event["at"] - last
            last = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert event["type"] == "C"
                assert stack.pop() == event["frame"], "closed in another order than opened"
        assert stack == []
        assert last <= each["endValue"]
        profiles.append(own_ns)
    return profiles


def test_a_profile_is_a_track_and_its_slices_open_and_close() -> None:
    builder = forward()
    builder.slice(builder.thread(7, 8, "loader", "train.py"), "load", 5_000, 1_000)
    counter = builder.counter_track(7, "memory", "bytes", "train.py")
    builder.count(counter, 0, 1.0)

    document = speedscope(builder.build())

    assert document["$schema"] == SCHEMA
    assert [each["name"] for each in document["profiles"]] == ["train.py / main", "train.py / loader"]
    assert {(each["type"], each["unit"]) for each in document["profiles"]} == {("evented", "nanoseconds")}
    assert document["shared"] == {"frames": [{"name": n} for n in ("step", "forward", "linear", "backward", "load")]}
    first, second = as_its_importer_reads(document)
    assert first == {"step": 20_000, "forward": 38_000, "linear": 12_000, "backward": 30_000}
    assert second == {"load": 1_000}
    assert (document["profiles"][1]["startValue"], document["profiles"][1]["endValue"]) == (5_000, 6_000)


@given(programs)
def test_every_profile_is_balanced_and_has_the_self_times_of_its_track(generated: list[list[own.Span]]) -> None:
    trace = trace_of(generated)

    profiles = as_its_importer_reads(speedscope(trace))

    assert profiles == [times for _, times in sorted(self_times(trace).items())]


def test_the_batches_of_many_events_join(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = forward().build()
    whole = (list(encode_folded(trace)), list(encode_speedscope(trace)))
    monkeypatch.setattr("stepscope.formats.folded.BATCH_LINES", 1)
    monkeypatch.setattr("stepscope.formats.speedscope.BATCH_EVENTS", 1)

    small = (list(encode_folded(trace)), list(encode_speedscope(trace)))

    assert [b"".join(pieces) for pieces in small] == [b"".join(pieces) for pieces in whole]
    assert len(small[1]) > len(whole[1])


# ---- as files


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.folded", "folded"),
        ("a.collapsed.gz", "folded"),
        ("a.speedscope.json", "speedscope"),
        ("a.speedscope.json.gz", "speedscope"),
        ("speedscope.json", "chrome"),
        ("a.json", "chrome"),
    ],
)
def test_the_longest_ending_names_the_format(tmp_path: Path, name: str, form: str) -> None:
    assert format_of(name).name == form

    written = write(forward().build(), tmp_path / name).read_bytes()

    content = gzip.decompress(written) if name.endswith(".gz") else written
    assert content == b"".join(FORMATS[form].encode(forward().build()))


def test_they_are_not_read(tmp_path: Path) -> None:
    for name in ("a.folded", "a.speedscope.json"):
        path = write(forward().build(), tmp_path / name)
        with pytest.raises(FormatError, match=re.escape(str(path))):
            read(path)


def test_a_handler_writes_them_too(tmp_path: Path) -> None:
    handler = trace_handler(tmp_path, formats=("folded", "speedscope"))
    with profile(schedule=schedule(wait=0, warmup=1, active=1), on_trace_ready=handler) as prof:
        for _ in range(2):
            with record_function("forward"):
                pass
            prof.step()

    assert sorted(format_of(path).name for path in handler.paths) == ["folded", "speedscope"]
