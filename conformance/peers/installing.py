"""Which peers are installed, and how to install one.

What comes from npm, and what is built, lies in a folder of its own per peer under ``prefix()``: a
cache, never part of a checkout. Debian's packages go where Debian puts them, Python's to the
interpreter that runs this.
"""

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import PeerError
from .table import Package, Peer, Runner, Source

VARIABLE = "STUNROUTE_PEERS"
PATIENCE = 600.0
"""Seconds for one installer."""

HERE = Path(__file__).resolve().parent


def prefix() -> Path:
    """The folder of peers: ``$STUNROUTE_PEERS``, or one in the user's cache."""
    told = os.environ.get(VARIABLE)
    if told:
        return Path(told).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().resolve() / "stunroute-peers"


def use_prefix(folder: Path) -> None:
    """Have ``prefix()`` name this folder, for this program and those that it starts."""
    os.environ[VARIABLE] = str(folder)


def home(peer: Peer) -> Path:
    """Where a peer's own files lie. Variants of one program share them."""
    return prefix() / Path(peer.program).stem


def binary(peer: Peer) -> Path:
    """Where a program that has to be built is put."""
    return home(peer) / "server"


def missing(peer: Peer) -> tuple[Package, ...]:
    """The packages that a peer lacks. Empty: it can be started."""
    return tuple(package for package in peer.packages if not _there(peer, package))


def _there(peer: Peer, package: Package) -> bool:
    match package.source:
        case Source.DEBIAN:
            # Node, say, may be there without Debian's package.
            name = Path(package.marker).name
            return bool(glob.glob(package.marker)) or shutil.which(name) is not None
        case Source.PYTHON:
            return importlib.util.find_spec(package.module) is not None
        case Source.NPM:
            return (home(peer) / "node_modules" / package.module / "package.json").is_file()


def require(peer: Peer) -> None:
    """Raises PeerError, which names what is missing and how it is got."""
    lacks = missing(peer)
    if lacks:
        names = ", ".join(package.name for package in lacks)
        raise PeerError(f"{peer.name} needs {names}: conformance peers install {peer.name}")


def install(peer: Peer) -> None:
    """Install what is missing, with apt-get (root), npm and pip. Raises PeerError."""
    lacks = missing(peer)
    debian = [package.name for package in lacks if package.source is Source.DEBIAN]
    python = [package.name for package in lacks if package.source is Source.PYTHON]
    npm = [package.name for package in lacks if package.source is Source.NPM]
    if debian:
        options = ["-y", "--no-install-recommends"]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise PeerError(f"{peer.name} needs of Debian: apt-get install {' '.join(debian)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "install", *options, *debian], environment=environment)
    if python:
        run([sys.executable, "-m", "pip", "install", "--quiet", *python])
    if npm:
        folder = home(peer)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        run(["npm", "install", "--no-audit", "--no-fund", *npm], folder=folder)
    if peer.runner is Runner.GO:
        build(peer)


def build(peer: Peer) -> Path:
    """Build a Go program unless that of this source is there. The binary. Raises PeerError."""
    made, sources = binary(peer), sorted((HERE / peer.program).glob("*.go"))
    newest = max(source.stat().st_mtime for source in sources)
    if made.is_file() and made.stat().st_mtime > newest:
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    # Debian's sources are in GOPATH, and with modules off nothing is looked for elsewhere.
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOFLAGS": "",
        "GOCACHE": str(made.parent / "go-cache"),
    }
    half = made.with_suffix(f".{os.getpid()}")
    run(["go", "build", "-o", str(half), *map(str, sources)], environment=environment)
    half.replace(made)
    return made


def run(
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """The standard output of a program that has to succeed. Raises PeerError."""
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{argv[0]}: {error}") from error
    if done.returncode:
        tail = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise PeerError(f"{' '.join(argv[:3])} failed: " + " | ".join(tail))
    return done.stdout
