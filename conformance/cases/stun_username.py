"""USERNAME: who a check is for (RFC 8445, sections 7.2.2 and 7.3; RFC 8489, section 14.3).

It is read by its bytes: everything before the first colon is a fragment of ours. What stands
behind is the sender's, and RFC 8445 does not ask that anybody look at it. An agent that does, and
refuses what its peer never told, is put up with: it turns down nobody who has read its answer.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Oracle, Rule, Unsupported
from conformance.probe.profiles import ICE
from conformance.probe.stun import Answered, Asker, check, credentials
from conformance.probe.stun_questions import TAKEN, UNPROVED, question

OTHER_PEER = Oracle(
    good=(Answered.SUCCESS,),
    lenient=(Answered.SILENCE, Answered.UNAUTHENTICATED),
    bad=(
        Answered.UNSOUND,
        Answered.BAD_REQUEST,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.ROLE_CONFLICT,
        Answered.OTHER_ERROR,
        Answered.GARBAGE,
        Answered.DEAD,
    ),
)

NOBODY = Oracle(
    good=(Answered.UNAUTHENTICATED, Answered.BAD_REQUEST),
    lenient=(Answered.SILENCE,),
    bad=UNPROVED.bad,
)
"""What is no USERNAME of ICE at all may as well be called a bad request."""


def _halves(asker: Asker) -> tuple[bytes, bytes]:
    username, _ = credentials(asker) or (b"", b"")
    ours, _, theirs = username.partition(b":")
    return ours, theirs


def _named(change: Callable[[bytes, bytes], bytes]) -> Callable[[Asker], bytes]:
    """A check whose USERNAME is made of the server's fragment and the client's. Raises Unsupported
    where the change changes nothing."""

    def request(asker: Asker) -> bytes:
        server, client = _halves(asker)
        username = change(server, client)
        if username == server + b":" + client:
            raise Unsupported("the server's fragment has no letters to change")
        return check(asker, username=username)

    return request


def _stranger(
    slug: str,
    requirement: str,
    what: str,
    change: Callable[[bytes, bytes], bytes],
    oracle: Oracle = UNPROVED,
) -> Case:
    """A check, rightly signed, in whose USERNAME ``change`` has put something else."""
    return question(
        Rule(
            f"rfc8489/9.1.3/{slug}",
            requirement,
            requirements=("rfc8489/9.1.3/4", "rfc8489/9.1.3/5"),
            traps=("STUN and ICE 2",),
        ),
        sends=f"a check, signed with the right password, whose USERNAME {what}",
        oracle=oracle,
        profiles=ICE,
        request=_named(change),
    )


STRANGERS = (
    _stranger(
        "username-of-nobody",
        "A fragment that was never given out is nobody's.",
        "names somebody else",
        lambda server, client: b"nobody:" + client,
    ),
    _stranger(
        "username-with-halves-swapped",
        "The receiver's fragment comes first: whose USERNAME begins with the sender's asks "
        "somebody else.",
        "has its two halves swapped",
        lambda server, client: client + b":" + server,
    ),
    _stranger(
        "username-cut-by-one",
        "The whole fragment has to be there, not only its beginning.",
        "lacks the last byte of the server's fragment",
        lambda server, client: server[:-1] + b":" + client,
    ),
    _stranger(
        "username-of-four-octets",
        "A fragment is not compared by its first four bytes.",
        "has but the first four bytes of the server's fragment",
        lambda server, client: server[:4] + b"~:" + client,
    ),
    _stranger(
        "username-longer-by-one",
        "The fragment ends at the colon: one that only begins with it is another.",
        "has one byte more before its colon",
        lambda server, client: server + b"x:" + client,
    ),
    _stranger(
        "username-in-other-case",
        "Fragments are compared byte by byte: upper and lower case differ.",
        "has the server's fragment in the other case",
        lambda server, client: server.swapcase() + b":" + client,
    ),
    _stranger(
        "username-behind-zero",
        "A zero byte ends no string.",
        "has a zero byte and more behind the server's fragment",
        lambda server, client: server + b"\0more:" + client,
    ),
    _stranger(
        "username-without-receiver",
        "An empty fragment is nobody's.",
        "begins with its colon",
        lambda server, client: b":" + client,
        NOBODY,
    ),
    _stranger(
        "username-that-is-no-text",
        "USERNAME is compared byte by byte, and bytes that are no UTF-8 break nothing.",
        "is no UTF-8",
        lambda server, client: b"\xff\xfe\xc0\x80:\xf5",
        NOBODY,
    ),
    _stranger(
        "username-of-colons",
        "Colons alone name nobody.",
        "is seventeen colons",
        lambda server, client: b":" * 17,
        NOBODY,
    ),
    _stranger(
        "username-of-763-octets",
        "A USERNAME of 763 bytes is read.",
        "has 763 bytes and names somebody else",
        lambda server, client: b"n" * 381 + b":" + b"e" * 381,
    ),
    _stranger(
        "username-too-long",
        "A USERNAME longer than any that is allowed is nobody's.",
        "has 1,100 bytes",
        lambda server, client: b"n" * 549 + b":" + b"e" * 550,
        NOBODY,
    ),
)

PEERS = (
    question(
        Rule(
            "rfc8445/7.3/another-second-half",
            "A USERNAME is valid whose first half is a fragment of ours, whatever the second is.",
            requirements=("rfc8445/7.3/4",),
            traps=("STUN and ICE 2",),
        ),
        sends="a check whose USERNAME has a second half that no offer told",
        oracle=OTHER_PEER,
        profiles=ICE,
        request=_named(lambda server, client: server + b":somebodyelse"),
    ),
    question(
        Rule(
            "rfc8489/14.3/longest-username",
            "A USERNAME of 763 bytes is parsed.",
            requirements=("rfc8489/14.3/2", "rfc8445/7.3/4"),
            traps=("STUN and ICE 2",),
        ),
        sends="a check whose USERNAME begins with the server's fragment and has 763 bytes",
        oracle=OTHER_PEER,
        profiles=ICE,
        request=_named(lambda server, client: (server + b":" + b"s" * 763)[:763]),
    ),
    question(
        Rule(
            "traps/stun/username-padded-with-spaces",
            "Some clients pad USERNAME with spaces within its length; they are served.",
            level=Level.SHOULD,
            traps=("Facts",),
        ),
        sends="a good check whose USERNAME ends in three spaces",
        oracle=TAKEN,
        profiles=ICE,
        request=_named(lambda server, client: server + b":" + client + b"   "),
    ),
)
