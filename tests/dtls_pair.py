"""Two DTLS connections and a network of virtual time between them.

Deterministic: the entropy is a seeded stream, the clock only moves when both sides wait, and what
the network does to each datagram is given by the test.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from attrs import define, field

from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import (
    ApplicationData,
    Dropped,
    DtlsConnection,
    Event,
    HandshakeComplete,
    Identity,
    Role,
)
from transceiver.keying import SrtpProfile

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = DtlsLimits()


def entropy_of(seed: str) -> Entropy:
    """An endless stream of bytes that depends on ``seed`` alone."""
    counter = 0

    def entropy(length: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}/{counter}".encode()).digest(length)

    return entropy


@lru_cache
def identity_of(seed: str) -> Identity:
    return Identity.generate(entropy_of(f"identity {seed}"), not_before=NOT_BEFORE)


def make_connection(
    role: Role,
    *,
    name: str | None = None,
    peer: str | None = None,
    limits: DtlsLimits = LIMITS,
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile),
    **options: bool,
) -> DtlsConnection:
    """A connection whose identity is ``name`` and which expects the identity ``peer``."""
    name = name or role.value
    peer = peer or ("server" if role is Role.CLIENT else "client")
    return DtlsConnection(
        role=role,
        identity=identity_of(name),
        fingerprints=(identity_of(peer).fingerprint,),
        entropy=entropy_of(f"{name} {role.value}"),
        limits=limits,
        profiles=profiles,
        **options,
    )


Fate = Callable[[bytes], list[float]]
"""What becomes of a datagram: the delay of each copy that arrives, none if it is lost."""


def faithful(datagram: bytes) -> list[float]:
    return [0.0]


@define
class Pair:
    """``fates`` decides about each datagram of each side; everything is logged."""

    client: DtlsConnection
    server: DtlsConnection
    fate: Fate = faithful
    now: Instant = 0.0
    events: dict[Role, list[Event]] = field(
        factory=lambda: {Role.CLIENT: [], Role.SERVER: []}, init=False
    )
    sent: list[tuple[Role, Instant, bytes]] = field(factory=list, init=False)
    _wire: list[tuple[Instant, int, Role, bytes]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    @classmethod
    def make(cls, fate: Fate = faithful, **options: object) -> "Pair":
        return cls(
            make_connection(Role.CLIENT, **options),  # type: ignore[arg-type]
            make_connection(Role.SERVER, **options),  # type: ignore[arg-type]
            fate,
        )

    def side(self, role: Role) -> DtlsConnection:
        return self.client if role is Role.CLIENT else self.server

    def collect(self) -> None:
        """Take what both sides have to say."""
        for role in Role:
            side = self.side(role)
            while (datagram := side.next_transmit()) is not None:
                self.sent.append((role, self.now, datagram))
                for delay in self.fate(datagram):
                    self._count += 1
                    self._wire.append((self.now + delay, self._count, role, datagram))
            while (event := side.next_event()) is not None:
                self.events[role].append(event)

    def step(self) -> bool:
        """Let the next thing happen. False if nothing will."""
        self.collect()
        self._wire.sort(key=lambda item: item[:2])
        timeouts = [at for role in Role if (at := self.side(role).next_timeout()) is not None]
        if self._wire and self._wire[0][0] <= min(timeouts, default=self._wire[0][0]):
            at, _, sender, datagram = self._wire.pop(0)
            self.now = max(self.now, at)
            receiver = self.server if sender is Role.CLIENT else self.client
            receiver.receive_datagram(datagram, self.now)
        elif timeouts:
            self.now = max(self.now, min(timeouts))
            for role in Role:
                self.side(role).handle_timeout(self.now)
        else:
            return False
        self.collect()
        return True

    def run(self, until: Instant = 60.0, steps: int = 5000) -> "Pair":
        """Until both sides are done, or time is up."""
        self.client.start(self.now)
        self.server.start(self.now)
        for _ in range(steps):
            if self.now > until or (self.settled and not self._wire):
                break
            if not self.step():
                break
        self.collect()
        return self

    def settle(self) -> None:
        """Until nothing is on its way any more."""
        self.collect()
        while self._wire:
            self.step()

    @property
    def settled(self) -> bool:
        return self.completion(Role.CLIENT) is not None and (
            self.completion(Role.SERVER) is not None
        )

    def completion(self, role: Role) -> HandshakeComplete | None:
        self.collect()
        return next((e for e in self.events[role] if isinstance(e, HandshakeComplete)), None)

    def data(self, role: Role) -> list[bytes]:
        self.collect()
        return [e.data for e in self.events[role] if isinstance(e, ApplicationData)]

    def drops(self, role: Role) -> list[Drop]:
        self.collect()
        return [e.drop for e in self.events[role] if isinstance(e, Dropped)]


def established(**options: object) -> Pair:
    """A pair whose handshake is complete on a faithful network."""
    pair = Pair.make(**options)  # type: ignore[arg-type]
    pair.run()
    assert pair.settled
    return pair


def transmits(connection: DtlsConnection) -> list[bytes]:
    """Everything that ``connection`` wants sent."""
    sent: list[bytes] = []
    while (datagram := connection.next_transmit()) is not None:
        sent.append(datagram)
    return sent


def events(connection: DtlsConnection) -> list[Event]:
    """Everything that ``connection`` has to say."""
    found: deque[Event] = deque()
    while (event := connection.next_event()) is not None:
        found.append(event)
    return list(found)


def drops(connection: DtlsConnection) -> list[Drop]:
    """What ``connection`` has let go of; its other events are discarded."""
    return [event.drop for event in events(connection) if isinstance(event, Dropped)]
