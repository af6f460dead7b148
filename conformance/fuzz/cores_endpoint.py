"""An endpoint with one call as a target, its client on the other side.

The setting says how far the call is: its offer answered, or all of it up. Then come operations::

      0  a datagram from the client's address      8  the client's next datagram is lost
      1  a sealed one from there                   9  our datagrams reach the client
      2  a sealed one, given twice                10  the client speaks
      3  one from another address; where the      11  time passes
         kind is uneven above, a sealed one       12  we speak
      4  the leg's datagram, as it is             13  the client restarts ICE
      5  the client's next datagram               14  all that is under way arrives
      6  the same, with octets altered            15  we hang up
      7  the same, given and kept

A sealed datagram is the argument in the hands of a client that has lost its mind and not its keys:
``_sealed`` makes a check with the right integrity of it, SRTP, SRTCP, an SCTP packet with the right
tag and checksum within DTLS (DATA with the next TSN among them), or any other record, as the upper
half of the kind says. Without that hardly an input would get beyond the first look at a tag.

What is asked of the outcome: everything that is sent goes to the relay and names the call's client,
another address gets no answer, events are the call's, messages are those of the client, and no
timer stays due.
"""

from collections import deque
from collections.abc import Callable, Iterator

from attrs import define, field

from conformance.client import Client
from stunroute import forward, stun
from stunroute.address import Address
from transceiver.datachannel import DataChannels
from transceiver.datachannel.channels import ChannelError
from transceiver.datachannel.messages import Open
from transceiver.endpoint import Endpoint
from transceiver.events import EndReason, MessageReceived
from transceiver.sctp.association import Association
from transceiver.srtp import ProtectionError, SrtpContext

from .cores_sctp import next_data
from .cores_sctp import sealed as checksummed
from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, patched, played, settle
from .samples import sample_chunks, sample_reports
from .stock import Master, Stream
from .stock_calls import INNER, PUBLIC, make_endpoint
from .target import Run, insist, text_of

HOME, ELSEWHERE = Address.of("192.0.2.33", 50000), Address.of("192.0.2.34", 50000)
_HELD = 64
_WAYS = 16
"""Headers of the leg that an endpoint may remember for one call."""


@define(slots=True)
class _Scene:
    """``pending`` is what the client has sent and the endpoint has not been given, ``out`` what
    goes the other way."""

    endpoint: Endpoint
    client: Client
    call: str
    now: float = 0.0
    pending: deque[bytes] = field(factory=deque)
    out: deque[bytes] = field(factory=deque)
    said: list[object] = field(factory=list)
    forged: bool = False
    """What is on the channels need not be what an honest client says."""
    moved: bool = False
    """The other address has shown that it has the keys."""

    def collect(self) -> int:
        """Take what both sides have to say; how many datagrams we send."""
        count = 0
        for transmit in drained(self.endpoint.next_transmit):
            count += 1
            leg = forward.decode_untrusted(transmit.data)
            insist(transmit.address == INNER, "everything goes to the relay")
            insist(leg.client in (HOME, ELSEWHERE), "nothing goes to a third party")
            self.out.append(transmit.data[forward.HEADER_LENGTH :])
            self.said.append(transmit.data)
        for event in drained(self.endpoint.next_event):
            insist(getattr(event, "call", self.call) == self.call, "events are of the call")
            if isinstance(event, MessageReceived):
                honest = event.message in ("hi", b"hi")
                insist(honest or self.forged, "messages are the client's")
            self.said.append(type(event).__name__)
        self.pending.extend(one.data for one in drained(self.client.next_transmit))
        for queue in (self.pending, self.out):
            while len(queue) > _HELD:
                queue.popleft()
        return count

    def give(self, payload: bytes, client: Address = HOME) -> int:
        """A datagram of the client's; how many of ours follow."""
        datagram = forward.encode(client, PUBLIC) + payload
        self.endpoint.receive_datagram(datagram, INNER, self.now)
        return self.collect()

    def arrive(self) -> None:
        """Let our datagrams reach the client."""
        while self.out:
            self.client.receive_datagram(self.out.popleft(), PUBLIC, self.now)
        self.collect()

    def talk(self) -> None:
        """Let all that is under way arrive."""
        self.collect()
        settle(self)


def _fresh() -> _Scene:
    client = Client(entropy=Stream("client"), address=HOME, contents=("audio", "data"))
    core = make_endpoint()
    answered = core.open_call(client.offer(), 0.0)
    client.accept(answered.answer, 0.0)
    scene = _Scene(core, client, answered.call)
    scene.collect()
    return scene


