"""Calls of real browsers through the real demo, by the buttons of its page.

What is measured is what the page measures: packets that went out and came back, the pitch heard.
Bounds are those that the project promises; waiting is generous, since a busy machine is no defect.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from browser import Browser, launch, names
from demo import Demo, Page
from impair import CLEAR, Weather
from namespace import Namespace
from tools import require_root, require_tool

pytestmark = pytest.mark.live

SENT = 660.0
"""The page's test tone in Hz."""
RESTARTED_WITHIN = 5.0
"""Seconds of silence that a relay's death may cost, without a store; most of it is the time that a
busy machine takes to start a process."""
REBOUND_WITHIN = 8.0
"""Seconds of silence after a NAT rebinding: up to the client's next check. Firefox makes one
every 4 to 6 s (RFC 7675, 5.1)."""
LAYERS = ("signalling", "ice", "dtls", "media")

DEAF = """(() => {
    const ask = RTCPeerConnection.prototype.getStats;
    RTCPeerConnection.prototype.getStats = function (...track) {
        return window.deaf ? new Promise(() => {}) : ask.apply(this, track);
    };
})()"""
"""Makes the browser leave readings of its statistics unanswered while ``window.deaf`` is set."""

Open = Callable[..., Page]


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    require_root()
    require_tool(*names(request.param))
    with Namespace() as network, launch(request.param, namespace=network) as made:
        yield made


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Start a demo and open its page: ``open_page(options of Demo)``."""
    with ExitStack() as running:

        def opened(**options: Any) -> Page:
            assert browser.namespace is not None
            demo = Demo(browser.namespace, "--transceivers", "2", **options)
            return Page(browser, running.enter_context(demo))

        yield opened
        browser.navigate("data:text/html,")


def hears_the_tone(page: Page) -> bool:
    return page.tone() == pytest.approx(SENT, rel=0.02)


def test_two_calls_are_each_served_by_the_node_that_their_hint_names(open_page: Open) -> None:
    page = open_page()
    served = []
    for _ in range(2):
        page.call()
        assert hears_the_tone(page)
        report = page.until(lambda report: report["snapshot"])
        assert set(report["layers"]) == set(LAYERS)
        assert set(report["layers"].values()) == {"ok"}
        assert report["tone"]["sent"] == SENT
        check_setup(report)
        tell(page, setup=report["setup"])
        assert report["snapshot"]["phase"] == "established"
        assert report["hint"]["node"] == report["taken"]
        assert report["hint"]["ufrag"] == report["ufrag"]
        assert report["call"] == f"rtc_{report['ufrag']}"
        assert holders(page.demo, report["call"]) == [report["taken"]]
        served.append(report["taken"])

        page.hang_up()
        path = f"/v1/realtime/calls/{report['call']}"
        wait_until(lambda path=path: page.demo.get(path)[0] == 404)
        assert holders(page.demo, report["call"]) == []
    assert sorted(served) == [1, 2]


def test_a_call_does_not_wait_for_what_the_one_before_was_never_told(open_page: Open) -> None:
    """Asked for statistics while its connection closes, Firefox may never answer. Chance shows it
    in one call of three or thirty; here no reading is answered from some moment on."""
    page = open_page()
    page.browser.evaluate(DEAF)
    page.call()
    page.browser.evaluate("window.deaf = true")
    time.sleep(0.5)  # several readings of the page
    page.hang_up()
    page.browser.evaluate("window.deaf = false")
    page.call()


def test_a_killed_relay_is_back_and_so_is_the_audio(open_page: Open) -> None:
    page = open_page()
    before = page.call()
    page.until_audio()
    page.mark()
    page.demo.kill_relay()
    wait_until(lambda: page.demo.state["relay"]["restarts"] == 1)
    page.until_audio()
    tell(page, silence=page.silence)
    assert page.silence < RESTARTED_WITHIN
    check_same_call(page, before)


def test_a_nat_rebinding_costs_a_pause_at_most(open_page: Open) -> None:
    page = open_page(weather=CLEAR)
    assert page.demo.network is not None
    before = page.call()
    page.until_audio()
    (port,) = page.demo.network.ports
    page.mark()
    heard = packets_in(page)
    page.demo.network.rebind()
    (other,) = page.demo.network.ports
    assert other != port

    # The way up needs no check: the first packets from the new port are let through.
    wait_until(lambda: packets_in(page) >= heard + 50, within=5.0)
    page.until_audio()
    tell(page, silence=page.silence)
    assert page.silence < REBOUND_WITHIN
    check_same_call(page, before)


def test_an_ice_restart_is_not_heard(open_page: Open) -> None:
    page = open_page()
    before = page.call()
    page.until_audio()
    page.mark()
    page.restart_ice()
    page.until_audio(100)
    report = page.until(lambda report: report["snapshot"]["ufrag"] == report["ufrag"])
    assert report["ufrag"] != before["ufrag"]
    assert report["hint"]["node"] == before["taken"]
    assert report["layers"]["ice"] == "ok"
    tell(page, silence=page.silence)
    assert page.silence < 1.0
    check_same_call(page, before)


def test_a_call_bears_loss_and_reordering(open_page: Open) -> None:
    page = open_page(weather=Weather(loss=0.1, reorder=0.1, delay=0.005))
    assert page.demo.network is not None
    before = page.call()
    page.until_audio(150, within=60.0)
    check_same_call(page, before)
    report = page.report()
    audio = report["snapshot"]["audio"]
    lost_upward = audio["lost"] / audio["expected"]
    tell(page, loss=report["loss"], lost_upward=lost_upward, setup=report["setup"])
    # Ten in a hundred on each way, with room for the luck of a few hundred packets. The echo's own
    # sequence numbers have no gaps for what was lost before it.
    assert 0.02 < report["loss"] < 0.25
    assert 0.02 < lost_upward < 0.25
    counters = page.demo.network.counters
    assert min(counters[f"{way} {what}"] for way in ("up", "down") for what in ("lost", "held"))


def tell(page: Page, **measured: object) -> None:
    """What was measured, for whoever runs with ``-rP``."""
    print(page.browser.name, measured)


def check_setup(report: dict[str, Any]) -> None:
    """Each layer's part of the set-up is told, and together they are the whole."""
    setup = report["setup"]
    assert all(setup[name] >= 0 for name in LAYERS)
    assert sum(setup[name] for name in LAYERS) == pytest.approx(setup["total"])


def check_same_call(page: Page, before: dict[str, Any]) -> None:
    """The tone is heard, in the call that there was."""
    assert hears_the_tone(page)
    report = page.report()
    assert (report["call"], report["phase"]) == (before["call"], "live")
    assert holders(page.demo, report["call"]) == [before["taken"]]


def holders(demo: Demo, call: str) -> list[int]:
    """The nodes whose process knows ``call``, asked directly."""
    path = f"/v1/realtime/calls/{call}"
    members = demo.state["transceivers"]
    return [each["node"] for each in members if demo.get(path, each["http"])[0] == 200]


def packets_in(page: Page) -> int:
    """What the transceiver has received of the call's audio."""
    _, snapshot = page.demo.get(f"/v1/realtime/calls/{page.report()['call']}")
    count: int = snapshot["audio"]["packets_in"]
    return count


def wait_until(met: Callable[[], bool], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)
