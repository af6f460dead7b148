"""Who may import whom, read from the source, so that the picture in the design cannot go stale."""

import ast
from collections.abc import Iterable

import pytest

from source import PACKAGES, Import, Module, imports, modules

LAYERS: tuple[tuple[str, ...], ...] = (
    # The programs, and what proves them.
    ("stunroute.__main__", "transceiver.__main__", "transceiver.demo", "transceiver.embed"),
    ("stunroute.commands", "transceiver.node"),
    # The harness, from its commands inwards; what is not named here reads and replays captures.
    ("conformance.__main__",),
    ("conformance.commands",),
    (
        *("conformance.report", "conformance.cite", "conformance.fuzz", "conformance.peers"),
        *("conformance.sim", "conformance.load", "conformance.mutants"),
    ),
    ("conformance.blackbox", "conformance.drivers"),
    ("conformance.expectations",),
    ("conformance.runner",),
    ("conformance.catalogue",),
    ("conformance.cases",),
    ("conformance.probe",),
    ("conformance.relay_stage",),
    ("conformance.stage",),
    ("conformance.case", "conformance.wire", "conformance.trail"),
    ("conformance.traps",),
    ("conformance.client",),
    ("conformance",),
    ("stunroute.operations",),
    # The transceiver, from its doors inwards.
    ("transceiver.http", "transceiver.fleet"),
    ("transceiver.aio", "transceiver.choices", "stunroute.web"),
    ("transceiver.sockets",),
    ("stunroute.udp",),
    ("transceiver.backend", "stunroute.store"),
    ("transceiver.endpoint",),
    ("transceiver.report", "transceiver.admission", "transceiver.slot"),
    ("transceiver.session",),
    ("transceiver.audio", "transceiver.negotiation", "transceiver.datachannel"),
    # Between the network's packets and what an agent hears and says.
    ("transceiver.voice", "transceiver.realtime"),
    (
        "transceiver.ice",
        "transceiver.dtls",
        "transceiver.srtp",
        "transceiver.sctp",
        "transceiver.sdp",
    ),
    (
        "transceiver.settings",
        "transceiver.events",
        "transceiver.journal",
        "transceiver.snapshot",
        "transceiver.timers",
    ),
    ("transceiver.config", "transceiver.path", "transceiver.keying", "transceiver.errors"),
    # The relay; the transceiver shares its codecs.
    ("stunroute.relay",),
    ("stunroute.settings",),
    ("stunroute.edge",),
    ("stunroute.demux",),
    ("stunroute.stun",),
    ("stunroute.hint",),
    ("stunroute.flow", "stunroute.waiting"),
    ("stunroute.directory",),
    ("stunroute.forward",),
    ("stunroute.config",),
    # Leaves.
    ("stunroute.trace", "stunroute.pump", "stunroute.status", "stunroute.allowance"),
    ("stunroute.instant", "stunroute.address", "stunroute.errors", "stunroute.keyed"),
)
"""Rooms by layer. A room is a module or a package with all that is in it. A room imports only
rooms of later layers: not its neighbours, and nothing above it."""

CLOCK_ENTROPY_AND_IO = frozenset(
    [
        *("asyncio", "multiprocessing", "os", "random", "secrets", "select", "selectors"),
        *("socket", "ssl", "subprocess", "threading", "time", "uuid"),
    ]
)
ROOMS_WITH_IO = (
    *("stunroute.__main__", "transceiver.__main__", "conformance.__main__", "transceiver.demo"),
    "transceiver.fleet",
    *("stunroute.udp", "stunroute.store", "stunroute.operations", "stunroute.web"),
    *(f"stunroute.commands.{name}" for name in ("common", "hint", "look", "relay", "store")),
    *("transceiver.aio", "transceiver.sockets", "transceiver.http"),
    *("transceiver.node", "transceiver.embed"),
    *("transceiver.backend", "conformance.blackbox"),
    *("conformance.peers", "conformance.commands", "conformance.load"),
    *("conformance.fuzz.runner", "conformance.fuzz.campaign"),
)
CORES_IN_THOSE_ROOMS = (
    *("stunroute.udp.health", "stunroute.udp.memory"),
    *("conformance.peers.table", "conformance.peers.bencode"),
    *("stunroute.store.breaker", "stunroute.store.entry", "stunroute.store.url"),
    *(
        f"transceiver.backend.{name}"
        for name in ("audiosocket_frames", "dialect", "opening", "outbox")
    ),
    *(f"transceiver.http.{name}" for name in ("accounts", "client_secrets", "requests")),
    *(
        f"stunroute.operations.{name}"
        for name in ("codec", "history", "metrics", "model", "picture", "redaction", "screen")
    ),
)
"""What decides there, and is given the time and what has come in."""
MAY_IMPORT_CONFORMANCE_LAZILY = ("transceiver.node", "transceiver.demo")

