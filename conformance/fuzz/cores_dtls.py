"""DTLS connections as targets: one side under test, an honest peer on the other.

The setting says where it begins: with nothing said, with the handshake behind it, with nothing said
and a server that asks for a cookie, or with the first few datagrams of the handshake delivered, so
that what stands late in it is not always ten right operations away. Then come operations::

    0  a datagram, as it is                        8  the peer sends application data
    1  the peer's next datagram                    9  the peer seals content of any type
    2  the same, with octets altered              10  we send application data
    3  the same, given and kept                   11  time passes
    4  the peer's next datagram is lost           12  the peer's datagrams change places
    5  our datagrams reach the peer               13  we close
    6  a handshake message in the clear           14  the peer closes
    7  a fragment of one                          15  all that is under way arrives

What is asked of the outcome: data that comes out was put in by the peer, in no greater number; a
connection fails or is closed only when the peer sealed something that says so; no answer is longer
than what a flight may be; and no timer stays due.
"""

from collections import deque
from collections.abc import Iterator

from attrs import define, field

from transceiver.config import DtlsLimits
from transceiver.dtls import DtlsConnection, Identity, Role, Stage
from transceiver.dtls import record as records
from transceiver.dtls.events import ApplicationData, Event, Failed, HandshakeComplete, PeerClosed
from transceiver.dtls.messages import Fragment, Message
from transceiver.keying import SrtpProfile

from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, patched, played, settle
from .stock import NOT_BEFORE, Master, Stream
from .target import Run, insist

_FLIGHT = 40
"""Datagrams that may follow from one: a flight with a long certificate, or a few of them."""


@define(slots=True)
class Scene:
    """``subject`` is under test, ``peer`` is honest; ``pending`` is what the peer has sent and the
    subject has not been given, ``out`` what goes the other way."""

    subject: DtlsConnection
    peer: DtlsConnection
    now: float = 0.0
    pending: deque[bytes] = field(factory=deque)
    out: deque[bytes] = field(factory=deque)
    said: list[object] = field(factory=list)
    given: dict[bytes, int] = field(factory=dict)
    """What the peer has sealed as application data, and how often."""
    meant: bool = False
    """The peer has sealed something that may end it."""
    forged: int = 1000

    def collect(self) -> None:
        """Take what both have to say."""
        count = 0
        for datagram in drained(self.subject.next_transmit):
            count += 1
            self.out.append(datagram)
            self.said.append(datagram)
        insist(count <= _FLIGHT, "one datagram makes us send no more than a flight")
        events: Iterator[Event] = drained(self.subject.next_event)
        for event in events:
            self.note(event)
        self.pending.extend(drained(self.peer.next_transmit))
        for _ in drained(self.peer.next_event):
            pass
        while len(self.out) > 64:
            self.out.popleft()
        while len(self.pending) > 64:
            self.pending.popleft()

    def note(self, event: Event) -> None:
        match event:
            case ApplicationData(data):
                left = self.given.get(data, 0)
                insist(left > 0, "data that comes out was put in, as often")
                self.given[data] = left - 1
            case Failed() | PeerClosed():
                insist(self.meant, "nothing that a stranger sends ends a connection")
            case HandshakeComplete():
                insist(self.subject.stage is not Stage.HANDSHAKING, "complete is established")
        self.said.append(type(event).__name__)

    def give(self, datagram: bytes) -> None:
        self.subject.receive_datagram(datagram, self.now)
        self.collect()

    def arrive(self) -> None:
        """Let our datagrams reach the peer."""
        while self.out:
            self.peer.receive_datagram(self.out.popleft(), self.now)
        self.collect()


def _connection(role: Role, verify: bool) -> DtlsConnection:
    name, other = (role.value, "server" if role is Role.CLIENT else "client")
    return DtlsConnection(
        role=role,
        identity=_identity(name),
        fingerprints=(_identity(other).fingerprint,),
        entropy=Stream(f"dtls {name}"),
        limits=DtlsLimits(),
        profiles=tuple(SrtpProfile),
        verify_hello=verify,
    )


_IDENTITIES: dict[str, Identity] = {}


def _identity(name: str) -> Identity:
    if name not in _IDENTITIES:
        _IDENTITIES[name] = Identity.generate(Stream(f"identity {name}"), not_before=NOT_BEFORE)
    return _IDENTITIES[name]


def _fresh(role: Role, *, verify: bool = False) -> Scene:
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    scene = Scene(_connection(role, verify), _connection(other, verify))
    scene.subject.start(0.0)
    scene.peer.start(0.0)
    scene.collect()
    return scene


def _established(role: Role) -> Scene:
    scene = _fresh(role)
    settle(scene)
    assert scene.subject.stage is scene.peer.stage is Stage.ESTABLISHED
    scene.said.clear()
    return scene


