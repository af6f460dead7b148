"""The stage before a relay: the harness is its clients and its transceivers.

Clients have sockets in the public network and send to the relay's public address; nodes have
sockets where the relay believes its transceivers to be. So a case sees both legs: what the relay
makes of a client's packet, and what it makes of a node's. Hints are minted here, with the keys that
the relay was given.

Who brings a relay of his own gives it three things that he gives the suite as well: the keys of one
hint configuration (``--hint-key``; leave the password key out if the relay only routes, add
``--verifies`` if it checks MESSAGE-INTEGRITY), the addresses of two or three nodes on the machine
of the suite (``--next-hop``; nobody else may listen there), and the address at which clients reach
it (``--relay``). Where it sends from on the leg is learned from what it delivers. ``--restart``
names a command that returns when a fresh process listens.

What a relay need not have, or nobody can be assumed to have set up, is asked only where it is
named: further public addresses (``--also``), a relay in front of it that we play (``--upstream``),
a command that drains a node (``--drain``).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from attrs import define, field, frozen

from stunroute import forward, stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.hint import KeyRing
from stunroute.instant import Entropy, Instant

from .case import Unsupported
from .stage import PATIENCE
from .trail import Crossing, Trail
from .wire import Arrival, Wire


@frozen(slots=True)
class Node:
    """A transceiver that we play: its name in hints, and our socket on the leg."""

    cluster: int
    number: int
    address: Address


@frozen(slots=True)
class Upstream:
    """A relay in front of the one that is asked, which we play like a node: ``node`` has our
    socket, its inner address; ``public`` is its own public address as the other one knows it."""

    node: Node
    public: Address


@frozen(slots=True)
class Session:
    """A call that is up only on paper: what its client sends checks with. ``ufrag`` is the node's
    and holds the hint."""

    node: Node
    ufrag: bytes
    password: bytes = field(repr=False)


@frozen(slots=True)
class Delivery:
    """What reached a node. ``leg`` is None where the header cannot be read; ``inner`` is the
    address it came from, to which the node sends; ``at`` is by the wire's clock, in seconds."""

    node: Node
    leg: forward.Leg | None
    payload: bytes = field(repr=False)
    inner: Address
    at: Instant


@frozen(slots=True)
class Reception:
    """What reached a client's socket, and from which address. ``at`` as above."""

    client: Address
    source: Address
    payload: bytes = field(repr=False)
    at: Instant


