"""The Realtime protocol as it was before it was settled, and back.

Some servers still speak the beta of the protocol: sessions are flat where they are nested today,
and a few events have other names. A client of ours knows the current names only. What is the same
in both passes through; what is not known passes through as well, because a server may know more
than this room.

All functions are given decoded JSON, change nothing of it and return new objects where something
differs.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from transceiver.realtime.session import SESSION_RATE

JsonObject: TypeAlias = Mapping[str, Any]

_CURRENT_EVENTS = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_BETA_FORMATS = {current: beta for beta, current in _FORMATS.items()}

_PLACES: Mapping[str, tuple[str, ...]] = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}
"""Where a field of the beta's session, and of its responses, is found today."""


def event_to_current(event: JsonObject) -> dict[str, Any]:
    """A server's event of the beta, as a server of today would say it."""
    found = dict(event)
    name = event.get("type")
    if isinstance(name, str):
        found["type"] = _CURRENT_EVENTS.get(name, name)
    for key, change in _IN_SERVER_EVENTS.items():
        if isinstance(found.get(key), Mapping):
            found[key] = change(found[key])
    return found


def event_to_beta(event: JsonObject) -> dict[str, Any]:
    """A client's event of today, as a server of the beta understands it."""
    found = dict(event)
    for key, change in _IN_CLIENT_EVENTS.items():
        if isinstance(found.get(key), Mapping):
            found[key] = change(found[key])
    return found


def session_to_beta(session: JsonObject) -> dict[str, Any]:
    """A session object of today in the beta's flat shape."""
    found = {key: value for key, value in session.items() if key not in ("type", "audio")}
    for beta, place in _PLACES.items():
        holder: Any = session
        for step in place[:-1]:
            holder = holder.get(step) if isinstance(holder, Mapping) else None
        if isinstance(holder, Mapping) and place[-1] in holder:
            found.pop(place[-1], None)
            found[beta] = _beta_value(beta, holder[place[-1]])
    return found


def session_to_current(session: JsonObject) -> dict[str, Any]:
    """A flat session object in the shape of today. One that has that shape already stays."""
    return {"type": "realtime", **_nested(session)}


def _nested(holder: JsonObject) -> dict[str, Any]:
    found = {key: value for key, value in holder.items() if key not in _PLACES}
    for beta, place in _PLACES.items():
        if beta not in holder:
            continue
        here = found
        for step in place[:-1]:
            inner = here.get(step)
            here[step] = dict(inner) if isinstance(inner, Mapping) else {}
            here = here[step]
        here[place[-1]] = _current_value(beta, holder[beta])
    return found


def _beta_value(beta: str, value: Any) -> Any:
    match beta:
        case "modalities" if value == ["audio"]:
            return ["text", "audio"]  # the beta has no sound without its words
        case "input_audio_format" | "output_audio_format" if isinstance(value, Mapping):
            kind = value.get("type")
            return _BETA_FORMATS.get(kind, value) if isinstance(kind, str) else value
        case _:
            return value


def _current_value(beta: str, value: Any) -> Any:
    match beta:
        case "modalities" if isinstance(value, list) and "audio" in value:
            return ["audio"]
        case "input_audio_format" | "output_audio_format" if isinstance(value, str):
            kind = _FORMATS.get(value, value)
            return {"type": kind, "rate": SESSION_RATE} if value == "pcm16" else {"type": kind}
        case _:
            return value


def _item_to_current(item: JsonObject) -> dict[str, Any]:
    """What an assistant's items hold is called ``output_`` today; the parts that
    ``response.content_part`` events show kept their names."""
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return dict(item)
    return {**item, "content": [_part_to_current(part) for part in content]}


def _part_to_current(part: Any) -> Any:
    if isinstance(part, Mapping) and part.get("type") in ("text", "audio"):
        return {**part, "type": f"output_{part['type']}"}
    return part


def _item_to_beta(item: JsonObject) -> dict[str, Any]:
    content = item.get("content")
    if not isinstance(content, list):
        return dict(item)
    return {**item, "content": [_part_to_beta(part) for part in content]}


def _part_to_beta(part: Any) -> Any:
    if isinstance(part, Mapping) and part.get("type") in ("output_text", "output_audio"):
        return {**part, "type": part["type"].removeprefix("output_")}
    return part


def _response_to_current(response: JsonObject) -> dict[str, Any]:
    return _with_items(_nested(response), _item_to_current)


def _response_to_beta(response: JsonObject) -> dict[str, Any]:
    return _with_items(session_to_beta(response), _item_to_beta)


def _with_items(
    response: dict[str, Any], change: Callable[[JsonObject], dict[str, Any]]
) -> dict[str, Any]:
    """``response``, changed in place, with the items that it was asked with or came to."""
    for key in ("input", "output"):
        items = response.get(key)
        if isinstance(items, list):
            response[key] = [change(item) if isinstance(item, Mapping) else item for item in items]
    return response


_IN_SERVER_EVENTS: Mapping[str, Callable[[JsonObject], dict[str, Any]]] = {
    "session": session_to_current,
    "item": _item_to_current,
    "response": _response_to_current,
}
_IN_CLIENT_EVENTS: Mapping[str, Callable[[JsonObject], dict[str, Any]]] = {
    "session": session_to_beta,
    "item": _item_to_beta,
    "response": _response_to_beta,
}
