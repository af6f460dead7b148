"""A peer with keys of its own that wants to cost more than it sends.

How much work a packet makes is counted in steps of the interpreter, not in seconds.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from sctp_pair import Pair, chunks, events, transmits
from sctp_states import tag_of
from stunroute.trace import Drop
from transceiver.config import SctpLimits
from transceiver.sctp import packet
from transceiver.sctp.chunks import Data, ForwardTsn, Sack
from transceiver.sctp.events import Dropped
from transceiver.sctp.inbound import Inbound


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(local)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_stream_that_is_passed_many_times_over_costs_as_once() -> None:
    """Each entry of a FORWARD-TSN makes all that waits on its stream be looked at."""
    inbound = Inbound(1, SctpLimits())
    for number in range(1000):
        chunk = Data(2 + number, 1, 28_000 + number, 51, b"x", True, True)
        assert inbound.receive(chunk) is None
    forward = ForwardTsn(1, tuple((1, ssn) for ssn in range(290)))
    assert steps(lambda: inbound.receive_forward(forward)) < 20_000
    assert inbound.receive(Data(1002, 1, 290, 51, b"next", True, True)) is None
    message = inbound.next_message()
    assert message is not None
    assert message.payload == b"next"


def test_of_many_acknowledgements_in_a_packet_one_is_read() -> None:
    """Each of them makes everything that is out be looked at; one says all there is to say."""
    pair = Pair.connected()
    association = pair.a.association
    for number in range(3):
        association.send(number, 51, b"m" * 1000, pair.now)
    sent = [chunk for data in transmits(association) for chunk in chunks(data)]
    tsns = [chunk.tsn for chunk in sent if isinstance(chunk, Data)]
    said = [Sack(tsns[0], 1 << 20), Sack(tsns[2], 1 << 20), ForwardTsn(1), ForwardTsn(2)]
    tag = tag_of(association)
    association.receive_packet(packet.encode(5000, 5000, tag, said), pair.now)
    drops = [event.drop for event in events(association) if isinstance(event, Dropped)]
    assert drops == [Drop.SCTP_BUNDLED, Drop.SCTP_BUNDLED]
    assert association.buffered_amount(0) == 0
    again = packet.encode(5000, 5000, tag, [Sack(tsns[2], 1 << 20)])
    association.receive_packet(again, pair.now)
    assert not [event for event in events(association) if isinstance(event, Dropped)]
