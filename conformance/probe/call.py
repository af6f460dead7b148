"""A call at somebody's server, seen from a case.

Before ``start`` a call is credentials and an address: the case sends what it likes (and
``stun.validate`` has one good check answered, which is what DTLS must wait for). ``start`` sets the
harness's client going, which does the rest as a browser would; ``establish`` waits until it is up.
"""

import re
from collections.abc import Callable
from typing import Any

from attrs import define, field

from conformance.case import Blocked, Unsupported
from conformance.client import Answer, AnswerError, Client, read_answer_untrusted
from conformance.stage import Door, Opened, Refused, Stage
from conformance.wire import Arrival
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from stunroute.instant import Instant

_REFUSED_DATA = re.compile(r"^m=application 0 ", re.MULTILINE)
ESTABLISHING = 10.0
"""Seconds that a call may take to come up."""


@define(slots=True)
class Call:
    """``client`` has the offer's credentials. ``strays`` is what came for nobody: other sockets
    than the call's, or before the client was started."""

    stage: Stage
    client: Client
    name: str
    answer: str = field(repr=False)
    told: Answer = field(repr=False)
    server: Address
    strays: list[Arrival] = field(factory=list)
    started: bool = False
    reticent: bool = False
    """Checks of the server's own are left unanswered before the client runs: an answer would make a
    pair valid."""

    @property
    def socket(self) -> Address:
        """Ours."""
        return self.client.address

    # --- before the client runs -----------------------------------------------------------------

    def send(self, data: bytes, *, socket: Address | None = None, note: str = "") -> None:
        """To the server, as it is."""
        self.stage.send(data, socket or self.socket, self.server, note)

    def receive(self, until: Instant) -> Arrival | None:
        """The next datagram that is no check: those of a server that is a full agent are answered
        on the way."""
        while (arrival := self.stage.receive(until)) is not None:
            if not self._answer_check(arrival):
                return arrival
        return None

    def listen(self, seconds: float) -> list[Arrival]:
        """All that comes in that time and is no check."""
        until = self.stage.now + seconds
        heard = []
        while (arrival := self.receive(until)) is not None:
            heard.append(arrival)
        return heard

    def _answer_check(self, arrival: Arrival) -> bool:
        if classify(arrival.data) is not Kind.STUN:
            return False
        try:
            message = stun.decode_untrusted(arrival.data)
        except DecodeError:
            return False
        if message.message_class is not stun.MessageClass.REQUEST:
            return False
        key = stun.IntegrityKey(self.client.password.encode())
        answerable = not self.reticent and self.stage.wire.may_send_to(arrival.source)
        if answerable and message.verify_integrity(key):
            reply = stun.binding_success(message, arrival.source, key)
            self.stage.send(reply, arrival.socket, arrival.source, "answer to their check")
        return True

    # --- the client -----------------------------------------------------------------------------

    def start(self) -> None:
        """Let the client take the answer and go on by itself. What the case has drawn from entropy
        before is its own."""
        self.client.accept(self.answer, self.stage.now)
        self.started = True
        self._send_all()

    def run(self, seconds: float) -> None:
        """Let the client live for that long."""
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Let the client live until something is so, for at most that long; whether it was."""
        until = self.stage.now + seconds
        self._send_all()
        while not condition():
            due = self.client.next_timeout()
            wake = until if due is None else min(until, due)
            arrival = self.stage.receive(wake)
            if arrival is not None:
                self.take(arrival)
            elif self.stage.now >= until:
                return bool(condition())
            due = self.client.next_timeout()
            if due is not None and due <= self.stage.now:
                self.client.handle_timeout(self.stage.now)
            self._send_all()
        return True

    def take(self, arrival: Arrival) -> None:
        """Give the client what came for it."""
        if self.started and arrival.socket == self.socket:
            self.client.receive_datagram(arrival.data, arrival.source, self.stage.now)
            if self.client.dtls is not None and (line := self.client.dtls.key_log_line):
                self.stage.trail.keep_secret(line)
        else:
            self.strays.append(arrival)

    def establish(self) -> None:
        """Start, and wait until both sides have keys. Raises Blocked where they never get them."""
        if not self.started:
            self.start()
        if not self.run_until(lambda: self.client.secured, ESTABLISHING):
            how_far = "no check was answered"
            if self.client.validated_at is not None:
                how_far = self.client.failed or "DTLS did not end"
            raise Blocked(f"the call did not come up: {how_far}")

    def act(self, what: Callable[[], Any]) -> Any:
        """Do something with the client and send what comes of it."""
        done = what()
        self._send_all()
        return done

    def rebind(self) -> Address:
        """The client goes on from a new socket, as after a NAT has forgotten it; the old one."""
        old = self.socket
        self.client.rebind(self.stage.open_socket())
        return old

    def _send_all(self) -> None:
        while (transmit := self.client.next_transmit()) is not None:
            self.stage.send(transmit.data, self.socket, transmit.address)


def open_call(
    stage: Stage, *, edit: Callable[[str], str] = str, ufrag: str = "", **options: Any
) -> Call:
    """Offer, and take the answer. ``options`` are the client's (contents, setup, profiles, ...),
    ``edit`` has the offer before it goes out, ``ufrag`` is the client's where it should be a
    certain one. Raises Unsupported where the stage has no door or the answer leads where we may
    not send, Blocked where the door refuses or answers nonsense."""
    door = need_door(stage)
    usual: dict[str, Any] = {
        "entropy": stage.entropy,
        "address": stage.open_socket(),
        "announces": True,
        "usable": stage.wire.may_send_to,
    }
    client = Client(**(usual | options))
    client.ufrag = ufrag or client.ufrag
    offer = edit(client.offer())
    stage.note(f"offer\n{offer}")
    try:
        opened = door.open(offer)
    except Refused as error:
        raise Blocked(f"the offer was refused: {error}") from error
    stage.note(f"answer\n{opened.answer}")
    if client.contents == ("data",) and _REFUSED_DATA.search(opened.answer):
        raise Unsupported("the server takes no data")
    return take_answer(stage, client, opened)


def take_answer(stage: Stage, client: Client, opened: Opened) -> Call:
    """The call that an answer makes of an offer. Raises Unsupported and Blocked as above."""
    try:
        told = read_answer_untrusted(opened.answer)
    except AnswerError as error:
        raise Blocked(str(error)) from error
    server = told.server(stage.wire.may_send_to)
    if server is None:
        raise Unsupported(_nowhere(told, stage))
    for content, taken in (("audio", told.payload_type), ("data", told.max_message_size)):
        if content in client.contents and taken is None:
            raise Unsupported(f"the server takes no {content}")
    return Call(stage, client, opened.call, opened.answer, told, server)


def _nowhere(told: Answer, stage: Stage) -> str:
    """Why none of the answer's candidates can be used."""
    reasons = told.passed_over(stage.wire.may_send_to)
    beside = f" ({'; '.join(reasons)})" if reasons else ""
    return f"the answer names no address that the harness was given{beside}"


def need_door(stage: Stage) -> Door:
    """Raises Unsupported where there is none."""
    if stage.door is None:
        raise Unsupported("there is no signalling: only an address was given")
    return stage.door


def need_part(call: Call, part: str) -> None:
    """Raises Unsupported unless the server has taken that part: ``active`` or ``passive``."""
    if call.told.setup != part:
        raise Unsupported(f"the server says setup:{call.told.setup}, not setup:{part}")
