"""The SCTP puppet: does it say what it is told to, and does it see what a server does?"""

import pytest

from conformance import catalogue
from conformance.case import Blocked, Unsupported
from conformance.drivers.memory import MemoryDriver
from conformance.mutants.model import swapped
from conformance.probe.sctp import Puppet, Reaction, associated, joined, opened, prepare, resets
from conformance.probe.sctp_opening import answer_to, draws_nothing
from conformance.runner import run_case
from probing import stage
from transceiver.datachannel import messages as dcep
from transceiver.endpoint import Endpoint
from transceiver.sctp import opening
from transceiver.sctp.association import Association
from transceiver.sctp.chunks import Abort, Data, Heartbeat, HeartbeatAck, ReConfig
from transceiver.sctp.packet import checksum_matches
from transceiver.sctp.parameters import OutgoingReset


def test_an_association_a_channel_and_an_echo() -> None:
    with stage() as one:
        puppet = opened(one)
        assert puppet.is_alive()
        assert puppet.echoes(0, b"hello")
        assert puppet.comes_back(b"hello") is Reaction.ANSWERED


def test_it_counts_tsns_and_numbers() -> None:
    with stage() as one:
        puppet = associated(one)
        puppet.tsn = 0xFFFF_FFFF
        first, second = puppet.data(4, b"a"), puppet.data(4, b"b")
        unordered = puppet.data(4, b"c", unordered=True)
        assert [each.tsn for each in (first, second, unordered)] == [0xFFFF_FFFF, 0, 1]
        assert [each.ssn for each in (first, second, unordered)] == [0, 1, 2]
        assert puppet.data(4, b"d").ssn == 2
        puppet.begin_again(4)
        assert puppet.data(4, b"e").ssn == 0


def test_fragments_have_one_number_and_their_marks() -> None:
    with stage() as one:
        chunks = associated(one).fragments(0, b"abcdefg", dcep.BINARY, 3)
    assert [chunk.payload for chunk in chunks] == [b"abc", b"def", b"g"]
    assert [(chunk.beginning, chunk.ending) for chunk in chunks] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert len({chunk.ssn for chunk in chunks}) == 1


def test_padding_is_asked_after_with_an_init_that_is_otherwise_good() -> None:
    """usrsctp takes nobody who claims ASCONF (0xc1) without AUTH (0x0f)."""
    (asked,) = catalogue.select(catalogue.load(), ["rfc9260/3.2.1/padding-not-zero"])
    said: list[bytes] = []
    sending = Puppet.send_raw
    with swapped(
        Puppet, "send_raw", lambda puppet, data: said.append(data) or sending(puppet, data)
    ):
        assert run_case(asked, MemoryDriver()).seen is Reaction.ANSWERED
    start = said[0].index(b"\x80\x08\x00\x07") + 4
    assert 0xC1 not in said[0][start : start + 3]
    assert said[0][start + 3] != 0


def test_it_sends_what_no_association_would() -> None:
    with stage() as one:
        puppet = associated(one)
        bare = puppet.send(Heartbeat(b"x"), tag=7, checksum=False)
        assert bare[4:8] == bytes((0, 0, 0, 7))
        assert bare[8:12] == bytes(4)
        assert not checksum_matches(bare)
        assert checksum_matches(puppet.assembled(b"\4\0\0\4"))


def test_what_is_not_acknowledged_is_not() -> None:
    with stage() as one:
        puppet = opened(one)
        puppet.acknowledges = False
        puppet.say(0, b"again and again")
        puppet.run(4.0)
        copies = [
            chunk
            for received in puppet.came
            for chunk in received.chunks
            if isinstance(chunk, Data) and chunk.payload == b"again and again"
        ]
        assert len(copies) > 1


def test_silence_abort_and_death_are_told_apart() -> None:
    with stage() as one:
        puppet = associated(one)
        assert puppet.silence() is Reaction.SILENCE
        puppet.send(Data(puppet.tsn, 0, 0, 53, b"", True, True))
        assert puppet.silence() is Reaction.ABORTED
        assert puppet.silence() in (Reaction.ABORTED, Reaction.DEAD)


def test_an_abort_of_ours_kills() -> None:
    with stage() as one:
        puppet = associated(one)
        puppet.send(Abort())
        puppet.run(0.1)
        with swapped(Association, "receive_packet", lambda *what: None):
            assert puppet.silence() is Reaction.DEAD


def test_a_reaction_is_what_was_looked_for() -> None:
    with stage() as one:
        puppet = associated(one)
        puppet.send(Heartbeat(b"look"))

        def find(received):
            return next((c.info for c in received.chunks if isinstance(c, HeartbeatAck)), None)

        assert puppet.reaction(find) == (Reaction.ANSWERED, b"look")
        assert puppet.reaction(lambda received: None, 0.1) == (Reaction.SILENCE, None)


def test_before_an_association_life_shows_in_the_next_init() -> None:
    with stage() as one:
        puppet = prepare(one)
        assert answer_to(puppet, puppet.init(tag=0))[0] is Reaction.SILENCE
        assert draws_nothing(puppet) is Reaction.SILENCE
        with swapped(opening, "receive_init", lambda *what: None):
            assert draws_nothing(puppet) is Reaction.DEAD
            with pytest.raises(Blocked):
                puppet.greet()


def test_the_reset_of_a_stream_is_found_once() -> None:
    with stage() as one:
        puppet = joined(one)
        assert resets(puppet, 0, 0.1) is None
        theirs = puppet.peer.tsn - 1
        request = OutgoingReset(puppet.tsn_at_first, theirs, puppet.tsn - 1, (0,))
        puppet.send(ReConfig((request,)))
        reverse = resets(puppet, 0)
        assert reverse is not None
        puppet.answer_reset(reverse)
        assert resets(puppet, 0, 0.1) is None


def test_of_a_server_that_gives_nothing_back_no_echo_is_asked() -> None:
    with (
        swapped(Endpoint, "send_message", lambda *what: False),
        stage() as one,
        pytest.raises(Unsupported, match="sends no messages back"),
    ):
        opened(one)


def test_of_a_server_without_data_nothing_is_asked() -> None:
    def refusing(seed: str):
        from conformance.drivers.memory import make_endpoint

        return make_endpoint(seed, data=False)

    driver = MemoryDriver(make_server=refusing)
    with stage(driver) as one, pytest.raises((Unsupported, Blocked)):
        prepare(one)
