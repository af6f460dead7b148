"""An SCTP association without a network, for tests of what stands on one."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen

from transceiver.sctp.association import NotConnected
from transceiver.sctp.events import Event
from transceiver.sctp.sendqueue import SendQueueFull


@frozen(slots=True)
class Sent:
    stream: int
    ppid: int
    payload: bytes
    ordered: bool = True
    lifetime: float | None = None
    retransmissions: int | None = None


@define(slots=True)
class FakeAssociation:
    """Keeps what it is asked to send and to reset; ``events`` are what it will say."""

    outbound_streams: int = 1024
    inbound_streams: int = 1024
    sent: list[Sent] = field(factory=list)
    resets: list[int] = field(factory=list)
    events: deque[Event] = field(factory=deque)
    thresholds: dict[int, int] = field(factory=dict)
    calls: list[tuple[object, ...]] = field(factory=list)
    full: bool = False
    over: bool = False

    def connect(self, now: float) -> None:
        self.calls.append(("connect", now))

    def receive_packet(self, data: bytes, now: float) -> None:
        self.calls.append(("receive_packet", data, now))

    def handle_timeout(self, now: float) -> None:
        self.calls.append(("handle_timeout", now))

    def retry(self, now: float) -> None:
        self.calls.append(("retry", now))

    def next_transmit(self) -> bytes | None:
        return b"packet"

    def next_timeout(self) -> float | None:
        return 7.5

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def send(
        self,
        stream: int,
        ppid: int,
        payload: bytes,
        now: float,
        *,
        ordered: bool = True,
        lifetime: float | None = None,
        retransmissions: int | None = None,
    ) -> None:
        assert payload
        if not 0 <= stream < self.outbound_streams:
            raise ValueError("no such stream")
        if self.full:
            raise SendQueueFull("full")
        if self.over:
            raise NotConnected("over")
        self.sent.append(Sent(stream, ppid, payload, ordered, lifetime, retransmissions))

    def reset_streams(self, streams: Sequence[int], now: float) -> None:
        assert all(0 <= stream < self.outbound_streams for stream in streams)
        self.resets += streams

    def buffered_amount(self, stream: int) -> int:
        return 10 * stream

    def set_threshold(self, stream: int, amount: int) -> None:
        self.thresholds[stream] = amount

    def abort(self, now: float, text: str = "") -> None:
        self.calls.append(("abort", now, text))
