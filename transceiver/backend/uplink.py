"""The way from a call to a backend that lives elsewhere: another process, another host.

Such a backend can be slow, and it can be away. The call must not notice either except by what is
missing, so everything that waits does so here: one task for each call connects, holds the
connection, and when it is lost tells the client, waits a little longer each time, and connects
again for as long as the call lasts. What was meant for the backend meanwhile waits in an ``Outbox``
with bounds.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define, field

from .agent import Line
from .outbox import Entry, Outbox
from .task import failed_in

T = TypeVar("T")

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
"""Seconds before the first try to connect again; doubled for each that follows, up to the
longest. A random part of a half is taken off, lest all calls come back at one moment."""
STEADY = 5.0
"""A connection that lasted as long as this starts the delays anew. One that is accepted and closed
at once does not."""
TURN = 16
"""Things that a backend said, and that are dealt with in one go."""
GRACE = 2.0
"""Seconds that a connection has for its farewell when the call is over."""


class Lost(Exception):
    """The connection, or the attempt at one, came to nothing. The text goes to the client and holds
    no secrets."""


async def until_first(*work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` side by side until one of it is done; the rest is cancelled. Raises what that
    one raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()


async def take_turns(taken: int) -> None:
    """To be waited for after the ``taken``th thing of a backend. What has arrived is there to be
    taken without waiting, and however much it is, the packets of all calls come between."""
    if taken % TURN == 0:
        await asyncio.sleep(0)


@define(slots=True, eq=False)
class Backoff:
    """How long to wait before the next try."""

    first: float = FIRST_DELAY
    longest: float = LONGEST_DELAY
    _next: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = self.first

    def after(self, lasted: float, chance: float) -> float:
        """Seconds to wait when the last try came to nothing, or to a connection that ended, after
        ``lasted`` seconds. ``chance`` is from 0 to 1."""
        if lasted > STEADY:
            self._next = self.first
        delay = self._next
        self._next = min(2 * delay, self.longest)
        return delay * (1 - chance / 2)


@define(slots=True, eq=False)
class Uplink(Generic[T]):
    """``converse`` holds one connection: it connects, calls ``up``, sends what ``next`` gives it
    until that is None, and returns; it raises ``Lost`` for whatever goes wrong."""

    line: Line
    outbox: Outbox[T]
    converse: Callable[[], Coroutine[Any, Any, None]]
    backoff: Backoff = field(factory=Backoff)
    connected: bool = field(init=False, default=False)
    _task: asyncio.Task[None] | None = field(init=False, default=None)
    _filled: asyncio.Event = field(init=False, factory=asyncio.Event)
    _overrun: asyncio.Event = field(init=False, factory=asyncio.Event)
    _ended: bool = field(init=False, default=False)
    _away: bool = field(init=False, default=False)  # and the client knows
    _slow: bool = field(init=False, default=False)  # likewise
    _errors: int = field(init=False, default=0)

    def begin(self) -> None:
        """Start connecting. Once."""
        if self._task is None and not self._ended:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self.line.id)
            self._task.add_done_callback(partial(failed_in, self.line))

    def hear(self, pcm: bytes) -> None:
        """Sound for the backend."""
        if self._ended:
            return
        if not self.outbox.hear(pcm) and not self._slow and not self._away:
            self._slow = True
            self.complain("backend_slow", "The backend does not keep up; sound was let go.")
        if self.outbox.ready:
            self._filled.set()

    def put(self, body: T, size: int = 0) -> bool:
        """An event for the backend. False where there is no room: whoever has read nothing for so
        long is given up, and connected to anew."""
        if self._ended:
            return True
        taken = self.outbox.put(body, size)
        if not taken and self.connected:
            self._overrun.set()
        self._filled.set()
        return taken

    def up(self) -> None:
        """The backend has answered."""
        self.connected = True
        if self._away:
            self._away = False
            self.line.backend_restored()

    def complain(self, code: str, message: str, about: str | None = None) -> None:
        """Tell the client by an ``error`` event, ``about`` being the id of an event of its own."""
        self._errors += 1
        error = {"type": "server_error", "code": code, "message": message, "param": None}
        event = {"type": "error", "event_id": f"event_{code}_{self._errors}"}
        self.line.send({**event, "error": {**error, "event_id": about}})

    async def next(self) -> Entry[T] | None:
        """The next thing to send; None when the call is over."""
        while not self._ended:
            entry = self.outbox.take()
            if entry is not None:
                return entry
            self._slow = False  # it has taken all there was for it
            self._filled.clear()
            await self._filled.wait()
        return None

    def end(self) -> None:
        """The call is over. A connection that stands may say so within ``GRACE``."""
        self._ended = True
        self._filled.set()
        if self._task is None:
            return
        if self.connected:
            timer = asyncio.get_running_loop().call_later(GRACE, self._task.cancel)
            self._task.add_done_callback(lambda _: timer.cancel())
        else:
            self._task.cancel()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._ended:
            began = clock()
            detail = await self._attempt()
            if self._ended:
                return
            self._tell(detail)
            # Not a secret and not a bound: any source of chance will do.
            await asyncio.sleep(self.backoff.after(clock() - began, random.random()))

    async def _attempt(self) -> str:
        """Hold one connection; why it is no more."""
        self._overrun.clear()
        try:
            await until_first(self.converse(), self._give_up())
        except Lost as lost:
            return str(lost)
        finally:
            self.connected = False
        return "the connection was closed"

    async def _give_up(self) -> None:
        await self._overrun.wait()
        raise Lost("it does not keep up, and too much waits for it")

    def _tell(self, detail: str) -> None:
        if not self._away and not self._ended:
            self._away, self._slow = True, False
            self.line.backend_lost(detail)
