"""Each change does what it says to a plain offer, and nothing else."""

import pytest

from conformance.client import Client, seeded
from conformance.probe.renewal import Renewed, compared, fresh, raised
from conformance.probe.sdp import cut, direction, faults
from conformance.probe.sdp_changes import (
    added,
    hoisted,
    in_each_section,
    instead,
    naming,
    renaming,
    with_section,
    without,
)
from stunroute.address import Address


def offer(*contents: str) -> str:
    return Client(
        entropy=seeded("changes"),
        address=Address.of("192.0.2.1", 5000),
        announces=True,
        contents=contents or ("audio",),
    ).offer()


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that are gone, and lines that are new."""
    old, new = before.split("\r\n"), after.split("\r\n")
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_lines_come_and_go() -> None:
    plain = offer()
    assert changed(plain, added("a=one", "a=two")(plain)) == ([], ["a=one", "a=two"])
    gone, new = changed(plain, without("a=ice-ufrag|a=ice-pwd")(plain))
    assert [line.partition(":")[0] for line in gone] == ["a=ice-ufrag", "a=ice-pwd"]
    assert new == []
    assert without("ice-ufrag")(plain) == plain, "only what a line begins with"
    assert changed(plain, instead("a=sendrecv", "a=sendonly")(plain))[1] == ["a=sendonly"]


def test_a_line_in_each_section() -> None:
    both = offer("audio", "data")
    shared = both.count("a=rtcp-mux\r\n")
    assert shared > 0
    assert in_each_section("a=one")(both).count("a=one\r\n") == shared


def test_fingerprints_are_named_anew() -> None:
    plain = offer()
    assert cut(naming(["sha-1 AA", "sha-2 BB"])(plain)).sections[0].values("fingerprint") == (
        "sha-1 AA",
        "sha-2 BB",
    )
    lower = renaming(str.lower, lambda said: said)(plain)
    first, second = cut(lower).sections[0].values("fingerprint")
    assert first == second.lower() != second
    assert renaming(str.lower)("v=0\r\n") == "v=0\r\n"


def test_hoisted_credentials_hold_for_the_section() -> None:
    plain, moved = cut(offer()), cut(hoisted(offer()))
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
        assert moved.sections[0].first(name) is None
        assert moved.of(moved.sections[0], name) == plain.sections[0].first(name)
    assert direction(moved, moved.sections[0]) == direction(plain, plain.sections[0])


def test_another_section_is_in_the_group_and_has_the_transport() -> None:
    text = cut(with_section("m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:odd\r\n", "odd")(offer()))
    assert text.values("group")[0].split()[-1] == "odd"
    assert text.sections[1].first("ice-ufrag") == text.sections[0].first("ice-ufrag")


def test_what_follows_is_newer_than_the_first() -> None:
    plain = offer()
    [gone], [new] = changed(plain, raised(plain, 2))
    assert int(new.split()[2]) == int(gone.split()[2]) + 2
    further = fresh_of(plain, password=False)
    assert [line.partition(":")[0] for line in changed(plain, further)[0]] == ["a=ice-ufrag"]
    assert faults(plain, further) == faults(plain, plain)


def fresh_of(plain: str, **halves: bool) -> str:
    class Drawing:
        entropy = staticmethod(seeded("fresh"))

    return fresh(Drawing(), plain, **halves)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("new", "seen"),
    [
        (("u", "p"), Renewed.SAME),
        (("x", "p"), Renewed.HALF),
        (("u", "x"), Renewed.HALF),
        (("x", "y"), Renewed.NEW),
    ],
)
def test_credentials_are_compared_by_halves(new: tuple[str, str], seen: Renewed) -> None:
    assert compared(("u", "p"), new) is seen
