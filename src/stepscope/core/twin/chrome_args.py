r"""Arguments of plain events that need no parsing now: their text is kept as it stands, and parsed when somebody asks.

Such a text is JSON that every parser reads, and reads alike: at most four objects and arrays in each other, integers of
at most 18 digits, fractions of at most 17, exponents of at most 2, and texts of valid UTF-8, in which no escape is half
of a character or NUL. It has a member at least, whose key is spelled without escapes and is not reserved.
"""

import re
from array import array

from stepscope.core.rows import PickedArgs

__all__ = ["pick_args"]

MAX_DEPTH = 4

_SPACE = rb"[ \t\r\n]*"
_PLAIN = rb"[\x20\x21\x23-\x5b\x5d-\x7f]*"
_UTF8 = (
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ESCAPE = rb'\\(?:["\\/bfnrt]|u(?!0000)(?![dD][89a-fA-F])[0-9a-fA-F]{4})'
_TEXT = rb'"%b(?:(?:%b|%b)%b)*"' % (_PLAIN, _UTF8, _ESCAPE, _PLAIN)
_KEY = rb'"(?!%%b)%b(?:(?:%b)%b)*"' % (_PLAIN, _UTF8, _PLAIN)
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?"


def _listed(item: bytes, close: bytes, many: bytes) -> bytes:
    """Items up to a bracket, as many as `many` says, with commas between them and space around."""
    return rb"%b(?:%b%b(?:,%b(?!%b)|(?=%b)))%b%b" % (_SPACE, item, _SPACE, _SPACE, close, close, many, close)


def _value(depth: int, scalar: bytes, many: bytes) -> bytes:
    """A value that may hold containers, as many as depth in each other."""
    if not depth:
        return rb"(?:%b)" % scalar
    inner = _value(depth - 1, scalar, many)
    member = rb"%b%b:%b%b" % (_TEXT, _SPACE, _SPACE, inner)
    return rb"(?:%b|\[%b|\{%b)" % (scalar, _listed(inner, rb"\]", many), _listed(member, rb"\}", many))


def _pattern(reserved: bytes, words: bytes, many: bytes) -> "re.Pattern[bytes]":
    value = _value(MAX_DEPTH - 1, rb"%b|%b|%b" % (_TEXT, _NUMBER, words), many)
    member = rb"%b%b:%b%b" % (_KEY % re.escape(reserved), _SPACE, _SPACE, value)
    return re.compile(rb"\{%b" % _listed(member, rb"\}", b"+"))


_patterns: dict[bytes, tuple["re.Pattern[bytes]", "re.Pattern[bytes]"]] = {}


def pick_args(data: bytes, ranges: "array[int]", reserved: bytes) -> PickedArgs:
    """Copy the arguments that need no parsing now.

    Args:
        data: what has been scanned.
        ranges: three numbers for each row with arguments, as `Fed.args` has them.
        reserved: how no key of them begins.
    """
    if reserved not in _patterns:
        strict = _pattern(reserved, b"true|false", b"+")
        _patterns[reserved] = strict, _pattern(reserved, b"true|false|null", b"*")
    strict, loose = _patterns[reserved]
    texts: list[bytes] = []
    picked = PickedArgs(b"", array("I"), array("q"), array("B"), array("q"))
    size = 0
    for row, start, end in zip(ranges[::3], ranges[1::3], ranges[2::3], strict=True):
        is_loose = strict.fullmatch(data, start, end) is None
        if is_loose and loose.fullmatch(data, start, end) is None:
            picked.rest.extend((row, start, end))
            continue
        texts.append(data[start:end])
        size += end - start
        picked.rows.append(row)
        picked.ends.append(size)
        picked.loose.append(is_loose)
    return picked._replace(text=b"".join(texts))
