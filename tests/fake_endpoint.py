"""An endpoint without WebRTC: what the adapter and signalling see of the real one.

A datagram to it is a command in clear text, so a test can make it say anything without a
handshake: ``establish CALL``, ``audio CALL TIMESTAMP PAYLOAD``, ``end CALL``.
"""

from collections import Counter, deque
from types import SimpleNamespace

from attrs import define, field, frozen

from stunroute.address import Transmit
from stunroute.hint import Hint
from transceiver.errors import AtCapacity, OfferError, UnknownCall
from transceiver.events import AudioReceived, Ended, EndReason, Established
from transceiver.snapshot import Audio, Snapshot, Timings


@frozen
class Answered:
    call: str
    answer: str


@define
class FakeEndpoint:
    capacity: int = 2
    retry_after: float = 4.2
    opened: int = 0
    entropies: list = field(factory=list)
    draining: bool = False
    live: dict = field(factory=dict)
    transmits: deque = field(factory=deque)
    events: deque = field(factory=deque)
    deadline: float | None = None
    woken: list = field(factory=list)
    drops: Counter = field(factory=Counter)
    relay: object = None
    reoffers: list = field(factory=list)
    audio: list = field(factory=list)
    readings: list = field(factory=list)
    """Of the clock, as datagrams and audio came with them."""

    @property
    def calls(self):
        return list(self.live)

    @property
    def config(self):
        return SimpleNamespace(cluster=1, node=2)

    def receive_datagram(self, data, address, now):
        self.relay = address
        self.readings.append(now)
        verb, call, *rest = data.decode().split(" ", 3)
        match verb:
            case "establish":
                self.events.append(Established(call, "AEAD_AES_128_GCM"))
            case "audio":
                stamp, payload = rest
                event = AudioReceived(call, "opus", payload.encode(), 0, int(stamp), 48000, False)
                self.events.append(event)
            case "end":
                self._end(call, EndReason.PEER_CLOSED)
            case "flood":
                self.transmits.extend(Transmit(bytes(1200), address) for _ in range(int(rest[0])))

    def take_datagram(self, data, address, now):
        waiting = bool(self.events)
        self.receive_datagram(data, address, now)
        if not waiting and self.events and isinstance(self.events[0], AudioReceived):
            return self.events.popleft()
        return None

    def take_transmits(self):
        transmits = list(self.transmits)
        self.transmits.clear()
        return transmits

    def handle_timeout(self, now):
        self.woken.append(now)
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None

    def next_transmit(self):
        return self.transmits.popleft() if self.transmits else None

    def next_event(self):
        return self.events.popleft() if self.events else None

    def next_timeout(self):
        return self.deadline

    def open_call(self, offer, now, *, channel=None, entropy=None):
        if self.draining or len(self.live) >= self.capacity:
            raise AtCapacity("full", self.retry_after)
        if not offer.startswith("v=0"):
            raise OfferError("a description begins with v=0", 1)
        self.opened += 1
        self.entropies.append(entropy)
        call = f"rtc_{self.opened:026d}"
        self.live[call] = now
        return Answered(call, "v=0\r\nanswer\r\n")

    def ufrag(self, call):
        self._known(call)
        return call[4:]

    def locate_untrusted(self, call, now):
        if not call.startswith("rtc_") or len(call) != 30:
            return None
        return Hint("0", 1, 2, bytes(5))

    def restart_ice(self, call, fragment, now):
        self._known(call)

    def reoffer(self, call, offer, now):
        if not offer.startswith("v=0"):
            raise OfferError("a description begins with v=0", 1)
        self._known(call)
        self.reoffers.append(call)
        return "v=0\r\nrestarted\r\n"

    def send_audio(self, call, payload, timestamp, marker, now):
        self._known(call)
        self.audio.append((call, payload, timestamp, marker, now))
        self.readings.append(now)
        if self.relay is not None:
            text = f"{call} {timestamp} ".encode() + payload
            self.transmits.append(Transmit(text, self.relay))
        return True

    def close_call(self, call, reason, now):
        self._known(call)
        self._end(call, reason)

    def drain(self, within, now):
        self.draining = True

    def snapshot(self, call, now):
        self._known(call)
        return Snapshot(
            call=call,
            phase="new",
            age=now - self.live[call],
            ufrag=call[4:],
            cluster=1,
            node=2,
            ice_validated=0,
            ice_nominated=False,
            dtls_role="client",
            dtls_version=None,
            cipher_suite=None,
            srtp_profile=None,
            timings=Timings(None, None, None, None, None),
            audio=Audio("opus", 0, 0, None, 0, 0, None, None, None),
            channels=None,
            drops={},
        )

    def _known(self, call):
        if call not in self.live:
            raise UnknownCall("no such call")

    def _end(self, call, reason):
        if self.live.pop(call, None) is not None:
            self.events.append(Ended(call, reason, ""))
