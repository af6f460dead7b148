"""Datagrams whose first byte says what they are, or that they are nothing.

Before DTLS has begun a server that waits for it has nothing to say by itself, so whatever comes is
an answer. The call is brought up afterwards: nothing that a stranger sends may stand in its way.
"""

from collections.abc import Iterable

from conformance.case import Blocked, Observed, Seen
from conformance.stage import Stage
from stunroute.demux import classify
from transceiver.keying import SrtpProfile

from .call import Call, need_part, open_call
from .dtls_hello import Hello
from .stun import validate

RECORD_VERSION = b"\xfe\xff"


class Sorted(Seen):
    """What becomes of a datagram before DTLS."""

    DROPPED = "nothing comes of it, and the call comes up afterwards"
    ANSWERED = "something is answered"
    KILLED = "the call does not come up any more"


def waiting(stage: Stage) -> Call:
    """A call whose address a check has validated and whose server waits for our ClientHello. Raises
    Unsupported and Blocked."""
    call = open_call(stage, setup="active")
    need_part(call, "passive")
    validate(call)
    call.listen(0.05)
    return call


def sort(call: Call, datagrams: Iterable[bytes]) -> Observed:
    """Send them and see what becomes of them, and of the call."""
    heard = []
    for data in datagrams:
        call.send(data, note=f"first byte {data[0]}" if data else "empty")
        heard += call.listen(0.02)
    heard += call.listen(call.stage.patience)
    if heard:  # a handshake that has begun cannot be begun again by everybody
        return Sorted.ANSWERED, ", ".join(classify(each.data).value for each in heard[:4])
    try:
        call.establish()
    except Blocked as blocked:
        return Sorted.KILLED, str(blocked)
    return Sorted.DROPPED


def hello_record(call: Call, content_type: int) -> bytes:
    """A plain ClientHello in a record whose first byte is ``content_type``."""
    body = Hello.honest(call.stage.entropy, tuple(SrtpProfile)).encode()
    message = b"\x01" + len(body).to_bytes(3, "big") + b"\0\0" + b"\0\0\0"
    message += len(body).to_bytes(3, "big") + body
    head = bytes([content_type]) + RECORD_VERSION + bytes(8)
    return head + len(message).to_bytes(2, "big") + message


def garbage(call: Call, first: int, length: int = 40) -> bytes:
    """Bytes that are nothing, behind a first one."""
    return bytes([first]) + call.stage.entropy(length - 1)
