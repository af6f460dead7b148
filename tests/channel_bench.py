"""Data channels over an association that does as it is told."""

from fake_association import FakeAssociation
from transceiver.config import ChannelLimits
from transceiver.datachannel import DataChannels, Event, Opened
from transceiver.datachannel.messages import Ack, Open
from transceiver.sctp import events as sctp

LIMITS = ChannelLimits()
OPEN = Open("theirs", "proto").encode()
ACK = Ack().encode()


class Bench:
    """Data channels of a DTLS server, unless told otherwise, over a fake association."""

    def __init__(
        self,
        *,
        client: bool = False,
        longest: int = 1000,
        limits: ChannelLimits = LIMITS,
        negotiated: tuple[tuple[int, str], ...] = (),
        connected: bool = True,
    ) -> None:
        self.association = FakeAssociation()
        self.now = 1.0
        self.channels = DataChannels(
            self.association,
            dtls_client=client,
            max_message_size=longest,
            limits=limits,
            negotiated=negotiated,
        )
        if connected:
            assert self.happen(sctp.Connected(1024, 1024)) == [
                Opened(number, label, "", True, True) for number, label in negotiated
            ]

    def happen(self, *happened: sctp.Event) -> list[Event]:
        """What the application hears of what happens on the association."""
        self.association.events.extend(happened)
        self.channels.receive_packet(b"", self.now)
        return self.events()

    def events(self) -> list[Event]:
        found = []
        while (event := self.channels.next_event()) is not None:
            found.append(event)
        return found

    def come(self, stream: int, ppid: int, payload: bytes) -> list[Event]:
        return self.happen(sctp.MessageReceived(stream, ppid, payload))

    def opened(self, label: str = "ours", **how: object) -> int:
        """A channel of ours that the peer has agreed to."""
        number = self.channels.open(label, now=self.now, **how)  # type: ignore[arg-type]
        (event,) = self.come(number, 50, ACK)
        assert isinstance(event, Opened)
        self.association.sent.clear()
        return number

    def theirs(self, number: int = 4) -> int:
        """A channel of the peer's."""
        assert self.come(number, 50, OPEN) == [Opened(number, "theirs", "proto", True, False)]
        self.association.sent.clear()
        return number
