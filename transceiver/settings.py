"""The settings of ``transceiver serve``, as they stand in its file.

The cores are built with configs whose times are readings of a monotonic clock and whose keys are
objects. People write dates, hexadecimal keys and host names of files. This room is where the one
becomes the other, and where what cannot work is refused before a socket is opened: a transceiver
without candidates answers calls that nobody can reach, and without relays it hears nothing.

::

    cluster = 1                                 # name in the routing hint, 16 bits
    node = 7                                    # and 32 bits
    identity = "identity.pem"                   # key and certificate; new at each start if left out
    codecs = ["opus", "PCMU", "PCMA"]           # in order of preference
    data = true                                 # take data channels, where the offer has them
    drain = 10.0                                # seconds that calls may go on after SIGTERM

    [udp]
    listen = "10.1.0.2:5000"                    # where the relays' leg arrives
    candidates = ["203.0.113.1:3478"]           # public addresses of the relay, best first
    relays = ["10.1.0.1:4000-4003"]             # inner addresses that the leg is accepted from:
                                                # a relay has one for each of its workers
    adapter = "batched"                         # or "plain"; left out, the best that works here
    send_buffer = 262144                        # bytes that wait at most where packets leave slowly
    receive_buffer = 4194304                    # and those that the kernel is asked to keep

    [[hint.configurations]]                     # as in the relays' file; here both keys are needed
    id = "0"
    routing_key = "00112233445566778899aabbccddeeff"
    password_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    mint_from = 2026-01-01T00:00:00Z            # later than the relays' read_from

    [http]
    listen = "127.0.0.1:8080"
    connections = 1000                          # at once; one more is answered with 503
    open = false                                # do without keys though other machines can connect
    secret = "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
                                                # seals client secrets; one for the whole fleet
    elsewhere = "forward"                       # another node's call: "forward" or "redirect"
    [[http.keys]]                               # who may call; without any, everybody
    name = "shop"                               # `transceiver key shop` makes a key and its hash
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    [[http.nodes]]                              # where the signalling of the others is
    cluster = 1
    node = 8
    url = "http://10.1.0.3:8080"

    [limits]
    sessions = 1000                             # calls at once; who comes then is sent away
    retry_after = 5.0                           # for so many seconds
    events = 65536                              # of all calls, untold; then the oldest audio goes
    [limits.session]                            # every field of config.SessionLimits
    maximum_length = 3600.0                     # likewise limits.ice, .dtls, .srtp, .sctp,
                                                # .channel, .voice and .realtime

    [backend]
    name = "echo"
    options = { delay = 1.0 }                   # see backend.echo.EchoOptions

    [backends.assistant]                        # for calls that ask for this model, another one
    name = "realtime"
    options = { url = "wss://models.example/v1/realtime", key_file = "/run/secrets/model" }

The environment variable of ``udp.listen`` is ``TRANSCEIVER_UDP__LISTEN``, and so on.

SIGHUP has them read again: hint configurations, candidates, relays, codecs, ``data``, ``drain`` and
limits change for the calls that begin then (those of ``voice`` and ``realtime``, which belong to
the backends, with a restart), API keys and the other nodes for the next request. Calls that are up
keep what they were opened with, except that their packets come from the relays that are listed now.
"""

import re
from collections.abc import Mapping
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, evolve, field, fields, frozen

from stunroute import config
from stunroute.address import Address
from stunroute.config import SOCKET_BUFFER, at_least, between, redacted
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing
from stunroute.instant import Instant
from stunroute.settings import Adapter, Hints, unreachable

from .config import (
    ChannelLimits,
    DtlsLimits,
    EndpointConfig,
    IceLimits,
    RealtimeLimits,
    SctpLimits,
    SessionLimits,
    SrtpLimits,
    VoiceLimits,
)

ENVIRONMENT = "TRANSCEIVER"
"""Environment variables that begin with this and an underscore are settings."""

CODECS = ("opus", "PCMU", "PCMA")
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _not_empty(_: object, attribute: "Attribute[Any]", value: Any) -> None:
    if not value:
        raise ConfigError(attribute.name, "is empty")


