"""The way to a server that speaks the Realtime protocol over a WebSocket.

Everything that the protocol says is said by that server, in both directions as it came; what is
left here is the carrying. The client's voice goes as PCM in events of a few hundredths of a second,
the session that the call was asked for with is asked for again at the start of each connection, and
a server that is slow, silent or gone is a matter for ``uplink``. A conversation lives in the
server's connection: one that breaks begins anew, with the same session and without its past.

The servers differ in little. Azure has its key in a header of its own and names the deployment in
the address; LocalAI needs no key; the beta of the protocol has other shapes (``dialect``).
"""

import asyncio
import json
import logging
import os
from base64 import b64encode
from collections.abc import Callable
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from attrs import Attribute, define, field, frozen
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from stunroute.config import between
from stunroute.errors import ConfigError
from transceiver.config import RealtimeLimits
from transceiver.realtime.session import SESSION_RATE
from transceiver.realtime.wire import EventError, parse_untrusted

from .agent import AgentEvent, AgentFactory, ClientEvent, Ended, Line, Started
from .dialect import event_to_beta, event_to_current
from .opening import Asked, Opening
from .outbox import Note, Outbox, Sound
from .uplink import GRACE, Lost, Uplink, take_turns, until_first

EVENTS = 256
EVENT_BYTES = 4_194_304
"""Events of the client that may wait for a server, and their sum. One more is refused with an
``error`` event, and the server that has taken none for so long is given up."""
MESSAGE = 4_194_304
"""Bytes of one message of the server; a longer one ends the connection."""
LIMITS = RealtimeLimits(event=MESSAGE, depth=64)
"""What an event of the server may be. What is beyond, or is no JSON that a client could read, is no
event."""
PATIENCE = 1.0
"""Seconds that ``session.created`` is held back at most."""

# websockets writes what it sends to its logger, the key among it.
_SILENT = logging.getLogger(f"{__name__}.wire")
_SILENT.disabled = True


class Dialect(Enum):
    CURRENT = "current"
    BETA = "beta"


class KeyHeader(Enum):
    """Where the key goes: ``Authorization: Bearer``, or a header of Azure's."""

    AUTHORIZATION = "authorization"
    API_KEY = "api-key"


@frozen(slots=True)
class RealtimeOptions:
    """Which server, and how.

    ``url``: ``wss://...`` or ``ws://...``. ``model``, or else the one that the call asks for, is
    added to its query unless that names a ``model`` or a ``deployment``. The key is ``key``, or
    what ``key_file`` holds, or the environment variable ``key_variable``; none is sent where none
    of them is given. ``batch``: seconds of sound in one event, 0.02 to 0.1. ``queue``: seconds of
    sound that may wait for a server that is slow or away; the oldest goes. ``timeout``: seconds for
    a connection to come about; ``ping``: seconds between two pings, and for the answer to one.
    """

    url: str = field()
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    key_variable: str | None = None
    key_header: KeyHeader = KeyHeader.AUTHORIZATION
    dialect: Dialect = Dialect.CURRENT
    batch: float = field(default=0.04, validator=between(0.02, 0.1))
    queue: float = field(default=3.0, validator=between(0.1, 60.0))
    timeout: float = field(default=10.0, validator=between(0.1, 60.0))
    ping: float = field(default=10.0, validator=between(0.1, 60.0))

    @url.validator
    def _check_url(self, attribute: "Attribute[str]", value: str) -> None:
        try:
            parts = urlsplit(value)
            works = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            works = False
        if not works or not value.isascii() or any(map(str.isspace, value)):
            raise ConfigError(attribute.name, "is not ws://... or wss://...")
        if parts.username is not None or parts.fragment:
            raise ConfigError(attribute.name, "has a user or a fragment")


def address(options: RealtimeOptions, model: str | None) -> str:
    """Where to connect for a call that asks for ``model``."""
    named = {key for key, _ in parse_qsl(urlsplit(options.url).query, keep_blank_values=True)}
    wanted = options.model or model
    if not wanted or named & {"model", "deployment"}:
        return options.url
    return f"{options.url}{'&' if '?' in options.url else '?'}model={quote(wanted, safe='')}"


def read_key(options: RealtimeOptions) -> str | None:
    """The key, None where there is none. Raises ConfigError where it is not where it should be, or
    cannot stand in a header."""
    if options.key is not None:
        found, where = options.key, "key"
    elif options.key_file is not None:
        where = "key_file"
        try:
            found = options.key_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(where, "cannot be read") from None
    elif options.key_variable is not None:
        found, where = os.environ.get(options.key_variable, ""), "key_variable"
    else:
        return None
    if not found or not found.isascii() or not found.isprintable():
        raise ConfigError(where, "gives no key that can stand in a header")
    return found


def headers(options: RealtimeOptions, key: str | None) -> dict[str, str]:
    """What is sent with the request for a connection, beside what a WebSocket asks for."""
    found = {}
    if key is not None:
        match options.key_header:
            case KeyHeader.AUTHORIZATION:
                found["Authorization"] = f"Bearer {key}"
            case KeyHeader.API_KEY:
                found["api-key"] = key
    if options.dialect is Dialect.BETA:
        found["OpenAI-Beta"] = "realtime=v1"
    return found


