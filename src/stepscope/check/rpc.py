"""The engine's protocol: a TraceProcessorRpc message asks, one or more of them answer.

    out    TraceProcessorRpcStream { msg (1) { request (2): method, argument (101..): bytes } }
    back   TraceProcessorRpcStream { msg (1) { result (201..): bytes, or an error (4, 5) } ... }

The native engine takes it as POST /rpc, the WebAssembly one through its memory, so that one backend
serves both. Perfetto's client speaks HTTP, a path per method: RpcConnection is its HTTPConnection.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from perfetto.trace_processor import TraceProcessorException, TraceProcessorHttp

from stepscope.core.protobuf import field, varint

MSG = 1  # TraceProcessorRpcStream
REQUEST, INVALID_REQUEST, FATAL_ERROR = 2, 4, 5  # TraceProcessorRpc
FINALIZE_ERROR = 1  # FinalizeDataResult
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


class Endpoint(NamedTuple):
    """One HTTP path of the client in the protocol's numbers; 0 stands for "there is none"."""

    method: int
    argument: int
    result: int


ENDPOINTS = {
    "/parse": Endpoint(1, 101, 201),
    "/notify_eof": Endpoint(2, 0, 212),
    "/query": Endpoint(3, 103, 203),
    "/compute_metric": Endpoint(5, 105, 205),
    "/enable_metatrace": Endpoint(8, 106, 0),
    "/disable_and_read_metatrace": Endpoint(9, 0, 209),
    "/status": Endpoint(10, 0, 210),
    "/trace_summary": Endpoint(15, 110, 214),
}


class EngineError(TraceProcessorException):  # type: ignore[misc] # perfetto has no types
    """The engine died, or never started: this instance is of no more use."""


class Transport(Protocol):
    """How bytes reach one running engine and come back."""

    def exchange(self, request: bytes) -> bytes:
        """Send one framed request and return the framed replies.

        Raises:
            EngineError: the engine died.
        """

    def close(self) -> None:
        """End the engine; a second call does nothing."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of a protobuf message as (number, value); fixed-width fields are passed over.

    Raises:
        EngineError: the bytes are not a protobuf message.
    """
    at = 0
    try:
        while at < len(message):
            key, at = _read_varint(message, at)
            number, wire = key >> 3, key & 7
            if wire == BYTES:
                size, at = _read_varint(message, at)
                yield number, message[at : at + size]
                at += size
            elif wire == VARINT:
                value, at = _read_varint(message, at)
                yield number, value
            else:
                at += {FIXED64: 8, FIXED32: 4}[wire]
    except (IndexError, KeyError):
        raise EngineError(f"the engine's answer is no protobuf message: {message[:40]!r}") from None


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


class RpcConnection:
    """What perfetto's client uses of http.client.HTTPConnection, over a Transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._answer = b""

    def request(self, _verb: str, path: str, body: bytes | None = None) -> None:
        """Ask; the answer waits for getresponse().

        Raises:
            EngineError: the engine died, or does not know the request.
        """
        if path not in ENDPOINTS:
            raise EngineError(f"{path} is not among what this client can ask: {', '.join(ENDPOINTS)}")
        endpoint = ENDPOINTS[path]
        message = varint(REQUEST << 3 | VARINT) + varint(endpoint.method)
        if endpoint.argument:
            message += field(endpoint.argument, bytes(body or b""))
        self._answer = self._result(path, self._transport.exchange(field(MSG, message)))

    def _result(self, path: str, stream: bytes) -> bytes:
        """The results of all replies, joined: so protobuf merges the batches of a query's rows."""
        if not stream:
            raise EngineError(f"the engine gave no answer to {path}")
        results = []
        for _, reply in fields(stream):
            for number, value in fields(reply if isinstance(reply, bytes) else b""):
                if number == FATAL_ERROR:
                    raise EngineError(f"the engine gave up: {_text(value)}")
                if number == INVALID_REQUEST:
                    raise EngineError(f"this engine is too old for {path}")
                if number == ENDPOINTS[path].result and isinstance(value, bytes):
                    results.append(value)
        return b"".join(results)

    def getresponse(self) -> io.BytesIO:
        """The answer to the last request."""
        return io.BytesIO(self._answer)

    def close(self) -> None:
        """End the engine."""
        self._transport.close()


class RpcBackend(TraceProcessorHttp):  # type: ignore[misc] # perfetto has no types
    """Perfetto's HTTP backend over any Transport; errors at the end of the file are raised."""

    def __init__(self, transport: Transport, protos: object) -> None:
        # The address is never dialled: the connection is replaced before its first use.
        super().__init__("in-process", protos)
        self.conn = RpcConnection(transport)

    def notify_eof(self) -> bytes:
        """Tell the engine that the file is complete.

        Raises:
            TraceProcessorException: the file is not: cut JSON and gzip are found out only here.
        """
        answer: bytes = super().notify_eof()
        for number, value in fields(answer):
            if number == FINALIZE_ERROR:
                raise TraceProcessorException(_text(value))
        return answer


def _text(value: int | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
