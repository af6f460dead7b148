"""SCTP by hand inside a call's DTLS: a puppet that says what it is told to, chunk by chunk.

The harness's client brings DTLS up and hands over every packet unread. What the puppet does of
itself is the least that a test of something else needs: it acknowledges the server's DATA
(``acknowledges``), counts its own TSNs and stream sequence numbers, and answers nothing else. The
server may begin an association as well; its INIT is let lie unless a case asks for it, which every
implementation gets over, since both have to be able to begin (RFC 9260, 5.2.1).

HEARTBEAT is the sign of life: whoever has an association has to answer it (RFC 9260, 8.3).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from attrs import define, field

from conformance.case import Blocked, Observed, Seen, Unsupported
from conformance.client import is_number
from conformance.stage import Stage
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from transceiver.datachannel import DataChannels
from transceiver.datachannel import messages as dcep
from transceiver.sctp import packet as packets
from transceiver.sctp.chunks import (
    Abort,
    Chunk,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Sack,
)
from transceiver.sctp.packet import Packet
from transceiver.sctp.parameters import (
    ForwardTsnSupported,
    OutgoingReset,
    Parameter,
    ReconfigResponse,
    ResetResult,
    StateCookie,
    SupportedExtensions,
)

from .call import Call, open_call

PATIENCE = 1.2
"""Seconds for an answer that may wait for a delayed SACK or a first retransmission timer."""
WINDOW = 0x20000
TRIES = 4
ABILITIES: tuple[Parameter, ...] = (ForwardTsnSupported(), SupportedExtensions((130, 192)))
T = TypeVar("T")


class Reaction(Seen):
    """What a packet drew."""

    ANSWERED = "the answer that is due"
    WRONG = "an answer that is not as it should be"
    ERROR = "an ERROR chunk"
    ABORTED = "an ABORT"
    SILENCE = "no answer, and the association lives"
    DEAD = "no answer, and the association is gone"


ANSWERED = (Reaction.ANSWERED,)
NOT_ANSWERED = (
    Reaction.WRONG,
    Reaction.ERROR,
    Reaction.ABORTED,
    Reaction.SILENCE,
    Reaction.DEAD,
)
"""The oracle of what has to be answered."""
LET_GO = (Reaction.SILENCE,)
NOT_LET_GO = (
    Reaction.ANSWERED,
    Reaction.WRONG,
    Reaction.ERROR,
    Reaction.ABORTED,
    Reaction.DEAD,
)
"""The oracle of what has to be dropped without a word."""


@define(slots=True)
class Tap:
    """Stands where the client has its data channels and keeps what comes. ``outbox`` is what the
    client seals next."""

    received: list[bytes] = field(factory=list)
    outbox: list[bytes] = field(factory=list)

    def connect(self, now: Instant) -> None:
        """The puppet begins when it is told to."""

    def receive_packet(self, data: bytes, now: Instant) -> None:
        self.received.append(data)

    def next_transmit(self) -> bytes | None:
        return self.outbox.pop(0) if self.outbox else None

    def next_event(self) -> None:
        return None

    def next_timeout(self) -> None:
        return None

    def handle_timeout(self, now: Instant) -> None:
        """There is nothing due."""


@define(slots=True)
class Puppet:
    """``tag`` is ours, ``peer`` the server's INIT ACK once it has come. ``tsn`` is the next of
    ours, ``cumulative`` the last of theirs without a gap before it. ``came`` are the packets that
    could be read, ``strange`` those that could not."""

    call: Call
    tap: Tap
    port: int
    tag: int
    tsn: int
    tsn_at_first: int = field(init=False, default=0)
    """Requests to reset streams are numbered from here (RFC 6525, 4.1)."""
    peer_tag: int = 0
    peer: InitAck | None = None
    cumulative: int = 0
    acknowledges: bool = True
    window: int = WINDOW
    came: list[Packet] = field(factory=list)
    raw: list[bytes] = field(factory=list)
    strange: list[bytes] = field(factory=list)
    looked: int = 0
    """How many of them were looked at for resets that have been answered."""
    messages: list[tuple[int, int, bytes]] = field(factory=list)
    """Stream, payload protocol and payload of what the server has said."""
    _ahead: dict[int, Data] = field(factory=dict)
    _parts: list[Data] = field(factory=list)
    _numbers: dict[int, int] = field(factory=dict)

    @property
    def stage(self) -> Stage:
        return self.call.stage

    # --- out --------------------------------------------------------------------------------------

    def send(self, *chunks: Chunk, tag: int | None = None, checksum: bool = True) -> bytes:
        """One packet of these chunks; its bytes. ``tag`` is the server's unless it is given."""
        wanted = self.peer_tag if tag is None else tag
        data = packets.encode(self.port, self.port, wanted, chunks, checksum=checksum)
        self.send_raw(data)
        return data

    def send_raw(self, data: bytes) -> None:
        """Any bytes in one DTLS record."""
        dtls = self.call.client.dtls
        assert dtls is not None
        now = self.stage.now
        dtls.send(data, now)
        while (record := dtls.next_transmit()) is not None:
            self.call.send(record, note="SCTP")

    def assembled(self, parts: bytes, *, tag: int | None = None) -> bytes:
        """A packet around chunks that are bytes already, with its checksum."""
        wanted = self.peer_tag if tag is None else tag
        return packets.assemble(self.port, self.port, wanted, (parts,))

    def init(self, **fields: Any) -> Init:
        """Our INIT; ``fields`` are its differences."""
        values: dict[str, Any] = {
            "tag": self.tag,
            "window": self.window,
            "outbound": 1024,
            "inbound": 1024,
            "tsn": self.tsn,
            "parameters": ABILITIES,
        }
        return Init(**(values | fields))

    def data(
        self,
        stream: int,
        payload: bytes,
        ppid: int = dcep.BINARY,
        *,
        beginning: bool = True,
        ending: bool = True,
        unordered: bool = False,
        immediate: bool = False,
    ) -> Data:
        """The next DATA of ours on ``stream``; it takes a TSN, and with its end a number there."""
        number = self._numbers.get(stream, 0)
        if ending and not unordered:
            self._numbers[stream] = (number + 1) & 0xFFFF
        tsn = self.tsn
        self.tsn = (tsn + 1) & 0xFFFF_FFFF
        return Data(tsn, stream, number, ppid, payload, beginning, ending, unordered, immediate)

    def fragments(self, stream: int, message: bytes, ppid: int, size: int = 1100) -> list[Data]:
        """A message in pieces of ``size``."""
        places = range(0, max(len(message), 1), size)
        last = places[-1]
        return [
            self.data(stream, message[at : at + size], ppid, beginning=at == 0, ending=at == last)
            for at in places
        ]

    def begin_again(self, stream: int) -> None:
        """Our stream was reset: its numbers start from 0."""
        self._numbers.pop(stream, None)

    # --- in ---------------------------------------------------------------------------------------

    def wait(self, found: Callable[[Packet], T | None], within: float = PATIENCE) -> T | None:
        """The first of the packets that come from now on in which ``found`` finds something."""
        start = len(self.came)
        seen: list[T] = []

        def look() -> bool:
            nonlocal start
            self.read()
            while start < len(self.came) and not seen:
                result = found(self.came[start])
                start += 1
                if result is not None:
                    seen.append(result)
            return bool(seen)

        self.call.run_until(look, within)
        return seen[0] if seen else None

    def chunk(self, kind: type[T], within: float = PATIENCE) -> T | None:
        """The next chunk of a kind that comes."""

        def find(received: Packet) -> T | None:
            return next((each for each in received.chunks if isinstance(each, kind)), None)

        return self.wait(find, within)

    def run(self, seconds: float) -> None:
        """Let time pass and read what comes."""
        until = self.stage.now + seconds
        self.call.run_until(lambda: self.read() and False, max(0.0, until - self.stage.now))
        self.read()

    def read(self) -> bool:
        """Read what has come."""
        fresh = self.tap.received[:]
        self.tap.received.clear()
        for data in fresh:
            try:
                received = packets.decode_untrusted(data, accept_zero_checksum=True)
            except DecodeError:
                self.strange.append(data)
                continue
            self.came.append(received)
            self.raw.append(data)
            if received.tag == self.tag:
                self._take(received)
        return bool(fresh)

    def _take(self, received: Packet) -> None:
        heard = False
        for chunk in received.chunks:
            match chunk:
                case Data() if self.peer is not None:
                    heard = True
                    self._take_data(chunk)
        if heard and self.acknowledges:
            self.acknowledge()

    def _take_data(self, chunk: Data) -> None:
        ahead = (chunk.tsn - self.cumulative) & 0xFFFF_FFFF
        if 0 < ahead < 0x8000_0000:
            self._ahead[chunk.tsn] = chunk
        while (following := (self.cumulative + 1) & 0xFFFF_FFFF) in self._ahead:
            part = self._ahead.pop(following)
            self.cumulative = following
            self._parts.append(part)
            if part.ending:
                payload = b"".join(each.payload for each in self._parts)
                self.messages.append((part.stream, part.ppid, payload))
                self._parts.clear()

    def pass_to(self, tsn: int) -> None:
        """The server has given up what it has said up to ``tsn``."""
        self.cumulative = tsn
        self._parts.clear()
        self.acknowledge()

    def acknowledge(self) -> None:
        """SACK what has come."""
        self.send(Sack(self.cumulative, self.window))

    # --- what cases begin with --------------------------------------------------------------------

    def greet(self, init: Init | None = None) -> InitAck:
        """INIT and the INIT ACK to it. Raises Blocked where none comes."""
        wanted = init or self.init()
        self.tsn_at_first = wanted.tsn

        def find(received: Packet) -> InitAck | None:
            match received.chunks[0]:
                case InitAck() as answer if received.tag == wanted.tag:
                    return answer
            return None

        for _ in range(TRIES):
            self.send(wanted, tag=0)
            answer = self.wait(find)
            if answer is not None:
                self.peer, self.peer_tag = answer, answer.tag
                self.cumulative = (answer.tsn - 1) & 0xFFFF_FFFF
                return answer
        raise Blocked("INIT is not answered")

    def cookie(self) -> bytes:
        """The cookie of the INIT ACK. Raises Blocked."""
        for parameter in self.peer.parameters if self.peer is not None else ():
            if isinstance(parameter, StateCookie):
                return parameter.cookie
        raise Blocked("INIT ACK has no cookie")

    def associate(self, init: Init | None = None) -> None:
        """The whole handshake. Raises Blocked."""
        self.greet(init)
        echo = CookieEcho(self.cookie())
        for _ in range(TRIES):
            self.send(echo)
            if self.chunk(CookieAck) is not None:
                return
        raise Blocked("COOKIE ECHO is not answered")

    def is_alive(self) -> bool:
        """Whether a HEARTBEAT is answered, sooner or later."""
        for _ in range(TRIES):
            info = self.stage.entropy(16)
            self.send(Heartbeat(info))
            answer = self.chunk(HeartbeatAck)
            if answer is not None and answer.info == info:
                return True
        return False

    def unanswered(self) -> Reaction:
        """What it is that nothing came: silence, or the end of the association."""
        return Reaction.SILENCE if self.is_alive() else Reaction.DEAD

    def packets_in_answer(self, *chunks: Chunk) -> Observed:
        """Whether what comes in answer to one packet with ``chunks`` comes in one: heartbeats that
        are given back, and reports of what is wrong."""
        start = len(self.came)
        self.send(*chunks)
        self.run(0.4)
        answers = sum(
            any(isinstance(each, HeartbeatAck | Error) for each in received.chunks)
            for received in self.came[start:]
        )
        if not self.is_alive():
            return Reaction.DEAD
        if answers > 1:
            return Reaction.WRONG, f"{answers} packets"
        return Reaction.ANSWERED if answers else Reaction.SILENCE

    def reaction(
        self, found: Callable[[Packet], T | None], within: float = PATIENCE
    ) -> tuple[Reaction, T | None]:
        """What comes: what ``found`` finds, an ABORT, an ERROR, or neither and whether the
        association lives."""

        def find(received: Packet) -> tuple[Reaction, T | None] | None:
            result = found(received)
            if result is not None:
                return Reaction.ANSWERED, result
            for chunk in received.chunks:
                match chunk:
                    case Abort():
                        return Reaction.ABORTED, None
                    case Error():
                        return Reaction.ERROR, None
            return None

        seen = self.wait(find, within)
        if seen is not None:
            return seen
        return self.unanswered(), None

    def silence(self, within: float = 0.4) -> Reaction:
        """Whether nothing comes but what answers nothing (HEARTBEAT, DATA, SACK, the server's own
        INIT), and the association lives."""
        quiet = (Heartbeat, HeartbeatAck, Data, Sack, Init)

        def find(received: Packet) -> Chunk | None:
            return next((each for each in received.chunks if not isinstance(each, quiet)), None)

        other = self.wait(find, within)
        match other:
            case None:
                return self.unanswered()
            case Abort():
                return Reaction.ABORTED
            case Error():
                return Reaction.ERROR
        return Reaction.WRONG

    def answer_reset(self, request: OutgoingReset) -> None:
        """Say that the server's reset has been performed."""
        self.send(ReConfig((ReconfigResponse(request.request, ResetResult.PERFORMED),)))

    # --- data channels ----------------------------------------------------------------------------

    def say(self, stream: int, message: bytes, ppid: int = dcep.BINARY, **flags: bool) -> Data:
        """Send a message that fits one packet."""
        chunk = self.data(stream, message, ppid, **flags)
        self.send(chunk)
        return chunk

    def hear(
        self,
        wanted: Callable[[int, int, bytes], bool],
        within: float = PATIENCE,
        *,
        since: int = 0,
    ) -> tuple[int, int, bytes] | None:
        """The first message of the server's that ``wanted`` accepts, of those behind ``since``
        others."""

        def find() -> tuple[int, int, bytes] | None:
            self.read()
            return next((each for each in self.messages[since:] if wanted(*each)), None)

        self.call.run_until(find, within)
        return find()

    def open_channel(self, stream: int = 0, announcement: dcep.Open | None = None) -> bool:
        """DCEP's OPEN; whether its ACK came."""
        opening, before = announcement or dcep.Open("case"), len(self.messages)
        self.say(stream, opening.encode(), dcep.DCEP)
        return self.is_agreed(stream, since=before)

    def is_agreed(self, stream: int, *, since: int = 0) -> bool:
        """Whether DCEP's ACK comes on ``stream``, and not its reset. Bytes behind its type are
        another case's business: Pion sends three."""

        def agreed() -> bool:
            self.read()
            return any(
                said == stream and ppid == dcep.DCEP and payload[:1] == dcep.Ack().encode()
                for said, ppid, payload in self.messages[since:]
            )

        self.call.run_until(lambda: agreed() or reset_asked(self, stream) is not None, 2 * PATIENCE)
        return agreed()

    def need_channel(self, stream: int = 0) -> None:
        """Raises Blocked where a channel cannot be opened."""
        if not self.open_channel(stream):
            raise Blocked("a data channel is not agreed to")

    def echoes(self, stream: int, message: bytes, ppid: int = dcep.BINARY) -> bool:
        """Whether a message that is like no other comes back."""
        self.say(stream, message, ppid)
        return self.hear(lambda *each: each == (stream, ppid, message)) is not None

    def need_echo(self, stream: int = 0) -> None:
        """Raises Unsupported where the server's application does not echo."""
        if not any(self.echoes(stream, self.stage.entropy(8)) for _ in range(2)):
            raise Unsupported("sends no messages back")

    def still_echoes(self, stream: int = 0) -> bool:
        """Whether a message comes back after all that was done."""
        return any(self.echoes(stream, self.stage.entropy(8)) for _ in range(TRIES))

    def comes_back(self, message: bytes, within: float = 3.0) -> Reaction:
        """Whether a binary message that was sent on stream 0 comes back whole."""
        if self.hear(lambda *each: each == (0, dcep.BINARY, message), within) is not None:
            return Reaction.ANSWERED
        if not self.is_alive():
            return Reaction.DEAD
        if any(len(payload) > 12 for _, _, payload in self.messages):
            return Reaction.WRONG  # something, but not this
        return Reaction.SILENCE


