"""Whether an association with keys still lives, shown by what it does.

Nothing in DTLS asks for an answer once keys exist. Two things show that an association goes on: an
echo of audio under its keys, and, from a server, its last flight said again when ours is repeated
(RFC 6347, 4.2.4). Whichever works before a case does its harm has to work after it.
"""

from collections.abc import Callable

from attrs import define, field

from conformance.case import Unsupported
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.parameters import Alert
from transceiver.dtls.record import ContentType

from .dtls import Afterwards, Puppet

UNDISTURBED = (Afterwards.UNHARMED,)
DISTURBED = (Afterwards.ALERTED, Afterwards.ENDED, Afterwards.TAKEN, Afterwards.DEAD)
"""With ANSWERED, which depends on the case, the oracle of what must not touch an association."""


def says_last_flight_again(puppet: Puppet) -> bool:
    """Whether our last flight, repeated, brings the server's."""
    for _ in range(2):
        before = puppet.count(HandshakeType.FINISHED, sealed=True)
        puppet.repeat()
        if puppet.wait(
            puppet.patience,
            lambda before=before: (  # type: ignore[misc]
                puppet.count(HandshakeType.FINISHED, sealed=True) > before
            ),
        ):
            return True
    return False


@define(slots=True)
class Pulse:
    """Take it when the handshake is over; raises Unsupported where nothing shows any life.
    ``by_media`` false: media does not count, because it has keys of its own."""

    puppet: Puppet
    by_media: bool = True
    beats: Callable[[], bool] = field(init=False)
    _records: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        puppet = self.puppet
        ways = [puppet.echoes] if self.by_media else []
        if puppet.is_client:
            ways.append(lambda: says_last_flight_again(puppet))
        for way in ways:
            if way():
                self.beats = way
                break
        else:
            raise Unsupported("nothing that the server does shows whether the association lives")
        self._records = len(puppet.heard)

    def after(
        self, effect: Callable[[], bool] = lambda: False, *, wait: float | None = None
    ) -> tuple[Afterwards, str]:
        """What has become of it since. ``effect`` says whether the harm was done."""
        puppet = self.puppet
        puppet.wait(puppet.patience if wait is None else wait)
        said = [each for each in puppet.heard[self._records :] if each.content is not None]
        if puppet.fatal is not None:
            return Afterwards.ALERTED, f"alert {puppet.fatal.description}"
        if effect():
            return Afterwards.TAKEN, ""
        if any(each.description == Alert.CLOSE_NOTIFY for each in puppet.alerts):
            return Afterwards.ENDED, "close_notify"
        if self.beats():
            answered = [
                each
                for each in said
                if each.record.content_type in (ContentType.ALERT, ContentType.HANDSHAKE)
            ]
            if answered:
                return Afterwards.ANSWERED, f"with {len(answered)} records"
            return Afterwards.UNHARMED, ""
        if not puppet.alive:
            return Afterwards.DEAD, ""
        return Afterwards.ENDED, ""
