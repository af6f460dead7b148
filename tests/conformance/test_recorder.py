"""Recordings are whole or absent, bounded, and never in the endpoint's way."""

from pathlib import Path

import pytest

from conformance import capture, sidecar
from conformance.recorder import RecorderLimits
from conformance.replay import Exact, replay
from pair import Rig, seeded
from recordings import configuration, play, recorded, recorder
from transceiver import journal
from transceiver.errors import OfferError
from transceiver.events import EndReason


def test_a_call_becomes_two_files(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    record = sidecar.load(path.with_suffix(".toml"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"{path.stem}.toml"]
    assert record.call == path.stem
    assert record.role == "client"
    assert record.truncated == ""
    assert record.provenance.story == "all kinds of steps"
    packets = list(capture.read(path))
    named = [n for step in record.steps for n in step.sent]
    named += [s.input.packet for s in record.steps if isinstance(s.input, sidecar.Received)]
    assert sorted(named) == [packet.number for packet in packets]
    for step in record.steps:
        for number in step.sent:
            assert packets[number - 1].time_ns == record.nanoseconds(step.at)
    kinds = {type(step.input) for step in record.steps}
    assert kinds == {sidecar.Opened, sidecar.Received, sidecar.Fired, sidecar.Acted}
    assert record.steps[-1].next is None
    assert any(step.dropped for step in record.steps)


def test_the_file_with_the_keys_is_its_owners_alone(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    assert path.with_suffix(".toml").stat().st_mode & 0o077 == 0


def test_equal_seeds_record_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = recorded(tmp_path / "one", 5), recorded(tmp_path / "two", 5)
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".toml").read_bytes() == two.with_suffix(".toml").read_bytes()


def test_files_get_their_names_at_the_end_of_the_call(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    client = rig.client(0)
    rig.establish(client, entropy=sink.entropy_for_call())
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    sink.close()
    (path,) = sink.finished
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    verdict = replay(path)
    assert isinstance(verdict, Exact)
    assert verdict.truncated == "the recorder was closed before the call ended"
    assert "cut: the recorder was closed" in str(verdict)
    client.send_audio(b"unheard", 0)
    rig.run(0.1)  # the endpoint goes on, the recorder does not
    sink.close()
    assert sink.finished == [path]


def test_two_calls_at_once_are_kept_apart(tmp_path: Path) -> None:
    from stunroute.address import Address

    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    clients = [rig.client(n, address=Address.of("192.0.2.9", 4000 + n)) for n in range(2)]
    calls = [rig.establish(client, entropy=sink.entropy_for_call()) for client in clients]
    for n in range(5):
        for call, client in zip(calls, clients, strict=True):
            client.send_audio(b"in", 960 * n)
            rig.endpoint.send_audio(call, b"out", 960 * n, False, rig.now)
        rig.run(0.02)
    for client in clients:
        client.close(rig.now)
        rig.run(0.1)
    assert {path.stem for path in sink.finished} == set(calls)
    assert all(isinstance(replay(path), Exact) for path in sink.finished)


def test_a_call_past_its_bound_is_cut_and_says_so(tmp_path: Path) -> None:
    for limit in range(6000, 14000, 1000):
        sink = recorder(tmp_path, limits=RecorderLimits(bytes_per_call=limit))
        rig = Rig.build(0, config=configuration(), journal=sink)
        play(rig, rig.client(0), sink)
        (path,) = sink.finished
        size = path.stat().st_size + path.with_suffix(".toml").stat().st_size
        assert size <= limit + 512
        verdict = replay(path)
        assert isinstance(verdict, Exact)
        assert verdict.truncated == f"the call is larger than {limit} bytes"


def test_more_calls_than_the_bound_are_not_recorded(tmp_path: Path) -> None:
    sink = recorder(tmp_path, limits=RecorderLimits(calls=1))
    rig = Rig.build(0, config=configuration(), journal=sink)
    first = rig.client(0)
    rig.open(first, entropy=sink.entropy_for_call())
    rig.open(rig.client(1), entropy=sink.entropy_for_call())
    assert sink.refused == 1
    sink.close()
    assert len(sink.finished) == 1


def test_a_call_with_foreign_entropy_is_not_recorded(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    rig.establish(rig.client(0), entropy=seeded("foreign"))
    assert sink.refused == 1
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_offer_leaves_nothing_behind(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    client = rig.client(0)
    with pytest.raises(OfferError):
        rig.endpoint.open_call("v=0\r\n", rig.now, entropy=sink.entropy_for_call())
    play(rig, client, sink)
    assert isinstance(replay(sink.finished[0]), Exact)


def test_a_failing_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    sink = recorder(tmp_path / "absent")
    rig = Rig.build(0, config=configuration(), journal=sink)
    rig.establish(rig.client(0), entropy=sink.entropy_for_call())
    assert sum(sink.failures.values()) == 1
    assert sink.finished == []


def test_a_disk_that_fails_call_after_call_is_one_reason(tmp_path: Path) -> None:
    sink = recorder(tmp_path / "absent")
    rig = Rig.build(0, config=configuration(), journal=sink)
    for index in range(3):
        rig.open(rig.client(index), entropy=sink.entropy_for_call())
    assert sink.failures == {"No such file or directory": 3}


@pytest.mark.parametrize("end", ["call", "recorder"])
def test_a_recording_that_cannot_be_finished_is_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    call = rig.establish(rig.client(0), entropy=sink.entropy_for_call())

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    if end == "call":
        rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    sink.close()
    assert sink.failures == {"No space left on device": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_packet_that_no_capture_holds_ends_the_recording(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    call = rig.establish(rig.client(0), entropy=sink.entropy_for_call())
    path = rig.endpoint._slots[call].session.route
    assert path is not None
    sink(journal.Received(call, rig.now, path, bytes(70_000)))
    sink(journal.Settled(call, rig.now, rig.now + 1, "report"))
    assert sum(sink.failures.values()) == 1
    assert list(tmp_path.iterdir()) == []
    sink(journal.Fired(call, rig.now, "report"))  # of a call no more recorded: nothing


def test_a_hostile_call_id_chooses_no_directory(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    sink.entropy_for_call()(4)
    sink(journal.Opened("../../x/y", 1.0, "offer", "answer"))
    sink(journal.Settled("../../x/y", 1.0, None, ""))
    assert [path.name for path in sink.finished] == ["______x_y.pcap"]
    assert sink.finished[0].parent == tmp_path
    assert sidecar.load(tmp_path / "______x_y.toml").call == "../../x/y"


def test_what_the_call_was_opened_with_is_kept(tmp_path: Path) -> None:
    for number, (data, channel) in enumerate(((False, None), (True, None), (True, 0))):
        sink = recorder(tmp_path)
        sink.entropy_for_call()(4)
        call = f"rtc_{number}"
        sink(journal.Opened(call, 1.0, "offer", "answer", data, channel))
        sink(journal.Settled(call, 1.0, None, ""))
        steps = sidecar.load(tmp_path / f"{call}.toml").steps
        assert [step.input for step in steps] == [sidecar.Opened(data, channel)]


def test_an_output_without_an_input_ends_the_recording(tmp_path: Path) -> None:
    sink = recorder(tmp_path)
    rig = Rig.build(0, config=configuration(), journal=sink)
    call = rig.establish(rig.client(0), entropy=sink.entropy_for_call())
    path = rig.endpoint._slots[call].session.route
    assert path is not None
    sink(journal.Sent(call, rig.now, path, b"from nowhere"))
    assert sum(sink.failures.values()) == 1
    assert list(tmp_path.iterdir()) == []
