"""Whose servers can be started here, as data: what each needs, offers, and does otherwise.

A peer that cannot be had from Debian, PyPI or npm without a container is not in this table; it is
named in MATRIX.md with the reason.
"""

from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import frozen


class Door(Enum):
    """Where a call, or a STUN request, is brought to a peer."""

    WHIP = "whip"
    """``POST`` of ``application/sdp``, answered with 201 and an SDP answer (RFC 9725)."""
    STUN = "stun"
    """UDP: Binding requests without credentials (RFC 8489)."""


class Ice(Enum):
    """How a peer does ICE (RFC 8445)."""

    LITE = "lite"
    FULL = "full"
    """It sends checks of its own, and expects them to be answered."""
    NONE = "none"


class Source(Enum):
    """Where packages come from."""

    DEBIAN = "debian"
    PYTHON = "python"
    NPM = "npm"


@frozen(slots=True)
class Package:
    """One package. ``module`` is what is imported of it (Python and npm), ``marker`` a file that
    shows that it is there (Debian)."""

    source: Source
    name: str
    module: str = ""
    marker: str = ""


class Runner(Enum):
    """What runs a peer's program."""

    MODULE = "module"
    """A module of this package, under this interpreter."""
    SYSTEM_PYTHON = "system python"
    """A script under Debian's Python, which alone has Debian's bindings."""
    NODE = "node"
    GO = "go"
    """Built in GOPATH mode from Debian's sources, once, into the folder of peers."""


@frozen(slots=True)
class Peer:
    """One implementation, and how it is put behind a door.

    ``program`` is a file of this package, or a module of it. ``environment`` tells variants of one
    program apart. ``profiles`` are those of the suite that it can be judged by. ``echoes`` says
    what it sends back: ``audio``, ``data``. ``needs_namespace``: it takes no loopback address for
    a candidate, so it is started in a network namespace of its own.
    """

    name: str
    title: str
    door: Door
    runner: Runner
    program: str
    packages: tuple[Package, ...]
    profiles: tuple[str, ...]
    ice: Ice = Ice.NONE
    echoes: frozenset[str] = frozenset()
    needs_namespace: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    own_signaling: bool = False
    """Its door is its own, not a front of ours: only then does HTTP say anything about it."""
    notes: tuple[str, ...] = ()


def _debian(name: str, marker: str) -> Package:
    return Package(Source.DEBIAN, name, marker=marker)


def _npm(name: str) -> Package:
    return Package(Source.NPM, name, module=name)


NODE = _debian("nodejs", "/usr/bin/node")
_PION = (
    _debian("golang-go", "/usr/bin/go"),
    _debian(
        "golang-github-pion-webrtc.v3-dev",
        "/usr/share/gocode/src/github.com/pion/webrtc/peerconnection.go",
    ),
)
_JANUS = (_debian("janus", "/usr/bin/janus"),)
_PLUGINS = "/usr/lib/*/gstreamer-1.0"

MEDIA = ("stun", "dtls", "srtp", "sdp", "signaling")
CALL = (*MEDIA, "datachannel")
BOTH = frozenset({"audio", "data"})

_CHECKS = "Full ICE: it sends checks of its own and expects them to be answered."
_NICE = "libnice below it accepts no loopback candidate."
_PAGE = "A page answers the offers; mDNS names for candidates are switched off."
_PREFIXED = "Text comes back with words of its own before it; bytes come back as they are."

