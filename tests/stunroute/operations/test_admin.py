"""The admin socket: what it answers, and what it bears."""

import asyncio
import contextlib
import json
import logging
import os
import select
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictures import CONFIGURATIONS, Operated, flow, relay, worker
from stunroute.address import Address
from stunroute.operations import admin, codec
from stunroute.operations.admin import AdminClient, AdminError, AdminServer
from stunroute.operations.watch import Watch
from stunroute.status import FlowStatus, Happening, RelayStatus, StoreStatus

STATUS = relay(
    5,
    worker(
        0,
        flows=3,
        counters={"made": 3},
        drops={"no-flow": 2},
        kinds={("uplink", "rtp"): 7},
        store=StoreStatus("open", latency=0.5, last_error="TimeoutError"),
        configurations=CONFIGURATIONS,
    ),
    worker(1),
    restarts=1,
    happenings=(Happening(1.5, "something"),),
)
Test = Callable[[Path, Operated], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # The name of a socket has at most some hundred bytes; pytest's directories come close.
    return Path(os.path.relpath(tmp_path / "a"))


@contextlib.asynccontextmanager
async def serving(path: Path, *, sees: bool = True) -> AsyncIterator[Operated]:
    watch = Watch()
    if sees:
        watch.see(STATUS)
    operated = Operated([flow(n) for n in range(30)])
    server = AdminServer(path, watch, operated)
    await server.start()
    try:
        yield operated
    finally:
        await server.stop()


def serve(path: Path, test: Test, *, sees: bool = True) -> None:
    async def main() -> None:
        async with serving(path, sees=sees) as operated, asyncio.timeout(30):
            await test(path, operated)

    asyncio.run(main())


async def ask(path: Path, request: bytes) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(request + b"\n")
        answer = json.loads(await reader.readline())
        assert isinstance(answer, dict)
        return answer
    finally:
        writer.close()


# --- answers --------------------------------------------------------------------------------------


def test_what_goes_out_comes_in_again(path: Path) -> None:
    async def test(path: Path, operated: Operated) -> None:
        client = AdminClient(path)
        told = await asyncio.to_thread(client.status)
        assert told.workers == STATUS.workers
        assert (told.at, told.restarts, told.started) == (STATUS.at, 1, STATUS.started)
        assert Happening(1.5, "something") in told.happenings
        assert await asyncio.to_thread(client.flows, 4) == [flow(n) for n in range(4)]
        assert operated.asked == [4]

    serve(path, test)


ADDRESSES = st.builds(
    Address, st.binary(min_size=16, max_size=16), st.integers(min_value=0, max_value=65535)
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.builds(
            FlowStatus,
            st.integers(0, 9),
            ADDRESSES,
            ADDRESSES,
            st.text(),
            FLOATS,
            FLOATS,
            st.booleans(),
        )
    )
)
def test_any_flows_survive_json(flows: list[FlowStatus]) -> None:
    assert codec.flows_from_json(json.loads(json.dumps(codec.flows_to_json(flows)))) == flows


def test_a_picture_survives_json_and_what_is_no_number_becomes_nought() -> None:
    def again(status: RelayStatus) -> RelayStatus:
        return codec.status_from_json(json.loads(json.dumps(codec.status_to_json(status))))

    assert again(STATUS) == STATUS
    assert again(relay(1, worker(loop_lag=float("inf")))).workers[0].loop_lag == 0.0


def test_what_a_newer_relay_tells_in_addition_is_passed_over() -> None:
    told = codec.status_to_json(STATUS) | {"weather": "fine"}
    told["workers"][0]["mood"] = 7
    assert codec.status_from_json(told) == STATUS


@pytest.mark.parametrize("told", [None, 1, [], {}, {"at": "x"}, {"flows": 1}, "status"])
def test_what_is_no_picture_is_refused(told: object) -> None:
    with pytest.raises(ValueError):
        codec.status_from_json(told)
    if told != []:
        with pytest.raises(ValueError):
            codec.flows_from_json(told)


