"""Messages of perfetto.protos, for the packets that no kernel reads, and the texts in them."""

from collections.abc import Callable
from typing import Any

from stepscope.core.protobuf import MalformedError
from stepscope.core.values import legal_text

__all__ = ["Note", "as_bytes", "as_text", "parse"]

# Counts a problem of a kind, with an example.
Note = Callable[[str, str], None]


def parse(name: str, content: bytes) -> Any:
    """A message of perfetto.protos.

    Raises:
        MalformedError: the bytes are none.
    """
    from google.protobuf.message import DecodeError
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2

    try:
        return getattr(perfetto_trace_pb2, name).FromString(content)
    except DecodeError as error:
        message = f"its {name}"
        raise MalformedError(message) from error


def as_text(value: str | bytes, note: Note) -> str:
    r"""A text of a message as legal text; what is not UTF-8, which protobuf gives as bytes, as \xff."""
    if isinstance(value, str):
        return legal_text(value)
    shown = legal_text(value.decode("utf-8", "backslashreplace"))
    note("text", f"{shown!r} is not UTF-8")
    return shown


def as_bytes(value: str | bytes) -> bytes:
    """A text of a message as it stands in the file."""
    return value.encode() if isinstance(value, str) else value
