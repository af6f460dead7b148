"""What must hold, whatever happens.

**Ownership.** A Binding request reaches the transceiver that its hint names and no other, ever. Any
other datagram of a client reaches a transceiver T only if one of these is so:

1. T has been *led to* that client address at this relay's port lately: a check from there named T,
   or T sent there and the relay let it pass. Lately is as long as a flow may outlive its session:
   two idle timeouts, the time until another session may take over, and some seconds for a check.
2. It is RTP or RTCP, its address has no flow, and its SSRC was in an offer that T answered, or was
   in RTP that came to T by another rule: a client that takes an address over which others have
   left takes their flow over too, for a while, and the relay learns its SSRC there.
3. The store said so, nothing has proved the flow yet, and either the store has been wrong before in
   this run, or what it said was true by the first rule within the life of an entry.

At an upstream relay T is the relay behind it, through which the hint's transceiver is reached.

**Addresses.** What is sent to a client leaves from a public address of the relay that sends it, to
which somebody has sent from the client's address; and where that is an upstream relay's, the relay
behind hands it on to that one, as it handed on what came from there with its header unchanged.

**Separation.** All that is said bears the caller, the call and a number. A transceiver hears it in
the session of that very call, whole; an echo comes back to that very caller in that very call.
Messages on a channel come once each and in their order.

**Blame.** What a client of ours seals is sound, so drops that only a broken peer behind the seal
could bring about are our own fault; ``INTERNAL`` lists them.

**Recovery** is told in ``recovery``, **bounds** and **leaks** beside the names below.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import define, field

from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.flow import Flow
from stunroute.forward import HEADER_LENGTH
from stunroute.hint import Hint
from stunroute.instant import Instant
from stunroute.relay import Downlink
from stunroute.stun import peek_username_untrusted
from stunroute.trace import Drop, Origin
from transceiver.events import AudioReceived, DataEnded, Ended, EndReason, MessageReceived
from transceiver.events import Event as CallEvent

from .callers import Caller, filler_of, said, who_said
from .loop import Loop
from .processes import Host, Worker
from .scene import Scene
from .store import TTL

SETTLING = 8.0
"""After the last fault a check that is lost may be repeated for ``client.CHECK_PATIENCE`` before a
fresh one goes out; that one, and the audio behind it, have some seconds to come back."""
INTERNAL = frozenset(
    (
        *(Drop.RTP_MALFORMED, Drop.RTCP_MALFORMED, Drop.RTP_PAYLOAD_TYPE, Drop.RTP_NO_PAYLOAD),
        Drop.RTP_SECTION,
        *(Drop.SRTP_TOO_LONG, Drop.SRTP_SOURCES, Drop.DTLS_CONTENT, Drop.DTLS_RENEGOTIATION),
        *(Drop.SCTP_MALFORMED, Drop.SCTP_CHECKSUM, Drop.SCTP_PORT, Drop.SCTP_TAG),
        *(Drop.SCTP_COOKIE, Drop.SCTP_BUNDLED, Drop.SCTP_UNKNOWN_CHUNK, Drop.SCTP_ACK),
        *(Drop.SCTP_STREAM, Drop.SCTP_FRAGMENT, Drop.SCTP_MESSAGE_TOO_LONG),
        *(Drop.CHANNEL_MALFORMED, Drop.CHANNEL_REFUSED, Drop.CHANNEL_PROTOCOL),
        Drop.DATA_NOT_NEGOTIATED,
        *(Drop.HINT_OUTSIDE_WINDOW, Drop.TOO_LONG, Drop.SEND_BACKLOG),
    )
)
"""What neither the network nor a client that behaves can bring about."""


_SSRC = slice(8, 12)  # of RTP (RFC 3550, 5.1)
_SENDER = slice(4, 8)  # of RTCP (RFC 3550, 6.4)


class Violation(Exception):
    """``rule`` is the word above the paragraph that was broken."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@define(slots=True, eq=False, repr=False)
class Call:
    """What signalling knows: who called, and who answered."""

    caller: int
    number: int
    host: Host
    messages: int = 0
    """How many have been heard."""


