"""Sections for data channels: beside audio in any place, alone, in old forms, and as none."""

import re

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiating import (
    FRESH,
    LOCAL,
    PWD,
    SHA256,
    VOICE_ALONE,
    answer_to,
    changed,
    check,
)
from transceiver.dtls import Fingerprint, Role
from transceiver.errors import OfferError
from transceiver.negotiation import (
    DataChoice,
    Direction,
    Negotiated,
    is_restart,
    negotiate,
    renegotiate,
)
from transceiver.sdp import parse_untrusted

HEAD = "v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\nt=0 0\n"
CREDENTIALS = f"a=ice-ufrag:abcd\na=ice-pwd:{PWD}\n"
TRANSPORT = f"{CREDENTIALS}a=fingerprint:sha-256 {SHA256}\na=setup:actpass\n"
DATA = f"""m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
{TRANSPORT}a=mid:d
a=sctp-port:5000
a=max-message-size:100000
"""
AUDIO = (
    f"m=audio 9 UDP/TLS/RTP/SAVPF 111\n{TRANSPORT}a=mid:0\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n"
)
OLD = f"""m=application 9 DTLS/SCTP 4999
c=IN IP4 0.0.0.0
{TRANSPORT}a=mid:d
a=sctpmap:4999 webrtc-datachannel 1024
"""
ALONE = f"{HEAD}a=group:BUNDLE d\n{DATA}"
BOTH = f"{HEAD}a=group:BUNDLE 0 d\n{AUDIO}{DATA}"


def section(settled: Negotiated) -> list[str]:
    """The data section's lines."""
    assert settled.data is not None
    media = settled.answer.media[settled.data.section]
    return [str(line) for line in (media.head(), *media.lines)]


