"""A client, a relay and a transceiver in one process, on one virtual clock.

``Client`` is the other side of a call, made of the same parts as the transceiver (STUN, DTLS and
SRTP of this project) but with a full, controlling ICE agent's behaviour: it sends checks, it
nominates, it resends. It is deterministic: entropy and clock are arguments here too. ``Rig``
joins clients, a ``Relay`` and an ``Endpoint`` and moves virtual time from one deadline to the
next. No socket, no sleep.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field, frozen

from offering import write_offer
from stunroute import stun
from stunroute.address import Address, Transmit
from stunroute.demux import Kind, classify
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Entropy, Instant
from stunroute.pump import pump
from stunroute.relay import Downlink, Relay
from stunroute.trace import Drop
from transceiver import datachannel
from transceiver.config import ChannelLimits, DtlsLimits, EndpointConfig, SctpLimits
from transceiver.datachannel import DataChannels
from transceiver.dtls import DtlsConnection, Fingerprint, Identity, Role
from transceiver.dtls.events import (
    ApplicationData,
    Dropped,
    Failed,
    HandshakeComplete,
    PeerClosed,
)
from transceiver.keying import SrtpKeys, SrtpProfile
from transceiver.sctp.association import Association
from transceiver.srtp import SrtpContext, SrtpError, rtp

PUBLIC = Address.of("203.0.113.1", 3478)
"""The relay's public address, the one in the answer."""
INNER = Address.of("10.1.0.1", 4000)
"""The relay's inner address, to which the transceiver sends."""
OWNER = Address.of("10.1.0.2", 5000)
"""The transceiver's address on the leg."""
HOME = Address.of("192.0.2.33", 50000)
"""Where a client sends from unless told otherwise."""

CHECK_PACE = 0.05
KEEPALIVE = 2.5


def seeded(seed: str | bytes | int) -> Entropy:
    """A deterministic entropy source: SHA-256 over the seed and a counter. Equal seeds give equal
    streams, whatever the sizes of the draws."""
    key = hashlib.sha256(repr(seed).encode()).digest()
    counter = 0
    pool = b""

    def draw(length: int) -> bytes:
        nonlocal counter, pool
        while len(pool) < length:
            pool += hashlib.sha256(key + counter.to_bytes(8, "big")).digest()
            counter += 1
        taken, pool = pool[:length], pool[length:]
        return taken

    return draw


_ICE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def ice_text(entropy: Entropy, length: int) -> str:
    return "".join(_ICE_CHARACTERS[octet % 62] for octet in entropy(length))


@define(slots=True)
class _Check:
    """A Binding request under way."""

    transaction_id: bytes
    data: bytes
    nominates: bool
    resend_at: Instant
    interval: float = 0.1


