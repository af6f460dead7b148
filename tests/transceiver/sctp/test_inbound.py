"""The receiving side: order, fragments, room, and what the peer gives up."""

from collections.abc import Iterable

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_strategies import a_data, a_forward
from stunroute.trace import Drop
from transceiver.config import SctpLimits
from transceiver.sctp.chunks import Data, ForwardTsn, Sack
from transceiver.sctp.events import MessageReceived
from transceiver.sctp.inbound import DUPLICATES, Inbound
from transceiver.sctp.packet import HEADER_LENGTH

LIMITS = SctpLimits()
SMALL = SctpLimits(
    receive_window=1000, chunks_ahead=40, message=200, events=50, streams=8, packet=100
)


def whole(
    tsn: int, ssn: int = 0, stream: int = 1, payload: bytes = b"m", unordered: bool = False
) -> Data:
    return Data(tsn & 0xFFFF_FFFF, stream, ssn & 0xFFFF, 51, payload, True, True, unordered)


def part(
    tsn: int,
    place: str,
    ssn: int = 0,
    stream: int = 1,
    payload: bytes = b"p",
    unordered: bool = False,
) -> Data:
    """``place``: b for a beginning, m for a middle, e for an end."""
    return Data(tsn, stream, ssn, 53, payload, place == "b", place == "e", unordered)


def take(inbound: Inbound, *chunks: Data) -> list[Drop | None]:
    return [inbound.receive(chunk) for chunk in chunks]


def fetched(inbound: Inbound) -> list[MessageReceived]:
    found = []
    while (message := inbound.next_message()) is not None:
        found.append(message)
    return found


def payloads(inbound: Inbound) -> list[bytes]:
    return [message.payload for message in fetched(inbound)]


# --- what comes in order --------------------------------------------------------------------------


def test_messages_in_order() -> None:
    inbound = Inbound(7, LIMITS)
    assert inbound.cumulative == 6
    assert take(inbound, whole(7, 0, payload=b"a"), whole(8, 1, payload=b"b")) == [None, None]
    assert fetched(inbound) == [MessageReceived(1, 51, b"a"), MessageReceived(1, 51, b"b")]
    assert inbound.sack() == Sack(8, LIMITS.receive_window)


def test_numbers_begin_again_at_zero() -> None:
    """TSNs after 2^32 - 1, stream sequence numbers after 2^16 - 1, out of order too."""
    first = 0xFFFF_FFFE
    inbound = Inbound(first, LIMITS)
    assert take(inbound, *(whole(first + n, n) for n in (0, 2, 3, 1))) == [None] * 4
    assert inbound.cumulative == 1
    for n in range(4, 0x1_0003):
        assert inbound.receive(whole(first + n, n)) is None
        inbound.next_message()
    assert inbound.receive(whole(first + 0x1_0004, 0x1_0004, payload=b"later")) is None
    assert inbound.receive(whole(first + 0x1_0003, 0x1_0003, payload=b"sooner")) is None
    assert payloads(inbound)[-2:] == [b"sooner", b"later"]


def test_a_gap_holds_up_its_own_stream_and_no_other() -> None:
    inbound = Inbound(1, LIMITS)
    chunks = [
        whole(2, 1, stream=1, payload=b"waits"),
        whole(3, 0, stream=2, payload=b"other stream"),
        whole(4, 0, stream=1, payload=b"unordered", unordered=True),
    ]
    take(inbound, *chunks)
    assert payloads(inbound) == [b"other stream", b"unordered"]
    assert inbound.has_gaps
    assert inbound.sack() == Sack(0, LIMITS.receive_window - len(b"waits"), ((2, 4),))
    take(inbound, whole(1, 0, stream=1, payload=b"first"))
    assert payloads(inbound) == [b"first", b"waits"]
    assert inbound.sack() == Sack(4, LIMITS.receive_window)


def test_fragments_in_any_order() -> None:
    places = {1: "b", 2: "m", 3: "m", 4: "e"}
    for order in ((1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3), (3, 1, 4, 2), (1, 4, 2, 3)):
        inbound = Inbound(1, LIMITS)
        take(inbound, *(part(n, places[n], payload=b"%d" % n) for n in order))
        assert fetched(inbound) == [MessageReceived(1, 53, b"1234")]
        assert inbound.window == LIMITS.receive_window


