"""The end of an association, and of streams within it (RFC 9260, section 9; RFC 6525).

A stream is closed by both sides, and its number is free only then; an association by either, and
whatever still comes for it belongs to nobody.
"""

from conformance.case import Level, Observed, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import (
    ANSWERED,
    LET_GO,
    NOT_ANSWERED,
    NOT_LET_GO,
    PATIENCE,
    Puppet,
    Reaction,
    associated,
    joined,
    opened,
    resets,
)
from conformance.stage import Stage
from transceiver.datachannel import messages as dcep
from transceiver.sctp.causes import UserAbort
from transceiver.sctp.chunks import (
    Abort,
    Data,
    Heartbeat,
    HeartbeatAck,
    Init,
    ReConfig,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
)
from transceiver.sctp.packet import Packet
from transceiver.sctp.parameters import (
    IncomingReset,
    OutgoingReset,
    ReconfigResponse,
    ResetResult,
)


def _gone(puppet: Puppet) -> bool:
    """Whether the association is over: a HEARTBEAT is not answered as one."""
    info = puppet.stage.entropy(16)
    puppet.send(Heartbeat(info))
    answer = puppet.chunk(HeartbeatAck, 0.5)
    return answer is None or answer.info != info


def _shutdown_ack(puppet: Puppet, within: float = PATIENCE) -> bool:
    return puppet.chunk(ShutdownAck, within) is not None


# --- the association ------------------------------------------------------------------------------


