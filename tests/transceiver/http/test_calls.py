"""The resources as a caller finds them, in front of a server that remembers what it was asked."""

import asyncio
import json
import os

import httpx
import pytest
from openai.types.realtime import ClientSecretCreateResponse

from pair import seeded
from signalling import ANSWER, FRAGMENT, OFFER, RESTART, RESTARTED, Calls
from transceiver.http import CALLS, EVENTS, OFFER_BYTES, SDP, Access, ApiKeys, ClientSecrets
from transceiver.http.accounts import digest, new_key
from transceiver.http.app import create_app
from transceiver.http.calls import CLIENT_SECRETS
from transceiver.settings import ApiKey

AS_SDP = {"Content-Type": SDP}
AS_FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
SHOP, BANK = new_key(seeded("shop")), new_key(seeded("bank"))
KEYS = (ApiKey("shop", digest(SHOP)), ApiKey("bank", digest(BANK)))
WALL = 1_800_000_000.5
NOBODY = f"{CALLS}/rtc_{'0' * 26}"


class Clock:
    now = WALL

    def __call__(self):
        return self.now


def serve(test, *, keys=(), calls=None):
    """Run ``test(client, calls, clock)`` against the application."""

    async def main():
        server, clock = calls or Calls(), Clock()
        access = Access(ApiKeys(keys), ClientSecrets(bytes(32), os.urandom), clock)
        transport = httpx.ASGITransport(create_app(server, access), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            await test(client, server, clock)

    asyncio.run(main())


def bearer(token, more=None):
    return {"Authorization": f"Bearer {token}", **(more or {})}


def is_error(answer, status, code, param=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]


async def opened(client, headers=None):
    made = await client.post(CALLS, content=OFFER, headers={**AS_SDP, **(headers or {})})
    assert made.status_code == 201
    return made.headers["location"]


# --- opening


@pytest.mark.parametrize("path", [CALLS, EVENTS])
def test_an_offer_alone(path):
    async def test(client, calls, _):
        made = await client.post(f"{path}?model=m&dcid=3", content=OFFER, headers=AS_SDP)
        assert (made.status_code, made.text) == (201, ANSWER)
        assert made.headers["content-type"] == SDP
        assert made.headers["location"] == f"{CALLS}/{calls.calls[0]}"
        assert made.headers["etag"] == '"tag0"'
        request = calls.last
        assert (request.model, request.channel, request.owner) == ("m", 3, "")
        assert request.session == {"model": "m"}

    serve(test)


def test_an_offer_with_a_session():
    session = {"type": "realtime", "model": "m", "instructions": "kurz, bitte: «ja»"}

    async def test(client, calls, _):
        for parts in (
            {"sdp": (None, OFFER, SDP), "session": (None, json.dumps(session), "application/json")},
            {"sdp": (None, OFFER), "session": (None, json.dumps(session))},
            {"sdp": ("offer.sdp", OFFER), "session": ("session.json", json.dumps(session))},
        ):
            made = await client.post(CALLS, files=parts)
            assert (made.status_code, made.text) == (201, ANSWER)
            assert calls.last.session == session
        made = await client.post(CALLS, files={"sdp": (None, OFFER)})
        assert (made.status_code, calls.last.session) == (201, {})

    serve(test)


def test_what_is_wrong_with_a_request_is_named():
    async def test(client, calls, _):
        session = json.dumps({"audio": {"input": {"turn_detection": {"type": "clap"}}}})
        answer = await client.post(CALLS, files={"sdp": (None, OFFER), "session": (None, session)})
        is_error(answer, 400, "invalid_value", "session.audio.input.turn_detection.type")
        answer = await client.post(CALLS, files={"sdp": (None, "nonsense")})
        is_error(answer, 400, "invalid_offer", "sdp")
        answer = await client.post(f"{CALLS}?dcid=x", content=OFFER, headers=AS_SDP)
        is_error(answer, 400, "invalid_value", "dcid")
        large = {"sdp": (None, OFFER), "session": (None, " " * 400_000)}
        is_error(await client.post(CALLS, files=large), 413, "offer_too_large")
        answer = await client.post(CALLS, content=OFFER, headers={"Content-Type": "text/plain"})
        is_error(answer, 415, "unsupported_media_type")
        assert answer.headers["accept-post"] == "application/sdp, multipart/form-data"
        assert calls.calls == []

    serve(test)


# --- who may


REQUESTS = [
    ("POST", CALLS),
    ("POST", EVENTS),
    ("POST", CLIENT_SECRETS),
    *((method, NOBODY) for method in ("GET", "PATCH", "DELETE")),
    ("POST", f"{NOBODY}/hangup"),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize("token", [None, "sk-wrong", "ek_wrong", ""])
def test_strangers_learn_nothing(method, path, token):
    async def test(client, calls, _):
        headers = {} if token is None else bearer(token)
        answer = await client.request(method, path, headers=headers)
        is_error(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert not token or token not in answer.text

    serve(test, keys=KEYS)


def test_what_anybody_may_ask():
    async def test(client, calls, _):
        assert (await client.get("/healthz")).status_code == 200
        for path in (CALLS, NOBODY, CLIENT_SECRETS):
            assert (await client.options(path)).status_code == 200

    serve(test, keys=KEYS)


def test_an_accounts_calls_are_its_own():
    async def test(client, calls, _):
        location = await opened(client, bearer(SHOP))
        assert calls.last.owner == "shop"
        for method, path in (
            ("GET", location),
            ("PATCH", location),
            ("DELETE", location),
            ("POST", f"{location}/hangup"),
        ):
            answer = await client.request(method, path, headers=bearer(BANK))
            is_error(answer, 403, "forbidden")
            is_error(await client.request(method, path), 401, "invalid_api_key")
        assert len(calls.calls) == 1
        assert (await client.get(location, headers=bearer(SHOP))).status_code == 200
        assert (await client.post(f"{location}/hangup", headers=bearer(SHOP))).status_code == 200
        assert calls.calls == []
        is_error(await client.delete(location, headers=bearer(SHOP)), 404, "call_id_not_found")

    serve(test, keys=KEYS)


# --- client secrets


def test_a_client_secret_from_end_to_end():
    session = {"type": "realtime", "model": "m", "instructions": "be brief"}

    async def test(client, calls, clock):
        body = {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": session}
        made = await client.post(CLIENT_SECRETS, json=body, headers=bearer(SHOP))
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        secret = ClientSecretCreateResponse.model_validate(made.json())
        assert secret.value.startswith("ek_")
        assert secret.expires_at == int(WALL) + 60 == secret.session.expires_at
        assert secret.session.type == "realtime"
        assert secret.session.model == "m"
        assert secret.session.instructions == "be brief"
        assert secret.session.id.startswith("sess_")

        # It opens any number of calls, until it expires.
        first = await opened(client, bearer(secret.value))
        second = await opened(client, bearer(secret.value))
        assert calls.last.session["instructions"] == "be brief"
        assert calls.last.model == "m"
        assert calls.last.owner.startswith("shop/")
        clock.now += 60
        answer = await client.post(CALLS, content=OFFER, headers=bearer(secret.value, AS_SDP))
        is_error(answer, 401, "token_expired")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        # What it has opened it may still end, and so may the account.
        assert (await client.delete(first, headers=bearer(secret.value))).status_code == 200
        assert (await client.delete(second, headers=bearer(SHOP))).status_code == 200

    serve(test, keys=KEYS)


def test_a_client_secret_has_no_other_calls():
    async def test(client, calls, _):
        values = [
            (await client.post(CLIENT_SECRETS, headers=bearer(SHOP))).json()["value"]
            for _ in range(2)
        ]
        ours = await opened(client, bearer(values[0]))
        accounts = await opened(client, bearer(SHOP))
        is_error(await client.get(ours, headers=bearer(values[1])), 403, "forbidden")
        is_error(await client.get(accounts, headers=bearer(values[0])), 403, "forbidden")
        is_error(await client.get(ours, headers=bearer(BANK)), 403, "forbidden")
        assert (await client.get(ours, headers=bearer(values[0]))).status_code == 200

    serve(test, keys=KEYS)


def test_a_client_secret_makes_no_other():
    async def test(client, calls, _):
        made = await client.post(CLIENT_SECRETS, headers=bearer(SHOP))
        assert made.json()["expires_at"] == int(WALL) + 600
        answer = await client.post(CLIENT_SECRETS, headers=bearer(made.json()["value"]))
        is_error(answer, 403, "insufficient_permissions")

    serve(test, keys=KEYS)


def test_client_secrets_work_where_no_keys_are_asked_for():
    async def test(client, calls, clock):
        made = await client.post(CLIENT_SECRETS, json={"session": {"model": "m"}})
        value = made.json()["value"]
        location = await opened(client, bearer(value))
        assert calls.last.model == "m"
        assert (await client.get(location)).status_code == 200
        clock.now += 601
        answer = await client.post(CALLS, content=OFFER, headers=bearer(value, AS_SDP))
        is_error(answer, 401, "token_expired")
        answer = await client.post(CALLS, content=OFFER, headers=bearer("ek_x", AS_SDP))
        is_error(answer, 401, "invalid_api_key")
        assert (await client.get(location, headers=bearer("whatever"))).status_code == 200

    serve(test)


def test_a_client_secret_that_cannot_be_made():
    async def test(client, calls, _):
        answer = await client.post(CLIENT_SECRETS, json={"expires_after": {"seconds": 9}})
        is_error(answer, 400, "integer_below_min_value", "expires_after.seconds")
        text = os.urandom(8192).hex()
        answer = await client.post(CLIENT_SECRETS, json={"session": {"instructions": text}})
        is_error(answer, 400, "session_too_large", "session")
        answer = await client.post(CLIENT_SECRETS, content="a=1", headers=AS_SDP)
        is_error(answer, 415, "unsupported_media_type")
        is_error(await client.post(CLIENT_SECRETS, content="x" * 300_000), 413, "offer_too_large")

    serve(test)


# --- WHIP


def test_candidates_trickle_in():
    async def test(client, calls, _):
        location = await opened(client)
        for tag in ('"tag0"', "*", '"*"', '"other", "tag0"'):
            headers = {**AS_FRAGMENT, "If-Match": tag}
            answer = await client.patch(location, content=FRAGMENT, headers=headers)
            assert (answer.status_code, answer.content) == (204, b"")
            assert "etag" not in answer.headers
        assert calls.fragments == [FRAGMENT] * 4

    serve(test)


def test_a_restart_has_an_answer_and_a_new_tag():
    async def test(client, calls, _):
        location = await opened(client)
        headers = {**AS_FRAGMENT, "If-Match": "*"}
        answer = await client.patch(location, content=RESTART, headers=headers)
        assert (answer.status_code, answer.text) == (200, RESTARTED)
        assert answer.headers["content-type"] == AS_FRAGMENT["Content-Type"]
        assert answer.headers["etag"] == '"tag1"'
        # What was on its way when it came is for the former ICE session.
        headers["If-Match"] = '"tag0"'
        answer = await client.patch(location, content=FRAGMENT, headers=headers)
        is_error(answer, 412, "precondition_failed")
        assert calls.fragments == [RESTART]

    serve(test)


@pytest.mark.parametrize("tag", ['"other"', 'W/"tag0"', "tag0", "", '"tag0', '"a","b"', "\xff"])
def test_another_tag_is_412(tag):
    async def test(client, calls, _):
        location = await opened(client)
        for kind, body in ((AS_FRAGMENT, FRAGMENT), (AS_SDP, OFFER)):
            headers = {**kind, "If-Match": tag.encode("latin-1")}
            answer = await client.patch(location, content=body, headers=headers)
            is_error(answer, 412, "precondition_failed")
        assert calls.fragments == []

    serve(test)


def test_a_fragment_needs_a_tag_and_a_whole_offer_does_not():
    async def test(client, calls, _):
        location = await opened(client)
        answer = await client.patch(location, content=FRAGMENT, headers=AS_FRAGMENT)
        is_error(answer, 428, "precondition_required")
        for headers in (AS_SDP, {**AS_SDP, "If-Match": '"tag1"'}):
            answer = await client.patch(location, content=OFFER, headers=headers)
            assert (answer.status_code, answer.text) == (200, "v=0\r\nrestarted\r\n")
            assert answer.headers["content-type"] == SDP
        assert answer.headers["etag"] == '"tag2"'
        # A tag is for changes: to end a call takes none (WHIP, 4.3.1).
        assert (await client.delete(location, headers={"If-Match": '"x"'})).status_code == 200

    serve(test)


def test_a_fragment_that_cannot_be_read_changes_nothing():
    async def test(client, calls, _):
        location = await opened(client)
        headers = {**AS_FRAGMENT, "If-Match": "*"}
        for body in (b"", b"nonsense", b"\xff\xfe"):
            answer = await client.patch(location, content=body, headers=headers)
            is_error(answer, 400, "invalid_offer", "sdp")
        large = b"a=" + b"x" * OFFER_BYTES
        answer = await client.patch(location, content=large, headers=headers)
        is_error(answer, 413, "offer_too_large")
        answer = await client.patch(location, content=FRAGMENT, headers={"If-Match": "*"})
        is_error(answer, 415, "unsupported_media_type")
        assert answer.headers["accept-patch"] == "application/trickle-ice-sdpfrag, application/sdp"
        assert (calls.fragments, len(calls.calls)) == ([], 1)

    serve(test)


def test_a_call_that_ends_while_its_change_is_on_the_way():
    async def test(client, calls, _):
        location = await opened(client)

        async def slowly():
            yield b"a=ice-ufrag:x"
            calls.hang_up(calls.calls[0])

        headers = {**AS_FRAGMENT, "If-Match": "*"}
        answer = await client.patch(location, content=slowly(), headers=headers)
        is_error(answer, 404, "call_id_not_found")

    serve(test)


# --- ids and methods


@pytest.mark.parametrize(
    "call", ["rtc_" + "0" * 26, "rtc_", "x", "%00%ff", "rtc_" + "a" * 2000, "rtc_..%2f..%2fx"]
)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_id_that_is_nobodys_is_404(call, method):
    async def test(client, calls, _):
        answer = await client.request(method, f"{CALLS}/{call}")
        assert answer.json()["error"]["code"] in ("call_id_not_found", "not_found")
        assert answer.status_code == 404

    serve(test)


def test_another_nodes_call_of_which_nothing_is_known_is_404():
    call = Calls(name=(1, 8)).open_call(OFFER).call

    async def test(client, calls, _):
        is_error(await client.get(f"{CALLS}/{call}"), 404, "call_id_not_found")

    serve(test)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (CALLS, "accept-post", "application/sdp, multipart/form-data"),
        (EVENTS, "accept-post", "application/sdp, multipart/form-data"),
        (NOBODY, "accept-patch", "application/trickle-ice-sdpfrag, application/sdp"),
        (CLIENT_SECRETS, "accept-post", "application/json"),
    ],
)
def test_options_say_what_is_taken(path, name, value):
    async def test(client, calls, _):
        answer = await client.options(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers[name] == value
        assert "OPTIONS" in answer.headers["allow"]

    serve(test)


def test_a_page_from_elsewhere_may_read_what_it_needs():
    async def test(client, calls, _):
        origin = {"Origin": "https://app.example"}
        made = await client.post(CALLS, content=OFFER, headers={**AS_SDP, **origin})
        assert made.headers["access-control-allow-origin"] == "*"
        exposed = {
            name.strip() for name in made.headers["access-control-expose-headers"].split(",")
        }
        assert {"Location", "ETag", "Retry-After"} <= exposed
        asked = {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, openai-beta, x-stainless-lang",
        }
        assert (await client.options(CLIENT_SECRETS, headers=asked)).status_code == 200
        refused = await client.get(NOBODY, headers=origin)
        assert refused.status_code == 404
        assert refused.headers["access-control-allow-origin"] == "*"

    serve(test, keys=())


def test_too_many_calls_are_503():
    async def test(client, calls, _):
        answer = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        is_error(answer, 503, "at_capacity")
        assert answer.headers["retry-after"] == "5"

    serve(test, calls=Calls(capacity=0))


def test_nothing_secret_is_logged(caplog):
    caplog.set_level(0)
    caplog.set_level(1, "transceiver")  # whatever a test of the program has made of it

    async def test(client, calls, _):
        await opened(client, bearer(SHOP))
        value = (await client.post(CLIENT_SECRETS, headers=bearer(SHOP))).json()["value"]
        await opened(client, bearer(value))
        await client.post(CALLS, content=OFFER, headers=bearer("sk-wrong", AS_SDP))
        caplog.values = [value]

    serve(test, keys=KEYS)
    for secret in (SHOP, "secret-marker", "sk-wrong", *caplog.values):
        assert secret not in caplog.text
