"""Other people's servers are started, called by somebody else's client, and ended.

Only those that every machine of ours has must be there; the others are tried where somebody has
installed them (``conformance peers install``).
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import peers
from conformance.peers import PEERS, Door, Ice, Peer, Running
from stunroute import stun
from stunroute.address import Address
from tools import unavailable

pytestmark = pytest.mark.live

EVERYWHERE = {"aiortc", "coturn"}

each = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


def require(peer: Peer) -> None:
    """Skip where a peer cannot be had. That fails under ``CI=true`` for some peers alone."""
    lacks = ", ".join(package.name for package in peers.missing(peer))
    if peer.needs_namespace and os.geteuid() != 0:
        lacks = "root, for a network namespace"
    if not lacks:
        return
    reason = f"{peer.name} lacks {lacks}"
    if peer.name in EVERYWHERE:
        unavailable(reason)
    pytest.skip(reason)


def called(running: Running, kinds: frozenset[str]) -> dict[str, object]:
    """What became of a call with these contents, made where the peer is."""
    argv = [sys.executable, "-m", "conformance.peers.call", running.url, ",".join(sorted(kinds))]
    done = subprocess.run(
        running.command(argv), capture_output=True, text=True, timeout=60, check=True
    )
    told: dict[str, object] = json.loads(done.stdout)
    return told


def asked(running: Running) -> tuple[Address, Address]:
    """The source of a Binding request and what the server says that it is."""
    host, _, port = running.url.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.bind((host, 0))
        asking.connect((host, int(port)))
        request = stun.build(
            stun.Method.BINDING, stun.MessageClass.REQUEST, bytes(range(12)), fingerprint=False
        )
        asking.send(request)
        message = stun.decode_untrusted(asking.recv(2048))
        own = Address.of(*asking.getsockname()[:2])
    assert message.transaction_id == bytes(range(12))
    mapped = message.xor_mapped_address or message.mapped_address
    assert mapped is not None
    return own, mapped


@each
def test_a_peer_does_what_is_said_of_it(peer: Peer) -> None:
    require(peer)
    with peers.start(peer.name) as running:
        assert running.version
        if peer.door is Door.STUN:
            own, mapped = asked(running)
            assert mapped == own
        else:
            told = called(running, peer.echoes)
            assert told["connected"], told["problem"]
            assert told["lite"] is (peer.ice is Ice.LITE)
            assert {kind for kind in ("audio", "data") if told[kind]} == peer.echoes
    assert not Path(f"/proc/{running.pid}").exists()


def test_two_of_a_kind_stand_beside_one_another() -> None:
    require(peers.by_name()["coturn"])
    with peers.start("coturn") as one, peers.start("coturn") as other:
        assert one.url != other.url
        assert [mapped == own for own, mapped in (asked(one), asked(other))] == [True, True]
