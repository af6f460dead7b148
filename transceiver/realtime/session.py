"""The session object: what a client may ask for, and how it is shown.

The same object comes with a call, with a client secret and in ``session.update``, and goes out in
``session.created`` and ``session.updated``. Callers of the older, beta form of the protocol name
some of its fields otherwise and keep them flat; theirs are taken and put where they belong now, so
that one form is known inside. Fields nobody here knows are kept.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .shape import (
    anything,
    array,
    as_object,
    boolean,
    choice,
    either,
    integer,
    nullable,
    number,
    record,
    tagged,
    text,
)
from .wire import EventError

SESSION_RATE = 24_000
"""The one rate of PCM in events, today's and the beta's, in samples per second."""

_NAME = text(256)
_ID = text(512)

_FORMAT = tagged(
    {
        "audio/pcm": record({"rate": integer(SESSION_RATE, SESSION_RATE)}),
        "audio/pcmu": anything,
        "audio/pcma": anything,
    }
)
_TURN_DETECTION = tagged(
    {
        "server_vad": record(
            {
                "create_response": boolean,
                "interrupt_response": boolean,
                "threshold": number(0.0, 1.0),
                "prefix_padding_ms": integer(0, 5_000),
                "silence_duration_ms": integer(0, 10_000),
                "idle_timeout_ms": nullable(integer(5_000, 30_000)),
            }
        ),
        "semantic_vad": record(
            {
                "create_response": boolean,
                "interrupt_response": boolean,
                "eagerness": choice("low", "medium", "high", "auto"),
            }
        ),
    }
)
_NOISE_REDUCTION = record(
    {
        "type": choice("near_field", "far_field"),
        "strength": nullable(number(0.0, 1.0)),
    }
)
_TRANSCRIPTION = record(
    {
        "model": _NAME,
        "language": nullable(_NAME),
        "languages": nullable(array(_NAME)),
        "prompt": nullable(text()),
        "keywords": nullable(array(_NAME)),
        "delay": nullable(choice("minimal", "low", "medium", "high", "xhigh")),
    }
)


def _voice(value: object, path: str) -> None:
    """A name, or an object with the id of a voice."""
    if isinstance(value, dict):
        record({"id": _NAME}, required=("id",))(value, path)
    else:
        _NAME(value, path)


AUDIO_OUTPUT = record(
    {
        "format": nullable(_FORMAT),
        "speed": number(0.25, 1.5),
        "voice": nullable(_voice),
    }
)


def modalities(value: object, path: str) -> None:
    """``["audio"]`` or ``["text"]``: sound brings its words with it."""
    array(choice("text", "audio"), 2)(value, path)
    if value not in (["audio"], ["text"]):
        raise EventError(
            f"Invalid '{path}'. Supported combinations are: ['text'] and ['audio'].",
            code="invalid_value",
            param=path,
        )


def max_tokens(value: object, path: str) -> None:
    """``"inf"``, or a number of tokens."""
    either(("inf",), integer(1, 1_000_000))(value, path)


TOOLS = array(
    tagged(
        {
            "function": record(
                {"name": _NAME, "description": nullable(text()), "parameters": anything},
                required=("name",),
            ),
            "mcp": record(
                {"server_label": _NAME, "server_url": nullable(text(2048))},
                required=("server_label",),
            ),
        },
        default="function",
    ),
    256,
)
TOOL_CHOICE = either(
    ("none", "auto", "required"),
    tagged(
        {
            "function": record({"name": _NAME}, required=("name",)),
            "mcp": record({"server_label": _NAME}, required=("server_label",)),
        }
    ),
)
_PROMPT = record(
    {"id": _ID, "version": nullable(_NAME), "variables": nullable(record({}))}, required=("id",)
)

_CURRENT = record(
    {
        "type": choice("realtime", "transcription"),
        "model": nullable(_NAME),
        "instructions": nullable(text()),
        "output_modalities": modalities,
        "max_output_tokens": nullable(max_tokens),
        "audio": nullable(
            record(
                {
                    "input": nullable(
                        record(
                            {
                                "format": nullable(_FORMAT),
                                "noise_reduction": nullable(_NOISE_REDUCTION),
                                "transcription": nullable(_TRANSCRIPTION),
                                "turn_detection": nullable(_TURN_DETECTION),
                            }
                        )
                    ),
                    "output": nullable(AUDIO_OUTPUT),
                }
            )
        ),
        "tools": nullable(TOOLS),
        "tool_choice": nullable(TOOL_CHOICE),
        "parallel_tool_calls": nullable(boolean),
        "prompt": nullable(_PROMPT),
        "reasoning": nullable(record({"effort": nullable(_NAME)})),
        "include": nullable(array(_NAME)),
        "tracing": nullable(
            either(
                ("auto",),
                record(
                    {
                        "workflow_name": nullable(text(1024)),
                        "group_id": nullable(text(1024)),
                        "metadata": nullable(record({})),
                    }
                ),
            )
        ),
        "truncation": nullable(
            either(
                ("auto", "disabled"),
                tagged({"retention_ratio": record({"retention_ratio": number(0.0, 1.0)})}),
            )
        ),
    }
)

# --- the older form -------------------------------------------------------------------------------

_FORMATS_OF_OLD: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": SESSION_RATE},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_OLD_FORMAT = choice(*_FORMATS_OF_OLD)
_OLD = record(
    {
        "modalities": array(choice("text", "audio"), 2),
        "voice": nullable(_voice),
        "speed": number(0.25, 1.5),
        "input_audio_format": _OLD_FORMAT,
        "output_audio_format": _OLD_FORMAT,
        "input_audio_transcription": nullable(_TRANSCRIPTION),
        "input_audio_noise_reduction": nullable(_NOISE_REDUCTION),
        "turn_detection": nullable(_TURN_DETECTION),
        "max_response_output_tokens": nullable(max_tokens),
        "temperature": nullable(number(0.0, 2.0)),
    }
)
_MOVED = {
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "input_audio_format": ("audio", "input", "format"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
}
_OURS = ("id", "object", "expires_at", "client_secret")
"""Fields that the server alone sets: clients send back what they were shown."""


def _place(session: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Put ``value`` at ``path`` unless the client said it there, too."""
    for name in path[:-1]:
        if not isinstance(session.get(name), dict):
            session[name] = {}
        session = session[name]
    session.setdefault(path[-1], value)


