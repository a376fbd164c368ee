"""Counter values in both formats, one event or packet a value.

    {"ph":"C","name":"memory","pid":1,"tid":0,"args":{"bytes":1.5},"ts":0.001}

    TracePacket       0a len | 40 timestamp delta | 50 sequence | 5a len TrackEvent
    TrackEvent        48 04 | f0 01 integer value, or e1 02 double value

A value is a double. Whole numbers below 2**53 are written as integers, which takes less room and says the same.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepscope.core.protobuf import varint
from stepscope.core.rows import Counters

if TYPE_CHECKING:
    from array import array

__all__ = ["chrome_counters", "perfetto_counters"]

VALUES_PER_CHUNK = 4096
WHOLE_BELOW = 2.0**53
COUNTER = b"\x48\x04"


def chrome_counters(counters: Counters, heads: Sequence[bytes], at: int) -> tuple[bytes, int]:
    """Print some of the values from `at` on, each behind a comma and a newline.

    Args:
        counters: ts in ns, values finite.
        heads: track id -> `"name":"memory","pid":1,"tid":0,"args":{"bytes":`.
        at: the first value to print.

    Returns:
        Many values, UTF-8, and where to go on.
    """
    stop = min(at + VALUES_PER_CHUNK, len(counters.ts))
    lines = [
        b',\n{"ph":"C",%b%b},"ts":%d.%03d}' % (heads[track], _number(value), ts // 1000, ts % 1000)
        for ts, value, track in zip(*(column[at:stop] for column in counters), strict=True)
    ]
    return b"".join(lines), stop


def _number(value: float) -> bytes:
    """A number that a reader of JSON finds again.

    Fifteen digits where they say it exactly, else seventeen. Those of a small number are not written out behind
    zeros: trace processor v52 reads 18 decimals, and nonsense where there are more.
    """
    if -WHOLE_BELOW < value < WHOLE_BELOW and value == int(value):
        return b"%d" % int(value)
    text = b"%.15g" % value
    if float(text) == value:
        return text
    return b"%.17g" % value if abs(value) >= 0.01 else b"%.16e" % value


def perfetto_counters(counters: Counters, sequences: Sequence[int], last: "array[int]", at: int) -> tuple[bytes, int]:
    """Encode some of the values from `at` on, each on the sequence of its track.

    Args:
        counters: sorted by ts, in ns.
        sequences: track id -> number of its sequence.
        last: track id -> where the sequence's clock stands; it is moved on.
        at: the first value to encode.

    Returns:
        Many whole packets, and where to go on.
    """
    stop = min(at + VALUES_PER_CHUNK, len(counters.ts))
    out = bytearray()
    for ts, value, track in zip(*(column[at:stop] for column in counters), strict=True):
        event = COUNTER + _value(value)
        packet = b"\x40" + varint(ts - last[track]) + b"\x50" + varint(sequences[track])
        packet += b"\x5a" + varint(len(event)) + event
        out += b"\x0a" + varint(len(packet)) + packet
        last[track] = ts
    return bytes(out), stop


def _value(value: float) -> bytes:
    if 0 <= value < WHOLE_BELOW and value == int(value):
        return b"\xf0\x01" + varint(int(value))
    return b"\xe1\x02" + struct.pack("<d", value)
