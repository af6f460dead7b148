"""What an association does once it has keys: what is not sealed is nobody's, what is sealed counts.

Each case finishes a handshake, takes the pulse of the association, does its harm, and takes the
pulse again.
"""

from collections.abc import Callable
from typing import TypeAlias

from conformance.case import Blocked, Case, Level, Observed, Rule, Unsupported, case
from conformance.probe.dtls import (
    COMPLETED,
    NOT_COMPLETED,
    Afterwards,
    Puppet,
)
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_pulse import DISTURBED, UNDISTURBED, Pulse, says_last_flight_again
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.dtls_wire import Part, apart
from conformance.probe.look import Checked
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.config import SctpLimits
from transceiver.dtls import record
from transceiver.dtls.messages import HandshakeType, Message
from transceiver.dtls.parameters import WARNING, Alert
from transceiver.dtls.record import ContentType
from transceiver.sctp.association import Association

Side: TypeAlias = type[ClientPuppet] | type[ServerPuppet]
SCTP_INIT_ACK = 2


def _untouched(
    rule: Rule,
    *,
    sends: str,
    harm: Callable[[Puppet], object],
    effect: Callable[[Puppet], bool] = lambda puppet: False,
    side: Side = ClientPuppet,
    answers: bool = False,
    alerts: bool = False,
    ends: bool = False,
    by_media: bool = True,
) -> Case:
    """An association that goes on whatever ``harm`` sends. ``answers`` says that it may answer,
    ``alerts`` that it may end with an alert, which is not wise (RFC 6347, 4.1.2.7), and ``ends``
    that it may end without a word."""

    lenient = [] if answers else [Afterwards.ANSWERED]
    if alerts:
        lenient.append(Afterwards.ALERTED)
    if ends:
        lenient.append(Afterwards.ENDED)

    @rule.asked(
        sends=sends,
        profiles=DTLS,
        good=(*UNDISTURBED, *([Afterwards.ANSWERED] if answers else [])),
        lenient=tuple(lenient),
        bad=tuple(each for each in DISTURBED if each not in lenient),
    )
    def steps(stage: Stage) -> Observed:
        puppet = side.reach(stage)
        puppet.establish()
        pulse = Pulse(puppet, by_media)
        harm(puppet)
        return pulse.after(lambda: effect(puppet))

    return steps


def _raw(puppet: Puppet, *datagrams: bytes) -> int:
    for each in datagrams:
        puppet.send_raw(each)
    return len(datagrams)


def _sealed(puppet: Puppet, content_type: int, *contents: bytes) -> int:
    for each in contents:
        puppet.send_record(content_type, each, epoch=1)
    return len(contents)


def _message(type_: int, sequence: int, body: bytes) -> bytes:
    return Message.of(type_, sequence, body).raw


def _answers_sealed(type_: int) -> Callable[[Puppet], bool]:
    return lambda puppet: puppet.count(type_, sealed=True) > 0


# --- in the clear -------------------------------------------------------------------------------


def _clear_alerts(side: Side, part: str) -> tuple[Case, Case]:
    return (
        _untouched(
            Rule(
                f"traps/dtls/alert-in-the-clear-after-keys-{part}",
                "A fatal alert that is not sealed ends no association that has keys.",
                traps=("DTLS 7",),
            ),
            sends="a fatal alert in the clear, under a fresh record number",
            harm=lambda puppet: puppet.send_alert(40),
            side=side,
        ),
        _untouched(
            Rule(
                f"traps/dtls/close-in-the-clear-after-keys-{part}",
                "A close_notify that is not sealed ends no association that has keys.",
                traps=("DTLS 7",),
            ),
            sends="a close_notify in the clear",
            harm=lambda puppet: puppet.send_alert(Alert.CLOSE_NOTIFY, level=WARNING),
            side=side,
        ),
    )


ALERTS_IN_THE_CLEAR = (
    *_clear_alerts(ClientPuppet, "as-server"),
    *_clear_alerts(ServerPuppet, "as-client"),
)


