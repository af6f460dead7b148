"""The header of a message and what is read by it: RFC 8489, sections 5 and 6.3.

Each case spoils one field of a request that is good in all else, integrity and FINGERPRINT
included, so that nothing but the field can be the reason for what the server does.
"""

from functools import partial

from conformance.case import Level, Rule
from conformance.probe.profiles import ICE
from conformance.probe.stun import Asker, check, credentials
from conformance.probe.stun_draft import Draft, draft
from conformance.probe.stun_questions import DISCARDED, OVERLOOKED, SILENT, TAKEN, question
from stunroute import stun


def _typed(asker: Asker, message_type: int) -> bytes:
    """A good request but for its first 16 bits."""
    begun = draft(asker)
    begun.message_type = message_type
    return begun.seal(asker)


def _cookied(asker: Asker, cookie: bytes) -> bytes:
    begun = draft(asker)
    begun.cookie = cookie
    return begun.seal(asker)


def _measured(asker: Asker, difference: int) -> bytes:
    """A good request whose header claims so many bytes more; hash and checksum are those of the
    true length."""
    whole = check(asker)
    length = (len(whole) - stun.HEADER_LENGTH + difference) & 0xFFFF
    return whole[:2] + length.to_bytes(2, "big") + whole[4:]


def _only(asker: Asker, size: int) -> bytes:
    return check(asker)[:size]


def _numbered(asker: Asker, transaction_id: bytes) -> bytes:
    begun = draft(asker)
    begun.transaction_id = transaction_id
    return begun.seal(asker)


def _bare(asker: Asker, message_class: stun.MessageClass, *, fingerprint: bool = True) -> bytes:
    """Nothing but a header, and perhaps FINGERPRINT."""
    kind = stun.encode_type(stun.Method.BINDING, message_class)
    begun = Draft(asker.stage.entropy(12), kind)
    return (begun.close() if fingerprint else begun).message()


def _signed(asker: Asker) -> Draft:
    """A good request that is still to be closed."""
    begun = draft(asker)
    known = credentials(asker)
    return begun if known is None else begun.sign(known[1])


def _goes_on(asker: Asker) -> bytes:
    """All that a good request has, and then more; FINGERPRINT is right for what stands before it
    and the length that the message has in the end."""
    begun = _signed(asker)
    whole = len(begun.body) + 8 + 8
    value = stun.checksum(begun.message(length=whole)).to_bytes(4, "big")
    begun.add(stun.Attribute.FINGERPRINT, value)
    return begun.add(stun.Attribute.SOFTWARE, b"more").message()


