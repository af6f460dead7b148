"""Signalling by HTTP: RFC 9725 (WHIP), which calls of the Realtime API follow where they can.

These need HTTP, so they are for servers with a door of their own; in memory there is none. Each
ends with the question whether a plain offer is still answered.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule, Unsupported, case
from conformance.probe.http import (
    FRAGMENT,
    SDP,
    WITHOUT,
    Resource,
    Said,
    amounts_to,
    answer_faults,
    need_http,
    open_resource,
    post,
)
from conformance.probe.profiles import SDP_AND_SIGNALING, SIGNALING
from conformance.probe.sdp import plain
from conformance.stage import Refused, Response, Stage

_GRAVE = (Said.UNSOUND, Said.OTHER_SUCCESS, Said.BROKE, Said.DEAD)


def _asked(
    rule: Rule,
    sends: str,
    wanted: tuple[int, ...],
    request: Callable[[Stage], Response],
    *,
    any_refusal: bool = False,
) -> Case:
    """A case of one request and the statuses that are right; ``any_refusal``: which of the 4xx is
    the server's choice."""
    lenient: tuple[Said, ...] = (Said.OTHER_REFUSAL,) if any_refusal else ()

    @rule.asked(
        sends=sends,
        profiles=SIGNALING,
        good=(Said.RIGHT,),
        lenient=lenient,
        bad=_GRAVE if any_refusal else (*_GRAVE, Said.OTHER_REFUSAL),
        without=WITHOUT,
    )
    def steps(stage: Stage) -> Observed:
        need_http(stage)
        try:
            said = request(stage)
        except Refused as error:
            return Said.BROKE, str(error)
        return amounts_to(stage, said, wanted)

    return steps


@case(
    "rfc9725/4.2/created",
    "An offer that is posted gets 201 with the answer as application/sdp and a Location of the "
    "same origin.",
    sends="a plain offer",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    without=WITHOUT,
)
def created(stage: Stage) -> Observed:
    try:
        said = post(stage, plain(stage))
    except Refused as error:
        return Said.BROKE, str(error)
    if said.status != 201:
        return amounts_to(stage, said, (201,))
    kind = said.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != SDP:
        return Said.UNSOUND, f"Content-Type is {kind or 'missing'}"
    if not said.headers.get("location"):
        return Said.UNSOUND, "no Location"
    return Said.RIGHT


@case(
    "rfc9725/4.2/two-sessions",
    "Each offer makes a session of its own.",
    sends="two plain offers",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    without=WITHOUT,
)
def two_sessions(stage: Stage) -> Observed:
    one, other = open_resource(stage), open_resource(stage)
    if one.url == other.url:
        return Said.UNSOUND, "both have one Location"
    if one.response.body == other.response.body:
        return Said.UNSOUND, "both have one answer"
    return Said.RIGHT


@case(
    "rfc9725/4.2/sound-answer",
    "The answer in a 201 keeps the rules of answers.",
    sends="a plain offer",
    profiles=SDP_AND_SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    without=WITHOUT,
)
def sound_answer(stage: Stage) -> Observed:
    wrong = answer_faults(open_resource(stage))
    return (Said.UNSOUND, wrong) if wrong else Said.RIGHT


def _delete_twice(stage: Stage) -> Response:
    opened = open_resource(stage)
    opened.http.request("DELETE", opened.url)
    return opened.http.request("DELETE", opened.url)


def _delete(stage: Stage) -> Response:
    opened = open_resource(stage)
    return opened.http.request("DELETE", opened.url)


def _delete_tagged(stage: Stage) -> Response:
    opened = open_resource(stage)
    return opened.http.request("DELETE", opened.url, headers={"If-Match": '"another"'})


def _unknown(stage: Stage) -> Response:
    opened = open_resource(stage)
    last = opened.url.rstrip("/").rpartition("/")[2]
    changed = last[:-1] + ("b" if last[-1:] == "a" else "a")
    return opened.http.request("DELETE", opened.url.replace(last, changed))


def _get(stage: Stage) -> Response:
    opened = open_resource(stage)
    return opened.http.request("GET", opened.url)


