"""Which way a server's packets go.

Where a server sends to is what most attacks on ICE aim at, and what most of its faults come out
in. It shows by audio: while ours goes in, whatever comes out is looked for at every socket that we
have. A server that gives no audio back cannot be asked.
"""

from functools import partial
from typing import Any

from conformance.case import Blocked, Seen, Unsupported
from conformance.stage import Stage
from conformance.trail import Crossing
from stunroute.address import Address
from stunroute.demux import Kind, classify

from .audio import OPUS_SILENCE, STEP
from .call import Call, open_call

PACKETS = 4
PACE = 0.02


class Way(Seen):
    """Where audio goes that the server sends."""

    OLD = "to the address that it went to before"
    NEW = "to the new address"
    BOTH = "to both addresses"
    NOWHERE = "to neither address"


def settled(stage: Stage, **options: Any) -> Call:
    """A call that is up, has its pair nominated and gives audio back. From now on its client sends
    no check that the case does not ask for. Raises Blocked and Unsupported."""
    call = open_call(stage, contents=("audio",), **options)
    call.establish()
    if not call.run_until(lambda: call.client.nominated, 3.0):
        raise Blocked("no nomination was answered")
    call.client.keepalives = False
    call.run(0.1)
    if call.socket not in destinations(call):
        raise Unsupported("sends no audio back")
    return call


def speak(call: Call, packets: int = PACKETS) -> None:
    """Send some audio from the client's socket, at its pace."""
    for _ in range(packets):
        timestamp = call.client.sequence * STEP
        call.act(partial(call.client.send_audio, OPUS_SILENCE, timestamp))
        call.run(PACE)


def destinations(call: Call) -> set[Address]:
    """Which of our sockets audio comes to while we send some. What was under way before does not
    count."""
    speak(call)
    before = len(_arrivals(call))
    speak(call)
    call.run_until(lambda: len(_arrivals(call)) > before, call.stage.patience)
    call.run(PACE)
    return set(_arrivals(call)[before:])


def _arrivals(call: Call) -> list[Address]:
    """The sockets that RTP has come to so far, one for each packet."""
    return [
        entry.near
        for entry in call.stage.trail.entries
        if isinstance(entry, Crossing) and not entry.sent and classify(entry.data) is Kind.RTP
    ]


def way(call: Call, old: Address, new: Address) -> Way:
    """Where audio goes now."""
    found = destinations(call)
    match old in found, new in found:
        case True, False:
            return Way.OLD
        case False, True:
            return Way.NEW
        case True, True:
            return Way.BOTH
        case _:
            return Way.NOWHERE
