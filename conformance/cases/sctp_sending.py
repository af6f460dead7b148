"""What the client has given up, and what the server does as a sender (RFC 3758, RFC 9260, 6).

A server sends when it gives back what it got: a puppet that does not acknowledge the echo, or has
no room for it, sees how it goes about that.
"""

from conformance.case import Observed, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import (
    ANSWERED,
    NOT_ANSWERED,
    WINDOW,
    Reaction,
    acknowledged,
    associated,
    joined,
    opened,
)
from conformance.stage import Stage
from transceiver.datachannel import messages as dcep
from transceiver.sctp.chunks import Data, ForwardTsn, Heartbeat, Sack, Unknown

# --- what was given up ----------------------------------------------------------------------------


@case(
    "rfc3758/3.6/forward-tsn",
    "FORWARD-TSN ends the waiting for what the client has given up: what stands behind it is "
    "delivered.",
    sends="a message that never leaves, one behind it, and FORWARD-TSN",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc8831/6.1/6",),
    traps=("SCTP and data channels 1",),
)
def forward_tsn(stage: Stage) -> Observed:
    puppet = opened(stage)
    given_up = puppet.data(0, b"given up")
    message = stage.entropy(12)
    puppet.say(0, message)
    puppet.send(ForwardTsn(given_up.tsn, ((0, given_up.ssn),)))
    return puppet.comes_back(message)


@case(
    "traps/sctp/forward-tsn-amid-fragments",
    "A message that is given up when some of its fragments have come leaves nothing behind: what "
    "follows is delivered, and the association lives.",
    sends="the first two of four fragments, FORWARD-TSN past all four, then a whole message",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 1",),
)
def forward_tsn_amid_fragments(stage: Stage) -> Observed:
    puppet = opened(stage)
    chunks = puppet.fragments(0, stage.entropy(400), dcep.BINARY, 100)
    for chunk in chunks[:2]:
        puppet.send(chunk)
    puppet.send(ForwardTsn(chunks[-1].tsn, ((0, chunks[-1].ssn),)))
    message = stage.entropy(12)
    puppet.say(0, message)
    return puppet.comes_back(message)


@case(
    "traps/sctp/forward-tsn-under-loss",
    "Many messages that are given up, with FORWARD-TSNs that come again, late and in vain, do no "
    "harm to the association.",
    sends="a hundred unordered messages of which one in ten never leaves, with a FORWARD-TSN each, "
    "old ones again, and one for what has come already",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SCTP and data channels 1",),
    lasts=1.0,
)
def forward_tsn_under_loss(stage: Stage) -> Observed:
    puppet = opened(stage)
    old = ForwardTsn((puppet.tsn - 3) & 0xFFFF_FFFF)
    for place in range(100):
        chunk = puppet.data(0, b"unordered", unordered=True)
        if place % 10 == 4:
            puppet.send(ForwardTsn(chunk.tsn))
            puppet.send(old)
            old = ForwardTsn(chunk.tsn)
        else:
            puppet.send(chunk)
        if place % 10 == 9:
            puppet.run(0.02)
    if puppet.still_echoes():
        return Reaction.ANSWERED
    return puppet.unanswered()


