"""A relay and an endpoint made of what a sidecar says of theirs.

Replay needs the very cores that there were, and a sidecar is a file that anybody may have edited:
whatever cannot be built is told by its key.
"""

from typing import Any

import attrs

from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.directory import NextHop, StaticDirectory
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing
from stunroute.instant import Entropy
from stunroute.relay import Relay
from transceiver import journal
from transceiver.dtls import Identity
from transceiver.endpoint import Endpoint

from .sidecar import Opened, Sidecar
from .tables import SidecarError
from .turns import Cutter


def endpoint(record: Sidecar, entropy: Entropy, cutter: Cutter) -> Endpoint:
    """An endpoint as the recording's was, for its one call: it takes data channels if that did.
    ``entropy`` is what it draws from where no call's own is asked; what it notes of the call goes
    to ``cutter``. Raises SidecarError."""
    try:
        identity = Identity.from_pem(record.identity_pem)
    except ValueError as error:
        raise SidecarError("session.identity_pem", str(error)) from error

    def note(entry: journal.Entry) -> None:
        if entry.call:
            cutter.feed(entry)

    opened = record.steps[0].input
    data = isinstance(opened, Opened) and opened.data
    return Endpoint(
        attrs.evolve(record.configuration, data=data),
        keyring=_keyring(record),
        identity=identity,
        entropy=entropy,
        journal=note,
    )


def _keyring(record: Sidecar) -> KeyRing:
    try:
        return KeyRing(record.hints)
    except ConfigError as error:
        raise SidecarError("hint", str(error)) from error


def relays(record: Sidecar) -> dict[Address, Relay]:
    """A relay at each inner address. They leave the verification of checks to the owner, unless
    the recording says otherwise: what a stricter relay keeps away is in no recording. Raises
    SidecarError."""
    configuration = record.configuration
    try:
        hop = NextHop(record.address)
        directory = StaticDirectory({(configuration.cluster, configuration.node): hop})
        keyring = _keyring(record)
        config = _relay_config(record.relay)
        return {inner: Relay(config, keyring, directory) for inner in record.relays}
    except ConfigError as error:
        raise SidecarError(f"relay.{error.key}", error.problem) from error


def _relay_config(settings: dict[str, Any]) -> RelayConfig:
    config = RelayConfig(verify=Verify.OWNER)
    known = {attribute.name: attribute.type for attribute in attrs.fields(RelayConfig)}
    for name, value in settings.items():
        if name not in known:
            raise SidecarError(f"relay.{name}", "is not known")
        try:
            changed: dict[str, Any] = {name: Verify(value) if name == "verify" else value}
            config = attrs.evolve(config, **changed)
        except (TypeError, ValueError) as error:
            raise SidecarError(f"relay.{name}", str(error)) from error
    return config
