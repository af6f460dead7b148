"""What the demo makes of its command line. That it works is for the live tests."""

import asyncio
import re
import tomllib

import httpx
import pytest
from click.testing import CliRunner

from stunroute.address import Address
from stunroute.hint import HintConfiguration
from transceiver.demo import WEB, Page, _addresses, demo
from transceiver.fleet import Plan, relay_settings

UDP = Address.of("10.0.0.1", 3478)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("192.0.2.1", "192.0.2.1:3478"),
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("2001:db8::1", "[2001:db8::1]:3478"),
        ("2001:db8::1:443", "[2001:db8::1:443]:3478"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ],
)
def test_an_advertised_address_has_the_port_of_udp_unless_it_names_one(
    told: str, meant: str
) -> None:
    assert _addresses(UDP, (told,)) == ((UDP,), (Address.parse(meant),))


def test_several_addresses_may_be_advertised() -> None:
    listen, advertised = _addresses(UDP, ("192.0.2.1", "192.0.2.2:5000"))
    assert listen == (UDP,)
    assert [str(address) for address in advertised] == ["192.0.2.1:3478", "192.0.2.2:5000"]


def test_what_is_listened_on_is_advertised() -> None:
    assert _addresses(UDP, ()) == ((UDP,), (UDP,))
    listen, advertised = _addresses(Address.of("0.0.0.0", 3478), ())
    assert listen == advertised
    assert listen[-1] == Address.of("127.0.0.1", 3478)


@pytest.mark.parametrize("told", ["", "example.org", "192.0.2.1:", "192.0.2.1:65536", "[::1]"])
def test_an_address_that_is_none_is_refused_in_one_line(told: str) -> None:
    outcome = CliRunner().invoke(demo, ["--advertise", told])
    assert outcome.exit_code == 2
    assert f"Invalid value for --advertise: {told!r} is neither" in outcome.output


def test_the_relay_is_told_by_which_addresses_clients_know_it() -> None:
    hint = HintConfiguration.generate("0", bytes)
    other = Address.of("192.0.2.1", 443)
    text = relay_settings(Plan((UDP,), (other,), 1), hint, UDP, [UDP])
    (listen,) = tomllib.loads(text)["listen"]
    assert listen == {"bind": str(UDP), "advertise": str(other)}


async def _get(path: str) -> httpx.Response:
    transport = httpx.ASGITransport(Page(directory=WEB, html=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
        return await client.get(path)


def test_the_page_is_whole_and_takes_nothing_from_elsewhere() -> None:
    page = asyncio.run(_get("/"))
    assert page.headers["content-security-policy"] == "default-src 'self'"
    assert page.headers["cache-control"] == "no-cache"
    wanted = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    script = asyncio.run(_get("/app.js")).text
    wanted |= set(re.findall(r"from '\./([^']+)'", script))
    assert wanted == {"icon.svg", "style.css", "app.js", "chart.js"}
    assert {asyncio.run(_get(f"/{name}")).status_code for name in wanted} == {200}
    for name in wanted:
        text = asyncio.run(_get(f"/{name}")).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9]+\.", text), name


def test_every_element_the_script_names_is_on_the_page() -> None:
    page, script = ((WEB / name).read_text("utf-8") for name in ("index.html", "app.js"))
    ids = set(re.findall(r'id="([^"]+)"', page))
    named = set(re.findall(r"(?:\$|put|unit)\('([^']+)'", script))
    assert named, "the pattern finds them"
    assert named <= ids
