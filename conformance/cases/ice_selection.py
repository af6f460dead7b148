"""Which pair a server uses: RFC 8445, sections 7.3.1.5, 8.1.1 and 12.1, and who tries to move it.

A call is up and its audio goes to the client's socket. Then something arrives from another socket
of ours, and audio is looked for again. The priorities of later nominations are higher than those of
earlier ones, so that an agent which goes by priorities comes to the same pair as one which goes by
the newest word.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule
from conformance.probe.call import Call
from conformance.probe.profiles import ICE
from conformance.probe.stun import ask, check, need_credentials, validate
from conformance.probe.stun_draft import draft
from conformance.probe.ways import Way, settled, speak, way
from conformance.stage import Stage
from conformance.trail import Crossing
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify

HIGHER = 1862270975
HIGHEST = 2130706431
NOMINATION = 0xC001

Act = Callable[[Call, Address], None]


def _case(rule: Rule, *, sends: str, act: Act, good: tuple[Way, ...]) -> Case:
    """A call that is up. ``act`` does something from another socket, and then audio is looked for
    at both."""

    @rule.asked(
        sends=sends,
        profiles=ICE,
        good=good,
        bad=tuple(each for each in Way if each not in good),
        lasts=1.0,
    )
    def steps(stage: Stage) -> Observed:
        call = settled(stage)
        old, new = call.socket, stage.open_socket()
        act(call, new)
        return way(call, old, new)

    return steps


def _stays(rule: Rule, sends: str, act: Act) -> Case:
    """What must not move the pair."""
    return _case(rule, sends=sends, act=act, good=(Way.OLD,))


def _moves(rule: Rule, sends: str, act: Act) -> Case:
    """What has to move it."""
    return _case(rule, sends=sends, act=act, good=(Way.NEW,))


def _send(request: Callable[[Call], bytes]) -> Act:
    """Ask from the new socket; what is answered is not the question here."""
    return lambda call, new: _ask(call, request(call), new)


def _ask(call: Call, request: bytes, socket: Address) -> None:
    ask(call, request, socket=socket, within=0.1)


def _password(call: Call) -> bytes:
    return need_credentials(call)[1]


def _behind_integrity(call: Call) -> bytes:
    begun = draft(call).sign(_password(call))
    return begun.add(stun.Attribute.USE_CANDIDATE).close().message()


def _copy(call: Call, new: Address) -> None:
    """A nomination of the client's goes out again from elsewhere."""
    request = check(call, nominate=True, priority=HIGHER)
    ask(call, request)
    _ask(call, request, new)


def _speak_from(call: Call, new: Address) -> None:
    """The client's own audio, good in all, from an address that no check has come from."""
    old = call.socket
    call.client.rebind(new)
    speak(call)
    call.client.rebind(old)


def _repeat_from(call: Call, new: Address) -> None:
    """Audio that the client has sent before, again from elsewhere."""
    speak(call)
    sent = [
        entry.data
        for entry in call.stage.trail.entries
        if isinstance(entry, Crossing) and entry.sent and classify(entry.data) is Kind.RTP
    ]
    for data in sent[-4:]:
        call.send(data, socket=new, note="a copy of earlier audio")
    call.run(0.05)


def _nominate_again(call: Call, new: Address) -> None:
    for _ in range(3):
        validate(call)


def _twenty_sockets(call: Call, new: Address) -> None:
    """More addresses than anybody has room for, all of them good."""
    for socket in [new, *(call.stage.open_socket() for _ in range(24))]:
        _ask(call, check(call), socket)


