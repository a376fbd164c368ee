"""Words: names as they are compared, without what belongs to one run only, each with a number and a hash.

One table of words serves all traces of a comparison. Hashes are the same in every process, so that the result does not
depend on Python's own.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

from stepscope.analysis.diff.rules import Rules
from stepscope.model.trace import Trace

__all__ = ["Words", "canonical"]

_NUMBERS = frozenset({int, float, bool})
_SCALARS = _NUMBERS | {str}
# What is in every text that a rule of NAME_RULES for slices changes. Of a million names hardly one is such a text: they
# are looked for in all names at once.
_SUSPECT = (
    re.compile(r"ProfilerStep#|0x|/tmp/|/var/|:\\|(?:pid|tid|port)[ =:#]"),
    re.compile(r"[\da-fA-F]{8}"),
)
# A text's hash is what is left of its bytes, as one number, by the largest prime below 2**64. blake2b takes twice as
# long.
_PRIME = (1 << 64) - 59


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
        self._numbers: dict[str, int] = {}
        self._hashes: dict[str, int] = {"": 0}
        self._known: dict[tuple[str, str], str] = {}
        self._replace: dict[str, list[Callable[[str], str]]] = {
            of: [_replacing(rule.pattern, rule.replacement) for rule in rules.name_rules if rule.of in ("any", of)]
            for of in ("any", "slice", "thread", "process")
        }
        self._args: dict[str, int] = {}
        self.is_compared = _Compared(rules.ignore_args)

    def normal(self, text: str, of: str) -> str:
        """A text without what belongs to one run only."""
        known = self._known.get((of, text))
        if known is None:
            known = text
            for replace in self._replace[of]:
                known = replace(known)
            self._known[of, text] = known
        return known

    def number(self, text: str) -> int:
        """The number of a text that is normalised already."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def hash_of(self, text: str) -> int:
        """64 bits of a text; 0 is the hash of no text."""
        known = self._hashes.get(text)
        if known is None:
            known = self._hashes[text] = _hash(text)
        return known

    def keys_of(self, trace: Trace) -> "array[int]":
        """The number of each string of a trace, as a name."""
        texts = list(trace.strings)
        for at in range(len(texts)) if self.rules.names else _suspects(texts):
            texts[at] = self.normal(texts[at], "slice")
        return array("I", map(self.number, texts))

    def args_of(self, trace: Trace) -> "array[int]":
        """A hash of each row's arguments; 0 for none."""
        hashes = array("Q", bytes(8 * len(trace)))
        if not self.rules.args:
            return hashes
        known = self._args
        for row, args in trace.args.items():
            text = str(args)
            bits = known.get(text)
            if bits is None:
                compared = self.compared(args)
                bits = known[text] = _hash(canonical(compared)) if compared else 0
            hashes[row] = bits
        return hashes

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


def _hash(text: str) -> int:
    """64 bits of a text, never 0; the byte behind it tells texts apart that end in NUL."""
    return int.from_bytes(text.encode("utf-8", "surrogatepass") + b"\1", "little") % _PRIME or 1


def _suspects(texts: Sequence[str]) -> Iterator[int]:
    """Where the texts are that a rule of NAME_RULES may change."""
    joined = "\n".join(texts)
    ends = list(accumulate(len(text) + 1 for text in texts))
    for pattern in _SUSPECT:
        last = -1
        for found in pattern.finditer(joined):
            at = bisect_right(ends, found.start())
            if at != last:
                yield at
            last = at


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
