"""What is said again, when, and under which numbers (RFC 6347, 4.2.4).

The server is the DTLS server here; its last flight is the one that nothing but the client's
repetition can bring back.
"""

from conformance.case import Level, Observed, Seen, case
from conformance.probe.dtls import TRIES, Puppet
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.look import Checked
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.record import ContentType

PATIENT = 2.5
"""Seconds within which a flight is repeated by any timer near the recommended second."""


class Repeated(Seen):
    """What became of a flight that was lost."""

    RESENT = "it was said again"
    CHANGED = "it was said again, and differently"
    NOT_RESENT = "it was not said again"
    DEAD = "no check is answered any more"


RESENT = (Repeated.RESENT,)
NOT_RESENT = (Repeated.CHANGED, Repeated.NOT_RESENT, Repeated.DEAD)


def _bodies(puppet: Puppet, type_: int) -> list[bytes]:
    """The contents of plain records that begin with such a message, but for what comes behind it
    in the record."""
    return [
        each.content
        for each in puppet.heard
        if each.record.content_type == ContentType.HANDSHAKE
        and not each.record.epoch
        and each.content is not None
        and each.content[:1] == bytes((type_,))
    ]


def _twice(puppet: Puppet, type_: int) -> list[bytes]:
    """What came more than once of a message. It may come in pieces, each of which is said again:
    a piece is known by its place."""
    said: dict[bytes, list[bytes]] = {}
    for body in _bodies(puppet, type_):
        said.setdefault(body[6:9], []).append(body)
    return next((each for each in said.values() if len(each) > 1), [])


def _resent(puppet: Puppet, type_: int, seconds: float) -> Repeated:
    puppet.wait(seconds, lambda: _twice(puppet, type_))
    if said := _twice(puppet, type_):
        return Repeated.RESENT if len(set(said)) == 1 else Repeated.CHANGED
    return Repeated.NOT_RESENT if puppet.alive else Repeated.DEAD


# --- the server's first flight ------------------------------------------------------------------


