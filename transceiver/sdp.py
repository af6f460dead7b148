"""SDP as text and as a description, without opinions (RFC 8866).

A description is kept as its lines, in their order, cut into the session's part and the media
sections. Only what gives it that shape is read at once: ``v=``, ``o=`` and the ``m=`` lines.
Everything else is read when somebody asks for it, by the small records below, so a line that
nobody needs can neither fail nor get lost: unknown lines, and unknown type letters too, go through
parsing and serialising unchanged. RFC 8866 (section 5) would have a whole description with an
unknown letter thrown away; clients in the field send such lines, and every browser skips them.

Each line remembers its number in the text it came from, so that whoever judges a description later
can still say which line was at fault. All errors are ``OfferError``.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Self, TypeVar

from attrs import field, frozen

from .config import SdpLimits
from .errors import OfferError

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_DEFAULT_LIMITS = SdpLimits()
_SECRET_ATTRIBUTES = ("ice-pwd:", "crypto:")
_MEDIA_FORM = "an m= line is '<media> <port> <protocol> <format> ...'"


def _veiled(value: str) -> str:
    """The value for ``repr``: passwords and keys do not show in logs."""
    for secret in _SECRET_ATTRIBUTES:
        if value.startswith(secret):
            return repr(secret + "...")
    return repr(value)


@frozen(slots=True)
class Line:
    """One line, ``kind=value``. ``kind`` is the type letter; ``number`` the 1-based line of the
    text it was parsed from, None for a line that was made. Numbers do not count in comparisons."""

    kind: str
    value: str = field(repr=_veiled)
    number: int | None = field(default=None, eq=False)

    @property
    def name(self) -> str:
        """The attribute's name, empty where this is no ``a=`` line."""
        return self.value.partition(":")[0] if self.kind == "a" else ""

    @property
    def content(self) -> str:
        """What stands behind the attribute's name and colon; empty for a bare attribute."""
        return self.value.partition(":")[2]

    def error(self, problem: str) -> OfferError:
        """The error that names this line."""
        return OfferError(problem, self.number)

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


def attribute(name: str, value: object = None) -> Line:
    """An ``a=`` line: bare where ``value`` is None."""
    return Line("a", name if value is None else f"{name}:{value}")


@frozen(slots=True)
class Section:
    """Some lines in a row, to be asked for their attributes. Names compare case-sensitively
    (RFC 8866, 5.13)."""

    lines: tuple[Line, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, list[Line]]:
        """The attributes by name: a negotiation asks for some twenty of them."""
        index: dict[str, list[Line]] = {}
        for line in self.lines:
            if line.kind == "a":
                index.setdefault(line.name, []).append(line)
        return index

    def named(self, name: str) -> tuple[Line, ...]:
        """All ``a=name`` lines, bare or with a value, in order."""
        return tuple(self._by_name.get(name, ()))

    def first(self, name: str) -> Line | None:
        """The first ``a=name`` line."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def has(self, name: str) -> bool:
        return self.first(name) is not None


@frozen(slots=True)
class Media(Section):
    """A media section (RFC 8866, 5.14). ``lines`` holds what follows the ``m=`` line; ``ports`` is
    the count behind a slash, 1 where there is none; ``number`` is the line of ``m=``."""

    kind: str = field(kw_only=True)
    port: int = field(kw_only=True)
    protocol: str = field(kw_only=True)
    formats: tuple[str, ...] = field(kw_only=True)
    ports: int = field(kw_only=True, default=1)
    number: int | None = field(kw_only=True, default=None, eq=False)

    @property
    def mid(self) -> str | None:
        """The section's identification (RFC 5888), None where it has none."""
        line = self.first("mid")
        return None if line is None else line.content

    def error(self, problem: str) -> OfferError:
        """The error that names this section's ``m=`` line."""
        return OfferError(problem, self.number)

    def head(self) -> Line:
        """The ``m=`` line."""
        port = str(self.port) if self.ports == 1 else f"{self.port}/{self.ports}"
        value = " ".join((self.kind, port, self.protocol, *self.formats))
        return Line("m", value, self.number)


@frozen(slots=True)
class Description(Section):
    """A whole description: the session's ``lines``, then its media sections."""

    media: tuple[Media, ...] = ()

    @property
    def origin(self) -> "Origin":
        """The ``o=`` line. Raises OfferError where there is none."""
        for line in self.lines:
            if line.kind == "o":
                return Origin.read(line)
        raise OfferError("the o= line is missing")

    def all_lines(self) -> Iterable[Line]:
        """Every line in its order, ``m=`` lines included."""
        yield from self.lines
        for media in self.media:
            yield media.head()
            yield from media.lines

    def __str__(self) -> str:
        """The text; every line ends in CRLF, the last one too (libwebrtc on macOS refuses a text
        without)."""
        return "".join(f"{line}\r\n" for line in self.all_lines())


