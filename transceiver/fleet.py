"""A fleet on one machine: one relay and some transceivers, each a process of its own.

The demo runs the real programs with real configuration files, made anew each time with fresh keys
and kept in a directory that only its owner can read. The inner addresses are fixed for the life of
the fleet, so a relay that dies is started again and found where it was: its transceivers need not
be told, and the calls that were up go on. The files are there to be edited: what is changed in them
by hand, as in a rotation of keys, takes effect as it would anywhere else.
"""

import asyncio
import fcntl
import json
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import Hint, HintConfiguration, KeyRing

from . import settings
from .choices import ECHO, Choice, choices, tables

CLUSTER = 1
ALONE = tuple(choice for choice in choices(delay=0.0, own=None) if choice.name == ECHO)
"""The echo, without a delay."""
STARTED_WITHIN = 20.0
"""Seconds that a process may take to say that it is up."""
STOPPED_WITHIN = 5.0
"""Seconds that it may take to end after it was told to."""
RESTARTS = 20
"""Deaths of the relay that are borne before the fleet gives up."""
RESTART_AFTER = 0.1

_SIOCGIFADDR = 0x8915
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")
"""A line for each: address, index of the interface, prefix, scope, flags, name of the interface."""
_GLOBAL = 0x00
_UNUSABLE = 0x08 | 0x20 | 0x40
"""Taken by somebody else, deprecated, or still being tried out."""


class FleetError(Exception):
    """The fleet cannot go on; the text is one line for a person."""


@frozen(slots=True)
class Plan:
    """``listen`` is where the relay binds, ``advertise`` what answers name: the same addresses,
    or one bound address and whatever leads to it. ``workers`` are the relay's. ``delay`` is the
    echo's, in seconds; calls are recorded into ``record`` where it is given; ``store`` is the URL
    of the relay's store, if it is to have one. ``secret`` seals client secrets, which every
    transceiver is to take."""

    listen: tuple[Address, ...]
    advertise: tuple[Address, ...]
    transceivers: int
    workers: int = 1
    record: Path | None = None
    store: str | None = None
    choices: tuple[Choice, ...] = ALONE
    usual: str = ECHO
    secret: bytes = field(factory=partial(os.urandom, 32), repr=False, kw_only=True)


@define(slots=True, eq=False)
class Keys:
    """The hint's keys in a transceiver's file, as the file is now."""

    path: Path
    _read: tuple[int, int] | None = field(init=False, default=None)
    _keyring: KeyRing | None = field(init=False, default=None)

    def node_of_untrusted(self, ufrag: bytes) -> int | None:
        """The node that ``ufrag`` names, if these keys can read it."""
        now = time.monotonic()
        # A file that is being edited makes no sense for a moment: until it does, the former counts.
        with suppress(OSError, ConfigError):
            found = self.path.stat()
            version = found.st_ino, found.st_mtime_ns
            if version != self._read:
                hints = settings.load(self.path, {}, {}).hint
                self._keyring = hints.keyring(wall=time.time(), now=now)
                self._read = version
        if self._keyring is None:
            return None
        match self._keyring.decode_untrusted(ufrag, now):
            case Hint(node=node):
                return node
        return None


@define(slots=True, eq=False)
class Member:
    """A process of the fleet. ``node`` is 0 for the relay. ``config`` is its file."""

    name: str
    node: int
    command: list[str]
    config: Path
    http: Address | None = None
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0

    @property
    def pid(self) -> int | None:
        running = self.process is not None and self.process.returncode is None
        return self.process.pid if self.process is not None and running else None


