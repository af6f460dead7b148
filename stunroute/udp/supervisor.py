"""The supervisor: the process that an operator starts, and that never sees a packet.

It binds all sockets once and keeps them for its life, and forks the workers that read them. So a
worker may die at any moment: what the kernel has taken for it waits in a socket that is still open,
the next worker finds it there, and the kernel's choice among the sockets of a port never changes,
which would send clients to workers that do not know them. The supervisor itself does so little that
there is little it could die of; if it does, its workers end too, because a relay that nobody
watches, reloads or stops is worse than one that whoever runs it starts again.

It is one thread, so that it can fork at any time, and it must stay so: no executor, no look-up of
names.
"""

import asyncio
import contextlib
import errno
import gc
import importlib.metadata
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, evolve, field

from stunroute.errors import ConfigError
from stunroute.relay import Relay
from stunroute.settings import RelaySettings
from stunroute.status import FlowStatus, Happening, RelayStatus, WorkerStatus

from .channel import Channel
from .health import BEAT, HUNG_AFTER, Backoff, Heartbeat
from .memory import SourceMemory
from .server import FOR_A_RESTART, RelayServer
from .sockets import BoundSockets, bind_all, bound_address
from .worker import (
    Assignment,
    Failed,
    GetFlows,
    GetStatus,
    MakeServer,
    MakeStore,
    Reload,
    Reloaded,
    Sources,
    Stop,
    Stopped,
    fork,
    loop_of,
)

HAPPENINGS = 100
"""How many are remembered."""
ANSWER_WITHIN = 1.0
"""Seconds that a worker may take to answer an observer; the others are shown without it."""
RELOAD_WITHIN = 5.0
STOP_WITHIN = 5.0
"""Seconds that workers may take to end by themselves: longer than they take to drain and flush."""
EXIT_WITHIN = 1.0
"""Seconds from the end of a worker's channel to its own."""
BIND_WITHIN = 2.0
"""Seconds that an address may be taken at the start: workers of a supervisor that was killed may
need a moment to see it."""

_POLL = 0.005


class Say(Protocol):
    """Where "started" and "stopped" are announced, with facts that JSON can hold."""

    def __call__(self, event: str, /, **facts: object) -> None: ...


def _quiet(event: str, /, **facts: object) -> None:
    """Nobody wants to know."""


def check(settings: RelaySettings) -> None:
    """Raises ConfigError where a worker would."""
    loop_of(settings.sockets.loop)
    keyring = settings.hint.keyring(wall=time.time(), now=time.monotonic())
    Relay(settings.core, keyring, settings.directory.build(), upstream=settings.upstreams)


def _version() -> str:
    try:
        return importlib.metadata.version("stunroute")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@define(slots=True, eq=False)
class _Link:
    """One worker process. ``ended`` is set when its channel is closed."""

    seat: "_Seat"
    pid: int
    settings: RelaySettings
    ended: asyncio.Event = field(factory=asyncio.Event)
    heartbeat: Heartbeat = field(factory=Heartbeat)
    channel: Channel | None = None
    up: bool = False
    hung: bool = False
    failed: ConfigError | OSError | None = None
    last: WorkerStatus | None = None
    question: "asyncio.Future[Any] | None" = None


@define(slots=True, eq=False)
class _Seat:
    """A worker's place, which stays when the worker dies. ``vacant`` is the time since when nobody
    has answered in it."""

    number: int
    bound: BoundSockets
    vacant: float
    backoff: Backoff = field(factory=Backoff)
    link: _Link | None = None


@define(slots=True, eq=False)
class _Totals:
    """The sums of what workers have come to that are no more. Kernel drops are by seat: the kernel
    counts them for the socket, and each worker on it tells those before its time, too."""

    flows: int = 0
    counters: Counter[str] = field(factory=Counter)
    drops: Counter[str] = field(factory=Counter)
    socket_errors: int = 0
    kernel_drops: dict[int, int] = field(factory=dict)

    def add(self, status: WorkerStatus, *, flows: bool) -> None:
        self.flows += status.flows if flows else 0
        self.counters.update(status.counters)
        self.drops.update(status.drops)
        self.socket_errors += sum(sock.errors for sock in status.sockets)
        self.kernel_drops[status.worker] = sum(sock.kernel_drops for sock in status.sockets)


