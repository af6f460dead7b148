"""What an answer says of ICE: RFC 8839, sections 4.2, 4.3 and 5, and RFC 8445, section 5.

The answer to a plain offer is read line by line. The client of this harness takes much that the
grammar forbids, so that a case about the wire does not stumble over a line of text; these cases do
not.
"""

import ipaddress
import re
from collections.abc import Callable

from conformance.case import Case, Observed, Rule, Unsupported
from conformance.probe.call import Call, open_call
from conformance.probe.look import Checked, checked
from conformance.probe.profiles import ICE_AND_SDP
from conformance.stage import Stage

ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
CANDIDATE = re.compile(
    r"candidate:(?P<foundation>[A-Za-z0-9+/]{1,32}) (?P<component>\d{1,3}) (?P<transport>\S+) "
    r"(?P<priority>\d{1,10}) (?P<host>\S+) (?P<port>\d{1,5}) typ (?P<kind>\S+)(?P<rest>( \S+ \S+)*)"
)


def _candidates(call: Call) -> list[re.Match[str]]:
    """The candidate lines, as far as they are well-formed."""
    found = []
    for line in _values(call, "candidate:"):
        match = CANDIDATE.fullmatch(line)
        if match is not None:
            found.append(match)
    return found


def _values(call: Call, name: str) -> list[str]:
    """All attributes that begin with ``name``, without their ``a=``."""
    lines = [line.removeprefix("a=") for line in call.answer.splitlines() if line[:2] == "a="]
    return [line for line in lines if line.startswith(name)]


def _says(
    rule: Rule, look: Callable[[Call], str | None], *, contents: tuple[str, ...] = ("audio",)
) -> Case:
    """A case about the text of the answer; ``look`` names the fault, or None."""

    @rule.asked(
        sends=f"an offer of {' and '.join(contents)}",
        profiles=ICE_AND_SDP,
        good=(Checked.RIGHT,),
        bad=(Checked.WRONG,),
    )
    def steps(stage: Stage) -> Observed:
        return checked(look(open_call(stage, contents=contents)))

    return steps


def _ufrag(call: Call) -> str | None:
    ufrag = call.told.ufrag
    if not 4 <= len(ufrag) <= 32:
        return f"it has {len(ufrag)} characters"
    return None if ICE_CHARS.fullmatch(ufrag) else "it has characters that are none of ICE's"


def _password(call: Call) -> str | None:
    password = call.told.password
    if not 22 <= len(password) <= 256:
        return f"it has {len(password)} characters"
    return None if ICE_CHARS.fullmatch(password) else "it has characters that are none of ICE's"


def _is_random(call: Call) -> str | None:
    """Not a test of randomness: what has fewer different characters than this was not drawn."""
    different = len(set(call.told.password))
    return None if different >= 8 else f"its characters are of {different} kinds"


def _lite_or_full(call: Call) -> str | None:
    lines = call.answer.splitlines()
    where = [index for index, line in enumerate(lines) if line == "a=ice-lite"]
    if not where:
        raise Unsupported("the server is no lite agent")
    first = next((index for index, line in enumerate(lines) if line.startswith("m=")), len(lines))
    return None if where == [where[0]] and where[0] < first else "it stands within a section"


def _options(call: Call) -> str | None:
    options = [word for line in _values(call, "ice-options:") for word in line[12:].split()]
    return None if "ice2" in options else f"its options are {options}"


def _no_pacing(call: Call) -> str | None:
    if not call.told.is_lite:
        raise Unsupported("the server is no lite agent")
    return "it has one" if _values(call, "ice-pacing") else None


def _no_mismatch(call: Call) -> str | None:
    return "it has one" if _values(call, "ice-mismatch") else None


def _no_remote_candidates(call: Call) -> str | None:
    return "it has one" if _values(call, "remote-candidates") else None


def _well_formed(call: Call) -> str | None:
    bad = [line for line in _values(call, "candidate:") if CANDIDATE.fullmatch(line) is None]
    if bad:
        return bad[0]
    return None if _candidates(call) else "there is none"


