"""aiortc's SCTP and data channels as the peer of ours, with nothing but a queue between them.

aiortc takes its time from the event loop, so these two talk in real time; what is tested is what
arrives and never when.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport

from sctp_pair import entropy_of
from transceiver.config import ChannelLimits, SctpLimits
from transceiver.datachannel import DataChannels, Event
from transceiver.sctp.association import Association


class Wire:
    """Stands where aiortc expects a DTLS transport."""

    def __init__(self, role: str, deliver: Callable[[bytes], None]) -> None:
        self._role = role
        self.state = "connected"
        self.transport = SimpleNamespace(role="controlling")
        self._deliver = deliver

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass

    async def _send_data(self, data: bytes) -> None:
        self._deliver(data)


class Talk:
    """A call's data part between aiortc and us. ``lose`` says of each packet whether it is lost."""

    def __init__(self, *, we_are_client: bool, lose: Callable[[], bool]) -> None:
        self.loop = asyncio.get_running_loop()
        self.lose = lose
        self.events: list[Event] = []
        self.theirs: list[RTCDataChannel] = []
        self.heard: list[tuple[int, str | bytes]] = []
        self._inbox: list[bytes] = []
        self._stopped = False
        limits = SctpLimits()
        self.ours = DataChannels(
            Association(entropy=entropy_of("ours"), limits=limits),
            dtls_client=we_are_client,
            max_message_size=limits.message,
            limits=ChannelLimits(),
        )
        role = "server" if we_are_client else "client"
        wire: Any = Wire(role, self._inbox.append)
        self.aiortc = RTCSctpTransport(wire, 5000)
        self.aiortc.on("datachannel", self._take)
        self._task = self.loop.create_task(self._run())

    def _take(self, channel: RTCDataChannel) -> None:
        self.theirs.append(channel)
        channel.on("message", lambda message: self.heard.append((channel.id, message)))

    async def start(self) -> None:
        self.ours.connect(self.loop.time())
        await self.aiortc.start(RTCSctpCapabilities(262_144), 5000)

    def open(self, label: str, **options: Any) -> RTCDataChannel:
        """A channel of aiortc's."""
        channel = RTCDataChannel(self.aiortc, RTCDataChannelParameters(label=label, **options))
        channel.on("message", lambda message: self.heard.append((channel.id, message)))
        return channel

    async def _run(self) -> None:
        while not self._stopped:
            for data in self._pump():
                if not self.lose():
                    await self.aiortc._handle_data(data)
            arrived, self._inbox[:] = list(self._inbox), []
            for data in arrived:
                if not self.lose():
                    self.ours.receive_packet(data, self.loop.time())
            await asyncio.sleep(0.001)

    def _pump(self) -> list[bytes]:
        """Do what is due, hear what has happened; the packets for the peer."""
        now = self.loop.time()
        due = self.ours.next_timeout()
        if due is not None and due <= now:
            self.ours.handle_timeout(now)
        while (event := self.ours.next_event()) is not None:
            self.events.append(event)
        packets = []
        while (data := self.ours.next_transmit()) is not None:
            packets.append(data)
        return packets

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait; whoever waits for something that never comes is told by the test's time limit."""
        while not done():
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self.aiortc.stop()
        self._stopped = True
        await self._task


def run(
    story: Callable[[Talk], Awaitable[None]],
    *,
    we_are_client: bool = False,
    lose: Callable[[], bool] = lambda: False,
    seconds: float = 60.0,
) -> None:
    """Let ``story`` happen, in ``seconds`` at most."""

    async def main() -> None:
        talk = Talk(we_are_client=we_are_client, lose=lose)
        try:
            async with asyncio.timeout(seconds):
                await talk.start()
                await story(talk)
        finally:
            await talk.close()

    asyncio.run(main())
