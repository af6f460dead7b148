"""Ladders as pictures."""

import re
from xml.etree import ElementTree

from conformance.report.decoding import Remark, tell
from conformance.report.ladder import MOST_ROWS, Arrow, Gap, draw, rows
from conformance.runner import Result
from conformance.trail import Note
from reports import HOSTILE, a_result, played, received, sent
from stunroute.address import Address

SVG = "{http://www.w3.org/2000/svg}"
RTP = b"\x80\x6f"


def picture(result: Result, seen: str = "a good answer") -> ElementTree.Element:
    return ElementTree.fromstring(draw(tell(result), verdict="pass", seen=seen, title="a title"))


def words(svg: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]


def arrows(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [g for g in svg.iter(f"{SVG}g") if g.get("class") in ("sent", "received")]


def test_each_datagram_is_an_arrow_from_its_sender() -> None:
    svg = picture(a_result(entries=[sent(0.0, b"\xff"), received(0.1, b"\xff")]))
    there, back = arrows(svg)
    ends = [(g.find(f"{SVG}line").get("x1"), g.find(f"{SVG}line").get("x2")) for g in (there, back)]  # type: ignore[union-attr]
    assert float(ends[0][0] or 0) < float(ends[0][1] or 0)
    assert float(ends[1][0] or 0) > float(ends[1][1] or 0)
    assert (there.get("data-packet"), back.get("data-packet")) == ("1", "2")


def test_lanes_times_notes_and_the_end_are_said() -> None:
    entries = [Note(0.0, "offer\nv=0"), sent(0.02, b"\xff", "nonsense"), received(0.1, b"\xff")]
    said = words(picture(a_result(entries=entries), seen="pass: all is well"))
    for text in ("client", "server", "192.0.2.33:50000", "offer", "0.020", "0.100"):
        assert text in said
    assert "pass: all is well" in said
    assert any("nonsense" in text for text in said)
    assert not any("v=0" in text for text in said)


def test_a_long_silence_is_a_gap_with_its_length() -> None:
    result = a_result(entries=[sent(0.0, b"\xff"), received(0.1, b"\xff"), sent(2.1, b"\xff")])
    assert [type(row) for row in rows(tell(result))] == [Arrow, Arrow, Gap, Arrow]
    svg = picture(result)
    assert "2.00 s" in words(svg)
    assert any("silent" in path.get("class", "") for path in svg.iter(f"{SVG}path"))


def test_many_of_a_kind_are_one_arrow_with_a_number() -> None:
    packets = [RTP + number.to_bytes(2) + bytes(8) for number in range(5)]
    entries = [*(sent(0.0, each) for each in packets), received(0.0, packets[0])]
    first, second = rows(tell(a_result(entries=entries)))
    assert isinstance(first, Arrow)
    assert isinstance(second, Arrow)
    assert (first.label, first.count) == ("RTP, type 111 ×5", 5)
    assert second.label == "RTP 0, type 111"


def test_two_of_a_kind_stay_two() -> None:
    assert len(rows(tell(a_result(entries=[sent(0.0, b"\xff")] * 2)))) == 2


def test_others_of_a_kind_after_a_silence_are_not_counted_in() -> None:
    entries = [sent(number / 2, b"\xff") for number in range(3)]
    assert [type(row) for row in rows(tell(a_result(entries=entries)))] == [
        *(Arrow, Gap, Arrow, Gap, Arrow),
    ]


def test_a_note_parts_what_is_of_a_kind() -> None:
    entries = [*[sent(0.0, b"\xff")] * 3, Note(0.0, "now"), *[sent(0.0, b"\xff")] * 3]
    kinds = [type(row) for row in rows(tell(a_result(entries=entries)))]
    assert kinds == [Arrow, Remark, Arrow]


def test_a_long_trail_ends_with_the_number_of_what_is_missing() -> None:
    both = [sent(0.0, b"\xff"), received(0.0, b"\xff")]
    svg = picture(a_result(entries=both * MOST_ROWS))
    assert len(arrows(svg)) == MOST_ROWS
    assert f"… {MOST_ROWS} more" in words(svg)


def test_what_is_told_in_series_is_not_missing() -> None:
    svg = picture(a_result(entries=[sent(0.0, b"\xff")] * 100))
    assert len(arrows(svg)) == 1
    assert not any("more" in text for text in words(svg))


def test_without_datagrams_there_is_no_picture() -> None:
    assert draw(tell(a_result(entries=[Note(0.0, "offer")])), verdict="x", seen="", title="") == ""


def test_hostile_words_stay_words() -> None:
    entries = [Note(0.0, HOSTILE), sent(0.0, b"\xff", HOSTILE)]
    text = draw(tell(a_result(entries=entries)), verdict="fail", seen="<b>&", title="<i>")
    svg = ElementTree.fromstring(text)
    tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert tags <= {"svg", "title", "g", "line", "path", "rect", "text", "tspan"}
    assert "sEcReT" not in text


def test_nothing_is_drawn_outside_the_picture() -> None:
    clients = [Address.of("192.0.2.33", 50000 + number) for number in range(5)]
    entries = [sent(0.0, b"\xff", "a rather long note " * 9, near=each) for each in clients]
    text = draw(tell(a_result(entries=entries)), verdict="pass", seen="x" * 500, title="")
    svg = ElementTree.fromstring(text)
    width, height = (float(each) for each in svg.get("viewBox", "").split()[2:])
    for rect in svg.iter(f"{SVG}rect"):
        left, wide = float(rect.get("x", "")), float(rect.get("width", ""))
        assert left >= 0
        assert left + wide <= width
    for y in re.findall(r' y\d?="([\d.]+)"', text):
        assert float(y) <= height


def test_a_played_call_can_be_drawn() -> None:
    for name in ("rfc5764/3/before-dtls", "relay/routing/media-follows-the-check"):
        assert arrows(picture(played(name)))
