"""An ``Endpoint`` on a socket, under asyncio.

The core knows neither sockets nor time; this is where both come from. One UDP socket faces the
relays, one timer stands for the core's next deadline, and after each verb in the core is drained:
events to the call they belong to, datagrams to the socket. What has arrived together is taken in
under one reading of the clock and answered in one go; in between each datagram has its own drain,
so that no call can tell whether others were read with it. Everything runs on one loop and nothing
in here waits, so whatever is called from a backend in the middle of a drain is itself drained
before the loop goes on.

What must not happen is that one call's application harms the others. A backend that raises loses
its call and is logged once. A peer that takes packets more slowly than we make them costs packets,
not memory: see ``transceiver.sockets``.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar

from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.hint import Hint
from stunroute.instant import Entropy, Instant
from stunroute.settings import Adapter
from stunroute.trace import Drop

from .backend.interface import (
    Attachable,
    Attachment,
    Backend,
    BackendFactory,
    CallRequest,
    Listening,
)
from .endpoint import Answered, Endpoint
from .errors import CallError, NoEvents, UnknownCall
from .events import AudioReceived, Ended, EndReason, Established, Event
from .snapshot import Snapshot
from .sockets import Arrival, Counters, Link, open_link

logger = logging.getLogger("transceiver")

CLOCK_RATES = {"opus": 48000, "PCMU": 8000, "PCMA": 8000}
"""RTP clock of each codec (RFC 7587, section 4.1; RFC 3551, section 4.5.14)."""

_PLAIN = CallRequest()


class BackendUnavailable(CallError):
    """The application would not take the call."""

    code: ClassVar[str] = "backend_unavailable"


@define(slots=True, eq=False)
class LiveCall:
    """A call as its backend holds it (``backend.Call``)."""

    _server: "TransceiverServer" = field(repr=False)
    id: str
    codec: str
    clock_rate: int
    request: CallRequest = field(factory=CallRequest)
    now: Callable[[], Instant] = field(init=False, repr=False)  # the loop's own, asked all the time
    backend: Backend | None = field(init=False, default=None, repr=False)
    hear: Callable[[AudioReceived], None] = field(init=False, repr=False)
    """``receive`` for audio, by the shortest way: the caller sees to what it raises."""
    _failing: Backend | None = field(init=False, default=None, repr=False)
    """A backend that has raised, until it has heard of the end."""
    established: bool = field(init=False, default=False)
    over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.now = self._server.loop.time
        self.hear = _unheard

    def begin(self, backend: Backend) -> None:
        """The application's side has been made."""
        self.backend = backend
        self.hear = backend.listen() if isinstance(backend, Listening) else backend.receive

    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]:
        handle = self._server.loop.call_at(when, self._run, callback)
        return handle.cancel

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        if self.over or not self.established:
            return False
        server = self._server
        try:
            server.endpoint.send_audio(self.id, payload, timestamp & 0xFFFFFFFF, marker, self.now())
        except UnknownCall:  # it is over; its Ended stands behind the event now being delivered
            return False
        if not server.delivering:  # else it leaves with the others of the batch
            server.finish()
        return True

    def open_channel(self, label: str, *, protocol: str = "", ordered: bool = True) -> int | None:
        if self.over:
            return None
        try:
            return self._server.open_channel(self.id, label, protocol, ordered)
        except UnknownCall:
            return None

    def send_message(self, channel: int, message: str | bytes) -> bool:
        if self.over:
            return False
        try:
            return self._server.send_message(self.id, channel, message)
        except UnknownCall:
            return False

    def close_channel(self, channel: int) -> None:
        with suppress(UnknownCall):
            self._server.close_channel(self.id, channel)

    def buffered_amount(self, channel: int) -> int:
        try:
            return self._server.endpoint.buffered_amount(self.id, channel)
        except UnknownCall:
            return 0

    def hang_up(self) -> None:
        if not self.over:
            with suppress(UnknownCall):
                self._server.hang_up(self.id)

    def receive(self, event: Event) -> None:
        """Pass ``event`` on to the backend; contain what it raises."""
        match event:
            case Established():
                self.established = True
            case Ended():
                self.over = True
                self._release(event)
        if self.backend is None:
            return
        try:
            self.backend.receive(event)
        except Exception:
            self.failed()

    def attach(self, send: Callable[[str], None], close: Callable[[], None]) -> Attachment:
        """See ``backend.Attachable``. What the backend raises ends the call."""
        if not isinstance(self.backend, Attachable):
            raise NoEvents("the application of this call speaks no events")
        try:
            return _Attached(self, self.backend.attach(send, close))
        except NoEvents:
            raise
        except Exception:
            self.failed()
            raise NoEvents("the application of this call has failed") from None

    def _run(self, callback: Callable[[], None]) -> None:
        if self.over or self.backend is None:
            return
        try:
            callback()
        except Exception:
            self.failed()

    def failed(self) -> None:
        """End the call: its backend has raised what is being handled."""
        if self.backend is None:
            return
        # It is told of the end and of nothing else, so nothing is logged twice.
        self.backend, self._failing = None, self.backend
        self.hear = _unheard
        logger.exception("call %s: the backend failed", self.id)
        self._server.backend_failed(self.id)

    def _release(self, event: Ended) -> None:
        """Let a backend that has failed give back what it holds: tasks, sockets, its own queue."""
        failing, self._failing = self._failing, None
        if failing is not None:
            with suppress(Exception):  # as broken as it was
                failing.receive(event)


