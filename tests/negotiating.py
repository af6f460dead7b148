"""What the tests of negotiation share: our side, a plain offer, and what holds for every answer."""

import re

from attrs import evolve

from stunroute.address import Address
from transceiver.dtls import Fingerprint
from transceiver.negotiation import LocalDescription, Negotiated, negotiate
from transceiver.sdp import Description, Media, parse_untrusted

LOCAL = LocalDescription(
    ufrag="0" + "a" * 25,
    password="p" * 32,
    fingerprint=Fingerprint("sha-256", bytes(range(32))),
    candidates=(Address.of("192.0.2.1", 3478), Address.of("2001:db8::1", 3478)),
    session_id=2**62,
    ssrc=0xFFFFFFFF,
    cname="c0ffee",
)
VOICE_ALONE = evolve(LOCAL, data=False)
"""Who takes no data sections."""
FRESH = evolve(LOCAL, ufrag="0" + "b" * 25, password="q" * 32)
PWD = "AbCdEfGhIjKlMnOpQrStUv"  # noqa: S105
SHA256 = ":".join(["5A"] * 32)

PLAIN = f"""v=0
o=- 1 2 IN IP4 192.0.2.9
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8
c=IN IP4 0.0.0.0
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:{PWD}
a=fingerprint:sha-256 {SHA256}
a=setup:actpass
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
"""
"""An offer with nothing special; tests change single lines of it."""


def answer_to(text: str, local: LocalDescription = LOCAL) -> Negotiated:
    """Negotiate, and check what holds for every answer there is."""
    offer = parse_untrusted(text)
    settled = negotiate(offer, local)
    check(offer, settled)
    return settled


def check(offer: Description, settled: Negotiated) -> None:
    """RFC 3264 and RFC 8829 on the shape of an answer."""
    text = str(settled.answer)
    assert parse_untrusted(text) == settled.answer
    assert text.endswith("\r\n")
    assert not re.search(r"(?<!\r)\n|\r(?!\n)", text)
    assert len(settled.answer.media) == len(offer.media) == settled.sections
    for index, (asked, given_) in enumerate(zip(offer.media, settled.answer.media, strict=True)):
        assert (given_.kind, given_.protocol, given_.mid) == (asked.kind, asked.protocol, asked.mid)
        assert (given_.port != 0) == (index in settled.agreed)
        assert not given_.has("bundle-only")
    assert settled.agreed, "an answer that takes nothing is none"
    for index in settled.agreed:
        for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
            assert len(settled.answer.media[index].named(name)) == 1
    check_audio(offer, settled)
    check_data(offer, settled)
    groups = [line.content.split(" ") for line in settled.answer.named("group")]
    assert groups in ([], [["BUNDLE", *settled.group]])
    assert set(settled.group) in (set(), set(settled.agreed.values()))
    described = [media for media in settled.answer.media if media.has("candidate")]
    assert len(described) == 1, "one transport has candidates"
    assert len(described[0].named("end-of-candidates")) == 1
    assert [described[0].mid] == [*settled.group, *settled.agreed.values()][:1]
    assert settled.answer.has("ice-lite")


def check_audio(offer: Description, settled: Negotiated) -> None:
    """What holds for the audio section, if there is one."""
    assert (settled.section is None) == (settled.codec is None)
    if settled.section is None or settled.codec is None:
        assert settled.data is not None
        assert settled.mid is None
        assert not settled.may_send
        assert not settled.may_receive
        assert not settled.rtcp_mux
        return
    section = settled.answer.media[settled.section]
    assert section.kind == "audio"
    assert section.formats == (str(settled.codec.payload_type),)
    assert section.formats[0] in offer.media[settled.section].formats
    assert len(section.named("rtcp-mux")) == 1


def check_data(offer: Description, settled: Negotiated) -> None:
    """What holds for the data section, if there is one (RFC 8841, 10.3)."""
    if settled.data is None:
        assert not [media for media in settled.answer.media if media.has("max-message-size")]
        return
    assert settled.local.data
    assert 0 < settled.data.port <= 65535
    section = settled.answer.media[settled.data.section]
    assert section.kind == "application"
    sizes = [line.content for line in section.named("max-message-size")]
    assert sizes == [str(settled.local.max_message_size)]
    if section.protocol == "DTLS/SCTP":
        assert section.formats == ("5000",)
        assert not section.has("sctp-port")
        (line,) = section.named("sctpmap")
        assert line.content == "5000 webrtc-datachannel 1024"
    else:
        assert section.formats == ("webrtc-datachannel",)
        assert [line.content for line in section.named("sctp-port")] == ["5000"]
        assert not section.has("sctpmap")
    if settled.section is not None:
        assert len(settled.group) == 2, "audio and data share a transport, or data is rejected"


def changed(old: str, new: str, text: str = PLAIN) -> str:
    assert old in text
    return text.replace(old, new)


def accepted(settled: Negotiated) -> Media:
    """The answer's audio section."""
    assert settled.section is not None
    return settled.answer.media[settled.section]


def attribute(settled: Negotiated, name: str) -> str | None:
    line = accepted(settled).first(name)
    return None if line is None else line.content
