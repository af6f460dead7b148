"""What a caller of the transceiver can do wrong, or ask for in vain.

Nothing here is ever raised because of a datagram. ``code`` is what signalling shows to the client
as ``error.code``.
"""

from typing import ClassVar

from stunroute.errors import StunrouteError


class CallError(StunrouteError):
    """The root: a call could not be opened, found or changed."""

    code: ClassVar[str] = "call_error"


class OfferError(CallError):
    """The offer cannot be read or cannot be accepted. ``line`` is the 1-based line of the SDP at
    fault, or None where no single line is. ``param`` is what of the request is: the offer itself,
    or what was asked for beside it and does not go with it."""

    code: ClassVar[str] = "invalid_offer"

    def __init__(self, problem: str, line: int | None = None, *, param: str = "sdp") -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line
        self.param = param


class AtCapacity(CallError):
    """The endpoint holds as many sessions as it may, or is draining. ``retry_after`` is seconds."""

    code: ClassVar[str] = "at_capacity"

    def __init__(self, problem: str, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class NoEvents(CallError):
    """The call's application speaks no events, so there is nothing to attach to."""

    code: ClassVar[str] = "no_events"


class UnknownCall(CallError):
    """No live call has that id."""

    code: ClassVar[str] = "call_id_not_found"
