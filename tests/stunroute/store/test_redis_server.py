"""The store over a real server, which is broken in every way that a test can."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from redis_server import KEY, Proxy, RedisServer, cluster_of_one, free_port, sentinel_of, wait_until
from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.settings import StoreSettings
from stunroute.store import Store
from stunroute.store.entry import SECOND, Entry, EntryCodec
from stunroute.store.redis import RedisStore, make_store

CLIENTS = [Address.of("192.0.2.1", 5000 + index) for index in range(250)]
CLIENT, OTHER, THIRD = CLIENTS[:3]
A, B, C = (Address.of(f"10.0.0.{last}", 4000) for last in (1, 2, 3))
CODEC = EntryCodec(KEY, "stunroute:", 120 * SECOND)
QUICK: dict[str, Any] = {
    "write_interval": 0.005,
    "write_timeout": 0.2,
    "pause": 0.02,
    "longest_pause": 0.1,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    """For tests that do not break it. Entries of others are there too."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    with shared.client() as client:
        client.flushall()
        client.script_flush()
    return shared


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


class Stores:
    """Stores of several relays, closed in the end."""

    def __init__(self) -> None:
        self._made: list[Store] = []

    async def __aenter__(self) -> "Stores":
        return self

    async def __aexit__(self, *_: object) -> None:
        for store in self._made:
            await store.aclose()

    def make(self, url: str, key: bytes = KEY, **settings: Any) -> RedisStore:
        store = make_store(StoreSettings(url, key, **(QUICK | settings)))
        assert isinstance(store, RedisStore)
        self._made.append(store)
        return store


def now() -> Instant:
    return asyncio.get_running_loop().time()


async def find(store: RedisStore, client: Address) -> Address | None:
    found: asyncio.Future[Address | None] = asyncio.get_running_loop().create_future()

    def answer(_: Address, next_hop: Address | None, made: Instant | None = None) -> None:
        found.set_result(next_hop)

    store.lookup(client, answer)
    return await found


async def found(store: RedisStore, client: Address, next_hop: Address | None) -> None:
    """Wait until the store says so: it may just have come back."""
    for _ in range(1000):
        if await find(store, client) == next_hop:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the store never says it")


async def written(store: RedisStore, count: int) -> None:
    await wait_until(lambda: store.status().written >= count and not store.status().waiting)


# --- as it should be --------------------------------------------------------------------------


async def what_one_relay_knows_another_finds(url: str) -> None:
    async with Stores() as stores:
        one, other = stores.make(url, lookup_timeout=5.0), stores.make(url, lookup_timeout=5.0)
        for client in CLIENTS:
            one.record(client, A, now())
        await written(one, len(CLIENTS))
        answers = await asyncio.gather(*(find(other, client) for client in CLIENTS))
        assert answers == [A] * len(CLIENTS)
        one.forget(CLIENT, A, now())
        await written(one, len(CLIENTS) + 1)
        assert await find(other, CLIENT) is None
        assert one.status().errors == other.status().errors == 0
        assert one.status().latency > 0


def test_what_one_relay_knows_another_finds(server: RedisServer) -> None:
    run(lambda: what_one_relay_knows_another_finds(server.url))


def test_by_tcp_and_with_a_password() -> None:
    with RedisServer("--requirepass", "p:ss/word", tcp=True) as server:
        url = server.url.replace("//", "//default:p%3Ass%2Fword@")
        run(lambda: what_one_relay_knows_another_finds(url))

        async def wrong() -> None:
            async with Stores() as stores:
                for password in ("", ":hunter2@"):
                    store = stores.make(server.url.replace("//", f"//{password}"))
                    store.record(CLIENT, A, now())
                    await wait_until(lambda s=store: s.status().state == "open")
                    assert await find(store, CLIENT) is None
                    assert "hunter2" not in str(store.status())
                    assert store.status().last_error

        run(wrong)


def test_by_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key)
    with RedisServer(*tls, "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"):
        url = f"rediss://127.0.0.1:{port}"
        run(lambda: what_one_relay_knows_another_finds(f"{url}?ssl_ca_certs={certificate}"))

        async def strangers() -> None:
            async with Stores() as stores:
                store = stores.make(url)  # which trusts the system's authorities alone
                await wait_until(lambda: store.status().state == "open")
                assert await find(store, CLIENT) is None

        run(strangers)


