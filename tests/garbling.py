"""Servers that talk nonsense, from a seed: what the conformance suite has to live with.

Our own cores, in memory, with something between what they say and what the harness hears. A
``Mood`` is where the nonsense comes in: on the wire, in attributes of STUN that is signed all the
same, inside DTLS records, SCTP packets and SRTP that are sound around it, in the SDP of answers, or
in how much is said. The suite may judge such a server as it likes, but it may neither break nor
fail to come to an end.

    python tests/garbling.py [--seeds N] [--mood MOOD] [CASE...]

asks all cases, and prints each that breaks with its traceback.
"""

import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from attrs import define, field

from conformance import catalogue
from conformance.case import Case, Profile
from conformance.client import seeded
from conformance.drivers import memory
from conformance.drivers import relay as relays
from conformance.drivers.virtual import Emission, VirtualWire
from conformance.fuzz.mutate import Dice, mutated
from conformance.mutants.model import swapped
from conformance.relay_stage import RelayStage
from conformance.runner import run_case
from conformance.stage import Opened, Refused, Stage
from conformance.wire import Arrival
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Instant
from transceiver import dtls, session
from transceiver.dtls import DtlsConnection
from transceiver.dtls.flight import Sender
from transceiver.dtls.record import ContentType
from transceiver.sctp import packet as sctp_packet
from transceiver.srtp import SrtpContext
from transceiver.srtp.protection import ProtectionError

MOST_SECONDS = 900.0
"""Of virtual time: a case that is still at it then does not end."""
MOST_RECEIVED = 60_000


class Mood(Enum):
    """Where the nonsense comes in."""

    WIRE = "datagrams altered, lost, doubled, or sent back as they came"
    STUN = "attributes altered, and signed"
    RECORDS = "contents of DTLS records altered before they are sealed"
    SCTP = "SCTP packets altered, with a checksum that is right"
    MEDIA = "RTP and RTCP altered before they are protected"
    ANSWER = "answers altered"
    CHATTER = "all that is said is said thirty times"
    FLOOD = "garbage without end"
    SILENCE = "at some time silence for good"


class NeverEnds(Exception):
    """A case that goes on and on."""


@define
class Nonsense:
    """Draws what is to be altered, and how."""

    mood: Mood
    dice: Dice
    odds: int = 4

    def on(self, mood: Mood) -> bool:
        """Whether this is to be altered."""
        return self.mood is mood and self.dice.below(self.odds) == 0

    def bytes(self, data: bytes) -> bytes:
        return mutated(data, self.dice, max(len(data) + 64, 256))

    def text(self, text: str) -> str:
        """SDP with lines altered, doubled, left out, or in another order."""
        lines = text.splitlines()
        for _ in range(1 + self.dice.below(4)):
            at = self.dice.below(len(lines))
            match self.dice.below(6):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(at, lines[self.dice.below(len(lines))])
                case 2:
                    altered = self.bytes(lines[at].encode()).decode("utf-8", "replace")
                    lines[at] = altered
                case 3:
                    name, _, value = lines[at].partition(":")
                    lines[at] = f"{name}:{self.bytes(value.encode()).decode('latin-1')}"
                case 4:
                    words = lines[at].split(" ")
                    odd = ("", "0", "-1", "4294967296", "9" * 5000, "²", "\0", "::", "1e9", "ä")
                    words[self.dice.below(len(words))] = odd[self.dice.below(len(odd))]
                    lines[at] = " ".join(words)
                case _:
                    lines[at] = lines[at][: self.dice.below(len(lines[at]) + 1)]
            if not lines:
                return ""
        return "\r\n".join(lines) + "\r\n"