@define(slots=True, eq=False)
class Fleet:
    """Start it, wait for ``lost`` (or for somebody who wants it to end), stop it."""

    plan: Plan
    relay: Member = field(init=False)
    transceivers: list[Member] = field(init=False, factory=list)
    lost: asyncio.Future[str] = field(init=False)
    on_restart: Callable[[], None] = field(default=lambda: None, kw_only=True)
    _directory: tempfile.TemporaryDirectory[str] = field(init=False)
    _keys: list[Keys] = field(init=False, factory=list)
    _watchers: list[asyncio.Task[None]] = field(init=False, factory=list)
    _stopping: bool = field(init=False, default=False)

    async def start(self) -> None:
        """Bring all processes up. Raises FleetError."""
        self.lost = asyncio.get_running_loop().create_future()
        self._directory = tempfile.TemporaryDirectory(prefix="stunroute-demo-")  # mode 0700
        hint = HintConfiguration.generate("0", os.urandom)
        inner = _free(socket.SOCK_DGRAM, self.plan.workers)
        nodes = range(1, self.plan.transceivers + 1)
        legs = [_free(socket.SOCK_DGRAM) for _ in nodes]
        admin = Path(self._directory.name) / "relay.sock"
        text = relay_settings(self.plan, hint, inner, legs, admin)
        path = self._write("relay.toml", text)
        command = [sys.executable, "-m", "stunroute", "relay", "--config", str(path)]
        self.relay = Member("the relay", 0, command, path)
        for node, leg in zip(nodes, legs, strict=True):
            web = _free(socket.SOCK_STREAM)
            text = node_settings(self.plan, hint, node, leg, inner, web)
            path = self._write(f"node-{node}.toml", text)
            command = [sys.executable, "-m", "transceiver", "serve", "--config", str(path)]
            if self.plan.record is not None:
                command += ["--record", str(self.plan.record)]
            self.transceivers.append(Member(f"transceiver {node}", node, command, path, web))
            self._keys.append(Keys(path))
        for member in (self.relay, *self.transceivers):
            await self._launch(member)
            self._watchers.append(asyncio.create_task(self._watch(member)))

    def holder_untrusted(self, ufrag: bytes) -> Member | None:
        """The transceiver that ``ufrag`` names. Each may have other keys while they are rotated."""
        for member, keys in zip(self.transceivers, self._keys, strict=True):
            if keys.node_of_untrusted(ufrag) == member.node:
                return member
        return None

    def _write(self, name: str, text: str) -> Path:
        path = Path(self._directory.name) / name
        path.write_text(text)
        return path

    async def _launch(self, member: Member) -> None:
        """Start a process and wait for the one line with which it says that it is up. It gets a
        session of its own, so that Ctrl-C at the terminal reaches it through us alone."""
        member.process = await asyncio.create_subprocess_exec(
            *member.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert member.process.stdout is not None
        try:
            async with asyncio.timeout(STARTED_WITHIN):
                line = await member.process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise FleetError(f"{member.name} did not start")

    async def _watch(self, member: Member) -> None:
        """Wait for the process to end. A relay is started again; without a transceiver the calls
        it held are lost, so its death is the fleet's."""
        while True:
            assert member.process is not None
            assert member.process.stdout is not None
            while await member.process.stdout.read(65536):
                pass  # what it says after its first line is of no use here
            code = await member.process.wait()
            if self._stopping:
                return
            if member is not self.relay or member.restarts >= RESTARTS:
                self._lose(f"{member.name} ended by itself, exit code {code}")
                return
            await asyncio.sleep(RESTART_AFTER)
            member.restarts += 1
            try:
                await self._launch(member)
            except FleetError as error:
                self._lose(str(error))
                return
            self.on_restart()

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    async def stop(self) -> None:
        """End every process, transceivers first: they have goodbyes to send through the relay."""
        self._stopping = True
        for members in (self.transceivers, [self.relay] if hasattr(self, "relay") else []):
            await asyncio.gather(*map(_end, members))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if hasattr(self, "_directory"):
            self._directory.cleanup()


async def _end(member: Member) -> None:
    process = member.process
    if process is None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOPPED_WITHIN):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# --- what the programs are told -------------------------------------------------------------------


def _hint_table(hint: HintConfiguration) -> str:
    assert hint.password_key is not None
    return (
        "[[hint.configurations]]\n"
        f'id = "{hint.identifier}"\n'
        f'routing_key = "{hint.routing_key.hex()}"\n'
        f'password_key = "{hint.password_key.hex()}"\n'
    )


