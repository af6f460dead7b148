"""What a request asks for, and which of several sayings counts."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from transceiver.errors import OfferError
from transceiver.http.access import Caller
from transceiver.http.refusals import Refusal
from transceiver.http.requests import (
    call_request_untrusted,
    offer_of_form_untrusted,
    secret_request_untrusted,
    session_untrusted,
)

TYPE = "multipart/form-data; boundary=xx"


def form(**parts):
    body = "".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in parts.items()
    )
    return f"{body}--xx--\r\n".encode()


def asked(caller=None, session=None, query=""):
    given = {} if session is None else session_untrusted(session)
    return call_request_untrusted(caller or Caller("shop"), given, QueryParams(query))


def test_the_least():
    found = asked()
    assert (found.session, found.model, found.owner, found.channel) == ({}, None, "shop", None)


def test_an_offer_with_a_session():
    offer, session = offer_of_form_untrusted(
        form(sdp="v=0", session='{"type":"realtime","model":"m"}'), TYPE
    )
    assert (offer, session) == ("v=0", {"type": "realtime", "model": "m"})
    assert asked(session=session).model == "m"


@pytest.mark.parametrize(
    ("secret", "query", "form", "model"),
    [
        ("s", "", None, "s"),
        ("s", "q", None, "q"),
        (None, "q", None, "q"),
        (None, "q", "f", "f"),
        ("s", "", "f", "f"),
        ("s", "q", "f", "f"),
        (None, "", None, None),
    ],
)
def test_which_model_counts(secret, query, form, model):
    caller = Caller("shop", "1", {"model": secret} if secret else {})
    found = asked(caller, {"model": form} if form else {}, f"model={query}" if query else "")
    assert found.model == model
    assert found.session.get("model") == model


def test_a_secrets_session_is_what_one_starts_from():
    caller = Caller(
        "shop", "1", {"instructions": "be brief", "audio": {"output": {"voice": "v", "speed": 1}}}
    )
    found = asked(caller, {"audio": {"output": {"voice": "w"}}}).session
    assert found["instructions"] == "be brief"
    assert found["audio"]["output"] == {"voice": "w", "speed": 1}
    assert asked(caller).session == caller.session
    assert found is not caller.session
    assert caller.session["audio"]["output"]["voice"] == "v"
    assert asked(caller).owner == "shop/1"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("65534", 65534)])
def test_a_negotiated_channel(text, number):
    assert asked(query=f"dcid={text}").channel == number


@pytest.mark.parametrize("text", ["", "-1", "65535", "99999", "1e3", "1_0", "٣", "x", "9" * 5000])
def test_no_number_of_a_channel(text):
    with pytest.raises(Refusal) as caught:
        asked(query=f"dcid={text}")
    assert (caught.value.status, caught.value.param) == (400, "dcid")


def test_a_model_has_a_bound():
    with pytest.raises(Refusal) as caught:
        asked(query="model=" + "m" * 257)
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid_form", None),
        (form(session="{}"), 400, "missing_required_parameter", "sdp"),
        (form(sdp="v" * 70000), 413, "offer_too_large", "sdp"),
        (form(sdp="v=0", session="nonsense"), 400, "invalid_json", "session"),
        (form(sdp="v=0", session="[]"), 400, "invalid_json", "session"),
        (form(sdp="v=0", session="[" * 5000), 400, "invalid_json", "session"),
        (
            form(sdp="v=0", session='{"audio":{"output":{"speed":9}}}'),
            400,
            "decimal_above_max_value",
            "session.audio.output.speed",
        ),
        (form(sdp="v=0", session='{"model":1}'), 400, "invalid_type", "session.model"),
    ],
)
def test_a_bad_form_names_the_field(body, status, code, param):
    with pytest.raises(Refusal) as caught:
        offer_of_form_untrusted(body, TYPE)
    assert (caught.value.status, caught.value.code, caught.value.param) == (status, code, param)
    assert "event" not in str(caught.value)


def test_an_offer_in_a_form_is_text():
    body = form(sdp="v=0").replace(b"v=0", b"v=\xff")
    with pytest.raises(OfferError):
        offer_of_form_untrusted(body, TYPE)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b"", 600),
        (b"{}", 600),
        (b'{"expires_after": null, "session": null}', 600),
        (b'{"expires_after": {}}', 600),
        (b'{"expires_after": {"anchor": "created_at"}}', 600),
        (b'{"expires_after": {"anchor": "created_at", "seconds": 10}}', 10),
        (b'{"expires_after": {"seconds": 7200}}', 7200),
    ],
)
def test_how_long_a_secret_is_good(body, seconds):
    assert secret_request_untrusted(body).seconds == seconds


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("nonsense", "invalid_json", None),
        ("[]", "invalid_json", None),
        ({"expires": 1}, "unknown_parameter", "expires"),
        ({"expires_after": 600}, "invalid_type", "expires_after"),
        ({"expires_after": {"seconds": 9}}, "integer_below_min_value", "expires_after.seconds"),
        ({"expires_after": {"seconds": -1}}, "integer_below_min_value", "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "integer_above_max_value", "expires_after.seconds"),
        ({"expires_after": {"seconds": "600"}}, "invalid_type", "expires_after.seconds"),
        ({"expires_after": {"seconds": 60.5}}, "invalid_type", "expires_after.seconds"),
        ({"expires_after": {"seconds": True}}, "invalid_type", "expires_after.seconds"),
        ({"expires_after": {"seconds": None}}, "invalid_type", "expires_after.seconds"),
        ({"expires_after": {"anchor": "now"}}, "invalid_value", "expires_after.anchor"),
        ({"expires_after": {"anchor": []}}, "invalid_value", "expires_after.anchor"),
        ({"session": 1}, "invalid_type", "session"),
        ({"session": {"instructions": 1}}, "invalid_type", "session.instructions"),
    ],
)
def test_a_secret_that_cannot_be(body, code, param):
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(Refusal) as caught:
        secret_request_untrusted(text.encode())
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["session", "expires_after", "seconds", "anchor", "audio", "model", "type"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(JSON | st.binary(max_size=50))
def test_hostile_bodies_are_refused_and_nothing_worse(value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    for read in (
        secret_request_untrusted,
        lambda body: offer_of_form_untrusted(form(sdp="v=0", session=body.decode("latin-1")), TYPE),
    ):
        with suppress(Refusal):
            read(body)
