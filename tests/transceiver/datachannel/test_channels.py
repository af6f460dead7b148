"""The life of data channels, over an association that does as it is told."""

import pytest

from channel_bench import ACK, LIMITS, OPEN, Bench
from fake_association import Sent
from stunroute.trace import Drop
from transceiver.config import ChannelLimits
from transceiver.datachannel import (
    ChannelError,
    Closed,
    Drained,
    Dropped,
    Ended,
    Message,
    MessageTooLong,
    NotOpen,
    Opened,
    SendBufferFull,
    TooManyChannels,
)
from transceiver.datachannel.messages import Open
from transceiver.sctp import events as sctp

# --- opening --------------------------------------------------------------------------------------


def test_the_association_s_verbs_go_through() -> None:
    bench = Bench(connected=False)
    channels, association = bench.channels, bench.association
    channels.connect(1.0)
    channels.receive_packet(b"data", 2.0)
    channels.handle_timeout(3.0)
    assert association.calls == [
        ("connect", 1.0),
        ("receive_packet", b"data", 2.0),
        ("handle_timeout", 3.0),
    ]
    assert (channels.next_transmit(), channels.next_timeout()) == (b"packet", 7.5)


def test_a_channel_of_the_peer() -> None:
    bench = Bench()
    assert bench.come(4, 50, OPEN) == [Opened(4, "theirs", "proto", True, False)]
    assert bench.association.sent == [Sent(4, 50, ACK)]
    assert bench.association.thresholds == {4: LIMITS.threshold}
    assert bench.come(4, 51, b"text") == [Message(4, "text")]
    assert bench.come(4, 53, b"bytes") == [Message(4, b"bytes")]
    assert bench.come(4, 56, b"\0") == [Message(4, "")]
    assert bench.come(4, 57, b"\0") == [Message(4, b"")]


@pytest.mark.parametrize(("client", "numbers"), [(True, [0, 2, 4]), (False, [1, 3, 5])])
def test_numbers_of_ours(client: bool, numbers: list[int]) -> None:
    bench = Bench(client=client, connected=False)
    assert [bench.channels.open("", now=0.0) for _ in range(3)] == numbers
    assert [sent.stream for sent in bench.association.sent] == numbers


def test_numbers_that_are_taken_are_left_out() -> None:
    bench = Bench(negotiated=((1, "agreed"),))
    bench.theirs(3)
    assert bench.channels.open("", now=0.0) == 5


def test_a_channel_of_ours() -> None:
    bench = Bench()
    number = bench.channels.open("label", protocol="p", ordered=False, lifetime=0.25, now=0.0)
    announcement = Open("label", "p", ordered=False, lifetime=0.25)
    assert bench.association.sent == [Sent(number, 50, announcement.encode())]
    assert bench.events() == []
    assert bench.come(number, 50, ACK) == [Opened(number, "label", "p", False, False)]


@pytest.mark.parametrize(("ppid", "payload"), [(50, ACK), (51, b"t"), (57, b"\0"), (99, b"?")])
def test_nothing_overtakes_the_announcement(ppid: int, payload: bytes) -> None:
    """Messages go in order until the peer has said something (RFC 8832, 6), then as they are
    meant to; how often each is tried holds for all of them."""
    bench = Bench()
    number = bench.channels.open("", ordered=False, retransmissions=2, now=0.0)
    bench.channels.send(number, b"before", 0.0)
    assert Opened(number, "", "", False, False) in bench.come(number, ppid, payload)
    bench.channels.send(number, b"after", 0.0)
    assert bench.association.sent[1:] == [
        Sent(number, 53, b"before", ordered=True, retransmissions=2),
        Sent(number, 53, b"after", ordered=False, retransmissions=2),
    ]


def test_the_peer_s_channel_is_used_as_the_peer_means_it() -> None:
    bench = Bench()
    bench.come(4, 50, Open("", ordered=False, lifetime=1.5).encode())
    bench.channels.send(4, "t", 0.0)
    assert bench.association.sent[-1] == Sent(4, 51, b"t", ordered=False, lifetime=1.5)


