"""A client with a good key that wants to cost more than it pays: for both exchanges."""

from typing import Any

import pytest

from realtime_events import CHANNEL, Carrier, entropy
from transceiver.config import RealtimeLimits
from transceiver.realtime import ThroughExchange, ToAgent, write
from transceiver.realtime.plain import PlainExchange

LIMITS = RealtimeLimits(work=65_536, session_bytes=4096)
MESSAGE = {"type": "message", "role": "user"}


def carrier_of(kind: Any = PlainExchange, limits: RealtimeLimits = LIMITS) -> Carrier:
    carrier = Carrier(kind(entropy, limits=limits))
    carrier.after(carrier.exchange.open, 0.0)
    carrier.after(carrier.exchange.connected, CHANNEL, 0.0)
    return carrier


def written(text: str, **fields: Any) -> dict[str, Any]:
    return {**MESSAGE, **fields, "content": [{"type": "input_text", "text": text}]}


@pytest.mark.parametrize("kind", [PlainExchange, ThroughExchange])
def test_a_flood_of_events_is_let_go_and_told_of_once_in_a_second(kind: Any) -> None:
    carrier = carrier_of(kind)
    codes = []
    read = 0
    for _ in range(1000):
        carrier.send(type="response.cancel")
        read += any(isinstance(output, ToAgent) for output in carrier.outputs)
        codes += [event["error"]["code"] for event in carrier.events("error")]
    if kind is ThroughExchange:
        assert read < 100
    assert codes.count("rate_limit_exceeded") == 1
    assert len(codes) < 100
    carrier.now = 0.5
    carrier.send(type="response.cancel")
    assert carrier.outputs
    assert carrier.told() == [] or carrier.error()[0] != "rate_limit_exceeded"


def test_at_the_pace_of_sound_nothing_is_let_go() -> None:
    """Twice as much as a client speaks, for a minute, under the usual limits."""
    carrier = carrier_of(limits=RealtimeLimits())
    for number in range(3000):
        carrier.now = number * 0.02
        carrier.send(type="input_audio_buffer.append", audio="AAAA" * 640)
        assert not carrier.told()


def test_what_a_few_bytes_ask_for_is_paid_for() -> None:
    """An item may be asked for again and again, and is a thousand times as long as the asking."""
    carrier = carrier_of()
    carrier.send(type="conversation.item.create", item=written("x" * 50_000, id="long"))
    answered = 0
    for _ in range(1000):
        carrier.send(type="conversation.item.retrieve", item_id="long")
        answered += carrier.told() == ["conversation.item.retrieved"]
    assert 0 < answered * 50_000 <= 5 * LIMITS.work


def test_a_session_does_not_grow_by_fields_that_nobody_knows() -> None:
    carrier = carrier_of(limits=RealtimeLimits(session_bytes=4096))
    for number in range(1000):
        carrier.send(type="session.update", session={f"field{number}": "x" * 100})
    assert carrier.error() == ("session_too_large", "session")
    assert len(write(carrier.exchange.session)) <= 4096
    carrier.send(type="session.update", session={"field0": ""})
    assert carrier.told() == ["session.updated"]


def test_a_session_that_was_too_long_at_first_may_shrink() -> None:
    limits = RealtimeLimits(session_bytes=4096)
    exchange = PlainExchange(entropy, {"instructions": "x" * 9000}, limits=limits)
    carrier = Carrier(exchange)
    carrier.after(exchange.connected, CHANNEL, 0.0)
    carrier.send(type="session.update", session={"instructions": "y" * 9100})
    assert carrier.error() == ("session_too_large", "session")
    carrier.send(type="session.update", session={"instructions": "y" * 8900})
    assert carrier.told() == ["session.updated"]


def test_an_item_with_a_name_that_we_were_about_to_give() -> None:
    """Names are counted from a stem that every event shows."""
    carrier = carrier_of(limits=RealtimeLimits(items=4))
    stem = carrier.exchange.session["id"].removeprefix("sess_")[:-4]
    carrier.send(type="conversation.item.create", item=written("mine", id=f"item_{stem}0001"))
    carrier.after(carrier.exchange.said, "ours", 0.0)
    assert carrier.one("conversation.item.added")["item"]["id"] == f"item_{stem}0001"
    carrier.after(carrier.exchange.finish, 0.0)
    carrier.send(type="conversation.item.delete", item_id=f"item_{stem}0001")
    for _ in range(20):
        carrier.send(type="conversation.item.create", item=written("more"))
        assert "error" not in carrier.told()
