"""Metrics, read again by the official client's own parser."""

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pictures import relay, worker
from stunroute.operations import metrics
from stunroute.relay import Counters
from stunroute.status import ConfigurationStatus, RelayStatus, StoreStatus
from stunroute.trace import Drop, Origin

COUNTERS = {name: 100 + n for n, name in enumerate(Counters().scalars())} | {"made": 10_000}
STORE = StoreStatus(
    "open",
    lookups=1,
    hits=2,
    misses=3,
    unasked=4,
    timeouts=5,
    refused=6,
    written=7,
    stale=8,
    waiting=9,
    lost=10,
    errors=11,
    latency=0.012,
)
FULL = relay(
    60,
    worker(
        0,
        flows=4,
        counters=COUNTERS,
        drops={drop.value: n for n, drop in enumerate(Drop, 1)},
        kinds={("uplink", "rtp"): 5, ("downlink", "stun"): 6},
        kernel_drops=12,
        errors=13,
        configurations=(
            ConfigurationStatus("0", True, False, True, 14),
            ConfigurationStatus("b", False, False, False),
        ),
        store=STORE,
        loop_lag=0.015,
    ),
    worker(1),
    wanted=3,
    restarts=2,
)


def families(status: RelayStatus) -> dict[str, Metric]:
    text = generate_latest(metrics.registry(lambda: status)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(status: RelayStatus, sample: str, **labels: str) -> float:
    found = [
        entry.value
        for family in families(status).values()
        for entry in family.samples
        if entry.name == sample and labels.items() <= entry.labels.items()
    ]
    assert len(found) == 1, (sample, labels, found)
    return found[0]


@pytest.mark.parametrize("drop", Drop)
def test_every_drop_has_its_series_at_each_worker_from_nought(drop: Drop) -> None:
    name = "stunroute_drops_total"
    assert value(FULL, name, worker="0", reason=drop.value) == list(Drop).index(drop) + 1
    assert value(FULL, name, worker="1", reason=drop.value) == 0


@pytest.mark.parametrize("counter", Counters().scalars())
def test_every_counter_of_the_core_is_shown(counter: str) -> None:
    shown = metrics.COUNTERS.keys() | metrics.SHOWN_OTHERWISE
    assert counter in shown
    if counter in metrics.COUNTERS:
        name = f"stunroute_{metrics.COUNTERS[counter][0]}_total"
        assert value(FULL, name, worker="0") == COUNTERS[counter]


@pytest.mark.parametrize(
    ("sample", "labels", "expected"),
    [
        ("stunroute_packets_total", {"worker": "0", "direction": "uplink", "kind": "rtp"}, 5),
        ("stunroute_bytes_total", {"worker": "0", "direction": "uplink"}, COUNTERS["uplink_bytes"]),
        ("stunroute_flows", {"worker": "0"}, 4),
        ("stunroute_flow_contenders", {"worker": "1"}, 0),
        ("stunroute_loop_lag_seconds", {"worker": "0"}, 0.015),
        ("stunroute_kernel_drops_total", {"worker": "0", "role": "public"}, 12),
        ("stunroute_socket_errors_total", {"worker": "0", "role": "public"}, 13),
        ("stunroute_hint_readable", {"worker": "0", "configuration": "0"}, 1),
        ("stunroute_hint_mintable", {"worker": "0", "configuration": "0"}, 0),
        ("stunroute_hint_verified", {"worker": "0", "configuration": "b"}, 0),
        ("stunroute_hint_checks_total", {"worker": "0", "configuration": "0"}, 14),
        ("stunroute_workers_wanted", {}, 3),
        ("stunroute_workers_up", {}, 2),
        ("stunroute_worker_restarts_total", {}, 2),
        ("stunroute_reloads_total", {}, 0),
        ("stunroute_build_info", {"version": "0.1.0"}, 1),
        ("stunroute_worker_info", {"worker": "0", "adapter": "batched"}, 1),
        ("stunroute_store_state", {"state": "open"}, 1),
        ("stunroute_store_state", {"state": "closed"}, 0),
        ("stunroute_store_lookups_total", {}, 1),
        ("stunroute_store_answers_total", {"outcome": "hit"}, 2),
        ("stunroute_store_answers_total", {"outcome": "miss"}, 3),
        ("stunroute_store_answers_total", {"outcome": "unasked"}, 4),
        ("stunroute_store_timeouts_total", {}, 5),
        ("stunroute_store_answers_total", {"outcome": "refused"}, 6),
        ("stunroute_store_written_total", {}, 7),
        ("stunroute_store_stale_total", {}, 8),
        ("stunroute_store_waiting", {}, 9),
        ("stunroute_store_lost_total", {}, 10),
        ("stunroute_store_errors_total", {}, 11),
        ("stunroute_store_latency_seconds", {}, 0.012),
    ],
)
def test_figures(sample: str, labels: dict[str, str], expected: float) -> None:
    assert value(FULL, sample, **labels) == expected


def test_flows_by_what_made_them_sum_up_to_those_made() -> None:
    counts = [
        value(FULL, "stunroute_flows_made_total", worker="0", by=origin.value) for origin in Origin
    ]
    assert sum(counts) == COUNTERS["made"]
    assert counts[list(Origin).index(Origin.ANSWER)] == COUNTERS["answered"]


def test_packets_of_all_kinds_sum_up_to_those_forwarded() -> None:
    found = families(FULL)["stunroute_packets"].samples
    for direction in ("uplink", "downlink"):
        counts = [
            entry.value
            for entry in found
            if entry.labels["worker"] == "0" and entry.labels["direction"] == direction
        ]
        assert len(counts) == 5
        assert sum(counts) == COUNTERS[f"{direction}_packets"]


def test_names_follow_the_conventions_and_all_are_explained() -> None:
    found = families(FULL)
    for name, family in found.items():
        assert re.fullmatch(r"stunroute_[a-z_]+", name)
        assert family.documentation.endswith((".", "whole generation."))
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample
    assert len(found) >= 35


def test_without_a_store_there_are_no_metrics_of_one() -> None:
    names = families(relay(1, worker()))
    assert [name for name in names if name.startswith("stunroute_store_")] == [
        "stunroute_store_requests_lost"
    ]


def test_a_drop_that_only_a_newer_worker_knows_is_shown_too() -> None:
    status = relay(1, worker(drops={"of-tomorrow": 3}))
    assert value(status, "stunroute_drops_total", reason="of-tomorrow") == 3


def test_openmetrics_is_well_formed_too() -> None:
    text = generate_openmetrics(metrics.registry(lambda: FULL)).decode()
    assert len(list(openmetrics.text_string_to_metric_families(text))) == len(families(FULL))


def test_before_the_first_picture_there_are_none() -> None:
    assert generate_latest(metrics.registry(lambda: None)) == b""
