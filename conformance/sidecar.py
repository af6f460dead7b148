"""The file beside a capture: everything that entered a session except the packets.

A sidecar is TOML, because people read it, correct its provenance and look at its diffs. It holds
the versions of the software, where the recording comes from, the configuration, the keys of the
hints and of the certificate (a recording is meant to decrypt itself: it holds test tones only), the
offer and the answer, and one line per step.

A *step* is one input with its clock reading and what came of it: the packets of the capture that
left, the bytes that were drawn, and the deadline the session had afterwards. A packet's time stamp
in the capture is its step's clock reading to the nanosecond. ``check`` closes each line: the first
eight digits of a SHA-256 over the checks before it, the line itself and the packet or offer that
went in. Replay notices most changes by their consequences; the check names those that have none,
such as the reading of a clock that nothing depended on. Every draw carries a check of the same
kind, so that the draw that was changed can be named.

::

    steps = [
      {at=12.5, opened=true, data=true, drew=["<hex>:<check>", ...], next=42.5, ..., check="..."},
      {at=12.6, received=1, sent=[2, 3], next=12.65, why="dtls", check="..."},
      {at=12.65, fired="dtls", sent=[4], next=12.75, why="dtls", check="..."},
      {at=13.0, acted="send_audio", arguments={...}, sent=[5], next=13.2, ..., check="..."},
    ]
"""

import hashlib
import math
import tomllib
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from attrs import field, frozen

from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import HintConfiguration
from stunroute.instant import Instant
from transceiver.config import EndpointConfig

from .tables import SidecarError, Table, write_pairs, write_table, write_text, write_value

FORMAT = 1
LARGEST_SIDECAR = 256 * 1024 * 1024
"""Bytes of a sidecar that are read; a larger file is refused."""


@frozen(slots=True)
class Opened:
    """The call was opened with the sidecar's offer. ``data`` says whether data channels were taken,
    which no recording says that was made before there were any; ``channel`` is the number of the
    negotiated channel, None where none was asked for."""

    data: bool = False
    channel: int | None = None


@frozen(slots=True)
class Received:
    """Packet number ``packet`` of the capture arrived through relay number ``relay``, an index
    into the sorted inner addresses of the configuration."""

    packet: int
    relay: int = 0


@frozen(slots=True)
class Fired:
    """The deadline named ``reason`` was served."""

    reason: str


@frozen(slots=True)
class Acted:
    """The application called ``verb`` of the endpoint with ``arguments``."""

    verb: str
    arguments: dict[str, Any]


Input: TypeAlias = Opened | Received | Fired | Acted


@frozen(slots=True)
class Draw:
    """Bytes drawn from the call's entropy."""

    data: bytes = field(repr=False)
    check: str


@frozen(slots=True)
class Step:
    """One input at clock reading ``at`` (seconds) and what came of it. ``sent`` are numbers of
    packets, ``relays`` through which relay each went (empty: all through the first); ``next`` is
    the session's deadline afterwards (None: there is none) and ``why`` its reason; ``refused``
    marks an input that the endpoint answered with an exception."""

    at: Instant
    input: Input
    sent: tuple[int, ...] = ()
    relays: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    drew: tuple[Draw, ...] = ()
    next: Instant | None = None
    why: str = ""
    refused: bool = False
    check: str = ""


@frozen(slots=True)
class Provenance:
    """Who made the recording and what happens in it. ``date`` is text, ISO 8601."""

    client: str = "unknown"
    story: str = ""
    date: str = ""


