"""From an offer to an answer: what is accepted, what is rejected in place, what is refused."""

import re

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiating import (
    LOCAL,
    PLAIN,
    PWD,
    SHA256,
    VOICE_ALONE,
    accepted,
    answer_to,
    attribute,
    changed,
    check,
)
from sdp_strategies import spoilt_offers
from stunroute.address import Address
from transceiver.dtls import Fingerprint, Role
from transceiver.errors import OfferError
from transceiver.negotiation import (
    MID_EXTENSION,
    CodecChoice,
    Direction,
    candidates,
    negotiate,
)
from transceiver.sdp import Candidate, parse_untrusted


def refused(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(OfferError, match=problem) as caught:
        negotiate(parse_untrusted(text), LOCAL)
    assert caught.value.line == line


# --- the whole answer -------------------------------------------------------------------------


def test_the_answer_line_by_line() -> None:
    """SDP 1 and 2: rejected sections in their places and out of the group."""
    text = PLAIN + f"a=extmap:4 {MID_EXTENSION}\na=rtcp-rsize\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\n"
    settled = answer_to(text + "a=mid:1\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\n")
    digest = bytes(range(32)).hex(":").upper()
    assert str(settled.answer).split("\r\n") == [
        "v=0",
        f"o=- {2**62} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "a=ice-options:ice2",
        "m=audio 3478 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 192.0.2.1",
        "a=ice-ufrag:" + LOCAL.ufrag,
        "a=ice-pwd:" + LOCAL.password,
        "a=fingerprint:sha-256 " + digest,
        "a=setup:active",
        "a=mid:0",
        f"a=extmap:4 {MID_EXTENSION}",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=msid:c0ffee audio",
        "a=ssrc:4294967295 cname:c0ffee",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 3478 typ host",
        "a=end-of-candidates",
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=inactive",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:" + LOCAL.ufrag,
        "a=ice-pwd:" + LOCAL.password,
        "a=fingerprint:sha-256 " + digest,
        "a=setup:active",
        "",
    ]


def test_the_session_is_told_what_was_agreed() -> None:
    text = (
        PLAIN + "a=fmtp:111 stereo=1;useinbandfec=1\na=ssrc:7 cname:x\na=ssrc:7 msid:y\na=ssrc:8\n"
    )
    settled = answer_to(text)
    assert settled.remote.ufrag == b"abcd"
    assert settled.remote.password == PWD.encode()
    assert settled.fingerprints == (Fingerprint("sha-256", b"\x5a" * 32),)
    assert settled.role is Role.CLIENT
    assert settled.codec == CodecChoice("opus", 111, 48000, 2, "stereo=1;useinbandfec=1")
    assert settled.remote_ssrcs == (7, 8)
    assert settled.rtcp_mux
    assert not settled.rtcp_rsize
    assert settled.mid_extension_id is None
    assert (settled.section, settled.sections, settled.version) == (0, 1, 1)
    assert settled.local == LOCAL
    assert not settled.restarted


def test_secrets_do_not_show() -> None:
    shown = repr(answer_to(PLAIN))
    assert LOCAL.password not in shown
    assert PWD not in shown


# --- sections ---------------------------------------------------------------------------------


def test_only_one_audio_section_is_taken_and_the_rest_keeps_its_place() -> None:
    extra = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:x\nm=text 9 RTP/AVP 98\nm=message 9 TCP/MSRP *\n"
    settled = answer_to(changed("BUNDLE 0", "BUNDLE 0 x", PLAIN) + extra)
    assert [media.port for media in settled.answer.media] == [3478, 0, 0, 0]
    assert settled.answer.media[3].formats == ("*",)
    assert not settled.answer.media[3].has("inactive")


def test_an_audio_section_without_our_codecs_is_passed_over() -> None:
    first = "m=audio 9 UDP/TLS/RTP/SAVPF 9\na=mid:g\na=rtpmap:9 G722/8000\nm=audio"
    settled = answer_to(changed("m=audio", first, PLAIN))
    assert settled.section == 1
    assert settled.mid == "0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m=audio 9", "m=video 9"),
        ("m=audio 9", "m=audio 0"),
        ("m=audio 9", "m=AUDIO 9"),
    ],
)
def test_no_audio(old: str, new: str) -> None:
    refused(changed(old, new), None, "no audio section")


def test_bundle_only_counts_within_a_group_alone() -> None:
    text = changed("m=audio 9", "m=audio 0") + "a=bundle-only\n"
    assert answer_to(text).section == 0
    refused(changed("a=group:BUNDLE 0\n", "", text), None, "no audio section")
    refused(changed("a=group:BUNDLE 0", "a=group:LS 0", text), None, "no audio section")


