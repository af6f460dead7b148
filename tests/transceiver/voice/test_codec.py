"""Sound to payloads and back."""

import itertools
import subprocess
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.voice import codec, g711, opus, payloads
from voices import frames, likeness, packets, samples, speech, tone

COMBINATIONS = [(name, rate) for name in codec.CODECS for rate in codec.RATES]


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_what_is_encoded_comes_back(name: str, rate: int) -> None:
    pcm = tone(rate, 1.0)
    sent = packets(name, pcm, rate)
    decoder = codec.make_decoder(name, rate)
    heard = [decoder.decode_untrusted(payload) for payload in sent]
    assert {len(piece) for piece in heard} == {rate // 25}
    begin = rate // 5 * 2  # until the filters have settled
    assert likeness(pcm[begin:], b"".join(heard)[begin:], rate // 50) > 0.98


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_the_same_sound_makes_the_same_bytes(name: str, rate: int) -> None:
    pcm = speech(rate, 0.4).tobytes()
    sent = packets(name, pcm, rate)
    assert sent == packets(name, pcm, rate)
    once, again = codec.make_decoder(name, rate), codec.make_decoder(name, rate)
    for payload in sent:
        assert once.decode_untrusted(payload) == again.decode_untrusted(payload)


@pytest.mark.parametrize("rate", codec.RATES)
def test_a_lost_packet_is_recovered_from_the_next(rate: int) -> None:
    pcm = speech(rate, 3.0).tobytes()
    sent = packets("opus", pcm, rate)
    whole, holed, guessed = (codec.make_decoder("opus", rate) for _ in range(3))
    good, bad = [], []
    for number, (lost, following) in enumerate(itertools.pairwise(sent)):
        original = whole.decode_untrusted(lost)
        if number % 5 != 4:
            holed.decode_untrusted(lost)
            guessed.decode_untrusted(lost)
            continue
        recovered = holed.recover_untrusted(following, rate // 50)
        made_up = guessed.conceal(rate // 50)
        assert len(recovered) == len(made_up) == rate // 25
        if payloads.carries_copy("opus", following) and np.abs(samples(original)).mean() > 500:
            good.append(likeness(original, recovered))
            bad.append(likeness(original, made_up))
    assert len(good) > 5
    assert float(np.median(good)) > 0.9
    assert float(np.median(good)) > float(np.median(bad)) + 0.05


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
@pytest.mark.parametrize("part", [1, 3, 20, 50, 1000, 20000])
def test_a_hole_is_covered_to_the_sample(name: str, rate: int, part: int) -> None:
    decoder = codec.make_decoder(name, rate)
    for payload in packets(name, speech(rate, 0.3).tobytes(), rate):
        decoder.decode_untrusted(payload)
    count = max(1, part * rate // 8000)
    assert len(decoder.conceal(count)) == 2 * count
    assert decoder.conceal(0) == b""


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_made_up_sound_begins_like_the_last_and_fades(name: str, rate: int) -> None:
    decoder = codec.make_decoder(name, rate)
    for payload in packets(name, tone(rate, 0.5), rate):
        decoder.decode_untrusted(payload)
    loud = [float(np.abs(samples(decoder.conceal(rate // 50))).mean()) for _ in range(50)]
    assert loud[0] > 1000
    assert loud[-1] < loud[0] / 20


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_each_hole_is_covered_anew(name: str, rate: int) -> None:
    decoder = codec.make_decoder(name, rate)
    sent = packets(name, tone(rate, 0.5), rate)
    for payload in sent[:15]:
        decoder.decode_untrusted(payload)
    decoder.conceal(rate)
    for payload in sent[15:]:
        decoder.decode_untrusted(payload)
    assert float(np.abs(samples(decoder.conceal(rate // 50))).mean()) > 1000


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_comes_is_decoded_or_refused(name: str, rate: int, data: st.DataObject) -> None:
    decoder = codec.make_decoder(name, rate)
    for payload in data.draw(st.lists(st.binary(max_size=80), max_size=6)):
        for attempt in (
            lambda payload=payload: decoder.decode_untrusted(payload),
            lambda payload=payload: decoder.recover_untrusted(payload, rate // 50),
        ):
            try:
                pcm = attempt()
            except DecodeError:
                continue
            assert len(pcm) <= 2 * rate // 5
    assert len(decoder.conceal(rate // 50)) == rate // 25


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_nothing_and_too_much_are_refused(name: str, rate: int) -> None:
    decoder = codec.make_decoder(name, rate)
    for payload in (b"", b"\xff" * 5000):
        with pytest.raises(DecodeError):
            decoder.decode_untrusted(payload)


@pytest.mark.parametrize(("name", "rate"), COMBINATIONS)
def test_encoders_take_20_ms_and_nothing_else(name: str, rate: int) -> None:
    encoder = codec.make_encoder(name, rate)
    for size in (0, 2, rate // 25 - 2, rate // 25 + 2):
        with pytest.raises(ValueError):
            encoder.encode(bytes(size))
    assert encoder.encode(bytes(rate // 25))


@pytest.mark.parametrize("make", [codec.make_decoder, codec.make_encoder])
def test_other_codecs_and_rates_are_refused(make: object) -> None:
    assert callable(make)
    for name, rate in (("G722", 8000), ("OPUS", 8000), ("opus", 44100), ("PCMU", 0)):
        with pytest.raises(ValueError):
            make(name, rate)


# --- G.711 ------------------------------------------------------------------------------------


def ffmpeg(name: str, payload: bytes) -> bytes:
    """The sound of G.711 as another implementation has it."""
    context = av.CodecContext.create({"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw"}[name], "r")
    context.sample_rate = 8000
    context.layout = "mono"
    frames = context.decode(av.Packet(payload))
    return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_byte_is_the_sample_that_others_make_of_it(name: str) -> None:
    every = bytes(range(256))
    assert g711.EXPAND[name].tobytes() == ffmpeg(name, every)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_sample_is_given_a_byte_within_half_a_step(name: str) -> None:
    sample = np.arange(-32768, 32768)
    made = g711.EXPAND[name][g711.COMPRESS[name][sample & 0xFFFF]].astype(np.int64)
    assert (np.diff(made) >= 0).all()
    sizes = np.unique(np.abs(g711.EXPAND[name].astype(np.int64)))
    steps = np.append(np.diff(sizes), 2 * (32768 - sizes[-1]))
    half = steps[np.searchsorted(sizes, np.abs(made))] / 2
    assert (np.abs(made - sample) <= np.maximum(half, 8)).all()


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_a_byte_survives_being_decoded(name: str) -> None:
    for byte in range(256):
        sample = int(g711.EXPAND[name][byte])
        again = int(g711.COMPRESS[name][sample & 0xFFFF])
        assert int(g711.EXPAND[name][again]) == sample


# --- the extra --------------------------------------------------------------------------------

WITHOUT = """
import sys
for name in ("numpy", "opuslib_next"):
    sys.modules[name] = None
from transceiver.voice import activity, codec, jitter, listener, payloads, speaker
for attempt in (
    codec.require,
    codec.make_meter,
    lambda: codec.make_encoder("PCMU", 8000),
    lambda: codec.make_encoder("opus", 8000),
    lambda: listener.Listener("opus", 48000, 24000),
    lambda: speaker.Speaker("opus", 48000, 24000),
):
    try:
        attempt()
    except codec.VoiceUnavailable as error:
        assert "stunroute[audio]" in str(error) and "libopus" in str(error)
    else:
        raise SystemExit("it should not work")
print("fine")
"""

NO_LIBRARY = """
import ctypes.util, sys
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name == "opus" else find(name)
import os.path
exists = os.path.exists
os.path.exists = lambda path: "libopus" not in str(path) and exists(path)
from transceiver.voice import codec
try:
    codec.make_decoder("opus", 8000)
except codec.VoiceUnavailable as error:
    assert "libopus" in str(error)
    codec.make_decoder("PCMU", 8000)
    print("fine")
"""


@pytest.mark.parametrize("script", [WITHOUT, NO_LIBRARY])
def test_without_the_libraries_the_package_imports_and_says_what_is_missing(script: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("fine", "")


def test_everything_is_there_here() -> None:
    codec.require()
    assert codec.make_meter()(bytes(640)) == -100.0


def test_libopus_is_set_up_to_send_copies() -> None:
    pcm = speech(24000, 2.0).tobytes()
    sent = packets("opus", pcm, 24000)
    assert sum(payloads.carries_copy("opus", payload) for payload in sent) > len(sent) / 4
    assert max(map(len, sent)) < 400
    assert opus.EXPECTED_LOSS > 0
    assert len(frames(pcm, 24000)) == len(sent)
