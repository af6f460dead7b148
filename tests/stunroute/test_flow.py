"""Flows: each rule by name, and all of them against a model in any order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from fleet import (
    CLIENTS,
    NODES,
    PROXY,
    A,
    B,
    C,
    check,
    forged,
    indication,
    leg,
    relay,
    rtp,
    success,
)
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.flow import LAST_SHARD, Flow, FlowTable, Generations, Sources
from stunroute.relay import Downlink, Relay, Release
from stunroute.trace import (
    Drop,
    FlowContended,
    FlowExpired,
    FlowMade,
    FlowMoved,
    FlowRecord,
    FlowReleased,
    FlowRenewed,
    Origin,
)

CLIENT, OTHER = CLIENTS[:2]
CONFIG = RelayConfig(flows=4, contenders=2, heal_rate=10.0, heal_burst=2.0)


def table(config: RelayConfig = CONFIG) -> tuple[FlowTable, list[FlowRecord]]:
    records: list[FlowRecord] = []
    return FlowTable(config, records.append), records


def made(flows: FlowTable, client: Address, next_hop: Address, now: float) -> Flow:
    flow = flows.check(client, PROXY, next_hop, False, now)
    assert isinstance(flow, Flow)
    return flow


class TestShards:
    def test_an_entry_is_in_the_shard_of_its_low_bits_until_it_is_removed(self) -> None:
        sources: Sources[str] = Sources()
        alike = 7 + (LAST_SHARD + 1)
        for ssrc in (7, alike, 8):
            sources.put(ssrc, f"flow {ssrc}")
        assert sources.get(7) == "flow 7"
        assert set(sources.shards[7]) == {7, alike}
        assert all(ssrc in sources for ssrc in (7, alike, 8))
        sources.remove(7)
        assert sources.get(7) is None
        assert [ssrc in sources for ssrc in (7, alike, 8)] == [False, True, True]


class TestGenerations:
    def test_what_was_not_met_between_two_rotations_is_handed_out(self) -> None:
        entries: Generations[str] = Generations()
        entries.put(CLIENT, "kept")
        entries.put(OTHER, "silent")
        assert not any(entries.rotate())
        assert entries.get(CLIENT) == "kept"
        assert entries.peek(OTHER) == "silent"
        assert [shard for shard in entries.rotate() if shard] == [{OTHER: "silent"}]
        assert list(entries) == [CLIENT]
        assert len(entries) == 1

    def test_pop_finds_either_generation(self) -> None:
        entries: Generations[str] = Generations()
        entries.put(CLIENT, "old")
        entries.rotate()
        assert entries.pop(CLIENT) == "old"
        entries.put(CLIENT, "young")
        assert entries.pop(CLIENT) == "young"
        assert entries.pop(CLIENT) is None
        assert entries.get(CLIENT) is None

    def test_put_replaces_an_entry_of_the_old_generation(self) -> None:
        entries: Generations[str] = Generations()
        entries.put(CLIENT, "old")
        entries.rotate()
        entries.put(CLIENT, "new")
        assert len(entries) == 1
        assert not any(entries.rotate())


class TestTakeover:
    def test_a_check_for_another_node_does_not_move_a_live_flow(self) -> None:
        flows, records = table()
        made(flows, CLIENT, A, 0.0)
        contender = made(flows, CLIENT, B, 1.0)
        assert contender.next_hop == B
        assert flows.uplink(CLIENT, 1.0).next_hop == A  # type: ignore[union-attr]
        assert records[-1] == FlowContended(1.0, CLIENT, A, B)

    def test_it_moves_when_unproved_for_long_and_the_contender_was_answered(self) -> None:
        flows, records = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 9.0)
        assert isinstance(flows.downlink(CLIENT, PROXY, B, True, 9.1), Flow)
        assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]
        made(flows, CLIENT, B, 10.0)
        assert flows.flow(CLIENT).next_hop == B  # type: ignore[union-attr]
        assert records[-1] == FlowMoved(10.0, CLIENT, A, B)
        assert flows.contender(CLIENT) is None

    def test_an_unanswered_contender_never_takes_over(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 25.0)
        flows.downlink(CLIENT, PROXY, B, False, 26.0)
        assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]
        flows.downlink(CLIENT, PROXY, B, True, 26.0)
        assert flows.flow(CLIENT).next_hop == B  # type: ignore[union-attr]

    @pytest.mark.parametrize(("proof", "until"), [("check", 60), ("downlink", 15)])
    def test_what_proves_a_flow_keeps_it(self, proof: str, until: int) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        for now in range(1, until - 8, 5):
            if proof == "check":
                made(flows, CLIENT, A, now)
            else:
                flows.downlink(CLIENT, PROXY, A, False, now)
            flows.downlink(CLIENT, PROXY, B, True, now + 8)
            made(flows, CLIENT, B, now + 8)
            assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]

    def test_uplink_that_names_nobody_proves_nothing(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        for now in range(12):
            flows.uplink(CLIENT, now)
        flows.downlink(CLIENT, PROXY, B, True, 12.0)
        assert flows.flow(CLIENT).next_hop == B  # type: ignore[union-attr]

    @pytest.mark.parametrize("first", ["made by a check", "made again by its owner's packet"])
    def test_an_owner_whose_client_has_left_does_not_hold_the_address(self, first: str) -> None:
        """It goes on sending until consent ends: reports, and sound that nobody plays."""
        flows, _ = table()
        if first == "made by a check":
            made(flows, CLIENT, A, 0.0)
        else:
            flows.downlink(CLIENT, PROXY, A, False, 0.0)
        for now in range(1, 15):
            flows.downlink(CLIENT, PROXY, A, False, now)
            if now % 5 == 0:
                made(flows, CLIENT, B, now)
                flows.downlink(CLIENT, PROXY, B, True, now)
            assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]
        made(flows, CLIENT, B, 15.0)
        assert flows.flow(CLIENT).next_hop == B  # type: ignore[union-attr]
        assert flows.downlink(CLIENT, PROXY, A, False, 15.0) is Drop.LEG_NOT_OWNER

    def test_who_forges_addresses_waits_in_vain_even_if_a_check_is_lost(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        for now in range(1, 200):
            flows.downlink(CLIENT, PROXY, A, False, now)
            made(flows, CLIENT, B, now)
            flows.downlink(CLIENT, PROXY, B, True, now)
            if now % 12 == 0:  # each second of a client that checks every 6 s
                made(flows, CLIENT, A, now)
            assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]

    def test_the_newest_contender_wins(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.downlink(CLIENT, PROXY, B, True, 1.0)
        made(flows, CLIENT, C, 2.0)
        assert flows.downlink(CLIENT, PROXY, B, True, 2.0) is Drop.LEG_NOT_OWNER
        assert flows.release(CLIENT, A, 3.0) is None
        assert flows.flow(CLIENT) is None
        flows.downlink(CLIENT, PROXY, C, True, 3.0)
        assert flows.flow(CLIENT).next_hop == C  # type: ignore[union-attr]

    def test_a_released_flow_goes_to_the_answered_contender_at_once(self) -> None:
        flows, records = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.downlink(CLIENT, PROXY, B, True, 1.0)
        flows.release(CLIENT, A, 2.0)
        assert records[-2:] == [FlowReleased(2.0, CLIENT, A, 0.0), FlowMoved(2.0, CLIENT, A, B)]

    def test_an_expired_flow_goes_to_the_answered_contender(self) -> None:
        config = RelayConfig(takeover_idle=1000.0, takeover_unchecked=1000.0)
        flows, records = table(config)
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.downlink(CLIENT, PROXY, B, True, 1.0)
        flows.handle_timeout(30.0)
        flows.downlink(CLIENT, PROXY, B, True, 31.0)
        flows.handle_timeout(60.0)
        assert records[-2:] == [FlowExpired(60.0, CLIENT, A), FlowMoved(60.0, CLIENT, A, B)]

    def test_a_contender_whose_flow_went_first_is_made_by_its_answer(self) -> None:
        flows, records = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.release(CLIENT, A, 2.0)
        assert flows.uplink(CLIENT, 2.0) is None
        assert flows.downlink(CLIENT, PROXY, A, False, 2.0) is Drop.LEG_NOT_OWNER
        flows.downlink(CLIENT, PROXY, B, True, 3.0)
        assert records[-1] == FlowMade(3.0, CLIENT, B, Origin.ANSWER)

    def test_an_answer_does_not_overfill_the_table(self) -> None:
        flows, _ = table(RelayConfig(flows=1))
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.release(CLIENT, A, 2.0)
        made(flows, OTHER, A, 2.0)
        assert isinstance(flows.downlink(CLIENT, PROXY, B, True, 3.0), Flow)
        assert len(flows) == 1

    def test_a_contender_may_release_itself(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        assert flows.release(CLIENT, C, 1.0) is Drop.LEG_NOT_OWNER
        assert flows.release(CLIENT, B, 1.0) is None
        assert flows.contender(CLIENT) is None
        assert flows.flow(CLIENT).next_hop == A  # type: ignore[union-attr]

    def test_a_contenders_downlink_proves_what_it_takes_over(self) -> None:
        flows, _ = table()
        made(flows, CLIENT, A, 0.0)
        made(flows, CLIENT, B, 1.0)
        flows.downlink(CLIENT, PROXY, B, True, 9.0)
        flows.release(CLIENT, A, 9.5)
        moved = flows.flow(CLIENT)
        assert moved is not None
        assert (moved.next_hop, moved.proved) == (B, 9.0)

    def test_contenders_are_bounded(self) -> None:
        flows, _ = table()
        for client in CLIENTS[:3]:
            made(flows, client, A, 0.0)
        made(flows, CLIENTS[0], B, 1.0)
        made(flows, CLIENTS[1], B, 1.0)
        assert flows.check(CLIENTS[2], PROXY, B, False, 1.0) is Drop.FLOWS_FULL
        made(flows, CLIENTS[0], C, 1.0)  # in place of the one there


class TestLifetime:
    def test_a_flow_is_forgotten_between_one_and_two_timeouts_of_silence(self) -> None:
        flows, records = table()
        assert flows.next_timeout() is None
        made(flows, CLIENT, A, 0.0)
        made(flows, OTHER, A, 0.0)
        assert flows.next_timeout() == 30.0
        flows.handle_timeout(29.9)
        flows.handle_timeout(30.0)
        assert flows.uplink(OTHER, 31.0) is not None
        flows.handle_timeout(60.0)
        assert records[-2:] == [FlowRenewed(31.0, OTHER, A, 0.0), FlowExpired(60.0, CLIENT, A)]
        assert list(flows) == [OTHER]
        flows.handle_timeout(90.0)
        flows.handle_timeout(120.0)
        assert len(flows) == 0
        assert flows.next_timeout() is None
        flows.handle_timeout(150.0)

    def test_the_table_is_bounded(self) -> None:
        flows, _ = table()
        for client in CLIENTS[:4]:
            made(flows, client, A, 0.0)
        assert flows.check(CLIENTS[4], PROXY, A, False, 0.0) is Drop.FLOWS_FULL
        assert flows.downlink(CLIENTS[4], PROXY, A, False, 0.0) is Drop.FLOWS_FULL
        assert flows.restore(CLIENTS[4], PROXY, A, 0.0, 0.0) is Drop.FLOWS_FULL
        made(flows, CLIENTS[0], A, 0.0)

    def test_healing_is_rate_bounded(self) -> None:
        flows, records = table()
        for client in CLIENTS[:2]:
            assert isinstance(flows.downlink(client, PROXY, A, False, 0.0), Flow)
        assert flows.downlink(CLIENTS[2], PROXY, A, False, 0.0) is Drop.LEG_HEAL_RATE
        assert isinstance(flows.downlink(CLIENTS[2], PROXY, A, False, 0.1), Flow)
        assert records[-1] == FlowMade(0.1, CLIENTS[2], A, Origin.DOWNLINK)

    def test_a_restored_flow_yields_to_the_first_answered_check(self) -> None:
        flows, records = table()
        assert isinstance(flows.restore(CLIENT, PROXY, A, 0.0, 0.0), Flow)
        made(flows, CLIENT, B, 0.1)
        flows.downlink(CLIENT, PROXY, B, True, 0.2)
        assert records[-1] == FlowMoved(0.2, CLIENT, A, B)
        flow = flows.restore(CLIENT, PROXY, A, 0.3, 0.3)
        assert isinstance(flow, Flow)
        assert flow.next_hop == B


class TestSources:
    def test_one_flow_is_found_by_its_ssrc_until_it_ends(self) -> None:
        flows, _ = table()
        flow = made(flows, CLIENT, A, 0.0)
        flows.learn(flow, 7)
        flows.learn(flow, 7)
        assert flows.by_ssrc(7) is flow
        assert flows.by_ssrc(8) is None
        flows.release(CLIENT, A, 1.0)
        assert flows.by_ssrc(7) is None

    def test_a_flow_that_moves_leaves_its_sources_behind(self) -> None:
        flows, _ = table()
        flows.learn(made(flows, CLIENT, A, 0.0), 7)
        made(flows, CLIENT, B, 1.0)
        flows.downlink(CLIENT, PROXY, B, True, 15.0)
        assert flows.flow(CLIENT).next_hop == B  # type: ignore[union-attr]
        assert flows.by_ssrc(7) is None

    def test_an_ssrc_of_two_owners_finds_none_until_one_of_them_ends(self) -> None:
        flows, _ = table()
        three = [
            made(flows, client, owner, 0.0)
            for client, owner in zip(CLIENTS[:3], (A, A, B), strict=True)
        ]
        for flow in three:
            flows.learn(flow, 7)
        assert flows.by_ssrc(7) is None
        flows.release(CLIENTS[0], A, 1.0)
        assert flows.by_ssrc(7) is None
        flows.release(CLIENTS[1], A, 1.0)
        assert flows.by_ssrc(7) is three[2]

    def test_a_client_that_rebinds_again_and_again_is_found(self) -> None:
        flows, _ = table(RelayConfig())
        clients = [Address(bytes(14) + n.to_bytes(2, "big"), 1) for n in range(10)]
        for client in clients[:8]:
            flows.learn(made(flows, client, A, 0.0), 7)
            found = flows.by_ssrc(7)
            assert found is not None
            assert found.next_hop == A
        for client in clients[8:]:
            flows.learn(made(flows, client, A, 0.0), 7)
            assert flows.by_ssrc(7) is None

    def test_few_are_learnt_per_flow(self) -> None:
        flows, _ = table()
        flow = made(flows, CLIENT, A, 0.0)
        for ssrc in range(10):
            flows.learn(flow, ssrc)
        assert flow.ssrcs == (0, 1, 2, 3)
        assert flows.by_ssrc(4) is None

    def test_a_flow_is_looked_at_again_in_the_next_generation(self) -> None:
        flows, _ = table()
        flow = made(flows, CLIENT, A, 0.0)
        assert flow.peeks == CONFIG.ssrc_peeks
        flow.peeks = 0
        assert flow.is_settled
        flows.handle_timeout(30.0)
        flows.uplink(CLIENT, 31.0)
        assert flow.peeks == CONFIG.ssrc_peeks_later
        assert not flow.is_settled


# All rules in any order, against a model.

BOUNDS = RelayConfig(flows=3, contenders=2, heal_rate=1e6, heal_burst=1e6, ssrc_peeks=1000)
_clients = st.sampled_from(CLIENTS[:4])
_nodes = st.sampled_from(list(NODES))


class Entry:
    """What the model knows of a flow or a contender. Age is the number of a generation."""

    def __init__(self, hop: Address, proved: float, generation: int) -> None:
        self.hop = hop
        self.proved = self.checked = proved
        self.seen = generation
        self.answered = False
        self.ssrcs: set[int] = set()


class FlowRules(RuleBasedStateMachine):
    """Clients, spoofers and transceivers do as they like; the relay and a model that keeps plain
    lists and ages instead of generations agree on every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.restart()

    @rule()
    def restart(self) -> None:
        """The relay is restarted and knows nobody."""
        self.relay: Relay = relay(config=BOUNDS)
        self.flows: dict[Address, Entry] = {}
        self.contenders: dict[Address, Entry] = {}
        self.generation = 0
        self.rotates_at: float | None = None

    # The model

    def model_make(self, client: Address, hop: Address) -> Drop | Address:
        if len(self.flows) >= BOUNDS.flows:
            return Drop.FLOWS_FULL
        self.contenders.pop(client, None)
        self.flows[client] = Entry(hop, self.now, self.generation)
        if self.rotates_at is None:
            self.rotates_at = self.now + BOUNDS.idle_timeout
        return hop

    def model_takeover(self, client: Address) -> None:
        contender, flow = self.contenders.get(client), self.flows.get(client)
        if contender is None or not contender.answered:
            return
        if flow is None and len(self.flows) >= BOUNDS.flows:
            return
        if (
            flow is not None
            and self.now - flow.proved < BOUNDS.takeover_idle
            and self.now - flow.checked < BOUNDS.takeover_unchecked
        ):
            return
        self.flows[client] = self.contenders.pop(client)
        self.flows[client].seen = self.generation

    def model_check(self, client: Address, hop: Address) -> Drop | Address:
        flow = self.flows.get(client)
        if flow is None:
            return self.model_make(client, hop)
        if flow.hop == hop:
            flow.proved, flow.checked, flow.seen = self.now, self.now, self.generation
            return hop
        contender = self.contenders.get(client)
        if contender is None and len(self.contenders) >= BOUNDS.contenders:
            return Drop.FLOWS_FULL
        if contender is None or contender.hop != hop:
            contender = self.contenders[client] = Entry(hop, self.now, self.generation)
        contender.proved, contender.checked, contender.seen = self.now, self.now, self.generation
        self.model_takeover(client)
        return hop

    def model_downlink(self, client: Address, hop: Address, answers: bool) -> Drop | None:
        flow, contender = self.flows.get(client), self.contenders.get(client)
        if flow is not None and flow.hop == hop:
            flow.proved, flow.seen = self.now, self.generation
            return None
        if contender is not None and contender.hop == hop:
            contender.proved, contender.seen = self.now, self.generation
            contender.answered = contender.answered or answers
            self.model_takeover(client)
            return None
        if flow is not None or contender is not None:
            return Drop.LEG_NOT_OWNER
        result = self.model_make(client, hop)
        return result if isinstance(result, Drop) else None

    def model_rotate(self) -> None:
        self.generation += 1
        for client, entry in list(self.contenders.items()):
            if entry.seen < self.generation - 1:
                del self.contenders[client]
        expired = [c for c, entry in self.flows.items() if entry.seen < self.generation - 1]
        for client in expired:
            del self.flows[client]
        for client in expired:
            self.model_takeover(client)
        some = self.flows or self.contenders
        self.rotates_at = self.now + BOUNDS.idle_timeout if some else None

    # What happens

    @rule(client=_clients, node=_nodes)
    def a_check(self, client: Address, node: int) -> None:
        """A client's own, or with somebody else's source address: to the relay they look alike."""
        expected = self.model_check(client, NODES[node])
        route = self.relay.route_client(check(node), client, PROXY, self.now)
        assert (route.next_hop if isinstance(route, Flow) else route) == expected

    @rule(client=_clients, node=_nodes)
    def a_spoofed_check_without_the_password(self, client: Address, node: int) -> None:
        route = self.relay.route_client(forged(node), client, PROXY, self.now)
        assert route is Drop.EDGE_INTEGRITY

    @rule(client=_clients, data=st.sampled_from([b"\x16dtls", indication(), success()]))
    def what_names_nobody(self, client: Address, data: bytes) -> None:
        flow = self.flows.get(client)
        if flow is not None:
            flow.seen = self.generation
        route = self.relay.route_client(data, client, PROXY, self.now)
        expected = Drop.NO_FLOW if flow is None else flow.hop
        assert (route.next_hop if isinstance(route, Flow) else route) == expected

    @rule(client=_clients, ssrc=st.integers(0, 3))
    def media(self, client: Address, ssrc: int) -> None:
        """The client's own, or its first packet from behind a rebound NAT."""
        expected: Drop | Address = Drop.NO_FLOW
        flow = self.flows.get(client)
        if flow is not None:
            flow.seen = self.generation
            flow.ssrcs.add(ssrc)
            expected = flow.hop
        else:
            hops = {flow.hop for flow in self.flows.values() if ssrc in flow.ssrcs}
            if len(hops) == 1:
                (expected,) = hops
        route = self.relay.route_client(rtp(ssrc), client, PROXY, self.now)
        assert (route.next_hop if isinstance(route, Flow) else route) == expected

    @rule(client=_clients, node=_nodes, answers=st.booleans())
    def a_packet_from_a_transceiver(self, client: Address, node: int, answers: bool) -> None:
        payload = success() if answers else b"\x16dtls"
        expected = self.model_downlink(client, NODES[node], answers)
        route = self.relay.route_transceiver(leg(client, payload), NODES[node], self.now)
        if expected is None:
            assert route == Downlink(client, PROXY, payload)
        else:
            assert route is expected

    @rule(client=_clients, node=_nodes)
    def a_release(self, client: Address, node: int) -> None:
        flow, contender = self.flows.get(client), self.contenders.get(client)
        expected: Drop | Release = Release(client)
        if contender is not None and contender.hop == NODES[node]:
            del self.contenders[client]
        elif flow is not None and flow.hop == NODES[node]:
            del self.flows[client]
            self.model_takeover(client)
        elif flow is not None or contender is not None:
            expected = Drop.LEG_NOT_OWNER
        assert self.relay.route_transceiver(leg(client), NODES[node], self.now) == expected

    @precondition(lambda self: self.flows)
    @rule(data=st.data(), node=_nodes)
    def a_port_is_reused_for_a_call_elsewhere(self, data: st.DataObject, node: int) -> None:
        """The old session ends properly, the new one checks and is answered: it is served."""
        client = data.draw(st.sampled_from(sorted(self.flows)))
        owner = next(n for n, hop in NODES.items() if hop == self.flows[client].hop)
        self.a_release(client, owner)
        self.a_check(client, node)
        self.a_packet_from_a_transceiver(client, node, True)

    @rule(seconds=st.sampled_from([0.02, 2.5, 9.99, 10.0, 29.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while (at := self.relay.next_timeout()) is not None and at <= until:
            assert at == self.rotates_at
            self.now = at
            self.relay.handle_timeout(at)
            self.model_rotate()
        self.now = until

    # What always holds

    @invariant()
    def the_tables_agree(self) -> None:
        assert self.relay.next_timeout() == self.rotates_at
        assert self.relay.flows == len(self.flows)
        for client in CLIENTS[:4]:
            for kept, model in (
                (self.relay.flow(client), self.flows.get(client)),
                (self.relay.contender(client), self.contenders.get(client)),
            ):
                assert (kept and (kept.next_hop, kept.proved)) == (
                    model and (model.hop, model.proved)
                )

    @invariant()
    def the_bounds_hold(self) -> None:
        assert self.relay.flows <= BOUNDS.flows
        assert len(self.contenders) <= BOUNDS.contenders


TestFlowRules = FlowRules.TestCase
TestFlowRules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
