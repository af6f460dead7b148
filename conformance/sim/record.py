"""What a run leaves behind when somebody wants to look: a trace, a capture, keys, the last events.

A run is repeated exactly by its seed, so nothing is recorded until something has failed, and then
the same run is run again with a ``Tape`` as its witness.
"""

from collections import deque
from typing import Protocol, TextIO

from attrs import define, field

from stunroute import forward
from stunroute.address import Address
from stunroute.demux import classify
from stunroute.errors import DecodeError
from stunroute.instant import Instant

from .loop import START
from .store import EPOCH

LAST = 40
"""Lines that are shown of a failure."""
PACKETS = 500_000
"""Of a capture; the oldest are left out."""


class PacketWriter(Protocol):
    """``conformance.capture.Writer``."""

    def write(self, time_ns: int, source: Address, destination: Address, payload: bytes) -> int: ...


@define(slots=True)
class Tape:
    """A ``world.Witness``. ``trace`` gets a line for each datagram and event as it happens; the
    rest is kept: ``last`` lines, ``secrets`` for a key log, and packets for ``write_capture``."""

    trace: TextIO | None = None
    captures: bool = False
    last: deque[str] = field(factory=lambda: deque(maxlen=LAST))
    secrets: list[str] = field(factory=list)
    _packets: deque[tuple[Instant, Address, Address, bytes]] = field(
        factory=lambda: deque(maxlen=PACKETS)
    )

    def datagram(
        self, at: Instant, source: Address, destination: Address, data: bytes, note: str
    ) -> None:
        """It left ``source``. ``note`` says what became of it on the way, where that is odd."""
        if self.captures:
            self._packets.append((at, source, destination, data))
        self._line(at, f"{source} > {destination} {_described(data)}{note and f' [{note}]'}")

    def event(self, at: Instant, what: str) -> None:
        self._line(at, what)

    def secret(self, line: str) -> None:
        if line:
            self.secrets.append(line)

    def write_capture(self, writer: PacketWriter) -> None:
        """All packets, as they were sent. Time stamps are virtual time from ``store.EPOCH`` on."""
        for at, source, destination, data in self._packets:
            writer.write(round((EPOCH + at) * 1e9), source, destination, data)

    def _line(self, at: Instant, what: str) -> None:
        line = f"{at - START:10.6f} {what}"
        self.last.append(line)
        if self.trace is not None:
            self.trace.write(f"{line}\n")


def _described(data: bytes) -> str:
    """What a datagram is, in few words; on the inner leg also whose."""
    whose = ""
    if data.startswith(forward.MAGIC.to_bytes(2, "big")):
        try:
            whose = f"for {forward.decode_untrusted(data).client} "
            data = data[forward.HEADER_LENGTH :]
        except DecodeError:
            pass
    kind = classify(data).name
    return f"{whose}{kind} {data[:2].hex()} {len(data)} bytes"