def refused(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(OfferError, match=problem) as caught:
        negotiate(parse_untrusted(text), LOCAL)
    assert caught.value.line == line


# --- the whole answer -----------------------------------------------------------------------------


def test_the_answer_to_data_alone_line_by_line() -> None:
    digest = bytes(range(32)).hex(":").upper()
    settled = answer_to(ALONE)
    assert str(settled.answer).split("\r\n") == [
        "v=0",
        f"o=- {2**62} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE d",
        "a=ice-lite",
        "a=ice-options:ice2",
        "m=application 3478 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 192.0.2.1",
        "a=ice-ufrag:" + LOCAL.ufrag,
        "a=ice-pwd:" + LOCAL.password,
        "a=fingerprint:sha-256 " + digest,
        "a=setup:active",
        "a=mid:d",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 3478 typ host",
        "a=end-of-candidates",
        "",
    ]
    assert (settled.section, settled.codec, settled.mid) == (None, None, None)
    assert settled.direction is Direction.INACTIVE
    assert settled.data == DataChoice("d", 0, 5000, 100000)
    assert settled.role is Role.CLIENT
    assert settled.remote.ufrag == b"abcd"
    assert settled.fingerprints == (Fingerprint("sha-256", b"\x5a" * 32),)
    assert settled.remote_ssrcs == ()
    assert settled.sections == 1


@pytest.mark.parametrize("group", ["0 d", "d 0"])
@pytest.mark.parametrize("first", ["audio", "data"])
def test_the_candidates_stand_where_the_group_begins(group: str, first: str) -> None:
    """RFC 9143, 7.3.1: the first that the group names, in whichever order the sections are."""
    sections = [AUDIO, DATA] if first == "audio" else [DATA, AUDIO]
    settled = answer_to(f"{HEAD}a=group:BUNDLE {group}\n{''.join(sections)}")
    assert settled.group == tuple(group.split(" "))
    assert settled.section == (0 if first == "audio" else 1)
    assert settled.data == DataChoice("d", 1 if first == "audio" else 0, 5000, 100000)
    described = [media.mid for media in settled.answer.media if media.has("candidate")]
    assert described == [settled.group[0]]
    assert {media.port for media in settled.answer.media} == {3478}
    assert {str(media.lines[0]) for media in settled.answer.media} == {"c=IN IP4 192.0.2.1"}


@pytest.mark.parametrize(("group", "expected"), [("0 d", b"abcd"), ("d 0", b"efgh")])
def test_the_transport_that_stays_is_the_one_whose_credentials_count(
    group: str, expected: bytes
) -> None:
    """Who bundles at the answer's word offers each section with a transport of its own."""
    data = changed("ufrag:abcd", "ufrag:efgh", changed("sha-256 5A", "sha-256 5B", DATA))
    data = changed("actpass", "active", data)
    settled = answer_to(f"{HEAD}a=group:BUNDLE {group}\n{AUDIO}{data}")
    assert settled.remote.ufrag == expected
    assert settled.role is (Role.CLIENT if group == "0 d" else Role.SERVER)
    assert settled.fingerprints[0].digest[0] == (0x5A if group == "0 d" else 0x5B)


@pytest.mark.parametrize("transport", [TRANSPORT, ""])
def test_a_bundle_only_section_has_no_transport_to_stay(transport: str) -> None:
    """RFC 9143, 7.2.1: such a section must not begin a group; with the one before it rejected, it
    would, and the audio does."""
    video = f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\n{TRANSPORT}"
    data = changed("m=application 9", "m=application 0", DATA).replace(TRANSPORT, transport)
    text = f"{HEAD}a=group:BUNDLE v d 0\n{video}{data}a=bundle-only\n{AUDIO}"
    settled = answer_to(text)
    assert settled.group == ("0", "d")
    assert settled.data == DataChoice("d", 1, 5000, 100000)


def test_bundle_only_data_counts_within_a_group_alone() -> None:
    text = changed("m=application 9", "m=application 0", BOTH) + "a=bundle-only\n"
    assert answer_to(text).data is not None
    assert answer_to(changed("a=group:BUNDLE 0 d\n", "", text)).data is None
    assert answer_to(changed("a=bundle-only\n", "", text)).data is None


def test_what_stands_at_session_level_or_where_the_group_begins_counts_for_data() -> None:
    bare = DATA.replace(TRANSPORT, "")
    for text in (f"{HEAD}{TRANSPORT}{bare}", f"{HEAD}a=group:BUNDLE 0 d\n{AUDIO}{bare}"):
        settled = answer_to(text)
        assert settled.data is not None
        assert settled.remote.ufrag == b"abcd"


@pytest.mark.parametrize("group", ["", "a=group:BUNDLE d\n"])
def test_data_alone_needs_no_group(group: str) -> None:
    settled = answer_to(HEAD + group + DATA)
    assert settled.group == (("d",) if group else ())
    assert settled.answer.has("group") == bool(group)


def test_data_alone_needs_no_mid() -> None:
    settled = answer_to(HEAD + changed("a=mid:d\n", "", DATA))
    assert settled.data == DataChoice(None, 0, 5000, 100000)
    assert "mid" not in str(settled.answer)


# --- what is rejected -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "group", ["", "a=group:BUNDLE 0\n", "a=group:BUNDLE 0\na=group:BUNDLE d\n", "a=group:LS 0 d\n"]
)
def test_data_on_a_transport_of_its_own_is_rejected_and_audio_taken(group: str) -> None:
    settled = answer_to(HEAD + group + AUDIO + DATA)
    assert settled.section == 0
    assert settled.data is None
    assert [media.port for media in settled.answer.media] == [3478, 0]
    assert "d" not in settled.group


def test_data_that_nobody_reads_may_say_anything() -> None:
    spoilt = changed("sctp-port:5000", "sctp-port:x", DATA)
    assert answer_to(HEAD + AUDIO + spoilt).data is None
    assert answer_to(f"{HEAD}a=group:BUNDLE 0 d\n{AUDIO}{spoilt}", VOICE_ALONE).data is None


def test_who_takes_no_data_answers_as_if_it_were_any_other_section() -> None:
    settled = answer_to(BOTH, VOICE_ALONE)
    assert settled.data is None
    assert settled.group == ("0",)
    with pytest.raises(OfferError, match="no audio section, and none for data"):
        negotiate(parse_untrusted(ALONE), VOICE_ALONE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m=application 9", "m=application 0"),
        ("m=application", "m=Application"),
        ("UDP/DTLS/SCTP", "UDP/DTLS/SCTPX"),
        ("UDP/DTLS/SCTP", "SCTP/DTLS"),
        ("UDP/DTLS/SCTP", "udp/dtls/sctp"),
        ("webrtc-datachannel", "bfcp"),
        ("sctp-port:5000", "sctp-port:0"),
        ("a=sctp-port:5000\n", ""),
    ],
)
def test_sections_that_are_not_for_data_channels(old: str, new: str) -> None:
    """Rejected beside audio; alone there is nothing to answer."""
    settled = answer_to(changed(old, new, BOTH))
    assert settled.data is None
    assert settled.section == 0
    refused(changed(old, new, ALONE), None, "none for data channels")


