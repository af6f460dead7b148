"""What of the suite is asked of which peer, sorted into the areas that the matrix has columns for.

An area is the subject of a file of cases, so that a new case is in one without being listed.
"""

from collections.abc import Mapping
from enum import Enum

from conformance import catalogue
from conformance.case import Case, Profile

from .table import Door, Peer


class Area(Enum):
    """The columns, in their order."""

    STUN = "STUN"
    ICE = "ICE"
    DEMUX = "demux"
    DTLS = "DTLS"
    MEDIA = "SRTP, RTP, RTCP"
    DATA = "SCTP, channels"
    SDP = "SDP"
    SIGNALING = "signalling"


_BY_FILE = {
    "stun": Area.STUN,
    "ice": Area.ICE,
    "demux": Area.DEMUX,
    "dtls": Area.DTLS,
    "srtp": Area.MEDIA,
    "rtp": Area.MEDIA,
    "rtcp": Area.MEDIA,
    "sctp": Area.DATA,
    "channels": Area.DATA,
    "sdp": Area.SDP,
    "signaling": Area.SIGNALING,
}


def by_area() -> Mapping[Area, tuple[Case, ...]]:
    """Every case that is asked of a server. What is asked of a relay is in no area: no peer is
    one."""
    found: dict[Area, list[Case]] = {area: [] for area in Area}
    for case, file in catalogue.files():
        area = _BY_FILE.get(file.partition("_")[0])
        if area is not None and Profile.RELAY not in case.profiles:
            found[area].append(case)
    return {area: tuple(cases) for area, cases in found.items()}


def asked_of(peer: Peer) -> Mapping[Area, tuple[Case, ...]]:
    """What a peer is asked. Cases about a call are asked of every peer that answers offers, those
    of ICE-lite too. Nobody's door is his own: what a case says about HTTP it would say about our
    front, so signalling is left out."""
    asked = {}
    for area, cases in by_area().items():
        if area is Area.SIGNALING and not peer.own_signaling:
            continue
        if peer.door is Door.STUN:
            cases = tuple(case for case in cases if Profile.STUN in case.profiles)
        if cases:
            asked[area] = cases
    return asked
