"""SCTP before there is an association: what an INIT draws, and what draws nothing.

Nothing here can be answered by HEARTBEAT, so life shows otherwise: a good INIT is answered with an
INIT ACK, however often it is asked.
"""

from transceiver.sctp.chunks import Init, InitAck
from transceiver.sctp.packet import Packet

from .sctp import Puppet, Reaction


def answer_to(puppet: Puppet, init: Init) -> tuple[Reaction, InitAck | None]:
    """What an INIT draws. Without an association life shows in the answer to a good INIT."""

    def find(received: Packet) -> tuple[Reaction, InitAck | None] | None:
        kinds = {type(chunk).__name__ for chunk in received.chunks}
        match received.chunks[0]:
            case InitAck() as chunk if received.tag == init.tag:
                return Reaction.ANSWERED, chunk
        if kinds & {"Abort"} and received.tag in (init.tag, 0):
            return Reaction.ABORTED, None
        return None

    for _ in range(2):
        puppet.send(init, tag=0)
        seen = puppet.wait(find)
        if seen is not None:
            return seen
    return (Reaction.SILENCE if greets_still(puppet) else Reaction.DEAD), None


def greets_still(puppet: Puppet) -> bool:
    """Whether a good INIT is answered, sooner or later."""
    tag = puppet.tag ^ 0x55AA
    good = puppet.init(tag=tag)

    def find(received: Packet) -> bool | None:
        return True if isinstance(received.chunks[0], InitAck) and received.tag == tag else None

    for _ in range(3):
        puppet.send(good, tag=0)
        if puppet.wait(find):
            return True
    return False


def draws_nothing(puppet: Puppet) -> Reaction:
    """What comes of something that was sent before there is an association. ``SILENCE``: neither
    INIT ACK nor ABORT, and a good INIT is answered still."""

    def find(received: Packet) -> Reaction | None:
        match received.chunks[0]:
            case InitAck():
                return Reaction.ANSWERED
            case Init():
                return None
        return Reaction.ABORTED

    seen = puppet.wait(find, 0.4)
    if seen is not None:
        return seen
    return Reaction.SILENCE if greets_still(puppet) else Reaction.DEAD


def stands(puppet: Puppet, init: Init) -> tuple[Reaction, str]:
    """An association by this INIT, and a data channel on it."""
    seen, chunk = answer_to(puppet, init)
    if chunk is None:
        return seen, ""
    puppet.associate(init)
    if not puppet.open_channel(0):
        return Reaction.WRONG, "no channel can be opened"
    return (Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD), ""
