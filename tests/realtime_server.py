"""A Realtime server of our own, over WebSocket: what an OpenAI, an Azure or a LocalAI would be.

It follows the published schema. Whatever a client sends and whatever goes back is checked against
the models that the official client package is generated with, of the dialect in use, so a mistake
of ours or of this server's own is found here. It answers as such servers do: sessions, items and
responses have their life cycle; with ``listens`` it hears speech by its loudness, answers each turn
with a tone, and stops when it is interrupted. Beyond that a test drives it: ``say``, ``interrupt``,
``drop``, ``stall``, ``refusal``, ``close`` and ``open`` again at the same address.
"""

import asyncio
import itertools
import json
import math
import struct
from array import array
from base64 import b64decode, b64encode
from functools import cache
from http import HTTPStatus
from typing import Any, Self

from attrs import define, field
from pydantic import TypeAdapter, ValidationError
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from transceiver.backend.dialect import (
    event_to_beta,
    event_to_current,
    session_to_beta,
)
from transceiver.backend.opening import merged

RATE = 24000
LOUD = 1500
QUIET_FOR = 0.5
"""Seconds after which silence ends a turn."""

_BETA_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_UNKNOWN_TO_BETA = ("conversation.item.done",)


@cache
def _models(beta: bool, server: bool) -> TypeAdapter[Any]:
    if beta:
        from openai.types.beta import realtime as package
    else:
        from openai.types import realtime as package
    return TypeAdapter(package.RealtimeServerEvent if server else package.RealtimeClientEvent)


def check(event: dict[str, Any], *, beta: bool = False, server: bool = True) -> None:
    """Raises AssertionError where ``event`` is not one of the published schema."""
    try:
        found = _models(beta, server).validate_python(event)
    except ValidationError as error:
        # One group for each event of the union; those of another type say nothing.
        found = error.errors(include_url=False)
        others = {each["loc"][0] for each in found if each["loc"][1:] == ("type",)}
        wrong = [(each["loc"][1:], each["msg"]) for each in found if each["loc"][0] not in others]
        raise AssertionError(f"{event.get('type')} is not of the schema: {wrong}") from None
    assert found.type == event["type"], event["type"]


def tone(seconds: float, frequency: float = 440.0) -> bytes:
    """PCM at 24 kHz."""
    samples = (
        round(8000 * math.sin(2 * math.pi * frequency * index / RATE))
        for index in range(round(seconds * RATE))
    )
    return b"".join(struct.pack("<h", sample) for sample in samples)


