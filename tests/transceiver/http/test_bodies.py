"""Forms and other bodies, read from strangers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.errors import OfferError
from transceiver.http.bodies import FormError, form_untrusted, offer_untrusted

TYPE = "multipart/form-data; boundary=xx"


def form(*parts, boundary="xx", end=True):
    body = b""
    for head, data in parts:
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


def named(name, more=""):
    return f'Content-Disposition: form-data; name="{name}"{more}'


def test_fields_and_files_are_parts_alike():
    body = form(
        (named("sdp") + "\r\nContent-Type: application/sdp", b"v=0\r\n"),
        (named("session", '; filename="session.json"'), b"{}"),
        (named("other"), b""),
    )
    assert form_untrusted(body, TYPE) == {"sdp": b"v=0\r\n", "session": b"{}", "other": b""}


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.text("abcdefgh_-", min_size=1, max_size=12), st.binary(max_size=200), max_size=8
    )
)
def test_round_trip(parts):
    body = form(*((named(name), data) for name, data in parts.items()), boundary="b0und4ry-0f-th15")
    kind = 'multipart/form-data; boundary="b0und4ry-0f-th15"'
    assert form_untrusted(body, kind) == parts


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (form((named("sdp"), b"v=0")), "multipart/form-data", "no boundary"),
        (form((named("sdp"), b"v=0")), 'multipart/form-data; boundary=""', "no boundary"),
        (b"", TYPE, "ends before"),
        (b"nonsense", TYPE, "no multipart"),
        (form((named("sdp"), b"v=0"), end=False), TYPE, "ends before"),
        (form((named("sdp"), b"v=0"))[:-6], TYPE, "ends before"),
        (form(("Content-Type: application/sdp", b"v=0")), TYPE, "without a name"),
        (form(("Content-Disposition: form-data", b"v=0")), TYPE, "without a name"),
        (form((named("sdp"), b"v=0"), (named("sdp"), b"v=0")), TYPE, "two parts of one name"),
        (form(*((named(f"n{index}"), b"") for index in range(9))), TYPE, "more than 8"),
        (form((named("a" * 2000), b"")), TYPE, "long header"),
        (form((f"X-{'a' * 2000}: b\r\n{named('sdp')}", b"")), TYPE, "long header"),
        (form((named("sdp"), b"v=0")), "multipart/form-data; boundary=other", "no multipart"),
    ],
)
def test_what_is_no_form_is_refused(body, content_type, problem):
    with pytest.raises(FormError, match=problem):
        form_untrusted(body, content_type)


@settings(max_examples=100)
@given(st.data())
def test_hostile_forms_raise_nothing_else(data):
    body = form((named("sdp"), b"v=0\r\n"), (named("session"), b"{}"))
    octets = st.text(st.characters(max_codepoint=255), max_size=40)  # as a header has them
    pieces = st.lists(st.sampled_from([*"*=';\"%0\\", "boundary", "xx", "utf-8''", "\xff"]))
    kind = data.draw(
        st.just(TYPE) | octets | pieces.map(lambda found: f"form; boundary{''.join(found)}")
    )
    match data.draw(st.integers(0, 3)):
        case 3:
            pieces_of_name = "".join(data.draw(pieces))
            body = form((f"Content-Disposition: form-data; name{pieces_of_name}", b""))
        case 0:
            body = data.draw(st.binary(max_size=300))
        case 1:
            at = data.draw(st.integers(0, len(body)))
            body = body[:at] + data.draw(st.binary(max_size=5)) + body[at:]
        case _:
            body = body[: data.draw(st.integers(0, len(body)))]
    try:
        found = form_untrusted(body, kind)
    except FormError:
        return
    assert all(isinstance(part, bytes) for part in found.values())


def test_an_offer_is_text():
    assert offer_untrusted("v=0\r\ns=ü\r\n".encode()) == "v=0\r\ns=ü\r\n"
    with pytest.raises(OfferError) as caught:
        offer_untrusted(b"v=0\r\ns=\xff")
    assert caught.value.line == 2
