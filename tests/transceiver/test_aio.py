"""The adapter: one socket, one timer, and backends that cannot harm one another; over both ways to
read and write the socket."""

import asyncio
import logging
from functools import partial

import pytest

from fake_endpoint import FakeEndpoint
from stunroute import forward
from stunroute.address import Address
from stunroute.settings import Adapter
from stunroute.trace import Drop
from stunroute.udp.batch import NEEDS, is_supported
from stunroute.udp.sockets import DATAGRAM_LENGTH
from transceiver.aio import BackendUnavailable, TransceiverServer
from transceiver.backend.task import in_task
from transceiver.errors import NoEvents, UnknownCall
from transceiver.events import AudioReceived, Ended, EndReason, Established

ANY = Address.parse("127.0.0.1:0")
OFFER = "v=0\r\n"


class Relay(asyncio.DatagramProtocol):
    """The other end of the leg."""

    def __init__(self):
        self.received = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.put_nowait(data)

    def say(self, text):
        self.transport.sendto(text.encode())


class Listening:
    """A backend that keeps what it hears."""

    def __init__(self, call):
        self.call = call
        self.heard = []

    def receive(self, event):
        self.heard.append(event)


async def relay_to(server):
    loop = asyncio.get_running_loop()
    remote = (server.listen.ip, server.listen.port)
    _, relay = await loop.create_datagram_endpoint(Relay, remote_addr=remote)
    return relay


def arrive(server, *datagrams):
    """What the socket does with datagrams that it has read together."""
    server.receive_datagrams([(data, ANY) for data in datagrams])


async def settle(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(params=list(Adapter), ids=lambda adapter: adapter.value)
def serve(request):
    if request.param is Adapter.BATCHED and not is_supported():
        pytest.skip(NEEDS)
    return partial(run, request.param)


def run(adapter, test, backend=Listening, endpoint=None, listen=ANY, **options):
    """Run ``test(server, endpoint, backends)`` with a started server."""
    made = []

    def factory(call):
        made.append(backend(call))
        return made[-1]

    async def main():
        core = endpoint or FakeEndpoint()
        server = TransceiverServer(core, listen, factory, adapter=adapter, **options)
        await server.start()
        try:
            await test(server, core, made)
        finally:
            await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "[::]:0"])
def test_carries_a_call_over_the_socket(serve, listen):
    class Mirror(Listening):
        def receive(self, event):
            super().receive(event)
            if isinstance(event, AudioReceived):
                assert self.call.send_audio(event.payload, event.timestamp)

    async def test(server, core, backends):
        remote = ("127.0.0.1" if listen != "[::1]:0" else "::1", server.listen.port)
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_datagram_endpoint(Relay, remote_addr=remote)
        call = server.open_call(OFFER).call
        relay.say(f"establish {call}")
        relay.say(f"audio {call} 960 tone")
        assert await relay.received.get() == f"{call} 960 tone".encode()
        relay.say(f"end {call}")
        await settle(lambda: not server.calls)
        kinds = [type(event) for event in backends[0].heard]
        assert kinds == [Established, AudioReceived, Ended]
        assert server.counters.received == 3
        assert server.counters.sent == 1
        relay.transport.close()

    serve(test, Mirror, listen=Address.parse(listen))


def test_sends_nothing_before_keys_and_after_the_end(serve):
    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        held = backends[0].call
        assert not held.send_audio(b"x", 0)
        arrive(server, f"establish {call}".encode())
        assert held.send_audio(b"x", (1 << 32) + 5, True)
        assert core.audio[-1][1:4] == (b"x", 5, True)
        server.hang_up(call)
        assert not held.send_audio(b"x", 1)
        held.hang_up()  # a second end is none
        assert len(core.audio) == 1

    serve(test)


def test_an_end_that_overtakes_its_event_is_no_failure(serve):
    class Late(Listening):
        def receive(self, event):
            super().receive(event)
            if isinstance(event, AudioReceived):
                # The core has ended the call already; Ended is the next event.
                assert not self.call.send_audio(b"late", 1)
                self.call.hang_up()

    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        arrive(server, f"establish {call}".encode())
        core.receive_datagram(f"audio {call} 1 x".encode(), ANY, 0.0)
        arrive(server, f"end {call}".encode())
        assert [type(event) for event in backends[0].heard][-1] is Ended
        assert server.counters.backend_failures == 0

    serve(test, Late)


