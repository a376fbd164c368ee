"""Protobuf's wire, as far as a trace needs it, and what the Perfetto kernel is handed besides the columns."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["FIXED32", "FIXED64", "LENGTH", "VARINT", "Annotations", "MalformedError", "TrackSequence", "field"]
__all__ += ["double", "fields", "read_varint", "signed", "varint"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; groups have gone out of use before Perfetto began
UINT64 = (1 << 64) - 1
LAST_FIELD = (1 << 29) - 1


class MalformedError(ValueError):
    """Bytes that are no protobuf message."""


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


def read_varint(data: Any, at: int, stop: int) -> tuple[int, int]:
    """Read an unsigned integer; returns it and where the next byte is.

    Raises:
        MalformedError: it goes on past stop, or past ten bytes.
    """
    value = shift = 0
    for place in range(at, min(at + 10, stop)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & UINT64, place + 1
        shift += 7
    message = f"byte {at}: an integer does not end"
    raise MalformedError(message)


def signed(number: int) -> int:
    """An integer of 64 bits as int64."""
    number &= UINT64
    return number - (1 << 64) if number > (1 << 63) - 1 else number


def double(bits: int) -> float:
    """The double of these bits."""
    (number,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    return float(number)


def fields(data: Any, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk the fields of a message.

    Yields:
        number, wire type, value, end: the value of an integer; of a length-delimited field where its payload starts,
        which ends at end. Doubles are integers of their bits.

    Raises:
        MalformedError: a field goes on past stop, or is none.
    """
    while at < stop:
        start = at
        tag, at = read_varint(data, at, stop)
        wire = tag & 7
        if wire == VARINT:
            value, at = read_varint(data, at, stop)
        elif wire == LENGTH:
            length, value = read_varint(data, at, stop)
            at = value + length
        elif wire in (FIXED32, FIXED64):
            size = 8 if wire == FIXED64 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        if wire not in (VARINT, LENGTH, FIXED32, FIXED64) or at > stop or not 0 < tag >> 3 <= LAST_FIELD:
            message = f"byte {start}: a field that is none, or ends beyond byte {stop}"
            raise MalformedError(message)
        yield tag >> 3, wire, value, at


class Annotations(NamedTuple):
    """A row's arguments: its DebugAnnotation fields, and the ids of the names they use."""

    encoded: bytes
    names: tuple[int, ...]


class TrackSequence(NamedTuple):
    """A track's packet sequence: its id, the ts its incremental clock starts at, the packets that open it."""

    number: int
    start_ns: int
    preamble: bytes
