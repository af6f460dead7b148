"""SDP is read without loss, written with CRLF, and whatever is not SDP is an OfferError."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import corpus_path
from sdp_strategies import OFFERS, descriptions, spoilt_offers
from transceiver import sdp
from transceiver.config import SdpLimits
from transceiver.errors import OfferError
from transceiver.sdp import Line, attribute, parse_untrusted

HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\n"


def canonical(text: str) -> str:
    """The same lines with CRLF, and none empty at the end."""
    return text.replace("\r\n", "\n").rstrip("\n").replace("\n", "\r\n") + "\r\n"


# --- the whole --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OFFERS)
def test_real_offers_go_through_unchanged(name: str) -> None:
    assert str(parse_untrusted(OFFERS[name])) == canonical(OFFERS[name])


@given(descriptions())
@settings(max_examples=100)
def test_what_is_written_reads_back(description: sdp.Description) -> None:
    assert parse_untrusted(str(description)) == description


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n", "\r\n\r\n", "\n\n\n"])
def test_any_line_end_is_read_and_crlf_is_written(end: str, last: str) -> None:
    text = (HEAD + AUDIO + "a=mid:0").replace("\r\n", end) + last
    assert str(parse_untrusted(text)) == HEAD + AUDIO + "a=mid:0\r\n"


def test_unknown_lines_and_letters_are_kept() -> None:
    text = HEAD + "b=TIAS:64000\r\nf=?\r\na=goo:hi there\r\n" + AUDIO + "z=\r\na=\r\n"
    assert str(parse_untrusted(text)) == text


def test_lines_know_where_they_stood() -> None:
    offer = parse_untrusted(HEAD + "a=ice-lite\r\n" + AUDIO + "a=mid:0\r\n")
    lite, mid = offer.first("ice-lite"), offer.media[0].first("mid")
    assert (lite.number, offer.media[0].number, mid.number) == (5, 6, 7)
    assert mid.error("odd").line == 7
    assert str(offer.media[0].error("odd")) == "line 6: odd"


def test_values_may_hold_any_text() -> None:
    text = HEAD.replace("s=-", "s=Gespräch \x0b\x85\u2028 ☎") + "i=\t\r\n"
    assert str(parse_untrusted(text)) == text


def test_sections_answer_for_their_attributes() -> None:
    text = HEAD + "a=mid:no\r\na=x\r\n" + AUDIO + "a=X:1\r\na=x:2\r\na=x:3:4\r\nb=x:5\r\n"
    offer = parse_untrusted(text)
    assert [line.content for line in offer.media[0].named("x")] == ["2", "3:4"]
    assert offer.has("x")
    assert not offer.has("X")
    assert offer.first("x").content == ""
    assert offer.media[0].mid is None
    assert attribute("rtcp-mux").name == "rtcp-mux"


def test_ports_have_counts() -> None:
    media = parse_untrusted(HEAD + "m=video 4000/2 RTP/AVP 31\r\n").media[0]
    assert (media.kind, media.port, media.ports, media.formats) == ("video", 4000, 2, ("31",))
    assert str(media.head()) == "m=video 4000/2 RTP/AVP 31"


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("\r\n\r\n", 1),
        ("hello", 1),
        ("<html>\n<body>", 1),
        ('{"sdp": "v=0"}', 1),
        ("\ufeffv=0\r\n", 1),
        (" v=0\r\n", 1),
        ("v=1\r\n", 1),
        ("V=0\r\n", 1),
        ("v=0\r\n", 2),
        ("v=0\r\ns=-\r\n", 2),
        ("v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\nt=0 0\r\n", 3),
        (HEAD.replace("IN IP4", "IN"), 2),
        (HEAD.replace("192.0.2.1", "192.0.2.1 x"), 2),
        (HEAD.replace("1 2", "x 2"), 2),
        (HEAD.replace("1 2", "1 18446744073709551616"), 2),
        (HEAD.replace("1 2", "1 " + "9" * 5000), 2),
        (HEAD + "\r\na=x\r\n", 5),
        (HEAD + "a\r\n", 5),
        (HEAD + "a:b\r\n", 5),
        (HEAD + "é=1\r\n", 5),
        (HEAD + "a=x\x00y\r\n", 5),
        (HEAD + "a=x\ry\r\n", 5),
        (HEAD + "m=\r\n", 5),
        (HEAD + "m=audio 9 RTP/AVP\r\n", 5),
        (HEAD + "m=audio 65536 RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio -1 RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio ٣ RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio ² RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio 9/ RTP/AVP 0\r\n", 5),
        (HEAD + f"m=audio {'9' * 5000} RTP/AVP 0\r\n", 5),
        (HEAD + AUDIO + "nonsense\r\n", 6),
    ],
)
def test_what_is_not_sdp_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(OfferError) as caught:
        parse_untrusted(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(OfferError, match="Unicode"):
        parse_untrusted(HEAD + "a=\ud800\r\n")


def test_size_is_bounded_in_bytes() -> None:
    bounded = SdpLimits(size=len(HEAD))
    assert parse_untrusted(HEAD, bounded)
    with pytest.raises(OfferError, match="longer than"):
        parse_untrusted(HEAD + "a", bounded)
    with pytest.raises(OfferError, match="longer than"):
        parse_untrusted(HEAD.replace("s=-", "s=é"), bounded)


def test_lines_are_bounded() -> None:
    bounded = SdpLimits(lines=5)
    assert parse_untrusted(HEAD + "a=1\r\n\r\n\r\n", bounded)
    with pytest.raises(OfferError, match="more than 5 lines") as caught:
        parse_untrusted(HEAD + "a=1\r\na=2\r\n", bounded)
    assert caught.value.line == 6


def test_sections_are_bounded() -> None:
    bounded = SdpLimits(sections=2)
    assert len(parse_untrusted(HEAD + AUDIO * 2, bounded).media) == 2
    with pytest.raises(OfferError, match="more than 2 media sections") as caught:
        parse_untrusted(HEAD + AUDIO * 3, bounded)
    assert caught.value.line == 7


@given(st.text())
@settings(max_examples=200)
def test_no_text_raises_anything_else(text: str) -> None:
    for prefix in ("", HEAD, HEAD + AUDIO):
        with suppress(OfferError):
            parse_untrusted(prefix + text)


@given(spoilt_offers())
@settings(max_examples=100)
def test_a_spoilt_offer_is_read_or_refused(text: str) -> None:
    try:
        description = parse_untrusted(text)
    except OfferError:
        return
    assert parse_untrusted(str(description)) == description


# --- single lines -----------------------------------------------------------------------------

READERS = [
    (sdp.RtpMap, "111 opus/48000/2", sdp.RtpMap(111, "opus", 48000, 2)),
    (sdp.RtpMap, "0 PCMU/8000", sdp.RtpMap(0, "PCMU", 8000)),
    (sdp.Group, "BUNDLE a b", sdp.Group("BUNDLE", ("a", "b"))),
    (sdp.Group, "BUNDLE", sdp.Group("BUNDLE", ())),
    (sdp.HeaderExtension, "4 urn:x", sdp.HeaderExtension(4, "urn:x")),
    (
        sdp.HeaderExtension,
        "4/recvonly urn:x y z",
        sdp.HeaderExtension(4, "urn:x", "recvonly", "y z"),
    ),
    (sdp.Source, "1234 cname:a b", sdp.Source(1234, "cname:a b")),
    (sdp.Source, "1234", sdp.Source(1234, "")),
    (
        sdp.SctpMap,
        "5000 webrtc-datachannel 1024",
        sdp.SctpMap(5000, "webrtc-datachannel", 1024),
    ),
    (sdp.SctpMap, "4999 x", sdp.SctpMap(4999, "x")),
    (
        sdp.Candidate,
        "1 1 udp 2130706431 192.0.2.1 9 typ host",
        sdp.Candidate("1", 1, "udp", 2130706431, "192.0.2.1", 9, "host"),
    ),
    (
        sdp.Candidate,
        "a/+ 2 UDP 1 x.local 0 typ srflx raddr 0.0.0.0 rport 0 generation 0",
        sdp.Candidate(
            "a/+", 2, "UDP", 1, "x.local", 0, "srflx", "raddr 0.0.0.0 rport 0 generation 0"
        ),
    ),
]


@pytest.mark.parametrize(("reader", "text", "expected"), READERS)
def test_a_line_reads_and_writes(reader: type, text: str, expected: object) -> None:
    assert reader.read(attribute("x", text)) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (sdp.RtpMap, ""),
        (sdp.RtpMap, "111"),
        (sdp.RtpMap, "111 opus"),
        (sdp.RtpMap, "111 /8000"),
        (sdp.RtpMap, "128 opus/48000/2"),
        (sdp.RtpMap, "111 opus/48000/2/1"),
        (sdp.RtpMap, "111 opus/48000/256"),
        (sdp.RtpMap, "111 opus/fast"),
        (sdp.RtpMap, "111 opus/48000 x"),
        (sdp.Group, ""),
        (sdp.HeaderExtension, "4"),
        (sdp.HeaderExtension, "4352 urn:x"),
        (sdp.HeaderExtension, "x urn:x"),
        (sdp.Source, ""),
        (sdp.Source, "4294967296 cname:a"),
        (sdp.SctpMap, "5000"),
        (sdp.SctpMap, "65536 x"),
        (sdp.SctpMap, "5000 x 65536"),
        (sdp.SctpMap, "5000 x 1 2"),
        (sdp.Candidate, ""),
        (sdp.Candidate, "1 1 udp 1 192.0.2.1 9 typ"),
        (sdp.Candidate, "1 257 udp 1 192.0.2.1 9 typ host"),
        (sdp.Candidate, "1 1 udp 4294967296 192.0.2.1 9 typ host"),
        (sdp.Candidate, "1 1 udp 1 192.0.2.1 65536 typ host"),
        (sdp.Candidate, "1 1 udp 1 192.0.2.1 9 type host"),
    ],
)
def test_a_malformed_line_is_named(reader: type, text: str) -> None:
    with pytest.raises(OfferError) as caught:
        reader.read(Line("a", f"x:{text}", 17))
    assert caught.value.line == 17


@given(st.sampled_from([reader for reader, _, _ in READERS]), st.text())
@settings(max_examples=200)
def test_readers_raise_nothing_else(reader: type, text: str) -> None:
    try:
        read = reader.read(attribute("x", text))
    except OfferError:
        return
    assert reader.read(attribute("x", read)) == read


def test_a_number_alone_is_read() -> None:
    assert sdp.read_number(attribute("sctp-port", 5000), 65535, "port") == 5000
    for text in ("", "65536", "-1", " 1", "1 ", "1e3", "٣", "9" * 5000):
        with pytest.raises(OfferError, match="the port is not a number from 0 to 65535") as caught:
            sdp.read_number(Line("a", f"sctp-port:{text}", 17), 65535, "port")
        assert caught.value.line == 17


def test_a_description_made_without_an_origin_says_so() -> None:
    assert parse_untrusted(HEAD).origin == sdp.Origin("-", 1, 2, "IN", "IP4", "192.0.2.1")
    with pytest.raises(OfferError):
        _ = sdp.Description().origin


def test_passwords_do_not_show() -> None:
    text = HEAD + AUDIO + "a=ice-pwd:sesame\r\na=crypto:1 X inline:sesame\r\na=mid:open\r\n"
    shown = repr(parse_untrusted(text))
    assert "sesame" not in shown
    assert "open" in shown


# --- the corpus -------------------------------------------------------------------------------


def texts(*parts: str) -> list[tuple[Path, str]]:
    paths = sorted(corpus_path(*parts).rglob("*.sdp"))
    assert paths
    return [(path, path.read_bytes().decode()) for path in paths]


@pytest.mark.corpus
def test_offers_and_answers_of_real_clients_go_through_unchanged() -> None:
    for path, text in texts("pcaps", "clients"):
        assert str(parse_untrusted(text)) == canonical(text), path


@pytest.mark.corpus
@pytest.mark.parametrize("part", ["sdp", "fuzz"])
def test_other_projects_examples_are_read_whole_or_refused(part: str) -> None:
    read = 0
    for path, text in texts(part):
        try:
            description = parse_untrusted(text)
        except OfferError:
            continue
        assert str(description) == canonical(text), path
        read += 1
    assert read > 50
