"""What Perfetto makes of a .pftrace that is not as it should be: a table, a row for each problem a reader can have.

Most of it shows in no statistic of the trace processor, or in one that is only for information: an empty list of
errors does not prove a trace. What each row says was seen with its version 52.
"""

from typing import NamedTuple

__all__ = ["PACKET_RULES", "PacketRule"]


class PacketRule(NamedTuple):
    """Something that can be wrong with packets.

    Attributes:
        name: the kind of the Problem that reading the file has.
        level: one of LEVELS.
        why: what Perfetto does.
        fix: what to do about it.
    """

    name: str
    level: str
    why: str
    fix: str


PACKET_RULES = {
    row.name: row
    for row in (
        PacketRule(
            "truncated", "error",
            "it shows what is before the cut, and says nothing",
            "Convert what is whole: stepscope convert --non-strict IN OUT.pftrace",
        ),
        PacketRule(
            "damaged", "error",
            "it shows what is before the damage, or refuses the file",
            "Convert what is whole: stepscope convert --non-strict IN OUT.pftrace",
        ),
        PacketRule(
            "malformed", "error",
            "what is in such a packet is lost",
            "Write messages as perfetto.protos has them.",
        ),
        PacketRule(
            "compression", "error",
            "it shows what is before the damage, or refuses the file",
            "Compress the file anew.",
        ),
        PacketRule(
            "compressed", "warning",
            "versions before 2026 pass over packets compressed with zstd, and nothing here could read them",
            "Install stepscope[zstd] and convert the file: stepscope convert IN OUT.pftrace",
        ),
        PacketRule(
            "state", "error",
            "packets that refer to names and clocks of a sequence are dropped until its state is cleared",
            "Begin each sequence with SEQ_INCREMENTAL_STATE_CLEARED, and clear it again behind a loss.",
        ),
        PacketRule(
            "interned", "error",
            "what has an id that no packet before it explains has no name",
            "Write an entry of InternedData, with an id from 1 on, not later than the first packet that uses it.",
        ),
        PacketRule(
            "unreadable", "error",
            "events without a type, or of no trusted_packet_sequence_id, are dropped",
            "Give every TrackEvent a type, and its packet a trusted_packet_sequence_id.",
        ),
        PacketRule(
            "time", "error",
            "events whose clock no snapshot knows are dropped",
            "Write a ClockSnapshot that has their clock and a built-in one before them.",
        ),
        PacketRule(
            "undescribed", "warning",
            "it shows such tracks by no name, under no process",
            "Write a TrackDescriptor with the uuid, before its events.",
        ),
        PacketRule(
            "unmatched", "warning",
            "an end without a beginning is dropped, and so is an arrow without one; nothing says so",
            "End on a track only what has begun there.",
        ),
        PacketRule(
            "misplaced", "warning",
            "a slice ends when the one around it does, and its own end is dropped or ends another",
            "Write slices that overlap on tracks of their own.",
        ),
        PacketRule(
            "text", "warning",
            "text that is not UTF-8 is shown cut or garbled",
            "Write UTF-8.",
        ),
        PacketRule(
            "ignored", "note",
            "old events of such a phase are passed over",
            "Leave them out.",
        ),
    )
}  # fmt: skip
