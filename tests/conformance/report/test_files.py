"""Captures of trails, as we and as others read them."""

import subprocess
from pathlib import Path

import pytest

from conformance import capture, catalogue
from conformance.report.files import file_name, key_log, numbered, ordered, pcapng
from conformance.trail import Crossing, Note, Trail
from reports import BEGAN, a_result, played, received, sent
from stunroute.address import Address
from tools import require_tool

CALL = "rfc5764/3/before-dtls"


def write(tmp_path: Path, trail: Trail) -> Path:
    path = tmp_path / "case.pcapng"
    path.write_bytes(pcapng(trail, BEGAN))
    return path


def tshark(path: Path, *options: str) -> list[str]:
    command = [require_tool("tshark"), "-r", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_our_own_reader_gives_the_datagrams_back(tmp_path: Path) -> None:
    trail = played(CALL).trail
    crossings = [entry for entry in ordered(trail) if isinstance(entry, Crossing)]
    packets = list(capture.read(write(tmp_path, trail)))
    assert [packet.payload for packet in packets] == [each.data for each in crossings]
    assert [packet.source for packet in packets] == [
        each.near if each.sent else each.far for each in crossings
    ]
    assert all(packet.is_udp for packet in packets)


def test_time_counts_from_when_the_run_began(tmp_path: Path) -> None:
    trail = a_result(entries=[sent(100.0, b"a"), received(100.25, b"b")]).trail
    first, second = capture.read(write(tmp_path, trail))
    assert first.time_ns == 1_777_890_030 * 10**9
    assert second.time_ns - first.time_ns == 250_000_000


def test_entries_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    trail = a_result(entries=[sent(1.0, b"late"), received(0.5, b"early")]).trail
    assert [p.payload for p in capture.read(write(tmp_path, trail))] == [b"early", b"late"]


def test_what_fits_no_packet_is_left_out_and_not_numbered(tmp_path: Path) -> None:
    entries = [Note(0.0, "x"), sent(0.0, b"a"), sent(0.0, bytes(65536)), sent(0.0, b"b")]
    trail = a_result(entries=entries).trail
    assert numbered(trail) == {1: 1, 3: 2}
    assert [p.payload for p in capture.read(write(tmp_path, trail))] == [b"a", b"b"]


@pytest.mark.parametrize("size", range(9))
def test_any_size_is_padded_right(tmp_path: Path, size: int) -> None:
    crossings = [sent(0.0, bytes(size), note="n" * size), sent(1.0, b"end")]
    trail = a_result(entries=crossings).trail
    trail.keep_secret("x" * size)
    assert [p.payload for p in capture.read(write(tmp_path, trail))] == [bytes(size), b"end"]


def test_ipv6_is_written_as_such(tmp_path: Path) -> None:
    one, other = Address.of("2001:db8::1", 1), Address.of("2001:db8::2", 2)
    trail = a_result(entries=[Crossing(0.0, one, other, True, b"six")]).trail
    (packet,) = capture.read(write(tmp_path, trail))
    assert (packet.source, packet.destination, packet.payload) == (one, other, b"six")


def test_an_empty_trail_is_a_capture_without_packets(tmp_path: Path) -> None:
    assert list(capture.read(write(tmp_path, Trail()))) == []


def test_wireshark_reads_it_and_its_comments(tmp_path: Path) -> None:
    entries = [
        Note(0.0, "offer\nv=0\r\na=ice-pwd:sEcReTpAsSwOrD"),
        sent(0.0, b"hello", note="greeting"),
        received(0.1, b"hello"),
    ]
    path = write(tmp_path, a_result(entries=entries).trail)
    assert b"sEcReT" not in path.read_bytes()
    fields = ("-T", "fields", "-e", "ip.src", "-e", "udp.length", "-e", "frame.comment")
    first, second = tshark(path, *fields)
    assert first.split("\t") == ["192.0.2.33", "13", "offer,greeting"]
    assert second.split("\t")[:2] == ["203.0.113.1", "13"]


def test_wireshark_decrypts_it_with_the_keys_inside(tmp_path: Path) -> None:
    (name,) = [
        each.name for each in catalogue.load() if each.name.endswith("label-that-is-no-text")
    ]
    result = played(name)
    path = write(tmp_path, result.trail)
    seen = tshark(path, "-Y", "dtls.handshake.verify_data")
    assert len(seen) == 2, "both Finished are sealed"
    dump = "\n".join(tshark(path, "-x", "-Y", "dtls.record.content_type == 23"))
    assert "Decrypted DTLS" in dump
    bare = Trail(entries=result.trail.entries)
    assert not tshark(write(tmp_path, bare), "-Y", "dtls.handshake.verify_data")


def test_a_key_log_beside_it_decrypts_as_well(tmp_path: Path) -> None:
    trail = played(CALL).trail
    keys = tmp_path / "case.keys"
    keys.write_text(key_log(trail))
    path = write(tmp_path, Trail(entries=trail.entries))
    option = ("-o", f"tls.keylog_file:{keys}")
    assert len(tshark(path, *option, "-Y", "dtls.handshake.verify_data")) >= 2


def test_file_names_of_cases_differ_as_their_names_do() -> None:
    names = [each.name for each in catalogue.load()]
    files = {file_name(name) for name in names}
    assert len(files) == len(names)
    assert not any("/" in name or name.startswith(".") for name in files)


def test_the_same_trail_gives_the_same_bytes() -> None:
    trail = played(CALL).trail
    assert pcapng(trail, BEGAN) == pcapng(trail, BEGAN)
