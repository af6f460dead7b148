"""Servers that cannot read what some clients offer, and refuse it."""

import re
from collections.abc import Iterator
from typing import Any

from stunroute.instant import Instant
from transceiver.endpoint import Answered, Endpoint
from transceiver.errors import OfferError

from .model import Mutant, mutant, swapped


def _refusing(name: str, breaks: str, killer: str, pattern: str) -> Mutant:
    """One that refuses every offer in which this is found."""

    @mutant(f"offer/{name}", breaks, killer=killer)
    def refusing() -> Iterator[None]:
        def open_call(self: Endpoint, offer: str, now: Instant, **more: Any) -> Answered:
            if re.search(pattern, offer, re.MULTILINE):
                raise OfferError(f"{name} is not understood")
            return honest(self, offer, now, **more)

        honest = Endpoint.open_call
        with swapped(Endpoint, "open_call", open_call):
            yield

    return refusing


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
more_than_four_characters = _refusing(
    "ufrags-of-five",
    "It wants more than four characters in a ufrag.",
    "rfc8839/5.4/shortest-ufrag",
    r"^a=ice-ufrag:[^\r\n]{1,4}\r?$",
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
letters_and_digits = _refusing(
    "ufrags-of-letters-and-digits",
    "It takes plus and slash for characters that a ufrag cannot have.",
    "rfc8839/5.4/ufrag-with-plus-and-slash",
    r"^a=ice-ufrag:.*[+/]",
)