@pytest.mark.parametrize("group", ["0 v", "v 0"])
def test_bundle_only_audio_stays_when_the_rest_of_its_group_goes(group: str) -> None:
    first = f"a=group:BUNDLE {group}\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\n"
    text = changed("m=audio 9", "m=audio 0", changed("a=group:BUNDLE 0\n", first))
    assert answer_to(text + "a=bundle-only\n").section == 1


@pytest.mark.parametrize("group", ["", "a=group:LS 0\n", "a=group:BUNDLE 1\n", "a=group:BUNDLE\n"])
def test_no_group_is_answered_where_audio_is_in_none(group: str) -> None:
    assert not answer_to(changed("a=group:BUNDLE 0\n", group)).answer.has("group")


def test_a_group_without_meaning_is_refused() -> None:
    refused(changed("a=group:BUNDLE 0", "a=group:"), 5, "group")


def test_an_offer_without_mid() -> None:
    text = PLAIN + f"a=extmap:4 {MID_EXTENSION}\n"
    settled = answer_to(changed("a=mid:0\n", "", text))
    assert settled.mid is None
    assert settled.mid_extension_id is None
    assert not settled.answer.has("group")
    assert attribute(settled, "mid") is None


def test_mids_are_unique_tokens() -> None:
    refused(PLAIN + "m=video 9 RTP/AVP 96\na=mid:0\n", 17, "same mid")
    refused(changed("a=mid:0", "a=mid:a b"), 8, "token")
    refused(changed("a=mid:0", "a=mid:"), 8, "token")
    refused(changed("a=mid:0", "a=mid:é"), 8, "token")


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "setup"])
def test_the_transport_may_stand_in_the_tagged_section(name: str) -> None:
    """RFC 9143, 7.1.3: in later offers only the section that stands for the group has it."""
    lines = "".join(f"{line}\n" for line in PLAIN.split("\n") if line.startswith(f"a={name}"))
    head = f"BUNDLE v 0\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\n{lines}"
    settled = answer_to(changed("BUNDLE 0\n", head, PLAIN.replace(lines, "")))
    assert settled.remote.ufrag == b"abcd"
    assert settled.role is Role.CLIENT


def test_what_stands_in_the_section_counts_before_the_session() -> None:
    session = "t=0 0\na=ice-ufrag:wrong\na=setup:passive\na=inactive\na=fingerprint:sha-256 00\n"
    settled = answer_to(changed("t=0 0\n", session, changed("actpass", "active")))
    assert settled.remote.ufrag == b"abcd"
    assert settled.role is Role.SERVER
    assert settled.direction is Direction.SENDRECV


@pytest.mark.parametrize(
    "protocol",
    ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF"],
)
def test_older_names_of_the_protocol_are_mirrored(protocol: str) -> None:
    settled = answer_to(changed("UDP/TLS/RTP/SAVPF", protocol))
    assert accepted(settled).protocol == protocol


def test_another_protocol_is_refused() -> None:
    refused(changed("UDP/TLS/RTP/SAVPF", "UDP/TLS/UDPTL"), 6, "RTP over DTLS")


# --- codecs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codecs", "name", "payload_type"),
    [
        (("opus", "PCMU", "PCMA"), "opus", 111),
        (("PCMA", "opus"), "PCMA", 8),
        (("PCMU",), "PCMU", 0),
    ],
)
def test_our_order_of_preference_counts(
    codecs: tuple[str, ...], name: str, payload_type: int
) -> None:
    settled = answer_to(PLAIN, evolve(LOCAL, codecs=codecs))
    assert (settled.codec.name, settled.codec.payload_type) == (name, payload_type)
    assert accepted(settled).formats == (str(payload_type),)
    assert attribute(settled, "rtpmap") is not None


def test_static_types_need_no_map_but_may_have_one() -> None:
    text = changed("111 0 8", "0", changed("a=rtpmap:111 opus/48000/2\n", ""))
    settled = answer_to(text)
    assert settled.codec == CodecChoice("PCMU", 0, 8000, 1)
    assert attribute(settled, "rtpmap") == "0 PCMU/8000"
    assert attribute(settled, "fmtp") is None
    refused(text + "a=rtpmap:0 L16/8000\n", 6, "no codec in common")
    assert answer_to(text + "a=rtpmap:0 pcma/8000/1\n").codec.name == "PCMA"


