import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.dtls.record import (
    DTLS_1_0,
    DTLS_1_2,
    HEADER_LENGTH,
    MAXIMUM_FRAGMENT,
    ContentType,
    Record,
    ReplayWindow,
    decode_untrusted,
    encode,
    peek_data_untrusted,
)

RECORDS = st.builds(
    Record,
    content_type=st.integers(0, 255),
    version=st.sampled_from([DTLS_1_0, DTLS_1_2]),
    number=st.integers(0, (1 << 64) - 1),
    fragment=st.binary(max_size=64),
)


@given(records=st.lists(RECORDS, max_size=5))
def test_round_trip_of_a_datagram(records: list[Record]) -> None:
    data = b"".join(encode(r.content_type, r.number, r.fragment, r.version) for r in records)
    offset, found = 0, []
    while offset < len(data):
        record, offset = decode_untrusted(data, offset)
        found.append(record)
    assert found == records


def test_epoch_and_sequence_share_a_number() -> None:
    record, end = decode_untrusted(bytes.fromhex("17fefd 0001 000000000102 0003 616263"))
    assert record == Record(ContentType.APPLICATION_DATA, DTLS_1_2, 1 << 48 | 258, b"abc")
    assert (record.epoch, record.sequence, end) == (1, 258, 16)
    assert "abc" not in repr(record)


@given(data=st.binary(max_size=80))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        record, end = decode_untrusted(data)
    except DecodeError:
        return
    assert end == HEADER_LENGTH + len(record.fragment) <= len(data)


def test_refusals() -> None:
    """DTLS 11: truncated, of another version, oversized."""
    good = encode(ContentType.HANDSHAKE, 0, b"abcd")
    for length in range(len(good)):
        with pytest.raises(DecodeError):
            decode_untrusted(good[:length])
    for version in (0x0303, 0x0100, 0xFEFC, 0xFEFE):
        with pytest.raises(DecodeError):
            decode_untrusted(encode(ContentType.HANDSHAKE, 0, b"abcd", version))
    decode_untrusted(encode(23, 0, bytes(MAXIMUM_FRAGMENT)))
    with pytest.raises(DecodeError):
        decode_untrusted(encode(23, 0, bytes(MAXIMUM_FRAGMENT + 1)))
    with pytest.raises(DecodeError):
        decode_untrusted(b"\x2f" + bytes(40))  # a unified header of DTLS 1.3


@given(sequences=st.lists(st.integers(0, 300), max_size=120))
def test_replay_window_against_a_set(sequences: list[int]) -> None:
    """DTLS 8: nothing is taken twice, and nothing from behind the 64 last."""
    window, seen, highest = ReplayWindow(), set[int](), -1
    for sequence in sequences:
        expected = sequence not in seen and sequence > highest - 64
        assert window.admits(sequence) is expected
        if expected:
            window.note(sequence)
            seen.add(sequence)
            highest = max(highest, sequence)


def test_asking_the_window_does_not_move_it() -> None:
    """DTLS 8: only what has authenticated moves it."""
    window = ReplayWindow()
    window.note(5)
    assert window.admits(1 << 40)
    assert window.admits(4)
    window.note(1 << 40)
    assert not window.admits(4)


@given(record=RECORDS, tail=st.binary(max_size=3))
def test_a_lone_record_of_data_is_known_by_its_header(record: Record, tail: bytes) -> None:
    data = encode(record.content_type, record.number, record.fragment, record.version) + tail
    lone = (
        record.content_type == ContentType.APPLICATION_DATA
        and record.version == DTLS_1_2
        and record.epoch == 1
        and not tail
    )
    assert peek_data_untrusted(data) == (record.number if lone else None)


def test_what_is_no_lone_record_of_data() -> None:
    number = 1 << 48 | 5
    whole = encode(ContentType.APPLICATION_DATA, number, b"content")
    assert peek_data_untrusted(whole) == number
    for end in range(len(whole)):
        assert peek_data_untrusted(whole[:end]) is None
    assert peek_data_untrusted(whole + whole) is None
    longest = encode(ContentType.APPLICATION_DATA, number, bytes(MAXIMUM_FRAGMENT))
    assert peek_data_untrusted(longest) == number
    too_long = encode(ContentType.APPLICATION_DATA, number, bytes(MAXIMUM_FRAGMENT + 1))
    assert peek_data_untrusted(too_long) is None
