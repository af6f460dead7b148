"""A sidecar says on reading what it was given on writing, and names what is wrong with it."""

import math
import re
import tomllib
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import sidecar
from conformance.sidecar import (
    Acted,
    Chain,
    Draw,
    Fired,
    Opened,
    Provenance,
    Received,
    Sidecar,
    SidecarError,
    Step,
)
from recordings import recorded
from stunroute.address import Address
from stunroute.hint import HintConfiguration
from transceiver.config import DtlsLimits, EndpointConfig, IceLimits, SessionLimits

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
clock = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
numbers = st.lists(st.integers(1, 10**6), max_size=4).map(tuple)
arguments = st.dictionaries(
    text,
    st.none() | st.booleans() | st.integers() | clock | text | st.binary(max_size=20),
    max_size=4,
)
later = (
    st.builds(Received, st.integers(1, 10**9), st.integers(0, 3))
    | st.builds(Fired, text)
    | st.builds(Acted, text, arguments)
)
opened = st.builds(Opened, st.booleans(), st.none() | st.integers(0, 65535))
draws = st.lists(st.builds(Draw, st.binary(max_size=40), st.just("00ff00ff")), max_size=3)


def steps(given: st.SearchStrategy[sidecar.Input]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        at=clock,
        input=given,
        sent=numbers,
        relays=numbers,
        dropped=st.lists(text, max_size=2).map(tuple),
        drew=draws.map(tuple),
        next=st.none() | clock,
        why=text,
        refused=st.booleans(),
        check=st.sampled_from(["", "01234567"]),
    )


configurations = st.builds(
    EndpointConfig,
    cluster=st.integers(0, 65535),
    node=st.integers(0, 2**32 - 1),
    candidates=st.just((Address.of("192.0.2.1", 1), Address.of("2001:db8::1", 2))),
    relays=st.just(frozenset({Address.of("10.0.0.1", 9), Address.of("10.0.0.2", 9)})),
    codecs=st.just(("PCMU",)) | st.just(EndpointConfig(0, 0, (), frozenset()).codecs),
    sessions=st.integers(1, 5000),
    session=st.builds(SessionLimits, consent_timeout=st.floats(1, 99)),
    ice=st.builds(IceLimits, validated_paths=st.integers(1, 20)),
    dtls=st.builds(DtlsLimits, mtu=st.integers(100, 1500)),
)
sidecars = st.builds(
    Sidecar,
    call=text,
    offer=text | st.just('v=0\r\no=\\n\r\n"""\n\\'),
    answer=text,
    configuration=configurations,
    hints=st.lists(
        st.builds(
            HintConfiguration,
            st.sampled_from("0a"),
            st.binary(min_size=16, max_size=16),
            st.none() | st.binary(min_size=17, max_size=40),
            st.just(-math.inf),
            st.just(-math.inf) | st.just(5.0),
            st.none() | st.just(9.5),
        ),
        max_size=3,
    ).map(tuple),
    identity_pem=text,
    wall_base_ns=st.integers(0, 2**64),
    address=st.just(Address.of("10.0.0.3", 8)),
    role=text,
    steps=st.tuples(steps(opened), st.lists(steps(later), max_size=4)).map(
        lambda both: (both[0], *both[1])
    ),
    software=st.dictionaries(text, text, max_size=3),
    provenance=st.builds(Provenance, text, text, text),
    relay=st.just({}) | st.just({"verify": "edge", "flows": 5}),
    truncated=text,
    capture=text,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sidecars)
def test_round_trip(given: Sidecar) -> None:
    again = sidecar.loads(given.dumps())
    assert again == given
    assert again.dumps() == given.dumps()


@settings(max_examples=100, deadline=None)
@given(steps(later))
def test_a_step_is_one_line(step: Step) -> None:
    line = sidecar.dump_step(step)
    assert line.endswith(",\n")
    assert line.count("\n") == 1
    assert tomllib.loads(f"steps = [\n{line}]\n")["steps"][0]["at"] == step.at


def test_only_what_differs_from_the_defaults_is_written() -> None:
    config = EndpointConfig(1, 2, (), frozenset({Address.of("10.0.0.1", 9)}))
    config = evolve(config, dtls=DtlsLimits(mtu=900))
    one = Sidecar("c", "o", "a", config, (), "p", 0, Address.of("10.0.0.3", 8))
    document = tomllib.loads(sidecar.dump_head(one))
    assert document["transceiver"]["dtls"] == {"mtu": 900}
    assert "session" not in document["transceiver"]
    assert "sessions" not in document["transceiver"]


