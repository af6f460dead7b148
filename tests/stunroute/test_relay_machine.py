"""Live calls among attackers: whoever sends what from whatever address, a call keeps its way.

The attackers here have everything but the password key. They forge source addresses, know every
ufrag that was ever minted, have recorded every check that went by, run sessions of their own on
every node (with true passwords, which they use from their victims' addresses), guess
synchronisation sources, and write into the store what they like. Time passes, calls end and ports
are reused, and the relay is restarted in between.
"""

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fleet import (
    CLIENTS,
    NODES,
    OTHER_PROXY,
    PROXY,
    check,
    dtls,
    fresh,
    indication,
    leg,
    relay,
    rtcp,
    rtp,
    success,
    ufrag,
)
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.flow import Flow
from stunroute.relay import Downlink, Relay, Release
from stunroute.trace import Drop
from stunroute.waiting import Lookup

CONFIG = RelayConfig(flows=64, contenders=8, ssrcs_per_flow=2, ssrc_peeks=4, store=True)
LIVENESS = 5.0
"""A live session is heard of this often: by a check, or by a packet of its owner."""
SPARING = 10.0
"""Every client sends a check this often at least. RFC 7675 has it do so every 6 s at the latest; of
one that has not for ``takeover_unchecked`` nobody can say that it has not left."""

ATTACKERS = tuple(Address.of("203.0.113.9", 40_000 + port) for port in range(2))
STRANGER = Address.of("10.0.0.99", 4000)
# Each names itself: a session of an attacker's own on every node.
ATTACKING = {node: ufrag(node) for node in NODES}

_victims = st.sampled_from(CLIENTS[:3])
_anywhere = st.sampled_from([*CLIENTS[:3], *ATTACKERS])
_nodes = st.sampled_from(list(NODES))
_proxies = st.sampled_from([PROXY, OTHER_PROXY])


@define(eq=False)
class HonestCall:
    """``live`` once the relay knows the client's address as this call's; ``checks``: its client
    sends a check whenever it is heard of."""

    client: Address
    node: int
    name: bytes
    ssrc: int
    checks: bool
    live: bool = False
    checked: float = float("-inf")

    @property
    def owner(self) -> Address:
        return NODES[self.node]


