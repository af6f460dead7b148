"""Hints: what a relay reads out of USERNAME, and what it must not take for a hint.

A forged hint is signed here with the password that belongs to it, as far as anybody can tell it, so
that the hint is what is wrong with the check and nothing else.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Observed, Oracle, Rule
from conformance.probe import hints
from conformance.probe.routing import (
    MAY_PASS,
    PASSES,
    STOPS,
    Routed,
    flow,
    lone,
    need_nodes,
    relayed,
    route,
    route_none,
    rtp,
)
from conformance.probe.stun_draft import Draft
from conformance.relay_stage import Node, RelayStage, Session
from stunroute import stun

LENIENT_STOPS = STOPS.lenient_about(Routed.DELIVERED)
"""The node would refuse it as well."""


def _forged(rule: Rule, sends: str, ufrag: Callable[[RelayStage, Session], bytes]) -> Case:
    """A check with another ufrag in place of a hint."""

    def packet(stage: RelayStage, session: Session) -> bytes:
        return stage.check(hints.renamed(stage, session, ufrag(stage, session)))

    return lone(rule, sends=sends, oracle=STOPS, packet=packet)


def _with_last_digit_changed(_: RelayStage, session: Session) -> bytes:
    last = session.ufrag[-1:]
    return session.ufrag[:-1] + (b"1" if last == b"0" else b"0")


def _overflowing(_: RelayStage, session: Session) -> bytes:
    return session.ufrag[:1] + hints.body_of(hints.number_of(session.ufrag[1:]) + hints.BLOCK)


def _other_node(stage: RelayStage, cluster: int, number: int) -> bytes:
    return stage.keyring.mint(cluster, number, stage.entropy, 0.0).encode()


def _nobody(stage: RelayStage) -> int:
    return max(node.number for node in stage.nodes) + 7919


FORGED = (
    _forged(
        Rule(
            "relay/hint/one-digit-changed",
            "A hint of which one digit was changed leads nowhere.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint has another last digit",
        _with_last_digit_changed,
    ),
    _forged(
        Rule(
            "relay/hint/nonzero-tail",
            "A hint leads somewhere only if the last five bytes of its block are zero.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint names a node in a block that ends with a one",
        lambda stage, session: hints.seal(
            stage, session.node.cluster, session.node.number, b"\0\0\0\0\1"
        ),
    ),
    _forged(
        Rule(
            "relay/hint/nonzero-head-of-the-tail",
            "All of the last five bytes of a hint's block have to be zero, the first of them too.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint names a node in a block with one bit set in the first of them",
        lambda stage, session: hints.seal(
            stage, session.node.cluster, session.node.number, b"\x80\0\0\0\0"
        ),
    ),
    _forged(
        Rule(
            "relay/hint/more-than-a-block",
            "A body that stands for 2^128 or more is no hint, though it would lead somewhere when "
            "its upper bits are cut off.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint has 2^128 added to its number",
        _overflowing,
    ),
    _forged(
        Rule(
            "relay/hint/unknown-configuration",
            "A hint under a configuration that the relay does not have leads nowhere; no other key "
            "is tried on it.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint bears another configuration id before a good body",
        lambda stage, session: hints.unknown_identifier(stage) + session.ufrag[1:],
    ),
    _forged(
        Rule(
            "relay/hint/not-routable",
            "A ufrag that begins with z says that it is not routable.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose ufrag is z and the body of a good hint",
        lambda stage, session: b"z" + session.ufrag[1:],
    ),
    _forged(
        Rule(
            "relay/hint/unknown-node",
            "A hint that names a node nobody has told of leads nowhere, and not to some other "
            "node.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint names a node that is not listed",
        lambda stage, session: _other_node(stage, session.node.cluster, _nobody(stage)),
    ),
    _forged(
        Rule(
            "relay/hint/other-cluster",
            "A node's number means nothing without its cluster.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint names a known node in an unknown cluster",
        lambda stage, session: _other_node(
            stage, max(node.cluster for node in stage.nodes) ^ 0x4000, session.node.number
        ),
    ),
    _forged(
        Rule(
            "relay/hint/one-character-short",
            "A ufrag of 25 characters is no hint.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint lacks its last character",
        lambda stage, session: session.ufrag[:-1],
    ),
    _forged(
        Rule(
            "relay/hint/one-character-more",
            "A ufrag of 27 characters is no hint.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint has one more character at its end",
        lambda stage, session: session.ufrag + b"0",
    ),
    _forged(
        Rule(
            "relay/hint/cut-at-four",
            "A ufrag of four characters is no hint, whatever it is the beginning of.",
            requirements=("rfc8445/7.3/4",),
            traps=("STUN and ICE 2",),
        ),
        "a check with the first four characters of a good hint",
        lambda stage, session: session.ufrag[:4],
    ),
    _forged(
        Rule(
            "relay/hint/upper-case",
            "Hints are written in lower case; a ufrag is compared byte for byte.",
            level=Level.SHOULD,
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose hint stands in capitals",
        lambda stage, session: session.ufrag.upper(),
    ),
    _forged(
        Rule(
            "relay/hint/octets-that-are-no-characters",
            "A ufrag may hold any bytes, and those that are no digits make it no hint.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check with 26 bytes from 0x80 on",
        lambda stage, session: session.ufrag[:1] + bytes(range(0x80, 0x80 + 25)),
    ),
    _forged(
        Rule(
            "relay/hint/signs-and-spaces",
            "What a careless parser of numbers would pass over makes a ufrag no hint.",
            requirements=("rfc8445/7.3/4",),
            traps=("Facts",),
        ),
        "a check whose hint has an underscore or a sign among its digits",
        lambda stage, session: session.ufrag[:1] + b"+" + session.ufrag[2:12] + b"_" * 14,
    ),
)


def _named(
    rule: Rule, sends: str, username: Callable[[bytes], bytes], *, oracle: Oracle = PASSES
) -> Case:
    """A check whose USERNAME is made of a good hint."""
    return lone(
        rule,
        sends=sends,
        oracle=oracle,
        packet=lambda stage, session: stage.check(session, username=username(session.ufrag)),
    )


NAMED = (
    _named(
        Rule(
            "relay/hint/padded-with-spaces",
            "A USERNAME that its client has filled up with spaces still names its session.",
            requirements=("rfc8445/7.3/4",),
            traps=("Facts",),
        ),
        "a check whose USERNAME ends with three spaces",
        lambda ufrag: ufrag + b":peer   ",
    ),
    _named(
        Rule(
            "relay/hint/clients-own-characters",
            "The client's half of USERNAME is the client's: it may hold what ICE's grammar "
            "forbids.",
            requirements=("rfc8445/7.3/4",),
            traps=("Facts",),
        ),
        "a check whose client calls itself with _, -, +, / and bytes that are no text",
        lambda ufrag: ufrag + b":_a-b+c/d\xff\x00",
    ),
    _named(
        Rule(
            "relay/hint/second-colon",
            "The first colon divides USERNAME.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check with a colon in the client's half",
        lambda ufrag: ufrag + b":pe:er",
    ),
    _named(
        Rule(
            "relay/hint/more-than-34-octets",
            "USERNAME is read whole where it is longer than 34 bytes.",
            requirements=("rfc8445/7.3/4",),
            traps=("STUN and ICE 2",),
        ),
        "a check whose client has a ufrag of 32 characters",
        lambda ufrag: ufrag + b":" + b"abcdefgh" * 4,
    ),
    _named(
        Rule(
            "relay/hint/longest-ufrag",
            "A client's ufrag may have 256 characters.",
            requirements=("rfc8445/7.3/4",),
            traps=("STUN and ICE 2",),
        ),
        "a check whose client has a ufrag of 256 characters",
        lambda ufrag: ufrag + b":" + b"abcdefgh" * 32,
    ),
    _named(
        Rule(
            "relay/hint/longest-username",
            "A USERNAME of 763 bytes is read.",
            requirements=("rfc8489/14.3/2",),
        ),
        "a check with a USERNAME of 763 bytes",
        lambda ufrag: ufrag + b":" + b"x" * (763 - len(ufrag) - 1),
    ),
    _named(
        Rule(
            "relay/hint/no-half-of-the-client",
            "The client's half is not the relay's business, even where there is none.",
        ),
        "a check whose USERNAME ends with the colon",
        lambda ufrag: ufrag + b":",
        oracle=MAY_PASS,
    ),
    _named(
        Rule(
            "relay/hint/without-a-colon",
            "A USERNAME without a colon is not one of ICE.",
            requirements=("rfc8445/7.3/4",),
        ),
        "a check whose USERNAME is a hint and no more",
        lambda ufrag: ufrag,
        oracle=LENIENT_STOPS,
    ),
    _named(
        Rule(
            "relay/hint/in-the-second-half",
            "The first half of USERNAME names the server; a hint in the second is somebody else's.",
            requirements=("rfc8445/7.3/4",),
            traps=("STUN and ICE 2",),
        ),
        "a check whose USERNAME has the halves the wrong way round",
        lambda ufrag: b"peer:" + ufrag,
        oracle=STOPS,
    ),
    _named(
        Rule(
            "relay/hint/behind-a-space",
            "A hint begins where USERNAME does.",
            level=Level.SHOULD,
            requirements=("rfc8445/7.3/4",),
        ),
        "a check with a space before its hint",
        lambda ufrag: b" " + ufrag + b":peer",
        oracle=STOPS,
    ),
    _named(
        Rule(
            "relay/hint/empty-username",
            "A check with an empty USERNAME names nobody.",
            requirements=("rfc8445/7.2.2/1",),
        ),
        "a check with a USERNAME of no bytes",
        lambda ufrag: b"",
        oracle=STOPS,
    ),
)


def _draft(stage: RelayStage, session: Session, *names: bytes, late: bool = False) -> bytes:
    draft = Draft(stage.entropy(12))
    if late:
        draft.add(stun.Attribute.SOFTWARE, b"whoever").add(stun.Attribute.PRIORITY, bytes(4))
    for name in names:
        draft.add(stun.Attribute.USERNAME, name)
    draft.add(stun.Attribute.ICE_CONTROLLING, bytes(8))
    return draft.sign(session.password).close().message()


not_first = lone(
    Rule(
        "relay/hint/not-the-first-attribute",
        "USERNAME is found wherever it stands before the integrity.",
    ),
    sends="a check whose USERNAME comes third",
    oracle=PASSES,
    packet=lambda stage, session: _draft(stage, session, session.ufrag + b":peer", late=True),
)


@relayed(
    Rule(
        "relay/hint/two-usernames",
        "Of two USERNAMEs the first counts.",
        requirements=("rfc8489/14/6",),
        traps=("STUN and ICE 2",),
    ),
    sends="a check that names a session on one node, and then one on another",
    oracle=PASSES,
)
def two_usernames(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    session = stage.mint(one)
    names = (session.ufrag + b":peer", stage.mint(other).ufrag + b":peer")
    return route(stage, _draft(stage, session, *names), stage.client(), one, patient=True)


without_username = lone(
    Rule(
        "relay/hint/no-username",
        "A check without USERNAME names nobody and is neither routed nor answered.",
        requirements=("rfc8445/7.2.2/1",),
    ),
    sends="a signed check without USERNAME",
    oracle=STOPS,
    packet=_draft,
)


@relayed(
    Rule(
        "relay/hint/nothing-is-kept",
        "A check that leads nowhere leaves nothing behind: what follows it goes nowhere either.",
        traps=("STUN and ICE 10",),
    ),
    sends="checks with forged hints, and then RTP and DTLS from the same socket",
    oracle=STOPS,
)
def nothing_is_kept(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    for forged in (
        _with_last_digit_changed(stage, session),
        hints.unknown_identifier(stage) + session.ufrag[1:],
        _other_node(stage, node.cluster, _nobody(stage)),
    ):
        stage.up(stage.check(hints.renamed(stage, session, forged)), client, "forged")
    return route_none(stage, (rtp(stage), b"\x16\xfe\xfd" + bytes(40)), client, node)


@relayed(
    Rule(
        "relay/hint/forged-during-a-call",
        "A forged hint from a client's own address neither reaches the client's node nor ends its "
        "flow.",
    ),
    sends="a check with a forged hint from a known client, and then RTP",
    oracle=PASSES,
)
def forged_during_a_call(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    stage.up(_forged_check(stage, node), client, "forged")
    return route(stage, rtp(stage), client, node, patient=True)


def _forged_check(stage: RelayStage, node: Node) -> bytes:
    session = stage.mint(node)
    forged = _with_last_digit_changed(stage, session)
    return stage.check(hints.renamed(stage, session, forged))
