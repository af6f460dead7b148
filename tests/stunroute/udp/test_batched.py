"""The batched adapter: the same as the core says packet by packet, whatever comes in whatever
batches. The kernel is a stand-in here, so that batches are of the test's choosing."""

import ctypes
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import (
    CALLER,
    CLIENTS4,
    CLIENTS6,
    FOUR,
    NEIGHBOUR,
    SENDERS,
    SIX,
    World,
    check_downlink,
    check_uplink,
    established,
)
from fleet import (
    A,
    B,
    check,
    dtls,
    forged,
    indication,
    leg,
    rtcp,
    rtp,
    success,
)
from stunroute import demux
from stunroute.address import Address
from stunroute.trace import Drop
from stunroute.udp.batch import BATCH, is_supported, name_of
from stunroute.udp.sockets import DATAGRAM_LENGTH

pytestmark = pytest.mark.skipif(not is_supported(), reason="no recvmmsg here")


# --- any batches at all ---------------------------------------------------------------------------

_checks = {(kind, node): kind(node) for kind in (check, forged) for node in (1, 2, 7, 8)}
_uplinks = st.one_of(
    st.sampled_from(sorted(_checks, key=str)).map(_checks.__getitem__),
    st.builds(rtp, st.integers(1, 4), st.sampled_from([12, 172, 1200, DATAGRAM_LENGTH])),
    st.builds(rtcp, st.integers(1, 4)),
    st.just(dtls()),
    st.just(indication()),
    st.just(success()),
    st.just(bytes([128]) * (DATAGRAM_LENGTH + 1)),
    st.binary(max_size=40),
    st.sampled_from([b"", b"\x80", b"\x16", b"\x40", b"\xff", b"\x03", b"\x04"]),
)
_media = st.one_of(st.builds(rtp, st.integers(1, 4)), st.just(dtls()))


