"""Data channels at both ends of a network of virtual time that may lose, repeat and reorder."""

from collections.abc import Callable
from heapq import heappop, heappush

from attrs import define, field

from sctp_pair import entropy_of
from transceiver.config import ChannelLimits, SctpLimits
from transceiver.datachannel import DataChannels, Event
from transceiver.sctp.association import Association

Fate = Callable[[], list[float]]
"""What becomes of the next packet: the delay of each copy that arrives."""


def prompt() -> list[float]:
    return [0.01]


def channels(
    name: str,
    *,
    client: bool,
    limits: ChannelLimits,
    sctp: SctpLimits,
    negotiated: tuple[tuple[int, str], ...],
) -> DataChannels:
    association = Association(entropy=entropy_of(name), limits=sctp)
    return DataChannels(
        association,
        dtls_client=client,
        max_message_size=sctp.message,
        limits=limits,
        negotiated=negotiated,
    )


@define
class ChannelPair:
    """``a`` is the DTLS client. ``heard`` is what each side's application was told."""

    a: DataChannels
    b: DataChannels
    fate: Fate = prompt
    now: float = 0.0
    heard: tuple[list[Event], list[Event]] = field(factory=lambda: ([], []))
    _flying: list[tuple[float, int, DataChannels, bytes]] = field(factory=list)
    _count: int = 0

    @classmethod
    def make(
        cls,
        fate: Fate = prompt,
        *,
        limits: ChannelLimits | None = None,
        sctp: SctpLimits | None = None,
        negotiated: tuple[tuple[int, str], ...] = (),
    ) -> "ChannelPair":
        limits, sctp = limits or ChannelLimits(), sctp or SctpLimits()
        a = channels("a", client=True, limits=limits, sctp=sctp, negotiated=negotiated)
        b = channels("b", client=False, limits=limits, sctp=sctp, negotiated=negotiated)
        pair = cls(a, b, fate)
        a.connect(0.0)
        b.connect(0.0)
        return pair

    def _settle(self) -> None:
        for side, other, heard in ((self.a, self.b, 0), (self.b, self.a, 1)):
            while (event := side.next_event()) is not None:
                self.heard[heard].append(event)
            while (data := side.next_transmit()) is not None:
                for delay in self.fate():
                    self._count += 1
                    heappush(self._flying, (self.now + delay, self._count, other, data))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self._settle()
            timeouts = [side.next_timeout() for side in (self.a, self.b)]
            due = [at for at in timeouts if at is not None] + [item[0] for item in self._flying[:1]]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, side, data = heappop(self._flying)
                side.receive_packet(data, self.now)
            for side in (self.a, self.b):
                timeout = side.next_timeout()
                if timeout is not None and timeout <= self.now:
                    side.handle_timeout(self.now)
