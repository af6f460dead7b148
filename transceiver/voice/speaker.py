"""What an agent says, as packets at the pace of speech.

An agent makes sound faster than it is heard, and may take it back: so the sound waits here and not
in the network or in the client's buffer, and one packet leaves when it is due. What has left is
heard; what has not can be silenced at once, and how much that was is known to the sample.

Time runs on a grid of 20 ms that begins with the first sound and goes on while something is to be
sent. RTP timestamps count the media clock on that grid, and when it begins anew after a pause they
have gone on by as much as the clock (RFC 3550, 5.1), so that the receiver keeps the pauses as they
were. A wake-up that comes late, or sound that does, keeps its place in the grid for ``CATCH_UP``;
after that the grid moves, because packets in a burst would only be late at the other end, and
beyond the reach of ``flush``.

After sound come some frames of silence: a receiver that runs out of packets makes up for what it
takes for lost ones, and would go on with the last voice it heard.
"""

from collections import deque
from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.instant import Instant
from transceiver.config import VoiceLimits

from .codec import FRAME, Encoder, make_encoder

CATCH_UP = 0.06
"""How late, in seconds, a packet may go out without moving all that follow it."""
RUN_DRY = 0.3
"""Seconds without sound after which an utterance that nobody has finished is over."""
TAIL = 5
"""Frames of silence after sound."""
UTTERANCES = 64
"""Utterances that may wait; with so many, what comes is added to the last of them."""
_BYTES = 2  # of one sample


@frozen(slots=True)
class Packet:
    """To be sent now. ``timestamp`` counts the media clock from zero and does not wrap."""

    payload: bytes = field(repr=False)
    timestamp: int
    marker: bool


@frozen(slots=True)
class UtteranceStarted:
    """The first packet of an utterance has been given out."""


@frozen(slots=True)
class UtteranceEnded:
    """The last packet of an utterance has been given out, and ``played`` seconds of sound with it.
    ``finished``: the agent said that it was complete; otherwise its sound ran out."""

    played: float
    finished: bool


@frozen(slots=True)
class Flushed:
    """What a flush did: ``played`` seconds of the current utterance had been given out,
    ``unplayed`` seconds, of it and of those behind it, had not and are gone."""

    played: float
    unplayed: float


SpeakerEvent: TypeAlias = UtteranceStarted | UtteranceEnded


@define(slots=True)
class _Utterance:
    sound: bytearray = field(factory=bytearray, repr=False)
    finished: bool = False  # no more will come
    dry: bool = False  # closed by us, because nothing came


