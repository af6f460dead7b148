"""ICE-lite: the side that only answers (RFC 8445, RFC 8839).

A lite agent gathers nothing and sends no check. The client checks, controls and nominates; all
that is decided here is which checks to believe and which way our packets go.

**Belief.** A check is believed when its integrity verifies under the local password that the first
half of its USERNAME names; what the second half says is the client's own business, and it may have
restarted ICE before we heard of it (RFC 8445 section 7.3). Whatever falls short of that is dropped
in silence: to a sender who does not know the password there is no answer at all, not even
an error, so that nobody's spoofed packet makes us send. Errors (420, 400, 487) are for those who
have proved themselves. FINGERPRINT must be right where there is one; a check without it has still
proved more than a checksum could, and some stacks leave it out. Response and indication have no
meaning for a side that never asks.

**Roles.** Against a full agent a lite one is always controlled (RFC 8445 section 6.1.1), because it
could never carry a nomination out. So a check that says ICE-CONTROLLED is answered with 487
whatever its tie-breaker, ours is none; the client switches once and comes back controlling.

**Pairs.** What a check validates is the pair of the client's address and the relay's public one.
The first validated pair is used at once, nomination or not, so that DTLS need not wait; then the
newest nomination wins. A check without nomination takes the session over only if the client's
newest media came the same way, or the pair in use has been silent: that is what a NAT rebinding
looks like to a client that nominates once. Media alone never moves anything.

**Repetition.** A check carries no proof of freshness. Requests are remembered for a while by their
integrity: one that is repeated on its own pair is a retransmission, gets the same answer, changes
nothing and, because anybody may have sent it, proves nothing; one that is repeated from elsewhere
has been copied on the way, and is dropped.
"""

from collections import OrderedDict, deque
from typing import TypeAlias

from attrs import define, field, frozen

from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.trace import Drop

from .config import IceLimits
from .path import Path

Pair: TypeAlias = tuple[Address, Address]
"""The client's address and the relay's public one. By which inner address the relay reaches us
does not make a pair: a relay that restarts goes on with the ones it finds."""


@frozen(slots=True)
class Credentials:
    """A ufrag and its password, as they stand in SDP, in bytes."""

    ufrag: bytes
    password: bytes = field(repr=False)


@frozen(slots=True)
class IceTransmit:
    """An answer to send back along ``path``."""

    data: bytes
    path: Path


@frozen(slots=True)
class Validated:
    """A first check over this pair has been answered with success."""

    path: Path


@frozen(slots=True)
class Selected:
    """Packets to the client go over ``path`` from now on. ``nominated``: the client said so."""

    path: Path
    nominated: bool


@frozen(slots=True)
class CredentialsExpired:
    """A local ufrag from before an ICE restart is no longer honoured."""

    ufrag: bytes


@frozen(slots=True)
class Dropped:
    """A datagram was let go."""

    drop: Drop


Event: TypeAlias = Validated | Selected | CredentialsExpired | Dropped


_UNCOUNTED = -1  # below every renomination value

# --- what a datagram is ---------------------------------------------------------------------------


@define(slots=True)
class _Honoured:
    """Credentials that checks may use. ``generation`` counts ICE restarts."""

    local: Credentials
    remote: Credentials
    generation: int
    key: stun.IntegrityKey = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.key = stun.IntegrityKey(self.local.password)


@define(slots=True)
class _Retiring:
    """Credentials from before a restart, honoured until ``until``."""

    credentials: _Honoured
    until: Instant


@frozen(slots=True)
class _Check:
    """An authenticated check that is to be answered with success. ``value`` is the renomination
    value of a client that nominates by counting, else ``_UNCOUNTED``."""

    message: stun.Message
    credentials: _Honoured
    nominates: bool
    value: int


@frozen(slots=True)
class _Refusal:
    """An authenticated request that is to be answered with an error."""

    message: stun.Message
    credentials: _Honoured
    code: int
    attributes: tuple[tuple[int, bytes], ...] = ()


def _request_untrusted(data: bytes) -> stun.Message | Drop:
    """The Binding request in a datagram, unauthenticated. Raises DecodeError."""
    message = stun.decode_untrusted(data)
    match message.message_class:
        case stun.MessageClass.SUCCESS | stun.MessageClass.ERROR:
            return Drop.ICE_RESPONSE
        case stun.MessageClass.INDICATION:
            return Drop.ICE_INDICATION
        case stun.MessageClass.REQUEST:
            return message if message.method == stun.Method.BINDING else Drop.STUN_NOT_BINDING


