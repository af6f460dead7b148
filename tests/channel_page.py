"""Data channels of a real browser, by a page that knows nothing but standard WebRTC.

``Lab`` loads a file of the demo's that has no script, so that the page has the origin of its
signalling, and puts a few functions into it: make a call, open channels, send and compare what
comes back. What a message says is made in the page from its size and a seed, and compared there;
only counts come out.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from browser import Browser
from demo import Demo

BLANK = "style.css"
PATIENCE = 30.0

SCRIPT = r"""(() => {
const CALLS = '/v1/realtime/calls';
const lab = window.lab = {};
const names = new Map();
let context = null;

const random = (size, seed) => {
  const bytes = new Uint8Array(size);
  let state = Math.imul(seed + 1, 2654435761) ^ size;
  for (let at = 0; at < size; at++) {
    state = Math.imul(state, 1664525) + 1013904223;
    bytes[at] = state >>> 24;
  }
  return bytes;
};
const make = ([kind, size], seed) => {
  const bytes = random(size, seed);
  if (kind === 'binary') return bytes.buffer;
  for (let at = 0; at < size; at++) bytes[at] = 32 + (bytes[at] & 63);
  if (size >= 4) bytes.set([0xf0, 0x9f, 0x90, 0x8c]);  // a snail takes two units
  return new TextDecoder().decode(bytes);
};
const digest = message => {
  const text = typeof message === 'string';
  const bytes = text ? new TextEncoder().encode(message) : new Uint8Array(message);
  let sum = 2166136261;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 16777619);
  return `${text ? 'text' : 'binary'} ${bytes.length} ${sum >>> 0}`;
};
const until = async (met, seconds) => {
  const end = performance.now() + 1000 * seconds;
  while (!met()) {
    if (performance.now() > end) return false;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  return true;
};

lab.begin = options => {
  lab.pc = new RTCPeerConnection(options);
  lab.pc.addEventListener('track', ({ track }) => { lab.track = track; });
};
lab.sing = () => {
  context ??= new AudioContext();
  const tone = new OscillatorNode(context, { frequency: 660 });
  const out = new MediaStreamAudioDestinationNode(context);
  tone.connect(out);
  tone.start();
  lab.pc.addTrack(out.stream.getAudioTracks()[0], out.stream);
};
lab.open = (name, options = {}, label = name) => {
  const channel = lab.pc.createDataChannel(label, options);
  const mine = { channel, came: [], low: 0, flow: null };
  names.set(name, mine);
  channel.binaryType = 'arraybuffer';
  channel.addEventListener('message', ({ data }) => mine.came.push(data));
  channel.addEventListener('bufferedamountlow', () => { mine.low += 1; });
};
lab.channel = name => {
  const { channel, came, low } = names.get(name);
  return {
    state: channel.readyState, id: channel.id, low, buffered: channel.bufferedAmount,
    came: came.length,
  };
};
lab.raw = name => names.get(name).channel;
lab.ufrag = () => lab.pc.remoteDescription.sdp.match(/^a=ice-ufrag:(.*)$/m)[1];
lab.close = name => names.get(name).channel.close();
lab.texts = name => names.get(name).came.filter(each => typeof each === 'string');
lab.say = (name, text) => names.get(name).channel.send(text);

const ask = async (method, url, type, body) => {
  const headers = { 'Content-Type': type };
  if (lab.etag && method === 'PATCH') headers['If-Match'] = lab.etag;
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  lab.etag = response.headers.get('ETag') ?? lab.etag;
  lab.location = response.headers.get('Location') ?? lab.location;
  return text;
};
lab.call = async query => {
  await lab.pc.setLocalDescription();
  const offer = lab.pc.localDescription.sdp;
  const sdp = await ask('POST', CALLS + query, 'application/sdp', offer);
  await lab.pc.setRemoteDescription({ type: 'answer', sdp });
  return { offer, answer: sdp, location: lab.location };
};
lab.again = async iceRestart => {
  await lab.pc.setLocalDescription(await lab.pc.createOffer({ iceRestart }));
  const offer = lab.pc.localDescription.sdp;
  const sdp = await ask('PATCH', lab.location, 'application/sdp', offer);
  await lab.pc.setRemoteDescription({ type: 'answer', sdp });
  return { offer, answer: sdp };
};
// As WHIP has it: only credentials and candidates go over the wire, the rest is as it was.
lab.restart = async () => {
  const line = (text, name) => text.match(new RegExp(`^a=${name}:.*$`, 'm'))[0];
  const before = lab.pc.remoteDescription.sdp;
  await lab.pc.setLocalDescription(await lab.pc.createOffer({ iceRestart: true }));
  const offer = lab.pc.localDescription.sdp;
  const lines = [line(offer, 'ice-ufrag'), line(offer, 'ice-pwd')];
  const type = 'application/trickle-ice-sdpfrag';
  const fragment = await ask('PATCH', lab.location, type, lines.join('\r\n') + '\r\n');
  let sdp = before;
  for (const name of ['ice-ufrag', 'ice-pwd']) {
    sdp = sdp.replaceAll(new RegExp(`^a=${name}:.*$`, 'gm'), line(fragment, name));
  }
  await lab.pc.setRemoteDescription({ type: 'answer', sdp });
  return { before, answer: sdp };
};
lab.hangUp = () => ask('DELETE', lab.location, 'text/plain');

// Send all of `items`, wait for as many, compare.
lab.exchange = async (name, items, seconds) => {
  const mine = names.get(name);
  const sent = items.map(make);
  const from = mine.came.length, began = performance.now();
  for (const message of sent) mine.channel.send(message);
  const all = await until(() => mine.came.length >= from + sent.length, seconds);
  const came = mine.came.slice(from).map(digest), wanted = sent.map(digest);
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  return {
    all, ordered: same(came, wanted), equal: same(came.toSorted(), wanted.toSorted()),
    came, wanted, seconds: (performance.now() - began) / 1000,
  };
};

// Send `count` messages, with at most `window` bytes unanswered, and compare what comes back.
lab.pour = (name, count, size, window) => {
  const mine = names.get(name);
  const flow = mine.flow = { sent: 0, back: 0, wrong: 0, count, size, pause: 0 };
  let last = performance.now();
  const due = [];
  const fill = () => {
    while (flow.sent < count && (flow.sent - flow.back) * size < window) {
      const message = make([flow.sent % 2 ? 'text' : 'binary', size], flow.sent++);
      due.push(digest(message));
      try { mine.channel.send(message); } catch (error) { flow.failed = String(error); return; }
    }
  };
  mine.channel.addEventListener('message', ({ data }) => {
    if (mine.flow !== flow) return;
    flow.back += 1;
    const now = performance.now();
    flow.pause = Math.max(flow.pause, now - last);
    last = now;
    flow.wrong += digest(data) !== due.shift();
    fill();
  });
  fill();
};
lab.poured = name => ({ ...names.get(name).flow, state: names.get(name).channel.readyState });

// Numbered messages, of which some may be lost.
lab.count = async (name, number, seconds) => {
  const mine = names.get(name);
  for (let at = 0; at < number; at++) {
    mine.channel.send(String(at));
    if (at % 10 === 9) await new Promise(resolve => setTimeout(resolve, 10));
  }
  let before = -1;
  const settled = () => {
    const grown = mine.came.length > before;
    before = mine.came.length;
    return !grown;
  };
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    await new Promise(resolve => setTimeout(resolve, 1500));
    if (settled()) break;
  }
  return mine.came.map(Number);
};
lab.heard = async () => {
  let packets = 0;
  for (const each of (await lab.pc.getStats()).values()) {
    if (each.type === 'inbound-rtp') packets += each.packetsReceived;
  }
  return packets;
};
})()"""


class Lab:
    """One call after another of a browser to a demo. ``begin``, then channels and audio, then
    ``call``."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self.browser = browser
        self.demo = demo
        browser.navigate(demo.page + BLANK)
        browser.evaluate(SCRIPT)

    def do(self, function: str, *arguments: Any) -> Any:
        """Call one of the page's functions."""
        told = ", ".join(json.dumps(each) for each in arguments)
        return self.browser.evaluate(f"lab.{function}({told})")

    def begin(self, bundle: str = "balanced") -> None:
        self.do("begin", {"bundlePolicy": bundle})

    def open(self, name: str, label: str | None = None, **options: Any) -> None:
        self.do("open", name, options, name if label is None else label)

    def call(self, query: str = "") -> dict[str, str]:
        """Offer and answer, and where the call is."""
        found: dict[str, str] = self.do("call", query)
        return found

    def channel(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.do("channel", name)
        return found

    def until(self, met: Callable[[], Any], within: float = PATIENCE, *, what: object = "") -> Any:
        deadline = time.monotonic() + within
        while not (found := met()):
            assert time.monotonic() < deadline, what() if callable(what) else what
            time.sleep(0.05)
        return found

    def until_open(self, *names: str) -> None:
        for name in names:
            self.until_state(name, "open")

    def until_state(self, name: str, state: str) -> None:
        self.until(
            lambda: self.channel(name)["state"] == state,
            what=lambda: (name, self.channel(name), self.snapshot()),
        )

    def check_exchange(
        self, name: str, items: list[tuple[str, int]], *, ordered: bool = True, within: float = 20.0
    ) -> None:
        """Send messages of these kinds and sizes; they come back, equal."""
        found = self.do("exchange", name, items, within)
        assert found["came"] == found["wanted"] if ordered else found["equal"], found
        assert found["all"]
        print(self.browser.name, name, f"{len(items)} messages back in {found['seconds']:.2f} s")

    def until_poured(self, name: str, messages: int | None = None, within: float = 60.0) -> None:
        """Wait until what ``pour`` sends is back, or so many of it."""

        def back() -> bool:
            flow = self.do("poured", name)
            assert (flow["wrong"], flow["state"]) == (0, "open"), flow
            assert "failed" not in flow, flow
            done: bool = flow["back"] >= (flow["count"] if messages is None else messages)
            return done

        self.until(back, within, what=lambda: (self.do("poured", name), self.snapshot()))
        pause = self.do("poured", name)["pause"] / 1000
        print(self.browser.name, name, f"longest pause {pause:.2f} s")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events that came on a channel."""
        return [json.loads(text) for text in self.do("texts", name)]

    def until_event(self, name: str, kind: str, number: int = 1) -> dict[str, Any]:
        """The ``number``th event of a kind."""

        def found() -> dict[str, Any] | None:
            fitting = [event for event in self.events(name) if event["type"] == kind]
            return fitting[number - 1] if len(fitting) >= number else None

        event: dict[str, Any] = self.until(found, what=lambda: self.events(name))
        return event

    def until_heard(self, packets: int = 25) -> None:
        """Wait for this many more packets of audio."""
        known = self.do("heard")
        self.until(lambda: self.do("heard") >= known + packets, what=self.snapshot)

    def snapshot(self) -> Any:
        """What the transceiver says of the call."""
        where = self.browser.evaluate("lab.location ?? null")
        return None if where is None else self.demo.get(where)
