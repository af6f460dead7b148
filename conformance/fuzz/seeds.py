"""Datagrams cut into the parts that targets read.

A capture holds whole datagrams; a parser of extensions wants extensions. Each part that is found is
put to its *kind*, and a target names the kind that it begins with. Kinds of inputs that no capture
holds are written in ``samples``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, field

from stunroute import demux, forward, stun
from stunroute.errors import DecodeError
from transceiver.dtls import messages, record
from transceiver.dtls.extensions import decode_block_untrusted
from transceiver.dtls.wire import Reader

from . import operations

KINDS = (
    *("datagram", "leg", "ufrag", "octets", "value", "stun", "dtls", "fragment", "body"),
    *("extensions", "hello", "certificate", "fingerprint", "rtp", "rtcp", "rtp-row", "rtcp-row"),
    *("sctp", "chunk", "parameters", "causes", "channel", "sdp", "json", "session", "query"),
    *("form", "secret", "opus", "frames", "event-row", "capture", "sidecar"),
    *("relay-row", "dtls-row", "sctp-row", "channel-row", "call-row", "ice-row", "jitter-row"),
)
"""What there are seeds of."""
MOST = 200
"""Seeds of one kind. More would be read anew by every process that begins."""
LONGEST = 8192
_ROW = 6
"""Datagrams in a row of them."""


@define(slots=True)
class Seeds:
    """Seeds by kind, each once, in the order in which they came."""

    _found: dict[str, dict[bytes, None]] = field(factory=lambda: defaultdict(dict))

    def add(self, kind: str, *parts: bytes) -> None:
        """Enter parts of that kind; those too long are let go."""
        known = self._found[kind]
        for part in parts:
            if len(part) <= LONGEST:
                known[part] = None

    def of(self, kind: str) -> list[bytes]:
        """At most ``MOST`` of that kind, taken evenly from all that there are."""
        every = list(self._found.get(kind, ()))
        step = max(1, -(-len(every) // MOST))
        return every[::step]

    def kinds(self) -> Mapping[str, int]:
        """How many there are of each kind, before the choice."""
        return {kind: len(parts) for kind, parts in self._found.items()}

    def add_datagrams(self, datagrams: Iterable[bytes]) -> None:
        """Enter datagrams that belong together, whole and in all their parts."""
        rows: dict[str, list[bytes]] = defaultdict(list)
        for data in datagrams:
            if data.startswith(forward.MAGIC.to_bytes(2, "big")):
                self.add("leg", data[: forward.HEADER_LENGTH + 16])
                data = data[forward.HEADER_LENGTH :]
            self.add("datagram", data)
            self._add_datagram(data, rows)
        for kind, row in rows.items():
            for at in range(0, len(row), _ROW):
                cut = row[at : at + _ROW]
                pairs = [(number & 1, data[:400]) for number, data in enumerate(cut)]
                self.add(f"{kind}-row", operations.encode(at & 0xFF, pairs))

    def _add_datagram(self, data: bytes, rows: dict[str, list[bytes]]) -> None:
        match demux.classify(data):
            case demux.Kind.STUN:
                self._add_stun(data)
            case demux.Kind.DTLS:
                self._add_dtls(data)
            case demux.Kind.RTP:
                self.add("rtp", data)
                self.add("opus", b"\x00\x10" + data[12:])
                rows["rtp"].append(data)
            case demux.Kind.RTCP:
                self.add("rtcp", data)
                rows["rtcp"].append(data)

    def _add_stun(self, data: bytes) -> None:
        self.add("stun", data)
        try:
            message = stun.decode_untrusted(data)
        except DecodeError:
            return
        self.add("value", *(value for _, value in message.attributes))
        username = message.value(stun.Attribute.USERNAME)
        if username is not None:
            self.add("ufrag", username.partition(b":")[0])

    def _add_dtls(self, data: bytes) -> None:
        self.add("dtls", data)
        for fragment in _fragments(data):
            self.add("fragment", fragment.raw)
            if not fragment.whole:
                continue
            body = fragment.data
            self.add("body", body)
            match fragment.type:
                case messages.HandshakeType.CLIENT_HELLO:
                    self.add("hello", b"\x00" + body)
                    self._add_extensions(body, client=True)
                case messages.HandshakeType.SERVER_HELLO:
                    self.add("hello", b"\x01" + body)
                    self._add_extensions(body, client=False)
                case messages.HandshakeType.CERTIFICATE:
                    self.add("certificate", b"\x00" + body, b"\xff" + body, body[6:])

    def _add_extensions(self, body: bytes, *, client: bool) -> None:
        """The block is what stands behind the fields of fixed places; it is found by its end."""
        try:
            reader = Reader(body)
            reader.take_untrusted(34)
            reader.vector_untrusted(1)
            if client:
                reader.vector_untrusted(1)
                reader.vector_untrusted(2)
                reader.vector_untrusted(1)
            else:
                reader.take_untrusted(3)
            block = body[reader.offset :]
            found = decode_block_untrusted(Reader(block))
        except DecodeError:
            return
        self.add("extensions", block)
        self.add("value", *found.values())


def _fragments(data: bytes) -> Iterator[messages.Fragment]:
    at = 0
    try:
        while at < len(data):
            one, at = record.decode_untrusted(data, at)
            inner = 0
            while one.content_type == 22 and one.epoch == 0 and inner < len(one.fragment):
                fragment, inner = messages.decode_fragment_untrusted(one.fragment, inner)
                yield fragment
    except DecodeError:
        return


def dtls_records(data: bytes) -> Iterator[bytes]:
    """Records of DTLS wherever they stand in a file of another framing."""
    at = 0
    while (at := data.find(b"\xfe", at + 1)) > 0:
        start = at - 1
        if data[start] in range(20, 24) and data[at + 1 : at + 2] in (b"\xff", b"\xfd"):
            try:
                _, end = record.decode_untrusted(data, start)
            except DecodeError:
                continue
            yield data[start:end]
            at = end - 1
