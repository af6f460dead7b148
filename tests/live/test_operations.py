"""Calls of real browsers while their operator breaks the relay, and mends it.

The demo's fleet, a real Redis, and what an operator does and sees: signals, settings files, the
admin socket, metrics. Waiting is generous and bounds of time are wide, since a busy machine is no
defect; what is counted (packets lost, calls, flows) is held tightly.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browser import Browser, launch, names
from demo import Demo, Page
from impair import CLEAR
from namespace import Namespace
from operating import PATIENCE, Operator, environ, made_by
from redis_server import RedisServer
from stunroute.status import RelayStatus
from stunroute.trace import Origin
from tools import require_root, require_tool

pytestmark = pytest.mark.live

LOST_AT_MOST = 50
"""Packets that the death of a worker may cost each way, and a rebinding the way up. On an idle
machine it is none to three: what the worker had read and not yet sent. On a busy one packets that
wait for the store may wait too long. Clients that had to wait for a check lose more than these."""
SILENT_AT_MOST = 8.0
"""Seconds of audio that may be missing after anything that is done here. On an idle machine the
death of a relay costs half a second, and a rebinding what is left until the client's next check:
Firefox makes one every 4 to 6 s (RFC 7675, 5.1)."""
ATTEMPTS = 20


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    require_root()
    with Namespace(ipv6=True) as made:
        yield made


@pytest.fixture(scope="module")
def chromium(network: Namespace) -> Iterator[Browser]:
    require_tool(*names("chromium"))
    with launch("chromium", namespace=network) as made:
        yield made


@pytest.fixture(scope="module")
def firefox(network: Namespace) -> Iterator[Browser]:
    require_tool(*names("firefox"))
    with launch("firefox", namespace=network) as made:
        yield made


class Call:
    """A call, and that it stays the same one."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self.page = Page(browser, demo)
        known = demo.network.clients if demo.network is not None else {}
        self.before = self.page.call()
        if demo.network is not None:
            (self.client,) = demo.network.clients.keys() - known.keys()
        self.page.until_audio()
        self.page.mark()

    def goes_on(self) -> float:
        """Wait for audio; the seconds of it that are missing since the page's mark."""
        report = self.page.until_audio(50)
        assert (report["call"], report["phase"]) == (self.before["call"], "live")
        assert (report["ufrag"], report["restarts"]) == (self.before["ufrag"], 0)
        silent = self.page.silence
        assert silent < SILENT_AT_MOST
        return silent

    @property
    def ufrag(self) -> str:
        found: str = self.before["ufrag"]
        return found

    @property
    def heard(self) -> dict[str, int]:
        """What the transceiver says of the audio that comes to it."""
        _, snapshot = self.page.demo.get(f"/v1/realtime/calls/{self.before['call']}")
        found: dict[str, int] = snapshot["audio"]
        return found

    @property
    def lost(self) -> tuple[int, int]:
        """Packets lost on the way up and on the way down."""
        return self.heard["lost"], self.page.report()["stats"]["packetsLost"]

    def check_tone(self) -> None:
        assert self.page.tone() == pytest.approx(660.0, rel=0.02)


def tell(call: Call, what: str, **measured: object) -> None:
    """What was measured, for whoever runs with ``-rP``."""
    print(call.page.browser.name, what, measured)


# --- one call -------------------------------------------------------------------------------------


def test_one_call_stays_up_through_all_of_it(
    network: Namespace, chromium: Browser, firefox: Browser, tmp_path: Path
) -> None:
    admin = tmp_path / "admin"
    with RedisServer() as redis:
        told = environ(admin, redis.url)
        with Demo(network, "--transceivers", "2", weather=CLEAR, environ=told) as demo:
            operator = Operator(demo, admin)
            call = Call(chromium, demo)
            operator.store("closed")
            operator.until(lambda status: stored(status) > 0, "the flow in the store")
            for step in (lose_a_worker, lose_the_address, lose_the_relay):
                call.page.mark()
                step(operator, call)
            call.page.mark()
            lose_the_store(operator, call, redis)
            call.page.mark()
            rotate(operator, call, firefox)
            call.check_tone()
            call.page.leave()


