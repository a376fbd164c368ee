"""Arguments of rows as the files have them.

Which bytes those are, the formats say (formats/chrome.py, formats/perfetto.py): they encode a row. In C most rows never
come to them: those whose arguments are texts, numbers, and lists and dicts of such, spelled as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stepscope.core.protobuf import Annotations

__all__ = ["encode_chrome_args", "encode_perfetto_args"]

Args = Mapping[str, Any]


def encode_chrome_args(args: Mapping[int, Args], encode: Callable[[int, Args], bytes]) -> dict[int, bytes]:
    """The inside of each row's args object in JSON.

    Args:
        args: row -> its arguments.
        encode: gives that of a row.
    """
    return {row: encode(row, given) for row, given in args.items()}


def encode_perfetto_args(
    args: Mapping[int, Args],
    ids: dict[str, int],
    texts: list[bytes],
    stack_key: str,
    encode: Callable[[Args], Annotations],
) -> dict[int, Annotations]:
    """Each row's debug annotations.

    Args:
        args: row -> its arguments.
        ids: the ids of names, given out in order of first use; those that are new are added.
        texts: the same names by id.
        stack_key: the argument whose value may be a call stack, which `encode` knows.
        encode: gives those of a row.
    """
    del ids, texts, stack_key  # `encode` knows them
    return {row: encode(given) for row, given in args.items()}