@pytest.mark.parametrize("name", ["OPUS", "Opus", "opus"])
def test_encoding_names_compare_without_case(name: str) -> None:
    settled = answer_to(changed("opus/48000/2", f"{name}/48000/2"))
    assert settled.codec.name == "opus"
    assert attribute(settled, "rtpmap") == "111 opus/48000/2"


@pytest.mark.parametrize(
    "mapped", ["opus/48000", "opus/48000/1", "opus/16000/2", "multiopus/48000/6"]
)
def test_another_form_of_a_codec_is_another_codec(mapped: str) -> None:
    assert answer_to(changed("opus/48000/2", mapped)).codec.name == "PCMU"


def test_the_offer_s_first_number_for_a_codec_counts() -> None:
    text = changed("SAVPF 111", "SAVPF 96 111") + "a=rtpmap:96 opus/48000/2\na=fmtp:96 stereo=1\n"
    assert answer_to(text).codec == CodecChoice("opus", 96, 48000, 2, "stereo=1")


@pytest.mark.parametrize("number", [64, 72, 95])
def test_numbers_that_read_as_rtcp_are_not_taken(number: int) -> None:
    assert answer_to(PLAIN.replace("111", str(number))).codec.name == "PCMU"


def test_no_codec_in_common() -> None:
    refused(changed("111 0 8", "9"), 6, "no codec in common: we speak opus, PCMU, PCMA")


@pytest.mark.parametrize("number", ["128", "9" * 5000, "-1", "x", "٣"])
def test_payload_types_are_numbers(number: str) -> None:
    text = changed("a=rtpmap:111", f"a=rtpmap:{number}")
    refused(text, 15, "payload type")


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "x", "٣"])
def test_formats_are_payload_types(number: str) -> None:
    refused(changed("111 0 8", f"111 {number}"), 6, "payload type")


# --- attributes of the accepted section -------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered", "sends", "receives"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", False, True),
        ("recvonly", "sendonly", True, False),
        ("inactive", "inactive", False, False),
        ("x-none", "sendrecv", True, True),
    ],
)
def test_directions_are_mirrored(offered: str, answered: str, sends: bool, receives: bool) -> None:
    settled = answer_to(changed("a=sendrecv", f"a={offered}"))
    assert accepted(settled).has(answered)
    assert (settled.may_send, settled.may_receive) == (sends, receives)
    assert accepted(settled).has("msid") == accepted(settled).has("ssrc") == sends


def test_the_session_s_direction_is_the_default() -> None:
    settled = answer_to(changed("t=0 0\n", "t=0 0\na=recvonly\n", changed("a=sendrecv\n", "")))
    assert settled.direction is Direction.SENDONLY


@pytest.mark.parametrize(
    ("setup", "role", "answered"),
    [
        ("a=setup:actpass\n", Role.CLIENT, "active"),
        ("a=setup:ACTPASS\n", Role.CLIENT, "active"),
        ("a=setup:passive\n", Role.CLIENT, "active"),
        ("a=setup:active\n", Role.SERVER, "passive"),
        ("", Role.SERVER, "passive"),
    ],
)
def test_we_are_the_client_where_we_may(setup: str, role: Role, answered: str) -> None:
    """DTLS 5: never the same part on both sides; that we are lite does not matter to it."""
    settled = answer_to(changed("a=setup:actpass\n", setup))
    assert settled.role is role
    assert attribute(settled, "setup") == answered


def test_no_other_setup() -> None:
    refused(changed("setup:actpass", "setup:holdconn"), 12, "holdconn")
    refused(changed("setup:actpass", "setup:"), 12, "setup is")


def test_rtcp_must_share_the_port() -> None:
    refused(changed("a=rtcp-mux\n", ""), 6, "rtcp-mux")
    settled = answer_to(changed("a=rtcp-mux\n", "a=rtcp-mux-only\n"))
    assert not accepted(settled).has("rtcp-mux-only")


@pytest.mark.parametrize("options", ["", "trickle", "ice2,trickle", "trickle ice2", "ice22"])
def test_ice2_is_said_to_everybody(options: str) -> None:
    """Whatever the offer says of itself: the option is a word about us."""
    line = f"a=ice-options:{options}\n" if options else ""
    for text in (PLAIN + line, changed("t=0 0\n", f"t=0 0\n{line}")):
        (said,) = answer_to(text).answer.named("ice-options")
        assert said.content == "ice2"


def test_no_other_port_is_named_for_rtcp() -> None:
    """RFC 9143, 9.3.1.2: with RTCP on the port of RTP there is nothing to say."""
    for text in (PLAIN, PLAIN + "a=rtcp:9 IN IP4 0.0.0.0\n"):
        assert not accepted(answer_to(text)).has("rtcp")


