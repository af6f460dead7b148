"""What a client says, as 20 ms of sound every 20 ms."""

from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.instant import Instant
from transceiver.config import VoiceLimits
from transceiver.events import AudioReceived

from .activity import SpeechBegan, SpeechEnded, VoiceActivity


@frozen(slots=True)
class Sound:
    """20 ms of PCM at the agent's rate, the one that begins ``at`` seconds into what the agent has
    been given of this call."""

    pcm: bytes = field(repr=False)
    at: float


Heard: TypeAlias = Sound | SpeechBegan | SpeechEnded


@define(slots=True)
class Listener:
    """The incoming sound of one call: ``codec`` and ``clock_rate`` (Hz) as negotiated, ``rate`` the
    agent's samples per second. Raises what ``codec.make_decoder`` does.
    """

    codec: str
    clock_rate: int
    rate: int
    limits: VoiceLimits = field(factory=VoiceLimits)

    def insert(self, event: AudioReceived, now: Instant) -> None:
        """Take one packet, in whatever order they come. Never raises for what it holds."""

    def pull(self, now: Instant) -> list[Heard]:
        """What the agent is to be told by now, in order."""
        return []

    def next_timeout(self) -> Instant | None:
        """When to ``pull`` next; None until audio has begun, and after it has been missing for
        ``limits.idle``."""
        return None

    def watch(self, activity: VoiceActivity | None) -> None:
        """Listen for speech with this from now on; None: do not."""
