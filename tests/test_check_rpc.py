"""The protocol's framing, and what an answer that is none becomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.check.rpc import ENDPOINTS, EngineError, RpcConnection, fields
from stepscope.core.protobuf import field


class Canned:
    """A transport that gives one answer and keeps what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.closed = 0

    def exchange(self, request: bytes) -> bytes:
        self.asked.append(request)
        return self.answer

    def close(self) -> None:
        self.closed += 1


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300))))
def test_what_is_framed_is_read_back(pairs: list[tuple[int, bytes]]) -> None:
    assert list(fields(b"".join(field(*pair) for pair in pairs))) == pairs


def test_numbers_are_read_and_fixed_width_fields_passed_over() -> None:
    message = b"\x08\xac\x02" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x22\x01x"
    assert list(fields(message)) == [(1, 300), (4, b"x")]


@pytest.mark.parametrize("message", [b"\x80", b"\x0b", b"\x0a\xff"])
def test_bytes_that_are_no_message_are_an_error_that_shows_them(message: bytes) -> None:
    with pytest.raises(EngineError, match="is no protobuf message: b'"):
        list(fields(message))


def test_a_query_is_asked_in_the_protocols_numbers_and_its_batches_are_joined() -> None:
    transport = Canned(field(1, field(203, b"one")) + field(1, b"\x18\x03" + field(203, b"two")))
    connection = RpcConnection(transport)
    connection.request("POST", "/query", body=b"sql")
    assert transport.asked == [b"\x0a\x08" + b"\x10\x03" + b"\xba\x06\x03sql"]
    assert connection.getresponse().read() == b"onetwo"
    connection.close()
    assert transport.closed == 1


def test_a_request_without_an_argument_carries_none() -> None:
    transport = Canned(field(1, field(210, b"")))
    RpcConnection(transport).request("GET", "/status")
    assert transport.asked == [b"\x0a\x02\x10\x0a"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (field(1, field(5, b"RPC framing error")), "the engine gave up: RPC framing error"),
        (field(1, b"\x20\x0f"), "this engine is too old for /trace_summary"),
        (b"", "the engine gave no answer to /trace_summary"),
    ],
)
def test_an_answer_that_is_an_error_is_raised(answer: bytes, reason: str) -> None:
    with pytest.raises(EngineError) as caught:
        RpcConnection(Canned(answer)).request("POST", "/trace_summary", body=b"")
    assert str(caught.value) == reason


def test_a_path_that_is_not_served_is_refused_before_anything_is_sent() -> None:
    transport = Canned(b"")
    with pytest.raises(EngineError, match=r"^/export is not among what this client can ask: "):
        RpcConnection(transport).request("POST", "/export")
    assert transport.asked == []


def test_every_endpoint_has_a_method_of_its_own() -> None:
    assert len({endpoint.method for endpoint in ENDPOINTS.values()}) == len(ENDPOINTS)