def test_the_first_of_several_data_sections_is_taken() -> None:
    other = changed("mid:d", "mid:e", DATA)
    settled = answer_to(f"{HEAD}a=group:BUNDLE 0 d e\n{AUDIO}{DATA}{other}")
    assert settled.data == DataChoice("d", 1, 5000, 100000)
    text = f"{HEAD}a=group:BUNDLE 0 d e\n{AUDIO}{changed('sctp-port:5000', 'sctp-port:0', DATA)}"
    assert answer_to(text + other).data == DataChoice("e", 2, 5000, 100000)


def test_audio_of_which_nothing_can_be_taken_is_an_error_whatever_stands_beside() -> None:
    refused(changed("SAVPF 111", "SAVPF 9", BOTH), 6, "no codec in common")
    settled = answer_to(changed("m=audio 9", "m=audio 0", changed("0 d", "d", BOTH)))
    assert settled.section is None
    assert settled.data == DataChoice("d", 1, 5000, 100000)


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
def test_what_must_be_there_for_data_alone(name: str) -> None:
    refused(re.sub(f"a={name}:.*\n", "", ALONE), 6, name)


def test_a_data_mid_is_a_token() -> None:
    refused(changed("a=mid:d", "a=mid:d e", ALONE), 12, "token")
    refused(changed("mid:d", "mid:é", changed("BUNDLE 0 d", "BUNDLE 0 é", BOTH)), 20, "token")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, 4999, 65535])
def test_the_client_s_port_is_its_own(value: int) -> None:
    settled = answer_to(changed("sctp-port:5000", f"sctp-port:{value}", ALONE))
    assert settled.data is not None
    assert settled.data.port == value


@pytest.mark.parametrize("value", ["", "-1", "65536", "9" * 5000, "٣", "1e3", "5000 1", "0x10"])
def test_a_port_is_a_number(value: str) -> None:
    refused(changed("sctp-port:5000", f"sctp-port:{value}", ALONE), 13, "SCTP port")


@pytest.mark.parametrize("value", [0, 1, 65536, 262144, 1073741823, 2**63, 2**64 - 1])
def test_the_longest_message_is_the_client_s_to_say(value: int) -> None:
    """SCTP 2: 0 is any size."""
    settled = answer_to(changed("size:100000", f"size:{value}", BOTH))
    assert settled.data is not None
    assert settled.data.max_message_size == value


def test_without_a_word_it_is_64_kib() -> None:
    """SCTP 2, RFC 8841, 6.1."""
    settled = answer_to(changed("a=max-message-size:100000\n", "", ALONE))
    assert settled.data is not None
    assert settled.data.max_message_size == 65536


@pytest.mark.parametrize("value", ["", "-1", str(2**64), "9" * 5000, "٣", "1e3", "1 2", "lots"])
def test_a_size_is_a_number(value: str) -> None:
    refused(changed("size:100000", f"size:{value}", ALONE), 14, "longest message")


def test_our_longest_message_is_announced() -> None:
    """SCTP 2."""
    local = evolve(LOCAL, max_message_size=70000)
    assert "a=max-message-size:70000" in section(answer_to(BOTH, local))


# --- other forms ----------------------------------------------------------------------------------


def test_tcp_in_the_protocol_s_name_is_mirrored() -> None:
    settled = answer_to(changed("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", BOTH))
    assert section(settled)[0] == "m=application 3478 TCP/DTLS/SCTP webrtc-datachannel"


