"""The lite agent: whom it believes, what it answers, and which way it sends.

A client's checks are built with the STUN codec of this project; the oracle for what comes back is
that codec again and, once, aioice.
"""

from collections.abc import Callable, Iterator
from itertools import count, product

import aioice.stun
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import corpus_path
from stunroute import stun
from stunroute.address import Address
from stunroute.pump import pump
from stunroute.trace import Drop
from transceiver.config import IceLimits
from transceiver.ice import (
    Credentials,
    CredentialsExpired,
    Dropped,
    IceLite,
    Selected,
    Validated,
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


def answered(ice: IceLite, data: bytes, way: Path = A, now: float = 0.0) -> stun.Message:
    """The one answer to an authenticated request, sent back the way it came."""
    assert ice.receive_stun(data, way, now)
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
    assert answered(ice, data, now=0.5).raw == first.raw
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
        (OURS.ufrag + b":" + THEIRS.ufrag[:4], Drop.ICE_PEER_UFRAG),
        (USERNAME + b":x", Drop.ICE_PEER_UFRAG),
        (OURS.ufrag + b":" + b"x" * 256, Drop.ICE_PEER_UFRAG),
    ],
)
def test_usernames_that_name_somebody_else(username: bytes, drop: Drop) -> None:
    """STUN and ICE 2: a half that is swapped, cut, longer or empty."""
    assert refused(agent(), check(username=username)) is drop


def test_ufrags_of_full_length_are_compared_whole() -> None:
    """STUN and ICE 2: nothing is cut at 34 bytes."""
    longest = Credentials(b"u" * 256, b"p" * 32)
    peer = Credentials(b"v" * 251, b"c" * 24)
    ice = IceLite(local=longest, remote=peer, limits=IceLimits())
    key = stun.IntegrityKey(longest.password)
    assert answered(ice, check(username=b"u" * 256 + b":" + b"v" * 251, key=key))
    events(ice)
    wrong = check(username=b"u" * 256 + b":" + b"v" * 250 + b"w", key=key)
    assert refused(ice, wrong) is Drop.ICE_PEER_UFRAG


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
    ("username beyond its limit", lambda: raw((6, b"x" * 600), username=None), Drop.STUN_MALFORMED),
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
    assert answered(ice, data).raw == answered(ice, data).raw


# --- selection: every state with every input ------------------------------------------------------

# A state is made on a fresh agent; in each the pair in use, where there is one, is A, B has been
# validated where a B exists, and the last packet came at 0. An input comes at the given time. What
# is expected is the pair in use after it and whether it is a nominated one.

STATES: dict[str, Callable[[IceLite], object]] = {
    "unselected": lambda ice: None,
    "provisional": lambda ice: (answered(ice, check()), answered(ice, check(), B)),
    "nominated": lambda ice: (answered(ice, check(nominate=True)), answered(ice, check(), B)),
    "taken over": lambda ice: (
        answered(ice, check(nominate=True), B),
        ice.note_media(A, 0.0),
        answered(ice, check()),
    ),
    "restarted": lambda ice: (
        answered(ice, check(nominate=True)),
        answered(ice, check(), B),
        ice.restart(NEXT, NEXT_THEIRS, 0.0),
    ),
    "renewed": lambda ice: (
        answered(ice, check(nominate=True), B),
        ice.restart(NEXT, NEXT_THEIRS, 0.0),
        answered(ice, renewed(nominate=True), A),
    ),
}

INPUTS: dict[str, Callable[[IceLite], object]] = {
    "check on A": lambda ice: answered(ice, check(), A, 0.1),
    "check on B": lambda ice: answered(ice, check(), B, 0.1),
    "nomination of A": lambda ice: answered(ice, check(nominate=True), A, 0.1),
    "nomination of B": lambda ice: answered(ice, check(nominate=True), B, 0.1),
    "nomination of C": lambda ice: answered(ice, check(nominate=True), C, 0.1),
    "media on B": lambda ice: ice.note_media(B, 0.1),
    "media, then check on B": lambda ice: (
        ice.note_media(B, 0.1),
        answered(ice, check(), B, 0.2),
    ),
    "media, then check on new C": lambda ice: (
        ice.note_media(C, 0.1),
        answered(ice, check(), C, 0.2),
    ),
    "media on B, then A, then check on B": lambda ice: (
        ice.note_media(B, 0.1),
        ice.note_media(A, 0.2),
        answered(ice, check(), B, 0.3),
    ),
    "check on B just before silence": lambda ice: answered(ice, check(), B, 2.9),
    "check on B after silence": lambda ice: answered(ice, check(), B, 3.0),
    "check on B while A has media": lambda ice: (
        ice.note_media(A, 2.0),
        answered(ice, check(), B, 4.0),
    ),
    "error on B": lambda ice: answered(ice, check(controlled=1, nominate=True), B, 9.0),
    "stranger on B": lambda ice: ice.receive_stun(check(key=NEXT_KEY), B, 9.0),
    "timeout": lambda ice: ice.handle_timeout(0.5),
    "media on A": lambda ice: ice.note_media(A, 5.0),
}