@define(slots=True)
class RelayStage:
    """``public`` is the relay's. ``nodes`` has at least one; a case that needs more says so.
    ``verifies``: the relay is said to check MESSAGE-INTEGRITY itself. ``restart`` kills the relay
    and starts an empty one in its place; None where nobody can. ``elsewhere`` opens a socket on a
    host that the relay was told nothing of; None likewise. ``beside`` are further public addresses,
    and ``reach`` opens a client's socket for one of another family than ``public``. ``drained`` has
    the relay hold, for the length of a ``with`` block, that a node has gone and gets no more calls.
    ``patience`` is in seconds. What sends raises Forbidden."""

    wire: Wire
    entropy: Entropy
    public: Address
    nodes: tuple[Node, ...]
    keyring: KeyRing = field(repr=False)
    verifies: bool = False
    restart: Callable[[], None] | None = None
    elsewhere: Callable[[], Address] | None = None
    beside: tuple[Address, ...] = ()
    reach: Callable[[Address], Address] | None = None
    upstream: Upstream | None = None
    drained: Callable[[Node], AbstractContextManager[None]] | None = None
    trail: Trail = field(factory=Trail)
    patience: float = PATIENCE

    @property
    def now(self) -> Instant:
        """The wire's clock, in seconds."""
        return self.wire.now

    def client(self, to: Address | None = None) -> Address:
        """A new client's socket, from which it reaches a public address, the first one if it is not
        said which. Raises Unsupported where we have no address of that family."""
        if to is None or to.is_ipv4 is self.public.is_ipv4:
            return self.wire.open()
        if self.reach is None:
            raise Unsupported(f"the harness cannot send to {to.ip}")
        return self.reach(to)

    def mint(self, node: Node) -> Session:
        """A session on a node. Where no password key is known nobody can check the password either,
        and any will do."""
        ufrag = self.keyring.mint(node.cluster, node.number, self.entropy, 0.0)
        if not self.keyring.can_verify(ufrag[0]):
            return Session(node, ufrag.encode(), self.entropy(16).hex().encode())
        return Session(node, ufrag.encode(), self.keyring.password(ufrag.encode()))

    def check(
        self,
        session: Session,
        *,
        password: bytes | None = None,
        username: bytes | None = None,
        attributes: tuple[tuple[int, bytes], ...] = (),
    ) -> bytes:
        """A client's check for a session (RFC 8445, section 7.2), good but for what the arguments
        change; ``attributes`` come before the integrity."""
        name = session.ufrag + b":peer" if username is None else username
        return stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            self.entropy(12),
            [
                (stun.Attribute.USERNAME, name),
                (stun.Attribute.PRIORITY, stun.encode_uint32(1853824767)),
                (stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(1)),
                *attributes,
            ],
            integrity=stun.IntegrityKey(session.password if password is None else password),
        )

    def up(
        self, data: bytes, client: Address, note: str = "", *, to: Address | None = None
    ) -> None:
        """A client sends, to the first public address or another one."""
        self._send(data, client, to or self.public, note)

    def down(
        self, payload: bytes, delivery: Delivery, *, client: Address | None = None, note: str = ""
    ) -> None:
        """A node sends back the way a delivery came, to its client or to another one."""
        to = client or (delivery.leg.client if delivery.leg is not None else self.public)
        proxy = delivery.leg.proxy if delivery.leg is not None else self.public
        self.down_raw(forward.encode(to, proxy) + payload, delivery.node, delivery.inner, note)

    def down_raw(self, data: bytes, node: Node | Address, inner: Address, note: str = "") -> None:
        """A node, or another socket of ours, sends bytes to an inner address of the relay's as they
        are, without a header of the leg's."""
        self._send(data, node.address if isinstance(node, Node) else node, inner, note)

    def next(self, within: float | None = None) -> Delivery | Reception | None:
        """What arrives next, at a node or at a client; None where nothing does in so many seconds,
        the stage's patience unless said."""
        return self._next(self.now + (self.patience if within is None else within))

    def _next(self, until: Instant) -> Delivery | Reception | None:
        arrival = self.wire.receive(until)
        if arrival is None:
            return None
        crossing = Crossing(arrival.at, arrival.socket, arrival.source, False, arrival.data)
        self.trail.cross(crossing)
        for node in (*self.nodes, *(() if self.upstream is None else (self.upstream.node,))):
            if node.address == arrival.socket:
                return self._delivery(node, arrival)
        return Reception(arrival.socket, arrival.source, arrival.data, arrival.at)

    def all(self, seconds: float | None = None) -> list[Delivery | Reception]:
        """Everything that arrives in so many seconds, the stage's patience unless said."""
        until = self.now + (self.patience if seconds is None else seconds)
        heard = []
        while (each := self._next(until)) is not None:
            heard.append(each)
        return heard

    def some(self, within: float | None = None) -> list[Delivery | Reception]:
        """What arrives first in so many seconds, the stage's patience unless said, and what follows
        it closely."""
        first = self.next(within)
        return [] if first is None else [first, *self.all(self.patience / 8)]

    def note(self, text: str) -> None:
        """A remark for the trail."""
        self.trail.note(self.now, text)

    def _delivery(self, node: Node, arrival: Arrival) -> Delivery:
        try:
            leg = forward.decode_untrusted(arrival.data)
        except DecodeError:
            return Delivery(node, None, arrival.data, arrival.source, arrival.at)
        payload = arrival.data[forward.HEADER_LENGTH :]
        return Delivery(node, leg, payload, arrival.source, arrival.at)

    def _send(self, data: bytes, socket: Address, destination: Address, note: str) -> None:
        self.wire.send(data, socket, destination)
        self.trail.cross(Crossing(self.now, socket, destination, True, data, note))
