"""What a server says that is the DTLS client: its hello, and its hello with a cookie.

The hello is what everything after it is negotiated from, and comes without a question; so most of
these only listen.
"""

from collections.abc import Callable

import attrs

from conformance.case import Blocked, Case, Level, Observed, Profile, Rule
from conformance.probe.dtls import COMPLETED, NOT_COMPLETED, Handshaken, Odd
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.dtls_wire import Packing, apart, in_pieces
from conformance.probe.look import Checked, checked
from conformance.probe.profiles import DTLS, DTLS_AND_SRTP
from conformance.stage import Stage
from transceiver.dtls.extensions import Extension
from transceiver.dtls.record import DTLS_1_0, DTLS_1_2
from transceiver.keying import SrtpProfile

# --- the hello ----------------------------------------------------------------------------------


def _offers(
    rule: Rule, look: Callable[[ServerPuppet], str | None], *, profiles: tuple[Profile, ...] = DTLS
) -> Case:
    """A look at the server's ClientHello. ``look`` says what is wrong with it."""

    @rule.asked(
        sends="nothing: the ClientHello is looked at",
        profiles=profiles,
        good=(Checked.RIGHT,),
        bad=(Checked.WRONG,),
    )
    def steps(stage: Stage) -> Observed:
        puppet = ServerPuppet.reach(stage)
        try:
            if not puppet.hear_hello():
                raise Blocked("the server sends no ClientHello")
        except Odd as error:
            return Checked.WRONG, str(error)
        return checked(look(puppet))

    return steps


def _broken_suites(puppet: ServerPuppet) -> str | None:
    """RC4, NULL, export, and what has no forward secrecy at all among the oldest."""
    broken = {0x0001, 0x0002, 0x0004, 0x0005, 0x0018, 0xC001, 0xC002, 0xC006, 0xC007, 0xC010}
    broken |= {0xC011, 0xC015, 0xC016}
    found = broken.intersection(puppet.offer.cipher_suites)
    return f"suites {sorted(map(hex, found))}" if found else None


mandatory_suite = _offers(
    Rule("rfc8827/6.5/mandatory-suite", "A client offers the suite that every WebRTC stack has."),
    lambda puppet: None if 0xC02B in puppet.offer.cipher_suites else "0xc02b is not offered",
)

no_broken_suites = _offers(
    Rule(
        "rfc6347/4.1.2.2/no-rc4",
        "A client offers no RC4, which DTLS cannot use, and no suite without encryption.",
        requirements=("rfc6347/4.1.2.2/1",),
    ),
    _broken_suites,
)

null_compression = _offers(
    Rule("rfc7525/3.3/no-compression", "A client offers no compression.", level=Level.SHOULD),
    lambda puppet: None if puppet.offer.compression == b"\x00" else "methods beside null",
)

offers_extended_secret = _offers(
    Rule(
        "rfc7627/5.1/extended-master-secret-offered",
        "A client offers the extended master secret.",
        level=Level.SHOULD,
        traps=("DTLS 11",),
    ),
    lambda puppet: (
        None if Extension.EXTENDED_MASTER_SECRET in puppet.offer.extensions else "it is not offered"
    ),
)

offers_srtp = _offers(
    Rule(
        "rfc5764/4.1.1/use-srtp-offered",
        "A client that was promised audio offers SRTP, with AES128_CM_SHA1_80 among the profiles.",
        requirements=("rfc5764/4.1.1/1",),
    ),
    lambda puppet: (
        None
        if SrtpProfile.AES128_CM_SHA1_80.value in puppet.offered_profiles()
        else f"profiles {puppet.offered_profiles()}"
    ),
    profiles=DTLS_AND_SRTP,
)

hello_version = _offers(
    Rule(
        "rfc6347/4.2.1/version-of-the-hello",
        "A client of DTLS 1.2 says 1.2 in its hello and leaves the cookie empty.",
    ),
    lambda puppet: (
        None
        if puppet.offer.version == DTLS_1_2 and not puppet.offer.cookie
        else f"version {puppet.offer.version:#06x}, a cookie of {len(puppet.offer.cookie)} bytes"
    ),
)

# --- cookies ------------------------------------------------------------------------------------


def _verified(
    rule: Rule,
    *,
    sends: str,
    cookie: bytes = bytes(range(32)),
    version: int = DTLS_1_2,
    pack: Packing = apart,
    lost: bool = False,
) -> Case:
    """A handshake with the exchange of a cookie before it; ``lost``: the hello with the cookie is
    not heard the first time."""

    @rule.asked(sends=sends, profiles=DTLS, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        puppet = ServerPuppet.reach(stage)
        puppet.need_hello()
        first = puppet.offer
        puppet.ask_cookie(cookie, version=version, pack=pack)
        try:
            if not puppet.hear_hello(1):
                return puppet.failure(Handshaken.UNANSWERED)
            if lost and not puppet.hello_again():
                return puppet.failure(Handshaken.UNANSWERED)
        except Odd as error:
            return Handshaken.UNSOUND, str(error)
        if puppet.offer.cookie != cookie:
            return Handshaken.UNSOUND, "another cookie than it was given"
        if attrs.evolve(puppet.offer, cookie=b"") != first:
            return Handshaken.UNSOUND, "the hello with the cookie differs from the first"
        return puppet.handshake()

    return steps


cookie = _verified(
    Rule(
        "rfc6347/4.2.1/hello-with-cookie",
        "A client that is asked for a cookie says the same hello with it, and nothing before that "
        "counts in what is signed and hashed.",
        requirements=("rfc6347/4.2.1/2", "rfc6347/4.2.1/6", "rfc6347/4.2.1/18", "rfc6347/4.2.6/2"),
        traps=("DTLS 2", "Facts"),
    ),
    sends="a HelloVerifyRequest with a cookie of 32 bytes, then a handshake",
)

old_version_cookie = _verified(
    Rule(
        "rfc6347/4.2.1/cookie-of-version-1.0",
        "From a request for a cookie of version 1.0 a client concludes nothing.",
        requirements=("rfc6347/4.2.1/4", "rfc6347/4.2.1/5", "rfc6347/5/2"),
        traps=("DTLS 2",),
    ),
    sends="a HelloVerifyRequest of version 1.0, then a handshake of version 1.2",
    version=DTLS_1_0,
)

longest_cookie = _verified(
    Rule(
        "rfc6347/4.2.1/longest-cookie",
        "A cookie may have 255 bytes.",
        requirements=("rfc6347/4.2.1/2",),
        traps=("DTLS 2",),
    ),
    sends="a HelloVerifyRequest with a cookie of 255 bytes, then a handshake",
    cookie=bytes(range(255)),
)

cookie_in_fragments = _verified(
    Rule(
        "traps/dtls/cookie-in-fragments",
        "A request for a cookie may come in fragments.",
        requirements=("rfc6347/4.2.3/4",),
        traps=("DTLS 2",),
    ),
    sends="a HelloVerifyRequest in pieces of 10 bytes, then a handshake",
    pack=in_pieces(10),
)

cookie_lost = _verified(
    Rule(
        "traps/dtls/hello-with-cookie-lost",
        "A client whose hello with the cookie is lost says it again.",
        traps=("DTLS 2",),
    ),
    sends="a HelloVerifyRequest, nothing to the first hello with the cookie, then a handshake",
    lost=True,
)
