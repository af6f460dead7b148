"""Metrics and health by HTTP.

================  =================================================================================
``GET /metrics``  200, in the text format of Prometheus, or OpenMetrics to whoever asks for it
``GET /healthz``  200 while the supervisor lives: a probe that restarts the relay looks here
``GET /readyz``   200 if all workers are up and answer, else 503 and why: a probe that sends it
                  traffic looks here
================  =================================================================================

Nothing else answers. It stands on an address of its own, which is nobody's but the operators'.
"""

from collections.abc import Mapping
from typing import Any

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stunroute.address import Address
from stunroute.status import RelayStatus
from stunroute.web import HttpServer

from .metrics import registry
from .watch import Operated, Watch

CONNECTIONS = 64
"""Open at once; a further one is answered with 503."""
STALE = 10.0
"""Seconds after which a picture is too old to say that all is well."""


def create_app(watch: Watch, operated: Operated) -> Starlette:
    """The application in front of a relay whose supervisor runs on the same loop."""

    relay = registry(lambda: watch.latest)

    async def metrics(request: Request) -> Response:
        if watch.latest is None:
            return PlainTextResponse("no worker has answered yet\n", 503)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(relay), headers={"Content-Type": content_type})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        problem = unready(watch, operated)
        return PlainTextResponse(f"{problem or 'ready'}\n", 503 if problem else 200)

    routes = [
        Route("/metrics", metrics, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers=REFUSALS)
    app.router.redirect_slashes = False
    return app


def unready(watch: Watch, operated: Operated) -> str | None:
    """Why the relay should get no traffic; None if it should."""
    status = watch.latest
    if status is None:
        return "no worker has answered yet"
    if not operated.ready or len(status.workers) < status.wanted:
        return _missing(status)
    if watch.age > STALE:
        return f"the last picture of the workers is {watch.age:.0f} s old"
    return None


def _missing(status: RelayStatus) -> str:
    silent = set(range(status.wanted)) - {worker.worker for worker in status.workers}
    names = ", ".join(map(str, sorted(silent)))
    up = f"{status.wanted - len(silent)} of {status.wanted} workers answer"
    return f"{up}; not worker {names}" if names else "not all workers answer"


async def _refused(_: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    return Response(status_code=code)


REFUSALS: Mapping[Any, Any] = {HTTPException: _refused, Exception: _refused}


def server(watch: Watch, operated: Operated, listen: Address) -> HttpServer:
    """Not started yet."""
    return HttpServer(create_app(watch, operated), listen, CONNECTIONS)