def _judge(message: stun.Message, credentials: _Honoured) -> _Check | _Refusal:
    """What to answer to an authenticated Binding request (RFC 8489, 6.3.1, then RFC 8445, 7.3)."""
    if unknown := message.unknown_comprehension_required():
        listed = stun.encode_unknown_attributes(unknown)
        attribute = (int(stun.Attribute.UNKNOWN_ATTRIBUTES), listed)
        return _Refusal(message, credentials, stun.ErrorCode.UNKNOWN_ATTRIBUTE, (attribute,))
    try:
        priority = message.priority
        controlled = message.ice_controlled
        use_candidate = message.use_candidate
    except DecodeError:
        return _Refusal(message, credentials, stun.ErrorCode.BAD_REQUEST)
    if priority is None:
        return _Refusal(message, credentials, stun.ErrorCode.BAD_REQUEST)
    if controlled is not None:
        return _Refusal(message, credentials, stun.ErrorCode.ROLE_CONFLICT)
    value = _renomination(message)
    return _Check(message, credentials, use_candidate or value != _UNCOUNTED, value)


def _signature(message: stun.Message) -> bytes:
    """What the client's integrity says of a request: the same for its retransmission or copy and,
    unlike the transaction id, beyond the invention of others and different for different requests
    of a client with poor randomness."""
    for kind, value in message.attributes:
        if kind in (stun.Attribute.MESSAGE_INTEGRITY, stun.Attribute.MESSAGE_INTEGRITY_SHA256):
            return value
    return b""


def _renomination(message: stun.Message) -> int:
    """The value of libwebrtc's NOMINATION. Its number belongs to somebody else with IANA, so one of
    another length is a stranger's optional attribute and ignored."""
    try:
        value = message.nomination
    except DecodeError:
        return _UNCOUNTED
    return _UNCOUNTED if value is None else value


# --- which way packets go -------------------------------------------------------------------------


@define(slots=True)
class _Valid:
    """A validated pair. ``path`` names the relay that last delivered something authentic over it,
    ``heard`` is when."""

    path: Path
    heard: Instant


@frozen(slots=True)
class _Unselected:
    """No check has been answered yet."""


@frozen(slots=True)
class _Provisional:
    """In use without the client's word: the first that was validated, or one taken over."""

    pair: Pair
    generation: int


@frozen(slots=True)
class _Nominated:
    """In use because the client nominated it under credentials of this generation; ``value`` is
    the highest renomination value seen under them."""

    pair: Pair
    generation: int
    value: int


_Selection: TypeAlias = _Unselected | _Provisional | _Nominated


