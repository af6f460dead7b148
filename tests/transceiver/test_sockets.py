"""The two ways to read and write the leg's socket, held to the same: what arrives, what leaves, in
which order, and what is counted."""

import asyncio
import ctypes
import errno
import socket

import pytest
from attrs import asdict
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_endpoint import FakeEndpoint
from stunroute.address import Address, Transmit
from stunroute.settings import Adapter
from stunroute.udp.batch import BATCH, NEEDS, is_supported
from transceiver import sockets
from transceiver.aio import TransceiverServer
from transceiver.events import AudioReceived
from transceiver.sockets import BATCHES, LARGEST_DATAGRAM, Counters, open_link

ANY = Address.parse("127.0.0.1:0")
BUFFERS = {"send_buffer": 262144, "receive_buffer": 4 << 20}

needs_batches = pytest.mark.skipif(not is_supported(), reason=NEEDS)
both = pytest.mark.parametrize(
    "adapter",
    [pytest.param(Adapter.BATCHED, marks=needs_batches), Adapter.PLAIN],
    ids=lambda adapter: adapter.value,
)


class Far:
    """The other end: a socket that does not block."""

    def __init__(self, host="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, 2)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.address = Address.of(*self.sock.getsockname()[:2])

    def say(self, to, *datagrams):
        for data in datagrams:
            self.sock.sendto(data, (to.ip, to.port))

    def heard(self):
        """All that is there: loopback has delivered it when ``sendto`` returns."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(4096))
            except BlockingIOError:
                return found


async def settle(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def linked(adapter, test, listen=ANY):
    """Run ``test(link, bound, arrivals, counters, far)`` over an open link."""

    async def main():
        arrivals, counters = [], Counters()
        link, bound = await open_link(listen, counters, arrivals.extend, adapter=adapter, **BUFFERS)
        far = Far("127.0.0.1" if listen.is_ipv4 else "::1")
        try:
            await test(link, bound, arrivals, counters, far)
        finally:
            await link.close()
            far.sock.close()

    asyncio.run(main())


@both
def test_more_than_one_wake_up_takes_arrives_whole_and_in_order(adapter):
    said = [b"%d" % n for n in range(BATCH * BATCHES + 10)]

    async def test(link, bound, arrivals, counters, far):
        far.say(bound, *said)
        await settle(lambda: len(arrivals) == len(said))
        assert arrivals == [(data, far.address) for data in said]
        link.send([Transmit(data, far.address) for data in said])
        assert far.heard() == said
        assert counters == Counters(sent=len(said))

    linked(adapter, test)


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_reaches_both_ip_versions_from_a_socket_for_both(adapter, host):
    async def test(link, bound, arrivals, counters, _):
        far = Far(host)
        far.say(Address.of(host, bound.port), b"there")
        await settle(lambda: arrivals)
        assert arrivals == [(b"there", far.address)]
        link.send([Transmit(b"back", far.address)])
        assert far.heard() == [b"back"]
        far.sock.close()

    linked(adapter, test, listen=Address.parse("[::]:0"))


@both
def test_a_datagram_that_is_too_long_stands_in_its_place(adapter):
    longest = bytes(LARGEST_DATAGRAM)

    async def test(link, bound, arrivals, counters, far):
        far.say(bound, b"before", longest + b"x", longest, b"", b"after")
        await settle(lambda: len(arrivals) == 5)
        assert [data for data, _ in arrivals] == [b"before", None, longest, b"", b"after"]

    linked(adapter, test)


@both
def test_what_the_socket_refuses_holds_nothing_up(adapter):
    async def test(link, bound, arrivals, counters, far):
        broadcast = Address.of("255.255.255.255", 9)  # nobody asked for leave to do that
        other_version = Address.of("2001:db8::1", 9)
        link.send([Transmit(b"x", to) for to in (far.address, broadcast, other_version)])
        link.send([Transmit(b"y", to) for to in (broadcast, far.address)])
        assert far.heard() == [b"x", b"y"]
        assert counters == Counters(sent=2, errors=3)

    linked(adapter, test)


@both
def test_what_the_kernel_does_not_take_is_bounded_and_counted(adapter, monkeypatch):
    async def test(link, bound, arrivals, counters, far):
        if adapter is Adapter.BATCHED:
            monkeypatch.setattr(link._writer, "_send", failing(errno.EAGAIN))
        else:
            full = BUFFERS["send_buffer"] + 1
            monkeypatch.setattr(type(link._transport), "get_write_buffer_size", lambda _: full)
        link.send([Transmit(bytes(1200), far.address)] * 10)
        assert counters == Counters(unsent=10)
        monkeypatch.undo()
        link.send([Transmit(b"again", far.address)])
        assert far.heard() == [b"again"]
        assert counters == Counters(unsent=10, sent=1)

    linked(adapter, test)


def failing(error):
    def call(*_):
        ctypes.set_errno(error)
        return -1

    return call


@both
def test_an_error_of_the_socket_is_counted_and_passed_over(adapter, monkeypatch):
    async def test(link, bound, arrivals, counters, far):
        if adapter is Adapter.BATCHED:
            with monkeypatch.context() as patch:
                patch.setattr(link._reader, "_receive", failing(errno.ECONNREFUSED))
                link._read()
        else:
            link.error_received(ConnectionRefusedError())
        assert counters == Counters(errors=1)
        far.say(bound, b"next")
        await settle(lambda: arrivals)
        assert counters.errors == 1

    linked(adapter, test)


@both
def test_a_closed_link_reads_no_more_and_gives_its_address_back(adapter):
    async def main():
        arrivals = []
        link, bound = await open_link(ANY, Counters(), arrivals.extend, adapter=adapter, **BUFFERS)
        far = Far()
        far.say(bound, b"unread")
        await link.close()
        again, same = await open_link(
            bound, Counters(), arrivals.extend, adapter=adapter, **BUFFERS
        )
        assert same == bound
        far.say(bound, b"read")
        await settle(lambda: arrivals)
        assert arrivals == [(b"read", far.address)]
        await again.close()
        far.sock.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wanted", "usable", "name"),
    [
        (None, True, "batched"),
        (None, False, "plain"),
        (Adapter.PLAIN, True, "plain"),
        (Adapter.PLAIN, False, "plain"),
        pytest.param(Adapter.BATCHED, True, "batched"),
    ],
)
def test_the_way_is_chosen_by_the_machine_unless_told(wanted, usable, name, monkeypatch):
    if usable and not is_supported():
        pytest.skip(NEEDS)
    monkeypatch.setattr(sockets, "is_supported", lambda: usable)

    async def test(link, *_):
        assert link.name == name

    linked(wanted, test)


def test_a_way_that_is_demanded_and_cannot_work_is_an_error(monkeypatch):
    monkeypatch.setattr(sockets, "is_supported", lambda: False)
    with pytest.raises(OSError, match="recvmmsg"):
        linked(Adapter.BATCHED, None)


# The same input, the same output

CALLS = ("rtc_" + "1".rjust(26, "0"), "rtc_" + "2".rjust(26, "0"))
commands = st.one_of(
    st.builds("establish {}".format, st.sampled_from(CALLS)),
    st.builds("audio {} {} tone".format, st.sampled_from(CALLS), st.integers(0, 9)),
    st.builds("audio {} {} act".format, st.sampled_from(CALLS), st.integers(0, 9)),
    st.builds("flood {} {}".format, st.sampled_from(CALLS), st.integers(1, 70)),
    st.builds("end {}".format, st.sampled_from(CALLS)),
    st.builds("hush {}".format, st.just("x" * LARGEST_DATAGRAM)),
)


class Restless:
    """A backend that acts on what it hears: echoes, speaks to the other call's client, hangs up."""

    def __init__(self, everyone, heard, call):
        self.everyone, self.heard, self.call = everyone, heard, call
        everyone.append(call)

    def receive(self, event):
        self.heard.append(event)
        match event:
            case AudioReceived(payload=b"tone"):
                self.call.send_audio(b"echo", event.timestamp)
            case AudioReceived(payload=b"act"):
                for call in self.everyone:
                    call.send_audio(b"said", event.timestamp)
                if event.timestamp == 0:
                    self.everyone[0].hang_up()


def outcome(adapter, datagrams):
    """What a server makes of ``datagrams`` that arrive faster than it reads."""

    async def main():
        heard, everyone = [], []
        server = TransceiverServer(
            FakeEndpoint(), ANY, lambda call: Restless(everyone, heard, call), adapter=adapter
        )
        bound = await server.start()
        for _ in CALLS:
            server.open_call("v=0\r\n")
        far = Far()
        far.say(bound, *datagrams)
        await settle(lambda: server.counters.received == len(datagrams))
        said, drops, left = far.heard(), dict(server.endpoint.drops), server.calls
        counters = asdict(server.counters)
        await server.stop()
        far.sock.close()
        return said, heard, drops, left, counters

    return asyncio.run(main())


@needs_batches
@given(st.lists(commands.map(str.encode), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_both_ways_make_the_same_of_the_same_datagrams(datagrams):
    assert outcome(Adapter.BATCHED, datagrams) == outcome(Adapter.PLAIN, datagrams)
