"""The cases of the profile ``stun`` against servers without credentials: a sound one, and others
that each have one fault."""

from collections.abc import Callable

import pytest

from conformance import catalogue
from conformance.case import Profile, Verdict
from conformance.client import seeded
from conformance.drivers.virtual import Emission, VirtualWire
from conformance.stage import Stage, Target
from probing import Answering
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

SERVER = Address.of("203.0.113.5", 3478)
CASES = {each.name: each for each in catalogue.select(catalogue.load(), (), (Profile.STUN,))}
Answer = Callable[[bytes, Address], bytes | None]


def sound(data: bytes, source: Address) -> bytes | None:
    """What RFC 8489 asks of a stand-alone server, and its kindness to clients of RFC 3489."""
    cookie = data[4:8]
    classic = data[:2] == b"\0\1" and len(data) == 20 and cookie != b"\x21\x12\xa4\x42"
    if classic:
        value = stun.encode_address(source)
        body = b"\0\1" + len(value).to_bytes(2, "big") + value
        return b"\1\1" + len(body).to_bytes(2, "big") + data[4:20] + body
    try:
        message = stun.decode_untrusted(data)
    except DecodeError:
        return None
    request = message.message_class is stun.MessageClass.REQUEST
    if not request or message.method != stun.Method.BINDING or message.fingerprint_ok is False:
        return None
    if unknown := message.unknown_comprehension_required():
        listed = (stun.Attribute.UNKNOWN_ATTRIBUTES, stun.encode_unknown_attributes(unknown))
        return stun.binding_error(message, 420, attributes=[listed])
    return success(message, source)


def success(message: stun.Message, source: Address) -> bytes:
    value = stun.encode_xor_address(source, message.transaction_id)
    body = [(stun.Attribute.XOR_MAPPED_ADDRESS, value)]
    kind = stun.MessageClass.SUCCESS
    return stun.build(stun.Method.BINDING, kind, message.transaction_id, body)


def ask(name: str, answer: Answer) -> Verdict:
    case = CASES[name]

    def emissions(data: bytes, source: Address) -> list[Emission]:
        said = answer(data, source)
        return [] if said is None else [Emission(said, SERVER, source)]

    wire = VirtualWire(Answering(emissions), frozenset({SERVER}))
    observed = case.steps(Stage(wire, seeded(name), target=Target(SERVER)))
    return case.judge(observed[0] if isinstance(observed, tuple) else observed)


@pytest.mark.parametrize("name", CASES)
def test_a_sound_server_passes(name: str) -> None:
    assert ask(name, sound) is Verdict.PASS


def deaf(data: bytes, source: Address) -> bytes | None:
    return None


def wants_fingerprint(data: bytes, source: Address) -> bytes | None:
    return sound(data, source) if b"\x80\x28\0\4" in data else None


def tells_another_address(data: bytes, source: Address) -> bytes | None:
    return sound(data, SERVER)


def reads_what_there_is(data: bytes, source: Address) -> bytes | None:
    """Reads no attribute, as some servers do that serve everybody."""
    whole = data[:2] == b"\0\1" and int.from_bytes(data[2:4], "big") == len(data) - 20
    if not whole:
        return None
    return success(stun.decode_untrusted(data[:2] + b"\0\0" + data[4:20]), source)


def refuses_what_it_need_not_know(data: bytes, source: Address) -> bytes | None:
    try:
        message = stun.decode_untrusted(data)
    except DecodeError:
        return None
    known = (stun.Attribute.SOFTWARE, stun.Attribute.FINGERPRINT)
    if any(kind not in known for kind, _ in message.attributes):
        return stun.binding_error(message, 420, attributes=[(0x000A, b"\xbf\xff")])
    return sound(data, source)


def pads_with_its_memory(data: bytes, source: Address) -> bytes | None:
    answer = sound(data, source)
    if answer is None or b"\0\x0a\0\2" not in answer:
        return answer
    at = answer.index(b"\0\x0a\0\2") + 6
    opened = answer[: len(answer) - 8]
    leaky = opened[:at] + b"\xca\xfe" + opened[at + 2 :]
    return leaky + b"\x80\x28\0\4" + stun.checksum(leaky).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (wants_fingerprint, "rfc8489/12/fingerprint-not-required"),
        (tells_another_address, "rfc8489/12/binding"),
        (deaf, "rfc8489/12/binding"),
        (deaf, "rfc8489/5/only-19-octets"),
        (reads_what_there_is, "rfc8489/14/value-runs-past-the-end"),
        (reads_what_there_is, "rfc8489/14/last-value-runs-past-the-end"),
        (reads_what_there_is, "rfc8489/6.3.1/unknown-required-attribute"),
        (refuses_what_it_need_not_know, "rfc8489/6.3/unknown-optional-attribute"),
        (pads_with_its_memory, "rfc8489/14/padding-is-zero"),
    ],
)
def test_a_broken_server_fails(broken: Answer, name: str) -> None:
    assert ask(name, broken) is Verdict.FAIL