def test_before_the_first_picture(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        with pytest.raises(AdminError, match="no worker has answered yet"):
            await asyncio.to_thread(AdminClient(path).status)

    serve(path, test, sees=False)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (b"", "one line of JSON"),
        (b"hello", "one line of JSON"),
        (b"\xff\xfe", "one line of JSON"),
        (b"[" * 4000, "one line of JSON"),
        (b"[]", "an object"),
        (b"{}", "no such command"),
        (b'{"command": "stop"}', "no such command"),
        (b'{"command": ["status"]}', "no such command"),
        (b'{"command": "flows"}', "limit"),
        (b'{"command": "flows", "limit": 0}', "limit"),
        (b'{"command": "flows", "limit": true}', "limit"),
        (b'{"command": "flows", "limit": "9"}', "limit"),
        (b'{"command": "flows", "limit": 1000000000}', "limit"),
    ],
)
def test_requests_that_make_no_sense_are_told_so(path: Path, request_: bytes, problem: str) -> None:
    async def test(path: Path, operated: Operated) -> None:
        assert problem in str((await ask(path, request_))["error"])
        assert operated.asked == []

    serve(path, test)


def test_workers_that_do_not_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(limit: int) -> list[FlowStatus]:
        await asyncio.Event().wait()
        return []

    async def test(path: Path, operated: Operated) -> None:
        operated.flows = never  # type: ignore[method-assign]
        answer = await ask(path, b'{"command": "flows", "limit": 1}')
        assert answer == {"error": "the workers do not answer"}

    monkeypatch.setattr(admin, "ANSWER_SECONDS", 0.01)
    serve(path, test)


def test_one_connection_may_ask_again_and_again(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)
        for _ in range(5):
            writer.write(b'{"command": "status"}\n')
            assert "status" in json.loads(await reader.readline())
        writer.close()

    serve(path, test)


# --- what it bears --------------------------------------------------------------------------------


def closes(path: Path, sent: bytes) -> Awaitable[bytes]:
    """What comes back until the server closes."""

    async def run() -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(path))
        received = b""
        with contextlib.suppress(OSError):
            writer.write(sent)
            received = await reader.read()
        writer.close()
        return received

    return run()


def test_a_line_without_end_ends_the_connection(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        assert await closes(path, b"x" * (1 << 20)) == b""
        assert "status" in await ask(path, b'{"command": "status"}')

    serve(path, test)


def test_whoever_says_nothing_is_let_go_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(path: Path, _: Operated) -> None:
        for begun in (b"", b'{"command"'):
            assert await closes(path, begun) == b""

    monkeypatch.setattr(admin, "IDLE_SECONDS", 0.05)
    serve(path, test)


def test_whoever_does_not_read_is_let_go_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(path: Path, operated: Operated) -> None:
        operated.found = [flow(n) for n in range(admin.FLOWS)]
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, str(path))
            await loop.sock_sendall(sock, b'{"command": "flows", "limit": 10000}\n')
            # Not a byte is read until the server has given up, however long its answer took.
            hung_up = select.poll()
            hung_up.register(sock, select.POLLHUP)
            while not any(event & select.POLLHUP for _, event in hung_up.poll(0)):
                await asyncio.sleep(0.01)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while data := await loop.sock_recv(sock, 1 << 20):
                    received += len(data)
        assert received < 1_000_000
        assert "status" in await ask(path, b'{"command": "status"}')

    monkeypatch.setattr(admin, "READ_SECONDS", 0.05)
    serve(path, test)


