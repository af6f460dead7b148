"""What waits to be sent to a backend that may be slow, or away for a while.

Two kinds of things go there: sound, which is worth nothing when it is old, and events, each of
which may be the one that matters. They keep their order among each other, because an event such as
a commit speaks of the sound before it. Where there is no more room the oldest sound goes first; an
event is never dropped in silence, its sender is told that it was not taken.
"""

from collections import deque
from typing import Generic, TypeAlias, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")


@frozen(slots=True)
class Sound:
    """PCM, in whole samples of 16 bits."""

    pcm: bytes = field(repr=False)


@frozen(slots=True)
class Note(Generic[T]):
    """An event. ``size`` is what it counts for, in bytes."""

    body: T = field(repr=False)
    size: int


Entry: TypeAlias = Sound | Note[T]


@define(slots=True, eq=False)
class Outbox(Generic[T]):
    """A queue of sound and events.

    ``sound`` bounds the bytes of PCM that wait, ``events`` the events and ``event_bytes`` the sum
    of their sizes. Sound is handed out in pieces of at least ``batch`` bytes, less only where an
    event comes behind it.
    """

    sound: int
    events: int
    event_bytes: int
    batch: int = 0
    lost: int = field(init=False, default=0)
    """Bytes of sound let go for want of room."""
    refused: int = field(init=False, default=0)
    """Events not taken for want of room."""
    _sounds: deque[tuple[int, bytes]] = field(init=False, factory=deque, repr=False)
    _notes: deque[tuple[int, Note[T]]] = field(init=False, factory=deque, repr=False)
    _order: int = field(init=False, default=0)
    _sound_bytes: int = field(init=False, default=0)
    _event_bytes: int = field(init=False, default=0)

    def hear(self, pcm: bytes) -> bool:
        """Queue sound. False where older sound, or the start of this, had to go for it."""
        self._order += 1
        self._sounds.append((self._order, pcm))
        self._sound_bytes += len(pcm)
        before = self.lost
        while self._sound_bytes > self.sound:
            self._let_go()
        return self.lost == before

    def put(self, body: T, size: int) -> bool:
        """Queue an event that counts for ``size`` bytes. False where it was not taken."""
        if len(self._notes) >= self.events or self._event_bytes + size > self.event_bytes:
            self.refused += 1
            return False
        self._order += 1
        self._notes.append((self._order, Note(body, size)))
        self._event_bytes += size
        return True

    @property
    def ready(self) -> bool:
        """Whether ``take`` has something."""
        return bool(self._notes) or self._sound_bytes >= max(1, self.batch)

    def take(self) -> Entry[T] | None:
        """The next to be sent, None where there is nothing, or less sound than makes a piece."""
        if not self.ready:
            return None
        following = self._notes[0][0] if self._notes else None
        pieces, size = [], 0
        while self._sounds and (size == 0 or size < self.batch):
            order, pcm = self._sounds[0]
            if following is not None and order > following:
                break
            self._sounds.popleft()
            pieces.append(pcm)
            size += len(pcm)
        self._sound_bytes -= size
        if pieces:
            return Sound(b"".join(pieces))
        _, note = self._notes.popleft()
        self._event_bytes -= note.size
        return note

    def _let_go(self) -> None:
        """Drop the oldest sound, or as much of its start as is too much when it is the last."""
        order, pcm = self._sounds.popleft()
        gone = len(pcm)
        if not self._sounds:
            gone = min(gone, self._sound_bytes - self.sound)
            gone += gone % 2
            self._sounds.append((order, pcm[gone:]))
        self._sound_bytes -= gone
        self.lost += gone
