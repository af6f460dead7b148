"""STUN as a relay reads it: enough to find USERNAME, and no more.

Whatever else a check carries is between the client and its node, and arrives there byte for byte.
A request that is no STUN at all leads nowhere.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Oracle, Rule
from conformance.probe.routing import MAY_PASS, PASSES, STOPS, lone
from conformance.probe.stun_draft import Draft
from conformance.relay_stage import RelayStage, Session
from stunroute import stun

WIDE = 1100
"""Bytes that one attribute of a check may well have: half a ClientHello travels in one."""


def _begun(stage: RelayStage, session: Session) -> Draft:
    draft = Draft(stage.entropy(12)).add(stun.Attribute.USERNAME, session.ufrag + b":peer")
    return draft.add(stun.Attribute.PRIORITY, (1853824767).to_bytes(4, "big")).add(
        stun.Attribute.ICE_CONTROLLING, bytes(8)
    )


def _whole(draft: Draft, session: Session) -> bytes:
    return draft.sign(session.password).close().message()


def _carrying(
    rule: Rule, sends: str, *attributes: tuple[int, Callable[[RelayStage], bytes]]
) -> Case:
    """A check with further attributes arrives with them."""

    def packet(stage: RelayStage, session: Session) -> bytes:
        draft = _begun(stage, session)
        for kind, value in attributes:
            draft.add(kind, value(stage))
        return _whole(draft, session)

    return lone(rule, sends=sends, oracle=PASSES, packet=packet)


PASSED_ON = (
    _carrying(
        Rule(
            "rfc8489/6.3/relay-unknown-optional",
            "A comprehension-optional attribute that the relay does not know changes nothing and "
            "arrives with the check.",
            requirements=("rfc8489/6.3/1",),
            traps=("STUN and ICE 3",),
        ),
        "a check with attributes 0xc0de and 0xff01",
        (0xC0DE, lambda stage: b"whatever"),
        (0xFF01, lambda stage: stage.entropy(5)),
    ),
    _carrying(
        Rule(
            "relay/stun/network-cost",
            "The network cost that browsers send arrives with the check.",
            traps=("STUN and ICE 3",),
        ),
        "a check with attribute 0xc057",
        (0xC057, lambda stage: b"\x00\x02\x00\x32"),
    ),
    _carrying(
        Rule(
            "relay/stun/unknown-required",
            "A comprehension-required attribute is the node's to refuse: the relay passes it on.",
            traps=("STUN and ICE 3", "Facts"),
        ),
        "a check with attributes 0x7ffe and 0x4000 to 0x4007",
        (0x7FFE, lambda stage: b"what"),
        *((kind, lambda stage: stage.entropy(8)) for kind in range(0x4000, 0x4008)),
    ),
    _carrying(
        Rule(
            "relay/stun/dtls-in-a-check",
            "A check that carries part of a handshake arrives whole, however large.",
            traps=("Facts",),
        ),
        "a check with 1,100 bytes in attribute 0xc070, and with 0xc071",
        (0xC070, lambda stage: b"\x16\xfe\xfd" + stage.entropy(WIDE - 3)),
        (0xC071, lambda stage: stage.entropy(4)),
    ),
    _carrying(
        Rule(
            "rfc8489/6.3/relay-known-but-unexpected",
            "An attribute that has no business in a request changes nothing.",
            level=Level.SHOULD,
            requirements=("rfc8489/6.3/2",),
        ),
        "a check with XOR-MAPPED-ADDRESS, ERROR-CODE and REALM",
        (stun.Attribute.XOR_MAPPED_ADDRESS, lambda stage: b"\x00\x01" + stage.entropy(6)),
        (stun.Attribute.ERROR_CODE, lambda stage: b"\x00\x00\x04\x01No"),
        (stun.Attribute.REALM, lambda stage: b"example"),
    ),
    _carrying(
        Rule(
            "relay/stun/nomination",
            "USE-CANDIDATE, an attribute of no bytes, arrives with the check.",
        ),
        "a check with USE-CANDIDATE",
        (stun.Attribute.USE_CANDIDATE, lambda stage: b""),
    ),
    _carrying(
        Rule(
            "relay/stun/thirty-attributes",
            "A check with many attributes arrives whole.",
            level=Level.SHOULD,
        ),
        "a check with thirty unknown attributes",
        *((0xC100 + number, lambda stage: stage.entropy(3)) for number in range(30)),
    ),
)


def _before_username(stage: RelayStage, session: Session, padding: int) -> bytes:
    """USERNAME behind attributes of every length modulo four."""
    draft = Draft(stage.entropy(12))
    for size in (1, 2, 3, 4, 5):
        draft.add(0xC000 + size, b"x" * size, padding=padding)
    draft.add(stun.Attribute.USERNAME, session.ufrag + b":p", padding=padding)
    return _whole(draft, session)


aligned = lone(
    Rule(
        "rfc8489/14/relay-attributes-are-aligned",
        "Attributes begin at multiples of four bytes, their lengths do not count the padding.",
        requirements=("rfc8489/14/1", "rfc8489/14/2", "rfc8489/14/3"),
    ),
    sends="a check whose USERNAME stands behind attributes of 1 to 5 bytes",
    oracle=PASSES,
    packet=lambda stage, session: _before_username(stage, session, 0),
)

padding = lone(
    Rule(
        "rfc8489/14/relay-padding-of-any-content",
        "Padding is skipped whatever it holds, and arrives as it was sent.",
        requirements=("rfc8489/14/4",),
        traps=("Facts",),
    ),
    sends="a check whose USERNAME stands behind attributes of 1 to 5 bytes, padded with 0x20",
    oracle=PASSES,
    packet=lambda stage, session: _before_username(stage, session, 0x20),
)

bare = lone(
    Rule(
        "relay/stun/without-fingerprint",
        "A check without FINGERPRINT is routed: it is told from other protocols by its first byte.",
        level=Level.SHOULD,
    ),
    sends="a signed check without FINGERPRINT",
    oracle=PASSES,
    packet=lambda stage, session: _begun(stage, session).sign(session.password).message(),
)


def _behind(end: Callable[[Draft, Session], Draft]) -> Callable[[RelayStage, Session], bytes]:
    """A check that is ended first, and then named."""

    def packet(stage: RelayStage, session: Session) -> bytes:
        draft = end(Draft(stage.entropy(12)).add(stun.Attribute.PRIORITY, bytes(4)), session)
        return draft.add(stun.Attribute.USERNAME, session.ufrag + b":peer").message()

    return packet


BEHIND_THE_END = (
    lone(
        Rule(
            "rfc8489/9/relay-username-behind-the-integrity",
            "A USERNAME behind MESSAGE-INTEGRITY is nobody's word and names nobody.",
            requirements=("rfc8489/9/1",),
        ),
        sends="a check whose USERNAME stands behind MESSAGE-INTEGRITY",
        oracle=STOPS,
        packet=_behind(lambda draft, session: draft.sign(session.password)),
    ),
    lone(
        Rule(
            "rfc8489/9/relay-username-behind-sha256",
            "A USERNAME behind MESSAGE-INTEGRITY-SHA256 names nobody either.",
            requirements=("rfc8489/9/2",),
        ),
        sends="a check whose USERNAME stands behind MESSAGE-INTEGRITY-SHA256",
        oracle=STOPS,
        packet=_behind(lambda draft, session: draft.sign_sha256(session.password)),
    ),
    lone(
        Rule(
            "rfc8489/14.7/relay-username-behind-the-fingerprint",
            "FINGERPRINT is the last attribute: what stands behind it names nobody.",
            requirements=("rfc8489/14.7/2",),
        ),
        sends="a check whose USERNAME stands behind FINGERPRINT",
        oracle=STOPS,
        packet=_behind(lambda draft, session: draft.sign(session.password).close()),
    ),
)


def _changed(
    rule: Rule, sends: str, change: Callable[[bytes], bytes], *, oracle: Oracle = STOPS
) -> Case:
    """A good check, changed as a whole."""
    return lone(
        rule,
        sends=sends,
        oracle=oracle,
        packet=lambda stage, session: change(_whole(_begun(stage, session), session)),
    )


def _lengthened(data: bytes, more: int) -> bytes:
    return data[:2] + (len(data) - stun.HEADER_LENGTH + more).to_bytes(2, "big") + data[4:]


NO_STUN = (
    _changed(
        Rule(
            "rfc8489/5/relay-first-bits",
            "What begins with other bits than two zeros is not taken for STUN.",
            requirements=("rfc8489/5/1",),
            traps=("STUN and ICE 13",),
        ),
        "a good check with the second bit set",
        lambda data: bytes([data[0] | 0x40]) + data[1:],
    ),
    _changed(
        Rule(
            "rfc8489/5/relay-cookie",
            "A message without the magic cookie is not one of this protocol.",
            requirements=("rfc8489/5/3",),
        ),
        "a good check with another cookie",
        lambda data: data[:4] + b"\x21\x12\xa4\x43" + data[8:],
    ),
    _changed(
        Rule(
            "rfc8445/7.3/relay-old-stun",
            "A request of RFC 3489, which had no cookie, is neither routed nor answered.",
            requirements=("rfc8445/7.3/7",),
        ),
        "a good check with a transaction id of 16 bytes in place of cookie and id",
        lambda data: data[:4] + bytes(range(16)) + data[20:],
    ),
    _changed(
        Rule(
            "rfc8489/5/relay-length-too-large",
            "A message is as long as its header says: one that is cut is malformed.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        "a good check whose header announces four bytes more",
        lambda data: _lengthened(data, 4),
    ),
    _changed(
        Rule(
            "rfc8489/5/relay-length-too-small",
            "A message with bytes behind its end is malformed.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        "a good check with four bytes behind it",
        lambda data: data + bytes(4),
    ),
    _changed(
        Rule(
            "rfc8489/5/relay-length-not-aligned",
            "The length of a message is a multiple of four.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        "a good check with one byte more, announced",
        lambda data: _lengthened(data, 1) + b"\0",
    ),
    _changed(
        Rule(
            "rfc8489/14/relay-attribute-past-the-end",
            "An attribute that claims more bytes than the message has makes it malformed.",
            requirements=("rfc8489/14/1",),
            traps=("STUN and ICE 1",),
        ),
        "a check whose USERNAME claims 65,535 bytes",
        lambda data: data[:22] + b"\xff\xff" + data[24:],
    ),
    _changed(
        Rule(
            "relay/stun/another-method", "A request of another method than Binding leads nowhere."
        ),
        "a good check whose method is Allocate",
        lambda data: b"\x00\x03" + data[2:],
    ),
    _changed(
        Rule(
            "rfc8489/14.7/relay-wrong-fingerprint",
            "A check whose FINGERPRINT is wrong is the node's to judge: the relay may let go of "
            "it, and nothing else comes of it.",
        ),
        "a good check with the last bit of FINGERPRINT turned over",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        oracle=MAY_PASS,
    ),
    _changed(
        Rule(
            "relay/stun/header-alone",
            "A request without attributes names nobody and is not answered.",
            traps=("STUN and ICE 1",),
        ),
        "the header of a check",
        lambda data: b"\x00\x01\x00\x00" + data[4:20],
    ),
)


def _crowded(stage: RelayStage, session: Session) -> bytes:
    draft = Draft(stage.entropy(12))
    for _ in range(300):
        draft.add(0xC0DE)
    return _whole(draft.add(stun.Attribute.USERNAME, session.ufrag + b":peer"), session)


crowded = lone(
    Rule(
        "relay/stun/hundreds-of-attributes",
        "A message that consists of hundreds of empty attributes may be read or let go of, and "
        "nothing else comes of it.",
    ),
    sends="a check with 300 empty attributes before USERNAME",
    oracle=MAY_PASS,
    packet=_crowded,
)
