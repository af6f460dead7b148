"""The phase table, whole: every phase meets every cause, and every input."""

import itertools

import pytest

from pair import HOME, INNER, PUBLIC, Client, Rig
from stunroute import stun
from stunroute.address import Address
from transceiver.events import EndReason, Phase
from transceiver.path import Path
from transceiver.session import LONGEST_PAYLOAD, TRANSITIONS, Cause, Session
from transceiver.timers import Deadline, Wake

EXPECTED = {
    (Phase.NEW, Cause.CHECKED): Phase.CHECKING,
    (Phase.CHECKING, Cause.ANSWERED): Phase.HANDSHAKING,
    (Phase.CHECKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.HANDSHAKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.ESTABLISHED, Cause.SILENT): Phase.DISCONNECTED,
    (Phase.DISCONNECTED, Cause.HEARD): Phase.ESTABLISHED,
}


@pytest.mark.parametrize(("phase", "cause"), list(itertools.product(Phase, Cause)))
def test_every_phase_meets_every_cause(phase: Phase, cause: Cause) -> None:
    if cause is Cause.ENDED:
        expected: Phase | None = Phase.CLOSED
    else:
        expected = EXPECTED.get((phase, cause))
    assert TRANSITIONS.get((phase, cause)) is expected


def test_nothing_leaves_closed() -> None:
    left = [after for (before, _), after in TRANSITIONS.items() if before is Phase.CLOSED]
    assert set(left) == {Phase.CLOSED}


def test_every_phase_but_the_first_can_be_reached() -> None:
    reached = {Phase.NEW}
    while more := {a for (b, _), a in TRANSITIONS.items() if b in reached} - reached:
        reached |= more
    assert reached == set(Phase)


# The product of phases and things that can happen, on live sessions.

STRANGER = Path(Address.of("198.51.100.9", 9), PUBLIC, INNER)
HOME_PATH = Path(HOME, PUBLIC, INNER)


def in_phase(phase: Phase) -> tuple[Rig, Client, Session]:
    rig = Rig.build(("phase", phase.value))
    client = rig.client()
    match phase:
        case Phase.NEW:
            answered = rig.endpoint.open_call(client.offer(), rig.now)
            rig.clients.clear()
            client.accept(answered.answer, rig.now)
            client.next_transmit()
        case Phase.CHECKING | Phase.HANDSHAKING:
            # From us a ClientHello, from the client nothing but its checks.
            rig.lose = lambda _, transmit: transmit.data[:1] == b"\x16"
            rig.open(client)
            rig.run(0.01)
            rig.clients.clear()
        case _:
            rig.establish(client)
            client.keepalives = False
    (session,) = (slot.session for slot in rig.endpoint._slots.values())
    match phase:
        case Phase.HANDSHAKING:
            session.receive_datagram(b"\x16\xfe\xfd" + bytes(40), HOME_PATH, rig.now)
        case Phase.DISCONNECTED:
            rig.run(8.0)
        case Phase.CLOSED:
            session.close(EndReason.HANGUP, rig.now)
    assert session.phase is phase
    return rig, client, session


INPUTS = {
    "check": Cause.CHECKED,
    "forged check": None,
    "dtls record": Cause.ANSWERED,
    "dtls record of a stranger": None,
    "forged srtp": None,
    "srtp": Cause.HEARD,
    "forged srtcp": None,
    "indication": None,
    "zrtp": None,
    "empty": None,
    "close": Cause.ENDED,
    "establish timeout": None,
}