@define
class GarblingServer:
    """Before any server of ``conformance.drivers``. ``password`` signs what is altered."""

    inner: Any
    nonsense: Nonsense
    password: bytes = b""
    _out: list[Emission] = field(factory=list)
    _way: Emission | None = None
    _floods_at: Instant | None = None
    _said: int = 0
    _mute_after: int = 1 << 60

    def __attrs_post_init__(self) -> None:
        if self.nonsense.mood is Mood.SILENCE:
            self._mute_after = self.nonsense.dice.below(24)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        self._way = Emission(data, destination, source)
        if self.nonsense.mood is Mood.FLOOD and self._floods_at is None:
            self._floods_at = now
        if self.nonsense.mood is Mood.WIRE and self.nonsense.dice.below(24) == 0:
            self._out.append(self._way)
        self.inner.receive(data, source, destination, now)

    def next_emission(self) -> Emission | None:
        if not self._out and (emission := self.inner.next_emission()) is not None:
            self._out += self._garbled(emission)
        return self._out.pop(0) if self._out else None

    def handle_timeout(self, now: Instant) -> None:
        if self._floods_at is not None and self._floods_at <= now and self._way is not None:
            self._floods_at = now + 0.002
            dice = self.nonsense.dice
            first = (0, 1, 20, 22, 23, 64, 128, 144, 200)[dice.below(9)]
            garbage = self.nonsense.bytes(bytes((first,)) + dice.octets(dice.below(80)))
            if dice.below(2):
                garbage = self.nonsense.bytes(self._way.data)
            self._out.append(Emission(garbage, self._way.source, self._way.destination))
        due = self.inner.next_timeout()
        if due is not None and due <= now:
            self.inner.handle_timeout(now)

    def next_timeout(self) -> Instant | None:
        due = [each for each in (self.inner.next_timeout(), self._floods_at) if each is not None]
        return min(due, default=None)

    def _garbled(self, emission: Emission) -> list[Emission]:
        nonsense = self.nonsense
        self._said += 1
        if self._said > self._mute_after:
            return []
        if nonsense.mood is Mood.CHATTER:
            return [emission] * 30
        if nonsense.on(Mood.STUN) and classify(emission.data) is Kind.STUN:
            return [self._other(emission, self._resigned(emission.data))]
        if nonsense.on(Mood.WIRE):
            match nonsense.dice.below(6):
                case 0:
                    return []
                case 1:
                    return [emission, emission]
                case 2:
                    odd = Address.of(emission.source.ip, 1 + nonsense.dice.below(65535))
                    return [Emission(emission.data, odd, emission.destination)]
                case _:
                    return [self._other(emission, nonsense.bytes(emission.data))]
        return [emission]

    @staticmethod
    def _other(emission: Emission, data: bytes) -> Emission:
        return Emission(data, emission.source, emission.destination)

    def _resigned(self, data: bytes) -> bytes:
        try:
            message = stun.decode_untrusted(data)
        except DecodeError:
            return data
        dice = self.nonsense.dice
        kinds = (0x0001, 0x0006, 0x0009, 0x000A, 0x0020, 0x0024, 0x0025, 0x7FFF, 0x8022, 0x802A)
        told = [
            (kind, value)
            for kind, value in message.attributes
            if kind not in (0x0008, 0x001C, 0x8028)
        ]
        for _ in range(1 + dice.below(3)):
            at = dice.below(len(told) + 1)
            match dice.below(4):
                case 0:
                    told.insert(at, (kinds[dice.below(len(kinds))], dice.octets(dice.below(12))))
                case 1 if at < len(told):
                    del told[at]
                case _ if at < len(told):
                    told[at] = told[at][0], self.nonsense.bytes(told[at][1])[:200]
                case _:
                    pass
        kind = list(stun.MessageClass)[dice.below(4)]
        return stun.build(
            message.method,
            kind if dice.below(3) == 0 else message.message_class,
            message.transaction_id,
            told,
            integrity=stun.IntegrityKey(self.password) if dice.below(8) else None,
            fingerprint=dice.below(8) > 0,
        )


@define
class GarblingDoor:
    """Before ``MemoryDoor``: alters what is answered, and learns the passwords in it."""

    inner: Any
    server: GarblingServer
    http: Any = None

    def open(self, offer: str) -> Opened:
        opened = self.inner.open(offer)
        return Opened(opened.call, str(self._told(opened.answer)))

    def reoffer(self, call: str, offer: str) -> str:
        return str(self._told(self.inner.reoffer(call, offer)))

    def restart(self, call: str, fragment: str) -> str | None:
        return self._told(self.inner.restart(call, fragment))

    def hang_up(self, call: str) -> None:
        if self.server.nonsense.on(Mood.ANSWER):
            raise Refused("no", 503)
        self.inner.hang_up(call)

    def _told(self, answer: str | None) -> str | None:
        if answer is None:
            return None
        for line in answer.splitlines():
            if line.startswith("a=ice-pwd:"):
                self.server.password = line.partition(":")[2].encode()
        nonsense = self.server.nonsense
        if nonsense.mood is Mood.ANSWER and nonsense.dice.below(3):
            return nonsense.text(answer)
        return answer


@define(slots=False)
class BoundedWire(VirtualWire):
    """Counts what is received and how long it takes."""

    _received: int = 0
    _until: Instant = 1000.0 + MOST_SECONDS

    def receive(self, until: Instant) -> Arrival | None:
        self._received += 1
        if self._received > MOST_RECEIVED or self.now > self._until:
            raise NeverEnds(f"{self._received} received, {self.now - 1000.0:.0f} s")
        return VirtualWire.receive(self, until)


