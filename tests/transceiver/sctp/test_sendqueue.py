"""Messages waiting: turns, bounds, and what is told of how much waits."""

import pytest
from attrs import evolve

from transceiver.config import SctpLimits
from transceiver.sctp.sendqueue import MESSAGE_OVERHEAD, Outgoing, SendQueue, SendQueueFull

LIMITS = SctpLimits()


def add(queue: SendQueue, stream: int, payload: bytes, **options: object) -> None:
    values: dict[str, object] = {"ordered": True, "expires": None, "retransmissions": None}
    queue.add(stream, 51, payload, **(values | options))  # type: ignore[arg-type]


def take(queue: SendQueue, size: int, now: float = 0.0) -> tuple[Outgoing, bytes] | None:
    message = queue.peek(now)
    return None if message is None else (message, queue.take(message, size))


def drain(queue: SendQueue, size: int = 1000) -> list[tuple[int, int, bytes]]:
    """Stream, stream sequence number and bytes of each fragment."""
    found = []
    while (taken := take(queue, size)) is not None:
        message, fragment = taken
        found.append((message.stream.number, message.ssn, fragment))
    return found


def test_streams_take_turns_by_message() -> None:
    queue = SendQueue(LIMITS)
    for payload in (b"1a", b"1b", b"1c"):
        add(queue, 1, payload)
    add(queue, 2, b"2a")
    add(queue, 3, b"3a")
    add(queue, 3, b"3b")
    assert [fragment for *_, fragment in drain(queue)] == [
        *(b"1a", b"2a", b"3a"),
        *(b"1b", b"3b"),
        b"1c",
    ]
    assert queue.empty


def test_a_message_begun_is_finished_first() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"abcdef")
    add(queue, 2, b"xy")
    assert [fragment for *_, fragment in drain(queue, 4)] == [b"abcd", b"ef", b"xy"]


def test_numbers_are_given_to_ordered_messages_as_they_begin() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"a")
    add(queue, 1, b"u", ordered=False)
    add(queue, 1, b"gone", expires=1.0)
    add(queue, 1, b"b")
    add(queue, 2, b"c")
    found = []
    while (taken := take(queue, 10, now=2.0)) is not None:
        found.append((taken[1], taken[0].ssn))
    assert found == [(b"a", 0), (b"c", 0), (b"u", 0), (b"b", 1)]


def test_numbers_begin_again() -> None:
    queue = SendQueue(LIMITS)
    queue.stream(1).ssn = 0xFFFF
    add(queue, 1, b"a")
    add(queue, 1, b"b")
    assert [ssn for _, ssn, _ in drain(queue)] == [0xFFFF, 0]


def test_too_much_is_refused_and_nothing_is_queued() -> None:
    """Small messages count for what they cost."""
    queue = SendQueue(evolve(LIMITS, send_buffer=10 * (MESSAGE_OVERHEAD + 1)))
    for _ in range(10):
        add(queue, 1, b"x")
    with pytest.raises(SendQueueFull):
        add(queue, 1, b"x")
    assert queue.buffered_amount(1) == 10
    message = queue.peek(0.0)
    assert message is not None
    queue.take(message, 10)
    with pytest.raises(SendQueueFull):
        add(queue, 1, b"x")
    queue.release(message)
    add(queue, 1, b"x")
    assert queue.charged == 10 * (MESSAGE_OVERHEAD + 1)


def test_what_is_buffered_and_when_it_is_low() -> None:
    queue = SendQueue(LIMITS)
    queue.stream(1).threshold = 3
    add(queue, 1, b"abcdef")
    add(queue, 1, b"gh")
    assert queue.buffered_amount(1) == 8
    take(queue, 4)
    assert (queue.buffered_amount(1), queue.next_low()) == (4, None)
    take(queue, 4)
    assert (queue.buffered_amount(1), queue.next_low()) == (2, 1)
    take(queue, 4)
    # It has fallen further, and was low before.
    assert (queue.buffered_amount(1), queue.next_low()) == (0, None)
    assert queue.buffered_amount(77) == 0


def test_low_is_told_once_until_it_is_heard() -> None:
    queue = SendQueue(LIMITS)
    for _ in range(5):
        add(queue, 1, b"x")
        take(queue, 1)
    assert queue.next_low() == 1
    assert queue.next_low() is None


def test_expired_messages_that_were_not_begun_go_without_a_trace() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"abc", expires=1.0)
    add(queue, 2, b"def")
    assert queue.peek(1.0) is not None  # at the very instant it may still go
    assert drain(queue) == [(1, 0, b"abc"), (2, 0, b"def")]
    add(queue, 1, b"abc", expires=1.0)
    assert queue.peek(1.1) is None
    assert queue.empty
    assert queue.buffered_amount(1) == 0


def test_the_rest_of_a_message_can_be_let_go() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"abcdef")
    add(queue, 1, b"next")
    taken = take(queue, 2)
    assert taken is not None
    message, _ = taken
    assert not queue.stream(1).idle
    assert queue.discard(message)
    assert not queue.discard(message)
    assert queue.buffered_amount(1) == 4
    assert drain(queue) == [(1, 1, b"next")]


def test_a_stream_being_reset_holds_what_comes_after() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"before")
    queue.hold(1)
    queue.hold(1)
    add(queue, 1, b"after")
    assert not queue.stream(1).idle
    assert drain(queue) == [(1, 0, b"before")]
    assert queue.stream(1).idle
    assert queue.empty
    assert queue.holding
    assert queue.buffered_amount(1) == 5
    queue.resume(1, fresh=True)
    assert not queue.holding
    assert drain(queue) == [(1, 0, b"after")]


def test_a_reset_that_was_refused_changes_nothing() -> None:
    queue = SendQueue(LIMITS)
    add(queue, 1, b"before")
    drain(queue)
    queue.hold(1)
    add(queue, 1, b"after")
    queue.resume(1, fresh=False)
    assert drain(queue) == [(1, 1, b"after")]


def test_of_a_stream_at_rest_nothing_is_kept_after_its_reset() -> None:
    queue = SendQueue(LIMITS)
    queue.stream(1).threshold = 5
    queue.hold(1)
    queue.resume(1, fresh=True)
    assert queue.stream(1).threshold == 0


def test_streams_that_the_peer_does_not_have_are_let_go() -> None:
    queue = SendQueue(LIMITS)
    for stream in (0, 5, 9):
        add(queue, stream, b"x")
    queue.hold(9)
    add(queue, 9, b"held")
    queue.confine(5)
    assert drain(queue) == [(0, 0, b"x")]
    assert queue.charged == MESSAGE_OVERHEAD + 1
