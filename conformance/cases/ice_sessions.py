"""Several sessions, and what is nobody's: RFC 8445, section 7.3, by the side of one server.

What finds a session by the address alone finds the wrong one as soon as two share it; what keeps
something for every name it hears can be made to keep more than it has.
"""

from conformance.case import Observed, Seen, case
from conformance.probe.call import Call, need_door, open_call
from conformance.probe.look import Checked, checked
from conformance.probe.profiles import ICE
from conformance.probe.stun import (
    Answered,
    ask,
    check,
    is_alive,
    need_credentials,
    need_life,
    reach,
    validate,
)
from conformance.probe.ways import Way, settled, way
from conformance.stage import Stage
from stunroute.address import Address


class Twins(Seen):
    """What becomes of two sessions at one address of the client's."""

    APART = "each has its own answers"
    FIRST_LOST = "the first session's checks are not answered any more"
    SECOND_LOST = "the second session's checks are not answered"


def _answers(call: Call, socket: Address) -> bool:
    """Whether a check of this session from that socket is answered, under its own password."""
    return any(
        ask(call, check(call, nominate=True), socket=socket).kind is Answered.SUCCESS
        for _ in range(3)
    )


def _apart(first: Call, second: Call, socket: Address) -> Twins:
    if not _answers(second, socket):
        return Twins.SECOND_LOST
    return Twins.APART if _answers(first, socket) else Twins.FIRST_LOST


@case(
    "traps/ice/two-sessions-at-one-address",
    "Two sessions of one client may share its address: each check is answered for the session that "
    "its USERNAME names.",
    sends="two offers, and checks for both from one socket, in turn",
    profiles=ICE,
    good=(Twins.APART,),
    bad=(Twins.FIRST_LOST, Twins.SECOND_LOST),
    requirements=("rfc8445/7.3/4",),
    traps=("STUN and ICE 9",),
)
def two_sessions_at_one_address(stage: Stage) -> Observed:
    first, second = open_call(stage), open_call(stage)
    validate(first)
    for _ in range(2):
        seen = _apart(first, second, first.socket)
        if seen is not Twins.APART:
            return seen
    return Twins.APART


@case(
    "traps/ice/a-twin-is-closed",
    "Closing one of two sessions at an address leaves the other what it has.",
    sends="two offers, checks for both from one socket, the end of the second, and a check for the "
    "first",
    profiles=ICE,
    good=(Twins.APART,),
    bad=(Twins.FIRST_LOST, Twins.SECOND_LOST),
    traps=("STUN and ICE 9",),
)
def a_twin_is_closed(stage: Stage) -> Observed:
    first, second = open_call(stage), open_call(stage)
    validate(first)
    if not _answers(second, first.socket):
        return Twins.SECOND_LOST
    _hang_up(second)
    return Twins.APART if _answers(first, first.socket) else Twins.FIRST_LOST


def _hang_up(call: Call) -> None:
    need_door(call.stage).hang_up(call.name)
    call.stage.note("hung up")


@case(
    "traps/ice/media-of-a-closed-twin",
    "Closing one of two sessions at an address leaves the other its media.",
    sends="a call with audio, checks for a second one from its socket, and the end of the second",
    profiles=ICE,
    good=(Way.OLD,),
    bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
    requirements=("rfc8445/12.1/2",),
    traps=("STUN and ICE 9",),
    lasts=1.0,
)
def media_of_a_closed_twin(stage: Stage) -> Observed:
    call = settled(stage)
    second = open_call(stage)
    _answers(second, call.socket)
    _hang_up(second)
    return way(call, call.socket, second.socket)


@case(
    "traps/ice/media-beside-a-twin",
    "A second session whose checks come from a client's address takes nothing of the first one's "
    "media.",
    sends="a call with audio, and nominations for a second one from its socket",
    profiles=ICE,
    good=(Way.OLD,),
    bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
    requirements=("rfc8445/12.1/2",),
    traps=("STUN and ICE 9",),
    lasts=1.0,
)
def media_beside_a_twin(stage: Stage) -> Observed:
    call = settled(stage)
    second = open_call(stage)
    _answers(second, call.socket)
    return way(call, call.socket, second.socket)


class Crossed(Seen):
    """A check with the credentials of two sessions."""

    REFUSED = "it is refused, or nobody answers"
    TAKEN = "it is answered with success"
    DEAD = "good checks are not answered any more"