def _unheard(event: AudioReceived) -> None:
    """Audio of a call that has no backend (any more)."""


@frozen(slots=True)
class _Attached:
    """A connection for a call's events. What the backend raises ends the call, and is not for
    whoever reads the connection."""

    _call: LiveCall
    _attachment: Attachment

    def receive(self, text: str | bytes) -> None:
        if self._call.backend is not None:
            self._contained(partial(self._attachment.receive, text))

    def detach(self) -> None:
        self._contained(self._attachment.detach)

    def _contained(self, verb: Callable[[], None]) -> None:
        try:
            verb()
        except CallError:
            raise
        except Exception:
            self._call.failed()


@define(slots=True, eq=False)
class TransceiverServer:
    """Drives ``endpoint`` on the running loop.

    ``listen`` is the inner address that relays send to (port 0: any). ``backend`` makes the
    application's side of each call. ``call_entropy`` gives each call a source of randomness of its
    own, so that a recorder can keep what one call has used; without it the endpoint's is used.
    ``adapter`` is how the socket is read and written, None the best way there is here.
    ``send_buffer`` bytes wait at most where packets leave more slowly than they are made: in the
    kernel, or in the plain way on top of what it keeps. ``receive_buffer`` is asked of the kernel
    (it may give less of both).
    """

    endpoint: Endpoint
    listen: Address
    backend: BackendFactory = field(repr=False)
    call_entropy: Callable[[], Entropy] | None = field(default=None, kw_only=True, repr=False)
    adapter: Adapter | None = field(default=None, kw_only=True)
    send_buffer: int = field(default=262144, kw_only=True)
    receive_buffer: int = field(default=4194304, kw_only=True)
    counters: Counters = field(init=False, factory=Counters)
    draining: bool = field(init=False, default=False)
    loop: asyncio.AbstractEventLoop = field(init=False, repr=False)
    _calls: dict[str, LiveCall] = field(init=False, factory=dict, repr=False)
    _link: Link | None = field(init=False, default=None, repr=False)
    _timer: asyncio.TimerHandle | None = field(init=False, default=None, repr=False)
    _timer_at: Instant = field(init=False, default=0.0)
    delivering: bool = field(init=False, default=False)
    """Events are being delivered: what follows from them is sent when all are."""
    _idle: asyncio.Event = field(init=False, factory=asyncio.Event, repr=False)

    async def start(self) -> Address:
        """Bind and begin; the address bound. Raises OSError where it, or the adapter, cannot be
        had."""
        self.loop = asyncio.get_running_loop()
        self._link, self.listen = await open_link(
            self.listen,
            self.counters,
            self.receive_datagrams,
            adapter=self.adapter,
            send_buffer=self.send_buffer,
            receive_buffer=self.receive_buffer,
        )
        return self.listen

    async def stop(self, within: float = 0.0) -> None:
        """Take no more calls, let those there are go on for ``within`` seconds, end what is left
        and close the socket."""
        if self._link is None:
            return
        self.draining = True
        self.endpoint.drain(within, self.now())
        self._drain()
        try:
            async with asyncio.timeout(within):
                while self._calls:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self.end_all()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        link, self._link = self._link, None
        await link.close()

    def end_all(self) -> None:
        """End every call, as drained."""
        for call in self.calls:
            with suppress(UnknownCall):  # a backend may have ended it at the end of another
                self.hang_up(call, EndReason.DRAINED)

    def now(self) -> Instant:
        """The reading of the loop's monotonic clock that all verbs get."""
        return self.loop.time()

    @property
    def name(self) -> tuple[int, int]:
        """Cluster and node: what this transceiver is called in the ids of its calls."""
        return self.endpoint.config.cluster, self.endpoint.config.node

    @property
    def calls(self) -> list[str]:
        """Ids of the live calls."""
        return list(self._calls)

    # Verbs for signalling

    def open_call(self, offer: str, request: CallRequest = _PLAIN) -> Answered:
        """Answer ``offer`` and give the call its backend. Raises OfferError, AtCapacity,
        BackendUnavailable."""
        entropy = None if self.call_entropy is None else self.call_entropy()
        now = self.now()
        answered = self.endpoint.open_call(offer, now, channel=request.channel, entropy=entropy)
        codec = self.endpoint.snapshot(answered.call, now).audio.codec or ""
        call = LiveCall(self, answered.call, codec, CLOCK_RATES.get(codec, 0), request)
        self._calls[call.id] = call
        try:
            call.begin(self.backend(call))
        except Exception as error:
            logger.exception("call %s: the backend refused it", call.id)
            self.backend_failed(call.id)
            raise BackendUnavailable("the application does not take calls now") from error
        logger.info("call %s: answered, %s", call.id, codec or "no audio")
        self._drain()
        return answered

    def reoffer(self, call: str, offer: str) -> str:
        """The answer to another offer for a live call (an ICE restart). Raises UnknownCall,
        OfferError."""
        self._known(call)
        answer = self.endpoint.reoffer(call, offer, self.now())
        self._drain()
        return answer

    def patch(self, call: str, fragment: str) -> str | None:
        """Take a fragment of SDP (RFC 8840): the fragment that answers it where it restarts ICE,
        None where it only names candidates. Raises UnknownCall, AtCapacity, OfferError."""
        self._known(call)
        answer = self.endpoint.restart_ice(call, fragment, self.now())
        self._drain()
        return answer

    def etag(self, call: str) -> str:
        """What names the state of the call's ICE: another one after each restart. Raises
        UnknownCall."""
        self._known(call)
        return self.endpoint.ufrag(call)

    def owner_of(self, call: str) -> str:
        """Who opened the call (``backend.CallRequest.owner``). Raises UnknownCall."""
        self._known(call)
        return self._calls[call].request.owner

    def locate(self, call: str) -> Hint | None:
        """Which transceiver a call id names; None where it names nobody."""
        return self.endpoint.locate_untrusted(call, self.now())

    def attach(
        self, call: str, send: Callable[[str], None], close: Callable[[], None]
    ) -> Attachment:
        """Add a connection for the call's events; see ``backend.Attachable``. Raises UnknownCall,
        NoEvents."""
        self._known(call)
        return self._calls[call].attach(send, close)

    def snapshot(self, call: str) -> Snapshot:
        """What the call looks like now. Raises UnknownCall."""
        self._known(call)
        return self.endpoint.snapshot(call, self.now())

    def hang_up(self, call: str, reason: EndReason = EndReason.HANGUP) -> None:
        """End a live call. Raises UnknownCall."""
        self._known(call)
        self.endpoint.close_call(call, reason, self.now())
        self._drain()

    def _known(self, call: str) -> None:
        if call not in self._calls:
            raise UnknownCall("there is no such call here")

    # Verbs for a call's backend

    def open_channel(self, call: str, label: str, protocol: str, ordered: bool) -> int | None:
        """See ``backend.Call``. Raises UnknownCall."""
        channel = self.endpoint.open_channel(
            call, label, self.now(), protocol=protocol, ordered=ordered
        )
        self._drain()
        return channel

    def send_message(self, call: str, channel: int, message: str | bytes) -> bool:
        """See ``backend.Call``. Raises UnknownCall."""
        taken = self.endpoint.send_message(call, channel, message, self.now())
        self._drain()
        return taken

    def close_channel(self, call: str, channel: int) -> None:
        """See ``backend.Call``. Raises UnknownCall."""
        self.endpoint.close_channel(call, channel, self.now())
        self._drain()

    def backend_failed(self, call: str) -> None:
        """End a call whose backend has raised."""
        self.counters.backend_failures += 1
        with suppress(UnknownCall):
            self.hang_up(call, EndReason.BACKEND_FAILED)

    # The core's verbs

    def receive_datagrams(self, arrivals: Sequence[Arrival]) -> None:
        """Datagrams of the leg that have arrived together, in their order. Each has a reading of
        the clock of its own: a backend may act between two of them, and time does not run backward
        for the core nor for who records it. Most are audio and nothing more, which goes from the
        core to its call with nothing in between."""
        self.counters.received += len(arrivals)
        endpoint, clock, calls = self.endpoint, self.loop.time, self._calls
        take, next_event = endpoint.take_datagram, endpoint.next_event
        self.delivering = True
        try:
            for data, address in arrivals:
                if data is None:
                    endpoint.drops[Drop.TOO_LONG] += 1
                    continue
                audio = take(data, address, clock())
                if audio is not None and (call := calls.get(audio.call)) is not None:
                    try:
                        call.hear(audio)
                    except Exception:
                        call.failed()
                while (event := next_event()) is not None:
                    self._deliver(event)
        finally:
            self.delivering = False
        self.finish()

    def _on_timer(self) -> None:
        self._timer = None
        due, now = self.endpoint.next_timeout(), self.now()
        if due is not None and due <= now:
            self.endpoint.handle_timeout(now)
        self._drain()

    def _drain(self) -> None:
        """See to all that the core has to say. Called from within, by a backend that acts on an
        event, it leaves the work to the call that is at it already."""
        if self.delivering:
            return
        self._deliver_all()
        self.finish()

    def _deliver_all(self) -> bool:
        """Deliver events, and what follows from them, until the core has none; whether there were
        any. Its datagrams wait in it for ``finish``, in their order, whoever they were for."""
        next_event = self.endpoint.next_event
        event = next_event()
        if event is None:
            return False
        self.delivering = True
        try:
            while event is not None:
                self._deliver(event)
                event = next_event()
        finally:
            self.delivering = False
        return True

    def finish(self) -> None:
        """Send what there is, and set the timer."""
        transmits = self.endpoint.take_transmits()
        while self._deliver_all():  # what is made into packets only now may end a channel
            transmits += self.endpoint.take_transmits()
        if transmits:
            if self._link is None:
                self.counters.unsent += len(transmits)
            else:
                self._link.send(transmits)
        self._wake_at(self.endpoint.next_timeout())

    def _deliver(self, event: Event) -> None:
        call = self._calls.get(event.call)
        if call is None:
            return
        if isinstance(event, Ended):
            del self._calls[event.call]
            logger.info("call %s: ended, %s %s", event.call, event.reason.value, event.detail)
            if not self._calls:
                self._idle.set()
        call.receive(event)

    def _wake_at(self, due: Instant | None) -> None:
        """Keep one timer, not later than ``due``. One that is early already is left: most packets
        push a deadline further out, and it costs less to wake once in vain."""
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and self._link is not None:
            self._timer_at = due
            self._timer = self.loop.call_at(due, self._on_timer)
