"""What INIT and COOKIE ECHO mean, in every state and for every row of the RFC's table."""

import pytest

from transceiver.config import SctpLimits
from transceiver.sctp.causes import InvalidMandatoryParameter, UnresolvableAddress
from transceiver.sctp.chunks import Init, InitAck
from transceiver.sctp.cookie import NO_TIE, Cookie, Peer
from transceiver.sctp.handshake import (
    CookieMeans,
    InitMeans,
    classify_cookie,
    classify_init,
    make_init,
    make_init_ack,
    objection,
    state_cookie,
)
from transceiver.sctp.parameters import (
    ForwardTsnSupported,
    OverIp,
    Parameter,
    StateCookie,
    SupportedExtensions,
    UnknownParameter,
    UnrecognizedParameter,
    ZeroChecksumAcceptable,
)
from transceiver.sctp.states import State

LIMITS = SctpLimits()
GOOD = Init(1, 1500, 3, 4, 5)
OPENING = (State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED)
STANDING = (
    State.ESTABLISHED,
    State.SHUTDOWN_PENDING,
    State.SHUTDOWN_SENT,
    State.SHUTDOWN_RECEIVED,
)
OURS, THEIRS, TIE = 10, 20, b"the tie "


@pytest.mark.parametrize("state", State)
def test_init_in_every_state(state: State) -> None:
    if state in OPENING:
        means = InitMeans.BEGIN
    elif state in STANDING:
        means = InitMeans.PERHAPS_RESTART
    else:
        means = InitMeans.CLOSING
    assert classify_init(GOOD, state) is means


@pytest.mark.parametrize("state", State)
def test_an_init_that_cannot_be_meant(state: State) -> None:
    assert classify_init(Init(0, 1500, 3, 4, 5), state) is InitMeans.INVALID
    assert classify_init(Init(1, 1500, 0, 4, 5), state) is InitMeans.IMPOSSIBLE
    assert classify_init(Init(1, 1500, 3, 0, 5), state) is InitMeans.IMPOSSIBLE


@pytest.mark.parametrize("kind", [Init, InitAck])
def test_what_nobody_could_work_with(kind: type[Init] | type[InitAck]) -> None:
    name = OverIp(11, b"example.org\0")
    assert objection(kind(1, 1500, 1, 1, 5)) is None
    assert objection(kind(1, 1499, 1, 1, 5)) == InvalidMandatoryParameter()
    assert objection(kind(1, 1500, 0, 1, 5)) == InvalidMandatoryParameter()
    assert objection(kind(1, 1500, 1, 0, 5)) == InvalidMandatoryParameter()
    assert objection(kind(1, 1500, 1, 1, 5, (name,))) == UnresolvableAddress(name.encode())
    for other in (5, 6, 9, 12):
        assert objection(kind(1, 1500, 1, 1, 5, (OverIp(other, bytes(4)),))) is None


def meaning(
    state: State,
    own: int,
    theirs: int,
    tie: bytes = NO_TIE,
    *,
    age: float = 0.0,
    peer_tag: int | None = THEIRS,
) -> CookieMeans:
    return classify_cookie(
        Cookie(100.0, own, 0, tie, Peer(theirs, 0, 1, 1, 0)),
        state=state,
        own_tag=OURS,
        peer_tag=peer_tag,
        tie=NO_TIE if peer_tag is None else TIE,
        lifetime=60.0,
        now=100.0 + age,
    )


def test_without_an_association_it_begins_unless_it_is_stale() -> None:
    assert meaning(State.CLOSED, OURS, THEIRS, peer_tag=None) is CookieMeans.BEGIN
    assert meaning(State.CLOSED, OURS, THEIRS, peer_tag=None, age=60) is CookieMeans.BEGIN
    assert meaning(State.CLOSED, OURS, THEIRS, peer_tag=None, age=60.1) is CookieMeans.STALE


@pytest.mark.parametrize("state", [*STANDING, State.COOKIE_ECHOED, State.SHUTDOWN_ACK_SENT])
def test_the_table(state: State) -> None:
    """RFC 9260, table 12, for every state in which the peer's tag is known."""
    closing = state is State.SHUTDOWN_ACK_SENT
    restart = CookieMeans.CLOSING if closing else CookieMeans.RESTART
    opening = state is State.COOKIE_ECHOED
    # A: X X M M
    assert meaning(state, 99, 98, TIE) is restart
    # B: M X A A; where nothing is left to settle it is a restart of a peer that was answered
    # while we opened.
    for tie in (NO_TIE, TIE, b"another "):
        found = CookieMeans.COLLISION if opening else restart
        assert meaning(state, OURS, 98, tie) is found
    # C: X M 0 0
    assert meaning(state, 99, THEIRS, NO_TIE) is CookieMeans.LATE
    # D: M M A A, however old
    for tie in (NO_TIE, TIE, b"another "):
        assert meaning(state, OURS, THEIRS, tie, age=1e6) is CookieMeans.REPETITION
    # Those in no row.
    assert meaning(state, 99, 98, NO_TIE) is CookieMeans.STRANGE
    assert meaning(state, 99, 98, b"another ") is CookieMeans.STRANGE
    assert meaning(state, 99, THEIRS, TIE) is CookieMeans.STRANGE
    # Too old.
    for own, theirs in ((99, 98), (OURS, 98), (99, THEIRS)):
        assert meaning(state, own, theirs, TIE, age=61) is CookieMeans.STALE


def test_a_collision_before_the_peer_has_told_its_tag() -> None:
    """B: M 0 A A."""
    assert meaning(State.COOKIE_WAIT, OURS, 98, peer_tag=None) is CookieMeans.COLLISION
    assert meaning(State.COOKIE_WAIT, 99, 98, peer_tag=None) is CookieMeans.STRANGE


def test_our_init_says_what_we_can() -> None:
    init = make_init(7, 8, LIMITS, zero_checksum=True)
    assert (init.tag, init.tsn, init.window) == (7, 8, LIMITS.receive_window)
    assert (init.outbound, init.inbound) == (LIMITS.streams, LIMITS.streams)
    assert init.parameters == (
        SupportedExtensions((130, 192)),
        ForwardTsnSupported(),
        ZeroChecksumAcceptable(),
    )
    silent = make_init(7, 8, LIMITS, zero_checksum=False)
    assert ZeroChecksumAcceptable() not in silent.parameters


def test_the_answer_gives_back_what_was_not_understood_within_bounds() -> None:
    wanted = UnknownParameter(0xC123, b"heard")
    quiet = UnknownParameter(0x8123, b"not heard")
    cookie = Cookie(0.0, 11, 12, NO_TIE, Peer.of(GOOD))
    told: tuple[Parameter, ...] = (quiet, wanted)
    answer = make_init_ack(Init(1, 2, 3, 4, 5, told), cookie, b"sealed", LIMITS, zero_checksum=True)
    assert (answer.tag, answer.tsn) == (11, 12)
    assert state_cookie(answer) == b"sealed"
    reports = [one for one in answer.parameters if isinstance(one, UnrecognizedParameter)]
    assert reports == [UnrecognizedParameter(wanted.encode())]
    many = Init(1, 2, 3, 4, 5, (wanted,) * 500)
    answer = make_init_ack(many, cookie, b"sealed", LIMITS, zero_checksum=True)
    assert len(answer.encode()) < LIMITS.packet - 100


def test_the_cookie_of_an_answer() -> None:
    assert state_cookie(InitAck(1, 2, 3, 4, 5)) is None
    assert state_cookie(InitAck(1, 2, 3, 4, 5, (ForwardTsnSupported(), StateCookie(b"c")))) == b"c"