def test_the_first_fragment_names_the_protocol() -> None:
    inbound = Inbound(1, LIMITS)
    end = evolve(part(2, "e"), ppid=99)
    take(inbound, end, part(1, "b"))
    assert fetched(inbound) == [MessageReceived(1, 53, b"pp")]


# --- any network ----------------------------------------------------------------------------------


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, bool, list[bytes]]]:
    """Stream, unordered or not, and fragments, in the order of sending."""
    count = draw(st.integers(1, 12))
    return [
        (
            draw(st.integers(0, 3)),
            draw(st.booleans()),
            draw(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=5)),
        )
        for _ in range(count)
    ]


def chunks_of(sent: Iterable[tuple[int, bool, list[bytes]]], first: int) -> list[Data]:
    tsn, next_ssn = first, dict[int, int]()
    found = []
    for stream, unordered, fragments in sent:
        ssn = next_ssn.get(stream, 0)
        for n, fragment in enumerate(fragments):
            begins, ends = n == 0, n == len(fragments) - 1
            number = 0 if unordered else ssn
            found.append(
                Data(tsn & 0xFFFF_FFFF, stream, number, 51, fragment, begins, ends, unordered)
            )
            tsn += 1
        if not unordered:
            next_ssn[stream] = ssn + 1
    return found


@given(sent=messages(), first=st.sampled_from([0, 1, 0xFFFF_FFF8]), data=st.data())
@settings(max_examples=100)
def test_every_message_once_and_in_order(
    sent: list[tuple[int, bool, list[bytes]]],
    first: int,
    data: st.DataObject,
) -> None:
    """However the chunks are shuffled and repeated. What each SACK says is compared with a set."""
    chunks = chunks_of(sent, first)
    arriving = data.draw(st.permutations(chunks + chunks[: data.draw(st.integers(0, len(chunks)))]))
    inbound = Inbound(first, LIMITS)
    seen = set[int]()
    received = []
    for chunk in arriving:
        offset = (chunk.tsn - first) & 0xFFFF_FFFF
        expected = Drop.SCTP_DUPLICATE if offset in seen else None
        assert inbound.receive(chunk) is expected
        seen.add(offset)
        received += fetched(inbound)
        sack = inbound.sack()
        come = (sack.cumulative + 1 - first) & 0xFFFF_FFFF
        for start, end in sack.gaps:
            assert all(come - 1 + n in seen for n in range(start, end + 1))
        listed = come + sum(end - start + 1 for start, end in sack.gaps)
        assert listed == len(seen)
        assert sack.duplicates == ((chunk.tsn,) if expected else ())
    for stream in range(4):
        ordered = [b"".join(parts) for s, u, parts in sent if s == stream and not u]
        unordered = sorted(b"".join(parts) for s, u, parts in sent if s == stream and u)
        got = [m.payload for m in received if m.stream == stream]
        assert sorted(got) == sorted(ordered + unordered)
        rest = iter(got)
        assert all(payload in rest for payload in ordered)
    assert inbound.window == LIMITS.receive_window


# --- what cannot be taken -------------------------------------------------------------------------


def test_what_has_come_before() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(1), whole(3, 2))
    for tsn in (1, 3, 0, 0xFFFF_FFFF, 0x8000_0002):
        assert inbound.receive(whole(tsn)) is Drop.SCTP_DUPLICATE
    assert inbound.sack().duplicates == (1, 3, 0, 0xFFFF_FFFF, 0x8000_0002)
    assert inbound.sack().duplicates == ()
    for _ in range(DUPLICATES + 5):
        inbound.receive(whole(1))
    assert len(inbound.sack().duplicates) == DUPLICATES


def test_a_sequence_number_twice() -> None:
    """A peer that numbers its messages wrongly gets one of them through."""
    inbound = Inbound(1, LIMITS)
    assert take(inbound, whole(1, 0, payload=b"a"), whole(2, 0, payload=b"b")) == [
        None,
        Drop.SCTP_DUPLICATE,
    ]
    assert take(inbound, whole(3, 2, payload=b"c"), whole(4, 2, payload=b"d")) == [
        None,
        Drop.SCTP_DUPLICATE,
    ]
    assert inbound.cumulative == 4
    take(inbound, whole(5, 1, payload=b"e"))
    assert payloads(inbound) == [b"a", b"e", b"c"]
    assert inbound.window == LIMITS.receive_window