def _up() -> _Scene:
    scene = _fresh()
    for _ in range(8):
        scene.talk()
        scene.now += 0.1
        scene.client.handle_timeout(scene.now)
        scene.endpoint.handle_timeout(scene.now)
    assert scene.client.secured
    scene.said.clear()
    return scene


def _restored(master: Master[_Scene]) -> _Scene:
    """A copy, with protection of its own: libsrtp's state cannot be copied, and nothing has been
    sent under those keys."""
    scene = master.copy()
    for slot in scene.endpoint._slots.values():
        context = slot.session._srtp
        if context is not None:
            slot.session._srtp = SrtpContext(context.keys, context.limits)
    if scene.client._context is not None:
        scene.client._context = SrtpContext(scene.client._context.keys)
    return scene


def make() -> Run:
    """The target."""
    masters = (Master(_fresh()), Master(_up()))

    def play(data: bytes) -> object:
        setting, row = operations_of(data, 32)
        scene = _restored(masters[setting & 1])
        for kind, argument in row:
            _carry_out(scene, kind & 15, kind >> 4, argument)
            scene.collect()
        scene.talk()
        insist(len(scene.endpoint._ways) <= _WAYS, "ways that are remembered are bounded")
        return scene.said

    return played(play)


def _carry_out(scene: _Scene, kind: int, how: int, argument: bytes) -> None:
    pending = scene.pending
    match kind:
        case 0:
            scene.give(argument)
        case 1 | 2:
            datagram = _sealed(scene, how, argument)
            for _ in range(kind):
                scene.give(datagram)
        case 3 if how & 1:
            scene.moved = True
            scene.give(_sealed(scene, how >> 1, argument), ELSEWHERE)
        case 3:
            insist(not scene.give(argument, ELSEWHERE) or scene.moved, "a stranger is not answered")
        case 4:
            scene.endpoint.receive_datagram(argument, INNER, scene.now)
        case 5 if pending:
            scene.give(pending.popleft())
        case 6 if pending:
            scene.give(patched(pending.popleft(), argument))
        case 7 if pending:
            scene.give(patched(pending[0], argument))
        case 8 if pending:
            pending.popleft()
        case 9:
            scene.arrive()
        case 11:
            scene.now += (argument[0] if argument else 1) / 10
            expire(scene.endpoint, scene.now, scene.collect)
            scene.client.handle_timeout(scene.now)
        case 14:
            scene.talk()
        case 10 if scene.client.secured and not scene.client.closed:
            _speak(scene, argument)
        case 12 | 13 | 15 if scene.call in scene.endpoint.calls:
            _act(scene, kind, argument)


def _sealed(scene: _Scene, how: int, argument: bytes) -> bytes:
    """What a client with the keys makes of ``argument``; itself where there are none yet."""
    client = scene.client
    match how & 7:
        case 0 | 1:
            return _signed(client, argument)
        case 2 | 3 | 4 if client._context is not None:
            protect = client._context.protect_rtcp if how & 4 else client._context.protect_rtp
            try:
                return protect(argument)
            except ProtectionError:  # it is too short to be either, or its number has been used
                return argument
        case 5 | 6 if client.channels is not None and client.secured:
            association = client.channels._association
            assert isinstance(association, Association)
            transfer = association._block.transfer
            if transfer is None:
                return argument
            if how & 7 == 6 and len(argument) >= 6:
                argument = next_data(association, argument)
            scene.forged = True
            header = b"\x13\x88\x13\x88" + transfer.peer.tag.to_bytes(4, "big")
            return _record(client, 23, checksummed(header + bytes(4) + argument))
        case 7 if client.secured and argument:
            scene.forged = True
            return _record(client, 20 + argument[0] % 6, argument[1:])
    return argument


def _record(client: Client, content_type: int, content: bytes) -> bytes:
    assert client.dtls is not None
    return client.dtls._sender.sealed(content_type, content)


def _signed(client: Client, argument: bytes) -> bytes:
    """A check with an octet that makes the transaction, then attributes: type, length, value."""
    attributes = [(int(stun.Attribute.USERNAME), _named(client))]
    at = 1
    while at + 3 <= len(argument) and len(attributes) < 12:
        value = argument[at + 3 : at + 3 + argument[at + 2]]
        attributes.append((int.from_bytes(argument[at : at + 2], "big"), value))
        at += 3 + argument[at + 2]
    return stun.build(
        stun.Method.BINDING,
        stun.MessageClass.INDICATION if argument[:1] == b"\xff" else stun.MessageClass.REQUEST,
        argument[:1].ljust(12, b"f"),
        attributes,
        integrity=stun.IntegrityKey(client.remote_password.encode()),
    )


