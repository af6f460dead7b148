"""What a demo's calls may be answered by, from its command line to the transceivers' settings."""

import tomllib

import pytest
from click.testing import CliRunner

from stunroute.errors import ConfigError
from transceiver.choices import (
    ECHO,
    GREETING,
    NAMES,
    OWN,
    TALK,
    Application,
    application_at,
    choices,
    tables,
    usual,
)
from transceiver.demo import _choices, demo
from transceiver.voice import codec

REALTIME = "wss://api.example.org/v1/realtime?model=one"


@pytest.mark.parametrize(
    ("address", "name", "options"),
    [
        (REALTIME, "realtime", {"url": REALTIME}),
        ("ws://127.0.0.1:9000", "realtime", {"url": "ws://127.0.0.1:9000"}),
        ("127.0.0.1:9000", "audiosocket", {"address": "127.0.0.1:9000"}),
        ("agents.example.org:9000", "audiosocket", {"address": "agents.example.org:9000"}),
        ("[2001:db8::1]:9000", "audiosocket", {"address": "[2001:db8::1]:9000"}),
        ("unix:/run/agent.sock", "audiosocket", {"address": "unix:/run/agent.sock"}),
        ("shop.agents:Clerk", "python", {"agent": "shop.agents:Clerk"}),
    ],
)
def test_an_address_says_what_kind_of_agent_is_there(
    address: str, name: str, options: dict[str, object]
) -> None:
    assert application_at(address) == Application(name, options)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://example.org",
        "ws://",
        "ws://a b",
        "ws://u@h",
        "unix:",
        ":9000",
        "a:99999",
        "shop",
    ],
)
def test_what_is_no_agents_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as raised:
        application_at(address)
    assert raised.value.key == "agent"
    outcome = CliRunner().invoke(demo, ["--agent", address])
    assert outcome.exit_code == 2
    assert "Invalid value for --agent: " in outcome.output


def test_a_key_goes_to_a_realtime_server_by_the_name_of_its_variable() -> None:
    found = application_at(REALTIME, "AGENT_KEY")
    assert found.options == {"url": REALTIME, "key_variable": "AGENT_KEY"}
    with pytest.raises(ConfigError):
        application_at("127.0.0.1:9000", "AGENT_KEY")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--agent-key", "HOME"], "Invalid value for --agent-key: there is no --agent"),
        (
            ["--agent", REALTIME, "--agent-key", "NOT_THERE"],
            "Invalid value for --agent-key: the environment variable NOT_THERE is not set",
        ),
        (
            ["--agent", "127.0.0.1:9", "--agent-key", "HOME"],
            "Invalid value for --agent: is for a Realtime server, which this is not",
        ),
        (["--backend", "own"], "Invalid value for --backend: own cannot be had: needs --agent"),
        (["--backend", "parrot"], "Invalid value for '--backend'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: list[str], problem: str) -> None:
    outcome = CliRunner().invoke(demo, arguments)
    assert outcome.exit_code == 2
    assert problem in " ".join(outcome.output.split())


def test_the_choices_become_tables_and_one_the_usual_one() -> None:
    own = 'ws://h/?q="\x7f\\é😀', Application("realtime", {"url": 'ws://h/?q="\x7f\\é😀'})
    found = choices(delay=0.5, own=own)
    assert tuple(choice.name for choice in found) == NAMES
    read = tomllib.loads(tables(found, TALK))
    talk = {"name": "talk", "options": {"greeting": GREETING}}
    assert read == {
        "backend": talk,
        "backends": {
            ECHO: {"name": "echo", "options": {"delay": 0.5}},
            TALK: talk,
            OWN: {"name": "realtime", "options": {"url": own[0]}},
        },
    }


def test_without_sound_there_is_the_echo_and_the_reason() -> None:
    own = "127.0.0.1:9000", application_at("127.0.0.1:9000")
    found = choices(delay=0.0, own=own, soundless="opus needs an extra")
    assert {choice.name: choice.missing for choice in found} == {
        ECHO: "",
        TALK: "opus needs an extra",
        OWN: "opus needs an extra",
    }
    assert list(tomllib.loads(tables(found, ECHO))["backends"]) == [ECHO]
    for name in (TALK, OWN):
        with pytest.raises(ConfigError, match=f"{name} cannot be had: opus needs an extra"):
            usual(found, name)


def test_without_an_address_there_is_no_agent_of_ones_own() -> None:
    *_, own = choices(delay=0.0, own=None)
    assert own.shown() == {
        "name": OWN,
        "title": "Your own agent",
        "detail": "At none.",
        "converses": True,
        "missing": "needs --agent ADDRESS on the demo's command line",
    }


def test_the_talker_says_whether_it_can_speak() -> None:
    details = [choices(delay=0.0, own=None, speech=speech)[1].detail for speech in (True, False)]
    assert details[0].startswith("It speaks,")
    assert "no espeak-ng" in details[1]


@pytest.mark.parametrize(
    ("agent", "backend", "chosen"),
    [
        (None, None, ECHO),
        (None, TALK, TALK),
        ("127.0.0.1:9000", None, OWN),
        ("127.0.0.1:9000", ECHO, ECHO),
    ],
)
def test_ones_own_agent_is_the_usual_one_unless_told(
    agent: str | None, backend: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "require", lambda: None)
    assert _choices(0.0, agent, None, backend)[1] == chosen


def test_the_demo_asks_whether_sound_can_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise codec.VoiceUnavailable("opus needs an extra")

    monkeypatch.setattr(codec, "require", fail)
    found, chosen = _choices(0.0, None, None, None)
    assert chosen == ECHO
    assert [choice.name for choice in found if choice.application] == [ECHO]
    outcome = CliRunner().invoke(demo, ["--agent", "127.0.0.1:9000"])
    assert outcome.exit_code == 2
    assert "own cannot be had: opus needs an extra" in " ".join(outcome.output.split())