def _underway(role: Role, count: int) -> Scene:
    """A handshake of which so many datagrams have arrived, turn by turn."""
    scene = _fresh(role)
    while count and (scene.out or scene.pending):
        if scene.out:
            scene.peer.receive_datagram(scene.out.popleft(), scene.now)
            scene.collect()
            count -= 1
        if count and scene.pending:
            scene.give(scene.pending.popleft())
            count -= 1
    scene.said.clear()
    return scene


def make(role: Role) -> Run:
    """The target whose subject has that role."""
    begun = (_underway(role, count) for count in range(1, 6))
    scenes = (_fresh(role), _established(role), _fresh(role, verify=True), *begun)
    masters = [Master(scene) for scene in scenes]

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        scene = masters[setting & 7].copy()
        for kind, argument in row:
            _carry_out(scene, kind & 15, argument)
        expire(scene.subject, scene.now, scene.collect)
        settle(scene)
        return scene.said, scene.subject.stage, scene.subject.refusal

    return played(play)


def _carry_out(scene: Scene, kind: int, argument: bytes) -> None:
    pending = scene.pending
    match kind:
        case 0:
            scene.give(argument)
        case 1 if pending:
            scene.give(pending.popleft())
        case 2 if pending:
            scene.give(patched(pending.popleft(), argument))
        case 3 if pending:
            scene.give(patched(pending[0], argument))
        case 4 if pending:
            pending.popleft()
        case 5:
            scene.arrive()
        case 6 | 7 if len(argument) >= 2:
            scene.give(_forged(scene, kind, argument))
        case 8 | 9 | 10 | 13 | 14:
            _act(scene, kind, argument)
        case 11:
            scene.now += (argument[0] if argument else 1) / 10
            expire(scene.subject, scene.now, scene.collect)
            expire(scene.peer, scene.now, scene.collect)
        case 12 if pending:
            pending.rotate(1)
        case 15:
            settle(scene)


def _forged(scene: Scene, kind: int, argument: bytes) -> bytes:
    """A record in the clear, as anybody can make one."""
    scene.forged += 1
    type_, sequence, body = argument[0], argument[1] & 15, argument[2:]
    if kind == 6 or len(body) < 2:
        raw = Message.of(type_, sequence, body).raw
    else:
        offset, size, body = body[0] * 16, body[1] * 16, body[2:]
        raw = Fragment.of(type_, max(size, offset + len(body)), sequence, offset, body).raw
    return records.encode(records.ContentType.HANDSHAKE, scene.forged, raw)


def _act(scene: Scene, kind: int, argument: bytes) -> None:
    """What the applications do, and an honest peer's keys in the hands of one that is not."""
    subject, peer = scene.subject, scene.peer
    match kind:
        case 8 if peer.stage is Stage.ESTABLISHED:
            if argument:
                scene.given[argument] = scene.given.get(argument, 0) + 1
            peer.send(argument, scene.now)
        case 9 if peer.stage is Stage.ESTABLISHED and argument:
            content = argument[1:]
            type_ = 20 + argument[0] % 6
            if type_ == records.ContentType.APPLICATION_DATA:
                scene.given[content] = scene.given.get(content, 0) + 1
            scene.meant = True
            scene.pending.append(peer._sender.sealed(type_, content))
        case 10 if len(argument) <= 1200 and subject.stage is Stage.ESTABLISHED:
            subject.send(argument, scene.now)
        case 13:
            subject.close(scene.now)
        case 14:
            scene.meant = True
            peer.close(scene.now)
    scene.collect()


SEEDS = tuple(
    encode(established, row)
    for established in range(8)
    for row in (
        [(15, b"")],
        [(5, b""), (1, b""), (5, b""), (1, b""), (15, b""), (8, b"hello"), (1, b"")],
        [(5, b""), (3, b"\x00\x20\x01"), (1, b""), (11, b"\x0a"), (15, b"")],
        [(5, b""), (2, b"\x00\x0e\xff"), (11, b"\x05"), (5, b""), (15, b"")],
        [(6, b"\x01\x00" + bytes(60)), (7, b"\x0b\x01\x00\x08" + bytes(9)), (15, b"")],
        [(8, b"one"), (8, b"two"), (12, b""), (3, b""), (1, b""), (15, b"")],
        [(9, b"\x01\x02\x28"), (9, b"\x02\x14\x00\x00"), (15, b"")],
        [(10, b"ours"), (5, b""), (14, b""), (15, b"")],
        [(13, b""), (0, b"\x17\xfe\xfd\x00\x01" + bytes(8)), (15, b"")],
    )
)
"""Rows that reach a little of everything."""
