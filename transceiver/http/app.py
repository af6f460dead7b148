"""The application: which address leads to what."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from transceiver.aio import TransceiverServer
from transceiver.settings import HttpSettings

from .access import Access
from .calls import CALLS, CLIENT_SECRETS, Calls
from .owners import Owners
from .refusals import REFUSALS
from .sideband import EVENTS

_PREFLIGHT_SECONDS = 86400


def create_app(
    server: TransceiverServer, access: Access | None = None, owners: Owners | None = None
) -> Starlette:
    """The signalling application in front of ``server``, which runs on the same loop.

    ``access`` knows who may call; without it everybody may. ``owners`` knows the other nodes;
    without it there are none. It is the caller's to close it.
    """
    calls = Calls(server, access or Access.of(HttpSettings()), owners or Owners())

    async def health(request: Request) -> Response:
        state = "draining" if server.draining else "ok"
        status = 503 if server.draining else 200
        return JSONResponse({"status": state, "calls": len(server.calls)}, status)

    one = f"{CALLS}/{{call}}"
    return Starlette(
        routes=[
            Route(CALLS, calls.collection, methods=["POST", "OPTIONS"]),
            Route(one, calls.resource, methods=["GET", "PATCH", "DELETE", "OPTIONS"]),
            Route(f"{one}/hangup", calls.hangup, methods=["POST"]),
            Route(CLIENT_SECRETS, calls.client_secrets, methods=["POST", "OPTIONS"]),
            Route(EVENTS, calls.collection, methods=["POST", "OPTIONS"]),
            WebSocketRoute(EVENTS, calls.events),
            Route("/healthz", health, methods=["GET"]),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST", "PATCH", "DELETE", "OPTIONS"],
                allow_headers=["*"],
                expose_headers=["Location", "ETag", "Retry-After", "Accept-Patch"],
                max_age=_PREFLIGHT_SECONDS,
            )
        ],
        exception_handlers=REFUSALS,
    )
