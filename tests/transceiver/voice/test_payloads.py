"""What payloads say of themselves, held against libopus."""

import opuslib_next
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opuslib_next.api import decoder as libopus

from stunroute.errors import DecodeError
from transceiver.voice.payloads import carries_copy, duration_untrusted
from voices import speech


def libopus_duration(payload: bytes) -> int | None:
    """Ticks as libopus counts them, None where it refuses."""
    try:
        count = libopus.packet_get_nb_frames(payload, len(payload))
    except opuslib_next.OpusError:
        return None
    ticks = int(count * libopus.packet_get_samples_per_frame(payload, 48000))
    return ticks if 0 < ticks <= 5760 else None


@given(st.binary(max_size=40))
def test_opus_is_as_long_as_libopus_says(payload: bytes) -> None:
    expected = libopus_duration(payload) if payload else None
    if expected is None:
        with pytest.raises(DecodeError):
            duration_untrusted("opus", payload)
    else:
        assert duration_untrusted("opus", payload) == expected


def test_every_configuration_is_as_long_as_libopus_says() -> None:
    for toc in range(256):
        for second in range(64):
            payload = bytes([toc, second, 0, 0])
            expected = libopus_duration(payload)
            if expected is not None:
                assert duration_untrusted("opus", payload) == expected


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_g711_is_a_byte_a_tick(codec: str) -> None:
    assert [duration_untrusted(codec, bytes(n)) for n in (1, 160, 1600)] == [1, 160, 1600]
    for payload in (b"", bytes(1601)):
        with pytest.raises(DecodeError):
            duration_untrusted(codec, payload)


def encoded(milliseconds: int, copies: bool, rate: int = 16000) -> list[bytes]:
    encoder = opuslib_next.Encoder(rate, 1, "voip")
    encoder.inband_fec = int(copies)
    encoder.packet_loss_perc = 20
    encoder.bitrate = 32000
    size = rate * milliseconds // 1000
    pcm = speech(rate, 3.0).tobytes()
    return [
        encoder.encode(pcm[at : at + 2 * size], size)
        for at in range(0, len(pcm) - 2 * size + 1, 2 * size)
    ]


@pytest.mark.parametrize("milliseconds", [10, 20, 40, 60])
def test_copies_are_seen_where_there_are_any(milliseconds: int) -> None:
    with_copies = encoded(milliseconds, True)
    share = sum(carries_copy("opus", payload) for payload in with_copies) / len(with_copies)
    assert share > 0.3
    assert not any(carries_copy("opus", payload) for payload in encoded(milliseconds, False))


def test_a_copy_is_seen_however_the_frame_is_wrapped() -> None:
    for payload in encoded(20, True):
        toc, frame = payload[0] & 0xFC, payload[1:]
        short = frame[:200].ljust(2, b"\0")
        expected = carries_copy("opus", payload)
        wrapped = [
            bytes([toc | 1]) + frame + frame,
            bytes([toc | 2, len(short)]) + short + frame,
            bytes([toc | 2, 252 + (260 & 3), (260 - 252) >> 2]) + frame.ljust(260, b"\0") + frame,
            bytes([toc | 3, 1]) + frame,
            bytes([toc | 3, 0x41, 2]) + frame + bytes(2),
            bytes([toc | 3, 0x41, 255, 3]) + frame + bytes(257),
            bytes([toc | 3, 0x83, len(short), len(short)]) + short + short + frame,
        ]
        assert [carries_copy("opus", other) for other in wrapped] == [expected] * len(wrapped)


def test_the_other_channel_may_have_the_copy() -> None:
    silk, stereo = 9 << 3, 4
    assert not carries_copy("opus", bytes([silk | stereo, 0b1010_0000]))
    assert carries_copy("opus", bytes([silk | stereo, 0b0001_0000]))
    assert carries_copy("opus", bytes([silk | stereo, 0b0100_0000]))
    assert not carries_copy("opus", bytes([silk, 0b0001_0000]))


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_g711_has_no_copies(codec: str) -> None:
    assert not carries_copy(codec, bytes([9 << 3, 0xFF]) * 80)


@given(st.binary(max_size=40))
def test_looking_for_a_copy_never_fails(payload: bytes) -> None:
    assert carries_copy("opus", payload) in (True, False)
    for cut in range(3):
        assert not carries_copy("opus", bytes([0x4B, 0xFF, 0xFF])[:cut])
