"""How the parsers of SCTP and of data channels are called, and what must hold of what they
return."""

from .target import Run, Table, again, insist, only

TABLE = Table()


@TABLE.target(
    "transceiver.datachannel.messages.decode_user_message_untrusted", seeds="channel", length=200
)
def _user_message() -> Run:
    from transceiver.datachannel.messages import (
        decode_user_message_untrusted,
        encode_user_message,
    )

    def run(data: bytes) -> None:
        ppid = 49 + data[0] % 12 if data else 0
        message = decode_user_message_untrusted(ppid, data[1:])
        if message is not None:
            found = again(decode_user_message_untrusted, *encode_user_message(message))
            insist(found == message, "a message is encoded as it was read")

    return only(run)


@TABLE.target("transceiver.datachannel.messages.decode_untrusted", seeds="channel", length=300)
def _dcep() -> Run:
    from transceiver.datachannel.messages import decode_untrusted

    def run(data: bytes) -> None:
        message = decode_untrusted(data)
        found = again(decode_untrusted, message.encode())
        insist(found == message, "a message is encoded as it was read")

    return only(run)


@TABLE.target("transceiver.sctp.causes.decode_untrusted", seeds="causes", length=300)
def _causes() -> Run:
    from transceiver.sctp import causes

    def run(data: bytes) -> None:
        found = causes.decode_untrusted(data)
        written = again(causes.decode_untrusted, causes.encode(found))
        insist(len(written) == len(found), "causes are encoded as they were read")

    return only(run)


@TABLE.target("transceiver.sctp.chunks.decode_untrusted", seeds="chunk", length=600)
def _chunks() -> Run:
    from transceiver.sctp.chunks import decode_untrusted

    def run(data: bytes) -> None:
        at = 0
        while at < len(data):
            chunk, end = decode_untrusted(data, at)
            insist(end >= at + 4 and end & 3 == at & 3, "chunks are whole rows of four bytes")
            found, size = again(decode_untrusted, chunk.encode(), 0)
            insist(type(found) is type(chunk) and size > 0, "a chunk is encoded as it was read")
            at = end

    return only(run)


@TABLE.target("transceiver.sctp.chunks._init_untrusted", seeds="value", length=300)
def _init() -> Run:
    from transceiver.sctp.chunks import Init, InitAck, _init_untrusted

    return only(lambda data: _init_untrusted(Init if data[:1] < b"\x80" else InitAck, data[1:]))


@TABLE.target("transceiver.sctp.chunks._decode_untrusted", seeds="chunk", length=300)
def _chunk_value() -> Run:
    """The kinds that its caller keeps for itself, DATA and SACK, are not asked of it."""
    from transceiver.sctp.chunks import _decode_untrusted

    def run(data: bytes) -> None:
        if len(data) >= 4 and data[0] not in (0, 3):
            _decode_untrusted(data[0], data[1], data[4:])

    return only(run)


@TABLE.target("transceiver.sctp.cookie.open_untrusted", seeds="octets", length=90)
def _cookie() -> Run:
    """Half of the inputs are signed with the right key."""
    from transceiver.sctp import cookie

    key, ports = bytes(range(32)), (5000, 5000)

    def run(data: bytes) -> None:
        value = data[1:]
        if data[:1] < b"\x80" and len(value) >= cookie._BODY.size:
            body = value[: cookie._BODY.size]
            value = body + cookie._mac(key, ports, body)
        opened = cookie.open_untrusted(value, key, ports)
        sealed = cookie.seal(opened, key, ports)
        found = again(cookie.open_untrusted, sealed, key, ports)
        insist(cookie.seal(found, key, ports) == sealed, "a cookie is sealed as it was opened")

    return only(run)


TABLE.cover(
    "transceiver.sctp.greeting.Greeter.read_untrusted",
    "core.sctp",
    "It opens the cookie with the association's key.",
)


@TABLE.target("transceiver.sctp.packet.decode_untrusted", seeds="sctp", length=1200, weight=1.5)
def _packet() -> Run:
    """Half of the inputs get their right checksum first; a zero one is taken where that was agreed
    and not where it was not."""
    from google_crc32c import value as crc32c

    from stunroute.errors import DecodeError
    from transceiver.sctp import packet

    def checked(data: bytes) -> packet.Packet:
        return packet.decode_untrusted(data, accept_zero_checksum=False)

    def run(data: bytes) -> None:
        if data[:1] < b"\x80" and len(data) >= 13:
            body = data[1:9] + bytes(4) + data[13:]
            data = body[:8] + crc32c(body).to_bytes(4, "little") + body[12:]
        found = packet.decode_untrusted(data, accept_zero_checksum=True)
        insist(bool(found.chunks), "a packet has a chunk")
        try:
            packet.decode_untrusted(data, accept_zero_checksum=False)
        except DecodeError:
            insist(data[8:12] == bytes(4), "only a packet without a checksum is judged otherwise")
        parts = (found.source_port, found.destination_port, found.tag, found.chunks)
        again(checked, packet.encode(*parts))

    return only(run)


@TABLE.target("transceiver.sctp.parameters._decode_untrusted", seeds="parameters", length=200)
def _parameter() -> Run:
    from transceiver.sctp.parameters import _decode_untrusted

    return only(lambda data: _decode_untrusted(int.from_bytes(data[:2], "big"), data[4:]))


for _name in ("_integers", "_request"):
    TABLE.cover(
        f"transceiver.sctp.parameters.{_name}_untrusted",
        "transceiver.sctp.parameters.decode_untrusted",
        "It reads the numbers of a parameter whose layout the kind decides.",
    )


@TABLE.target("transceiver.sctp.parameters.decode_untrusted", seeds="parameters", length=300)
def _parameters() -> Run:
    from transceiver.sctp import parameters

    def run(data: bytes) -> None:
        found = parameters.decode_untrusted(data)
        written = again(parameters.decode_untrusted, parameters.encode(found))
        insist(written == found, "parameters are encoded as they were read")

    return only(run)


@TABLE.target("transceiver.sctp.shortcut._bundle_untrusted", seeds="chunk", length=400)
def _bundle() -> Run:
    """What the short way takes, the long way reads as the same."""
    from transceiver.sctp.chunks import Data, decode_untrusted
    from transceiver.sctp.shortcut import _bundle_untrusted

    def run(data: bytes) -> None:
        bundle = _bundle_untrusted(data, 0)
        if bundle is None:
            return
        at = 0
        for tsn, stream, ssn, ppid, flags, payload in bundle:
            chunk, at = again(decode_untrusted, data, at)
            insist(isinstance(chunk, Data), "nothing but DATA is bundled")
            if isinstance(chunk, Data):
                same = (chunk.tsn, chunk.stream, chunk.ssn, chunk.ppid, chunk.payload)
                insist(same == (tsn, stream, ssn, ppid, payload), "both ways read the same")
                insist(chunk.beginning == bool(flags & 2), "flags included")

    return run


TABLE.cover(
    "transceiver.sctp.shortcut.receive_untrusted",
    "core.sctp",
    "An association that stands gives it every packet first.",
)