def _renewed(name: str, value: Any) -> Any:
    match name:
        case "input_audio_format" | "output_audio_format":
            return dict(_FORMATS_OF_OLD[value])
        case "modalities":
            return ["audio"] if "audio" in value else ["text"]
        case _:
            return value


# --- what others call -----------------------------------------------------------------------------


def validate(session: object, prefix: str = "session") -> dict[str, Any]:
    """A client's session object in the current form, with what it said and nothing added.

    ``prefix`` is how errors name the object. The argument is left as it was; the result shares
    nothing with it down to ``audio.input`` and ``audio.output``. Raises EventError.
    """
    given = as_object(session, prefix)
    _CURRENT(given, prefix)
    _OLD(given, prefix)
    result = {
        name: value for name, value in given.items() if name not in _MOVED and name not in _OURS
    }
    if isinstance(audio := result.get("audio"), dict):
        result["audio"] = {
            name: dict(side) if isinstance(side, dict) else side for name, side in audio.items()
        }
    for name, path in _MOVED.items():
        if name in given:
            _place(result, path, _renewed(name, given[name]))
    return result


def merge(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """``current`` with what ``update`` says; both as ``validate`` or ``effective`` gives them, and
    both left as they were. ``audio`` and what it holds are merged field by field, turn detection
    too while its type stays; everything else is replaced whole."""
    result = {**current, **{name: value for name, value in update.items() if name != "audio"}}
    audio = _both(current.get("audio"), update.get("audio"))
    for side in ("input", "output"):
        old, new = _part(current, side), _part(update, side)
        audio[side] = {**old, **new}
        if isinstance(detection := new.get("turn_detection"), dict):
            before = old.get("turn_detection")
            if isinstance(before, dict) and before.get("type") == detection["type"]:
                detection = {**before, **detection}
            audio[side]["turn_detection"] = _detection(detection)
        if isinstance(reduction := new.get("noise_reduction"), dict):
            audio[side]["noise_reduction"] = _both(old.get("noise_reduction"), reduction)
    result["audio"] = audio
    return result


def effective(
    session: Mapping[str, Any], *, id: str, model: str | None, expires_at: int | None = None
) -> dict[str, Any]:
    """The session object as ``session.created`` shows it: a validated one with the defaults filled
    in. ``id`` is ``sess_...``; ``model`` counts where the session names none; ``expires_at`` is
    Unix time in seconds, left out where None."""
    shown: dict[str, Any] = {
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": SESSION_RATE},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": _detection({"type": "server_vad"}),
            },
            "output": {
                "format": {"type": "audio/pcm", "rate": SESSION_RATE},
                "voice": None,
                "speed": 1.0,
            },
        },
    }
    if expires_at is not None:
        shown["expires_at"] = expires_at
    said = {name: value for name, value in session.items() if name != "model" or value is not None}
    return merge(shown, said)