MODULES = modules()


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def layer_of(module: str) -> tuple[int, str] | None:
    """The layer and room of a module, None where the table has no place for it."""
    for number, rooms in enumerate(LAYERS):
        for room in rooms:
            if within(module, room):
                return number, room
    return None


def ours(found: Iterable[Import]) -> list[Import]:
    """Imports of our own modules; a bare package holds nothing but its docstring."""
    return [
        entry
        for entry in found
        if entry.module.partition(".")[0] in PACKAGES and entry.module not in PACKAGES
    ]


def wrong_layers(module: Module, known: set[str]) -> list[str]:
    here = layer_of(module.name)
    wrong = []
    for entry in ours(imports(module, known)):
        there = layer_of(entry.module)
        if here is None or there is None:
            wrong.append(f"{module.name} and {entry.module} must both have a place in LAYERS")
        elif here[1] != there[1] and not here[0] < there[0]:
            wrong.append(f"{module.name}:{entry.line} imports {entry.module}")
    return wrong


def impure(module: Module) -> list[str]:
    """What a core must not import, and ``datetime`` asked for the time."""
    core = module.name in CORES_IN_THOSE_ROOMS
    if not core and any(within(module.name, room) for room in ROOMS_WITH_IO):
        return []
    wrong = [
        f"{module.name}:{entry.line} imports {entry.module}"
        for entry in imports(module, set())
        if entry.module.partition(".")[0] in CLOCK_ENTROPY_AND_IO
    ]
    for node in ast.walk(ast.parse(module.text)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    attr="now" | "utcnow" | "today",
                    value=ast.Name("datetime" | "date") | ast.Attribute(attr="datetime" | "date"),
                )
            ):
                wrong.append(f"{module.name}:{node.lineno} reads the clock")
    return wrong


def wrong_packages(module: Module, known: set[str]) -> list[str]:
    """The relay knows the relay alone; the transceiver knows conformance only where it is asked to
    record, and only then."""
    wrong = []
    for entry in ours(imports(module, known)):
        match module.name.partition(".")[0], entry.module.partition(".")[0]:
            case "stunroute", "transceiver" | "conformance":
                allowed = False
            case "transceiver", "conformance":
                lazily = any(within(module.name, room) for room in MAY_IMPORT_CONFORMANCE_LAZILY)
                allowed = entry.lazy and lazily
            case _:
                allowed = True
        if not allowed:
            wrong.append(f"{module.name}:{entry.line} imports {entry.module}")
    return wrong


def scapy_outside_capture(module: Module) -> list[str]:
    """Scapy is under the GPL: one module, so that everything else can do without."""
    return [
        f"{module.name}:{entry.line}"
        for entry in imports(module, set())
        if within(entry.module, "scapy") and module.name != "conformance.capture"
    ]


# --- the code ---------------------------------------------------------------------------------


