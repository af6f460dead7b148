"""Replay is exact, and one changed byte, draw, reading or step is named."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import capture, sidecar
from conformance.capture import CaptureError
from conformance.replay import Agreed, Exact, Parted, Passed, Verdict, replay, replay_record
from conformance.sidecar import Acted, Draw, Fired, Opened, Received, Sidecar, SidecarError, Step
from recordings import recorded
from transceiver.keying import SrtpProfile


class Recording:
    """A recording in memory, to be spoilt and replayed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = sidecar.load(path.with_suffix(".toml"))
        self.packets = list(capture.read(path))
        self.bytes = path.read_bytes()

    def replay(self, record: Sidecar | None = None, *, checks: bool = True) -> Verdict:
        return replay_record(record or self.record, iter(self.packets), checks=checks)

    def with_step(self, number: int, **changes: object) -> Sidecar:
        steps = list(self.record.steps)
        steps[number - 1] = evolve(steps[number - 1], **changes)
        return evolve(self.record, steps=tuple(steps))

    def numbers(self, kind: type) -> list[int]:
        """The steps whose input is of ``kind``."""
        steps = enumerate(self.record.steps, start=1)
        return [number for number, step in steps if isinstance(step.input, kind)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return Recording(recorded(tmp_path_factory.mktemp("replay"), "replay"))


many = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def parted(verdict: Verdict) -> Parted:
    assert isinstance(verdict, Parted), verdict
    assert "\n" not in str(verdict)
    return verdict


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("setup", ["actpass", "active"])
def test_what_was_recorded_replays_exactly(tmp_path: Path, seed: int, setup: str) -> None:
    path = recorded(tmp_path, seed, setup=setup)
    verdict = replay(path)
    assert isinstance(verdict, Exact), verdict
    record = sidecar.load(path.with_suffix(".toml"))
    assert verdict.steps == len(record.steps)
    assert verdict.draws == sum(len(step.drew) for step in record.steps)
    assert verdict.packets == len(list(capture.read(path)))
    assert record.role == ("server" if setup == "active" else "client")


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_every_protection_profile_replays(tmp_path: Path, profile: SrtpProfile) -> None:
    path = recorded(tmp_path, 1, profiles=(profile,))
    told: list[Agreed] = []
    verdict = replay(path, witness=lambda w: told.append(w) if isinstance(w, Agreed) else None)
    assert isinstance(verdict, Exact), verdict
    assert [agreed.profile for agreed in told] == [profile.name]


def test_a_replay_is_witnessed_packet_by_packet(recording: Recording) -> None:
    told: list[Passed | Agreed] = []
    replay(recording.path, witness=told.append)
    passed = [w for w in told if isinstance(w, Passed)]
    assert [w.packet.number for w in passed] == [p.number for p in recording.packets]
    for witnessed in passed:
        step = recording.record.steps[witnessed.step - 1]
        assert witnessed.upward == (step.input == Received(witnessed.packet.number))


# --- the capture --------------------------------------------------------------------------------


def packet_at(data: bytes, offset: int) -> int:
    """The number of the packet in whose record ``offset`` of a capture file lies, 0: the header."""
    number, at = 0, 24
    while at <= offset:
        number += 1
        (length,) = struct.unpack_from("<I", data, at + 8)
        at += 16 + length
    return number


@many
@given(data=st.data())
def test_one_changed_byte_of_the_capture_is_named(
    recording: Recording, tmp_path: Path, data: st.DataObject
) -> None:
    spoilt = bytearray(recording.bytes)
    at = data.draw(st.integers(0, len(spoilt) - 1), "offset")
    spoilt[at] ^= data.draw(st.integers(1, 255), "change")
    path = tmp_path / "spoilt.pcap"
    path.write_bytes(spoilt)
    path.with_suffix(".toml").write_text(recording.record.dumps(), encoding="utf-8")
    number = packet_at(recording.bytes, at)
    try:
        verdict = parted(replay(path))
    except CaptureError as error:
        # A length that no longer fits: it is this packet that is cut, or where the next begins.
        assert error.number in (number, number + 1)  # noqa: PT017
        return
    if number:
        assert verdict.packet == number
        assert verdict.step is not None
    elif verdict.packet is not None:
        assert verdict.packet == 1  # the link type decides what the first packet is
    else:
        assert "own headers" in verdict.what


@many
@given(data=st.data())
def test_a_changed_payload_says_where(recording: Recording, data: st.DataObject) -> None:
    outward = {n for step in recording.record.steps for n in step.sent}
    packet = data.draw(st.sampled_from([p for p in recording.packets if p.number in outward]))
    at = data.draw(st.integers(0, len(packet.payload) - 1))
    payload = bytearray(packet.payload)
    payload[at] ^= data.draw(st.integers(1, 255))
    changed = evolve(packet, payload=bytes(payload))
    packets = [changed if p.number == packet.number else p for p in recording.packets]
    verdict = parted(replay_record(recording.record, iter(packets), checks=False))
    assert (verdict.packet, verdict.offset, verdict.what) == (packet.number, at, "the bytes differ")
    assert verdict.expected
    assert verdict.got


def test_packets_missing_and_packets_over(recording: Recording) -> None:
    last = recording.packets[-1]
    short = parted(replay_record(recording.record, iter(recording.packets[:-1])))
    assert (short.packet, short.what) == (last.number, "the capture ends before this packet")
    more = [*recording.packets, evolve(last, number=last.number + 1)]
    verdict = parted(replay_record(recording.record, iter(more)))
    assert (verdict.packet, verdict.what) == (last.number + 1, "no step knows this packet")
    other = [evolve(last, protocol=6, note="protocol 6")]
    verdict = parted(replay_record(recording.record, iter([*recording.packets[:-1], *other])))
    assert "is no whole UDP datagram: protocol 6" in verdict.what


def test_a_truncated_capture_names_the_packet(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "short.pcap"
    path.write_bytes(recording.bytes[:-1])
    path.with_suffix(".toml").write_text(recording.record.dumps(), encoding="utf-8")
    with pytest.raises(CaptureError) as caught:
        replay(path)
    assert caught.value.number == len(recording.packets)


# --- entropy ------------------------------------------------------------------------------------


def with_draw(record: Sidecar, number: int, data: bytes | None) -> Sidecar:
    """Draw ``number`` with other bytes, or without it."""
    steps, count = [], 0
    for step in record.steps:
        drew: list[Draw] = []
        for draw in step.drew:
            count += 1
            if count != number:
                drew.append(draw)
            elif data is not None:
                drew.append(evolve(draw, data=data))
        steps.append(evolve(step, drew=tuple(drew)))
    return evolve(record, steps=tuple(steps))


def all_draws(record: Sidecar) -> list[bytes]:
    return [draw.data for step in record.steps for draw in step.drew]


@many
@given(data=st.data())
def test_one_changed_draw_is_named(recording: Recording, data: st.DataObject) -> None:
    draws = all_draws(recording.record)
    number = data.draw(st.integers(1, len(draws)))
    changed = bytearray(draws[number - 1])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    verdict = parted(recording.replay(with_draw(recording.record, number, bytes(changed))))
    assert verdict.draw == number
    assert verdict.step is not None


def test_draws_missing_longer_and_over(recording: Recording) -> None:
    draws = all_draws(recording.record)
    for number, data in enumerate(draws, start=1):
        missing = with_draw(recording.record, number, None)
        verdict = parted(recording.replay(missing, checks=False))
        assert verdict.draw is not None or verdict.packet is not None or verdict.step == 1
        longer = with_draw(recording.record, number, data + b"x")
        assert parted(recording.replay(longer)).draw == number
        verdict = parted(recording.replay(longer, checks=False))
        assert verdict.what == f"{len(data)} bytes were drawn, {len(data) + 1} then"
    steps = recording.record.steps
    more = (*steps[-1].drew, Draw(b"unused", ""))
    over = recording.with_step(len(steps), drew=more)
    verdict = parted(recording.replay(over))
    assert (verdict.draw, verdict.what) == (len(draws) + 1, "nothing drew it")
    none = recording.with_step(1, drew=())
    verdict = parted(recording.replay(none))
    assert (verdict.draw, verdict.step) == (1, 1)
    assert "that nobody drew then" in verdict.what


def test_without_checks_every_draw_still_matters(recording: Recording) -> None:
    """The checks are not what makes replay sensitive: whatever is drawn shows in a packet."""
    silent = []
    draws = all_draws(recording.record)
    for number, data in enumerate(draws, start=1):
        changed = bytes(octet ^ 0x55 for octet in data)
        if isinstance(
            recording.replay(with_draw(recording.record, number, changed), checks=False), Exact
        ):
            silent.append(number)
    assert silent == []


# --- the clock ----------------------------------------------------------------------------------


@many
@given(data=st.data())
def test_one_changed_clock_reading_is_named(recording: Recording, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(recording.record.steps)))
    change = data.draw(st.sampled_from([1e-9, -1e-9, 1e-6, 1e-3, -1e-3, 0.1, -0.1, 10.0]))
    at = recording.record.steps[number - 1].at + change
    verdict = parted(recording.replay(recording.with_step(number, at=at)))
    assert verdict.step == number
    given = recording.record.steps[number - 1].input
    if isinstance(given, Received) and "backward" not in verdict.what:
        assert verdict.packet == given.packet


def test_without_checks_readings_that_made_packets_still_matter(recording: Recording) -> None:
    for number, step in enumerate(recording.record.steps, start=1):
        if step.sent or isinstance(step.input, Received | Opened):
            record = recording.with_step(number, at=step.at + 1e-6)
            assert parted(recording.replay(record, checks=False)).step == number


def test_a_changed_deadline_is_named(recording: Recording) -> None:
    for number, step in enumerate(recording.record.steps, start=1):
        if step.next is None:
            continue
        record = recording.with_step(number, next=step.next + 1e-6)
        verdict = parted(recording.replay(record, checks=False))
        assert (verdict.step, verdict.what) == (number, "the session's next deadline differs")
        verdict = parted(recording.replay(recording.with_step(number, why="x"), checks=False))
        assert (verdict.step, verdict.what) == (number, "the session's next deadline differs")
        assert parted(recording.replay(recording.with_step(number, next=None))).step == number


# --- steps --------------------------------------------------------------------------------------


@many
@given(data=st.data())
def test_steps_left_out_doubled_or_swapped_are_noticed(
    recording: Recording, data: st.DataObject
) -> None:
    steps = list(recording.record.steps)
    number = data.draw(st.integers(2, len(steps) - 1))
    match data.draw(st.sampled_from(["leave out", "double", "swap"])):
        case "leave out":
            del steps[number - 1]
        case "double":
            steps.insert(number, steps[number - 1])
        case _:
            steps[number - 1], steps[number] = steps[number], steps[number - 1]
    verdict = parted(recording.replay(evolve(recording.record, steps=tuple(steps))))
    assert verdict.step in (number, number + 1)


def changes(step: Step) -> Iterator[dict[str, object]]:
    """Ways to spoil one step of each kind."""
    match step.input:
        case Opened():
            yield {"input": Fired("establish")}
        case Received(packet=packet):
            yield {"input": Received(packet + 1)}
            yield {"input": Received(packet, relay=7)}
            yield {"input": Received(packet, relay=-1)}
            yield {"input": Fired("dtls")}
            yield {"dropped": ("srtp-replay", *step.dropped)}
        case Fired(reason=reason):
            yield {"input": Fired(f"{reason}x")}
            yield {"input": Acted("end_within", {"seconds": 1.0})}
        case Acted(verb=verb, arguments=arguments):
            yield {"input": Acted("calls", {})}
            yield {"input": Acted("handle_timeout", {})}
            yield {"input": Acted(verb, {**arguments, "more": 1})}
            yield {"input": Fired("report")}
            if "payload" in arguments:
                yield {"input": Acted(verb, {**arguments, "payload": b"other"})}
                yield {"input": Acted(verb, {**arguments, "payload": "text"})}
                yield {"input": Acted(verb, {**arguments, "timestamp": 77})}
                yield {"input": Acted(verb, {**arguments, "marker": not arguments["marker"]})}
            if "reason" in arguments:
                yield {"input": Acted(verb, {"reason": "no such reason"})}
            if "offer" in arguments:
                yield {"input": Acted(verb, {"offer": "nonsense"})}
    if step.sent:
        yield {"sent": step.sent[:-1]}
        yield {"relays": (0,) * (len(step.sent) + 1)}
        yield {"relays": (9,) * len(step.sent)}
    yield {"sent": (*step.sent, 1)}
    yield {"refused": not step.refused}


@pytest.mark.parametrize("checks", [True, False])
def test_every_kind_of_step_is_held_to_what_it_says(recording: Recording, checks: bool) -> None:
    tried = 0
    for number, step in enumerate(recording.record.steps, start=1):
        for change in changes(step):
            verdict = parted(recording.replay(recording.with_step(number, **change), checks=checks))
            assert verdict.step in (number, number + 1), (change, verdict)
            tried += 1
    assert tried > 100


def test_a_longer_life_is_noticed_where_it_matters(recording: Recording) -> None:
    number = next(
        n
        for n in recording.numbers(Acted)
        if getattr(recording.record.steps[n - 1].input, "verb", "") == "end_within"
    )
    record = recording.with_step(number, input=Acted("end_within", {"seconds": 0.1}))
    assert parted(recording.replay(record, checks=False)).step == number
    assert parted(recording.replay(record)).step == number


# --- everything else in the sidecar -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: evolve(r, call="rtc_other"), "the call's id differs"),
        (lambda r: evolve(r, answer=r.answer.replace("a=mid:0", "a=mid:1")), "the answer differs"),
        (lambda r: evolve(r, offer="v=0\r\n"), "the step or the offer is not as it was recorded"),
        (
            lambda r: evolve(r, offer=r.offer.replace("ice-pwd:", "ice-pwd:x")),
            "the step or the offer is not as it was recorded",
        ),
        (lambda r: evolve(r, wall_base_ns=r.wall_base_ns + 1), "time stamp"),
        (lambda r: evolve(r, configuration=evolve(r.configuration, node=9)), "the answer differs"),
        (lambda r: evolve(r, configuration=evolve(r.configuration, node=-1)), "raised ValueError"),
        (lambda r: evolve(r, configuration=evolve(r.configuration, sessions=0)), "was refused"),
        (lambda r: evolve(r, hints=()), "the offer was refused"),
        (lambda r: evolve(r, relay={"by_ssrc_rate": 0.0}), "the relay did not pass it on"),
    ],
)
def test_other_settings_part(
    recording: Recording, change: Callable[[Sidecar], Sidecar], what: str
) -> None:
    try:
        verdict = parted(recording.replay(change(recording.record)))
    except SidecarError:
        assert what == "raised ValueError"
        return
    assert what in verdict.what


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda r: evolve(r, identity_pem="no PEM"), "session.identity_pem"),
        (lambda r: evolve(r, hints=r.hints * 2), "hint"),
        (lambda r: evolve(r, relay={"speed": 9}), "relay.speed"),
        (lambda r: evolve(r, relay={"verify": "maybe"}), "relay.verify"),
        (lambda r: evolve(r, relay={"flows": -1}), "relay.flows"),
    ],
)
def test_settings_that_build_nothing_are_named(
    recording: Recording, change: Callable[[Sidecar], Sidecar], key: str
) -> None:
    with pytest.raises(SidecarError) as caught:
        recording.replay(change(recording.record))
    assert caught.value.key == key


