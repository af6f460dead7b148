"""Fragments of SDP: what only trickles, what restarts ICE, and what is neither."""

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiating import FRESH, LOCAL, PLAIN, PWD, SHA256, answer_to, changed
from sdp_strategies import OFFERS, spoilt_offers
from transceiver.config import SdpLimits
from transceiver.errors import OfferError
from transceiver.ice import Credentials
from transceiver.negotiation import (
    Negotiated,
    is_restart,
    is_restart_by,
    parse_fragment_untrusted,
    renegotiate,
    restart_by,
)
from transceiver.sdp import parse_untrusted

NEW = "a=ice-ufrag:efgh\na=ice-pwd:VuTsRqPoNmLkJiHgFeDcBa\n"
OURS = f"a=ice-ufrag:abcd\na=ice-pwd:{PWD}\n"
CANDIDATE = "a=candidate:1 1 udp 2113937151 192.0.2.9 50000 typ host\n"
SECTION = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\n"
RESTART = f"a=ice-options:trickle ice2\na=group:BUNDLE 0\n{SECTION}{NEW}{CANDIDATE}"
DATA = f"""v=0
o=- 1 2 IN IP4 192.0.2.9
s=-
t=0 0
a=group:BUNDLE d
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=mid:d
{OURS}a=fingerprint:sha-256 {SHA256}
a=setup:actpass
a=sctp-port:5000
"""


def restarts(text: str, settled: Negotiated) -> bool:
    return is_restart_by(settled, parse_fragment_untrusted(text))


# --- what only trickles ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        SECTION + CANDIDATE,
        SECTION + "a=end-of-candidates\n",
        SECTION + OURS + CANDIDATE,
        OURS + SECTION + CANDIDATE,
        OURS + SECTION + "a=candidate:broken\n",
        CANDIDATE,
        f"m=video 9 X 1\na=mid:v\n{NEW}{SECTION}{OURS}{CANDIDATE}",
    ],
)
def test_candidates_restart_nothing(text: str) -> None:
    """STUN and ICE 11: candidates are not even read."""
    settled = answer_to(PLAIN)
    for ending in ("\n", "\r\n"):
        fragment = parse_fragment_untrusted(text.replace("\n", ending))
        assert not is_restart_by(settled, fragment)
        with pytest.raises(OfferError, match="restarts nothing"):
            restart_by(settled, fragment, FRESH)


# --- what restarts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        RESTART,
        SECTION + NEW,
        NEW + SECTION + CANDIDATE,
        NEW,
        SECTION + NEW + "x=nobody\na=knows:this\n",
        SECTION + f"a=ice-ufrag:efgh\na=ice-pwd:{PWD}\n",
        SECTION + f"a=ice-ufrag:abcd\na=ice-pwd:{PWD[::-1]}\n",
        f"m=video 9 X 1\na=mid:v\n{OURS}{SECTION}{NEW}",
        "v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\n" + SECTION + NEW,
    ],
)
def test_new_credentials_restart_ice(text: str) -> None:
    """STUN and ICE 8: either alone is enough, as in an offer."""
    settled = answer_to(PLAIN)
    assert restarts(text, settled)
    fragment = parse_fragment_untrusted(text)
    again, answer = restart_by(settled, fragment, FRESH)
    assert again.restarted
    assert again.local == FRESH
    assert again.remote == fragment.credentials(["0"]) != settled.remote
    same = evolve(again, local=LOCAL, remote=settled.remote, restarted=False, answer=settled.answer)
    assert same == settled
    assert again.answer.media == ()
    assert not restarts(text, again)
    assert f"a=ice-ufrag:{FRESH.ufrag}\r\n" in answer


def test_the_answer_line_by_line() -> None:
    settled = answer_to(PLAIN)
    _, answer = restart_by(settled, parse_fragment_untrusted(RESTART), FRESH)
    assert answer.split("\r\n") == [
        "a=ice-lite",
        "a=ice-options:ice2",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=mid:0",
        "a=ice-ufrag:" + FRESH.ufrag,
        "a=ice-pwd:" + FRESH.password,
        "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 3478 typ host",
        "a=end-of-candidates",
        "",
    ]
    assert parse_fragment_untrusted(answer).credentials(["0"]) == Credentials(
        FRESH.ufrag.encode(), FRESH.password.encode()
    )


def test_the_answer_for_data_alone() -> None:
    settled = answer_to(DATA)
    text = changed("audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0", "application 9 X 1\na=mid:d", SECTION)
    _, answer = restart_by(settled, parse_fragment_untrusted(text + NEW), FRESH)
    assert answer.split("\r\n")[:5] == [
        "a=ice-lite",
        "a=ice-options:ice2",
        "a=group:BUNDLE d",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:d",
    ]


