"""Signalling with HTTP servers that mean no good."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conformance.blackbox.door import LONGEST_ANSWER, LONGEST_EXCERPT, HttpDoor, HttpResource
from conformance.stage import Refused
from conformance.wire import Forbidden

Behaviour = Callable[[socket.socket, threading.Event], None]
PATIENT = 0.3


@contextmanager
def serving(behave: Behaviour, **options) -> Iterator[HttpResource]:
    """A server that does that with each connection once a request has come, and a client."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    try:
                        read = b""
                        while b"\r\n\r\n" not in read:
                            read += connection.recv(65536) or b"\r\n\r\n"
                        behave(connection, over)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/whip"
        resource = HttpResource(url, "whip", **{"timeout": PATIENT, **options})
        try:
            yield resource
        finally:
            over.set()
            resource.close()
            thread.join()


def dripping(what: bytes, first: bytes = b"") -> Behaviour:
    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(what)

    return behave


def saying(text: bytes) -> Behaviour:
    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(text)

    return behave


def answer(*headers: str, body: bytes = b"", status: int = 201) -> Behaviour:
    lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body)}", "", ""]
    return saying("\r\n".join(lines).encode("latin-1") + body)


@pytest.mark.parametrize(
    "behave",
    [
        dripping(b"x"),
        dripping(b"a", b"HTTP/1.1 201 Created\r\nX-Long: "),
        dripping(b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"v", b"HTTP/1.1 201 Created\r\nContent-Length: 900000\r\n\r\n"),
        dripping(b"1\r\nv\r\n", b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"),
        dripping(b"v", b"HTTP/1.1 201 Created\r\n\r\n"),
        dripping(b"", b""),
    ],
    ids=["status", "header", "continue", "body", "chunks", "till-closed", "nothing"],
)
def test_a_request_has_its_time_and_no_more(behave: Behaviour) -> None:
    with serving(behave) as resource, pytest.raises(Refused):
        resource.request("POST", resource.url)


def test_a_body_without_end_is_cut() -> None:
    head = b"HTTP/1.1 201 Created\r\n\r\n"
    endless = saying(head + bytes(LONGEST_ANSWER + 1))
    with (
        serving(endless, timeout=20.0) as resource,
        pytest.raises(Refused, match="bytes of answer"),
    ):
        resource.request("POST", resource.url)


def test_what_is_packed_is_not_unpacked() -> None:
    with serving(answer("Content-Encoding: gzip", body=b"\x1f\x8b none")) as resource:
        assert resource.request("POST", resource.url).body == b"\x1f\x8b none"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:1/other",
        "//127.0.0.2/other",
        "https://127.0.0.1/other",
        "http://127.0.0.1@127.0.0.2/",
        "http://[::1",
        "http://a:b:c/",
        "http://127.0.0.1:99999999/",
        "http://xn--" + "x" * 300 + "/",
        "file:///etc/passwd",
        "\xff\xfe",
        "x" * 60_000,
    ],
)
def test_a_location_leads_nowhere_else(location: str) -> None:
    """And hanging up raises nothing, so that what comes after it is done."""
    asked: list[int] = []

    def behave(connection: socket.socket, over: threading.Event) -> None:
        asked.append(1)
        answer(f"Location: {location}", body=b"v=0\r\n")(connection, over)

    with serving(behave, timeout=2.0) as resource:
        door = HttpDoor(resource)
        opened = door.open("v=0\r\n")
        elsewhere = "x" * 9 not in opened.call and "\xff" not in opened.call
        if elsewhere:
            with pytest.raises((Refused, Forbidden)):
                door.hang_up(opened.call)
            assert len(asked) == 1
        door.hang_up_all()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with serving(answer("Location: /elsewhere", status=status)) as resource:
        assert resource.request("POST", resource.url).status == status
        with pytest.raises(Refused):
            HttpDoor(resource).open("v=0\r\n")


@pytest.mark.parametrize(
    "said", [b"", b"\x00\xff nonsense\r\n\r\n", b"HTTP/1.1 201\r\n\xff\xfe: \x00\r\n\r\n"]
)
def test_what_is_no_http_is_refused(said: bytes) -> None:
    with serving(saying(said)) as resource, pytest.raises(Refused):
        resource.request("POST", resource.url)


def test_all_requests_of_a_case_have_their_time_together() -> None:
    with serving(answer(), lasts=0.2) as resource:
        resource.request("POST", resource.url)
        time.sleep(0.2)
        with pytest.raises(Refused, match="has run"):
            resource.request("POST", resource.url)


def test_calls_are_hung_up_even_when_the_time_is_over() -> None:
    with serving(answer("Location: /call"), lasts=0.2) as resource:
        door = HttpDoor(resource)
        call = door.open("v=0\r\n").call
        time.sleep(0.2)
        with pytest.raises(Refused, match="has run"):
            door.reoffer(call, "v=0\r\n")
        door.hang_up_all()
        with pytest.raises(Refused, match="201"):  # there is time again
            door.restart(call, "a=x\r\n")


def test_secrets_that_are_sent_back_stay_out_of_reports() -> None:
    headers = {"Authorization": "Bearer hush-hush", "X-Short": "201"}
    body = b"you said Bearer hush-hush, or hush-hush; 201"
    with (
        serving(answer(body=body, status=401), headers=headers) as resource,
        pytest.raises(Refused) as caught,
    ):
        HttpDoor(resource).open("v=0\r\n")
    assert "hush" not in str(caught.value)
    assert "201" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (307, "/login?was=hush-hush"),
        (307, "/" + "x" * (LONGEST_EXCERPT - 5) + "hush-hush"),
        (201, "http://127.0.0.2:1/hush-hush"),
        (201, "http://[hush-hush"),
    ],
)
def test_secrets_in_a_location_stay_out_of_reports(status: int, location: str) -> None:
    """Wherever it leads, in whole or cut short."""
    behave = answer(f"Location: {location}", status=status, body=b"v=0\r\n")
    headers = {"Authorization": "Bearer hush-hush"}
    with serving(behave, headers=headers, timeout=20.0) as resource:
        door = HttpDoor(resource)
        with pytest.raises((Refused, Forbidden)) as caught:
            door.hang_up(door.open("v=0\r\n").call)
    assert "hus" not in str(caught.value)