@define(slots=True)
class Speaker:
    """The outgoing sound of one call: ``codec`` and ``clock_rate`` (Hz) as negotiated, ``rate``
    the agent's samples per second. Raises what ``codec.make_encoder`` does.

    Call ``next_packet`` until it gives None whenever ``next_timeout`` is due and after each other
    verb, then ``next_event`` until it gives None.
    """

    codec: str
    clock_rate: int
    rate: int
    limits: VoiceLimits = field(factory=VoiceLimits)
    _encoder: Encoder = field(init=False, repr=False)
    _frame: int = field(init=False)  # bytes of sound in a packet
    _waiting: deque[_Utterance] = field(init=False, factory=deque, repr=False)
    _held: int = field(init=False, default=0)  # bytes that wait in them
    _begun: bool = field(init=False, default=False)  # the first of them has been heard in part
    _sent: int = field(init=False, default=0)  # bytes of it
    _covered: Instant = field(init=False, default=0.0)  # until then there was sound
    _due: Instant | None = field(init=False, default=None)  # of the next packet; None: no grid
    _origin: Instant = field(init=False, default=0.0)  # where the grid begins,
    _slot: int = field(init=False, default=0)  # and the frames since
    _epoch: Instant | None = field(init=False, default=None)  # when timestamps were zero
    _base: int = field(init=False, default=0)  # timestamp where the grid begins
    _newest: int = field(init=False, default=0)  # the least that the next timestamp may be
    _marker: bool = field(init=False, default=True)  # the next sound follows silence
    _tail: int = field(init=False, default=0)
    _lost: int = field(init=False, default=0)
    _events: deque[SpeakerEvent] = field(init=False, factory=deque, repr=False)

    def __attrs_post_init__(self) -> None:
        self._encoder = make_encoder(self.codec, self.rate)
        self._frame = round(self.rate * FRAME) * _BYTES

    # --- what the agent does -----------------------------------------------------------------

    def play(self, pcm: bytes, now: Instant) -> None:
        """Say this after what waits: PCM at ``rate`` of any length, cut where it likes. Beyond
        ``limits.queue`` the oldest that waits is let go."""
        if not pcm:
            return
        if not self._waiting:
            self._covered = now
        if not self._waiting or (self._waiting[-1].finished and len(self._waiting) < UTTERANCES):
            self._waiting.append(_Utterance())
        self._waiting[-1].finished = False
        self._waiting[-1].sound += pcm
        self._held += len(pcm)
        self._shed()

    def finish(self, now: Instant) -> bool:
        """What has been played so far is complete. False where there is nothing to complete:
        nothing was said, or it has ended by itself."""
        if not self._waiting or self._waiting[-1].finished:
            return False
        self._waiting[-1].finished = True
        self._conclude()
        return True

    def flush(self, now: Instant) -> Flushed:
        """Drop all that waits. No UtteranceEnded follows."""
        flushed = Flushed(self.played, self.waiting)
        self._waiting.clear()
        self._held = 0
        self._begun, self._sent = False, 0
        self._marker = True
        return flushed

    @property
    def played(self) -> float:
        """Seconds of the current utterance that have been given out; 0 between two."""
        return self._sent / (_BYTES * self.rate)

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait."""
        return self._held / (_BYTES * self.rate)

    @property
    def lost(self) -> float:
        """Seconds of sound let go for want of room."""
        return self._lost / (_BYTES * self.rate)

    @property
    def speaking(self) -> bool:
        """An utterance has started and neither ended nor been flushed."""
        return self._begun

    # --- what the clock does -----------------------------------------------------------------

    def next_timeout(self) -> Instant | None:
        """When ``next_packet`` has something to do, None while there is nothing to say."""
        dry = self._covered + RUN_DRY if self._waiting else None
        if self._ready():
            return self._covered if self._due is None else self._due
        if self._due is None:
            return dry
        silence = self._due + (CATCH_UP if self._patient() else 0.0)
        return silence if dry is None else min(silence, dry)

    def next_packet(self, now: Instant) -> Packet | None:
        """The next packet that is due, or None."""
        if self._waiting and not self._ready() and now >= self._covered + RUN_DRY:
            self._waiting[0].finished = self._waiting[0].dry = True
            self._conclude()
        if self._due is not None and now < self._due:
            return None
        if self._ready():
            return self._sound(now)
        return self._silence(now)

    def next_event(self) -> SpeakerEvent | None:
        """The oldest event not given out yet, or None."""
        return self._events.popleft() if self._events else None

    # --- utterances --------------------------------------------------------------------------

    def _ready(self) -> bool:
        """Whether there is a frame of sound, or what stands for the last one."""
        if not self._waiting:
            return False
        first = self._waiting[0]
        return len(first.sound) >= self._frame or (first.finished and len(first.sound) >= _BYTES)

    def _sound(self, now: Instant) -> Packet:
        first = self._waiting[0]
        if not self._begun:
            self._begun = True
            self._events.append(UtteranceStarted())
        size = min(self._frame, len(first.sound) // _BYTES * _BYTES)
        pcm = bytes(first.sound[:size])
        del first.sound[:size]
        self._held -= size
        self._sent += size
        packet = self._packet(pcm.ljust(self._frame, b"\0"), now, sound=True)
        self._covered = self._origin + self._slot * FRAME
        self._tail = TAIL
        self._conclude()
        return packet

    def _conclude(self) -> None:
        """End the first utterance if it is finished and all of it has been given out."""
        while self._waiting and self._waiting[0].finished and not self._ready():
            first = self._waiting.popleft()
            self._held -= len(first.sound)  # half a sample, if anything
            if not self._begun:
                self._events.append(UtteranceStarted())
            self._events.append(UtteranceEnded(self.played, finished=not first.dry))
            self._begun, self._sent = False, 0

    def _shed(self) -> None:
        """Hold no more than the bound: whole frames go, from the front."""
        bound = int(self.limits.queue * self.rate) * _BYTES
        while self._held > bound and self._waiting:
            first = self._waiting[0]
            frames = -(-(self._held - bound) // self._frame)
            cut = min(len(first.sound), frames * self._frame)
            del first.sound[:cut]
            self._held -= cut
            self._lost += cut
            if not first.finished:
                return
            self._conclude()

    # --- the grid ----------------------------------------------------------------------------

    def _silence(self, now: Instant) -> Packet | None:
        """What is due while there is no sound: nothing yet, a frame of silence, or the end of the
        grid."""
        if self._due is None:
            return None
        if self._patient():
            if now < self._due + CATCH_UP:
                return None
            self._begin(now)
        if self._tail == 0:
            self._due = None
            return None
        self._tail -= 1
        self._marker = True
        return self._packet(bytes(self._frame), now, sound=False)

    def _patient(self) -> bool:
        """Whether sound is missing in the middle of an utterance and may only be late."""
        return self._begun and self._tail == TAIL

    def _packet(self, pcm: bytes, now: Instant, *, sound: bool) -> Packet:
        """The packet of the grid's next slot; moves on to the one after it."""
        if self._due is None or now > self._due + CATCH_UP:
            self._begin(now)
        ticks = round(self.clock_rate * FRAME)
        timestamp = self._base + self._slot * ticks
        marker = sound and self._marker
        if sound:
            self._marker = False
        self._slot += 1
        self._newest = timestamp + ticks
        self._due = self._origin + self._slot * FRAME
        return Packet(self._encoder.encode(pcm), timestamp, marker)

    def _begin(self, now: Instant) -> None:
        """A new grid from ``now``."""
        if self._epoch is None:
            self._epoch = now
        self._origin, self._slot = now, 0
        self._due = now
        self._base = max(self._newest, round((now - self._epoch) * self.clock_rate))
        self._marker = True