def test_time_goes_forward_when_a_backend_acts_amid_a_batch(serve):
    """A recording whose clock runs backward replays for nobody."""

    class Answering(Listening):
        def receive(self, event):
            super().receive(event)
            if isinstance(event, AudioReceived):
                self.call.send_audio(event.payload, event.timestamp)

    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        audio = [f"audio {call} {number} x".encode() for number in range(5)]
        arrive(server, f"establish {call}".encode(), *audio)
        assert len(core.readings) == 11
        assert core.readings == sorted(core.readings)

    serve(test, Answering)


def test_a_failing_backend_loses_its_call_only_and_is_logged_once(serve, caplog):
    class Faulty(Listening):
        def receive(self, event):
            super().receive(event)
            raise RuntimeError("the model is gone")

    async def test(server, core, backends):
        first, second = server.open_call(OFFER).call, server.open_call(OFFER).call
        with caplog.at_level(logging.ERROR):
            arrive(server, f"establish {first}".encode())
        assert server.calls == [second]
        assert [type(event) for event in backends[0].heard] == [Established, Ended]
        assert not backends[1].heard
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert first in caplog.text
        assert server.counters.backend_failures == 1

    serve(test, Faulty)


class Conversing(Listening):
    """A backend with events, that fails at the verb that ``trouble`` names."""

    trouble = ""

    def attach(self, send, close):
        self._do("attach")
        return self

    def receive(self, event):
        super().receive(event)
        self._do("receive")

    def detach(self):
        self._do("detach")

    def _do(self, verb):
        if verb == self.trouble:
            raise RuntimeError("the model is gone")


@pytest.mark.parametrize("trouble", ["attach", "receive", "detach"])
def test_a_backend_that_fails_on_the_side_loses_its_call_all_the_same(serve, caplog, trouble):
    """And whoever reads the connection is spared what it raised."""

    async def test(server, core, backends):
        call, other = server.open_call(OFFER).call, server.open_call(OFFER).call
        backends[0].trouble = trouble
        if trouble == "attach":
            with pytest.raises(NoEvents):
                server.attach(call, print, print)
        else:
            attachment = server.attach(call, print, print)
            attachment.receive("{}")
            attachment.detach()
        assert server.calls == [other]
        assert isinstance(backends[0].heard[-1], Ended)
        assert server.counters.backend_failures == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    serve(test, Conversing)


def test_a_backend_that_cannot_begin_refuses_the_call(serve, caplog):
    def refuse(call):
        raise ConnectionError("nobody home")

    async def test(server, core, backends):
        with pytest.raises(BackendUnavailable):
            server.open_call(OFFER)
        assert server.calls == core.calls == []

    serve(test, refuse)


def test_a_callback_runs_when_due_unless_the_call_has_ended(serve):
    ran = []

    async def test(server, core, backends):
        first, second = server.open_call(OFFER).call, server.open_call(OFFER).call
        one, two = (backend.call for backend in backends)
        one.call_at(one.now() + 0.01, lambda: ran.append("one"))
        two.call_at(two.now() + 0.01, lambda: ran.append("two"))
        cancel = one.call_at(one.now() + 0.01, lambda: ran.append("cancelled"))
        cancel()
        server.hang_up(second)
        await asyncio.sleep(0.05)
        assert ran == ["one"]
        one.call_at(one.now(), lambda: 1 / 0)
        await settle(lambda: first not in server.calls)
        assert [type(event) for event in backends[0].heard] == [Ended]  # and nothing else

    serve(test)


def test_wakes_the_core_at_its_deadline_with_one_timer(serve):
    async def test(server, core, backends):
        core.deadline = server.now() + 0.05
        arrive(server, b"nothing x")
        first = server._timer
        core.deadline += 0.02  # further out: the early timer stays and wakes in vain
        arrive(server, b"nothing x")
        assert server._timer is first
        wanted = core.deadline
        await settle(lambda: core.woken)
        assert core.woken[0] >= wanted
        assert server._timer is None
        core.deadline = server.now() + 60
        arrive(server, b"nothing x")
        core.deadline = server.now() + 0.01  # nearer: the timer moves
        arrive(server, b"nothing x")
        await settle(lambda: len(core.woken) == 2)

    serve(test)


