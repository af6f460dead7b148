"""What a relay takes a datagram for: RFC 7983, RFC 9443 and RFC 5761, section 4.

A relay shows by two things what it reads. A check makes a flow only if it is taken for STUN; and
where the relay knows sources of media, a datagram is routed by its source only if it is taken for
RTP or RTCP.
"""

from collections.abc import Iterable

from conformance.case import Observed, Rule
from conformance.probe.routing import (
    PASSES,
    SPREADS,
    STOPS,
    Routed,
    drawn,
    flow,
    known_source,
    need_nodes,
    relayed,
    route,
    route_each,
    route_none,
    rtp,
)
from conformance.relay_stage import RelayStage


@relayed(
    Rule(
        "rfc9443/3/relay-known-client",
        "DTLS, RTP and RTCP of a known client follow its flow, with every first byte that they "
        "have.",
        requirements=("rfc9443/3/1", "rfc8843/8.1/1"),
        traps=("STUN and ICE 13",),
    ),
    sends="packets with each first byte from 20 to 63 and from 128 to 191",
    oracle=PASSES,
)
def known_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    edges = (20, 21, 22, 23, 25, 62, 63, 128, 129, 143, 144, 176, 190, 191)
    packets = (bytes([first]) + stage.entropy(40) for first in edges)
    return route_each(stage, packets, client, node)


def _octets(stage: RelayStage, firsts: Iterable[int]) -> Observed:
    """A stranger's datagrams that would be checks but for their first byte."""
    (node,) = need_nodes(stage, 1)
    check = stage.check(stage.mint(node))
    packets = [bytes([first]) + check[1:] for first in firsts]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "rfc9443/3/relay-nobodys-octets",
        "First bytes 4 to 15 are nobody's: what begins with one is dropped, even where the rest "
        "would be a check.",
        requirements=("rfc9443/3/3", "rfc7983/6/1"),
        traps=("STUN and ICE 13",),
    ),
    sends="good checks whose first byte is one of 4 to 15",
    oracle=STOPS,
)
def nobodys_octets(stage: RelayStage) -> Observed:
    return _octets(stage, range(4, 16))


@relayed(
    Rule(
        "rfc9443/3/relay-zrtp",
        "First bytes 16 to 19 are ZRTP's, and neither STUN nor DTLS.",
        requirements=("rfc9443/3/5",),
        traps=("STUN and ICE 13",),
    ),
    sends="good checks whose first byte is one of 16 to 19",
    oracle=STOPS,
)
def zrtp(stage: RelayStage) -> Observed:
    return _octets(stage, range(16, 20))


@relayed(
    Rule(
        "rfc9443/3/relay-turn-channels",
        "First bytes 64 to 79 are TURN channel data, which nobody here has asked for.",
        requirements=("rfc9443/3/4",),
        traps=("STUN and ICE 13",),
    ),
    sends="good checks whose first byte is one of 64 to 79",
    oracle=STOPS,
)
def turn_channels(stage: RelayStage) -> Observed:
    return _octets(stage, range(64, 80))


@relayed(
    Rule(
        "rfc9443/3/relay-quic",
        "First bytes 80 to 127 and 192 to 255 are QUIC's, and nobody here speaks it.",
        requirements=("rfc9443/3/2",),
        traps=("STUN and ICE 13",),
    ),
    sends="good checks whose first byte is one of 80 to 127 or of 192 to 255",
    oracle=STOPS,
)
def quic(stage: RelayStage) -> Observed:
    return _octets(stage, (*range(80, 128), *range(192, 256)))


@relayed(
    Rule(
        "rfc9443/3/relay-quic-is-not-media",
        "127 and 192 are QUIC's and not RTP's: a datagram that begins with one is not routed by "
        "what would be its source.",
        requirements=("rfc9443/3/2",),
        traps=("STUN and ICE 13",),
    ),
    sends="a live source's RTP from a new address with first byte 127, and with 192",
    oracle=STOPS,
)
def quic_is_not_media(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, client = drawn(stage), stage.client()
    flow(stage, stage.mint(node), client)
    route_each(stage, [rtp(stage, source)] * 3, client, node)
    packets = [bytes([first]) + rtp(stage, source)[1:] for first in (79, 127, 192)]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "rfc9443/3/relay-media-at-the-edges",
        "128 and 191 are RTP's: where a relay knows media by its source, it does so for every "
        "first byte that RTP has.",
        requirements=("rfc9443/3/1",),
        traps=("STUN and ICE 13",),
    ),
    sends="a live source's RTP from new addresses with first bytes 128, 144 and 191",
    oracle=PASSES,
    lasts=SPREADS,
)
def media_at_the_edges(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source = known_source(stage, stage.client(), node)
    told: Observed = Routed.DELIVERED
    for first in (128, 144, 191):
        packet = bytes([first]) + rtp(stage, source)[1:]
        told = route(stage, packet, stage.client(), node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return told


@relayed(
    Rule(
        "rfc5761/4/relay-rtcp-by-the-second-octet",
        "A second byte of 192 to 223 makes it RTCP, whose source stands four bytes earlier: what "
        "has a live source only where RTP has it is not that source's.",
        requirements=("rfc5761/4/3",),
    ),
    sends="a packet of type 200 from a new address with a live source in bytes 8 to 11",
    oracle=STOPS,
    lasts=SPREADS,
)
def rtcp_by_the_second_octet(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source = known_source(stage, stage.client(), node)
    packets = [
        bytes([0x80, second]) + rtp(stage, source)[2:] for second in (192, 200, 201, 206, 223)
    ]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "rfc5761/4/relay-rtp-by-the-second-octet",
        "191 and 224 are RTP's, with the marker set.",
        requirements=("rfc5761/4/3",),
    ),
    sends="RTP of a live source from new addresses with second bytes 191 and 224",
    oracle=PASSES,
    lasts=SPREADS,
)
def rtp_by_the_second_octet(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source = known_source(stage, stage.client(), node)
    told: Observed = Routed.DELIVERED
    for second in (191, 224):
        packet = bytes([0x80, second]) + rtp(stage, source)[2:]
        told = route(stage, packet, stage.client(), node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return told