def _init(stage: Stage) -> bytes:
    """A packet that a server with data channels has to answer."""
    association = Association(entropy=stage.entropy, limits=SctpLimits())
    association.connect(stage.now)
    packet = association.next_transmit()
    if packet is None:
        raise Blocked("no INIT to send")
    return packet


def _init_answered(puppet: Puppet) -> bool:
    return any(each[12:13] == bytes((SCTP_INIT_ACK,)) for each in puppet.data)


@case(
    "traps/dtls/data-in-the-clear-after-keys",
    "Application data that is not sealed is given to nobody.",
    sends="an SCTP INIT as application data of epoch 0, after a handshake that agreed on channels",
    profiles=DTLS,
    good=UNDISTURBED,
    lenient=(Afterwards.ANSWERED, Afterwards.ALERTED),
    bad=(Afterwards.ENDED, Afterwards.TAKEN, Afterwards.DEAD),
    traps=("DTLS 7",),
)
def data_in_the_clear(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage, contents=("audio", "data"))
    puppet.establish()
    pulse = Pulse(puppet)
    puppet.send_record(ContentType.APPLICATION_DATA, _init(stage), note="an INIT in the clear")
    return pulse.after(lambda: _init_answered(puppet))


hello_in_the_clear = _untouched(
    Rule(
        "rfc6347/4.2.8/hello-after-keys",
        "A ClientHello in the clear, which may be anybody's, does not end an association.",
        requirements=("rfc6347/4.2.8/1",),
        traps=("DTLS 11",),
    ),
    sends="a new ClientHello in epoch 0 after the handshake",
    harm=lambda puppet: puppet.send_record(
        ContentType.HANDSHAKE, _message(HandshakeType.CLIENT_HELLO, 0, _new_hello(puppet))
    ),
    answers=True,
)


def _new_hello(puppet: Puppet) -> bytes:
    if not isinstance(puppet, ClientPuppet):
        raise TypeError("servers say no hello")
    return puppet.offer.but(random=puppet.call.stage.entropy(32)).encode()


finished_in_the_clear = _untouched(
    Rule(
        "traps/dtls/finished-in-the-clear-after-keys",
        "A Finished in the clear after the handshake is let go.",
        traps=("DTLS 7",),
    ),
    sends="a Finished of zeros in epoch 0",
    harm=lambda puppet: puppet.send_record(
        ContentType.HANDSHAKE, _message(HandshakeType.FINISHED, puppet.sequence, bytes(12))
    ),
    alerts=True,
)

change_in_the_clear = _untouched(
    Rule(
        "rfc6347/4.1/change-cipher-spec-after-keys",
        "A ChangeCipherSpec after the handshake switches nothing.",
        requirements=("rfc6347/4.1/7",),
        traps=("DTLS 11",),
    ),
    sends="a ChangeCipherSpec in epoch 0",
    harm=lambda puppet: puppet.send_record(ContentType.CHANGE_CIPHER_SPEC, b"\x01"),
    alerts=True,
)

rubbish_in_the_clear = _untouched(
    Rule(
        "rfc6347/4.1.2.7/rubbish-after-keys", "Records that are none do not disturb an association."
    ),
    sends="rubbish that begins as records do, a record cut short, and one of no known type",
    harm=lambda puppet: _raw(
        puppet,
        b"\x14" + b"\xff" * 40,
        b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x01\x00" + bytes(9),
        b"\x3f\xfe\xfd" + bytes(10),
    ),
)

# --- epochs, numbers, tags ----------------------------------------------------------------------


future_epoch = _untouched(
    Rule(
        "rfc6347/4.1/future-epoch",
        "A record of an epoch that has not begun is let go.",
        requirements=("rfc6347/4.1/1",),
    ),
    sends="a close_notify sealed under the right keys and said to be of epoch 2",
    harm=lambda puppet: puppet.send_alert(Alert.CLOSE_NOTIFY, level=WARNING, epoch=2),
    alerts=True,
)

