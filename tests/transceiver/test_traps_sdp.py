"""What goes wrong with SDP in the field, by the numbers of the list, and every form of an offer
that has been seen there: each is made of the plain one by changing what was odd about it."""

import re

import pytest
from attrs import evolve

from negotiating import (
    FRESH,
    LOCAL,
    PLAIN,
    PWD,
    SHA256,
    VOICE_ALONE,
    accepted,
    answer_to,
    changed,
)
from pair import Rig
from sdp_strategies import OFFERS
from transceiver.dtls import Fingerprint, Role
from transceiver.errors import OfferError
from transceiver.negotiation import CodecChoice, DataChoice, LocalDescription, renegotiate
from transceiver.sdp import parse_untrusted

TRANSPORT = f"a=ice-ufrag:abcd\na=ice-pwd:{PWD}\na=fingerprint:sha-256 {SHA256}\na=setup:actpass\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:d\n"
DATA += "a=sctp-port:5000\n"
"""A data section; who offers one names it in the group."""


def bundled(mids: str, text: str = PLAIN) -> str:
    return changed("BUNDLE 0\n", f"BUNDLE {mids}\n", text)


SEEN = {
    "no mid": changed("a=mid:0\n", ""),
    "no BUNDLE group": changed("a=group:BUNDLE 0\n", ""),
    "neither": changed("a=mid:0\n", "", changed("a=group:BUNDLE 0\n", "")),
    "transport at session level": changed(
        "t=0 0\n", "t=0 0\n" + TRANSPORT, PLAIN.replace(TRANSPORT, "")
    ),
    "ufrag at session level": changed(
        "t=0 0\n",
        f"t=0 0\na=ice-ufrag:abcd\na=ice-pwd:{PWD}\n",
        changed(f"a=ice-ufrag:abcd\na=ice-pwd:{PWD}\n", ""),
    ),
    "setup at session level": changed(
        "t=0 0\n", "t=0 0\na=setup:actpass\n", changed("a=setup:actpass\n", "")
    ),
    "fingerprint at session level": changed(
        "t=0 0\n",
        f"t=0 0\na=fingerprint:sha-256 {SHA256}\n",
        changed(f"a=fingerprint:sha-256 {SHA256}\n", ""),
    ),
    "OPUS in capitals": changed("opus/48000", "OPUS/48000"),
    "SHA-256 in capitals": changed("sha-256", "SHA-256"),
    "digits in small letters": changed(SHA256, SHA256.lower()),
    "ice-options with a comma": PLAIN + "a=ice-options:ice2,trickle\n",
    "SPED": PLAIN + "a=ice-options:trickle sped googspedv1\n",
    "data, bundle-only": bundled("0 d")
    + changed("m=application 9", "m=application 0", DATA)
    + "a=bundle-only\n",
    "data of 65536": bundled("0 d") + DATA + "a=max-message-size:65536\n",
    "data of 1073741823": bundled("0 d") + DATA + "a=max-message-size:1073741823\n",
    "data of any size": bundled("0 d") + DATA + "a=max-message-size:0\n",
    "zero candidates": PLAIN + "a=end-of-candidates\n",
    "only .local candidates": PLAIN
    + "a=candidate:1 1 udp 2113937151 5b1a3c9e-0f37-4ad8-8d59-0ef6b7e4a4f0.local 50000 typ host\n",
    "component-2 candidates": PLAIN
    + "a=candidate:1 1 udp 2130706431 192.0.2.9 50000 typ host\n"
    + "a=candidate:1 2 udp 2130706430 192.0.2.9 50001 typ host\n",
    "a ufrag that holds / in candidates": changed("ufrag:abcd", "ufrag:ab/d")
    + "a=candidate:1 1 udp 1 192.0.2.9 50000 typ host generation 0 ufrag ab\n"
    + "a=candidate:1 1 udp 1 192.0.2.9 50001 typ host ufrag ab/d network-id 1\n",
    "ufrag of 4": changed("ufrag:abcd", "ufrag:+/+/"),
    "ufrag of 32": changed("ufrag:abcd", "ufrag:" + "a/+9" * 8),
    "lines nobody knows": PLAIN
    + "a=nobody-knows\na=nobody:knows this\nb=X-YZ:1\nq=1\na=extmap-allow-mixed\n",
    "no line end at the end": PLAIN.rstrip("\n"),
    "mid:(null)": changed("a=mid:0", "a=mid:(null)", bundled("(null)")),
}


TAKES = {"data and all": LOCAL, "no data": VOICE_ALONE}
SIZES = {
    "data, bundle-only": 65536,
    "data of 65536": 65536,
    "data of 1073741823": 1073741823,
    "data of any size": 0,
}