def test_the_drafts_form() -> None:
    settled = answer_to(HEAD + OLD)
    assert settled.data == DataChoice("d", 0, 4999, 65536)
    lines = section(settled)
    assert lines[0] == "m=application 3478 DTLS/SCTP 5000"
    assert "a=sctpmap:5000 webrtc-datachannel 1024" in lines
    sized = answer_to(HEAD + OLD + "a=max-message-size:1000\n")
    assert sized.data == DataChoice("d", 0, 4999, 1000)
    beside = answer_to(f"{HEAD}a=group:BUNDLE 0 d\n{AUDIO}{OLD}")
    assert beside.data == DataChoice("d", 1, 4999, 65536)


def test_the_drafts_form_without_the_streams() -> None:
    assert answer_to(HEAD + changed(" 1024", "", OLD)).data == DataChoice("d", 0, 4999, 65536)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=sctpmap:4999 webrtc-datachannel 1024\n", ""),
        ("sctpmap:4999", "sctpmap:5000"),
        ("DTLS/SCTP 4999", "DTLS/SCTP webrtc-datachannel"),
        (" webrtc-datachannel", " bfcp"),
        ("4999", "0"),
    ],
)
def test_the_drafts_form_for_something_else(old: str, new: str) -> None:
    refused(HEAD + changed(old, new, OLD), None, "none for data channels")


@pytest.mark.parametrize(
    "value", ["", "4999", "x webrtc-datachannel", "65536 a", "1 a 65536", "1 a 2 3"]
)
def test_an_sctpmap_has_its_form(value: str) -> None:
    refused(HEAD + changed("4999 webrtc-datachannel 1024", value, OLD), 12, "sctpmap|SCTP|streams")


# --- later offers ---------------------------------------------------------------------------------


def again(first: str, second: str) -> Negotiated:
    offer = parse_untrusted(second)
    settled = renegotiate(answer_to(first), offer, FRESH)
    check(offer, settled)
    return settled


@pytest.mark.parametrize("text", [ALONE, BOTH, HEAD + OLD])
def test_the_same_offer_again_changes_the_version_alone(text: str) -> None:
    first, second = answer_to(text), again(text, text)
    assert not second.restarted
    assert second == evolve(first, version=2, answer=second.answer)
    assert str(second.answer) == str(first.answer).replace(f"{2**62} 1 IN", f"{2**62} 2 IN")


@pytest.mark.parametrize("text", [ALONE, BOTH])
def test_ice_restarts_under_data(text: str) -> None:
    later = changed("ufrag:abcd", "ufrag:efgh", text)
    assert is_restart(answer_to(text), parse_untrusted(later))
    second = again(text, later)
    assert second.restarted
    assert second.local == FRESH
    assert second.data == answer_to(text).data


def test_a_later_offer_may_add_data() -> None:
    """Also where the section was rejected before, for want of a group or at port 0."""
    alone = f"{HEAD}a=group:BUNDLE 0\n{AUDIO}"
    for first in (alone, alone + DATA, alone + changed("n 9 UDP", "n 0 UDP", DATA)):
        assert answer_to(first).data is None
        second = again(first, BOTH)
        assert second.data == DataChoice("d", 1, 5000, 100000)
        assert second.group == ("0", "d")
        assert not second.restarted


def test_data_added_in_front_of_the_group_does_not_take_the_transport_over() -> None:
    first = f"{HEAD}a=group:BUNDLE 0\n{AUDIO}"
    second = again(first, changed("BUNDLE 0 d", "BUNDLE d 0", BOTH))
    assert second.group == ("0", "d")
    assert second.data == DataChoice("d", 1, 5000, 100000)


def test_a_later_offer_adds_no_data_where_none_is_taken() -> None:
    first = answer_to(f"{HEAD}a=group:BUNDLE 0\n{AUDIO}", VOICE_ALONE)
    second = renegotiate(first, parse_untrusted(BOTH), evolve(FRESH, data=False))
    check(parse_untrusted(BOTH), second)
    assert second.data is None


@pytest.mark.parametrize("group", ["d", "d 0"])
def test_a_later_offer_adds_no_audio_to_data(group: str) -> None:
    second = again(ALONE, f"{HEAD}a=group:BUNDLE {group}\n{DATA}{AUDIO}")
    assert second.section is None
    assert second.group == ("d",)
    assert [media.port for media in second.answer.media] == [3478, 0]


