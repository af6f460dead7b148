"""What strangers do to a relay on its sockets, and what a flow's end leaves in the adapter."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from batches import CALLER, FOUR, SIX, World, check_downlink, check_uplink, established
from fleet import A, B, check, dtls, leg, rtp, success
from stunroute.address import Address
from stunroute.settings import LISTEN_MAXIMUM
from stunroute.trace import Drop
from stunroute.udp.batch import BATCH, is_supported

pytestmark = pytest.mark.skipif(not is_supported(), reason="no recvmmsg here")

STRANGERS = [(Address.of("203.0.113.1", 1000 + n), rtp(4000 + n)) for n in range(BATCH - 2)]


class TestFlowsInAFlood:
    """Among strangers' packets the adapter refuses by itself whoever it does not know."""

    @pytest.mark.parametrize("how", ["released", "expired"])
    def test_a_call_that_took_an_address_over_is_known(
        self, make: Callable[..., World], how: str
    ) -> None:
        world = make(takeover_idle=100.0)
        established(world, CALLER)
        check_uplink(world, [(CALLER, check(2))])
        check_downlink(world, [(B, leg(CALLER, success(), world.proxies[0]))])
        if how == "released":
            check_downlink(world, [(A, leg(CALLER, b"", world.proxies[0]))])
        else:
            world.pass_time(31.0)
            check_uplink(world, [(CALLER, check(2))])
            check_downlink(world, [(B, leg(CALLER, success(), world.proxies[0]))])
            world.pass_time(31.0)
        assert world.relay.counters.moved == 1
        check_uplink(world, [*STRANGERS, (CALLER, dtls()), (CALLER, rtp(77))])
        assert len(world.sent) == 2


@pytest.mark.parametrize("count", [1, 40])
def test_every_first_octet_is_what_the_core_says_it_is(
    make: Callable[..., World], count: int
) -> None:
    """Both ways, with and without a cached answer, beside every second octet that matters."""
    world = make()
    established(world, CALLER)
    payloads = [
        bytes([first, *second]) + bytes(20)[: 20 * bool(second)]
        for first in range(256)
        for second in ((), (0,), (191,), (192,), (223,), (224,))
    ]
    for start in range(0, len(payloads), count):
        some = payloads[start : start + count]
        check_uplink(world, [(CALLER, data) for data in some])
        check_downlink(world, [(A, leg(CALLER, data, world.proxies[0])) for data in some])


class TestLinkLocal:
    """The kernel tells the interface of a link-local client; the core has no word for it."""

    def test_an_answer_ends_with_its_flow(self, make: Callable[..., World]) -> None:
        world = make(SIX, inner=Address.of("::", 0))
        client = Address.of("fe80::7", 50_000)
        kernel = world.kernels[0]
        name = bytearray(world.name(client, world.bound.public[0]))
        name[24] = 2  # sin6_scope_id

        def send(data: bytes) -> None:
            kernel.arriving.append((bytes(name), data))
            world.run(kernel)

        send(check(1))
        for _ in range(6):
            send(rtp(1))
        assert len(world.sent) == 7
        world.downlink([(A, leg(client, b"", world.proxies[0]))])
        assert world.relay.counters.released == 1
        world.sent.clear()
        send(rtp(1))
        assert world.sent == []
        assert world.relay.counters.drops == {Drop.NO_FLOW: 1}

    def test_so_does_that_of_a_transceiver(self, make: Callable[..., World]) -> None:
        world = make(inner=Address.of("::", 0))
        sock = world.bound.inner
        assert sock.family == socket.AF_INET6
        established(world, CALLER)
        for lane in (world.adapter.inner, *world.adapter.public):
            lane.cache.clear()
        name = bytearray(world.name(A, sock))
        name[24] = 2
        world.inner.arriving.append((bytes(name), leg(CALLER, rtp(2), world.proxies[0])))
        world.run(world.inner)
        assert not world.adapter.inner.cache


def test_as_many_public_sockets_as_the_settings_allow(make: Callable[..., World]) -> None:
    world = make(*[FOUR] * LISTEN_MAXIMUM)
    last = LISTEN_MAXIMUM - 1
    check_uplink(world, [(CALLER, check(1)), *[(CALLER, rtp(1))] * 5], last)
    check_downlink(world, [(A, leg(CALLER, rtp(2), world.proxies[last]))] * 3)
    assert len(world.sent) == 3


class TestMistakes:
    """There should be none. If one of ours is met nevertheless, the packets at hand are lost and
    nothing else is: the loop logs it and goes on."""

    @pytest.mark.parametrize("count", [1, 5])
    def test_in_the_core(
        self, make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, count: int
    ) -> None:
        world = make()
        established(world, CALLER)

        def mistake(*_: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(world.relay, "route_client", mistake)
            stranger = Address.of("203.0.113.1", 9)
            with pytest.raises(ZeroDivisionError):
                world.uplink(0, [(CALLER, rtp(1))] * (count - 1) + [(stranger, rtp(5))])
        world.sent.clear()
        world.uplink(0, [(CALLER, b"")] * count)
        assert world.sent == []
        assert world.relay.counters.drops == {Drop.EMPTY: count}
        world.uplink(0, [(CALLER, rtp(1))] * count)
        assert len(world.sent) == count

    @pytest.mark.parametrize("where", ["touch", "forwarded"])
    def test_while_the_core_is_told_who_was_there(
        self, make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        world = make(takeover_idle=0.02)
        established(world, CALLER)
        flow = world.relay.flow(CALLER)
        assert flow is not None

        async def story() -> None:
            loop = asyncio.get_running_loop()
            told: list[dict[str, Any]] = []
            loop.set_exception_handler(lambda _, context: told.append(context))
            mistakes = iter([True])

            def wrong_once(*arguments: Any, **more: Any) -> None:
                if next(mistakes, False):
                    raise ZeroDivisionError
                real(*arguments, **more)

            real = getattr(world.relay, where)
            monkeypatch.setattr(world.relay, where, wrong_once)
            world.adapter._loop = loop
            world.adapter._touch_later()
            for _ in range(500):
                world.clock += 1.0
                world.uplink(0, [(CALLER, rtp(1))] * 2)
                await asyncio.sleep(0.005)
                if told and flow.seen > 3.0 and not world.adapter.public[0].observed:
                    break
            else:
                raise AssertionError("nobody was told any more")
            assert isinstance(told[0]["exception"], ZeroDivisionError)
            assert world.adapter._touching is not None
            world.adapter._touching.cancel()

        asyncio.run(story())
