"""From whom DTLS is taken, and from when on.

A check with the call's password shows that an address is the client's; DTLS alone shows nothing
until its handshake is over. So a stranger's hello must not be answered, let alone spoil the
client's, and the client's must not be kept waiting for more than that check.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule, Seen, Unsupported, case
from conformance.probe.call import open_call
from conformance.probe.dtls import COMPLETED, NOT_COMPLETED, Handshaken, Odd, Puppet
from conformance.probe.dtls_client import ClientPuppet, stranger
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.dtls_wire import Part
from conformance.probe.profiles import ICE_AND_DTLS
from conformance.probe.stun import validate
from conformance.stage import Stage
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.record import ContentType


class Raced(Seen):
    """What a stranger has come to, and the client beside it."""

    UNDISTURBED = "the stranger got nothing, and the client's handshake ended with keys"
    ANSWERED = "the stranger was answered in DTLS"
    SPOILT = "the client's handshake came to no end"


def _race(
    rule: Rule,
    *,
    sends: str,
    before: Callable[[Puppet], object] = lambda other: None,
    amid: Callable[[Puppet], object] = lambda other: None,
) -> Case:
    """A stranger at an address of its own, before the client's hello and amid its handshake."""

    @rule.asked(
        sends=sends,
        profiles=ICE_AND_DTLS,
        good=(Raced.UNDISTURBED,),
        bad=(Raced.ANSWERED, Raced.SPOILT),
    )
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        other = stranger(puppet.call)
        before(other)
        try:
            completed = puppet.greet()
            if completed:
                puppet.read_flight()
                amid(other)
                puppet.wait(stage.patience / 10)
                puppet.send_second()
                completed = puppet.finish()
        except Odd as error:
            return Raced.SPOILT, str(error)
        other.wait(0.0)
        if other.heard:
            return Raced.ANSWERED, f"with {len(other.heard)} records"
        return Raced.UNDISTURBED if completed else (Raced.SPOILT, _why(puppet))

    return steps


def _why(puppet: ClientPuppet) -> str:
    seen, detail = puppet.failure(Handshaken.STOPPED)
    return f"{seen.value} {detail}".strip()


def _hello(other: Puppet) -> object:
    if isinstance(other, ClientPuppet):
        return other.send_hello(note="a stranger's ClientHello")
    return None


def _broken_hello(other: Puppet) -> object:
    if isinstance(other, ClientPuppet):
        broken = other.offer.but(version=0xFEFF, suites=(0,), extensions=None)
        return other.send_hello(broken.encode(), note="a stranger's broken ClientHello")
    return None


def _half_a_hello(other: Puppet) -> None:
    if isinstance(other, ClientPuppet):
        other.send([Part.of(other.make_hello()).cut(0, 60)], note="half a ClientHello")


strangers_hello_first = _race(
    Rule(
        "traps/dtls/hello-race-good",
        "A hello from an address that no check has validated is not answered, and takes nobody's "
        "place.",
        traps=("DTLS 6",),
    ),
    sends="a stranger's ClientHello from another address, then the client's handshake",
    before=_hello,
)

strangers_broken_hello_first = _race(
    Rule(
        "traps/dtls/hello-race-broken",
        "A stranger's hello that no server can accept does not end the call of whoever is just "
        "connecting.",
        traps=("DTLS 6",),
    ),
    sends="a stranger's ClientHello without a suite, of version 1.0, then the client's handshake",
    before=_broken_hello,
)

strangers_hello_amid = _race(
    Rule(
        "traps/dtls/hello-race-amid-a-handshake",
        "A stranger's hello amid the client's handshake does not disturb it.",
        traps=("DTLS 6",),
    ),
    sends="a stranger's ClientHello between the server's flight and the client's second",
    amid=lambda other: [act(other) for act in (_hello, _broken_hello)],
)

strangers_alert = _race(
    Rule(
        "traps/dtls/alert-of-a-stranger",
        "A stranger's alert ends nobody's handshake.",
        traps=("DTLS 6",),
    ),
    sends="fatal alerts and a close_notify from another address, before and amid the handshake",
    before=lambda other: other.send_alert(40),
    amid=lambda other: [
        other.send_record(ContentType.ALERT, each) for each in (b"\x02\x50", b"\x01\x00")
    ],
)

strangers_fragments = _race(
    Rule(
        "traps/dtls/fragments-of-a-stranger",
        "What a stranger sends is not put together with what the client sends.",
        traps=("DTLS 6",),
    ),
    sends="the first half of another ClientHello from another address before the client's",
    before=_half_a_hello,
)


# --- hellos before their time -------------------------------------------------------------------


@case(
    "traps/dtls/hello-before-the-first-check",
    "A hello that comes before the first check costs no more than its repetition.",
    sends="a ClientHello before any check, then a check, then the hello again",
    profiles=ICE_AND_DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 4",),
)
def hello_before_the_first_check(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage, checked=False)
    puppet.send_hello(note="ClientHello before any check")
    puppet.wait(0.05)
    validate(puppet.call)
    return puppet.handshake()


