"""New credentials for a call that is up: RFC 8445, section 9, and RFC 8839, section 4.4.

Each case restarts ICE by whatever the server takes, a further offer or a fragment, and then sends
checks. What the texts say is asked in ``sdp_renewal``.
"""

from conformance.case import Case, Level, Observed, Rule, case
from conformance.probe.call import Call, open_call
from conformance.probe.look import Checked, checked
from conformance.probe.profiles import ICE
from conformance.probe.renewal import (
    Renewed,
    go_on,
    need_renewal,
    renew,
    renew_by,
    renew_by_fragment,
)
from conformance.probe.stun import Answered, ask, check, is_alive, need_life
from conformance.probe.stun_questions import FAULTS, REFUSALS
from conformance.probe.ways import (
    Way,
    settled,
    way,
)
from conformance.stage import Stage


def _up(stage: Stage) -> Call:
    """A call that is up, audio or not."""
    call = open_call(stage)
    call.establish()
    return call


@case(
    "rfc8445/9/both-change",
    "An offer with a new ufrag and a new password restarts ICE: the answer has both anew.",
    sends="an offer with new credentials for a call that is up",
    profiles=ICE,
    good=(Renewed.NEW,),
    lenient=(Renewed.REFUSED,),
    bad=(Renewed.HALF, Renewed.SAME, Renewed.UNSOUND),
    requirements=("rfc8445/9/3", "rfc8839/4.4.2.1/1", "rfc8839/5.4/3"),
    traps=("STUN and ICE 8",),
)
def both_change(stage: Stage) -> Observed:
    return renew(_up(stage))


@case(
    "rfc8839/4.4.2.1/nothing-changes-without-a-restart",
    "The answer to an offer with the same credentials has the same credentials.",
    sends="the first offer once more",
    profiles=ICE,
    good=(Renewed.SAME,),
    lenient=(Renewed.REFUSED,),
    bad=(Renewed.NEW, Renewed.HALF, Renewed.UNSOUND),
    requirements=("rfc8839/4.4.1.3/2", "rfc8839/4.4.2/1"),
    traps=("STUN and ICE 8",),
)
def nothing_changes_without_a_restart(stage: Stage) -> Observed:
    call = _up(stage)
    return renew_by(call, call.client.offer())


def _half(slug: str, what: str, change_ufrag: bool) -> Case:
    @case(
        f"traps/ice/{slug}-alone-changes",
        f"An offer that changes the {what} alone restarts ICE or is refused; it leaves no call "
        "between two states.",
        sends=f"an offer for a call that is up with a new {what} and nothing else new",
        profiles=ICE,
        good=(Renewed.NEW, Renewed.REFUSED),
        lenient=(Renewed.SAME,),
        bad=(Renewed.HALF, Renewed.UNSOUND),
        traps=("STUN and ICE 8",),
    )
    def steps(stage: Stage) -> Observed:
        call = _up(stage)
        ufrag, password = call.client.ufrag, call.client.password
        call.client.restart()
        if change_ufrag:
            call.client.password = password
        else:
            call.client.ufrag = ufrag
        seen = renew_by(call, call.client.offer())
        if seen in (Renewed.REFUSED, Renewed.SAME):
            call.client.ufrag, call.client.password = ufrag, password
        need_life(call)  # under whatever holds now
        return seen

    return steps


HALVES = (_half("ufrag", "ufrag", True), _half("password", "password", False))


@case(
    "rfc8445/9/never-the-same-again",
    "Each restart brings a ufrag and a password that were not used before.",
    sends="three offers with new credentials, one after another",
    profiles=ICE,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc8445/9/3", "rfc8839/5.4/3"),
    traps=("STUN and ICE 8",),
)
def never_the_same_again(stage: Stage) -> Observed:
    call = _up(stage)
    ufrags, passwords = {call.told.ufrag}, {call.told.password}
    for _ in range(3):
        need_renewal(call)
        ufrags.add(call.told.ufrag)
        passwords.add(call.told.password)
    return checked(None if len(ufrags) == len(passwords) == 4 else "one came twice")


