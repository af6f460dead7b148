"""People with browsers: a client core each, behind a NAT, and what an application does with it.

An application that is any good notices that nothing comes back, restarts ICE, and calls again when
that does not help. So does this one; how long it waits for what are the names below, on which the
bounds of recovery rest. Everything that it says is signed with who says it in which call, so that
whoever hears it can tell.
"""

from collections import Counter
from enum import Enum
from hashlib import blake2b
from struct import Struct
from typing import Protocol

from attrs import define, field

from conformance.client import AnswerError, Client, Told, seeded
from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.trace import Drop
from transceiver import datachannel
from transceiver.datachannel.channels import ChannelError
from transceiver.srtp import rtp

from .dice import Dice
from .loop import Alarm, Clock
from .network import Link

NOTICE = 6.0
"""Seconds without an answered check after which ICE is restarted."""
GIVE_UP = 15.0
"""And after which it is called again."""
ESTABLISHING = 20.0
"""How long a call may take to come up before it is called again."""
RETRY = 1.0
"""Seconds until signalling is asked again that refused."""
HOME = Address.of("192.168.1.2", 50000)
SAMPLES = 48_000
_TAG = Struct(">4sIIIQ")
_MAGIC = b"said"
MESSAGE_EVERY = 5
"""Packets of audio to one message, in calls with a data channel."""


class Refusal(Enum):
    """What signalling says instead of an answer."""

    BUSY = "busy"  # nobody is there or has room; ask again
    UNKNOWN = "unknown"  # there is no such call


class Exchange(Protocol):
    """Signalling and the network, as a caller sees them. Answers come to ``answered`` and
    ``reanswered``."""

    calm: bool

    def open(self, caller: "Caller", offer: str) -> None: ...
    def reoffer(self, caller: "Caller", offer: str) -> None: ...
    def hang_up(self, caller: "Caller") -> None: ...
    def launch(self, caller: "Caller", data: bytes, proxy: Address) -> None: ...
    def give_address(self, caller: "Caller", ipv4: bool) -> None: ...
    def echoed(self, caller: "Caller", payload: bytes) -> None: ...
    def replied(self, caller: "Caller", message: str | bytes) -> None: ...
    def secured(self, caller: "Caller") -> None: ...


def said(caller: int, call: int, turn: int, filler: bytes) -> bytes:
    """A payload: who says it, in which call of theirs, and its number."""
    return _TAG.pack(_MAGIC, caller, call, turn, 0) + filler


def who_said(payload: bytes) -> tuple[int, int, int] | None:
    """Caller, call and turn, None where nobody here has said it."""
    if len(payload) < _TAG.size:
        return None
    magic, caller, call, turn, zero = _TAG.unpack_from(payload)
    return (caller, call, turn) if magic == _MAGIC and zero == 0 else None


def filler_of(caller: int, call: int) -> bytes:
    """What follows the tag in all audio of a call: of its own length, 16 to 111 bytes."""
    digest = blake2b(f"{caller} {call}".encode(), digest_size=48).digest()
    return (digest * 3)[: 16 + digest[0] % 96]


