"""Our client and our server, over a network that does what it likes with datagrams."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_pair import LIMITS, Pair, established, faithful, make_connection, transmits
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import Failed, HandshakeComplete, PeerClosed, Role, Stage
from transceiver.dtls.record import decode_untrusted
from transceiver.keying import SrtpProfile

FATES = st.lists(
    st.one_of(
        st.just([]),
        st.lists(st.sampled_from([0.0, 0.01, 0.03, 0.2, 0.7, 3.0]), min_size=1, max_size=3),
    ),
    max_size=40,
)


def by_script(script: list[list[float]]) -> "object":
    """Each datagram meets the next fate of ``script``; after its end the network is faithful."""
    fates = iter(script)
    return lambda datagram: next(fates, [0.01])


def check_agreement(pair: Pair) -> None:
    client, server = pair.completion(Role.CLIENT), pair.completion(Role.SERVER)
    assert client is not None
    assert server is not None
    assert client.keys.local == server.keys.remote
    assert client.keys.remote == server.keys.local
    assert client.keys.profile is server.keys.profile
    assert client.cipher_suite == server.cipher_suite
    for role in Role:
        assert not [event for event in pair.events[role] if isinstance(event, Failed)]
        assert sum(isinstance(event, HandshakeComplete) for event in pair.events[role]) == 1


@settings(max_examples=100, deadline=None)
@given(script=FATES, mtu=st.sampled_from([230, 300, 500, 1200]), verify=st.booleans())
def test_any_network_that_lets_something_through(
    script: list[list[float]], mtu: int, verify: bool
) -> None:
    """Loss, duplication and reordering of any kind delay a handshake and never break it. DTLS 1, 2
    and 3: pieces of 230 bytes, a cookie lost, a last flight lost."""
    limits = DtlsLimits(mtu=mtu)
    pair = Pair(
        make_connection(Role.CLIENT, limits=limits),
        make_connection(Role.SERVER, limits=limits, verify_hello=verify),
        by_script(script),  # type: ignore[arg-type]
    )
    pair.run(until=200.0)
    check_agreement(pair)
    pair.fate = faithful
    pair.client.send(b"to the server", pair.now)
    pair.server.send(b"to the client", pair.now)
    pair.settle()
    assert b"to the server" in pair.data(Role.SERVER)
    assert b"to the client" in pair.data(Role.CLIENT)
    assert all(len(datagram) <= mtu for _, _, datagram in pair.sent)


@pytest.mark.parametrize("lost", range(10))
@pytest.mark.parametrize("mtu", [230, 1200])
def test_one_loss_at_each_place(lost: int, mtu: int) -> None:
    """DTLS 3: also when it is the last flight that is lost."""
    script = [[0.01]] * lost + [[]]
    limits = DtlsLimits(mtu=mtu)
    pair = Pair.make(by_script(script), limits=limits)  # type: ignore[arg-type]
    pair.run()
    check_agreement(pair)
    assert pair.now < 1.0


def test_a_faithful_network_takes_two_round_trips_and_four_datagrams() -> None:
    pair = established()
    check_agreement(pair)
    assert [role for role, _, _ in pair.sent] == [
        Role.CLIENT,
        Role.SERVER,
        Role.CLIENT,
        Role.SERVER,
    ]
    assert pair.drops(Role.CLIENT) == pair.drops(Role.SERVER) == []
    assert pair.client.next_timeout() is None
    assert pair.server.next_timeout() is None


def test_the_first_flight_is_resent_early_then_backs_off() -> None:
    """DTLS 4: a peer that is not ready yet costs 50 ms, not a second."""
    client = make_connection(Role.CLIENT)
    client.start(10.0)
    times = [10.0]
    while times[-1] < 60.0:
        assert len(transmits(client)) == 1
        due = client.next_timeout()
        assert due is not None
        client.handle_timeout(due - 0.001)
        assert transmits(client) == []
        client.handle_timeout(due)
        times.append(due)
    gaps = [round(later - earlier, 6) for earlier, later in pairwise(times)]
    assert gaps[:9] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert set(gaps[9:]) == {LIMITS.resend_maximum}


def test_the_server_repeats_its_flight_by_its_own_timer() -> None:
    pair = Pair.make()
    pair.client.start(0.0)
    hello = transmits(pair.client)[0]
    pair.server.receive_datagram(hello, 0.0)
    first = transmits(pair.server)
    assert pair.server.next_timeout() == LIMITS.resend_initial
    pair.server.handle_timeout(LIMITS.resend_initial)
    second = transmits(pair.server)
    assert len(first) == len(second) == 1
    assert first != second, "sequence numbers of records are never used twice"
    assert records(first[0]) == records(second[0])


def records(datagram: bytes) -> list[bytes]:
    """The contents of a datagram's records."""
    offset, contents = 0, []
    while offset < len(datagram):
        found, offset = decode_untrusted(datagram, offset)
        contents.append(found.fragment)
    return contents


