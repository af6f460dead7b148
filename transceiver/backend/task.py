"""A backend that waits: a coroutine with a queue of its own.

A call's events come from the loop that also carries every other call's packets, so nobody may be
slow in ``receive``. Whoever has to wait for a model, a socket or a file writes a coroutine and
takes events at its own pace. What it cannot keep up with is lost from the old end, for a listener
that is behind wants to hear what is said now; the end of the call is never lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeAlias

from attrs import define, field

from stunroute.instant import Instant
from transceiver.events import Ended, Event

from .interface import Backend, BackendFactory, Call


@define(slots=True, eq=False)
class Inbox:
    """Events of one call for one reader: ``async for event in inbox``. The iteration ends after
    ``Ended``. ``events`` bounds what waits; the oldest goes."""

    events: int = 256
    lost: int = field(init=False, default=0)
    """Events that went unread for want of room."""
    _waiting: deque[Event] = field(init=False, factory=deque, repr=False)
    _filled: asyncio.Event = field(init=False, factory=asyncio.Event, repr=False)

    def put(self, event: Event) -> None:
        """Add ``event``; at the bound the oldest goes."""
        if len(self._waiting) >= self.events:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            await self._filled.wait()
            event = self._waiting.popleft()
            if not self._waiting:
                self._filled.clear()
            yield event
            if isinstance(event, Ended):
                return


Conversation: TypeAlias = Callable[[Call, Inbox], Coroutine[Any, Any, None]]
"""Holds one call from its answer to its end. Returning earlier hangs up."""


@define(slots=True, eq=False)
class _InTask:
    call: Call
    inbox: Inbox
    grace: float
    task: asyncio.Task[None] | None = field(init=False, default=None)

    def begin(self, conversation: Conversation) -> None:
        self.task = asyncio.create_task(conversation(self.call, self.inbox), name=self.call.id)
        self.task.add_done_callback(self._done)

    def receive(self, event: Event) -> None:
        self.inbox.put(event)
        if isinstance(event, Ended) and self.task is not None:
            asyncio.get_running_loop().call_later(self.grace, self.task.cancel)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not failed_in(self.call, task):
            self.call.hang_up()


class Clocked(Protocol):
    """A call, or the line of one."""

    def now(self) -> Instant: ...

    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]: ...


def failed_in(call: Clocked, task: asyncio.Task[None]) -> bool:
    """A task of ``call`` is done. What it raised is raised again in the call, which ends with it;
    whether there was such a thing."""
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        call.call_at(call.now(), partial(_raise, failure))
    return failure is not None


def _raise(failure: BaseException) -> None:
    raise failure


def in_task(conversation: Conversation, *, events: int = 256, grace: float = 5.0) -> BackendFactory:
    """Backends that each run ``conversation`` in a task. ``events`` bounds its inbox; ``grace`` is
    how many seconds after the call's end it may go on before it is cancelled."""

    def make(call: Call) -> Backend:
        backend = _InTask(call, Inbox(events), grace)
        backend.begin(conversation)
        return backend

    return make
