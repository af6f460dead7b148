"""An endpoint to begin with, apart from ``stock``: a target of STUN has no need of one."""

from stunroute.address import Address
from stunroute.hint import HintConfiguration, KeyRing
from transceiver.config import EndpointConfig
from transceiver.dtls import Identity
from transceiver.endpoint import Endpoint

from .stock import NOT_BEFORE, Stream

PUBLIC = Address.of("203.0.113.1", 3478)
INNER = Address.of("10.1.0.1", 4000)


def keyring() -> KeyRing:
    return KeyRing((HintConfiguration.generate("0", Stream("hints")),))


def make_endpoint() -> Endpoint:
    """One behind one relay, without a call."""
    config = EndpointConfig(cluster=1, node=7, candidates=(PUBLIC,), relays=frozenset({INNER}))
    return Endpoint(
        config,
        keyring=keyring(),
        identity=Identity.generate(Stream("identity"), not_before=NOT_BEFORE),
        entropy=Stream("endpoint"),
    )
