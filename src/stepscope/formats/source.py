"""A file's bytes, in pieces: as they are, or out of gzip as far as it is whole and no further than a limit.

Nothing here holds more than a piece, so that a small file cannot fill the memory by being large inside.
"""

import zlib
from typing import BinaryIO

from stepscope.model.errors import FormatError

__all__ = ["MAX_BYTES", "PIECE_BYTES", "Source"]

PIECE_BYTES = 1 << 20
MAX_BYTES = 8 << 30
# Traces shrink by up to a hundred times; what shrinks by more than this past the first bytes is no trace.
MAX_RATIO, FREE_BYTES = 400, 256 << 20
GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 4096
COMPRESSED_BYTES = 1 << 16
GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Source:
    """What a file holds, decompressed.

    Args:
        file: open at its beginning.
        name: what errors call it.
        max_bytes: how much may come out of a compressed file. None: 8 GiB, and no more than 400 times its size.

    Attributes:
        max_bytes: as given.
        inflating: whether the file is compressed.
        head: the first bytes, which `read` gives again.
        damage: what is wrong with the compression; "" as long as nothing is. All that came before it is read.
    """

    def __init__(self, file: BinaryIO, name: str, max_bytes: int | None = None) -> None:
        self.name = name
        self.damage = ""
        self._file = file
        self.max_bytes = max_bytes
        self._given = 0
        first = _read_at_least(file, len(GZIP_MAGIC))
        # A gzip file cut within its first bytes is one too.
        self.inflating = first[:2] == GZIP_MAGIC or first == GZIP_MAGIC[:1]
        self._inflator = zlib.decompressobj(GZIP_WINDOW)
        self._compressed = first if self.inflating else b""
        self._taken = len(first)
        self._ended = False
        self._ahead = b"" if self.inflating else first
        while len(self._ahead) < HEAD_BYTES and (piece := self._next()):
            self._ahead += piece
        self.head = self._ahead[:HEAD_BYTES]

    def read(self) -> bytes:
        """The next piece; b"" behind the last.

        Raises:
            FormatError: more has come out of a compressed file than the limit.
        """
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        return self._next()

    def rest(self) -> bytes:
        """All that is left to read, for formats that are not read in pieces.

        Raises:
            FormatError: as `read`.
        """
        return b"".join(iter(self.read, b""))

    def _next(self) -> bytes:
        if not self.inflating:
            return self._file.read(PIECE_BYTES)
        piece = b""
        while not piece and not self._ended:
            piece = self._inflate()
        self._given += len(piece)
        self._check_size()
        return piece

    def _inflate(self) -> bytes:
        """Some bytes, or none and perhaps `_ended`."""
        if not self._compressed:
            self._compressed = self._file.read(COMPRESSED_BYTES)
            self._taken += len(self._compressed)
        if self._inflator.eof:
            return self._next_member()
        if not self._compressed:
            self.damage, self._ended = "the gzip data ends early", True
            return b""
        before = self._inflator.copy()
        try:
            piece = self._inflator.decompress(self._compressed, PIECE_BYTES)
        except zlib.error:
            return self._up_to_the_damage(before)
        self._compressed = self._inflator.unused_data if self._inflator.eof else self._inflator.unconsumed_tail
        return piece

    def _next_member(self) -> bytes:
        """Go on behind the end of a gzip member: another one, zeros that pad a tape, or nothing."""
        self._compressed = self._compressed.lstrip(b"\0")
        if self._compressed:
            self._inflator = zlib.decompressobj(GZIP_WINDOW)
        else:
            self._ended = not (more := self._file.read(COMPRESSED_BYTES))
            self._compressed = more
            self._taken += len(more)
        return b""

    def _up_to_the_damage(self, inflator: "zlib._Decompress") -> bytes:
        """What comes out byte by byte, until the one that is wrong."""
        pieces = []
        try:
            for at in range(len(self._compressed)):
                pieces.append(inflator.decompress(self._compressed[at : at + 1]))  # noqa: PERF401 - those before it stay
        except zlib.error as error:
            self.damage = f"the gzip data is damaged ({error})"
        self._ended = True
        return b"".join(pieces)

    def _check_size(self) -> None:
        limit, more = self.max_bytes, "max_bytes"
        if limit is None:
            limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * max(self._taken, 1)))
            more = f"max_bytes (by default {MAX_BYTES} bytes, and {MAX_RATIO} times the compressed size)"
        if self._given > limit:
            message = (
                f"{self.name}: byte {limit}: more than {limit} bytes come out of this gzip file. "
                f"If it is not made to fill your memory, pass a larger {more}."
            )
            raise FormatError(message)


def _read_at_least(file: BinaryIO, count: int) -> bytes:
    """The first bytes; a pipe may give them one by one."""
    first = b""
    while len(first) < count and (more := file.read(PIECE_BYTES)):
        first += more
    return first
