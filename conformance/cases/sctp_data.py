"""DATA and what acknowledges it (RFC 9260, section 6; RFC 3758).

Two things show what became of DATA: the SACK, which is the transport's word, and the echo, which is
the application's. Where they differ, the case says which one it is about.
"""

from conformance.case import Observed, Unsupported, case
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
    prepare,
)
from conformance.stage import Stage
from transceiver.datachannel import messages as dcep
from transceiver.sctp.causes import InvalidStream, NoUserData
from transceiver.sctp.chunks import (
    BEGINNING,
    ENDING,
    Abort,
    Error,
    Sack,
    encode_data,
)
from transceiver.sctp.packet import Packet

# --- acknowledgements -----------------------------------------------------------------------------


@case(
    "rfc9260/5.1/first-data-acknowledged-at-once",
    "The first DATA of an association is acknowledged at once.",
    sends="the announcement of a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.1/18", "rfc9260/6.2/1", "rfc9260/6.2/17"),
)
def first_data(stage: Stage) -> Observed:
    puppet = associated(stage)
    first = puppet.say(0, dcep.Open("case").encode(), dcep.DCEP)
    return acknowledged(puppet, first.tsn, 0.15)[0]


@case(
    "rfc9260/6.2/lone-data-within-half-a-second",
    "A lone packet of DATA is acknowledged within half a second.",
    sends="one message, and then nothing",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.2/14", "rfc9260/6.2/1"),
)
def lone_data(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.run(1.0)
    lone = puppet.say(0, b"lone")
    return acknowledged(puppet, lone.tsn, 0.55)[0]


@case(
    "rfc9260/6.2/gap-reported",
    "When DATA is missing, what came behind it is acknowledged at once as a gap block.",
    sends="two messages of which the first does not leave, then the first",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.2/17", "rfc9260/6.2/18", "rfc9260/3.3.4/1"),
)
def gap_reported(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.run(0.6)
    missing, beyond = puppet.data(0, b"missing"), puppet.data(0, b"beyond")
    puppet.send(beyond)
    seen, sack = acknowledged(puppet, missing.tsn - 1, 0.15)
    if sack is None or seen is Reaction.WRONG:
        return seen
    if sack.gaps != ((2, 2),):
        return Reaction.WRONG, f"gaps {sack.gaps}"
    puppet.send(missing)
    return acknowledged(puppet, beyond.tsn, 0.55)[0]


@case(
    "rfc9260/6.2/several-gaps",
    "Each island of DATA behind a gap is reported, in order.",
    sends="twelve messages of which the first, fourth, fifth and ninth do not leave",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.2/18", "rfc9260/6.7/7"),
)
def several_gaps(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.run(0.6)
    chunks = [puppet.data(0, bytes((place,))) for place in range(12)]
    before = chunks[0].tsn - 1
    for place, chunk in enumerate(chunks):
        if place not in (0, 3, 4, 8):
            puppet.send(chunk)
    wanted = ((2, 3), (6, 8), (10, 12))

    def find(received: Packet) -> bool | None:
        return (
            True
            if any(
                isinstance(each, Sack) and each.gaps == wanted and each.cumulative == before
                for each in received.chunks
            )
            else None
        )

    seen, _ = puppet.reaction(find)
    return seen


@case(
    "rfc9260/6.2/duplicates-reported",
    "DATA that comes again is acknowledged at once, and named as a duplicate.",
    sends="a message twice",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.2/21",),
)
def duplicates_reported(stage: Stage) -> Observed:
    puppet = joined(stage)
    again = puppet.say(0, b"twice")
    puppet.run(0.6)
    puppet.send(again)
    seen, sack = acknowledged(puppet, again.tsn, 0.15)
    if sack is not None and again.tsn not in sack.duplicates:
        return Reaction.WRONG, "acknowledged, but not as a duplicate"
    return seen


@case(
    "rfc9260/6.2/duplicates-not-delivered",
    "DATA that comes again is not told to the application again.",
    sends="a message three times, once behind another",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def duplicates_not_delivered(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(12)
    again = puppet.say(0, message)
    puppet.send(again)
    puppet.say(0, b"between")
    puppet.send(again)
    puppet.run(0.8)
    came = [each for each in puppet.messages if each[2] == message]
    if len(came) > 1:
        return Reaction.WRONG, f"came back {len(came)} times"
    if not came:
        return Reaction.SILENCE
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc7053/5.2/immediate-acknowledgement",
    "DATA with the I bit is acknowledged at once.",
    sends="a message with the I bit",
    profiles=DATACHANNEL,
    good=(Reaction.ANSWERED,),
    lenient=(Reaction.SILENCE,),  # a SHOULD
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
)
def immediate(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.run(1.0)
    # Of an unknown kind, so that no echo brings a SACK along before its time.
    chunk = puppet.say(0, b"\0", 999, immediate=True)
    return acknowledged(puppet, chunk.tsn, 0.12)[0]


@case(
    "rfc9260/6.5/invalid-stream",
    "DATA on a stream beyond those agreed on is acknowledged, and answered with an Invalid Stream "
    "Identifier error.",
    sends="DATA on stream 65534, where there are fewer",
    profiles=DATACHANNEL,
    good=(Reaction.ERROR,),
    lenient=(Reaction.ABORTED, Reaction.SILENCE),
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.DEAD),
    requirements=("rfc9260/6.5/1",),
)
def invalid_stream(stage: Stage) -> Observed:
    puppet = associated(stage)
    inbound = puppet.peer.inbound if puppet.peer is not None else 0
    if inbound == 65535:
        raise Unsupported("the server has all streams that there are")
    chunk = puppet.say(65534, b"beyond")

    def find(received: Packet) -> Reaction | None:
        for each in received.chunks:
            match each:
                case Error(causes=(InvalidStream(stream=65534), *_)):
                    return Reaction.ERROR
                case Error():
                    return Reaction.WRONG
                case Abort():
                    return Reaction.ABORTED
        return None

    seen = puppet.wait(find)
    if not puppet.is_alive():
        return Reaction.ABORTED if seen is Reaction.ABORTED else Reaction.DEAD
    acknowledged = any(
        isinstance(each, Sack) and each.cumulative == chunk.tsn
        for received in puppet.came
        for each in received.chunks
    )
    if not acknowledged:
        return Reaction.WRONG, "not acknowledged"
    return seen or Reaction.SILENCE


@case(
    "rfc9260/6.2/no-user-data",
    "DATA without user data ends the association with ABORT, cause No User Data.",
    sends="DATA of length 16",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),  # the ABORT is a SHOULD
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.1/6",),
)
def no_user_data(stage: Stage) -> Observed:
    puppet = associated(stage)
    parts = encode_data(BEGINNING | ENDING, puppet.tsn, 0, 0, dcep.BINARY, b"")
    puppet.send_raw(puppet.assembled(parts))

    def find(received: Packet) -> Reaction | None:
        for each in received.chunks:
            match each:
                case Abort(causes=(NoUserData(), *_)) | Abort(causes=()):
                    return Reaction.ABORTED
                case Abort():
                    return Reaction.WRONG
        return None

    return puppet.wait(find) or puppet.unanswered()


@case(
    "rfc9260/12.4/sack-for-what-was-never-sent",
    "A SACK for DATA that the server has never sent ends the association.",
    sends="SACK of a TSN a thousand ahead",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    # It is about forged acknowledgements, of which DTLS leaves none.
    lenient=(Reaction.SILENCE, Reaction.ERROR),
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.DEAD),
    requirements=("rfc9260/12.4/5",),
)
def sack_for_nothing(stage: Stage) -> Observed:
    puppet = joined(stage)
    puppet.send(Sack((puppet.cumulative + 1000) & 0xFFFF_FFFF, WINDOW))
    return puppet.silence()


# --- order and reassembly -------------------------------------------------------------------------


@case(
    "rfc9260/6.6/order-within-a-stream",
    "Messages of a stream are delivered in their order, whatever the order in which they come.",
    sends="five messages, the first last",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.6/1", "rfc9260/6.6/2"),
)
def order_within_a_stream(stage: Stage) -> Observed:
    puppet = opened(stage)
    chunks = [puppet.data(0, b"in order %d" % place) for place in range(5)]
    for place in (3, 1, 4, 2, 0):
        puppet.send(chunks[place])
    puppet.run(1.0)
    came = [each[2] for each in puppet.messages if each[2].startswith(b"in order")]
    if came == [chunk.payload for chunk in chunks]:
        return Reaction.ANSWERED
    if came:
        return Reaction.WRONG, f"{len(came)} of 5, or not in order"
    return puppet.unanswered()


@case(
    "rfc9260/6.6/unordered-past-a-gap",
    "An unordered message is delivered at once, whatever is missing before it.",
    sends="an ordered message that does not leave, then an unordered one, then the first",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.3.1/4", "rfc9260/3.3.1/3"),
)
def unordered_past_a_gap(stage: Stage) -> Observed:
    puppet = opened(stage)
    missing = puppet.data(0, stage.entropy(12))
    message = stage.entropy(12)
    puppet.say(0, message, unordered=True)
    seen = puppet.comes_back(message, 1.2)
    puppet.send(missing)
    return seen if seen is not Reaction.ANSWERED else puppet.comes_back(missing.payload)


@case(
    "rfc9260/6.6/streams-do-not-wait-for-one-another",
    "What is missing on one stream holds up no other.",
    sends="a message on one channel that does not leave, then one on another",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def streams_apart(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.need_channel(2)
    missing = puppet.data(0, stage.entropy(12))
    message = stage.entropy(12)
    puppet.say(2, message)
    if puppet.hear(lambda *each: each == (2, dcep.BINARY, message)) is None:
        return puppet.unanswered()
    puppet.send(missing)
    return puppet.comes_back(missing.payload)


@case(
    "rfc9260/6.9/fragments-in-any-order",
    "A message is put together from its fragments in whatever order they come.",
    sends="a message in six fragments, from the last to the first",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.9/1", "rfc9260/6.9/15"),
)
def fragments_in_any_order(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(600)
    for chunk in reversed(puppet.fragments(0, message, dcep.BINARY, 100)):
        puppet.send(chunk)
    return puppet.comes_back(message)


@case(
    "rfc9260/6.9/fragment-lost-and-sent-again",
    "A message is delivered when the fragment that was lost has come, and not before.",
    sends="a message in five fragments, the third of them late",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.9/1",),
)
def fragment_lost(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(500)
    chunks = puppet.fragments(0, message, dcep.BINARY, 100)
    late = chunks.pop(2)
    for chunk in chunks:
        puppet.send(chunk)
    puppet.run(0.5)
    if any(len(each[2]) > 12 for each in puppet.messages):
        return Reaction.WRONG, "delivered with a hole in it"
    puppet.send(late)
    return puppet.comes_back(message)


def _large(stage: Stage, size: int) -> Observed:
    puppet = opened(stage)
    most = puppet.call.told.max_message_size
    if most is not None and 0 < most < size:
        # Not a fault of the server's: it has said so.
        size = most
    message = stage.entropy(64) * (size // 64 + 1)
    message = message[:size]
    chunks = puppet.fragments(0, message, dcep.BINARY)
    for place, chunk in enumerate(chunks):
        puppet.send(chunk)
        if place % 16 == 15:
            puppet.run(0.01)
    # The client's own announcement is what bounds the echo: 262,144 bytes.
    return puppet.comes_back(message, 8.0), f"{size} bytes"


@case(
    "traps/sctp/message-of-16-kib",
    "A message of more than 16 KiB is taken whole and given back whole.",
    sends="a message of 20,000 bytes in fragments",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.9/1", "rfc9260/6.9/2", "rfc9260/6.9/12", "rfc9260/6.9/14"),
    traps=("SCTP and data channels 2",),
    lasts=1.0,
)
def message_of_16_kib(stage: Stage) -> Observed:
    return _large(stage, 20_000)


@case(
    "traps/sctp/message-of-64-kib",
    "A message of more than 64 KiB is taken whole and given back whole, if the answer says so.",
    sends="a message of 100,000 bytes in fragments, or of as many as the answer allows",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/6.9/1",),
    traps=("SCTP and data channels 2",),
    lasts=2.0,
)
def message_of_64_kib(stage: Stage) -> Observed:
    return _large(stage, 100_000)


@case(
    "traps/sctp/message-beyond-the-maximum",
    "A message that is longer than the answer allows does no harm to the association.",
    sends="a message a thousand bytes longer than max-message-size",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE, Reaction.ANSWERED),
    lenient=(Reaction.ABORTED,),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    traps=("SCTP and data channels 2",),
    lasts=1.0,
)
def message_beyond_the_maximum(stage: Stage) -> Observed:
    puppet = opened(stage)
    most = puppet.call.told.max_message_size or 0
    if not 0 < most <= 300_000:
        raise Unsupported("the server sets no bound that could be passed in a case")
    message = bytes(most + 1000)
    for place, chunk in enumerate(puppet.fragments(0, message, dcep.BINARY)):
        puppet.send(chunk)
        if place % 16 == 15:
            puppet.run(0.01)
    seen = puppet.silence()
    return Reaction.SILENCE if seen is Reaction.WRONG else seen  # the channel may be closed


@case(
    "rfc9260/1.6/tsn-wrap",
    "TSNs wrap, and nothing is lost by it.",
    sends="an association whose first TSN is 2^32 - 4, and ten messages",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/1.6/1",),
)
def tsn_wrap(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.tsn = 0xFFFF_FFFC
    puppet.associate()
    puppet.need_channel(0)
    puppet.need_echo(0)
    for place in range(10):
        message = b"across the wrap %d" % place
        if not puppet.echoes(0, message):
            return puppet.unanswered()
    return Reaction.ANSWERED
