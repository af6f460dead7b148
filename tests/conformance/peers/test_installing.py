"""Which peers are installed, and where."""

import sys
from pathlib import Path

import pytest

from conformance import peers
from conformance.peers import PeerError, installing
from conformance.peers.table import Door, Package, Peer, Runner, Source


def made(*packages: Package, program: str = "node/made.mjs") -> Peer:
    return Peer(
        name="made",
        title="Made",
        door=Door.WHIP,
        runner=Runner.NODE,
        program=program,
        packages=packages,
        profiles=("stun",),
    )


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(installing.VARIABLE, str(tmp_path))
    return tmp_path


def test_the_prefix_is_the_one_that_is_told(prefix: Path) -> None:
    assert peers.prefix() == prefix
    assert installing.home(made()) == prefix / "made"


def test_without_one_it_lies_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(installing.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert peers.prefix() == tmp_path / "stunroute-peers"


def test_the_prefix_can_be_given_to_a_program(prefix: Path, tmp_path: Path) -> None:
    peers.use_prefix(tmp_path / "other")
    assert peers.prefix() == tmp_path / "other"


def test_a_package_of_npm_is_found_in_its_folder(prefix: Path) -> None:
    peer = made(Package(Source.NPM, "@some/thing", module="@some/thing"))
    assert peers.missing(peer) == peer.packages
    folder = prefix / "made" / "node_modules" / "@some" / "thing"
    folder.mkdir(parents=True)
    assert peers.missing(peer) == peer.packages
    (folder / "package.json").write_text("{}")
    assert peers.missing(peer) == ()


def test_a_package_of_debian_is_found_by_its_file_or_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    plugin = tmp_path / "lib" / "plugin.so"
    peer = made(Package(Source.DEBIAN, "plugin", marker=f"{tmp_path}/*/plugin.so"))
    assert peers.missing(peer) == peer.packages
    plugin.touch()
    assert peers.missing(peer) == ()
    assert peers.missing(made(Package(Source.DEBIAN, "shell", marker="/nowhere/sh"))) == ()


def test_a_package_of_python_is_found_without_being_imported() -> None:
    assert peers.missing(made(Package(Source.PYTHON, "attrs", module="attrs"))) == ()
    lacking = made(Package(Source.PYTHON, "nothing", module="nothing_of_that_name"))
    assert peers.missing(lacking) == lacking.packages


def test_a_package_of_python_goes_to_the_interpreter_that_asks(monkeypatch) -> None:
    ran = []
    monkeypatch.setattr(installing, "run", lambda argv: ran.append(argv))
    installing.install(made(Package(Source.PYTHON, "nothing", module="nothing_of_that_name")))
    assert ran == [[sys.executable, "-m", "pip", "install", "--quiet", "nothing"]]


def test_what_is_missing_is_named_before_anything_starts(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = made(Package(Source.NPM, "thing", module="thing"))
    monkeypatch.setattr("conformance.peers.running.by_name", lambda: {"made": peer})
    with (
        pytest.raises(PeerError, match="made needs thing: conformance peers install made"),
        peers.start("made"),
    ):
        pass


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(PeerError, match="no peer 'nobody'"), peers.start("nobody"):
        pass


def test_a_tool_that_fails_says_so() -> None:
    with pytest.raises(PeerError, match=r"failed: one \| two"):
        installing.run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"])
    with pytest.raises(PeerError, match="no-such-tool"):
        installing.run(["no-such-tool"])