def _both(old: object, new: object) -> dict[str, Any]:
    return {**(old if isinstance(old, dict) else {}), **(new if isinstance(new, dict) else {})}


def _part(session: Mapping[str, Any], side: str) -> dict[str, Any]:
    """``audio.input`` or ``audio.output`` of any session object, empty where it has none."""
    audio = session.get("audio")
    part = audio.get(side) if isinstance(audio, Mapping) else None
    return dict(part) if isinstance(part, Mapping) else {}


def _detection(said: Mapping[str, Any]) -> dict[str, Any]:
    """Turn detection with its defaults."""
    defaults: dict[str, Any] = {"create_response": True, "interrupt_response": True}
    match said["type"]:
        case "semantic_vad":
            defaults["eagerness"] = "auto"
        case _:
            defaults |= {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
            defaults["idle_timeout_ms"] = None
    return {"type": said["type"], **defaults, **said}


@frozen(slots=True)
class TurnDetection:
    """How the edge tells turns apart; durations in seconds.

    ``threshold`` is 0 to 1, ``prefix`` the sound before the first loud one that belongs to a turn,
    ``silence`` what ends it. ``responds``: an agent may answer when a turn ends without being
    asked; ``interrupts``: what it says is silenced when one begins. ``idle``: it is asked to speak
    after this long without a turn, None for never.
    """

    threshold: float = 0.5
    prefix: float = 0.3
    silence: float = 0.5
    responds: bool = True
    interrupts: bool = True
    idle: float | None = None


_LARGEST = 1e9
"""Further than any setting can mean, and no further than arithmetic goes: a backend says it."""
_EAGERNESS = {"low": 1.0, "medium": 0.6, "high": 0.3, "auto": 0.6}
"""Seconds of silence that end a turn where the client wants turns told apart by their meaning. The
edge hears only loudness, so this is as near as it comes."""


def turn_detection(session: Mapping[str, Any]) -> TurnDetection | None:
    """The settings in a session object (of ``effective``, or a backend's own, of whatever form);
    None where the client ends its turns itself."""
    said = _part(session, "input").get("turn_detection", session.get("turn_detection"))
    if not isinstance(said, Mapping):
        return None
    idle = _number(said, "idle_timeout_ms", 0.0)
    semantic = said.get("type") == "semantic_vad"
    silence = _EAGERNESS.get(str(said.get("eagerness")), 0.6)
    return TurnDetection(
        threshold=_number(said, "threshold", 0.5),
        prefix=_number(said, "prefix_padding_ms", 300.0) / 1000,
        silence=silence if semantic else _number(said, "silence_duration_ms", 500.0) / 1000,
        responds=said.get("create_response") is not False,
        interrupts=said.get("interrupt_response") is not False,
        idle=idle / 1000 if idle > 0 else None,
    )


def _number(said: Mapping[str, Any], name: str, default: float) -> float:
    value = said.get(name)
    if not isinstance(value, int | float):
        return default
    return float(max(-_LARGEST, min(value, _LARGEST)))
