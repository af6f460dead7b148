"""How the parsers of DTLS are called, and what must hold of what they return."""

from .stock import NOT_BEFORE, Stream
from .target import Run, Table, again, insist, only, text_of

TABLE = Table()
_CLIENT, _SERVER = "core.dtls-client", "core.dtls-server"

for _name in ("connection._Receiver.take_data_untrusted",):
    TABLE.cover(
        f"transceiver.dtls.{_name}",
        _SERVER,
        "An established connection gives it every datagram first.",
    )
TABLE.cover(
    "transceiver.dtls.handshake12.Machine.receive_untrusted",
    _SERVER,
    "A protocol without a body; both machines are there.",
    traced=False,
)
for _name in (
    *("receive", "_server_hello", "_profile", "_key_exchange", "_request", "_done"),
    *("_finished", "_verify_request"),
):
    TABLE.cover(
        f"transceiver.dtls.client12.Client12.{_name}_untrusted",
        _CLIENT,
        "What a message means hangs on those before it, so whole handshakes are the input.",
    )
for _name in ("receive", "_hello", "_answer", "_choose", "_verify", "_finished"):
    TABLE.cover(
        f"transceiver.dtls.server12.Server12.{_name}_untrusted",
        _SERVER,
        "What a message means hangs on those before it, so whole handshakes are the input.",
    )
for _protocol, _method in (("Exchange", "shared"), ("Protection", "open")):
    TABLE.cover(
        f"transceiver.dtls.keys.{_protocol}.{_method}_untrusted",
        f"transceiver.dtls.keys.{'X25519' if _method == 'shared' else 'Gcm'}{_protocol}"
        f".{_method}_untrusted",
        "A protocol without a body; what implements it is there.",
        traced=False,
    )


@TABLE.target("transceiver.dtls.extensions.decode_block_untrusted", seeds="extensions", length=600)
def _block() -> Run:
    from transceiver.dtls import extensions
    from transceiver.dtls.wire import Reader

    def run(data: bytes) -> None:
        found = extensions.decode_block_untrusted(Reader(data))
        if found:
            written = extensions.encode_block(found.items())
            insist(written == data, "a block of extensions is encoded as it came")

    return only(run)


@TABLE.target("transceiver.dtls.extensions.decode_list_untrusted", seeds="value", length=80)
def _list() -> Run:
    from transceiver.dtls.extensions import decode_list_untrusted, encode_list

    decode = decode_list_untrusted.__wrapped__

    def run(data: bytes) -> None:
        width = 1 + (data[:1] > b"\x7f")
        codes = decode(data[1:], width)
        insist(width == 1 or encode_list(codes) == data[1:], "a list is encoded as it came")

    return only(run)


@TABLE.target("transceiver.dtls.handshake12.peer_untrusted", seeds="certificate", length=900)
def _peer() -> Run:
    """The fingerprint is that of whatever comes, in half of the inputs: so the certificate is
    parsed, too."""
    from transceiver.config import DtlsLimits
    from transceiver.dtls.handshake12 import Party, peer_untrusted
    from transceiver.dtls.identity import Fingerprint, Identity
    from transceiver.dtls.messages import decode_certificate_untrusted
    from transceiver.keying import SrtpProfile

    identity = Identity.generate(Stream("identity"), not_before=NOT_BEFORE)

    def run(data: bytes) -> None:
        body = data[1:]
        accepted = identity.fingerprint
        if data[:1] < b"\x80":
            accepted = Fingerprint.of(decode_certificate_untrusted(body))
        party = Party(identity, (accepted,), Stream("x"), tuple(SrtpProfile), DtlsLimits())
        insist(peer_untrusted(party, body).fingerprint == accepted, "a peer is the one it says")

    return only(run)


@TABLE.target(
    "transceiver.dtls.handshake12.require_extended_master_secret_untrusted",
    seeds="extensions",
    length=64,
)
def _master_secret() -> Run:
    from transceiver.dtls.extensions import Extension
    from transceiver.dtls.handshake12 import require_extended_master_secret_untrusted

    def run(data: bytes) -> None:
        extensions: dict[int, bytes] = {}
        if data:
            extensions[Extension.EXTENDED_MASTER_SECRET] = data[1:]
        require_extended_master_secret_untrusted(extensions)
        insist(len(data) == 1, "the extension is there and empty")

    return only(run)


@TABLE.target("transceiver.dtls.handshake12.srtp_untrusted", seeds="value", length=80)
def _srtp() -> Run:
    from transceiver.dtls.extensions import Extension
    from transceiver.dtls.handshake12 import srtp_untrusted

    def run(data: bytes) -> None:
        found = srtp_untrusted({Extension.USE_SRTP: data}, required=True)
        insist(found is not None, "an extension that is there is read")

    return only(run)


@TABLE.target("transceiver.dtls.handshake12.list_untrusted", seeds="value", length=80)
def _list_of() -> Run:
    from transceiver.dtls.extensions import Extension
    from transceiver.dtls.handshake12 import list_untrusted

    def run(data: bytes) -> None:
        groups = Extension.SUPPORTED_GROUPS
        codes = list_untrusted({groups: data}, groups)
        insist(all(0 <= code < 1 << 16 for code in codes), "codes have 16 bits")

    return only(run)


@TABLE.target(
    "transceiver.dtls.identity.Fingerprint.parse_untrusted", seeds="fingerprint", length=220
)
def _fingerprint() -> Run:
    from transceiver.dtls.identity import Fingerprint

    def run(data: bytes) -> None:
        found = Fingerprint.parse_untrusted(text_of(data))
        written = again(Fingerprint.parse_untrusted, str(found))
        insist(written == found, "a fingerprint is written as read")

    return only(run)


