"""What is negotiated and what is not, and cookies."""

import pytest
from attrs import evolve

from dtls_pair import (
    LIMITS,
    Pair,
    drops,
    established,
    make_connection,
    transmits,
)
from dtls_states import (
    advance_to,
    forge,
    joined,
    split,
)
from stunroute.trace import Drop
from transceiver.dtls import (
    Role,
    server12,
)
from transceiver.dtls.extensions import Extension, decode_block_untrusted, encode_block
from transceiver.dtls.messages import HandshakeType, decode_client_hello_untrusted
from transceiver.dtls.record import ContentType
from transceiver.dtls.wire import Reader


def rewritten_hello(datagram: bytes, change: object) -> bytes:
    """A ClientHello with its extensions changed by ``change(dictionary)``."""
    (one,) = split(datagram)
    hello = decode_client_hello_untrusted(one.fragment[12:])
    block = dict(hello.extensions)
    change(block)  # type: ignore[operator]
    end = one.fragment[12:].index(encode_block(hello.extensions.items()))
    body = one.fragment[12 : 12 + end] + encode_block(block.items())
    return forge(HandshakeType.CLIENT_HELLO, 0, body)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("extended master secret", lambda b: b.pop(Extension.EXTENDED_MASTER_SECRET)),
        ("use SRTP", lambda b: b.pop(Extension.USE_SRTP)),
        ("in common", lambda b: b.update({Extension.USE_SRTP: bytes.fromhex("0002000500")})),
        ("in common", lambda b: b.update({Extension.SUPPORTED_GROUPS: bytes.fromhex("00020018")})),
        ("in common", lambda b: b.pop(Extension.SUPPORTED_GROUPS)),
        ("signature", lambda b: b.pop(Extension.SIGNATURE_ALGORITHMS)),
        ("renegotiation", lambda b: b.update({Extension.RENEGOTIATION_INFO: b"\x02ab"})),
        ("1.2", lambda b: b.update({Extension.SUPPORTED_VERSIONS: bytes.fromhex("02fefc")})),
    ],
)
def test_hellos_that_cannot_be_agreed_with(why: str, change: object) -> None:
    """DTLS 11: extended master secret demanded. ``Drop.DTLS_NOT_NEGOTIABLE``."""
    pair = Pair.make()
    pair.client.start(0.0)
    honest = transmits(pair.client)[0]
    pair.server.receive_datagram(rewritten_hello(honest, change), 0.0)
    assert drops(pair.server) == [Drop.DTLS_NOT_NEGOTIABLE]
    assert why in (pair.server.refusal or "")
    assert transmits(pair.server) == []
    pair.server.receive_datagram(honest, 0.0)
    pair.run()
    assert pair.settled


@pytest.mark.parametrize(
    "versions",
    ["04fefcfefd", "06feff fefd fefc", "04fefc0303"],
    ids=["Chromium", "all", "Firefox"],
)
def test_a_hello_of_dtls_1_3_is_answered_with_1_2(versions: str) -> None:
    """DTLS 1: Firefox writes 1.2 as TLS does."""
    pair = Pair.make()
    pair.client.start(0.0)
    hello = rewritten_hello(
        transmits(pair.client)[0],
        lambda b: b.update({Extension.SUPPORTED_VERSIONS: bytes.fromhex(versions)}),
    )
    pair.server.receive_datagram(hello, 0.0)
    (first, *_) = split(transmits(pair.server)[0])
    assert first.fragment[0] == HandshakeType.SERVER_HELLO
    assert first.fragment[12:14] == b"\xfe\xfd"
    assert not first.fragment[14:46].endswith((b"DOWNGRD\x00", b"DOWNGRD\x01"))


def test_an_mki_is_not_echoed() -> None:
    """DTLS 13."""
    pair = Pair.make()
    pair.client.start(0.0)
    with_mki = bytes.fromhex("0004 0007 0001 04 6d6b6921")
    hello = rewritten_hello(
        transmits(pair.client)[0], lambda b: b.update({Extension.USE_SRTP: with_mki})
    )
    pair.server.receive_datagram(hello, 0.0)
    (first, *_) = split(transmits(pair.server)[0])
    block = decode_block_untrusted(Reader(first.fragment[12 + 2 + 32 + 1 + 2 + 1 :]))
    assert block[Extension.USE_SRTP] == bytes.fromhex("0002 0007 00")
    assert b"mki!" not in first.fragment


