"""How a DTLS association ends: what is sealed and says so ends it, on whichever side the server is.

What is not sealed and says so ends nothing; that is asked in ``dtls_keys``.
"""

from conformance.case import Case, Observed, Seen, case
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_pulse import Pulse
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.dtls.parameters import FATAL, WARNING, Alert


class Closed(Seen):
    """What became of an association that was ended."""

    ANSWERED = "a close_notify or an alert came back"
    SILENTLY = "nothing came back, and the association is over"
    GOES_ON = "the association goes on"


def _closing(side: type[ClientPuppet] | type[ServerPuppet], part: str) -> Case:
    """close_notify under keys."""

    @case(
        f"rfc5246/7.2.1/close-notify-{part}",
        "A close_notify under the keys ends the association and is answered with one.",
        sends="a sealed close_notify",
        profiles=DTLS,
        good=(Closed.ANSWERED,),
        lenient=(Closed.SILENTLY,),
        bad=(Closed.GOES_ON,),
    )
    def steps(stage: Stage) -> Observed:
        return _ended_by(stage, side, Alert.CLOSE_NOTIFY, WARNING)

    return steps


def _ended_by(
    stage: Stage, side: type[ClientPuppet] | type[ServerPuppet], description: int, level: int
) -> Observed:
    puppet = side.reach(stage)
    puppet.establish()
    pulse = Pulse(puppet)
    puppet.send_alert(description, level=level, epoch=1)
    puppet.wait(puppet.patience, lambda: any(each.sealed for each in puppet.alerts))
    if any(each.sealed for each in puppet.alerts):
        return Closed.ANSWERED
    return Closed.GOES_ON if pulse.beats() else Closed.SILENTLY


CLOSE_NOTIFY = (_closing(ClientPuppet, "as-server"), _closing(ServerPuppet, "as-client"))


@case(
    "rfc5246/7.2.2/fatal-alert",
    "A fatal alert under the keys ends the association.",
    sends="a sealed fatal alert",
    profiles=DTLS,
    good=(Closed.SILENTLY, Closed.ANSWERED),
    bad=(Closed.GOES_ON,),
)
def fatal_alert(stage: Stage) -> Observed:
    return _ended_by(stage, ClientPuppet, 40, FATAL)
