"""Small servers of the kinds that ours in memory is not, so that their cases are tried as well.

Ours answers no stranger's STUN, opens calls in memory without HTTP, asks for no cookie, and its
relay verifies. The cases for servers that do otherwise are unsupported there, and nothing can be
seen to make them fail. Here are servers that do: models, right by the rules and with nothing to
them, and our own under another switch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import define, field

from conformance.case import Case, Profile
from conformance.client import seeded
from conformance.drivers import memory
from conformance.drivers.memory import PUBLIC, MemoryDriver
from conformance.drivers.relay import RelayDriver
from conformance.drivers.virtual import Emission, VirtualWire
from conformance.probe.http import FRAGMENT, SDP
from conformance.runner import Driver
from conformance.stage import Refused, Response, Stage, Target
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from transceiver import dtls
from transceiver.dtls import DtlsConnection

from .model import swapped

_LONGEST = 1 << 17
"""Bytes of a body."""
_WITH_COOKIES = frozenset({"rfc6347/4.2.1/second-hello-with-cookie"})
_WITHOUT_PASSWORDS = frozenset({"relay/edge/left-to-the-node"})


def driver_for(case: Case) -> Driver:
    """Ours in memory, or the model that can be asked what ours cannot."""
    if Profile.SIGNALING in case.profiles and "memory" in case.without:
        return ModelDriver(_behind_http)
    if case.profiles == (Profile.STUN,):
        return ModelDriver(_plain_stun)
    if case.name in _WITH_COOKIES:
        return ModelDriver(_with_cookies)
    if case.name in _WITHOUT_PASSWORDS:
        return RelayDriver(verifies=False)
    return MemoryDriver()


@define(slots=True)
class ModelDriver:
    """``name`` is none that a case is without."""

    setting: Callable[[Case], AbstractContextManager[Stage]]
    name: str = "model"

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        with self.setting(case) as stage:
            yield stage


@contextmanager
def _behind_http(case: Case) -> Iterator[Stage]:
    with MemoryDriver().stage(case) as stage:
        if isinstance(stage, Stage) and stage.door is not None:
            stage.door.http = WhipModel(stage.door)  # type: ignore[misc]
            yield stage


@contextmanager
def _plain_stun(case: Case) -> Iterator[Stage]:
    # By the name under which saboteurs find it.
    wire: VirtualWire = vars(memory)["VirtualWire"](PlainStunModel(), frozenset({PUBLIC}))
    yield Stage(wire, seeded(f"case {case.name}"), target=Target(PUBLIC))


@contextmanager
def _with_cookies(case: Case) -> Iterator[Stage]:
    class Cautious(DtlsConnection):
        def __attrs_post_init__(self) -> None:
            self.verify_hello = True
            self._machine = self._new_machine()
            DtlsConnection.__attrs_post_init__(self)

    with swapped(dtls, "DtlsConnection", Cautious), MemoryDriver().stage(case) as stage:
        if isinstance(stage, Stage):
            yield stage


# --- STUN for everybody -------------------------------------------------------------------------


@define(slots=True)
class PlainStunModel:
    """Answers Binding requests of anybody (RFC 8489, 12), and those of RFC 3489 (section 11)."""

    _out: list[Emission] = field(factory=list)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        answer = self.answer(data, source)
        if answer:
            self._out.append(Emission(answer, destination, source))

    def answer(self, data: bytes, source: Address) -> bytes:
        """The response to a datagram; none to what is no request."""
        if data[:2] == b"\0\1" and len(data) == stun.HEADER_LENGTH and data[4:8] != _COOKIE:
            value = stun.encode_address(source)
            head = stun.encode_type(stun.Method.BINDING, stun.MessageClass.SUCCESS)
            length = 4 + len(value)
            return (
                head.to_bytes(2, "big")
                + length.to_bytes(2, "big")
                + data[4:20]
                + stun.Attribute.MAPPED_ADDRESS.to_bytes(2, "big")
                + len(value).to_bytes(2, "big")
                + value
            )
        try:
            request = stun.decode_untrusted(data)
        except DecodeError:
            return b""
        if (
            request.message_class is not stun.MessageClass.REQUEST
            or request.method != stun.Method.BINDING
            or request.fingerprint_ok is False
        ):
            return b""
        number = request.transaction_id
        mapped = stun.encode_xor_address(source, number)
        told = [(int(stun.Attribute.XOR_MAPPED_ADDRESS), mapped)]
        return stun.build(stun.Method.BINDING, stun.MessageClass.SUCCESS, number, told)

    def next_emission(self) -> Emission | None:
        return self._out.pop(0) if self._out else None

    def handle_timeout(self, now: Instant) -> None:
        """It has no deadlines."""

    def next_timeout(self) -> Instant | None:
        return None


_COOKIE = stun.MAGIC_COOKIE.to_bytes(4, "big")


# --- WHIP ---------------------------------------------------------------------------------------


@define(slots=True)
class WhipModel:
    """RFC 9725 before a door of ours, with a token that each request has to have."""

    door: Any
    url: str = "https://model.test/whip"
    style: str = "whip"
    _tags: dict[str, int] = field(factory=dict)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        told = {"authorization": "Bearer sesame"}
        told |= {name.lower(): value for name, value in (headers or {}).items()}
        return self.answer(method, url.rpartition("/whip")[2].strip("/"), told, body)

    def answer(self, method: str, call: str, headers: Mapping[str, str], body: bytes) -> Response:
        """``call`` is empty for the endpoint."""
        if method == "OPTIONS":
            return _response(204, {"accept-post": SDP})
        if headers["authorization"] != "Bearer sesame":
            return _response(401)
        if len(body) > _LONGEST:
            return _response(413)
        if method == "POST" and not call:
            return self._post(headers, body)
        if call not in self._tags:
            return _response(404)
        match method:
            case "DELETE":
                del self._tags[call]
                self.door.hang_up(call)
                return _response(200)
            case "GET":
                return _response(204)
            case "PATCH":
                return self._patch(call, headers, body)
        return _response(405)

    def _post(self, headers: Mapping[str, str], body: bytes) -> Response:
        if headers.get("content-type") != SDP:
            return _response(415)
        try:
            opened = self.door.open(body.decode())
        except Refused:
            return _response(400)
        self._tags[opened.call] = 0
        told = {"content-type": SDP, "location": f"/whip/{opened.call}", "etag": '"0"'}
        return _response(201, told, opened.answer.encode())

    def _patch(self, call: str, headers: Mapping[str, str], body: bytes) -> Response:
        if headers.get("content-type") != FRAGMENT:
            return _response(415)
        match headers.get("if-match"):
            case None:
                return _response(428)
            case tag if tag not in ("*", f'"{self._tags[call]}"'):
                return _response(412)
        try:
            answer = self.door.restart(call, body.decode())
        except Refused:
            return _response(400)
        if answer is None:
            return _response(204)
        self._tags[call] += 1
        told = {"content-type": FRAGMENT, "etag": f'"{self._tags[call]}"'}
        return _response(200, told, answer.encode())


def _response(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
    return Response(status, headers or {}, body)
