"""What a call is made of, as targets: the lite agent, an endpoint with a call that is up, the
negotiation, the jitter buffer."""

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from attrs import define, field

from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, patched, played
from .stock import Master, Stream
from .target import Run, insist, text_of

# --- ICE ----------------------------------------------------------------------------------------


def ice() -> Run:
    """Operations: 0-3 a datagram as it is, 4-7 a request signed under our password with the
    attributes that the argument lists, 8 the same one again from elsewhere, 9 media came, 10 ICE
    restarts, 11 time passes. The upper half of a kind is the path."""
    from stunroute import stun
    from stunroute.address import Address
    from transceiver.config import IceLimits
    from transceiver.ice import Credentials, IceLite
    from transceiver.path import Path

    limits = IceLimits(validated_paths=3, requests=8, pending=4)
    paths = tuple(
        Path(
            Address.of("192.0.2.1", 1000 + n // 2),
            Address.of("203.0.113.1", 3478 + (n & 1)),
            Address.of("10.0.0.1", 4000 + n // 8),
        )
        for n in range(16)
    )
    locals_ = [Credentials(b"ours%d" % n, b"password of ours, long %d" % n) for n in range(3)]
    remote = Credentials(b"them", b"a password of theirs, long enough")
    keys = [stun.IntegrityKey(one.password) for one in locals_]

    def signed(generation: int, argument: bytes, sha256: bool) -> bytes:
        attributes, at = [(0x0006, locals_[generation].ufrag + b":them")], 2
        while at + 3 <= len(argument) and len(attributes) < 12:
            value = argument[at + 3 : at + 3 + argument[at + 2]]
            attributes.append((int.from_bytes(argument[at : at + 2], "big"), value))
            at += 3 + argument[at + 2]
        kind = (
            stun.MessageClass.INDICATION if argument[:1] == b"\xff" else stun.MessageClass.REQUEST
        )
        transaction = argument[1:2].ljust(12, b"t")
        key = keys[generation]
        return stun.build(1, kind, transaction, attributes, integrity=key, sha256=sha256)

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        agent = IceLite(local=locals_[0], remote=remote, limits=limits)
        now, generation, last = 0.0, 0, b""
        said: list[str] = []
        for kind, argument in row:
            path = paths[kind >> 4]
            stranger = False
            match kind & 15:
                case 0 | 1 | 2 | 3:
                    stranger = argument != last
                    insist(not agent.receive_stun(argument, path, now) or not stranger, "unsigned")
                case 4 | 5 | 6 | 7:
                    which = generation if kind & 3 else max(0, generation - 1)
                    last = signed(which, argument, bool(setting & 1))
                    agent.receive_stun(last, path, now)
                case 8:
                    agent.receive_stun(last, path, now)
                case 9:
                    agent.note_media(path, now)
                case 10 if generation < 2:
                    generation += 1
                    agent.restart(locals_[generation], remote, now)
                case 11:
                    now += (argument[0] if argument else 1) / 4
                    expire(agent, now, lambda: None)
            answers = list(drained(agent.next_transmit))
            insist(not (stranger and answers), "a stranger is not answered")
            insist(len(answers) <= limits.pending, "answers that wait are bounded")
            for answer in answers:
                said.append(f"{answer.path.client} {answer.data.hex()}")
                insist(answer.path.client == path.client, "an answer goes where the request came")
            said += [repr(event) for event in drained(agent.next_event)]
            insist(agent.validated <= limits.validated_paths, "validated pairs are bounded")
            insist((agent.selected is None) == (agent.validated == 0), "what is valid is used")
        return said

    return played(play)


def _ice_rows() -> Iterator[bytes]:
    priority, control = b"\x00\x24\x04\x6e\x00\x01\xff", b"\x80\x2a\x08" + bytes(8)
    plain = b"\x00\x01" + priority + control
    for more in (b"", b"\x00\x25\x00", b"\xc0\x01\x04\x00\x00\x00\x05", b"\x80\x29\x08" + bytes(8)):
        again = b"\x00\x02" + priority + control + more
        row = [(5, plain), (0x15, again), (0x08, b""), (9, b""), (11, b"\x10"), (0x25, again)]
        yield encode(0, row)
        yield encode(1, [*row, (10, b""), (5, again), (4, plain), (11, b"\xff"), (4, plain)])
    yield encode(0, [(5, b"\x00\x03" + priority + b"\x00\x77\x01a"), (5, b"\xff\x01")])


# --- an endpoint --------------------------------------------------------------------------------


@define(slots=True)
class _Scene:
    endpoint: object
    client: object
    call: str
    now: float = 0.0
    pending: deque[bytes] = field(factory=deque)
    said: list[str] = field(factory=list)


def endpoint() -> Run:
    """An endpoint with one call, and its client. The setting says how far the call is: its offer
    answered, or all of it up. Operations: 0-2 a datagram of the client's address, 3 one of another,
    4 the leg's datagram as it is, 5 the client's next one, 6 the same altered, 7 given and kept, 8
    lost, 9 ours reach the client, 10 the client speaks, 11 time passes, 12 we speak, 13 the client
    restarts ICE, 14 all that is under way arrives, 15 we hang up."""
    from conformance.client import Client
    from stunroute import forward
    from stunroute.address import Address
    from transceiver.events import EndReason, MessageReceived
    from transceiver.srtp import SrtpContext

    from .stock_calls import INNER, PUBLIC, make_endpoint

    home, elsewhere = Address.of("192.0.2.33", 50000), Address.of("192.0.2.34", 50000)

    def collect(scene: _Scene) -> list[bytes]:
        """What goes to the client now."""
        ours = []
        for transmit in drained(scene.endpoint.next_transmit):
            header = forward.decode_untrusted(transmit.data)
            insist(transmit.address == INNER, "everything goes to the relay")
            insist(header.client in (home, elsewhere), "nothing goes to a third party")
            ours.append(transmit.data[forward.HEADER_LENGTH :])
            scene.said.append(transmit.data.hex())
        for event in drained(scene.endpoint.next_event):
            insist(getattr(event, "call", scene.call) == scene.call, "events are of the call")
            if isinstance(event, MessageReceived):
                insist(event.message in ("hi", b"hi"), "messages are the client's")
            scene.said.append(type(event).__name__)
        scene.pending.extend(one.data for one in drained(scene.client.next_transmit))
        while len(scene.pending) > 64:
            scene.pending.popleft()
        return ours

    def give(scene: _Scene, payload: bytes, client: Address = home) -> list[bytes]:
        datagram = forward.encode(client, PUBLIC) + payload
        scene.endpoint.receive_datagram(datagram, INNER, scene.now)
        return collect(scene)

    def talk(scene: _Scene) -> None:
        ours = collect(scene)
        for _ in range(30):
            for data in ours:
                scene.client.receive_datagram(data, PUBLIC, scene.now)
            ours = collect(scene)
            while scene.pending:
                ours += give(scene, scene.pending.popleft())
            if not ours:
                return

    def fresh() -> _Scene:
        client = Client(entropy=Stream("client"), address=home, contents=("audio", "data"))
        core = make_endpoint()
        answered = core.open_call(client.offer(), 0.0)
        client.accept(answered.answer, 0.0)
        scene = _Scene(core, client, answered.call)
        collect(scene)
        return scene

    def up() -> _Scene:
        scene = fresh()
        for _ in range(8):
            talk(scene)
            scene.now += 0.1
            scene.client.handle_timeout(scene.now)
            scene.endpoint.handle_timeout(scene.now)
        assert scene.client.secured
        scene.said.clear()
        return scene

    masters = (Master(fresh()), Master(up()))

    def restored(setting: int) -> _Scene:
        """A copy, with protection of its own: libsrtp's state cannot be copied, and nothing has
        been sent under those keys."""
        scene = masters[setting & 1].copy()
        for slot in scene.endpoint._slots.values():
            session = slot.session
            if session._srtp is not None:
                session._srtp = SrtpContext(session._srtp.keys, session._srtp.limits)
        if scene.client._context is not None:
            scene.client._context = SrtpContext(scene.client._context.keys)
        return scene

    def act(scene: _Scene, kind: int, argument: bytes) -> None:
        live = scene.call in scene.endpoint.calls
        match kind:
            case 10 if scene.client.secured and not scene.client.closed:
                how = argument[0] if argument else 0
                if how & 1 and scene.client.channels is not None:
                    scene.client.with_channels(_say(how, scene.now), scene.now)
                elif how & 2:
                    scene.client.send_rtcp(b"\x80\xc9\x00\x01" + argument[1:5].ljust(4, b"\x00"))
                else:
                    scene.client.send_audio(argument[1:], how * 960)
            case 12 if live:
                scene.endpoint.send_audio(scene.call, argument, 0, False, scene.now)
                scene.endpoint.open_channel(scene.call, text_of(argument[:40]), scene.now)
            case 13 if live:
                answer = scene.endpoint.reoffer(scene.call, scene.client.restart(), scene.now)
                scene.client.accept(answer, scene.now)
            case 15 if live:
                scene.endpoint.close_call(scene.call, EndReason.HANGUP, scene.now)

    def play(data: bytes) -> object:
        setting, row = operations_of(data, 32)
        scene = restored(setting)
        ours: list[bytes] = []
        for kind, argument in row:
            pending = scene.pending
            match kind & 15:
                case 0 | 1 | 2:
                    give(scene, argument)
                case 3:
                    answers = give(scene, argument, elsewhere)
                    insist(not answers, "a stranger is not answered")
                case 4:
                    scene.endpoint.receive_datagram(argument, INNER, scene.now)
                case 5 if pending:
                    ours += give(scene, pending.popleft())
                case 6 if pending:
                    ours += give(scene, patched(pending.popleft(), argument))
                case 7 if pending:
                    ours += give(scene, patched(pending[0], argument))
                case 8 if pending:
                    pending.popleft()
                case 9:
                    for one in ours:
                        scene.client.receive_datagram(one, PUBLIC, scene.now)
                    ours.clear()
                case 11:
                    scene.now += (argument[0] if argument else 1) / 10
                    expire(scene.endpoint, scene.now, lambda: collect(scene))
                    scene.client.handle_timeout(scene.now)
                case 14:
                    talk(scene)
                case other:
                    act(scene, other, argument)
            ours += collect(scene)
        talk(scene)
        insist(len(scene.endpoint._ways) <= 16, "ways that are remembered are bounded")
        return scene.said

    return played(play)


def _say(how: int, now: float):  # type: ignore[no-untyped-def]
    """What the client's application does with its channels."""
    from transceiver.datachannel import DataChannels
    from transceiver.datachannel.channels import ChannelError

    def act(channels: DataChannels) -> None:
        try:
            if how & 4:
                channels.open("chat", now=now)
            elif how & 8:
                channels.close(how >> 4, now)
            else:
                channels.send(how >> 4, "hi", now)
        except ChannelError:
            return

    return act


def _call_rows() -> Iterator[bytes]:
    speak = [(10, b"\x00voice"), (14, b""), (10, b"\x05"), (14, b""), (10, b"\x01"), (14, b"")]
    for setting in (0, 1):
        yield encode(setting, [(14, b""), *speak, (12, b"ours"), (14, b""), (15, b"")])
        yield encode(setting, [(5, b""), (9, b""), (5, b""), (9, b""), (11, b"\x05"), (14, b"")])
        yield encode(setting, [(7, b"\x00\x08\x01"), (3, b"\x80\x00abc"), (13, b""), (14, b"")])
        yield encode(setting, [*speak, (6, b"\x00\x14\xff"), (8, b""), (11, b"\xff"), (14, b"")])
        yield encode(
            setting, [(4, b"\x56\xec" + bytes(60)), (0, b"\x17\xfe\xfd"), (1, b"\x00\x01")]
        )


# --- negotiation --------------------------------------------------------------------------------


def negotiation() -> Run:
    """An offer opens a call; what stands behind a NUL is offered next, or sent as a fragment where
    that is not taken for an offer. Answers can be read by the parser that reads offers."""
    from transceiver import sdp
    from transceiver.errors import CallError

    from .stock_calls import make_endpoint

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
        sdp.parse_untrusted(opened.answer)
        said.append(opened.answer)
        for text in later or [first]:
            try:
                answer = core.reoffer(opened.call, text, 1.0)
                sdp.parse_untrusted(answer)
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
    from transceiver.config import VoiceLimits
    from transceiver.voice.jitter import JitterBuffer

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


SEEDS = {
    "ice-row": tuple(_ice_rows()),
    "call-row": tuple(_call_rows()),
    "jitter-row": tuple(_jitter_rows()),
}
"""Rows that reach a little of everything."""