highest_epoch = _untouched(
    Rule(
        "rfc6347/4.1/highest-epoch",
        "The highest epoch there is does not come after the first.",
        requirements=("rfc6347/4.1/7",),
    ),
    sends="a close_notify sealed under the right keys and said to be of epoch 65535",
    harm=lambda puppet: puppet.send_alert(Alert.CLOSE_NOTIFY, level=WARNING, epoch=0xFFFF),
    alerts=True,
)


def _forge(puppet: Puppet, *, number: int) -> None:
    """A sealed close_notify that somebody has changed under way."""
    part = Part(ContentType.ALERT, bytes((WARNING, 0)), 1, None, record.DTLS_1_2, number)
    good = puppet.writer.record(part)
    puppet.send_raw(good[:-1] + bytes((good[-1] ^ 0xFF,)), "forged")


forged = _untouched(
    Rule(
        "rfc6347/4.1.2.7/forged-record",
        "A record whose tag does not verify is let go.",
        requirements=("rfc6347/4.1.2.6/8",),
    ),
    sends="a sealed close_notify whose last byte was changed",
    harm=lambda puppet: _forge(puppet, number=puppet.writer.sealed),
    alerts=True,
)

forged_far_ahead = _untouched(
    Rule(
        "traps/dtls/forged-number-far-ahead",
        "A forged record with a number far ahead does not move the window: honest ones behind it "
        "are still taken.",
        requirements=("rfc6347/4.1.2.6/8",),
        traps=("DTLS 8",),
    ),
    sends="a record with a broken tag and number 1,000,000, then our last flight again",
    harm=lambda puppet: _forge(puppet, number=1_000_000),
    by_media=False,
    alerts=True,
)

too_short_to_be_sealed = _untouched(
    Rule(
        "traps/dtls/shorter-than-its-tag",
        "Records too short to hold a nonce and a tag are let go.",
        requirements=("rfc6347/4.1.2.6/8",),
        traps=("DTLS 11",),
    ),
    sends="application data of epoch 1 of 0, 1, 7, 8, 15, 16, 23 and 24 bytes",
    harm=lambda puppet: _raw(
        puppet,
        *(
            record.encode(ContentType.APPLICATION_DATA, 1 << 48 | 500 + size, bytes(size))
            for size in (0, 1, 7, 8, 15, 16, 23, 24)
        ),
    ),
    alerts=True,
)

too_long_inside = _untouched(
    Rule(
        "rfc5246/6.2.1/plaintext-too-long",
        "A record with more than 16,384 bytes inside is let go.",
        requirements=("rfc6347/4.1.1.1/4",),
        traps=("DTLS 11",),
    ),
    sends="application data of 16,385 bytes, well sealed",
    harm=lambda puppet: (
        puppet.send_record(ContentType.APPLICATION_DATA, bytes((1 << 14) + 1), epoch=1).__len__()
        and None
    ),
    alerts=True,
)

nothing_inside = _untouched(
    Rule(
        "rfc5246/6.2.1/empty-application-data",
        "Application data of no bytes is allowed and means nothing.",
    ),
    sends="a sealed record of application data with nothing in it",
    harm=lambda puppet: _sealed(puppet, ContentType.APPLICATION_DATA, b""),
)


empty_alert = _untouched(
    Rule(
        "rfc5246/6.2.1/empty-alert",
        "An alert of no bytes, or of three, is none.",
        level=Level.SHOULD,
    ),
    sends="sealed alerts of no bytes, of one and of three",
    harm=lambda puppet: _sealed(puppet, ContentType.ALERT, b"", b"\x02", b"\x02\x28\x00"),
    alerts=True,
)

unknown_sealed = _untouched(
    Rule(
        "rfc5246/6/unknown-type-under-keys",
        "A sealed record of no known type, or a ChangeCipherSpec, does not disturb an association.",
    ),
    sends="a sealed record of content type 99, and a sealed ChangeCipherSpec",
    harm=lambda puppet: (
        _sealed(puppet, 99, b"\x01"),
        _sealed(puppet, ContentType.CHANGE_CIPHER_SPEC, b"\x01"),
    ),
    alerts=True,
)