def parse_untrusted(text: str, limits: SdpLimits = _DEFAULT_LIMITS) -> Description:
    """Read a description (RFC 8866, section 5). Lines end in CRLF or LF, the last line's end may be
    missing, empty lines after the last one are let go.

    Raises OfferError, with the number of the line at fault where one is.
    """
    lines = lines_untrusted(text, limits)
    if not lines or str(lines[0]) != "v=0":
        raise OfferError("a session description begins with v=0", 1)
    for index, letter in ((1, "o"), (2, "s")):
        if len(lines) <= index or lines[index].kind != letter:
            raise OfferError(f"a {letter}= line belongs here", index + 1)
    Origin.read(lines[1])
    return cut_untrusted(lines, limits)


def cut_untrusted(lines: Iterable[Line], limits: SdpLimits = _DEFAULT_LIMITS) -> Description:
    """The lines cut at each ``m=``. Nothing else is asked of them: what begins with no ``v=`` is
    no description, but may be a fragment of one (RFC 8840). Raises OfferError."""
    session: list[Line] = []
    heads: list[tuple[Line, list[Line]]] = []
    current = session
    for line in lines:
        if line.kind == "m":
            if len(heads) == limits.sections:
                raise line.error(f"more than {limits.sections} media sections")
            current = []
            heads.append((line, current))
        else:
            current.append(line)
    media = tuple(_media_untrusted(head, tuple(rest)) for head, rest in heads)
    return Description(tuple(session), media=media)


def lines_untrusted(text: str, limits: SdpLimits = _DEFAULT_LIMITS) -> list[Line]:
    """The text's lines, numbered, within the limits. Raises OfferError."""
    try:
        size = len(text) if len(text) > limits.size else len(text.encode())
    except UnicodeEncodeError:
        raise OfferError("the text is not valid Unicode") from None
    if size > limits.size:
        raise OfferError(f"the description is longer than {limits.size} bytes")
    raw = text.rstrip("\r\n").split("\n", limits.lines)
    if len(raw) > limits.lines:
        raise OfferError(f"more than {limits.lines} lines", limits.lines + 1)
    return [_line_untrusted(content, number) for number, content in enumerate(raw, 1)]


def _line_untrusted(content: str, number: int) -> Line:
    content = content.removesuffix("\r")
    if content[1:2] != "=" or content[0] not in _LETTERS:
        raise OfferError("a line is one lower-case letter, '=' and a value", number)
    if "\x00" in content or "\r" in content:
        raise OfferError("a NUL or CR character stands within the line", number)
    return Line(content[0], content[2:], number)


def _media_untrusted(head: Line, lines: tuple[Line, ...]) -> Media:
    kind, port, protocol, *formats = _words(head, head.value, 4, _MEDIA_FORM)
    first, slash, count = port.partition("/")
    return Media(
        lines,
        kind=kind,
        port=_number(head, first, 65535, "port"),
        ports=_number(head, count, 65535, "number of ports") if slash else 1,
        protocol=protocol,
        formats=tuple(formats),
        number=head.number,
    )


def _words(line: Line, text: str, least: int, problem: str) -> list[str]:
    """``text`` cut at spaces. Not ``str.split()``: that cuts at Unicode's spaces too."""
    words = [word for word in text.split(" ") if word]
    if len(words) < least:
        raise line.error(problem)
    return words


def _number(line: Line, text: str, maximum: int, what: str) -> int:
    """A decimal number in ASCII digits. The length is looked at first: ``int`` of a long text is
    slow, and refused by Python beyond some thousand digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= maximum):
        raise line.error(f"the {what} is not a number from 0 to {maximum}")
    return int(text)


# --- what single lines say --------------------------------------------------------------------

T = TypeVar("T")


def read_number(line: Line, maximum: int, what: str) -> int:
    """An attribute that is a number and no more, as ``sctp-port`` is (RFC 8841, 5.2)."""
    return _number(line, line.content, maximum, what)


def read_all(lines: Iterable[Line], read: Callable[[Line], T]) -> tuple[T, ...]:
    """Each line through one of the readers below."""
    return tuple(read(line) for line in lines)


@frozen(slots=True)
class Origin:
    """``o=`` (RFC 8866, 5.2). Session id and version are decimal numbers of 64 bits here
    (RFC 8829, 5.2.1); what others wrote longer is refused."""

    username: str
    session_id: int
    version: int
    network: str
    address_type: str
    address: str

    @classmethod
    def read(cls, line: Line) -> Self:
        words = _words(line, line.value, 6, "an o= line has six fields")
        if len(words) > 6:
            raise line.error("an o= line has six fields")
        return cls(
            words[0],
            _number(line, words[1], 2**64 - 1, "session id"),
            _number(line, words[2], 2**64 - 1, "session version"),
            *words[3:],
        )

    def __str__(self) -> str:
        fields = (self.username, self.session_id, self.version, self.network)
        return " ".join(map(str, (*fields, self.address_type, self.address)))


@frozen(slots=True)
class RtpMap:
    """``a=rtpmap`` (RFC 8866, 6.6). ``name`` as it was written: encoding names compare without
    regard to case. ``clock_rate`` is Hz; ``channels`` is 1 where none are named."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1

    @classmethod
    def read(cls, line: Line) -> Self:
        problem = "an rtpmap is '<payload type> <name>/<clock rate>[/<channels>]'"
        words = _words(line, line.content, 2, problem)
        name, *numbers = words[1].split("/")
        if len(words) > 2 or not name or not 1 <= len(numbers) <= 2:
            raise line.error(problem)
        return cls(
            _number(line, words[0], 127, "payload type"),
            name,
            _number(line, numbers[0], 2**32 - 1, "clock rate"),
            _number(line, numbers[1], 255, "number of channels") if len(numbers) == 2 else 1,
        )

    def __str__(self) -> str:
        channels = "" if self.channels == 1 else f"/{self.channels}"
        return f"{self.payload_type} {self.name}/{self.clock_rate}{channels}"


