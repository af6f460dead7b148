"""Attributes: their form, their order, and which of them a server minds (RFC 8489, section 14).

What is malformed makes the message worthless; what is only unknown, doubled or out of place has its
own rule each, and a server that mixes them up refuses good clients or obeys strangers.
"""

from collections.abc import Callable
from functools import partial

from conformance.case import Case, Level, Observed, Oracle, Rule, case
from conformance.probe.profiles import ICE, STUN_AND_ICE
from conformance.probe.stun import Answered, Asker, check, credentials, probe, reach
from conformance.probe.stun_draft import TIE_BREAKER, Draft, draft
from conformance.probe.stun_questions import DISCARDED, FAULTS, TAKEN, UNREADABLE, question
from conformance.stage import Stage
from stunroute import stun
from stunroute.address import Address

ELSEWHERE = Address.of("198.51.100.7", 7)

REFUSED_OR_SILENT = Oracle(
    good=(Answered.UNAUTHENTICATED, Answered.BAD_REQUEST, Answered.SILENCE),
    bad=(*FAULTS, Answered.SUCCESS, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
)


def _after_integrity(asker: Asker, kind: int, value: bytes) -> bytes:
    """A good request with one more attribute that its integrity does not cover."""
    begun = draft(asker)
    known = credentials(asker)
    if known is not None:
        begun.sign(known[1])
    return begun.add(kind, value).close().message()


def _padded(asker: Asker, octet: int) -> bytes:
    return draft(asker).add(stun.Attribute.SOFTWARE, b"pytho", padding=octet).seal(asker)


def _backwards(asker: Asker) -> bytes:
    """The attributes of a check from last to first."""
    username, _ = credentials(asker) or (b"", b"")
    begun = Draft(asker.stage.entropy(12))
    begun.add(stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(TIE_BREAKER))
    begun.add(stun.Attribute.PRIORITY, stun.encode_uint32(1853824767))
    return begun.add(stun.Attribute.USERNAME, username).seal(asker)


def _username_behind(asker: Asker) -> bytes:
    username, password = credentials(asker) or (b"", b"")
    begun = Draft(asker.stage.entropy(12))
    begun.add(stun.Attribute.PRIORITY, stun.encode_uint32(1853824767))
    begun.add(stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(TIE_BREAKER))
    return begun.sign(password).add(stun.Attribute.USERNAME, username).close().message()


def _with(*attributes: tuple[int, bytes]) -> Callable[[Asker], bytes]:
    return lambda asker: check(asker, attributes=attributes)


@case(
    "rfc8489/6.3.1/unknown-required-attribute",
    "A request with a comprehension-required attribute that the server does not know is refused "
    "with 420, which lists it.",
    sends="a signed check that carries attribute 0x7ffe",
    profiles=STUN_AND_ICE,
    good=(Answered.UNKNOWN_ATTRIBUTE,),
    bad=(
        *FAULTS,
        Answered.SUCCESS,
        Answered.BAD_REQUEST,
        Answered.UNAUTHENTICATED,
        Answered.ROLE_CONFLICT,
        Answered.SILENCE,
    ),
    traps=("STUN and ICE 3",),
)
def unknown_required_attribute(stage: Stage) -> Observed:
    asker = reach(stage)
    reply = probe(asker, check(asker, attributes=[(0x7FFE, b"what")]))
    listed = reply.message.unknown_attributes if reply.message is not None else None
    if reply.kind is Answered.UNKNOWN_ATTRIBUTE and listed != (0x7FFE,):
        return Answered.UNSOUND, f"UNKNOWN-ATTRIBUTES lists {listed}"
    return reply.observed


FORM = (
    question(
        Rule(
            "rfc8489/14/value-runs-past-the-end",
            "An attribute whose value would end behind the message makes the message worthless.",
            requirements=("rfc8489/14/3",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request with an attribute that claims more bytes than are left",
        oracle=DISCARDED,
        request=lambda asker: draft(asker).add(0xBFFF, b"what", length=400).seal(asker),
    ),
    question(
        Rule(
            "rfc8489/14/value-of-0xffff",
            "An attribute that claims 65,535 bytes makes the message worthless, and nobody reads "
            "so far.",
            requirements=("rfc8489/14/3",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request with an attribute of length 0xffff",
        oracle=DISCARDED,
        request=lambda asker: draft(asker).add(0xBFFF, b"what", length=0xFFFF).seal(asker),
    ),
    question(
        Rule(
            "rfc8489/14/last-value-runs-past-the-end",
            "The last attribute ends with the message and not behind it.",
            requirements=("rfc8489/14/2", "rfc8489/14/3"),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request with a SOFTWARE at its end that claims one byte too many",
        oracle=DISCARDED,
        request=lambda asker: (
            Draft(asker.stage.entropy(12), body=draft(asker).body)
            .add(stun.Attribute.SOFTWARE, b"four", length=5)
            .message()
        ),
    ),
    question(
        Rule(
            "rfc8489/14/first-value-swallows-the-rest",
            "Attributes are walked by their lengths: what an unknown one covers is its value, "
            "whatever it looks like.",
            requirements=("rfc8489/14/1",),
        ),
        sends="a check whose attributes, integrity included, lie within the value of another",
        oracle=REFUSED_OR_SILENT,
        profiles=ICE,
        request=lambda asker: _swallowed(asker),
    ),
    *(
        question(
            Rule(
                f"rfc8489/14/padding-of-{name}",
                "What padding holds is ignored.",
                requirements=("rfc8489/14/4",),
                traps=("Facts",),
            ),
            sends=f"a good request with a SOFTWARE of five bytes, padded with {octet:#04x}",
            oracle=TAKEN,
            request=partial(_padded, octet=octet),
        )
        for name, octet in (("spaces", 0x20), ("ones", 0xFF))
    ),
    question(
        Rule(
            "rfc8489/14/empty-value",
            "An attribute may have no value at all.",
            requirements=("rfc8489/14/1", "rfc8489/6.3/1"),
        ),
        sends="a good request with an empty attribute 0xbfff",
        oracle=TAKEN,
        request=_with((0xBFFF, b"")),
    ),
    question(
        Rule(
            "rfc8489/14/thirty-attributes",
            "A message may have many attributes.",
            requirements=("rfc8489/6.3/1",),
        ),
        sends="a good request with thirty small attributes that nobody knows",
        oracle=TAKEN,
        request=_with(*((0xBF00 + number, bytes([number])) for number in range(30))),
    ),
)


def _swallowed(asker: Asker) -> bytes:
    """A good check, inside one optional attribute that takes it all in."""
    inner = check(asker)[stun.HEADER_LENGTH :]
    return Draft(asker.stage.entropy(12)).add(0xBFFF, inner).message()


IGNORED = tuple(
    question(
        rule,
        sends=f"a good request that carries {what}",
        oracle=TAKEN,
        profiles=profiles,
        request=_with(*attributes),
    )
    for rule, what, attributes, profiles in (
        (
            Rule(
                "rfc8489/6.3/unknown-optional-attribute",
                "A comprehension-optional attribute that the server does not know is ignored.",
                requirements=("rfc8489/6.3/1",),
                traps=("STUN and ICE 3",),
            ),
            "attribute 0xbfff",
            [(0xBFFF, b"what")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/first-optional-attribute",
                "Comprehension-optional begins at 0x8000.",
                requirements=("rfc8489/6.3/1",),
            ),
            "attribute 0x8000, which is TURN's",
            [(0x8000, b"\x02\0\0\0")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/last-optional-attribute",
                "Comprehension-optional ends at 0xffff.",
                requirements=("rfc8489/6.3/1",),
            ),
            "attribute 0xffff",
            [(0xFFFF, b"what")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "traps/stun/network-cost",
                "libwebrtc's network cost is an optional attribute like any other.",
                requirements=("rfc8489/6.3/1",),
                traps=("STUN and ICE 3",),
            ),
            "GOOG-NETWORK-INFO (0xc057)",
            [(0xC057, b"\0\x01\x03\xe7")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "traps/stun/dtls-in-stun",
                "A client that carries DTLS in its checks does so before it knows whether the "
                "server can: the attributes are ignored where they mean nothing.",
                requirements=("rfc8489/6.3/1",),
                traps=("Facts",),
            ),
            "0xc070 with 900 bytes and an empty 0xc071",
            [(0xC071, b""), (0xC070, b"\x16\xfe\xfd" + bytes(897))],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "traps/stun/google-integrity",
                "Google's short integrity is an optional attribute, and wrong it harms nobody.",
                requirements=("rfc8489/6.3/1",),
            ),
            "GOOG-MESSAGE-INTEGRITY-32 (0xc060) with a wrong value",
            [(0xC060, b"\xde\xad\xbe\xef")],
            STUN_AND_ICE,
        ),
        (
            Rule("rfc8489/14.14/software", "SOFTWARE changes nothing."),
            "SOFTWARE",
            [(stun.Attribute.SOFTWARE, b"somebody's client, version 1.0")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/14.14/longest-software",
                "A receiver reads a SOFTWARE of up to 763 bytes.",
                requirements=("rfc8489/14.14/2",),
            ),
            "SOFTWARE of 763 bytes",
            [(stun.Attribute.SOFTWARE, b"s" * 763)],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/14.14/software-that-is-no-text",
                "SOFTWARE is for diagnostics alone: nobody's request fails by it.",
                level=Level.SHOULD,
            ),
            "SOFTWARE that is no UTF-8",
            [(stun.Attribute.SOFTWARE, b"\xff\xfe\xc0\x80")],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/realm-and-nonce",
                "Attributes of the long-term mechanism are not expected in a check, and ignored.",
                level=Level.SHOULD,
            ),
            "REALM and NONCE",
            [(stun.Attribute.REALM, b"example.org"), (stun.Attribute.NONCE, b"0123456789")],
            ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/mapped-address-in-a-request",
                "An address that the request names is not expected there: the answer tells the one "
                "that the request came from.",
                level=Level.SHOULD,
            ),
            "XOR-MAPPED-ADDRESS and MAPPED-ADDRESS of somebody else",
            [
                (stun.Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(ELSEWHERE, bytes(12))),
                (stun.Attribute.MAPPED_ADDRESS, stun.encode_address(ELSEWHERE)),
            ],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/error-code-in-a-request",
                "ERROR-CODE is not expected in a request, and ignored.",
                level=Level.SHOULD,
            ),
            "ERROR-CODE 500",
            [(stun.Attribute.ERROR_CODE, stun.encode_error_code(500))],
            STUN_AND_ICE,
        ),
        (
            Rule(
                "rfc8489/6.3/alternate-server-in-a-request",
                "ALTERNATE-SERVER is not expected in a request, and ignored.",
                level=Level.SHOULD,
                requirements=("rfc8445/7.3/7",),
            ),
            "ALTERNATE-SERVER",
            [(stun.Attribute.ALTERNATE_SERVER, stun.encode_address(ELSEWHERE))],
            STUN_AND_ICE,
        ),
    )
)

ORDER = (
    question(
        Rule("rfc8489/14/another-order", "Attributes before the integrity stand in any order."),
        sends="a good check whose USERNAME comes last",
        oracle=TAKEN,
        profiles=ICE,
        request=_backwards,
    ),
    question(
        Rule(
            "rfc8489/14/second-username-is-ignored",
            "Of a repeated attribute the first counts.",
            traps=("STUN and ICE 2",),
        ),
        sends="a good check with a second USERNAME, of somebody else",
        oracle=TAKEN,
        profiles=ICE,
        request=_with((stun.Attribute.USERNAME, b"nobody:else")),
    ),
    question(
        Rule(
            "rfc8489/14/first-username-counts",
            "Of a repeated attribute the first counts: a good USERNAME behind a bad one is none.",
            traps=("STUN and ICE 2",),
        ),
        sends="a check with somebody else's USERNAME before the good one",
        oracle=REFUSED_OR_SILENT,
        profiles=ICE,
        request=lambda asker: draft(asker, first=(stun.Attribute.USERNAME, b"nobody:else")).seal(
            asker
        ),
    ),
    question(
        Rule(
            "rfc8489/14/second-role-is-ignored",
            "Of a repeated attribute the first counts, were the second malformed.",
            level=Level.SHOULD,
        ),
        sends="a good check with a second ICE-CONTROLLING and a second PRIORITY, both too short",
        oracle=TAKEN,
        profiles=ICE,
        request=_with((stun.Attribute.ICE_CONTROLLING, b"\0"), (stun.Attribute.PRIORITY, b"\0")),
    ),
    question(
        Rule(
            "rfc8489/9/username-behind-integrity",
            "What follows the integrity is ignored, USERNAME too: then the check names nobody.",
            requirements=("rfc8489/9/1",),
        ),
        sends="a check whose USERNAME stands behind MESSAGE-INTEGRITY",
        oracle=REFUSED_OR_SILENT,
        profiles=ICE,
        request=_username_behind,
    ),
    question(
        Rule(
            "rfc8489/9/unknown-attribute-behind-integrity",
            "What follows the integrity is ignored, be it comprehension-required: anybody on the "
            "way may have added it.",
            requirements=("rfc8489/9/1",),
            traps=("STUN and ICE 3",),
        ),
        sends="a good check with attribute 0x7ffe behind MESSAGE-INTEGRITY",
        oracle=TAKEN,
        profiles=ICE,
        request=lambda asker: _after_integrity(asker, 0x7FFE, b"what"),
    ),
    question(
        Rule(
            "rfc8489/9/role-behind-integrity",
            "What follows the integrity is ignored: nobody on the way can make a role conflict.",
            requirements=("rfc8489/9/1",),
            traps=("STUN and ICE 6",),
        ),
        sends="a good check with ICE-CONTROLLED behind MESSAGE-INTEGRITY",
        oracle=TAKEN,
        profiles=ICE,
        request=lambda asker: _after_integrity(
            asker, stun.Attribute.ICE_CONTROLLED, stun.encode_uint64(2**64 - 1)
        ),
    ),
)


def _unreadable(
    name: str,
    what: str,
    make: Callable[[Asker], bytes],
    requirement: str = "A value that has not the form of its type is refused or overlooked, and "
    "does no harm.",
) -> Case:
    """A check, signed, in which one value has not the form of its type."""
    return question(
        Rule(name, requirement),
        sends=f"a signed check {what}",
        oracle=UNREADABLE,
        profiles=ICE,
        request=make,
    )


MALFORMED = (
    _unreadable(
        "rfc8445/16.1/priority-of-three-octets",
        "whose PRIORITY has three bytes",
        lambda asker: draft(asker, priority=b"\x6e\0\x01").seal(asker),
    ),
    _unreadable(
        "rfc8445/16.1/priority-of-eight-octets",
        "whose PRIORITY has eight bytes",
        lambda asker: draft(asker, priority=bytes(8)).seal(asker),
    ),
    _unreadable(
        "rfc8445/16.1/tie-breaker-of-four-octets",
        "whose ICE-CONTROLLING has four bytes",
        lambda asker: draft(asker, controlling=bytes(4)).seal(asker),
    ),
    _unreadable(
        "rfc8445/16.1/use-candidate-with-a-value",
        "whose USE-CANDIDATE has a value",
        _with((stun.Attribute.USE_CANDIDATE, b"yes!")),
    ),
    _unreadable(
        "rfc8445/7.1.1/no-priority",
        "without PRIORITY",
        lambda asker: check(asker, priority=None),
        "A check without PRIORITY is refused or answered, and does no harm.",
    ),
)
