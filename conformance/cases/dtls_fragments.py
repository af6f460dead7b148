"""Messages in fragments, records in datagrams: every way to cut them, and some that are no way.

The server is the DTLS server here. What a stranger could have sent (nothing is signed yet) must not
keep the client's own fragments from being put together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from conformance.case import Case, Level, Observed, Rule
from conformance.probe.dtls import (
    COMPLETED,
    NEITHER_COMPLETED_NOR_ALERTED,
    NOT_COMPLETED,
    Handshaken,
)
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_hello import post_quantum
from conformance.probe.dtls_wire import (
    Part,
    Writer,
    apart,
    at_once,
    backwards,
    cut_up,
    doubled,
    in_one_record,
    in_pieces,
    interleaved,
)
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.dtls.messages import Fragment, HandshakeType
from transceiver.dtls.wire import vector

REASSEMBLY = ("rfc6347/4.2.3/4",)


def _cut(rule: Rule, *, sends: str, long_hello: bool = False, **how: Any) -> Case:
    """A handshake that is right but for how it is cut and packed."""

    @rule.asked(sends=sends, profiles=DTLS, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        if long_hello:
            puppet.offer = post_quantum(puppet.offer, stage.entropy)
        return puppet.handshake(**how)

    return steps


def _first_size_then_rest(offset: int, overlap: int) -> Callable[[list[Part]], list[Part]]:
    """Two fragments, the second of which begins ``overlap`` bytes before the first one's end."""

    def arrange(parts: list[Part]) -> list[Part]:
        cut_in_two = []
        for part in parts:
            length = len(part.message.body) if part.message is not None else 0
            if part.message is None or length <= offset:
                cut_in_two.append(part)
            else:
                start = max(0, offset - overlap)
                cut_in_two += [part.cut(0, offset), part.cut(start, length - start)]
        return cut_in_two

    return arrange


# --- the hello ----------------------------------------------------------------------------------


hello_in_230_bytes = _cut(
    Rule(
        "traps/dtls/hello-in-pieces-of-230-bytes",
        "A hello in pieces of 230 bytes, as one stack sends it, is answered.",
        requirements=REASSEMBLY,
        traps=("DTLS 1", "Facts"),
    ),
    sends="a ClientHello of 1,400 bytes in pieces of 230, each in its own datagram",
    hello_pack=in_pieces(230),
    long_hello=True,
)

hello_byte_by_byte = _cut(
    Rule(
        "rfc6347/4.2.3/byte-by-byte",
        "A message may be cut as finely as its sender likes.",
        requirements=REASSEMBLY,
    ),
    sends="a ClientHello in fragments of one byte, as many in a datagram as fit",
    hello_pack=in_pieces(1, datagram=1200),
)

hello_backwards = _cut(
    Rule(
        "rfc6347/4.2.3/fragments-backwards",
        "Fragments are put together in whatever order they come.",
        requirements=REASSEMBLY,
        traps=("DTLS 1",),
    ),
    sends="a ClientHello in pieces of 20 bytes, the last first",
    hello_arrange=lambda parts: cut_up(20)(parts)[::-1],
    hello_pack=apart,
)

hello_overlapping = _cut(
    Rule(
        "rfc6347/4.2.3/overlapping-fragments",
        "Fragments that cover the same bytes are put together all the same.",
        requirements=("rfc6347/4.2.3/4", "rfc6347/4.2.3/5"),
    ),
    sends="a ClientHello in two fragments, the second of which repeats half of the first",
    hello_arrange=_first_size_then_rest(80, 40),
    hello_pack=apart,
)

hello_pieces_doubled = _cut(
    Rule(
        "rfc6347/4.2.3/fragments-doubled",
        "A fragment that comes twice does no harm.",
        requirements=("rfc6347/4.2.3/5",),
    ),
    sends="a ClientHello in pieces of 50 bytes, each of them twice",
    hello_arrange=lambda parts: doubled(cut_up(50)(parts)),
    hello_pack=apart,
)

