"""A saboteur, and the two places where one stands: before the wire, and inside the server."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias

from attrs import define, field, frozen

from conformance.drivers import memory
from conformance.drivers import relay as relays
from conformance.drivers.memory import MemoryDoor
from conformance.drivers.virtual import Emission, Server, VirtualWire
from conformance.mutants.model import Breaking, swapped
from conformance.stage import Opened
from stunroute.address import Address
from stunroute.instant import Instant

Other: TypeAlias = Callable[..., Any]
"""Instead of a function: has the honest one first, then what that would get."""


@frozen(slots=True)
class Saboteur:
    """``name`` is FAMILY/WHAT, ``does`` one sentence. ``apply`` breaks our cores for the length of
    a ``with`` block."""

    name: str
    does: str
    apply: Breaking = field(repr=False, eq=False)


@define(slots=True)
class Turn:
    """``taken`` while the server runs, and not the harness. ``server`` is the innermost one."""

    taken: bool = False
    server: Any = None

    @contextmanager
    def take(self) -> Iterator[None]:
        before, self.taken = self.taken, True
        try:
            yield
        finally:
            self.taken = before

    def swapped(self, owner: Any, name: str, other: Other) -> AbstractContextManager[None]:
        """``owner.name`` is ``other`` inside the block, where the server calls it."""
        honest = getattr(owner, name)
        is_static = isinstance(vars(owner).get(name), staticmethod)

        def either(*arguments: Any, **more: Any) -> Any:
            if self.taken:
                return other(honest, *arguments, **more)
            return honest(*arguments, **more)

        return swapped(owner, name, staticmethod(either) if is_static else either)


@define(slots=False)
class Tamper:
    """What becomes of a server's datagrams, and of its clock. This one is harmless; saboteurs
    override what they need. There is a fresh one for each case."""

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        """What the server hears instead."""
        return (heard,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        """What it says, without being asked, before its own answer."""
        return ()

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        """What it says instead."""
        return (said,)

    def delay(self, said: Emission) -> float:
        """Seconds until that leaves."""
        return 0.0

    def clock(self, now: Instant) -> Instant:
        """What its clock shows."""
        return now

    def wakes(self, due: Instant) -> Instant | None:
        """When it really wakes for a deadline of its own; None for never."""
        return due


@define(slots=True)
class TamperedServer:
    """A server of ``conformance.drivers`` behind a tamper."""

    inner: Server
    tamper: Tamper
    turn: Turn
    _now: Instant = 0.0
    _out: deque[Emission] = field(factory=deque)
    _late: deque[tuple[Instant, Emission]] = field(factory=deque)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        self._now = now
        came = Emission(data, source, destination)
        with self.turn.take():
            for heard in self.tamper.heard(came, self.inner, now):
                at = self.tamper.clock(now)
                self.inner.receive(heard.data, heard.source, heard.destination, at)
            self._out.extend(self.tamper.besides(came, self.inner, now))

    def next_emission(self) -> Emission | None:
        with self.turn.take():
            while not self._out and (said := self.inner.next_emission()) is not None:
                for instead in self.tamper.said(said, self._now):
                    delay = self.tamper.delay(instead)
                    if delay:
                        self._late.append((self._now + delay, instead))
                    elif instead.data:
                        self._out.append(instead)
        return self._out.popleft() if self._out else None

    def handle_timeout(self, now: Instant) -> None:
        self._now = now
        while self._late and self._late[0][0] <= now:
            self._out.append(self._late.popleft()[1])
        with self.turn.take():
            due = self._due()
            if due is not None and due <= now:
                self.inner.handle_timeout(max(self.tamper.clock(now), self._inner_due() or 0.0))

    def next_timeout(self) -> Instant | None:
        late = [self._late[0][0]] if self._late else []
        due = self._due()
        return min([*late, *([] if due is None else [due])], default=None)

    def _due(self) -> Instant | None:
        due = self._inner_due()
        return None if due is None else self.tamper.wakes(due)

    def _inner_due(self) -> Instant | None:
        with self.turn.take():
            return self.inner.next_timeout()


@define(slots=False)
class TamperedDoor(MemoryDoor):
    """Signalling on the server's turn. Saboteurs override what they need."""

    turn: Turn = field(factory=Turn)

    def open(self, offer: str) -> Opened:
        with self.turn.take():
            return MemoryDoor.open(self, offer)

    def reoffer(self, call: str, offer: str) -> str:
        with self.turn.take():
            return MemoryDoor.reoffer(self, call, offer)

    def restart(self, call: str, fragment: str) -> str | None:
        with self.turn.take():
            return MemoryDoor.restart(self, call, fragment)

    def hang_up(self, call: str) -> None:
        with self.turn.take():
            MemoryDoor.hang_up(self, call)


@contextmanager
def staged(
    tamper: Callable[[], Tamper] = Tamper, door: type[TamperedDoor] = TamperedDoor
) -> Iterator[Turn]:
    """In the block, servers and relays in memory stand behind such a tamper and such a door.
    Yields the turn, which tells a server's calls from the harness's."""
    turn = Turn()

    def wire(server: Server, addresses: frozenset[Address]) -> VirtualWire:
        turn.server = server
        return VirtualWire(TamperedServer(server, tamper(), turn), addresses)

    def make_door(endpoint: Any, clock: Callable[[], Instant]) -> TamperedDoor:
        return door(endpoint, clock, turn=turn)

    with (
        swapped(memory, "VirtualWire", wire),
        swapped(relays, "VirtualWire", wire),
        swapped(memory, "MemoryDoor", make_door),
    ):
        yield turn


def tampering(name: str, does: str, tamper: Callable[[], Tamper]) -> Saboteur:
    """One that stands before the wire."""

    @contextmanager
    def apply() -> Iterator[None]:
        with staged(tamper):
            yield

    return Saboteur(name, does, apply)


def lying(name: str, does: str, door: type[TamperedDoor]) -> Saboteur:
    """One that stands at the door."""

    @contextmanager
    def apply() -> Iterator[None]:
        with staged(door=door):
            yield

    return Saboteur(name, does, apply)


Place: TypeAlias = tuple[Any, str, Other]
"""A function's owner, its name, what to call instead."""


def swapping(name: str, does: str, *places: Place) -> Saboteur:
    """One that swaps functions inside."""
    return swapping_afresh(name, does, lambda: places)


def swapping_afresh(name: str, does: str, make: Callable[[], Iterable[Place]]) -> Saboteur:
    """The same, for functions that remember something: each case gets new ones."""

    @contextmanager
    def apply() -> Iterator[None]:
        with staged() as turn, ExitStack() as stack:
            for place in make():
                stack.enter_context(turn.swapped(*place))
            yield

    return Saboteur(name, does, apply)
