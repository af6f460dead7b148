"""The items of a plain conversation, as far back as they are remembered.

The protocol lets clients add items, look at them, cut and remove them. An agent that is plain does
not see them as such; they are kept for the client's sake, so the oldest are forgotten when there
are many. Sound is not kept: an item says that there was some, and its words.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field

from transceiver.config import RealtimeLimits

from .shape import (
    anything,
    array,
    choice,
    integer,
    nullable,
    record,
    tagged,
    text,
)
from .wire import EventError, write

_ID = text(64)
_ARGUMENTS = text()

_WORDS = {"text": nullable(text()), "transcript": nullable(text())}
_PICTURE = {"image_url": text(1 << 20), "detail": nullable(choice("auto", "low", "high"))}
_PARTS = {
    "input_text": record(_WORDS, required=("text",)),
    "input_audio": record({**_WORDS, "audio": nullable(text(1 << 20))}),
    "input_image": record({**_WORDS, **_PICTURE}, required=("image_url",)),
    "output_text": record(_WORDS, required=("text",)),
    "output_audio": record(_WORDS),
}


def _message_of(*parts: str) -> Callable[[object, str], None]:
    return record(
        {"content": array(tagged({name: _PARTS[name] for name in parts}), 256)},
        required=("content",),
    )


_MESSAGE = tagged(
    {
        "user": _message_of("input_text", "input_audio", "input_image"),
        "system": _message_of("input_text"),
        "assistant": _message_of("output_text", "output_audio"),
    },
    tag="role",
)
_CALL = record(
    {"name": text(256), "arguments": _ARGUMENTS, "call_id": nullable(text(256))},
    required=("name", "arguments"),
)
_CALL_OUTPUT = record({"call_id": text(256), "output": _ARGUMENTS}, required=("call_id", "output"))
_COMMON = record(
    {"id": nullable(_ID), "status": nullable(choice("completed", "incomplete", "in_progress"))}
)
_KINDS = tagged(
    {
        "message": _MESSAGE,
        "function_call": _CALL,
        "function_call_output": _CALL_OUTPUT,
        "mcp_approval_response": record({"approve": anything}, required=("approve",)),
    }
)


def check_item(value: object, path: str) -> None:
    """An item as a client may create it."""
    _KINDS(value, path)
    _COMMON(value, path)


CREATE = record({"item": check_item, "previous_item_id": nullable(_ID)}, required=("item",))
NAMED = record({"item_id": _ID}, required=("item_id",))
TRUNCATE = record(
    {
        "item_id": _ID,
        "content_index": integer(0, 255),
        "audio_end_ms": integer(0, 1 << 31),
    },
    required=("item_id", "content_index", "audio_end_ms"),
)


def words_of(item: dict[str, Any]) -> str:
    """What a client's message says in words; empty for what is no message of a user."""
    if item.get("type") != "message" or item.get("role") != "user":
        return ""
    said = (part.get("text") or part.get("transcript") for part in item["content"])
    return "\n".join(words for words in said if words)


def without_audio(item: dict[str, Any]) -> dict[str, Any]:
    """The item, its sound and pictures left out."""
    content = item.get("content")
    if not isinstance(content, list):
        return item
    kept = [
        {name: value for name, value in part.items() if name not in ("audio", "image_url")}
        for part in content
    ]
    return {**item, "content": kept}


def unknown(item: str, path: str) -> EventError:
    return EventError(f"Item with item_id not found: '{item}'.", code="item_not_found", param=path)


@define(slots=True)
class _Kept:
    item: dict[str, Any]
    size: int
    spoken: float | None = None
    """Seconds of sound that the client has been sent, None where it is no item of the agent's, or
    not yet known."""


@define(slots=True)
class Conversation:
    """Items in their order."""

    limits: RealtimeLimits
    _items: dict[str, _Kept] = field(init=False, factory=dict)
    _order: list[str] = field(init=False, factory=list)
    _size: int = field(init=False, default=0)

    def before(self, name: str) -> str | None:
        """The item before that one, None where there is none or it is forgotten."""
        place = self._order.index(name) if name in self._items else 0
        return self._order[place - 1] if place else None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def get(self, name: str) -> dict[str, Any]:
        """The item of that name. Raises EventError."""
        if name not in self._items:
            raise unknown(name, "item_id")
        return self._items[name].item

    def size(self, name: str) -> int:
        """Characters of the item's JSON, 0 where it is not known."""
        return self._items[name].size if name in self._items else 0

    def place_after(self, previous: str | None) -> int:
        """Where an item goes that a client wants behind ``previous`` (``root``: at the beginning,
        None: at the end). Raises EventError."""
        if previous is None:
            return len(self._order)
        if previous == "root":
            return 0
        if previous not in self._items:
            raise unknown(previous, "previous_item_id")
        return self._order.index(previous) + 1

    def add(self, item: dict[str, Any], place: int | None = None) -> str | None:
        """Keep an item; the id of the one it stands behind. One with its id makes room: a client
        may have given to an item of its own the name that we were about to give."""
        if item["id"] in self._items:
            self.remove(item["id"])
        place = len(self._order) if place is None else place
        kept = _Kept(item, len(write(item)))
        self._items[item["id"]] = kept
        self._order.insert(place, item["id"])
        self._size += kept.size
        previous = self._order[place - 1] if place else None
        self._forget()
        return previous

    def replace(self, item: dict[str, Any]) -> None:
        """The item has become another, under its id. Forgotten ones stay so."""
        if (kept := self._items.get(item["id"])) is not None:
            self._size -= kept.size
            kept.item, kept.size = item, len(write(item))
            self._size += kept.size
            self._forget()

    def remove(self, name: str) -> None:
        """Forget an item. Raises EventError."""
        self.get(name)
        self._size -= self._items.pop(name).size
        self._order.remove(name)

    def spoken(self, name: str, seconds: float) -> None:
        """So much of an item has been heard."""
        if (kept := self._items.get(name)) is not None:
            kept.spoken = seconds

    def truncate(self, name: str, part: int, milliseconds: int) -> None:
        """Cut an item of the agent's: what is beyond was not heard, so its words are gone, too.
        Raises EventError."""
        item = self.get(name)
        content = item.get("content", [])
        if item.get("role") != "assistant":
            raise EventError(
                "Only model output audio messages can be truncated.",
                code="invalid_value",
                param="item_id",
            )
        if part >= len(content) or content[part].get("type") != "output_audio":
            raise EventError(
                f"Content part {part} of that item holds no audio.",
                code="invalid_value",
                param="content_index",
            )
        spoken = self._items[name].spoken
        if spoken is not None and milliseconds > (heard := int(spoken * 1000)):
            raise EventError(
                f"Audio content of {heard}ms is already shorter than {milliseconds}ms.",
                code="invalid_value",
                param="audio_end_ms",
            )
        self.cut(name, part)

    def cut(self, name: str, part: int) -> None:
        """Let the words of a part go, where there are any."""
        kept = self._items.get(name)
        if kept is None or part >= len(kept.item.get("content", [])):
            return
        content = [dict(one) for one in kept.item["content"]]
        content[part]["transcript"] = ""
        self.replace({**kept.item, "content": content})

    def _forget(self) -> None:
        while len(self._order) > self.limits.items or self._size > self.limits.item_bytes:
            oldest = self._order.pop(0)
            self._size -= self._items.pop(oldest).size
