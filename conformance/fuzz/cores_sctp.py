"""SCTP associations and data channels as targets: one side under test, a peer on the other whose
packets may be anything behind a right tag and a right checksum.

The setting says where it begins: before the handshake, or behind it. Then come operations::

    0  a packet, as it is                          8  the peer sends a message
    1  the peer's next packet                      9  we send one
    2  the same, octets altered, checksum right   10  streams are reset, by us or by the peer
    3  the same, given and kept                   11  time passes
    4  the peer's next packet is lost             12  the peer's packets change places
    5  our packets reach the peer                 13  we end it, this way or that
    6  chunks behind the right header             14  the peer ends it
    7  one DATA chunk that could be the next      15  all that is under way arrives

What is asked of the outcome: nothing raises, what is kept stays within ``SctpLimits``, no timer
stays due, and packets are no longer than they may be.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import define, field
from google_crc32c import value as crc32c

from transceiver.config import ChannelLimits, SctpLimits
from transceiver.datachannel import DataChannels
from transceiver.datachannel.channels import ChannelError
from transceiver.datachannel.messages import Open
from transceiver.sctp import packet
from transceiver.sctp.association import Association, NotConnected
from transceiver.sctp.chunks import Chunk, Data
from transceiver.sctp.sendqueue import SendQueueFull

from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, patched, played, settle
from .samples import sample_chunks
from .stock import Master, Stream
from .target import Run, insist

LIMITS = SctpLimits(
    streams=32,
    receive_window=16_384,
    chunks_ahead=64,
    message=8_192,
    send_buffer=16_384,
    events=256,
)
_HELD = 64
"""Packets under way in each direction; the oldest is lost."""

Core: TypeAlias = Association | DataChannels


@define(slots=True)
class Scene:
    """``subject`` is under test. ``ours`` and ``theirs`` are the associations at the bottom of
    either side, the same as the sides where there are no channels. ``pending`` is what the peer has
    sent and the subject has not been given, ``out`` what goes the other way."""

    subject: Core
    peer: Core
    ours: Association
    theirs: Association
    now: float = 0.0
    pending: deque[bytes] = field(factory=deque)
    out: deque[bytes] = field(factory=deque)
    said: list[object] = field(factory=list)

    def collect(self) -> None:
        """Take what both have to say, events before packets."""
        for event in drained(self.subject.next_event):
            self.said.append(type(event).__name__)
        for data in drained(self.subject.next_transmit):
            insist(len(data) <= LIMITS.packet, "packets are no longer than they may be")
            self.out.append(data)
            self.said.append(data)
        for event in drained(self.subject.next_event):
            self.said.append(type(event).__name__)
        for _ in drained(self.peer.next_event):
            pass
        self.pending.extend(drained(self.peer.next_transmit))
        for queue in (self.pending, self.out):
            while len(queue) > _HELD:
                queue.popleft()

    def give(self, data: bytes) -> None:
        self.subject.receive_packet(data, self.now)
        self.collect()

    def arrive(self) -> None:
        """Let our packets reach the peer."""
        while self.out:
            self.peer.receive_packet(self.out.popleft(), self.now)
        self.collect()

    def check(self) -> None:
        """What is kept is bounded."""
        block = self.ours._block
        insist(len(block.events) <= LIMITS.events + 64, "events that wait are bounded")
        insist(len(block.packets) <= 64, "packets that wait are bounded")
        if isinstance(self.subject, DataChannels):
            insist(self.subject.count() <= ChannelLimits().channels, "channels are bounded")


def _association(name: str) -> Association:
    return Association(entropy=Stream(f"sctp {name}"), limits=LIMITS)


def _fresh_association() -> Scene:
    one, other = _association("a"), _association("b")
    return Scene(one, other, one, other)


def _fresh_channels() -> Scene:
    one, other = _association("a"), _association("b")
    limits, most = ChannelLimits(channels=8, label=64), LIMITS.message
    a = DataChannels(one, dtls_client=True, max_message_size=most, limits=limits)
    b = DataChannels(other, dtls_client=False, max_message_size=most, limits=limits)
    return Scene(a, b, one, other)


def _standing(scene: Scene) -> Scene:
    scene.subject.connect(0.0)
    scene.collect()
    settle(scene)
    scene.said.clear()
    assert scene.ours.state.value == scene.theirs.state.value == "established"
    return scene


def _target(fresh: Callable[[], Scene]) -> Run:
    masters = (Master(fresh()), Master(_standing(fresh())))

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        scene = masters[setting & 1].copy()
        if setting & 6 == 2:
            scene.subject.connect(0.0)
        elif setting & 6 == 4:
            scene.peer.connect(0.0)
        scene.collect()
        for kind, argument in row:
            _carry_out(scene, kind & 15, argument)
            scene.check()
        expire(scene.subject, scene.now, scene.collect)
        settle(scene)
        scene.check()
        return scene.said

    return played(play)


def sealed(data: bytes) -> bytes:
    """``data`` with the checksum of a packet, where it is long enough to have one."""
    if len(data) < packet.HEADER_LENGTH:
        return data
    bare = data[:8] + bytes(4) + data[12:]
    checksum: int = crc32c(bare)
    return bare[:8] + checksum.to_bytes(4, "little") + bare[12:]


def _behind_header(scene: Scene, chunks: bytes) -> bytes:
    tag = scene.ours._block.tag.to_bytes(4, "big")
    return sealed(b"\x13\x88\x13\x88" + tag + bytes(4) + chunks)


def _carry_out(scene: Scene, kind: int, argument: bytes) -> None:
    pending = scene.pending
    match kind:
        case 0:
            scene.give(argument)
        case 1 if pending:
            scene.give(pending.popleft())
        case 2 if pending:
            scene.give(sealed(patched(pending.popleft(), argument)))
        case 3 if pending:
            scene.give(sealed(patched(pending[0], argument)))
        case 4 if pending:
            pending.popleft()
        case 5:
            scene.arrive()
        case 6:
            scene.give(_behind_header(scene, argument))
        case 7 if len(argument) >= 6:
            scene.give(_behind_header(scene, next_data(scene.theirs, argument)))
        case 8 | 9 | 10 | 13 | 14:
            _act(scene, kind, argument)
        case 11:
            scene.now += (argument[0] if argument else 2) / 10
            expire(scene.subject, scene.now, scene.collect)
            expire(scene.peer, scene.now, scene.collect)
        case 12 if pending:
            pending.rotate(1)
        case 15:
            settle(scene)


def next_data(theirs: Association, argument: bytes) -> bytes:
    """DATA whose TSN is near the next one of ``theirs``: what an honest peer could never say, from
    one whose numbers fit. Of ``argument`` the first five octets say how near, which parts, the
    stream, its sequence number and the protocol; the rest is the payload."""
    ahead, flags, stream, ssn, ppid = argument[:5]
    tsn = (theirs._block.outbound.outstanding.next_tsn + ahead - 4) & 0xFFFF_FFFF
    parts = (bool(flags & 2), bool(flags & 1), bool(flags & 4))
    return Data(tsn, stream, ssn, 48 + ppid % 10, argument[5:], *parts).encode()


def _act(scene: Scene, kind: int, argument: bytes) -> None:
    """What the applications do. Being refused is an answer."""
    side = scene.peer if kind in (8, 14) or (kind == 10 and argument[:1] > b"\x7f") else None
    core = side or scene.subject
    try:
        if isinstance(core, DataChannels):
            _act_on_channels(scene, core, kind, argument)
        else:
            _act_on_association(scene, core, kind, argument)
    except (ChannelError, NotConnected, SendQueueFull, ValueError):
        pass
    scene.collect()


def _act_on_association(scene: Scene, core: Association, kind: int, argument: bytes) -> None:
    how = argument[0] if argument else 0
    match kind:
        case 8 | 9:
            lifetime = 0.5 if how & 2 else None
            retransmissions = how >> 4 if how & 4 and lifetime is None else None
            core.send(
                how >> 3 & 7,
                51,
                argument[1:] * (1 + (how & 8) * 40),
                scene.now,
                ordered=not how & 1,
                lifetime=lifetime,
                retransmissions=retransmissions,
            )
        case 10:
            core.reset_streams(tuple(octet & 31 for octet in argument[1:9]), scene.now)
        case _ if how & 1:
            core.abort(scene.now, "enough")
        case _ if how & 2:
            core.retry(scene.now)
        case _:
            core.shutdown(scene.now)


def _act_on_channels(scene: Scene, core: DataChannels, kind: int, argument: bytes) -> None:
    how, rest = (argument[0] if argument else 0), argument[1:]
    match kind:
        case 8 | 9 if how & 1:
            text = rest.decode("utf-8", "replace")
            core.open(text, ordered=not how & 2, protocol="p" * (how >> 4), now=scene.now)
        case 8 | 9:
            message = rest.decode("utf-8", "replace") if how & 2 else rest
            core.send(how >> 3 & 15, message, scene.now)
        case 10:
            core.close(how & 15, scene.now)
        case _ if how & 1:
            core.end(scene.now, "enough")
        case _:
            core.retry(scene.now)


def associations() -> Run:
    """The target whose subject is an association."""
    return _target(_fresh_association)


def channels() -> Run:
    """The target whose subject is data channels over one."""
    return _target(_fresh_channels)


def _rows() -> Iterator[bytes]:
    talk = [(8, b"\x00hello"), (9, b"\x01there"), (5, b""), (1, b""), (11, b"\x03"), (15, b"")]
    for first in range(6):
        yield encode(first, [(5, b""), (1, b""), (15, b""), *talk])
        yield encode(first, [(8, b"\x0d" + b"x" * 90), (12, b""), (4, b""), *talk])
        yield encode(first, [(13, b"\x00"), (15, b""), (14, b"\x01"), *talk])
    chunks: list[Chunk] = list(sample_chunks())
    for chunk in chunks:
        for first in (0, 1, 2):
            yield encode(first, [(6, chunk.encode()), *talk])
    for flags in range(8):
        row = [(7, bytes((4, flags, 1, 0, 3)) + b"data"), (7, bytes((6, 3, 2, 0, 3)) + b"gap")]
        yield encode(1, [*row, (11, b"\x05"), (15, b"")])
    dcep = bytes((4, 3, 4, 0, 2)) + Open("label").encode()
    yield encode(1, [(7, dcep), (15, b""), (10, b"\x04"), (15, b""), (7, dcep)])
    yield encode(1, [(10, b"\x00\x01\x02"), (15, b""), (10, b"\x80\x01"), *talk])
    yield encode(1, [(8, b"\x01name"), (15, b""), (9, b"\x0ahi"), (10, b"\x81"), *talk])


SEEDS = tuple(_rows())
"""Rows that reach a little of everything."""
