"""Many calls at a live server, over real sockets, from one thread.

The client core is the simulator's; here it gets a socket each and the machine's clock. One asyncio
loop drives all of them: signalling goes through one HTTP client, each socket is read when it has
something, and one heap holds whatever is due next, audio and deadlines alike. The loop must keep up
with what it sends, or its figures mean nothing: it says how late it was and what it took of the
CPU, and audio that would be late by more than ``SKIPPED`` is left out and counted rather than sent
in a heap.

It sends to the host that the URL names and to addresses that were allowed, and to nobody else; it
is bounded in calls and in time, and hangs everything up at the end, however that comes.
"""

import asyncio
import contextlib
import heapq
import os
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

import httpx
from attrs import define, field, frozen

from conformance.blackbox.wire import hosts_of, local_ip
from conformance.client import AnswerError, Client, Told
from stunroute.address import Address
from stunroute.instant import Instant
from transceiver import datachannel
from transceiver.datachannel.channels import ChannelError
from transceiver.srtp import rtp

ESTABLISHING = 15.0
"""Seconds that a call may take to come up before it counts as failed."""
SKIPPED = 0.2
"""Seconds by which audio may be late."""
LAST_ECHOES = 0.5
"""Seconds after the last packet in which echoes are still waited for."""
HANGING_UP = 5.0
"""Seconds that the ends of all calls may take together."""
SAMPLES = 200_000
REMEMBERED = 1024
"""Packets of a call whose echo may still come."""
DATAGRAM = 65536
AT_ONCE = 64
"""Datagrams that are read from one socket before the others have their turn."""
CONNECTIONS = 32
_TAG = struct.Struct(">4sIQ")
_MAGIC = b"load"
_PAYLOAD = 80  # of Opus: 20 ms at 32 kbit/s
_CLOCK = 48_000


@frozen(slots=True)
class Plan:
    """``ramp``: calls begun per second; ``seconds``: how long they talk once the last has begun;
    ``pace``: seconds between two packets of audio of a call; ``hosts`` are IP addresses with port 0
    and whole addresses that answers may lead to, the first being the server's."""

    url: str
    hosts: tuple[Address, ...]
    sessions: int
    ramp: float
    seconds: float
    pace: float = 0.02
    data: bool = False
    headers: dict[str, str] = field(factory=dict, repr=False)


class Reason(Enum):
    """Why a call failed. ``refused`` has the HTTP status behind it."""

    REFUSED = "refused"
    SIGNALLING = "HTTP to the server failed"
    ANSWER = "answer unusable"
    ELSEWHERE = "answer leads where we may not send"
    UNCHECKED = "no check was answered"
    HANDSHAKE = "DTLS did not end"
    CLOSED = "closed by the server"
    SOCKET = "no socket"


@define(slots=True)
class Sample:
    """Times in seconds, of which at most ``SAMPLES`` are kept, evenly, and the longest."""

    seen: int = 0
    longest: float = 0.0
    _kept: list[float] = field(factory=list)
    _stride: int = 1

    def add(self, seconds: float) -> None:
        self.seen += 1
        self.longest = max(self.longest, seconds)
        if self.seen % self._stride == 0:
            self._kept.append(seconds)
        if len(self._kept) >= SAMPLES:
            self._kept = self._kept[1::2]
            self._stride *= 2

    def quantiles(self) -> dict[str, float] | None:
        """Half, 95 and 99 of 100, and the longest, in milliseconds; None of nothing."""
        ordered = sorted(self._kept)
        if not ordered:
            return None
        last = len(ordered) - 1
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        found = {name: ordered[round(share * last)] for name, share in shares.items()}
        times = found | {"max": self.longest}
        return {name: round(seconds * 1000, 2) for name, seconds in times.items()}


