"""The same server before the same cases, with the other kind of address."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.__main__ import main
from conformance.commands.run import _addresses
from echoing import Echoing
from loopback import require_ipv6
from stunroute.address import Address

SOME = (
    *("rfc8489/6.3.1/retransmission", "rfc8489/6.3.1/unknown-required-attribute"),
    *("rfc8839/5.1/*", "rfc5764/3/before-dtls", "rfc8831/6.6/text"),
)
PATIENTLY = ("--patience", "20")
"""Nothing here waits for silence; whatever is asked is answered at once on a machine at leisure."""


def verdicts(host: str, report: Path, *options: str) -> dict[str, str]:
    """Of the cases above, asked of an endpoint of ours at that address of this machine."""
    with Echoing(host) as server:
        given = ["run", "--whip", server.url, *PATIENTLY, "--json", str(report)]
        done = CliRunner().invoke(main, [*given, *options])
    assert done.exit_code == 0, done.output
    told = json.loads(report.read_text())["results"]
    return {each["name"]: each["verdict"] for each in told}


def test_a_server_on_ipv6_alone_is_judged_as_one_on_ipv4(tmp_path: Path) -> None:
    here = verdicts(require_ipv6(), tmp_path / "6.json", *SOME)
    assert here == verdicts("127.0.0.1", tmp_path / "4.json", *SOME)
    assert set(here.values()) == {"pass"}


def test_media_by_ipv6_is_reached_from_signalling_by_ipv4() -> None:
    far = Address.of(require_ipv6(), 0)
    with Echoing(far.ip) as media, Echoing(door_of=media) as server:
        given = ["run", "--whip", server.url, *PATIENTLY, "--allow", f"[{far.ip}]"]
        done = CliRunner().invoke(main, [*given, "--all", "rfc8489/6.3.1/retransmission"])
    assert done.exit_code == 0, done.output
    assert "1 pass" in done.output


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_a_bare_address_of_either_kind_is_asked(host: str) -> None:
    if ":" in host:
        require_ipv6()
    with Echoing(host) as server:
        # No call is up, so nobody has credentials: an endpoint is silent to strangers.
        done = CliRunner().invoke(main, ["run", "--stun", str(server.media), "rfc8489/6.3.1/*"])
    assert done.exit_code == 5
    assert f"4 Binding requests to {server.media} got no answer" in done.output
    assert server.heard >= 4


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[::1]:3478", Address.of("::1", 3478)),
        ("[::1]", Address.of("::1", 0)),
        ("::1", Address.of("::1", 0)),
        ("[2001:db8::1]:5", Address.of("2001:db8::1", 5)),
        ("127.0.0.1:5", Address.of("127.0.0.1", 5)),
    ],
)
def test_addresses_are_read_with_and_without_brackets(text: str, address: Address) -> None:
    assert _addresses(text) == (address,)
