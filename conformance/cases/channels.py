"""Data channels: how they are announced (RFC 8832) and what they carry (RFC 8831).

A channel that is agreed to and carries nothing is none, so each case that opens one has a message
come back, or sees that it is closed. Where a server ignores an announcement, HEARTBEAT tells
whether it is still there.
"""

from conformance.case import Case, Observed, Seen, Unsupported, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import PATIENCE, Puppet, associated, joined, opened, resets
from conformance.stage import Stage
from transceiver.datachannel import messages as dcep
from transceiver.sctp.chunks import Data, ForwardTsn


class Channel(Seen):
    """What became of a channel, or of something said on one."""

    AGREED = "it is agreed to, and works"
    WRONG = "it is agreed to, and does not work as it should"
    CLOSED = "it is closed again, and the association lives"
    IGNORED = "nothing comes of it, and the association lives"
    DEAD = "nothing comes of it, and the association is gone"


_FAULTS = (Channel.WRONG, Channel.CLOSED, Channel.IGNORED, Channel.DEAD)
_REFUSED = (Channel.CLOSED,)


def _after(puppet: Puppet, stream: int) -> Channel:
    """What has become of what should not be agreed to."""
    reverse = resets(puppet, stream, PATIENCE)
    if reverse is not None:
        puppet.answer_reset(reverse)
        return Channel.CLOSED if puppet.is_alive() else Channel.DEAD
    return Channel.IGNORED if puppet.is_alive() else Channel.DEAD


def _works(puppet: Puppet, stream: int, *, ordered: bool = True) -> tuple[Channel, str]:
    """A channel that was agreed to: what is said on it comes back, if anything does, and in the
    manner of the channel."""
    ack = next(
        (
            chunk
            for received in puppet.came
            for chunk in received.chunks
            if isinstance(chunk, Data) and chunk.stream == stream and chunk.ppid == dcep.DCEP
        ),
        None,
    )
    if ack is None or ack.unordered:
        return Channel.WRONG, "its agreement is not ordered"
    message = puppet.stage.entropy(9)
    if not puppet.echoes(stream, message):
        if not puppet.is_alive():
            return Channel.DEAD, ""
        # Whether the application gives messages back shows on a plain channel.
        if puppet.open_channel(20) and puppet.still_echoes(20):
            return Channel.WRONG, "nothing comes back on it, though it does on another"
    for received in puppet.came:
        for chunk in received.chunks:
            if isinstance(chunk, Data) and chunk.payload == message and chunk.unordered == ordered:
                return Channel.WRONG, "ordered" if ordered is False else "not ordered"
    return Channel.AGREED, ""


def _open(stage: Stage, announcement: dcep.Open, stream: int = 0) -> Observed:
    puppet = associated(stage)
    if puppet.open_channel(stream, announcement):
        return _works(puppet, stream, ordered=announcement.ordered)
    return _after(puppet, stream)


def _open_bytes(stage: Stage, announcement: bytes, stream: int = 0) -> Observed:
    puppet = associated(stage)
    start = len(puppet.messages)
    puppet.say(stream, announcement, dcep.DCEP)
    if puppet.is_agreed(stream, since=start):
        return Channel.AGREED
    seen = _after(puppet, stream)
    if seen is not Channel.DEAD and not puppet.open_channel(stream + 2):
        return Channel.DEAD, "no other channel can be opened afterwards"
    return seen


# --- announcing -----------------------------------------------------------------------------------


@case(
    "rfc8832/6/agreement",
    "DATA_CHANNEL_OPEN is answered with DATA_CHANNEL_ACK on the same stream, in order, under the "
    "identifier of DCEP.",
    sends="DATA_CHANNEL_OPEN on stream 0",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8832/6/1", "rfc8832/6/2", "rfc8832/6/3"),
)
def agreement(stage: Stage) -> Observed:
    return _open(stage, dcep.Open("case"))


@case(
    "rfc8832/5.2/agreement-is-one-octet",
    "DATA_CHANNEL_ACK is one byte, its type.",
    sends="DATA_CHANNEL_OPEN on stream 0",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    lenient=(Channel.WRONG,),  # who reads it has no use for more, and every client does without
    bad=(Channel.CLOSED, Channel.IGNORED, Channel.DEAD),
)
def agreement_is_one_octet(stage: Stage) -> Observed:
    puppet = associated(stage)
    if not puppet.open_channel(0):
        return _after(puppet, 0)
    answer = next(payload for _, ppid, payload in puppet.messages if ppid == dcep.DCEP)
    return Channel.AGREED if len(answer) == 1 else (Channel.WRONG, f"{len(answer)} bytes")