def _runs(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Batches of the same kind of thing are what the fast way is for; make them likely."""
    return st.one_of(
        st.lists(one, max_size=6),
        st.tuples(one, st.integers(1, BATCH + 3)).map(lambda pair: [pair[0]] * pair[1]),
    )


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    clients = st.sampled_from(CLIENTS4 + CLIENTS6)
    up = st.tuples(clients, _uplinks)
    media = st.tuples(clients, _media)
    down = st.tuples(
        st.sampled_from(SENDERS),
        clients,
        st.integers(0, 1),
        st.one_of(_uplinks, _media),
        st.sampled_from([None, None, None, 0, 2, 37, 38]),
    )
    step = st.one_of(
        st.tuples(st.just("up"), st.integers(0, 1), _runs(up)),
        st.tuples(st.just("up"), st.integers(0, 1), st.lists(media, min_size=1, max_size=80)),
        st.tuples(st.just("down"), _runs(down)),
        st.tuples(st.just("down"), st.lists(down, min_size=1, max_size=80)),
        st.tuples(st.just("time"), st.sampled_from([0.5, 4.0, 11.0, 31.0])),
    )
    return draw(st.lists(step, max_size=12))


@settings(max_examples=150, deadline=None)
@given(_steps(), st.sampled_from([(FOUR, SIX), (Address.of("::", 0), FOUR)]), st.integers(1, 200))
def test_whatever_comes_the_core_would_have_done_the_same(
    steps: list[tuple[Any, ...]], binds: tuple[Address, Address], cached: int
) -> None:
    world = World(*binds, inner=Address.of("::", 0), cached=cached)
    try:
        # Begin with calls that are up, else nothing ever is quick.
        for node, client in ((1, CLIENTS4[0]), (2, CLIENTS4[1]), (1, CLIENTS6[0])):
            index = next(
                n
                for n, sock in enumerate(world.bound.public)
                if sock.family == socket.AF_INET6 or client.is_ipv4
            )
            check_uplink(world, [(client, check(node)), *[(client, rtp(node))] * 4], index)
        for step in steps:
            match step:
                case ("up", index, datagrams):
                    four = world.bound.public[index].family == socket.AF_INET
                    reachable = [(c, d) for c, d in datagrams if c.is_ipv4 or not four]
                    check_uplink(world, reachable, index)
                case ("down", datagrams):
                    packets = [
                        (sender, leg(client, data, world.proxies[proxy])[:cut])
                        for sender, client, proxy, data, cut in datagrams
                    ]
                    check_downlink(world, packets)
                case ("time", seconds):
                    world.pass_time(seconds)
                    world.compare()
    finally:
        world.bound.close()


# --- one thing at a time --------------------------------------------------------------------------


def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the core is asked from now on."""
    calls: list[str] = []
    for name in ("route_client", "route_transceiver"):
        real = getattr(world.relay, name)

        def spy(*arguments: Any, real: Any = real, name: str = name) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(world.relay, name, spy)
    return calls


def test_a_check_among_media_is_the_only_one_that_the_core_sees(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two checks in five seconds of 64 calls would cost what all their media does."""
    world = make()
    established(world, CALLER, NEIGHBOUR)
    calls = asked(world, monkeypatch)
    media = [(NEIGHBOUR, rtp(1, 100 + n)) for n in range(30)]
    check_uplink(world, [*media, (CALLER, check(1)), *media])
    header = leg(CALLER, b"", world.proxies[0])
    down = [(A, header + rtp(2))] * 30
    check_downlink(world, [*down, (A, header + success()), *down])
    assert calls == ["route_client", "route_transceiver"]


@pytest.mark.parametrize("count", [1, 2, BATCH, BATCH + 1])
def test_media_of_settled_flows_does_not_reach_the_core(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    world = make()
    established(world, CALLER, NEIGHBOUR)
    calls = asked(world, monkeypatch)
    both = [(client, rtp(1, 100 + n)) for n in range(count) for client in (CALLER, NEIGHBOUR)]
    check_uplink(world, both)
    check_downlink(world, [(A, leg(client, data, world.proxies[0])) for client, data in both])
    assert calls == []


def test_rtcp_is_told_from_rtp_without_the_core(make: Callable[..., World]) -> None:
    world = make()
    established(world, CALLER)
    check_uplink(world, [(CALLER, rtcp(1))] * 3 + [(CALLER, rtp(1))] * 2 + [(CALLER, dtls())])
    kinds = world.relay.counters.uplink_kinds
    assert kinds[demux.Kind.RTCP] == 3
    assert kinds[demux.Kind.DTLS] == 1


def test_a_datagram_that_leaves_the_buffer_as_it_was_is_not_sent_again(
    make: Callable[..., World],
) -> None:
    """An empty datagram, and one that ends within the header, write nothing where the payload of
    the one before still lies."""
    world = make()
    established(world, CALLER)
    header = leg(CALLER, b"", world.proxies[0])
    for count in (1, 5):
        check_uplink(world, [(CALLER, rtp(1))] * count)
        check_uplink(world, [(CALLER, b"")] * count)
        check_downlink(world, [(A, header + rtp(2))] * count)
        check_downlink(world, [(A, header[:20])] * count)
    assert world.relay.counters.drops == {Drop.EMPTY: 6, Drop.LEG_MALFORMED: 6}


def test_a_release_in_a_batch_holds_for_what_stands_behind_it(make: Callable[..., World]) -> None:
    world = make()
    established(world, CALLER, NEIGHBOUR)
    header = leg(CALLER, b"", world.proxies[0])
    other = leg(NEIGHBOUR, rtp(2), world.proxies[0])
    check_downlink(world, [(A, other), (A, header), (A, header + rtp(2)), (A, other)])
    assert world.relay.counters.released == 1
    assert world.relay.counters.healed == 1


@pytest.mark.parametrize("ending", ["moved", "released", "expired"])
def test_what_has_ended_is_cached_no_more(make: Callable[..., World], ending: str) -> None:
    world = make()
    established(world, CALLER)
    up, down = world.adapter.public[0], world.adapter.inner
    match ending:
        case "moved":
            check_uplink(world, [(CALLER, check(2))])
            world.pass_time(11.0)
            check_downlink(world, [(B, leg(CALLER, success(), world.proxies[0]))])
        case "released":
            check_downlink(world, [(A, leg(CALLER, b"", world.proxies[0]))])
        case "expired":
            world.pass_time(31.0)
            world.pass_time(31.0)
    assert not up.cache
    assert not any(key.startswith(name_of(A, socket.AF_INET)) for key in down.cache)
    check_uplink(world, [(CALLER, rtp(1))] * 3)
    check_downlink(world, [(A, leg(CALLER, rtp(2), world.proxies[0]))] * 3)


def test_what_passes_without_the_core_keeps_the_flow_alive(make: Callable[..., World]) -> None:
    world = make()
    established(world, CALLER)
    for _ in range(8):
        check_uplink(world, [(CALLER, rtp(1))])
        world.pass_time(20.0)
    assert world.relay.flows == 1


def test_a_downlink_that_runs_proves_its_owner(make: Callable[..., World]) -> None:
    """Else the adapter's silence would look like an owner's, and a contender take the call."""
    world = make()
    established(world, CALLER)
    check_uplink(world, [(CALLER, check(2))])
    for _ in range(3):  # longer than takeover_idle, shorter than takeover_unchecked
        check_downlink(world, [(A, leg(CALLER, rtp(2), world.proxies[0]))])
        world.pass_time(4.0)
        check_downlink(world, [(B, leg(CALLER, success(), world.proxies[0]))])
    assert world.relay.counters.moved == 0
    assert world.relay.flow(CALLER).next_hop == A  # type: ignore[union-attr]


def test_a_settled_flow_is_shown_to_the_core_again_in_the_next_generation(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(ssrc_peeks_later=2)
    established(world, CALLER)
    world.pass_time(31.0)
    world.uplink(0, [(CALLER, rtp(1))])
    world.adapter.touch()
    calls = asked(world, monkeypatch)
    world.uplink(0, [(CALLER, rtp(77))] * 5)
    assert len(calls) >= 2
    calls.clear()
    world.uplink(0, [(CALLER, rtp(77))] * 5)
    assert calls == []
    world.sent.clear()
    world.uplink(0, [(Address.of("203.0.113.1", 9), rtp(77))])
    assert len(world.sent) == 1


def test_the_cache_is_bounded(make: Callable[..., World]) -> None:
    world = make(flows=100, cached=3)
    for port in range(20):
        client = Address.of("198.51.100.9", 1000 + port)
        check_uplink(world, [(client, check(1)), *[(client, rtp(port))] * 5])
        check_downlink(world, [(A, leg(client, rtp(2), world.proxies[0]))])
        assert len(world.adapter.public[0].cache) <= 3
        assert len(world.adapter.inner.cache) <= 3


def test_a_reload_forgets_everything(make: Callable[..., World]) -> None:
    world = make()
    established(world, CALLER)
    world.adapter.forget()
    assert not world.adapter.public[0].cache
    assert not world.adapter.inner.cache
    check_uplink(world, [(CALLER, rtp(1))] * 2)


def test_batches_for_several_public_sockets_are_parted(make: Callable[..., World]) -> None:
    world = make(FOUR, FOUR)
    for client, index in ((CALLER, 0), (NEIGHBOUR, 1)):
        check_uplink(world, [(client, check(1)), *[(client, rtp(1))] * 5], index)
    packets = [
        (A, leg(client, rtp(2, 100 + n), world.proxies[index]))
        for n in range(20)
        for client, index in ((CALLER, 0), (NEIGHBOUR, 1))
    ]
    check_downlink(world, packets)
    check_downlink(world, packets)
    assert {fd for fd, _, _ in world.sent} == {s.fileno() for s in world.bound.public}


class TestKernelErrors:
    def test_a_short_send_skips_the_one_that_failed(self, make: Callable[..., World]) -> None:
        world = make()
        established(world, CALLER)
        packets = [(CALLER, rtp(1, 100 + n)) for n in range(10)]
        world.sent.clear()
        world.kernels[0].outcomes += [3, (-1, errno.EPERM)]
        world.uplink(0, packets)
        sent = [data[38:] for _, _, data in world.sent]
        assert sent == [data for _, data in packets[:3] + packets[4:]]
        assert world.adapter.public[0].errors == 1

    def test_one_that_is_taken_the_second_time_is_not_skipped(
        self, make: Callable[..., World]
    ) -> None:
        """The error told may have been one of the socket's, of an earlier packet."""
        world = make()
        established(world, CALLER)
        world.sent.clear()
        world.kernels[0].outcomes += [3]
        world.uplink(0, [(CALLER, rtp(1))] * 10)
        assert len(world.sent) == 10
        assert world.adapter.public[0].errors == 0

    @pytest.mark.parametrize("count", [1, 10])
    def test_no_room_drops_the_rest_and_counts_it(
        self, make: Callable[..., World], count: int
    ) -> None:
        world = make()
        established(world, CALLER)
        world.sent.clear()
        world.kernels[0].outcomes += [(-1, errno.EAGAIN)] * 2
        world.uplink(0, [(CALLER, rtp(1))] * count)
        assert world.sent == []
        assert world.relay.counters.drops == {Drop.SEND_BACKLOG: count}
        check_uplink_goes_on = [(CALLER, rtp(1))]
        world.uplink(0, check_uplink_goes_on)
        assert len(world.sent) == 1

    def test_an_interrupted_send_is_repeated(self, make: Callable[..., World]) -> None:
        world = make()
        established(world, CALLER)
        world.sent.clear()
        world.kernels[0].outcomes += [(-1, errno.EINTR), (-1, errno.EINTR)]
        world.uplink(0, [(CALLER, rtp(1))] * 4)
        assert len(world.sent) == 4

    def test_every_send_may_fail(self, make: Callable[..., World]) -> None:
        world = make()
        established(world, CALLER)
        world.sent.clear()
        world.kernels[0].outcomes += [(-1, errno.EPERM)] * 11
        world.uplink(0, [(CALLER, rtp(1))] * 10)
        assert world.sent == []
        assert world.adapter.public[0].errors == 10

    def test_an_error_that_is_waiting_is_counted_and_reading_goes_on(
        self, make: Callable[..., World]
    ) -> None:
        world = make()
        established(world, CALLER)
        lane = world.adapter.public[0]
        outcomes = deque([-1])
        real = lane.receive

        def receive(*arguments: Any) -> int:
            if outcomes:
                ctypes.set_errno(errno.ECONNREFUSED)
                return outcomes.popleft()
            ctypes.set_errno(errno.EAGAIN)
            return real(*arguments)

        lane.receive = receive
        world.kernels[0].arriving.append((world.name(CALLER, lane.socket), rtp(1)))
        world.sent.clear()
        lane.on_readable()
        assert lane.errors == 1
        assert len(world.sent) == 1


def test_garbage_of_strangers_is_refused_without_making_an_address(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    established(world, CALLER)
    strangers = [(Address.of("203.0.113.1", 1000 + n), rtp(4000 + n)) for n in range(70)]
    strangers += [(Address.of("203.0.113.2", 7), bytes([100]) * 50)] * 3
    calls = asked(world, monkeypatch)
    check_uplink(world, [*strangers, (CALLER, rtp(1))])
    assert world.relay.counters.drops == {Drop.NO_FLOW: 70, Drop.NOT_OURS: 3}
    assert calls == []


def test_a_stranger_is_shown_to_the_core_where_somebody_observes(
    make: Callable[..., World],
) -> None:
    world = make()
    records: list[Any] = []
    world.relay._observe = records.append
    world.uplink(0, [(CALLER, rtp(1))] * 3)
    assert [record.drop for record in records] == [Drop.NO_FLOW] * 3
