"""Streams that begin again (RFC 6525), which is how data channels are closed (RFC 8831, 6.7).

Each side resets what it sends. *Ours*: a stream is reset once everything on it has been
acknowledged; until the peer has answered, what is sent on it waits. One request is out at a time.
*Theirs*: a request takes effect when everything has come that was sent before it. When it comes too
early the answer is "in progress", and when its time has come another answer goes out by itself.

About that answer implementations differ. The RFC would have the same request sent again; libwebrtc
of many versions answers a request that it has seen as it did before, so "in progress" for ever, and
for its part sends a new one. A new request is understood by all, so that is what is sent here, and
both are taken.

All other requests are denied: our streams are reset when our channels are closed and at nobody's
wish, and there is no use for more streams or other TSNs.
"""

from collections import deque
from typing import Final, TypeAlias

from attrs import define, field

from stunroute.instant import Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from .chunks import ReConfig
from .events import ResetDone, StreamsResetByPeer
from .inbound import Inbound
from .outbound import Outbound
from .parameters import (
    AddIncomingStreams,
    AddOutgoingStreams,
    IncomingReset,
    OutgoingReset,
    Parameter,
    ReconfigResponse,
    ResetResult,
    TsnReset,
)
from .serial import TSN_MASK, distance
from .timers import Timer

_STREAMS_AT_ONCE: Final = 256
"""In one request, so that it fits into a packet."""
_PARAMETERS: Final = 2
"""In one chunk (RFC 6525, 3.1)."""

_Request: TypeAlias = (
    OutgoingReset | IncomingReset | TsnReset | AddOutgoingStreams | AddIncomingStreams
)


@define(slots=True)
class _Ours:
    """Our request that is out."""

    number: int
    last_tsn: int
    streams: tuple[int, ...]
    timer: Timer
    due: bool = True
    in_progress: bool = False
    """The peer has answered that it will take a while: the next attempt is a new request."""