@frozen(slots=True)
class Sidecar:
    """``wall_base_ns`` is what the wall clock showed, in nanoseconds since 1970, when the session's
    clock read zero. ``address`` is the transceiver's own on the leg. ``relay`` holds the settings
    of the relay that differ from its defaults. ``truncated`` says why the recording ends before its
    call does, and is empty if it does not. ``capture`` is the SHA-256 of the capture file."""

    call: str
    offer: str
    answer: str
    configuration: EndpointConfig
    hints: tuple[HintConfiguration, ...]
    identity_pem: str = field(repr=False)
    wall_base_ns: int
    address: Address
    role: str = ""
    steps: tuple[Step, ...] = field(default=(), repr=False)
    software: dict[str, str] = field(factory=dict)
    provenance: Provenance = field(factory=Provenance)
    relay: dict[str, Any] = field(factory=dict)
    truncated: str = ""
    capture: str = ""

    @property
    def relays(self) -> tuple[Address, ...]:
        """The inner addresses that ``Received.relay`` counts."""
        return tuple(sorted(self.configuration.relays))

    def nanoseconds(self, at: Instant) -> int:
        return nanoseconds(self.wall_base_ns, at)

    def dumps(self) -> str:
        """The TOML text. ``loads`` gives back an equal sidecar."""
        parts = [dump_head(self), STEPS_OPEN, *map(dump_step, self.steps)]
        return "".join([*parts, STEPS_CLOSE, dump_end(self.truncated, self.capture)])


def nanoseconds(wall_base_ns: int, at: Instant) -> int:
    """A clock reading as wall time. Exact: a double is a fraction, and only the result is rounded
    to a nanosecond."""
    numerator, denominator = at.as_integer_ratio()
    return wall_base_ns + (numerator * 1_000_000_000 * 2 + denominator) // (2 * denominator)


# --- checks -------------------------------------------------------------------------------------


class Chain:
    """A running SHA-256, of which every link shows eight digits."""

    def __init__(self, purpose: str) -> None:
        self._digest = hashlib.sha256(purpose.encode()).digest()

    def link(self, *parts: bytes) -> str:
        """Add one link; its check."""
        running = hashlib.sha256(self._digest)
        for part in parts:
            running.update(len(part).to_bytes(4, "big"))
            running.update(part)
        self._digest = running.digest()
        return self._digest[:4].hex()


def step_check(chain: Chain, step: Step, material: bytes) -> str:
    """The check of ``step``. ``material`` is what the step refers to: the payload it received, the
    offer it opened the call with; else empty."""
    bare = attrs.evolve(step, drew=(), check="")
    return chain.link(dump_step(bare).encode(), material)


# --- writing ------------------------------------------------------------------------------------

STEPS_OPEN = "\n[timeline]\nsteps = [\n"
STEPS_CLOSE = "]\n"


def dump_head(sidecar: Sidecar) -> str:
    """Everything before the steps: known when the call has been answered."""
    configuration = sidecar.configuration
    transceiver: dict[str, Any] = {
        "address": str(sidecar.address),
        "cluster": configuration.cluster,
        "node": configuration.node,
        "candidates": [str(address) for address in configuration.candidates],
        "relays": [str(address) for address in sidecar.relays],
    }
    default = EndpointConfig(0, 0, (), frozenset())
    skip = {"cluster", "node", "candidates", "relays"}
    lines = [f"format = {FORMAT}\n"]
    lines += write_table("software", sidecar.software)
    lines += write_table("provenance", attrs.asdict(sidecar.provenance))
    lines += write_table("relay", sidecar.relay)
    lines += write_table("transceiver", transceiver | _changed(configuration, default, skip))
    for hint in sidecar.hints:
        lines += ["\n[[hint]]\n", *write_pairs(_hint_values(hint))]
    session = {"call": sidecar.call, "role": sidecar.role, "wall_base_ns": sidecar.wall_base_ns}
    lines += write_table("session", session)
    for name in ("offer", "answer", "identity_pem"):
        lines.append(f"{name} = {write_text(getattr(sidecar, name))}\n")
    return "".join(lines)


def dump_end(truncated: str, capture: str) -> str:
    return "".join(write_table("end", {"truncated": truncated, "capture": capture}))


