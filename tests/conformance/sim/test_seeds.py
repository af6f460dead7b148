"""A dozen seeds that must stay green, and those that once were not, each with what it had found."""

import pytest

from conformance.sim.faults import Fault
from conformance.sim.layout import Feature
from conformance.sim.world import Report, Settings, World


def run(seed: int, **changes: object) -> Report:
    return World(Settings(seed, **changes)).run()  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_seeds_with_some_faults_are_green(seed: int) -> None:
    report = run(seed)
    assert report.failure is None, report.failure
    assert report.passed["leaks"] == report.passed["blame"] == 1


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_seeds_with_many_people_are_green(seed: int) -> None:
    report = run(seed, sessions=25)
    assert report.failure is None, report.failure
    assert report.living


NAMED = {
    "an address taken over from somebody else teaches the relay its new owner's SSRC": 9,
    "a relay restarts, and the reports of a session whose client is gone take the address": 35,
    "the same, where the living session had taken the address over before": 133,
    "a spoilt ufrag names a hint configuration that there is not": 67,
    "a header spoilt on the leg names another relay's public address": 11,
    "a packet that the store has found a flow for is learnt from": 148,
    "a worker comes back as the faults end, and a session whose client is gone is faster": 5611,
}
"""What the harness or its rules had wrong, or the design allows and nobody had written down."""


@pytest.mark.parametrize("features", [(), tuple(Feature)], ids=["as-found", "with-all-features"])
@pytest.mark.parametrize("seed", NAMED.values(), ids=NAMED.keys())
def test_seeds_that_have_found_something(seed: int, features: tuple[Feature, ...]) -> None:
    """They were found before a fleet had any features, and show what they show without."""
    report = run(seed, features=features)
    assert report.failure is None, report.failure


def test_two_calls_from_one_address_keep_apart_without_any_fault() -> None:
    """Both sessions hear the handshake of the second call; certificates tell them apart."""
    report = run(1, kinds=())
    assert report.failure is None, report.failure


def test_equal_seeds_give_equal_runs_and_others_do_not() -> None:
    first = run(5, sessions=3)
    assert run(5, sessions=3) == first
    assert run(6, sessions=3).digest != first.digest
    assert run(5, sessions=4).digest != first.digest
    assert run(5, sessions=3, kinds=(Fault.NAT,)).digest != first.digest
    assert run(5, sessions=3, features=()).digest != first.digest


def test_a_witness_changes_nothing() -> None:
    from conformance.sim.record import Tape

    tape = Tape(captures=True)
    watched = World(Settings(4, sessions=3), tape).run()
    assert watched == run(4, sessions=3)
    assert tape.last
    assert tape.secrets


def test_a_voice_at_its_real_pace() -> None:
    report = run(7, sessions=2, pace=0.02, kinds=(Fault.LOSS, Fault.RELAY), minutes=0.2)
    assert report.failure is None, report.failure
    assert report.passed["separation of echoes"] > 500
