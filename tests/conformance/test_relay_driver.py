"""The relay's cases before a relay that has no password key."""

import pytest

from conformance import catalogue
from conformance.case import Profile, Verdict
from conformance.drivers.relay import RelayDriver
from conformance.runner import run_case

CASES = catalogue.select(catalogue.load(), profiles=[Profile.RELAY])
DRIVER = RelayDriver(verifies=False)


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_a_relay_that_only_routes_passes(each) -> None:
    result = run_case(each, DRIVER)
    assert result.verdict in (Verdict.PASS, Verdict.LENIENT, Verdict.UNSUPPORTED), (
        f"{result.seen} {result.detail}"
    )


def test_only_questions_of_the_edge_are_unsupported() -> None:
    results = [run_case(each, DRIVER) for each in CASES]
    unsupported = [each for each in results if each.verdict is Verdict.UNSUPPORTED]
    assert unsupported
    assert all("verify checks" in each.detail for each in unsupported)
    (left,) = (each for each in results if each.case.name == "relay/edge/left-to-the-node")
    assert left.verdict is Verdict.PASS
