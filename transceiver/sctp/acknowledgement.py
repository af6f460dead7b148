"""When to acknowledge (RFC 9260 section 6.2).

Every second packet with DATA, and a lone one after a while; at once where the sender can make use
of it: something is missing or has just been filled in, came twice, was refused, or asked for it.
The first packet of all is acknowledged at once too, for its sender knows no round trip time yet.
"""

from attrs import define, field

from stunroute.instant import Instant


@define(slots=True, eq=False)
class Acknowledgement:
    """``delay`` is how long a lone packet waits, in seconds."""

    _delay: float
    due: bool = field(default=False, init=False)
    """A SACK is to be sent now."""
    deadline: Instant | None = field(default=None, init=False)
    """When a lone packet is acknowledged, if one waits for that."""
    _begun: bool = field(default=False, init=False)

    @property
    def wanted(self) -> bool:
        """Something is not acknowledged yet: a SACK may travel with whatever is sent now."""
        return self.due or self.deadline is not None

    def packet_received(self, now: Instant, at_once: bool) -> None:
        """A packet with DATA or FORWARD-TSN has been dealt with; call it once for each."""
        if at_once or not self._begun or self.deadline is not None:
            self.due = self._begun = True
        else:
            self.deadline = now + self._delay

    def hasten(self) -> None:
        """Something else makes a SACK worth sending now, such as a window that has opened."""
        self.due = True

    def sent(self) -> None:
        """A SACK has been made."""
        self.due = False
        self.deadline = None

    def next_timeout(self) -> Instant | None:
        return None if self.due else self.deadline

    def handle_timeout(self, now: Instant) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.due = True
