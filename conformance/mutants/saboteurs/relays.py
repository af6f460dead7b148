"""Relays that forward to everybody, to nobody, to the wrong node, or with another header."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve

from conformance.case import Profile
from conformance.drivers.relay import INNER, NODES, PUBLIC, RelayServer
from conformance.drivers.virtual import Emission
from stunroute import forward
from stunroute.address import Address
from stunroute.directory import StaticDirectory
from stunroute.edge import Edge
from stunroute.errors import DecodeError
from stunroute.flow import FlowTable
from stunroute.hint import Hint, KeyRing
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay
from stunroute.trace import Drop

from .model import Saboteur, Tamper, swapping, tampering
from .wire import flipped


@define(slots=False)
class Forwards(Tamper):
    """Up: whatever comes goes to these nodes, with a true header. ``instead`` of what our relay
    would do with it, or where that has let it go, or besides."""

    nodes: tuple[Address, ...]
    when: str

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        return () if self.when == "instead" and heard.destination == PUBLIC else (heard,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if heard.destination != PUBLIC or not isinstance(server, RelayServer):
            return ()
        if self.when == "dropped" and server._out:
            return ()
        data = forward.encode(heard.source, PUBLIC) + heard.data
        return [Emission(data, INNER, node) for node in self.nodes]


@define(slots=False)
class Returns(Tamper):
    """Down: whatever comes goes to a client. ``to``: the one it names, the last that was heard,
    all, or the node itself."""

    to: str
    when: str
    clients: tuple[Address, ...] = ()

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if heard.destination == PUBLIC and heard.source not in self.clients:
            self.clients = (*self.clients, heard.source)[-16:]
        return () if self.when == "instead" and heard.destination == INNER else (heard,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if heard.destination != INNER or not isinstance(server, RelayServer):
            return ()
        if self.when == "dropped" and server._out:
            return ()
        payload = heard.data[forward.HEADER_LENGTH :]
        named: tuple[Address, ...] = ()
        try:
            named = (forward.decode_untrusted(heard.data).client,)
        except DecodeError:
            payload = heard.data
        ways = {
            "named": named,
            "last": self.clients[-1:],
            "first": self.clients[:1],
            "all": self.clients,
            "back": (heard.source,),
        }
        source = INNER if self.to == "back" else PUBLIC
        return [Emission(payload, source, each) for each in ways[self.to]]


@define(slots=False)
class Restarts(Tamper):
    """Forgets everything after each ``every`` datagrams."""

    every: int
    count: int = 0

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        self.count += 1
        if isinstance(server, RelayServer) and self.count % self.every == 0:
            server.restart()
        return (heard,)


@define(slots=False)
class Reshapes(Tamper):
    """What leaves on one side is changed."""

    inner: bool
    change: Callable[[bytes], bytes]

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        if (said.source == INNER) is not self.inner:
            return (said,)
        return (evolve(said, data=self.change(said.data)),)


@define(slots=False)
class Blind(Tamper):
    """What arrives on one side is changed, or lost where nothing is left of it."""

    inner: bool
    change: Callable[[bytes], bytes]

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if (heard.destination == INNER) is not self.inner:
            return (heard,)
        changed = self.change(heard.data)
        return (evolve(heard, data=changed),) if changed else ()


def _make(of: Callable[..., Tamper], *arguments: Any) -> Callable[[], Tamper]:
    return lambda: of(*arguments)


_TO_NODE: dict[str, tuple[Address, ...]] = {
    "first": (NODES[0].address,),
    "second": (NODES[1].address,),
    "third": (NODES[2].address,),
    "all": tuple(node.address for node in NODES),
}
_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: b"",
    "bare": lambda data: data[forward.HEADER_LENGTH :],
    "double-header": lambda data: data[: forward.HEADER_LENGTH] + data,
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "short": lambda data: data[:500],
    "header-only": lambda data: data[: forward.HEADER_LENGTH],
    "last": flipped(-1),
    **{str(at): flipped(at) for at in range(forward.HEADER_LENGTH + 2)},
}


def _ways() -> Iterable[Saboteur]:
    for to, nodes in _TO_NODE.items():
        for when in ("instead", "dropped", "besides"):
            does = f"It sends what clients say to {to} node, {when}."
            yield tampering(f"up/{to}-{when}", does, _make(Forwards, nodes, when))
    for to in ("named", "last", "first", "all", "back"):
        for when in ("instead", "dropped", "besides"):
            does = f"It sends what nodes say to {to}, {when}."
            yield tampering(f"down/{to}-{when}", does, _make(Returns, to, when))
    for every in (*range(1, 9), 16):
        does = f"It forgets everything at each {every}th datagram."
        yield tampering(f"restarts/{every}", does, _make(Restarts, every))
    for how, change in _CHANGES.items():
        for inner in (True, False):
            side = "inner" if inner else "public"
            says = f"What it sends on its {side} side is changed: {how}."
            hears = f"What it hears on its {side} side is changed: {how}."
            yield tampering(f"{side}/says-{how}", says, _make(Reshapes, inner, change))
            yield tampering(f"{side}/hears-{how}", hears, _make(Blind, inner, change))


def _true(honest: Any, *arguments: Any, **more: Any) -> bool:
    return True


def _false(honest: Any, *arguments: Any, **more: Any) -> bool:
    return False


def _none(honest: Any, *arguments: Any, **more: Any) -> None:
    return None


def _dropped(honest: Any, *arguments: Any, **more: Any) -> Drop:
    return Drop.NO_FLOW


def _anyhow(honest: Any, relay: Relay, data: bytes, sender: Address, now: Instant) -> Any:
    """Whoever sends down, to whomever."""
    route = honest(relay, data, sender, now)
    if isinstance(route, Drop) and len(data) > forward.HEADER_LENGTH:
        try:
            leg = forward.decode_untrusted(data)
        except DecodeError:
            return route
        return Downlink(leg.client, leg.proxy, data[forward.HEADER_LENGTH :], None)
    return route


def _named(honest: Any, ring: KeyRing, ufrag: bytes, now: Instant) -> Any:
    """Whatever a hint says, it means the first node."""
    return _FIRST


_FIRST = Hint("0", NODES[0].cluster, NODES[0].number, bytes(5))


def _checks() -> Iterable[Saboteur]:
    places: dict[str, tuple[Any, str, Any]] = {
        "any-integrity": (Edge, "verify", _true),
        "no-integrity": (Edge, "verify", _false),
        "verifies-without-end": (Edge, "may_verify", _true),
        "verifies-nothing": (Edge, "may_verify", _false),
        "makes-without-end": (Edge, "may_make", _true),
        "makes-nothing": (Edge, "may_make", _false),
        "verifies-again-without-end": (Edge, "may_verify_again", _true),
        "verifies-nothing-again": (Edge, "may_verify_again", _false),
        "anybody-down": (Relay, "route_transceiver", _anyhow),
        "any-sender": (StaticDirectory, "knows", _true),
        "no-sender": (StaticDirectory, "knows", _false),
        "any-hint": (KeyRing, "decode_untrusted", _named),
        "learns-no-source": (FlowTable, "learn", _none),
        "knows-no-source": (FlowTable, "by_ssrc", _none),
        "releases-nothing": (FlowTable, "release", _none),
        "promotes-nobody": (FlowTable, "_promote", _none),
        "holds-always": (FlowTable, "_holds", _true),
        "holds-never": (FlowTable, "_holds", _false),
        "no-flow-down": (FlowTable, "downlink", _dropped),
        "no-flow-up": (FlowTable, "uplink", _none),
        "expires-nothing": (FlowTable, "handle_timeout", _none),
        "another-is-owner": (FlowTable, "_downlink_of_another", _dropped),
    }
    for name, place in places.items():
        yield swapping(f"relays/{name}", f"It goes wrong as a relay: {name}.", place)


PROFILES = (Profile.RELAY,)
SABOTEURS = (*_ways(), *_checks())
