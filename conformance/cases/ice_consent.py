"""How long a server goes on: RFC 7675, and the keepalives of RFC 8445, section 11.

They take their time, and are for drivers whose time costs nothing.
"""

from collections.abc import Callable
from functools import partial

from conformance.case import Case, Level, Observed, Rule, Seen, case
from conformance.probe.audio import OPUS_SILENCE, STEP
from conformance.probe.call import Call, open_call
from conformance.probe.profiles import ICE
from conformance.probe.stun import check
from conformance.probe.stun_draft import Draft
from conformance.probe.ways import Way, settled, speak, way
from conformance.stage import Stage
from conformance.trail import Crossing
from stunroute import stun
from stunroute.demux import Kind, classify

CONSENT = 30.0
GRACE = 8.0


class Consent(Seen):
    """Whether a server goes on sending."""

    CEASED = "it sends nothing any more"
    SENDS_ON = "it goes on sending"


def _lapses(slug: str, requirement: str, what: str, make: Callable[[Call], bytes | None]) -> Case:
    """A call that is up, from which for longer than consent lasts nothing comes but what ``make``
    makes, once a second. Checks of theirs are not answered either."""

    @case(
        f"rfc7675/5.1/{slug}",
        requirement,
        sends=f"{what}, for {CONSENT + GRACE:.0f} seconds",
        profiles=ICE,
        good=(Consent.CEASED,),
        bad=(Consent.SENDS_ON,),
        requirements=("rfc7675/5.1/2", "rfc7675/5.1/12"),
        traps=("STUN and ICE 5",),
        lasts=CONSENT + GRACE + 3.0,
    )
    def steps(stage: Stage) -> Observed:
        call = settled(stage)
        for _ in range(int(CONSENT + GRACE)):
            data = make(call)
            if data is not None:
                call.send(data)
            stage.listen(1.0)
        heard = []
        for _ in range(4):  # audio, lest a server be taken for silent that only echoes
            call.act(partial(call.client.send_audio, OPUS_SILENCE, call.client.sequence * STEP))
            heard += [each for each in stage.listen(0.5) if classify(each.data) is not Kind.STUN]
        return (Consent.SENDS_ON, f"{len(heard)} datagrams") if heard else Consent.CEASED

    return steps


def _indication(call: Call) -> bytes:
    kind = stun.encode_type(stun.Method.BINDING, stun.MessageClass.INDICATION)
    return Draft(call.stage.entropy(12), kind).close().message()


def _old_audio(call: Call) -> bytes:
    """Audio that was heard before."""
    return next(
        entry.data
        for entry in call.stage.trail.entries
        if isinstance(entry, Crossing) and entry.sent and classify(entry.data) is Kind.RTP
    )


LAPSES = (
    _lapses(
        "silence-ends-consent",
        "To a client that has not been heard for 30 seconds nothing is sent any more.",
        "nothing",
        lambda call: None,
    ),
    _lapses(
        "forged-checks-bring-no-consent",
        "Checks that prove nothing do not keep a call alive.",
        "checks with another password",
        lambda call: check(call, password=b"not the password that was told", nominate=True),
    ),
    _lapses(
        "indications-bring-no-consent",
        "Binding indications, which anybody can send, do not keep a call alive.",
        "Binding indications",
        _indication,
    ),
    _lapses(
        "copied-audio-brings-no-consent-either",
        "Audio that was heard before does not keep a call alive.",
        "one packet of earlier audio, again and again",
        _old_audio,
    ),
)


def _lasts(rule: Rule, what: str, live: Callable[[Call], None]) -> Case:
    """A call that is up and whose client lives in a certain way, for longer than consent lasts."""

    @rule.asked(
        sends=f"{what}, for {CONSENT + GRACE:.0f} seconds, then audio",
        profiles=ICE,
        good=(Way.OLD,),
        bad=(Way.NEW, Way.BOTH, Way.NOWHERE),
        lasts=CONSENT + GRACE + 3.0,
    )
    def steps(stage: Stage) -> Observed:
        call = settled(stage)
        until = stage.now + CONSENT + GRACE
        while stage.now < until:
            live(call)
            call.run(1.0)
        return way(call, call.socket, stage.open_socket())

    return steps


def _only_checks(call: Call) -> None:
    call.send(check(call))


def _only_audio(call: Call) -> None:
    speak(call, 1)


def _audio_and_indications(call: Call) -> None:
    speak(call, 1)
    call.send(_indication(call))


LASTS = (
    _lasts(
        Rule(
            "rfc7675/5.1/checks-keep-consent", "Checks alone keep a call alive, without any media."
        ),
        "a check each second",
        _only_checks,
    ),
    _lasts(
        Rule(
            "traps/ice/no-checks-after-nomination",
            "A client that sends no check after its nomination, only media, keeps its call.",
            level=Level.SHOULD,
            traps=("Facts",),
        ),
        "audio without any check",
        _only_audio,
    ),
    _lasts(
        Rule(
            "traps/ice/indications-for-keepalives",
            "A client whose keepalives are Binding indications keeps its call as long as media "
            "comes.",
            level=Level.SHOULD,
            traps=("STUN and ICE 4", "Facts"),
        ),
        "audio and Binding indications without any check",
        _audio_and_indications,
    ),
)


class Kept(Seen):
    """Whether a server keeps the bindings on the way open."""

    SENDS = "something comes within Tr"
    SILENCE = "nothing comes"


@case(
    "rfc8445/11/keepalive-of-the-server",
    "When nothing else is sent over a pair that is in use, a keepalive of some kind is, at the "
    "latest every fifteen seconds or what Tr is there.",
    sends="nothing, in a call that is up",
    profiles=ICE,
    level=Level.SHOULD,
    good=(Kept.SENDS,),
    bad=(Kept.SILENCE,),
    requirements=("rfc8445/11/1", "rfc8445/11/4"),
    lasts=18.0,
)
def keepalive_of_the_server(stage: Stage) -> Observed:
    call = settled(stage)
    call.run(1.0)
    return Kept.SENDS if stage.listen(16.0) else Kept.SILENCE


class Over(Seen):
    """What becomes of a session whose consent has lapsed."""

    GONE = "its credentials are worth nothing any more"
    BACK = "its checks are answered with success again"


@case(
    "rfc7675/5.1/lapsed-credentials",
    "When consent has lapsed, the same credentials are not honoured again at that address.",
    sends=f"nothing for {CONSENT + GRACE:.0f} seconds, then a check with the call's credentials",
    profiles=ICE,
    good=(Over.GONE,),
    bad=(Over.BACK,),
    requirements=("rfc7675/5.1/13",),
    lasts=CONSENT + GRACE + 3.0,
)
def lapsed_credentials(stage: Stage) -> Observed:
    call = open_call(stage)
    call.establish()
    call.client.keepalives = False
    stage.listen(CONSENT + GRACE)
    call.send(check(call))
    answers = [each for each in stage.listen(stage.patience) if each.data[:2] == b"\x01\x01"]
    return Over.BACK if answers else Over.GONE
