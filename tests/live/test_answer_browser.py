"""Browsers take our answers to their own offers: they are the judges of what SDP may say."""

import json
from collections.abc import Iterator

import pytest

from browser import Browser, BrowserError, launch, names
from negotiating import FRESH, LOCAL, VOICE_ALONE, check
from tools import require_tool
from transceiver.errors import OfferError
from transceiver.negotiation import LocalDescription, Negotiated, negotiate, renegotiate
from transceiver.sdp import parse_untrusted

pytestmark = pytest.mark.live

CONTENTS = {
    "audio": "pc.addTransceiver('audio')",
    "audio to hear": "pc.addTransceiver('audio', {direction: 'recvonly'})",
    "audio to say": "pc.addTransceiver('audio', {direction: 'sendonly'})",
    "audio and data": "pc.addTransceiver('audio'); pc.createDataChannel('x')",
    "data first": "pc.createDataChannel('x'); pc.addTransceiver('audio')",
    "data before": "pc.createDataChannel('x'); await pc.setLocalDescription();"
    "pc.addTransceiver('audio')",
    "data alone": "pc.createDataChannel('x')",
    "pictures first": "pc.addTransceiver('video'); pc.addTransceiver('audio')",
    "everything": "pc.addTransceiver('video'); pc.addTransceiver('audio');"
    "pc.addTransceiver('audio'); pc.createDataChannel('x')",
}
DIRECTIONS = {"audio to hear": "recvonly", "audio to say": "sendonly"}


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    require_tool(*names(request.param))
    with launch(request.param) as made:
        made.navigate("data:text/html,<title>t</title>")
        yield made


def offer(browser: Browser, bundle: str, contents: str) -> str:
    """The offer of a fresh connection, kept in the page as ``pc``."""
    return str(
        browser.evaluate(
            f"""(async () => {{
                const pc = window.pc = new RTCPeerConnection({{bundlePolicy: '{bundle}'}});
                {contents};
                await pc.setLocalDescription(); return pc.localDescription.sdp; }})()"""
        )
    )


def take(browser: Browser, settled: Negotiated) -> dict[str, str | None]:
    """Give the browser an answer. The direction that each of its media then has, by mid."""
    answer = json.dumps({"type": "answer", "sdp": str(settled.answer)})
    state, directions = browser.evaluate(
        f"""(async () => {{
            await pc.setRemoteDescription({answer});
            return [pc.signalingState, Object.fromEntries(
                pc.getTransceivers().map(t => [t.mid, t.currentDirection]))]; }})()"""
    )
    assert state == "stable"
    return dict(directions)


def too_late(browser: Browser, bundle: str, settled: Negotiated) -> bool:
    """With max-bundle Chromium makes one transport, for the first section, and cannot go on when
    that one is rejected. Its offer does not tell, so nobody can refuse it any better."""
    return (browser.name, bundle) == ("chromium", "max-bundle") and 0 not in settled.agreed


@pytest.mark.parametrize("local", [LOCAL, VOICE_ALONE], ids=["data and all", "no data"])
@pytest.mark.parametrize("bundle", ["balanced", "max-bundle", "max-compat"])
@pytest.mark.parametrize("contents", CONTENTS)
def test_a_browser_takes_the_answer(
    browser: Browser, contents: str, bundle: str, local: LocalDescription
) -> None:
    asked = parse_untrusted(offer(browser, bundle, CONTENTS[contents]))
    if contents == "data alone" and not local.data:
        with pytest.raises(OfferError):
            negotiate(asked, local)
        return
    settled = negotiate(asked, local)
    check(asked, settled)
    wanted = local.data and "createDataChannel" in CONTENTS[contents]
    assert (settled.data is not None) == wanted
    if too_late(browser, bundle, settled):
        with pytest.raises(BrowserError, match="RTCP mux"):
            take(browser, settled)
        return
    directions = take(browser, settled)
    if settled.mid is not None:
        assert directions.pop(settled.mid) == DIRECTIONS.get(contents, "sendrecv")
    assert set(directions.values()) <= {None, "stopped", "inactive"}
    if wanted:
        assert browser.evaluate("pc.sctp.transport.state") in ("new", "connecting")
        assert browser.evaluate("pc.sctp.maxMessageSize") == local.max_message_size
    else:
        assert browser.evaluate("pc.sctp") is None
    browser.evaluate("pc.close()")


@pytest.mark.parametrize("first", ["audio", "data alone"])
def test_a_browser_adds_what_it_had_not_offered(browser: Browser, first: str) -> None:
    """Data added to audio is taken, audio added to data is not."""
    second = "pc.createDataChannel('y')" if first == "audio" else "pc.addTransceiver('audio')"
    settled = negotiate(parse_untrusted(offer(browser, "balanced", CONTENTS[first])), LOCAL)
    take(browser, settled)
    text = browser.evaluate(
        f"(async () => {{ {second}; await pc.setLocalDescription();"
        "return pc.localDescription.sdp; })()"
    )
    asked = parse_untrusted(text)
    again = renegotiate(settled, asked, FRESH)
    check(asked, again)
    assert not again.restarted
    assert again.data is not None
    assert again.section == settled.section
    take(browser, again)
    browser.evaluate("pc.close()")


@pytest.mark.parametrize("contents", ["audio and data", "data before", "data alone"])
def test_a_browser_restarts_ice(browser: Browser, contents: str) -> None:
    first = parse_untrusted(offer(browser, "balanced", CONTENTS[contents]))
    settled = negotiate(first, LOCAL)
    take(browser, settled)
    for restart in (False, True):
        call = "pc.restartIce();" if restart else ""
        text = browser.evaluate(
            f"(async () => {{ {call} await pc.setLocalDescription(await pc.createOffer());"
            "return pc.localDescription.sdp; })()"
        )
        again = renegotiate(settled, parse_untrusted(text), FRESH)
        assert again.restarted is restart
        assert (again.data, again.group) == (settled.data, settled.group)
        take(browser, again)
        settled = again
    browser.evaluate("pc.close()")