warning = _untouched(
    Rule(
        "rfc5246/7.2/warning-under-keys",
        "A warning that the server does not know, or need not heed, ends nothing.",
        level=Level.SHOULD,
    ),
    sends="sealed warnings: no_renegotiation, and one that nobody has defined",
    harm=lambda puppet: _sealed(
        puppet, ContentType.ALERT, bytes((WARNING, Alert.NO_RENEGOTIATION)), bytes((WARNING, 211))
    ),
)

# --- replays ------------------------------------------------------------------------------------


@case(
    "rfc6347/4.1.2.6/replayed-record",
    "A record that has been taken is not taken a second time.",
    sends="our sealed Finished under a new number, to which the server says its last flight again; "
    "then that very record three times more",
    profiles=DTLS,
    level=Level.SHOULD,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.1.2.6/3",),
    traps=("DTLS 8",),
)
def replayed_record(stage: Stage) -> Observed:
    puppet = _with_last_flight(stage)
    sent = puppet.send(puppet.flight[-1:], note="Finished again")
    puppet.wait(puppet.patience)
    before = puppet.count(HandshakeType.FINISHED, sealed=True)
    for _ in range(3):
        for datagram in sent:
            puppet.send_raw(datagram, "that very record again")
        puppet.wait(puppet.patience / 2)
    if (more := puppet.count(HandshakeType.FINISHED, sealed=True) - before) > 0:
        return Checked.WRONG, f"it was answered {more} times"
    return Checked.RIGHT if puppet.alive else (Checked.WRONG, "no check is answered any more")


def _with_last_flight(stage: Stage) -> ClientPuppet:
    """Raises Unsupported where the server does not say its last flight again, which another case is
    about: it is the one sign that a sealed record was taken."""
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    if not says_last_flight_again(puppet):
        raise Unsupported("nothing shows whether a record was taken")
    return puppet


@case(
    "rfc6347/4.1.2.6/reordered-records",
    "A record that was overtaken by up to 31 others is taken all the same.",
    sends="our sealed Finished under number 200, then under 169",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.1.2.6/5",),
)
def reordered_records(stage: Stage) -> Observed:
    puppet = _with_last_flight(stage)
    for number in (200, 169):
        puppet.wait(puppet.patience / 2)
        before = puppet.count(HandshakeType.FINISHED, sealed=True)
        puppet.send_record(ContentType.HANDSHAKE, puppet.flight[-1].content, epoch=1, number=number)
        heard = puppet.wait(
            puppet.patience,
            lambda before=before: (  # type: ignore[misc]
                puppet.count(HandshakeType.FINISHED, sealed=True) > before
            ),
        )
        if not heard:
            return Checked.WRONG, f"number {number} is not taken"
    return Checked.RIGHT


