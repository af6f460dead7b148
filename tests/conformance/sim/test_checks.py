"""Each checker is shown a core that is broken on purpose, and must catch it by its rule."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import evolve

from conformance.client import Client, seeded
from conformance.sim.faults import Fault
from conformance.sim.layout import Feature
from conformance.sim.processes import Worker
from conformance.sim.world import Report, Settings, World
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.flow import Flow, FlowTable
from stunroute.relay import Downlink, Relay
from stunroute.trace import Drop
from transceiver import session as sessions
from transceiver.audio import AudioStream
from transceiver.endpoint import Endpoint
from transceiver.events import AudioReceived

SEEDS = range(4)


@contextmanager
def swapped(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """``owner.name`` is what ``make`` makes of it, for a while."""
    before = getattr(owner, name)
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def run(seed: int = 0, *kinds: Fault, **changes: Any) -> Report:
    return World(
        Settings(seed, **({"sessions": 4, "kinds": kinds, "minutes": 0.3} | changes))
    ).run()


def broken(*kinds: Fault, **changes: Any) -> set[str]:
    """The rules that a few seeds find broken."""
    reports = [run(seed, *kinds, **changes) for seed in SEEDS]
    return {report.failure.rule for report in reports if report.failure is not None}


def test_whole_cores_break_nothing() -> None:
    assert broken() == set()


def elsewhere(flow: Flow) -> Flow:
    """A flow that leads to another transceiver of the fleet."""
    others = [Address.of(f"10.1.1.{7 + node}", 5000) for node in range(2)]
    hop = next(each for each in others if each != flow.next_hop)
    return Flow(flow.client, flow.proxy, hop, flow.created, flow.proved, flow.seen)


@pytest.mark.parametrize("kinds", [{Kind.STUN}, {Kind.RTP}, {Kind.DTLS}])
def test_a_relay_that_sends_to_somebody_else(kinds: set[Kind]) -> None:
    def wrong(route: Any) -> Any:
        def route_client(self: Relay, data: bytes, *rest: Any) -> Any:
            flow = route(self, data, *rest)
            if isinstance(flow, Flow) and classify(data) in kinds and self.counters.made > 2:
                return elsewhere(flow)
            return flow

        return route_client

    with swapped(Relay, "route_client", wrong):
        assert "ownership" in broken()


def test_a_relay_that_guesses_for_whom_it_does_not_know() -> None:
    def guesses(route: Any) -> Any:
        def stranger(self: Relay, data: bytes, client: Address, proxy: Address, now: float) -> Any:
            answer = route(self, data, client, proxy, now)
            if answer is not Drop.NO_FLOW:
                return answer
            return Flow(client, proxy, Address.of("10.1.1.7", 5000), now, now, now)

        return stranger

    with swapped(Relay, "_route_stranger", guesses):
        rules = {
            report.failure.rule
            for seed in range(12)
            if (report := run(seed, Fault.NAT, Fault.RELAY, sessions=6)).failure is not None
        }
    assert rules == {"ownership"}


def test_a_transceiver_that_mixes_its_calls_up() -> None:
    def wrong(take: Any) -> Any:
        def take_datagram(self: Endpoint, *arguments: Any) -> AudioReceived | None:
            event: AudioReceived | None = take(self, *arguments)
            if event is not None:
                event.call = self.calls[0]
            return event

        return take_datagram

    with swapped(Endpoint, "take_datagram", wrong):
        assert broken() == {"separation"}


def test_a_transceiver_that_answers_somebody_else() -> None:
    def wrong(send: Any) -> Any:
        def send_audio(self: Endpoint, call: str, *rest: Any) -> bool:
            return bool(send(self, self.calls[-1], *rest))

        return send_audio

    with swapped(Endpoint, "send_audio", wrong):
        assert broken() == {"separation"}


def test_a_transceiver_that_says_messages_twice() -> None:
    def wrong(send: Any) -> Any:
        def send_message(self: Endpoint, *arguments: Any) -> bool:
            return bool(send(self, *arguments)) and bool(send(self, *arguments))

        return send_message

    with swapped(Endpoint, "send_message", wrong):
        assert broken() == {"separation"}


def test_a_transceiver_that_spoils_what_it_hears() -> None:
    def wrong(receive: Any) -> Any:
        def receive_rtp(self: sessions.Session, *arguments: Any) -> AudioReceived | None:
            event: AudioReceived | None = receive(self, *arguments)
            if event is not None:
                event.payload = event.payload[:-1] + b"\0"
            return event

        return receive_rtp

    with swapped(sessions.Session, "receive_rtp", wrong):
        assert broken() == {"separation"}


@pytest.mark.parametrize(("seed", "rule"), [(4, "ownership"), (17, "recovery")])
def test_a_relay_that_never_lets_a_client_change_hands(seed: int, rule: str) -> None:
    with swapped(FlowTable, "_promote", lambda _: lambda *_args, **_named: None):
        report = run(seed, Fault.TRANSCEIVER, Fault.DRAIN, minutes=0.5, sessions=6, features=())
    assert report.failure is not None
    assert report.failure.rule == rule


@pytest.mark.parametrize(
    ("seed", "features"), [(35, ()), (133, ()), (35, tuple(Feature)), (78, tuple(Feature))]
)
def test_a_relay_that_leaves_an_address_to_whoever_sends(
    seed: int, features: tuple[Feature, ...]
) -> None:
    """As before a session that its client has left could lose the address while it went on."""

    def holds(self: FlowTable, live: Flow, now: float) -> bool:
        return now - live.proved < self._config.takeover_idle

    with swapped(FlowTable, "_holds", lambda _: holds):
        failure = World(Settings(seed, features=features)).run().failure
    assert failure is not None
    assert failure.rule == "recovery"
    assert "a living session" in failure.what


def test_a_relay_that_is_deaf_after_a_restart() -> None:
    begun: set[Worker] = set()

    def deaf(start: Any) -> Any:
        def wrong(self: Worker) -> None:
            start(self)
            if self in begun and self.core is not None:
                core = self.core
                core.route_client = lambda data, client, proxy, now: core.drop(  # type: ignore[method-assign]
                    Drop.NO_FLOW, client, now
                )
            begun.add(self)

        return wrong

    with swapped(Worker, "start", deaf):
        assert broken(Fault.RELAY) == {"recovery"}


def test_a_transceiver_that_forgets_its_calls() -> None:
    def forgets(take: Any) -> Any:
        def take_datagram(self: Endpoint, data: bytes, address: Address, now: float) -> Any:
            self._by_address.clear()
            self._by_ufrag.clear()
            self._ways.clear()
            return take(self, data, address, now)

        return take_datagram

    with swapped(Endpoint, "take_datagram", forgets):
        assert "recovery" in broken()


@pytest.mark.parametrize("table", ["_by_source", "_by_address", "_by_ufrag"])
def test_a_transceiver_that_keeps_what_has_ended(table: str) -> None:
    def keeps(release: Any) -> Any:
        def wrong(self: Endpoint, slot: Any) -> None:
            kept = dict(getattr(self, table))
            release(self, slot)
            getattr(self, table).update(kept)

        return wrong

    with swapped(Endpoint, "_release", keeps):
        found = broken()
    assert found & {"leaks", "bounds"}, found


def test_a_relay_that_keeps_its_flows() -> None:
    def keeps(rotate: Any) -> Any:
        return lambda self, now: None

    with swapped(Relay, "handle_timeout", keeps):
        assert broken() & {"leaks", "stuck"}


def test_a_transceiver_that_takes_more_calls_than_it_may() -> None:
    world = World(Settings(0, sessions=4, kinds=(), minutes=0.3))
    for host in world.hosts:
        assert host.core is not None
        host.core.config = evolve(host.core.config, sessions=10**6)
    world.checks.scene = evolve(
        world.scene, endpoint_config=evolve(world.scene.endpoint_config, sessions=0)
    )
    report = world.run()
    assert report.failure is not None
    assert report.failure.rule == "bounds"


def test_a_deadline_that_does_not_move() -> None:
    with swapped(Endpoint, "next_timeout", lambda _: lambda self: 0.0):
        assert broken() == {"stuck"}


# --- relays with several addresses, and two tiers -------------------------------------------------


def tiered(*kinds: Fault, **changes: Any) -> Iterator[World]:
    """A few worlds with an upstream relay."""
    found = 0
    for seed in range(60):
        values = {"sessions": 6, "kinds": kinds, "minutes": 0.3, **changes}
        world = World(Settings(seed, **values))
        if world.scene.relays[-1].is_upstream:
            found += 1
            yield world
        if found == 4:
            return


def rules_of(worlds: Iterator[World]) -> set[str]:
    reports = [world.run() for world in worlds]
    return {report.failure.rule for report in reports if report.failure is not None}


def test_two_whole_tiers_break_nothing() -> None:
    assert rules_of(tiered()) == set()


def test_a_relay_that_answers_from_another_of_its_addresses() -> None:
    def wrong(route: Any) -> Any:
        def route_transceiver(self: Relay, *arguments: Any) -> Any:
            found = route(self, *arguments)
            if not isinstance(found, Downlink) or found.upstream is not None:
                return found
            others = sorted(
                each
                for each in self._proxies or ()
                if each != found.proxy and each.is_ipv4 is found.proxy.is_ipv4
            )
            return evolve(found, proxy=others[0]) if others else found

        return route_transceiver

    with swapped(Relay, "route_transceiver", wrong):
        assert broken(features=(Feature.ADDRESSES,)) == {"addresses"}


def test_a_relay_that_answers_the_clients_of_the_one_in_front() -> None:
    def wrong(route: Any) -> Any:
        def route_transceiver(self: Relay, *arguments: Any) -> Any:
            found = route(self, *arguments)
            return evolve(found, upstream=None) if isinstance(found, Downlink) else found

        return route_transceiver

    with swapped(Relay, "route_transceiver", wrong):
        assert rules_of(tiered()) == {"addresses"}


def test_a_relay_that_does_not_pass_headers_on_as_they_came() -> None:
    def wrong(route: Any) -> Any:
        def route_relay(self: Relay, *arguments: Any) -> Any:
            found = route(self, *arguments)
            if isinstance(found, Flow):
                proxy = min(self._proxies or ())
                at = (found.created, found.proved, found.seen)
                return Flow(found.client, proxy, found.next_hop, *at)
            return found

        return route_relay

    with swapped(Relay, "route_relay", wrong):
        assert rules_of(tiered()) == {"addresses"}


def test_an_upstream_relay_that_sends_to_the_wrong_one_behind() -> None:
    def wrong(route: Any) -> Any:
        def route_client(self: Relay, *arguments: Any) -> Any:
            found = route(self, *arguments)
            if not isinstance(found, Flow) or self._upstream:
                return found
            hops = getattr(self._directory, "hops", {}).values()
            others = [hop.address for hop in hops if hop.address != found.next_hop]
            if not others:
                return found
            return Flow(found.client, found.proxy, others[0], *(found.created,) * 3)

        return route_client

    with swapped(Relay, "route_client", wrong):
        assert "ownership" in rules_of(tiered())


def test_the_bounds_of_an_upstream_relay_are_its_own() -> None:
    for world in tiered():
        front = world.workers[-1]
        assert front.site.is_upstream
        front.site = evolve(front.site, config=evolve(front.site.config, flows=1))
        failure = world.run().failure
        assert failure is not None
        assert failure.rule == "bounds"
        assert "1 is the bound" in failure.what
        return


def test_an_upstream_relay_that_keeps_its_flows() -> None:
    def keeps(rotate: Any) -> Any:
        def handle_timeout(self: Relay, now: float) -> None:
            if self._upstream:  # it lies behind another
                rotate(self, now)

        return handle_timeout

    with swapped(Relay, "handle_timeout", keeps):
        assert rules_of(tiered()) & {"leaks", "stuck"}


def test_an_exception_is_told_with_its_place() -> None:
    def raises(self: Endpoint, *arguments: Any) -> None:
        raise ZeroDivisionError("on purpose")

    with swapped(Endpoint, "take_datagram", lambda _: raises):
        failure = run().failure
    assert failure is not None
    assert failure.rule == "exception"
    assert "on purpose" in failure.what
    assert "in raises" in failure.what


def test_a_client_that_seals_nonsense_is_blamed_on_us() -> None:
    def mad(send: Any) -> Any:
        def send_audio(self: Client, payload: bytes, timestamp: int, marker: bool = False) -> bytes:
            before, self.payload_type = self.payload_type, 99
            data: bytes = send(self, payload, timestamp, marker)
            self.payload_type = before
            return data

        return send_audio

    with swapped(Client, "send_audio", mad):
        assert broken() <= {"blame", "recovery"}
        assert broken()


def test_a_core_with_dice_of_its_own() -> None:
    drawn = seeded("not from the seed")

    def impure(report: Any) -> Any:
        def wrong(self: Any, now: float) -> Any:
            packet = report(self, now)
            self._report_at = now + 1 + drawn(1)[0] / 256
            return packet

        return wrong

    assert run(1).digest == run(1).digest
    with swapped(AudioStream, "report", impure):
        assert run(1).digest != run(1).digest


def test_every_rule_is_looked_at() -> None:
    passed = run(2, Fault.NAT, Fault.RELAY, sessions=8).passed
    for rule in (
        *("ownership", "ownership of checks", "ownership by source"),
        *("separation of audio", "separation of echoes"),
        *("separation of messages", "separation of replies"),
        *("bounds", "leaks", "blame"),
    ):
        assert passed[rule], rule
