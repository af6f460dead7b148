"""Every state of a data channel with every input, and any peer at all."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_bench import ACK, OPEN, Bench
from fake_association import Sent
from transceiver.config import ChannelLimits
from transceiver.datachannel import Closed, Event, Message, NotOpen, Opened, TooManyChannels
from transceiver.datachannel.channels import Stage, _Channel
from transceiver.datachannel.messages import Open
from transceiver.sctp import events as sctp

# --- the product of all states and inputs ---------------------------------------------------------

Input = Callable[[Bench], object]
N = 5

STATES: dict[str, Callable[[Bench], None]] = {
    "free": lambda bench: None,
    "opening": lambda bench: bench.channels._add(_channel(Stage.OPENING)),
    "open": lambda bench: bench.channels._add(_channel(Stage.OPEN)),
    "closing": lambda bench: bench.channels._add(_channel(Stage.CLOSING)),
    "closing, ours done": lambda bench: bench.channels._add(
        _channel(Stage.CLOSING, ours_reset=True)
    ),
    "closing, theirs done": lambda bench: bench.channels._add(
        _channel(Stage.CLOSING, theirs_reset=True)
    ),
}


def _channel(stage: Stage, **also: bool) -> _Channel:
    return _Channel(N, Open("label"), stage, **also)


INPUTS: dict[str, Input] = {
    "OPEN": lambda bench: bench.come(N, 50, OPEN),
    "ACK": lambda bench: bench.come(N, 50, ACK),
    "message": lambda bench: bench.come(N, 51, b"x"),
    "their reset": lambda bench: bench.happen(sctp.StreamsResetByPeer((N,))),
    "our reset": lambda bench: bench.happen(sctp.ResetDone((N,), True)),
    "no reset": lambda bench: bench.happen(sctp.ResetDone((N,), False)),
    "close": lambda bench: bench.channels.close(N, 1.0),
}

NEXT: dict[tuple[str, str], tuple[str, str]] = {
    # state, input: next state, what was done
    ("free", "OPEN"): ("open", "ack"),
    ("free", "ACK"): ("closing", "reset"),
    ("free", "message"): ("closing", "reset"),
    ("free", "their reset"): ("free", ""),
    ("free", "our reset"): ("free", ""),
    ("free", "no reset"): ("free", ""),
    ("free", "close"): ("free", ""),
    ("opening", "OPEN"): ("closing", "reset"),
    ("opening", "ACK"): ("open", ""),
    ("opening", "message"): ("open", ""),
    ("opening", "their reset"): ("closing, theirs done", "reset"),
    ("opening", "our reset"): ("opening", ""),
    ("opening", "no reset"): ("opening", ""),
    ("opening", "close"): ("closing", "reset"),
    ("open", "OPEN"): ("closing", "reset"),
    ("open", "ACK"): ("open", ""),
    ("open", "message"): ("open", ""),
    ("open", "their reset"): ("closing, theirs done", "reset"),
    ("open", "our reset"): ("open", ""),
    ("open", "no reset"): ("open", ""),
    ("open", "close"): ("closing", "reset"),
    ("closing", "OPEN"): ("closing", ""),
    ("closing", "ACK"): ("closing", ""),
    ("closing", "message"): ("closing", ""),
    ("closing", "their reset"): ("closing, theirs done", ""),
    ("closing", "our reset"): ("closing, ours done", ""),
    ("closing", "no reset"): ("free", ""),
    ("closing", "close"): ("closing", ""),
    ("closing, ours done", "OPEN"): ("closing, ours done", ""),
    ("closing, ours done", "ACK"): ("closing, ours done", ""),
    ("closing, ours done", "message"): ("closing, ours done", ""),
    ("closing, ours done", "their reset"): ("free", ""),
    ("closing, ours done", "our reset"): ("closing, ours done", ""),
    ("closing, ours done", "no reset"): ("free", ""),
    ("closing, ours done", "close"): ("closing, ours done", ""),
    ("closing, theirs done", "OPEN"): ("open", "ack"),
    ("closing, theirs done", "ACK"): ("closing, theirs done", ""),
    ("closing, theirs done", "message"): ("closing, theirs done", ""),
    ("closing, theirs done", "their reset"): ("closing, theirs done", ""),
    ("closing, theirs done", "our reset"): ("free", ""),
    ("closing, theirs done", "no reset"): ("free", ""),
    ("closing, theirs done", "close"): ("closing, theirs done", ""),
}


def state_of(bench: Bench) -> str:
    channel = bench.channels._channels.get(N)
    if channel is None:
        return "free"
    name = channel.stage.value
    return name + ", ours done" * channel.ours_reset + ", theirs done" * channel.theirs_reset


@pytest.mark.parametrize(("state", "name"), list(product(STATES, INPUTS)))
def test_every_state_and_input(state: str, name: str) -> None:
    bench = Bench()
    STATES[state](bench)
    assert state_of(bench) == state
    INPUTS[name](bench)
    acked = Sent(N, 50, ACK) in bench.association.sent
    done = "ack" if acked else "reset" if bench.association.resets else ""
    assert (state_of(bench), done) == NEXT[state, name]
    assert len(bench.association.sent) == acked
    assert bench.association.resets == ([N] if done == "reset" else [])


# --- any peer -------------------------------------------------------------------------------------


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.integers(0, 9),
                st.sampled_from([50, 51, 53, 56, 99]),
                st.sampled_from([OPEN, ACK, b"\3", b"\xff", b"text"]),
            ),
            st.tuples(st.sampled_from(["reset", "done", "denied"]), st.integers(0, 9)),
            st.tuples(st.sampled_from(["open", "close", "send", "restart"]), st.integers(0, 9)),
        ),
        max_size=60,
    )
)
@settings(max_examples=100)
def test_the_application_s_picture_is_sound(steps: list[tuple[object, ...]]) -> None:
    """Whatever the peer does: channels open once, close once, and speak in between."""
    limits = ChannelLimits(channels=4, opens_per_second=1e6)
    bench = Bench(limits=limits, negotiated=((8, "agreed"),))
    alive, pending = {8}, set[int]()
    for step in steps:
        events: list[Event] = []
        match step:
            case (int(stream), int(ppid), bytes(payload)):
                events = bench.come(stream, ppid, payload)
            case ("reset", int(stream)):
                events = bench.happen(sctp.StreamsResetByPeer((stream,)))
            case (("done" | "denied") as how, int(stream)):
                if stream in bench.association.resets:
                    bench.association.resets.remove(stream)
                    events = bench.happen(sctp.ResetDone((stream,), how == "done"))
            case ("restart", 0):
                bench.association.resets.clear()
                events = bench.happen(sctp.Restarted())
            case ("close", int(stream)):
                bench.channels.close(stream, 1.0)
            case ("open", _):
                try:
                    pending.add(bench.channels.open("ours", now=1.0))
                except TooManyChannels:
                    assert len(alive | pending) == limits.channels
            case ("send", int(stream)):
                try:
                    bench.channels.send(stream, "x", 1.0)
                except NotOpen:
                    pass
                else:
                    assert stream in alive | pending
        for event in events:
            match event:
                case Opened(channel):
                    assert channel not in alive
                    pending.discard(channel)
                    alive.add(channel)
                case Closed(channel):
                    assert channel in alive | pending
                    alive.discard(channel)
                    pending.discard(channel)
                case Message(channel):
                    assert channel in alive
        assert len(alive | pending) <= limits.channels
        resets = bench.association.resets
        assert len(resets) == len(set(resets))