@case(
    "traps/dtls/nonces",
    "No two records are sealed with the same nonce.",
    sends="our last flight, several times, so that the server seals its own as often",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.2.1/13",),
    traps=("DTLS 8",),
)
def nonces(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    for _ in range(4):
        puppet.repeat()
        puppet.wait(puppet.patience / 2)
    sealed = [each.record for each in puppet.heard if each.record.epoch == 1]
    numbers = [each.number for each in sealed]
    if len(set(numbers)) != len(numbers):
        return Checked.WRONG, "a record number was used twice"
    if puppet.suite.explicit_nonce:
        explicit = [each.fragment[:8] for each in sealed]
        if len(set(explicit)) != len(explicit):
            return Checked.WRONG, "an explicit nonce was used twice"
    return Checked.RIGHT, f"{len(numbers)} records"


# --- renegotiation ------------------------------------------------------------------------------


renegotiation = _untouched(
    Rule(
        "rfc5246/7.4.1.2/renegotiation",
        "A second handshake under the keys of the first is not begun.",
        traps=("DTLS 11",),
    ),
    sends="a sealed ClientHello with the next message_seq",
    harm=lambda puppet: _sealed(
        puppet,
        ContentType.HANDSHAKE,
        _message(HandshakeType.CLIENT_HELLO, puppet.sequence, _new_hello(puppet)),
    ),
    effect=_answers_sealed(HandshakeType.SERVER_HELLO),
    answers=True,
    alerts=True,
    ends=True,
)

renegotiation_from_zero = _untouched(
    Rule(
        "traps/dtls/renegotiation-from-zero",
        "A second handshake is not begun either where the client counts its messages anew.",
        traps=("DTLS 11",),
    ),
    sends="a sealed ClientHello with message_seq 0",
    harm=lambda puppet: _sealed(
        puppet,
        ContentType.HANDSHAKE,
        _message(HandshakeType.CLIENT_HELLO, 0, _new_hello(puppet)),
    ),
    effect=_answers_sealed(HandshakeType.SERVER_HELLO),
    answers=True,
    alerts=True,
    ends=True,
)

hello_request = _untouched(
    Rule(
        "rfc5246/7.4.1.1/hello-request",
        "A client that is asked for a second handshake begins none.",
        traps=("DTLS 11",),
    ),
    sends="a sealed HelloRequest",
    harm=lambda puppet: _sealed(
        puppet, ContentType.HANDSHAKE, _message(HandshakeType.HELLO_REQUEST, puppet.sequence, b"")
    ),
    effect=_answers_sealed(HandshakeType.CLIENT_HELLO),
    side=ServerPuppet,
    answers=True,
    alerts=True,
    ends=True,
)

hello_request_in_the_clear = _untouched(
    Rule(
        "rfc5246/7.4.1.1/hello-request-in-the-clear",
        "A HelloRequest in the clear after the handshake is let go.",
        traps=("DTLS 7",),
    ),
    sends="a HelloRequest in epoch 0",
    harm=lambda puppet: puppet.send_record(
        ContentType.HANDSHAKE, _message(HandshakeType.HELLO_REQUEST, 0, b"")
    ),
    side=ServerPuppet,
    alerts=True,
)

# --- data before its time -----------------------------------------------------------------------


@case(
    "rfc6347/4.2.4/data-before-finished",
    "Data that has overtaken the Finished does not spoil the handshake.",
    sends="sealed application data between ChangeCipherSpec and Finished",
    profiles=DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    requirements=("rfc6347/4.2.4/2",),
)
def data_before_finished(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    early = Part(ContentType.APPLICATION_DATA, b"early", 1)
    return puppet.handshake(arrange=lambda parts: [*parts[:-1], early, parts[-1]], pack=apart)


@case(
    "rfc6347/4.1/data-without-finished",
    "Data under the new keys is not acted on before the Finished has come.",
    sends="the second flight without Finished, and a sealed SCTP INIT",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.1/5", "rfc6347/4.2.4/2"),
    traps=("DTLS 10",),
)
def data_without_finished(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage, contents=("audio", "data"))
    puppet.need_flight()
    puppet.send_second(arrange=lambda parts: parts[:-1])
    _sealed(puppet, ContentType.APPLICATION_DATA, _init(stage))
    puppet.wait(puppet.patience, lambda: bool(puppet.data))
    if puppet.data or puppet.is_finished:
        return Checked.WRONG, "the server has gone on without a Finished"
    return Checked.RIGHT


@case(
    "traps/dtls/records-ahead-of-their-keys",
    "Records of an epoch whose keys do not exist yet are not collected without bound.",
    sends="300 records of epoch 1 with 1,000 bytes each before the ClientHello, then a handshake",
    profiles=DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 9",),
)
def records_ahead(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    for number in range(300):
        puppet.send_raw(record.encode(23, 1 << 48 | number, bytes(1000)), "epoch 1, too early")
    return puppet.handshake()
