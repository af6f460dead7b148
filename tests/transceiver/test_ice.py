"""The lite agent: whom it believes and what it answers.

The oracle for what comes back is the STUN codec of this project and, once, aioice.
"""

from collections.abc import Callable

import aioice.stun
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checking import (
    KEY,
    NEXT,
    NEXT_THEIRS,
    OURS,
    PRIORITY,
    THEIRS,
    USERNAME,
    A,
    B,
    agent,
    answered,
    check,
    error,
    events,
    path,
    raw,
    refused,
)
from corpus import corpus_path
from stunroute import stun
from stunroute.pump import pump
from stunroute.trace import Drop
from transceiver.config import IceLimits
from transceiver.ice import (
    Credentials,
    IceLite,
    Selected,
    Validated,
)

# --- success --------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["192.0.2.1:1000", "[2001:db8::7]:65535"])
def test_answer_to_a_check(client: str) -> None:
    """RFC 8445 section 7.3: success with the client's true address, signed under our password."""
    ice, way, data = agent(), path(client), check()
    answer = answered(ice, data, way)
    assert answer.message_class is stun.MessageClass.SUCCESS
    assert answer.transaction_id == data[8:20]
    assert answer.xor_mapped_address == way.client
    assert answer.verify_integrity(KEY)
    assert answer.fingerprint_ok
    assert events(ice) == [Validated(way), Selected(way, nominated=False)]
    assert ice.selected == way
    assert ice.is_validated(way)
    assert ice.next_timeout() is None


def test_aioice_and_we_understand_each_other() -> None:
    """A check of another implementation, and its reading of our answer."""
    request = aioice.stun.Message(
        aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST, bytes(range(12))
    )
    request.attributes["USERNAME"] = USERNAME.decode()
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 2
    request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(OURS.password)
    ice = agent()
    assert ice.receive_stun(bytes(request), A, 0.0)
    transmit = ice.next_transmit()
    assert transmit is not None
    answer = aioice.stun.parse_message(transmit.data)
    assert answer.check_message_integrity(OURS.password)
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == ("192.0.2.1", 1000)
    assert events(ice) == [Validated(A), Selected(A, nominated=True)]


def test_sha256_is_answered_in_kind() -> None:
    answer = answered(agent(), raw(PRIORITY, sha256=True))
    assert answer.integrity_is_sha256
    assert answer.verify_integrity(KEY)


def test_fingerprint_may_be_left_out() -> None:
    """The integrity has proved more. RFC 8445 section 7 wants it; the answer has it."""
    answer = answered(agent(), raw(PRIORITY, fingerprint=False))
    assert answer.message_class is stun.MessageClass.SUCCESS
    assert answer.fingerprint_ok


def test_mapped_addresses_are_one_address() -> None:
    """STUN and ICE 11: a dual-stack socket shows an IPv4 peer in IPv6 clothes."""
    ice = agent()
    answer = answered(ice, check(), path("[::ffff:192.0.2.1]:1000"))
    assert (stun.Attribute.XOR_MAPPED_ADDRESS, 8) in [
        (kind, len(value)) for kind, value in answer.attributes
    ]
    assert ice.is_validated(A)
    events(ice)
    answered(ice, check(), A)
    assert events(ice) == []


def test_retransmission_is_answered_again_identically() -> None:
    ice, data = agent(), check()
    first = answered(ice, data)
    events(ice)
    assert answered(ice, data, now=0.5, again=True).raw == first.raw
    assert events(ice) == []


def test_unknown_optional_attributes_are_ignored() -> None:
    """STUN and ICE 3: 0xC057 and its kind ask for nothing."""
    extra = ((0xC057, bytes(4)), (0xC001, b"abcdefgh"), (0xC070, bytes(300)), (0xFFFF, b""))
    ice = agent()
    assert answered(ice, check(extra=extra)).message_class is stun.MessageClass.SUCCESS
    assert events(ice) == [Validated(A), Selected(A, nominated=False)]


