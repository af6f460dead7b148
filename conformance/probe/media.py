"""Audio and its reports over a call that is up, packet by packet, and what the server takes of it.

A server shows in one of two ways that it has taken a packet. Most that are started for a test send
audio back: then each packet of ours has a payload that is like no other, and what comes back is
counted. Others decode and encode again, or keep quiet, but report: their RTCP names the highest
sequence number and how many are missing, which gives the number of packets taken, though not which.
A case asks with ``fire`` and need not know which of the two it was.

What comes back proves that it was taken. What does not come back proves less where others have
overtaken it: an application that plays sound, or sends it on, has no use for what is late, and lets
it go long after SRTP has taken it. Of such packets the reports have the last word, and where there
are none nobody can tell.

Silence counts only if good audio is still taken afterwards, so every question ends with packets
that nobody could have anything against.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import attrs
from attrs import define, field, frozen

from conformance.case import Blocked, Seen, Unsupported
from conformance.stage import Stage
from conformance.trail import Crossing
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from transceiver.keying import SrtpKeys
from transceiver.srtp import SrtpContext, SrtpError, rtcp, rtp

from .audio import STEP
from .call import Call, open_call

REPORT_PATIENCE = 8.0
"""Seconds within which a server reports (RFC 3550, 6.2: every five, give or take a half)."""
TRIES = 4
WARM_UP = 3
"""Packets before the first question."""
TOC = b"\xf8"
"""What an Opus packet with one frame begins with; whatever stands behind it can be decoded."""
TOKEN = 16
VOLLEY, BREATH = 24, 0.03
"""After so many packets, so many seconds of rest: what overruns a socket's buffer at a server that
has little time is no answer to anything."""
OVERTAKING = 0.05
"""Seconds for which one looks whether something comes behind the last."""


class Heard(Seen):
    """What came through of some packets."""

    RIGHT = "all that should come through did, once, and nothing else"
    LESS = "of what should come through some did not"
    SILENCE = "of what should come through nothing did, though good audio before and after does"
    MORE = "something came through that should not have, or twice"
    ALTERED = "something came through with another payload"
    DEAD = "good audio is not taken any more"


HEARD = (Heard.RIGHT,)
NOT_HEARD = (Heard.LESS, Heard.SILENCE, Heard.MORE, Heard.ALTERED, Heard.DEAD)
"""The oracle of most questions."""


class Noted(Seen):
    """What became of a report of ours."""

    TAKEN = "it was taken in: their next report refers to it"
    IGNORED = "it was not taken in, though good ones are"
    DEAD = "not even good ones are taken in any more"


@frozen(slots=True)
class Shot:
    """A datagram to be fired. ``wanted``: it should come through; None: as the server likes."""

    data: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    wanted: bool | None = True
    note: str = ""
    socket: Address | None = None
    ssrc: int = 0

    def refused(self, data: bytes, note: str) -> "Shot":
        """The same as other bytes, which should not come through."""
        return attrs.evolve(self, data=data, wanted=False, note=note)


@define(slots=True)
class Media:
    """``sequence`` and ``timestamp`` are those of the next packet. ``by_echo``: the server sends
    our payloads back; else its reports tell what it takes."""

    call: Call
    sequence: int
    context: SrtpContext
    keys: SrtpKeys
    ssrc: int
    timestamp: int = 0x10000
    by_echo: bool = False

    @property
    def stage(self) -> Stage:
        return self.call.stage

    # --- making packets ---------------------------------------------------------------------------

    def payload(self) -> bytes:
        """One like no other."""
        return TOC + self.stage.entropy(TOKEN)

    def packet(self, **fields: Any) -> rtp.RtpPacket:
        """The next packet of our source in the clear; ``fields`` are its differences."""
        values: dict[str, Any] = {
            "payload_type": self.call.client.payload_type,
            "marker": False,
            "sequence": self.sequence,
            "timestamp": self.timestamp,
            "ssrc": self.ssrc,
            "payload": self.payload() if "payload" not in fields else b"",
        }
        packet = rtp.RtpPacket(**(values | fields))
        self.sequence = (packet.sequence + 1) & 0xFFFF
        self.timestamp = (packet.timestamp + STEP) & 0xFFFFFFFF
        return packet

    def shot(self, *, wanted: bool | None = True, note: str = "", **fields: Any) -> Shot:
        """The next packet, protected, that should come through."""
        packet = self.packet(**fields)
        data = self.context.protect_rtp(rtp.encode(packet))
        return Shot(data, packet.payload, wanted, note, ssrc=packet.ssrc)

    def shots(self, count: int) -> list[Shot]:
        return [self.shot() for _ in range(count)]

    def skip(self, count: int) -> None:
        """Packets that are lost on the way: protected, and never sent."""
        for _ in range(count):
            self.shot()

    def another_source(self, ssrc: int, sequence: int) -> "Media":
        """A second source of ours under the same keys, seen by what comes back."""
        if not self.by_echo:
            raise Unsupported("sends no audio back, and its reports do not tell enough")
        context = SrtpContext(self.keys)
        other = Media(self.call, sequence, context, self.keys, ssrc, by_echo=True)
        # Nowhere near the first one's, which would look like packets that are late.
        other.timestamp = (self.timestamp + 0x6000_0000) & 0xFFFFFFFF
        return other

    # --- asking -----------------------------------------------------------------------------------

    def fire(self, shots: Iterable[Shot], *, pause: float = 0.0) -> tuple[Heard, str]:
        """Send them in this order, ``pause`` seconds apart, and say what was taken."""
        fired = list(shots)
        before, elsewhere = len(self.call.client.audio), len(self.call.strays)
        taken = self._taken()
        for place, shot in enumerate(fired, 1):
            self.call.send(shot.data, socket=shot.socket, note=shot.note)
            self.call.run(pause if place % VOLLEY else max(pause, BREATH))
        if not self.is_alive():
            return Heard.DEAD, ""
        self.call.run(OVERTAKING)
        if self.by_echo:
            came = [packet.payload for packet in self.call.client.audio[before:]]
            return self._judge_echo(fired, [*came, *self._elsewhere(fired, elsewhere)])
        # Modulo 2^16, for there are servers that report the sequence number without its cycles.
        count = _ahead(self._taken() - 1, taken)
        return self._judge_count(fired, count)

    def is_alive(self) -> bool:
        """Whether a good packet is taken, sooner or later."""
        if not self.by_echo:
            last = self.shot(note="good audio")
            self.call.send(last.data, note=last.note)
            return self.call.run_until(self._is_reported, REPORT_PATIENCE)
        return any(
            self._comes_back(self.shot(note="good audio"), self.stage.patience)
            for _ in range(TRIES)
        )

    def warm(self) -> None:
        """Find out which way this server shows what it takes. Raises Unsupported where it has
        none."""
        self.by_echo = any(self._comes_back(self.shot(note="warming up"), 0.2) for _ in range(4))
        if self.by_echo:
            for shot in self.shots(WARM_UP):
                self.call.send(shot.data, note="warming up")
            self.call.run(OVERTAKING)
        elif not self.call.run_until(lambda: self._highest() is not None, REPORT_PATIENCE):
            raise Unsupported("sends no audio back and does not report on ours")
        elif not self.is_alive():
            raise Unsupported("its reports do not follow what we send")

    def _comes_back(self, shot: Shot, within: float) -> bool:
        self.call.send(shot.data, note=shot.note)
        audio = self.call.client.audio
        return self.call.run_until(
            lambda: any(packet.payload == shot.payload for packet in audio[-8:]), within
        )

    def _elsewhere(self, fired: list[Shot], known: int) -> Iterator[bytes]:
        """What came back to other sockets of ours, the first ``known`` strays apart: a server may
        send back where a packet came from."""
        sockets = {shot.socket for shot in fired}
        for stray in self.call.strays[known:]:
            if stray.socket in sockets and classify(stray.data) is Kind.RTP:
                with suppress(SrtpError, DecodeError):
                    clear = self.context.unprotect_rtp_untrusted(stray.data)
                    yield rtp.decode_untrusted(clear).payload

    def _judge_echo(self, fired: list[Shot], payloads: Iterable[bytes]) -> tuple[Heard, str]:
        came = Counter(payloads)
        known = {shot.payload for shot in fired}
        for payload in came:
            longer = any(len(each) > TOKEN and each in payload for each in known - {payload})
            if longer and payload not in known:
                return Heard.ALTERED, f"{len(payload)} bytes"
        wanted = {shot.payload for shot in fired if shot.wanted}
        spoilt = {shot.payload for shot in fired if shot.wanted is False} - wanted
        if any(came[payload] > 1 for payload in known if payload):
            return Heard.MORE, "a packet came back twice"
        if any(came[payload] for payload in spoilt):
            return Heard.MORE, ""
        missing = {payload for payload in wanted if not came[payload]}
        if not missing:
            return Heard.RIGHT, ""
        detail = f"{len(missing)} of {len(wanted)} did not come back"
        if missing <= overtaken(fired):
            return self._judge_overtaken(fired, detail)
        return (Heard.SILENCE if missing == wanted else Heard.LESS), detail

    def _judge_overtaken(self, fired: list[Shot], detail: str) -> tuple[Heard, str]:
        """All that did not come back had been overtaken: ask the reports."""
        if not self.call.run_until(self._is_reported, REPORT_PATIENCE):
            raise Unsupported("sends back nothing that is late, and its reports do not tell of it")
        lost = self.blocks()[-1].cumulative_lost
        if lost > self._left_out(fired):
            return Heard.LESS, f"{detail}, and by its reports {lost} were lost"
        return Heard.RIGHT, f"{detail}, though by its reports all were taken"

    def _is_reported(self) -> bool:
        """Whether the newest report reaches as far as we have sent."""
        return self._highest() == (self.sequence - 1) & 0xFFFF

    def _left_out(self, fired: list[Shot]) -> int:
        """How many sequence numbers of our source were never sent under a good tag."""
        refused = {shot.data for shot in fired if shot.wanted is False}
        ours = self.ssrc.to_bytes(4, "big")
        sent: set[int] = set()
        last: int | None = None
        for entry in self.stage.trail.entries:
            if not isinstance(entry, Crossing) or not entry.sent or entry.data in refused:
                continue
            if classify(entry.data) is Kind.RTP and entry.data[8:12] == ours:
                number = int.from_bytes(entry.data[2:4], "big")
                last = number if last is None else last + _ahead(number, last)
                sent.add(last)
        return max(sent) - min(sent) + 1 - len(sent)

    def _judge_count(self, fired: list[Shot], taken: int) -> tuple[Heard, str]:
        datagrams = {shot.data: shot.wanted for shot in fired}
        least = sum(1 for wanted in datagrams.values() if wanted)
        most = least + sum(1 for wanted in datagrams.values() if wanted is None)
        detail = f"by its reports {taken} were taken"
        if taken > len(datagrams):
            raise Unsupported("its reports do not count what is lost")
        if taken > most:
            return Heard.MORE, detail
        if taken >= least:
            return Heard.RIGHT, detail
        return (Heard.LESS if taken > 0 else Heard.SILENCE), detail

    # --- reports ----------------------------------------------------------------------------------

    def blocks(self) -> list[rtcp.ReportBlock]:
        """What the server has reported about our source so far."""
        found = []
        for packet in reports(self.call):
            match packet:
                case rtcp.SenderReport(reports=blocks) | rtcp.ReceiverReport(reports=blocks):
                    found += [block for block in blocks if block.ssrc == self.ssrc]
        return found

    def _highest(self) -> int | None:
        blocks = self.blocks()
        return blocks[-1].highest_sequence & 0xFFFF if blocks else None

    def _taken(self) -> int:
        """How many packets the last report counts, from any beginning."""
        blocks = self.blocks()
        return blocks[-1].highest_sequence - blocks[-1].cumulative_lost if blocks else 0

    def sender_report(self, mark: int) -> rtcp.SenderReport:
        """One that their next report can refer to by ``mark``, 32 bits that are not 0."""
        return rtcp.SenderReport(self.ssrc, mark << 16, self.timestamp, 100, 1700)

    def description(self) -> rtcp.SourceDescription:
        return rtcp.SourceDescription((rtcp.Chunk(self.ssrc, ((rtcp.CNAME, b"client"),)),))

    def compound(self, mark: int, *more: rtcp.Packet) -> bytes:
        """A whole RTCP packet in the clear, with ``more`` behind what it has to have."""
        return rtcp.encode_compound([self.sender_report(mark), self.description(), *more])

    def new_mark(self) -> int:
        return int.from_bytes(self.stage.entropy(4), "big") | 1

    def send_rtcp(self, clear: bytes, note: str = "") -> bytes:
        """Protect and send; the datagram."""
        data = self.context.protect_rtcp(clear)
        self.call.send(data, note=note)
        return data

    def noted(self, mark: int) -> bool:
        """Whether their next reports refer to ``mark``; audio goes on meanwhile."""
        until = self.stage.now + REPORT_PATIENCE
        while self.stage.now < until:
            self.call.send(self.shot(note="audio").data)
            if self.call.run_until(lambda: self._last_mark() == mark, 0.7):
                return True
        return False

    def _last_mark(self) -> int:
        blocks = self.blocks()
        return blocks[-1].last_sender_report if blocks else 0

    def ask_rtcp(self, datagrams: Iterable[bytes], mark: int) -> tuple[Noted, str]:
        """Send protected RTCP that reports under ``mark`` and see whether it is taken in. Raises
        Unsupported where the server refers to nobody's reports."""
        reference = self.new_mark()
        self.send_rtcp(self.compound(reference), "a good report")
        if not self.noted(reference):
            raise Unsupported("its reports do not refer to ours")
        for place, data in enumerate(datagrams, 1):
            self.call.send(data, note="the report in question")
            self.call.run(0.0 if place % VOLLEY else BREATH)
        self.call.run(OVERTAKING)
        known = len(self.blocks())
        # Of two reports the second has been made for certain after the question came.
        until = self.stage.now + 2 * REPORT_PATIENCE
        while len(self.blocks()) < known + 2 and self.stage.now < until:
            self.call.send(self.shot(note="audio").data)
            self.call.run(0.7)
        seen = Noted.TAKEN if self._last_mark() == mark else Noted.IGNORED
        last = self.new_mark()
        self.send_rtcp(self.compound(last), "a good report")
        return (seen, "") if self.noted(last) else (Noted.DEAD, "")