def test_what_relays_forward_at_most_arrives_whole_and_no_more(serve):
    async def test(server, core, backends):
        remote = ("127.0.0.1", server.listen.port)
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_datagram_endpoint(Relay, remote_addr=remote)
        call = server.open_call(OFFER).call
        head = f"audio {call} 960 "
        longest = forward.HEADER_LENGTH + DATAGRAM_LENGTH
        for length in (longest + 1, longest):
            relay.say(head.ljust(length, "x"))
        await settle(lambda: server.counters.received == 2)
        (heard,) = backends[0].heard
        assert len(heard.payload) == longest - len(head)
        assert core.drops == {Drop.TOO_LONG: 1}
        relay.transport.close()

    serve(test)


def test_each_call_draws_its_own_entropy(serve):
    sources = iter([lambda n: b"1" * n, lambda n: b"2" * n])

    async def test(server, core, backends):
        server.open_call(OFFER)
        server.open_call(OFFER)
        assert [entropy(1) for entropy in core.entropies] == [b"1", b"2"]

    serve(test, call_entropy=lambda: next(sources))


def test_verbs_on_an_unknown_call(serve):
    async def test(server, core, backends):
        for verb in (server.snapshot, server.hang_up):
            with pytest.raises(UnknownCall):
                verb("rtc_none")
        with pytest.raises(UnknownCall):
            server.reoffer("rtc_none", OFFER)

    serve(test)


def test_stop_ends_the_calls_and_says_why(serve):
    heard = []

    async def test(server, core, backends):
        server.open_call(OFFER)
        await server.stop()
        assert server.draining
        heard.extend(backends[0].heard)

    serve(test)
    assert [(type(event), event.reason) for event in heard] == [(Ended, EndReason.DRAINED)]


def test_stop_waits_for_calls_that_end_in_time(serve):
    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, arrive, server, f"end {call}".encode())
        begin = server.now()
        await server.stop(within=30)
        assert server.now() - begin < 5
        assert backends[0].heard[-1].reason is EndReason.PEER_CLOSED

    serve(test)


def test_an_address_in_use_is_an_error(serve):
    async def test(server, core, backends):
        other = TransceiverServer(FakeEndpoint(), server.listen, Listening)
        with pytest.raises(OSError, match="in use"):
            await other.start()

    serve(test)


# A backend in a task


def test_a_slow_task_loses_the_oldest_and_holds_nobody_up(serve):
    seen = []
    gate = asyncio.Event()

    async def slow(call, inbox):
        await gate.wait()
        seen.extend([event async for event in inbox])

    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        for stamp in range(10):
            arrive(server, f"audio {call} {stamp} x".encode())
        assert backends[0].inbox.lost == 6
        server.hang_up(call)
        gate.set()
        await settle(lambda: len(seen) == 4)
        assert [event.timestamp for event in seen[:-1]] == [7, 8, 9]
        assert isinstance(seen[-1], Ended)
        await settle(backends[0].task.done)

    serve(test, in_task(slow, events=4))


def test_a_task_that_returns_hangs_up(serve):
    async def brief(call, inbox):
        async for event in inbox:
            if isinstance(event, AudioReceived):
                return

    async def test(server, core, backends):
        call = server.open_call(OFFER).call
        arrive(server, f"audio {call} 0 x".encode())
        await settle(lambda: not server.calls)
        assert server.counters.backend_failures == 0

    serve(test, in_task(brief))


def test_a_task_that_raises_loses_its_call(serve, caplog):
    async def faulty(call, inbox):
        raise RuntimeError("the model is gone")

    async def test(server, core, backends):
        server.open_call(OFFER)
        await settle(lambda: not server.calls)
        assert server.counters.backend_failures == 1
        assert "the model is gone" in caplog.text

    serve(test, in_task(faulty))


def test_a_task_that_hangs_on_after_the_end_is_cancelled(serve):
    async def stuck(call, inbox):
        await asyncio.Event().wait()

    async def test(server, core, backends):
        server.hang_up(server.open_call(OFFER).call)
        await settle(backends[0].task.done)
        assert backends[0].task.cancelled()

    serve(test, in_task(stuck, grace=0.01))