class _Connect(connect):
    """Goes where it was told and nowhere else: a redirection would take the key along."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@define(slots=True, eq=False)
class RealtimeAgent:
    """One call's conversation with a Realtime server."""

    line: Line = field(repr=False)
    options: RealtimeOptions
    key: str | None = field(default=None, repr=False)
    rate: int = field(init=False, default=SESSION_RATE)
    speaks_realtime: bool = field(init=False, default=True)
    unread: int = field(init=False, default=0)
    """Messages of the server that were no events."""
    uplink: Uplink[str] = field(init=False)
    _asked: Asked = field(init=False)

    def __attrs_post_init__(self) -> None:
        times = (self.options.batch, self.options.queue)
        batch, queue = (2 * int(SESSION_RATE * time) for time in times)
        self.uplink = Uplink(
            self.line, Outbox(queue, EVENTS, EVENT_BYTES, batch=batch), self._converse
        )
        self._asked = Asked(self.line.request.session)

    def hear(self, pcm: bytes) -> None:
        """See ``agent.Agent``."""
        self.uplink.hear(pcm)

    def receive(self, event: AgentEvent) -> None:
        """See ``agent.Agent``. Connects when the call is established, not before: a server counts
        what it is connected for."""
        match event:
            case Started():
                self.uplink.begin()
            case ClientEvent(said):
                if said.get("type") == "session.update" and isinstance(said.get("session"), dict):
                    self._asked.change(said["session"])
                self._pass_on(dict(said))
            case Ended():
                self.uplink.end()
            case _:
                pass

    def _pass_on(self, event: dict[str, Any]) -> None:
        text = json.dumps(self._outward(event), separators=(",", ":"))
        if not self.uplink.put(text, len(text)):
            about = event.get("event_id")
            message = "Too much waits for the backend; the event was not taken."
            self.uplink.complain(
                "backend_unavailable", message, about if isinstance(about, str) else None
            )

    def _outward(self, event: dict[str, Any]) -> dict[str, Any]:
        return event_to_beta(event) if self.options.dialect is Dialect.BETA else event

    async def _converse(self) -> None:
        connection = await self._connect()
        try:
            await connection.send(json.dumps(self._outward(self._asked.update())))
            await until_first(self._read(connection), self._write(connection))
        except ConnectionClosed as closed:
            raise Lost(_farewell(closed)) from None
        finally:
            connection.transport.abort()

    async def _connect(self) -> ClientConnection:
        try:
            return await _Connect(
                address(self.options, self.line.request.model),
                additional_headers=headers(self.options, self.key),
                open_timeout=self.options.timeout,
                ping_interval=self.options.ping,
                ping_timeout=self.options.ping,
                close_timeout=GRACE / 2,
                max_size=MESSAGE,
                compression=None,
                logger=_SILENT,
            )
        except InvalidStatus as refusal:
            raise Lost(f"it answered {refusal.response.status_code}") from None
        except TimeoutError:
            raise Lost("it did not answer in time") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Lost(f"it cannot be reached: {reason}") from None
        except WebSocketException as error:
            raise Lost(f"it does not speak WebSocket: {type(error).__name__}") from None

    async def _write(self, connection: ClientConnection) -> None:
        while (entry := await self.uplink.next()) is not None:
            match entry:
                case Sound(pcm):
                    sound = b64encode(pcm).decode("ascii")
                    text = f'{{"type":"input_audio_buffer.append","audio":"{sound}"}}'
                case Note(text):
                    pass
            await connection.send(text)
        await connection.close()

    async def _read(self, connection: ClientConnection) -> None:
        opening = Opening()
        timer: Callable[[], None] | None = None
        taken = count(1)
        try:
            async for message in connection:
                event = _event_untrusted(message)
                if event is None:
                    self.unread += 1
                    continue
                if timer is None:
                    self.uplink.up()
                    timer = self._soon(lambda: self._give(opening.expire()))
                if self.options.dialect is Dialect.BETA:
                    event = event_to_current(event)
                self._give(opening.receive(event))
                await take_turns(next(taken))
        finally:
            if timer is not None:
                timer()
        raise Lost(f"it closed the connection ({connection.close_code})")

    def _give(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self.line.send(event)

    def _soon(self, callback: Callable[[], None]) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(PATIENCE, callback).cancel


def _event_untrusted(message: str | bytes) -> dict[str, Any] | None:
    """The event that ``message`` is; None where it is none."""
    if not isinstance(message, str):
        return None
    try:
        found = parse_untrusted(message, LIMITS)
    except EventError:
        return None
    return found if isinstance(found.get("type"), str) else None


def _farewell(closed: ConnectionClosed) -> str:
    if closed.rcvd is None:
        return "the connection broke"
    reason = f", {closed.rcvd.reason}" if closed.rcvd.reason else ""
    return f"it closed the connection ({closed.rcvd.code}{reason})"


def factory(options: RealtimeOptions) -> AgentFactory:
    """Agents that each hold a conversation with the server of ``options``. The key is read once;
    raises ConfigError where it cannot be."""
    key = read_key(options)
    return lambda line: RealtimeAgent(line, options, key)
