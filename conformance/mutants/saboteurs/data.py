"""Servers whose SCTP is short of a chunk, holds another value, or leaves out a check."""

from collections.abc import Callable, Iterable
from typing import Any

from google_crc32c import value as crc32c

from conformance.case import Profile
from transceiver.datachannel.channels import DataChannels
from transceiver.dtls.connection import DtlsConnection
from transceiver.dtls.flight import Sender
from transceiver.dtls.record import ContentType
from transceiver.sctp import packet, shortcut
from transceiver.sctp.association import Association
from transceiver.sctp.inbound import Inbound
from transceiver.sctp.outbound import Outbound
from transceiver.sctp.reconfiguration import Reconfiguration

from .model import Saboteur, swapping
from .wire import flipped

Chunks = list[bytes]
_TYPES = {
    0: "data",
    1: "init",
    2: "init-ack",
    3: "sack",
    4: "heartbeat",
    5: "heartbeat-ack",
    6: "abort",
    7: "shutdown",
    8: "shutdown-ack",
    9: "error",
    10: "cookie-echo",
    11: "cookie-ack",
    14: "shutdown-complete",
    130: "re-config",
    192: "forward-tsn",
}


def _split(content: bytes) -> tuple[bytes, Chunks]:
    """A packet's header, and its chunks with their padding."""
    chunks: Chunks = []
    at = packet.HEADER_LENGTH
    while at + 4 <= len(content):
        length = max(int.from_bytes(content[at + 2 : at + 4], "big"), 4)
        end = at + length + -length % 4
        chunks.append(content[at:end])
        at = end
    return content[: packet.HEADER_LENGTH], chunks


def _joined(header: bytes, chunks: Chunks) -> bytes:
    """With a checksum that is right, if there was any; nothing without a chunk."""
    if not chunks:
        return b""
    body = b"".join(chunks)
    if not any(header[8:]):
        return header + body
    bare = header[:8] + bytes(4) + body
    checksum: int = crc32c(bare)
    return header[:8] + checksum.to_bytes(4, "little") + body


def _chunked(kind: int, how: str) -> Callable[[bytes], bytes]:
    """A packet with each chunk of a type otherwise."""

    def change(content: bytes) -> bytes:
        header, chunks = _split(content)
        if not any(chunk[0] == kind for chunk in chunks):
            return content
        found: Chunks = []
        for chunk in chunks:
            found += _otherwise(chunk, how) if chunk[0] == kind else [chunk]
        return _joined(header, found)

    return change


def _otherwise(chunk: bytes, how: str) -> Chunks:
    what, _, number = how.partition("-")
    match what:
        case "lost":
            return []
        case "doubled":
            return [chunk, chunk]
        case "flag":
            return [flipped(1, 1 << int(number))(chunk)]
        case "octet":
            return [flipped(4 + int(number))(chunk)]
        case "high":
            return [flipped(4 + int(number), 0x80)(chunk)]
        case "bare":
            return [chunk[:2] + b"\0\4"]
        case "cut":
            length = int.from_bytes(chunk[2:4], "big") - 4
            return [chunk[:2] + length.to_bytes(2, "big") + chunk[4 : length + -length % 4]]
        case "behind":
            return [b"\xc1\0\0\4", chunk]
        case _:
            return [bytes((int(number),)) + chunk[1:]]


def _headed(how: str) -> Callable[[bytes], bytes]:
    what, _, number = how.partition("-")

    def change(content: bytes) -> bytes:
        header, chunks = _split(content)
        match what:
            case "octet":
                return _joined(flipped(int(number))(header), chunks)
            case "checksum":
                return flipped(8)(content)
            case "unsummed":
                return header[:8] + bytes(4) + content[12:]
            case "backwards":
                return _joined(header, chunks[::-1])
            case "untagged":
                return _joined(header[:4] + bytes(4) + header[8:], chunks)
            case _:
                return content + bytes(4)

    return change


