"""A worker: one relay on its sockets, forked from the supervisor and talking to it alone.

Forked, not started anew, because everything that takes time has been done by then: modules are
imported, settings are read, sockets are bound. A worker that died has a successor some milliseconds
later, on the same sockets, with the packets in them that came meanwhile.

What the supervisor has open is none of a worker's business, and a copy of it would do harm: another
worker's channel, held open here, would hide that worker's end, and a listener would outlive the
supervisor. So a worker closes everything but its own. What it cannot close is the memory of the
supervisor's loop, its callbacks and its frames; it never returns to them, and ends by ``os._exit``.
"""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, Protocol, TypeAlias

from attrs import evolve, field, frozen

from stunroute.address import Address
from stunroute.directory import Directory
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing
from stunroute.settings import Loop, RelaySettings
from stunroute.status import FlowStatus, WorkerStatus
from stunroute.store import Store

from .channel import Channel
from .health import LoopLag
from .sockets import BoundSockets

FLOWS_AT_ONCE = 10_000
"""Flows in one answer at most: making the answer holds the packets up."""
GARBAGE = (5_000, 5, 200_000)
"""Thresholds of the collector of cyclic garbage: the young are looked at now and then, 25,000 at
most, which takes a millisecond or two; all that lives practically never by itself, because that
stops the packets for a third of a second with a million flows, which are no garbage. ``_tidy``
looks at everything instead, while it is little."""
SOURCES_INTERVAL = 0.25
"""Seconds from learning a synchronisation source to telling the supervisor; no NAT rebinds so soon
in a call."""
TIDY_INTERVAL = 60.0
TIDY_FLOWS = 10_000
"""Looking at so many takes some milliseconds."""
DRAIN_WITHIN = 0.5
"""Seconds in which a stopping worker forwards what was in its sockets' buffers. Full ones hold
some thousand packets, which take a small part of it."""
FLUSH_WITHIN = 2.0
"""Seconds that the store may take to write what it has not yet written."""
_PR_SET_PDEATHSIG = 1
CLOCK_STEP = 1.0
"""Seconds that the wall clock may have moved against the loop's before the dates in the settings
are worked out anew: it was set, or the machine slept, in which the loop's clock stands still."""
LAG_INTERVAL = 0.1
"""Seconds between two looks at how late the loop is."""


class Served(Protocol):
    """A relay on sockets, as its worker knows it: ``server.RelayServer``."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def reload(
        self, settings: RelaySettings, keyring: KeyRing, directory: Directory
    ) -> tuple[str, ...]: ...

    def status(self) -> WorkerStatus: ...

    def flows(self, limit: int) -> list[FlowStatus]: ...

    def take_sources(self) -> dict[int, Address]: ...

    def learn_sources(self, sources: Mapping[int, Address]) -> None: ...


class MakeServer(Protocol):
    """What makes one; the class itself will do."""

    def __call__(
        self,
        settings: RelaySettings,
        keyring: KeyRing,
        directory: Directory,
        *,
        worker: int,
        bound: BoundSockets | None,
        store: Store | None,
    ) -> Served: ...


MakeStore: TypeAlias = Callable[[RelaySettings], Store | None]
"""Called in the worker, on its running loop."""


# --- what is said on the channel ------------------------------------------------------------------


@frozen(slots=True)
class GetStatus:
    """Answered by a ``WorkerStatus``, or by ``Failed``: the heartbeat, too."""


@frozen(slots=True)
class GetFlows:
    """Answered by a list of at most ``limit`` ``FlowStatus``."""

    limit: int


@frozen(slots=True)
class Reload:
    """Answered by ``Reloaded``, or by a ``ConfigError`` and with nothing changed."""

    settings: RelaySettings


@frozen(slots=True)
class Reloaded:
    """``waiting`` names the settings that have changed and wait for a restart."""

    waiting: tuple[str, ...]


@frozen(slots=True)
class Sources:
    """Told to the supervisor, and by it to all other workers: synchronisation sources of flows, by
    next hop."""

    sources: dict[int, Address]


@frozen(slots=True)
class Stop:
    """Told to the worker, which tells ``Stopped`` in the end."""


@frozen(slots=True)
class Stopped:
    """Told to the supervisor: the end, and what it had come to."""

    status: WorkerStatus


@frozen(slots=True)
class Failed:
    """The worker could not start. ``error`` is what was raised."""

    error: ConfigError | OSError


def loop_of(choice: Loop) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None for asyncio's own way. Raises ConfigError."""
    if choice is Loop.ASYNCIO:
        return None
    try:
        found: Callable[[], asyncio.AbstractEventLoop]
        found = importlib.import_module(choice.value).new_event_loop
    except ImportError as error:
        raise ConfigError("sockets.loop", f"cannot be had: {error}") from None
    return found