@define(slots=True, eq=False, repr=False)
class Checks:
    """A ``processes.Watch``; its methods raise Violation."""

    scene: Scene
    loop: Loop
    calls: dict[str, Call] = field(factory=dict)
    passed: Counter[str] = field(factory=Counter)
    """How often each rule was looked at and held, so that a rule that never was shows."""
    store_suspect: bool = False
    leg_suspect: bool = False
    """Headers may have been spoilt on the leg."""
    _used: set[tuple[Address, Address]] = field(factory=set)
    """Which client addresses have sent to which public ones."""
    _led: dict[tuple[Address, Address], Instant] = field(factory=dict)
    _sources: dict[bytes, set[Address]] = field(factory=dict)

    # --- ownership --------------------------------------------------------------------------------

    def lately(self, worker: Worker) -> float:
        """How long a flow may outlive its session."""
        config = worker.site.config
        return 2 * config.idle_timeout + config.takeover_idle + SETTLING

    def answers(self, call: str, caller: Caller, ssrc: int, host: Host) -> None:
        """``host`` has taken a call."""
        self.calls[call] = Call(caller.number, caller.calls, host)
        self._sources.setdefault(ssrc.to_bytes(4, "big"), set()).add(host.address)

    def uplink(self, worker: Worker, data: bytes, client: Address, flow: Flow) -> None:
        """``data`` is about to go to the flow's next hop."""
        hop = flow.next_hop
        lately = self.lately(worker)
        self._used.add((client, flow.proxy))
        named = self._named(worker, data)
        if named is not None:
            if named != hop:
                raise Violation("ownership", f"a check for {named} of {client} went to {hop}")
            self._led[client, hop] = self.loop.now
            self.passed["ownership of checks"] += 1
            return
        since = self.loop.now - self._led.get((client, hop), -1e9)
        if since <= lately:
            self.passed["ownership"] += 1
            self._carried(data, hop)
        elif self._by_source(worker, data, client, flow):
            self.passed["ownership by source"] += 1
        elif flow.origin is Origin.STORE and (self.store_suspect or since <= lately + TTL):
            self.passed["ownership by store"] += 1
            self._carried(data, hop)
        else:
            raise Violation(
                "ownership",
                f"{classify(data).name} of {client} went to {hop}, to which nothing has led "
                f"for {since:.1f} s (made by {flow.origin.value}, proved {flow.proved:.3f})",
            )

    def restored(self, worker: Worker, data: bytes, client: Address, hop: Address) -> None:
        """A packet that waited for the store is about to go to ``hop``."""
        core = worker.core
        flow = None if core is None else core.flow(client)
        if flow is None:
            raise Violation("ownership", f"a packet of {client} was let go without a flow")
        self.uplink(worker, data[HEADER_LENGTH:], client, flow)

    def passed_on(self, worker: Worker, data: bytes, flow: Flow) -> None:
        """``data``, as an upstream relay has sent it, is about to go to the flow's next hop."""
        if not data.startswith(flow.header):
            raise Violation("addresses", f"a header of {flow.client} is not {flow.header.hex()}")
        self.passed["headers between relays"] += 1
        self.uplink(worker, data[HEADER_LENGTH:], flow.client, flow)

    def downlink(self, worker: Worker, hop: Address, route: Downlink) -> None:
        """A packet of ``hop`` is about to go to a client, or to the upstream relay before it."""
        upstream = worker.upstream.get(route.proxy)
        if route.upstream != upstream or (upstream is None) is not (
            route.proxy in worker.site.publics
        ):
            raise Violation("addresses", f"{worker.inner} sends from {route.proxy}")
        if not self.leg_suspect and (route.client, route.proxy) not in self._used:
            raise Violation("addresses", f"{route.client} has never sent to {route.proxy}")
        self.passed["addresses" if upstream is None else "addresses behind another"] += 1
        self._led[route.client, hop] = self.loop.now

    def led_to(self, client: Address) -> Iterator[Address]:
        """Where packets from this address may lately have gone to."""
        config = [site.config for site in self.scene.relays]
        lately = 2 * max(each.idle_timeout for each in config) + self.scene.takeover + SETTLING
        for (address, hop), since in self._led.items():
            if address == client and self.loop.now - since <= lately:
                yield hop

    def _named(self, worker: Worker, data: bytes) -> Address | None:
        """The next hop on the way to the transceiver that a check names."""
        if len(data) < stun.HEADER_LENGTH or data[:2] != b"\x00\x01":
            return None
        username = peek_username_untrusted(data)
        if username is None:
            return None
        hint = self.scene.keyring.decode_untrusted(username.partition(b":")[0], self.loop.now)
        if not isinstance(hint, Hint):
            return None
        return next((address for node, address in worker.site.hops if node == hint.node), None)

    def _carried(self, data: bytes, hop: Address) -> None:
        if classify(data) is Kind.RTP and len(data) >= _SSRC.stop:
            self._sources.setdefault(data[_SSRC], set()).add(hop)

    def _by_source(self, worker: Worker, data: bytes, client: Address, flow: Flow) -> bool:
        where = {Kind.RTP: _SSRC, Kind.RTCP: _SENDER}.get(classify(data))
        if where is None or worker.core is None or worker.core.flow(client) is flow:
            return False
        return flow.next_hop in self._sources.get(data[where], ())

    # --- separation -------------------------------------------------------------------------------

    def audio(self, host: Host, event: AudioReceived) -> None:
        """A transceiver has heard a packet."""
        call = self._call(host, event.call)
        tag = who_said(event.payload)
        if tag is None or tag[:2] != (call.caller, call.number):
            raise Violation("separation", f"{event.call} of {call.caller} heard {tag}")
        if event.payload != said(*tag, filler_of(*tag[:2])):
            raise Violation("separation", f"{event.call} heard something else than was said")
        self.passed["separation of audio"] += 1

    def message(self, host: Host, event: MessageReceived) -> None:
        """A transceiver has heard a message."""
        call = self._call(host, event.call)
        caller, number, turn = _message_tag(event.message)
        if (caller, number) != (call.caller, call.number):
            raise Violation("separation", f"{event.call} of {call.caller} heard of {caller}")
        if turn != call.messages + 1:
            raise Violation("separation", f"{event.call} heard {turn} after {call.messages}")
        call.messages = turn
        self.passed["separation of messages"] += 1

    def _call(self, host: Host, name: str) -> Call:
        call = self.calls.get(name)
        if call is None or call.host is not host:
            raise Violation("separation", f"{name} is no call of {host.node}")
        return call

    def told(self, host: Host, event: CallEvent) -> None:
        """A call has ended, or its channels have."""
        match event:
            case Ended(call=call, reason=EndReason.BACKEND_FAILED | EndReason.MAXIMUM_LENGTH):
                raise Violation("recovery", f"{call} ended with {event.reason.value}")
            case DataEnded(call=call, detail=detail):
                self.passed[f"channels ended ({detail[:40]})"] += 1

    def echoed(self, caller: Caller, payload: bytes) -> int:
        """A caller has heard audio: the number of what it had said."""
        tag = who_said(payload)
        if tag is None or tag[:2] != (caller.number, caller.calls):
            raise Violation("separation", f"caller {caller.number} heard {tag} in {caller.calls}")
        if payload != said(*tag, caller.filler):
            raise Violation("separation", f"caller {caller.number} heard what it has not said")
        self.passed["separation of echoes"] += 1
        return tag[2]

    def replied(self, caller: Caller, message: str | bytes) -> int:
        """A caller has heard a message: the number of what it had sent."""
        who, number, turn = _message_tag(message)
        if (who, number) != (caller.number, caller.calls) or message != caller.message(turn):
            raise Violation("separation", f"caller {caller.number} was sent {message[:40]!r}")
        if turn != caller.replies + 1:
            raise Violation("separation", f"caller {caller.number}: {turn} after {caller.replies}")
        caller.replies = turn
        self.passed["separation of replies"] += 1
        return turn

    # --- bounds and leaks -------------------------------------------------------------------------

    def bounds(self, workers: Iterable[Worker], hosts: Iterable[Host]) -> None:
        """Whether any table is longer than it may be."""
        limits = self.scene.endpoint_config
        for worker in workers:
            core, config = worker.core, worker.site.config
            if core is None:
                continue
            _within("flows", core.flows, config.flows)
            _within("contenders", core.contenders, config.contenders)
            _within("waiting clients", core.waiting, config.waiting_clients)
        for host in hosts:
            endpoint = host.core
            if endpoint is None:
                continue
            calls = endpoint.calls
            _within("sessions", len(calls), limits.sessions)
            now = host.clock.now
            for call in calls:
                seen = endpoint.snapshot(call, now)
                _within("validated paths", seen.ice_validated, limits.ice.validated_paths)
                _within("channels", seen.channels or 0, limits.channel.channels)
            sizes = endpoint.sizes()
            _within("deadlines", sizes["heap"], 2 * len(calls) + 64)
            paths = limits.ice.validated_paths
            _within("addresses", sizes["by_address"], (paths + 1) * len(calls))
            _within("ufrags", sizes["by_ufrag"], 2 * len(calls))
            sources = limits.session.remote_sources
            _within("sources", sizes["by_source"], sources * len(calls))
        self.passed["bounds"] += 1

    def leaks(self, workers: Iterable[Worker], hosts: Iterable[Host]) -> None:
        """Whether anything is left, long after everybody has hung up."""
        for worker in workers:
            core = worker.core
            if core is None:
                raise Violation("leaks", f"the worker at {worker.inner} was not started again")
            left = {
                "flows": core.flows,
                "contenders": core.contenders,
                "waiting": core.waiting,
                "sources": sum(map(len, core.sources.shards)),
                "changes": 0 if worker.store is None else worker.store.waiting,
            }
            _nothing(f"the relay's worker at {worker.inner}", left)
        for host in hosts:
            if host.core is not None:
                _nothing(f"transceiver {host.node}", host.core.sizes())
        self.passed["leaks"] += 1

    # --- blame ------------------------------------------------------------------------------------

    def blame(self, drops: Iterable[tuple[str, Counter[Drop]]]) -> None:
        """Whether anything was dropped for a reason that can only be our own."""
        for who, counted in drops:
            for drop, packets in counted.items():
                if drop in INTERNAL:
                    raise Violation("blame", f"{who} dropped {packets} for {drop.value}")
        self.passed["blame"] += 1


def _message_tag(message: str | bytes) -> tuple[int, int, int]:
    parts = message.split("/", 3) if isinstance(message, str) else []
    if len(parts) != 4 or not all(part.isdecimal() for part in parts[:3]):
        raise Violation("separation", f"a message that nobody sent: {message[:40]!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _within(what: str, size: int, bound: int) -> None:
    if size > bound:
        raise Violation("bounds", f"{size} {what}, where {bound} is the bound")


def _nothing(who: str, left: dict[str, int]) -> None:
    kept = ", ".join(f"{count} {what}" for what, count in left.items() if count)
    if kept:
        raise Violation("leaks", f"{who} still has {kept}")