@define(slots=True)
class Figures:
    """What is measured."""

    answered: Sample = field(factory=Sample)
    """From the offer to the answer."""
    established: Sample = field(factory=Sample)
    """From the offer to keys on both sides."""
    round_trips: Sample = field(factory=Sample)
    message_round_trips: Sample = field(factory=Sample)
    sent: int = 0
    echoed: int = 0
    messages: int = 0
    replies: int = 0
    skipped: int = 0
    lateness: float = 0.0
    """The longest that anything was late."""
    failures: Counter[str] = field(factory=Counter)
    drops: Counter[str] = field(factory=Counter)


@define(slots=True, eq=False, repr=False)
class Call:
    """One client, its socket, and what it has under way."""

    number: int
    load: "Load"
    client: Client = field(init=False)
    udp: socket.socket | None = field(init=False, default=None)
    location: str = field(init=False, default="")
    begun: Instant = field(init=False, default=0.0)
    over: bool = field(init=False, default=False)
    _secured: bool = field(init=False, default=False)
    _due: Instant | None = field(init=False, default=None)
    _sent: dict[int, Instant] = field(init=False, factory=dict)
    _said: dict[str, Instant] = field(init=False, factory=dict)
    _turn: int = field(init=False, default=0)
    _channel: int | None = field(init=False, default=None)
    _destination: tuple[str, int] = field(init=False, default=("", 0))

    async def begin(self) -> None:
        """Offer, take the answer, and go on by itself from there."""
        load = self.load
        try:
            self.udp = load.open_socket()
        except OSError:
            return self.fail(Reason.SOCKET)
        self.client = Client(
            entropy=os.urandom,
            address=Address.of(*self.udp.getsockname()[:2]),
            contents=("audio", "data") if load.plan.data else ("audio",),
            announces=True,
            usable=load.may_send_to,
            tell=self._heard,
        )
        self.begun = time.monotonic()
        try:
            answered = await load.http.post(
                load.plan.url,
                content=self.client.offer().encode(),
                headers={"Content-Type": "application/sdp"},
            )
        except httpx.HTTPError:
            return self.fail(Reason.SIGNALLING)
        if answered.status_code not in (200, 201):
            return self.fail(Reason.REFUSED, str(answered.status_code))
        load.figures.answered.add(time.monotonic() - self.begun)
        self.location = answered.headers.get("location", "")
        return self._accept(answered.text)

    def _accept(self, answer: str) -> None:
        now = time.monotonic()
        try:
            self.client.accept(answer, now)
        except AnswerError as error:
            elsewhere = "we may send" in str(error)
            return self.fail(Reason.ELSEWHERE if elsewhere else Reason.ANSWER)
        server = self.client.server
        assert server is not None
        assert self.udp is not None
        self._destination = server.ip, server.port
        self.load.loop.add_reader(self.udp.fileno(), self._readable)
        self.load.at(self.begun + ESTABLISHING, self._look)
        self._after(now)
        return None

    def fail(self, reason: Reason, detail: str = "") -> None:
        """This call is over, and counts as failed."""
        if not self.over:
            name = f"{reason.value} {detail}".strip()
            self.load.figures.failures[name] += 1
            self.shut()

    def shut(self) -> None:
        """Say goodbye and let go of the socket."""
        if self.over:
            return
        self.over = True
        if self.udp is not None:
            if self.client.server is not None:
                self.client.close(time.monotonic())
                self._send_all()
            self.load.loop.remove_reader(self.udp.fileno())
            self.udp.close()

    # What happens

    def _readable(self) -> None:
        assert self.udp is not None
        now = time.monotonic()
        for _ in range(AT_ONCE):
            try:
                data, source = self.udp.recvfrom(DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier packet
                continue
            self.client.receive_datagram(data, Address.of(*source[:2]), now)
        self._after(now)

    def _wake(self, due: Instant) -> None:
        if due == self._due and not self.over:
            self._due = None
            now = time.monotonic()
            self.client.handle_timeout(now)
            self._after(now)

    def _after(self, now: Instant) -> None:
        client = self.client
        if self.over:
            return
        if client.secured and not self._secured:
            self._secured = True
            self.load.figures.established.add(now - self.begun)
            if client.channels is not None:
                self._channel = client.with_channels(lambda each: each.open("load", now=now), now)
                self.load.at(now + 0.2, self._message)
            if client.keys is not None:
                self.load.at(now, self._talk, now)
        self._send_all()
        if client.closed or client.failed is not None:
            self.fail(Reason.CLOSED if client.closed else Reason.HANDSHAKE)
            return
        due = client.next_timeout()
        if due is not None and (self._due is None or due < self._due):
            self._due = due
            self.load.at(due, self._wake, due)

    def _send_all(self) -> None:
        assert self.udp is not None
        while (transmit := self.client.next_transmit()) is not None:
            with contextlib.suppress(OSError):  # a full buffer is a loss like any other
                self.udp.sendto(transmit.data, self._destination)

    def _look(self) -> None:
        if not self._secured and not self.over:
            checked = self.client.validated_at is not None
            self.fail(Reason.HANDSHAKE if checked else Reason.UNCHECKED)

    def _talk(self, due: Instant) -> None:
        load = self.load
        if self.over or not load.talking:
            return
        now = time.monotonic()
        late = now - due
        if late > SKIPPED:
            missed = int(late / load.plan.pace)
            load.figures.skipped += missed
            self._turn += missed
            due += missed * load.plan.pace
        self._turn += 1
        self._sent[self._turn] = now
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]
        payload = _TAG.pack(_MAGIC, self.number, self._turn).ljust(_PAYLOAD, b"\x5a")
        self.client.send_audio(payload, int(self._turn * load.plan.pace * _CLOCK))
        load.figures.sent += 1
        self._after(now)
        load.at(due + load.plan.pace, self._talk, due + load.plan.pace)

    def _message(self) -> None:
        load, channel = self.load, self._channel
        if self.over or not load.talking or channel is None:
            return
        now = time.monotonic()
        text = f"load {self.number} {load.figures.messages}"
        try:
            self.client.with_channels(lambda each: each.send(channel, text, now), now)
        except ChannelError:
            load.figures.failures["message not taken"] += 1
            return
        load.figures.messages += 1
        self._said[text] = now
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]
        self._after(now)
        load.at(now + 1.0, self._message)

    def _heard(self, thing: Told) -> None:
        figures = self.load.figures
        match thing:
            case rtp.RtpPacket(payload=payload) if len(payload) >= _TAG.size:
                magic, number, turn = _TAG.unpack_from(payload)
                ours = magic == _MAGIC and number == self.number
                sent = self._sent.pop(turn, None) if ours else None
                if sent is not None:
                    figures.echoed += 1
                    figures.round_trips.add(time.monotonic() - sent)
            case datachannel.Message(message=str(text)):
                said = self._said.pop(text, None)
                if said is not None:
                    figures.replies += 1
                    figures.message_round_trips.add(time.monotonic() - said)
            case str():
                figures.drops[thing] += 1
            case _:
                """Reports, and audio that is no echo."""