def _last_bit_over(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


TOP_BITS = tuple(
    question(
        Rule(
            f"rfc8489/5/first-two-bits-{bits:02b}",
            "A message whose first two bits are not zero is no STUN message.",
            requirements=("rfc8489/5/1",),
        ),
        sends=f"a good request with {bits:02b} in its first two bits",
        oracle=DISCARDED,
        request=partial(_typed, message_type=bits << 14 | 1),
    )
    for bits in (0b01, 0b10, 0b11)
)

COOKIES = (
    question(
        Rule(
            "rfc8445/7.3/no-magic-cookie",
            "An ICE agent does not support clients from before the magic cookie (RFC 3489).",
            requirements=("rfc8445/7.3/7", "rfc8489/5/3"),
        ),
        sends="a signed check with zeros where the magic cookie belongs",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _cookied(asker, bytes(4)),
    ),
    question(
        Rule(
            "rfc8489/5/magic-cookie-one-bit-off",
            "All 32 bits of the magic cookie have to be right.",
            requirements=("rfc8489/5/3",),
        ),
        sends="a signed check whose magic cookie ends in 43",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _cookied(asker, b"\x21\x12\xa4\x43"),
    ),
)

LENGTHS = (
    question(
        Rule(
            "rfc8489/6.3/length-beyond-the-datagram",
            "A message that claims to be longer than its datagram is discarded.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request that claims four bytes more than it has",
        oracle=DISCARDED,
        request=lambda asker: _measured(asker, 4),
    ),
    question(
        Rule(
            "rfc8489/6.3/length-0xffff",
            "A message that claims 65,535 bytes is discarded, and nobody reads so far.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request whose header claims 0xffff bytes",
        oracle=DISCARDED,
        request=lambda asker: _measured(asker, 0xFFFF - len(check(asker)) + stun.HEADER_LENGTH),
    ),
    question(
        Rule(
            "rfc8489/6.3/length-leaves-out-the-end",
            "A message that claims to be shorter than its datagram is discarded.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request that does not count its FINGERPRINT",
        oracle=OVERLOOKED,
        request=lambda asker: _measured(asker, -8),
    ),
    question(
        Rule(
            "rfc8489/6.3/length-zero",
            "A message that claims to end with its header says nothing, whatever follows: it "
            "proves nothing either.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a signed check whose header claims a length of zero",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _measured(asker, stun.HEADER_LENGTH - len(check(asker))),
    ),
    question(
        Rule(
            "rfc8489/5/length-not-a-multiple-of-four",
            "The length of a message has its last two bits zero, because all attributes are "
            "padded.",
            requirements=("rfc8489/5/7", "rfc8489/14/2"),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request with two bytes after it that its length counts",
        oracle=DISCARDED,
        request=lambda asker: _measured(asker, 2) + b"\0\0",
    ),
    question(
        Rule(
            "rfc8489/6.3/octets-after-the-message",
            "A datagram holds one message and nothing else.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request with four bytes after it that its length does not count",
        oracle=OVERLOOKED,
        request=lambda asker: check(asker) + b"more",
    ),
    question(
        Rule(
            "rfc8489/6.3/cut-short",
            "A message whose end was cut off is discarded.",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1",),
        ),
        sends="a good request without its last four bytes",
        oracle=DISCARDED,
        request=lambda asker: check(asker)[:-4],
    ),
    question(
        Rule(
            "traps/stun/length-counts-the-header",
            "The length does not count the header, though one printed test vector has it so (RFC "
            "8489, B.1).",
            requirements=("rfc8489/5/7",),
            traps=("STUN and ICE 1", "Facts"),
        ),
        sends="a good request whose length is twenty too large",
        oracle=DISCARDED,
        request=lambda asker: _measured(asker, stun.HEADER_LENGTH),
    ),
)

SHORT = tuple(
    question(
        Rule(
            f"rfc8489/5/only-{size}-octets",
            "What is shorter than the header of a message is none.",
            traps=("STUN and ICE 1",),
        ),
        sends=f"the first {size} of the bytes of a good request",
        oracle=SILENT,
        request=partial(_only, size=size),
    )
    for size in (2, 8, 19)
)

METHODS = (
    question(
        Rule(
            "rfc8489/6.3/method-unknown", "A request of a method that does not exist is discarded."
        ),
        sends="a good request of method 0xfff",
        oracle=DISCARDED,
        request=lambda asker: _typed(asker, stun.encode_type(0xFFF, stun.MessageClass.REQUEST)),
    ),
    question(
        Rule("rfc8489/6.3/method-zero", "Method 0 is reserved: a request of it is discarded."),
        sends="a good request of method 0",
        oracle=DISCARDED,
        request=lambda asker: _typed(asker, stun.encode_type(0, stun.MessageClass.REQUEST)),
    ),
    question(
        Rule(
            "rfc8489/6.3/method-of-turn",
            "An ICE agent is no TURN server: to Allocate it gives no success.",
        ),
        sends="a signed Allocate request with what a check has",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: check(asker, method=stun.Method.ALLOCATE),
    ),
)

UNASKED = (
    question(
        Rule(
            "rfc8489/6.3.3/success-nobody-waits-for", "A success response to nothing is discarded."
        ),
        sends="a signed success response",
        oracle=SILENT,
        request=lambda asker: check(asker, message_class=stun.MessageClass.SUCCESS),
    ),
    question(
        Rule("rfc8489/6.3.4/error-nobody-waits-for", "An error response to nothing is discarded."),
        sends="a signed error response with code 487",
        oracle=SILENT,
        request=lambda asker: check(
            asker,
            message_class=stun.MessageClass.ERROR,
            attributes=[(stun.Attribute.ERROR_CODE, stun.encode_error_code(487))],
        ),
    ),
    question(
        Rule(
            "rfc8489/6.3.3/success-with-unknown-attribute",
            "A response that demands the unknown is discarded like any other, and refused by "
            "nobody.",
        ),
        sends="a signed success response that carries attribute 0x7ffe",
        oracle=SILENT,
        request=lambda asker: check(
            asker, message_class=stun.MessageClass.SUCCESS, attributes=[(0x7FFE, b"what")]
        ),
    ),
    question(
        Rule(
            "rfc8445/11/keepalive-is-not-answered",
            "A Binding indication that carries nothing but FINGERPRINT is a keepalive: no answer.",
            requirements=("rfc8445/11/13", "rfc8489/9.1.3/3"),
            traps=("STUN and ICE 4", "Facts"),
        ),
        sends="a Binding indication with FINGERPRINT alone",
        oracle=SILENT,
        request=lambda asker: _bare(asker, stun.MessageClass.INDICATION),
    ),
    question(
        Rule(
            "rfc8489/6.3.2/indication-of-nothing",
            "A Binding indication without any attribute is not answered.",
            requirements=("rfc8489/9.1.3/3",),
            traps=("STUN and ICE 4",),
        ),
        sends="the header of a Binding indication",
        oracle=SILENT,
        request=lambda asker: _bare(asker, stun.MessageClass.INDICATION, fingerprint=False),
    ),
    question(
        Rule(
            "rfc8489/6.3.2/signed-indication",
            "An indication is never answered, however well it is signed.",
            traps=("STUN and ICE 4",),
        ),
        sends="a Binding indication with all that a good check has",
        oracle=SILENT,
        request=lambda asker: check(asker, message_class=stun.MessageClass.INDICATION),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/indication-of-a-stranger",
            "An indication for a user that does not exist is discarded in silence.",
            requirements=("rfc8489/9.1.3/6",),
        ),
        sends="a Binding indication with another USERNAME",
        oracle=SILENT,
        profiles=ICE,
        request=lambda asker: check(
            asker, username=b"nobody:else", message_class=stun.MessageClass.INDICATION
        ),
    ),
    question(
        Rule(
            "rfc8489/9.1.3/indication-signed-wrongly",
            "An indication whose integrity does not verify is discarded in silence.",
            requirements=("rfc8489/9.1.3/9",),
            traps=("STUN and ICE 5",),
        ),
        sends="a Binding indication signed with another password",
        oracle=SILENT,
        profiles=ICE,
        request=lambda asker: check(
            asker,
            password=b"not the password that was told",
            message_class=stun.MessageClass.INDICATION,
        ),
    ),
    question(
        Rule(
            "rfc8489/6.3.2/indication-with-unknown-attribute",
            "An indication with an unknown comprehension-required attribute is discarded: 420 is "
            "for requests.",
            traps=("STUN and ICE 3",),
        ),
        sends="a Binding indication that carries attribute 0x7ffe",
        oracle=SILENT,
        request=lambda asker: check(
            asker, message_class=stun.MessageClass.INDICATION, attributes=[(0x7FFE, b"what")]
        ),
    ),
)

TRANSACTIONS = tuple(
    question(
        Rule(
            f"rfc8489/5/transaction-id-{name}",
            "Any 96 bits are a transaction id, and the answer bears the same.",
            requirements=("rfc8489/5/6",),
        ),
        sends=f"a good request whose transaction id is {octet:#04x} twelve times",
        oracle=TAKEN,
        request=partial(_numbered, transaction_id=bytes([octet]) * 12),
    )
    for name, octet in (("of-zeros", 0x00), ("of-ones", 0xFF))
)

# A server that serves everybody need not look at FINGERPRINT (RFC 8489, section 12); ICE has to.
FINGERPRINTS = (
    question(
        Rule(
            "rfc8489/6.3/fingerprint-wrong",
            "A message whose FINGERPRINT is wrong is taken for something else than STUN.",
            requirements=("rfc8445/7.3/8",),
        ),
        sends="a good request whose FINGERPRINT is off by one bit",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _last_bit_over(check(asker)),
    ),
    question(
        Rule(
            "traps/stun/no-fingerprint",
            "A check that proves itself by its integrity is answered though it lacks FINGERPRINT, "
            "as those of some stacks do.",
            level=Level.SHOULD,
        ),
        sends="a signed check without FINGERPRINT",
        oracle=TAKEN,
        profiles=ICE,
        request=lambda asker: check(asker, fingerprint=False),
    ),
    question(
        Rule(
            "rfc8489/14.7/fingerprint-not-last",
            "FINGERPRINT is the last attribute: a message that goes on after it is none that a "
            "good client has sent.",
            requirements=("rfc8489/14.7/2",),
        ),
        sends="a good request with a SOFTWARE behind its FINGERPRINT",
        oracle=OVERLOOKED,
        request=lambda asker: _goes_on(asker),
    ),
    question(
        Rule("rfc8489/14.7/fingerprint-of-eight-octets", "FINGERPRINT has four bytes."),
        sends="a good request whose FINGERPRINT is followed by four zeros within its value",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _signed(asker).close(size=8).message(),
    ),
    question(
        Rule("rfc8489/14.7/fingerprint-empty", "FINGERPRINT has four bytes."),
        sends="a good request whose FINGERPRINT has no value",
        oracle=DISCARDED,
        profiles=ICE,
        request=lambda asker: _signed(asker).add(stun.Attribute.FINGERPRINT).message(),
    ),
)
