"""Hashes of texts and of arguments: what the rows of a call tree are told apart by.

A text's hash is what is left of its bytes, as one number, by a prime below 2**64: blake2b takes twice as long. It is
the same in every process, on every machine and in both cores. The prime is not the largest one, 2**64 - 59: by that,
two texts have one hash if a character differs by 59 and the one eight places on by 1.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stepscope.core.trees import ArgsLabels

__all__ = ["hash_args", "hash_texts"]

# The largest prime that far below 2**64, or farther: by 2**32 / the golden ratio, in which no byte is small.
_PRIME = (1 << 64) - 0x9E3779EB
_PLAIN = frozenset({int, float, bool, str})
# The C core sorts keys one by one: what has more of them is the caller's to hash.
_MAX_KEYS = 64


def hash_texts(texts: Sequence[str], /) -> "array[int]":
    """A hash of each text; 0 for one that is empty, and for no other."""
    return array("Q", map(_hash_text, texts))


def hash_args(items: Iterable[tuple[int, Mapping[str, Any]]], hashes: "array[int]", labels: ArgsLabels) -> None:
    """Set the hash of each row's arguments: of the text that is the same for those that are compared as equal.

    Args:
        items: rows and their arguments.
        hashes: array 'Q', per row.
        labels: what of arguments is compared, and how.

    Raises:
        IndexError: there is no such row.
    """
    for row, args in items:
        if not 0 <= row < len(hashes):
            message = f"row {row} has arguments, but there are {len(hashes)} rows"
            raise IndexError(message)
        hashes[row] = _hash_plain(args, labels) if _is_plain(args) else labels.other(args)


def _hash_text(text: str) -> int:
    # The byte behind it tells texts apart that end in NUL.
    return int.from_bytes(text.encode("utf-8", "surrogatepass") + b"\1", "little") % _PRIME or 1 if text else 0


def _is_plain(args: Mapping[str, Any]) -> bool:
    return len(args) <= _MAX_KEYS and all(type(key) is str and type(value) in _PLAIN for key, value in args.items())


def _hash_plain(args: Mapping[str, Any], labels: ArgsLabels) -> int:
    is_compared, normal = labels.is_compared, labels.normal
    compared = [
        (key, normal[value] if type(value) is str else value) for key, value in args.items() if is_compared[key]
    ]
    return _hash_text(repr(sorted(compared))) if compared else 0