@case(
    "traps/dtls/no-answer-before-a-check",
    "Nothing is sent to an address that no check has validated: who sends a hello with somebody "
    "else's address does not make a server flood it.",
    sends="a ClientHello to a new call, three times, and no check",
    profiles=ICE_AND_DTLS,
    good=(Raced.UNDISTURBED,),
    bad=(Raced.ANSWERED, Raced.SPOILT),
    traps=("DTLS 11",),
)
def no_answer_before_a_check(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage, checked=False)
    # An answer to a check of their own would be what validates us.
    puppet.call.reticent = True
    for _ in range(3):
        # The same each time: a server may keep it until a check has come, and then go by it.
        puppet.send_hello(note="ClientHello before any check")
    puppet.wait(2 * stage.patience)
    came = sum(13 + len(each.record.fragment) for each in puppet.heard)
    if came:
        return Raced.ANSWERED, f"{came} bytes"
    puppet.call.reticent = False
    validate(puppet.call)
    seen, detail = puppet.handshake()
    return Raced.UNDISTURBED if seen is Handshaken.COMPLETED else (Raced.SPOILT, detail)


@case(
    "traps/dtls/handshake-before-nomination-as-server",
    "A handshake need not wait for USE-CANDIDATE.",
    sends="a check that does not nominate, and at once a ClientHello",
    profiles=ICE_AND_DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 4",),
)
def handshake_before_nomination(stage: Stage) -> Observed:
    return ClientPuppet.reach(stage, nominate=False).handshake()


class Began(Seen):
    """When a DTLS client said its hello."""

    AT_ONCE = "with the first check"
    NOMINATED = "when it was nominated"
    NEVER = "never"
    UNASKED = "a hello came though the other side is to say it"
    NONE = "no hello came, as agreed"


@case(
    "traps/dtls/hello-before-nomination-as-client",
    "A server that is the DTLS client says its hello when a check has validated an address, and "
    "does not wait for USE-CANDIDATE.",
    sends="a check that does not nominate, and later one that does",
    profiles=ICE_AND_DTLS,
    level=Level.SHOULD,
    good=(Began.AT_ONCE,),
    lenient=(Began.NOMINATED,),
    bad=(Began.NEVER, Began.UNASKED, Began.NONE),
    requirements=("rfc8842/5.3/7",),
    traps=("DTLS 4",),
)
def hello_before_nomination(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage, nominate=False)
    if puppet.hear_hello(within=2 * stage.patience):
        return Began.AT_ONCE
    validate(puppet.call)
    return Began.NOMINATED if puppet.hear_hello() else Began.NEVER


# --- who says it --------------------------------------------------------------------------------


def _roles(setup: str, requirement: str) -> Case:
    """Exactly one side is the DTLS client, whatever was offered."""

    @case(
        f"rfc8842/5.3/hello-after-setup-{setup}",
        requirement,
        sends=f"an offer with setup:{setup}, and a check",
        profiles=ICE_AND_DTLS,
        good=(Began.AT_ONCE, Began.NONE),
        lenient=(Began.NOMINATED,),
        bad=(Began.NEVER, Began.UNASKED),
        requirements=("rfc8842/5.3/7", "rfc8842/5.3/8"),
        traps=("DTLS 5",),
    )
    def steps(stage: Stage) -> Observed:
        call = open_call(stage, setup=setup)
        if call.told.setup == setup:
            return Began.NEVER, f"both sides say setup:{setup}"
        validate(call)
        if call.told.setup == "active":
            puppet = ServerPuppet(call=call, identity=call.client.identity)
            came = puppet.hear_hello()
            return (Began.AT_ONCE if came else Began.NEVER), "the answer says active"
        listening = ClientPuppet(call=call, identity=call.client.identity)
        listening.wait(2 * stage.patience)
        came = listening.said(HandshakeType.CLIENT_HELLO) is not None
        return (Began.UNASKED if came else Began.NONE), "the answer says passive"

    return steps


WHO_BEGINS = (
    _roles("active", "A server whose client is the DTLS client leaves the hello to it."),
    _roles("passive", "A server whose client is the DTLS server says the hello."),
    _roles("actpass", "Where it may choose, a server takes one part and plays it."),
)

# --- a path of its own --------------------------------------------------------------------------


@case(
    "traps/dtls/second-flight-from-another-validated-address",
    "A client that moves amid its handshake, and has its new address checked, may end it there.",
    sends="a ClientHello from one address, a check from another, and the second flight from there",
    profiles=ICE_AND_DTLS,
    level=Level.MAY,
    good=COMPLETED,
    bad=NOT_COMPLETED,
)
def moves_amid_its_handshake(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    elsewhere = stage.open_socket()
    puppet.call.client.rebind(elsewhere)
    validate(puppet.call)
    puppet.socket = elsewhere
    puppet.send_second()
    if puppet.finish():
        return Handshaken.COMPLETED
    return puppet.failure(Handshaken.STOPPED)


@case(
    "traps/dtls/records-of-strangers-after-keys",
    "What a stranger sends to an association with keys, be it replayed or forged, moves no path "
    "and ends nothing.",
    sends="from another address: our sealed records again, a forged one, and an alert in the clear",
    profiles=ICE_AND_DTLS,
    good=(Raced.UNDISTURBED,),
    bad=(Raced.ANSWERED, Raced.SPOILT),
    traps=("DTLS 6",),
)
def strangers_after_keys(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.establish()
    if not puppet.echoes():
        raise Unsupported("sends no audio back")
    other = stranger(puppet.call)
    for sealed in puppet.send(puppet.flight[-1:], note="Finished again"):
        other.send_raw(sealed, "a sealed record of the client's")
        other.send_raw(sealed[:-1] + b"\x00", "the same, forged")
    other.send_alert(40)
    other.send_record(ContentType.HANDSHAKE, b"\x01" + bytes(11))
    other.wait(stage.patience)
    if other.heard or other.media:
        return Raced.ANSWERED, "the stranger was sent something"
    return Raced.UNDISTURBED if puppet.echoes() else (Raced.SPOILT, "audio does not come back")