def test_a_negotiated_channel() -> None:
    bench = Bench(negotiated=((100, "events"),))
    bench.channels.send(100, "hello", 0.0)
    assert bench.association.sent == [Sent(100, 51, b"hello")]
    assert bench.come(100, 51, b"hi") == [Message(100, "hi")]


def test_a_negotiated_channel_can_be_sent_on_before_there_is_a_connection() -> None:
    bench = Bench(negotiated=((0, "events"),), connected=False)
    bench.channels.send(0, "hello", 0.0)
    assert bench.events() == []
    assert bench.happen(sctp.Connected(10, 10)) == [Opened(0, "events", "", True, True)]


def test_channels_beyond_the_peer_s_streams() -> None:
    bench = Bench(negotiated=((100, "far"), (3, "near")), connected=False)
    assert bench.channels.open("", now=0.0) == 1
    bench.association.outbound_streams = 4
    assert bench.happen(sctp.Connected(4, 1024)) == [Closed(100), Opened(3, "near", "", True, True)]
    with pytest.raises(NotOpen):
        bench.channels.send(100, "x", 0.0)
    with pytest.raises(TooManyChannels):
        bench.channels.open("", now=0.0)
    assert bench.come(5, 50, OPEN) == [Dropped(Drop.CHANNEL_REFUSED)]
    assert bench.association.resets == []


def test_streams_that_the_peer_lacks_before_we_are_told() -> None:
    """Its INIT ACK has come, the event has not been fetched."""
    bench = Bench(negotiated=((100, "far"),), connected=False)
    bench.association.outbound_streams = 4
    with pytest.raises(NotOpen):
        bench.channels.send(100, "x", 0.0)
    bench.channels.close(100, 0.0)
    assert bench.happen(sctp.Connected(4, 4)) == [Closed(100)]


# --- what is asked in vain ------------------------------------------------------------------------


def test_sending_in_vain() -> None:
    bench = Bench(longest=10)
    number = bench.opened()
    with pytest.raises(NotOpen):
        bench.channels.send(number + 2, "x", 0.0)
    for message in (b"x" * 11, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 6):
        with pytest.raises(MessageTooLong):
            bench.channels.send(number, message, 0.0)
    bench.association.full = True
    with pytest.raises(SendBufferFull):
        bench.channels.send(number, "x", 0.0)
    assert bench.association.sent == []
    bench.association.full = False
    bench.channels.send(number, b"x" * 10, 0.0)
    assert len(bench.association.sent) == 1


def test_a_peer_that_takes_any_size() -> None:
    """SCTP 2: max-message-size of 0 means that there is no bound."""
    bench = Bench(longest=0)
    bench.channels.send(bench.opened(), bytes(1 << 20), 0.0)
    assert len(bench.association.sent[-1].payload) == 1 << 20


def test_opening_in_vain() -> None:
    bench = Bench(limits=ChannelLimits(channels=2, label=4))
    channels = bench.channels
    with pytest.raises(ValueError, match="exclude"):
        channels.open("", lifetime=1.0, retransmissions=1, now=0.0)
    for how in ({"label": "12345"}, {"label": "", "protocol": "12345"}):
        with pytest.raises(ChannelError):
            channels.open(**how, now=0.0)  # type: ignore[arg-type]
    bench.association.full = True
    with pytest.raises(SendBufferFull):
        channels.open("", now=0.0)
    bench.association.full = False
    assert [channels.open("", now=0.0) for _ in range(2)] == [1, 3]
    with pytest.raises(TooManyChannels):
        channels.open("", now=0.0)


def test_an_association_that_is_shutting_down() -> None:
    """It takes no more, and says so before its end has been told."""
    bench = Bench()
    number = bench.opened()
    bench.association.over = True
    with pytest.raises(NotOpen):
        bench.channels.send(number, "x", 0.0)
    with pytest.raises(NotOpen):
        bench.channels.open("", now=0.0)
    assert bench.come(4, 50, OPEN) == [Dropped(Drop.CHANNEL_REFUSED)]


def test_drained_and_buffered() -> None:
    bench = Bench()
    number = bench.opened()
    assert bench.channels.buffered_amount(number) == 10 * number
    assert bench.channels.buffered_amount(77) == 0
    assert bench.happen(sctp.BufferedAmountLow(number)) == [Drained(number)]
    assert bench.happen(sctp.BufferedAmountLow(77)) == []
    bench.channels.close(number, 0.0)
    assert bench.happen(sctp.BufferedAmountLow(number)) == []


