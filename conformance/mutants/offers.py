"""Servers that cannot read what some clients offer, and refuse it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stunroute.instant import Instant
from transceiver.endpoint import Answered, Endpoint
from transceiver.errors import OfferError

from .model import Mutant, mutant, swapped


def _refusing(name: str, breaks: str, killer: str, pattern: str) -> Mutant:
    """One that refuses every offer in which this is found."""

    @mutant(f"offer/{name}", breaks, killer=killer)
    def apply() -> Iterator[None]:
        with refusing(pattern):
            yield

    return apply


@contextmanager
def refusing(pattern: str) -> Iterator[None]:
    """In the block, offers in which that is found are refused."""

    def open_call(self: Endpoint, offer: str, now: Instant, **more: Any) -> Answered:
        if re.search(pattern, offer, re.MULTILINE):
            raise OfferError("something in it is not understood")
        return honest(self, offer, now, **more)

    honest = Endpoint.open_call
    with swapped(Endpoint, "open_call", open_call):
        yield


tcp_is_fatal = _refusing(
    "tcp-is-fatal",
    "It refuses an offer that has a candidate over TCP.",
    "rfc8839/5.1/tcp-candidate",
    r"^a=candidate:\S+ \d+ tcp ",
)
other_transports_are_fatal = _refusing(
    "transports-are-two",
    "It knows UDP and TCP, and refuses an offer with a candidate over anything else.",
    "rfc8839/5.1/unknown-transport",
    r"^a=candidate:\S+ \d+ (?!tcp|udp|TCP|UDP)",
)
one_family = _refusing(
    "ipv6-is-fatal",
    "It refuses an offer that has a candidate with an IPv6 address.",
    "rfc8839/5.1/ipv6-candidate",
    r"^a=candidate:\S+ \d+ \S+ \d+ \S*:",
)
known_extensions = _refusing(
    "unknown-extensions-are-fatal",
    "It refuses an offer whose candidates have extensions that it does not know.",
    "rfc8839/5.1/unknown-extension-of-a-candidate",
    r"^a=candidate:.* colour ",
)
one_component = _refusing(
    "second-component-is-fatal",
    "It refuses an offer that has a candidate for RTCP.",
    "traps/ice/component-2",
    r"^a=candidate:\S+ 2 ",
)
known_options = _refusing(
    "unknown-options-are-fatal",
    "It refuses an offer with an ICE option that it does not know.",
    "traps/ice/option-sped",
    r"^a=ice-options:.*sped",
)