@frozen(slots=True)
class Group:
    """``a=group`` (RFC 5888): which sections belong together, and in what sense."""

    semantics: str
    mids: tuple[str, ...]

    @classmethod
    def read(cls, line: Line) -> Self:
        semantics, *mids = _words(line, line.content, 1, "a group names its semantics")
        return cls(semantics, tuple(mids))

    def __str__(self) -> str:
        return " ".join((self.semantics, *self.mids))


@frozen(slots=True)
class HeaderExtension:
    """``a=extmap`` (RFC 8285, section 8). ``direction`` is empty where none is given."""

    id: int
    uri: str
    direction: str = ""
    attributes: str = ""

    @classmethod
    def read(cls, line: Line) -> Self:
        problem = "an extmap is '<id>[/<direction>] <URI> [<attributes>]'"
        words = _words(line, line.content, 2, problem)
        number, _, direction = words[0].partition("/")
        identifier = _number(line, number, 4351, "extension's id")
        return cls(identifier, words[1], direction, " ".join(words[2:]))

    def __str__(self) -> str:
        direction = f"/{self.direction}" if self.direction else ""
        attributes = f" {self.attributes}" if self.attributes else ""
        return f"{self.id}{direction} {self.uri}{attributes}"


@frozen(slots=True)
class Source:
    """``a=ssrc`` (RFC 5576, 4.1): one attribute of one synchronisation source."""

    ssrc: int
    attribute: str

    @classmethod
    def read(cls, line: Line) -> Self:
        ssrc, _, rest = line.content.partition(" ")
        return cls(_number(line, ssrc, 2**32 - 1, "synchronisation source"), rest)

    def __str__(self) -> str:
        return f"{self.ssrc} {self.attribute}" if self.attribute else str(self.ssrc)


@frozen(slots=True)
class SctpMap:
    """``a=sctpmap``, how data channels were described before RFC 8841: what runs over the SCTP
    ``port`` that the ``m=`` line names. ``streams`` is 0 where none are named."""

    port: int
    application: str
    streams: int = 0

    @classmethod
    def read(cls, line: Line) -> Self:
        problem = "an sctpmap is '<port> <application> [<streams>]'"
        words = _words(line, line.content, 2, problem)
        if len(words) > 3:
            raise line.error(problem)
        return cls(
            _number(line, words[0], 65535, "SCTP port"),
            words[1],
            _number(line, words[2], 65535, "number of streams") if len(words) == 3 else 0,
        )

    def __str__(self) -> str:
        streams = f" {self.streams}" if self.streams else ""
        return f"{self.port} {self.application}{streams}"


@frozen(slots=True)
class Candidate:
    """``a=candidate`` (RFC 8839, 5.1). ``address`` is kept as text: it may be a name, and names
    are not resolved here. ``extensions`` is the rest of the line, ``raddr`` and ``rport`` too."""

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: str
    extensions: str = ""

    @classmethod
    def read(cls, line: Line) -> Self:
        problem = (
            "a candidate is '<foundation> <component> <transport> <priority> <address> <port> "
            "typ <type> ...'"
        )
        words = _words(line, line.content, 8, problem)
        if words[6] != "typ":
            raise line.error(problem)
        return cls(
            words[0],
            _number(line, words[1], 256, "component"),
            words[2],
            _number(line, words[3], 2**32 - 1, "priority"),
            words[4],
            _number(line, words[5], 65535, "port"),
            words[7],
            " ".join(words[8:]),
        )

    def __str__(self) -> str:
        fields: tuple[Any, ...] = (self.foundation, self.component, self.transport, self.priority)
        fields = (*fields, self.address, self.port, "typ", self.type)
        return " ".join(map(str, fields)) + (f" {self.extensions}" if self.extensions else "")
