"""Wireshark looks at our recordings: what it calls each packet, and what it finds wrong."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.__main__ import main
from stories import PCAPS
from tools import require_tool

pytestmark = pytest.mark.live

KINDS = {
    "STUN": "stun",
    "DTLS": "dtls",
    "SRTP": "rtp",
    "RTP": "rtp",
    "SRTCP": "rtcp",
    "RTCP": "rtcp",
}
MEDIA = {"rtp", "rtcp"}
HANDSHAKE = {
    "ClientHello": 1,
    "ServerHello": 2,
    "Certificate": 11,
    "ServerKeyExchange": 12,
    "CertificateRequest": 13,
    "ServerHelloDone": 14,
    "CertificateVerify": 15,
    "ClientKeyExchange": 16,
}
FIELDS = (
    "frame.number",
    "_ws.col.Protocol",
    "dtls.handshake.type",
    "stun.att.crc32.status",
    "udp.checksum.status",
    "ip.checksum.status",
    "_ws.malformed",
)
GOOD = "1"


def by_tshark(path: Path) -> list[dict[str, str]]:
    command = [require_tool("tshark"), "-r", str(path), "-T", "fields"]
    for option in ("udp.check_checksum", "ip.check_checksum"):
        command += ["-o", f"{option}:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in text.splitlines()]


def by_us(path: Path) -> list[dict[str, object]]:
    told = CliRunner().invoke(main, ["inspect", "--json", str(path)])
    assert told.exit_code == 0
    return [json.loads(line) for line in told.stdout.splitlines()]


@pytest.mark.parametrize("path", sorted(PCAPS.glob("*.pcap")), ids=lambda path: path.stem)
def test_tshark_sees_what_we_see_and_nothing_wrong(path: Path) -> None:
    theirs, ours = by_tshark(path), by_us(path)
    assert [int(row["frame.number"]) for row in theirs] == [line["packet"] for line in ours]
    for row, line in zip(theirs, ours, strict=True):
        seen = row["_ws.col.Protocol"].partition("v")[0]
        # When an ICE restart or a new port begins a conversation anew, it no longer knows that
        # media are enciphered: they are plain UDP to it then, or broken.
        assert line["kind"] in (MEDIA if seen == "UDP" else {KINDS[seen]}), row
        assert row["_ws.malformed"] == "" or line["kind"] in MEDIA
        assert {row["ip.checksum.status"], row["udp.checksum.status"]} == {GOOD}
        assert row["stun.att.crc32.status"] in ("", GOOD)
        types = [int(text) for text in row["dtls.handshake.type"].split(",") if text]
        assert types == handshake_types(line), row


def handshake_types(line: dict[str, object]) -> list[int]:
    records = line.get("records") or []
    assert isinstance(records, list)
    names = [message["type"] for record in records for message in record.get("messages", [])]
    return [HANDSHAKE[name] for name in names if name in HANDSHAKE]
