"""The recordings in ``pcaps/`` and what must have happened in each of them.

A recording is named ``<client>-<story>``. Every story but ``plain`` leaves a mark that can be read
from the packets and steps alone, so a recording that missed its story is found out, by whoever
makes it and by the tests.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from conformance import capture, sidecar
from conformance.sidecar import Acted, Opened, Received, Sidecar
from source import ROOT
from stunroute import stun
from stunroute.demux import Kind, classify

PCAPS = ROOT / "pcaps"
STORIES = {
    "plain": "a test tone, sent and heard",
    "rebinding": "the client's NAT gives it another port during the call",
    "restart": "the client restarts ICE during the call",
    "loss": "ten packets in a hundred are lost on each way, as many are late",
    "relay-restart": "the relay is killed during the call and started again",
    "data": "events and messages on data channels, which are closed and opened again",
    "data-loss": "messages without audio; ten packets in a hundred are lost on each way",
}
NAMES = (
    *(f"{client}-{story}" for client in ("chromium", "firefox") for story in STORIES),
    "aiortc-plain",
    "aiortc-data",
)

SILENCE = 0.3
"""Seconds without a packet of the client that only a dead relay explains."""
LOST_TOGETHER = 10
"""Packets of 20 ms that such a silence swallows, at least."""
APPLICATION_DATA = b"\x17"
"""First byte of a DTLS record that holds an SCTP packet (RFC 5246, 6.2.1)."""
MESSAGES = 4
"""Messages that come back on each of the two channels, at least."""
HOLES = 5
"""Places at which packets are missing that only a lossy network explains."""


def story_of(path: Path) -> str:
    return path.stem.partition("-")[2]


def marks(path: Path) -> set[str]:
    """The stories that a recording shows marks of; none for a plain one."""
    record = sidecar.load(path.with_suffix(".toml"))
    packets = list(upward(record, path))
    restarted = _restarted(record, packets)
    found = {
        # A browser that restarts ICE may open another socket: that is no doing of a NAT.
        "rebinding": _moved(packets) and not restarted,
        "restart": restarted,
        "loss": _full_of_holes(packets),
        "relay-restart": _silent(packets),
        "data": _conversed(record) and not _records_missing(packets),
        "data-loss": _conversed(record) and _records_missing(packets),
    }
    return {story for story, marked in found.items() if marked}


def upward(record: Sidecar, path: Path) -> Iterator[capture.Packet]:
    """The client's packets."""
    numbers = {step.input.packet for step in record.steps if isinstance(step.input, Received)}
    return (packet for packet in capture.read(path) if packet.number in numbers)


def _media(packets: list[capture.Packet]) -> list[capture.Packet]:
    return [packet for packet in packets if classify(packet.payload) is Kind.RTP]


def _moved(packets: list[capture.Packet]) -> bool:
    """Media comes from one address first, and from another one only in the end."""
    sources = [packet.source for packet in _media(packets)]
    return sources[:1] != sources[-1:] and len(set(sources)) == 2


def _restarted(record: Sidecar, packets: list[capture.Packet]) -> bool:
    """The application was given a second offer, and checks carry two of our ufrags."""
    verbs = [step.input.verb for step in record.steps if isinstance(step.input, Acted)]
    checks = [packet.payload for packet in packets if classify(packet.payload) is Kind.STUN]
    names = {name for check in checks if (name := stun.peek_username_untrusted(check)) is not None}
    return "reoffer" in verbs and len({name.partition(b":")[0] for name in names}) == 2


def _conversed(record: Sidecar) -> bool:
    """Data channels were taken, and the application answered on them."""
    opened = record.steps[0].input
    acts = [step.input for step in record.steps if isinstance(step.input, Acted)]
    channels = [act.arguments["channel"] for act in acts if act.verb == "send_message"]
    return isinstance(opened, Opened) and opened.data and len(channels) >= 2 * MESSAGES


def _records_missing(packets: list[capture.Packet]) -> bool:
    """DTLS numbers its records, and some of those that stand alone in their datagrams never came,
    nor did all come in their order."""
    alone = [packet.payload for packet in packets if packet.payload[:1] == APPLICATION_DATA]
    numbers = [int.from_bytes(payload[3:11], "big") for payload in alone]
    holes = sum(after - before > 1 for before, after in pairwise(sorted(set(numbers))))
    return holes >= HOLES and numbers != sorted(numbers)


def _jumps(media: list[capture.Packet]) -> list[int]:
    """How far apart neighbours in the order of arrival are in sequence numbers: 1 where all is
    well, more at a hole, less where a packet was overtaken."""
    numbers = [int.from_bytes(packet.payload[2:4], "big") for packet in media]
    return [(after - before + 0x8000) % 0x10000 - 0x8000 for before, after in pairwise(numbers)]


def _full_of_holes(packets: list[capture.Packet]) -> bool:
    media = _media(packets)
    numbers = [0]
    for jump in _jumps(media):
        numbers.append(numbers[-1] + jump)
    holes = sum(after - before > 1 for before, after in pairwise(sorted(set(numbers))))
    overtaken = any(jump < 0 for jump in _jumps(media))
    return holes >= HOLES and overtaken


def _silent(packets: list[capture.Packet]) -> bool:
    """Nothing comes for a while, and what was sent meanwhile never does."""
    media = _media(packets)
    return any(
        after.time_ns - before.time_ns > SILENCE * 1e9 and jump > LOST_TOGETHER
        for (before, after), jump in zip(pairwise(media), _jumps(media), strict=True)
    )
