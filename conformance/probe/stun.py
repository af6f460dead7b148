"""Single questions in STUN, and what the answer is.

A question goes to a call's server or to a bare target; ``Asker`` is what both have in common. An
answer is read whole: a success response counts as one only when everything about it is right, so
that a case about one field does not pass on a broken message.
"""

from collections.abc import Iterable
from typing import Protocol

from attrs import define, frozen

from conformance.case import Blocked, Seen, Unsupported
from conformance.stage import Stage
from conformance.trail import Crossing
from conformance.wire import Arrival
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from stunroute.instant import Instant

from .call import Call, open_call

TRIES = 4
"""A check is sent so often before the server counts as dead."""


class Answered(Seen):
    """What became of a request."""

    SUCCESS = "a sound success response"
    UNSOUND = "a success response that breaks a rule"
    BAD_REQUEST = "error 400"
    UNAUTHENTICATED = "error 401"
    UNKNOWN_ATTRIBUTE = "error 420"
    ROLE_CONFLICT = "error 487"
    OTHER_ERROR = "another error response"
    SILENCE = "silence"
    DEAD = "silence, and to a good check afterwards too"
    GARBAGE = "something that is no answer"

    @property
    def is_grave(self) -> bool:
        return self is Answered.DEAD


_OF_RFC_3489 = frozenset({0x0002, 0x0004, 0x0005, 0x000B})
"""RESPONSE-ADDRESS, SOURCE-ADDRESS, CHANGED-ADDRESS and REFLECTED-FROM."""
_ERRORS = {
    400: Answered.BAD_REQUEST,
    401: Answered.UNAUTHENTICATED,
    420: Answered.UNKNOWN_ATTRIBUTE,
    487: Answered.ROLE_CONFLICT,
}


@frozen(slots=True)
class Reply:
    """``message`` is what came, if it was STUN; ``detail`` says what is wrong with it."""

    kind: Answered
    detail: str = ""
    message: stun.Message | None = None

    @property
    def observed(self) -> tuple[Answered, str]:
        """For a case to return."""
        return self.kind, self.detail


class Asker(Protocol):
    """Who asks: ``conformance.probe.call.Call`` and ``Bare``."""

    @property
    def stage(self) -> Stage: ...
    @property
    def socket(self) -> Address: ...
    @property
    def server(self) -> Address: ...
    def send(self, data: bytes, *, socket: Address | None = None, note: str = "") -> None: ...
    def receive(self, until: Instant) -> Arrival | None: ...
    def take(self, arrival: Arrival) -> None: ...


@define(slots=True)
class Bare:
    """A target without signalling. Without ``password`` its requests are not signed."""

    stage: Stage
    socket: Address
    server: Address
    ufrag: str | None
    password: str | None

    def send(self, data: bytes, *, socket: Address | None = None, note: str = "") -> None:
        self.stage.send(data, socket or self.socket, self.server, note)

    def receive(self, until: Instant) -> Arrival | None:
        return self.stage.receive(until)

    def take(self, arrival: Arrival) -> None:
        """What answers nothing is left in the trail."""


def reach(stage: Stage) -> "Call | Bare":
    """Whoever is to be asked: the target that was given, or the server of a new call. Raises
    Unsupported, Blocked."""
    if stage.target is None:
        return open_call(stage)
    target = stage.target
    return Bare(stage, stage.open_socket(), target.address, target.ufrag, target.password)


def credentials(asker: Asker) -> tuple[bytes, bytes] | None:
    """The USERNAME and the password that a good check has; None where the server wants none."""
    match asker:
        case Call(told=told, client=client):
            return f"{told.ufrag}:{client.ufrag}".encode(), told.password.encode()
        case Bare(ufrag=str(ufrag), password=str(password)):
            return f"{ufrag}:probe".encode(), password.encode()
    return None


def need_credentials(asker: Asker) -> tuple[bytes, bytes]:
    """Raises Unsupported where there are none."""
    found = credentials(asker)
    if found is None:
        raise Unsupported("no ufrag and password were given")
    return found


def check(
    asker: Asker,
    *,
    username: bytes | None = None,
    password: bytes | None = None,
    attributes: Iterable[tuple[int, bytes]] = (),
    nominate: bool = False,
    controlling: int | None = 0x0123456789ABCDEF,
    controlled: int | None = None,
    priority: int | None = 1853824767,
    signed: bool = True,
    sha256: bool = False,
    fingerprint: bool = True,
    transaction_id: bytes | None = None,
    method: int = stun.Method.BINDING,
    message_class: stun.MessageClass = stun.MessageClass.REQUEST,
) -> bytes:
    """A check that is good but for what the arguments change. ``attributes`` stand before the
    integrity. ``username`` empty: none. To a target without credentials it is a bare Binding
    request, without ICE's attributes."""
    known = credentials(asker)
    body: list[tuple[int, bytes]] = []
    if known is not None:
        name = known[0] if username is None else username
        if name:
            body.append((stun.Attribute.USERNAME, name))
        if priority is not None:
            body.append((stun.Attribute.PRIORITY, stun.encode_uint32(priority)))
        if controlling is not None:
            body.append((stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(controlling)))
        if controlled is not None:
            body.append((stun.Attribute.ICE_CONTROLLED, stun.encode_uint64(controlled)))
        if nominate:
            body.append((stun.Attribute.USE_CANDIDATE, b""))
    elif username:
        body.append((stun.Attribute.USERNAME, username))
    secret = password if password is not None else known[1] if known is not None else None
    return stun.build(
        method,
        message_class,
        transaction_id or asker.stage.entropy(12),
        [*body, *attributes],
        integrity=stun.IntegrityKey(secret) if signed and secret is not None else None,
        sha256=sha256,
        fingerprint=fingerprint,
    )