def feed(name: str, rig: Rig, client: Client, session: Session) -> None:
    take, now = session.receive_datagram, rig.now
    match name:
        case "check" | "forged check":
            password = client.remote_password if name == "check" else "guess" * 5
            data = stun.build(
                stun.Method.BINDING,
                stun.MessageClass.REQUEST,
                b"another one!",
                [
                    (0x0006, f"{client.remote_ufrag}:{client.ufrag}".encode()),
                    (0x0024, (1).to_bytes(4, "big")),
                    (0x802A, (5).to_bytes(8, "big")),
                ],
                integrity=stun.IntegrityKey(password.encode()),
            )
            take(data, HOME_PATH, now)
        case "dtls record":
            take(b"\x16\xfe\xfd" + bytes(40), HOME_PATH, now)
        case "dtls record of a stranger":
            take(b"\x16\xfe\xfd" + bytes(40), STRANGER, now)
        case "srtp" if client.keys is not None:
            take(client.send_audio(b"voice", 960), HOME_PATH, now)
        case "srtp" | "forged srtp":
            take(b"\x80\x6f\x00\x01" + bytes(60), HOME_PATH, now)
        case "forged srtcp":
            take(b"\x80\xc9\x00\x01" + bytes(60), HOME_PATH, now)
        case "indication":
            data = stun.build(stun.Method.BINDING, stun.MessageClass.INDICATION, bytes(12), [])
            take(data, HOME_PATH, now)
        case "zrtp":
            take(b"\x10" + bytes(40), HOME_PATH, now)
        case "empty":
            take(b"", HOME_PATH, now)
        case "close":
            session.close(EndReason.HANGUP, now)
        case "establish timeout":
            session.handle_timeout(session.marks.opened + 31.0)


@pytest.mark.parametrize(("phase", "name"), list(itertools.product(Phase, INPUTS)))
def test_every_phase_meets_every_input(phase: Phase, name: str) -> None:
    rig, client, session = in_phase(phase)
    feed(name, rig, client, session)
    cause = INPUTS[name]
    expected = TRANSITIONS.get((phase, cause), phase) if cause else phase
    if phase is Phase.DISCONNECTED and name == "check":
        expected = Phase.ESTABLISHED  # a check is heard, too
    if phase is Phase.NEW and name == "dtls record":
        expected = Phase.NEW  # no check has validated its address yet
    if name == "srtp" and client.keys is None:
        expected = phase
    if name == "establish timeout":
        expected = Phase.CLOSED  # with keys agreed, 31 s of silence are the end of consent
    assert session.phase is expected
    if phase is Phase.CLOSED:
        assert session.next_timeout() is None


def test_a_clock_that_jumps_far_ahead_is_survived() -> None:
    for phase in Phase:
        _, _, session = in_phase(phase)
        session.handle_timeout(1e9)
        assert session.phase is Phase.CLOSED


def test_audio_too_long_for_a_packet_is_refused_and_not_raised() -> None:
    """A client may send packets longer than ours can be, and an echo sends back what it gets."""
    rig, client, session = in_phase(Phase.ESTABLISHED)
    assert session.send_audio(bytes(LONGEST_PAYLOAD), 0, False, rig.now)
    assert not session.send_audio(bytes(LONGEST_PAYLOAD + 1), 960, False, rig.now)
    assert session.send_audio(b"short", 1920, False, rig.now)
    sent = list(iter(session.next_transmit, None))
    assert max(len(out.payload) for out in sent) < 1400
    for out in sent:
        client.receive_datagram(out.payload, PUBLIC, rig.now)
    assert [len(packet.payload) for packet in client.audio] == [LONGEST_PAYLOAD, 5]
    first, second = (packet.sequence for packet in client.audio)
    assert (second - first) % 65536 == 1


def test_audio_of_ours_moves_no_deadline() -> None:
    rig, _, session = in_phase(Phase.ESTABLISHED)
    for _ in range(3):
        before = session.next_deadline()
        assert session.send_audio(b"audio", 960, False, rig.now)
        assert session.next_deadline() == before
        rig.run(0.4)


def test_of_deadlines_at_one_instant_the_more_telling_one_is_named() -> None:
    rig, _, session = in_phase(Phase.NEW)
    limits = session.config.session
    session.end_within(limits.maximum_length - (rig.now - session.marks.opened), rig.now)
    session.marks.opened += limits.maximum_length  # nothing else is due that soon
    session._warning_at = None
    due = session.next_deadline()
    assert due == Deadline(session._length_at, Wake.DRAIN)
