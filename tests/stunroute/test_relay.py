"""The relay's core: what comes in, where it goes, and every reason for which it goes nowhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import (
    CLIENTS,
    CLUSTER,
    CONFIGURATION,
    DIRECTORY,
    DRAINED,
    DRAINING,
    KEYRING,
    OTHER_PROXY,
    PROXY,
    A,
    B,
    check,
    dtls,
    forged,
    fresh,
    indication,
    leg,
    relay,
    rtcp,
    rtp,
    success,
    ufrag,
)
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.demux import Kind
from stunroute.directory import NextHop, StaticDirectory
from stunroute.errors import ConfigError
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.relay import Downlink, Relay, Release
from stunroute.trace import Drop, Dropped, FlowMade, FlowMoved, Origin, Record

CLIENT, OTHER, THIRD = CLIENTS[:3]
STRANGER = Address.of("203.0.113.66", 4000)
PLAIN = KeyRing([HintConfiguration("0", CONFIGURATION.routing_key)])


def routed(core: Relay, data: bytes, client: Address = CLIENT, now: float = 0.0) -> Flow:
    route = core.route_client(data, client, PROXY, now)
    assert isinstance(route, Flow), route
    return route


def drop_of(core: Relay, data: bytes, client: Address = CLIENT, now: float = 0.0) -> Drop:
    route = core.route_client(data, client, PROXY, now)
    assert isinstance(route, Drop), route
    return route


class TestUplink:
    def test_a_check_makes_a_flow_and_media_follows_it(self) -> None:
        records: list[Record] = []
        core = relay(records.append)
        flow = routed(core, check(1))
        assert (flow.next_hop, flow.verified) == (A, True)
        assert flow.header == forward.encode(CLIENT, PROXY)
        for data in (dtls(), rtp(1), rtcp(1), indication(), success()):
            assert routed(core, data) is flow
        assert records == [FlowMade(0.0, CLIENT, A, Origin.CHECK)]
        assert core.counters.uplink_packets == 6
        assert core.counters.uplink_kinds == {
            Kind.STUN: 3,
            Kind.DTLS: 1,
            Kind.RTP: 1,
            Kind.RTCP: 1,
        }
        assert core.flow(CLIENT) is flow

    def test_a_username_padded_with_spaces_still_names_its_session(self) -> None:
        assert routed(relay(), check(2, spaces=5)).next_hop == B

    def test_the_first_of_two_usernames_counts(self) -> None:
        first, second = ufrag(1), ufrag(2)
        data = stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            fresh(12),
            [(stun.Attribute.USERNAME, name + b":c") for name in (first, second)],
            integrity=stun.IntegrityKey(KEYRING.password(first)),
        )
        assert routed(relay(), data).next_hop == A

    def test_unknown_attributes_pass_however_large(self) -> None:
        """Also comprehension-required ones: to refuse them is for the owner of the session."""
        name = ufrag(1)
        data = stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            fresh(12),
            [(0xC070, bytes(900)), (stun.Attribute.USERNAME, name + b":c"), (0x4007, bytes(563))],
            integrity=stun.IntegrityKey(KEYRING.password(name)),
        )
        assert routed(relay(), data).next_hop == A

    def test_a_draining_node_is_routed(self) -> None:
        assert routed(relay(), check(DRAINING)).next_hop == Address.of("10.0.0.9", 4000)

    def test_the_header_names_the_socket_of_each_packet(self) -> None:
        core = relay()
        routed(core, check(1))
        flow = core.route_client(dtls(), CLIENT, OTHER_PROXY, 0.0)
        assert isinstance(flow, Flow)
        assert flow.header == forward.encode(CLIENT, OTHER_PROXY)
        assert routed(core, dtls()).header == forward.encode(CLIENT, PROXY)

    def test_a_known_client_may_send_what_a_stranger_may_not(self) -> None:
        """One look-up decides for what is not STUN; the session will see for itself."""
        core = relay()
        routed(core, check(1))
        routed(core, b"\x40turn channel data")


class TestDrops:
    """Each of the relay's reasons, and that it is counted and traced."""

    @pytest.mark.parametrize(
        ("data", "drop"),
        [
            (b"", Drop.EMPTY),
            (b"\x10zrtp", Drop.NOT_OURS),
            (b"\x40\x00turn", Drop.NOT_OURS),
            (b"\xc0quic", Drop.NOT_OURS),
            (b"\x04none", Drop.NOT_OURS),
            (dtls(), Drop.NO_FLOW),
            (rtp(1), Drop.NO_FLOW),
            (rtcp(1), Drop.NO_FLOW),
            (b"\x80", Drop.NO_FLOW),
            (indication(), Drop.NO_FLOW),
            (success(), Drop.NO_FLOW),
            (b"\x00\x01", Drop.STUN_MALFORMED),
            (check(1)[:-4], Drop.STUN_MALFORMED),
            (check(1) + bytes(4), Drop.STUN_MALFORMED),
            (check(1)[:4] + b"\x00" + check(1)[5:], Drop.STUN_MALFORMED),
            (indication()[:-1], Drop.STUN_MALFORMED),
            (b"\x00\x11\x00\x02" + indication()[4:20] + b"\x00\x00", Drop.STUN_MALFORMED),
            (forged(1), Drop.EDGE_INTEGRITY),
            (check(DRAINED), Drop.HINT_DRAINED_NODE),
            (check(77), Drop.HINT_UNKNOWN_NODE),
            (check(1, name=b"z" * 26, password=b"p"), Drop.HINT_UNROUTABLE),
            (check(1, name=b"1" * 26, password=b"p"), Drop.HINT_UNKNOWN_CONFIGURATION),
            (check(1, name=b"0" * 26, password=b"p"), Drop.HINT_FORGED),
            (check(1, name=b"Ab+/", password=b"p"), Drop.HINT_MALFORMED),
        ],
    )
    def test_of_a_stranger(self, data: bytes, drop: Drop) -> None:
        records: list[Record] = []
        core = relay(records.append)
        assert drop_of(core, data) is drop
        assert core.counters.drops == Counter({drop: 1})
        assert records == [Dropped(0.0, CLIENT, drop)]
        assert core.flows == 0
        assert core.next_timeout() is None

    @pytest.mark.parametrize("method", [0x000, 0x003, 0x004, 0x080])
    def test_requests_of_other_methods_go_nowhere(self, method: int) -> None:
        data = stun.build(method, stun.MessageClass.REQUEST, fresh(12))
        core = relay()
        assert drop_of(core, data) is Drop.STUN_NOT_BINDING
        routed(core, check(1))
        assert drop_of(core, data) is Drop.STUN_NOT_BINDING

    def test_a_check_that_names_nobody(self) -> None:
        data = stun.build(stun.Method.BINDING, stun.MessageClass.REQUEST, fresh(12))
        assert drop_of(relay(), data) is Drop.STUN_NO_USERNAME

    def test_a_username_of_one_half(self) -> None:
        """RFC 8445, 7.3: two values with a colon between."""
        name = ufrag(1)
        data = stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            fresh(12),
            [(stun.Attribute.USERNAME, name)],
            integrity=stun.IntegrityKey(KEYRING.password(name)),
        )
        assert drop_of(relay(), data) is Drop.HINT_MALFORMED

    def test_an_attribute_that_runs_past_the_end(self) -> None:
        """STUN and ICE 1: length 0xFFFF."""
        data = bytearray(check(1))
        data[22:24] = b"\xff\xff"
        assert drop_of(relay(), bytes(data)) is Drop.STUN_MALFORMED

    def test_a_configuration_outside_its_window(self) -> None:
        late = HintConfiguration("0", CONFIGURATION.routing_key, read_from=50.0)
        core = Relay(RelayConfig(), KeyRing([late]), DIRECTORY)
        data = check(1)
        assert drop_of(core, data, now=49.0) is Drop.HINT_OUTSIDE_WINDOW
        assert routed(core, data, now=50.0).next_hop == A

    def test_a_full_table(self) -> None:
        core = relay(config=RelayConfig(flows=1))
        routed(core, check(1))
        assert drop_of(core, check(1), OTHER) is Drop.FLOWS_FULL
        assert core.route_transceiver(leg(OTHER, b"x"), A, 0.0) is Drop.FLOWS_FULL

    @pytest.mark.parametrize(
        ("data", "sender", "drop"),
        [
            (leg(CLIENT, b"x"), STRANGER, Drop.LEG_STRANGER),
            (b"", A, Drop.LEG_MALFORMED),
            (leg(CLIENT)[:-1], A, Drop.LEG_MALFORMED),
            (b"\x56\xed" + leg(CLIENT, b"x")[2:], A, Drop.LEG_MALFORMED),
            (leg(CLIENT, b"x", STRANGER), A, Drop.LEG_UNKNOWN_PROXY),
            (leg(CLIENT, b"x"), B, Drop.LEG_NOT_OWNER),
            (leg(CLIENT), B, Drop.LEG_NOT_OWNER),
        ],
    )
    def test_on_the_leg(self, data: bytes, sender: Address, drop: Drop) -> None:
        core = relay()
        routed(core, check(1))
        assert core.route_transceiver(data, sender, 0.0) is drop
        assert core.counters.drops == Counter({drop: 1})

    def test_healing_beyond_its_rate(self) -> None:
        core = relay(config=RelayConfig(heal_rate=1.0, heal_burst=1.0))
        assert isinstance(core.route_transceiver(leg(CLIENT, b"x"), A, 0.0), Downlink)
        assert core.route_transceiver(leg(OTHER, b"x"), A, 0.0) is Drop.LEG_HEAL_RATE

    def test_an_adapter_counts_its_own_here(self) -> None:
        records: list[Record] = []
        core = relay(records.append)
        for drop in (Drop.TOO_LONG, Drop.SEND_BACKLOG):
            assert core.drop(drop, CLIENT, 1.0) is drop
        assert core.counters.drops == Counter({Drop.TOO_LONG: 1, Drop.SEND_BACKLOG: 1})
        assert records[-1] == Dropped(1.0, CLIENT, Drop.SEND_BACKLOG)

    @given(st.binary(max_size=120), st.sampled_from([b"", check(1)[:20], b"\x00\x01", b"\x80\x60"]))
    def test_no_datagram_raises(self, data: bytes, prefix: bytes) -> None:
        core = relay()
        core.route_client(prefix + data, CLIENT, PROXY, 0.0)
        routed(core, check(1))
        core.route_client(prefix + data, CLIENT, PROXY, 0.0)
        core.route_transceiver(data, A, 0.0)
        core.route_transceiver(leg(CLIENT, data), A, 0.0)
        core.route_relay(data, A, 0.0)

    @given(st.data())
    def test_no_damaged_check_makes_state(self, data: st.DataObject) -> None:
        """Every bit is covered: by the header's rules, the hint or the integrity."""
        request = bytearray(check(1)[:-8])  # without FINGERPRINT, which integrity does not cover
        request[2:4] = (len(request) - 20).to_bytes(2, "big")
        bit = data.draw(st.integers(0, len(request) * 8 - 1))
        request[bit // 8] ^= 1 << bit % 8
        core = relay()
        assert isinstance(core.route_client(bytes(request), CLIENT, PROXY, 0.0), Drop)
        assert core.flows == 0


class TestVerify:
    def test_the_default_is_the_edge_wherever_the_key_is_known(self) -> None:
        assert drop_of(relay(), forged(1)) is Drop.EDGE_INTEGRITY
        flow = routed(Relay(RelayConfig(), PLAIN, DIRECTORY), forged(1))
        assert (flow.next_hop, flow.verified) == (A, False)

    def test_owner_only_routes(self) -> None:
        core = Relay(RelayConfig(verify=Verify.OWNER), KEYRING, DIRECTORY)
        assert not routed(core, forged(1)).verified

    def test_edge_without_a_key_is_refused_by_name(self) -> None:
        with pytest.raises(ConfigError, match=r"hint\.configurations\.0\.password_key"):
            Relay(RelayConfig(verify=Verify.EDGE), PLAIN, DIRECTORY)
        assert isinstance(Relay(RelayConfig(verify=Verify.EDGE), KEYRING, DIRECTORY), Relay)

    def test_a_forged_check_does_not_prove_a_live_flow(self) -> None:
        core = relay()
        routed(core, check(1))
        assert drop_of(core, forged(1), now=5.0) is Drop.EDGE_INTEGRITY
        flow = core.flow(CLIENT)
        assert flow is not None
        assert flow.proved == 0.0

    def test_sha256_integrity_is_verified_too(self) -> None:
        name = ufrag(1)
        for password, drop in ((KEYRING.password(name), None), (b"x" * 32, Drop.EDGE_INTEGRITY)):
            data = stun.build(
                stun.Method.BINDING,
                stun.MessageClass.REQUEST,
                fresh(12),
                [(stun.Attribute.USERNAME, name + b":c")],
                integrity=stun.IntegrityKey(password),
                sha256=True,
            )
            route = relay().route_client(data, CLIENT, PROXY, 0.0)
            assert isinstance(route, Flow) if drop is None else route is drop


class TestDownlink:
    def test_the_owner_reaches_its_client(self) -> None:
        core = relay()
        flow = routed(core, check(1))
        route = core.route_transceiver(leg(CLIENT, b"payload"), A, 1.0)
        assert route == Downlink(CLIENT, PROXY, b"payload")
        assert core.counters.downlink_packets == 1
        assert core.counters.downlink_bytes == 7
        assert flow.proved == 1.0
        assert not flow.answered
        core.route_transceiver(leg(CLIENT, success()), A, 1.0)
        assert flow.answered

    def test_the_header_selects_the_public_address(self) -> None:
        core = relay()
        routed(core, check(1))
        route = core.route_transceiver(leg(CLIENT, b"x", OTHER_PROXY), A, 0.0)
        assert route == Downlink(CLIENT, OTHER_PROXY, b"x")

    def test_a_restarted_relay_heals_from_the_downlink(self) -> None:
        records: list[Record] = []
        core = relay(records.append)
        assert isinstance(core.route_transceiver(leg(CLIENT, rtp(9)), A, 0.0), Downlink)
        assert records == [FlowMade(0.0, CLIENT, A, Origin.DOWNLINK)]
        assert routed(core, rtp(1)).next_hop == A
        assert core.counters.healed == 1

    def test_a_flow_that_an_answer_made_is_counted_as_such(self) -> None:
        core = relay()
        routed(core, check(1))
        routed(core, check(2))
        assert core.route_transceiver(leg(CLIENT), A, 1.0) == Release(CLIENT)
        assert isinstance(core.route_transceiver(leg(CLIENT, success()), B, 1.0), Downlink)
        assert (core.counters.made, core.counters.answered, core.counters.healed) == (2, 1, 0)

    def test_a_release_frees_the_client_and_heals_nothing(self) -> None:
        core = relay()
        routed(core, check(1))
        assert core.route_transceiver(leg(CLIENT), A, 0.0) == Release(CLIENT)
        assert core.route_transceiver(leg(CLIENT), A, 0.0) == Release(CLIENT)
        assert core.flows == 0
        assert core.counters.released == 1
        assert drop_of(core, dtls()) is Drop.NO_FLOW
        assert routed(core, check(2)).next_hop == B


class TestStoreThatLies:
    def test_it_does_not_keep_the_owner_from_its_client(self) -> None:
        records: list[Record] = []
        core = relay(records.append, config=RelayConfig(store=True))
        core.route_client(dtls(), CLIENT, PROXY, 0.0)
        assert core.restore(CLIENT, B, 0.0)
        down = core.route_transceiver(leg(CLIENT, rtp(1)), A, 0.02)
        assert down == Downlink(CLIENT, PROXY, rtp(1))
        assert records[-1] == FlowMoved(0.02, CLIENT, B, A)
        assert routed(core, rtp(2), now=0.03).next_hop == A
        assert core.route_transceiver(leg(CLIENT, rtp(1)), B, 0.04) is Drop.LEG_NOT_OWNER

    def test_it_is_believed_where_the_owner_agrees(self) -> None:
        core = relay(config=RelayConfig(store=True))
        core.route_client(dtls(), CLIENT, PROXY, 0.0)
        core.restore(CLIENT, A, 0.0)
        core.route_transceiver(leg(CLIENT, rtp(1)), A, 0.02)
        assert core.route_transceiver(leg(CLIENT, rtp(1)), B, 0.03) is Drop.LEG_NOT_OWNER


class TestTraps:
    """STUN and ICE, by their numbers."""

    def test_trap_8_a_restart_towards_another_node_on_the_same_addresses_is_served(self) -> None:
        """The mux that looks up the address first would deliver the new session's checks to the
        old agent for ever."""
        core = relay()
        routed(core, check(1))
        core.route_transceiver(leg(CLIENT, success()), A, 0.0)
        assert routed(core, check(2), now=1.0).next_hop == B
        assert routed(core, rtp(5), now=1.0).next_hop == A
        route = core.route_transceiver(leg(CLIENT, success()), B, 1.1)
        assert isinstance(route, Downlink)
        core.route_transceiver(leg(CLIENT), A, 1.2)
        assert routed(core, rtp(5), now=1.3).next_hop == B
        assert core.counters.moved == 1

    def test_trap_8_a_restart_on_the_same_node_only_refreshes(self) -> None:
        core = relay()
        flow = routed(core, check(1))
        other = check(1, name=ufrag(1))
        assert routed(core, other, now=1.0) is flow
        assert core.counters.contended == 0

    def test_trap_9_two_sessions_from_one_address_both_get_their_checks(self) -> None:
        core = relay()
        for now in range(0, 60, 2):
            assert routed(core, check(1), now=now).next_hop == A
            assert routed(core, check(2), now=now).next_hop == B
            for owner in (A, B):
                answer = core.route_transceiver(leg(CLIENT, success()), owner, now + 0.1)
                assert isinstance(answer, Downlink)
        assert core.counters.moved == 0

    def test_trap_9_closing_one_leaves_its_twin(self) -> None:
        core = relay()
        routed(core, check(1))
        routed(core, check(2))
        core.route_transceiver(leg(CLIENT, success()), B, 0.0)
        core.route_transceiver(leg(CLIENT), B, 0.0)
        assert routed(core, rtp(1)).next_hop == A
        routed(core, check(2))
        core.route_transceiver(leg(CLIENT, success()), B, 0.0)
        core.route_transceiver(leg(CLIENT), A, 0.0)
        assert routed(core, rtp(1)).next_hop == B

    def test_trap_10_a_flood_of_unknown_ufrags_makes_no_state(self) -> None:
        core = relay()
        for number in range(500):
            name = b"0%025d" % number
            client = Address.of("203.0.113.1", 1024 + number)
            assert isinstance(drop_of(core, check(1, name=name, password=b"p"), client), Drop)
            assert drop_of(core, forged(1), client) is Drop.EDGE_INTEGRITY
        assert core.flows == 0
        assert core.next_timeout() is None
        assert core._edge._password.cache_info().currsize == 1

    def test_trap_11_a_mapped_peer_and_a_plain_one_are_one_client(self) -> None:
        core = relay()
        routed(core, check(1), Address.of("::ffff:198.51.100.7", 50_000))
        assert routed(core, dtls(), Address.of("198.51.100.7", 50_000)).next_hop == A
        assert core.flows == 1

    def test_a_spoofed_source_does_not_pull_a_live_call_away(self) -> None:
        """The attacker has a session of its own on B, and sends its checks as if they came from
        the victim. B answers every one of them with success."""
        core = relay()
        routed(core, check(1))
        for tick in range(600):
            now = tick / 10
            if tick % 25 == 0:
                routed(core, check(1), now=now)
            routed(core, check(2), now=now)
            core.route_transceiver(leg(CLIENT, success()), B, now)
            assert routed(core, rtp(1), now=now).next_hop == A


class TestBySsrc:
    def test_media_of_a_rebound_client_finds_its_session(self) -> None:
        core = relay()
        flow = routed(core, check(1))
        routed(core, rtp(7))
        moved = routed(core, rtp(7), OTHER)
        assert moved.next_hop == A
        assert moved.header == forward.encode(OTHER, PROXY)
        assert routed(core, rtcp(7), OTHER).next_hop == A
        assert core.counters.by_ssrc == 2
        assert core.flow(OTHER) is None
        assert core.flow(CLIENT) is flow

    def test_only_rtp_teaches(self) -> None:
        core = relay()
        flow = routed(core, check(1))
        for data in (rtcp(1), dtls(), b"\x80\x60short", b"\x40turn"):
            routed(core, data)
        assert flow.ssrcs == ()
        assert drop_of(core, rtcp(1), OTHER) is Drop.NO_FLOW
        assert drop_of(core, b"\x80\x60short", OTHER) is Drop.NO_FLOW

    def test_a_source_of_two_owners_finds_nobody(self) -> None:
        core = relay()
        for node, client in ((1, CLIENT), (2, OTHER)):
            routed(core, check(node), client)
            routed(core, rtp(7), client)
        assert drop_of(core, rtp(7), THIRD) is Drop.NO_FLOW

    def test_a_client_that_rebinds_twice_is_found_both_times(self) -> None:
        core = relay()
        routed(core, check(1))
        for client in (CLIENT, OTHER, THIRD):
            assert routed(core, rtp(7), client).next_hop == A
            routed(core, check(1), client)
            routed(core, rtp(7), client)

    def test_it_is_rate_bounded(self) -> None:
        core = relay(config=RelayConfig(by_ssrc_rate=2.0))
        routed(core, check(1))
        routed(core, rtp(7))
        routed(core, rtp(7), OTHER)
        routed(core, rtp(7), OTHER)
        assert drop_of(core, rtp(7), OTHER) is Drop.NO_FLOW

    def test_a_settled_flow_is_not_looked_at(self) -> None:
        core = relay(config=RelayConfig(ssrc_peeks=2))
        flow = routed(core, check(1))
        for ssrc in range(5):
            routed(core, rtp(ssrc))
        assert flow.ssrcs == (0, 1)
        assert flow.is_settled


class TestTiers:
    """A relay in front of another: the header passes through unchanged."""

    INNER = Address.of("10.2.0.5", 4000)
    PUBLIC = Address.of("198.51.100.1", 3478)

    def test_the_front_relay_sends_a_whole_cluster_to_the_next(self) -> None:
        behind = NextHop(Address.of("10.1.0.5", 4000))
        core = Relay(RelayConfig(), KEYRING, StaticDirectory({}, {CLUSTER: behind}))
        for node in (1, 2, 77):
            assert routed(core, check(node)).next_hop == behind.address

    def back(self) -> Relay:
        return Relay(
            RelayConfig(),
            KEYRING,
            DIRECTORY,
            proxies=[PROXY],
            upstream={self.PUBLIC: self.INNER},
        )

    def test_the_back_relay_routes_what_the_front_one_received(self) -> None:
        core = self.back()
        data = leg(CLIENT, check(1), self.PUBLIC)
        flow = core.route_relay(data, self.INNER, 0.0)
        assert isinstance(flow, Flow)
        assert flow.next_hop == A
        assert data.startswith(flow.header)
        answer = leg(CLIENT, success(), self.PUBLIC)
        route = core.route_transceiver(answer, A, 0.0)
        assert route == Downlink(CLIENT, self.PUBLIC, answer[38:], self.INNER)
        released = core.route_transceiver(leg(CLIENT, b"", self.PUBLIC), A, 0.0)
        assert released == Release(CLIENT, self.INNER)

    def test_only_the_front_relay_may_speak_for_its_addresses(self) -> None:
        core = self.back()
        data = leg(CLIENT, check(1), self.PUBLIC)
        assert core.route_relay(data, STRANGER, 0.0) is Drop.LEG_STRANGER
        assert core.route_relay(leg(CLIENT, check(1)), self.INNER, 0.0) is Drop.LEG_STRANGER
        assert core.route_relay(b"short", self.INNER, 0.0) is Drop.LEG_MALFORMED


class TestAdapterWithItsOwnCache:
    def test_touch_keeps_flows_alive_and_proves_them_if_told(self) -> None:
        core = relay()
        for client in (CLIENT, OTHER):
            routed(core, check(1), client)
        core.handle_timeout(30.0)
        core.touch([CLIENT, THIRD], 31.0)
        core.handle_timeout(60.0)
        assert core.flow(CLIENT) is not None
        assert core.flow(OTHER) is None
        flow = core.flow(CLIENT)
        assert flow is not None
        assert flow.proved == 0.0
        core.touch([CLIENT], 61.0, proved=True)
        assert flow.proved == 61.0
        assert core.counters.expired == 1