# --- the end of a channel -------------------------------------------------------------------------


def test_closing_takes_both_halves() -> None:
    """SCTP 1: our reset alone does not free the number, nor does the peer's."""
    for ours_first in (True, False):
        bench = Bench()
        number = bench.opened()
        bench.channels.close(number, 0.0)
        bench.channels.close(number, 0.0)
        assert bench.association.resets == [number]
        halves: list[sctp.Event] = [
            sctp.ResetDone((number,), True),
            sctp.StreamsResetByPeer((number,)),
        ]
        first, second = halves if ours_first else halves[::-1]
        assert bench.happen(first) == []
        assert bench.channels.open("", now=0.0) == number + 2
        with pytest.raises(NotOpen):
            bench.channels.send(number, "x", 0.0)
        assert bench.come(number, 51, b"late") == [Dropped(Drop.CHANNEL_UNKNOWN)]
        assert bench.happen(second) == [Closed(number)]
        assert bench.channels.open("", now=0.0) == number


def test_the_peer_closes() -> None:
    """SCTP 1: its reset is answered with ours."""
    bench = Bench()
    number = bench.theirs()
    assert bench.happen(sctp.StreamsResetByPeer((number,))) == []
    assert bench.association.resets == [number]
    assert bench.happen(sctp.StreamsResetByPeer((number,))) == []
    assert bench.association.resets == [number]
    assert bench.happen(sctp.ResetDone((number,), True)) == [Closed(number)]
    bench.theirs(number)


def test_the_peer_refuses_our_channel() -> None:
    """It resets the stream without an ACK (RFC 8832, 6)."""
    bench = Bench()
    number = bench.channels.open("", now=0.0)
    bench.happen(sctp.StreamsResetByPeer((number,)))
    assert bench.happen(sctp.ResetDone((number,), True)) == [Closed(number)]


def test_the_peer_resets_all_streams() -> None:
    bench = Bench()
    numbers = [bench.opened(), bench.theirs()]
    bench.happen(sctp.StreamsResetByPeer(()))
    assert sorted(bench.association.resets) == numbers
    assert bench.happen(sctp.ResetDone(tuple(numbers), True)) == [Closed(n) for n in numbers]


def test_a_peer_that_will_not_reset() -> None:
    """The channel is gone, and its number is nobody's."""
    bench = Bench()
    number = bench.opened()
    bench.channels.close(number, 0.0)
    assert bench.happen(sctp.ResetDone((number,), False)) == [Closed(number)]
    assert bench.come(number, 51, b"late") == [Dropped(Drop.CHANNEL_UNKNOWN)]
    assert bench.come(number, 50, OPEN) == [Dropped(Drop.CHANNEL_REFUSED)]
    assert bench.association.resets == [number]
    assert bench.channels.open("", now=0.0) == number + 2


def test_a_number_used_again_before_we_hear_that_it_is_free() -> None:
    """SCTP 1: the peer has answered our reset, and the answer was lost. Its next channel on that
    number is a channel; the late answer is about the one before."""
    bench = Bench()
    number = bench.theirs()
    bench.happen(sctp.StreamsResetByPeer((number,)))
    again = Open("again").encode()
    assert bench.come(number, 50, again) == [
        Closed(number),
        Opened(number, "again", "", True, False),
    ]
    assert bench.association.sent == [Sent(number, 50, ACK)]
    bench.channels.send(number, "x", 0.0)
    assert bench.happen(sctp.ResetDone((number,), True)) == []
    assert bench.come(number, 51, b"x") == [Message(number, "x")]
    # And that one ends like any other.
    bench.channels.close(number, 0.0)
    assert bench.association.resets == [number, number]
    bench.happen(sctp.ResetDone((number,), True))
    assert bench.happen(sctp.StreamsResetByPeer((number,))) == [Closed(number)]


