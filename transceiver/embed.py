"""A transceiver inside another ASGI application.

Somebody's FastAPI application already has its users, its TLS and its place in a deployment. Three
lines give it calls::

    edge = Edge("transceiver.toml")
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/voice", edge)

The application's server carries the signalling, so ``http.listen`` counts for nothing; the leg to
the relays is the node's own as ever. Who may call is in the settings as for the program: without
``http.keys`` it is everybody whom the outer application lets through.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from . import settings as settings_of
from .backend.interface import BackendFactory
from .backend.line import on_line
from .backend.python import VoiceAgent, in_process
from .node import Node, assemble
from .settings import TransceiverSettings


class Edge:
    """A node as an ASGI application.

    ``settings`` is a file, read under the environment as by the program, or the settings
    themselves. In place of the backend that they name each call gets an ``agent``, which is a class
    of one's own or anything that makes such objects, or a ``backend``. Raises ConfigError.
    """

    def __init__(
        self,
        settings: TransceiverSettings | Path | str,
        *,
        agent: Callable[[], VoiceAgent] | None = None,
        backend: BackendFactory | None = None,
    ) -> None:
        if not isinstance(settings, TransceiverSettings):
            settings = settings_of.load(Path(settings), os.environ, {})
        self.settings = settings
        self.node: Node | None = None
        """While its lifespan lasts."""
        if agent is not None:
            limits = settings.limits
            backend = on_line(in_process(agent), limits.voice, limits.realtime)
        self._backend = backend
        self._app: Starlette | None = None

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """From the start of the outer application to its end: calls are drained then, for as long
        as the settings say. Raises ConfigError, OSError where the leg's address cannot be had."""
        node = assemble(self.settings, backend=self._backend)
        await node.server.start()
        self.node, self._app = node, node.app()
        try:
            yield
        finally:
            await node.server.stop(self.settings.drain)
            self.node = self._app = None
            await node.owners.aclose()
            node.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            raise RuntimeError("the application does not run lifespan, or not Edge.lifespan")
        await self._app(scope, receive, send)