@pytest.mark.parametrize("value", ["0123456789abcdefABCD", "+/-_" * 5])
def test_the_association_gets_a_name_where_the_client_gave_it_one(value: str) -> None:
    """RFC 8842, 5.3."""
    assert "tls-id" not in str(answer_to(PLAIN).answer)
    settled = answer_to(PLAIN + f"a=tls-id:{value}\n")
    ours = attribute(settled, "tls-id")
    assert ours is not None
    assert re.fullmatch("[0-9a-f]{64}", ours)
    for other in (evolve(LOCAL, password="q" * 32), evolve(LOCAL, ufrag="0" + "b" * 25)):
        again = answer_to(PLAIN + f"a=tls-id:{value}\n", other)
        assert attribute(again, "tls-id") not in (None, ours, value)


@pytest.mark.parametrize(
    ("line", "identifier"),
    [
        (f"extmap:1 {MID_EXTENSION}", 1),
        (f"extmap:14/sendrecv {MID_EXTENSION}", 14),
        (f"extmap:15 {MID_EXTENSION}", None),
        (f"extmap:0 {MID_EXTENSION}", None),
        (f"extmap:3/recvonly {MID_EXTENSION}", None),
        ("extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level", None),
    ],
)
def test_the_mid_extension_is_the_only_one(line: str, identifier: int | None) -> None:
    in_section = answer_to(PLAIN + f"a={line}\n")
    in_session = answer_to(changed("t=0 0\n", f"t=0 0\na={line}\n"))
    expected = None if identifier is None else f"{identifier} {MID_EXTENSION}"
    for settled in (in_section, in_session):
        assert settled.mid_extension_id == identifier
        assert attribute(settled, "extmap") == expected


def test_a_mid_too_long_for_the_extension_is_not_sent_in_it() -> None:
    text = PLAIN.replace("mid:0", "mid:" + "m" * 17) + f"a=extmap:3 {MID_EXTENSION}\n"
    assert answer_to(text).mid_extension_id is None


def test_malformed_lines_of_the_section_are_named() -> None:
    refused(PLAIN + "a=extmap:4\n", 16, "extmap")
    refused(PLAIN + "a=ssrc:4294967296 cname:x\n", 16, "synchronisation source")


def test_lines_that_do_not_matter_do_not_matter() -> None:
    """SDP 2, STUN and ICE 11: ``.local`` names and broken candidates are not even read."""
    settled = answer_to(
        PLAIN
        + "b=TIAS:lots\na=candidate:broken\na=candidate:1 1 udp 1 never-resolved.local 9 typ host\n"
        + "a=fmtp:*\na=fmtp:111\na=rtcp:-1\na=crypto:1\nf=x\nm=video 9 RTP/AVP x\na=rtpmap:x\n"
        + "a=ice-pwd:short\na=fingerprint:none\na=ssrc:x\na=setup:holdconn\n"
    )
    assert settled.codec.fmtp == ""


def test_nobody_would_check_between_two_lite_agents() -> None:
    refused(changed("t=0 0\n", "t=0 0\na=ice-lite\n"), 5, "ice-lite")


# --- credentials and certificates -------------------------------------------------------------


@pytest.mark.parametrize("ufrag", ["abcd", "a" * 256, "x_9-", "+/+/", "a:b:c", "~!@#"])
def test_ufrags_of_the_field_are_taken(ufrag: str) -> None:
    assert answer_to(changed("ufrag:abcd", f"ufrag:{ufrag}")).remote.ufrag == ufrag.encode()


@pytest.mark.parametrize(
    "ufrag", ["", "abc", "a" * 257, "ab cd", "abcd ", "ab\tcd", "abc\x7f", "abcé"]
)
def test_ufrags_that_cannot_be_are_not(ufrag: str) -> None:
    refused(changed("ufrag:abcd", f"ufrag:{ufrag}"), 9, "ice-ufrag")


@pytest.mark.parametrize("password", ["", "a" * 21, "a" * 257, "a" * 21 + " b", "a" * 22 + "\x01"])
def test_passwords_that_cannot_be_are_not(password: str) -> None:
    refused(changed(PWD, password), 10, "ice-pwd")


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
def test_what_must_be_there(name: str) -> None:
    refused(re.sub(f"a={name}:.*\n", "", PLAIN), 6, name)


