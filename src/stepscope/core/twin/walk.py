"""The walk down two forests where they are alike: which rows are the same ones needs no alignment there."""

from array import array

from stepscope.core.trees import Forest, Walked
from stepscope.core.twin.forest import check_pairs, levels_of

__all__ = ["walk_alike"]


def walk_alike(base: Forest, head: Forest, pairs: tuple["array[int]", "array[int]"], *, ordered: bool) -> Walked:
    """Walk down from pairs of rows, as long as the children of both are alike.

    They are alike if they are equal trees; or one each, of one name; or as many, of one shape in each place, where none
    that differs from the one in its place is equal to another that does: then each is the one in its place. Where order
    does not count, there are no places.

    Args:
        base: trees of one side.
        head: those of the other.
        pairs: two arrays 'I': rows of base and of head that are the same ones.
        ordered: whether the order of siblings counts.

    Raises:
        ValueError: a row is none, or a child does not stand behind its parent.
    """
    check_pairs("walk_alike", (base, head), pairs)
    todo = [*zip(*pairs, strict=True)][::-1]
    same, apart = (array("I"), array("I")), (array("I"), array("I"))
    while todo:
        pair = todo.pop()
        _add(same, pair)
        differ = _in_place((base, head), levels_of("walk_alike", (base, head), pair), ordered=ordered)
        if differ is None:
            _add(apart, pair)
        else:
            todo += reversed(differ)
    return Walked(same, apart)


def _add(pairs: tuple["array[int]", "array[int]"], pair: tuple[int, int]) -> None:
    for rows, row in zip(pairs, pair, strict=True):
        rows.append(row)


def _in_place(
    forests: tuple[Forest, Forest], levels: tuple["array[int]", "array[int]"], *, ordered: bool
) -> list[tuple[int, int]] | None:
    """The pairs that differ; None if the levels are not alike."""
    base, head = forests
    if len(levels[0]) != len(levels[1]):
        return None
    pairs = [*zip(*levels, strict=True)]
    differ = [at for at, (one, other) in enumerate(pairs) if base.full[one] != head.full[other]]
    if not differ:
        return []
    if len(pairs) == 1:
        return pairs if base.name[pairs[0][0]] == head.name[pairs[0][1]] else None
    if not ordered:
        return None
    between = pairs[differ[0] : differ[-1] + 1]
    if any(base.shape[one] != head.shape[other] for one, other in between):
        return None
    return (
        between if {base.full[one] for one, _ in between}.isdisjoint(head.full[other] for _, other in between) else None
    )