STRANGERS = (
    _stays(
        Rule(
            "rfc8445/7.3/forged-nomination",
            "A check that is signed with another password moves nothing.",
            requirements=("rfc8445/7.3/2", "rfc8445/12.1/2"),
            traps=("STUN and ICE 5",),
        ),
        "a nomination with another password from another address",
        _send(lambda call: check(call, password=b"not what was told", nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8445/7.3/unsigned-nomination",
            "A check that is not signed moves nothing.",
            requirements=("rfc8445/7.3/2", "rfc8445/12.1/2"),
            traps=("STUN and ICE 5",),
        ),
        "a nomination without integrity from another address",
        _send(lambda call: check(call, signed=False, nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8445/7.3/nomination-of-nobody",
            "A check whose USERNAME has its halves swapped moves nothing, though it is signed.",
            requirements=("rfc8445/7.3/4", "rfc8445/12.1/2"),
            traps=("STUN and ICE 2", "STUN and ICE 5"),
        ),
        "a signed nomination with the halves of its USERNAME swapped, from another address",
        _send(lambda call: check(call, username=_swapped(call), nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8445/11/indication-nominates-nothing",
            "An indication keeps a binding open and moves nothing.",
            requirements=("rfc8445/12.1/2",),
            traps=("STUN and ICE 4", "STUN and ICE 5"),
        ),
        "a signed Binding indication with USE-CANDIDATE from another address",
        _send(lambda call: check(call, message_class=stun.MessageClass.INDICATION, nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8489/6.3.3/response-nominates-nothing",
            "A response to nothing moves nothing.",
            requirements=("rfc8445/12.1/2",),
            traps=("STUN and ICE 5",),
        ),
        "a signed success response with USE-CANDIDATE from another address",
        _send(lambda call: check(call, message_class=stun.MessageClass.SUCCESS, nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8489/9/use-candidate-behind-integrity",
            "What follows the integrity is ignored: nobody on the way nominates.",
            requirements=("rfc8489/9/1", "rfc8445/12.1/2"),
            traps=("STUN and ICE 5",),
        ),
        "a good check from another address with USE-CANDIDATE behind its integrity",
        _send(_behind_integrity),
    ),
    _stays(
        Rule(
            "traps/ice/copied-nomination",
            "A nomination that somebody on the way copies and sends again from elsewhere does not "
            "move the call there.",
            level=Level.SHOULD,
            requirements=("rfc8445/12.1/2",),
            traps=("STUN and ICE 5",),
        ),
        "a nomination from the client, and the same bytes from another address",
        _copy,
    ),
    _stays(
        Rule(
            "rfc7675/5.1/audio-brings-no-consent",
            "Audio that comes from an address which no check has come from, though it is "
            "authentic, does not turn the server's packets there: nobody has consented to them.",
            requirements=("rfc7675/5.1/1", "rfc8445/12.2/4"),
            traps=("SRTP, RTP, RTCP 3", "Facts"),
        ),
        "the client's own audio from another address",
        _speak_from,
    ),
    _stays(
        Rule(
            "rfc7675/5.1/copied-audio-brings-no-consent",
            "Copies of old audio turn nothing.",
            requirements=("rfc7675/5.1/1",),
            traps=("STUN and ICE 5",),
        ),
        "audio of the client again from another address",
        _repeat_from,
    ),
)


def _swapped(call: Call) -> bytes:
    ours, _, theirs = need_credentials(call)[0].partition(b":")
    return theirs + b":" + ours


REFUSED = (
    _stays(
        Rule(
            "rfc8445/7.3.1.5/plain-check-nominates-nothing",
            "A check without USE-CANDIDATE does not move a call whose pair is nominated and in "
            "use.",
            requirements=("rfc8445/12.1/2",),
            traps=("STUN and ICE 7",),
        ),
        "a good check without USE-CANDIDATE from another address",
        _send(check),
    ),
    _stays(
        Rule(
            "rfc8445/7.3.1.1/conflict-nominates-nothing",
            "A check that is refused for a role conflict moves nothing.",
            requirements=("rfc8445/7.3.1.1/3", "rfc8445/7.3.1.5/2"),
            traps=("STUN and ICE 6",),
        ),
        "a signed nomination in the controlled role from another address",
        _send(lambda call: check(call, controlling=None, controlled=2**64 - 1, nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8489/6.3.1/refused-nomination",
            "A nomination that is refused with 420 moves nothing.",
            requirements=("rfc8445/7.3.1.5/2",),
            traps=("STUN and ICE 3",),
        ),
        "a signed nomination with attribute 0x7ffe from another address",
        _send(lambda call: check(call, attributes=[(0x7FFE, b"what")], nominate=True)),
    ),
    _stays(
        Rule(
            "rfc8445/8.1.1/nominated-twice",
            "The same pair may be nominated again.",
            requirements=("rfc8445/12.1/2",),
            traps=("STUN and ICE 7",),
        ),
        "three more nominations from the client's own socket",
        _nominate_again,
    ),
    _stays(
        Rule(
            "traps/ice/many-addresses",
            "However many addresses a client checks from, the pair in use is not forgotten.",
            requirements=("rfc8445/12.1/2",),
        ),
        "good checks from twenty-five other addresses",
        _twenty_sockets,
    ),
)


def _nominate(call: Call, new: Address) -> None:
    ask(call, check(call, nominate=True, priority=HIGHER), socket=new)


def _there_and_back(call: Call, new: Address) -> None:
    _nominate(call, new)
    call.run(0.05)
    ask(call, check(call, nominate=True, priority=HIGHEST))


def _renominate(call: Call, new: Address, first: int, then: int) -> None:
    """By libwebrtc's counter: the client's own socket has the one value, the new one the other."""
    for value, socket in ((first, call.socket), (then, new)):
        attributes = [(NOMINATION, stun.encode_uint32(value))]
        request = check(call, nominate=True, priority=HIGHER, attributes=attributes)
        ask(call, request, socket=socket)


def _rebind(call: Call, new: Address, *, nominate: bool, media_first: bool = True) -> None:
    """The client's NAT has given it another address: audio comes from there, and then a check."""
    call.client.rebind(new)
    if media_first:
        speak(call)
    ask(call, check(call, nominate=nominate, priority=HIGHER), socket=new)


MOVES = (
    _moves(
        Rule(
            "traps/ice/later-nomination",
            "A later nomination moves the call.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7",),
        ),
        "a good nomination from another address",
        _nominate,
    ),
    _stays(
        Rule(
            "traps/ice/nominated-there-and-back",
            "A nomination that follows a later one moves the call back.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7",),
        ),
        "a good nomination from another address, and one from the first",
        _there_and_back,
    ),
    _moves(
        Rule(
            "traps/ice/renomination",
            "A renomination with a higher value moves the call.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7",),
        ),
        "nominations that count 1 from the old address and 2 from another",
        lambda call, new: _renominate(call, new, 1, 2),
    ),
    _stays(
        Rule(
            "traps/ice/overtaken-renomination",
            "A renomination with a lower value was overtaken on its way, and moves nothing.",
            level=Level.MAY,
            traps=("STUN and ICE 7",),
        ),
        "nominations that count 7 from the old address and 6 from another",
        lambda call, new: _renominate(call, new, 7, 6),
    ),
    _moves(
        Rule(
            "traps/ice/rebinding-by-audio",
            "When a NAT has given the client another address, audio comes from there first; with "
            "the next nomination the server's packets follow.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7", "SRTP, RTP, RTCP 3", "Facts"),
        ),
        "audio from another address, then a nomination from there",
        lambda call, new: _rebind(call, new, nominate=True),
    ),
    _moves(
        Rule(
            "traps/ice/rebinding-of-one-who-nominates-once",
            "A client that nominates only once is followed too: its audio and a plain check come "
            "from another address.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7", "Facts"),
        ),
        "audio from another address, then a check without USE-CANDIDATE from there",
        lambda call, new: _rebind(call, new, nominate=False),
    ),
    _moves(
        Rule(
            "traps/ice/rebinding-by-check",
            "After a nomination from another address audio is taken from there, and goes there.",
            level=Level.SHOULD,
            traps=("STUN and ICE 7",),
        ),
        "a nomination from another address, then audio from there",
        lambda call, new: _rebind(call, new, nominate=True, media_first=False),
    ),
)