def test_a_stream_that_is_not_there() -> None:
    """The TSN has come all the same (RFC 9260, 6.5)."""
    inbound = Inbound(1, SMALL)
    assert inbound.receive(whole(1, stream=8)) is Drop.SCTP_STREAM
    assert inbound.receive(whole(3, stream=8)) is Drop.SCTP_STREAM
    assert inbound.sack() == Sack(1, 1000, ((2, 2),))
    assert inbound.receive(whole(2, stream=7)) is None


def test_too_far_ahead() -> None:
    inbound = Inbound(1, SMALL)
    assert inbound.receive(whole(1 + 40, 40)) is None
    assert inbound.receive(whole(1 + 41, 41)) is Drop.SCTP_WINDOW
    assert inbound.receive(whole(0x7FFF_FFFF)) is Drop.SCTP_WINDOW
    assert inbound.sack().gaps == ((41, 41),)


def test_what_is_beyond_a_gap_cannot_take_the_room_of_what_closes_it() -> None:
    inbound = Inbound(1, SMALL)
    for tsn in range(4, 14):
        assert inbound.receive(whole(tsn, tsn - 3, payload=bytes(100))) is None
    assert inbound.window == 0
    assert inbound.receive(whole(14, 11, payload=b"x")) is Drop.SCTP_WINDOW
    assert inbound.receive(whole(3, 1, payload=b"x")) is Drop.SCTP_WINDOW
    assert inbound.sack() == Sack(0, 0, ((4, 13),))
    parts = [part(n, place, payload=bytes(60)) for n, place in ((1, "b"), (2, "m"), (3, "e"))]
    assert take(inbound, *parts) == [None] * 3
    assert len(payloads(inbound)) == 11
    assert inbound.window == 1000


def test_a_peer_that_leaves_a_number_out_fills_its_own_window_only() -> None:
    inbound = Inbound(1, SMALL)
    taken = 0
    while inbound.receive(whole(1 + taken, 1 + taken, payload=bytes(100))) is None:
        taken += 1
    assert taken == (1000 + 200) // 100
    assert fetched(inbound) == []
    assert inbound.sack() == Sack(taken, 0)


def test_messages_of_a_byte_are_counted_too() -> None:
    inbound = Inbound(1, SMALL)
    taken = 0
    while inbound.receive(whole(1 + taken, 1 + taken)) is None:
        taken += 1
        assert taken < 500
    assert taken == 2 * SMALL.chunks_ahead + 1


def test_fragments_of_a_byte_cost_a_byte() -> None:
    """A message may be cut as finely as its sender likes."""
    inbound = Inbound(1, SMALL)
    payload = bytes(range(200))
    for n in range(200):
        place = {0: "b", 199: "e"}.get(n, "m")
        assert inbound.receive(part(1 + n, place, payload=payload[n : n + 1])) is None
    assert payloads(inbound) == [payload]


def test_nothing_is_taken_while_messages_wait_to_be_fetched() -> None:
    inbound = Inbound(1, SMALL)
    for n in range(SMALL.events):
        assert inbound.receive(whole(1 + n, n)) is None
    assert inbound.blocked
    assert inbound.sack().window == 0
    assert inbound.receive(whole(1 + SMALL.events, SMALL.events)) is Drop.SCTP_WINDOW
    assert inbound.receive(whole(2 + SMALL.events, SMALL.events)) is Drop.SCTP_WINDOW
    assert not inbound.window_has_opened
    inbound.next_message()
    assert inbound.window_has_opened
    inbound.sack()
    assert not inbound.window_has_opened
    assert inbound.receive(whole(1 + SMALL.events, SMALL.events)) is None


def test_a_window_that_has_opened() -> None:
    inbound = Inbound(1, SMALL)
    for n in range(9):
        inbound.receive(whole(1 + n, n, payload=bytes(100)))
    assert inbound.sack().window == 100
    for opened in (False, False, True):
        inbound.next_message()
        assert inbound.window_has_opened is opened


def test_a_sack_stays_within_a_packet() -> None:
    inbound = Inbound(1, SMALL)
    for n in range(3, 40, 2):
        inbound.receive(whole(n, n))
        inbound.receive(whole(n, n))
    sack = inbound.sack()
    assert len(sack.encode()) + HEADER_LENGTH == SMALL.packet
    assert sack.gaps == tuple((n, n) for n in range(3, 39, 2))
    assert sack.duplicates == ()


