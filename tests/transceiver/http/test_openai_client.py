"""The official client package of the Realtime API, with nothing changed but its base URL."""

import asyncio

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from pair import seeded
from signalling import ANSWER, OFFER, introduce, site
from transceiver.http.accounts import digest, new_key
from transceiver.settings import ApiKey

SHOP, BANK = new_key(seeded("shop")), new_key(seeded("bank"))
KEYS = (ApiKey("shop", digest(SHOP)), ApiKey("bank", digest(BANK)))
PATIENCE = 30.0
SESSION = {
    "type": "realtime",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "audio": {"input": {"turn_detection": {"type": "server_vad"}}, "output": {"voice": "marin"}},
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The package would ask the environment how to reach the network."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client_of(found, key=SHOP, kind=AsyncOpenAI):
    return kind(base_url=f"{found.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def with_client(test, *, nodes=1, key=SHOP):
    async def main():
        async with (
            asyncio.timeout(PATIENCE),
            site(node=7, keys=KEYS) as one,
            site(node=8, keys=KEYS) as two,
        ):
            introduce(one, two)
            async with client_of(one, key) as client:
                await (test(client, one) if nodes == 1 else test(client, one, two))

    asyncio.run(main())


def id_of(answer):
    return answer.response.headers["Location"].split("/").pop()


def test_a_call_with_a_session():
    async def test(client, found):
        answer = await client.realtime.calls.create(sdp=OFFER, session=SESSION)
        assert answer.text == ANSWER
        assert answer.response.status_code == 201
        assert found.calls.calls == [id_of(answer)]
        assert found.calls.last.session == SESSION
        assert found.calls.last.model == "gpt-realtime"
        await client.realtime.calls.hangup(id_of(answer))
        assert found.calls.calls == []

    with_client(test)


def test_a_call_without_a_session():
    async def test(client, found):
        answer = await client.realtime.calls.create(sdp=OFFER, extra_query={"model": "m"})
        assert answer.text == ANSWER
        assert (found.calls.last.model, found.calls.last.owner) == ("m", "shop")

    with_client(test)


def test_a_client_secret_for_a_page():
    async def test(client, found):
        secret = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60}, session=SESSION
        )
        assert secret.session.type == "realtime"
        assert secret.session.model == "gpt-realtime"
        assert secret.session.instructions == "Be brief."
        assert secret.session.audio.output.voice == "marin"
        assert secret.session.expires_at == secret.expires_at
        async with client_of(found, secret.value) as page:
            answer = await page.realtime.calls.create(sdp=OFFER)
            assert found.calls.last.session["instructions"] == "Be brief."
            assert found.calls.last.owner.startswith("shop/")
            async with page.realtime.connect(call_id=id_of(answer)) as connection:
                assert (await connection.recv()).type == "session.created"
            with pytest.raises(openai.PermissionDeniedError):
                await page.realtime.client_secrets.create()
        # The application may follow the call that its page has opened.
        async with client.realtime.connect(call_id=id_of(answer)) as connection:
            assert (await connection.recv()).type == "session.created"

    with_client(test)


def test_the_side_band():
    async def test(client, found):
        call = id_of(await client.realtime.calls.create(sdp=OFFER))
        async with client.realtime.connect(call_id=call) as connection:
            assert (await connection.recv()).type == "session.created"
            await connection.response.create()
            assert (await connection.recv()).type == "response.create"
            found.calls.joined[0].say('{"type":"response.done","response":{}}')
            found.calls.hang_up(call)
            assert [event.type async for event in connection] == ["response.done"]

    with_client(test)


def test_errors_are_those_that_the_package_knows():
    async def test(client, found):
        calls = client.realtime.calls
        with pytest.raises(openai.BadRequestError) as caught:
            await calls.create(sdp="nonsense")
        assert (caught.value.code, caught.value.param) == ("invalid_offer", "sdp")
        assert caught.value.type == "invalid_request_error"
        with pytest.raises(openai.BadRequestError) as caught:
            await calls.create(sdp=OFFER, session={"type": "realtime", "max_output_tokens": -1})
        assert caught.value.param == "session.max_output_tokens"
        with pytest.raises(openai.NotFoundError) as caught:
            await calls.hangup("rtc_nobody")
        assert caught.value.code == "call_id_not_found"
        call = id_of(await calls.create(sdp=OFFER))
        async with client_of(found, BANK) as other:
            with pytest.raises(openai.PermissionDeniedError):
                await other.realtime.calls.hangup(call)
        async with client_of(found, "sk-wrong") as stranger:
            with pytest.raises(openai.AuthenticationError) as caught:
                await stranger.realtime.calls.create(sdp=OFFER)
            assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.BadRequestError) as caught:
            await client.realtime.client_secrets.create(expires_after={"seconds": 5})
        assert caught.value.param == "expires_after.seconds"
        assert found.calls.calls == [call]

    with_client(test)


def test_any_node_will_do():
    async def test(client, one, two):
        async with client_of(two) as other:
            secret = await other.realtime.client_secrets.create()
            call = id_of(await other.realtime.calls.create(sdp=OFFER))
        assert two.calls.calls == [call]
        async with client.realtime.connect(call_id=call) as connection:
            assert (await connection.recv()).type == "session.created"
        await client.realtime.calls.hangup(call)
        assert two.calls.calls == []
        async with client_of(one, secret.value) as page:
            await page.realtime.calls.create(sdp=OFFER)
        assert one.calls.last.owner.startswith("shop/")

    with_client(test, nodes=2)


# It still connects in a way that the package websockets has begun to warn of.
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_the_package_without_asyncio():
    async def test(client, found):
        def story():
            with client_of(found, kind=OpenAI) as plain:
                call = id_of(plain.realtime.calls.create(sdp=OFFER, session=SESSION))
                with plain.realtime.connect(call_id=call) as connection:
                    assert connection.recv().type == "session.created"
                plain.realtime.calls.hangup(call)

        await asyncio.to_thread(story)
        assert found.calls.calls == []

    with_client(test)