def test_there_is_something_to_read() -> None:
    assert {"stunroute.relay", "transceiver.session", "conformance.capture"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_rooms_import_only_what_lies_behind_them(name: str) -> None:
    assert wrong_layers(MODULES[name], set(MODULES)) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_place(name: str) -> None:
    assert name in PACKAGES or layer_of(name) is not None, f"{name} is missing from LAYERS"


def test_every_core_in_a_room_with_io_exists() -> None:
    assert set(CORES_IN_THOSE_ROOMS) <= set(MODULES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_itself_imports_nothing(package: str) -> None:
    assert imports(MODULES[package], set(MODULES)) == []


@pytest.mark.parametrize("name", MODULES)
def test_cores_touch_no_clock_no_entropy_no_io(name: str) -> None:
    assert impure(MODULES[name]) == []


@pytest.mark.parametrize("name", MODULES)
def test_packages_keep_apart(name: str) -> None:
    assert wrong_packages(MODULES[name], set(MODULES)) == []


@pytest.mark.parametrize("name", MODULES)
def test_scapy_stays_in_its_room(name: str) -> None:
    assert scapy_outside_capture(MODULES[name]) == []


# --- the checks -------------------------------------------------------------------------------

KNOWN = {"transceiver.dtls", "transceiver.dtls.record", "transceiver.ice", "stunroute.stun"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("transceiver.session", "from . import dtls", ["transceiver.dtls"]),
        ("transceiver.session", "from .dtls import record", ["transceiver.dtls.record"]),
        ("transceiver.session", "from .dtls import Role", ["transceiver.dtls"]),
        ("transceiver.dtls.record", "from ..ice import IceLite", ["transceiver.ice"]),
        ("transceiver.dtls.record", "from .. import ice", ["transceiver.ice"]),
        ("transceiver.ice", "from stunroute import stun", ["stunroute.stun"]),
        ("transceiver.ice", "from stunroute import a, b", ["stunroute"]),
        ("transceiver.ice", "import os.path, time as t", ["os.path", "time"]),
        ("transceiver.ice", "if True:\n    import os", ["os"]),
    ],
)
def test_imports_are_read(name: str, text: str, expected: list[str]) -> None:
    assert [entry.module for entry in imports(Module(name, text), KNOWN)] == expected


def test_relative_imports_of_a_package_start_in_it() -> None:
    module = Module("transceiver.dtls", "from .record import Record", is_package=True)
    assert [entry.module for entry in imports(module, KNOWN)] == ["transceiver.dtls.record"]


def test_lazy_imports_are_known() -> None:
    text = (
        "import a\nclass C:\n    import b\n    def f(self):\n        if 1:\n            import c\n"
    )
    found = [(entry.module, entry.lazy) for entry in imports(Module("x", text), set())]
    assert found == [("a", False), ("b", False), ("c", True)]


def test_imports_for_type_checkers_alone_are_known() -> None:
    text = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nif OTHER:\n    import c\n"
    found = [(entry.module, entry.lazy) for entry in imports(Module("x", text), set())]
    assert found == [("a", True), ("b", False), ("c", False)]


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("transceiver.session", "from .dtls import Role", False),
        ("transceiver.dtls.record", "from . import events", False),
        ("transceiver.ice", "from stunroute import stun", False),
        ("transceiver.ice", "from stunroute import relay", False),
        ("transceiver.ice", "from .dtls import Role", True),
        ("transceiver.dtls.record", "from ..srtp import SrtpContext", True),
        ("transceiver.srtp.rtp", "from ..dtls.events import Failed", True),
        ("transceiver.sctp.chunks", "from ..ice import Credentials", True),
        ("transceiver.ice", "def f():\n    from .session import Session", True),
        ("stunroute.stun.header", "from stunroute.hint import Hint", False),
        ("stunroute.stun.header", "from stunroute.demux import Kind", True),
        ("stunroute.errors", "from stunroute.address import Address", True),
        ("transceiver.attic", "from .ice import IceLite", True),
        ("transceiver.session", "from .attic import Broom", True),
        ("transceiver.sessions", "from .ice import IceLite", True),
    ],
)
def test_layers_are_told_apart(name: str, text: str, wrong: bool) -> None:
    known = {*KNOWN, "transceiver.attic", "stunroute.relay", "transceiver.dtls.events"}
    assert bool(wrong_layers(Module(name, text), known)) is wrong


@pytest.mark.parametrize("room", sorted(CLOCK_ENTROPY_AND_IO))
def test_impurity_is_found(room: str) -> None:
    for text in (f"import {room}", f"from {room} import x", f"def f():\n    import {room}.x as y"):
        assert impure(Module("transceiver.ice", text))
        assert impure(Module("stunroute.udpish", text))
        assert not impure(Module("stunroute.udp.plain", text))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("datetime.now()", True),
        ("datetime.datetime.utcnow()", True),
        ("date.today()", True),
        ("datetime.fromtimestamp(0)", False),
        ("clock.now()", False),
    ],
)
def test_the_clock_is_found_behind_datetime(text: str, wrong: bool) -> None:
    assert bool(impure(Module("transceiver.ice", text))) is wrong


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("stunroute.relay", "from transceiver import path", True),
        ("stunroute.__main__", "def f():\n    import conformance.recorder", True),
        ("transceiver.ice", "from stunroute import stun", False),
        ("transceiver.node", "from conformance.recorder import Recorder", True),
        ("transceiver.node", "def f():\n    from conformance.recorder import Recorder", False),
        ("transceiver.__main__", "def f():\n    from conformance.recorder import Recorder", True),
        ("transceiver.demo.run", "def f():\n    import conformance.recorder", False),
        ("transceiver.aio", "def f():\n    import conformance.recorder", True),
        ("conformance.replay", "from transceiver.endpoint import Endpoint", False),
    ],
)
def test_packages_are_told_apart(name: str, text: str, wrong: bool) -> None:
    known = {*KNOWN, "transceiver.path", "conformance.recorder", "transceiver.endpoint"}
    assert bool(wrong_packages(Module(name, text), known)) is wrong


def test_scapy_is_found() -> None:
    for text in ("import scapy.utils", "from scapy.all import rdpcap", "def f(): import scapy"):
        assert scapy_outside_capture(Module("conformance.replay", text))
        assert not scapy_outside_capture(Module("conformance.capture", text))
