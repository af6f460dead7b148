"""What a stranger, or a transceiver gone wrong, may write into addresses and headers."""

import pytest

from fleet import PROXY, A, check, leg, relay, rtp
from stunroute.address import Address
from stunroute.trace import Drop

NOWHERE = [
    Address.of("198.51.100.7", 0),
    Address.of("0.0.0.0", 4000),
    Address.of("255.255.255.255", 4000),
    Address.of("239.1.1.1", 4000),
    Address.of("::", 4000),
    Address.of("ff02::1", 4000),
]


@pytest.mark.parametrize("client", NOWHERE, ids=str)
class TestNowhere:
    """Its session's answers and media would each cost a system call that fails, and might go to
    more than one host."""

    def test_a_check_from_there_makes_no_flow(self, client: Address) -> None:
        core = relay()
        assert core.route_client(check(1), client, PROXY, 0.0) is Drop.NO_WAY_BACK
        assert core.flows == 0

    def test_nor_does_a_transceiver_s_packet(self, client: Address) -> None:
        core = relay()
        for payload in (rtp(1), b""):
            route = core.route_transceiver(leg(client, payload), A, 0.0)
            assert route is Drop.LEG_MALFORMED
        assert core.flows == 0
