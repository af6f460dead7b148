"""Checks for a lite agent: its credentials, what a client would send, and what it answered.

A client's checks are built with the STUN codec of this project.
"""

from collections.abc import Iterator
from itertools import count

from stunroute import stun
from stunroute.address import Address
from stunroute.pump import pump
from stunroute.trace import Drop
from transceiver.config import IceLimits
from transceiver.ice import (
    Credentials,
    Dropped,
    IceLite,
)
from transceiver.path import Path

OURS = Credentials(b"0abcdefghijklmnopqrstuvwxy", b"p" * 32)
THEIRS = Credentials(b"cl+/_-", b"c" * 24)
NEXT = Credentials(b"1zyxwvutsrqponmlkjihgfedcb", b"n" * 32)
NEXT_THEIRS = Credentials(b"again", b"a" * 24)
KEY = stun.IntegrityKey(OURS.password)
NEXT_KEY = stun.IntegrityKey(NEXT.password)
USERNAME = OURS.ufrag + b":" + THEIRS.ufrag
NEXT_USERNAME = NEXT.ufrag + b":" + NEXT_THEIRS.ufrag


def path(client: str, proxy: str = "203.0.113.1:3478", relay: str = "10.0.0.1:9000") -> Path:
    return Path(Address.parse(client), Address.parse(proxy), Address.parse(relay))


A = path("192.0.2.1:1000")
B = path("192.0.2.2:2000")
C = path("192.0.2.3:3000")


def agent(**limits: float) -> IceLite:
    return IceLite(local=OURS, remote=THEIRS, limits=IceLimits(**limits))  # type: ignore[arg-type]


_identifiers: Iterator[int] = count(1)


def transaction() -> bytes:
    return next(_identifiers).to_bytes(12, "big")


def check(
    *,
    nominate: bool = False,
    username: bytes = USERNAME,
    key: stun.IntegrityKey = KEY,
    value: int | None = None,
    identifier: bytes | None = None,
    extra: tuple[tuple[int, bytes], ...] = (),
    controlled: int | None = None,
) -> bytes:
    attributes = list(extra)
    if value is not None:
        attributes.append((stun.Attribute.NOMINATION, stun.encode_uint32(value)))
    return stun.binding_request(
        identifier or transaction(),
        username,
        1862270975,
        key,
        controlling=7 if controlled is None else None,
        controlled=controlled,
        use_candidate=nominate,
        attributes=attributes,
    )


def renewed(**options: bool) -> bytes:
    return check(username=NEXT_USERNAME, key=NEXT_KEY, **options)


def raw(
    *attributes: tuple[int, bytes],
    key: stun.IntegrityKey | None = KEY,
    username: bytes | None = USERNAME,
    message_class: stun.MessageClass = stun.MessageClass.REQUEST,
    method: int = stun.Method.BINDING,
    sha256: bool = False,
    fingerprint: bool = True,
) -> bytes:
    names = [] if username is None else [(int(stun.Attribute.USERNAME), username)]
    return stun.build(
        method,
        message_class,
        transaction(),
        [*names, *attributes],
        integrity=key,
        sha256=sha256,
        fingerprint=fingerprint,
    )


PRIORITY = (int(stun.Attribute.PRIORITY), stun.encode_uint32(5))


def refused(ice: IceLite, data: bytes, way: Path = A, now: float = 0.0) -> Drop:
    """The one reason for which the agent let go of ``data``; it said and learned nothing."""
    before = (ice.selected, ice.local_ufrags)
    assert not ice.receive_stun(data, way, now)
    output = pump(ice)
    assert not output.transmits
    [event] = output.events
    assert isinstance(event, Dropped)
    assert (ice.selected, ice.local_ufrags) == before
    return event.drop


def answered(
    ice: IceLite, data: bytes, way: Path = A, now: float = 0.0, *, again: bool = False
) -> stun.Message:
    """The one answer to an authenticated request, sent back the way it came. ``again``: the agent
    has had the same request before, which then proves nothing."""
    assert ice.receive_stun(data, way, now) is not again
    transmit = ice.next_transmit()
    assert transmit is not None
    assert ice.next_transmit() is None
    assert transmit.path == way
    return stun.decode_untrusted(transmit.data)


def error(ice: IceLite, data: bytes, way: Path = A) -> int:
    """The code of the signed error that answers ``data``."""
    answer = answered(ice, data, way)
    assert answer.message_class is stun.MessageClass.ERROR
    assert answer.transaction_id == data[8:20]
    assert answer.verify_integrity(KEY)
    assert answer.fingerprint_ok
    assert answer.error_code is not None
    assert not pump(ice).events
    return answer.error_code[0]


def events(ice: IceLite) -> list[object]:
    return list(pump(ice).events)
