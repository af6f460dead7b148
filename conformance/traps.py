"""What implementations have fallen into in the field, by the numbers that cases name.

No RFC lists these: they come from bug reports against servers and clients, and from captures. A
case that asks about one names it, so that a report says why anybody asks. ``FACTS`` stands for what
today's clients simply do, right or wrong, and every server has to live with.
"""

from collections.abc import Mapping

FACTS = "Facts"

_STUN_AND_ICE = (
    "Datagrams too short for a header, and lengths that say something else than what is there.",
    "USERNAME names the receiver first; it was cut, compared in part, or taken from the wrong end.",
    "An unknown comprehension-required attribute draws a 420 that lists it; others are ignored.",
    "400 and 401 taken for one another; indications without USERNAME answered, or fatal.",
    "STUN that proves nothing moved the path of a call, or kept up consent.",
    "Role conflicts: equal tie-breakers, roles that were switched back and forth.",
    "A later nomination, or one with a higher value, was not followed.",
    "An ICE restart on the same addresses was delivered to the agent from before it.",
    "Two sessions behind one remote address; closing one removed the other.",
    "A flood of unknown ufrags allocated state.",
    "IPv4 addresses mapped into IPv6, and candidates that are names, were fatal.",
    "Frames of RFC 4571 that a stream delivers in pieces.",
    "Demultiplexing that is off by one at an edge, or knows nothing of QUIC's ranges.",
)
_DTLS = (
    "A ClientHello longer than a datagram was not put together, or judged by its first fragment.",
    "A second ClientHello with a cookie was refused, and a lost request for it not repeated.",
    "The last flight was not said again when it was lost.",
    "A ClientHello that came before ICE was ready cost a second, or the nomination was awaited.",
    "Both sides took the DTLS server's part.",
    "A stranger's ClientHello ended the call of whoever was just connecting.",
    "Alerts or data in the clear were believed although there were keys.",
    "Nonces drawn at random; a replay window that moved before anything was authenticated.",
    "Fragments that contradict one another about their message, or come far too early, in memory.",
    "Certificates parsed before their fingerprint was compared, or believed without a signature.",
    "Oddities of the handshake: doubled extensions, records out of turn, renegotiation, floods.",
    "Fingerprints in capitals, several of them, and by longer hashes.",
    "An MKI in use_srtp was given back by servers that use none.",
)
_MEDIA = (
    "The rollover counter, where packets around the wrap are lost or late.",
    "A replay window that forgeries move or that sources share; packets too short for their tag.",
    "DTLS over one address and SRTP over another while a path changes.",
)
_DATA = (
    "FORWARD-TSN under loss, channels that one side alone has closed, streams used again too soon.",
    "Messages longer than 16 and 64 KiB, and longer than the other side takes.",
    "Checksums left out toward a peer that has not said that it accepts this.",
)
_SDP = (
    "Rejected sections that stay in the group, and sections without a name.",
    "Lines without CRLF, payload types that were not mirrored, lines that nobody knows.",
)

TRAPS: Mapping[str, str] = {
    f"{area} {number}": said
    for area, sentences in (
        ("STUN and ICE", _STUN_AND_ICE),
        ("DTLS", _DTLS),
        ("SRTP, RTP, RTCP", _MEDIA),
        ("SCTP and data channels", _DATA),
        ("SDP", _SDP),
    )
    for number, said in enumerate(sentences, 1)
} | {FACTS: "What clients of today do, measured."}
"""By name, each in one sentence."""
