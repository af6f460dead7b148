"""One port for everything: RFC 7983 and RFC 9443, before a call has keys.

Each case sends what would be taken for something if its first byte were read as belonging to a
neighbour: a check that is right but for it, a ClientHello that is right but for it. What is only
noise would not tell a server that sorts wrongly from one that sorts well.
"""

from collections.abc import Callable
from functools import partial

from conformance.case import Case, Level, Observed, Profile, Rule
from conformance.probe.call import Call
from conformance.probe.demux import Sorted, garbage, hello_record, sort, waiting
from conformance.probe.profiles import ICE, ICE_AND_DTLS
from conformance.probe.stun import check
from conformance.probe.stun_draft import draft
from conformance.stage import Stage

RANGES = {
    "STUN": range(4),
    "nobody": range(4, 16),
    "ZRTP": range(16, 20),
    "DTLS": range(20, 64),
    "TURN channels": range(64, 80),
    "QUIC": range(80, 128),
}
REQUIRED = {
    "STUN": ("rfc9443/3/1",),
    "nobody": ("rfc7983/6/1", "rfc9443/3/3"),
    "ZRTP": ("rfc7983/6/1", "rfc9443/3/5"),
    "DTLS": ("rfc9443/3/1",),
    "TURN channels": ("rfc7983/6/1", "rfc9443/3/4"),
    "QUIC": ("rfc7983/6/1", "rfc9443/3/2"),
}


def _owner(octet: int) -> str:
    return next((name for name, octets in RANGES.items() if octet in octets), "QUIC")


def _case(
    rule: Rule,
    sends: str,
    make: Callable[[Call], list[bytes]],
    *,
    profiles: tuple[Profile, ...] = ICE,
    good: tuple[Sorted, ...] = (Sorted.DROPPED,),
) -> Case:
    """What a server that waits for a ClientHello takes these datagrams for."""

    @rule.asked(
        sends=f"{sends}, to a server that waits for a ClientHello",
        profiles=profiles,
        good=good,
        bad=tuple(each for each in Sorted if each not in good),
    )
    def steps(stage: Stage) -> Observed:
        call = waiting(stage)
        return sort(call, make(call))

    return steps


def _as_check(call: Call, octet: int) -> list[bytes]:
    """A good check but for its first byte, signed and closed as it is."""
    begun = draft(call)
    begun.message_type = octet << 8 | 1
    return [begun.seal(call)]


def _as_hello(call: Call, octet: int) -> list[bytes]:
    return [hello_record(call, octet)]


CHECKS = tuple(
    _case(
        Rule(
            f"rfc9443/3/check-that-begins-with-{octet}",
            f"First byte {octet} belongs to {_owner(octet)}: what is STUN in all else is no "
            "Binding request.",
            requirements=REQUIRED[_owner(octet)],
            traps=("STUN and ICE 13",),
        ),
        f"a signed check whose first byte is {octet}",
        partial(_as_check, octet=octet),
    )
    for octet in (3, 4, 15, 16, 19, 20, 63, 79, 80)
)

HELLOS = tuple(
    _case(
        Rule(
            f"rfc9443/3/hello-that-begins-with-{octet}",
            f"First byte {octet} belongs to {_owner(octet)}: what is a ClientHello in all else is "
            "none.",
            requirements=REQUIRED[_owner(octet)],
            traps=("STUN and ICE 13",),
        ),
        f"a ClientHello in a record whose first byte is {octet}",
        partial(_as_hello, octet=octet),
        profiles=ICE_AND_DTLS,
    )
    for octet in (0, 19, 64, 127, 255)
)

UNKNOWN_RECORDS = tuple(
    _case(
        Rule(
            f"rfc9443/3/hello-that-begins-with-{octet}",
            f"First byte {octet} is DTLS's, which has no handshake there: such a record is "
            "dropped, and ends no call.",
            level=Level.SHOULD,
            requirements=REQUIRED[_owner(octet)],
            traps=("STUN and ICE 13", "DTLS 7"),
        ),
        f"a ClientHello in a record whose first byte is {octet}",
        partial(_as_hello, octet=octet),
        profiles=ICE_AND_DTLS,
    )
    for octet in (20, 63)
)

