"""Bodies of requests: taken within bounds, then read.

A body is bounded in length and in time before anybody looks at it; what reads it afterwards has all
of it and need not wait.
"""

import asyncio

from attrs import define, field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from stunroute.errors import DecodeError
from transceiver.errors import OfferError

from .refusals import Refusal

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
FORM = "multipart/form-data"
JSON = "application/json"

OFFER_BYTES = 65536
"""Longest offer taken; a longer one is refused as soon as that shows."""
SESSION_BYTES = 262144
"""Longest session object taken, as JSON."""
FORM_BYTES = OFFER_BYTES + SESSION_BYTES + 4096
OFFER_SECONDS = 10.0
"""How long a client may take over sending a body."""

_PARTS = 8
_HEADER_BYTES = 1024
"""Of one header of a part."""


async def read_body(request: Request, longest: int = OFFER_BYTES) -> bytes:
    """The request's body, bounded in length and time. Raises Refusal."""
    too_large = Refusal(413, "offer_too_large", f"the body may have at most {longest} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > longest:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > longest:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "offer_timeout", "the body did not arrive in time") from None
    return bytes(body)


def media_type(request: Request) -> str:
    """The type of the request's body, without parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, taken: tuple[str, ...]) -> Refusal:
    """415, for a body of another type than ``taken`` (RFC 9110, 15.5.16; RFC 5789, 2.2)."""
    found = media_type(request)
    problem = f"the body is to be {' or '.join(taken)}" + (f", not {found[:80]}" if found else "")
    name = "Accept-Patch" if request.method == "PATCH" else "Accept-Post"
    return Refusal(415, "unsupported_media_type", problem, {name: ", ".join(taken)})


def offer_untrusted(body: bytes) -> str:
    """An offer, or a fragment of one, as text. Raises OfferError."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise OfferError("is not UTF-8", line) from None


class FormError(DecodeError):
    """A form that cannot be read."""


@define(slots=True)
class _Parts:
    """What a parser says of a form, and what has come of it."""

    found: dict[str, bytes] = field(factory=dict)
    complete: bool = False
    _name: str | None = None
    _header: bytearray = field(factory=bytearray)
    _value: bytearray = field(factory=bytearray)
    _data: bytearray = field(factory=bytearray)

    def begin(self) -> None:
        if len(self.found) >= _PARTS:
            raise FormError(f"has more than {_PARTS} parts")
        self._name = None
        self._data.clear()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check_header()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._header) + len(self._value) > _HEADER_BYTES:
            raise FormError("has a part with a long header")

    def header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            name = parse_options_header(bytes(self._value))[1].get(b"name")
            if name is not None:
                self._name = name.decode("latin-1")
        self._header.clear()
        self._value.clear()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def part_end(self) -> None:
        if self._name is None:
            raise FormError("has a part without a name")
        if self._name in self.found:
            raise FormError("has two parts of one name")
        self.found[self._name] = bytes(self._data)

    def end(self) -> None:
        self.complete = True


def form_untrusted(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a form (RFC 7578) by their names, whether fields or files. ``content_type`` is
    the request's header. Raises FormError."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise FormError("has no boundary")
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_field,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_part_data": parts.part_data,
                "on_part_end": parts.part_end,
                "on_end": parts.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise FormError("is no multipart/form-data") from None
    if not parts.complete:
        raise FormError("ends before its last boundary")
    return parts.found
