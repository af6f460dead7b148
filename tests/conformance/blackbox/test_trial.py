"""Is anybody there? Asked over real sockets, of servers that are there in part."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from conformance.__main__ import main
from conformance.blackbox import presence, trial
from conformance.blackbox.driver import UdpDriver
from conformance.blackbox.relay import UdpRelayDriver
from conformance.blackbox.trial import is_shut
from conformance.blackbox.wire import Bounds
from conformance.commands.run import EXIT_NOBODY
from conformance.relay_stage import Node
from conformance.report import as_json
from conformance.stage import Target
from echoing import Echoing
from fleet import CLUSTER, CONFIGURATION, KEYRING
from stunroute import stun
from stunroute.address import Address

ONE = "rfc8489/6.3.1/unknown-required-attribute"
SOME = "rfc8489/6.3.1/*"
SIGNALLING = "rfc9110/15.5.14/too-large"
PATIENTLY = ("--patience", "20")
"""With a server that answers at once, unless the machine is busy."""
SHUT = 9
"""Nobody discards on this machine."""


@pytest.fixture(autouse=True)
def brief(monkeypatch) -> None:
    """Those who are silent here are so for good."""
    monkeypatch.setattr(trial, "PATIENCE", 0.05)
    monkeypatch.setattr(presence, "BETWEEN", 0.01)
    monkeypatch.setattr(presence, "RETURNING", 0.0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments])


@contextmanager
def held() -> Iterator[Address]:
    """A UDP socket that nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield Address.of(*mute.getsockname())


def relay_at(public: Address, node: Address) -> list[str]:
    routing, password = CONFIGURATION.routing_key.hex(), CONFIGURATION.password_key.hex()
    key = f"{CONFIGURATION.identifier}:{routing}:{password}"
    hop = f"{CLUSTER}/1={node}"
    return ["--relay", str(public), "--hint-key", key, "--next-hop", hop]


@pytest.fixture
def free() -> Address:
    """Nobody's, a moment ago."""
    with held() as address:
        return address


# --- nobody at all --------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["--whip", "--calls"])
def test_a_door_where_nobody_is_is_told_at_once(door: str) -> None:
    done = run(door, f"http://127.0.0.1:{SHUT}/dead")
    assert done.exit_code == EXIT_NOBODY
    assert "nobody is there, so nothing was judged: POST http://127.0.0.1:9/dead" in done.output
    assert "refused" in done.output
    assert "cases in" not in done.output


def test_a_shut_stun_port_is_told(monkeypatch) -> None:
    monkeypatch.setattr(trial, "SHUT_SECONDS", 10.0)
    done = run("--stun", f"127.0.0.1:{SHUT}")
    assert done.exit_code == EXIT_NOBODY
    assert "a Binding request to 127.0.0.1:9 got no answer: the port is shut" in done.output


def test_a_silent_stun_port_may_want_credentials() -> None:
    with held() as mute:
        done = run("--stun", str(mute))
    assert done.exit_code == EXIT_NOBODY
    assert f"4 Binding requests to {mute} got no answer" in done.output
    assert "--ufrag" in done.output


def test_a_relay_that_is_not_there_is_told(free: Address, monkeypatch) -> None:
    monkeypatch.setattr(trial, "SHUT_SECONDS", 10.0)
    done = run(*relay_at(Address.of("127.0.0.1", SHUT), free))
    assert done.exit_code == EXIT_NOBODY
    assert "no client's check to 127.0.0.1:9 came out at a next hop: the port is shut" in (
        done.output
    )


def test_a_relay_that_lets_nothing_through_is_not_judged(free: Address) -> None:
    """It would pass whatever asks it to drop a packet."""
    with held() as mute:
        done = run(*relay_at(mute, free))
    assert done.exit_code == EXIT_NOBODY
    assert "has the relay our --hint-key" in done.output


def test_a_next_hop_that_is_taken_is_told() -> None:
    with held() as mute, held() as taken:
        done = run(*relay_at(mute, taken))
    assert done.exit_code == EXIT_NOBODY
    assert "in use" in done.output


def test_who_insists_has_his_cases_blocked() -> None:
    done = run("--whip", f"http://127.0.0.1:{SHUT}/dead", "--anyway", ONE, SIGNALLING)
    assert done.exit_code == 1
    assert "blocked" in done.output
    assert "fail (" not in done.output  # of what nobody has heard