# --- USERNAME -------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [b"", b" ", b"   "])
def test_username_is_compared_by_its_bytes(padding: bytes) -> None:
    """STUN and ICE 2: ours comes first; the client's may hold anything; spaces pad it."""
    assert answered(agent(), check(username=USERNAME + padding))


@pytest.mark.parametrize(
    ("username", "drop"),
    [
        (THEIRS.ufrag + b":" + OURS.ufrag, Drop.ICE_UFRAG),
        (OURS.ufrag[:-1] + b":" + THEIRS.ufrag, Drop.ICE_UFRAG),
        (OURS.ufrag + b"x:" + THEIRS.ufrag, Drop.ICE_UFRAG),
        (OURS.ufrag[:4] + b":" + THEIRS.ufrag, Drop.ICE_UFRAG),
        (OURS.ufrag.upper() + b":" + THEIRS.ufrag, Drop.ICE_UFRAG),
        (b"", Drop.ICE_UFRAG),
        (b":", Drop.ICE_UFRAG),
        (b"\xff\xfe:\x00", Drop.ICE_UFRAG),
        (OURS.ufrag, Drop.ICE_PEER_UFRAG),
        (OURS.ufrag + b":", Drop.ICE_PEER_UFRAG),
        (OURS.ufrag + b":  ", Drop.ICE_PEER_UFRAG),
    ],
)
def test_usernames_that_name_somebody_else(username: bytes, drop: Drop) -> None:
    """STUN and ICE 2: a half that is swapped, cut, longer or empty."""
    assert refused(agent(), check(username=username)) is drop


@pytest.mark.parametrize("second", [THEIRS.ufrag[:4], THEIRS.ufrag + b":x", b"x" * 256, b":"])
def test_the_second_half_is_the_clients_business(second: bytes) -> None:
    """RFC 8445 section 7.3: the first half names us, and who knows the password may be called what
    he likes; he may have restarted ICE before we heard of it."""
    assert answered(agent(), check(username=OURS.ufrag + b":" + second))


def test_ufrags_of_full_length_are_compared_whole() -> None:
    """STUN and ICE 2: nothing is cut at 34 bytes."""
    longest = Credentials(b"u" * 256, b"p" * 32)
    peer = Credentials(b"v" * 256, b"c" * 24)
    ice = IceLite(local=longest, remote=peer, limits=IceLimits())
    key = stun.IntegrityKey(longest.password)
    assert answered(ice, check(username=b"u" * 256 + b":" + b"v" * 256, key=key))
    events(ice)
    wrong = check(username=b"u" * 255 + b"w:" + b"v" * 256, key=key)
    assert refused(ice, wrong) is Drop.ICE_UFRAG


def test_the_first_of_two_usernames_counts() -> None:
    """STUN and ICE 2: repeated attributes are ignored."""
    second = (int(stun.Attribute.USERNAME), b"someone:else")
    assert answered(agent(), raw(second, PRIORITY))
    first = raw((int(stun.Attribute.USERNAME), USERNAME), PRIORITY, username=b"someone:else")
    assert refused(agent(), first) is Drop.ICE_UFRAG


# --- who proves nothing gets nothing --------------------------------------------------------------


