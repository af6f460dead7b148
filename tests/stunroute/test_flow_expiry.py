"""What has expired is dealt with a few at a time, so that packets have their turn."""

from fleet import PROXY, A, B
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.flow import BURIED_AT_ONCE, Flow, FlowTable
from stunroute.trace import FlowExpired, FlowMade, FlowMoved, FlowRecord, Origin


def table() -> tuple[FlowTable, list[FlowRecord]]:
    records: list[FlowRecord] = []
    return FlowTable(RelayConfig(), records.append), records


def made(flows: FlowTable, client: Address, next_hop: Address, now: float) -> Flow:
    flow = flows.check(client, PROXY, next_hop, False, now)
    assert isinstance(flow, Flow)
    return flow


def many(flows: FlowTable, count: int = BURIED_AT_ONCE * 2 + 7) -> list[Address]:
    clients = [Address(bytes(14) + n.to_bytes(2, "big"), 1) for n in range(count)]
    for client in clients:
        made(flows, client, A, 0.0)
    return clients


def test_a_few_at_a_time_and_the_rest_at_once_after() -> None:
    flows, records = table()
    count = len(many(flows))
    flows.handle_timeout(30.0)
    assert len(flows) == count
    records.clear()
    flows.handle_timeout(60.0)
    assert len(flows) == 0
    assert len(records) == BURIED_AT_ONCE
    calls = 1
    while (due := flows.next_timeout()) is not None:
        assert due <= 60.0
        flows.handle_timeout(60.0)
        calls += 1
    assert len(records) == count
    assert all(isinstance(record, FlowExpired) for record in records)
    assert calls <= 4


def test_a_client_that_comes_back_meanwhile_is_expired_before_it_is_made() -> None:
    flows, records = table()
    clients = many(flows)
    flows.handle_timeout(30.0)
    flows.handle_timeout(60.0)
    buried = {record.client for record in records if isinstance(record, FlowExpired)}
    waiting = next(client for client in clients if client not in buried)
    assert flows.flow(waiting) is None
    records.clear()
    made(flows, waiting, B, 61.0)
    assert records == [
        FlowExpired(61.0, waiting, A),
        FlowMade(61.0, waiting, B, Origin.CHECK),
    ]
    while flows.next_timeout() == 60.0:
        flows.handle_timeout(61.0)
    assert flows.flow(waiting) is not None
    assert sum(isinstance(r, FlowExpired) and r.client == waiting for r in records) == 1


def test_a_contender_answered_meanwhile_takes_over_from_what_has_expired() -> None:
    flows, records = table()
    clients = many(flows)
    flows.handle_timeout(30.0)
    for client in clients:
        made(flows, client, B, 40.0)
    flows.handle_timeout(60.0)
    buried = {record.client for record in records if isinstance(record, FlowExpired)}
    waiting = next(client for client in clients if client not in buried)
    records.clear()
    flows.downlink(waiting, PROXY, B, True, 61.0)
    assert records == [
        FlowExpired(61.0, waiting, A),
        FlowMoved(61.0, waiting, A, B),
    ]