def test_reports_say_that_nobody_was_there(tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("junit", "json", "html")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    done = run("--whip", f"http://me:hush@127.0.0.1:{SHUT}/dead", *options)
    assert done.exit_code == EXIT_NOBODY
    suites = ElementTree.fromstring(files["junit"].read_text())
    assert suites.get("errors") == "1"
    error = suites.find(".//error")
    assert error is not None
    told = as_json.read(files["json"].read_text())
    assert told.nobody is not None
    assert told.results == []
    page = files["html"].read_text()
    assert "Nobody is there, so nothing was judged." in page
    for text in (done.output, error.get("message", ""), told.nobody, page):
        assert "got no response" in text
        assert "hush" not in text


# --- somebody, but no server of calls -------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"status": 404}, "got 404: no body; nothing takes offers at this URL"),
        ({"status": 405}, "nothing takes offers at this URL"),
        ({"status": 401}, "--token or --header"),
        ({"status": 503}, "it takes no calls at present"),
        ({"status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}}, "leads to http://127"),
        ({"body": b"<html>hello", "headers": {"Content-Type": "text/html"}}, "without SDP"),
        ({"status": 404, "body": b"<p>", "headers": {"Content-Type": "text/html"}}, "a page"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_takes_no_offers_is_not_judged(behaviour: dict, said: str) -> None:
    with Echoing(**behaviour) as server:
        done = run("--whip", server.url)
    assert done.exit_code == EXIT_NOBODY
    assert said in done.output
    assert server.posts == 1


# --- a server that is judged ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 415, 422, 500])
def test_who_refuses_a_plain_offer_is_judged(status: int) -> None:
    with Echoing(status=status) as server:
        done = run("--whip", server.url, ONE)
    assert done.exit_code == 1
    assert f"A plain offer is refused with {status}" in done.output
    assert "1 blocked" in done.output


def test_who_answers_and_is_not_heard_by_udp_is_judged_by_the_rest() -> None:
    with Echoing(deaf=True) as server:
        done = run("--whip", server.url, "--all", ONE, "rfc8839/5.1/no-names")
    assert done.exit_code == 1
    said = f"a call is opened, but nothing comes by UDP from {server.media}"
    assert f"In the trial {said}" in done.output
    assert "1 pass, 1 blocked" in done.output


def test_an_answer_that_leads_nowhere_is_told_with_its_reasons() -> None:
    far = Address.of("192.0.2.200", 4000)
    with Echoing(candidates=(far,)) as server:
        done = run("--whip", server.url, ONE)
    assert done.exit_code == 0
    assert "no address that the harness was given (192.0.2.200: not given)" in done.output


def test_a_good_server_costs_one_call_more() -> None:
    with Echoing() as server:
        done = run("--whip", server.url, *PATIENTLY, ONE)
    assert done.exit_code == 0, done.output
    assert server.posts == 2


# --- and one that goes away -----------------------------------------------------------------------


def test_whom_the_server_leaves_in_mid_run_are_blocked(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with Echoing(serves=3) as server:  # the trial, and two of five cases
        done = run("--whip", server.url, *PATIENTLY, "--json", str(report), SOME)
    assert done.exit_code == 1
    assert "The server went away in mid-run: nobody is there any more" in done.output
    results = json.loads(report.read_text())["results"]
    assert [each["verdict"] for each in results] == ["pass"] * 2 + ["blocked"] * 3
    assert "refused" in results[2]["detail"]
    assert [each["detail"].partition(":")[0] for each in results[3:]] == [
        "nobody is there any more"
    ] * 2


def test_signalling_that_meets_nobody_is_blocked_and_not_failed() -> None:
    """The cases of signalling take a refusal for an answer."""
    with Echoing(serves=1) as server:
        done = run("--whip", server.url, *PATIENTLY, SIGNALLING)
    assert done.exit_code == 1
    assert "blocked" in done.output
    assert "fail (" not in done.output


def test_a_stun_server_that_goes_away_is_no_bad_one(monkeypatch) -> None:
    """It answers the trials and dies of nobody's question."""
    asked: list[bytes] = []
    real = trial.of_target

    def once(driver):
        asked.append(b"")
        return real(driver) if len(asked) > 1 else trial.Finding()

    monkeypatch.setattr(trial, "of_target", once)
    with held() as mute:
        done = run("--stun", str(mute), "--profile", "stun", SOME)
    assert done.exit_code == 1
    assert "blocked" in done.output
    assert "fail (" not in done.output
    assert len(asked) == 2


def test_a_shut_port_is_told_from_a_silent_one(monkeypatch) -> None:
    with monkeypatch.context() as patient:
        patient.setattr(trial, "SHUT_SECONDS", 10.0)
        assert is_shut(Address.of("127.0.0.1", SHUT))
    with held() as mute:
        assert not is_shut(mute)


def test_old_servers_are_asked_without_fingerprint(monkeypatch) -> None:
    heard: list[bool] = []
    monkeypatch.setattr(trial, "is_shut", lambda _: False)
    monkeypatch.setattr(trial, "ask", lambda _, request: heard.append(_has_fingerprint(request)))
    with held() as mute:
        run("--stun", str(mute))
    assert heard == [True, False, True, False]


def test_a_trial_that_may_take_no_longer_finds_nobody(free: Address) -> None:
    """A run that is stopped, or has as much patience as a case has time: no reason to break."""
    brief = Bounds(seconds=-1.0)
    with held() as mute:
        server = UdpDriver(target=Target(mute), bounds=brief)
        relay = UdpRelayDriver(mute, (Node(CLUSTER, 1, free),), KEYRING, bounds=brief)
        for finding in (trial.of_target(server), trial.of_relay(relay)):
            assert finding.nobody is not None
            assert "has run for" in finding.nobody


def _has_fingerprint(request: bytes) -> bool:
    return stun.decode_untrusted(request).fingerprint_ok is True
