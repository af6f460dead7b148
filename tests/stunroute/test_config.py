"""Settings: from where, and one line for everything that can be wrong."""

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import pytest
from attrs import Attribute, field, frozen

from stunroute.address import Address
from stunroute.config import RelayConfig, Verify, at_least, load, redacted
from stunroute.errors import ConfigError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@frozen
class Inner:
    count: int
    secret: bytes | None = field(default=None, repr=redacted)


@frozen
class Schema:
    name: str = "x"
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    ratio: float = field(default=1.0, validator=at_least(0.5))
    flag: bool = False
    where: Address | None = None
    peers: frozenset[Address] = frozenset()
    file: Path | None = None
    moment: datetime | None = None
    colour: Colour = Colour.RED
    anything: dict[str, object] = field(factory=dict)
    words: list[str] = field(factory=list)
    even: int = field(default=0)

    @even.validator
    def _check_even(self, _: "Attribute[int]", value: int) -> None:
        if value % 2:
            raise ValueError("is odd\n  indeed")


def from_options(**options: object) -> Schema:
    dotted = {key.replace("__", "."): value for key, value in options.items()}
    return load(Schema, path=None, environ={}, prefix="", options=dotted)


def from_environment(**environ: str) -> Schema:
    return load(Schema, path=None, environ=environ, prefix="APP", options={})


def from_file(tmp_path: Path, text: str) -> Schema:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return load(Schema, path=path, environ={}, prefix="APP", options={})


def test_each_source_goes_over_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('name = "file"\nratio = 2\neven = 2\n[inner]\ncount = 1\nsecret = "aa"\n')
    settings = load(
        Schema,
        path=path,
        environ={"APP_RATIO": "3.5", "APP_EVEN": "4", "APP_INNER__COUNT": "2", "OTHER": "1"},
        prefix="APP",
        options={"even": 6, "inner.secret": None},
    )
    assert settings == Schema(name="file", inner=Inner(2, b"\xaa"), ratio=3.5, even=6)


def test_every_type_from_a_file(tmp_path: Path) -> None:
    settings = from_file(
        tmp_path,
        """
        flag = true
        where = "[2001:db8::1]:5"
        peers = ["192.0.2.1:1", "192.0.2.2:2"]
        file = "/etc/x"
        moment = 2026-11-01T00:00:00Z
        colour = "blue"
        anything = { a = 1, b = [2] }
        words = ["a", "b"]
        [[inners]]
        count = 1
        [[inners]]
        count = 2
        secret = "00ff"
        """,
    )
    assert settings == Schema(
        flag=True,
        where=Address.of("2001:db8::1", 5),
        peers=frozenset({Address.of("192.0.2.1", 1), Address.of("192.0.2.2", 2)}),
        file=Path("/etc/x"),
        moment=datetime(2026, 11, 1, tzinfo=UTC),
        colour=Colour.BLUE,
        anything={"a": 1, "b": [2]},
        words=["a", "b"],
        inners=(Inner(1), Inner(2, b"\x00\xff")),
    )


def test_every_type_from_the_environment() -> None:
    settings = from_environment(
        APP_FLAG="true",
        APP_WHERE="192.0.2.1:5",
        APP_PEERS="192.0.2.1:1, 192.0.2.2:2",
        APP_MOMENT="2026-11-01T00:00:00+00:00",
        APP_COLOUR="blue",
        APP_WORDS="a,b",
        APP_INNERS__0__COUNT="1",
        APP_INNERS__1__COUNT="2",
        APP_INNERS__1__SECRET="00ff",
    )
    assert settings.flag is True
    assert len(settings.peers) == 2
    assert settings.inners == (Inner(1), Inner(2, b"\x00\xff"))
    assert settings.words == ["a", "b"]
    assert settings.moment == datetime(2026, 11, 1, tzinfo=UTC)


def test_values_that_are_already_what_they_should_be_pass() -> None:
    settings = from_options(
        inner=Inner(1, b"s"),
        where=Address.of("192.0.2.1", 1),
        file=Path("x"),
        colour=Colour.BLUE,
        inner__x=None,
        peers=frozenset({Address.of("192.0.2.1", 1)}),
    )
    assert settings.inner == Inner(1, b"s")
    assert settings.colour is Colour.BLUE
    assert from_options(words__0="one").words == ["one"]
    assert load(Inner, path=None, environ={}, prefix="", options={"count": 1, "secret": b"s"})


