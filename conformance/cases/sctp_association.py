"""Cookies, tags, chunks that nobody knows, and signs of life (RFC 9260, sections 3.2, 5.2, 8).

Inside DTLS nobody else can send these packets, so here the rules are less about attacks than about
clients that restart, repeat themselves or know more than the server does.
"""

from conformance.case import Case, Observed, Unsupported, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import (
    ANSWERED,
    LET_GO,
    NOT_ANSWERED,
    NOT_LET_GO,
    Puppet,
    Reaction,
    associated,
    opened,
    prepare,
)
from conformance.stage import Stage
from transceiver.sctp import packet as packets
from transceiver.sctp.causes import StaleCookie, UnrecognizedChunk
from transceiver.sctp.chunks import (
    Abort,
    CookieAck,
    CookieEcho,
    Error,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    Sack,
    ShutdownComplete,
    Unknown,
)
from transceiver.sctp.packet import Packet, checksum_matches
from transceiver.sctp.parameters import OverIp, StateCookie


def _cookie_ack(received: Packet) -> bool | None:
    return True if any(isinstance(each, CookieAck) for each in received.chunks) else None


# --- cookies --------------------------------------------------------------------------------------


@case(
    "rfc9260/5.1/cookie-ack",
    "COOKIE ECHO is answered with COOKIE ACK, which stands first in its packet.",
    sends="INIT, and COOKIE ECHO with the cookie that came",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.1/8", "rfc9260/3.3.12/1", "rfc9260/5.1.5/6"),
)
def cookie_ack(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    puppet.send(CookieEcho(puppet.cookie()))
    seen, _ = puppet.reaction(_cookie_ack)
    if seen is not Reaction.ANSWERED:
        return seen
    received = next(each for each in puppet.came if _cookie_ack(each))
    if not isinstance(received.chunks[0], CookieAck):
        return Reaction.WRONG, "not the first chunk"
    return seen if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc9260/5.2.4/cookie-again",
    "A COOKIE ECHO that comes again is answered again, and changes nothing.",
    sends="COOKIE ECHO twice",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.2.4/8",),
)
def cookie_again(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(CookieEcho(puppet.cookie()))
    seen, _ = puppet.reaction(_cookie_ack)
    return seen if seen is not Reaction.ANSWERED or puppet.is_alive() else Reaction.DEAD


@case(
    "rfc9260/5.1.5/cookie-tampered",
    "A cookie that is not the server's own is let go without a word.",
    sends="COOKIE ECHO with a bit of the cookie turned over, then the right one",
    profiles=DATACHANNEL,
    good=LET_GO,
    bad=NOT_LET_GO,
    requirements=("rfc9260/5.1.5/3", "rfc9260/4/1", "rfc9260/5.1.3/1"),
)
def cookie_tampered(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    cookie = puppet.cookie()
    for place in (0, len(cookie) // 2, len(cookie) - 1):
        spoilt = bytearray(cookie)
        spoilt[place] ^= 1
        puppet.send(CookieEcho(bytes(spoilt)))
    return _no_association(puppet, CookieEcho(cookie))


def _no_association(puppet: Puppet, good: CookieEcho) -> Reaction:
    """That nothing has come of what was sent, and that the good cookie is taken after it."""

    def find(received: Packet) -> Reaction | None:
        match received.chunks[0]:
            case CookieAck():
                return Reaction.ANSWERED
            case Init():
                return None
            case Abort():
                return Reaction.ABORTED
            case Error():
                return Reaction.ERROR
        return Reaction.WRONG

    seen = puppet.wait(find, 0.4)
    if seen is not None:
        return seen
    puppet.send(good)
    return Reaction.SILENCE if puppet.wait(_cookie_ack) else Reaction.DEAD


@case(
    "rfc9260/5.1.5/cookie-under-another-tag",
    "A COOKIE ECHO whose packet has another tag than the server gave is let go.",
    sends="COOKIE ECHO in a packet with a wrong tag, then in one with the right one",
    profiles=DATACHANNEL,
    good=LET_GO,
    bad=NOT_LET_GO,
    requirements=("rfc9260/5.1.5/4",),
)
def cookie_under_another_tag(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    echo = CookieEcho(puppet.cookie())
    puppet.send(echo, tag=puppet.peer_tag ^ 1)
    return _no_association(puppet, echo)


@case(
    "rfc9260/5.1/cookie-with-data",
    "DATA may come in the packet with COOKIE ECHO, and is taken.",
    sends="COOKIE ECHO, and the announcement of a data channel beside it",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.1/7", "rfc9260/3.3.11/1"),
)
def cookie_with_data(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    opening = puppet.data(0, b"\x03" + bytes(11), 50)
    puppet.send(CookieEcho(puppet.cookie()), opening)

    def find(received: Packet) -> bool | None:
        return (
            True
            if any(
                isinstance(each, Sack) and each.cumulative == opening.tsn
                for each in received.chunks
            )
            else None
        )

    return puppet.reaction(find)[0]


@case(
    "rfc9260/5.1.5/cookie-stale",
    "A cookie that took longer than it lives is answered with a Stale Cookie error, and begins "
    "nothing.",
    sends="COOKIE ECHO 62 s after the INIT ACK",
    profiles=DATACHANNEL,
    good=(Reaction.ERROR,),
    # How long a cookie lives is the server's to say.
    lenient=(Reaction.ANSWERED,),
    bad=(Reaction.WRONG, Reaction.ABORTED, Reaction.SILENCE, Reaction.DEAD),
    requirements=("rfc9260/5.1.5/5", "rfc9260/4/2"),
    without={"udp": "a cookie lives for a minute"},
    lasts=62.0,
)
def cookie_stale(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    echo = CookieEcho(puppet.cookie())
    puppet.run(62.0)
    puppet.send(echo)

    def find(received: Packet) -> Reaction | None:
        match received.chunks[0]:
            case CookieAck():
                return Reaction.ANSWERED
            case Error(causes=causes):
                stale = any(isinstance(cause, StaleCookie) for cause in causes)
                return Reaction.ERROR if stale else Reaction.WRONG
            case Abort():
                return Reaction.ABORTED
        return None

    return puppet.wait(find) or Reaction.DEAD


@case(
    "rfc9260/5.2.2/restart",
    "A client that has lost its memory begins anew: its INIT is answered with a new tag, and after "
    "its cookie the new association works.",
    sends="an association, then INIT with another tag, its cookie, and a data channel",
    profiles=DATACHANNEL,
    good=(Reaction.ANSWERED,),
    # Some stacks take a second INIT over the same DTLS for an error.
    lenient=(Reaction.ABORTED,),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.SILENCE, Reaction.DEAD),
    requirements=("rfc9260/5.2.2/1", "rfc9260/5.2.2/8", "rfc9260/5.2.2/7", "rfc9260/5.3.1/3"),
)
def restart(stage: Stage) -> Observed:
    puppet = opened(stage)
    old = puppet.peer_tag
    fresh = Puppet(puppet.call, puppet.tap, puppet.port, puppet.tag ^ 0xFFFF, puppet.tsn)
    fresh.send(fresh.init(), tag=0)
    seen, answer = _greeted(fresh)
    if answer is None:
        return seen
    if answer.tag == old:
        return Reaction.WRONG, "the same tag as before"
    fresh.associate()
    # SCTP may not tell the channels of it, and then the old one is still there.
    if not fresh.open_channel(2):
        return Reaction.WRONG, "no data channel afterwards"
    return Reaction.ANSWERED if fresh.is_alive() else Reaction.DEAD


def _greeted(puppet: Puppet) -> tuple[Reaction, InitAck | None]:
    def find(received: Packet) -> tuple[Reaction, InitAck | None] | None:
        match received.chunks[0]:
            case InitAck() as chunk if received.tag == puppet.tag:
                return Reaction.ANSWERED, chunk
            case Abort():
                return Reaction.ABORTED, None
        return None

    return puppet.wait(find) or (Reaction.SILENCE, None)


@case(
    "rfc9260/5.2.2/init-changes-nothing",
    "An INIT in the midst of an association leaves it as it is: only a cookie that comes back may "
    "change it.",
    sends="an association, INIT with another tag, then a message on the old association",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.2.2/10", "rfc9260/5.1/6"),
)
def init_changes_nothing(stage: Stage) -> Observed:
    puppet = opened(stage)
    puppet.send(puppet.init(tag=puppet.tag ^ 0xFFFF, tsn=7), tag=0)
    puppet.run(0.2)
    if puppet.still_echoes():
        return Reaction.ANSWERED
    return puppet.unanswered()


@case(
    "rfc9260/5.2.1/server-begins-too",
    "A server that begins of its own accord sends INIT alone, under tag 0, with nothing of "
    "addresses, and comes to an association with a client that only answers.",
    sends="INIT ACK to the server's INIT, and COOKIE ACK to its cookie",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=(
        *("rfc9260/3.1/4", "rfc9260/5.1/1", "rfc9260/5.1.4/1", "rfc9260/3.3.11/2"),
        *("rfc8261/6.1/5", "rfc9260/3.3.2/2", "rfc9260/8.5.1/12", "rfc9260/4/3"),
    ),
)
def server_begins_too(stage: Stage) -> Observed:
    puppet = prepare(stage)
    received = puppet.wait(lambda each: each if isinstance(each.chunks[0], Init) else None)
    if received is None:
        raise Unsupported("waits for the client to begin")
    init = received.chunks[0]
    assert isinstance(init, Init)
    if received.tag or len(received.chunks) > 1 or not init.tag:
        return Reaction.WRONG, "a tag where 0 belongs, or company"
    if any(isinstance(each, OverIp) for each in init.parameters):
        return Reaction.WRONG, "addresses"
    puppet.peer_tag = init.tag
    puppet.cumulative = (init.tsn - 1) & 0xFFFF_FFFF
    cookie = stage.entropy(60)
    answer = InitAck(puppet.tag, puppet.window, 1024, 1024, puppet.tsn, (StateCookie(cookie),))
    puppet.peer = answer
    puppet.send(answer)
    echo = puppet.wait(lambda each: each if isinstance(each.chunks[0], CookieEcho) else None)
    if echo is None:
        return Reaction.SILENCE
    first = echo.chunks[0]
    if echo.tag != puppet.tag or not isinstance(first, CookieEcho) or first.cookie != cookie:
        return Reaction.WRONG, "another cookie, or another tag"
    puppet.send(CookieAck())
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


# --- tags, ports, checksums -----------------------------------------------------------------------


@case(
    "rfc9260/8.5/wrong-tag",
    "A packet with another tag than the server gave is let go without a word.",
    sends="HEARTBEAT under a tag that is off by one, under ours, and under 0",
    profiles=DATACHANNEL,
    good=LET_GO,
    bad=NOT_LET_GO,
    requirements=("rfc9260/8.5/2", "rfc9260/8.5/3"),
)
def wrong_tag(stage: Stage) -> Observed:
    puppet = associated(stage)
    for tag in (puppet.peer_tag ^ 1, puppet.tag, 0):
        puppet.send(Heartbeat(b"wrong tag"), tag=tag)
    return _unanswered(puppet, b"wrong tag")


def _unanswered(puppet: Puppet, info: bytes) -> Reaction:
    """That HEARTBEATs with ``info`` draw nothing."""
    seen = puppet.silence()
    answered = any(
        isinstance(chunk, HeartbeatAck) and chunk.info == info
        for received in puppet.came
        for chunk in received.chunks
    )
    return Reaction.ANSWERED if answered else seen


@case(
    "rfc9260/6.8/wrong-checksum",
    "A packet whose checksum is wrong is let go.",
    sends="HEARTBEAT with a bit of the checksum turned over",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    # DTLS has vouched for the packet already, and some do not compute it again.
    lenient=(Reaction.ANSWERED,),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
    requirements=("rfc9260/6.8/3", "rfc9260/6.8/4"),
    traps=("SCTP and data channels 3",),
)
def wrong_checksum(stage: Stage) -> Observed:
    puppet = associated(stage)
    data = bytearray(puppet.assembled(Heartbeat(b"wrong checksum").encode()))
    data[9] ^= 1
    puppet.send_raw(bytes(data))
    return _unanswered(puppet, b"wrong checksum")


@case(
    "rfc9260/8.4/wrong-port",
    "A packet for another port belongs to another association: this one does not answer it.",
    sends="HEARTBEAT from and to port 4999",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    lenient=(Reaction.ABORTED,),  # what comes out of the blue may be told so
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
)
def wrong_port(stage: Stage) -> Observed:
    puppet = associated(stage)
    for source, destination in ((4999, 4999), (4999, puppet.port), (puppet.port, 4999)):
        chunk = Heartbeat(b"wrong port")
        puppet.send_raw(packets.encode(source, destination, puppet.peer_tag, (chunk,)))
    return _unanswered(puppet, b"wrong port")


@case(
    "rfc9260/8.3/heartbeat",
    "HEARTBEAT is answered with what was in it, to the byte.",
    sends="HEARTBEATs with 1, 7 and 500 bytes",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/8.3/3", "rfc9260/3.3.6/1", "rfc9260/3.3.6/2"),
)
def heartbeat(stage: Stage) -> Observed:
    puppet = associated(stage)
    for size in (1, 7, 500):
        info = stage.entropy(size)
        puppet.send(Heartbeat(info))
        answer = puppet.chunk(HeartbeatAck)
        if answer is None:
            return puppet.unanswered()
        if answer.info != info:
            return Reaction.WRONG, f"{len(answer.info)} bytes for {size}"
    return Reaction.ANSWERED


@case(
    "rfc9260/3.1/their-tag",
    "All packets of the server's carry the tag that we gave.",
    sends="an association, a data channel and messages",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.1/3", "rfc9260/3.3.2/8", "rfc9260/8.5/1", "rfc9260/5.3.1/2"),
)
def their_tag(stage: Stage) -> Observed:
    puppet = opened(stage)
    strange = [
        received
        for received in puppet.came
        if received.tag != puppet.tag and not isinstance(received.chunks[0], Init)
    ]
    if strange:
        return Reaction.WRONG, f"{len(strange)} packets"
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


@case(
    "rfc9260/3/packets-can-be-read",
    "All packets of the server's can be read: lengths, padding and checksums are right, and none "
    "is larger than a path carries.",
    sends="an association, a data channel and a message of 8,000 bytes",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=(
        *("rfc9260/6.8/1", "rfc9260/3.2/1", "rfc9260/3.3.1/9", "rfc9260/6.10/1"),
        *("rfc9260/6.10/5", "rfc8261/6.1/1"),
    ),
)
def packets_can_be_read(stage: Stage) -> Observed:
    puppet = opened(stage)
    message = stage.entropy(8000)
    for chunk in puppet.fragments(0, message, 53):
        puppet.send(chunk)
    puppet.hear(lambda *each: each == (0, 53, message))
    if puppet.strange:
        return Reaction.WRONG, f"{len(puppet.strange)} packets cannot be read"
    if any(not checksum_matches(data) or len(data) % 4 for data in puppet.raw):
        return Reaction.WRONG, "a wrong checksum, or a chunk that is not padded"
    longest = max(map(len, puppet.raw))
    if longest > 1400:
        return Reaction.WRONG, f"a packet of {longest} bytes"
    return Reaction.ANSWERED if puppet.is_alive() else Reaction.DEAD


# --- chunks that nobody knows ---------------------------------------------------------------------


def _reads_behind(stage: Stage, kind: int, *, skip: bool, report: bool) -> Observed:
    """An unknown chunk before a HEARTBEAT, which is answered if it was read."""
    puppet = associated(stage)
    puppet.send(Unknown(kind, 0, b"what"), Heartbeat(b"behind it"))
    puppet.run(0.3)
    chunks = [chunk for received in puppet.came for chunk in received.chunks]
    if not puppet.is_alive():
        return Reaction.DEAD
    if any(isinstance(chunk, Abort) for chunk in chunks):
        return Reaction.ABORTED
    complained = any(
        isinstance(cause, UnrecognizedChunk) and cause.chunk[:1] == bytes((kind,))
        for chunk in chunks
        if isinstance(chunk, Error)
        for cause in chunk.causes
    )
    answered = any(isinstance(each, HeartbeatAck) and each.info == b"behind it" for each in chunks)
    if answered != skip:
        return Reaction.WRONG, "read on" if answered else "what stands behind it was not read"
    if complained != report:
        return Reaction.WRONG, "reported" if complained else "not reported"
    return Reaction.ANSWERED


def _unknown_chunk(name: str, kind: int, what: str, *, skip: bool, report: bool) -> Case:
    @case(
        f"rfc9260/3.2/{name}",
        f"A packet with an unknown chunk whose upper bits are {kind >> 6:02b} is {what}.",
        sends=f"chunk type {kind} before a HEARTBEAT",
        profiles=DATACHANNEL,
        good=ANSWERED,
        bad=NOT_ANSWERED,
    )
    def steps(stage: Stage) -> Observed:
        return _reads_behind(stage, kind, skip=skip, report=report)

    return steps


UNKNOWN_CHUNKS = (
    _unknown_chunk("unknown-chunk-stops", 0x3E, "not read beyond it", skip=False, report=False),
    _unknown_chunk(
        "unknown-chunk-stops-and-is-reported",
        0x7E,
        "not read beyond it, and the chunk is reported",
        skip=False,
        report=True,
    ),
    _unknown_chunk("unknown-chunk-skipped", 0xBE, "read on behind it", skip=True, report=False),
    _unknown_chunk(
        "unknown-chunk-skipped-and-reported",
        0xFE,
        "read on behind it, and the chunk is reported",
        skip=True,
        report=True,
    ),
)


@case(
    "rfc9260/12.4/one-packet-in-answer",
    "However many chunks of a packet want an answer, the answers are in one packet.",
    sends="four HEARTBEATs and four chunks that are to be reported, in one packet",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/12.4/2",),
)
def one_packet_in_answer(stage: Stage) -> Observed:
    beats = [Heartbeat(b"beat %d" % place) for place in range(4)]
    unknown = [Unknown(0xFE, 0, b"what") for _ in range(4)]
    return associated(stage).packets_in_answer(*beats, *unknown)


@case(
    "rfc9260/3.3/ecn-chunks",
    "The chunks reserved for explicit congestion notification do no harm.",
    sends="chunk types 12 and 13, each in a packet of its own",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    lenient=(Reaction.ANSWERED, Reaction.ERROR),
    bad=(Reaction.WRONG, Reaction.ABORTED, Reaction.DEAD),
)
def ecn_chunks(stage: Stage) -> Observed:
    puppet = associated(stage)
    for kind in (12, 13):
        puppet.send(Unknown(kind, 0, puppet.cumulative.to_bytes(4, "big")))
    return puppet.silence()


@case(
    "traps/sctp/packets-that-cannot-be-read",
    "What is no SCTP inside DTLS is let go, and the association lives.",
    sends="1 to 15 bytes, chunks that are longer than their packet, of length 0 and 3, parameters "
    "past their end, and a packet without a chunk",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    lenient=(Reaction.ABORTED,),  # RFC 9260 leaves it open to call it a violation
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/6.10/7",),
)
def cannot_be_read(stage: Stage) -> Observed:
    puppet = associated(stage)
    for length in (1, 4, 11, 12, 13, 15):
        puppet.send_raw(puppet.assembled(b"\4\0\0\4")[:length])
    parts = (
        b"\x04\0\xff\xff",
        b"\x04\0\0\0",
        b"\x04\0\0\3",
        b"\x03\0\0\x08\0\0\0\0",
        b"\x03\0\0\x10" + bytes(8) + b"\xff\xff\xff\xff",
        b"\x82\0\0\x08\0\x0d\xff\xff",
        b"\x04\0\0\x08\0\1\xff\xff",
        b"\0\3\0\x0c" + bytes(8),
        b"",
    )
    for part in parts:
        puppet.send_raw(puppet.assembled(part))
    return puppet.silence()


@case(
    "rfc9260/8.5.1/shutdown-complete-unasked",
    "A SHUTDOWN COMPLETE that nobody waits for is let go.",
    sends="SHUTDOWN COMPLETE in the midst of an association",
    profiles=DATACHANNEL,
    good=LET_GO,
    bad=NOT_LET_GO,
    requirements=("rfc9260/8.5.1/11",),
)
def shutdown_complete_unasked(stage: Stage) -> Observed:
    puppet = associated(stage)
    puppet.send(ShutdownComplete())
    return puppet.silence()
