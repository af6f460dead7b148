"""Agents in any language, over the simplest protocol there is for it.

AudioSocket is what Asterisk gives a call's sound to: frames with a header of three octets on a
stream. Whoever can read from a socket can be an agent. The edge connects, as Asterisk does, says
which call it is, and sends 20 ms of sound fifty times a second; the agent sends sound whenever it
has some, as much and as fast as it likes, for it is paced here. One private frame says what a
conversation needs beyond that: that the client has cut in, or that the agent wants silence
(``audiosocket_frames``).

An agent that hangs up ends the call. One whose connection breaks has not said so: the call stays
up, and the edge connects again.
"""

import asyncio
import contextlib
import re
import socket
import uuid

from attrs import Attribute, define, field, frozen

from stunroute.config import between
from stunroute.errors import ConfigError, DecodeError
from stunroute.instant import Instant

from .agent import AgentEvent, AgentFactory, Ended, Interrupted, Line, Started
from .audiosocket_frames import (
    Digit,
    Failure,
    Flush,
    Frame,
    FrameReader,
    Hangup,
    Identity,
    Voice,
    encode,
)
from .outbox import Note, Outbox, Sound
from .uplink import GRACE, Lost, Uplink, take_turns, until_first

RATES = (8000, 16000, 24000, 48000)
SETTLE = 0.3
"""Seconds after an interruption for which sound of the agent is let go, unless its own flush comes
first: it was on its way when the client cut in."""
NOTES = 64
"""Flush frames that may wait to be sent; when there are more the agent is given up."""
READ = 65536
SEND_BUFFER = 32768
"""Bytes that the kernel may hold for an agent that does not read; the rest waits where old sound is
let go."""

_HOST_AND_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")


@frozen(slots=True)
class AudioSocketOptions:
    """``address`` is ``host:port``, ``[IPv6]:port`` or ``unix:/path``. ``rate``: samples per second
    in both directions, 8000 (which every AudioSocket agent knows), 16000, 24000 or 48000.
    ``queue``: seconds of the client's voice that may wait for an agent that is slow or away; the
    oldest goes. ``timeout``: seconds for a connection to come about, and after which an agent whose
    host does not acknowledge is taken for gone."""

    address: str = field()
    rate: int = field(default=8000)
    queue: float = field(default=2.0, validator=between(0.1, 60.0))
    timeout: float = field(default=10.0, validator=between(0.1, 60.0))

    @address.validator
    def _check_address(self, attribute: "Attribute[str]", value: str) -> None:
        if not target(value):
            raise ConfigError(attribute.name, "is not host:port, [IPv6]:port or unix:/path")

    @rate.validator
    def _check_rate(self, attribute: "Attribute[int]", value: int) -> None:
        if value not in RATES:
            raise ConfigError(attribute.name, f"is not one of {', '.join(map(str, RATES))}")


def target(address: str) -> str | tuple[str, int] | None:
    """The path of a Unix socket, or host and port; None where it is neither."""
    scheme, _, path = address.partition("unix:")
    if not scheme and path:
        return path
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found[3]) < 65536:
        return None
    return found[1] or found[2], int(found[3])


def identity(call: str) -> bytes:
    """The UUID that an agent is told for a call: version 5 of its id in the namespace of URLs."""
    return uuid.uuid5(uuid.NAMESPACE_URL, call).bytes


@define(slots=True, eq=False)
class AudioSocketAgent:
    """One call's agent at the other end of a socket."""

    line: Line = field(repr=False)
    options: AudioSocketOptions
    rate: int = field(init=False)
    speaks_realtime: bool = field(init=False, default=False)
    discarded: int = field(init=False, default=0)
    """Bytes of sound that came too late after an interruption."""
    uplink: Uplink[Flush] = field(init=False)
    _settling_until: Instant = field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self.rate = self.options.rate
        room = int(self.options.queue * self.rate) * 2
        self.uplink = Uplink(self.line, Outbox(room, NOTES, NOTES), self._converse)

    def hear(self, pcm: bytes) -> None:
        """See ``agent.Agent``."""
        self.uplink.hear(pcm)

    def receive(self, event: AgentEvent) -> None:
        """See ``agent.Agent``. Connects when the call is established, not before: what is behind
        the socket is for clients that are really there."""
        match event:
            case Started():
                self.uplink.begin()
            case Interrupted():
                if self.uplink.connected:
                    self._settling_until = self.line.now() + SETTLE
                    self.uplink.put(Flush(round(event.played * 1000)))
            case Ended():
                self.uplink.end()
            case _:
                pass

    async def _converse(self) -> None:
        reader, writer = await self._connect()
        try:
            writer.write(encode(Identity(identity(self.line.id))))
            self.uplink.up()
            await until_first(self._read(reader), self._write(writer))
        except OSError as error:
            raise Lost(_described(error)) from None
        finally:
            writer.close()
            # One that does not read would keep what is still to be written for ever.
            asyncio.get_running_loop().call_later(GRACE, writer.transport.abort)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        there = target(self.options.address)
        try:
            async with asyncio.timeout(self.options.timeout):
                if isinstance(there, tuple):
                    reader, writer = await asyncio.open_connection(*there)
                else:
                    reader, writer = await asyncio.open_unix_connection(there)
        except TimeoutError:
            raise Lost("it did not answer in time") from None
        except (OSError, UnicodeError) as error:
            raise Lost(f"it cannot be reached: {_described(error)}") from None
        self._arrange(writer)
        return reader, writer

    def _arrange(self, writer: asyncio.StreamWriter) -> None:
        """Keep little of the client's voice out of reach, and learn when a host is gone."""
        writer.transport.set_write_buffer_limits(high=READ // 8)
        plug: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if plug.family != socket.AF_UNIX:
                patience = int(self.options.timeout * 1000)
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while (entry := await self.uplink.next()) is not None:
            match entry:
                case Sound(pcm):
                    writer.write(encode(Voice(self.rate, pcm)))
                case Note(flush):
                    writer.write(encode(flush))
            await writer.drain()
        writer.write(encode(Hangup()))
        await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader()
        while data := await reader.read(READ):
            try:
                arrived = frames.receive_untrusted(data)
            except DecodeError as error:
                raise Lost(f"it broke the protocol: {error}") from None
            for number, frame in enumerate(arrived, 1):
                self._take(frame)
                await take_turns(number)
        raise Lost("it closed the connection")

    def _take(self, frame: Frame) -> None:
        match frame:
            case Voice(rate, pcm) if rate == self.rate:
                if self.line.now() < self._settling_until:
                    self.discarded += len(pcm)
                else:
                    self.line.play(pcm)
            case Voice(rate):
                raise Lost(f"it broke the protocol: sound at {rate} Hz, not at {self.rate}")
            case Flush():
                self._settling_until = float("-inf")
                self.line.flush()
            case Hangup():
                self.uplink.end()
                self.line.hang_up()
            case Failure(code):
                raise Lost("it reported an error" + ("" if code is None else f", code {code}"))
            case Identity() | Digit():
                pass  # for the other direction only


def _described(error: OSError | UnicodeError) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def factory(options: AudioSocketOptions) -> AgentFactory:
    """Agents at ``options.address``, one connection for each call."""
    return lambda line: AudioSocketAgent(line, options)