# By input: expected from "unselected", "provisional", "nominated", "taken over". A capital says
# nominated, a small letter not, a dot nothing selected.
PRODUCT: dict[str, str] = {
    "check on A": "aaAa",
    "check on B": "baAa",
    "nomination of A": "AAAA",
    "nomination of B": "BBBB",
    "nomination of C": "CCCC",
    "media on B": ".aAa",
    "media, then check on B": "bbbb",
    "media, then check on new C": "cccc",
    "media on B, then A, then check on B": "baAa",
    "check on B just before silence": "baAa",
    "check on B after silence": "bbbb",
    "check on B while A has media": "baAa",
    "error on B": ".aAa",
    "stranger on B": ".aAa",
    "timeout": ".aAa",
    "media on A": ".aAa",
}

# The same inputs with credentials from before the restart: once the new ones have nominated, the
# old ones decide nothing.
PRODUCT_RESTARTED = {name: row[2] for name, row in PRODUCT.items()}
PRODUCT_RENEWED = dict.fromkeys(PRODUCT, "A")


def where(ice: IceLite) -> str:
    names = {A: "a", B: "b", C: "c", None: "."}
    name = names[ice.selected]
    return name.upper() if ice.nominated else name


def expected(state: str, given_input: str) -> str:
    match state:
        case "restarted":
            return PRODUCT_RESTARTED[given_input]
        case "renewed":
            return PRODUCT_RENEWED[given_input]
        case _:
            order = ("unselected", "provisional", "nominated", "taken over")
            return PRODUCT[given_input][order.index(state)]


@pytest.mark.parametrize(("state", "given_input"), [*product(STATES, INPUTS)])
def test_every_state_with_every_input(state: str, given_input: str) -> None:
    """STUN and ICE 5 and 7: what moves the session, and what does not."""
    ice = agent()
    STATES[state](ice)
    before = where(ice)
    events(ice)
    INPUTS[given_input](ice)
    assert where(ice) == expected(state, given_input)
    said = [event for event in events(ice) if isinstance(event, Selected)]
    assert (before != where(ice)) == bool(said)
    if said:
        assert ice.selected == said[-1].path
        assert said[-1].nominated == where(ice).isupper()


def test_every_state_and_input_is_written_down() -> None:
    assert set(PRODUCT) == set(INPUTS)
    assert all(len(row) == 4 for row in PRODUCT.values())


# --- nomination -----------------------------------------------------------------------------------


def test_the_first_check_is_enough_to_send() -> None:
    """Waiting for USE-CANDIDATE would cost a round trip: libwebrtc sets it from its second on."""
    ice = agent()
    answered(ice, check())
    assert events(ice) == [Validated(A), Selected(A, nominated=False)]
    answered(ice, check(nominate=True))
    assert events(ice) == [Selected(A, nominated=True)]
    answered(ice, check(nominate=True))
    assert events(ice) == []


def test_eager_nomination_ends_on_the_newest() -> None:
    """STUN and ICE 7: Firefox nominates every pair that answers."""
    ice = agent()
    for way in (A, B, C):
        answered(ice, check(nominate=True), way)
    assert ice.selected == C
    answered(ice, check(nominate=True), A, 0.1)
    assert ice.selected == A


def test_a_later_nomination_moves_the_session_any_time() -> None:
    """STUN and ICE 7: long after completion, from another port of the same host too."""
    ice = agent()
    answered(ice, check(nominate=True))
    events(ice)
    moved = path("192.0.2.1:1001")
    answered(ice, check(nominate=True), moved, 600.0)
    assert events(ice) == [Validated(moved), Selected(moved, nominated=True)]


def test_a_delayed_retransmission_does_not_nominate_again() -> None:
    """STUN and ICE 7: the network repeats an old nomination after a newer one."""
    ice, first = agent(), check(nominate=True)
    answered(ice, first, A)
    answered(ice, check(nominate=True), B)
    events(ice)
    assert answered(ice, first, A).message_class is stun.MessageClass.SUCCESS
    assert events(ice) == []
    assert ice.selected == B


