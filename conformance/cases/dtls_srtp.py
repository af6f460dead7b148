"""What DTLS agrees on for SRTP, and which certificate the offer may name, in which words.

Both tie media to signalling: use_srtp to the keys of this handshake, the fingerprint to whoever
wrote the offer. What audio then does under these keys is asked in ``srtp_protection``.
"""

import hashlib
from collections.abc import Callable
from functools import partial

from conformance.case import Blocked, Case, Level, Observed, Rule, Seen, case
from conformance.client import fixed_identity
from conformance.probe.dtls import (
    COMPLETED,
    NOT_COMPLETED,
    NOT_REFUSED_IN_TIME,
    REFUSED_IN_TIME,
    Handshaken,
    Refusal,
)
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_hello import use_srtp
from conformance.probe.profiles import DTLS_AND_SDP, DTLS_AND_SRTP
from conformance.probe.sdp_changes import naming
from conformance.stage import Stage
from transceiver.dtls.extensions import Extension, decode_use_srtp_untrusted
from transceiver.keying import SrtpProfile

UNKNOWN_PROFILE = 0x5A5A
UNKNOWN_MKI = b"\x01\x02\x03\x04"


class Used(Seen):
    """What a server makes of use_srtp."""

    PICKED = "it picked a profile that was offered, and the handshake ended with keys"
    ECHOED = "it picked one and gave the MKI back"
    WITHOUT = "it does without SRTP, and the handshake ended with keys"
    NOT_OFFERED = "it picked a profile that was not offered, or several"
    REFUSED = "it does not go on"
    BROKEN = "the handshake ended in another way"


def _use(stage: Stage, body: bytes | None) -> Observed:
    """Offer that use_srtp, and say what came of it."""
    puppet = ClientPuppet.reach(stage)
    puppet.offer = puppet.offer.with_extension(Extension.USE_SRTP, body)
    seen, detail = puppet.handshake(tries=2)
    match seen:
        case Handshaken.UNANSWERED | Handshaken.ALERTED if puppet.server_hello is None:
            return Used.REFUSED, detail
        case Handshaken.UNSOUND if detail.startswith(("SRTP profiles", "extension 14,")):
            return Used.NOT_OFFERED, detail
        case Handshaken.COMPLETED:
            used = puppet.server_hello.extensions.get(Extension.USE_SRTP)
            if used is None:
                return Used.WITHOUT
            chosen = decode_use_srtp_untrusted(used)
            return (Used.ECHOED if chosen.mki else Used.PICKED), f"{chosen.profiles[0]:#06x}"
    return Used.BROKEN, f"{seen.value} {detail}".strip()


def _profiles(*numbers: int, mki: bytes = b"") -> Callable[[Stage], Observed]:
    return lambda stage: _use(stage, use_srtp(numbers, mki))


mki_is_not_echoed = case(
    "rfc5764/4.1.3/mki-of-the-client",
    "A server that gets an MKI gives the same back or none.",
    sends="use_srtp with all profiles and an MKI of four bytes",
    profiles=DTLS_AND_SRTP,
    good=(Used.PICKED, Used.ECHOED),
    bad=(Used.WITHOUT, Used.NOT_OFFERED, Used.REFUSED, Used.BROKEN),
    requirements=("rfc5764/4.1.3/4",),
    traps=("DTLS 13",),
)(_profiles(7, 8, 1, mki=UNKNOWN_MKI))

mki_of_no_use = case(
    "traps/dtls/mki-echoed",
    "A server that does not use MKIs gives none back: from then on every packet would need it.",
    sends="use_srtp with one profile and an MKI of four bytes",
    profiles=DTLS_AND_SRTP,
    level=Level.SHOULD,
    good=(Used.PICKED,),
    bad=(Used.ECHOED, Used.WITHOUT, Used.NOT_OFFERED, Used.REFUSED, Used.BROKEN),
    requirements=("rfc5764/4.1.3/4",),
    traps=("DTLS 13",),
)(_profiles(1, mki=UNKNOWN_MKI))

longest_mki = case(
    "rfc5764/4.1.3/longest-mki",
    "The longest MKI there is does no harm.",
    sends="use_srtp with an MKI of 255 bytes",
    profiles=DTLS_AND_SRTP,
    good=(Used.PICKED, Used.ECHOED),
    lenient=(Used.REFUSED,),
    bad=(Used.WITHOUT, Used.NOT_OFFERED, Used.BROKEN),
    requirements=("rfc5764/4.1.3/4",),
    traps=("DTLS 13",),
)(_profiles(1, 7, mki=bytes(range(255))))

