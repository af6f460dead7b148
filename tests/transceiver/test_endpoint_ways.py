"""The short way of audio through an endpoint: that it says what the long one says, and what is
remembered for it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls import deliver, drops, of_kind, talk
from pair import HOME, INNER, PUBLIC, Rig
from stunroute import forward
from stunroute.address import Address
from stunroute.pump import pump
from transceiver.events import AudioReceived, EndReason
from transceiver.srtp import rtcp

STEPS = st.lists(
    st.sampled_from(
        ["audio", "again", "forged", "other type", "empty", "skip", "report", "wait", "silence"]
    ),
    max_size=25,
)


def story(steps: list[str], journal: Any) -> tuple[object, ...]:
    """What an endpoint says to a call in which all that happens. Only without a journal does audio
    go the short way."""
    rig = Rig.build("ways", journal=journal)
    client = rig.client()
    call = rig.establish(client)
    data = b""
    for number, step in enumerate(steps):
        match step:
            case "audio" | "empty":
                payload = b"" if step == "empty" else b"voice %d" % number
                data = client.send_audio(payload, 960 * number, marker=number % 3 == 0)
            case "again" if data:
                client.send_raw(data)
            case "forged" if data:
                client.send_raw(data[:-1] + bytes([data[-1] ^ 1]))
            case "other type":
                client.payload_type ^= 1
                client.send_audio(b"of another type", 960 * number)
                client.payload_type ^= 1
            case "skip":
                client.sequence = client.sequence + 200 & 0xFFFF
            case "report":
                client.send_rtcp(rtcp.encode_compound([rtcp.ReceiverReport(client.ssrc)]))
            case "wait":
                rig.run(1.5)
            case "silence":
                client.keepalives = False
                rig.run(7.0)
        rig.run(0.02)
        if rig.events and type(rig.events[-1]) is AudioReceived:
            rig.endpoint.send_audio(call, rig.events[-1].payload, 960 * number, False, rig.now)
            rig.settle()
    snapshot = rig.endpoint.snapshot(call, rig.now) if call in rig.endpoint.calls else None
    return rig.events, rig.crossings, drops(rig), snapshot, rig.endpoint.next_timeout()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_audio_says_the_same_on_the_short_way_and_on_the_long_one(steps: list[str]) -> None:
    short, long = story(steps, None), story(steps, lambda entry: None)
    # Only the heap's next entry may be one that wakes in vain, and is then the earlier.
    assert short[:-1] == long[:-1]


def relayed(number: int) -> bytes:
    """A header of the leg for the client at home, by another address of the relays."""
    return forward.encode(HOME, Address.of("203.0.113.9", 10_000 + number))


def test_no_more_headers_are_remembered_for_a_call_than_it_may_have() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    for number in range(100):
        data = client.send_audio(b"by a new way", 960 * number)
        pump(client)  # type: ignore[arg-type]
        rig.endpoint.receive_datagram(relayed(number) + data, INNER, rig.now)
    rig.settle()
    assert len(of_kind(rig, AudioReceived)) == 100
    assert 1 <= len(rig.endpoint._ways) <= 8
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    assert rig.endpoint._ways == {}


@pytest.mark.parametrize("payload", [b"", b"\x80\x6f" + bytes(40), b"\x16\xfe\xfd" + bytes(20)])
def test_no_header_is_remembered_for_a_stranger(payload: bytes) -> None:
    rig = Rig.build()
    rig.establish(rig.client())
    before = dict(rig.endpoint._ways)
    deliver(rig, payload, Address.of("192.0.2.201", 1234))
    assert rig.endpoint._ways == before


def test_a_second_call_at_an_address_ends_the_short_way_of_the_first() -> None:
    rig = Rig.build()
    first, second = rig.client("first"), rig.client("second")
    rig.establish(first)
    talk(rig, first, packets=2)
    assert forward.encode(HOME, PUBLIC) in rig.endpoint._ways
    rig.establish(second)
    assert rig.endpoint._ways == {}
    talk(rig, first, packets=2, first=2)
    talk(rig, second, packets=2)
    calls = [event.call for event in of_kind(rig, AudioReceived)]
    assert len(calls) == 6
    assert len(set(calls)) == 2