def test_what_an_offer_leads_to_shows_without_checks(recording: Recording) -> None:
    broken = evolve(recording.record, offer="v=0\r\n")
    assert "the offer was refused" in parted(recording.replay(broken, checks=False)).what
    # A lite agent never uses the client's password.
    other = evolve(recording.record, offer=recording.record.offer.replace("ice-pwd:", "ice-pwd:x"))
    assert isinstance(recording.replay(other, checks=False), Exact)


def test_a_relay_that_verifies_at_the_edge_passes_the_same_call(recording: Recording) -> None:
    record = evolve(recording.record, relay={"verify": "edge"})
    assert isinstance(recording.replay(record), Exact)


def test_without_its_sidecar_there_is_nothing_to_replay(tmp_path: Path) -> None:
    path = tmp_path / "alone.pcap"
    path.write_bytes(b"")
    with pytest.raises(SidecarError, match="No such file"):
        replay(path)


def test_verdicts_read_as_sentences() -> None:
    assert str(Exact(3, 2, 1)) == "exact: 3 steps, 2 packets, 1 draws"
    assert str(Parted("odd")) == "parted: odd"
    full = Parted("the bytes differ", 1, 2, 3, "this", "", 4)
    assert str(full) == (
        "parted at step 1, packet 2, draw 3: the bytes differ, first at byte 4; "
        "expected this, got nothing"
    )
