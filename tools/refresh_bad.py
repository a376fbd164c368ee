"""Writes the .pftrace files of fixtures/bad: files that broke a reader once, or could.

    PYTHONPATH=src:tests python tools/refresh_bad.py

Their names say what is wrong with each, and the verdict: y_ must load, n_ must be refused unless strict=False reads
what is good in it, i_ may do either. tests/test_perfetto_bad.py holds them to both, and to what is made here.
"""

import zlib
from pathlib import Path
from typing import Any

from foreign_pftrace import File
from stepscope.core.protobuf import field, varint

FOLDER = Path(__file__).parent.parent / "fixtures" / "bad"
NOW = 5 * 10**12
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
PACKET = field(1, b"\x50\x01")


def started() -> File:
    """A file with one thread, whose track is 10, and one event."""
    file = File()
    file.process(1, 7, "python")
    file.thread(10, 7, 8, "main")
    file.event(NOW, INSTANT, "before", track_uuid=10)
    return file


def events(*rows: tuple[int, int, str], **fields: Any) -> bytes:
    """The file with further events: ts, type, name."""
    file = started()
    for ts, kind, name in rows:
        file.event(ts, kind, name, track_uuid=10, **fields)
    return file.data


def raw_event(event: bytes) -> bytes:
    """The file with an event of these bytes."""
    return started().data + field(1, b"\x40" + varint(NOW) + b"\x50\x01" + field(11, b"\x48\x03\x58\x0a" + event))


def nested(depth: int) -> bytes:
    """The file with an argument of arrays in each other."""
    annotation = b"\x20\x01"
    for _ in range(depth):
        annotation = field(12, annotation)
    return raw_event(field(4, b"\x52\x01k" + annotation))


def packed(times: int) -> bytes:
    """Compressed packets in each other."""
    data = started().data
    for _ in range(times):
        data = field(1, field(50, zlib.compress(data)))
    return data


def parents_in_a_circle() -> bytes:
    """Tracks that are each other's parents."""
    file = started()
    file.track(20, "a", parent=21)
    file.track(21, "b", parent=20)
    file.event(NOW, INSTANT, "x", track_uuid=20)
    return file.data


def one_uuid_twice() -> bytes:
    """A uuid that is described as two threads."""
    file = started()
    file.thread(10, 7, 9, "again")
    file.track(10, "and a name")
    return file.data


def no_state() -> bytes:
    """Packets that need a state that is not there."""
    file = started()
    file.packet(5, NOW, sequence_flags=2).track_event.name_iid = 1
    file.packet(1, sequence_flags=2).interned_data.event_names.add(iid=1, name="too early")
    return file.data


def no_clock() -> bytes:
    """A packet on a clock that no snapshot has."""
    file = started()
    file.clocks({6: NOW, 3: NOW})
    file.packet(1, NOW, timestamp_clock_id=77).track_event.type = INSTANT
    return file.data


def about_is_something_else() -> bytes:
    """What stepscope says of a trace, in the wrong types."""
    file = started()
    file.packet().chrome_events.metadata.add(name="stepscope:about", string_value='{"tool": [1, {}]}')
    return file.data


def time_overflows() -> bytes:
    """A clock of a sequence that goes past 64 bits."""
    file = started()
    file.clocks({6: NOW, 64: 2**63 - 5}, incremental=64, unit_ns=2**40)
    for _ in range(3):
        file.packet(1, 2**64 - 1, timestamp_clock_id=64).track_event.type = INSTANT
    return file.data


GOOD = started().data
FILES: dict[str, bytes] = {
    "y_about_is_something_else": about_is_something_else(),
    "y_begins_without_end": events(*[(NOW + at, BEGIN, "x") for at in range(600)]),
    "y_clock_that_nobody_knows": no_clock(),
    "y_counter_values_for_no_counter": events((NOW, BEGIN, "x"), extra_counter_values=[1, 2]),
    "y_ends_without_begin": events(*[(NOW + at, END, "") for at in range(5)]),
    "y_event_of_no_sequence": GOOD + field(1, b"\x40\x05" + field(11, b"\x48\x03\x58\x0a")),
    "y_fields_that_nobody_knows": GOOD
    + b"\x10\x05\x08\x05"
    + field(1, b"\x50\x01" + field(9999, b"x"))
    + field(7, b"y"),
    "y_name_is_not_interned": events((NOW, INSTANT, ""), name_iid=9),
    "y_name_is_not_utf8": raw_event(field(23, b"\xff\xfe\xed\xa0\x80")),
    "y_name_with_nul": raw_event(field(23, b"a\0b")),
    "y_packets_of_no_length": b"\x0a\x00" * 5 + GOOD,
    "y_parents_in_a_circle": parents_in_a_circle(),
    "y_state_is_not_there": no_state(),
    "y_time_beyond_all": events((2**64 - 1, INSTANT, "x"), (2**63, INSTANT, "x"), (2**62 + 1, INSTANT, "x")),
    "y_time_goes_back": events((NOW - 9, BEGIN, "x"), (NOW - 20, BEGIN, "y"), (NOW - 15, END, "")),
    "y_uuid_is_taken_twice": one_uuid_twice(),
    "n_arguments_deep_in_each_other": nested(300),
    "n_compressed_garbage": GOOD + field(1, field(50, b"this is not zlib")),
    "n_compressed_in_each_other": packed(9),
    "n_compressed_is_cut": GOOD + field(1, field(50, zlib.compress(GOOD)[:-6])),
    "n_cut_behind_a_tag": GOOD + b"\x0a",
    "n_cut_in_a_length": GOOD + b"\x0a\x80",
    "n_cut_in_a_packet": GOOD[:-3],
    "n_empty": b"",
    "n_event_beyond_its_packet": GOOD + field(1, b"\x50\x01\x5a\x7f\x48\x03"),
    "n_field_zero": GOOD + field(1, b"\x00\x00"),
    "n_group": GOOD + b"\x0b\x0c",
    "n_integer_without_end": raw_event(b"\x50" + b"\xff" * 12),
    "n_length_beyond_all": GOOD + b"\x0a" + b"\xff" * 9 + b"\x01",
    "n_length_of_eleven_bytes": GOOD + b"\x0a" + b"\x80" * 11 + b"\x00",
    "n_text_behind": GOOD + b"\x7b this is no packet }",
    "i_compressed_with_zstd": GOOD + field(1, field(133, b"\x28\xb5\x2f\xfd")),
    "i_time_has_another_wire_type": GOOD + field(1, b"\x41" + b"\x05" * 8 + b"\x50\x01" + field(11, b"\x48\x03")),
    "i_time_overflows": time_overflows(),
    "i_type_is_text": GOOD + field(1, b"\x40\x05\x50\x01" + field(11, b"\x4a\x01\x03")),
}


if __name__ == "__main__":
    for name, content in FILES.items():
        (FOLDER / f"{name}.pftrace").write_bytes(content)
