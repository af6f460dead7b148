"""The constants are IANA's."""

import csv
from pathlib import Path

import pytest

from corpus import corpus_path
from stunroute import stun
from stunroute.stun.registry import COMPREHENSION_OPTIONAL, UNDERSTOOD

RENAMED = {
    stun.Attribute.CHANGE_REQUEST: "Reserved; was CHANGE-REQUEST prior to [RFC5389]",
    stun.Attribute.NOMINATION: "ENF-FLOW-DESCRIPTION",
    stun.Attribute.NETWORK_COST: "GOOG-NETWORK-INFO",
}


def _registry(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {row["Value"]: row["Name"] for row in csv.DictReader(lines)}


@pytest.mark.corpus
def test_attributes_agree_with_iana() -> None:
    registry = _registry(corpus_path("fuzz", "pion-stun", "stun-parameters-4.csv"))
    for attribute in stun.Attribute:
        expected = RENAMED.get(attribute, attribute.name.replace("_", "-"))
        assert registry[f"0x{attribute:04X}"] == expected


@pytest.mark.corpus
def test_methods_agree_with_iana() -> None:
    registry = _registry(corpus_path("fuzz", "pion-stun", "stun-parameters-2.csv"))
    for method in stun.Method:
        name = registry[f"0x{method:03X}"].replace(" ", "")
        assert name.lower() == method.name.replace("_", "").lower()


@pytest.mark.corpus
def test_error_codes_agree_with_iana() -> None:
    registry = _registry(corpus_path("fuzz", "pion-stun", "stun-parameters-6.csv"))
    for code in stun.ErrorCode:
        # 401 was renamed by RFC 8489 and is "Unauthorized" in the snapshot's year.
        assert code == 401 or registry[str(int(code))].lower() == code.reason.lower()


def test_understood_are_comprehension_required() -> None:
    assert all(type < COMPREHENSION_OPTIONAL for type in UNDERSTOOD)


def test_names_read_as_in_the_rfcs() -> None:
    assert stun.attribute_name(0x0020) == "XOR-MAPPED-ADDRESS"
    assert stun.attribute_name(0x4000) == "0x4000"
    assert stun.ErrorCode.ROLE_CONFLICT.reason == "Role Conflict"
