"""Data channels of whole calls in virtual time: ICE, DTLS, SCTP and channels on both sides."""

import re
from typing import Any

import pytest

from pair import Client, Rig, endpoint_config
from stunroute.address import Address
from stunroute.trace import Drop
from transceiver import datachannel
from transceiver.errors import OfferError
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelOpened,
    DataEnded,
    EndReason,
    Established,
    MessageReceived,
    Phase,
)

BESIDE = ("audio", "data")
HOMES = [Address.of(f"192.0.2.{host}", 50_000) for host in (33, 34)]
CONTENTS = [BESIDE, ("data", "audio"), ("data",)]


def told(rig: Rig, kind: type) -> list[Any]:
    return [event for event in rig.events if isinstance(event, kind)]


def opened(rig: Rig, client: Client, label: str = "oai-events", **options: Any) -> int:
    """The client opens a channel; its number."""
    number = client.with_channels(lambda c: c.open(label, now=rig.now, **options), rig.now)
    rig.run(0.2)
    return int(number)


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
@pytest.mark.parametrize("contents", CONTENTS)
def test_messages_both_ways(contents: tuple[str, ...], setup: str) -> None:
    """SCTP 2: from nothing to more than 64 KiB, text and binary."""
    rig = Rig.build()
    client = rig.client(contents=contents, setup=setup)
    call = rig.establish(client)
    profile = told(rig, Established)[0].profile
    assert (profile is None) == ("audio" not in contents)
    number = opened(rig, client)
    assert told(rig, ChannelOpened) == [ChannelOpened(call, number, "oai-events", "", True, False)]
    messages: list[str | bytes] = ["", b"", "a", b"\x00", "grüß" * 500, bytes(200_000)]
    for message in messages:
        client.with_channels(lambda c, m=message: c.send(number, m, rig.now), rig.now)
        assert rig.endpoint.send_message(call, number, message, rig.now)
        rig.run(2.0)
    assert [event.message for event in told(rig, MessageReceived)] == messages
    heard = [event for event in client.heard if isinstance(event, datachannel.Message)]
    assert [event.message for event in heard] == messages


@pytest.mark.parametrize("setup", ["actpass", "active"])
def test_either_side_opens_and_either_closes_and_the_number_comes_again(setup: str) -> None:
    """SCTP 1."""
    rig = Rig.build()
    client = rig.client(contents=("data",), setup=setup)
    call = rig.establish(client)
    rig.run(0.2)
    numbers = []
    for _ in range(3):
        ours = rig.endpoint.open_channel(call, "ours", rig.now, protocol="p", ordered=False)
        theirs = opened(rig, client, "theirs")
        assert ours is not None
        assert (ours + theirs) % 2 == 1, "one side has the even numbers, the other the odd ones"
        rig.endpoint.close_channel(call, theirs, rig.now)
        client.with_channels(lambda c, n=ours: c.close(n, rig.now), rig.now)
        rig.run(1.0)
        numbers.append({ours, theirs})
        assert {event.channel for event in told(rig, ChannelClosed)[-2:]} == {ours, theirs}
        assert not rig.endpoint.send_message(call, theirs, "late", rig.now)
    assert numbers[0] == numbers[1] == numbers[2]
    ours_opened = [e for e in client.heard if isinstance(e, datachannel.Opened)]
    assert {(e.label, e.protocol, e.ordered) for e in ours_opened} == {
        ("ours", "p", False),
        ("theirs", "", True),
    }


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_negotiated_channel_is_there_at_once(number: int) -> None:
    rig = Rig.build()
    client = rig.client(contents=BESIDE, negotiated=((number, "oai-events"),))
    call = rig.establish(client)
    rig.run(0.2)
    assert told(rig, ChannelOpened) == [ChannelOpened(call, number, "oai-events", "", True, True)]
    assert rig.endpoint.send_message(call, number, "{}", rig.now)
    client.with_channels(lambda c: c.send(number, "[]", rig.now), rig.now)
    rig.run(0.2)
    assert [event.message for event in told(rig, MessageReceived)] == ["[]"]
    assert datachannel.Message(number, "{}") in client.heard