def dump_step(step: Step) -> str:
    """One line, without regard to what stands before or after it."""
    values: dict[str, Any] = {"at": float(step.at)}
    match step.input:
        case Opened(data=data, channel=channel):
            values["opened"] = True
            if data:
                values["data"] = True
            if channel is not None:
                values["channel"] = channel
        case Received(packet=packet, relay=relay):
            values["received"] = packet
            if relay:
                values["relay"] = relay
        case Fired(reason=reason):
            values["fired"] = reason
        case Acted(verb=verb, arguments=arguments):
            values["acted"] = verb
            values["arguments"] = {name: _wrapped(value) for name, value in arguments.items()}
    if step.drew:
        values["drew"] = [f"{draw.data.hex()}:{draw.check}" for draw in step.drew]
    for name, numbers in (("sent", step.sent), ("relays", step.relays), ("dropped", step.dropped)):
        if numbers:
            values[name] = list(numbers)
    if step.next is not None:
        values["next"] = float(step.next)
    if step.why:
        values["why"] = step.why
    if step.refused:
        values["refused"] = True
    if step.check:
        values["check"] = step.check
    return f"  {write_value(values)},\n"


def _changed(config: object, default: object, skip: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """What differs from the defaults, table by table."""
    changed: dict[str, Any] = {}
    for attribute in attrs.fields(type(config)):  # type: ignore[arg-type]
        if attribute.name in skip:
            continue
        value, usual = getattr(config, attribute.name), getattr(default, attribute.name)
        if attrs.has(type(value)):
            if inner := _changed(value, usual):
                changed[attribute.name] = inner
        elif value != usual:
            changed[attribute.name] = list(value) if isinstance(value, tuple) else value
    return changed


def _hint_values(hint: HintConfiguration) -> dict[str, Any]:
    values: dict[str, Any] = {"id": hint.identifier, "routing_key": hint.routing_key.hex()}
    if hint.password_key is not None:
        values["password_key"] = hint.password_key.hex()
    values["read_from"] = float(hint.read_from)
    values["mint_from"] = float(hint.mint_from)
    if hint.read_until is not None:
        values["read_until"] = float(hint.read_until)
    return values


def _wrapped(value: Any) -> Any:
    """Arguments that TOML has no type for."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return {"none": True} if value is None else value


# --- reading ------------------------------------------------------------------------------------


def load(path: Path | str) -> Sidecar:
    """Read a sidecar file. Raises SidecarError, also for a file that cannot be opened."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_SIDECAR + 1)
    except OSError as error:
        raise SidecarError("", error.strerror or str(error)) from error
    if len(data) > LARGEST_SIDECAR:
        raise SidecarError("", f"larger than {LARGEST_SIDECAR} bytes")
    try:
        return loads(data.decode())
    except UnicodeDecodeError as error:
        raise SidecarError("", f"not UTF-8 at byte {error.start}") from error


def loads(text: str) -> Sidecar:
    """The sidecar that ``text`` says. Raises SidecarError naming the key at fault."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise SidecarError("", f"not TOML: {error}") from error
    top = Table("", document)
    if (version := top.take("format", int)) != FORMAT:
        raise SidecarError("format", f"is {version}, this program reads {FORMAT}")
    session, end = top.table("session"), top.table("end")
    transceiver, timeline = top.table("transceiver"), top.table("timeline")
    provenance = top.table("provenance")
    address = transceiver.address("address")
    sidecar = Sidecar(
        call=session.take("call", str),
        offer=session.take("offer", str),
        answer=session.take("answer", str),
        identity_pem=session.take("identity_pem", str),
        wall_base_ns=session.take("wall_base_ns", int),
        role=session.take("role", str),
        address=address,
        configuration=_configuration(transceiver),
        hints=tuple(_hint(table) for table in top.tables("hint")),
        steps=tuple(_step(table) for table in timeline.tables("steps")),
        software=top.table("software").strings(),
        provenance=Provenance(
            provenance.take("client", str),
            provenance.take("story", str),
            provenance.take("date", str),
        ),
        relay=top.take("relay", dict),
        truncated=end.take("truncated", str),
        capture=end.take("capture", str),
    )
    for table in (session, end, transceiver, timeline, provenance, top):
        table.finish()
    if not sidecar.steps or not isinstance(sidecar.steps[0].input, Opened):
        raise SidecarError("timeline.steps", "must begin with the opening of the call")
    for number, step in enumerate(sidecar.steps[1:], start=2):
        if isinstance(step.input, Opened):
            raise SidecarError(f"timeline.steps.{number}.opened", "a call is opened once")
    return sidecar


def _configuration(table: Table) -> EndpointConfig:
    values: dict[str, Any] = {
        "cluster": table.take("cluster", int),
        "node": table.take("node", int),
        "candidates": _addresses(table, "candidates"),
        "relays": frozenset(_addresses(table, "relays")),
    }
    default = EndpointConfig(0, 0, (), frozenset())
    if not values["relays"]:
        raise table.fail("relays", "is empty")
    for attribute in attrs.fields(EndpointConfig):
        if attribute.name not in values and attribute.name in table:
            values[attribute.name] = _setting(table, attribute.name, default)
    return EndpointConfig(**values)


def _addresses(table: Table, key: str) -> tuple[Address, ...]:
    texts = table.many(key, str)
    return tuple(table.parse_address(f"{key}.{n}", text) for n, text in enumerate(texts, start=1))


def _setting(table: Table, name: str, default: Any) -> Any:
    usual = getattr(default, name)
    if attrs.has(type(usual)):
        inner = table.table(name)
        known = [attribute.name for attribute in attrs.fields(type(usual))]
        values = {key: _setting(inner, key, usual) for key in known if key in inner}
        inner.finish()
        return attrs.evolve(usual, **values)
    if isinstance(usual, tuple):
        return table.many(name, str)
    return table.take(name, type(usual))


def _hint(table: Table) -> HintConfiguration:
    password = table.hexadecimal("password_key") if "password_key" in table else None
    until = table.take("read_until", float) if "read_until" in table else None
    try:
        hint = HintConfiguration(
            table.take("id", str),
            table.hexadecimal("routing_key"),
            password,
            table.take("read_from", float),
            table.take("mint_from", float),
            until,
        )
    except ConfigError as error:
        raise table.fail(error.key, error.problem) from error
    table.finish()
    return hint


def _step(table: Table) -> Step:
    at = table.take("at", float)
    if not math.isfinite(at):
        raise table.fail("at", "is not a clock reading")
    step = Step(
        at=at,
        input=_input(table),
        sent=table.many("sent", int),
        relays=table.many("relays", int),
        dropped=table.many("dropped", str),
        drew=tuple(_draw(table, n, text) for n, text in enumerate(table.many("drew", str), 1)),
        next=table.take("next", float) if "next" in table else None,
        why=table.take("why", str, ""),
        refused=table.take("refused", bool, False),
        check=table.take("check", str, ""),
    )
    table.finish()
    return step


def _draw(table: Table, number: int, text: str) -> Draw:
    data, colon, check = text.partition(":")
    if not colon:
        raise table.fail(f"drew.{number}", "has no check behind its bytes")
    return Draw(table.unhex(f"drew.{number}", data), check)


def _input(table: Table) -> Input:
    kinds = [kind for kind in ("opened", "received", "fired", "acted") if kind in table]
    match kinds:
        case ["opened"]:
            table.take("opened", bool)
            channel = table.take("channel", int) if "channel" in table else None
            return Opened(table.take("data", bool, False), channel)
        case ["received"]:
            return Received(table.take("received", int), table.take("relay", int, 0))
        case ["fired"]:
            return Fired(table.take("fired", str))
        case ["acted"]:
            arguments = table.table("arguments")
            verb = table.take("acted", str)
            return Acted(verb, {name: _argument(arguments, name) for name in arguments.names()})
    raise SidecarError(table.name, "is not one of opened, received, fired and acted")


def _argument(table: Table, name: str) -> Any:
    value = table.pop(name)
    match value:
        case {"bytes": str(text)} if len(value) == 1:
            return table.unhex(name, text)
        case {"none": True} if len(value) == 1:
            return None
        case str() | bool() | int() | float() if value == value:
            return value
    raise table.fail(name, "is no argument that a verb takes")