@define(slots=True, eq=False, repr=False)
class Load:
    """``run`` does it all; ``stop`` ends it early, from a signal handler for instance."""

    plan: Plan
    figures: Figures = field(factory=Figures)
    talking: bool = field(init=False, default=True)
    http: httpx.AsyncClient = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)
    calls: list[Call] = field(init=False, factory=list)
    stopped: bool = field(init=False, default=False)
    _stop: asyncio.Event = field(init=False, factory=asyncio.Event)
    _heap: list[tuple[Instant, int, Callable[..., None], tuple[Any, ...]]] = field(factory=list)
    _turn: int = 0
    _timer: asyncio.TimerHandle | None = None
    _bind: str = ""

    def stop(self) -> None:
        """Hang up now."""
        self.stopped = True
        self._stop.set()

    def may_send_to(self, address: Address) -> bool:
        """Whether an answer may lead there."""
        given = address in self.plan.hosts or address.host in hosts_of(
            each for each in self.plan.hosts if each.port == 0
        )
        return given and address.is_sendable

    def open_socket(self) -> socket.socket:
        """Bound where the kernel would send to the server from. Raises OSError."""
        family = socket.AF_INET if ":" not in self._bind else socket.AF_INET6
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.bind((self._bind, 0))
        except OSError:
            made.close()
            raise
        return made

    def at(self, when: Instant, act: Callable[..., None], *arguments: Any) -> None:
        """Call ``act`` at ``when`` by the machine's monotonic clock."""
        self._turn += 1
        first = not self._heap or when < self._heap[0][0]
        heapq.heappush(self._heap, (when, self._turn, act, arguments))
        if first:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._heap[0][0], self._ring) if self._heap else None

    def _ring(self) -> None:
        self._timer = None
        now = time.monotonic()
        for _ in range(len(self._heap)):
            if not self._heap or self._heap[0][0] > now:
                break
            when, _, act, arguments = heapq.heappop(self._heap)
            self.figures.lateness = max(self.figures.lateness, now - when)
            act(*arguments)
        self._set_timer()

    async def run(self) -> dict[str, Any]:
        """The whole of it; the figures as they are printed. Raises OSError where there is no way to
        the server."""
        self.loop = asyncio.get_running_loop()
        self._bind = local_ip(self.plan.hosts[0])
        _allow_sockets(self.plan.sessions)
        began, cpu = time.monotonic(), time.process_time()
        limits = httpx.Limits(max_connections=CONNECTIONS)
        self.http = httpx.AsyncClient(
            timeout=ESTABLISHING, limits=limits, headers=self.plan.headers, trust_env=False
        )
        async with self.http:
            begun = await self._begin_all()
            await self._wait(self.plan.seconds)
            self.talking = False
            if not self.stopped:
                await asyncio.sleep(LAST_ECHOES)
            await self._hang_up(begun)
        took = time.monotonic() - began
        return self._told(took, time.process_time() - cpu)

    async def _begin_all(self) -> set[asyncio.Task[None]]:
        tasks = set()
        for number in range(self.plan.sessions):
            if self.stopped:
                break
            call = Call(number, self)
            self.calls.append(call)
            tasks.add(asyncio.create_task(call.begin()))
            await self._wait(1.0 / self.plan.ramp)
        return tasks

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _hang_up(self, begun: set[asyncio.Task[None]]) -> None:
        """End all calls, here and by signalling where they have a name of our server's."""
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        for call in self.calls:
            call.shut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANGING_UP):
                await asyncio.gather(*(self._delete(call.location) for call in self.calls))
        if self._timer is not None:
            self._timer.cancel()

    async def _delete(self, location: str) -> None:
        where = httpx.URL(self.plan.url).join(location)
        ours = httpx.URL(self.plan.url)
        if location and (where.scheme, where.netloc) == (ours.scheme, ours.netloc):
            with contextlib.suppress(httpx.HTTPError):
                await self.http.delete(where)

    def _told(self, took: float, cpu: float) -> dict[str, Any]:
        figures = self.figures
        lost = 1 - figures.echoed / figures.sent if figures.echoed else None
        return {
            "sessions": len(self.calls),
            "established": figures.established.seen,
            "failures": dict(figures.failures),
            "stopped_early": self.stopped,
            "answer_ms": figures.answered.quantiles(),
            "establish_ms": figures.established.quantiles(),
            "audio": {
                "sent": figures.sent,
                "echoed": figures.echoed,
                "lost": None if lost is None else round(lost, 5),
                "round_trip_ms": figures.round_trips.quantiles(),
                "skipped": figures.skipped,
            },
            "messages": {
                "sent": figures.messages,
                "answered": figures.replies,
                "round_trip_ms": figures.message_round_trips.quantiles(),
            },
            "drops": dict(figures.drops),
            "seconds": round(took, 2),
            "own_cpu": round(cpu / took, 3),
            "longest_lateness_ms": round(figures.lateness * 1000, 2),
        }


def _allow_sockets(sessions: int) -> None:
    """A socket each, within what the machine lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sessions + 256
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
