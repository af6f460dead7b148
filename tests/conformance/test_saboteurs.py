"""Saboteurs break the server and nothing else, and are taken off again."""

import pytest

from conformance import catalogue
from conformance.case import Verdict
from conformance.drivers.memory import MemoryDriver
from conformance.drivers.virtual import MOST_AT_ONCE, START, Emission, VirtualWire
from conformance.mutants import weak
from conformance.mutants.model import Mutant
from conformance.mutants.models import ModelDriver, driver_for
from conformance.mutants.saboteurs.door import _families as door_families
from conformance.mutants.saboteurs.model import Saboteur, Tamper, staged
from conformance.runner import run_case
from stunroute.address import Address
from transceiver.srtp import rtp

CASES = {each.name: each for each in catalogue.load()}
SABOTEURS = {name: each for name, each in weak.breakers().items() if isinstance(each, Saboteur)}
SAMPLE = (
    "rfc8489/6.3.1/unknown-required-attribute",
    "rfc3550/5.1/marker",
    "rfc9260/8.3/heartbeat",
    "rfc6347/4.2.4/last-flight-lost",
    "relay/recovery/by-the-downlink",
)
MODELLED = [name for name, case in CASES.items() if isinstance(driver_for(case), ModelDriver)]


def test_there_are_thousands_with_a_sentence_each() -> None:
    assert len(SABOTEURS) > 2000
    assert [each.name for each in SABOTEURS.values() if not each.does.endswith(".")] == []
    assert [name for name in SABOTEURS if len(name.split("/")) != 2] == []
    assert not SABOTEURS.keys() & {
        name for name, each in weak.breakers().items() if isinstance(each, Mutant)
    }


@pytest.mark.parametrize("name", SAMPLE)
def test_a_tamper_that_does_nothing_changes_nothing(name: str) -> None:
    with staged(Tamper):
        assert run_case(CASES[name], MemoryDriver()).verdict is Verdict.PASS


@pytest.mark.parametrize("family", sorted({name.split("/")[0] for name in SABOTEURS}))
def test_a_saboteur_is_taken_off(family: str) -> None:
    breaker = next(each for name, each in SABOTEURS.items() if name.startswith(f"{family}/"))
    case = CASES[SAMPLE[0]]
    with breaker.apply():
        run_case(case, MemoryDriver())
    assert run_case(case, MemoryDriver()).verdict is Verdict.PASS


def test_only_the_server_calls_what_was_swapped() -> None:
    with staged() as turn, turn.swapped(rtp, "peek_ssrc_untrusted", lambda honest, data: 7):
        assert rtp.peek_ssrc_untrusted(bytes(8) + b"\0\0\0\1") == 1
        with turn.take():
            assert rtp.peek_ssrc_untrusted(bytes(8) + b"\0\0\0\1") == 7
        assert rtp.peek_ssrc_untrusted(bytes(8) + b"\0\0\0\1") == 1


@pytest.mark.parametrize("name", MODELLED)
def test_models_are_right(name: str) -> None:
    assert run_case(CASES[name], driver_for(CASES[name])).verdict is Verdict.PASS


def test_families_are_the_same_each_time() -> None:
    assert [each.name for each in door_families()] == [each.name for each in door_families()]
    name = "silent/stun-after-1"
    results = set()
    for _ in range(2):
        with SABOTEURS[name].apply():
            result = run_case(CASES[SAMPLE[0]], MemoryDriver())
        results.add((result.seen, len(result.trail.entries)))
    assert len(results) == 1


class Gushing:
    """Says something whenever it is asked."""

    way = Emission(b"x", Address.of("203.0.113.1", 1), Address.of("192.0.2.33", 1))

    def receive(self, data, source, destination, now) -> None:
        """It does not listen."""

    def next_emission(self) -> Emission:
        return self.way

    def handle_timeout(self, now) -> None:
        """It needs no clock."""

    def next_timeout(self) -> None:
        return None


def test_a_server_that_never_stops_sending_ends_the_case() -> None:
    wire = VirtualWire(Gushing(), frozenset())
    with pytest.raises(RuntimeError, match="does not stop sending"):
        wire.receive(START + 1)
    assert len(wire._flying) == MOST_AT_ONCE