def _sends(change: Callable[[bytes], bytes]) -> Callable[..., bytes]:
    def sealed(honest: Any, sender: Sender, content_type: int, content: bytes) -> bytes:
        if content_type == ContentType.APPLICATION_DATA:
            content = change(content)
            if not content:
                return b""
        return bytes(honest(sender, content_type, content))

    return sealed


def _reads(change: Callable[[bytes], bytes]) -> Callable[..., None]:
    def receive(honest: Any, whole: DtlsConnection, content: bytes) -> None:
        changed = change(content)
        if changed:
            honest(whole, changed)

    return receive


def _chunks() -> Iterable[Saboteur]:
    hows = (
        *("lost", "doubled", "bare", "cut", "behind-unknown", "as-254", "as-255"),
        *(f"flag-{bit}" for bit in range(4)),
        *(f"octet-{at}" for at in range(24)),
        *(f"high-{at}" for at in range(16)),
    )
    for kind, name in _TYPES.items():
        for how in hows:
            change = _chunked(kind, how)
            yield swapping(
                f"chunk/{name}-{how}",
                f"Each {name} it sends is otherwise: {how}.",
                (Sender, "sealed", _sends(change)),
            )
            yield swapping(
                f"chunk/reads-{name}-{how}",
                f"Each {name} it reads is otherwise: {how}.",
                (DtlsConnection, "_receive_data", _reads(change)),
            )
    heads = (
        *(f"octet-{at}" for at in range(8)),
        *("checksum", "unsummed", "backwards", "untagged", "longer"),
    )
    for how in heads:
        change = _headed(how)
        sends = (Sender, "sealed", _sends(change))
        reads = (DtlsConnection, "_receive_data", _reads(change))
        yield swapping(f"packet/{how}", f"Its packets are otherwise: {how}.", sends)
        yield swapping(f"packet/reads-{how}", f"It reads packets otherwise: {how}.", reads)


def _any_sum(honest: Any, data: bytes) -> bool:
    return True


def _true(honest: Any, *arguments: Any, **more: Any) -> bool:
    return True


def _false(honest: Any, *arguments: Any, **more: Any) -> bool:
    return False


def _nothing(honest: Any, *arguments: Any, **more: Any) -> None:
    return None


def _aborts_at_unknown(honest: Any, whole: Association, received: Any, now: float) -> Any:
    if any(type(chunk).__name__ == "Unknown" for chunk in received.chunks):
        return whole.abort(now, "no")
    return honest(whole, received, now)


def _checks() -> Iterable[Saboteur]:
    slowly = (shortcut, "receive_untrusted", _false)
    places: dict[str, tuple[Any, str, Any]] = {
        "any-checksum": (packet, "checksum_matches", _any_sum),
        "any-tag": (Association, "_belongs", _true),
        "no-tag": (Association, "_belongs", _false),
        "aborts-at-unknown": (Association, "_read", _aborts_at_unknown),
        "reads-nothing": (Association, "_read", _nothing),
        "no-timers": (Association, "handle_timeout", _nothing),
        "no-heartbeats-read": (Association, "_read", _without("Heartbeat")),
        "acknowledges-nothing": (Association, "_read", _without("Data")),
        "no-forward": (Inbound, "receive_forward", _false),
        "hears-no-sack": (Outbound, "receive_sack", _false),
        "opens-no-channel": (DataChannels, "_reset_by_peer", _nothing),
        "performs-nothing": (Reconfiguration, "_perform", _nothing),
    }
    for name, place in places.items():
        yield swapping(f"sctp/{name}", f"Its SCTP goes wrong: {name}.", place, slowly)


def _without(kind: str) -> Callable[..., Any]:
    def read(honest: Any, whole: Association, received: Any, now: float) -> Any:
        kept = tuple(chunk for chunk in received.chunks if type(chunk).__name__ != kind)
        if kept != received.chunks:
            received.chunks = kept
        return honest(whole, received, now) if kept else None

    return read


PROFILES = (Profile.DATACHANNEL,)
SABOTEURS = (*_chunks(), *_checks())
