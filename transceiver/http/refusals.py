"""Everything that goes wrong, in one form.

A refusal is ``{"error": {"message", "type", "param", "code"}}``, as the public API has it: a client
library shows the message, and its user's program looks at the code. ``param`` names the field at
fault where a single one is.
"""

import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, Response

from transceiver.aio import BackendUnavailable
from transceiver.errors import AtCapacity, CallError, OfferError, UnknownCall

BACKEND_RETRY = 5
"""Seconds that a caller is told to wait whom the application refused."""


class Refusal(Exception):
    """An answer other than success, on its way out of a handler; ``REFUSALS`` turns it into one."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
        *,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers
        self.param = param


def _error(
    status: int,
    code: str,
    message: str,
    headers: dict[str, str] | None = None,
    param: str | None = None,
) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def refused(error: Refusal | CallError) -> JSONResponse:
    """The answer that ``error`` comes to."""
    match error:
        case Refusal():
            return _error(error.status, error.code, str(error), error.headers, error.param)
        case OfferError():
            return _error(400, error.code, str(error), param=error.param)
        case UnknownCall():
            return _error(404, error.code, str(error))
        case AtCapacity():
            wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
            return _error(503, error.code, str(error), wait)
        case BackendUnavailable():
            return _error(503, error.code, str(error), {"Retry-After": str(BACKEND_RETRY)})
        case _:
            return _error(400, error.code, str(error))


async def _on_refused(_: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, Refusal | CallError)
    return refused(error)


async def _on_disconnect(_: HTTPConnection, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is left to read it


async def _on_http_exception(connection: HTTPConnection, error: Exception) -> Response:
    """What the framework refuses by itself, in the same form as all the rest."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            code, message = "not_found", f"there is nothing at {connection.url.path[:200]}"
        case 405:
            method = connection.scope["method"]
            code, message = "method_not_allowed", f"{method} is not for this resource"
        case _:
            code, message = "http_error", error.detail
    headers = dict(error.headers) if error.headers else None
    return _error(error.status_code, code, message, headers)


async def _on_failure(_: HTTPConnection, error: Exception) -> Response:
    """A fault of ours: the caller learns no more than that; the log has the traceback."""
    return _error(500, "internal_error", "the transceiver failed")


REFUSALS: Mapping[Any, Any] = {
    Refusal: _on_refused,
    CallError: _on_refused,
    ClientDisconnect: _on_disconnect,
    HTTPException: _on_http_exception,
    Exception: _on_failure,
}
"""Exception handlers that give every refusal its one form."""
