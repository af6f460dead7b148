"""Servers that get SCTP or data channels wrong."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs

from transceiver.datachannel import channels as channels_module
from transceiver.datachannel import messages
from transceiver.datachannel.channels import DataChannels
from transceiver.sctp import cookie, greeting, handshake, inbound, opening, packet, shortcut
from transceiver.sctp.association import Association
from transceiver.sctp.chunks import Data, HeartbeatAck, InitAck, Sack, Unknown
from transceiver.sctp.cookie import Peer
from transceiver.sctp.inbound import Inbound
from transceiver.sctp.outbound import Outbound
from transceiver.sctp.parameters import OutgoingReset, ResetResult, ZeroChecksumAcceptable
from transceiver.sctp.reassembly import Reassembly
from transceiver.sctp.reconfiguration import Reconfiguration
from transceiver.sctp.sendqueue import SendQueue
from transceiver.sctp.transfer import Transfer

from .model import mutant, swapped


def _read_slowly(stack: ExitStack) -> None:
    """Without the short cut for packets of DATA and SACK, which would go past what is broken."""
    stack.enter_context(swapped(shortcut, "receive_untrusted", lambda *what: False))


# --- the association ------------------------------------------------------------------------------


@mutant(
    "data/answers-whatever-is-asked",
    "A packet that asks for many answers gets them all, in as many packets as they need.",
    killer="rfc9260/12.4/more-answers-than-fit",
)
def answers_whatever_is_asked() -> Iterator[None]:
    def answer(transfer: Transfer, encoded: bytes) -> None:
        transfer.waiting.append(encoded)

    with swapped(Transfer, "_answer", answer):
        yield


@mutant(
    "data/checksum-left-out-unasked",
    "Packets go out without a checksum as soon as there is an association.",
    killer="traps/sctp/checksum-left-out-only-where-accepted",
)
def checksum_left_out_unasked() -> Iterator[None]:
    read = Peer.of

    def of(chunk: Any) -> Peer:
        return attrs.evolve(read(chunk), zero_checksum=True)

    with swapped(Peer, "of", staticmethod(of)):
        yield


@mutant(
    "data/checksum-left-out-for-another-method",
    "Whoever accepts zero checksums, for whatever reason, is sent them.",
    killer="traps/sctp/checksum-of-another-method",
)
def checksum_for_another_method() -> Iterator[None]:
    read = Peer.of

    def of(chunk: Any) -> Peer:
        said = any(isinstance(each, ZeroChecksumAcceptable) for each in chunk.parameters)
        return attrs.evolve(read(chunk), zero_checksum=said)

    with swapped(Peer, "of", staticmethod(of)):
        yield


@mutant(
    "data/announces-zero-checksum-and-takes-none",
    "It says that it takes packets without a checksum, and does not.",
    killer="traps/sctp/zero-checksum-sent-by-us",
)
def takes_no_zero_checksum() -> Iterator[None]:
    decode = packet.decode_untrusted

    def strictly(data: bytes, *, accept_zero_checksum: bool) -> Any:
        return decode(data, accept_zero_checksum=False)

    with swapped(packet, "decode_untrusted", strictly):
        yield


@mutant(
    "data/believes-any-cookie",
    "Cookies are believed without a look at their signature.",
    killer="rfc9260/5.1.5/cookie-tampered",
)
def believes_any_cookie() -> Iterator[None]:
    read = cookie.open_untrusted

    def open_untrusted(data: bytes, key: bytes, ports: tuple[int, int]) -> cookie.Cookie:
        body = data[:-16]
        return read(body + cookie._mac(key, ports, body), key, ports)

    with swapped(cookie, "open_untrusted", open_untrusted):
        yield


@mutant(
    "data/any-tag-will-do",
    "The verification tag is not looked at.",
    killer="rfc9260/8.5/wrong-tag",
)
def any_tag_will_do() -> Iterator[None]:
    with swapped(Association, "_belongs", lambda association, received: True):
        yield


@mutant(
    "data/more-streams-than-we-take",
    "INIT ACK names as many outbound streams as there can be, whatever the INIT takes.",
    killer="rfc9260/5.1.1/streams-within-ours",
)
def more_streams() -> Iterator[None]:
    make = handshake.make_init_ack

    def make_init_ack(*what: Any, **more: Any) -> InitAck:
        return attrs.evolve(make(*what, **more), outbound=1024)

    with swapped(greeting, "make_init_ack", make_init_ack):
        yield


@mutant(
    "data/init-is-enough",
    "An INIT in the midst of an association ends it, before any cookie has come back.",
    killer="rfc9260/5.2.2/init-changes-nothing",
)
def init_is_enough() -> Iterator[None]:
    receive = opening.receive_init

    def receive_init(block: Any, chunk: Any, now: float) -> Any:
        standing = block.transfer is not None
        drop = receive(block, chunk, now)
        if standing:
            block.end("an INIT came", by_peer=True)
        return drop

    with swapped(opening, "receive_init", receive_init):
        yield


@mutant(
    "data/stops-at-unknown-chunks",
    "What stands behind an unknown chunk is never read.",
    killer="rfc9260/3.2/unknown-chunk-skipped",
)
def stops_at_unknown_chunks() -> Iterator[None]:
    with swapped(Unknown, "stops", property(lambda chunk: True)):
        yield


# --- DATA -----------------------------------------------------------------------------------------


@mutant(
    "data/no-gap-blocks",
    "What came behind a gap is not told.",
    killer="rfc9260/6.2/gap-reported",
)
def no_gap_blocks() -> Iterator[None]:
    make = Inbound.sack
    with swapped(Inbound, "sack", lambda each: attrs.evolve(make(each), gaps=())):
        yield


@mutant(
    "data/duplicates-unreported",
    "DATA that comes again is not named in the SACK.",
    killer="rfc9260/6.2/duplicates-reported",
)
def duplicates_unreported() -> Iterator[None]:
    make = Inbound.sack
    with swapped(Inbound, "sack", lambda each: attrs.evolve(make(each), duplicates=())):
        yield


@mutant(
    "data/messages-of-16-kib-at-most",
    "A message of more than 16 KiB is let go.",
    killer="traps/sctp/message-of-16-kib",
)
def messages_of_16_kib() -> Iterator[None]:
    def reassembly(tsns: Any, longest: int) -> Reassembly:
        return Reassembly(tsns, 16384)

    with swapped(inbound, "Reassembly", reassembly):
        yield


@mutant(
    "data/everything-in-order",
    "Unordered messages wait for their turn like others.",
    killer="rfc9260/6.6/unordered-past-a-gap",
)
def everything_in_order() -> Iterator[None]:
    receive = Inbound.receive

    def ordered(side: Inbound, data: Data) -> Any:
        if not data.unordered:
            return receive(side, data)
        return receive(side, attrs.evolve(data, unordered=False, ssn=data.ssn))

    with swapped(Inbound, "receive", ordered), swapped(Inbound, "receive_in_turn", _never):
        yield


def _never(*what: Any) -> bool:
    return False


@mutant(
    "data/forward-tsn-unheard",
    "FORWARD-TSN is acknowledged, and what stands behind it waits for ever.",
    killer="rfc3758/3.6/forward-tsn",
)
def forward_tsn_unheard() -> Iterator[None]:
    with swapped(Inbound, "receive_forward", lambda side, chunk: True):
        yield


@mutant(
    "data/abort-at-an-old-forward-tsn",
    "A FORWARD-TSN that says nothing new ends the association.",
    killer="traps/sctp/forward-tsn-under-loss",
)
def abort_at_an_old_forward_tsn() -> Iterator[None]:
    receive = Inbound.receive_forward
    read = Association._read
    old: list[bool] = []

    def receive_forward(side: Inbound, chunk: Any) -> bool:
        news = receive(side, chunk)
        if not news:
            old.append(True)
        return news

    def read_all(whole: Association, received: Any, now: float) -> None:
        read(whole, received, now)
        if old:
            old.clear()
            whole.abort(now, "a FORWARD-TSN that goes backwards")

    with (
        swapped(Inbound, "receive_forward", receive_forward),
        swapped(Association, "_read", read_all),
    ):
        yield


@mutant(
    "data/never-sends-again",
    "What is lost stays lost.",
    killer="rfc9260/6.3.3/data-sent-again",
)
def never_sends_again() -> Iterator[None]:
    def handle_timeout(side: Outbound, now: float) -> bool:
        if side.deadline is not None and side.deadline <= now:
            side.deadline = None
        return False

    with (
        swapped(Outbound, "handle_timeout", handle_timeout),
        swapped(Outbound, "retry", lambda side, now: False),
    ):
        yield


@mutant(
    "data/our-window-unheard",
    "It sends as if our window were always open.",
    killer="rfc9260/6.1/our-window",
)
def our_window_unheard() -> Iterator[None]:
    receive = Outbound.receive_sack

    def receive_sack(side: Outbound, sack: Sack, now: float) -> Any:
        return receive(side, attrs.evolve(sack, window=1 << 20), now)

    with ExitStack() as stack:
        _read_slowly(stack)
        stack.enter_context(swapped(Outbound, "receive_sack", receive_sack))
        yield


# --- streams and channels -------------------------------------------------------------------------


@mutant(
    "data/no-reverse-reset",
    "A channel that the client closes is not closed by the server.",
    killer="rfc8831/6.7/channel-closed",
)
def no_reverse_reset() -> Iterator[None]:
    with swapped(DataChannels, "_reset_by_peer", lambda channels, streams: None):
        yield


@mutant(
    "data/numbers-go-on-after-a-reset",
    "After a reset the stream sequence numbers go on where they were.",
    killer="traps/sctp/stream-used-again",
)
def numbers_go_on() -> Iterator[None]:
    resume = SendQueue.resume

    def resumed(queue: SendQueue, number: int, *, fresh: bool) -> None:
        resume(queue, number, fresh=False)

    with swapped(SendQueue, "resume", resumed):
        yield


@mutant(
    "data/resets-too-early",
    "A reset is performed when it comes, though DATA from before it is missing.",
    killer="rfc6525/5.2.2/reset-before-its-data",
)
def resets_too_early() -> Iterator[None]:
    def judge(side: Reconfiguration, request: OutgoingReset, received: Inbound) -> ResetResult:
        side._perform(request, received)
        return ResetResult.PERFORMED

    with swapped(Reconfiguration, "_judge", judge):
        yield


@mutant(
    "data/text-becomes-binary",
    "A text is sent under the identifier of binary messages.",
    killer="rfc8831/6.6/text",
)
def text_becomes_binary() -> Iterator[None]:
    encode = messages.encode_user_message

    def encode_user_message(message: str | bytes) -> tuple[int, bytes]:
        ppid, payload = encode(message)
        return (messages.BINARY if ppid == messages.TEXT else ppid), payload

    with swapped(channels_module, "encode_user_message", encode_user_message):
        yield


@mutant(
    "data/empty-messages-have-content",
    "What stands in a message that is said to be empty is taken for its text.",
    killer="rfc8831/6.6/empty-with-octets",
)
def empty_messages_have_content() -> Iterator[None]:
    decode = messages.decode_user_message_untrusted

    def decode_user_message(ppid: int, payload: bytes) -> str | bytes | None:
        return decode(messages.TEXT if ppid == messages.TEXT_EMPTY else ppid, payload)

    with swapped(channels_module, "decode_user_message_untrusted", decode_user_message):
        yield


@mutant(
    "data/always-reliable",
    "What is said on a channel without retransmissions is said again until it has come.",
    killer="rfc8831/6.1/given-up-by-the-server",
)
def always_reliable() -> Iterator[None]:
    send = Association.send

    def reliably(whole: Association, *what: Any, **how: Any) -> None:
        how |= {"lifetime": None, "retransmissions": None}
        send(whole, *what, **how)

    with swapped(Association, "send", reliably):
        yield


@mutant(
    "data/unknown-types-of-channel-agreed-to",
    "A channel of a type that nobody knows is agreed to.",
    killer="rfc8832/6/unknown-channel-type",
)
def unknown_types_agreed_to() -> Iterator[None]:
    decode = messages.decode_untrusted

    def decode_untrusted(data: bytes) -> messages.DcepMessage:
        return decode(data[:1] + b"\0" + data[2:] if data[:1] == b"\3" else data)

    with swapped(channels_module, "decode_untrusted", decode_untrusted):
        yield


@mutant(
    "data/heartbeats-cut",
    "HEARTBEAT ACK gives back sixteen bytes and no more.",
    killer="rfc9260/8.3/heartbeat",
)
def heartbeats_cut() -> Iterator[None]:
    encode = HeartbeatAck.encode

    def cut(chunk: HeartbeatAck) -> bytes:
        return encode(HeartbeatAck(chunk.info[:16]))

    with swapped(HeartbeatAck, "encode", cut):
        yield
