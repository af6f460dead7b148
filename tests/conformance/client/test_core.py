"""What the client does that a call over a good network does not show."""

import pytest

from calls import ELSEWHERE, talk
from conformance.client import Told, core
from conformance.client.core import CHECK_PATIENCE
from pair import Client, Rig
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.trace import Drop
from transceiver.srtp import rtp


def checks(rig: Rig, client: Client) -> list[bytes]:
    """The checks that the client sends, each as often as it is sent."""
    return [
        crossing.payload
        for crossing in rig.crossings
        if crossing.source == client.address and classify(crossing.payload) is Kind.STUN
    ]


def test_a_check_that_nobody_answers_is_given_up_for_a_fresh_one() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    rig.crossings.clear()
    rig.lose = lambda _, transmit: transmit.address != client.server  # nothing comes back
    rig.run(2.6 + 5 * CHECK_PATIENCE)
    sent = checks(rig, client)
    assert len(set(sent)) >= 2
    assert max(sent.count(each) for each in sent) <= 5
    assert len(client._checks) <= core.CHECKS
    rig.lose = None
    before = client.answered_at
    rig.run(2 * CHECK_PATIENCE)
    assert client.answered_at is not None
    assert before is not None
    assert client.answered_at > before


def test_a_check_under_way_when_the_nat_rebinds_does_not_keep_the_call_from_moving() -> None:
    """Its repetition comes from elsewhere, looks like a copy, and is not answered."""
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    rig.lose = lambda _, transmit: transmit.address != client.server
    rig.run(2.6)
    client.rebind(ELSEWHERE)
    rig.lose = None
    rig.run(2 * CHECK_PATIENCE + 1)
    assert client.mapped == ELSEWHERE


def test_until_a_restart_is_answered_checks_go_on_as_before() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    before = client.answered_at
    offer = client.restart()
    rig.run(6.0)
    assert client.answered_at is not None
    assert before is not None
    assert client.answered_at > before + 2.0
    assert rig.endpoint.drops[Drop.ICE_PEER_UFRAG] == 0
    client.accept(rig.endpoint.reoffer(call, offer, rig.now), rig.now)
    rig.crossings.clear()
    rig.run(1.0)
    username = stun.peek_username_untrusted(checks(rig, client)[0])
    assert username == f"{client.remote_ufrag}:{client.ufrag}".encode()


def test_who_is_told_of_everything_is_the_one_who_keeps_it() -> None:
    rig = Rig.build()
    told: list[Told] = []
    client = rig.client(tell=told.append)
    call = rig.establish(client)
    talk(rig, client, 3)
    for number in range(3):
        rig.endpoint.send_audio(call, b"echo %d" % number, 960 * number, False, rig.now)
    rig.run(10.0)
    heard = [each.payload for each in told if isinstance(each, rtp.RtpPacket)]
    assert heard == [b"echo 0", b"echo 1", b"echo 2"]
    assert any(isinstance(each, bytes) for each in told), "reports"
    assert client.audio == client.rtcp == client.heard == client.drops == []


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "KEPT", 3)
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    for number in range(5):
        rig.endpoint.send_audio(call, b"echo %d" % number, 960 * number, False, rig.now)
    rig.run(1.0)
    assert [packet.payload for packet in client.audio] == [b"echo 2", b"echo 3", b"echo 4"]


BESIDE = Address.of("203.0.113.99", 3478)
"""Another public address of the relay's."""


def test_a_client_turns_to_another_address_and_its_call_follows() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    home = client.server
    client.turn_to(BESIDE, rig.now)
    assert client.server == home
    rig.run(1.0)
    assert client.server == BESIDE
    assert client.turning is None
    rig.crossings.clear()
    talk(rig, client, 3)
    rig.endpoint.send_audio(call, b"echo", 960, False, rig.now)
    rig.run(1.0)
    assert client.audio[-1].payload == b"echo"
    ways = {(each.source, each.destination) for each in rig.crossings}
    assert ways == {(client.address, BESIDE), (BESIDE, client.address)}


def test_a_client_stays_where_it_is_if_another_address_does_not_answer() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    home = client.server
    rig.lose = lambda _, transmit: transmit.address == BESIDE
    client.turn_to(BESIDE, rig.now)
    rig.run(1.0)
    assert client.turning == BESIDE
    rig.run(3 * CHECK_PATIENCE)
    assert client.turning is None
    assert client.server == home
    before = client.answered_at
    rig.run(3.0)
    assert client.answered_at is not None
    assert before is not None
    assert client.answered_at > before
