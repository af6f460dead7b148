"""What a response looks like: RFC 8489, sections 6.3.1.1, 9.1.3 and 14.

Here nothing is wrong with the requests, or something that is wrong in the plainest way; it is the
answers that are looked at, attribute by attribute.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from conformance.case import Blocked, Case, Level, Observed, Profile, Rule, Seen, Unsupported, case
from conformance.probe.look import Shown, shown
from conformance.probe.profiles import ICE, STUN_AND_ICE
from conformance.probe.stun import (
    TRIES,
    Answered,
    Asker,
    ask,
    check,
    credentials,
    demanded,
    need_credentials,
    need_life,
    reach,
)
from conformance.probe.stun_draft import Draft, draft
from conformance.stage import Stage
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

PROOFS = frozenset(
    {
        stun.Attribute.MESSAGE_INTEGRITY,
        stun.Attribute.MESSAGE_INTEGRITY_SHA256,
        stun.Attribute.USERNAME,
    }
)


class Unanswered(Exception):
    """There is nothing to look at."""


def _success(asker: Asker, **changes: Any) -> stun.Message:
    """The answer to a good check, whatever may be wrong with it."""
    for _ in range(TRIES):
        reply = ask(asker, check(asker, **changes))
        if reply.message is not None and reply.kind in (Answered.SUCCESS, Answered.UNSOUND):
            return reply.message
    raise Blocked("a good check is not answered with success")


def _refusal(asker: Asker, *kinds: int) -> stun.Message:
    """The answer to a request that is good but for unknown attributes of these types."""
    attributes = [(kind, b"what") for kind in kinds or (0x7FFE,)]
    return _error(asker, lambda: check(asker, attributes=attributes), Answered.UNKNOWN_ATTRIBUTE)


def _error(asker: Asker, make: Callable[[], bytes], *wanted: Answered) -> stun.Message:
    for _ in range(TRIES):
        reply = ask(asker, make())
        if reply.kind in wanted and reply.message is not None:
            return reply.message
        if reply.kind is not Answered.SILENCE:
            raise Unsupported(f"the server's answer is {reply.kind.value}")
    need_life(asker)
    raise Unanswered


def _types(message: stun.Message) -> list[int]:
    return [kind for kind, _ in message.attributes]


def _look(
    rule: Rule,
    *,
    sends: str,
    look: Callable[[Asker], str | None],
    profiles: tuple[Profile, ...] = ICE,
) -> Case:
    """A case about how a response is written. ``look`` names the fault, or None."""

    @rule.asked(
        sends=sends,
        profiles=profiles,
        good=(Shown.RIGHT,),
        bad=(Shown.WRONG,),
        lenient=(Shown.NOTHING,),
    )
    def steps(stage: Stage) -> Observed:
        asker = reach(stage)
        if Profile.STUN not in profiles:
            need_credentials(asker)
        try:
            fault = look(asker)
        except Unanswered:
            return Shown.NOTHING
        return shown(fault)

    return steps


# --- success ---------------------------------------------------------------------------------


def _names_nobody(asker: Asker) -> str | None:
    there = stun.Attribute.USERNAME in _types(_success(asker))
    return "it bears USERNAME" if there else None


def _is_signed_in_kind(asker: Asker, *, sha256: bool) -> str | None:
    if not sha256:
        message = _success(asker)
    else:
        message = _error_or_success(asker)
    types = _types(message)
    wanted, other = stun.Attribute.MESSAGE_INTEGRITY, stun.Attribute.MESSAGE_INTEGRITY_SHA256
    if sha256:
        wanted, other = other, wanted
    if wanted not in types:
        return f"it lacks {stun.attribute_name(wanted)}"
    return f"it bears {stun.attribute_name(other)} too" if other in types else None


def _error_or_success(asker: Asker) -> stun.Message:
    """The answer to a check that is signed with SHA-256, where that is known."""
    reply = ask(asker, check(asker, sha256=True))
    if reply.kind not in (Answered.SUCCESS, Answered.UNSOUND) or reply.message is None:
        need_life(asker)
        raise Unsupported("the server does not know MESSAGE-INTEGRITY-SHA256")
    return reply.message


def _is_signed_in_one_kind(asker: Asker) -> str | None:
    known = need_credentials(asker)
    begun = draft(asker).sign(known[1]).sign_sha256(known[1])
    reply = ask(asker, begun.close().message())
    if reply.kind not in (Answered.SUCCESS, Answered.UNSOUND) or reply.message is None:
        need_life(asker)
        raise Unsupported("the server does not know MESSAGE-INTEGRITY-SHA256")
    types = _types(reply.message)
    if stun.Attribute.MESSAGE_INTEGRITY_SHA256 not in types:
        return "it lacks MESSAGE-INTEGRITY-SHA256"
    return "it bears both integrities" if stun.Attribute.MESSAGE_INTEGRITY in types else None


def _closes(asker: Asker) -> str | None:
    message = _success(asker)
    if message.fingerprint_ok is None:
        return "it has no FINGERPRINT"
    return None if message.fingerprint_ok else "its FINGERPRINT is wrong, or not the last"


def _address_is_well_formed(asker: Asker) -> str | None:
    message = _success(asker)
    value = message.value(stun.Attribute.XOR_MAPPED_ADDRESS) or b""
    if not value:
        return "it has no XOR-MAPPED-ADDRESS"
    if value[0] != 0:
        return f"the byte before the family is {value[0]:#04x}"
    family, size = (1, 8) if asker.socket.is_ipv4 else (2, 20)
    if value[1] != family:
        return f"the family is {value[1]} where we came over {family}"
    return None if len(value) == size else f"it has {len(value)} bytes"


def _demands_nothing(asker: Asker) -> str | None:
    unknown = demanded(_success(asker))
    return f"it demands {', '.join(hex(kind) for kind in unknown)}" if unknown else None


def _software_is_text(asker: Asker) -> str | None:
    try:
        text = _success(asker).software
    except DecodeError as error:
        return str(error)
    if text is None:
        return None
    return None if len(text) < 128 else f"SOFTWARE has {len(text)} characters"


SUCCESS = (
    _look(
        Rule(
            "rfc8489/9.1.3/no-username-in-the-response",
            "A response does not bear USERNAME.",
            requirements=("rfc8489/9.1.3/12",),
            traps=("Facts",),
        ),
        sends="a good check",
        look=_names_nobody,
    ),
    _look(
        Rule(
            "rfc8489/9.1.3/sha1-for-sha1",
            "A request that is signed with SHA-1 alone gets a response that is signed with SHA-1.",
            requirements=("rfc8489/9.1.3/11", "rfc8445/7.3/3"),
        ),
        sends="a good check with MESSAGE-INTEGRITY",
        look=partial(_is_signed_in_kind, sha256=False),
    ),
    _look(
        Rule(
            "rfc8489/9.1.3/sha256-for-sha256",
            "A request that is signed with SHA-256 gets a response that is signed with SHA-256.",
            requirements=("rfc8489/9.1.3/10",),
        ),
        sends="a good check with MESSAGE-INTEGRITY-SHA256",
        look=partial(_is_signed_in_kind, sha256=True),
    ),
    _look(
        Rule(
            "rfc8489/9.1.3/one-kind-for-two",
            "A request that is signed in both ways gets a response that is signed with SHA-256 "
            "only.",
            requirements=("rfc8489/9.1.3/10",),
        ),
        sends="a good check with both integrities",
        look=_is_signed_in_one_kind,
    ),
    _look(
        Rule(
            "rfc8445/7.3/fingerprint-in-the-response",
            "The response to a check ends in a FINGERPRINT that is right.",
            requirements=("rfc8445/7.3/8", "rfc8489/14.7/2"),
        ),
        sends="a good check",
        look=_closes,
    ),
    _look(
        Rule(
            "rfc8489/14.2/address-of-our-family",
            "XOR-MAPPED-ADDRESS has a zero byte, the family that the request came over, and as "
            "many bytes as that has: an IPv4 client is not told a mapped IPv6 address.",
            requirements=("rfc8489/14.1/1", "rfc8489/14.1/2", "rfc8489/14.1/3"),
            traps=("STUN and ICE 11",),
        ),
        sends="a good request",
        profiles=STUN_AND_ICE,
        look=_address_is_well_formed,
    ),
    _look(
        Rule(
            "rfc8489/6.3.3/response-demands-nothing",
            "A response bears no comprehension-required attribute that a client need not know: it "
            "would be thrown away.",
        ),
        sends="a good request",
        profiles=STUN_AND_ICE,
        look=_demands_nothing,
    ),
    _look(
        Rule(
            "rfc8489/14.14/software-in-the-response",
            "SOFTWARE, where a response has it, is text of fewer than 128 characters.",
            requirements=("rfc8489/14.14/2",),
        ),
        sends="a good request",
        profiles=STUN_AND_ICE,
        look=_software_is_text,
    ),
)

# --- errors ----------------------------------------------------------------------------------

WHATSAPP = tuple(range(0x4000, 0x4008))


def _lists(asker: Asker, *kinds: int) -> str | None:
    try:
        listed = _refusal(asker, *kinds).unknown_attributes
    except DecodeError as error:
        return str(error)
    if listed is None:
        return "it has no UNKNOWN-ATTRIBUTES"
    missing = set(kinds) - set(listed)
    if missing:
        return f"it does not list {', '.join(hex(kind) for kind in sorted(missing))}"
    more = set(listed) - set(kinds)
    return f"it lists {', '.join(hex(kind) for kind in sorted(more))} too" if more else None


def _refusal_is_signed(asker: Asker) -> str | None:
    message = _refusal(asker)
    _, password = need_credentials(asker)
    if not message.has_integrity:
        return "it has no integrity"
    return None if message.verify_integrity(stun.IntegrityKey(password)) else "it is signed wrongly"


def _code_is_well_formed(asker: Asker) -> str | None:
    message = _refusal(asker)
    value = message.value(stun.Attribute.ERROR_CODE) or b""
    if len(value) < 4:
        return "ERROR-CODE is shorter than four bytes"
    hundreds, rest = value[2] & 7, value[3]
    if not 3 <= hundreds <= 6 or rest > 99:
        return f"class {hundreds}, number {rest}"
    try:
        reason = value[4:].decode()
    except UnicodeDecodeError:
        return "the reason is no UTF-8"
    return None if len(reason) < 128 else f"the reason has {len(reason)} characters"


def _reserved_is_zero(asker: Asker) -> str | None:
    value = _refusal(asker).value(stun.Attribute.ERROR_CODE) or b"\xff" * 4
    return "the reserved bits are not zero" if any(value[:2]) or value[2] & 0xF8 else None


def _padding_is_zero(asker: Asker) -> str | None:
    for message in (_refusal(asker, 0x7FFE), _success(asker)):
        start = stun.HEADER_LENGTH
        for kind, value in message.attributes:
            end = start + 4 + len(value)
            start = end + -len(value) % 4
            if any(message.raw[end:start]):
                return f"{stun.attribute_name(kind)} is padded with {message.raw[end:start].hex()}"
    return None


def _error_names_nobody(asker: Asker) -> str | None:
    return "it bears USERNAME" if stun.Attribute.USERNAME in _types(_refusal(asker)) else None


def _proves_nothing(asker: Asker, make: Callable[[Asker], bytes]) -> str | None:
    wanted = (Answered.BAD_REQUEST, Answered.UNAUTHENTICATED, Answered.OTHER_ERROR)
    found = PROOFS.intersection(_types(_error(asker, lambda: make(asker), *wanted)))
    names = ", ".join(sorted(stun.attribute_name(kind) for kind in found))
    return f"it bears {names}" if found else None


ERRORS = (
    _look(
        Rule(
            "rfc8489/14.8/all-unknown-attributes",
            "A 420 lists every comprehension-required attribute that is not known.",
            requirements=("rfc8489/14.8/11", "rfc8489/6.3.1.1/3"),
            traps=("STUN and ICE 3",),
        ),
        sends="a good request with three unknown attributes",
        profiles=STUN_AND_ICE,
        look=lambda asker: _lists(asker, 0x7FFE, 0x0EEE, 0x7F00),
    ),
    _look(
        Rule(
            "traps/stun/whatsapp-attributes",
            "A client that demands attributes 0x4000 to 0x4007, as WhatsApp does, is told that "
            "none of them is known.",
            requirements=("rfc8489/14.8/11", "rfc8489/6.3.1.1/3"),
            traps=("STUN and ICE 3", "Facts"),
        ),
        sends="a good request with attributes 0x4000 to 0x4007",
        profiles=STUN_AND_ICE,
        look=lambda asker: _lists(asker, *WHATSAPP),
    ),
    _look(
        Rule(
            "rfc8489/6.3.1.1/refusal-is-signed",
            "A refusal of a request that proved itself is signed in the same way.",
            level=Level.SHOULD,
            requirements=("rfc8445/7.3/3",),
        ),
        sends="a good check with attribute 0x7ffe",
        look=_refusal_is_signed,
    ),
    _look(
        Rule(
            "rfc8489/14.8/error-code",
            "ERROR-CODE has a class from 3 to 6, a number below 100 and a reason in UTF-8 of fewer "
            "than 128 characters.",
            requirements=(
                "rfc8489/6.3.1.1/1",
                "rfc8489/14.8/1",
                "rfc8489/14.8/4",
                "rfc8489/14.8/5",
            ),
        ),
        sends="a good request with attribute 0x7ffe",
        profiles=STUN_AND_ICE,
        look=_code_is_well_formed,
    ),
    _look(
        Rule(
            "rfc8489/14.8/reserved-bits",
            "The reserved bits of ERROR-CODE are zero.",
            level=Level.SHOULD,
        ),
        sends="a good request with attribute 0x7ffe",
        profiles=STUN_AND_ICE,
        look=_reserved_is_zero,
    ),
    _look(
        Rule(
            "rfc8489/14/padding-is-zero",
            "What is sent is padded with zeros.",
            requirements=("rfc8489/14/4", "rfc8489/14/2"),
        ),
        sends="a good request with one unknown attribute, whose refusal is padded, and one without",
        profiles=STUN_AND_ICE,
        look=_padding_is_zero,
    ),
    _look(
        Rule(
            "rfc8489/9.1.3/no-username-in-the-error",
            "An error response does not bear USERNAME.",
            requirements=("rfc8489/9.1.3/12",),
        ),
        sends="a good check with attribute 0x7ffe",
        look=_error_names_nobody,
    ),
    *(
        _look(
            Rule(
                f"rfc8489/9.1.3/error-proves-nothing-to-{slug}",
                "Whoever has proved nothing gets an error without integrity and without USERNAME.",
                requirements=("rfc8489/9.1.3/13",),
                traps=("STUN and ICE 4",),
            ),
            sends=what,
            look=partial(_proves_nothing, make=make),
        )
        for slug, what, make in (
            (
                "a-wrong-password",
                "a check signed with another password",
                lambda asker: check(asker, password=b"not the password that was told"),
            ),
            (
                "an-unknown-user",
                "a check whose USERNAME names somebody else",
                lambda asker: check(asker, username=b"nobody:else"),
            ),
            (
                "a-bare-request",
                "a Binding request with FINGERPRINT alone",
                lambda asker: Draft(asker.stage.entropy(12)).close().message(),
            ),
        )
    ),
)

# --- transactions ----------------------------------------------------------------------------


class Twice(Seen):
    """What became of two requests."""

    RIGHT = "both were answered as they should be"
    DIFFERENT = "the second was answered otherwise than the first"
    ONCE = "only the first was answered, though good checks are"
    WRONG = "an answer was no sound success"


def _both(asker: Asker, ask_second: Callable[[], Answered]) -> Observed:
    second = Answered.SILENCE
    for _ in range(TRIES):
        second = ask_second()
        if second is not Answered.SILENCE:
            break
    if second is Answered.SUCCESS:
        return Twice.RIGHT
    if second is Answered.SILENCE:
        need_life(asker)
        return Twice.ONCE
    return Twice.WRONG, second.value


@case(
    "rfc8489/6.3.1/retransmission",
    "A request that comes again is answered again, and in the same way.",
    sends="a good request twice, byte for byte",
    profiles=STUN_AND_ICE,
    good=(Twice.RIGHT,),
    bad=(Twice.DIFFERENT, Twice.ONCE, Twice.WRONG),
    requirements=("rfc8489/6.3.1/1", "rfc8489/6.3.1/2"),
)
def retransmission(stage: Stage) -> Observed:
    asker = reach(stage)
    need_life(asker)
    request = check(asker, nominate=credentials(asker) is not None)
    first = ask(asker, request)
    if first.message is None or first.kind is not Answered.SUCCESS:
        raise Blocked("a good request is not answered")
    again = ask(asker, request, note="the same once more")
    if again.kind is Answered.SILENCE:
        need_life(asker)
        return Twice.ONCE
    if again.message is None or again.kind is not Answered.SUCCESS:
        return Twice.WRONG, again.detail
    same = first.message.attributes == again.message.attributes
    return Twice.RIGHT if same else Twice.DIFFERENT


@case(
    "rfc8489/6.3.1/refusal-of-a-retransmission",
    "A refused request that comes again is refused again.",
    sends="a good request with attribute 0x7ffe twice, byte for byte",
    profiles=STUN_AND_ICE,
    good=(Twice.RIGHT,),
    bad=(Twice.DIFFERENT, Twice.ONCE, Twice.WRONG),
    requirements=("rfc8489/6.3.1/1",),
)
def refusal_of_a_retransmission(stage: Stage) -> Observed:
    asker = reach(stage)
    need_life(asker)
    request = check(asker, attributes=[(0x7FFE, b"what")])
    first = ask(asker, request)
    if first.kind is not Answered.UNKNOWN_ATTRIBUTE:
        raise Unsupported("the server does not refuse unknown attributes with 420")
    again = ask(asker, request, note="the same once more")
    if again.kind is Answered.SILENCE:
        need_life(asker)
        return Twice.ONCE
    return Twice.RIGHT if again.kind is first.kind else (Twice.DIFFERENT, again.kind.value)


def _from(asker: Asker, socket: Address) -> Answered:
    return ask(asker, check(asker), socket=socket).kind


@case(
    "rfc8489/12/address-of-each-socket",
    "Every request is told the address that it came from, also where one comes hard upon another.",
    sends="good requests from four sockets in turn",
    profiles=STUN_AND_ICE,
    good=(Twice.RIGHT,),
    bad=(Twice.DIFFERENT, Twice.ONCE, Twice.WRONG),
    requirements=("rfc8489/12/1",),
)
def address_of_each_socket(stage: Stage) -> Observed:
    asker = reach(stage)
    need_life(asker)
    for _ in range(3):
        socket = stage.open_socket()
        seen = _both(asker, partial(_from, asker, socket))
        if seen is not Twice.RIGHT:
            return seen
    return Twice.RIGHT


@case(
    "rfc8489/5/same-transaction-id-elsewhere",
    "Two clients may draw the same transaction id: each gets its own answer.",
    sends="two good requests with one transaction id from two sockets",
    profiles=STUN_AND_ICE,
    good=(Twice.RIGHT,),
    bad=(Twice.DIFFERENT, Twice.ONCE, Twice.WRONG),
    requirements=("rfc8489/12/1",),
)
def same_transaction_id_elsewhere(stage: Stage) -> Observed:
    asker = reach(stage)
    number = stage.entropy(12)
    if ask(asker, check(asker, transaction_id=number)).kind is not Answered.SUCCESS:
        raise Blocked("a good request is not answered")
    other = stage.open_socket()
    request = check(asker, transaction_id=number, priority=1845501695)
    return _both(asker, lambda: ask(asker, request, socket=other).kind)


@case(
    "rfc8489/6.3.1/twenty-at-once",
    "Requests that come all at once are all answered.",
    sends="twenty good requests without waiting for answers",
    profiles=STUN_AND_ICE,
    good=(Twice.RIGHT,),
    lenient=(Twice.ONCE,),
    bad=(Twice.DIFFERENT, Twice.WRONG),
)
def twenty_at_once(stage: Stage) -> Observed:
    asker = reach(stage)
    need_life(asker)
    waiting = set()
    for _ in range(20):
        request = check(asker)
        waiting.add(request[8:20])
        asker.send(request)
    until = stage.now + stage.patience
    while waiting and (arrival := asker.receive(until)) is not None:
        if len(arrival.data) >= stun.HEADER_LENGTH and arrival.data[8:20] in waiting:
            waiting.remove(arrival.data[8:20])
        else:
            asker.take(arrival)
    need_life(asker)
    if len(waiting) == 20:
        return Twice.WRONG, "none was answered"
    return (Twice.ONCE, f"{len(waiting)} were not answered") if waiting else Twice.RIGHT