def _named(client: Client) -> bytes:
    return f"{client.remote_ufrag}:{client._agreed}".encode()


def _speak(scene: _Scene, argument: bytes) -> None:
    """The client sends sound, a report, or does something with its channels."""
    how = argument[0] if argument else 0
    client = scene.client
    if how & 1 and client.channels is not None:
        client.with_channels(_on_channels(how, scene.now), scene.now)
    elif how & 2:
        client.send_rtcp(b"\x80\xc9\x00\x01" + argument[1:5].ljust(4, b"\x00"))
    else:
        client.send_audio(argument[1:], how * 960)


def _on_channels(how: int, now: float) -> Callable[[DataChannels], None]:
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


def _act(scene: _Scene, kind: int, argument: bytes) -> None:
    """What our application does."""
    endpoint, call, now = scene.endpoint, scene.call, scene.now
    match kind:
        case 12:
            endpoint.send_audio(call, argument, 0, False, now)
            endpoint.open_channel(call, text_of(argument[:40]), now)
        case 13:
            scene.client.accept(endpoint.reoffer(call, scene.client.restart(), now), now)
        case 15:
            endpoint.close_call(call, EndReason.HANGUP, now)


def _sealed_rows() -> Iterator[list[tuple[int, bytes]]]:
    """Of each protocol a little, under the client's keys."""
    priority, control = b"\x00\x24\x04\x6e\x00\x01\xff", b"\x80\x2a\x08" + bytes(8)
    for more in (b"", b"\x00\x25\x00", b"\xc0\x01\x04\x00\x00\x00\x05", b"\x80\x29\x08" + bytes(8)):
        check = priority + control + more
        yield [(0x01, b"1" + check), (0x13, b"2" + check), (11, b"\x0a"), (0x02, b"3" + check)]
    packet = b"\x80\x6f\x7f\x00" + bytes(4) + b"\x00\x00\x11\x11"
    extended = b"\x90" + packet[1:] + b"\xbe\xde\x00\x01\x10\x80\x00\x00voice"
    yield [(0x21, packet + b"voice"), (0x22, extended), (0x31, b"\xb0" + extended[1:])]
    yield [
        (0x53, packet + b"voice"),
        (0x13, b"4" + priority + control),
        (0x53, extended),
        (14, b""),
    ]
    for compound in sample_reports():
        yield [(0x41, compound), (11, b"\x14"), (14, b"")]
    for chunk in sample_chunks():
        yield [(0x51, chunk.encode()), (14, b""), (10, b"\x05"), (14, b"")]
    for flags in range(8):
        yield [
            (0x61, bytes((4, flags, 1, 0, 3)) + b"hi"),
            (0x61, b"\x06\x03\x01\x00\x03hi"),
            (14, b""),
        ]
    yield [(0x61, b"\x04\x03\x04\x00\x02" + Open("label").encode()), (14, b""), (11, b"\x05")]
    for content in (b"\x01\x01\x00", b"\x01\x02\x28", b"\x02\x01\x00\x00\x00", b"\x03late"):
        yield [(0x71, content), (14, b"")]


def _call_rows() -> Iterator[bytes]:
    speak = [(10, b"\x00voice"), (14, b""), (10, b"\x05"), (14, b""), (10, b"\x01"), (14, b"")]
    for setting in (0, 1):
        for row in _sealed_rows():
            yield encode(setting, [(14, b""), *row] if setting == 0 else row)
        yield encode(setting, [(14, b""), *speak, (12, b"ours"), (14, b""), (15, b"")])
        yield encode(setting, [(5, b""), (9, b""), (5, b""), (9, b""), (11, b"\x05"), (14, b"")])
        yield encode(setting, [(7, b"\x00\x08\x01"), (3, b"\x80\x00abc"), (13, b""), (14, b"")])
        yield encode(setting, [*speak, (6, b"\x00\x14\xff"), (8, b""), (11, b"\xff"), (14, b"")])
        yield encode(
            setting, [(4, b"\x56\xec" + bytes(60)), (0, b"\x17\xfe\xfd"), (1, b"\x00\x01")]
        )


SEEDS = tuple(_call_rows())
"""Rows that reach a little of everything."""