def server_hello_with(change: object) -> tuple[Pair, bytes]:
    pair = Pair.make()
    pair.client.start(0.0)
    pair.server.receive_datagram(transmits(pair.client)[0], 0.0)
    flight = split(transmits(pair.server)[0])
    body = flight[0].fragment[12:]
    fixed, rest = body[: 2 + 32 + 1 + 2 + 1], body[2 + 32 + 1 + 2 + 1 :]
    block = decode_block_untrusted(Reader(rest))
    fixed, block = change(fixed, block)  # type: ignore[operator]
    return pair, forge(HandshakeType.SERVER_HELLO, 0, fixed + encode_block(block.items()))


@pytest.mark.parametrize(
    "change",
    [
        lambda f, b: (b"\xfe\xff" + f[2:], b),
        lambda f, b: (f[:-3] + b"\x00\x2f\x00", b),
        lambda f, b: (f[:-1] + b"\x01", b),
        lambda f, b: (f, {k: v for k, v in b.items() if k != Extension.EXTENDED_MASTER_SECRET}),
        lambda f, b: (f, {k: v for k, v in b.items() if k != Extension.USE_SRTP}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0002000703616263")}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0004000700 0800")}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0002000200")}),
        lambda f, b: (f, b | {Extension.RENEGOTIATION_INFO: b"\x01a"}),
        lambda f, b: (f, b | {Extension.SUPPORTED_VERSIONS: b"\xfe\xfc"}),
        lambda f, b: (f, b | {0x1234: b""}),
    ],
    ids=[
        *("version", "suite", "compression", "no-ems", "no-srtp", "mki", "two-profiles"),
        *("profile", "renegotiation", "not-offered", "unknown"),
    ],
)
def test_server_hellos_that_answer_what_was_not_asked(change: object) -> None:
    """DTLS 11, 13."""
    pair, forged = server_hello_with(change)
    pair.client.receive_datagram(forged, 0.0)
    assert drops(pair.client) == [Drop.DTLS_NOT_NEGOTIABLE]
    pair.now = 1.0
    pair.run()
    assert pair.settled


def test_cookies_are_asked_for_only_on_request() -> None:
    """DTLS 2."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.run()
    assert pair.settled
    assert [role for role, _, _ in pair.sent] == [Role.CLIENT, Role.SERVER] * 3
    assert len(established().sent) == 4


def test_a_lost_verify_request_is_sent_again() -> None:
    """DTLS 2."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.client.start(0.0)
    hello = transmits(pair.client)[0]
    for _ in range(3):
        pair.server.receive_datagram(hello, 0.0)
        (request,) = transmits(pair.server)
        assert split(request)[0].fragment[0] == HandshakeType.HELLO_VERIFY_REQUEST
    assert pair.server.next_timeout() is None
    pair.client.receive_datagram(request, 0.0)
    pair.run()
    assert pair.settled


def test_a_second_hello_with_a_cookie_that_somebody_else_asked_for() -> None:
    """DTLS 2: message_seq 1 and a cookie, and this server has never seen the first hello."""
    pair = Pair.make()
    pair.client.start(0.0)
    transmits(pair.client)
    request = forge(HandshakeType.HELLO_VERIFY_REQUEST, 0, b"\xfe\xff\x06cookie")
    pair.client.receive_datagram(request, 0.0)
    pair.run()
    assert pair.settled
    # The first hello, delayed, is of the past; another client's first hello is not.
    assert pair.drops(Role.SERVER) == []


def test_the_hello_before_the_cookie_is_of_the_past() -> None:
    """DTLS 2. ``Drop.DTLS_OLD_MESSAGE``."""
    pair = Pair.make()
    pair.client.start(0.0)
    (first,) = transmits(pair.client)
    pair.client.receive_datagram(
        forge(HandshakeType.HELLO_VERIFY_REQUEST, 0, b"\xfe\xff\x06cookie"), 0.0
    )
    (second,) = transmits(pair.client)
    pair.server.receive_datagram(second, 0.0)
    pair.server.receive_datagram(first, 0.0)
    assert drops(pair.server) == [Drop.DTLS_OLD_MESSAGE]
    stranger = make_connection(Role.CLIENT, name="stranger")
    stranger.start(0.0)
    pair.server.receive_datagram(transmits(stranger)[0], 0.0)
    assert drops(pair.server) == []


def test_a_later_cookie_than_ours_is_refused() -> None:
    _, server, _ = advance_to(Role.SERVER, server12.AwaitCertificate)
    hello = server._machine.state.answers[-1].hello  # type: ignore[attr-defined]
    server.receive_datagram(forge(HandshakeType.CLIENT_HELLO, 1, hello.body), 0.0)
    assert drops(server) == [Drop.DTLS_MESSAGE_UNEXPECTED]


