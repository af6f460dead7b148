"""Calls through a relay that is killed, reloaded and flooded: real processes, real packets.

Every packet of audio is numbered, so these tests count what is lost rather than measure how long
something takes; how long is told by the benchmark of recovery.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import evolve

import tools
from fleet import CONFIGURATION, check, dtls, forged, indication, rtcp, rtp, ufrag
from peers import Call, Downlink, Forger
from stage import CALLS, Stage, opened
from stunroute.address import Address
from stunroute.hint import HintConfiguration, KeyRing

NEXT = HintConfiguration("1", bytes(range(100, 116)), bytes(range(100, 132)))
NEXT_KEYRING = KeyRing([CONFIGURATION, NEXT])


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    with ExitStack() as end:
        yield lambda **options: end.enter_context(opened(tmp_path, **options))


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    return stages()


def spread(stage: Stage, check_every: float | None = 0.5) -> dict[Address, list[Call]]:
    """Calls by the inner address of their worker, some for each."""
    groups: dict[Address, list[Call]] = {inner: [] for inner in stage.relay.inners}
    for _ in range(30):
        [call] = stage.calls(1, check_every=check_every)
        assert call.back is not None
        groups[call.back].append(call)
        if all(groups.values()):
            return groups
    raise AssertionError("the kernel gave all clients to one worker")


class TestKilled:
    """The relay is killed in mid-call and knows nobody when it is back."""

    @pytest.mark.parametrize(
        "downlink", [Downlink.AUDIO, Downlink.REPORTS, Downlink.PROBES], ids=lambda mode: mode.value
    )
    def test_a_packet_of_the_node_heals_a_client_that_never_checks_again(
        self, stage: Stage, downlink: Downlink
    ) -> None:
        calls = stage.calls(check_every=None, downlink=downlink)
        checks = sum(call.checks for call in calls)
        stage.restart()
        stage.until_heard(calls)
        assert sum(call.checks for call in calls) == checks
        told = stage.relay.stop()
        assert (told["made"], told["healed"]) == (CALLS, CALLS)

    def test_the_next_check_heals_a_silent_call(self, stage: Stage) -> None:
        calls = stage.calls(downlink=Downlink.SILENT)
        stage.restart()
        stage.until_heard(calls)
        told = stage.relay.stop()
        assert (told["made"], told["healed"]) == (CALLS, 0)

    def test_without_either_the_call_waits_for_the_node_to_speak(self, stage: Stage) -> None:
        [call] = stage.calls(1, check_every=None, downlink=Downlink.SILENT)
        stage.restart()
        sent, arrived = len(call.uplink.sent), len(call.uplink.arrivals)
        stage.until(lambda: len(call.uplink.sent) >= sent + 20, "the client goes on talking")
        assert len(call.uplink.arrivals) == arrived
        call.downlink_mode = Downlink.AUDIO
        stage.until_heard([call])

    def test_nothing_is_lost_once_it_is_healed(self, stage: Stage) -> None:
        calls = stage.calls()
        stage.restart()
        stage.until_heard(calls)
        since = [max(call.uplink.sent[-1], call.downlink.sent[-1]) for call in calls]
        stage.until_heard(calls, 50)
        stage.traffic.settle()
        for call, at in zip(calls, since, strict=True):
            assert call.uplink.lost(at) == call.downlink.lost(at) == []

    def test_every_worker_finds_its_own_clients_again(self, stages: Callable[..., Stage]) -> None:
        """The kernel hands a client to the same place in the row of sockets as before, which is
        where its node sends to: else no packet from the node could heal it."""
        stage = stages(workers=2)
        calls = [call for group in spread(stage, None).values() for call in group]
        before = {call.address: call.back for call in calls}
        stage.restart()
        stage.until_heard(calls)
        assert {call.address: call.back for call in calls} == before


class TestPaused:
    def test_what_came_in_the_meantime_is_forwarded(self, stage: Stage) -> None:
        """A relay that stands still for a while, as one does whose machine swaps."""
        calls = stage.calls()
        stage.relay.pause()
        known = [len(call.uplink.sent) for call in calls]
        stage.until(
            lambda: all(
                len(call.uplink.sent) > count + 10 for call, count in zip(calls, known, strict=True)
            ),
            "clients go on talking",
        )
        stage.relay.resume()
        stage.until_heard(calls, 20)
        stage.assert_whole(calls)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_whole_batches_go_where_single_packets_go(
        self, stages: Callable[..., Stage], workers: int
    ) -> None:
        """What has piled up is forwarded in batches by remembered answers, and those are forgotten
        with every generation of flows, here twice a second."""
        stage = stages(workers=workers, limits={"idle_timeout": 0.5})
        calls = stage.calls(12)
        for _ in range(10):
            stage.relay.pause()
            known = len(calls[0].uplink.sent)
            stage.until(lambda known=known: len(calls[0].uplink.sent) >= known + 5, "packets wait")
            stage.relay.resume()
            stage.until_heard(calls, 2)
        stage.assert_whole(calls)
        assert stage.node.strange == []


class TestRebound:
    def test_audio_goes_on_at_once_and_comes_back_after_the_next_check(self, stage: Stage) -> None:
        calls = stage.calls(check_every=0.5)
        stage.until_heard(calls)
        for call in calls:
            call.rebind()
        stage.until_heard(calls)
        assert {call.client for call in calls} == {call.address for call in calls}
        stage.traffic.settle()
        assert [call.uplink.lost() for call in calls] == [[]] * CALLS
        assert stage.relay.stop()["by_ssrc"] >= 1

    def test_a_client_that_never_checks_again_is_heard_from_its_new_port(
        self, stage: Stage
    ) -> None:
        [call] = stage.calls(1, check_every=None)
        stage.until_heard([call])
        old = call.address
        call.rebind("127.0.0.9")
        stage.until(
            lambda: call.uplink.arrivals[-1].client == call.address, "audio from the new address"
        )
        assert call.client == old
        stage.traffic.settle()
        assert call.uplink.lost() == []

    def test_whichever_worker_its_new_address_leads_to_knows_it(
        self, stages: Callable[..., Stage]
    ) -> None:
        stage = stages(workers=2)
        calls = stage.calls(8)
        stage.until_heard(calls, 40)  # the workers tell one another four times a second
        for call in calls:
            call.rebind()
        stage.until_heard(calls)
        stage.traffic.settle()
        assert [call.uplink.lost() for call in calls] == [[]] * len(calls)
        assert stage.relay.stop()["by_ssrc"] >= len(calls)


class TestReloaded:
    def test_a_rotated_key_costs_no_packet_of_clients_of_either(self, stage: Stage) -> None:
        calls = stage.calls()
        both = (CONFIGURATION, NEXT)
        stage.relay.reload(evolve(stage.relay.options, configurations=both))
        newer = [stage.call(keyring=NEXT_KEYRING) for _ in range(CALLS)]
        assert all(call.ufrag.startswith(b"1") for call in newer)
        stage.until_up(newer)
        # The older ones' checks are still taken, which only later ones show.
        known = [len(call.answers) for call in calls]
        stage.until(
            lambda: all(
                len(call.answers) > count for call, count in zip(calls, known, strict=True)
            ),
            "checks under the older key are answered",
        )
        stage.relay.reload(evolve(stage.relay.options, configurations=both[::-1]))
        stage.until_heard([*calls, *newer], 50)
        stage.assert_whole([*calls, *newer])

    def test_a_key_that_is_taken_away_ends_no_call(self, stage: Stage) -> None:
        """Its checks are not routed any more, its audio is."""
        calls = stage.calls()
        stage.relay.reload(evolve(stage.relay.options, configurations=(NEXT,)))
        newer = [stage.call(keyring=NEXT_KEYRING)]
        stage.until_up(newer)
        answers = [len(call.answers) for call in calls]
        stage.until_heard([*calls, *newer], 50)
        assert [len(call.answers) for call in calls] == answers
        stage.assert_whole([*calls, *newer])

    def test_settings_that_are_wrong_change_nothing(self, stage: Stage) -> None:
        calls = stage.calls()
        stage.relay.reload(evolve(stage.relay.options, extra="nonsense = 1\n"))
        stage.until(lambda: "nonsense" in stage.relay.complaints, "the relay says what is wrong")
        stage.until_heard(calls)
        stage.assert_whole(calls)

    def test_a_node_that_moves_takes_new_calls_at_its_new_address(self, stage: Stage) -> None:
        calls = stage.calls()
        nodes = {1: stage.node.address, 2: stage.other.address}
        moved = stage.traffic.node(3)
        stage.relay.reload(evolve(stage.relay.options, nodes=nodes | {3: moved.address}))
        newer = [stage.call(node=moved)]
        stage.until_up(newer)
        stage.until_heard([*calls, *newer])
        stage.assert_whole([*calls, *newer])


class TestWorkers:
    def test_one_that_is_killed_is_replaced_and_the_calls_go_on(
        self, stages: Callable[..., Stage]
    ) -> None:
        stage = stages(workers=2)
        calls = [call for group in spread(stage).values() for call in group]
        victim = stage.relay.kill_worker()
        stage.until(
            lambda: len(stage.relay.workers) == 2 and victim not in stage.relay.workers,
            "another worker takes its place",
        )
        stage.until_heard(calls)
        since = [max(call.uplink.sent[-1], call.downlink.sent[-1]) for call in calls]
        stage.until_heard(calls, 50)
        stage.traffic.settle()
        for call, at in zip(calls, since, strict=True):
            assert call.uplink.lost(at) == call.downlink.lost(at) == []
            # What was lost was lost in one go.
            lost = call.uplink.lost()
            assert not lost or lost == list(range(lost[0], lost[-1] + 1))
        assert stage.node.strange == stage.other.strange == []

    def test_its_successor_knows_its_calls_by_their_sources(self, stage: Stage) -> None:
        """Neither a check, nor the downlink, nor a store tells it of them."""
        calls = stage.calls(check_every=None, downlink=Downlink.SILENT)
        known = [len(call.uplink.arrivals) for call in calls]
        stage.until(
            lambda: all(
                len(call.uplink.arrivals) > count + 40
                for call, count in zip(calls, known, strict=True)
            ),
            "the worker has told of the sources, as it does four times a second",
        )
        stage.relay.kill_worker()
        known = [len(call.uplink.sent) for call in calls]
        stage.until(
            lambda: all(
                len(call.uplink.sent) > count + 50 for call, count in zip(calls, known, strict=True)
            ),
            "clients go on talking",
        )
        stage.traffic.settle()
        assert all(len(call.uplink.lost()) <= 5 for call in calls)
        told = stage.relay.stop()
        assert told["by_ssrc"] > 30 * CALLS
        assert told["healed"] == told["restored"] == 0

    def test_calls_of_the_others_do_not_notice(self, stages: Callable[..., Stage]) -> None:
        stage = stages(workers=2)
        groups = spread(stage)
        victim = stage.relay.kill_worker()
        stage.until(lambda: victim not in stage.relay.workers, "the worker is gone")
        for calls in groups.values():
            stage.until_heard(calls)
        stage.traffic.settle()
        assert any(
            not any(call.uplink.lost() or call.downlink.lost() for call in calls)
            for calls in groups.values()
        )


class TestSpoofed:
    def test_forged_sources_neither_move_nor_disturb_a_call(self, stage: Stage) -> None:
        """The attacker forges the victim's address and has a session of its own on another node,
        of which it uses the true password."""
        tools.require_root()
        [victim] = stage.calls(1)
        public, source = stage.relay.public, victim.address
        own = ufrag(2)
        with Forger() as forger:

            def flood() -> None:
                for data in (
                    check(1, name=victim.ufrag, password=b"x" * 32),
                    forged(2),
                    check(2, name=own),
                    rtp(7),
                    rtp(victim.ssrc),
                    rtcp(7),
                    dtls(),
                    indication(),
                    os.urandom(200),
                    b"",
                ):
                    forger.send(data, source, public)

            for _ in range(10):
                flood()
                stage.until_heard([victim], 5)
        stage.assert_whole([victim])
        assert victim.back == stage.relay.inner
        # Its own checks did go where they say, and nothing else did.
        theirs = [payload for payload, _ in stage.other.strange]
        assert len(theirs) == 10
        assert all(own in payload for payload in theirs)
        # What names nobody went to the victim's node, where its tag does not verify.
        assert {payload[:1] for payload, _ in stage.node.strange} >= {b"\x80", b"\x16"}

    def test_a_source_that_is_anothers_is_no_way_into_its_call(self, stage: Stage) -> None:
        """Checks that were recorded, and audio with the victim's synchronisation source, from an
        address of the attacker's own."""
        tools.require_root()
        [victim] = stage.calls(1)
        recorded = victim.check()
        victim.send(recorded)
        attacker = Address.of("127.0.0.66", 6666)
        with Forger() as forger:
            for _ in range(10):
                for data in (recorded, rtp(victim.ssrc), check(2, name=ufrag(2))):
                    forger.send(data, attacker, stage.relay.public)
                stage.until_heard([victim], 5)
        stage.assert_whole([victim])
        assert victim.client == victim.address


class TestFull:
    def test_a_full_table_keeps_the_calls_that_are_up(self, stages: Callable[..., Stage]) -> None:
        stage = stages(limits={"flows": CALLS})
        calls = stage.calls()
        late = [stage.call(check_every=0.1) for _ in range(10)]
        stage.until(lambda: all(call.checks >= 10 for call in late), "ten checks of each stranger")
        stage.until_heard(calls)
        assert [call.answers for call in late] == [[]] * 10
        stage.assert_whole(calls)
        assert stage.relay.stop()["drops"]["flows-full"] >= 10
