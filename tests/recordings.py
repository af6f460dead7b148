"""Recordings of calls in virtual time, for whoever needs a capture with its sidecar."""

from pathlib import Path
from typing import Any

from attrs import evolve

from conformance.recorder import Recorder, RecorderLimits, Setting
from conformance.sidecar import Provenance
from pair import OWNER, Client, Rig, endpoint_config, hints, identity, seeded
from stunroute.address import Address
from transceiver.config import EndpointConfig, SessionLimits
from transceiver.dtls import Identity
from transceiver.events import EndReason

WALL_BASE_NS = 1_790_000_000_123_456_789
"""The wall clock at the rig's clock reading of zero."""


def configuration() -> EndpointConfig:
    """Not quite the defaults, so that a sidecar has something to say about limits."""
    return endpoint_config(session=SessionLimits(report_interval=1.0, probes=1))


def recorder(
    directory: Path,
    seed: str | bytes | int = 0,
    *,
    config: EndpointConfig | None = None,
    limits: RecorderLimits | None = None,
) -> Recorder:
    """One that fits ``Rig.build(seed, config=configuration())``."""
    setting = Setting(
        configuration=config or configuration(),
        hints=hints(f"hints {seed}").configurations,
        identity_pem=rig_identity(seed).to_pem(),
        address=OWNER,
        wall_base_ns=WALL_BASE_NS,
        software={"stunroute": "test"},
        provenance=Provenance("tests/pair.py", "all kinds of steps", "2026-11-21"),
    )
    return Recorder(directory, setting, seeded(f"recorder {seed}"), limits)


def rig_identity(seed: str | bytes | int) -> Identity:
    return identity(seeded(f"identity {seed}"))


def recorded(directory: Path, seed: str | bytes | int = 0, **options: Any) -> Path:
    """Record one call that has steps of every kind; the path of its capture."""
    sink = recorder(directory, seed)
    rig = Rig.build(seed, config=configuration(), journal=sink)
    play(rig, rig.client(seed, **options), sink)
    (path,) = sink.finished
    return path


def play(rig: Rig, client: Client, sink: Recorder) -> str:
    """Establish, talk, disturb, rebind, restart ICE, hang up."""
    call = rig.establish(client, entropy=sink.entropy_for_call())
    for turn in range(8):
        client.send_audio(bytes([turn]) * 20, 960 * turn, marker=turn == 0)
        rig.endpoint.send_audio(call, bytes([turn]) * 25, 960 * turn, turn == 0, rig.now)
        rig.run(0.02)
    client.send_raw(b"\x80\x6f" + bytes(40))  # no tag of ours
    client.send_raw(b"\x17\xfe\xfd\x00\x01" + bytes(30))  # a record that does not open
    rig.run(1.5)
    client.rebind(Address.of("192.0.2.33", 50_777))
    client.send_audio(b"from the new port", 960 * 9)
    client.check(rig.now)
    rig.run(0.1)
    answer = rig.endpoint.reoffer(call, client.restart(), rig.now)
    client.accept(answer, rig.now)
    rig.run(0.2)
    rig.endpoint.end_within(call, 60.0, rig.now)
    rig.run(0.7)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.1)
    return call


def recorded_data(directory: Path, seed: str | bytes | int = 0, **options: Any) -> Path:
    """Record one call with data channels and every verb that they have."""
    sink = recorder(directory, seed)
    rig = Rig.build(seed, config=configuration(), journal=sink)
    options = {"contents": ("audio", "data"), **options}
    converse(rig, rig.client(seed, **options), sink)
    (path,) = sink.finished
    return path


def converse(rig: Rig, client: Client, sink: Recorder) -> str:
    """Open channels from both sides, send, lose packets, restart ICE, close, hang up."""
    call = rig.establish(client, entropy=sink.entropy_for_call())
    rig.run(0.1)
    theirs = client.with_channels(lambda c: c.open("oai-events", now=rig.now), rig.now)
    ours = rig.endpoint.open_channel(call, "ours", rig.now, protocol="p", ordered=False)
    rig.run(0.1)
    rig.lose = lambda index, transmit: index % 7 == 3
    for message in ("text", "", b"binary", b"", "grüß\n\x00\x7f" * 300, bytes(5000)):
        client.with_channels(lambda c, m=message: c.send(theirs, m, rig.now), rig.now)
        rig.endpoint.send_message(call, ours, message, rig.now)
        rig.run(0.3)
    rig.lose = None
    fragment = "\n".join(
        line
        for line in client.restart().splitlines()
        if line.startswith(("a=ice-ufrag", "a=ice-pwd", "m=", "a=mid"))
    )
    client.accept(rig.endpoint.restart_ice(call, fragment, rig.now), rig.now)
    rig.run(0.5)
    client.with_channels(lambda c: c.close(ours, rig.now), rig.now)
    rig.endpoint.close_channel(call, theirs, rig.now)
    rig.endpoint.send_message(call, theirs, "nobody hears this", rig.now)
    rig.run(1.0)
    rig.endpoint.open_channel(call, "again", rig.now)
    rig.run(0.2)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.1)
    return call


__all__ = [
    "WALL_BASE_NS",
    "configuration",
    "evolve",
    "play",
    "recorded",
    "recorded_data",
    "recorder",
]