control = _case(
    Rule(
        "rfc9443/3/hello-that-begins-with-22",
        "First bytes 20 to 63 are DTLS's: a ClientHello is answered.",
        requirements=("rfc9443/3/1",),
        traps=("STUN and ICE 13",),
    ),
    "a ClientHello",
    partial(_as_hello, octet=22),
    profiles=ICE_AND_DTLS,
    good=(Sorted.ANSWERED,),
)


def _channel(call: Call) -> list[bytes]:
    """TURN channel data that carries a good check."""
    inner = check(call)
    return [b"\x40\x00" + len(inner).to_bytes(2, "big") + inner]


def _quic(call: Call) -> list[bytes]:
    """An Initial packet of QUIC, version 1, of the length that one has, and a short one."""
    identity = call.stage.entropy(8)
    head = b"\xc3\0\0\0\1" + b"\x08" + identity + b"\0" + b"\0" + b"\x44\x9e"
    short = b"\x43" + identity + call.stage.entropy(30)
    return [head + call.stage.entropy(1200 - len(head)), short, b"\x73" + short[1:]]


def _zrtp(call: Call) -> list[bytes]:
    """The beginning of a ZRTP Hello: its cookie is in the place of STUN's."""
    return [b"\x10\0\0\x01ZRTP" + call.stage.entropy(4) + b"PZ\0\x1dHello   " + bytes(100)]


def _every_octet(call: Call) -> list[bytes]:
    return [garbage(call, octet) for octet in range(256)]


def _every_lone_octet(call: Call) -> list[bytes]:
    return [bytes([octet]) for octet in range(256)]


OTHERS = (
    _case(
        Rule(
            "traps/demux/empty-datagram",
            "A datagram without an byte is nothing.",
            traps=("STUN and ICE 13",),
        ),
        "empty datagrams",
        lambda call: [b"", b""],
    ),
    _case(
        Rule(
            "traps/demux/lone-octets",
            "A datagram of one byte is too short for everything.",
            requirements=("rfc7983/6/1",),
            traps=("STUN and ICE 1", "STUN and ICE 13"),
        ),
        "each byte alone in a datagram",
        _every_lone_octet,
    ),
    _case(
        Rule(
            "traps/demux/noise",
            "Noise is nothing, whatever it begins with.",
            requirements=("rfc7983/6/1", "rfc9443/3/1"),
            traps=("STUN and ICE 13",),
        ),
        "forty random bytes behind each first byte there is",
        _every_octet,
    ),
    _case(
        Rule(
            "rfc7983/7/channel-data",
            "Channel data belongs to a TURN client: what it wraps is not unwrapped here.",
            requirements=("rfc9443/3/4",),
            traps=("STUN and ICE 13",),
        ),
        "TURN channel data that carries a good check",
        _channel,
    ),
    _case(
        Rule(
            "rfc9443/3/quic",
            "Packets of QUIC are dropped by who does not speak it.",
            requirements=("rfc9443/3/2", "rfc7983/6/1"),
            traps=("STUN and ICE 13",),
        ),
        "an Initial packet of QUIC, a short one and one from the middle of the range",
        _quic,
    ),
    _case(
        Rule(
            "rfc7983/7/zrtp",
            "Packets of ZRTP are dropped by who does not speak it.",
            requirements=("rfc9443/3/5", "rfc7983/6/1"),
            traps=("STUN and ICE 13",),
        ),
        "a ZRTP Hello",
        _zrtp,
    ),
    _case(
        Rule(
            "rfc5764/5.1/media-before-keys",
            "Media that comes before there are keys is not answered, and does not stand in their "
            "way.",
            requirements=("rfc5764/5.1/1", "rfc9443/3/1"),
            traps=("STUN and ICE 13",),
        ),
        "RTP and RTCP in the clear",
        lambda call: [
            b"\x80\x6f\0\1\0\0\0\1\1\2\3\4" + call.stage.entropy(40),
            b"\x80\xc8\0\6\1\2\3\4" + call.stage.entropy(20),
        ],
    ),
)