@case(
    "rfc3758/3.6/forward-tsn-again",
    "A FORWARD-TSN that says nothing new means that a SACK was lost: another is sent at once.",
    sends="FORWARD-TSN for what has been acknowledged",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def forward_tsn_again(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.run(0.6)
    puppet.send(ForwardTsn((puppet.tsn - 1) & 0xFFFF_FFFF))
    return acknowledged(puppet, puppet.tsn - 1, 0.3)[0]


# --- the server as a sender -----------------------------------------------------------------------


@case(
    "rfc9260/6.3.3/data-sent-again",
    "What is not acknowledged is sent again, under the same TSN.",
    sends="a message whose echo is not acknowledged for a while",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.1/23",),
    lasts=2.0,
)
def data_sent_again(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.run(0.3)
    puppet.acknowledges = False
    message = stage.entropy(12)
    puppet.say(0, message)
    puppet.run(3.5)
    tsns = [
        chunk.tsn
        for received in puppet.came
        for chunk in received.chunks
        if isinstance(chunk, Data) and chunk.payload == message
    ]
    puppet.acknowledges = True
    puppet.acknowledge()
    if not tsns:
        return puppet.unanswered()
    if len(set(tsns)) > 1:
        return Reaction.WRONG, "under another TSN"
    if len(tsns) < 2:
        return Reaction.SILENCE, "sent once"
    return Reaction.ANSWERED if puppet.still_echoes() else Reaction.DEAD


@case(
    "rfc9260/6.1/our-window",
    "Where we have no room the server sends no more than one packet of new DATA, and goes on when "
    "there is room.",
    sends="a window of 0, ten messages of 1,000 bytes, then a window again",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.1/3", "rfc9260/6.1/6"),
    lasts=1.5,
)
def our_window(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.run(0.3)
    puppet.window, puppet.acknowledges = 0, False
    puppet.acknowledge()
    puppet.run(0.1)
    start = len(puppet.came)
    sent = [stage.entropy(1000) for _ in range(10)]
    for message in sent:
        puppet.say(0, message)
    puppet.run(0.7)
    fresh = {
        chunk.tsn
        for received in puppet.came[start:]
        for chunk in received.chunks
        if isinstance(chunk, Data)
    }
    puppet.window, puppet.acknowledges = WINDOW, True
    puppet.acknowledge()
    puppet.hear(lambda *each: each[2] == sent[-1], 6.0)
    came = [each[2] for each in puppet.messages if each[2] in sent]
    if len(fresh) > 1:
        return Reaction.WRONG, f"{len(fresh)} chunks of new DATA"
    if came == sent:
        return Reaction.ANSWERED
    return puppet.unanswered()


@case(
    "rfc9260/6.5/numbers-of-the-server",
    "The server's stream sequence numbers begin with 0 and go up by one, its TSNs begin with the "
    "one that it announced.",
    sends="a data channel, and five messages",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.5/4", "rfc9260/6.5/5", "rfc9260/5.1/20", "rfc8832/6/1"),
)
def numbers_of_the_server(stage: Stage) -> Observed:
    puppet = opened(stage)
    for place in range(5):
        puppet.echoes(0, b"number %d" % place)
    chunks = {
        chunk.tsn: chunk
        for received in puppet.came
        for chunk in received.chunks
        if isinstance(chunk, Data)
    }
    first = puppet.peer.tsn if puppet.peer is not None else 0
    ordered = [chunks.get((first + place) & 0xFFFF_FFFF) for place in range(len(chunks))]
    if None in ordered:
        return Reaction.WRONG, "TSNs that do not follow the announced one"
    numbers: dict[int, int] = {}
    for chunk in ordered:
        if chunk is None or chunk.unordered:
            continue
        if chunk.ssn != numbers.get(chunk.stream, 0):
            return Reaction.WRONG, f"number {chunk.ssn} on stream {chunk.stream}"
        numbers[chunk.stream] = chunk.ssn + bool(chunk.ending)
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc9260/6.10/bundled",
    "Several chunks in one packet are all read, in their order.",
    sends="HEARTBEAT, SACK and three messages in one packet",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.10/6",),
)
def bundled(stage: Stage) -> Observed:
    puppet = opened(stage)
    chunks = [puppet.data(0, stage.entropy(12)) for _ in range(3)]
    puppet.send(Sack(puppet.cumulative, WINDOW), Heartbeat(b"bundled"), *chunks)
    puppet.hear(lambda *each: each[2] == chunks[2].payload)
    came = [each[2] for each in puppet.messages][-3:]
    if came == [chunk.payload for chunk in chunks]:
        return Reaction.ANSWERED
    return Reaction.WRONG if puppet.is_alive() else Reaction.DEAD


# --- how much a packet can bring about ------------------------------------------------------------


@case(
    "rfc9260/12.4/more-answers-than-fit",
    "Where a packet asks for more than fits into one in answer, the rest of the answers is let go.",
    sends="two HEARTBEATs and sixty short chunks that are to be reported, in one packet",
    profiles=DATACHANNEL,
    # Who reports none of them, or few, is within the rule.
    good=(Reaction.ANSWERED, Reaction.SILENCE),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
    requirements=("rfc9260/12.4/2",),
)
def more_answers_than_fit(stage: Stage) -> Observed:
    # A report of such a chunk is half as long again as the chunk.
    unknown = [Unknown(0xFE, 0, b"what is this") for _ in range(60)]
    return associated(stage).packets_in_answer(Heartbeat(b"first"), *unknown, Heartbeat(b"last"))
