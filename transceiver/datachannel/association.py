"""What data channels need of an SCTP association, and no more.

``transceiver.sctp.Association`` is one. That it is not named where channels are made lets their
rules be tested without a network that loses packets between them.
"""

from collections.abc import Sequence
from typing import Protocol

from stunroute.instant import Instant
from transceiver.sctp import Event


class Association(Protocol):
    """The verbs of ``transceiver.sctp.Association``, where they are described."""

    @property
    def outbound_streams(self) -> int: ...

    @property
    def inbound_streams(self) -> int: ...

    def connect(self, now: Instant) -> None: ...

    def receive_packet(self, data: bytes, now: Instant) -> None: ...

    def handle_timeout(self, now: Instant) -> None: ...

    def retry(self, now: Instant) -> None: ...

    def next_transmit(self) -> bytes | None: ...

    def next_event(self) -> Event | None: ...

    def next_timeout(self) -> Instant | None: ...

    def send(
        self,
        stream: int,
        ppid: int,
        payload: bytes,
        now: Instant,
        *,
        ordered: bool = True,
        lifetime: float | None = None,
        retransmissions: int | None = None,
    ) -> None: ...

    def reset_streams(self, streams: Sequence[int], now: Instant) -> None: ...

    def buffered_amount(self, stream: int) -> int: ...

    def set_threshold(self, stream: int, amount: int) -> None: ...

    def abort(self, now: Instant, text: str) -> None: ...
