"""What lint says of files that are like a good one but for one thing.

HolisticTraceAnalysis 0.5.0 and torch_tb_profiler 0.4.3 have loaded the same files: check/rules.py says what they did.
"""

import copy
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepscope.check import events as events_module
from stepscope.check import lint
from stepscope.check.events import EventStream
from stepscope.check.rules import EVENT_RULES, FILE_RULES, LEVELS, EventRule, FileRule

NAME = "run.pt.trace.json"


def _good() -> dict[str, Any]:
    events: list[Any] = [{"ph": "M", "name": "process_name", "pid": 9, "tid": 9, "args": {"name": "python"}}]
    for step in range(2):
        start = {"ph": "X", "ts": step * 100.0 + 1, "dur": 90.0, "pid": 9, "tid": 9, "args": {"k": 1}}
        events += [
            {**start, "name": f"ProfilerStep#{step}", "cat": "user_annotation"},
            {**start, "name": "fwd", "cat": "user_annotation", "dur": 20.5},
            {**start, "name": "op", "cat": "cpu_op", "dur": 10.25},
        ]
    info = {"rank": 0, "world_size": 1}
    return {"schemaVersion": 1, "deviceProperties": [], "distributedInfo": info, "traceEvents": events}


def found(content: bytes, name: str = NAME, **more: Any) -> list[tuple[str, int]]:
    """The rules that a file breaks, and how often."""
    return [(each.rule.name, each.count) for each in lint(io.BytesIO(content), Path(name), **more).findings]


def encoded(trace: Any) -> bytes:
    return json.dumps(trace, indent=1, ensure_ascii=False).encode()


def change(*changes: dict[str, Any], event: int = 2) -> Callable[[dict[str, Any]], None]:
    """Change keys of an event; None takes one away."""

    def edit(trace: dict[str, Any]) -> None:
        for pairs in changes:
            for key, value in pairs.items():
                trace["traceEvents"][event][key] = value
                if value is None:
                    del trace["traceEvents"][event][key]

    return edit


def add(event: Any) -> Callable[[dict[str, Any]], None]:
    return lambda trace: trace["traceEvents"].append(event)


def keep(wanted: Callable[[Any], bool]) -> Callable[[dict[str, Any]], None]:
    def edit(trace: dict[str, Any]) -> None:
        trace["traceEvents"] = [event for event in trace["traceEvents"] if wanted(event)]

    return edit


def strip_args(trace: dict[str, Any]) -> None:
    for event in trace["traceEvents"]:
        del event["args"]


PLAIN = {"name": "x", "cat": "c", "pid": 9, "tid": 9, "ts": 5.0}
# Rule -> what is done to a good trace, each of which breaks that rule once and no other.
EDITS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("name", change({"name": None})),
    ("name", change({"name": 5})),
    ("name", add({"ph": "s", "id": 1, "pid": 9, "tid": 9, "ts": 3.0, "cat": "flow"})),
    ("cat", change({"cat": None})),
    ("cat", change({"cat": 3})),
    ("dur", change({"dur": None})),
    ("dur", change({"dur": "7"})),
    ("dur", change({"dur": float("nan")})),
    ("ts", change({"ts": None})),
    ("ts", change({"ts": "5"})),
    ("ts-precision", change({"ts": 1795447501903926.25})),
    ("negative-dur", change({"dur": -5})),
    ("tid", change({"tid": "main"}, event=3)),
    ("tid", change({"tid": "main"}, event=1)),
    ("id-range", change({"tid": 1 << 31})),
    ("id-range", change({"pid": -1})),
    ("tid-zero", change({"tid": 0})),
    ("step-name", change({"name": "ProfilerStep#abc"})),
    ("step-name", change({"name": "ProfilerStepping"})),
    ("step-name", change({"name": "ProfilerStep#7 warm"})),
    ("arg-stream", change({"args": {"stream": 7}})),
    ("arg-correlation", change({"args": {"correlation": "text"}})),
    ("args", change({"args": [1]}, event=3)),
    ("phase", add({**PLAIN, "ph": "S", "id": 1})),
    ("begin-end", add({**PLAIN, "ph": "B"})),
    ("sub-us", change({"ts": 5.3, "dur": 0.4})),
    ("events", lambda trace: trace.pop("traceEvents")),
    ("odd-event", add(None)),
    ("odd-event", add("text")),
    ("empty", keep(lambda event: event["ph"] == "M")),
    ("no-args", strip_args),
    ("devices", lambda trace: trace.update(deviceProperties={"a": 1})),
    ("rank", lambda trace: trace.pop("distributedInfo")),
    ("rank", lambda trace: trace.update(distributedInfo={"rank": "0"})),
    ("steps", keep(lambda event: "Step" not in event["name"])),
    ("one-step", keep(lambda event: event["name"] != "ProfilerStep#1")),
    ("unknown-end", add({**PLAIN, "ph": "E"})),
]
# Rule -> what is done to a good file.
REWRITES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("json", lambda content: content[:-60]),
    ("json", lambda content: content.replace(b"\n ]\n}", b"\n ,]\n}")),
    ("json", lambda content: content.replace(b'"k": 1', b'"k": N/A', 1)),
    ("json", lambda content: content + b"{}"),
    ("json", lambda content: gzip.compress(content, mtime=0)[:-9]),
    ("utf-8", lambda content: content.replace(b"fwd", b"\xffwd")),
    ("control", lambda content: content.replace(b"fwd", b"f\td")),
    ("surrogate", lambda content: content.replace(b"fwd", rb"\\\ud83d\ude00")),
    ("array", lambda content: encoded(json.loads(content)["traceEvents"])),
    ("rank", lambda content: content.replace(b'"rank": 0', b'"rank":0')),
    ("rank", lambda content: content.replace(b"{", b'{"metadata": {"rank": 5},', 1)),
]
NAMES = [("tensorboard-name", "run.json"), ("tensorboard-name", "run.trace.json.gz"), ("hta-name", "run.trace")]