def _after(
    rule: Rule,
    *,
    sends: str,
    good: tuple[Answered, ...],
    bad: tuple[Answered, ...],
    lenient: tuple[Answered, ...] = (),
    user: int = 1,
    key: int = 1,
    moved: bool = False,
) -> Case:
    """A check after a restart, with the USERNAME and the password of the credentials before (0) or
    after (1) it."""

    @rule.asked(sends=sends, profiles=ICE, good=good, bad=bad, lenient=lenient)
    def steps(stage: Stage) -> Observed:
        call = _up(stage)
        told, names = [call.told], [_name(call)]
        need_renewal(call)
        told.append(call.told)
        names.append(_name(call))
        call.told = told[key]  # whose password the answer has to be signed with
        request = check(call, username=names[user])
        reply = ask(call, request, socket=stage.open_socket() if moved else None)
        call.told = told[1]
        if reply.kind is Answered.SILENCE and not is_alive(call):
            return Answered.DEAD
        return reply.observed

    return steps


def _name(call: Call) -> bytes:
    return f"{call.told.ufrag}:{call.client.ufrag}".encode()


_ANSWERED = (*FAULTS, *REFUSALS, Answered.SILENCE)
_MIXED = (*FAULTS, Answered.SUCCESS, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT)
_SILENT = (Answered.SILENCE, Answered.BAD_REQUEST)

AFTER = (
    _after(
        Rule(
            "rfc8445/9/new-credentials-on-the-same-socket",
            "After a restart a check with the new credentials is answered where the old ones were: "
            "who looks the address up first delivers it to the agent of yesterday.",
            requirements=("rfc8445/7.3/1", "rfc8445/7.3/4"),
            traps=("STUN and ICE 8",),
        ),
        sends="a restart, and a check with the new credentials from the client's socket",
        good=(Answered.SUCCESS,),
        bad=_ANSWERED,
    ),
    _after(
        Rule(
            "rfc8445/9/new-credentials-from-elsewhere",
            "After a restart a check with the new credentials is answered at any address.",
            requirements=("rfc8445/7.3/1",),
            traps=("STUN and ICE 8",),
        ),
        sends="a restart, and a check with the new credentials from another socket",
        good=(Answered.SUCCESS,),
        bad=_ANSWERED,
        moved=True,
    ),
    _after(
        Rule(
            "rfc8445/9/old-credentials-for-a-while",
            "Right after a restart checks with the old credentials are answered still: the client "
            "may not have read the answer yet, and its consent runs out otherwise.",
            level=Level.SHOULD,
            traps=("STUN and ICE 8",),
        ),
        sends="a restart, and a check with the credentials from before",
        good=(Answered.SUCCESS,),
        bad=_ANSWERED,
        user=0,
        key=0,
    ),
    _after(
        Rule(
            "rfc8445/9/new-name-old-password",
            "A ufrag goes with its own password and no other.",
            requirements=("rfc8489/9.1.3/8",),
            traps=("STUN and ICE 8",),
        ),
        sends="a restart, and a check with the new ufrag that is signed with the old password",
        good=(Answered.UNAUTHENTICATED,),
        lenient=_SILENT,
        bad=_MIXED,
        user=1,
        key=0,
    ),
    _after(
        Rule(
            "rfc8445/9/old-name-new-password",
            "A ufrag goes with its own password and no other.",
            requirements=("rfc8489/9.1.3/8",),
            traps=("STUN and ICE 8",),
        ),
        sends="a restart, and a check with the old ufrag that is signed with the new password",
        good=(Answered.UNAUTHENTICATED,),
        lenient=_SILENT,
        bad=_MIXED,
        user=0,
        key=1,
    ),
)


def _restarted(stage: Stage) -> Call:
    call = settled(stage)
    need_renewal(call)
    return call