# --- what is too long -----------------------------------------------------------------------------


def test_a_message_beyond_the_bound_is_let_go_as_it_comes() -> None:
    inbound = Inbound(1, SMALL)
    places = ["b", *"mmmm", "e"]
    for n, place in enumerate(places):
        drop = inbound.receive(part(1 + n, place, payload=bytes(50)))
        assert drop is (Drop.SCTP_MESSAGE_TOO_LONG if place == "e" else None)
        assert inbound.window == (1000 - 50 * (n + 1) if n < 4 else 1000)
    assert inbound.next_oversized() == 1
    assert inbound.next_oversized() is None
    assert inbound.receive(whole(7, 1, payload=b"next")) is None
    assert payloads(inbound) == [b"next"]


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (1, 5, 2, 4, 3)])
def test_beyond_the_bound_in_any_order(order: tuple[int, ...]) -> None:
    inbound = Inbound(1, SMALL)
    places = {1: "b", 2: "m", 3: "m", 4: "m", 5: "e"}
    drops = take(inbound, *(part(n, places[n], payload=bytes(60)) for n in order))
    assert drops == [None] * 4 + [Drop.SCTP_MESSAGE_TOO_LONG]
    assert (inbound.next_oversized(), inbound.window) == (1, 1000)


def test_one_fragment_beyond_the_bound() -> None:
    inbound = Inbound(1, SMALL)
    assert inbound.receive(whole(1, payload=bytes(201))) is Drop.SCTP_MESSAGE_TOO_LONG
    assert inbound.receive(whole(2, unordered=True, payload=bytes(201))) is (
        Drop.SCTP_MESSAGE_TOO_LONG
    )
    assert inbound.next_oversized() == 1
    assert inbound.receive(whole(3, 1, payload=bytes(200))) is None
    assert payloads(inbound) == [bytes(200)]


def test_one_beyond_the_bound_in_its_turn() -> None:
    """It does not overtake, and does not hold up."""
    inbound = Inbound(1, SMALL)
    assert take(inbound, whole(2, 1, payload=bytes(201)), whole(3, 2)) == [None, None]
    assert inbound.next_oversized() is None
    assert inbound.receive(whole(1, 0)) is None
    assert (len(fetched(inbound)), inbound.next_oversized()) == (2, 1)


# --- fragments that contradict their neighbours ---------------------------------------------------

B, M, E = "b", "m", "e"


@pytest.mark.parametrize(
    ("chunks", "drops", "delivered"),
    [
        # A fragment whose message never began.
        ([part(1, M)], [Drop.SCTP_FRAGMENT], []),
        ([part(1, E), whole(2, 1)], [Drop.SCTP_FRAGMENT, None], [b"m"]),
        # A message that never ends: another begins where it had to go on.
        ([part(1, B), whole(2, 1)], [None, Drop.SCTP_FRAGMENT], [b"m"]),
        ([whole(2, 1), part(1, B)], [None, Drop.SCTP_FRAGMENT], [b"m"]),
        (
            [part(1, B), part(2, B, ssn=1), part(3, E, ssn=1)],
            [None, Drop.SCTP_FRAGMENT, None],
            [b"pp"],
        ),
        (
            [part(2, B, ssn=1), part(3, E, ssn=1), part(1, B)],
            [None, None, Drop.SCTP_FRAGMENT],
            [b"pp"],
        ),
        # One that goes on as another's: other number, other stream, other delivery.
        ([part(1, B), part(2, E, ssn=1), whole(3, 2)], [None, Drop.SCTP_FRAGMENT, None], [b"m"]),
        (
            [part(1, B), part(2, E, stream=2), whole(3, 1), whole(4, 1, stream=2)],
            [None, Drop.SCTP_FRAGMENT, None, None],
            [b"m", b"m"],
        ),
        ([part(1, B), part(2, E, unordered=True)], [None, Drop.SCTP_FRAGMENT], []),
        # An end that another one follows, before and after it comes.
        (
            [part(3, E, ssn=1), part(2, E), part(1, B), whole(4, 2)],
            [None, Drop.SCTP_FRAGMENT, None, None],
            [b"pp", b"m"],
        ),
        ([part(3, M, ssn=1), part(1, B), part(2, E)], [None, None, Drop.SCTP_FRAGMENT], [b"pp"]),
        (
            [part(3, M, ssn=2), whole(2, 1), whole(1, 0)],
            [None, Drop.SCTP_FRAGMENT, None],
            [b"m", b"m"],
        ),
        # The middle that would join two that do not belong together.
        (
            [part(3, E, ssn=5), part(1, B), part(2, M)],
            [None, None, Drop.SCTP_FRAGMENT],
            [],
        ),
    ],
)
def test_contradictions(
    chunks: list[Data], drops: list[Drop | None], delivered: list[bytes]
) -> None:
    """What is lost is said, holds nothing up and takes no room."""
    inbound = Inbound(1, LIMITS)
    assert take(inbound, *chunks) == drops
    assert payloads(inbound) == delivered
    assert inbound.window == LIMITS.receive_window
    assert not inbound.has_gaps