def test_connections_are_bounded(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        opened = [await asyncio.open_unix_connection(str(path)) for _ in range(admin.CONNECTIONS)]
        for reader, writer in opened:
            writer.write(b"{}\n")
            await reader.readline()
        refused = await ask(path, b'{"command": "status"}')
        assert refused == {"error": "too many connections are open"}
        for _, writer in opened:
            writer.close()
        while "status" not in await ask(path, b'{"command": "status"}'):
            await asyncio.sleep(0.01)

    serve(path, test)


@given(st.binary(max_size=300))
def test_garbage_neither_stops_it_nor_is_logged(data: bytes) -> None:
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]

    async def main() -> None:
        path = Path(folder, "a")
        async with serving(path), asyncio.timeout(30):
            reader, writer = await asyncio.open_unix_connection(str(path))
            with contextlib.suppress(OSError):
                writer.write(data)
                writer.write_eof()
                await reader.read()
            writer.close()
            assert "status" in await ask(path, b'{"command": "status"}')

    logging.getLogger().addHandler(handler)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main())
    finally:
        logging.getLogger().removeHandler(handler)
    assert heard == []


def test_stopping_ends_connections_without_a_word_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as open_to_the_end:

        async def test(path: Path, _: Operated) -> None:
            loop = asyncio.get_running_loop()
            open_to_the_end.setblocking(False)
            await loop.sock_connect(open_to_the_end, str(path))
            await loop.sock_sendall(open_to_the_end, b"{}\n")
            assert await loop.sock_recv(open_to_the_end, 100)

        serve(path, test)
    assert caplog.text == ""


# --- the file -------------------------------------------------------------------------------------


def test_the_socket_is_its_owners_alone_and_goes_with_the_relay(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    before = os.umask(0)
    os.umask(before)
    serve(path, test)
    assert not path.exists()
    after = os.umask(before)
    assert after == before


def test_the_socket_of_a_relay_that_was_killed_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    assert path.exists()

    async def test(path: Path, _: Operated) -> None:
        assert "status" in await ask(path, b'{"command": "status"}')

    serve(path, test)


def test_a_relay_that_listens_is_left_alone(path: Path) -> None:
    async def test(path: Path, _: Operated) -> None:
        with pytest.raises(FileExistsError, match="another relay"):
            await AdminServer(path, Watch(), Operated()).start()
        assert "status" in await ask(path, b'{"command": "status"}')

    serve(path, test)


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")

    async def main() -> None:
        with pytest.raises(FileExistsError, match="no socket"):
            await AdminServer(path, Watch(), Operated()).start()

    asyncio.run(main())
    assert path.read_text() == "precious"


def test_the_socket_of_a_successor_is_not_removed(path: Path) -> None:
    async def main() -> None:
        first = AdminServer(path, Watch(), Operated())
        await first.start()
        path.rename(path.with_suffix(".old"))  # so that the inode is not free for another file
        second = AdminServer(path, Watch(), Operated())
        await second.start()
        await first.stop()
        assert path.exists()
        await second.stop()
        assert not path.exists()

    asyncio.run(main())


# --- the client -----------------------------------------------------------------------------------


def test_no_relay(path: Path) -> None:
    with pytest.raises(AdminError, match="No such file"):
        AdminClient(path).status()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"status": {}}\n',
        b'{"flows": 3}\n',
        b"[" * 99,
    ],
)
def test_an_answer_that_makes_no_sense(path: Path, answer: bytes) -> None:
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(strange, str(path))
        for request in (AdminClient(path).status, lambda: AdminClient(path).flows(1)):
            with pytest.raises(AdminError, match="not understood"):
                await asyncio.to_thread(request)
        server.close()

    asyncio.run(main())


def test_a_relay_that_takes_too_long(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(path))
        deaf.listen(1)
        with pytest.raises(AdminError, match="does not answer"):
            AdminClient(path, timeout=0.05).status()


def test_an_endless_answer_is_not_read_to_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    async def main() -> None:
        server = await asyncio.start_unix_server(endless, str(path))
        with pytest.raises(AdminError, match="not understood"):
            await asyncio.to_thread(AdminClient(path).status)
        server.close()

    monkeypatch.setattr(admin, "ANSWER_BYTES", 1 << 20)
    asyncio.run(main())
