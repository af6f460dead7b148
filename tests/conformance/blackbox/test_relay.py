"""The relay's cases, asked of our own relay as a process."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.__main__ import main
from fleet import CLUSTER, CONFIGURATION
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


def test_our_relay_passes_over_udp(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, [*arguments, "--patience=0.2", "relay/*"])
    assert done.exit_code == 0, done.output
    assert " pass" in done.output


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
    done = CliRunner().invoke(
        main, [*inline, f"--hint-key=1:{key}", "--patience=0.1", "relay/routing/first-check"]
    )
    assert done.exit_code == 1
    assert "again, the first that fails" in done.output
    assert key not in done.output
