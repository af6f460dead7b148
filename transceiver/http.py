"""Signalling: one resource per call, over HTTP.

The whole of it is an offer in and an answer out, in the form that WebRTC clients of voice services
use already: ``POST /v1/realtime/calls`` with a body of ``application/sdp`` makes a call, whose
``Location`` can then be read, given another offer and deleted. It is an ASGI application without
state of its own, so it mounts into anybody's; the ``Location`` minds where it was mounted.

==================================  ===============================================================
``POST /v1/realtime/calls``         offer -> 201, the answer, ``Location`` of the call
``GET /v1/realtime/calls/{id}``     200, what the call looks like now (``snapshot.Snapshot``, JSON)
``PATCH /v1/realtime/calls/{id}``   whole new offer (ICE restart) -> 200, the answer
``DELETE /v1/realtime/calls/{id}``  200, the call has ended; so does ``POST .../{id}/hangup``
``GET /healthz``                    200, or 503 while draining
==================================  ===============================================================

A call's id holds 128 enciphered bits and was told to nobody but its caller, so to know it is to be
allowed. Everything that goes wrong is answered as ``{"error": {"type", "code", "message"}}``. SDP
is never logged: it holds addresses and passwords.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import cattrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .aio import BackendUnavailable, TransceiverServer
from .errors import AtCapacity, CallError, OfferError, UnknownCall

CALLS = "/v1/realtime/calls"
SDP = "application/sdp"
OFFER_BYTES = 65536
"""Longest offer taken; a longer one is refused as soon as that shows."""
OFFER_SECONDS = 10.0
"""How long a client may take over sending it."""

BACKEND_RETRY = 5
"""Seconds that a caller is told to wait whom the application refused."""

_PREFLIGHT_SECONDS = 86400


class Refusal(Exception):
    """An answer other than success, on its way out of a handler; ``REFUSALS`` turns it into one."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"type": kind, "code": code, "message": message}}
    return JSONResponse(body, status_code=status, headers=headers)


async def read_body(request: Request) -> bytes:
    """The request's body, bounded in length and time. Raises Refusal."""
    too_large = Refusal(413, "offer_too_large", f"an offer has at most {OFFER_BYTES} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > OFFER_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > OFFER_BYTES:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "offer_timeout", "the offer did not arrive in time") from None
    return bytes(body)


async def _offer(request: Request) -> str:
    """The request's body as text."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != SDP:
        problem = f"the body is to be a whole offer as {SDP}"
        if content_type:
            problem += f", not {content_type.partition(';')[0].strip()[:80]}"
        headers = {"Accept-Post" if request.method == "POST" else "Accept-Patch": SDP}
        raise Refusal(415, "unsupported_media_type", problem, headers)
    body = await read_body(request)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise OfferError("is not UTF-8", line) from None


def create_app(server: TransceiverServer) -> Starlette:
    """The signalling application in front of ``server``, which runs on the same loop."""
    converter = cattrs.Converter()

    def location(request: Request, call: str) -> str:
        path = app.url_path_for("call", call=call)
        return f"{request.scope.get('root_path', '').rstrip('/')}{path}"

    async def collection(request: Request) -> Response:
        if request.method == "OPTIONS":
            allowed = {"Allow": "POST, OPTIONS", "Accept-Post": SDP}
            return Response(status_code=204, headers=allowed)
        answered = server.open_call(await _offer(request))
        headers = {"Location": location(request, answered.call)}
        return Response(answered.answer, 201, headers, media_type=SDP)

    async def resource(request: Request) -> Response:
        call = request.path_params["call"]
        match request.method:
            case "OPTIONS":
                allowed = {"Allow": "GET, HEAD, PATCH, DELETE, OPTIONS", "Accept-Patch": SDP}
                return Response(status_code=204, headers=allowed)
            case "PATCH":
                server.snapshot(call)  # an unknown call is a 404 whatever the body is
                return Response(server.reoffer(call, await _offer(request)), media_type=SDP)
            case "DELETE":
                return await end(request)
            case _:
                state = converter.unstructure(server.snapshot(call))
                return JSONResponse(state, headers={"Cache-Control": "no-store"})

    async def end(request: Request) -> Response:
        server.hang_up(request.path_params["call"])
        return Response(status_code=200)

    async def health(request: Request) -> Response:
        state = "draining" if server.draining else "ok"
        status = 503 if server.draining else 200
        return JSONResponse({"status": state, "calls": len(server.calls)}, status)

    one = f"{CALLS}/{{call}}"
    app = Starlette(
        routes=[
            Route(CALLS, collection, methods=["POST", "OPTIONS"]),
            Route(one, resource, methods=["GET", "PATCH", "DELETE", "OPTIONS"], name="call"),
            Route(f"{one}/hangup", end, methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST", "PATCH", "DELETE", "OPTIONS"],
                allow_headers=["Authorization", "Content-Type", "If-Match"],
                expose_headers=["Location", "Retry-After"],
                max_age=_PREFLIGHT_SECONDS,
            )
        ],
        exception_handlers=REFUSALS,
    )
    return app


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _error(error.status, error.code, str(error), error.headers)


async def _on_call_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CallError)
    match error:
        case OfferError():
            return _error(400, error.code, str(error))
        case UnknownCall():
            return _error(404, error.code, str(error))
        case AtCapacity():
            wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
            return _error(503, error.code, str(error), wait)
        case BackendUnavailable():
            return _error(503, error.code, str(error), {"Retry-After": str(BACKEND_RETRY)})
        case _:
            return _error(400, error.code, str(error))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is left to read it


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself, in the same form as all the rest."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            code, message = "not_found", f"there is nothing at {request.url.path[:200]}"
        case 405:
            code, message = "method_not_allowed", f"{request.method} is not for this resource"
        case _:
            code, message = "http_error", error.detail
    headers = dict(error.headers) if error.headers else None
    return _error(error.status_code, code, message, headers)


async def _on_failure(request: Request, error: Exception) -> Response:
    """A fault of ours: the caller learns no more than that; the log has the traceback."""
    return _error(500, "internal_error", "the transceiver failed")


REFUSALS: Mapping[Any, Any] = {
    Refusal: _on_refusal,
    CallError: _on_call_error,
    ClientDisconnect: _on_disconnect,
    HTTPException: _on_http_exception,
    Exception: _on_failure,
}
"""Exception handlers that give every refusal its one form."""
