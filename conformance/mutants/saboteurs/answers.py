"""Servers that answer what they should not, or otherwise than they should: STUN.

What is altered here is signed again, with the password that was given out at the door, so that only
what was altered is wrong. A relay has no responses of its own; there these do nothing but answer.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, evolve

from conformance.drivers.virtual import Emission
from conformance.stage import Opened
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.stun import Attribute, MessageClass

from .model import Saboteur, Tamper, TamperedDoor, staged, tampering
from .wire import kind_of, payload_of

Attributes = list[tuple[int, bytes]]
_SIGNED = (Attribute.MESSAGE_INTEGRITY, Attribute.MESSAGE_INTEGRITY_SHA256, Attribute.FINGERPRINT)
_CODES = (300, 400, 401, 420, 438, 487, 500)


class Passwords:
    """What the door has given out, newest first, by ufrag."""

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def learn(self, text: str) -> None:
        ufrag = re.search(r"^a=ice-ufrag:(\S+)", text, re.MULTILINE)
        password = re.search(r"^a=ice-pwd:(\S+)", text, re.MULTILINE)
        if ufrag and password:
            self.known[ufrag[1].encode()] = password[1].encode()

    def key_of(self, request: bytes) -> stun.IntegrityKey:
        """The one that answers a request, or the newest."""
        username = None
        if request:
            try:
                username = stun.decode_untrusted(request).username
            except DecodeError:
                username = None
        name = (username or b"").partition(b":")[0]
        newest = next(reversed(self.known.values()), b"none")
        return stun.IntegrityKey(self.known.get(name, newest))


@define(slots=False)
class Answers(Tamper):
    """Says a STUN message of its own to whatever it hears of some kinds."""

    make: Callable[[bytes, Address, Passwords], bytes]
    passwords: Passwords
    only: frozenset[Kind]
    instead: bool

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        return () if self.instead and kind_of(heard) in self.only else (heard,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if kind_of(heard) not in self.only:
            return ()
        inner = payload_of(heard.data)
        header = heard.data[: len(heard.data) - len(inner)]
        said = self.make(inner, heard.source, self.passwords)
        return (Emission(header + said, heard.destination, heard.source),)


@define(slots=False)
class Rewrites(Tamper):
    """Says its STUN responses otherwise."""

    rewrite: Callable[[stun.Message, Attributes], bytes | Attributes]
    passwords: Passwords
    requests: dict[bytes, bytes]

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if kind_of(heard) is Kind.STUN and len(heard.data) >= stun.HEADER_LENGTH:
            self.requests[heard.data[8:20]] = heard.data
        return (heard,)

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        try:
            message = stun.decode_untrusted(said.data)
        except DecodeError:
            return (said,)
        key = self.passwords.key_of(self.requests.get(message.transaction_id, b""))
        told = [each for each in message.attributes if each[0] not in _SIGNED]
        again = self.rewrite(message, told)
        if isinstance(again, list):
            again = _built(message, again, key if message.has_integrity else None)
        return (evolve(said, data=again),)


def _built(
    message: stun.Message, told: Attributes, key: stun.IntegrityKey | None, **more: Any
) -> bytes:
    kind = more.pop("kind", message.message_class)
    number = more.pop("number", message.transaction_id)
    return stun.build(message.method, kind, number, told, integrity=key, **more)


def _door(passwords: Passwords) -> type[TamperedDoor]:
    class Listening(TamperedDoor):
        def open(self, offer: str) -> Opened:
            opened = TamperedDoor.open(self, offer)
            passwords.learn(opened.answer)
            return opened

        def reoffer(self, call: str, offer: str) -> str:
            answer = TamperedDoor.reoffer(self, call, offer)
            passwords.learn(answer)
            return answer

        def restart(self, call: str, fragment: str) -> str | None:
            answer = TamperedDoor.restart(self, call, fragment)
            passwords.learn(answer or "")
            return answer

    return Listening


def _informed(name: str, does: str, make: Callable[[Passwords], Tamper]) -> Saboteur:
    """One whose tamper knows the passwords."""

    @contextmanager
    def apply() -> Iterator[None]:
        passwords = Passwords()
        with staged(lambda: make(passwords), _door(passwords)):
            yield

    return Saboteur(name, does, apply)


# --- says something to whatever it hears --------------------------------------------------------


def _response(code: int, signed: bool) -> Callable[[bytes, Address, Passwords], bytes]:
    """A response with that code, 0 for success, to whatever has come."""

    def make(data: bytes, source: Address, passwords: Passwords) -> bytes:
        number = data[8:20].ljust(12, b"\0")
        told: Attributes = [
            (Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(source, number))
            if code == 0
            else (Attribute.ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + b"No")
        ]
        kind = MessageClass.SUCCESS if code == 0 else MessageClass.ERROR
        key = passwords.key_of(data) if signed else None
        return stun.build(stun.Method.BINDING, kind, number, told, integrity=key)

    return make


def _request(data: bytes, source: Address, passwords: Passwords) -> bytes:
    return stun.build(stun.Method.BINDING, MessageClass.REQUEST, data[8:20].ljust(12, b"\0"), [])


def _answering() -> Iterable[Saboteur]:
    every = frozenset(Kind)
    scopes = {
        "all": every,
        "stun": frozenset({Kind.STUN}),
        "others": every - {Kind.STUN, Kind.RTP, Kind.RTCP, Kind.DTLS},
        "media": frozenset({Kind.RTP, Kind.RTCP}),
        "dtls": frozenset({Kind.DTLS}),
    }
    makes: dict[str, Callable[[bytes, Address, Passwords], bytes]] = {"request": _request}
    for code in (0, *_CODES):
        for signed in (True, False):
            makes[f"{code or 'success'}{'' if signed else '-unsigned'}"] = _response(code, signed)
    for what, make in makes.items():
        for where, kinds in scopes.items():
            for instead in (True, False) if where in ("all", "stun") else (False,):
                name = f"answers/{where}-{what}{'' if instead else '-besides'}"
                does = f"It answers {where} with {what}, whatever it is."
                yield _informed(name, does, _answerer(make, kinds, instead))


def _answerer(
    make: Callable[[bytes, Address, Passwords], bytes], kinds: frozenset[Kind], instead: bool
) -> Callable[[Passwords], Tamper]:
    return lambda passwords: Answers(make, passwords, kinds, instead)


def _raw(what: bytes, name: str) -> Iterable[Saboteur]:
    """Says the same octets to whatever it hears, of any kind or of one."""
    for kind in (None, Kind.STUN, Kind.DTLS, Kind.RTP, Kind.RTCP, Kind.UNKNOWN):
        only = frozenset(Kind) if kind is None else frozenset({kind})
        told = "all" if kind is None else kind.value
        yield tampering(
            f"babbles/{told}-{name}", f"To {told} it says {name}.", _babbler(what, only)
        )


def _babbler(what: bytes, only: frozenset[Kind]) -> Callable[[], Tamper]:
    return lambda: Answers(lambda data, source, known: what, Passwords(), only, False)


_BABBLE = {
    "one-octet": b"\xff",
    "rtp": bytes.fromhex("806f00010000000100000001") + bytes(30),
    "rtcp": bytes.fromhex("81c80006000000010000000100000001") + bytes(30),
    "fatal-alert": bytes.fromhex("15fefd0000000000000900020228"),
    "warning-alert": bytes.fromhex("15fefd000000000000090002015a"),
    "close-notify": bytes.fromhex("15fefd0000000000000900020100"),
    "sealed-alert": bytes.fromhex("15fefd000100000000ff00020228"),
    "hello-request": bytes.fromhex("16fefd0000000000000900 0c000000000000000000000000"),
    "sealed-data": bytes.fromhex("17fefd0001000000ff000018") + bytes(24),
}


# --- says its responses otherwise ---------------------------------------------------------------


def _without(kind: int) -> Callable[[stun.Message, Attributes], Attributes]:
    return lambda message, told: [each for each in told if each[0] != kind]


def _with(kind: int, value: bytes, *, first: bool) -> Callable[[Any, Attributes], Attributes]:
    added = [(int(kind), value)]
    return lambda message, told: [*added, *told] if first else [*told, *added]


def _turned(kind: int, at: int, bits: int) -> Callable[[stun.Message, Attributes], Attributes]:
    """A bit of one octet of an attribute."""

    def rewrite(message: stun.Message, told: Attributes) -> Attributes:
        return [
            (each, value[:at] + bytes((value[at] ^ bits,)) + value[at + 1 :])
            if each == kind and at < len(value)
            else (each, value)
            for each, value in told
        ]

    return rewrite


def _coded(code: int) -> Callable[[stun.Message, Attributes], Attributes]:
    def rewrite(message: stun.Message, told: Attributes) -> Attributes:
        value = bytes((0, 0, code // 100, code % 100)) + b"No"
        return [(kind, value if kind == Attribute.ERROR_CODE else old) for kind, old in told]

    return rewrite


def _signed(how: str, passwords: Passwords) -> Callable[[stun.Message, Attributes], bytes]:
    """Integrity and fingerprint otherwise."""

    def rewrite(message: stun.Message, told: Attributes) -> bytes:
        key = passwords.key_of(b"")
        match how:
            case "unsigned":
                return _built(message, told, None)
            case "bare":
                return _built(message, told, None, fingerprint=False)
            case "without-fingerprint":
                return _built(message, told, key, fingerprint=False)
            case "other-key":
                return _built(message, told, stun.IntegrityKey(b"other"))
            case "sha256":
                return _built(message, told, key, sha256=True)
            case "other-class":
                kind = MessageClass(message.message_class ^ 1)
                return _built(message, told, key, kind=kind)
            case "indication":
                return _built(message, told, key, kind=MessageClass.INDICATION)
            case "other-method":
                return stun.build(3, message.message_class, message.transaction_id, told)
            case _:
                other = bytes(12)
                return _built(message, told, key, number=other)

    return rewrite


def _rewriting() -> Iterable[Saboteur]:
    kinds = {
        "mapped": Attribute.XOR_MAPPED_ADDRESS,
        "error": Attribute.ERROR_CODE,
        "unknown": Attribute.UNKNOWN_ATTRIBUTES,
    }
    rewrites: dict[str, Callable[[stun.Message, Attributes], Attributes]] = {}
    for name, kind in kinds.items():
        rewrites[f"without-{name}"] = _without(kind)
        for at in range(8):
            rewrites[f"{name}-{at}"] = _turned(kind, at, 1)
    for code in _CODES:
        rewrites[f"code-{code}"] = _coded(code)
    additions: dict[str, tuple[int, bytes]] = {
        "required": (0x7FFF, b"\0\0\0\1"),
        "optional": (0xC0DE, b"\0\0\0\1"),
        "username": (Attribute.USERNAME, b"me"),
        "software": (Attribute.SOFTWARE, b"x" * 200),
        "realm": (Attribute.REALM, b"here"),
        "nonce": (Attribute.NONCE, b"now"),
        "role": (Attribute.ICE_CONTROLLED, bytes(8)),
        "priority": (Attribute.PRIORITY, bytes(4)),
        "candidate": (Attribute.USE_CANDIDATE, b""),
        "mapped": (Attribute.XOR_MAPPED_ADDRESS, b"\0\1\0\0\0\0\0\0"),
        "old-mapped": (Attribute.MAPPED_ADDRESS, b"\0\1\0\0\0\0\0\0"),
        "alternate": (Attribute.ALTERNATE_SERVER, b"\0\1\0\0\0\0\0\0"),
        "unknown": (Attribute.UNKNOWN_ATTRIBUTES, b"\x7f\xff"),
        "error": (Attribute.ERROR_CODE, b"\0\0\4\0"),
    }
    for name, added in additions.items():
        rewrites[f"with-{name}"] = _with(*added, first=True)
        rewrites[f"with-{name}-last"] = _with(*added, first=False)
    for name, rewrite in rewrites.items():
        yield _informed(
            f"responds/{name}", f"Its responses are otherwise: {name}.", _rewriter(rewrite)
        )
    for how in (
        *("unsigned", "bare", "without-fingerprint", "other-key", "sha256", "other-class"),
        *("indication", "other-method", "other-number"),
    ):
        yield _informed(f"responds/{how}", f"Its responses are {how}.", _signer(how))


def _rewriter(
    rewrite: Callable[[stun.Message, Attributes], Attributes],
) -> Callable[[Passwords], Tamper]:
    return lambda passwords: Rewrites(rewrite, passwords, {})


def _signer(how: str) -> Callable[[Passwords], Tamper]:
    return lambda passwords: Rewrites(_signed(how, passwords), passwords, {})


SABOTEURS = (
    *_answering(),
    *(each for name, what in _BABBLE.items() for each in _raw(what, name)),
    *_rewriting(),
)
