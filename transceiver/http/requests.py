"""What a request asks for, beside the offer: the session, the model, the events channel.

Three places can say something of the session: the client secret that opens the call, the query of
the address, and the form that the offer comes in. Of two that differ the later one counts, field by
field, as in the public API, where a secret's session is what a client starts from and no limit.
Nothing in here waits or touches a socket.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from starlette.datastructures import QueryParams

from transceiver.backend.interface import CallRequest
from transceiver.config import RealtimeLimits
from transceiver.realtime import session as sessions
from transceiver.realtime.wire import EventError, parse_untrusted

from .access import Caller
from .bodies import FORM, OFFER_BYTES, SESSION_BYTES, FormError, form_untrusted, offer_untrusted
from .client_secrets import SECONDS_DEFAULT, SECONDS_LEAST, SECONDS_MOST
from .refusals import Refusal

CHANNELS = 65535
"""Numbers that a data channel may have are below (RFC 8831, 6.2)."""
MODEL_LENGTH = 256


def _bad(code: str, message: str, param: str | None = None) -> Refusal:
    return Refusal(400, code, message, param=param)


def object_untrusted(body: bytes, name: str) -> dict[str, Any]:
    """The JSON object that ``body`` is; ``name`` is what to call it. Raises Refusal."""
    try:
        return parse_untrusted(body, RealtimeLimits(event=SESSION_BYTES))
    except EventError as error:
        message = error.message.replace("The event", f"The {name}", 1)
        param = name if name != "body" else None
        raise _bad("invalid_json", message, param) from None


def session_untrusted(session: object) -> dict[str, Any]:
    """A session object in its current form. Raises Refusal."""
    try:
        return sessions.validate(session)
    except EventError as error:
        raise _bad(error.code, error.message, error.param) from None


def offer_of_form_untrusted(body: bytes, content_type: str) -> tuple[str, dict[str, Any]]:
    """The offer in a form, and the session object beside it. Raises Refusal, OfferError."""
    try:
        parts = form_untrusted(body, content_type)
    except FormError as error:
        raise _bad("invalid_form", f"the {FORM} {error}") from None
    if "sdp" not in parts:
        raise _bad("missing_required_parameter", "Missing required parameter: 'sdp'.", "sdp")
    if len(parts["sdp"]) > OFFER_BYTES:
        problem = f"an offer has at most {OFFER_BYTES} bytes"
        raise Refusal(413, "offer_too_large", problem, param="sdp")
    session: dict[str, Any] = {}
    if "session" in parts:
        session = session_untrusted(object_untrusted(parts["session"], "session"))
    return offer_untrusted(parts["sdp"]), session


def call_request_untrusted(
    caller: Caller, session: Mapping[str, Any], query: QueryParams
) -> CallRequest:
    """What a call is asked for with. ``session`` is validated, as is that of ``caller``. Raises
    Refusal."""
    merged: Mapping[str, Any] = session
    if caller.session:
        merged = sessions.merge(caller.session, session) if session else caller.session
    model = query.get("model") or None
    if model is not None and len(model) > MODEL_LENGTH:
        problem = f"Invalid 'model': at most {MODEL_LENGTH} characters are allowed."
        raise _bad("string_above_max_length", problem, "model")
    model = session.get("model") or model or caller.session.get("model")
    if model is not None and merged.get("model") != model:
        merged = {**merged, "model": model}
    return CallRequest(merged, model, caller.owner, _channel(query))


def _channel(query: QueryParams) -> int | None:
    """The number in ``?dcid=``."""
    text = query.get("dcid")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < CHANNELS):
        problem = f"Invalid 'dcid': expected the number of a data channel, 0 to {CHANNELS - 1}."
        raise _bad("invalid_value", problem, "dcid")
    return int(text)


@frozen(slots=True)
class SecretRequest:
    """What a client secret is asked for with: for how many seconds, with which session."""

    seconds: int = SECONDS_DEFAULT
    session: Mapping[str, Any] = field(factory=dict, repr=False)


def secret_request_untrusted(body: bytes) -> SecretRequest:
    """From a body of JSON, which may be empty. Raises Refusal."""
    asked = object_untrusted(body, "body") if body.strip() else {}
    for name in asked:
        if name not in ("expires_after", "session"):
            problem = f"Unknown parameter: '{name[:64]}'."
            raise _bad("unknown_parameter", problem, name[:64])
    session = asked.get("session")
    return SecretRequest(
        _seconds(asked.get("expires_after")),
        {} if session is None else session_untrusted(session),
    )


def _seconds(expires: object) -> int:
    if expires is None:
        return SECONDS_DEFAULT
    name = "expires_after"
    if not isinstance(expires, dict):
        raise _bad("invalid_type", f"Invalid type for '{name}': expected an object.", name)
    if expires.get("anchor", "created_at") != "created_at":
        problem = f"Invalid value for '{name}.anchor'. Supported values are: 'created_at'."
        raise _bad("invalid_value", problem, f"{name}.anchor")
    seconds = expires.get("seconds", SECONDS_DEFAULT)
    param = f"{name}.seconds"
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise _bad("invalid_type", f"Invalid type for '{param}': expected an integer.", param)
    for wrong, code, bound in (
        (seconds < SECONDS_LEAST, "integer_below_min_value", f">= {SECONDS_LEAST}"),
        (seconds > SECONDS_MOST, "integer_above_max_value", f"<= {SECONDS_MOST}"),
    ):
        if wrong:
            raise _bad(code, f"Invalid '{param}': expected a value {bound}.", param)
    return seconds
