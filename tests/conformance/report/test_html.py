"""The page: whole, alone, and harmless whatever servers have said."""

import base64
import hashlib
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import define, field

from conformance import capture
from conformance.case import Verdict
from conformance.expectations import Known
from conformance.report import html
from conformance.report.run import Run
from conformance.trail import Note
from reports import HOSTILE, a_result, a_run, one_of_each, played, received, sent
from stunroute import stun

VOID = frozenset({"meta", "input", "br", "wbr", "link", "img", "hr"})
MAY_STAY_OPEN = frozenset({"li"})
CALL = "rfc5764/3/before-dtls"


@define
class Page(HTMLParser):
    """A page read: its tags must be balanced."""

    elements: list[tuple[str, dict[str, str | None]]] = field(factory=list)
    text: dict[int, str] = field(factory=dict)
    _open: list[tuple[str, int]] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            if tag in MAY_STAY_OPEN and self._open[-1][0] == tag:
                self._open.pop()
            self._open.append((tag, len(self.elements) - 1))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open[-1][0] in MAY_STAY_OPEN and self._open[-1][0] != tag:
            self._open.pop()
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, index in self._open:
            self.text[index] = self.text.get(index, "") + data

    def of(self, tag: str, name: str = "") -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of all such elements, ``name`` being one of their classes."""
        return [
            (attributes, self.text.get(index, ""))
            for index, (found, attributes) in enumerate(self.elements)
            if found == tag and (not name or name in (attributes.get("class") or "").split())
        ]


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert not page._open, page._open
    return page


def unpacked(page: Page, name: str) -> list[bytes]:
    return [zlib.decompress(base64.b64decode(text)) for _, text in page.of("script", name)]


def test_the_page_of_every_verdict_is_well_formed() -> None:
    page = read(html.render(one_of_each()))
    assert len(page.of("article")) == 8
    assert {text for _, text in page.of("a", "mark")} == set(html.SIGNS.values())


def test_every_internal_link_leads_somewhere_and_no_id_is_there_twice() -> None:
    page = read(html.render(one_of_each()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {str(attributes["href"]) for attributes, _ in page.of("a") if "href" in attributes}
    assert {link for link in links if link.startswith("#") and link[1:] not in ids} == set()


def packed_and_plain(text: str) -> str:
    page = read(text)
    return text + "".join(each.decode() for each in unpacked(page, "packed"))


def test_nothing_is_fetched_from_anywhere() -> None:
    text = packed_and_plain(html.render(a_run(played(CALL), *one_of_each().results)))
    page = read(html.render(a_run(played(CALL))))
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        assert "style" not in attributes, f"{tag}: the policy forbids it"
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "source"}
    for link in re.findall(r'(?:href|src)="((?!#)[^"]*)"', text):
        assert link.startswith("https://www.rfc-editor.org/rfc/rfc"), link
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_names_the_style_and_the_script_that_are_there() -> None:
    page = read(html.render(one_of_each()))
    (policy,) = [
        str(attributes["content"])
        for attributes, _ in page.of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    (style,) = [text for _, text in page.of("style")]
    (script,) = [text for attributes, text in page.of("script") if "type" not in attributes]
    for content in (style, script):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("verdict", list(Verdict))
def test_what_a_hostile_server_says_stays_text(verdict: Verdict) -> None:
    request = stun.build(
        stun.Method.BINDING,
        stun.MessageClass.REQUEST,
        bytes(12),
        [(stun.Attribute.USERNAME, HOSTILE.encode(errors="replace"))],
    )
    entries = [Note(0.0, f"{HOSTILE}\n{HOSTILE}"), received(0.1, request), sent(0.2, b"", HOSTILE)]
    result = a_result(verdict=verdict, detail=HOSTILE, entries=entries)
    known = [Known("*", HOSTILE)]
    run = a_run(result, known=known, subject=HOSTILE, options=("--whip", HOSTILE))
    text = html.render(run)
    text.encode()
    everything = packed_and_plain(text)
    assert "<script>alert" not in everything
    assert "sEcReT" not in everything
    assert "\x1b" not in everything
    assert "\u202e" not in everything
    page = read(text)
    scripts = [attributes for attributes, _ in page.of("script")]
    assert [each for each in scripts if each.get("type") != "text/plain"] == [{}]
    (packets,) = unpacked(page, "packed")
    read(packets.decode())


def test_a_case_says_all_that_is_to_be_known_of_it() -> None:
    result = a_result(verdict=Verdict.FAIL, detail="nothing came", entries=[sent(0.0, b"\xff")])
    page = read(html.render(a_run(result, known=[Known("rfc8489/*", "We know.")])))
    ((attributes, text),) = page.of("article")
    assert attributes["id"] == "case-rfc8489/6.3.1/example"
    for said in (
        *("What is asked is answered.", "MUST", "RFC 8489, section 6.3.1", "rfc8489/6.3.1/2"),
        *("STUN and ICE 1", "a request", "a good answer", "no answer", "nothing came", "We know."),
        "conformance run --whip http://server.example/whip rfc8489/6.3.1/example",
    ):
        assert said in text
    links = [attributes.get("href") for attributes, _ in page.of("a")]
    assert "https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.1" in links


def test_the_matrix_counts_profiles_by_verdict() -> None:
    page = read(html.render(one_of_each()))
    ((_, text),) = page.of("table", "matrix")
    row = text[text.index("stun") :]
    assert row == "stun" + "1112111" + "8"


def test_the_ladder_and_the_table_are_packed_and_parse() -> None:
    page = read(html.render(a_run(played(CALL))))
    (packets,) = unpacked(page, "packed")
    fragment = packets.decode()
    read(fragment)
    svg = fragment[fragment.index("<svg") : fragment.index("</svg>") + 6]
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "ClientHello" in fragment


def test_the_capture_in_the_page_opens(tmp_path: Path) -> None:
    page = read(html.render(a_run(played(CALL))))
    (content,) = unpacked(page, "capture")
    path = tmp_path / "x.pcapng"
    path.write_bytes(content)
    count = len(list(capture.read(path)))
    (packets,) = unpacked(page, "packed")
    numbers = {int(each) for each in re.findall(rb'button [^>]*data-packet="(\d+)"', packets)}
    assert numbers == set(range(1, count + 1))


def test_keys_are_in_downloads_alone() -> None:
    result = played(CALL)
    secret = result.trail.secrets[0].split()[2]
    text = html.render(a_run(result))
    assert secret not in packed_and_plain(text)
    (content,) = unpacked(read(text), "capture")
    assert secret.encode() in content


def test_a_page_is_bounded_and_keeps_the_captures_of_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = hashlib.shake_128(b"noise").digest(3000)
    good = [a_result(f"rfc1/1/good-{n}", entries=[sent(0.0, noise)]) for n in range(5)]
    bad = a_result("rfc1/1/zzz", Verdict.FAIL, entries=[sent(0.0, noise)])
    run = a_run(*good, bad)
    monkeypatch.setattr(html, "MOST_CAPTURES", 9000)
    page = read(html.render(run))
    held = [
        str(attributes["id"])
        for attributes, text in page.of("article")
        if "was not kept" not in text
    ]
    assert held == ["case-rfc1/1/good-0", "case-rfc1/1/zzz"]
    assert len(unpacked(read(html.render(run, keep_all=True)), "capture")) == 6


def test_three_hundred_cases_of_sixty_datagrams_stay_below_five_megabytes() -> None:
    def noise(number: int) -> bytes:
        return b"\x80\x6f" + hashlib.shake_128(number.to_bytes(4)).digest(158)

    results = [
        a_result(
            f"rfc1/1/case-{case}", entries=[sent(n / 50, noise(case * 60 + n)) for n in range(60)]
        )
        for case in range(300)
    ]
    assert len(html.render(a_run(*results)).encode()) < 5_000_000


@pytest.mark.parametrize("make", [one_of_each, lambda: a_run(played(CALL)), a_run])
def test_the_same_run_gives_the_same_page(make: object) -> None:
    first, second = (html.render(make()) for _ in range(2))  # type: ignore[operator]
    assert first == second


def test_a_run_without_cases_is_a_page() -> None:
    run: Run = a_run()
    assert "None of 0 cases fails" in html.render(run)


def test_reasons_for_not_asking_are_told_together() -> None:
    asks = [
        a_result(f"rfc8489/6/case-{number}", Verdict.UNSUPPORTED, "asks a relay")
        for number in range(2)
    ]
    page = html.render(a_run(*asks, a_result("rfc8489/6/other", Verdict.UNSUPPORTED, "<late>")))
    assert "<dt>2 cases</dt><dd>asks a relay</dd>" in page
    assert "<dt>1 case</dt><dd>&lt;late&gt;</dd>" in page
    assert "Why cases could not be asked" not in html.render(a_run(a_result()))


def test_a_run_that_met_nobody_says_so_and_has_no_empty_tables() -> None:
    page = html.render(a_run(nobody="POST got <nothing>"))
    assert "Nobody is there, so nothing was judged." in page
    assert "POST got &lt;nothing&gt;" in page
    assert "By profile" not in page


def test_what_concerns_the_whole_run_stands_at_its_head() -> None:
    page = html.render(a_run(a_result(), remarks=("It says <nothing> by UDP.",)))
    assert page.index("It says &lt;nothing&gt; by UDP.") < page.index("By profile")