def ask(
    asker: Asker,
    request: bytes,
    *,
    socket: Address | None = None,
    transaction_id: bytes | None = None,
    within: float | None = None,
    note: str = "",
) -> Reply:
    """Send ``request`` and say what comes back to its transaction (or another one, where the
    request is too broken to have one). Once, without repetition. Never ``DEAD``: see ``probe``."""
    stage = asker.stage
    local = socket or asker.socket
    wanted = transaction_id or request[8:20]
    asker.send(request, socket=local, note=note)
    until = stage.now + (stage.patience if within is None else within)
    unasked = False
    while (arrival := asker.receive(until)) is not None:
        theirs = arrival.socket == local and arrival.source == asker.server
        if theirs and classify(arrival.data) is Kind.STUN:
            if arrival.data[8:20] == wanted:
                return read_reply(asker, arrival)
            unasked = unasked or _is_unasked(stage, arrival.data)
        asker.take(arrival)
    if unasked:
        return Reply(Answered.GARBAGE, "a response to no request of ours")
    return Reply(Answered.SILENCE)


def _is_unasked(stage: Stage, data: bytes) -> bool:
    """Whether it is a response with a transaction id that we have never sent."""
    if not data[0] & 0x01 or stage.trail.left_out:  # no response, or nobody can tell
        return False
    sent = (each for each in stage.trail.entries if isinstance(each, Crossing) and each.sent)
    return all(each.data[8:20] != data[8:20] for each in sent)


def probe(
    asker: Asker, request: bytes, *, socket: Address | None = None, within: float | None = None
) -> Reply:
    """``ask``; and where nothing comes, whether the server still answers a good check: silence that
    is meant, or the silence of the dead."""
    reply = ask(asker, request, socket=socket, within=within)
    if reply.kind is Answered.SILENCE and not is_alive(asker):
        return Reply(Answered.DEAD)
    return reply


def is_alive(asker: Asker) -> bool:
    """Whether a good check is answered with success, sooner or later."""
    return any(ask(asker, check(asker)).kind is Answered.SUCCESS for _ in range(TRIES))


def validate(asker: Asker, *, nominate: bool = True, socket: Address | None = None) -> None:
    """Have a good check answered with success from our socket, or another one. Raises Blocked where
    none is."""
    reply = Reply(Answered.SILENCE)
    for _ in range(TRIES):
        reply = ask(asker, check(asker, nominate=nominate), socket=socket)
        if reply.kind is Answered.SUCCESS:
            return
    raise Blocked(f"a good check got {reply.kind.value} {reply.detail}".strip())


def need_life(asker: Asker) -> None:
    """Raises Blocked where not even a good check is answered."""
    if not is_alive(asker):
        raise Blocked("a good check is not answered")


def read_reply(asker: Asker, arrival: Arrival) -> Reply:
    """What a response amounts to."""
    try:
        message = stun.decode_untrusted(arrival.data)
    except DecodeError as error:
        return Reply(Answered.GARBAGE, str(error))
    match message.message_class:
        case stun.MessageClass.SUCCESS:
            wrong = _faults(asker, message, arrival.socket)
            kind = Answered.UNSOUND if wrong else Answered.SUCCESS
            return Reply(kind, "; ".join(wrong), message)
        case stun.MessageClass.ERROR:
            try:
                code = message.error_code
            except DecodeError as error:
                return Reply(Answered.GARBAGE, str(error), message)
            if code is None:
                return Reply(Answered.GARBAGE, "an error response without ERROR-CODE", message)
            return Reply(_ERRORS.get(code[0], Answered.OTHER_ERROR), f"error {code[0]}", message)
    return Reply(Answered.GARBAGE, f"a {message.message_class.name.lower()}", message)


def demanded(message: stun.Message) -> tuple[int, ...]:
    """Attributes of a response that we know nothing of and would have to know. A server from before
    RFC 5389 adds its own, which a client has to ignore (RFC 5389, section 12.1)."""
    return tuple(
        kind for kind in message.unknown_comprehension_required() if kind not in _OF_RFC_3489
    )


def _faults(asker: Asker, message: stun.Message, socket: Address) -> list[str]:
    """What is wrong with a success response."""
    wrong = []
    try:
        mapped = message.xor_mapped_address
    except DecodeError:
        mapped = None
    if mapped is None:
        wrong.append("no XOR-MAPPED-ADDRESS")
    elif mapped != socket:
        wrong.append("XOR-MAPPED-ADDRESS is not ours")
    if demanded(message):
        wrong.append("comprehension-required attributes that nobody knows")
    known = credentials(asker)
    if known is not None:
        if not message.has_integrity:
            wrong.append("no message integrity")
        elif not message.verify_integrity(stun.IntegrityKey(known[1])):
            wrong.append("wrong message integrity")
        if message.fingerprint_ok is None:
            wrong.append("no FINGERPRINT")
    if message.fingerprint_ok is False:
        wrong.append("wrong FINGERPRINT")
    return wrong