PEERS: tuple[Peer, ...] = (
    Peer(
        name="aiortc",
        title="aiortc",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="aiortc",
        packages=(Package(Source.PYTHON, "aiortc", module="aiortc"),),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        notes=(
            _CHECKS,
            "Sound is decoded and encoded again on the way back.",
            "Its candidates are held to the address it is started on.",
        ),
    ),
    Peer(
        name="coturn",
        title="coturn",
        door=Door.STUN,
        runner=Runner.MODULE,
        program="stun_server",
        packages=(_debian("coturn", "/usr/bin/turnserver"),),
        profiles=("stun",),
        environment=(("PEER_PROGRAM", "coturn"),),
        notes=("Started as a STUN server alone (--stun-only): no TURN, no credentials.",),
    ),
    Peer(
        name="p1_stun",
        title="ejabberd's STUN server (p1_stun)",
        door=Door.STUN,
        runner=Runner.MODULE,
        program="stun_server",
        packages=(_debian("erlang-p1-stun", "/usr/lib/erlang/lib/p1_stun-*"),),
        profiles=("stun",),
        environment=(("PEER_PROGRAM", "p1_stun"),),
        notes=("Started alone in Erlang, without ejabberd and without credentials.",),
    ),
    Peer(
        name="stund",
        title="stun-server (vovida stund)",
        door=Door.STUN,
        runner=Runner.MODULE,
        program="stun_server",
        packages=(_debian("stun-server", "/usr/sbin/stund"),),
        profiles=("stun",),
        environment=(("PEER_PROGRAM", "stund"),),
        notes=(
            "A server of RFC 3489, older than the magic cookie: it tells what the difference was.",
            "It wants two addresses (127.0.0.1 and 127.0.0.2) and two ports.",
        ),
    ),
    Peer(
        name="werift",
        title="werift",
        door=Door.WHIP,
        runner=Runner.NODE,
        program="node/werift.mjs",
        packages=(NODE, _npm("werift")),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        notes=(_CHECKS, "Sound goes back as packets, never decoded."),
    ),
    Peer(
        name="libwebrtc",
        title="libwebrtc in @roamhq/wrtc",
        door=Door.WHIP,
        runner=Runner.NODE,
        program="node/wrtc.mjs",
        packages=(NODE, _npm("@roamhq/wrtc")),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        needs_namespace=True,
        notes=(_CHECKS, "Sound is decoded and encoded again on the way back."),
    ),
    Peer(
        name="libdatachannel",
        title="libdatachannel in node-datachannel",
        door=Door.WHIP,
        runner=Runner.NODE,
        program="node/datachannel.mjs",
        packages=(NODE, _npm("node-datachannel")),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        notes=(
            _CHECKS,
            "Sound goes back as packets, under the client's own SSRC and payload type.",
        ),
    ),
    Peer(
        name="janus",
        title="Janus, its echo test",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="janus",
        packages=_JANUS,
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        needs_namespace=True,
        notes=(_CHECKS, _NICE, _PREFIXED),
    ),
    Peer(
        name="janus-lite",
        title="Janus as an ICE-lite agent",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="janus",
        packages=_JANUS,
        profiles=("ice-lite", *CALL),
        ice=Ice.LITE,
        echoes=BOTH,
        needs_namespace=True,
        environment=(("PEER_ICE_LITE", "1"),),
        notes=(_NICE, _PREFIXED),
    ),
    Peer(
        name="pion",
        title="Pion WebRTC",
        door=Door.WHIP,
        runner=Runner.GO,
        program="pion",
        packages=_PION,
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        notes=(_CHECKS, "Sound goes back as packets, never decoded."),
    ),
    Peer(
        name="pion-lite",
        title="Pion WebRTC as an ICE-lite agent",
        door=Door.WHIP,
        runner=Runner.GO,
        program="pion",
        packages=_PION,
        profiles=("ice-lite", *CALL),
        ice=Ice.LITE,
        echoes=BOTH,
        environment=(("PEER_ICE_LITE", "1"),),
        notes=("Sound goes back as packets, never decoded.",),
    ),
    Peer(
        name="gstreamer",
        title="GStreamer's webrtcbin",
        door=Door.WHIP,
        runner=Runner.SYSTEM_PYTHON,
        program="gstreamer.py",
        packages=(
            _debian("python3-gi", "/usr/lib/python3/dist-packages/gi"),
            _debian(
                "gir1.2-gst-plugins-bad-1.0",
                "/usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib",
            ),
            _debian("gstreamer1.0-plugins-bad", f"{_PLUGINS}/libgstwebrtc.so"),
            _debian("gstreamer1.0-plugins-good", f"{_PLUGINS}/libgstrtpmanager.so"),
            _debian("gstreamer1.0-nice", f"{_PLUGINS}/libgstnice.so"),
        ),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        needs_namespace=True,
        notes=(
            _CHECKS,
            _NICE,
            "Sound goes back as packets, depayloaded and payloaded again.",
        ),
    ),
    Peer(
        name="chromium",
        title="Chromium, a page in it",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="browser",
        packages=(_debian("chromium", "/usr/bin/chromium"),),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        needs_namespace=True,
        environment=(("PEER_PROGRAM", "chromium"),),
        notes=(_CHECKS, _PAGE, "Sound is decoded and encoded again on the way back."),
    ),
    Peer(
        name="firefox",
        title="Firefox, a page in it",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="browser",
        packages=(_debian("firefox-esr", "/usr/bin/firefox-esr"),),
        profiles=CALL,
        ice=Ice.FULL,
        echoes=BOTH,
        needs_namespace=True,
        environment=(("PEER_PROGRAM", "firefox"),),
        notes=(_CHECKS, _PAGE, "Sound is decoded and encoded again on the way back."),
    ),
    Peer(
        name="rtpengine",
        title="rtpengine, in user space",
        door=Door.WHIP,
        runner=Runner.MODULE,
        program="rtpengine",
        packages=(_debian("rtpengine-daemon", "/usr/bin/rtpengine"),),
        profiles=("ice-lite", *MEDIA),
        ice=Ice.LITE,
        echoes=frozenset({"audio"}),
        notes=(
            "It stands between two parties: the far one here speaks plain RTP and echoes.",
            "It has no data channels, refuses their section, and bundles nothing.",
            "aiortc cannot be its caller where it refuses a section: it looks for ICE there too.",
        ),
    ),
)


def by_name(peers: Iterable[Peer] = PEERS) -> Mapping[str, Peer]:
    """Peers under their names, in their order."""
    return {peer.name: peer for peer in peers}
