"""What cases play audio with: does it misbehave as told, and does it see what a server does?"""

from contextlib import contextmanager

import attrs
import pytest

from conformance.case import Unsupported
from conformance.drivers import memory
from conformance.drivers.memory import EchoServer
from conformance.drivers.virtual import Emission
from conformance.mutants import media as broken
from conformance.mutants.model import swapped
from conformance.probe import media
from conformance.probe.media import Heard, Noted, flip, open_media, prepare
from probing import stage
from stunroute.address import Address
from stunroute.demux import Kind, classify
from transceiver.endpoint import Endpoint
from transceiver.session import Session


@contextmanager
def without_echo():
    """A server that reports and gives nothing back."""
    with swapped(Endpoint, "send_audio", lambda *what: False), stage() as set_up:
        yield set_up


def test_good_audio_comes_back() -> None:
    with stage() as one:
        playing = open_media(one)
        assert playing.by_echo
        assert playing.fire(playing.shots(5)) == (Heard.RIGHT, "")


def test_what_should_not_come_and_does_is_seen() -> None:
    with stage() as one:
        playing = open_media(one)
        shots = [attrs.evolve(shot, wanted=False) for shot in playing.shots(2)]
        assert playing.fire(shots)[0] is Heard.MORE


def test_what_should_come_and_does_not_is_seen() -> None:
    with stage() as one:
        playing = open_media(one)
        good, spoilt = playing.shots(2)
        lost = attrs.evolve(spoilt, data=flip(spoilt.data, -1))
        assert playing.fire([good, lost])[0] is Heard.LESS
        assert playing.fire([lost])[0] is Heard.SILENCE


@contextmanager
def echo_in_order_alone():
    """A server whose application has no use for what comes late."""
    newest: dict[str, int] = {}

    def send_audio(endpoint, call, payload, timestamp, *rest):
        if timestamp < newest.get(call, 0):
            return False
        newest[call] = timestamp
        return send(endpoint, call, payload, timestamp, *rest)

    send = Endpoint.send_audio
    with swapped(Endpoint, "send_audio", send_audio), stage() as set_up:
        yield set_up


def test_of_what_was_overtaken_the_reports_have_the_last_word() -> None:
    with echo_in_order_alone() as one:
        playing = open_media(one, first=65530)
        late, *others = playing.shots(9)
        seen, detail = playing.fire([*others, late])
        assert seen is Heard.RIGHT
        assert "1 of 9 did not come back" in detail


def test_what_was_overtaken_and_not_taken_is_seen() -> None:
    with echo_in_order_alone() as one:
        playing = open_media(one)
        late, *others = playing.shots(9)
        playing.skip(3)
        others += playing.shots(2)
        lost = attrs.evolve(late, data=flip(late.data, -1))
        assert playing.fire([*others, lost])[0] is Heard.LESS


def test_where_nothing_tells_of_what_was_overtaken_nobody_knows() -> None:
    with broken.no_reports.apply(), echo_in_order_alone() as one:
        playing = open_media(one)
        late, *others = playing.shots(9)
        with pytest.raises(Unsupported):
            playing.fire([*others, late])


def test_what_was_in_order_has_to_come_back() -> None:
    with echo_in_order_alone() as one:
        playing = open_media(one)
        late, *others = playing.shots(9)
        others[3] = attrs.evolve(others[3], data=flip(others[3].data, -1))
        assert playing.fire([*others, late])[0] is Heard.LESS


class Mirror(EchoServer):
    """Sends audio back where the last came from, whoever has been nominated."""

    def receive(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        EchoServer.receive(self, data, source, destination, now)
        if classify(data) is Kind.RTP:
            CAME_FROM[0] = source

    def next_emission(self) -> Emission | None:
        said = EchoServer.next_emission(self)
        if said is not None and classify(said.data) is Kind.RTP:
            return attrs.evolve(said, destination=CAME_FROM[0])
        return said


CAME_FROM: list[Address] = [Address.of("192.0.2.1", 1)]


def test_audio_may_come_back_to_the_socket_that_it_went_out_from(monkeypatch) -> None:
    monkeypatch.setattr(memory, "EchoServer", Mirror)
    with stage() as one:
        playing = open_media(one)
        first, second = one.open_socket(), one.open_socket()
        here, there, nowhere = playing.shots(3)
        there = attrs.evolve(there, socket=first)
        lost = attrs.evolve(nowhere, socket=second, data=flip(nowhere.data, -1))
        assert playing.fire([here, there]) == (Heard.RIGHT, "")
        assert playing.fire([lost])[0] is Heard.SILENCE


def test_what_comes_twice_is_seen() -> None:
    with broken.takes_replays.apply(), stage() as one:
        playing = open_media(one)
        shot = playing.shot()
        assert playing.fire([shot, shot])[0] is Heard.MORE


def test_another_payload_is_seen() -> None:
    with broken.padding_is_payload.apply(), stage() as one:
        playing = open_media(one)
        assert playing.fire([playing.shot(padding=8)])[0] is Heard.ALTERED


def test_the_silence_of_the_dead_is_told_apart() -> None:
    with stage() as one:
        playing = open_media(one)
        with swapped(Session, "receive_rtp", lambda *what: None):
            assert playing.fire(playing.shots(1))[0] is Heard.DEAD


def test_without_an_echo_the_reports_tell_how_many_were_taken() -> None:
    with without_echo() as one:
        playing = open_media(one)
        assert not playing.by_echo
        good, spoilt, after = playing.shots(3)
        assert playing.fire([good, after])[0] is Heard.RIGHT
        assert playing.fire([spoilt.refused(flip(spoilt.data, -1), "")])[0] is Heard.RIGHT
        more = playing.shots(2)
        assert playing.fire([attrs.evolve(shot, wanted=False) for shot in more])[0] is Heard.MORE
        lost = playing.shot()
        assert playing.fire([attrs.evolve(lost, data=flip(lost.data, -1))])[0] is Heard.SILENCE


def test_across_the_wrap_the_reports_count_on() -> None:
    with without_echo() as one:
        playing = open_media(one, first=65530)
        assert playing.fire(playing.shots(12))[0] is Heard.RIGHT


def test_of_a_server_that_shows_nothing_nothing_is_asked() -> None:
    with (
        broken.no_reports.apply(),
        without_echo() as one,
        pytest.raises(Unsupported, match="does not report"),
    ):
        open_media(one)


def test_a_report_is_taken_in_or_not() -> None:
    with stage() as one:
        playing = open_media(one)
        mark = playing.new_mark()
        data = playing.context.protect_rtcp(playing.compound(mark))
        assert playing.ask_rtcp([flip(data, -1)], mark)[0] is Noted.IGNORED
        assert playing.ask_rtcp([data], mark)[0] is Noted.TAKEN


def test_reports_of_a_server_that_takes_none_in_are_not_asked_after() -> None:
    with stage() as one:
        playing = open_media(one)
        mark = playing.new_mark()
        with swapped(Session, "_receive_rtcp", lambda *what: None), pytest.raises(Unsupported):
            playing.ask_rtcp([], mark)


def test_what_is_skipped_is_protected_and_not_sent() -> None:
    with stage() as one:
        playing = prepare(one, first=65535)
        playing.skip(1)
        assert playing.sequence == 0
        assert not media.received(playing.call, Kind.RTP)
        assert len(playing.shot().data) == 12 + 17 + 16
