"""Checksums inside DTLS, which may be left out in one direction (RFC 9653).

Who accepts packets without one says so in its INIT or INIT ACK, and says nothing of what it sends.
Servers have taken the one for the other.
"""

from conformance.case import Observed, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import ABILITIES, ANSWERED, NOT_ANSWERED, Reaction, associated, prepare
from conformance.probe.sctp_opening import draws_nothing, stands
from conformance.stage import Stage
from transceiver.sctp.chunks import Heartbeat
from transceiver.sctp.packet import Packet, checksum_matches
from transceiver.sctp.parameters import ZeroChecksumAcceptable


@case(
    "traps/sctp/checksum-left-out-only-where-accepted",
    "A server leaves the checksum out only toward a client that has said it accepts that.",
    sends="an association whose INIT says nothing of checksums, and a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.8/1",),
    traps=("SCTP and data channels 3",),
)
def checksum_left_out(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.need_channel(0)
    alive = puppet.is_alive()
    bare = sum(not checksum_matches(data) for data in puppet.raw)
    if bare:
        return Reaction.WRONG, f"{bare} of {len(puppet.raw)} packets"
    return Reaction.ANSWERED if alive else Reaction.DEAD


@case(
    "traps/sctp/checksum-of-another-method",
    "Whoever accepts packets without a checksum for another reason than DTLS is sent whole ones.",
    sends="an association whose INIT names error detection method 77, and a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.8/1",),
    traps=("SCTP and data channels 3",),
)
def checksum_of_another_method(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.associate(puppet.init(parameters=(*ABILITIES, ZeroChecksumAcceptable(77))))
    puppet.need_channel(0)
    bare = sum(not checksum_matches(data) for data in puppet.raw)
    if bare:
        return Reaction.WRONG, f"{bare} of {len(puppet.raw)} packets"
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "traps/sctp/zero-checksum-accepted-by-us",
    "A client that accepts packets without a checksum gets ones that it can read, with or without.",
    sends="an association whose INIT accepts zero checksums, and a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 3", "Facts"),
)
def zero_checksum_accepted(stage: Stage) -> Observed:
    puppet = prepare(stage)
    seen = stands(puppet, puppet.init(parameters=(*ABILITIES, ZeroChecksumAcceptable())))
    return (Reaction.WRONG, "packets that cannot be read") if puppet.strange else seen


@case(
    "traps/sctp/zero-checksum-sent-by-us",
    "A packet without a checksum is taken by a server that has said it takes them, and by no "
    "other.",
    sends="HEARTBEAT in a packet whose checksum is zero",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.8/4",),
    traps=("SCTP and data channels 3",),
)
def zero_checksum_sent(stage: Stage) -> Observed:
    puppet = associated(stage)
    told = puppet.peer.parameters if puppet.peer is not None else ()
    accepted = ZeroChecksumAcceptable() in told
    puppet.send(Heartbeat(b"without a checksum"), checksum=False)
    answered = puppet.wait(lambda received: True if _has(received, b"without") else None, 0.4)
    if not puppet.is_alive():
        return Reaction.DEAD
    if bool(answered) == accepted:
        return Reaction.ANSWERED, "it accepts them" if accepted else "it does not"
    return Reaction.WRONG, "taken, though it accepts none" if answered else "not taken"


def _has(received: Packet, info: bytes) -> bool:
    return any(getattr(chunk, "info", b"").startswith(info) for chunk in received.chunks)


@case(
    "traps/sctp/init-without-a-checksum",
    "An INIT without a checksum is let go by a server that accepts none, and may be by any other.",
    sends="INIT in a packet whose checksum is zero, then a good one",
    profiles=DATACHANNEL,
    good=(Reaction.ANSWERED, Reaction.SILENCE),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
    traps=("SCTP and data channels 3", "Facts"),
)
def init_without_a_checksum(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.send(puppet.init(), tag=0, checksum=False)
    seen = draws_nothing(puppet)
    answer = puppet.greet()
    accepts = ZeroChecksumAcceptable() in answer.parameters
    if seen is Reaction.ANSWERED and not accepts:
        return Reaction.WRONG, "answered, though it accepts none"
    return seen
