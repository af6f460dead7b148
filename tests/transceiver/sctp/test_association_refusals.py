"""INIT and INIT ACK that cannot be gone on with, and those that look like it."""

import pytest

from sctp_pair import (
    LIMITS,
    chunks,
    drops,
    events,
    kinds,
    transmits,
)
from sctp_states import ENDED, in_state, tag_of, to
from stunroute.trace import Drop
from transceiver.sctp import Association, packet
from transceiver.sctp.causes import (
    Cause,
    InvalidMandatoryParameter,
    MissingParameters,
    ProtocolViolation,
    UnresolvableAddress,
)
from transceiver.sctp.chunks import (
    Abort,
    Init,
    InitAck,
)
from transceiver.sctp.events import (
    Closed,
    Dropped,
)
from transceiver.sctp.parameters import (
    OverIp,
    Parameter,
    StateCookie,
    UnknownParameter,
)
from transceiver.sctp.states import State

NAME = OverIp(11, b"example.org\0")
REFUSED = [(1499, 1, 1, ()), (1500, 0, 1, ()), (1500, 1, 0, ()), (1500, 1, 1, (NAME,))]
"""Window, streams and parameters that nobody could work with."""


@pytest.mark.parametrize("state", [*State, ENDED], ids=str)
@pytest.mark.parametrize(("window", "outbound", "inbound", "parameters"), REFUSED, ids=str)
def test_an_init_that_cannot_be_meant(
    state: State | str,
    window: int,
    outbound: int,
    inbound: int,
    parameters: tuple[Parameter, ...],
) -> None:
    """rfc9260/3.3.2/11, rfc9260/3.3.2/14, rfc9260/3.3.2/16, rfc9260/3.3.2.1.4/2: an ABORT with the
    tag of the INIT, and whatever stood goes on standing."""
    pair = in_state(state)
    a = pair.a.association
    events(a)
    before, tag = a.state, tag_of(a)
    init = Init(77, window, outbound, inbound, 1, parameters)
    a.receive_packet(packet.encode(5000, 5000, 0, [init]), pair.now)
    (said,) = transmits(a)
    read = packet.decode_untrusted(said, accept_zero_checksum=False)
    assert read.tag == 77
    (abort,) = read.chunks
    assert isinstance(abort, Abort)
    assert not abort.reflected
    closed = state == ENDED
    assert events(a) == [Dropped(Drop.SCTP_CLOSED if closed else Drop.SCTP_MALFORMED)]
    assert (a.state, tag_of(a)) == (before, tag)


@pytest.mark.parametrize("state", State, ids=str)
def test_an_init_without_a_tag_is_not_answered(state: State) -> None:
    """rfc9260/3.3.2/9."""
    pair = in_state(state)
    a = pair.a.association
    a.receive_packet(packet.encode(5000, 5000, 0, [Init(0, 1500, 1, 1, 1)]), pair.now)
    assert drops(pair.a) == [Drop.SCTP_MALFORMED]
    assert transmits(a) == []


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (InitAck(7, 1500, 1, 1, 1), MissingParameters((7,))),
        (InitAck(0, 1500, 1, 1, 1, (StateCookie(b"c"),)), InvalidMandatoryParameter()),
        (InitAck(7, 1500, 0, 1, 1, (StateCookie(b"c"),)), InvalidMandatoryParameter()),
        (InitAck(7, 1500, 1, 0, 1, (StateCookie(b"c"),)), InvalidMandatoryParameter()),
        (
            InitAck(7, 1500, 1, 1, 1, (StateCookie(b"c"), NAME)),
            UnresolvableAddress(NAME.encode()),
        ),
        (
            InitAck(7, 1500, 1, 1, 1, (StateCookie(bytes(2000)),)),
            ProtocolViolation("a cookie that fits into no packet"),
        ),
    ],
    ids=["no cookie", "no tag", "no streams", "takes no streams", "a name", "too long a cookie"],
)
def test_an_init_ack_that_cannot_be_used_is_the_end(answer: InitAck, cause: Cause) -> None:
    """rfc9260/3.3.3/2, rfc9260/3.3.3/6, rfc9260/3.3.3/12, rfc9260/3.3.3/15."""
    pair = in_state(State.COOKIE_WAIT)
    a = pair.a.association
    a.receive_packet(to(a, answer), 0.0)
    (said,) = transmits(a)
    read = packet.decode_untrusted(said, accept_zero_checksum=False)
    assert read.chunks == (Abort((cause,), reflected=not answer.tag),)
    assert read.tag == (answer.tag or tag_of(a))
    found = events(a)
    assert isinstance(found[0], Closed)
    assert found[1] == Dropped(Drop.SCTP_MALFORMED)
    assert a.state is State.CLOSED


def test_an_init_ack_without_room_changes_nothing() -> None:
    """rfc9260/3.3.3/9: refused, and waited for a better one."""
    pair = in_state(State.COOKIE_WAIT)
    a = pair.a.association
    a.receive_packet(to(a, InitAck(7, 1499, 1, 1, 1, (StateCookie(b"c"),))), 0.0)
    (said,) = transmits(a)
    read = packet.decode_untrusted(said, accept_zero_checksum=False)
    assert (read.tag, read.chunks) == (7, (Abort((InvalidMandatoryParameter(),)),))
    assert drops(pair.a) == [Drop.SCTP_MALFORMED]
    assert a.state is State.COOKIE_WAIT
    a.receive_packet(to(a, InitAck(7, 1500, 1, 1, 1, (StateCookie(b"c"),))), 0.1)
    assert a.state is State.COOKIE_ECHOED


def test_an_init_ack_may_be_long() -> None:
    """rfc9260/3.3.3/18."""
    pair = in_state(State.COOKIE_WAIT)
    a = pair.a.association
    unknown = tuple(UnknownParameter(0x8100 + n, bytes(500)) for n in range(8))
    answer = to(a, InitAck(7, 1500, 1, 1, 1, (*unknown, StateCookie(bytes(1000)))))
    assert len(answer) > 5000
    a.receive_packet(answer, 0.0)
    assert a.state is State.COOKIE_ECHOED
    assert [kinds(data) for data in transmits(a)] == [["CookieEcho"]]


def test_no_tag_of_ours_is_zero() -> None:
    """rfc9260/3.3.3/5: whatever the entropy gives."""
    association = Association(entropy=bytes, limits=LIMITS)
    association.receive_packet(packet.encode(5000, 5000, 0, [Init(7, 1500, 1, 1, 1)]), 0.0)
    association.connect(0.0)
    told = [chunks(data)[0] for data in transmits(association)]
    assert [type(chunk) for chunk in told] == [InitAck, Init]
    assert all(chunk.tag for chunk in told)  # type: ignore[union-attr]