def lose_a_worker(operator: Operator, call: Call) -> None:
    """Its socket outlives it, and so does what comes there meanwhile."""
    relay = operator.demo.state["relay"]["pid"]
    before = call.lost
    victim = operator.kill_worker()
    status = operator.told("worker 0 is up again")
    by = operator.healed()
    silent = call.goes_on()
    lost = missing(before, call.lost)
    tell(call, "worker killed", silent=silent, lost=lost, by=by)
    assert max(lost) <= LOST_AT_MOST
    assert operator.demo.state["relay"]["pid"] == relay
    assert status.restarts == 1
    assert operator.workers[0].pid != victim.pid
    top = operator.top
    assert f"(process {victim.pid}) was killed by SIGKILL" in top
    assert "1 restart " in top
    assert operator.metrics["stunroute_worker_restarts_total"] == 1


def lose_the_address(operator: Operator, call: Call) -> None:
    """The way up needs no check, the way down follows the next one."""
    network = operator.demo.network
    assert network is not None
    (before,) = network.ports
    checks = made_by(operator.client.status())[Origin.CHECK]
    up, _ = call.lost
    network.rebind()
    (after,) = network.ports
    assert after != before
    silent = call.goes_on()
    lost = call.lost[0] - up
    tell(call, "address rebound", silent=silent, lost_upward=lost)
    assert lost <= LOST_AT_MOST
    # A check makes a flow of the new address, and until then the SSRC tells whose packets they are.
    operator.until(lambda status: made_by(status)[Origin.CHECK] > checks, "a check from there")
    assert operator.metrics["stunroute_packets_by_ssrc_total"] > 0


def lose_the_relay(operator: Operator, call: Call) -> None:
    operator.kill_relay()
    by = operator.healed()
    silent = call.goes_on()
    tell(call, "relay killed", silent=silent, by=by)
    assert operator.demo.state["relay"]["restarts"] == 1


def lose_the_store(operator: Operator, call: Call, redis: RedisServer) -> None:
    """And the relay while it is gone: the call must come back without it."""
    redis.kill()
    operator.kill_relay()
    operator.told("the store fails")
    by = operator.healed()
    silent = call.goes_on()
    tell(call, "relay killed without its store", silent=silent, by=by)
    assert made_by(operator.client.status())[Origin.STORE] == 0
    assert "left alone" in operator.top
    assert operator.metrics["stunroute_store_state closed"] == 0
    redis.start()
    operator.store("closed")
    operator.told("the store is in use again")
    operator.until(lambda status: stored(status) > 0, "the flow in the empty store")
    assert operator.metrics["stunroute_store_state closed"] == 1


def rotate(operator: Operator, call: Call, other: Browser) -> None:
    """Relay first, then transceivers. The call under the former key goes on, the next is minted
    under the new one, and both come back to a relay that starts with both."""
    reloads = operator.client.status().reloads
    operator.rotate("2s")
    operator.told("hint configuration 1 is known now")
    operator.told("hint configuration 1 may be minted under now")
    assert operator.client.status().reloads == reloads + 1
    assert operator.configuration(call.ufrag) == "0"
    operator.hand_on()
    later = Call(other, operator.demo)
    deadline = time.monotonic() + 20.0
    while operator.configuration(later.ufrag) != "1":
        # The transceivers may have been busy; nothing tells that they have read their files.
        assert time.monotonic() < deadline
        later.page.hang_up()
        later = Call(other, operator.demo)
    assert operator.told("first check under hint configuration 1")
    metrics = operator.metrics
    assert all(metrics[f"stunroute_hint_checks_total {each}"] > 0 for each in "01")
    assert metrics["stunroute_reloads_total"] == reloads + 1
    call.goes_on()
    call.page.mark()
    later.page.mark()
    operator.kill_relay()
    by = operator.healed(flows=2)
    tell(call, "relay killed with both keys", silent=call.goes_on(), other=later.goes_on(), by=by)
    later.check_tone()
    later.page.leave()