# --- what the peer gives up -----------------------------------------------------------------------


def test_forward_lets_go_of_what_is_missing() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(3, 2, payload=b"c"), whole(5, 4, payload=b"e"))
    assert inbound.receive_forward(ForwardTsn(2, ((1, 1),)))
    assert inbound.cumulative == 3
    assert payloads(inbound) == [b"c"]
    assert inbound.receive(whole(2, 1)) is Drop.SCTP_DUPLICATE
    assert inbound.receive(whole(4, 3, payload=b"d")) is None
    assert payloads(inbound) == [b"d", b"e"]


def test_forward_of_the_standard_s_example() -> None:
    """RFC 3758, 3.6: the cumulative TSN moves on over what has come already."""
    inbound = Inbound(102, LIMITS)
    chunks = [whole(n, stream=0, unordered=True) for n in (102, 104, 105, 107)]
    take(inbound, *chunks)
    assert inbound.receive_forward(ForwardTsn(103))
    assert inbound.sack() == Sack(105, LIMITS.receive_window - 4, ((2, 2),))


def test_forward_that_is_old() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(1), whole(2, 1))
    for old in (2, 1, 0, 0xFFFF_FFFF):
        assert not inbound.receive_forward(ForwardTsn(old, ((1, 9),)))
    assert inbound.receive(whole(3, 2)) is None
    assert len(fetched(inbound)) == 3


def test_forward_delivers_what_was_whole_among_what_it_passes() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(4, 3, payload=b"d"), whole(2, 1, payload=b"b"), whole(6, 5, payload=b"f"))
    assert inbound.receive_forward(ForwardTsn(4, ((1, 3),)))
    assert payloads(inbound) == [b"b", b"d"]
    assert inbound.receive(whole(5, 4, payload=b"e")) is None
    assert payloads(inbound) == [b"e", b"f"]


def test_forward_over_a_part_of_a_message() -> None:
    """SCTP 1: what has come of it is let go, what comes of it still is not waited for, and nobody
    is the worse for it (pion's sender aborted under loss here)."""
    for late in ([part(3, E)], [part(3, M), part(4, E)]):
        inbound = Inbound(1, LIMITS)
        take(inbound, part(1, B))
        assert inbound.receive_forward(ForwardTsn(2, ((1, 0),)))
        assert take(inbound, *late) == [Drop.SCTP_FRAGMENT] * len(late)
        following = whole(late[-1].tsn + 1, 1, payload=b"next")
        assert inbound.receive(following) is None
        assert payloads(inbound) == [b"next"]
        assert inbound.window == LIMITS.receive_window


def test_forward_keeps_what_can_still_be_whole() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, part(2, B, unordered=True), part(6, M, unordered=True))
    assert inbound.receive_forward(ForwardTsn(2))
    take(inbound, part(3, E, unordered=True))
    take(inbound, part(5, B, unordered=True), part(7, E, unordered=True))
    assert payloads(inbound) == [b"pp", b"ppp"]


def test_forward_lets_go_of_an_end_without_its_beginning() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, part(2, M), part(3, E), part(5, M, ssn=1))
    assert inbound.receive_forward(ForwardTsn(1, ((1, 0), (9999, 3))))
    assert inbound.window == LIMITS.receive_window - 1
    assert inbound.receive_forward(ForwardTsn(4, ((1, 1),)))
    assert inbound.window == LIMITS.receive_window
    assert inbound.receive(part(6, E, ssn=1)) is Drop.SCTP_FRAGMENT
    assert inbound.receive(whole(7, 2)) is None
    assert payloads(inbound) == [b"m"]


