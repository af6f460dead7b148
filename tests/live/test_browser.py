"""The drivers of the two browsers, on a page that needs no server: what fails here is not ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, BrowserError, launch, names
from namespace import Namespace
from tools import require_root, require_tool

pytestmark = pytest.mark.live

PAGE = (
    "data:text/html,<title>t</title><button onclick='"
    "window.hits = (window.hits || 0) + (navigator.userActivation.hasBeenActive ? 1 : 100)"
    "'>press</button>"
)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    require_root()
    require_tool(*names(request.param))
    with Namespace() as network, launch(request.param, namespace=network, dark=True) as made:
        made.navigate(PAGE)
        yield made


def test_the_driver_does_what_live_tests_ask_of_it(browser: Browser, tmp_path: Path) -> None:
    assert browser.evaluate("1 + 1") == 2
    assert browser.evaluate("undefined") is None
    assert browser.evaluate("Promise.resolve({a: [null, 'x']})") == {"a": [None, "x"]}
    with pytest.raises(BrowserError, match="nowhere"):
        browser.evaluate("nowhere()")

    browser.click("button")
    assert browser.evaluate("window.hits") == 1
    with pytest.raises(BrowserError, match="no element"):
        browser.click("#missing")

    browser.resize(700, 500)
    assert browser.wait_for("innerWidth === 700 && innerHeight === 500")
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TimeoutError):
        browser.wait_for("false", timeout=0.2)


def test_a_namespace_shows_the_browser_only_its_own_network(browser: Browser) -> None:
    # Without permission for the microphone the candidate hides behind an mDNS name or shows the
    # one address that there is; either way there is one, and so a call is possible.
    candidates = browser.evaluate(
        """(async () => {
            const pc = new RTCPeerConnection(); const found = [];
            pc.createDataChannel('x');
            const done = new Promise(resolve => { pc.onicecandidate = event => {
                if (!event.candidate) resolve();
                else if (event.candidate.candidate) found.push(event.candidate.candidate); }; });
            await pc.setLocalDescription(); await done; pc.close(); return found; })()"""
    )
    udp = [line.split() for line in candidates if line.split()[2].lower() == "udp"]
    assert udp
    assert all(parts[4].endswith(".local") or parts[4] == Namespace.address for parts in udp)