_KINDS = (
    ("reliable-unordered", dcep.Open("case", ordered=False)),
    ("retransmissions-bounded", dcep.Open("case", retransmissions=3)),
    ("no-retransmissions", dcep.Open("case", retransmissions=0)),
    ("retransmissions-bounded-unordered", dcep.Open("case", ordered=False, retransmissions=3)),
    ("lifetime-bounded", dcep.Open("case", lifetime=0.5)),
    ("lifetime-bounded-unordered", dcep.Open("case", ordered=False, lifetime=0.5)),
)


def _kind(name: str, announcement: dcep.Open) -> Case:
    @case(
        f"rfc8832/5.1/{name}",
        "A channel of each type is agreed to, and carries messages both ways.",
        sends=f"DATA_CHANNEL_OPEN of type {announcement.encode()[1]:#04x}, then a message",
        profiles=DATACHANNEL,
        good=(Channel.AGREED,),
        bad=_FAULTS,
        requirements=("rfc8832/6/9", "rfc8831/6.6/1", "rfc8831/6.1/7"),
    )
    def steps(stage: Stage) -> Observed:
        return _open(stage, announcement)

    return steps


KINDS = tuple(_kind(*each) for each in _KINDS)


@case(
    "rfc8832/5.1/parameter-of-a-reliable-channel",
    "The reliability parameter of a reliable channel is ignored.",
    sends="DATA_CHANNEL_OPEN of type 0x00 with reliability parameter 77",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8832/5.1/1",),
)
def parameter_ignored(stage: Stage) -> Observed:
    return _open_bytes(stage, b"\3\0\0\0\0\0\0\x4d\0\1\0\0x")


@case(
    "rfc8832/5.1/priorities",
    "A channel of any priority is agreed to.",
    sends="DATA_CHANNEL_OPEN with priorities 0, 128, 1024 and 65535, each on a stream of its own",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
)
def priorities(stage: Stage) -> Observed:
    puppet = associated(stage)
    for place, priority in enumerate((0, 128, 1024, 65535)):
        if not puppet.open_channel(2 * place, dcep.Open("case", priority=priority)):
            return _after(puppet, 2 * place)
    return Channel.AGREED


@case(
    "rfc8832/5.1/labels",
    "A channel may have no label, one of several scripts, or a long one, and a protocol.",
    sends="DATA_CHANNEL_OPEN with an empty label, one in UTF-8, one of 250 bytes, and a protocol",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
)
def labels(stage: Stage) -> Observed:
    puppet = associated(stage)
    named = (("", ""), ("\u00e6\u4f60\U0001f600", ""), ("x" * 250, ""), ("case", "a.protocol"))
    for place, (label, protocol) in enumerate(named):
        if not puppet.open_channel(2 * place, dcep.Open(label, protocol)):
            return _after(puppet, 2 * place)
    return Channel.AGREED


@case(
    "rfc8832/5.1/label-that-is-no-text",
    "A label that is no UTF-8 does no harm.",
    sends="DATA_CHANNEL_OPEN with a label of bytes 0xff and 0xc0",
    profiles=DATACHANNEL,
    good=(Channel.CLOSED, Channel.AGREED),
    lenient=(Channel.IGNORED,),
    bad=(Channel.WRONG, Channel.DEAD),
    requirements=("rfc8832/6/6",),
)
def label_no_text(stage: Stage) -> Observed:
    return _open_bytes(stage, b"\3\0\0\0\0\0\0\0\0\2\0\0\xff\xc0")


def _broken(
    name: str,
    what: str,
    sends: str,
    announcement: bytes,
    good: tuple[Channel, ...] = _REFUSED,
) -> Case:
    @case(
        f"rfc8832/6/{name}",
        what,
        sends=sends,
        profiles=DATACHANNEL,
        good=good,
        # Nothing is opened, and the client waits for an answer.
        lenient=() if Channel.IGNORED in good else (Channel.IGNORED,),
        bad=(Channel.AGREED, Channel.WRONG, Channel.DEAD),
        requirements=("rfc8832/6/6", "rfc8832/6/4"),
    )
    def steps(stage: Stage) -> Observed:
        return _open_bytes(stage, announcement)

    return steps


