"""``transceiver``, the program.

``serve`` runs one node of a fleet from its configuration; ``demo`` brings up a fleet on this
machine. This module only joins the parts: the clock, the operating system's randomness and its
signals enter here and nowhere further in.

Exit codes: 0 after a drain, 1 where it cannot run (an address is taken), 2 where a setting makes no
sense. One line on standard error says which.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from attrs import define, evolve

from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing

from . import settings as settings_of
from .backend.registry import named
from .settings import TransceiverSettings

if TYPE_CHECKING:
    from conformance.recorder import Recorder

    from .aio import TransceiverServer
    from .dtls import Identity
    from .endpoint import Endpoint


logger = logging.getLogger("transceiver.serve")

EXTRA = frozenset({"httpx", "pylibsrtp", "starlette", "uvicorn"})
"""What the extra ``transceiver`` brings, by the names of its modules."""
CONFIG_VARIABLE = f"{settings_of.ENVIRONMENT}_CONFIG"


class _Commands(click.Group):
    """Commands that are imported when they are asked for, so that one does not cost the others."""

    elsewhere: Mapping[str, str] = {"demo": "transceiver.demo:demo"}

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As ever, but a missing extra is one line and not a traceback."""
        try:
            return super().main(*args, **kwargs)
        except ModuleNotFoundError as error:
            if error.name not in EXTRA:
                raise
            extra = "pip install 'stunroute[transceiver]'"
            _refuse(f"needs {error.name}; install the extra: {extra}", 2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self.elsewhere.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A WebRTC endpoint that stands behind a stunroute relay."""


def _options(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for setting in given:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{setting!r} is not KEY=VALUE")
        options[key] = value
    return options


@main.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    help="The settings, a TOML file; help(transceiver.settings) describes it. "
    f"[env: {CONFIG_VARIABLE}]",
)
@click.option(
    "--set",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_options,
    help="A setting by its dotted key, over the file's and the environment's.",
)
@click.option(
    "--record",
    "directory",
    type=click.Path(path_type=Path),
    help="Write each call into this directory, decryptable by whoever has it. Test tones only!",
)
@click.option("-v", "--verbose", is_flag=True, help="Log each call's beginning and end.")
def serve(
    path: Path | None, options: dict[str, str], directory: Path | None, verbose: bool
) -> None:
    """Answer calls and keep them until told to stop.

    SIGHUP reads the settings again: hint keys, relays, candidates, codecs and limits change for the
    calls that begin then, and what cannot change while the program runs is named in the log.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("transceiver").setLevel(logging.INFO if verbose else logging.WARNING)
    logger.setLevel(logging.INFO)  # whoever sends a signal wants to see that it was heard
    environ = {name: text for name, text in os.environ.items() if name != CONFIG_VARIABLE}

    def load() -> TransceiverSettings:
        return settings_of.load(path, environ, options)

    try:
        asyncio.run(_serve(load, directory))
    except ConfigError as error:
        _refuse(error, 2)
    except _Unbound as error:
        _refuse(error, 1)


def _refuse(problem: object, code: int) -> NoReturn:
    click.echo(f"transceiver: {problem}", err=True)
    sys.exit(code)


class _Unbound(Exception):
    """An address that cannot be had."""


async def _serve(load: Callable[[], TransceiverSettings], directory: Path | None) -> None:
    from stunroute.web import HttpServer

    from .http import create_app

    settings = load()
    stopping = _signals()
    node = assemble(settings, directory)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, node.reload, load)
    web = HttpServer(create_app(node.server), settings.http.listen, settings.http.connections)
    try:
        inner = await _bound("udp.listen", node.server.start())
        outer = await _bound("http.listen", web.start())
        click.echo(
            f"node {settings.cluster}/{settings.node}: "
            f"calls at http://{outer}/v1/realtime/calls, relays at udp {inner}"
        )
        # What is here now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        await stopping.wait()
        stopping.clear()
        await _until(node.server.stop(node.settings.drain), stopping, node.server)
    finally:
        await node.server.stop()
        await web.stop()
        node.close()


async def _bound(key: str, start: Any) -> Address:
    try:
        bound: Address = await start
    except OSError as error:
        raise _Unbound(f"{key}: cannot be bound: {error.strerror or error}") from None
    return bound


def _signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    return told


async def _until(drain: Any, again: asyncio.Event, server: "TransceiverServer") -> None:
    """Drain; being told a second time ends what calls are left at once."""
    draining = asyncio.ensure_future(drain)
    impatient = asyncio.ensure_future(again.wait())
    await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await impatient
    if not draining.done():
        server.end_all()
    await draining


@define(slots=True, eq=False)
class Node:
    """A transceiver that is ready to start."""

    settings: TransceiverSettings
    endpoint: "Endpoint"
    server: "TransceiverServer"
    recorder: "Recorder | None" = None

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


def assemble(settings: TransceiverSettings, directory: Path | None = None) -> Node:
    """Make a node on the running loop from its settings; with ``directory``, one that records its
    calls there. Raises ConfigError."""
    from .aio import TransceiverServer
    from .endpoint import Endpoint

    keyring = settings.keyring(wall=time.time(), now=asyncio.get_running_loop().time())
    backend = named(settings.backend.name, settings.backend.options)
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


def _identity(path: Path | None) -> "Identity":
    from .dtls import Identity

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
    directory: Path, settings: TransceiverSettings, keyring: KeyRing, identity: "Identity"
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


if __name__ == "__main__":
    main()
