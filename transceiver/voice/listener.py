"""What a client says, as 20 ms of sound every 20 ms.

A recogniser of speech wants time to pass evenly: a pause must be as long as it was, and a call that
has gone quiet must be heard to be quiet, or a turn would never end. So once audio has begun, sound
comes at the pace of real time through losses and silence, until nothing at all has come from the
client for ``limits.idle``.

The clock is in the arguments, so a wake-up that comes late finds what should have been done since
and does it as of when it was due. After ``CATCH_UP`` the missed time is left out.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.errors import DecodeError
from stunroute.instant import Instant
from transceiver.config import VoiceLimits
from transceiver.events import AudioReceived

from . import jitter
from .activity import Background, SpeechBegan, SpeechEnded, VoiceActivity
from .codec import FRAME, Decoder, make_decoder, make_meter
from .payloads import carries_copy, duration_untrusted

CATCH_UP = 0.5
"""Seconds of sound that a late ``pull`` makes good at once."""
SLACK = 0.75 * FRAME
"""Seconds more or less than the target that may be held back for good."""
QUIET = 6.0
"""Decibels above the background up to which a frame may be dropped or added unheard."""


@frozen(slots=True)
class Sound:
    """20 ms of PCM at the agent's rate, beginning ``at`` seconds into what the agent has been given
    of this call."""

    pcm: bytes = field(repr=False)
    at: float


Heard: TypeAlias = Sound | SpeechBegan | SpeechEnded


@define(slots=True)
class Counters:
    """What was done to the sound, in frames and holes."""

    malformed: int = 0
    """Packets that held no sound."""
    recovered: int = 0
    """Holes filled from the next packet's copy."""
    concealed: int = 0
    """Holes filled with sound made up."""
    dropped: int = 0
    """Quiet frames left out, to hold back less."""
    added: int = 0
    """Quiet frames put in, to hold back more."""


@define(slots=True)
class Listener:
    """The incoming sound of one call: ``codec`` and ``clock_rate`` (Hz) as negotiated, ``rate`` the
    agent's samples per second. Raises what ``codec.make_decoder`` does.

    ``pull`` after ``next_timeout``; what it gives is in order, each piece of sound before what was
    found in it.
    """

    codec: str
    clock_rate: int
    rate: int
    limits: VoiceLimits = field(factory=VoiceLimits)
    counters: Counters = field(init=False, factory=Counters)
    buffer: jitter.JitterBuffer = field(init=False)
    """For its counters and its target."""
    _decoder: Decoder = field(init=False, repr=False)
    _meter: Callable[[bytes], float] = field(init=False, repr=False)
    _frame: int = field(init=False)  # bytes
    _pcm: bytearray = field(init=False, factory=bytearray, repr=False)
    _frames: int = field(init=False, default=0)  # given out
    _due: Instant | None = field(init=False, default=None)
    _arrived: Instant = field(init=False, default=0.0)
    _background: Background = field(init=False, factory=Background, repr=False)
    _quiet: bool = field(init=False, default=True)  # the last frame was
    _floor: float = field(init=False, default=-100.0)
    _activity: VoiceActivity | None = field(init=False, default=None, repr=False)
    _speaking: bool = field(init=False, default=False)
    _events: deque[SpeechEnded] = field(init=False, factory=deque, repr=False)

    def __attrs_post_init__(self) -> None:
        self._decoder = make_decoder(self.codec, self.rate)
        self._meter = make_meter()
        self._frame = round(self.rate * FRAME) * 2
        self.buffer = jitter.JitterBuffer(self.clock_rate, self.limits)

    def insert(self, event: AudioReceived, now: Instant) -> None:
        """Take one packet, in whatever order they come. Never raises for what it holds."""
        try:
            duration = duration_untrusted(self.codec, event.payload)
        except DecodeError:
            self.counters.malformed += 1
            return
        self.buffer.insert(event.payload, event.sequence, event.timestamp, duration, now)
        self._arrived = now
        if self._due is None:
            self._due = self.buffer.begins

    def watch(self, activity: VoiceActivity | None) -> None:
        """Listen for speech with this from now on; None: do not. Speech that was going on is over
        for whoever was told of it."""
        self._activity = activity
        self._end_speech()

    @property
    def position(self) -> float:
        """Seconds of sound that the agent has been given."""
        return self._frames * FRAME

    def next_timeout(self) -> Instant | None:
        """When to ``pull`` next; None before audio has begun, and after it has been missing for
        ``limits.idle``."""
        return self._due

    def pull(self, now: Instant) -> list[Heard]:
        """What the agent is to be told by now."""
        heard: list[Heard] = []
        if self._due is not None and now - self._due > CATCH_UP:
            self._due = now - CATCH_UP
        while self._due is not None and self._due <= now:
            if self._due - self._arrived > self.limits.idle:
                self._rest()
                break
            self._hear(self._due, heard)
            self._due += FRAME
        heard.extend(self._events)
        self._events.clear()
        return heard

    def _rest(self) -> None:
        """Nothing comes any more: wait for the next packet."""
        self._due = None
        self.buffer.restart()
        self._end_speech()

    def _end_speech(self) -> None:
        if self._speaking:
            self._speaking = False
            self._events.append(SpeechEnded(self.position))

    # --- a frame -----------------------------------------------------------------------------

    def _hear(self, due: Instant, heard: list[Heard]) -> None:
        while len(self._pcm) < self._frame:
            self._fill(due)
        sound = Sound(bytes(self._pcm[: self._frame]), self.position)
        del self._pcm[: self._frame]
        self._frames += 1
        heard.append(sound)
        level = self._meter(sound.pcm)
        self._floor = self._background.follow(level)
        self._quiet = level <= self._floor + QUIET
        if self._activity is not None:
            found = self._activity.observe(sound.pcm, level, sound.at)
            if found is not None:
                self._speaking = isinstance(found, SpeechBegan)
                heard.append(found)

    def _fill(self, due: Instant) -> None:
        """The next piece of sound, whatever its length; or one less to be held back."""
        surplus = self.buffer.surplus(due)
        if self._quiet and surplus < -SLACK:
            self.counters.added += 1
            self._pcm += bytes(self._frame)
            return
        match self.buffer.pull(due):
            case jitter.Frame(payload):
                pcm = self._decode(payload)
                excess = surplus - len(pcm) / (2 * self.rate)
                if self._quiet and excess > SLACK and self._is_quiet(pcm):
                    self.counters.dropped += 1
                else:
                    self._pcm += pcm
            case jitter.Missing(ticks, following):
                self._pcm += self._cover(self._samples(ticks), following)
            case jitter.Silence(ticks):
                self._pcm += bytes(2 * self._samples(ticks))

    def _is_quiet(self, pcm: bytes) -> bool:
        return self._meter(pcm) <= self._floor + QUIET

    def _decode(self, payload: bytes) -> bytes:
        try:
            return self._decoder.decode_untrusted(payload)
        except DecodeError:
            self.counters.malformed += 1
            return self._decoder.conceal(self._frame // 2)

    def _cover(self, samples: int, following: bytes | None) -> bytes:
        """A hole of so many samples, filled."""
        if following is not None and carries_copy(self.codec, following):
            try:
                pcm = self._decoder.recover_untrusted(following, samples)
            except DecodeError:
                pass  # it will be found malformed in its turn
            else:
                self.counters.recovered += 1
                return pcm
        self.counters.concealed += 1
        return self._decoder.conceal(samples)

    def _samples(self, ticks: int) -> int:
        return ticks * self.rate // self.clock_rate