BROKEN = (
    _broken(
        "announcement-cut-short",
        "An announcement that ends inside its fields opens nothing: its stream is reset.",
        "the first eleven bytes of DATA_CHANNEL_OPEN",
        b"\3\0\0\0\0\0\0\0\0\0\0",
    ),
    _broken(
        "label-past-the-end",
        "An announcement whose label is longer than its message opens nothing.",
        "DATA_CHANNEL_OPEN with a label of 65,535 bytes, of which four are there",
        b"\3\0\0\0\0\0\0\0\xff\xff\0\0case",
    ),
    _broken(
        "unknown-channel-type",
        "An announcement of a type of channel that nobody knows opens nothing.",
        "DATA_CHANNEL_OPEN with channel type 0x55",
        b"\3\x55\0\0\0\0\0\0\0\4\0\0case",
    ),
    _broken(
        "unknown-message",
        "A message of DCEP that nobody knows closes the channel that it came on.",
        "a DCEP message of type 0x7f",
        b"\x7fwhat",
    ),
    _broken(
        "agreement-to-nothing",
        "A DATA_CHANNEL_ACK for a channel that nobody announced opens nothing.",
        "DATA_CHANNEL_ACK on stream 0",
        b"\2",
        (Channel.CLOSED, Channel.IGNORED),
    ),
)


@case(
    "rfc8832/6/announced-twice",
    "An announcement on a stream that has a channel closes it, or is let go: there is never a "
    "second channel on it.",
    sends="DATA_CHANNEL_OPEN twice on one stream",
    profiles=DATACHANNEL,
    good=_REFUSED,
    lenient=(Channel.IGNORED,),
    bad=(Channel.AGREED, Channel.WRONG, Channel.DEAD),
    requirements=("rfc8831/6.5/1", "rfc8832/6/6", "rfc8832/6/10"),
)
def announced_twice(stage: Stage) -> Observed:
    puppet = joined(stage)
    start = len(puppet.messages)
    puppet.say(0, dcep.Open("again").encode(), dcep.DCEP)
    seen = _after(puppet, 0)
    if seen is Channel.IGNORED and puppet.is_agreed(0, since=start):
        return Channel.AGREED
    return seen


@case(
    "rfc8832/6/number-of-the-wrong-side",
    "DTLS's client opens channels on even streams; one that it opens on an odd one is closed.",
    sends="DATA_CHANNEL_OPEN on stream 1",
    profiles=DATACHANNEL,
    good=_REFUSED,
    # Some clients choose by their role in ICE, and no two sides open the same here.
    lenient=(Channel.AGREED, Channel.IGNORED),
    bad=(Channel.WRONG, Channel.DEAD),
    requirements=("rfc8832/4/2", "rfc8832/4/3", "rfc8832/6/6"),
)
def number_of_the_wrong_side(stage: Stage) -> Observed:
    return _open(stage, dcep.Open("case"), 1)


@case(
    "rfc8832/6/odd-streams-as-dtls-server",
    "Where the server is DTLS's client, channels that the offerer opens are on odd streams.",
    sends="an offer with a=setup:passive, and DATA_CHANNEL_OPEN on stream 1",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8832/6/5", "rfc8832/4/3"),
)
def odd_streams(stage: Stage) -> Observed:
    puppet = associated(stage, setup="passive")
    if puppet.call.told.setup != "active":
        raise Unsupported("is DTLS's server whatever is offered")
    if puppet.open_channel(1):
        return _works(puppet, 1)
    return _after(puppet, 1)


@case(
    "rfc8831/6.2/many-channels",
    "Many channels can be open at once.",
    sends="DATA_CHANNEL_OPEN on 40 streams, and a message on the first and the last",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8831/6.1/2",),
)
def many_channels(stage: Stage) -> Observed:
    puppet = opened(stage)
    for place in range(1, 40):
        puppet.say(2 * place, dcep.Open(f"case {place}").encode(), dcep.DCEP)
    for place in range(1, 40):
        if not puppet.is_agreed(2 * place):
            return _after(puppet, 2 * place)
    return _works(puppet, 78) if puppet.still_echoes() else Channel.WRONG


