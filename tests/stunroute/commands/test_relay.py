"""``stunroute relay`` as a program, as those see it who operate it."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from fleet import CONFIGURATION, check, dtls, forged, leg, success
from pictures import relay as picture
from relay_process import PATIENCE, Options, RelayProcess
from stunroute.__main__ import main
from stunroute.address import Address
from stunroute.commands.relay import _look
from stunroute.operations.admin import AdminClient, AdminError
from stunroute.operations.watch import Watch
from stunroute.status import Happening, RelayStatus

STORE_KEY = "4041424344454647" * 4
CLIENT = re.compile(r"127\.0\.0\.1:(\d+)")


class Operated:
    """A relay of two workers with everything that operators have, and its one transceiver."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        # The name of a socket has at most some hundred bytes; pytest's directories come close.
        self.admin = Path(os.path.relpath(folder / "admin"))
        self.node = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.node.bind(("127.0.0.1", 0))
        self.node.settimeout(PATIENCE)
        operations = f'[operations]\nhttp = "127.0.0.1:0"\nadmin = "{folder / "admin"}"\n'
        options = Options(
            {1: Address.of(*self.node.getsockname())}, workers=2, extra=operations + extra
        )
        self.relay = RelayProcess(folder, options)
        self.config = folder / "relay.toml"
        self.relay.start()

    def close(self) -> None:
        self.relay.close()
        self.node.close()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.relay.started['http']}{path}", timeout=PATIENCE)

    def until(self, holds: Callable[[RelayStatus], bool], what: str) -> RelayStatus:
        """The first picture of which that holds."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                status = AdminClient(self.admin).status()
                if holds(status):
                    return status
            except AdminError:
                pass
            assert time.monotonic() < deadline, (what, self.relay.complaints)
            time.sleep(0.05)

    def call(self, client: socket.socket) -> None:
        """A check, its answer, and a packet."""
        public = (self.relay.public.ip, self.relay.public.port)
        client.settimeout(PATIENCE)
        client.sendto(check(1), public)
        _, inner = self.node.recvfrom(4096)
        address = Address.of(*client.getsockname())
        self.node.sendto(leg(address, success(), self.relay.public), inner)
        assert client.recvfrom(4096)
        client.sendto(dtls(), public)
        assert self.node.recvfrom(4096)

    def told(self, text: str) -> RelayStatus:
        return self.until(
            lambda status: any(text in entry.text for entry in status.happenings), text
        )


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    made = Operated(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_it_says_where_it_can_be_reached(operated: Operated) -> None:
    started = operated.relay.started
    assert started["admin"].endswith("admin")
    assert Address.parse(started["http"]).port
    assert len(started["workers"]) == len(started["inners"]) == 2
    assert operated.get("/healthz").status_code == 200
    operated.until(lambda status: len(status.workers) == 2, "both workers answer")
    assert operated.get("/readyz").text == "ready\n"
    operated.relay.stop()
    assert not operated.admin.exists()


def test_a_call_is_seen_everywhere(operated: Operated, client: socket.socket) -> None:
    operated.call(client)
    for _ in range(5):
        client.sendto(forged(1), (operated.relay.public.ip, operated.relay.public.port))

    def seen(status: RelayStatus) -> bool:
        flows = sum(worker.flows for worker in status.workers)
        drops = sum(worker.drops.get("edge-integrity", 0) for worker in status.workers)
        up = sum(worker.counters["uplink_packets"] for worker in status.workers)
        return (flows, drops, up) == (1, 5, 2)

    status = operated.until(seen, "the call and the forgeries")
    assert {worker.pid for worker in status.workers} == set(operated.relay.started["workers"])
    assert sum(worker.configurations[0].checks for worker in status.workers) == 6
    kinds = {
        name: count for worker in status.workers for name, count in worker.kinds.items() if count
    }
    assert kinds == {
        ("uplink", "stun"): 1,
        ("uplink", "dtls"): 1,
        ("downlink", "stun"): 1,
    }
    metrics = operated.get("/metrics").text
    found = {family.name: family for family in text_string_to_metric_families(metrics)}
    assert sum(sample.value for sample in found["stunroute_flows"].samples) == 1
    dropped = [s.value for s in found["stunroute_drops"].samples if s.value]
    assert dropped == [5]

    whole = str(Address.of(*client.getsockname()))
    shown = run("flows", "--config", str(operated.config))
    assert shown.exit_code == 0
    assert "127.0.0.x:" in shown.stdout
    assert whole not in shown.stdout
    (row,) = map(
        json.loads, run("flows", "--admin", str(operated.admin), "--json").stdout.split("\n")[:-1]
    )
    assert (row["made"], row["verified"]) == ("check", True)
    assert whole in run("flows", "--admin", str(operated.admin), "--addresses").stdout
    hop = f"127.0.0.1:{operated.node.getsockname()[1]}"
    for wanted, number in ((hop, 2), ("127.0.0.1:1", 1)):
        shown = run("flows", "--admin", str(operated.admin), "--next-hop", wanted)
        assert shown.stdout.count("\n") == number

    picture = run("top", "--admin", str(operated.admin), "--once")
    assert picture.exit_code == 0
    assert "2 of 2 workers" in picture.stdout
    assert "edge-integrity" in picture.stdout
    assert "\x1b" not in picture.stdout
    everything = picture.stdout + metrics + operated.relay.complaints
    assert CONFIGURATION.password_key is not None
    assert whole not in everything
    assert CONFIGURATION.routing_key.hex() not in everything
    assert CONFIGURATION.password_key.hex() not in everything


def test_a_worker_that_is_killed_and_what_heals(operated: Operated, client: socket.socket) -> None:
    operated.call(client)
    status = operated.until(lambda status: sum(w.flows for w in status.workers) == 1, "a flow")
    (victim,) = (worker for worker in status.workers if worker.flows)
    os.kill(victim.pid, signal.SIGKILL)
    status = operated.told("was killed by SIGKILL")
    assert status.restarts == 1
    operated.told("1 flow of the former is lost")
    inner = Address.parse(operated.relay.started["inners"][victim.worker])
    address = Address.of(*client.getsockname())
    operated.node.sendto(leg(address, dtls(), operated.relay.public), (inner.ip, inner.port))
    assert client.recvfrom(4096)
    operated.told("made again from the downlink")
    picture = run("top", "--admin", str(operated.admin), "--once").stdout
    assert "was killed by SIGKILL" in picture
    assert "1 restart" in picture
    assert "downlink 1" in picture


def test_keys_that_are_rotated_while_it_runs(operated: Operated, client: socket.socket) -> None:
    operated.call(client)
    assert run("hint", "rotate", "--config", str(operated.config), "--write").exit_code == 0
    os.kill(operated.relay.pid, signal.SIGHUP)
    status = operated.told("hint configuration 1 is known now")
    for worker in status.workers:
        uses = {entry.id: (entry.readable, entry.mintable) for entry in worker.configurations}
        assert uses == {"0": (True, True), "1": (True, False)}
    operated.call(client)
    assert "reloaded" in operated.relay.complaints


def test_settings_that_are_wrong_at_a_reload_change_nothing(operated: Operated) -> None:
    operated.config.write_text(operated.config.read_text() + "nonsense = 1\n")
    os.kill(operated.relay.pid, signal.SIGHUP)
    status = operated.told("reload refused")
    assert status.reloads == 0


@pytest.mark.parametrize("kind", ["text", "json"])
def test_log_lines(tmp_path: Path, kind: str) -> None:
    made = Operated(tmp_path, f'log = "{kind}"\n')
    try:
        made.until(lambda status: len(status.workers) == 2, "both workers answer")
        os.kill(made.relay.started["workers"][0], signal.SIGKILL)
        made.told("was killed by SIGKILL")
        (line, *_) = made.relay.complaints.splitlines()
    finally:
        made.close()
    if kind == "json":
        assert "SIGKILL" in json.loads(line)["message"]
    else:
        assert re.match(r"\d{4}-\d\d-\d\dT\S+ [A-Z]+ stunroute: worker 0 .*SIGKILL", line)


def test_what_operators_ask_for_is_taken_already(tmp_path: Path, operated: Operated) -> None:
    for option, value in (
        ("--admin", str(operated.admin)),
        ("--http", operated.relay.started["http"]),
    ):
        arguments = ["--inner", "127.0.0.1:0", "--listen", "127.0.0.1:0"]
        arguments += ["--admin", str(tmp_path / "other"), "--http", "127.0.0.1:0"]
        done = run("relay", "--config", str(operated.config), *arguments, option, value)
        assert done.exit_code == 1
        assert done.stderr.startswith("stunroute: cannot start: ")
        assert done.stderr.count("\n") == 1
    assert operated.get("/healthz").status_code == 200


def test_a_store_that_is_told_wrongly_keeps_its_secrets(operated: Operated) -> None:
    text = operated.config.read_text()
    store = f'[store]\nurl = "gopher://user:open-sesame@10.0.0.9"\nkey = "{STORE_KEY}"\n'
    operated.config.write_text(text + store)
    done = run("relay", "--config", str(operated.config), "--check")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "store.url" in done.stderr
    for secret in ("sesame", STORE_KEY):
        assert secret not in done.stderr


def test_options_name_settings(operated: Operated) -> None:
    arguments = ["relay", "--config", str(operated.config), "--check"]
    for good in (("--workers", "3"), ("--log", "json"), ("--http", "[::1]:0"), ("--admin", "/x")):
        assert run(*arguments, *good).exit_code == 0
    for bad, key in (
        (("--workers", "0"), "workers"),
        (("--workers", "many"), "workers"),
        (("--log", "loud"), "operations.log"),
        (("--http", "nowhere"), "operations.http"),
    ):
        result = run(*arguments, *bad)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"stunroute: {key}: ")


def test_nobody_to_look_at(tmp_path: Path) -> None:
    for command in (("top",), ("top", "--once"), ("flows",)):
        result = run(*command, "--admin", str(tmp_path / "none"))
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no relay answers" in result.stderr
        result = run(*command)
        assert result.exit_code == 2
        assert "--admin is not given" in result.stderr
        path = tmp_path / "relay.toml"
        path.write_text(
            Options({1: Address.of("127.0.0.1", 9)}).toml(*2 * (Address.parse("127.0.0.1:0"),))
        )
        result = run(*command, "--config", str(path))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert run("flows", "--admin", "x", "--next-hop", "nowhere").exit_code == 2
    assert run("flows", "--admin", "x", "--limit", "0").exit_code == 2


def test_a_view_that_breaks_does_not_stop_the_relay(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Watch):
        def see(self, status: RelayStatus) -> list[Happening]:
            raise KeyError("a picture of tomorrow")

    _look(Broken(), picture(1))
    assert "could not be shown" in caplog.text
