"""The lite agent as a target.

Operations, where the upper half of a kind is the path::

    0-3  a datagram as it is
    4-7  a request signed under our password, with the attributes that the argument lists
      8  the same one again
      9  media came
     10  ICE restarts
     11  time passes

What is asked of the outcome: only who signed is believed or answered, answers go back the way the
request came, and what is kept stays within ``IceLimits``.
"""

from collections.abc import Iterator

from attrs import define, field

from stunroute import stun
from stunroute.address import Address
from transceiver.config import IceLimits
from transceiver.ice import Credentials, IceLite
from transceiver.path import Path

from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, played
from .target import Run, insist

LIMITS = IceLimits(validated_paths=3, requests=8, pending=4)
PATHS = tuple(
    Path(
        Address.of("192.0.2.1", 1000 + n // 2),
        Address.of("203.0.113.1", 3478 + (n & 1)),
        Address.of("10.0.0.1", 4000 + n // 8),
    )
    for n in range(16)
)
_OURS = tuple(Credentials(b"ours%d" % n, b"a password of ours, %d" % n) for n in range(3))
_THEIRS = Credentials(b"them", b"a password of theirs, long enough")
_KEYS = tuple(stun.IntegrityKey(one.password) for one in _OURS)


@define(slots=True)
class _Scene:
    agent: IceLite
    sha256: bool
    now: float = 0.0
    generation: int = 0
    last: bytes = b""
    said: list[str] = field(factory=list)


def make() -> Run:
    """The target."""

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        agent = IceLite(local=_OURS[0], remote=_THEIRS, limits=LIMITS)
        scene = _Scene(agent, bool(setting & 1))
        for kind, argument in row:
            path = PATHS[kind >> 4]
            stranger = _carry_out(scene, kind & 15, path, argument)
            _check(scene, path, stranger)
        return scene.said

    return played(play)


def _carry_out(scene: _Scene, kind: int, path: Path, argument: bytes) -> bool:
    """Whether a stranger has spoken."""
    agent = scene.agent
    match kind:
        case 0 | 1 | 2 | 3:
            believed = agent.receive_stun(argument, path, scene.now)
            stranger = argument != scene.last
            insist(not (stranger and believed), "nobody is believed who has not signed")
            return stranger
        case 4 | 5 | 6 | 7:
            which = scene.generation if kind & 3 else max(0, scene.generation - 1)
            scene.last = _signed(which, argument, scene.sha256)
            agent.receive_stun(scene.last, path, scene.now)
        case 8:
            agent.receive_stun(scene.last, path, scene.now)
        case 9:
            agent.note_media(path, scene.now)
        case 10 if scene.generation < 2:
            scene.generation += 1
            agent.restart(_OURS[scene.generation], _THEIRS, scene.now)
        case 11:
            scene.now += (argument[0] if argument else 1) / 4
            expire(agent, scene.now, lambda: None)
    return False


def _check(scene: _Scene, path: Path, stranger: bool) -> None:
    agent = scene.agent
    answers = list(drained(agent.next_transmit))
    insist(not (stranger and answers), "a stranger is not answered")
    insist(len(answers) <= LIMITS.pending, "answers that wait are bounded")
    for answer in answers:
        scene.said.append(f"{answer.path.client} {answer.data.hex()}")
        insist(answer.path == path, "an answer goes where the request came from")
    scene.said += [repr(event) for event in drained(agent.next_event)]
    insist(agent.validated <= LIMITS.validated_paths, "validated pairs are bounded")
    insist((agent.selected is None) == (agent.validated == 0), "what is valid is used")


def _signed(generation: int, argument: bytes, sha256: bool) -> bytes:
    """A request or, behind an octet of ones, an indication; then an octet that makes the
    transaction, then attributes: type, length, value."""
    attributes, at = [(int(stun.Attribute.USERNAME), _OURS[generation].ufrag + b":them")], 2
    while at + 3 <= len(argument) and len(attributes) < 12:
        value = argument[at + 3 : at + 3 + argument[at + 2]]
        attributes.append((int.from_bytes(argument[at : at + 2], "big"), value))
        at += 3 + argument[at + 2]
    classes = stun.MessageClass
    return stun.build(
        stun.Method.BINDING,
        classes.INDICATION if argument[:1] == b"\xff" else classes.REQUEST,
        argument[1:2].ljust(12, b"t"),
        attributes,
        integrity=_KEYS[generation],
        sha256=sha256,
    )


def _ice_rows() -> Iterator[bytes]:
    priority, control = b"\x00\x24\x04\x6e\x00\x01\xff", b"\x80\x2a\x08" + bytes(8)
    plain = b"\x00\x01" + priority + control
    for more in (b"", b"\x00\x25\x00", b"\xc0\x01\x04\x00\x00\x00\x05", b"\x80\x29\x08" + bytes(8)):
        again = b"\x00\x02" + priority + control + more
        row = [(5, plain), (0x15, again), (0x08, b""), (9, b""), (11, b"\x10"), (0x25, again)]
        yield encode(0, row)
        yield encode(1, [*row, (10, b""), (5, again), (4, plain), (11, b"\xff"), (4, plain)])
    yield encode(0, [(5, b"\x00\x03" + priority + b"\x00\x77\x01a"), (5, b"\xff\x01")])


SEEDS = tuple(_ice_rows())
"""Rows that reach a little of everything."""
