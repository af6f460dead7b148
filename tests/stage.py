"""What tests of recovery play on: a relay as a process, two nodes, and calls through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve

from fleet import KEYRING
from peers import Call, Downlink, Node, Traffic
from relay_process import Options, RelayProcess
from stunroute.hint import KeyRing

CALLS = 4


@define
class Stage:
    """Calls on node 1 through a relay that also knows node 2."""

    traffic: Traffic
    relay: RelayProcess
    node: Node
    other: Node

    def call(
        self,
        check_every: float | None = 0.5,
        downlink: Downlink = Downlink.AUDIO,
        keyring: KeyRing = KEYRING,
        node: Node | None = None,
        host: str = "127.0.0.1",
    ) -> Call:
        return self.traffic.call(
            node or self.node,
            self.relay.public,
            check_every=check_every,
            downlink=downlink,
            keyring=keyring,
            host=host,
        )

    def calls(
        self,
        number: int = CALLS,
        check_every: float | None = 0.5,
        downlink: Downlink = Downlink.AUDIO,
    ) -> list[Call]:
        made = [self.call(check_every, downlink) for _ in range(number)]
        self.until_up(made)
        return made

    def until(self, condition: Callable[[], object], what: str) -> None:
        self.traffic.until(condition, what)

    def until_up(self, calls: list[Call]) -> None:
        self.until(lambda: all(call.is_up for call in calls), "all calls are up")

    def until_heard(self, calls: list[Call], packets: int = 10) -> None:
        """So many more packets of each call arrive, each way that it has."""
        known = [(len(call.uplink.arrivals), len(call.downlink.arrivals)) for call in calls]

        def heard() -> bool:
            return all(
                len(call.uplink.arrivals) >= up + packets
                and (
                    call.downlink_mode is not Downlink.AUDIO
                    or len(call.downlink.arrivals) >= down + packets
                )
                for call, (up, down) in zip(calls, known, strict=True)
            )

        self.until(heard, f"{packets} more packets each way")

    def restart(self) -> None:
        self.relay.kill()
        self.relay.start()

    def assert_whole(self, calls: list[Call]) -> None:
        """Nothing that either end of these calls has ever sent is lost."""
        self.traffic.settle(calls)
        lost = [(call.uplink.lost(), call.downlink.lost()) for call in calls]
        assert lost == [([], [])] * len(calls), self.traffic.story()


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Stage]:
    """A stage for the length of a ``with`` block. ``options`` are those of the relay."""
    with Traffic() as traffic:
        node, other = traffic.node(1), traffic.node(2)
        chosen = evolve(Options({1: node.address, 2: other.address}), **options)
        with RelayProcess(folder, chosen) as relay:
            yield Stage(traffic, relay, node, other)
