"""Hashes of call trees: equal subtrees have equal hashes, so that a comparison looks only at what differs.

64 bits: among a million different subtrees, two are taken for one with a probability of 3 in 10**8. The hash is the
same in every process, on every machine and in both cores.
"""

from array import array

from stepscope.core.rows import INSTANT, Columns
from stepscope.core.trees import Labels, Trees

__all__ = ["hash_trees", "mix"]

MASK = (1 << 64) - 1
# Added to the name of an instant, which is not a slice of that name: 2**64 / the golden ratio.
OF_INSTANT = 0x9E3779B97F4A7C15


def mix(bits: int) -> int:
    """Spread 64 bits over 64 bits, one to one. Source: the last steps of SplitMix64."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & MASK
    return bits ^ (bits >> 31)


def hash_trees(columns: Columns, parent: "array[int]", labels: Labels, *, ordered: bool) -> Trees:
    """Hash each row's subtree.

    Args:
        columns: settled.
        parent: array 'q', as nest_rows makes it: a row before, or -1 at the root; or -2 - row for one that is set
            apart: a tree of its own, which its parent's hashes know nothing of.
        labels: what tells rows apart.
        ordered: whether the order of siblings does.

    Raises:
        ValueError: a row's parent does not stand before it.
    """
    rows = len(columns.ts)
    # A row's own places hold what has been folded into it so far: children stand behind their parent.
    full, shape, inner, label, own = (array("Q", bytes(8 * rows)) for _ in range(5))
    names = labels.names
    for row in range(rows - 1, -1, -1):
        kind_of = OF_INSTANT if columns.kind[row] & INSTANT else 0
        name = names[columns.name[row]] + kind_of & MASK
        args = mix(labels.args[row])
        besides = mix(labels.cats[columns.cat[row]] + args & MASK)
        whole = mix(name + besides & MASK)
        label[row] = besides + kind_of & MASK
        own[row] = mix(name + args & MASK)
        full[row] = mix(full[row] + 3 * whole + 1 & MASK)
        inner[row] = shape[row]
        shape[row] = mix(shape[row] + 3 * name + 1 & MASK)
        above = parent[row]
        if not above < row or -2 - above >= row:
            message = f"row {row}: its parent is {above}, which does not stand before it"
            raise ValueError(message)
        if above >= 0:
            if ordered:
                full[above] = mix(5 * full[above] + full[row] & MASK)
                shape[above] = mix(5 * shape[above] + shape[row] & MASK)
            else:
                full[above] = full[above] + mix(full[row]) & MASK
                shape[above] = shape[above] + mix(shape[row]) & MASK
    return Trees(full, shape, inner, label, own)
