"""The full product: every chunk in every state, against a table of what follows."""

import pytest

from sctp_pair import Side, events, kinds, transmits
from sctp_states import CHUNKS, ENDED, in_state, packet_with
from stunroute.trace import Drop
from transceiver.sctp.events import Closed, Dropped, MessageReceived, StreamsResetByPeer
from transceiver.sctp.states import State

ALL = (*State, ENDED)
BEFORE = (State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED)
STANDING = (
    State.ESTABLISHED,
    State.SHUTDOWN_PENDING,
    State.SHUTDOWN_SENT,
    State.SHUTDOWN_RECEIVED,
    State.SHUTDOWN_ACK_SENT,
)
E, P, S, R, A = STANDING
NOTHING: tuple[str, ...] = ()

# What is answered and dropped, and the state after it where it is another one. What is not here is
# dropped as unexpected, and leaves the state alone.
Row = tuple[tuple[str, ...], Drop | None, State | None]
TABLE: dict[tuple[str, State | str], Row] = {}


def enter(
    name: str,
    states: tuple[State | str, ...],
    answer: tuple[str, ...] = NOTHING,
    drop: Drop | None = None,
    after: State | None = None,
) -> None:
    for state in states:
        TABLE[name, state] = (answer, drop, after)


enter("DATA", (E, P), ("Sack",))
enter("DATA", (S,), ("Shutdown", "Sack"))
enter("SACK", STANDING)
enter("FORWARD-TSN", (E, P), ("Sack",))
enter("FORWARD-TSN", (S,), ("Shutdown", "Sack"))
enter("FORWARD-TSN", (R,), ("Sack",))
enter("FORWARD-TSN", (A,))
enter("HEARTBEAT", STANDING, ("HeartbeatAck",))
enter("HEARTBEAT", (State.COOKIE_ECHOED,))
enter("RE-CONFIG", (E, P, R), ("ReConfig", "Sack"))
enter("RE-CONFIG", (S,), ("ReConfig", "Sack"))
enter("RE-CONFIG", (A,), ("ReConfig",))
enter("INIT", (*BEFORE, E, P, S, R), ("InitAck",))
enter("INIT", (A,), ("ShutdownAck",))
enter("INIT ACK", (State.COOKIE_WAIT,), ("CookieEcho",), after=State.COOKIE_ECHOED)
enter("COOKIE ECHO", (*BEFORE, *STANDING), drop=Drop.SCTP_COOKIE)
enter("COOKIE ACK", (State.COOKIE_ECHOED,), after=E)
enter("ERROR", (State.COOKIE_ECHOED,), ("Init",), after=State.COOKIE_WAIT)
enter("ERROR", STANDING)
enter("ABORT", (State.COOKIE_WAIT, State.COOKIE_ECHOED, *STANDING), after=State.CLOSED)
enter("SHUTDOWN", (E,), ("ShutdownAck",), after=A)
enter("SHUTDOWN", (P,), after=R)
enter("SHUTDOWN", (R,))
enter("SHUTDOWN", (S,), ("ShutdownAck",), after=A)
enter("SHUTDOWN", (A,), ("ShutdownAck",))
enter("SHUTDOWN ACK", BEFORE, ("ShutdownComplete",), Drop.SCTP_UNEXPECTED)
enter("SHUTDOWN ACK", (S, A), ("ShutdownComplete",), after=State.CLOSED)
enter("SHUTDOWN COMPLETE", (A,), after=State.CLOSED)
enter("unknown", (*BEFORE, *STANDING), drop=Drop.SCTP_UNKNOWN_CHUNK)
enter("unknown, reported", BEFORE, drop=Drop.SCTP_UNKNOWN_CHUNK)
enter("unknown, reported", STANDING, ("Error",), Drop.SCTP_UNKNOWN_CHUNK)
for name in CHUNKS:
    TABLE[name, ENDED] = (("Abort",), Drop.SCTP_CLOSED, None)
for name in ("ABORT", "SHUTDOWN COMPLETE", "COOKIE ACK", "ERROR", "COOKIE ECHO"):
    TABLE[name, ENDED] = (NOTHING, Drop.SCTP_CLOSED, None)
TABLE["SHUTDOWN ACK", ENDED] = (("ShutdownComplete",), Drop.SCTP_CLOSED, None)


def answers(side: Side) -> tuple[str, ...]:
    return tuple(kind for data in transmits(side.association) for kind in kinds(data))


@pytest.mark.parametrize("state", ALL, ids=str)
@pytest.mark.parametrize("name", CHUNKS)
def test_every_chunk_in_every_state(name: str, state: State | str) -> None:
    pair = in_state(state)
    a = pair.a.association
    before = a.state
    assert before is (State.CLOSED if state == ENDED else state)
    a.receive_packet(packet_with(pair, name), pair.now)
    answer, drop, after = TABLE.get((name, state), (NOTHING, Drop.SCTP_UNEXPECTED, None))
    assert answers(pair.a) == answer
    # A SACK that nobody was in a hurry for comes a little later.
    found = events(a)
    assert [event.drop for event in found if isinstance(event, Dropped)] == (
        [] if drop is None else [drop]
    )
    assert a.state is (before if after is None else after)
    ended = a.state is State.CLOSED and state not in (State.CLOSED, ENDED)
    assert any(isinstance(event, Closed) for event in found) is ended
    taken = name == "DATA" and state in (E, P, S)
    assert any(isinstance(event, MessageReceived) for event in found) is taken
    reset = name == "RE-CONFIG" and state in STANDING
    assert any(isinstance(event, StreamsResetByPeer) for event in found) is reset


@pytest.mark.parametrize("state", ALL, ids=str)
def test_every_pair_of_chunks_leaves_a_sound_association(state: State | str) -> None:
    """Nothing raises, whatever follows upon whatever, and time goes on."""
    for first in CHUNKS:
        for second in CHUNKS:
            pair = in_state(state)
            a = pair.a.association
            a.receive_packet(packet_with(pair, first), pair.now)
            transmits(a)
            a.receive_packet(packet_with(pair, second), pair.now)
            for _ in range(5):
                transmits(a)
                events(a)
                due = a.next_timeout()
                assert due is None or due >= 0
                if due is None:
                    break
                a.handle_timeout(due)
            assert (a.next_timeout() is None) is (a.state is State.CLOSED)


@pytest.mark.parametrize("state", ALL, ids=str)
def test_every_wish_in_every_state(state: State | str) -> None:
    """What the owner may ask for, whenever it likes."""
    for wish in ("connect", "shutdown", "abort"):
        pair = in_state(state)
        a = pair.a.association
        before = a.state
        getattr(a, wish)(pair.now)
        transmits(a)
        match wish:
            case "connect" if state is State.CLOSED:
                assert a.state is State.COOKIE_WAIT
            case "connect":
                assert a.state is before
            case "abort":
                assert a.state is State.CLOSED
            case "shutdown" if state in BEFORE:
                assert a.state is State.CLOSED
            case "shutdown" if state is E:
                assert a.state is S
            case "shutdown":
                assert a.state is before
        closings = [event for event in events(a) if isinstance(event, Closed)]
        assert len(closings) == (a.state is State.CLOSED and state != ENDED)