@case(
    "rfc6347/4.2.4/flight-without-answer",
    "A server whose flight is not answered says it again, the same messages.",
    sends="a ClientHello, and then nothing",
    profiles=DTLS,
    level=Level.SHOULD,
    good=RESENT,
    bad=NOT_RESENT,
    lasts=PATIENT,
)
def flight_without_answer(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    return _resent(puppet, HandshakeType.SERVER_HELLO, PATIENT)


@case(
    "rfc6347/4.2.4/hello-repeated",
    "A client that has not heard the server's flight, and says its hello again, hears it again.",
    sends="a ClientHello, and the same again under another record number",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
)
def hello_repeated(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    puppet.wait(0.1)
    puppet.repeat(note="the same ClientHello")
    return _resent(puppet, HandshakeType.SERVER_HELLO, PATIENT)


@case(
    "rfc6347/4.2.4/numbers-of-a-repetition",
    "What is said again goes out under record numbers of its own.",
    sends="a ClientHello several times",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.2.1/13",),
)
def numbers_of_a_repetition(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    for _ in range(TRIES):
        puppet.wait(0.2)
        puppet.repeat(note="the same ClientHello")
    puppet.wait(stage.patience)
    numbers = [each.record.number for each in puppet.heard if not each.record.epoch]
    if len(set(numbers)) != len(numbers):
        return Checked.WRONG, "a record number was used twice"
    return Checked.RIGHT, f"{len(numbers)} records"


@case(
    "rfc6347/4.2.4.1/backing-off",
    "The time between two repetitions of a flight grows.",
    sends="a ClientHello, and then nothing for a while",
    profiles=DTLS,
    level=Level.SHOULD,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    lasts=4.0,
)
def backing_off(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    puppet.wait(4.0, lambda: puppet.count(HandshakeType.SERVER_HELLO) > 2)
    times = [
        each.at
        for each in puppet.heard
        if each.content is not None
        and each.record.content_type == ContentType.HANDSHAKE
        and each.content[:1] == bytes((HandshakeType.SERVER_HELLO,))
    ]
    if len(times) < 3:
        return Checked.WRONG, f"said {len(times)} times in four seconds"
    first, second = times[1] - times[0], times[2] - times[1]
    detail = f"after {first:.2f} s, then after {second:.2f} s"
    return (Checked.RIGHT if second > 1.5 * first else Checked.WRONG), detail


@case(
    "traps/dtls/flood-of-hellos",
    "Copies of one hello in quick succession do not bring a flight each.",
    sends="the same ClientHello 40 times at once, from the validated address",
    profiles=DTLS,
    level=Level.SHOULD,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    traps=("DTLS 11",),
)
def flood_of_hellos(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    sent = sum(len(each) for _ in range(40) for each in puppet.send_hello())
    before = stage.trail.received_bytes
    puppet.wait(stage.patience)
    came = stage.trail.received_bytes - before
    detail = f"{came} bytes for {sent}"
    return (Checked.RIGHT if came <= 3 * sent else Checked.WRONG), detail


# --- its last flight ----------------------------------------------------------------------------


def _says_last_again(puppet: ClientPuppet, *, only_finished: bool = False) -> Repeated:
    before = puppet.count(HandshakeType.FINISHED, sealed=True)
    puppet.wait(0.1)
    if only_finished:
        puppet.send(puppet.flight[-1:], note="Finished again")
    else:
        puppet.repeat()
    heard = puppet.wait(
        2 * puppet.patience, lambda: puppet.count(HandshakeType.FINISHED, sealed=True) > before
    )
    if heard:
        said = {
            each.content
            for each in puppet.heard
            if each.opened and each.content[:1] == bytes((HandshakeType.FINISHED,))  # type: ignore[index]
        }
        return Repeated.RESENT if len(said) == 1 else Repeated.CHANGED
    return Repeated.NOT_RESENT if puppet.alive else Repeated.DEAD


@case(
    "rfc6347/4.2.4/last-flight-lost",
    "A server whose last flight is lost says it again when the client repeats its own.",
    sends="the flight from Certificate to Finished, and after the server's Finished again",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
    requirements=("rfc6347/4.2.4/1",),
    traps=("DTLS 3",),
)
def last_flight_lost(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    return _says_last_again(puppet)


@case(
    "rfc6347/4.2.4/last-flight-lost-five-times",
    "The last flight is said again as often as the client shows that it has not got it.",
    sends="the flight from Certificate to Finished five times more",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
    requirements=("rfc6347/4.2.4/1",),
    traps=("DTLS 3",),
)
def last_flight_lost_again_and_again(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    for number in range(5):
        if (seen := _says_last_again(puppet)) is not Repeated.RESENT:
            return seen, f"the {number + 1}. time"
    return Repeated.RESENT


@case(
    "traps/dtls/finished-alone-again",
    "The client's Finished is enough to show that it has not got the server's.",
    sends="after the handshake the sealed Finished alone, under a new number",
    profiles=DTLS,
    level=Level.SHOULD,
    good=RESENT,
    bad=NOT_RESENT,
    requirements=("rfc6347/4.2.4/1",),
    traps=("DTLS 3",),
)
def finished_alone_again(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    return _says_last_again(puppet, only_finished=True)


@case(
    "rfc6347/4.2.4/last-flight-lost-while-media-flows",
    "The last flight is said again also after the server has begun to send and hear media.",
    sends="audio, and then the flight from Certificate to Finished again",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
    requirements=("rfc6347/4.2.4/1",),
    traps=("DTLS 3",),
)
def last_flight_lost_while_media_flows(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    puppet.echoes()
    puppet.wait(1.0)
    return _says_last_again(puppet)


@case(
    "rfc6347/4.2.5/change-cipher-spec-with-the-repetition",
    "When the last flight is said again, ChangeCipherSpec is said with it.",
    sends="after the handshake the flight from Certificate to Finished again",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.2.5/1",),
    traps=("DTLS 3",),
)
def change_with_the_repetition(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()

    def changes() -> int:
        kind = ContentType.CHANGE_CIPHER_SPEC
        return sum(1 for each in puppet.heard if each.record.content_type == kind)

    before = changes()
    seen = _says_last_again(puppet)
    puppet.wait(stage.patience / 5)
    if seen is not Repeated.RESENT:
        return Checked.WRONG, seen.value
    if not before or changes() == before:
        return Checked.WRONG, f"{before} the first time, {changes() - before} the second"
    return Checked.RIGHT


@case(
    "rfc6347/4.1.1/size-of-datagrams",
    "Datagrams of a handshake fit the paths of the internet.",
    sends="a good handshake",
    profiles=DTLS,
    level=Level.SHOULD,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc6347/4.1.1/1", "rfc6347/4.2.3/1"),
)
def size_of_datagrams(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    sizes: dict[int, int] = {}
    for each in puppet.heard:
        sizes[each.datagram] = sizes.get(each.datagram, 0) + 13 + len(each.record.fragment)
    largest = max(sizes.values())
    return (Checked.RIGHT if largest <= 1452 else Checked.WRONG), f"the longest has {largest} bytes"


# --- as client ----------------------------------------------------------------------------------


@case(
    "rfc6347/4.2.4/hello-without-answer",
    "A client whose hello is not answered says it again, the same hello.",
    sends="nothing, though a ClientHello comes",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
    lasts=PATIENT,
    traps=("DTLS 4",),
)
def hello_without_answer(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    return _resent(puppet, HandshakeType.CLIENT_HELLO, PATIENT)


@case(
    "traps/dtls/hello-repeated-early",
    "A client says its first hello again early: some peers drop the first one.",
    sends="nothing for a fifth of a second, though a ClientHello comes",
    profiles=DTLS,
    level=Level.MAY,
    good=RESENT,
    bad=NOT_RESENT,
    traps=("DTLS 4", "Facts"),
)
def hello_repeated_early(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    return _resent(puppet, HandshakeType.CLIENT_HELLO, 0.3)


@case(
    "rfc6347/4.2.4/second-flight-without-answer",
    "A client whose second flight is not answered says it again, the Finished too.",
    sends="the flight from ServerHello to ServerHelloDone, and then nothing",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
    lasts=PATIENT,
)
def second_flight_without_answer(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    puppet.send_first()
    puppet.receive_second()
    seen = _resent(puppet, HandshakeType.CLIENT_KEY_EXCHANGE, PATIENT)
    puppet.wait(stage.patience, lambda: puppet.count(HandshakeType.FINISHED, sealed=True) > 1)
    if seen is Repeated.RESENT and puppet.count(HandshakeType.FINISHED, sealed=True) < 2:
        return Repeated.CHANGED, "without Finished"
    return seen


@case(
    "rfc6347/4.2.4/server-flight-repeated",
    "A client whose second flight is lost says it again when the server repeats its own.",
    sends="the flight from ServerHello to ServerHelloDone twice",
    profiles=DTLS,
    good=RESENT,
    bad=NOT_RESENT,
)
def server_flight_repeated(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    puppet.send_first()
    puppet.receive_second()
    puppet.wait(0.1)
    puppet.repeat()
    return _resent(puppet, HandshakeType.CLIENT_KEY_EXCHANGE, PATIENT)
