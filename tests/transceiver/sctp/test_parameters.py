import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_strategies import a_cause_list, a_parameter, a_parameter_list, a_stopping_parameter
from stunroute.errors import DecodeError
from transceiver.sctp import causes, parameters
from transceiver.sctp.causes import Cause
from transceiver.sctp.parameters import (
    AddIncomingStreams,
    AddOutgoingStreams,
    ForwardTsnSupported,
    IncomingReset,
    OverIp,
    Parameter,
    ReconfigResponse,
    ResetResult,
    SupportedExtensions,
    TsnReset,
    UnknownParameter,
    ZeroChecksumAcceptable,
)


@given(given_parameters=a_parameter_list)
@settings(max_examples=100)
def test_round_trip(given_parameters: tuple[Parameter, ...]) -> None:
    data = parameters.encode(given_parameters)
    assert parameters.decode_untrusted(data) == given_parameters


@given(before=a_parameter_list, stop=a_stopping_parameter, after=st.lists(a_parameter, max_size=2))
@settings(max_examples=50)
def test_nothing_behind_one_that_says_to_stop(
    before: tuple[Parameter, ...], stop: UnknownParameter, after: list[Parameter]
) -> None:
    data = parameters.encode((*before, stop, *after))
    assert parameters.decode_untrusted(data) == (*before, stop)
    assert stop.stops


@pytest.mark.parametrize(
    ("kind", "stops", "reports"),
    [(0x0FFF, True, False), (0x4001, True, True), (0x8002, False, False), (0xC001, False, True)],
)
def test_what_the_type_of_an_unknown_one_says(kind: int, stops: bool, reports: bool) -> None:
    (found,) = parameters.decode_untrusted(UnknownParameter(kind, b"x").encode())
    assert isinstance(found, UnknownParameter)
    assert (found.stops, found.reports) == (stops, reports)


def test_addresses_do_not_stop_the_reading() -> None:
    """Their types would say so if they were not known."""
    said = tuple(OverIp(kind, b"\x7f\0\0\1") for kind in (5, 6, 9, 11, 12))
    data = parameters.encode((*said, ForwardTsnSupported()))
    assert parameters.decode_untrusted(data) == (*said, ForwardTsnSupported())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("000e 000a 00000001 0002 0000", IncomingReset(1, (2,))),
        ("000e 0008 00000001", IncomingReset(1)),
        ("000f 0008 00000001", TsnReset(1)),
        ("0010 000c 00000001 00000006", ReconfigResponse(1, ResetResult.IN_PROGRESS)),
        ("0010 0014 00000001 00000001 00000002 00000003", ReconfigResponse(1, 1, (2, 3))),
        ("0011 000c 00000001 0002 0000", AddOutgoingStreams(1, 2)),
        ("0012 000c 00000001 0002 0000", AddIncomingStreams(1, 2)),
        ("8001 0008 00000001", ZeroChecksumAcceptable()),
        ("8008 0006 82c0 0000", SupportedExtensions((130, 192))),
    ],
)
def test_layouts(text: str, expected: Parameter) -> None:
    data = bytes.fromhex(text)
    assert parameters.decode_untrusted(data) == (expected,)
    assert expected.encode() == data


@pytest.mark.parametrize(
    "text",
    [
        "00",
        "000d 0004",
        "000d 0011 00000001 00000002 00000003 00",
        "000e 0006 0001",
        "000f 0006 0001",
        "0010 0008 00000001",
        "0010 0010 00000001 00000001 00000002",
        "0011 0008 00000001",
        "0012 0010 00000001 0002 0000 00000000",
        "8001 0004",
        "c000 0003",
        "c000 0008",
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(DecodeError):
        parameters.decode_untrusted(bytes.fromhex(text))


@given(data=st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes(data: bytes) -> None:
    for decode in (parameters.decode_untrusted, causes.decode_untrusted):
        try:
            found = decode(data)
        except DecodeError:
            continue
        for entry in found:
            assert len(entry.encode()) % 4 == 0


@given(given_causes=a_cause_list)
@settings(max_examples=100)
def test_round_trip_of_causes(given_causes: tuple[Cause, ...]) -> None:
    data = causes.encode(given_causes)
    assert causes.decode_untrusted(data) == given_causes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001 0008 0007 0000", causes.InvalidStream(7)),
        ("0002 000a 00000001 0007 0000", causes.MissingParameters((7,))),
        ("0003 0008 000f4240", causes.StaleCookie(1_000_000)),
        ("0005 000c 000b 0006 6100 0000", causes.UnresolvableAddress(b"\0\x0b\0\6a\0\0\0")),
        ("0009 0008 00000007", causes.NoUserData(7)),
        ("000c 0007 627965 00", causes.UserAbort("bye")),
        ("000d 0006 c3a9 0000", causes.ProtocolViolation("\N{LATIN SMALL LETTER E WITH ACUTE}")),
    ],
)
def test_layouts_of_causes(text: str, expected: Cause) -> None:
    data = bytes.fromhex(text)
    assert causes.decode_untrusted(data) == (expected,)
    assert expected.encode() == data


def test_causes_of_the_wrong_length_are_kept_as_they_are() -> None:
    for code, value in ((1, b"ab"), (2, b""), (2, b"\0\0\0\2ab"), (3, b""), (4, b"x"), (9, b"abc")):
        other = causes.OtherCause(code, value)
        assert causes.decode_untrusted(other.encode()) == (other,)


def test_a_reason_that_is_no_text_is_made_one() -> None:
    (cause,) = causes.decode_untrusted(bytes.fromhex("000c 0006 ff41 0000"))
    assert cause == causes.UserAbort("\N{REPLACEMENT CHARACTER}A")
    assert causes.UserAbort("\ud800").encode() == bytes.fromhex("000c 0005 3f 000000")
