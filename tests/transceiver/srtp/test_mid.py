"""The name of a section: told until it is known, and gone by when it is heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.srtp import SectionName, rtcp, rtp
from transceiver.srtp.mid import NAMED

PLAIN = rtp.RtpPacket(111, True, 65530, 960, 7, payload=b"voice")
names = st.text("0123456789abcdefghijklmnopqrstuvwxyz-_.!~", min_size=1, max_size=16)
numbers = st.integers(1, 14)


def section(first: int = 100, sources: int = 3) -> SectionName:
    return SectionName("0", 4, first, sources)


@given(names, numbers, st.binary(max_size=60))
def test_what_is_named_can_be_read_and_is_else_the_same(
    mid: str, number: int, payload: bytes
) -> None:
    plain = rtp.encode_audio(111, True, 65530, 960, 7, payload)
    packet = rtp.extended(plain, SectionName(mid, number, 65530, 3).block)
    read = rtp.decode_untrusted(packet)
    assert read.extensions == ((number, mid.encode()),)
    assert rtp.encode(read) == packet
    assert rtp.audio_untrusted(packet) == (*rtp.audio_untrusted(plain)[:-1], read.extensions)
    assert len(packet) - rtp.header_length_untrusted(packet) == len(payload)


def test_the_block_octet_by_octet() -> None:
    """RFC 8285, 4.2: the length is one less than it is, and zeros fill the word."""
    assert SectionName("0", 4, 0, 1).block == bytes.fromhex("bede0001 40 30 0000")
    assert SectionName("audio", 14, 0, 1).block == bytes.fromhex("bede0002 e4 617564696f 0000")
    assert SectionName("x" * 16, 1, 0, 1).block == bytes.fromhex("bede0005 1f") + b"x" * 16 + bytes(
        3
    )


def test_packets_name_it_until_there_have_been_enough() -> None:
    told = section()
    for _ in range(NAMED):
        assert told.block
        told.named()
    assert told.block == b""
    assert told.item == (15, b"0")


@pytest.mark.parametrize("first", [100, 65530])
@pytest.mark.parametrize(
    ("highest", "known"),
    [(0, True), (9, True), (10, False), (-1, False), (3 + (5 << 16), True), (40000, False)],
)
def test_a_report_ends_it_if_it_is_of_a_packet_that_went_out(
    first: int, highest: int, known: bool
) -> None:
    """Ten packets have. A report of what was never sent, or before there was a name to tell, says
    nothing; its upper half counts cycles."""
    told = section(first)
    told.reported(first + highest, (first + 10) & 0xFFFF)
    assert (told.block == b"") is known


def test_no_report_of_nothing_ends_it() -> None:
    told = section()
    told.reported(100, 100)
    assert told.block


def named(name: bytes, number: int = 4) -> tuple[tuple[int, bytes], ...]:
    return ((1, b"\x80"), (number, name))


def test_a_source_of_another_section_stays_away_until_it_names_ours() -> None:
    books = section()
    assert books.heard(7, 20, named(b"1"), None)
    assert books.is_elsewhere(7, 20)
    assert not books.is_elsewhere(8, 20)
    assert books.heard(7, 21, ((1, b"\x80"),), None), "without a name it is where it was"
    assert books.heard(7, 19, named(b"0"), None), "what it said before it said the other"
    assert not books.heard(7, 22, named(b"0"), None)
    assert not books.is_elsewhere(7, 22)


@pytest.mark.parametrize("others", [(), ((1, b"\x80"),)], ids=["bare", "with another extension"])
@pytest.mark.parametrize("step", [1, 3000])
def test_a_word_does_not_come_before_an_older_one_because_numbers_wrap(
    others: tuple[tuple[int, bytes], ...], step: int
) -> None:
    """A source may be silent about its section for hours, and then belong to ours."""
    books = section()
    assert books.heard(7, 1000, named(b"1"), None)
    for sequence in range(1001, 1000 + 0xA000, step):
        assert books.heard(7, sequence & 0xFFFF, others, None)
    assert books.heard(7, 1000 + 0xA000 - 0x6000, named(b"0"), None), "and late is still late"
    assert not books.heard(7, 1000 + 0xA000, named(b"0"), None)


def test_a_source_of_ours_goes_where_it_says_unless_that_is_old() -> None:
    books = section()
    assert not books.heard(7, 20, named(b"0"), None)
    assert not books.heard(7, 20, named(b"1"), 20)
    assert not books.heard(7, 65535, named(b"1"), (1 << 16) + 3), "late, from before the wrap"
    assert books.heard(7, 4, named(b"1"), (1 << 16) + 3)


@pytest.mark.parametrize("name", [b"", b"00", b"0\0", b"\xff", b"x" * 255])
def test_only_our_name_is_ours(name: bytes) -> None:
    assert section().heard(7, 1, named(name), None)


def test_another_number_says_nothing() -> None:
    assert not section().heard(7, 1, named(b"1", number=5), None)


def test_a_source_description_can_bring_a_source_back_and_never_takes_one_away() -> None:
    books = section()
    books.heard(7, 1, named(b"1"), None)
    for items in (((rtcp.CNAME, b"0"),), ((rtcp.MID, b"1"),), ()):
        books.described([rtcp.Chunk(7, items), rtcp.Chunk(8, ((rtcp.MID, b"0"),))])
        assert books.is_elsewhere(7, 2)
    books.described([rtcp.Chunk(7, ((rtcp.CNAME, b"x"), (rtcp.MID, b"0")))])
    assert not books.is_elsewhere(7, 2)
    books.described([rtcp.Chunk(9, ((rtcp.MID, b"1"),))])
    assert not books.is_elsewhere(9, 2)


sayings = st.tuples(
    st.integers(0, 9), st.integers(0, 65535), st.sampled_from([b"0", b"1", b"", b"2"])
)


@given(st.lists(sayings, max_size=60))
def test_what_is_remembered_is_bounded_and_the_last_word_counts(
    words: list[tuple[int, int, bytes]],
) -> None:
    books = section(sources=4)
    for ssrc, sequence, name in words:
        away = books.heard(ssrc, sequence, named(name), None)
        assert books.is_elsewhere(ssrc, sequence) is away
        assert away or name == b"0"
        assert sum(books.is_elsewhere(each, sequence) for each in range(10)) <= 4
