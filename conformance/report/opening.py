"""What is inside DTLS records, as far as the trail's own key log opens them.

A report that says "application data" five times tells nobody why a data channel did not come up.
The master secret is in the trail, and both randoms are in the hellos; more is not needed to read
what either side sealed. A record that does not open stays what it is: sealed.
"""

from collections.abc import Iterable, Iterator

from attrs import define, field

from stunroute import demux
from stunroute.errors import DecodeError
from transceiver.dtls import messages, record
from transceiver.dtls.keys import Protection, Secrets
from transceiver.dtls.parameters import SUITES
from transceiver.sctp import chunks, packet

MOST_HANDSHAKES = 8
"""Handshakes in one trail whose keys are tried."""
_RANDOM = slice(2, 34)
_SESSION_ID = 34
_DCEP = 50
_KINDS = {
    50: "DCEP",
    51: "text",
    53: "binary",
    56: "empty text",
    57: "empty binary",
}


@define(slots=True)
class Opener:
    """Opens records. ``secrets`` are lines of a key log, ``datagrams`` all that crossed."""

    _keys: list[Protection] = field(factory=list)

    @classmethod
    def of(cls, secrets: Iterable[str], datagrams: Iterable[bytes]) -> "Opener":
        """Never raises: lines and hellos that cannot be read give no keys."""
        masters = _masters(secrets)
        opener = cls()
        if not masters:
            return opener
        suites = {suite.code: suite for suite in SUITES}
        seen: set[tuple[bytes, int]] = set()
        for random, code in _server_hellos(datagrams):
            if code not in suites or (random, code) in seen or len(seen) >= MOST_HANDSHAKES:
                continue
            seen.add((random, code))
            for client_random, master in masters:
                made = Secrets(suites[code], master, client_random, random)
                opener._keys += made.protections()
        return opener

    def open(self, sealed: record.Record) -> bytes | None:
        """The plaintext; None where no key fits."""
        for key in self._keys:
            try:
                return key.open_untrusted(sealed.content_type, sealed.number, sealed.fragment)
            except DecodeError:
                continue
        return None

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)


def records(datagram: bytes) -> Iterator[record.Record]:
    """The records of a datagram as far as they can be read; none of what is not DTLS."""
    if demux.classify(datagram) is not demux.Kind.DTLS:
        return
    at = 0
    while at < len(datagram):
        try:
            found, at = record.decode_untrusted(datagram, at)
        except DecodeError:
            return
        yield found


def sctp(data: bytes) -> list[str]:
    """The chunks of an SCTP packet in words, the telling ones with their particulars."""
    try:
        read = packet.decode_untrusted(data, accept_zero_checksum=True)
    except packet.ChecksumError:
        return ["SCTP with a wrong checksum"]
    except DecodeError as error:
        return [f"not SCTP: {error}"]
    return [_chunk(each) for each in read.chunks]


def _chunk(chunk: chunks.Chunk) -> str:
    match chunk:
        case chunks.Data(ppid=ppid, payload=payload, stream=stream):
            kind = _KINDS.get(ppid, f"ppid {ppid}")
            if ppid == _DCEP and payload:
                kind = {2: "DCEP ACK", 3: "DCEP OPEN"}.get(payload[0], kind)
            return f"DATA {kind}, stream {stream}, {len(payload)} bytes"
        case chunks.Sack():
            return "SACK"
        case chunks.Unknown(type=kind):
            return f"chunk type {kind}"
    name = type(chunk).__name__
    return _NAMES.get(name, name.upper())


_NAMES = {
    "InitAck": "INIT ACK",
    "HeartbeatAck": "HEARTBEAT ACK",
    "ShutdownAck": "SHUTDOWN ACK",
    "ShutdownComplete": "SHUTDOWN COMPLETE",
    "CookieEcho": "COOKIE ECHO",
    "CookieAck": "COOKIE ACK",
    "ReConfig": "RE-CONFIG",
    "ForwardTsn": "FORWARD TSN",
}


def _masters(secrets: Iterable[str]) -> list[tuple[bytes, bytes]]:
    found = []
    for line in secrets:
        match line.split():
            case ["CLIENT_RANDOM", random, master]:
                try:
                    found.append((bytes.fromhex(random), bytes.fromhex(master)))
                except ValueError:
                    continue
    return found[:MOST_HANDSHAKES]


def _server_hellos(datagrams: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Random and suite of every ServerHello in the clear whose beginning is in one piece."""
    for datagram in datagrams:
        for found in records(datagram):
            if found.epoch or found.content_type != record.ContentType.HANDSHAKE:
                continue
            at = 0
            while at < len(found.fragment):
                try:
                    part, at = messages.decode_fragment_untrusted(found.fragment, at)
                except DecodeError:
                    break
                body = part.data
                if part.type != messages.HandshakeType.SERVER_HELLO or part.offset:
                    continue
                if len(body) > _SESSION_ID and len(body) >= _SESSION_ID + 3 + body[_SESSION_ID]:
                    suite = _SESSION_ID + 1 + body[_SESSION_ID]
                    yield body[_RANDOM], int.from_bytes(body[suite : suite + 2], "big")
