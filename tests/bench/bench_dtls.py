"""Handshakes per second in memory: ours against pyOpenSSL's, taken in turns.

Both have both ends in this process, mutual P-256 certificates, ECDHE with X25519, AES-128-GCM and
use_srtp. pyOpenSSL is measured twice, with a context for each end made once and made for each
handshake (a server that gives each session its own certificate or callbacks pays for the latter).

    PYTHONPATH=.:tests python tests/bench/bench_dtls.py [rounds]
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from OpenSSL import SSL  # noqa: E402

from dtls_openssl import Certified, OpenSslPeer, make_context  # noqa: E402
from dtls_pair import LIMITS, identity_of  # noqa: E402
from transceiver.dtls import DtlsConnection, HandshakeComplete, Identity, Role  # noqa: E402
from transceiver.keying import SrtpProfile  # noqa: E402

HANDSHAKES = 50
PROFILES = tuple(SrtpProfile)
CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256"


def _connection(role: Role, ours: Identity, theirs: Identity) -> DtlsConnection:
    return DtlsConnection(
        role=role,
        identity=ours,
        fingerprints=(theirs.fingerprint,),
        entropy=ENTROPY,
        limits=LIMITS,
        profiles=PROFILES,
    )


def _ours() -> None:
    client = _connection(Role.CLIENT, CLIENT, SERVER)
    server = _connection(Role.SERVER, SERVER, CLIENT)
    client.start(0.0)
    moved = True
    while moved:
        moved = False
        for sender, receiver in ((client, server), (server, client)):
            while (datagram := sender.next_transmit()) is not None:
                receiver.receive_datagram(datagram, 0.0)
                moved = True
    for side in (client, server):
        if not isinstance(side.next_event(), HandshakeComplete):
            raise SystemExit("a handshake of ours did not complete")


def _openssl(contexts: Callable[[], tuple[SSL.Context, SSL.Context]]) -> None:
    client_context, server_context = contexts()
    client = OpenSslPeer(Role.CLIENT, client_context)
    server = OpenSslPeer(Role.SERVER, server_context)
    client.advance()
    server.advance()
    while not (client.done and server.done):
        for sender, receiver in ((client, server), (server, client)):
            for datagram in sender.transmits():
                receiver.receive(datagram)
    for peer in (client, server):
        peer.srtp_material(SrtpProfile.AEAD_AES_128_GCM)


def _contexts() -> tuple[SSL.Context, SSL.Context]:
    return (
        make_context(Certified.of(CLIENT), ciphers=CIPHERS),
        make_context(Certified.of(SERVER), ciphers=CIPHERS),
    )


def _rate(handshake: Callable[[], None]) -> float:
    begin = time.perf_counter()
    for _ in range(HANDSHAKES):
        handshake()
    return HANDSHAKES / (time.perf_counter() - begin)


ENTROPY = os.urandom
CLIENT, SERVER = identity_of("client"), identity_of("server")


def main(rounds: int) -> None:
    shared = _contexts()
    contenders: dict[str, Callable[[], None]] = {
        "ours": _ours,
        "pyOpenSSL, contexts shared": lambda: _openssl(lambda: shared),
        "pyOpenSSL, contexts new": lambda: _openssl(_contexts),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, handshake in contenders.items():
            rates[name].append(_rate(handshake))
    ours = statistics.median(rates["ours"])
    print(f"{'handshakes/s, both ends':30} {'median':>8} {'min':>8} {'max':>8}  ours is")
    for name, found in rates.items():
        median = statistics.median(found)
        print(
            f"{name:30} {median:8.0f} {min(found):8.0f} {max(found):8.0f}  {ours / median:5.2f} x"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
