"""Words: names as they are compared, without what belongs to one run only, each with a number and a hash.

One table of words serves all traces of a comparison. Hashes are the kernels', so that the result does not depend on
Python's own.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, count
from typing import Any, AnyStr

from stepscope.analysis.diff.rules import NameRule, Rules
from stepscope.core import kernels
from stepscope.core.trees import ArgsLabels
from stepscope.model.row_args import plain_args
from stepscope.model.trace import Trace

__all__ = ["Words", "canonical"]

_NUMBERS = frozenset({int, float, bool})
_SCALARS = _NUMBERS | {str}
# What is in every text that a rule of NAME_RULES for slices changes. Of a million names hardly one is such a text: they
# are looked for in all names at once.
_SUSPECT = ("ProfilerStep#", "0x", "/tmp/", "/var/", ":\\")  # noqa: S108 - it is looked for, not used
_NUMBERED = {of: tuple(of + sign for sign in " =:#") for of in ("pid", "tid", "port")}
_HEXADECIMAL = re.compile(r"[\da-fA-F]{8}")
_IS_HEXADECIMAL = bytes(char in b"0123456789abcdefABCDEF" for char in range(256))


class Words:
    """The names of all traces that are compared.

    Attributes:
        texts: number -> text.
        rules: how they are normalised.
        is_compared: whether an argument is, by its key.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.texts: list[str] = []
        self._hashes = array("Q")  # of the first texts; _all_hashes sees to the others
        self._numbers: dict[str, int] = {}  # of the first texts; number sees to the others
        self._normal = {
            of: _Normal([rule for rule in rules.name_rules if rule.of in ("any", of)])
            for of in ("any", "slice", "thread", "process")
        }
        self._args: dict[str, int] = {}
        self.is_compared = _Compared(rules.ignore_args)

    def normal(self, text: str, of: str) -> str:
        """A text without what belongs to one run only."""
        return self._normal[of][text]

    def number(self, text: str) -> int:
        """The number of a text that is normalised already."""
        known = self._numbers
        if len(known) < len(self.texts):
            known.update(zip(self.texts[len(known) :], count(len(known))))
        number = known.setdefault(text, len(known))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def hashes_of(self, numbers: Iterable[int]) -> "array[int]":
        """64 bits of each text, by their numbers; 0 is the hash of no text."""
        return array("Q", map(self._all_hashes().__getitem__, numbers))

    def _all_hashes(self) -> "array[int]":
        if len(self._hashes) < len(self.texts):
            self._hashes.extend(kernels.hash_texts(self.texts[len(self._hashes) :]))
        return self._hashes

    def keys_of(self, trace: Trace) -> "array[int]":
        """The number of each string of a trace, as a name."""
        texts = list(trace.strings)
        for at in range(len(texts)) if self.rules.names else _suspects(texts):
            texts[at] = self.normal(texts[at], "slice")
        return self._number_all(texts)

    def _number_all(self, texts: Sequence[str]) -> "array[int]":
        """The numbers of texts, new or known, by their hashes: a dict of a million texts takes six times as long."""
        known = len(self.texts)
        hashes = self._all_hashes() + kernels.hash_texts(texts)
        numbers = kernels.number_pairs(array("q", hashes.tobytes()), array("I", bytes(4 * len(hashes))))[known:]
        if max(numbers, default=0) == known + len(texts) - 1:  # all are new
            self.texts += texts
            self._hashes = hashes
            return numbers
        for at, number in enumerate(numbers):
            if number == len(self.texts):
                self.texts.append(texts[at])
                self._hashes.append(hashes[known + at])
        return numbers

    def args_of(self, trace: Trace) -> "array[int]":
        """A hash of each row's arguments; 0 for none."""
        hashes = array("Q", bytes(8 * len(trace)))
        if self.rules.args:
            labels = ArgsLabels(self.is_compared, self._normal["any"], self._hash_nested)
            kernels.hash_args(plain_args(trace.args).items(), hashes, labels)
        return hashes

    def _hash_nested(self, args: Mapping[str, Any]) -> int:
        """The hash of arguments with more in them than numbers and text."""
        text = str(args)
        known = self._args.get(text)
        if known is None:
            compared = self.compared(args)
            known = self._args[text] = kernels.hash_texts([canonical(compared)])[0] if compared else 0
        return known

    def compared(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """What of arguments is compared, with the text in them normalised."""
        is_compared, normal = self.is_compared, self.normal_value
        return {
            key: value if type(value) in _NUMBERS else normal(value) for key, value in args.items() if is_compared[key]
        }

    def normal_value(self, value: Any) -> Any:
        """An argument's value with the text in it normalised."""
        if type(value) in _NUMBERS:
            return value
        if isinstance(value, str):
            return self.normal(value, "any")
        if isinstance(value, Mapping):
            return {self.normal(key, "any"): self.normal_value(item) for key, item in value.items()}
        return [self.normal_value(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Compared(dict[str, bool]):
    """Whether an argument is compared, by its key."""

    def __init__(self, ignored: Sequence[str]) -> None:
        super().__init__()
        self._ignored = ignored

    def __missing__(self, key: str) -> bool:
        self[key] = not any(fnmatchcase(key, pattern) for pattern in self._ignored)
        return self[key]


class _Normal(dict[str, str]):
    """Texts without what belongs to one run only, by what they are."""

    def __init__(self, rules: Iterable[NameRule]) -> None:
        super().__init__()
        self._replace = [_replacing(rule.pattern, rule.replacement) for rule in rules]

    def __missing__(self, text: str) -> str:
        normal = text
        for replace in self._replace:
            normal = replace(normal)
        self[text] = normal
        return normal


def _suspects(texts: Sequence[str]) -> Sequence[int]:
    """Where the texts are that a rule of NAME_RULES may change."""
    joined = "\n".join(texts)
    literals = [*_SUSPECT, *(text for of, signed in _NUMBERED.items() if of in joined for text in signed)]
    found = [at for literal in literals for at in _all(joined, literal)]
    if joined.isascii():  # translating takes a twentieth of what the pattern takes
        found += _all(joined.encode().translate(_IS_HEXADECIMAL), b"\1" * 8)
    else:
        found += (match.start() for match in _HEXADECIMAL.finditer(joined))
    if not found:
        return ()
    ends = list(accumulate(len(text) + 1 for text in texts))
    return sorted({bisect_right(ends, at) for at in found})


def _all(text: AnyStr, part: AnyStr) -> Iterator[int]:
    """Where a part is in a text."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _replacing(pattern: str, replacement: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(replacement, text)


def canonical(value: Any) -> str:
    """Text that is the same for equal values of equal types, whatever the order of their keys."""
    return repr(_sorted(value))


def _sorted(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        items = [(str(key), item if type(item) in _SCALARS else _sorted(item)) for key, item in value.items()]
        return sorted(items) if len(items) > 1 else items
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value
