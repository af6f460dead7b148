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
        assert (given_.port != 0) == (index == settled.section)
        assert not given_.has("bundle-only")
    accepted = settled.answer.media[settled.section]
    assert accepted.formats == (str(settled.codec.payload_type),)
    assert accepted.formats[0] in offer.media[settled.section].formats
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux", "end-of-candidates"):
        assert len(accepted.named(name)) == 1
    groups = settled.answer.named("group")
    assert [line.content for line in groups] in ([], [f"BUNDLE {settled.mid}"])
    assert settled.answer.has("ice-lite")


def changed(old: str, new: str, text: str = PLAIN) -> str:
    assert old in text
    return text.replace(old, new)


def accepted(settled: Negotiated) -> Media:
    return settled.answer.media[settled.section]


def attribute(settled: Negotiated, name: str) -> str | None:
    line = accepted(settled).first(name)
    return None if line is None else line.content