def _routable(_: object, attribute: "Attribute[Any]", value: tuple[Address, ...]) -> None:
    _not_empty(_, attribute, value)
    for index, address in enumerate(value):
        key = f"{attribute.name}.{index}"
        if not any(address.packed):
            raise ConfigError(key, "is the unspecified address; nobody can send there")
        if address.port == 0:
            raise ConfigError(key, "has no port")


def _reachable(udp: "UdpSettings", attribute: "Attribute[Any]", value: tuple[Address, ...]) -> None:
    for index, address in enumerate(value):
        if problem := unreachable(address, udp.listen):
            raise ConfigError(f"{attribute.name}.{index}", problem)


_LEAST = {
    # What comes again after a while would leave time for nothing else.
    "report_interval": 0.01,
    "probe_interval": 0.01,
    "first_resend": 0.001,
    "resend_initial": 0.001,
    "resend_maximum": 0.001,
    # Room that no call can do without.
    "mtu": 512,
    "message_length": 2048,
    "reassembly_bytes": 4096,
    "validated_paths": 2,
    "requests": 1,
    "pending": 4,
    "sources": 1,
    "remote_sources": 1,
    # What libsrtp takes.
    "replay_window": 64,
    # A packet holds a header, a chunk and something in it; a browser relies on messages of 64 KiB.
    "packet": 512,
    "streams": 16,
    "message": 65536,
    "receive_window": 65536,
    "chunks_ahead": 64,
    "send_buffer": 65536,
    "rto_initial": 0.01,
    "rto_minimum": 0.01,
    "rto_maximum": 0.01,
    "heartbeat_interval": 1,
    "cookie_lifetime": 1,
    "events": 1,
    "control_rate": 1,
    "channels": 1,
    "opens_per_second": 1,
    "label": 16,
    "target": 0.02,
    "target_maximum": 0.02,
    "packets": 8,
    "queue": 1,
    "event": 1024,
    "depth": 8,
    "containers": 64,
    "connections": 1,
    "items": 1,
    "item_bytes": 1024,
    "session_bytes": 4096,
    "work": 65536,
}
_MOST = {
    "mtu": 16384,
    "replay_window": 32767,
    "packet": 16384,
    "streams": 65535,
    "delayed_ack": 0.5,  # rfc9260/6.2/14
}


def _workable(_: object, attribute: "Attribute[Any]", value: Any) -> None:
    """No bound of the cores may be negative, and some have to leave them room."""
    for inner in fields(type(value)):
        number, least = getattr(value, inner.name), _LEAST.get(inner.name, 0)
        if not number >= least:
            raise ConfigError(f"{attribute.name}.{inner.name}", f"is less than {least:g}")
        if number > _MOST.get(inner.name, number):
            raise ConfigError(
                f"{attribute.name}.{inner.name}", f"is more than {_MOST[inner.name]:g}"
            )


def _bits(bits: int) -> Any:
    def validate(_: object, attribute: "Attribute[Any]", value: int) -> None:
        if not 0 <= value < 1 << bits:
            raise ConfigError(attribute.name, f"is not a number of {bits} bits")

    return validate


def _with_passwords(_: object, attribute: "Attribute[Any]", value: Hints) -> None:
    for index, configuration in enumerate(value.configurations):
        if configuration.password_key is None:
            key = f"{attribute.name}.configurations.{index}.password_key"
            raise ConfigError(key, "is missing: no call could be answered")


def _known_codecs(_: object, attribute: "Attribute[Any]", value: tuple[str, ...]) -> None:
    _not_empty(_, attribute, value)
    for index, codec in enumerate(value):
        if codec not in CODECS:
            raise ConfigError(f"{attribute.name}.{index}", f"is not one of {', '.join(CODECS)}")
        if codec in value[:index]:
            raise ConfigError(f"{attribute.name}.{index}", "is there twice")


