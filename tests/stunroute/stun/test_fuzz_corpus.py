"""What other people's fuzzers have found worth keeping, read by our parsers.

Files of every protocol are taken, not STUN's alone: a parser that shares its port with five others
will see all of it. Most are no STUN to begin with, so each is also read behind a sound header.
"""

import base64
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import corpus_path
from stun_reader import read_everything
from stunroute import demux, stun

ABOUT = {"PROVENANCE.txt", "README", "README.md", "LICENSE"}


def samples(directory: Path) -> Iterator[bytes]:
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.name in ABOUT:
            continue
        data = path.read_bytes()
        yield data
        if data.startswith(b"go test fuzz v1"):
            yield from go_samples(data)


GO_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
GO_LETTERS = bytes.maketrans(b"abfnrtv", b"\a\b\f\n\r\t\v")


def go_samples(text: bytes) -> Iterator[bytes]:
    """The byte strings of a corpus file of Go's own fuzzing, which are Go literals."""
    for line in text.splitlines():
        if line.startswith(b'[]byte("'):
            yield GO_ESCAPE.sub(go_escape, line.removeprefix(b'[]byte("').removesuffix(b'")'))


def go_escape(match: re.Match[bytes]) -> bytes:
    kind, digits = match[1][:1], match[1][1:]
    if kind == b"x":
        return bytes.fromhex(digits.decode())
    if kind in b"uU":
        return chr(int(digits, 16)).encode()
    return kind.translate(GO_LETTERS)


def behind_a_header(data: bytes) -> bytes:
    body = data[: min(len(data), 65532) & ~3]
    return b"\x00\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + body


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aioice-bins", 4),
        ("aiortc-bins", 0),
        ("boringssl-dtls-fuzz", 0),
        ("coturn-fuzz", 0),
        ("libjuice-fuzz", 2),
        ("libsrtp-fuzz", 0),
        ("libwebrtc-fuzz", 17),
        ("mbedtls-fuzz", 0),
        ("mediasoup-fuzz", 17),
        ("pion-dtls", 0),
        ("pion-rtcp", 0),
        ("pion-stun", 1),
        ("pion-turn", 0),
        ("usrsctp-fuzz", 0),
        ("werift-rtp", 0),
    ],
)
def test_only_decode_errors(name: str, expected: int) -> None:
    """``expected`` is how many of the samples are STUN messages of sound structure as they are."""
    messages = 0
    for data in samples(corpus_path("fuzz", name)):
        demux.classify(data)
        messages += read_everything(data) is not None
        for part in (data, data[20:]):
            read_everything(behind_a_header(part))
    assert messages == expected


@pytest.mark.corpus
def test_messages_that_browsers_sent() -> None:
    """Each row holds a message of a browser's to a STUN server, in base64."""
    lines = corpus_path("fuzz", "pion-stun", "frombrowsers.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert rows
    for row in rows:
        data = base64.b64decode(row["message"])
        message = stun.decode_untrusted(data)
        assert message.method == stun.Method.BINDING
        assert message.message_class is stun.MessageClass.REQUEST
        assert message.fingerprint_ok is not False
        assert read_everything(data)


@pytest.mark.corpus
def test_wycheproof_hmac() -> None:
    """HMAC with keys and messages chosen to break it."""
    for name, length in (("sha1", 20), ("sha256", 32)):
        path = corpus_path("wycheproof", "testvectors_v1", f"hmac_{name}_test.json")
        for group in json.loads(path.read_text())["testGroups"]:
            for test in group["tests"]:
                key = stun.IntegrityKey(bytes.fromhex(test["key"]))
                mac = getattr(key, name)(bytes.fromhex(test["msg"]))
                assert len(mac) == length
                tag = bytes.fromhex(test["tag"])
                assert (mac[: len(tag)] == tag) is (test["result"] == "valid")