@case(
    "rfc8839/4.4.3.2/media-goes-on",
    "While ICE restarts, media goes on over the pair that was in use.",
    sends="a restart without any check after it, and audio",
    profiles=ICE,
    good=(Way.OLD,),
    bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
    requirements=("rfc8839/4.4.3.2/2", "rfc8445/12.1/2"),
    traps=("STUN and ICE 8",),
    lasts=1.0,
)
def media_goes_on(stage: Stage) -> Observed:
    call = _restarted(stage)
    return way(call, call.socket, stage.open_socket())


@case(
    "rfc8445/9/same-pair-again",
    "A restart may come to the same pair again, and the call goes on there.",
    sends="a restart, checks with the new credentials from the client's socket, and audio",
    profiles=ICE,
    good=(Way.OLD,),
    bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
    requirements=("rfc8445/12.1/2",),
    traps=("STUN and ICE 8",),
    lasts=1.0,
)
def same_pair_again(stage: Stage) -> Observed:
    call = _restarted(stage)
    go_on(call)
    return way(call, call.socket, stage.open_socket())


@case(
    "rfc8445/9/another-pair",
    "A restart is how a client comes to another pair: after a nomination with the new credentials "
    "from another address the call goes on there.",
    sends="a restart, checks with the new credentials from another socket, and audio from there",
    profiles=ICE,
    good=(Way.NEW,),
    bad=(Way.OLD, Way.BOTH, Way.NOWHERE),
    requirements=("rfc8445/12.1/2", "rfc8839/4.4.3.2/2"),
    traps=("STUN and ICE 8", "STUN and ICE 7"),
    lasts=1.0,
)
def another_pair(stage: Stage) -> Observed:
    call = _restarted(stage)
    old = call.rebind()
    go_on(call)
    return way(call, old, call.socket)


@case(
    "rfc8445/9/old-nomination-does-not-undo",
    "What was nominated after a restart is not undone by a nomination with the credentials from "
    "before it.",
    sends="a restart, a nomination with the new credentials, and from another socket one with the "
    "old ones",
    profiles=ICE,
    level=Level.SHOULD,
    good=(Way.OLD,),
    bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
    traps=("STUN and ICE 8",),
    lasts=1.0,
)
def old_nomination_does_not_undo(stage: Stage) -> Observed:
    call = settled(stage)
    before, name = call.told, _name(call)
    need_renewal(call)
    go_on(call)
    after, call.told = call.told, before
    other = stage.open_socket()
    ask(call, check(call, username=name, nominate=True), socket=other, within=0.1)
    call.told = after
    return way(call, call.socket, other)


@case(
    "rfc8839/4.4.2.1/roles-stay",
    "A restart does not turn the roles: the client goes on controlling.",
    sends="a restart, and a check with the new credentials in the controlling role",
    profiles=ICE,
    good=(Answered.SUCCESS,),
    bad=_ANSWERED,
    requirements=("rfc8445/9/4", "rfc8445/6.1.1/4"),
    traps=("STUN and ICE 6",),
)
def roles_stay(stage: Stage) -> Observed:
    call = _up(stage)
    need_renewal(call)
    reply = ask(call, check(call, controlling=0))
    if reply.kind is Answered.SILENCE and not is_alive(call):
        return Answered.DEAD
    return reply.observed


@case(
    "rfc8840/9/restart-by-fragment",
    "A fragment with new credentials restarts ICE, where fragments are taken at all.",
    sends="a fragment with a new ufrag and a new password",
    profiles=ICE,
    level=Level.MAY,
    good=(Renewed.NEW,),
    bad=(Renewed.REFUSED, Renewed.HALF, Renewed.SAME, Renewed.UNSOUND),
    requirements=("rfc8445/9/3",),
    traps=("STUN and ICE 8",),
)
def restart_by_fragment(stage: Stage) -> Observed:
    call = _up(stage)
    return renew_by_fragment(call, call.client.restart())