@define(slots=True)
class Client:
    """The far side of one call. Verbs in: ``start``, ``receive_datagram``, ``handle_timeout``,
    ``send_audio``, ``send_rtcp``, ``with_channels``, ``close``, ``restart``, ``rebind``. Out:
    ``next_transmit``, ``next_timeout``; what came in is kept in ``audio``, ``rtcp``, ``heard`` and
    ``drops``."""

    entropy: Entropy
    address: Address = HOME
    identity: Identity = field(default=None)  # type: ignore[assignment]
    setup: str = "actpass"
    codecs: tuple[tuple[int, str], ...] = ((111, "opus/48000/2"), (0, "PCMU/8000"))
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile)
    limits: DtlsLimits = field(factory=DtlsLimits)
    nominate_at_once: bool = False
    contents: tuple[str, ...] = ("audio",)
    """The offer's sections in their order: ``audio`` and ``data``."""
    negotiated: tuple[tuple[int, str], ...] = ()
    """Numbers and labels of channels that need no announcement."""

    ufrag: str = field(init=False)
    password: str = field(init=False)
    remote_ufrag: str = field(init=False, default="")
    remote_password: str = field(init=False, default="")
    server: Address | None = field(init=False, default=None)
    role: Role | None = field(init=False, default=None)
    dtls: DtlsConnection | None = field(init=False, default=None)
    keys: SrtpKeys | None = field(init=False, default=None)
    secured: bool = field(init=False, default=False)
    audio: list[rtp.RtpPacket] = field(init=False, factory=list)
    rtcp: list[bytes] = field(init=False, factory=list)
    channels: DataChannels | None = field(init=False, default=None)
    heard: list[datachannel.Event] = field(init=False, factory=list)
    drops: list[Drop | str] = field(init=False, factory=list)
    mapped: Address | None = field(init=False, default=None)
    validated_at: Instant | None = field(init=False, default=None)
    nominated: bool = field(init=False, default=False)
    closed: bool = field(init=False, default=False)
    failed: str | None = field(init=False, default=None)
    errors: list[int] = field(init=False, factory=list)
    keepalives: bool = field(init=False, default=True)
    payload_type: int = field(init=False, default=111)
    ssrc: int = field(init=False)
    sequence: int = field(init=False)
    _context: SrtpContext | None = field(init=False, default=None)
    _tie_breaker: int = field(init=False)
    _session_id: int = field(init=False)
    _checks: list[_Check] = field(init=False, factory=list)
    _next_check: Instant | None = field(init=False, default=None)
    _out: deque[Transmit] = field(init=False, factory=deque)

    def __attrs_post_init__(self) -> None:
        if self.identity is None:
            self.identity = identity(self.entropy)
        self._session_id = int.from_bytes(self.entropy(7), "big")
        self._tie_breaker = int.from_bytes(self.entropy(8), "big")
        self.ssrc = int.from_bytes(self.entropy(4), "big")
        self.sequence = int.from_bytes(self.entropy(2), "big")
        self._new_credentials()

    def _new_credentials(self) -> None:
        self.ufrag = ice_text(self.entropy, 4)
        self.password = ice_text(self.entropy, 24)

    # Signalling

    def offer(self) -> str:
        """The offer as SDP text; the same call again gives the same text."""
        return write_offer(
            self.contents,
            session_id=self._session_id,
            ice=(self.ufrag, self.password),
            fingerprint=self.identity.fingerprint,
            setup=self.setup,
            codecs=self.codecs,
            ssrc=self.ssrc,
        )

    def accept(self, answer: str, now: Instant) -> None:
        """Take the answer, and begin to check at once."""
        values: dict[str, str] = {}
        candidates: list[Address] = []
        for line in answer.splitlines():
            name, _, value = line.removeprefix("a=").partition(":")
            if line.startswith("a=candidate:"):
                parts = value.split()
                candidates.append(Address.of(parts[4], int(parts[5])))
            elif line.startswith("a="):
                values.setdefault(name, value)
            elif line.startswith("m=audio"):
                self.payload_type = int(line.split()[3])
        self.remote_ufrag, self.remote_password = values["ice-ufrag"], values["ice-pwd"]
        self.server = candidates[0]
        self.nominated = False
        self.validated_at = None
        self._checks.clear()
        self._next_check = now
        if self.dtls is None:
            active = values["setup"] == "passive"
            self.role = Role.CLIENT if active else Role.SERVER
            self.dtls = DtlsConnection(
                role=self.role,
                identity=self.identity,
                fingerprints=(Fingerprint.parse_untrusted(values["fingerprint"]),),
                entropy=self.entropy,
                limits=self.limits,
                profiles=self.profiles,
                srtp_required="audio" in self.contents,
            )
        if self.channels is None and "max-message-size" in values:
            self.channels = DataChannels(
                Association(entropy=self.entropy, limits=SctpLimits()),
                dtls_client=self.role is Role.CLIENT,
                max_message_size=int(values["max-message-size"]),
                limits=ChannelLimits(),
                negotiated=self.negotiated,
            )
        self.handle_timeout(now)

    def restart(self) -> str:
        """New credentials; returns the offer of the ICE restart. ``accept`` its answer."""
        self._new_credentials()
        return self.offer()

    def rebind(self, address: Address) -> None:
        """Send from ``address`` from now on, as after a NAT rebinding; what is queued goes too."""
        self.address = address

    # Verbs in

    def receive_datagram(self, data: bytes, source: Address, now: Instant) -> None:
        """``source`` is the relay's public address as the client sees it."""
        if source != self.server:
            self.drops.append("stranger")
            return
        match classify(data):
            case Kind.STUN:
                self._receive_stun(data, now)
            case Kind.DTLS if self.dtls is not None:
                self.dtls.receive_datagram(data, now)
                self._drain_dtls(now)
            case Kind.RTP | Kind.RTCP as kind if self._context is not None:
                self._receive_media(data, kind)
            case kind:
                self.drops.append(f"unexpected {kind.name}")

    def _receive_media(self, data: bytes, kind: Kind) -> None:
        assert self._context is not None
        try:
            if kind is Kind.RTCP:
                self.rtcp.append(self._context.unprotect_rtcp_untrusted(data))
            else:
                packet = self._context.unprotect_rtp_untrusted(data)
                self.audio.append(rtp.decode_untrusted(packet))
        except SrtpError as error:
            self.drops.append(error.drop)

    def _receive_stun(self, data: bytes, now: Instant) -> None:
        message = stun.decode_untrusted(data)
        check = next((c for c in self._checks if c.transaction_id == message.transaction_id), None)
        if check is None:
            self.drops.append("unknown transaction")
            return
        self._checks.remove(check)
        if message.message_class is stun.MessageClass.ERROR:
            error = message.error_code
            self.errors.append(error[0] if error else 0)
            return
        if not message.verify_integrity(stun.IntegrityKey(self.remote_password.encode())):
            self.drops.append("integrity")
            return
        self.mapped = message.xor_mapped_address
        self.nominated = self.nominated or check.nominates
        if self.validated_at is None:
            self.validated_at = now
            if self.dtls is not None and self.keys is None:
                self.dtls.start(now)
                self._drain_dtls(now)
        self._next_check = now + KEEPALIVE if self.nominated else now

    def handle_timeout(self, now: Instant) -> None:
        if self.closed or self.server is None:
            return
        for check in self._checks:
            if check.resend_at <= now:
                check.interval *= 2
                check.resend_at = now + check.interval
                self._send(check.data)
        if self._next_check is not None and self._next_check <= now:
            self._next_check = None
            self._send_check(now)
        if self.dtls is not None:
            due = self.dtls.next_timeout()
            if due is not None and due <= now:
                self.dtls.handle_timeout(now)
                self._drain_dtls(now)
        if self.channels is not None:
            due = self.channels.next_timeout()
            if due is not None and due <= now:
                self.channels.handle_timeout(now)
                self._drain_channels(now)

    def _send_check(self, now: Instant) -> None:
        if self.nominated and not self.keepalives:
            return
        nominates = self.nominate_at_once or self.validated_at is not None
        transaction_id = self.entropy(12)
        attributes = [
            (0x0006, f"{self.remote_ufrag}:{self.ufrag}".encode()),
            (0x0024, (1853824767).to_bytes(4, "big")),
            (0x802A, self._tie_breaker.to_bytes(8, "big")),
        ]
        if nominates:
            attributes.append((0x0025, b""))
        data = stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            transaction_id,
            attributes,
            integrity=stun.IntegrityKey(self.remote_password.encode()),
        )
        self._checks = self._checks[-7:]
        self._checks.append(_Check(transaction_id, data, nominates, now + 0.1))
        self._send(data)

    def check(self, now: Instant) -> None:
        """Send one more check at once, whatever the pace."""
        self._next_check = now
        self.handle_timeout(now)

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bytes:
        """Protect and queue one RTP packet; returns the protected bytes."""
        assert self._context is not None, "no keys yet"
        packet = rtp.RtpPacket(
            payload_type=self.payload_type,
            marker=marker,
            sequence=self.sequence,
            timestamp=timestamp & 0xFFFFFFFF,
            ssrc=self.ssrc,
            csrcs=(),
            extensions=(),
            payload=payload,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        data = self._context.protect_rtp(rtp.encode(packet))
        self._send(data)
        return data

    def send_rtcp(self, compound: bytes) -> None:
        assert self._context is not None, "no keys yet"
        self._send(self._context.protect_rtcp(compound))

    def with_channels(self, act: Callable[[DataChannels], Any], now: Instant) -> Any:
        """Do something with the data channels, and send what comes of it; what ``act`` returns."""
        assert self.channels is not None, "no data was agreed on"
        done = act(self.channels)
        self._drain_channels(now)
        return done

    def send_raw(self, data: bytes) -> None:
        """Queue bytes as they are: what a broken or a hostile client would send."""
        self._send(data)

    def close(self, now: Instant) -> None:
        """Hang up the way a client does: close_notify, then silence."""
        if self.dtls is not None:
            self.dtls.close(now)
            self._drain_dtls(now)
        self.closed = True

    # Verbs out

    def next_transmit(self) -> Transmit | None:
        return self._out.popleft() if self._out else None

    def next_event(self) -> None:
        return None

    def next_timeout(self) -> Instant | None:
        if self.closed or self.server is None:
            return None
        due = [check.resend_at for check in self._checks]
        if self._next_check is not None:
            due.append(self._next_check)
        if self.dtls is not None and (deadline := self.dtls.next_timeout()) is not None:
            due.append(deadline)
        if self.channels is not None and (deadline := self.channels.next_timeout()) is not None:
            due.append(deadline)
        return min(due, default=None)

    def _send(self, data: bytes) -> None:
        assert self.server is not None, "no answer yet"
        self._out.append(Transmit(data, self.server))

    def _drain_dtls(self, now: Instant) -> None:
        assert self.dtls is not None
        while (data := self.dtls.next_transmit()) is not None:
            self._send(data)
        while (event := self.dtls.next_event()) is not None:
            match event:
                case HandshakeComplete(keys=keys):
                    self.keys, self.secured = keys, True
                    self._context = SrtpContext(keys) if keys is not None else None
                    if self.channels is not None:
                        self.channels.connect(now)
                        self._drain_channels(now)
                case ApplicationData(data=packet) if self.channels is not None:
                    self.channels.receive_packet(packet, now)
                    self._drain_channels(now)
                case PeerClosed():
                    self.closed = True
                case Failed(reason=reason):
                    self.failed = reason
                case Dropped(drop=drop):
                    self.drops.append(drop)
                case _:
                    pass

    def _drain_channels(self, now: Instant) -> None:
        assert self.channels is not None
        assert self.dtls is not None
        while (packet := self.channels.next_transmit()) is not None:
            self.dtls.send(packet, now)
        while (data := self.dtls.next_transmit()) is not None:
            self._send(data)
        while (event := self.channels.next_event()) is not None:
            self.heard.append(event)


def identity(entropy: Entropy) -> Identity:
    """A certificate with fixed dates, so that equal entropy gives equal bytes."""
    return Identity.generate(
        entropy,
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2036, 1, 1, tzinfo=UTC),
    )