def test_verify_requests_are_answered_within_bounds() -> None:
    client = make_connection(Role.CLIENT)
    client.start(0.0)
    transmits(client)
    for index in range(LIMITS.hello_verifications):
        cookie = b"\xfe\xfd\x01" + bytes([index])
        client.receive_datagram(forge(HandshakeType.HELLO_VERIFY_REQUEST, index, cookie), 0.0)
        (hello,) = transmits(client)
        body = split(hello)[0].fragment
        assert decode_client_hello_untrusted(body[12:]).cookie == bytes([index])
        assert int.from_bytes(body[4:6]) == index + 1
    client.receive_datagram(
        forge(HandshakeType.HELLO_VERIFY_REQUEST, LIMITS.hello_verifications, cookie), 0.0
    )
    assert transmits(client) == []
    assert drops(client) == [Drop.DTLS_MESSAGE_UNEXPECTED]


def numbered(datagram: bytes, number: int) -> bytes:
    """The one record of ``datagram`` under another number."""
    (one,) = split(datagram)
    return joined([evolve(one, number=number)])


@pytest.mark.parametrize("number", [0, 1, 7, 300])
def test_answers_bear_the_numbers_of_their_hellos(number: int) -> None:
    """rfc6347/4.2.1/10 and rfc6347/4.2.1/12: as from a server that keeps nothing."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.client.start(0.0)
    (hello,) = transmits(pair.client)
    pair.server.receive_datagram(numbered(hello, number), 0.0)
    (request,) = transmits(pair.server)
    assert [one.number for one in split(request)] == [number]
    pair.client.receive_datagram(request, 0.0)
    (second,) = transmits(pair.client)
    pair.server.receive_datagram(numbered(second, number + 3), 0.0)
    (flight,) = transmits(pair.server)
    ours = split(flight)
    assert [one.number for one in ours] == list(range(number + 3, number + 3 + len(ours)))
    pair.server.handle_timeout(LIMITS.resend_initial)
    (again,) = transmits(pair.server)
    assert split(again)[0].number == number + 3 + len(ours), "from then on they only count up"
    pair.client.receive_datagram(again, 0.5)
    pair.run()
    assert pair.settled


@pytest.mark.parametrize("number", [1 << 32, (1 << 48) - 1])
def test_no_hello_uses_up_our_numbers(number: int) -> None:
    pair = Pair.make()
    pair.client.start(0.0)
    pair.server.receive_datagram(numbered(transmits(pair.client)[0], number), 0.0)
    (flight,) = transmits(pair.server)
    assert [one.number for one in split(flight)] == list(range(len(split(flight))))
    pair.client.receive_datagram(flight, 0.0)
    pair.run()
    assert pair.settled


def test_no_number_is_used_twice_for_hellos_that_overtake_one_another() -> None:
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.client.start(0.0)
    (hello,) = transmits(pair.client)
    seen = []
    for number in (4, 0, 4, 2):
        pair.server.receive_datagram(numbered(hello, number), 0.0)
        (request,) = transmits(pair.server)
        seen += [one.number for one in split(request)]
    assert seen == [4, 5, 6, 7]


def test_a_hello_with_a_cookie_is_the_first_hello_in_all_else() -> None:
    """rfc6347/4.2.1/6."""
    client = make_connection(Role.CLIENT)
    client.start(0.0)
    first = decode_client_hello_untrusted(split(transmits(client)[0])[0].fragment[12:])
    request = forge(HandshakeType.HELLO_VERIFY_REQUEST, 0, b"\xfe\xff\x06cookie")
    client.receive_datagram(request, 0.0)
    second = decode_client_hello_untrusted(split(transmits(client)[0])[0].fragment[12:])
    assert (first.cookie, second.cookie) == (b"", b"cookie")
    assert evolve(second, cookie=b"") == first


def test_a_verify_request_names_the_version_of_the_hello() -> None:
    """rfc6347/4.2.1/8."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.run()
    versions = {
        one.fragment[0]: one.fragment[12:14]
        for role, _, datagram in pair.sent
        for one in split(datagram)
        if role is Role.SERVER and one.content_type == ContentType.HANDSHAKE and not one.epoch
    }
    assert versions[HandshakeType.HELLO_VERIFY_REQUEST] == b"\xfe\xfd"
    assert versions[HandshakeType.SERVER_HELLO] == b"\xfe\xfd"