def self_signed(directory: Path) -> tuple[str, str]:
    """Paths of a certificate for 127.0.0.1 and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    address = x509.IPAddress(ip_address("127.0.0.1"))
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (directory / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(directory / "certificate.pem"), str(directory / "key.pem")


def test_by_sentinel() -> None:
    with RedisServer(tcp=True) as server, sentinel_of(server, "calls") as sentinel:
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/calls"
        run(lambda: what_one_relay_knows_another_finds(url))


def test_by_cluster() -> None:
    with cluster_of_one() as server:
        url = f"redis+cluster://127.0.0.1:{server.port}"
        run(lambda: what_one_relay_knows_another_finds(url))


def test_entries_end_by_themselves(server: RedisServer) -> None:
    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url, ttl=1.0)
            store.record(CLIENT, A, now())
            await written(store, 1)
            with server.client() as client:
                (name,) = client.keys("*")
                assert 0 < client.pttl(name) <= 1000
                await wait_until(lambda: client.dbsize() == 0)

    run(story)


def test_the_server_learns_no_address_of_a_client(server: RedisServer) -> None:
    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url)
            store.record(CLIENT, A, now())
            await written(store, 1)
            with server.client() as client:
                (name,) = client.keys("*")
                kept = name + client.get(name)
            for trace in (CLIENT.host, CLIENT.packed, CLIENT.ip.encode(), CLIENT.ip.encode().hex()):
                assert trace not in (kept if isinstance(trace, bytes) else kept.hex())

    run(story)


# --- several relays ---------------------------------------------------------------------------


def test_a_relay_with_an_older_flow_does_not_override_a_fresher_one(server: RedisServer) -> None:
    async def story() -> None:
        async with Stores() as stores:
            left, right = stores.make(server.url), stores.make(server.url)
            start = now() - 10
            left.record(CLIENT, A, start)
            await written(left, 1)
            right.record(CLIENT, B, start + 5)  # it moved, and its packets come here now
            await written(right, 1)
            left.record(CLIENT, A, start)  # still renews what it has
            await wait_until(lambda: left.status().stale == 1)
            assert await find(left, CLIENT) == B
            left.forget(CLIENT, A, start)  # and hears of its end late
            await wait_until(lambda: left.status().stale == 2)
            assert await find(left, CLIENT) == B
            right.forget(CLIENT, B, start + 5)
            await written(right, 2)
            right.record(CLIENT, B, start + 5)  # of another worker that has it from the store
            left.record(CLIENT, A, start)
            await wait_until(lambda: left.status().stale + right.status().stale == 4)
            assert await find(left, CLIENT) is None
            left.record(CLIENT, C, start + 6)
            await written(left, 2)
            assert await find(right, CLIENT) == C

    run(story)


def test_an_entry_of_the_future_is_in_nobodys_way(server: RedisServer) -> None:
    """A relay whose clock was wrong must not lock its clients up."""

    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url)
            store.record(CLIENT, A, now() + 3600)
            await written(store, 1)
            assert await find(store, CLIENT) is None
            assert store.status().refused == 1
            store.record(CLIENT, B, now())
            await written(store, 2)
            assert await find(store, CLIENT) == B

    run(story)


# --- who can write there ----------------------------------------------------------------------


def test_who_can_write_there_cannot_steer(server: RedisServer) -> None:
    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url, lookup_timeout=5.0)
            names = [CODEC.name(client) for client in CLIENTS[:3]]
            for client, hop in zip(CLIENTS[:3], (A, B, C), strict=True):
                store.record(client, hop, now())
            await written(store, 3)
            with server.client() as attacker:
                values = attacker.mget(names)
                attacker.set(names[0], values[1])  # two entries swapped
                attacker.set(names[1], values[0])
                evil = Address.of("203.0.113.66", 53)
                attacker.set(names[2], values[2][:17] + evil + values[2][35:])
                answers = [await find(store, client) for client in CLIENTS[:3]]
                assert answers == [None, None, None]
                assert store.status().refused == 3

                foreign = EntryCodec(bytes(32), "stunroute:", 120 * SECOND)
                moment = int.from_bytes(values[0][9:17], "big")
                old = CODEC.encode(CLIENT, Entry(moment, A), moment - 1000 * SECOND)
                for forged in (
                    foreign.encode(CLIENT, Entry(moment, A), moment),
                    old,
                    b"",
                    b"\x01",
                    bytes(51),
                    bytes(100_000),
                ):
                    attacker.set(names[0], forged)
                    assert await find(store, CLIENT) is None
                assert store.status().refused == 9
                assert store.status().state == "closed"

    run(story)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda server, name: server.set(name, b"\x01" + b"\xff" * 50),
        lambda server, name: server.set(name, b"short"),
        lambda server, name: server.set(name, b"\x02" + bytes(50)),
        lambda server, name: server.lpush(name, b"a list"),
        lambda server, name: server.hset(name, b"a", b"hash"),
    ],
    ids=["greatest", "short", "version", "list", "hash"],
)
def test_what_is_not_an_entry_is_written_over(
    server: RedisServer, spoil: Callable[[Any, bytes], object]
) -> None:
    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url)
            with server.client() as attacker:
                spoil(attacker, CODEC.name(CLIENT))
            assert await find(store, CLIENT) is None
            store.record(CLIENT, A, now())
            await written(store, 1)
            assert await find(store, CLIENT) == A
            assert store.status().state == "closed"

    run(story)


def test_stores_with_different_keys_do_not_meet(server: RedisServer) -> None:
    async def story() -> None:
        async with Stores() as stores:
            ours, theirs = stores.make(server.url), stores.make(server.url, key=bytes(32))
            ours.record(CLIENT, A, now())
            theirs.record(CLIENT, B, now() + 1)
            await written(ours, 1)
            await written(theirs, 1)
            assert await find(ours, CLIENT) == A
            assert await find(theirs, CLIENT) == B

    run(story)


# --- a server that breaks ---------------------------------------------------------------------


async def it_costs_nothing_and_comes_back(
    server: RedisServer, break_it: Callable[[], None], mend_it: Callable[[], None]
) -> None:
    """Break the server between two changes; everything is there in the end."""
    async with Stores() as stores:
        store = stores.make(server.url)
        store.record(CLIENT, A, now())
        await written(store, 1)
        break_it()
        store.record(OTHER, B, now())
        await wait_until(lambda: store.status().state != "closed")
        for client in CLIENTS[2:]:
            store.record(client, C, now())
        assert store.status().waiting >= len(CLIENTS) - 2
        mend_it()
        await written(store, len(CLIENTS))
        await wait_until(lambda: store.status().state == "closed")
        await found(store, OTHER, B)
        await found(store, THIRD, C)
        store.record(CLIENT, A, now())  # it renews
        await written(store, len(CLIENTS) + 1)
        await found(store, CLIENT, A)
        assert store.status().lost == 0


def test_a_server_that_is_killed_and_comes_back_empty() -> None:
    with RedisServer() as server:
        run(lambda: it_costs_nothing_and_comes_back(server, server.kill, server.start))


def test_a_server_that_hangs() -> None:
    with RedisServer() as server:
        run(lambda: it_costs_nothing_and_comes_back(server, server.pause, server.resume))


def test_a_server_that_is_full() -> None:
    with RedisServer() as server:
        run(lambda: it_costs_nothing_and_comes_back(server, server.fill, server.empty))


def test_a_full_server_still_answers() -> None:
    async def story(server: RedisServer) -> None:
        async with Stores() as stores:
            store = stores.make(server.url)
            store.record(CLIENT, A, now())
            await written(store, 1)
            server.fill()
            store.record(OTHER, B, now())
            await wait_until(lambda: store.status().errors)
            assert store.status().last_error.startswith("OutOfMemoryError")
            assert await find(store, CLIENT) == A

    with RedisServer() as server:
        run(lambda: story(server))


def test_a_server_that_restarts_between_two_batches_costs_nothing(server: RedisServer) -> None:
    """It has forgotten the script, and says so."""

    async def story() -> None:
        async with Stores() as stores:
            store = stores.make(server.url)
            for count, client in enumerate(CLIENTS[:3], 1):
                store.record(client, A, now())
                await written(store, count)
                with server.client() as other:
                    other.script_flush()
            assert store.status().errors == 0

    run(story)


def test_a_server_that_was_never_there() -> None:
    async def story() -> None:
        async with Stores() as stores:
            store = stores.make("unix:///nowhere/redis.sock")
            answers = [await find(store, client) for client in CLIENTS]
            assert answers == [None] * len(CLIENTS)
            await wait_until(lambda: store.status().state == "open")
            assert store.status().unasked > 0

    run(story)


def test_a_look_up_at_a_server_that_hangs_is_answered_in_time() -> None:
    async def story(server: RedisServer) -> None:
        async with Stores() as stores:
            store = stores.make(server.url, lookup_timeout=0.02, failures=100)
            store.record(CLIENT, A, now())
            await written(store, 1)
            assert await find(store, CLIENT) == A
            server.pause()
            answers = await asyncio.gather(*(find(store, each) for each in CLIENTS[:10]))
            assert answers == [None] * 10
            assert store.status().timeouts > 0
            server.resume()
            await found(store, CLIENT, A)

    with RedisServer() as server:
        run(lambda: story(server))


# --- a server that lies -----------------------------------------------------------------------


async def _half(data: bytes) -> bytes | None:
    return data[: len(data) // 2]


async def _closes(data: bytes) -> bytes | None:
    return None


async def _hangs(data: bytes) -> bytes | None:
    return b""


async def _twice(data: bytes) -> bytes | None:
    return data + data


def _always(answer: bytes) -> Callable[[bytes], Awaitable[bytes | None]]:
    async def tamper(data: bytes) -> bytes | None:
        return answer

    return tamper


LIES = {
    "half": _half,
    "closes": _closes,
    "hangs": _hangs,
    "twice": _twice,
    "http": _always(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "binary": _always(bytes(range(256))),
    "nested": _always(b"*1\r\n" * 5000),
    "huge": _always(b"$999999999999\r\n"),
    "many": _always(b"*999999999\r\n" + b":1\r\n" * 10_000),
    "negative": _always(b"$-5\r\n"),
    "not a number": _always(b"$x\r\n"),
    "integer": _always(b":-1\r\n"),
    "empty": _always(b"*0\r\n"),
    "integers": _always(b"*1\r\n:1\r\n"),
    "error": _always(b"-hunter2 hunter2\r\n"),
    "push": _always(b">2\r\n+a\r\n+b\r\n"),
    "text": _always(b"*1\r\n+\xff\xfe\r\n"),
    "minus": _always(b"*-7\r\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_costs_nothing_and_is_believed_again(
    server: RedisServer, lie: str
) -> None:
    async def story() -> None:
        async with Proxy(server) as proxy, Stores() as stores:
            store = stores.make(proxy.url, lookup_timeout=0.05, write_timeout=0.05)
            store.record(CLIENT, A, now())
            await written(store, 1)
            await found(store, CLIENT, A)
            proxy.tamper, honest = LIES[lie], proxy.tamper
            for client in CLIENTS[1:5]:
                store.record(client, B, now())
                assert await find(store, client) in (None, B)
            before = store.status()
            assert "hunter2" not in str(before)
            if lie != "twice":
                await wait_until(lambda: store.status().errors + store.status().timeouts > 0)
                await wait_until(lambda: store.status().state != "closed")
            proxy.tamper = honest
            for client in CLIENTS[1:5]:
                await found(store, client, B)
            await found(store, CLIENT, A)
            assert store.status().lost == 0

    run(story)


def test_a_slow_server_holds_up_no_lookup_of_another_turn(server: RedisServer) -> None:
    """Writes and reads do not share a connection."""

    async def story() -> None:
        release = asyncio.Event()
        slow: list[bytes] = []

        async def tamper(data: bytes) -> bytes | None:
            if data == b":0\r\n":  # what the script answers
                slow.append(data)
                await release.wait()
            return data

        async with Proxy(server) as proxy, Stores() as stores:
            store = stores.make(proxy.url, write_timeout=30.0, lookup_timeout=5.0)
            proxy.tamper = tamper
            store.record(CLIENT, A, now())
            await wait_until(lambda: slow)
            assert await find(store, CLIENT) == A
            assert store.status().written == 0
            release.set()
            await written(store, 1)

    run(story)
