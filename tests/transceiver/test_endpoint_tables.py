"""What an endpoint remembers, and that it forgets it again."""

from itertools import count

import pytest

from calls import OTHER_INNER, check_for, deliver, talk
from pair import HOME, INNER, PUBLIC, Client, Rig, endpoint_config, seeded
from stunroute import forward, stun
from stunroute.address import Address, Transmit
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.pump import pump
from transceiver.config import DtlsLimits, IceLimits
from transceiver.errors import AtCapacity
from transceiver.events import EndReason
from transceiver.timers import Wake

_SERIAL = count(1)


def fresh_check(client: Client) -> bytes:
    """A check unlike any before it, without a nomination."""
    return stun.build(
        stun.Method.BINDING,
        stun.MessageClass.REQUEST,
        next(_SERIAL).to_bytes(12, "big"),
        [
            (0x0006, f"{client.remote_ufrag}:{client.ufrag}".encode()),
            (0x0024, (1).to_bytes(4, "big")),
            (0x802A, (5).to_bytes(8, "big")),
        ],
        integrity=stun.IntegrityKey(client.remote_password.encode()),
    )


def address(index: int) -> Address:
    return Address.of(f"192.0.2.{100 + index}", 40000)


def tables(rig: Rig) -> tuple[int, ...]:
    endpoint = rig.endpoint
    indexes = (endpoint._slots, endpoint._by_ufrag, endpoint._by_address, endpoint._by_source)
    return tuple(map(len, indexes))


def test_short_calls_leave_nothing_behind() -> None:
    rig = Rig.build()
    offer = rig.client().offer()
    for _ in range(2000):
        call = rig.endpoint.open_call(offer, rig.now).call
        rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
        pump(rig.endpoint)
    assert rig.endpoint.next_timeout() is None
    assert rig.endpoint._heap == []
    assert tables(rig) == (0, 0, 0, 0)


def test_short_calls_beside_a_long_one_leave_nothing_behind() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    offer = rig.client(1).offer()
    for _ in range(500):
        call = rig.endpoint.open_call(offer, rig.now).call
        rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
        pump(rig.endpoint)
        assert len(rig.endpoint._heap) <= 70
    rig.run(3.0)
    talk(rig, client)
    assert tables(rig) == (1, 1, 1, 1)


def test_deadlines_that_only_ever_come_closer_do_not_pile_up() -> None:
    rig = Rig.build()
    call = rig.establish(rig.client())
    for step in range(1000):
        rig.endpoint.end_within(call, 2.0 - step / 1000, rig.now)
    assert len(rig.endpoint._heap) <= 70


def test_what_is_at_once_due_again_does_not_keep_us() -> None:
    rig = Rig.build(config=endpoint_config(dtls=DtlsLimits(first_resend=0.0, resend_initial=0.0)))
    client = rig.client()
    answered = rig.endpoint.open_call(client.offer(), rig.now)
    client.accept(answered.answer, rig.now)
    deliver(rig, fresh_check(client))
    rig.endpoint.handle_timeout(rig.now)
    assert 1 <= len(pump(rig.endpoint).transmits) <= len(Wake)


def test_all_tables_are_empty_after_a_full_call() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    talk(rig, client)
    client.accept(rig.endpoint.reoffer(call, client.restart(), rig.now), rig.now)
    rig.run(1.0)
    deliver(rig, fresh_check(client), address(1))
    assert tables(rig) == (1, 2, 2, 1)
    sizes = rig.endpoint.sizes()
    assert (sizes["slots"], sizes["by_ufrag"], sizes["by_address"]) == (1, 2, 2)
    assert sizes["by_source"] == 1
    assert sizes["heap"] >= 1
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    assert tables(rig) == (0, 0, 0, 0)
    assert not any(rig.endpoint.sizes().values())


def test_restarts_without_end_keep_two_ufrags() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    for _ in range(50):
        client.accept(rig.endpoint.reoffer(call, client.restart(), rig.now), rig.now)
        assert len(rig.endpoint._by_ufrag) == 2
    rig.run(31.0)
    assert len(rig.endpoint._by_ufrag) == 1


def test_the_address_in_use_outlasts_any_number_of_others() -> None:
    """The endpoint's index follows what ICE holds as validated: when a client shows itself at many
    addresses, it is not the one in use that is forgotten."""
    rig = Rig.build(config=endpoint_config(ice=IceLimits(validated_paths=4)))
    client = rig.client()
    call = rig.establish(client)
    for index in range(20):
        deliver(rig, fresh_check(client), address(index))
    known = set(rig.endpoint._by_address)
    assert known == {HOME, address(17), address(18), address(19)}
    rig.run(0.01)
    client.close(rig.now)  # a DTLS record, which is found by its address alone
    rig.run(0.01)
    assert call not in rig.endpoint.calls
    assert tables(rig) == (0, 0, 0, 0)


def test_the_flow_is_released_at_the_relay_that_has_it_now() -> None:
    config = endpoint_config(relays=frozenset({INNER, OTHER_INNER}))
    rig = Rig.build(config=config)
    client = rig.client()
    call = rig.establish(client)
    header = forward.encode(HOME, PUBLIC)
    rig.endpoint.receive_datagram(header + fresh_check(client), OTHER_INNER, rig.now)
    pump(rig.endpoint)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    transmits = pump(rig.endpoint).transmits
    assert transmits[-1] == Transmit(header, OTHER_INNER)
    assert {transmit.address for transmit in transmits} == {OTHER_INNER}


def test_a_recorded_check_played_again_and_again_keeps_no_call_alive() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    check = fresh_check(client)
    deliver(rig, check)
    rig.clients.clear()
    for _ in range(31):
        deliver(rig, check)
        rig.run(1.0)
    assert rig.endpoint.calls == []


def test_keys_that_have_expired_refuse_calls_and_restarts_but_end_none() -> None:
    rig = Rig.build()
    hint = HintConfiguration.generate("0", seeded("hints 0"), read_until=rig.now + 10)
    rig.endpoint.reconfigure(rig.endpoint.config, KeyRing((hint,)))
    client = rig.client()
    call = rig.endpoint.open_call(client.offer(), rig.now).call
    rig.now += 10
    for refused in (
        lambda: rig.endpoint.open_call(client.offer(), rig.now),
        lambda: rig.endpoint.reoffer(call, client.restart(), rig.now),
    ):
        with pytest.raises(AtCapacity):
            refused()
    assert rig.endpoint.calls == [call]
    assert tables(rig) == (1, 1, 0, 0)


def test_what_is_recorded_or_returned_does_not_show_passwords() -> None:
    entries: list[object] = []
    rig = Rig.build(journal=entries.append)
    client = rig.client()
    answered = rig.endpoint.open_call(client.offer(), rig.now)
    client.accept(answered.answer, rig.now)
    rig.endpoint.reoffer(answered.call, client.restart(), rig.now)
    deliver(rig, check_for(client))
    (slot,) = rig.endpoint._slots.values()
    shown = f"{answered!r}{entries!r}{slot!r}{slot.session.agent!r}{rig.endpoint!r}"
    passwords = (client.password, client.remote_password)
    for secret in (*passwords, slot.session.agent.local.password.decode()):
        assert secret not in shown
    assert "ice-pwd" not in shown
