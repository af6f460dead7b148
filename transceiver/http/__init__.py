"""Signalling: one resource per call, over HTTP, as clients of voice services speak it already.

The whole of it is an offer in and an answer out, in the names, statuses and shapes of OpenAI's
public Realtime API, so that a client of that needs nothing but another base URL; the same resource
is a WHIP session, so that clients of that can trickle candidates and restart ICE.

======================================  ===========================================================
``POST /v1/realtime/calls``             an offer, or a form of offer and session -> 201, the answer,
                                        ``Location`` of the call; ``POST /v1/realtime`` likewise
``GET /v1/realtime/calls/{id}``         200, what the call looks like (``snapshot.Snapshot``, JSON)
``PATCH /v1/realtime/calls/{id}``       a fragment of candidates -> 204; of new credentials -> 200,
                                        the fragment for an answer; a whole offer -> 200, the answer
``DELETE /v1/realtime/calls/{id}``      200, the call has ended; so does ``POST .../{id}/hangup``
``POST /v1/realtime/client_secrets``    200, a secret that a browser may have
``OPTIONS`` of those (not ``hangup``)   200, what it takes
``GET /v1/realtime?call_id=`` (socket)  the call's events, on the side
``GET /healthz``                        200, or 503 while draining
======================================  ===========================================================

It is an ASGI application that keeps no state of its own: who may call is in a key or a sealed
secret, who holds a call is in the call's id. So it mounts into anybody's application, and requests
may reach any node of a fleet. SDP is never logged, nor is any key: it holds addresses and
passwords.
"""

from .access import Access, Caller
from .accounts import ApiKeys
from .app import create_app
from .bodies import FORM_BYTES, OFFER_BYTES, OFFER_SECONDS, SDP, read_body
from .calls import CALLS, CLIENT_SECRETS
from .client_secrets import ClientSecrets
from .owners import EVENT_BYTES, Owners
from .refusals import REFUSALS, Refusal
from .sideband import EVENTS

__all__ = [
    "CALLS",
    "CLIENT_SECRETS",
    "EVENTS",
    "EVENT_BYTES",
    "FORM_BYTES",
    "OFFER_BYTES",
    "OFFER_SECONDS",
    "REFUSALS",
    "SDP",
    "Access",
    "ApiKeys",
    "Caller",
    "ClientSecrets",
    "Owners",
    "Refusal",
    "create_app",
    "read_body",
]
