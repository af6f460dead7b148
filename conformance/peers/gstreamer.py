"""GStreamer's webrtcbin behind WHIP: it echoes sound (depayloaded, payloaded) and data channels.

A script for Debian's own Python, which alone has Debian's bindings: the standard library and
GObject are all there is here. HTTP is served by threads; a pipeline is touched by its own thread
and GStreamer's, which is how webrtcbin wants it.
"""

import itertools
import json
import os
import re
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

HOST = os.environ.get("PEER_HOST", "127.0.0.1")
SDP = "application/sdp"
MOST_CALLS = 200
OFFER_BYTES = 200_000
GATHERING_SECONDS = 5.0
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload={}"


class Refused(Exception):
    """An offer that webrtcbin does not take."""


def opus_of(offer: str) -> int | None:
    """The payload type of Opus in an offer, None where there is none."""
    found = re.search(r"^a=rtpmap:(\d+) opus/48000", offer, re.MULTILINE | re.IGNORECASE)
    return int(found[1]) if found else None


class Call:
    """One pipeline with one webrtcbin."""

    def __init__(self, offer: str) -> None:
        self._opus = opus_of(offer)
        self._gathered = threading.Event()
        self._channels: list[Any] = []
        self.pipeline = Gst.Pipeline.new(None)
        self.webrtc = Gst.ElementFactory.make("webrtcbin", None)
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("pad-added", self._on_pad)
        self.webrtc.connect("on-data-channel", self._on_channel)
        self.webrtc.connect("notify::ice-gathering-state", self._on_gathering)
        try:
            self.answer = self._negotiate(offer)
        except BaseException:
            self.close()
            raise

    def _negotiate(self, offer: str) -> str:
        parsed, message = GstSdp.SDPMessage.new_from_text(offer)
        if parsed != GstSdp.SDPResult.OK:
            raise Refused("this is no SDP")
        self.pipeline.set_state(Gst.State.PLAYING)
        kind = GstWebRTC.WebRTCSDPType
        remote = GstWebRTC.WebRTCSessionDescription.new(kind.OFFER, message)
        self._ask("set-remote-description", remote)
        if self._opus is not None and "m=audio" in offer:
            self._prepare_echo(self._opus)
        reply = self._ask("create-answer", None)
        local = reply.get_value("answer")
        if local is None:
            raise Refused("no answer was made")
        self._ask("set-local-description", local)
        # Where no section is taken nothing is gathered, and that has no end.
        self._gathered.wait(GATHERING_SECONDS)
        return str(self.webrtc.get_property("local-description").sdp.as_text())

    def _ask(self, action: str, argument: Any) -> Any:
        promise = Gst.Promise.new()
        self.webrtc.emit(action, argument, promise)
        promise.wait()
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            raise Refused(reply.get_value("error").message)
        return reply

    def _prepare_echo(self, payload: int) -> None:
        """A way from what will be received to a sending pad, there before the answer is made."""
        description = (
            "queue name=echo leaky=downstream ! rtpopusdepay ! rtpopuspay name=pay "
            f"pt={payload} ! {OPUS.format(payload)} ! queue"
        )
        self._echo = Gst.parse_bin_from_description(description, True)
        self.pipeline.add(self._echo)
        self._echo.sync_state_with_parent()
        self._echo.link(self.webrtc)

    def _on_pad(self, _: Any, pad: Any) -> None:
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps()
        sound = caps is not None and caps.get_structure(0).get_string("media") == "audio"
        sink = self._echo.get_static_pad("sink") if sound and self._opus is not None else None
        if sink is None or sink.is_linked():
            drain = Gst.ElementFactory.make("fakesink", None)
            drain.set_property("sync", False)
            drain.set_property("async", False)
            self.pipeline.add(drain)
            drain.sync_state_with_parent()
            sink = drain.get_static_pad("sink")
        pad.link(sink)

    def _on_channel(self, _: Any, channel: Any) -> None:
        self._channels.append(channel)
        channel.connect("on-message-string", lambda on, text: on.emit("send-string", text))
        channel.connect("on-message-data", lambda on, data: on.emit("send-data", data))

    def _on_gathering(self, *_: Any) -> None:
        state = self.webrtc.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._gathered.set()

    def close(self) -> None:
        self.pipeline.set_state(Gst.State.NULL)


class Calls:
    """Calls by name, the oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = itertools.count(1)
        self._calls: dict[str, Call] = {}

    def add(self, call: Call) -> str:
        with self._lock:
            name = str(next(self._names))
            self._calls[name] = call
            oldest = next(iter(self._calls)) if len(self._calls) > MOST_CALLS else None
        if oldest is not None:
            self.end(oldest)
        return name

    def end(self, name: str) -> bool:
        with self._lock:
            call = self._calls.pop(name, None)
        if call is not None:
            call.close()
        return call is not None


class Handler(BaseHTTPRequestHandler):
    """``POST /whip`` and ``DELETE /whip/NAME``."""

    calls: Calls
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= OFFER_BYTES:
            return self._say(413, "too long, or nothing")
        offer = self.rfile.read(length).decode(errors="replace")
        if self.path != "/whip":
            return self._say(404)
        if (self.headers.get("Content-Type") or "").partition(";")[0].strip() != SDP:
            return self._say(415)
        try:
            call = Call(offer)
        except (Refused, GLib.Error) as error:
            return self._say(400, f"{error}\n")
        return self._say(201, call.answer, {"Location": f"/whip/{self.calls.add(call)}"})

    def do_DELETE(self) -> None:
        self._say(200 if self.calls.end(self.path.removeprefix("/whip/")) else 404)

    def _say(self, status: int, text: str = "", headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", SDP if status == 201 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses are of no use here."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without a look into DNS for a name, which in a namespace takes seconds to fail."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


def ready(url: str) -> None:
    major, minor, micro, _ = Gst.version()
    told = json.dumps({"url": url, "version": f"{major}.{minor}.{micro}"})
    path = os.environ.get("PEER_READY")
    if path is None:
        print(told, flush=True)
        return
    with open(f"{path}.half", "w") as half:
        half.write(told)
    os.replace(f"{path}.half", path)


def main() -> None:
    Gst.init(None)
    Handler.calls = Calls()
    server = Server((HOST, int(os.environ.get("PEER_PORT", "0"))), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    signal.signal(signal.SIGINT, lambda *_: leave.set())

    def until_nobody_listens() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        leave.set()

    threading.Thread(target=until_nobody_listens, daemon=True).start()
    ready(f"http://{HOST}:{server.server_port}/whip")
    leave.wait()
    # Pipelines hold threads of their own; there is nothing in them that is worth an orderly end.
    os._exit(0)


if __name__ == "__main__":
    main()
