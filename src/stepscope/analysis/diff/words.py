"""Words: names as they are compared, without what belongs to one run only, each with a number and a hash.

One table of words serves all traces of a comparison. Hashes are the same in every process, so that the result does not
depend on Python's own.
"""

import re
from array import array
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any

from stepscope.analysis.diff.rules import Rules
from stepscope.model.trace import Trace

__all__ = ["Words", "canonical"]

_NUMBERS = frozenset({int, float, bool})
_SCALARS = _NUMBERS | {str}


class Words:
    """The names of all traces that are compared.

    Attributes:
        texts: number -> text.
        rules: how they are normalised.
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
        self._keys: dict[str, bool] = {}

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
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known = self._hashes[text] = int.from_bytes(digest, "little") | 1
        return known

    def keys_of(self, trace: Trace) -> "array[int]":
        """The number of each string of a trace, as a name."""
        return array("I", (self.number(self.normal(text, "slice")) for text in trace.strings))

    def args_of(self, trace: Trace) -> "array[int]":
        """A hash of each row's arguments; 0 for none."""
        hashes = array("Q", bytes(8 * len(trace)))
        if not self.rules.args:
            return hashes
        known = self._args
        for row, args in trace.args.items():
            text = repr(args)
            bits = known.get(text)
            if bits is None:
                compared = self.compared(args)
                bits = known[text] = self.hash_of(canonical(compared)) if compared else 0
            hashes[row] = bits
        return hashes

    def compared(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """What of arguments is compared, with the text in them normalised."""
        return {key: self._normal_value(value) for key, value in args.items() if self._is_compared(key)}

    def _is_compared(self, key: str) -> bool:
        known = self._keys.get(key)
        if known is None:
            known = not any(fnmatchcase(key, pattern) for pattern in self.rules.ignore_args)
            self._keys[key] = known
        return known

    def _normal_value(self, value: Any) -> Any:
        if type(value) in _NUMBERS:
            return value
        if isinstance(value, str):
            return self.normal(value, "any")
        if isinstance(value, Mapping):
            return {self.normal(key, "any"): self._normal_value(item) for key, item in value.items()}
        return [self._normal_value(item) for item in value] if isinstance(value, (list, tuple)) else value


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
        return sorted((str(key), _sorted(item)) for key, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value
