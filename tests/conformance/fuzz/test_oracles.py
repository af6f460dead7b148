"""A target is worth what it would find: each of these breaks something, and the target says so."""

from collections.abc import Callable
from typing import Any

import pytest

from conformance.fuzz import catalogue, sequences, smoke
from conformance.fuzz.mutate import Dice
from conformance.fuzz.play import drained, expire, patched, played
from conformance.fuzz.stock import Master, Stream
from conformance.fuzz.target import Violation
from fuzzing import FRAGILE, seeds
from stunroute import demux
from stunroute.relay import Relay
from stunroute.stun.message import Message
from stunroute.trace import Drop
from transceiver import sdp
from transceiver.datachannel import DataChannels
from transceiver.dtls import record
from transceiver.dtls.connection import DtlsConnection
from transceiver.dtls.events import ApplicationData, Failed
from transceiver.ice import IceLite
from transceiver.realtime import PlainExchange
from transceiver.sctp import association
from transceiver.srtp import rtcp, rtp
from transceiver.voice.jitter import JitterBuffer


def _raises(*_: Any, **__: Any) -> Any:
    raise IndexError("not documented")


def _believes_everybody(self: IceLite, data: bytes, path: Any, now: float) -> bool:
    return True


def _invents(self: DtlsConnection, data: bytes, now: float) -> bool:
    self._events.append(ApplicationData(b"nobody said this"))
    return True


def _gives_up(self: DtlsConnection, data: bytes, now: float) -> bool:
    self._events.append(Failed("a stranger was here"))
    return False


def _never_late(self: Any, now: float) -> None:
    """A timer that is served and stays due."""


BROKEN: tuple[tuple[str, object, str, object], ...] = (
    ("stunroute.demux.classify", demux, "classify", lambda data: demux.Kind.EMPTY),
    ("transceiver.srtp.rtp.decode_untrusted", rtp, "decode_untrusted", _raises),
    ("transceiver.srtp.rtp.decode_untrusted", rtp, "peek_ssrc_untrusted", lambda data: 7),
    ("transceiver.srtp.rtcp.decode_compound_untrusted", rtcp, "encode_compound", lambda _: b"\x80"),
    ("transceiver.dtls.record.decode_untrusted", record, "peek_data_untrusted", lambda data: 7),
    ("stunroute.stun.message.decode_untrusted", Message, "verify_integrity", lambda *_: True),
    ("transceiver.sdp.parse_untrusted", sdp.Description, "__str__", lambda self: "v=0\r\no="),
    ("core.ice", IceLite, "receive_stun", _believes_everybody),
    ("core.relay", Relay, "route_client", lambda *_: Drop.EMPTY),
    ("core.dtls-server", DtlsConnection, "receive_datagram", _invents),
    ("core.dtls-client", DtlsConnection, "receive_datagram", _gives_up),
    ("core.sctp", association.Association, "handle_timeout", _never_late),
    ("core.channels", DataChannels, "_heed", _raises),
    ("core.jitter", JitterBuffer, "_note", lambda self, late: setattr(self, "target", 9.0)),
    (
        "transceiver.realtime.plain.PlainExchange.receive_untrusted",
        PlainExchange,
        "speech_started",
        _raises,
    ),
)


@pytest.mark.parametrize(
    ("name", "where", "attribute", "replacement"), BROKEN, ids=[f"{b[0]}-{b[2]}" for b in BROKEN]
)
def test_what_is_broken_is_found(
    name: str,
    where: object,
    attribute: str,
    replacement: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = catalogue.targets()[name]
    # Seeds and master copies are made while all is well.
    inputs = list(smoke.inputs(target, seeds().of(target.seeds), 300))
    run = target.make()
    assert not any(smoke.attempt(run, data) for data in inputs)
    monkeypatch.setattr(where, attribute, replacement)
    assert any(smoke.attempt(run, data) for data in inputs)


def test_a_core_that_says_something_else_the_second_time_is_found() -> None:
    dice = Dice(1)
    run = played(lambda data: dice.roll())
    with pytest.raises(Violation, match="the same input"):
        for number in range(200):
            run(number.to_bytes(2, "big"))


def test_a_core_that_never_stops_talking_is_found() -> None:
    with pytest.raises(Violation, match="comes to an end"):
        for _ in drained(lambda: "again"):
            pass


def test_a_timer_that_stays_due_is_found() -> None:
    class Stuck:
        def next_timeout(self) -> float:
            return 1.0

        def handle_timeout(self, now: float) -> None: ...

    with pytest.raises(Violation, match="timer"):
        expire(Stuck(), 2.0, lambda: None)
    expire(Stuck(), 0.5, lambda: None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (b"", b"abcd"),
        (b"\x00\x01\xff", b"a\x9dcd"),
        (b"\x00\x05\xff", b"a\x9dcd"),
        (b"\x02", b"ab"),
        (b"\x09", b"abcd"),
        (b"\x00\x00\x01\x01", b"`bc"),
        (b"\x00\x00", b"abcd"),
    ],
)
def test_octets_are_altered_where_the_input_says(changes: bytes, expected: bytes) -> None:
    assert patched(b"abcd", changes) == expected
    assert patched(b"", changes) == b""


def test_copies_of_a_master_do_not_know_one_another() -> None:
    draws: list[Callable[[int], bytes]] = [Master(Stream("x")).copy() for _ in range(2)]
    master = Master({"entropy": Stream("x"), "list": [1]})
    one, other = master.copy(), master.copy()
    one["list"].append(2)  # type: ignore[union-attr]
    assert other["list"] == [1]
    assert [draw(4) for draw in draws] == [Stream("x")(4)] * 2
    assert one["entropy"](4) == other["entropy"](4)  # type: ignore[operator]


def test_hypothesis_finds_a_broken_core_and_makes_it_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = catalogue.targets()["core.ice"]
    rows = seeds().of(target.seeds)
    assert sequences.run(target, rows, 30)[1] is None
    monkeypatch.setattr(IceLite, "note_media", _raises)
    _, escape = sequences.run(target, rows, 100)
    assert escape is not None
    assert isinstance(escape.error, IndexError)
    assert len(escape.data) <= 4  # a setting, and one operation without an argument


def test_what_escapes_is_made_shorter() -> None:
    run = FRAGILE.make()
    escape = smoke.attempt(run, b"K" + bytes(12))
    assert escape is not None
    assert smoke.minimised(run, escape).data == b"K\x00\x00"