def test_a_repeated_hello_is_answered_but_not_in_quick_succession() -> None:
    pair = Pair.make()
    pair.client.start(0.0)
    hello = transmits(pair.client)[0]
    pair.server.receive_datagram(hello, 0.0)
    assert len(transmits(pair.server)) == 1
    pair.server.receive_datagram(hello, 0.04)
    assert transmits(pair.server) == []
    pair.server.receive_datagram(hello, 0.05)
    assert len(transmits(pair.server)) == 1


def test_the_last_flight_is_repeated_for_a_repeated_finished() -> None:
    """DTLS 3."""
    pair = Pair.make()
    pair.client.start(0.0)
    pair.server.receive_datagram(transmits(pair.client)[0], 0.0)
    pair.client.receive_datagram(transmits(pair.server)[0], 0.0)
    pair.server.receive_datagram(transmits(pair.client)[0], 0.0)
    assert len(transmits(pair.server)) == 1, "lost"
    assert pair.server.stage is Stage.ESTABLISHED
    pair.client.handle_timeout(0.4)
    assert pair.server.receive_datagram(transmits(pair.client)[0], 0.4)
    pair.client.receive_datagram(transmits(pair.server)[0], 0.4)
    assert pair.client.stage is Stage.ESTABLISHED


def test_the_old_epoch_is_heard_until_the_handshake_is_done() -> None:
    """rfc6347/4.1/3: our flight is lost, and the server says its own again in the clear."""
    pair = Pair.make()
    pair.client.start(0.0)
    pair.server.receive_datagram(transmits(pair.client)[0], 0.0)
    pair.client.receive_datagram(transmits(pair.server)[0], 0.0)
    assert len(transmits(pair.client)) == 1, "lost"
    pair.server.handle_timeout(0.4)
    (again,) = transmits(pair.server)
    pair.client.receive_datagram(again, 0.399)
    (flight,) = transmits(pair.client)
    pair.server.receive_datagram(flight, 0.4)
    assert pair.server.stage is Stage.ESTABLISHED


def test_same_entropy_and_clock_make_the_same_bytes() -> None:
    def once() -> list[tuple[Role, float, bytes]]:
        pair = Pair.make(by_script([[], [0.3, 0.1], [], [0.2], [0.0, 0.5]]))  # type: ignore[arg-type]
        pair.run()
        pair.client.send(b"after", pair.now)
        pair.server.close(pair.now)
        pair.collect()
        return pair.sent

    first = once()
    assert first == once()
    assert len(first) > 6


@pytest.mark.parametrize("profile", SrtpProfile)
def test_each_profile(profile: SrtpProfile) -> None:
    pair = established(profiles=(profile,))
    complete = pair.completion(Role.CLIENT)
    assert complete is not None
    assert complete.keys.profile is profile
    assert len(complete.keys.local) == profile.key_length + profile.salt_length


def test_the_server_prefers_by_its_own_order() -> None:
    cm, gcm = SrtpProfile.AES128_CM_SHA1_80, SrtpProfile.AEAD_AES_128_GCM
    pair = Pair(
        make_connection(Role.CLIENT, profiles=(cm, gcm)),
        make_connection(Role.SERVER, profiles=(gcm, cm)),
    )
    pair.run()
    complete = pair.completion(Role.SERVER)
    assert complete is not None
    assert complete.keys.profile is gcm


def test_what_is_sent_early_waits_and_arrives_in_order() -> None:
    pair = Pair.make()
    for index in range(5):
        pair.client.send(b"early %d" % index, 0.0)
        pair.server.send(b"server %d" % index, 0.0)
    pair.run()
    assert pair.data(Role.SERVER) == [b"early %d" % index for index in range(5)]
    assert pair.data(Role.CLIENT) == [b"server %d" % index for index in range(5)]


def test_close_is_answered_and_both_sides_end() -> None:
    pair = established()
    pair.client.close(1.0)
    pair.settle()
    assert PeerClosed() in pair.events[Role.SERVER]
    assert pair.client.stage is pair.server.stage is Stage.CLOSED
    assert pair.drops(Role.CLIENT) == [Drop.DTLS_CLOSED], "the answer to its close_notify"