unknown_profiles_alone = case(
    "rfc5764/4.1.1/unknown-profiles-alone",
    "A server never picks a profile that the client has not offered.",
    sends="use_srtp with one profile that nobody has defined",
    profiles=DTLS_AND_SRTP,
    good=(Used.REFUSED, Used.WITHOUT),
    bad=(Used.PICKED, Used.ECHOED, Used.NOT_OFFERED, Used.BROKEN),
    requirements=("rfc5764/4.1.1/4",),
)(_profiles(UNKNOWN_PROFILE))

unknown_profiles_first = case(
    "rfc5764/4.1.1/unknown-profiles-first",
    "Profiles that a server does not know are passed over.",
    sends="use_srtp with a profile of nobody before and behind AES128_CM_SHA1_80",
    profiles=DTLS_AND_SRTP,
    good=(Used.PICKED,),
    bad=(Used.ECHOED, Used.WITHOUT, Used.NOT_OFFERED, Used.REFUSED, Used.BROKEN),
    requirements=("rfc5764/4.1.1/2", "rfc5764/4.1.1/3"),
)(_profiles(UNKNOWN_PROFILE, 1, 0x0A0A))

mandatory_profile = case(
    "rfc8827/6.5/aes128-cm-sha1-80",
    "AES128_CM_SHA1_80 is there for whoever offers nothing else.",
    sends="use_srtp with AES128_CM_SHA1_80 alone",
    profiles=DTLS_AND_SRTP,
    good=(Used.PICKED,),
    bad=(Used.ECHOED, Used.WITHOUT, Used.NOT_OFFERED, Used.REFUSED, Used.BROKEN),
    requirements=("rfc5764/4.1.1/2",),
)(_profiles(1))

EACH_GCM = tuple(
    case(
        f"rfc7714/14.2/{profile.name.lower().replace('_', '-')}",
        f"{profile.name} is agreed on where the client offers nothing else.",
        sends=f"use_srtp with {profile.name} alone",
        profiles=DTLS_AND_SRTP,
        level=Level.MAY,
        good=(Used.PICKED,),
        bad=(Used.ECHOED, Used.WITHOUT, Used.NOT_OFFERED, Used.REFUSED, Used.BROKEN),
        traps=("Facts",),
    )(_profiles(profile.value))
    for profile in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
)

no_use_srtp = case(
    "rfc5764/4.1/no-use-srtp",
    "A server does not agree to an SRTP that the client has not offered.",
    sends="a ClientHello without use_srtp",
    profiles=DTLS_AND_SRTP,
    good=(Used.REFUSED, Used.WITHOUT),
    bad=(Used.PICKED, Used.ECHOED, Used.NOT_OFFERED, Used.BROKEN),
)(lambda stage: _use(stage, None))

BROKEN_USE_SRTP = tuple(
    case(
        f"rfc5764/4.1.1/{name}",
        "A use_srtp that cannot be read is refused.",
        sends=f"a use_srtp {what}",
        profiles=DTLS_AND_SRTP,
        good=(Used.REFUSED,),
        lenient=(Used.WITHOUT,),
        bad=(Used.PICKED, Used.ECHOED, Used.NOT_OFFERED, Used.BROKEN),
        traps=("DTLS 11",),
    )(partial(_use, body=body))
    for name, what, body in (
        ("half-a-profile", "that ends inside a profile", b"\x00\x03\x00\x01\x00\x00"),
        ("mki-past-the-end", "whose MKI is longer than the extension", b"\x00\x02\x00\x01\x10\x00"),
        ("no-mki-field", "without the length of its MKI", b"\x00\x02\x00\x01"),
        ("empty-use-srtp", "of no bytes", b""),
    )
)

# --- fingerprints in the offer ------------------------------------------------------------------


def _named(rule: Rule, *, sends: str, lines: Callable[[bytes], list[str]]) -> Case:
    """A handshake after an offer that names our certificate in those lines."""

    @rule.asked(sends=sends, profiles=DTLS_AND_SDP, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        identity = fixed_identity(stage.entropy)
        try:
            puppet = ClientPuppet.reach(
                stage, identity=identity, edit=naming(lines(identity.certificate_der))
            )
        except Blocked as error:
            ClientPuppet.reach(stage)  # whoever answers nobody has nothing against these lines
            return Handshaken.UNANSWERED, str(error)
        return puppet.handshake()

    return steps


def _line(der: bytes, algorithm: str) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), der).digest()
    return f"{algorithm} {digest.hex(':').upper()}"