@pytest.mark.parametrize("at", [0.0, 1.5, 1e-9, 123456.789012345, 1e9 + 1 / 3, -2.25])
def test_clock_readings_become_nanoseconds_exactly(at: float) -> None:
    from fractions import Fraction

    exact = Fraction(at) * 10**9
    found = sidecar.nanoseconds(10**18, at) - 10**18
    assert abs(found - exact) <= Fraction(1, 2)


def test_a_chain_depends_on_all_that_went_before() -> None:
    one, other, purpose = Chain("a"), Chain("a"), Chain("b")
    assert one.link(b"x") == other.link(b"x") != purpose.link(b"x")
    assert one.link(b"y") == other.link(b"y")
    assert one.link(b"1", b"23") != other.link(b"12", b"3")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = recorded(tmp_path_factory.mktemp("sidecar"), "sidecar")
    return path.with_suffix(".toml").read_text(encoding="utf-8")


VALUES = [
    "1",
    "-5",
    "1.5",
    "nan",
    '"text"',
    "true",
    "[]",
    "[[]]",
    "{}",
    "[1]",
    '["x"]',
    "1979-05-27",
]


@pytest.mark.parametrize("number", ["nan", "-nan", "1" + "0" * 400])
@pytest.mark.parametrize("key", ["at", "next"])
def test_what_is_no_reading_of_a_clock_is_refused(document: str, key: str, number: str) -> None:
    hostile = re.sub(rf"\b{key}=[0-9.]+", f"{key}={number}", document, count=1)
    assert hostile != document
    with pytest.raises(SidecarError, match=key):
        sidecar.loads(hostile)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_hostile_documents_are_refused_by_key(document: str, data: st.DataObject) -> None:
    lines = document.split("\n")
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["remove", "value", "inner", "byte"])):
            case "remove":
                lines[at] = ""
            case "value":
                key = lines[at].partition(" = ")[0]
                lines[at] = f"{key} = {data.draw(st.sampled_from(VALUES))}"
            case "inner":
                parts = lines[at].split(", ")
                inner = data.draw(st.integers(0, len(parts) - 1))
                key = parts[inner].partition("=")[0]
                parts[inner] = f"{key}={data.draw(st.sampled_from(VALUES))}"
                lines[at] = ", ".join(parts)
            case _ if lines[at]:
                column = data.draw(st.integers(0, len(lines[at]) - 1))
                letter = data.draw(st.characters(max_codepoint=255))
                lines[at] = lines[at][:column] + letter + lines[at][column + 1 :]
            case _:
                pass
    try:
        found = sidecar.loads("\n".join(lines))
    except SidecarError:
        return
    assert sidecar.loads(found.dumps()) == found


MINIMAL = """
format = 1
[software]
[provenance]
client = ""
story = ""
date = ""
[relay]
[transceiver]
address = "10.0.0.3:8"
cluster = 1
node = 2
candidates = []
relays = ["10.0.0.1:9"]
[session]
call = "c"
role = ""
wall_base_ns = 0
offer = ""
answer = ""
identity_pem = ""
[timeline]
steps = [
 {at=1.0, opened=true},
]
[end]
truncated = ""
capture = ""
[[hint]]
id = "0"
routing_key = "000102030405060708090a0b0c0d0e0f"
read_from = 0
mint_from = 0.0
"""


