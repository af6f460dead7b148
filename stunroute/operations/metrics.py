"""Metrics for Prometheus, made from the picture of the relay when they are asked for.

Nothing counts twice: the relay's own counters are what is shown, so the official client's counters,
which would want to be incremented on the packet path, are left out, and only its families, its
registry and its text formats are used. What can be nought is shown as nought, every reason for
which a packet may be dropped too: a rate over a series that begins with its first packet misses it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import define
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from stunroute.status import RelayStatus, StoreStatus, WorkerStatus
from stunroute.trace import Drop

from . import picture

PREFIX: Final = "stunroute"

COUNTERS: Final = {
    "moved": ("flows_moved", "Flows that another session of the same client address took over."),
    "contended": (
        "flows_contended",
        "Sessions that asked for a client address whose flow is alive, and waited.",
    ),
    "released": ("flows_released", "Flows that their transceiver said it was done with."),
    "expired": ("flows_expired", "Flows that ended because nothing passed for a whole generation."),
    "by_ssrc": (
        "packets_by_ssrc",
        "Packets of unknown addresses that found their flow by SSRC, as behind a NAT that rebound.",
    ),
    "held": ("packets_held", "Packets of unknown clients that waited for the store's answer."),
    "requests_lost": (
        "store_requests_lost",
        "What the store was not asked or told because too much was queued for it.",
    ),
}
"""Counters of the core that are one number, with the name and the help of their metric."""

SHOWN_OTHERWISE: Final = frozenset(
    {
        *("uplink_packets", "uplink_bytes", "downlink_packets", "downlink_bytes"),
        *("made", "healed", "restored", "answered"),
    }
)

STORE: Final = {
    "lookups": ("store_lookups", "Clients that the store was asked for."),
    "written": ("store_written", "Changes that the store has taken."),
    "stale": ("store_stale", "Changes not written because the store had a fresher one."),
    "lost": ("store_lost", "Changes that were never written to the store."),
    "timeouts": ("store_timeouts", "Round trips to the store that took too long."),
    "errors": ("store_errors", "Connections and commands that failed at the store."),
}
ANSWERS: Final = {"hit": "hits", "miss": "misses", "refused": "refused", "unasked": "unasked"}
BREAKER: Final = ("closed", "open", "half-open")


@define(slots=True, eq=False)
class RelayCollector(Collector):
    """``latest`` gives the latest picture; without one there are no metrics."""

    latest: Callable[[], RelayStatus | None]

    def collect(self) -> Iterator[Metric]:
        status = self.latest()
        if status is None:
            return
        yield from _of_relay(status)
        workers = status.workers
        yield from _of_workers(workers)
        yield from _of_traffic(workers)
        yield from _of_flows(workers)
        yield from _of_sockets(workers)
        yield from _of_hints(workers)
        yield from _of_store(workers)


def registry(latest: Callable[[], RelayStatus | None]) -> CollectorRegistry:
    """A registry of its own: what else lives in this process has no place in it."""
    made = CollectorRegistry(auto_describe=False)
    made.register(RelayCollector(latest))
    return made


def _counter(name: str, text: str, labels: Sequence[str] = ()) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _of_relay(status: RelayStatus) -> Iterator[Metric]:
    build = InfoMetricFamily(f"{PREFIX}_build", "Which stunroute this is.")
    build.add_metric([], {"version": status.version})
    yield build
    for name, text, value in (
        ("start_time_seconds", "When the supervisor started, since 1970 UTC.", status.started),
        ("picture_time_seconds", "When these figures were taken, since 1970 UTC.", status.at),
        ("workers_wanted", "Workers that there should be.", status.wanted),
        ("workers_up", "Workers that answered.", len(status.workers)),
    ):
        gauge = _gauge(name, text)
        gauge.add_metric([], value)
        yield gauge
    for name, text, count in (
        ("worker_restarts", "Workers that died or hung and were replaced.", status.restarts),
        ("reloads", "Settings that were read again and taken over.", status.reloads),
    ):
        counter = _counter(name, text)
        counter.add_metric([], count)
        yield counter


def _of_workers(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    info = InfoMetricFamily(
        f"{PREFIX}_worker", "How a worker reads and writes packets.", labels=["worker"]
    )
    started = _gauge("worker_start_time_seconds", "When a worker started.", ["worker"])
    lag = _gauge(
        "loop_lag_seconds",
        "The longest that a worker's event loop was held up within the last 15 to 30 seconds.",
        ["worker"],
    )
    for worker in workers:
        name = [str(worker.worker)]
        info.add_metric(name, {"adapter": worker.adapter})
        started.add_metric(name, worker.started)
        lag.add_metric(name, worker.loop_lag)
    yield from (info, started, lag)


def _of_traffic(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    packets = _counter(
        "packets", "Packets forwarded, by what they are.", ["worker", "direction", "kind"]
    )
    octets = _counter(
        "bytes",
        "Bytes of payload forwarded, without the leg's header of 38 bytes.",
        ["worker", "direction"],
    )
    drops = _counter(
        "drops",
        "Packets let go of, by reason; stunroute.trace.Drop explains each.",
        ["worker", "reason"],
    )
    for worker in workers:
        name = str(worker.worker)
        for (direction, kind), count in picture.kinds(worker).items():
            packets.add_metric([name, direction, kind], count)
        for direction in picture.DIRECTIONS:
            octets.add_metric([name, direction], worker.counters.get(f"{direction}_bytes", 0))
        # One that a newer worker knows and we do not is shown all the same.
        for reason in dict.fromkeys([*(drop.value for drop in Drop), *worker.drops]):
            drops.add_metric([name, reason], worker.drops.get(reason, 0))
    yield from (packets, octets, drops)


def _of_flows(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    flows = _gauge("flows", "Clients that have a flow.", ["worker"])
    contenders = _gauge(
        "flow_contenders", "Clients with a second session that waits to take over.", ["worker"]
    )
    made = _counter(
        "flows_made",
        "Flows made, by what made them: a client's check, a transceiver's packet to a client that "
        "was not known (downlink), the shared store, or the answer to a waiting session's check.",
        ["worker", "by"],
    )
    for worker in workers:
        name = str(worker.worker)
        flows.add_metric([name], worker.flows)
        contenders.add_metric([name], worker.contenders)
        for origin, count in picture.made(worker.counters).items():
            made.add_metric([name, origin.value], count)
    yield from (flows, contenders, made)
    for counter, (metric, text) in COUNTERS.items():
        family = _counter(metric, text, ["worker"])
        for worker in workers:
            family.add_metric([str(worker.worker)], worker.counters.get(counter, 0))
        yield family


def _of_sockets(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    labels = ["worker", "role", "address"]
    errors = _counter("socket_errors", "ICMP errors and failed sends.", labels)
    lost = _counter(
        "kernel_drops",
        "Packets that found the socket's receive buffer full; the relay never saw them.",
        labels,
    )
    for worker in workers:
        for entry in worker.sockets:
            values = [str(worker.worker), entry.role, entry.address]
            errors.add_metric(values, entry.errors)
            lost.add_metric(values, entry.kernel_drops)
    yield from (errors, lost)


def _of_hints(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    labels = ["worker", "configuration"]
    uses = {
        "readable": _gauge("hint_readable", "1 if hints of this configuration are read.", labels),
        "mintable": _gauge(
            "hint_mintable", "1 if transceivers may mint under this configuration.", labels
        ),
        "verified": _gauge(
            "hint_verified",
            "1 if checks under this configuration are authenticated by the relay itself.",
            labels,
        ),
    }
    checks = _counter("hint_checks", "Checks that named this configuration.", labels)
    for worker in workers:
        for entry in worker.configurations:
            values = [str(worker.worker), entry.id]
            for use, family in uses.items():
                family.add_metric(values, float(getattr(entry, use)))
            checks.add_metric(values, entry.checks)
    yield from (*uses.values(), checks)


def _of_store(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    """Nothing where there is no store: its absence is no failure."""
    stores: list[tuple[str, StoreStatus]] = [
        (str(worker.worker), worker.store) for worker in workers if worker.store is not None
    ]
    if not stores:
        return
    state = _gauge(
        "store_state",
        "1 for the state of the circuit breaker: closed (the store is in use), open (left alone "
        "for a while), half-open (being tried).",
        ["worker", "state"],
    )
    answers = _counter(
        "store_answers",
        "What came of look-ups; refused: a value that did not authenticate, unasked: the store was "
        "left alone or busy.",
        ["worker", "outcome"],
    )
    latency = _gauge(
        "store_latency_seconds", "How long the store's last answers took, smoothed.", ["worker"]
    )
    waiting = _gauge("store_waiting", "Changes that are still to be written.", ["worker"])
    for name, store in stores:
        waiting.add_metric([name], store.waiting)
        for entry in dict.fromkeys([*BREAKER, store.state]):
            state.add_metric([name, entry], float(entry == store.state))
        for outcome, attribute in ANSWERS.items():
            answers.add_metric([name, outcome], getattr(store, attribute))
        latency.add_metric([name], store.latency)
    yield from (state, answers, latency, waiting)
    for attribute, (metric, text) in STORE.items():
        family = _counter(metric, text, ["worker"])
        for name, store in stores:
            family.add_metric([name], getattr(store, attribute))
        yield family
