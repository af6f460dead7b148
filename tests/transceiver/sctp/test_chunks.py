import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_strategies import BY_KIND, a_chunk, a_stopping_chunk, an_abort
from stunroute.errors import DecodeError
from transceiver.sctp.causes import OtherCause, UserAbort
from transceiver.sctp.chunks import (
    Abort,
    Chunk,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Sack,
    Shutdown,
    ShutdownComplete,
    decode_untrusted,
)
from transceiver.sctp.parameters import ForwardTsnSupported, OutgoingReset, StateCookie


def decoded(text: str) -> Chunk:
    data = bytes.fromhex(text)
    chunk, end = decode_untrusted(data, 0)
    assert end >= len(data)
    return chunk


@given(chunk=a_chunk | a_stopping_chunk, before=st.integers(0, 3))
@settings(max_examples=100)
def test_round_trip_anywhere_in_a_packet(chunk: Chunk, before: int) -> None:
    data = chunk.encode()
    assert decode_untrusted(bytes(4 * before) + data, 4 * before) == (chunk, 4 * before + len(data))


@pytest.mark.parametrize("kind", BY_KIND, ids=lambda kind: kind.__name__)
def test_round_trip_of_each_kind(kind: type) -> None:
    @given(chunk=BY_KIND[kind])
    @settings(max_examples=10)
    def check(chunk: Chunk) -> None:
        found, _ = decode_untrusted(chunk.encode(), 0)
        assert type(found) is kind
        assert found == chunk

    check()


LAYOUTS: list[tuple[str, Chunk]] = [
    (
        "00 0b 0013 00000001 0002 0003 00000033 616263 00",
        Data(1, 2, 3, 51, b"abc", True, True, immediate=True),
    ),
    (
        "00 04 0011 00000001 0002 0000 00000035 61 000000",
        Data(1, 2, 0, 53, b"a", False, False, True),
    ),
    (
        "01 00 0018 00000001 00000002 0003 0004 00000005 c000 0004",
        Init(1, 2, 3, 4, 5, (ForwardTsnSupported(),)),
    ),
    (
        "02 00 001a 00000001 00000002 0003 0004 00000005 0007 0006 6162 0000",
        InitAck(1, 2, 3, 4, 5, (StateCookie(b"ab"),)),
    ),
    ("03 00 0010 00000007 00001234 0000 0000", Sack(7, 0x1234)),
    (
        "03 00 001c 0000000c 00001234 0002 0001 0002 0003 0005 0005 00000013",
        Sack(12, 0x1234, ((2, 3), (5, 5)), (19,)),
    ),
    ("04 00 000a 0001 0006 6869 0000", Heartbeat(b"hi")),
    ("05 00 000a 0001 0006 6869 0000", HeartbeatAck(b"hi")),
    ("06 01 000b 000c 0007 627965 00", Abort((UserAbort("bye"),), reflected=True)),
    ("07 00 0008 00000009", Shutdown(9)),
    ("09 00 0004", Error(())),
    ("0a 00 0007 616263 00", CookieEcho(b"abc")),
    ("0e 01 0004", ShutdownComplete(reflected=True)),
    (
        "82 00 0016 000d 0012 00000001 00000002 00000003 0004 0000",
        ReConfig((OutgoingReset(1, 2, 3, (4,)),)),
    ),
    ("c0 00 000c 00000001 0002 0003", ForwardTsn(1, ((2, 3),))),
]


@pytest.mark.parametrize(("text", "chunk"), LAYOUTS, ids=[text[:5] for text, _ in LAYOUTS])
def test_layouts(text: str, chunk: Chunk) -> None:
    """Byte by byte, written down by hand from the RFCs. The padding of the last parameter does not
    count in the length of its chunk."""
    data = bytes.fromhex(text)
    assert decoded(text) == chunk
    assert chunk.encode() == data


@pytest.mark.parametrize(
    "text",
    [
        "00 03 000f 00000001 0002 0003 000000",  # DATA without its header
        "01 00 0010 00000001 00000002 0003 0004",  # INIT without its TSN
        "02 00 0018 00000001 00000002 0003 0004 00000005 c000 0005",
        "02 00 0018 00000001 00000002 0003 0004 00000005 c000 0003",
        "01 00 0016 00000001 00000002 0003 0004 00000005 c000",
        "03 00 000c 00000001 00000002",
        "03 00 0010 00000001 00000002 0001 0000",  # a gap that is not there
        "03 00 0010 00000001 00000002 0000 0001",
        "03 00 0014 00000001 00000002 ffff ffff 0001 0001",
        "03 00 0014 00000001 00000002 0001 0000 0003 0002",  # ends before it begins
        "03 00 0014 00000001 00000002 0001 0000 0000 0002",
        "04 00 0004",
        "05 00 0008 0002 0004",
        "07 00 0004",
        "07 00 000c 00000001 00000002",
        "09 00 0008 0001 0009",
        "82 00 0008 000d 0004",
        "c0 00 0004",
        "c0 00 000a 00000001 0002",
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(DecodeError):
        decoded(text)


@given(chunk=a_chunk, data=st.data())
@settings(max_examples=100)
def test_a_chunk_cut_short_or_changed(chunk: Chunk, data: st.DataObject) -> None:
    encoded = bytearray(chunk.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    cut = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    try:
        _, end = decode_untrusted(cut, 0)
    except DecodeError:
        return
    assert 4 <= end <= len(cut) + 3


@given(abort=an_abort, cut=st.integers(0, 30))
@settings(max_examples=50)
def test_an_abort_is_read_whole_or_not_at_all(abort: Abort, cut: int) -> None:
    """rfc9260/3.3.7/4."""
    value = abort.encode()[4:]
    value = value[: max(0, len(value) - cut)]
    data = bytes((6, 0)) + (len(value) + 4).to_bytes(2) + value
    try:
        found, _ = decode_untrusted(data, 0)
    except DecodeError:
        return
    assert isinstance(found, Abort)
    assert found.causes == abort.causes[: len(found.causes)] or cut
    with pytest.raises(DecodeError):
        decode_untrusted(bytes.fromhex("06 00 0008 0001 0003"), 0)


def test_a_cause_that_is_not_of_its_layout() -> None:
    assert decoded("09 00 000a 0001 0006 0102") == Error((OtherCause(1, b"\1\2"),))


def test_payloads_and_cookies_are_not_shown() -> None:
    shown = repr([Data(1, 2, 3, 4, b"hidden", True, True), CookieEcho(b"hidden")])
    shown += repr([Heartbeat(b"hidden"), HeartbeatAck(b"hidden"), StateCookie(b"hidden")])
    assert "hidden" not in shown
