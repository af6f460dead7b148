"""The bad network must be bad in the way its settings say, or live tests prove nothing."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from impair import Impairment, Weather


class Echo:
    """A UDP server that sends everything back and notes from where it came."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.seen: list[tuple[bytes, int]] = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            data, client = self.socket.recvfrom(2048)
            if data == b"stop":
                return
            self.seen.append((data, client[1]))
            self.socket.sendto(data, client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(2.0)
        yield made


def through(echo: Echo, weather: Weather, seed: int = 1) -> Impairment:
    return Impairment(("127.0.0.1", 0), echo.socket.getsockname(), seed=seed, weather=weather)


def numbers(count: int) -> list[bytes]:
    return [n.to_bytes(2, "big") for n in range(count)]


def drain(client: socket.socket, quiet: float = 0.3) -> list[bytes]:
    client.settimeout(quiet)
    got = []
    try:
        while True:
            got.append(client.recv(2048))
    except TimeoutError:
        return got


def test_clear_weather_passes_everything_in_order(echo: Echo, client: socket.socket) -> None:
    with through(echo, Weather()) as network:
        for number in numbers(50):
            client.sendto(number, network.address)
            assert client.recv(2048) == number
        assert len({port for _, port in echo.seen}) == 1


def lost_up(echo: Echo, client: socket.socket, seed: int) -> list[bytes]:
    with through(echo, Weather(loss=0.3), seed) as network:
        # One direction only: a client that does not wait makes the order of draws its own.
        for number in numbers(200):
            client.sendto(number, network.address)
            time.sleep(0.0005)
        drain(client)
        assert network.counters["up lost"] + network.counters["up passed"] == 200
        assert 30 <= network.counters["up lost"] <= 90
    return [data for data, _ in echo.seen]


def test_loss_takes_about_as_many_as_asked(echo: Echo, client: socket.socket) -> None:
    arrived = lost_up(echo, client, seed=3)
    assert arrived == sorted(arrived)
    assert len(arrived) < 200


def test_held_packets_are_overtaken(echo: Echo, client: socket.socket) -> None:
    with through(echo, Weather(reorder=0.3, held=0.02)) as network:
        for number in numbers(100):
            client.sendto(number, network.address)
            time.sleep(0.001)
        got = drain(client)
        assert sorted(got) == numbers(100)
        assert got != sorted(got)
        assert network.counters["up held"] > 0


def test_doubled_packets_arrive_twice(echo: Echo, client: socket.socket) -> None:
    with through(echo, Weather(duplicate=1.0)) as network:
        client.sendto(b"x", network.address)
        assert drain(client) == [b"x"] * 4


def test_every_packet_is_delayed(echo: Echo, client: socket.socket) -> None:
    with through(echo, Weather(delay=0.05)) as network:
        before = time.monotonic()
        client.sendto(b"x", network.address)
        assert client.recv(2048) == b"x"
        assert 0.1 <= time.monotonic() - before < 1.0


def test_rebinding_changes_the_port_that_the_server_sees(echo: Echo, client: socket.socket) -> None:
    with through(echo, Weather()) as network:
        client.sendto(b"a", network.address)
        assert client.recv(2048) == b"a"
        network.rebind()
        client.sendto(b"b", network.address)
        assert client.recv(2048) == b"b"
        (_, before), (_, after) = echo.seen
        assert before != after
        assert network.ports == [after]
