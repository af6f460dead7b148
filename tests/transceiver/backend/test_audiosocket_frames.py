"""AudioSocket's frames: round trips, hostile streams, and the octets that Asterisk documents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.backend.audiosocket_frames import (
    RATES,
    Digit,
    Failure,
    Flush,
    FrameReader,
    Hangup,
    Identity,
    Voice,
    encode,
)

FRAMES = st.one_of(
    st.just(Hangup()),
    st.builds(Identity, st.binary(min_size=16, max_size=16)),
    st.builds(Digit, st.sampled_from("0123456789*#ABCD")),
    st.builds(
        Voice, st.sampled_from(sorted(RATES.values())), st.binary(max_size=700).map(lambda b: b + b)
    ),
    st.builds(Flush, st.none() | st.integers(0, 0xFFFFFFFF)),
    st.builds(Failure, st.none() | st.integers(0, 255)),
)


@pytest.mark.parametrize(
    ("frame", "octets"),
    [
        (Hangup(), "000000"),
        (Identity(bytes(range(16))), "010010000102030405060708090a0b0c0d0e0f"),
        (Digit("5"), "03000135"),
        (Voice(8000, b"\x01\x02"), "1000020102"),
        (Voice(12000, b""), "110000"),
        (Voice(16000, b""), "120000"),
        (Voice(24000, b"\x01\x02"), "1300020102"),
        (Voice(32000, b""), "140000"),
        (Voice(44100, b""), "150000"),
        (Voice(48000, b""), "160000"),
        (Voice(96000, b""), "170000"),
        (Voice(192000, b""), "180000"),
        (Flush(), "f00000"),
        (Flush(1500), "f00004000005dc"),
        (Failure(), "ff0000"),
        (Failure(4), "ff000104"),
    ],
)
def test_a_frame_has_these_octets(frame, octets):
    assert encode(frame).hex() == octets
    assert FrameReader().receive_untrusted(bytes.fromhex(octets)) == [frame]


@settings(max_examples=100)
@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_however_the_stream_is_cut(frames, cuts):
    stream = b"".join(map(encode, frames))
    reader, found, turn = FrameReader(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += reader.receive_untrusted(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert found == frames


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_octets_are_frames_or_a_decode_error(pieces):
    reader = FrameReader()
    for piece in pieces:
        try:
            found = reader.receive_untrusted(piece)
        except DecodeError:
            return
        for frame in found:
            encode(frame)


@pytest.mark.parametrize(
    "octets",
    [
        "1000010a",
        "130003010203",
        "010001aa",
        "0100110102030405060708090a0b0c0d0e0f1011",
        "03000180",
        "0300023132",
        "f0000101",
        "f000050102030405",
    ],
)
def test_a_payload_that_its_kind_does_not_have_is_refused(octets):
    with pytest.raises(DecodeError):
        FrameReader().receive_untrusted(bytes.fromhex(octets))


def test_an_unknown_kind_is_skipped_and_counted():
    reader = FrameReader()
    assert reader.receive_untrusted(bytes.fromhex("42000401020304" + "000000")) == [Hangup()]
    assert reader.skipped == 1


@pytest.mark.parametrize(
    "frame",
    [
        Identity(b"short"),
        Digit(""),
        Digit("12"),
        Digit("\u0665"),
        Voice(11025, b""),
        Voice(8000, b"x"),
        Voice(8000, bytes(65536)),
    ],
)
def test_what_fits_no_frame_is_not_made(frame):
    with pytest.raises(ValueError):
        encode(frame)
