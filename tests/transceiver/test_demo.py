"""What the demo makes of its command line. That it works is for the live tests."""

import asyncio
import contextlib
import os
import re
import socket
import tomllib
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from stunroute.address import Address
from stunroute.config import load
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.settings import RelaySettings
from transceiver import demo as demo_module
from transceiver import fleet, settings
from transceiver.demo import WEB, Page, _addresses, demo
from transceiver.fleet import Keys, Plan, _free, _hint_table, node_settings, relay_settings

UDP = Address.of("10.0.0.1", 3478)
HTTP = Address.of("127.0.0.1", 8080)
ADMIN = Path("/run/relay.sock")
SCRIPTS = tuple(
    f"{name}.js" for name in ("app", "chart", "conversation", "ear", "page", "panel", "sound")
)


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


EVERY = {"0.0.0.0": ("192.0.2.1", "127.0.0.1"), "::": ("2001:db8::1", "::1")}


@pytest.mark.parametrize("wildcard", EVERY)
def test_loopback_is_for_a_machine_that_has_nothing_else(monkeypatch, wildcard: str) -> None:
    own, loopback = EVERY[wildcard]
    found = [own]
    asked = []
    monkeypatch.setattr(
        demo_module, "own_addresses", lambda *, ipv6: asked.append(ipv6) or list(found)
    )
    assert _addresses(Address.of(wildcard, 3478), ())[1] == (Address.of(own, 3478),)
    found.clear()
    assert _addresses(Address.of(wildcard, 3478), ())[1] == (Address.of(loopback, 3478),)
    assert asked == [wildcard == "::"] * 2


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_who_asks_for_loopback_gets_it(loopback: str) -> None:
    asked = Address.of(loopback, 3478)
    assert _addresses(asked, ()) == ((asked,), (asked,))


def test_addresses_of_ones_own_are_those_that_others_can_reach(monkeypatch, tmp_path: Path) -> None:
    told = tmp_path / "if_inet6"
    told.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "20010db8000000000000000000000002 02 40 00 80     eth0\n"
        "20010db8000000000000000000000002 03 80 00 80   dummy0\n"
        "20010db8000000000000000000000003 02 40 00 a0     eth0\n"  # deprecated
        "20010db8000000000000000000000004 02 40 00 40     eth0\n"  # being tried out
        "fe8000000000000000fc00fffe000001 02 40 20 80     eth0\n"
    )
    monkeypatch.setattr(fleet, "_IPV6_ADDRESSES", told)
    assert fleet.own_addresses(ipv6=True) == ["2001:db8::2"]
    told.unlink()
    assert fleet.own_addresses(ipv6=True) == []
    assert not any(ip.startswith("127.") for ip in fleet.own_addresses())


@pytest.mark.parametrize("told", ["", "example.org", "192.0.2.1:", "192.0.2.1:65536", "[::1]"])
def test_an_address_that_is_none_is_refused_in_one_line(told: str) -> None:
    outcome = CliRunner().invoke(demo, ["--advertise", told])
    assert outcome.exit_code == 2
    assert f"Invalid value for --advertise: {told!r} is neither" in outcome.output


def test_the_relay_is_told_by_which_addresses_clients_know_it() -> None:
    hint = HintConfiguration.generate("0", bytes)
    other = Address.of("192.0.2.1", 443)
    text = relay_settings(Plan((UDP,), (other,), 1), hint, UDP, [UDP], ADMIN)
    (listen,) = tomllib.loads(text)["listen"]
    assert listen == {"bind": str(UDP), "advertise": str(other)}


def test_the_relay_can_be_watched_and_given_a_store(tmp_path: Path) -> None:
    hint = HintConfiguration.generate("0", os.urandom)
    path = tmp_path / "relay.toml"
    for url in (None, 'redis://:a"b@127.0.0.1:6379/0'):
        path.write_text(relay_settings(Plan((UDP,), (UDP,), 1, store=url), hint, UDP, [UDP], ADMIN))
        relay = load(RelaySettings, path=path, environ={}, prefix="", options={})
        assert relay.operations.admin == ADMIN
        assert (relay.store.url if relay.store else None) == url


