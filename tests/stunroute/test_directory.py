"""The static directory."""

import pytest

from stunroute.address import Address
from stunroute.directory import NextHop, NodeState, StaticDirectory
from stunroute.errors import ConfigError

NODE = NextHop(Address.of("10.0.0.7", 4000))
DRAINED = NextHop(Address.of("10.0.0.8", 4000), NodeState.DRAINED)
RELAY = NextHop(Address.of("10.1.0.5", 4000))
PEER = Address.of("10.9.9.9", 4000)
DIRECTORY = StaticDirectory({(1, 7): NODE, (2, 7): DRAINED}, {2: RELAY}, [PEER])


def test_resolve() -> None:
    assert DIRECTORY.resolve(1, 7) == NODE
    assert DIRECTORY.resolve(1, 8) is None
    assert DIRECTORY.resolve(3, 7) is None


def test_a_cluster_resolves_as_a_whole_and_its_listed_nodes_go_first() -> None:
    assert DIRECTORY.resolve(2, 123456) == RELAY
    assert DIRECTORY.resolve(2, 7) == DRAINED


def test_who_may_speak_on_the_leg() -> None:
    for address in (NODE.address, DRAINED.address, RELAY.address, PEER):
        assert DIRECTORY.knows(address)
    assert not DIRECTORY.knows(Address.of("10.0.0.7", 4001))


@pytest.mark.parametrize("name", [(65536, 0), (-1, 0), (0, 2**32), (0, -1)])
def test_numbers_out_of_range_are_refused(name: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"directory\.nodes"):
        StaticDirectory({name: NODE})


def test_a_cluster_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"directory\.clusters"):
        StaticDirectory({}, {65536: RELAY})