def test_renomination_by_value() -> None:
    """STUN and ICE 7: the highest value wins, in whatever order it arrives."""
    ice = agent()
    answered(ice, check(value=1), A)
    assert ice.selected == A
    answered(ice, check(value=3), B)
    answered(ice, check(value=2, nominate=True), C)
    assert ice.selected == B
    answered(ice, check(value=3), A)
    assert ice.selected == A
    answered(ice, check(nominate=True), C)
    assert ice.selected == C
    answered(ice, check(value=2), B)
    assert ice.selected == C
    ice.restart(NEXT, NEXT_THEIRS, 1.0)
    answered(ice, renewed(nominate=True), B, 1.0)
    answered(ice, check(username=NEXT_USERNAME, key=NEXT_KEY, value=0), A, 1.0)
    assert ice.selected == A


def test_rebinding_of_a_client_that_nominates_once() -> None:
    """SRTP 3: media comes from the new address first; the next plain check there moves us."""
    ice = agent()
    answered(ice, check(nominate=True), A)
    events(ice)
    ice.note_media(B, 10.0)
    assert ice.selected == A
    assert not ice.is_validated(B)
    assert events(ice) == []
    answered(ice, check(), B, 12.4)
    assert events(ice) == [Validated(B), Selected(B, nominated=False)]


# --- a copied check -------------------------------------------------------------------------------


@pytest.mark.parametrize("nominate", [False, True])
def test_a_check_copied_to_another_address_is_dropped(nominate: bool) -> None:
    """STUN and ICE 5: whoever saw a check cannot move the session by repeating it."""
    ice, data = agent(), check(nominate=nominate)
    answered(ice, data, A)
    events(ice)
    assert refused(ice, data, B, 60.0) is Drop.ICE_COPIED
    refusal = raw((0x4000, b""), PRIORITY)
    answered(ice, refusal, A)
    assert refused(ice, refusal, B) is Drop.ICE_COPIED


def test_a_copy_is_known_by_what_the_client_signed() -> None:
    """STUN and ICE 5: what stands behind the integrity can be stripped, and changes nothing."""
    ice, data = agent(), check(nominate=True)
    answered(ice, data, A)
    events(ice)
    stripped = data[:2] + (len(data) - 28).to_bytes(2, "big") + data[4:-8]
    assert refused(ice, stripped, B) is Drop.ICE_COPIED


def test_one_transaction_id_for_everything_is_no_copy() -> None:
    """A client with poor randomness is served all the same."""
    ice, same = agent(), bytes(12)
    answered(ice, check(identifier=same), A)
    answered(ice, check(identifier=same, nominate=True), B)
    assert ice.selected == B
    assert ice.validated == 2


def test_remembered_requests_are_bounded() -> None:
    ice = agent(requests=4)
    first = check()
    answered(ice, first)
    for _ in range(4):
        answered(ice, check())
    events(ice)
    assert len(ice._requests) == 4
    assert answered(ice, first, B)


# --- pairs ----------------------------------------------------------------------------------------


def test_one_client_address_over_two_relay_addresses_is_two_pairs() -> None:
    """The client chooses among our candidates; a check on another one does not move it."""
    ice = agent()
    other = path("192.0.2.1:1000", proxy="203.0.113.2:3478", relay="10.0.0.2:9000")
    answered(ice, check(nominate=True), A)
    answered(ice, check(), other)
    assert ice.selected == A
    answered(ice, check(nominate=True), other)
    assert ice.selected == other


@pytest.mark.parametrize("by", ["check", "media"])
def test_a_restarted_relay_is_followed(by: str) -> None:
    """Packets go back through whichever relay last delivered something authentic of the pair."""
    ice = agent()
    answered(ice, check(nominate=True), A)
    answered(ice, check(), B)
    events(ice)
    again, aside = (evolve(way, relay=Address.parse("10.0.0.9:9")) for way in (A, B))
    if by == "check":
        answered(ice, check(), again)
        answered(ice, check(), aside)
    else:
        ice.note_media(again, 1.0)
        ice.note_media(aside, 1.0)
    assert events(ice) == [Selected(again, nominated=True)]
    assert ice.selected == again


def test_validated_pairs_are_bounded_and_the_one_in_use_stays() -> None:
    ice = agent(validated_paths=3)
    answered(ice, check(nominate=True), A)
    ways = [path(f"198.51.100.1:{port}") for port in range(1, 9)]
    for at, way in enumerate(ways):
        answered(ice, check(), way, at * 0.01)
    assert ice.selected == A
    assert [ice.is_validated(way) for way in (A, *ways)] == [True] + [False] * 6 + [True] * 2
    ice.note_media(ways[-2], 1.0)
    answered(ice, check(), B, 1.1)
    assert ice.is_validated(ways[-2])
    assert not ice.is_validated(ways[-1])


def test_a_bound_of_one_still_serves() -> None:
    ice = agent(validated_paths=1)
    for way in (A, B, C):
        answered(ice, check(nominate=True), way)
    assert ice.selected == C