@TABLE.target("transceiver.dtls.keys.X25519Exchange.shared_untrusted", seeds="octets", length=40)
def _x25519() -> Run:
    from transceiver.dtls.keys import X25519Exchange

    exchange = X25519Exchange.generate(Stream("x25519"))

    def run(data: bytes) -> None:
        insist(len(exchange.shared_untrusted(data)) == 32, "a shared secret has 32 bytes")

    return only(run)


@TABLE.target("transceiver.dtls.keys.P256Exchange.shared_untrusted", seeds="octets", length=80)
def _p256() -> Run:
    """A public value that is 32 bytes long is made a point of the curve."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from transceiver.dtls.identity import p256_key
    from transceiver.dtls.keys import P256Exchange

    exchange = P256Exchange.generate(Stream("p256"))

    def run(data: bytes) -> None:
        if len(data) == 48:
            public = p256_key(lambda count: data[:count]).public_key()
            data = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        insist(len(exchange.shared_untrusted(data)) == 32, "a shared secret has 32 bytes")

    return only(run)


def _protection(chacha: bool) -> Run:
    """Half of the inputs are sealed first: what we seal opens, and opens to what it was."""
    from transceiver.dtls.keys import Protection, protection
    from transceiver.dtls.parameters import SUITES

    code = 0xCCA9 if chacha else 0xC02B
    suite = next(suite for suite in SUITES if suite.code == code)
    cipher: Protection = protection(suite, bytes(suite.key_length), bytes(suite.fixed_nonce))

    def run(data: bytes) -> None:
        kind, number, body = data[:1], int.from_bytes(data[1:9], "big"), data[9:]
        if kind < b"\x80":
            sealed = cipher.seal(23, number, body)
            opened = again(cipher.open_untrusted, 23, number, sealed)
            insist(opened == body, "what is sealed can be opened")
            if body:
                at = number % len(sealed)
                sealed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
                cipher.open_untrusted(23, number, sealed)
                insist(False, "a changed fragment does not open")
        else:
            cipher.open_untrusted(23, number, body)

    return only(run)


@TABLE.target("transceiver.dtls.keys.GcmProtection.open_untrusted", seeds="octets", length=200)
def _gcm() -> Run:
    return _protection(chacha=False)


@TABLE.target("transceiver.dtls.keys.ChaChaProtection.open_untrusted", seeds="octets", length=200)
def _chacha() -> Run:
    return _protection(chacha=True)


@TABLE.target("transceiver.dtls.messages.decode_fragment_untrusted", seeds="fragment", length=700)
def _fragment() -> Run:
    from transceiver.dtls.messages import HEADER_LENGTH, Fragment, decode_fragment_untrusted

    def run(data: bytes) -> None:
        at = 0
        while at < len(data):
            one, end = decode_fragment_untrusted(data, at)
            insist(end >= at + HEADER_LENGTH, "a fragment is at least its header")
            made = Fragment.of(one.type, one.length, one.sequence, one.offset, one.data)
            insist(made.raw == data[at:end], "a fragment is encoded as it came")
            at = end

    return only(run)


@TABLE.target("transceiver.dtls.record.decode_untrusted", seeds="dtls", length=700)
def _record() -> Run:
    from transceiver.dtls import record

    def run(data: bytes) -> None:
        peeked = record.peek_data_untrusted(data)
        at, records = 0, 0
        while at < len(data):
            one, end = record.decode_untrusted(data, at)
            made = record.encode(one.content_type, one.number, one.fragment, one.version)
            insist(made == data[at:end], "a record is encoded as it came")
            if peeked is not None:
                insist((one.number, end) == (peeked, len(data)), "what is peeked is what is there")
            at, records = end, records + 1
        insist(peeked is None or records == 1, "what is peeked is one record")

    return only(run)


@TABLE.target("transceiver.dtls.wire.integers_untrusted", seeds="value", length=64)
def _integers() -> Run:
    from transceiver.dtls.wire import integers, integers_untrusted

    def run(data: bytes) -> None:
        width = 1 + (data[0] & 3 if data else 0)
        found = integers_untrusted(data[1:], width)
        insist(integers(found, width) == data[1:], "integers are encoded as they came")

    return only(run)


def _reader() -> Run:
    """Walks an input by steps that the input chose, with whichever method."""
    from transceiver.dtls.wire import Reader

    def run(data: bytes) -> None:
        steps, reader = data[:8], Reader(data[8:])
        for step in steps:
            before = reader.offset
            match step & 3:
                case 0:
                    took = reader.take_untrusted(step >> 2)
                    insist(len(took) == step >> 2, "as many bytes as were asked for")
                case 1:
                    width = (step >> 2) % 5
                    value = reader.integer_untrusted(width)
                    insist(0 <= value < 1 << 8 * width, "an integer fits its width")
                case 2:
                    reader.vector_untrusted(1 + (step >> 2) % 3)
                case _:
                    reader.finish_untrusted()
                    insist(reader.exhausted, "nothing is left at the end")
            insist(before <= reader.offset <= len(reader.data), "a reader stays inside")

    return only(run)


for _name in ("take", "integer", "vector", "finish"):
    TABLE.target(f"transceiver.dtls.wire.Reader.{_name}_untrusted", seeds="value", length=64)(
        _reader
    )
