"""The relay's cases, asked of our own relay as a process."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

import relay_again
import relay_drain
from conformance.__main__ import main
from fleet import CLUSTER, CONFIGURATION
from loopback import LOOPBACK6, require_ipv6
from relay_process import Options, RelayProcess, free_ports
from stunroute.address import Address


@pytest.fixture
def arguments(tmp_path: Path):
    port = free_ports(3)
    nodes = {number: Address.of("127.0.0.1", port + number - 1) for number in (1, 2, 3)}
    keys = f"{CONFIGURATION.routing_key.hex()}:{CONFIGURATION.password_key.hex()}"
    (tmp_path / "hint.key").write_text(f"{CONFIGURATION.identifier}:{keys}\n")
    with RelayProcess(tmp_path, Options(nodes)) as relay:
        hops = [f"--next-hop={CLUSTER}/{number}={nodes[number]}" for number in nodes]
        yield [
            "run",
            f"--relay={relay.public}",
            f"--hint-key=@{tmp_path / 'hint.key'}",
            "--verifies",
            *hops,
        ]


@pytest.fixture
def routing_arguments(tmp_path: Path) -> Iterator[list[str]]:
    """For a relay that has no password key, and a command that restarts it."""
    port = free_ports(5)
    public, inner, *hops = (Address.of("127.0.0.1", port + number) for number in range(5))
    nodes = dict(enumerate(hops, 1))
    options = Options(nodes, (evolve(CONFIGURATION, password_key=None),))
    settings = tmp_path / "relay.toml"
    settings.write_text(options.toml(public, inner))
    command = [sys.executable, relay_again.__file__, str(settings)]
    subprocess.run(command, check=True, timeout=60)
    try:
        yield [
            "run",
            f"--relay={public}",
            f"--hint-key={CONFIGURATION.identifier}:{CONFIGURATION.routing_key.hex()}",
            *(f"--next-hop={CLUSTER}/{number}={nodes[number]}" for number in nodes),
            f"--restart={shlex.join(command)}",
        ]
    finally:
        relay_again.end(settings)


@pytest.fixture
def fleet_arguments(tmp_path: Path) -> Iterator[list[str]]:
    """For a relay with two addresses of each IP version, one in front of it, and a directory that
    can be changed."""
    require_ipv6()
    port = free_ports(8)
    public, second, inner, front, far, *hops = (
        Address.of("127.0.0.1", port + number) for number in range(8)
    )
    third = Address.of(LOOPBACK6, public.port)
    nodes = dict(enumerate(hops, 1))
    more = [f'[[listen]]\nbind = "{each}"' for each in (second, third)]
    more += ["[[upstream]]", f'relay = "{front}"', f'proxies = ["{far}"]']
    settings = tmp_path / "relay.toml"
    settings.write_text(Options(nodes, extra="\n".join(more) + "\n").toml(public, inner))
    keys = f"{CONFIGURATION.routing_key.hex()}:{CONFIGURATION.password_key.hex()}"
    (tmp_path / "hint.key").write_text(f"{CONFIGURATION.identifier}:{keys}\n")
    command = [sys.executable, relay_again.__file__, str(settings)]
    subprocess.run(command, check=True, timeout=60)
    try:
        yield [
            "run",
            f"--relay={public}",
            f"--hint-key=@{tmp_path / 'hint.key'}",
            "--verifies",
            *(f"--next-hop={CLUSTER}/{number}={nodes[number]}" for number in nodes),
            *(f"--also={each}" for each in (second, third)),
            f"--upstream={front}={far}",
            f"--drain={shlex.join([sys.executable, relay_drain.__file__, str(settings)])}",
        ]
    finally:
        relay_again.end(settings)


FLEET = ("relay/addresses/*", "relay/drain/*", "relay/tiers/*")


def test_our_relay_passes_with_several_addresses_drained_nodes_and_one_in_front(
    fleet_arguments: list[str],
) -> None:
    given = [*fleet_arguments, "--patience=2", "--strict", "--all", *FLEET]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert "unsupported" not in done.output


def test_what_a_relay_need_not_have_is_unsupported_with_its_reason(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, [*arguments, "--all", *FLEET])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    for option in ("--also", "--drain", "--upstream"):
        assert f"({option})" in told
    assert " pass" not in told


@pytest.mark.parametrize("wrong", ["--upstream=127.0.0.1:1", "--also=nonsense", '--drain="'])
def test_options_of_a_relay_that_make_no_sense(arguments: list[str], wrong: str) -> None:
    assert CliRunner().invoke(main, [*arguments, wrong]).exit_code == 2


def test_our_relay_passes_over_udp(arguments: list[str]) -> None:
    """Those that take seconds pass in virtual time."""
    given = [*arguments, "--patience=0.2", "--longest=2", "--strict", "--profile=relay"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert " pass" in done.output


def test_a_relay_that_only_routes_passes_and_recovers_from_restarts(
    routing_arguments: list[str],
) -> None:
    given = [*routing_arguments, "--patience=0.2", "--longest=2", "--strict", "--all"]
    done = CliRunner().invoke(main, [*given, "relay/edge/*", "relay/recovery/*"])
    assert done.exit_code == 0, done.output
    assert "nobody can restart it" not in done.output
    assert "relay/edge/left-to-the-node" in done.output


def test_a_relay_needs_its_keys_and_next_hops(arguments: list[str]) -> None:
    for left_out in ("--hint-key", "--next-hop"):
        shortened = [each for each in arguments if not each.startswith(left_out)]
        assert CliRunner().invoke(main, shortened).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--jobs=2"]).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--hint-key=0:zz"]).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--next-hop=nonsense"]).exit_code == 2


def test_keys_given_in_clear_are_not_repeated(arguments: list[str]) -> None:
    key = CONFIGURATION.routing_key.hex()
    inline = [each for each in arguments if not each.startswith("--hint-key")]
    # A relay with another key delivers nothing, so that the run fails and says how to ask again.
    given = [*inline, f"--hint-key=1:{key}", "--patience=0.1", "relay/routing/first-check"]
    assert key not in CliRunner().invoke(main, given).output
    done = CliRunner().invoke(main, [*given, "--anyway"])
    assert done.exit_code == 1
    assert "again, the first that fails" in done.output
    assert key not in done.output
