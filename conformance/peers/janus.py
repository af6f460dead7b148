"""Janus behind WHIP: each call is a handle of its echo test, made through its HTTP API.

The echo test sends back sound, pictures, and what comes on data channels: text after words of its
own, bytes as they are. Janus ends a session that is
not asked for events; here it is told not to, for a call is ended by DELETE.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen

from . import front

START_SECONDS = 20.0
_TRANSPORTS = ("mqtt", "nanomsg", "pfunix", "rabbitmq", "websockets")
_PLUGINS = (
    *("audiobridge", "duktape", "lua", "nosip", "recordplay", "sip", "streaming"),
    *("textroom", "videocall", "videoroom", "voicemail"),
)

MAIN = """
general: {{
    debug_level = 4
    session_timeout = 0
    api_secret = "{secret}"
    protected_folders = []
}}
nat: {{
    ice_lite = {lite}
    ice_tcp = false
    full_trickle = false
    ice_enforce_list = "{host}"
}}
media: {{ ipv6 = false }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
HTTP = """
general: {{
    base_path = "/janus"
    http = true
    port = {port}
    ip = "{host}"
}}
admin: {{ admin_http = false }}
"""


def configure(folder: Path, port: int, secret: str, *, lite: bool) -> None:
    """Write the settings of a Janus with one plugin and one transport."""
    main = MAIN.format(
        secret=secret,
        lite="true" if lite else "false",
        host=front.HOST,
        plugins=",".join(f"libjanus_{name}.so" for name in _PLUGINS),
        transports=",".join(f"libjanus_{name}.so" for name in _TRANSPORTS),
    )
    folder.mkdir()
    (folder / "janus.jcfg").write_text(main)
    http = HTTP.format(port=port, host=front.HOST)
    (folder / "janus.transport.http.jcfg").write_text(http)
    (folder / "janus.plugin.echotest.jcfg").write_text("general: { events = false }\n")


@frozen(slots=True)
class Janus:
    """Its HTTP API."""

    web: httpx.AsyncClient
    secret: str

    async def ask(self, path: str, **request: Any) -> dict[str, Any]:
        """What Janus says to one request. Raises Refused."""
        said = {"transaction": secrets.token_hex(8), "apisecret": self.secret, **request}
        try:
            told: dict[str, Any] = (await self.web.post(path, json=said)).json()
        except (httpx.HTTPError, ValueError) as error:
            raise front.Refused(f"{type(error).__name__}: {error}") from error
        if told.get("janus") == "error":
            raise front.Refused(str(told.get("error")))
        return told

    async def version(self) -> str:
        told = (await self.web.get("/janus/info")).json()
        return str(told["version_string"])

    async def alive(self) -> bool:
        try:
            return (await self.web.get("/janus/info")).is_success
        except httpx.HTTPError:
            return False

    async def answer(self, offer: str) -> front.Call:
        session = f"/janus/{(await self.ask('/janus', janus='create'))['data']['id']}"

        async def close() -> None:
            with contextlib.suppress(front.Refused):
                await self.ask(session, janus="destroy")

        try:
            attached = await self.ask(session, janus="attach", plugin="janus.plugin.echotest")
            await self.ask(
                f"{session}/{attached['data']['id']}",
                janus="message",
                body={"audio": True, "video": True},
                jsep={"type": "offer", "sdp": offer, "trickle": False},
            )
            return front.Call(await self._answer(session), close)
        except (front.Refused, asyncio.CancelledError):
            await close()
            raise

    async def _answer(self, session: str) -> str:
        """The answer, which comes as an event."""
        while True:
            told = await self.web.get(session, params={"maxev": 1, "apisecret": self.secret})
            event = told.json()
            match event.get("janus"):
                case "event" if "jsep" in event:
                    return str(event["jsep"]["sdp"])
                case "event" if "error" in event.get("plugindata", {}).get("data", {}):
                    raise front.Refused(str(event["plugindata"]["data"]["error"]))
                case "error" | "timeout" | "hangup":
                    raise front.Refused(str(event.get("error") or event.get("reason")))


async def run() -> None:
    folder = Path(os.environ["PEER_SCRATCH"]) / "janus"
    port, secret = front.free_port(socket.SOCK_STREAM), secrets.token_hex(16)
    configure(folder, port, secret, lite="PEER_ICE_LITE" in os.environ)
    argv = ["janus", "--configs-folder", str(folder), "--disable-colors"]
    base = f"http://{front.HOST}:{port}"
    async with (
        front.child(argv) as process,
        httpx.AsyncClient(base_url=base, timeout=front.ANSWER_SECONDS) as web,
    ):
        janus = Janus(web, secret)
        await front.until(janus.alive, process, START_SECONDS)
        await front.serve(janus.answer, await janus.version(), process)


def main() -> None:
    asyncio.run(run())


if __name__ == "__main__":
    main()
