"""The client that the README shows, in real browsers against the real demo."""

from collections.abc import Iterator

import pytest

from browser import launch, names
from demo import Demo
from namespace import Namespace
from test_readme import blocks
from tools import require_root, require_tool

pytestmark = pytest.mark.live

SNIPPET = next(text for text in blocks("js") if "RTCPeerConnection" in text)
AROUND = """(async () => {
  const secret = "none";
  window.told = [];
  console.log = (kind) => window.told.push(kind);
  document.body.append(document.createElement("audio"));
  %s
  window.own = { call, events };
  return "called";
})()"""
COUNT = """(async () => {
  for (const report of (await window.own.call.getStats()).values())
    if (report.type === "inbound-rtp") return report.totalAudioEnergy || 0;
  return 0;
})()"""


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    require_root()
    with Namespace() as made:
        yield made


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_the_client_shown_converses(network: Namespace, name: str) -> None:
    require_tool(*names(name))
    require_tool("espeak-ng")
    with Demo(network) as demo, launch(name, namespace=network) as browser:
        browser.navigate(demo.page)
        assert browser.evaluate(AROUND % SNIPPET) == "called"
        browser.wait_for("window.told.includes('session.created')", timeout=30)
        browser.evaluate("window.own.events.send(JSON.stringify({type: 'response.create'})), true")
        browser.wait_for("window.told.includes('output_audio_buffer.started')", timeout=30)
        browser.wait_for("window.told.includes('response.done')", timeout=30)
        browser.wait_for(f"{COUNT}.then((energy) => energy > 0.001)", timeout=30)
        browser.evaluate("window.own.call.close(), true")
