"""A browser behind WHIP: a page in it fetches offers, answers them, and echoes.

No driver is needed: the browser is started on a page that asks this program for what is to be done
and is told in JSON. Host candidates are usually hidden behind mDNS names from pages that may not
use the microphone; that is switched off, since nobody here resolves them.
"""

import asyncio
import itertools
import os
import re
from pathlib import Path
from typing import Any

from attrs import define, field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from . import front

START_SECONDS = 25.0
IDLE_SECONDS = 20.0
"""How long the page waits for something to do before it asks again."""

PAGE = """<!doctype html>
<title>peer</title>
<script>
"use strict";
const calls = new Map();

function gathered(peer) {
  return new Promise((resolve) => {
    // Where no section is taken nothing is gathered, and that has no end.
    setTimeout(resolve, 5000);
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.onicegatheringstatechange = look;
    look();
  });
}

async function echo(event) {
  const { track, transceiver, streams } = event;
  if (track.kind !== "audio") return;
  // Sound that nobody plays is never decoded.
  const player = new Audio();
  player.muted = true;
  player.srcObject = streams[0] || new MediaStream([track]);
  player.play().catch(() => {});
  transceiver.direction = "sendrecv";
  await transceiver.sender.replaceTrack(track);
}

async function open(name, sdp) {
  const peer = new RTCPeerConnection();
  calls.set(name, peer);
  peer.ontrack = echo;
  peer.ondatachannel = ({ channel }) => {
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => channel.send(data);
  };
  await peer.setRemoteDescription({ type: "offer", sdp });
  await peer.setLocalDescription();
  await gathered(peer);
  return peer.localDescription.sdp;
}

function close(name) {
  calls.get(name)?.close();
  calls.delete(name);
}

async function answer(name, sdp) {
  let told;
  try {
    told = { sdp: await open(name, sdp) };
  } catch (error) {
    close(name);
    told = { problem: String(error) };
  }
  await fetch(`/done/${name}`, { method: "POST", body: JSON.stringify(told) });
}

(async () => {
  for (;;) {
    const next = await (await fetch("/next", { method: "POST" })).json();
    if ("offer" in next) answer(next.name, next.offer);
    else if (next.close) close(next.close);
  }
})();
</script>
"""

CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--no-default-browser-check", "--mute-audio"),
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
FIREFOX: dict[str, bool | int | str] = {
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    # Firefox's own stand-in where there is no sound card.
    "media.cubeb.force_mock_context": True,
    "app.normandy.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def command(name: str, home: Path, url: str) -> list[str]:
    """The browser's command line, with its profile written to ``home``."""
    if name == "chromium":
        return ["chromium", *CHROMIUM, f"--user-data-dir={home}", url]
    lines = (f'user_pref("{key}", {_literal(value)});\n' for key, value in FIREFOX.items())
    (home / "user.js").write_text("".join(lines))
    return ["firefox-esr", "--headless", "--no-remote", "--profile", str(home), url]


def _literal(value: bool | int | str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return f'"{value}"'


@define(slots=True, eq=False)
class Page:
    """What the page is asked for, and what it says."""

    _todo: "asyncio.Queue[dict[str, str]]" = field(init=False, factory=asyncio.Queue)
    _answers: dict[str, "asyncio.Future[dict[str, Any]]"] = field(init=False, factory=dict)
    _names: "itertools.count[int]" = field(init=False, factory=itertools.count)
    here: asyncio.Event = field(init=False, factory=asyncio.Event)
    """Set when the page has asked for the first time."""

    @property
    def routes(self) -> tuple[Route, ...]:
        return (
            Route("/", self._page),
            Route("/next", self._next, methods=["POST"]),
            Route("/done/{name}", self._done, methods=["POST"]),
        )

    async def open(self, offer: str) -> front.Call:
        name = str(next(self._names))
        reply = self._answers[name] = asyncio.get_running_loop().create_future()
        self._todo.put_nowait({"name": name, "offer": offer})
        try:
            told = await reply
        except asyncio.CancelledError:
            self._todo.put_nowait({"close": name})
            raise
        finally:
            del self._answers[name]
        if "sdp" not in told:
            raise front.Refused(str(told.get("problem")))

        async def close() -> None:
            self._todo.put_nowait({"close": name})

        return front.Call(told["sdp"], close)

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(PAGE)

    async def _next(self, _: Request) -> Response:
        self.here.set()
        try:
            return JSONResponse(await asyncio.wait_for(self._todo.get(), IDLE_SECONDS))
        except TimeoutError:
            return JSONResponse({})

    async def _done(self, request: Request) -> Response:
        reply = self._answers.get(request.path_params["name"])
        if reply is not None and not reply.done():
            reply.set_result(await request.json())
        return Response(status_code=204)


async def run(name: str) -> None:
    home = Path(os.environ["PEER_SCRATCH"]) / "browser"
    home.mkdir()
    # Nothing of whoever starts it: no settings, no caches, no desktop.
    os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home), XDG_CONFIG_HOME=str(home))
    os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
    page = Page()
    async with front.listening(front.Door(page.open, page.routes)) as base:
        argv = command(name, home, f"{base}/")
        told = await front.said(argv[0], "--version")
        version = re.search(r"\d+(?:\.\d+)+", told)
        async with front.child(argv) as process:
            await asyncio.wait_for(page.here.wait(), START_SECONDS)
            front.ready(f"{base}/whip", version[0] if version else "unknown")
            await front.told_to_leave(process)


def main() -> None:
    asyncio.run(run(os.environ["PEER_PROGRAM"]))


if __name__ == "__main__":
    main()
