import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls.messages import Fragment, Message
from transceiver.dtls.reassembly import OVERHEAD, Reassembly

BODY = bytes(range(200))


def fragment(
    start: int, end: int, *, sequence: int = 0, type_: int = 1, body: bytes = BODY
) -> Fragment:
    return Fragment.of(type_, len(body), sequence, start, body[start:end])


@given(
    bodies=st.lists(st.binary(max_size=120), min_size=1, max_size=4),
    pieces=st.integers(1, 40),
    seed=st.integers(0, 1 << 32),
)
def test_any_order_overlap_and_interleaving(bodies: list[bytes], pieces: int, seed: int) -> None:
    """DTLS 1: fragments interleaved, reordered, repeated, overlapping."""
    chance = random.Random(seed)
    fragments = []
    for sequence, body in enumerate(bodies):
        starts = list(range(0, len(body), pieces)) or [0]
        for start in starts:
            end = min(len(body), start + pieces + chance.randrange(5))
            fragments += [fragment(start, end, sequence=sequence, body=body)] * chance.choice(
                (1, 2)
            )
    chance.shuffle(fragments)
    reassembly = Reassembly(DtlsLimits())
    found = []
    for piece in fragments:
        if piece.sequence >= reassembly.expected:
            assert reassembly.add(piece) == []
        while (message := reassembly.take(reassembly.expected)) is not None:
            found.append(message)
            reassembly.advance(message.sequence + 1)
    assert found == [Message.of(1, sequence, body) for sequence, body in enumerate(bodies)]
    assert reassembly.empty


def test_lengths_that_disagree_are_two_messages() -> None:
    """DTLS 9: another message_length makes another message, and overflows nothing."""
    reassembly = Reassembly(DtlsLimits())
    assert reassembly.add(Fragment.of(1, 20, 0, 0, bytes(10))) == []
    assert reassembly.add(Fragment.of(1, 10, 0, 9, b"z")) == []
    assert reassembly.add(fragment(0, 100)) == []
    assert reassembly.add(fragment(100, 200)) == []
    assert reassembly.take(0) == Message.of(1, 0, BODY)


def test_contradicting_bytes_are_not_believed() -> None:
    """DTLS 9. Neither side of ``Drop.DTLS_FRAGMENT_CONTRADICTION`` wins: the honest flight's next
    repetition does."""
    reassembly = Reassembly(DtlsLimits())
    assert reassembly.add(fragment(50, 150, body=bytes(200))) == []
    assert reassembly.add(fragment(0, 100)) == [Drop.DTLS_FRAGMENT_CONTRADICTION]
    assert reassembly.add(fragment(100, 200)) == []
    assert reassembly.take(0) == Message.of(1, 0, BODY)


@pytest.mark.parametrize("start", range(0, 200, 23))
def test_one_forged_fragment_costs_one_repetition(start: int) -> None:
    for place in range(3):
        reassembly = Reassembly(DtlsLimits())
        honest = [fragment(0, 90), fragment(90, 200)]
        script = [*honest, *honest]
        script.insert(place, fragment(start, start + 5, body=bytes(b ^ 255 for b in BODY)))
        taken = []
        for piece in script:
            reassembly.add(piece)
            if (message := reassembly.take(0)) is not None:
                taken.append(message)
        assert Message.of(1, 0, BODY) in taken


def test_bounds() -> None:
    """Names ``Drop.DTLS_FRAGMENT_OVERSIZED`` and ``Drop.DTLS_FRAGMENT_AHEAD``."""
    limits = DtlsLimits(message_length=100, messages_ahead=2)
    reassembly = Reassembly(limits)
    too_long = Fragment.of(1, 101, 0, 0, b"a")
    assert reassembly.add(too_long) == [Drop.DTLS_FRAGMENT_OVERSIZED]
    assert reassembly.add(Fragment.of(1, 100, 3, 0, b"a")) == [Drop.DTLS_FRAGMENT_AHEAD]
    assert reassembly.empty
    assert reassembly.add(Fragment.of(1, 100, 2, 0, b"a")) == []


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 9), st.integers(0, 600)), max_size=60)
)
def test_room_is_never_exceeded_and_is_given_back(messages: list[tuple[int, int, int]]) -> None:
    """DTLS 9: however many messages are begun. Names ``Drop.DTLS_REASSEMBLY_FULL``."""
    room = 2000
    reassembly = Reassembly(DtlsLimits(reassembly_bytes=room))
    for type_, sequence, length in messages:
        drops = reassembly.add(Fragment.of(type_, length, sequence, 0, b""))
        assert set(drops) <= {Drop.DTLS_REASSEMBLY_FULL}
        held = sum(key[2] + OVERHEAD for key in reassembly._partials)
        assert held <= room
        assert reassembly._room == room - held
    reassembly.rewind(0)
    assert reassembly.empty
    assert reassembly._room == room


def test_the_oldest_makes_room() -> None:
    reassembly = Reassembly(DtlsLimits(reassembly_bytes=2 * (200 + OVERHEAD)))
    assert reassembly.add(fragment(0, 100, sequence=0)) == []
    assert reassembly.add(fragment(0, 100, sequence=1)) == []
    assert reassembly.add(fragment(0, 200, sequence=2)) == [Drop.DTLS_REASSEMBLY_FULL]
    assert reassembly.take(2) is not None
    reassembly.add(fragment(100, 200, sequence=1))
    assert reassembly.take(1) is not None


def test_a_type_can_be_asked_for() -> None:
    reassembly = Reassembly(DtlsLimits())
    reassembly.add(fragment(0, 200, type_=2))
    assert reassembly.take(0, 1) is None
    assert reassembly.take(1) is None
    assert reassembly.take(0, 2) == Message.of(2, 0, BODY)
    assert reassembly.take(0) is None


def test_advance_forgets_what_is_past() -> None:
    reassembly = Reassembly(DtlsLimits())
    reassembly.add(fragment(0, 10, sequence=0))
    reassembly.add(fragment(0, 10, sequence=1))
    reassembly.advance(1)
    assert [key[0] for key in reassembly._partials] == [1]