def stored(status: RelayStatus) -> int:
    return sum(worker.store.written for worker in status.workers if worker.store)


# --- several workers ------------------------------------------------------------------------------


def test_a_worker_takes_its_own_calls_along_and_no_others(
    network: Namespace, chromium: Browser, firefox: Browser, tmp_path: Path
) -> None:
    with several_workers(network, tmp_path) as operator:
        first = Call(chromium, operator.demo)
        second = Call(firefox, operator.demo)
        mine = worker_of(operator, first)
        for _ in range(ATTEMPTS):
            # The kernel chooses by the ports, and each call has another one.
            if worker_of(operator, second) != mine:
                break
            second.page.hang_up()
            second = Call(firefox, operator.demo)
        for victim, hit, spared in ((mine, first, second), (1 - mine, second, first)):
            assert worker_of(operator, hit) == victim
            for call in (hit, spared):
                call.page.mark()
            before = hit.lost, spared.lost
            killed = operator.kill_worker(victim)
            operator.told(f"worker {victim} is up again")
            by = operator.healed(worker=victim)
            silent = hit.goes_on(), spared.goes_on()
            lost = missing(before[0], hit.lost), missing(before[1], spared.lost)
            tell(hit, "its worker killed", silent=silent, lost=lost, by=by)
            assert max(lost[0]) <= LOST_AT_MOST
            assert lost[1] == (0, 0)
            assert f"(process {killed.pid}) was killed by SIGKILL" in operator.top
        assert "2 of 2 workers  2 restarts" in operator.top
        for call in (first, second):
            call.check_tone()
            call.page.leave()


def test_a_rebound_client_is_heard_by_whichever_worker_it_comes_to(
    network: Namespace, chromium: Browser, tmp_path: Path
) -> None:
    with several_workers(network, tmp_path) as operator:
        call = Call(chromium, operator.demo)
        before = worker_of(operator, call)
        for _ in range(ATTEMPTS):
            call.check_tone()  # for two seconds the workers have time to tell one another
            up, _ = call.lost
            call.page.mark()
            assert operator.demo.network is not None
            operator.demo.network.rebind()
            silent = call.goes_on()
            after = worker_of(operator, call)
            lost = call.lost[0] - up
            tell(call, "address rebound", silent=silent, lost_upward=lost, workers=(before, after))
            assert lost <= LOST_AT_MOST
            if after != before:
                break
        assert after != before
        call.page.leave()


@contextmanager
def several_workers(network: Namespace, folder: Path) -> Iterator[Operator]:
    """A demo whose relay has two, and a store; clients come through a network that can rebind."""
    admin = folder / "admin"
    with RedisServer() as redis:
        told = environ(admin, redis.url)
        with Demo(network, "--workers", "2", weather=CLEAR, environ=told) as demo:
            yield Operator(demo, admin)


def worker_of(operator: Operator, call: Call) -> int:
    """The worker whose flow the call's is, told by the relay's side of the network between."""
    network = operator.demo.network
    assert network is not None
    port = network.clients[call.client]
    deadline = time.monotonic() + PATIENCE
    while True:
        for flow in operator.client.flows(100):
            if flow.client.port == port:
                return flow.worker
        assert time.monotonic() < deadline, port
        time.sleep(0.05)


def missing(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    return after[0] - before[0], after[1] - before[1]


# --- IPv6 -----------------------------------------------------------------------------------------


def test_a_call_over_ipv6(network: Namespace, chromium: Browser, tmp_path: Path) -> None:
    admin = tmp_path / "admin"
    udp = f"[{network.address6}]:3478"
    with Demo(network, "--udp", udp, environ=environ(admin)) as demo:
        operator = Operator(demo, admin)
        call = Call(chromium, demo)
        assert call.page.report()["stats"]["remote"]["address"] == network.address6
        (flow, *_) = operator.client.flows(10)
        assert not flow.client.is_ipv4
        call.page.mark()
        operator.kill_worker()
        operator.told("worker 0 is up again")
        tell(call, "worker killed, IPv6", silent=call.goes_on(), by=operator.healed())
        call.check_tone()
        call.page.leave()