@define(eq=False)
class Conversation:
    """One connection. All times of the schema are of the sound that came in."""

    connection: ServerConnection
    beta: bool
    listens: bool
    number: int
    received: list[dict[str, Any]] = field(factory=list)
    """The client's events, without the sound."""
    heard: bytearray = field(factory=bytearray)
    """All sound of the client."""
    session: dict[str, Any] = field(factory=dict)
    """As it stands, in the shape of today."""
    truncated: list[tuple[str, int]] = field(factory=list)
    """Items cut off, and after how many milliseconds."""
    problems: list[str] = field(factory=list)
    over: bool = False
    _buffer: bytearray = field(factory=bytearray)
    _items: list[str] = field(factory=list)
    _ids: Any = field(factory=itertools.count)
    _response: asyncio.Task[None] | None = None
    _reading: asyncio.Event = field(factory=asyncio.Event)
    _speech: str | None = None
    _quiet: float = 0.0

    def fresh(self, prefix: str) -> str:
        return f"{prefix}_{self.number}_{next(self._ids)}"

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.received if event["type"] == kind]

    async def send(self, kind: str, **fields: Any) -> None:
        """One event, given in the names of today."""
        event = {"type": kind, "event_id": self.fresh("event"), **fields}
        if self.beta:
            if kind in _UNKNOWN_TO_BETA:
                return
            event = event_to_beta({**event, "type": _BETA_NAMES.get(kind, kind)})
        check(event, beta=self.beta)
        await self.connection.send(json.dumps(event))

    async def hold(self) -> None:
        """The connection from its beginning to its end."""
        self._reading.set()
        query = self.connection.request.path.partition("?")[2]
        self.session = {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.fresh("sess"),
            "model": query.partition("model=")[2] or None,
            "output_modalities": ["audio"],
            "instructions": "Be a test.",
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
                "output": {"format": {"type": "audio/pcmu"}, "voice": "alloy"},
            },
        }
        try:
            await self.send("session.created", session=self.session)
            async for message in self.connection:
                await self._take(json.loads(message))
                await self._reading.wait()
        except ConnectionClosed:
            pass
        except Exception as problem:
            self.problems.append(repr(problem))
            raise
        finally:
            self.over = True
            if self._response is not None:
                self._response.cancel()

    # What a test may do to it

    async def say(self, pcm: bytes, words: str = "la la") -> None:
        """A response without being asked, all of it at once."""
        await self._respond(pcm, words)

    async def interrupt(self) -> None:
        """Hear speech: what is being said is cut off."""
        await self._speech_started(len(self.heard))

    def stall(self) -> None:
        """Read nothing any more, until ``wake``."""
        self._reading.clear()
        self.connection.transport.pause_reading()

    def wake(self) -> None:
        self._reading.set()
        self.connection.transport.resume_reading()

    def drop(self) -> None:
        """Break the connection without a word."""
        self.connection.transport.abort()

    # The protocol

    async def _take(self, event: dict[str, Any]) -> None:
        check(event, beta=self.beta, server=False)
        if event["type"] != "input_audio_buffer.append":
            self.received.append(event)
        if self.beta and event["type"] == "session.update":
            update = event_to_current({"type": "session.update", "session": event["session"]})
            event = {**event, "session": update["session"]}
        match event["type"]:
            case "input_audio_buffer.append":
                await self._hear(b64decode(event["audio"], validate=True))
            case "session.update":
                await self._update(event)
            case "input_audio_buffer.commit":
                await self._commit(event)
            case "input_audio_buffer.clear":
                self._buffer.clear()
                await self.send("input_audio_buffer.cleared")
            case "conversation.item.create":
                await self._add({"id": self.fresh("item"), **event["item"]})
            case "conversation.item.truncate":
                await self._truncate(event)
            case "response.create":
                self._answer(0.5)
            case "response.cancel":
                await self._cancel("client_cancelled")
            case _:
                await self._refuse(event, f"{event['type']} is not for a test")

    async def _update(self, event: dict[str, Any]) -> None:
        voice = event["session"].get("audio", {}).get("output", {}).get("voice")
        if voice == "nobody":
            await self._refuse(event, "There is no such voice.", "session.audio.output.voice")
            return
        self.session = merged(self.session, event["session"])
        await self.send("session.updated", session=self.session)

    async def _refuse(self, event: dict[str, Any], message: str, param: str | None = None) -> None:
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": message}
        error |= {"param": param, "event_id": event.get("event_id")}
        await self.send("error", error=error)

    async def _hear(self, pcm: bytes) -> None:
        self.heard += pcm
        self._buffer += pcm
        if not self.listens or not pcm:
            return
        if max(map(abs, array("h", pcm))) > LOUD:
            self._quiet = 0.0
            if self._speech is None:
                await self._speech_started(len(self.heard) - len(pcm))
        elif self._speech is not None:
            self._quiet += len(pcm) / 2 / RATE
            if self._quiet >= QUIET_FOR:
                await self._speech_stopped()

    def _milliseconds(self, octets: int) -> int:
        return octets // 2 * 1000 // RATE

    async def _speech_started(self, at: int) -> None:
        self._speech = self.fresh("item")
        await self.send(
            "input_audio_buffer.speech_started",
            audio_start_ms=self._milliseconds(at),
            item_id=self._speech,
        )
        await self._cancel("turn_detected")

    async def _speech_stopped(self) -> None:
        await self.send(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=self._milliseconds(len(self.heard)),
            item_id=self._speech,
        )
        item, self._speech = self._speech, None
        self._buffer.clear()
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        await self._add(_spoken(item))
        self._answer(3.0)

    async def _commit(self, event: dict[str, Any]) -> None:
        if not self._buffer:
            await self._refuse(event, "There is no sound to commit.")
            return
        self._buffer.clear()
        item = self.fresh("item")
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        await self._add(_spoken(item))

    async def _add(self, item: dict[str, Any]) -> None:
        self._items.append(item["id"])
        await self.send("conversation.item.added", item=item, previous_item_id=None)
        await self.send("conversation.item.done", item=item, previous_item_id=None)

    async def _truncate(self, event: dict[str, Any]) -> None:
        item, end = event["item_id"], event["audio_end_ms"]
        if item not in self._items:
            await self._refuse(event, "There is no such item.", "item_id")
            return
        self.truncated.append((item, end))
        await self.send(
            "conversation.item.truncated", item_id=item, content_index=0, audio_end_ms=end
        )

    def _answer(self, seconds: float) -> None:
        number = len(self._items)
        self._response = asyncio.create_task(
            self._respond(tone(seconds, 300 + 40 * number), f"This is answer {number}.")
        )

    async def _cancel(self, reason: str) -> None:
        task, self._response = self._response, None
        if task is not None and not task.done():
            task.cancel(reason)
            await asyncio.gather(task, return_exceptions=True)

    async def _respond(self, pcm: bytes, words: str) -> None:
        response = {"id": self.fresh("resp"), "object": "realtime.response", "output": []}
        item = {"id": self.fresh("item"), "object": "realtime.item", "type": "message"}
        item |= {"role": "assistant", "status": "in_progress", "content": []}
        here = {"response_id": response["id"], "output_index": 0}
        place = {**here, "item_id": item["id"], "content_index": 0}
        self._items.append(item["id"])
        begun = {**response, "status": "in_progress", "status_details": None}
        await self.send("response.created", response=begun)
        await self.send("response.output_item.added", item=item, **here)
        await self.send("conversation.item.added", item=item, previous_item_id=None)
        await self.send("response.content_part.added", part=_part(""), **place)
        try:
            await self.send("response.output_audio_transcript.delta", delta=words, **place)
            for start in range(0, len(pcm), RATE // 5):  # 100 ms, four times faster than heard
                delta = b64encode(pcm[start : start + RATE // 5]).decode("ascii")
                await self.send("response.output_audio.delta", delta=delta, **place)
                await asyncio.sleep(0.025 if self.listens else 0)
            status, details = "completed", {"type": "completed"}
        except asyncio.CancelledError as cancelled:
            if self.over:
                raise
            reason = cancelled.args[0] if cancelled.args else "client_cancelled"
            status, details = "cancelled", {"type": "cancelled", "reason": reason}
        await self.send("response.output_audio.done", **place)
        await self.send("response.output_audio_transcript.done", transcript=words, **place)
        await self.send("response.content_part.done", part=_part(words), **place)
        said = [{"type": "output_audio", "transcript": words}]
        finished = "completed" if status == "completed" else "incomplete"
        item = {**item, "status": finished, "content": said}
        await self.send("response.output_item.done", item=item, **here)
        await self.send("conversation.item.done", item=item, previous_item_id=None)
        response |= {"output": [item], "status": status, "status_details": details}
        await self.send("response.done", response=response)


def _part(words: str) -> dict[str, Any]:
    return {"type": "audio", "transcript": words}


def _spoken(item: str) -> dict[str, Any]:
    content = [{"type": "input_audio", "transcript": None}]
    found = {"id": item, "object": "realtime.item", "type": "message", "role": "user"}
    return {**found, "status": "completed", "content": content}


@define(eq=False)
class RealtimeServer:
    """``key`` has to come in ``header``; with ``beta`` the older dialect is spoken, and its header
    asked for. ``refusal`` is a status that every new connection is answered with."""

    key: str | None = None
    header: str = "authorization"
    beta: bool = False
    listens: bool = False
    refusal: int | None = None
    conversations: list[Conversation] = field(factory=list)
    port: int = 0
    _server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        assert [talk.problems for talk in self.conversations if talk.problems] == []

    async def open(self) -> None:
        """Listen, at the same port as before."""
        self._server = await serve(
            self._meet, "127.0.0.1", self.port, process_request=self._judge, close_timeout=0.5
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more; what is connected is dropped."""
        self._server.close(close_connections=False)
        for talk in self.conversations:
            talk.drop()
        await self._server.wait_closed()

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusal is not None:
            return connection.respond(HTTPStatus(self.refusal), "no\n")
        wanted = f"Bearer {self.key}" if self.header == "authorization" else self.key
        if self.key is not None and request.headers.get(self.header) != wanted:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        if self.beta != (request.headers.get("OpenAI-Beta") == "realtime=v1"):
            return connection.respond(HTTPStatus.BAD_REQUEST, "another dialect\n")
        return None

    async def _meet(self, connection: ServerConnection) -> None:
        number = len(self.conversations)
        talk = Conversation(connection, self.beta, self.listens, number)
        self.conversations.append(talk)
        await talk.hold()


__all__ = ["Conversation", "RealtimeServer", "check", "session_to_beta", "tone"]
