"""What a client reads out of an answer: as little as it needs, from any server.

A client of this harness has to talk to servers that break the rules of SDP in ways which are
another case's business. So this reads values where it finds them, at the session or in the first
section that has them, and says what is missing.
"""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from attrs import field, frozen

from stunroute.address import Address
from stunroute.errors import DecodeError
from transceiver.dtls import Fingerprint

LONGEST = 65536
"""Characters of an answer that are read."""
MOST_REASONS = 6
"""Candidates that are told of where none can be used."""
NAME = "a name, and no address"
MOST_DIGITS = 20
"""Of a number: those of 64 bits."""


class AnswerError(DecodeError):
    """The answer lacks something that no call can do without, or has it in no known form."""


@frozen(slots=True)
class Candidate:
    """A candidate line, as far as we use it. ``transport`` and ``kind`` in lower case; ``host`` may
    be a name."""

    component: int
    transport: str
    priority: int
    host: str
    port: int
    kind: str

    @property
    def address(self) -> Address | None:
        """None where the host is no literal address, or one that means something else on every
        link (RFC 4291, 2.5.6): no zone in an answer is ours."""
        return None if self.unusable else Address.of(self.host, self.port)

    @property
    def unusable(self) -> str:
        """Why nobody could send there, whatever he was given; empty where one could."""
        try:
            host = ip_address(self.host)
        except ValueError:
            return NAME
        if isinstance(host, IPv6Address) and (host.is_link_local or host.scope_id is not None):
            return "of one link"
        return "" if self.port < 65536 else "no port"


@frozen(slots=True)
class Answer:
    """``setup`` is the server's, ``max_message_size`` None where it takes no data channels, the
    payload type None where it takes no audio."""

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[Fingerprint, ...]
    setup: str
    candidates: tuple[Candidate, ...]
    payload_type: int | None
    max_message_size: int | None
    is_lite: bool

    def server(self, usable: Callable[[Address], bool] = lambda _: True) -> Address | None:
        """The best UDP candidate of component 1 that ``usable`` lets pass."""
        found = [
            (candidate.priority, address)
            for candidate in self.candidates
            if candidate.component == 1
            and candidate.transport == "udp"
            and (address := candidate.address) is not None
            and usable(address)
        ]
        return max(found)[1] if found else None

    def passed_over(self, usable: Callable[[Address], bool] = lambda _: True) -> list[str]:
        """Each candidate, up to a few, that ``server`` does not take, and why."""
        reasons = []
        for candidate in self.candidates:
            host = candidate.host[:60]
            if candidate.transport != "udp":
                reasons.append(f"{host}: {candidate.transport[:10]}")
            elif candidate.unusable:
                # A name is another one in every answer (RFC 8828, 5.2: mDNS).
                where = "" if candidate.unusable == NAME else f"{host}: "
                reasons.append(f"{where}{candidate.unusable}")
            elif candidate.component == 1 and (found := candidate.address) and not usable(found):
                reasons.append(f"{host}: not given")
        return list(dict.fromkeys(reasons))[:MOST_REASONS]


def read_answer_untrusted(text: str, previous: Answer | None = None) -> Answer:
    """``previous`` is the call's answer so far, of which the answer to a fragment (RFC 8840) says
    only what is new. Raises AnswerError."""
    values: dict[str, str] = {}
    prints: list[str] = []
    candidates: list[Candidate] = []
    payload_type = message_size = None
    is_lite = False
    for line in text[:LONGEST].splitlines():
        name, _, value = line.removeprefix("a=").partition(":")
        match line.split():
            case ["m=audio", port, _, first, *_] if port != "0" and is_number(first):
                payload_type = int(first)
            case ["m=application", port, *_] if port != "0":
                message_size = 65536  # RFC 8841, 6.1: what it is unless the answer says so
        match name:
            case "candidate" if line.startswith("a="):
                candidates.append(_candidate(value))
            case "fingerprint":
                prints.append(value)
            case "max-message-size" if message_size is not None and is_number(value.strip()):
                message_size = int(value)
            case "ice-lite":
                is_lite = True
            case _ if line.startswith("a="):
                values.setdefault(name, value.strip())
    if previous is not None:
        values.setdefault("setup", previous.setup)
    for needed in ("ice-ufrag", "ice-pwd", "setup"):
        if needed not in values:
            raise AnswerError(f"the answer has no a={needed}")
    if values["setup"] not in ("active", "passive"):
        raise AnswerError(f"the answer says a=setup:{values['setup'][:20]}")
    try:
        fingerprints = tuple(Fingerprint.parse_untrusted(each) for each in prints)
    except DecodeError as error:
        raise AnswerError(f"a=fingerprint: {error}") from error
    if not fingerprints:
        if previous is None:
            raise AnswerError("the answer has no a=fingerprint")
        fingerprints = previous.fingerprints
    return Answer(
        values["ice-ufrag"],
        values["ice-pwd"],
        fingerprints,
        values["setup"],
        tuple(candidates),
        payload_type,
        message_size,
        is_lite,
    )


def _candidate(value: str) -> Candidate:
    match value.split():
        case [_, component, transport, priority, host, port, "typ", kind, *_] if (
            is_number(component) and is_number(priority) and is_number(port)
        ):
            return Candidate(
                int(component), transport.lower(), int(priority), host, int(port), kind.lower()
            )
    raise AnswerError(f"a candidate line that cannot be read: {value[:80]!r}")


def is_number(text: str) -> bool:
    """Whether ``text`` is a decimal number that any field of SDP could hold."""
    return text.isdecimal() and len(text) <= MOST_DIGITS
