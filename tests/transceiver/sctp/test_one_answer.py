"""rfc9260/12.4/2: whatever a packet asks for, the answers other than SACK are in one packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sctp_pair import LIMITS, Pair, chunks, drops, transmits
from sctp_states import CHUNKS, ENDED, in_state, next_tsn, to
from stunroute.trace import Drop
from transceiver.sctp.causes import InvalidStream, UnrecognizedChunk
from transceiver.sctp.chunks import (
    Chunk,
    CookieAck,
    Data,
    Error,
    Heartbeat,
    HeartbeatAck,
    ReConfig,
    Sack,
    ShutdownAck,
    ShutdownComplete,
    Unknown,
)
from transceiver.sctp.packet import room
from transceiver.sctp.parameters import (
    AddOutgoingStreams,
    IncomingReset,
    OutgoingReset,
    ReconfigResponse,
    ResetResult,
    TsnReset,
)
from transceiver.sctp.states import State

ROOM = room(LIMITS.packet)


def answered(pair: Pair, *asked: Chunk) -> list[tuple[Chunk, ...]]:
    """What ``a`` says to a packet: the packets with more in them than DATA and SACK."""
    a = pair.a.association
    a.receive_packet(to(a, *asked), pair.now)
    said = [chunks(data) for data in transmits(a)]
    return [row for row in said if not all(isinstance(each, Data | Sack) for each in row)]


def test_what_does_not_fit_is_let_go_and_answered_when_it_comes_again() -> None:
    pair = Pair.connected()
    beats = [Heartbeat(bytes([number]) * 500) for number in range(3)]
    (said,) = answered(pair, *beats)
    assert said == (HeartbeatAck(bytes(500)), HeartbeatAck(b"\1" * 500))
    assert drops(pair.a) == [Drop.SCTP_RATE]
    (said,) = answered(pair, beats[2])
    assert said == (HeartbeatAck(b"\2" * 500),)


def test_small_chunks_that_are_to_be_reported_with_their_headers() -> None:
    """A report is longer than what it reports."""
    pair = Pair.connected()
    (said,) = answered(pair, *[Unknown(0xFE, 0, b"twelve bytes")] * 60)
    assert set(said) == {Error((UnrecognizedChunk(b"\xfe\0\0\x10twelve bytes"),))}
    assert len(said) == (ROOM - 28) // 24
    assert set(drops(pair.a)) == {Drop.SCTP_UNKNOWN_CHUNK}


def test_data_for_streams_that_there_are_not() -> None:
    """Empty words for them are shorter than what is said about them."""
    pair = Pair.connected()
    first = next_tsn(pair)
    rows = [Data(first + n, 60_000 + n, 0, 51, b"x", True, True) for n in range(57)]
    (said,) = answered(pair, *rows)
    told = [each for each in said if isinstance(each, Error)]
    assert told == [Error((InvalidStream(60_000 + n),)) for n in range(len(told))]
    assert len(told) == 57


def test_requests_about_streams() -> None:
    """The answer to what was let go comes when it is asked for again."""
    pair = Pair.connected()
    first = next_tsn(pair)
    asked = [ReConfig((AddOutgoingStreams(first + n, 1),)) for n in range(60)]
    (said,) = answered(pair, *asked)
    assert Drop.SCTP_RATE in drops(pair.a)
    count = len([each for each in said if isinstance(each, ReConfig)])
    assert count == (ROOM - 28) // 28
    pair.now += 10
    (again,) = answered(pair, asked[count])
    assert isinstance(again[0], ReConfig)


def test_the_answer_whose_time_has_come_goes_with_the_others() -> None:
    pair = Pair.connected()
    tsn = next_tsn(pair)
    (said,) = answered(pair, ReConfig((OutgoingReset(tsn, 0, tsn, (1,)),)))
    assert said[0] == ReConfig((ReconfigResponse(tsn, ResetResult.IN_PROGRESS),))
    beats = [Heartbeat(bytes(100))] * 20
    (said,) = answered(pair, *beats, Data(tsn, 1, 0, 51, b"the last", True, True))
    assert ReConfig((ReconfigResponse(tsn, ResetResult.PERFORMED),)) in said
    assert said.count(HeartbeatAck(bytes(100))) == (ROOM - 28) // 108


def test_a_chunk_that_is_alone_may_have_an_answer_that_fills_a_packet() -> None:
    pair = Pair.connected()
    longest = Heartbeat(bytes(ROOM - 8))
    assert answered(pair, longest) == [(HeartbeatAck(longest.info),)]
    assert answered(pair, longest, Heartbeat(b"x")) == [(HeartbeatAck(b"x"),)]


def test_the_answers_to_several_packets_wait_together() -> None:
    """Each packet has its own measure, also where nothing is fetched between them."""
    pair = Pair.connected()
    a = pair.a.association
    for _ in range(5):
        a.receive_packet(to(a, *[Heartbeat(bytes(500))] * 3), pair.now)
    assert [len(chunks(data)) for data in transmits(a)] == [2] * 5


@pytest.mark.parametrize("state", [State.COOKIE_WAIT, State.COOKIE_ECHOED])
def test_the_end_of_an_earlier_association_is_all_that_its_packet_says(state: State) -> None:
    """Found by the property below: each SHUTDOWN ACK had a packet in answer, and a COOKIE ACK
    behind it was believed whatever the tag."""
    pair = in_state(state)
    complete = [(ShutdownComplete(reflected=True),)]
    assert answered(pair, *[ShutdownAck()] * 9) == complete
    assert answered(pair, ShutdownAck(), Heartbeat(b"x"), CookieAck()) == complete
    assert pair.a.association.state is state


def test_it_is_no_reason_to_abort_either() -> None:
    """Where something else stood before it, what was sent was an ABORT."""
    pair = in_state(State.COOKIE_ECHOED)
    said = answered(pair, Heartbeat(b"x"), ShutdownAck())
    assert said == [(ShutdownComplete(reflected=True),)]


stranger = st.integers(2000, 65535)
sizes = st.integers(0, 1200)
rows = st.lists(
    st.one_of(
        st.sampled_from(sorted(CHUNKS)),
        st.builds(lambda size: Heartbeat(bytes(size)), sizes),
        st.builds(lambda size: Unknown(0xFE, 0, bytes(size)), sizes),
        st.builds(lambda stream: Data(0, stream, 0, 51, b"x", True, True), stranger),
        st.builds(lambda number: ReConfig((TsnReset(number), IncomingReset(number))), stranger),
    ),
    min_size=1,
    max_size=80,
)


@pytest.mark.parametrize("state", [*State, ENDED], ids=str)
@given(row=rows, many=st.integers(1, 6))
def test_in_every_state_one_packet_has_one_in_answer(
    state: State | str, row: list[str | Chunk], many: int
) -> None:
    pair = in_state(state)
    asked = [CHUNKS[each](pair) if isinstance(each, str) else each for each in row]
    assert len(answered(pair, *asked * many)) <= 1
