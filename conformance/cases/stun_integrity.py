"""Proof of who sent a message: RFC 8489, sections 9.1.3, 14.5 and 14.6.

Each check is good but for its proof, or for what the proof covers. A server may refuse such a
request or keep silent, lest strangers make it send; it must not give it success.
"""

from functools import partial

from conformance.case import Oracle, Rule
from conformance.probe.profiles import ICE
from conformance.probe.stun import Answered, Asker, check, credentials
from conformance.probe.stun_draft import Draft, draft
from conformance.probe.stun_questions import INCOMPLETE, TAKEN, UNPROVED, question
from stunroute import stun

NEWER = Oracle(
    good=TAKEN.good,
    lenient=(
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.BAD_REQUEST,
        Answered.UNAUTHENTICATED,
        Answered.SILENCE,
    ),
    bad=(
        Answered.UNSOUND,
        Answered.ROLE_CONFLICT,
        Answered.OTHER_ERROR,
        Answered.DEAD,
        Answered.GARBAGE,
    ),
)
"""RFC 8445 builds on RFC 5389, which does not know SHA-256: to its servers such a request is not
signed at all, and what may become of that may become of this. WebRTC never asks."""

FORGED = Oracle(
    good=(Answered.UNAUTHENTICATED, Answered.UNKNOWN_ATTRIBUTE),
    lenient=(Answered.SILENCE, Answered.BAD_REQUEST),
    bad=(
        Answered.SUCCESS,
        Answered.UNSOUND,
        Answered.ROLE_CONFLICT,
        Answered.OTHER_ERROR,
        Answered.GARBAGE,
        Answered.DEAD,
    ),
)
"""``UNPROVED`` where SHA-256 is what proves nothing."""


def _password(asker: Asker) -> bytes:
    known = credentials(asker)
    return known[1] if known is not None else b""


def _sha1(asker: Asker, *, size: int = 20, flipped: bool = False) -> bytes:
    return draft(asker).sign(_password(asker), size=size, flipped=flipped).close().message()


def _sha256(asker: Asker, *, size: int = 32, flipped: bool = False) -> bytes:
    return draft(asker).sign_sha256(_password(asker), size=size, flipped=flipped).close().message()


def _two(asker: Asker, *, first: bool, second: bool) -> bytes:
    """Both integrities, each right or not."""
    password = _password(asker)
    begun = draft(asker).sign(password, flipped=not first)
    return begun.sign_sha256(password, flipped=not second).close().message()


def _nobody(asker: Asker) -> bytes:
    """Signed, and silent about who signed it."""
    return check(asker, username=b"")


def _fingerprint_first(asker: Asker) -> bytes:
    return draft(asker).close().sign(_password(asker)).message()


def _length_of_all(asker: Asker) -> bytes:
    """The hash covers the length of the whole message, where it should end with itself."""
    begun = draft(asker)
    covered = begun.message(length=len(begun.body) + 24 + 8)
    digest = stun.IntegrityKey(_password(asker)).sha1(covered)
    return begun.add(stun.Attribute.MESSAGE_INTEGRITY, digest).close().message()


def _changed(asker: Asker, at: int) -> bytes:
    """A good check, changed on its way; FINGERPRINT is made right again."""
    begun = draft(asker).sign(_password(asker))
    body = bytearray(begun.body)
    body[at] ^= 1
    return Draft(begun.transaction_id, body=bytes(body)).close().message()


MISSING = (
    question(
        Rule(
            "rfc8489/9.1.3/no-credentials",
            "A request with neither USERNAME nor integrity is refused with 400.",
            requirements=("rfc8489/9.1.3/1", "rfc8489/9.1.3/2", "rfc8445/7.3/2"),
            traps=("STUN and ICE 4",),
        ),
        sends="a Binding request with FINGERPRINT alone",
        oracle=INCOMPLETE,
        profiles=ICE,
        request=lambda asker: Draft(asker.stage.entropy(12)).close().message(),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/nothing-at-all",
            "A request without any attribute is refused with 400 where credentials are wanted.",
            requirements=("rfc8489/9.1.3/1", "rfc8489/9.1.3/2"),
            traps=("STUN and ICE 4",),
        ),
        sends="the header of a Binding request",
        oracle=INCOMPLETE,
        profiles=ICE,
        request=lambda asker: Draft(asker.stage.entropy(12)).message(),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/no-integrity",
            "A request with the right USERNAME and no integrity is refused with 400.",
            requirements=("rfc8489/9.1.3/1", "rfc8489/9.1.3/2", "rfc8445/7.3/2"),
            traps=("STUN and ICE 4", "STUN and ICE 5"),
        ),
        sends="a check with FINGERPRINT that is not signed",
        oracle=INCOMPLETE,
        profiles=ICE,
        request=lambda asker: check(asker, signed=False),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/no-username",
            "A request that is signed and names nobody is refused with 400.",
            requirements=("rfc8489/9.1.3/1", "rfc8489/9.1.3/2"),
            traps=("STUN and ICE 4",),
        ),
        sends="a signed check without USERNAME",
        oracle=INCOMPLETE,
        profiles=ICE,
        request=_nobody,
    ),
)

