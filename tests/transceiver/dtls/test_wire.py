import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.dtls.wire import Reader, integers, integers_untrusted, vector


@given(first=st.binary(max_size=255), second=st.binary(max_size=300), number=st.integers(0, 65535))
def test_what_is_written_is_read(first: bytes, second: bytes, number: int) -> None:
    reader = Reader(vector(first, 1) + number.to_bytes(2) + vector(second, 2))
    assert reader.vector_untrusted(1) == first
    assert reader.integer_untrusted(2) == number
    assert reader.vector_untrusted(2) == second
    assert reader.exhausted
    reader.finish_untrusted()


@given(values=st.lists(st.integers(0, 65535)))
def test_lists_of_integers(values: list[int]) -> None:
    assert integers_untrusted(integers(values, 2), 2) == tuple(values)
    assert integers_untrusted(integers(values, 3), 3) == tuple(values)


def test_no_step_past_the_end() -> None:
    for read in (
        lambda: Reader(b"\x05abcd").vector_untrusted(1),
        lambda: Reader(b"\x00").integer_untrusted(2),
        lambda: Reader(b"").take_untrusted(1),
        lambda: Reader(b"x").finish_untrusted(),
        lambda: integers_untrusted(b"\x00\x01\x02", 2),
    ):
        with pytest.raises(DecodeError):
            read()
