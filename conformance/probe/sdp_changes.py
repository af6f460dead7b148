"""What a case changes in an offer, as functions from text to text.

They are for ``pose`` and ``open_call`` alike: the one reads the answer, the other goes on to the
call. Whatever is not there to be changed is left as it is.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

Edit: TypeAlias = Callable[[str], str]

_TRANSPORT = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=ice-options")


def instead(old: str, new: str) -> Edit:
    """Some text replaced wherever it stands."""
    return lambda offer: offer.replace(old, new)


def without(pattern: str) -> Edit:
    """No line that begins with what the regular expression fits."""
    return lambda offer: re.sub(rf"(?m)^(?:{pattern})[^\n]*\n", "", offer)


def added(*lines: str) -> Edit:
    """More lines at the end, so in the last section."""
    return lambda offer: offer + "".join(f"{line}\r\n" for line in lines)


def in_each_section(line: str) -> Edit:
    """One more line in each section that shares its port with RTCP."""
    return instead("a=rtcp-mux\r\n", f"a=rtcp-mux\r\n{line}\r\n")


def naming(lines: Iterable[str]) -> Edit:
    """Those fingerprints in the place of each of the offer's own."""
    text = "".join(f"a=fingerprint:{line}\r\n" for line in lines)
    return lambda offer: re.sub(r"a=fingerprint:[^\n]*\n", lambda _: text, offer)


def renaming(*make: Callable[[str], str]) -> Edit:
    """The offer's fingerprint, algorithm and digest, as each of ``make`` has it, in its place."""

    def change(offer: str) -> str:
        found = re.search(r"a=fingerprint:([^\r]*)\r\n", offer)
        return offer if found is None else naming(each(found[1]) for each in make)(offer)

    return change


def hoisted(offer: str) -> str:
    """The transport's attributes at the session instead of in the section."""
    session, section = offer.split("m=", 1)
    lines = section.split("\r\n")
    above = [line for line in lines if line.startswith(_TRANSPORT)]
    below = [line for line in lines if not line.startswith(_TRANSPORT)]
    moved = "".join(f"{line}\r\n" for line in above)
    return f"{session}{moved}m=" + "\r\n".join(below)


def with_section(section: str, mid: str) -> Edit:
    """Another section at the end and in the group, with the first one's transport."""

    def change(offer: str) -> str:
        wanted = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
        lines = dict.fromkeys(line for line in offer.split("\r\n") if line.startswith(wanted))
        offer = re.sub(r"a=group:BUNDLE[^\r]*", lambda found: f"{found[0]} {mid}", offer)
        return offer + section + "".join(f"{line}\r\n" for line in lines)

    return change
