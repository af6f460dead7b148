"""Where an answer's candidates lead, and why some of them lead nowhere."""

import pytest

from conformance.client import Answer, read_answer_untrusted
from stunroute.address import Address

HEAD = "".join(
    f"{line}\r\n"
    for line in (
        *("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-ufrag:abcd"),
        *("a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=setup:passive"),
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    )
)


def answer(*candidates: str) -> Answer:
    lines = (f"a=candidate:1 1 {each} typ host\r\n" for each in candidates)
    return read_answer_untrusted(HEAD + "".join(lines))


@pytest.mark.parametrize(
    ("candidate", "address"),
    [
        ("udp 100 192.0.2.1 5000", Address.of("192.0.2.1", 5000)),
        ("UDP 100 2001:db8::1 5000", Address.of("2001:db8::1", 5000)),
        ("udp 100 ::1 5000", Address.of("::1", 5000)),
        ("udp 100 ::ffff:192.0.2.1 5000", Address.of("192.0.2.1", 5000)),
    ],
)
def test_an_address_of_either_kind_is_taken(candidate: str, address: Address) -> None:
    assert answer(candidate).server() == address


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("udp 100 0d9d2a41-1b4c-4f2a-9d43-a1b2c3d4e5f6.local 5000", "a name, and no address"),
        ("udp 100 fe80::1%eth0 5000", "fe80::1%eth0: of one link"),
        ("udp 100 fe80::1 5000", "fe80::1: of one link"),
        ("udp 100 2001:db8::1%4 5000", "2001:db8::1%4: of one link"),
        ("udp 100 192.0.2.1 65536", "192.0.2.1: no port"),
        ("tcp 100 192.0.2.1 9", "192.0.2.1: tcp"),
        ("udp 100 192.0.2.9 9", "192.0.2.9: not given"),
    ],
)
def test_what_cannot_be_used_is_passed_over_with_its_reason(candidate: str, reason: str) -> None:
    def usable(address: Address) -> bool:
        return address.ip != "192.0.2.9"

    told = answer(candidate, "udp 1 192.0.2.7 7")
    assert told.server(usable) == Address.of("192.0.2.7", 7)
    assert told.passed_over(usable) == [reason]


def test_reasons_are_told_once_and_of_a_few_only() -> None:
    names = [f"udp {number} {number}.local 9" for number in range(1, 9)]
    assert answer(*names).passed_over() == ["a name, and no address"]
    far = [f"udp {number} 192.0.2.{number} 9" for number in range(1, 99)]
    assert len(answer(*far).passed_over(lambda _: False)) == 6
