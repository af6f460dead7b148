"""Servers that talk nonsense may be judged in any way, but the suite neither breaks nor hangs.

A sample here; ``python tests/garbling.py --seeds 4`` asks every case in every mood.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import define

from conformance import catalogue
from conformance.case import Blocked, Case, Profile, Seen, Steps, Verdict, case
from conformance.client import AnswerError, Client, read_answer_untrusted, seeded
from conformance.drivers import memory
from conformance.drivers.memory import (
    PUBLIC,
    EchoServer,
    MemoryDoor,
    MemoryDriver,
    make_endpoint,
)
from conformance.drivers.virtual import Emission
from conformance.probe.dtls import Odd
from conformance.probe.stun import Answered
from conformance.runner import run_case
from conformance.stage import Opened, Refused, Stage
from garbling import GarblingDriver, Mood, NeverEnds
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

CASES = catalogue.load()
SAMPLED = 40


class Anything(Seen):
    NEVER = "never"
    NOR_THIS = "nor this"


def make(steps: Steps) -> Case:
    return case(
        "rfc1/1/anything",
        "",
        sends="",
        profiles=(Profile.STUN,),
        good=(Anything.NEVER,),
        bad=(Anything.NOR_THIS,),
    )(steps)


@pytest.mark.parametrize("mood", list(Mood), ids=lambda mood: mood.name)
def test_no_nonsense_breaks_a_case(mood: Mood) -> None:
    sample = random.Random(mood.name).sample(CASES, SAMPLED)
    results = [run_case(each, GarblingDriver(mood, seed)) for seed, each in enumerate(sample)]
    assert [(each.case.name, each.detail) for each in results if is_broken(each)] == []


def is_broken(result) -> bool:
    return result.verdict is Verdict.BROKEN


def test_a_case_that_goes_on_and_on_would_be_noticed() -> None:
    def steps(stage):
        while True:
            stage.receive(stage.now + 1.0)

    result = run_case(make(steps), GarblingDriver(Mood.WIRE, 0))
    assert result.verdict is Verdict.BROKEN
    assert NeverEnds.__name__ in result.detail


@pytest.mark.parametrize(
    "error",
    [
        DecodeError("nonsense"),
        OSError(101, "Network is unreachable"),
        Refused("no", 503),
        Odd("a flight out of order"),
        Blocked("nothing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_server_is_to_blame_for_blocks_a_case(error: Exception) -> None:
    def steps(stage):
        raise error

    result = run_case(make(steps), MemoryDriver())
    assert result.verdict is Verdict.BLOCKED
    assert str(error) in result.detail


@define
class Shut:
    """A door that refuses everything, or one behind which nobody answers."""

    refuses: bool
    name: str = "memory"

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        with MemoryDriver().stage(case) as stage:
            endpoint = stage.wire.server.endpoint
            if self.refuses:
                stage.door = Refusing(endpoint, lambda: stage.now)
            else:
                stage.wire.server = Mute(endpoint)
            yield stage


class Refusing(MemoryDoor):
    def open(self, offer: str) -> Opened:
        raise Refused("no", 500)


class Mute(EchoServer):
    def next_emission(self) -> None:
        while EchoServer.next_emission(self) is not None:
            pass


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "mute"])
def test_who_answers_nothing_passes_nothing(refuses: bool) -> None:
    """But for descriptions, which need no packets, and relays, which need no calls."""
    asked = [
        each
        for each in CASES
        if Profile.RELAY not in each.profiles and (refuses or Profile.SDP not in each.profiles)
    ]
    kind = (Verdict.PASS, Verdict.LENIENT)
    results = [run_case(each, Shut(refuses)) for each in asked]
    well = [each.case.name for each in results if each.verdict in kind]
    # What an answer says of ICE is known before a packet is sent.
    assert [
        name for name in well if refuses or ("rfc88" not in name and "rfc8445/5" not in name)
    ] == []


class Babbling(EchoServer):
    """Says after each datagram a response with a number of its own."""

    def next_emission(self) -> Emission | None:
        said = EchoServer.next_emission(self)
        if said is None and BABBLE:
            return BABBLE.pop()
        return said

    def receive(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        EchoServer.receive(self, data, source, destination, now)
        response = stun.build(stun.Method.BINDING, stun.MessageClass.SUCCESS, bytes(12))
        BABBLE.append(Emission(response, destination, source))


BABBLE: list[Emission] = []


@pytest.mark.parametrize("name", ["rfc8489/5/first-two-bits-11", "rfc8489/5/only-2-octets"])
def test_an_answer_with_another_number_is_no_silence(name: str, monkeypatch) -> None:
    monkeypatch.setattr(memory, "EchoServer", Babbling)
    (each,) = catalogue.select(CASES, [name])
    assert run_case(each, MemoryDriver()).seen is Answered.GARBAGE


@pytest.fixture
def client() -> Client:
    """One that has sent its first check."""
    made = Client(entropy=seeded("x"), address=Address.of("192.0.2.33", 1))
    endpoint, _ = make_endpoint("x")
    made.accept(MemoryDoor(endpoint, lambda: 0.0).open(made.offer()).answer, 0.0)
    return made


def answered(client: Client, kind: stun.MessageClass, attribute: tuple[int, bytes]) -> None:
    """Give the client a signed response to its check with that attribute in it."""
    check = client.next_transmit()
    assert check is not None
    key = stun.IntegrityKey(client.remote_password.encode())
    transaction = stun.decode_untrusted(check.data).transaction_id
    response = stun.build(stun.Method.BINDING, kind, transaction, [attribute], integrity=key)
    client.receive_datagram(response, PUBLIC, 0.1)


def test_a_client_lives_with_a_mapped_address_that_is_none(client: Client) -> None:
    attribute = (stun.Attribute.XOR_MAPPED_ADDRESS, b"\0\1\0")
    answered(client, stun.MessageClass.SUCCESS, attribute)
    assert client.mapped is None
    assert client.validated_at == 0.1


def test_a_client_lives_with_an_error_code_that_is_none(client: Client) -> None:
    answered(client, stun.MessageClass.ERROR, (stun.Attribute.ERROR_CODE, b"\0\0\0\0"))
    assert client.errors == [0]


def test_numbers_without_end_are_no_numbers(client: Client) -> None:
    endpoint, _ = make_endpoint("y")
    answer = MemoryDoor(endpoint, lambda: 0.0).open(client.offer()).answer
    digits = "9" * 5000  # more than Python reads
    told = read_answer_untrusted(f"{answer}m=audio 9 X {digits}\r\n")
    assert told.payload_type == 111
    with pytest.raises(AnswerError, match="candidate"):
        read_answer_untrusted(f"{answer}a=candidate:1 1 udp {digits} 192.0.2.1 9 typ host\r\n")
