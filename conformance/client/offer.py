"""The offers that our clients write: as plain as a browser's may be.

Text, made line by line and by no writer of the project's: a case is about to change a line of it,
and must know that nothing else in it is odd.
"""

from collections.abc import Iterable

from stunroute.address import Address
from transceiver.dtls import Fingerprint
from transceiver.negotiation import MID_EXTENSION


def write_offer(
    contents: Iterable[str],
    *,
    session_id: int,
    ice: tuple[str, str],
    fingerprint: Fingerprint,
    setup: str,
    codecs: Iterable[tuple[int, str]],
    ssrc: int,
    candidate: Address | None = None,
    mid_extension: int | None = None,
    extra: Iterable[str] = (),
) -> str:
    """An offer with the sections named in ``contents`` in their order, ``audio`` and ``data``, all
    in one BUNDLE group. ``ice`` is ufrag and password. ``candidate`` is the one address that the
    client has, for servers that check as well; ``mid_extension`` the number of the header
    extension for MID, where there is to be one; ``extra`` are further lines for every section,
    without their ends."""

    named = ""
    if mid_extension is not None:
        named = f"a=extmap:{mid_extension} {MID_EXTENSION}\r\n"
    more = "".join(f"{line}\r\n" for line in extra)

    def transport(mid: int) -> str:
        host = (
            f"a=candidate:1 1 udp 2130706431 {candidate.ip} {candidate.port} typ host\r\n"
            "a=end-of-candidates\r\n"
            if candidate is not None
            else ""
        )
        return (
            f"a=ice-ufrag:{ice[0]}\r\n"
            f"a=ice-pwd:{ice[1]}\r\n"
            "a=ice-options:trickle\r\n"
            f"a=fingerprint:{fingerprint}\r\n"
            f"a=setup:{setup}\r\n"
            f"a=mid:{mid}\r\n"
            f"{host}{more}"
        )

    sections = []
    for mid, kind in enumerate(contents):
        if kind == "audio":
            numbers = " ".join(str(number) for number, _ in codecs)
            maps = "".join(f"a=rtpmap:{number} {name}\r\n" for number, name in codecs)
            sections.append(
                f"m=audio 9 UDP/TLS/RTP/SAVPF {numbers}\r\n"
                "c=IN IP4 0.0.0.0\r\n"
                "a=rtcp:9 IN IP4 0.0.0.0\r\n"
                f"{transport(mid)}"
                f"{named}"
                "a=sendrecv\r\n"
                "a=rtcp-mux\r\n"
                f"{maps}"
                f"a=ssrc:{ssrc} cname:client\r\n"
            )
        else:
            sections.append(
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
                "c=IN IP4 0.0.0.0\r\n"
                f"{transport(mid)}"
                "a=sctp-port:5000\r\n"
                "a=max-message-size:262144\r\n"
            )
    mids = " ".join(str(mid) for mid in range(len(sections)))
    head = f"v=0\r\no=- {session_id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    return f"{head}a=group:BUNDLE {mids}\r\n{''.join(sections)}"
