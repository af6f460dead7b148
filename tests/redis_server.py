"""A real Redis that tests start, and break: killed, paused, filled, restarted empty; and a proxy in
front of it that answers what no Redis would.

Each server has a directory of its own for its Unix socket, keeps nothing on disk, and is gone with
its process.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools import require_tool

DEADLINE = 20.0
KEY = bytes(range(64, 96))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class RedisServer:
    """``options`` are of the command line. It listens on a Unix socket, and on TCP with ``tcp``
    (always at the same port, so that it is found again)."""

    def __init__(self, *options: str, tcp: bool = False) -> None:
        self._program = require_tool("redis-server")
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="redis")
        self._process: subprocess.Popen[bytes] | None = None
        self.path = Path(self._directory.name) / "redis.sock"
        self.port = free_port() if tcp else 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.path}"

    def __enter__(self) -> "RedisServer":
        try:
            self.start()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it, empty, and wait until it answers. Somebody may have taken a free port in the
        meantime: then another one is tried, unless clients know the port already."""
        known = self._process is not None
        for _ in range(5):
            self._launch()
            if self._answers():
                return
            if self.port and not known:
                self.port = free_port()
        raise AssertionError("redis-server does not start")

    def _launch(self) -> None:
        self.path.unlink(missing_ok=True)
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.path), "--dir", self._directory.name]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", *self._options]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
                return True
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                time.sleep(0.01)
        self.kill()
        return False

    def client(self, **options: Any) -> "redis.Redis":
        """For the test itself, past whatever is between the store and the server."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self.path), retry=once, **options)

    def kill(self) -> None:
        """Without a word to its clients."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Connections stay, and accept bytes; nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def fill(self) -> None:
        """No memory is left: it answers, and refuses every write."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    def empty(self) -> None:
        """There is room again."""
        with self.client() as client:
            client.config_set("maxmemory", 0)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Proxy:
    """Between a store and a server. ``tamper`` is given each piece of an answer and returns what to
    pass on; None closes the connection instead."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.tamper: Callable[[bytes], Awaitable[bytes | None]] = _pass_on
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Proxy":
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far, near = await asyncio.open_unix_connection(str(self._server.path))
        except OSError:
            writer.close()
            return
        self._writers.add(near)
        for source, sink, tampered in ((reader, near, False), (far, writer, True)):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink, tampered))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, tampered: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                changed = await self.tamper(data) if tampered else data
                if changed is None:
                    break
                sink.write(changed)
                await sink.drain()
        sink.close()


async def _pass_on(data: bytes) -> bytes | None:
    return data


@contextlib.contextmanager
def sentinel_of(server: RedisServer, service: str) -> Iterator[RedisServer]:
    """A sentinel that watches ``server``, which listens on TCP."""
    with tempfile.TemporaryDirectory(prefix="sentinel") as directory:
        file = Path(directory) / "sentinel.conf"
        file.write_text(f"sentinel monitor {service} 127.0.0.1 {server.port} 1\n")
        with _Sentinel(file) as sentinel:
            yield sentinel


class _Sentinel(RedisServer):
    """A sentinel keeps its state in a file, so it is started from one."""

    def __init__(self, file: Path) -> None:
        super().__init__(tcp=True)
        self._file = file

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [
                *(self._program, str(self._file), "--sentinel", "--port", str(self.port)),
                *("--bind", "127.0.0.1", "--unixsocket", str(self.path)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def cluster_of_one() -> Iterator[RedisServer]:
    """A cluster of one node that has all slots."""
    with RedisServer("--cluster-enabled", "yes", tcp=True) as server:
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
            deadline = time.monotonic() + DEADLINE
            while b"cluster_state:ok" not in _raw(client, "CLUSTER INFO"):
                assert time.monotonic() < deadline, "the cluster does not come up"
                time.sleep(0.02)
        yield server


def _raw(client: "redis.Redis", command: str) -> bytes:
    client.response_callbacks.pop(command, None)
    found: bytes = client.execute_command(command)
    return found


async def wait_until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Fails if ``condition`` does not hold in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        await asyncio.sleep(0.005)