def test_the_nodes_take_the_leg_from_every_worker(tmp_path: Path) -> None:
    plan = Plan((UDP,), (UDP,), 1, workers=3)
    hint = HintConfiguration.generate("0", os.urandom)
    inner, leg, web = _free(socket.SOCK_DGRAM, 3), _free(socket.SOCK_DGRAM), HTTP
    for name, text in (
        ("relay.toml", relay_settings(plan, hint, inner, [leg], ADMIN)),
        ("node.toml", node_settings(plan, hint, 1, leg, inner, web)),
    ):
        (tmp_path / name).write_text(text)
    relay = load(RelaySettings, path=tmp_path / "relay.toml", environ={}, prefix="", options={})
    node = settings.load(tmp_path / "node.toml", {}, {})
    assert relay.workers == 3
    assert node.udp.relays == tuple(relay.inner_of(worker) for worker in range(3))
    assert relay.directory.nodes[0].address == node.udp.listen


def test_keys_are_those_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    first, second = (HintConfiguration.generate(name, os.urandom) for name in "01")
    old, new = (
        KeyRing((each,)).mint(1, node, os.urandom, 0.0).encode()
        for node, each in ((7, first), (8, second))
    )
    path = tmp_path / "node.toml"
    text = node_settings(Plan((UDP,), (UDP,), 1), first, 1, UDP, UDP, HTTP)
    path.write_text(text)
    keys = Keys(path)
    assert (keys.node_of_untrusted(old), keys.node_of_untrusted(new)) == (7, None)
    for nonsense in (b"", b"rtc", b"\xff" * 40, old[:-1]):
        assert keys.node_of_untrusted(nonsense) is None
    path.write_text(f"{text}{_hint_table(second)}")
    assert (keys.node_of_untrusted(old), keys.node_of_untrusted(new)) == (7, 8)
    path.write_text(f"{text}[[hint.configurations")
    assert (keys.node_of_untrusted(old), keys.node_of_untrusted(new)) == (7, 8)
    path.unlink()
    assert keys.node_of_untrusted(old) == 7
    assert Keys(path).node_of_untrusted(old) is None


def test_ports_in_a_row_are_free() -> None:
    first = _free(socket.SOCK_DGRAM, 4)
    with contextlib.ExitStack() as held:
        for port in range(first.port, first.port + 4):
            sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((first.ip, port))


async def _get(path: str) -> httpx.Response:
    transport = httpx.ASGITransport(Page(directory=WEB, html=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
        return await client.get(path)


def test_the_page_is_whole_and_takes_nothing_from_elsewhere() -> None:
    page = asyncio.run(_get("/"))
    assert page.headers["content-security-policy"] == "default-src 'self'"
    assert page.headers["cache-control"] == "no-cache"
    wanted = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    for name in SCRIPTS:
        script = asyncio.run(_get(f"/{name}")).text
        wanted |= set(re.findall(r"from '\./([^']+)'", script))
    assert wanted == {"icon.svg", "style.css", *SCRIPTS}
    assert wanted == {path.name for path in WEB.iterdir()} - {"index.html"}
    assert {asyncio.run(_get(f"/{name}")).status_code for name in wanted} == {200}
    for name in wanted:
        text = asyncio.run(_get(f"/{name}")).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9]+\.", text), name


def test_every_element_the_script_names_is_on_the_page() -> None:
    page, *scripts = ((WEB / name).read_text("utf-8") for name in ("index.html", *SCRIPTS))
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'(?:for|aria-labelledby|aria-describedby)="([^"]+)"', page)) <= ids
    named = set(re.findall(r"(?:\$|put|unit)\('([^']+)'", "".join(scripts)))
    assert named, "the pattern finds them"
    assert named <= ids