@frozen(slots=True)
class UdpSettings:
    """The leg to the relays. ``listen`` is bound, ``candidates`` are told to clients: between the
    two stands the relay, so they have nothing to do with one another."""

    listen: Address
    candidates: tuple[Address, ...] = field(validator=_routable)
    relays: tuple[Address, ...] = field(validator=[_routable, _reachable])
    send_buffer: int = field(default=262_144, validator=at_least(0))
    """Bytes that wait at most where packets leave more slowly than they are made; more is let
    go."""
    receive_buffer: int = field(default=4_194_304, validator=between(4096, SOCKET_BUFFER))
    """Asked of the kernel for the socket."""
    adapter: Adapter | None = None
    """None: the batched one wherever this machine has what it needs."""


class Elsewhere(Enum):
    """What becomes of a request for a call that another node holds: this node ``FORWARD``s it and
    the answer, or the client is told where to go, by ``REDIRECT`` (307). Many clients leave their
    key behind when they are sent to another host, so the latter is for those that are known not to.
    Sockets are forwarded in any case."""

    FORWARD = "forward"
    REDIRECT = "redirect"


def _account(_: object, attribute: "Attribute[str]", value: str) -> None:
    if not _ACCOUNT.fullmatch(value):
        raise ConfigError(attribute.name, "is not 1 to 64 of the characters A-Z a-z 0-9 . _ -")


def _hash(_: object, attribute: "Attribute[bytes]", value: bytes) -> None:
    if len(value) != 32:
        raise ConfigError(attribute.name, "is not the 64 digits of a SHA-256 hash")


@frozen(slots=True)
class ApiKey:
    """A key by its hash: whoever reads the settings cannot call with it. Two entries of one name
    are two keys of one account, so that a key can be changed without a gap."""

    name: str = field(validator=_account)
    sha256: bytes = field(validator=_hash, repr=redacted)


def _base_url(_: object, attribute: "Attribute[str]", value: str) -> None:
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ConfigError(attribute.name, "is not http://HOST or https://HOST")
    if url.username is not None:
        raise ConfigError(attribute.name, "holds a name or password; nodes take the caller's key")


@frozen(slots=True)
class OtherNode:
    """Where the signalling of another transceiver is: under ``url`` without ``/v1``. When clients
    are redirected there, they must be able to reach it."""

    cluster: int = field(validator=_bits(16))
    node: int = field(validator=_bits(32))
    url: str = field(validator=_base_url)


def _sealing_key(_: object, attribute: "Attribute[Any]", value: bytes | None) -> None:
    if value is not None and len(value) != 32:
        raise ConfigError(attribute.name, "is not 32 bytes long")


@frozen(slots=True)
class HttpSettings:
    """Signalling. Put something that speaks TLS in front of anything but a loopback address."""

    listen: Address = field(factory=lambda: Address.of("127.0.0.1", 8080))
    connections: int = field(default=1000, validator=at_least(1))
    """Connections at once; a further one is answered with 503."""
    keys: tuple[ApiKey, ...] = ()
    """Who may call. Without any, everybody who can connect."""
    open: bool = False
    """Whether to do without keys even where other machines can connect."""
    secret: bytes | None = field(default=None, validator=_sealing_key, repr=redacted)
    """Seals client secrets. Nodes that share it take one another's; left out, it is a new one at
    each start."""
    nodes: tuple[OtherNode, ...] = ()
    """The other nodes, so that a request may reach any of them. An entry for this node does no
    harm: all may have the same list."""
    elsewhere: Elsewhere = Elsewhere.FORWARD

    def __attrs_post_init__(self) -> None:
        if not self.keys and not self.open and not ip_address(self.listen.ip).is_loopback:
            problem = f"are missing, and {self.listen} is not for this machine alone: anybody could"
            raise ConfigError("keys", f"{problem} call; open = true says that this is meant")
        if self.nodes and self.secret is None:
            raise ConfigError("secret", "is missing: the other nodes need it for client secrets")
        for index, node in enumerate(self.nodes):
            if any((node.cluster, node.node) == (a.cluster, a.node) for a in self.nodes[:index]):
                raise ConfigError(f"nodes.{index}", "is there twice")


