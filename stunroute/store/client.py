"""redis-py, as the store uses it: one command to read some entries, one to write some.

A single server, sentinels and a cluster differ in how a connection is found and in nothing else
that is seen outside. Reads and writes have connections of their own, so no packet waits behind a
batch. The library's own retries are off and its timeouts are short: how long to wait, how often to
try and when to leave it alone is decided in one place, and that is not here.

Entries are written by a script, because only the server can compare what it has with what is to
be written and leave nothing in between. All of a batch goes into one call: packing a call's
arguments costs redis-py a few microseconds per entry, a pipeline of calls five times that. (Sorted
sets, where the newest stamp would win by itself, need a pipeline of three commands per entry: add,
trim, expire.)

Answers are read by the library's parser in Python, never by hiredis, because a server that lies
could otherwise hold the loop up or fill the memory by what it says it is about to send.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from itertools import groupby
from typing import Any

from attrs import asdict
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Connection, ConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stunroute.errors import DecodeError

from . import entry
from .url import Cluster, Endpoint, Login, Sentinels, Single, Tls, Unix

SOCKET_TIMEOUT = 1.0
"""Seconds for a connection to be made, and for each answer on it. Whoever calls waits no longer
than it wants to anyway; this ends what would wait behind its back."""
LINES_AT_ONCE = 256
"""Lines of an answer that are read before the loop turns: about a millisecond of work."""
STRING_LENGTH = 1 << 20
"""Bytes of the longest string that is read. An entry is short; what a cluster says of itself is
many strings."""

SCRIPT = f"""
local latest, ttl, stale = tonumber(ARGV[1]), ARGV[2], 0
local function generation(value)
  if type(value) ~= 'string' or #value ~= {entry.LENGTH} then return -1 end
  if string.byte(value) ~= {entry.VERSION} then return -1 end
  return (struct.unpack('>I8', value, {entry.GENERATION_OFFSET + 1}))
end
for i, name in ipairs(KEYS) do
  local old, new = generation(redis.pcall('GET', name)), ARGV[i + 2]
  if old > generation(new) and old <= latest then
    stale = stale + 1
  else
    redis.call('SET', name, new, 'PX', ttl)
  end
end
return stale
"""
"""Write each entry, unless there is one of a greater generation that somebody may honestly have
written. What is there and no entry at all is overwritten. Returns how many were not written."""

_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class BoundedParser(_AsyncRESP2Parser):
    """Reads an answer of any length a little at a time, and no string of any length."""

    __slots__ = ("_lines",)

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._lines = 0

    # Plain functions that return the library's own coroutine: one more for each line would show.

    def _readline(self) -> Coroutine[Any, Any, bytes]:
        self._lines += 1
        if self._lines % LINES_AT_ONCE:
            return super()._readline()
        return self._readline_later()

    async def _readline_later(self) -> bytes:
        # What is there already is read without waiting, and a deadline passes unseen.
        await asyncio.sleep(0)
        return await super()._readline()

    def _read(self, length: int) -> Coroutine[Any, Any, bytes]:
        if not 0 <= length <= STRING_LENGTH:
            raise InvalidResponse("a string longer than anything that is stored")
        return super()._read(length)


class RedisClient:
    """See ``stunroute.store.redis.Client``."""

    def __init__(self, endpoint: Endpoint, shard: Callable[[bytes], bytes]) -> None:
        """``shard`` says which names a cluster keeps together. Connects when it is used."""
        self._shard = shard if isinstance(endpoint, Cluster) else None
        self._reads = _connect(endpoint)
        self._writes = _connect(endpoint)

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for group in self._groups(names):
            values = await _execute(self._reads, "MGET", *group)
            if not isinstance(values, list) or len(values) != len(group):
                raise DecodeError("not an answer to MGET")
            if not all(value is None or isinstance(value, bytes) for value in values):
                raise DecodeError("not values in an answer to MGET")
            found.update(zip(group, values, strict=True))
        return [found[name] for name in names]

    async def write(self, values: dict[bytes, bytes], latest: int, ttl: int) -> int:
        stale = 0
        for group in self._groups(list(values)):
            arguments = (*group, latest, ttl, *(values[name] for name in group))
            count = await self._evaluate(len(group), arguments)
            if not isinstance(count, int) or not 0 <= count <= len(group):
                raise DecodeError("not an answer of the script")
            stale += count
        return stale

    async def aclose(self) -> None:
        for owner in (self._reads, self._writes):
            await owner.aclose()
            pool = getattr(owner, "connection_pool", None)
            if pool is not None:
                await pool.disconnect()
            if isinstance(pool, SentinelConnectionPool):
                for sentinel in pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    async def _evaluate(self, count: int, arguments: tuple[Any, ...]) -> object:
        try:
            return await _execute(self._writes, "EVALSHA", _SHA, count, *arguments)
        except NoScriptError:
            # A server that is new to us, or has restarted.
            return await _execute(self._writes, "EVAL", SCRIPT, count, *arguments)

    def _groups(self, names: Sequence[bytes]) -> list[list[bytes]]:
        """What one command may name."""
        if self._shard is None:
            return [list(names)]
        return [list(group) for _, group in groupby(sorted(names, key=self._shard), self._shard)]


async def _execute(owner: "Redis | RedisCluster", *arguments: Any) -> object:
    try:
        return await owner.execute_command(*arguments)
    except RedisTimeoutError as error:
        raise TimeoutError from error


def _connect(endpoint: Endpoint) -> "Redis | RedisCluster":
    match endpoint:
        case Single((host, port), database, login, tls):
            kind = Connection if tls is None else SSLConnection
            options = _options(login, tls, db=database, host=host, port=port)
            return Redis(connection_pool=ConnectionPool(kind, **options))
        case Unix(path, database, login):
            options = _options(login, None, db=database, path=path)
            del options["socket_keepalive"]
            pool = ConnectionPool(UnixDomainSocketConnection, **options)
            return Redis(connection_pool=pool)
        case Sentinels(hosts, service, database, login, own, tls):
            options = _options(own, tls, ssl=tls is not None)
            parser = {"parser_class": options.pop("parser_class")}  # only a connection takes it
            manager = _untyped(Sentinel)(hosts, sentinel_kwargs=options)
            for sentinel in manager.sentinels:
                sentinel.connection_pool.connection_kwargs |= parser
            options = _options(login, tls, ssl=tls is not None, db=database)
            return Redis(
                connection_pool=_untyped(SentinelConnectionPool)(service, manager, **options)
            )
        case Cluster(hosts, login, tls):
            options = _options(login, tls, ssl=tls is not None)
            parser = {"parser_class": options.pop("parser_class")}
            nodes = [ClusterNode(host, port) for host, port in hosts]
            cluster = RedisCluster(startup_nodes=nodes, **options)
            cluster.connection_kwargs |= parser
            for node in cluster.nodes_manager.startup_nodes.values():
                node.connection_kwargs |= parser
            return cluster


def _options(login: Login, tls: Tls | None, **more: Any) -> dict[str, Any]:
    secured = {f"ssl_{name}": value for name, value in asdict(tls).items()} if tls else {}
    return {
        "username": login.username,
        "password": login.password,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        # Nothing of the newer protocol is needed, and its answers to the same commands differ.
        "protocol": 2,
        "parser_class": BoundedParser,
        **secured,
        **more,
    }


def _untyped(kind: Any) -> Any:
    """redis-py leaves some constructors without types."""
    return kind
