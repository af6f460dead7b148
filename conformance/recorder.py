"""Recording calls as they happen: a journal sink that writes captures and sidecars.

``Recorder`` is handed to an endpoint as its ``journal``, and ``entropy_for_call`` to each
``open_call``; the rest happens here. Every call gets two files, the capture and its sidecar, which
grow on disk while the call lasts under names that begin with a dot, and get their own names
together when the call is over. So memory does not grow with a call's length, and a file that has
its name is whole. What a bound cuts off is not lost in silence: the sidecar says ``truncated`` and
why, and replays up to there.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import attrs
from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.hint import HintConfiguration
from stunroute.instant import Entropy, Instant
from transceiver import journal
from transceiver.config import EndpointConfig

from . import sidecar
from .capture import Writer
from .turns import Cutter, Input, Turn


@frozen(slots=True)
class RecorderLimits:
    calls: int = 100
    """Calls recorded at once; a further one is not recorded, and counted in ``refused``."""
    bytes_per_call: int = 64 * 1024 * 1024
    """Capture and sidecar of one call together; a call past it is cut there."""


@frozen(slots=True)
class Setting:
    """What all recordings of one endpoint have in common. See ``sidecar.Sidecar``."""

    configuration: EndpointConfig
    hints: tuple[HintConfiguration, ...]
    identity_pem: str = field(repr=False)
    address: Address
    wall_base_ns: int
    software: dict[str, str] = field(factory=dict)
    provenance: sidecar.Provenance = field(factory=sidecar.Provenance)
    relay: dict[str, Any] = field(factory=dict)


@define(slots=True)
class _Log:
    """The bytes drawn for one call since its last turn."""

    draws: list[sidecar.Draw] = field(factory=list)
    begun: bool = False
    chain: sidecar.Chain = field(factory=lambda: sidecar.Chain("draws"))

    def note(self, data: bytes) -> None:
        self.draws.append(sidecar.Draw(data, self.chain.link(data)))


class Recorder:
    """Records every call of one endpoint into ``directory``, which must exist.

    Use one for one endpoint: ``Endpoint(..., journal=recorder)`` and
    ``open_call(..., entropy=recorder.entropy_for_call())``. A call opened without that entropy
    cannot be replayed and is not recorded. Nothing here raises into the endpoint: where the disk
    fails, recording of that call ends and ``failures`` counts it by its reason.
    """

    def __init__(
        self,
        directory: Path,
        setting: Setting,
        entropy: Entropy,
        limits: RecorderLimits | None = None,
    ) -> None:
        self.directory = directory
        self.setting = setting
        self.limits = limits or RecorderLimits()
        self.refused = 0
        self.failures: Counter[str] = Counter()
        self.finished: list[Path] = []
        self._entropy = entropy
        self._pending: _Log | None = None
        self._recordings: dict[str, _Recording] = {}

    def entropy_for_call(self) -> Entropy:
        """An entropy source for the next ``open_call``; what is drawn from it is written down."""
        log = _Log()

        def draw(length: int) -> bytes:
            if not log.begun:
                log.begun, self._pending = True, log
            data = self._entropy(length)
            log.note(data)
            return data

        return draw

    def __call__(self, entry: journal.Entry) -> None:
        try:
            self._note(entry)
        except (OSError, ValueError) as error:
            self._give_up(entry.call, error)

    def _note(self, entry: journal.Entry) -> None:
        if isinstance(entry, journal.Opened):
            self._open(entry)
        recording = self._recordings.get(entry.call)
        if recording is None:
            return
        recording.feed(entry)
        over = isinstance(entry, journal.Settled) and entry.timeout is None
        if over or recording.truncated:
            self._finish(entry.call, recording.truncated)

    def _open(self, entry: journal.Opened) -> None:
        log, self._pending = self._pending, None
        if log is None or len(self._recordings) >= self.limits.calls:
            self.refused += 1
            return
        self._recordings[entry.call] = _Recording.begin(
            self.directory, self.setting, entry, log, self.limits.bytes_per_call
        )

    def _finish(self, call: str, truncated: str) -> None:
        self.finished.append(self._recordings[call].finish(truncated))
        del self._recordings[call]

    def _give_up(self, call: str, error: Exception) -> None:
        # Not the whole text: it may name the call's file, and would be another one for each call.
        self.failures[getattr(error, "strerror", None) or type(error).__name__] += 1
        if (recording := self._recordings.pop(call, None)) is not None:
            recording.abandon()

    def reconfigure(self, setting: Setting) -> None:
        """Record under another setting from now on. A sidecar holds one, so what is being recorded
        is finished here."""
        self._finish_all("the endpoint was configured anew during the call")
        self.setting = setting

    def close(self) -> None:
        """Finish what is being recorded; those calls' sidecars say that they go on."""
        self._finish_all("the recorder was closed before the call ended")

    def _finish_all(self, why: str) -> None:
        for call in list(self._recordings):
            try:
                self._finish(call, why)
            except OSError as error:
                self._give_up(call, error)


class _Digesting:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


