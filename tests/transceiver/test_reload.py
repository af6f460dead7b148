"""New settings while calls are up: what changes for whom, and what waits for a restart."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from calls import OTHER_INNER, deliver, drops, of_kind, talk
from conformance import sidecar
from conformance.replay import Exact, replay
from pair import INNER, OWNER, PUBLIC, Rig, endpoint_config, hints, seeded
from recordings import configuration, recorder
from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.errors import ConfigError
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.trace import Drop
from transceiver import settings as settings_of
from transceiver.config import SessionLimits
from transceiver.errors import AtCapacity
from transceiver.events import AudioReceived
from transceiver.node import Node, assemble
from transceiver.settings import Elsewhere, TransceiverSettings

NEXT = HintConfiguration.generate("1", seeded("next"))


def rekey(rig: Rig, **changes: Any) -> None:
    """The endpoint knows the next configuration alone; the relay reads both."""
    both = KeyRing((*hints("hints 0").configurations, NEXT))
    directory = StaticDirectory({(1, 7): NextHop(OWNER)})
    rig.relay.reconfigure(RelayConfig(), both, directory, now=rig.now)
    rig.endpoint.reconfigure(endpoint_config(**changes), KeyRing((NEXT,)))


def test_a_call_outlives_the_keys_it_was_minted_under() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    assert call.startswith("rtc_0")
    rekey(rig)
    client.check(rig.now)
    talk(rig, client)
    rig.run(40.0)  # longer than a silence that ends a call: its checks are answered
    talk(rig, client, first=5)
    assert len(of_kind(rig, AudioReceived)) == 10
    assert rig.endpoint.calls == [call]
    assert rig.endpoint.snapshot(call, rig.now).cluster == 1
    assert client.errors == []


def test_what_is_minted_afterwards_is_minted_under_the_new_keys() -> None:
    rig = Rig.build()
    old = rig.client()
    call = rig.establish(old)
    rekey(rig)
    fresh = rig.client("fresh", address=Address.of("192.0.2.44", 44_000))
    assert rig.establish(fresh).startswith("rtc_1")
    answer = rig.endpoint.reoffer(call, old.restart(), rig.now)
    assert "a=ice-ufrag:1" in answer
    old.accept(answer, rig.now)
    rig.run(0.5)
    assert old.nominated, "and its checks under the new credentials are answered"
    talk(rig, old)
    assert len(of_kind(rig, AudioReceived)) == 5


def test_the_leg_is_taken_from_the_relays_of_now() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    rekey(rig, relays=frozenset({OTHER_INNER}))
    talk(rig, client, packets=1)
    assert not of_kind(rig, AudioReceived)
    assert drops(rig)[Drop.LEG_STRANGER] >= 1
    data = client.send_audio(b"by the other relay", 960)
    header = forward.encode(client.address, PUBLIC)
    rig.endpoint.receive_datagram(header + data, OTHER_INNER, rig.now)
    rig.settle()
    assert of_kind(rig, AudioReceived)[0].payload == b"by the other relay"


def test_bounds_are_those_that_a_call_began_with() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    rekey(rig, sessions=1, session=SessionLimits(maximum_length=1.0, warning_before=0.5))
    with pytest.raises(AtCapacity):
        rig.open(rig.client("one too many"))
    rig.run(5.0)
    assert rig.endpoint.calls == [call]


def test_a_transceiver_keeps_its_name() -> None:
    rig = Rig.build()
    with pytest.raises(ValueError, match="name"):
        rig.endpoint.reconfigure(endpoint_config(node=8), KeyRing((NEXT,)))


def test_recordings_hold_one_setting_each(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    first = rig.client()
    rig.establish(first, entropy=sink.entropy_for_call())
    config = evolve(configuration(), relays=frozenset({INNER, OTHER_INNER}))
    rig.endpoint.reconfigure(config, KeyRing((NEXT,)))
    sink.reconfigure(evolve(sink.setting, configuration=config, hints=(NEXT,)))
    assert len(sink.finished) == 1
    second = rig.client("second", address=Address.of("192.0.2.44", 44_000))
    answered = rig.endpoint.open_call(second.offer(), rig.now, entropy=sink.entropy_for_call())
    deliver(rig, b"\x80\x6f" + bytes(40), second.address)
    sink.close()
    before, after = sink.finished
    verdict = replay(before)
    assert isinstance(verdict, Exact)
    assert "configured anew" in verdict.truncated
    assert isinstance(replay(after), Exact)
    record = sidecar.load(after.with_suffix(".toml"))
    assert record.call == answered.call
    assert [each.identifier for each in record.hints] == ["1"]
    assert record.configuration == config


# The program, from its settings on

SETTINGS = {
    "cluster": 1,
    "node": 7,
    "udp.listen": "127.0.0.1:0",
    "udp.candidates": "127.0.0.1:3478",
    "udp.relays": "127.0.0.1:4000",
    "hint.configurations.0.id": "0",
    "hint.configurations.0.routing_key": "ab" * 16,
    "hint.configurations.0.password_key": "cd" * 32,
}
SECOND = {
    "hint.configurations.1.id": "1",
    "hint.configurations.1.routing_key": "12" * 16,
    "hint.configurations.1.password_key": "34" * 32,
}


def read(**changes: object) -> TransceiverSettings:
    told = SETTINGS | {name.replace("__", "."): value for name, value in changes.items()}
    return settings_of.load(None, {}, told)


def on_a_node(test: Any) -> None:
    async def main() -> None:
        node = assemble(read())
        await node.server.start()
        try:
            test(node)
        finally:
            await node.server.stop()
            node.close()

    asyncio.run(main())


def minted(node: Node) -> str:
    """The configuration that the next call is minted under."""
    client = Rig.build().client()
    answered = node.server.open_call(client.offer())
    node.server.hang_up(answered.call)
    return answered.call[4]


def test_the_program_takes_over_what_may_change(caplog: pytest.LogCaptureFixture) -> None:
    changes = {**SECOND, "udp.relays": "127.0.0.1:4000-4003", "limits.sessions": 5, "drain": 3.0}

    def test(node: Node) -> None:
        assert minted(node) == "0"
        with caplog.at_level(logging.INFO, "transceiver.serve"):
            node.reload(lambda: read(**changes))
        assert minted(node) == "1"
        assert len(node.endpoint.config.relays) == 4
        assert node.endpoint.config.sessions == 5
        assert node.settings.drain == 3.0
        told = [r.getMessage() for r in caplog.records if r.name == "transceiver.serve"]
        assert told == ["reloaded: hint configurations 0 1, 4 relays"]

    on_a_node(test)


def test_keys_and_nodes_are_those_of_now() -> None:
    def test(node: Node) -> None:
        before = node.access.secrets
        assert node.access.keys.accounts == frozenset()
        key = {"http.keys.0.name": "shop", "http.keys.0.sha256": "9f" * 32}
        node.reload(lambda: read(**key, **{"http.elsewhere": "redirect"}))
        assert node.access.keys.accounts == {"shop"}
        assert node.owners.elsewhere is Elsewhere.REDIRECT
        assert node.access.secrets is before, "what was handed out is still taken"
        node.reload(read)
        assert node.access.keys.accounts == frozenset()

    on_a_node(test)


def test_what_waits_for_a_restart_is_named(caplog: pytest.LogCaptureFixture) -> None:
    changes = {"node": 8, "udp.adapter": "plain", "backend.options.delay": 1.0, **SECOND}

    def test(node: Node) -> None:
        before = node.settings
        node.reload(lambda: read(**changes))
        assert minted(node) == "1", "the rest is taken over"
        assert node.settings.node == node.endpoint.config.node == 7
        assert node.settings.udp.adapter is before.udp.adapter
        assert node.settings.backend == before.backend
        told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert told == ["changed, but waiting for a restart: node, backend, udp.adapter"]

    on_a_node(test)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"nod": 7}, "nod: is not a setting"),
        ({"hint.configurations.0.mint_from": "2100-01-01T00:00:00Z"}, "minted under now"),
        ({"udp.listen": "[::1]:0", "udp.relays": "[::1]:4000"}, "udp.relays.0: .*other IP version"),
    ],
)
def test_wrong_settings_are_one_line_and_change_nothing(
    changes: dict[str, object], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    def test(node: Node) -> None:
        before = node.settings, node.endpoint.config
        node.reload(lambda: read(**changes))
        assert (node.settings, node.endpoint.config) == before
        assert minted(node) == "0"
        (told,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert told.startswith("reload refused, the old settings stay: ")
        assert "abab" not in told

    on_a_node(test)
    assert caplog.records
    with pytest.raises(ConfigError, match=problem):
        settings = read(**changes)
        read().reloaded(settings)[0].keyring(wall=1.8e9, now=0.0)