def test_a_list_of_addresses_may_name_consecutive_ports() -> None:
    ports = [Address.of("2001:db8::1", port) for port in (4000, 4001, 4002)]
    assert from_options(peers=["[2001:db8::1]:4000-4002"]).peers == frozenset(ports)
    assert from_options(peers="192.0.2.1:5-5, 192.0.2.1:65534-65535").peers == frozenset(
        Address.of("192.0.2.1", port) for port in (5, 65534, 65535)
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("192.0.2.1:6-5", "ends before its first port or after 65535"),
        ("192.0.2.1:6-65536", "ends before its first port or after 65535"),
        ("192.0.2.1:65536-65537", "is not IP:PORT or [IP]:PORT"),
        ("192.0.2.1:5-", "is not IP:PORT or [IP]:PORT"),
        ("192.0.2.1-192.0.2.3:5", "is not IP:PORT or [IP]:PORT"),
        ("2001:db8::1:4000-4002", "is not IP:PORT or [IP]:PORT"),
    ],
)
def test_a_range_of_ports_that_is_none(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_options(peers=["192.0.2.1:1", text])
    assert str(caught.value) == f"peers.1: {problem}"


def test_one_address_is_no_range() -> None:
    with pytest.raises(ConfigError, match="where: is not IP:PORT"):
        from_options(where="192.0.2.1:5-6")


def test_kubernetes_service_links_are_no_settings() -> None:
    assert (
        from_environment(
            APP_SERVICE_HOST="10.0.0.1",
            APP_SERVICE_PORT_STUN="3478",
            APP_PORT="udp://10.0.0.1:3478",
            APP_PORT_3478_UDP="udp://10.0.0.1:3478",
            APP_="",
        )
        == Schema()
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"nmae": 1}, "nmae: is not a setting; did you mean 'name'?"),
        ({"quite_other": 1}, "quite_other: is not a setting"),
        ({"inner.cuont": 1}, "inner.cuont: is not a setting; did you mean 'count'?"),
        ({"inner.secret": "aa"}, "inner.count: is missing"),
        ({"inners.0.count": "x"}, "inners.0.count: is not a whole number"),
        ({"inners.0.count": True}, "inners.0.count: is not a whole number"),
        ({"inners.0.count": 1.5}, "inners.0.count: is not a whole number"),
        ({"inners.1.count": 1}, "inners.1.count: '1' is not the number of an entry or of the next"),
        ({"inners": [{"count": 1}, {"secret": "g0"}]}, "inners.1.count: is missing"),
        ({"inners": 5}, "inners: is not a list"),
        ({"inner": 5}, "inner: is not a table"),
        ({"inner.secret": "topsecret", "inner.count": 1}, "inner.secret: is not hexadecimal text"),
        ({"inner.secret": 5, "inner.count": 1}, "inner.secret: is not hexadecimal text"),
        ({"name": 5}, "name: is not text"),
        ({"name.deeper": 5, "name": "x"}, "name.deeper: lies below a key that is no table"),
        ({"ratio": "much"}, "ratio: is not a number"),
        ({"ratio": True}, "ratio: is not a number"),
        ({"ratio": 0.1}, "ratio: is less than 0.5"),
        ({"ratio": "nan"}, "ratio: is less than 0.5"),
        ({"flag": "yes"}, "flag: is neither true nor false"),
        ({"flag": 1}, "flag: is neither true nor false"),
        ({"where": "example.org:5"}, "where: is not IP:PORT or [IP]:PORT"),
        ({"where": 5}, "where: is not IP:PORT or [IP]:PORT"),
        ({"peers": ["192.0.2.1:1", "?"]}, "peers.1: is not IP:PORT or [IP]:PORT"),
        ({"file": ""}, "file: is not a path"),
        ({"moment": "soon"}, "moment: is not a date and time"),
        ({"moment": 5}, "moment: is not a date and time"),
        ({"moment": "2026-11-01T00:00:00"}, "moment: has no UTC offset; write ...Z"),
        ({"colour": "green"}, "colour: is not one of red, blue"),
        ({"even": 3}, "settings: is odd indeed"),
        ({"anything": 5}, "anything: is not valid"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_key(options: dict[str, object], line: str) -> None:
    ordered = dict(sorted(options.items(), key=lambda item: item[0].count(".")))
    with pytest.raises(ConfigError) as caught:
        load(Schema, path=None, environ={}, prefix="", options=ordered)
    assert str(caught.value) == line


def test_a_misspelt_variable_is_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"inner\.cuont: is not a setting"):
        from_environment(APP_INNER__COUNT="1", APP_INNER__CUONT="2")


def test_a_misspelt_key_is_told_before_the_one_it_leaves_missing() -> None:
    with pytest.raises(ConfigError, match=r"inner\.conut: .* 'count'"):
        from_options(inner__conut=1)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(Schema, path=path, environ={}, prefix="", options={})
    with pytest.raises(ConfigError, match="is not TOML"):
        from_file(tmp_path, "name = ")
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(Schema, path=path, environ={}, prefix="", options={})


def test_secrets_do_not_show() -> None:
    assert "secret" in repr(Inner(1, b"hidden"))
    assert "hidden" not in repr(Inner(1, b"hidden"))
    assert "None" in repr(Inner(1))


def test_the_relays_bounds_are_checked() -> None:
    good = load(
        RelayConfig, path=None, environ={}, prefix="", options={"flows": 5, "verify": "owner"}
    )
    assert good == RelayConfig(flows=5, verify=Verify.OWNER)
    with pytest.raises(ConfigError, match="flows: is less than 1"):
        load(RelayConfig, path=None, environ={}, prefix="", options={"flows": 0})


def test_a_file_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load(RelayConfig, path=path, environ={}, prefix="X", options={})