def relay_settings(
    plan: Plan, hint: HintConfiguration, inner: Address, legs: list[Address], admin: Path
) -> str:
    """The relay's file, in TOML. Whatever the relays of a demo keep in a store is for none but
    them, so its key is a new one."""
    listen = "".join(
        f'[[listen]]\nbind = "{bind}"\nadvertise = "{public}"\n'
        for bind, public in zip(plan.listen, plan.advertise, strict=False)
    )
    nodes = "".join(
        f'[[directory.nodes]]\ncluster = {CLUSTER}\nnode = {node}\naddress = "{leg}"\n'
        for node, leg in enumerate(legs, 1)
    )
    first = f'inner = "{inner}"\nworkers = {plan.workers}\n'
    operations = f'[operations]\nadmin = "{admin}"\n'
    store = ""
    if plan.store is not None:
        store = f'[store]\nurl = {json.dumps(plan.store)}\nkey = "{os.urandom(32).hex()}"\n'
    return f"{first}{listen}{_hint_table(hint)}{nodes}{operations}{store}"


def node_settings(
    plan: Plan, hint: HintConfiguration, node: int, leg: Address, inner: Address, web: Address
) -> str:
    """The file of transceiver ``node``, in TOML. Each of the relay's workers has an inner address
    of its own, ``inner`` and the ports behind it."""
    relays = f"{inner}-{inner.port + plan.workers - 1}"
    candidates = ", ".join(f'"{address}"' for address in plan.advertise)
    return (
        f"cluster = {CLUSTER}\nnode = {node}\ndrain = 0.0\n"
        f'[udp]\nlisten = "{leg}"\ncandidates = [{candidates}]\nrelays = ["{relays}"]\n'
        f'[http]\nlisten = "{web}"\nsecret = "{plan.secret.hex()}"\n'
        f"{tables(plan.choices, plan.usual)}"
        f"{_hint_table(hint)}"
    )


# --- addresses ------------------------------------------------------------------------------------


def _free(kind: socket.SocketKind, ports: int = 1) -> Address:
    """A port of 127.0.0.1 that nobody has at the moment, nor those behind it: so many in all.
    Raises FleetError."""
    for _ in range(100):
        with ExitStack() as probes:
            try:
                first = _bound(probes, kind, 0)
                for port in range(first.port + 1, first.port + ports):
                    _bound(probes, kind, port)
            except (OSError, OverflowError):
                continue
            return first
    raise FleetError(f"no {ports} ports in a row are free on 127.0.0.1")


def _bound(probes: ExitStack, kind: socket.SocketKind, port: int) -> Address:
    probe = probes.enter_context(socket.socket(socket.AF_INET, kind))
    probe.bind(("127.0.0.1", port))
    return Address.of(*probe.getsockname())


def own_addresses(*, ipv6: bool = False) -> list[str]:
    """This machine's IPv4 addresses, or its IPv6 ones, that other machines may know: neither
    loopback nor those of one link alone. IPv4 begins with the one that has the default route."""
    return _own_ipv6() if ipv6 else _own_ipv4()


def _own_ipv4() -> list[str]:
    found: dict[str, None] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with suppress(OSError):
            # Connecting a UDP socket sends nothing; it only asks the kernel which way it would go.
            probe.connect(("192.0.2.1", 9))
            found[probe.getsockname()[0]] = None
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                found[socket.inet_ntoa(answer[20:24])] = None
    return [ip for ip in found if not ip.startswith("127.") and ip != "0.0.0.0"]


def _own_ipv6() -> list[str]:
    try:
        lines = _IPV6_ADDRESSES.read_text(encoding="ascii").splitlines()
    except OSError:  # a kernel without IPv6
        return []
    found: dict[str, None] = {}  # an address may be on several interfaces
    for line in lines:
        host, _, _, scope, flags, *_ = line.split()
        if int(scope, 16) == _GLOBAL and not int(flags, 16) & _UNUSABLE:
            found[socket.inet_ntop(socket.AF_INET6, bytes.fromhex(host))] = None
    return list(found)


def check_free(address: Address, kind: socket.SocketKind) -> None:
    """Raises OSError where ``address`` cannot be bound."""
    family = socket.AF_INET if address.is_ipv4 else socket.AF_INET6
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.ip, address.port))