def test_the_longest_message_may_change() -> None:
    second = again(BOTH, changed("size:100000", "size:5", BOTH))
    assert second.data == DataChoice("d", 1, 5000, 5)


CHANGES = [
    ("n 9 UDP", "n 0 UDP", "data section agreed on is no longer here"),
    ("m=application", "m=video", "data section agreed on is no longer here"),
    ("a=mid:d", "a=mid:x", "data section agreed on is no longer here"),
    ("a=mid:d\n", "", "data section agreed on is no longer here"),
    ("sctp-port:5000", "sctp-port:0", "data section agreed on is no longer here"),
    ("a=sctp-port:5000\n", "", "data section agreed on is no longer here"),
    ("UDP/DTLS/SCTP", "XXX/DTLS/SCTP", "data section agreed on is no longer here"),
    ("sctp-port:5000", "sctp-port:5001", "SCTP port changed"),
]


@pytest.mark.parametrize("text", [ALONE, BOTH])
@pytest.mark.parametrize(("old", "new", "problem"), CHANGES)
def test_what_a_later_offer_may_not_change(text: str, old: str, new: str, problem: str) -> None:
    later = parse_untrusted(changed(old, new, text))
    settled = answer_to(text)
    assert settled.data is not None
    with pytest.raises(OfferError, match=problem) as caught:
        renegotiate(settled, later, FRESH)
    assert caught.value.line == later.media[settled.data.section].number


@pytest.mark.parametrize(
    "group", ["", "a=group:BUNDLE 0\n", "a=group:BUNDLE 0\na=group:BUNDLE d\n"]
)
def test_data_may_not_leave_the_group(group: str) -> None:
    later = parse_untrusted(HEAD + group + AUDIO + DATA)
    with pytest.raises(OfferError, match="left the BUNDLE group"):
        renegotiate(answer_to(BOTH), later, FRESH)


def test_roles_and_certificates_stay_under_data_alone() -> None:
    settled = answer_to(ALONE)
    for old, new, problem in (
        ("sha-256 5A", "sha-256 5B", "fingerprint changed"),
        ("actpass", "active", "roles changed"),
    ):
        with pytest.raises(OfferError, match=problem):
            renegotiate(settled, parse_untrusted(changed(old, new, ALONE)), FRESH)
    lost = parse_untrusted(HEAD)
    with pytest.raises(OfferError, match="no longer here"):
        is_restart(settled, lost)
    with pytest.raises(OfferError, match="fewer than the 1"):
        renegotiate(settled, lost, FRESH)


# --- any position ---------------------------------------------------------------------------------


@st.composite
def arrangements(draw: st.DrawFn) -> tuple[str, int | None, int]:
    """An offer, and where in it audio and data stand that must be taken."""
    extra = st.sampled_from(["video", "dead data", "bfcp"])
    voiced = draw(st.booleans())
    kinds = draw(
        st.permutations(
            ["data", *(["audio"] if voiced else []), *draw(st.lists(extra, max_size=3))]
        )
    )
    order = draw(st.permutations(range(len(kinds))))
    text = f"{HEAD}a=group:BUNDLE {' '.join(map(str, order))}\n"
    for index, kind in enumerate(kinds):
        match kind:
            case "data":
                made = draw(st.sampled_from([DATA, OLD]))
            case "audio":
                made = AUDIO
            case "video":
                made = f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:x\n{TRANSPORT}"
            case "bfcp":
                made = f"m=application 9 TCP/DTLS/BFCP *\na=mid:x\n{TRANSPORT}"
            case _:
                made = changed("n 9 UDP", "n 0 UDP", DATA)
        text += re.sub("a=mid:.*", f"a=mid:{index}", made)
    return text, kinds.index("audio") if voiced else None, kinds.index("data")


@given(arrangements())
@settings(max_examples=100)
def test_data_is_taken_in_every_position(made: tuple[str, int | None, int]) -> None:
    text, audio, data = made
    settled = answer_to(text)
    assert settled.section == audio
    assert settled.data is not None
    assert settled.data.section == data
    offer = parse_untrusted(text)
    second = renegotiate(settled, offer, FRESH)
    check(offer, second)
    assert second.agreed == settled.agreed
    assert second.group == settled.group