@frozen(slots=True)
class Limits:
    """The bounds of ``transceiver.config``, by their names there."""

    sessions: int = field(default=1000, validator=at_least(1))
    retry_after: float = field(default=5.0, validator=at_least(0))
    events: int = field(default=65536, validator=at_least(1))
    session: SessionLimits = field(factory=SessionLimits, validator=_workable)
    ice: IceLimits = field(factory=IceLimits, validator=_workable)
    dtls: DtlsLimits = field(factory=DtlsLimits, validator=_workable)
    srtp: SrtpLimits = field(factory=SrtpLimits, validator=_workable)
    sctp: SctpLimits = field(factory=SctpLimits, validator=_workable)
    channel: ChannelLimits = field(factory=ChannelLimits, validator=_workable)
    voice: VoiceLimits = field(factory=VoiceLimits, validator=_workable)
    realtime: RealtimeLimits = field(factory=RealtimeLimits, validator=_workable)


@frozen(slots=True)
class BackendSettings:
    """Which application the calls go to; see ``transceiver.backend.registry``."""

    name: str = "echo"
    options: dict[str, object] = field(factory=dict)


@frozen(slots=True)
class TransceiverSettings:
    """All of them; see the module for what each is."""

    cluster: int = field(validator=_bits(16))
    node: int = field(validator=_bits(32))
    udp: UdpSettings
    hint: Hints = field(validator=_with_passwords)
    http: HttpSettings = field(factory=HttpSettings)
    backend: BackendSettings = field(factory=BackendSettings)
    backends: dict[str, BackendSettings] = field(factory=dict)
    limits: Limits = field(factory=Limits)
    identity: Path | None = None
    codecs: tuple[str, ...] = field(default=CODECS, validator=_known_codecs)
    data: bool = True
    drain: float = field(default=0.0, validator=at_least(0))

    def reloaded(
        self, wanted: "TransceiverSettings"
    ) -> tuple["TransceiverSettings", tuple[str, ...]]:
        """What ``wanted`` comes to in a process that runs under these settings: all of it but what
        is bound to the life of the process; and the names of the settings that wait for a restart.
        Raises ConfigError where the two do not go together."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _FOR_A_RESTART}
        waiting = [name for name, value in kept.items() if getattr(wanted, name) != value]
        for table, names in _FOR_A_RESTART_BELOW.items():
            mine, theirs = getattr(self, table), getattr(wanted, table)
            below = {name: getattr(mine, name) for name in names}
            waiting += [
                f"{table}.{name}" for name, value in below.items() if getattr(theirs, name) != value
            ]
            try:
                kept[table] = evolve(theirs, **below)
            except ConfigError as error:
                raise ConfigError(f"{table}.{error.key}", error.problem) from None
        return evolve(wanted, **kept), tuple(waiting)

    def keyring(self, *, wall: float, now: Instant) -> KeyRing:
        """The hint's keys on the monotonic clock that reads ``now`` while the wall clock reads
        ``wall`` (seconds since 1970-01-01 UTC). Raises ConfigError, also where none of them may be
        minted under now: every call would fail."""
        keyring = self.hint.keyring(wall=wall, now=now)
        if not any(configuration.is_mintable(now) for configuration in keyring.configurations):
            raise ConfigError("hint.configurations", "has none that may be minted under now")
        return keyring

    def endpoint_config(self) -> EndpointConfig:
        """What the core is built with."""
        return EndpointConfig(
            cluster=self.cluster,
            node=self.node,
            candidates=self.udp.candidates,
            relays=frozenset(self.udp.relays),
            codecs=self.codecs,
            data=self.data,
            sessions=self.limits.sessions,
            retry_after=self.limits.retry_after,
            events=self.limits.events,
            session=self.limits.session,
            ice=self.limits.ice,
            dtls=self.limits.dtls,
            srtp=self.limits.srtp,
            sctp=self.limits.sctp,
            channel=self.limits.channel,
        )


_FOR_A_RESTART = ("cluster", "node", "identity", "backend", "backends")
_FOR_A_RESTART_BELOW = {
    "udp": ("listen", "send_buffer", "receive_buffer", "adapter"),
    "http": ("listen", "connections", "secret"),
    "limits": ("voice", "realtime"),
}


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object]
) -> TransceiverSettings:
    """The settings in the file, under the environment's, under ``options`` (by dotted key). Raises
    ConfigError."""
    return config.load(
        TransceiverSettings, path=path, environ=environ, prefix=ENVIRONMENT, options=options
    )
