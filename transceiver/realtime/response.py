"""One response of a plain agent, told as the protocol tells it.

An agent that only plays and says things makes one message: one item with one part, of sound with
its words or, where the client wants no sound, of words alone. Out of the little it says come the
many events of a response's life, in the order in which clients rely on them: the response, its
item, the part, the words as they come, then all of them again from the inside out.
"""

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from stunroute.instant import Instant

from .conversation import check_item
from .session import AUDIO_OUTPUT, TOOL_CHOICE, TOOLS, max_tokens, modalities
from .shape import array, as_object, nullable, record, text
from .wire import EventError


def _input_item(value: object, path: str) -> None:
    """An item, or a reference to one."""
    if as_object(value, path).get("type") == "item_reference":
        record({"id": text(64)}, required=("id",))(value, path)
    else:
        check_item(value, path)


def _metadata(value: object, path: str) -> None:
    """At most 16 pairs of strings."""
    pairs = as_object(value, path)
    if len(pairs) > 16:
        raise EventError(
            f"Invalid '{path}': at most 16 pairs are allowed.",
            code="object_above_max_properties",
            param=path,
        )
    for name, said in pairs.items():
        text(64)(name, path)
        text(512)(said, f"{path}.{name[:64]}")


CREATE = record(
    {
        "response": nullable(
            record(
                {
                    "output_modalities": nullable(modalities),
                    "instructions": nullable(text()),
                    "audio": nullable(record({"output": nullable(AUDIO_OUTPUT)})),
                    "conversation": nullable(text(64)),
                    "input": nullable(array(_input_item)),
                    "max_output_tokens": nullable(max_tokens),
                    "metadata": nullable(_metadata),
                    "tools": nullable(TOOLS),
                    "tool_choice": nullable(TOOL_CHOICE),
                }
            )
        )
    }
)
CANCEL = record({"response_id": nullable(text(64))})

Told = tuple[str, dict[str, Any]]
"""The type of an event and its fields."""


@define(slots=True)
class Response:
    """A response in progress.

    ``asked`` are the parameters of the client's ``response.create``, empty where the agent speaks
    of itself; ``session`` the session object as it stood. ``since`` is when anything was last done
    for it.
    """

    id: str
    conversation: str | None
    asked: dict[str, Any]
    session: dict[str, Any]
    since: Instant
    longest: int
    """Characters of words kept."""
    item: str | None = field(init=False, default=None)
    _words: list[str] = field(init=False, factory=list)
    _length: int = field(init=False, default=0)

    @property
    def text_only(self) -> bool:
        wanted = self.asked.get("output_modalities") or self.session.get("output_modalities")
        return bool(wanted == ["text"])

    @property
    def words(self) -> str:
        return "".join(self._words)

    def created(self) -> Told:
        return "response.created", {"response": self.resource("in_progress")}

    def resource(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response object."""
        output = self.session["audio"]["output"]
        asked = (self.asked.get("audio") or {}).get("output") or {}
        done = status != "in_progress"
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [self.message(status)] if done and self.item is not None else [],
            "conversation_id": self.conversation,
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "max_output_tokens": self.asked.get("max_output_tokens")
            or self.session.get("max_output_tokens"),
            "audio": {
                "output": {
                    "format": asked.get("format") or output.get("format"),
                    "voice": _voice(asked.get("voice") or output.get("voice")),
                }
            },
            "usage": None,
            "metadata": self.asked.get("metadata"),
        }

    def message(self, status: str) -> dict[str, Any]:
        """The item. ``status`` is the response's."""
        part = (
            {"type": "output_text", "text": self.words}
            if self.text_only
            else {"type": "output_audio", "transcript": self.words}
        )
        known = status if status in ("in_progress", "completed") else "incomplete"
        return {
            "id": self.item,
            "object": "realtime.item",
            "type": "message",
            "status": known,
            "role": "assistant",
            "content": [] if status == "in_progress" else [part],
        }

    def begin(self, previous: str | None) -> Iterator[Told]:
        """The item, which has its name now, begins behind another."""
        message = self.message("in_progress")
        yield (
            "response.output_item.added",
            {"response_id": self.id, "output_index": 0, "item": message},
        )
        if self.conversation is not None:
            yield "conversation.item.added", {"previous_item_id": previous, "item": message}
        yield "response.content_part.added", {**self._place(), "part": self._part("")}

    def said(self, words: str) -> Iterator[Told]:
        """More words. What is more than the bound is let go."""
        words = words[: self.longest - self._length]
        if not words:
            return
        self._words.append(words)
        self._length += len(words)
        kind = "output_text" if self.text_only else "output_audio_transcript"
        yield f"response.{kind}.delta", {**self._place(), "delta": words}

    def done(
        self, status: str, previous: str | None, details: dict[str, Any] | None = None
    ) -> Iterator[Told]:
        """All of it is over."""
        if self.item is not None:
            words, place = self.words, self._place()
            if self.text_only:
                yield "response.output_text.done", {**place, "text": words}
            else:
                yield "response.output_audio.done", place
                yield "response.output_audio_transcript.done", {**place, "transcript": words}
            yield "response.content_part.done", {**place, "part": self._part(words)}
            message = self.message(status)
            yield (
                "response.output_item.done",
                {"response_id": self.id, "output_index": 0, "item": message},
            )
            if self.conversation is not None:
                yield "conversation.item.done", {"previous_item_id": previous, "item": message}
        yield "response.done", {"response": self.resource(status, details)}

    def _place(self) -> dict[str, Any]:
        return {
            "response_id": self.id,
            "item_id": self.item,
            "output_index": 0,
            "content_index": 0,
        }

    def _part(self, words: str) -> dict[str, Any]:
        if self.text_only:
            return {"type": "text", "text": words}
        return {"type": "audio", "transcript": words}


def _voice(voice: Any) -> Any:
    """A voice as responses name it."""
    return voice.get("id") if isinstance(voice, dict) else voice
