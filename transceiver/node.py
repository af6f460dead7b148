"""One node, put together from its settings.

The program serves it on a port of its own, ``transceiver.embed`` makes it a part of another
application. Both need the same things joined in the same way: the keys, the identity, the backend,
who may call and where the other nodes are. The clock and the operating system's randomness enter
here.
"""

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from starlette.applications import Starlette

from stunroute.errors import ConfigError
from stunroute.hint import KeyRing

from .aio import TransceiverServer
from .backend.interface import BackendFactory
from .backend.registry import configured
from .dtls import Identity
from .endpoint import Endpoint
from .http import Access, ApiKeys, Owners, create_app
from .settings import TransceiverSettings

if TYPE_CHECKING:
    from conformance.recorder import Recorder

logger = logging.getLogger("transceiver.serve")


@define(slots=True, eq=False)
class Node:
    """A transceiver that is ready to start."""

    settings: TransceiverSettings
    endpoint: Endpoint
    server: TransceiverServer
    recorder: "Recorder | None" = None
    access: Access = field(init=False, repr=False)
    owners: Owners = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.access = Access.of(self.settings.http)
        self.owners = Owners.of(self.settings.http)

    def app(self) -> Starlette:
        """Its signalling."""
        return create_app(self.server, self.access, self.owners)

    def reload(self, load: Callable[[], TransceiverSettings]) -> None:
        """Read the settings again and take over what may change while calls are up. What is wrong
        with them is logged, and the old ones stay."""
        now = asyncio.get_running_loop().time()
        try:
            settings, waiting = self.settings.reloaded(load())
            keyring = settings.keyring(wall=time.time(), now=now)
        except ConfigError as error:
            logger.warning("reload refused, the old settings stay: %s", error)
            return
        self.settings = settings
        config = settings.endpoint_config()
        self.endpoint.reconfigure(config, keyring)
        self.access.keys = ApiKeys(settings.http.keys)
        self.owners.reconfigure(settings.http)
        if (recorder := self.recorder) is not None:
            hints = keyring.configurations
            recorder.reconfigure(evolve(recorder.setting, configuration=config, hints=hints))
        identifiers = " ".join(each.identifier for each in keyring.configurations)
        logger.info("reloaded: hint configurations %s, %d relays", identifiers, len(config.relays))
        if waiting:
            logger.warning("changed, but waiting for a restart: %s", ", ".join(waiting))

    def close(self) -> None:
        """Finish what is being recorded."""
        if self.recorder is not None:
            self.recorder.close()


def assemble(
    settings: TransceiverSettings,
    directory: Path | None = None,
    *,
    backend: BackendFactory | None = None,
) -> Node:
    """Make a node on the running loop from its settings; with ``directory``, one that records its
    calls there. ``backend`` stands for the one that the settings name. Raises ConfigError."""
    keyring = settings.keyring(wall=time.time(), now=asyncio.get_running_loop().time())
    if backend is None:
        limits = settings.limits
        backend = configured(settings.backend, settings.backends, limits.voice, limits.realtime)
    identity = _identity(settings.identity)
    recorder = None
    if directory is not None:
        recorder = _recorder(directory, settings, keyring, identity)
    endpoint = Endpoint(
        settings.endpoint_config(),
        keyring=keyring,
        identity=identity,
        entropy=os.urandom,
        journal=recorder,
    )
    server = TransceiverServer(
        endpoint,
        settings.udp.listen,
        backend,
        call_entropy=recorder.entropy_for_call if recorder else None,
        adapter=settings.udp.adapter,
        send_buffer=settings.udp.send_buffer,
        receive_buffer=settings.udp.receive_buffer,
    )
    return Node(settings, endpoint, server, recorder)


def _identity(path: Path | None) -> Identity:
    if path is None:
        return Identity.generate(os.urandom, not_before=datetime.now(UTC))
    try:
        return Identity.from_pem(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ConfigError("identity", f"cannot be read: {error.strerror}") from None
    except ValueError:
        # What the parser says could quote the file.
        raise ConfigError("identity", "holds no P-256 key with its certificate in PEM") from None


def _recorder(
    directory: Path, settings: TransceiverSettings, keyring: KeyRing, identity: Identity
) -> "Recorder":
    try:
        from conformance.recorder import Recorder, Setting
        from conformance.sidecar import Provenance
    except ImportError as error:
        missing = error.name or "a module"
        problem = f"needs {missing}; install the extra: pip install 'stunroute[conformance]'"
        raise ConfigError("--record", problem) from None
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--record", f"is no directory to write to: {error.strerror}") from None
    setting = Setting(
        configuration=settings.endpoint_config(),
        hints=keyring.configurations,
        identity_pem=identity.to_pem(),
        address=settings.udp.listen,
        wall_base_ns=time.time_ns() - round(asyncio.get_running_loop().time() * 1e9),
        software=_software(),
        provenance=Provenance(date=datetime.now(UTC).isoformat(timespec="seconds")),
    )
    return Recorder(directory, setting, os.urandom)


def _software() -> dict[str, str]:
    """Versions of what has a hand in the bytes that a recording holds."""
    versions = {"python": platform.python_version()}
    for name in ("stunroute", "cryptography", "pylibsrtp"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