def test_answers_that_nobody_fetches_are_bounded() -> None:
    ice = agent(pending=3)
    sent = [check() for _ in range(10)]
    for data in sent:
        ice.receive_stun(data, A, 0.0)
    assert [answer.data[8:20] for answer in pump(ice).transmits] == [d[8:20] for d in sent[-3:]]


def test_two_sessions_from_one_address_and_port() -> None:
    """STUN and ICE 9: neither hears the other's checks, neither ends with the other."""
    one = agent()
    other = IceLite(local=NEXT, remote=NEXT_THEIRS, limits=IceLimits())
    assert answered(one, check())
    assert answered(other, renewed())
    events(one)
    events(other)
    assert refused(one, renewed()) is Drop.ICE_UFRAG
    assert refused(other, check()) is Drop.ICE_UFRAG
    del one
    assert answered(other, renewed())


# --- restart --------------------------------------------------------------------------------------


def test_restart_on_the_same_five_tuple() -> None:
    """STUN and ICE 8: both sets of credentials are served from one address, then the new alone."""
    ice = agent(restart_overlap=30.0)
    answered(ice, check(nominate=True))
    ice.restart(NEXT, NEXT_THEIRS, 100.0)
    assert ice.local == NEXT
    assert ice.remote == NEXT_THEIRS
    assert ice.local_ufrags == (NEXT.ufrag, OURS.ufrag)
    assert ice.selected == A
    assert ice.next_timeout() == 130.0
    assert answered(ice, check(), A, 101.0).verify_integrity(KEY)
    assert answered(ice, renewed(nominate=True), A, 102.0).verify_integrity(NEXT_KEY)
    events(ice)
    ice.handle_timeout(129.9)
    assert events(ice) == []
    ice.handle_timeout(130.0)
    assert events(ice) == [CredentialsExpired(OURS.ufrag)]
    assert ice.next_timeout() is None
    assert ice.local_ufrags == (NEXT.ufrag,)
    assert refused(ice, check(), A, 131.0) is Drop.ICE_UFRAG
    assert answered(ice, renewed(), A, 131.0)


def test_credentials_do_not_mix_across_a_restart() -> None:
    """STUN and ICE 8: ufrag and password change together, on both sides."""
    ice = agent()
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    mixed = check(username=NEXT.ufrag + b":" + THEIRS.ufrag, key=NEXT_KEY)
    assert refused(ice, mixed) is Drop.ICE_PEER_UFRAG
    mixed = check(username=OURS.ufrag + b":" + NEXT_THEIRS.ufrag)
    assert refused(ice, mixed) is Drop.ICE_PEER_UFRAG
    assert refused(ice, check(username=NEXT_USERNAME)) is Drop.ICE_INTEGRITY
    assert refused(ice, check(key=NEXT_KEY)) is Drop.ICE_INTEGRITY


def test_stale_credentials_are_refused_even_if_the_timer_is_late() -> None:
    ice = agent(restart_overlap=1.0)
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    assert not ice.receive_stun(check(), A, 1.0)
    assert events(ice) == [CredentialsExpired(OURS.ufrag), Dropped(Drop.ICE_UFRAG)]


def test_a_second_restart_ends_the_overlap_of_the_first() -> None:
    ice = agent()
    third = Credentials(b"2aaaaaaaaaaaaaaaaaaaaaaaaa", b"t" * 32)
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    ice.restart(third, THEIRS, 1.0)
    assert events(ice) == [CredentialsExpired(OURS.ufrag)]
    assert ice.local_ufrags == (third.ufrag, NEXT.ufrag)


def test_a_restart_needs_a_fresh_ufrag() -> None:
    """STUN and ICE 8: a new password under the old ufrag would be ambiguous."""
    ice = agent()
    with pytest.raises(ValueError, match="fresh"):
        ice.restart(Credentials(OURS.ufrag, b"other"), NEXT_THEIRS, 0.0)
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    with pytest.raises(ValueError, match="fresh"):
        ice.restart(OURS, THEIRS, 0.0)


def test_the_new_generation_decides_once_it_has_nominated() -> None:
    ice = agent()
    answered(ice, check(nominate=True), A)
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    answered(ice, renewed(), B)
    assert ice.selected == A
    answered(ice, check(nominate=True), C)
    assert ice.selected == C
    answered(ice, renewed(nominate=True), B)
    assert ice.selected == B
    answered(ice, check(nominate=True), A)
    assert ice.selected == B


def test_before_any_check_a_restart_changes_only_the_credentials() -> None:
    ice = agent()
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    answered(ice, renewed())
    assert events(ice) == [Validated(A), Selected(A, nominated=False)]


def test_passwords_are_not_shown() -> None:
    assert "p" * 32 not in repr(OURS)
