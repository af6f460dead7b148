"""The negotiation and the jitter buffer as targets.

Both keep state between what strangers send, and neither speaks a protocol of its own: an input is
texts, or steps of time and sequence numbers.
"""

from collections.abc import Iterator
from itertools import pairwise

from transceiver import sdp
from transceiver.config import VoiceLimits
from transceiver.errors import CallError
from transceiver.voice.jitter import JitterBuffer

from .operations import decode as operations_of
from .operations import encode
from .play import played
from .stock import Master
from .stock_calls import make_endpoint
from .target import Run, again, insist, text_of

# --- negotiation --------------------------------------------------------------------------------


def negotiation() -> Run:
    """An offer opens a call; what stands behind a NUL is offered next, or sent as a fragment where
    that is not taken for an offer. Answers can be read by the parser that reads offers."""
    master = Master(make_endpoint())

    def play(data: bytes) -> object:
        core = master.copy()
        first, *later = text_of(data).split("\x00")[:4]
        said = []
        try:
            opened = core.open_call(first, 0.0)
        except CallError as error:
            insist(not core.calls, "a refused offer leaves nothing behind")
            return str(error)
        again(sdp.parse_untrusted, opened.answer)
        said.append(opened.answer)
        for text in later or [first]:
            try:
                answer = core.reoffer(opened.call, text, 1.0)
                again(sdp.parse_untrusted, answer)
                said.append(answer)
            except CallError as error:
                said.append(str(error))
            try:
                said.append(str(core.restart_ice(opened.call, text, 2.0)))
            except CallError as error:
                said.append(str(error))
        insist(core.calls == [opened.call], "the call is still there")
        return said

    return played(play)


# --- the jitter buffer --------------------------------------------------------------------------


def jitter() -> Run:
    """Operations: 0-7 a packet comes (steps of sequence and timestamp, its length), 8-13 a piece
    of sound is wanted, 14 time passes, 15 the source is forgotten."""
    limits = VoiceLimits(packets=16)

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        buffer = JitterBuffer((8000, 48000)[setting & 1], limits)
        now, sequence, timestamp = 1.0, 1000, (setting << 24) & 0xFFFFFFFF
        said: list[str] = []
        for kind, argument in row:
            steps = [int.from_bytes(argument[at : at + 2], "big", signed=True) for at in (0, 2, 4)]
            match kind & 15:
                case 15:
                    buffer.restart()
                case 14:
                    now += abs(steps[0]) / 1000
                case wanted if wanted >= 8:
                    now += (wanted - 8) / 100
                    said.append(repr(buffer.pull(now)))
                    insist(abs(buffer.surplus(now)) < 1e9, "what is held back is a number")
                case _:
                    now += (kind >> 4) / 100
                    sequence = max(0, sequence + (steps[0] if argument else 1))
                    timestamp = (timestamp + (steps[1] * 4 if argument else 960)) & 0xFFFFFFFF
                    duration = 1 + abs(steps[2]) % 5760
                    buffer.insert(argument[6:], sequence, timestamp, duration, now)
            insist(len(buffer._packets) <= limits.packets, "packets that wait are bounded")
            order = [packet.sequence for packet in buffer._packets]
            insist(all(one < other for one, other in pairwise(order)), "they wait in their order")
            insist(0 < buffer.target <= limits.target_maximum, "the target is within its bounds")
        counters = buffer.counters
        insist(min(counters.lost, counters.late, counters.duplicates) >= 0, "counts are counts")
        return said

    return played(play)


def _jitter_rows() -> Iterator[bytes]:
    packet = b"\x00\x01\x00\xf0\x03\xc0voice"
    lost, late = b"\x00\x03\x02\xd0\x03\xc0x", b"\xff\xfe\xfe\x20\x03\xc0y"
    for setting in range(2):
        talk = [(0x22, packet), (10, b"")] * 6
        yield encode(setting, [*talk, (0x20, lost), (9, b""), (10, b""), (0, late), (10, b"")] * 2)
        yield encode(setting, [*talk, (14, b"\x07\xff"), *talk, (15, b""), *talk])


JITTER_SEEDS = tuple(_jitter_rows())
"""Rows that reach a little of everything."""