@pytest.mark.parametrize("local", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("name", SEEN)
def test_offers_seen_in_the_field(name: str, local: LocalDescription) -> None:
    """SDP 1 and 2, SCTP 2, STUN and ICE 11, DTLS 12, and measured. What was odd keeps nobody from a
    call; ``answer_to`` checks that every answer has the form that clients insist on."""
    for text in (SEEN[name], SEEN[name].replace("\n", "\r\n")):
        settled = answer_to(text, local)
        assert settled.section == 0
        assert isinstance(settled.codec, CodecChoice)
        assert (settled.codec.name, settled.codec.payload_type) == ("opus", 111)
        assert settled.role is Role.CLIENT
        assert settled.fingerprints == (Fingerprint("sha-256", b"\x5a" * 32),)
        assert settled.remote.password == PWD.encode()
        wanted = re.search(r"a=ice-ufrag:(\S+)", text)
        assert wanted is not None
        assert settled.remote.ufrag == wanted[1].encode()
        assert "sped" not in str(settled.answer)
        assert "None" not in str(settled.answer)
        if name in SIZES and local.data:
            assert settled.data == DataChoice("d", 1, 5000, SIZES[name])
        else:
            assert settled.data is None
            assert "max-message-size" not in str(settled.answer)
        assert parse_untrusted(str(settled.answer)) == settled.answer


# --- SDP 1: what is rejected ----------------------------------------------------------------------


@pytest.mark.parametrize("local", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("name", [*OFFERS, *SEEN])
def test_rejected_sections_are_in_no_group(name: str, local: LocalDescription) -> None:
    """SDP 1: the group holds the accepted sections, or there is none; rejected ones keep their
    place, their kind, protocol and mid, at port 0; no mid is made up."""
    text = OFFERS.get(name) or SEEN[name]
    if "m=audio" not in text and not local.data:
        with pytest.raises(OfferError, match="no audio section"):
            answer_to(text, local)
        return
    settled = answer_to(text, local)
    offered = parse_untrusted(text)
    groups = [line.content.split(" ") for line in settled.answer.named("group")]
    rejected = [media for media in settled.answer.media if media.port == 0]
    assert len(rejected) == len(offered.media) - len(settled.agreed)
    for group in groups:
        assert group[0] == "BUNDLE"
        assert set(group[1:]) == set(settled.agreed.values())
    for media, asked in zip(settled.answer.media, offered.media, strict=True):
        assert media.named("mid") == () if asked.mid is None else media.mid == asked.mid
        assert media.formats, "an m-line without a format is no m-line"
        assert not media.has("bundle-only")
        if media in rejected:
            assert not media.has("candidate")
            assert not media.has("ssrc")


def test_a_mid_that_nobody_gave_is_not_written() -> None:
    """SDP 1: others have answered ``a=mid:(null)``, and a group that holds it."""
    for name in ("no mid", "neither"):
        text = str(answer_to(SEEN[name]).answer)
        assert "mid" not in text
        assert "group" not in text
        assert "(null)" not in text


def test_a_rejected_section_stays_rejected_in_later_answers() -> None:
    """SDP 1: an application section that was rejected is offered again at port 0, or anew."""
    first = bundled("0 d") + DATA
    settled = answer_to(first, VOICE_ALONE)
    local = evolve(FRESH, data=False)
    for later in (changed("m=application 9", "m=application 0", PLAIN + DATA), first):
        again = renegotiate(settled, parse_untrusted(later), local)
        assert [media.port for media in again.answer.media] == [3478, 0]
        assert [line.content for line in again.answer.named("group")] == ["BUNDLE 0"]


# --- SDP 2: lines and numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OFFERS, *SEEN])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_ends_and_the_last_one_too(name: str, end: str) -> None:
    """SDP 2, and measured: libwebrtc on macOS rejects SDP without a final line end."""
    text = re.sub("\r?\n", end, OFFERS.get(name) or SEEN[name])
    answer = str(answer_to(text).answer)
    assert answer.endswith("\r\n")
    assert not answer.endswith("\r\n\r\n")
    assert answer.count("\r\n") == answer.count("\n") == answer.count("\r")


@pytest.mark.parametrize("number", [35, 63, 96, 109, 111, 120, 127])
def test_the_payload_type_of_the_offer_is_mirrored(number: int) -> None:
    """SDP 2: in the m-line, the map and the parameters, and in what is sent."""
    settled = answer_to(PLAIN.replace("111", str(number)))
    section = accepted(settled)
    assert section.formats == (str(number),)
    assert [line.content for line in section.named("rtpmap")] == [f"{number} opus/48000/2"]
    assert all(line.content.startswith(f"{number} ") for line in section.named("fmtp"))
    rig = Rig.build()
    client = rig.client(codecs=((number, "opus/48000/2"), (0, "PCMU/8000")))
    call = rig.establish(client)
    rig.endpoint.send_audio(call, b"voice", 0, False, rig.now)
    rig.run(0.01)
    assert [packet.payload_type for packet in client.audio] == [number]


def test_our_words_are_ours_alone() -> None:
    """SDP 2: of what an offer says beside, nothing finds its way into the answer."""
    text = (
        PLAIN + "a=nobody-knows\na=msid:- secret-track\na=candidate:1 1 udp 1 10.9.8.7 9 typ host\n"
    )
    answer = str(answer_to(text).answer)
    for word in ("nobody", "secret-track", "10.9.8.7", PWD, "ufrag:abcd", "192.0.2.9"):
        assert word not in answer
    assert LOCAL.ufrag in answer