def prepare(stage: Stage, **options: Any) -> Puppet:
    """A call with DTLS up and no association yet. We are DTLS's client unless ``options`` say
    otherwise, for only then may we open channels on even streams (RFC 8832, 6). Raises Blocked and
    Unsupported."""
    offered = {"contents": ("data",), "setup": "active"} | options
    call = open_call(stage, **offered)
    if call.told.setup == offered["setup"]:
        # It claims the part that we have claimed: it may choose, and lives with our streams.
        call = open_call(stage, **(offered | {"setup": "actpass"}))
    tap = Tap()
    # The client asks of its data channels no more than a tap has.
    call.client.channels = cast(DataChannels, tap)
    call.establish()
    draw = stage.entropy
    tag = int.from_bytes(draw(4), "big") or 1
    return Puppet(call, tap, _port(call.answer), tag, int.from_bytes(draw(4), "big"))


def _port(answer: str) -> int:
    """The SCTP port that the answer names, 5000 where it names none."""
    for line in answer.splitlines():
        name, _, value = line.partition(":")
        if name == "a=sctp-port" and is_number(value.strip()):
            return int(value) & 0xFFFF
    return 5000


def associated(stage: Stage, **options: Any) -> Puppet:
    """``prepare``, and an association that stands."""
    puppet = prepare(stage, **options)
    puppet.associate()
    return puppet


