"""Where seeds come from: the captures of this repository, and a folder of other people's corpora.

The folder is the one that ``STUNROUTE_CORPUS`` names; in its ``fuzz`` lie inputs that other
projects' fuzzers have found worth keeping. What each of them is made of is in ``FOLDERS``.
"""

import ast
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from stunroute.errors import StunrouteError

from . import samples
from .seeds import LONGEST, Seeds, dtls_records

_MOST_FILES = 600
"""Files of one folder that are read."""

Reader = Callable[[Seeds, bytes], None]


def our_pcaps() -> Path:
    """Where this repository's captures are: beside the package in a checkout; of an installed
    package it is known only that it may be run in one."""
    beside = Path(__file__).parents[2] / "pcaps"
    return beside if beside.is_dir() else Path("pcaps")


def collect(pcaps: Path | None = None, corpus: Path | None = None) -> Seeds:
    """All seeds that there are, ``pcaps`` being our own unless said. Files that cannot be read give
    none."""
    seeds = Seeds()
    samples.add(seeds)
    _read_pcaps(seeds, our_pcaps() if pcaps is None else pcaps)
    if corpus is not None:
        _read_corpus(seeds, corpus)
    return seeds


def _read_pcaps(seeds: Seeds, pcaps: Path) -> None:
    from conformance import capture, sidecar

    for path in sorted(pcaps.glob("*.pcap")):
        seeds.add_datagrams(one.payload for one in capture.read(path) if one.is_udp)
        with path.open("rb") as file:
            seeds.add("capture", file.read(LONGEST))
    for path in sorted(pcaps.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        seeds.add("sidecar", _shortened(text).encode())
        try:
            found = sidecar.loads(text)
        except StunrouteError:
            continue
        seeds.add("sdp", found.offer.encode())


def _shortened(text: str) -> str:
    """A sidecar with the first two of its steps: whole ones are too long to be mutated."""
    head, _, steps = text.partition("\nsteps = [\n")
    first = "\n".join(steps.splitlines()[:2])
    _, _, end = steps.partition("\n[end]\n")
    return f"{head}\nsteps = [\n{first}\n]\n\n[end]\n{end}"


def _read_corpus(seeds: Seeds, corpus: Path) -> None:
    for folder, read in FOLDERS.items():
        root = corpus / "fuzz" / folder
        for path in sorted(path for path in root.rglob("*") if path.is_file())[:_MOST_FILES]:
            if path.name not in ("PROVENANCE.txt", "README", "README.md"):
                for data in _contents(path):
                    read(seeds, data)
    for path in sorted((corpus / "sdp").rglob("*.sdp"))[:_MOST_FILES]:
        seeds.add("sdp", path.read_bytes())


def _contents(path: Path) -> Iterator[bytes]:
    """What a file holds: itself, the members of an archive, the bytes in a case of Go's fuzzer, a
    line of hexadecimal digits."""
    data = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist()[:_MOST_FILES]:
                if member.file_size <= LONGEST:
                    yield archive.read(member)
    elif data.startswith(b"go test fuzz v1"):
        for line in data.splitlines()[1:]:
            if line.startswith(b'[]byte("') and line.endswith(b'")'):
                yield _go_string(line[len(b'[]byte("') : -2])
    elif path.suffix == ".hex":
        try:
            yield bytes.fromhex(data.decode("ascii", "replace"))
        except ValueError:
            return
    else:
        yield data


def _go_string(escaped: bytes) -> bytes:
    """The bytes of a string literal. Bytes beyond ASCII stand in it as they are."""
    plain = b"".join(b"\\x%02x" % octet if octet > 126 else bytes((octet,)) for octet in escaped)
    try:
        found = ast.literal_eval(f'b"{plain.decode("ascii")}"')
    except (ValueError, SyntaxError):
        return b""
    return found if isinstance(found, bytes) else b""


def _as_datagram(seeds: Seeds, data: bytes) -> None:
    seeds.add_datagrams([data])


def _as_dtls(seeds: Seeds, data: bytes) -> None:
    """Their files begin with settings, and say in their own way where a record begins."""
    seeds.add_datagrams(dtls_records(data))


def _as_sctp(seeds: Seeds, data: bytes) -> None:
    seeds.add("sctp", data, b"\x00" + data)
    seeds.add("chunk", data[12:])


def _as_sctp_chunks(seeds: Seeds, data: bytes) -> None:
    """The packets of usrsctp's fuzzers have their common header, the rest as well."""
    _as_sctp(seeds, data)
    seeds.add("parameters", data[32:])


def _as(*kinds: str) -> Reader:
    def read(seeds: Seeds, data: bytes) -> None:
        for kind in kinds:
            seeds.add(kind, data)

    return read


def _as_extension(seeds: Seeds, data: bytes) -> None:
    seeds.add("value", data)
    seeds.add("extensions", data)
    seeds.add("body", data)
    _as_dtls(seeds, data)


_MEDIASOUP = "mediasoup-fuzz/deps/webrtc-fuzzer-corpora/corpora"
FOLDERS: dict[str, Reader] = {
    "aioice-bins": _as("stun", "datagram"),
    "aiortc-bins": lambda seeds, data: (
        _as_sctp(seeds, data) if data[:2] == b"\x13\x88" else _as_datagram(seeds, data)
    ),
    "boringssl-dtls-fuzz": _as_dtls,
    "coturn-fuzz": _as("stun", "datagram"),
    "libjuice-fuzz": _as("stun", "datagram"),
    "libsrtp-fuzz": _as("rtp", "rtcp", "rtp-row"),
    "libwebrtc-fuzz/rtcp-corpus": _as("rtcp", "datagram"),
    "libwebrtc-fuzz/rtp-corpus": _as("rtp", "datagram"),
    "libwebrtc-fuzz/sctp-packet-corpus": _as_sctp,
    "libwebrtc-fuzz/sdp-corpus": _as("sdp"),
    "libwebrtc-fuzz/stun-corpus": _as("stun", "datagram"),
    "mbedtls-fuzz/corpuses": _as_dtls,
    f"{_MEDIASOUP}/rtcp-corpus": _as("rtcp", "datagram"),
    f"{_MEDIASOUP}/rtp-corpus": _as("rtp", "datagram"),
    f"{_MEDIASOUP}/sdp-corpus": _as("sdp"),
    f"{_MEDIASOUP}/stun-corpus": _as("stun", "datagram"),
    "mediasoup-fuzz/fuzzer/reports": _as("rtp", "rtcp", "stun", "datagram"),
    "pion-dtls": _as_extension,
    "pion-rtcp": _as("rtcp"),
    "pion-stun/fuzz": _as("stun", "value"),
    "pion-turn": _as_datagram,
    "usrsctp-fuzz": _as_sctp_chunks,
    "werift-rtp": _as("rtp", "datagram"),
}
"""Readers by folder of the corpus."""
