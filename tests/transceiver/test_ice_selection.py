"""The lite agent: which way it sends, in every state and after every input."""

from collections.abc import Callable
from itertools import product

import pytest
from attrs import evolve

from checking import (
    KEY,
    NEXT,
    NEXT_KEY,
    NEXT_THEIRS,
    NEXT_USERNAME,
    OURS,
    PRIORITY,
    THEIRS,
    A,
    B,
    C,
    agent,
    answered,
    check,
    events,
    path,
    raw,
    refused,
    renewed,
)
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
    assert answered(ice, first, A, again=True).message_class is stun.MessageClass.SUCCESS
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
    """STUN and ICE 8: ufrag and password change together."""
    ice = agent()
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
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


def test_a_restart_does_not_turn_the_roles() -> None:
    """RFC 8445, 9: a lite agent stays controlled, whatever the client makes of the occasion."""
    ice = agent()
    answered(ice, check(nominate=True))
    ice.restart(NEXT, NEXT_THEIRS, 0.0)
    turned = check(username=NEXT_USERNAME, key=NEXT_KEY, controlled=1)
    refusal = answered(ice, turned)
    assert refusal.error_code is not None
    assert refusal.error_code[0] == 487
    assert answered(ice, renewed(nominate=True)).message_class is stun.MessageClass.SUCCESS


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