def test_one_used_again_and_closed_before_the_late_answer() -> None:
    bench = Bench()
    number = bench.theirs()
    bench.happen(sctp.StreamsResetByPeer((number,)))
    bench.come(number, 50, OPEN)
    bench.channels.close(number, 0.0)
    assert bench.association.resets == [number]
    assert bench.happen(sctp.StreamsResetByPeer((number,))) == []
    # A third life is not possible: our half of the second has not even been asked for.
    assert bench.come(number, 50, OPEN) == [Dropped(Drop.CHANNEL_UNKNOWN)]
    assert bench.happen(sctp.ResetDone((number,), True)) == []
    assert bench.association.resets == [number, number]
    assert bench.happen(sctp.ResetDone((number,), True)) == [Closed(number)]


def test_an_announcement_before_the_peer_has_closed_its_half() -> None:
    bench = Bench()
    number = bench.theirs()
    bench.channels.close(number, 0.0)
    assert bench.come(number, 50, OPEN) == [Dropped(Drop.CHANNEL_UNKNOWN)]
    bench.happen(sctp.ResetDone((number,), True))
    assert bench.come(number, 50, OPEN) == [Dropped(Drop.CHANNEL_UNKNOWN)]
    assert bench.association.sent == []


# --- what may not be said -------------------------------------------------------------------------


def test_text_that_is_none() -> None:
    bench = Bench()
    number = bench.theirs()
    assert bench.come(number, 51, b"\xff") == [Dropped(Drop.CHANNEL_MALFORMED)]
    assert bench.association.resets == [number]


def test_an_identifier_that_carries_no_message() -> None:
    bench = Bench()
    number = bench.theirs()
    for ppid in (0, 55, 1 << 31):
        assert bench.come(number, ppid, b"x") == [Dropped(Drop.CHANNEL_PROTOCOL)]
    assert bench.come(number, 51, b"x") == [Message(number, "x")]


def test_a_message_that_was_too_long() -> None:
    bench = Bench()
    number = bench.theirs()
    assert bench.happen(sctp.MessageTooLong(number), sctp.MessageTooLong(99)) == []
    assert bench.association.resets == [number]


def test_a_message_on_a_stream_without_a_channel() -> None:
    """It is closed (RFC 8832, 6), once, and the application hears of no channel."""
    bench = Bench()
    assert bench.come(9, 51, b"x") == [Dropped(Drop.CHANNEL_UNKNOWN)]
    assert bench.come(9, 51, b"x") == [Dropped(Drop.CHANNEL_UNKNOWN)]
    assert bench.association.resets == [9]
    assert bench.channels.open("", now=0.0) == 1
    done = bench.happen(sctp.ResetDone((9,), True), sctp.StreamsResetByPeer((9,)))
    assert done == []
    bench.theirs(9)


def test_dcep_that_cannot_be_meant() -> None:
    bench = Bench()
    for number, payload in ((2, b"\1"), (4, ACK), (6, OPEN[:-1])):
        assert bench.come(number, 50, payload) == [Dropped(Drop.CHANNEL_MALFORMED)]
    assert bench.association.resets == [2, 4, 6]
    assert bench.association.sent == []


def test_a_second_announcement_closes_the_channel() -> None:
    """RFC 8832 section 6. Both sides choosing one number looks the same."""
    bench = Bench(negotiated=((100, "agreed"),))
    for number in (bench.theirs(), bench.opened(), 100, bench.channels.open("", now=0.0)):
        assert bench.come(number, 50, OPEN) == [Dropped(Drop.CHANNEL_MALFORMED)]
        assert bench.association.resets.pop() == number


def test_a_second_agreement_is_let_go() -> None:
    bench = Bench()
    number = bench.opened()
    assert bench.come(number, 50, ACK) == [Dropped(Drop.CHANNEL_MALFORMED)]
    assert bench.come(number, 51, b"x") == [Message(number, "x")]


def test_numbers_of_the_other_parity_are_taken() -> None:
    """Some stacks choose by their role in ICE."""
    bench = Bench(client=True)
    bench.theirs(0)
    bench.theirs(1)
    assert bench.channels.open("", now=0.0) == 2


# --- bounds ---------------------------------------------------------------------------------------