@define(slots=True)
class Reconfiguration:
    """Requests are numbered from the initial TSN of who makes them, ``number`` ours and
    ``expected`` the peer's. ``supported``: the peer understands them."""

    limits: SctpLimits
    number: int
    expected: int
    supported: bool
    happened: deque[ResetDone | StreamsResetByPeer] = field(factory=deque, init=False)

    _wanted: dict[int, None] = field(factory=dict, init=False)
    _ours: _Ours | None = field(default=None, init=False)
    _answer: ReconfigResponse | None = field(default=None, init=False)
    """To the last request of the peer."""
    _deferred: OutgoingReset | None = field(default=None, init=False)
    """The request of the peer whose time has not come."""
    _settled: tuple[int, tuple[int, ...]] | None = field(default=None, init=False)
    """Last TSN and streams of a request that came too early and has been performed since. The peer
    may ask for that again, not having heard."""
    _answers: deque[ReconfigResponse] = field(factory=deque, init=False)

    @property
    def waiting(self) -> bool:
        """Whether ``settle`` or ``advance`` may have something to do."""
        return bool(self._wanted) or self._deferred is not None

    # Ours

    def want(self, streams: tuple[int, ...], outbound: Outbound) -> None:
        """Reset these outgoing streams, as soon as each has nothing left to send."""
        if not self.supported:
            self.happened.append(ResetDone(streams, False))
            return
        under_way = self._ours.streams if self._ours else ()
        for stream in streams:
            if stream not in under_way and stream not in self._wanted:
                self._wanted[stream] = None
                outbound.queue.hold(stream)

    def advance(self, outbound: Outbound, now: Instant) -> None:
        """Something was acknowledged, or a request answered: perhaps it is time for the next."""
        if self._ours is not None or not self._wanted:
            return
        queue = outbound.queue
        ready = [stream for stream in self._wanted if queue.stream(stream).idle]
        if not ready:
            return
        streams = tuple(ready[:_STREAMS_AT_ONCE])
        for stream in streams:
            del self._wanted[stream]
        last = (outbound.outstanding.next_tsn - 1) & TSN_MASK
        self._ours = _Ours(self._next_number(), last, streams, Timer(self.limits.rto_maximum))
        self._ours.timer.start(now, outbound.round_trip.timeout)

    def _next_number(self) -> int:
        number, self.number = self.number, (self.number + 1) & TSN_MASK
        return number

    def next_timeout(self) -> Instant | None:
        return None if self._ours is None else self._ours.timer.deadline

    def handle_timeout(self, now: Instant) -> None:
        ours = self._ours
        if ours is not None and ours.timer.expired(now):
            ours.due = True
            if ours.in_progress:
                ours.number = self._next_number()
                ours.in_progress = False

    def next_chunk(self) -> ReConfig | None:
        """What is to be sent now."""
        if self._answers:
            return ReConfig(tuple(self._answers.popleft() for _ in self._answers_in_one()))
        ours = self._ours
        if ours is None or not ours.due:
            return None
        ours.due = False
        last_seen = (self.expected - 1) & TSN_MASK
        return ReConfig((OutgoingReset(ours.number, last_seen, ours.last_tsn, ours.streams),))

    def _answers_in_one(self) -> range:
        return range(min(_PARAMETERS, len(self._answers)))

    def _receive_response(
        self, response: ReconfigResponse, outbound: Outbound, now: Instant
    ) -> Drop | None:
        ours = self._ours
        if ours is None or response.request != ours.number:
            return Drop.SCTP_REQUEST
        match response.result:
            case ResetResult.IN_PROGRESS:
                ours.in_progress = True
                ours.due = False
                ours.timer.start(now, outbound.round_trip.timeout)
                return None
            case ResetResult.NOTHING_TO_DO | ResetResult.PERFORMED:
                performed = True
            case _:
                performed = False
        self._ours = None
        for stream in ours.streams:
            outbound.queue.resume(stream, fresh=performed)
        self.happened.append(ResetDone(ours.streams, performed))
        return None

    # Theirs

    def receive(
        self, chunk: ReConfig, inbound: Inbound, outbound: Outbound, now: Instant
    ) -> Drop | None:
        """Take a RE-CONFIG chunk. What is to be answered, ``next_chunk`` gives."""
        if len(chunk.parameters) > _PARAMETERS:
            return Drop.SCTP_REQUEST
        drop: Drop | None = None
        for parameter in chunk.parameters:
            drop = self._receive_parameter(parameter, inbound, outbound, now) or drop
        return drop

    def _receive_parameter(
        self, parameter: Parameter, inbound: Inbound, outbound: Outbound, now: Instant
    ) -> Drop | None:
        match parameter:
            case ReconfigResponse():
                return self._receive_response(parameter, outbound, now)
            case (
                OutgoingReset()
                | IncomingReset()
                | TsnReset()
                | AddOutgoingStreams()
                | AddIncomingStreams()
            ):
                return self._receive_request(parameter, inbound)
            case _:
                return Drop.SCTP_REQUEST

    def _receive_request(self, request: _Request, inbound: Inbound) -> Drop | None:
        number = request.request
        before = self._answer
        repeated = before is not None and number == before.request
        if repeated and before is not None and before.result != ResetResult.IN_PROGRESS:
            self._answers.append(before)
            return None
        if not repeated and number != self.expected:
            self._answers.append(ReconfigResponse(number, ResetResult.BAD_SEQUENCE_NUMBER))
            return Drop.SCTP_REQUEST
        self.expected = (number + 1) & TSN_MASK
        match request:
            case OutgoingReset():
                result = self._judge(request, inbound)
            case _:
                result = ResetResult.DENIED
        self._settled = None
        self._answer = ReconfigResponse(number, result)
        self._answers.append(self._answer)
        done = result in (ResetResult.PERFORMED, ResetResult.IN_PROGRESS)
        return None if done else Drop.SCTP_REQUEST

    def _judge(self, request: OutgoingReset, inbound: Inbound) -> ResetResult:
        self._deferred = None
        if (request.last_tsn, request.streams) == self._settled:
            return ResetResult.PERFORMED
        if any(stream >= self.limits.streams for stream in request.streams):
            return ResetResult.WRONG_SSN
        if distance(request.last_tsn, inbound.cumulative) > 0:
            self._deferred = request
            return ResetResult.IN_PROGRESS
        self._perform(request, inbound)
        return ResetResult.PERFORMED

    def settle(self, inbound: Inbound) -> None:
        """Something has come: perhaps it is time for a request that had come too early."""
        request = self._deferred
        if request is None or distance(request.last_tsn, inbound.cumulative) > 0:
            return
        self._deferred = None
        self._settled = (request.last_tsn, request.streams)
        self._perform(request, inbound)
        self._answer = ReconfigResponse(request.request, ResetResult.PERFORMED)
        self._answers.append(self._answer)

    def _perform(self, request: OutgoingReset, inbound: Inbound) -> None:
        inbound.reset_streams(request.streams)
        self.happened.append(StreamsResetByPeer(request.streams))
