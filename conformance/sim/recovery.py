"""Who is back after the faults, and how long that may take.

Whose session lives when the faults end keeps it, and is heard again within ``SETTLING``. It takes
longer only where a relay on the way believes that the address is somebody else's: of a session that
its client has left without a word, for instance, whose reports go on until its consent ends. No
relay may believe so for longer than ``takeover_unchecked`` after the last check that said it, so
what is left of that when the faults end is what such a session is granted besides. Whose session
does not live is in another call within ``LOST``.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import define, field

from stunroute.address import Address
from stunroute.instant import Instant
from transceiver.events import Phase

from .callers import GIVE_UP, NOTICE, Caller
from .checks import SETTLING, Violation
from .processes import Host, Worker

if TYPE_CHECKING:
    from .world import World

FRESH = GIVE_UP - NOTICE - 1.0
"""A session lives when the faults end if a check of it has been answered within so many seconds:
its client will not give it up, nor its transceiver, before it has recovered."""
LOST = 75.0
"""Within so long everybody is in a call again. The client notices (``NOTICE``), asks in vain,
calls again (``ESTABLISHING`` at most, and perhaps once more), and where it calls from the same
address its old flow has to fall idle first."""
MESSAGES_LATER = 14.0
"""Messages may lag behind audio by the longest retransmission timer, and a round trip."""


@define(slots=True, eq=False, repr=False)
class Recovery:
    """``living`` are the callers whose session lived when the faults ended, each with its call;
    ``held`` has for them the seconds for which a relay may yet think that their address is somebody
    else's. ``audio`` and ``messages`` hold the seconds until each was back, by caller."""

    ended: Instant
    takeover: float
    living: dict[int, str]
    held: dict[int, float] = field(factory=dict)
    audio: dict[int, float] = field(factory=dict)
    messages: dict[int, float] = field(factory=dict)

    def bound(self, caller: Caller) -> float:
        """How long this caller's audio may take."""
        if caller.number in self.living:
            return SETTLING + self.held.get(caller.number, 0.0)
        return LOST + self.takeover

    def heard(self, caller: Caller, said_at: Instant | None, now: Instant) -> None:
        """An echo of what was said at that time has come back."""
        if said_at is not None and said_at >= self.ended and caller.number not in self.audio:
            self.audio[caller.number] = now - self.ended

    def replied(self, caller: Caller, said_at: Instant | None, now: Instant) -> None:
        """The same of a message."""
        if said_at is not None and said_at >= self.ended and caller.number not in self.messages:
            self.messages[caller.number] = now - self.ended

    def missing(self, callers: Iterable[Caller], now: Instant) -> Iterator[Caller]:
        """Who is still to come back. Raises Violation where it is late, or its session that lived
        is gone."""
        for caller in callers:
            call = self.living.get(caller.number)
            if call is not None and caller.number not in self.audio and caller.call != call:
                raise Violation("recovery", f"caller {caller.number} lost {call} that lived")
            if caller.number not in self.audio:
                bound, what = self.bound(caller), "audio"
            elif caller.with_data and caller.number not in self.messages:
                bound, what = self.bound(caller) + MESSAGES_LATER, "messages"
            else:
                continue
            if now - self.ended > bound:
                kind = "a living" if call is not None else "a lost"
                raise Violation(
                    "recovery",
                    f"caller {caller.number} has no {what} {now - self.ended:.1f} s after the "
                    f"faults, {kind} session; the bound is {bound:g} s",
                )
            yield caller


def begin(world: "World") -> Recovery:
    """The faults of a world are over."""
    living, held = {}, {}
    for caller in world.callers:
        host = _lives(world, caller)
        if host is not None:
            living[caller.number] = caller.call
            held[caller.number] = _held(world, caller, host)
    return Recovery(world.loop.now, world.scene.takeover, living, held)


def _lives(world: "World", caller: Caller) -> Host | None:
    """The transceiver of the caller's session, None if that is lost, or too stale to be kept."""
    client, call = caller.client, world.checks.calls.get(caller.call)
    if client is None or call is None or call.host.core is None or not client.secured:
        return None
    fresh = caller.clock.now - (client.answered_at or 0.0) <= FRESH
    core = call.host.core
    if client.closed or caller.data_over or not fresh or caller.call not in core.calls:
        return None
    phase = core.snapshot(caller.call, call.host.clock.now).phase
    return call.host if phase in (Phase.ESTABLISHED.value, Phase.DISCONNECTED.value) else None


def _held(world: "World", caller: Caller, own: Host) -> float:
    """For how long relays on a caller's way may yet believe somebody else in its address."""
    assert caller.client is not None
    longest = 0.0
    for proxy in (caller.client.server or caller.relay, caller.relay):
        outside = caller.outsides[proxy.is_ipv4]
        for worker, hop in world.way(outside, proxy, own.node):
            longest = max(longest, _held_at(world, worker, outside, hop, own))
    return longest


def _held_at(world: "World", worker: Worker, outside: Address, hop: Address, own: Host) -> float:
    core, unchecked = worker.core, worker.site.config.takeover_unchecked
    flow = None if core is None else core.flow(outside)
    if flow is None:
        return unchecked if _may_be_claimed(world, outside, own) else 0.0
    if flow.next_hop == hop:
        return 0.0
    return max(0.0, unchecked - (worker.clock.now - flow.checked))


def _may_be_claimed(world: "World", outside: Address, own: Host) -> bool:
    """Whether a session that its client has left may still believe in this address."""
    current = {each.call for each in world.callers}
    hosts = [world.host_at(hop) for hop in world.checks.led_to(outside)]
    cores = [host.core for host in hosts if host is not None and host is not own]
    return any(core is not None and set(core.calls) - current for core in cores)
