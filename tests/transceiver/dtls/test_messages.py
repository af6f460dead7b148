import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.dtls import extensions, messages
from transceiver.dtls.extensions import Extension
from transceiver.dtls.messages import Fragment, HandshakeType, Message
from transceiver.dtls.parameters import SUITES, Authentication, Group
from transceiver.dtls.record import DTLS_1_2
from transceiver.dtls.signatures import SCHEMES
from transceiver.dtls.wire import Reader
from transceiver.keying import SrtpProfile

RANDOMS = st.binary(min_size=32, max_size=32)
SHORT = st.binary(max_size=255)
BLOCKS = st.dictionaries(st.integers(0, 65535), st.binary(max_size=40), max_size=6)

DECODERS = (
    messages.decode_client_hello_untrusted,
    messages.decode_server_hello_untrusted,
    messages.decode_hello_verify_request_untrusted,
    messages.decode_certificate_untrusted,
    messages.decode_server_key_exchange_untrusted,
    messages.decode_certificate_verify_untrusted,
    messages.decode_certificate_request_untrusted,
    messages.decode_client_key_exchange_untrusted,
    extensions.decode_use_srtp_untrusted,
    extensions.decode_list_untrusted,
    lambda data: extensions.decode_block_untrusted(Reader(data)),
)


@given(
    random=RANDOMS,
    cookie=SHORT,
    suites=st.lists(st.integers(0, 65535), max_size=20),
    block=BLOCKS,
)
def test_client_hello(
    random: bytes, cookie: bytes, suites: list[int], block: dict[int, bytes]
) -> None:
    body = messages.encode_client_hello(
        random, cookie, tuple(suites), extensions.encode_block(block.items())
    )
    assert messages.decode_client_hello_untrusted(body) == messages.ClientHello(
        DTLS_1_2, random, b"", cookie, tuple(suites), b"\x00", block
    )
    with pytest.raises(DecodeError):
        messages.decode_client_hello_untrusted(body + b"\x00")


@given(random=RANDOMS, suite=st.integers(0, 65535), block=BLOCKS)
def test_server_hello(random: bytes, suite: int, block: dict[int, bytes]) -> None:
    body = messages.encode_server_hello(random, suite, extensions.encode_block(block.items()))
    assert messages.decode_server_hello_untrusted(body) == messages.ServerHello(
        DTLS_1_2, random, b"", suite, 0, block
    )


@given(cookie=SHORT, scheme=st.integers(0, 65535), signature=SHORT, public=SHORT)
def test_the_small_ones(cookie: bytes, scheme: int, signature: bytes, public: bytes) -> None:
    request = messages.encode_hello_verify_request(cookie)
    assert messages.decode_hello_verify_request_untrusted(request) == cookie
    signed = messages.encode_signed(scheme, signature)
    assert messages.decode_certificate_verify_untrusted(signed) == (scheme, signature)
    exchange = messages.encode_client_key_exchange(public)
    assert messages.decode_client_key_exchange_untrusted(exchange) == public
    parameters = messages.key_exchange_parameters(29, public)
    decoded = messages.decode_server_key_exchange_untrusted(parameters + signed)
    assert decoded == messages.ServerKeyExchange(29, public, parameters, scheme, signature)


def test_our_certificate_request_reads_as_meant() -> None:
    request = messages.decode_certificate_request_untrusted(messages.CERTIFICATE_REQUEST)
    assert request.types == (Authentication.ECDSA, Authentication.RSA)
    assert request.schemes == SCHEMES