def _options(stage: Stage) -> Response:
    http = need_http(stage)
    return http.request("OPTIONS", http.url)


REQUESTS = (
    _asked(
        Rule("rfc9725/4.2/other-content", "A body that is not said to be SDP is refused."),
        "a plain offer as text/plain",
        (415, 400, 406),
        lambda stage: post(stage, plain(stage), "text/plain"),
        any_refusal=True,
    ),
    _asked(
        Rule("rfc9725/4.2/empty", "An empty body is refused as a bad request."),
        "an empty body as application/sdp",
        (400, 422),
        lambda stage: post(stage, ""),
        any_refusal=True,
    ),
    _asked(
        Rule(
            "rfc9725/4.4.4/no-description", "A body that cannot be read is refused with 400 or 422."
        ),
        "words that are no SDP, as application/sdp",
        (400, 422),
        lambda stage: post(stage, "v=0\r\nwhatever\r\n"),
        any_refusal=True,
    ),
    _asked(
        Rule("rfc9110/15.5.14/too-large", "A body of several megabytes is refused."),
        "two megabytes as application/sdp",
        (413, 400, 422),
        lambda stage: post(stage, "v=0\r\n" + "a=x:0123456789\r\n" * 125_000),
        any_refusal=True,
    ),
    _asked(
        Rule("rfc9725/4.2/delete", "DELETE ends the session and says so with success."),
        "DELETE for a session",
        (200, 202, 204),
        _delete,
    ),
    _asked(
        Rule("rfc9725/4.2/delete-twice", "A session that was ended is gone."),
        "DELETE twice for a session",
        (404, 410),
        _delete_twice,
        any_refusal=True,
    ),
    _asked(
        Rule(
            "rfc9725/4.3.1/delete-with-a-tag",
            "An entity tag has no meaning for DELETE and is ignored.",
        ),
        "DELETE with an If-Match that does not match",
        (200, 202, 204),
        _delete_tagged,
    ),
    _asked(
        Rule("rfc9725/4.2/unknown-session", "A session that is not there is not found."),
        "DELETE for a session's URL with one letter changed",
        (404, 410, 403),
        _unknown,
        any_refusal=True,
    ),
    _asked(
        Rule(
            "rfc9725/4.1/get",
            "GET for a session gets a success without content.",
            level=Level.SHOULD,
        ),
        "GET for a session",
        (200, 204),
        _get,
    ),
    _asked(
        Rule("rfc9725/4.2/options", "OPTIONS is answered, for browsers that ask before they post."),
        "OPTIONS for the endpoint",
        (200, 204),
        _options,
    ),
)


@case(
    "rfc9725/4.2/accept-post",
    "OPTIONS says that SDP may be posted.",
    sends="OPTIONS for the endpoint",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    level=Level.SHOULD,
    without=WITHOUT,
)
def accept_post(stage: Stage) -> Observed:
    said = _options(stage)
    if said.status not in (200, 204):
        return amounts_to(stage, said, (200, 204))
    if SDP not in said.headers.get("accept-post", ""):
        return Said.UNSOUND, "no Accept-Post with application/sdp"
    return Said.RIGHT


# --- PATCH ----------------------------------------------------------------------------------------


def _patched(
    rule: Rule,
    sends: str,
    wanted: tuple[int, ...],
    request: Callable[[Resource], Response],
    *,
    any_refusal: bool = False,
    needs_restart: bool = False,
) -> Case:
    """``_asked`` about a call that is open; with ``needs_restart`` by servers that restart ICE by
    PATCH."""

    def steps(stage: Stage) -> Response:
        opened = open_resource(stage)
        if needs_restart:
            _need_restart(opened)
            opened = open_resource(stage)
        return request(opened)

    return _asked(rule, sends, wanted, steps, any_refusal=any_refusal)


def _need_restart(opened: Resource) -> Response:
    said = opened.patch(opened.fragment(restart=True), If_Match="*")
    if said.status == 422:
        raise Unsupported("restarts no ICE by PATCH (422)")
    return said


