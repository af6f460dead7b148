"""The supervisor without its processes: what may not end it."""

import asyncio
import socket

from batches import FOUR, HINTS
from stunroute.settings import Listen, RelaySettings
from stunroute.udp.sockets import BoundSockets
from stunroute.udp.supervisor import Supervisor, _Link, _Seat

SETTINGS = RelaySettings(listen=(Listen(FOUR),), inner=FOUR, hint=HINTS)


def test_what_nobody_foresaw_in_new_settings_does_not_end_the_relay() -> None:
    """Nor is it quoted: it could be a key."""

    def load() -> RelaySettings:
        raise OverflowError("00112233")

    async def story() -> None:
        made = Supervisor(load)
        made._settings = SETTINGS
        await made.reload()
        (happened,) = made.happenings
        assert happened.text == "reload refused, the old settings stay: OverflowError"
        assert made.settings is SETTINGS

    asyncio.run(story())


def test_without_a_worker_that_can_be_asked_there_are_no_flows() -> None:
    """A seat is taken before its worker's channel is open."""

    async def story() -> None:
        made = Supervisor(lambda: SETTINGS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            seat = _Seat(0, BoundSockets(sock, ()), 0.0)
            seat.link = _Link(seat, 1, SETTINGS)
            made._seats = (seat,)
            assert await made.flows(10) == []

    asyncio.run(story())
