"""Alignment: which of two lists of siblings are the same ones, in order.

Tiers of likeness: whole subtrees, their shapes, names with arguments, names. Small lists are aligned exactly; long ones
are cut at what occurs once in both, or along their longest common subsequence, and the pieces are aligned then. The
result does not depend on which list comes first.

Source: Myers, "An O(ND) Difference Algorithm" (1986); patience diff, by Cohen.
"""

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from stepscope.core import kernels
from stepscope.core.trees import Tiers

if TYPE_CHECKING:
    from array import array

__all__ = ["MAX_CELLS", "align"]

# Aligned exactly up to this many pairs of members: a hundred by a hundred.
MAX_CELLS = 10_000
# The longest edit script that is looked for; its cost grows with the square.
MAX_EDITS = 400
# And it is looked for only if so much of both is common to them: one of so many members.
MIN_COMMON = 8

Pairs = list[tuple[int, int]]


class _Piece(NamedTuple):
    """A stretch of both lists: base[i:i_end] and head[j:j_end]."""

    i: int
    i_end: int
    j: int
    j_end: int


def align(base: Tiers, head: Tiers) -> Pairs:
    """Pair the members of two lists.

    Returns:
        (place in base, place in head) of each pair, both rising.
    """
    if head.full < base.full:
        return [(i, j) for j, i in align(head, base)]
    pairs: Pairs = []
    todo = [_Piece(0, len(base.full), 0, len(head.full))]
    while todo:
        piece = _trim(base, head, todo.pop(), pairs)
        if {*base.name[piece.i : piece.i_end]}.isdisjoint(head.name[piece.j : piece.j_end]):
            continue
        if _differ_inside_only(base, head, piece):
            pairs += zip(range(piece.i, piece.i_end), range(piece.j, piece.j_end), strict=True)
            continue
        if (piece.i_end - piece.i) * (piece.j_end - piece.j) <= MAX_CELLS:
            pairs += _align_exactly(base, head, piece)
            continue
        anchors = _anchors(base, head, piece)
        pairs += anchors
        if anchors:
            todo += _between(piece, anchors)
    return sorted(pairs)


def _trim(base: Tiers, head: Tiers, piece: _Piece, pairs: Pairs) -> _Piece:
    """Pair what is equal at both ends."""
    i, i_end, j, j_end = piece
    left, right = base.full, head.full
    while i < i_end and j < j_end and left[i] == right[j]:
        pairs.append((i, j))
        i, j = i + 1, j + 1
    while i < i_end and j < j_end and left[i_end - 1] == right[j_end - 1]:
        i_end, j_end = i_end - 1, j_end - 1
        pairs.append((i_end, j_end))
    return _Piece(i, i_end, j, j_end)


def _differ_inside_only(base: Tiers, head: Tiers, piece: _Piece) -> bool:
    """Whether members of one place have one shape, and no two members are equal: no other pairs are as many."""
    i, i_end, j, j_end = piece
    if base.shape[i:i_end] != head.shape[j:j_end]:
        return False
    return {*base.full[i:i_end]}.isdisjoint(head.full[j:j_end])


def _align_exactly(base: Tiers, head: Tiers, piece: _Piece) -> Pairs:
    """The pairs of a piece that are worth most together."""
    i0, i_end, j0, j_end = piece
    ones, others = Tiers(*(tier[i0:i_end] for tier in base)), Tiers(*(tier[j0:j_end] for tier in head))
    return _moved_to(piece, kernels.align_few(ones, others))


def _anchors(base: Tiers, head: Tiers, piece: _Piece) -> Pairs:
    """Pairs to cut a long piece at; none if there is nothing to go by."""
    for tier in range(4):
        if anchors := _unique(base[tier], head[tier], piece):
            return anchors
    for tier in (0, 3):
        if _are_alike(base[tier], head[tier], piece) and (anchors := _common(base[tier], head[tier], piece)):
            return anchors
    return []


def _are_alike(left: "array[int]", right: "array[int]", piece: _Piece) -> bool:
    """Whether few edits may lead from one to the other: what they have in common tells how many there are at least."""
    i0, i_end, j0, j_end = piece
    members = i_end - i0 + j_end - j0
    common = sum((Counter(left[i0:i_end]) & Counter(right[j0:j_end])).values())
    return members - 2 * common <= MAX_EDITS and members <= MIN_COMMON * common


def _unique(left: "array[int]", right: "array[int]", piece: _Piece) -> Pairs:
    """The longest rising run of what occurs once in both."""
    i0, i_end, j0, j_end = piece
    return _moved_to(piece, kernels.align_unique(left[i0:i_end], right[j0:j_end]))


def _common(left: "array[int]", right: "array[int]", piece: _Piece) -> Pairs:
    """The longest common subsequence of a piece, if few edits lead from one to the other."""
    i0, i_end, j0, j_end = piece
    return _moved_to(piece, kernels.align_common(left[i0:i_end], right[j0:j_end], MAX_EDITS))


def _moved_to(piece: _Piece, places: tuple["array[int]", "array[int]"]) -> Pairs:
    """Pairs of places in a piece as those in the lists."""
    return [(piece.i + i, piece.j + j) for i, j in zip(*places, strict=True)]


def _between(piece: _Piece, anchors: Pairs) -> list[_Piece]:
    """What is left of a piece between its anchors."""
    pieces = []
    i, j = piece.i, piece.j
    for i_next, j_next in [*anchors, (piece.i_end, piece.j_end)]:
        pieces.append(_Piece(i, i_next, j, j_next))
        i, j = i_next + 1, j_next + 1
    return pieces