@define(slots=True)
class _Recording:
    """One call on its way to disk."""

    path: Path
    setting: Setting
    log: _Log
    limit: int
    binary: BinaryIO
    text: TextIO
    digesting: _Digesting
    writer: Writer
    chain: sidecar.Chain = field(factory=lambda: sidecar.Chain("steps"))
    cutter: Cutter = field(factory=Cutter)
    written: int = 0
    truncated: str = ""

    @classmethod
    def begin(
        cls, directory: Path, setting: Setting, entry: journal.Opened, log: _Log, limit: int
    ) -> "_Recording":
        path = directory / f"{_file_name(entry.call)}.pcap"
        head = sidecar.dump_head(
            sidecar.Sidecar(
                call=entry.call,
                offer=entry.offer,
                answer=entry.answer,
                role=_role(entry.answer),
                configuration=setting.configuration,
                hints=setting.hints,
                identity_pem=setting.identity_pem,
                wall_base_ns=setting.wall_base_ns,
                address=setting.address,
                software=setting.software,
                provenance=setting.provenance,
                relay=setting.relay,
            )
        )
        # The sidecar holds keys: it is its owner's alone from its first byte on.
        _part(path.with_suffix(".toml")).touch(mode=0o600)
        binary = _part(path).open("wb")
        text = _part(path.with_suffix(".toml")).open("w", encoding="utf-8", newline="\n")
        digesting = _Digesting(binary)
        writer = Writer(digesting)  # type: ignore[arg-type]
        text.write(head + sidecar.STEPS_OPEN)
        written = len(head)
        return cls(path, setting, log, limit, binary, text, digesting, writer, written=written)

    def feed(self, entry: journal.Entry) -> None:
        self.cutter.feed(entry)
        while not self.truncated and (turn := self.cutter.take()) is not None:
            self._write(turn)

    def _write(self, turn: Turn) -> None:
        draws, self.log.draws[:] = tuple(self.log.draws), []
        size = sum(len(draw.data) * 2 for draw in draws) + 512
        for packet in (turn.input, *turn.sent):
            if isinstance(packet, journal.Received | journal.Sent):
                size += len(packet.payload) + 64
        if self.writer.written + self.written + size > self.limit:
            self.truncated = f"the call is larger than {self.limit} bytes"
            return
        step = self._step(turn, draws)
        check = sidecar.step_check(self.chain, step, _material(turn.input))
        line = sidecar.dump_step(attrs.evolve(step, check=check))
        self.text.write(line)
        self.written += len(line)

    def _step(self, turn: Turn, draws: tuple[sidecar.Draw, ...]) -> sidecar.Step:
        """Write the turn's packets; the step that refers to them."""
        given = self._input(turn.input)
        sent = tuple(
            self._packet(out.at, out.path.proxy, out.path.client, out.payload) for out in turn.sent
        )
        relays = tuple(self._relay(out.path.relay) for out in turn.sent)
        settled = turn.settled
        return sidecar.Step(
            at=turn.input.at,
            input=given,
            sent=sent,
            relays=relays if any(relays) else (),
            dropped=tuple(turn.dropped),
            drew=draws,
            next=settled.timeout if settled else None,
            why=settled.reason if settled else "",
            refused=settled is None,
        )

    def _input(self, entry: Input) -> sidecar.Input:
        match entry:
            case journal.Opened(data=data, channel=channel):
                return sidecar.Opened(data, channel)
            case journal.Received(at=at, path=path, payload=payload):
                number = self._packet(at, path.client, path.proxy, payload)
                return sidecar.Received(number, self._relay(path.relay))
            case journal.Fired(reason=reason):
                return sidecar.Fired(reason)
            case journal.Acted(verb=verb, arguments=arguments):
                return sidecar.Acted(verb, dict(arguments))

    def _packet(self, at: Instant, source: Address, target: Address, payload: bytes) -> int:
        time_ns = sidecar.nanoseconds(self.setting.wall_base_ns, at)
        return self.writer.write(time_ns, source, target, payload)

    def _relay(self, address: Address) -> int:
        return sorted(self.setting.configuration.relays).index(address)

    def finish(self, truncated: str) -> Path:
        """Give both files their names; the sidecar last, so that it never stands alone."""
        if not truncated:
            self.cutter.flush()
            while (turn := self.cutter.take()) is not None:
                self._write(turn)
        digest = self.digesting.digest.hexdigest()
        self.text.write(sidecar.STEPS_CLOSE + sidecar.dump_end(truncated, digest))
        self.binary.close()
        self.text.close()
        for path in (self.path, self.path.with_suffix(".toml")):
            _part(path).replace(path)
        return self.path

    def abandon(self) -> None:
        """Give up; what is there of it goes away."""
        for file in (self.binary, self.text):
            try:
                file.close()
            except OSError:
                continue  # the disk is full: closing flushes, and fails for the same reason
        for path in (self.path, self.path.with_suffix(".toml")):
            _part(path).unlink(missing_ok=True)


def _material(given: Input) -> bytes:
    """What the check of a step covers beside its line."""
    match given:
        case journal.Received(payload=payload):
            return payload
        case journal.Opened(offer=offer):
            return offer.encode()
        case _:
            return b""


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _file_name(call: str) -> str:
    """A call's id is made of letters, digits and an underscore; whatever else it may hold one day
    must not choose a directory."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in call)


def _role(answer: str) -> str:
    """The DTLS role the answer takes for us."""
    for line in answer.splitlines():
        if line.startswith("a=setup:"):
            return {"active": "client", "passive": "server"}.get(line[8:], line[8:])
    return ""
