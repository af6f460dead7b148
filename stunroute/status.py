"""What a running relay tells of itself.

One picture, taken of each worker and put together by the supervisor; metrics, the admin socket and
the terminal view all show it, so they cannot disagree. Counts are since the worker's start, times
of day are seconds since 1970-01-01 UTC, durations are seconds.
"""

from collections.abc import Mapping

from attrs import field, frozen

from .address import Address


@frozen(slots=True)
class SocketStatus:
    """``role`` is ``public`` or ``inner``. ``kernel_drops`` are packets that found the socket's
    receive buffer full: the process never saw them. They are counted from the socket's beginning,
    which is the supervisor's, whatever became of its workers."""

    role: str
    address: str
    errors: int = 0
    kernel_drops: int = 0


@frozen(slots=True)
class StoreStatus:
    """``state`` is that of the circuit breaker: ``closed`` (in use), ``open`` (left alone for a
    while) or ``half-open`` (being tried).

    Of ``lookups``, ``hits`` found a next hop and ``misses`` none; ``unasked`` were answered at once
    because the store was left alone or enough were under way. ``refused`` values did not
    authenticate. Of changes, ``written`` are in the store, ``stale`` were not written because the
    store had a fresher one, ``waiting`` are still to be written, ``lost`` never will be.
    ``timeouts`` and ``errors`` are of whole round trips, ``latency`` is of the last answers,
    smoothed. ``last_error`` names the kind of the last failure; it holds nothing secret."""

    state: str
    lookups: int = 0
    hits: int = 0
    misses: int = 0
    unasked: int = 0
    timeouts: int = 0
    refused: int = 0
    written: int = 0
    stale: int = 0
    waiting: int = 0
    lost: int = 0
    errors: int = 0
    latency: float = 0.0
    last_error: str = ""


@frozen(slots=True)
class ConfigurationStatus:
    """A hint configuration: may it be read and minted under now, are its checks verified here, and
    how many checks have named it."""

    id: str
    readable: bool
    mintable: bool
    verified: bool
    checks: int = 0


@frozen(slots=True)
class WorkerStatus:
    """``adapter`` is ``batched`` or ``plain``. ``counters`` are the scalar fields of
    ``stunroute.relay.Counters`` by name, ``drops`` packets by ``Drop.value``, ``kinds`` packets
    that were forwarded by (``uplink`` or ``downlink``, ``stun``, ``dtls``, ``rtp``, ``rtcp`` or
    ``other``). ``loop_lag`` is the longest delay of the event loop within the
    last 15 to 30 seconds."""

    worker: int
    pid: int
    started: float
    adapter: str
    flows: int
    contenders: int
    counters: Mapping[str, int]
    drops: Mapping[str, int]
    kinds: Mapping[tuple[str, str], int]
    sockets: tuple[SocketStatus, ...]
    configurations: tuple[ConfigurationStatus, ...]
    store: StoreStatus | None = None
    loop_lag: float = 0.0


@frozen(slots=True)
class FlowStatus:
    """One flow of a worker. ``made`` is the ``trace.Origin`` by value; ``age`` is since it was
    made, ``idle`` since it was last seen to be used, to within a second or two."""

    worker: int
    client: Address
    next_hop: Address
    made: str
    age: float
    idle: float
    verified: bool


@frozen(slots=True)
class Happening:
    """Something an operator wants to know of: a worker that died, a reload, a store that fails,
    flows that healed. ``text`` is one line and holds neither keys nor clients' addresses."""

    at: float
    text: str


@frozen(slots=True)
class RelayStatus:
    """All of a relay. ``workers`` holds those that answered; ``wanted`` is how many there should
    be. ``started`` is when the supervisor did; ``restarts`` and ``reloads`` count since then."""

    at: float
    version: str
    wanted: int
    workers: tuple[WorkerStatus, ...]
    restarts: int = 0
    reloads: int = 0
    happenings: tuple[Happening, ...] = field(default=())
    started: float = 0.0