def _components(call: Call) -> str | None:
    """With RTCP multiplexed everything is component 1."""
    if "a=rtcp-mux" not in call.answer.splitlines():
        return "there is no a=rtcp-mux"
    wrong = {each["component"] for each in _candidates(call)} - {"1"}
    return f"component {', '.join(sorted(wrong))}" if wrong else None


def _addresses(call: Call) -> str | None:
    for each in _candidates(call):
        try:
            ipaddress.ip_address(each["host"])
        except ValueError:
            return f"{each['host']} is a name"
    return None


def _loopback(call: Call) -> str | None:
    server = ipaddress.ip_address(call.server.ip)
    if server.is_loopback:
        raise Unsupported("the server is on this machine")
    for each in _candidates(call):
        try:
            address = ipaddress.ip_address(each["host"])
        except ValueError:
            continue
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return str(address)
    return None


def _priorities(call: Call) -> str | None:
    values = [int(each["priority"]) for each in _candidates(call)]
    if any(not 1 <= value <= 2**31 - 1 for value in values):
        return f"{values}"
    keys = {(each["component"], each["priority"]) for each in _candidates(call)}
    return None if len(keys) == len(values) else "two candidates have the same one"


def _preferences(call: Call) -> str | None:
    """TCP may have others than UDP (RFC 6544, section 4.2)."""
    by_kind: dict[tuple[str, str], int] = {}
    for each in _candidates(call):
        preference = int(each["priority"]) >> 24
        if preference > 126:
            return f"type preference {preference}"
        kind = (each["kind"], each["transport"].lower())
        if by_kind.setdefault(kind, preference) != preference:
            return f"two type preferences for {each['kind']}"
    return None


def _foundations(call: Call) -> str | None:
    """One for each kind, address and transport."""
    known: dict[tuple[str, ...], str] = {}
    for each in _candidates(call):
        base = (each["kind"], each["host"], each["transport"].lower())
        if (
            each["kind"] == "host"
            and known.setdefault(base, each["foundation"]) != each["foundation"]
        ):
            return f"two foundations for {each['host']}"
    hosts = {key: value for key, value in known.items() if key[0] == "host"}
    different = len(set(hosts.values())) == len(hosts)
    return None if different else "two addresses share a foundation"


def _related(call: Call) -> str | None:
    for each in _candidates(call):
        has = "raddr " in each["rest"]
        if has and each["kind"] == "host":
            return "a host candidate has a related address"
        if not has and each["kind"] != "host":
            return f"a candidate of type {each['kind']} has no related address"
    return None


def _kinds(call: Call) -> str | None:
    if not call.told.is_lite:
        raise Unsupported("the server is no lite agent")
    kinds = {each["kind"] for each in _candidates(call)} - {"host"}
    return f"of type {', '.join(sorted(kinds))}" if kinds else None


def _default(call: Call) -> str | None:
    """The address of the section is that of a candidate, or says that it is none."""
    lines = call.answer.splitlines()
    ports = {line.split()[1] for line in lines if line.startswith("m=")}
    hosts = {line.split()[-1] for line in lines if line.startswith("c=")}
    known = {(each["host"], each["port"]) for each in _candidates(call)}
    if hosts <= {"0.0.0.0", "::"} and ports <= {"9"}:
        return None
    if any(host in hosts and port in ports for host, port in known):
        return None
    return f"{sorted(hosts)} {sorted(ports)}"