def test_a_good_trace_breaks_no_rule() -> None:
    assert found(encoded(_good())) == []
    assert found(gzip.compress(encoded(_good())), f"{NAME}.gz") == []


@pytest.mark.parametrize(("rule", "edit"), EDITS, ids=[f"{number}-{rule}" for number, (rule, _) in enumerate(EDITS)])
def test_each_rule_is_broken_by_what_it_says_and_alone(rule: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    trace = copy.deepcopy(_good())
    edit(trace)

    assert found(encoded(trace)) == [(rule, 1)]


@pytest.mark.parametrize(("rule", "rewrite"), REWRITES, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(REWRITES)])
def test_what_only_the_bytes_show_is_found(rule: str, rewrite: Callable[[bytes], bytes]) -> None:
    others = {"steps", "one-step", "rank"} if rule == "json" else set()  # of what is not there any more

    assert [each for each in found(rewrite(encoded(_good()))) if each[0] not in others] == [(rule, 1)]


@pytest.mark.parametrize(("rule", "name"), NAMES)
def test_names_that_a_program_does_not_list_are_found(rule: str, name: str) -> None:
    assert (rule, 1) in found(encoded(_good()), name)


def test_two_files_of_one_rank_in_a_folder_are_found_once() -> None:
    ranks: dict[tuple[Path, int], Path] = {}

    assert found(encoded(_good()), f"log/a-{NAME}", ranks=ranks) == []
    assert found(encoded(_good()), f"log/b-{NAME}", ranks=ranks) == [("same-rank", 1)]
    assert found(encoded(_good()), f"other/b-{NAME}", ranks=ranks) == []


def test_every_rule_is_tried_and_has_its_words() -> None:
    tried = {rule for rule, _ in EDITS} | {rule for rule, _ in REWRITES} | {rule for rule, _ in NAMES} | {"same-rank"}
    rules: list[EventRule | FileRule] = [*EVENT_RULES, *FILE_RULES]

    assert {rule.name for rule in rules} == tried
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(rule.level in LEVELS and rule.who and rule.why and rule.fix for rule in rules)


def test_what_is_counted_keeps_its_first_example() -> None:
    trace = _good()
    for at in (2, 3, 5):
        del trace["traceEvents"][at]["dur"]

    (finding,) = lint(io.BytesIO(encoded(trace)), Path(NAME)).findings

    assert (finding.rule.name, finding.count, finding.example) == ("dur", 3, "event 2, 'fwd'")


def test_device_work_may_have_a_stream() -> None:
    trace = _good()
    change({"cat": "gpu_memcpy", "args": {"stream": 7, "correlation": 12}})(trace)

    assert found(encoded(trace)) == []


def test_lint_counts_what_perfetto_should_show_as_slices() -> None:
    trace = _good()
    for event in ({"ph": "i"}, {"ph": "B"}, {"ph": "E"}, {"ph": "b", "id": 1}, {"ph": "n", "id": 1}, {"ph": "b"}):
        add({**PLAIN, **event})(trace)

    assert lint(io.BytesIO(encoded(trace)), Path(NAME)).facts.slices == 6 + 4


# ---- the stream of events


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1 << 20])
def test_a_file_is_the_same_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(events_module, "PIECE_BYTES", piece)
    trace = _good() | {"numbers": [12345678901234567890, -1.5e300, True, None], "text": 'a "b" \\ é 😀'}
    stream = EventStream(io.BytesIO(encoded(trace)))

    read = list(stream)

    assert read == trace.pop("traceEvents")
    assert (stream.header, stream.damage, stream.rank_on_line) == (trace, "", 0)


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
@pytest.mark.parametrize("at", [0, 1, 5, 40, 150, 300, 700, -1])
def test_a_cut_file_is_read_as_far_as_its_events_are_whole(
    monkeypatch: pytest.MonkeyPatch, piece: int, at: int
) -> None:
    monkeypatch.setattr(events_module, "PIECE_BYTES", piece)
    stream = EventStream(io.BytesIO(encoded(_good())[:at]))

    read = list(stream)

    assert read == _good()["traceEvents"][: len(read)]
    assert stream.damage.startswith("at character ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it ends too early"),
        (b"hello", "'{' should stand here, not 'h'"),
        (b'[{"a" 1}]', "at character 6, expecting ':' delimiter"),
        (b"[1 2]", "',' should stand here, not '2'"),
        (b"[" * 100_000, "Python's json cannot read a value"),
        (b"[" + b"1" * 10_000 + b"]", "Python's json cannot read a value"),
        (gzip.compress(b"[]" * 99, mtime=0)[:20], "the gzip data is damaged"),
        (gzip.compress(b"[{}]", mtime=0)[:12] + b"\xff" * 20, "the gzip data is damaged"),
    ],
)
def test_what_is_no_json_says_why(content: bytes, says: str) -> None:
    stream = EventStream(io.BytesIO(content))

    for _ in stream:
        pass

    assert says in stream.damage


def test_a_value_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_VALUE_CHARS", 1000)
    monkeypatch.setattr(events_module, "PIECE_BYTES", 64)
    stream = EventStream(io.BytesIO(b'["' + b"a" * 5000))

    assert list(stream) == []
    assert "longer than 1000 characters" in stream.damage