def test_who_takes_no_data_lets_sctp_go_by() -> None:
    """``Drop.DATA_NOT_NEGOTIATED``: a client that speaks SCTP nevertheless."""
    rig = Rig.build(config=endpoint_config(data=False))
    client = rig.client(contents=BESIDE)
    call = rig.establish(client)
    assert client.channels is None
    assert rig.endpoint.open_channel(call, "x", rig.now) is None
    assert not rig.endpoint.send_message(call, 0, "x", rig.now)
    rig.endpoint.close_channel(call, 0, rig.now)
    assert rig.endpoint.buffered_amount(call, 0) == 0
    assert client.dtls is not None
    client.dtls.send(bytes(40), rig.now)
    data = client.dtls.next_transmit()
    assert data is not None
    client.send_raw(data)
    rig.run(0.1)
    assert rig.endpoint.snapshot(call, rig.now).drops == {Drop.DATA_NOT_NEGOTIATED.value: 1}
    client.send_audio(b"voice", 0)
    rig.run(0.1)
    assert len(told(rig, AudioReceived)) == 1


def test_a_later_offer_brings_data() -> None:
    rig = Rig.build()
    client = rig.client(contents=("audio",))
    call = rig.establish(client)
    client.contents = BESIDE
    client.accept(rig.endpoint.reoffer(call, client.offer(), rig.now), rig.now)
    client.with_channels(lambda c: c.connect(rig.now), rig.now)
    rig.run(0.3)
    number = opened(rig, client)
    assert rig.endpoint.send_message(call, number, "hello", rig.now)
    rig.run(0.2)
    assert datachannel.Message(number, "hello") in client.heard


@pytest.mark.parametrize("by_fragment", [True, False])
def test_channels_live_through_an_ice_restart(by_fragment: bool) -> None:
    """STUN and ICE 8."""
    rig = Rig.build()
    client = rig.client(contents=("data", "audio"))
    call = rig.establish(client)
    number = opened(rig, client)
    before = rig.endpoint.ufrag(call)
    offer = client.restart()
    if by_fragment:
        fragment = "".join(
            f"{line}\r\n"
            for line in offer.splitlines()
            if line.startswith(("a=ice-ufrag", "a=ice-pwd", "m=", "a=mid"))
        )
        answer = rig.endpoint.restart_ice(call, fragment, rig.now)
        assert answer is not None
        assert rig.endpoint.restart_ice(call, fragment, rig.now) is None, "nothing new in it"
    else:
        answer = rig.endpoint.reoffer(call, offer, rig.now)
    client.accept(answer, rig.now)
    rig.run(0.5)
    assert rig.endpoint.ufrag(call) != before
    assert client.nominated
    assert rig.endpoint.send_message(call, number, "after", rig.now)
    client.with_channels(lambda c: c.send(number, "too", rig.now), rig.now)
    rig.run(0.5)
    assert datachannel.Message(number, "after") in client.heard
    assert [event.message for event in told(rig, MessageReceived)] == ["too"]


def test_what_is_lost_comes_again() -> None:
    rig = Rig.build()
    client = rig.client(contents=("data",))
    call = rig.establish(client)
    number = opened(rig, client)
    rig.lose = lambda index, transmit: index % 4 == 1
    sent = [f"message {count}" * 50 for count in range(60)]
    for text in sent:
        client.with_channels(lambda c, m=text: c.send(number, m, rig.now), rig.now)
        rig.endpoint.send_message(call, number, text, rig.now)
    rig.run(20.0)
    assert [event.message for event in told(rig, MessageReceived)] == sent
    heard = [event.message for event in client.heard if isinstance(event, datachannel.Message)]
    assert heard == sent


def test_the_end_of_a_call_ends_its_channels() -> None:
    rig = Rig.build()
    client = rig.client(contents=("data",))
    call = rig.establish(client)
    number = opened(rig, client)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.2)
    assert told(rig, ChannelClosed) == [ChannelClosed(call, number)]
    assert [type(event).__name__ for event in rig.events][-1] == "Ended"
    assert len(told(rig, DataEnded)) == 1
    assert client.closed


def test_the_end_of_the_association_leaves_the_call_up() -> None:
    rig = Rig.build()
    client = rig.client(contents=BESIDE)
    call = rig.establish(client)
    number = opened(rig, client)
    client.with_channels(lambda c: c.end(rig.now, "enough"), rig.now)
    rig.run(0.2)
    assert told(rig, ChannelClosed) == [ChannelClosed(call, number)]
    assert len(told(rig, DataEnded)) == 1
    assert rig.endpoint.snapshot(call, rig.now).phase == Phase.ESTABLISHED.value
    client.send_audio(b"voice", 0)
    rig.run(0.1)
    assert len(told(rig, AudioReceived)) == 1
    assert not rig.endpoint.send_message(call, number, "x", rig.now)