def corrupted(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


SILENCE: list[tuple[str, Callable[[], bytes], Drop]] = [
    ("too short", lambda: check()[:19], Drop.STUN_MALFORMED),
    ("empty", lambda: b"", Drop.STUN_MALFORMED),
    ("length of another", lambda: check() + bytes(4), Drop.STUN_MALFORMED),
    ("username beyond its limit", lambda: raw((6, b"x" * 764), username=None), Drop.STUN_MALFORMED),
    (
        "attribute past the end",
        lambda: raw(PRIORITY, key=None, fingerprint=False)[:-6] + b"\xff\xff" + bytes(4),
        Drop.STUN_MALFORMED,
    ),
    ("allocate", lambda: raw(PRIORITY, method=3), Drop.STUN_NOT_BINDING),
    ("no username", lambda: raw(PRIORITY, username=None), Drop.STUN_NO_USERNAME),
    ("nobody signed", lambda: raw(PRIORITY, key=None), Drop.ICE_NO_INTEGRITY),
    (
        "signed by a stranger",
        lambda: check(key=stun.IntegrityKey(b"guess")),
        Drop.ICE_INTEGRITY,
    ),
    (
        "signed with the client's own password",
        lambda: check(key=stun.IntegrityKey(THEIRS.password)),
        Drop.ICE_INTEGRITY,
    ),
    ("wrong fingerprint", lambda: corrupted(check(), -1), Drop.ICE_FINGERPRINT),
    (
        "changed on the way",
        lambda: corrupted(raw(PRIORITY, fingerprint=False), 40),
        Drop.ICE_UFRAG,
    ),
    (
        "integrity changed on the way",
        lambda: corrupted(raw(PRIORITY, fingerprint=False), -1),
        Drop.ICE_INTEGRITY,
    ),
    (
        "unknown attribute, unsigned",
        lambda: raw((0x4000, b""), PRIORITY, key=None),
        Drop.ICE_NO_INTEGRITY,
    ),
    (
        "indication with nothing but a fingerprint",
        lambda: raw(key=None, username=None, message_class=stun.MessageClass.INDICATION),
        Drop.ICE_INDICATION,
    ),
    (
        "indication, signed",
        lambda: raw(message_class=stun.MessageClass.INDICATION),
        Drop.ICE_INDICATION,
    ),
    (
        "indication, signed by a stranger",
        lambda: raw(message_class=stun.MessageClass.INDICATION, key=stun.IntegrityKey(b"guess")),
        Drop.ICE_INDICATION,
    ),
    (
        "indication for somebody else",
        lambda: raw(message_class=stun.MessageClass.INDICATION, username=b"someone:else"),
        Drop.ICE_INDICATION,
    ),
    (
        "data indication",
        lambda: raw(message_class=stun.MessageClass.INDICATION, method=7),
        Drop.ICE_INDICATION,
    ),
    ("success", lambda: raw(message_class=stun.MessageClass.SUCCESS), Drop.ICE_RESPONSE),
    ("error", lambda: raw(message_class=stun.MessageClass.ERROR, key=None), Drop.ICE_RESPONSE),
]


@pytest.mark.parametrize(
    ("make", "drop"), [row[1:] for row in SILENCE], ids=[r[0] for r in SILENCE]
)
@pytest.mark.parametrize("state", ["fresh", "provisional", "nominated", "restarted"])
def test_silence_for_whoever_proves_nothing(
    make: Callable[[], bytes], drop: Drop, state: str
) -> None:
    """STUN and ICE 4 and 5: no 400, no 401, no panic, no move, no life, in any state."""
    ice = agent()
    if state != "fresh":
        answered(ice, check(nominate=state == "nominated"))
    if state == "restarted":
        ice.restart(NEXT, NEXT_THEIRS, 0.0)
    events(ice)
    assert refused(ice, make(), B) is drop
    assert not ice.is_validated(B)


def test_use_candidate_behind_the_integrity_is_not_the_clients() -> None:
    """STUN and ICE 5: anybody on the way can append what the hash does not cover."""
    ice = agent()
    answered(ice, check(nominate=True), A)
    events(ice)
    signed = raw(PRIORITY, fingerprint=False)
    longer = (len(signed) - 20 + 4).to_bytes(2, "big")
    appended = signed[:2] + longer + signed[4:] + b"\x00\x25\x00\x00"
    answered(ice, appended, B)
    assert events(ice) == [Validated(B)]
    assert ice.selected == A


def test_a_flood_of_strangers_leaves_no_state() -> None:
    """STUN and ICE 10: unknown ufrags and passwords allocate nothing."""
    ice = agent(pending=8)
    for number in range(500):
        ice.receive_stun(check(username=b"%026d:x" % number), path(f"192.0.2.9:{number + 1}"), 0.0)
        ice.receive_stun(check(key=stun.IntegrityKey(b"%d" % number)), A, 0.0)
    assert not ice._valid
    assert not ice._requests
    output = pump(ice)
    assert not output.transmits
    assert len(output.events) == 8


@given(data=st.binary(max_size=120))
@settings(max_examples=100)
def test_noise_raises_nothing_and_moves_nothing(data: bytes) -> None:
    ice = agent()
    for candidate in (data, b"\x00\x01\x00\x00\x21\x12\xa4\x42" + data):
        refused(ice, candidate)


@given(at=st.integers(0, 10_000), to=st.integers(0, 255), nominate=st.booleans())
@settings(max_examples=100)
def test_a_changed_check_is_no_check(at: int, to: int, nominate: bool) -> None:
    data = bytearray(check(nominate=nominate))
    at %= len(data) - 8  # FINGERPRINT vouches for the rest, and may itself be left out
    if data[at] == to:
        to ^= 1
    data[at] = to
    ice = agent()
    assert not ice.receive_stun(bytes(data), A, 0.0)
    assert ice.selected is None
    assert not pump(ice).transmits


@pytest.mark.corpus
@pytest.mark.parametrize("folder", ["aioice-bins", "libjuice-fuzz", "libwebrtc-fuzz/stun-corpus"])
def test_fuzz_corpora_raise_nothing(folder: str) -> None:
    ice = agent()
    for file in sorted(corpus_path("fuzz", *folder.split("/")).rglob("*")):
        if file.is_file():
            refused(ice, file.read_bytes())


# --- errors for those who have proved themselves --------------------------------------------------


def test_unknown_required_attributes_are_listed() -> None:
    """STUN and ICE 3: 420 with the list, in order, and nothing is validated."""
    ice = agent()
    data = raw((0x4000, b""), (0x8FFF, b""), PRIORITY, (0x4007, b"abc"))
    answer = answered(ice, data)
    assert answer.error_code is not None
    assert answer.error_code[0] == 420
    assert answer.unknown_attributes == (0x4000, 0x4007)
    assert answer.verify_integrity(KEY)
    assert events(ice) == []
    assert not ice.is_validated(A)


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((int(stun.Attribute.PRIORITY), b"\x00\x00\x01"),),
        (PRIORITY, (int(stun.Attribute.ICE_CONTROLLED), b"1234")),
        (PRIORITY, (int(stun.Attribute.USE_CANDIDATE), b"\x01\x00\x00\x00")),
    ],
)
def test_authenticated_nonsense_is_a_bad_request(attributes: tuple[tuple[int, bytes], ...]) -> None:
    """STUN and ICE 4: 400, once the sender is known."""
    ice = agent()
    assert error(ice, raw(*attributes)) == 400
    assert ice.selected is None


@pytest.mark.parametrize("tie_breaker", [0, 1, 2**63, 2**64 - 1])
def test_role_conflict(tie_breaker: int) -> None:
    """STUN and ICE 6: 487 whatever the tie-breaker; the client switches, once, and is served."""
    ice = agent()
    assert error(ice, check(controlled=tie_breaker, nominate=True)) == 487
    assert not ice.is_validated(A)
    assert answered(ice, check()).message_class is stun.MessageClass.SUCCESS
    events(ice)
    assert error(ice, check(controlled=tie_breaker)) == 487
    assert ice.selected == A


def test_both_roles_in_one_check_conflict() -> None:
    both = (
        (int(stun.Attribute.ICE_CONTROLLING), bytes(8)),
        (int(stun.Attribute.ICE_CONTROLLED), bytes(8)),
    )
    assert error(agent(), raw(PRIORITY, *both)) == 487


def test_unknown_attributes_come_before_everything_else() -> None:
    assert error(agent(), raw((0x4000, b""))) == 420


def test_errors_are_repeated_for_retransmissions() -> None:
    ice, data = agent(), raw((0x4000, b""), PRIORITY)
    assert answered(ice, data).raw == answered(ice, data, again=True).raw
