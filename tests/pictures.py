"""Pictures of relays that never ran, for tests of what operators are shown."""

from collections.abc import Mapping

from fleet import CLIENTS, A
from stunroute.status import (
    ConfigurationStatus,
    FlowStatus,
    Happening,
    RelayStatus,
    SocketStatus,
    StoreStatus,
    WorkerStatus,
)

START = 1_800_000_000.0
"""When the relays of these tests start."""
CONFIGURATIONS = (ConfigurationStatus("0", True, True, True),)


def worker(
    number: int = 0,
    *,
    pid: int = 100,
    started: float = START,
    flows: int = 0,
    counters: Mapping[str, int] | None = None,
    drops: Mapping[str, int] | None = None,
    kinds: Mapping[tuple[str, str], int] | None = None,
    kernel_drops: int = 0,
    errors: int = 0,
    configurations: tuple[ConfigurationStatus, ...] = CONFIGURATIONS,
    store: StoreStatus | None = None,
    loop_lag: float = 0.0,
) -> WorkerStatus:
    return WorkerStatus(
        worker=number,
        pid=pid + number,
        started=started,
        adapter="batched",
        flows=flows,
        contenders=0,
        counters=counters or {},
        drops=drops or {},
        kinds=kinds or {},
        sockets=(
            SocketStatus("inner", f"10.0.0.5:{4000 + number}"),
            SocketStatus("public", "192.0.2.1:3478", errors, kernel_drops),
        ),
        configurations=configurations,
        store=store,
        loop_lag=loop_lag,
    )


def relay(
    second: float,
    *workers: WorkerStatus,
    wanted: int | None = None,
    started: float = START,
    restarts: int = 0,
    happenings: tuple[Happening, ...] = (),
) -> RelayStatus:
    """The relay ``second`` seconds after its start."""
    return RelayStatus(
        at=started + second,
        version="0.1.0",
        wanted=len(workers) if wanted is None else wanted,
        workers=workers,
        restarts=restarts,
        happenings=happenings,
        started=started,
    )


def flow(number: int = 0) -> FlowStatus:
    return FlowStatus(0, CLIENTS[number % len(CLIENTS)], A, "check", 65.0, 0.5, True)


class Operated:
    """A supervisor, as those see it who look at it."""

    def __init__(self, flows: list[FlowStatus] | None = None) -> None:
        self.ready = True
        self.found = flows or []
        self.asked: list[int] = []

    async def flows(self, limit: int) -> list[FlowStatus]:
        self.asked.append(limit)
        return self.found[:limit]