def test_several_fingerprints() -> None:
    """DTLS 12: several lines, capitals, and hashes that nobody trusts any more."""
    line = f"a=fingerprint:sha-256 {SHA256}\n"
    more = (
        f"a=fingerprint:sha-1 {':'.join(['00'] * 20)}\na=fingerprint:md5 00\n"
        f"a=fingerprint:SHA-384 {':'.join(['0a'] * 48)}\n{line}"
        f"a=fingerprint:sha-512 {':'.join(['0B'] * 64)}\n"
    )
    assert answer_to(changed(line, more)).fingerprints == (
        Fingerprint("sha-384", b"\x0a" * 48),
        Fingerprint("sha-256", b"\x5a" * 32),
        Fingerprint("sha-512", b"\x0b" * 64),
    )


@pytest.mark.parametrize(
    "value",
    [f"sha-1 {':'.join(['00'] * 20)}", "sha-256", f"sha-384 {SHA256}", f"sha-256 {SHA256}:00", "x"],
)
def test_no_certificate_without_a_good_fingerprint(value: str) -> None:
    refused(changed(f"sha-256 {SHA256}", value), 11, "fingerprint")


# --- candidates -------------------------------------------------------------------------------


def test_candidates_have_distinct_falling_priorities() -> None:
    hosts = [("192.0.2.1", 1), ("192.0.2.1", 2), ("2001:db8::1", 1), ("192.0.2.2", 1)]
    made = candidates([Address.of(host, port) for host, port in hosts])
    assert [candidate.foundation for candidate in made] == ["1", "1", "2", "3"]
    priorities = [candidate.priority for candidate in made]
    assert priorities == sorted(set(priorities), reverse=True)
    assert priorities[0] == 2130706431
    assert [(candidate.address, candidate.port) for candidate in made] == hosts
    assert all((c.component, c.transport, c.type) == (1, "udp", "host") for c in made)


def test_the_first_candidate_is_the_default_destination() -> None:
    settled = answer_to(PLAIN, evolve(LOCAL, candidates=(Address.of("2001:db8::7", 9000),)))
    section = accepted(settled)
    assert section.port == 9000
    assert str(section.lines[0]) == "c=IN IP6 2001:db8::7"
    assert Candidate.read(section.named("candidate")[0]).address == "2001:db8::7"


def test_a_local_description_is_checked() -> None:
    with pytest.raises(ValueError):
        evolve(LOCAL, candidates=())
    with pytest.raises(ValueError):
        evolve(LOCAL, session_id=2**63)


# --- anything at all --------------------------------------------------------------------------


@given(spoilt_offers())
@settings(max_examples=150)
def test_spoilt_offers_are_answered_or_refused(text: str) -> None:
    try:
        offer = parse_untrusted(text)
        settled = negotiate(offer, LOCAL)
    except OfferError:
        return
    check(offer, settled)


@st.composite
def good_offers(draw: st.DrawFn) -> tuple[str, int, int | None]:
    """An offer that must be answered, and the indexes of the sections to take, audio's and
    data's."""
    before = draw(st.lists(st.sampled_from(["video", "application"]), max_size=3))
    after = draw(st.lists(st.sampled_from(["video", "audio", "application"]), max_size=3))
    kinds = [*before, "audio", *after]
    mids = draw(st.booleans())
    transport = f"a=ice-ufrag:abcd\na=ice-pwd:{PWD}\na=fingerprint:SHA-256 {SHA256}\n"
    transport += draw(st.sampled_from(["", "a=setup:active\n", "a=setup:actpass\n"]))
    at_session = draw(st.booleans())
    text = "v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\nt=0 0\n" + (transport if at_session else "")
    bundled = mids and draw(st.booleans())
    if bundled:
        text += f"a=group:BUNDLE {' '.join(map(str, range(len(kinds))))}\n"
    for index, kind in enumerate(kinds):
        if kind == "application":
            text += "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=max-message-size:0\n"
            text += "a=sctp-port:5000\n"
        else:
            text += f"m={kind} 9 UDP/TLS/RTP/SAVPF 8 0\na=rtcp-mux\n"
        text += ("" if at_session else transport) + (f"a=mid:{index}\n" if mids else "")
    data = kinds.index("application") if bundled and "application" in kinds else None
    return text, len(before), data


@given(good_offers())
@settings(max_examples=100)
def test_good_offers_are_answered(made: tuple[str, int, int | None]) -> None:
    text, expected, data = made
    settled = answer_to(text)
    assert settled.section == expected
    assert settled.codec is not None
    assert settled.codec.name == "PCMU"
    assert (settled.data and settled.data.section) == data
    assert answer_to(text, VOICE_ALONE).data is None
