"""What tests of probes stand on: a stage before our own cores, and a server that is a function."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field

from conformance.case import case
from conformance.drivers.memory import MemoryDriver
from conformance.drivers.virtual import Emission
from conformance.probe.look import Checked
from conformance.relay_stage import RelayStage
from conformance.stage import Stage
from stunroute.address import Address
from stunroute.instant import Instant


@contextmanager
def stage(driver: MemoryDriver | None = None) -> Iterator[Stage]:
    """The stage of a case that is in no catalogue, before a fresh server."""
    asked = case(
        "tests/probe/stage",
        "",
        sends="",
        profiles=(),
        good=(Checked.RIGHT,),
        bad=(Checked.WRONG,),
    )(lambda stage: Checked.RIGHT)
    with (driver or MemoryDriver()).stage(asked) as set_up:
        assert not isinstance(set_up, RelayStage)
        yield set_up


@define
class Answering:
    """Stands at the other end of a ``VirtualWire`` and does with each datagram, and where it came
    from, what it was told."""

    answer: Callable[[bytes, Address], list[Emission]]
    out: deque[Emission] = field(factory=deque)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        self.out.extend(self.answer(data, source))

    def next_emission(self) -> Emission | None:
        return self.out.popleft() if self.out else None

    def handle_timeout(self, now: Instant) -> None:
        pass

    def next_timeout(self) -> Instant | None:
        return None
