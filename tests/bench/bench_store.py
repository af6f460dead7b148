"""What the shared store costs a relay, beside redis-py used plainly.

    python tests/bench/bench_store.py [--changes N] [--rounds N]

One Redis on a Unix socket of this machine, and one process with one loop, as in a worker. *CPU* is
of this process, without the server's. *Hold* is how long the loop did not turn: what a packet that
came at the worst moment would have waited for. The plain peers write as one would without giving it
a thought: a SET for each change when it happens, and all that is there in one pipeline. They
neither authenticate entries nor compare generations; the store does both.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from attrs import define, field  # noqa: E402
from figures import at_least, at_most, line, median, ratio, table  # noqa: E402
from redis.asyncio import Redis  # noqa: E402

from redis_server import KEY, RedisServer, wait_until  # noqa: E402
from stunroute.address import Address  # noqa: E402
from stunroute.instant import Instant  # noqa: E402
from stunroute.settings import StoreSettings  # noqa: E402
from stunroute.store.redis import RedisStore, make_store  # noqa: E402

HOP = Address.of("10.0.0.1", 4000)
VALUE = bytes(51)
TTL = 120_000
LOOKUPS = 2_000
STORM = 100
STORMS = 20
CPU_GOAL = at_most(1.0)
"""Beside a pipeline of plain SETs, which does less."""
HOLD_GOAL = at_most(2.0)
"""Milliseconds."""
STORM_GOAL = at_least(2.0)
"""Look-ups per second beside plain GETs, when there are many at once."""


def clients(count: int) -> list[Address]:
    return [Address.of(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 5000) for n in range(count)]


@define
class Cost:
    """Of ``count`` operations."""

    count: int
    wall: float = 0.0
    cpu: float = 0.0
    holds: list[float] = field(factory=list)

    @property
    def row(self) -> list[float]:
        holds = sorted(self.holds) or [0.0]
        return [
            self.count / self.wall,
            self.cpu / self.count * 1e6,
            holds[int(len(holds) * 0.99)] * 1e3,
            holds[-1] * 1e3,
        ]


@asynccontextmanager
async def measured(count: int) -> AsyncIterator[Cost]:
    """Run the loop all the time, and note how long each turn took."""
    cost = Cost(count)
    loop = asyncio.get_running_loop()
    running = True
    last = time.perf_counter()

    def turn() -> None:
        nonlocal last
        now = time.perf_counter()
        cost.holds.append(now - last)
        last = now
        if running:
            loop.call_later(0.0005, turn)

    gc.collect()
    turn()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.wall, cost.cpu = time.perf_counter() - began, time.process_time() - cpu
        running = False
        cost.holds = [max(hold - 0.0005, 0.0) for hold in cost.holds[1:]]


# --- writes -----------------------------------------------------------------------------------


async def ours(url: str, count: int) -> Cost:
    store = opened(url)
    addresses = clients(count)
    now = asyncio.get_running_loop().time()
    async with measured(count) as cost:
        for start in range(0, count, 64):  # a batch of packets
            for client in addresses[start : start + 64]:
                store.record(client, HOP, now)
            await asyncio.sleep(0)
        await wait_until(lambda: not store.status().waiting and store.status().written == count)
    await store.aclose()
    return cost


async def pipelines(url: str, count: int, size: int) -> Cost:
    async with plain(url) as redis:
        async with measured(count) as cost:
            for start in range(0, count, size):
                pipeline = redis.pipeline(transaction=False)
                for n in range(start, min(start + size, count)):
                    pipeline.set(b"plain:%032d" % n, VALUE, px=TTL)
                await pipeline.execute()
        return cost


async def singly(url: str, count: int) -> Cost:
    async with plain(url) as redis:
        async with measured(count) as cost:
            for n in range(count):
                await redis.set(b"plain:%032d" % n, VALUE, px=TTL)
        return cost


# --- look-ups ---------------------------------------------------------------------------------


async def latencies(ask: Callable[[int], Awaitable[object]]) -> tuple[Cost, list[float]]:
    took = []
    async with measured(LOOKUPS) as cost:
        for n in range(LOOKUPS):
            began = time.perf_counter()
            await ask(n)
            took.append(time.perf_counter() - began)
    return cost, sorted(took)


async def storm_of(ask: Callable[[int], Awaitable[object]]) -> float:
    """How long it takes to answer many that come in one turn of the loop; the median of some."""
    took = []
    for _ in range(STORMS):
        began = time.perf_counter()
        await asyncio.gather(*(ask(n) for n in range(STORM)))
        took.append(time.perf_counter() - began)
    return median(took)


async def our_lookups(url: str) -> tuple[Cost, list[float], float]:
    store = opened(url)
    addresses = clients(LOOKUPS)
    loop = asyncio.get_running_loop()
    for client in addresses:
        store.record(client, HOP, loop.time())
    await wait_until(lambda: not store.status().waiting)

    def find(client: Address) -> asyncio.Future[Address | None]:
        found: asyncio.Future[Address | None] = loop.create_future()

        def answer(_: Address, next_hop: Address | None, made: Instant | None = None) -> None:
            found.set_result(next_hop)

        store.lookup(client, answer)
        return found

    cost, took = await latencies(lambda n: find(addresses[n]))
    storm = await storm_of(lambda n: find(addresses[n]))
    status = store.status()
    assert status.hits == LOOKUPS + STORM * STORMS, status
    await store.aclose()
    return cost, took, storm


async def plain_gets(url: str) -> tuple[Cost, list[float], float]:
    async with plain(url) as redis:
        for n in range(LOOKUPS):
            await redis.set(b"plain:%032d" % n, VALUE, px=TTL)

        def get(n: int) -> Awaitable[object]:
            return redis.get(b"plain:%032d" % n)

        return *await latencies(get), await storm_of(get)


# --- the run ----------------------------------------------------------------------------------


def opened(url: str) -> RedisStore:
    store = make_store(StoreSettings(url, KEY, lookup_timeout=5.0, changes=1_000_000))
    assert isinstance(store, RedisStore)
    return store


@asynccontextmanager
async def plain(url: str) -> AsyncIterator["Redis"]:
    redis = Redis.from_url(url, protocol=2)
    await redis.ping()
    try:
        yield redis
    finally:
        await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    count = options.changes
    runs: dict[str, list[list[float]]] = {}
    found: dict[str, list[list[float]]] = {}
    storms: dict[str, list[float]] = {}
    with RedisServer() as server:
        url = server.url
        for _ in range(options.rounds):
            for name, story in (
                ("store", ours(url, count)),
                ("pipelines of 100 SET", pipelines(url, count, 100)),
                ("pipelines of 1,000 SET", pipelines(url, count, 1000)),
                ("SET one by one", singly(url, count // 10)),
            ):
                runs.setdefault(name, []).append(asyncio.run(story).row)
            for name, asked in (("store", our_lookups(url)), ("GET", plain_gets(url))):
                cost, took, storm = asyncio.run(asked)
                found.setdefault(name, []).append(lookup_row(cost, took))
                storms.setdefault(name, []).append(storm)
    columns = ["per second", "CPU µs each", "hold p99 ms", "hold max ms"]
    table(f"{count:,} changes", columns, medians(runs), show="{:,.2f}".format)
    cpu = ratio([row[1] for row in runs["store"]], [row[1] for row in runs["pipelines of 100 SET"]])
    line("CPU per change, beside pipelines of 100 SET", f"{cpu:.2f}", CPU_GOAL.beside(cpu))
    hold = median(row[2] for row in runs["store"])
    line("hold of the loop while it writes, p99", f"{hold:.2f} ms", HOLD_GOAL.beside(hold))
    columns = ["p50 µs", "p99 µs", "CPU µs each"]
    table(f"{LOOKUPS:,} look-ups, one at a time", columns, medians(found))
    several = ratio(storms["GET"], storms["store"])
    line(f"{STORM} look-ups of one turn of the loop", f"{median(storms['store']) * 1e3:.2f} ms")
    line("the same, beside plain GETs", f"{several:.2f}", STORM_GOAL.beside(several))


def lookup_row(cost: Cost, took: list[float]) -> list[float]:
    return [
        took[len(took) // 2] * 1e6,
        took[int(len(took) * 0.99)] * 1e6,
        cost.cpu / cost.count * 1e6,
    ]


def medians(rows: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    return {
        name: [median(column) for column in zip(*each, strict=True)] for name, each in rows.items()
    }


if __name__ == "__main__":
    main()