@case(
    "rfc8489/9.1.3/password-of-another-session",
    "The password of one session is worth nothing in another, though both are on one server.",
    sends="two offers, and a check for the first that is signed with the password of the second",
    profiles=ICE,
    good=(Crossed.REFUSED,),
    bad=(Crossed.TAKEN, Crossed.DEAD),
    requirements=("rfc8489/9.1.3/8", "rfc8445/7.3/2"),
    traps=("STUN and ICE 5", "STUN and ICE 9"),
)
def password_of_another_session(stage: Stage) -> Observed:
    first, second = open_call(stage), open_call(stage)
    password = need_credentials(second)[1]
    reply = ask(first, check(first, password=password))
    if reply.kind in (Answered.SUCCESS, Answered.UNSOUND):
        return Crossed.TAKEN, reply.detail
    return Crossed.REFUSED if is_alive(first) and is_alive(second) else Crossed.DEAD


@case(
    "rfc8445/5.3/drawn-for-each-session",
    "Each session has a ufrag and a password of its own.",
    sends="the same offer twice",
    profiles=ICE,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc8445/5.3/6", "rfc8839/5.4/3", "rfc8839/5.4/2"),
)
def drawn_for_each_session(stage: Stage) -> Observed:
    first, second = open_call(stage), open_call(stage)
    ufrags = first.told.ufrag != second.told.ufrag
    passwords = first.told.password != second.told.password
    return checked(None if ufrags and passwords else "a part is the same in both")


class Ended(Seen):
    """What a session that has ended still does."""

    OVER = "its checks are not answered with success, and new calls are"
    LIVES_ON = "its checks are answered with success"
    DEAD = "a new call's checks are not answered either"


@case(
    "rfc8445/7.3/session-that-is-over",
    "When a call has been hung up, its ufrag is that of no session in progress.",
    sends="a check, the end of the call, and a check again",
    profiles=ICE,
    good=(Ended.OVER,),
    bad=(Ended.LIVES_ON, Ended.DEAD),
    requirements=("rfc8445/7.3/4", "rfc8445/11/8"),
)
def session_that_is_over(stage: Stage) -> Observed:
    call = open_call(stage)
    need_life(call)
    _hang_up(call)
    call.listen(0.1)
    if any(ask(call, check(call)).kind is Answered.SUCCESS for _ in range(2)):
        return Ended.LIVES_ON
    return Ended.OVER if is_alive(open_call(stage)) else Ended.DEAD


class Flood(Seen):
    """What many checks for nobody come to."""

    QUIET = "none is answered, and good checks are"
    REFUSED = "some are refused, and good checks are answered"
    ANSWERED = "one is answered with success"
    DEAD = "good checks are not answered any more"


FLOOD = 400


@case(
    "traps/ice/flood-of-unknown-names",
    "However many sessions are asked for that do not exist, the one that does is served.",
    sends=f"{FLOOD} checks for as many sessions that nobody opened, from one socket, and good ones "
    "from another",
    profiles=ICE,
    good=(Flood.QUIET, Flood.REFUSED),
    bad=(Flood.ANSWERED, Flood.DEAD),
    requirements=("rfc8489/9.1.3/5",),
    traps=("STUN and ICE 10",),
)
def flood_of_unknown_names(stage: Stage) -> Observed:
    asker = reach(stage)
    need_credentials(asker)
    need_life(asker)
    stranger = stage.open_socket()
    numbers = set()
    arrivals = []
    for count in range(FLOOD):
        name = f"n{count}{stage.entropy(4).hex()}:probe".encode()
        request = check(asker, username=name)
        numbers.add(request[8:20])
        asker.send(request, socket=stranger)
        if count % 20 == 19:  # no more at once than a socket's buffer holds
            arrivals += stage.listen(0.01)
    arrivals += stage.listen(stage.patience)
    refused = 0
    for arrival in arrivals:
        if arrival.data[8:20] not in numbers:
            asker.take(arrival)
        elif arrival.data[:2] == b"\x01\x01":
            return Flood.ANSWERED
        else:
            refused += 1
    if not is_alive(asker):
        return Flood.DEAD
    return (Flood.REFUSED, f"{refused} of {FLOOD}") if refused else Flood.QUIET