def test_certificates() -> None:
    def body(*chain: bytes) -> bytes:
        entries = b"".join(len(entry).to_bytes(3) + entry for entry in chain)
        return len(entries).to_bytes(3) + entries

    assert messages.decode_certificate_untrusted(body()) == b""
    assert messages.decode_certificate_untrusted(body(b"leaf")) == b"leaf"
    assert messages.decode_certificate_untrusted(body(b"leaf", b"issuer")) == b"leaf"
    for wrong in (b"", b"\x00\x00", body(b"leaf")[:-1], body(b"leaf") + b"x", b"\0\0\4\0\0\2a"):
        with pytest.raises(DecodeError):
            messages.decode_certificate_untrusted(wrong)


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.binary(max_size=120))
def test_any_bytes_decode_or_raise_decode_error(decoder: object, data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decoder(data)  # type: ignore[operator]


def test_extensions_that_stand_twice_or_do_not_end() -> None:
    """DTLS 11."""
    block = extensions.encode_block([(1, b"a"), (1, b"a")])
    with pytest.raises(DecodeError, match="twice"):
        extensions.decode_block_untrusted(Reader(block))
    good = extensions.encode_block([(1, b"abc"), (2, b"")])
    assert extensions.decode_block_untrusted(Reader(good)) == {1: b"abc", 2: b""}
    for wrong in (good[:-1], good + b"x", b"\x00\x03\x00\x01\x00", b"\x00\x05\x00\x01\x00\x09a"):
        with pytest.raises(DecodeError):
            extensions.decode_block_untrusted(Reader(wrong))


def test_use_srtp() -> None:
    """DTLS 13: what we write has no MKI, what we read may have one."""
    ours = extensions.encode_use_srtp(SrtpProfile)
    assert ours == bytes.fromhex("0006 0007 0008 0001 00")
    assert extensions.decode_use_srtp_untrusted(ours) == extensions.UseSrtp((7, 8, 1), b"")
    theirs = bytes.fromhex("0002 0001 03 616263")
    assert extensions.decode_use_srtp_untrusted(theirs) == extensions.UseSrtp((1,), b"abc")
    for wrong in (b"", b"\x00\x01\x01\x00", b"\x00\x02\x00\x01", theirs[:-1], theirs + b"x"):
        with pytest.raises(DecodeError):
            extensions.decode_use_srtp_untrusted(wrong)


def test_our_hello_offers_what_the_design_says() -> None:
    block = extensions.decode_block_untrusted(Reader(extensions.client_block(tuple(SrtpProfile))))
    assert extensions.decode_list_untrusted(block[Extension.SUPPORTED_GROUPS]) == tuple(Group)
    assert block[Extension.EXTENDED_MASTER_SECRET] == b""
    assert block[Extension.RENEGOTIATION_INFO] == b"\x00"
    assert {suite.name for suite in SUITES} == {
        f"TLS_ECDHE_{kind}_WITH_{cipher}"
        for kind in ("ECDSA", "RSA")
        for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    }


@given(
    body=st.binary(max_size=200),
    type_=st.integers(0, 255),
    sequence=st.integers(0, 65535),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_fragments_of_a_message(body: bytes, type_: int, sequence: int, cuts: list[int]) -> None:
    message = Message.of(type_, sequence, body)
    assert message.body == body
    assert message.fragment(0, len(body)) == message.raw
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    data = b"".join(message.fragment(start, end - start) for start, end in pairwise(places))
    offset, found = 0, list[Fragment]()
    while offset < len(data):
        fragment, offset = messages.decode_fragment_untrusted(data, offset)
        found.append(fragment)
    assert b"".join(fragment.data for fragment in found) == body
    assert all((f.type, f.sequence, f.length) == (type_, sequence, len(body)) for f in found)
    assert [fragment.final for fragment in found] == [False] * (len(found) - 1) + [True] * bool(
        body
    )


def test_fragments_that_contradict_themselves() -> None:
    good = Message.of(HandshakeType.FINISHED, 3, b"twelve bytes").raw
    messages.decode_fragment_untrusted(good, 0)
    beyond_message = good[:6] + b"\x00\x00\x01" + good[9:]
    beyond_record = good[:-1]
    for wrong in (b"", good[:11], beyond_message, beyond_record):
        with pytest.raises(DecodeError):
            messages.decode_fragment_untrusted(wrong, 0)
