"""A small fleet for tests of the relay: three nodes, their keys, and what clients send."""

from itertools import count

from stunroute import forward, stun
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, NodeState, StaticDirectory
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.relay import Relay
from stunroute.trace import Observe

CLUSTER = 1
PROXY = Address.of("192.0.2.1", 3478)
OTHER_PROXY = Address.of("2001:db8::1", 443)
CLIENTS = tuple(Address.of("198.51.100.7", 50_000 + port) for port in range(6))
NODES = {node: Address.of(f"10.0.0.{node}", 4000) for node in (1, 2, 3)}
A, B, C = NODES.values()
DRAINED, DRAINING = 8, 9
DIRECTORY = StaticDirectory(
    {(CLUSTER, node): NextHop(address) for node, address in NODES.items()}
    | {
        (CLUSTER, DRAINED): NextHop(Address.of("10.0.0.8", 4000), NodeState.DRAINED),
        (CLUSTER, DRAINING): NextHop(Address.of("10.0.0.9", 4000), NodeState.DRAINING),
    }
)
CONFIGURATION = HintConfiguration("0", bytes(range(16)), bytes(range(32)))
KEYRING = KeyRing([CONFIGURATION])

_numbers = count(1)
_ufrags: dict[int, bytes] = {}


def fresh(n: int) -> bytes:
    """Entropy that never repeats and is the same in every run."""
    return next(_numbers).to_bytes(max(n, 8), "big")[-n:]


def ufrag(node: int, keyring: KeyRing = KEYRING) -> bytes:
    return keyring.mint(CLUSTER, node, fresh, 0.0).encode()


def check(
    node: int, *, name: bytes | None = None, password: bytes | None = None, spaces: int = 0
) -> bytes:
    """A client's Binding request for a session on ``node``, rightly signed unless told."""
    if name is None:
        name = _ufrags.setdefault(node, ufrag(node))
    if password is None:
        password = KEYRING.password(name)
    return stun.build(
        stun.Method.BINDING,
        stun.MessageClass.REQUEST,
        fresh(12),
        [
            (stun.Attribute.USERNAME, name + b":client" + b" " * spaces),
            (stun.Attribute.PRIORITY, bytes(4)),
            (stun.Attribute.ICE_CONTROLLING, bytes(8)),
        ],
        integrity=stun.IntegrityKey(password),
    )


def forged(node: int) -> bytes:
    """A check with a true hint and a wrong password."""
    return check(node, password=b"x" * 32)


def success() -> bytes:
    return stun.build(stun.Method.BINDING, stun.MessageClass.SUCCESS, fresh(12))


def indication() -> bytes:
    return stun.build(stun.Method.BINDING, stun.MessageClass.INDICATION, fresh(12))


def rtp(ssrc: int, length: int = 172) -> bytes:
    return b"\x80\x60" + bytes(6) + ssrc.to_bytes(4, "big") + bytes(length - 12)


def rtcp(ssrc: int) -> bytes:
    return b"\x80\xc9\x00\x01" + ssrc.to_bytes(4, "big") + bytes(14)


def dtls(payload: bytes = b"\xfe\xfd") -> bytes:
    return b"\x16" + payload


def leg(client: Address, payload: bytes = b"", proxy: Address = PROXY) -> bytes:
    return forward.encode(client, proxy) + payload


def relay(
    observe: Observe | None = None,
    *,
    config: RelayConfig | None = None,
) -> Relay:
    return Relay(
        config or RelayConfig(),
        KEYRING,
        DIRECTORY,
        proxies=[PROXY, OTHER_PROXY],
        observe=observe,
    )