def test_one_channel_more_than_may_be() -> None:
    bench = Bench(limits=ChannelLimits(channels=2))
    bench.theirs(0)
    bench.opened()
    assert bench.come(2, 50, OPEN) == [Dropped(Drop.CHANNEL_REFUSED)]
    assert bench.association.resets == [2]
    assert bench.association.sent == []
    bench.channels.close(0, 0.0)
    bench.happen(sctp.ResetDone((0,), True), sctp.StreamsResetByPeer((0,)))
    bench.theirs(4)


def test_a_flood_of_channels() -> None:
    """So many in a second and no more, however they are closed in between."""
    bench = Bench(limits=ChannelLimits(opens_per_second=5.0))
    taken = 0
    for number in range(0, 100, 2):
        events = bench.come(number, 50, OPEN)
        if events == [Dropped(Drop.CHANNEL_REFUSED)]:
            continue
        taken += 1
        done = (number,)
        bench.happen(sctp.StreamsResetByPeer(done), sctp.ResetDone(done, True))
    assert taken == 10
    bench.now += 1.0
    for number in range(100, 110, 2):
        bench.theirs(number)


@pytest.mark.parametrize("field", ["label", "protocol"])
def test_a_label_that_is_too_long(field: str) -> None:
    bench = Bench(limits=ChannelLimits(label=10))
    exact, long = ({"label": "", field: "x" * size} for size in (10, 11))
    assert bench.come(0, 50, Open(**long).encode()) == [  # type: ignore[arg-type]
        Dropped(Drop.CHANNEL_REFUSED)
    ]
    assert bench.association.resets == [0]
    assert len(bench.come(2, 50, Open(**exact).encode())) == 1  # type: ignore[arg-type]
    assert bench.association.sent == [Sent(2, 50, ACK)]


def test_no_room_for_our_agreement() -> None:
    bench = Bench()
    bench.association.full = True
    assert bench.come(0, 50, OPEN) == [Dropped(Drop.CHANNEL_REFUSED)]
    assert bench.association.resets == [0]


def test_what_is_not_fetched_stays_with_the_association() -> None:
    """Its bounds hold for it, not a queue without one here."""
    bench = Bench()
    bench.theirs()
    messages = [sctp.MessageReceived(4, 51, b"%d" % n) for n in range(20)]
    bench.association.events.extend(messages)
    for _ in range(3):
        bench.channels.receive_packet(b"", 1.0)
    assert len(bench.association.events) == 19
    assert bench.events() == [Message(4, str(n)) for n in range(20)]


# --- the end of all -------------------------------------------------------------------------------


def test_the_end_of_the_association() -> None:
    bench = Bench(negotiated=((100, "agreed"),))
    bench.come(9, 51, b"refused")
    numbers = [100, bench.opened(), bench.theirs()]
    assert bench.happen(sctp.Closed("over", True), sctp.Dropped(Drop.SCTP_CLOSED)) == [
        *(Closed(number) for number in numbers),
        Ended("over"),
    ]
    bench.association.over = True
    with pytest.raises(NotOpen):
        bench.channels.send(numbers[0], "x", 0.0)
    with pytest.raises(NotOpen):
        bench.channels.open("", now=0.0)
    bench.channels.close(numbers[0], 0.0)
    bench.channels.end(2.0, "again")
    assert bench.association.calls[-1][0] != "abort"


def test_ending_it() -> None:
    bench = Bench()
    bench.channels.end(2.0, "session over")
    assert bench.association.calls[-1] == ("abort", 2.0, "session over")


def test_a_peer_that_begins_afresh() -> None:
    """Its channels are gone, and ours; those that signalling agreed on are there again."""
    bench = Bench(negotiated=((100, "agreed"),))
    number = bench.theirs()
    bench.channels.close(number, 0.0)
    assert bench.happen(sctp.Restarted()) == [
        Closed(100),
        Closed(number),
        Opened(100, "agreed", "", True, True),
    ]
    bench.theirs(number)
    assert bench.happen(sctp.ResetDone((number,), True)) == []


def test_drops_of_the_association_are_told() -> None:
    bench = Bench()
    assert bench.happen(sctp.Dropped(Drop.SCTP_TAG)) == [Dropped(Drop.SCTP_TAG)]


def test_messages_are_not_shown() -> None:
    assert "hidden" not in repr(Message(1, "hidden"))