def test_a_negotiated_channel_beyond_the_streams_is_refused() -> None:
    rig = Rig.build()
    client = rig.client(contents=BESIDE)
    streams = rig.endpoint.config.sctp.streams
    with pytest.raises(OfferError, match=f"channel {streams} is beyond") as caught:
        rig.endpoint.open_call(client.offer(), rig.now, channel=streams)
    assert caught.value.param == "dcid"
    assert rig.endpoint.calls == []
    assert rig.endpoint.open_call(client.offer(), rig.now, channel=streams - 1)


def test_a_later_offer_may_say_that_the_client_takes_less() -> None:
    rig = Rig.build()
    client = rig.client(contents=BESIDE)
    call = rig.establish(client)
    number = opened(rig, client)
    assert rig.endpoint.send_message(call, number, bytes(70_000), rig.now)
    smaller = re.sub(r"a=max-message-size:\d+", "a=max-message-size:65536", client.offer())
    client.accept(rig.endpoint.reoffer(call, smaller, rig.now), rig.now)
    assert not rig.endpoint.send_message(call, number, bytes(70_000), rig.now)
    assert rig.endpoint.send_message(call, number, bytes(65_536), rig.now)


def test_what_was_lost_goes_again_with_the_first_check_that_comes_through() -> None:
    """A relay was away for a while, and the timer of SCTP would sleep for ten seconds more."""
    rig = Rig.build()
    client = rig.client(contents=("data",))
    call = rig.establish(client)
    number = opened(rig, client)
    rig.lose = lambda index, transmit: True
    assert rig.endpoint.send_message(call, number, "late", rig.now)
    rig.run(12.6)
    rig.lose = None
    assert not [event for event in client.heard if isinstance(event, datachannel.Message)]
    client.check(rig.now)
    rig.run(0.3)
    heard = [event for event in client.heard if isinstance(event, datachannel.Message)]
    assert [event.message for event in heard] == ["late"]


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_said_before_packets_are_fetched_shares_them(kept: bool) -> None:
    """An application answers five messages at once. Who keeps a journal has packets for each, which
    stand in it beside what they follow from."""
    entries: list[object] = []
    rig = Rig.build(journal=entries.append if kept else None)
    client = rig.client(contents=("data",))
    call = rig.establish(client)
    number = opened(rig, client)
    rig.run(1.0)
    endpoint = rig.endpoint
    assert endpoint.next_transmit() is None
    for count in range(5):
        assert endpoint.send_message(call, number, f"{count}", rig.now)
        assert (endpoint.next_timeout() == rig.now) is not kept, "there is something to fetch"
    datagrams = []
    while (datagram := endpoint.next_transmit()) is not None:
        datagrams.append(datagram)
    assert len(datagrams) == (5 if kept else 1)
    due = endpoint.next_timeout()
    assert due is not None
    assert rig.now < due <= rig.now + 0.5, "lost, it is sent again"
    rig.run(1.0)
    heard = [event.message for event in client.heard if isinstance(event, datachannel.Message)]
    assert heard == ["0", "1", "2", "3", "4"]


def test_what_was_not_fetched_when_something_else_arrives_comes_before_its_answer() -> None:
    rig = Rig.build()
    clients = [rig.client(seed, contents=("data",), address=HOMES[seed]) for seed in range(2)]
    calls = [rig.establish(client) for client in clients]
    numbers = [opened(rig, client) for client in clients]
    rig.run(1.0)
    for call, number in zip(calls, numbers, strict=True):
        assert rig.endpoint.send_message(call, number, "first", rig.now)
    for client, number in zip(clients, numbers, strict=True):
        client.with_channels(lambda c, n=number: c.send(n, "ping", rig.now), rig.now)
        while (transmit := client.next_transmit()) is not None:
            rig._up(client.address, transmit)
    for call, number in zip(calls, numbers, strict=True):
        assert rig.endpoint.send_message(call, number, "second", rig.now)
    rig.endpoint.close_call(calls[0], EndReason.HANGUP, rig.now)
    rig.run(1.0)
    for client in clients:
        heard = [event.message for event in client.heard if isinstance(event, datachannel.Message)]
        assert heard == ["first", "second"]
    assert [event.message for event in told(rig, MessageReceived)] == ["ping", "ping"]