@pytest.mark.parametrize(("group", "kind"), [("0 d", "audio"), ("d 0", "application")])
def test_the_answer_names_the_section_whose_transport_it_is(group: str, kind: str) -> None:
    data = DATA[DATA.index("m=") :]
    settled = answer_to(changed("BUNDLE 0\n", f"BUNDLE {group}\n") + data)
    assert settled.data is not None
    for mid in ("0", "d"):
        text = f"m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:{mid}\n{NEW}"
        _, answer = restart_by(settled, parse_fragment_untrusted(text), FRESH)
        assert f"a=group:BUNDLE {group}\r\nm={kind} 9 " in answer
        assert answer.count("m=") == 1
        assert f"a=mid:{group[0]}\r\n" in answer


def test_a_call_without_mids() -> None:
    settled = answer_to(changed("a=mid:0\n", ""))
    for text in (NEW, "m=audio 9 UDP/TLS/RTP/SAVPF 0\n" + NEW):
        _, answer = restart_by(settled, parse_fragment_untrusted(text), FRESH)
        assert "mid" not in answer
        assert "group" not in answer
        assert answer.split("\r\n")[2] == "m=audio 9 UDP/TLS/RTP/SAVPF 111"


def test_offers_and_fragments_take_turns() -> None:
    first = answer_to(PLAIN)
    second, _ = restart_by(first, parse_fragment_untrusted(RESTART), FRESH)
    with_new = changed(OURS, NEW)
    assert not is_restart(second, parse_untrusted(with_new))
    third = renegotiate(second, parse_untrusted(with_new), LOCAL)
    assert not third.restarted
    assert third.version == 2
    assert third.local == FRESH
    assert is_restart(third, parse_untrusted(PLAIN))
    assert restarts(OURS, third)


def test_secrets_do_not_show() -> None:
    assert PWD not in repr(parse_fragment_untrusted(OURS))


# --- what is neither ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "a line is"),
        ("\r\n", 1, "a line is"),
        ("hello", 1, "a line is"),
        ("{}", 1, "a line is"),
        (SECTION, None, "neither credentials nor candidates"),
        ("a=group:BUNDLE 0\n", None, "neither credentials nor candidates"),
        (SECTION + "a=ice-ufrag:efgh\nnonsense\n", 4, "a line is"),
        ("m=audio\n" + NEW, 1, "an m= line"),
        ("m=audio 65536 X 1\n" + NEW, 1, "port"),
        ("\udc80", None, "not valid Unicode"),
    ],
)
def test_what_is_no_fragment(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(OfferError, match=problem) as caught:
        parse_fragment_untrusted(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (SECTION + "a=ice-ufrag:efgh\n", None, "ice-pwd is missing"),
        (SECTION + f"a=ice-pwd:{PWD}\n", None, "ice-ufrag is missing"),
        (SECTION + changed("efgh", "abc", NEW), 3, "ice-ufrag has"),
        (SECTION + changed("efgh", "ab cd", NEW), 3, "ice-ufrag holds"),
        (SECTION + changed("VuTs", "", NEW), 4, "ice-pwd has"),
        (SECTION + changed("VuTs", "V" * 250, NEW), 4, "ice-pwd has"),
        ("m=audio 9 X 1\na=mid:7\n" + NEW, 1, "names no section that was agreed on"),
        ("m=audio 9 X 1\n" + NEW, 1, "names no section that was agreed on"),
    ],
)
def test_what_cannot_be_acted_on(text: str, line: int | None, problem: str) -> None:
    settled = answer_to(PLAIN)
    fragment = parse_fragment_untrusted(text)
    for act in (
        lambda: is_restart_by(settled, fragment),
        lambda: restart_by(settled, fragment, FRESH),
    ):
        with pytest.raises(OfferError, match=problem) as caught:
            act()
        assert caught.value.line == line


def test_a_fragment_is_bounded_as_an_offer_is() -> None:
    limits = SdpLimits()
    for text in (
        "a=x\n" * (limits.lines + 1),
        "a=" + "x" * limits.size,
        "m=audio 9 X 1\n" * (limits.sections + 1),
    ):
        with pytest.raises(OfferError, match=r"longer|more than"):
            parse_fragment_untrusted(text)


@given(spoilt_offers(), st.sampled_from(sorted(OFFERS)))
@settings(max_examples=100)
def test_anything_is_acted_on_or_refused(text: str, name: str) -> None:
    settled = answer_to(OFFERS[name])
    try:
        fragment = parse_fragment_untrusted(text)
        restart = is_restart_by(settled, fragment)
    except OfferError:
        return
    if restart:
        again, answer = restart_by(settled, fragment, FRESH)
        assert again.remote != settled.remote
        assert parse_fragment_untrusted(answer).mids == again.group[:1]