def joined(stage: Stage, stream: int = 0, **options: Any) -> Puppet:
    """``associated``, and a data channel of which nothing more is asked."""
    puppet = associated(stage, **options)
    puppet.need_channel(stream)
    return puppet


def opened(stage: Stage, stream: int = 0, **options: Any) -> Puppet:
    """``associated``, and a data channel whose messages come back."""
    puppet = joined(stage, stream, **options)
    puppet.need_echo(stream)
    return puppet


def acknowledged(
    puppet: Puppet, cumulative: int, within: float = 1.2
) -> tuple[Reaction, Sack | None]:
    """The next SACK, and whether it acknowledges up to ``cumulative``."""

    def find(received: Packet) -> Sack | None:
        return next((each for each in received.chunks if isinstance(each, Sack)), None)

    seen, sack = puppet.reaction(find, within)
    if sack is not None and sack.cumulative != cumulative & 0xFFFF_FFFF:
        return Reaction.WRONG, sack
    return seen, sack


def reset_asked(puppet: Puppet, stream: int) -> OutgoingReset | None:
    """The server's request to reset its own ``stream``, if it has come since one was last found."""
    puppet.read()
    for received in reversed(puppet.came[puppet.looked :]):
        for chunk in received.chunks:
            for each in chunk.parameters if isinstance(chunk, ReConfig) else ():
                if isinstance(each, OutgoingReset) and stream in each.streams:
                    return each
    return None


def resets(puppet: Puppet, stream: int, within: float = 2 * PATIENCE) -> OutgoingReset | None:
    """The same, waited for. It is found once."""
    puppet.call.run_until(lambda: reset_asked(puppet, stream), within)
    request = reset_asked(puppet, stream)
    puppet.looked = len(puppet.came)
    return request
