"""Who is asking, and what they may do.

A *caller* is an account, known by its API key, or somebody whom an account gave a client secret.
Each call remembers who opened it. An account may do what it likes with all calls of its own and of
its secrets; whoever has a secret, with the calls opened with that secret. Expiry bounds the opening
of calls and nothing else: a call may well outlast its secret, and its client still has to restart
ICE and hang up.

Where no keys are configured everybody is the one nameless account. A bearer token is then not read,
since client libraries insist on sending one, except that a client secret still counts as such: a
page that works with one here is to work where keys are asked for.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from starlette.requests import HTTPConnection

from stunroute.instant import Entropy
from transceiver.settings import HttpSettings

from .accounts import ApiKeys
from .client_secrets import KEY_LENGTH, PREFIX, ClientSecrets
from .refusals import Refusal

SUBPROTOCOL = "realtime"
"""What a browser's socket speaks; it names no other unless it has to be told a key."""
_KEY_SUBPROTOCOL = "openai-insecure-api-key."


@frozen(slots=True)
class Caller:
    """``account`` is empty where no keys are asked for. ``secret`` is the name of the client secret
    that was shown, empty where it was a key; ``session`` is what goes with it."""

    account: str
    secret: str = ""
    session: Mapping[str, Any] = field(factory=dict, repr=False)
    expired: bool = False

    @property
    def owner(self) -> str:
        """How calls remember who opened them."""
        return f"{self.account}/{self.secret}" if self.secret else self.account

    def may_use(self, owner: str) -> bool:
        """Whether a call that ``owner`` opened may be seen, changed and ended."""
        if self.secret:
            return owner == self.owner
        return not self.account or owner.partition("/")[0] == self.account


@define(slots=True, eq=False)
class Access:
    """Tells callers apart. ``wall`` reads Unix time, in seconds."""

    keys: ApiKeys
    secrets: ClientSecrets = field(repr=False)
    wall: Callable[[], float] = time.time

    @classmethod
    def of(cls, settings: HttpSettings, entropy: Entropy = os.urandom) -> "Access":
        """With the keys of ``settings``. Without a secret of theirs, client secrets hold as long as
        this object."""
        secret = settings.secret or entropy(KEY_LENGTH)
        return cls(ApiKeys(settings.keys), ClientSecrets(secret, entropy))

    def caller(self, connection: HTTPConnection) -> Caller:
        """Who sends this request, or opens this socket. Raises Refusal (401)."""
        token = _token(connection)
        if token is not None and token.startswith(PREFIX):
            return self._holder(token)
        if not self.keys.accounts:
            return Caller("")
        if token is None:
            problem = "Missing bearer authentication in header"
            raise Refusal(401, "invalid_api_key", problem, {"WWW-Authenticate": "Bearer"})
        account = self.keys.account_of_untrusted(token)
        if account is None:
            raise _invalid("invalid_api_key", "Incorrect API key provided")
        return Caller(account)

    def opener(self, connection: HTTPConnection) -> Caller:
        """As ``caller``, for what needs a secret that has not expired. Raises Refusal (401)."""
        caller = self.caller(connection)
        if caller.expired:
            raise _invalid("token_expired", "The client secret has expired")
        return caller

    def _holder(self, token: str) -> Caller:
        secret = self.secrets.open_untrusted(token)
        # An account whose last key was taken away has no secrets either.
        if secret is None or secret.account not in (self.keys.accounts or {""}):
            raise _invalid("invalid_api_key", "Incorrect client secret provided")
        expired = secret.expires_at <= self.wall()
        return Caller(secret.account, secret.identifier, secret.session, expired)


def _invalid(code: str, problem: str) -> Refusal:
    return Refusal(401, code, problem, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _token(connection: HTTPConnection) -> str | None:
    """The bearer token (RFC 6750, 2.1). Pages cannot set a socket's headers: they name the key
    among the subprotocols."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for protocol in connection.scope.get("subprotocols") or ():
        if protocol.startswith(_KEY_SUBPROTOCOL):
            return str(protocol[len(_KEY_SUBPROTOCOL) :])
    return None
