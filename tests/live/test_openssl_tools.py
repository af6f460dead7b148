"""Handshakes with OpenSSL's own programs over loopback, in both roles, to an exchange of data.

The programs verify our certificate against itself, so a wrong signature of ours ends the call."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from dtls_pair import LIMITS, entropy_of
from tools import require_tool
from transceiver.dtls import ApplicationData, DtlsConnection, HandshakeComplete, Identity, Role
from transceiver.keying import SrtpProfile

pytestmark = pytest.mark.live

PATIENCE = 15.0
TODAY = datetime.now(UTC)  # OpenSSL minds when a certificate is valid
THEIRS = Identity.generate(entropy_of("openssl"), not_before=TODAY)
OURS = Identity.generate(entropy_of("ours"), not_before=TODAY)


@contextmanager
def openssl(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """An OpenSSL program with ``THEIRS`` for a certificate, that trusts ``OURS`` alone."""
    own, trusted = directory / "own.pem", directory / "trusted.pem"
    own.write_text(THEIRS.to_pem())
    certificate = load_der_x509_certificate(OURS.certificate_der)
    trusted.write_bytes(certificate.public_bytes(Encoding.PEM))
    command = [require_tool("openssl"), *arguments, "-dtls1_2", "-cert", str(own), "-key", str(own)]
    command += ["-CAfile", str(trusted), "-verify_return_error"]
    command += ["-use_srtp", "SRTP_AEAD_AES_128_GCM"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as program:
        end = threading.Timer(2 * PATIENCE, program.kill)  # whoever reads from it does not wait on
        end.start()
        try:
            yield program
        finally:
            end.cancel()
            program.kill()


def run(
    connection: DtlsConnection, wire: socket.socket, peer: tuple[str, int] | None
) -> tuple[HandshakeComplete, bytes]:
    """Drive our end until it has keys and has heard from the program."""
    done, heard, end = None, b"", time.monotonic() + PATIENCE
    if peer is not None:
        connection.start(time.monotonic())
    while time.monotonic() < end:
        while (event := connection.next_event()) is not None:
            match event:
                case HandshakeComplete():
                    done = event
                    connection.send(b"hello from us\n", time.monotonic())
                case ApplicationData(data=data):
                    heard += data
        while (datagram := connection.next_transmit()) is not None:
            assert peer is not None
            wire.sendto(datagram, peer)
        if done is not None and heard:
            return done, heard
        try:
            datagram, peer = wire.recvfrom(2048)
        except TimeoutError:
            connection.handle_timeout(time.monotonic())
        except ConnectionRefusedError:
            time.sleep(0.05)  # the program is not up yet
        else:
            connection.receive_datagram(datagram, time.monotonic())
    raise AssertionError(f"nothing came of it: {connection.stage}, {connection.refusal}")


def ours(role: Role) -> DtlsConnection:
    return DtlsConnection(
        role=role,
        identity=OURS,
        fingerprints=(THEIRS.fingerprint,),
        entropy=entropy_of("tools"),
        limits=LIMITS,
    )


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(0.05)
        yield made


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(program: subprocess.Popen[bytes], wanted: bytes) -> bool:
    assert program.stdout is not None
    return any(wanted in line for line in iter(program.stdout.readline, b""))


def test_our_client_and_s_server(tmp_path: Path, wire: socket.socket) -> None:
    port = free_port()
    arguments = ("s_server", "-accept", f"127.0.0.1:{port}", "-Verify", "1", "-quiet")
    with openssl(tmp_path, *arguments) as program:
        assert program.stdin is not None
        program.stdin.write(b"hello from OpenSSL\n")
        program.stdin.flush()
        done, heard = run(ours(Role.CLIENT), wire, ("127.0.0.1", port))
        assert heard == b"hello from OpenSSL\n"
        assert done.keys.profile is SrtpProfile.AEAD_AES_128_GCM
        assert said(program, b"hello from us")


def test_s_client_and_our_server(tmp_path: Path, wire: socket.socket) -> None:
    port = wire.getsockname()[1]
    arguments = ("s_client", "-connect", f"127.0.0.1:{port}", "-quiet")
    with openssl(tmp_path, *arguments) as program:
        assert program.stdin is not None
        program.stdin.write(b"hello from OpenSSL\n")
        program.stdin.flush()
        done, heard = run(ours(Role.SERVER), wire, None)
        assert heard == b"hello from OpenSSL\n"
        assert done.keys.profile is SrtpProfile.AEAD_AES_128_GCM
        assert said(program, b"hello from us")