WRONG = (
    question(
        Rule(
            "rfc8489/9.1.3/wrong-password",
            "A request whose integrity does not verify is not answered as if it did.",
            traps=("STUN and ICE 5",),
        ),
        sends="a check signed with another password",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: check(asker, password=b"not the password that was told"),
        known=False,
    ),
    question(
        Rule(
            "rfc8489/9.1.3/one-bit-off",
            "An integrity that is wrong in its last bit proves nothing.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
            traps=("STUN and ICE 5",),
        ),
        sends="a check whose MESSAGE-INTEGRITY is off by one bit",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: _sha1(asker, flipped=True),
    ),
    question(
        Rule(
            "rfc8489/14.5/integrity-cut",
            "MESSAGE-INTEGRITY has twenty bytes, and fewer prove nothing.",
        ),
        sends="a check whose MESSAGE-INTEGRITY is the first four bytes of the right one",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: _sha1(asker, size=4),
    ),
    question(
        Rule("rfc8489/14.5/integrity-empty", "An integrity without a value proves nothing."),
        sends="a check with an empty MESSAGE-INTEGRITY",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: _sha1(asker, size=0),
    ),
    question(
        Rule("rfc8489/14.5/integrity-too-long", "MESSAGE-INTEGRITY has twenty bytes, not more."),
        sends="a check whose MESSAGE-INTEGRITY has four zeros behind the right value",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: _sha1(asker, size=24),
    ),
    question(
        Rule(
            "rfc8489/14.5/length-that-is-covered",
            "The hash covers the header with the length as if the message ended with the "
            "integrity.",
        ),
        sends="a check whose hash covers the length that counts FINGERPRINT too",
        oracle=UNPROVED,
        profiles=ICE,
        request=_length_of_all,
    ),
    question(
        Rule(
            "rfc8489/14.5/changed-on-the-way",
            "The hash covers every attribute before it.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
        ),
        sends="a good check, one bit of its PRIORITY turned over and its FINGERPRINT made right",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: _changed(asker, _offset_of_priority(asker)),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/empty-password",
            "Nobody is let in with an empty password.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
        ),
        sends="a check signed with an empty key",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: check(asker, password=b""),
    ),
    question(
        Rule(
            "rfc8489/14.7/fingerprint-before-integrity",
            "FINGERPRINT comes last: an integrity behind it is not read.",
            requirements=("rfc8489/14.7/2",),
        ),
        sends="a check whose FINGERPRINT stands before MESSAGE-INTEGRITY",
        oracle=Oracle(
            good=(Answered.SILENCE, Answered.BAD_REQUEST, Answered.UNAUTHENTICATED),
            lenient=(Answered.SUCCESS,),  # it did prove itself
            bad=(
                Answered.UNSOUND,
                Answered.UNKNOWN_ATTRIBUTE,
                Answered.ROLE_CONFLICT,
                Answered.OTHER_ERROR,
                Answered.GARBAGE,
                Answered.DEAD,
            ),
        ),
        profiles=ICE,
        request=_fingerprint_first,
    ),
    question(
        Rule(
            "rfc8489/6.3/proof-before-attributes",
            "Credentials are looked at before attributes: a stranger learns nothing of what is "
            "known here.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
            traps=("STUN and ICE 3",),
        ),
        sends="a check signed with another password that carries attribute 0x7ffe",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: check(
            asker, password=b"not the password that was told", attributes=[(0x7FFE, b"what")]
        ),
    ),
    question(
        Rule(
            "rfc8445/7.3.1.1/proof-before-roles",
            "Credentials are looked at before roles: a stranger makes no conflict.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
            traps=("STUN and ICE 6",),
        ),
        sends="a check in the controlled role, signed with another password",
        oracle=UNPROVED,
        profiles=ICE,
        request=lambda asker: check(
            asker,
            password=b"not the password that was told",
            controlling=None,
            controlled=2**64 - 1,
        ),
    ),
)


def _offset_of_priority(asker: Asker) -> int:
    return draft(asker).body.index(stun.Attribute.PRIORITY.to_bytes(2, "big") + b"\0\x04") + 7


SHA256 = (
    question(
        Rule("rfc8489/9.1.3/sha256", "A request that is signed with SHA-256 is answered."),
        sends="a check with MESSAGE-INTEGRITY-SHA256 alone",
        oracle=NEWER,
        profiles=ICE,
        request=_sha256,
    ),
    question(
        Rule("rfc8489/9.1.3/sha256-beside-sha1", "A request may be signed in both ways."),
        sends="a check with both integrities, both right",
        oracle=TAKEN.lenient_about(Answered.UNKNOWN_ATTRIBUTE),
        profiles=ICE,
        request=lambda asker: _two(asker, first=True, second=True),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/sha256-decides",
            "Where both integrities are there, SHA-256 decides: a right SHA-1 beside it proves "
            "nothing, or whoever breaks SHA-1 has broken both.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
        ),
        sends="a check whose MESSAGE-INTEGRITY is right and whose MESSAGE-INTEGRITY-SHA256 is not",
        oracle=FORGED,
        profiles=ICE,
        request=lambda asker: _two(asker, first=True, second=False),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/sha256-wrong",
            "An integrity that is wrong in its last bit proves nothing.",
            requirements=("rfc8489/9.1.3/7", "rfc8489/9.1.3/8"),
        ),
        sends="a check whose MESSAGE-INTEGRITY-SHA256 is off by one bit",
        oracle=FORGED,
        profiles=ICE,
        request=lambda asker: _sha256(asker, flipped=True),
    ),
    *(
        question(
            Rule(
                f"rfc8489/14.6/sha256-of-{size}-octets",
                requirement,
                requirements=("rfc8489/14.6/1",),
            ),
            sends=f"a check whose MESSAGE-INTEGRITY-SHA256 is cut to {size} bytes",
            oracle=FORGED,
            profiles=ICE,
            request=partial(_sha256, size=size),
        )
        for size, requirement in (
            (16, "ICE has no cut integrity: what is shorter than 32 bytes proves nothing."),
            (12, "No usage has an integrity of fewer than sixteen bytes."),
            (30, "The length of an integrity is a multiple of four."),
            (4, "An integrity of four bytes proves nothing: it is guessed in a day."),
        )
    ),
)
