"""The resources: calls, client secrets, the socket on the side.

Each request is first asked who sends it, so that strangers learn nothing of which calls there are
and make no other node work; then whose the call is, since only its holder can say whether it lives;
then whether the caller may use it.
"""

import re
from contextlib import suppress
from typing import Any

import cattrs
from attrs import define, field
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from transceiver.aio import TransceiverServer
from transceiver.errors import CallError
from transceiver.realtime import session as sessions

from .access import Access, Caller
from .bodies import (
    FORM,
    FORM_BYTES,
    FRAGMENT,
    JSON,
    SDP,
    SESSION_BYTES,
    media_type,
    offer_untrusted,
    read_body,
    unsupported,
)
from .client_secrets import SecretTooLong
from .owners import Owners, deny
from .refusals import Refusal, refused
from .requests import (
    call_request_untrusted,
    offer_of_form_untrusted,
    secret_request_untrusted,
)
from .sideband import converse

CALLS = "/v1/realtime/calls"
CLIENT_SECRETS = "/v1/realtime/client_secrets"

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*')


@define(slots=True, eq=False)
class Calls:
    """Answers requests for the calls of ``server``, and passes on those for others'."""

    server: TransceiverServer
    access: Access
    owners: Owners
    _converter: cattrs.Converter = field(init=False, factory=cattrs.Converter, repr=False)

    # Without a call yet

    async def collection(self, request: Request) -> Response:
        """``POST`` makes a call, ``OPTIONS`` says what of (WHIP, 4.2)."""
        if request.method == "OPTIONS":
            allowed = {"Allow": "POST, OPTIONS", "Accept-Post": f"{SDP}, {FORM}"}
            return Response(status_code=200, headers=allowed)
        caller = self.access.opener(request)
        session: dict[str, Any] = {}
        match media_type(request):
            case "application/sdp":
                offer = offer_untrusted(await read_body(request))
            case "multipart/form-data":
                body = await read_body(request, FORM_BYTES)
                offer, session = offer_of_form_untrusted(body, request.headers["content-type"])
            case _:
                raise unsupported(request, (SDP, FORM))
        asked = call_request_untrusted(caller, session, request.query_params)
        answered = self.server.open_call(offer, asked)
        headers = {
            "Location": f"{_root(request)}{CALLS}/{answered.call}",
            "ETag": _quoted(self.server.etag(answered.call)),
        }
        return Response(answered.answer, 201, headers, media_type=SDP)

    async def client_secrets(self, request: Request) -> Response:
        """``POST`` makes a client secret."""
        if request.method == "OPTIONS":
            return Response(headers={"Allow": "POST, OPTIONS", "Accept-Post": JSON})
        caller = self.access.caller(request)
        if caller.secret:
            problem = "A client secret opens calls; to make another one takes an API key"
            raise Refusal(403, "insufficient_permissions", problem)
        if media_type(request) not in (JSON, ""):
            raise unsupported(request, (JSON,))
        asked = secret_request_untrusted(await read_body(request, SESSION_BYTES))
        expires_at = int(self.access.wall()) + asked.seconds
        try:
            value = self.access.secrets.seal(caller.account, asked.session, expires_at)
        except SecretTooLong:
            problem = "The session is too large to go into a client secret."
            raise Refusal(400, "session_too_large", problem, param="session") from None
        opened = self.access.secrets.open_untrusted(value)
        assert opened is not None
        shown = sessions.effective(
            asked.session,
            id=f"sess_{opened.identifier}",
            model=asked.session.get("model"),
            expires_at=expires_at,
        )
        body = {"value": value, "expires_at": expires_at, "session": shown}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    # One call

    async def resource(self, request: Request) -> Response:
        """``GET``, ``PATCH`` and ``DELETE`` of a call, and ``OPTIONS``."""
        if request.method == "OPTIONS":
            allowed = {
                "Allow": "GET, HEAD, PATCH, DELETE, OPTIONS",
                "Accept-Patch": f"{FRAGMENT}, {SDP}",
            }
            return Response(status_code=200, headers=allowed)
        return await self._for_one(request)

    async def hangup(self, request: Request) -> Response:
        """``POST`` ends a call."""
        return await self._for_one(request)

    async def _for_one(self, request: Request) -> Response:
        call = request.path_params["call"]
        caller = self.access.caller(request)
        holder = self._holder(call)
        if holder is not None:
            return await self.owners.answer(request, holder)
        self._check(caller, call)
        match request.method:
            case "PATCH":
                return await self._patch(request, call)
            case "DELETE" | "POST":
                self.server.hang_up(call)
                return Response(status_code=200)
            case _:
                state = self._converter.unstructure(self.server.snapshot(call))
                return JSONResponse(state, headers={"Cache-Control": "no-store"})

    def _holder(self, call: str) -> tuple[int, int] | None:
        """The other node that holds ``call``; None where this one does, or nobody."""
        hint = self.server.locate(call)
        if hint is None or (hint.cluster, hint.node) == self.server.name:
            return None
        return hint.cluster, hint.node

    def _check(self, caller: Caller, call: str) -> None:
        """Raises UnknownCall, Refusal."""
        if not caller.may_use(self.server.owner_of(call)):
            raise Refusal(403, "forbidden", "The call was opened by somebody else")

    async def _patch(self, request: Request, call: str) -> Response:
        kind = media_type(request)
        if kind not in (FRAGMENT, SDP):
            raise unsupported(request, (FRAGMENT, SDP))
        text = offer_untrusted(await read_body(request))
        # The call may have ended or changed while the body came. From here on nothing waits.
        _check_match(request, self.server.etag(call), required=kind == FRAGMENT)
        answer: str | None
        if kind == SDP:
            answer = self.server.reoffer(call, text)
        else:
            answer = self.server.patch(call, text)
        if answer is None:
            return Response(status_code=204)
        return Response(answer, 200, {"ETag": _quoted(self.server.etag(call))}, media_type=kind)

    # The socket

    async def events(self, websocket: WebSocket) -> None:
        """A socket on the side of a call (``?call_id=``)."""
        with suppress(WebSocketDisconnect):  # whoever has left needs no answer
            await self._events(websocket)

    async def _events(self, websocket: WebSocket) -> None:
        try:
            caller = self.access.caller(websocket)
            call = websocket.query_params.get("call_id", "")
            if not call:
                problem = "Missing required parameter: 'call_id'. A call begins with an offer."
                raise Refusal(400, "missing_required_parameter", problem, param="call_id")
            holder = self._holder(call)
            if holder is not None:
                await self.owners.join(websocket, holder)
                return
            self._check(caller, call)
            await converse(websocket, self.server, call)
        except (Refusal, CallError) as error:
            await deny(websocket, refused(error))


def _root(connection: HTTPConnection) -> str:
    """Where the application is mounted."""
    return str(connection.scope.get("root_path", "")).rstrip("/")


def _quoted(tag: str) -> str:
    return f'"{tag}"'


def _check_match(request: Request, tag: str, *, required: bool) -> None:
    """Hold ``If-Match`` against the ICE session that there is (RFC 9110, 13.1.1; WHIP, 4.3.1).
    Raises Refusal."""
    condition = request.headers.get("if-match")
    if condition is None:
        if required:
            problem = 'A fragment says by If-Match which ICE session it is for; "*" is any'
            raise Refusal(428, "precondition_required", problem)
        return
    if condition.strip() in ("*", '"*"'):
        return
    for part in condition.split(","):
        found = _TAG.fullmatch(part)
        if found and found[1] is None and found[2] == tag:
            return
    raise Refusal(412, "precondition_failed", "The ICE session is not that of If-Match any more")
