"""What is said of peers holds together."""

import pytest

from conformance.case import Profile
from conformance.peers import PEERS, Door, Ice, Peer, by_name
from conformance.peers.installing import HERE
from conformance.peers.table import Runner, Source
from source import ROOT

each = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


def test_names_are_of_one_peer() -> None:
    assert list(by_name()) == [peer.name for peer in PEERS]


def test_the_promised_ones_are_there() -> None:
    promised = {"aiortc", "werift", "janus", "coturn", "rtpengine", "gstreamer"}
    assert promised <= set(by_name())


@each
def test_profiles_are_those_of_the_suite(peer: Peer) -> None:
    known = {profile.value for profile in Profile}
    assert set(peer.profiles) <= known
    assert len(set(peer.profiles)) == len(peer.profiles)


@each
def test_a_lite_agent_has_the_profile_and_others_have_not(peer: Peer) -> None:
    assert ("ice-lite" in peer.profiles) is (peer.ice is Ice.LITE)


@each
def test_a_stun_server_is_nothing_else(peer: Peer) -> None:
    if peer.door is Door.STUN:
        assert (peer.profiles, peer.ice, peer.echoes) == (("stun",), Ice.NONE, frozenset())
    else:
        assert peer.ice is not Ice.NONE
        assert peer.echoes <= {"audio", "data"}
        assert ("datachannel" in peer.profiles) is ("data" in peer.echoes)


@each
def test_its_program_is_here(peer: Peer) -> None:
    path = HERE / peer.program
    match peer.runner:
        case Runner.MODULE:
            assert path.with_suffix(".py").is_file()
        case Runner.GO:
            assert list(path.glob("*.go"))
        case Runner.NODE | Runner.SYSTEM_PYTHON:
            assert path.is_file()


@each
def test_every_package_says_how_it_is_found(peer: Peer) -> None:
    assert peer.packages
    for package in peer.packages:
        found = package.marker if package.source is Source.DEBIAN else package.module
        assert found


@each
def test_there_is_something_to_know_of_it(peer: Peer) -> None:
    assert peer.notes
    assert all(note.endswith(".") for note in peer.notes)


def test_programs_travel_with_the_package() -> None:
    """What is no Python has to be named among the package's data."""
    told = (ROOT / "pyproject.toml").read_text()
    kinds = {path.suffix for path in HERE.rglob("*") if path.is_file()}
    for suffix in kinds - {".py", ".pyc"}:
        assert f"*{suffix}" in told