class AttackRules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.relay: Relay = relay(config=CONFIG)
        self.calls: dict[Address, HonestCall] = {}
        self.recorded: list[tuple[bytes, Address, HonestCall]] = []
        self.asked: set[Address] = set()

    # What honest people do

    def send_check(self, call: HonestCall) -> None:
        """A check goes to the node it names, whatever else is going on, and is answered."""
        data = check(call.node, name=call.name)
        call.checked = self.now
        self.recorded.append((data, call.client, call))
        self.goes(data, call.client, call.owner)
        self.answer(call.client, call.node)
        self.look(call)

    def look(self, call: HonestCall) -> None:
        flow = self.relay.flow(call.client)
        call.live = call.live or (flow is not None and flow.next_hop == call.owner)

    def goes(self, data: bytes, client: Address, hop: Address, proxy: Address = PROXY) -> None:
        route = self.relay.route_client(data, client, proxy, self.now)
        assert isinstance(route, Flow), route
        assert route.next_hop == hop

    def answer(self, client: Address, node: int) -> None:
        data = success()
        route = self.relay.route_transceiver(leg(client, data), NODES[node], self.now)
        assert route == Downlink(client, PROXY, data)

    def send_down(self, call: HonestCall, payload: bytes) -> None:
        unknown = self.relay.flow(call.client) is self.relay.contender(call.client) is None
        route = self.relay.route_transceiver(leg(call.client, payload), call.owner, self.now)
        if call.live or unknown:
            assert route == Downlink(call.client, PROXY, payload)
            self.look(call)

    @initialize(nodes=st.tuples(_nodes, _nodes), checks=st.booleans())
    def calls_are_up(self, nodes: tuple[int, ...], checks: bool) -> None:
        for client, node in zip(CLIENTS, nodes, strict=False):
            self.a_call_begins(client, node, checks)

    @rule(client=_victims, node=_nodes, checks=st.booleans())
    def a_call_begins(self, client: Address, node: int, checks: bool) -> None:
        if client in self.calls:
            self.the_call_ends(client)
        name, ssrc = ufrag(node), int.from_bytes(fresh(4), "big")
        call = self.calls[client] = HonestCall(client, node, name, ssrc, checks)
        self.send_check(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_client_checks(self, data: st.DataObject) -> None:
        self.send_check(self.drawn(data))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), kind=st.sampled_from(["rtp", "rtcp", "dtls", "answer", "indication"]))
    def a_client_sends(self, data: st.DataObject, kind: str) -> None:
        call = self.drawn(data)
        payload = {
            "rtp": rtp(call.ssrc),
            "rtcp": rtcp(call.ssrc),
            "dtls": dtls(),
            "answer": success(),
            "indication": indication(),
        }[kind]
        if call.live:
            self.goes(payload, call.client, call.owner)
        else:
            self.relay.route_client(payload, call.client, PROXY, self.now)
            self.fetch()

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), payload=st.sampled_from([rtp(1), rtcp(1), dtls()]))
    def an_owner_sends(self, data: st.DataObject, payload: bytes) -> None:
        self.send_down(self.drawn(data), payload)

    def drawn(self, data: st.DataObject) -> HonestCall:
        return self.calls[data.draw(st.sampled_from(sorted(self.calls)))]

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_hung_up(self, data: st.DataObject) -> None:
        self.the_call_ends(self.drawn(data).client)

    def the_call_ends(self, client: Address) -> None:
        call = self.calls.pop(client)
        route = self.relay.route_transceiver(leg(client), call.owner, self.now)
        if call.live:
            assert route == Release(client)

    @rule()
    def the_relay_is_restarted(self) -> None:
        self.relay = relay(config=CONFIG)
        self.asked.clear()
        for call in self.calls.values():
            call.live = False

    @rule(seconds=st.sampled_from([0.02, 2.5, 4.9, 12.0, 31.0, 65.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            until = min(end, self.now + LIVENESS)
            while (at := self.relay.next_timeout()) is not None and at <= until:
                self.now = max(self.now, at)
                self.relay.handle_timeout(self.now)
            self.now = until
            for call in self.calls.values():
                if call.checks or self.now - call.checked >= SPARING:
                    self.send_check(call)
                else:
                    self.send_down(call, rtcp(1))

    # What attackers do

    @precondition(lambda self: self.recorded)
    @rule(data=st.data(), source=_anywhere, proxy=_proxies)
    def a_check_is_forged(self, data: st.DataObject, source: Address, proxy: Address) -> None:
        """With the true name of some session and a password that is none."""
        name = data.draw(st.sampled_from(self.recorded))[2].name
        forged = check(0, name=name, password=data.draw(st.binary(min_size=22, max_size=32)))
        assert self.relay.route_client(forged, source, proxy, self.now) is Drop.EDGE_INTEGRITY

    @rule(node=_nodes, source=_anywhere, answered=st.booleans())
    def an_attackers_session_is_checked(self, node: int, source: Address, answered: bool) -> None:
        """Rightly signed, for a session of the attacker's own, from anybody's address."""
        route = self.relay.route_client(check(node, name=ATTACKING[node]), source, PROXY, self.now)
        if isinstance(route, Flow):
            assert route.next_hop == NODES[node]
            if answered:
                self.answer(source, node)
        else:
            assert route is Drop.FLOWS_FULL

    @precondition(lambda self: self.recorded)
    @rule(data=st.data(), source=_anywhere | st.none(), proxy=_proxies)
    def a_check_is_replayed(
        self, data: st.DataObject, source: Address | None, proxy: Address
    ) -> None:
        """From its own address (None) it is answered again while its session lives; a copy from
        elsewhere is known as one by the session."""
        replayed, client, call = data.draw(st.sampled_from(self.recorded))
        route = self.relay.route_client(replayed, source or client, proxy, self.now)
        if not isinstance(route, Flow):
            assert route is Drop.FLOWS_FULL
            return
        assert route.next_hop == call.owner
        if source in (None, client) and self.calls.get(client) is call:
            self.answer(client, call.node)
            self.look(call)

    @rule(data=st.data(), source=_anywhere, proxy=_proxies)
    def anything_is_sent(self, data: st.DataObject, source: Address, proxy: Address) -> None:
        """Media with a source that may be another's, handshakes, answers, garbage, legs."""
        known = [call.ssrc for call in self.calls.values()]
        ssrc = data.draw(st.sampled_from([*known, 7]))
        payload = data.draw(
            st.sampled_from([rtp(ssrc), rtcp(ssrc), dtls(), success(), indication(), leg(source)])
            | st.binary(max_size=60)
        )
        before = self.relay.flow(source)
        route = self.relay.route_client(payload, source, proxy, self.now)
        assert self.relay.flow(source) is before
        if before is not None and isinstance(route, Flow):
            assert route.next_hop == before.next_hop
        self.fetch()

    @rule(client=_anywhere, payload=st.sampled_from([b"", success(), rtp(7)]))
    def a_stranger_speaks_on_the_leg(self, client: Address, payload: bytes) -> None:
        route = self.relay.route_transceiver(leg(client, payload), STRANGER, self.now)
        assert route is Drop.LEG_STRANGER

    @rule(client=_victims, node=_nodes, payload=st.sampled_from([b"", success(), rtp(7)]))
    def a_node_errs(self, client: Address, node: int, payload: bytes) -> None:
        """A node that has nothing to do with the client speaks to it, or gives it up."""
        flow, contender = self.relay.flow(client), self.relay.contender(client)
        if flow is None or NODES[node] in {flow.next_hop, contender and contender.next_hop}:
            return
        only_stored = flow.proved == float("-inf") and contender is None
        route = self.relay.route_transceiver(leg(client, payload), NODES[node], self.now)
        if payload and only_stored:
            # Nobody but the store has said whose client this is: who speaks to it knows better.
            assert isinstance(route, Downlink) or route is Drop.LEG_HEAL_RATE
        else:
            assert route is Drop.LEG_NOT_OWNER

    def fetch(self) -> None:
        while (request := self.relay.next_request()) is not None:
            if isinstance(request, Lookup):
                self.asked.add(request.client)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), hop=st.sampled_from([*NODES.values(), STRANGER, None]))
    def the_store_lies(self, data: st.DataObject, hop: Address | None) -> None:
        """It is never believed about a client that has a flow, nor about a node nobody listed."""
        client = data.draw(st.sampled_from(sorted(self.asked)))
        self.asked.discard(client)
        self.hear_the_store(client, hop)

    @rule(client=_victims, node=_nodes, hop=st.sampled_from(list(NODES.values())))
    def the_store_lies_too_late(self, client: Address, node: int, hop: Address) -> None:
        """The client's media waits for the store, and its check makes the flow meanwhile."""
        if client in self.calls:
            self.the_call_ends(client)
        self.relay.route_client(dtls(), client, PROXY, self.now)
        self.fetch()
        self.a_call_begins(client, node, False)
        self.hear_the_store(client, hop)

    @rule(client=_anywhere, hop=st.sampled_from([*NODES.values(), STRANGER]))
    def the_store_lies_unasked(self, client: Address, hop: Address) -> None:
        self.hear_the_store(client, hop)

    def hear_the_store(self, client: Address, hop: Address | None) -> None:
        flow = self.relay.flow(client)
        known = flow.next_hop if flow is not None else hop
        for transmit in self.relay.restore(client, hop, self.now):
            assert transmit.address == known
            assert known in NODES.values()

    # What always holds

    @invariant()
    def a_live_call_keeps_its_owner(self) -> None:
        for client, call in self.calls.items():
            if call.live:
                flow = self.relay.flow(client)
                assert flow is not None
                assert flow.next_hop == call.owner

    @invariant()
    def the_bounds_hold(self) -> None:
        assert self.relay.flows <= CONFIG.flows
        assert sum(self.relay.contender(c) is not None for c in (*CLIENTS, *ATTACKERS)) <= 8


TestAttackRules = AttackRules.TestCase
TestAttackRules.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
