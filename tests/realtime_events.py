"""What the tests of the Realtime protocol share: JSON of every kind, a carrier that does what an
exchange asks for, and the public models that its events are held against."""

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from transceiver.realtime import (
    Exchange,
    Flush,
    Output,
    PlainExchange,
    ThroughExchange,
    ToClient,
    write,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["server_vad", "realtime", "auto", "inf", "audio", "audio/pcm", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "input", "output", "turn_detection", "format", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
"""JSON that is nearly what the protocol means."""

MODELS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
OURS_ALONE = frozenset(["backend.restored"])
"""Events that the public protocol has not."""

CHANNEL = 0
"""The client's own connection."""
SIDE = 1


def entropy(count: int) -> bytes:
    return bytes(range(count))


def conforms(event: dict[str, Any]) -> None:
    """Hold an event against the public models, strictly, as it looks when it has been read."""
    read = json.loads(write(event))
    assert read == event
    if event["type"] not in OURS_ALONE:
        MODELS.validate_json(json.dumps(read), strict=True)


@define
class Carrier:
    """Carries events and sound for an exchange: what it puts out is kept, what it says is held
    against the public models, and a ``Flush`` is answered at once with what ``playing`` says."""

    exchange: Exchange
    now: float = 0.0
    strict: bool = True
    playing: tuple[float, float] = (0.0, 0.0)
    """What a flush finds: seconds played and not."""
    outputs: list[Output] = field(factory=list)

    def carry(self) -> None:
        while (output := self.exchange.next_output()) is not None:
            self.outputs.append(output)
            match output:
                case ToClient(event) if self.strict:
                    conforms(event)
                case Flush():
                    self.exchange.flushed(*self.playing, self.now)

    def after(self, verb: Callable[..., Any], *arguments: Any) -> list[Output]:
        """What comes out of a verb."""
        self.outputs = []
        verb(*arguments)
        self.carry()
        return self.outputs

    def send(self, source: int = CHANNEL, **event: Any) -> list[Output]:
        """What comes of a client's event."""
        text = json.dumps(event)
        return self.after(self.exchange.receive_untrusted, text, source, self.now)

    def told(self) -> list[str]:
        """The types of the events of the last verb."""
        return [event["type"] for event in self.events()]

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events of the last verb, or those of one type."""
        said = [output.event for output in self.outputs if isinstance(output, ToClient)]
        return [event for event in said if kind in (None, event["type"])]

    def one(self, kind: str) -> dict[str, Any]:
        (event,) = self.events(kind)
        return event

    def error(self) -> tuple[str | None, str | None]:
        """The code and the field of the one error that was told."""
        error = self.one("error")["error"]
        return error["code"], error["param"]


def plain(asked: dict[str, Any] | None = None, **others: Any) -> Carrier:
    """A plain conversation with the client connected, one second into the call."""
    carrier = Carrier(PlainExchange(entropy, asked or {}, "m", **others))
    return _begun(carrier)


def through(asked: dict[str, Any] | None = None, **others: Any) -> Carrier:
    """The same for an agent that speaks for itself."""
    return _begun(Carrier(ThroughExchange(entropy, asked or {}, "m", **others), strict=False))


def _begun(carrier: Carrier) -> Carrier:
    carrier.exchange.open(0.0)
    carrier.exchange.connected(CHANNEL, 0.0)
    carrier.carry()
    carrier.outputs = []
    carrier.now = 1.0
    return carrier


def message(text: str, **others: Any) -> dict[str, Any]:
    """An item of a user."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content, **others}


def speak(carrier: Carrier, words: str = "") -> list[str]:
    """A plain agent begins to speak; what is told of it."""
    carrier.after(carrier.exchange.speaking, carrier.now)
    told = carrier.told()
    if words:
        carrier.after(carrier.exchange.said, words, carrier.now)
        told += carrier.told()
    carrier.after(carrier.exchange.playback_started, carrier.now)
    return told + carrier.told()