@case(
    "rfc8832/6/said-before-the-agreement",
    "A client may speak before its announcement has been agreed to: what it says is delivered.",
    sends="DATA_CHANNEL_OPEN and a message in one packet",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8832/6/8",),
)
def said_before(stage: Stage) -> Observed:
    puppet = opened(stage)
    opening = puppet.data(2, dcep.Open("early").encode(), dcep.DCEP)
    message = stage.entropy(12)
    puppet.send(opening, puppet.data(2, message))
    if puppet.hear(lambda *each: each == (2, dcep.BINARY, message)) is not None:
        return Channel.AGREED
    return _after(puppet, 2)


@case(
    "rfc8831/6.6/unannounced-stream",
    "A message on a stream that nobody has announced is not delivered, and does no harm.",
    sends="a binary message on stream 6",
    profiles=DATACHANNEL,
    good=(Channel.CLOSED, Channel.IGNORED),
    bad=(Channel.AGREED, Channel.WRONG, Channel.DEAD),
)
def unannounced_stream(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(12)
    puppet.say(6, message)
    if puppet.hear(lambda *each: each[2] == message, 0.4) is not None:
        return Channel.WRONG, "it comes back"
    return _after(puppet, 6)


@case(
    "rfc8831/6.1/given-up-by-the-server",
    "What the server says on a channel without retransmissions it does not say again: it gives it "
    "up with FORWARD-TSN.",
    sends="a channel of type 0x81 with parameter 0, and a message whose echo is not acknowledged",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8831/6.1/6", "rfc8831/6.1/7", "rfc8831/6.6/1"),
    lasts=2.0,
)
def given_up_by_the_server(stage: Stage) -> Observed:
    puppet = opened(stage)
    if not puppet.open_channel(2, dcep.Open("case", ordered=False, retransmissions=0)):
        return _after(puppet, 2)
    puppet.run(0.3)
    puppet.acknowledges = False
    message = stage.entropy(12)
    puppet.say(2, message)
    gave_up = puppet.chunk(ForwardTsn, 4.0)
    copies = sum(
        isinstance(chunk, Data) and chunk.payload == message
        for received in puppet.came
        for chunk in received.chunks
    )
    puppet.acknowledges = True
    puppet.acknowledge()
    if copies > 1:
        return Channel.WRONG, f"said {copies} times"
    if gave_up is None:
        return Channel.IGNORED if puppet.is_alive() else Channel.DEAD
    puppet.pass_to(gave_up.cumulative)
    return Channel.AGREED if puppet.still_echoes() else Channel.WRONG


# --- messages -------------------------------------------------------------------------------------


def _returns(stage: Stage, ppid: int, message: bytes, wanted: tuple[int, bytes]) -> Observed:
    """Whether a message comes back as ``wanted``: identifier and payload."""
    puppet = opened(stage)
    start = len(puppet.messages)
    puppet.say(0, message, ppid)
    if puppet.hear(lambda *each: each == (0, *wanted), since=start) is not None:
        return Channel.AGREED
    other = next((each for each in puppet.messages[start:] if each[1] != dcep.DCEP), None)
    if other is not None:
        return Channel.WRONG, f"it comes back as {other[1]}, {len(other[2])} bytes"
    return _after(puppet, 0)


def _message(name: str, what: str, ppid: int, message: bytes, wanted: tuple[int, bytes]) -> Case:
    @case(
        f"rfc8831/6.6/{name}",
        what,
        sends=f"a message under identifier {ppid}",
        profiles=DATACHANNEL,
        good=(Channel.AGREED,),
        bad=_FAULTS,
        requirements=("rfc8831/6.6/3", "rfc8831/6.6/4"),
    )
    def steps(stage: Stage) -> Observed:
        return _returns(stage, ppid, message, wanted)

    return steps


_TEXT = "a text \u00e6\u4f60\U0001f600".encode()
SAID = (
    _message("text", "Text arrives as the same text.", dcep.TEXT, _TEXT, (dcep.TEXT, _TEXT)),
    _message(
        "binary",
        "A binary message arrives byte for byte, whatever it holds.",
        dcep.BINARY,
        bytes(range(256)),
        (dcep.BINARY, bytes(range(256))),
    ),
    _message("one-octet", "A message may be one byte.", dcep.BINARY, b"\0", (dcep.BINARY, b"\0")),
)


def _empty(name: str, ppid: int, message: bytes, what: str) -> Case:
    @case(
        f"rfc8831/6.6/{name}",
        what,
        sends=f"a message under identifier {ppid}, of length {len(message)}",
        profiles=DATACHANNEL,
        good=(Channel.AGREED,),
        lenient=(Channel.IGNORED,),  # an application may have nothing to say to nothing
        bad=(Channel.WRONG, Channel.CLOSED, Channel.DEAD),
        requirements=("rfc8831/6.6/5", "rfc8831/6.6/4"),
    )
    def steps(stage: Stage) -> Observed:
        return _returns(stage, ppid, message, (ppid, b"\0"))

    return steps


EMPTY = (
    _empty("empty-text", dcep.TEXT_EMPTY, b"\0", "An empty text has an identifier of its own."),
    _empty(
        "empty-binary",
        dcep.BINARY_EMPTY,
        b"\0",
        "An empty binary message has an identifier of its own.",
    ),
    _empty(
        "empty-with-octets",
        dcep.TEXT_EMPTY,
        b"not empty",
        "What stands in a message that is said to be empty is ignored.",
    ),
)


@case(
    "rfc8831/6.6/unknown-identifier",
    "A message under an identifier that nobody knows is let go, and the channel lives.",
    sends="messages under identifiers 0, 99 and 2^32 - 1, then a text",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    lenient=(Channel.CLOSED,),
    bad=(Channel.WRONG, Channel.IGNORED, Channel.DEAD),
)
def unknown_identifier(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(12)
    for ppid in (0, 99, 0xFFFF_FFFF):
        puppet.say(0, message, ppid)
    if puppet.still_echoes():
        return Channel.AGREED
    return _after(puppet, 0)


@case(
    "rfc8831/6.6/text-that-is-none",
    "A text that is no UTF-8 does no harm to the association.",
    sends="bytes 0xff and 0xc0 as a text",
    profiles=DATACHANNEL,
    good=(Channel.CLOSED, Channel.IGNORED),
    # Some hand the bytes on as they are.
    lenient=(Channel.AGREED,),
    bad=(Channel.WRONG, Channel.DEAD),
)
def text_that_is_none(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.say(0, b"\xff\xc0", dcep.TEXT)
    if puppet.hear(lambda *each: each[1] == dcep.TEXT, 0.4) is not None:
        return Channel.AGREED
    return _after(puppet, 0)


@case(
    "rfc8831/6.6/deprecated-fragments",
    "The deprecated identifiers for parts of messages do no harm, and what comes after is "
    "delivered.",
    sends="messages under identifiers 52 and 54, then under 53",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    lenient=(Channel.CLOSED,),
    bad=(Channel.WRONG, Channel.IGNORED, Channel.DEAD),
)
def deprecated_fragments(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.say(0, b"part of binary", dcep.BINARY_PARTIAL)
    puppet.say(0, b"the rest", dcep.BINARY)
    puppet.say(0, b"part of text", dcep.TEXT_PARTIAL)
    puppet.say(0, b"the rest", dcep.TEXT)
    if puppet.still_echoes():
        return Channel.AGREED
    return _after(puppet, 0)


@case(
    "rfc8831/6.6/one-message-each",
    "Each message of the application is one message on the wire: what was said in pieces does not "
    "come back in one.",
    sends="twenty messages in a row, of different lengths",
    profiles=DATACHANNEL,
    good=(Channel.AGREED,),
    bad=_FAULTS,
    requirements=("rfc8831/6.6/2", "rfc8831/6.6/3"),
)
def one_message_each(stage: Stage) -> Observed:
    puppet = opened(stage)
    start = len(puppet.messages)
    said = [stage.entropy(1 + 7 * place) for place in range(20)]
    for message in said:
        puppet.say(0, message)
    puppet.hear(lambda *each: each[2] == said[-1], 3.0, since=start)
    came = [payload for _, ppid, payload in puppet.messages[start:] if ppid == dcep.BINARY]
    if came == said:
        return Channel.AGREED
    return (Channel.WRONG, f"{len(came)} messages") if puppet.is_alive() else Channel.DEAD
