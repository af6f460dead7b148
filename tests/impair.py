"""A bad network between a browser and the relay, in user space and from a seed.

The demo is told to advertise the address that ``Impairment`` listens on; what comes there is sent
on to the relay from a socket of the proxy's own, one per client address, and answers take the same
way back. On that way packets are lost, held up (which reorders them) and doubled with the
probabilities of the day. ``rebind()`` closes the upstream sockets and opens others: seen from the
relay every client now comes from another port, which is what a NAT does that has forgotten it.

One thread, one selector, one heap of packets that wait: easy to reason about, and quick enough for
a few calls.
"""

import contextlib
import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, frozen

_Peer = tuple[str, int]


@frozen
class Weather:
    """What happens to each packet, independently: probabilities from 0 to 1, delays in seconds.

    A packet is always held for ``delay``, and with probability ``reorder`` for ``held`` more, so
    that later ones overtake it."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    held: float = 0.03


CLEAR = Weather()


@define
class _Way:
    """The upstream socket of one client; a rebinding puts another in its place."""

    client: _Peer
    upstream: socket.socket


class Impairment:
    """A UDP proxy from ``listen`` to ``target`` (host and port). ``make_socket(host, port)``
    makes its sockets, so that they can live in a network namespace."""

    def __init__(
        self,
        listen: _Peer,
        target: _Peer,
        *,
        seed: int = 1,
        weather: Weather = CLEAR,
        make_socket: Callable[[str, int], socket.socket] | None = None,
    ) -> None:
        self._make = make_socket or _make_socket
        self._target = target
        self._random = random.Random(seed)
        self.weather = weather
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ways: dict[_Peer, _Way] = {}
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._down = self._make(*listen)
        self._down.setblocking(False)
        self.address: _Peer = self._down.getsockname()
        self._selector.register(self._down, selectors.EVENT_READ, None)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, "wake")
        self._running = True
        self._thread = threading.Thread(target=self._run, name="impairment", daemon=True)
        self._thread.start()

    def rebind(self) -> None:
        """Every client's packets come from a new port from now on; what was on the way to the
        old one is lost."""
        with self._lock:
            for way in self._ways.values():
                self._selector.unregister(way.upstream)
                way.upstream.close()
                way.upstream = self._open()
                self._selector.register(way.upstream, selectors.EVENT_READ, way)
            self.counters["rebound"] += 1
        self._wake.send(b".")

    @property
    def ports(self) -> list[int]:
        """The upstream ports now in use."""
        with self._lock:
            return [way.upstream.getsockname()[1] for way in self._ways.values()]

    @property
    def clients(self) -> dict[_Peer, int]:
        """Every client so far, with the upstream port that it has now; the latest stands last."""
        with self._lock:
            return {each: way.upstream.getsockname()[1] for each, way in self._ways.items()}

    def close(self) -> None:
        self._running = False
        self._wake.send(b".")
        self._thread.join()
        for way in self._ways.values():
            way.upstream.close()
        for each in (self._down, self._wake, self._woken):
            each.close()
        self._selector.close()

    def __enter__(self) -> "Impairment":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _open(self) -> socket.socket:
        made = self._make(self.address[0], 0)
        made.setblocking(False)
        return made

    def _way(self, client: _Peer) -> _Way:
        way = self._ways.get(client)
        if way is None:
            way = self._ways[client] = _Way(client, self._open())
            self._selector.register(way.upstream, selectors.EVENT_READ, way)
        return way

    def _run(self) -> None:
        while self._running:
            timeout = None
            if self._waiting:
                timeout = max(0.0, self._waiting[0][0] - time.monotonic())
            for key, _ in self._selector.select(timeout):
                with self._lock:
                    self._serve(key)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, send = heapq.heappop(self._waiting)
                with self._lock, contextlib.suppress(OSError):
                    send()

    def _serve(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)
        with contextlib.suppress(BlockingIOError, OSError):
            if key.data == "wake":
                key.fileobj.recv(1024)
            elif key.data is None:
                while True:
                    data, client = self._down.recvfrom(65536)
                    way = self._way(client)
                    self._pass("up", partial(self._send_up, data, way))
            else:
                way = key.data
                while True:
                    data = way.upstream.recv(65536)
                    self._pass("down", partial(self._down.sendto, data, way.client))

    def _send_up(self, data: bytes, way: _Way) -> None:
        way.upstream.sendto(data, self._target)

    def _pass(self, direction: str, send: Callable[[], Any]) -> None:
        weather, rng = self.weather, self._random
        # The same number of draws for every packet: changing one probability leaves the others'
        # outcomes as they were.
        lost, doubled, held = rng.random(), rng.random(), rng.random()
        if lost < weather.loss:
            self.counters[f"{direction} lost"] += 1
            return
        delay = weather.delay
        if held < weather.reorder:
            delay += weather.held
            self.counters[f"{direction} held"] += 1
        copies = 1
        if doubled < weather.duplicate:
            copies = 2
            self.counters[f"{direction} doubled"] += 1
        self.counters[f"{direction} passed"] += 1
        for _ in range(copies):
            if delay == 0.0:
                with contextlib.suppress(OSError):
                    send()
            else:
                due = time.monotonic() + delay
                heapq.heappush(self._waiting, (due, next(self._order), send))


def _make_socket(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    return made