ANSWER = (
    _says(
        Rule(
            "rfc8839/5.4/ufrag",
            "The answer has a ufrag of 4 to 32 characters of ICE's.",
            requirements=("rfc8839/5.4/1", "rfc8839/5.4/5", "rfc8839/4.3.2/2"),
        ),
        _ufrag,
    ),
    _says(
        Rule(
            "rfc8839/5.4/password",
            "The answer has a password of 22 to 256 characters of ICE's.",
            requirements=("rfc8839/5.4/1", "rfc8839/4.3.2/2", "rfc8445/5.3/6"),
        ),
        _password,
    ),
    _says(
        Rule(
            "rfc8445/5.3/password-is-drawn",
            "The password holds 128 bits that nobody can guess.",
            requirements=("rfc8445/5.3/6",),
        ),
        _is_random,
    ),
    _says(
        Rule(
            "rfc8839/5.3/ice-lite-at-the-session",
            "A lite agent says so once, before the first section.",
            requirements=("rfc8839/4.2.1.4/1",),
        ),
        _lite_or_full,
    ),
    _says(
        Rule(
            "rfc8839/4.3.2/ice2",
            "The answer has ice2 among its ICE options.",
            requirements=(
                "rfc8839/4.2.1.5/1",
                "rfc8839/4.2.5/1",
                "rfc8839/4.3.2/2",
                "rfc8445/10/1",
            ),
        ),
        _options,
    ),
    _says(
        Rule(
            "rfc8839/4.3.2/lite-has-no-pacing",
            "A lite agent, which sends no checks, has no pace of theirs.",
            requirements=("rfc8839/4.3.2/4",),
        ),
        _no_pacing,
    ),
    _says(
        Rule(
            "rfc8839/5.3/no-mismatch",
            "An offer whose default address is none (0.0.0.0, port 9) makes no mismatch.",
        ),
        _no_mismatch,
    ),
    _says(
        Rule(
            "rfc8839/5.2/no-remote-candidates",
            "Only a controlling agent that has come to an end tells remote candidates.",
        ),
        _no_remote_candidates,
    ),
    _says(
        Rule(
            "rfc8839/5.1/candidate-lines",
            "The answer has candidates, and every line of them follows the grammar.",
            requirements=("rfc8839/4.3.2/1", "rfc8445/5.1.2.1/7"),
            traps=("STUN and ICE 11",),
        ),
        _well_formed,
    ),
    _says(
        Rule(
            "rfc5761/5.1.3/no-candidate-for-rtcp",
            "Where RTCP shares the port of RTP, the answer says so and has no candidate for it.",
            requirements=("rfc5761/5.1.3/3", "rfc5761/5.1.1/2", "rfc8839/5.1/3", "rfc8839/5.1/4"),
        ),
        _components,
    ),
    _says(
        Rule(
            "rfc8839/5.1/no-names",
            "Candidates are addresses and not names.",
            requirements=("rfc8839/5.1/1",),
        ),
        _addresses,
    ),
    _says(
        Rule(
            "rfc8445/5.1.1.1/no-loopback",
            "A candidate is an address that a client can reach: not loopback, not unspecified.",
        ),
        _loopback,
    ),
    _says(
        Rule(
            "rfc8445/5.1.2/priorities",
            "Priorities lie between 1 and 2^31 - 1, and no two candidates share one.",
            requirements=("rfc8445/5.1.2/1", "rfc8445/5.2/7"),
        ),
        _priorities,
    ),
    _says(
        Rule(
            "rfc8445/5.1.2.1/type-preferences",
            "The type preference in a priority is at most 126, and the same for all of a type.",
            requirements=("rfc8445/5.1.2.1/1",),
        ),
        _preferences,
    ),
    _says(
        Rule(
            "rfc8445/5.2/foundations",
            "Host candidates share a foundation if they share an address, and only then.",
            requirements=("rfc8445/5.2/5", "rfc8445/5.2/6"),
        ),
        _foundations,
    ),
    _says(
        Rule(
            "rfc8839/5.1/related-addresses",
            "Host candidates have no related address, all others do.",
            requirements=("rfc8839/5.1/7",),
        ),
        _related,
    ),
    _says(
        Rule("rfc8445/5.2/lite-has-host-candidates", "A lite agent has host candidates only."),
        _kinds,
    ),
    _says(
        Rule(
            "rfc8839/4.2.1.2/default-destination",
            "The address of the section is one of the candidates, or none at all.",
        ),
        _default,
    ),
)
