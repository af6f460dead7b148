"""Text of strangers before it is shown."""

import json
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from conformance.report.plain import one_line, plain


def test_what_terminals_obey_is_shown_as_an_escape() -> None:
    assert plain("\x1b[2J\x07\x9b") == "\\x1b[2J\\x07\\x9b"


def test_marks_that_turn_a_line_round_are_shown_as_an_escape() -> None:
    assert plain("a\u202eb\u2066c\ufeff") == "a\\u202eb\\u2066c\\ufeff"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Grüße, 你好\n\tв строке 2 👍"
    assert plain(text) == text


def test_passwords_are_left_out() -> None:
    said = plain(
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\nAuthorization: Bearer tok.en\n"
        "Bearer other http://me:secret@server.example/whip"
    )
    for secret in ("0123456789abcdefghijkl", "tok.en", "other", "secret"):
        assert secret not in said
    assert "a=ice-ufrag:abcd\na=ice-pwd:***\n" in said
    assert "http://me:***@server.example/whip" in said


def test_one_line_has_no_line_end() -> None:
    assert one_line("a\r\n b\u2028c\n") == "a b\\u2028c"


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF)))
def test_any_text_fits_xml_and_utf_8(text: str) -> None:
    shown = plain(text)
    element = ElementTree.Element("a", b=shown)
    element.text = shown
    read = ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))
    assert read.text == (shown or None)
    assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown


@given(st.text(max_size=60))
def test_what_is_plain_stays_plain(text: str) -> None:
    assert plain(plain(text)) == plain(text)