def _of_another(der: bytes, algorithm: str = "sha-256") -> str:
    return _line(der[::-1], algorithm)


upper_case = _named(
    Rule(
        "traps/dtls/fingerprint-in-capitals",
        "The name of the hash is the same in capitals.",
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:SHA-256",
    lines=lambda der: [_line(der, "sha-256").replace("sha", "SHA")],
)

lower_case_digits = _named(
    Rule(
        "rfc8122/5/digits-in-lower-case",
        "A fingerprint's digits are the same in lower case.",
        level=Level.SHOULD,  # the grammar knows capitals alone, and clients send both
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:sha-256 with its digits in lower case",
    lines=lambda der: [_line(der, "sha-256").lower()],
)

sha_384 = _named(
    Rule(
        "rfc8122/5/sha-384",
        "A certificate named by its SHA-384 digest is recognised.",
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:sha-384 alone",
    lines=lambda der: [_line(der, "sha-384")],
)

sha_512 = _named(
    Rule(
        "rfc8122/5/sha-512",
        "A certificate named by its SHA-512 digest is recognised.",
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:sha-512 alone",
    lines=lambda der: [_line(der, "sha-512")],
)

several_digests = _named(
    Rule(
        "rfc8122/5/several-digests",
        "A certificate named by several digests is recognised.",
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:sha-256, sha-384 and sha-512, all of our certificate",
    lines=lambda der: [_line(der, each) for each in ("sha-256", "sha-384", "sha-512")],
)

several_certificates = _named(
    Rule(
        "rfc8122/5/several-certificates",
        "Of several certificates that an offer names, any may be shown.",
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="two a=fingerprint:sha-256, the first of another certificate",
    lines=lambda der: [_of_another(der), _line(der, "sha-256")],
)

unknown_digest_first = _named(
    Rule(
        "rfc8122/5/unknown-hash",
        "A fingerprint by a hash that nobody knows is passed over where there is another.",
        level=Level.SHOULD,
        requirements=("rfc8842/5.1/6",),
        traps=("DTLS 12", "Facts"),
    ),
    sends="a=fingerprint:sha3-999, then sha-256",
    lines=lambda der: ["sha3-999 " + ":".join(["AB"] * 20), _line(der, "sha-256")],
)


@case(
    "rfc8122/5/strongest-digest-counts",
    "Where digests of several hashes are given, a weaker one does not let in what a stronger one "
    "keeps out.",
    sends="a=fingerprint:sha-256 of our certificate and sha-512 of another one",
    profiles=DTLS_AND_SDP,
    level=Level.SHOULD,
    good=(*REFUSED_IN_TIME, Refusal.STUCK),
    bad=NOT_REFUSED_IN_TIME,
    requirements=("rfc8842/5.1/7",),
    traps=("DTLS 12",),
)
def strongest_digest_counts(stage: Stage) -> Observed:
    identity = fixed_identity(stage.entropy)
    der = identity.certificate_der
    lines = [_line(der, "sha-256"), _of_another(der, "sha-512")]
    puppet = ClientPuppet.reach(stage, identity=identity, edit=naming(lines))
    puppet.need_flight()
    puppet.send_second()
    puppet.wait(puppet.patience, lambda: puppet.is_finished or puppet.fatal)
    return _refusal_by_use(puppet)


def _refusal_by_use(puppet: ClientPuppet) -> tuple[Refusal, str]:
    """No handshake can end well here, so none is tried afterwards."""
    if puppet.is_finished:
        return puppet.flight_refusal(by_use=True)
    return puppet.refusal(False, lambda: puppet.alive)


@case(
    "rfc8842/5.1/fingerprint-of-nobody",
    "A client whose offer names another certificate under every hash is not let in.",
    sends="a=fingerprint:sha-256 of another certificate",
    profiles=DTLS_AND_SDP,
    good=(*REFUSED_IN_TIME, Refusal.STUCK),
    bad=NOT_REFUSED_IN_TIME,
    requirements=("rfc8842/5.1/7",),
    traps=("DTLS 10",),
)
def fingerprint_of_nobody(stage: Stage) -> Observed:
    identity = fixed_identity(stage.entropy)
    puppet = ClientPuppet.reach(
        stage, identity=identity, edit=naming([_of_another(identity.certificate_der)])
    )
    puppet.need_flight()
    puppet.send_second()
    puppet.wait(puppet.patience, lambda: puppet.is_finished or puppet.fatal)
    return _refusal_by_use(puppet)
