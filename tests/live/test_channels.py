"""Data channels of real browsers through the real demo, and what their network does to them.

The echo answers: what goes out must come back, equal. Waiting is generous, since a busy machine is
no defect.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from browser import Browser, launch, names
from channel_page import Lab
from demo import Demo
from impair import CLEAR, Weather
from namespace import Namespace
from tools import require_root, require_tool

pytestmark = pytest.mark.live

LOSSY = Weather(loss=0.05)
LARGEST = 204_800
SIZES = [0, 1, 2, 100, 1191, 1200, 16_384, 65_536, 100_000, LARGEST]
MESSAGES = [(kind, size) for size in SIZES for kind in ("text", "binary")]
SMALL = [("text", 20), ("binary", 20), ("text", 0), ("binary", 0)]
EVENTS = "oai-events"

KINDS: dict[str, dict[str, Any]] = {
    "ordered": {},
    "unordered": {"ordered": False},
    "retransmits": {"maxRetransmits": 10},
    "lifetime": {"maxPacketLifeTime": 20_000},
    "unordered and partial": {"ordered": False, "maxRetransmits": 10},
    "protocol": {"protocol": "of its own"},
}
"""Options of channels on which all arrives while the network loses nothing."""
CONTENTS = {
    "audio first": ["sing", "data"],
    "data alone": ["data"],
    "data first": ["data", "describe", "sing"],
}

Begin = Callable[..., Lab]


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    require_root()
    require_tool(*names(request.param))
    with Namespace() as network, launch(request.param, namespace=network) as made:
        yield made


@pytest.fixture
def begin(browser: Browser) -> Iterator[Begin]:
    """Start a demo and open a page for a call: ``begin(options of Demo)``."""
    with ExitStack() as running:

        def opened(*told: str, **options: Any) -> Lab:
            assert browser.namespace is not None
            demo = Demo(browser.namespace, *told, **options)
            lab = Lab(browser, running.enter_context(demo))
            lab.begin()
            return lab

        yield opened
        browser.navigate("data:text/html,")


def connected(lab: Lab, *, audio: bool = False, **options: Any) -> Lab:
    """A call with one channel, ``main``."""
    if audio:
        lab.do("sing")
    lab.open("main", **options)
    lab.call()
    lab.until_open("main")
    return lab


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", CONTENTS)
def test_messages_of_every_size_come_back(begin: Begin, contents: str) -> None:
    lab = begin("--transceivers", "2")
    for part in CONTENTS[contents]:
        if part == "data":
            lab.open("main")
        elif part == "describe":
            lab.browser.evaluate("lab.pc.setLocalDescription()")
        else:
            lab.do(part)
    made = lab.call()
    sections = [line.split()[0] for line in made["offer"].splitlines() if line.startswith("m=")]
    wanted = {"data alone": ["m=application"], "data first": ["m=application", "m=audio"]}
    assert sections == wanted.get(contents, ["m=audio", "m=application"])
    lab.until_open("main")
    lab.check_exchange("main", MESSAGES)
    if contents != "data alone":
        lab.until_heard()
    assert lab.channel("main")["buffered"] == 0
    lab.do("hangUp")
    lab.until_state("main", "closed")


def test_channels_of_every_kind(begin: Begin) -> None:
    lab = begin()
    for name, options in KINDS.items():
        lab.open(name, **options)
    lab.call()
    lab.until_open(*KINDS)
    for name, options in KINDS.items():
        lab.check_exchange(name, MESSAGES, ordered=options.get("ordered", True))
    assert len({lab.channel(name)["id"] for name in KINDS}) == len(KINDS)


def test_what_waits_is_counted_and_told_of(begin: Begin) -> None:
    lab = connected(begin())
    lab.browser.evaluate(
        """(() => { const channel = lab.raw('main');
            channel.bufferedAmountLowThreshold = 65536;
            for (let at = 0; at < 10; at++) channel.send(new Uint8Array(200000)); })()"""
    )
    assert lab.channel("main")["low"] in (0, 1)
    lab.until(lambda: lab.channel("main")["low"] == 1)
    lab.until(lambda: lab.channel("main")["came"] == 10)
    assert lab.channel("main")["buffered"] == 0


def test_a_hundred_channels(begin: Begin) -> None:
    lab = begin()
    many = [f"channel {number}" for number in range(100)]
    for name in many:
        lab.open(name)
    lab.call()
    lab.until_open(many[-1])
    for name in many:
        lab.check_exchange(name, SMALL)
    for name in many:
        lab.do("close", name)
    for name in many:
        lab.until_state(name, "closed")


# --- the life of channels -------------------------------------------------------------------------


def test_channels_are_closed_and_their_numbers_serve_again(begin: Begin) -> None:
    """SCTP 1"""
    lab = connected(begin())
    numbers = []
    for life in range(4):
        name = f"life {life}"
        lab.open(name)
        lab.until_open(name)
        numbers.append(lab.channel(name)["id"])
        lab.check_exchange(name, SMALL)
        lab.do("close", name)
        lab.until_state(name, "closed")
    print(lab.browser.name, numbers)
    lab.check_exchange("main", SMALL)


def test_a_number_chosen_by_the_page_serves_again(begin: Begin) -> None:
    """SCTP 1. Negotiated channels have the number that one wants; the edge does not know of this
    one, and resets the stream for what comes on it. The next one there may be announced."""
    lab = connected(begin())
    number = lab.channel("main")["id"] + 2
    lab.open("nobody's", negotiated=True, id=number)
    lab.until_open("nobody's")
    lab.do("say", "nobody's", "is anybody there?")
    lab.until_state("nobody's", "closed")
    assert lab.channel("nobody's")["came"] == 0
    for life in range(3):
        lab.open(f"life {life}")
        lab.until_open(f"life {life}")
        lab.check_exchange(f"life {life}", SMALL)
    lab.check_exchange("main", SMALL)


def test_the_edge_closes_what_it_does_not_want(begin: Begin) -> None:
    """One channel for events more than there may be."""
    lab = begin()
    many = [f"events {number}" for number in range(9)]
    for name in many:
        lab.open(name, EVENTS)
    lab.call()
    lab.until(lambda: [lab.channel(name)["state"] for name in many].count("closed") == 1)
    (closed,) = (name for name in many if lab.channel(name)["state"] == "closed")
    kept = [name for name in many if name != closed]
    lab.until_open(*kept)
    for name in kept:
        lab.until_event(name, "session.created")
    assert lab.channel(closed)["came"] == 0
    lab.do("close", kept[0])
    lab.until_state(kept[0], "closed")
    lab.open("again", EVENTS)
    lab.until_event("again", "session.created")


def test_data_is_added_to_a_call(begin: Begin) -> None:
    lab = begin()
    lab.do("sing")
    made = lab.call()
    assert "m=application" not in made["offer"]
    lab.until_heard()
    lab.open("main")
    again = lab.do("again", False)
    assert "m=application" in again["offer"]
    lab.until_open("main")
    lab.check_exchange("main", MESSAGES)
    lab.until_heard()


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("negotiated", [False, True])
def test_a_conversation_of_events(begin: Begin, negotiated: bool) -> None:
    lab = begin()
    lab.do("sing")
    options = {"negotiated": True, "id": 5} if negotiated else {}
    lab.open(EVENTS, **options)
    lab.call("?dcid=5" if negotiated else "")
    created = lab.until_event(EVENTS, "session.created")
    assert created["session"]["object"] == "realtime.session"
    update = '{"type": "session.update", "event_id": "mine", "session": {"type": "realtime", %s}}'
    lab.do("say", EVENTS, update % '"instructions": "Be brief."')
    updated = lab.until_event(EVENTS, "session.updated")
    assert updated["session"]["instructions"] == "Be brief."
    assert updated["session"]["id"] == created["session"]["id"]

    lab.do("say", EVENTS, update % '"audio": {"output": {"speed": "fast"}}')
    error = lab.until_event(EVENTS, "error")["error"]
    assert (error["param"], error["event_id"]) == ("session.audio.output.speed", "mine")
    for number, bad in enumerate(("{", "[]", '"text"', '{"type": "no.such"}', "\\u0000"), start=2):
        lab.do("say", EVENTS, bad)
        lab.until_event(EVENTS, "error", number)
    lab.until_heard()
    lab.do("say", EVENTS, update % '"instructions": "Be long."')
    again = lab.until_event(EVENTS, "session.updated", 2)
    assert again["session"]["instructions"] == "Be long."
    lab.open("beside")
    lab.until_open("beside")
    lab.check_exchange("beside", SMALL)


# --- a bad network --------------------------------------------------------------------------------


@pytest.mark.parametrize("by_fragment", [False, True])
@pytest.mark.parametrize("audio", [False, True])
def test_an_ice_restart_in_mid_transfer(begin: Begin, audio: bool, by_fragment: bool) -> None:
    lab = connected(begin(), audio=audio)
    before = lab.do("ufrag")
    lab.do("pour", "main", 300, 10_000, 100_000)
    lab.until_poured("main", 30)
    if by_fragment:
        lab.do("restart")
    else:
        lab.do("again", True)
    assert lab.do("ufrag") != before
    lab.until_poured("main")
    lab.check_exchange("main", MESSAGES)


@pytest.mark.parametrize("audio", [False, True])
def test_a_nat_rebinding_in_mid_transfer(begin: Begin, audio: bool) -> None:
    lab = connected(begin(weather=CLEAR), audio=audio)
    assert lab.demo.network is not None
    lab.do("pour", "main", 300, 10_000, 100_000)
    lab.until_poured("main", 30)
    lab.demo.network.rebind()
    lab.until_poured("main")
    lab.check_exchange("main", SMALL)


@pytest.mark.parametrize("audio", [False, True])
def test_a_killed_relay_in_mid_transfer(begin: Begin, audio: bool) -> None:
    lab = connected(begin(), audio=audio)
    lab.do("pour", "main", 300, 10_000, 100_000)
    lab.until_poured("main", 30)
    lab.demo.kill_relay()
    lab.until_poured("main")
    lab.check_exchange("main", SMALL)
    assert lab.demo.state["relay"]["restarts"] == 1


@pytest.mark.parametrize("audio", [False, True])
def test_all_arrives_over_a_network_that_loses(begin: Begin, audio: bool) -> None:
    lab = begin(weather=LOSSY)
    lab.open("unordered", ordered=False)
    connected(lab, audio=audio)
    lab.do("pour", "main", 200, 8_000, 100_000)
    lab.until_poured("main", within=120.0)
    lab.until_open("unordered")
    lab.check_exchange("main", MESSAGES, within=50.0)
    lab.check_exchange("unordered", MESSAGES, ordered=False, within=50.0)
    lab.do("close", "unordered")
    lab.until_state("unordered", "closed")
    assert lab.demo.network is not None
    counters = lab.demo.network.counters
    assert min(counters["up lost"], counters["down lost"]) > 10


def test_what_may_be_lost_is_lost_in_order(begin: Begin) -> None:
    lab = begin(weather=Weather(loss=0.1))
    lab.open("partial", maxRetransmits=0)
    lab.open("short-lived", maxPacketLifeTime=200)
    connected(lab)
    lab.until_open("partial", "short-lived")
    for name in ("partial", "short-lived"):
        came = lab.do("count", name, 300, 20.0)
        print(lab.browser.name, name, len(came))
        assert came == sorted(set(came))
        assert 100 < len(came) <= 300
        assert len(came) < 300 or name != "partial"
    lab.check_exchange("main", MESSAGES, within=50.0)
