"""What Hypothesis is told about the values of this project.

Names start with the protocol they belong to, so that a test says what it draws.
"""

from hypothesis import strategies as st

from stunroute import stun
from stunroute.address import Address

addresses = st.builds(
    Address,
    st.one_of(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=4, max_size=4).map(lambda host: bytes(10) + b"\xff\xff" + host),
    ),
    st.integers(0, 65535),
)
"""Transport addresses, IPv4 as often as IPv6."""


# STUN

stun_transaction_ids = st.binary(min_size=12, max_size=12)
stun_methods = st.integers(0, 0xFFF)
stun_classes = st.sampled_from(stun.MessageClass)
stun_passwords = st.binary(max_size=80)

_SIGNING = {
    stun.Attribute.MESSAGE_INTEGRITY,
    stun.Attribute.MESSAGE_INTEGRITY_SHA256,
    stun.Attribute.FINGERPRINT,
}
stun_attribute_types = st.one_of(
    st.sampled_from(sorted(set(stun.Attribute) - _SIGNING)).map(int),
    st.integers(0, 0xFFFF).filter(lambda type: type not in _SIGNING),
)
"""Any type that ``stun.build`` does not add by itself."""

stun_attribute_lists = st.lists(
    st.tuples(stun_attribute_types, st.binary(max_size=40)), max_size=12
)
"""Attributes with arbitrary content, well-formed or not."""


@st.composite
def stun_messages(draw: st.DrawFn) -> bytes:
    """Datagrams of sound structure: any type, any attributes, signed or closed or neither."""
    password = draw(st.none() | stun_passwords)
    return stun.build(
        draw(stun_methods),
        draw(stun_classes),
        draw(stun_transaction_ids),
        draw(stun_attribute_lists),
        integrity=None if password is None else stun.IntegrityKey(password),
        sha256=draw(st.booleans()),
        fingerprint=draw(st.booleans()),
    )


@st.composite
def stun_checks(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A connectivity check as an ICE agent sends it, and the password it is signed with."""
    password = draw(st.binary(min_size=22, max_size=64))
    ufrag = st.text("abcXYZ019+/_-", min_size=4, max_size=32).map(str.encode)
    tie_breaker = draw(st.integers(0, 2**64 - 1))
    controlling = draw(st.booleans())
    check = stun.binding_request(
        draw(stun_transaction_ids),
        draw(ufrag) + b":" + draw(ufrag),
        draw(st.integers(0, 2**31 - 1)),
        stun.IntegrityKey(password),
        controlling=tie_breaker if controlling else None,
        controlled=None if controlling else tie_breaker,
        use_candidate=draw(st.booleans()),
    )
    return check, password


@st.composite
def stun_mutated(draw: st.DrawFn) -> bytes:
    """A message that something happened to: cut, grown, or with some octets changed."""
    data = bytearray(draw(stun_messages()))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut]) + draw(st.binary(max_size=8))
