"""Compressed packets of a .pftrace file: what comes out of them, as far as it is whole and no further than a limit.

Deflate is the standard library's. zstd is from Python 3.14 on; before, it takes the zstandard package.
"""

import zlib
from importlib import import_module
from typing import Any

from stepscope.core.protobuf import MalformedError
from stepscope.formats.findings import Findings
from stepscope.model.errors import FormatError

__all__ = ["DEFLATE", "ZSTD", "Packed"]

DEFLATE, ZSTD = 50, 133  # fields of TracePacket
# What comes out: traces shrink by up to a hundred times.
MAX_BYTES, MAX_RATIO, FREE_BYTES = 8 << 30, 400, 256 << 20
MAX_DEPTH = 4
# A block of zstd, of which 4 bytes may say all, is at most 128 KiB; so of what goes in at once 32 MiB come out.
FED_BYTES = 1 << 10


class Packed:
    """Decompresses the packets of one file, which share one limit.

    Args:
        findings: hear of packets that end early, or that nothing here can decompress.
        source: what errors call the file.
        size: the file's, in bytes.
        max_bytes: how much may come out. None: 8 GiB, and no more than 400 times the file's size.
    """

    def __init__(self, findings: Findings, source: str, size: int, max_bytes: int | None) -> None:
        self._findings = findings
        self._source = source
        self._max_bytes = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * size)) if max_bytes is None else max_bytes
        self._left = self._max_bytes

    def unpack(self, field: int, packed: bytes, at: int, depth: int) -> bytes:
        """What comes out of a packet.

        Args:
            field: DEFLATE or ZSTD.
            packed: what is in it.
            at: where in the file it stands.
            depth: in how many compressed packets it is.

        Raises:
            FormatError: it is more than the limit; or the reader is strict, and it ends early or needs zstandard.
            MalformedError: nothing comes out.
        """
        if depth == MAX_DEPTH:
            message = "compressed packets are in each other"
            raise MalformedError(message)
        data, whole = self._inflated(packed, at) if field == DEFLATE else self._unpacked(packed, at)
        self._left -= len(data)
        if not whole:
            self._findings.wrong("malformed", at, "compressed packets end early")
        return data

    def _inflated(self, packed: bytes, at: int) -> tuple[bytes, bool]:
        """What comes out of deflated data, and whether that is all."""
        inflator = zlib.decompressobj()
        try:
            data = inflator.decompress(packed, self._left + 1)
        except zlib.error as error:
            message = f"its compressed packets ({error})"
            raise MalformedError(message) from error
        self._check_size(len(data), at)
        return data, inflator.eof

    def _unpacked(self, packed: bytes, at: int) -> tuple[bytes, bool]:
        """What comes out of frames of zstd, and whether that is all."""
        found = _zstd()
        if found is None:
            self._findings.wrong("compressed", at, "packets are compressed with zstd")
            return b"", True
        new, damage = found
        pieces: list[bytes] = []
        size, decompressor, fed = 0, new(), 0
        while fed < len(packed):
            if decompressor.eof:
                decompressor = new()
            taken = packed[fed : fed + FED_BYTES]
            fed += len(taken)
            try:
                pieces.append(decompressor.decompress(taken))
            except damage as error:
                message = f"its compressed packets ({error})"
                raise MalformedError(message) from error
            fed -= len(decompressor.unused_data)
            size += len(pieces[-1])
            self._check_size(size, at)
        return b"".join(pieces), decompressor.eof

    def _check_size(self, size: int, at: int) -> None:
        if size > self._left:
            message = (
                f"{self._source}: byte {at}: more than {self._max_bytes} bytes come out of compressed packets. "
                "If they are not made to fill your memory, pass a larger max_bytes."
            )
            raise FormatError(message)


def _zstd() -> tuple[Any, type[Exception]] | None:
    """What makes a decompressor of zstd, and what that raises for damaged data; None: there is none."""
    try:
        module = import_module("compression.zstd")
    except ImportError:
        pass
    else:
        return module.ZstdDecompressor, module.ZstdError
    try:
        module = import_module("zstandard")
    except ImportError:
        return None
    return lambda: module.ZstdDecompressor().decompressobj(), module.ZstdError
