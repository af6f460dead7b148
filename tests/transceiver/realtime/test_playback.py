"""Which response is being heard: the list that says it, by itself."""

import pytest

from realtime_events import CHANNEL, entropy
from transceiver.realtime import make_exchange
from transceiver.realtime.playback import Playback


def test_utterances_that_nobody_hears_are_forgotten() -> None:
    playback = Playback()
    for number in range(300):
        playback.begin(str(number))
        assert playback.complete()
    cleared = playback.clear()
    assert [utterance.response for utterance in cleared.utterances] == [
        str(number) for number in range(300 - 256, 300)
    ]
    assert not playback.busy


def test_another_response_begins_before_the_first_is_known_to_end() -> None:
    playback = Playback()
    for name in ("a", "b"):
        playback.begin(name)
        playback.complete()
    assert playback.started() == (None, "a")
    utterance, stopped = playback.ended()
    assert utterance is not None
    assert (utterance.response, stopped) == ("a", None)
    assert playback.started() == ("a", "b")
    assert playback.response_done("a") is None


def test_what_is_not_there_neither_starts_nor_ends() -> None:
    playback = Playback()
    assert playback.started() == (None, None)
    assert playback.ended() == (None, None)
    assert playback.response_done("a") is None
    assert not playback.complete()
    assert playback.clear().responses == ()


@pytest.mark.parametrize("speaks_realtime", [False, True])
def test_the_kind_of_agent_decides_who_speaks(speaks_realtime: bool) -> None:
    exchange = make_exchange(
        speaks_realtime=speaks_realtime, entropy=entropy, asked={"instructions": "a"}, model="m"
    )
    assert exchange.session["instructions"] == "a"
    assert exchange.connected(CHANNEL, 0.0)
    assert (exchange.next_output() is None) == speaks_realtime