class IceLite:
    """The lite agent of one session, with one component (everything is bundled and multiplexed).

    ``local`` are our credentials, ``remote`` the client's. No verb raises because of a datagram.
    """

    def __init__(self, *, local: Credentials, remote: Credentials, limits: IceLimits) -> None:
        self._limits = limits
        self._current = _Honoured(local, remote, 0)
        self._retiring: _Retiring | None = None
        self._valid: OrderedDict[Pair, _Valid] = OrderedDict()  # longest silent first
        self._selection: _Selection = _Unselected()
        self._newest_media: Pair | None = None
        self.steady: _Valid | None = None
        """What media came over last, while nothing else is heard. All that a further packet over
        the very same path changes is when it was ``heard``: see ``note_media``."""
        self._requests: OrderedDict[bytes, Pair] = OrderedDict()  # by signature, oldest first
        self._transmits: deque[IceTransmit] = deque(maxlen=limits.pending)
        self._events: deque[Event] = deque()

    @property
    def local(self) -> Credentials:
        """Our current credentials."""
        return self._current.local

    @property
    def remote(self) -> Credentials:
        """The client's current credentials."""
        return self._current.remote

    @property
    def local_ufrags(self) -> tuple[bytes, ...]:
        """Every local ufrag that is honoured, the current one first."""
        if self._retiring is None:
            return (self._current.local.ufrag,)
        return self._current.local.ufrag, self._retiring.credentials.local.ufrag

    @property
    def selected(self) -> Path | None:
        """Where packets for the client go; None before the first check."""
        match self._selection:
            case _Unselected():
                return None
            case _Provisional(pair=pair) | _Nominated(pair=pair):
                return self._valid[pair].path

    @property
    def nominated(self) -> bool:
        """Whether the path in use is the client's nomination."""
        return isinstance(self._selection, _Nominated)

    @property
    def validated(self) -> int:
        """How many pairs are held as validated."""
        return len(self._valid)

    def is_validated(self, path: Path) -> bool:
        """Whether a check from this client address has been answered with success."""
        return (path.client, path.proxy) in self._valid or any(
            client == path.client for client, _ in self._valid
        )

    # --- in ---------------------------------------------------------------------------------------

    def receive_stun(self, data: bytes, path: Path, now: Instant) -> bool:
        """Take in a datagram that looks like STUN. True if it proves that the client is there: a
        request that has not been seen before and whose integrity verifies, whatever the answer to
        it."""
        self.handle_timeout(now)
        verdict = self._classify(data)
        if isinstance(verdict, Drop):
            return self._refuse(verdict)
        pair = (path.client, path.proxy)
        before = self._remember(verdict.message, pair)
        if before not in (None, pair):
            return self._refuse(Drop.ICE_COPIED)
        match verdict:
            case _Refusal():
                self._answer_refusal(verdict, path)
            case _Check():
                answer = stun.binding_success(verdict.message, path.client, verdict.credentials.key)
                self._transmits.append(IceTransmit(answer, path))
                if before is None:
                    self._hear(pair, path, now)
                    self._select(verdict, pair, now)
        return before is None

    def note_media(self, path: Path, now: Instant) -> bool:
        """An authenticated packet that is not STUN came over ``path``. It counts for the pair where
        that is validated, and is remembered until a check comes the same way. True where an event
        waits now."""
        steady = self.steady
        if steady is not None and steady.path is path:
            steady.heard = now  # all that a further packet of the same flow changes
            return False
        self.steady = None
        pair = self._newest_media = (path.client, path.proxy)
        if pair in self._valid:
            self._hear(pair, path, now)
            self.steady = self._valid[pair]
        return bool(self._events)

    def restart(self, local: Credentials, remote: Credentials, now: Instant) -> None:
        """ICE restart (RFC 8445 section 9): new credentials on both sides. The previous ones are
        honoured for ``restart_overlap`` more, the ones before those no longer. Validated pairs and
        the selected one stay until checks under the new credentials say otherwise.

        Raises ValueError if the ufrag is one that is honoured already.
        """
        if local.ufrag in self.local_ufrags:
            raise ValueError("an ICE restart takes a fresh ufrag")
        self._expire()
        previous = self._current
        self._retiring = _Retiring(previous, now + self._limits.restart_overlap)
        self._current = _Honoured(local, remote, previous.generation + 1)

    def handle_timeout(self, now: Instant) -> None:
        """Retire the credentials whose time is up."""
        if self._retiring is not None and now >= self._retiring.until:
            self._expire()

    # --- out --------------------------------------------------------------------------------------

    def next_transmit(self) -> IceTransmit | None:
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> Instant | None:
        """When previous credentials expire."""
        return None if self._retiring is None else self._retiring.until

    # --- belief -----------------------------------------------------------------------------------

    def _classify(self, data: bytes) -> _Check | _Refusal | Drop:
        try:
            message = _request_untrusted(data)
            if isinstance(message, Drop):
                return message
            username = message.username
        except DecodeError:
            return Drop.STUN_MALFORMED
        if username is None:
            return Drop.STUN_NO_USERNAME
        credentials = self._named(username)
        if isinstance(credentials, Drop):
            return credentials
        if message.fingerprint_ok is False:
            return Drop.ICE_FINGERPRINT
        if not message.has_integrity:
            return Drop.ICE_NO_INTEGRITY
        if not message.verify_integrity(credentials.key):
            return Drop.ICE_INTEGRITY
        return _judge(message, credentials)

    def _named(self, username: bytes) -> _Honoured | Drop:
        """The credentials that a USERNAME names (RFC 8445 section 7.2.2: the receiver's ufrag, a
        colon, the sender's). Bytes are compared, not characters of the ICE grammar, and the spaces
        with which some clients pad are no part of it."""
        ours, _, theirs = username.rstrip(b" ").partition(b":")
        candidates = [self._current]
        if self._retiring is not None:
            candidates.append(self._retiring.credentials)
        for credentials in candidates:
            if credentials.local.ufrag == ours:
                return credentials if theirs else Drop.ICE_PEER_UFRAG
        return Drop.ICE_UFRAG

    def _refuse(self, drop: Drop) -> bool:
        # Only drops come in numbers that a stranger chooses.
        if len(self._events) < self._limits.pending:
            self._events.append(Dropped(drop))
        return False

    def _remember(self, message: stun.Message, pair: Pair) -> Pair | None:
        """The pair on which this very request came before, None if it is new."""
        signature = _signature(message)
        before = self._requests.get(signature)
        if before is None:
            self._requests[signature] = pair
            if len(self._requests) > self._limits.requests:
                self._requests.popitem(last=False)
        return before

    def _answer_refusal(self, refusal: _Refusal, path: Path) -> None:
        answer = stun.binding_error(
            refusal.message,
            refusal.code,
            key=refusal.credentials.key,
            attributes=refusal.attributes,
        )
        self._transmits.append(IceTransmit(answer, path))

    def _expire(self) -> None:
        if self._retiring is not None:
            self._events.append(CredentialsExpired(self._retiring.credentials.local.ufrag))
            self._retiring = None

    # --- selection --------------------------------------------------------------------------------

    def _hear(self, pair: Pair, path: Path, now: Instant) -> None:
        """Something authentic came over ``pair``: it is validated if it was not, its silence ends,
        and the relay that delivered it is the one to answer through."""
        self.steady = None
        valid = self._valid.get(pair)
        if valid is None:
            self._make_room()
            self._valid[pair] = _Valid(path, now)
            self._events.append(Validated(path))
            return
        self._valid.move_to_end(pair)
        valid.heard = now
        before, valid.path = valid.path, path
        if before != path and pair == self._selected_pair:
            self._tell()

    def _make_room(self) -> None:
        """Forget the pair longest silent if there are too many; never the one in use."""
        if len(self._valid) >= self._limits.validated_paths:
            selected = self._selected_pair
            silent = next((pair for pair in self._valid if pair != selected), None)
            if silent is not None:
                del self._valid[silent]

    @property
    def _selected_pair(self) -> Pair | None:
        match self._selection:
            case _Unselected():
                return None
            case _Provisional(pair=pair) | _Nominated(pair=pair):
                return pair

    def _select(self, check: _Check, pair: Pair, now: Instant) -> None:
        """Let a fresh check from a validated pair say where packets go."""
        before = self._selection
        self._selection = self._after(check, pair, now)
        if self._pair_and_kind(before) != self._pair_and_kind(self._selection):
            self._tell()

    def _after(self, check: _Check, pair: Pair, now: Instant) -> _Selection:
        generation = check.credentials.generation
        match self._selection:
            case _Unselected():
                return _on_pair(check, pair, _UNCOUNTED)
            case _Provisional() | _Nominated() as current if generation < current.generation:
                return current  # what was agreed later stands
            case _Provisional() | _Nominated() as current if not check.nominates:
                return self._unless_taken_over(current, check, pair, now)
            case _Nominated() as current if generation == current.generation:
                if _UNCOUNTED < check.value < current.value:
                    return current  # overtaken on the way by a later one
                return _on_pair(check, pair, current.value)
            case _Provisional() | _Nominated():
                return _on_pair(check, pair, _UNCOUNTED)

    def _unless_taken_over(
        self, current: _Provisional | _Nominated, check: _Check, pair: Pair, now: Instant
    ) -> _Selection:
        """A check that nominates nothing moves us only to where the client evidently is."""
        if pair == current.pair:
            return current
        silence = now - self._valid[current.pair].heard
        if pair == self._newest_media or silence >= self._limits.takeover_silence:
            return _Provisional(pair, check.credentials.generation)
        return current

    @staticmethod
    def _pair_and_kind(selection: _Selection) -> tuple[Pair | None, bool]:
        match selection:
            case _Unselected():
                return None, False
            case _Provisional(pair=pair):
                return pair, False
            case _Nominated(pair=pair):
                return pair, True

    def _tell(self) -> None:
        path = self.selected
        if path is not None:
            self._events.append(Selected(path, isinstance(self._selection, _Nominated)))


def _on_pair(check: _Check, pair: Pair, highest: int) -> _Provisional | _Nominated:
    """The selection of a check's own pair, by whether the check nominates."""
    generation = check.credentials.generation
    if check.nominates:
        return _Nominated(pair, generation, max(check.value, highest))
    return _Provisional(pair, generation)