class Supervisor:
    """``run`` is all of it; the rest is for observers, while it runs, on its loop.

    ``load`` gives the settings, at the start and at every reload, and raises ConfigError where they
    make no sense. ``make_store`` is called in each worker. ``say`` announces "started" and
    "stopped"; ``log`` gets every happening; ``watch`` gets a picture at every beat, made of the
    workers' last answers.
    """

    def __init__(
        self,
        load: Callable[[], RelaySettings],
        *,
        make_store: MakeStore = lambda _: None,
        make_server: MakeServer = RelayServer,
        bind: Callable[[RelaySettings], tuple[BoundSockets, ...]] = bind_all,
        say: Say = _quiet,
        log: Callable[[Happening], None] = lambda _: None,
        watch: Callable[[RelayStatus], None] = lambda _: None,
    ) -> None:
        self._load = load
        self._make_store = make_store
        self._make_server = make_server
        self._bind = bind
        self._say = say
        self._log = log
        self._watch = watch
        self._settings: RelaySettings
        self._seats: tuple[_Seat, ...] = ()
        self._stopping = asyncio.Event()
        self._broken: ConfigError | OSError | None = None
        self._sources: SourceMemory
        self._totals = _Totals()
        self._hung_up = asyncio.Event()
        self._started = False
        self._version = _version()
        self._began = time.time()
        self.restarts = 0
        self.reloads = 0
        self.happenings: deque[Happening] = deque(maxlen=HAPPENINGS)

    # For observers

    @property
    def ready(self) -> bool:
        """Whether every worker is up and answers."""
        return (
            bool(self._seats)
            and not self._stopping.is_set()
            and all(seat.link is not None and seat.link.up for seat in self._seats)
        )

    @property
    def settings(self) -> RelaySettings:
        """Those in use; to be asked once it runs."""
        return self._settings

    async def status(self) -> RelayStatus:
        """Fresh from the workers; those that do not answer in time are missing."""
        links = self._links()
        for link in links:
            self._ask_status(link)
        open_ = [link.question for link in links if link.question is not None]
        if open_:
            await asyncio.wait(open_, timeout=ANSWER_WITHIN)
        return self._picture(
            link for link in links if link.question is None and not link.ended.is_set()
        )

    async def flows(self, limit: int) -> list[FlowStatus]:
        """At most ``limit`` flows, of all workers in equal parts."""
        channels = [link.channel for link in self._links() if link.channel is not None]
        found: list[FlowStatus] = []
        if channels:
            share = -(-limit // len(channels))
            asked = [channel.ask(GetFlows(share)) for channel in channels]
            await asyncio.wait(asked, timeout=ANSWER_WITHIN)
            for answer in asked:
                if answer.done() and answer.exception() is None:
                    found += answer.result()
                answer.cancel()
        return found[:limit]

    def note(self, text: str) -> None:
        """Remember and log something that an operator wants to know of."""
        happening = Happening(time.time(), text)
        self.happenings.append(happening)
        self._log(happening)

    def stop(self) -> None:
        """As SIGTERM."""
        self._stopping.set()

    async def reload(self) -> None:
        """As SIGHUP: read the settings again and hand them to the workers. What is wrong with them
        is noted, and the old ones stay."""
        old = self._settings
        kept = {name: getattr(old, name) for name in FOR_A_RESTART}
        try:
            settings = self._load()
            check(settings)
            self._settings = evolve(settings, **kept)
        except ConfigError as error:
            self.note(f"reload refused, the old settings stay: {error}")
            return
        except Exception as error:
            # Nobody has foreseen it, and it may quote a key. Calls are up, whatever was read.
            self.note(f"reload refused, the old settings stay: {type(error).__name__}")
            return
        self.reloads += 1
        asked = [self._hand_over(link) for link in self._links() if link.up]
        if asked:
            # Who does not answer, or has gone, is replaced by one that starts with the new ones.
            await asyncio.wait(asked, timeout=RELOAD_WITHIN)
        identifiers = " ".join(each.id for each in settings.hint.configurations)
        directory = settings.directory
        self.note(
            f"reloaded: hint configurations {identifiers}, {len(directory.nodes)} nodes,"
            f" {len(directory.clusters)} clusters, {len(settings.upstream)} upstream relays"
        )
        waiting = [name for name in FOR_A_RESTART if getattr(settings, name) != kept[name]]
        if waiting:
            self.note(f"changed, but waiting for a restart: {', '.join(waiting)}")

    def _hand_over(self, link: _Link) -> "asyncio.Future[Any]":
        """Give a worker the settings of now."""
        assert link.channel is not None
        link.settings = self._settings
        answer = link.channel.ask(Reload(self._settings))
        answer.add_done_callback(lambda answer: self._handed_over(link, answer))
        return answer

    def _handed_over(self, link: _Link, answer: "asyncio.Future[Any]") -> None:
        problem = answer.exception() or answer.result()
        if not isinstance(problem, Reloaded) and not link.ended.is_set():
            self.note(f"worker {link.seat.number} did not take the settings: {problem}")

    # Its life

    async def run(self) -> None:
        """Until it is stopped. Raises ConfigError if the settings make no sense and OSError if the
        relay cannot run with them; no process and no socket is left then."""
        loop = asyncio.get_running_loop()
        self._settings = self._load()
        core = self._settings.core
        self._sources = SourceMemory(core.idle_timeout, core.sources_elsewhere)
        check(self._settings)
        # What exists now lives as long as the process, and a collection that leaves it alone
        # leaves its memory shared with the workers. Before the sockets are bound: from
        # then on packets wait for the first worker.
        gc.collect()
        gc.freeze()
        bound = await self._bind_all()
        self._seats = tuple(_Seat(n, socks, loop.time()) for n, socks in enumerate(bound))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how workers end
        keepers = [asyncio.create_task(self._keep(seat)) for seat in self._seats]
        others = [
            asyncio.create_task(self._stopping.wait()),
            asyncio.create_task(self._beat_forever()),
            asyncio.create_task(self._reload_forever()),
        ]
        try:
            await asyncio.wait([*others, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            for task in others[1:]:
                task.cancel()
            await self._stop_workers(keepers)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
            for sockets in bound:
                sockets.close()
        for result in await asyncio.gather(*others, *keepers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        if self._broken is not None:
            raise self._broken
        self._say_stopped()

    async def _bind_all(self) -> tuple[BoundSockets, ...]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BIND_WITHIN
        while True:
            try:
                return self._bind(self._settings)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() >= deadline:
                    raise
            await asyncio.sleep(_POLL)

    async def _reload_forever(self) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self.reload()

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            for link in self._links():
                if link.heartbeat.beat():
                    self._ask_status(link)
                elif link.heartbeat.is_hung:
                    link.hung = True
                    self._kill(link)
            links = [link for link in self._links() if link.heartbeat.missed == 0]
            self._watch(self._picture(links))

    async def _stop_workers(self, keepers: "list[asyncio.Task[None]]") -> None:
        for link in self._links():
            if link.channel is not None:
                link.channel.tell(Stop())
        _, late = await asyncio.wait(keepers, timeout=STOP_WITHIN)
        if late:
            for link in self._links():
                self._kill(link)
            await asyncio.wait(keepers)

    def _say_started(self) -> None:
        self._started = True
        listen = self._settings.listen
        public = [bound_address(sock) for sock in self._seats[0].bound.public]
        inners = [str(bound_address(seat.bound.inner)) for seat in self._seats]
        self._say(
            "started",
            listen=[str(address) for address in public],
            advertise=[
                str(one.advertise or address) for one, address in zip(listen, public, strict=True)
            ],
            inner=inners[0],
            pid=os.getpid(),
            workers=[seat.link.pid for seat in self._seats if seat.link is not None],
            inners=inners,
        )

    def _say_stopped(self) -> None:
        totals = self._totals
        self._say(
            "stopped",
            flows=totals.flows,
            **totals.counters,
            socket_errors=totals.socket_errors,
            kernel_drops=sum(totals.kernel_drops.values()),
            drops=dict(totals.drops.most_common()),
        )

    # Workers

    async def _keep(self, seat: _Seat) -> None:
        """Keep a worker in ``seat`` until the relay is to stop."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            seat.backoff.started(loop.time())
            failed, how = await self._employ(seat)
            if self._stopping.is_set():
                return
            if not self._started:
                # A relay that cannot start says so and is done; trying again is for one that ran.
                self._broken = failed or OSError(f"worker {seat.number} {how} while starting")
                self._stopping.set()
                return
            self.note(f"worker {seat.number} {how}")
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seat.backoff.ended(loop.time())):
                    await self._stopping.wait()

    async def _employ(self, seat: _Seat) -> "tuple[ConfigError | OSError | None, str]":
        """Make a worker and wait until it has ended. Returns why it could not start, if it could
        not, and how it ended, as a verb."""
        loop = asyncio.get_running_loop()
        try:
            pid, sock = fork(self._assignment(seat))
        except OSError as error:
            return error, f"could not be made: {error}"
        link = _Link(seat, pid, self._settings)
        seat.link = link
        link.channel = await Channel.open(
            sock, lambda message: self._hear(link, message), link.ended.set
        )
        if self._stopping.is_set():
            link.channel.tell(Stop())
        self._ask_status(link)
        await link.ended.wait()
        if link.up:
            seat.vacant = loop.time()
        how = await self._reap(link)
        seat.link = None
        if link.last is not None:
            self._totals.add(link.last, flows=self._stopping.is_set())
        if link.failed is not None:
            how = f"could not start: {link.failed}"
        return link.failed, how

    def _assignment(self, seat: _Seat) -> Assignment:
        core = None
        if len(self._seats) > 1 and hasattr(os, "sched_getaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            core = cores[seat.number % len(cores)]
        return Assignment(
            seat.number,
            self._settings,
            seat.bound,
            self._make_server,
            self._make_store,
            core,
            self._sources.recall(asyncio.get_running_loop().time()),
        )

    def _hear(self, link: _Link, message: object) -> None:
        assert link.channel is not None
        match message:
            case Sources(sources):
                self._sources.learn(sources, asyncio.get_running_loop().time())
                for other in self._links():
                    if other is not link and other.channel is not None:
                        other.channel.tell(message)
            case Stopped(status):
                link.last = status
                link.channel.abort()

    def _ask_status(self, link: _Link) -> None:
        """Unless the worker owes that answer already."""
        if link.question is None and link.channel is not None:
            link.question = link.channel.ask(GetStatus())
            link.question.add_done_callback(lambda answer: self._answered(link, answer))

    def _answered(self, link: _Link, answer: "asyncio.Future[Any]") -> None:
        link.question = None
        assert link.channel is not None
        if answer.exception() is not None:
            return
        match answer.result():
            case WorkerStatus() as status:
                link.last = status
                link.heartbeat.answered()
                if not link.up:
                    link.up = True
                    self._came_up(link)
            case Failed(error):
                link.failed = error
                link.channel.abort()

    def _came_up(self, link: _Link) -> None:
        if link.settings is not self._settings:
            self._hand_over(link)
        seat = link.seat
        if self._started:
            took = asyncio.get_running_loop().time() - seat.vacant
            self.note(f"worker {seat.number} is up again, process {link.pid}, after {took:.3f} s")
        elif all(other.link is not None and other.link.up for other in self._seats):
            self._started = True
            self._say_started()

    async def _reap(self, link: _Link) -> str:
        """Wait for the end of the process. Returns how it was, as a verb."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EXIT_WITHIN
        while True:
            pid, status = os.waitpid(link.pid, os.WNOHANG)
            if pid:
                break
            if loop.time() >= deadline:
                self._kill(link)
            await asyncio.sleep(_POLL)
        link.pid = 0
        code = os.waitstatus_to_exitcode(status)
        if link.hung:
            return f"(process {pid}) did not answer for {HUNG_AFTER * BEAT:g} s and was killed"
        if code < 0:
            return f"(process {pid}) was killed by {signal.Signals(-code).name}"
        return f"(process {pid}) ended with exit code {code}"

    def _kill(self, link: _Link) -> None:
        # A number that has been waited for may be another process's by now.
        if link.pid:
            os.kill(link.pid, signal.SIGKILL)

    def _links(self) -> list[_Link]:
        """The workers that there are, in the order of their seats."""
        return [seat.link for seat in self._seats if seat.link is not None]

    def _picture(self, links: Iterable[_Link]) -> RelayStatus:
        return RelayStatus(
            at=time.time(),
            version=self._version,
            wanted=len(self._seats),
            workers=tuple(link.last for link in links if link.last is not None),
            restarts=self.restarts,
            reloads=self.reloads,
            happenings=tuple(self.happenings),
            started=self._began,
        )