def test_forward_as_far_as_it_goes() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(2, 1), part(4, B, ssn=2))
    assert inbound.receive_forward(ForwardTsn(0x7FFF_FFFF, ((1, 0x7FFF),)))
    assert inbound.cumulative == 0x7FFF_FFFF
    assert len(fetched(inbound)) == 1
    assert inbound.window == LIMITS.receive_window


def test_forward_with_a_number_behind_changes_no_order() -> None:
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(1, 0), whole(2, 1), whole(4, 3, payload=b"later"))
    assert inbound.receive_forward(ForwardTsn(3, ((1, 0),)))
    assert len(fetched(inbound)) == 2
    assert inbound.receive(whole(5, 2, payload=b"now")) is None
    assert payloads(inbound) == [b"now", b"later"]


# --- reset ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [(1,), (1, 3), ()])
def test_a_reset_begins_numbers_again(streams: tuple[int, ...]) -> None:
    """SCTP 1: a stream that is used again starts at zero, the others go on."""
    inbound = Inbound(1, LIMITS)
    take(inbound, whole(1, 0, stream=1), whole(2, 1, stream=1), whole(3, 0, stream=2))
    inbound.reset_streams(streams)
    other = 0 if not streams else 1
    assert take(inbound, whole(4, 0, stream=1), whole(5, other, stream=2)) == [None, None]
    assert len(fetched(inbound)) == 5


def test_a_reset_lets_go_of_what_waits() -> None:
    inbound = Inbound(1, LIMITS)
    waiting = [whole(1, 4, stream=1), whole(2, 2, stream=2), part(3, B, stream=1, ssn=9)]
    take(inbound, *waiting)
    inbound.reset_streams((1,))
    assert inbound.window == LIMITS.receive_window - 1
    inbound.reset_streams(())
    assert inbound.window == LIMITS.receive_window
    assert inbound.receive(whole(4, 0)) is None
    assert len(fetched(inbound)) == 1


# --- any peer -------------------------------------------------------------------------------------


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(a_data, st.integers(-3, 45), st.integers(0, 9), st.integers(0, 6)),
            st.tuples(a_forward, st.integers(-3, 60)),
            st.lists(st.integers(0, 9), max_size=2).map(tuple),
            st.just("fetch"),
        ),
        max_size=60,
    ),
    first=st.sampled_from([0, 0xFFFF_FFF0]),
)
@settings(max_examples=100)
def test_any_peer_stays_within_bounds(steps: list[object], first: int) -> None:
    """Whatever it sends, what is kept is counted, bounded, and let go of in the end."""
    inbound = Inbound(first, SMALL)
    for step in steps:
        match step:
            case (Data() as data, int(ahead), int(stream), int(ssn)):
                tsn = (inbound.cumulative + ahead) & 0xFFFF_FFFF
                inbound.receive(evolve(data, tsn=tsn, stream=stream, ssn=ssn))
            case (ForwardTsn() as forward, int(ahead)):
                tsn = (inbound.cumulative + ahead) & 0xFFFF_FFFF
                streams = tuple((stream % 9, ssn % 9) for stream, ssn in forward.streams)
                inbound.receive_forward(ForwardTsn(tsn, streams))
            case "fetch":
                fetched(inbound)
            case tuple(streams):
                inbound.reset_streams(streams)
        reassembly = inbound._reassembly
        kept = sum(len(piece) for run in reassembly._by_first.values() for piece in run.pieces)
        kept += sum(len(message.payload) for message in reassembly.ready)
        for turns in reassembly._waiting.values():
            assert turns
            kept += sum(len(t.payload) for t in turns.values() if isinstance(t, MessageReceived))
        assert reassembly.used == kept <= SMALL.receive_window + SMALL.message
        assert reassembly.kept <= 2 * SMALL.chunks_ahead + 1
        assert len(reassembly._by_first) == len(reassembly._by_last)
        assert len(inbound.sack().encode()) + HEADER_LENGTH <= SMALL.packet
    inbound.reset_streams(())
    fetched(inbound)
    assert inbound.window == SMALL.receive_window
