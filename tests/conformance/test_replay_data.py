"""Calls with data channels replay exactly, SCTP included, and one changed verb parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from conformance import capture, golden, sidecar
from conformance.replay import Exact, Happened, Parted, replay, replay_record
from conformance.sidecar import Acted, Opened, Sidecar
from pair import Rig
from recordings import configuration, recorded_data, recorder
from transceiver.events import ChannelClosed, ChannelOpened, DataEnded, EndReason, MessageReceived

VERBS = {"open_channel", "send_message", "close_channel", "restart_ice", "close_call"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_data(tmp_path_factory.mktemp("replay"), "data")


@pytest.mark.parametrize("setup", ["actpass", "active"])
@pytest.mark.parametrize("contents", [("audio", "data"), ("data", "audio"), ("data",)])
def test_what_was_recorded_replays_exactly(
    tmp_path: Path, contents: tuple[str, ...], setup: str
) -> None:
    path = recorded_data(tmp_path, 3, contents=contents, setup=setup)
    verdict = replay(path)
    assert isinstance(verdict, Exact), verdict
    record = sidecar.load(path.with_suffix(".toml"))
    assert record.steps[0].input == Opened(True)
    called = {step.input.verb for step in record.steps if isinstance(step.input, Acted)}
    assert called == VERBS


def test_what_happened_is_told(recording: Path) -> None:
    told: list[Any] = []
    trace = golden.Trace()
    replay(recording, witness=lambda w: (told.append(w), trace(w)))
    happened = [w.event for w in told if isinstance(w, Happened)]
    assert [e.label for e in happened if isinstance(e, ChannelOpened)] == [
        *("oai-events", "ours"),
        "again",
    ]
    messages = [e.message for e in happened if isinstance(e, MessageReceived)]
    assert messages == ["text", "", b"binary", b"", "grüß\n\x00\x7f" * 300, bytes(5000)]
    assert len([e for e in happened if isinstance(e, ChannelClosed)]) == 3
    assert isinstance(happened[-1], DataEnded)
    lines = [line.text for line in trace.lines if line.kind == "data"]
    assert "text message of 4 bytes on channel 1" in lines
    assert len(lines) == len(happened)


def test_a_negotiated_channel_replays(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    client = rig.client(0, contents=("data",), negotiated=((5, "oai-events"),))
    call = rig.establish(client, entropy=sink.entropy_for_call())
    rig.run(0.1)
    assert rig.endpoint.send_message(call, 5, "hello", rig.now)
    rig.run(0.1)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    (path,) = sink.finished
    record = sidecar.load(path.with_suffix(".toml"))
    assert record.steps[0].input == Opened(True, 5)
    assert isinstance(replay(path), Exact)
    for other in (None, 6):
        verdict = spoilt(path, record, 1, Opened(True, other))
        assert isinstance(verdict, Parted)


def spoilt(path: Path, record: Sidecar, number: int, given: sidecar.Input) -> object:
    """Replay, without looking at the checks, with another input at step ``number``."""
    steps = list(record.steps)
    steps[number - 1] = evolve(steps[number - 1], input=given)
    changed = evolve(record, steps=tuple(steps))
    return replay_record(changed, capture.read(path), checks=False)


def test_who_took_no_data_is_not_who_did(recording: Path) -> None:
    record = sidecar.load(recording.with_suffix(".toml"))
    verdict = spoilt(recording, record, 1, Opened(False))
    assert isinstance(verdict, Parted)
    assert verdict.what == "the answer differs"


def test_an_offer_with_data_that_was_rejected_then_is_rejected_now(tmp_path: Path) -> None:
    """As all recordings say that are older than data channels: nothing of them in their first
    step."""
    sink = recorder(tmp_path, config=evolve(configuration(), data=False))
    rig = Rig.build(0, config=evolve(configuration(), data=False), journal=sink)
    call = rig.establish(rig.client(0, contents=("audio", "data")), entropy=sink.entropy_for_call())
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    (path,) = sink.finished
    toml = path.with_suffix(".toml")
    text = toml.read_text(encoding="utf-8")
    assert "opened=true, drew" in text
    toml.write_text(text.replace("data = false\n", ""), encoding="utf-8")
    assert sidecar.load(toml).configuration.data, "the default of today"
    assert isinstance(replay(path), Exact)


def others(given: Acted) -> Iterator[Acted]:
    """Inputs that differ from ``given`` in one thing."""
    for name, value in given.arguments.items():
        match value:
            case bool():
                other: Any = not value
            case int():
                other = value + 1
            case bytes():
                other = value + b"!"
            case _:
                other = f"{value}!"
        yield Acted(given.verb, {**given.arguments, name: other})
    yield Acted("buffered_amount", given.arguments)
    yield Acted(given.verb, {**given.arguments, "more": 1})


def test_one_changed_argument_parts(recording: Path) -> None:
    record = sidecar.load(recording.with_suffix(".toml"))
    tried = 0
    for number, step in enumerate(record.steps, start=1):
        if not isinstance(step.input, Acted) or not step.sent:
            continue
        for given in others(step.input):
            verdict = spoilt(recording, record, number, given)
            assert isinstance(verdict, Parted), (number, given)
            tried += 1
    assert tried > 20