def test_the_minimal_document() -> None:
    found = sidecar.loads(MINIMAL)
    assert found.steps == (Step(1.0, Opened()),)
    assert not Opened().data, "who knew no data channels took none"
    assert found.hints[0].read_from == 0.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "", "format: is missing"),
        ("format = 1", "format = 2", "format: is 2, this program reads 1"),
        ("format = 1", "format = '1'", "format: is str, not int"),
        ("format = 1", "format = 1\nmore = 2", "more: is not known"),
        ("cluster = 1", "cluster = true", "transceiver.cluster: is bool, not int"),
        ("cluster = 1", "clustr = 1", "transceiver.cluster: is missing"),
        ("node = 2", "node = 2\nnods = 3", "transceiver.nods: is not known"),
        ("node = 2", "node = 2\ncodecs = [1]", "transceiver.codecs.1: is int, not str"),
        ("node = 2", "node = 2\ndtls = {mtv = 1}", "transceiver.dtls.mtv: is not known"),
        ("node = 2", "node = 2\ndtls = {mtu = 1.5}", "transceiver.dtls.mtu: is float, not int"),
        ('"10.0.0.3:8"', '"host:8"', "transceiver.address: 'host:8' is not HOST:PORT"),
        ('["10.0.0.1:9"]', '["10.0.0.1"]', "transceiver.relays.1: '10.0.0.1' is not HOST:PORT"),
        ('["10.0.0.1:9"]', "[]", "transceiver.relays: is empty"),
        ('id = "0"', 'id = "zz"', "hint.1.id: is not one character"),
        ("000102030405060708090a0b0c0d0e0f", "0001", "hint.1.routing_key: is not 16 bytes long"),
        ("000102030405060708090a0b0c0d0e0f", "wxyz", "hint.1.routing_key: is not hexadecimal"),
        ("mint_from = 0.0", "mint_from = 0.0\nx = 1", "hint.1.x: is not known"),
        ("[[hint]]", "[hint]", "hint: is dict, not list"),
        ("{at=1.0, opened=true}", "1", "timeline.steps.1: is int, not a table"),
        ("{at=1.0, opened=true},", "", "timeline.steps: must begin with the opening"),
        ("{at=1.0, opened=true}", "{at=1.0, fired='x'}", "timeline.steps: must begin with"),
        (
            "{at=1.0, opened=true}",
            "{at=1.0, opened=true}, {at=1.0, opened=true}",
            "timeline.steps.2.opened: a call is opened once",
        ),
        ("at=1.0", "at=inf", "timeline.steps.1.at: is not a clock reading"),
        ("at=1.0, ", "", "timeline.steps.1.at: is missing"),
        ("opened=true", "opened=true, fired='x'", "timeline.steps.1: is not one of opened"),
        ("opened=true", "sent=[1]", "timeline.steps.1: is not one of opened"),
        ("opened=true", "opened=true, sent=['a']", "timeline.steps.1.sent.1: is str, not int"),
        ("opened=true", "opened=true, drew=['00']", "timeline.steps.1.drew.1: has no check"),
        ("opened=true", "opened=true, drew=['xx:']", "timeline.steps.1.drew.1: is not hexadec"),
        ("opened=true", "opened=true, data=1", "timeline.steps.1.data: is int, not bool"),
        ("opened=true", "opened=true, channel='1'", "timeline.steps.1.channel: is str, not int"),
        ("opened=true", "fired='x', channel=1", "timeline.steps.1.channel: is not known"),
        ("opened=true", "opened=true, later=1", "timeline.steps.1.later: is not known"),
        ("opened=true", "acted='x'", "timeline.steps.1.arguments: is missing"),
        (
            "opened=true",
            "acted='x', arguments={a=[1]}",
            "timeline.steps.1.arguments.a: is no argument that a verb takes",
        ),
        (
            "opened=true",
            "acted='x', arguments={a={bytes='x'}}",
            "timeline.steps.1.arguments.a: is not hexadecimal",
        ),
        ("[relay]", "[relay", "not TOML: "),
        ("[relay]", "a = " + "[" * 5000, "not TOML: "),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    with pytest.raises(SidecarError) as caught:
        sidecar.loads(MINIMAL.replace(old, new, 1))
    assert str(caught.value).startswith(message)


def test_what_a_call_was_opened_with() -> None:
    text = MINIMAL.replace("opened=true", "opened=true, data=true, channel=0")
    assert sidecar.loads(text).steps == (Step(1.0, Opened(True, 0)),)
    assert sidecar.dump_step(Step(1.0, Opened())) == "  {at=1.0, opened=true},\n"
    told = sidecar.dump_step(Step(1.0, Opened(True, 1023)))
    assert told == "  {at=1.0, opened=true, data=true, channel=1023},\n"


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SidecarError, match="No such file"):
        sidecar.load(tmp_path / "absent.toml")
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(SidecarError, match="not UTF-8 at byte 5"):
        sidecar.load(path)
    monkeypatch.setattr(sidecar, "LARGEST_SIDECAR", 5)
    with pytest.raises(SidecarError, match="larger than 5 bytes"):
        sidecar.load(path)


def test_only_what_toml_can_say_is_written() -> None:
    with pytest.raises(TypeError, match="cannot hold object"):
        sidecar.dump_step(Step(1.0, Acted("x", {"a": object()})))


def test_keys_are_not_shown() -> None:
    found = sidecar.loads(MINIMAL.replace('identity_pem = ""', 'identity_pem = "SECRET"'))
    assert "SECRET" not in repr(found)
