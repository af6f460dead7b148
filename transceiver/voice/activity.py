"""Whether somebody speaks, told from the sound alone.

Good enough that an agent can be interrupted whatever stands behind it: the level of each 20 ms is
held against the level of the background, which is followed by its minima, since a voice pauses and
a fan does not. Whoever has a better judge puts it in its place.

The start is declared after 60 ms of sound, so that a click is none, and dated back to where it
began and by the padding that the session asks for. The end is declared when the silence has lasted
as long as the session says, and dated there, as the Realtime protocol counts.
"""

from typing import Protocol, TypeAlias

from attrs import define, frozen

LOUD_FRAMES = 3
"""Frames of 20 ms in a row that must be loud before they are speech."""


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

    def observe(self, pcm: bytes, level: float, at: float) -> Activity | None:
        """See ``VoiceActivity``."""
        return None
