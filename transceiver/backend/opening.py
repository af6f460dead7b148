"""How a conversation with a Realtime server begins, seen from a client of ours.

The server opens with a session of its own making, ``session.created``. The edge answers with what
the call was asked for with, and the server with ``session.updated``. The client asked for its
session when it made the call, so it is to see one ``session.created`` that shows it, and no answer
to an event that it never sent. For that the first is held back until the second is there.

The same session is asked for again after a lost connection, with what the client has changed since.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import define, field

from transceiver.realtime.session import SESSION_RATE

JsonObject: TypeAlias = Mapping[str, Any]

PCM = {"type": "audio/pcm", "rate": SESSION_RATE}
SERVERS_OWN = ("id", "object", "model", "expires_at", "client_secret")
"""Fields that a session has and an update may not change; the model is chosen by the address."""
REMEMBERED = 262_144
"""Bytes of JSON that the remembered session may have. An update that makes it larger goes to the
server, and is not asked for again after a lost connection."""
UPDATE = "edge_session"
"""``event_id`` of the update that is not the client's."""


def merged(session: JsonObject, update: JsonObject) -> dict[str, Any]:
    """``session`` with what ``update`` says, object by object; lists are replaced whole."""
    found = dict(session)
    for key, value in update.items():
        here = found.get(key)
        if isinstance(value, Mapping) and isinstance(here, Mapping):
            value = merged(here, value)
        found[key] = value
    return found


def with_our_sound(session: JsonObject) -> dict[str, Any]:
    """``session`` with PCM in both directions, which is what the edge gives and takes."""
    formats = {"input": {"format": PCM}, "output": {"format": PCM}}
    return merged({**session, "type": "realtime"}, {"audio": formats})


@define(slots=True, eq=False)
class Asked:
    """The session as the client has asked for it, of which nothing is known but what it said."""

    session: JsonObject = field(repr=False)

    def change(self, update: JsonObject) -> None:
        """The client sent ``session.update``."""
        session = merged(self.session, update)
        if len(json.dumps(session)) <= REMEMBERED:
            self.session = session

    def update(self) -> dict[str, Any]:
        """The event that asks a server for it."""
        session = {key: value for key, value in self.session.items() if key not in SERVERS_OWN}
        return {"type": "session.update", "event_id": UPDATE, "session": with_our_sound(session)}


@define(slots=True, eq=False)
class Opening:
    """The start of one connection. A server that does not say ``session.updated`` (or says that
    the update was no good) is not waited for: what it says next ends the opening, and so does
    ``expire``."""

    _created: dict[str, Any] | None = field(init=False, default=None)
    _over: bool = field(init=False, default=False)

    def receive(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """An event of the server; what the client is to see now."""
        if self._over:
            return [event]
        match event.get("type"):
            case "session.created" if self._created is None:
                self._created = event
                return []
            case "session.updated" if self._created is not None:
                session = event.get("session", self._created.get("session"))
                self._created = {**self._created, "session": session}
                return self.expire()
            case _:
                return [*self.expire(), event]

    def expire(self) -> list[dict[str, Any]]:
        """Enough was waited; what the client is to see now."""
        self._over = True
        created, self._created = self._created, None
        return [] if created is None else [created]
