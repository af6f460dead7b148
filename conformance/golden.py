"""The trace of a replay, and the one it is held to.

A golden trace is ``NAME.jsonl`` beside the recording: one JSON object for each packet and event of
the replay and one for the verdict. The bytes are compared elsewhere. This file is for people, who
see in its diff what a change did to the conversation, and for a change in the story itself, which
no byte of the recording would show.
"""

import json
from pathlib import Path
from typing import Any

from attrs import define, field

from stunroute.address import Address
from transceiver.events import ChannelClosed, ChannelOpened, DataEnded, MessageReceived

from .replay import Agreed, DataEvent, Exact, Happened, Parted, Passed, Verdict, Witnessed
from .story import Line, Teller


@define(slots=True)
class Trace:
    """A witness of a replay that keeps its story."""

    show_addresses: bool = False
    lines: list[Line] = field(factory=list)
    _teller: Teller = field(init=False)
    _clients: int = 0

    def __attrs_post_init__(self) -> None:
        self._teller = Teller(show_addresses=self.show_addresses)

    def __call__(self, witnessed: Witnessed) -> None:
        match witnessed:
            case Passed(packet=packet, upward=upward):
                client, relay = packet.source, packet.destination
                if not upward:
                    client, relay = relay, client
                self._introduce(client, relay)
                self.lines.append(self._teller.tell(packet))
            case Agreed(profile=profile):
                seconds = self.lines[-1].seconds if self.lines else 0.0
                text, detail = f"keys agreed, {profile or 'no SRTP'}", {"profile": profile}
                self.lines.append(Line(None, seconds, "", "", "keys", text, detail))
            case Happened(event=event):
                seconds = self.lines[-1].seconds if self.lines else 0.0
                text, detail = data_text(event)
                self.lines.append(Line(None, seconds, "", "", "data", text, detail))

    def _introduce(self, client: Address, relay: Address) -> None:
        names = self._teller.names
        if client not in names:
            self._clients += 1
            names[client] = "client" if self._clients == 1 else f"client{self._clients}"
        names.setdefault(relay, "relay")


def data_text(event: DataEvent) -> tuple[str, dict[str, Any]]:
    """What happened to a data channel, in words and for JSON. Of a message its length is told, not
    its content."""
    match event:
        case ChannelOpened(channel=channel, label=label, ordered=ordered, negotiated=negotiated):
            words = f"channel {channel} opened, {json.dumps(label)}"
            words += "" if ordered else ", unordered"
            words += ", negotiated" if negotiated else ""
            told = {"channel": channel, "label": label}
            return words, {**told, "ordered": ordered, "negotiated": negotiated}
        case MessageReceived(channel=channel, message=message):
            kind = "text" if isinstance(message, str) else "binary"
            size = len(message.encode() if isinstance(message, str) else message)
            words = f"{kind} message of {size} bytes on channel {channel}"
            return words, {"channel": channel, "message": kind, "length": size}
        case ChannelClosed(channel=channel):
            return f"channel {channel} closed", {"channel": channel}
        case DataEnded(detail=detail):
            return f"no more data channels: {detail}", {}


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """A verdict for JSON; what is not set is left out."""
    match verdict:
        case Exact(steps=steps, packets=packets, draws=draws, truncated=truncated):
            told = {"verdict": "exact", "steps": steps, "packets": packets, "draws": draws}
            return {**told, "truncated": truncated} if truncated else told
        case Parted():
            places = {
                "step": verdict.step,
                "packet": verdict.packet,
                "draw": verdict.draw,
                "offset": verdict.offset,
                "expected": verdict.expected or None,
                "got": verdict.got or None,
            }
            found = {name: value for name, value in places.items() if value is not None}
            return {"verdict": "parted", "what": verdict.what, **found}


def render(trace: Trace, verdict: Verdict) -> list[str]:
    """The lines of a golden trace."""
    told = [line.as_dict() for line in trace.lines]
    return [dumps(entry) for entry in (*told, verdict_dict(verdict))]


def dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def path_of(recording: Path) -> Path:
    return recording.with_suffix(".jsonl")


def write(recording: Path, lines: list[str]) -> None:
    """Replace the golden trace of a recording, at once or not at all."""
    path = path_of(recording)
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    part.replace(path)


def compare(recording: Path, lines: list[str]) -> str:
    """What differs from the golden trace, in a few words; empty if nothing does."""
    path = path_of(recording)
    try:
        golden = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return f"{path.name} is not there; --update-golden writes it"
    except (OSError, UnicodeDecodeError) as error:
        return f"{path.name} cannot be read: {error}"
    for number, (expected, got) in enumerate(zip(golden, lines, strict=False), start=1):
        if expected != got:
            return f"{path.name}, line {number}: expected {_text(expected)}, got {_text(got)}"
    if len(golden) != len(lines):
        return f"{path.name} has {len(golden)} lines, the trace {len(lines)}"
    return ""


def _text(line: str) -> str:
    """The readable part of a golden line."""
    try:
        entry = json.loads(line)
        return str(entry.get("text") or entry.get("verdict") or line)
    except (ValueError, AttributeError):
        return line