def overtaken(fired: Iterable[Shot]) -> set[bytes]:
    """The payloads of packets behind which others of their source had been sent before."""
    newest: dict[int, int] = {}
    late = set()
    for shot in fired:
        number = int.from_bytes(shot.data[2:4], "big")
        ahead = _ahead(number, newest.setdefault(shot.ssrc, number))
        if ahead < 0:
            late.add(shot.payload)
        else:
            newest[shot.ssrc] = number
    return late


def _ahead(number: int, other: int) -> int:
    """How far ``number`` is ahead of ``other``, of 16 bits each; below 0 where it is behind."""
    return ((number - other + 0x8000) & 0xFFFF) - 0x8000


def reports(call: Call) -> list[rtcp.Packet]:
    """All RTCP packets that came and could be opened and read, one after another."""
    found: list[rtcp.Packet] = []
    for compound in call.client.rtcp:
        try:
            found += rtcp.decode_compound_untrusted(compound)
        except DecodeError:
            continue
    return found


def received(call: Call, kind: Kind) -> list[bytes]:
    """All datagrams of a kind that came, still protected."""
    return [
        entry.data
        for entry in call.stage.trail.entries
        if isinstance(entry, Crossing) and not entry.sent and classify(entry.data) is kind
    ]


def flip(data: bytes, position: int, bits: int = 1) -> bytes:
    """``data`` with some bits of one byte turned over."""
    spoilt = bytearray(data)
    spoilt[position] ^= bits
    return bytes(spoilt)


def prepare(
    stage: Stage, *, first: int | None = None, timestamp: int = 0x10000, **options: Any
) -> Media:
    """A call that is up, before any audio. ``first`` is the first sequence number. Raises Blocked
    and Unsupported."""
    call = open_call(stage, **({"contents": ("audio",)} | options))
    call.establish()
    keys = call.client.keys
    if keys is None:
        raise Blocked("DTLS agreed on no SRTP profile")
    sequence = 1000 + int.from_bytes(stage.entropy(1), "big") if first is None else first
    return Media(call, sequence, SrtpContext(keys), keys, call.client.ssrc, timestamp)


def open_media(stage: Stage, **options: Any) -> Media:
    """``prepare``, and the first audio sent: it is known how the server shows what it takes."""
    media = prepare(stage, **options)
    media.warm()
    return media
