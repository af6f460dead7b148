"""Whether somebody speaks, told from how loud it is.

Good enough that an agent can be interrupted whatever stands behind it: the level of each 20 ms is
held against that of the background, which is followed by its minima, since a voice pauses and a fan
does not. Whoever has a better judge puts it in its place.

The start is declared after 60 ms of sound, so that a click is none, and dated back to where it
began and by the padding that the session asks for. The end is declared when the silence has lasted
as long as the session says, and dated there, as the Realtime protocol counts.
"""

from collections import deque
from typing import Protocol, TypeAlias

from attrs import define, field, frozen

from .codec import FRAME

LOUD_FRAMES = 3
"""Of four frames in a row, so many must be loud to be speech."""
UNKNOWN_BACKGROUND = -40.0
"""Decibels: the loudest background that a call is taken to begin with. A louder one is held for a
voice until it has lasted for ``BLOCKS`` times ``BLOCK``."""
BLOCK = 15
"""Frames of which the least loud is remembered."""
BLOCKS = 7
"""So many of those make the background: two seconds."""


@frozen(slots=True)
class SpeechBegan:
    """``at``: seconds into the sound observed, the padding before it included."""

    at: float


@frozen(slots=True)
class SpeechEnded:
    """``at``: seconds into the sound observed, the silence waited for included."""

    at: float


Activity: TypeAlias = SpeechBegan | SpeechEnded


class VoiceActivity(Protocol):
    """Judges sound piece by piece."""

    def observe(self, pcm: bytes, level: float, at: float) -> Activity | None:
        """The next 20 ms of PCM, beginning ``at`` seconds into the call's sound; ``level`` is its
        power in decibels below full scale (negative)."""


@define(slots=True)
class Background:
    """The level that sound does not fall below, in decibels."""

    _least: float = field(init=False, default=0.0)
    _frames: int = field(init=False, default=0)
    _past: deque[float] = field(
        init=False, factory=lambda: deque([UNKNOWN_BACKGROUND], maxlen=BLOCKS), repr=False
    )

    def follow(self, level: float) -> float:
        """The background after a frame of ``level``."""
        self._least = min(self._least, level)
        self._frames += 1
        background = min(self._least, *self._past)
        if self._frames == BLOCK:
            self._past.append(self._least)
            self._least, self._frames = 0.0, 0
        return background


@define(slots=True)
class EnergyActivity:
    """Speech by its level.

    The arguments are those of the Realtime protocol's ``server_vad``: ``threshold`` from 0 (alert)
    to 1 (hard of hearing); ``prefix``, the seconds by which the start is dated back
    (``prefix_padding_ms``); ``silence``, the seconds of silence that end a turn
    (``silence_duration_ms``).
    """

    threshold: float = 0.5
    prefix: float = 0.3
    silence: float = 0.5
    _background: Background = field(init=False, factory=Background, repr=False)
    _speaking: bool = field(init=False, default=False)
    _recent: int = field(init=False, default=0)  # a bit for each of the last frames, 1: loud
    _loud_until: float = field(init=False, default=0.0)

    def observe(self, pcm: bytes, level: float, at: float) -> Activity | None:
        """See ``VoiceActivity``."""
        background = self._background.follow(level)
        # Once somebody speaks, the soft ends of words belong to it.
        ease = 4.0 if self._speaking else 0.0
        loud = level > max(
            background + 4.0 + 12.0 * self.threshold - ease,
            -58.0 + 20.0 * self.threshold - ease,
        )
        self._recent = (self._recent << 1 | loud) & 15
        if loud:
            self._loud_until = at + FRAME
        if not self._speaking:
            return self._begin(at)
        if loud or at + FRAME - self._loud_until < self.silence - FRAME / 2:
            return None
        self._speaking, self._recent = False, 0
        return SpeechEnded(at + FRAME)

    def _begin(self, at: float) -> SpeechBegan | None:
        if self._recent.bit_count() < LOUD_FRAMES:
            return None
        self._speaking = True
        onset = at - (self._recent.bit_length() - 1) * FRAME
        return SpeechBegan(max(0.0, onset - self.prefix))