# --- the process ----------------------------------------------------------------------------------


@frozen(slots=True)
class Assignment:
    """All that a worker is told when it is made. ``core`` is the processor it is to run on, None
    for any, ``sources`` what its predecessor and others have learnt of sources, by next hop."""

    number: int
    settings: RelaySettings
    bound: BoundSockets
    make_server: MakeServer
    make_store: MakeStore
    core: int | None = None
    sources: Mapping[int, Address] = field(factory=dict)


def fork(assignment: Assignment) -> tuple[int, socket.socket]:
    """Make a worker. Returns its process id and the supervisor's end of its channel. Raises
    OSError where no process can be made.

    To be called in a process of a single thread: a lock that another one held would stay locked in
    the worker for ever."""
    ours, theirs = socket.socketpair()
    sys.stdout.flush()  # what is in the buffer now must not be written by both
    # A signal that reached the worker before it has handlers of its own would be written to the
    # supervisor's loop, as if it had been meant for that.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _be_a_worker(assignment, theirs, unblocked)
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        theirs.close()
    return pid, ours


def _be_a_worker(
    assignment: Assignment, channel: socket.socket, unblocked: Iterable[int]
) -> NoReturn:
    code = 1
    try:
        gc.freeze()  # nothing of the supervisor's is to be found dead, and closed, in here
        _end_with_parent()
        signal.set_wakeup_fd(-1)
        # Ctrl-C and the hang-up of a terminal go to all of its processes. Only the supervisor is
        # to act on them; it tells its workers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        bound = assignment.bound
        _close_all_but(sock.fileno() for sock in (channel, bound.inner, *bound.public))
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        if assignment.core is not None:
            os.sched_setaffinity(0, (assignment.core,))
        loop = loop_of(assignment.settings.sockets.loop)
        with asyncio.Runner(loop_factory=loop) as runner:
            code = runner.run(Worker(assignment).run(channel))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent() -> None:
    """Ask the kernel to end this process with the supervisor. The end of the channel says so too,
    but only to a worker that still turns its loop; one that hangs would hold the ports for ever."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it, others go without
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _close_all_but(kept: Iterable[int]) -> None:
    """By number: the objects that own these are the supervisor's, and closing its loop would take
    the sockets out of an epoll set that both processes share."""
    spared = {0, 1, 2, *kept}
    for number in map(int, os.listdir("/dev/fd")):
        if number not in spared:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(number)


# --- its life -------------------------------------------------------------------------------------


class Worker:
    """``run`` is all of it."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._stopping = asyncio.Event()
        self._leaving = False
        self._alone = asyncio.Event()
        self._lag = LoopLag()
        self._settings = assignment.settings
        self._epoch = 0.0
        self._server: Served

    async def run(self, sock: socket.socket) -> int:
        """Until it is told to stop. Returns the exit code."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        settings, bound = self._assignment.settings, self._assignment.bound
        try:
            self._store = self._assignment.make_store(settings)
            self._server = self._assignment.make_server(
                settings,
                self._keyring(settings),
                settings.directory.build(),
                worker=self._assignment.number,
                bound=bound,
                store=self._store,
            )
            await self._server.start()
            self._server.learn_sources(self._assignment.sources)
        except (ConfigError, OSError) as error:
            failed = Failed(error)
            self._leaving = True
            await Channel.open(sock, lambda _: failed, self._left)
            await self._alone.wait()
            return 1
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process
        gc.set_threshold(*GARBAGE)
        self._tidy_later()
        self._look_later()
        # Only now are questions read: the first answer says that this worker is up.
        channel = await Channel.open(sock, self._handle, self._left)
        self._tell_sources(channel)
        await self._stopping.wait()
        await drain((bound.inner, *bound.public), DRAIN_WITHIN)
        await self._flush()
        self._leaving = True
        channel.tell(Stopped(self._status()))
        await self._server.close()
        await self._alone.wait()
        return 0

    def _handle(self, message: object) -> object:
        match message:
            case GetStatus():
                return self._status()
            case GetFlows(limit):
                return self._server.flows(min(limit, FLOWS_AT_ONCE))
            case Reload(settings):
                return self._reload(settings)
            case Sources(sources):
                self._server.learn_sources(sources)
            case Stop():
                self._stopping.set()
        return None

    def _tell_sources(self, channel: Channel) -> None:
        sources = self._server.take_sources()
        if sources:
            channel.tell(Sources(sources))
        self._loop.call_later(SOURCES_INTERVAL, self._tell_sources, channel)

    def _status(self) -> WorkerStatus:
        return evolve(self._server.status(), loop_lag=self._lag.longest(self._loop.time()))

    def _reload(self, settings: RelaySettings) -> Reloaded | ConfigError:
        try:
            waiting = self._server.reload(
                settings, self._keyring(settings), settings.directory.build()
            )
        except ConfigError as error:
            return error
        self._settings = settings
        return Reloaded(waiting)

    def _keyring(self, settings: RelaySettings) -> KeyRing:
        wall, now = time.time(), self._loop.time()
        self._epoch = wall - now
        return settings.hint.keyring(wall=wall, now=now)

    def _mind_the_clock(self) -> None:
        if abs(time.time() - self._loop.time() - self._epoch) > CLOCK_STEP:
            self._reload(self._settings)

    async def _flush(self) -> None:
        aclose = getattr(self._store, "aclose", None)
        if aclose is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_WITHIN):
                    await aclose()

    def _left(self) -> None:
        """The supervisor has hung up. It does when it has read this worker's last words; were this
        end closed first, a question on its way here would break the pair, and they would be lost.
        At any other time it is no more, and whoever starts another needs the addresses."""
        if not self._leaving:
            os._exit(1)
        self._alone.set()

    def _tidy_later(self) -> None:
        self._loop.call_later(TIDY_INTERVAL, self._tidy)

    def _tidy(self) -> None:
        if self._server.status().flows <= TIDY_FLOWS:
            gc.collect()
        self._tidy_later()

    def _look_later(self) -> None:
        due = self._loop.time() + LAG_INTERVAL
        self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        now = self._loop.time()
        self._lag.was_late(now - due, now)
        self._mind_the_clock()
        self._look_later()


async def drain(sockets: Sequence[socket.socket], within: float) -> None:
    """Let the loop go on until each of ``sockets`` was seen empty once, or for ``within`` seconds:
    on a busy relay packets never cease to come, and only those already there are waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    waiting = select.poll()
    numbers = {sock.fileno() for sock in sockets}
    for number in numbers:
        waiting.register(number, select.POLLIN)
    while numbers and loop.time() < deadline:
        readable = {number for number, event in waiting.poll(0) if event & select.POLLIN}
        for number in numbers - readable:
            waiting.unregister(number)
        numbers &= readable
        await asyncio.sleep(0)