@case(
    "rfc9260/9.2/shutdown",
    "SHUTDOWN is answered with SHUTDOWN ACK where nothing is left to send, and after SHUTDOWN "
    "COMPLETE the association is over.",
    sends="SHUTDOWN, and SHUTDOWN COMPLETE to the answer",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/9.2/15", "rfc9260/3.3.9/1"),
)
def shutdown(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(Shutdown(puppet.cumulative))
    if not _shutdown_ack(puppet):
        return puppet.unanswered()
    puppet.send(ShutdownComplete())
    return Reaction.ANSWERED if _gone(puppet) else (Reaction.WRONG, "the association lives on")


@case(
    "rfc9260/9.2/shutdown-ack-again",
    "A SHUTDOWN ACK that is not answered is sent again, and so it is when SHUTDOWN comes again.",
    sends="SHUTDOWN, nothing to the answer, then SHUTDOWN again",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/9.2/16", "rfc9260/9.2/8"),
    lasts=2.0,
)
def shutdown_ack_again(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(Shutdown(puppet.cumulative))
    if not _shutdown_ack(puppet):
        return puppet.unanswered()
    if not _shutdown_ack(puppet, 4.0):
        return Reaction.SILENCE, "sent once"
    puppet.send(Shutdown(puppet.cumulative))
    answered = _shutdown_ack(puppet)
    puppet.send(ShutdownComplete())
    return Reaction.ANSWERED if answered else (Reaction.SILENCE, "not to the second SHUTDOWN")


@case(
    "rfc9260/9.2/shutdown-waits-for-data",
    "A server that has DATA on its way sends it to the end before SHUTDOWN ACK.",
    sends="a message whose echo is not acknowledged, SHUTDOWN, then the acknowledgement",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/9.2/9", "rfc9260/4/11"),
    lasts=1.0,
)
def shutdown_waits_for_data(stage: Stage) -> Observed:
    puppet = opened(stage)
    before = puppet.cumulative
    puppet.acknowledges = False
    message = stage.entropy(12)
    puppet.say(0, message)
    if puppet.comes_back(message) is not Reaction.ANSWERED:
        return puppet.unanswered()
    puppet.send(Shutdown(before))
    if _shutdown_ack(puppet, 0.3):
        return Reaction.WRONG, "before the echo was acknowledged"
    puppet.send(Shutdown(puppet.cumulative))
    if not _shutdown_ack(puppet):
        return Reaction.SILENCE
    puppet.send(ShutdownComplete())
    return Reaction.ANSWERED


@case(
    "rfc9260/9.1/abort",
    "ABORT ends the association at once, and is not answered.",
    sends="ABORT with a reason",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/9.1/6", "rfc9260/9.1/4", "rfc9260/3.3.7/5"),
)
def abort(stage: Stage) -> Observed:
    puppet = associated(stage)
    start = len(puppet.came)
    puppet.send(Abort((UserAbort("enough"),)))
    puppet.run(0.3)
    kinds = [type(each) for received in puppet.came[start:] for each in received.chunks]
    if Abort in kinds:
        return Reaction.ABORTED, "ABORT in answer to ABORT"
    return Reaction.ANSWERED if _gone(puppet) else (Reaction.WRONG, "the association lives on")


@case(
    "rfc9260/8.5.1/abort-with-reflected-tag",
    "ABORT with the T bit, of a client that has forgotten the association, bears the client's own "
    "tag, and ends it.",
    sends="ABORT with the T bit under our tag",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/8.5.1/6", "rfc9260/9.1/5"),
)
def abort_with_reflected_tag(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(Abort((), True), tag=puppet.tag)
    puppet.run(0.1)
    return Reaction.ANSWERED if _gone(puppet) else (Reaction.WRONG, "the association lives on")


@case(
    "rfc9260/8.5.1/abort-under-another-tag",
    "An ABORT under a wrong tag is let go.",
    sends="ABORT under a tag that is off by one, under ours without the T bit, and with it under "
    "the server's",
    profiles=DATACHANNEL,
    good=LET_GO,
    bad=NOT_LET_GO,
    requirements=("rfc9260/8.5.1/7", "rfc9260/8.5/3"),
)
def abort_under_another_tag(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(Abort(), tag=puppet.peer_tag ^ 1)
    puppet.send(Abort(), tag=puppet.tag)
    puppet.send(Abort((), True), tag=puppet.peer_tag ^ 1)
    return puppet.silence()


@case(
    "rfc9260/8.4/out-of-the-blue",
    "What comes for an association that is over draws at most an ABORT with the T bit, under the "
    "tag that it bore.",
    sends="DATA after ABORT",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),  # over DTLS it tells nobody anything new
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/8.4/11",),
)
def out_of_the_blue(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.send(Abort())
    puppet.run(0.2)
    start = len(puppet.came)
    puppet.say(0, b"anybody?")
    puppet.run(0.4)
    for received in puppet.came[start:]:
        match received.chunks[0]:
            case Abort(reflected=True) if received.tag == puppet.peer_tag:
                return Reaction.ABORTED
            case Init():
                pass
            case other:
                return Reaction.WRONG, type(other).__name__
    return Reaction.SILENCE


# --- streams --------------------------------------------------------------------------------------


def _response(puppet: Puppet, request: int) -> tuple[Reaction, int | None]:
    """The answer to a reset request: its result."""

    def find(received: Packet) -> int | None:
        for chunk in received.chunks:
            if isinstance(chunk, ReConfig):
                for each in chunk.parameters:
                    if isinstance(each, ReconfigResponse) and each.request == request:
                        return each.result
        return None

    return puppet.reaction(find)


def _request(puppet: Puppet, *streams: int, number: int) -> ReConfig:
    """An outgoing reset after all that we have said."""
    theirs = puppet.peer.tsn if puppet.peer is not None else 0
    last = (puppet.tsn - 1) & 0xFFFF_FFFF
    return ReConfig((OutgoingReset(number, (theirs - 1) & 0xFFFF_FFFF, last, streams),))


@case(
    "rfc8831/6.7/channel-closed",
    "A data channel that the client closes, by resetting its stream, is closed by the server as "
    "well: it answers, and resets its own.",
    sends="an outgoing reset of the channel's stream",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc8831/6.7/1", "rfc8831/6.1/3"),
    traps=("SCTP and data channels 1",),
)
def channel_closed(stage: Stage) -> Observed:
    puppet = joined(stage)
    first = puppet.tsn_at_first
    puppet.send(_request(puppet, 0, number=first))
    seen, result = _response(puppet, first)
    if seen is not Reaction.ANSWERED:
        return seen
    if result not in (ResetResult.PERFORMED, ResetResult.NOTHING_TO_DO):
        return Reaction.WRONG, f"result {result}"
    reverse = resets(puppet, 0)
    if reverse is None:
        return Reaction.WRONG, "it does not reset its own stream"
    puppet.answer_reset(reverse)
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "traps/sctp/stream-used-again",
    "A number is free when both sides have reset it: a new channel on it is agreed to, and its "
    "sequence numbers begin with 0.",
    sends="a channel that is opened, used, closed by both sides, opened and used again, twice",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc8831/6.7/1",),
    traps=("SCTP and data channels 1",),
)
def stream_used_again(stage: Stage) -> Observed:
    puppet = opened(stage)
    for round_ in range(2):
        number = (puppet.tsn_at_first + round_) & 0xFFFF_FFFF
        puppet.send(_request(puppet, 0, number=number))
        seen, _ = _response(puppet, number)
        if seen is not Reaction.ANSWERED:
            return seen
        reverse = resets(puppet, 0)
        if reverse is None:
            return Reaction.WRONG, "it does not reset its own stream"
        puppet.answer_reset(reverse)
        puppet.begin_again(0)
        puppet.run(0.1)
        start = len(puppet.came)
        if not puppet.open_channel(0):
            return Reaction.WRONG, "the number cannot be used again"
        fresh = [
            chunk
            for received in puppet.came[start:]
            for chunk in received.chunks
            if isinstance(chunk, Data) and chunk.stream == 0
        ]
        if fresh and fresh[0].ssn:
            return Reaction.WRONG, f"it goes on with number {fresh[0].ssn}"
        if not puppet.still_echoes():
            return Reaction.WRONG, "nothing comes back on it"
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc6525/5.2.2/reset-before-its-data",
    "A reset that overtakes DATA which was sent before it is not performed before the DATA has "
    "come, and then it is.",
    sends="an outgoing reset whose last TSN has not come yet, then the DATA",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 1",),
    lasts=1.5,
)
def reset_before_its_data(stage: Stage) -> Observed:
    puppet = opened(stage)
    number = puppet.tsn_at_first
    message = stage.entropy(12)
    late = puppet.data(0, message)
    puppet.send(_request(puppet, 0, number=number))
    seen, result = _response(puppet, number)
    if seen is Reaction.ANSWERED and result != ResetResult.IN_PROGRESS:
        return Reaction.WRONG, f"result {result} before the DATA has come"
    if seen not in (Reaction.ANSWERED, Reaction.SILENCE):
        return seen
    puppet.send(late)
    puppet.run(0.3)
    # RFC 6525 has the same asked again, libwebrtc asks anew; both are answered.
    for attempt in range(2):
        puppet.send(_request(puppet, 0, number=(number + attempt) & 0xFFFF_FFFF))
        seen, result = _response(puppet, (number + attempt) & 0xFFFF_FFFF)
        if result in (ResetResult.PERFORMED, ResetResult.NOTHING_TO_DO):
            return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD
    return (Reaction.WRONG, f"result {result} afterwards") if result is not None else seen


@case(
    "rfc6525/5.2.1/request-again",
    "A request that comes again is answered as before, and not performed again.",
    sends="the same outgoing reset three times",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 1",),
)
def request_again(stage: Stage) -> Observed:
    puppet = joined(stage)
    number = puppet.tsn_at_first
    request = _request(puppet, 0, number=number)
    for _ in range(3):
        puppet.send(request)
        seen, result = _response(puppet, number)
        if seen is not Reaction.ANSWERED:
            return seen
        if result not in (ResetResult.PERFORMED, ResetResult.NOTHING_TO_DO):
            return Reaction.WRONG, f"result {result}"
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc6525/5.2.1/wrong-request-number",
    "A request whose number is not the next one is refused as such.",
    sends="an outgoing reset whose number is ten ahead",
    profiles=DATACHANNEL,
    good=(Reaction.ANSWERED,),
    lenient=(Reaction.SILENCE, Reaction.ABORTED),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
)
def wrong_request_number(stage: Stage) -> Observed:
    puppet = joined(stage)
    number = (puppet.tsn_at_first + 10) & 0xFFFF_FFFF
    puppet.send(_request(puppet, 0, number=number))
    seen, result = _response(puppet, number)
    if seen is Reaction.ANSWERED and result != ResetResult.BAD_SEQUENCE_NUMBER:
        return Reaction.WRONG, f"result {result}"
    return seen


@case(
    "rfc6525/5.2.2/stream-that-is-not-there",
    "A reset of a stream beyond those agreed on is refused, and does no harm.",
    sends="an outgoing reset of stream 65000",
    profiles=DATACHANNEL,
    level=Level.SHOULD,  # there is a result for it, and nothing that says when to give it
    good=(Reaction.ANSWERED,),
    lenient=(Reaction.SILENCE, Reaction.ABORTED),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
)
def stream_not_there(stage: Stage) -> Observed:
    puppet = joined(stage)
    number = puppet.tsn_at_first
    puppet.send(_request(puppet, 65000, number=number))
    seen, result = _response(puppet, number)
    if seen is Reaction.ANSWERED and result == ResetResult.PERFORMED:
        return Reaction.WRONG, "performed"
    return seen if seen is not Reaction.ANSWERED or puppet.is_alive() else Reaction.DEAD


@case(
    "rfc6525/5.2.3/incoming-reset",
    "A request to reset the server's own stream is answered, one way or the other.",
    sends="an incoming reset of the channel's stream",
    profiles=DATACHANNEL,
    good=(Reaction.ANSWERED,),
    lenient=(Reaction.SILENCE,),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
)
def incoming_reset(stage: Stage) -> Observed:
    puppet = joined(stage)
    number = puppet.tsn_at_first
    puppet.send(ReConfig((IncomingReset(number, (0,)),)))

    def find(received: Packet) -> bool | None:
        # It may be answered by the reset itself.
        return True if any(isinstance(each, ReConfig) for each in received.chunks) else None

    seen, _ = puppet.reaction(find)
    return seen if seen is not Reaction.ANSWERED or puppet.is_alive() else Reaction.DEAD


@case(
    "traps/sctp/message-after-reset",
    "What comes on a stream after the client has reset it belongs to no channel, and does no harm.",
    sends="an outgoing reset, then a message without a new announcement, then a new channel on "
    "another stream",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 1",),
)
def message_after_reset(stage: Stage) -> Observed:
    puppet = opened(stage)
    number = puppet.tsn_at_first
    puppet.send(_request(puppet, 0, number=number))
    seen, _ = _response(puppet, number)
    if seen is not Reaction.ANSWERED:
        return seen
    puppet.begin_again(0)
    message = stage.entropy(12)
    puppet.say(0, message)
    puppet.run(0.3)
    if any(payload == message for _, _, payload in puppet.messages):
        return Reaction.WRONG, "it comes back"
    if not puppet.open_channel(2, dcep.Open("another")):
        return puppet.unanswered()
    return Reaction.ANSWERED
