"""State cookies: nobody but us can make one, and none is believed that was changed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.sctp import cookie
from transceiver.sctp.chunks import Init
from transceiver.sctp.cookie import NO_TIE, Cookie, Peer
from transceiver.sctp.parameters import (
    ForwardTsnSupported,
    SupportedExtensions,
    ZeroChecksumAcceptable,
)

KEY = bytes(range(32))
PORTS = (5000, 5001)
TAGS = st.integers(0, 2**32 - 1)
COOKIES = st.builds(
    Cookie,
    created=st.floats(allow_nan=False),
    own_tag=TAGS,
    own_tsn=TAGS,
    tie=st.binary(min_size=8, max_size=8),
    peer=st.builds(
        Peer,
        tag=TAGS,
        window=TAGS,
        outbound=st.integers(0, 65535),
        inbound=st.integers(0, 65535),
        tsn=TAGS,
        forward_tsn=st.booleans(),
        reconfig=st.booleans(),
        zero_checksum=st.booleans(),
    ),
)
PLAIN = Cookie(1.0, 2, 3, NO_TIE, Peer(4, 5, 6, 7, 8))


@given(COOKIES)
def test_what_is_sealed_opens(value: Cookie) -> None:
    assert cookie.open_untrusted(cookie.seal(value, KEY, PORTS), KEY, PORTS) == value


def test_every_changed_bit_is_found() -> None:
    sealed = cookie.seal(PLAIN, KEY, PORTS)
    for index in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[index // 8] ^= 1 << index % 8
        with pytest.raises(DecodeError):
            cookie.open_untrusted(bytes(changed), KEY, PORTS)


@given(st.binary(max_size=200))
def test_other_bytes_do_not_open(data: bytes) -> None:
    with pytest.raises(DecodeError):
        cookie.open_untrusted(data, KEY, PORTS)


def test_cut_and_prolonged_cookies_do_not_open() -> None:
    sealed = cookie.seal(PLAIN, KEY, PORTS)
    for data in (*(sealed[:end] for end in range(len(sealed))), sealed + b"\0"):
        with pytest.raises(DecodeError):
            cookie.open_untrusted(data, KEY, PORTS)


def test_another_key_or_other_ports_do_not_open() -> None:
    sealed = cookie.seal(PLAIN, KEY, PORTS)
    for key, ports in ((bytes(32), PORTS), (KEY, (5001, 5000))):
        with pytest.raises(DecodeError):
            cookie.open_untrusted(sealed, key, ports)


def test_it_is_small() -> None:
    """It travels in two packets (RFC 9260, 5.1.3)."""
    assert len(cookie.seal(PLAIN, KEY, PORTS)) < 80


def test_what_an_init_says_of_its_sender() -> None:
    bare = Init(1, 2, 3, 4, 5)
    assert Peer.of(bare) == Peer(1, 2, 3, 4, 5)
    both = (SupportedExtensions((130, 192)), ZeroChecksumAcceptable())
    assert Peer.of(Init(1, 2, 3, 4, 5, both)) == Peer(1, 2, 3, 4, 5, True, True, True)
    # FORWARD-TSN is announced in either of two ways.
    assert Peer.of(Init(1, 2, 3, 4, 5, (ForwardTsnSupported(),))).forward_tsn
    # Without DTLS's way of finding errors there is nothing in it for us.
    assert not Peer.of(Init(1, 2, 3, 4, 5, (ZeroChecksumAcceptable(2),))).zero_checksum


def test_the_clock_may_stand_anywhere() -> None:
    for created in (0.0, -1.5, 1e300, struct.unpack("!d", b"\x00\x00\x00\x00\x00\x00\x00\x01")[0]):
        value = Cookie(created, 2, 3, NO_TIE, Peer(4, 5, 6, 7, 8))
        assert cookie.open_untrusted(cookie.seal(value, KEY, PORTS), KEY, PORTS).created == created
