"""Later offers of one call: ICE restarts, holds, additions, and what they may not touch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiating import FRESH, LOCAL, PLAIN, PWD, answer_to, attribute, changed, check
from sdp_strategies import OFFERS, spoilt_offers
from transceiver.dtls import Role
from transceiver.errors import OfferError
from transceiver.negotiation import Direction, Negotiated, is_restart, renegotiate
from transceiver.sdp import parse_untrusted


def again(first: str, second: str) -> Negotiated:
    offer = parse_untrusted(second)
    settled = renegotiate(answer_to(first), offer, FRESH)
    check(offer, settled)
    return settled


def refused_again(second: str, line: int | None, problem: str, first: str = PLAIN) -> None:
    settled = answer_to(first)
    with pytest.raises(OfferError, match=problem) as caught:
        renegotiate(settled, parse_untrusted(second), FRESH)
    assert caught.value.line == line


def test_the_same_offer_again_changes_the_version_alone() -> None:
    first = answer_to(PLAIN)
    second = again(PLAIN, PLAIN)
    assert not second.restarted
    assert second.version == 2
    assert second.local == LOCAL
    assert str(second.answer) == str(first.answer).replace(f"{2**62} 1 IN", f"{2**62} 2 IN")
    third = renegotiate(second, parse_untrusted(PLAIN), FRESH)
    assert third.answer.origin.version == 3


@pytest.mark.parametrize(
    "changes",
    [
        [("ufrag:abcd", "ufrag:efgh")],
        [(PWD, PWD[::-1])],
        [("ufrag:abcd", "ufrag:efgh"), (PWD, PWD[::-1])],
    ],
)
def test_ufrag_or_password_alone_restart_ice(changes: list[tuple[str, str]]) -> None:
    """STUN and ICE 8: either alone, or both."""
    text = PLAIN
    for old, new in changes:
        text = changed(old, new, text)
    first = answer_to(PLAIN)
    assert is_restart(first, parse_untrusted(text))
    assert not is_restart(first, parse_untrusted(PLAIN))
    second = again(PLAIN, text)
    assert second.restarted
    assert second.local == FRESH
    assert attribute(second, "ice-ufrag") == FRESH.ufrag
    assert attribute(second, "ice-pwd") == FRESH.password
    assert second.remote != first.remote
    assert (second.role, second.fingerprints) == (first.role, first.fingerprints)


def test_the_association_keeps_its_name_and_so_does_the_client_s() -> None:
    """RFC 8842, 5.3: over a restart of ICE too; another name would ask for another association."""
    first = PLAIN + "a=tls-id:0123456789abcdefABCD\n"
    later = changed("ufrag:abcd", "ufrag:efgh", first)
    for text in (first, later):
        assert attribute(again(first, text), "tls-id") == attribute(answer_to(first), "tls-id")
    assert attribute(again(first, PLAIN), "tls-id") is None
    added = again(PLAIN, later)
    assert attribute(added, "tls-id") == answer_to(PLAIN).tls_id
    refused_again(changed("id:0123", "id:3210", first), 6, "tls-id changed", first=first)


def test_a_later_offer_may_put_on_hold_and_add_sections() -> None:
    text = changed("a=sendrecv", "a=inactive") + "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\n"
    second = again(PLAIN, text)
    assert second.direction is Direction.INACTIVE
    assert second.sections == 2
    refused_after = parse_untrusted(PLAIN)
    with pytest.raises(OfferError, match="fewer than the 2 media sections"):
        renegotiate(second, refused_after, FRESH)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("m=audio 9", "m=audio 0", 6, "no longer here"),
        ("m=audio", "m=video", 6, "no longer here"),
        ("a=mid:0", "a=mid:1", 6, "no longer here"),
        ("a=mid:0\n", "", 6, "no longer here"),
        ("SAVPF 111 0 8", "SAVPF 0 8", 6, "codec agreed on"),
        ("rtpmap:111 opus", "rtpmap:111 red", 6, "codec agreed on"),
        ("sha-256 5A", "sha-256 5B", 6, "fingerprint changed"),
        ("setup:actpass", "setup:active", 12, "roles changed"),
        ("a=setup:actpass\n", "", 6, "roles changed"),
        ("setup:actpass", "setup:holdconn", 12, "holdconn"),
        ("a=rtcp-mux\n", "", 6, "rtcp-mux"),
        ("a=ice-ufrag:abcd\n", "", 6, "ice-ufrag"),
        ("UDP/TLS/RTP/SAVPF", "UDP/TLS/UDPTL", 6, "RTP over DTLS"),
        ("t=0 0\n", "t=0 0\na=ice-lite\n", 5, "ice-lite"),
    ],
)
def test_what_a_later_offer_may_not_change(old: str, new: str, line: int, problem: str) -> None:
    refused_again(changed(old, new), line, problem)


def test_another_number_beside_does_not_move_the_codec() -> None:
    text = changed("SAVPF 111", "SAVPF 96 111") + "a=rtpmap:96 opus/48000/2\n"
    assert again(PLAIN, text).codec.payload_type == 111


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("actpass", "passive", Role.CLIENT),
        ("passive", "actpass", Role.CLIENT),
        ("active", "actpass", Role.SERVER),
        ("active", "active", Role.SERVER),
    ],
)
def test_the_role_stays(first: str, second: str, kept: Role) -> None:
    settled = again(changed("actpass", first), changed("actpass", second))
    assert settled.role is kept


def test_a_role_cannot_turn() -> None:
    text = changed("actpass", "passive")
    refused_again(text, 12, "roles changed", first=changed("actpass", "active"))


def test_a_lost_section_is_no_restart_but_an_error() -> None:
    video = "m=video 9 RTP/AVP 96\na=mid:v\nm=audio"
    first = answer_to(changed("m=audio", video))
    for offer in (parse_untrusted(PLAIN), parse_untrusted(PLAIN.partition("m=")[0])):
        with pytest.raises(OfferError):
            is_restart(first, offer)
        with pytest.raises(OfferError):
            renegotiate(first, offer, FRESH)


@given(spoilt_offers(), st.sampled_from(sorted(OFFERS)))
@settings(max_examples=100)
def test_spoilt_later_offers_are_answered_or_refused(text: str, name: str) -> None:
    first = answer_to(OFFERS[name])
    try:
        offer = parse_untrusted(text)
        settled = renegotiate(first, offer, FRESH)
    except OfferError:
        return
    check(offer, settled)
    assert settled.version == 2
