"""Servers that believe the wrong check, answer it wrongly, or send their packets the wrong way."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.stun import message as stun_message
from stunroute.trace import Drop
from transceiver import ice
from transceiver.admission import Admission
from transceiver.endpoint import Answered, Endpoint
from transceiver.errors import OfferError
from transceiver.path import Path
from transceiver.session import Session
from transceiver.slot import Slot
from transceiver.timers import Wake

from .model import mutant, swapped

# --- whose check it is ------------------------------------------------------------------------


@mutant(
    "ice/username-by-its-beginning",
    "It compares but the first four bytes of the ufrag.",
    killer="rfc8489/9.1.3/username-of-four-octets",
)
def username_by_its_beginning() -> Iterator[None]:
    def find(self: Endpoint, payload: bytes, path: Path) -> list[Slot] | Drop:
        username = stun.peek_username_untrusted(payload)
        for ufrag, slot in self._by_ufrag.items():
            if username is not None and username[:4] == ufrag[:4]:
                return [slot]
        return find_honestly(self, payload, path)

    def named(self: ice.IceLite, username: bytes) -> Any:
        current = self._current
        return (
            current if username[:4] == current.local.ufrag[:4] else named_honestly(self, username)
        )

    find_honestly, named_honestly = Endpoint._find, ice.IceLite._named
    with swapped(Endpoint, "_find", find), swapped(ice.IceLite, "_named", named):
        yield


@mutant(
    "ice/either-half-of-username",
    "It takes a USERNAME with its halves swapped.",
    killer="rfc8489/9.1.3/username-with-halves-swapped",
)
def either_half_of_username() -> Iterator[None]:
    def turned(username: bytes) -> bytes:
        first, _, second = username.partition(b":")
        return second + b":" + first

    def find(self: Endpoint, payload: bytes, path: Path) -> list[Slot] | Drop:
        username = stun.peek_username_untrusted(payload) or b""
        slot = self._by_ufrag.get(turned(username).partition(b":")[0])
        return [slot] if slot else find_honestly(self, payload, path)

    def named(self: ice.IceLite, username: bytes) -> Any:
        found = named_honestly(self, username)
        return named_honestly(self, turned(username)) if isinstance(found, Drop) else found

    find_honestly, named_honestly = Endpoint._find, ice.IceLite._named
    with swapped(Endpoint, "_find", find), swapped(ice.IceLite, "_named", named):
        yield


@mutant(
    "ice/username-cut",
    "It keeps thirty-four bytes of USERNAME, and wants the client's fragment among them.",
    killer="traps/ice/ufrag-of-32",
)
def username_cut() -> Iterator[None]:
    honest = ice.IceLite._named

    def named(self: ice.IceLite, username: bytes) -> object:
        found = honest(self, username)
        theirs = username[:34].rstrip(b" ").partition(b":")[2]
        if isinstance(found, Drop) or found.remote.ufrag == theirs:
            return found
        return Drop.ICE_PEER_UFRAG

    with swapped(ice.IceLite, "_named", named):
        yield


@mutant(
    "ice/last-username-counts",
    "It reads the last of several USERNAMEs.",
    killer="rfc8489/14/second-username-is-ignored",
)
def last_username_counts() -> Iterator[None]:
    def username(self: stun.Message) -> bytes | None:
        values = [v for kind, v in self.attributes if kind == stun.Attribute.USERNAME]
        return values[-1] if values else None

    with swapped(stun.Message, "username", property(username)):
        yield


@mutant(
    "ice/address-before-name",
    "It delivers a check to the session that was last at its address, whatever it names.",
    killer="traps/ice/two-sessions-at-one-address",
)
def address_before_name() -> Iterator[None]:
    def find(self: Endpoint, payload: bytes, path: Path) -> list[Slot] | Drop:
        known = self._by_address.get(path.client, [])[-1:]
        return known or honest(self, payload, path)

    honest = Endpoint._find
    with swapped(Endpoint, "_find", find):
        yield


@mutant(
    "ice/twin-goes-too",
    "It forgets every session at an address when one of them ends.",
    killer="traps/ice/a-twin-is-closed",
)
def twin_goes_too() -> Iterator[None]:
    def release(self: Endpoint, slot: Slot) -> None:
        for address in slot.addresses:
            for twin in self._by_address.get(address, []):
                for ufrag in twin.ufrags:
                    self._by_ufrag.pop(ufrag, None)
        honest(self, slot)

    honest = Endpoint._release
    with swapped(Endpoint, "_release", release):
        yield


@mutant(
    "ice/full-of-strangers",
    "It keeps something for every unknown name and has room for a hundred.",
    killer="traps/ice/flood-of-unknown-names",
)
def full_of_strangers() -> Iterator[None]:
    unknown: set[bytes] = set()

    def find(self: Endpoint, payload: bytes, path: Path) -> list[Slot] | Drop:
        found = honest(self, payload, path)
        if found is Drop.UFRAG_UNKNOWN:
            unknown.add(stun.peek_username_untrusted(payload) or b"")
        return Drop.UFRAG_UNKNOWN if len(unknown) > 100 else found

    honest = Endpoint._find
    with swapped(Endpoint, "_find", find):
        yield


# --- what is believed -------------------------------------------------------------------------


def _second_opinion(
    refused: Drop, opinion: Callable[[ice.IceLite, stun.Message], Any]
) -> Callable[[ice.IceLite, bytes], Any]:
    """``IceLite._classify`` that is of another opinion where the honest one refuses for that
    reason."""
    honest = ice.IceLite._classify

    def classify(self: ice.IceLite, data: bytes) -> Any:
        found = honest(self, data)
        return opinion(self, stun.decode_untrusted(data)) if found is refused else found

    return classify


@mutant(
    "ice/forged-nomination",
    "It lets a nomination move its pair before it has looked at the integrity.",
    killer="rfc8445/7.3/forged-nomination",
)
def forged_nomination() -> Iterator[None]:
    def receive(self: ice.IceLite, data: bytes, path: Path, now: Instant) -> bool:
        if self._classify(data) is Drop.ICE_INTEGRITY:
            message = stun.decode_untrusted(data)
            if message.use_candidate and self._selected_pair is not None:
                pair = (path.client, path.proxy)
                self._hear(pair, path, now)
                check = ice._Check(message, self._current, True, ice._UNCOUNTED)
                self._select(check, pair, now)
        return honest(self, data, path, now)

    honest = ice.IceLite.receive_stun
    with swapped(ice.IceLite, "receive_stun", receive):
        yield


@mutant(
    "ice/unsigned-is-good",
    "It answers a check that has no integrity at all.",
    killer="rfc8489/9.1.3/no-integrity",
)
def unsigned_is_good() -> Iterator[None]:
    def believe(self: ice.IceLite, message: stun.Message) -> Any:
        return ice._judge(message, self._current)

    classify = _second_opinion(Drop.ICE_NO_INTEGRITY, believe)
    with swapped(ice.IceLite, "_classify", classify):
        yield


@mutant(
    "ice/fingerprint-is-decoration",
    "It does not look whether FINGERPRINT is right.",
    killer="rfc8489/6.3/fingerprint-wrong",
)
def fingerprint_is_decoration() -> Iterator[None]:
    def believe(self: ice.IceLite, message: stun.Message) -> Any:
        if not message.verify_integrity(self._current.key):
            return Drop.ICE_INTEGRITY
        return ice._judge(message, self._current)

    classify = _second_opinion(Drop.ICE_FINGERPRINT, believe)
    with swapped(ice.IceLite, "_classify", classify):
        yield


@mutant(
    "ice/any-password-it-ever-had",
    "It takes the password from before a restart for the ufrag from after it.",
    killer="rfc8445/9/new-name-old-password",
)
def any_password_it_ever_had() -> Iterator[None]:
    def believe(self: ice.IceLite, message: stun.Message) -> Any:
        if self._retiring is None:
            return Drop.ICE_INTEGRITY
        retiring = self._retiring.credentials
        if not message.verify_integrity(retiring.key):
            return Drop.ICE_INTEGRITY
        return ice._judge(message, retiring)

    classify = _second_opinion(Drop.ICE_INTEGRITY, believe)
    with swapped(ice.IceLite, "_classify", classify):
        yield


@mutant(
    "ice/reads-behind-integrity",
    "It minds attributes that the integrity does not cover.",
    killer="rfc8489/9/use-candidate-behind-integrity",
)
def reads_behind_integrity() -> Iterator[None]:
    with swapped(stun_message, "_READ_AFTER", {}), swapped(stun_message, "_layouts", {}):
        yield


@mutant(
    "ice/padding-has-to-be-zero",
    "It refuses messages whose padding holds anything but zeros.",
    killer="rfc8489/14/padding-of-ones",
)
def padding_has_to_be_zero() -> Iterator[None]:
    def request(data: bytes) -> Any:
        message = honest(data)
        at = stun.HEADER_LENGTH
        for _, value in getattr(message, "attributes", ()):
            end = at + 4 + len(value)
            at = end + -len(value) % 4
            if any(data[end:at]):
                raise DecodeError("padding")
        return message

    honest = ice._request_untrusted
    with swapped(ice, "_request_untrusted", request):
        yield


@mutant(
    "ice/answers-indications",
    "It answers a signed Binding indication like a request.",
    killer="rfc8489/6.3.2/signed-indication",
)
def answers_indications() -> Iterator[None]:
    def request(data: bytes) -> Any:
        message = stun.decode_untrusted(data)
        is_indication = message.message_class is stun.MessageClass.INDICATION
        return message if is_indication else honest(data)

    honest = ice._request_untrusted
    with swapped(ice, "_request_untrusted", request):
        yield


@mutant(
    "ice/length-is-decoration",
    "It does not hold the length in the header against the datagram.",
    killer="rfc8489/6.3/length-beyond-the-datagram",
)
def length_is_decoration() -> Iterator[None]:
    def mended(data: bytes) -> bytes:
        length = (len(data) - stun.HEADER_LENGTH) & 0xFFFC
        return data[:2] + length.to_bytes(2, "big") + data[4:] if len(data) > 20 else data

    request, peek = ice._request_untrusted, stun.peek_username_untrusted
    with (
        swapped(ice, "_request_untrusted", lambda data: request(mended(data))),
        swapped(stun, "peek_username_untrusted", lambda data: peek(mended(data))),
    ):
        yield


# --- what is answered -------------------------------------------------------------------------


@mutant(
    "ice/lists-one-attribute",
    "It names only the first of the attributes that it does not know.",
    killer="rfc8489/14.8/all-unknown-attributes",
)
def lists_one_attribute() -> Iterator[None]:
    def encode(types: Iterable[int]) -> bytes:
        return honest(list(types)[:1])

    honest = stun.encode_unknown_attributes
    with swapped(stun, "encode_unknown_attributes", encode):
        yield


@mutant(
    "ice/always-controlled",
    "It overlooks that a client claims the controlled role.",
    killer="rfc8445/7.3.1.1/controlled-with-the-largest-tie-breaker",
)
def always_controlled() -> Iterator[None]:
    def judge(message: stun.Message, credentials: Any) -> Any:
        found = honest(message, credentials)
        if getattr(found, "code", 0) == stun.ErrorCode.ROLE_CONFLICT:
            return ice._Check(message, credentials, message.use_candidate, ice._UNCOUNTED)
        return found

    honest = ice._judge
    with swapped(ice, "_judge", judge):
        yield


@mutant(
    "ice/compares-tie-breakers-in-any-role",
    "It sees a conflict in a controlling client with a large tie-breaker.",
    killer="rfc8445/7.3.1.1/controlling-with-the-largest-tie-breaker",
)
def compares_tie_breakers_in_any_role() -> Iterator[None]:
    def judge(message: stun.Message, credentials: Any) -> Any:
        found = honest(message, credentials)
        if isinstance(found, ice._Check) and (message.ice_controlling or 0) == (1 << 64) - 1:
            return ice._Refusal(message, credentials, stun.ErrorCode.ROLE_CONFLICT)
        return found

    honest = ice._judge
    with swapped(ice, "_judge", judge):
        yield


@mutant(
    "ice/first-address-it-saw",
    "It tells every socket the address of the first.",
    killer="rfc8489/12/address-of-each-socket",
)
def first_address_it_saw() -> Iterator[None]:
    first: list[Address] = []

    def success(request: stun.Message, mapped: Address, key: stun.IntegrityKey) -> bytes:
        first.append(mapped)
        return honest(request, first[0], key)

    honest = stun.binding_success
    with swapped(stun, "binding_success", success):
        yield


@mutant(
    "ice/username-in-the-response",
    "It puts the request's USERNAME into its response.",
    killer="rfc8489/9.1.3/no-username-in-the-response",
)
def username_in_the_response() -> Iterator[None]:
    with swapped(stun, "binding_success", _success(name=True)):
        yield


@mutant(
    "ice/sha1-for-everybody",
    "It signs its responses with SHA-1 whatever the request was signed with.",
    killer="rfc8489/9.1.3/sha256-for-sha256",
)
def sha1_for_everybody() -> Iterator[None]:
    with swapped(stun, "binding_success", _success(name=False)):
        yield


def _success(*, name: bool) -> Callable[[stun.Message, Address, stun.IntegrityKey], bytes]:
    """A response that is signed with SHA-1, and may bear USERNAME."""

    def success(request: stun.Message, mapped: Address, key: stun.IntegrityKey) -> bytes:
        number = request.transaction_id
        body = [(int(stun.Attribute.XOR_MAPPED_ADDRESS), stun.encode_xor_address(mapped, number))]
        if name:
            body.insert(0, (int(stun.Attribute.USERNAME), request.username or b""))
        kind = stun.MessageClass.SUCCESS
        return stun.build(stun.Method.BINDING, kind, number, body, integrity=key)

    return success


# --- which way packets go ---------------------------------------------------------------------


@mutant(
    "ice/any-check-moves",
    "It sends its packets wherever the last good check came from.",
    killer="rfc8445/7.3.1.5/plain-check-nominates-nothing",
)
def any_check_moves() -> Iterator[None]:
    def move(self: ice.IceLite, current: Any, check: Any, pair: Any, now: Instant) -> Any:
        return ice._Provisional(pair, check.credentials.generation)

    with swapped(ice.IceLite, "_unless_taken_over", move):
        yield


@mutant(
    "ice/refused-and-obeyed",
    "It refuses a nomination for a role conflict and goes where it said.",
    killer="rfc8445/7.3.1.1/conflict-nominates-nothing",
)
def refused_and_obeyed() -> Iterator[None]:
    def receive(self: ice.IceLite, data: bytes, path: Path, now: Instant) -> bool:
        found = self._classify(data)
        fresh = honest(self, data, path, now)
        if isinstance(found, ice._Refusal) and found.message.use_candidate:
            pair = (path.client, path.proxy)
            self._hear(pair, path, now)
            check = ice._Check(found.message, found.credentials, True, ice._UNCOUNTED)
            self._select(check, pair, now)
        return fresh

    honest = ice.IceLite.receive_stun
    with swapped(ice.IceLite, "receive_stun", receive):
        yield


@mutant(
    "ice/audio-moves",
    "It sends its packets wherever authentic audio comes from.",
    killer="rfc7675/5.1/audio-brings-no-consent",
)
def audio_moves() -> Iterator[None]:
    def note(self: ice.IceLite, path: Path, now: Instant) -> bool:
        pair = (path.client, path.proxy)
        if pair not in self._valid:
            self._hear(pair, path, now)
            self._selection = ice._Provisional(pair, self._current.generation)
            self._tell()
        return honest(self, path, now)

    honest = ice.IceLite.note_media
    with swapped(ice.IceLite, "note_media", note):
        yield


@mutant(
    "ice/restart-stops-media",
    "It sends nothing from the beginning of a restart until its first check.",
    killer="rfc8839/4.4.3.2/media-goes-on",
)
def restart_stops_media() -> Iterator[None]:
    def restart(self: Session, *arguments: Any) -> None:
        honest(self, *arguments)
        self.route = None

    honest = Session.restart_ice
    with swapped(Session, "restart_ice", restart):
        yield


@mutant(
    "ice/one-password-for-all",
    "It gives out the same password with every ufrag.",
    killer="rfc8445/9/both-change",
)
def one_password_for_all() -> Iterator[None]:
    def mint(self: Admission, *arguments: Any) -> ice.Credentials:
        minted = honest(self, *arguments)
        return ice.Credentials(minted.ufrag, b"thesamepasswordeverytime")

    honest = Admission.mint
    with swapped(Admission, "mint", mint):
        yield


@mutant(
    "ice/anything-is-consent",
    "It counts whatever looks like STUN as a sign of life.",
    killer="rfc7675/5.1/forged-checks-bring-no-consent",
)
def anything_is_consent() -> Iterator[None]:
    def receive(self: Session, payload: bytes, path: Path, now: Instant) -> None:
        self._heard = now
        honest(self, payload, path, now)

    honest = Session._receive_stun
    with swapped(Session, "_receive_stun", receive):
        yield


@mutant(
    "ice/names-are-fatal",
    "It refuses an offer that has a candidate behind a name.",
    killer="rfc8839/5.1/local-name-among-candidates",
)
def names_are_fatal() -> Iterator[None]:
    def open_call(self: Endpoint, offer: str, now: Instant, **more: Any) -> Answered:
        if ".local " in offer:
            raise OfferError("a candidate has no address")
        return honest(self, offer, now, **more)

    honest = Endpoint.open_call
    with swapped(Endpoint, "open_call", open_call):
        yield


@mutant(
    "ice/says-hello-before-a-check",
    "It begins DTLS toward the candidate in the offer, before any check.",
    killer="rfc8445/12.1.1/nothing-before-a-check",
)
def says_hello_before_a_check() -> Iterator[None]:
    def open_call(self: Endpoint, offer: str, now: Instant, **more: Any) -> Answered:
        answered = honest(self, offer, now, **more)
        slot = self._slot(answered.call)
        for ip, port in re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", offer, re.M | re.I):
            (proxy,) = self.config.candidates
            (relay,) = self.config.relays
            slot.session.route = Path(Address.of(ip, int(port)), proxy, relay)
            slot.session.connection.start(now)
            slot.session._drain_dtls(now)
            self._settle(slot, now)
        return answered

    honest = Endpoint.open_call
    with swapped(Endpoint, "open_call", open_call):
        yield


@mutant(
    "ice/consent-without-end",
    "It keeps a call whose client has not been heard of for however long.",
    killer="rfc7675/5.1/lapsed-credentials",
)
def consent_without_end() -> Iterator[None]:
    def serve(self: Session, reason: Wake, now: Instant) -> None:
        if reason is Wake.CONSENT:
            self._heard = now
        else:
            honest(self, reason, now)

    honest = Session._serve
    with swapped(Session, "_serve", serve):
        yield