hello_cut_differently = _cut(
    Rule(
        "rfc6347/4.2.3/cut-differently-again",
        "Where a message is cut in another way when it is said again, fragments of both ways fit "
        "together.",
        requirements=("rfc6347/4.2.3/5",),
    ),
    sends="the first 100 bytes of a ClientHello in one fragment, the rest in pieces of 30 that "
    "begin in the midst of it",
    hello_arrange=lambda parts: [parts[0].cut(0, 100), *cut_up(30)(parts)[2:]],
    hello_pack=apart,
)

empty_fragment = _cut(
    Rule(
        "rfc6347/4.2.3/fragment-of-nothing",
        "A fragment of no bytes belongs to its message and adds nothing.",
        level=Level.SHOULD,
        requirements=REASSEMBLY,
    ),
    sends="an empty fragment of a ClientHello, then the hello whole",
    hello_arrange=lambda parts: [parts[0].cut(0, 0), *parts],
    hello_pack=apart,
)

# --- what contradicts it ------------------------------------------------------------------------


def _forged(rule: Rule, *, sends: str, fragments: Callable[[Part], Sequence[bytes]]) -> Case:
    """A handshake whose hello comes in pieces, the first time with false ones before each. An alert
    is lenient; silence that lasts, when the hello is said again without them, is not."""

    def pack(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
        pieces = parts[0].pieces(25)
        if writer.plain:
            return apart(writer, pieces)
        wrong = [attrs.evolve(parts[0], content=each) for each in fragments(parts[0])]
        return apart(writer, [each for piece in pieces for each in (*wrong, piece)])

    @rule.asked(
        sends=sends,
        profiles=DTLS,
        good=COMPLETED,
        lenient=(Handshaken.ALERTED,),
        bad=NEITHER_COMPLETED_NOR_ALERTED,
    )
    def steps(stage: Stage) -> Observed:
        return ClientPuppet.reach(stage).handshake(hello_pack=pack)

    return steps


def _false_fragment(part: Part, length: int, offset: int, data: bytes) -> bytes:
    sequence = 0 if part.message is None else part.message.sequence
    return Fragment.of(HandshakeType.CLIENT_HELLO, length, sequence, offset, data).raw


def _length(part: Part) -> int:
    return 0 if part.message is None else len(part.message.body)


shorter_length = _forged(
    Rule(
        "traps/dtls/contradicting-message-length-shorter",
        "A fragment that says that its message is shorter than the others say is part of no "
        "message that anybody sends, and blocks none.",
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them one that claims a message of 70 bytes; then "
    "the hello in pieces alone",
    fragments=lambda part: [_false_fragment(part, 70, 60, bytes(10))],
)

longer_length = _forged(
    Rule(
        "traps/dtls/contradicting-message-length-longer",
        "A fragment that says that its message is longer than the others say writes beyond no end, "
        "and blocks no message.",
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them one that claims 2,000 bytes and brings the "
    "last 500; then the hello in pieces alone",
    fragments=lambda part: [_false_fragment(part, 2000, 1500, b"\xff" * 500)],
)

endless_message = _forged(
    Rule(
        "traps/dtls/message-of-sixteen-megabytes",
        "Nobody can make a server set aside sixteen megabytes, or wait for them, with a small "
        "fragment.",
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them one that claims 16,777,215 bytes; then the "
    "hello in pieces alone",
    fragments=lambda part: [_false_fragment(part, 0xFFFFFF, 0, bytes(10))],
)

beyond_its_message = _forged(
    Rule(
        "rfc6347/4.2.2/fragment-beyond-its-message",
        "A fragment that reaches beyond its message is let go.",
        requirements=("rfc6347/4.2.3/2",),
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them one whose offset and length together exceed "
    "the message; then the hello in pieces alone",
    fragments=lambda part: [_false_fragment(part, _length(part), _length(part) - 5, bytes(40))],
)

contradicting_bytes = _forged(
    Rule(
        "traps/dtls/contradicting-bytes",
        "A forged fragment costs the client a retransmission at most and never the handshake.",
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them one with other bytes for what has come; then "
    "the hello in pieces alone",
    fragments=lambda part: [_false_fragment(part, _length(part), 0, b"\xee" * 60)],
)

far_ahead = _forged(
    Rule(
        "traps/dtls/messages-far-ahead",
        "Messages that are not due for a long time are not collected without bound.",
        traps=("DTLS 9",),
    ),
    sends="a ClientHello in pieces, and between them 60 beginnings of messages with message_seq 1 "
    "to 60 that claim 10,000 bytes each; then the hello in pieces alone",
    fragments=lambda part: [
        Fragment.of(HandshakeType.CERTIFICATE, 10000, number, 0, bytes(20)).raw
        for number in range(1, 61)
    ],
)

# --- the second flight --------------------------------------------------------------------------


one_record = _cut(
    Rule(
        "rfc6347/4.2.3/messages-in-one-record",
        "A record may hold several messages.",
        requirements=REASSEMBLY,
        traps=("DTLS 11",),
    ),
    sends="Certificate, ClientKeyExchange and CertificateVerify in one record",
    pack=in_one_record,
)

one_datagram = _cut(
    Rule(
        "rfc6347/4.1.1/records-in-one-datagram",
        "A datagram may hold several records, of both epochs.",
        requirements=("rfc6347/4.1.1/1",),
        traps=("DTLS 11",),
    ),
    sends="the flight from Certificate to Finished in one datagram",
    pack=at_once,
)

many_datagrams = _cut(
    Rule(
        "rfc6347/4.1.1/a-datagram-for-each-record",
        "Each record may come in a datagram of its own.",
        requirements=("rfc6347/4.1.1/1",),
    ),
    sends="the flight from Certificate to Finished in five datagrams",
    pack=apart,
)

flight_in_pieces = _cut(
    Rule(
        "rfc6347/4.2.3/flight-in-pieces",
        "A flight may be cut as finely as its sender likes, the Finished under its keys as well.",
        requirements=REASSEMBLY,
    ),
    sends="the flight from Certificate to Finished in fragments of 11 bytes, several in a datagram",
    pack=in_pieces(11, datagram=900),
)

flight_interleaved = _cut(
    Rule(
        "rfc6347/4.2.3/interleaved-messages",
        "Fragments of several messages may come in turn.",
        requirements=REASSEMBLY,
        traps=("DTLS 1",),
    ),
    sends="fragments of Certificate, ClientKeyExchange and CertificateVerify by turns",
    arrange=interleaved(25),
    pack=apart,
)

flight_backwards = _cut(
    Rule(
        "rfc6347/4.2.2/flight-backwards",
        "Messages that come too early wait for those before them.",
        level=Level.SHOULD,
    ),
    sends="the flight from Certificate to Finished in five datagrams, the last first",
    arrange=backwards,
    pack=apart,
)

flight_doubled = _cut(
    Rule(
        "rfc6347/4.2.2/flight-doubled",
        "A message that comes a second time has no second effect.",
        requirements=("rfc6347/4.2.2/1",),
        traps=("DTLS 11",),
    ),
    sends="the flight from Certificate to Finished, each record twice under numbers of its own",
    arrange=doubled,
    pack=apart,
)


def _shuffled(parts: list[Part]) -> list[Part]:
    pieces = doubled(cut_up(40)(parts))
    return [pieces[i * 7 % len(pieces)] for i in range(len(pieces))] if len(pieces) % 7 else pieces


flight_shuffled = _cut(
    Rule(
        "rfc6347/4.2.3/fragments-shuffled-and-doubled",
        "Fragments of a whole flight may come in any order, and more than once.",
        level=Level.SHOULD,
        requirements=REASSEMBLY,
    ),
    sends="the flight in pieces of 40 bytes, all doubled, in an order without sense",
    arrange=_shuffled,
    pack=apart,
)

# --- records that are none ----------------------------------------------------------------------


def _odd_record(rule: Rule, *, sends: str, raw: Callable[[ClientPuppet], bytes]) -> Case:
    """A handshake with something between its hello and its second flight that is to be thrown
    away. An alert is allowed, though not wise (RFC 6347, 4.1.2.7)."""

    @rule.asked(
        sends=sends,
        profiles=DTLS,
        good=COMPLETED,
        lenient=(Handshaken.ALERTED,),
        bad=NEITHER_COMPLETED_NOR_ALERTED,
    )
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        puppet.send_raw(raw(puppet), "before the hello")
        if not puppet.greet():
            return puppet.failure(Handshaken.UNANSWERED)
        puppet.need_flight()
        puppet.send_raw(raw(puppet), "before the second flight")
        puppet.send_second()
        if puppet.finish():
            return Handshaken.COMPLETED
        return puppet.failure(Handshaken.STOPPED)

    return steps


unknown_content = _odd_record(
    Rule("rfc6347/4.1/unknown-content-type", "A record of a type that nobody knows is let go."),
    sends="records of content type 60 before the hello and amid the handshake",
    raw=lambda puppet: b"\x3c\xfe\xfd" + bytes(7) + b"\x77\x00\x05hello",
)

heartbeat = _odd_record(
    Rule(
        "rfc6520/3/heartbeat",
        "A heartbeat that was not agreed on is let go, and gives nothing away.",
    ),
    sends="heartbeat requests whose payload is claimed to be longer than it is",
    raw=lambda puppet: b"\x18\xfe\xfd" + bytes(7) + b"\x78\x00\x08\x01\x40\x00bleed",
)

record_cut_short = _odd_record(
    Rule("rfc6347/4.1/record-cut-short", "A record that is longer than its datagram is let go."),
    sends="a record whose header claims 200 bytes in a datagram that brings 20",
    raw=lambda puppet: b"\x16\xfe\xfd" + bytes(7) + b"\x79\x00\xc8" + bytes(20),
)

half_a_header = _odd_record(
    Rule("rfc6347/4.1/half-a-header", "A datagram shorter than the header of a record is let go."),
    sends="the first seven bytes of a record",
    raw=lambda puppet: b"\x16\xfe\xfd\x00\x00\x00\x00",
)

one_byte = _odd_record(
    Rule("rfc6347/4.1/one-byte", "A datagram of one byte that might begin a record is let go."),
    sends="a datagram of the byte 22",
    raw=lambda puppet: b"\x16",
)

unknown_version = _odd_record(
    Rule("rfc6347/4.1/unknown-version", "A record of a version that is none of DTLS is let go."),
    sends="a handshake record of version 3.3, which is TLS 1.2's",
    raw=lambda puppet: b"\x16\x03\x03" + bytes(7) + b"\x7a\x00\x04\x01\x00\x00\x00",
)

empty_record = _odd_record(
    Rule("rfc5246/6.2.1/empty-handshake-record", "A handshake record of no bytes is let go."),
    sends="an empty handshake record",
    raw=lambda puppet: b"\x16\xfe\xfd" + bytes(7) + b"\x7b\x00\x00",
)

record_too_long = _odd_record(
    Rule(
        "rfc6347/4.1/record-too-long",
        "A record that claims more bytes than any record may have is let go.",
    ),
    sends="a handshake record that claims 65,535 bytes",
    raw=lambda puppet: b"\x16\xfe\xfd" + bytes(7) + b"\x7c\xff\xff" + bytes(100),
)

rubbish_behind = _cut(
    Rule(
        "rfc6347/4.1.2.7/rubbish-behind-a-record",
        "What follows a good record in its datagram and is no record does not spoil that record.",
    ),
    sends="a ClientHello with thirty bytes of rubbish behind it in the datagram",
    hello_pack=lambda writer, parts: [each + vector(bytes(29), 1) for each in apart(writer, parts)],
)
