"""Do it again, and see whether it comes out the same.

A fresh relay and a fresh endpoint are built from a sidecar. Each step of the recording is given to
them in its order, with its clock reading: a client's packet goes through the relay's core, gets the
leg's header and enters the endpoint; deadlines are served, verbs are called, and what the session
draws is what it drew that day. What comes out is compared at once: every datagram, byte for byte,
after its way back through the relay; the datagrams that were let go; the number and sizes of the
draws; the session's next deadline. The first difference is the verdict, because everything after
it would be a consequence.

Consequences alone would leave some changes unseen: the byte of a packet that does not authenticate
either way, a clock reading that nothing hung on. The checks in the sidecar name those. With
``checks=False`` they are not looked at, which answers the question what a change would have led to.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define, field, frozen

from stunroute.address import Address, Transmit
from stunroute.flow import Flow
from stunroute.hint import HintError
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay
from stunroute.trace import Drop
from transceiver import journal
from transceiver.errors import CallError
from transceiver.events import (
    ChannelClosed,
    ChannelOpened,
    DataEnded,
    EndReason,
    Established,
    Event,
    MessageReceived,
)

from . import capture, rebuild, sidecar
from .sidecar import Sidecar, Step
from .story import describe
from .turns import Cutter, Turn

VERBS = frozenset(
    [
        *("reoffer", "restart_ice", "send_audio", "close_call", "end_within"),
        *("open_channel", "send_message", "close_channel"),
    ]
)
"""The verbs of ``Endpoint`` that a recording may call. A sidecar is a file: it may not name any
other attribute."""


@frozen(slots=True)
class Exact:
    """All came out the same. ``truncated`` says why the recording ends before its call does."""

    steps: int
    packets: int
    draws: int
    truncated: str = ""

    def __str__(self) -> str:
        cut = f" (cut: {self.truncated})" if self.truncated else ""
        return f"exact: {self.steps} steps, {self.packets} packets, {self.draws} draws{cut}"


@frozen(slots=True)
class Parted:
    """Replay and recording differ. ``step``, ``packet`` and ``draw`` count from 1, None where the
    difference is in none of them; ``offset`` is the first differing byte of a payload."""

    what: str
    step: int | None = None
    packet: int | None = None
    draw: int | None = None
    expected: str = ""
    got: str = ""
    offset: int | None = None

    def __str__(self) -> str:
        places = (("step", self.step), ("packet", self.packet), ("draw", self.draw))
        where = ", ".join(f"{name} {number}" for name, number in places if number is not None)
        text = f"parted at {where}: {self.what}" if where else f"parted: {self.what}"
        if self.offset is not None:
            text += f", first at byte {self.offset}"
        if self.expected or self.got:
            text += f"; expected {self.expected or 'nothing'}, got {self.got or 'nothing'}"
        return text


Verdict: TypeAlias = Exact | Parted


@frozen(slots=True)
class Passed:
    """A packet went by, in one direction or the other."""

    packet: capture.Packet
    step: int
    upward: bool


@frozen(slots=True)
class Agreed:
    """Keys were agreed during ``step``."""

    step: int
    at: Instant
    profile: str | None


DataEvent: TypeAlias = ChannelOpened | MessageReceived | ChannelClosed | DataEnded


@frozen(slots=True)
class Happened:
    """Something about data channels, of which the packets show nothing, came of ``step``."""

    step: int
    at: Instant
    event: DataEvent


Witnessed: TypeAlias = Passed | Agreed | Happened


def replay(
    path: Path | str,
    *,
    checks: bool = True,
    witness: Callable[[Witnessed], None] | None = None,
) -> Verdict:
    """Replay ``NAME.pcap`` with ``NAME.toml`` beside it. Raises CaptureError and SidecarError for
    files that cannot be read; ``witness`` is told of every packet as it goes by."""
    path = Path(path)
    record = sidecar.load(path.with_suffix(".toml"))
    verdict = replay_record(record, capture.read(path), checks=checks, witness=witness)
    if isinstance(verdict, Exact) and checks and _digest(path) != record.capture:
        return Parted("the capture file's own headers are not those that were recorded")
    return verdict


def replay_record(
    record: Sidecar,
    packets: Iterator[capture.Packet],
    *,
    checks: bool = True,
    witness: Callable[[Witnessed], None] | None = None,
) -> Verdict:
    """The same for a sidecar and packets already read. Raises SidecarError where the sidecar's
    values build no relay or endpoint."""
    run = _Replay(record, packets, checks, witness or (lambda _: None))
    try:
        return run.play()
    except _Difference as difference:
        return difference.parted


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Difference(Exception):
    """Carries the verdict out of the middle of a core, where an entropy source may find it."""

    def __init__(self, parted: Parted) -> None:
        super().__init__(str(parted))
        self.parted = parted


@define(slots=True)
class _Draws:
    """The recorded draws as an entropy source."""

    record: Sidecar
    checks: bool
    step: int = 1
    used: int = 0
    _chain: sidecar.Chain = field(factory=lambda: sidecar.Chain("draws"))
    _all: list[sidecar.Draw] = field(init=False)
    _due: list[int] = field(init=False)
    """By step: how many draws have been used when it is over."""
    _limits: list[int] = field(init=False)
    """By step: how many may be. Deadlines due at one reading are served in one go, so the first
    of them may draw what belongs to the others."""

    def __attrs_post_init__(self) -> None:
        steps = self.record.steps
        self._all = [draw for step in steps for draw in step.drew]
        total = 0
        self._due = [total := total + len(step.drew) for step in steps]
        self._limits = list(self._due)
        for at in range(len(steps) - 2, -1, -1):
            both = (steps[at].input, steps[at + 1].input)
            together = all(isinstance(given, sidecar.Fired) for given in both)
            if together and steps[at].at == steps[at + 1].at:
                self._limits[at] = self._limits[at + 1]

    def __call__(self, length: int) -> bytes:
        number = self.used + 1
        if number > self._limits[self.step - 1]:
            raise self._differs(number, f"{length} bytes were drawn that nobody drew then")
        draw = self._all[self.used]
        if self.checks and self._chain.link(draw.data) != draw.check:
            raise self._differs(number, "its bytes are not those that were recorded")
        if len(draw.data) != length:
            problem = f"{length} bytes were drawn, {len(draw.data)} then"
            raise self._differs(number, problem)
        self.used = number
        return draw.data

    def settle(self) -> None:
        """The step is over: all of its draws must have been used."""
        if self.used < self._due[self.step - 1]:
            raise self._differs(self.used + 1, "nothing drew it")

    def _differs(self, number: int, what: str) -> _Difference:
        return _Difference(Parted(what, step=self.step, draw=number))


def _foreign(_: int) -> bytes:
    raise _Difference(Parted("bytes were drawn outside of the call's entropy"))


class _Replay:
    def __init__(
        self,
        record: Sidecar,
        packets: Iterator[capture.Packet],
        checks: bool,
        witness: Callable[[Witnessed], None],
    ) -> None:
        self._record = record
        self._packets = packets
        self._checks = checks
        self._witness = witness
        self._chain = sidecar.Chain("steps")
        self._draws = _Draws(record, checks)
        self._cutter = Cutter()
        self._turns: deque[Turn] = deque()
        self._number = 0
        self._seen = 0
        self._relays = rebuild.relays(record)
        self._endpoint = rebuild.endpoint(record, _foreign, self._cutter)
        self._answer = ""

    def play(self) -> Verdict:
        before: Instant = self._record.steps[0].at
        for number, step in enumerate(self._record.steps, start=1):
            self._number = self._draws.step = number
            if step.at < before:
                raise self._parted("the clock ran backward", expected=f"at least {before!r}")
            before = step.at
            self._play_step(step)
        if (packet := next(self._packets, None)) is not None:
            return Parted("no step knows this packet", packet=packet.number)
        return Exact(self._number, self._seen, self._draws.used, self._record.truncated)

    def _play_step(self, step: Step) -> None:
        packet = self._check(step)
        if not self._turns:
            self._drive(step, packet)
        if not self._turns:
            raise self._parted(f"{_name(step)} led to nothing", packet=packet and packet.number)
        turn = self._turns.popleft()
        self._compare_input(step, turn)
        self._compare_sent(step, turn)
        # A deadline may be served together with the one before it; its draws are then due here.
        if not self._turns:
            self._draws.settle()
        self._compare_outcome(step, turn, packet)

    # --- the recording's own consistency -------------------------------------------------------

    def _check(self, step: Step) -> capture.Packet | None:
        """The packet that ``step`` received, if it did, and whether both are as recorded."""
        packet = None
        if isinstance(step.input, sidecar.Received):
            packet = self._next_packet(step.input.packet, step)
        material, part = b"", "the step"
        if packet is not None:
            material, part = packet.payload, "the step or its packet"
        elif isinstance(step.input, sidecar.Opened):
            material, part = self._record.offer.encode(), "the step or the offer"
        check = sidecar.step_check(self._chain, step, material)
        if self._checks and check != step.check:
            raise self._parted(
                f"{part} is not as it was recorded ({_name(step)})",
                packet=packet and packet.number,
                expected=f"check {step.check or 'missing'}",
                got=check,
            )
        return packet

    def _next_packet(self, number: int, step: Step) -> capture.Packet:
        packet = next(self._packets, None)
        if packet is None:
            raise self._parted("the capture ends before this packet", packet=number)
        self._seen += 1
        if packet.number != number:
            raise self._parted("the step names another packet", packet=packet.number)
        if not packet.is_udp:
            raise self._parted(f"is no whole UDP datagram: {packet.note}", packet=number)
        time_ns = self._record.nanoseconds(step.at)
        if packet.time_ns != time_ns:
            raise self._parted(
                "its time stamp is not the step's clock reading",
                packet=number,
                expected=f"{time_ns} ns",
                got=f"{packet.time_ns} ns",
            )
        if self._checks:
            self._check_frame(packet)
        return packet

    def _check_frame(self, packet: capture.Packet) -> None:
        """The headers around the payload must be those that the recorder writes."""
        rebuilt = capture.datagram(packet.source, packet.destination, packet.payload)
        if packet.frame != rebuilt:
            offset = _first_difference(packet.frame, rebuilt)
            what = "its IP or UDP header is not what the recorder wrote"
            raise self._parted(what, packet=packet.number, offset=offset)
        if packet.wire_length != len(packet.frame):
            what = "it claims another length than it has"
            raise self._parted(what, packet=packet.number)

    # --- in ------------------------------------------------------------------------------------

    def _drive(self, step: Step, packet: capture.Packet | None) -> None:
        try:
            match step.input:
                case sidecar.Opened(channel=channel):
                    self._open(channel, step.at)
                case sidecar.Received(relay=index) if packet is not None:
                    self._receive(packet, self._address_of(index), step.at)
                case sidecar.Fired():
                    self._endpoint.handle_timeout(step.at)
                case sidecar.Acted(verb=verb, arguments=arguments):
                    self._act(verb, arguments, step.at)
        except _Difference:
            raise
        except Exception as error:
            # Nothing was raised that day, or there would be no recording: whatever a core raises
            # now is a difference, and the step that does it is what one wants to know.
            what = f"{_name(step)} raised {type(error).__name__}: {error}"
            raise self._parted(what, packet=packet and packet.number) from error
        self._cutter.flush()
        while (turn := self._cutter.take()) is not None:
            self._turns.append(turn)

    def _open(self, channel: int | None, now: Instant) -> None:
        try:
            opened = self._endpoint.open_call(
                self._record.offer, now, channel=channel, entropy=self._draws
            )
        except (CallError, HintError) as error:
            raise self._parted(f"the offer was refused: {error}") from error
        if opened.answer != self._record.answer:
            expected, got = _first_line(self._record.answer, opened.answer)
            raise self._parted("the answer differs", expected=expected, got=got)
        if opened.call != self._record.call:
            raise self._parted("the call's id differs", expected=self._record.call, got=opened.call)

    def _receive(self, packet: capture.Packet, inner: Address, now: Instant) -> None:
        self._witness(Passed(packet, self._number, upward=True))
        relay = self._relays[inner]
        _wake(relay, now)
        route = relay.route_client(packet.payload, packet.source, packet.destination, now)
        if not isinstance(route, Flow):
            reason = f" ({route.value})" if isinstance(route, Drop) else ""
            raise self._parted(f"the relay did not pass it on{reason}", packet=packet.number)
        self._endpoint.receive_datagram(route.header + packet.payload, inner, now)

    def _act(self, verb: str, arguments: dict[str, Any], now: Instant) -> None:
        if verb not in VERBS:
            raise self._parted(f"{verb!r} is no verb of an endpoint")
        values = dict(arguments)
        if "reason" in values:
            values["reason"] = EndReason(values["reason"])
        # An input that is refused is marked so in the recording, and that is compared.
        with suppress(CallError):
            getattr(self._endpoint, verb)(self._record.call, **values, now=now)

    def _address_of(self, index: int) -> Address:
        relays = self._record.relays
        if not 0 <= index < len(relays):
            raise self._parted(f"there is no relay {index}")
        return relays[index]

    # --- out -----------------------------------------------------------------------------------

    def _compare_input(self, step: Step, turn: Turn) -> None:
        match step.input, turn.input:
            case sidecar.Fired(reason=reason), journal.Fired(reason=served) if reason == served:
                same = True
            case sidecar.Opened(), journal.Opened():
                same = True
            case sidecar.Received(), journal.Received():
                same = True
            case sidecar.Acted(verb=verb), journal.Acted(verb=called):
                same = verb == called
            case _:
                same = False
        if not same or step.at != turn.input.at:
            got = type(turn.input).__name__.lower()
            if isinstance(turn.input, journal.Fired):
                got = f"fired {turn.input.reason}"
            raise self._parted("another input was served", expected=_name(step), got=got)

    def _compare_sent(self, step: Step, turn: Turn) -> None:
        transmits = self._transmits(turn)
        relays = step.relays or (0,) * len(step.sent)
        if len(relays) != len(step.sent):
            raise self._parted("relays and sent are not of one length")
        for number, index in zip(step.sent, relays, strict=True):
            packet = self._next_packet(number, step)
            if not transmits:
                expected = describe(packet.payload)
                raise self._parted("a datagram is missing", packet=number, expected=expected)
            self._compare_datagram(packet, transmits.popleft(), self._address_of(index), step.at)
            self._witness(Passed(packet, self._number, upward=False))
        if transmits:
            got = describe(transmits[0].data[38:])
            raise self._parted("a datagram too many", got=got)
        while (event := self._endpoint.next_event()) is not None:
            self._note_event(event, step.at)

    def _transmits(self, turn: Turn) -> deque[Transmit]:
        """What the endpoint made in this turn, without the releases of clients, which leave no
        trace on a client's side."""
        transmits: deque[Transmit] = deque()
        while len(transmits) < len(turn.sent):
            transmit = self._endpoint.next_transmit()
            if transmit is None:
                break
            if len(transmit.data) > 38:
                transmits.append(transmit)
        return transmits

    def _compare_datagram(
        self, packet: capture.Packet, transmit: Transmit, inner: Address, now: Instant
    ) -> None:
        number = packet.number
        if transmit.address != inner:
            raise self._parted("it went to another relay", packet=number)
        relay = self._relays[inner]
        _wake(relay, now)
        down = relay.route_transceiver(transmit.data, self._record.address, now)
        if not isinstance(down, Downlink):
            reason = f" ({down.value})" if isinstance(down, Drop) else ""
            raise self._parted(f"the relay did not pass it back{reason}", packet=number)
        if down.payload != packet.payload:
            raise self._parted(
                "the bytes differ",
                packet=number,
                expected=describe(packet.payload),
                got=describe(down.payload),
                offset=_first_difference(packet.payload, down.payload),
            )
        if (down.proxy, down.client) != (packet.source, packet.destination):
            raise self._parted("it took another way to the client", packet=number)

    def _note_event(self, event: Event, now: Instant) -> None:
        match event:
            case Established(profile=profile):
                self._witness(Agreed(self._number, now, profile))
            case ChannelOpened() | MessageReceived() | ChannelClosed() | DataEnded():
                self._witness(Happened(self._number, now, event))

    def _compare_outcome(self, step: Step, turn: Turn, packet: capture.Packet | None) -> None:
        number = packet.number if packet else None
        if tuple(turn.dropped) != step.dropped:
            raise self._parted(
                "other datagrams were let go",
                packet=number,
                expected=", ".join(step.dropped),
                got=", ".join(turn.dropped),
            )
        if (turn.settled is None) != step.refused:
            got = "refused" if turn.settled is None else "accepted"
            raise self._parted(f"{_name(step)} was {got}")
        settled = turn.settled
        if settled is not None and (settled.timeout, settled.reason) != (step.next, step.why):
            raise self._parted(
                "the session's next deadline differs",
                packet=number,
                expected=_deadline(step.next, step.why),
                got=_deadline(settled.timeout, settled.reason),
            )

    def _parted(self, what: str, **where: Any) -> _Difference:
        return _Difference(Parted(what, step=self._number, **where))


def _wake(relay: Relay, now: Instant) -> None:
    due = relay.next_timeout()
    if due is not None and due <= now:
        relay.handle_timeout(now)


def _name(step: Step) -> str:
    match step.input:
        case sidecar.Opened():
            return "opened"
        case sidecar.Received(packet=packet):
            return f"received {packet}"
        case sidecar.Fired(reason=reason):
            return f"fired {reason}"
        case sidecar.Acted(verb=verb):
            return verb


def _deadline(at: Instant | None, why: str) -> str:
    return "none" if at is None else f"{at!r} ({why})"


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((at for at, (left, right) in enumerate(pairs) if left != right), shorter)


def _first_line(expected: str, got: str) -> tuple[str, str]:
    """The first differing line of two texts."""
    left, right = [*expected.splitlines(), ""], [*got.splitlines(), ""]
    return next(((a, b) for a, b in zip(left, right, strict=False) if a != b), ("", ""))