PATCHES = (
    _patched(
        Rule("rfc9725/4.3.2/candidate", "A candidate that follows later is taken with 204."),
        "PATCH with a candidate under the call's credentials",
        (204, 422),
        lambda opened: opened.patch(opened.fragment(), If_Match=opened.tag),
    ),
    _patched(
        Rule(
            "rfc9725/4.3.1/other-content", "A PATCH with another type than a fragment's is refused."
        ),
        "PATCH with text/plain",
        (415, 400, 422),
        lambda opened: opened.patch("hello", kind="text/plain", If_Match=opened.tag),
        any_refusal=True,
    ),
    _patched(
        Rule("rfc9725/4.3.1/malformed-fragment", "A fragment that cannot be read is refused."),
        "PATCH with words that are no SDP",
        (400, 422),
        lambda opened: opened.patch("this is no fragment\r\n", If_Match=opened.tag),
        any_refusal=True,
    ),
    _patched(
        Rule(
            "rfc9725/4.3.1/outdated-tag",
            "A candidate for an ICE session that is over is refused with 412.",
        ),
        "PATCH with a candidate and a tag that the server never gave",
        (412,),
        lambda opened: opened.patch(opened.fragment(), If_Match='"never-given"'),
        needs_restart=True,
    ),
    _patched(
        Rule(
            "rfc9725/4.3.1/missing-tag",
            "A candidate that names no ICE session is refused with 428.",
        ),
        "PATCH with a candidate and no If-Match",
        (428,),
        lambda opened: opened.patch(opened.fragment()),
        needs_restart=True,
    ),
)


@case(
    "rfc9725/4.3.3/restart",
    "New credentials in a fragment restart ICE: 200 with a fragment of new ones and another entity "
    "tag.",
    sends="PATCH with fresh credentials and If-Match: *",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    without=WITHOUT,
    traps=("STUN and ICE 8",),
)
def restart(stage: Stage) -> Observed:
    opened = open_resource(stage)
    said = _need_restart(opened)
    if said.status != 200:
        return amounts_to(stage, said, (200,))
    kind = said.headers.get("content-type", "").partition(";")[0].strip().lower()
    text = said.body.decode("utf-8", "replace")
    if kind != FRAGMENT:
        return Said.UNSOUND, f"Content-Type is {kind or 'missing'}"
    if "a=ice-ufrag:" not in text or "a=ice-pwd:" not in text:
        return Said.UNSOUND, "no new credentials"
    old = opened.response.body.decode("utf-8", "replace")
    if any(line in old for line in text.split("\r\n") if line.startswith("a=ice-ufrag:")):
        return Said.UNSOUND, "the ufrag is the one of before"
    if said.headers.get("etag") in (None, opened.response.headers.get("etag")):
        return Said.UNSOUND, "no new entity tag"
    return Said.RIGHT


@case(
    "rfc9725/4.3.1/entity-tag",
    "A server that restarts ICE gives the first ICE session a strong entity tag.",
    sends="a plain offer, and a restart to see whether there are any",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    bad=(*_GRAVE, Said.OTHER_REFUSAL),
    without=WITHOUT,
)
def entity_tag(stage: Stage) -> Observed:
    opened = open_resource(stage)
    _need_restart(opened)
    tag = opened.response.headers.get("etag", "")
    if not tag:
        return Said.UNSOUND, "no ETag in the 201"
    if not (tag.startswith('"') and tag.endswith('"')):
        return Said.UNSOUND, f"not a strong tag: {tag}"
    return Said.RIGHT


@case(
    "rfc9725/4.7.1/no-token",
    "Where a token is wanted, a request without one is refused with 401.",
    sends="a plain offer without Authorization",
    profiles=SIGNALING,
    good=(Said.RIGHT,),
    lenient=(Said.OTHER_REFUSAL,),
    bad=_GRAVE,
    without=WITHOUT,
)
def no_token(stage: Stage) -> Observed:
    http = need_http(stage)
    said = http.request(
        "POST",
        http.url,
        headers={"Content-Type": SDP, "Authorization": ""},
        body=plain(stage).encode(),
    )
    if said.status == 201:
        raise Unsupported("wants no token")
    return amounts_to(stage, said, (401,))