@define(slots=True, eq=False, repr=False)
class Caller:
    """``number`` names it, ``ways`` are the public addresses that it may take from answers, the
    first of them for its first call. ``up`` and ``down`` are the two directions of its way to the
    relays."""

    number: int
    seed: str
    ways: tuple[Address, ...]
    clock: Clock
    exchange: Exchange
    up: Link
    down: Link
    pace: float
    dice: Dice
    restless: bool = True
    """Whether it hangs up, restarts and calls again for no reason but life."""
    relay: Address = field(init=False)
    """The public address that it means to use."""
    outsides: dict[bool, Address] = field(init=False, factory=dict)
    """Its addresses as its NAT gives them, IPv4 (True) and IPv6."""
    client: Client | None = field(init=False, default=None)
    calls: int = field(init=False, default=0)
    call: str = field(init=False, default="")
    wants: bool = field(init=False, default=True)
    """Whether it is to be in a call."""
    channel: int | None = field(init=False, default=None)
    with_data: bool = field(init=False, default=False)
    data_over: bool = field(init=False, default=False)
    filler: bytes = field(init=False, default=b"")
    turn: int = field(init=False, default=0)
    messages: int = field(init=False, default=0)
    replies: int = field(init=False, default=0)
    said_at: dict[int, Instant] = field(init=False, factory=dict)
    """In virtual time, of the payloads of the last while."""
    message_at: dict[int, Instant] = field(init=False, factory=dict)
    drops: Counter[str] = field(init=False, factory=Counter)
    events: Counter[str] = field(init=False, factory=Counter)
    _keeps_port: bool = field(init=False, default=False)
    _accepted_at: Instant = field(init=False, default=0.0)
    _asks_again_at: Instant = field(init=False, default=0.0)
    _restarting: bool = field(init=False, default=False)
    _was_secured: bool = field(init=False, default=False)
    _alarm: Alarm = field(init=False)
    _whims: Dice = field(init=False)
    """By which it chooses among ``ways``."""

    def __attrs_post_init__(self) -> None:
        self._alarm = Alarm(self.clock, self._ring)
        self._whims = Dice(f"{self.seed} whims {self.number}")
        self.relay = self.ways[0]
        self._keeps_port = self.dice.happens(0.5)
        self._take_addresses()

    @property
    def outside(self) -> Address:
        """Its address towards the relay that it means to use."""
        return self.outsides[self.relay.is_ipv4]

    def _take_addresses(self) -> None:
        for ipv4 in dict.fromkeys(way.is_ipv4 for way in self.ways):
            self.exchange.give_address(self, ipv4)

    # Calling

    def dial(self) -> None:
        """Make a new call, unless it does not want to be in one any more."""
        if not self.wants:
            return
        self.calls += 1
        self.call = ""
        self.channel, self.data_over, self.turn, self.messages, self.replies = None, False, 0, 0, 0
        self.said_at.clear()
        self.message_at.clear()
        self._restarting = self._was_secured = False
        self.with_data = self.dice.happens(0.4)
        self.filler = filler_of(self.number, self.calls)
        if self.calls > 1 and not self._keeps_port:
            self._take_addresses()
        if self.calls > 1 and not self.exchange.calm:
            self._choose(0.3)
        self.client = Client(
            entropy=seeded(f"{self.seed} caller {self.number} call {self.calls}"),
            address=HOME,
            setup=self.dice.pick(("actpass", "actpass", "active", "passive")),
            contents=("audio", "data") if self.with_data else ("audio",),
            nominate_at_once=self.dice.happens(0.3),
            usable=self._means,
            tell=self._heard,
        )
        self.exchange.open(self, self.client.offer())

    def answered(self, number: int, call: str, answer: str | Refusal) -> None:
        """Signalling has answered the offer of the call of that number."""
        client = self.client
        if number != self.calls or client is None:
            return
        if isinstance(answer, Refusal):
            self.client = None
            self._dial_later(RETRY)
            return
        self.call = call
        self._accepted_at = self.clock.now
        client.accept(answer, self.clock.now)
        self._after(client)
        loop = self.clock.loop
        loop.after(self.pace * self.dice.unit(), self._tick, number)
        if self.restless:
            loop.after(5.0 + self.dice.waiting(30.0), self._leave, number)
            loop.after(3.0 + self.dice.waiting(40.0), self._move_on, number)
            if len(self.ways) > 1:
                loop.after(2.0 + self._whims.waiting(20.0), self._turn, number)

    def reanswered(self, number: int, answer: str | Refusal) -> None:
        """Signalling has answered the offer of an ICE restart."""
        client = self.client
        if number != self.calls or client is None or client.closed:
            return
        self._restarting = False
        if answer is Refusal.UNKNOWN:
            self.events["call unknown"] += 1
            self.redial()
        elif isinstance(answer, str):
            try:
                client.accept(answer, self.clock.now)
            except AnswerError:
                self.events["answer unusable"] += 1
                self.redial()
                return
            self.events["restarted"] += 1
            self._after(client)

    def redial(self) -> None:
        """This call is lost: forget it and make another."""
        self.events["redialled"] += 1
        self._hang_up_here()
        self._dial_later(0.5)

    def stop(self) -> None:
        """Hang up for good, one way or the other."""
        self.wants = False
        self._leave(self.calls)
        self.client = None

    def move(self) -> None:
        """The NAT has given it another address; what is on the way to the old one is lost."""
        self.exchange.give_address(self, self.relay.is_ipv4)

    def jump(self, seconds: float) -> None:
        """Its machine was suspended."""
        self.clock.jump(seconds)
        self._ring()

    def _dial_later(self, seconds: float) -> None:
        self.clock.loop.after(seconds, self._dial_unless, self.calls)

    def _dial_unless(self, number: int) -> None:
        if number == self.calls and self.client is None:
            self.dial()

    def _hang_up_here(self) -> None:
        client = self.client
        if client is not None:
            client.close(self.clock.now)
            self._after(client)
        self.client = None

    # What life brings

    def _leave(self, number: int) -> None:
        """Hang up: by signalling, by closing, or by going away without a word."""
        client = self.client
        if number != self.calls or client is None or (self.exchange.calm and self.wants):
            return
        way = self.dice.below(3)
        self.events[("hung up", "closed", "vanished")[way]] += 1
        if way == 0:
            self.exchange.hang_up(self)
        elif way == 1:
            self._hang_up_here()
        self.client = None
        if self.wants:
            self._dial_later(self.dice.between(0.2, 5.0))

    def _move_on(self, number: int) -> None:
        """Restart ICE for no reason, as a phone does that changes networks."""
        if number == self.calls and not self.exchange.calm and self._was_secured:
            if self.dice.happens(0.5):
                self.move()
            self._restart()

    def _turn(self, number: int) -> None:
        """Go over to another of the server's addresses in the middle of a call."""
        client = self.client
        if number != self.calls or client is None or self.exchange.calm:
            return
        if client.secured and not client.closed and not self._restarting and self._choose(1.0):
            self.events["turns"] += 1
            client.turn_to(self.relay, self.clock.now)
            self._after(client)
        self.clock.loop.after(2.0 + self._whims.waiting(20.0), self._turn, number)

    def _choose(self, likely: float) -> bool:
        """Perhaps mean to use another public address: whether it is another now."""
        before = self.relay
        if len(self.ways) > 1 and self._whims.happens(likely):
            self.relay = self._whims.pick(self.ways)
            self.events["other families"] += self.relay.is_ipv4 is not before.is_ipv4
            self.events["other addresses"] += self.relay != before
        return self.relay != before

    def _means(self, address: Address) -> bool:
        return address == self.relay

    def _restart(self) -> None:
        client = self.client
        if client is not None and not self._restarting:
            if not self.exchange.calm:
                self._choose(0.5)
            self._restarting = True
            self.events["restarts"] += 1
            self._asks_again_at = self.clock.now + 3.0
            self.exchange.reoffer(self, client.restart())

    def _tick(self, number: int) -> None:
        """Once per packet of audio: say it, and look whether all is well."""
        client = self.client
        if number != self.calls or client is None:
            return
        now = self.clock.now
        if client.closed or client.failed is not None or self.data_over:
            self.redial()
            return
        quiet = now - max(client.answered_at or 0.0, self._accepted_at)
        if quiet > GIVE_UP or (not client.secured and now - self._accepted_at > ESTABLISHING):
            self.redial()
            return
        if quiet > NOTICE and not self._restarting and now >= self._asks_again_at:
            self._restart()
        if client.secured:
            self._say(client)
        self.clock.loop.after(self.pace, self._tick, number)

    def _say(self, client: Client) -> None:
        now = self.clock.loop.now
        self.turn += 1
        self.said_at[self.turn] = now
        if len(self.said_at) > 64:
            del self.said_at[next(iter(self.said_at))]
        payload = said(self.number, self.calls, self.turn, self.filler)
        client.send_audio(payload, int(self.turn * self.pace * SAMPLES))
        if self.with_data and self.turn % MESSAGE_EVERY == 2:
            self._send_message(client)
        self._after(client)

    def _send_message(self, client: Client) -> None:
        channel = self.channel
        if channel is None or client.channels is None:
            return
        number = self.messages + 1
        text = self.message(number)
        try:
            client.with_channels(
                lambda channels: channels.send(channel, text, self.clock.now), self.clock.now
            )
        except ChannelError:
            self.events["message not taken"] += 1
            return
        self.messages = number
        self.message_at[number] = self.clock.loop.now
        if len(self.message_at) > 64:
            del self.message_at[next(iter(self.message_at))]

    def message(self, number: int) -> str:
        """The text of a message: now and then one of many packets."""
        length = 6000 if number % 4 == 0 else 40
        return f"{self.number}/{self.calls}/{number}/" + self.filler.hex()[:16] * (length // 16)

    # The client's verbs

    def receive(self, data: bytes, proxy: Address) -> None:
        """A datagram that the NAT let through."""
        client = self.client
        if client is not None:
            client.receive_datagram(data, proxy, self.clock.now)
            self._after(client)

    def _ring(self) -> None:
        client = self.client
        if client is not None:
            client.handle_timeout(self.clock.now)
            self._after(client)

    def _after(self, client: Client) -> None:
        if client.secured and not self._was_secured:
            self._was_secured = True
            self.exchange.secured(self)
            if self.with_data and client.channels is not None:
                now = self.clock.now
                self.channel = client.with_channels(lambda each: each.open("said", now=now), now)
        while (transmit := client.next_transmit()) is not None:
            self.exchange.launch(self, transmit.data, transmit.address)
        self._alarm.want(client.next_timeout())

    def _heard(self, thing: Told) -> None:
        match thing:
            case rtp.RtpPacket(payload=payload):
                self.exchange.echoed(self, payload)
            case datachannel.Message(message=message):
                self.exchange.replied(self, message)
            case datachannel.Ended():
                self.data_over = True
            case bytes():
                self.events["reports"] += 1
            case str():
                self.drops[thing] += 1
            case Drop() | datachannel.Dropped():
                drop = thing if isinstance(thing, Drop) else thing.drop
                self.drops[drop.value] += 1
            case _:
                """The life of a channel."""
