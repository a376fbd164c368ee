"""Protobuf's wire, as far as a trace needs it, and what the Perfetto kernel is handed besides the columns."""

from typing import NamedTuple

__all__ = ["Annotations", "TrackSequence", "field", "varint"]


def varint(number: int) -> bytes:
    """An unsigned integer as protobuf writes it."""
    if number < 0x80:
        return number.to_bytes(1, "little")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


class Annotations(NamedTuple):
    """A row's arguments: its DebugAnnotation fields, and the ids of the names they use."""

    encoded: bytes
    names: tuple[int, ...]


class TrackSequence(NamedTuple):
    """A track's packet sequence: its id, the ts its incremental clock starts at, the packets that open it."""

    number: int
    start_ns: int
    preamble: bytes
