"""Signalling resources that say another status, leave out a header, or look at nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import evolve

from conformance.case import Profile
from conformance.mutants.model import swapped
from conformance.mutants.models import WhipModel
from conformance.probe.http import FRAGMENT, SDP
from conformance.stage import Refused, Response

from .model import Saboteur

Answer = Callable[..., Response]
_STATUSES = (200, 201, 204, 302, 400, 401, 404, 405, 412, 415, 422, 428, 500, 503)
_METHODS = ("POST", "PATCH", "DELETE", "GET", "OPTIONS")
_HEADERS = ("content-type", "location", "etag", "accept-post")


def _says(method: str, status: int) -> Answer:
    def answer(
        honest: Any, model: WhipModel, asked: str, call: str, headers: Any, body: bytes
    ) -> Response:
        said: Response = honest(model, asked, call, headers, body)
        return evolve(said, status=status) if asked == method else said

    return answer


def _without(header: str, by: str | None) -> Answer:
    def answer(honest: Any, model: WhipModel, *request: Any) -> Response:
        said: Response = honest(model, *request)
        kept = {name: value for name, value in said.headers.items() if name != header}
        if by is not None and header in said.headers:
            kept[header] = by
        return evolve(said, headers=kept)

    return answer


def _reads(**instead: str | None) -> Answer:
    """As if the request had these headers, or, for None, did not have them."""

    def answer(
        honest: Any,
        model: WhipModel,
        asked: str,
        call: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Response:
        told = dict(headers)
        for name, value in instead.items():
            header = name.replace("_", "-")
            told.pop(header, None)
            if value is not None:
                told[header] = value
        if "content_type" in instead:
            told["content-type"] = SDP if asked == "POST" else FRAGMENT
        return Response(**_fields(honest(model, asked, call, told, body)))

    return answer


def _fields(said: Response) -> dict[str, Any]:
    return {"status": said.status, "headers": said.headers, "body": said.body}


def _drops(method: str) -> Answer:
    def answer(honest: Any, model: WhipModel, asked: str, *request: Any) -> Response:
        if asked == method:
            raise Refused("no response")
        said: Response = honest(model, asked, *request)
        return said

    return answer


def _same_place(honest: Any, model: WhipModel, *request: Any) -> Response:
    said: Response = honest(model, *request)
    if "location" not in said.headers:
        return said
    return evolve(said, headers={**said.headers, "location": "/whip/one"})


def _answering(name: str, does: str, answer: Answer) -> Saboteur:
    @contextmanager
    def apply() -> Iterator[None]:
        honest = WhipModel.answer
        with swapped(WhipModel, "answer", lambda *request: answer(honest, *request)):
            yield

    return Saboteur(f"http/{name}", does, apply)


def _families() -> Iterable[Saboteur]:
    for method in _METHODS:
        for status in _STATUSES:
            does = f"It says {status} to {method}."
            yield _answering(f"{method.lower()}-{status}", does, _says(method, status))
        does = f"It does not answer {method}."
        yield _answering(f"no-{method.lower()}", does, _drops(method))
    for header in _HEADERS:
        for name, by in (("without", None), ("odd", "text/html"), ("weak", 'W/"1"')):
            does = f"Its {header} is {by}."
            yield _answering(f"{name}-{header}", does, _without(header, by))
    reads: dict[str, Answer] = {
        "any-token": _reads(authorization="Bearer sesame"),
        "any-content": _reads(content_type=None),
        "any-tag": _reads(if_match="*"),
        "no-tag": _reads(if_match=None),
    }
    for name, answer in reads.items():
        yield _answering(name, f"It takes {name}.", answer)
    yield _answering("one-place", "Each call is at one place.", _same_place)


PROFILES = (Profile.SIGNALING,)
SABOTEURS = tuple(_families())
