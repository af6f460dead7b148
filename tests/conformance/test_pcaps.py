"""The recordings of real programs in ``pcaps/``: each replays exactly, tells what it told when it
was made, and holds the story it is named for. One changed byte, draw or clock reading parts."""

import re
import tomllib
from pathlib import Path

import pytest
from attrs import evolve

from conformance import capture, golden, sidecar
from conformance.replay import Exact, Parted, Verdict, replay, replay_record
from conformance.sidecar import Draw, Received
from stories import NAMES, PCAPS, STORIES, marks, story_of

LARGEST = 150_000

recordings = pytest.mark.parametrize("path", sorted(PCAPS.glob("*.pcap")), ids=lambda p: p.stem)
some = pytest.mark.parametrize("path", [PCAPS / "chromium-loss.pcap", PCAPS / "aiortc-plain.pcap"])


def test_every_recording_is_there_and_whole() -> None:
    suffixes = (".pcap", ".toml", ".jsonl")
    assert {path.name for path in PCAPS.iterdir()} == {
        f"{name}{suffix}" for name in NAMES for suffix in suffixes
    }


@recordings
def test_a_recording_replays_exactly_and_tells_the_same(path: Path) -> None:
    trace = golden.Trace()
    verdict = replay(path, witness=trace)
    assert isinstance(verdict, Exact), verdict
    assert verdict.truncated == ""
    assert golden.compare(path, golden.render(trace, verdict)) == ""


@recordings
def test_a_recording_holds_its_story_and_no_other(path: Path) -> None:
    assert marks(path) == {story_of(path)} - {"plain"}


@pytest.mark.parametrize("client", ["chromium", "firefox", "aiortc"])
def test_a_replay_tells_what_happened_on_data_channels(client: str) -> None:
    trace = golden.Trace()
    replay(PCAPS / f"{client}-data.pcap", witness=trace)
    told = [line.text for line in trace.lines if line.kind == "data"]
    kinds = [re.sub(r"\d+", "N", text) for text in told]
    assert set(kinds) == {
        'channel N opened, "oai-events"',
        'channel N opened, "ordered"',
        'channel N opened, "unordered", unordered',
        'channel N opened, "again"',
        "text message of N bytes on channel N",
        "binary message of N bytes on channel N",
        "channel N closed",
        "no more data channels: hangup",
    }
    closed = kinds.index("channel N closed")
    assert closed < kinds.index('channel N opened, "again"')
    assert any("of 0 bytes" in text for text in told)
    assert any("of 10000 bytes" in text for text in told)


@recordings
def test_a_recording_says_where_it_comes_from_and_nothing_of_the_machine(path: Path) -> None:
    text = path.with_suffix(".toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    provenance = document["provenance"]
    client = path.stem.partition("-")[0]
    assert re.fullmatch(rf"{client} \d+(\.\d+)+", provenance["client"])
    assert provenance["story"] == STORIES[story_of(path)]
    assert re.match(r"\d{4}-\d\d-\d\dT", provenance["date"])
    assert document["software"].keys() >= {"python", "cryptography", "pylibsrtp"}
    hosts = {packet.source.ip for packet in capture.read(path)} | {
        packet.destination.ip for packet in capture.read(path)
    }
    assert hosts <= {"10.77.0.1", "127.0.0.1"}
    assert path.stat().st_size < LARGEST


# --- spoilt -----------------------------------------------------------------------------------


def parted(verdict: Verdict) -> Parted:
    assert isinstance(verdict, Parted), verdict
    return verdict


@some
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_one_changed_byte_of_the_capture_parts_there(
    path: Path, tmp_path: Path, share: float
) -> None:
    packets = list(capture.read(path))
    packet = packets[round(share * (len(packets) - 1))]
    spoilt = path.read_bytes()
    at = spoilt.index(packet.frame) + len(packet.frame) - len(packet.payload) // 2
    spoilt = spoilt[:at] + bytes([spoilt[at] ^ 1]) + spoilt[at + 1 :]
    copy = tmp_path / path.name
    copy.write_bytes(spoilt)
    copy.with_suffix(".toml").write_bytes(path.with_suffix(".toml").read_bytes())
    assert parted(replay(copy)).packet == packet.number


@some
def test_one_changed_draw_parts_there(path: Path) -> None:
    record = sidecar.load(path.with_suffix(".toml"))
    packets = list(capture.read(path))
    number = 0
    for index, step in enumerate(record.steps):
        for place, draw in enumerate(step.drew):
            number += 1
            changed = Draw(bytes([draw.data[0] ^ 1]) + draw.data[1:], draw.check)
            drew = (*step.drew[:place], changed, *step.drew[place + 1 :])
            steps = (*record.steps[:index], evolve(step, drew=drew), *record.steps[index + 1 :])
            verdict = parted(replay_record(evolve(record, steps=steps), iter(packets)))
            assert (verdict.step, verdict.draw) == (index + 1, number)
    assert number > 5


@some
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_one_changed_clock_reading_parts_there(path: Path, share: float) -> None:
    record = sidecar.load(path.with_suffix(".toml"))
    index = round(share * (len(record.steps) - 1))
    step = record.steps[index]
    steps = list(record.steps)
    # The finest change there is at a resolution of nanoseconds, in which captures count.
    steps[index] = evolve(step, at=step.at + 1e-9)
    verdict = parted(replay_record(evolve(record, steps=tuple(steps)), capture.read(path)))
    assert verdict.step == index + 1
    if isinstance(step.input, Received):
        assert verdict.packet == step.input.packet
