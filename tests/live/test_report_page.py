"""The page of a run in browsers, from a file and without a network."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, launch, names
from conformance.case import Verdict
from conformance.report import html
from namespace import Namespace
from reports import a_run, one_of_each, played
from tools import require_root, require_tool

pytestmark = pytest.mark.live

CALL = "rfc5764/3/before-dtls"
VISIBLE = (
    "[...document.querySelectorAll('.cases tbody tr:not([hidden]) a')].map(a => a.textContent)"
)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    require_root()
    require_tool(*names(request.param))
    with Namespace() as network, launch(request.param, namespace=network) as made:
        yield made


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    path = tmp_path / "report.html"
    path.write_text(html.render(a_run(*one_of_each().results, played(CALL))), encoding="utf-8")
    browser.navigate(path.as_uri())
    return browser


def go(page: Browser, name: str) -> None:
    page.evaluate(f"void (location.hash = '#case-{name}')")
    page.wait_for("document.querySelector('.case:target svg.ladder') !== null")


def test_the_list_is_filtered_by_what_is_chosen(page: Browser) -> None:
    assert len(page.evaluate(VISIBLE)) == 9
    page.click(".tile.fail")
    assert page.evaluate(VISIBLE) == ["rfc8489/6/fail", "traps/stun/lived-with"]
    page.click(".tile.fail")
    assert len(page.evaluate(VISIBLE)) == 9
    page.evaluate(
        "(() => { const box = document.querySelector('[name=text]'); box.value = 'BEFORE dtls';"
        " box.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert page.evaluate(VISIBLE) == [CALL]
    assert page.evaluate("document.querySelector('output').textContent") == "1 of 9"


def test_the_list_is_sorted_both_ways(page: Browser) -> None:
    ascending = sorted(page.evaluate(VISIBLE))
    page.click("[data-sort=verdict]")
    assert page.evaluate(VISIBLE)[0] == f"rfc8489/6/{list(Verdict)[-1].value}"
    page.click("[data-sort=name]")
    page.click("[data-sort=name]")
    assert page.evaluate(VISIBLE)[0] == "traps/stun/lived-with"
    assert sorted(page.evaluate(VISIBLE)) == ascending


def test_a_case_is_a_page_of_its_own(page: Browser) -> None:
    go(page, CALL)
    assert page.evaluate("getComputedStyle(document.querySelector('.overview')).display") == "none"
    assert page.evaluate("document.querySelectorAll('.case:target svg .sent').length") > 5
    page.evaluate("history.back()")
    page.wait_for("getComputedStyle(document.querySelector('.overview')).display !== 'none'")


def test_the_bytes_of_a_datagram_are_those_that_crossed(page: Browser) -> None:
    go(page, CALL)
    page.click(".case:target button[data-packet='1']")
    shown = page.evaluate("document.querySelector('.case:target .bytes pre').textContent")
    octets = [line[6:54].split() for line in shown.splitlines()]
    first = html.tell(played(CALL)).datagrams[0]
    data = bytes(int(octet, 16) for line in octets for octet in line)
    assert len(data) == first.size
    assert data[4:8] == b"\x21\x12\xa4\x42"
    page.click(".case:target button[data-packet='1']")
    assert page.evaluate("document.querySelector('.case:target .bytes')") is None


def test_the_downloads_hold_the_capture_and_the_keys(page: Browser) -> None:
    go(page, CALL)
    page.wait_for("document.querySelectorAll('.case:target .download[href]').length === 2")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.case:target .download')].map(a => [a.download, a.href])"
    )
    assert [name for name, _ in sizes] == [
        *("rfc5764_3_before-dtls.pcapng", "rfc5764_3_before-dtls.keys"),
    ]
    assert all(re.match("blob:", href) for _, href in sizes)


def test_a_narrow_window_scrolls_no_wider_than_it_is(page: Browser) -> None:
    page.resize(500, 800)
    page.wait_for("innerWidth === 500")
    try:
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert page.evaluate(wide)
        go(page, CALL)
        assert page.evaluate(wide)
    finally:
        page.resize(1200, 900)