def hints(seed: str | bytes | int = "hints") -> KeyRing:
    return KeyRing((HintConfiguration.generate("0", seeded(seed)),))


def endpoint_config(**changes: Any) -> EndpointConfig:
    values: dict[str, Any] = {
        "cluster": 1,
        "node": 7,
        "candidates": (PUBLIC,),
        "relays": frozenset({INNER}),
    }
    return EndpointConfig(**(values | changes))


@frozen(slots=True)
class Crossing:
    """One datagram as it passed the relay, for assertions and traces."""

    at: Instant
    source: Address
    destination: Address
    payload: bytes = field(repr=False)
    drop: Drop | None = None


@define(slots=True)
class Rig:
    """Relay and endpoint between any number of clients, with a clock that only ``run`` moves.

    Packets take ``latency`` seconds each way. ``lose`` is asked for every packet by (index, source)
    and drops it when true. Events of the endpoint are kept in ``events``.
    """

    relay: Relay
    endpoint: Any
    latency: float = 0.001
    now: Instant = 1000.0
    lose: Callable[[int, Transmit], bool] | None = None
    clients: list[Client] = field(factory=list)
    calls: dict[str, Client] = field(factory=dict)
    events: list[Any] = field(factory=list)
    crossings: list[Crossing] = field(factory=list)
    _flying: list[tuple[Instant, int, Address, Transmit]] = field(factory=list)
    _count: int = 0

    @classmethod
    def build(
        cls,
        seed: str | bytes | int = 0,
        *,
        config: EndpointConfig | None = None,
        journal: Any = None,
        **options: Any,
    ) -> "Rig":
        """A relay and an endpoint that know each other, all from one seed."""
        from stunroute.config import RelayConfig
        from transceiver.endpoint import Endpoint

        config = config or endpoint_config()
        keyring = hints(f"hints {seed}")
        directory = StaticDirectory({(config.cluster, config.node): NextHop(OWNER)})
        relay = Relay(RelayConfig(), keyring, directory)
        endpoint = Endpoint(
            config,
            keyring=keyring,
            identity=identity(seeded(f"identity {seed}")),
            entropy=seeded(f"endpoint {seed}"),
            journal=journal,
        )
        return cls(relay, endpoint, **options)

    def client(self, seed: str | bytes | int = 0, **options: Any) -> Client:
        client = Client(entropy=seeded(f"client {seed}"), **options)
        self.clients.append(client)
        return client

    def open(self, client: Client, *, entropy: Entropy | None = None) -> str:
        """Signalling: offer, answer, first check. Returns the call's id."""
        asked: dict[str, Any] = {"entropy": entropy}
        if client.negotiated:
            asked["channel"] = client.negotiated[0][0]
        answered = self.endpoint.open_call(client.offer(), self.now, **asked)
        self.calls[answered.call] = client
        client.accept(answered.answer, self.now)
        self.settle()
        return str(answered.call)

    def establish(self, client: Client, *, entropy: Entropy | None = None, limit: float = 5) -> str:
        """``open`` and run until both sides have keys."""
        call = self.open(client, entropy=entropy)
        stop = self.now + limit
        while not client.secured and self.now < stop:
            self.run(0.01)
        self.run(0.01)
        assert client.secured, f"no keys after {limit} s: {client.failed} {client.drops}"
        return call

    def settle(self) -> None:
        """Put everything that anyone has to say into the air."""
        for client in self.clients:
            output = pump(client)  # type: ignore[arg-type]
            for transmit in output.transmits:
                self._launch(client.address, transmit)
        output = pump(self.endpoint)
        self.events.extend(output.events)
        for transmit in output.transmits:
            self._launch(OWNER, transmit)

    def _launch(self, source: Address, transmit: Transmit) -> None:
        self._count += 1
        if self.lose is not None and self.lose(self._count, transmit):
            return
        self._flying.append((self.now + self.latency, self._count, source, transmit))

    def run(self, seconds: float) -> None:
        """Let ``seconds`` pass: every packet and every deadline in its order."""
        end = self.now + seconds
        self.settle()
        while (due := self._next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self._deliver()
            self._fire()
            self.settle()
        self.now = end

    def _next_due(self) -> Instant | None:
        due = [item[0] for item in self._flying]
        cores: tuple[Any, ...] = (*self.clients, self.endpoint, self.relay)
        due += [t for core in cores if (t := core.next_timeout()) is not None]
        return min(due, default=None)

    def _deliver(self) -> None:
        self._flying.sort(key=lambda item: item[:2])
        while self._flying and self._flying[0][0] <= self.now:
            _, _, source, transmit = self._flying.pop(0)
            if source == OWNER:
                self._down(transmit)
            else:
                self._up(source, transmit)

    def _up(self, source: Address, transmit: Transmit) -> None:
        flow = self.relay.route_client(transmit.data, source, transmit.address, self.now)
        drop = flow if isinstance(flow, Drop) else None
        crossing = Crossing(self.now, source, transmit.address, transmit.data, drop)
        self.crossings.append(crossing)
        if isinstance(flow, Flow):
            assert flow.next_hop == OWNER
            self.endpoint.receive_datagram(flow.header + transmit.data, INNER, self.now)

    def _down(self, transmit: Transmit) -> None:
        downlink = self.relay.route_transceiver(transmit.data, OWNER, self.now)
        if isinstance(downlink, Drop):
            self.crossings.append(Crossing(self.now, OWNER, INNER, transmit.data, downlink))
        if not isinstance(downlink, Downlink):
            return
        self.crossings.append(Crossing(self.now, downlink.proxy, downlink.client, downlink.payload))
        for client in self.clients:
            if client.address == downlink.client:
                client.receive_datagram(downlink.payload, downlink.proxy, self.now)

    def _fire(self) -> None:
        cores: tuple[Any, ...] = (*self.clients, self.endpoint, self.relay)
        for core in cores:
            due = core.next_timeout()
            if due is not None and due <= self.now:
                core.handle_timeout(self.now)