@define
class GarblingDriver:
    """Named ``memory``, since that is what it is."""

    mood: Mood
    seed: int
    name: str = "memory"

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage | RelayStage]:
        """A fresh server that talks nonsense."""
        key = int.from_bytes(seeded(f"{self.mood.name} {self.seed} {case.name}")(8), "big")
        nonsense = Nonsense(self.mood, Dice(key), odds=(2, 4, 12, 40)[self.seed % 4])
        if Profile.RELAY in case.profiles:
            yield _relay_stage(case, nonsense)
            return
        endpoint, _ = memory.make_endpoint(case.name)
        server = GarblingServer(memory.EchoServer(endpoint), nonsense)
        wire = BoundedWire(server, frozenset({memory.PUBLIC}))
        door = GarblingDoor(memory.MemoryDoor(endpoint, lambda: wire.now), server)
        with _inside(nonsense):
            yield Stage(wire, seeded(f"case {case.name}"), door=door)


def _relay_stage(case: Case, nonsense: Nonsense) -> RelayStage:
    keyring = KeyRing((HintConfiguration.generate("0", seeded(f"hints {case.name}")),))
    relay = relays.RelayServer(keyring, relays.make_relay(keyring))
    wire = BoundedWire(GarblingServer(relay, nonsense), frozenset({relays.PUBLIC, relays.INNER}))
    for node in relays.NODES:
        wire.adopt(node.address)
    return RelayStage(
        wire,
        seeded(f"case {case.name}"),
        relays.PUBLIC,
        relays.NODES,
        keyring,
        verifies=True,
        restart=relay.restart,
        elsewhere=lambda: wire.adopt(relays.STRANGER),
    )


@contextmanager
def _inside(nonsense: Nonsense) -> Iterator[None]:
    """The server's own DTLS and SRTP say what the mood makes of it. Only the server's: the client
    and the puppets of the harness know the classes by other names."""

    class GarblingSender(Sender):
        def sealed(self, content_type: int, content: bytes) -> bytes:
            if nonsense.on(Mood.RECORDS):
                content = nonsense.bytes(content)[:1200]
                if nonsense.dice.below(8) == 0:
                    content_type = (20, 21, 22, 23, 24)[nonsense.dice.below(5)]
            elif content_type == ContentType.APPLICATION_DATA and nonsense.on(Mood.SCTP):
                altered = nonsense.bytes(content[12:])[:1150]
                content = sctp_packet.assemble(
                    int.from_bytes(content[:2], "big"),
                    int.from_bytes(content[2:4], "big"),
                    int.from_bytes(content[4:8], "big"),
                    [altered, bytes(-len(altered) % 4)],
                )
            return Sender.sealed(self, content_type, content)

    class GarblingDtls(DtlsConnection):
        def __attrs_post_init__(self) -> None:
            DtlsConnection.__attrs_post_init__(self)
            self._sender = GarblingSender()

    class GarblingSrtp(SrtpContext):
        def protect_rtp(self, packet: bytes) -> bytes:
            return self._tried(SrtpContext.protect_rtp, packet)

        def protect_rtcp(self, packet: bytes) -> bytes:
            return self._tried(SrtpContext.protect_rtcp, packet)

        def _tried(self, protect: Callable[[Any, bytes], bytes], packet: bytes) -> bytes:
            if nonsense.on(Mood.MEDIA):
                head = packet[:2] + packet[2:4] if nonsense.dice.below(2) else b""
                try:
                    return protect(self, head + nonsense.bytes(packet[len(head) :]))
                except ProtectionError:
                    pass
            try:
                return protect(self, packet)
            except ProtectionError:  # what was altered has used up its number
                return packet

    with ExitStack() as stack:
        stack.enter_context(swapped(dtls, "DtlsConnection", GarblingDtls))
        stack.enter_context(swapped(session, "SrtpContext", GarblingSrtp))
        yield


def main(arguments: list[str]) -> int:
    seeds, moods = range(1), list(Mood)
    while arguments and arguments[0].startswith("--"):
        option, value, *arguments = arguments
        if option == "--seeds":
            first, _, last = value.rpartition("-")
            seeds = range(int(first or 0), int(last))
        elif option == "--mood":
            moods = [Mood[value.upper()]]
    cases = catalogue.select(catalogue.load(), arguments)
    broken = 0
    for mood in moods:
        for seed in seeds:
            began = time.monotonic()
            verdicts: Counter[str] = Counter()
            slow = []
            for case in cases:
                result = run_case(case, GarblingDriver(mood, seed), time.monotonic)
                verdicts[result.verdict.value] += 1
                if result.seconds > 5:
                    slow.append((case.name, round(result.seconds, 1)))
                if result.verdict.value == "broken":
                    broken += 1
                    print(f"BROKEN {mood.name} {seed} {case.name}: {result.detail}", flush=True)
                    try:
                        with GarblingDriver(mood, seed).stage(case) as stage:
                            case.steps(stage)
                    except Exception as error:
                        for frame in traceback.extract_tb(error.__traceback__)[-5:]:
                            where = Path(frame.filename).name
                            print(f"    {where}:{frame.lineno} {frame.name}: {frame.line}")
            took = time.monotonic() - began
            print(mood.name, seed, dict(verdicts), f"{took:.0f} s", slow, flush=True)
    return broken > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
