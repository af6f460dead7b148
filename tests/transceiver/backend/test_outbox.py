"""What waits for a backend: order, bounds, and what goes first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.backend.outbox import Note, Outbox, Sound


def drained(box):
    found = []
    while (entry := box.take()) is not None:
        found.append(entry)
    return found


def test_sound_and_events_keep_their_order():
    box = Outbox(100, 8, 100)
    box.hear(b"aa")
    box.put("one", 3)
    box.hear(b"bb")
    box.hear(b"cc")
    box.put("two", 3)
    found = drained(box)
    assert found == [Sound(b"aa"), Note("one", 3), Sound(b"bb"), Sound(b"cc"), Note("two", 3)]
    assert not box.ready
    assert box.take() is None


def test_sound_is_handed_out_in_batches():
    box = Outbox(100, 8, 100, batch=6)
    box.hear(b"aaaa")
    assert not box.ready
    assert box.take() is None
    box.hear(b"bbbb")
    box.hear(b"cccc")
    assert drained(box) == [Sound(b"aaaabbbb")]
    box.hear(b"dd")
    assert drained(box) == [Sound(b"ccccdd")]


def test_an_event_does_not_wait_for_the_batch_before_it():
    box = Outbox(100, 8, 100, batch=6)
    box.hear(b"aa")
    box.put("commit", 6)
    box.hear(b"bb")
    assert drained(box) == [Sound(b"aa"), Note("commit", 6)]


def test_the_oldest_sound_goes_first_and_is_counted():
    box = Outbox(6, 8, 100)
    assert box.hear(b"aabb")
    assert box.hear(b"cc")
    assert not box.hear(b"dd")
    assert box.lost == 4
    assert drained(box) == [Sound(b"cc"), Sound(b"dd")]


def test_a_piece_longer_than_the_queue_keeps_its_end():
    box = Outbox(5, 8, 100)
    assert not box.hear(b"aabbccdd")
    assert box.lost == 4
    assert drained(box) == [Sound(b"ccdd")]


def test_events_outlive_sound_and_are_refused_aloud():
    box = Outbox(2, 2, 10)
    assert box.put("a", 5)
    box.hear(b"xx")
    box.hear(b"yy")
    assert box.put("b", 5)
    assert not box.put("c", 0)
    assert box.refused == 1
    assert drained(box) == [Note("a", 5), Sound(b"yy"), Note("b", 5)]
    assert box.put("c", 10)
    assert not box.put("d", 1)


@settings(max_examples=100)
@given(
    st.lists(st.one_of(st.integers(0, 12), st.just("event"), st.just("take")), max_size=60),
    st.integers(0, 8),
)
def test_nothing_is_lost_uncounted_and_nothing_grows(steps, batch):
    box = Outbox(20, 3, 30, batch=batch)
    heard, taken, events, refused = b"", b"", 0, 0
    out = []
    for number, step in enumerate(steps):
        match step:
            case "event":
                if box.put(number, 10):
                    events += 1
                else:
                    refused += 1
            case "take":
                out.append(box.take())
            case size:
                pcm = bytes([number, number]) * size
                heard += pcm
                box.hear(pcm)
    out += drained(box)
    notes = [entry.body for entry in out if isinstance(entry, Note)]
    taken = b"".join(entry.pcm for entry in out if isinstance(entry, Sound))
    assert notes == sorted(notes)
    assert len(notes) == events
    assert refused == box.refused
    left = len(heard) - len(taken) - box.lost
    assert 0 <= left < max(1, batch)
    assert len(taken) % 2 == 0
    it = iter(heard)
    assert all(byte in it for byte in taken)  # in order, whatever went in between
